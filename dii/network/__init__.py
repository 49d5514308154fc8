"""The facade over everything below: one object a community's economy."""

from dii.network.facade import Network
from dii.network.feed import Traffic
from dii.network.receipt import Receipt

__all__ = ["Network", "Receipt", "Traffic"]
