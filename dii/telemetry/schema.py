"""The tables between readers and metrics, and the metrics themselves.

Readers turn files into four tables; ``metrics`` turns tables into integers per gateway and epoch.
This module is the contract between them and imports nothing, so that the chain can know the
metrics' bounds without loading any table engine.

Times are microseconds since 1970, UTC (0 records may be before 1970-01-02: a gateway's clock is
never used to order anything). A missing value is null and means *unknown*, never zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a telemetry table.

    Attributes
    ----------
    name
        Column name in every table, file and query.
    type
        ``string``, ``int64``, ``float64`` or ``bool``.
    required
        False where null (unknown) is allowed.
    about
        Meaning and unit.
    """

    name: str
    type: Literal["string", "int64", "float64", "bool"]
    required: bool
    about: str


GATEWAYS: Final = (
    Column("gateway", "string", True, "network:id, else EUI as 16 upper-case hex digits"),
    Column("operator", "string", False, "name of the operator, as the source gives it"),
    Column("latitude", "float64", False, "degrees north, WGS 84"),
    Column("longitude", "float64", False, "degrees east, WGS 84"),
    Column("altitude", "float64", False, "metres"),
    Column("country", "string", False, "ISO 3166 alpha-2, lower case"),
    Column("placement", "string", False, "indoor or outdoor"),
    Column("last_seen", "int64", False, "microseconds since 1970"),
    Column("eui", "string", False, "EUI that the record states beside its id, as in gateway"),
)

RECEPTIONS: Final = (
    Column("time", "int64", True, "when the server received the frame, microseconds since 1970"),
    Column("gateway", "string", False, "who heard it; null = unattributed (Packet Broker)"),
    Column("gateway_time", "int64", False, "the gateway's own clock, microseconds; may say 1970"),
    Column("kind", "string", True, "data, join or downlink"),
    Column("deduplication_id", "string", False, "the network server's own id of the frame"),
    Column("device", "string", False, "dev_eui, else session, else dev_addr, upper case"),
    Column("application", "string", False, "application id"),
    Column("f_cnt", "int64", False, "frame counter"),
    Column("payload_hash", "int64", False, "first 8 bytes of SHA-256 of the payload, signed"),
    Column("size", "int64", False, "bytes of the payload (24 bytes are one data unit)"),
    Column("airtime", "int64", False, "time on air, microseconds"),
    Column("rssi", "float64", False, "dBm"),
    Column("snr", "float64", False, "dB"),
    Column("delivered", "bool", False, "reached its application"),
    Column("trusted", "bool", False, "the network trusts this gateway's key"),
    Column("foreign", "bool", False, "a frame of another network"),
    Column("eui", "string", False, "as in gateways"),
)

STATUSES: Final = (
    Column("time", "int64", True, "end of the covered interval, microseconds since 1970"),
    Column("gateway", "string", True, "as in gateways"),
    Column("covers", "int64", True, "length of the covered interval, microseconds"),
    Column("frames", "int64", False, "frames of any network heard in the interval"),
    Column("eui", "string", False, "as in gateways"),
)

REJECTS: Final = (
    Column("file", "string", True, "name of the file"),
    Column("line", "int64", True, "line, or number of the record, from 1"),
    Column("reason", "string", True, "short code: bad_json, simulated, bad_coordinates, ..."),
    Column("detail", "string", False, "what was wrong, for people"),
    Column("gateway", "string", False, "whom it would have concerned, where known"),
    Column("time", "int64", False, "when, where known, microseconds since 1970"),
)

TABLES: Final = {
    "gateways": GATEWAYS,
    "entries": GATEWAYS,
    "receptions": RECEPTIONS,
    "statuses": STATUSES,
    "rejects": REJECTS,
}

MAX_ROWS: Final = 1 << 20
"""Gateways in one report at most."""

GAP: Final = 31
"""Days without a record that may lie between two records of one load."""

SHAPLEY_UNIT: Final = 720_720
"""Least common multiple of 1..16: one uplink divides exactly among up to 16 ways."""

UNATTRIBUTED: Final = ""
"""The gateway id of the one row that stands for all receptions that name no gateway, and the
operator of the row of usage that stands for an application as a whole."""


RELAYED: Final = "relay:"
"""How deduplication ids begin of a frame that came through a relay, and of its carrying frame."""


@dataclass(frozen=True, slots=True)
class Metric:
    """An integer per gateway and epoch, or per application, operator and epoch.

    Attributes
    ----------
    name
        As in reports, rules and receipts.
    maximum
        The greatest value a report may carry; beyond it the report is refused.
    about
        Meaning and unit.
    """

    name: str
    maximum: int
    about: str


_COUNT: Final = 10**8

METRICS: Final = {
    metric.name: metric
    for metric in (
        Metric("connected_ppm", 10**6, "share of the epoch's 5-minute slots with a sign of life"),
        Metric("online_ppm", 10**6, "the same, but nothing while deaf"),
        Metric("receptions", _COUNT, "frames heard, each uplink once"),
        Metric("uplinks", _COUNT, "delivered uplinks heard"),
        Metric("sole_uplinks", _COUNT, "delivered uplinks that no other gateway heard"),
        Metric("shapley_uplinks", SHAPLEY_UNIT * 10**7, "share in delivered uplinks, 1/720720"),
        Metric("uplink_units", _COUNT, "10 ms of airtime, rounded up per frame"),
        Metric("downlink_units", _COUNT, "10 ms of airtime sent, rounded up per frame"),
        Metric("data_units", _COUNT, "24 bytes of delivered payload, rounded up per frame"),
        Metric("downlinks", _COUNT, "frames sent for the network"),
        Metric("foreign_frames", _COUNT, "frames of other networks heard"),
        Metric("own_uplinks", _COUNT, "delivered uplinks of the operator's own applications"),
        Metric("excluded_frames", _COUNT, "frames set aside with a reason, such as simulated"),
    )
}
"""Every metric there is, in the order in which tables and receipts show them."""

USAGE: Final = {
    metric.name: metric
    for metric in (
        Metric("delivered", _COUNT, "uplinks of the application delivered"),
        Metric("uplink_units", _COUNT, "10 ms of their airtime, rounded up per frame"),
        Metric("downlinks", _COUNT, "frames sent for the application"),
        Metric("lost", _COUNT, "uplinks missing between frame counters; of the application only"),
    )
}
"""All that is counted of an application's use of an operator, in the order of tables and reports.

Where sources say what they give, these are called ``usage.delivered`` and so on (``USAGE_GIVEN``).
"""

USAGE_GIVEN: Final = {f"usage.{name}": name for name in USAGE}
"""The names of usage among those of metrics that a source gives."""
