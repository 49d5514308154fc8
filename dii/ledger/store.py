"""Durable store of a chain: a block and a state diff per height, and snapshots, in an SQLite file.

A commit is one transaction (WAL, ``synchronous=FULL``): when ``append`` returns, the block and its
diff survive a power cut; before, neither is there. Each is one blob instead of a row per key: 165
commits a second against 32, since a commit then touches a few pages. Opening reads the newest
snapshot and the diffs after it, not transactions (:mod:`dii.ledger.snapshot`).

Disks lose data. SQLite detects a malformed page, not a changed digit in it; and if a frame of its
write-ahead log is damaged, it takes all that follows for a commit that never ended. So a row
carries the SHA-256 of its height and bytes, compared whenever they are read, and a second file
holds the last acknowledged height. That file is not synced, so after a power cut it may lag behind
the chain; if it is ahead, blocks were lost, and opening fails. Reading uses a connection that
cannot write, since closing any other would fold a damaged log into the file; the connection that
writes is opened with the first block. A hash chain over the rows was rejected: it would detect no
more of a disk's faults, and forged rows could have a forged chain. Headers, roots and ``verify``
detect forgery.

One process writes: it holds a lock on the second file, which the kernel releases however the
process ends. Others read while it writes. The lock needs a POSIX system.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from dii import errors
from dii.codec import Root

try:
    import fcntl
except ImportError as error:
    raise ImportError("dii locks files as POSIX systems do: on Windows, run it in WSL") from error

FORMAT: Final = 4
KEEP: Final = 2
"""Snapshots kept, beside the one that a chain may begin with."""
QUICK: Final = 1 << 26
"""Bytes of a file up to which a writer first checks the structure of its pages."""

_SCHEMA: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE blocks (height INTEGER PRIMARY KEY, sums BLOB NOT NULL, root BLOB NOT NULL,
    diff BLOB NOT NULL, block BLOB NOT NULL, commits BLOB NOT NULL);
CREATE TABLE snapshots (height INTEGER PRIMARY KEY, sum BLOB NOT NULL, manifest BLOB NOT NULL);
CREATE TABLE chunks (place INTEGER PRIMARY KEY, chunk BLOB NOT NULL);
"""
# The columns that opening reads come before the block, so that it skips the block's pages.
_PLACES: Final = 16
"""Bits of a chunk's place that are its number; those above are its snapshot's height."""


class Piece(NamedTuple):
    """One chunk of a snapshot of the state after a height; the last brings the manifest."""

    height: int
    number: int
    chunk: bytes
    manifest: bytes = b""


GONE: Final = "no chain is in it; put a copy back, or join with another node's snapshot"


class Store:
    """Blocks, diffs and snapshots of one chain.

    Parameters
    ----------
    path
        The file ``chain.sqlite``; None keeps everything in memory.
    genesis_hash
        Written at creation, compared at every opening.
    readonly
        Open for reading only, without a lock.

    Attributes
    ----------
    closed
        Whether the owner closed the store, or a write failed.

    Raises
    ------
    StoreLocked
        Another process writes to this chain.
    WrongChain
        The file belongs to another genesis.
    BlockDamaged
        Blocks that were acknowledged are missing.
    StoreBroken
        The file cannot be read as a chain.
    """

    def __init__(self, path: Path | None, genesis_hash: bytes, *, readonly: bool = False) -> None:
        self.path = path
        self.closed = False
        self._genesis = genesis_hash
        self._lock: IO[bytes] | None = None
        self._writer: sqlite3.Connection | None = None
        if path is not None and not readonly:
            self._lock = _lock(path)
        try:
            with self._reading():
                if path is None:
                    self._db = self._writer = connect(None)
                else:
                    if not readonly:
                        path.touch()
                    elif not path.exists():
                        raise errors.StoreBroken(file=path, message=GONE)
                    self._db = connect(path, readonly=True)
                self._check(create=not readonly)
        except BaseException:
            self.close()
            raise

    def _check(self, *, create: bool) -> None:
        acknowledged = _acknowledged(self.path)  # before the height, which may rise meanwhile
        if create and acknowledged < 0 and self._is_empty():
            values = f"('genesis', x'{self._genesis.hex()}'), ('format', x'{FORMAT:02x}')"
            script = f"BEGIN; {_SCHEMA} INSERT INTO meta VALUES {values}; COMMIT;"
            self._writing().executescript(script)
        elif create and self.path and self.path.stat().st_size <= QUICK:
            self.check()
        if self._is_empty():
            raise errors.StoreBroken(file=self.path, message=GONE)
        meta = dict(self._db.execute("SELECT key, value FROM meta"))
        if meta.get("format") != bytes([FORMAT]):
            message = f"its format {meta.get('format')!r} is not {FORMAT}"
            raise errors.StoreBroken(file=self.path, message=message)
        if meta.get("genesis") != self._genesis:
            raise errors.WrongChain(file=self.path, expected=self._genesis.hex()[:8])
        if acknowledged > self.height:
            message = (
                f"missing, as are all up to {acknowledged}. If an older copy was put back on"
                " purpose, delete chain.lock to go on from there"
            )
            raise errors.BlockDamaged(file=self.path, height=self.height + 1, message=message)

    def _is_empty(self) -> bool:
        """Tell whether the file was never written (its list of tables could also be damaged)."""
        (pages,) = self._db.execute("PRAGMA page_count").fetchone()
        (tables,) = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        return bool(pages <= 1 and not tables)

    def check(self) -> None:
        """Check the structure of the file's pages, for damage outside the rows read so far.

        Raises
        ------
        BlockDamaged
            Naming the first height that the damage touches.
        StoreBroken
            The damage touches no block.
        """
        try:
            found = str(self._db.execute("PRAGMA quick_check(1)").fetchone()[0])
        except sqlite3.Error as error:
            found = str(error)
        if found != "ok":
            for _ in self.blocks(self.base):
                pass
            message = f"damaged outside its blocks ({found})"
            raise errors.StoreBroken(file=self.path, message=message)

    @property
    def height(self) -> int:
        """Height of the last durable block; -1 before the genesis is written as height 0."""
        return self._number("SELECT coalesce(max(height), -1) FROM blocks")

    @property
    def base(self) -> int:
        """The first height: 0, or that of the snapshot with which the chain began here."""
        return self._number("SELECT coalesce(min(height), 0) FROM blocks")

    def diff_bytes(self, first: int) -> int:
        """Return how many bytes the diffs from a height on have."""
        query = "SELECT coalesce(sum(length(diff)), 0) FROM blocks WHERE height >= ?"
        return self._number(query, first)

    def chunk_bytes(self, height: int) -> int:
        """Return how many bytes the chunks of a height's snapshot have."""
        query = f"SELECT coalesce(sum(length(chunk)), 0) FROM chunks WHERE place >> {_PLACES} = ?"
        return self._number(query, height)

    def _number(self, query: str, *parameters: int) -> int:
        with self._reading():
            return int(self._db.execute(query, parameters).fetchone()[0])

    # --- writing ---------------------------------------------------------------------------

    def append(
        self,
        height: int,
        block: bytes,
        diff: bytes,
        root: Root,
        *pieces: Piece,
        commit: bytes = b"",
    ) -> None:
        """Make a block and its diff durable before returning.

        Parameters
        ----------
        height, block, diff
            As :meth:`blocks` yields them.
        root
            The state's root after the block.
        pieces
            Pieces of snapshots, written with the block. The last piece completes a snapshot, and
            deletes all but the last two.
        commit
            The precommits for the block that this replica saw.

        Raises
        ------
        StoreBroken
            The disk is full or failing; nothing of the block was written. The store is closed,
            since no other block may follow the lost one.
        """
        sums = b"".join(self._sum(height, *one) for one in ((root, diff), (block,), (commit,)))
        row = (height, sums, root, diff, block, commit)
        with self._transaction(f"block {height}") as db:
            db.execute("INSERT INTO blocks VALUES (?, ?, ?, ?, ?, ?)", row)
            for piece in pieces:
                self._put(db, piece)
        if self._lock is not None:
            with contextlib.suppress(OSError):  # the block is durable all the same
                self._lock.seek(0)
                self._lock.write(b"%020d\n" % height)

    def keep(self, pieces: Iterable[Piece]) -> None:
        """Make pieces of a snapshot durable without a block; raises as :meth:`append` does."""
        with self._transaction("a snapshot") as db:
            for piece in pieces:
                self._put(db, piece)

    @contextlib.contextmanager
    def _transaction(self, what: str) -> Iterator[sqlite3.Connection]:
        try:
            with self._writing() as db:
                yield db
        except sqlite3.Error as error:
            self.close()
            message = f"{what} was not written ({error}); make room on the disk and start again"
            raise errors.StoreBroken(file=self.path, message=message) from error

    def _put(self, db: sqlite3.Connection, piece: Piece) -> None:
        place = piece.height << _PLACES | piece.number
        db.execute("INSERT INTO chunks VALUES (?, ?)", (place, piece.chunk))
        if piece.manifest:
            row = (piece.height, self._sum(piece.height, piece.manifest), piece.manifest)
            db.execute("INSERT INTO snapshots VALUES (?, ?, ?)", row)
            kept = f"SELECT height FROM snapshots ORDER BY height DESC LIMIT {KEEP}"
            base = "SELECT min(height) FROM blocks"
            db.execute(f"DELETE FROM snapshots WHERE height NOT IN ({kept}) AND height > ({base})")
        if piece.manifest or not piece.number:  # also those of a snapshot that was never completed
            rest = f"place >> {_PLACES} NOT IN (SELECT height FROM snapshots UNION SELECT ?)"
            db.execute(f"DELETE FROM chunks WHERE {rest}", (piece.height,))

    def _writing(self) -> sqlite3.Connection:
        if self._writer is None:
            if self._lock is None:
                raise sqlite3.OperationalError("opened to look only")
            self._writer = connect(self.path)
        return self._writer

    # --- reading ---------------------------------------------------------------------------

    def block(self, height: int) -> bytes | None:
        """Return the bytes of a block, or None before the first and after the last.

        Raises
        ------
        BlockDamaged
            They are missing, or not those that were written.
        """
        if not self.base <= height <= self.height:
            return None
        ((_, _, _, block, _),) = self._rows(", block, commits", height, height)
        return bytes(block)

    def commit(self, height: int) -> bytes:
        """Return the bytes of the commit of a height that there is; raises as :meth:`block`."""
        ((_, _, _, _, commit),) = self._rows(", block, commits", height, height)
        return bytes(commit)

    def blocks(self, first: int = 1) -> Iterator[tuple[int, bytes, Root, bytes, bytes]]:
        """Yield (height, diff, root, block, commit) in order of height, to the last.

        Raises
        ------
        BlockDamaged
            A height is missing, or its bytes are not those that were written.
        """
        yield from self._rows(", block, commits", first, self.height)

    def diffs(self, first: int, last: int) -> Iterator[tuple[int, bytes, Root]]:
        """Yield (height, diff, root) in order of height, from the genesis state at height 0."""
        yield from self._rows("", first, last)

    def _rows(self, more: str, first: int, last: int) -> Iterator[Any]:
        columns = f"height, sums, root, diff{more}"
        query = f"SELECT {columns} FROM blocks WHERE height BETWEEN ? AND ? ORDER BY height"
        with self._reading():
            rows = self._db.execute(query, (first, last))
        for expected in range(first, last + 1):
            with self._reading(expected):
                height, sums, root, diff, *parts = rows.fetchone() or [None] * 4
            if height != expected:
                raise errors.BlockDamaged(file=self.path, height=expected, message="missing")
            self._compare(height, sums, 0, root, diff)
            for at, part in enumerate(parts, 1):
                self._compare(height, sums, 32 * at, part)
            yield (height, diff, root, *parts)

    def snapshots(self) -> list[int]:
        """Return the heights of the snapshots, the newest first."""
        with self._reading():
            rows = self._db.execute("SELECT height FROM snapshots ORDER BY height DESC")
            return [height for (height,) in rows]

    def manifest(self, height: int) -> bytes:
        """Return the manifest of a snapshot.

        Raises
        ------
        BlockDamaged
            There is none, or it is not what was written.
        """
        with self._reading(height):
            query = "SELECT sum, manifest FROM snapshots WHERE height = ?"
            total, manifest = self._db.execute(query, (height,)).fetchone() or (b"", b"")
        self._compare(height, total, 0, manifest)
        return bytes(manifest)

    def chunk(self, height: int, number: int) -> bytes:
        """Return a chunk of a snapshot, empty where there is none; its hash is the manifest's."""
        with self._reading(height):
            query = "SELECT chunk FROM chunks WHERE place = ?"
            row = self._db.execute(query, (height << _PLACES | number,)).fetchone()
        return row[0] if row and type(row[0]) is bytes else b""

    def _sum(self, height: int, *parts: bytes) -> bytes:
        return sha256(b"".join((self._genesis, height.to_bytes(8), *parts))).digest()

    def _compare(self, height: int, sums: object, at: int, *parts: object) -> None:
        known = [part for part in (sums, *parts) if isinstance(part, bytes)]
        if len(known) <= len(parts) or known[0][at : at + 32] != self._sum(height, *known[1:]):
            raise errors.BlockDamaged(file=self.path, height=height, message="not what was written")

    @contextlib.contextmanager
    def _reading(self, height: int | None = None) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            if height is not None:
                raise errors.BlockDamaged(file=self.path, height=height, message=error) from error
            raise errors.StoreBroken(file=self.path, message=why(error)) from error

    def close(self) -> None:
        """Close the file and release the lock."""
        self.closed = True
        if hasattr(self, "_db"):
            self._db.close()
        if self._writer is not None:
            self._writer.close()  # the last to close folds the log into the file
        if self._lock is not None:
            self._lock.close()


def connect(
    path: Path | None, *, readonly: bool = False, durable: bool = True
) -> sqlite3.Connection:
    """Open an SQLite file in WAL mode.

    Parameters
    ----------
    path
        The file; None for one in memory.
    readonly
        Open without the right to write.
    durable
        True waits for the disk at each commit (``synchronous=FULL``), False never.
    """
    if path is None:
        return sqlite3.connect(":memory:", check_same_thread=False)
    uri = f"{path.absolute().as_uri()}?mode={'ro' if readonly else 'rwc'}"
    db = sqlite3.connect(uri, uri=True, timeout=30, check_same_thread=False)
    try:
        db.execute("PRAGMA cell_size_check=ON")
        db.execute("PRAGMA schema_version")
    except sqlite3.OperationalError:
        log = path.with_name(f"{path.name}-wal")
        if not readonly or not path.exists() or (log.exists() and log.stat().st_size):
            raise
        # SQLite cannot share a file in a read-only folder; no other process writes it, either.
        db.close()
        db = sqlite3.connect(f"{uri}&immutable=1", uri=True, check_same_thread=False)
    db.execute("PRAGMA temp_store=MEMORY")
    if not readonly:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute(f"PRAGMA synchronous={'FULL' if durable else 'OFF'}")
    return db


def no_room(error: Exception) -> bool:
    """Tell whether an error may come from a full disk."""
    name = str(getattr(error, "sqlite_errorname", ""))
    return name.startswith(("SQLITE_FULL", "SQLITE_IOERR"))


def why(error: Exception) -> str:
    """Return an error's text, with a question if the disk may be full."""
    return f"{error}: is there room on its disk?" if no_room(error) else str(error)


def _acknowledged(path: Path | None) -> int:
    """Return the height in the lock's file, or -1, since the file is not synced."""
    try:
        return int(path.with_suffix(".lock").read_bytes()) if path else -1
    except (OSError, ValueError):
        return -1


def _lock(path: Path) -> IO[bytes]:
    try:
        lock = path.with_suffix(".lock")
        lock.touch()
        file = lock.open("r+b", buffering=0)
    except OSError as error:
        raise errors.StoreBroken(file=path, message=str(error)) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise errors.StoreLocked(file=path) from None
    return file
