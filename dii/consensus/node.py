"""A node: the application, the store and the index, kept in step.

Engines decide blocks; a node executes them, makes them durable and indexes them, in this order.
The index may lag behind after a crash; opening executes the blocks it lacks once more, which
costs little and checks that execution still gives the stored diffs.
"""

from __future__ import annotations

import contextlib
import gc
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from dii import codec, crypto
from dii.application import Application, BlockResult, total_money
from dii.application.bank import supply
from dii.application.records import VALIDATORS
from dii.errors import BlockInvalid, CodecError, IndexMissing, InvariantBroken, ShapeMismatch
from dii.genesis import Genesis
from dii.ledger import block as blocks
from dii.ledger.block import Block, Header
from dii.ledger.index import Index
from dii.ledger.state import State, decode_diff, encode_diff
from dii.ledger.store import Store

CHAIN_FILE = "chain.sqlite"
INDEX_FILE = "index.sqlite"


@dataclass(frozen=True, slots=True)
class Verified:
    """What a full re-execution found to hold."""

    height: int
    transactions: int
    app_hash: bytes
    minted: int
    burned: int


class Node:
    """One replica of a chain.

    Parameters
    ----------
    genesis
        The network's genesis.
    home
        Folder of the chain's files; None keeps everything in memory.

    Attributes
    ----------
    app, store, index
        The state machine, its durable blocks, and the tables to query.
    header
        The last block's header; None before the first block.
    """

    def __init__(self, genesis: Genesis, home: Path | None = None) -> None:
        self.genesis = genesis
        self.app = Application(genesis)
        self.store = Store(home / CHAIN_FILE if home else None, genesis.hash)
        try:
            self.index = Index(home / INDEX_FILE if home else None)
            self.header: Header | None = None
            self._open()
        except BaseException:
            self.store.close()
            raise

    @property
    def state(self) -> State:
        """The application's committed state."""
        return self.app.state

    @property
    def height(self) -> int:
        """Height of the last commit."""
        return self.app.height

    def _open(self) -> None:
        if self.store.height < 0:
            self.store.append(0, b"", encode_diff(self.app.genesis_diff))
        if self.index.height > self.store.height:
            self.index.reset()
        for height, diff in self.store.diffs(1):
            if height > self.index.height:
                break
            self.app.restore(height, decode_diff(diff))
        try:
            self.catch_up(self.app.height + 1)
        except IndexMissing:  # a power cut may leave rows that contradict each other
            self.rebuild()
        last = self.store.block(self.store.height)
        if last:
            self.header = codec.loads(Block, last).header

    def catch_up(self, first: int) -> None:
        """Execute stored blocks from a height on, and index them."""
        for height, raw, diff in self.store.blocks(first):
            block = codec.loads(Block, raw)
            result = _execute(self.app, block)
            if encode_diff(self.app.commit()) != diff:
                raise BlockInvalid(height=height, message="executing it gives another state")
            self._index(block, result)
        self.index.flush()

    def execute(self, block: Block) -> BlockResult:
        """Execute a decided block, make it durable, then index it."""
        with uncollected():
            result = _execute(self.app, block)
            with uninterrupted():
                diff = self.app.commit()
                self.store.append(block.header.height, codec.dumps(block), encode_diff(diff))
                self.header = block.header
                self._index(block, result)
        return result

    def _index(self, block: Block, result: BlockResult) -> None:
        header = block.header
        used = sum(one.gas for one in result.results)
        count = len(block.transactions)
        row = (header.time, header.hash, result.app_hash, header.proposer, count, used)
        self.index.put(header.height, {**result.rows, "blocks": [row]})

    def rebuild(self) -> None:
        """Make the index again by executing every block."""
        self.index.reset()
        self.app = Application(self.genesis)
        self.catch_up(1)

    def close(self) -> None:
        """Write what is buffered and release the files."""
        self.index.close()
        self.store.close()


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Put off garbage collection: a block makes many objects and no cycles among them.

    A collection in the middle walks through the whole state; that was a sixth of a block's time.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Put off Ctrl-C until the end, where an interrupt in the middle would leave a torn state.

    In a notebook work goes on after an interrupt: an application one block ahead of its store
    would leave a gap in the chain for good.
    """
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler) or threading.current_thread() is not threading.main_thread():
        yield  # nothing of Python's runs when the signal comes, or not in this thread
        return
    caught: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda number, frame: caught.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if caught:
            handler(*caught[0])


def _execute(app: Application, block: Block) -> BlockResult:
    header = block.header
    return app.finalize_block(header.height, header.time, block.transactions, header.proposer)


def verify(
    genesis: Genesis, store: Store, progress: Callable[[int], None] | None = None
) -> Verified:
    """Execute every block again in a fresh application, comparing all that can be compared.

    Parameters
    ----------
    genesis, store
        The chain; a store opened read-only will do.
    progress
        Called with each height that holds.

    Raises
    ------
    BlockInvalid, InvariantBroken
        Naming the first height that does not hold.
    """
    app = Application(genesis)
    previous: Header | None = None
    transactions = 0
    for height, raw, diff in store.blocks(0):
        if height == 0:
            if diff != encode_diff(app.genesis_diff):
                raise BlockInvalid(height=0, message="its state is not that of the genesis")
            continue
        try:
            block = codec.loads(Block, raw)
        except (CodecError, ShapeMismatch) as error:
            raise BlockInvalid(height=height, message=error) from None
        for fault in faults(genesis, app.state, previous, block):
            raise BlockInvalid(height=height, message=fault)
        if not app.process_proposal(block.transactions):
            raise BlockInvalid(height=height, message="a transaction may not stand in a block")
        _execute(app, block)
        if encode_diff(app.commit()) != diff:
            raise BlockInvalid(height=height, message="executing it gives another state")
        previous = block.header
        transactions += len(block.transactions)
        if progress:
            progress(height)
    money = supply(app.state)
    held = total_money(app.state)
    if held != money.minted - money.burned:
        message = f"{money.minted - money.burned} minted less burned, {held} held"
        raise InvariantBroken(height=app.height, message=message)
    return Verified(app.height, transactions, app.state.committed_root, money.minted, money.burned)


def faults(genesis: Genesis, state: State, previous: Header | None, block: Block) -> Iterator[str]:
    """Yield what is wrong with a block that should follow ``previous`` on a committed state."""
    header = block.header
    powers = dict(validators(state))
    if header.version != blocks.VERSION:
        yield f"its header is of version {header.version}"
    if header.chain != genesis.hash:
        yield "it belongs to another genesis"
    if header.height != (previous.height if previous else 0) + 1:
        yield f"its header says height {header.height}"
    if header.previous != (previous.hash if previous else bytes(32)):
        yield "its header does not follow from the one before"
    if previous and header.time <= previous.time:
        yield "its time is not later than the block's before"
    if header.app_hash != state.committed_root:
        yield "its app_hash is not the state before it"
    if header.transactions != blocks.transactions_root(block.transactions):
        yield "its transactions are not those of its header"
    if header.validators != validators_hash(state):
        yield "its validators are not those of the state"
    if header.proposer not in map(crypto.address_of, powers):
        yield "its proposer is no validator"
    message = blocks.SIGN_DOMAIN + header.hash
    signers = {one.public_key: one.signature for one in block.commits}
    good = sum(
        powers.get(key, 0)
        for key, signature in signers.items()
        if crypto.verify(key, message, signature)
    )
    if 3 * good <= 2 * sum(powers.values()):
        yield f"signatures of {good} of {sum(powers.values())} voting power hold"


def validators(state: State) -> list[tuple[bytes, int]]:
    """Return (public key, power) of all validators, in order of keys."""
    found = state.items(VALIDATORS)
    return [(key, item.power) for (key,), item in found if isinstance(key, bytes)]


def validators_hash(state: State) -> bytes:
    """Return the hash of the validators that a header carries."""
    return crypto.sha256(codec.encode(validators(state)))
