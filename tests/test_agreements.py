"""Promises of the agreements, which are kept for any calls in any order.

Each agreement meets a town of honest and hostile people: anybody calls any function with any
arguments and any money, time passes, epochs settle late, hooks are slept through, gateways change
hands, and some accounts take no money. What is checked is said in plain terms: money is conserved,
each payment is due to whom it goes and made once, and in the end nothing is left behind.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dii.contracts import agreements, compiler, frontend, tree
from dii.contracts.agreements import AGREEMENTS, Agreement
from dii.contracts.tree import ListOf, Plain
from dii.contracts.unparse import unparse
from dii.contracts.vm import Program
from dii.errors import TransactionError
from dii.network.contracts import HOOK_GAS
from tests.contracts import SELF, World, state_of

PEOPLE = [name.encode() * 20 for name in "abcdm"]
PAYER, OWNER, OTHER, MALLORY, WALL = PEOPLE
"""Accounts; the last one is a contract that accepts no money."""
GATEWAYS = [b"g" * 20, b"h" * 20, b"i" * 20]
EPOCHS = st.integers(-1, 12)
NUMBERS = EPOCHS | st.sampled_from([0, 1, 2, 50, 97, 100, -(2**255), 2**255 - 1, 10**6])
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "bool": st.booleans(),
    "str": st.sampled_from(["paid", "refunded"]),
    "int": NUMBERS,
    "Money": NUMBERS,
    "Share": NUMBERS,
    "Gateway": st.sampled_from([*GATEWAYS, b""]),
    "Application": st.sampled_from([*GATEWAYS, b""]),
    "Address": st.sampled_from(PEOPLE),
}
PERSON = st.sampled_from(PEOPLE)
GATEWAY = st.sampled_from(GATEWAYS)
FIGURE = st.none() | st.integers(0, 10) | st.integers(5, 10)


class Town(RuleBasedStateMachine):
    """One contract among people; subclasses deploy it and define its promises."""

    agreement: ClassVar[Agreement]
    program: ClassVar[Program]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.program = compiler.compile(cls.agreement.tree)

    def __init__(self) -> None:
        super().__init__()
        self.world = World(epoch=0, refuses=frozenset([WALL]))
        self.world.owners = {GATEWAYS[0]: OWNER, GATEWAYS[1]: OTHER}
        self.sent: Counter[bytes] = Counter()
        self.gifts = 0
        self.next_epoch = 0
        self.truth: dict[tuple[Any, ...], int] = {}
        """Reports of every settled epoch on a gateway, or on an operator's use."""

    # --- what happens --------------------------------------------------------------------------

    def call(
        self, by: bytes, function: str, *values: Any, value: int = 0, door: str = "external"
    ) -> bool:
        """Call; tell whether it succeeded. The subclass justifies the effects."""
        world, seen = self.world, len(self.world.events)
        world.sender, world.value = by, value
        try:
            gas = HOOK_GAS if door == "on_epoch" else 10**6
            world.call(self.program, function, *values, gas=gas, by=door)
        except TransactionError:
            return False
        finally:
            world.value = 0
        self.sent[by] += value
        for event, details in world.events[seen:]:
            self.justify(event, details, by, function)
        return True

    @rule(epochs=st.integers(1, 3))
    def time_passes(self, epochs: int) -> None:
        self.world.epoch += epochs

    @rule(
        figures=st.lists(FIGURE, min_size=6, max_size=6),
        awake=st.sampled_from([True, True, False]),
        late=st.sampled_from([True, False, False]),
    )
    def epoch_settles(self, figures: list[int | None], *, awake: bool, late: bool) -> None:
        of = self.next_epoch
        if of == self.world.epoch:
            self.world.epoch += 1 + late
        self.next_epoch += 1
        keys = [*((one, of) for one in GATEWAYS), *((GATEWAYS[0], who, of) for who in PEOPLE[1:4])]
        for key, figure in zip(keys, figures):
            if figure is not None:
                self.truth[key] = figure
                self.world.measured[key] = {
                    "online_ppm": figure * 10**5, "sole_uplinks": figure, "delivered": figure
                }  # fmt: skip
        for key in list(self.world.measured):
            if key[-1] < of - 1:
                del self.world.measured[key]
        if awake:
            for hook in self.program.hooks:
                self.call(SELF, hook, of, door="on_epoch")
            self.carried_out(of)

    @precondition(lambda self: self.next_epoch > 3)
    @rule()
    def ages_pass(self) -> None:
        self.world.epoch += 40

    @precondition(lambda self: "prove" in self.program.functions)
    @rule(back=st.integers(0, 3), gateway=GATEWAY)
    def somebody_proves(self, back: int, gateway: bytes) -> None:
        words = [gateway] * (len(self.program.functions["prove"].parameters) - 1)
        self.call(MALLORY, "prove", *words, self.next_epoch - back)

    @rule(gateway=st.sampled_from(GATEWAYS + GATEWAYS[1:]), owner=st.none() | PERSON)
    def gateway_changes_hands(self, gateway: bytes, owner: bytes | None) -> None:
        """Change an owner from the next epoch on, as on the chain."""
        self.world.handed_on.setdefault(gateway, []).append((self.world.epoch + 1, owner))

    @rule(amount=st.integers(1, 100))
    def something_is_earned(self, amount: int) -> None:
        """Pay the contract without a call, as earnings of a gateway that it owns."""
        self.world.money += amount
        self.gifts += amount

    @rule(by=PERSON, data=st.data())
    def anybody_calls_anything(self, by: bytes, data: st.DataObject) -> None:
        inside = [one for one, made in self.program.compiled.items() if made.door != "external"]
        outside = sorted({*self.program.functions} - {*inside})
        named = data.draw(st.sampled_from(outside * 4 + inside))
        if named == "init":
            return
        function = self.program.functions[named]
        values = [data.draw(self.of_type(one.type)) for one in function.parameters]
        value = data.draw(st.integers(1, 100)) if "payable" in function.marks else 0
        done = self.call(by, function.name, *values, value=value)
        assert not done or named in outside

    def of_type(self, kind: tree.Type) -> st.SearchStrategy[Any]:
        if isinstance(kind, ListOf):
            return st.lists(self.of_type(kind.item), max_size=3).map(tuple)
        assert isinstance(kind, Plain)
        lately = st.integers(max(0, self.next_epoch - 2), self.next_epoch)
        return VALUES[kind.name] | lately if kind.name == "int" else VALUES[kind.name]

    # --- what must hold ------------------------------------------------------------------------

    def justify(self, event: str, details: Any, by: bytes, function: str) -> None:
        """Return the reason for which an event may happen."""

    @property
    def state(self) -> dict[str, Any]:
        return state_of(self.program, self.world)

    @property
    def got(self) -> Counter[bytes]:
        total: Counter[bytes] = Counter()
        for to, amount in self.world.paid:
            total[to] += amount
        return total

    def carried_out(self, of: int) -> None:
        """Check that the hooks of an epoch have done their work."""

    owing: Callable[[], int]
    """Return the money that the contract must still have, by the books of the test."""

    @invariant()
    def sums_add_up(self) -> None:
        world = self.world
        assert world.money == self.sent.total() + self.gifts - self.got.total()
        assert world.money >= self.owing()
        if not self.gifts:
            assert world.money == self.owing()
        assert all(amount > 0 for _, amount in world.paid)

    @property
    def status(self) -> str:
        return str(self.world.call(self.program, "status").value)

    @invariant()
    def status_is_one_of_the_words_that_its_text_lists(self) -> None:
        if self.world.storage:
            self.world.sender, self.world.value = MALLORY, 0
            word = self.status
            assert word in re.findall(r"[a-z]+", self.program.functions["status"].doc)
            assert word != "over" or self.world.money == 0
            assert word != "running" or self.world.epoch < 4

    def wind_up(self) -> None:
        """Let a stranger end the contract."""

    def teardown(self) -> None:
        if "until" not in self.state:
            return
        self.world.epoch = max(self.world.epoch, self.state["until"] + 31)
        self.world.refuses = frozenset()
        self.wind_up()
        self.sums_add_up()
        assert self.world.money == 0, "nothing stays locked"
        assert self.status in ("over", "built", "failed")
        for name in {"close", "sweep"}.intersection(self.program.functions):
            assert not self.call(MALLORY, name)


class Uptime(Town):
    agreement = agreements.UptimeAgreement

    @initialize(value=st.integers(4, 100), ppm=st.sampled_from([1, 500_000, 10**6]))
    def deploy(self, value: int, ppm: int) -> None:
        assert self.call(PAYER, "init", GATEWAYS[0], ppm, 4, value=value, door="init")
        self.value, self.ppm = value, ppm
        self.concluded: dict[int, str] = {}

    def justify(self, event: str, details: Any, by: bytes, function: str) -> None:
        if event not in ("paid", "refunded"):
            assert event == "open" or (event == "closed" and self.world.epoch > 33)
            return
        of, amount, to, online = details
        assert 0 <= of < 4
        assert of not in self.concluded, "nobody is paid twice"
        self.concluded[of] = event
        assert amount == self.value * (of + 1) // 4 - self.value * of // 4
        owner = self.world.operator(GATEWAYS[0], of)
        assert to == (owner if event == "paid" else PAYER)
        if function in ("release", "give_back"):
            assert of < self.world.epoch, "only an epoch that is over is released or given back"
        if function == "release":
            assert (by, event) == (PAYER, "paid")
        elif function == "give_back":
            assert (by, event) == (owner, "refunded")
        else:
            assert of < self.next_epoch, "only what has settled decides"
            known = self.truth.get((GATEWAYS[0], of))
            assert online == (known or 0) * 10**5
            assert event == ("paid" if online >= self.ppm else "refunded")
            assert known is not None or function != "prove"

    def carried_out(self, of: int) -> None:
        for one in (of - 1, of):
            if 0 <= one < 4 and self.state["escrow"] and one not in self.concluded:
                assert self.truth[GATEWAYS[0], one] * 10**5 >= self.ppm
                assert self.world.operator(GATEWAYS[0], one) in (None, WALL)

    def owing(self) -> int:
        return int(self.state["escrow"])

    @invariant()
    def what_is_not_concluded_is_held(self) -> None:
        state = self.state
        assert state["outcomes"] == self.concluded
        parts = [
            self.value * (of + 1) // 4 - self.value * of // 4
            for of in range(4)
            if of not in self.concluded
        ]
        assert state["escrow"] in (sum(parts), 0)
        assert state["escrow"] or not parts or self.world.epoch > 33

    @rule(of=st.integers(0, 3), by=st.sampled_from([PAYER, OWNER]))
    def a_party_consents(self, of: int, by: bytes) -> None:
        self.call(by, "release" if by == PAYER else "give_back", of)

    def wind_up(self) -> None:
        left = self.world.money > 0
        assert self.call(MALLORY, "close") == left


class PayPerUplink(Town):
    agreement = agreements.PayPerUplink

    @initialize(value=st.integers(0, 100), price=st.integers(1, 7))
    def deploy(self, value: int, price: int) -> None:
        hired = (OWNER, OTHER, MALLORY)
        assert self.call(PAYER, "init", GATEWAYS[0], hired, price, 4, value=value, door="init")
        self.price = price
        self.pot = value
        self.credited: Counter[tuple[int, bytes]] = Counter()
        self.settled: dict[int, int] = {}

    def justify(self, event: str, details: Any, by: bytes, function: str) -> None:
        if event == "credited":
            of, to, delivered, amount = details
            assert delivered == self.truth[(GATEWAYS[0], to, of)]
            assert amount <= delivered * self.price
            assert (of, to) not in self.credited, "nobody is paid twice"
            self.credited[of, to] = amount
        elif event == "settled":
            of, uplinks, due, given = details
            assert of not in self.settled
            assert 0 <= of < min(4, self.next_epoch)
            used = {to: self.truth.get((GATEWAYS[0], to, of), 0) for to in PEOPLE[1:4]}
            pot = min(self.pot, due)
            assert (uplinks, due) == (sum(used.values()), sum(used.values()) * self.price)
            shares = {to: count * pot // uplinks for to, count in used.items() if count}
            assert given == sum(shares.values())
            assert all(self.credited[of, to] == share for to, share in shares.items())
            self.settled[of] = given
            self.pot -= given
        elif event == "paid":
            to, amount = details
            credited = sum(got for (_, who), got in self.credited.items() if who == to)
            assert self.got[to] - (self.returned if to == PAYER else 0) <= credited
        elif event == "funded":
            assert len(self.settled) < 4
            assert self.world.epoch <= 3
            self.pot += details[1]
        elif event == "refunded":
            assert details[0] == PAYER
            assert len(self.settled) == 4 or self.world.epoch > 33
            self.pot = 0
            self.returned += details[1]

    returned = 0

    def carried_out(self, of: int) -> None:
        assert self.state["open"] == 0 or {of - 1, of} & {*range(4)} <= {*self.settled}

    def owing(self) -> int:
        state = self.state
        assert state["owed"] == sum(state["credits"].values())
        assert state["escrow"] == self.pot
        return int(state["owed"] + state["escrow"])

    def wind_up(self) -> None:
        self.call(MALLORY, "close")
        for to in PEOPLE:
            due = sum(got for (_, who), got in self.credited.items() if who == to)
            self.call(MALLORY, "withdraw", to)
            assert self.got[to] == due + (self.returned if to == PAYER else 0)


class Coverage(Town):
    agreement = agreements.CoverageBounty

    @initialize(value=st.integers(2, 100), proofs=st.integers(1, 2))
    def deploy(self, value: int, proofs: int) -> None:
        assert self.call(PAYER, "init", OTHER, 5, proofs, 2, 4, value=value, door="init")
        self.reward, self.proofs = value // 2, proofs
        self.accepted: dict[bytes, int] = {}
        self.proven: dict[bytes, set[int]] = {}
        self.winners: dict[bytes, bytes | None] = {}
        self.earned: set[bytes] = set()
        self.given: set[bytes] = set()
        self.refunded = self.closed = False

    def justify(self, event: str, details: Any, by: bytes, function: str) -> None:
        if event == "accepted":
            assert by == OTHER, "only the judge accepts"
            assert details[0] not in self.accepted
            self.accepted[details[0]] = self.world.epoch
        elif event == "proven":
            gateway, of, uplinks = details
            assert uplinks == self.truth[gateway, of] >= 5
            assert self.accepted[gateway] <= of < 4
            assert of not in self.proven.setdefault(gateway, set())
            self.proven[gateway].add(of)
            self.winners[gateway] = self.world.operator(gateway, of)
        elif event == "earned":
            assert len(self.proven[details[0]]) == self.proofs
            assert details[0] not in self.earned
            assert details[2] == self.winners[details[0]] is not None
            self.earned.add(details[0])
            assert len(self.earned) <= 2
        elif event == "paid":
            gateway, amount, to = details
            assert gateway in self.earned - self.given, "nobody is paid twice"
            assert not self.closed
            self.given.add(gateway)
            assert (amount, to) == (self.reward, self.winners[gateway])
        else:
            assert event == "refunded"
            assert details[0] == PAYER
            if function == "finish":
                assert self.next_epoch == 4 or self.refunded
            else:
                assert self.world.epoch > 33
                self.closed = True
            self.refunded = True

    def owing(self) -> int:
        state = self.state
        waiting = 0 if self.closed else self.reward * len(self.earned - self.given)
        assert state["reserved"] == waiting
        if self.refunded:
            assert state["left"] == 0
            return int(state["reserved"])
        assert state["left"] == 2 - len(self.earned)
        return int(self.sent[PAYER] - self.reward * len(self.given))

    @rule(gateway=GATEWAY)
    def judge_accepts(self, gateway: bytes) -> None:
        self.call(OTHER, "accept", gateway)

    @rule(gateway=GATEWAY)
    def somebody_claims(self, gateway: bytes) -> None:
        self.call(MALLORY, "claim", gateway)

    def carried_out(self, of: int) -> None:
        for gateway, since in self.accepted.items():
            proves = self.truth.get((gateway, of), 0) >= 5 and since <= of < 4
            proves = proves and self.world.operator(gateway, of) is not None
            if proves and gateway not in self.earned and self.state["left"]:
                assert of in self.proven[gateway]

    @invariant()
    def whoever_proves_enough_has_earned(self) -> None:
        for gateway, epochs in self.proven.items():
            assert (gateway in self.earned) == (len(epochs) >= self.proofs)

    def wind_up(self) -> None:
        waiting = self.earned - self.given if self.state["reserved"] else set()
        for gateway in waiting:
            assert self.call(MALLORY, "claim", gateway)
        self.call(MALLORY, "close")


class Assurance(Town):
    agreement = agreements.Assurance
    refunding = False

    @initialize(
        goal=st.integers(50, 150),
        part=st.integers(0, 4),
        proofs=st.integers(1, 3),
        backed=st.sampled_from([True, True, False]),
    )
    def deploy(self, goal: int, part: int, proofs: int, *, backed: bool) -> None:
        self.goal, self.upfront, self.proofs = goal, goal * part // 4, proofs
        terms = (OWNER, goal, self.upfront, 3, 5, 500_000, proofs)
        assert self.call(PAYER, "init", *terms, door="init")
        self.pledges: Counter[bytes] = Counter()
        self.funded = self.built = False
        self.proven: set[int] = set()
        self.gateway: bytes | None = None
        if backed:
            for backer, amount in ((PAYER, goal // 3), (WALL, 5), (OTHER, goal - goal // 3 - 5)):
                assert self.call(backer, "pledge", value=amount)

    def justify(self, event: str, details: Any, by: bytes, function: str) -> None:
        if event == "pledged":
            assert not self.funded
            assert self.world.epoch <= 2
            self.pledges[by] += details[1]
        elif event == "funded":
            assert self.pledges.total() == self.goal
            self.funded = True
        elif event == "announced":
            assert self.funded
            assert self.gateway is None
            assert by == self.world.operator(details[0], self.world.epoch) == OWNER
            self.gateway, self.since = details[0], self.world.epoch
        elif event == "proven":
            of, online = details
            assert self.truth[self.gateway, of] * 10**5 == online >= 500_000
            assert self.since <= of <= 7
            assert of not in self.proven
            self.proven.add(of)
        elif event == "built":
            assert len(self.proven) == self.proofs
            assert not self.built
            assert not (self.refunding and self.pledges.total() < self.goal)
            self.built = True
            assert details == (OWNER, self.goal - self.upfront)
        elif event == "paid":
            assert details == (OWNER, self.upfront)
            assert self.funded
        elif event == "over":
            assert self.next_epoch == 8
            assert not self.built
        elif event == "refunded":
            backer, amount = details
            pledge = self.pledges.pop(backer)
            assert not self.built
            self.refunding = True
            if not self.funded:
                assert amount == pledge
                assert by == backer or self.world.epoch > 2
            else:
                assert amount >= pledge * (self.goal - self.upfront) // self.goal
                late = self.world.epoch > 37
                assert late or any(one == "over" for one, _ in self.world.events)

    def owing(self) -> int:
        state = self.state
        assert state["pledges"] == dict(self.pledges)
        assert state["pledged"] == self.pledges.total()
        if not self.funded:
            assert state["pot"] == state["pledged"]
        return int(state["pot"])

    @rule(by=st.sampled_from([PAYER, OTHER]), part=st.integers(1, 3), more=st.integers(0, 1))
    def somebody_backs(self, by: bytes, part: int, more: int) -> None:
        self.call(by, "pledge", value=max(1, (self.goal - self.state["pledged"]) // part + more))

    @rule(by=PERSON, backer=PERSON)
    def somebody_asks_for_a_refund(self, by: bytes, backer: bytes) -> None:
        self.call(by, "refund", backer)

    @invariant()
    def status_tells_how_far_it_has_come(self) -> None:
        word = self.status
        assert (word == "built") == self.built
        assert word != "pledging" or not (self.funded or (self.refunding and self.world.epoch > 2))
        assert word not in ("building", "waiting") or self.funded
        assert word == "failed" or not self.funded or not self.refunding

    def carried_out(self, of: int) -> None:
        if self.gateway and self.since <= of <= 7 and not self.built and not self.state["over"]:
            assert (of in self.proven) == (self.truth.get((self.gateway, of), 0) >= 5)

    @rule()
    def builder_builds(self) -> None:
        self.world.owners[GATEWAYS[2]] = OWNER
        self.world.handed_on.pop(GATEWAYS[2], None)
        self.call(OWNER, "announce", GATEWAYS[2])

    def wind_up(self) -> None:
        for backer in list(self.pledges):
            assert self.call(MALLORY, "refund", backer) != self.built
        self.call(MALLORY, "sweep")


class SharedOwnership(Town):
    agreement = agreements.SharedOwnership

    @initialize(parts=st.lists(st.integers(1, 5), min_size=3, max_size=3))
    def deploy(self, parts: list[int]) -> None:
        owners = (OWNER, OTHER, WALL)
        assert self.call(PAYER, "init", owners, tuple(parts), door="init")
        self.total = sum(parts)
        self.shares = Counter(dict(zip(owners, parts)))
        self.due: Counter[bytes] = Counter()
        self.split = 0

    def income(self) -> None:
        """Divide all money received so far by the present shares."""
        each = (self.sent.total() + self.gifts) // self.total
        for owner, parts in self.shares.items():
            self.due[owner] += parts * (each - self.split)
        self.split = each

    def justify(self, event: str, details: Any, by: bytes, function: str) -> None:
        if event == "handed_on":
            frm, to, parts = details
            assert frm == by
            assert 0 < parts <= self.shares[by]
            self.income()
            self.shares[frm] -= parts
            self.shares[to] += parts

    @rule(by=PERSON, to=PERSON, parts=st.integers(1, 3))
    def somebody_hands_on(self, by: bytes, to: bytes, parts: int) -> None:
        self.call(by, "hand_on", to, parts)

    def owing(self) -> int:
        return 0 if self.gifts else self.world.money

    @invariant()
    def everybody_is_due_what_the_shares_say(self) -> None:
        self.income()
        state, got = self.state, self.got
        assert sum(state["shares"].values()) == self.total
        for person in PEOPLE:
            self.world.sender = person
            shown = self.world.call(self.program, "due", person).value
            assert shown == self.due[person] - got[person]
        assert self.status == ("owing" if self.due.total() > got.total() else "empty")

    def teardown(self) -> None:
        if not self.program or "due" not in self.__dict__:
            return
        self.world.refuses = frozenset()
        for person in PEOPLE:
            self.call(MALLORY, "withdraw", person)
        self.everybody_is_due_what_the_shares_say()
        assert self.got == +self.due
        assert self.world.money < self.total, "less than a unit a share waits"


def case(town: type[Town]) -> type:
    found: type = town.TestCase
    found.settings = settings(stateful_step_count=30)
    return found


TestUptime = case(Uptime)
TestPayPerUplink = case(PayPerUplink)
TestCoverage = case(Coverage)
TestAssurance = case(Assurance)
TestSharedOwnership = case(SharedOwnership)


# --- attempts, one by one ------------------------------------------------------------------------


def settle(town: Town, *figures: int | None, awake: bool = True) -> None:
    """Let an epoch settle with these figures of the gateways."""
    town.epoch_settles([*figures, *[None] * (6 - len(figures))], awake=awake, late=False)


def fails(town: Town, by: bytes, function: str, *values: Any, value: int = 0) -> bool:
    before = town.world.money, dict(town.world.storage)
    done = town.call(by, function, *values, value=value)
    assert done or before == (town.world.money, town.world.storage)
    return not done


def test_uptime_pays_from_the_agreed_share_on_and_refunds_below() -> None:
    town = Uptime()
    town.deploy(100, 500_000)
    for figure in (5, 4, None, 10):
        settle(town, figure)
    assert town.concluded == {0: "paid", 1: "refunded", 2: "refunded", 3: "paid"}
    assert town.got == {OWNER: 50, PAYER: 50}


def test_uptime_missed_by_the_machine_is_proven_by_anybody_while_it_is_known() -> None:
    town = Uptime()
    town.deploy(100, 500_000)
    assert fails(town, MALLORY, "prove", 0), "it has not settled"
    for figure in (9, 9, 3, 9):
        settle(town, figure, awake=False)
    assert fails(town, MALLORY, "prove", 1), "too long ago"
    assert town.call(MALLORY, "prove", 2)
    assert town.call(MALLORY, "prove", 3)
    assert fails(town, MALLORY, "prove", 3), "decided already"
    assert town.got == {PAYER: 25, OWNER: 25}
    assert town.call(PAYER, "release", 0)
    assert town.call(OWNER, "give_back", 1)
    assert town.got == {PAYER: 50, OWNER: 50}
    assert [town.world.call(town.program, "outcome", of).value for of in (0, 1, 3, 4)] == [
        "paid", "refunded", "paid", "none",
    ]  # fmt: skip


def test_uptime_of_a_missed_epoch_belongs_to_the_owner_in_that_epoch() -> None:
    town = Uptime()
    town.deploy(100, 1)
    settle(town, 9, awake=False)
    settle(town, 9, awake=False)
    town.gateway_changes_hands(GATEWAYS[0], OTHER)
    settle(town, 9, awake=False)
    assert town.call(MALLORY, "prove", 2)
    assert town.got == {OWNER: 25}
    settle(town, 9, awake=False)
    assert fails(town, OTHER, "give_back", 0), "the owner of now, not of then"
    assert town.call(PAYER, "release", 0)
    assert town.got == {OWNER: 50}
    assert fails(town, OWNER, "give_back", 3)
    assert town.call(OTHER, "give_back", 3)
    assert town.got == {OWNER: 50, PAYER: 25}


def test_uptime_of_an_epoch_that_is_not_over_is_neither_released_nor_given_back() -> None:
    """The gateway may have another owner by then."""
    town = Uptime()
    town.deploy(100, 1)
    for of in (0, 1, 3):
        assert fails(town, PAYER, "release", of)
        assert fails(town, OWNER, "give_back", of)
    town.world.epoch = 1
    assert town.call(PAYER, "release", 0)
    assert fails(town, PAYER, "release", 1)


def test_a_coverage_reward_belongs_to_the_owner_in_the_epoch_that_earned_it() -> None:
    town = Coverage()
    town.deploy(40, 1)
    town.judge_accepts(GATEWAYS[0])
    settle(town, 9)
    town.gateway_changes_hands(GATEWAYS[0], MALLORY)
    settle(town, 9)
    assert town.call(MALLORY, "claim", GATEWAYS[0])
    assert town.got == {OWNER: 20}


def test_uptime_of_a_gateway_whose_owner_takes_no_money_is_held_and_then_refunded() -> None:
    town = Uptime()
    town.deploy(100, 1)
    town.world.owners[GATEWAYS[0]] = WALL
    for figure in (9, None, 9, 9):
        settle(town, figure)
    assert town.got == {PAYER: 25}
    assert fails(town, PAYER, "close")
    town.world.epoch = 34
    assert town.call(MALLORY, "close")
    assert town.got == {PAYER: 100}


def test_pay_per_uplink_pays_what_was_delivered_and_in_proportion_when_it_runs_out() -> None:
    town = PayPerUplink()
    town.deploy(30, 2)
    settle(town, 0, 0, 0, 3, 1, None)
    assert town.credited == {(0, OWNER): 6, (0, OTHER): 2}
    settle(town, 0, 0, 0, 9, 6, 6)
    assert town.credited.total() == 8 + 9 + 6 + 6
    assert town.call(MALLORY, "withdraw", OWNER)
    assert fails(town, OWNER, "withdraw", OWNER), "it is paid already"
    settle(town)
    settle(town)
    assert town.got == {OWNER: 15, PAYER: 1}, "what is left goes back by itself"
    assert fails(town, PAYER, "fund", value=5), "it has ended"


def test_coverage_counts_from_acceptance_to_the_last_epoch_and_pays_a_reward_once() -> None:
    town = Coverage()
    town.deploy(101, 2)
    assert fails(town, PAYER, "accept", GATEWAYS[0]), "only the judge accepts"
    settle(town, 9, 9, 9)
    for gateway in GATEWAYS[:2]:
        assert town.call(OTHER, "accept", gateway)
        assert fails(town, OTHER, "accept", gateway), "accepted already"
    assert fails(town, OWNER, "prove", GATEWAYS[0], 0), "before it was accepted"
    settle(town, 5, 9)
    settle(town, 4, 9)
    assert (town.earned, town.proven[GATEWAYS[0]]) == ({GATEWAYS[1]}, {1})
    assert town.call(MALLORY, "claim", GATEWAYS[1])
    assert fails(town, OTHER, "claim", GATEWAYS[1]), "paid already"
    assert fails(town, OWNER, "claim", GATEWAYS[0]), "not earned"
    settle(town, 3, awake=False)
    settle(town, 9, awake=False)
    assert fails(town, OWNER, "prove", GATEWAYS[0], 4), "after the last epoch"
    assert town.got == {OTHER: 50}
    town.world.epoch = 34
    assert town.call(MALLORY, "close")
    assert town.got == {OTHER: 50, PAYER: 51}


def test_coverage_that_is_closed_owes_nobody() -> None:
    town = Coverage()
    town.deploy(100, 1)
    town.call(OTHER, "accept", GATEWAYS[0])
    settle(town, 9)
    assert town.earned
    town.world.epoch = 34
    assert town.call(PAYER, "close")
    town.something_is_earned(100)
    assert fails(town, OWNER, "claim", GATEWAYS[0])
    assert town.call(MALLORY, "close")
    assert town.state["reserved"] == 0
    assert town.got == {PAYER: 200}


def assured(backed: bool) -> Assurance:
    town = Assurance()
    town.deploy(100, 1, 2, backed=backed)
    town.world.owners[GATEWAYS[2]] = OWNER
    return town


def test_backers_of_what_never_comes_together_get_all_back() -> None:
    town = assured(backed=False)
    assert town.call(OTHER, "pledge", value=60)
    assert fails(town, MALLORY, "pledge", value=41), "more than is missing"
    assert fails(town, MALLORY, "refund", OTHER), "only the backer, until pledging ends"
    assert town.call(PAYER, "pledge", value=30)
    assert town.call(PAYER, "refund", PAYER)
    assert fails(town, OWNER, "announce", GATEWAYS[2]), "the goal is not reached"
    town.world.epoch = 3
    assert fails(town, PAYER, "pledge", value=40), "pledging has ended"
    assert town.call(MALLORY, "refund", OTHER)
    assert town.got == {PAYER: 30, OTHER: 60}


def test_a_builder_is_paid_for_epochs_after_the_announcement_each_counted_once() -> None:
    town = assured(backed=True)
    assert town.got == {OWNER: 25}
    assert fails(town, PAYER, "refund", PAYER), "the goal is reached"
    settle(town, None, None, 9)
    assert fails(town, OWNER, "announce", GATEWAYS[1]), "another's gateway"
    assert fails(town, PAYER, "announce", GATEWAYS[2]), "not the builder"
    assert town.call(OWNER, "announce", GATEWAYS[2])
    town.world.owners[GATEWAYS[1]] = OWNER
    assert fails(town, OWNER, "announce", GATEWAYS[1]), "announced already"
    assert fails(town, OWNER, "prove", 0), "before the announcement"
    settle(town, None, None, 5)
    assert fails(town, OWNER, "prove", 1), "counted already"
    settle(town, None, None, 4)
    assert not town.built
    settle(town, None, None, 5)
    assert town.built
    assert town.got == {OWNER: 100}
    assert fails(town, PAYER, "refund", PAYER), "it is built"


def test_a_late_proof_takes_nothing_from_backers_once_others_took_their_money_back() -> None:
    town = assured(backed=True)
    town.call(OWNER, "announce", GATEWAYS[2])
    for _ in range(6):
        settle(town, None, None, None, awake=False)
    town.world.epoch = 38
    assert town.call(MALLORY, "refund", PAYER)
    settle(town, None, None, 9)
    settle(town, None, None, 9)
    assert not town.built
    for backer in (OTHER, PAYER):
        town.call(MALLORY, "refund", backer)
    town.world.refuses = frozenset()
    assert town.call(MALLORY, "refund", WALL)
    assert town.got == {OWNER: 25, PAYER: 24, OTHER: 47, WALL: 4}


def test_shares_split_all_that_is_earned_and_go_with_what_they_earn_later() -> None:
    town = SharedOwnership()
    town.deploy([1, 2, 2])
    town.something_is_earned(12)
    assert town.call(OTHER, "hand_on", MALLORY, 1)
    assert fails(town, OTHER, "hand_on", MALLORY, 2), "one is left"
    town.something_is_earned(13)
    for person in PEOPLE:
        town.call(MALLORY, "withdraw", person)
    assert town.got == {OWNER: 5, OTHER: 4 + 3, MALLORY: 3}
    assert town.world.money == 10, "the third owner takes no money: it waits"


# --- the texts -----------------------------------------------------------------------------------


@pytest.mark.parametrize("agreement", AGREEMENTS.values(), ids=list(AGREEMENTS))
def test_an_agreement_says_in_plain_words_what_it_and_each_function_promises(
    agreement: Agreement,
) -> None:
    contract = agreement.tree
    folder = Path(agreements.__file__).parent
    assert agreement.source == (folder / f"{agreement.name}.dii").read_text()
    assert agreement.summary == contract.doc
    assert len(contract.doc.partition("\n")[0]) < 80
    for function in contract.functions:
        assert function.doc.endswith("."), function.name
    assert agreement.takes
    assert frontend.parse(unparse(contract)) == contract


HIRED = tuple(bytes([number]) * 20 for number in range(16))


FULLEST = {
    agreements.UptimeAgreement: (HIRED[0], 1, 1_000),
    agreements.PayPerUplink: (HIRED[0], HIRED, 10**9, 1_000),
    agreements.CoverageBounty: (PAYER, 1, 30, 8, 1_000),
    agreements.Assurance: (OWNER, 10**17, 1, 1, 1_000, 1, 1_000),
}


@pytest.mark.parametrize("agreement", FULLEST, ids=lambda one: one.name)
def test_the_fullest_agreement_settles_two_epochs_at_once_within_the_gas_reserved_by_default(
    agreement: Agreement,
) -> None:
    program = compiler.compile(agreement.tree)
    world = World(epoch=0, owners=dict.fromkeys(HIRED, OWNER))
    record = {"online_ppm": 10**6, "sole_uplinks": 10**8, "delivered": 10**8}

    def settles(*epochs: int) -> int:
        for of in epochs:
            world.measured |= {(gateway, of): record for gateway in HIRED}
            world.measured |= {(HIRED[0], who, of): record for who in HIRED}
        hooks = [world.call(program, one, epochs[-1], by="on_epoch") for one in program.hooks]
        return sum(hook.gas for hook in hooks)

    world.value = 10**17 if "payable" in program.functions["init"].marks else 0
    world.call(program, "init", *FULLEST[agreement], by="init")
    world.value = 0
    if agreement is agreements.CoverageBounty:
        for gateway in HIRED[:8]:
            world.call(program, "accept", gateway)
        for of in range(28):
            settles(of)
    if agreement is agreements.Assurance:
        world.value = 10**17
        world.call(program, "pledge")
        world.sender, world.value = OWNER, 0
        world.call(program, "announce", HIRED[0])
    before = len(world.events)
    assert settles(28, 29) <= HOOK_GAS
    assert len(world.events) >= before + 2
