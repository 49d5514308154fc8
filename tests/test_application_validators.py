"""Changes of validators, and chains that they sign."""

from __future__ import annotations

from typing import Any

import pytest

from dii import codec
from dii.application.actions import SetValidator
from dii.application.messages import Propose, Vote
from dii.consensus.node import Node, validators_hash, verify
from dii.consensus.solo import Solo
from dii.crypto import SigningKey
from dii.errors import NoQuorum
from dii.ledger.block import Block
from dii.units import SECOND
from tests import chains
from tests.chains import ALICE, BOB, CAROL
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
