"""Combined features: a model test of whole networks through their public interface.

Hypothesis draws loads of telemetry (late and early, of gateways that turn up later), changes of
the rule, further streams, denials, hand-overs, registries that name another owner, claims, sites,
several reporters, restarts and snapshots together. After each epoch all that a network shows
(tables, receipts and their proofs, statements, comparisons) is held against the state of the
chain, and the state against the reference in :mod:`tests.pairs`.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from dii import Network, codec, load
from dii.application.actions import DenyGateway, RemoveStream, SetScope
from dii.application.messages import RegisterGateways
from dii.crypto import parse_address, sha256
from dii.errors import FarInTime, Refused
from dii.ledger.block import Block
from dii.minting import (
    Airtime,
    DataCredits,
    FixedEmission,
    PerContribution,
    Policy,
    Rule,
    ShapleyTraffic,
)
from dii.network import snapshot as bundle
from dii.units import SECOND
from tests.chains import report
from tests.pairs import (
    ALIAS,
    DELAY,
    GATEWAYS,
    HOUR,
    KEYS,
    MOST,
    OPENING,
    OPERATORS,
    OTHER,
    RADIUS,
    SEED,
    START,
    Books,
    Change,
    Frame,
    Plan,
    address,
    ceil_epoch,
    eui,
    hashed,
    name,
    write_frames,
    write_registry,
)
from tests.pairs_checks import (
    MONTHS,
    check_comparison,
    check_issuances,
    check_joined,
    check_metrics,
    check_receipts,
    check_state,
    check_tables,
)

APRIL = START + 3 * HOUR

RULES = (ShapleyTraffic(), Airtime(), DataCredits(rate=7))
POLICIES = (FixedEmission(1_000_003), PerContribution(rate=1_009, cap=3_000_000), FixedEmission(31))
rules = st.sampled_from(RULES)
policies = st.sampled_from(POLICIES)
gateways = st.sampled_from(GATEWAYS)
operators = st.sampled_from(OPERATORS)
receiving = st.sampled_from((*KEYS, "bert", "carl"))
receivers = st.sets(gateways, min_size=1, max_size=4).map(lambda found: tuple(sorted(found)))
spellings = st.sampled_from(["id", "id", "both", "eui"])
uplinks = st.tuples(receivers, st.integers(1, 99), st.sampled_from([3, 24, 27, 51]), spellings)
ELSEWHERE = "elsewhere"
"""The account that reports on the other scope."""
SEEN: Counter[str] = Counter()
"""Situations that the machines of this process have met."""
Uplink = tuple[tuple[int, ...], int, int, str]
"""Draw the gateways that heard a frame, airtime, bytes, and how it names the gateways."""
Drawn = list[Uplink]


def deed(**drawn: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Any]:
    """Make a rule of an act, after which an epoch may pass."""

    def decorate(act: Callable[..., None]) -> Any:
        def both(self: Pairs, then: tuple[Drawn, bool] | None, **given: Any) -> None:
            act(self, **given)
            if then is not None:
                self.live(*then)

        both.__name__ = act.__name__
        day = st.tuples(st.lists(uplinks, max_size=3), st.sampled_from([True, True, False]))
        later = st.sampled_from([False, False, True]).flatmap(
            lambda passes: day if passes else st.none()
        )
        return rule(then=later, **drawn)(both)

    return decorate


class Pairs(RuleBasedStateMachine):
    """A network in a folder, acts on it, and the books."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name)
        self.frames = 0
        self.loads = 0
        self.height = 0
        self.waiting: dict[int, tuple[int, Callable[[int], None]]] = {}
        """Proposal number to the time of its effect, and the change of the books by epoch."""
        self.decided: dict[int, int] = {}
        """Proposal number to the time of its effect."""
        self.transfers: list[tuple[str, str, int]] = []
        self.joined = self.looks = 0
        self.sound = True
        self.at_midnight: Counter[str] = Counter()
        """Balances at the end of March."""
        self.seen: Counter[str] = Counter()

    @initialize(
        reporters=st.sampled_from([1, 4]),
        radius=st.sampled_from([0, RADIUS]),
        weigher=rules,
        policy=policies,
        price=st.sampled_from([0, 1]),
        drawn=st.lists(uplinks, min_size=1, max_size=4),
        known=st.dictionaries(gateways, operators | st.none(), min_size=1),
        elsewhere=st.sampled_from([None, *POLICIES, *POLICIES]),
    )
    def create(
        self,
        reporters: int,
        radius: int,
        weigher: Rule,
        policy: Policy,
        price: int,
        drawn: Drawn,
        known: dict[int, str | None],
        elsewhere: Policy | None,
    ) -> None:
        """Make a network, sealed by its first records, and perhaps another scope with a stream."""
        self.net = Network.create(
            "pairs",
            seed=SEED,
            home=self.path / "home",
            rule=weigher,
            policy=policy,
            allocations=dict.fromkeys(KEYS, OPENING),
            epoch_seconds=HOUR // SECOND,
            gas_price=price,
            reporters=reporters,
            site_radius_m=radius,
            max_mint_per_epoch=MOST,
            governance={"delay_seconds": DELAY // SECOND, "voting_seconds": 2 * HOUR // SECOND},
        )
        self.net.home.key(ELSEWHERE, create=True)
        self.books = Books(radius, {"main": Plan(weigher, policy)})
        self.books.balances.update(dict.fromkeys(KEYS, OPENING))
        # If a registry names no operator, each gateway is its own.
        self.load({0: drawn}, known if any(known.values()) else known | {0: "anna"})
        self.first_reporters = self.net.scope.reporters
        if elsewhere is not None:
            reporter = self.net.home.key(ELSEWHERE).address
            self.decide(SetScope(OTHER, (reporter,), ("uplink_units",), ()), self.books.found)
            self.load({1: drawn, 2: drawn}, {})
            self.run(complete=True)
            change = self.net.stream_change("roofs", scope=OTHER, rule=Airtime(), policy=elsewhere)
            plan = Plan(Airtime(), elsewhere)
            self.decide(change, self.changes(OTHER, stream="roofs", plan=plan))

    # --- what people do ---------------------------------------------------------------------------

    @deed(
        ahead=st.integers(1, 2),
        drawn=st.lists(uplinks, min_size=1, max_size=2),
        known=st.dictionaries(gateways, operators | st.none(), max_size=3),
    )
    def grow(self, ahead: int, drawn: Drawn, known: dict[int, str | None]) -> None:
        """Load records of an epoch to come, and a registry's entries of gateways that are new."""
        fresh = {one: who for one, who in known.items() if one not in self.books.everything}
        self.load({self.books.settled + ahead: drawn}, fresh)

    @deed(found=uplinks, back=st.integers(1, 3))
    def come_late(self, found: Uplink, back: int) -> None:
        """Load records of an epoch that is settled, or from before the network began."""
        heard, airtime, size, states = found
        offset = ALIAS * (states == "eui")
        known = tuple(one for one in heard if one + offset in self.books.everything)
        epoch = self.books.settled - back
        if known and epoch >= 0:
            self.load({epoch: [(known, airtime, size, states)]}, {})
            self.seen["late"] += 1
        elif known:
            early = Frame(epoch, 0, known, airtime, size, states)
            with pytest.raises(FarInTime):
                self.net.ingest(load(write_frames(self.path / "early.jsonl", [early])))

    def load(
        self,
        drawn: Mapping[int, Drawn],
        registry: Mapping[int, str | None],
    ) -> None:
        frames = []
        for epoch, found in drawn.items():
            for heard, *what in found:
                self.frames += 1
                frames.append(Frame(epoch, self.frames, heard, *what))
        self.loads += 1
        files = [write_frames(self.path / f"{self.loads}.jsonl", frames)]
        if registry:
            files.append(write_registry(self.path / f"{self.loads}.json", registry))
        self.net.ingest(load(*files), gap=None)  # also from before the network began
        self.books.load(frames, registry)
        self.follow()

    @deed(place=st.integers(0, 5), thief=st.sampled_from([None, None, *KEYS]), to=receiving)
    def assign(self, place: int, thief: str | None, to: str) -> None:
        """Hand a gateway on, or try to hand on what belongs to another."""
        books, epoch = self.books, (self.now - START) // HOUR + 1
        ours = [one for one in books.owners if books.resolve(books.owner(one, epoch)) in KEYS]
        if not ours or not self.known(to):
            return
        gateway = ours[place % len(ours)]
        owner = books.resolve(books.owner(gateway, epoch))
        sender = thief or owner
        books.bind_known()
        if owner == sender:
            told = books.resolve_name(gateway + ALIAS, books.settled) == gateway
            self.net.assign(eui(gateway) if told else name(gateway), sender, to)
            books.assign(gateway, to, self.now)
            self.seen["hand-over by another name"] += told
        else:
            with pytest.raises(Refused):
                self.net.assign(name(gateway), sender, to)
        self.follow()

    @deed(place=st.integers(0, 5), operator=operators)
    def contest(self, place: int, operator: str) -> None:
        """Load a registry that names another operator, and rebind the gateway."""
        books = self.books
        if not books.owners:
            return
        gateway = list(books.owners)[place % len(books.owners)]
        self.loads += 1
        path = write_registry(self.path / f"{self.loads}.json", {gateway: operator})
        last = books.last_owner(gateway)
        assert last is not None
        data = load(path)
        other = books.resolve(last) != books.resolve(operator)
        assert self.net.contested(data).keys() == ({name(gateway)} if other else set())
        self.net.ingest(data, rebind=True)
        books.bind_known()
        if other:
            books.rebind(gateway, books.resolve(operator), self.now)
            self.seen["bound anew"] += 1
        self.follow()

    @deed(operator=st.sampled_from(["bert", "carl"]), key=st.sampled_from(["bea", "anna"]))
    def claim(self, operator: str, key: str) -> None:
        """Open a claim account to a key."""
        if operator in self.books.forwards or not self.known(operator):
            return
        self.net.claim(operator, key)
        self.books.claim(operator, key)
        self.follow()

    @deed(
        sender=st.sampled_from(KEYS),
        to=receiving | st.just("treasury"),
        amount=st.sampled_from([1, 999]),
    )
    def transfer(self, sender: str, to: str, amount: int) -> None:
        """Move money."""
        if not self.known(to):
            return
        self.net.transfer(sender, to, amount)
        self.books.balances[sender] -= amount
        self.books.balances[self.books.resolve(to)] += amount
        self.transfers.append((sender, self.books.resolve(to), amount))
        self.follow()

    @deed(
        stream=st.sampled_from(["main", "main", "second", "end"]),
        weigher=rules,
        policy=policies,
        rest=st.sampled_from([None, "treasury"]),
    )
    def change_stream(self, stream: str, weigher: Rule, policy: Policy, rest: str | None) -> None:
        """Decide on another rule and policy, on a second stream, or on its end."""
        if stream == "end":
            if "second" in self.books.streams and not self.waiting:
                self.decide(RemoveStream("main", "second"), self.changes(stream="second"))
            return
        action = self.net.stream_change(stream, rule=weigher, policy=policy, rest=rest or "nobody")
        plan = Plan(weigher, policy, rest)
        self.decide(action, self.changes(stream=stream, plan=plan))

    @deed(place=st.integers(0, 1), gateway=gateways, epochs=st.integers(0, 4))
    def deny(self, place: int, gateway: int, epochs: int) -> None:
        """Decide that a gateway earns nothing in a scope for a while."""
        books = self.books.scopes[-place]
        until = books.settled + 2 + epochs
        action = DenyGateway(books.scope, hashed(gateway), sha256(b"why"), until)
        self.decide(action, self.changes(books.scope, gateway=gateway, until=until))

    @deed(count=st.integers(1, 5))
    def change_reporters(self, count: int) -> None:
        """Decide that fewer or more accounts report on the main scope."""
        scope, extra = self.net.scope, self.net.home.key(ELSEWHERE).address
        accounts = (*self.first_reporters, extra)[-count:]
        action = SetScope("main", accounts, scope.metrics, scope.usage)
        self.decide(action, lambda since: None)

    @deed(gateway=gateways, owner=st.sampled_from(KEYS), to=st.none() | st.sampled_from(KEYS))
    def bind_elsewhere(self, gateway: int, owner: str, to: str | None) -> None:
        """Have the other scope's reporter bind a gateway that may be bound here, or hand it on."""
        other = self.books.other
        if other is None or gateway not in self.books.everything:
            return
        epoch = (self.now - START) // HOUR + 1
        holder = other.owner(gateway, epoch)
        if to is not None and holder is not None:
            self.net.assign(name(gateway), other.resolve(holder), to, scope=OTHER)
            other.assign(gateway, to, self.now)
        else:
            pairs = ((hashed(gateway), address(owner)),)
            self.net.submit(ELSEWHERE, RegisterGateways(OTHER, pairs))
            other.bind(gateway, owner, self.now)
        self.follow()

    @deed(rows=st.dictionaries(gateways, st.integers(0, 50), min_size=1))
    def report_elsewhere(self, rows: dict[int, int]) -> None:
        """Report all epochs of the other scope that are over."""
        other, before = self.books.other, len(self.books.issued)
        # Of a gateway that no record or registry names, this home shows the hash alone.
        rows = {one: value for one, value in rows.items() if one in self.books.everything}
        while rows and other is not None and (other.settled + 1) * HOUR + START <= self.now:
            epoch = other.settled
            values = {one: value + epoch for one, value in rows.items()}
            pages = {hashed(one): [value] for one, value in values.items()}
            for message in report(epoch, pages, scope=OTHER, metrics=("uplink_units",)):
                self.net.submit(ELSEWHERE, message)
            other.reported[epoch] = {one: {"uplink_units": value} for one, value in values.items()}
            self.follow()
            other.settle()
            self.seen["epoch elsewhere"] += 1
            self.look_at_clock()
        if len(self.books.issued) > before:
            self.check()

    def changes(self, scope: str = "main", **what: Any) -> Callable[[int], None]:
        """Return a function that adds a change to a scope's books, given its first epoch."""

        def act(since: int) -> None:
            books = next(one for one in self.books.scopes if one.scope == scope)
            books.changes.append(Change(since, **what))

        return act

    def decide(self, action: Any, act: Callable[[int], None]) -> None:
        number = self.net.propose(action)
        before = self.now
        self.net.vote(number)
        self.waiting[number] = before + SECOND + DELAY, act
        self.decided[number] = before + SECOND + DELAY
        self.follow()

    def live(self, drawn: Drawn, complete: bool) -> None:
        """Load records of the epoch, run all epochs that are over, and check the result."""
        if drawn:
            self.load({self.books.settled: drawn}, {})
        if self.run(complete=complete):
            self.check()

    def run(self, *, complete: bool) -> bool:
        """Run an epoch at a time; return whether there was any."""
        before = self.books.settled
        while self.books.settled < self.books.over(complete=complete):
            self.net.run(epochs=1, complete=complete)
            self.follow()
            self.books.settle()
            self.seen["epoch"] += 1
            self.note_features(self.books.settled - 1)
            self.look_at_clock()
        assert self.net.run(complete=complete).settled == self.books.settled
        self.seen["complete" if complete else "open epoch"] += any(
            frame.epoch >= self.books.settled - complete for frame in self.books.frames
        )
        return self.books.settled > before

    def note_features(self, epoch: int) -> None:
        """Count the features that have an effect on an epoch of the main scope."""
        books = self.books
        issued = books.issued["main", epoch]
        before = books.issued.get(("main", epoch - 1), issued)
        owners = {one: books.owner(one, epoch) for one in books.owners}
        earlier = {one: books.owner(one, epoch - 1) for one in books.owners}
        parties = [{owners.get(one) for one in group} for group in books.players(epoch)]
        names = {one for frame in books.heard(epoch) for one in frame.names}
        effects = {
            "rule change": issued.plan.rule != before.plan.rule,
            "policy change": issued.plan.policy != before.plan.policy,
            "denial": bool(issued.denied & issued.rows.keys()),
            "hand-over": any(earlier[one] not in {None, owners[one]} for one in owners),
            "claim": any(owner in books.forwards for owner in owners.values()),
            "site radius": any(len(owners_of) > 1 for owners_of in parties),
            "second stream": ("second", epoch) in books.issued,
            "second scope": books.other is not None and books.other.settled > 0,
            "other reporters": self.net.scope.reporters != self.first_reporters,
            "several reporters": len(self.net.scope.reporters) > 1,
            "further name": any(books.resolve_name(one, epoch) != one for one in names),
        }
        self.seen.update({what: 1 for what, effective in effects.items() if effective})

    @deed(join=st.booleans())
    def restart(self, join: bool) -> None:
        """Close the home and open it again, or join with a snapshot elsewhere."""
        if join and self.books.settled:
            self.join()
            return
        header = self.net.header()
        self.net.close()
        self.net = Network.open(self.path / "home")
        assert self.net.header() == header
        self.seen["restart"] += 1

    def join(self) -> None:
        self.joined += 1
        folder, home = (self.path / f"{what}-{self.joined}" for what in ("bundle", "joined"))
        bundle.export(self.net, folder)
        bundle.join(folder, self.net.header().hash, home)
        with Network.open(home) as other:
            assert other.header() == self.net.header()
            assert other.state.committed_root == self.net.state.committed_root
            check_state(other, self.books)
            check_joined(other, self.net, self.books)
        self.seen["join"] += 1

    # --- consequences -----------------------------------------------------------------------------

    @property
    def now(self) -> int:
        return self.net.header().time

    def known(self, account: str) -> bool:
        """Tell whether an account has a name here: an operator has one if a registry names it."""
        return account == "treasury" or self.net.home.find("account", account) is not None

    def follow(self) -> None:
        """Read the times of new blocks, by which decisions take effect, and pay the fees."""
        for height in range(self.height + 1, self.net.height + 1):
            block = codec.loads(Block, self.net.view.store.block(height))
            for number, (acts, act) in sorted(self.waiting.items()):
                if acts <= block.header.time:
                    act(ceil_epoch(block.header.time))
                    del self.waiting[number]
            for row in self.net.transactions(height).itertuples():
                fee = row.fee_uttc
                if fee:
                    self.books.balances[row.sender] -= fee
                    self.books.balances["treasury"] += fee
        self.height = self.net.height
        self.look_at_clock()

    def look_at_clock(self) -> None:
        if self.now < APRIL:
            self.at_midnight = self.books.balances.copy()

    # --- looking ----------------------------------------------------------------------------------

    def check(self, *, whole: bool = False) -> None:
        """Check the latest epochs and a part of the earlier ones, or everything."""
        net, books, self.sound = self.net, self.books, False
        self.looks += 1
        last = {scope.scope: scope.settled - 1 for scope in books.scopes}
        issued = {
            at: one
            for number, (at, one) in enumerate(books.issued.items())
            if whole or at[1] == last[one.scope] or (number + self.looks) % 4 == 0
        }
        assert net.settled == books.settled
        check_issuances(net, books, issued)
        check_state(net, books)
        check_tables(net, books)
        check_receipts(net, books, issued)
        # Where sites count, a place that a registry states later alters who is one player. One
        # epoch a look is enough, for it is computed from the first on.
        settled = max(1, books.settled)
        computed = {last["main"] if books.radius else -self.looks % settled}
        if whole and not books.radius:
            denying = [at[1] for at, one in issued.items() if one.denied & one.rows.keys()]
            computed.update(denying[-1:])
        if whole or self.looks % 3 == 1:
            check_comparison(net, books, issued, computed)
        else:
            check_metrics(net, books, computed & {epoch for _, epoch in issued})
        self.check_decisions()
        known = [one for one in {*KEYS, *OPERATORS} if self.known(one)]
        everybody = [*sorted(known), "treasury"]
        self.check_statements(
            everybody if whole else [everybody[self.looks % len(everybody)]],
        )
        self.sound = True

    def check_decisions(self) -> None:
        """Check that proposals and transfers are those that were made."""
        acts = {
            row.number: (row.status, row.acts.value // 1_000)
            for row in self.net.proposals().itertuples()
        }
        assert acts == {
            number: ("passed" if number in self.waiting else "enacted", time)
            for number, time in self.decided.items()
        }
        table = self.net.transfers()
        table = table[table["kind"] == "transfer"]
        assert self.transfers == [
            (row.sender, row.recipient, row.amount_uttc) for row in table.itertuples()
        ]

    def check_statements(self, accounts: list[str]) -> None:
        """Check that statements add up to the balances, and that their rows are receipts."""
        net, books = self.net, self.books
        midnight = self.at_midnight if self.now >= APRIL else books.balances
        for asked in accounts:
            owner = books.resolve(asked)
            group = [one for one in {*KEYS, *OPERATORS, "treasury"} if books.resolve(one) == owner]
            bounds = [OPENING * len({*KEYS} & {*group})]
            bounds += [sum(when[one] for one in group) for when in (midnight, books.balances)]
            for month, opening, closing in zip(MONTHS, bounds, bounds[1:]):
                shown = net.statement(asked, month)
                assert (shown.opening, shown.closing) == (opening, closing)
                assert set(map(parse_address, shown.accounts)) == {
                    address(one) for one in group if one in KEYS or self.known(one)
                } | {address(owner)}
                assert owner == "treasury" or shown.other == 0
                assert shown.table()["amount_uttc"].sum() == closing - opening
                wanted = {
                    (stream, epoch, name(one)): (amount, weight / issued.plan.rule.scale)
                    for (stream, epoch), issued in books.issued.items()
                    for one, (weight, amount, payee) in issued.rows.items()
                    if books.resolve(payee) == owner
                    if (epoch < 3) == (month == MONTHS[0])
                }
                assert wanted == {
                    (row.stream, row.epoch, row.gateway): (row.amount, row.contribution)
                    for row in shown.receipts.itertuples()
                }
                assert shown.earned == sum(amount for amount, _ in wanted.values())

    def teardown(self) -> None:
        created = hasattr(self, "net")
        try:
            if created and self.sound:
                self.net.verify()
                self.check(whole=True)
        finally:
            if created:
                self.net.close()
                SEEN.update(self.seen)
            self.folder.cleanup()


def tour(seed: int) -> Counter[str]:
    """Meet all features in one network, in an order and with values that a seed gives.

    Tours differ in the number of reporters and the radius of sites, too.
    """
    dice = Random(seed)
    pick = dice.choice

    def uplink(*heard: int, states: str = "id") -> Uplink:
        return heard, dice.randint(1, 99), pick([3, 24, 27, 51]), states

    def day(*, complete: bool = True) -> tuple[Drawn, bool]:
        heard = sorted(dice.sample(GATEWAYS, 3))
        found = [uplink(*heard), uplink(0, 1, 2, 3), uplink(dice.randrange(4), states="eui")]
        return found, complete

    weighers, paying = dice.sample(RULES, 2), dice.sample(POLICIES, 2)
    known: dict[int, str | None] = dict(zip(range(4), dice.sample(OPERATORS, 4)))
    owned = next(one for one in known if known[one] == "anna")
    pairs = Pairs()
    deeds = [
        partial(
            pairs.change_stream, stream="main", weigher=weighers[1], policy=paying[1],
            rest=pick([None, "treasury"]),
        ),
        partial(
            pairs.change_stream, stream="second", weigher=pick(RULES), policy=pick(POLICIES),
            rest=None,
        ),
        partial(pairs.deny, place=pick([0, 1]), gateway=dice.randrange(4), epochs=4),
        partial(pairs.deny, place=0, gateway=dice.randrange(4), epochs=4),
        partial(pairs.assign, place=owned, thief=None, to=pick(["bob", "carl"])),
        partial(pairs.assign, place=dice.randrange(6), thief=None, to=pick(["bea", "bert"])),
        partial(pairs.contest, place=dice.randrange(4), operator=pick(OPERATORS)),
        partial(pairs.contest, place=dice.randrange(4), operator=pick(OPERATORS)),
        partial(pairs.claim, operator="bert", key=pick(["anna", "bea"])),
        partial(pairs.transfer, sender="anna", to="carl", amount=999),
        partial(pairs.bind_elsewhere, gateway=dice.randrange(4), owner="bob", to=None),
        partial(pairs.bind_elsewhere, gateway=dice.randrange(4), owner="bob", to="bea"),
        partial(pairs.come_late, found=uplink(*sorted(dice.sample(range(4), 2))), back=1),
        partial(pairs.grow, ahead=1, drawn=[uplink(4, 5, states="both")], known={4: "bob"}),
        partial(pairs.change_reporters, count=dice.randint(1, 5)),
        partial(pairs.restart, join=True),
        partial(pairs.restart, join=False),
    ]  # fmt: skip
    try:
        pairs.create(
            reporters=1 + seed % 2 * 3,
            radius=RADIUS * (seed % 3 != 2),
            weigher=weighers[0],
            policy=paying[0],
            price=pick([0, 1]),
            drawn=[uplink(0, 1), uplink(0, 1, 2, 3, states="both")],
            known=known,
            elsewhere=pick(POLICIES) if seed % 2 else None,
        )
        pairs.live(*day())
        dice.shuffle(deeds)
        for number, act in enumerate(deeds):
            act(then=day(complete=number % 4 != 1) if number % 2 else None)
            if number % 4 == 3:
                pairs.report_elsewhere(rows={dice.randrange(6): 9, 0: 1}, then=None)
        pairs.live(*day())
    finally:
        pairs.teardown()
    return pairs.seen
