"""Records of The Things Stack's gateway server: statistics of connections, and events.

**Statistics** (``GET /gs/gateways/ID/connection/stats``, or for many at once within ``entries``)
count from ``connected_at`` on and start again with each connection, which covers all of the time
since. They name neither their gateway nor their time: a log states both beside them, or the file's
name carries the EUI and the latest sign of life is the time.

**Events** (``gs.up.receive``, ``gs.down.send``, ``gs.status.receive``, and now and then the
statistics) list all frames that a gateway heard and sent, of any network, but not whether they were
delivered. A message may come without the event around it; it still needs the server's time and the
gateway's name, which a bare status or downlink does not have.
"""

from __future__ import annotations

from typing import Final

from dii.telemetry.readers import base, fields
from dii.telemetry.readers.base import Heard, JsonReader, Log, at, columns, wrapped_gateway
from dii.telemetry.readers.fields import NO_FIELDS, Fault, Named, Record
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
"""First event of each type of message; other events repeat it."""
_HEARD: Final = modulation("settings")
_SENT: Final = modulation("scheduled")
_COUNTER: Final = {"total": at(fields.integer(), "uplink_count", absent=0)}
_ENTRY: Final = columns(zeros=("snr",), gateway_time="time", rssi="rssi", snr="snr")


def _has_connection(record: Record) -> bool:
    """Tell whether an object, or one of its entries, is of this format."""
    entries = record.get("entries")
    found = entries.values() if isinstance(entries, dict) else [record]
    return any(isinstance(entry, dict) and "connected_at" in entry for entry in found)


def _connections(record: Record, log: Log) -> None:
    """Push a status of each gateway."""
    asked = fields.get(record, "time", fields.time)
    if not fields.get(record, "entries", fields.inner):
        _connection(wrapped_gateway(record, log), record, asked, log)
    log.by_gateway(record, "entries", lambda named, entry: _connection(named, entry, asked, log))


def _connection(named: Named, stats: Record, asked: int | None, log: Log) -> None:
    since = fields.get(stats, "connected_at", fields.time)
    ended = fields.get(stats, "disconnected_at", fields.time)
    if since is None:
        raise Fault("no_time", "connected_at is missing")
    signs = (fields.get(stats, key, fields.time) for key in _SIGNS)
    at = asked or max([since, *(sign for sign in signs if sign)])
    if ended is not None and ended >= since:
        at = min(at, ended)
    log.poll(named, at, since=since, **log.read(_COUNTER, stats))


def _message(record: Record) -> tuple[str | None, Record]:
    """Return the name of an event that counts, None of any other, and its message."""
    message = record.get("data") if "name" in record else record
    if not isinstance(message, dict):
        return None, NO_FIELDS
    kind = str(message.get("@type")).removeprefix(_TYPES)
    name = _NAMES.get(kind)
    if record.get("name", name) != name:
        return None, message
    if kind == "GatewayUplinkMessage":
        message = fields.get(message, "message", fields.inner)
    return name, message


def _event(record: Record, log: Log) -> None:
    """Push the receptions, downlink or status of an event."""
    name, message = _message(record)
    if name is None and "name" not in record:
        raise Fault("bad_record", "an event of a gateway is expected")
    if name is None:
        raise Fault("no_receptions", "an event that counts nothing, or repeats another")
    at = fields.get(record, "time", fields.time) if "name" in record else None
    if name == "gs.up.receive":
        _uplink(message, fields.get(message, "received_at", fields.time) or at, log)
        return
    if at is None:
        raise Fault("no_time", "the message came without its event")
    identifiers = fields.get(record, "identifiers", fields.items)
    ids = next((ids for ids in identifiers if isinstance(ids, dict)), record)
    named = wrapped_gateway(ids, log)
    if name == "gs.down.send":
        data = fields.get(message, "raw_payload", fields.payload)
        stated = log.read(_SENT, message) | named._asdict()
        frame = base.radio_frame(at, data, stated, log.source.network, sent=True)
        log.rows.add("receptions", frame)
    elif name == "gs.gateway.connection.stats":
        _connection(named, message, at, log)
    else:
        metrics = log.get(message, "metrics", fields.inner) or NO_FIELDS
        heard = log.get(metrics, "rxok", fields.integer("frames"))
        if heard is None and metrics.get("rxok") is None and "rxin" in metrics:
            heard = 0
        log.poll(named, at, frames=heard)
        places = log.get(message, "antenna_locations", fields.items) or [None]
        place = log.get({"antenna_locations": places[0]}, "antenna_locations", fields.inner)
        log.note(named.gateway, at, place or NO_FIELDS)


def _uplink(message: Record, received: int | None, log: Log) -> None:
    entries = fields.get(message, "rx_metadata", fields.items)
    if not entries:
        raise Fault("bad_field", "rx_metadata: who heard it is expected")
    if received is None:
        raise Fault("no_time", "received_at is missing")
    data = fields.get(message, "raw_payload", fields.payload)
    frame = base.radio_frame(received, data, log.read(_HEARD, message), log.source.network)

    def read(entry: Record) -> Heard:
        if fields.get(message, "crc_status", fields.flag) is False:
            raise Fault("bad_crc", "crc_status is false")
        named = wrapped_gateway(entry, log)
        row = frame._replace(**named._asdict(), **log.read(_ENTRY, entry))
        return row, log.get(entry, "location", fields.inner) or NO_FIELDS

    log.push(log.read_each(frame, entries, read))


CONNECTIONS: Final = JsonReader(
    "things-stack-v3-connections",
    "The Things Stack v3: polls of gateway connection statistics, JSON",
    base.STATUS_METRICS,
    ("connected_at",),
    _connections,
    knows=_has_connection,
)
EVENTS: Final = JsonReader(
    "things-stack-v3-events",
    "The Things Stack v3: gateway events, JSON",
    base.STATUS_METRICS | base.LOG_METRICS | base.DOWNLINK_METRICS,
    ("@type",),
    _event,
    knows=lambda record: _message(record)[0] is not None,
)
