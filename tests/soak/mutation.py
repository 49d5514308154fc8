"""Mutation of bytes with knowledge of their format.

Most changes of single bytes end in a decoder's first line, so values of the codec and of JSON are
changed as values, and texts by lines and words. Byte strings that contain a value of the codec
are changed within: so mutation reaches a transaction's message, and its report page or contract.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final

from dii import codec
from dii.errors import CodecError

NUMBERS: Final = (
    0,
    1,
    2,
    23,
    24,
    255,
    256,
    2**16,
    2**31,
    2**32,
    2**62,
    2**63 - 1,
    2**63,
    2**64 - 1,
)
WORDS: Final = ("", "main", "treasury", "x", "__class__", "é\0\u202e", "a" * 65)
ODDITIES: Final = (None, True, False, -1, -(2**64), (), b"", bytes(20), bytes(32), *NUMBERS, *WORDS)
HEADS: Final = bytes.fromhex("17181b1f3b58595b5f787f80989bbf9fa0c0d8f4f6f7f8f9fbff")
"""First bytes in CBOR, of which half are outside the codec's profile."""
TOKEN: Final = re.compile(r"\w+|\s+|.", re.DOTALL)


def mutate(data: bytes, other: bytes, form: str, draw: random.Random) -> bytes:
    """Return bytes changed in a few places.

    Parameters
    ----------
    data, other
        Bytes to change, and bytes to borrow from.
    form
        ``value``, ``json`` or ``text``.
    draw
        Source of random numbers.
    """
    if draw.random() < 0.8 and sound(data, form) and sound(other, form):
        load, dump, change = FORMS[form]
        value, pool = load(data), parts(load(other))
        for _ in range(draw.choice((1, 1, 1, 3))):
            value = change(value, pool, draw)
        with suppress(CodecError):  # too deep by now
            return dump(value)
    for _ in range(draw.choice((1, 1, 2, 8))):
        data = _bytes(data, other, draw)
    return data


def sound(data: bytes, form: str) -> bool:
    """Tell whether bytes are of a form."""
    try:
        FORMS[form][0](data)
    except (ValueError, CodecError, RecursionError):
        return False
    return True


def _bytes(data: bytes, other: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(data) + 1)
    end = min(len(data), at + draw.choice((1, 1, 2, 8, 64)))
    start = draw.randrange(len(other) + 1)
    new = draw.choice(
        (
            b"",
            draw.randbytes(end - at),
            bytes(byte ^ 1 << draw.randrange(8) for byte in data[at:end]),
            data[at:end] * draw.choice((2, 3, 50)),
            draw.choice((b"\0", b"\xff")) + data[at:end],
            other[start : start + end - at],
            codec.encode(draw.choice(NUMBERS)),
            bytes((draw.choice(HEADS),)),
        )
    )
    return data[:at] + new + data[end:]


def parts(value: Any) -> list[Any]:
    """Return a value and all within it."""
    return [_inner(value, way) for way in _ways(value)]


def _ways(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to a value and to all within it."""
    yield way
    if isinstance(value, tuple | list | dict):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from _ways(value[key], (*way, key))


def _inner(value: Any, way: Sequence[Any]) -> Any:
    for key in way:
        value = value[key]
    return value


def _value(value: Any, pool: Sequence[Any], draw: random.Random) -> Any:
    """Return a value with one place in it changed: any value, or a container of it."""
    way = draw.choice(list(_ways(value)))
    if draw.random() < 0.3:
        way = way[: draw.randrange(len(way) + 1)]
    new = _changed(_inner(value, way), pool, draw)
    for at in reversed(range(len(way))):
        outer, key = _inner(value, way[:at]), way[at]
        if isinstance(outer, dict):
            new = outer | {key: new}
        else:
            new = type(outer)([*outer[:key], new, *outer[key + 1 :]])
    return new


def _changed(value: Any, pool: Sequence[Any], draw: random.Random) -> Any:
    chance = draw.random()
    if chance < 0.3:
        return draw.choice([one for one in draw.choices(pool, k=30) if _alike(one, value)] or pool)
    if chance < 0.35:
        return draw.choice((draw.choice(pool), draw.choice(ODDITIES)))
    if isinstance(value, tuple | list) and value:
        items, at, other = list(value), draw.randrange(len(value)), draw.randrange(len(value))
        if chance < 0.55:
            del items[at]
        elif chance < 0.75:
            items.insert(at, draw.choice((items[other], draw.choice(pool), draw.choice(ODDITIES))))
        else:
            items[at], items[other] = items[other], items[at]
        return type(value)(items)
    if isinstance(value, dict) and value:
        key = draw.choice(list(value))
        if chance < 0.5:
            return {one: item for one, item in value.items() if one != key}
        if chance < 0.6:
            return value | {draw.choice(WORDS): draw.choice(pool)}
        known = pool[0] if isinstance(pool[0], dict) else value
        return value | {key: known.get(key)}
    return _atom(value, draw)


def _alike(one: Any, other: Any) -> bool:
    """Tell whether two values may replace each other: of one kind, or nodes of one tag."""
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and one[:1] == other[:1]
    return type(one) is type(other)


def _atom(value: Any, draw: random.Random) -> Any:
    if isinstance(value, bytes):
        try:
            inner = codec.decode(value)
        except CodecError:
            return _bytes(value, value, draw)
        if isinstance(inner, tuple) and inner and draw.random() < 0.9:
            return codec.encode(_value(inner, parts(inner), draw))
        return _bytes(value, value, draw)
    if isinstance(value, str):
        try:
            return value[1:] if draw.random() < 0.2 else _atom(bytes.fromhex(value), draw).hex()
        except ValueError:
            return draw.choice((*WORDS, value * 2, value[:-1]))
    if isinstance(value, int):
        near = value + 1, max(0, value - 1), value * 2, draw.choice(NUMBERS)
        return max(-(2**64), min(draw.choice(near), 2**64 - 1))
    return draw.choice(ODDITIES)


def _lines(lines: list[str], pool: Sequence[Any], draw: random.Random) -> list[str]:
    """Change a line, or a word within one."""
    at, end = sorted((draw.randrange(len(lines)), draw.randrange(len(lines))))
    more = pool[0]
    start = draw.randrange(len(more))
    match draw.randrange(10):
        case 0:
            return lines[:at] + lines[min(end, at + 5) :] or [""]
        case 1:
            return lines[:at] + lines[at : end + 1] + lines[at:]
        case 2:
            lines[at], lines[end] = lines[end], lines[at]
        case 3:
            return lines[:at] + more[start : start + draw.choice((1, 3, 10))] + lines[at:]
        case 4:
            lines[at] = draw.choice(("    ", "\t", "  ")) + lines[at]
        case _:
            words = TOKEN.findall(lines[at]) or [""]
            borrowed = TOKEN.findall(more[start]) or [""]
            new = draw.choice((*borrowed, *WORDS, *map(str, NUMBERS), "(", "[", "-", '"', "not "))
            words[draw.randrange(len(words))] = draw.choice((new, "", new * 40))
            lines[at] = "".join(words)
    return lines


def _dump_json(value: Any) -> bytes:
    return json.dumps(value, default=lambda item: item.hex()).encode()


FORMS: Final[dict[str, tuple[Callable[..., Any], Callable[..., bytes], Callable[..., Any]]]] = {
    "value": (codec.decode, codec.encode, _value),
    "json": (json.loads, _dump_json, _value),
    "text": (
        lambda data: data.decode().split("\n"),
        lambda lines: "\n".join(lines).encode(),
        _lines,
    ),
}
"""Functions that read bytes, write them, and change the values."""
