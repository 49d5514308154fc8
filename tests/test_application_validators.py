"""Changes of validators, and chains that they sign."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from dii import codec
from dii.application.actions import SetValidator
from dii.application.governance import next_validators, validators
from dii.application.messages import Propose, Vote
from dii.application.records import MISBEHAVED
from dii.consensus.head import validators_hash
from dii.consensus.node import CHAIN_FILE, INDEX_FILE, Node, join, verify
from dii.consensus.solo import Solo
from dii.crypto import SigningKey
from dii.errors import BlockInvalid, NoQuorum
from dii.ledger.block import PRECOMMIT, Block, Commit
from dii.ledger.reader import Reader
from dii.ledger.snapshot import cut, state_at
from dii.units import SECOND
from tests import chains
from tests.chains import ALICE, BOB, CAROL
from tests.decided import Decided
from tests.governance import DELAY, Chain, V, powers

# --- validators ----------------------------------------------------------------------------------


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


# --- misbehaviour --------------------------------------------------------------------------------

ACCUSED = V[0].address, V[0].public_key


def record(chain: Chain) -> int | None:
    """Return the height of the block with the evidence that last counted against the accused."""
    return chain.app.state.get(MISBEHAVED, ACCUSED[0])


def test_the_first_evidence_removes_a_validator_from_the_block_after_the_next():
    chain = Chain()
    before = powers(chain)
    chain.block()
    result = chain.block(misbehaviour=[(ACCUSED[0], 1)])  # block h = 2
    assert result.validator_updates == ((ACCUSED[1], 0),)
    assert result.rows["misbehaviour"] == [(ACCUSED[0], 1)]
    assert record(chain) == 2
    assert (powers(chain), next_validators(chain.app.state)) == (
        before,
        {key: power for key, power in before.items() if key != ACCUSED[1]},
    ), "those of block h + 1, and of block h + 2"
    assert chain.block().validator_updates == ()
    assert powers(chain) == next_validators(chain.app.state)
    assert ACCUSED[1] not in powers(chain)


@pytest.mark.parametrize("later", [0, 1])
@pytest.mark.parametrize("height", [1, 2, 3])
def test_evidence_of_the_time_up_to_the_removal_changes_nothing(later, height):
    """Validators of block h + 1 are known when block h removes one: it still votes there."""
    chain, first = Chain(), [(ACCUSED[0], 1)]
    chain.block()
    if later:
        chain.block(misbehaviour=first)
        result = chain.block(misbehaviour=[(ACCUSED[0], height)])
        assert result.validator_updates == ()
        assert "misbehaviour" not in result.rows
    else:
        result = chain.block(misbehaviour=[*first, (ACCUSED[0], height)])
        assert result.validator_updates == ((ACCUSED[1], 0),)
        assert result.rows["misbehaviour"] == first
    assert record(chain) == 2
    assert not chain.block(misbehaviour=[(ACCUSED[0], height)]).rows.get("misbehaviour")
    assert ACCUSED[1] not in powers(chain)


def test_a_validator_that_is_brought_back_answers_for_new_evidence_only():
    chain = Chain()
    chain.block()
    chain.block(misbehaviour=[(ACCUSED[0], 1)])
    chain.block()
    chain.decide(SetValidator(ACCUSED[1], 15))
    chain.block()
    assert powers(chain)[ACCUSED[1]] == 15
    for height in (1, 2, 3):
        old = chain.block(misbehaviour=[(ACCUSED[0], height)])
        assert (old.validator_updates, old.rows.get("misbehaviour")) == ((), None)
    assert record(chain) == 2
    new = chain.app.height - 1
    result = chain.block(misbehaviour=[(ACCUSED[0], new)])
    assert result.validator_updates == ((ACCUSED[1], 0),)
    assert record(chain) == chain.app.height
    chain.block()
    assert ACCUSED[1] not in powers(chain)


def test_evidence_counts_from_the_first_height_without_the_validator_on():
    """Whoever signs contradictions while it has no power is removed when it is back."""
    chain = Chain()
    chain.block()
    chain.block(misbehaviour=[(ACCUSED[0], 1)])  # removed from block 4 on
    chain.decide(SetValidator(ACCUSED[1], 15))
    chain.block()
    assert chain.block(misbehaviour=[(ACCUSED[0], 3)]).validator_updates == ()
    assert chain.block(misbehaviour=[(ACCUSED[0], 4)]).validator_updates == ((ACCUSED[1], 0),)


def test_evidence_leaves_the_last_validator_in_power():
    chain = Chain()
    result = chain.block(misbehaviour=[(key.address, 1) for key in V])
    assert dict(result.validator_updates) == {key.public_key: 0 for key in V[:3]}
    assert [row[0] for row in result.rows["misbehaviour"]] == [key.address for key in V]
    chain.block()
    assert powers(chain) == {V[3].public_key: 40}
    again = chain.block(misbehaviour=[(V[3].address, chain.app.height)])
    assert again.validator_updates == ()
    chain.block()
    assert powers(chain) == {V[3].public_key: 40}


def test_evidence_against_nobody_in_power_changes_nothing():
    chain = Chain()
    result = chain.block(misbehaviour=[(BOB.address, 1), (bytes(20), 1)])
    assert not result.changed
    assert (result.validator_updates, result.rows) == ((), {})


@pytest.mark.parametrize("power", [0, 7, 10, 50])
def test_no_decision_of_the_block_undoes_a_removal(power):
    chain = Chain()
    number = chain.passes(SetValidator(ACCUSED[1], power))
    result = chain.block(
        time=chain.proposal(number).acts, misbehaviour=[(ACCUSED[0], chain.app.height)]
    )
    assert chain.standing(number) == "enacted"
    assert result.validator_updates == ((ACCUSED[1], 0),)
    chain.block()
    assert ACCUSED[1] not in powers(chain)


def test_evidence_against_one_that_governance_removes_in_the_block_before_changes_no_more():
    chain = Chain()
    chain.decide(SetValidator(ACCUSED[1], 0))
    result = chain.block(misbehaviour=[(ACCUSED[0], chain.app.height)])
    assert (result.validator_updates, ACCUSED[1] in powers(chain)) == ((), False)


# --- chains with evidence ------------------------------------------------------------------------


def test_evidence_is_repeated_by_verify_and_rebuild_and_shown_to_readers(tmp_path):
    chain = Decided(tmp_path)
    with closing(chain.node) as node:
        for _ in range(3):
            chain.add()
        evidence = [chain.accuse(V[0], 2), chain.accuse(V[0], 3, kind=PRECOMMIT, round=1)]
        chain.add(evidence=evidence)  # block 4
        chain.add(evidence=[chain.accuse(V[0], 5)])
        chain.add()
        chain.add()
        rows = node.index.query("SELECT * FROM misbehaviour")
        assert rows == [(4, V[0].address, 2)]
        assert node.state.get(MISBEHAVED, V[0].address) == 4
        headers = [codec.loads(Block, row[3]).header for row in node.store.blocks(1)]
        less = validators_hash(powers_of(node))
        assert [one.validators == less for one in headers] == [*[False] * 5, True, True]
        assert [one.next_validators == less for one in headers] == [*[False] * 4, True, True, True]
        assert V[0].public_key not in {vote.public_key for vote in node.commit}
        assert verify(node.genesis, node.store).app_hash == node.state.committed_root
        node.rebuild()
        assert node.index.query("SELECT * FROM misbehaviour") == rows
        assert node.state.get(MISBEHAVED, V[0].address) == 4
        paths = tmp_path / CHAIN_FILE, tmp_path / INDEX_FILE
        with closing(Reader(*paths, node.genesis.hash)) as reader:
            assert reader.index.query("SELECT * FROM misbehaviour") == rows
            assert reader.state.get(MISBEHAVED, V[0].address) == 4
            assert validators(reader.state) == powers_of(node)
    with closing(Node(chain.node.genesis, tmp_path)) as again:
        assert again.commit == chain.node.commit
        assert again.state.get(MISBEHAVED, V[0].address) == 4


def test_evidence_against_one_that_has_just_left_may_stand_and_changes_nothing(tmp_path):
    chain = Decided()
    for height in range(1, 5):
        chain.add(evidence=[chain.accuse(V[0], 2)] if height == 3 else ())
    late = chain.accuse(V[0], 4)
    before = powers_of(chain.node)
    assert V[0].public_key not in before, "those of block 5"
    block, commit = chain.next(evidence=[late])
    assert not chain.node.execute(block, commit).changed
    assert powers_of(chain.node) == before
    assert verify(chain.node.genesis, chain.node.store).height == 5
    # One who joins with the state after block 4 does not know the validators of block 4.
    state = state_at(chain.node.store, 4)
    pieces = list(cut(4, state.committed_root, state.pairs()))
    last = codec.loads(Block, chain.node.store.block(4))
    join(
        chain.node.genesis, tmp_path, block.header.hash, last, block, commit,
        pieces[-1].manifest, [piece.chunk for piece in pieces],
    )  # fmt: skip
    with closing(Node(chain.node.genesis, tmp_path)) as joined:
        assert joined.state.committed_root == chain.node.state.committed_root
        assert verify(joined.genesis, joined.store).height == 5
    chain.node.execute(*chain.next(evidence=[chain.accuse(V[0], 4, round=1)]))
    with pytest.raises(BlockInvalid, match="block 6: its evidence 0: it accuses a key that is no"):
        verify(chain.node.genesis, chain.node.store)


def powers_of(node: Node) -> dict[bytes, int]:
    return validators(node.state)


# --- a fight -------------------------------------------------------------------------------------


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
    height, before = node.height, validators_hash(validators(node.state))
    headers = []
    for _ in range(2):
        solo.produce()
        headers.append(node.header)
    assert [one.validators == before for one in headers if one] == [True, False]
    assert [one.next_validators == headers[1].validators for one in headers] == [True, False]
    with pytest.raises(NoQuorum, match="20 of 30"):
        solo.produce()
    assert verify(genesis, node.store).height == node.height == height + 2
    signed = [codec.loads(Commit, raw) for *_, raw in node.store.blocks(1)]
    keys = [[one.public_key for one in commit] for commit in signed[height:]]
    assert keys == [[V[3].public_key], sorted([V[3].public_key, V[0].public_key])]
    carried = [codec.loads(Block, raw).last_commit for *_, raw, _ in node.store.blocks(1)]
    assert carried == [(), *signed[:-1]]
