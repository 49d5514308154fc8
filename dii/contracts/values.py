"""Types of the language, and their values: in Python, on the wire, in the state.

In Python a value is an int, bool, str, bytes (an address too) or a tuple of one of these. ``Money``
and ``Share`` are ints, ``Gateway`` and ``Application`` bytes, with a meaning for people and checks;
a type with a meaning fits its plain type. On the wire (arguments, storage) values are encoded by
the codec, except that an int, which may have 256 bits, is its two's complement in the fewest bytes.
A type's :class:`Form` converts its values; forms that read or write a size unknown to the compiler
charge the machine for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from dii import codec, errors
from dii.codec import Value
from dii.contracts import gas
from dii.contracts.tree import ListOf, Plain, Type, pack_integer
from dii.contracts.vm import Machine

INT, BOOL, STR, BYTES, ADDRESS = map(Plain, ("int", "bool", "str", "bytes", "Address"))
MONEY, SHARE, GATEWAY, APPLICATION = map(Plain, ("Money", "Share", "Gateway", "Application"))
BASES: Final = {MONEY: INT, SHARE: INT, GATEWAY: BYTES, APPLICATION: BYTES}
"""Types with a meaning, and the types of their values."""
LEAST, MOST = -(2**255), 2**255 - 1
"""Bounds of an int."""
Weigh: TypeAlias = Callable[[Machine, Any], int]


@dataclass(frozen=True, slots=True)
class Form:
    """Conversions and sizes of the values of a type.

    Attributes
    ----------
    zero
        Initial value of a state variable.
    pack, unpack
        Conversion to the wire and, from untrusted input, back; ValueError says what does not fit.
    dump, load
        Conversion to storage and back, charged.
    key
        The bytes of a map's key.
    weigh
        The bytes that a list counts as; looking at each item is charged if they are texts.
    """

    zero: Any
    pack: Callable[[Any], Value]
    unpack: Callable[[Value], Any]
    dump: Callable[[Machine, Any], bytes]
    load: Callable[[Machine, bytes], Any]
    key: Callable[[Machine, Any], bytes]
    weigh: Weigh = lambda _, __: gas.ITEM


def spell(kind: Type) -> str:
    """Return a type's text."""
    if isinstance(kind, Plain):
        return kind.name
    if isinstance(kind, ListOf):
        return f"list[{kind.item.name}]"
    return f"map[{kind.key.name}, {spell(kind.value)}]"


def base(kind: Type | None) -> Type | None:
    """Return a type without its meaning."""
    if isinstance(kind, ListOf):
        return ListOf(BASES.get(kind.item, kind.item))
    return BASES.get(kind, kind) if isinstance(kind, Plain) else kind


def fits(left: Type | None, right: Type | None) -> bool:
    """Tell whether a value of one type is allowed where the other is expected; None fits all."""
    if None in (left, right) or left == right:
        return True
    return base(left) == base(right) and base(left) in (left, right)


def closer(left: Type | None, right: Type | None) -> Type | None:
    """Return the more specific one of two types that fit."""
    return right if left in (None, base(left)) else left


def form(kind: Type) -> Form:
    """Return the form of a type; an arbitrary one for a type that is a fault already."""
    if isinstance(kind, ListOf):
        return _LISTS.get(kind.item.name, _LISTS["int"])
    return _FORMS.get(kind.name, _FORMS["int"]) if isinstance(kind, Plain) else _FORMS["int"]


def _pack_int(value: Any) -> bytes:
    if type(value) is not int or not LEAST <= value <= MOST:
        raise ValueError("an int of at most 256 bits is expected")
    return pack_integer(value)


def _unpack_int(wire: Value) -> int:
    if type(wire) is bytes and 0 < len(wire) <= 32:
        first = wire[0]
        if 0 < first < 0x80 or (len(wire) == 1 and not first):
            return int.from_bytes(wire)
        value = int.from_bytes(wire, signed=True)
        if pack_integer(value) == wire:
            return value
    raise ValueError("an int in its fewest bytes, at most 32, is expected")


_HEADS: Final = tuple(codec.encode(bytes(size))[: 1 + (size > 23)] for size in range(33))


def _dump_int(_: Machine, value: int) -> bytes:
    if value >= 0:  # the sign's bit is among the bytes and clear; keyword arguments take time
        size = value.bit_length() // 8 + 1
        return _HEADS[size] + value.to_bytes(size)
    raw = _pack_int(value)
    return _HEADS[len(raw)] + raw


def _load_int(_: Machine, raw: bytes) -> int:
    raw = raw[1:] if len(raw) < 25 else raw[2:]
    return int.from_bytes(raw) if raw[0] < 0x80 else int.from_bytes(raw, signed=True)


def _exactly(kind: type) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if type(value) is not kind:
            raise ValueError(f"{kind.__name__} is expected")
        return value

    return check


def _address(value: Any) -> Any:
    if type(value) is not bytes or len(value) != 20:
        raise ValueError("an address of 20 bytes is expected")
    return value


def _small(pack: Callable[[Any], Value], unpack: Callable[[Value], Any], zero: Any) -> Form:
    """Return the form of a type whose values all have about the same size."""

    def dump(_: Machine, value: Any) -> bytes:
        return codec.encode(value)

    return Form(zero, pack, unpack, dump, lambda _, raw: codec.decode(raw), dump)


def _large(kind: type, zero: str | bytes) -> Form:
    """Return the form of text or bytes."""
    check = _exactly(kind)

    def dump(machine: Machine, value: str | bytes) -> bytes:
        return _dump(machine, check, value, len(value))

    def load(machine: Machine, raw: bytes) -> Any:
        machine.make(len(raw))
        return codec.decode(raw)

    def key(_: Machine, value: str | bytes) -> bytes:
        if len(value) <= gas.MAX_KEY:
            raw = codec.encode(value)
            if len(raw) <= gas.MAX_KEY + 3:  # its head has three bytes then
                return raw
        raise errors.Reverted(message=f"a key has at most {gas.MAX_KEY} bytes")

    return Form(zero, check, check, dump, load, key)


def _list(item: Form) -> Form:
    """Return the form of a list."""
    texts = item.zero in ("", b"")

    def weigh(machine: Machine, value: tuple[Any, ...]) -> int:
        if not texts:
            return gas.ITEM * len(value)
        machine.take(gas.LOOK * len(value))
        return gas.TEXT_ITEM * len(value) + sum(map(len, value))

    def pack(items: Any) -> tuple[Value, ...]:
        if type(items) not in (list, tuple):
            raise ValueError("a list is expected")
        return tuple(map(item.pack, items))

    def unpack(items: Value) -> tuple[Any, ...]:
        if type(items) is not tuple:
            raise ValueError("an array is expected")
        return tuple(map(item.unpack, items))

    def dump(machine: Machine, value: tuple[Any, ...]) -> bytes:
        machine.take(gas.STORED_ITEM * len(value))
        return _dump(machine, pack, value, weigh(machine, value))

    def load(machine: Machine, raw: bytes) -> Any:
        count = raw[0] & 31
        if count > 23:
            count = int.from_bytes(raw[1 : 1 + (1 << count - 24)])
        machine.make(len(raw) + 2 * gas.ITEM * count)
        machine.take(gas.STORED_ITEM * count)
        return unpack(codec.decode(raw))

    return Form((), pack, unpack, dump, load, dump, weigh)


def _dump(machine: Machine, pack: Callable[[Any], Value], value: Any, weight: int) -> bytes:
    if weight <= gas.MAX_STORED:
        machine.make(weight)
        raw = codec.encode(pack(value))
        if len(raw) <= gas.MAX_STORED + 5:  # its head
            machine.take(gas.STORED * len(raw))
            return raw
    raise errors.Reverted(message=f"a stored value has at most {gas.MAX_STORED:,} bytes")


_FORMS = {
    "int": Form(0, _pack_int, _unpack_int, _dump_int, _load_int, _dump_int),
    "bool": _small(_exactly(bool), _exactly(bool), zero=False),
    "Address": _small(_address, _address, bytes(20)),
    "str": _large(str, ""),
    "bytes": _large(bytes, b""),
}
_FORMS |= {kind.name: _FORMS[meant.name] for kind, meant in BASES.items()}
_LISTS: Final = {name: _list(item) for name, item in _FORMS.items()}
