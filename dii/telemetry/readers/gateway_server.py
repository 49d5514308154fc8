"""What The Things Stack's gateway server says of gateways: statistics of connections, and events.

**Statistics** (``GET /gs/gateways/ID/connection/stats``, or for many at once within ``entries``)
count from ``connected_at`` on and begin anew with each connection, which covers all of the time
since. They name no gateway and no time of their own: a log states both beside them, or the file's
name carries the EUI and the latest sign of life is the time.

**Events** (``gs.up.receive``, ``gs.down.send``, ``gs.status.receive``, and now and then the
statistics) tell all that a gateway heard and sent, of any network, but not what became of it. Each
may come alone, without the event around it; then it needs the server's time and the gateway's name
just as much, which a bare status or downlink does not have.
"""

from __future__ import annotations

from typing import Final

from dii.schema import Reception
from dii.telemetry.metrics.airtime import frame_airtime
from dii.telemetry.readers import fields
from dii.telemetry.readers.base import (
    DOWNLINK_METRICS,
    LOG_METRICS,
    STATUS_METRICS,
    Heard,
    JsonReader,
    Log,
    wrapped_gateway,
)
from dii.telemetry.readers.fields import Fault, Named, Record
from dii.telemetry.readers.phy import read_frame, read_uplink
from dii.telemetry.readers.things_stack import modulation

_SIGNS: Final = (
    *("last_status_received_at", "last_uplink_received_at", "last_downlink_received_at"),
    "last_tx_acknowledgment_received_at",
)
_TYPES: Final = "type.googleapis.com/ttn.lorawan.v3."
_NAMES: Final = {
    "UplinkMessage": "gs.up.receive",
    "GatewayUplinkMessage": "gs.up.receive",
    "DownlinkMessage": "gs.down.send",
    "GatewayStatus": "gs.status.receive",
    "GatewayConnectionStats": "gs.gateway.connection.stats",
}
"""Messages, and the event that speaks of each first; others repeat it."""


class ConnectionStats(JsonReader):
    """Statistics of gateways' connections, as one polls them."""

    name = "things-stack-v3-connections"
    about = "The Things Stack v3: polls of gateway connection statistics, JSON"
    gives = STATUS_METRICS
    keys = ("connected_at",)

    def knows(self, record: Record) -> bool:
        """Whether an object, or one of its entries, is of this format."""
        entries = record.get("entries")
        found = entries.values() if isinstance(entries, dict) else [record]
        return any(isinstance(entry, dict) and "connected_at" in entry for entry in found)

    def record(self, record: Record, log: Log) -> None:
        """Push a status of each gateway."""
        asked, entries = fields.time(record, "time"), fields.inner(record, "entries")
        if not entries:
            _connection(record, wrapped_gateway(record, log), asked, log)
        for identifier, entry in entries.items():
            try:
                if not isinstance(entry, dict):
                    raise Fault("bad_record", "entries: objects are expected")
                name = fields.text({"id": identifier}, "id")
                named = fields.identity(name, None, log.source.network)
                _connection(entry, named, asked, log)
            except Fault as fault:
                log.rows.reject(fault.reason, fault.detail)


def _connection(stats: Record, named: Named, asked: int | None, log: Log) -> None:
    since, ended = fields.time(stats, "connected_at"), fields.time(stats, "disconnected_at")
    if since is None:
        raise Fault("no_time", "connected_at is missing")
    at = asked or max([since, *(sign for key in _SIGNS if (sign := fields.time(stats, key)))])
    if ended is not None and ended >= since:
        at = min(at, ended)
    total = log.rows.optional(fields.counter, stats, "uplink_count")
    log.polls.poll(named, at, total=total, since=since)


class GatewayEvents(JsonReader):
    """Events of gateways, as the console and the event stream give them."""

    name = "things-stack-v3-events"
    about = "The Things Stack v3: gateway events, JSON"
    gives = STATUS_METRICS | LOG_METRICS | DOWNLINK_METRICS
    keys = ("@type of a gateway's message",)

    def knows(self, record: Record) -> bool:
        """Whether an object is an event that counts, or its message alone."""
        return _event(record)[0] is not None

    def record(self, record: Record, log: Log) -> None:
        """Push the receptions, downlink or status of an event."""
        name, message = _event(record)
        if name is None and "name" not in record:
            raise Fault("bad_record", "an event of a gateway is expected")
        if name is None:
            raise Fault("no_receptions", "an event that counts nothing, or repeats another")
        at = fields.time(record, "time") if "name" in record else None
        if name == "gs.up.receive":
            _uplink(message, fields.time(message, "received_at") or at, log)
            return
        if at is None:
            raise Fault("no_time", "the message came without its event")
        ids = next(
            (one for one in fields.items(record, "identifiers") if isinstance(one, dict)), record
        )
        named = wrapped_gateway(ids, log)
        if name == "gs.down.send":
            data = fields.payload(message, "raw_payload")
            airtime = frame_airtime(
                len(data), *modulation(message, "scheduled", log.rows), crc=False
            )
            frame = read_frame(data, log.source.network)
            sent = Reception(at, **named._asdict(), airtime=airtime)._replace(**frame._asdict())
            log.rows.reception(sent._replace(kind="downlink", foreign=False))
        elif name == "gs.gateway.connection.stats":
            _connection(message, named, at, log)
        else:
            optional = log.rows.optional
            metrics = optional(fields.inner, message, "metrics") or {}
            places = optional(fields.items, message, "antenna_locations") or []
            heard = optional(fields.integer, metrics, "rxok", "frames")
            if heard is None and metrics.get("rxok") is None and "rxin" in metrics:
                heard = 0
            log.polls.poll(named, at, frames=heard)
            first = {"antenna_locations": next(iter(places), None)}
            place = optional(fields.inner, first, "antenna_locations") or {}
            log.places.note(named.gateway, at, log.rows.line, place)


def _event(record: Record) -> tuple[str | None, Record]:
    """Return the name of an event that counts, None of any other, and its message."""
    message = record.get("data") if "name" in record else record
    if not isinstance(message, dict):
        return None, {}
    kind = str(message.get("@type")).removeprefix(_TYPES)
    name = _NAMES.get(kind)
    if record.get("name", name) != name:
        return None, message
    return name, fields.inner(message, "message") if kind == "GatewayUplinkMessage" else message


def _uplink(message: Record, received: int | None, log: Log) -> None:
    entries = fields.items(message, "rx_metadata")
    if not entries:
        raise Fault("bad_field", "rx_metadata: who heard it is expected")
    if received is None:
        raise Fault("no_time", "received_at is missing")
    data = fields.payload(message, "raw_payload")
    airtime = frame_airtime(len(data), *modulation(message, "settings", log.rows))
    frame = read_uplink(data, log.source.network)
    reception = Reception(received, None, airtime=airtime)._replace(**frame._asdict())

    def read(entry: Record) -> Heard:
        if fields.flag(message, "crc_status") is False:
            raise Fault("bad_crc", "crc_status is false")
        row, location = log.entry(reception, entry, wrapped_gateway(entry, log))
        return row._replace(snr=row.snr or 0.0), location

    log.push(log.heard(reception, entries, read))
