"""The tables between readers and metrics, and the metrics themselves.

Readers turn files into four tables; ``metrics`` turns tables into integers per gateway and epoch.
This module is the contract between them and imports nothing, so that the chain can know the
metrics' bounds without loading any table engine.

Times are microseconds since 1970, UTC (0 records may be before 1970-01-02: a gateway's clock is
never used to order anything). A missing value is null and means *unknown*, never zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Annotated, Final, Literal, NamedTuple, get_args, get_type_hints

Kind = Literal["string", "int64", "float64", "bool"]


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
    type: Kind
    required: bool
    about: str


class Gateway(NamedTuple):
    """A row of ``gateways``."""

    gateway: Annotated[str, "network:id, else EUI as 16 upper-case hex digits"]
    operator: Annotated[str | None, "name of the operator, as the source gives it"] = None
    latitude: Annotated[float | None, "degrees north, WGS 84"] = None
    longitude: Annotated[float | None, "degrees east, WGS 84"] = None
    altitude: Annotated[float | None, "metres"] = None
    country: Annotated[str | None, "ISO 3166 alpha-2, lower case"] = None
    placement: Annotated[str | None, "indoor or outdoor"] = None
    last_seen: Annotated[int | None, "microseconds since 1970"] = None
    eui: Annotated[str | None, "EUI that the record states beside its id, as in gateway"] = None


class Reception(NamedTuple):
    """A row of ``receptions``."""

    time: Annotated[int, "when the server received the frame, microseconds since 1970"]
    gateway: Annotated[str | None, "who heard it; null = unattributed (Packet Broker)"]
    gateway_time: Annotated[int | None, "the gateway's own clock, microseconds; may say 1970"] = (
        None
    )
    kind: Annotated[str, "data, join or downlink"] = "data"
    deduplication_id: Annotated[str | None, "the network server's own id of the frame"] = None
    device: Annotated[str | None, "dev_eui, else session, else dev_addr, upper case"] = None
    application: Annotated[str | None, "application id"] = None
    f_cnt: Annotated[int | None, "frame counter"] = None
    payload_hash: Annotated[int | None, "first 8 bytes of SHA-256 of the payload, signed"] = None
    size: Annotated[int | None, "bytes of the payload (24 bytes are one data unit)"] = None
    airtime: Annotated[int | None, "time on air, microseconds"] = None
    rssi: Annotated[float | None, "dBm"] = None
    snr: Annotated[float | None, "dB"] = None
    delivered: Annotated[bool | None, "reached its application"] = None
    trusted: Annotated[bool | None, "the network trusts this gateway's key"] = None
    foreign: Annotated[bool | None, "a frame of another network"] = None
    eui: Annotated[str | None, "as in gateways"] = None


class Status(NamedTuple):
    """A row of ``statuses``."""

    time: Annotated[int, "end of the covered interval, microseconds since 1970"]
    gateway: Annotated[str, "as in gateways"]
    covers: Annotated[int, "length of the covered interval, microseconds"]
    frames: Annotated[int | None, "frames of any network heard in the interval"] = None
    eui: Annotated[str | None, "as in gateways"] = None


class Reject(NamedTuple):
    """A row of ``rejects``."""

    file: Annotated[str, "name of the file"]
    line: Annotated[int, "line, or number of the record, from 1"]
    reason: Annotated[str, "short code: bad_json, simulated, bad_coordinates, ..."]
    detail: Annotated[str | None, "what was wrong, for people"] = None
    gateway: Annotated[str | None, "whom it would have concerned, where known"] = None
    time: Annotated[int | None, "when, where known, microseconds since 1970"] = None


def _columns(row: type) -> tuple[Column, ...]:
    """Return a column for each field of a row."""
    hints = get_type_hints(row, include_extras=True)
    stated = {name: get_args(hint) for name, hint in hints.items()}
    kinds = {name: get_args(kind) or (kind,) for name, (kind, _) in stated.items()}
    return tuple(
        Column(name, _TYPES[kinds[name][0]], NoneType not in kinds[name], about)
        for name, (_, about) in stated.items()
    )


_TYPES: Final[Mapping[type, Kind]] = {str: "string", int: "int64", float: "float64", bool: "bool"}

GATEWAYS, RECEPTIONS, STATUSES, REJECTS = map(_columns, (Gateway, Reception, Status, Reject))

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
