"""Looking at a chain that another process may be writing.

A reader begins with a snapshot and replays the state diffs after it, so it knows every value and
can prove it, and queries the index. It takes no lock and never writes. ``refresh`` moves on to
what has been written since.
"""

from __future__ import annotations

from pathlib import Path

from dii import codec
from dii.ledger.block import Block, Header
from dii.ledger.index import Index
from dii.ledger.snapshot import state_at
from dii.ledger.state import State, decode_diff
from dii.ledger.store import Store


class Reader:
    """A read-only view of a chain's files.

    Parameters
    ----------
    chain, index
        Paths of ``chain.sqlite`` and ``index.sqlite``.
    genesis_hash
        Of the chain that the files should hold.

    Attributes
    ----------
    state, header, height
        As of the last refresh.
    """

    def __init__(self, chain: Path, index: Path, genesis_hash: bytes) -> None:
        self.store = Store(chain, genesis_hash, readonly=True)
        self.index = Index(index, readonly=True)
        self.height = self.store.height
        self.state = State() if self.height < 0 else state_at(self.store, self.height)
        self.header: Header | None = None
        self.refresh()

    def refresh(self) -> None:
        """Apply what has been written since the last call."""
        self.index.follow()
        for height, diff, _ in self.store.diffs(self.height + 1, self.store.height):
            self.state.apply(decode_diff(diff))
            self.height = height
        raw = self.store.block(self.height)
        self.header = codec.loads(Block, raw).header if raw else None

    def close(self) -> None:
        """Close the files."""
        self.index.db.close()
        self.store.close()
