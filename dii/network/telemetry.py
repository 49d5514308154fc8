"""Records of a network's reporter: loaded telemetry, or generated traffic.

A registry alone names the owners of gateways and has no traffic. For a registry the feed generates
each day on demand, by a seed, so that a month of a large network is never in memory at once.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, astuple, dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tomli_w

from dii import errors
from dii.files import write
from dii.schema import GAP, METRICS, USAGE_GIVEN, Reject
from dii.telemetry import outliers
from dii.telemetry.load import NAMED, Telemetry
from dii.telemetry.metrics import Epoch, Lookback, columns, metrics, plan, sites
from dii.telemetry.names import Pairs, pairs_of, places_of
from dii.telemetry.readers.base import UPLINK_METRICS
from dii.telemetry.synthetic import Population, populate
from dii.telemetry.tables import SCHEMAS, to_table
from dii.units import DAY, SECOND, format_time

TRAFFIC_FILE: Final = "traffic.toml"
LOOKBACK_FILE: Final = "lookback"
HOUR: Final = 3_600 * SECOND
TRAFFIC_METRICS: Final = UPLINK_METRICS - {"excluded_frames"}
"""Metrics that generated receptions give."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Generated traffic for the gateways of a registry.

    Attributes
    ----------
    start
        First day, microseconds since 1970.
    days
        Number of days.
    seed
        Of all draws, see :func:`dii.telemetry.synthetic.populate`.
    """

    start: int
    days: int
    seed: int = 7

    @property
    def end(self) -> int:
        """End of the last day."""
        return self.start + self.days * DAY

    @classmethod
    def after(cls, gateways: pa.Table, days: int, seed: int = 7) -> Traffic:
        """Return traffic that starts the day after a registry's latest ``last_seen``.

        Dates of at most one gateway in 100 that lie far after all others are no part of it.
        """
        seen = gateways["last_seen"].drop_null().to_numpy()
        parts = outliers.divide([seen], GAP) or [outliers.Part(0, 0, 1)]
        late = 0
        while outliers.MOST * (late + parts[-1].count) <= len(seen):
            late += parts.pop().count
        return cls(start=(parts[-1].last // DAY + 1) * DAY, days=days, seed=seed)


@dataclass(slots=True)
class Feed:
    """Records of a reporter, by time.

    Attributes
    ----------
    telemetry
        The loaded telemetry.
    traffic
        Traffic to generate instead of receptions, or None.
    lookback
        The last epoch whose metrics were computed, and its look-back for the next epoch.
    refused
        Records of the last load that :meth:`admit` set aside, as rejects.
    """

    telemetry: Telemetry
    traffic: Traffic | None = None
    lookback: tuple[int, Lookback] | None = None
    refused: pa.Table = field(default_factory=SCHEMAS["rejects"].empty_table)
    _latest: tuple[tuple[object, ...], Epoch] | None = None
    _pairs: tuple[tuple[int, int], Pairs] | None = None
    _since: dict[str, int] | None = None
    _days: dict[int, pa.Table] = field(default_factory=dict)
    _population: Population | None = None

    @property
    def generated(self) -> str | None:
        """Origin of generated traffic for the genesis; None where records are of real gateways."""
        return f"seed {self.traffic.seed}" if self.traffic else None

    @property
    def gives(self) -> frozenset[str]:
        """Metrics that the records give."""
        return self._given & METRICS.keys() - {"own_uplinks"}

    @property
    def gives_usage(self) -> frozenset[str]:
        """Names of ``USAGE`` that the records give."""
        return frozenset(name for given, name in USAGE_GIVEN.items() if given in self._given)

    @property
    def _given(self) -> frozenset[str]:
        """Metrics that the records give once the chain has the owners of applications."""
        given = self.telemetry.gives | (TRAFFIC_METRICS if self.traffic else frozenset())
        return given | {"own_uplinks"} if "usage.delivered" in given else given

    @property
    def span(self) -> tuple[int, int] | None:
        """First and last time of any record; None where there is none."""
        if self.traffic:
            return self.traffic.start, self.traffic.end - 1
        return self.telemetry.span

    @property
    def reaches(self) -> int | None:
        """Time that the records reach: that of the latest record, or the end of the traffic.

        None where there is no record.
        """
        if self.traffic:
            return self.traffic.end
        return self.span[1] if self.span else None

    def receptions(self, start: int, end: int) -> pa.Table:
        """Return the receptions of [start, end)."""
        traffic = self.traffic
        if traffic is None:
            return _between(self.telemetry.receptions, start, end)
        first = max(start, traffic.start) // DAY
        last = (min(end, traffic.end) - 1) // DAY
        days = [self._day(traffic, day) for day in range(first, last + 1)]
        schema = self.telemetry.receptions.schema
        return _between(pa.concat_tables([schema.empty_table(), *days]), start, end)

    def _day(self, plan: Traffic, day: int) -> pa.Table:
        """Generate a day; the last two are kept, since epochs look a minute beyond their end."""
        if day not in self._days:
            if self._population is None:  # made once: it costs as much as some days
                self._population = populate(self.telemetry.gateways, plan.seed)
            self._days = {known: self._days[known] for known in self._days if known == day - 1}
            self._days[day] = self._population.day(day * DAY)
        return self._days[day]

    def statuses(self, start: int, end: int) -> pa.Table:
        """Return the statuses that end in, or whose covered interval meets, [start, end)."""
        table = self.telemetry.statuses
        time, covers = table["time"].to_numpy(), table["covers"].to_numpy()
        return table.filter(pa.array((time >= start) & (time - covers < end)))

    def excluded(self, names: Collection[str], start: int, end: int) -> dict[str, int]:
        """Return the number of excluded frames of a gateway in [start, end), by reason."""
        resolved = dict.fromkeys(names, min(names))
        counts = columns.excluded(self.telemetry.rejected, resolved, start, end)
        rows = counts.filter(pc.equal(counts["gateway"], min(names)))
        return {row["reason"]: row["frames"] for row in rows.to_pylist()}

    def admit(self, start: int, closed: int, before: Feed | None) -> Feed:
        """Return the feed without records that come too late to be accounted for.

        Parameters
        ----------
        start
            Start of epoch 0; earlier records become rejects.
        closed
            End of the last closed epoch. New records before it become one reject, since their
            epochs are settled.
        before
            The feed as it was when those epochs settled.
        """
        telemetry, tables, rejects = self.telemetry, dict[str, pa.Table](), list[Reject]()
        detail = f"before {format_time(start)}"
        for name in outliers.TABLES:
            table = getattr(telemetry, name)
            early, kept = _between(table, -(2**62), start), _between(table, start, 2**62)
            for line, row in enumerate(early.to_pylist(), 1):
                seen = row["gateway"], row["time"]
                rejects.append(Reject(name, line, "before_start", detail, *seen))
            if before is not None:
                settled = _between(getattr(before.telemetry, name), start, closed)
                extra = len(_between(kept, start, closed)) - len(settled)
                if extra:
                    late = f"{extra} {name} of epochs that are settled"
                    rejects.append(Reject(name, extra, "late", late))
                    kept = pa.concat_tables([settled, _between(kept, closed, 2**62)])
            tables[name] = kept
        # The same data may come again, and are set aside again.
        ours = pc.is_in(telemetry.rejected["reason"], pa.array(["before_start", "late"]))
        # Lines count what came together, so they say nothing.
        known = {Reject(**row | {"line": 0}) for row in telemetry.rejected.filter(ours).to_pylist()}
        fresh = to_table("rejects", [one for one in rejects if one._replace(line=0) not in known])
        rejected = pa.concat_tables([telemetry.rejected, fresh])
        lookback = before.lookback if before is not None else None
        telemetry = replace(_keep(telemetry, tables), rejected=rejected)
        return Feed(telemetry, self.traffic, lookback, to_table("rejects", rejects))

    def ending_early(self, start: int, end: int, epochs: range) -> list[str]:
        """Return notes on files that end more than an hour before an epoch that others complete.

        Files that another file continues, such as a rotated log, are left out.

        Parameters
        ----------
        start, end
            Of epoch 0.
        epochs
            The epochs to look at.
        """
        ends, notes = sorted(self.telemetry.ends), []
        reached = max((last for _, last, _ in ends), default=0)
        for file, last, _ in ends:
            epoch = (last - start) // (end - start)
            over = end + epoch * (end - start)
            early = epoch in epochs and last < over - HOUR and over <= reached
            go_on = [first for _, later, first in ends if last < later]
            if early and not any(abs(first - last) <= HOUR for first in go_on):
                before = f"before the end of epoch {epoch}, which other files reach"
                notes.append(f"{file} ends at {format_time(last)}, {before}")
        more = [f"so do {len(notes) - NAMED:,} more files"] * (len(notes) > NAMED)
        return notes[:NAMED] + more

    def pairs(self, origin: int, length: int) -> Pairs:
        """Return the pairs of id and EUI that records state, by epochs from ``origin`` on."""
        if self._pairs is None or self._pairs[0] != (origin, length):
            data = self.telemetry
            found = pairs_of([data.receptions, data.statuses], data.entries, origin, length)
            self._pairs = (origin, length), found
        return self._pairs[1]

    def gateways(self, end: int) -> list[str]:
        """Return the stated names of gateways that are known before a time."""
        if self._since is None:
            self._since = self.telemetry.known_since()
        return [name for name, seen in self._since.items() if seen < end]

    def operators(self, end: int) -> dict[str, str]:
        """Return the operators of the gateways that are known before a time, by stated name."""
        named = self.telemetry.operators()
        return {name: named[name] for name in self.gateways(end) if name in named}

    def epoch(
        self,
        epoch: int,
        origin: int,
        length: int,
        owners: Mapping[str, str],
        consumers: Mapping[str, str] | None = None,
        site_radius_m: int = 0,
        names: Callable[[int], Mapping[str, str]] = lambda _: {},
    ) -> Epoch:
        """Compute an epoch's metrics, usage and exclusions; the latest is kept.

        Epochs in order cost one epoch each, since each leaves a look-back for the next. Any other
        epoch is computed from the first on.

        Parameters
        ----------
        epoch
            Its number.
        origin, length
            Start of epoch 0 and length of each, microseconds.
        owners
            Operators of the gateways in this epoch.
        consumers
            Consumers of the applications in this epoch, named as operators are; None where the
            owners of applications are not known.
        site_radius_m
            Metres within which gateways are of one player; 0 leaves them apart.
        names
            Epoch to the resolved names of stated names, where these differ.
        """
        asked = epoch, origin, length, site_radius_m, owners, consumers, names(epoch)
        if self._latest is not None and self._latest[0] == asked:
            return self._latest[1]
        known = self.lookback or (-1, None)
        after, lookback = known if known[0] < epoch else (-1, None)
        for number in range(after + 1, epoch + 1):
            # The epochs before it are computed for the look-back alone, which owners do not alter.
            start, renamed = origin + number * length, names(number)
            places = places_of(self.telemetry.gateways, renamed) if site_radius_m else {}
            listed = self.gateways(start + length)
            found = metrics(
                self.receptions(start, start + length + plan.BEYOND),
                self.statuses(start, start + length), rejects=self.telemetry.rejected,
                operators=owners, applications=consumers, names=renamed,
                players=sites.players(owners, places, site_radius_m) if site_radius_m else None,
                gateways=[renamed.get(name, name) for name in listed],
                start=start, length=length, gives=self._given, lookback=lookback,
            )  # fmt: skip
            lookback = found.lookback
        if epoch > known[0]:
            self.lookback = epoch, found.lookback
        self._latest = asked, found
        return found

    def save_lookback(self, folder: Path) -> None:
        """Write the look-back of the last epoch; without the file it is computed again."""
        if self.lookback is not None:
            epoch, lookback = self.lookback
            write(folder / LOOKBACK_FILE, epoch.to_bytes(8, "big") + lookback.to_bytes())

    def save(self, folder: Path) -> None:
        """Write the feed to ``telemetry/`` of a home."""
        folder.mkdir(parents=True, exist_ok=True)
        if self.traffic:
            write(folder / TRAFFIC_FILE, tomli_w.dumps(asdict(self.traffic)).encode())
        else:
            (folder / TRAFFIC_FILE).unlink(missing_ok=True)
        self.telemetry.save(folder)  # last, since open() looks for it

    @classmethod
    def open(cls, folder: Path) -> Feed | None:
        """Read what :meth:`save` wrote; None where there is nothing.

        Raises
        ------
        SourceUnreadable, HomeBroken
            A file is not as it was saved.
        """
        try:
            telemetry = Telemetry.open(folder)
        except errors.SourceMissing:  # also where the first saving was interrupted
            return None
        traffic = _open_traffic(folder / TRAFFIC_FILE)
        return cls(telemetry, traffic, _open_lookback(folder / LOOKBACK_FILE))


def near(
    data: Telemetry, gap: int | None, known: tuple[int, int] | None
) -> tuple[Telemetry, pa.Table]:
    """Return telemetry without records that lie far from a network's own, and rejects for these.

    Parameters
    ----------
    data
        The telemetry to take in.
    gap
        Days without a record that may lie between two records; None for any number.
    known
        Start of epoch 0, and the time that the network's records reach; None before it has any.

    Raises
    ------
    FarInTime
        More than one record in 100 lies far from the others, or from the network's.
    """
    times = [getattr(data, name)["time"].to_numpy() for name in outliers.TABLES]
    parts = outliers.divide(times, gap)
    if gap is None or not parts:
        return data, data.rejected.slice(0, 0)
    what, option = f"records lie more than {gap} days apart", "say --gap DAYS"
    kept = outliers.largest(parts)
    if known is not None:
        start, reaches = known
        day = reaches // DAY + gap + 1
        kept = [part for part in parts if part.last >= start and part.first // DAY <= day]
        what = f"records lie more than {gap} days after {format_time(reaches)}, which others reach"
        if parts[0].last < start:
            what = f"records lie before {format_time(start)}, where this network begins"
            option = "load them into a network of their own (--gap DAYS is for later ones)"
    files = ", ".join(sorted(file for file, _ in data.formats)) or "tables"
    apart = outliers.others(parts, kept, lambda _: files, what=what, option=option)
    tables = {}
    for name in outliers.TABLES:
        table = getattr(data, name)
        near_by = [_between(table, part.first, part.last + 1) for part in kept]
        tables[name] = pa.concat_tables([table.slice(0, 0), *near_by])
    told = [(part.count, "far_in_time", str(part), None, part.first) for part in apart]
    far = to_table("rejects", [Reject("records", *row) for row in told])
    rejected = pa.concat_tables([data.rejected, far])
    ends = frozenset(one for one in data.ends if one[1] <= kept[-1].last)
    return replace(_keep(data, tables), rejected=rejected, ends=ends), far


def _keep(data: Telemetry, tables: Mapping[str, pa.Table]) -> Telemetry:
    """Return telemetry with some of its records, without entries that only others support."""
    kept = replace(data, **tables)
    spans, left = _spans(data), _spans(kept)

    def stays(gateway: str, seen: int | None, *stated: str | None) -> bool:
        first, last = spans.get(gateway, (0, -1))
        since = left[gateway][0] if gateway in left else last + 1
        return any(stated) or seen is None or not first <= seen < since

    # Owners, EUIs and countries are of registries: records give none of these in entries.
    names = ("gateway", "last_seen", "operator", "eui", "country")
    rows = zip(*(data.entries[name].to_pylist() for name in names))
    mask = pa.array([stays(*row) for row in rows], pa.bool_())
    return replace(kept, entries=data.entries.filter(mask))


def _spans(data: Telemetry) -> dict[str | None, tuple[int, int]]:
    """Return the first and last time of each gateway's records."""
    tables = [table.select(["gateway", "time"]) for table in (data.receptions, data.statuses)]
    groups = pa.concat_tables(tables, promote_options="default").group_by("gateway")
    found = groups.aggregate([("time", "min"), ("time", "max")])
    spans = zip(found["time_min"].to_pylist(), found["time_max"].to_pylist())
    return dict(zip(found["gateway"].to_pylist(), spans))


def _open_traffic(path: Path) -> Traffic | None:
    try:
        plan = Traffic(**tomllib.loads(path.read_text()))
        if any(type(value) is not int for value in astuple(plan)):
            raise ValueError("a value of the wrong type")
        return plan
    except FileNotFoundError:
        return None
    except (OSError, TypeError, ValueError) as error:
        message = f"not the settings of generated traffic ({error})"
        raise errors.HomeBroken(file=path, message=message) from None


def _open_lookback(path: Path) -> tuple[int, Lookback] | None:
    """Read a look-back; None if there is no readable file, and it is computed again."""
    try:
        data = path.read_bytes()
        return int.from_bytes(data[:8], "big"), Lookback.from_bytes(data[8:])
    except (FileNotFoundError, pa.ArrowException, ValueError, KeyError):
        return None


def _between(table: pa.Table, start: int, end: int) -> pa.Table:
    time = table["time"].to_numpy()
    if len(time) and np.all(time[1:] >= time[:-1]):
        first, last = np.searchsorted(time, [start, end])
        return table.slice(first, last - first)
    return table.filter(pa.array((time >= start) & (time < end)))
