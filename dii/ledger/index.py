"""Tables to query, beside the chain and never trusted.

The application reports *rows* while it executes; the index keeps them in a second SQLite file
without waiting for the disk. It can always be made again by executing the blocks again, so it is
neither hashed nor proven: proofs are made from the state.
Rows are buffered and written together once a block is durable: the commit path never waits for
them. Other processes read while the node writes, up to a height of their choice (``show``).
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from operator import index
from pathlib import Path
from typing import Any, Final

from dii import errors
from dii.ledger.store import connect, no_room

Rows = Mapping[str, Sequence[tuple[object, ...]]]
"""Table name to rows, each in the order of the table's columns after ``height``."""

FORMAT: Final = 2
_BUFFER: Final = 20_000
"""Rows kept in memory at most before they are written."""
_SECONDS: Final = 1.0
"""Time after which rows are written with the next block, so that other processes see them."""
_LONG: Final = 1_000
"""Characters at the end of a row that count as another row: events may have long texts."""

TABLES: Final = {
    "blocks": "time INTEGER, hash BLOB, app_hash BLOB, proposer BLOB, transactions INTEGER,"
    " gas INTEGER",
    "transactions": "position INTEGER, id BLOB, sender BLOB, nonce INTEGER, kind TEXT,"
    " code INTEGER, gas INTEGER, fee INTEGER, detail TEXT",
    "transfers": "position INTEGER, kind TEXT, sender BLOB, recipient BLOB, amount INTEGER",
    "receipts": "stream TEXT, epoch INTEGER, position INTEGER, gateway BLOB, payee BLOB,"
    " weight INTEGER, amount INTEGER, reason INTEGER, leaf BLOB",
    "epochs": "scope TEXT, epoch INTEGER, stream TEXT, time INTEGER, gateways INTEGER,"
    " total_weight INTEGER, pool INTEGER, paid INTEGER, unminted INTEGER, dust INTEGER,"
    " rest INTEGER",
    "events": "position INTEGER, contract BLOB, told INTEGER, event TEXT, details TEXT",
    "gateways": "gateway BLOB, scope TEXT, owner BLOB, epoch INTEGER",
    "governance": "proposal INTEGER, event TEXT, validator BLOB, time INTEGER, detail TEXT",
    "misbehaviour": "validator BLOB, evidence INTEGER",
}
"""Every table and its columns after ``height``.

Amounts are in the smallest unit; times in microseconds since 1970."""

_KEYS: Final = (
    "CREATE UNIQUE INDEX receipt_key ON receipts (stream, epoch, gateway)",
    "CREATE TABLE progress (format INTEGER, height INTEGER)",
)
# Only keys that arrive in ascending order: an index on random ids or addresses would cost more
# than the rows themselves. Scanning a million transactions for one takes a tenth of a second.


class Index:
    """Query tables of one chain.

    Parameters
    ----------
    path
        The file ``index.sqlite``; None keeps it in memory.
    readonly
        Open for reading only, while another process may write.

    Raises
    ------
    IndexMissing
        There is no index to read, or it cannot be written; ``dii rebuild`` makes it.
    IndexFull
        The disk has no room for it.
    """

    def __init__(self, path: Path | None, *, readonly: bool = False) -> None:
        self.path = path
        self._buffer: dict[str, list[tuple[object, ...]]] = {name: [] for name in TABLES}
        self._buffered = 0
        self._flushed = time.monotonic()
        with self._using():
            try:
                self._connect(readonly=readonly)
            except sqlite3.DatabaseError as error:
                if readonly or not _damaged(error):
                    raise
                self._replace()
            if not readonly and not self._is_ours():
                with self.remaking():
                    pass
            self.height = self._reached = self._progress()

    def _is_ours(self) -> bool:
        with contextlib.suppress(sqlite3.Error):
            return bool(self.db.execute("SELECT format FROM progress").fetchone() == (FORMAT,))
        return False

    @contextlib.contextmanager
    def remaking(self, height: int = 0) -> Iterator[None]:
        """Start again from a height, in one transaction: others read the old rows until its end.

        A new file in the old one's place was rejected: a process that has the old one open would
        not see it, and could take the old file's log for the new one's.
        """
        self._forget()
        with self._using():
            try:
                self._begin(height)
            except sqlite3.DatabaseError as error:
                self.db.rollback()
                if not _damaged(error):
                    raise
                self.db.close()
                self._replace()
                self._begin(height)
            self.height = self._reached = height
            try:
                with self.db:
                    yield
            except BaseException:
                self._forget()
                self.height = self._reached = self._progress()
                raise

    def _begin(self, height: int) -> None:
        self.db.execute("BEGIN IMMEDIATE")
        for name in (*TABLES, "progress"):
            self.db.execute(f"DROP TABLE IF EXISTS {name}")
        for name, sql in TABLES.items():
            key = " PRIMARY KEY" if name == "blocks" else ""
            self.db.execute(f"CREATE TABLE {name} (height INTEGER{key}, {sql})")
        for sql in _KEYS:
            self.db.execute(sql)
        self.db.execute("INSERT INTO progress VALUES (?, ?)", (FORMAT, height))

    def follow(self) -> None:
        """Read the writer's progress, in a new file if it replaced a damaged one."""
        with self._using():
            if self.path and self.path.exists() and self.path.stat().st_ino != self._inode:
                self.db.close()
                self._connect(readonly=True)
            self.height = self._reached = self._progress()

    def show(self, height: int) -> None:
        """Limit queries to the rows up to a height, also after a writer adds others."""
        rows = f"AS SELECT * FROM main.{{}} WHERE height <= {height}"
        with self._using():
            for name in TABLES:
                self.db.execute(f"DROP VIEW IF EXISTS temp.{name}")
                self.db.execute(f"CREATE TEMP VIEW {name} {rows.format(name)}")

    def _connect(self, *, readonly: bool) -> None:
        self.db = connect(self.path, readonly=readonly, durable=False)
        self._inode = self.path.stat().st_ino if self.path else 0

    def _replace(self) -> None:
        """Replace a damaged file by a new one; the chain has all that is needed to fill it."""
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)
        self._connect(readonly=False)

    def _forget(self) -> None:
        for items in self._buffer.values():
            items.clear()
        self._buffered = 0

    @contextlib.contextmanager
    def _using(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            kind = errors.IndexFull if no_room(error) else errors.IndexMissing
            raise kind(file=self.path, message=str(error)) from error

    def _progress(self) -> int:
        (height,) = self.db.execute("SELECT height FROM progress").fetchone()
        return int(height)

    def put(self, height: int, rows: Rows) -> None:
        """Take a block's rows, to write them now or with a later block's."""
        for table, items in rows.items():
            self._buffer[table] += [(height, *item) for item in items]
            texts = sum(len(item[-1]) for item in items if isinstance(item[-1], str))
            self._buffered += len(items) + texts // _LONG
        self.height = height
        if self._buffered >= _BUFFER or time.monotonic() >= self._flushed + _SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write the buffered rows and the height that they reach; all or nothing."""
        if self.height == self._reached:
            return
        with self._using(), contextlib.nullcontext() if self.db.in_transaction else self.db:
            for table, items in self._buffer.items():
                if items:
                    marks = ", ".join("?" * len(items[0]))
                    self.db.executemany(f"INSERT INTO {table} VALUES ({marks})", items)
            self.db.execute("UPDATE progress SET height = ?", (self.height,))
        self._forget()
        self._reached, self._flushed = self.height, time.monotonic()

    def query(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run a query over all rows that were put."""
        self.flush()
        # Numbers from data frames are numpy's, which SQLite would take for bytes.
        plain = [index(value) if hasattr(value, "__index__") else value for value in parameters]
        with self._using():
            return self.db.execute(sql, plain).fetchall()

    def close(self) -> None:
        """Write the buffered rows and close the file."""
        self.flush()
        self.db.close()


def _damaged(error: sqlite3.DatabaseError) -> bool:
    """Tell a file that is no database from one that is locked, full or forbidden."""
    return type(error) is sqlite3.DatabaseError
