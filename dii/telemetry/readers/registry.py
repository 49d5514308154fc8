"""The registry of The Things Network, as its website gave it from 2018 on (``gateway-data``).

One JSON object of gateways by id, or a list of them. Every field but ``id`` may be missing. Who
owns a gateway stands in ``owner``, sometimes in ``owners`` only. It is a snapshot: ``last_seen`` is
one moment and says nothing about the time before it, so a registry gives no metric at all.
"""

from __future__ import annotations

import re
from typing import Final

from dii.telemetry.fields import (
    Fault,
    Record,
    canonical_gateway,
    fit_text,
    inner,
    items,
    text,
    time,
)
from dii.telemetry.readers.base import Reader
from dii.telemetry.source import Source, members
from dii.telemetry.tables import Gateway, Rows

_COUNTRY: Final = re.compile(r"[a-z]{2}", re.ASCII)


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
    identifier = text(record, "id")
    if identifier is None:
        raise Fault("bad_field", "id: a text is expected")
    gateway = canonical_gateway(identifier, text(record, "eui"), network)
    country = (text(record, "country_code") or "").lower()
    if country and not _COUNTRY.fullmatch(country):
        raise Fault("bad_field", "country_code: two letters are expected")
    placement = (text(inner(record, "attributes"), "placement") or "").lower()
    operator = _operator(record)
    last_seen = time(record, "last_seen")
    return Gateway(
        gateway,
        operator,
        *rows.place(inner(record, "location"), gateway),
        country or None,
        placement if placement in {"indoor", "outdoor"} else None,
        last_seen,
    )


def _operator(record: Record) -> str | None:
    """Return the owner, else the first of the owners."""
    owners = items(record, "owners")
    if not all(type(owner) is str and fit_text(owner) for owner in owners):
        raise Fault("bad_field", "owners: a list of names is expected")
    first = next((owner for owner in owners if owner), None)
    return text(record, "owner") or (first if isinstance(first, str) else None)
