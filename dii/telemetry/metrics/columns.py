"""Columns of records, cut by time and numbered, for the plan of `metrics`.

Texts cost most: gateways, applications and devices go through the plan as numbers in the order of
their names, which group far quicker, and come out as names again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from dii.schema import RELAYED, UNATTRIBUTED
from dii.telemetry import names as naming
from dii.telemetry.metrics.plan import EXCLUSIONS, WINDOW
from dii.telemetry.tables import with_column

_TEXT, _INT = pa.string(), pa.int64()
_ONE: Final = pa.scalar(1, pa.int32())
_NUMBER: Final = pa.int32()
_WALKED: Final = pa.schema({"entry": _NUMBER, "frame": _NUMBER, "begun": _INT})
_STATED: Final = pa.schema({"name": _TEXT, "gate": _NUMBER, "number": _NUMBER})
_GATES: Final = pa.schema(
    {"gateway": _TEXT, "gate": _NUMBER, "listed": pa.bool_(), "known": pa.bool_()}
    | {"excluded_frames": _INT, "operator": _TEXT, "owner": _NUMBER, "player": _NUMBER}
)
COLUMNS: Final = [
    *("time", "gateway", "kind", "deduplication_id", "device", "f_cnt", "payload_hash"),
    *("size", "airtime", "delivered", "foreign", "application"),
]
"""Columns of receptions that metrics read."""
_NAMED: Final = frozenset({"application", "device"})
_FEW: Final = ("gateway", "kind", "deduplication_id", "application")
"""Columns of repeated texts, read as Parquet stores them: as numbers into a dictionary."""
_BATCH: Final = 1 << 17
"""Rows of a batch: the unit of cutting by time and of the engine's parallel reading."""

Cut = Callable[[int, int, list[str]], Iterator[pa.RecordBatch]]
"""Yields some columns of the rows of a span of time, [start, stop)."""


def encoded(source: pa.Table | pads.Dataset) -> pa.Table | pads.Dataset:
    """Return receptions, with the repeated texts of Parquet files as numbers into dictionaries."""
    if isinstance(source, pads.FileSystemDataset) and isinstance(
        source.format, pads.ParquetFileFormat
    ):
        options = pads.ParquetReadOptions(dictionary_columns=_FEW)
        form = pads.ParquetFileFormat(read_options=options)
        return pads.dataset(source.files, format=form, filesystem=source.filesystem)
    return source


def cutter(source: pa.Table | pads.Dataset) -> Cut:
    """Return a function that yields columns of the rows of a span of time."""
    if isinstance(source, pads.Dataset):

        def read(start: int, stop: int, columns: list[str]) -> Iterator[pa.RecordBatch]:
            within = (pc.field("time") >= start) & (pc.field("time") < stop)
            return iter(source.to_batches(columns=columns, filter=within))

        return read
    index = []
    for batch in source.select(COLUMNS).to_batches(max_chunksize=_BATCH):
        if len(batch):  # filtering leaves batches without rows
            bounds = pc.min_max(batch["time"]).as_py()
            index.append((bounds["min"], bounds["max"], batch))

    def cut(start: int, stop: int, columns: list[str]) -> Iterator[pa.RecordBatch]:
        for first, last, batch in index:
            if first < stop and last >= start:
                part = batch.select(columns)
                if first < start or last >= stop:
                    times = batch["time"]
                    inside = pc.and_(pc.greater_equal(times, start), pc.less(times, stop))
                    part = part.filter(inside)
                yield part

    return cut


def survey(batches: Iterable[pa.RecordBatch]) -> tuple[int, set[str]]:
    """Count rows and collect the gateways they name."""
    rows, names = 0, set[str]()
    for batch in batches:
        rows += len(batch)
        names.update(_texts(batch["gateway"]).to_pylist())
    return rows, names - {""}


def _texts(column: pa.Array) -> pa.Array:
    """Return the distinct texts of a column, which may be numbers into a dictionary."""
    return column.unique().cast(_TEXT).drop_null()


def watched(statuses: pa.Table, start: int, end: int) -> pa.Table:
    """Return the statuses that touch an epoch, with the first moment (``since``) they cover."""
    time, covers = statuses["time"], pc.max_element_wise(statuses["covers"], 1)
    since = pc.add(pc.subtract(time, covers), 1)
    columns = {"name": statuses["gateway"], "time": time, "frames": statuses["frames"]}
    touching = pc.and_(pc.greater_equal(time, start), pc.less(since, end))
    return pa.table(columns | {"since": since}).filter(touching)


def excluded(rejects: pa.Table, renamed: Mapping[str, str], start: int, end: int) -> pa.Table:
    """Count the frames of [start, end) that were set aside, by resolved name and reason.

    They are rejects of a gateway and a time. Several files or antennas may tell of one frame.
    """
    within = (pc.field("time") >= start) & (pc.field("time") < end)
    frames = within & pc.field("gateway").is_valid() & pc.field("reason").isin(EXCLUSIONS)
    groups = naming.renamed(rejects.filter(frames), renamed).group_by(["gateway", "reason"])
    counts = groups.aggregate([("time", "count_distinct")])
    counts = counts.rename_columns(["gateway", "reason", "frames"])
    return counts.sort_by([("gateway", "ascending"), ("reason", "ascending")])


def gates(
    listed: Iterable[str],
    others: Iterable[str],
    known: Iterable[str],
    aside: pa.Table,
    renamed: Mapping[str, str],
    operators: Mapping[str, str],
    players: Mapping[str, str],
) -> pa.Table:
    """Return gateways, numbered from 1 in the order of resolved names; 0 stands for no name.

    Listed gateways, and those with excluded frames (``aside``), get a row of metrics in any case,
    known ones an uptime. The number of an operator (``owner``; 0 for none) or of a player is the
    lowest of its gateways.
    """
    frames = Counter[str]()
    for row in aside.to_pylist():
        frames[row["gateway"]] += row["frames"]
    shown, more, seen = (
        {renamed.get(name, name) for name in stated} for stated in (listed, others, known)
    )
    shown |= frames.keys()
    names = [UNATTRIBUTED, *sorted(shown | more)]
    columns = {
        "gateway": names,
        "gate": range(len(names)),
        "listed": [name in shown for name in names],
        "known": [name in seen for name in names],
        "excluded_frames": [frames[name] for name in names],
        "operator": [operators.get(name) for name in names],
        "owner": _lowest(names, operators),
        "player": [player or gate for gate, player in enumerate(_lowest(names, players))],
    }
    return pa.table(columns, schema=_GATES)


def _lowest(names: Sequence[str], groups: Mapping[str, str]) -> list[int]:
    """Return the lowest number of the group of each name; 0 for a name in no group."""
    first = dict[str, int]()
    numbered = enumerate(names)
    return [first.setdefault(groups[name], n) if name in groups else 0 for n, name in numbered]


def stated(gates: pa.Table, renamed: Mapping[str, str]) -> pa.Table:
    """Number stated names, from 1: resolved names first, then those resolved to another."""
    numbers = {name: gate for gate, name in enumerate(gates["gateway"].to_pylist()) if gate}
    numbers |= {name: numbers[other] for name, other in sorted(renamed.items()) if other in numbers}
    count = range(1, len(numbers) + 1)
    return pa.table([[*numbers], [*numbers.values()], count], schema=_STATED)


def entries(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> pa.Table:
    """Return the rows as a table, numbered from 1."""
    table = pa.Table.from_batches(batches, pa.schema([schema.field(name) for name in COLUMNS]))
    table = _relayed_once(table)
    return table.append_column("entry", pa.array(np.arange(1, len(table) + 1, dtype=np.int32)))


def _relayed_once(table: pa.Table) -> pa.Table:
    """Drop relayed receptions whose carrying frame a named gateway heard."""
    nameless = pc.is_null(table["gateway"])
    if not pc.any(nameless).as_py():
        return table
    known = table["deduplication_id"].cast(_TEXT)
    relayed = known.filter(pc.and_(nameless, pc.starts_with(known, RELAYED))).unique()
    carried = known.filter(pc.and_not(pc.is_in(known, relayed), nameless)).unique()
    return table.filter(pc.invert(pc.and_(nameless, pc.is_in(known, carried))))


def numbered(entries: pa.Table, numbers: pa.Table, names: pa.Array) -> pa.Table:
    """Return receptions with numbers (from 1) for stated names, gateways, applications, devices.

    ``numbers`` has the stated names in the order of their numbers, and the gateway of each.
    """
    texts = entries.drop_columns(["gateway", "application"])
    places = _places(entries["gateway"], numbers["name"].combine_chunks())
    return (
        texts.append_column("stated", pc.add(places, _ONE))
        .append_column("gate", numbers["gate"].combine_chunks().take(places))
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


def names(*tables: pa.Table) -> pa.Array:
    """Return all applications and devices in the order of their numbers."""
    found = [_texts(part) for table in tables for name in _NAMED for part in table[name].chunks]
    names = pa.chunked_array(found, _TEXT).unique()
    return names.take(pc.sort_indices(names))


def coded(table: pa.Table, names: pa.Array) -> pa.Table:
    """Return a table with numbers, in the order of names, for names: they group far quicker."""
    return _replaced(table, lambda column: _places(column, names))


def named(table: pa.Table, names: pa.Array) -> pa.Table:
    """Return a table with names for numbers."""
    return _replaced(table, names.take)


def _replaced(table: pa.Table, replace: Callable[[pa.ChunkedArray], pa.ChunkedArray]) -> pa.Table:
    for name in _NAMED.intersection(table.column_names):
        table = table.set_column(table.column_names.index(name), name, replace(table[name]))
    return table


def without_copies(receptions: pa.Table, copies: pa.Table) -> pa.Table:
    """Return receptions without those that repeat another within the window."""
    walked = walk(copies)
    moved = pc.not_equal(copies["time"], walked["begun"])
    again = pc.or_(moved, pc.not_equal(walked["entry"], walked["frame"]))
    return without(receptions, walked["entry"].filter(again))


def without(receptions: pa.Table, entries: pa.ChunkedArray) -> pa.Table:
    """Return receptions without some."""
    if not len(entries):
        return receptions
    return receptions.filter(pc.invert(pc.is_in(receptions["entry"], entries.combine_chunks())))


def mixed(receptions: pa.Table, before: pa.Table) -> bool:
    """Return whether some uplinks, here or ``before``, have a deduplication id and some do not."""
    ids = receptions["deduplication_id"]
    if ids.null_count == len(ids) and not pc.any(pc.match_substring(before["name"], "\n")).as_py():
        return False
    up = pc.not_equal(receptions["kind"], "downlink")
    return bool(pc.any(pc.and_(up, pc.is_null(ids))).as_py())


def resolved(begun: pa.Table, names: Mapping[str, str]) -> pa.Table:
    """Return frames begun before, with resolved names of the gateways that heard them."""
    if not names:
        return begun
    parts = (text.partition("\n") for text in begun["name"].to_pylist())
    found = [f"{names.get(a, a)}\n{b}" if line else a for a, line, b in parts]
    return with_column(begun, "name", pa.array(found, _TEXT))


def walk(repeated: pa.Table) -> pa.Table:
    """Divide receptions that share an identity, in the order of time, into frames.

    A window begins with the first reception that the window before it does not hold; SQL has no
    expression for this. The number of a frame is that of its first entry.
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
