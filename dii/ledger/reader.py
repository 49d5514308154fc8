"""Read-only view of a chain that another process may be writing.

A reader begins with a snapshot and replays the state diffs after it, so it knows every value and
can prove it, and queries the index. It takes no lock and never writes. ``refresh`` goes on to the
newest blocks.

All that a reader shows is of one height: the state after a block, the rows up to it, and the header
of the next block, which proves that state. The index lags behind the blocks while another process
writes, so the height is the lower of the index's and the last header's; ``lag`` is the number of
durable blocks that are not shown.
"""

from __future__ import annotations

from pathlib import Path

from dii import codec, errors
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
        As of the last refresh. The header proves the state: it is the next block's, or the
        block's own if that block changed nothing.
    lag
        Number of blocks after that header.
    """

    def __init__(self, chain: Path, index: Path, genesis_hash: bytes) -> None:
        self.store = Store(chain, genesis_hash, readonly=True)
        self.index = Index(index, readonly=True)
        self.height, self.lag = -1, 0
        self._replayed = -1  # height of the last diff that was applied
        self.state = State()
        self.header: Header | None = None
        self.refresh()

    def refresh(self) -> None:
        """Apply the blocks written since the last call."""
        self.index.follow()  # first: the store goes on meanwhile, and must not be behind
        indexed, last = self.index.height, self.store.height
        height = min(indexed, last - 1 if last > 0 else last)
        if self.store.base > max(height, 0):
            message = f"it ends with block {indexed}, before the first one here"
            raise errors.IndexMissing(file=self.index.path, message=message)
        if not 0 <= self._replayed <= height:  # at first, or as the index is made again
            self.state = State() if last < 0 else state_at(self.store, height)
        else:
            for _, diff, _ in self.store.diffs(self._replayed + 1, height):
                self.state.apply(decode_diff(diff))
        self.height = self._replayed = height
        self.lag = max(0, last - height - 1)
        self.header = None
        if height < last:
            raw = self.store.block(height + 1)
            assert raw is not None, "blocks have no gaps"
            self.header = codec.loads(Block, raw).header
            ((_, _, root),) = self.store.diffs(height + 1, height + 1)
            if height < indexed and root == self.state.committed_root:
                self.height += 1  # the block that proves the state has not changed it
        self.index.show(self.height)

    def close(self) -> None:
        """Close the files."""
        self.index.db.close()
        self.store.close()
