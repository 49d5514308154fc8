"""The NOC of The Things Network's version 2 (2016 to 2021).

It stated for each gateway when it was last seen, and a counter of its frames. Counters are never
reset, so the frames of an interval are differences; a decrease is a reject. A document does not
state its own time. It is the time of the gateway seen last, as in a network some gateway was always
seen a moment ago. A gateway that was not seen within an interval before it gets no status, only a
place and a time: its old status would be a record of another year.
"""

from __future__ import annotations

import re
from typing import Final

from dii.schema import Gateway
from dii.telemetry.readers import base, fields
from dii.telemetry.readers.base import CsvReader, JsonReader, Log, SetAside
from dii.telemetry.readers.fields import Fault, Named, Record
from dii.telemetry.source import Source
from dii.units import SECOND

HOUR: Final = 3600 * SECOND
"""Longest interval between polls of the NOC; a poll covers no more."""

_STATUSES: Final = re.compile(rb'\s*\{[^{}\[\]]{0,1000}"statuses"\s*:\s*\{')


class NocStatuses(JsonReader):
    """Reader of documents, one or several, which may be longer than the head of a source."""

    def declines(self, source: Source) -> str | None:
        """Return why a source is not of this format, None if it is."""
        return None if _STATUSES.match(source.head) else "no object with statuses"


def _statuses(record: Record, log: Log) -> None:
    """Push a status of each gateway that was online, and note the place of each."""
    seen: list[tuple[Named, int, int | None]] = []

    def note(named: Named, entry: Record) -> None:
        at = fields.get(entry, "timestamp", fields.time) or 0
        total = log.get(entry, "rx_ok", fields.integer())
        log.note(named.gateway, at, log.get(entry, "location", fields.inner) or {})
        seen.append((named, at, total))

    if not fields.get(record, "statuses", fields.inner):
        raise Fault("bad_record", "an object with statuses is expected")
    log.by_gateway(record, "statuses", note)
    latest = max((at for _, at, _ in seen), default=0)
    for named, at, total in seen:
        if at and at > latest - HOUR and log.later(named.gateway, at):
            with SetAside(log.rows, named.gateway):
                log.poll(named, at, total=total)


def _counters(record: Record, log: Log) -> None:
    """Push the status of a gateway that was online, else only its last sign of life."""
    identifier = fields.get(record, "device_id", fields.text)
    asked = fields.get(record, "measured_at", fields.time)
    if identifier is None or asked is None:
        raise Fault("bad_field", "device_id and measured_at: values are expected")
    named = fields.identity(identifier, None, log.source.network)
    seen = fields.get(record, "last_online", fields.time)
    total = log.get(record, "rx_ok", fields.integer())
    if seen is None or seen <= asked - HOUR:
        log.rows.gateway(Gateway(named.gateway, last_seen=seen))
    else:
        log.poll(named, asked, total=total)


NOC: Final = NocStatuses(
    "ttn-v2-noc",
    'TTN v2 NOC: {"statuses": ...}, documents one after another',
    base.STATUS_METRICS,
    (),
    _statuses,
    interval=HOUR,
)
NOC_COUNTERS: Final = CsvReader(
    "ttn-v2-noc-counters",
    "polls of the TTN v2 NOC: CSV with device_id, last_online, rx_ok, measured_at",
    base.STATUS_METRICS,
    frozenset({"device_id", "last_online", "rx_ok", "measured_at"}),
    _counters,
)
