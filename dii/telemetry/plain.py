"""Plain tables, CSV or Parquet or a pandas data frame, with the columns of the schema.

The header decides what a table is: with ``gateway`` and no ``time`` it is gateways, with ``covers``
too statuses, else receptions. Columns that the schema does not know are left out; ``columns`` maps
foreign names. Times are ISO 8601 (without a zone UTC) or integer microseconds, airtime integer
microseconds; an empty value, ``-`` or ``null``, and ``NA`` where no text stands, is unknown. Blanks
around a value are no part of it.

Work goes column by column: Arrow casts a column as a whole where it can, else each value is read on
its own, so that one bad value costs itself, or its row where the row means nothing without it, and
never the batch. Each line of a CSV file stands for
itself: a quote that is never closed then costs one row too, at the price of values with line breaks
in them, which telemetry does not have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from dii.errors import BadColumns
from dii.schema import BOUNDS, TABLES, Column, Gateway
from dii.telemetry.readers import fields, parquet
from dii.telemetry.readers.base import DOWNLINK_METRICS, RECEPTION_METRICS, STATUS_METRICS, Reader
from dii.telemetry.readers.fields import (
    MAX_TEXT,
    STAND_IN,
    UNKNOWN,
    Fault,
    eui,
    gateway_name,
    is_stand_in,
    moment,
)
from dii.telemetry.source import Source
from dii.telemetry.tables import BATCH, FIELD_REASONS, SCHEMAS, Rows

KINDS: Final[Mapping[str, str]] = {
    "data": "data",
    "join": "join",
    "downlink": "downlink",
    "unconfirmed_up": "data",
    "confirmed_up": "data",
    "join_request": "join",
    "rejoin_request": "join",
    "join_accept": "downlink",
    "unconfirmed_down": "downlink",
    "confirmed_down": "downlink",
}
"""Kinds of frames by the schema's and by LoRaWAN's names of message types."""

NO_GATEWAY: Final = "no column is named gateway, nor is it said which one it is (columns)"

ESSENTIAL: Final = frozenset({"time", "gateway", "kind", "covers"})
"""Columns without which a row means nothing, or something else; of others only the value goes."""

_BOOLS: Final = {"true": True, "false": False, "1": True, "0": False}
_TIMES: Final = frozenset({"time", "gateway_time", "last_seen"})
_READ: Final = frozenset({"gateway", "eui", "device", "kind", "country", "placement"})
"""Texts that are read, not taken as they are."""
_PLACE: Final = frozenset({"latitude", "longitude", "altitude"})
_CONTROL: Final = r"[\x00-\x1f\x7f-\x{9f}\x{2028}-\x{202e}\x{2066}-\x{2069}]"

_Faults = dict[int, Fault]
"""What is wrong with a row, by its number in the batch."""


def _table(header: Sequence[str]) -> str | None:
    """Return which table a header announces."""
    if "gateway" not in header:
        return None
    if "time" not in header:
        return "gateways"
    return "statuses" if "covers" in header else "receptions"


class Plain(Reader):
    """Reader of a table with the columns of the schema; its name is the table's."""

    def declines(self, source: Source) -> str | None:
        """Return why a source is not of this format, None if it is."""
        found = _table(source.header)
        if found == self.name:
            return None
        return f"its columns are those of {found}" if found else NO_GATEWAY

    def explain(self, source: Source) -> str:
        """Return what the format is, and which columns are ignored."""
        known = {"", *(column.name for column in TABLES[self.name])}
        ignored = ", ".join(name for name in source.header if name not in known)
        return f"{self.about}; columns that are none of ours: {ignored}" if ignored else self.about

    def given(self, rows: Rows) -> frozenset[str]:
        """Return the metrics of the rows; receptions without any downlink know of none."""
        known, kinds = super().given(rows), rows.table("receptions")["kind"]
        unsent = self.name == "receptions" and not pc.any(pc.equal(kinds, "downlink")).as_py()
        return known - DOWNLINK_METRICS - {"usage.downlinks"} if unsent else known

    def read(self, source: Source, rows: Rows) -> None:
        """Push the rows whose every value can be read."""
        wanted = {column.name: column for column in TABLES[self.name]}
        names = [name for name in source.header if name in wanted]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise BadColumns(file=source.name, message=f"two columns are {twice!r}")
        for lines, batch in _batches(source, rows, wanted):
            faults: _Faults = {}
            lost: list[tuple[int, Fault]] = []
            columns: dict[str, pa.Array] = {}
            for name, column in wanted.items():
                wrong: _Faults = {}
                columns[name] = (
                    _convert(column, batch[name], source, wrong)
                    if name in batch
                    else pa.nulls(len(lines), SCHEMAS[self.name].field(name).type)
                )
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

    def _push(
        self, rows: Rows, lines: Sequence[int], columns: dict[str, pa.Array], faults: _Faults
    ) -> None:
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
    Plain(name, f"plain {name}: CSV or Parquet with the columns of the schema", gives)
    for name, gives in (
        ("gateways", frozenset[str]()),
        ("receptions", RECEPTION_METRICS),
        ("statuses", STATUS_METRICS),
    )
)


# --- batches -----------------------------------------------------------------------------------

_Batch = tuple[Sequence[int], dict[str, pa.Array]]
"""The line of each row, and the columns by the schema's names."""


def _batches(source: Source, rows: Rows, wanted: Mapping[str, Column]) -> Iterator[_Batch]:
    """Yield the wanted columns of at most 50,000 rows at a time."""
    places = {name: place for place, name in enumerate(source.header) if name in wanted}
    if isinstance(source.origin, Path) and not source.parquet:
        yield from _csv(source, rows, places)
        return
    done = 0
    if isinstance(source.origin, Path):
        names = [source.names[place] for place in sorted(places.values())]
        found = parquet.batches(source, rows, names)
    else:
        table = source.origin.select(sorted(places.values()))
        found = iter(table.to_batches(max_chunksize=BATCH))
    for batch in found:
        lines = range(done + 1, done + 1 + len(batch))
        columns = dict(zip(sorted(places, key=places.__getitem__), batch.columns))
        yield lines, columns
        done += len(batch)


def _csv(source: Source, rows: Rows, places: Mapping[str, int]) -> Iterator[_Batch]:
    numbered = (
        (rows.line, [values[place] for place in places.values()])
        for values in source.csv_rows(rows)
    )
    while batch := list(islice(numbered, BATCH)):
        lines, kept = zip(*batch)
        yield (
            lines,
            {
                name: pa.array([value or None for value in column], pa.string())
                for name, column in zip(places, zip(*kept))
            },
        )


# --- values ------------------------------------------------------------------------------------


def _note(faults: _Faults, mask: pa.Array, fault: Fault) -> None:
    """Note what is wrong with the rows of a mask; the first fault of a row stays."""
    if pc.any(mask).as_py():
        for row in pc.indices_nonzero(mask).to_pylist():
            faults.setdefault(row, fault)


def _convert(column: Column, values: pa.Array, source: Source, faults: _Faults) -> pa.Array:
    """Return a column in the schema's type; values that cannot be are null, and noted."""
    kind = pa.type_for_alias(column.type)
    if column.type == "string":
        return _texts(column.name, values, source, faults)
    if pa.types.is_dictionary(values.type):
        values = _shortened(values).dictionary_decode()
    if pa.types.is_timestamp(values.type):
        micros = pa.timestamp("us", values.type.tz)  # a zone names the display: all count UTC
        values = values.cast(micros, safe=False).cast(pa.int64())
    try:
        found = (_cast_times if column.name in _TIMES else pc.cast)(values, kind)
    except pa.ArrowException:
        found = _each(values, kind, lambda value: _read(column, value), faults)
    if column.type == "float64":
        found = pc.if_else(pc.is_nan(found), pa.scalar(None, kind), found)
    if column.name in BOUNDS and column.name not in _PLACE:
        least, most = BOUNDS[column.name]
        inside = pc.and_(pc.greater_equal(found, least), pc.less_equal(found, most))
        if column.name != "gateway_time":  # a gateway's clock may say anything
            _note(faults, pc.invert(pc.fill_null(inside, True)), _wrong(column))
        return pc.if_else(inside, found, pa.scalar(None, kind))
    return found


def _shortened(values: pa.DictionaryArray) -> pa.DictionaryArray:
    """Return texts of a dictionary, cut where they are too long to be a number or a time."""
    kind = values.dictionary.type
    if not parquet.is_text(kind):
        return values
    long = pc.greater(pc.binary_length(values.dictionary), MAX_TEXT)
    texts = pc.if_else(long, pa.scalar(b"...").cast(kind), values.dictionary)
    return pa.DictionaryArray.from_arrays(values.indices, texts)


def _wrong(column: Column) -> Fault:
    """Return the fault of a value that a column cannot have."""
    name = column.name
    if name in _TIMES:
        what = "ISO 8601 or integer microseconds, from 2000 to 2100"
        return Fault("bad_time", f"{name}: {what}, is expected")
    if name not in BOUNDS:
        what = "true or false" if column.type == "bool" else "a text"
        return Fault("bad_field", f"{name}: {what} is expected")
    what = "an integer" if column.type == "int64" else "a number"
    least, most = BOUNDS[name]
    reason = "bad_altitude" if name == "altitude" else "bad_coordinates"
    reason = reason if name in _PLACE else "bad_field"
    return Fault(reason, f"{name}: {what} from {least} to {most} is expected")


def _each(
    values: pa.Array, kind: pa.DataType, read: Callable[[object], object], faults: _Faults
) -> pa.Array:
    """Return what ``read`` makes of each value; null where it raises a fault, which is noted."""
    found: list[object] = []
    for row, value in enumerate(values.to_pylist()):
        try:
            found.append(None if value is None else read(value))
        except Fault as fault:
            found.append(None)
            faults.setdefault(row, fault)
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
    """Return texts as their column wants them, each that occurs looked at once."""
    if pa.types.is_nested(values.type):
        values = _each(values, pa.string(), lambda value: _decoded(name, value), faults)
    encoded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
    texts, wrong = encoded.dictionary, _Faults()
    number = pa.types.is_primitive(texts.type) or pa.types.is_decimal(texts.type)
    if name in {"gateway", "device", "eui"} and number and len(texts):
        what = f"column {name} holds {texts.type}, and numbers lose leading zeros of an EUI"
        message = f"{what}; make it texts where the table is read (pandas: dtype=str)"
        raise BadColumns(file=source.name, message=message)
    try:
        texts = texts.cast(pa.string())
        texts.validate(full=True)
    except pa.ArrowException:
        texts = _each(texts, pa.string(), lambda value: _decoded(name, value), wrong)
    texts = pc.utf8_trim_whitespace(texts)
    unknown = pc.is_in(texts, pa.array(sorted(UNKNOWN)))
    long = pc.fill_null(pc.greater(pc.utf8_length(texts), MAX_TEXT), False)
    _note(wrong, long, Fault("bad_field", f"{name}: too long"))
    texts = pc.if_else(pc.or_(unknown, long), pa.scalar(None, pa.string()), texts)
    control = Fault("bad_field", f"{name}: not printable")
    _note(wrong, pc.match_substring_regex(texts, _CONTROL), control)
    if name in _READ:
        texts = _each(
            texts, pa.string(), lambda text: _text(name, str(text), source.network), wrong
        )
    if wrong:
        for row, index in enumerate(encoded.indices.to_pylist()):
            if index in wrong:
                faults.setdefault(row, wrong[index])
        bad = pa.array([index in wrong for index in range(len(texts))])
        texts = pc.if_else(bad, pa.scalar(None, pa.string()), texts)
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
    """Return names of gateways, without those that servers write where there is none."""
    names = [name for name in gateways.unique().to_pylist() if is_stand_in(name)]
    found = pc.is_in(gateways, pa.array(names, pa.string()))
    return pc.if_else(found, pa.scalar(None, pa.string()), gateways)


def _read(column: Column, value: object) -> object:
    """Return a number, time or truth value that Arrow did not cast with its whole column."""
    if value != value:  # noqa: PLR0124 - not a number: pandas' word for unknown
        return None
    if isinstance(value, str):
        value = value.strip()
        if value in UNKNOWN or value == "NA":
            return None
        if column.type == "bool":
            value = _BOOLS.get(value.lower())
        elif column.type == "float64":
            try:
                value = float(value)
            except ValueError:
                value = None
        elif match := fields.INTEGER.fullmatch(value):
            value = int(match[1])
        elif column.name in _TIMES:
            return moment(column.name, value)
    if type(value) is float and value.is_integer() and column.type == "int64":
        value = int(value)
    wanted = {"bool": (bool,), "float64": (float, int), "int64": (int,)}.get(column.type, ())
    if type(value) not in wanted or not -(2**63) <= value < 2**63:  # type: ignore[operator]
        raise _wrong(column)
    return float(value) if column.type == "float64" else value  # type: ignore[arg-type]


def _text(name: str, text: str, network: str) -> str | None:
    """Return a text of a column that takes only some."""
    lower = text.lower()
    if name == "gateway":
        return gateway_name(text, network)
    if name == "eui":
        if (found := eui(text)) is None:
            raise Fault("bad_field", "eui: 16 hexadecimal digits are expected")
        return found
    if name == "device":
        return fields.device(name, text)
    if name == "placement":
        return fields.placement(name, text)
    if name == "kind" and lower:
        if lower not in KINDS:
            raise Fault("bad_field", f"kind: one of {', '.join(KINDS)} is expected")
        return KINDS[lower]
    return fields.country(name, text)
