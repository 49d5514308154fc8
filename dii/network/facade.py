"""`Network`: a community's economy in one object, as notebooks and the command line use it.

It keeps a chain under one validator, plays the reporter of its one scope, and holds the keys of
the accounts that live in its home. Nothing here decides anything about money: it turns telemetry
into reports and wishes into signed transactions, and shows what the chain made of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dii import crypto, minting
from dii.application import gas
from dii.application.bank import account, resolve, supply
from dii.application.messages import (
    AssignGateway,
    Burn,
    Claim,
    Message,
    RegisterGateways,
    ReportChunk,
    Transfer,
    to_value,
)
from dii.application.pages import MAX_BYTES, decode
from dii.application.records import CHAIN, GATEWAYS, ISSUANCES, PAGES, SCOPES, STREAMS
from dii.application.settling import epoch_status
from dii.consensus.node import CHAIN_FILE, INDEX_FILE, Node, Verified, verify
from dii.consensus.solo import Solo
from dii.crypto import SigningKey, format_address, keyed_hash
from dii.errors import GenesisError, NoReceipt, NotSealed, NotYetSettled, Refused
from dii.genesis import AccountSection, CurrencySection, Genesis, SpecSection
from dii.ledger import log, transaction
from dii.ledger.block import Header
from dii.ledger.proof import Proof
from dii.ledger.reader import Reader
from dii.ledger.state import State, Table
from dii.minting import Policy, Rule
from dii.network import views
from dii.network.feed import Feed, Traffic
from dii.network.home import RESERVED, Home
from dii.network.receipt import Receipt, ReceiptProof
from dii.network.reporting import registrations, report
from dii.telemetry.schema import METRICS
from dii.units import SECOND, Currency, from_microseconds, to_microseconds

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from dii.telemetry.load import Telemetry
    from dii.telemetry.metrics import Lookback

SCOPE = "main"
STREAM = "main"
VALID_FOR = 1_000
"""Blocks for which a transaction signed here stays valid."""
TELEMETRY = "telemetry"

Progress = Callable[[int, int], None]
"""Called with (epochs done, epochs to do)."""


class Network:
    """One community's economy; make it with :meth:`create` or :meth:`open`.

    Attributes
    ----------
    home
        Files, keys and names.
    """

    def __init__(self, home: Home, draft: Mapping[str, Any] | None, *, readonly: bool) -> None:
        self.home = home
        self._draft = draft
        self._readonly = readonly
        self._genesis = home.genesis
        self._node: Node | None = None
        self._reader: Reader | None = None
        self._solo: Solo | None = None
        self._feed = Feed.open(home.folder / TELEMETRY) if home.folder else None
        self._lookback: tuple[int, Lookback] | None = None
        if self._genesis is not None:
            self._start(self._genesis)

    # --- making and opening -------------------------------------------------------------------

    @classmethod
    def create(
        cls,
        name: str = "ttn",
        *,
        symbol: str = "TTC",
        currency: str = "The Things Coin",
        decimals: int = 6,
        seed: int | None = None,
        home: str | Path | None = None,
        rule: Rule | None = None,
        policy: Policy | None = None,
        allocations: Mapping[str, str | int] | None = None,
        start: datetime | str | None = None,
        epoch_seconds: int = 86_400,
        gas_price: int = 1,
    ) -> Network:
        """Make a new network.

        Parameters
        ----------
        name
            Short name of the chain.
        symbol, currency, decimals
            Of its currency.
        seed
            Makes it a laboratory network, whose keys follow from the seed. Required in memory.
        home
            Folder to keep it in; None keeps it in memory.
        rule, policy
            The one stream by which gateways are paid; by default ``ShapleyTraffic`` and a
            ``FixedEmission`` of 10,000.
        allocations
            Opening balances by account name: ``{"bob": "500 TTC"}``.
        start
            Start of epoch 0; by default the first day of the first telemetry.
        epoch_seconds
            Length of an epoch.
        gas_price
            Smallest units a gas.

        Raises
        ------
        GenesisError, HomeExists, MetricNotReported
            What was asked for makes no network.
        """
        if home is None and seed is None:
            message = "a network in memory is a laboratory network: give it a seed, or a home"
            raise GenesisError(field="seed", message=message)
        money = Currency(currency, symbol, decimals)
        CurrencySection(name=currency, symbol=symbol, decimals=decimals)
        rule = (rule or minting.ShapleyTraffic()).resolve(money)
        policy = (policy or minting.FixedEmission(f"10000 {symbol}")).resolve(money)
        stream = {
            "name": STREAM,
            "scope": SCOPE,
            "rule": SpecSection.of(rule.spec()).model_dump(),
            "policy": SpecSection.of(policy.spec()).model_dump(),
        }
        draft: dict[str, Any] = {
            "name": name,
            "epoch_seconds": epoch_seconds,
            "gas_price": gas_price,
            "max_mint_per_epoch": policy.most,
            "laboratory": seed is not None,
            "currency": {"name": currency, "symbol": symbol, "decimals": decimals},
            "streams": [stream],
        }
        for who in allocations or {}:
            if who in RESERVED:
                message = f"{who!r} is an account that every network has; take another name"
                raise GenesisError(field="allocations", message=message)
        folder = Path(home) if home is not None else None
        made = Home.create(folder, draft | {"allocations": dict(allocations or {})}, seed)
        network = cls(made, draft | {"allocations": dict(allocations or {})}, readonly=False)
        for who in ("validator", "reporter", *(allocations or {})):
            made.key(who, create=True)
        if start is not None:
            moment = datetime.fromisoformat(start) if isinstance(start, str) else start
            network._seal(to_microseconds(moment), frozenset(METRICS))
        return network

    @classmethod
    def open(cls, home: str | Path, *, readonly: bool = False) -> Network:
        """Open a network from its home directory.

        Parameters
        ----------
        home
            The folder.
        readonly
            Look only; another process may be writing.

        Raises
        ------
        HomeMissing, StoreLocked, WrongChain, StoreBroken
            What is there cannot be opened.
        """
        opened = Home.open(Path(home))
        return cls(opened, opened.draft, readonly=readonly)

    def _seal(self, first_time: int, gives: frozenset[str]) -> None:
        """Fix the genesis: its start is the beginning of the epoch of the first record."""
        assert self._draft is not None
        draft = dict(self._draft)
        allocations = draft.pop("allocations")
        length = draft["epoch_seconds"] * SECOND
        money = Currency(**draft["currency"])
        accounts = [
            {
                "address": format_address(self.home.key(name).address),
                "balance": money.parse(amount),
            }
            for name, amount in allocations.items()
        ]
        genesis = Genesis.make(
            **draft,
            start=from_microseconds(first_time // length * length),
            accounts=[AccountSection(**item) for item in accounts],
            validators=[{"public_key": self.home.key("validator").public_key.hex()}],
            scopes=[
                {
                    "name": SCOPE,
                    "reporters": [format_address(self.home.key("reporter").address)],
                    "metrics": [name for name in METRICS if name in gives],
                }
            ],
        )
        self.home.seal(genesis)
        self._genesis = genesis
        self._start(genesis)

    def _start(self, genesis: Genesis) -> None:
        folder = self.home.folder
        if self._readonly and folder is not None:
            chain = folder / CHAIN_FILE
            self._reader = Reader(chain, folder / INDEX_FILE, genesis.hash)
        else:
            self._node = Node(genesis, folder)
            self._solo = Solo(self._node, self.home.key("validator"))

    def close(self) -> None:
        """Write what is buffered and release the files."""
        for part in (self._node, self._reader, self.home):
            if part is not None:
                part.close()

    def __enter__(self) -> Network:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- what it stands on --------------------------------------------------------------------

    @property
    def genesis(self) -> Genesis:
        """The sealed genesis.

        Raises
        ------
        NotSealed
            No telemetry has been ingested yet.
        """
        if self._genesis is None:
            raise NotSealed
        return self._genesis

    @property
    def sealed(self) -> bool:
        """Whether there is a genesis, hence a chain."""
        return self._genesis is not None

    @property
    def currency(self) -> Currency:
        """The currency, for reading and writing amounts."""
        if self._genesis is None and self._draft is not None:
            return Currency(**self._draft["currency"])
        return self.genesis.money

    @property
    def view(self) -> Node | Reader:
        """State, index and header to read from; NotSealed where there is no chain yet."""
        view = self._node or self._reader
        if view is None:
            raise NotSealed
        return view

    @property
    def state(self) -> State:
        """The committed state."""
        return self.view.state

    def header(self) -> Header:
        """Return the last header: whoever trusts its hash can check everything."""
        header = self.view.header
        assert header is not None, "a sealed chain has a first block"
        return header

    @property
    def height(self) -> int:
        """Height of the chain."""
        return self.view.height

    @property
    def settled(self) -> int:
        """Number of epochs that are closed."""
        scope = self.state.get(SCOPES, SCOPE)
        assert scope is not None
        return scope.next_epoch

    def epoch_status(self, epoch: int) -> str:
        """Return whether an epoch is open, reporting, settling or closed."""
        chain = self.state.get(CHAIN)
        assert chain is not None
        now = self.view.header.time if self.view.header else chain.start
        return epoch_status(self.state, chain, SCOPE, epoch, now)

    # --- telemetry in -------------------------------------------------------------------------

    def ingest(self, data: Telemetry, traffic: Traffic | None = None) -> None:
        """Take telemetry in: seal the genesis if need be, register gateways, queue epochs.

        Parameters
        ----------
        data
            From :func:`dii.load`; taking the same in twice changes nothing.
        traffic
            Generate receptions for the gateways instead of having any.

        Raises
        ------
        NotSealed
            The data have neither receptions nor statuses, so no first day.
        MetricNotReported
            The stream's rule needs a metric that this data does not give.
        """
        feed = Feed(self._feed.telemetry + data if self._feed else data, traffic)
        if traffic is None and self._feed is not None:
            feed.traffic = self._feed.traffic
        if not self.sealed:
            if feed.span is None:
                raise NotSealed
            self._seal(feed.span[0], feed.gives)
        before = feed.telemetry.before(self.genesis.start_time)
        if before:
            feed.telemetry = feed.telemetry.reject_before(self.genesis.start_time)
        self._feed = feed
        if self.home.folder is not None:
            feed.save(self.home.folder / TELEMETRY)
        self._register(feed)
