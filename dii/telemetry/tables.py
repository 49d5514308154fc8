"""Arrow tables of the schema, and the sink into which readers push rows.

Readers push rows one by one (or whole batches, where a file is columnar already) and never hold
more than one record. The sink turns every 50,000 rows into an Arrow batch, a tenth of the size of
the Python objects. A stream of tuples was preferred to data frames per record (hundreds of times
slower) and to a reader that returns its whole table (which could never be larger than memory).

A record that is set aside becomes a row of ``rejects`` with one of ``REJECT_REASONS``. Those in
``FIELD_REASONS`` concern one field and leave the record in its table.
"""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dii.errors import RecordRejected
from dii.schema import TABLES, Column, Gateway, Reject
from dii.telemetry.readers.fields import Fault, Record, get, number
from dii.units import format_time

Located = tuple[float | None, float | None, float | None]
"""Latitude, longitude and altitude."""
_NOWHERE: Located = (None, None, None)
T = TypeVar("T")
P = ParamSpec("P")

BATCH: Final = 50_000
"""Rows of an Arrow batch."""

_HARMLESS: Final[Mapping[str, str]] = {
    "placeholder_coordinates": "a place that many share; the gateway stays, without its place",
    "duplicate_gateway": "a second entry of a gateway in one registry; it fills gaps of the first",
    "stand_in": "a gateway of the name that servers write where there is none; nobody's",
    "no_receptions": "an event that no gateway heard, such as a device's status",
    "not_uplink": "a frame heard that no device sent up, such as a downlink near by",
    "bad_crc": "a frame heard with a wrong checksum",
    "stale_poll": "a poll that tells nothing newer than the one before it",
    "same_reception": "a reception that stands twice in one uplink",
    "simulated": "an uplink that was never on the air",
    "too_strong": "a reception stronger than the stated places of device and gateway allow",
}
REJECT_REASONS: Final[Mapping[str, str]] = {
    "bad_json": "not JSON, or the end is missing",
    "bad_text": "bytes that are not UTF-8",
    "bad_gzip": "the compressed file is damaged from here on",
    "bad_table": "the columnar file is damaged from here on",
    "long_line": "a line longer than any record",
    "bad_record": "not a record of this format",
    "bad_field": "a field of the wrong type or out of range",
    "unread_field": "a field of the wrong type or out of range; the record stays, without it",
    "bad_time": "a time that cannot be read or cannot be",
    "no_time": "the server does not say when",
    "bad_coordinates": "a place that is not on Earth; the gateway stays, without its place",
    "bad_altitude": "an altitude that is not on Earth; the gateway stays, without it",
    "bad_counter": "a counter that runs backwards or leaps; counting begins anew with it",
    "far_in_time": "records whose dates lie far from those of all others",
    "before_start": "a record from before the network's first epoch",
    "late": "records of epochs that had been settled without them",
    **_HARMLESS,
}
"""Reasons of rejects and their meaning."""

EXPECTED: Final = frozenset(_HARMLESS)
"""Reasons that sound input may give rise to; the others stop a strict load."""

FIELD_REASONS: Final = frozenset(
    {"unread_field", "bad_coordinates", "bad_altitude", "placeholder_coordinates"}
)
"""Reasons that set a field aside, not its record."""


def arrow_schema(columns: Sequence[Column]) -> pa.Schema:
    """Return the Arrow schema of a table's columns; what is required cannot be null."""
    return pa.schema([pa.field(c.name, pa.type_for_alias(c.type), not c.required) for c in columns])


SCHEMAS: Final = {name: arrow_schema(columns) for name, columns in TABLES.items()}


def to_table(name: str, rows: Iterable[tuple[object, ...]]) -> pa.Table:
    """Return the table ``gateways``, ``receptions``, ``statuses`` or ``rejects`` of given rows."""
    schema = SCHEMAS[name]
    columns = list(zip(*rows)) or [()] * len(schema)
    arrays = [pa.array(column, kind.type) for column, kind in zip(columns, schema)]
    return pa.Table.from_arrays(arrays, schema=schema)


def with_column(table: pa.Table, name: str, column: pa.Array | pa.ChunkedArray) -> pa.Table:
    """Return a table whose column of that name is replaced by one of the same type."""
    place = table.schema.get_field_index(name)
    return table.set_column(place, table.schema.field(place), column)


MAX_TOLD: Final = 100_000
"""Rejects of one reason and file that are kept one by one; further ones are only counted."""


@dataclass(slots=True)
class Rows:
    """Records that a reader found in one file.

    Attributes
    ----------
    file
        Name of the file in rejects.
    strict
        Raise the first bad record instead of setting it aside.
    line
        Line (or number of the record) that is being read, from 1.
    gateways
        Gateways with the first line of each.
    """

    file: str
    strict: bool = False
    line: int = 0
    gateways: dict[Gateway, int] = field(default_factory=dict)
    _entries: dict[str, int] = field(default_factory=dict)
    _told: Counter[str] = field(default_factory=Counter)
    _pending: dict[str, list[tuple[object, ...]]] = field(default_factory=lambda: defaultdict(list))
    _batches: dict[str, list[pa.Table]] = field(default_factory=lambda: defaultdict(list))
    _lines: dict[str, array[int]] = field(default_factory=lambda: defaultdict(lambda: array("q")))

    def gateway(self, row: Gateway) -> None:
        """Add a gateway."""
        self.gateways.setdefault(row, self.line)

    def entry(self, row: Gateway) -> None:
        """Add an entry of a registry; a second entry of a gateway is a reject, too."""
        first = self._entries.setdefault(row.gateway, self.line)
        if first != self.line:
            self.reject("duplicate_gateway", f"also record {first}", row.gateway)
        self.gateway(row)

    def batch(self, name: str, table: pa.Table, lines: Sequence[int]) -> None:
        """Add a table of receptions or statuses, with the line of each row."""
        self._flush(name)
        self._batches[name].append(table)
        self._lines[name].extend(lines)

    def reject(
        self, reason: str, detail: str, gateway: str | None = None, time: int | None = None
    ) -> None:
        """Set a record, or a field of a record, aside.

        A reject with a gateway *and* a time is a frame heard by this gateway that does not count.

        Raises
        ------
        RecordRejected
            The load is strict and the reason is not in ``EXPECTED``.
        """
        line = max(self.line, 1)
        if self.strict and reason not in EXPECTED:
            raise RecordRejected(file=self.file, line=line, reason=reason, detail=detail)
        self._told[reason] += 1
        if self._told[reason] <= MAX_TOLD or None not in {gateway, time}:
            self.add("rejects", Reject(self.file, line, reason, detail, gateway, time))

    def optional(self, read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """Return the value of an optional field, or add a reject and return None if it is wrong."""
        try:
            return read(*args, **kwargs)
        except Fault as fault:
            self.reject("unread_field", fault.detail)
            return None

    def table(self, name: str) -> pa.Table:
        """Return all receptions, statuses or rejects."""
        if name == "rejects":
            for reason, count in self._told.items():
                if count > MAX_TOLD:
                    detail = f"and {count - MAX_TOLD:,} more, the last of them here"
                    self.add(name, Reject(self.file, max(self.line, 1), reason, detail))
            self._told.clear()
        self._flush(name)
        return pa.concat_tables([SCHEMAS[name].empty_table(), *self._batches[name]])

    def times(self, name: str) -> npt.NDArray[np.int64]:
        """Return the times of all receptions or statuses."""
        times: npt.NDArray[np.int64] = self.table(name)["time"].to_numpy()
        return times

    def lines(self, name: str) -> npt.NDArray[np.int64]:
        """Return the lines of all receptions or statuses."""
        return np.array(self._lines[name], np.int64)

    def forget_after(self, until: int) -> None:
        """Drop every ``last_seen`` after a time, with a reject."""
        rows, self.gateways = self.gateways, {}
        for row, self.line in rows.items():
            late = row.last_seen is not None and row.last_seen > until
            if late:
                detail = f"last_seen: at most {format_time(until)} is expected"
                self.reject("unread_field", detail, row.gateway)
            self.gateway(row._replace(last_seen=None) if late else row)

    def keep(self, first: int, last: int) -> None:
        """Set receptions and statuses of other times aside, also as ``last_seen`` of gateways.

        Raises
        ------
        RecordRejected
            The load is strict.
        """
        seen: dict[str | None, int] = {}
        known = set[int]()
        for name in ("receptions", "statuses"):
            times, lines = self.times(name), self.lines(name)
            far = (times < first) | (times > last)
            table = self.table(name)
            for self.line, row in zip(lines[far].tolist(), table.filter(far).to_pylist()):
                detail = f"at {format_time(row['time'])}, far from all others"
                self.reject("far_in_time", detail, row["gateway"], row["time"])
            table = table.filter(~far)
            self._batches[name] = [table]
            self._lines[name] = array("q", lines[~far])
            known |= set(times[far].tolist())
            for row in table.group_by("gateway").aggregate([("time", "max")]).to_pylist():
                seen[row["gateway"]] = max(row["time_max"], seen.get(row["gateway"], 0))
        rows, self.gateways = self.gateways, {}
        for entry, line in rows.items():
            if entry.last_seen not in known:
                self.gateways[entry] = line
            elif entry.gateway in seen:
                self.gateways[entry._replace(last_seen=seen[entry.gateway])] = line

    def add(self, name: str, row: tuple[object, ...]) -> None:
        """Add a row of ``receptions``, ``statuses`` or ``rejects``."""
        pending = self._pending[name]
        pending.append(row)
        self._lines[name].append(self.line)
        if len(pending) == BATCH:
            self._flush(name)

    def _flush(self, name: str) -> None:
        if rows := self._pending.pop(name, None):
            self._batches[name].append(to_table(name, rows))

    def place(self, location: Record, gateway: str) -> Located:
        """Return a place, None where it is absent; a wrong value becomes a reject."""
        reason, place = "bad_coordinates", _NOWHERE
        try:
            latitude, longitude = (get(location, n, number(n)) for n in ("latitude", "longitude"))
            if latitude is not None and longitude is not None:
                reason, place = "bad_altitude", (latitude, longitude, None)
                place = latitude, longitude, get(location, "altitude", number("altitude"))
        except Fault as fault:
            self.reject(reason, fault.detail, gateway)
        return place
