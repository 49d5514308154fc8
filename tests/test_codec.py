"""One value, one encoding: what the codec writes, and everything that it must not read."""

from __future__ import annotations

import dataclasses
import sys
import typing
from dataclasses import dataclass
from typing import Annotated, Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dii import codec
from dii.codec import Address, Amount, Bounds, Name
from dii.errors import CodecError, ShapeMismatch

SMALL = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**64), 2**64 - 1),
    st.sampled_from([n for power in (0, 5, 8, 16, 32, 63) for n in (2**power - 1, 2**power)]),
    st.binary(max_size=300),
    st.text(max_size=100),
)
VALUES = st.recursive(SMALL, lambda inner: st.lists(inner, max_size=30).map(tuple), max_leaves=40)

# RFC 8949, appendix A: what the profile has ...
ALLOWED = {
    "00": 0, "01": 1, "0a": 10, "17": 23, "1818": 24, "1819": 25, "1864": 100, "1903e8": 1000,
    "1a000f4240": 1000000, "1b000000e8d4a51000": 1000000000000,
    "1bffffffffffffffff": 18446744073709551615, "3bffffffffffffffff": -18446744073709551616,
    "20": -1, "29": -10, "3863": -100, "3903e7": -1000, "f4": False, "f5": True, "f6": None,
    "40": b"", "4401020304": b"\1\2\3\4", "60": "", "6161": "a", "6449455446": "IETF",
    "62225c": '"\\', "62c3bc": "ü", "63e6b0b4": "水", "64f0908591": "𐅑", "80": (),
    "83010203": (1, 2, 3), "8301820203820405": (1, (2, 3), (4, 5)),
    "98190102030405060708090a0b0c0d0e0f101112131415161718181819": tuple(range(1, 26)),
}  # fmt: skip
# ... and what it has not: bignums, floats, simple values, tags, maps, indefinite lengths.
FOREIGN = [
    "c249010000000000000000", "c349010000000000000000", "f90000", "f98000", "f93c00",
    "fb3ff199999999999a", "f97bff", "fa47c35000", "f97c00", "f97e00", "fa7f800000",
    "fb7ff0000000000000", "f7", "f0", "f8ff", "f801",
    "c074323031332d30332d32315432303a30343a30305a", "c11a514b67b0", "d74401020304",
    "d818456449455446", "a0", "a201020304", "a26161016162820203", "826161a161626163",
    "5f42010243030405ff", "7f657374726561646d696e67ff", "9fff", "9f018202039f0405ffff",
    "83018202039f0405ff", "bf61610161629f0203ffff", "ff", "1c", "3d", "5e", "7c", "9d", "df",
    "fc",
]  # fmt: skip


@pytest.mark.parametrize("raw", ALLOWED)
def test_the_vectors_of_rfc_8949_within_the_profile_are_written_and_read(raw: str) -> None:
    assert codec.encode(ALLOWED[raw]).hex() == raw
    value = codec.decode(bytes.fromhex(raw))
    assert value == ALLOWED[raw]
    assert type(value) is type(ALLOWED[raw])


@pytest.mark.parametrize("raw", FOREIGN)
def test_the_vectors_of_rfc_8949_outside_the_profile_are_refused(raw: str) -> None:
    for data in (raw, "81" + raw, "8201" + raw):
        with pytest.raises(CodecError):
            codec.decode(bytes.fromhex(data))


@given(VALUES)
def test_written_values_are_read_back(value: Any) -> None:
    assert codec.decode(codec.encode(value)) == value


@given(VALUES)
def test_lists_are_written_like_tuples(value: Any) -> None:
    assert codec.encode(listed(value)) == codec.encode(value)


@given(VALUES)
def test_cbor2_reads_what_we_write_and_writes_the_same_canonically(value: Any) -> None:
    assert cbor2.loads(codec.encode(value)) == listed(value)
    assert cbor2.dumps(value, canonical=True) == codec.encode(value)


FOREIGN_VALUES = st.one_of(
    st.floats(),
    st.integers(min_value=2**64),
    st.integers(max_value=-(2**64) - 1),
    st.dictionaries(st.integers(), st.integers(), max_size=2),
    st.builds(cbor2.CBORTag, st.integers(1000, 2000), st.integers()),
    st.builds(cbor2.CBORSimpleValue, st.integers(32, 255)),
    st.just(cbor2.undefined),
)


@given(st.lists(st.one_of(VALUES, FOREIGN_VALUES), max_size=4), FOREIGN_VALUES, st.data())
def test_other_types_that_cbor2_can_write_are_refused(
    others: list[Any], foreign: object, data: st.DataObject
) -> None:
    others.insert(data.draw(st.integers(0, len(others))), foreign)
    with pytest.raises(CodecError):
        codec.decode(cbor2.dumps(others, canonical=True))


@given(st.one_of(st.binary(max_size=40), VALUES.map(codec.encode)), st.data())
def test_bytes_that_are_read_are_the_encoding_of_their_value(
    data: bytes, draw: st.DataObject
) -> None:
    changed = bytearray(data)
    for _ in range(draw.draw(st.integers(0, 3)) if data else 0):
        changed[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    try:
        value = codec.decode(bytes(changed))
    except CodecError:
        return
    assert codec.encode(value) == changed


@given(VALUES, st.data())
def test_every_longer_head_anywhere_is_refused(value: Any, data: st.DataObject) -> None:
    for longer in lengthened(value, data.draw(st.sampled_from([1, 2, 4, 8]))):
        assert cbor2.loads(longer) == listed(value)
        with pytest.raises(CodecError):
            codec.decode(longer)


@pytest.mark.parametrize("major", range(5))
@pytest.mark.parametrize(("width", "least"), [(1, 24), (2, 1 << 8), (4, 1 << 16), (8, 1 << 32)])
def test_a_head_is_as_short_as_its_argument_allows(major: int, width: int, least: int) -> None:
    code = {1: 24, 2: 25, 4: 26, 8: 27}[width]
    for argument in (0, 1, least // 2, least - 1):
        body = bytes(min(argument, 1 << 17)) if major > 1 else b""
        head = bytes((major << 5 | code,)) + argument.to_bytes(width, "big")
        with pytest.raises(CodecError, match="shortest form"):
            codec.decode(head + body)
    if major < 2:
        head = bytes((major << 5 | code,)) + least.to_bytes(width, "big")
        assert codec.decode(head) == (least if not major else -1 - least)


@given(VALUES)
def test_every_end_but_the_right_one_is_refused(value: Any) -> None:
    data = codec.encode(value)
    for end in range(len(data)):
        with pytest.raises(CodecError):
            codec.decode(data[:end])
    for more in (b"\0", b"\xf6", b"\xff", data):
        with pytest.raises(CodecError, match="follow the value"):
            codec.decode(data + more)


@pytest.mark.parametrize(
    "raw", [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc3"]
)
def test_text_that_is_not_utf_8_is_refused(raw: bytes) -> None:
    with pytest.raises(CodecError, match="UTF-8"):
        codec.decode(bytes((0x60 + len(raw),)) + raw)


@pytest.mark.parametrize(
    "head", ["9affffffff", "9bffffffffffffffff", "5affffffff", "7b7fffffffffffffff"]
)
def test_a_length_beyond_the_data_is_refused_before_anything_is_made(head: str) -> None:
    with pytest.raises(CodecError, match="ends too early"):
        codec.decode(bytes.fromhex(head) + b"\0" * 100)


@pytest.mark.parametrize(
    "value", [1.0, 2**64, -(2**64) - 1, {}, {1}, bytearray(b"x"), "\ud800", 1j, object()]
)
def test_values_without_an_encoding_are_not_written(value: object) -> None:
    for thing in (value, (1, (value,))):
        with pytest.raises(CodecError):
            codec.encode(thing)


def test_depth_is_bounded_in_both_directions() -> None:
    value: Any = 0
    for _ in range(codec.MAX_DEPTH):
        value = (value,)
    data = codec.encode(value)
    assert codec.decode(data) == value
    with pytest.raises(CodecError, match="deep"):
        codec.encode((value,))
    with pytest.raises(CodecError, match="deep"):
        codec.decode(b"\x81" + data)
    with pytest.raises(CodecError, match="deep"):
        codec.decode(b"\x81" * 10_000 + b"\0")
    with pytest.raises(CodecError, match="deep"):
        codec.decode(b"\x81\x81\0", max_depth=1)


def test_size_is_bounded_before_reading() -> None:
    data = codec.encode(b"x" * 100)
    assert codec.decode(data, len(data)) == b"x" * 100
    with pytest.raises(CodecError, match="101 are allowed"):
        codec.decode(data, 101)


def test_reading_needs_few_frames() -> None:
    data = b"\x81" * codec.MAX_DEPTH + b"\0"

    def deep(frames: int) -> object:
        return deep(frames - 1) if frames else codec.decode(data)

    here = len(list(_frames()))
    assert deep(sys.getrecursionlimit() - here - codec.MAX_DEPTH - 40)


# --- shapes ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Inner:
    amount: Amount


@dataclass(frozen=True, slots=True)
class Record:
    number: int
    small: Annotated[int, Bounds(3, 9)]
    amount: Amount
    flag: bool
    address: Address
    blob: bytes
    name: Name
    items: tuple[Inner, ...]
    few: Annotated[tuple[int, ...], Bounds(1, 2)]
    pair: tuple[bool, str]
    maybe: Inner | None


INNERS = st.builds(Inner, st.integers(0, 2**63 - 1))
RECORDS = st.builds(
    Record,
    number=st.integers(0, 2**64 - 1),
    small=st.integers(3, 9),
    amount=st.integers(0, 2**63 - 1),
    flag=st.booleans(),
    address=st.binary(min_size=20, max_size=20),
    blob=st.binary(max_size=50),
    name=st.text(min_size=1, max_size=16),
    items=st.lists(INNERS, max_size=3).map(tuple),
    few=st.lists(st.integers(0, 5), min_size=1, max_size=2).map(tuple),
    pair=st.tuples(st.booleans(), st.text(max_size=5)),
    maybe=st.none() | INNERS,
)
EXAMPLE = Record(
    1, 3, 5, True, b"a" * 20, b"", "name", (Inner(300),), (1,), (False, "x"), Inner(0)
)  # fmt: skip
WIRE: tuple[Any, ...] = (
    1, 3, b"\5", True, b"a" * 20, b"", "name", ((b"\1\x2c",),), (1,), (False, "x"), (b"",)
)  # fmt: skip


@given(RECORDS)
def test_a_record_is_read_back(record: Record) -> None:
    data = codec.dumps(record)
    assert codec.loads(Record, data) == record
    assert codec.unpack(Record, codec.pack(record)) == record
    assert codec.encode(codec.pack(record)) == data


@given(st.sampled_from([f.name for f in dataclasses.fields(Record)]), RECORDS)
def test_a_bare_value_of_a_shape_is_read_back(name: str, record: Record) -> None:
    hint = typing.get_type_hints(Record, include_extras=True)[name]
    value = getattr(record, name)
    data = codec.dumps(value, hint)
    assert codec.loads(hint, data) == value
    assert data == codec.encode(codec.pack(record)[[*Record.__slots__].index(name)])


@pytest.mark.parametrize("wrong", [b"a" * 19, b"a" * 21, "a" * 20, None, (b"a" * 20,)])
def test_a_bare_value_of_another_shape_is_refused(wrong: Any) -> None:
    with pytest.raises(ShapeMismatch):
        codec.dumps(wrong, Address)
    with pytest.raises(ShapeMismatch):
        codec.loads(Address, codec.encode(wrong))


def test_a_record_is_the_array_of_its_fields() -> None:
    assert codec.pack(EXAMPLE) == WIRE
    assert codec.pack(Inner(256)) == (b"\1\0",)


WRONG: dict[str, list[Any]] = {
    "number": [-1, True, "1", b"\1", None, ()],
    "small": [2, 10, -3, False, None],
    "amount": [5, b"\0", b"\0\5", b"\x80" + b"\0" * 7, b"\1" * 9, "5", None],
    "flag": [0, 1, None, b""],
    "address": [b"a" * 19, b"a" * 21, b"", "a" * 20, None],
    "blob": ["", None, 0, b"x" * (codec.MAX_LENGTH + 1)],
    "name": ["", "x" * 65, "é" * 33, b"name", None],
    "items": [((b"", b""),), (b"",), ((1,),), None, b""],
    "few": [(), (1, 1, 1), (b"",), (True,), None, 1],
    "pair": [(False,), (False, "x", "x"), ("x", False), None],
    "maybe": [(), (b"", b""), 0, False, (None,)],
}


@pytest.mark.parametrize(("field", "wrong"), [(f, w) for f in WRONG for w in WRONG[f]])
def test_a_field_of_another_shape_is_refused(field: str, wrong: object) -> None:
    at = [f.name for f in dataclasses.fields(Record)].index(field)
    value = (*WIRE[:at], wrong, *WIRE[at + 1 :])
    with pytest.raises(ShapeMismatch, match=f"^(Record.{field}|Inner)"):
        codec.unpack(Record, value)
    with pytest.raises(ShapeMismatch):
        codec.loads(Record, codec.encode(value))


@pytest.mark.parametrize("value", [WIRE[:-1], (*WIRE, 0), (), None, 0, b"", "x", [*WIRE]])
def test_a_record_of_another_count_is_refused(value: object) -> None:
    with pytest.raises(ShapeMismatch, match=r"^Record: an array of 11"):
        codec.unpack(Record, value)


HUGE = {"amount": 1 << 20_000, "number": 1 << 20_000}
"""Beyond what Python prints in decimal."""


@pytest.mark.parametrize("field", HUGE)
def test_a_huge_integer_is_refused_like_any_other(field: str) -> None:
    with pytest.raises(ShapeMismatch, match=f"^Record.{field}"):
        codec.dumps(dataclasses.replace(EXAMPLE, **{field: HUGE[field]}))
    with pytest.raises(CodecError):
        codec.encode(HUGE[field])


UNREADABLE: dict[str, list[Any]] = {
    "number": [-1, 2**64, True, b""],
    "small": [2, 10],
    "amount": [-1, 2**63, True, b"\5"],
    "flag": [1, None],
    "address": [b"", b"a" * 21, "a" * 20],
    "blob": ["", bytearray()],
    "name": ["", "é" * 33, b"x"],
    "few": [(), (1, 1, 1), [1]],
    "items": [[Inner(1)]],
    "pair": [(True,), (True, 1)],
}


@pytest.mark.parametrize(("field", "wrong"), [(f, w) for f in UNREADABLE for w in UNREADABLE[f]])
def test_records_that_could_not_be_read_back_are_not_written(field: str, wrong: object) -> None:
    with pytest.raises(ShapeMismatch, match=f"^Record.{field}"):
        codec.dumps(dataclasses.replace(EXAMPLE, **{field: wrong}))


def test_text_with_half_a_surrogate_is_not_written() -> None:
    with pytest.raises(CodecError, match="UTF-8"):
        codec.dumps(dataclasses.replace(EXAMPLE, name="\udc80"))


@given(st.integers(0, 2**63 - 1))
def test_an_amount_has_one_encoding(amount: int) -> None:
    (raw,) = codec.pack(Inner(amount))
    assert int.from_bytes(raw, "big") == amount
    assert len(raw) == (amount.bit_length() + 7) // 8
    with pytest.raises(ShapeMismatch, match=r"minimal|below 2\*\*63"):
        codec.unpack(Inner, (b"\0" + raw,))


def test_an_annotation_without_a_wire_format_is_a_mistake_in_the_code() -> None:
    @dataclass
    class Wrong:
        share: float

    with pytest.raises(TypeError, match=r"Wrong\.share"):
        codec.dumps(Wrong(0.5))


# --- helpers -----------------------------------------------------------------------------------


def listed(value: Any) -> Any:
    return [listed(item) for item in value] if type(value) is tuple else value


def lengthened(value: Any, width: int) -> list[bytes]:
    """Return the encodings of ``value`` with one head at a time in ``width`` bytes, if too many."""
    if value is None or type(value) is bool:
        return []
    head, body, argument = _parts(value)
    found = []
    if width > _width(argument):
        code = {1: 24, 2: 25, 4: 26, 8: 27}[width]
        found.append(bytes((head | code,)) + argument.to_bytes(width, "big") + body)
    if type(value) is tuple:
        start = codec.encode(value)[: -len(body) or None]
        items = [codec.encode(item) for item in value]
        for at, item in enumerate(value):
            found += [
                start + b"".join([*items[:at], longer, *items[at + 1 :]])
                for longer in lengthened(item, width)
            ]
    return found


def _parts(value: Any) -> tuple[int, bytes, int]:
    if type(value) is int:
        return (0x00, b"", value) if value >= 0 else (0x20, b"", -1 - value)
    if type(value) is bytes:
        return 0x40, value, len(value)
    if type(value) is str:
        return 0x60, value.encode(), len(value.encode())
    return 0x80, b"".join(codec.encode(item) for item in value), len(value)


def _width(argument: int) -> int:
    if argument < 24:
        return 0
    return next(width for width in (1, 2, 4, 8) if argument < 1 << 8 * width)


def _frames() -> Any:
    frame: Any = sys._getframe()
    while frame:
        yield frame
        frame = frame.f_back
