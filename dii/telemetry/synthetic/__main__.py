"""Write the sample: ``python -m dii.telemetry.synthetic data``."""

import argparse
from pathlib import Path

from dii.telemetry.synthetic import write_sample

parser = argparse.ArgumentParser(prog="python -m dii.telemetry.synthetic")
parser.add_argument("folder", type=Path, help="where to write the three files")
parser.add_argument("--seed", type=int, default=7)
options = parser.parse_args()
write_sample(options.folder, options.seed)
