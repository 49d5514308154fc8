"""The facade of the package: one object per community."""

from dii.network.facade import Network
from dii.network.receipt import Receipt
from dii.network.telemetry import Traffic

__all__ = ["Network", "Receipt", "Traffic"]
