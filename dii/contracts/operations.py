"""Operations of compiled expressions: closures over closures, made for the types at hand.

A closure takes a frame and returns a value; its static gas was charged with its block. Gas that
depends on a value's size is charged here, before the work. The compiler has checked all types;
faults of values (bounds, zero, missing entries) revert.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from typing import Any, Final, NoReturn

from dii import errors
from dii.contracts import gas
from dii.contracts.values import LEAST, MOST, Form, Weigh
from dii.contracts.vm import Compiled, Frame, Run

ORDER: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt,
    ">=": operator.ge,
}  # fmt: skip


def _overflow() -> NoReturn:
    raise errors.Reverted(message="overflow: an int has at most 256 bits")


def _divide(function: Callable[[int, int], int], left: Run, right: Run) -> Run:
    def run(frame: Frame) -> int:
        number, by = left(frame), right(frame)
        if not by:
            raise errors.Reverted(message="division by zero")
        number = function(number, by)
        return number if number <= MOST else _overflow()

    return run


ARITHMETIC: Final[dict[str, Callable[[Run, Run], Run]]] = {
    "+": lambda a, b: lambda f: n if LEAST <= (n := a(f) + b(f)) <= MOST else _overflow(),
    "-": lambda a, b: lambda f: n if LEAST <= (n := a(f) - b(f)) <= MOST else _overflow(),
    "*": lambda a, b: lambda f: n if LEAST <= (n := a(f) * b(f)) <= MOST else _overflow(),
    "//": partial(_divide, operator.floordiv),
    "%": partial(_divide, operator.mod),
}
"""Operators of ints. The three frequent ones are written out, which is a third quicker."""


def bounded(function: Callable[[Any], int], operand: Run, per_gas: int = 0) -> Run:
    """Return ``function(operand)`` of an int, or of a list at ``per_gas`` bytes a gas."""

    def run(frame: Frame) -> int:
        value = operand(frame)
        if per_gas:
            frame[0].take(gas.ITEM * len(value) // per_gas)
        number = function(value)
        return number if LEAST <= number <= MOST else _overflow()

    return run


def _width(first: Any, second: Any) -> int:
    """Return the most bytes of a character of two texts, without scanning them."""
    return 1 if type(first) is bytes or (first.isascii() and second.isascii()) else 4


def join(left: Run, right: Run, item: int = 0) -> Run:
    """Return ``left + right`` of two lists with items of ``item`` bytes, or of text or bytes."""

    def run(frame: Frame) -> Any:
        first, second = left(frame), right(frame)
        frame[0].make((item or _width(first, second)) * (len(first) + len(second)))
        return first + second

    return run


QUICK: Final[dict[str, Callable[[Run, Run], Run]]] = {
    "==": lambda a, b: lambda f: a(f) == b(f),
    "!=": lambda a, b: lambda f: a(f) != b(f),
    "<": lambda a, b: lambda f: a(f) < b(f),
    "<=": lambda a, b: lambda f: a(f) <= b(f),
    ">": lambda a, b: lambda f: a(f) > b(f),
    ">=": lambda a, b: lambda f: a(f) >= b(f),
}


def compare(op: str, left: Run, right: Run, *, sized: bool) -> Run:
    """Return ``left op right``; texts and bytes are charged by the shorter one."""
    function = ORDER[op]
    if not sized:
        return QUICK[op](left, right)

    def run(frame: Frame) -> bool:
        first, second = left(frame), right(frame)
        count = min(len(first), len(second))
        frame[0].take(_width(first, second) * count // gas.COMPARE)
        return function(first, second)

    return run


def compare_lists(op: str, left: Run, right: Run, weigh: Weigh) -> Run:
    """Return ``left == right`` or ``!=`` of two lists; items are free if the lengths differ."""
    function, unequal = ORDER[op], op == "!="

    def run(frame: Frame) -> bool:
        first, second = left(frame), right(frame)
        if len(first) != len(second):
            return unequal
        frame[0].take(weigh(frame[0], first) // gas.COMPARE)
        return function(first, second)

    return run


def member(item: Run, items: Run, weigh: Weigh) -> Run:
    """Return ``item in items`` of a list."""

    def run(frame: Frame) -> bool:
        wanted, known = item(frame), items(frame)
        frame[0].take(weigh(frame[0], known) // gas.COMPARE)
        return wanted in known

    return run


def element(base: Run, index: Run) -> Run:
    """Return ``base[index]`` of a list or bytes."""

    def run(frame: Frame) -> Any:
        items, at = base(frame), index(frame)
        if -len(items) <= at < len(items):
            return items[at]
        raise errors.Reverted(message=f"index {at} is out of range; the length is {len(items)}")

    return run


def field(record: Run, name: str) -> Run:
    """Return ``record.name``; 0 if the gateway was not reported."""
    if name == "reported":
        return lambda frame: record(frame) is not None

    def run(frame: Frame) -> int:
        known = record(frame)
        return 0 if known is None else known.get(name, 0)

    return run


def digest(operand: Run) -> Run:
    """Return ``sha256(operand)``."""

    def run(frame: Frame) -> bytes:
        data = operand(frame)
        frame[0].take(len(data) // gas.HASH)
        return sha256(data).digest()

    return run


def in_order(operand: Run, weigh: Weigh) -> Run:
    """Return ``sorted(operand)``."""

    def run(frame: Frame) -> tuple[Any, ...]:
        machine, items = frame[0], operand(frame)
        machine.make(gas.SLOT * len(items))
        machine.take(weigh(machine, items) * len(items).bit_length() // gas.SORT)
        return tuple(sorted(items))

    return run


def build(items: list[Run]) -> Run:
    """Return ``[a, b, …]``."""

    def run(frame: Frame) -> tuple[Any, ...]:
        frame[0].make(gas.SLOT * len(items))
        return tuple([item(frame) for item in items])

    return run


def helper(arguments: list[Run], compiled: Compiled) -> Run:
    """Return the result of a function of the contract; its gas was charged with the call."""
    body, blank = compiled.run, compiled.blank

    def run(frame: Frame) -> Any:
        inner = [frame[0]]
        for argument in arguments:
            inner.append(argument(frame))  # noqa: PERF401 - a comprehension is a frame
        inner += blank
        done = body(inner)
        return None if done is None else done[0]

    return run


def check(test: Run, message: str) -> Run:
    """Revert unless the test holds."""
    message = message or "assertion failed"

    def run(frame: Frame) -> None:
        if not test(frame):
            raise errors.Reverted(message=message)

    return run


# --- storage -----------------------------------------------------------------------------------


def place(prefix: bytes, key: Run, form: Form, *, written: bool) -> Run:
    """Return the storage key of a map's entry; its bytes are charged if it is written."""
    if form.zero == bytes(20):  # an address, the usual key, has one length and so one head
        prefix += b"\x54"
        return lambda frame: prefix + key(frame)
    dump = form.key
    if not written:
        return lambda frame: prefix + dump(frame[0], key(frame))

    def run(frame: Frame) -> bytes:
        raw = dump(frame[0], key(frame))
        frame[0].take(gas.STORED * len(raw))
        return prefix + raw

    return run


def entry(where: Run, form: Form, default: Run | None = None) -> Run:
    """Return a map's entry; if it is missing, return the default or revert.

    Keys are evaluated before defaults, and both before the entry is read, as in Python.
    """
    load = form.load

    def run(frame: Frame) -> Any:
        machine, key = frame[0], where(frame)
        other = default and default(frame)
        raw = machine.read(key)
        if raw is not None:
            return load(machine, raw)
        if default is None:
            raise errors.Reverted(message="the map has no entry for this key")
        return other

    return run


def store(where: Run, value: Run, form: Form) -> Run:
    """Write a value; it is evaluated before its key, as in Python."""
    dump = form.dump

    def run(frame: Frame) -> None:
        machine, made = frame[0], value(frame)
        machine.write(where(frame), dump(machine, made))

    return run


def remove(where: Run) -> Run:
    """Remove a map's entry, if there is one."""

    def run(frame: Frame) -> None:
        frame[0].write(where(frame), None)

    return run
