"""Where a network's reporter takes its records from: loaded files, or generated traffic.

A registry alone says who owns which gateway and nothing about traffic. For it the feed generates
each day when it is asked for, by a seed, so that a month of a large network never stands in
memory at once.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import tomli_w
import tomllib

from dii.network.home import write
from dii.telemetry.synthetic import traffic_day
from dii.units import DAY

if TYPE_CHECKING:
    from dii.telemetry.load import Telemetry

TRAFFIC_FILE: Final = "traffic.toml"
TRAFFIC_METRICS: Final = frozenset(
    {"receptions", "uplinks", "sole_uplinks", "shapley_uplinks", "uplink_units"}
)
"""What generated receptions give."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Generated traffic for the gateways of a registry.

    Attributes
    ----------
    start
        First day, microseconds since 1970.
    days
        How many days there are.
    seed, active, tail
        As in :func:`dii.telemetry.synthetic.traffic`.
    """

    start: int
    days: int
    seed: int = 7
    active: float = 0.5
    tail: bool = True

    @classmethod
    def after(cls, gateways: pa.Table, days: int, seed: int = 7) -> Traffic:
        """Return traffic that starts the day after a registry's latest ``last_seen``."""
        seen = [time for time in gateways["last_seen"].to_pylist() if time is not None]
        return cls(start=(max(seen, default=0) // DAY + 1) * DAY, days=days, seed=seed)


@dataclass(slots=True)
class Feed:
    """Records by time.

    Attributes
    ----------
    telemetry
        What was loaded.
    traffic
        What is generated instead of receptions, or None.
    """

    telemetry: Telemetry
    traffic: Traffic | None = None

    @property
    def gives(self) -> frozenset[str]:
        """Metrics that the records give."""
        return self.telemetry.gives | (TRAFFIC_METRICS if self.traffic else frozenset())

    @property
    def span(self) -> tuple[int, int] | None:
        """First and last time of any record; None where there is none."""
        if self.traffic:
            last = self.traffic.start + self.traffic.days * DAY - 1
            return self.traffic.start, last
        return self.telemetry.span

    def receptions(self, start: int, end: int) -> pa.Table:
        """Return the receptions of [start, end)."""
        traffic = self.traffic
        if traffic is None:
            return _between(self.telemetry.receptions, start, end)
        first = max(start, traffic.start) // DAY
        last = min(end - 1, traffic.start + traffic.days * DAY - 1) // DAY
        days = [
            traffic_day(
                self.telemetry.gateways,
                day * DAY,
                seed=traffic.seed,
                active=traffic.active,
                tail=traffic.tail,
            )
            for day in range(first, last + 1)
        ]
        schema = self.telemetry.receptions.schema
        return _between(pa.concat_tables([schema.empty_table(), *days]), start, end)

    def statuses(self, start: int, end: int) -> pa.Table:
        """Return the statuses whose covered interval meets [start, end)."""
        table = self.telemetry.statuses
        time, covers = table["time"].to_numpy(), table["covers"].to_numpy()
        return table.filter(pa.array((time > start) & (time - covers < end)))

    def save(self, folder: Path) -> None:
        """Write to ``telemetry/`` of a home."""
        self.telemetry.save(folder)
        if self.traffic:
            write(folder / TRAFFIC_FILE, tomli_w.dumps(asdict(self.traffic)).encode())

    @classmethod
    def open(cls, folder: Path) -> Feed | None:
        """Read what :meth:`save` wrote; None where there is nothing."""
        from dii.telemetry.load import Telemetry  # noqa: PLC0415

        if not folder.exists():
            return None
        path = folder / TRAFFIC_FILE
        traffic = Traffic(**tomllib.loads(path.read_text())) if path.exists() else None
        return cls(Telemetry.open(folder), traffic)


def _between(table: pa.Table, start: int, end: int) -> pa.Table:
    time = table["time"].to_numpy()
    if len(time) and np.all(time[1:] >= time[:-1]):
        first, last = np.searchsorted(time, [start, end])
        return table.slice(first, last - first)
    return table.filter(pa.array((time >= start) & (time < end)))
