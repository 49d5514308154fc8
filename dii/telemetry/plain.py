"""Plain tables, CSV or Parquet or a pandas data frame, with the columns of the schema.

The header decides what a table is: with ``gateway`` and no ``time`` it is gateways, with ``covers``
too statuses, else receptions. Columns that the schema does not know are left out; ``columns`` maps
foreign names. Times are ISO 8601 (without a zone UTC) or integer microseconds, airtime integer
microseconds; an empty value, ``-`` or ``null``, and ``NA`` where no text stands, is unknown. Blanks
around a value are no part of it.

Columns are read one after another. Arrow casts a column as a whole where it can; otherwise each
value is read on its own, so that a bad value costs itself, or its row where the row means nothing
without it, and never the batch. A line of a CSV file is a row: a quote that is never closed costs
one row, too. Values with line breaks are therefore not supported; telemetry has none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from dii import errors
from dii.schema import TABLES, Column, Gateway
from dii.telemetry.readers import base, fields, parquet
from dii.telemetry.readers.fields import MAX_TEXT, STAND_IN, UNKNOWN, Fault
from dii.telemetry.source import Source
from dii.telemetry.tables import BATCH, FIELD_REASONS, SCHEMAS, Rows

KINDS: Final[Mapping[str, str]] = {
    **{kind: kind for kind in ("data", "join", "downlink")},
    **dict.fromkeys(("unconfirmed_up", "confirmed_up"), "data"),
    **dict.fromkeys(("join_request", "rejoin_request"), "join"),
    **dict.fromkeys(("join_accept", "unconfirmed_down", "confirmed_down"), "downlink"),
}
"""Kinds of frames by the schema's and by LoRaWAN's names of message types."""

NO_GATEWAY: Final = "no column is named gateway, nor is it said which one it is (columns)"

_ABOUT: Final = "CSV or Parquet with the columns of the schema"
ESSENTIAL: Final = frozenset({"time", "gateway", "kind", "covers"})
"""Columns without which a row means nothing or something else; others lose only the value."""

_BOOLS: Final = {"true": True, "false": False, "1": True, "0": False}
_TIMES: Final = frozenset({"time", "gateway_time", "last_seen"})
_PLACE: Final = {
    "latitude": "bad_coordinates",
    "longitude": "bad_coordinates",
    "altitude": "bad_altitude",
}
"""Columns of a place, with the reason of a reject."""
_ODD: Final = (
    r"(?s)^[\s\pZ]|[\s\pZ]$|[\x00-\x1f\x7f-\x{9f}\x{2028}-\x{202e}\x{2066}-\x{2069}]"
    rf"|^.{{{MAX_TEXT + 1}}}|^(?:{'|'.join(map(re.escape, UNKNOWN))})$"
)
"""Pattern of texts that are not taken as they are: with blanks, control characters, too long."""

_Columns = dict[str, pa.Array]
_Faults = dict[int, Fault]
"""Faults of rows, by their number in the batch."""


def _table(header: Sequence[str]) -> str | None:
    """Return the table to which the columns of a header belong."""
    if "gateway" not in header:
        return None
    if "time" not in header:
        return "gateways"
    return "statuses" if "covers" in header else "receptions"


class Plain(base.Reader):
    """Reader of a table with the columns of the schema; its name is the table's."""

    def declines(self, source: Source) -> str | None:
        """Return why a source is not of this format, None if it is."""
        found = _table(source.header)
        if found == self.name:
            return None
        return f"its columns are those of {found}" if found else NO_GATEWAY

    def explain(self, source: Source) -> str:
        """Return the format, and the columns that are ignored."""
        known = {"", *(column.name for column in TABLES[self.name])}
        ignored = ", ".join(name for name in source.header if name not in known)
        return f"{self.about}; columns that are none of ours: {ignored}" if ignored else self.about

    def given(self, rows: Rows) -> frozenset[str]:
        """Return the metrics of the rows; receptions without a downlink give none of downlinks."""
        known, kinds = super().given(rows), rows.table("receptions")["kind"]
        unsent = self.name == "receptions" and not pc.any(pc.equal(kinds, "downlink")).as_py()
        return known - base.DOWNLINK_METRICS - {"usage.downlinks"} if unsent else known

    def read(self, source: Source, rows: Rows) -> None:
        """Push the rows of a table."""
        wanted = {column.name: column for column in TABLES[self.name]}
        names = [name for name in source.header if name in wanted]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise errors.BadColumns(file=source.name, message=f"two columns are {twice!r}")
        for lines, batch in _batches(source, rows, wanted):
            faults: _Faults = {}
            lost: list[tuple[int, Fault]] = []
            columns: _Columns = {}
            for name, column in wanted.items():
                wrong: _Faults = {}
                values = batch.get(name, pa.nulls(len(lines), pa.string()))
                columns[name] = _convert(column, values, source, wrong)
                if name in ESSENTIAL:
                    faults = wrong | faults
                else:
                    lost += wrong.items()
            same = pc.equal(columns["gateway"], columns["eui"])
            columns["gateway"] = pc.coalesce(columns["gateway"], columns["eui"])
            nothing = pa.scalar(None, pa.string())
            columns["eui"] = pc.if_else(pc.fill_null(same, True), nothing, columns["eui"])
            named = _without_stand_ins(columns["gateway"])
            if self.name == "receptions":
                columns["gateway"] = named
                columns["kind"] = pc.fill_null(columns["kind"], "data")
            for name, column in wanted.items():
                if column.required:
                    missing = Fault("bad_field", f"{name}: a value is required")
                    _note(faults, pc.is_null(columns[name]), missing)
            if self.name != "receptions":
                _note(faults, pc.is_null(named), Fault("stand_in", STAND_IN))
            self._push(rows, lines, columns, faults)
            for row, fault in sorted(lost, key=itemgetter(0)):
                if row not in faults:
                    rows.line = lines[row]
                    reason = fault.reason if fault.reason in FIELD_REASONS else "unread_field"
                    rows.reject(reason, fault.detail, columns["gateway"][row].as_py())

    def _push(self, rows: Rows, lines: Sequence[int], columns: _Columns, faults: _Faults) -> None:
        times = columns["time"] if self.name == "receptions" else None
        for row in sorted(faults):
            rows.line = lines[row]
            time = times[row].as_py() if times is not None else None
            fault, gateway = faults[row], columns["gateway"][row].as_py()
            rows.reject(fault.reason, fault.detail, gateway, time)
        table = pa.Table.from_arrays(list(columns.values()), schema=SCHEMAS[self.name])
        good = [row for row in range(len(lines)) if row not in faults]
        if faults:
            table = table.take(pa.array(good, pa.int64()))
        if self.name != "gateways":
            rows.batch(self.name, table, [lines[row] for row in good] if faults else lines)
            return
        for row, record in zip(good, table.to_pylist()):
            rows.line = lines[row]
            latitude, longitude, altitude = rows.place(record, record["gateway"])
            gateway = Gateway(**record)
            rows.entry(gateway._replace(latitude=latitude, longitude=longitude, altitude=altitude))


READERS: Final = tuple(
    Plain(name, f"plain {name}: {_ABOUT}", base.metrics_of(name))
    for name in ("gateways", "receptions", "statuses")
)


# --- batches -----------------------------------------------------------------------------------

_Batch = tuple[Sequence[int], _Columns]
"""The line of each row, and the columns by the schema's names."""


def _batches(source: Source, rows: Rows, wanted: Mapping[str, Column]) -> Iterator[_Batch]:
    """Yield the wanted columns of at most 50,000 rows at a time."""
    places = {name: place for place, name in enumerate(source.header) if name in wanted}
    if isinstance(source.origin, Path) and not source.parquet:
        yield from _csv(source, rows, places)
        return
    done = 0
    if isinstance(source.origin, Path):
        found = parquet.batches(source, rows, [source.names[place] for place in places.values()])
    else:
        table = source.origin.select([*places.values()])
        found = iter(table.to_batches(max_chunksize=BATCH))
    for batch in found:
        lines = range(done + 1, done + 1 + len(batch))
        yield lines, dict(zip(places, batch.columns))
        done += len(batch)


def _csv(source: Source, rows: Rows, places: Mapping[str, int]) -> Iterator[_Batch]:
    numbered = (
        (rows.line, [values[place] for place in places.values()])
        for values in source.csv_rows(rows)
    )
    while batch := list(islice(numbered, BATCH)):
        lines, kept = zip(*batch)
        columns = ([value or None for value in column] for column in zip(*kept))
        yield lines, {name: pa.array(column, pa.string()) for name, column in zip(places, columns)}


# --- values ------------------------------------------------------------------------------------


def _note(faults: _Faults, mask: pa.Array, fault: Fault) -> None:
    """Add the fault of the rows of a mask; an earlier fault of a row stays."""
    if pc.any(mask).as_py():
        for row in pc.indices_nonzero(mask).to_pylist():
            faults.setdefault(row, fault)


def _convert(column: Column, values: pa.Array, source: Source, faults: _Faults) -> pa.Array:
    """Return a column in the schema's type; values that cannot be are null, and noted."""
    name, kind = column.name, pa.type_for_alias(column.type)
    if column.type == "string":
        return _texts(name, values, source, faults)
    if pa.types.is_dictionary(values.type):
        values = _shortened(values).dictionary_decode()
    if pa.types.is_timestamp(values.type):
        micros = pa.timestamp("us", values.type.tz)  # a zone names the display: all count UTC
        values = values.cast(micros, safe=False).cast(pa.int64())
    try:
        found = (_cast_times if name in _TIMES else pc.cast)(values, kind)
    except pa.ArrowException:
        return _each(values, kind, lambda value: _value(column, value), faults)
    if column.type == "float64":
        found = pc.if_else(pc.is_nan(found), pa.scalar(None, kind), found)
    ends = pc.min_max(found)
    if name in _PLACE or column.bounds is None or not ends["min"].is_valid:
        return found
    if column.bounds[0] <= ends["min"].as_py() and ends["max"].as_py() <= column.bounds[1]:
        return found
    return _each(found, kind, lambda value: _value(column, value), faults)


def _shortened(values: pa.DictionaryArray) -> pa.DictionaryArray:
    """Return texts of a dictionary, cut where they are too long to be a number or a time."""
    kind = values.dictionary.type
    if not parquet.is_text(kind):
        return values
    long = pc.greater(pc.binary_length(values.dictionary), MAX_TEXT)
    texts = pc.if_else(long, pa.scalar(b"...").cast(kind), values.dictionary)
    return pa.DictionaryArray.from_arrays(values.indices, texts)


def _each(
    values: pa.Array, kind: pa.DataType, read: Callable[[object], object], faults: _Faults
) -> pa.Array:
    """Return the result of ``read`` for each value; null where it raises a fault, noted."""
    found: list[object] = []
    for row, value in enumerate(values.to_pylist()):
        try:
            found.append(None if value is None else read(value))
        except Fault as fault:
            found.append(None)
            faults.setdefault(row, fault.with_traceback(None))  # which would keep the frames
    return pa.array(found, kind)


def _cast_times(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """Return times as integers if all are integers, or all ISO 8601 with or all without a zone."""
    if not pa.types.is_string(values.type):
        return values.cast(kind)
    for zone in ("UTC", None):
        try:
            nanos = values.cast(pa.timestamp("ns", zone))
            return nanos.cast(pa.timestamp("us", zone), safe=False).cast(kind)
        except pa.ArrowException:
            continue
    return values.cast(kind)


def _texts(name: str, values: pa.Array, source: Source, faults: _Faults) -> pa.Array:
    """Return texts in the form of their column; each different text is read once."""
    if pa.types.is_nested(values.type):
        values = _each(values, pa.string(), lambda value: _decoded(name, value), faults)
    encoded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
    texts, wrong = encoded.dictionary, _Faults()
    number = pa.types.is_primitive(texts.type) or pa.types.is_decimal(texts.type)
    if name in {"gateway", "device", "eui"} and number and len(texts):
        what = f"column {name} holds {texts.type}, and numbers lose leading zeros of an EUI"
        message = f"{what}; make it texts where the table is read (pandas: dtype=str)"
        raise errors.BadColumns(file=source.name, message=message)
    try:
        texts = texts.cast(pa.string())
        texts.validate(full=True)
    except pa.ArrowException:
        texts = _each(texts, pa.string(), lambda value: _decoded(name, value), wrong)
    if name in _TEXTS or pc.any(pc.match_substring_regex(texts, _ODD)).as_py():
        adapt = _TEXTS.get(name, fields.text)
        texts = _each(texts, pa.string(), lambda text: adapt(name, text), wrong)
    for row, index in enumerate(encoded.indices.to_pylist() if wrong else ()):
        if index in wrong:
            faults.setdefault(row, wrong[index])
    if name == "gateway":
        names = (text and fields.gateway_name(text, source.network) for text in texts.to_pylist())
        texts = pa.array(names, pa.string())
    return texts.take(encoded.indices)


def _decoded(name: str, value: object) -> str:
    """Return a text of a column that Arrow did not cast as a whole."""
    if isinstance(value, list | dict):
        raise Fault("bad_field", f"{name}: a text is expected")
    try:
        return value.decode() if isinstance(value, bytes) else str(value)
    except UnicodeDecodeError as error:
        raise Fault("bad_text", f"{name}: byte {error.start} is not UTF-8") from None


def _without_stand_ins(gateways: pa.Array) -> pa.Array:
    """Return names of gateways, without names that stand for no gateway."""
    names = [name for name in gateways.unique().to_pylist() if fields.is_stand_in(name)]
    found = pc.is_in(gateways, pa.array(names, pa.string()))
    return pc.if_else(found, pa.scalar(None, pa.string()), gateways)


def _value(column: Column, value: object) -> object:
    """Return a number, time or truth value that Arrow did not cast with its whole column."""
    if isinstance(value, str):
        value = value.strip()
    if value != value or value == "NA":  # noqa: PLR0124 - not a number: pandas' word for unknown
        return None
    try:
        return _adapter(column)(column.name, value)
    except Fault as fault:
        fault.reason = _PLACE.get(column.name, fault.reason)
        raise


@cache
def _adapter(column: Column) -> fields.Adapter[object]:
    """Return the adapting function of a column of numbers, times or truth values."""
    if column.name in _TIMES:
        return _time
    if column.type == "float64":
        return fields.number(column.name, written=True)
    return _truth if column.type == "bool" else fields.integer(column.name)


def _truth(key: str, value: object) -> bool | None:
    return fields.flag(key, _BOOLS.get(str(value).lower(), value))


def _time(name: str, value: object) -> int | None:
    """Return a time in ISO 8601 or microseconds; None for a gateway's clock out of range."""
    if isinstance(value, str) and not fields.INTEGER.fullmatch(value):
        value = fields.moment(name, value)
    try:
        return fields.integer(name)(name, value)
    except Fault:
        if name == "gateway_time" and type(value) in {int, float}:
            return None
        what = "ISO 8601 or integer microseconds, from 2000 to 2100, is expected"
        raise Fault("bad_time", f"{name}: {what}") from None


def _eui(key: str, value: object) -> str | None:
    text = fields.text(key, value)
    if text and not fields.eui(text):
        raise Fault("bad_field", "eui: 16 hexadecimal digits are expected")
    return fields.eui(text)


def _kind(key: str, value: object) -> str | None:
    kind = (fields.text(key, value) or "").lower()
    if kind and kind not in KINDS:
        raise Fault("bad_field", f"kind: one of {', '.join(KINDS)} is expected")
    return KINDS.get(kind)


_TEXTS: Final[Mapping[str, fields.Adapter[str | None]]] = {
    "gateway": fields.text,
    "eui": _eui,
    "device": fields.device,
    "kind": _kind,
    "country": fields.country,
    "placement": fields.placement,
}
"""Adapting functions of texts that are never taken as they are."""
