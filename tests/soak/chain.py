"""A chain in which every block follows from its height, and a check that a home has it.

Thresholds are lowered so that a snapshot of several chunks is always under way.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import dii.consensus.node
import dii.ledger.index
import dii.ledger.snapshot
from dii.application.messages import Burn, Transfer
from dii.consensus.node import CHAIN_FILE, INDEX_FILE, Node, verify
from dii.consensus.solo import Solo
from dii.ledger.reader import Reader
from dii.ledger.store import Store
from tests.chains import ALICE, BOB, CAROL, VALIDATOR, genesis, sign

GENESIS = genesis()
FAST = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Folder of files that need not survive a power cut: the end of a process needs no disk."""
CHANGES = {
    dii.consensus.node: {"LEAST": 1_500, "WEIGHT": 1},
    dii.ledger.snapshot: {"CHUNK": 600},
    dii.ledger.index: {"_BUFFER": 25},
}
"""Constants that are smaller here, by module."""


def shrink(put: Callable[[object, str, object], None] = setattr) -> None:
    """Lower the thresholds in this process, permanently unless ``put`` undoes it."""
    for module, names in CHANGES.items():
        for name, value in names.items():
            assert hasattr(module, name)
            put(module, name, value)


def wires(height: int) -> list[bytes]:
    """Return the transactions of the block at a height."""
    fresh = hashlib.sha256(b"%d" % height).digest()[:20]
    messages = ((ALICE, Transfer(fresh, height)), (BOB, Burn(1)), (CAROL, Transfer(fresh, 1)))
    return [sign(GENESIS.hash, key, height - 1, message) for key, message in messages]


def produce(node: Node) -> None:
    """Add the next block."""
    placed, _ = Solo(node, VALIDATOR).produce(wires(node.height + 1))
    assert len(placed) == 3


class Undisturbed:
    """The same chain in memory, as long as requested so far."""

    def __init__(self) -> None:
        self.node = Node(GENESIS)
        self.rows = list(self.node.store.blocks(0))
        self.pairs = [self.node.state.pairs()]

    def reach(self, height: int) -> None:
        """Go on to a height."""
        while self.node.height < height:
            produce(self.node)
            self.rows += self.node.store.blocks(self.node.height)
            self.pairs.append(self.node.state.pairs())

    def compare(self, node: Node | Reader, first: int = 0) -> None:
        """Check that a node or reader has exactly this chain up to its height.

        The height of a reader is one less than the last block's, whose header proves its state.
        """
        last = node.store.height
        self.reach(last)
        assert last - node.height == isinstance(node, Reader)
        assert list(node.store.blocks(first)) == self.rows[first : last + 1]
        assert node.state.pairs() == self.pairs[node.height]
        assert node.state.committed_root == self.rows[node.height][2]
        (blocks,) = node.index.query("SELECT count(*) FROM blocks")
        (transactions,) = node.index.query("SELECT count(*) FROM transactions")
        assert (*blocks, *transactions) == (node.height, 3 * node.height)

    def check(self, home: Path, acknowledged: int) -> int:
        """Open a home after a crash, add a block, verify; return the height that was found."""
        with closing(Node(GENESIS, home)) as node:
            found = node.height
            assert found >= acknowledged, (found, acknowledged)
            self.compare(node)
            produce(node)
            self.compare(node, found)
        with closing(Reader(home / CHAIN_FILE, home / INDEX_FILE, GENESIS.hash)) as reader:
            assert reader.header is not None
            assert (reader.height, reader.header.height) == (found, found + 1)
            self.compare(reader, found)
        with closing(Store(home / CHAIN_FILE, GENESIS.hash, readonly=True)) as store:
            assert verify(GENESIS, store).height == found + 1
        return found
