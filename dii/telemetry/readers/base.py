"""Readers: base classes, and the functions and the state that readers share.

A reader knows one format: it looks at the beginning of a source and either takes it or gives a
reason why not, lists the metrics that the format can give at most, and pushes rows. The places of
columns in a record are a table (``Columns``) that one loop reads (``Log.read``), so that a field
that cannot be read costs only itself. A further format of uplinks is a row of ``uplinks.TABLES``.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from dii.schema import BOUNDS, GAP, Gateway, Reception, Status
from dii.telemetry.metrics import airtime
from dii.telemetry.readers import fields, phy
from dii.telemetry.readers.fields import NO_FIELDS, Fault, Named, Record
from dii.telemetry.readers.radio import too_strong
from dii.telemetry.source import Source, members, parse_line
from dii.telemetry.tables import Rows
from dii.units import DAY, SECOND

T = TypeVar("T")
Heard = tuple[Reception, Record]
"""A reception, and the place that the record states for its gateway."""

NEEDED: Final[Mapping[str, tuple[str, str]]] = {
    "connected_ppm": ("statuses", ""),
    "online_ppm": ("statuses", "frames"),
    "receptions": ("receptions", ""),
    "uplinks": ("receptions", "delivered"),
    "sole_uplinks": ("receptions", "delivered"),
    "shapley_uplinks": ("receptions", "delivered"),
    "uplink_units": ("receptions", "delivered airtime"),
    "data_units": ("receptions", "delivered size"),
    "downlinks": ("receptions", ""),
    "downlink_units": ("receptions", "airtime"),
    "foreign_frames": ("receptions", "foreign"),
    "excluded_frames": ("receptions", ""),
    "usage.delivered": ("receptions", "application delivered"),
    "usage.uplink_units": ("receptions", "application delivered airtime"),
    "usage.downlinks": ("receptions", "application"),
    "usage.lost": ("receptions", "application delivered device f_cnt"),
}
"""Metrics and usage with their table, and its columns of which each must be known of some row.

No source gives ``own_uplinks``: none tells who owns an application.
"""


def metrics_of(table: str) -> frozenset[str]:
    """Return the metrics and the usage that follow from a table."""
    return frozenset(metric for metric, (name, _) in NEEDED.items() if name == table)


STATUS_METRICS, RECEPTION_METRICS = map(metrics_of, ("statuses", "receptions"))
"""Metrics of each table. Only statuses distinguish silence from absence."""
DOWNLINK_METRICS: Final = frozenset({"downlink_units", "downlinks"})
"""Metrics of the frames that gateways send."""
LOG_METRICS: Final = frozenset({"receptions", "foreign_frames", "excluded_frames"})
"""Metrics of the frames of all networks that a gateway hears, delivered or not."""
UPLINK_METRICS: Final = RECEPTION_METRICS - DOWNLINK_METRICS - {"foreign_frames", "usage.downlinks"}
"""Metrics and usage of uplinks as applications get them.

Uplinks do not show uptime: between two frames a gateway may have been offline, or there was nothing
to hear. Nor do they show deafness, silence on all networks: applications see only their own frames.
"""

_WRAPPERS: Final = ("gateway", "gateway_id", "gatewayEui", "gatewayID", "gatewayId", "mac")
_EUI_IN_NAME: Final = re.compile(r"(?ai)(?<![0-9a-f])([0-9a-f]{16})(?![0-9a-f])")


class Field(NamedTuple):
    """Place of a column in a record.

    Attributes
    ----------
    paths
        Paths of which the first that states a value counts: the keys of the outer objects, and the
        key of the value.
    adapt
        Function that returns the value in the type and unit of the column.
    absent
        Value where no path states one.
    """

    paths: Sequence[tuple[Sequence[str], str]]
    adapt: fields.Adapter[object]
    absent: object = None


Columns = Mapping[str, Field]
"""Table of a format: where the columns of a row lie in a record."""

_ADAPTERS: Final[Mapping[str, fields.Adapter[object]]] = {
    "application": fields.text,
    "data": fields.payload,
    "deduplication_id": fields.text,
    "device": fields.device,
    "f_cnt": fields.integer("f_cnt"),
    "gateway_time": fields.clock,
    "rssi": fields.number("rssi"),
    "snr": fields.number("snr"),
    "trusted": fields.flag,
}
"""Adapting functions by column; the modulation is checked when the airtime is computed."""


def at(adapt: fields.Adapter[object], *paths: str, absent: object = None) -> Field:
    """Return the place of a column by its paths, in which dots separate keys."""
    keys = [path.split(".") for path in paths]
    return Field([(outer, key) for *outer, key in keys], adapt, absent)


def columns(zeros: Collection[str] = (), **paths: str | tuple[str, ...] | Field) -> Columns:
    """Return the table of columns by their paths; absent ``zeros`` are 0, as protobuf omits 0."""
    table: dict[str, Field] = {}
    for name, stated in paths.items():
        texts = (stated,) if isinstance(stated, str) else stated
        adapt, absent = _ADAPTERS.get(name, fields.raw), 0 if name in zeros else None
        table[name] = texts if isinstance(texts, Field) else at(adapt, *texts, absent=absent)
    return table


@dataclass(slots=True)
class SetAside:
    """Context that turns a fault into a reject."""

    rows: Rows
    gateway: str | None = None

    def __enter__(self) -> None:
        """Enter the context."""

    def __exit__(self, _kind: object, error: object, _trace: object) -> bool:
        """Reject a fault; other errors go on."""
        if isinstance(error, Fault):
            self.rows.reject(error.reason, error.detail, self.gateway)
        return isinstance(error, Fault)


def unwrapped(record: Record) -> Record:
    """Return a record without the ``{"result": ...}`` of The Things Stack's streams."""
    result = record.get("result")
    return result if isinstance(result, dict) else record


@dataclass(slots=True)
class Log:
    """State of reading one source of records.

    Attributes
    ----------
    source, rows
        The source, and the sink for its rows.
    interval
        Longest time that a status covers, microseconds.
    """

    source: Source
    rows: Rows
    interval: int
    _polls: dict[str, tuple[int, int | None, int | None]] = field(default_factory=dict)
    _places: dict[str, tuple[int, int, int, Record, str | None]] = field(default_factory=dict)

    def get(self, record: Record, path: str, adapt: fields.Adapter[T]) -> T | None:
        """Return the value of an optional field, or None and add a reject if it is wrong."""
        return self.rows.optional(fields.get, record, path, adapt)

    def read(self, table: Columns, record: Record) -> dict[str, Any]:
        """Return the columns of a record; a field that cannot be read is None, and a reject."""
        found: dict[str, Any] = {}
        faults: dict[str, None] = {}
        for column, (paths, adapt, absent) in table.items():
            found[column] = absent
            for outer, key in paths:
                try:
                    inside = record
                    for name in outer:
                        inside = fields.inner(name, inside.get(name))
                    value = adapt(key, inside.get(key))
                except Fault as fault:
                    found[column] = None
                    faults[fault.detail] = None
                    continue
                if value is not None:
                    found[column] = value
                    break
        for detail in faults:  # an object that holds several columns is one fault
            self.rows.reject("unread_field", detail)
        return found

    def read_each(
        self, frame: Reception, entries: Iterable[object], read: Callable[[Record], Heard]
    ) -> list[Heard]:
        """Return the receptions of a frame that ``read`` makes of a list of entries.

        A bad entry costs only itself; those that are wrong in the same way make one reject.
        """
        found: list[Heard] = []
        faults: Counter[tuple[str, str]] = Counter()
        for entry in entries:
            try:
                if not isinstance(entry, dict):
                    raise Fault("bad_field", "who heard it: a list of objects is expected")
                found.append(read(entry))
            except Fault as fault:
                faults[fault.reason, fault.detail] += 1
        for (reason, detail), count in faults.items():
            more = f" ({count:,} entries)" if count > 1 else ""
            self.rows.reject(reason, detail + more, frame.gateway, frame.time)
        return found

    def by_gateway(self, record: Record, key: str, handle: Callable[[Named, Record], None]) -> None:
        """Handle each member of an object of gateways by id; a bad member costs only itself."""
        for identifier, entry in fields.get(record, key, fields.inner).items():
            with SetAside(self.rows):
                if not isinstance(entry, dict):
                    raise Fault("bad_record", f"{key}: objects are expected")
                name = fields.text("id", identifier)
                handle(fields.identity(name, None, self.source.network), entry)

    def push(self, receptions: Iterable[Heard], devices: Collection[Record] = ()) -> None:
        """Push receptions, and note the places of their gateways.

        ``devices`` are the places that the record states for the device.
        """
        for row, location in receptions:
            if row.gateway is not None:
                self.note(row.gateway, row.time, location)
            why = too_strong(row.rssi, location, devices) if self.source.check_radio else None
            if why is None:
                self.rows.add("receptions", row)
            else:
                self.rows.reject("too_strong", why, row.gateway, row.time)

    def note(self, gateway: str, time: int, location: Record, placement: str | None = None) -> None:
        """Note when a gateway was seen (0 where that is not known), and its place.

        The last place counts: networks repeat it with every record, jittered by the gateway's GPS.
        """
        nowhere = 0, -1, self.rows.line, NO_FIELDS, None
        seen, at, line, place, stand = self._places.get(gateway, nowhere)
        if location and time >= at:
            at, line, place = time, self.rows.line, location
        self._places[gateway] = max(seen, time), at, line, place, placement or stand

    def push_places(self) -> None:
        """Push each gateway with its last place."""
        rows = self.rows
        for gateway, (seen, _, rows.line, location, placement) in self._places.items():
            where = rows.place(location, gateway)
            rows.gateway(Gateway(gateway, None, *where, None, placement, seen or None))

    def later(self, gateway: str, time: int) -> bool:
        """Return whether a time is later than the last poll of a gateway, or far earlier.

        In the second case one of both dates is wrong, and no poll may be lost for that.
        """
        last = self._polls[gateway][0] if gateway in self._polls else time - 1
        return time > last or last - time > GAP * DAY

    def poll(
        self,
        named: Named,
        time: int,
        *,
        frames: int | None = None,
        total: int | None = None,
        rate: float | None = None,
        since: int | None = None,
    ) -> None:
        """Push the status that follows from asking a gateway again.

        A poll covers the time since the poll before it, but no more than ``interval``, as nothing
        is known of a longer gap. The first poll of a gateway covers a moment. A connection covers
        all of the time since the server says that it began.

        Cumulative counters become the frames since the poll before; with a new connection they
        begin at 0.

        Parameters
        ----------
        named, time
            The gateway, and the time of the poll.
        frames, total, rate
            Frames of the interval, or a cumulative counter, or frames per hour (any rate above 0
            is one frame at least).
        since
            Time at which the connection began.

        Raises
        ------
        Fault
            ``stale_poll``; ``bad_time`` before the connection began; ``bad_counter``.
        """
        gateway = named.gateway
        before, base, session = self._polls.get(gateway, (None, None, None))
        if not self.later(gateway, time):
            raise Fault("stale_poll", "not later than the poll before it")
        if since is not None and time < since:
            raise Fault("bad_time", "before its connection began")
        self._polls[gateway] = time, total, since
        before = None if before is None or before > time else before
        covers = min(time - before, self.interval) if before is not None else 1
        if since is not None:
            covers = max(min(time - max(since, before or 0), BOUNDS["covers"][1]), 1)
        if rate is not None:
            frames = math.ceil(rate * covers / (3600 * SECOND))
        base = base if since == session else 0
        if total is not None and base is not None:
            frames = total - base
            if not 0 <= frames <= BOUNDS["frames"][1]:
                raise Fault("bad_counter", "not what the poll before it allows")
        self.rows.add("statuses", Status(time, named.gateway, covers, frames, named.eui))


@dataclass(frozen=True)
class Reader(ABC):
    """Base of readers, which turn sources of one format into rows.

    Attributes
    ----------
    name
        Short name, as in tables of readers and in errors.
    about
        The format, for people.
    gives
        The metrics that the format can give at most.
    """

    name: str
    about: str
    gives: frozenset[str]

    @abstractmethod
    def declines(self, source: Source) -> str | None:
        """Return why a source is not of this format, None if it is."""

    def explain(self, source: Source) -> str:  # noqa: ARG002 - plain tables name columns of it
        """Return the format, and the parts of a source that are not read."""
        return self.about

    def given(self, rows: Rows) -> frozenset[str]:
        """Return the metrics that the rows of a source give, of those that its format can give.

        A source that knows of no frame whether it was delivered gives no uplinks, rather than 0;
        and so on for ``NEEDED``. Where it knows of some, unknown counts as no. A log without a
        single status, or without a single frame, was not made to hold any; a source without a
        single row says nothing against its format.
        """
        tables = {name: rows.table(name) for name in ("receptions", "statuses")}
        filled = {name for name, table in tables.items() if len(table)} or tables.keys()

        def known(name: str, columns: str) -> bool:
            table = tables[name]
            full = (table[column].null_count < len(table) for column in columns.split())
            return name in filled and (not len(table) or all(full))

        return frozenset(metric for metric in self.gives if known(*NEEDED[metric]))

    @abstractmethod
    def read(self, source: Source, rows: Rows) -> None:
        """Push all rows."""


@dataclass(frozen=True)
class JsonReader(Reader):
    """Reader of objects that have some keys, each on its own.

    Objects come one per line, or, over any lines, in an array or one after another.

    Attributes
    ----------
    keys
        Keys of an object of this format.
    handle
        Function that pushes the rows of one object.
    interval
        Longest time that a status covers, microseconds.
    knows
        Function that recognises an object where having all keys is not the test.
    containers
        Marks that open the containers of records; with ``{`` a source is always one document.
    """

    keys: tuple[str, ...]
    handle: Callable[[Record, Log], None]
    interval: int = 300 * SECOND
    knows: Callable[[Record], bool] | None = None
    containers: str = "["

    def declines(self, source: Source) -> str | None:
        """Return why a source is not of this format, None if it is."""
        knows = self.knows or (lambda record: all(key in record for key in self.keys))
        if any(knows(unwrapped(record)) for record in source.records):
            return None
        return f"no object with {' and '.join(self.keys)}"

    def read(self, source: Source, rows: Rows) -> None:
        """Push the rows of each object, and the last place of each gateway."""
        log = Log(source, rows, self.interval)

        def handle(found: Iterable[object], step: int = 0) -> None:
            with SetAside(rows):
                for record in found:
                    with SetAside(rows):
                        if not isinstance(record, dict):
                            raise Fault("bad_record", "an object is expected")
                        self.handle(unwrapped(record), log)
                    rows.line += step

        if source.whole or "{" in self.containers:
            rows.line = 1
            found = members(source.document(rows), self.containers)
            handle((record for _, record in found), 1)
        else:
            for line in source.lines(rows):
                handle(parse_line(line))
        log.push_places()


@dataclass(frozen=True)
class CsvReader(Reader):
    """Reader of the rows of a CSV file with some columns, each on its own.

    Attributes
    ----------
    columns
        Columns of a file of this format.
    handle
        Function that pushes the rows of one line.
    """

    columns: frozenset[str]
    handle: Callable[[Record, Log], None]

    def declines(self, source: Source) -> str | None:
        """Return why a source is not of this format, None if it is."""
        missing = sorted(self.columns.difference(source.header))
        if missing or not isinstance(source.origin, Path) or source.parquet:
            return f"no column of a CSV file is named {missing[0]}" if missing else "no CSV file"
        return None

    def read(self, source: Source, rows: Rows) -> None:
        """Push the rows of a file."""
        log = Log(source, rows, 3600 * SECOND)
        for line in source.csv_rows(rows):
            with SetAside(rows):
                self.handle(dict(zip(source.header, line)), log)


def _modulation(stated: dict[str, Any]) -> tuple[object, object, object]:
    """Remove spreading factor, bandwidth and code rate from the columns of a frame."""
    names = ("spreading_factor", "bandwidth", "code_rate", "data_rate")
    factor, bandwidth, code_rate, data_rate = (stated.pop(name, None) for name in names)
    if bandwidth is None and data_rate is not None:
        factor, bandwidth = data_rate
    return factor, bandwidth, code_rate


def application_frame(time: int, stated: dict[str, Any]) -> Reception:
    """Return the columns that all receptions of an uplink that reached its application share."""
    data, modulation = stated.pop("data"), _modulation(stated)
    size = None if data is None else len(data)
    if stated.get("airtime") is None:
        stated["airtime"] = airtime.uplink_airtime(size, *modulation)
    digest = None if data is None else fields.payload_hash(data)
    frame = Reception(time, None, payload_hash=digest, size=size, delivered=True, foreign=False)
    return frame._replace(**stated)


def radio_frame(
    time: int, data: bytes, stated: dict[str, Any], network: str, *, sent: bool = False
) -> Reception:
    """Return the columns of a frame that a gateway heard, or sent, as it goes over the air."""
    duration = airtime.frame_airtime(len(data), *_modulation(stated), crc=not sent)
    frame = phy.read_frame(data, time, network)
    if sent:
        frame = frame._replace(kind="downlink", foreign=False)
    elif frame.kind == "downlink":
        raise Fault("not_uplink", "a downlink of a gateway near by")
    return frame._replace(airtime=duration, **stated)


def stated_ids(record: Record, key: str, log: Log) -> tuple[str | None, str | None]:
    """Return the id and the EUI that a record states; of both, a wrong one is set aside alone.

    Raises
    ------
    Fault
        One cannot be read, and the other is not stated.
    """
    try:
        identifier = fields.get(record, key, fields.text)
    except Fault as fault:
        stated = fields.get(record, "eui", fields.eui_text)
        if fields.eui(stated) is None:
            raise
        log.rows.reject("unread_field", fault.detail)
        return None, stated
    if identifier:
        return identifier, log.get(record, "eui", fields.eui_text)
    return None, fields.get(record, "eui", fields.eui_text)


def wrapped_gateway(record: Record, log: Log) -> Named:
    """Return the gateway that a message's wrapper states, else the EUI in the name of the file.

    Raises
    ------
    Fault
        Neither names a gateway.
    """
    ids = fields.get(record, "gateway_ids", fields.inner)
    identifier, stated = stated_ids(ids, "gateway_id", log)
    identifier = identifier or fields.first(record, _WRAPPERS, fields.text)
    if not identifier and not stated and (match := _EUI_IN_NAME.search(log.source.name)):
        stated = match[1]
    return fields.identity(identifier, stated, log.source.network)
