"""What a reader is.

A reader is one small class for one format. It says what the format is, looks at the beginning of
a source and either takes it or says why not, declares which metrics the format can give at most,
and pushes rows. Everything that readers share (bounds, fields, rows, rejects) stands elsewhere, so
that a new format is a new file and one more entry in ``READERS``.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final

from dii.schema import BOUNDS, GAP, Gateway, Reception
from dii.telemetry.readers import fields
from dii.telemetry.readers.fields import NO_FIELDS, Fault, Named, Record
from dii.telemetry.readers.radio import too_strong
from dii.telemetry.source import Source, parse_line, values
from dii.telemetry.tables import Rows
from dii.units import DAY, SECOND

STATUS_METRICS: Final = frozenset({"connected_ppm", "online_ppm"})
"""Metrics of statuses: only they tell silence from absence."""
UPLINK_METRICS: Final = frozenset(
    {
        "receptions",
        "uplinks",
        "sole_uplinks",
        "shapley_uplinks",
        "uplink_units",
        "data_units",
        "excluded_frames",
        "usage.delivered",
        "usage.uplink_units",
        "usage.lost",
    }
)
"""Metrics and usage of uplinks as applications get them.

No uptime: between two frames a gateway may have been away, or there was nothing to hear. And no
deafness, which is silence on every network: applications see the frames of their own only.
"""
LOG_METRICS: Final = frozenset({"receptions", "foreign_frames", "excluded_frames"})
"""Metrics of what a gateway hears: frames of all networks, and nobody knows what became of them."""
DOWNLINK_METRICS: Final = frozenset({"downlink_units", "downlinks"})
"""Metrics of what gateways send."""
RECEPTION_METRICS: Final = UPLINK_METRICS | LOG_METRICS | DOWNLINK_METRICS | {"usage.downlinks"}
"""Everything that the table of receptions tells.

No source gives ``own_uplinks``: whose applications are whose stands in none.
"""
NEEDED: Final[Mapping[str, tuple[str, frozenset[str]]]] = {
    "uplinks": ("receptions", frozenset({"delivered"})),
    "sole_uplinks": ("receptions", frozenset({"delivered"})),
    "shapley_uplinks": ("receptions", frozenset({"delivered"})),
    "uplink_units": ("receptions", frozenset({"delivered", "airtime"})),
    "data_units": ("receptions", frozenset({"delivered", "size"})),
    "downlink_units": ("receptions", frozenset({"airtime"})),
    "foreign_frames": ("receptions", frozenset({"foreign"})),
    "online_ppm": ("statuses", frozenset({"frames"})),
    "usage.delivered": ("receptions", frozenset({"application", "delivered"})),
    "usage.uplink_units": ("receptions", frozenset({"application", "delivered", "airtime"})),
    "usage.downlinks": ("receptions", frozenset({"application"})),
    "usage.lost": ("receptions", frozenset({"application", "delivered", "device", "f_cnt"})),
}
"""Metrics that cannot be told from a source that knows nothing of some column."""

_WRAPPERS: Final = ("gateway", "gateway_id", "gatewayEui", "gatewayID", "gatewayId", "mac")
_EUI_IN_NAME: Final = re.compile(
    r"(?<![0-9a-f])([0-9a-f]{16})(?![0-9a-f])", re.IGNORECASE | re.ASCII
)


def known_metrics(gives: frozenset[str], rows: Rows) -> frozenset[str]:
    """Return what a source gives of what its format can give.

    A source that knows of no frame whether it was delivered gives no uplinks, rather than 0; and so
    on for ``NEEDED``. Where it knows of some, unknown counts as no. A log without a single status,
    or without a single frame, was not made to hold any; a source without a single row says nothing
    against its format.
    """
    heard, watched = len(rows.table("receptions")), len(rows.table("statuses"))
    if heard and not watched:
        gives -= STATUS_METRICS
    if watched and not heard:
        gives -= RECEPTION_METRICS

    def unknown(table: str, columns: frozenset[str]) -> bool:
        found = rows.table(table)
        return any(len(found) > 0 and found[name].null_count == len(found) for name in columns)

    return frozenset(m for m in gives if m not in NEEDED or not unknown(*NEEDED[m]))


class Reader(ABC):
    """Turns sources of one format into rows.

    Attributes
    ----------
    name
        Short name, as in tables of readers and in errors.
    about
        The format, for people.
    gives
        The metrics that the format can give at most.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    gives: ClassVar[frozenset[str]]

    @abstractmethod
    def declines(self, source: Source) -> str | None:
        """Return why a source is not of this format, None if it is."""

    def explain(self, source: Source) -> str:  # noqa: ARG002 - others say something of it
        """Return what the format is, and what is not read of a source."""
        return self.about

    def given(self, rows: Rows) -> frozenset[str]:
        """Return which of the metrics the rows of a source do give."""
        return known_metrics(self.gives, rows)

    @abstractmethod
    def read(self, source: Source, rows: Rows) -> None:
        """Push all rows."""


def read_records(source: Source, rows: Rows, handle: Callable[[Record], None]) -> None:
    """Hand each JSON object of a source to ``handle``; its faults become rejects.

    Objects come one a line, or, over any lines, in an array or one after another.
    """

    def use(record: object) -> None:
        try:
            if not isinstance(record, dict):
                raise Fault("bad_record", "an object is expected")
            handle(record)
        except Fault as fault:
            rows.reject(fault.reason, fault.detail)

    if source.whole:
        try:
            for number, value in enumerate(values(source.document(rows)), 1):
                rows.line = number
                use(value)
        except Fault as fault:
            rows.line += 1
            rows.reject(fault.reason, fault.detail)
        return
    for line in source.lines(rows):
        try:
            for value in parse_line(line):
                use(value)
        except Fault as fault:
            rows.reject(fault.reason, fault.detail)


def unwrapped(record: Record) -> Record:
    """Return a record without the ``{"result": ...}`` of The Things Stack's streams."""
    result = record.get("result")
    return result if isinstance(result, dict) else record


class LastPlaces:
    """Keeps when each gateway of a stream was last seen, and the last place that it gives.

    Networks repeat a gateway's place with every record, jittered by its own GPS.
    """

    def __init__(self) -> None:
        self._last: dict[str, tuple[int, int, int, Record, str | None]] = {}

    def note(
        self, gateway: str, time: int, line: int, location: Record, placement: str | None = None
    ) -> None:
        """Note that a gateway was there, and where; ``time`` is 0 where that is not known."""
        seen, at, first, place, stand = self._last.get(gateway, (0, -1, line, NO_FIELDS, None))
        if location and time >= at:
            at, first, place = time, line, location
        self._last[gateway] = max(seen, time), at, first, place, placement or stand

    def push(self, rows: Rows) -> None:
        """Push each gateway with its last place."""
        for gateway, (seen, _, line, location, placement) in self._last.items():
            rows.line = line
            where = rows.place(location, gateway)
            rows.gateway(Gateway(gateway, None, *where, None, placement, seen or None))


class Polls:
    """Turns what is asked of gateways again and again into statuses.

    A poll covers the time since the one before it, but no more than ``interval``: who asks seldom
    does not know what was between. The first poll of a gateway covers a moment. Of a connection
    that the server says began at ``since``, all of the time since then is covered.

    Cumulative counters become the frames since the poll before; with a new connection they begin
    at 0.
    """

    def __init__(self, rows: Rows, interval: int) -> None:
        self._rows = rows
        self._interval = interval
        self._last: dict[str, tuple[int, int | None, int | None]] = {}

    def later(self, gateway: str, time: int) -> bool:
        """Return whether a time is later than the last poll of a gateway.

        Where it is far earlier, one of both dates is wrong, and no poll may be lost for that.
        """
        last = self._last[gateway][0] if gateway in self._last else time - 1
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
        """Add a poll.

        Parameters
        ----------
        named, time
            The gateway that was asked, and when.
        frames, total, rate
            Frames of the interval, or a cumulative counter, or frames per hour (any rate above 0
            is one frame at least).
        since
            When the connection began of which the poll speaks.

        Raises
        ------
        Fault
            ``stale_poll``; ``bad_time`` before the connection began; ``bad_counter``.
        """
        gateway = named.gateway
        before, base, session = self._last.get(gateway, (None, None, None))
        if not self.later(gateway, time):
            raise Fault("stale_poll", "not later than the poll before it")
        if since is not None and time < since:
            raise Fault("bad_time", "before its connection began")
        self._last[gateway] = time, total, since
        before = None if before is None or before > time else before
        covers = min(time - before, self._interval) if before is not None else 1
        if since is not None:
            covers = max(min(time - max(since, before or 0), BOUNDS["covers"][1]), 1)
        if rate is not None:
            frames = math.ceil(rate * covers / (3600 * SECOND))
        base = base if since == session else 0
        if total is not None and base is not None:
            frames = total - base
            if not 0 <= frames <= BOUNDS["frames"][1]:
                raise Fault("bad_counter", "not what the poll before it allows")
        self._rows.status(named, time, covers, frames)


@dataclass(slots=True)
class Log:
    """What a reader of records works with, for one source."""

    source: Source
    rows: Rows
    polls: Polls
    places: LastPlaces = field(default_factory=LastPlaces)

    def push(self, receptions: Iterable[Heard], devices: Collection[Record] = ()) -> None:
        """Push receptions, and note where their gateways were.

        ``devices`` are the places that the record states for the device.
        """
        for row, location in receptions:
            if row.gateway is not None:
                self.places.note(row.gateway, row.time, self.rows.line, location)
            why = too_strong(row.rssi, location, devices) if self.source.check_radio else None
            if why is None:
                self.rows.reception(row)
            else:
                self.rows.reject("too_strong", why, row.gateway, row.time)

    def heard(
        self, frame: Reception, entries: Iterable[object], read: Callable[[Record], Heard]
    ) -> list[Heard]:
        """Return what ``read`` makes of each entry of who heard a frame.

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

    def entry(
        self, frame: Reception, entry: Record, named: Named | None, snr: str = "snr"
    ) -> Heard:
        """Return the reception of a frame that an entry states, and the place of its gateway.

        ``snr`` is the entry's name for the signal-to-noise ratio.
        """
        optional = self.rows.optional
        row = frame._replace(
            **(named._asdict() if named else {}),
            gateway_time=optional(fields.clock, entry, "time"),
            rssi=optional(fields.number, entry, "rssi", "rssi"),
            snr=optional(fields.number, entry, snr, "snr"),
        )
        return row, optional(fields.inner, entry, "location") or {}


Heard = tuple[Reception, Record]
"""A reception, and the place that the record states for its gateway."""


class JsonReader(Reader):
    """Reads objects that have some fields, each on its own.

    Attributes
    ----------
    keys
        What the objects of this format have.
    interval
        How much time a status speaks for at most, microseconds.
    """

    keys: ClassVar[tuple[str, ...]]
    interval: ClassVar[int] = 300 * SECOND

    def declines(self, source: Source) -> str | None:
        """Return why a source is not of this format, None if it is."""
        if any(self.knows(unwrapped(record)) for record in source.records):
            return None
        return f"no object with {' and '.join(self.keys)}"

    def knows(self, record: Record) -> bool:
        """Whether an object is of this format."""
        return all(name in record for name in self.keys)

    def read(self, source: Source, rows: Rows) -> None:
        """Push what each object says, and the last place of each gateway."""
        log = Log(source, rows, Polls(rows, self.interval))
        read_records(source, rows, lambda record: self.record(unwrapped(record), log))
        log.places.push(rows)

    @abstractmethod
    def record(self, record: Record, log: Log) -> None:
        """Push what one object says."""


class CsvReader(Reader):
    """Reads rows of a CSV file with some columns, each on its own."""

    columns: ClassVar[frozenset[str]]

    def declines(self, source: Source) -> str | None:
        """Return why a source is not of this format, None if it is."""
        missing = sorted(self.columns.difference(source.header))
        if missing or not isinstance(source.origin, Path) or source.parquet:
            return f"no column of a CSV file is named {missing[0]}" if missing else "no CSV file"
        return None

    def read(self, source: Source, rows: Rows) -> None:
        """Push what each row says."""
        log = Log(source, rows, Polls(rows, 3600 * SECOND))
        for line in source.csv_rows(rows):
            try:
                self.record(dict(zip(source.header, line)), log)
            except Fault as fault:
                rows.reject(fault.reason, fault.detail)

    @abstractmethod
    def record(self, record: Record, log: Log) -> None:
        """Push what one row says."""


def application_uplink(
    received: int,
    device: str | None,
    application: str | None,
    f_cnt: int | None,
    data: bytes | None,
    airtime: int | None,
) -> Reception:
    """Return what all receptions of an uplink that reached its application share.

    ``f_cnt`` and ``data`` are None where they cannot be read.
    """
    return Reception(
        received,
        None,
        device=(fields.eui(device) or device.upper()) if device else None,
        application=application,
        f_cnt=f_cnt,
        payload_hash=None if data is None else fields.payload_hash(data),
        size=None if data is None else len(data),
        airtime=airtime,
        delivered=True,
        foreign=False,
    )


def stated_eui(record: Record, identifier: str | None, rows: Rows) -> str | None:
    """Return what a record states as EUI; one that cannot be read costs itself beside an id.

    Raises
    ------
    Fault
        It cannot be read, and there is no id.
    """
    return rows.optional(fields.text, record, "eui") if identifier else fields.text(record, "eui")


def server_time(record: Record) -> int:
    """Return when whoever logged a message of a gateway got it.

    ``received_at`` or ``time``, ISO 8601, or ``_timestamp``, milliseconds. A gateway's clock will
    not do: who is paid per epoch must not choose the epoch.

    Raises
    ------
    Fault
        ``no_time``: there is none; ``bad_time``.
    """
    at = fields.first_time(record, "received_at", "time", "_timestamp")
    if at is None:
        raise Fault("no_time", "none of received_at, time, _timestamp")
    return at


def wrapped_gateway(record: Record, log: Log) -> Named:
    """Return the gateway that a message's wrapper states, else the EUI in the name of the file.

    Raises
    ------
    Fault
        Neither names a gateway.
    """
    ids = fields.inner(record, "gateway_ids")
    identifier = fields.text(ids, "gateway_id")
    for key in _WRAPPERS:
        identifier = identifier or fields.text(record, key)
    stated = stated_eui(ids, identifier, log.rows)
    if not identifier and not stated and (match := _EUI_IN_NAME.search(log.source.name)):
        stated = match[1]
    return fields.identity(identifier, stated, log.source.network)
