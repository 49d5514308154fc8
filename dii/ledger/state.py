"""State of a chain: typed tables over key-value pairs, with a journal.

The problem: handlers read and write records (`Account`, `Binding`), the tree and the store take
bytes, and a transaction that fails half-way must leave nothing but its fee. A block touches the
same few accounts again and again, so encoding at each write would be most of its cost.

The design: three layers per table. *committed* holds bytes by key, the truth. *pending* holds the
records that the current block has written, by the parts of their keys; a journal keeps the value
that each write replaced, so that :meth:`State.revert` goes back to any mark, and nested attempts
are further marks. *cache* keeps decoded records of committed bytes from block to block. Keys and
records are encoded once, when the block's :class:`Diff` is asked for, and values that are equal to
their committed bytes again are left out: the diff, like the root, depends on the two states only,
not on the path between them.

Records are frozen dataclasses, so returning the object itself is safe. A layered dictionary per
nested attempt (``ChainMap``) was rejected: reads slow down with depth and merging costs as much as
the journal saves.

Keys are canonical arrays ``[table, *parts]``. In their byte order integers ascend, and shorter
byte strings and texts come before longer ones.
"""

from __future__ import annotations

import contextlib
import gc
from bisect import bisect_left
from collections.abc import Iterator
from itertools import chain
from typing import Any, Final, Generic, TypeAlias, TypeVar

from dii import codec, errors
from dii.ledger.tree import Tree, TreeProof

Part: TypeAlias = bytes | int | str
Diff: TypeAlias = tuple[tuple[bytes, bytes | None], ...]
"""Keys in ascending order with their new values, None where deleted."""

MAX_DIFF: Final = 1 << 30
"""Bytes of an encoded diff; a snapshot of a million accounts takes 0.1 of it."""
MAX_CACHE: Final = 1 << 17
"""Decoded records that a table keeps in memory, beside those that a block writes."""
GREAT: Final = 20_000
"""Objects that a block must leave before they are exempt from garbage collection."""

R = TypeVar("R")


_UNREAD: Final[Any] = object()
"""Value of a missing entry in a dictionary whose None means deleted."""


class Table(Generic[R]):
    """A kind of record in the state.

    Parameters
    ----------
    name
        1 to 23 bytes, unique among tables.
    shape
        A frozen dataclass, or another shape of :mod:`dii.codec` for a bare value.
    """

    __slots__ = ("name", "prefix", "shape")

    def __init__(self, name: str, shape: type[R]) -> None:
        if not 1 <= len(name.encode()) <= 23:
            raise ValueError(f"a table's name has 1 to 23 bytes, not {name!r}")
        self.name = name
        self.shape = shape
        self.prefix = codec.encode(name)

    def key(self, *parts: Part) -> bytes:
        """Return the key's bytes: the canonical array ``[name, *parts]``."""
        return _key(self.prefix, parts)


def _prefix(key: bytes) -> bytes:
    """Return the encoded table name within a key."""
    return key[1 : 2 + (key[1] & 0x1F)] if len(key) > 1 else b""


def _key(prefix: bytes, parts: tuple[Part, ...]) -> bytes:
    if len(parts) == 1:
        part = parts[0]
        if isinstance(part, bytes) and len(part) < 24:  # addresses and hashes of ids
            return b"\x82%b%c%b" % (prefix, 0x40 | len(part), part)
    return bytes((0x81 + len(parts),)) + prefix + b"".join(map(codec.encode, parts))


class _Rows:
    """Content of one table, in the layers described at the top of the module."""

    __slots__ = ("cache", "committed", "order", "pending", "prefix", "shape")

    def __init__(self, prefix: bytes) -> None:
        self.prefix = prefix
        self.shape: object = None  # known once the table is written to
        self.committed: dict[bytes, bytes] = {}
        self.order: list[bytes] | None = None
        self.cache: dict[tuple[Part, ...], Any] = {}
        self.pending: dict[tuple[Part, ...], Any] = {}

    def load(self, shape: type[R], key: bytes) -> R | None:
        """Return the committed record of a key, decoded."""
        value = self.committed.get(key)
        return None if value is None else codec.loads(shape, value)

    def keys(self, prefix: tuple[Part, ...]) -> list[bytes]:
        """Return the keys that begin with these parts, committed and pending, in order."""
        wanted = self.prefix + b"".join(map(codec.encode, prefix))
        fresh = {_key(self.prefix, parts) for parts in self.pending}
        keys = [key for key in fresh if key.startswith(wanted, 1)]
        if self.order is None:
            self.order = sorted(self.committed)
        order = self.order
        # The first byte counts the parts; no item of an array begins with 0xff.
        for head in range(order[0][0], order[-1][0] + 1) if order else ():
            begin = bytes((head,)) + wanted
            low = bisect_left(order, begin)
            high = bisect_left(order, begin + b"\xff", low)
            keys += [key for key in order[low:high] if key not in fresh]
        keys.sort()
        return keys


class State:
    """The replicated state, in memory."""

    def __init__(self) -> None:
        self._tables: dict[bytes, _Rows] = {}
        self._tree = Tree()
        self._replayed: dict[bytes, bytes | None] = {}
        self._journal: list[tuple[dict[tuple[Part, ...], Any], tuple[Part, ...], Any]] = []
        self._sealed: tuple[Diff, Tree] | None = None

    # --- records ---------------------------------------------------------------------------

    def get(self, table: Table[R], *parts: Part) -> R | None:
        """Return a record, or None if there is none."""
        rows = self._tables.get(table.prefix) or self._open(table.prefix)
        record: R | None = rows.pending.get(parts, _UNREAD)
        if record is _UNREAD:
            record = rows.cache.get(parts, _UNREAD)
            if record is _UNREAD:
                record = rows.load(table.shape, _key(table.prefix, parts))
                if len(rows.cache) >= MAX_CACHE:  # absent records count: a block may ask for many
                    rows.cache.clear()
                rows.cache[parts] = record
        return record

    def require(self, table: Table[R], *parts: Part) -> R:
        """Return a record that must exist."""
        record = self.get(table, *parts)
        assert record is not None, f"no record {parts} in table {table.name}"
        return record

    def put(self, table: Table[R], record: R, *parts: Part) -> None:
        """Insert or replace a record."""
        self._write(table, parts, record)

    def delete(self, table: Table[R], *parts: Part) -> None:
        """Remove a record, if there is one."""
        self._write(table, parts, None)

    def _write(self, table: Table[R], parts: tuple[Part, ...], record: R | None) -> None:
        rows = self._tables.get(table.prefix) or self._open(table.prefix)
        rows.shape, pending = table.shape, rows.pending
        self._journal.append((pending, parts, pending.get(parts, _UNREAD)))
        pending[parts] = record
        self._sealed = None

    def _open(self, prefix: bytes) -> _Rows:
        rows = self._tables[prefix] = _Rows(prefix)
        return rows

    def items(self, table: Table[R], *prefix: Part) -> Iterator[tuple[tuple[Part, ...], R]]:
        """Yield (parts, record) of a table in key order, of all keys that begin with ``prefix``.

        Keys are read at the first step, records at each step, so records may be put and deleted
        in between. After a block that added keys to the table they are sorted again: cheap for
        small tables, a second for a million keys.
        """
        rows = self._tables.get(table.prefix) or self._open(table.prefix)
        for key in rows.keys(prefix):
            parts = codec.decode(key)[1:]
            record = rows.pending.get(parts, _UNREAD)
            if record is _UNREAD:  # not cached: a scan of everything would flush what is hot
                record = rows.load(table.shape, key)
            if record is not None:
                yield parts, record

    # --- journal ---------------------------------------------------------------------------

    def mark(self) -> int:
        """Return a mark to which :meth:`revert` can go back, until the block's end."""
        return len(self._journal)

    def revert(self, mark: int) -> None:
        """Undo all writes since a mark; since 0, those of the whole block."""
        journal = self._journal
        while len(journal) > mark:
            pending, parts, before = journal.pop()
            if before is _UNREAD:
                del pending[parts]
            else:
                pending[parts] = before
            self._sealed = None

    # --- the block's end -------------------------------------------------------------------

    def changes(self) -> Diff:
        """Return the pending differences from the committed state."""
        return self._seal()[0]

    def root(self) -> codec.Root:
        """Return the root after the pending changes."""
        return self._seal()[1].root

    def _seal(self) -> tuple[Diff, Tree]:
        if self._sealed is None:
            changes: list[tuple[bytes, bytes | None]] = []
            for rows in self._tables.values():
                for parts, record in rows.pending.items():
                    key = _key(rows.prefix, parts)
                    value = None if record is None else codec.dumps(record, rows.shape)
                    if value != rows.committed.get(key):
                        changes.append((key, value))
            changes.sort()
            self._sealed = tuple(changes), self._committed_tree().update(changes)
        return self._sealed

    def commit(self) -> Diff:
        """Make the pending changes the committed state and return them."""
        diff, self._tree = self._seal()
        self._absorb(diff)
        for rows in self._tables.values():
            rows.cache.update(rows.pending)
            rows.pending.clear()
            if len(rows.cache) > MAX_CACHE:
                rows.cache.clear()
        self._journal.clear()
        self._sealed = None
        return diff

    def apply(self, diff: Diff) -> None:
        """Commit a stored diff without execution, as at opening; nothing may be pending.

        Hashing waits until a root or proof is asked for, so replaying a chain hashes only once.
        """
        if self._journal:
            raise errors.LedgerError(message="no block can be replayed over pending changes")
        self._absorb(diff)
        self._replayed.update(diff)
        self._sealed = None
        for rows in self._tables.values():
            rows.cache.clear()

    def pairs(self) -> dict[bytes, bytes]:
        """Return a copy of all committed pairs, which later commits do not change."""
        return dict(chain.from_iterable(rows.committed.items() for rows in self._tables.values()))

    def _absorb(self, diff: Diff) -> None:
        for key, value in diff:
            prefix = _prefix(key)
            rows = self._tables.get(prefix) or self._open(prefix)
            if value is None:
                rows.committed.pop(key, None)  # "items" skips a key that is left in "order"
            else:
                if key not in rows.committed:
                    rows.order = None
                rows.committed[key] = value

    # --- the committed state ---------------------------------------------------------------

    def _committed_tree(self) -> Tree:
        if self._replayed:
            self._tree = self._tree.update(self._replayed.items())
            self._replayed = {}
        return self._tree

    def get_bytes(self, key: bytes) -> bytes | None:
        """Return the committed value of a key, as proofs carry it."""
        rows = self._tables.get(_prefix(key))
        return None if rows is None else rows.committed.get(key)

    def prove_key(self, key: bytes) -> TreeProof:
        """Return the proof of a key's committed value, or of its absence."""
        return self._committed_tree().prove(key)

    @property
    def committed_root(self) -> codec.Root:
        """The root without the pending changes."""
        return self._committed_tree().root

    def touched(self, table: Table[R]) -> Iterator[tuple[R | None, R | None]]:
        """Yield (committed, pending) of each record of a table that the block has written."""
        rows = self._tables.get(table.prefix) or self._open(table.prefix)
        for parts, after in rows.pending.items():
            before = rows.cache.get(parts, _UNREAD)
            if before is _UNREAD:
                before = rows.load(table.shape, _key(table.prefix, parts))
            yield before, after


# --- diffs as the store keeps them -------------------------------------------------------------


def encode_diff(diff: Diff) -> bytes:
    """Return the canonical array of keys and values in turn."""
    return codec.encode([item for change in diff for item in change])


def decode_diff(data: bytes) -> Diff:
    """Read a diff.

    Raises
    ------
    CodecError, ShapeMismatch
        The bytes are not canonical, or not of keys in ascending order with their values.
    """
    items = codec.decode(data, MAX_DIFF)
    if type(items) is not tuple or len(items) & 1:
        raise errors.ShapeMismatch(shape="diff", message="an array of keys and values is expected")
    before = b""
    for key, value in zip(items[::2], items[1::2]):
        if type(key) is not bytes or key <= before:
            raise errors.ShapeMismatch(shape="diff", message="keys in ascending order are expected")
        if value is not None and type(value) is not bytes:
            raise errors.ShapeMismatch(shape="diff", message="bytes, or null, are expected")
        before = key
    return tuple(zip(items[::2], items[1::2]))


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Defer garbage collection: a block makes many objects and no cycles among them.

    A collection in the middle walks through the whole state; that was a sixth of a block's time. A
    collection after a large block walks through all its objects: a fifth of settling a million
    gateways, and two seconds at once. So objects that such a block leaves are exempt
    (``gc.freeze``): they are freed when their last reference goes, and cycles of others that were
    garbage at that moment once a node is closed.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            if gc.get_count()[0] > GREAT:
                gc.freeze()
            gc.enable()
