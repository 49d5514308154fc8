"""Simulated Tendermint with the counting application: heights a second, messages a height.

Without faults, a height takes one proposal to each of n - 1 peers and a prevote and a precommit of
each validator to each other: n - 1 + 2n(n - 1) messages. Arguments: numbers of validators.
"""

from __future__ import annotations

import sys
import time

from dii.testing import Simulation, check
from tests.benchmarks.report import show
from tests.counter import Counter

SIZES = (4, 16, 64)
MESSAGES = 40_000
"""Messages, about, in a measurement: larger networks decide fewer heights."""


def measure(count: int) -> tuple[str, str]:
    """Return the row of a network of a size."""
    formula = count - 1 + 2 * count * (count - 1)
    heights = max(2, MESSAGES // formula)
    run = Simulation(lambda _: Counter(), [1] * count, seed=7)
    begin = time.perf_counter()
    run.until(height=heights)
    seconds = time.perf_counter() - begin
    check(run)
    sent = sum(event.target is not None and event.height < heights for event in run.events)
    pace = f"{heights / seconds:,.1f} heights/s, {sent / (heights - 1):,.0f} messages a height"
    return f"{count} validators", f"{pace} (formula {formula:,})"


def main() -> None:
    """Measure and print."""
    sizes = [int(word) for word in sys.argv[1:] if word.isdigit()] or SIZES
    rows = [measure(count) for count in sizes]
    show("Simulated Tendermint", rows, "Ed25519 signatures are real, each verified once")


if __name__ == "__main__":
    main()
