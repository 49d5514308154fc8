"""A chain's state in a folder, to carry to whoever wants to join without its history.

    genesis.toml, last.block, next.block, manifest, chunk-0, chunk-1, ...

The folder is of no more trust than a letter from a stranger: :func:`join` takes the hash of the
last header from elsewhere, and everything follows from that. The snapshot is made for it, of the
state before the last block: those that a node takes by itself may be many blocks old, or not there
in a small chain. The last block comes along, because the state alone has no header that proves it.
"""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path
from typing import Final

from dii import codec
from dii.consensus import node
from dii.consensus.node import Node
from dii.errors import CodecError, HomeExists, NothingToExport, ShapeMismatch, SnapshotInvalid
from dii.files import read, sync, write
from dii.genesis import Genesis
from dii.ledger import snapshot
from dii.ledger.block import MAX_BYTES, Block
from dii.network.home import GENESIS, KEYS
from dii.network.view import Opened

MANIFEST: Final = "manifest"
LAST: Final = "last.block"
NEXT: Final = "next.block"


def export(network: Opened, folder: Path) -> int:
    """Write a snapshot into a new folder; return its height. Another process may be writing.

    Raises
    ------
    NothingToExport
        The chain is too short.
    FileExistsError
        The folder exists.
    """
    store, height = network.view.store, network.height - 1
    if height < max(store.base, 1):
        raise NothingToExport(height=network.height)
    state = snapshot.state_at(store, height)
    folder.mkdir(parents=True)
    write(folder / GENESIS, network.genesis.dump().encode())
    write(folder / LAST, store.block(height) or b"")
    write(folder / NEXT, store.block(height + 1) or b"")
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
        From anybody.
    header_hash
        Of the last header in it, from somebody to trust.
    home
        Where nothing is yet.

    Raises
    ------
    SnapshotInvalid
        Something in the folder does not follow from the hash.
    HomeExists, OSError
        There is something at ``home`` already, or a file is missing, no regular file, or cannot be
        written.
    """
    if home.exists() and any(home.iterdir()):
        raise HomeExists(folder=home)
    manifest = _read(folder / MANIFEST, snapshot.MAX_MANIFEST)
    count = len(snapshot.Assembly(manifest).manifest.chunks)
    chunks = (_read(folder / f"chunk-{n}", snapshot.MAX_CHUNK) for n in range(count))
    genesis = Genesis.load(folder / GENESIS)
    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        dir=home.parent, prefix=f".{home.name}.", ignore_cleanup_errors=True
    ) as name:
        fresh = Path(name)
        last, following = _block(folder / LAST), _block(folder / NEXT)
        node.join(genesis, fresh, header_hash, last, following, manifest, chunks)
        with closing(Node(genesis, fresh)) as joined:  # makes the index
            height = joined.height
        (fresh / KEYS).mkdir(mode=0o700)
        write(fresh / GENESIS, genesis.dump().encode())
        fresh.replace(home)
    sync(home.parent)
    return height


def _read(path: Path, most: int) -> bytes:
    data = read(path, most)
    if len(data) > most:
        raise SnapshotInvalid(height="?", message=f"{path.name} has more than {most} bytes")
    return data


def _block(path: Path) -> Block:
    try:
        return codec.loads(Block, _read(path, MAX_BYTES))
    except (CodecError, ShapeMismatch) as error:
        raise SnapshotInvalid(height="?", message=f"{path.name}: {error}") from None
