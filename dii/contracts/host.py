"""What a contract sees of the chain: the seam between the machine and whoever carries it.

A contract knows the variables, functions and records of the tables here and nothing else of its
node. There are no calls from contract to contract, so re-entry cannot exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from dii.contracts import gas
from dii.contracts.tree import Plain, Type
from dii.contracts.values import ADDRESS, BOOL, BYTES, INT
from dii.telemetry.schema import METRICS


class Host(Protocol):
    """A contract's world during one call.

    Attributes
    ----------
    sender, value
        Who calls (20 bytes), and the money that came along.
    self_address
        The contract's own account, 20 bytes.
    height, time, epoch
        The block's height, its time in seconds since 1970, and the epoch in which that lies (-1
        before the first).
    """

    sender: bytes
    value: int
    self_address: bytes
    height: int
    time: int
    epoch: int

    def balance(self) -> int:
        """Return the contract's own money, the call's value included."""

    def read(self, key: bytes, /) -> bytes | None:
        """Return what the contract stored under a key."""

    def write(self, key: bytes, value: bytes | None, /) -> None:
        """Store, or delete with None."""

    def pay(self, to: bytes, amount: int) -> None:
        """Pay from the contract's balance; a TransactionError ends the call."""

    def emit(self, event: str, values: tuple[int | bool | str | bytes, ...]) -> None:
        """Note an event for the index, should the call succeed."""

    def operator(self, gateway: bytes) -> bytes | None:
        """Return the account that owns a gateway now."""

    def metrics(self, gateway: bytes, epoch: int) -> Mapping[str, int] | None:
        """Return a gateway's metrics in one of the last two settled epochs, if it was reported."""

    def usage(self, application: bytes, operator: bytes, epoch: int) -> Mapping[str, int] | None:
        """Return an application's use of an operator's gateways, likewise."""


@dataclass(frozen=True, slots=True)
class Signature:
    """A function of the host: parameters, result, gas, and whether it changes anything."""

    parameters: tuple[Type, ...]
    returns: Type | None
    cost: int
    effect: bool = False


VARIABLES: Final = {
    "sender": ADDRESS,
    "value": INT,
    "self_address": ADDRESS,
    "balance": INT,
    "height": INT,
    "time": INT,
    "epoch": INT,
}
RECORDS: Final = {
    "metrics": frozenset(METRICS),
    "usage": frozenset({"delivered", "uplink_units", "downlinks", "lost"}),
}
"""Fields of the records, each an int; ``reported`` is a bool that every record has."""
FUNCTIONS: Final = {
    "pay": Signature((ADDRESS, INT), None, gas.PAY, effect=True),
    "operator": Signature((BYTES,), ADDRESS, gas.RECORD),
    "bound": Signature((BYTES,), BOOL, gas.RECORD),
    "metrics": Signature((BYTES, INT), Plain("metrics"), gas.RECORD),
    "usage": Signature((BYTES, ADDRESS, INT), Plain("usage"), gas.RECORD),
}
"""Besides ``emit``, whose arguments may be of any plain types."""
