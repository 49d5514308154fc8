"""Loading: from files to one ``Telemetry``.

Files of one period are merged as receptions before anything is counted, because counts do not add
up: an uplink heard by six gateways is in the files of six gateways. Merging is a union in which a
row counts as often as in the file that has it most often. So loading a file twice changes nothing,
and the order of files does not matter. Dropping repeated rows would lose receptions of a gateway
with two antennas, and adding rows up would count receptions twice that two exports share.

Entries of several sources on one gateway are merged field by field: the latest ``last_seen`` wins,
then the entry with more fields. All entries are kept (``entries``), so that merging in steps is
merging at once. No record is renamed: which names are one gateway is decided for each epoch (see
``names``).
"""

from __future__ import annotations

import glob
import hashlib
import html
import itertools
import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dii import errors
from dii.files import sync, write
from dii.schema import GAP, METRICS, TABLES, USAGE_GIVEN, Gateway, Reject
from dii.telemetry import names, outliers
from dii.telemetry.fetch import fetch, is_url, shown
from dii.telemetry.formats import find_reader, judged
from dii.telemetry.readers.base import RECEPTION_METRICS, STATUS_METRICS, Reader
from dii.telemetry.source import Source, first_line
from dii.telemetry.tables import SCHEMAS, Rows, to_table
from dii.units import clean, format_time, to_microseconds

if TYPE_CHECKING:
    import pandas as pd

PLACEHOLDERS: Final = ((0.0, 0.0), (10.0, 20.0))
"""Default coordinates of registration forms (latitude, longitude)."""
PLACEHOLDER_RADIUS: Final = 1e-4
"""Degrees, 11 m: forms go through 32-bit floats."""
SHARED_BY: Final = 10
"""Number of gateways at one point that makes it a placeholder: a maker's default or the middle of a
town. Real sites have few gateways, and rarely in the very same metre."""

NAMED: Final = 3
"""Files of one format that a summary lists; more files are counted."""

_MANIFEST: Final = "telemetry.json"
_MAX_MANIFEST: Final = 64 << 20


@dataclass(frozen=True, slots=True, repr=False)
class Telemetry:
    """Records of gateways, as tables.

    Attributes
    ----------
    gateways, receptions, statuses, rejected
        Arrow tables with the columns of ``dii.schema``; receptions and statuses in the order of
        time. A row of gateways merges the entries of all sources for one name.
    gives
        Names of the metrics and the usage that can be computed from the tables; the others are
        unknown, not 0.
    entries
        Entry of each source for a gateway, with the columns of ``gateways``; by default the table
        ``gateways``.
    ends
        Name of each file with the times of its last and its first record; ignored in comparisons.
    formats
        Pairs of a file and its reader; ignored in comparisons, and not saved.
    """

    gateways: pa.Table = field(default_factory=SCHEMAS["gateways"].empty_table)
    receptions: pa.Table = field(default_factory=SCHEMAS["receptions"].empty_table)
    statuses: pa.Table = field(default_factory=SCHEMAS["statuses"].empty_table)
    gives: frozenset[str] = frozenset()
    rejected: pa.Table = field(default_factory=SCHEMAS["rejects"].empty_table)
    entries: pa.Table = None
    ends: frozenset[tuple[str, int, int]] = field(default=frozenset(), compare=False)
    formats: frozenset[tuple[str, str]] = field(default=frozenset(), compare=False)

    def __post_init__(self) -> None:
        """Use the table of gateways as entries where none are given."""
        if self.entries is None:
            object.__setattr__(self, "entries", self.gateways)

    @property
    def rejects(self) -> pd.DataFrame:
        """Records that were set aside: file, line, reason, detail, gateway, time."""
        import pandas as pd  # noqa: PLC0415 - slow, and only people look at rejects

        return self.rejected.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)

    @property
    def span(self) -> tuple[int, int] | None:
        """First and last time of receptions and statuses; None without any."""
        ends = [pc.min_max(table["time"]).as_py() for table in (self.receptions, self.statuses)]
        known = [end for end in ends if end["min"] is not None]
        if not known:
            return None
        return min(end["min"] for end in known), max(end["max"] for end in known)

    def tables(self) -> dict[str, pa.Table]:
        """Return the tables by their names in ``dii.schema.TABLES``."""
        return {name: getattr(self, "rejected" if name == "rejects" else name) for name in TABLES}

    def operators(self) -> dict[str, str]:
        """Return the operator of each gateway that has one.

        Where no gateway names an operator, each gateway is its own operator.
        """
        gateways, operators = (self.gateways[name].to_pylist() for name in ("gateway", "operator"))
        pairs = zip(gateways, operators if any(operators) else gateways)
        return {gateway: operator for gateway, operator in pairs if operator}

    def known_since(self) -> dict[str, int]:
        """Return the time of the first record of each gateway, by stated name.

        It is 0 for a gateway whose entry names an operator, or no time.
        """
        since = dict[str, int]()
        for row in self.entries.select(["gateway", "operator", "last_seen"]).to_pylist():
            seen = 0 if row["operator"] else row["last_seen"] or 0
            since[row["gateway"]] = min(since.get(row["gateway"], seen), seen)
        for table in (self.receptions, self.statuses):
            for name, seen in _times(table, "min"):
                since[name] = min(since.get(name, seen), seen)
        return since

    def ambiguous(self) -> list[str]:
        """Return a sentence for each id of several EUIs or operators, or EUI of several ids."""
        return names.ambiguous([self.receptions, self.statuses], self.entries)

    def __add__(self, other: Telemetry) -> Telemetry:
        """Return the union of two loads (see the module's documentation)."""
        return _merge([self, other])

    def save(self, folder: str | Path) -> None:
        """Write the tables as Parquet into a folder; they replace tables saved there before.

        Files are named by their content. The manifest lists them and is replaced last, in one
        step, so that readers, and a power failure, leave either the old or the new tables.

        Raises
        ------
        OSError
            The folder cannot be written.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        files = {name: _save(table, folder, name) for name, table in self.tables().items()}
        sets = {"gives": sorted(self.gives), "ends": sorted(self.ends)}
        manifest = {"version": 1, **sets, "files": files}
        write(folder / _MANIFEST, json.dumps(manifest, indent=1).encode())
        for name, file in files.items():
            for old in folder.glob(f"{name}-{'[0-9a-f]' * 16}.parquet"):
                if old.name != file:
                    old.unlink()

    @classmethod
    def open(cls, folder: str | Path) -> Telemetry:
        """Read the tables that ``save`` wrote.

        Raises
        ------
        SourceMissing
            The folder has no manifest.
        SourceUnreadable
            The manifest or a table is damaged.
        """
        path = Path(folder) / _MANIFEST
        if not path.is_file():
            raise errors.SourceMissing(file=str(path))
        try:
            if path.stat().st_size > _MAX_MANIFEST:
                raise ValueError("too large")
            manifest = json.loads(path.read_text())
            tables = {name: _open(path.parent, manifest["files"][name], name) for name in TABLES}
            ends = frozenset((str(file), int(a), int(b)) for file, a, b in manifest["ends"])
            gives = frozenset(manifest["gives"]) & {*METRICS, *USAGE_GIVEN}
            return cls(rejected=tables.pop("rejects"), gives=gives, ends=ends, **tables)
        except (pa.ArrowException, OSError, ValueError, TypeError, KeyError) as error:
            message = f"not a saved telemetry: {first_line(error)}"
            raise errors.SourceUnreadable(file=str(path), message=message) from None

    def rejected_by_reason(self) -> pd.DataFrame:
        """Return reason and count of the rejects, and place and text of the first of each reason.

        Rejects of a network are no lines of a file; those that came together are one row, whose
        line is their number.
        """
        rejects = self.rejects
        own = rejects["file"].isin(["receptions", "statuses", "records"])
        together = own & rejects["reason"].isin(["late", "far_in_time"])
        rejects["count"] = rejects["line"].where(together, 1)
        rejects["first"] = (rejects["file"] + ", line " + rejects["line"].astype(str)).mask(own, "")
        groups = rejects.groupby("reason", sort=False)
        found = groups.agg({"count": "sum", "first": "first", "detail": "first"})
        return found.reset_index().sort_values(["count", "reason"], ascending=[False, True])

    def counts(self) -> dict[str, object]:
        """Return the summary as data."""
        operators = self.gateways["operator"]
        first, last = map(format_time, self.span) if self.span else (None, None)
        return {
            "gateways": len(self.gateways),
            "operators": len(operators.unique().drop_null()),
            "without_operator": operators.null_count,
            "receptions": len(self.receptions),
            "statuses": len(self.statuses),
            "gives": [name for name in (*METRICS, *USAGE_GIVEN) if name in self.gives],
            "read_as": dict(sorted(self.formats)),
            "first": first,
            "last": last,
            "rejects": self.rejected_by_reason(),
        }

    def facts(self) -> dict[str, str]:
        """Return the summary as texts by their titles."""
        counts, files = self.counts(), defaultdict[str, list[str]](list)
        for file, reader in sorted(self.formats):
            files[reader].append(file)
        read = [
            f"{reader} ({', '.join(found) if len(found) <= NAMED else f'{len(found)} files'})"
            for reader, found in sorted(files.items())
        ]
        owned = "{gateways:,} of {operators:,} operators, {without_operator:,} without an operator"
        if not counts["operators"]:
            owned = "{gateways:,}, without operators"
        return {
            "gateways": owned.format(**counts),
            "records": "{receptions:,} receptions, {statuses:,} statuses".format(**counts),
            "period": " to ".join(map(format_time, self.span or ())) or "none: nothing has a time",
            "metrics": ", ".join(name for name in (*METRICS, *USAGE_GIVEN) if name in self.gives)
            or "none",
            "read as": "; ".join(read),
            "set aside": f"{self.rejected_by_reason()['count'].sum():,} records or fields",
        }

    def _facts(self) -> list[tuple[str, str]]:
        reasons = self.rejected_by_reason().itertuples()
        aside = ", ".join(f"{row.count:,} {row.reason}" for row in reasons)
        facts = self.facts() | {"set aside": aside or "none"}
        return [*facts.items(), *(("ambiguous", text) for text in self.ambiguous())]

    def __repr__(self) -> str:
        return "Telemetry\n" + "\n".join(f"  {name:<9}  {fact}" for name, fact in self._facts())

    def _repr_html_(self) -> str:
        row = "<tr><th>{}</th><td>{}</td></tr>"
        rows = "".join(row.format(name, html.escape(fact)) for name, fact in self._facts())
        return f"<table><caption>Telemetry</caption>{rows}</table>"


def load(
    *sources: str | Path | pd.DataFrame,
    strict: bool = False,
    columns: Mapping[str, str] | None = None,
    network: str = "ttn",
    check_radio: bool = False,
    gap: int | None = GAP,
    until: datetime | None = None,
) -> Telemetry:
    """Read files of any known format; the format is recognised by the beginning of a file.

    Parameters
    ----------
    *sources
        Paths of files, gzipped or not, patterns such as ``"logs/*.jsonl"``, or URLs (http, https)
        of files; or tables (pandas, Arrow) with the columns of ``dii.schema``.
    strict
        Stop at the first bad record, instead of setting it aside in ``rejects``.
    columns
        For plain tables: the schema's name for each foreign name of a column. An empty name leaves
        a column out.
    network
        Network of the gateway ids, where a source does not state it.
    check_radio
        Set receptions aside that are stronger than free space allows between the places that a
        record states for device and gateway (see ``radio``).
    gap
        Days without a record that may lie between two records; None for any number. Records
        beyond a longer gap are set aside as ``far_in_time``: at most one record in 100.
    until
        Latest time that a record can have; None for any. Later records are set aside, too.

    Raises
    ------
    SourceMissing, SourceUnreadable, SourceUnreachable, UnknownFormat, InputTooLarge, BadColumns
        A source cannot be read at all.
    FarInTime
        Too many records lie far from the others in time.
    RecordRejected
        ``strict``, and a record is bad.
    """
    found: list[tuple[Rows, Reader]] = []
    unseen = set(columns or {})
    for source in _opened(sources, columns, network=network, check_radio=check_radio):
        reader = find_reader(source)
        rows = Rows(source.name, strict)
        reader.read(source, rows)
        found.append((rows, reader))
        unseen.difference_update(source.names)
    if unseen:
        raise errors.BadColumns(file="columns", message=f"no table has a column {min(unseen)!r}")
    latest = None if until is None else to_microseconds(until)
    outliers.set_aside([rows for rows, _ in found], gap, latest)
    return _assemble(found)


def explain(
    *sources: str | Path | pd.DataFrame, columns: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Return the reader of each source, and why the other readers decline it, without reading it.

    One row for each source and reader: ``file``, ``reader``, ``taken`` and ``why``.

    Raises
    ------
    SourceMissing, SourceUnreadable, SourceUnreachable, InputTooLarge, BadColumns
        As ``load``.
    """
    import pandas as pd  # noqa: PLC0415

    rows: list[tuple[str, str, bool, str]] = []
    for source in _opened(sources, columns):
        taken = None
        for reader, declines in judged(source):
            why = declines or f"it would do, but {taken} comes first"
            if declines is None and taken is None:
                taken, why = reader.name, reader.explain(source)
            rows.append((source.name, reader.name, reader.name == taken, why))
    return pd.DataFrame(rows, columns=["file", "reader", "taken", "why"])


def _opened(
    sources: Iterable[object],
    columns: Mapping[str, str] | None,
    network: str = "ttn",
    *,
    check_radio: bool = False,
) -> Iterator[Source]:
    """Yield the sources; downloaded files are deleted after the last of them."""
    known = {column.name for table in TABLES.values() for column in table}
    for foreign, name in (columns or {}).items():
        if name and name not in known:
            message = f"no column of ours is called {name!r}"
            if foreign in known:
                message += f"; write it the other way round: FOREIGN=NAME, here {name}={foreign}"
            raise errors.BadColumns(file="columns", message=message)
    with TemporaryDirectory(prefix="dii-") as folder:
        for origin, name in _origins(sources, Path(folder)):
            yield Source(origin, name, columns, network, check_radio=check_radio)


def _origins(sources: Iterable[object], folder: Path) -> Iterator[tuple[Path | pa.Table, str]]:
    """Yield each file and table once, with a name: the file's name, or its path if two share it.

    Files from URLs are stored in ``folder``.
    """
    origins: dict[Path | str | int, Path | pa.Table] = {}
    for number, source in enumerate(sources, 1):
        if isinstance(source, str) and is_url(source):
            if source not in origins:
                (into := folder / str(number)).mkdir()
                origins[source] = fetch(source, into)
        elif isinstance(source, str | os.PathLike):
            for path in _paths(Path(source).expanduser()):
                origins.setdefault(path.resolve(), path)
        else:
            origins[number] = _table(source, f"table {number}")
    names = Counter(path.name for path in origins.values() if isinstance(path, Path))
    for key, origin in origins.items():
        if isinstance(origin, Path):
            full = shown(key) if isinstance(key, str) else str(origin)
            name = origin.name if origin.name and names[origin.name] == 1 else full
            # Names of files may hold any bytes, and are shown beside rejects.
            yield origin, clean(name.encode(errors="replace").decode())
        else:
            yield origin, f"table {key}"


def _table(source: object, name: str) -> pa.Table:
    if isinstance(source, pa.Table):
        return source
    if not hasattr(source, "columns"):
        message = f"a {type(source).__name__}, not a path, an address or a data frame"
        raise errors.SourceUnreadable(file=name, message=message)
    try:
        return pa.Table.from_pandas(source, preserve_index=False)
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        raise errors.SourceUnreadable(file=name, message=first_line(error)) from None


def _paths(path: Path) -> list[Path]:
    try:
        if path.exists():
            return [path]
    except OSError as error:
        raise errors.SourceUnreadable(file=str(path), message=error.strerror) from None
    found = sorted(Path(name) for name in glob.glob(str(path), recursive=True))  # noqa: PTH207
    if not found:
        raise errors.SourceMissing(file=str(path))
    return found


def _assemble(found: Sequence[tuple[Rows, Reader]]) -> Telemetry:
    """Return the telemetry of several files."""
    stated = [row for rows, _ in found for row in rows.gateways]
    no_places = _placeholders(stated)
    rejects = [
        Reject(rows.file, line, "placeholder_coordinates", no_places[_place(row)], row.gateway)
        for rows, _ in found
        for row, line in rows.gateways.items()
        if _place(row) in no_places
    ]
    gateways, rejected = to_table("gateways", stated), to_table("rejects", rejects)
    parts = [Telemetry(gateways=gateways, rejected=rejected)]
    for rows, reader in found:
        heard, seen, aside = map(rows.table, ("receptions", "statuses", "rejects"))
        part = Telemetry(receptions=heard, statuses=seen, rejected=aside, gives=reader.given(rows))
        ends = frozenset({(rows.file, *part.span[::-1])} if part.span else ())
        parts.append(replace(part, ends=ends, formats=frozenset({(rows.file, reader.name)})))
    return _merge(parts)


def _merge(parts: Sequence[Telemetry]) -> Telemetry:
    receptions = _union([part.receptions for part in parts])
    statuses = _union([part.statuses for part in parts])
    seen = [
        Gateway(name, last_seen=last)
        for table in (receptions, statuses)
        for name, last in _times(table, "max")
    ]
    stated = {Gateway(**row) for part in parts for row in part.entries.to_pylist()}
    ends = {end for part in parts for end in part.ends}
    return Telemetry(
        gateways=_merge_gateways([*stated, *seen]),
        receptions=receptions,
        statuses=statuses,
        gives=_given([part.gives for part in parts]),
        rejected=_union([part.rejected for part in parts]),
        entries=to_table("entries", sorted(stated, key=repr)),
        # The latest end of each file: a file that has grown is loaded again.
        ends=frozenset({end[0]: end for end in sorted(ends)}.values()),
        formats=frozenset().union(*(part.formats for part in parts)),
    )


def _times(table: pa.Table, which: str) -> Iterator[tuple[str, int]]:
    """Return the first (``min``) or last (``max``) time of each gateway that rows name."""
    found = table.group_by("gateway").aggregate([("time", which)])
    pairs = zip(found["gateway"].to_pylist(), found[f"time_{which}"].to_pylist())
    return ((name, time) for name, time in pairs if name)


def _given(gives: Sequence[frozenset[str]]) -> frozenset[str]:
    """Return the metrics that several sources give together.

    Metrics of statuses and of receptions add up. Of the sources of one kind, each must give a
    metric: where one does not know it, the sum is unknown, too.
    """
    together: frozenset[str] = frozenset()
    for kind in (STATUS_METRICS, RECEPTION_METRICS):
        some = [given & kind for given in gives if given & kind]
        together |= kind.intersection(*some) if some else frozenset()
    return together


def _union(tables: Sequence[pa.Table]) -> pa.Table:
    """Return the rows of all tables, sorted, each as often as in the table that has it most."""
    schema, names = tables[0].schema, tables[0].schema.names
    filled = [table for table in tables if len(table)]
    if len(filled) > 1:
        counted = [table.group_by(names).aggregate([([], "count_all")]) for table in filled]
        merged = pa.concat_tables(counted).group_by(names).aggregate([("count_all", "max")])
        rows = merged.select(names)
        times = merged["count_all_max"]
        most = pc.max(times).as_py()
        again = [rows.filter(pc.greater(times, done)) for done in range(1, most)]
        filled = [pa.concat_tables([rows, *again])]
    table = filled[0] if filled else tables[0]
    ordered = table.sort_by([(name, "ascending") for name in names])
    return ordered.cast(schema).combine_chunks()


def _place(row: Gateway) -> tuple[float | None, float | None]:
    return row.latitude, row.longitude


def _placeholders(rows: Iterable[Gateway]) -> dict[tuple[float | None, float | None], str]:
    """Return the stated places that are placeholders, and the reason of each."""
    at = defaultdict[tuple[float | None, float | None], set[str]](set)
    for row in rows:
        at[_place(row)].add(row.gateway)
    at.pop((None, None), None)
    details = {
        place: f"shared by {len(found)} gateways"
        for place, found in at.items()
        if len(found) >= SHARED_BY
    }
    for place, default in itertools.product(at, PLACEHOLDERS):
        off = [abs(stated - usual) for stated, usual in zip(place, default) if stated is not None]
        if len(off) == len(default) and max(off) <= PLACEHOLDER_RADIUS:
            details[place] = "a form's default, ({:g}, {:g})".format(*default)
    return details


def _merge_gateways(rows: Sequence[Gateway]) -> pa.Table:
    """Return one row for each gateway, merged from its entries in the order of ``_rank``."""
    found: dict[str, list[Gateway]] = {}
    no_places = _placeholders(rows)
    for row in rows:
        placed = _place(row) not in no_places
        kept = row if placed else row._replace(latitude=None, longitude=None, altitude=None)
        found.setdefault(row.gateway, []).append(kept)
    merged = []
    for gateway in sorted(found):
        best = sorted(set(found[gateway]), key=_rank, reverse=True)
        place = next((row for row in best if row.latitude is not None), best[0])
        texts: dict[str, Any] = {
            name: next((text for row in best if (text := getattr(row, name))), None)
            for name in ("operator", "country", "placement", "eui")
        }
        merged.append(place._replace(last_seen=best[0].last_seen, **texts))
    return to_table("gateways", merged)


def _rank(row: Gateway) -> tuple[int, int, str]:
    """Return a key that prefers later entries, then those with more fields, then the text."""
    return row.last_seen or 0, sum(value is not None for value in row), repr(row)


def _save(table: pa.Table, folder: Path, name: str) -> str:
    """Write a table; return the name of its file, which contains the hash of its content."""
    fresh = folder / f".{name}.parquet"
    pq.write_table(table, fresh)
    with fresh.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()[:16]
    sync(fresh)
    path = folder / f"{name}-{digest}.parquet"
    fresh.replace(path)
    return path.name


def _open(folder: Path, file: str, name: str) -> pa.Table:
    if Path(file).name != file:
        raise ValueError(f"{file!r} is not a file beside the manifest")
    table = pq.read_table(folder / file, partitioning=None)
    if not table.schema.equals(SCHEMAS[name]):
        raise ValueError(f"{file} has not the columns of {name}")
    return table.combine_chunks()
