"""Uplinks of ChirpStack, versions 3 and 4, as their integrations give them.

**Version 3.** One JSON object a line. Ids and payloads come in hexadecimal or in base64, depending
on the server's marshaler; ids tell by their length, payloads only in bulk, so most of the first
records of a file decide for all of it.

When the server had the uplink stands in ``publishedAt``, or in ``_timestamp`` (milliseconds) or
``_date`` where a logger added them. Without any of these there is no server time and the record is
set aside: ``rxInfo[].time`` is the gateways' clock, which some have not and others have years off,
and whoever is paid per epoch must not choose the epoch.

The time on air follows from the modulation; older servers state a data rate instead, which means
something in a region only, so it is used where the frequency tells the region: 863-870 MHz
(LoRaWAN regional parameters RP002-1.0.4, section 2.4.3).

**Version 4.** Each uplink has the server's own id. When the server had it stands in ``nsTime`` of
each reception, from 4.4 on. The event's ``time`` is a gateway's clock where one has any, and the
server's where none has; so it counts only if no reception states a clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dii.telemetry.metrics.airtime import uplink_airtime
from dii.telemetry.readers import fields
from dii.telemetry.readers.base import UPLINK_METRICS, Heard, JsonReader, Log, application_uplink
from dii.telemetry.readers.fields import Fault, Record
from dii.telemetry.tables import Rows

_EU868: Final = (863_000_000, 870_000_000)
_EU868_DATA_RATES: Final = {
    **{rate: (12 - rate, 125_000) for rate in range(6)},
    6: (7, 250_000),
}
_BAD_CRC: Final = 1
"""The number of ``BAD_CRC``, for servers that write numbers for names."""
_LOGGED: Final = ("publishedAt", "_timestamp", "_date")
_CLOCKS: Final = ("gwTime", "time", "timeSinceGpsEpoch")


class ChirpStack(JsonReader):
    """Application uplinks of ChirpStack v3."""

    name = "chirpstack-v3"
    about = "ChirpStack v3: uplink events of applications, JSON lines"
    gives = UPLINK_METRICS
    keys = ("devEUI", "rxInfo")

    def record(self, record: Record, log: Log) -> None:
        """Push the receptions of an uplink."""
        if "devEUI" not in record:
            raise Fault("bad_record", "an event of a device is expected")
        received = fields.first_time(record, *_LOGGED)
        entries = fields.items(record, "rxInfo")
        if not entries:
            raise Fault("no_receptions", "no rxInfo: not an uplink")
        if received is None:
            raise Fault("no_time", f"none of {', '.join(_LOGGED)}")
        optional = log.rows.optional
        data = optional(fields.payload, record, "data", hexadecimal=log.source.hexadecimal)
        frame = application_uplink(
            received,
            optional(fields.text, record, "devEUI"),
            optional(fields.text, record, "applicationID")
            or optional(fields.text, record, "applicationName"),
            optional(fields.integer, record, "fCnt", "f_cnt"),
            data,
            optional(_airtime, record, data if data is None else len(data)),
        )

        def read(entry: Record) -> Heard:
            named = fields.identity(fields.text(entry, "gatewayID"), None, "chirpstack")
            return log.entry(frame, entry, named, "loRaSNR")

        log.push(log.heard(frame, entries, read))


class ChirpStackV4(JsonReader):
    """Application uplinks of ChirpStack v4."""

    name = "chirpstack-v4"
    about = "ChirpStack v4: uplink events of applications, JSON lines"
    gives = UPLINK_METRICS
    keys = ("deviceInfo", "rxInfo")

    def record(self, record: Record, log: Log) -> None:
        """Push the receptions of an uplink."""
        if "deviceInfo" not in record:
            raise Fault("bad_record", "an event of a device is expected")
        entries = fields.items(record, "rxInfo")
        if not entries:
            raise Fault("no_receptions", "no rxInfo: not an uplink")
        dicts = [one for one in entries if isinstance(one, dict)]
        received = _server_time_v4(record, dicts, log.rows)
        optional = log.rows.optional
        data = optional(fields.payload, record, "data")
        info = optional(fields.inner, record, "deviceInfo") or {}
        lora = optional(fields.inner, record, "txInfo", "modulation", "lora") or {}
        factor, bandwidth = lora.get("spreadingFactor"), lora.get("bandwidth")
        frame = application_uplink(
            received,
            optional(fields.text, info, "devEui") or optional(fields.text, record, "devAddr"),
            optional(fields.text, info, "applicationId"),
            optional(fields.counter, record, "fCnt", "f_cnt"),
            data,
            uplink_airtime(
                data if data is None else len(data), factor, bandwidth, lora.get("codeRate")
            ),
        )._replace(deduplication_id=optional(fields.text, record, "deduplicationId"))

        def read(entry: Record) -> Heard:
            named = fields.identity(fields.text(entry, "gatewayId"), None, "chirpstack")
            if entry.get("crcStatus") in ("BAD_CRC", _BAD_CRC):
                raise Fault("bad_crc", "crcStatus is BAD_CRC")
            row, location = log.entry(frame, entry, named)
            clock = optional(fields.clock, entry, "gwTime") or row.gateway_time
            return row._replace(gateway_time=clock, snr=row.snr or 0.0), location

        log.push(log.heard(frame, entries, read))


def _server_time_v4(record: Record, entries: Sequence[Record], rows: Rows) -> int:
    stated = [at for entry in entries if (at := rows.optional(fields.time, entry, "nsTime"))]
    clocks = any(entry.get(key) for entry in entries for key in _CLOCKS)
    at = (
        min(stated, default=None)
        or fields.first_time(record, *_LOGGED)
        or (None if clocks else fields.time(record, "time"))
    )
    if at is None:
        raise Fault("no_time", "no nsTime, and time is a gateway's clock")
    return at


def _airtime(record: Record, size: int | None) -> int | None:
    sent = fields.inner(record, "txInfo")
    modulation = fields.inner(sent, "loRaModulationInfo")
    bandwidth, rate, frequency = modulation.get("bandwidth"), sent.get("dr"), sent.get("frequency")
    if type(bandwidth) is int:
        code_rate = modulation.get("codeRate")
        return uplink_airtime(size, modulation.get("spreadingFactor"), bandwidth * 1000, code_rate)
    if type(frequency) is int and _EU868[0] <= frequency <= _EU868[1] and type(rate) is int:
        return uplink_airtime(size, *_EU868_DATA_RATES.get(rate, (None, None)))
    return None
