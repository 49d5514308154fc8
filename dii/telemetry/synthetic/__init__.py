"""Generated telemetry: a network like The Things Network, its traffic, and the sample in ``data/``.

Everything is seeded and the same on every machine; figures and their sources are in
:func:`calibration`. ``dii synth data`` makes the sample again.
"""

from dii.telemetry.synthetic._network import SNAPSHOT, WORLD, Figure, Region, calibration, network
from dii.telemetry.synthetic._sample import Sample, sample, write_sample
from dii.telemetry.synthetic._traffic import Population, levels, populate

__all__ = [
    "SNAPSHOT", "WORLD", "Figure", "Population", "Region", "Sample", "calibration", "levels",
    "network", "populate", "sample", "write_sample",
]  # fmt: skip
