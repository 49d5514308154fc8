"""Metrics: integers per gateway and epoch, counted from tables of records.

The problem: count each radio frame once, although several gateways hear it, devices repeat it, and
neither midnight nor the edge of a piece of work ends it; on a laptop, for fifty million receptions.

**One frame.** Receptions are of one frame when they carry the same ``deduplication_id``, or, for
want of one, the same device, frame counter and payload hash (null equals null), and come at most
60 s after the frame's *first* reception; a later reception begins another frame. The window holds
for both keys: servers deduplicate within seconds, and the state between epochs has to stay small.
Where no device is known, or neither counter nor hash, only receptions of the same microsecond can
be of one frame. A frame belongs to the epoch of its first reception, with all of its receptions:
those of the 60 s after an epoch are read along, and the look-back tells the next epoch which
frames are begun. A gateway counts once per frame, however often, and with however many antennas,
it heard it. A reception that names no gateway is a receiver, and a player, of its own. Downlinks
are not heard but sent: each row is a frame of its own, of the epoch in which its time lies.

**Delivered** is a frame of kind ``data`` of which some reception says so. Unknown is not
delivered: a gateway's own log cannot tell which of its frames were delivered (at Gouda 59 % were of
other networks), and undelivered frames must not be paid for. ``uplinks``, ``sole_uplinks``,
``shapley_uplinks``, ``uplink_units`` and ``data_units`` count delivered frames; ``receptions``
counts all, and ``foreign_frames`` those of which some reception says that they are of another
network. A data unit is 24 bytes of payload, and an empty frame is one, too: an acknowledgement is
not free (Helium's HIP-4, 2020). Where receptions of a frame disagree (size, airtime, application,
device and counter), the greatest value counts.

**Usage** is of an application, by operator. An operator *delivered* each delivered frame that a
gateway of its own heard, even if others heard it, too: a consumer's debt to an operator then
depends on that operator alone. First come, first paid was rejected: servers give all receptions of
a frame one time, so that ids would decide. The row without an operator (``UNATTRIBUTED``) is the
application as a whole, each frame once: a consumer of several operators divides by it. Only this
row has *lost*, the counters missing between one frame of a device and its next, however many epochs
apart; frames that no gateway heard belong to no operator. A counter that does not rise, or leaps by
more than ``MAX_GAP``, was reset, and so was a device after 7 days of silence: nothing is known of
the frames between. Devices can state any counter, so ``lost`` is cut to the bound of a report.

**Names.** Records state names of gateways, and several names may be one gateway (see ``names``): it
has one row, and counts once per frame. Frames heard *before* the epoch are kept under the stated
names, since names are resolved anew in each epoch; an earlier frame that two names of one gateway
heard counts under both.

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

**A repetition** is a reception by one gateway of a frame of one device, counter and payload, within
the window, that the server gave another id; a reception without an id repeats a reception with an
id within 60 s before or after it. A repetition counts in no metric, but is a sign of life.

**The work** is done by the statements of `plan`, a slice of some hours at a time, which hands the
frames it has begun to the next, exactly as an epoch does. Starting the query engine costs more than
most epochs of a small network are worth, so one in which nothing happened is answered without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from dii.schema import METRICS, USAGE, USAGE_GIVEN, Metric
from dii.telemetry import names as naming
from dii.telemetry.metrics import columns, plan
from dii.telemetry.tables import SCHEMAS, with_column
from dii.units import DAY

SLICE_ROWS: Final = 1_000_000
"""Receptions worked on at a time, about; no result depends on it."""

_TEXT, _INT = pa.string(), pa.int64()
_NOBODY: Final = pa.array([], _TEXT)
_FRAMES: Final = pa.schema({"name": _TEXT, "number": _INT, "body": _INT, "begun": _INT})
_HEARD: Final = pa.schema({"gateway": _TEXT, "since": _INT, "until": _INT, "frames": _INT})
_KNOWN: Final = pa.schema({"gateway": _TEXT})
_CONSUMERS: Final = pa.schema({"application": _TEXT, "operator": _TEXT})
_COUNTERS: Final = pa.schema({"application": _TEXT, "device": _TEXT, "f_cnt": _INT, "time": _INT})
_USAGE: Final = pa.schema({"application": _TEXT, "operator": _TEXT, **dict.fromkeys(USAGE, _INT)})
_USED: Final = pa.schema({"application": _TEXT, "owner": pa.int32(), **dict.fromkeys(USAGE, _INT)})
_TALLIES: Final = pa.schema({"gate": pa.int32(), **dict.fromkeys(plan.TALLIED, _INT)})


@dataclass(frozen=True, slots=True)
class Lookback:
    """State that an epoch takes over from the epochs before it.

    Attributes
    ----------
    end
        Time up to which records are known, microseconds since 1970.
    frames
        Frames begun in the last 60 s: their identity (``name``, ``number``, ``body``) and the time
        at which they were ``begun``.
    heard
        Per stated name of a gateway, the recent slots in which it heard frames: times of the first
        and the last frame (``since``, ``until``) and the number of ``frames``.
    known
        Every stated name of a ``gateway`` that ever had a status.
    counters
        Latest counter (``f_cnt``) and its ``time`` of each ``device`` of an ``application`` with
        delivered frames in the last 7 days.
    """

    end: int
    frames: pa.Table
    heard: pa.Table
    known: pa.Table
    counters: pa.Table

    @classmethod
    def empty(cls, end: int) -> Lookback:
        """Return the look-back of a network without records."""
        return cls(end, *(schema.empty_table() for schema in (_FRAMES, _HEARD, _KNOWN, _COUNTERS)))

    def renamed(self, names: Mapping[str, str]) -> Lookback:
        """Return the same under resolved names."""
        heard, known = (naming.renamed(table, names) for table in (self.heard, self.known))
        return replace(self, heard=heard, known=known)

    def to_bytes(self) -> bytes:
        """Return compressed Arrow streams, byte for byte the same for equal look-backs."""
        sink = pa.BufferOutputStream()
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        end = pa.table({"end": [self.end]})
        for table in (end, self.frames, self.heard, self.known, self.counters):
            with pa.ipc.new_stream(sink, table.schema, options=options) as stream:
                stream.write_table(_without_leftovers(table).combine_chunks())
        return bytes(sink.getvalue())

    @classmethod
    def from_bytes(cls, data: bytes) -> Lookback:
        """Return the look-back that ``to_bytes`` wrote."""
        source = pa.BufferReader(data)
        end, *tables = (pa.ipc.open_stream(source).read_all() for _ in range(5))
        return cls(end["end"][0].as_py(), *tables)


@dataclass(frozen=True, slots=True)
class Epoch:
    """Metrics and usage of an epoch.

    Attributes
    ----------
    metrics
        One row for each ``gateway`` in the order of ids (registered gateways, and gateways with a
        reception, status or excluded frame in the epoch), with a column of nullable int64 for each
        metric in the order of ``METRICS``.

        Counts are 0 where nothing was heard. ``connected_ppm`` and ``online_ppm`` are null for a
        gateway that never had a status. ``uplink_units`` sums the frames of known airtime, and is
        null if there are uplinks but none of known airtime; likewise ``downlink_units``, and
        ``data_units`` with sizes. The row ``UNATTRIBUTED`` exists if a reception or downlink names
        no gateway, and counts each of them as a receiver or sender.
    usage
        One row for each ``application`` and ``operator`` with any usage, in the order of names,
        with a column of nullable int64 for each name of ``USAGE``. The operator ``UNATTRIBUTED``
        stands for the whole application; ``lost`` is null in all other rows, and where no counter
        is known. Gateways without an operator count for the whole only.
    excluded
        Number of excluded ``frames`` by ``gateway`` and ``reason``; ``excluded_frames`` sums them.
    lookback
        State that the next epoch takes over.
    cut
        Number of values above the bound of their metric or usage, by name. They are set to the
        bound, since a report with a greater value is refused.
    """

    metrics: pa.Table
    usage: pa.Table
    excluded: pa.Table
    lookback: Lookback
    cut: Mapping[str, int] = field(default_factory=dict)


def _without_leftovers(table: pa.Table) -> pa.Table:
    """Return an equal table whose null slots hold zeros, so that equal tables give equal bytes."""
    for name in [kind.name for kind in table.schema if table[kind.name].null_count]:
        column = table[name]
        filled = column.fill_null("" if column.type == _TEXT else 0)
        cleaned = pc.if_else(column.is_valid(), filled, pa.scalar(None, column.type))
        table = with_column(table, name, cleaned)
    return table


def metrics(
    receptions: pa.Table | pads.Dataset,
    statuses: pa.Table,
    *,
    operators: Mapping[str, str],
    gateways: Sequence[str] | None,
    start: int,
    length: int,
    gives: frozenset[str],
    names: Mapping[str, str] | None = None,
    players: Mapping[str, str] | None = None,
    applications: Mapping[str, str] | None = None,
    rejects: pa.Table | None = None,
    lookback: Lookback | None = None,
) -> Epoch:
    """Compute the metrics and the usage of one epoch, [start, start + length).

    Parameters
    ----------
    receptions, statuses, rejects
        Tables of ``dii.schema``. Rows of other times may be among them, in any order
        (batches of other times cost next to nothing). Receptions are needed up to 120 s after the
        end; statuses after the end count as far as their interval reaches back into the epoch.
        A dataset of receptions (Parquet files) is read a slice at a time.
    names
        Stated name to the name that stands for its gateway in this epoch, where these differ (see
        ``names``). All other arguments, and the results but the look-back, have resolved names.
    operators
        Gateway to operator, as valid in this epoch. A gateway that is not in it is a player of its
        own.
    gateways
        The registered gateways; each gets a row.
    start, length
        Microseconds since 1970; microseconds.
    gives
        Names of the metrics and the usage that the sources give; the others are left out.
    players
        Gateway to player of ``shapley_uplinks``, where some players are several operators together
        (see ``sites``); all gateways of an operator have the same player.
    applications
        Application to its operator, as valid in this epoch. Without it the owners of applications
        are unknown, and ``own_uplinks`` is left out.
    lookback
        Look-back of the epoch before; by default that of a network without records.

    Raises
    ------
    ValueError
        ``lookback`` ends after ``start``, or ``gives`` holds an unknown name.

    Notes
    -----
    ``shapley_uplinks`` is the Shapley value of the game in which a coalition is worth the
    delivered uplinks that at least one of its members heard (an uplink is divided equally among
    the k players that heard it): floor(720720 / k) to a player; of this floor(720720 / (k m)) to
    each of its m gateways that heard the uplink, and what remains to the lowest gateway id.
    Players are exact for up to 16 players per uplink.
    """
    end, renamed = start + length, names or {}
    before = lookback or Lookback.empty(start)
    rejects = SCHEMAS["rejects"].empty_table() if rejects is None else rejects
    if before.end > start:
        raise ValueError(f"the look-back ends at {before.end}, after the epoch's start, {start}")
    if unknown := gives.difference(METRICS, USAGE_GIVEN):
        raise ValueError(f"neither metrics nor usage: {', '.join(sorted(unknown))}")
    if applications is None:
        gives -= {"own_uplinks"}
    counted = ["gateway", *(name for name in METRICS if name in gives)]
    uses = ["application", "operator", *(use for name, use in USAGE_GIVEN.items() if name in gives)]
    carries = not gives.isdisjoint({"own_uplinks", *USAGE_GIVEN})
    receptions = columns.encoded(receptions)
    cut = columns.cutter(receptions)
    rows, named = columns.survey(cut(start, end, ["gateway"]))
    _, named_later = columns.survey(cut(end, end + plan.BEYOND, ["gateway"]))
    watched = columns.watched(statuses, start, end)
    aside = columns.excluded(rejects, renamed, start, end)
    known = {*before.known["gateway"].to_pylist(), *watched["name"].to_pylist()}
    listed = {*named, *(gateways or ()), *watched["name"].to_pylist()}
    others = {*named_later, *before.heard["gateway"].to_pylist()}
    allied = operators if players is None else players
    gates = columns.gates(listed, others, known, aside, renamed, operators, allied)
    if not (rows or len(watched) or len(aside)):
        quiet = _silence(before, gates, aside, end)
        return replace(quiet, metrics=quiet.metrics.select(counted), usage=quiet.usage.select(uses))
    # Slices are whole slots, so that no slot lies in two of them.
    step = min(DAY, max(1, length * SLICE_ROWS // max(1, rows) // plan.SLOT) * plan.SLOT)

    with closing(plan.Engine(start=start, end=end, slots=-(-length // plan.SLOT))) as engine:
        stated = columns.stated(gates, renamed)
        engine.keep(watched=watched, gates=gates, stated=stated)
        owners = applications or {}
        consumers = pa.table([[*owners], [*owners.values()]], schema=_CONSUMERS)
        frames, heard, counters = before.frames, before.heard, before.counters
        tallies, used = [_TALLIES.empty_table()], [_USED.empty_table()]
        engine.give(heard_before=heard)
        # Deafness takes 24 h: within a day, only frames heard before it can make a gateway deaf.
        for day in range(start, end, DAY):
            night, slots = min(day + DAY, end), []
            for begin in range(day, night, step):
                stop = min(begin + step, night)
                engine.params |= {"begin": begin, "stop": stop}
                batches = cut(begin, stop + plan.BEYOND, columns.COLUMNS)
                entries = columns.entries(batches, receptions.schema)
                texts = columns.names(entries, counters) if carries else _NOBODY
                numbered = columns.numbered(entries, stated, texts)
                counting = numbered
                engine.give(receptions=numbered, received=numbered, stated_before=frames)
                engine.give(begun_before=columns.resolved(frames, renamed))
                engine.make("identified", "comparable", "witnessed", kind="VIEW")
                if numbered["deduplication_id"].null_count < len(numbered):
                    counting = columns.without_copies(numbered, engine.ask("copies"))
                    engine.give(receptions=counting)
                if columns.mixed(numbered, frames):
                    doubled = engine.ask("doubled")["entry"]
                    engine.give(receptions=columns.without(counting, doubled))
                engine.make("keys", "plain")
                engine.make("singles", kind="VIEW")
                engine.give(walked=columns.walk(engine.ask("repeated")))
                engine.make("heard", "parts", "frames")
                tallies += map(engine.ask, ("counts", "sent"))
                slots.append(engine.ask("slots"))
                frames = engine.ask("begun")
                if carries:
                    engine.give(counters_before=columns.coded(counters, texts))
                    engine.give(consumers=columns.coded(consumers, texts))
                    engine.make("carried", "counted")
                    tallies.append(engine.ask("own"))
                    used.append(columns.named(engine.ask("used"), texts))
                    counters = columns.named(engine.ask("counters"), texts)
            engine.params |= {"begin": day, "stop": night}
            engine.give(heard_before=heard, slots=pa.concat_tables(slots))
            tallies.append(engine.ask("lives"))
            heard = engine.ask("recent")
        engine.give(tallies=pa.concat_tables(tallies, promote_options="default"))
        rows, many = _bounded(engine.ask("metrics").select(counted), METRICS)
        engine.give(used=pa.concat_tables(used))
        usage, more = _bounded(engine.ask("usage").select(uses), USAGE)
        many |= {f"usage.{name}": count for name, count in more.items()}
        lookback = Lookback(end, frames, heard, pa.table([sorted(known)], schema=_KNOWN), counters)
        return Epoch(rows, usage, aside, lookback, many)


def _bounded(table: pa.Table, known: Mapping[str, Metric]) -> tuple[pa.Table, dict[str, int]]:
    """Return a table with no value above its bound, and how many were cut by column."""
    cut = {}
    for name in set(table.column_names) & set(known):
        above = pc.greater(table[name], known[name].maximum)
        if count := pc.sum(above).as_py():
            cut[name] = count
            bounded = pc.if_else(above, known[name].maximum, table[name])
            table = table.set_column(table.column_names.index(name), name, bounded)
    return table, cut


# --- an epoch without the engine ---------------------------------------------------------------


def _silence(before: Lookback, gates: pa.Table, aside: pa.Table, end: int) -> Epoch:
    """Return the result of the plan for an epoch without receptions, statuses, excluded frames.

    Frames begun before a short epoch can still be heard after it. The rest of the look-back stays
    as it is: the past of a gateway is counted back from its last frame, not from the epoch's end.
    """
    listed = gates.filter(gates["listed"])
    zero = listed["excluded_frames"]
    uptime = pc.if_else(listed["known"], zero, pa.scalar(None, _INT))
    counts = {name: uptime if name.endswith("_ppm") else zero for name in METRICS}
    begun = before.frames.filter(pc.greater_equal(before.frames["begun"], end - plan.WINDOW))
    recent = pc.greater_equal(before.counters["time"], end - plan.MEMORY)
    counters = before.counters.filter(recent)
    lookback = Lookback(end, begun, before.heard, before.known, counters)
    metrics = pa.table({"gateway": listed["gateway"]} | counts)
    return Epoch(metrics, _USAGE.empty_table(), aside, lookback)
