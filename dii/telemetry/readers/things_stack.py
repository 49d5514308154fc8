"""Uplink messages of applications of The Things Stack (version 3), as webhooks and MQTT give them.

One JSON object a line, also wrapped in ``{"result": ...}`` as its storage integration does. It is
protobuf's JSON: integers of 64 bits are texts, durations are texts such as ``"0.056576s"``, and
what is zero or empty is left out, so that an absent counter or signal-to-noise ratio *is* zero.

Uplinks that came through Packet Broker hide their gateway behind ``packetbroker``. An entry that
names its forwarder is that gateway. One with the signal strength, signal-to-noise ratio and time
of an entry that has a name is the same reception heard of twice (a gateway that forwards to two
networks) and is set aside; an absent time equals nothing. Any other stays without a gateway.

A relay (LoRaWAN TS011) packs a device's frame into one of its own, on port 226, that a gateway
hears. The server then tells of both, and writes ``relay`` for the gateway of the inner frame. Both
get one deduplication id, of the relay and the time, which begins with ``relay:``, so that metrics
count the inner frame only where no gateway's own is there (``columns.entries``).

An uplink's time is when the network server got it. The gateways' clocks are kept beside it and
never order anything. Other frames get no deduplication id: one and the same message comes with and
without its correlation ids, depending on the integration, and must not count twice.
"""

from __future__ import annotations

from typing import Final

from dii.schema import RELAYED, Reception
from dii.telemetry.metrics.airtime import uplink_airtime
from dii.telemetry.readers import fields
from dii.telemetry.readers.base import (
    UPLINK_METRICS,
    Heard,
    JsonReader,
    Log,
    application_uplink,
    stated_eui,
)
from dii.telemetry.readers.fields import Fault, Record
from dii.telemetry.tables import Rows

_BROKER: Final = "packetbroker"
_RELAY_PORT: Final = 226


class ThingsStack(JsonReader):
    """Application uplinks of The Things Stack."""

    name = "things-stack-v3"
    about = "The Things Stack v3: uplink messages of applications, JSON lines"
    gives = UPLINK_METRICS
    keys = ("end_device_ids",)

    def record(self, record: Record, log: Log) -> None:
        """Push the receptions of an uplink."""
        _message(record, log)


def _message(record: Record, log: Log) -> None:
    rows = log.rows
    if "end_device_ids" not in record:
        raise Fault("bad_record", "a message of an application is expected")
    message = fields.inner(record, "uplink_message")
    received = fields.time(message, "received_at") or fields.time(record, "received_at")
    if received is None:
        raise Fault("no_time", "received_at is missing")
    entries = fields.items(message, "rx_metadata")
    if not entries:
        rows.reject("no_receptions", "not an uplink, or without rx_metadata", time=received)
        return
    frame = _frame(record, message, received, rows)
    if message.get("f_port") == _RELAY_PORT:
        frame = _relayed(frame, record, "end_device_ids", rows)
    network = rows.optional(_network, message, log.source.network) or ""
    heard = log.heard(frame, entries, lambda entry: _entry(entry, frame, network, log))
    if record.get("simulated"):
        for row, _ in heard:
            rows.reject("simulated", "never on the air", row.gateway, received)
        return
    stated = message.get("locations")  # by where each comes from; of no weight unless asked for
    places = stated.values() if isinstance(stated, dict) else ()
    devices = [place for place in places if isinstance(place, dict)]
    signals = {_signal(row) for row, _ in heard if row.gateway} - {None}
    for row, location in heard:
        if row.gateway is None and _signal(row) in signals:
            rows.reject("same_reception", "a named gateway's, through Packet Broker", time=received)
        else:
            log.push([(row, location)], devices)


def _signal(row: Reception) -> tuple[object, ...] | None:
    """Return what two entries of one reception share; None where it is not known."""
    signal = row.gateway_time, row.rssi, row.snr
    return None if None in signal else signal


def _forwarder(entry: Record, network: str) -> tuple[str | None, str | None, str]:
    broker = fields.inner(entry, "packet_broker")
    identifier, eui, net_id, tenant = (
        fields.text(broker, f"forwarder_{key}")
        for key in ("gateway_id", "gateway_eui", "net_id", "tenant_id")
    )
    return identifier, eui, fields.network_of(net_id, tenant, network)


def _network(message: Record, default: str) -> str:
    ids = fields.inner(message, "network_ids")
    return fields.network_of(fields.text(ids, "net_id"), fields.text(ids, "tenant_id"), default)


def _relayed(frame: Reception, record: Record, key: str, rows: Rows) -> Reception:
    """Return a frame that a relay carried, with an id that its carrying frame has, too."""
    ids = rows.optional(fields.inner, record, key) or {}
    if (relay := rows.optional(fields.text, ids, "device_id")) is None:
        return frame
    shared = f"{RELAYED}{frame.application}/{relay}@{frame.time}"
    return frame._replace(deduplication_id=shared)


def _frame(record: Record, message: Record, received: int, rows: Rows) -> Reception:
    """Return what all receptions of an uplink share."""
    optional = rows.optional
    ids = optional(fields.inner, record, "end_device_ids") or {}
    session = (optional(fields.payload, message, "session_key_id") or b"").hex()
    data = optional(fields.payload, message, "frm_payload")
    settings = modulation(message, "settings", rows)
    application = optional(_application, ids)
    airtime = optional(fields.duration, message, "consumed_airtime", "airtime")
    if airtime is None:
        airtime = uplink_airtime(data if data is None else len(data), *settings)
    return application_uplink(
        received,
        optional(fields.text, ids, "dev_eui") or session or optional(fields.text, ids, "dev_addr"),
        application,
        optional(fields.counter, message, "f_cnt", "f_cnt"),
        data,
        airtime,
    )


def _application(ids: Record) -> str | None:
    return fields.text(fields.inner(ids, "application_ids"), "application_id")


def modulation(message: Record, key: str, rows: Rows) -> tuple[object, object, object]:
    """Return spreading factor, bandwidth and code rate, as the server states them."""
    settings = rows.optional(fields.inner, message, key) or {}
    lora = rows.optional(fields.inner, settings, "data_rate", "lora") or {}
    code_rate = lora.get("coding_rate") or settings.get("coding_rate")
    return lora.get("spreading_factor"), lora.get("bandwidth"), code_rate


def _entry(entry: Record, frame: Reception, network: str, log: Log) -> Heard:
    ids = fields.inner(entry, "gateway_ids")
    identifier = fields.text(ids, "gateway_id")
    eui_text = stated_eui(ids, identifier, log.rows)
    if brokered := identifier == _BROKER:
        found = log.rows.optional(_forwarder, entry, network)
        identifier, eui_text, network = found or (None, None, network)
    named = None
    if fields.is_stand_in(identifier):
        frame = _relayed(frame, entry, "relay", log.rows)
    elif not brokered or identifier or fields.eui(eui_text):
        named = fields.identity(identifier, eui_text, network)
    row, location = log.entry(frame, entry, named)
    return row._replace(snr=row.snr or 0.0), location
