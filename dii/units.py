"""Money and time as integers.

Money is an integer of the currency's smallest unit, below 2**63. Input is ``"12.5 TTC"``; tables
have integers with the unit in the column name (``amount_uttc``). Time is an integer of microseconds
since 1970 in UTC, in block times, telemetry and epochs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from dii import errors

MAX_AMOUNT: Final = 2**63 - 1
SECOND: Final = 1_000_000
"""Microseconds in a second."""
DAY: Final = 86_400 * SECOND
PPM: Final = 1_000_000
"""Parts per million in a whole."""

UNIT_PREFIX: Final = {0: "", 2: "c", 3: "m", 6: "u", 9: "n"}
"""Name of the smallest unit by decimals: 6 decimals of TTC are counted in uTTC."""

_AMOUNT = re.compile(
    r"(\d{1,3}(?:[,_]\d{3})+|\d+)(?:\.(\d+))?(?:\s*([A-Za-z][A-Za-z0-9]*))?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Currency:
    """A community's currency.

    Attributes
    ----------
    name, symbol
        Names on screen: ``"The Things Coin"``, ``"TTC"``.
    decimals
        Digits after the point; one of ``UNIT_PREFIX``.
    """

    name: str
    symbol: str
    decimals: int

    @property
    def unit(self) -> str:
        """The smallest unit's name in column names: ``uttc``."""
        return UNIT_PREFIX[self.decimals] + self.symbol.lower()

    def parse(self, text: str | int) -> int:
        """Read ``"12.5 TTC"``, ``"12.5"`` or an integer of the smallest unit.

        Raises
        ------
        BadAmount
            Foreign symbol, too many decimals, negative or not below 2**63.
        """
        if isinstance(text, bool) or not isinstance(text, int | str):
            message = f'write "12.5 {self.symbol}" or an integer'
            raise errors.BadAmount(text=text, message=message)
        amount = text if isinstance(text, int) else self._parse(text)
        if not 0 <= amount <= MAX_AMOUNT:
            shown = text if isinstance(text, str) else hex(text)  # Python limits decimal digits
            message = f"must lie between 0 and {self.format(MAX_AMOUNT)}"
            raise errors.BadAmount(text=shown, message=message)
        return amount

    def _parse(self, text: str) -> int:
        match = _AMOUNT.fullmatch(text.strip()) if len(text) <= 64 else None
        if match is None:
            raise errors.BadAmount(text=text[:64], message=f'write it like "12.5 {self.symbol}"')
        whole, fraction, symbol = match[1], match[2] or "", match[3]
        if symbol is not None and symbol != self.symbol:
            raise errors.BadAmount(text=text, message=f"the currency here is {self.symbol}")
        if len(fraction.rstrip("0")) > self.decimals:
            raise errors.BadAmount(text=text, message=f"{self.symbol} has {self.decimals} decimals")
        digits = fraction.rstrip("0").ljust(self.decimals, "0")
        return int(whole.replace(",", "").replace("_", "") + digits)

    def format(self, amount: int) -> str:
        """Write an amount for people: ``1_250_000`` is ``"1.25 TTC"``."""
        sign = "-" if amount < 0 else ""
        whole, fraction = divmod(abs(amount), 10**self.decimals)
        digits = f"{fraction:0{self.decimals}d}".rstrip("0") if self.decimals else ""
        return f"{sign}{whole:,}" + (f".{digits}" if digits else "") + f" {self.symbol}"


def to_microseconds(moment: datetime) -> int:
    """Return microseconds since 1970, exactly (floats would round); a naive datetime is in UTC.

    Python takes naive ones for local time, which would depend on the machine.
    """
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    delta = aware - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * SECOND + delta.microseconds


def from_microseconds(time: int) -> datetime:
    """Return the UTC datetime of microseconds since 1970."""
    seconds, micros = divmod(time, SECOND)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=micros)


def format_time(time: int) -> str:
    """Return a time for people, to the second: ``2018-04-21T00:00:00Z``."""
    return from_microseconds(time).strftime("%Y-%m-%dT%H:%M:%SZ")


def clean(text: str) -> str:
    """Return a text without line breaks and control characters.

    Names come from untrusted files; on a terminal they must not move the cursor, change colours or
    hide later text.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in text
    )
