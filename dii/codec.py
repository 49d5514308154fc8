"""The one byte form of every value, and the typed shapes of messages and records.

Bytes are a profile of CBOR (RFC 8949 section 4.2.1, core deterministic encoding): integers of at
most 64 bits, byte strings, UTF-8 text, arrays, true, false and null, each in its shortest form;
no maps, tags, floats or indefinite lengths. Two different byte strings never mean the same value,
so hashing the bytes is hashing the value. The decoder checks as it reads; decoding and encoding
again to compare would accept what it must not (tags, for one) and cost twice.

Shapes tie values to frozen dataclasses. The fields' annotations are the wire format: ``int`` is
an unsigned integer below 2**64, :data:`Amount` money as minimal big-endian bytes, :data:`Address`
20 bytes, :data:`Hash` 32 bytes, ``tuple[X, ...]`` an array, a dataclass an array of its fields,
``X | None`` null or X. ``Annotated[bytes, Bounds(a, b)]`` bounds a length; text, bytes and arrays
without bounds hold at most ``MAX_LENGTH`` items.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeVar

from dii.errors import CodecError, ShapeMismatch
from dii.units import MAX_AMOUNT

Value = Any
"""What the codec carries: int, bytes, str, bool, None, or a tuple of these."""

MAX_SIZE: Final = 1 << 22
"""Bytes of one encoded value; the largest is a block of 4 MiB."""
MAX_DEPTH: Final = 64
"""Arrays within arrays; keeps the decoder within a known number of Python frames."""
MAX_LENGTH: Final = 1 << 20
"""Items or bytes of a field without bounds of its own."""

_UINT, _NINT, _BYTES, _TEXT, _ARRAY = 0x00, 0x20, 0x40, 0x60, 0x80
_FALSE, _TRUE, _NULL = 0xF4, 0xF5, 0xF6


# --- values ------------------------------------------------------------------------------------


def _head(major: int, argument: int) -> bytes:
    if argument < 24:
        return bytes((major | argument,))
    if argument < 1 << 8:
        return bytes((major | 24, argument))
    if argument < 1 << 16:
        return bytes((major | 25,)) + argument.to_bytes(2, "big")
    if argument < 1 << 32:
        return bytes((major | 26,)) + argument.to_bytes(4, "big")
    if argument < 1 << 64:
        return bytes((major | 27,)) + argument.to_bytes(8, "big")
    raise CodecError(offset=0, message=f"{argument} has more than 64 bits")


_SMALL_HEADS = {major: [_head(major, n) for n in range(256)] for major in range(0, 0xA0, 0x20)}


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
    _encode(value, parts.append, MAX_DEPTH)
    return b"".join(parts)


def _encode(value: Value, put: Callable[[bytes], None], depth: int) -> None:
    kind = type(value)
    if kind is bytes:
        size = len(value)
        put(_SMALL_HEADS[_BYTES][size] if size < 256 else _head(_BYTES, size))
        put(value)
    elif kind is int:
        if 0 <= value < 256:
            put(_SMALL_HEADS[_UINT][value])
        else:
            put(_head(_UINT, value) if value >= 0 else _head(_NINT, -1 - value))
    elif kind is tuple or kind is list:
        if not depth:
            raise CodecError(offset=0, message=f"arrays more than {MAX_DEPTH} deep")
        put(_head(_ARRAY, len(value)))
        for item in value:
            _encode(item, put, depth - 1)
    elif kind is str:
        try:
            text = value.encode()
        except UnicodeEncodeError as error:
            raise CodecError(offset=0, message="text is not UTF-8") from error
        put(_head(_TEXT, len(text)))
        put(text)
    elif value is None:
        put(b"\xf6")
    elif kind is bool:
        put(b"\xf5" if value else b"\xf4")
    else:
        raise CodecError(offset=0, message=f"{kind.__name__} has no encoding")


def decode(data: bytes, max_size: int = MAX_SIZE, max_depth: int = MAX_DEPTH) -> Value:
    """Read one value that fills ``data`` exactly; arrays come as tuples.

    Raises
    ------
    CodecError
        Anything but the canonical encoding of one value within the bounds.
    """
    if len(data) > max_size:
        raise CodecError(offset=0, message=f"{len(data)} bytes where {max_size} are allowed")
    value, end = _decode(data, 0, max_depth)
    if end != len(data):
        raise CodecError(offset=end, message=f"{len(data) - end} bytes follow the value")
    return value


def _decode(data: bytes, at: int, depth: int) -> tuple[Value, int]:
    try:
        first = data[at]
    except IndexError:
        raise CodecError(offset=at, message="ends too early") from None
    major, argument = first & 0xE0, first & 0x1F
    start, at = at, at + 1
    if major == 0xE0:
        if first == _NULL:
            return None, at
        if first == _TRUE or first == _FALSE:
            return first == _TRUE, at
        raise CodecError(offset=start, message="floats and simple values are not part of it")
    if argument >= 24:
        if argument > 27:
            raise CodecError(offset=start, message="indefinite or reserved length")
        width = 1 << (argument - 24)
        raw = data[at : at + width]
        if len(raw) != width:
            raise CodecError(offset=at, message="ends too early")
        at += width
        argument = int.from_bytes(raw, "big")
        if argument < (24 if width == 1 else 1 << (4 * width)):
            raise CodecError(offset=start, message="not the shortest form")
    if major == _BYTES or major == _TEXT:
        end = at + argument
        if end > len(data):
            raise CodecError(offset=at, message="ends too early")
        if major == _BYTES:
            return data[at:end], end
        try:
            return data[at:end].decode(), end
        except UnicodeDecodeError:
            raise CodecError(offset=at, message="text is not UTF-8") from None
    if major == _UINT:
        return argument, at
    if major == _NINT:
        return -1 - argument, at
    if major != _ARRAY:
        raise CodecError(offset=start, message="maps and tags are not part of it")
    if argument > len(data) - at:
        raise CodecError(offset=start, message="ends too early")
    if not depth:
        raise CodecError(offset=start, message="too deep")
    items = []
    for _ in range(argument):
        item, at = _decode(data, at, depth - 1)
        items.append(item)
    return tuple(items), at


# --- shapes ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bounds:
    """Least and greatest length of bytes, text (in bytes) or an array; or value of an int."""

    least: int
    most: int


@dataclass(frozen=True, slots=True)
class _Money:
    """Marks an int that travels as minimal big-endian bytes."""


Amount = Annotated[int, _Money()]
"""Money: 0 <= amount < 2**63."""
Address = Annotated[bytes, Bounds(20, 20)]
Hash = Annotated[bytes, Bounds(32, 32)]
PublicKey = Annotated[bytes, Bounds(32, 32)]
Name = Annotated[str, Bounds(1, 64)]
"""A short name of a stream, scope, metric or rule."""

_Convert = Callable[[Any], Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Shape:
    pack: _Convert
    unpack: _Convert


def pack(record: Any) -> Value:
    """Return the value (nested tuples) of a dataclass instance."""
    return _shape(type(record)).pack(record)


def unpack(kind: type[T], value: Value) -> T:
    """Return the dataclass instance that a value stands for.

    Raises
    ------
    ShapeMismatch
        The value is not of this shape.
    """
    return typing.cast(T, _shape(kind).unpack(value))


def dumps(record: Any) -> bytes:
    """Canonical bytes of a dataclass instance."""
    return encode(_shape(type(record)).pack(record))


def loads(kind: type[T], data: bytes, max_size: int = MAX_SIZE) -> T:
    """Read a dataclass instance from its canonical bytes.

    Raises
    ------
    CodecError, ShapeMismatch
        The bytes are not canonical, or not of this shape.
    """
    return typing.cast(T, _shape(kind).unpack(decode(data, max_size)))


_shapes: dict[type, _Shape] = {}


def _shape(kind: type) -> _Shape:
    """Compile a dataclass's annotations into a pair of converters, once."""
    if kind not in _shapes:
        _shapes[kind] = _compile(kind)
    return _shapes[kind]


def _compile(kind: type) -> _Shape:
    hints = typing.get_type_hints(kind, include_extras=True)
    names = [field.name for field in dataclasses.fields(kind)]
    parts = [_convert(hints[name], f"{kind.__name__}.{name}") for name in names]
    packers, unpackers = [part.pack for part in parts], [part.unpack for part in parts]
    count = len(names)

    def pack_record(record: Any) -> Value:
        return tuple([packer(getattr(record, name)) for packer, name in zip(packers, names)])

    def unpack_record(value: Value) -> Any:
        if type(value) is not tuple or len(value) != count:
            raise ShapeMismatch(shape=kind.__name__, message=f"an array of {count} is expected")
        return kind(*[unpacker(item) for unpacker, item in zip(unpackers, value)])

    return _Shape(pack_record, unpack_record)


def _convert(hint: Any, where: str) -> _Shape:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        mark = arguments[1]
        if isinstance(mark, _Money):
            return _Shape(_pack_amount, _unpack_amount(where))
        return _bounded(arguments[0], mark, where)
    if origin is types.UnionType or origin is typing.Union:
        (inner,) = (_convert(item, where) for item in arguments if item is not types.NoneType)
        return _Shape(
            lambda record: None if record is None else inner.pack(record),
            lambda value: None if value is None else inner.unpack(value),
        )
    if origin is tuple and arguments[1:] != (...,):
        return _fixed_tuple(arguments, where)
    if dataclasses.is_dataclass(hint):
        return _shape(typing.cast(type, hint))
    if hint is int:
        return _bounded(int, Bounds(0, 2**64 - 1), where)
    if hint is bool:
        return _Shape(_same, _check(where, bool, "true or false"))
    if hint is bytes or hint is str or origin is tuple:
        return _bounded(hint, Bounds(0, MAX_LENGTH), where)
    raise TypeError(f"{where}: {hint} has no wire format")


def _bounded(hint: Any, bounds: Bounds, where: str) -> _Shape:
    least, most = bounds.least, bounds.most
    wrong = f"from {least} to {most}" if least != most else f"exactly {least}"
    if hint is int:

        def unpack_int(value: Value) -> Value:
            if type(value) is not int or not least <= value <= most:
                raise ShapeMismatch(shape=where, message=f"an integer {wrong} is expected")
            return value

        return _Shape(_same, unpack_int)
    if typing.get_origin(hint) is tuple:
        inner = _convert(typing.get_args(hint)[0], where)

        def unpack_items(value: Value) -> Value:
            if type(value) is not tuple or not least <= len(value) <= most:
                raise ShapeMismatch(shape=where, message=f"an array of {wrong} is expected")
            return tuple([inner.unpack(item) for item in value])

        return _Shape(lambda items: tuple([inner.pack(item) for item in items]), unpack_items)

    def unpack_sized(value: Value) -> Value:
        if type(value) is not hint:
            raise ShapeMismatch(shape=where, message=f"{hint.__name__} expected")
        if not least <= (len(value) if hint is bytes else len(value.encode())) <= most:
            raise ShapeMismatch(shape=where, message=f"a length {wrong} is expected")
        return value

    return _Shape(_same, unpack_sized)


def _fixed_tuple(hints: tuple[Any, ...], where: str) -> _Shape:
    parts = [_convert(hint, where) for hint in hints]

    def unpack_items(value: Value) -> Value:
        if type(value) is not tuple or len(value) != len(parts):
            raise ShapeMismatch(shape=where, message=f"an array of {len(parts)} is expected")
        return tuple([part.unpack(item) for part, item in zip(parts, value)])

    return _Shape(
        lambda items: tuple([part.pack(item) for part, item in zip(parts, items)]), unpack_items
    )


def _check(where: str, kind: type, name: str) -> _Convert:
    def check(value: Value) -> Value:
        if type(value) is not kind:
            raise ShapeMismatch(shape=where, message=f"{name} expected")
        return value

    return check


def _same(value: Value) -> Value:
    return value


def _pack_amount(amount: int) -> bytes:
    if not 0 <= amount <= MAX_AMOUNT:
        raise CodecError(offset=0, message=f"an amount of {amount}")
    return amount.to_bytes((amount.bit_length() + 7) // 8, "big")


def _unpack_amount(where: str) -> _Convert:
    def unpack_amount(value: Value) -> int:
        if type(value) is not bytes or len(value) > 8 or value[:1] == b"\0":
            raise ShapeMismatch(shape=where, message="an amount in minimal bytes is expected")
        amount = int.from_bytes(value, "big")
        if amount > MAX_AMOUNT:
            raise ShapeMismatch(shape=where, message=f"{amount} is 2**63 or more")
        return amount

    return unpack_amount
