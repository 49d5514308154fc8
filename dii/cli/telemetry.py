"""Verbs of telemetry: ``load``, ``run``, ``synth``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Final, Literal

import typer

import dii
from dii import errors
from dii.cli import screen, tables
from dii.cli.draft import Seed
from dii.cli.options import MaybePositive, Natural, bad, command, pairs
from dii.cli.screen import Answer
from dii.cli.verbs import here, verb, writing
from dii.schema import GAP
from dii.units import DAY, format_time

app = typer.Typer()

NAMED: Final = 3
"""Gateways that a line names; of more it gives the number."""
CLOCKS_FROM: Final = 2020
"""Year before which a clock is not set: small machines begin in 1970."""
TRAFFIC_DAYS: Final = 30
"""Days of traffic that are generated for a registry alone, unless ``--epochs`` says otherwise."""

Gap = Annotated[
    int, {"min": 0, "metavar": "DAYS", "help": "Most days without a record between two records."}
]
Until = Annotated[
    str | None, {"metavar": "DATE", "help": "Latest date of a record; by default tomorrow."}
]


# --- load ----------------------------------------------------------------------------------------


@verb(app, here)
def load(
    home: Path,
    sources: Annotated[list[str] | None, typer.Argument()] = None,
    explain: bool = False,
    strict: bool = False,
    columns: list[str] | None = None,
    check_radio: bool = False,
    rebind: bool = False,
    gap: Gap = GAP,
    until: Until = None,
) -> Iterator[Answer]:
    """Load telemetry into a network, and show what was set aside.

    Parameters
    ----------
    sources : SOURCE...
        Files of any known format, or their addresses.
    explain
        Load nothing; show the format of each source and why no other fits, or without a source
        the metrics that each format can give.
    strict
        Stop at the first bad record.
    columns : FOREIGN=NAME
        Name of a plain table's column; repeatable.
    check_radio
        Set aside records received stronger than their stated places allow.
    rebind
        Rebind gateways whose owner in the registry differs from the chain.
    """
    renamed = pairs("--columns", columns, "lat=latitude")
    if explain:
        yield _explained(sources or [], renamed)
        return
    if not sources:
        raise bad("SOURCE...", "name at least one file")
    latest = _latest(until)
    with writing(home) as network:
        with screen.progress("loading"):
            data = dii.load(
                *sources, strict=strict, columns=renamed, check_radio=check_radio, gap=gap,
                until=latest,
            )  # fmt: skip
        data, contested = _ingested(network, data, gap=gap, rebind=rebind)
        sealed, names = network.sealed, _names(network, contested)
        days = network.parameters.governance_delay / DAY if sealed else 0

    def shown() -> Iterator[screen.Shown]:
        yield from loaded(data)
        _check_any(data)
        done = f"reporters bind them anew, {days:g} days from now" if rebind else ""
        yield from _questions(names, done)
        waits = "kept; the network starts with its first receptions or statuses"
        yield f"next: {command(home, 'run')}" if sealed else waits

    yield Answer(lambda: data.counts() | {"sealed": sealed} | names, shown())
    _check_any(data)


def _explained(sources: list[str], columns: dict[str, str]) -> Answer:
    """Return the metrics of each format, or the format of each source and the reason."""
    from dii.telemetry.formats import matrix  # noqa: PLC0415
    from dii.telemetry.load import explain  # noqa: PLC0415

    if not sources:
        formats = {
            str(row["reader"]): ", ".join(name for name, given in row.items() if given is True)
            or "no metrics"
            for row in matrix()
        }
        return Answer(matrix(), formats)
    judged = explain(*sources, columns=columns)

    def shown() -> Iterator[screen.Shown]:
        for file, rows in judged.groupby("file", sort=False):
            yield partial(screen.say, str(file), "bold")
            others = rows[~rows["taken"]].groupby("why", sort=False)["reader"].agg(", ".join)
            taken = [f"{row.reader} ({row.why})" for row in rows[rows["taken"]].itertuples()]
            lines = {"taken for": taken[0] if taken else "nothing that is known"}
            yield lines | {f"not {readers}": why for why, readers in others.items()}

    return Answer(judged, shown())


def _latest(until: str | None) -> datetime | None:
    """Return the latest time that a record can have: the end of a day, or a day from now."""
    if until is None:
        now = datetime.now(UTC)
        if now.year >= CLOCKS_FROM:
            return now + timedelta(days=1)
        screen.note(f"this machine's clock says {now:%Y-%m-%d}: it is not used")
        return None
    try:
        moment = datetime.fromisoformat(until)
        return moment if len(until) > 10 else moment + timedelta(days=1, microseconds=-1)
    except (ValueError, OverflowError):
        raise bad("--until", f"cannot read {until!r}; write it like 2025-03-11") from None


def _check_any(data: dii.Telemetry, *, of_records: bool = False) -> None:
    """Refuse a load without any usable record: scripts see exit codes only."""
    import pyarrow.compute as pc  # noqa: PLC0415

    from dii.telemetry.tables import FIELD_REASONS  # noqa: PLC0415

    # Of these the rest of the record is used.
    kept = pc.field("reason").isin(["duplicate_gateway", *FIELD_REASONS])
    rejected = data.rejected.filter(~kept)
    reasons, lines = rejected["reason"], rejected["line"]
    # The line of a row of late records is their number.
    late = pc.sum(lines.filter(pc.equal(reasons, "late"))).as_py() or 0
    records = len(data.receptions) + len(data.statuses)
    named = len(data.gateways) - (data.gateways["operator"].null_count if records else 0)
    if len(rejected) and records <= late and (of_records or not named):
        (first,) = rejected.select(["file", "line", "detail"]).slice(0, 1).to_pylist()
        raise errors.NothingLoaded(count=max(len(rejected), late), **first)


def _names(network: dii.Network, contested: list[str]) -> dict[str, list[str]]:
    """Return the gateways whose names or owners are in question."""
    ambiguous = network.feed.telemetry.ambiguous() if network.feed else []
    return {"contested": contested, "ambiguous": ambiguous}


def _questions(names: dict[str, list[str]], done: str = "") -> Iterator[str]:
    """Yield lines on ambiguous names, and on gateways with another owner on the chain."""
    contested, ambiguous = names.values()
    yield from ambiguous[:NAMED]
    if len(ambiguous) > NAMED:
        yield f"... and {len(ambiguous) - NAMED:,} more names that are ambiguous"
    if contested:
        some = f"{', '.join(contested[:NAMED])}{', ...' * (len(contested) > NAMED)}"
        many = f"{len(contested):,} with another owner on the chain than named here ({some})"
        yield f"{many}: {done or '`dii load --rebind` asks reporters to bind them anew'}"


def _ingested(
    network: dii.Network,
    data: dii.Telemetry,
    traffic: dii.Traffic | None = None,
    *,
    gap: int,
    rebind: bool = False,
) -> tuple[dii.Telemetry, list[str]]:
    """Take telemetry in; return it and its contested gateways.

    Records that the network set aside are among the rejects.
    """
    import pyarrow as pa  # noqa: PLC0415 - slow, and not every verb needs it

    contested = network.ingest(data, traffic, rebind=rebind, gap=gap)
    refused = [network.feed.refused] if network.feed else []
    told = dataclasses.replace(data, rejected=pa.concat_tables([data.rejected, *refused]))
    return told, list(contested)


def loaded(data: dii.Telemetry, traffic: dii.Traffic | None = None) -> Iterator[screen.Shown]:
    """Yield the summary of a load, with generated traffic, and the rejects by reason."""
    facts = data.facts()
    if traffic is not None:
        start = format_time(traffic.start)[:10]
        facts["period"] = (
            f"{traffic.days} days from {start} of generated traffic (seed {traffic.seed})"
        )
    yield facts
    if len(data.rejected):
        yield ""
        yield lambda: screen.rows(data.rejected_by_reason(), "count reason first detail")


# --- run -----------------------------------------------------------------------------------------


@verb(app, here)
def run(
    home: Path,
    registry: list[str] | None = None,
    receptions: list[str] | None = None,
    epochs: MaybePositive = None,
    complete: bool = False,
    gap: Gap = GAP,
    until: Until = None,
    seed: Seed = None,
) -> Iterator[Answer]:
    """Settle complete epochs; make the network and load files where needed.

    An epoch is complete when records reach its end. With a registry alone, traffic is generated
    for its gateways, 30 days unless --epochs says otherwise. Run again, it goes on where it
    stopped.

    Parameters
    ----------
    registry : SOURCE
        Registry of gateways; repeatable.
    receptions : SOURCE
        Uplinks or statuses, in any known format; repeatable.
    epochs
        Most epochs to settle; with a registry alone, days of traffic to generate.
    complete
        Settle the epoch of the latest record, too; later records of it are then late.
    """
    from dii.network import details  # noqa: PLC0415
    from dii.network.draft import check_fed  # noqa: PLC0415
    from dii.network.telemetry import Feed  # noqa: PLC0415

    sources = [*(registry or []), *(receptions or [])]
    latest = _latest(until) if sources else None
    with screen.progress("loading"):
        data = dii.load(*sources, gap=gap, until=latest)
    with ExitStack() as opened:
        known = _found(home, seed, needed=not sources)
        if known:
            opened.enter_context(known)
        traffic = None if receptions else _traffic(known, data, epochs)
        if not (known or data.span or traffic):
            _check_any(data, of_records=True)
            raise errors.NotSealed
        if not known:  # or a home would be left that these files cannot start
            check_fed(dii.minting.ShapleyTraffic(), Feed(data, traffic).gives)
        network = known or opened.enter_context(dii.Network.create(home=home, seed=seed))
        contested: list[str] = []
        if sources or traffic:
            with screen.progress("keeping records"):
                data, contested = _ingested(network, data, traffic, gap=gap)
        with screen.progress("settling epochs") as tick:
            if network.sealed:
                network.run(epochs, tick, complete=complete)
        names = _names(network, contested)

        def document() -> dict[str, object]:
            status = details.status(network)
            if network.sealed:
                status |= {"epochs": network.epochs(), "operators": network.operators()}
            return status | names | {"notes": network.notes}

        def shown() -> Iterator[screen.Shown]:
            if sources:
                yield from loaded(data, traffic)
                yield from _questions(names)
                yield ""
            if network.sealed:
                yield from tables.overview(network, home)
                yield ""
                yield from tables.next_commands(network, home)
            yield from network.notes
            yield tables.open_epoch(network)

        yield Answer(document, shown())
        _check_any(data)


def _found(home: Path, seed: int | None, *, needed: bool) -> dii.Network | None:
    """Open the network of a home; None where none exists and none is needed."""
    try:
        network = writing(home)
    except errors.HomeMissing:
        if needed:
            raise
        return None
    if seed is not None and seed != network.home.seed:
        network.close()
        known = network.home.seed
        made = "without a seed" if known is None else f"with seed {known}"
        raise bad("--seed", f"{home} was made {made}; leave the option out")
    return network


def _traffic(
    network: dii.Network | None, data: dii.Telemetry, epochs: int | None
) -> dii.Traffic | None:
    """Return the traffic to generate, where no file has records."""
    feed = network.feed if network else None
    if feed and feed.traffic:
        return dataclasses.replace(feed.traffic, days=max(feed.traffic.days, epochs or 0))
    if data.span or (feed and feed.span) or not len(data.gateways):
        return None
    return dii.Traffic.after(data.gateways, days=epochs or TRAFFIC_DAYS)


# --- synth ---------------------------------------------------------------------------------------


@verb(app)
def synth(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR")],
    size: Literal["sample", "ttn2018"] = "sample",
    seed: Natural = 7,
    days: MaybePositive = None,
) -> Answer:
    """Generate a network's files; of the sample, those in data/.

    Parameters
    ----------
    output
        Folder to write to; made if it is not there.
    size
        48 gateways, or 5,803.
    seed
        The same seed gives the same bytes.
    days
        Days of traffic; by default 8 of the sample, 1 of ttn2018.
    """
    from dii.telemetry.synthetic import SIZES, write  # noqa: PLC0415

    with screen.progress("generating"):
        planted = write(output, SIZES[size], seed, days)
    files = {path.name: path.stat().st_size for path in sorted(output.iterdir())}
    shown: dict[str, object] = {name: f"{many:,} bytes" for name, many in files.items()}
    shown["to be set aside"] = ", ".join(f"{many:,} {why}" for why, many in sorted(planted.items()))
    return Answer({"folder": str(output), "files": files, "set_aside": planted}, shown)
