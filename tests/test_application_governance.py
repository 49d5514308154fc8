"""Proposals and votes: decisions by two thirds, after a delay, never backwards."""

from __future__ import annotations

import dataclasses
import functools
import random
from collections import Counter
from typing import Any

import pytest

from dii import codec, minting
from dii.application import BlockResult, total_money
from dii.application.actions import (
    Action,
    DenyGateway,
    RemoveStream,
    SetGas,
    SetScope,
    SetStream,
    SetValidator,
    SpendTreasury,
)
from dii.application.bank import supply
from dii.application.messages import Burn, Propose, Transfer, Vote, from_value, to_value
from dii.application.records import CHAIN, DENIED, ISSUANCES, SCOPES, STREAMS
from dii.crypto import SigningKey, address_of
from dii.errors import (
    BadAction,
    BadTransaction,
    FeeUncovered,
    NotValidator,
    ProposalClosed,
    UnknownProposal,
)
from dii.genesis import TREASURY
from dii.minting import FixedEmission, PerContribution, ShapleyTraffic, Spec, Uptime
from dii.minting.receipts import REASON_DENIED
from dii.units import SECOND
from tests import chains
from tests.chains import ALICE, BOB, CAROL, EPOCH, OPENING, REPORTER, START, gateway, scope, stream
from tests.deployments import BANK, deploy
from tests.governance import DELAY, UP, VOTING, Chain, V, powers, set_stream

ACTIONS: list[Action] = [
    set_stream(),
    RemoveStream("main", "main"),
    SetScope("other", (ALICE.address, BOB.address), ("online_ppm",), ("delivered",)),
    SetValidator(ALICE.public_key, 5),
    SetGas(2, 1),
    SpendTreasury(BOB.address, 5),
    DenyGateway("main", gateway(1), bytes(32), 9),
]
# fmt: off
MALFORMED = [
    (), (1,), (8, 1), (True, "main", "main"), ("SetGas", 1, 1), (4, bytes(31), 1),
    (4, bytes(32), 2**40 + 1), (4, bytes(32), -1), (5, 10**12 + 1, 1), (5, 1), (5, 1, 1, 1),
    (6, bytes(20), bytes(9)), (7, "main", bytes(19), bytes(32), 1), 7, b"\1", None,
]
# fmt: on


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: type(action).__name__)
def test_a_proposal_of_every_action_travels_and_stays_as_it_is(action):
    message = Propose(action)
    assert from_value(codec.decode(codec.encode(to_value(message)))) == message
    chain = Chain()
    assert chain.proposal(chain.propose(action)).action == action


@pytest.mark.parametrize("value", MALFORMED, ids=repr)
def test_a_malformed_action_is_no_transaction(value):
    with pytest.raises(BadTransaction):
        from_value((32, value))


# --- who decides ---------------------------------------------------------------------------------


def test_only_validators_propose_and_vote():
    chain = Chain()
    number = chain.propose(SetGas(2, 1))
    for message in (Propose(SetGas(3, 1)), Vote(number, approve=True)):
        (result,) = chain.do(ALICE, message)
        assert (result.code, result.fee) == (NotValidator.code, result.gas)
        assert result.gas
        (result,) = chain.do(REPORTER, message)  # without money it is nothing at all
        assert (result.code, result.gas) == (FeeUncovered.code, 0)


def test_a_vote_of_a_stranger_adds_up_no_powers(monkeypatch):
    chain = Chain()
    number = chain.propose(SetGas(2, 1))
    monkeypatch.setattr("dii.application.governance.powers", None)
    wire = chain.sign(ALICE, Vote(number, approve=True))
    assert chain.app.prepare_proposal([wire], 1_000, chain.time) == [wire]
    assert chain.block(wire).results[0].code == NotValidator.code


@pytest.mark.parametrize(
    ("voters", "passes"),
    [((0, 1, 2), False), ((3,), False), ((2, 3), True), ((1, 3), False), ((0, 1, 3), True)],
)
def test_more_than_two_thirds_of_the_power_decide(voters, passes):
    chain = Chain()
    number = chain.propose(SetGas(2, 1))
    chain.vote(number, *(V[one] for one in voters))
    assert chain.standing(number) == ("passed" if passes else "open")


def test_exactly_two_thirds_are_too_few():
    powers = [{"public_key": key.public_key.hex(), "power": 1} for key in V[:3]]
    chain = Chain(validators=powers)
    number = chain.propose(SetGas(2, 1), by=V[0])
    chain.vote(number, V[0], V[1])
    assert chain.standing(number) == "open"
    chain.vote(number, V[2])
    assert chain.standing(number) == "passed"


def test_power_is_that_in_force_at_the_tally():
    chain = Chain()
    number = chain.propose(SetGas(2, 1))
    chain.vote(number, V[3])  # 40 of 100
    chain.decide(SetValidator(V[2].public_key, 0))
    chain.block()
    chain.vote(number, V[0], approve=False)  # 40 of 70
    assert chain.standing(number) == "open"
    (result,) = chain.do(V[2], Vote(number, approve=True))
    assert result.code == FeeUncovered.code
    chain.vote(number, V[1])  # 60 of 70
    assert chain.standing(number) == "passed"


def test_the_vote_of_a_former_validator_counts_nothing():
    chain = Chain()
    number = chain.propose(SetGas(2, 1))
    chain.vote(number, V[2])
    chain.decide(SetValidator(V[2].public_key, 0))
    chain.block()
    chain.vote(number, V[3])  # 40 of 70, and the 30 that left
    assert chain.standing(number) == "open"
    assert dict(chain.proposal(number).votes) == {V[3].address: True}


def test_a_vote_against_can_be_changed_and_the_last_one_counts():
    chain = Chain()
    number = chain.propose(SetGas(2, 1))
    chain.vote(number, V[3])
    chain.vote(number, V[2], approve=False)
    assert chain.standing(number) == "open"
    chain.do(ALICE, Transfer(V[2].address, 10_000))
    (result,) = chain.do(V[2], Vote(number, approve=True))
    assert (result.code, result.fee) == (0, result.gas), "a second vote is not free"
    assert chain.standing(number) == "passed"


def test_one_open_proposal_and_one_vote_on_each_are_free():
    chain = Chain()
    first = chain.propose(SetGas(2, 1))
    (result,) = chain.do(V[3], Propose(SetGas(3, 1)))
    assert (result.code, result.fee) == (FeeUncovered.code, 0)
    chain.do(ALICE, Transfer(V[3].address, 10_000))
    (result,) = chain.do(V[3], Propose(SetGas(3, 1)))
    assert (result.code, result.fee) == (0, result.gas)
    for number in (first, first + 1):
        (result,) = chain.do(V[2], Vote(number, approve=True))
        assert (result.code, result.fee) == (0, 0)
    chain.vote(first, V[3])
    (result,) = chain.do(V[3], Propose(SetGas(4, 1)))
    assert (result.code, result.fee) == (0, 0), "the first is decided"


def test_a_proposal_that_does_not_pass_in_time_expires_and_frees_its_proposer():
    chain = Chain()
    number = chain.propose(SetGas(2, 1))
    opened = chain.proposal(number).opened
    chain.block(time=opened + VOTING - 2 * SECOND)
    chain.vote(number, V[3])
    assert chain.standing(number) == "open"
    root = chain.app.info()[1]
    assert not chain.block(time=opened + VOTING).changed
    assert chain.app.info()[1] == root
    assert chain.standing(number) == "expired"
    (result,) = chain.do(V[2], Vote(number, approve=True))
    assert result.code == ProposalClosed.code
    (result,) = chain.do(V[3], Propose(SetGas(2, 1)))
    assert (result.code, result.fee) == (0, 0)


def test_votes_on_missing_and_decided_proposals_are_refused():
    chain = Chain()
    (result,) = chain.do(V[0], Vote(7, approve=True))
    assert result.code == UnknownProposal.code
    number = chain.passes(SetGas(2, 1))
    (result,) = chain.do(V[0], Vote(number, approve=False))
    assert result.code == ProposalClosed.code


# --- when it acts --------------------------------------------------------------------------------


def test_a_passed_proposal_acts_in_the_first_block_after_the_delay():
    chain = Chain()
    number = chain.passes(SetGas(9, 1))
    acts = chain.proposal(number).acts
    assert acts == chain.time + DELAY
    assert not chain.block(time=acts - SECOND).changed
    wire = chain.sign(ALICE, Burn(1))  # still at the old price
    result = chain.block(wire, time=acts)
    assert result.results[0].fee == result.results[0].gas
    (result,) = chain.do(ALICE, Burn(1))
    assert result.fee == 9 * result.gas


@pytest.mark.parametrize(
    "action",
    [*ACTIONS[:1], *ACTIONS[2:5], *ACTIONS[6:]],
    ids=lambda action: type(action).__name__,
)
def test_an_empty_block_soon_after_every_decision_changes_nothing(action):
    chain = Chain()
    chain.decide(action)
    chain.block()
    assert not chain.block().changed
    assert not chain.block(time=chain.time + EPOCH // 2).changed


def test_a_changed_stream_pays_from_the_first_epoch_that_begins_after_it():
    chain = Chain(streams=[stream(policy=FixedEmission(1_000))])
    chain.register((1, ALICE.address), (2, BOB.address))
    chain.decide(set_stream(policy=FixedEmission(300)))
    changed = chain.time
    assert (changed - START) // EPOCH == 2
    for epoch in range(5):  # settled long after it was decided, each by what held when it was
        chain.settle(epoch, UP)
    pools = [chain.issuance(epoch).pool for epoch in range(5)]
    assert pools == [1_000, 1_000, 1_000, 300, 300]


def test_a_change_exactly_at_the_beginning_of_an_epoch_holds_for_it():
    chain = Chain(streams=[stream(policy=FixedEmission(1_000))])
    chain.block(time=START + EPOCH - 4 * SECOND)
    number = chain.passes(set_stream(policy=FixedEmission(300)))
    assert chain.proposal(number).acts == START + 3 * EPOCH
    chain.block(time=START + 3 * EPOCH)
    for epoch in range(4):
        chain.settle(epoch, UP)
    assert [chain.issuance(epoch).pool for epoch in range(4)] == [1_000, 1_000, 1_000, 300]


def test_changes_of_one_stream_follow_each_other_by_epochs():
    chain = Chain(streams=[stream(policy=FixedEmission(1_000))])
    for amount in (200, 300):
        chain.decide(set_stream(policy=FixedEmission(amount)))
    for amount in (400, 500):  # both from the same epoch: the later one holds
        chain.passes(set_stream(policy=FixedEmission(amount)))
    chain.block(time=chain.time + DELAY)
    for epoch in range(9):
        chain.settle(epoch, UP)
    pools = [chain.issuance(epoch).pool for epoch in range(9)]
    assert pools == [1_000] * 3 + [200] * 2 + [300] * 2 + [500] * 2


def test_a_new_stream_comes_last_and_may_take_what_an_earlier_one_leaves():
    chain = Chain(max_mint_per_epoch=10_000)
    chain.register((1, ALICE.address))
    chain.decide(set_stream("bonus", policy=FixedEmission(70)))
    chain.decide(set_stream("main", policy=FixedEmission(100), rest="bonus"))
    begins = -(-(chain.time - START) // EPOCH)
    for epoch in range(begins + 2):
        chain.settle(epoch, {gateway(1): [0 if epoch == begins else 10**6]})
    assert chain.issuance(begins - 1, "bonus").pool == 70
    assert chain.issuance(begins, "bonus").pool == 170, "nobody earned in main"
    assert chain.issuance(begins + 1, "bonus").pool == 70


def test_a_removed_stream_leaves_its_dust_to_the_treasury():
    chain = Chain(streams=[stream(policy=FixedEmission(1_001)), stream("other")], gas_price=0)
    rows = {gateway(number): [1] for number in range(1, 5)}
    chain.register(*((number, ALICE.address) for number in range(1, 5)))
    chain.decide(RemoveStream("main", "main"))
    last = (chain.time - START) // EPOCH
    for epoch in range(last + 1):
        chain.settle(epoch, rows)
    left = chain.app.state.get(STREAMS, "main")
    assert left is not None
    assert left.dust
    before = chain.balance(TREASURY)
    chain.settle(last + 1, rows)
    assert chain.app.state.get(STREAMS, "main") is None
    assert chain.balance(TREASURY) == before + left.dust
    money = supply(chain.app.state)
    assert total_money(chain.app.state) == money.minted - money.burned


def test_a_stream_that_is_removed_and_added_again_begins_without_dust_and_conserves():
    chain = Chain(streams=[stream(policy=FixedEmission(1_000))])
    rows = {gateway(number): [1] for number in range(1, 4)}
    chain.settle(0, rows)
    chain.passes(RemoveStream("main", "main"))
    chain.passes(set_stream(policy=FixedEmission(1_000)))
    chain.block(time=chain.time + DELAY)
    for epoch in range(1, 6):
        chain.settle(epoch, rows)
    money = supply(chain.app.state)
    assert total_money(chain.app.state) == money.minted - money.burned
    assert [chain.issuance(epoch).dust_before for epoch in range(6)] == [0, 1, 2, 0, 0, 1]


def test_a_new_scope_is_paid_from_the_first_epoch_after_it_and_holds_up_nobody():
    chain = Chain()
    chain.decide(SetScope("north", (CAROL.address,), ("online_ppm",), ()))
    chain.decide(set_stream("north", scope="north", policy=FixedEmission(11)))
    north = chain.app.state.get(SCOPES, "north")
    assert north is not None
    assert (north.next_epoch, north.reporters) == (3, (CAROL.address,))
    for epoch in range(8):
        chain.settle(epoch, UP)
        if epoch >= 3:
            messages = chains.report(epoch, {gateway(9): [5]}, scope="north")
            assert not any(one.code for one in chain.do(CAROL, *messages))
            while chain.block().changed:
                pass
    assert chain.settled("north") == 8
    paid = [epoch for name, epoch in chain.receipts if name == "north"]
    assert paid == [5, 6, 7]


def test_a_scope_whose_reporter_has_lost_its_key_goes_on_with_another():
    chain = Chain()
    chain.block(time=START + 2 * EPOCH)
    chain.decide(SetScope("main", (CAROL.address,), ("online_ppm",), ()))
    for epoch in range(3):
        messages = chains.report(epoch, UP)
        assert all(one.code for one in chain.do(REPORTER, messages[0]))
        assert not any(one.code for one in chain.do(CAROL, *messages))
        while chain.block().changed:
            pass
    assert chain.settled() == 3


def test_a_scope_keeps_what_a_rule_needs_that_acts_for_some_epochs_only():
    chain = Chain(scopes=[scope(metrics=("online_ppm", "shapley_uplinks"))])
    for rule in (ShapleyTraffic(), Uptime()):  # and no report comes
        chain.decide(set_stream("second", rule=rule))
    needed = chain.fails(SetScope("main", (REPORTER.address,), ("online_ppm",), ()))
    assert "second: ShapleyTraffic" in needed


def test_the_treasury_pays_what_was_decided_and_never_more_than_it_has():
    chain = Chain()
    chain.do(ALICE, Transfer(TREASURY, 5_000))
    chain.decide(SpendTreasury(CAROL.address, 4_000))
    assert chain.balance(CAROL) == OPENING + 4_000
    left = chain.balance(TREASURY)
    assert "needed" in chain.fails(SpendTreasury(CAROL.address, left + 10**6))
    assert chain.balance(TREASURY) >= left


def test_the_treasury_pays_no_contract_past_its_functions():
    """The owner of the money would be unknown, and no function might ever pay it out."""
    chain = Chain()
    chain.do(ALICE, Transfer(TREASURY, 5_000))
    address = deploy(chain, BOB, BANK)
    assert "is a contract" in chain.fails(SpendTreasury(address, 1_000))
    assert chain.balance(address) == 0


# --- what cannot be ------------------------------------------------------------------------------

LIMIT = 10**12
UNNEEDED = Spec("Uptime", 1, (("minimum", 1),))
# fmt: off
FAILING = [
    (set_stream(policy=FixedEmission(LIMIT + 1)), "above max_mint_per_epoch"),
    (set_stream(policy=PerContribution(1, LIMIT + 1)), "above max_mint_per_epoch"),
    (set_stream(rule=ShapleyTraffic()), "does not report"),
    (set_stream(rule=minting.Composite()), "at least one part"),
    (set_stream(rule=minting.Composite(uptime=2**62)), "could give a weight"),
    (set_stream(policy=minting.ExponentialDecay(5, 10**6)), "keep_ppm"),
    (set_stream(scope="moon"), "no scope"),
    (set_stream("second", scope="other"), "another scope"),
    (set_stream("third", rest="main"), "neither treasury nor a later stream"),
    (set_stream("main", rest="main"), "neither treasury nor a later stream"),
    (SetStream("main", "main", UNNEEDED, FixedEmission(1).spec(), None), "is unknown"),
    (RemoveStream("main", "moon"), "no stream"),
    (RemoveStream("other", "main"), "no stream"),
    (RemoveStream("main", "second"), "passes its rest to 'second'"),
    (SetScope("main", (ALICE.address,), ("uplinks",), ()), "does not report"),
    (SetScope("main", (ALICE.address, ALICE.address), ("online_ppm",), ()), "duplicate reporter"),
    (SetScope("new", (ALICE.address,), ("uplinks", "online_ppm"), ()), "in this order"),
    (SetScope("new", (ALICE.address,), ("online_ppm",), ("lost", "lost")), "in this order"),
    (DenyGateway("moon", gateway(1), bytes(32), 9), "no scope"),
    (SpendTreasury(ALICE.address, 10**9), "is needed"),
]
# fmt: on


@pytest.mark.parametrize(("action", "why"), FAILING, ids=lambda it: str(it)[:60])
def test_an_impossible_action_fails_when_it_is_due_and_changes_nothing_else(action, why):
    chain = Chain(
        scopes=[scope(), scope("other")],
        streams=[stream(rest="second"), stream("second")],
        max_mint_per_epoch=LIMIT,
    )
    before = list(chain.app.state.items(STREAMS)), list(chain.app.state.items(SCOPES))
    assert why in chain.fails(action)
    assert (list(chain.app.state.items(STREAMS)), list(chain.app.state.items(SCOPES))) == before
    chain.settle(0, UP)
    assert chain.issuance(0).policy == FixedEmission(1_000).spec()


@pytest.mark.parametrize(
    "action",
    [
        set_stream("Main"), set_stream("treasury"), set_stream("x" * 42), set_stream("a b"),
        SetScope("Ä", (ALICE.address,), ("online_ppm",), ()), SpendTreasury(ALICE.address, 0),
    ],
    ids=lambda action: str(action)[:60],
)  # fmt: skip
def test_an_action_that_is_never_valid_is_refused_at_once_and_costs_its_proposer(action):
    chain = Chain()
    chain.do(ALICE, Transfer(V[0].address, 100_000))
    (result,) = chain.do(V[0], Propose(action))
    assert (result.code, result.fee) == (BadAction.code, result.gas)


def test_no_name_of_a_stream_is_used_again_in_another_scope():
    chain = Chain(scopes=[scope(), scope("other")], streams=[stream()])
    chain.settle(0, UP)
    chain.decide(RemoveStream("main", "main"))
    for epoch in range(1, 5):
        chain.settle(epoch, UP)
    assert chain.app.state.get(STREAMS, "main") is None
    assert "another scope" in chain.fails(set_stream(scope="other"))
    chain.passes(set_stream("twin"))
    number = chain.passes(set_stream("twin", scope="other"))
    chain.block(time=chain.time + DELAY)
    assert chain.standing(number) == "failed"


def test_no_action_touches_what_is_constitutional():
    fields = {
        (type(action).__name__, field.name)
        for action in ACTIONS
        for field in dataclasses.fields(action)
    }
    fixed = {"max_mint_per_epoch", "max_treasury_per_epoch", "governance_delay", "voting_period"}
    assert not fixed & {name for _, name in fields}
    chain = Chain()
    before = chain.app.state.get(CHAIN)
    for action in ACTIONS[2:]:
        number = chain.passes(action)
        chain.block(time=chain.proposal(number).acts)
    after = chain.app.state.get(CHAIN)
    assert before is not None
    assert after == dataclasses.replace(before, gas_price=2)


@pytest.mark.parametrize("share", [0, 200_000, 1_000_000])
def test_the_treasury_gets_no_more_of_an_epoch_than_its_constitutional_share(share):
    """Two scopes with a stream each, in which the whole pool is a rest, since no gateway earns."""
    rules = {"max_treasury_ppm": share}
    streams = [
        stream("here", policy=FixedEmission(700), rest="treasury"),
        stream("there", policy=FixedEmission(700), rest="treasury", scope="other"),
    ]
    chain = Chain(
        scopes=[scope(), scope("other")], streams=streams, governance=rules,
        max_mint_per_epoch=1_000, gas_price=0,
    )  # fmt: skip
    for epoch in range(2):
        before = chain.balance(TREASURY)
        chain.settle(epoch, {})
        chain.settle(epoch, {}, scope="other")
        assert chain.balance(TREASURY) - before == 1_000 * share // 10**6


# --- denied gateways -----------------------------------------------------------------------------


def test_a_denied_gateway_earns_nothing_until_its_time_and_its_receipt_says_so():
    chain = Chain()
    chain.register((1, ALICE.address), (2, BOB.address))
    chain.decide(DenyGateway("main", gateway(1), bytes(32), until=5))
    for epoch in range(7):  # decided in epoch 2
        chain.settle(epoch, UP)
    reasons = [
        [(one.amount > 0, one.reason) for one in chain.receipts["main", epoch]]
        for epoch in range(7)
    ]
    both, second = [(True, 0), (True, 0)], [(False, REASON_DENIED), (True, 0)]
    assert reasons == [both, both, both, second, second, both, both]
    assert not list(chain.app.state.items(DENIED)), "what is over is forgotten"


def test_a_denied_gateway_can_be_allowed_again_before_its_time():
    chain = Chain()
    chain.register((1, ALICE.address))
    chain.decide(DenyGateway("main", gateway(1), bytes(32), until=99))
    chain.decide(DenyGateway("main", gateway(1), bytes(32), until=0))
    for epoch in range(7):
        chain.settle(epoch, UP)
    denied = [chain.receipts["main", epoch][0].reason == REASON_DENIED for epoch in range(7)]
    assert denied == [False, False, False, True, True, False, False]


# --- a fight -------------------------------------------------------------------------------------


class Fight:
    """Validators and a thief propose and vote at random, and books kept beside the chain.

    The books know from results of transactions who said what, and from outcomes what was possible;
    when it had to happen, and what epochs and blocks then follow, they work out themselves.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.chain = Chain(
            gas_price=0, scopes=[scope(metrics=("online_ppm", "uplinks"))],
            streams=[stream("main", policy=FixedEmission(100), rest="treasury"), stream("second")],
            max_mint_per_epoch=1_200,
        )  # fmt: skip
        self.people = [*V, ALICE, BOB]
        self.powers = [powers(self.chain)] * 2
        self.opened: list[tuple[Action, int, dict[bytes, bool]]] = []
        self.passed: dict[int, int] = {}
        self.done: set[int] = set()
        self.plans = {
            "main": [(0, FixedEmission(100).spec())],
            "second": [(0, FixedEmission(1_000).spec())],
        }
        self.seen: Counter[str] = Counter()

    def action(self) -> Action:
        choose = self.random.choice
        name, amount = choose(["main", "second", "third"]), choose([7, 300, 1_200, 1_201])
        return choose(
            [
                set_stream(name, policy=FixedEmission(amount), rest=choose([None, "treasury"])),
                RemoveStream("main", name),
                SetValidator(choose(self.people).public_key, choose([0, 0, 10, 45])),
                SpendTreasury(BOB.address, choose([1, 500, 10**6])),
                SetGas(0, 1),
                DenyGateway("main", gateway(1), bytes(32), choose([0, 5, 99])),
                SetScope("main", (REPORTER.address,), ("online_ppm", "uplinks"), ()),
            ]
        )

    def step(self) -> None:
        """Make a block of some messages, now or when a decision is due."""
        choose, said = self.random.choice, []
        for key in self.random.sample(self.people, choose([0, 1, 2, 6])):
            waiting = [number for number in range(len(self.opened)) if number not in self.passed]
            number = choose([*waiting[-3:] * 5, 0])
            vote = Vote(number, choose([True, True, True, False]))
            said.append((key, choose([Propose(self.action()), *[vote] * 5])))
        wires = [self.chain.sign(key, message) for key, message in said]
        later = [*self.passed.values(), *(at + VOTING for _, at, _ in self.opened[-2:])]
        jump = choose([0, 0, 0, choose([0, *later]) + choose([-SECOND, 0, SECOND])])
        result = self.chain.block(*wires, time=jump)
        self.book(said, result)
        self.settle()

    def book(self, said: list[tuple[SigningKey, Any]], result: BlockResult) -> None:
        chain, now = self.chain, self.chain.time
        assert powers(chain) == self.powers[1], "what block h changes holds from block h + 2"
        force = {address_of(key): power for key, power in self.powers[0].items()}
        for (key, message), one in zip(said, result.results):
            assert (one.code == NotValidator.code) == (key.address not in force)
            if one.code:
                self.seen[f"refused {one.code}"] += 1
            elif isinstance(message, Propose):
                self.opened.append((message.action, now, {}))
            else:
                _, opened, votes = self.opened[message.proposal]
                assert now < opened + VOTING
                assert message.proposal not in self.passed
                votes[key.address] = message.approve
                yes = sum(force.get(who, 0) for who, approves in votes.items() if approves)
                if 3 * yes > 2 * sum(force.values()):
                    self.passed[message.proposal] = now + DELAY
        coming = dict(self.powers[1])
        for number, acts in self.passed.items():
            outcome = chain.proposal(number).outcome
            assert (outcome in {"enacted", "failed"}) == (acts <= now)
            if acts <= now and number not in self.done:
                self.done.add(number)
                self.seen[f"{type(self.opened[number][0]).__name__} {outcome}"] += 1
                if outcome == "enacted":
                    self.enact(self.opened[number][0], coming)
        coming = {key: power for key, power in coming.items() if power}
        assert dict(result.validator_updates) == {
            key: coming.get(key, 0)
            for key in coming.keys() | self.powers[1].keys()
            if coming.get(key, 0) != self.powers[1].get(key, 0)
        }
        self.powers = [self.powers[1], coming]
        money = supply(chain.app.state)
        assert total_money(chain.app.state) == money.minted - money.burned

    def enact(self, action: Action, coming: dict[bytes, int]) -> None:
        since = -(-(self.chain.time - START) // EPOCH)
        match action:
            case SetValidator(key, power):
                coming[key] = power
            case SetStream(_, name, _, policy):
                self.plans.setdefault(name, []).append((since, policy))
            case RemoveStream(_, name):
                self.plans[name].append((since, None))

    def settle(self) -> None:
        """Now and then report ended epochs, and compare the policy by which each was paid."""
        if self.random.random() < 0.9:
            return
        while (epoch := self.chain.settled()) < (self.chain.time - START) // EPOCH - 2:
            rows = {gateway(number): [number, 0] for number in (1, 2)}
            metrics = ("online_ppm", "uplinks")
            wires = [
                self.chain.sign(REPORTER, one)
                for one in chains.report(epoch, rows, metrics=metrics)
            ]
            self.book([], self.chain.block(*wires))
            while self.chain.settled() == epoch:
                self.book([], self.chain.block())
            for name, plans in self.plans.items():
                policy = [spec for since, spec in plans if since <= epoch]
                found = self.chain.app.state.get(ISSUANCES, name, epoch)
                assert (found and found.policy) == (policy[-1] if policy else None)
                self.seen["paid by a changed policy"] += bool(found and len(policy) > 1)


@functools.cache
def fought(seed: int) -> Fight:
    fight = Fight(seed)
    for _ in range(400):
        fight.step()
    return fight


@pytest.mark.parametrize("seed", range(6))
def test_disputed_proposals_never_act_before_their_delay_or_without_two_thirds_or_backwards(seed):
    fought(seed)


def test_the_fights_meet_every_action_that_can_be_done_and_that_cannot():
    seen = sum((fought(seed).seen for seed in range(6)), Counter())
    both = {SetStream, RemoveStream, SpendTreasury}
    wanted = {f"{kind.__name__} {how}" for kind in both for how in ("enacted", "failed")}
    wanted |= {f"{kind.__name__} enacted" for kind in (SetScope, SetGas, SetValidator, DenyGateway)}
    wanted |= {f"refused {error.code}" for error in (NotValidator, UnknownProposal, ProposalClosed)}
    assert wanted | {"paid by a changed policy"} <= seen.keys()
