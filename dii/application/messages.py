"""What participants can ask of the chain.

A message travels as ``[kind, field, ...]``. Kinds and fields are the protocol: they are never
reused or reordered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from dii import codec
from dii.application.actions import Action
from dii.application.records import MAX_CHUNKS, ChunkBytes, CodeBytes
from dii.codec import Address, Amount, Bounds, Hash, Name, PublicKey, Value
from dii.errors import BadTransaction, ShapeMismatch
from dii.minting.receipts import GatewayHash

MAX_ARGUMENTS: Final = 1 << 14
"""Bytes of a call's arguments."""
MAX_BATCH: Final = 1024
"""Bindings in one registration."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """Move money to another account."""

    to: Address
    amount: Amount


@dataclass(frozen=True, slots=True)
class Burn:
    """Destroy money, for service used."""

    amount: Amount


@dataclass(frozen=True, slots=True)
class RegisterGateways:
    """A reporter binds gateway hashes to their owners' accounts."""

    scope: Name
    bindings: Annotated[tuple[tuple[GatewayHash, Address], ...], Bounds(1, MAX_BATCH)]


@dataclass(frozen=True, slots=True)
class AssignGateway:
    """An owner hands a scope's gateway on, from the next epoch."""

    scope: Name
    gateway: GatewayHash
    to: Address


@dataclass(frozen=True, slots=True)
class Claim:
    """A reporter names the key of an operator known by name only.

    ``operator`` is the keyed hash of the name; the claim account follows from it.
    """

    scope: Name
    operator: GatewayHash
    public_key: PublicKey


@dataclass(frozen=True, slots=True)
class ReportManifest:
    """Announces a report: its epoch; rows, columns and hashes of chunks, of metrics and of usage.

    A row of usage has a key of 40 bytes: application hash and the operator's account.
    """

    scope: Name
    epoch: int
    rows: int
    columns: tuple[Name, ...]
    chunks: Annotated[tuple[Hash, ...], Bounds(0, MAX_CHUNKS)]
    usage_rows: int = 0
    usage: tuple[Name, ...] = ()
    usage_chunks: Annotated[tuple[Hash, ...], Bounds(0, MAX_CHUNKS)] = ()


@dataclass(frozen=True, slots=True)
class ReportChunk:
    """The next chunk of an announced report, in order: metrics, then usage."""

    scope: Name
    epoch: int
    data: ChunkBytes


@dataclass(frozen=True, slots=True)
class RegisterApplications:
    """A reporter binds application hashes to their consumers' accounts."""

    scope: Name
    bindings: Annotated[tuple[tuple[GatewayHash, Address], ...], Bounds(1, MAX_BATCH)]


@dataclass(frozen=True, slots=True)
class Deploy:
    """Put a contract on the chain.

    Attributes
    ----------
    scope
        Whose metrics it reads.
    code
        Its tree.
    arguments
        Of ``init``: a canonical array.
    value
        Money for ``init``.
    hook_gas, purse
        Gas for its ``@on_epoch`` functions each epoch, and the money that pays for it.
    """

    scope: Name
    code: CodeBytes
    arguments: Annotated[bytes, Bounds(1, MAX_ARGUMENTS)]
    value: Amount
    hook_gas: int
    purse: Amount


@dataclass(frozen=True, slots=True)
class Call:
    """Call a function of a contract with a canonical array of arguments, and money."""

    contract: Address
    function: Name
    arguments: Annotated[bytes, Bounds(1, MAX_ARGUMENTS)]
    value: Amount


@dataclass(frozen=True, slots=True)
class TopUp:
    """Put money into a contract's purse."""

    contract: Address
    amount: Amount


@dataclass(frozen=True, slots=True)
class Propose:
    """A validator proposes an action."""

    action: Action


@dataclass(frozen=True, slots=True)
class Vote:
    """A validator approves a proposal, or does not; its latest vote counts."""

    proposal: int
    approve: bool


Message = (
    Transfer
    | Burn
    | RegisterGateways
    | AssignGateway
    | Claim
    | ReportManifest
    | ReportChunk
    | RegisterApplications
    | Deploy
    | Call
    | TopUp
    | Propose
    | Vote
)

KINDS: Final[dict[int, type[Message]]] = {
    1: Transfer,
    2: Burn,
    3: RegisterGateways,
    4: AssignGateway,
    5: Claim,
    6: ReportManifest,
    7: ReportChunk,
    8: RegisterApplications,
    16: Deploy,
    17: Call,
    18: TopUp,
    32: Propose,
    33: Vote,
}
"""Wire number of each kind; 16 to 31 are kept for contracts, 32 to 47 for governance."""

_NUMBERS: Final = {kind: number for number, kind in KINDS.items()}


def to_value(message: Message) -> Value:
    """Return the message as a transaction carries it."""
    return (_NUMBERS[type(message)], *codec.pack(message))


def from_value(value: Value) -> Message:
    """Read a message.

    Raises
    ------
    BadTransaction
        Unknown kind, or not the shape of its kind.
    """
    kind = KINDS.get(value[0]) if type(value) is tuple and value and type(value[0]) is int else None
    if kind is None:
        raise BadTransaction(message="a message of an unknown kind")
    try:
        return codec.unpack(kind, value[1:])
    except ShapeMismatch as error:
        raise BadTransaction(message=error) from None
