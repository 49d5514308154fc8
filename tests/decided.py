"""Chains whose blocks several validators sign, with evidence against some, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dii.application import BlockResult
from dii.consensus.node import Node, faults
from dii.crypto import SigningKey
from dii.ledger.block import PRECOMMIT, PREVOTE, Block, Commit, Evidence, Header, Vote
from dii.units import SECOND
from tests import chains
from tests.chains import START
from tests.governance import V


def precommits(header: Header, /, keys: Sequence[SigningKey], **fields: Any) -> Commit:
    """Return precommits for a header, in the order of keys; or votes that differ in some fields."""
    place = {"height": header.height, "round": 0, "header": header.hash}
    fields = {"kind": PRECOMMIT, **place, **fields}
    return tuple(
        Vote(**fields, time=header.time, public_key=key.public_key).signed(header.chain, key)
        for key in sorted(keys, key=lambda key: key.public_key)
    )


def accuse(key: SigningKey, chain: bytes, height: int, **fields: int) -> Evidence:
    """Return evidence of two contradicting votes, by default prevotes of round 0."""
    fields = {"kind": PREVOTE, "round": 0} | fields
    cast = (
        Vote(**fields, height=height, header=header, time=START, public_key=key.public_key)
        for header in (bytes(32), None)
    )
    return Evidence.of(*(vote.signed(chain, key) for vote in cast))


class Decided:
    """A node whose blocks are signed by those of four validators that are in power.

    Attributes
    ----------
    node
        The node.
    signers
        Keys that sign, as far as they are in power.
    """

    def __init__(self, home: Path | None = None, **changes: Any) -> None:
        powers = [
            {"public_key": key.public_key.hex(), "power": 10 * number}
            for number, key in enumerate(V, 1)
        ]
        self.node = Node(chains.genesis(**{"validators": powers, **changes}), home)
        self.signers = V

    def next(self, *wires: bytes, evidence: Sequence[Evidence] = ()) -> tuple[Block, Commit]:
        """Return the next block, and its commit."""
        head = self.node.head
        last = head.header.time if head.header else START
        keys = [key for key in self.signers if key.public_key in head.validators]
        block = head.block(last + SECOND, wires, keys[0].public_key, self.node.commit, evidence)
        return block, precommits(block.header, keys)

    def add(self, *wires: bytes, evidence: Sequence[Evidence] = ()) -> BlockResult:
        """Add the next block."""
        block, commit = self.next(*wires, evidence=evidence)
        assert not list(faults(self.node.head, block, commit))
        return self.node.execute(block, commit)

    def accuse(self, key: SigningKey, height: int, **fields: int) -> Evidence:
        """Return evidence against a validator of this chain."""
        return accuse(key, self.node.genesis.hash, height, **fields)
