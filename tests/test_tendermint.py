"""Tendermint's state machine, line by line of arXiv:1807.04938, proposers, times and timeouts."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import pytest

from dii import crypto
from dii.consensus.head import Head
from dii.consensus.tendermint import (
    Accuse,
    Cast,
    Decide,
    Effect,
    Proposal,
    Propose,
    Rotation,
    Schedule,
    Step,
    Tendermint,
    Timeouts,
    median_time,
)
from dii.crypto import SigningKey
from dii.ledger.block import PRECOMMIT, PREVOTE, Block, Evidence, Vote
from dii.units import SECOND
from tests.paper import Paper

HEIGHT = 5
KEYS = [bytes([number]) * 32 for number in range(1, 8)]
CHAIN = bytes(32)


def block(name: str) -> Block:
    """Return a block that differs by its transaction."""
    head = Head(CHAIN, None, bytes(32), {KEYS[0]: 1}, {KEYS[0]: 1})
    return head.block(1, [name.encode()], KEYS[0], ())


A, B, C = block("a"), block("b"), block("c")
VA, VB = A.header.hash, B.header.hash


class Validator:
    """A machine among validators with given powers, of which number ``round`` proposes."""

    def __init__(self, me: int = 0, powers: Sequence[int] = (1, 1, 1, 1)) -> None:
        self.count = len(powers)
        table = dict(zip(KEYS, powers))
        self.machine = Tendermint(HEIGHT, table, lambda n: KEYS[n % self.count], KEYS[me])
        self.started = self.machine.start()

    def propose(
        self, number: int, what: Block = A, *, proof: int = -1, valid: bool = True, by: int = -1
    ) -> list[Effect]:
        """Hand over a round's proposal, from its proposer unless ``by`` says otherwise."""
        sender = KEYS[number % self.count if by < 0 else by]
        return self.machine.on_proposal(Proposal(HEIGHT, number, proof, what, sender), valid)

    def votes(
        self, kind: int, number: int, value: bytes | None, voters: Iterable[int]
    ) -> list[Effect]:
        """Hand over votes of validators; return all effects."""
        effects: list[Effect] = []
        for voter in voters:
            effects += self.machine.on_vote(vote(kind, number, value, voter))
        return effects

    def prevotes(self, number: int, value: bytes | None, *voters: int) -> list[Effect]:
        return self.votes(PREVOTE, number, value, voters)

    def precommits(self, number: int, value: bytes | None, *voters: int) -> list[Effect]:
        return self.votes(PRECOMMIT, number, value, voters)

    def enter(self, number: int) -> list[Effect]:
        """Let the rounds before end by their timeouts."""
        return self.machine.on_timeout(Step.PRECOMMIT, number - 1)

    def lock(self, number: int, what: Block = A) -> None:
        """Lock on a block in the round in work."""
        self.propose(number, what)
        self.prevotes(number, what.header.hash, 0, 1, 2)
        assert self.machine.locked is not None
        assert (self.machine.locked.block, self.machine.locked_round) == (what, number)


def vote(kind: int, number: int, value: bytes | None, voter: int, time: int = 9) -> Vote:
    return Vote(kind, HEIGHT, number, value, time, KEYS[voter])


def prevote(number: int, value: bytes | None) -> Cast:
    return Cast(PREVOTE, number, value)


def precommit(number: int, value: bytes | None) -> Cast:
    return Cast(PRECOMMIT, number, value)


# --- lines 11 to 21: a round begins --------------------------------------------------------------


def test_the_proposer_of_a_round_proposes_a_new_value_and_others_start_a_timeout() -> None:
    assert Validator(me=0).started == [Propose(0, None, -1)]  # lines 14, 18 and 19
    assert Validator(me=1).started == [Schedule(Step.PROPOSE, 0)]  # line 21


def test_the_proposer_proposes_its_valid_value_again_with_the_round_of_its_proof() -> None:
    one = Validator(me=2)
    one.lock(0)
    assert one.enter(1) == [Schedule(Step.PROPOSE, 1)]
    assert one.enter(2) == [Propose(2, A, 0)]  # lines 15, 16 and 19


def test_a_valid_value_is_proposed_again_though_locked_on_none() -> None:
    one = Validator(me=1)
    one.machine.on_timeout(Step.PROPOSE, 0)
    one.prevotes(0, None, 1, 2, 3)  # precommits nil
    one.propose(0, A)
    one.prevotes(0, VA, 0, 2, 3)
    assert one.machine.locked is None
    assert one.enter(1) == [Propose(1, A, 0)]


# --- lines 22 to 27: a new value -----------------------------------------------------------------


@pytest.mark.parametrize("valid", [True, False])
def test_a_new_value_is_prevoted_if_it_is_valid_and_nil_if_not(valid: bool) -> None:
    one = Validator(me=1)
    assert one.propose(0, valid=valid) == [prevote(0, VA if valid else None)]  # lines 24 and 26
    assert one.machine.step is Step.PREVOTE  # line 27


def test_a_validator_prevotes_once_a_round() -> None:
    one = Validator(me=1)
    assert one.propose(0, A) == [prevote(0, VA)]
    assert one.propose(0, A) == one.propose(0, B) == []  # line 22: while step = propose


def test_a_proposal_counts_only_from_the_proposer_for_the_height_and_round() -> None:
    one = Validator(me=1)
    assert one.propose(0, by=2) == []
    wrong = replace(Proposal(HEIGHT, 0, -1, A, KEYS[0]), height=HEIGHT + 1)
    assert one.machine.on_proposal(wrong, valid=True) == []
    assert one.propose(1, B) == []
    assert one.propose(0, C) == [prevote(0, C.header.hash)]


def test_a_locked_validator_prevotes_a_new_value_only_if_it_is_its_own() -> None:
    for what, value in ((A, VA), (B, None)):
        one = Validator(me=3)
        one.lock(0, A)
        one.enter(1)
        assert one.propose(1, what) == [prevote(1, value)]  # line 23


# --- lines 28 to 33: a value with a proof --------------------------------------------------------


def test_a_value_with_a_proof_waits_for_its_quorum_of_prevotes() -> None:
    one = Validator(me=3)
    one.enter(1)
    assert one.propose(1, B, proof=0) == []
    assert one.prevotes(0, VB, 0, 1) == []
    assert one.prevotes(0, VB, 2) == [prevote(1, VB)]  # lines 28 and 30


def test_prevotes_for_another_value_or_round_prove_nothing() -> None:
    one = Validator(me=3)
    one.enter(1)
    one.enter(2)
    one.prevotes(0, VA, 0, 1, 2)
    one.prevotes(1, VB, 0, 1, 2)
    assert prevote(2, VB) not in one.propose(2, B, proof=0)
    assert one.machine.step is Step.PROPOSE


def test_an_invalid_value_is_not_prevoted_whatever_its_proof() -> None:
    one = Validator(me=3)
    one.enter(1)
    one.prevotes(0, VB, 0, 1, 2)
    assert one.propose(1, B, proof=0, valid=False) == [prevote(1, None)]  # lines 29 and 32


@pytest.mark.parametrize(("proof", "value"), [(0, None), (1, VB), (2, VB)])
def test_a_proof_overrides_a_lock_that_is_not_of_a_later_round(
    proof: int, value: bytes | None
) -> None:
    one = Validator(me=0)
    one.enter(1)
    one.lock(1, A)
    one.enter(2)
    one.enter(3)
    if proof == 1:  # as two equivocators could make it
        one.prevotes(1, VB, 1, 2, 3)
    else:
        one.prevotes(proof, VB, 1, 2, 3)
    effects = one.propose(3, B, proof=proof)
    assert [effect for effect in effects if isinstance(effect, Cast)] == [prevote(3, value)]


def test_the_locked_value_needs_no_later_proof() -> None:
    one = Validator(me=0)
    one.prevotes(0, VA, 1, 2, 3)
    one.enter(1)
    one.lock(1, A)
    one.enter(2)
    assert one.propose(2, A, proof=0) == [prevote(2, VA)]  # line 29: lockedValue = v


@pytest.mark.parametrize("proof", [1, 2, -2])
def test_a_proof_is_of_an_earlier_round(proof: int) -> None:
    one = Validator(me=3)
    one.enter(1)
    one.prevotes(max(proof, 0), VB, 0, 1, 2)
    assert one.propose(1, B, proof=proof) == []  # line 28: vr >= 0 and vr < round
    assert one.machine.step is Step.PROPOSE


# --- lines 34 and 35: waiting for prevotes -------------------------------------------------------


def test_more_than_two_thirds_of_any_prevotes_start_a_timeout_once() -> None:
    one = Validator(me=3)
    one.propose(0)
    assert one.prevotes(0, VA, 0) == one.prevotes(0, None, 1) == []
    assert one.prevotes(0, VB, 2) == [Schedule(Step.PREVOTE, 0)]
    assert one.prevotes(0, VB, 3) == []


def test_the_timeout_of_prevotes_waits_for_the_own_prevote() -> None:
    one = Validator(me=3)
    one.prevotes(0, VA, 0)
    one.prevotes(0, None, 1)
    assert one.prevotes(0, VB, 2) == []  # line 34: while step = prevote
    assert one.propose(0, C) == [prevote(0, C.header.hash), Schedule(Step.PREVOTE, 0)]


def test_an_equivocator_counts_once_among_any_prevotes() -> None:
    one = Validator(me=3)
    one.propose(0)
    effects = one.prevotes(0, VA, 0, 1) + one.prevotes(0, VB, 0, 1) + one.prevotes(0, None, 0, 1)
    assert Schedule(Step.PREVOTE, 0) not in effects


# --- lines 36 to 43: a quorum of prevotes for a value --------------------------------------------


def test_a_quorum_of_prevotes_locks_and_is_precommitted() -> None:
    one = Validator(me=3)
    one.propose(0)
    assert precommit(0, VA) not in one.prevotes(0, VA, 0, 1)
    assert one.machine.locked is None
    assert precommit(0, VA) in one.prevotes(0, VA, 2)  # lines 38 to 41
    state = one.machine
    assert state.locked is not None
    assert state.valid is not None
    assert (state.locked.value, state.locked_round, state.step) == (VA, 0, Step.PRECOMMIT)
    assert (state.valid.value, state.valid_round) == (VA, 0)  # lines 42 and 43


def test_a_quorum_after_the_own_precommit_changes_the_valid_value_only() -> None:
    one = Validator(me=3)
    one.propose(0)
    one.prevotes(0, None, 1, 2)
    one.prevotes(0, VA, 0)
    assert one.machine.on_timeout(Step.PREVOTE, 0) == [precommit(0, None)]
    assert one.prevotes(0, VA, 1, 2) == [Accuse(accusation(1)), Accuse(accusation(2))]
    assert (one.machine.locked, one.machine.locked_round) == (None, -1)
    assert one.machine.valid is not None
    assert (one.machine.valid.value, one.machine.valid_round) == (VA, 0)


def accusation(voter: int) -> Evidence:
    return Evidence(vote(PREVOTE, 0, None, voter), vote(PREVOTE, 0, VA, voter))


def test_a_quorum_needs_the_proposal_and_that_it_is_valid() -> None:
    one = Validator(me=3)
    one.machine.on_timeout(Step.PROPOSE, 0)
    one.prevotes(0, VA, 0, 1, 2)
    assert one.machine.step is Step.PREVOTE
    assert precommit(0, VA) in one.propose(0, A)
    one = Validator(me=3)
    one.propose(0, A, valid=False)
    one.prevotes(0, VA, 0, 1, 2)
    assert (one.machine.locked, one.machine.valid) == (None, None)


def test_a_validator_locks_not_before_its_prevote() -> None:
    one = Validator(me=3)
    one.enter(1)
    one.propose(1, B, proof=0)  # the proof is not there yet
    assert one.prevotes(1, VB, 0, 1, 2) == []
    assert one.machine.locked is None  # line 36: step >= prevote


def test_a_lock_is_replaced_by_a_later_quorum() -> None:
    one = Validator(me=3)
    one.lock(0, A)
    one.enter(1)
    one.propose(1, B)
    assert precommit(1, VB) in one.prevotes(1, VB, 0, 1, 2)
    assert one.machine.locked is not None
    assert (one.machine.locked.value, one.machine.locked_round) == (VB, 1)


def test_a_quorum_of_an_earlier_round_locks_nobody() -> None:
    one = Validator(me=3)
    one.propose(0)
    one.enter(1)
    one.machine.on_timeout(Step.PROPOSE, 1)
    assert one.prevotes(0, VA, 0, 1, 2) == []
    assert (one.machine.locked, one.machine.valid) == (None, None)


# --- lines 44 to 46: a quorum of prevotes for nil ------------------------------------------------


def test_a_quorum_of_nil_prevotes_is_precommitted_nil_at_once() -> None:
    one = Validator(me=3)
    one.propose(0)
    one.prevotes(0, None, 0, 1)
    assert one.prevotes(0, None, 2) == [Schedule(Step.PREVOTE, 0), precommit(0, None)]
    assert one.machine.step is Step.PRECOMMIT
    assert one.prevotes(0, None, 3) == []


def test_nil_prevotes_wait_for_the_own_prevote_and_lift_no_lock() -> None:
    one = Validator(me=3)
    one.lock(0)
    one.enter(1)
    assert one.prevotes(1, None, 0, 1, 2) == []
    assert precommit(1, None) in one.machine.on_timeout(Step.PROPOSE, 1)
    assert one.machine.locked_round == 0


# --- lines 47 and 48: waiting for precommits -----------------------------------------------------


def test_more_than_two_thirds_of_any_precommits_start_a_timeout_once_in_any_step() -> None:
    one = Validator(me=3)
    assert one.precommits(0, VA, 0) == one.precommits(0, None, 1) == []
    assert one.precommits(0, VB, 2) == [Schedule(Step.PRECOMMIT, 0)]
    assert one.precommits(0, VB, 3) == []
    assert one.machine.step is Step.PROPOSE


# --- lines 49 to 54: the decision ----------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_quorum_of_precommits_decides_in_any_round(number: int) -> None:
    one = Validator(me=3)
    one.enter(1)
    one.propose(number, A)
    one.precommits(number, VA, 0, 1)
    assert one.machine.decision is None
    (decision,) = (e for e in one.precommits(number, VA, 2) if isinstance(e, Decide))
    assert decision.proposal.block is A
    assert decision.commit == tuple(vote(PRECOMMIT, number, VA, voter) for voter in range(3))


def test_precommits_wait_for_their_proposal() -> None:
    one = Validator(me=3)
    one.precommits(0, VA, 0, 1, 2)
    assert one.propose(0, B) == [prevote(0, VB)]
    effects = one.propose(0, A)
    assert [type(effect) for effect in effects] == [Decide]


def test_an_invalid_value_is_never_decided() -> None:
    one = Validator(me=3)
    one.propose(0, A, valid=False)
    one.precommits(0, VA, 0, 1, 2)
    assert one.machine.decision is None  # line 50


def test_precommits_of_several_rounds_do_not_add_up() -> None:
    one = Validator(me=3)
    one.propose(0, A)
    one.propose(1, A)
    one.precommits(0, VA, 0, 1)
    one.precommits(1, VA, 2, 3)
    assert one.machine.decision is None


def test_nothing_follows_a_decision() -> None:
    one = Validator(me=3)
    one.propose(0, A)
    one.precommits(0, VA, 0, 1, 2)
    assert one.machine.on_timeout(Step.PRECOMMIT, 0) == one.prevotes(0, VA, 0, 1, 2) == []
    assert one.prevotes(7, VA, 0, 1, 2) == one.propose(0, B) == []


# --- lines 55 and 56: skipping rounds ------------------------------------------------------------


def test_more_than_a_third_in_a_later_round_take_a_validator_there() -> None:
    one = Validator(me=3)
    one.prevotes(4, None, 0)
    assert one.machine.round == 0
    one.precommits(4, VA, 1)
    assert one.machine.round == 4
    one = Validator(me=2)
    assert one.prevotes(6, None, 0) == []
    assert one.prevotes(6, None, 1) == [Propose(6, None, -1)]


def test_exactly_a_third_takes_nobody_to_a_later_round() -> None:
    one = Validator(me=2, powers=(1, 1, 1))
    one.prevotes(1, None, 0)
    assert one.machine.round == 0
    one.prevotes(1, None, 1)
    assert one.machine.round == 1


def test_one_sender_counts_once_in_a_later_round_and_a_proposal_counts_as_its_senders() -> None:
    one = Validator(me=3)
    one.prevotes(2, VA, 0)
    one.prevotes(2, VB, 0)
    one.precommits(2, None, 0)
    assert one.machine.round == 0
    one.propose(2, A)
    assert one.machine.round == 2


def test_an_earlier_round_takes_nobody_back() -> None:
    one = Validator(me=3)
    one.enter(1)
    one.prevotes(0, None, 0, 1, 2)
    one.precommits(0, None, 0, 1, 2)
    assert one.machine.round == 1


# --- lines 57 to 67: timeouts --------------------------------------------------------------------


def test_the_timeout_of_a_proposal_is_answered_by_a_nil_prevote() -> None:
    one = Validator(me=1)
    assert one.machine.on_timeout(Step.PROPOSE, 0) == [prevote(0, None)]  # lines 57 to 60
    assert one.machine.step is Step.PREVOTE
    assert one.machine.on_timeout(Step.PROPOSE, 0) == []


def test_the_timeout_of_prevotes_is_answered_by_a_nil_precommit() -> None:
    one = Validator(me=1)
    assert one.machine.on_timeout(Step.PREVOTE, 0) == [], "before the own prevote"
    one.machine.on_timeout(Step.PROPOSE, 0)
    assert one.machine.on_timeout(Step.PREVOTE, 0) == [precommit(0, None)]  # lines 61 to 64
    assert one.machine.on_timeout(Step.PREVOTE, 0) == []


def test_the_timeout_of_precommits_ends_the_round_in_any_step() -> None:
    one = Validator(me=1)
    assert one.machine.on_timeout(Step.PRECOMMIT, 0) == [Propose(1, None, -1)]  # lines 65 to 67
    assert (one.machine.round, one.machine.step) == (1, Step.PROPOSE)


@pytest.mark.parametrize("step", list(Step))
@pytest.mark.parametrize("number", [0, 2])
def test_the_timeout_of_another_round_does_nothing(step: Step, number: int) -> None:
    one = Validator(me=3)
    one.enter(1)
    if step is Step.PREVOTE:
        one.propose(1)
    before = one.machine.round, one.machine.step
    assert one.machine.on_timeout(step, number) == []
    assert (one.machine.round, one.machine.step) == before


# --- power, and votes that do not count ----------------------------------------------------------


def test_exactly_two_thirds_are_no_quorum() -> None:
    one = Validator(me=2, powers=(1, 1, 1))
    one.propose(0)
    assert one.prevotes(0, VA, 0, 1) == one.precommits(0, VA, 0, 1) == []
    assert precommit(0, VA) in one.prevotes(0, VA, 2)
    assert isinstance(one.precommits(0, VA, 2)[-1], Decide)


def test_votes_count_by_power() -> None:
    one = Validator(me=3, powers=(7, 1, 1, 1))
    one.propose(0)
    assert precommit(0, VA) in one.prevotes(0, VA, 0)
    assert isinstance(one.precommits(0, VA, 0)[-1], Decide)
    one = Validator(me=0, powers=(7, 1, 1, 1))
    one.propose(0)
    assert one.prevotes(0, VA, 1, 2, 3) == one.precommits(0, VA, 1, 2, 3) == []


def test_a_vote_counts_once_whatever_its_time() -> None:
    one = Validator(me=3)
    one.propose(0)
    for kind in (PREVOTE, PRECOMMIT):
        for time in (1, 2, 3, 4):
            assert one.machine.on_vote(vote(kind, 0, VA, 0, time)) == []


def test_votes_of_another_height_or_of_no_validator_do_not_count() -> None:
    one = Validator(me=3)
    one.propose(0)
    for kind in (PREVOTE, PRECOMMIT):
        for voter in range(3):
            other = replace(vote(kind, 0, VA, voter), height=HEIGHT - 1)
            assert one.machine.on_vote(other) == []
            stranger = replace(vote(kind, 3, VA, voter), public_key=bytes([99, voter]) * 16)
            assert one.machine.on_vote(stranger) == []


def test_a_machine_without_power_watches_and_decides() -> None:
    one = Validator(me=4)
    effects = one.propose(0) + one.prevotes(0, VA, 0, 1, 2) + one.precommits(0, VA, 0, 1, 2)
    assert not any(isinstance(effect, Cast | Propose) for effect in effects)
    assert isinstance(effects[-1], Decide)


# --- evidence ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [PREVOTE, PRECOMMIT])
@pytest.mark.parametrize("first", [VA, None])
def test_two_votes_of_one_validator_and_round_are_evidence(kind: int, first: bytes | None) -> None:
    one = Validator(me=3)
    one.votes(kind, 0, first, [1])
    (effect,) = one.votes(kind, 0, VB, [1])
    assert isinstance(effect, Accuse)
    assert effect.evidence.contradicts
    assert {effect.evidence.first, effect.evidence.second} == {
        vote(kind, 0, first, 1),
        vote(kind, 0, VB, 1),
    }


def test_a_validator_is_accused_once_a_height() -> None:
    one = Validator(me=3)
    effects = [
        effect
        for number in range(2)
        for value in (VA, VB, None)
        for effect in one.prevotes(number, value, 1)
    ]
    assert [type(effect) for effect in effects] == [Accuse]


def test_votes_of_two_kinds_or_rounds_or_two_times_are_no_evidence() -> None:
    one = Validator(me=3)
    effects = one.prevotes(0, VA, 1) + one.precommits(0, VB, 1) + one.prevotes(1, VB, 1)
    effects += one.machine.on_vote(vote(PREVOTE, 0, VA, 1, time=77))
    assert not any(isinstance(effect, Accuse) for effect in effects)


# --- against the paper ---------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(60))
def test_the_machine_does_what_the_lines_of_the_paper_say(seed: int) -> None:
    draw = random.Random(seed)
    powers = [draw.randint(1, 4) for _ in range(4)]
    table, me = dict(zip(KEYS, powers)), draw.randrange(4)
    order = [draw.choice(KEYS[:4]) for _ in range(50)]
    machine = Tendermint(HEIGHT, table, order.__getitem__, KEYS[me])
    paper = Paper(HEIGHT, table, order.__getitem__, KEYS[me])
    values = {VA: (A, True), VB: (B, True), C.header.hash: (C, draw.random() < 0.5)}
    assert shown(machine.start()) == paper.start()
    for _ in range(150):
        number, near = draw.randrange(4), machine.round
        kind = draw.random()
        if kind < 0.2:
            what, valid = draw.choice(list(values.values()))
            proof = draw.choice((-1, -1, 0, near - 1))
            proposal = Proposal(HEIGHT, draw.choice((near, number)), proof, what, b"")
            proposal = replace(proposal, public_key=order[proposal.round])
            got = machine.on_proposal(proposal, valid)
            want = paper.take(proposal, valid=valid)
        elif kind < 0.9:
            value = draw.choice((VA, VA, VB, None, *values))
            one = Vote(
                draw.choice((PREVOTE, PREVOTE, PRECOMMIT)), HEIGHT, draw.choice((near, number)),
                value, 9, draw.choice(KEYS[:4]),
            )  # fmt: skip
            got, want = machine.on_vote(one), paper.take(one)
        else:
            step = draw.choice(list(Step))
            got, want = machine.on_timeout(step, near), paper.timeout(step, near)
        assert shown(got) == want
        state = (machine.round, machine.step, machine.locked_round, machine.valid_round)
        assert state == (paper.round, paper.step, paper.locked_round, paper.valid_round)


def shown(effects: Iterable[Effect]) -> list[Effect]:
    """Return effects that the paper knows."""
    return [effect for effect in effects if not isinstance(effect, Accuse)]


# --- messages ------------------------------------------------------------------------------------


def test_a_proposers_signature_covers_every_field_and_the_chain() -> None:
    key = SigningKey.derive(1, "proposer")
    one = Proposal(HEIGHT, 2, 1, A, key.public_key).signed(CHAIN, key)
    others = [
        replace(one, height=HEIGHT + 1),
        replace(one, round=3),
        replace(one, valid_round=-1),
        replace(one, block=B),
    ]
    assert crypto.verify(one.public_key, one.message(CHAIN), one.signature)
    for other, chain in [*((other, CHAIN) for other in others), (one, bytes(31) + b"\1")]:
        assert not crypto.verify(one.public_key, other.message(chain), one.signature)


def test_a_proposal_is_whole_only_with_the_block_of_its_header() -> None:
    ballot = (vote(PRECOMMIT, 0, VA, 1),)
    evidence = (Evidence.of(vote(PREVOTE, 0, VA, 1), vote(PREVOTE, 0, VB, 1)),)
    one = Proposal(HEIGHT, 0, -1, A, KEYS[0])
    assert one.whole
    for changed in (
        replace(A, transactions=(b"b",)),
        replace(A, last_commit=ballot),
        replace(A, evidence=evidence),
    ):
        assert not replace(one, block=changed).whole


# --- timeouts ------------------------------------------------------------------------------------


def test_timeouts_grow_in_every_round() -> None:
    timeouts = Timeouts()
    for step, first in ((Step.PROPOSE, 3), (Step.PREVOTE, 1), (Step.PRECOMMIT, 1)):
        lengths = [timeouts.of(step, number) for number in range(10)]
        assert lengths[0] == first * SECOND
        assert {after - before for before, after in pairwise(lengths)} == {SECOND // 2}


# --- block times ---------------------------------------------------------------------------------


def test_the_median_time_is_weighted_by_power() -> None:
    powers = dict(zip(KEYS, (1, 1, 5)))
    votes = [vote(PRECOMMIT, 0, VA, voter, time) for voter, time in enumerate((10, 20, 30))]
    assert median_time(votes, powers) == 30
    assert median_time(votes, dict(zip(KEYS, (1, 1, 1)))) == 20
    assert median_time(votes[:1], powers) == 10
    with pytest.raises(ValueError, match="no votes"):
        median_time([], powers)


@pytest.mark.parametrize("lie", [1, 10**6])
def test_one_liar_of_four_moves_no_time_though_one_vote_is_missing(lie: int) -> None:
    powers = dict.fromkeys(KEYS[:4], 1)
    times = (lie, 1_000, 1_001)
    votes = [vote(PRECOMMIT, 0, VA, voter, time) for voter, time in enumerate(times)]
    assert 1_000 <= median_time(votes, powers) <= 1_001


@pytest.mark.parametrize("seed", range(200))
def test_up_to_a_third_of_liars_never_move_the_time_outside_honest_times(seed: int) -> None:
    draw = random.Random(seed)
    powers = dict(zip(KEYS, [draw.randint(1, 9) for _ in range(draw.randint(3, 7))]))
    total = sum(powers.values())
    liars: set[int] = set()
    signers = set(range(len(powers)))
    for voter in draw.sample(range(len(powers)), len(powers)):
        lying = sum(powers[KEYS[one]] for one in liars) + powers[KEYS[voter]]
        signing = sum(powers[KEYS[one]] for one in signers) - powers[KEYS[voter]]
        if 3 * lying <= total:
            liars.add(voter)
        elif 3 * signing > 2 * total:
            signers.remove(voter)
    honest = {voter: draw.randint(1_000, 1_010) for voter in signers - liars}
    for lie in (1, 10**9, draw.randint(900, 1_100)):
        times = {**dict.fromkeys(liars, lie), **honest}
        votes = [vote(PRECOMMIT, 0, VA, voter, time) for voter, time in times.items()]
        assert min(honest.values()) <= median_time(votes, powers) <= max(honest.values())


# --- proposers -----------------------------------------------------------------------------------


def turns(rotation: Rotation, count: int) -> list[Rotation]:
    """Return the rotation and its next turns, ``count`` in all."""
    found = [rotation]
    while len(found) < count:
        found.append(found[-1].turned())
    return found


def drawn_powers(draw: random.Random, most: int = 12) -> dict[bytes, int]:
    keys = [SigningKey.derive(1, str(number)).public_key for number in range(9)]
    chosen = draw.sample(keys, draw.randint(1, 9))
    return {key: draw.randint(1, most) for key in sorted(chosen)}


@pytest.mark.parametrize("seed", range(20))
def test_over_as_many_turns_as_power_each_proposes_exactly_its_power(seed: int) -> None:
    powers = drawn_powers(random.Random(seed))
    total = sum(powers.values())
    proposers = [one.proposer for one in turns(Rotation.begin(powers), 3 * total)]
    for begin in range(2 * total):
        assert Counter(proposers[begin : begin + total]) == powers


@pytest.mark.parametrize("seed", range(20))
def test_priorities_stay_within_twice_the_power_and_around_zero_through_changes(seed: int) -> None:
    draw = random.Random(seed)
    rotation = Rotation.begin(drawn_powers(draw))
    for _ in range(100):
        if draw.random() < 0.3:
            rotation = rotation.updated(drawn_powers(draw, draw.choice((12, 10**9))))
            assert spread(rotation) <= 2 * sum(rotation.powers.values())
            assert 0 <= sum(rotation.priorities.values()) < len(rotation.powers)
        rotation = rotation.turned()
        # A turn adds at most the total to one priority, and takes it from another.
        assert spread(rotation) <= 3 * sum(rotation.powers.values())
        assert 0 <= sum(rotation.priorities.values()) < len(rotation.powers)


def spread(rotation: Rotation) -> int:
    return max(rotation.priorities.values()) - min(rotation.priorities.values())


def test_a_newcomer_begins_at_minus_nine_eighths_of_the_power() -> None:
    first, second, third = KEYS[:3]
    rotation = Rotation({first: 40, second: 60}, {first: 0, second: 0})
    after = rotation.updated({first: 40, second: 60, third: 20})
    gap = after.priorities[first] - after.priorities[third]
    assert gap == 120 + 120 // 8
    leaving = rotation.updated({first: 40, third: 20})
    # The power of those who leave counts. The gap is more than twice what is left, so halved.
    assert leaving.priorities[first] - leaving.priorities[third] == (120 + 120 // 8) // 2


def test_leaving_and_coming_back_gains_no_turns() -> None:
    powers = {KEYS[0]: 1, KEYS[1]: 1, KEYS[2]: 1}
    rotation, proposed = Rotation.begin(powers), Counter[bytes]()
    for turn in range(300):
        away = turn % 3 == 0
        rotation = rotation.updated(
            {**powers, KEYS[0]: 1} if not away else dict([*powers.items()][1:])
        )
        rotation = rotation.turned()
        proposed[rotation.proposer] += 1
    assert proposed[KEYS[0]] < min(proposed[KEYS[1]], proposed[KEYS[2]])


def test_ties_go_to_the_lower_address() -> None:
    keys = [SigningKey.derive(3, str(number)).public_key for number in range(8)]
    order = sorted(keys, key=crypto.address_of)
    assert order != sorted(keys)
    proposers = [one.proposer for one in turns(Rotation.begin(dict.fromkeys(keys, 5)), 8)]
    assert proposers == order


def test_wide_priorities_are_divided_towards_zero() -> None:
    first, second = KEYS[:2]
    rotation = Rotation({first: 1, second: 1}, {first: 15, second: -16})
    # A spread of 31 in a window of 4 is divided by 8; then the turn of the first.
    turned = rotation.turned()
    assert turned.proposer == first
    assert turned.priorities == {first: 1 + 1 + 1 - 2, second: -2 + 1 + 1}


@dataclass
class Member:
    """A validator of CometBFT's ``ValidatorSet``."""

    key: bytes
    power: int
    priority: int = 0


class ValidatorSet:
    """Slow transcription of CometBFT's ``types/validator_set.go``."""

    def __init__(self, powers: dict[bytes, int]) -> None:
        self.members: list[Member] = []
        self.proposer = b""
        self.update(powers)
        self.increment(1)

    def total(self) -> int:
        return sum(member.power for member in self.members)

    def update(self, powers: dict[bytes, int]) -> None:
        """Do as ``updateWithChangeSet``, given all powers."""
        old = {member.key: member for member in self.members}
        if powers == {key: member.power for key, member in old.items()}:
            return
        removed = sum(member.power for key, member in old.items() if key not in powers)
        total = sum(powers.values()) + removed
        self.members = []
        for key, power in powers.items():
            priority = old[key].priority if key in old else -(total + (total >> 3))
            self.members.append(Member(key, power, priority))
        self.rescale()
        self.shift()

    def rescale(self) -> None:
        largest = 2 * self.total()
        priorities = [member.priority for member in self.members]
        difference = max(priorities) - min(priorities)
        ratio = (difference + largest - 1) // largest
        if difference > largest:
            for member in self.members:
                quotient = abs(member.priority) // ratio
                member.priority = quotient if member.priority > 0 else -quotient

    def shift(self) -> None:
        average = sum(member.priority for member in self.members) // len(self.members)
        for member in self.members:
            member.priority -= average

    def increment(self, times: int) -> None:
        self.rescale()
        self.shift()
        for _ in range(times):
            for member in self.members:
                member.priority += member.power
            most = self.members[0]
            for member in self.members[1:]:
                lower = crypto.address_of(member.key) < crypto.address_of(most.key)
                if member.priority > most.priority or (member.priority == most.priority and lower):
                    most = member
            most.priority -= self.total()
            self.proposer = most.key


@pytest.mark.parametrize("seed", range(40))
def test_the_rotation_is_that_of_cometbft(seed: int) -> None:
    draw = random.Random(seed)
    powers = drawn_powers(draw)
    rotation, slow = Rotation.begin(powers), ValidatorSet(powers)
    for _ in range(60):
        if draw.random() < 0.2:
            powers = drawn_powers(draw, draw.choice((3, 12, 10**12)))
            rotation = rotation.updated(powers)
            slow.update(powers)
        else:
            times = draw.randint(1, 4)
            rotation = rotation.turned(times)
            slow.increment(times)
        assert rotation.priorities == {member.key: member.priority for member in slow.members}
        assert rotation.proposer == slow.proposer
