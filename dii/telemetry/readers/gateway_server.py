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

from dii.telemetry.airtime import frame_airtime
from dii.telemetry.fields import (
    Fault,
    Record,
    clock,
    count,
    inner,
    integer,
    items,
    number,
    payload,
    text,
    time,
)
from dii.telemetry.readers.base import (
    DOWNLINK_METRICS,
    LOG_METRICS,
    STATUS_METRICS,
    LastPlaces,
    Polls,
    Reader,
    read_records,
    unwrapped,
    wrapped_gateway,
)
from dii.telemetry.readers.phy import read_frame
from dii.telemetry.source import Source
from dii.telemetry.tables import Reception, Rows
from dii.units import SECOND

STATUS_INTERVAL: Final = 300 * SECOND
"""Gateways send a status every 30 s, some every few minutes; a status speaks for no more."""
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


class ConnectionStats(Reader):
    """Statistics of gateways' connections, as one polls them."""

    name = "things-stack-v3-connections"
    about = "The Things Stack v3: polls of gateway connection statistics, JSON"
    gives = STATUS_METRICS

    def declines(self, source: Source) -> str | None:
        """Return why a source is not of this format, None if it is."""
        if any("connected_at" in one for record in source.records for one in _entries(record)):
            return None
        return "no object with connected_at"

    def read(self, source: Source, rows: Rows) -> None:
        """Push a status for each poll of each gateway."""
        polls = Polls(rows, STATUS_INTERVAL)

        def poll(record: Record) -> None:
            asked, entries = time(record, "time"), inner(record, "entries")
            if not entries:
                _connection(record, wrapped_gateway(record, source, rows), asked, polls)
            for identifier, entry in entries.items():
                try:
                    if not isinstance(entry, dict):
                        raise Fault("bad_record", "entries: objects are expected")
                    name = text({"id": identifier}, "id")
                    gateway = rows.identity(name, None, source.network)
                    _connection(entry, gateway, asked, polls)
                except Fault as fault:
                    rows.reject(fault.reason, fault.detail)

        read_records(source, rows, poll)


def _entries(record: Record) -> list[Record]:
    entries = record.get("entries")
    found = entries.values() if isinstance(entries, dict) else ()
    return [record, *(entry for entry in found if isinstance(entry, dict))]


def _connection(stats: Record, gateway: str, asked: int | None, polls: Polls) -> None:
    since, ended = time(stats, "connected_at"), time(stats, "disconnected_at")
    if since is None:
        raise Fault("no_time", "connected_at is missing")
    at = asked or max([since, *(sign for key in _SIGNS if (sign := time(stats, key)))])
    if ended is not None and ended >= since:
        at = min(at, ended)
    polls.poll(gateway, at, count(stats, "uplink_count") or 0, since)


class GatewayEvents(Reader):
    """Events of gateways, as the console and the event stream give them."""

    name = "things-stack-v3-events"
    about = "The Things Stack v3: gateway events, JSON"
    gives = STATUS_METRICS | LOG_METRICS | DOWNLINK_METRICS

    def declines(self, source: Source) -> str | None:
        """Return why a source is not of this format, None if it is."""
        if any(_event(unwrapped(record))[0] for record in source.records):
            return None
        return "no object is an event of a gateway"

    def read(self, source: Source, rows: Rows) -> None:
        """Push receptions, downlinks, statuses, and the place of each gateway."""
        log = _Log(source, rows)
        read_records(source, rows, lambda record: log.event(unwrapped(record)))
        log.places.push(rows)


def _event(record: Record) -> tuple[str | None, Record]:
    """Return the name of an event that counts, None of any other, and its message."""
    message = record.get("data") if "name" in record else record
    if not isinstance(message, dict):
        return None, {}
    kind = str(message.get("@type")).removeprefix(_TYPES)
    name = _NAMES.get(kind)
    if record.get("name", name) != name:
        return None, message
    return name, inner(message, "message") if kind == "GatewayUplinkMessage" else message


class _Log:
    def __init__(self, source: Source, rows: Rows) -> None:
        self.source, self.rows = source, rows
        self.polls, self.places = Polls(rows, STATUS_INTERVAL), LastPlaces()

    def event(self, record: Record) -> None:
        name, message = _event(record)
        at = time(record, "time") if "name" in record else None
        if name is None:
            if "name" not in record:
                raise Fault("bad_record", "an event of a gateway is expected")
            raise Fault("no_receptions", "an event that counts nothing, or repeats another")
        if name == "gs.up.receive":
            self._uplink(message, time(message, "received_at") or at)
            return
        if at is None:
            raise Fault("no_time", "the message came without its event")
        ids = next((one for one in items(record, "identifiers") if isinstance(one, dict)), record)
        gateway = wrapped_gateway(ids, self.source, self.rows)
        if name == "gs.down.send":
            self._downlink(message, gateway, at)
        elif name == "gs.gateway.connection.stats":
            _connection(message, gateway, at, self.polls)
        else:
            heard = integer(inner(message, "metrics"), "rxok", "frames")
            known = "rxok" in inner(message, "metrics") or "rxin" in inner(message, "metrics")
            places = [one for one in items(message, "antenna_locations") if isinstance(one, dict)]
            self.polls.sign(gateway, at, (heard or 0) if known else None)
            self.places.note(gateway, at, self.rows.line, places[0] if places else {})

    def _uplink(self, message: Record, received: int | None) -> None:
        entries = items(message, "rx_metadata")
        if not entries:
            raise Fault("bad_field", "rx_metadata: who heard it is expected")
        if received is None:
            first = entries[0]
            received = time(first, "received_at") if isinstance(first, dict) else None
        if received is None:
            raise Fault("no_time", "received_at is missing")
        data = payload(message, "raw_payload")
        frame = read_frame(data, self.source.network)
        for entry in entries:
            try:
                if not isinstance(entry, dict):
                    raise Fault("bad_field", "rx_metadata: a list of objects is expected")
                gateway = wrapped_gateway(entry, self.source, self.rows)
                if message.get("crc_status") is False:
                    raise Fault("bad_crc", "crc_status is false")
                if frame.kind == "downlink":
                    raise Fault("not_uplink", "a downlink of a gateway near by")
                reception = Reception(
                    received,
                    gateway,
                    gateway_time=clock(entry, "time"),
                    airtime=_airtime(inner(message, "settings"), len(data), crc=True),
                    rssi=number(entry, "rssi", "rssi"),
                    snr=number(entry, "snr", "snr") or 0.0,
                )
                self.places.note(gateway, received, self.rows.line, inner(entry, "location"))
                self.rows.reception(reception._replace(**frame._asdict()))
            except Fault as fault:
                self.rows.reject(fault.reason, fault.detail, time=received)

    def _downlink(self, message: Record, gateway: str, at: int) -> None:
        data = payload(message, "raw_payload")
        frame = read_frame(data, self.source.network)
        airtime = _airtime(inner(message, "scheduled"), len(data), crc=False)
        reception = Reception(at, gateway, airtime=airtime, **frame._asdict())
        self.rows.reception(reception._replace(kind="downlink", foreign=False))


def _airtime(settings: Record, size: int, *, crc: bool) -> int | None:
    lora = inner(inner(settings, "data_rate"), "lora")
    code_rate = lora.get("coding_rate") or settings.get("coding_rate")
    factor, bandwidth = lora.get("spreading_factor"), lora.get("bandwidth")
    return frame_airtime(size, factor, bandwidth, code_rate, crc=crc)
