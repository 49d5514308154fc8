"""A slow reference of metrics that follows the definitions word for word, and its tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

import pyarrow as pa

from dii.schema import METRICS, SHAPLEY_UNIT, TABLES, UNATTRIBUTED, USAGE, USAGE_GIVEN
from dii.telemetry.metrics import Epoch, metrics
from dii.telemetry.metrics.plan import MAX_GAP
from dii.units import DAY, PPM, SECOND

START = 17_642 * DAY
SLOT = 300 * SECOND
ALL = frozenset({*METRICS, *USAGE_GIVEN})
UNITS = ("uplink_units", "data_units", "downlink_units")
ADDITIVE = ("receptions", "uplinks", "sole_uplinks", "shapley_uplinks", "downlinks")
ADDITIVE += ("foreign_frames", "own_uplinks", "excluded_frames", *UNITS)
_TYPES = {"string": pa.string(), "int64": pa.int64(), "float64": pa.float64(), "bool": pa.bool_()}

Row = Mapping[str, object]
Result = dict[str, dict[str, int | None]]
Usage = dict[tuple[str, str], dict[str, int | None]]
Found = tuple[Result, Usage, dict[tuple[str, str], int]]
"""Metrics by gateway, usage by application and operator, excluded frames by gateway and reason."""


def table(name: str, rows: Iterable[Row] = ()) -> pa.Table:
    schema = pa.schema([(column.name, _TYPES[column.type]) for column in TABLES[name]])
    return pa.Table.from_pylist(list(rows), schema)


def hears(gateway: str | None, time: int, **more: object) -> Row:
    """One reception of a delivered data frame of device D."""
    row = {"kind": "data", "device": "D", "f_cnt": 1, "payload_hash": 7, "delivered": True}
    row |= {"gateway": gateway, "time": START + time, **more}
    return {**dict.fromkeys(column.name for column in TABLES["receptions"]), **row}


def status(gateway: str, time: int, covers: int, frames: int | None = None) -> Row:
    return {"gateway": gateway, "time": START + time, "covers": covers, "frames": frames}


def rows_of(epoch: Epoch) -> Found:
    """Return an epoch's rows by their keys; every key occurs once, in order."""
    metrics_, usage = epoch.metrics.to_pylist(), epoch.usage.to_pylist()
    excluded = epoch.excluded.to_pylist()
    found = (
        {row.pop("gateway"): row for row in metrics_},
        {(row.pop("application"), row.pop("operator")): row for row in usage},
        {(row["gateway"], row["reason"]): row["frames"] for row in excluded},
    )
    for rows, table_ in zip(found, (metrics_, usage, excluded)):
        assert list(rows) == sorted(rows)
        assert len(rows) == len(table_)
    return found


def epochs(
    receptions: Iterable[Row] = (),
    statuses: Iterable[Row] = (),
    *,
    count: int = 1,
    rejects: Iterable[Row] = (),
    operators: Mapping[str, str] | None = None,
    gateways: Sequence[str] | None = None,
    applications: Mapping[str, str] | None = None,
    players: Mapping[str, str] | None = None,
    lengths: Sequence[int] | None = None,
) -> list[Found]:
    """Compute epochs in order, each from all of the tables and the look-back of the one before."""
    start, lookback, found = START, None, []
    tables = table("receptions", receptions), table("statuses", statuses)
    for length in lengths or [DAY] * count:
        epoch = metrics(
            *tables,
            rejects=table("rejects", rejects),
            operators=operators or {},
            gateways=gateways,
            applications=applications or {},
            players=players,
            start=start,
            length=length,
            gives=ALL,
            lookback=lookback,
        )
        lookback = epoch.lookback
        assert epoch.metrics.column_names == ["gateway", *METRICS]
        assert epoch.metrics.schema.types == [pa.string()] + [pa.int64()] * len(METRICS)
        assert epoch.usage.column_names == ["application", "operator", *USAGE]
        assert epoch.usage.schema.types == [pa.string()] * 2 + [pa.int64()] * len(USAGE)
        found.append(rows_of(epoch))
        start += length
    return found


def days(*tables: Iterable[Row], **about: Any) -> list[Result]:
    """Return the metrics of epochs."""
    return [found for found, _, _ in epochs(*tables, **about)]


# --- the reference -------------------------------------------------------------------------------


def identity(row: Row) -> tuple[object, ...]:
    if row["deduplication_id"] is not None:
        return ("id", row["deduplication_id"])
    about = row["device"], row["f_cnt"], row["payload_hash"]
    if row["device"] is None or about[1:] == (None, None):
        return (*about, row["time"])
    return about


def without_repetitions(receptions: Iterable[Row]) -> list[Row]:
    """Leave out repetitions of a frame with an id at a gateway, within the window.

    A reception without an id is one, too, if the gateway heard the frame with an id near it.
    """
    firsts: dict[tuple[object, ...], int] = {}
    known: dict[tuple[object, ...], list[int]] = defaultdict(list)
    kept = []

    def about(row: Row) -> tuple[object, ...]:
        return row["device"], row["f_cnt"], row["payload_hash"], row["gateway"]

    for row in sorted(receptions, key=lambda row: (row["time"], row["deduplication_id"] or "")):
        key = about(row)
        if row["deduplication_id"] is not None and None not in key:
            if key in firsts and row["time"] <= firsts[key] + 60 * SECOND:
                continue
            firsts[key] = row["time"]
            known[key].append(row["time"])
        kept.append(row)
    return [
        row
        for row in kept
        if row["deduplication_id"] is not None
        or all(abs(row["time"] - time) > 60 * SECOND for time in known[about(row)])
    ]


def frames_of(receptions: Iterable[Row]) -> list[list[Row]]:
    """Group receptions into frames: each window starts with the first that none yet holds."""
    frames: list[list[Row]] = []
    latest: dict[tuple[object, ...], list[Row]] = {}
    for row in sorted(receptions, key=lambda row: row["time"]):
        frame = latest.get(identity(row))
        if frame is None or row["time"] > frame[0]["time"] + 60 * SECOND:
            frame = latest[identity(row)] = []
            frames.append(frame)
        frame.append(row)
    return frames


def known(frame: Iterable[Row], column: str) -> Any:
    """Return the greatest value of a column that is known, or None."""
    return max((row[column] for row in frame if row[column] is not None), default=None)


def is_delivered(frame: Iterable[Row]) -> bool:
    return any(row["kind"] == "data" and row["delivered"] for row in frame)


def count_frame(
    frame: list[Row],
    operators: Mapping[str, str],
    players_of: Mapping[str, str],
    consumer: str | None,
    result: Result,
) -> None:
    named = {row["gateway"] for row in frame if row["gateway"] is not None}
    unknown = [None] * sum(row["gateway"] is None for row in frame)
    players = defaultdict(list)
    for gateway in sorted(named):
        own = ("player", players_of[gateway]) if gateway in players_of else ("gateway", gateway)
        players[own].append(gateway)
    for number in range(len(unknown)):
        players["unknown", number].append(UNATTRIBUTED)
    delivered, airtime, size = is_delivered(frame), known(frame, "airtime"), known(frame, "size")
    part = SHAPLEY_UNIT // len(players)
    for members in players.values():
        for gateway in members:
            counts = result[gateway]
            counts["receptions"] += 1
            counts["foreign_frames"] += any(row["foreign"] for row in frame)
            if delivered:
                counts["uplinks"] += 1
                counts["sole_uplinks"] += len(named) + len(unknown) == 1
                each = part // len(members)
                first = gateway == members[0]
                counts["shapley_uplinks"] += part - each * (len(members) - 1) if first else each
                counts["own_uplinks"] += consumer is not None and operators.get(gateway) == consumer
                if airtime is not None:
                    add(counts, "uplink_units", -(-airtime // 10_000))
                if size is not None:
                    add(counts, "data_units", max(1, -(-size // 24)))


def add(counts: dict[str, int | None], metric: str, units: int) -> None:
    counts[metric] = (counts[metric] or 0) + units


def usage_of(
    here: Sequence[list[Row]],
    sent: Iterable[Row],
    operators: Mapping[str, str],
    latest: dict[tuple[str, str], tuple[int, int]],
) -> Usage:
    """Count by application and operator; ``latest`` has each device's last counter and time."""
    usage: Usage = defaultdict(
        lambda: {"delivered": 0, "uplink_units": None, "downlinks": 0, "lost": None}
    )
    carried = [f for f in here if is_delivered(f) and known(f, "application") is not None]
    for frame in sorted(carried, key=lambda f: (f[0]["time"], known(f, "f_cnt") or 0)):
        application, airtime = known(frame, "application"), known(frame, "airtime")
        owners = {operators.get(row["gateway"], UNATTRIBUTED) for row in frame}
        for owner in owners | {UNATTRIBUTED}:
            counts = usage[application, owner]
            counts["delivered"] += 1
            if airtime is not None:
                add(counts, "uplink_units", -(-airtime // 10_000))
        device, number, time = known(frame, "device"), known(frame, "f_cnt"), frame[0]["time"]
        if device is not None and number is not None:
            since, before = latest.get((application, device), (time, number))
            latest[application, device] = time, number
            leap = number - before
            gap = leap - 1 if 0 < leap <= MAX_GAP and time - since <= 7 * DAY else 0
            add(usage[application, UNATTRIBUTED], "lost", gap)
    for row in sent:
        if row["application"] is not None:
            for owner in {operators.get(row["gateway"], UNATTRIBUTED), UNATTRIBUTED}:
                usage[row["application"], owner]["downlinks"] += 1
    for (_, owner), counts in usage.items():
        if not counts["delivered"]:
            counts["uplink_units"] = 0
            counts["lost"] = 0 if owner == UNATTRIBUTED else None
    return dict(usage)


def heard_slots(
    receptions: Iterable[Row], statuses: Iterable[Row], starts: Sequence[int], gateway: str
) -> dict[int, tuple[int, int, int]]:
    """First and last frame and number of frames by the slot's start."""
    heard = [(time, 1) for time in {r["time"] for r in receptions if r["gateway"] == gateway}]
    heard += {(s["time"], s["frames"]) for s in statuses if s["gateway"] == gateway and s["frames"]}
    slots: dict[int, tuple[int, int, int]] = {}
    for time, frames in heard:
        epochs = [start for start in starts if start <= time]
        if epochs and frames > 0:
            slot = time - (time - max(epochs)) % SLOT
            first, last, count = slots.get(slot, (time, time, 0))
            slots[slot] = min(first, time), max(last, time), count + frames
    return slots


def is_deaf(slots: dict[int, tuple[int, int, int]], slot: int) -> bool:
    """Return whether the gateway hears nothing in a slot, and nothing for too long before it."""
    before = [heard for start, heard in slots.items() if start < slot]
    if slot in slots or not before:
        return False
    last = max(until for _, until, _ in before)
    week = [heard for heard in before if heard[0] >= last - 7 * DAY]
    number, first = sum(frames for *_, frames in week), min(since for since, *_ in week)
    return number >= 2 and slot - last > max(DAY, 20 * Fraction(last - first, number - 1))


def reference(
    receptions: Sequence[Row],
    statuses: Sequence[Row],
    rejects: Sequence[Row],
    operators: Mapping[str, str],
    gateways: Sequence[str],
    applications: Mapping[str, str],
    players: Mapping[str, str] | None,
    lengths: Sequence[int],
) -> Iterator[Found]:
    heard = [r for r in receptions if r["kind"] != "downlink" and r["time"] >= START]
    frames = frames_of(without_repetitions(heard))
    ends = [START + sum(lengths[: number + 1]) for number in range(len(lengths))]
    starts = [end - length for end, length in zip(ends, lengths)]
    watched: set[object] = set()
    latest: dict[tuple[str, str], tuple[int, int]] = {}
    for start, end in zip(starts, ends):
        touching = [
            s for s in statuses if s["time"] >= start and s["time"] - max(s["covers"], 1) + 1 < end
        ]
        watched |= {s["gateway"] for s in touching}
        here = [frame for frame in frames if start <= frame[0]["time"] < end]
        stopped = {
            (r["gateway"], r["time"])
            for r in rejects
            if r["reason"] == "simulated" and r["gateway"] and start <= (r["time"] or 0) < end
        }
        excluded = [gateway for gateway, _ in stopped]
        seen = {r["gateway"] for r in receptions if start <= r["time"] < end} - {None}
        sent = [r for r in receptions if r["kind"] == "downlink" and start <= r["time"] < end]
        seen |= {r["gateway"] or UNATTRIBUTED for frame in [*here, sent] for r in frame}
        seen |= {s["gateway"] for s in touching} | set(gateways) | set(excluded)
        result: Result = {gateway: dict.fromkeys(METRICS, 0) for gateway in sorted(seen)}
        for counts in result.values():
            counts.update(dict.fromkeys(UNITS))
        for frame in here:
            consumer = applications.get(known(frame, "application"))
            together = operators if players is None else players
            count_frame(frame, operators, together, consumer, result)
        for row in sent:
            counts = result[row["gateway"] or UNATTRIBUTED]
            counts["downlinks"] += 1
            if row["airtime"] is not None:
                add(counts, "downlink_units", -(-row["airtime"] // 10_000))
        for gateway, counts in result.items():
            for metric, frames_counted in zip(UNITS, ("uplinks", "uplinks", "downlinks")):
                if not counts[frames_counted]:
                    counts[metric] = 0
            counts["excluded_frames"] = excluded.count(gateway)
            counts["connected_ppm"] = counts["online_ppm"] = None
            if gateway in watched:
                slots = heard_slots(heard, statuses, starts, gateway)
                signs = [(r["time"], r["time"]) for r in heard if r["gateway"] == gateway]
                signs += [
                    (s["time"] - max(s["covers"], 1) + 1, s["time"])
                    for s in touching
                    if s["gateway"] == gateway
                ]
                grid = range(start, end, SLOT)
                connected = [
                    slot
                    for slot in grid
                    if any(a < min(slot + SLOT, end) and b >= slot for a, b in signs)
                ]
                online = [slot for slot in connected if not is_deaf(slots, slot)]
                counts["connected_ppm"] = len(connected) * PPM // len(grid)
                counts["online_ppm"] = len(online) * PPM // len(grid)
        reasons = {(gateway, "simulated"): excluded.count(gateway) for gateway in excluded}
        yield result, usage_of(here, sent, operators, latest), reasons
