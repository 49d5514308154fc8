"""What a reader is.

A reader is one small class for one format. It says what the format is, looks at the beginning of
a source and either takes it or says why not, declares which metrics the format can give at most,
and pushes rows. Everything that readers share (bounds, fields, rows, rejects) stands elsewhere, so
that a new format is a new file and one more entry in ``READERS``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar, Final

from dii.telemetry.fields import Fault, Record
from dii.telemetry.source import Source, parse_json
from dii.telemetry.tables import Gateway, Rows

STATUS_METRICS: Final = frozenset({"connected_ppm", "online_ppm"})
"""Metrics of statuses: only they tell silence from absence."""
RECEPTION_METRICS: Final = frozenset(
    {
        "receptions",
        "uplinks",
        "sole_uplinks",
        "shapley_uplinks",
        "uplink_units",
        "excluded_frames",
    }
)
"""Metrics of receptions.

No uptime: between two frames a gateway may have been away, or there was nothing to hear. And no
deafness, which is silence on every network: applications see the frames of their own only.
"""
NEEDED: Final[Mapping[str, tuple[str, frozenset[str]]]] = {
    "uplinks": ("receptions", frozenset({"delivered"})),
    "sole_uplinks": ("receptions", frozenset({"delivered"})),
    "shapley_uplinks": ("receptions", frozenset({"delivered"})),
    "uplink_units": ("receptions", frozenset({"delivered", "airtime"})),
    "online_ppm": ("statuses", frozenset({"frames"})),
}
"""Metrics that cannot be told from a source that knows nothing of some column."""


def known_metrics(gives: frozenset[str], rows: Rows) -> frozenset[str]:
    """Return what a source gives of what its format can give.

    A source that knows of no frame whether it was delivered gives no uplinks, rather than 0; and so
    on for ``NEEDED``. Where it knows of some, unknown counts as no. A source without a single row
    says nothing against its format.
    """

    def unknown(table: str, columns: frozenset[str]) -> bool:
        found = rows.table(table)
        return any(len(found) > 0 and found[name].null_count == len(found) for name in columns)

    return frozenset(m for m in gives if m not in NEEDED or not unknown(*NEEDED[m]))


class Reader(ABC):
    """Turns sources of one format into rows.

    Attributes
    ----------
    name
        Short name, as in tables of readers and in errors.
    about
        The format, for people.
    gives
        The metrics that the format can give at most.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    gives: ClassVar[frozenset[str]]

    @abstractmethod
    def declines(self, source: Source) -> str | None:
        """Return why a source is not of this format, None if it is."""

    @abstractmethod
    def read(self, source: Source, rows: Rows) -> None:
        """Push all rows."""


def read_lines(source: Source, rows: Rows, handle: Callable[[Record], None]) -> None:
    """Hand each JSON object of a file of lines to ``handle``; its faults become rejects."""
    for line in source.lines(rows):
        try:
            record = parse_json(line)
            if not isinstance(record, dict):
                raise Fault("bad_record", "an object is expected")
            handle(record)
        except Fault as fault:
            rows.reject(fault.reason, fault.detail)


class LastPlaces:
    """Keeps the last place that a stream of uplinks gives for each gateway.

    Networks repeat a gateway's place with every uplink, jittered by its own GPS.
    """

    def __init__(self) -> None:
        self._last: dict[str, tuple[int, int, Record]] = {}

    def note(self, gateway: str, time: int, line: int, location: Record) -> None:
        """Note where a gateway was."""
        if location and ((last := self._last.get(gateway)) is None or time >= last[0]):
            self._last[gateway] = time, line, location

    def push(self, rows: Rows) -> None:
        """Push a gateway with its last place."""
        for gateway, (time, line, location) in self._last.items():
            rows.line = line
            latitude, longitude, altitude = rows.place(location, gateway)
            rows.gateway(Gateway(gateway, None, latitude, longitude, altitude, last_seen=time))
