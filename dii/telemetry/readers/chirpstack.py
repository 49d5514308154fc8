"""Uplinks of ChirpStack, version 3, as its integrations give them.

One JSON object a line. Ids and payloads come in hexadecimal or in base64, depending on the server's
marshaler; ids tell by their length, payloads only in bulk, so most of the first records of a
file decide for all of it.

When the server had the uplink stands in ``publishedAt``, or in ``_timestamp`` (milliseconds) or
``_date`` where a logger added them. Without any of these there is no server time and the record is
set aside: ``rxInfo[].time`` is the gateways' clock, which some have not and others have years off,
and whoever is paid per epoch must not choose the epoch.

The time on air follows from the modulation; older servers state a data rate instead, which means
something in a region only, so it is used where the frequency tells the region: 863-870 MHz
(LoRaWAN regional parameters RP002-1.0.4, section 2.4.3).
"""

from __future__ import annotations

import re
from typing import Final

from dii.telemetry.airtime import uplink_airtime
from dii.telemetry.fields import (
    Fault,
    Record,
    canonical_gateway,
    check_time,
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
from dii.telemetry.readers.base import RECEPTION_METRICS, LastPlaces, Reader, read_lines
from dii.telemetry.source import Source
from dii.telemetry.tables import Reception, Rows

_HEX: Final = re.compile(r"(?:[0-9a-fA-F]{2})*", re.ASCII)
_EU868: Final = (863_000_000, 870_000_000)
_EU868_DATA_RATES: Final = {
    **{rate: (12 - rate, 125_000) for rate in range(6)},
    6: (7, 250_000),
}


class ChirpStack(Reader):
    """Application uplinks of ChirpStack v3."""

    name = "chirpstack-v3"
    about = "ChirpStack v3: uplinks of applications, JSON lines"
    gives = RECEPTION_METRICS

    def declines(self, source: Source) -> str | None:
        """Return why a source is not of this format, None if it is."""
        if any("rxInfo" in record and "devEUI" in record for record in source.records):
            return None
        return "no line is an object with devEUI and rxInfo"

    def read(self, source: Source, rows: Rows) -> None:
        """Push the receptions, and the place of each gateway."""
        samples = [data for record in source.records if isinstance(data := record.get("data"), str)]
        hexadecimal = sum(_HEX.fullmatch(data) is not None for data in samples) * 2 > len(samples)
        places = LastPlaces()
        read_lines(source, rows, lambda record: _uplink(record, hexadecimal, rows, places))
        places.push(rows)


def _uplink(record: Record, hexadecimal: bool, rows: Rows, places: LastPlaces) -> None:
    if "devEUI" not in record:
        raise Fault("bad_record", "an event of a device is expected")
    received = _server_time(record)
    entries = items(record, "rxInfo")
    if not entries:
        rows.reject("no_receptions", "no rxInfo: not an uplink", time=received)
        return
    if received is None:
        raise Fault("no_time", "none of publishedAt, _timestamp, _date")
    frame = _frame(record, received, hexadecimal)
    for entry in entries:
        try:
            if not isinstance(entry, dict):
                raise Fault("bad_field", "rxInfo: a list of objects is expected")
            identifier = text(entry, "gatewayID")
            if identifier is None:
                raise Fault("bad_field", "gatewayID: an id is expected")
            gateway = canonical_gateway(identifier, None, "chirpstack")
            row = frame._replace(
                gateway=gateway,
                gateway_time=clock(entry, "time"),
                rssi=number(entry, "rssi", "rssi"),
                snr=number(entry, "loRaSNR", "snr"),
            )
            places.note(gateway, received, rows.line, inner(entry, "location"))
        except Fault as fault:
            rows.reject(fault.reason, fault.detail, time=received)
        else:
            rows.reception(row)


def _server_time(record: Record) -> int | None:
    published = time(record, "publishedAt")
    if published is None and type(millis := record.get("_timestamp")) is int:
        published = check_time("_timestamp", millis * 1000)
    return time(record, "_date") if published is None else published


def _frame(record: Record, received: int, hexadecimal: bool) -> Reception:
    """Return what all receptions of an uplink share."""
    data = payload(record, "data", hexadecimal=hexadecimal)
    device = text(record, "devEUI")
    return Reception(
        time=received,
        gateway=None,
        device=(eui(device) or device.upper()) if device else None,
        application=text(record, "applicationID") or text(record, "applicationName"),
        f_cnt=integer(record, "fCnt", "f_cnt"),
        payload_hash=payload_hash(data),
        size=len(data),
        airtime=_airtime(record, len(data)),
        delivered=True,
        foreign=False,
    )


def _airtime(record: Record, size: int) -> int | None:
    sent = inner(record, "txInfo")
    modulation = inner(sent, "loRaModulationInfo")
    bandwidth, rate, frequency = modulation.get("bandwidth"), sent.get("dr"), sent.get("frequency")
    if type(bandwidth) is int:
        code_rate = modulation.get("codeRate")
        return uplink_airtime(size, modulation.get("spreadingFactor"), bandwidth * 1000, code_rate)
    if type(frequency) is int and _EU868[0] <= frequency <= _EU868[1] and type(rate) is int:
        return uplink_airtime(size, *_EU868_DATA_RATES.get(rate, (None, None)))
    return None
