"""What validators can decide: one frozen dataclass an action.

An action travels within a proposal as ``[kind, field, ...]``, as messages do, and stays in the
state with it: what was decided can be proven. Kinds and fields are the protocol: they are never
reused or reordered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from dii.codec import Address, Amount, Bounds, Hash, Kinds, Name, PublicKey
from dii.genesis import MAX_GAS_PRICE, MAX_POWER
from dii.minting import Spec
from dii.minting.receipts import GatewayHash


@dataclass(frozen=True, slots=True)
class SetStream:
    """Add a stream to a scope, or change one: how its gateways are paid."""

    scope: Name
    name: Name
    rule: Spec
    policy: Spec
    rest: Name | None


@dataclass(frozen=True, slots=True)
class RemoveStream:
    """End a stream; what rounding left in it goes to the treasury."""

    scope: Name
    name: Name


@dataclass(frozen=True, slots=True)
class SetScope:
    """Add a scope, or change who reports on it and what."""

    name: Name
    reporters: Annotated[tuple[Address, ...], Bounds(1, 64)]
    metrics: Annotated[tuple[Name, ...], Bounds(1, 32)]
    usage: Annotated[tuple[Name, ...], Bounds(0, 32)]


@dataclass(frozen=True, slots=True)
class SetValidator:
    """Give a validator voting power; 0 removes it."""

    public_key: PublicKey
    power: Annotated[int, Bounds(0, MAX_POWER)]


@dataclass(frozen=True, slots=True)
class SetGas:
    """Set what a gas costs, in the smallest unit, and after which schedule gas is counted."""

    price: Annotated[int, Bounds(0, MAX_GAS_PRICE)]
    schedule: int


@dataclass(frozen=True, slots=True)
class SpendTreasury:
    """Pay from the community's own account."""

    to: Address
    amount: Amount


@dataclass(frozen=True, slots=True)
class DenyGateway:
    """Exclude a gateway from earning until an epoch, for a reason that is published elsewhere.

    ``evidence`` is the SHA-256 of what shows why. With ``until`` not after the epoch from which
    it would act, the gateway is allowed again.
    """

    scope: Name
    gateway: GatewayHash
    evidence: Hash
    until: int


Action = Annotated[
    SetStream | RemoveStream | SetScope | SetValidator | SetGas | SpendTreasury | DenyGateway,
    Kinds(
        (
            (1, SetStream),
            (2, RemoveStream),
            (3, SetScope),
            (4, SetValidator),
            (5, SetGas),
            (6, SpendTreasury),
            (7, DenyGateway),
        )
    ),
]
