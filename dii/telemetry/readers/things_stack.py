"""Uplink messages of applications of The Things Stack (version 3), as webhooks and MQTT give them.

One JSON object per line, also wrapped in ``{"result": ...}`` as its storage integration does. It is
protobuf's JSON: integers of 64 bits are texts, durations are texts such as ``"0.056576s"``, and
zero and empty values are omitted, so that an absent counter or signal-to-noise ratio *is* zero.

Uplinks that came through Packet Broker hide their gateway behind ``packetbroker``. An entry that
names its forwarder is that gateway. One with the signal strength, signal-to-noise ratio and time
of a named entry is the same reception (its gateway forwards to two networks) and is set aside; an
absent time equals nothing. Any other entry stays without a gateway.

A relay (LoRaWAN TS011) packs a device's frame into one of its own, on port 226, that a gateway
hears. The server then sends both, with ``relay`` for the gateway of the inner frame. Both
get one deduplication id, of the relay and the time, which begins with ``relay:``, so that metrics
count the inner frame only where no gateway's own is there (``columns.entries``).

The time of an uplink is the time at which the network server received it. The gateways' clocks are
kept beside it and never order anything. Other frames get no deduplication id: the same message
comes with or without correlation ids, depending on the integration, and must not count twice.
"""

from __future__ import annotations

from typing import Final

from dii.schema import RELAYED, Reception
from dii.telemetry.readers import base, fields
from dii.telemetry.readers.base import Columns, Heard, Log, at, columns
from dii.telemetry.readers.fields import Fault, Named, Record
from dii.telemetry.readers.uplinks import Uplinks

_BROKER: Final = "packetbroker"
_FORWARDER: Final = "packet_broker.forwarder_"
_NETWORK: Final = "network_ids.net_id", "network_ids.tenant_id"
_IDS: Final = "end_device_ids.dev_eui", "uplink_message.session_key_id", "end_device_ids.dev_addr"
_RELAY_PORT: Final = 226


def modulation(path: str) -> Columns:
    """Return the table of the modulation whose settings lie at a path."""
    return columns(
        spreading_factor=f"{path}.data_rate.lora.spreading_factor",
        bandwidth=f"{path}.data_rate.lora.bandwidth",
        code_rate=(f"{path}.data_rate.lora.coding_rate", f"{path}.coding_rate"),
    )


class _Messages(Uplinks):
    """Table of messages in which Packet Broker and relays stand for gateways."""

    def push(self, record: Record, log: Log) -> None:
        """Push the receptions of an uplink."""
        frame, entries = self.opened(record, log)
        message = fields.get(record, "uplink_message", fields.inner)
        if message.get("f_port") == _RELAY_PORT:
            frame = _relayed(frame, record, "end_device_ids", log)
        network = log.rows.optional(fields.network_of, message, *_NETWORK, log.source.network) or ""

        def read(entry: Record) -> Heard:
            return self._entry(entry, frame, network, log)

        heard = log.read_each(frame, entries, read)
        if record.get("simulated"):
            for row, _ in heard:
                log.rows.reject("simulated", "never on the air", row.gateway, frame.time)
            return
        stated = message.get("locations")  # by source; used with check_radio only
        places = stated.values() if isinstance(stated, dict) else ()
        devices = [place for place in places if isinstance(place, dict)]
        signals = {_signal(row) for row, _ in heard if row.gateway} - {None}
        for row, location in heard:
            if row.gateway is None and _signal(row) in signals:
                detail = "a named gateway's, through Packet Broker"
                log.rows.reject("same_reception", detail, time=frame.time)
            else:
                log.push([(row, location)], devices)

    def received(self, record: Record, log: Log) -> int:
        """Return the time at which the network server received an uplink."""
        received = super().received(record, log)
        if received is None:
            raise Fault("no_time", "received_at is missing")
        return received

    def _entry(self, entry: Record, frame: Reception, network: str, log: Log) -> Heard:
        """Return the reception of an entry, without a gateway where none is named."""
        ids = fields.get(entry, "gateway_ids", fields.inner)
        identifier, eui = base.stated_ids(ids, "gateway_id", log)
        if brokered := identifier == _BROKER:
            identifier, eui, network = _forwarder(entry, network, log)
        named: Named | None = None
        if fields.is_stand_in(identifier):
            frame = _relayed(frame, entry, "relay", log)
        elif not brokered or identifier or fields.eui(eui):
            named = fields.identity(identifier, eui, network)
        return self.heard(entry, frame, named, log)


def _forwarder(entry: Record, network: str, log: Log) -> tuple[str | None, str | None, str]:
    """Return id, EUI and network of a forwarder; an id means nothing without its network."""
    eui = log.get(entry, f"{_FORWARDER}gateway_eui", fields.eui_text)
    found = log.rows.optional(_forwarder_id, entry, network)
    return (found[0], eui, found[1]) if found else (None, eui, network)


def _forwarder_id(entry: Record, network: str) -> tuple[str | None, str]:
    identifier = fields.get(entry, f"{_FORWARDER}gateway_id", fields.text)
    ids = f"{_FORWARDER}net_id", f"{_FORWARDER}tenant_id"
    return identifier, fields.network_of(entry, *ids, network)


def _signal(row: Reception) -> tuple[object, ...] | None:
    """Return the values that two entries of one reception share; None where one is not known."""
    signal = row.gateway_time, row.rssi, row.snr
    return None if None in signal else signal


def _relayed(frame: Reception, record: Record, key: str, log: Log) -> Reception:
    """Return a frame that a relay carried, with an id that its carrying frame has, too."""
    relay = log.get(record, f"{key}.device_id", fields.text)
    if relay is None:
        return frame
    shared = f"{RELAYED}{frame.application}/{relay}@{frame.time}"
    return frame._replace(deduplication_id=shared)


def _device(key: str, value: object) -> str | None:
    """Return the name of a device, or in its place the id of its session."""
    if key == "session_key_id":
        return fields.payload(key, value).hex().upper() or None
    return fields.device(key, value)


THINGS_STACK: Final = _Messages(
    name="things-stack-v3",
    about="The Things Stack v3: uplink messages of applications, JSON lines",
    keys=("end_device_ids",),
    times=("uplink_message.received_at", "received_at"),
    entries="uplink_message.rx_metadata",
    frame={
        **columns(
            zeros=("f_cnt",),
            device=at(_device, *_IDS),
            application="end_device_ids.application_ids.application_id",
            f_cnt="uplink_message.f_cnt",
            data="uplink_message.frm_payload",
            airtime=at(fields.duration, "uplink_message.consumed_airtime"),
        ),
        **modulation("uplink_message.settings"),
    },
    entry=columns(zeros=("snr",), gateway_time="time", rssi="rssi", snr="snr"),
).reader()
