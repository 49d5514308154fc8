"""Records of the state: a table for each kind of record or bare value.

Keys are canonical arrays ``[table, part, ...]``; values are canonical bytes. Nothing
else is ever written to the state, so this module is the whole of what can be proven.
"""

from __future__ import annotations

from dataclasses import is_dataclass
from typing import Annotated, Any, Final, get_args, get_type_hints

from dii.application import actions
from dii.application.pages import MAX_BYTES
from dii.codec import Address, Amount, Bounds, Hash, KeyedHash, Name, PublicKey, Record
from dii.contracts.tree import MAX_BYTES as MAX_CODE
from dii.ledger.state import Table
from dii.minting import Issuance, Spec

ChunkBytes = Annotated[bytes, Bounds(0, MAX_BYTES)]
CodeBytes = Annotated[bytes, Bounds(1, MAX_CODE)]
Held = Annotated[Amount, "held"]
"""Money that a record holds; all of it together equals the supply minted less the supply burned."""
MAX_CHUNKS: Final = 1 << 13
"""Chunks of one report: 2**20 rows of 8 metrics need about 900."""
FREE_TRIES: Final = 2
"""Reports of an epoch that a reporter may announce for free."""
MAX_REPORTERS: Final = 64
"""Of one scope."""


class Chain(Record):
    """Parameters of the chain: those fixed by genesis, and those that governance may change.

    Attributes
    ----------
    start, epoch_length, report_window
        Start of epoch 0, length of epochs, and time for reports; microseconds.
    gas_price
        Price of one gas in the smallest unit.
    gas_schedule
        Version of the prices in :mod:`dii.application.gas`.
    max_mint_per_epoch, max_treasury_per_epoch
        Constitutional: the most that all streams together mint in an epoch, and the part of it that
        may go to the treasury as the rest of pools.
    governance_delay, voting_period
        Constitutional; microseconds.
    """

    genesis: Hash
    start: int
    epoch_length: int
    report_window: int
    gas_price: int
    gas_schedule: int
    max_mint_per_epoch: Amount
    max_treasury_per_epoch: Amount
    governance_delay: int
    voting_period: int
    block_bytes: int
    block_gas: int
    settle_rows: int
    max_rows: int
    max_bindings: int
    pending: int
    hook_gas: int
    hook_budget: int


class Origin(Record):
    """Kind of a network; every proof file contains it.

    Attributes
    ----------
    name, symbol, decimals
        Name of the network; symbol and decimals of its currency.
    laboratory
        Whether its money is play money.
    generated
        The way its traffic was generated (``seed 7``); None if gateways recorded it.
    """

    name: Name
    symbol: Name
    decimals: int
    laboratory: bool
    generated: Name | None


class Account(Record):
    """A participant's money and the number of transactions sent."""

    balance: Held
    nonce: int


class Supply(Record):
    """All money ever minted and burned; opening balances count as minted."""

    minted: Amount
    burned: Amount

    @property
    def left(self) -> int:
        """Money minted and not burned."""
        return self.minted - self.burned


class Scope(Record):
    """A set of gateways and their reporters.

    Attributes
    ----------
    reporters
        Addresses that may report.
    metrics, usage
        Columns of their reports, in the order of ``METRICS`` and of ``USAGE``.
    next_epoch
        The oldest epoch that is not closed: the epoch that settles, or settles next.
    """

    reporters: Annotated[tuple[Address, ...], Bounds(1, MAX_REPORTERS)]
    metrics: tuple[Name, ...]
    usage: tuple[Name, ...]
    next_epoch: int

    @property
    def faulty(self) -> int:
        """Number f of the n >= 3f + 1 reporters who may lie and still decide nothing."""
        return (len(self.reporters) - 1) // 3


class Stream(Record):
    """One way in which money is issued; ``position`` orders a scope's streams."""

    position: int
    scope: Name
    rule: Spec
    policy: Spec
    rest: Name | None
    dust: Held


Owner = tuple[int, Address]
"""First epoch of an owner, and the owner's account."""


class Binding(Record):
    """Owners of a gateway or an application in one scope.

    Attributes
    ----------
    first
        The epoch from which its first owner counts.
    owners
        (first epoch, account) in order of epochs; owners that no unsettled epoch needs are dropped.
    """

    first: int
    owners: tuple[Owner, ...]

    def owner(self, epoch: int) -> Address | None:
        """Return the account of the owner in an epoch, or None before the first."""
        return next((owner for since, owner in reversed(self.owners) if since <= epoch), None)


class Lapse(Record):
    """Votes of one message without a majority yet; they expire after ``report_window``."""

    kind: Name
    scope: Name
    reporter: Address
    time: int
    hashes: tuple[KeyedHash, ...]


class Queue(Record):
    """The numbers of the first entry of a queue and of the one after its last."""

    first: int
    end: int


class Report(Record):
    """Report of one reporter on one epoch, as its latest manifest announces it.

    Attributes
    ----------
    columns, rows, chunks
        Names, number of rows and SHA-256 hashes of chunks, of metrics.
    usage, usage_rows, usage_chunks
        The same of usage, whose chunks come after those of metrics.
    tries
        Number of times that the reporter has announced a report with these columns.
    """

    columns: tuple[Name, ...]
    rows: int
    chunks: Annotated[tuple[Hash, ...], Bounds(0, MAX_CHUNKS)]
    usage: tuple[Name, ...]
    usage_rows: int
    usage_chunks: Annotated[tuple[Hash, ...], Bounds(0, MAX_CHUNKS)]
    tries: int

    @property
    def parts(self) -> int:
        """Number of chunks, of metrics and of usage."""
        return len(self.chunks) + len(self.usage_chunks)

    @property
    def free(self) -> bool:
        """True if its manifest and chunks cost nothing."""
        return self.tries <= FREE_TRIES

    def fits(self, scope: Scope) -> bool:
        """Return whether it has the columns that the scope asks for."""
        return (self.columns, self.usage) == (scope.metrics, scope.usage)


class Progress(Record):
    """Progress of a report whose chunks arrive; apart from the report, which no chunk rewrites.

    Attributes
    ----------
    received, rows
        Number of chunks, and of rows of the kind (metrics or usage) in work.
    last
        The last key so far: keys ascend over all chunks of a kind.
    stored
        Number of chunks in the state, with those that an earlier report left.
    """

    received: int
    rows: int
    last: bytes
    stored: int


class EpochPages(Record):
    """Columns and number of the pages of an epoch, of metrics and of usage."""

    metrics: tuple[Name, ...]
    pages: int
    usage: tuple[Name, ...]
    usage_pages: int


class Duty(Record):
    """Use of an account's free allowance in the latest epoch in which it used any.

    ``failures`` are duties that failed and that the account could not pay for.
    """

    epoch: int
    bindings: int
    failures: int


class Minted(Record):
    """Amount that all streams together have minted for an epoch, for the constitutional limits.

    ``treasury`` is the part of it that went to the treasury as the rest of pools.
    """

    amount: Amount
    treasury: Amount


class Proposal(Record):
    """Action that a validator proposes, its votes and its outcome.

    Attributes
    ----------
    opened
        Block time, microseconds.
    votes
        (address of the validator, True if it approves), the latest vote of each.
    tally
        Voting power for it, against it and in all, as counted at the latest vote.
    outcome
        ``open`` (also after it has expired), ``passed``, ``enacted`` or ``failed``.
    acts
        Once passed, the time from which the next block carries it out.
    """

    action: actions.AnyAction
    proposer: Address
    opened: int
    votes: tuple[tuple[Address, bool], ...]
    tally: tuple[int, int, int]
    outcome: Name
    acts: int


class Agenda(Record):
    """Number of proposals so far, and (time, number) of those that are to be carried out."""

    proposals: int
    due: tuple[tuple[int, int], ...]


class Denial(Record):
    """Hash of the evidence against a gateway, and the first epoch in which it earns again."""

    evidence: Hash
    until: int


class Plan(Record):
    """A stream as it was when an epoch began to settle; later changes count from the next epoch."""

    name: Name
    rule: Spec
    policy: Spec
    rest: Name | None


class Cursor(Record):
    """Progress of the settling of a scope's next epoch.

    Attributes
    ----------
    phase
        ``medians``, ``usage``, ``weights``, ``receipts``, ``hooks`` or ``clear``.
    reporters, plans
        Reporters whose reports count, and the scope's streams: both as they were at the start.
    chunks
        In ``medians`` and ``usage``: the number of the chunk in work, for each reporter.
    last
        In ``medians`` and ``usage``: the key up to which rows are merged. In ``hooks``: the last
        contract that has run.
    stream
        Position of the stream in work among the plans.
    page
        The next page to work on.
    pages
        Number of pages of metrics.
    total_weight, unattributed
        Sums of all weights and of those that name no gateway, complete after ``weights``.
    pool, dust, unminted, paid
        In ``receipts``: amounts that may be minted, that the stream carried in, that nobody gets,
        and that have been paid so far.
    count, edge
        Of the receipts' tree: number of leaves so far, and hashes of its right edge. In ``medians``
        and ``usage``: number of merged rows.
    rests
        (stream, amount) that earlier streams of this epoch left to later ones.
    """

    phase: Name
    reporters: tuple[Address, ...]
    plans: tuple[Plan, ...]
    chunks: tuple[int, ...] = ()
    last: bytes = b""
    stream: int = 0
    page: int = 0
    pages: int = 0
    total_weight: int = 0
    unattributed: int = 0
    pool: Amount = 0
    dust: Amount = 0
    unminted: Amount = 0
    paid: Amount = 0
    count: int = 0
    edge: tuple[Hash, ...] = ()
    rests: tuple[tuple[Name, Amount], ...] = ()


class Contract(Record):
    """A contract on the chain; its balance is that of the account at its address.

    Attributes
    ----------
    scope
        The scope whose metrics it reads, and after whose settling its hooks run.
    deployer
        The account that gets the rest of the gas deposit.
    code
        SHA-256 of its tree.
    hook_gas
        Gas reserved for its hooks each epoch; 0 if it has none.
    since, until
        First and last epoch of its hooks.
    purse
        The gas deposit, which pays for the hooks.
    """

    scope: Name
    deployer: Address
    code: Hash
    hook_gas: int
    since: int
    until: int
    purse: Held


CHAIN: Final = Table("chain", Chain)
"""() -> parameters."""
ORIGIN: Final = Table("genesis", Origin)
"""() -> kind of the network; written once."""
SUPPLY: Final = Table("supply", Supply)
"""() -> money minted and burned."""
ACCOUNTS: Final = Table("account", Account)
"""(address) -> account."""
FORWARDS: Final = Table("forward", Address)
"""(claim account) -> account of the key that claimed it."""
VALIDATORS: Final = Table("validator", int)
"""(public key) -> voting power."""
SCOPES: Final = Table("scope", Scope)
"""(name) -> scope."""
COMING: Final = Table("coming", Scope)
"""(name) -> the scope as it is to be once the epoch that settles is closed."""
STREAMS: Final = Table("stream", Stream)
"""(name) -> stream."""
GATEWAYS: Final = Table("gateway", Binding)
"""(scope, gateway hash) -> binding."""
APPLICATIONS: Final = Table("application", Binding)
"""(scope, application hash) -> binding to the account of its consumer."""
NAMINGS: Final = Table("naming", tuple[Address, int])
"""(gateway, application or operator; scope; hash; reporter) -> vote (account, time), while too few
votes agree."""
LAPSES: Final = Table("lapse", Lapse)
"""(number) -> votes that expire, the oldest first."""
QUEUE: Final = Table("queue", Queue)
"""() -> the numbers of the entries of ``LAPSES``."""
REPORTS: Final = Table("report", Report)
"""(scope, epoch, reporter) -> report."""
PROGRESS: Final = Table("progress", Progress)
"""(scope, epoch, reporter) -> progress of the report."""
CHUNKS: Final[Table[bytes]] = Table("chunk", ChunkBytes)
"""(scope, epoch, reporter, number) -> chunk of a report."""
PAGES: Final[Table[bytes]] = Table("page", ChunkBytes)
"""(scope, epoch, number) -> page of metrics of the last two settled epochs, formatted as chunks."""
USAGE_PAGES: Final[Table[bytes]] = Table("usage", ChunkBytes)
"""(scope, epoch, number) -> their usage."""
EPOCH_PAGES: Final = Table("pages", EpochPages)
"""(scope, epoch) -> columns and number of these pages."""
DUTIES: Final = Table("duty", Duty)
"""(account) -> allowance used."""
MINTED: Final = Table("minted", Minted)
"""(epoch) -> minted by all streams."""
CURSORS: Final = Table("cursor", Cursor)
"""(scope) -> cursor, while an epoch of the scope is settling."""
TURNS: Final[Table[str]] = Table("turn", Name)
"""() -> the scope that settles first in the next block, if several do."""
ISSUANCES: Final = Table("issuance", Issuance)
"""(stream, epoch) -> issuance, permanently."""
CODES: Final[Table[bytes]] = Table("code", CodeBytes)
"""(SHA-256 of the tree) -> a contract's tree, as :mod:`dii.contracts.tree` encodes it."""
CONTRACTS: Final = Table("contract", Contract)
"""(address) -> contract."""
STORAGE: Final = Table("storage", bytes)
"""(contract, key) -> value; the key is the canonical array of the variable's name and map key."""
HOOKS: Final = Table("hook", int)
"""(scope, contract) -> gas that it has reserved for each epoch, while it is awake."""
RESERVED: Final = Table("reserved", int)
"""(scope) -> gas that all its contracts have reserved for each epoch."""
PROPOSALS: Final = Table("proposal", Proposal)
"""(number) -> proposal, permanently."""
AGENDA: Final = Table("agenda", Agenda)
"""() -> the agenda of governance."""
LATEST: Final = Table("latest", int)
"""(validator's address) -> number of its latest free proposal."""
SCHEDULE: Final = Table("schedule", tuple[int, ...])
"""(scope, epoch) -> numbers of the proposals that act from this epoch on, in order."""
DENIED: Final = Table("denied", Denial)
"""(scope, gateway) -> denial, in the epoch that settles next."""
UPDATES: Final = Table("updates", tuple[tuple[PublicKey, int], ...])
"""() -> (public key, power) of validators that change at the end of the next block."""
MISBEHAVED: Final = Table("misbehaved", int)
"""(validator's address) -> height of the block with the evidence that last counted against it."""

TABLES: Final[tuple[Table[Any], ...]] = tuple(
    table for table in vars().values() if isinstance(table, Table)
)
"""All tables above, in their order."""
MONEY: Final = tuple(
    (table, name)
    for table in TABLES
    if is_dataclass(table.shape)
    for name, hint in get_type_hints(table.shape, include_extras=True).items()
    if "held" in get_args(hint)
)
"""(table, field) of all money that records hold."""
