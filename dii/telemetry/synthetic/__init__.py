"""Generated telemetry: a network like The Things Network, its traffic, and the sample in ``data/``.

Everything is seeded and the same on every machine. ``dii synth -o data`` makes the sample again.
"""

from dii.telemetry.synthetic._files import write
from dii.telemetry.synthetic._network import SNAPSHOT, WORLD, Region, network
from dii.telemetry.synthetic._records import SIZES, Generated, Size, generate
from dii.telemetry.synthetic._traffic import Population, levels, populate

__all__ = [
    "SIZES", "SNAPSHOT", "WORLD", "Generated", "Population", "Region", "Size", "generate", "levels",
    "network", "populate", "write",
]  # fmt: skip
