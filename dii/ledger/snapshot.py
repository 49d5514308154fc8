"""Snapshots: the whole state at a height, in chunks that may come from an untrusted source.

The problem: a chain's diffs grow without end, the state does not. Opening a chain, or joining it,
takes the state without its history; a node that joins has it from a source that it does not trust.

The design: a snapshot is a diff from nothing. All pairs in ascending order are cut into chunks of
at most 1 MiB, each a diff of its own, and a manifest lists height, root, totals and the chunks'
SHA-256. The manifest needs no signature: chunks are bounded and compared before they are parsed,
and the state is returned only if the tree that is built from it has the root that the reader
trusts, from a header. A false manifest can waste no more than the bytes that it admits.

A node takes a snapshot when the diffs since the last one are much larger than it, so snapshots
cost a few percent of the blocks' cost, and opening reads a bounded multiple of the state. A state
of a million accounts takes seconds to sort and encode, too long for one block, so the pairs are
kept as of one height, which is a copy of references, and each block writes one chunk; the last
chunk brings the manifest. Keys are sorted as far as the next chunk needs them. Forking a process
for this was rejected (a notebook has threads), and so was a thread (it would take the interpreter
from the blocks, and a crash could leave the file at any point).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Final

from dii import codec, crypto, errors
from dii.codec import Bounds, Hash, Record, Root
from dii.ledger.state import State, decode_diff, encode_diff, uncollected
from dii.ledger.store import Piece, Store

CHUNK: Final = 1 << 20
"""Bytes of a chunk at most; a pair that is larger has a chunk of its own."""
MAX_CHUNK: Final = CHUNK + codec.MAX_SIZE
MAX_CHUNKS: Final = 1 << 16
"""64 GiB, more than a node holds in memory; a larger state has no snapshot."""
MAX_SIZE: Final = MAX_CHUNKS * CHUNK
MAX_MANIFEST: Final = 64 * MAX_CHUNKS
ROW: Final = 200
"""Bytes of a diff that take as long as opening one more row."""
LEAST: Final = 1 << 22
"""Bytes of diffs, with their rows, below which no snapshot pays: a quarter of a second to open."""
WEIGHT: Final = 4
"""Size of the diffs since a snapshot, in sizes of that snapshot, before the next one is taken."""

_RUN: Final = 4_096
_PASSED_OVER: Final = "%s: passed over its snapshot of height %d (%s)"
_TOO_LARGE: Final = "no snapshot of height %d: its state has more than %d chunks"
_log = logging.getLogger(__name__)


class Manifest(Record):
    """Description of a snapshot and its chunks.

    Attributes
    ----------
    height
        The snapshot has the state after this block.
    root
        The state's root, which the next block's header carries as ``app_hash``.
    pairs, size
        Number of pairs, and of bytes of all chunks.
    chunks
        SHA-256 of each, in order.
    """

    height: int
    root: Root
    pairs: Annotated[int, Bounds(0, MAX_SIZE)]
    size: Annotated[int, Bounds(0, MAX_SIZE)]
    chunks: Annotated[tuple[Hash, ...], Bounds(1, MAX_CHUNKS)]


def cut(height: int, root: codec.Root, pairs: Mapping[bytes, bytes]) -> Iterator[Piece]:
    """Yield a snapshot piece by piece, doing no more work than the next one needs.

    Ends early, without a manifest, where the state has more than ``MAX_CHUNKS`` chunks.

    Parameters
    ----------
    height, root
        Of the state.
    pairs
        The whole state; it must not change until the last piece is out.
    """
    hashes: list[bytes] = []
    size = done = 0
    for run in _runs(pairs):
        if len(hashes) == MAX_CHUNKS:
            _log.warning(_TOO_LARGE, height, MAX_CHUNKS)
            return
        chunk = encode_diff(tuple(run))
        hashes.append(crypto.sha256(chunk))
        size, done = size + len(chunk), done + len(run)
        whole = done == len(pairs)
        manifest = codec.dumps(Manifest(height, root, done, size, tuple(hashes))) if whole else b""
        yield Piece(height, len(hashes) - 1, chunk, manifest)


def _runs(pairs: Mapping[bytes, bytes]) -> Iterator[list[tuple[bytes, bytes]]]:
    """Yield the pairs of each chunk, in ascending order."""
    run: list[tuple[bytes, bytes]] = []
    room = CHUNK - 5
    for key in _ascending(list(pairs)):
        value = pairs[key]
        cost = len(key) + len(value) + 10  # two heads of at most five bytes
        if run and cost > room:
            yield run
            run, room = [], CHUNK - 5
        room -= cost
        run.append((key, value))
    yield run


def _ascending(keys: list[bytes]) -> Iterator[bytes]:
    """Sort distinct keys lazily (a quicksort that begins at the left)."""
    if len(keys) <= _RUN:
        yield from sorted(keys)
        return
    pivot = sorted(keys[:: len(keys) // 32])[16]
    yield from _ascending([key for key in keys if key < pivot])
    yield from _ascending([key for key in keys if key >= pivot])


def read_manifest(data: bytes) -> Manifest:
    """Read a manifest from untrusted bytes.

    Raises
    ------
    SnapshotInvalid
        The bytes are not a manifest.
    """
    try:
        return codec.loads(Manifest, data, MAX_MANIFEST)
    except errors.DiiError as error:
        raise errors.SnapshotInvalid(height="?", message=f"no manifest ({error})") from None


def assemble(data: bytes, chunks: Iterable[bytes], root: codec.Root | None = None) -> State:
    """Return the state of a snapshot from untrusted bytes; each chunk is checked before the next.

    Parameters
    ----------
    data, chunks
        The manifest's bytes, and the chunks in order.
    root
        The root to trust; None if later diffs lead to one.

    Raises
    ------
    SnapshotInvalid
        The bytes are not a manifest; a chunk is missing, is not the next of the manifest, or holds
        anything but further pairs; or the state has another root.
    """
    manifest = read_manifest(data)

    def invalid(message: str) -> errors.SnapshotInvalid:
        return errors.SnapshotInvalid(height=manifest.height, message=message)

    state, last = State(), b""
    added = count = size = 0
    for number, chunk in enumerate(chunks):
        if number == len(manifest.chunks):
            raise invalid("a chunk too many")
        if len(chunk) > MAX_CHUNK or size + len(chunk) > manifest.size:
            raise invalid(f"chunk {number} of {len(chunk)} bytes is too large")
        if crypto.sha256(chunk) != manifest.chunks[number]:
            raise invalid(f"chunk {number} is not the one of the manifest")
        try:
            pairs = decode_diff(chunk)
        except errors.DiiError as error:
            raise invalid(f"chunk {number}: {error}") from None
        if not pairs or pairs[0][0] <= last or any(value is None for _, value in pairs):
            raise invalid(f"chunk {number} does not go on with further pairs")
        state.apply(pairs)
        added, last = number + 1, pairs[-1][0]
        count, size = count + len(pairs), size + len(chunk)
    if (added, count, size) != (len(manifest.chunks), manifest.pairs, manifest.size):
        raise invalid(f"{count} of {manifest.pairs} pairs are there")
    if root is not None and not manifest.root == root == state.committed_root:
        raise invalid("its state is not the trusted one")
    return state


def read(store: Store, height: int) -> State:
    """Return the state of a stored snapshot, its bytes compared but not its root."""
    manifest = store.manifest(height)
    count = len(codec.loads(Manifest, manifest).chunks)
    return assemble(manifest, (store.chunk(height, number) for number in range(count)))


def state_at(store: Store, height: int) -> State:
    """Return the state after a stored block, from the newest sound snapshot and later diffs.

    The state is built once, and compared with the root that was written with the block.

    Raises
    ------
    BlockDamaged
        A diff is damaged, or no snapshot leads to the state.
    """
    starts = [start for start in store.snapshots() if start <= height]
    for start in [*starts, -1] if store.base == 0 else starts:
        with uncollected():
            try:
                state = State() if start < 0 else read(store, start)
            except (errors.StoreBroken, errors.SnapshotInvalid) as error:
                _log.warning(_PASSED_OVER, store.path, start, error.numbers["message"])
                continue
            for _, diff, _ in store.diffs(start + 1, height):
                state.apply(decode_diff(diff))
            ((_, _, root),) = store.diffs(height, height)
            if state.committed_root == root:
                return state
        _log.warning(_PASSED_OVER, store.path, start, "it leads to another state")
    raise errors.BlockDamaged(file=store.path, height=height, message="no way leads to its state")
