"""`Network`: a community's economy in one object, as notebooks and the command line use it.

It keeps a chain under one validator, acts as the reporter of its one scope, and has the keys of
the accounts in its home. It decides nothing about money: it turns telemetry into reports
and calls into signed transactions, and shows the results.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from inspect import signature
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec

import pyarrow as pa

from dii import codec, crypto, errors, minting
from dii.application import bank, messages, records, reports
from dii.consensus import node
from dii.genesis import SpecSection
from dii.ledger.snapshot import state_at
from dii.ledger.state import State, Table
from dii.minting.spec import from_spec
from dii.network import contracts, draft, governance, proofs, receipt, reporting, statement, tables
from dii.network.home import RESERVED_NAMES, SCOPE, Home, numbered
from dii.network.signing import Signing
from dii.network.telemetry import Feed, Traffic, near
from dii.network.view import TELEMETRY
from dii.schema import GAP, UNATTRIBUTED
from dii.telemetry import names
from dii.telemetry.metrics import Epoch, plan
from dii.testing.faults import Faults

if TYPE_CHECKING:
    from dii.economy.laboratory import Comparison, Records
    from dii.telemetry.load import Telemetry

P = ParamSpec("P")
Progress = Callable[[int, int], None]
"""Called with (epochs done, epochs to do)."""


def _creating(options: Callable[P, draft.Options]) -> Callable[P, Network]:
    """Return the function that makes a network; it takes the options one by one."""

    def create(*args: P.args, **kwargs: P.kwargs) -> Network:
        return Network._create(options(*args, **kwargs))

    create.__doc__ = options.__doc__
    create.__dict__["__signature__"] = signature(options).replace(return_annotation="Network")
    return create


class Network(Signing):
    """One community's economy; make it with :meth:`create` or :meth:`open`.

    Attributes
    ----------
    home
        Files, keys and names.
    notes
        Notes on the last :meth:`run`: values that were cut, rows that were left out, files that
        end early.
    """

    notes: Sequence[str] = ()

    # --- making and opening -------------------------------------------------------------------

    create = staticmethod(_creating(draft.Options))

    @classmethod
    def _create(cls, options: draft.Options) -> Network:
        content, first = options.draft()
        home = Home.create(None if options.home is None else Path(options.home), options.seed)
        home.draft = content
        network = cls(home, readonly=False)
        if options.simulated:
            network.simulate(options.faults or Faults())
        names = (
            *numbered("validator", options.validators),
            *numbered("reporter", options.reporters),
            *content["allocations"],
        )
        for who in names:
            home.key(who, create=True)
        # Last, since it makes the folder a home: an interrupted creation can be begun again.
        if first is None:
            home.keep_draft()
        else:
            network._seal(first)
            network._send({})  # a first block, so that there is a header
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
            There is no network, or it cannot be opened.
        """
        return cls(Home.open(Path(home), readonly=readonly), readonly=readonly)

    def _seal(self, first_time: int, feed: Feed | None = None) -> None:
        """Fix the genesis, which starts with the epoch of the first record."""
        content = self.home.draft or {}
        if feed and feed.generated is not None:
            content = content | {"laboratory": True, "generated": feed.generated}
        self.home.seal(draft.genesis(content, first_time, feed, self.home.key))
        self._start()

    def __repr__(self) -> str:
        """Return the network at a glance."""
        if not self.sealed:
            return "Network: waits for its first telemetry"
        return "\n".join(f"{name:>9}  {text}" for name, text in self.summary().items())

    # --- telemetry in -------------------------------------------------------------------------

    def ingest(
        self,
        data: Telemetry,
        traffic: Traffic | None = None,
        *,
        rebind: bool = False,
        gap: int | None = GAP,
    ) -> dict[str, codec.Address]:
        """Take telemetry in; the first records seal the genesis.

        Gateways are registered with their operators when an epoch is reported, from all telemetry
        up to then, so that the number of loads does not matter.

        Parameters
        ----------
        data
            From :func:`dii.load`; taking the same in twice changes nothing. Gateways alone are
            kept, and the network waits for its first receptions or statuses.
        traffic
            Generate receptions for the gateways instead of having any.
        rebind
            Have the reporters rebind gateways that are :meth:`contested`: after the governance's
            delay, from the next epoch on.
        gap
            Days without a record that may lie between two records, or after the network's own;
            None for any number. One record in 100 at most is set aside as ``far_in_time``.

        Returns
        -------
        dict
            The gateways that were :meth:`contested`.

        Raises
        ------
        FarInTime
            More records than that lie far from the others; nothing was taken in.
        TrafficGenerated
            Generated receptions and real ones do not go together, nor traffic of two seeds: the
            genesis says for all time which it is.
        RuleNotFed
            The stream's rule needs a metric that these records do not give.
        """
        period = (traffic.start, traffic.end) if traffic else None
        if self.sealed or self._readonly:
            self.signer()  # or nothing is taken in
        if self.sealed:
            period = self.genesis.start_time, self.reaches or self.genesis.start_time
        data, far = near(data, gap, period)
        reporters = self._reporters() if self.sealed and self.feed else []
        if any(self._begun(self.settled, name)[0] for name in reporters):
            self._run_epoch(self.settled)  # it is announced as it was known before
        feed = Feed(self.feed.telemetry + data if self.feed else data, traffic)
        if traffic is None and self.feed is not None:
            feed.traffic = self.feed.traffic
        known = self.genesis.generated if self.sealed else feed.generated
        mixed = bool(len(feed.telemetry.receptions))
        if feed.generated is not None and (mixed or feed.generated != known):
            raise errors.TrafficGenerated(
                known=f"generated ({known})" if known else "real",
                given="receptions of real gateways" if known and mixed else "generated receptions",
            )
        if not self.sealed and feed.span is not None:
            assert self.home.draft is not None
            rule = SpecSection(**self.home.draft["streams"][0]["rule"]).spec
            draft.check_fed(from_spec(rule, minting.RULES), feed.gives)
            self._seal(feed.span[0], feed)
        if self.sealed:
            closed, _ = self.genesis.span(self.settled)
            feed = feed.admit(self.genesis.start_time, closed, self.feed)
            feed.refused = pa.concat_tables([far, feed.refused])
            self._remember(feed)
            self._send({})  # a first block, so that there is a header
        self.feed = feed
        others = self.contested(data)
        if rebind:
            self.bind()
            self._register(names.owners(others, self.names()))
        if self.home.folder is not None:
            self.feed.save(self.home.folder / TELEMETRY)
        return others

    def _remember(self, feed: Feed) -> None:
        """Remember the names of gateways, operators and applications."""
        telemetry, address = feed.telemetry, self.home.operator_address
        operators: dict[bytes, str] = {
            address(name): f"{name} (operator)" if name in RESERVED_NAMES else name
            for name in sorted(set(telemetry.operators().values()))
        }
        self.home.remember("account", operators)
        pairs = feed.pairs(self.genesis.start_time, self.genesis.epoch_length)
        listed = telemetry.gateways["gateway"].to_pylist()
        self.home.remember_hashed("gateway", pairs.names.union(listed))
        used = telemetry.receptions["application"].unique().drop_null().to_pylist()
        self.home.remember_hashed("application", used)

    def contested(self, data: Telemetry) -> dict[str, codec.Address]:
        """Return the gateways whose operator in the data differs from the owner on the chain.

        Returns
        -------
        dict
            Gateway to the account of the operator in the data. Loading changes no owner on the
            chain; see :meth:`ingest`.
        """
        if not self.sealed or self.feed is None:
            return {}
        self.signer()  # or there is no key to hash with
        owner = cache(lambda name: bank.resolve(self.state, self.home.operator_address(name)))
        names, unbound = self.names(), self.unbound()
        others = {}
        named = data.gateways.select(["gateway", "operator"]).to_pydict()
        for name, operator in zip(*named.values()):
            gateway = names.get(name, name)
            binding = self.binding(gateway)
            present = binding.owners[-1][1] if binding else unbound.get(gateway)
            if operator is None or present is None:
                continue
            if bank.resolve(self.state, present) != owner(operator):
                others[name] = owner(operator)
        return others

    def bind(self) -> None:
        """Bind the gateways of the open epoch that have an operator and no binding yet.

        Without a reporter's key they stay unbound, and no epoch settles.

        Raises
        ------
        SourceUnreadable, HomeBroken
            The telemetry cannot be read, so no name can be resolved.
        """
        _ = self.feed
        if self._reporters():
            self._register(self.unbound())

    def _register(self, owners: Mapping[str, codec.Address]) -> None:
        """Bind gateways to accounts, as the reporters whose keys are here."""
        bindings = [(self.home.hash("gateway", name), owner) for name, owner in owners.items()]
        batches = reporting.registrations(messages.RegisterGateways, bindings)
        self._send(dict.fromkeys(self._reporters(), batches))

    # --- epochs -------------------------------------------------------------------------------

    def run(
        self, epochs: int | None = None, progress: Progress | None = None, *, complete: bool = False
    ) -> Network:
        """Report and settle complete epochs, in order.

        An epoch is complete when it ends at or before the time that the records reach, even
        without a record in it. Later epochs stay open, since more of their records may come.

        Parameters
        ----------
        epochs
            Number of epochs to settle at most; None for all.
        progress
            Called after each epoch with (done, to do).
        complete
            Settle the epoch of the latest record, too.

        Returns
        -------
        Network
            Itself.

        Raises
        ------
        NoReporter
            No reporter's key is here. Time has passed all the same: decisions that were due took
            effect.
        """
        self.signer()
        self.notes, first = (), self.settled
        count = max(0, (self.last_epoch + 1 if complete else self.complete_epochs) - first)
        count = count if epochs is None else min(epochs, count)
        for done in range(count):
            if first + done >= self.settled:  # later ones, reported already, may settle with one
                reporters = self.scope.reporters
                self._run_epoch(first + done)
                if first + done >= self.settled and self.scope.reporters != reporters:
                    self._run_epoch(first + done)  # a decision came into effect with the reports
            if progress:
                progress(done + 1, count)
        self.view.index.flush()
        if self.feed is not None:
            early = self.feed.ending_early(*self.genesis.span(0), range(first, self.settled))
            self.notes = [*self.notes, *early]
        if count:
            self._reporters(required=True)
        return self

    def _run_epoch(self, epoch: int) -> None:
        _, end = self.genesis.span(epoch)
        reporters = self._reporters()
        if not reporters:
            self.signer().include((), end)
            self.signer().settle()
            return
        self.bind()
        found = self._epoch(epoch)
        loaded = self.feed.telemetry.gateways["gateway"].to_pylist() if self.feed else []
        more = {*found.metrics["gateway"].to_pylist()}.difference(loaded, [UNATTRIBUTED])
        self.home.remember_hashed("gateway", more)  # named by rejects only
        manifest, chunks = reporting.report(self, epoch, found)
        self.notes = [*self.notes, *reporting.notes(found, manifest)]
        self._send({name: self._unsent(name, manifest, chunks) for name in reporters}, time=end)
        if self.home.folder is not None and self.feed is not None:
            self.feed.save_lookback(self.home.folder / TELEMETRY)

    def _reporters(self, *, required: bool = False) -> list[str]:
        """Return the names of the scope's reporters whose keys are here; NoReporter if required."""
        here = self.home.signers(self.scope.reporters)
        if required and not here:
            named = ", ".join(map(self.home.label, self.scope.reporters))
            raise errors.NoReporter(scope=SCOPE, reporters=named, folder=self.home.folder)
        return here

    def _begun(self, epoch: int, reporter: str) -> tuple[records.Report | None, int]:
        """Return a reporter's report on an unsettled epoch, and how many chunks have arrived."""
        key = SCOPE, epoch, self.home.key(reporter).address
        progress = self.state.get(records.PROGRESS, *key)
        return self.state.get(records.REPORTS, *key), progress.received if progress else 0

    def _unsent(
        self, name: str, manifest: messages.ReportManifest, chunks: list[messages.ReportChunk]
    ) -> list[messages.Message]:
        """Return the part of a report that a reporter has not sent, or all of it if that differs.

        A report that has arrived whole, with the columns of the scope, stays as it is.
        """
        begun, received = self._begun(manifest.epoch, name)
        if begun is not None and begun == reports.announced(manifest, begun.tries):
            return [*chunks[received:]]
        kept = begun is not None and received == begun.parts and begun.fits(self.scope)
        return [] if kept else [manifest, *chunks]

    def metrics(self, epoch: int) -> pa.Table:
        """Compute an epoch's metrics from the telemetry, as its report carries them.

        Returns
        -------
        pyarrow.Table
            One row per gateway: ``gateway`` and the metrics that the telemetry gives.
        """
        return self._epoch(epoch).metrics

    def usage(self, epoch: int) -> pa.Table:
        """Compute the usage of operators by applications in an epoch, as its report carries it.

        Returns
        -------
        pyarrow.Table
            One row per ``application`` and ``operator`` (account in hex; empty: the whole
            application), and the counts that the telemetry gives.
        """
        return self._epoch(epoch).usage

    def _fed(self) -> Feed:
        """Return the telemetry; NotSealed, HomeJoined or NoTelemetry where there is none."""
        if self.feed is not None:
            return self.feed
        if self.view.store.base:
            raise self.lacks("nothing can be computed from records")
        raise errors.NoTelemetry(folder=self.home.folder or "memory")

    def _epoch(self, epoch: int) -> Epoch:
        feed, genesis = self._fed(), self.genesis
        bound = any(self.state.items(records.APPLICATIONS, SCOPE))
        applications = self.home.names("application")
        known = self._owners(records.APPLICATIONS, applications, epoch) if bound else None
        span, radius = (genesis.start_time, genesis.epoch_length), genesis.scopes[0].site_radius_m
        return feed.epoch(epoch, *span, self._players(epoch), known, radius, self.names)

    def _players(self, epoch: int) -> dict[str, str]:
        """Return the owner's account of each gateway in an epoch.

        Gateways without a binding have the owner that reporting the epoch will bind.
        """
        if self.feed is None:
            return {}
        start, length = self.genesis.start_time, self.genesis.epoch_length
        known = {*self.feed.gateways(start + (epoch + 1) * length)}
        known |= self.feed.pairs(start, length).names
        names: dict[bytes, str] = {self.home.hash("gateway", name): name for name in known}
        coming = {
            name: bank.resolve(self.state, owner).hex()
            for name, owner in self.unbound(epoch).items()
        }
        return coming | self._owners(records.GATEWAYS, names, epoch)

    def _owners(
        self, table: Table[records.Binding], names: Mapping[bytes, str], epoch: int
    ) -> dict[str, str]:
        """Return the owner's account of each bound gateway or application in an epoch."""
        owners, state = {}, self._state_of(epoch)
        for hashed, name in names.items():
            binding = state.get(table, SCOPE, hashed)
            owner = binding.owner(epoch) if binding else None
            if owner is not None:
                owners[name] = bank.resolve(state, owner).hex()
        return owners

    def _state_of(self, epoch: int) -> State:
        """Return the state by which an epoch was settled; the present state if it is not settled.

        Later states lack owners that no open epoch needs, and claims merge operators.
        """
        query = "SELECT min(height) FROM epochs WHERE scope = ? AND epoch = ?"
        ((height,),) = self.view.index.query(query, (SCOPE, epoch))
        settled = epoch < self.settled and height is not None
        return state_at(self.view.store, height - 1) if settled else self.state

    # --- messages -----------------------------------------------------------------------------

    def transfer(self, sender: str, recipient: str, amount: str | int) -> str:
        """Move money between accounts; return the transaction's id in hex.

        Raises
        ------
        Refused
            The chain's reason, such as insufficient funds.
        """
        to = self.home.address(recipient)
        return self.submit(sender, messages.Transfer(to, self.currency.parse(amount)))

    def burn(self, sender: str, amount: str | int) -> str:
        """Destroy money to pay for a service; return the transaction's id in hex."""
        return self.submit(sender, messages.Burn(self.currency.parse(amount)))

    def assign(self, gateway: str, sender: str, recipient: str, scope: str = SCOPE) -> str:
        """Transfer a scope's gateway to another account, from the next epoch."""
        to = self.home.address(recipient)
        self.bind()
        message = messages.AssignGateway(scope, self.gateway(gateway), to)
        return self.submit(sender, message)

    def register_application(self, application: str, consumer: str) -> str:
        """Bind an application to its consumer's account, as the reporters.

        From then on ``own_uplinks`` are known: uplinks of an operator's own applications.
        """
        bound = (self.home.hash("application", application), self.home.address(consumer))
        self.home.remember_hashed("application", [application])
        batches = reporting.registrations(messages.RegisterApplications, [bound])
        return self._send(dict.fromkeys(self._reporters(required=True), batches))

    def claimed(self, operator: str) -> bool:
        """Return whether an operator's claim account forwards to a key."""
        return self.state.get(records.FORWARDS, self.home.claim_account(operator)) is not None

    def claim(self, operator: str, key: str | bytes) -> str:
        """Have an operator's claim account forward to a key, as the reporters.

        Parameters
        ----------
        operator
            The operator's name, as the registry gives it.
        key
            Name of a key in this home, or a public key, which may be in hex.

        Raises
        ------
        UnknownName
            No registry that was loaded names this operator.
        AlreadyClaimed
            The account forwards to a key already.
        """
        self.signer()  # or there is no key to hash with
        address = self.home.claim_account(operator)
        forward = self.state.get(records.FORWARDS, address)
        if forward is not None:
            raise errors.AlreadyClaimed(account=operator, owner=self.home.label(forward))
        public_key = self.home.public_key(key)
        message = messages.Claim(SCOPE, self.home.hash("operator", operator), public_key)
        done = self._send({name: [message] for name in self._reporters(required=True)})
        owner = crypto.address_of(public_key)
        # A key elsewhere takes over the name, if enough reporters have their keys here.
        if self.claimed(operator) and owner not in self.home.names("account"):
            self.home.remember("account", {address: f"{operator} (claimed)", owner: operator})
        return done

    # --- what came out ------------------------------------------------------------------------

    # As methods these functions take the network as their argument.
    summary = tables.summary
    accounts = tables.accounts
    gateways = tables.gateways
    operators = tables.operators
    epochs = tables.epochs
    blocks = tables.blocks
    transactions = tables.transactions
    transfers = tables.transfers
    rounds = tables.rounds
    votes = tables.votes
    messages = tables.messages
    evidence = tables.evidence
    theatre = tables.theatre
    issuance = tables.issuance
    receipt = receipt.receipt
    prove = proofs.prove
    statement = statement.statement

    stream_change = governance.stream_change
    propose = governance.propose
    vote = governance.vote
    proposals = governance.proposals
    concerns = governance.concerns

    check = staticmethod(contracts.check)
    deploy = contracts.deploy
    contract = contracts.contract
    contracts = contracts.contracts

    # --- the laboratory -----------------------------------------------------------------------

    def records(self, epoch: int) -> Records:
        """Return the records of an epoch, with operators by name, to compare rules by.

        The network's own rule over these records gives the epoch's issuance. The look-back to
        earlier epochs is computed from the first on, unless the previous epoch was settled last.
        """
        from dii.economy.laboratory import Records  # noqa: PLC0415

        feed = self._fed()
        if not 0 <= (number := index(epoch)) <= self.last_epoch:
            message = f"the telemetry has no epoch {number}; its last is {self.last_epoch}"
            raise errors.NothingToCompare(message=message)
        start, end = self.genesis.span(number)
        accounts, gateways = self.home.names("account"), self.home.names("gateway")
        renamed = self.names(number)
        settled, lookback = feed.lookback or (-1, None)
        if settled != number - 1:
            lookback = self._epoch(number - 1).lookback if number else None
        return Records(
            receptions=names.renamed(feed.receptions(start, end + plan.BEYOND), renamed),
            statuses=names.renamed(feed.statuses(start, end), renamed),
            operators={
                gateway: self.home.label(bytes.fromhex(owner), accounts)
                for gateway, owner in self._players(number).items()
            },
            start=start,
            length=self.genesis.epoch_length,
            gives=feed.gives,
            rejects=names.renamed(feed.telemetry.rejected, renamed),
            lookback=lookback and lookback.renamed(renamed),
            places=names.places_of(feed.telemetry.gateways, renamed),
            site_radius_m=self.genesis.scopes[0].site_radius_m,
            denied=frozenset(gateways.get(one, "") for one in governance.denied(self, number)),
        )

    def compare(
        self, epoch: int, *rules: minting.Rule, pool: str | int | None = None, price: str | int = 0
    ) -> Comparison:
        """Pay an epoch under several rules, with and without cheats: :mod:`dii.economy.laboratory`.

        Parameters
        ----------
        epoch
            Epoch of the telemetry, settled or not.
        *rules
            By default every share rule without parameters that the records can feed.
        pool
            Money that each rule shares out; by default the most that an epoch may mint.
        price
            Price of a data unit for its sender, so that traffic to oneself has its cost.
        """
        from dii.economy.laboratory import compare  # noqa: PLC0415

        found = self.records(epoch)
        chosen = rules or draft.fitting(found.gives)
        money = self.genesis.max_mint_per_epoch if pool is None else self.currency.parse(pool)
        resolved = [rule.resolve(self.currency) for rule in chosen]
        return compare(found, resolved, money, price=self.currency.parse(price))

    # --- checking -----------------------------------------------------------------------------

    def verify(self, progress: Callable[[int], None] | None = None) -> node.Verified:
        """Execute the whole chain again from its genesis and compare everything.

        Raises
        ------
        BlockInvalid, InvariantBroken
            The error names the first height that does not hold.
        """
        found = node.verify(self.genesis, self.view.store, progress)
        if self._engine is not None:
            self._engine.check()
        return found

    def rebuild(self) -> None:
        """Rebuild the index from the chain."""
        if not isinstance(self._chain, node.Node):
            raise errors.NotSealed
        self._chain.rebuild()
