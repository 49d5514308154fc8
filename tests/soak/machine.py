"""The stateful machine of ``tests.machine``, with other draws each time, and for longer.

A failure prints the steps that lead to it, and a line that repeats them.
"""

from __future__ import annotations

from tests.machine import SEEN, Economy
from tests.stateful import run


def main(times: int) -> None:
    """Run ``times`` economies of 120 steps."""
    SEEN.clear()
    run(Economy, times, 120, derandomize=False)
    epochs = sum(count for what, count in SEEN.items() if what.startswith("epoch"))
    print(f"machine: {times} economies, {epochs} epochs; the books agree after every block")
    print("  " + ", ".join(f"{what} {count}" for what, count in sorted(SEEN.items())))
