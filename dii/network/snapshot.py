"""Export of a chain's state to a folder, with which others join without its history.

    genesis.toml, last.block, next.block, next.commit, manifest, chunk-0, chunk-1, ...

Nobody needs to trust the folder: :func:`join` takes the hash of the last header from elsewhere, and
checks everything against it. The snapshot is of the state before the last block: snapshots that a
node takes by itself may be many blocks old, or missing in a small chain. The last block is in the
folder, too, because the state alone has no header that proves it.
"""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from dii import codec, errors
from dii.consensus import node
from dii.files import read, sync, write
from dii.genesis import Genesis
from dii.ledger import snapshot
from dii.ledger.block import MAX_BYTES, Block, Commit
from dii.network.home import GENESIS, KEYS
from dii.network.view import View

MANIFEST: Final = "manifest"
LAST: Final = "last.block"
NEXT: Final = "next.block"
COMMIT: Final = "next.commit"


def export(network: View, folder: Path) -> int:
    """Write a snapshot into a new folder, even while another process writes; return its height.

    Raises
    ------
    NothingToExport
        The chain is too short.
    FileExistsError
        The folder exists.
    """
    store, height = network.view.store, network.height - 1
    if height < max(store.base, 1):
        raise errors.NothingToExport(height=network.height)
    state = snapshot.state_at(store, height)
    folder.mkdir(parents=True)
    write(folder / GENESIS, network.genesis.dump().encode())
    write(folder / LAST, store.block(height) or b"")
    write(folder / NEXT, store.block(height + 1) or b"")
    write(folder / COMMIT, store.commit(height + 1))
    for piece in snapshot.cut(height, state.committed_root, state.pairs()):
        write(folder / f"chunk-{piece.number}", piece.chunk)
        if piece.manifest:
            write(folder / MANIFEST, piece.manifest)
    return height


def join(folder: Path, header_hash: bytes, home: Path) -> int:
    """Make a home of a folder that :func:`export` wrote, whole or not at all; return its height.

    Parameters
    ----------
    folder
        The exported folder, from anybody.
    header_hash
        Hash of the last header in it, from a trusted source.
    home
        Path of the new home.

    Raises
    ------
    SnapshotInvalid
        Something in the folder does not follow from the hash.
    HomeExists, OSError
        There is something at ``home`` already, or a file is missing, no regular file, or cannot be
        written.
    """
    if home.exists() and any(home.iterdir()):
        raise errors.HomeExists(folder=home)
    manifest = _read(folder / MANIFEST, snapshot.MAX_MANIFEST)
    count = len(snapshot.read_manifest(manifest).chunks)
    chunks = (_read(folder / f"chunk-{n}", snapshot.MAX_CHUNK) for n in range(count))
    genesis = Genesis.load(folder / GENESIS)
    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        dir=home.parent, prefix=f".{home.name}.", ignore_cleanup_errors=True
    ) as name:
        fresh = Path(name)
        last, following = _loaded(folder / LAST, Block), _loaded(folder / NEXT, Block)
        commit = _loaded(folder / COMMIT, Commit)
        node.join(genesis, fresh, header_hash, last, following, commit, manifest, chunks)
        with closing(node.Node(genesis, fresh)) as joined:  # makes the index
            height = joined.height
        (fresh / KEYS).mkdir(mode=0o700)
        write(fresh / GENESIS, genesis.dump().encode())
        fresh.replace(home)
    sync(home.parent)
    return height


def _read(path: Path, most: int) -> bytes:
    data = read(path, most)
    if len(data) > most:
        raise errors.SnapshotInvalid(height="?", message=f"{path.name} has more than {most} bytes")
    return data


def _loaded(path: Path, kind: Any) -> Any:
    try:
        return codec.loads(kind, _read(path, MAX_BYTES))
    except (errors.CodecError, errors.ShapeMismatch) as error:
        raise errors.SnapshotInvalid(height="?", message=f"{path.name}: {error}") from None
