"""What gateways log themselves: Semtech's UDP packet forwarder, and ttn-gateway-collector.

**Semtech** (PROTOCOL.TXT of packet_forwarder): JSON of PUSH_DATA messages, one a line, with frames
in ``rxpk`` and every half minute a ``stat`` with the frames since the one before. A message says
neither whose it is nor, reliably, when: whoever logs it writes the gateway and the time it came
beside it, or the file's name carries the EUI.

**ttn-gateway-collector**: CSV, a line for each frame that a gateway of The Things Network heard.
Its own ``airtime`` (seconds) is a block of symbols too long for every second frame, so it is
computed again from the size and the spreading factor, at 125 kHz and 4/5, which it does not state.

Both know frames of all networks, and of none what became of it.
"""

from __future__ import annotations

import math

from dii.schema import Reception
from dii.telemetry.metrics.airtime import data_rate, frame_airtime
from dii.telemetry.readers import fields
from dii.telemetry.readers.base import (
    LOG_METRICS,
    STATUS_METRICS,
    CsvReader,
    Heard,
    JsonReader,
    Log,
    server_time,
    wrapped_gateway,
)
from dii.telemetry.readers.fields import Fault, Named, Record
from dii.telemetry.readers.phy import read_uplink


class PacketForwarder(JsonReader):
    """Messages of Semtech's packet forwarder."""

    name = "semtech-udp"
    about = "Semtech UDP packet forwarder: rxpk and stat with gateway and time, JSON lines"
    gives = STATUS_METRICS | LOG_METRICS
    keys = ("rxpk or stat",)

    def knows(self, record: Record) -> bool:
        """Whether an object has frames or a status."""
        return "rxpk" in record or isinstance(record.get("stat"), dict)

    def record(self, record: Record, log: Log) -> None:
        """Push the receptions and the status of a message."""
        optional = log.rows.optional
        entries = optional(fields.items, record, "rxpk") or []
        stat = optional(fields.inner, record, "stat")
        if not entries and not stat:
            raise Fault("no_receptions", "neither rxpk nor stat")
        named, at = wrapped_gateway(record, log), server_time(record)
        frame = Reception(at, **named._asdict())
        log.push(log.heard(frame, entries, lambda entry: _packet(entry, frame, named, log)))
        if stat:
            log.polls.poll(named, at, frames=optional(fields.integer, stat, "rxok", "frames"))
            names = {"latitude": "lati", "longitude": "long", "altitude": "alti"}
            place = {name: stat[key] for name, key in names.items() if key in stat}
            log.places.note(named.gateway, at, log.rows.line, place)


def _packet(entry: Record, frame: Reception, named: Named, log: Log) -> Heard:
    checked = entry.get("stat")
    if checked is not None and (type(checked) not in {int, float} or checked not in {-1, 0, 1}):
        raise Fault("bad_field", "stat: one of -1, 0, 1 is expected")
    if checked == -1:
        raise Fault("bad_crc", "stat is -1")
    data = fields.payload(entry, "data")
    airtime = frame_airtime(len(data), *data_rate(entry.get("datr")), entry.get("codr"))
    row, _ = log.entry(frame, entry, named, "lsnr")
    said = read_uplink(data, log.source.network)
    return row._replace(airtime=airtime, **said._asdict()), {}


class GatewayCollector(CsvReader):
    """The log of ttn-gateway-collector."""

    name = "ttn-gateway-collector"
    about = "ttn-gateway-collector: every frame that a gateway heard, CSV"
    gives = LOG_METRICS
    columns = frozenset({"time", "gateway", "raw_payload", "dev_addr", "fcnt"})

    def record(self, record: Record, log: Log) -> None:
        """Push a reception."""
        at, identifier = fields.time(record, "time"), fields.text(record, "gateway")
        if at is None:
            raise Fault("no_time", "a time is expected")
        data = fields.payload(record, "raw_payload")
        optional = log.rows.optional
        stated = {key: optional(_number, record, key) for key in ("rssi", "snr", "sf")}
        factor = int(stated["sf"]) if stated["sf"] else None
        row = Reception(
            at,
            **fields.identity(identifier, None, log.source.network)._asdict(),
            airtime=frame_airtime(len(data), factor, 125_000),
            rssi=optional(fields.number, stated, "rssi", "rssi"),
            snr=optional(fields.number, stated, "snr", "snr"),
        )
        log.rows.reception(row._replace(**read_uplink(data, log.source.network)._asdict()))


def _number(record: Record, key: str) -> float | None:
    """Return the number that a text states."""
    try:
        found = float(value) if (value := fields.text(record, key)) else None
        if found is None or math.isfinite(found):
            return found
        raise ValueError
    except ValueError:
        raise Fault("bad_field", f"{key}: a number is expected") from None
