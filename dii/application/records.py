"""Everything that the state holds: one table a kind, one record type each.

Keys are canonical arrays ``[table, part, ...]``; values are the records' canonical bytes. Nothing
else is ever written to the state, so this module is the whole of what can be proven.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from dii.application.pages import MAX_BYTES
from dii.codec import Address, Amount, Bounds, Hash, Name
from dii.ledger.state import Table
from dii.minting import Issuance, Spec

ChunkBytes = Annotated[bytes, Bounds(0, MAX_BYTES)]
MAX_CHUNKS: Final = 1 << 13
"""Chunks of one report: 2**20 rows of 8 metrics need about 900."""


@dataclass(frozen=True, slots=True)
class Chain:
    """What genesis fixes for all time, and the parameters that governance may change.

    Attributes
    ----------
    start, epoch_length, report_window
        Microseconds.
    gas_price
        Smallest units a gas.
    max_mint_per_epoch
        Constitutional: the most that all streams together mint in an epoch.
    """

    genesis: Hash
    start: int
    epoch_length: int
    report_window: int
    gas_price: int
    max_mint_per_epoch: Amount
    block_bytes: int
    block_gas: int
    settle_rows: int
    max_rows: int
    max_bindings: int
    pending: int


@dataclass(frozen=True, slots=True)
class Account:
    """A participant's money and the number of transactions sent."""

    balance: Amount
    nonce: int


@dataclass(frozen=True, slots=True)
class Forward:
    """Where a claimed claim account's money goes."""

    to: Address


@dataclass(frozen=True, slots=True)
class Supply:
    """All money ever minted and burned; opening balances count as minted."""

    minted: Amount
    burned: Amount


@dataclass(frozen=True, slots=True)
class Validator:
    """A validator's voting power."""

    power: int


@dataclass(frozen=True, slots=True)
class Scope:
    """A set of gateways and who reports on them.

    Attributes
    ----------
    reporters
        Addresses that may report.
    metrics
        What they give, in the order of ``METRICS``.
    next_epoch
        The oldest epoch that is not closed: the settling cursor's place.
    """

    reporters: tuple[Address, ...]
    metrics: tuple[Name, ...]
    next_epoch: int


@dataclass(frozen=True, slots=True)
class Stream:
    """A way in which money is issued; ``position`` orders a scope's streams."""

    position: int
    scope: Name
    rule: Spec
    policy: Spec
    rest: Name | None
    dust: Amount


@dataclass(frozen=True, slots=True)
class Binding:
    """Whose a gateway is.

    Attributes
    ----------
    scope
        The one scope in which the gateway is bound.
    owners
        (first epoch, account) in order of epochs; what no unsettled epoch needs is dropped.
    """

    scope: Name
    owners: tuple[tuple[int, Address], ...]

    def owner(self, epoch: int) -> bytes | None:
        """Return the account that owned the gateway in an epoch, or None before the first."""
        return next((owner for since, owner in reversed(self.owners) if since <= epoch), None)


@dataclass(frozen=True, slots=True)
class Report:
    """One reporter's report on one epoch, as far as it has arrived.

    Attributes
    ----------
    rows, columns, chunks
        As the manifest announced them; chunks are SHA-256 hashes.
    received, received_rows
        How many chunks and rows are here.
    last
        The last gateway so far: gateways ascend over the whole report.
    free
        Whether it is the reporter's first try, whose chunks cost nothing.
    """

    rows: int
    columns: tuple[Name, ...]
    chunks: Annotated[tuple[Hash, ...], Bounds(0, MAX_CHUNKS)]
    received: int
    received_rows: int
    last: bytes
    free: bool

    @property
    def complete(self) -> bool:
        """Whether every announced chunk is here."""
        return self.received == len(self.chunks)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes of a report's chunk, or of a page of settled metrics (same format)."""

    data: ChunkBytes


@dataclass(frozen=True, slots=True)
class Duty:
    """How much of its free allowance a reporter has used in an epoch."""

    bindings: int


@dataclass(frozen=True, slots=True)
class Minted:
    """What all streams together have minted for an epoch; held against the constitutional limit."""

    amount: Amount


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far the settling of a scope's next epoch has come.

    Attributes
    ----------
    phase
        ``medians``, ``weights`` or ``receipts``.
    stream
        Place of the stream in work among the scope's streams.
    page
        The next page (or chunk, in ``medians``) to work on.
    pages
        Pages of metrics there are.
    total_weight, nameless
        Sums of all weights and of those that name no gateway, complete after ``weights``.
    pool, dust, unminted, paid
        In ``receipts``: what may be minted; what the stream carried in; what nobody gets; what
        has been paid so far.
    count, edge
        The receipts' tree: leaves so far and the hashes of its right edge.
    rests
        (stream, amount) that earlier streams handed on in this epoch.
    """

    phase: Name
    stream: int
    page: int
    pages: int
    total_weight: int
    nameless: int
    pool: Amount
    dust: Amount
    unminted: Amount
    paid: Amount
    count: int
    edge: tuple[Hash, ...]
    rests: tuple[tuple[Name, Amount], ...]


CHAIN: Final = Table("chain", Chain)
"""() -> parameters."""
SUPPLY: Final = Table("supply", Supply)
"""() -> money minted and burned."""
ACCOUNTS: Final = Table("account", Account)
"""(address) -> account."""
FORWARDS: Final = Table("forward", Forward)
"""(claim account) -> account of the key that claimed it."""
VALIDATORS: Final = Table("validator", Validator)
"""(public key) -> power."""
SCOPES: Final = Table("scope", Scope)
"""(name) -> scope."""
STREAMS: Final = Table("stream", Stream)
"""(name) -> stream."""
GATEWAYS: Final = Table("gateway", Binding)
"""(gateway hash) -> binding."""
REPORTS: Final = Table("report", Report)
"""(scope, epoch, reporter) -> report."""
CHUNKS: Final = Table("chunk", Chunk)
"""(scope, epoch, reporter, number) -> chunk."""
PAGES: Final = Table("page", Chunk)
"""(scope, epoch, number) -> metrics of the last two settled epochs."""
DUTIES: Final = Table("duty", Duty)
"""(reporter, epoch) -> allowance used."""
MINTED: Final = Table("minted", Minted)
"""(epoch) -> minted by all streams."""
CURSORS: Final = Table("cursor", Cursor)
"""(scope) -> cursor, while an epoch of the scope is settling."""
ISSUANCES: Final = Table("issuance", Issuance)
"""(stream, epoch) -> issuance, for good."""

TABLES: Final = (
    CHAIN, SUPPLY, ACCOUNTS, FORWARDS, VALIDATORS, SCOPES, STREAMS, GATEWAYS, REPORTS, CHUNKS,
    PAGES, DUTIES, MINTED, CURSORS, ISSUANCES,
)  # fmt: skip
