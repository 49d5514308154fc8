"""A node: the application, the store and the index, kept in step.

Engines decide blocks; a node executes them, makes them durable and indexes them, in this order.
The index may lag behind after a crash; opening executes the missing blocks again, which costs
little and checks that execution still gives the stored diffs.

From time to time a node takes a snapshot, a piece with each block, and counts its money: a block
checks conservation in its own changes, a snapshot in the whole state.
"""

from __future__ import annotations

import contextlib
import gc
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import FrameType

from dii import codec, crypto, errors
from dii.application import Application, BlockResult, Misbehaviour, total_money
from dii.application.bank import supply
from dii.application.governance import next_validators, validators
from dii.consensus.head import Head, Powers, Verify, commit_faults
from dii.genesis import Genesis
from dii.ledger.block import MAX_VOTES, Block, Commit, Header
from dii.ledger.index import Index
from dii.ledger.snapshot import LEAST, ROW, WEIGHT, assemble, cut, read_manifest, state_at
from dii.ledger.state import State, decode_diff, encode_diff, uncollected
from dii.ledger.store import Piece, Store

CHAIN_FILE = "chain.sqlite"
INDEX_FILE = "index.sqlite"


@dataclass(frozen=True, slots=True)
class Verified:
    """Result of verifying a chain from the genesis, or from the snapshot of height ``base``."""

    base: int
    height: int
    transactions: int
    app_hash: codec.Root
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
    header, commit
        The last block's header, None before the first block, and the precommits for it.
    """

    def __init__(self, genesis: Genesis, home: Path | None = None) -> None:
        self.genesis = genesis
        self.app: Application
        self.store = Store(home / CHAIN_FILE if home else None, genesis.hash)
        self.header: Header | None = None
        self.commit: Commit = ()
        self._debt = self._size = self._surplus = 0
        self._pieces: Iterator[Piece] | None = None
        try:
            self.index = Index(home / INDEX_FILE if home else None)
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
        store = self.store
        if store.height < 0:
            app = Application(self.genesis)
            store.append(0, b"", encode_diff(app.genesis_diff), app.info()[1])
        if store.base <= self.index.height <= store.height:
            self.app = self._application(self.index.height)
            try:
                self._catch_up(self.app)
            except errors.IndexMissing:  # a power cut may leave contradictory rows
                self.rebuild()
        else:
            self.rebuild()
        last = store.block(store.height)
        if last:
            self.header = codec.loads(Block, last).header
            self.commit = codec.loads(Commit, store.commit(store.height))
        newest = next(iter(store.snapshots()), 0)
        self._debt = store.diff_bytes(newest + 1) + ROW * (store.height - newest)
        self._size = store.chunk_bytes(newest)

    @property
    def head(self) -> Head:
        """Head of the chain, which the next block must build on."""
        return head_of(self.app, self.header)

    def _application(self, height: int) -> Application:
        return Application(self.genesis, height, state_at(self.store, height))

    def _catch_up(self, app: Application) -> None:
        """Execute the stored blocks that follow, and index them."""
        for height, diff, _, block, _ in decoded(app, self.store.blocks(app.height + 1)):
            result = _execute(app, block)
            if encode_diff(app.commit()) != diff:
                raise errors.BlockInvalid(height=height, message="executing it gives another state")
            self._index(block, result)
        self.index.flush()

    def execute(self, block: Block, commit: Commit) -> BlockResult:
        """Execute a decided block, make it durable with its commit, then index it."""
        with uncollected():
            result = _execute(self.app, block)
            with uninterrupted():
                diff = encode_diff(self.app.commit())
                try:
                    pieces = self._snapshot(len(diff), result.app_hash)
                    height = block.header.height
                    signed = codec.dumps(commit, Commit)
                    self.store.append(
                        height, codec.dumps(block), diff, result.app_hash, *pieces, commit=signed
                    )
                except BaseException:
                    self.store.close()  # the application is ahead of it: no block may follow
                    raise
                self.header, self.commit = block.header, commit
                self._index(block, result)
        return result

    def _snapshot(self, size: int, root: codec.Root) -> Iterator[Piece]:
        """Yield the next piece of a snapshot, if one is due or under way."""
        self._debt += size + ROW
        if self._pieces is None and self._debt >= max(WEIGHT * self._size, LEAST):
            self._pieces = cut(self.height, root, self.state.pairs())
            self._debt = self._size = self._surplus = 0
        if self._pieces is not None:
            piece = next(self._pieces, None)
            if piece is None:  # the state is too large for a snapshot
                self._pieces = None
            else:
                yield self._audited(piece)

    def _audited(self, piece: Piece) -> Piece:
        """Count a piece's money: a whole snapshot holds as much as was minted."""
        part = State()
        part.apply(decode_diff(piece.chunk))
        self._surplus += surplus(part)
        self._size += len(piece.chunk)
        if piece.manifest:
            self._pieces = None
            if self._surplus:
                message = f"{self._surplus} more held than minted after block {piece.height}"
                raise errors.InvariantBroken(height=self.height, message=message)
        return piece

    def _index(self, block: Block, result: BlockResult) -> None:
        header = block.header
        used = sum(outcome.gas for outcome in result.results)
        count = len(block.transactions)
        row = (header.time, header.hash, result.app_hash, header.proposer, count, used)
        self.index.put(header.height, {**result.rows, "blocks": [row]})

    def rebuild(self) -> None:
        """Make the index again by executing every block; others read the old one meanwhile.

        A failure or interrupt leaves the node and the old index unchanged.
        """
        base = self.store.base
        app = self._application(base)
        with self.index.remaking(base):
            self._catch_up(app)
        self.app = app

    def close(self) -> None:
        """Write buffered rows, complete a snapshot that is under way, and release the files."""
        try:
            # Otherwise sessions of few blocks each would never complete a snapshot.
            if self._pieces is not None and not self.store.closed:
                self.store.keep(map(self._audited, self._pieces))
        finally:
            self.index.close()
            self.store.close()
            gc.unfreeze()  # objects of large blocks; see ``uncollected``


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Defer Ctrl-C to the end of a section in which an interrupt would leave a torn state.

    A notebook goes on after an interrupt: an application one block ahead of its store would leave
    a permanent gap in the chain.
    """
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler) or threading.current_thread() is not threading.main_thread():
        yield  # the signal has no Python handler, or does not reach this thread
        return
    caught: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda number, frame: caught.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if caught:
            handler(*caught[0])


def decoded(
    app: Application, rows: Iterable[tuple[int, bytes, bytes, bytes, bytes]]
) -> Iterator[tuple[int, bytes, bytes, Block, Commit]]:
    """Decode a store's blocks, and begin to verify the signatures of the next one meanwhile.

    Raises
    ------
    BlockInvalid, StoreBroken
        A block cannot be read; raised once all before it are handed out.
    """
    waiting = []
    try:
        for height, diff, root, raw, signed in rows:
            try:
                block, commit = codec.loads(Block, raw), codec.loads(Commit, signed)
            except (errors.CodecError, errors.ShapeMismatch) as error:
                raise errors.BlockInvalid(height=height, message=error) from None
            app.anticipate(block.transactions)
            waiting.append((height, diff, root, block, commit))
            if len(waiting) > 1:
                yield waiting.pop(0)
    except errors.LedgerError:
        yield from waiting
        raise
    yield from waiting


def _execute(app: Application, block: Block) -> BlockResult:
    header = block.header
    found = [
        Misbehaviour(crypto.address_of(one.first.public_key), one.first.height)
        for one in block.evidence
    ]
    wires = block.transactions
    return app.finalize_block(header.height, header.time, wires, header.proposer, found)


def head_of(app: Application, header: Header | None, last: Powers | None = None) -> Head:
    """Return the head of a chain whose last block has this header, and these validators."""
    state = app.state
    powers = validators(state), next_validators(state)
    return Head(app.genesis.hash, header, state.committed_root, *powers, last)


def surplus(state: State) -> int:
    """Return the money held beyond the money minted and not burned: 0 in every whole state.

    The surplus of a state is the sum of the surpluses of its parts.
    """
    money = supply(state)
    return total_money(state) - money.minted + money.burned


def join(
    genesis: Genesis,
    home: Path,
    header_hash: bytes,
    last: Block,
    following: Block,
    commit: Commit,
    manifest: bytes,
    chunks: Iterable[bytes],
) -> None:
    """Begin a chain in a home from an untrusted snapshot.

    A node then opens it as any other chain; earlier blocks can be neither verified nor shown.

    Parameters
    ----------
    genesis, home
        The network's genesis, and a folder without a chain.
    header_hash
        The only trusted input: the hash of the header after the snapshot's height.
    last, following, commit
        The block at the snapshot's height; the next one, which has that header and is executed;
        and the commit of the next one.
    manifest, chunks
        The snapshot, as in another node's store.

    Raises
    ------
    SnapshotInvalid
        A part does not follow from the trusted hash, or the home has a chain. Nothing was written.
    """
    height, header = read_manifest(manifest).height, following.header

    def invalid(message: object) -> errors.SnapshotInvalid:
        return errors.SnapshotInvalid(height=height, message=message)

    if header.hash != header_hash or header.chain != genesis.hash or header.height != height + 1:
        raise invalid("the header is not the trusted one after it")
    if last.header.hash != header.previous or any(last.faults()):
        raise invalid("its block is not the one before the header")
    pieces: list[Piece] = []

    def kept() -> Iterator[bytes]:
        for number, chunk in enumerate(chunks):
            pieces.append(Piece(height, number, chunk))
            yield chunk

    app = Application(genesis, height, assemble(manifest, kept(), header.app_hash))
    for fault in faults(head_of(app, last.header), following, commit):
        raise invalid(f"the block after it is not sound: {fault}")
    _execute(app, following)
    diff = encode_diff(app.commit())
    pieces[-1] = pieces[-1]._replace(manifest=manifest)
    with contextlib.closing(Store(home / CHAIN_FILE, genesis.hash)) as store:
        if store.height >= 0:
            raise invalid(f"{home} has a chain already")
        unsigned = codec.dumps((), Commit)  # its validators may differ from those of the state
        store.append(
            height, codec.dumps(last), encode_diff(()), header.app_hash, *pieces, commit=unsigned
        )
        root, signed = app.state.committed_root, codec.dumps(commit, Commit)
        store.append(height + 1, codec.dumps(following), diff, root, commit=signed)


def verify(
    genesis: Genesis, store: Store, progress: Callable[[int], None] | None = None
) -> Verified:
    """Execute every block again in a new application and compare all results.

    Parameters
    ----------
    genesis, store
        The chain; a read-only store will do. A chain that began with a snapshot is executed from
        there.
    progress
        Called with each verified height.

    Raises
    ------
    BlockInvalid, InvariantBroken, StoreBroken
        Names the first height that fails.
    """
    store.check()
    base = store.base
    app = Application(genesis, base, state_at(store, base) if base else None)
    previous: Header | None = None
    transactions = 0
    if not base:
        first = next(store.blocks(0), None)
        if first is None or first[1] != encode_diff(app.genesis_diff):
            raise errors.BlockInvalid(height=0, message="its state is not that of the genesis")
    powers: Powers | None = None
    judged = lru_cache(4 * MAX_VOTES)(crypto.verify)  # the next block carries most votes again
    for height, diff, root, block, commit in decoded(app, store.blocks(max(base, 1))):
        if height > base:
            head = head_of(app, previous, powers)
            for fault in faults(head, block, commit, judged):
                raise errors.BlockInvalid(height=height, message=fault)
            powers = head.validators
            if not app.process_proposal(block.transactions, block.header.time):
                message = "a transaction may not stand in a block"
                raise errors.BlockInvalid(height=height, message=message)
            _execute(app, block)
            if (encode_diff(app.commit()), app.state.committed_root) != (diff, root):
                raise errors.BlockInvalid(height=height, message="executing it gives another state")
            transactions += len(block.transactions)
        previous = block.header
        if progress:
            progress(height)
    more, money = surplus(app.state), supply(app.state)
    if more:
        raise errors.InvariantBroken(height=app.height, message=f"{more} more held than minted")
    root = app.state.committed_root
    return Verified(base, app.height, transactions, root, money.minted, money.burned)


def faults(
    head: Head, block: Block, commit: Commit, verify: Verify = crypto.verify
) -> Iterator[str]:
    """Yield the faults of a decided block that should follow a head, and of its commit."""
    yield from head.faults(block, verify)
    yield from commit_faults(block.header, commit, head.validators, verify)
