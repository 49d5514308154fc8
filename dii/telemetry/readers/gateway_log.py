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
from typing import Final

from dii.telemetry.airtime import data_rate, frame_airtime
from dii.telemetry.fields import (
    Fault,
    Record,
    canonical_gateway,
    clock,
    inner,
    integer,
    items,
    number,
    payload,
    text,
    time,
)
from dii.telemetry.readers.base import (
    LOG_METRICS,
    STATUS_METRICS,
    LastPlaces,
    Polls,
    Reader,
    read_records,
    server_time,
    wrapped_gateway,
)
from dii.telemetry.readers.phy import read_frame
from dii.telemetry.source import Source
from dii.telemetry.tables import Reception, Rows
from dii.units import SECOND

STAT_INTERVAL: Final = 300 * SECOND
"""Packet forwarders send a ``stat`` every 30 s by default; it speaks for no more than this."""
_COLUMNS: Final = {"time", "gateway", "raw_payload", "dev_addr", "fcnt"}


class PacketForwarder(Reader):
    """Messages of Semtech's packet forwarder."""

    name = "semtech-udp"
    about = "Semtech UDP packet forwarder: rxpk and stat with gateway and time, JSON lines"
    gives = STATUS_METRICS | LOG_METRICS

    def declines(self, source: Source) -> str | None:
        """Return why a source is not of this format, None if it is."""
        if any("rxpk" in one or isinstance(one.get("stat"), dict) for one in source.records):
            return None
        return "no object with rxpk or stat"

    def read(self, source: Source, rows: Rows) -> None:
        """Push receptions, statuses, and the place of each gateway."""
        polls, places = Polls(rows, STAT_INTERVAL), LastPlaces()

        def message(record: Record) -> None:
            frames, stat = items(record, "rxpk"), inner(record, "stat")
            if not frames and not stat:
                raise Fault("no_receptions", "neither rxpk nor stat")
            gateway, at = wrapped_gateway(record, source, rows), server_time(record)
            for entry in frames:
                try:
                    rows.reception(_packet(entry, gateway, at, source.network))
                except Fault as fault:
                    rows.reject(fault.reason, fault.detail, gateway, at)
            if stat:
                polls.sign(gateway, at, integer(stat, "rxok", "frames"))
                where = {"latitude": stat.get("lati"), "longitude": stat.get("long")}
                known = None not in where.values()
                place = where | {"altitude": stat.get("alti")} if known else {}
                places.note(gateway, at, rows.line, place)

        read_records(source, rows, message)
        places.push(rows)


def _packet(entry: object, gateway: str, at: int, network: str) -> Reception:
    if not isinstance(entry, dict):
        raise Fault("bad_field", "rxpk: a list of objects is expected")
    if entry.get("stat") == -1:
        raise Fault("bad_crc", "stat is -1")
    data = payload(entry, "data")
    frame = read_frame(data, network)
    if frame.kind == "downlink":
        raise Fault("not_uplink", "a downlink of a gateway near by")
    return Reception(
        at,
        gateway,
        gateway_time=clock(entry, "time"),
        airtime=frame_airtime(len(data), *data_rate(entry.get("datr")), entry.get("codr")),
        rssi=number(entry, "rssi", "rssi"),
        snr=number(entry, "lsnr", "snr"),
    )._replace(**frame._asdict())


class GatewayCollector(Reader):
    """The log of ttn-gateway-collector."""

    name = "ttn-gateway-collector"
    about = "ttn-gateway-collector: every frame that a gateway heard, CSV"
    gives = LOG_METRICS

    def declines(self, source: Source) -> str | None:
        """Return why a source is not of this format, None if it is."""
        missing = sorted(_COLUMNS.difference(source.header))
        return f"no column is named {missing[0]}" if missing else None

    def read(self, source: Source, rows: Rows) -> None:
        """Push the receptions."""
        for values in source.csv_rows(rows):
            try:
                rows.reception(_line(dict(zip(source.header, values)), source.network))
            except Fault as fault:
                rows.reject(fault.reason, fault.detail)


def _line(record: Record, network: str) -> Reception:
    at, identifier = time(record, "time"), text(record, "gateway")
    if at is None or identifier is None:
        raise Fault("bad_field", "time and gateway: values are expected")
    data = payload(record, "raw_payload")
    frame = read_frame(data, network)
    if frame.kind == "downlink":
        raise Fault("not_uplink", "a downlink of a gateway near by")
    factor = _number(record, "sf")
    return Reception(
        at,
        canonical_gateway(identifier, None, network),
        airtime=frame_airtime(len(data), int(factor), 125_000) if factor else None,
        rssi=number({"rssi": _number(record, "rssi")}, "rssi", "rssi"),
        snr=number({"snr": _number(record, "snr")}, "snr", "snr"),
    )._replace(**frame._asdict())


def _number(record: Record, key: str) -> float | None:
    """Return the number that a text states."""
    try:
        found = float(value) if (value := text(record, key)) else None
        if found is None or math.isfinite(found):
            return found
        raise ValueError
    except ValueError:
        raise Fault("bad_field", f"{key}: a number is expected") from None
