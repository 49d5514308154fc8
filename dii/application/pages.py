"""Columns of metrics as bytes: the chunks of reports and the pages of settled epochs.

A page is ``[gateways, [[width, values, mask], ...]]``: gateway hashes end to end, ascending, then
one entry a column. ``values`` holds one big-endian integer of ``width`` bytes (1, 2, 4 or 8, the
least that fits) a row, zero where absent; ``mask`` is null where every row is present, else one
bit a row, set where the value is known. One value has one form, so a page can be hashed, and a
page of a thousand rows decodes in two dozen C calls.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from dii import codec
from dii.codec import Bounds
from dii.errors import BadReport, CodecError, MetricOutOfRange, ShapeMismatch
from dii.telemetry.schema import METRICS

HASH: Final = 20
MAX_BYTES: Final = 1 << 16
_FORMATS: Final = {1: "B", 2: "H", 4: "I", 8: "Q"}

Column = list[int | None]


@dataclass(frozen=True, slots=True)
class _WireColumn:
    width: int
    values: bytes
    mask: bytes | None


@dataclass(frozen=True, slots=True)
class _WirePage:
    gateways: bytes
    columns: Annotated[tuple[_WireColumn, ...], Bounds(0, 64)]


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of metrics: gateways ascending, one column a metric, None where unknown."""

    gateways: list[bytes]
    columns: list[Column]

    @property
    def rows(self) -> int:
        """Number of gateways."""
        return len(self.gateways)

    def encode(self) -> bytes:
        """Return the page's one byte form."""
        columns = tuple(_encode_column(column) for column in self.columns)
        return codec.dumps(_WirePage(b"".join(self.gateways), columns))


def _encode_column(column: Sequence[int | None]) -> _WireColumn:
    values = [value or 0 for value in column]
    top = max(values, default=0)
    width = next(width for width in _FORMATS if top < 1 << (8 * width))
    packed = struct.pack(f">{len(values)}{_FORMATS[width]}", *values)
    if None not in column:
        return _WireColumn(width, packed, None)
    bits = int("".join("0" if value is None else "1" for value in column), 2)
    return _WireColumn(width, packed, bits.to_bytes((len(column) + 7) // 8, "big"))


def decode(data: bytes) -> Page:
    """Read a page that this node has checked before (no bounds of metrics are checked)."""
    wire = codec.loads(_WirePage, data, MAX_BYTES)
    gateways = [wire.gateways[at : at + HASH] for at in range(0, len(wire.gateways), HASH)]
    return Page(gateways, [_decode_column(column, len(gateways)) for column in wire.columns])


def _decode_column(column: _WireColumn, rows: int) -> Column:
    values: Column = list(struct.unpack(f">{rows}{_FORMATS[column.width]}", column.values))
    if column.mask is not None:
        bits = int.from_bytes(column.mask, "big")
        for row, bit in enumerate(f"{bits:0{rows}b}"):
            if bit == "0":
                values[row] = None
    return values


def check(data: bytes, names: Sequence[str], after: bytes, *, scope: str, epoch: int) -> Page:
    """Read an untrusted chunk.

    Parameters
    ----------
    data
        At most ``MAX_BYTES``.
    names
        The metrics that the columns must be.
    after
        The last gateway of the chunk before; gateways must ascend beyond it.
    scope, epoch
        For the errors.

    Raises
    ------
    BadReport
        Not a page in its one form, or gateways out of order.
    MetricOutOfRange
        A value beyond its metric's bound.
    """

    def bad(message: object) -> BadReport:
        return BadReport(scope=scope, epoch=epoch, message=message)

    try:
        page = decode(data)
    except (CodecError, ShapeMismatch, LookupError, ValueError, struct.error) as error:
        raise bad(f"not a page of metrics: {error}") from None
    if not page.rows or len(page.gateways[-1]) != HASH:
        raise bad(f"gateways of {HASH} bytes expected, at least one")
    if len(page.columns) != len(names):
        raise bad(f"{len(page.columns)} columns where {len(names)} are announced")
    if page.encode() != data:
        raise bad("not in its one form")
    for gateway in page.gateways:
        if gateway <= after:
            raise bad(f"gateway {gateway.hex()} does not ascend")
        after = gateway
    for name, column in zip(names, page.columns):
        maximum = METRICS[name].maximum
        top = max((value for value in column if value is not None), default=0)
        if top > maximum:
            row = column.index(top)
            raise MetricOutOfRange(metric=name, value=top, maximum=maximum, row=row)
    return page


def paginate(page: Page) -> list[Page]:
    """Divide rows into pages whose encoding stays within ``MAX_BYTES``."""
    row_bytes = HASH + sum(9 for _ in page.columns)
    step = (MAX_BYTES - 1024) // row_bytes
    return [
        Page(page.gateways[at : at + step], [column[at : at + step] for column in page.columns])
        for at in range(0, page.rows, step)
    ]
