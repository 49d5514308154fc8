"""Run soaks by name, each followed by its number of runs (or seconds per target), or all."""

import importlib
import sys

NAMES = {
    "bounds": 1,
    "consensus": 10_000,
    "crashes": 300,
    "flips": 3_000,
    "fuzz": 30,
    "gas": 300,
    "machine": 500,
    "pairs": 100,
}

if __name__ == "__main__":
    words = sys.argv[1:] or list(NAMES)
    for at, name in enumerate(words):
        if not name.isdigit():
            times = words[at + 1] if words[at + 1 :] and words[at + 1].isdigit() else NAMES[name]
            importlib.import_module(f"tests.soak.{name}").main(int(times))
