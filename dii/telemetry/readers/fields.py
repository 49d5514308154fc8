"""Fields of records that somebody else wrote: checked as they are read.

Records come from JSON, so any field may be missing, of another type, out of range, or not a number
at all. Each function here reads one field, returns None where it is absent (servers leave empty
fields out, so the empty string counts as absent, and so do ``null``, ``None`` and ``-``, which
programs write for it), and raises a ``Fault`` where it is there and wrong. Blanks around a text are
no part of it. The fault becomes a reject with the file and the line; a wrong value is never guessed at.
A schema validator would do as much, but costs several times the parsing, builds objects that are
thrown away again, and cannot set one reception aside while keeping the others of its uplink.

Texts of a fault name the field and what was expected, never what stood there: rejects are shown
and kept, and payloads or addresses have no place in them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple

from dii.schema import BOUNDS, EARLIEST, LATEST, MAX_PAYLOAD
from dii.units import SECOND, to_microseconds

Record = Mapping[str, object]

NO_FIELDS: Final[Record] = {}
_THINGS_NET_ID: Final = "000013"
MAX_TEXT: Final = 256
"""Characters of an id or name; the longest that networks allow are 36 to 100."""
_UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_PREFIX = re.compile(r"^(?:eui[-_: ]?|0x)", re.IGNORECASE)
_PAIRS = re.compile(r"(?:[0-9a-f]{2}[-:. _]?){7}[0-9a-f]{2}", re.IGNORECASE | re.ASCII)
_ID6_GROUP = re.compile(r"[0-9a-f]{1,4}", re.IGNORECASE | re.ASCII)
_INTEGER = re.compile(r"(-?[0-9]{1,19})(?:\.0*)?", re.ASCII)
_DECIMAL = re.compile(r"[0-9]{1,19}(?:\.[0-9]{0,19})?", re.ASCII)
_COUNTRY = re.compile(r"[a-z]{2}", re.ASCII)
_DURATION = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,9}))?s", re.ASCII)


UNKNOWN: Final = frozenset(
    {"", "-", "--", "nan", "NaN", "<NA>", "n/a", "N/A"}
    | {"null", "Null", "NULL", "none", "None", "NONE"}
)
"""Texts that programs write where a value is unknown; no name."""
STAND_INS: Final = frozenset({"packetbroker", "relay"})
"""Ids that network servers write where a gateway's would stand and there is none; no gateway."""
STAND_IN: Final = "an id that servers write where there is no gateway"


class Fault(Exception):
    """What is wrong with a record or a field: the reason and the detail of a reject."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason, self.detail = reason, detail
        super().__init__(f"{reason}: {detail}")


def _wrong(key: str, expected: str) -> Fault:
    return Fault("bad_field", f"{key}: {expected} is expected")


def fit_text(text: str) -> bool:
    """Whether a text is short, and free of lone surrogates and of what controls a terminal.

    That is control characters, and marks that turn the direction of writing.
    """
    return len(text) <= MAX_TEXT and _UNFIT.search(text) is None


def stated(record: Record, key: str) -> object:
    """Return a value, a text without blanks around it; None where it is absent or unknown."""
    value = record.get(key)
    if type(value) is str:
        value = value.strip()
        return None if value in UNKNOWN else value
    return value


def text(record: Record, key: str) -> str | None:
    """Return a short text."""
    value = stated(record, key)
    if value is None:
        return None
    if type(value) is not str or not fit_text(value):
        raise _wrong(key, f"a text of at most {MAX_TEXT} printable characters")
    return value


def integer(record: Record, key: str, column: str | None = None) -> int | None:
    """Return an integer within the bounds of a column, or a counter.

    Protobuf writes it as text, and tables with gaps write ``12.0``.
    """
    value = stated(record, key)
    if value is None:
        return None
    if type(value) is str and (match := _INTEGER.fullmatch(value)):
        value = int(match[1])
    elif type(value) is float and value.is_integer():
        value = int(value)
    least, most = BOUNDS[column] if column else (0, 2**63 - 1)
    if type(value) is not int or not least <= value <= most:
        raise _wrong(key, f"an integer from {least} to {most}")
    return value


def counter(record: Record, key: str, column: str | None = None) -> int:
    """Return an integer that is left out where it is 0."""
    return integer(record, key, column) or 0


def number(record: Record, key: str, column: str) -> float | None:
    """Return a finite number within the bounds of a column."""
    value = stated(record, key)
    if value is None:
        return None
    least, most = BOUNDS[column]
    if not (type(value) is float or type(value) is int) or not least <= value <= most:
        raise _wrong(key, f"a number from {least} to {most}")
    return float(value)


def flag(record: Record, key: str) -> bool | None:
    """Return a truth value."""
    value = stated(record, key)
    if value is not None and type(value) is not bool:
        raise _wrong(key, "true or false")
    return value


def inner(record: Record, *keys: str) -> Record:
    """Return a record within records; an absent one has no fields."""
    for key in keys:
        value = record.get(key)
        if value is not None and not isinstance(value, dict):
            raise _wrong(key, "an object")
        record = value or NO_FIELDS
    return record


def items(record: Record, key: str) -> list[object]:
    """Return a list; an absent one is empty."""
    value = record.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise _wrong(key, "a list")
    return value


def parse_time(key: str, value: str) -> int | None:
    """Return the microseconds since 1970 of an ISO 8601 time; without a zone it is UTC.

    Nanoseconds are cut off. Times before 1970 are None: Go and protobuf write an absent time as
    the year 1.

    Raises
    ------
    Fault
        ``bad_time``: the text is no time.
    """
    try:
        micros = to_microseconds(datetime.fromisoformat(value))
    except (ValueError, OverflowError):
        raise Fault("bad_time", f"{key}: an ISO 8601 time is expected") from None
    return micros if micros >= 0 else None


def clock(record: Record, key: str) -> int | None:
    """Return what a gateway's clock said, in microseconds; None where that is beyond all bounds."""
    micros = _moment(record, key)
    return micros if micros is not None and micros <= LATEST else None


def time(record: Record, key: str) -> int | None:
    """Return a server's time in microseconds, from 2000 to 2100."""
    micros = _moment(record, key)
    return None if micros is None else check_time(key, micros)


def milliseconds(record: Record, key: str) -> int | None:
    """Return a server's time in microseconds that a logger states as milliseconds since 1970."""
    value = stated(record, key)
    if value is None:
        return None
    if type(value) in {int, float}:
        value = str(value)
    if type(value) is not str or not _DECIMAL.fullmatch(value):
        raise Fault("bad_time", f"{key}: milliseconds since 1970 are expected")
    try:
        return check_time(key, int(Decimal(value) * 1000))
    except Fault:
        what = "milliseconds since 1970, from 2000 to 2100, are expected"
        raise Fault("bad_time", f"{key}: {what}") from None


def country(record: Record, key: str) -> str | None:
    """Return a country's ISO 3166 alpha-2 code in lower case."""
    found = (text(record, key) or "").lower()
    if found and not _COUNTRY.fullmatch(found):
        raise _wrong(key, "two letters")
    return found or None


def placement(record: Record, key: str) -> str | None:
    """Return ``indoor`` or ``outdoor``; None for other texts."""
    found = (text(record, key) or "").lower()
    return found if found in {"indoor", "outdoor"} else None


def first_time(record: Record, *keys: str) -> int | None:
    """Return the first of several server's times that is stated; ``_timestamp`` is milliseconds."""
    for key in keys:
        read = milliseconds if key == "_timestamp" else time
        if (at := read(record, key)) is not None:
            return at
    return None


def _moment(record: Record, key: str) -> int | None:
    value = stated(record, key)
    if value is None:
        return None
    if type(value) is not str:
        raise Fault("bad_time", f"{key}: an ISO 8601 time is expected")
    return parse_time(key, value)


def check_time(key: str, micros: int) -> int:
    """Return a time that a server can have had.

    Raises
    ------
    Fault
        ``bad_time``: it lies before 2000 or after 2100.
    """
    if not EARLIEST <= micros <= LATEST:
        raise Fault("bad_time", f"{key}: a time from 2000 to 2100 is expected")
    return micros


def duration(record: Record, key: str, column: str) -> int | None:
    """Return the microseconds of a protobuf duration such as ``"0.056576s"``, rounded up."""
    value = record.get(key)
    if value is None or value == "":
        return None
    match = _DURATION.fullmatch(value) if type(value) is str else None
    if match is None:
        raise _wrong(key, 'a duration such as "0.056576s"')
    nanos = int(match[1]) * 10**9 + int((match[2] or "").ljust(9, "0"))
    micros = -(-nanos // 1000)
    if micros > BOUNDS[column][1]:
        raise _wrong(key, f"at most {BOUNDS[column][1] // SECOND} s")
    return micros


def payload(record: Record, key: str, *, hexadecimal: bool = False) -> bytes:
    """Return the bytes of a payload in base64 (or hexadecimal); an absent one is empty."""
    value = record.get(key)
    if value is None:
        return b""
    try:
        if type(value) is not str or len(value) > 2 * MAX_PAYLOAD:
            raise ValueError
        return bytes.fromhex(value) if hexadecimal else base64.b64decode(value, validate=True)
    except (ValueError, binascii.Error):
        raise _wrong(key, "hexadecimal" if hexadecimal else "base64") from None


def eui(value: str | None) -> str | None:
    """Return an EUI as 16 upper-case hex digits, however it is written; None for other texts.

    Written are ``AA555A0000000001``, ``eui-aa555a0000000001``, ``0xAA555A0000000001``, with
    hyphens, colons, dots or blanks between bytes, 8 bytes in base64, and ID6 of LoRa Basics Station
    (``aa55:5a00::1``). Sixteen zeros are what devices write that have no EUI, so they are none.
    """
    if value is None:
        return None
    value = value.strip()
    bare, digits = _PREFIX.sub("", value), ""
    if _PAIRS.fullmatch(bare):
        digits = re.sub("[^0-9a-fA-F]", "", bare)
    elif ":" in bare:
        digits = _from_id6(bare)
    elif len(value) == 12 and value.endswith("="):
        try:
            digits = base64.b64decode(value, validate=True).hex()
        except binascii.Error:
            return None
    return digits.upper() if len(digits) == 16 and digits.strip("0") else None


def _from_id6(value: str) -> str:
    """Return the digits of four groups of which ``::`` leaves zeros out; empty for other texts."""
    left, gap, right = value.partition("::")
    before, after = (side.split(":") if side else [] for side in (left, right))
    zeros = ["0"] * (4 - len(before) - len(after)) if gap else []
    groups = [*before, *zeros, *after]
    sound = len(groups) == 4 and all(map(_ID6_GROUP.fullmatch, groups))
    return "".join(group.zfill(4) for group in groups) if sound else ""


def payload_hash(data: bytes) -> int:
    """Return the first 8 bytes of a payload's SHA-256 as a signed integer."""
    return int.from_bytes(hashlib.sha256(data).digest()[:8], "big", signed=True)


class Named(NamedTuple):
    """The name under which a record states its gateway, and the EUI that it states beside it."""

    gateway: str
    eui: str | None = None


def identity(identifier: str | None, eui_text: str | None, network: str) -> Named:
    """Return the name of a gateway: ``network:id`` where an id is stated, else the EUI.

    An id that spells an EUI (``eui-X`` or ``X``) is that EUI, as 16 upper-case hex digits.

    Parameters
    ----------
    identifier
        The network's own id of the gateway.
    eui_text
        The EUI, where the record states it.
    network
        Namespace of the id: ``ttn``, ``chirpstack``, ...; empty where it cannot be read: the id
        says nothing then.

    Raises
    ------
    Fault
        Neither can be read, or an id that servers write where there is no gateway.
    """
    if is_stand_in(identifier):
        raise Fault("stand_in", STAND_IN)
    stated, spelled = eui(eui_text), eui(identifier)
    name = spelled or (f"{network}:{identifier}" if identifier and network else stated)
    if name is None:
        raise Fault("bad_field", "a gateway's id is expected")
    return Named(name, stated if stated != name else None)


def gateway_name(name: str, network: str) -> str:
    """Return the name of a gateway that somebody types, or a table states, as one text.

    It is an EUI in any spelling, ``network:id``, or an id of ``network``.
    """
    if found := eui(name):
        return found
    owner, colon, identifier = (part.strip() for part in name.partition(":"))
    if not colon:
        owner, identifier = network, owner
    return eui(identifier) or f"{owner}:{identifier}"


def is_stand_in(name: str | None) -> bool:
    """Tell whether an id, or ``network:id``, is one that servers write where no gateway is."""
    return name is not None and name.rpartition(":")[2].strip().lower() in STAND_INS


def network_of(net_id: str | None, tenant: str | None, default: str) -> str:
    """Return whose gateway ids they are: a tenant of The Things Network, or another network.

    The Things Network's tenants ``ttn`` and ``ttnv2`` are one namespace: version 2 had the registry
    from which gateways moved to version 3.
    """
    if net_id is None:
        return default
    if net_id == _THINGS_NET_ID:
        return tenant if tenant not in {None, "ttn", "ttnv2"} else "ttn"
    return f"{net_id}-{tenant}" if tenant else net_id
