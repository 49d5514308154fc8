"""What The Things Network's version 2 said of gateways: its NOC, and polls of it as a table.

Counters are cumulative and never reset, so the frames of an interval are differences; a decrease is
none. When a gateway was last seen is the server's word. A document of the NOC does not say when it
was asked for; the latest gateway tells, as in a network some gateway always spoke a moment ago.
Gateways that had been away for longer than an interval then have no status, only a place and a
last sign of life: an old status would be the record of another year.
"""

from __future__ import annotations

import re
from typing import Final

from dii.telemetry.fields import Fault, Record, canonical_gateway, count, inner, text, time
from dii.telemetry.readers.base import (
    STATUS_METRICS,
    LastPlaces,
    Polls,
    Reader,
    read_records,
)
from dii.telemetry.source import Source
from dii.telemetry.tables import Gateway, Rows
from dii.units import SECOND

HOUR: Final = 3600 * SECOND
"""The NOC was asked every hour at most; a poll speaks for no more."""

_STATUSES: Final = re.compile(rb'\s*\{[^{}\[\]]{0,1000}"statuses"\s*:\s*\{')
_COUNTERS: Final = {"device_id", "last_online", "rx_ok", "measured_at"}


class NocStatuses(Reader):
    """Documents of the NOC, one or several."""

    name = "ttn-v2-noc"
    about = 'TTN v2 NOC: {"statuses": ...}, documents one after another'
    gives = STATUS_METRICS

    def declines(self, source: Source) -> str | None:
        """Return why a source is not of this format, None if it is."""
        return None if _STATUSES.match(source.head) else "no object with statuses"

    def read(self, source: Source, rows: Rows) -> None:
        """Push the gateways, and a status of each that was there."""
        polls, places = Polls(rows, HOUR), LastPlaces()

        def statuses(document: Record) -> None:
            found = inner(document, "statuses")
            seen = {}
            for identifier, record in found.items():
                try:
                    seen[identifier] = _status(identifier, record, source.network, rows, places)
                except Fault as fault:
                    rows.reject(fault.reason, fault.detail)
            latest = max((at for _, at, _ in seen.values() if at), default=0)
            for gateway, at, frames in seen.values():
                if at and at > latest - HOUR and polls.later(gateway, at):
                    try:
                        polls.poll(gateway, at, frames)
                    except Fault as fault:
                        rows.reject(fault.reason, fault.detail, gateway)

        read_records(source, rows, statuses)
        places.push(rows)


def _status(
    identifier: str, record: object, network: str, rows: Rows, places: LastPlaces
) -> tuple[str, int | None, int | None]:
    if not isinstance(record, dict):
        raise Fault("bad_record", "statuses: objects are expected")
    gateway = rows.identity(text({"id": identifier}, "id"), None, network)
    seen, frames = time(record, "timestamp"), count(record, "rx_ok")
    places.note(gateway, seen or 0, rows.line, inner(record, "location"))
    return gateway, seen, frames


class NocCounters(Reader):
    """A table of polls: when a gateway was last seen and how much it had heard."""

    name = "ttn-v2-noc-counters"
    about = "polls of the TTN v2 NOC: CSV with device_id, last_online, rx_ok, measured_at"
    gives = STATUS_METRICS

    def declines(self, source: Source) -> str | None:
        """Return why a source is not of this format, None if it is."""
        missing = sorted(_COUNTERS.difference(source.header))
        return f"no column is named {missing[0]}" if missing else None

    def read(self, source: Source, rows: Rows) -> None:
        """Push a status for each poll that found its gateway there, else when it was last seen."""
        polls = Polls(rows, HOUR)
        for values in source.csv_rows(rows):
            try:
                self._poll(dict(zip(source.header, values)), source.network, rows, polls)
            except Fault as fault:
                rows.reject(fault.reason, fault.detail)

    @staticmethod
    def _poll(record: Record, network: str, rows: Rows, polls: Polls) -> None:
        identifier, asked = text(record, "device_id"), time(record, "measured_at")
        if identifier is None or asked is None:
            raise Fault("bad_field", "device_id and measured_at: values are expected")
        gateway = canonical_gateway(identifier, None, network)
        seen, heard = time(record, "last_online"), count(record, "rx_ok")
        if seen is None or seen <= asked - HOUR:
            rows.gateway(Gateway(gateway, last_seen=seen))
        else:
            polls.poll(gateway, asked, heard)
