"""Records whose dates lie far from all others.

One wrong date could start a network in the wrong year, or settle decades of empty epochs at once.
The records of a load are ordered by time and divided where more days than a gap are empty. One
part is kept: the largest part of a load, or the parts near the own records of a network that has
any. If the other parts are few records, their dates are mistakes, and the records are set aside. If
there are many, it is unknown which dates are wrong, and the load is refused as a whole.

Dividing by the distance from a median, or by the clock of this machine alone, was rejected: logs
of a year are replayed years later, and clocks of small machines begin in 1970.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from dii import errors
from dii.units import DAY, format_time

if TYPE_CHECKING:
    from dii.telemetry.tables import Rows

MOST: Final = 100
"""At most one record in this many may be set aside."""
_SHOWN: Final = 4
"""Parts that an error lists."""
TABLES: Final = ("receptions", "statuses")
"""Tables whose rows have a time."""

Times = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Part:
    """A run of records with no long gap in it.

    Attributes
    ----------
    first, last
        Times of its first and last record, microseconds since 1970.
    count
        Number of records.
    """

    first: int
    last: int
    count: int

    def __str__(self) -> str:
        if self.first == self.last:
            return f"{self.count:,} at {format_time(self.first)}"
        return f"{self.count:,} from {format_time(self.first)} to {format_time(self.last)}"


def divide(times: Sequence[Times], gap: int | None, until: int | None = None) -> list[Part]:
    """Divide records at gaps of more than ``gap`` empty days, and after ``until``, in order."""
    ordered = np.sort(np.concatenate([*times, np.empty(0, np.int64)]))
    cuts = np.zeros(max(0, len(ordered) - 1), np.bool_)
    if gap is not None:
        cuts |= np.diff(ordered // DAY) > gap + 1
    if until is not None:
        cuts |= (ordered[:-1] <= until) & (ordered[1:] > until)
    runs = np.split(ordered, np.flatnonzero(cuts) + 1)
    return [Part(int(run[0]), int(run[-1]), len(run)) for run in runs if len(run)]


def largest(parts: Sequence[Part]) -> list[Part]:
    """Return the part with most records; of equal ones, the earliest."""
    return sorted(parts, key=lambda part: -part.count)[:1]


def others(
    parts: Sequence[Part], kept: Sequence[Part], where: Callable[[Part], str], **texts: str
) -> list[Part]:
    """Return the parts that are not kept.

    Raises
    ------
    FarInTime
        The other parts are too large to be mistakes, or no part is kept. ``where`` returns the
        place of a part's first record, ``texts`` are ``what`` and ``option`` of the error.
    """
    apart = [part for part in parts if part not in kept]
    if MOST * sum(part.count for part in apart) > sum(part.count for part in parts):
        shown = [f"{part} ({where(part)})" for part in parts[:_SHOWN]]
        shown += [f"{len(parts) - _SHOWN:,} more groups"] * (len(parts) > _SHOWN)
        raise errors.FarInTime(parts="; ".join(shown), **texts)
    return apart


def set_aside(files: Sequence[Rows], gap: int | None, until: int | None) -> None:
    """Set records aside that lie far from the other records of a load.

    Parameters
    ----------
    files
        The rows of all files of the load.
    gap
        Days that may be empty; None for any number.
    until
        Latest time that a record can have, microseconds since 1970; None for any.

    Raises
    ------
    FarInTime
        More than one record in ``MOST`` would be set aside.
    RecordRejected
        The load is strict, and a record would be set aside.
    """
    parts = divide([rows.times(name) for rows in files for name in TABLES], gap, until)
    sound = [part for part in parts if until is None or part.last <= until]
    texts = {"what": f"records lie more than {gap} days apart", "option": "say --gap DAYS"}
    if until is not None and len(sound) < len(parts):
        texts["what"] = f"some records are dated later than {format_time(until)}; by date they are"
        texts["option"] += " and --until DATE"
    kept = largest(sound)
    if others(parts, kept, lambda part: _place(files, part.first), **texts):
        for rows in files:
            rows.keep(kept[0].first, kept[0].last)
    if until is not None:
        for rows in files:
            rows.forget_after(until)


def _place(files: Sequence[Rows], time: int) -> str:
    """Return the file and line of the first record of a time."""
    found = (
        (rows, rows.lines(name)[rows.times(name) == time]) for rows in files for name in TABLES
    )
    return next(f"{rows.file}, line {lines[0]}" for rows, lines in found if len(lines))
