"""From tables to integers per gateway and epoch; the only module that knows the query engine.

The problem: count each radio frame once, although several gateways hear it, devices repeat it, and
neither midnight nor the edge of a piece of work ends it; on a laptop, for fifty million receptions.

**One frame.** Receptions are of one frame when they carry the same ``deduplication_id``, or, for
want of one, the same device, frame counter and payload hash (null equals null), and come at most
60 s after the frame's *first* reception; what comes later begins another frame. The window holds
for both keys: servers deduplicate within seconds, and the state between epochs has to stay small.
Where no device is known, or neither counter nor hash, only receptions of the same microsecond can
be of one frame. A frame belongs to the epoch of its first reception, with all of its receptions:
those of the 60 s after an epoch are read along, and the look-back tells the next epoch which
frames are begun. A gateway counts once per frame, however often, and with however many antennas,
it heard it. A reception that names no gateway is a receiver, and a player, of its own. Downlinks
are not heard but sent: each row is a frame of its own, of the epoch in which its time lies.

**Delivered** is a frame of kind ``data`` of which some reception says so. Unknown is not
delivered: a gateway's own log cannot tell what became of what it heard (at Gouda 59 % was of other
networks), and it must not be paid for. ``uplinks``, ``sole_uplinks``, ``shapley_uplinks``,
``uplink_units`` and ``data_units`` count delivered frames; ``receptions`` counts all, and
``foreign_frames`` those of which some reception says that they are of another network. A data unit
is 24 bytes of payload, and an empty frame is one, too: an acknowledgement is not free (Helium's
HIP-4, 2020). Of what receptions of a frame disagree on (size, airtime, application, device and
counter), the greatest holds.

**Usage** is of an application, by operator. An operator *delivered* each delivered frame that a
gateway of its own heard, whoever else did: what a consumer owes one operator then depends on that
operator alone. First come, first paid was rejected: servers give all receptions of a frame one
time, so that ids would decide. The row without an operator (``UNATTRIBUTED``) is the application
as a whole, each frame once: who pays several operators divides by it. Only there stands what was
*lost*, the counters missing between one frame of a device and its next, however many epochs apart;
frames that nobody heard are nobody's. A counter that does not rise, or leaps by more than
``MAX_GAP``, began anew, and so does a device after 7 days of silence: of these nothing is known.
Devices can count what they like, so no more is lost than a report can carry.

**Signs of life** go by the time of each reception and status. The epoch's slots of 5 minutes begin
with the epoch; a last, shorter one counts as one. A slot is *connected* when a reception lies in
it or a status's interval (time - covers, time] touches it. *Heard* by a gateway are frames at the
distinct times of its receptions, one each, and as many as each distinct status with ``frames`` > 0
says, at its time. It is *deaf* at t when t - last > max(24 h, 20 (last - first) / (n - 1)), where
``last`` is its last frame before t, and n, if at least 2, and ``first`` are number and first of
its frames in the slots whose first frame lies in the 7 days up to ``last``. A slot is *online* when
it is connected and the gateway is not deaf throughout it. (With 141 frames or more in 7 days the
mean interval is at most 72 minutes, 20 of which are the 24 h. So the look-back holds the slots of
a gateway's last 141 frames at most, and still is exact.)

**Plain frames.** Most frames have at most three receptions. Grouping receptions by what identifies a
frame tells whose: the least, the greatest, and the sum of the gateways' numbers less both. Only
other frames are joined with their receptions.

**The work** is a plan of SELECT statements, each put into a table or view of its name: joins, groups,
windows and casts that every engine reads (``sqlglot`` carries them to Spark). A slice of some hours
hands the frames it has begun to the next, exactly as an epoch does. Tried and left: windows over
all receptions (twice the time of grouping and joining), a day in one piece (the same work, several
times the memory), and finding a repeated frame's windows in rounds of SQL (quadratic for a device
that says the same thing all day; a walk over these few receptions is linear). Starting the engine
costs more than most epochs of a small network are worth, so one in which nothing happened is
answered without it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Final

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from dii.telemetry.schema import METRICS, SHAPLEY_UNIT, UNATTRIBUTED, USAGE, USAGE_GIVEN
from dii.units import DAY, PPM, SECOND

WINDOW: Final = 60 * SECOND
"""How long after its first reception a frame can still be heard."""
SLOT: Final = 300 * SECOND
"""The grain of ``connected_ppm`` and ``online_ppm``."""
DATA_UNIT: Final = 24
"""Bytes of payload in one of ``data_units``."""
ENOUGH: Final = 141
"""Frames in 7 days from which 20 mean intervals (7 days / 140 at most) are within 24 h."""
MEMORY: Final = 7 * DAY
"""How long what a gateway heard, and a device's counter, is of use."""
MAX_GAP: Final = 16_384
"""Greatest leap of a frame counter within a session (LoRaWAN 1.0.3 regional parameters)."""
EXCLUSIONS: Final = ("simulated", "too_strong")
"""Reasons of rejects that are frames set aside, not records that cannot be read."""
SLICE_ROWS: Final = 1_000_000
"""Receptions worked on at a time, about; no result depends on it."""

_TEXT, _INT = pa.string(), pa.int64()
_NOBODY: Final = pa.array([], _TEXT)
_ONE: Final = pa.scalar(1, pa.int32())
_FRAMES: Final = pa.schema({"name": _TEXT, "number": _INT, "body": _INT, "begun": _INT})
_HEARD: Final = pa.schema({"gateway": _TEXT, "since": _INT, "until": _INT, "frames": _INT})
_KNOWN: Final = pa.schema({"gateway": _TEXT})
_WALKED: Final = pa.schema({"entry": pa.int32(), "frame": pa.int32(), "begun": _INT})
_COUNTERS: Final = pa.schema({"application": _TEXT, "device": _TEXT, "f_cnt": _INT, "time": _INT})
_OPERATORS: Final = pa.schema({"gateway": _TEXT, "operator": _TEXT})
_CONSUMERS: Final = pa.schema({"application": _TEXT, "operator": _TEXT})
_USAGE: Final = pa.schema({"application": _TEXT, "operator": _TEXT, **dict.fromkeys(USAGE, _INT)})
_EXCLUDED: Final = pa.schema({"gateway": _TEXT, "reason": _TEXT, "frames": _INT})
_OWN: Final = pa.schema({"gate": pa.int32(), "own_uplinks": _INT})
_USED: Final = pa.schema({"application": _TEXT, "owner": pa.int32(), **dict.fromkeys(USAGE, _INT)})
_REJECTS: Final = pa.schema({"reason": _TEXT, "gateway": _TEXT, "time": _INT})
_COLUMNS: Final = [
    *("time", "gateway", "kind", "deduplication_id", "device", "f_cnt", "payload_hash"),
    *("size", "airtime", "delivered", "foreign", "application"),
]
_NAMED: Final = frozenset({"application", "device"})
_FEW: Final = ("gateway", "kind", "deduplication_id", "application")
"""Texts that repeat: read as Parquet has them, as numbers into a dictionary."""
_BATCH: Final = 1 << 17
"""Rows of a batch: the grain of cutting by time and of the engine's parallel reading."""

_Cut = Callable[[int, int, list[str]], Iterator[pa.RecordBatch]]


@dataclass(frozen=True, slots=True)
class Lookback:
    """What an epoch needs to know of the time before it.

    Attributes
    ----------
    end
        Up to when it knows, microseconds since 1970.
    frames
        Frames begun in the last 60 s: what identifies them (``name``, ``number``, ``body``), and
        when they were ``begun``.
    heard
        Per gateway the slots in which it lately heard something: times of the first and the last
        frame (``since``, ``until``) and how many ``frames``.
    known
        Every ``gateway`` that ever had a status.
    counters
        Of each ``device`` of an ``application`` that was delivered in the last 7 days, its latest
        counter (``f_cnt``) and ``time``.
    """

    end: int
    frames: pa.Table
    heard: pa.Table
    known: pa.Table
    counters: pa.Table

    @classmethod
    def empty(cls, end: int) -> Lookback:
        """Return that nothing is known."""
        return cls(end, *(one.empty_table() for one in (_FRAMES, _HEARD, _KNOWN, _COUNTERS)))

    def to_bytes(self) -> bytes:
        """Return a form to keep: compressed Arrow streams, the same for equal states."""
        sink = pa.BufferOutputStream()
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        end = pa.table({"end": [self.end]})
        for table in (end, self.frames, self.heard, self.known, self.counters):
            with pa.ipc.new_stream(sink, table.schema, options=options) as stream:
                stream.write_table(table.combine_chunks())
        return bytes(sink.getvalue())

    @classmethod
    def from_bytes(cls, data: bytes) -> Lookback:
        """Read what ``to_bytes`` wrote."""
        source = pa.BufferReader(data)
        end, *tables = (pa.ipc.open_stream(source).read_all() for _ in range(5))
        return cls(end["end"][0].as_py(), *tables)


@dataclass(frozen=True, slots=True)
class Epoch:
    """What the records of an epoch come to.

    Attributes
    ----------
    metrics
        A row a ``gateway``, in the order of ids (the registered ones and every one with a
        reception, status or excluded frame in the epoch), with a column of nullable int64 per
        metric in the order of ``METRICS``.

        Counts are 0 where nothing was heard. ``connected_ppm`` and ``online_ppm`` are null for a
        gateway that never had a status: nobody watched it. ``uplink_units`` sums the frames whose
        airtime is known, and is null if there are uplinks but none of known airtime; so do
        ``downlink_units``, and ``data_units`` with sizes. The row ``UNATTRIBUTED``, there if a
        reception or downlink names no gateway, counts each as a receiver or sender.
    usage
        A row an ``application`` and ``operator`` with any, in the order of names, and a column of
        nullable int64 per name of ``USAGE``. The operator ``UNATTRIBUTED`` stands for the whole
        application; ``lost`` is null in all other rows, and where no counter is known. Gateways
        without an operator count for the whole only.
    excluded
        The excluded ``frames`` by ``gateway`` and ``reason``: what ``excluded_frames`` sums up.
    lookback
        What the next epoch needs to know.
    """

    metrics: pa.Table
    usage: pa.Table
    excluded: pa.Table
    lookback: Lookback


def metrics(
    receptions: pa.Table | pads.Dataset,
    statuses: pa.Table,
    *,
    operators: Mapping[str, str] | pa.Table,
    gateways: Sequence[str] | None,
    start: int,
    length: int,
    gives: frozenset[str],
    players: Mapping[str, str] | None = None,
    applications: Mapping[str, str] | None = None,
    rejects: pa.Table | None = None,
    lookback: Lookback | None = None,
) -> Epoch:
    """Compute the metrics and the usage of one epoch, [start, start + length).

    Parameters
    ----------
    receptions, statuses, rejects
        Tables of ``telemetry.schema``. Rows of other times may be among them, in any order
        (batches of other times cost next to nothing). Receptions are needed up to 60 s after the
        end; statuses after the end count as far as their interval reaches back into the epoch.
        A dataset of receptions (Parquet files) is read a slice at a time.
    operators
        Gateway to operator, as valid in this epoch; a table has the columns ``gateway`` and
        ``operator``. A gateway that is not in it is a player of its own.
    gateways
        The registered gateways; each gets a row.
    start, length
        Microseconds since 1970; microseconds.
    gives
        Names of the metrics and the usage that the sources give; the others are left out.
    players
        Gateway to player of ``shapley_uplinks``, where some players are several operators together
        (see ``sites``); gateways of one operator are of one player.
    applications
        Application to the operator whose own it is, as valid in this epoch. Without it, whose
        applications are whose is not known, and ``own_uplinks`` is left out.
    lookback
        What the epoch before returned; without it nothing is known of the time before.

    Raises
    ------
    ValueError
        ``lookback`` ends after ``start``, or ``gives`` names something else.

    Notes
    -----
    ``shapley_uplinks`` is the Shapley value of the game in which a coalition is worth the
    delivered uplinks that at least one of its members heard (an uplink is divided equally among
    the k players that heard it): floor(720720 / k) to a player; of this floor(720720 / (k m)) to
    each of its m gateways that heard the uplink, and what remains to the lowest gateway id.
    Players are exact for up to 16 players per uplink.
    """
    end = start + length
    before = lookback or Lookback.empty(start)
    if before.end > start:
        raise ValueError(f"the look-back ends at {before.end}, after the epoch's start, {start}")
    if unknown := gives.difference(METRICS, USAGE_GIVEN):
        raise ValueError(f"neither metrics nor usage: {', '.join(sorted(unknown))}")
    if applications is None:
        gives -= {"own_uplinks"}
    columns = ["gateway", *(name for name in METRICS if name in gives)]
    uses = [
        "application",
        "operator",
        *(USAGE_GIVEN[name] for name in USAGE_GIVEN if name in gives),
    ]
    carries = not gives.isdisjoint({"own_uplinks", *USAGE_GIVEN})
    receptions = _encoded(receptions)
    cut = _cutter(receptions)
    rows, named = _survey(cut(start, end, ["gateway"]))
    if not (rows or _has_status(statuses, start, end) or _has_excluded(rejects, start, end)):
        quiet = _silence(before, gateways, end)
        return replace(quiet, metrics=quiet.metrics.select(columns), usage=quiet.usage.select(uses))
    _, named_later = _survey(cut(end, end + WINDOW, ["gateway"]))
    if not isinstance(operators, Mapping):
        operators = dict(zip(*(operators[name].to_pylist() for name in _OPERATORS.names)))
    # Slices are whole slots, so that no slot lies in two of them.
    step = min(DAY, max(1, length * SLICE_ROWS // max(1, rows) // SLOT) * SLOT)

    with closing(duckdb.connect(config=_SETTINGS)) as connection:
        engine = _Engine(connection, {"start": start, "end": end, "slots": -(-length // SLOT)})
        engine.give(
            statuses=statuses,
            rejects=_REJECTS.empty_table() if rejects is None else rejects,
            operators=(owned := _rows(_OPERATORS, operators.items())),
            players=owned if players is None else _rows(_OPERATORS, players.items()),
            named=_rows(_KNOWN, ((name,) for name in named.union(gateways or ()))),
            named_later=_rows(_KNOWN, ((name,) for name in named_later)),
            known_before=before.known,
        )
        consumers = _rows(_CONSUMERS, (applications or {}).items())
        frames, heard, counters = before.frames, before.heard, before.counters
        counts, sent, lives, own, used = [], [], [], [_OWN.empty_table()], [_USED.empty_table()]
        engine.give(heard_before=heard)
        engine.make("watched", "excluded", "known", "gates")
        gates = engine.ask("numbers")["gateway"].combine_chunks()
        # Deafness takes 24 h: within a day, only what was heard before it can make deaf.
        for day in range(start, end, DAY):
            night, slots = min(day + DAY, end), []
            for begin in range(day, night, step):
                stop = min(begin + step, night)
                engine.params |= {"begin": begin, "stop": stop}
                entries = _entries(cut(begin, stop + WINDOW, _COLUMNS), receptions.schema)
                names = _names(entries, counters) if carries else _NOBODY
                engine.give(receptions=_numbered(entries, gates, names), begun_before=frames)
                engine.see("identified")
                engine.make("keys", "plain")
                engine.see("singles")
                engine.give(walked=_walk(engine.ask("repeated")))
                engine.make("heard", "parts", "frames")
                counts.append(engine.ask("counts"))
                sent.append(engine.ask("sent"))
                slots.append(engine.ask("slots"))
                frames = engine.ask("begun")
                if carries:
                    engine.give(
                        counters_before=_coded(counters, names),
                        consumers=_coded(consumers, names),
                    )
                    engine.make("carried", "counted")
                    own.append(engine.ask("own"))
                    used.append(_named(engine.ask("used"), names))
                    counters = _named(engine.ask("counters"), names)
            engine.params |= {"begin": day, "stop": night}
            engine.give(heard_before=heard, slots=pa.concat_tables(slots))
            lives.append(engine.ask("lives"))
            heard = engine.ask("recent")
        found = {"counts": counts, "sent": sent, "lives": lives, "own": own, "used": used}
        engine.give(**{name: pa.concat_tables(tables) for name, tables in found.items()})
        return Epoch(
            engine.ask("metrics").select(columns),
            engine.ask("usage").select(uses),
            engine.ask("excluded"),
            Lookback(end, frames, heard, engine.ask("known"), counters),
        )


# --- an epoch without the engine ---------------------------------------------------------------


def _has_status(statuses: pa.Table, start: int, end: int) -> bool:
    """Whether some status is ``watched`` in the epoch."""
    first = pc.subtract(statuses["time"], pc.max_element_wise(statuses["covers"], 1))
    late, early = pc.greater_equal(statuses["time"], start), pc.less(first, end - 1)
    return bool(pc.any(pc.and_(late, early)).as_py())


def _has_excluded(rejects: pa.Table | None, start: int, end: int) -> bool:
    """Whether some reject is ``excluded`` in the epoch."""
    if rejects is None:
        return False
    time, reason = rejects["time"], pc.is_in(rejects["reason"], pa.array(EXCLUSIONS))
    within = pc.and_(pc.greater_equal(time, start), pc.less(time, end))
    return bool(pc.any(pc.and_(pc.and_(within, reason), rejects["gateway"].is_valid())).as_py())


def _silence(before: Lookback, gateways: Sequence[str] | None, end: int) -> Epoch:
    """Return what the plan makes of an epoch without receptions, statuses and excluded frames.

    Frames begun before a short epoch can still be heard after it. What else is known of gateways
    stays as it is: a gateway's past counts back from its last frame, not from now.
    """
    names = pa.array(sorted(set(gateways or ())), _TEXT)
    zero = pa.repeat(pa.scalar(0), len(names))
    watched = pc.is_in(names, before.known["gateway"].combine_chunks())
    uptime = pc.if_else(watched, zero, pa.scalar(None, _INT))
    counts = {name: uptime if name.endswith("_ppm") else zero for name in METRICS}
    begun = before.frames.filter(pc.greater_equal(before.frames["begun"], end - WINDOW))
    recent = pc.greater_equal(before.counters["time"], end - MEMORY)
    return Epoch(
        pa.table({"gateway": names} | counts),
        _USAGE.empty_table(),
        _EXCLUDED.empty_table(),
        Lookback(end, begun, before.heard, before.known, before.counters.filter(recent)),
    )


# --- the plan ----------------------------------------------------------------------------------


def _floor(dividend: str, divisor: str) -> str:
    """Integer division of what is not negative: engines differ in ``/`` and in ``//``."""
    return f"CAST((({dividend}) - ({dividend}) % ({divisor})) / ({divisor}) AS BIGINT)"


def _slot(time: str) -> str:
    return _floor(f"{time} - $start", str(SLOT))


def _ppm(slots: str) -> str:
    return _floor(f"COALESCE({slots}, 0) * {PPM}", "$slots")


def _units(microseconds: str) -> str:
    return _floor(f"{microseconds} + 9999", "10000")


def _sums(*names: str) -> str:
    return ", ".join(f"CAST(SUM({name}) AS BIGINT) AS {name}" for name in names)


_USES: Final = _sums(*USAGE)
_COUNTS: Final = _sums(
    *("receptions", "uplinks", "sole_uplinks", "shapley_uplinks"),
    *("uplink_units", "data_units", "foreign_frames"),
)
_EACH: Final = _floor("f.part", "m.members")
_PATIENCE: Final = _floor("20 * (MAX(h.until) - MIN(h.since))", "GREATEST(SUM(h.frames) - 1, 1)")
_SAME: Final = """h.name = k.name AND h.number IS NOT DISTINCT FROM k.number
        AND h.body IS NOT DISTINCT FROM k.body"""

PLAN: Final[Mapping[str, str]] = {
    # Statuses whose interval touches the epoch, as the first and the last moment they cover.
    "watched": """
SELECT gateway, time, frames, time - GREATEST(covers, 1) + 1 AS since
FROM statuses
WHERE time >= $start AND time - GREATEST(covers, 1) + 1 < $end""",
    "known": """
SELECT gateway FROM known_before UNION SELECT gateway FROM watched ORDER BY gateway""",
    "excluded": f"""
SELECT gateway, reason, COUNT(*) AS frames
FROM rejects
WHERE gateway IS NOT NULL AND time >= $start AND time < $end
  AND reason IN ({", ".join(map(repr, EXCLUSIONS))})
GROUP BY gateway, reason
ORDER BY gateway, reason""",
    # Numbers in the order of ids stand for gateways, and an operator's lowest for the operator.
    # Listed gateways get a row in any case.
    "gates": """
SELECT n.gateway, n.gate, n.listed, o.operator,
       CASE WHEN p.operator IS NULL THEN n.gate
            ELSE MIN(n.gate) OVER (PARTITION BY p.operator) END AS player,
       CASE WHEN o.operator IS NULL THEN 0
            ELSE MIN(n.gate) OVER (PARTITION BY o.operator) END AS owner
FROM (SELECT gateway, MAX(listed) AS listed,
             CAST(ROW_NUMBER() OVER (ORDER BY gateway) AS INTEGER) AS gate
      FROM (SELECT gateway, 1 AS listed FROM named
            UNION ALL SELECT gateway, 1 AS listed FROM watched
            UNION ALL SELECT gateway, 1 AS listed FROM excluded
            UNION ALL SELECT gateway, 0 AS listed FROM named_later
            UNION ALL SELECT gateway, 0 AS listed FROM heard_before) a
      GROUP BY gateway) n
LEFT JOIN operators o ON n.gateway = o.gateway
LEFT JOIN players p ON n.gateway = p.gateway""",
    "numbers": """
SELECT gateway FROM gates ORDER BY gate""",
    # What identifies a frame apart from its time: the server's id; or device, counter and hash,
    # where the time stands in for what is not known.
    "identified": """
SELECT r.entry, r.time, r.f_cnt, r.airtime, CASE WHEN r.size < 1 THEN 1 ELSE r.size END AS size,
       COALESCE(r.gate, -r.entry) AS gate,
       CASE WHEN kind = 'data' AND delivered THEN 1 ELSE 0 END AS delivered,
       CASE WHEN r."foreign" THEN 1 ELSE 0 END AS stranger, r.app, r.dev,
       COALESCE(deduplication_id, device, '@' || CAST(time AS VARCHAR)) AS name,
       CASE WHEN deduplication_id IS NULL THEN f_cnt END AS number,
       CASE WHEN deduplication_id IS NOT NULL THEN NULL
            WHEN f_cnt IS NULL AND payload_hash IS NULL THEN time
            ELSE payload_hash END AS body
FROM receptions r
WHERE kind <> 'downlink'""",
    # One frame each, unless it is heard again after the window or was begun before the slice.
    # Of at most three receptions the gateways are the least, the greatest, and the sum less both.
    "keys": f"""
SELECT name, number, body, frame, begun, ended, low, high, middle, delivered, stranger, units,
       data, app, dev, f_cnt,
       CASE WHEN receptions <= 3 AND ended <= begun + {WINDOW} AND begun >= $begin AND begun < $stop
            THEN 1 ELSE 0 END AS plain
FROM (SELECT name, number, body, MIN(entry) AS frame, MIN(time) AS begun, MAX(time) AS ended,
             COUNT(entry) AS receptions, MIN(gate) AS low, MAX(gate) AS high,
             CASE WHEN COUNT(entry) = 3
                  THEN CAST(SUM(gate) - MIN(gate) - MAX(gate) AS INTEGER) END AS middle,
             MAX(delivered) AS delivered, MAX(stranger) AS stranger,
             {_units("MAX(airtime)")} AS units,
             {_floor(f"MAX(size) + {DATA_UNIT - 1}", str(DATA_UNIT))} AS data,
             MAX(app) AS app, MAX(dev) AS dev, MAX(f_cnt) AS f_cnt
      FROM (SELECT name, number, body, entry, time, gate, delivered, stranger, airtime, size, app,
                   dev, f_cnt
            FROM identified
            UNION ALL
            SELECT name, number, body, CAST(NULL AS INTEGER) AS entry, begun AS time,
                   CAST(NULL AS INTEGER) AS gate, CAST(NULL AS INTEGER) AS delivered,
                   CAST(NULL AS INTEGER) AS stranger, CAST(NULL AS BIGINT) AS airtime,
                   CAST(NULL AS BIGINT) AS size, CAST(NULL AS INTEGER) AS app,
                   CAST(NULL AS INTEGER) AS dev, CAST(NULL AS BIGINT) AS f_cnt
            FROM begun_before) a
      GROUP BY name, number, body) k""",
    # Plain frames: their one to three gateways, which of these are one player's, and whose.
    "plain": f"""
SELECT delivered, stranger, units, data, app, low, middle, high, low_middle, low_high, middle_high,
       low_owner, middle_owner, high_owner, {_floor(str(SHAPLEY_UNIT), "players")} AS part
FROM (SELECT delivered, stranger, units, data, app, low, middle, high, owner_one AS low_owner,
             CASE WHEN owner_two <> owner_one THEN owner_two END AS middle_owner,
             CASE WHEN owner_three <> owner_one AND owner_three <> owner_two
                  THEN owner_three END AS high_owner,
             CASE WHEN one = two THEN 1 ELSE 0 END AS low_middle,
             CASE WHEN one = three THEN 1 ELSE 0 END AS low_high,
             CASE WHEN two = three THEN 1 ELSE 0 END AS middle_high,
             1 + CASE WHEN middle IS NULL OR one = two OR two = three THEN 0 ELSE 1 END
               + CASE WHEN high IS NULL OR one = three THEN 0 ELSE 1 END AS players
      FROM (SELECT k.delivered, k.stranger, k.units, k.data, k.app, k.low, k.middle, k.high,
                   COALESCE(a.player, k.low) AS one, COALESCE(b.player, k.middle) AS two,
                   COALESCE(c.player, k.high) AS three, COALESCE(a.owner, 0) AS owner_one,
                   COALESCE(b.owner, 0) AS owner_two, COALESCE(c.owner, 0) AS owner_three
            FROM (SELECT delivered, stranger, units, data, app, low,
                         CASE WHEN middle > low AND middle < high THEN middle END AS middle,
                         CASE WHEN high > low THEN high END AS high
                  FROM keys
                  WHERE plain = 1) k
            LEFT JOIN gates a ON k.low = a.gate
            LEFT JOIN gates b ON k.middle = b.gate
            LEFT JOIN gates c ON k.high = c.gate) p) q""",
    # Each gateway of a plain frame; the lowest of a player's has what remains, and each owner one.
    "singles": f"""
SELECT low AS gate, low_owner AS owner, delivered, stranger, units, data, app,
       CASE WHEN high IS NULL THEN 1 ELSE 2 END AS receivers,
       part - (low_middle + low_high) * {_floor("part", "1 + low_middle + low_high")} AS share
FROM plain
UNION ALL
SELECT high AS gate, high_owner AS owner, delivered, stranger, units, data, app, 2 AS receivers,
       {_floor("part", "1 + low_high + middle_high")} AS share
FROM plain
WHERE high IS NOT NULL
UNION ALL
SELECT middle AS gate, middle_owner AS owner, delivered, stranger, units, data, app, 2 AS receivers,
       CASE WHEN low_middle = 1 THEN {_floor("part", "2 + middle_high")}
            ELSE part - middle_high * {_floor("part", "1 + middle_high")} END AS share
FROM plain
WHERE middle IS NOT NULL""",
    "repeated": f"""
SELECT k.frame, k.begun, h.time, h.entry
FROM identified h
JOIN keys k ON {_SAME}
WHERE k.ended > k.begun + {WINDOW}
ORDER BY k.frame, h.time, h.entry""",
    # Who heard the others that are begun in the slice. Unknown receivers get numbers below 0.
    "heard": f"""
SELECT k.frame, k.begun, h.f_cnt, h.gate, COALESCE(g.player, h.gate) AS player, h.delivered,
       h.stranger, h.airtime, h.size, h.app, h.dev
FROM identified h
JOIN keys k ON {_SAME}
LEFT JOIN gates g ON h.gate = g.gate
WHERE k.ended <= k.begun + {WINDOW} AND k.begun >= $begin AND k.begun < $stop AND k.plain = 0
UNION ALL
SELECT w.frame, w.begun, h.f_cnt, h.gate, COALESCE(g.player, h.gate) AS player, h.delivered,
       h.stranger, h.airtime, h.size, h.app, h.dev
FROM identified h
JOIN walked w ON h.entry = w.entry
LEFT JOIN gates g ON h.gate = g.gate
WHERE w.begun >= $begin AND w.begun < $stop""",
    "begun": f"""
SELECT name, number, body, MAX(begun) AS begun
FROM (SELECT name, number, body, begun FROM begun_before
      UNION ALL
      SELECT name, number, body, begun FROM keys WHERE ended <= begun + {WINDOW}
      UNION ALL
      SELECT h.name, h.number, h.body, w.begun
      FROM identified h
      JOIN walked w ON h.entry = w.entry) a
WHERE begun >= $stop - {WINDOW} AND begun < $stop
GROUP BY name, number, body
ORDER BY name, number, body""",
    # A player's part in a frame; mostly one gateway's.
    "parts": """
SELECT frame, player, MIN(gate) AS low, MAX(gate) AS high,
       MAX(delivered) AS delivered, MAX(stranger) AS stranger,
       MAX(airtime) AS airtime, MAX(size) AS size
FROM heard
GROUP BY frame, player""",
    "frames": f"""
SELECT frame, COUNT(*) AS players, MAX(delivered) AS delivered, MAX(stranger) AS stranger,
       {_floor(str(SHAPLEY_UNIT), "COUNT(*)")} AS part,
       {_units("MAX(airtime)")} AS units,
       {_floor(f"MAX(size) + {DATA_UNIT - 1}", str(DATA_UNIT))} AS data
FROM parts
GROUP BY frame""",
    "counts": f"""
SELECT CASE WHEN gate < 0 THEN 0 ELSE gate END AS gate,
       COUNT(*) AS receptions,
       CAST(SUM(delivered) AS BIGINT) AS uplinks,
       CAST(SUM(CASE WHEN receivers = 1 THEN delivered ELSE 0 END) AS BIGINT) AS sole_uplinks,
       CAST(SUM(CASE WHEN delivered = 1 THEN share ELSE 0 END) AS BIGINT) AS shapley_uplinks,
       CAST(SUM(CASE WHEN delivered = 1 THEN units END) AS BIGINT) AS uplink_units,
       CAST(SUM(CASE WHEN delivered = 1 THEN data END) AS BIGINT) AS data_units,
       CAST(SUM(stranger) AS BIGINT) AS foreign_frames
FROM (SELECT gate, delivered, stranger, units, data, receivers, share
      FROM singles
      UNION ALL
      SELECT p.low AS gate, f.delivered, f.stranger, f.units, f.data,
             f.players AS receivers, f.part AS share
      FROM parts p
      JOIN frames f ON p.frame = f.frame
      WHERE p.low = p.high
      UNION ALL
      SELECT m.gate, f.delivered, f.stranger, f.units, f.data, m.members AS receivers,
             CASE WHEN m.gate = m.low THEN f.part - (m.members - 1) * {_EACH}
                  ELSE {_EACH} END AS share
      FROM (SELECT frame, low, gate, COUNT(*) OVER (PARTITION BY frame, low) AS members
            FROM (SELECT h.frame, p.low, h.gate
                  FROM heard h
                  JOIN parts p ON h.frame = p.frame AND h.player = p.player
                  WHERE p.low < p.high
                  GROUP BY h.frame, p.low, h.gate) a) m
      JOIN frames f ON m.frame = f.frame) s
GROUP BY CASE WHEN gate < 0 THEN 0 ELSE gate END""",
    "sent": f"""
SELECT COALESCE(gate, 0) AS gate, COUNT(*) AS downlinks,
       CAST(SUM({_units("airtime")}) AS BIGINT) AS downlink_units
FROM receptions
WHERE kind = 'downlink' AND time >= $begin AND time < $stop
GROUP BY COALESCE(gate, 0)""",
    # Delivered frames of applications, and the counters of their devices one after another.
    "carried": """
SELECT frame, units, begun AS time, app AS application, dev AS device, f_cnt
FROM keys
WHERE plain = 1 AND delivered = 1 AND app IS NOT NULL
UNION ALL
SELECT h.frame, f.units, MIN(h.begun) AS time,
       MAX(h.app) AS application, MAX(h.dev) AS device, MAX(h.f_cnt) AS f_cnt
FROM heard h
JOIN frames f ON h.frame = f.frame
WHERE f.delivered = 1
GROUP BY h.frame, f.units
HAVING MAX(h.app) IS NOT NULL""",
    "counted": """
SELECT application, device, f_cnt, time,
       LAG(f_cnt) OVER (PARTITION BY application, device ORDER BY time, f_cnt) AS before,
       LAG(time) OVER (PARTITION BY application, device ORDER BY time, f_cnt) AS since,
       LEAD(time) OVER (PARTITION BY application, device ORDER BY time, f_cnt) AS later
FROM (SELECT application, device, f_cnt, time FROM carried
      WHERE device IS NOT NULL AND f_cnt IS NOT NULL
      UNION ALL
      SELECT application, device, f_cnt, time FROM counters_before) a""",
    "counters": f"""
SELECT application, device, f_cnt, time
FROM counted
WHERE later IS NULL AND time >= $stop - {MEMORY}
ORDER BY application, device""",
    # Owner 0 is the application as a whole.
    "used": f"""
SELECT application, owner, {_USES}
FROM (SELECT application, 0 AS owner, 1 AS delivered, units AS uplink_units, 0 AS downlinks,
             CAST(NULL AS BIGINT) AS lost
      FROM carried
      UNION ALL
      SELECT app, owner, 1, units, 0, NULL
      FROM singles
      WHERE delivered = 1 AND owner > 0
      UNION ALL
      SELECT c.application, o.owner, 1, c.units, 0, NULL
      FROM carried c
      JOIN (SELECT DISTINCT h.frame, g.owner
            FROM heard h
            JOIN gates g ON h.gate = g.gate
            WHERE g.owner > 0) o ON c.frame = o.frame
      UNION ALL
      SELECT d.app, d.owner, 0, NULL, 1, NULL
      FROM (SELECT app, time, 0 AS owner FROM receptions WHERE kind = 'downlink'
            UNION ALL
            SELECT r.app, r.time, g.owner
            FROM receptions r
            JOIN gates g ON r.gate = g.gate
            WHERE r.kind = 'downlink' AND g.owner > 0) d
      WHERE d.time >= $begin AND d.time < $stop
      UNION ALL
      SELECT application, 0, 0, NULL, 0,
             CASE WHEN f_cnt > before AND f_cnt <= before + {MAX_GAP} AND time <= since + {MEMORY}
                  THEN f_cnt - before - 1 ELSE 0 END
      FROM counted
      WHERE time >= $begin) u
WHERE application IS NOT NULL
GROUP BY application, owner""",
    "own": """
SELECT s.gate, COUNT(*) AS own_uplinks
FROM singles s
JOIN consumers b ON s.app = b.application
JOIN gates g ON s.gate = g.gate
WHERE s.delivered = 1 AND g.operator = b.operator
GROUP BY s.gate
UNION ALL
SELECT h.gate, COUNT(DISTINCT h.frame) AS own_uplinks
FROM carried c
JOIN consumers b ON c.application = b.application
JOIN heard h ON c.frame = h.frame
JOIN gates g ON h.gate = g.gate
WHERE g.operator = b.operator
GROUP BY h.gate""",
    # What each gateway heard, by slot.
    "slots": f"""
SELECT gate, {_slot("time")} AS slot, MIN(time) AS since, MAX(time) AS until,
       CAST(SUM(LEAST(frames, {ENOUGH})) AS BIGINT) AS frames
FROM (SELECT DISTINCT gate, time, 1 AS frames
      FROM identified
      WHERE time < $stop AND gate > 0
      UNION ALL
      SELECT g.gate, w.time, w.frames
      FROM (SELECT DISTINCT gateway, time, frames
            FROM watched
            WHERE frames > 0 AND time >= $begin AND time < $stop) w
      JOIN gates g ON w.gateway = g.gateway) a
GROUP BY gate, {_slot("time")}""",
    # Slots of the day that are covered (each once, by what an interval adds to those before it),
    # and those of them that are not deaf.
    "lives": f"""
SELECT c.gate, CAST(SUM(c.high - c.low + 1) AS BIGINT) AS connected,
       CAST(SUM(c.high - c.low + 1 - CASE WHEN d.gate IS NULL THEN 0 ELSE
           GREATEST(0, LEAST(c.high, d.high) - GREATEST(c.low, d.low) + 1) END) AS BIGINT) AS online
FROM (SELECT gate, high, CASE WHEN reach >= low THEN reach + 1 ELSE low END AS low
      FROM (SELECT gate, low, high, MAX(high) OVER (
                PARTITION BY gate ORDER BY low, high
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS reach
            FROM (SELECT gate, slot AS low, slot AS high FROM slots
                  UNION ALL
                  SELECT g.gate, {_slot("GREATEST(w.since, $begin)")} AS low,
                         {_slot("LEAST(w.time, $stop - 1)")} AS high
                  FROM watched w
                  JOIN gates g ON w.gateway = g.gateway
                  WHERE w.time >= $begin AND w.since < $stop) a) b
      WHERE reach IS NULL OR high > reach) c
LEFT JOIN (SELECT p.gate, COALESCE(MIN(s.slot) - 1, $slots) AS high,
                  CASE WHEN p.patience < $start THEN 0
                       ELSE {_slot("p.patience")} + 1 END AS low
           FROM (SELECT g.gate, MAX(h.until) + GREATEST({DAY}, {_PATIENCE}) AS patience
                 FROM heard_before h
                 JOIN gates g ON h.gateway = g.gateway
                 GROUP BY g.gate
                 HAVING SUM(h.frames) >= 2) p
           LEFT JOIN slots s ON p.gate = s.gate
           GROUP BY p.gate, p.patience) d ON c.gate = d.gate
GROUP BY c.gate""",
    "recent": f"""
SELECT gateway, since, until, frames
FROM (SELECT g.gateway, s.since, s.until, s.frames,
             MAX(s.until) OVER (PARTITION BY s.gate) AS final
      FROM (SELECT gate, since, until, frames,
                   SUM(frames) OVER (PARTITION BY gate ORDER BY since DESC
                                     ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS later
            FROM (SELECT gate, since, until, frames FROM slots
                  UNION ALL
                  SELECT g.gate, h.since, h.until, h.frames
                  FROM heard_before h
                  JOIN gates g ON h.gateway = g.gateway) a) s
      JOIN gates g ON s.gate = g.gate
      WHERE COALESCE(s.later, 0) < {ENOUGH}) b
WHERE since >= final - {MEMORY}
ORDER BY gateway, since""",
    "metrics": f"""
SELECT g.gateway,
       CASE WHEN k.gateway IS NOT NULL THEN {_ppm("l.connected")} END AS connected_ppm,
       CASE WHEN k.gateway IS NOT NULL THEN {_ppm("l.online")} END AS online_ppm,
       COALESCE(c.receptions, 0) AS receptions,
       COALESCE(c.uplinks, 0) AS uplinks,
       COALESCE(c.sole_uplinks, 0) AS sole_uplinks,
       COALESCE(c.shapley_uplinks, 0) AS shapley_uplinks,
       CASE WHEN c.uplinks > 0 THEN c.uplink_units ELSE 0 END AS uplink_units,
       CASE WHEN s.gate IS NOT NULL THEN s.downlink_units ELSE 0 END AS downlink_units,
       CASE WHEN c.uplinks > 0 THEN c.data_units ELSE 0 END AS data_units,
       COALESCE(s.downlinks, 0) AS downlinks,
       COALESCE(c.foreign_frames, 0) AS foreign_frames,
       COALESCE(w.own_uplinks, 0) AS own_uplinks,
       COALESCE(e.frames, 0) AS excluded_frames
FROM (SELECT gateway, gate, listed FROM gates
      UNION ALL SELECT '{UNATTRIBUTED}' AS gateway, 0 AS gate, 0 AS listed) g
LEFT JOIN (SELECT gate, {_COUNTS} FROM counts GROUP BY gate) c ON g.gate = c.gate
LEFT JOIN (SELECT gate, {_sums("downlinks", "downlink_units")}
           FROM sent
           GROUP BY gate) s ON g.gate = s.gate
LEFT JOIN (SELECT gate, {_sums("connected", "online")} FROM lives GROUP BY gate) l
  ON g.gate = l.gate
LEFT JOIN (SELECT gate, {_sums("own_uplinks")} FROM own GROUP BY gate) w ON g.gate = w.gate
LEFT JOIN (SELECT gateway, {_sums("frames")} FROM excluded GROUP BY gateway) e
  ON g.gateway = e.gateway
LEFT JOIN known k ON g.gateway = k.gateway
WHERE g.listed = 1 OR c.gate IS NOT NULL OR s.gate IS NOT NULL
ORDER BY g.gateway""",
    "usage": f"""
SELECT u.application, COALESCE(g.operator, '{UNATTRIBUTED}') AS operator, u.delivered,
       CASE WHEN u.delivered > 0 THEN u.uplink_units ELSE 0 END AS uplink_units, u.downlinks,
       CASE WHEN u.owner = 0 AND u.delivered = 0 THEN 0
            WHEN u.lost > {USAGE["lost"].maximum} THEN {USAGE["lost"].maximum}
            ELSE u.lost END AS lost
FROM (SELECT application, owner, {_USES}
      FROM used
      GROUP BY application, owner) u
LEFT JOIN gates g ON u.owner = g.gate
ORDER BY u.application, COALESCE(g.operator, '{UNATTRIBUTED}')""",
}
"""The statements by the name of the table that each makes; ``$names`` are parameters."""

_SETTINGS: Final[dict[str, str | bool | int | float | list[str]]] = {
    "preserve_insertion_order": False,
    "python_enable_replacements": False,
}


class _Engine:
    """Runs the plan in a database in memory."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, params: dict[str, int]) -> None:
        self.connection = connection
        self.params = params

    def _params(self, name: str) -> dict[str, int]:
        return {key: self.params[key] for key in re.findall(r"\$(\w+)", PLAN[name])}

    def give(self, **tables: pa.Table) -> None:
        """Put tables under names, in the place of those that had them."""
        for name, table in tables.items():
            self.connection.register(name, table)

    def make(self, *names: str) -> None:
        """Compute tables that stay here."""
        for name in names:
            self.connection.execute(
                f"CREATE OR REPLACE TEMP TABLE {name} AS {PLAN[name]}", self._params(name)
            )

    def see(self, *names: str) -> None:
        """Say what views stand for; what they are made of may come later."""
        for name in names:
            self.connection.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS {PLAN[name]}")

    def ask(self, name: str) -> pa.Table:
        """Compute a table that is handed out."""
        found = self.connection.sql(PLAN[name], params=self._params(name))
        return found.to_arrow_table()


# --- rows in and out ---------------------------------------------------------------------------


def _encoded(source: pa.Table | pads.Dataset) -> pa.Table | pads.Dataset:
    """Return receptions; texts of Parquet files that repeat come as numbers into dictionaries."""
    if not isinstance(source, pads.FileSystemDataset) or not isinstance(
        source.format, pads.ParquetFileFormat
    ):
        return source
    few = [name for name in _FEW if source.schema.field(name).type == _TEXT]
    schema = source.schema
    for name in few:
        field = schema.field(name).with_type(pa.dictionary(pa.int32(), _TEXT))
        schema = schema.set(schema.get_field_index(name), field)
    form = pads.ParquetFileFormat(read_options=pads.ParquetReadOptions(dictionary_columns=few))
    return pads.dataset(source.files, schema, format=form, filesystem=source.filesystem)


def _cutter(source: pa.Table | pads.Dataset) -> _Cut:
    """Return what yields the columns of the rows of a span of time."""
    if isinstance(source, pads.Dataset):

        def read(start: int, stop: int, columns: list[str]) -> Iterator[pa.RecordBatch]:
            within = (pc.field("time") >= start) & (pc.field("time") < stop)
            return iter(source.to_batches(columns=columns, filter=within))

        return read
    index = []
    for batch in source.select(_COLUMNS).to_batches(max_chunksize=_BATCH):
        bounds = pc.min_max(batch["time"]).as_py()
        index.append((bounds["min"], bounds["max"], batch))

    def cut(start: int, stop: int, columns: list[str]) -> Iterator[pa.RecordBatch]:
        for first, last, batch in index:
            if first < stop and last >= start:
                part = batch.select(columns)
                if first < start or last >= stop:
                    times = batch["time"]
                    part = part.filter(
                        pc.and_(pc.greater_equal(times, start), pc.less(times, stop))
                    )
                yield part

    return cut


def _survey(batches: Iterable[pa.RecordBatch]) -> tuple[int, set[str]]:
    """Count rows and collect the gateways they name."""
    rows, names = 0, set[str | None]()
    for batch in batches:
        rows += len(batch)
        column = batch["gateway"]
        if pa.types.is_dictionary(column.type):
            column = column.dictionary.take(column.indices.unique())
        names.update(column.unique().to_pylist())
    return rows, {name for name in names if name}


def _entries(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> pa.Table:
    """Return the rows as a table, numbered from 1."""
    table = pa.Table.from_batches(batches, pa.schema([schema.field(name) for name in _COLUMNS]))
    return table.append_column("entry", pa.array(np.arange(1, len(table) + 1, dtype=np.int32)))


def _numbered(entries: pa.Table, gates: pa.Array, names: pa.Array) -> pa.Table:
    """Return receptions with numbers for gateways (from 1), applications and devices."""
    texts = entries.drop_columns(["gateway", "application"])
    return (
        texts.append_column("gate", pc.add(_places(entries["gateway"], gates), _ONE))
        .append_column("app", _places(entries["application"], names))
        .append_column("dev", _places(entries["device"], names))
    )


def _places(column: pa.ChunkedArray, names: pa.Array) -> pa.ChunkedArray:
    """Return where each text stands among names, from 0; null where it is null or not there."""
    if not pa.types.is_dictionary(column.type):
        return pc.index_in(column, names, skip_nulls=True)
    chunks = [
        pc.index_in(chunk.dictionary, names, skip_nulls=True).take(chunk.indices)
        for chunk in column.chunks
    ]
    return pa.chunked_array(chunks, pa.int32())


def _names(*tables: pa.Table) -> pa.Array:
    """Return all applications and devices in order: what their numbers stand for."""
    found = []
    for column in (table[name] for table in tables for name in _NAMED):
        few = pa.types.is_dictionary(column.type)
        found += [chunk.dictionary for chunk in column.chunks] if few else [column.unique()]
    names = pa.chunked_array(found, _TEXT).unique().drop_null()
    return names.take(pc.sort_indices(names))


def _coded(table: pa.Table, names: pa.Array) -> pa.Table:
    """Return a table with numbers, in the order of names, for names: they group far quicker."""
    for name in _NAMED.intersection(table.column_names):
        place = table.column_names.index(name)
        table = table.set_column(place, name, _places(table[name], names))
    return table


def _named(table: pa.Table, names: pa.Array) -> pa.Table:
    """Return a table with names for numbers."""
    for name in _NAMED.intersection(table.column_names):
        place = table.column_names.index(name)
        table = table.set_column(place, name, names.take(table[name]))
    return table


def _rows(schema: pa.Schema, rows: Iterable[tuple[object, ...]]) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(schema.names, row)) for row in rows], schema)


def _walk(repeated: pa.Table) -> pa.Table:
    """Divide receptions that share an identity, in the order of time, into frames.

    A window begins with the first reception that the window before it does not hold; SQL has no
    word for this. A frame is called after its first entry.
    """
    key = start = frame = -1
    frames, starts = [], []
    columns = [repeated[name].to_pylist() for name in ("frame", "begun", "time", "entry")]
    for number, begun, time, entry in zip(*columns):
        if number != key:
            key, start, frame = number, begun, entry
        if time > start + WINDOW:
            start, frame = time, entry
        frames.append(frame)
        starts.append(start)
    walked = {"entry": repeated["entry"], "frame": frames, "begun": starts}
    return pa.table(walked, schema=_WALKED)
