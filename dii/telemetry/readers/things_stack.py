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

from collections import Counter
from typing import Final, NamedTuple

from dii.telemetry import fields
from dii.telemetry.airtime import uplink_airtime
from dii.telemetry.fields import Fault, Named, Record
from dii.telemetry.readers.base import UPLINK_METRICS, JsonReader, Log, application_uplink
from dii.telemetry.schema import RELAYED
from dii.telemetry.tables import Reception, Rows

_BROKER: Final = "packetbroker"
_RELAY_PORT: Final = 226


class _Heard(NamedTuple):
    """One entry of ``rx_metadata``."""

    named: Named | None
    relay: str | None
    gateway_time: int | None
    rssi: float | None
    snr: float | None
    location: Record

    def same(self) -> tuple[object, ...]:
        """What two entries of one reception share."""
        return self.gateway_time, self.rssi, self.snr


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
    ids = fields.inner(message, "network_ids")
    network = fields.network_of(
        fields.text(ids, "net_id"), fields.text(ids, "tenant_id"), log.source.network
    )
    heard: list[_Heard] = []
    faults: Counter[tuple[str, str]] = Counter()
    for entry in entries:
        try:
            heard.append(_entry(entry, network, rows))
        except Fault as fault:
            faults[fault.reason, fault.detail] += 1
    rows.reject_entries(faults, None, received)
    if record.get("simulated"):
        for one in heard:
            gateway = one.named and one.named.gateway
            rows.reject("simulated", "never on the air", gateway, received)
        return
    stated = message.get("locations")  # by where each comes from; of no weight unless asked for
    places = stated.values() if isinstance(stated, dict) else ()
    devices = [one for one in places if isinstance(one, dict)]
    carrier = None
    if message.get("f_port") == _RELAY_PORT:
        carrier = fields.text(fields.inner(record, "end_device_ids"), "device_id")
    named = {one.same() for one in heard if one.named and None not in one.same()}
    for one in heard:
        if one.named is None and one.same() in named:
            rows.reject("same_reception", "a named gateway's, through Packet Broker", time=received)
            continue
        relay = one.relay or carrier
        row = frame._replace(
            **(one.named._asdict() if one.named else {}),
            gateway_time=one.gateway_time,
            deduplication_id=relay and f"{RELAYED}{frame.application}/{relay}@{received}",
            rssi=one.rssi,
            snr=one.snr,
        )
        log.reception(row, one.location, devices)


def _frame(record: Record, message: Record, received: int, rows: Rows) -> Reception:
    """Return what all receptions of an uplink share."""
    ids = fields.inner(record, "end_device_ids")
    session = fields.payload(message, "session_key_id").hex()
    data = fields.payload(message, "frm_payload")
    settings = modulation(message, "settings")
    application = rows.optional(_application, ids)
    airtime = rows.optional(fields.duration, message, "consumed_airtime", "airtime")
    if airtime is None:
        airtime = uplink_airtime(len(data), *settings)
    return application_uplink(
        received,
        fields.text(ids, "dev_eui") or session or fields.text(ids, "dev_addr"),
        application,
        fields.integer(message, "f_cnt", "f_cnt") or 0,
        data,
        airtime,
    )


def _application(ids: Record) -> str | None:
    return fields.text(fields.inner(ids, "application_ids"), "application_id")


def modulation(message: Record, key: str) -> tuple[object, object, object]:
    """Return spreading factor, bandwidth and code rate, as the server states them."""
    settings = fields.inner(message, key)
    lora = fields.inner(settings, "data_rate", "lora")
    code_rate = lora.get("coding_rate") or settings.get("coding_rate")
    return lora.get("spreading_factor"), lora.get("bandwidth"), code_rate


def _entry(entry: object, network: str, rows: Rows) -> _Heard:
    if not isinstance(entry, dict):
        raise Fault("bad_field", "rx_metadata: a list of objects is expected")
    ids = fields.inner(entry, "gateway_ids")
    identifier, eui_text = fields.text(ids, "gateway_id"), fields.text(ids, "eui")
    if brokered := identifier == _BROKER:
        broker = fields.inner(entry, "packet_broker")
        identifier = fields.text(broker, "forwarder_gateway_id")
        eui_text = fields.text(broker, "forwarder_gateway_eui")
        net_id, tenant = (
            fields.text(broker, "forwarder_net_id"),
            fields.text(broker, "forwarder_tenant_id"),
        )
        network = fields.network_of(net_id, tenant, network)
    relay = named = None
    if fields.is_stand_in(identifier):
        relay = fields.text(fields.inner(entry, "relay"), "device_id")
    elif not brokered or identifier or fields.eui(eui_text):
        named = fields.identity(identifier, eui_text, network)
    return _Heard(
        named,
        relay,
        rows.optional(fields.clock, entry, "time"),
        rows.optional(fields.number, entry, "rssi", "rssi"),
        rows.optional(fields.number, entry, "snr", "snr") or 0.0,
        rows.optional(fields.inner, entry, "location") or {},
    )
