"""Untrusted Parquet files: their expanded size is counted before anything is decoded.

A Parquet file states at its end the number and the size of its rows, which may be wrong; the
library that decodes it relies on the header of each page. Therefore the headers of all pages to
decode are read here first (in the part of Thrift's compact protocol that headers use), a group of
rows at a time. Texts are read as dictionaries: a text of a million rows is kept once.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from dii.telemetry.source import Source, check_size, first_line, open_parquet
from dii.telemetry.tables import BATCH, Rows

FREE_ROWS: Final = 100_000
"""Rows that a file may have whatever its size."""
MAX_ROWS_PER_BYTE: Final = 4
"""Further rows for each byte; times of even steps take hardly a bit each."""
FREE_BYTES: Final = 16 << 20
"""Bytes to which pages may expand whatever the size of the file."""
MAX_RATIO: Final = 100
_WHOLE: Final = 64 << 20
"""Bytes of a batch of texts, each of which may be as long as its page."""
_MAX_HEADER: Final = 1 << 16
_DELTA_TEXTS: Final = 7
"""Encoding in which a text states the length of the prefix that it shares with the text before."""


def batches(source: Source, rows: Rows, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield some columns, up to the first damage, which is rejected.

    Raises
    ------
    InputTooLarge
        It expands too much.
    """
    assert isinstance(source.origin, Path)
    spent = 0
    schema = open_parquet(source.origin, source.name).schema_arrow
    texts = [one.name for one in schema if one.name in columns and is_text(one.type)]
    try:
        with (
            open_parquet(source.origin, source.name, texts) as file,
            source.origin.open("rb") as raw,
            mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            most = FREE_ROWS + MAX_ROWS_PER_BYTE * source.size
            check_size(source.name, "a table", file.metadata.num_rows, "rows", most)
            for number in range(file.num_row_groups):
                size, batch = _measured(file.metadata.row_group(number), set(columns), data)
                spent += size
                most = max(FREE_BYTES, MAX_RATIO * source.size)
                check_size(source.name, "expanded content", spent, "bytes", most)
                yield from file.iter_batches(batch, row_groups=[number], columns=list(columns))
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:  # in damaged names
        rows.reject("bad_table", first_line(error))


def is_text(kind: pa.DataType) -> bool:
    """Tell whether values of a type are texts or bytes."""
    kinds = pa.string(), pa.large_string(), pa.binary(), pa.large_binary()
    return kind in kinds


def _measured(group: pq.RowGroupMetaData, columns: set[str], data: mmap.mmap) -> tuple[int, int]:
    """Return the expanded size of a group's columns, and the rows that may be read at once.

    Raises
    ------
    ValueError
        A page has no header that can be read, or two columns share their bytes.
    """
    total, stored, batch = 0, 0, BATCH
    for column in map(group.column, range(group.num_columns)):
        if column.path_in_schema.partition(".")[0] not in columns:
            continue
        at = column.data_page_offset
        if column.has_dictionary_page and 0 < column.dictionary_page_offset < at:
            at = column.dictionary_page_offset
        stored += column.total_compressed_size
        end = min(at + column.total_compressed_size, len(data))
        if stored > len(data):
            raise ValueError("its columns overlap")
        while at < end:
            data.seek(at)
            header = _struct(data, min(end, at + _MAX_HEADER))
            size, packed = header.get(2), header.get(3)
            if not isinstance(size, int) or not isinstance(packed, int) or min(size, packed) < 0:
                raise ValueError("a page states no size")
            total += size
            at = data.tell() + packed
            about = header.get(5) or header.get(8)
            if isinstance(about, dict) and _DELTA_TEXTS in {about.get(2), about.get(4)}:
                batch = max(1, min(batch, _WHOLE // max(1, size)))
    return total, batch


# --- Thrift's compact protocol --------------------------------------------------------------------


def _struct(data: mmap.mmap, end: int, depth: int = 0) -> dict[int, object]:
    """Return the fields of a struct by their numbers; no header has lists or maps."""
    fields: dict[int, object] = {}
    number = 0
    while head := data.read_byte():
        step, kind = head >> 4, head & 15
        number = number + step if step else _integer(data)
        match kind:
            case 1 | 2:
                fields[number] = kind == 1
            case 3:
                data.read_byte()
            case 4 | 5 | 6:
                fields[number] = _integer(data)
            case 7:
                data.seek(8, os.SEEK_CUR)
            case 8:
                data.seek(_varint(data), os.SEEK_CUR)
            case 12 if depth < 8:
                fields[number] = _struct(data, end, depth + 1)
            case _:
                raise ValueError("a page has no header")
        if data.tell() >= end:
            raise ValueError("a page has no header")
    return fields


def _integer(data: mmap.mmap) -> int:
    value = _varint(data)
    return (value >> 1) ^ -(value & 1)


def _varint(data: mmap.mmap) -> int:
    value = 0
    for shift in range(0, 64, 7):
        byte = data.read_byte()
        value |= (byte & 127) << shift
        if byte < 128:
            return value
    raise ValueError("a page has no header")
