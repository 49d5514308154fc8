"""Run benchmarks by name, or all of them."""

import importlib
import sys

NAMES = (
    "transfers",
    "contracts",
    "growth",
    "settling",
    "opening",
    "consensus",
    "start",
    "metrics",
)

if __name__ == "__main__":
    for name in sys.argv[1:] or NAMES:
        importlib.import_module(f"tests.benchmarks.{name}").main()
