"""Work and memory for amplified, mutated and lying files of every format, over many seeds."""

import random
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bounds import FORMS, check, drawn, lying


def main(times: int) -> None:
    """Load the files of ``times`` seeds, each within the bounds."""
    for seed in range(times):
        draw = random.Random(seed)
        for files in (*(drawn(name, draw) for name in sorted(FORMS)), lying(draw, 30)):
            with TemporaryDirectory() as folder:
                check(Path(folder), files)
        print(f"bounds: seed {seed} of {times}", flush=True)
