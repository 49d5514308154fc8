"""Proposals, votes and what they bring about: only by two thirds, only later, never backwards."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from dii import Network, codec, minting
from dii.application import BlockResult, gas, total_money
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
from dii.application.governance import standing, validators
from dii.application.messages import Burn, Propose, Transfer, Vote, from_value, to_value
from dii.application.records import (
    AGENDA,
    CHAIN,
    DENIED,
    ISSUANCES,
    PROPOSALS,
    SCOPES,
    STREAMS,
    Proposal,
)
from dii.cli import app
from dii.consensus.node import Node, validators_hash, verify
from dii.consensus.solo import Solo
from dii.contracts import gas as contract_gas
from dii.crypto import SigningKey, address_of
from dii.errors import (
    BadAction,
    BadTransaction,
    FeeUncovered,
    NoQuorum,
    NotValidator,
    ProposalClosed,
    Refused,
    UnknownName,
    UnknownProposal,
    UpgradeNeeded,
)
from dii.genesis import TREASURY
from dii.ledger.block import Block, Commit
from dii.minting import (
    POLICIES,
    RULES,
    FixedEmission,
    PerContribution,
    ShapleyTraffic,
    Spec,
    Uptime,
)
from dii.minting.receipts import REASON_DENIED
from dii.schema import METRICS
from dii.units import SECOND
from tests import chains
from tests.chains import ALICE, BOB, CAROL, EPOCH, OPENING, REPORTER, START, gateway, scope, stream
from tests.test_contracts_chain import BANK, deploy

DELAY = 2 * EPOCH
VOTING = 5 * EPOCH
V = [SigningKey.derive(7, f"validator {number}") for number in range(4)]
"""Four validators of 10, 20, 30 and 40 votes; none has money."""
UP = {gateway(1): [900_000], gateway(2): [100_000]}


class Chain(chains.Chain):
    """A chain with four validators, and governance by them."""

    def __init__(self, **changes: Any) -> None:
        powers = [
            {"public_key": key.public_key.hex(), "power": 10 * number}
            for number, key in enumerate(V, 1)
        ]
        rules = {
            "delay_seconds": DELAY // SECOND,
            "voting_seconds": VOTING // SECOND,
            "max_treasury_ppm": 1_000_000,
        }
        super().__init__(**{"validators": powers, "governance": rules, **changes})

    def proposal(self, number: int) -> Proposal:
        found = self.app.state.get(PROPOSALS, number)
        assert found is not None
        return found

    def standing(self, number: int) -> str:
        chain = self.app.state.get(CHAIN)
        assert chain is not None
        return standing(chain, self.proposal(number), self.time)

    def propose(self, action: Action, by: SigningKey = V[3]) -> int:
        agenda = self.app.state.get(AGENDA)
        (result,) = self.do(by, Propose(action))
        assert result.code == 0, result.detail
        return agenda.proposals if agenda else 0

    def vote(self, number: int, *voters: SigningKey, approve: bool = True) -> None:
        for key in voters:
            (result,) = self.do(key, Vote(number, approve))
            assert result.code == 0, result.detail

    def passes(self, action: Action) -> int:
        """Propose an action and let 90 of 100 approve it."""
        number = self.propose(action, by=V[2])
        self.vote(number, V[1], V[2], V[3])
        assert self.standing(number) == "passed"
        return number

    def decide(self, action: Action) -> BlockResult:
        """Pass an action, let its time come, and return the block that carried it out."""
        number = self.passes(action)
        result = self.block(time=self.proposal(number).acts)
        assert self.standing(number) == "enacted", result.rows["governance"]
        return result

    def fails(self, action: Action) -> str:
        """Pass an action that cannot be carried out; return why."""
        number = self.passes(action)
        result = self.block(time=self.proposal(number).acts)
        assert self.standing(number) == "failed"
        ((_, event, _, _, detail),) = result.rows["governance"]
        assert event == "failed"
        assert self.block().changed is False
        return str(detail)


def set_stream(
    name: str = "main",
    rule: minting.Rule | None = None,
    policy: minting.Policy | None = None,
    rest: str | None = None,
    scope: str = "main",
) -> SetStream:
    rule, policy = rule or Uptime(), policy or FixedEmission(500)
    return SetStream(scope, name, rule.spec(), policy.spec(), rest)


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
def test_what_is_no_action_is_no_transaction(value):
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


def test_who_is_no_validator_cannot_have_their_powers_added_up(monkeypatch):
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


def test_the_vote_of_who_is_no_validator_any_more_counts_nothing():
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


def test_what_does_not_pass_in_time_expires_and_frees_its_proposer():
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


def test_votes_on_nothing_and_on_what_is_decided_are_refused():
    chain = Chain()
    (result,) = chain.do(V[0], Vote(7, approve=True))
    assert result.code == UnknownProposal.code
    number = chain.passes(SetGas(2, 1))
    (result,) = chain.do(V[0], Vote(number, approve=False))
    assert result.code == ProposalClosed.code


# --- when it acts --------------------------------------------------------------------------------


def test_what_passed_acts_after_the_delay_and_in_the_first_block_then():
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
def test_soon_after_every_decision_an_empty_block_changes_nothing(action):
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
    """Nobody could tell whose the money is, and no function might ever pay it out."""
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
    (SetStream("main", "main", UNNEEDED, FixedEmission(1).spec(), None), "is not known here"),
    (RemoveStream("main", "moon"), "no stream"),
    (RemoveStream("other", "main"), "no stream"),
    (RemoveStream("main", "second"), "hands its rest to it"),
    (SetScope("main", (ALICE.address,), ("uplinks",), ()), "does not report"),
    (SetScope("main", (ALICE.address, ALICE.address), ("online_ppm",), ()), "stands twice"),
    (SetScope("new", (ALICE.address,), ("uplinks", "online_ppm"), ()), "in this order"),
    (SetScope("new", (ALICE.address,), ("online_ppm",), ("lost", "lost")), "in this order"),
    (DenyGateway("moon", gateway(1), bytes(32), 9), "no scope"),
    (SpendTreasury(ALICE.address, 10**9), "is needed"),
]
# fmt: on


@pytest.mark.parametrize(("action", "why"), FAILING, ids=lambda it: str(it)[:60])
def test_what_cannot_be_done_fails_when_it_is_due_and_changes_nothing_else(action, why):
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
def test_what_can_never_be_is_refused_at_once_and_costs_its_proposer(action):
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
    """Two scopes with a stream each whose whole pool is a rest, as nobody earns."""
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


# --- versions ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "action",
    [
        SetStream("main", "main", Spec("Uptime", 2, ()), FixedEmission(1).spec(), None),
        SetStream("main", "main", Uptime().spec(), Spec("Lottery", 1, ()), None),
        SetGas(1, 2),
        SetScope("main", (ALICE.address,), ("moonlight", "online_ppm"), ()),
    ],
    ids=lambda action: type(action).__name__,
)
def test_a_node_that_lacks_what_was_decided_stops_before_the_block(action):
    chain = Chain()
    number = chain.passes(action)
    acts, root = chain.proposal(number).acts, chain.app.info()
    chain.block(time=acts - SECOND)
    for _ in range(2):  # and again, when it is tried again
        with pytest.raises(UpgradeNeeded, match=f"block {chain.app.height + 1} needs"):
            chain.app.finalize_block(chain.app.height + 1, acts, [], V[0].address)
    assert chain.app.info() == (root[0] + 1, root[1])
    assert chain.standing(number) == "passed"


def test_a_node_that_has_it_goes_on_where_the_other_stopped(monkeypatch):
    class Uptime2(Uptime):
        version = 2

    Uptime2.__name__ = "Uptime"
    action = SetStream("main", "main", Spec("Uptime", 2, ()), FixedEmission(7).spec(), None)
    chain = Chain()
    number = chain.passes(action)
    acts = chain.proposal(number).acts
    with pytest.raises(UpgradeNeeded, match="Uptime/2"):
        chain.app.finalize_block(chain.app.height + 1, acts, [], V[0].address)
    monkeypatch.setitem(RULES, ("Uptime", 2), Uptime2)
    chain.block(time=acts)
    assert chain.standing(number) == "enacted"
    for epoch in range(4):
        chain.settle(epoch, UP)
    assert chain.issuance(3).rule.version == 2
    monkeypatch.delitem(RULES, ("Uptime", 2))  # somebody installs the old release again
    messages = chains.report(4, UP)
    wires = [chain.sign(REPORTER, message) for message in messages]
    with pytest.raises(UpgradeNeeded, match="Uptime/2"):
        chain.app.finalize_block(chain.app.height + 1, START + 5 * EPOCH, wires, V[0].address)


def draw(*what: object) -> int:
    return int.from_bytes(hashlib.sha256(repr(what).encode()).digest()[:8])


def columns(rule: minting.Rule) -> dict[str, list[int | None]]:
    """Return a corpus that never changes: edges of every metric's range, values between, unknown."""
    rows = range(200)
    return {
        name: [
            [None, 0, 1, METRICS[name].maximum][row]
            if row < 4
            else draw(name, row) % 10 ** (1 + draw(name, row, "digits") % 6)
            for row in rows
        ]
        for name in rule.needs
    }


RELEASED_RULES = {
    ("Uptime", 1): (
        [{}, {"minimum_ppm": 900_000}],
        "18c352e2f4bd846c4173a4e2919a63da",
    ),
    ("ShapleyTraffic", 1): ([{}], "aaa41ac054f1e1cde2faec6fe36ba3b3"),
    ("Airtime", 1): ([{}, {"downlink": 1}, {"downlink": 7}], "598454e2347ea0e263fa8538d0f71a4c"),
    ("DataCredits", 1): ([{"rate": 1}, {"rate": 10_007}], "26e3f63675882509ea72280a8473f524"),
    ("Composite", 1): (
        [{"uptime": 5, "traffic": 3, "airtime": 1}, {"traffic": 9}],
        "c85199a01955af3f49ea70285c42f0c3",
    ),
}
RELEASED_POLICIES = {
    ("FixedEmission", 1): ([{"amount": 0}, {"amount": 10**10}], "67a95e0621d1fd117493115bd826f80e"),
    ("PerContribution", 1): (
        [{"rate": 50, "cap": 10**9}, {"rate": 10**9, "cap": 10**15}],
        "218441f3bc403e34b13e8e079cf6c14d",
    ),
    ("ExponentialDecay", 1): (
        [{"amount": 10**13, "keep_ppm": 999_000}, {"amount": 7, "keep_ppm": 1}],
        "4374d3aab5637a227e47ebe2b3266da8",
    ),
}
RELEASED_GAS = {1: "cc48976410d944b86f870e51bf3fa069"}
"""What each released version does with a corpus. These never change: who changes what a released
version does splits the chains that have voted for it. Write a new version beside it instead."""


def digest(value: object) -> str:
    return hashlib.sha256(codec.encode(value)).hexdigest()[:32]


def rule_digest(version: tuple[str, int], chosen: list[dict[str, int]]) -> str:
    made = [RULES[version](**parameters) for parameters in chosen]
    weights = [minting.weigh(rule, columns(rule), [9]) for rule in made]
    facts = [(rule.scale, rule.claim, rule.needs, str(rule.spec())) for rule in made]
    return digest((facts, weights))


def policy_digest(version: tuple[str, int], chosen: list[dict[str, int]]) -> str:
    made = [POLICIES[version](**parameters) for parameters in chosen]
    sums = [0, 1, 10**6, 10**12, 2**62]
    pools = [
        policy.pool(epoch, total, scale)
        for policy in made
        for epoch in (0, 1, 2, 693, 5_000)
        for total in sums
        for scale in (1, 1_000, 720_720, 10**6)
    ]
    return digest((pools, [str(policy.spec()) for policy in made]))


def gas_digest() -> str:
    prices = {
        f"{module.__name__}.{name}": value
        for module in (gas, contract_gas)
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, int)
    }
    sizes = [0, 1, 100, 65_536]
    return digest((sorted(prices.items()), [gas.intrinsic(size) for size in sizes]))


def test_every_version_that_this_release_has_is_held_to_what_it_does():
    assert RELEASED_RULES.keys() == RULES.keys()
    assert RELEASED_POLICIES.keys() == POLICIES.keys()
    assert RELEASED_GAS.keys() == gas.VERSIONS


@pytest.mark.parametrize("version", RELEASED_RULES)
def test_a_released_rule_does_what_it_did(version):
    chosen, golden = RELEASED_RULES[version]
    assert rule_digest(version, chosen) == golden


@pytest.mark.parametrize("version", RELEASED_POLICIES)
def test_a_released_policy_does_what_it_did(version):
    chosen, golden = RELEASED_POLICIES[version]
    assert policy_digest(version, chosen) == golden


def test_a_released_schedule_of_gas_charges_what_it_did():
    assert gas_digest() == RELEASED_GAS[max(RELEASED_GAS)]


def test_division_of_a_pool_is_part_of_what_is_released():
    weights = [draw("weight", row) % 10**9 for row in range(300)]
    found = [
        (minting.due(pool, sum(weights), claim=claim), minting.share(pool, weights, sum(weights)))
        for pool in (0, 1, 10**6, 10**12, 2**62)
        for claim in (False, True)
    ]
    assert digest(found) == DIVIDED


DIVIDED = "759724baf4fd1c34d030d5c355ba6f91"


# --- validators ----------------------------------------------------------------------------------


def powers(chain: Chain) -> dict[bytes, int]:
    return validators(chain.app.state)


def test_a_change_of_validators_acts_at_the_block_after_the_next():
    chain = Chain()
    before = powers(chain)
    result = chain.decide(SetValidator(ALICE.public_key, 7))  # block h
    assert result.validator_updates == ((ALICE.public_key, 7),)
    assert powers(chain) == before, "those of block h + 1"
    result = chain.block()
    assert result.changed
    assert result.validator_updates == ()
    assert powers(chain) == before | {ALICE.public_key: 7}, "those of block h + 2"
    assert not chain.block().changed


def test_changes_of_one_block_merge_and_the_last_one_holds():
    chain = Chain()
    changes = [(ALICE, 7), (BOB, 5), (ALICE, 0), (V[0], 9), (V[0], 11), (CAROL, 0), (V[1], 20)]
    for key, power in changes:
        chain.passes(SetValidator(key.public_key, power))
    before = powers(chain)
    result = chain.block(time=chain.time + DELAY)
    expected = {BOB.public_key: 5, V[0].public_key: 11}
    assert dict(result.validator_updates) == expected
    assert list(result.validator_updates) == sorted(expected.items())
    chain.block()
    assert powers(chain) == before | expected


def test_no_change_leaves_a_chain_without_validators():
    chain = Chain(validators=[{"public_key": V[3].public_key.hex(), "power": 1}])
    for key, power in ((ALICE, 1), (V[3], 0), (ALICE, 0)):
        number = chain.propose(SetValidator(key.public_key, power), by=V[3])
        chain.vote(number, V[3])
    result = chain.block(time=chain.time + DELAY)
    outcomes = [row[1] for row in result.rows["governance"]]
    assert outcomes == ["enacted", "enacted", "failed"]
    chain.block()
    assert powers(chain) == {ALICE.public_key: 1}


def test_a_chain_has_at_most_128_validators():
    keys = [SigningKey.derive(9, str(number)) for number in range(125)]
    chain = Chain()
    number = 0
    for key in keys:
        number = chain.passes(SetValidator(key.public_key, 1))
    chain.block(time=chain.time + DELAY)
    assert chain.standing(number - 1) == "enacted"
    assert chain.standing(number) == "failed"
    chain.block()
    assert len(powers(chain)) == 128


# --- a fight ---------------------------------------------------------------------------------------


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
        """Make a block of what some say, now or when something is due."""
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
        """Now and then report what has ended, and compare by what each epoch was paid."""
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
def test_in_a_fight_nothing_acts_before_its_delay_or_without_two_thirds_or_backwards(seed):
    fought(seed)


def test_the_fights_meet_every_action_that_can_be_done_and_that_cannot():
    seen = sum((fought(seed).seen for seed in range(6)), Counter())
    both = {SetStream, RemoveStream, SpendTreasury}
    wanted = {f"{kind.__name__} {how}" for kind in both for how in ("enacted", "failed")}
    wanted |= {f"{kind.__name__} enacted" for kind in (SetScope, SetGas, SetValidator, DenyGateway)}
    wanted |= {f"refused {error.code}" for error in (NotValidator, UnknownProposal, ProposalClosed)}
    assert wanted | {"paid by a changed policy"} <= seen.keys()


def run(solo: Solo, nonces: dict[SigningKey, int], key: SigningKey, *messages: Any) -> None:
    wires = []
    for message in messages:
        wires.append(chains.sign(solo.node.genesis.hash, key, nonces.get(key, 0), message))
        nonces[key] = nonces.get(key, 0) + 1
    placed, result = solo.produce(wires)
    assert len(placed) == len(wires)
    assert not any(one.code for one in result.results)


def test_a_solo_chain_signs_with_all_keys_it_has_and_verifies_with_changed_validators():
    genesis = chains.genesis(
        governance={"delay_seconds": 10},
        validators=[{"public_key": V[3].public_key.hex(), "power": 10}],
    )
    node, nonces = Node(genesis), {}
    solo = Solo(node, V[3], find={V[0].public_key: V[0]}.get)
    run(solo, nonces, V[3], Propose(SetValidator(V[0].public_key, 10)), Vote(0, approve=True))
    run(solo, nonces, V[3], Propose(SetValidator(V[1].public_key, 10)), Vote(1, approve=True))
    solo.produce(time=solo.time + 9 * SECOND)  # h: the first of them acts
    height, before = node.height, validators_hash(node.state)
    headers = []
    for _ in range(2):
        solo.produce()
        headers.append(node.header)
    assert [one.validators == before for one in headers if one] == [True, False]
    with pytest.raises(NoQuorum, match="20 of 30"):
        solo.produce()
    assert verify(genesis, node.store).height == node.height == height + 2
    stored = [codec.loads(Block, raw) for *_, raw in node.store.blocks(1)]
    signed = [{one.public_key for one in block.commits} for block in stored[height:]]
    assert signed == [{V[3].public_key}, {V[3].public_key, V[0].public_key}]


# --- for people ----------------------------------------------------------------------------------


def network(home: Path | None = None) -> Network:
    return Network.create(
        seed=7,
        home=home,
        start="2018-04-21",
        max_mint_per_epoch="20000 TTC",
        governance={"delay_seconds": 3600},
        allocations={"bob": "500 TTC"},
    )


def test_what_would_fail_as_things_stand_is_noted_before_anybody_votes(tmp_path):
    with network(tmp_path) as net:
        net.propose(net.stream_change("main", policy=FixedEmission("20001 TTC")))
        free = (
            r"has 0 TTC, .* costs 0\.\d+ TTC; free are one open proposal.*: send it money, or wait$"
        )
        with pytest.raises(Refused, match=free):
            net.propose(SetGas(2, 1))
        (row,) = net.proposals().to_dict("records")
        assert row["status"] == "open"
        assert "above max_mint_per_epoch 20000000000" in row["note"]


def test_people_propose_vote_and_read_what_is_pending_in_plain_words(tmp_path):
    with network(tmp_path) as net:
        number = net.propose(net.stream_change("main", policy=FixedEmission("5000 TTC")))
        (row,) = net.proposals().to_dict("records")
        assert row["what"] == (
            "stream main: policy FixedEmission/1 (amount 10,000 TTC)"
            " -> FixedEmission/1 (amount 5,000 TTC)"
        )
        assert (row["number"], row["proposer"], row["status"]) == (number, "validator", "open")
        assert (row["yes"], row["total"], row["note"]) == (0, 1, "")
        assert row["expires"] == pd.Timestamp("2018-05-05T00:00:01Z")
        assert pd.isna(row["acts"])
        net.vote(number)
        (row,) = net.proposals().to_dict("records")
        assert (row["yes"], row["status"]) == (1, "passed")
        assert row["acts"] == pd.Timestamp("2018-04-21T01:00:03Z")
    with Network.open(tmp_path, readonly=True) as reader:
        assert reader.proposals().to_dict("records") == [row]


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (set_stream("new", rest="treasury"), "stream new of scope main: rule Uptime/1"),
        (SetGas(5, 1), "gas price 1 -> 5 uttc, schedule 1"),
        (SpendTreasury(bytes(20), 10**7), "pay 10 TTC from the treasury to dii1"),
        (SetValidator(bytes(32), 3), "power 0 -> 3"),
        (RemoveStream("main", "main"), "end stream main of scope main"),
        (DenyGateway("main", gateway(1), bytes(32), 9), "until epoch 9, evidence 0000"),
        (SetScope("north", (bytes(20),), ("online_ppm",), ("lost",)), "new scope north: dii1"),
        (SetStream("main", "x", Spec("New", 3, ()), Spec("Old", 4, ()), None), "not in this release"),
    ],
    ids=lambda it: type(it).__name__,
)  # fmt: skip
def test_every_action_has_plain_words(action, words):
    net = network()
    net.propose(action)
    assert words in net.proposals()["what"][0]


def test_who_proposes_hears_what_is_wrong_before_the_chain_says_so():
    net = network()
    root = net.state.committed_root
    dear = net.stream_change("main", policy=FixedEmission("20001 TTC"))
    assert "above max_mint_per_epoch" in net.concerns(dear)
    strange = SetStream("main", "main", Spec("Lottery", 1, ()), dear.policy, None)
    assert "Lottery/1" in net.concerns(strange)
    assert "its key is not here" in net.concerns(SetValidator(bytes(32), 1))
    for fine in (
        SetValidator(net.home.key("bob").public_key, 1),
        net.stream_change("main", policy=FixedEmission("20000 TTC"), rest="treasury"),
    ):
        assert net.concerns(fine) == ""
    assert net.state.root() == root
    with pytest.raises(UnknownName, match="'new', but main; a new one takes a rule and a policy"):
        net.stream_change("new", rule=Uptime())
    with pytest.raises(Refused, match=r"no validator.*; this cost 0\.\d+ TTC$"):
        net.propose(dear, by="bob")


def test_one_home_with_the_keys_of_all_validators_goes_on_and_without_one_says_so(tmp_path):
    with network(tmp_path) as net:
        net.vote(net.propose(SetValidator(net.home.key("bob").public_key, 1)))
        later(net)
        net.transfer("bob", "treasury", 1)
        assert {one.public_key for one in commits(net)} == set(validators(net.state))
        net.transfer("bob", "validator", "1 TTC")
        number = net.propose(SetValidator(ALICE.public_key, 2))
        net.vote(number)
        net.vote(number, by="bob")
        with pytest.raises(NoQuorum, match="2 of 4"):
            later(net)


def later(net: Network) -> None:
    solo = net._solo
    assert solo is not None
    solo.produce(time=solo.time + 3600 * SECOND)
    solo.settle()


def commits(net: Network) -> tuple[Commit, ...]:
    raw = net.view.store.block(net.height)
    assert raw is not None
    return codec.loads(Block, raw).commits


def dii(*words: object, home: Path, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [*map(str, words), "--home", str(home)])
    assert result.exit_code == code, result.output
    return result


def test_the_command_line_proposes_votes_and_lists(tmp_path):
    home, evidence = tmp_path / "home", tmp_path / "evidence.txt"
    evidence.write_text("a photograph of a gateway in a cellar")
    network(home).close()
    shown = dii("propose", "stream", "main", "--policy", "FixedEmission:amount=30000", home=home)
    assert "above max_mint_per_epoch" in shown.stderr
    assert "vote 0 yes" in shown.stdout
    shown = dii("vote", 0, "no", home=home).stdout
    assert re.search(r"no +1 of 1 voting power", shown)
    assert "vote 0" not in shown
    dii("transfer", "validator", "1", "--from", "bob", home=home)  # a second vote is not free
    shown = dii("vote", 0, "yes", "--json", home=home)
    assert json.loads(shown.stdout)["status"] == "passed"
    for words in (
        ["remove-stream", "main"], ["gas-price", 2], ["spend", "bob", "1 TTC"],
        ["validator", "bob", 1], ["validator", "00" * 32, 0], ["deny", gateway(5).hex(), 9, "--evidence", evidence],
        ["scope", "north", "--reporter", "bob", "--metric", "online_ppm", "--usage", "lost"],
    ):  # fmt: skip
        dii("propose", *words, home=home)
        number = json.loads(dii("list", "proposals", "--json", home=home).stdout)[-1]["number"]
        dii("vote", number, "yes", home=home)
    listed = json.loads(dii("list", "proposals", "--json", home=home).stdout)
    assert [row["number"] for row in listed] == list(range(8))
    assert {row["status"] for row in listed} == {"passed"}
    shown = dii("list", "proposals", home=home).stdout
    assert shown.count("1 of 1 voting power") == shown.count("2018-04-21T01:00:") == 8
    assert "pay 1 TTC from the treasury to bob" in shown
    assert "expires" not in shown
    dii("vote", 0, "perhaps", home=home, code=2)
    assert "there is no proposal 99" in dii("vote", 99, "no", home=home, code=1).stderr
