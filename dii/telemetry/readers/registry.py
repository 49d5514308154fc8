"""Registries: The Things Network's own (``gateway-data``, 2018 on), and Packet Broker's Mapper.

``gateway-data``: one JSON object of gateways by id, or a list of them. Every field but ``id`` may
be missing. The owner of a gateway is ``owner``, or the first of ``owners``. It is a snapshot:
``last_seen`` is one moment and tells nothing about the time before it, so a registry gives no
metrics.

The Mapper: a JSON array of the gateways of all networks that exchange traffic. Networks refresh
their entries every few minutes while a gateway is connected (``updatedAt``), with the frames per
hour since the refresh before (``rxRate``, absent where the network keeps it to itself). So several
arrays in one file are polls that tell uptime; a single array tells one moment.
"""

from __future__ import annotations

from typing import Final

from dii.schema import Gateway
from dii.telemetry.readers import base, fields
from dii.telemetry.readers.base import JsonReader, Log
from dii.telemetry.readers.fields import Fault, Record
from dii.telemetry.source import Source
from dii.units import SECOND


class Registry(JsonReader):
    """Reader of TTN's ``gateway-data``, in which gateways are members of one object or a list."""

    def declines(self, source: Source) -> str | None:
        """Return why a source is not of this format, None if it is."""
        key, record = source.first_member
        if not isinstance(record, dict):
            return "not a JSON document of gateways"
        if not isinstance(record.get("id"), str) or (key is not None and key != record["id"]):
            return "its first member is not a gateway with an id"
        if "netID" in record:
            return "a gateway of Packet Broker"
        return None


def _gateway(record: Record, log: Log) -> None:
    """Push a gateway; a gateway that is listed twice is rejected once."""
    identifier = fields.get(record, "id", fields.text)
    if identifier is None:
        raise Fault("bad_field", "id: a text is expected")
    stated = log.get(record, "eui", fields.eui_text)
    gateway, eui = fields.identity(identifier, stated, log.source.network)
    owners = log.get(record, "owners", fields.items) or []
    names = (log.get({"owners": owner}, "owners", fields.text) for owner in owners)
    row = Gateway(
        gateway,
        log.get(record, "owner", fields.text) or next(filter(None, names), None),
        *log.rows.place(log.get(record, "location", fields.inner) or {}, gateway),
        log.get(record, "country_code", fields.country),
        log.get(record, "attributes.placement", fields.placement),
        log.get(record, "last_seen", fields.time),
        eui,
    )
    log.rows.entry(row)


def _status(record: Record, log: Log) -> None:
    """Push a status of a gateway that is online, and note its place."""
    default = log.source.network
    network = log.rows.optional(fields.network_of, record, "netID", "tenantID", default) or ""
    identifier, eui = base.stated_ids(record, "id", log)
    named = fields.identity(identifier, eui, network)
    updated = log.get(record, "updatedAt", fields.time)
    rate = log.get(record, "rxRate", fields.number("frames"))
    placement = log.get(record, "antennaPlacement", fields.placement)
    location = log.get(record, "location", fields.inner) or {}
    log.note(named.gateway, updated or 0, location, placement)
    if record.get("online") is True and updated and log.later(named.gateway, updated):
        log.poll(named, updated, rate=rate)


REGISTRY: Final = Registry(
    "ttn-registry",
    "TTN gateway-data: JSON, gateways by id or a list of them",
    frozenset(),
    ("id",),
    _gateway,
    containers="{[",
)
MAPPER: Final = JsonReader(
    "packet-broker-mapper",
    "Packet Broker Mapper: JSON arrays of gateways, one or one after another",
    base.STATUS_METRICS,
    ("netID", "online"),
    _status,
    interval=3600 * SECOND,
)
