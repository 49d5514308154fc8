"""Logs of gateways: Semtech's UDP packet forwarder, and ttn-gateway-collector.

**Semtech** (PROTOCOL.TXT of packet_forwarder): JSON of PUSH_DATA messages, one per line, with
frames in ``rxpk`` and every half minute a ``stat`` with the frames since the previous ``stat``. A
message names neither its gateway nor, reliably, its time: the logging program adds the gateway and
the time of arrival, or the file's name contains the EUI.

**ttn-gateway-collector**: CSV, a line for each frame that a gateway of The Things Network heard.
Its own ``airtime`` (seconds) is a block of symbols too long for every second frame, so it is
computed again from the size and the spreading factor, at 125 kHz and 4/5, which it does not state.

Both know frames of all networks, but not whether a frame was delivered.
"""

from __future__ import annotations

from typing import Final

from dii.schema import Reception
from dii.telemetry.metrics import airtime
from dii.telemetry.readers import base, fields
from dii.telemetry.readers.base import CsvReader, Heard, JsonReader, Log, at, columns
from dii.telemetry.readers.fields import NO_FIELDS, Fault, Record

_TIMES: Final = ("received_at", "time", "_timestamp")
"""Times of the program that logged a message. The clock of a gateway is not used: a gateway that is
paid per epoch must not choose the epoch."""
_STAT_PLACE: Final = {"latitude": "lati", "longitude": "long", "altitude": "alti"}
_PACKET: Final = columns(
    gateway_time="time",
    rssi="rssi",
    snr="lsnr",
    data_rate=at(airtime.data_rate, "datr"),
    code_rate="codr",
)
_LINE: Final = columns(
    rssi=at(fields.number("rssi", written=True), "rssi"),
    snr=at(fields.number("snr", written=True), "snr"),
    spreading_factor=at(fields.integer(), "sf"),
)


def _is_message(record: Record) -> bool:
    """Tell whether an object has frames or a status."""
    return "rxpk" in record or isinstance(record.get("stat"), dict)


def _message(record: Record, log: Log) -> None:
    """Push the receptions and the status of a message."""
    entries = log.get(record, "rxpk", fields.items) or []
    stat = log.get(record, "stat", fields.inner)
    if not entries and not stat:
        raise Fault("no_receptions", "neither rxpk nor stat")
    named, at = base.wrapped_gateway(record, log), fields.first(record, _TIMES, fields.time)
    if at is None:
        raise Fault("no_time", f"none of {', '.join(_TIMES)}")
    message = Reception(at, **named._asdict())
    log.push(log.read_each(message, entries, lambda entry: _packet(entry, message, log)))
    if stat:
        log.poll(named, at, frames=log.get(stat, "rxok", fields.integer("frames")))
        place = {name: stat[key] for name, key in _STAT_PLACE.items() if key in stat}
        log.note(named.gateway, at, place)


def _packet(entry: Record, message: Reception, log: Log) -> Heard:
    checked = entry.get("stat")
    if checked is not None and (type(checked) not in {int, float} or checked not in {-1, 0, 1}):
        raise Fault("bad_field", "stat: one of -1, 0, 1 is expected")
    if checked == -1:
        raise Fault("bad_crc", "stat is -1")
    data = fields.get(entry, "data", fields.payload)
    stated = log.read(_PACKET, entry) | {"gateway": message.gateway, "eui": message.eui}
    return base.radio_frame(message.time, data, stated, log.source.network), NO_FIELDS


def _line(record: Record, log: Log) -> None:
    """Push a reception."""
    at = fields.get(record, "time", fields.time)
    identifier = fields.get(record, "gateway", fields.text)
    if at is None:
        raise Fault("no_time", "a time is expected")
    data = fields.get(record, "raw_payload", fields.payload)
    named = fields.identity(identifier, None, log.source.network)
    stated = log.read(_LINE, record) | named._asdict() | {"bandwidth": 125_000}
    log.rows.add("receptions", base.radio_frame(at, data, stated, log.source.network))


PACKET_FORWARDER: Final = JsonReader(
    "semtech-udp",
    "Semtech UDP packet forwarder: rxpk and stat with gateway and time, JSON lines",
    base.STATUS_METRICS | base.LOG_METRICS,
    ("rxpk",),
    _message,
    knows=_is_message,
)
GATEWAY_COLLECTOR: Final = CsvReader(
    "ttn-gateway-collector",
    "ttn-gateway-collector: every frame that a gateway heard, CSV",
    base.LOG_METRICS,
    frozenset({"time", "gateway", "raw_payload", "dev_addr", "fcnt"}),
    _line,
)
