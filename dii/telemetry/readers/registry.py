"""Registries: The Things Network's own (``gateway-data``, 2018 on), and Packet Broker's Mapper.

``gateway-data``: one JSON object of gateways by id, or a list of them. Every field but ``id`` may
be missing. Who owns a gateway stands in ``owner``, sometimes in ``owners`` only. It is a snapshot:
``last_seen`` is one moment and says nothing about the time before it, so a registry gives no metric
at all.

The Mapper: a JSON array of the gateways of all networks that exchange traffic. Networks refresh
their entries every few minutes while a gateway is connected (``updatedAt``), with the frames per
hour since the refresh before (``rxRate``, absent where the network keeps it to itself). So arrays
kept one after another in one file are polls and tell uptime; of a single one, a moment.
"""

from __future__ import annotations

from dii.schema import Gateway
from dii.telemetry.readers import fields
from dii.telemetry.readers.base import STATUS_METRICS, JsonReader, Log, Reader, stated_eui
from dii.telemetry.readers.fields import Fault, Record
from dii.telemetry.source import Source, members
from dii.telemetry.tables import Rows
from dii.units import SECOND


class Registry(Reader):
    """TTN's ``gateway-data``."""

    name = "ttn-registry"
    about = "TTN gateway-data: JSON, gateways by id or a list of them"
    gives = frozenset()

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

    def read(self, source: Source, rows: Rows) -> None:
        """Push the gateways; a gateway that stands twice is rejected once."""
        document = source.document(rows)
        try:
            for rows.line, (_, record) in enumerate(members(document), 1):
                try:
                    rows.entry(_gateway(record, source.network, rows))
                except Fault as fault:
                    rows.reject(fault.reason, fault.detail)
        except Fault as fault:
            rows.line += 1
            rows.reject(fault.reason, fault.detail)


def _gateway(record: object, network: str, rows: Rows) -> Gateway:
    if not isinstance(record, dict):
        raise Fault("bad_record", "an object is expected")
    identifier = fields.text(record, "id")
    if identifier is None:
        raise Fault("bad_field", "id: a text is expected")
    gateway, eui = fields.identity(identifier, rows.optional(fields.text, record, "eui"), network)
    attributes = rows.optional(fields.inner, record, "attributes") or {}
    return Gateway(
        gateway,
        _operator(record, rows),
        *rows.place(rows.optional(fields.inner, record, "location") or {}, gateway),
        rows.optional(fields.country, record, "country_code"),
        rows.optional(fields.placement, attributes, "placement"),
        rows.optional(fields.time, record, "last_seen"),
        eui,
    )


def _operator(record: Record, rows: Rows) -> str | None:
    """Return the owner, else the first of the owners."""
    owners = rows.optional(fields.items, record, "owners") or []
    names = (rows.optional(fields.text, {"owners": owner}, "owners") for owner in owners)
    return rows.optional(fields.text, record, "owner") or next(filter(None, names), None)


def _network(record: Record, default: str) -> str:
    net_id, tenant = fields.text(record, "netID"), fields.text(record, "tenantID")
    return fields.network_of(net_id, tenant, default)


class Mapper(JsonReader):
    """Packet Broker's Mapper."""

    name = "packet-broker-mapper"
    about = "Packet Broker Mapper: JSON arrays of gateways, one or one after another"
    gives = STATUS_METRICS
    keys = ("netID", "online")
    interval = 3600 * SECOND

    def record(self, record: Record, log: Log) -> None:
        """Push a status of a gateway that is online, and note its place."""
        optional = log.rows.optional
        network = optional(_network, record, log.source.network) or ""
        identifier = fields.text(record, "id")
        named = fields.identity(identifier, stated_eui(record, identifier, log.rows), network)
        updated = optional(fields.time, record, "updatedAt")
        rate = optional(fields.number, record, "rxRate", "frames")
        placement = optional(fields.placement, record, "antennaPlacement")
        location = optional(fields.inner, record, "location") or {}
        log.places.note(named.gateway, updated or 0, log.rows.line, location, placement)
        if record.get("online") is True and updated and log.polls.later(named.gateway, updated):
            log.polls.poll(named, updated, rate=rate)
