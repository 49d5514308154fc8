"""The networks of ``tests.pairs_machine``, with other draws each time, and for longer.

A failure prints the steps that lead to it, and a line that repeats them.
"""

from __future__ import annotations

from tests.pairs_machine import SEEN, Pairs
from tests.stateful import run


def main(times: int) -> None:
    """Run ``times`` networks of 40 steps."""
    SEEN.clear()
    run(Pairs, times, 40, derandomize=False)
    print(f"pairs: {times} networks, {SEEN['epoch']} epochs; all that is shown is on the chain")
    print("  " + ", ".join(f"{what} {count}" for what, count in sorted(SEEN.items())))
