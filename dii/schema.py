"""Tables between readers and metrics, and the metrics themselves.

Readers turn files into four tables; ``metrics`` turns tables into integers per gateway and epoch.
This module is the contract between them and loads no table engine, so that the chain can know the
metrics' bounds without one.

Times are microseconds since 1970, UTC. A missing value is null and means *unknown*, never zero. A
numeric column is annotated with its least and greatest value.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType
from typing import Annotated, Final, Literal, NamedTuple, get_args, get_type_hints

from dii.units import DAY, SECOND

EARLIEST: Final = 946_684_800 * SECOND
"""2000-01-01. A server time before it is seconds or milliseconds taken for microseconds."""
LATEST: Final = 4_102_444_800 * SECOND
"""2100-01-01. One record in the year 9999 would otherwise open three million epochs."""
MAX_PAYLOAD: Final = 4096
"""Bytes of a payload; LoRaWAN's longest is 242."""

Kind = Literal["string", "int64", "float64", "bool"]
_TYPES: Final[Mapping[type, Kind]] = {str: "string", int: "int64", float: "float64", bool: "bool"}


class Column(NamedTuple):
    """Column of a telemetry table, of the same name in every table, file and query.

    Attributes
    ----------
    name, type
        Its name and its type: ``string``, ``int64``, ``float64`` or ``bool``.
    required
        False where null (unknown) is allowed.
    bounds
        Least and greatest value, if a source may state it.
    """

    name: str
    type: Kind
    required: bool
    bounds: tuple[int, int] | None


class Gateway(NamedTuple):
    """Row of ``gateways``.

    Attributes
    ----------
    gateway
        ``network:id``, else the EUI as 16 upper-case hex digits.
    operator
        Name of the operator, as the source gives it.
    latitude, longitude, altitude
        Degrees north and east (WGS 84), and metres.
    country
        ISO 3166 alpha-2, lower case.
    placement
        ``indoor`` or ``outdoor``.
    last_seen
        Microseconds since 1970.
    eui
        EUI that the record states beside its id, written as in ``gateway``.
    """

    gateway: str
    operator: str | None = None
    latitude: Annotated[float | None, (-90, 90)] = None
    longitude: Annotated[float | None, (-180, 180)] = None
    altitude: Annotated[float | None, (-500, 9_000)] = None
    country: str | None = None
    placement: str | None = None
    last_seen: Annotated[int | None, (EARLIEST, LATEST)] = None
    eui: str | None = None


class Reception(NamedTuple):
    """Row of ``receptions``.

    Attributes
    ----------
    time
        Time at which the server received the frame, microseconds since 1970.
    gateway
        Gateway that heard it; null where none is named (Packet Broker).
    gateway_time
        The gateway's own clock, microseconds. It may say 1970: it never orders anything.
    kind
        ``data``, ``join`` or ``downlink``.
    deduplication_id
        The network server's own id of the frame.
    device
        dev_eui, else session, else dev_addr, upper case.
    application
        Id of the application.
    f_cnt
        Frame counter.
    payload_hash
        First 8 bytes of SHA-256 of the payload, signed.
    size
        Bytes of the payload (24 bytes are one data unit).
    airtime
        Time on air, microseconds.
    rssi, snr
        dBm and dB.
    delivered
        The frame reached its application.
    trusted
        The network trusts this gateway's key.
    foreign
        The frame is one of another network.
    eui
        As in ``gateways``.
    """

    time: Annotated[int, (EARLIEST, LATEST)]
    gateway: str | None
    gateway_time: Annotated[int | None, (0, LATEST)] = None
    kind: str = "data"
    deduplication_id: str | None = None
    device: str | None = None
    application: str | None = None
    f_cnt: Annotated[int | None, (0, 2**32 - 1)] = None
    payload_hash: Annotated[int | None, (-(2**63), 2**63 - 1)] = None
    size: Annotated[int | None, (0, MAX_PAYLOAD)] = None
    airtime: Annotated[int | None, (0, 100 * SECOND)] = None
    rssi: Annotated[float | None, (-250, 100)] = None
    snr: Annotated[float | None, (-100, 100)] = None
    delivered: bool | None = None
    trusted: bool | None = None
    foreign: bool | None = None
    eui: str | None = None


class Status(NamedTuple):
    """Row of ``statuses``.

    Attributes
    ----------
    time, covers
        End and length of the covered interval, microseconds.
    gateway, eui
        As in ``gateways``.
    frames
        Frames of any network heard in the interval.
    """

    time: Annotated[int, (EARLIEST, LATEST)]
    gateway: str
    covers: Annotated[int, (1, 366 * DAY)]
    frames: Annotated[int | None, (0, 10**8)] = None
    eui: str | None = None


class Reject(NamedTuple):
    """Row of ``rejects``.

    Attributes
    ----------
    file, line
        Name of the file; line or number of the record, from 1.
    reason, detail
        Short code (``bad_json``, ``simulated``, ...), and a text for people.
    gateway, time
        Gateway and time of the record, where known.
    """

    file: str
    line: int
    reason: str
    detail: str | None = None
    gateway: str | None = None
    time: Annotated[int | None, (EARLIEST, LATEST)] = None


def _column(name: str, hint: object) -> Column:
    """Return the column of a field of a row."""
    kind, *bounds = get_args(hint) if hasattr(hint, "__metadata__") else (hint,)
    kinds = get_args(kind) or (kind,)
    return Column(name, _TYPES[kinds[0]], NoneType not in kinds, *bounds or [None])


_ROWS: Final = (Gateway, Gateway, Reception, Status, Reject)
TABLES: Final = {
    name: tuple(_column(*item) for item in get_type_hints(row, include_extras=True).items())
    for name, row in zip(("gateways", "entries", "receptions", "statuses", "rejects"), _ROWS)
}
"""Columns of each table of telemetry."""

BOUNDS: Final = {c.name: c.bounds for table in TABLES.values() for c in table if c.bounds}
"""Least and greatest value of every numeric column that a source may state."""

MAX_ROWS: Final = 1 << 20
"""Greatest number of gateways in one report."""

GAP: Final = 31
"""Days without a record that may lie between two records of one load."""

SHAPLEY_UNIT: Final = 720_720
"""Least common multiple of 1..16: one uplink divides exactly among up to 16 ways."""

UNATTRIBUTED: Final = ""
"""Gateway id of the row for all receptions that name no gateway, and operator of the row of usage
for an application as a whole."""


RELAYED: Final = "relay:"
"""Prefix of the deduplication ids of a relayed frame, and of the frame that carried it."""


class Metric(NamedTuple):
    """Integer per gateway and epoch, or per application, operator and epoch.

    Attributes
    ----------
    name
        Name in reports, rules and receipts.
    maximum
        Greatest value of a report; a report with a greater value is refused.
    about
        Meaning and unit.
    """

    name: str
    maximum: int
    about: str


_COUNT: Final = 10**8


def _by_name(*metrics: Metric) -> dict[str, Metric]:
    return {metric.name: metric for metric in metrics}


METRICS: Final = _by_name(
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
"""All metrics, in the order in which tables and receipts show them."""

USAGE: Final = _by_name(
    Metric("delivered", _COUNT, "uplinks of the application delivered"),
    Metric("uplink_units", _COUNT, "10 ms of their airtime, rounded up per frame"),
    Metric("downlinks", _COUNT, "frames sent for the application"),
    Metric("lost", _COUNT, "uplinks missing between frame counters; of the application only"),
)
"""Usage of an operator by an application, in the order of tables and reports.

Among the names that a source gives, these are ``usage.delivered`` and so on (``USAGE_GIVEN``).
"""

USAGE_GIVEN: Final = {f"usage.{name}": name for name in USAGE}
"""Names of usage as a source gives them, beside metrics."""
