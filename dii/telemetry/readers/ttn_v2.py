"""The Things Network's version 2 (2016 to 2021): uplinks of applications, and its NOC.

**Uplinks**, as MQTT gave them: one JSON object a line. Go leaves out what is false: a gateway
without ``gtw_trusted`` was not. Most gateways had no clock, so their ``time`` is often empty; the
server's stands in ``metadata``.

**The NOC** said of each gateway when it was last seen and how much it had heard. Counters are
cumulative and never reset, so the frames of an interval are differences; a decrease is none. A
document does not say when it was asked for; the latest gateway tells, as in a network some gateway
always spoke a moment ago. Gateways that had been away for longer than an interval then have no
status, only a place and a last sign of life: an old status would be the record of another year.
"""

from __future__ import annotations

import re
from typing import Final

from dii.schema import Gateway
from dii.telemetry.metrics.airtime import data_rate, uplink_airtime
from dii.telemetry.readers import fields
from dii.telemetry.readers.base import (
    STATUS_METRICS,
    UPLINK_METRICS,
    CsvReader,
    Heard,
    JsonReader,
    Log,
    application_uplink,
)
from dii.telemetry.readers.fields import Fault, Named, Record
from dii.telemetry.source import Source
from dii.units import SECOND

HOUR: Final = 3600 * SECOND
"""The NOC was asked every hour at most; a poll speaks for no more."""

_STATUSES: Final = re.compile(rb'\s*\{[^{}\[\]]{0,1000}"statuses"\s*:\s*\{')


class TtnV2(JsonReader):
    """Application uplinks of TTN v2."""

    name = "ttn-v2"
    about = "TTN v2: uplink messages of applications, JSON lines"
    gives = UPLINK_METRICS
    keys = ("dev_id", "metadata")

    def record(self, record: Record, log: Log) -> None:
        """Push the receptions of an uplink."""
        if "dev_id" not in record:
            raise Fault("bad_record", "a message of an application is expected")
        metadata = fields.inner(record, "metadata")
        received, entries = fields.time(metadata, "time"), fields.items(metadata, "gateways")
        if not entries:
            raise Fault("no_receptions", "not an uplink, or simulated")
        if received is None:
            raise Fault("no_time", "metadata.time is missing")
        optional, rate = log.rows.optional, data_rate(metadata.get("data_rate"))
        data = optional(fields.payload, record, "payload_raw")
        frame = application_uplink(
            received,
            optional(fields.text, record, "hardware_serial")
            or optional(fields.text, record, "dev_id"),
            optional(fields.text, record, "app_id"),
            optional(fields.counter, record, "counter", "f_cnt"),
            data,
            uplink_airtime(data if data is None else len(data), *rate, metadata.get("coding_rate")),
        )

        def read(entry: Record) -> Heard:
            named = fields.identity(fields.text(entry, "gtw_id"), None, log.source.network)
            row, _ = log.entry(frame, entry, named)
            trusted = optional(fields.flag, entry, "gtw_trusted")
            return row._replace(trusted=bool(trusted)), entry if "latitude" in entry else {}

        log.push(log.heard(frame, entries, read), [metadata])


class NocStatuses(JsonReader):
    """Documents of the NOC, one or several."""

    name = "ttn-v2-noc"
    about = 'TTN v2 NOC: {"statuses": ...}, documents one after another'
    gives = STATUS_METRICS
    interval = HOUR

    def declines(self, source: Source) -> str | None:
        """Return why a source is not of this format, None if it is."""
        return None if _STATUSES.match(source.head) else "no object with statuses"

    def record(self, record: Record, log: Log) -> None:
        """Push a status of each gateway that was there, and note the place of each."""
        found, statuses = [], fields.inner(record, "statuses")
        if not statuses:
            raise Fault("bad_record", "an object with statuses is expected")
        for identifier, entry in statuses.items():
            try:
                found.append(_seen(identifier, entry, log))
            except Fault as fault:
                log.rows.reject(fault.reason, fault.detail)
        latest = max((at for _, at, _ in found), default=0)
        for named, at, total in found:
            if at and at > latest - HOUR and log.polls.later(named.gateway, at):
                try:
                    log.polls.poll(named, at, total=total)
                except Fault as fault:
                    log.rows.reject(fault.reason, fault.detail, named.gateway)


def _seen(identifier: str, entry: object, log: Log) -> tuple[Named, int, int | None]:
    if not isinstance(entry, dict):
        raise Fault("bad_record", "statuses: objects are expected")
    named = fields.identity(fields.text({"id": identifier}, "id"), None, log.source.network)
    at, total = (
        fields.time(entry, "timestamp") or 0,
        log.rows.optional(fields.integer, entry, "rx_ok"),
    )
    place = log.rows.optional(fields.inner, entry, "location") or {}
    log.places.note(named.gateway, at, log.rows.line, place)
    return named, at, total


class NocCounters(CsvReader):
    """A table of polls: when a gateway was last seen and how much it had heard."""

    name = "ttn-v2-noc-counters"
    about = "polls of the TTN v2 NOC: CSV with device_id, last_online, rx_ok, measured_at"
    gives = STATUS_METRICS
    columns = frozenset({"device_id", "last_online", "rx_ok", "measured_at"})

    def record(self, record: Record, log: Log) -> None:
        """Push a status of a poll that found its gateway there, else when it was last seen."""
        identifier, asked = fields.text(record, "device_id"), fields.time(record, "measured_at")
        if identifier is None or asked is None:
            raise Fault("bad_field", "device_id and measured_at: values are expected")
        named = fields.identity(identifier, None, log.source.network)
        seen = fields.time(record, "last_online")
        total = log.rows.optional(fields.integer, record, "rx_ok")
        if seen is None or seen <= asked - HOUR:
            log.rows.gateway(Gateway(named.gateway, last_seen=seen))
        else:
            log.polls.poll(named, asked, total=total)
