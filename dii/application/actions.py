"""Actions, on which validators vote.

An action travels within a proposal as ``[number, field, ...]``, as messages do, and stays in the
state with the proposal, so that decisions can be proven. Numbers and fields are the protocol: they
are never reused or reordered.
"""

from __future__ import annotations

from typing import Annotated, Final

from dii.codec import Address, Amount, Bounds, GatewayHash, Hash, Kinds, Name, PublicKey, Record
from dii.genesis import MAX_GAS_PRICE, MAX_POWER
from dii.minting import Spec

ACTIONS: Final[dict[int, type[Action]]] = {}
"""Classes of actions by their numbers."""


class Action(Record):
    """Base of the actions."""

    def __init_subclass__(cls, number: int) -> None:
        super().__init_subclass__()
        ACTIONS[number] = cls


class SetStream(Action, number=1):
    """Add a stream to a scope, or change one: how its gateways are paid."""

    scope: Name
    name: Name
    rule: Spec
    policy: Spec
    rest: Name | None


class RemoveStream(Action, number=2):
    """End a stream; what rounding left in it goes to the treasury."""

    scope: Name
    name: Name


class SetScope(Action, number=3):
    """Add a scope, or change who reports on it and what."""

    name: Name
    reporters: Annotated[tuple[Address, ...], Bounds(1, 64)]
    metrics: Annotated[tuple[Name, ...], Bounds(1, 32)]
    usage: Annotated[tuple[Name, ...], Bounds(0, 32)]


class SetValidator(Action, number=4):
    """Give a validator voting power; 0 removes it."""

    public_key: PublicKey
    power: Annotated[int, Bounds(0, MAX_POWER)]


class SetGas(Action, number=5):
    """Set what a gas costs, in the smallest unit, and after which schedule gas is counted."""

    price: Annotated[int, Bounds(0, MAX_GAS_PRICE)]
    schedule: int


class SpendTreasury(Action, number=6):
    """Pay from the community's own account."""

    to: Address
    amount: Amount


class DenyGateway(Action, number=7):
    """Exclude a gateway from earning until an epoch, for a reason that is published elsewhere.

    ``evidence`` is the SHA-256 of what shows why. With ``until`` not after the epoch from which
    it would act, the gateway is allowed again.
    """

    scope: Name
    gateway: GatewayHash
    evidence: Hash
    until: int


AnyAction = Annotated[Action, Kinds(tuple(ACTIONS.items()))]
"""Field of any action."""
