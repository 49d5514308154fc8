"""Economic analysis: rules compared over an epoch's records, honest and cheated."""

from dii.economy.laboratory import Comparison, Records, compare

__all__ = ["Comparison", "Records", "compare"]
