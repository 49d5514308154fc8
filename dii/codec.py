"""Canonical bytes of every value, and typed shapes of messages and records.

Bytes are a profile of CBOR (RFC 8949 section 4.2.1, core deterministic encoding): integers of at
most 64 bits, byte strings, UTF-8 text, arrays, true, false and null, each in its shortest form;
no maps, tags, floats or indefinite lengths. Two different byte strings never mean the same value,
so hashing the bytes is hashing the value. The decoder checks as it reads; decoding and encoding
again to compare would accept wrong input (tags, for one) and cost twice.

Shapes tie values to frozen dataclasses. The fields' annotations are the wire format: ``int`` is
an unsigned integer below 2**64, :data:`Amount` money as minimal big-endian bytes, :data:`Address`
20 bytes, :data:`Hash` 32 bytes, ``tuple[X, ...]`` an array, a dataclass an array of its fields,
``X | None`` null or X. ``Annotated[bytes, Bounds(a, b)]`` bounds a length; text, bytes and arrays
without bounds hold at most ``MAX_LENGTH`` items. ``Annotated[X | Y, Kinds(((1, X), (2, Y)))]`` is
an array that begins with the number of its kind. ``Annotated[X, Converted(pack, unpack)]`` has a
form of its own. A field that takes no part in comparisons does not travel.
"""

from __future__ import annotations

import dataclasses
import struct
import types
import typing
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from operator import attrgetter, index
from typing import Annotated, Any, ClassVar, Final, NamedTuple, TypeVar, dataclass_transform

from dii import errors
from dii.units import MAX_AMOUNT

Value = Any
"""A value of the codec: int, bytes, str, bool, None, or a tuple of these."""

MAX_SIZE: Final = 1 << 22
"""Bytes of one encoded value; the largest is a block of 4 MiB."""
MAX_DEPTH: Final = 64
"""Arrays within arrays; keeps the decoder within a known number of Python frames."""
MAX_LENGTH: Final = 1 << 20
"""Items or bytes of a field without bounds of its own."""

_UINT, _NINT, _BYTES, _TEXT, _ARRAY = 0x00, 0x20, 0x40, 0x60, 0x80
_FALSE, _TRUE, _NULL = 0xF4, 0xF5, 0xF6


# --- values ------------------------------------------------------------------------------------


_LONG: Final = (struct.Struct(">BH"), struct.Struct(">BI"), struct.Struct(">BQ"))
"""Heads whose argument follows in 2, 4 or 8 bytes."""


def _head(major: int, argument: int) -> bytes:
    if argument < 24:
        return bytes((major | argument,))
    if argument < 1 << 8:
        return bytes((major | 24, argument))
    if argument < 1 << 16:
        return _LONG[0].pack(major | 25, argument)
    if argument < 1 << 32:
        return _LONG[1].pack(major | 26, argument)
    if argument < 1 << 64:
        return _LONG[2].pack(major | 27, argument)
    raise errors.CodecError(offset=0, message="an integer has at most 64 bits")


_HEADS = {major: tuple(_head(major, n) for n in range(256)) for major in range(0, 0xA0, 0x20)}


def encode(value: Value) -> bytes:
    """Return the canonical bytes of a value.

    Parameters
    ----------
    value
        int in [-2**64, 2**64), bytes, str, bool, None, or a tuple or list of these, at most
        ``MAX_DEPTH`` deep.

    Raises
    ------
    CodecError
        The value is outside the profile.
    """
    parts: list[bytes] = []
    _write((value,), parts.append, MAX_DEPTH)
    return b"".join(parts)


def _write(items: Iterable[Value], put: Callable[[bytes], None], depth: int) -> None:
    """Write items one after another; a loop, because a call for each would take twice as long."""
    for value in items:
        kind = type(value)
        if kind is bytes:
            size = len(value)
            put(_HEADS[_BYTES][size] if size < 256 else _head(_BYTES, size))
            put(value)
        elif kind is int:
            if 0 <= value < 256:
                put(_HEADS[_UINT][value])
            else:
                put(_head(_UINT, value) if value >= 0 else _head(_NINT, -1 - value))
        elif kind is tuple or kind is list:
            if not depth:
                raise errors.CodecError(offset=0, message=f"arrays more than {MAX_DEPTH} deep")
            size = len(value)
            put(_HEADS[_ARRAY][size] if size < 256 else _head(_ARRAY, size))
            _write(value, put, depth - 1)
        elif kind is str:
            try:
                text = value.encode()
            except UnicodeEncodeError as error:
                raise errors.CodecError(offset=0, message="text is not UTF-8") from error
            put(_head(_TEXT, len(text)))
            put(text)
        elif value is None:
            put(b"\xf6")
        elif kind is bool:
            put(b"\xf5" if value else b"\xf4")
        else:
            raise errors.CodecError(offset=0, message=f"{kind.__name__} cannot be encoded")


_MORE: Final = object()
_ATOMS: Final = tuple(
    first if first < 24 else {0x40: b"", _FALSE: False, _TRUE: True, _NULL: None}.get(first, _MORE)
    for first in range(256)
)
"""Value of each first byte that is complete by itself; ``_MORE`` if more bytes follow."""


def decode(data: bytes, max_size: int = MAX_SIZE, max_depth: int = MAX_DEPTH) -> Value:
    """Read one value that fills ``data`` exactly; arrays come as tuples.

    Raises
    ------
    CodecError
        Anything but the canonical encoding of one value within the bounds.
    """
    if len(data) > max_size:
        raise errors.CodecError(offset=0, message=f"{len(data)} bytes where {max_size} are allowed")
    try:
        (value,), end = _read(data, 0, 1, max_depth)
    except (IndexError, struct.error):
        raise errors.CodecError(offset=len(data), message="ends too early") from None
    if end != len(data):
        raise errors.CodecError(offset=end, message=f"{len(data) - end} bytes follow the value")
    return value


def _read(data: bytes, at: int, count: int, depth: int) -> tuple[list[Value], int]:
    """Read ``count`` items from ``at``; IndexError or struct.error if the data ends in a head."""
    items: list[Value] = []
    for _ in range(count):
        first = data[at]
        start, at = at, at + 1
        atom = _ATOMS[first]
        if atom is not _MORE:
            items.append(atom)
            continue
        major, argument = first & 0xE0, first & 0x1F
        if major > _ARRAY:
            message = "maps, tags and floats are not part of it"
            raise errors.CodecError(offset=start, message=message)
        if argument == 24:
            argument = data[at]
            at += 1
            if argument < 24:
                raise errors.CodecError(offset=start, message="not the shortest form")
        elif argument > 27:
            raise errors.CodecError(offset=start, message="indefinite or reserved length")
        elif argument > 24:
            form = _LONG[argument - 25]
            _, argument = form.unpack_from(data, start)
            at = start + form.size
            if not argument >> (4 * form.size - 4):
                raise errors.CodecError(offset=start, message="not the shortest form")
        if major == _UINT:
            items.append(argument)
        elif major == _BYTES or major == _TEXT:
            end = at + argument
            if end > len(data):
                raise errors.CodecError(offset=at, message="ends too early")
            if major == _BYTES:
                items.append(data[at:end])
            else:
                try:
                    items.append(data[at:end].decode())
                except UnicodeDecodeError:
                    raise errors.CodecError(offset=at, message="text is not UTF-8") from None
            at = end
        elif major == _NINT:
            items.append(-1 - argument)
        else:
            if not depth:
                raise errors.CodecError(offset=start, message="too deep")
            inner, at = _read(data, at, argument, depth - 1)
            items.append(tuple(inner))
    return items, at


# --- shapes ------------------------------------------------------------------------------------


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
class Record:
    """Base of records: each subclass is a frozen dataclass, whose annotations are its shape."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True)(cls)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Least and greatest length of bytes, text (in bytes) or an array; or value of an int."""

    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Kinds:
    """The numbers by which a union's dataclasses travel: ``[number, field, ...]``.

    Those that are no members of the union are left out, so that several unions can share one;
    instead of a union there may be a base class of all kinds.
    """

    numbered: tuple[tuple[int, type], ...]


@dataclass(frozen=True, slots=True)
class Converted:
    """Converters of a field to its wire value and back; ``unpack`` refuses with ShapeMismatch."""

    pack: Callable[[Any], Value]
    unpack: Callable[[Value], Any]


@dataclass(frozen=True, slots=True)
class _Money:
    """Marks an int that travels as minimal big-endian bytes."""


Amount = Annotated[int, _Money()]
"""Money: 0 <= amount < 2**63."""
Hash = Annotated[bytes, Bounds(32, 32)]
Root = typing.NewType("Root", Hash)
"""Root of a Merkle tree: of the state, of receipts, or of transactions."""
Address = typing.NewType("Address", Annotated[bytes, Bounds(20, 20)])
"""Address of an account."""
KeyedHash = typing.NewType("KeyedHash", Annotated[bytes, Bounds(20, 20)])
"""Keyed hash of the id of a gateway or an application, or of the name of an operator."""
GatewayHash = typing.NewType("GatewayHash", Annotated[bytes, Bounds(20, 20)])
"""Keyed hash of a gateway's id; all zero stands for receptions that name no gateway."""
PublicKey = Annotated[bytes, Bounds(32, 32)]
Name = Annotated[str, Bounds(1, 64)]
"""A short name of a stream, scope, metric or rule."""

_Convert = Callable[[Any], Any]
T = TypeVar("T")


class _Shape(NamedTuple):
    """Converters of a type's values to wire values and back; both check the bounds."""

    pack: _Convert
    unpack: _Convert


def pack(record: Any) -> Value:
    """Return the value (nested tuples) of a dataclass instance.

    Raises
    ------
    ShapeMismatch
        A field is not what its annotation says, and could not be read back.
    """
    return _shape(type(record)).pack(record)


def unpack(kind: type[T], value: Value) -> T:
    """Return the dataclass instance that a value stands for.

    Raises
    ------
    ShapeMismatch
        The value is not of this shape.
    """
    record: T = _shape(kind).unpack(value)
    return record


def dumps(record: Any, kind: Any = None) -> bytes:
    """Return the canonical bytes of a dataclass instance, or of a value of another shape.

    Raises
    ------
    CodecError, ShapeMismatch
        A field is not what its annotation says.
    """
    return encode(_shape(kind or type(record)).pack(record))


def loads(kind: type[T], data: bytes, max_size: int = MAX_SIZE) -> T:
    """Read a dataclass instance, or a value of another shape, from its canonical bytes.

    Raises
    ------
    CodecError, ShapeMismatch
        The bytes are not canonical, or not of this shape.
    """
    record: T = _shape(kind).unpack(decode(data, max_size))
    return record


_shapes: dict[Any, _Shape] = {}


def _shape(kind: Any) -> _Shape:
    shape = _shapes.get(kind)
    if shape is None:
        compiled = _compile if dataclasses.is_dataclass(kind) else _convert
        shape = _shapes[kind] = compiled(kind, getattr(kind, "__name__", "value"))
    return shape


def _compile(kind: Any, where: str) -> _Shape:
    """Turn a dataclass's annotations into a pair of converters."""
    hints = typing.get_type_hints(kind, include_extras=True)
    names = [field.name for field in dataclasses.fields(kind) if field.compare]
    parts = [_convert(hints[name], f"{where}.{name}") for name in names]
    packers, unpackers = [part.pack for part in parts], [part.unpack for part in parts]
    count = len(names)
    # attrgetter reads all fields in one call, but returns a bare value for a single name
    fields = attrgetter(*names) if count > 1 else lambda record: [getattr(record, n) for n in names]

    def pack_record(record: Any) -> Value:
        if type(record) is not kind:
            raise errors.ShapeMismatch(shape=where, message=f"{kind.__name__} is expected")
        return tuple([packer(item) for packer, item in zip(packers, fields(record))])

    def unpack_record(value: Value) -> Any:
        if type(value) is not tuple or len(value) != count:
            raise errors.ShapeMismatch(shape=where, message=f"an array of {count} is expected")
        return kind(*[unpacker(item) for unpacker, item in zip(unpackers, value)])

    return _Shape(pack_record, unpack_record)


def _convert(hint: Any, where: str) -> _Shape:
    if isinstance(hint, typing.NewType):
        return _convert(hint.__supertype__, where)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        if isinstance(arguments[1], _Money):
            return _amount(where)
        if isinstance(arguments[1], Kinds):
            members = typing.get_args(arguments[0]) or arguments[0]
            numbered = [item for item in arguments[1].numbered if issubclass(item[1], members)]
            return _union(numbered, where)
        if isinstance(arguments[1], Converted):
            return _Shape(arguments[1].pack, arguments[1].unpack)
        return _bounded(arguments[0], arguments[1], where)
    if origin is types.UnionType or origin is typing.Union:
        (inner,) = (_convert(item, where) for item in arguments if item is not types.NoneType)
        return _Shape(
            lambda record: None if record is None else inner.pack(record),
            lambda value: None if value is None else inner.unpack(value),
        )
    if origin is tuple and arguments[1:] != (...,):
        parts = [_convert(item, where) for item in arguments]
        packs, unpacks = [part.pack for part in parts], [part.unpack for part in parts]
        return _array(packs, unpacks, Bounds(len(parts), len(parts)), f"{len(parts)}", where)
    if dataclasses.is_dataclass(hint):
        return _shape(typing.cast(type, hint))
    if hint in _SIZES or origin is tuple:
        return _bounded(hint, _INTEGERS.get(hint, Bounds(0, MAX_LENGTH)), where)
    raise TypeError(f"{where}: {hint} has no wire format")


_INTEGERS: Final[dict[Any, Bounds]] = {int: Bounds(0, 2**64 - 1), bool: Bounds(0, 1)}
_SIZES: Final[dict[Any, tuple[Callable[[Any], int], str]]] = {
    int: (index, "an integer {} is expected"),
    bool: (index, "true or false is expected"),
    bytes: (len, "bytes of a length {} are expected"),
    str: (lambda text: len(text.encode(errors="replace")), "text of {} bytes is expected"),
}
"""Plain types: the size that bounds hold for, and the message where they do not."""


def _bounded(hint: Any, bounds: Bounds, where: str) -> _Shape:
    least, most = bounds.least, bounds.most
    span = f"from {least} to {most}" if least != most else f"exactly {least}"
    if typing.get_origin(hint) is tuple:
        inner = _convert(typing.get_args(hint)[0], where)
        return _array(repeat(inner.pack), repeat(inner.unpack), bounds, span, where)
    size, expected = _SIZES[hint]
    message = expected.format(span)

    def check(value: Value) -> Value:
        if type(value) is not hint or not least <= size(value) <= most:
            raise errors.ShapeMismatch(shape=where, message=message)
        return value

    return _Shape(check, check)


def _array(
    packs: Iterable[_Convert], unpacks: Iterable[_Convert], bounds: Bounds, span: str, where: str
) -> _Shape:
    message = f"an array of {span} is expected"

    def each(converts: Iterable[_Convert]) -> _Convert:
        def convert_items(value: Value) -> Value:
            if type(value) is not tuple or not bounds.least <= len(value) <= bounds.most:
                raise errors.ShapeMismatch(shape=where, message=message)
            return tuple([convert(item) for convert, item in zip(converts, value)])

        return convert_items

    return _Shape(each(packs), each(unpacks))


def _union(numbered: Sequence[tuple[int, type]], where: str) -> _Shape:
    kinds = dict(numbered)
    numbers = {kind: number for number, kind in numbered}

    def pack_kind(record: Any) -> Value:
        number = numbers.get(type(record))
        if number is None:
            message = f"{type(record).__name__} is no kind of it"
            raise errors.ShapeMismatch(shape=where, message=message)
        return (number, *pack(record))

    def unpack_kind(value: Value) -> Any:
        number = value[0] if type(value) is tuple and value else None
        if type(number) is not int or number not in kinds:
            message = "an array that begins with a known number"
            raise errors.ShapeMismatch(shape=where, message=message)
        return unpack(kinds[number], value[1:])

    return _Shape(pack_kind, unpack_kind)


def _amount(where: str) -> _Shape:
    def wrong(form: str) -> errors.ShapeMismatch:
        return errors.ShapeMismatch(shape=where, message=f"an amount {form} is expected")

    def pack_amount(amount: int) -> bytes:
        if type(amount) is not int or not 0 <= amount <= MAX_AMOUNT:
            raise wrong("below 2**63")
        return amount.to_bytes((amount.bit_length() + 7) // 8, "big")

    def unpack_amount(value: Value) -> int:
        if type(value) is not bytes or (value and not value[0]):
            raise wrong("in minimal bytes")
        amount = int.from_bytes(value)
        if amount > MAX_AMOUNT:
            raise wrong("below 2**63")
        return amount

    return _Shape(pack_amount, unpack_amount)
