"""Gas schedule of the operations of contracts, version 1.

One gas is about 90 ns of work on the machine that the benchmarks name, as in
:mod:`dii.application.gas`. Every operation is charged before it works, by the size of its operands;
writing into the state is charged by the bytes that it occupies permanently. The constants follow
from ``python -m tests.benchmarks contracts``, which prints nanoseconds per gas for each
operation at several sizes. They are protocol: a change is a new version.

The fixed part of straight-line code is summed when a contract is compiled and charged where a
block of statements begins, both sides of ``and``, ``or`` and ``a if t else b`` included. Charging
node by node was rejected: it doubles the time of cheap operations and tells no more.

Memory is bounded apart from gas, since copying is quick: :data:`ROOM`.
"""

from __future__ import annotations

from typing import Final

VERSION: Final = 1

NODE: Final = 1
"""Any expression or statement; the constants below are added to it."""
CALL: Final = 5
"""Entering a helper."""
BRANCH: Final = 1
"""Choosing a branch of an ``if``."""
LOOP: Final = 3
"""Beginning a loop."""
TURN: Final = 1
"""A turn of a loop."""
DIVIDE: Final = 1
"""``//`` and ``%``, ``min`` and ``max``."""
TEXT: Final = 4
"""``str`` of an integer."""
SIZED: Final = 4
"""An operation on values of any size, before their size counts."""
SHA256: Final = 6
READ: Final = 12
"""Reading a key of the state."""
WRITE: Final = 200
"""Changing a key of the state, up to the root that commits to it."""
LOOK: Final = 1
"""Adding the size of a text or bytes in a list."""
STORED_ITEM: Final = 8
"""An item of a list that is read from the state or written there."""
STORED: Final = 2
"""A byte of the state or of an event, text as JSON writes it: every node keeps it permanently."""
PAY: Final = 2_000
"""A payment; it may open an account, which is never deleted."""
EMIT: Final = 100
"""An event in the index."""
RECORD: Final = 20
"""Looking up an owner."""
LOOKUP: Final = 150
"""Finding a row of metrics or usage among an epoch's pages."""

# Bytes that one gas pays for. An item of a list counts as ITEM bytes, a text or bytes in a list as
# TEXT_ITEM and its own size on top.
ITEM: Final = 32
SLOT: Final = 16
"""An item of a list that is made, of any type: eight bytes, and a reference count."""
TEXT_ITEM: Final = 128
COPY: Final = 512
COMPARE: Final = 256
ADD: Final = 64
HASH: Final = 64
SORT: Final = 256
"""Times the logarithm of the number of items."""
ROOM: Final = 1 << 24
"""Bytes that one call may make, for any gas."""
MAX_STORED: Final = 1 << 16
"""Bytes of one stored value."""
MAX_KEY: Final = 256
"""Bytes of a map's key."""

COMPILE_BYTE: Final = 24
"""Checking and compiling a byte of a tree."""


def compile_gas(size: int) -> int:
    """Return the gas of compiling a tree of so many bytes."""
    return COMPILE_BYTE * size
