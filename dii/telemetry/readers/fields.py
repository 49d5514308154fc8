"""Fields of records: adapting functions, which check a value as they read it.

Records come from JSON and from tables, so any field may be missing, of another type, out of range,
or not a number at all. ``get`` follows a path to a value; an adapting function gets its key and the
value. It returns None for an absent value (servers leave empty fields out, so the empty string
counts as absent, and so do ``null``, ``None`` and ``-``, which programs write for it), and raises a
``Fault`` for a wrong value. Blanks around a text are no part of it. The fault becomes a reject with
the file and the line; a wrong value is never guessed at. A schema validator would do as much, but
costs several times the parsing, builds objects that are thrown away again, and cannot set one
reception aside while keeping the others of its uplink.

The text of a fault names the field and the expected value, never the value that was read: rejects
are shown and kept, and payloads or addresses have no place in them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from functools import cache, partial, wraps
from typing import Final, NamedTuple, TypeVar

from dii.schema import BOUNDS, EARLIEST, LATEST, MAX_PAYLOAD
from dii.units import SECOND, to_microseconds

T = TypeVar("T")
Record = Mapping[str, object]
Adapter = Callable[[str, object], T]
"""Function that returns the value of a key in the type and unit of a column."""

NO_FIELDS: Final[Record] = {}
_THINGS_NET_ID: Final = "000013"
MAX_TEXT: Final = 256
"""Characters of an id or a name; networks allow 36 to 100 at most."""
_UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_PREFIX = re.compile(r"^(?:eui[-_: ]?|0x)", re.IGNORECASE)
_PAIRS = re.compile(r"(?:[0-9a-f]{2}[-:. _]?){7}[0-9a-f]{2}", re.IGNORECASE | re.ASCII)
_ID6_GROUP = re.compile(r"[0-9a-f]{1,4}", re.IGNORECASE | re.ASCII)
_DECIMAL = re.compile(r"[0-9]{1,19}(?:\.[0-9]{0,19})?", re.ASCII)
_COUNTRY = re.compile(r"[a-z]{2}", re.ASCII)
_DURATION = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,9}))?s", re.ASCII)
INTEGER: Final = re.compile(r"(-?[0-9]{1,19})(?:\.0*)?", re.ASCII)
"""Texts of integers: protobuf writes numbers of 64 bits so, and tables with gaps ``12.0``."""

UNKNOWN: Final = frozenset(
    {"", "-", "--", "nan", "NaN", "<NA>", "n/a", "N/A"}
    | {"null", "Null", "NULL", "none", "None", "NONE"}
)
"""Texts that programs write for an unknown value."""
STAND_INS: Final = frozenset({"packetbroker", "relay"})
"""Ids that network servers write where there is no gateway."""
STAND_IN: Final = "an id that servers write where there is no gateway"


class Fault(Exception):
    """Error of a record or a field, with the reason and the detail of a reject."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason, self.detail = reason, detail
        super().__init__(f"{reason}: {detail}")


def _wrong(key: str, expected: str) -> Fault:
    return Fault("bad_field", f"{key}: {expected} is expected")


def get(record: Record, path: str, adapt: Adapter[T]) -> T:
    """Return the value at a path of keys, such as ``"metadata.time"``."""
    if "." not in path:
        return adapt(path, record.get(path))
    name, _, rest = path.partition(".")
    return get(inner(name, record.get(name)), rest, adapt)


def first(record: Record, paths: tuple[str, ...], adapt: Adapter[T | None]) -> T | None:
    """Return the first value that is stated at one of several paths."""
    for path in paths:
        value = get(record, path, adapt)
        if value is not None:
            return value
    return None


def _known(adapt: Adapter[T]) -> Adapter[T | None]:
    """Return an adapting function for values that may be absent or unknown."""

    @wraps(adapt)
    def adapt_known(key: str, value: object) -> T | None:
        if type(value) is str:
            value = value.strip()
            value = None if value in UNKNOWN else value
        return None if value is None else adapt(key, value)

    return adapt_known


def raw(_key: str, value: object) -> object:
    """Return a value as it is."""
    return value


@_known
def text(key: str, value: object) -> str:
    """Return a short text without lone surrogates and characters that control a terminal.

    That is control characters, and marks that turn the direction of writing.
    """
    if type(value) is not str or len(value) > MAX_TEXT or _UNFIT.search(value):
        raise _wrong(key, f"a text of at most {MAX_TEXT} printable characters")
    return value


@_known
def eui_text(key: str, value: object) -> str | None:
    """Return a text that spells an EUI; devices without one write zeros."""
    stated = text(key, value)
    if stated is not None and stated.strip("0") and eui(stated) is None:
        raise _wrong(key, "16 hexadecimal digits")
    return stated


@cache
def integer(column: str | None = None) -> Adapter[int | None]:
    """Return the adapting function for integers within the bounds of a column, or counters."""
    least, most = BOUNDS[column] if column else (0, 2**63 - 1)

    @_known
    def adapt(key: str, value: object) -> int:
        if type(value) is str and (match := INTEGER.fullmatch(value)):
            value = int(match[1])
        elif type(value) is float and value.is_integer():
            value = int(value)
        if type(value) is not int or not least <= value <= most:
            raise _wrong(key, f"an integer from {least} to {most}")
        return value

    return adapt


@cache
def number(column: str, *, written: bool = False) -> Adapter[float | None]:
    """Return the adapting function for finite numbers within the bounds of a column.

    ``written`` numbers are texts of a table.
    """
    least, most = BOUNDS[column]

    @_known
    def adapt(key: str, value: object) -> float:
        if written and type(value) is str:
            try:
                value = float(value)
            except ValueError:
                value = None
        if not (type(value) is float or type(value) is int) or not least <= value <= most:
            raise _wrong(key, f"a number from {least} to {most}")
        return float(value)

    return adapt


@_known
def flag(key: str, value: object) -> bool:
    """Return a truth value."""
    if type(value) is not bool:
        raise _wrong(key, "true or false")
    return value


def inner(key: str, value: object) -> Record:
    """Return a record within a record; an absent record has no fields."""
    if value is not None and not isinstance(value, dict):
        raise _wrong(key, "an object")
    return value or NO_FIELDS


def items(key: str, value: object) -> list[object]:
    """Return a list; an absent list is empty."""
    if value is not None and not isinstance(value, list):
        raise _wrong(key, "a list")
    return value or []


def _micros(key: str, value: object) -> int | None:
    """Return the microseconds since 1970 of an ISO 8601 time; without a zone it is UTC.

    Nanoseconds are cut off. Times before 1970 are None: Go and protobuf write an absent time as
    the year 1.
    """
    try:
        micros = to_microseconds(datetime.fromisoformat(value))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise Fault("bad_time", f"{key}: an ISO 8601 time is expected") from None
    return micros if micros >= 0 else None


moment: Final = _known(_micros)


def clock(key: str, value: object) -> int | None:
    """Return the time of a gateway's clock in microseconds; None where it is beyond all bounds."""
    micros = moment(key, value)
    return micros if micros is not None and micros <= LATEST else None


@_known
def time(key: str, value: object) -> int | None:
    """Return a server's time in microseconds, from 2000 to 2100.

    It is ISO 8601, but ``_timestamp``, which loggers write, is milliseconds since 1970.
    """
    if key == "_timestamp":
        expected = "milliseconds since 1970, from 2000 to 2100, are expected"
        digits = str(value) if type(value) in {int, float, str} else ""
        micros: int | None = int(Decimal(digits) * 1000) if _DECIMAL.fullmatch(digits) else 0
    else:
        micros, expected = _micros(key, value), "a time from 2000 to 2100 is expected"
    if micros is not None and not EARLIEST <= micros <= LATEST:
        raise Fault("bad_time", f"{key}: {expected}")
    return micros


def country(key: str, value: object) -> str | None:
    """Return a country's ISO 3166 alpha-2 code in lower case."""
    found = (text(key, value) or "").lower()
    if found and not _COUNTRY.fullmatch(found):
        raise _wrong(key, "two letters")
    return found or None


def placement(key: str, value: object) -> str | None:
    """Return ``indoor`` or ``outdoor``; None for other texts."""
    found = (text(key, value) or "").lower()
    return found if found in {"indoor", "outdoor"} else None


@_known
def duration(key: str, value: object) -> int:
    """Return the microseconds of a protobuf duration such as ``"0.056576s"``, rounded up."""
    match = _DURATION.fullmatch(value) if type(value) is str else None
    if match is None:
        raise _wrong(key, 'a duration such as "0.056576s"')
    nanos = int(match[1]) * 10**9 + int((match[2] or "").ljust(9, "0"))
    micros, most = -(-nanos // 1000), BOUNDS["airtime"][1]
    if micros > most:
        raise _wrong(key, f"at most {most // SECOND} s")
    return micros


def _payload(decode: Callable[[str], bytes], form: str) -> Adapter[bytes]:
    """Return the adapting function for payloads of a form; an absent payload is empty."""

    def adapt(key: str, value: object) -> bytes:
        if value is None:
            return b""
        try:
            if type(value) is not str or len(value) > 2 * MAX_PAYLOAD:
                raise ValueError
            return decode(value)
        except ValueError:
            raise _wrong(key, form) from None

    return adapt


payload: Final = _payload(partial(base64.b64decode, validate=True), "base64")
hexadecimal: Final = _payload(bytes.fromhex, "hexadecimal")


def device(key: str, value: object) -> str | None:
    """Return the name of a device in upper case, an EUI in one spelling."""
    found = text(key, value)
    return (eui(found) or found.upper()) if found else None


def eui(value: str | None) -> str | None:
    """Return an EUI as 16 upper-case hex digits, however it is written; None for other texts.

    Spellings are ``AA555A0000000001``, ``eui-aa555a0000000001``, ``0xAA555A0000000001``, with
    hyphens, colons, dots or blanks between bytes, 8 bytes in base64, and ID6 of LoRa Basics Station
    (``aa55:5a00::1``). Sixteen zeros stand for no EUI.
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
    """Name under which a record states its gateway, and the EUI that it states beside the name."""

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
        Namespace of the id: ``ttn``, ``chirpstack``, ...; empty where it cannot be read, and then
        the id is not used.

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
    """Return the name of a gateway that a person types, or a table states, in its one spelling.

    It is an EUI in any spelling, ``network:id``, or an id of ``network``.
    """
    if found := eui(name):
        return found
    owner, colon, identifier = (part.strip() for part in name.partition(":"))
    if not colon:
        owner, identifier = network, owner
    return eui(identifier) or f"{owner}:{identifier}"


def is_stand_in(name: str | None) -> bool:
    """Tell whether an id, or ``network:id``, is one of ``STAND_INS``."""
    return name is not None and name.rpartition(":")[2].strip().lower() in STAND_INS


def network_of(record: Record, net_id: str, tenant_id: str, default: str) -> str:
    """Return the network of gateway ids: a tenant of The Things Network, or another network.

    The Things Network's tenants ``ttn`` and ``ttnv2`` are one namespace: version 2 had the registry
    from which gateways moved to version 3.

    Parameters
    ----------
    record, net_id, tenant_id
        A record, and the paths of the network and of its tenant.
    default
        Network of a record that states none.
    """
    network, tenant = (get(record, path, text) for path in (net_id, tenant_id))
    if network is None:
        return default
    if network == _THINGS_NET_ID:
        return tenant if tenant not in {None, "ttn", "ttnv2"} else "ttn"
    return f"{network}-{tenant}" if tenant else network
