"""Columns of integers as bytes: chunks of reports and pages of settled epochs.

A page is ``[keys, [[width, values, mask], ...]]``: keys of one length end to end, ascending, then
one entry a column. The key of a row of metrics is the gateway's hash; of a row of usage, the
application's hash and the operator's account. ``values`` holds one big-endian integer a row, of
``width`` bytes (1, 2, 4 or 8, the least that fits), zero if unknown; ``mask`` is null if every
value is known, else one bit a row, set if the value is known. A page has one form only, so that it
can be hashed, and a page of a thousand rows decodes in two dozen C calls.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Sequence
from typing import Annotated, Final

from dii import codec, errors
from dii.codec import Bounds, Record
from dii.schema import Metric

HASH: Final = 20
"""Bytes of a gateway's hash: the key of a row of metrics."""
USAGE_KEY: Final = 40
"""Bytes of an application's hash and an operator's account: the key of a row of usage."""
ZERO_HASH: Final = bytes(HASH)
"""Gateway hash of the row for receptions that name no gateway; sorts before all others."""
MAX_BYTES: Final = 1 << 16
_FORMATS: Final = {1: "B", 2: "H", 4: "I", 8: "Q"}

Column = list[int | None]


class _WireColumn(Record):
    width: int
    values: bytes
    mask: bytes | None


class _WirePage(Record):
    keys: bytes
    columns: Annotated[tuple[_WireColumn, ...], Bounds(0, 64)]


class Page(Record):
    """Rows of integers: keys ascending, one column a metric, None if unknown."""

    keys: list[bytes]
    columns: list[Column]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.keys)

    def encode(self) -> bytes:
        """Return the page's one byte form."""
        columns = tuple(_encode_column(column) for column in self.columns)
        return codec.dumps(_WirePage(b"".join(self.keys), columns))


def _encode_column(column: Sequence[int | None]) -> _WireColumn:
    values = [value or 0 for value in column]
    top = max(values, default=0)
    width = next(width for width in _FORMATS if top < 1 << (8 * width))
    packed = struct.pack(f">{len(values)}{_FORMATS[width]}", *values)
    if None not in column:
        return _WireColumn(width, packed, None)
    bits = int("".join("0" if value is None else "1" for value in column), 2)
    return _WireColumn(width, packed, bits.to_bytes((len(column) + 7) // 8, "big"))


def decode(data: bytes, key: int = HASH) -> Page:
    """Read a page, with keys of that many bytes, that this node has checked before."""
    wire = codec.loads(_WirePage, data, MAX_BYTES)
    keys = [wire.keys[at : at + key] for at in range(0, len(wire.keys), key)]
    return Page(keys, [_decode_column(column, len(keys)) for column in wire.columns])


def _span(data: bytes, at: int) -> tuple[int, int]:
    """Return begin and end of the bytes of a checked page whose CBOR head is at a position."""
    more = {0x58: 1, 0x59: 2, 0x5A: 4}.get(data[at], 0)
    begin = at + 1 + more
    return begin, begin + (int.from_bytes(data[at + 1 : begin]) if more else data[at] & 0x1F)


def first_key(data: bytes, key: int = HASH) -> bytes:
    """Return a checked page's first key without reading the page."""
    begin, _ = _span(data, 1)
    return data[begin : begin + key]


def count_rows(data: bytes, key: int = HASH) -> int:
    """Return how many rows a checked page has without reading it."""
    begin, end = _span(data, 1)
    return (end - begin) // key


def find(data: bytes, wanted: bytes) -> list[int | None] | None:
    """Return a row of a checked page, or None if it has none, without reading other rows."""
    (begin, at), key = _span(data, 1), len(wanted)
    rows = (at - begin) // key
    keys = range(begin, at, key)
    row = bisect_left(keys, wanted, key=lambda start: data[start : start + key])
    if row == rows or data[keys[row] : keys[row] + key] != wanted:
        return None
    values: list[int | None] = []
    at += 1 + (data[at] == 0x98)  # the head of the array of columns
    while at < len(data):
        width, (begin, at) = data[at + 1], _span(data, at + 2)
        value = int.from_bytes(data[begin + row * width : begin + (row + 1) * width])
        known = True
        if data[at] != 0xF6:  # there is a mask, whose first bit comes after its padding
            begin, at = _span(data, at)
            bit = (at - begin) * 8 - rows + row
            known = bool(data[begin + bit // 8] >> (7 - bit % 8) & 1)
        else:
            at += 1
        values.append(value if known else None)
    return values


def _decode_column(column: _WireColumn, rows: int) -> Column:
    values: Column = list(struct.unpack(f">{rows}{_FORMATS[column.width]}", column.values))
    if column.mask is not None:
        bits = int.from_bytes(column.mask, "big")
        for row, bit in enumerate(f"{bits:0{rows}b}"):
            if bit == "0":
                values[row] = None
    return values


def check(
    data: bytes, known: Sequence[Metric], after: bytes, key: int, *, scope: str, epoch: int
) -> Page:
    """Read an untrusted chunk.

    Parameters
    ----------
    data
        At most ``MAX_BYTES``.
    known
        The metrics that the columns must be.
    after
        The last key of the chunk before; keys must ascend beyond it.
    key
        Bytes of a key.
    scope, epoch
        For the errors.

    Raises
    ------
    BadReport
        Not a page in its only form, or keys out of order.
    MetricOutOfRange
        A value beyond its metric's bound.
    """

    def bad(message: object) -> errors.BadReport:
        return errors.BadReport(scope=scope, epoch=epoch, message=message)

    try:
        page = decode(data, key)
    except (errors.DiiError, LookupError, ValueError, struct.error) as error:
        raise bad(f"invalid page of metrics: {error}") from None
    if not page.rows or len(page.keys[-1]) != key:
        raise bad(f"expected one key or more, of {key} bytes each")
    if len(page.columns) != len(known):
        raise bad(f"{len(page.columns)} columns, but the manifest announces {len(known)}")
    if page.encode() != data:
        raise bad("not in canonical form")
    for row_key in page.keys:
        if row_key <= after:
            raise bad(f"key {row_key.hex()} is not in ascending order")
        after = row_key
    for metric, column in zip(known, page.columns):
        top = max((value for value in column if value is not None), default=0)
        if top > metric.maximum:
            row = column.index(top)
            raise errors.MetricOutOfRange(
                metric=metric.name, value=top, maximum=metric.maximum, row=row
            )
    return page


def rows_of_page(columns: int, key: int = HASH) -> int:
    """Return how many rows fit into ``MAX_BYTES`` whatever their values are."""
    return (MAX_BYTES - 1024) // (key + 9 * columns)


def paginate(page: Page, key: int = HASH) -> list[Page]:
    """Divide rows into pages whose encoding stays within ``MAX_BYTES``."""
    step = rows_of_page(len(page.columns), key)
    return [
        Page(page.keys[at : at + step], [column[at : at + step] for column in page.columns])
        for at in range(0, page.rows, step)
    ]
