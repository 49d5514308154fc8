"""The truth on disk: one block and one state diff a height, in one SQLite file.

A commit is one transaction (WAL, ``synchronous=FULL``): when ``append`` returns, the block and its
diff survive a power cut; before, neither is there. One blob each instead of a row a key: 165
commits a second against 32, since a commit then touches a few pages. Opening replays diffs, not
transactions.

One process writes, held by a lock on a file beside the database, which the kernel releases however
the process ends. Others read while it writes.
"""

from __future__ import annotations

import contextlib
import fcntl
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

from dii.errors import StoreBroken, StoreLocked, WrongChain

FORMAT: Final = 1

_SCHEMA: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE blocks (height INTEGER PRIMARY KEY, block BLOB NOT NULL, diff BLOB NOT NULL);
"""


class Store:
    """Blocks and diffs of one chain.

    Parameters
    ----------
    path
        The file ``chain.sqlite``; None keeps everything in memory.
    genesis_hash
        Written at creation, compared at every opening.
    readonly
        Look only: needs no lock and takes none.

    Raises
    ------
    StoreLocked
        Another process writes to this chain.
    WrongChain
        The file belongs to another genesis.
    StoreBroken
        The file cannot be read as a chain.
    """

    def __init__(self, path: Path | None, genesis_hash: bytes, *, readonly: bool = False) -> None:
        self.path = path
        self._lock: IO[bytes] | None = None
        if path is not None and not readonly:
            self._lock = _lock(path)
        try:
            with self._reading():
                self._db = connect(path, readonly=readonly)
                self._check(genesis_hash, create=not readonly)
        except BaseException:
            self.close()
            raise

    def _check(self, genesis_hash: bytes, *, create: bool) -> None:
        known = self._db.execute("SELECT name FROM sqlite_master WHERE name = 'meta'").fetchone()
        if known is None and create:
            values = f"('genesis', x'{genesis_hash.hex()}'), ('format', x'{FORMAT:02x}')"
            self._db.executescript(f"BEGIN; {_SCHEMA} INSERT INTO meta VALUES {values}; COMMIT;")
        meta = dict(self._db.execute("SELECT key, value FROM meta"))
        if meta.get("format") != bytes([FORMAT]):
            raise StoreBroken(file=self.path, message=f"format {meta.get('format')!r} is not ours")
        if meta.get("genesis") != genesis_hash:
            raise WrongChain(file=self.path, expected=genesis_hash.hex()[:8])

    @property
    def height(self) -> int:
        """Height of the last durable block; -1 before the genesis is written as height 0."""
        with self._reading():
            (height,) = self._db.execute("SELECT max(height) FROM blocks").fetchone()
        return -1 if height is None else int(height)

    def append(self, height: int, block: bytes, diff: bytes) -> None:
        """Make a block and its diff durable; they are when this returns.

        Raises
        ------
        StoreBroken
            The disk is full or failing; nothing of the block is there. The store is closed: what
            was executed is lost, and nothing may follow it.
        """
        try:
            with self._db:
                self._db.execute("INSERT INTO blocks VALUES (?, ?, ?)", (height, block, diff))
        except sqlite3.Error as error:
            self.close()
            message = f"block {height} was not written ({error}); mend the disk and start again"
            raise StoreBroken(file=self.path, message=message) from error

    def block(self, height: int) -> bytes | None:
        """Return the bytes of a block, or None where there is none."""
        with self._reading():
            query = "SELECT block FROM blocks WHERE height = ?"
            row = self._db.execute(query, (height,)).fetchone()
        return row[0] if row else None

    def blocks(self, first: int = 1) -> Iterator[tuple[int, bytes, bytes]]:
        """Yield (height, block, diff) in order of height.

        Raises
        ------
        StoreBroken
            A height is missing.
        """
        yield from self._rows("block, diff", first)

    def diffs(self, first: int = 0) -> Iterator[tuple[int, bytes]]:
        """Yield (height, diff) in order of height, from the genesis state at height 0."""
        yield from self._rows("diff", first)

    def _rows(self, columns: str, first: int) -> Iterator[Any]:
        query = f"SELECT height, {columns} FROM blocks WHERE height >= ? ORDER BY height"
        with self._reading():
            for expected, row in enumerate(self._db.execute(query, (first,)), first):
                if row[0] != expected:
                    raise StoreBroken(file=self.path, message=f"block {expected} is missing")
                yield row

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreBroken(file=self.path, message=str(error)) from error

    def close(self) -> None:
        """Close the file and release the lock."""
        if hasattr(self, "_db"):
            self._db.close()
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
    if not readonly:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute(f"PRAGMA synchronous={'FULL' if durable else 'OFF'}")
    return db


def _lock(path: Path) -> IO[bytes]:
    try:
        file = path.with_suffix(".lock").open("ab")
    except OSError as error:
        raise StoreBroken(file=path, message=str(error)) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise StoreLocked(file=path) from None
    return file
