"""Uplinks as applications get them: formats that differ in where a field lies.

**The Things Network's version 2** (2016 to 2021), as MQTT gave it. Go leaves out what is false: a
gateway without ``gtw_trusted`` was not. Most gateways had no clock, so their ``time`` is often
empty; the server's is in ``metadata``.

**ChirpStack, version 3**, as its integrations give it. Ids and payloads come in hexadecimal or in
base64, depending on the server's marshaler; ids tell by their length, payloads only in bulk, so
most of the first records of a file decide for all of it.

The server's time of the uplink is ``publishedAt``, or ``_timestamp`` (milliseconds) or ``_date``
where a logger added them. Without any of these there is no server time and the record is set aside:
``rxInfo[].time`` is the gateways' clock: some gateways have none, others are years off, and a
gateway that is paid per epoch must not choose the epoch.

The time on air follows from the modulation; older servers state a data rate instead, which has a
meaning within a region only, so it is used where the frequency tells the region: 863-870 MHz
(LoRaWAN regional parameters RP002-1.0.4, section 2.4.3).

**ChirpStack, version 4.** Each uplink has the server's own id. The server's time is ``nsTime`` of
each reception, from 4.4 on. The event's ``time`` is a gateway's clock where one has any, and the
server's where none has; so it counts only if no reception states a clock.

The uplinks of The Things Stack are in ``things_stack``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dii.schema import Reception
from dii.telemetry.metrics import airtime
from dii.telemetry.readers import base, fields
from dii.telemetry.readers.base import Columns, Heard, JsonReader, Log, at, columns
from dii.telemetry.readers.fields import NO_FIELDS, Fault, Named, Record

_EU868: Final = (863_000_000, 870_000_000)
_EU868_DATA_RATES: Final = {**{rate: (12 - rate, 125_000) for rate in range(6)}, 6: (7, 250_000)}
_LOGGED: Final = ("publishedAt", "_timestamp", "_date")
_CLOCKS: Final = ("gwTime", "time", "timeSinceGpsEpoch")
_BAD_CRC: Final = ("BAD_CRC", 1)
"""Name and number, as servers write one or the other."""


@dataclass(frozen=True, kw_only=True)
class Uplinks:
    """Table of a format of uplinks: paths of fields in an object, and in its receptions.

    Attributes
    ----------
    name, about, keys
        As of a reader. An object without the first key is not of the format.
    times
        Paths of the server's time, of which the first that states one counts.
    entries
        Path of the list of receptions; an object without one needs a reader of its own.
    frame
        Columns that all receptions share, in the object.
    entry
        Columns of a reception, in its entry of the list.
    gateway
        Path of the gateway's id in an entry.
    network
        Network of the ids; by default the network that is asked for.
    place
        Path of the gateway's place in an entry; empty where the entry itself states it.
    device
        Path of the device's place in the object; empty where none is stated.
    hexadecimal
        Payloads may be hexadecimal.
    """

    name: str
    about: str
    keys: tuple[str, ...]
    times: tuple[str, ...]
    entries: str
    frame: Columns
    entry: Columns
    gateway: str = ""
    network: str = ""
    place: str = "location"
    device: str = ""
    hexadecimal: bool = False

    def reader(self) -> JsonReader:
        """Return the reader of the format."""
        return JsonReader(self.name, self.about, base.UPLINK_METRICS, self.keys, self.push)

    def push(self, record: Record, log: Log) -> None:
        """Push the receptions of an uplink."""
        frame, entries = self.opened(record, log)

        def read(entry: Record) -> Heard:
            return self.heard(entry, frame, self.named(entry, log), log)

        devices = [fields.get(record, self.device, fields.inner)] if self.device else []
        log.push(log.read_each(frame, entries, read), devices)

    def opened(self, record: Record, log: Log) -> tuple[Reception, list[object]]:
        """Return the columns that all receptions of an uplink share, and their entries."""
        if self.keys[0] not in record:
            raise Fault("bad_record", f"an object with {self.keys[0]} is expected")
        received = self.received(record, log)
        entries = fields.get(record, self.entries, fields.items)
        if not entries:
            raise Fault("no_receptions", f"no {self.entries.rpartition('.')[2]}: not an uplink")
        if received is None:
            raise Fault("no_time", f"none of {', '.join(self.times)}")
        frame = self.frame
        if self.hexadecimal and log.source.hexadecimal:
            frame = {**frame, "data": frame["data"]._replace(adapt=fields.hexadecimal)}
        return base.application_frame(received, log.read(frame, record)), entries

    def received(self, record: Record, log: Log) -> int | None:  # noqa: ARG002
        """Return the server's time of an uplink."""
        return fields.first(record, self.times, fields.time)

    def named(self, entry: Record, log: Log) -> Named:
        """Return the gateway of an entry."""
        identifier = fields.get(entry, self.gateway, fields.text)
        return fields.identity(identifier, None, self.network or log.source.network)

    def heard(self, entry: Record, frame: Reception, named: Named | None, log: Log) -> Heard:
        """Return the reception of a frame that an entry states, and the place of its gateway."""
        stated = log.read(self.entry, entry)
        stated["gateway"], stated["eui"] = named or (None, None)
        row = frame._replace(**stated)
        if self.place:
            return row, log.get(entry, self.place, fields.inner) or NO_FIELDS
        return row, entry if "latitude" in entry else NO_FIELDS


class _ChirpStackV4(Uplinks):
    """Table of version 4, which has times and checksums in the receptions."""

    def received(self, record: Record, log: Log) -> int | None:
        """Return the earliest time of the receptions, else a logger's, else the event's."""
        entries = [e for e in fields.get(record, self.entries, fields.items) if isinstance(e, dict)]
        stated = [at for entry in entries if (at := log.get(entry, "nsTime", fields.time))]
        if stated:
            return min(stated)
        clocks = any(entry.get(key) for entry in entries for key in _CLOCKS)
        received = fields.first(record, _LOGGED if clocks else self.times, fields.time)
        if received is None and entries:
            raise Fault("no_time", "no nsTime, and time is a gateway's clock")
        return received

    def named(self, entry: Record, log: Log) -> Named:
        """Return the gateway of an entry whose checksum is right."""
        named = super().named(entry, log)
        if entry.get("crcStatus") in _BAD_CRC:
            raise Fault("bad_crc", "crcStatus is BAD_CRC")
        return named


def _kilohertz(_key: str, value: object) -> int | None:
    return value * 1000 if type(value) is int else None


def _regional_rate(key: str, value: object) -> tuple[int, int] | None:
    """Return spreading factor and bandwidth of a data rate, if the frequency shows the region."""
    sent = fields.inner(key, value)
    frequency, rate = sent.get("frequency"), sent.get("dr")
    if type(frequency) is int and _EU868[0] <= frequency <= _EU868[1] and type(rate) is int:
        return _EU868_DATA_RATES.get(rate)
    return None


TABLES: Final = (
    Uplinks(
        name="ttn-v2",
        about="TTN v2: uplink messages of applications, JSON lines",
        keys=("dev_id", "metadata"),
        times=("metadata.time",),
        entries="metadata.gateways",
        frame=columns(
            zeros=("f_cnt",),
            device=("hardware_serial", "dev_id"),
            application="app_id",
            f_cnt="counter",
            data="payload_raw",
            data_rate=at(airtime.data_rate, "metadata.data_rate"),
            code_rate="metadata.coding_rate",
        ),
        entry=columns(
            gateway_time="time",
            rssi="rssi",
            snr="snr",
            trusted=at(fields.flag, "gtw_trusted", absent=False),
        ),
        gateway="gtw_id",
        place="",
        device="metadata",
    ),
    Uplinks(
        name="chirpstack-v3",
        about="ChirpStack v3: uplink events of applications, JSON lines",
        keys=("devEUI", "rxInfo"),
        times=_LOGGED,
        entries="rxInfo",
        frame=columns(
            device="devEUI",
            application=("applicationID", "applicationName"),
            f_cnt="fCnt",
            data="data",
            spreading_factor="txInfo.loRaModulationInfo.spreadingFactor",
            bandwidth=at(_kilohertz, "txInfo.loRaModulationInfo.bandwidth"),
            code_rate="txInfo.loRaModulationInfo.codeRate",
            data_rate=at(_regional_rate, "txInfo"),
        ),
        entry=columns(gateway_time="time", rssi="rssi", snr="loRaSNR"),
        gateway="gatewayID",
        network="chirpstack",
        hexadecimal=True,
    ),
    _ChirpStackV4(
        name="chirpstack-v4",
        about="ChirpStack v4: uplink events of applications, JSON lines",
        keys=("deviceInfo", "rxInfo"),
        times=(*_LOGGED, "time"),
        entries="rxInfo",
        frame=columns(
            zeros=("f_cnt",),
            device=("deviceInfo.devEui", "devAddr"),
            application="deviceInfo.applicationId",
            f_cnt="fCnt",
            data="data",
            spreading_factor="txInfo.modulation.lora.spreadingFactor",
            bandwidth="txInfo.modulation.lora.bandwidth",
            code_rate="txInfo.modulation.lora.codeRate",
            deduplication_id="deduplicationId",
        ),
        entry=columns(zeros=("snr",), gateway_time=("gwTime", "time"), rssi="rssi", snr="snr"),
        gateway="gatewayId",
        network="chirpstack",
    ),
)
"""Formats of uplinks; a further format is a further row."""
READERS: Final = tuple(table.reader() for table in TABLES)
