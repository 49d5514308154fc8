"""Economic analysis: comparison of rules over the records of an epoch, honest and with cheats."""

from dii.economy.laboratory import Comparison, Records, compare

__all__ = ["Comparison", "Records", "compare"]
