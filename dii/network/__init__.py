"""The facade over everything below: one object a community's economy."""

from dii.network.facade import Network
from dii.network.receipt import Receipt
from dii.network.telemetry import Traffic

__all__ = ["Network", "Receipt", "Traffic"]
