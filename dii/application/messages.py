"""Messages of transactions.

A message travels as ``[number, field, ...]``. Numbers and fields are the protocol: they are never
reused or reordered.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final

from dii import codec, errors
from dii.application import actions, records
from dii.codec import Address, Amount, Bounds, Hash, KeyedHash, Name, PublicKey, Record, Value

MAX_ARGUMENTS: Final = 1 << 14
"""Bytes of a call's arguments."""
MAX_BATCH: Final = 1024
"""Bindings in one registration."""
KINDS: Final[dict[int, type[Message]]] = {}
"""Classes of messages by their numbers; 16 to 31 are for contracts, 32 to 47 for governance."""


class Message(Record):
    """Base of the messages."""

    number: ClassVar[int]

    def __init_subclass__(cls, number: int) -> None:
        super().__init_subclass__()
        cls.number = number
        KINDS[number] = cls


class Transfer(Message, number=1):
    """Move money to another account."""

    to: Address
    amount: Amount


class Burn(Message, number=2):
    """Destroy money, for service used."""

    amount: Amount


class RegisterGateways(Message, number=3):
    """Bind gateway hashes to their owners' accounts, as a reporter."""

    scope: Name
    bindings: Annotated[tuple[tuple[KeyedHash, Address], ...], Bounds(1, MAX_BATCH)]


class AssignGateway(Message, number=4):
    """Hand a scope's gateway on from the next epoch, as its owner."""

    scope: Name
    gateway: codec.GatewayHash
    to: Address


class Claim(Message, number=5):
    """Name the key of an operator known by name only, as a reporter.

    ``operator`` is the keyed hash of the name; the claim account follows from it.
    """

    scope: Name
    operator: KeyedHash
    public_key: PublicKey


class ReportManifest(Message, number=6):
    """Announce a report: its epoch; rows, columns and hashes of chunks, of metrics and of usage.

    A row of usage has a key of 40 bytes: application hash and the operator's account.
    """

    scope: Name
    epoch: int
    rows: int
    columns: tuple[Name, ...]
    chunks: Annotated[tuple[Hash, ...], Bounds(0, records.MAX_CHUNKS)]
    usage_rows: int = 0
    usage: tuple[Name, ...] = ()
    usage_chunks: Annotated[tuple[Hash, ...], Bounds(0, records.MAX_CHUNKS)] = ()


class ReportChunk(Message, number=7):
    """Send the next chunk of an announced report, in order: metrics, then usage."""

    scope: Name
    epoch: int
    data: records.ChunkBytes


class RegisterApplications(Message, number=8):
    """Bind application hashes to their consumers' accounts, as a reporter."""

    scope: Name
    bindings: Annotated[tuple[tuple[KeyedHash, Address], ...], Bounds(1, MAX_BATCH)]


class Deploy(Message, number=16):
    """Put a contract on the chain.

    Attributes
    ----------
    scope
        Scope of the metrics that it reads.
    code
        Its tree.
    arguments
        Arguments of ``init``: a canonical array.
    value
        Money that is passed to ``init``.
    hook_gas, purse
        Gas for its ``@on_epoch`` functions each epoch, and the gas deposit that pays for it.
    """

    scope: Name
    code: records.CodeBytes
    arguments: Annotated[bytes, Bounds(1, MAX_ARGUMENTS)]
    value: Amount
    hook_gas: int
    purse: Amount


class Call(Message, number=17):
    """Call a function of a contract with a canonical array of arguments, and money."""

    contract: Address
    function: Name
    arguments: Annotated[bytes, Bounds(1, MAX_ARGUMENTS)]
    value: Amount


class TopUp(Message, number=18):
    """Add to a contract's gas deposit."""

    contract: Address
    amount: Amount


class Propose(Message, number=32):
    """Propose an action, as a validator."""

    action: actions.AnyAction


class Vote(Message, number=33):
    """Approve a proposal, or oppose it, as a validator; its latest vote counts."""

    proposal: int
    approve: bool


def to_value(message: Message) -> Value:
    """Return the message as a transaction carries it."""
    return (message.number, *codec.pack(message))


def from_value(value: Value) -> Message:
    """Read a message.

    Raises
    ------
    BadTransaction
        Unknown kind, or not the shape of its kind.
    """
    kind = KINDS.get(value[0]) if type(value) is tuple and value and type(value[0]) is int else None
    if kind is None:
        raise errors.BadTransaction(message="unknown kind of message")
    try:
        return codec.unpack(kind, value[1:])
    except errors.ShapeMismatch as error:
        raise errors.BadTransaction(message=error) from None
