"""Heads of chains: what the next block must say, and which votes decide it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dii import codec
from dii.application.messages import Burn
from dii.consensus.head import Head, commit_faults
from dii.consensus.node import verify
from dii.crypto import SigningKey
from dii.errors import BlockInvalid
from dii.genesis import MAX_VALIDATORS, Limits
from dii.ledger.block import (
    MAX_BYTES,
    MAX_EVIDENCE,
    MAX_VOTES,
    PREVOTE,
    Block,
    Evidence,
    Vote,
    root_of,
)
from tests.chains import ALICE, sign
from tests.decided import Decided, precommits
from tests.governance import V

KEYS = [SigningKey.derive(7, f"voter {number}") for number in range(7)]
CHAIN = bytes(32)


@given(st.lists(st.integers(1, 10), min_size=1, max_size=7), st.data())
def test_a_commit_decides_with_more_than_two_thirds_of_the_power(
    powers: list[int], data: st.DataObject
) -> None:
    known = {key.public_key: power for key, power in zip(KEYS, powers)}
    signers = data.draw(st.lists(st.sampled_from(KEYS[: len(powers)]), unique=True))
    header = Head(CHAIN, None, bytes(32), known, known).block(1, (), KEYS[0].public_key, ()).header
    good = sum(known[key.public_key] for key in signers)
    sound = not list(commit_faults(header, precommits(header, signers), known))
    assert sound == (3 * good > 2 * sum(powers))


def with_last_commit(chain: Decided, keys: list[SigningKey]) -> Decided:
    """Add a block whose last commit these keys signed, and which all sign."""
    block, _ = chain.next()
    header = chain.node.header
    assert header is not None
    last_commit = precommits(header, keys)
    header = replace(block.header, last_commit=root_of(last_commit))
    chain.node.execute(Block(header, (), last_commit, ()), precommits(header, chain.signers))
    return chain


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (V[:3], "block 3: its last commit: signatures of 60 of 100"),
        (V[:1], "block 3: its last commit: signatures of 10 of 100"),
        ([*V, ALICE], "block 3: its last commit: only 4 of its 5 votes"),
        (V[2:], ""),
        (V, ""),
    ],
)
def test_a_last_commit_needs_more_than_two_thirds_of_the_power_of_its_height(keys, words):
    chain = Decided()
    chain.add()
    chain.add()
    node = with_last_commit(chain, keys).node
    if words:
        with pytest.raises(BlockInvalid, match=words):
            verify(node.genesis, node.store)
    else:
        assert verify(node.genesis, node.store).height == 3


def test_a_last_commit_is_signed_by_the_validators_of_the_block_before():
    chain = Decided()
    for height in range(1, 5):
        chain.add(evidence=[chain.accuse(V[3], 1)] if height == 3 else ())
    chain.add()  # block 5, the first without V[3], carries its precommit for block 4
    node = chain.node
    assert [len(block.last_commit) for block in blocks(chain)] == [0, 4, 4, 4, 4]
    assert len(node.commit) == 3
    assert verify(node.genesis, node.store).height == 5
    with_last_commit(chain, V)
    with pytest.raises(BlockInvalid, match="block 6: its last commit: only 3 of its 4 votes"):
        verify(node.genesis, node.store)


def blocks(chain: Decided) -> list[Block]:
    return [codec.loads(Block, row[3]) for row in chain.node.store.blocks(1)]


def test_the_largest_block_has_no_more_bytes_than_are_read():
    """Transactions of the smallest size have the most bytes around them."""
    (most,) = (one.le for one in Limits.model_fields["block_bytes"].metadata if hasattr(one, "le"))
    last = 2**63 - 1
    smallest = sign(CHAIN, ALICE, 0, Burn(1), gas_limit=1, valid_until=1)
    header = Head(CHAIN, None, bytes(32), {}, {}).block(1, (), bytes(32), ()).header
    vote = Vote(PREVOTE, last, last, bytes(32), last, bytes(32), bytes(64))
    block = Block(
        replace(header, height=last, time=last),
        (smallest,) * (most // len(smallest)),
        (vote,) * MAX_VOTES,
        (Evidence(vote, vote),) * MAX_EVIDENCE,
    )
    data = codec.dumps(block)
    assert len(data) <= MAX_BYTES
    assert len(codec.loads(Block, data).transactions) == most // len(smallest)
    assert MAX_VOTES == MAX_VALIDATORS
