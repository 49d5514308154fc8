"""`Network`: a community's economy in one object, as notebooks and the command line use it.

It keeps a chain under one validator, plays the reporter of its one scope, and holds the keys of
the accounts that live in its home. Nothing here decides anything about money: it turns telemetry
into reports and wishes into signed transactions, and shows what the chain made of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from functools import cache
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from dii import crypto, errors, minting
from dii.application import messages, records
from dii.application.bank import resolve
from dii.application.reports import announced
from dii.consensus.node import Verified, verify
from dii.genesis import SpecSection
from dii.ledger.snapshot import state_at
from dii.ledger.state import State, Table
from dii.minting import Policy, Rule
from dii.minting.spec import from_spec
from dii.network import contracts as deals
from dii.network import draft as founding
from dii.network import governance as governing
from dii.network import proofs
from dii.network import receipt as receipts
from dii.network import statement as statements
from dii.network import tables as views
from dii.network.home import RESERVED, SCOPE, Home, reporter_names
from dii.network.reporting import notes, registrations, report
from dii.network.signing import Sending
from dii.network.telemetry import Feed, Traffic, near
from dii.network.view import TELEMETRY
from dii.schema import GAP, METRICS, UNATTRIBUTED, USAGE
from dii.telemetry.names import owners
from dii.units import SECOND, Currency

if TYPE_CHECKING:
    from dii.economy.laboratory import Comparison, Records
    from dii.telemetry.load import Telemetry
    from dii.telemetry.metrics import Epoch

Progress = Callable[[int, int], None]
"""Called with (epochs done, epochs to do)."""


class Network(Sending):
    """One community's economy; make it with :meth:`create` or :meth:`open`.

    Attributes
    ----------
    home
        Files, keys and names.
    notes
        What one should know of the last :meth:`run`: values that were cut, rows that were left
        out, files that end early.
    """

    notes: Sequence[str] = ()

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
        reporters: int = 1,
        site_radius_m: int = 0,
        max_mint_per_epoch: str | int | None = None,
        governance: Mapping[str, int] | None = None,
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
        site_radius_m
            Players whose gateways stand within so many metres of each other count as one in
            ``shapley_uplinks``; 0 leaves them apart.
        reporters
            How many there are, at most 64; here all of them report the same. Of n, (n - 1) // 3
            could lie and move nothing.
        max_mint_per_epoch
            What no vote can raise; by default what the policy mints at most.
        governance
            Other things that no vote can change, as the genesis names them; by default
            ``{"delay_seconds": 604_800, "voting_seconds": 1_209_600, "max_treasury_ppm": 200_000}``.

        Raises
        ------
        GenesisError, BadAmount, BadName, HomeExists
            What was asked for makes no network; nothing was written.
        """
        if home is None and seed is None:
            message = "a network in memory is a laboratory network: give it a seed, or a home"
            raise errors.GenesisError(field="seed", message=message)
        draft, first = founding.draft(
            name,
            currency=Currency(currency, symbol, decimals),
            seed=seed,
            rule=rule or minting.ShapleyTraffic(),
            policy=policy or minting.FixedEmission("10000"),
            allocations=allocations or {},
            start=start,
            epoch_seconds=epoch_seconds,
            gas_price=gas_price,
            reporters=reporters,
            site_radius_m=site_radius_m,
            max_mint_per_epoch=max_mint_per_epoch,
            governance=governance or {},
        )
        folder = Path(home) if home is not None else None
        network = cls(Home.create(folder, seed), draft, readonly=False)
        for who in ("validator", *reporter_names(reporters), *draft["allocations"]):
            network.home.key(who, create=True)
        # Last, since it makes the folder a home: what is interrupted before can be begun again.
        if first is None:
            network.home.keep_draft(draft)
        else:
            network._seal(first, METRICS, USAGE)
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
            What is there cannot be opened.
        """
        opened = Home.open(Path(home), readonly=readonly)
        try:
            return cls(opened, opened.draft, readonly=readonly)
        except BaseException:
            opened.close()
            raise

    def _seal(
        self,
        first_time: int,
        metrics: Collection[str],
        usage: Collection[str],
        generated: str | None = None,
    ) -> None:
        """Fix the genesis: its start is the beginning of the epoch of the first record."""
        assert self._draft is not None
        draft, key = dict(self._draft), self.home.key
        if generated is not None:
            draft |= {"laboratory": True, "generated": generated}
        money, length = self.currency, draft["epoch_seconds"] * SECOND
        balances = {
            key(name).address: money.parse(amount)
            for name, amount in draft.pop("allocations").items()
        }
        genesis = founding.genesis(
            draft,
            start=first_time // length * length,
            metrics=metrics,
            usage=usage,
            balances=balances,
            validator=key("validator").public_key,
            reporters=[key(name).address for name in reporter_names(draft["reporters"])],
        )
        self.home.seal(genesis)
        self._genesis = genesis
        self._start(genesis)

    def __repr__(self) -> str:
        """Return the network at a glance, or what it waits for."""
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
    ) -> dict[str, bytes]:
        """Take telemetry in: seal the genesis if need be, and queue epochs.

        Gateways are registered with their operators when an epoch is reported, from all that is
        known by then, so that it does not matter in how many loads it came.

        Parameters
        ----------
        data
            From :func:`dii.load`; taking the same in twice changes nothing. Gateways alone are
            kept, and the network waits for its first receptions or statuses.
        traffic
            Generate receptions for the gateways instead of having any.
        rebind
            Have the reporters bind what is :meth:`contested` anew: after the governance's delay,
            from the next epoch on.
        gap
            Days without a record that may lie between two records, or after the network's own;
            None for any number. One record in 100 at most is set aside as ``far_in_time``.

        Returns
        -------
        dict
            What was :meth:`contested`.

        Raises
        ------
        FarInTime
            More records than that lie far from the others; nothing was taken in.
        TrafficGenerated
            Generated receptions and real ones do not go together, nor traffic of two seeds: the
            genesis says for all time which it is.
        RuleNotFed
            The stream's rule needs a metric that this data does not give.
        """
        period = (traffic.start, traffic.end) if traffic else None
        if self.sealed:
            self.signer()  # or nothing is taken in
            period = self.genesis.start_time, self.reaches or self.genesis.start_time
        data, far = near(data, gap, period)
        reporters = self._reporters() if self.sealed and self._feed else []
        if any(self._begun(self.settled, name)[0] for name in reporters):
            self._run_epoch(self.settled)  # it is announced as it was known before
        feed = Feed(self._feed.telemetry + data if self._feed else data, traffic)
        if traffic is None and self._feed is not None:
            feed.traffic = self._feed.traffic
        known = self.genesis.generated if self.sealed else feed.generated
        mixed = bool(len(feed.telemetry.receptions))
        if feed.generated is not None and (mixed or feed.generated != known):
            raise errors.TrafficGenerated(
                known=f"generated ({known})" if known else "real",
                given="receptions of real gateways" if known and mixed else "generated receptions",
            )
        if not self.sealed and feed.span is not None:
            assert self._draft is not None
            rule = SpecSection(**self._draft["streams"][0]["rule"]).spec
            founding.check_fed(from_spec(rule, minting.RULES), feed.gives)
            self._seal(feed.span[0], feed.gives, feed.gives_usage, feed.generated)
        if self.sealed:
            closed, _ = self.genesis.span(self.settled)
            feed = feed.admit(self.genesis.start_time, closed, self._feed)
            feed.refused = pa.concat_tables([far, feed.refused])
            self._remember(feed)
            self._send({})  # a first block, so that there is a header
        self._feed = feed
        others = self.contested(data)
        if rebind:
            self.bind()
            self._register(owners(others, self.names()))
        if self.home.folder is not None:
            self._feed.save(self.home.folder / TELEMETRY)
        return others

    def _remember(self, feed: Feed) -> None:
        """Remember the names of gateways, operators and applications."""
        named = sorted(set(feed.telemetry.operators().values()))
        addresses = {name: self.home.operator_address(name) for name in named}
        shown = {name: f"{name} (operator)" if name in RESERVED else name for name in named}
        self.home.remember("account", [(addresses[name], shown[name], None) for name in named])
        pairs = feed.pairs(self.genesis.start_time, self.genesis.epoch_length)
        listed = {row["gateway"]: row for row in feed.telemetry.gateways.to_pylist()}
        self.home.remember_hashed("gateway", dict.fromkeys(sorted(pairs.names)) | listed)
        used = feed.telemetry.receptions["application"].unique().drop_null().to_pylist()
        self.home.remember_hashed("application", dict.fromkeys(used))

    def contested(self, data: Telemetry) -> dict[str, bytes]:
        """Return the gateways of which data names another operator than their owner on the chain.

        Returns
        -------
        dict
            Gateway to the account of the operator that is named. Nothing on the chain is changed
            by naming; see :meth:`ingest`.
        """
        if not self.sealed or self._feed is None:
            return {}
        self.signer()  # or there is no key to hash with
        owner = cache(lambda name: resolve(self.state, self.home.operator_address(name)))
        names, unbound = self.names(), self.unbound()
        others = {}
        named = data.gateways.select(["gateway", "operator"]).to_pydict()
        for name, operator in zip(*named.values()):
            gateway = names.get(name, name)
            binding = self.state.get(records.GATEWAYS, SCOPE, self.home.hash("gateway", gateway))
            if operator is None or (binding is None and gateway not in unbound):
                continue
            present = binding.owners[-1][1] if binding else unbound[gateway]
            if resolve(self.state, present) != owner(operator):
                others[name] = owner(operator)
        return others

    def bind(self) -> None:
        """Bind the gateways of the open epoch that have an operator and no binding yet.

        Where no reporter's key is here, they are bound once there is one: no epoch settles before.

        Raises
        ------
        SourceUnreadable, HomeBroken
            The telemetry cannot be read, so no name can be resolved.
        """
        _ = self.feed
        if self._reporters():
            self._register(self.unbound())

    def _register(self, owners: Mapping[str, bytes]) -> None:
        """As the reporters whose keys are here, bind gateways to accounts."""
        bindings = [(self.home.hash("gateway", name), owner) for name, owner in owners.items()]
        batches = registrations(messages.RegisterGateways, SCOPE, bindings)
        self._send(dict.fromkeys(self._reporters(), batches))

    # --- epochs -------------------------------------------------------------------------------

    def run(
        self,
        epochs: int | None = None,
        progress: Progress | None = None,
        *,
        complete: bool = False,
    ) -> Network:
        """Report and settle complete epochs, in order.

        An epoch is complete when it ends at or before the time that the records reach; one with
        no records is empty. The others stay open, for the rest of their records may still come.

        Parameters
        ----------
        epochs
            Number of epochs to settle at most; None for all.
        progress
            Called after each epoch with (done, to do).
        complete
            Take the epoch of the latest record for complete, too.

        Returns
        -------
        Network
            Itself.

        Raises
        ------
        NoReporter
            Time has passed, and no key here reports; what is decided has come into effect.
        """
        self.signer()
        self.notes, first = (), self.settled
        count = max(0, (self.last_epoch + 1 if complete else self.complete_epochs) - first)
        count = count if epochs is None else min(epochs, count)
        for done in range(count):
            if first + done >= self.settled:  # later ones, reported already, may settle with one
                self._run_epoch(first + done)
            if progress:
                progress(done + 1, count)
        self.view.index.flush()
        if self._feed is not None:
            early = self._feed.ending_early(*self.genesis.span(0), range(first, self.settled))
            self.notes = [*self.notes, *early]
        if count:
            self._require_reporters()
        return self

    def _run_epoch(self, epoch: int) -> None:
        _, end = self.genesis.span(epoch)
        reporters = self._reporters()
        if not reporters:
            self.signer().produce(time=end)
            self.signer().settle()
            return
        self.bind()
        found = self._epoch(epoch)
        loaded = self._feed.telemetry.gateways["gateway"].to_pylist() if self._feed else []
        more = {*found.metrics["gateway"].to_pylist()}.difference(loaded, [UNATTRIBUTED])
        self.home.remember_hashed("gateway", dict.fromkeys(sorted(more)))  # named by rejects only
        most = self.parameters.max_rows
        parts = report(SCOPE, self.scope, epoch, found, self.home.hash, self._is_bound, most)
        self.notes = [*self.notes, *notes(found, parts[0])]
        self._send({name: self._unsent(epoch, name, parts) for name in reporters}, time=end)
        if self.home.folder is not None and self._feed is not None:
            self._feed.save_lookback(self.home.folder / TELEMETRY)

    def _reporters(self) -> list[str]:
        """Return the names of the scope's reporters whose keys are here."""
        return self.home.signers(self.scope.reporters)

    def _require_reporters(self) -> list[str]:
        """Return the same; NoReporter if there is none."""
        here = self._reporters()
        if not here:
            named = ", ".join(map(self.home.label, self.scope.reporters))
            raise errors.NoReporter(scope=SCOPE, reporters=named, folder=self.home.folder)
        return here

    def _begun(self, epoch: int, reporter: str) -> tuple[records.Report | None, int]:
        """Return a reporter's report on an unsettled epoch, and how many chunks have arrived."""
        key = SCOPE, epoch, self.home.key(reporter).address
        progress = self.state.get(records.PROGRESS, *key)
        return self.state.get(records.REPORTS, *key), progress.received if progress else 0

    def _unsent(
        self, epoch: int, reporter: str, parts: list[messages.ReportManifest | messages.ReportChunk]
    ) -> list[messages.ReportManifest | messages.ReportChunk]:
        """Return the rest of a report that an earlier session began, or all if that one differs.

        One that has arrived whole, with the columns that the scope asks for, stays as it is.
        """
        report, received = self._begun(epoch, reporter)
        if report is None:
            return parts
        manifest = parts[0]
        assert isinstance(manifest, messages.ReportManifest)
        if report == announced(manifest, report.tries):
            return parts[1 + received :]
        kept = received == report.parts and report.fits(self.scope)
        return [] if kept else parts

    def _is_bound(self, kind: str, hashed: bytes) -> bool:
        """Return whether a gateway or an application has an account."""
        table = records.GATEWAYS if kind == "gateway" else records.APPLICATIONS
        return self.state.get(table, SCOPE, hashed) is not None

    def metrics(self, epoch: int) -> pa.Table:
        """Compute an epoch's metrics from the telemetry, as its report carries them.

        Returns
        -------
        pyarrow.Table
            One row a gateway: ``gateway`` and the metrics that the telemetry gives.
        """
        return self._epoch(epoch).metrics

    def usage(self, epoch: int) -> pa.Table:
        """Compute what applications used of operators in an epoch, as its report carries it.

        Returns
        -------
        pyarrow.Table
            One row an ``application`` and ``operator`` (account in hex; empty: the whole
            application), and the counts that the telemetry gives.
        """
        return self._epoch(epoch).usage

    def _fed(self) -> Feed:
        """Return the telemetry; NotSealed, HomeJoined or NoTelemetry where there is none."""
        if self._feed is None:
            if self.sealed and self.view.store.base:
                raise self.lacks("nothing can be computed from records")
            if self.sealed:
                raise errors.NoTelemetry(folder=self.home.folder or "memory")
            raise errors.NotSealed
        return self._feed

    def _epoch(self, epoch: int) -> Epoch:
        feed, genesis = self._fed(), self.genesis
        known = self._consumers if any(self.state.items(records.APPLICATIONS, SCOPE)) else None
        span, radius = (genesis.start_time, genesis.epoch_length), genesis.scopes[0].site_radius_m
        return feed.epoch(epoch, *span, self._players, known, radius, self.names)

    def _players(self, epoch: int) -> dict[str, str]:
        """Return the owner's account of each gateway in an epoch.

        As the chain has it, and where it has none yet, as reporting the epoch will bind it.
        """
        if self._feed is None:
            return {}
        start, length = self.genesis.start_time, self.genesis.epoch_length
        known = {*self._feed.gateways(start + (epoch + 1) * length)}
        known |= self._feed.pairs(start, length).names
        names = {self.home.hash("gateway", name): name for name in known}
        coming = {
            name: resolve(self.state, owner).hex() for name, owner in self.unbound(epoch).items()
        }
        return coming | self._owners(records.GATEWAYS, names, epoch)

    def _consumers(self, epoch: int) -> dict[str, str]:
        """Return the consumer's account of each bound application in an epoch."""
        return self._owners(records.APPLICATIONS, self.home.names("application"), epoch)

    def _owners(
        self, table: Table[records.Binding], names: Mapping[bytes, str], epoch: int
    ) -> dict[str, str]:
        owners, state = {}, self._state_of(epoch)
        for hashed, name in names.items():
            binding = state.get(table, SCOPE, hashed)
            owner = binding.owner(epoch) if binding else None
            if owner is not None:
                owners[name] = resolve(state, owner).hex()
        return owners

    def _state_of(self, epoch: int) -> State:
        """Return the state by which an epoch was settled; the present one where it is not yet.

        Later the chain drops the owners that no open epoch needs, and claims merge operators.
        """
        query = "SELECT min(height) FROM epochs WHERE scope = ? AND epoch = ?"
        rows = self.view.index.query(query, (SCOPE, epoch)) if epoch < self.settled else []
        height = next((height for (height,) in rows), None)
        return self.state if height is None else state_at(self.view.store, height - 1)

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
        """Destroy money for service used; return the transaction's id in hex."""
        return self.submit(sender, messages.Burn(self.currency.parse(amount)))

    def assign(self, gateway: str, sender: str, recipient: str, scope: str = SCOPE) -> str:
        """Hand a scope's gateway on to another account, from the next epoch."""
        to = self.home.address(recipient)
        self.bind()
        message = messages.AssignGateway(scope, self.gateway(gateway), to)
        return self.submit(sender, message)

    def register_application(self, application: str, consumer: str) -> str:
        """As the reporters, bind an application to the account of who uses it.

        From then on ``own_uplinks`` are known: those of an operator's own applications.
        """
        bound = (self.home.hash("application", application), self.home.address(consumer))
        self.home.remember_hashed("application", {application: None})
        batches = registrations(messages.RegisterApplications, SCOPE, [bound])
        return self._send(dict.fromkeys(self._require_reporters(), batches))

    def claimed(self, operator: str) -> bool:
        """Tell whether an operator's claim account forwards to a key."""
        return self.state.get(records.FORWARDS, self.home.claim_account(operator)) is not None

    def claim(self, operator: str, key: str | bytes) -> str:
        """As the reporters, open an operator's claim account to a key.

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
        message = messages.Claim(SCOPE, self.home.operator_hash(operator), public_key)
        done = self._send({name: [message] for name in self._require_reporters()})
        owner = crypto.address_of(public_key)
        # A key elsewhere takes over the name, if enough reporters have their keys here.
        if self.claimed(operator) and owner not in self.home.names("account"):
            names = [(address, f"{operator} (claimed)", None), (owner, operator, None)]
            self.home.remember("account", names)
        return done

    # --- what came out ------------------------------------------------------------------------

    # As methods these take the network as their argument.
    summary = views.summary
    accounts = views.accounts
    gateways = views.gateways
    operators = views.operators
    epochs = views.epochs
    blocks = views.blocks
    transactions = views.transactions
    transfers = views.transfers
    issuance = views.issuance
    receipt = receipts.receipt
    statement = statements.statement

    stream_change = governing.stream_change
    propose = governing.propose
    vote = governing.vote
    proposals = governing.proposals
    concerns = governing.concerns

    prove = proofs.prove

    check = deals.check
    deploy = deals.deploy
    contract = deals.contract
    contracts = deals.contracts

    # --- the laboratory -----------------------------------------------------------------------

    def records(self, epoch: int) -> Records:
        """Return what an epoch's metrics are computed from, with operators by name.

        Under the rule of the network its payments are the epoch's issuance. What the epochs before
        leave to know is computed from the first on, unless the one before was settled last.
        """
        from dii.economy.laboratory import Records  # noqa: PLC0415
        from dii.telemetry.metrics.plan import BEYOND  # noqa: PLC0415
        from dii.telemetry.names import places_of  # noqa: PLC0415
        from dii.telemetry.names import renamed as resolved  # noqa: PLC0415

        feed = self._fed()
        if not 0 <= (number := index(epoch)) <= self.last_epoch:
            message = f"the telemetry has no epoch {number}; its last is {self.last_epoch}"
            raise errors.NothingToCompare(message=message)
        start, end = self.genesis.span(number)
        names, gateways = self.home.names("account"), self.home.names("gateway")
        players = self._players(epoch)
        renamed = self.names(epoch)
        settled, lookback = feed.lookback or (-1, None)
        if settled != number - 1:
            lookback = self._epoch(number - 1).lookback if number else None
        return Records(
            receptions=resolved(feed.receptions(start, end + BEYOND), renamed),
            statuses=resolved(feed.statuses(start, end), renamed),
            operators={
                gateway: self.home.label(bytes.fromhex(owner), names)
                for gateway, owner in players.items()
            },
            start=start,
            length=self.genesis.epoch_length,
            gives=feed.gives,
            rejects=resolved(feed.telemetry.rejected, renamed),
            lookback=lookback and lookback.renamed(renamed),
            places=places_of(feed.telemetry.gateways, renamed),
            site_radius_m=self.genesis.scopes[0].site_radius_m,
            denied=frozenset(gateways.get(one, "") for one in governing.denied(self, number)),
        )

    def compare(
        self, epoch: int, *rules: Rule, pool: str | int | None = None, price: str | int = 0
    ) -> Comparison:
        """Pay an epoch under several rules, honest and cheated; see :mod:`dii.economy.laboratory`.

        Parameters
        ----------
        epoch
            Of the telemetry, settled or not.
        *rules
            By default every share rule without parameters whose metrics there are.
        pool
            What each may pay; by default the most that an epoch may mint.
        price
            What a data unit costs who sends it, so that traffic to oneself has its cost.
        """
        from dii.economy.laboratory import compare  # noqa: PLC0415

        found = self.records(epoch)
        chosen = rules or founding.fitting(found.gives)
        money = self.genesis.max_mint_per_epoch if pool is None else self.currency.parse(pool)
        resolved = [rule.resolve(self.currency) for rule in chosen]
        return compare(found, resolved, money, price=self.currency.parse(price))

    # --- checking -----------------------------------------------------------------------------

    def verify(self, progress: Callable[[int], None] | None = None) -> Verified:
        """Execute the whole chain again from its genesis and compare everything.

        Raises
        ------
        BlockInvalid, InvariantBroken
            Naming the first height that does not hold.
        """
        return verify(self.genesis, self.view.store, progress)

    def rebuild(self) -> None:
        """Make the index again from the chain."""
        if self._node is None:
            raise errors.NotSealed
        self._node.rebuild()
