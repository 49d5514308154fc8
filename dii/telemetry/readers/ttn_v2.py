"""Uplinks of applications of The Things Network's version 2 (2016 to 2021), as MQTT gave them.

One JSON object a line. Go leaves out what is false: a gateway without ``gtw_trusted`` was not. Most
gateways had no clock, so their ``time`` is often empty; the server's stands in ``metadata``.
"""

from __future__ import annotations

from dii.telemetry.airtime import data_rate, uplink_airtime
from dii.telemetry.fields import (
    Fault,
    Record,
    canonical_gateway,
    clock,
    eui,
    inner,
    integer,
    items,
    number,
    payload,
    payload_hash,
    text,
    time,
)
from dii.telemetry.readers.base import UPLINK_METRICS, LastPlaces, Reader, read_records
from dii.telemetry.source import Source
from dii.telemetry.tables import Reception, Rows


class TtnV2(Reader):
    """Application uplinks of TTN v2."""

    name = "ttn-v2"
    about = "TTN v2: uplink messages of applications, JSON lines"
    gives = UPLINK_METRICS

    def declines(self, source: Source) -> str | None:
        """Return why a source is not of this format, None if it is."""
        if any("dev_id" in record and "metadata" in record for record in source.records):
            return None
        return "no object with dev_id and metadata"

    def read(self, source: Source, rows: Rows) -> None:
        """Push the receptions, and the place of each gateway."""
        places = LastPlaces()
        read_records(source, rows, lambda record: _uplink(record, source.network, rows, places))
        places.push(rows)


def _uplink(record: Record, network: str, rows: Rows, places: LastPlaces) -> None:
    if "dev_id" not in record:
        raise Fault("bad_record", "a message of an application is expected")
    metadata = inner(record, "metadata")
    received = time(metadata, "time")
    entries = items(metadata, "gateways")
    if not entries:
        rows.reject("no_receptions", "not an uplink, or simulated", time=received)
        return
    if received is None:
        raise Fault("no_time", "metadata.time is missing")
    data = payload(record, "payload_raw")
    device = text(record, "hardware_serial") or text(record, "dev_id")
    frame = Reception(
        time=received,
        gateway=None,
        device=(eui(device) or device.upper()) if device else None,
        application=text(record, "app_id"),
        f_cnt=integer(record, "counter", "f_cnt") or 0,
        payload_hash=payload_hash(data),
        size=len(data),
        airtime=uplink_airtime(
            len(data), *data_rate(metadata.get("data_rate")), metadata.get("coding_rate")
        ),
        delivered=True,
        foreign=False,
    )
    for entry in entries:
        try:
            if not isinstance(entry, dict):
                raise Fault("bad_field", "gateways: a list of objects is expected")
            identifier = text(entry, "gtw_id")
            if identifier is None:
                raise Fault("bad_field", "gtw_id: an id is expected")
            gateway = canonical_gateway(identifier, None, network)
            row = frame._replace(
                gateway=gateway,
                gateway_time=clock(entry, "time"),
                rssi=number(entry, "rssi", "rssi"),
                snr=number(entry, "snr", "snr"),
                trusted=entry.get("gtw_trusted") is True,
            )
        except Fault as fault:
            rows.reject(fault.reason, fault.detail, time=received)
        else:
            places.note(gateway, received, rows.line, entry if "latitude" in entry else {})
            rows.reception(row)
