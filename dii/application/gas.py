"""Gas: the cost of work, by a versioned schedule.

A block's gas bounds its work: a signed transfer, which takes about a tenth of a millisecond, uses
about 1,300 gas. The other prices are estimates until they are measured. The numbers are part of the
protocol; a change is a new version.
"""

from __future__ import annotations

from typing import Final

from dii import errors

VERSIONS: Final = frozenset({1})
"""Schedules of this release. The state names the one in force; a node without it stops."""

TRANSACTION: Final = 1_000
"""A signature check, a nonce and a fee."""
BYTE: Final = 2
"""A byte of the transaction: stored permanently by every node."""
NEW_ACCOUNT: Final = 2_000
"""An account that is never deleted."""
BINDING: Final = 500
"""A key in the state: of a gateway, of a proposal."""
REPORT_BYTE: Final = 2
"""Checking a byte of a chunk's rows; due before they are looked at."""
LOAD_BYTE: Final = 1
"""A byte of a contract's tree that the block has compiled already."""


class Meter:
    """Gas of one transaction, counted against its limit."""

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    def charge(self, gas: int) -> None:
        """Use gas.

        Raises
        ------
        OutOfGas
            Beyond the limit; the whole limit counts as used.
        """
        self.used += gas
        if self.used > self.limit:
            needed, self.used = self.used, self.limit
            raise errors.OutOfGas(needed=needed, limit=self.limit)


def intrinsic(size: int) -> int:
    """Return the gas that every transaction of this many bytes uses."""
    return TRANSACTION + BYTE * size
