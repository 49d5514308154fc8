"""Verbs that make a network and let it run: ``init``, ``load``, ``run``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

import dii
from dii.cli import screen
from dii.cli import tables as look
from dii.cli.options import DEFAULT_HOME, Home, Json, command
from dii.errors import HomeMissing, NothingLoaded, NotSealed
from dii.schema import GAP, METRICS, USAGE_GIVEN
from dii.units import SECOND, format_time

if TYPE_CHECKING:
    import pandas as pd

    from dii import Network, Telemetry, Traffic
    from dii.minting.spec import Versioned

V = TypeVar("V", bound="Versioned")

NAMED: Final = 3
"""Gateways that a line names; of more it says how many."""
CLOCKS_FROM: Final = 2020
"""Year before which a clock is not set: small machines begin in 1970."""
TRAFFIC_DAYS: Final = 30
"""Days of traffic that are generated for a registry alone, unless ``--epochs`` says otherwise."""

Seed = Annotated[
    int | None,
    typer.Option("--seed", min=0, help="Make a laboratory network: its keys follow from this."),
]
Gap = Annotated[
    int,
    typer.Option(min=0, metavar="DAYS", help="Days without a record that dates may lie apart."),
]
Until = Annotated[
    str | None,
    typer.Option(metavar="DATE", help="Latest date of a record; by default tomorrow."),
]


# --- init ----------------------------------------------------------------------------------------


def init(
    name: Annotated[str, typer.Option(help="Short name of the chain.")] = "ttn",
    symbol: Annotated[str, typer.Option(help="Symbol of the currency.")] = "TTC",
    currency: Annotated[str, typer.Option(help="Name of the currency.")] = "The Things Coin",
    decimals: Annotated[int, typer.Option(help="Digits after the point.")] = 6,
    rule: Annotated[
        str, typer.Option(metavar="NAME[:P=V,...]", help="How contribution is measured.")
    ] = "ShapleyTraffic",
    policy: Annotated[
        str, typer.Option(metavar="NAME[:P=V,...]", help="How much an epoch may mint.")
    ] = "FixedEmission:amount=10000",
    allocate: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=AMOUNT", help="Opening balance of an account; repeatable."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Start of epoch 0; else the first day of the data."),
    ] = None,
    epoch_seconds: Annotated[int, typer.Option(help="Length of an epoch.")] = 86_400,
    gas_price: Annotated[int, typer.Option(help="Smallest units a gas.")] = 1,
    seed: Seed = None,
    max_mint: Annotated[
        str | None, typer.Option(help="What an epoch may ever mint; by default the policy's most.")
    ] = None,
    delay: Annotated[
        int | None, typer.Option(help="Seconds from a vote to its effect; by default a week.")
    ] = None,
    reporters: Annotated[
        int, typer.Option(min=1, max=64, help="How many report; of n, (n - 1) / 3 may lie.")
    ] = 1,
    site_radius: Annotated[
        int, typer.Option(metavar="METRES", help="Gateways so close count as one site; 0: none.")
    ] = 0,
    home: Home = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Make a network: genesis and keys.

    Rules and policies take their parameters after a colon, amounts in whole units:
    --rule Uptime:minimum_ppm=900000 --policy PerContribution:rate=0.01,cap=5000
    """
    with dii.Network.create(
        name,
        symbol=symbol,
        currency=currency,
        decimals=decimals,
        seed=seed,
        home=home,
        rule=chosen("rule", rule, dii.minting.RULES.values()),
        policy=chosen("policy", policy, dii.minting.POLICIES.values()),
        allocations=_pairs("allocate", allocate, "bob=500"),
        start=start,
        epoch_seconds=epoch_seconds,
        gas_price=gas_price,
        reporters=reporters,
        site_radius_m=site_radius,
        max_mint_per_epoch=max_mint,
        governance=None if delay is None else {"delay_seconds": delay},
    ) as network:
        chain = network.genesis.chain_id if network.sealed else None
    made = {"home": str(home), "chain": chain, "laboratory": seed is not None}
    line = f"made {chain or name} in {home}; next: {command(home, 'load')} FILE ..."
    screen.answer(as_json, made, line)


def chosen(option: str, text: str, kinds: Iterable[type[V]]) -> V:
    """Return the rule or policy that ``NAME:parameter=value,...`` says."""
    known = {kind.__name__: kind for kind in kinds}
    name, _, rest = text.partition(":")
    kind: Any = known.get(name)
    if kind is None:
        raise _bad(option, f"no {option} is called {name!r}; there is {_usage(known.values())}")
    parameters: dict[str, int | str] = {}
    for part in filter(None, rest.split(",")):
        key, _, value = part.partition("=")
        if key not in {field.name for field in dataclasses.fields(kind)} or not value:
            raise _bad(option, f"cannot read {part!r}; write it like {_usage([kind])}")
        if key not in kind.money and not value.isdecimal():
            raise _bad(option, f"{key} is an integer, not {value!r}")
        parameters[key] = value if key in kind.money else int(value)
    try:
        made: V = kind(**parameters)
    except TypeError:
        raise _bad(option, f"{name} needs more; write it like {_usage([kind])}") from None
    return made


def _usage(kinds: Iterable[type[Versioned]]) -> str:
    return " or ".join(
        ":".join(filter(None, [kind.__name__, ",".join(f"{f.name}=..." for f in fields)]))
        for kind in kinds
        for fields in [dataclasses.fields(kind)]
    )


def _pairs(option: str, texts: list[str] | None, like: str) -> dict[str, str]:
    """Read an option that may be repeated, ``NAME=VALUE`` each time."""
    found: dict[str, str] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise _bad(option, f"cannot read {text!r}; write it like {like}")
        if name in found:
            raise _bad(option, f"{name} stands twice")
        found[name] = value
    return found


def _bad(option: str, message: str) -> typer.BadParameter:
    return typer.BadParameter(message, param_hint=f"'--{option}'")


# --- load ----------------------------------------------------------------------------------------


def _explain(sources: list[str], columns: dict[str, str], *, as_json: bool) -> None:
    """Say what each format gives; of sources, what they are taken for and why for nothing else."""
    from dii.telemetry.formats import matrix  # noqa: PLC0415
    from dii.telemetry.load import explain  # noqa: PLC0415

    judged = explain(*sources, columns=columns)
    if as_json:
        screen.json_out(judged if sources else matrix())
        return
    if not sources:
        screen.facts(
            {
                str(row["reader"]): ", ".join(name for name, given in row.items() if given is True)
                or "no metrics"
                for row in matrix()
            }
        )
    for file, rows in judged.groupby("file", sort=False):
        screen.say(str(file), "bold")
        others = rows[~rows["taken"]].groupby("why", sort=False)["reader"].agg(", ".join)
        taken = [f"{row.reader} ({row.why})" for row in rows[rows["taken"]].itertuples()]
        found = {"taken for": taken[0] if taken else "nothing that is known"}
        screen.facts(found | {f"not {readers}": why for why, readers in others.items()})


def load(
    sources: Annotated[
        list[str] | None,
        typer.Argument(metavar="SOURCE...", help="Files of any known format, or their addresses."),
    ] = None,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain",
            help="Load nothing; say what each source is taken for and why not for anything else,"
            " or without any which metrics each format can give.",
        ),
    ] = False,
    strict: Annotated[bool, typer.Option(help="Stop at the first bad record.")] = False,
    columns: Annotated[
        list[str] | None,
        typer.Option(metavar="FOREIGN=NAME", help="What a column of a plain table is."),
    ] = None,
    check_radio: Annotated[
        bool,
        typer.Option(
            "--check-radio",
            help="Set aside what was received stronger than its stated places allow.",
        ),
    ] = False,
    rebind: Annotated[
        bool,
        typer.Option(
            "--rebind",
            help="Have reporters bind gateways anew whose owner on the chain is another.",
        ),
    ] = False,
    gap: Gap = GAP,
    until: Until = None,
    home: Home = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Load telemetry into a network, and say what was set aside."""
    renamed = _pairs("columns", columns, "lat=latitude")
    if explain:
        _explain(sources or [], renamed, as_json=as_json)
        return
    if not sources:
        raise typer.BadParameter("name at least one file", param_hint="'SOURCE...'")
    latest = _latest(until)
    with dii.Network.open(home) as network:
        with screen.progress("loading"):
            data = dii.load(
                *sources,
                strict=strict,
                columns=renamed,
                check_radio=check_radio,
                gap=gap,
                until=latest,
            )
        data, others = _ingested(network, data, gap=gap, rebind=rebind)
        sealed, ambiguous = network.sealed, _ambiguous(network)
        delay = network.parameters.governance_delay // SECOND if sealed else 0
    if as_json:
        found = {"sealed": sealed, "contested": others, "ambiguous": ambiguous}
        screen.json_out(telemetry_json(data) | found)
        _check_any(data)
        return
    show_telemetry(data)
    _check_any(data)
    done = f"reporters bind them anew, {delay / 86_400:g} days from now" if rebind else ""
    _show_names(ambiguous, others, done)
    if sealed:
        screen.say(f"next: {command(home, 'run')}")
    else:
        screen.say("kept; the network starts with its first receptions or statuses")


def _latest(until: str | None) -> datetime | None:
    """Return the latest time that a record can have: the end of a day, or a day from now."""
    if until is None:
        now = datetime.now(UTC)
        if now.year >= CLOCKS_FROM:
            return now + timedelta(days=1)
        typer.echo(f"dii: note: this machine's clock says {now:%Y-%m-%d}: it is not used", err=True)
        return None
    try:
        moment = datetime.fromisoformat(until)
        return moment if len(until) > 10 else moment + timedelta(days=1, microseconds=-1)
    except (ValueError, OverflowError):
        raise _bad("until", f"cannot read {until!r}; write it like 2025-03-11") from None


def _check_any(data: Telemetry, *, of_records: bool = False) -> None:
    """Refuse a load of which nothing is left, or no record: scripts see exit codes only."""
    import pyarrow.compute as pc  # noqa: PLC0415

    from dii.telemetry.tables import FIELD_REASONS  # noqa: PLC0415

    kept = pc.field("reason").isin(["duplicate_gateway", *FIELD_REASONS])  # the record, in part
    rejected = data.rejected.filter(~kept)
    reasons, lines = rejected["reason"], rejected["line"]
    late = pc.sum(lines.filter(pc.equal(reasons, "late"))).as_py() or 0  # how many came together
    records = len(data.receptions) + len(data.statuses)
    named = len(data.gateways) - (data.gateways["operator"].null_count if records else 0)
    if len(rejected) and records <= late and (of_records or not named):
        first = rejected.slice(0, 1).to_pylist()[0]
        count = max(len(rejected), late)
        told = {key: first[key] for key in ("file", "line", "detail")}
        raise NothingLoaded(count=count, **told)


def _ambiguous(network: Network) -> list[str]:
    return network.feed.telemetry.ambiguous() if network.feed else []


def _show_names(ambiguous: Sequence[str], names: Sequence[str], done: str = "") -> None:
    """Tell which names are ambiguous, and which gateways have another owner than loading named."""
    for sentence in ambiguous[:NAMED]:
        screen.say(sentence)
    if len(ambiguous) > NAMED:
        screen.say(f"... and {len(ambiguous) - NAMED:,} more names that are ambiguous")
    if names:
        shown = f"{', '.join(names[:NAMED])}{', ...' * (len(names) > NAMED)}"
        many = f"{len(names):,} with another owner on the chain than named here ({shown})"
        screen.say(f"{many}: {done or '`dii load --rebind` asks reporters to bind them anew'}")


def _ingested(
    network: Network,
    data: Telemetry,
    traffic: Traffic | None = None,
    *,
    gap: int,
    rebind: bool = False,
) -> tuple[Telemetry, list[str]]:
    """Take telemetry in; return it and what of its gateways is contested.

    What the network set aside of it is among the rejects.
    """
    import pyarrow as pa  # noqa: PLC0415 - slow, and not every verb needs it

    others = network.ingest(data, traffic, rebind=rebind, gap=gap)
    refused = [network.feed.refused] if network.feed else []
    told = dataclasses.replace(data, rejected=pa.concat_tables([data.rejected, *refused]))
    return told, list(others)


def telemetry_json(data: Telemetry) -> dict[str, Any]:
    """Return what was loaded, for JSON."""
    first, last = data.span or (None, None)
    operators = data.gateways["operator"]
    return {
        "gateways": len(data.gateways),
        "operators": len(operators.unique().drop_null()),
        "without_operator": operators.null_count,
        "receptions": len(data.receptions),
        "statuses": len(data.statuses),
        "gives": [name for name in (*METRICS, *USAGE_GIVEN) if name in data.gives],
        "read_as": dict(sorted(data.formats)),
        "first": None if first is None else format_time(first),
        "last": None if last is None else format_time(last),
        "rejects": rejects_by_reason(data),
    }


def rejects_by_reason(data: Telemetry) -> pd.DataFrame:
    """Return why records were set aside: reason, count, and where the first of them stands.

    What a network sets aside is no line of a file; those that came together are one row, whose
    line is their number.
    """
    rejects = data.rejects
    own = rejects["file"].isin(["receptions", "statuses", "records"])
    rejects["count"] = rejects["line"].where(
        own & rejects["reason"].isin(["late", "far_in_time"]), 1
    )
    rejects["first"] = (rejects["file"] + ", line " + rejects["line"].astype(str)).mask(own, "")
    groups = rejects.groupby("reason", sort=False)
    found = groups.agg(count=("count", "sum"), first=("first", "first"), detail=("detail", "first"))
    return found.reset_index().sort_values(["count", "reason"], ascending=[False, True])


def show_telemetry(data: Telemetry, traffic: Traffic | None = None) -> None:
    """Print what was loaded, what is generated beside it, and what was set aside."""
    facts = telemetry_json(data)
    rejects = facts["rejects"]
    period = f"{facts['first']} to {facts['last']}" if data.span else "none: nothing has a time"
    if traffic is not None:
        start = format_time(traffic.start)[:10]
        period = f"{traffic.days} days from {start} of generated traffic (seed {traffic.seed})"
    screen.facts(
        {
            "gateways": (
                "{gateways:,} of {operators:,} operators, {without_operator:,} without an operator"
                if facts["operators"]
                else "{gateways:,}, without operators"
            ).format(**facts),
            "records": "{receptions:,} receptions, {statuses:,} statuses".format(**facts),
            "period": period,
            "metrics": ", ".join(facts["gives"]) or "none",
            "read as": data.facts()["read as"],
            "set aside": f"{rejects['count'].sum():,} records or fields",
        }
    )
    if len(data.rejected):
        screen.say()
        screen.rows(rejects, "count reason first detail")


# --- run -----------------------------------------------------------------------------------------


def run(
    registry: Annotated[
        list[str] | None,
        typer.Option(metavar="SOURCE", help="Whose gateways there are; repeatable."),
    ] = None,
    receptions: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SOURCE", help="Uplinks or statuses, in any known format; repeatable."
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(min=1, help="Settle at most so many more; with a registry alone, days of it."),
    ] = None,
    complete: Annotated[
        bool,
        typer.Option(
            "--complete",
            help="Settle the epoch of the latest record, too; its later records are then late.",
        ),
    ] = False,
    gap: Gap = GAP,
    until: Until = None,
    seed: Seed = None,
    home: Home = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Settle complete epochs; makes and loads what is not there yet.

    An epoch is complete when records reach its end. With a registry alone, traffic is generated
    for its gateways, 30 days unless --epochs says otherwise. Run again, it goes on where it
    stopped.
    """
    from dii.network.draft import check_fed  # noqa: PLC0415
    from dii.network.telemetry import Feed  # noqa: PLC0415 - slow

    sources = [*(registry or []), *(receptions or [])]
    latest = _latest(until) if sources else None
    with screen.progress("loading"):
        data = dii.load(*sources, gap=gap, until=latest)
    found = _found(home, seed, needed=not sources)
    traffic = None if receptions else _traffic(found, data, epochs)
    if not (found or data.span or traffic):
        _check_any(data, of_records=True)
        raise NotSealed
    if not found:  # or a home would be left that no file of these can start
        check_fed(dii.minting.ShapleyTraffic(), Feed(data, traffic).gives)
    with found or dii.Network.create(home=home, seed=seed) as network:
        others: list[str] = []
        if sources or traffic:
            with screen.progress("keeping records"):
                data, others = _ingested(network, data, traffic, gap=gap)
        with screen.progress("settling epochs") as tick:
            if network.sealed:
                network.run(epochs, tick, complete=complete)
        if as_json:
            status = look.status_json(network)
            if network.sealed:
                status |= {"epochs": network.epochs(), "operators": network.operators()}
            names = {"contested": others, "ambiguous": _ambiguous(network)}
            screen.json_out(status | names | {"notes": network.notes})
            _check_any(data)
            return
        if sources:
            show_telemetry(data, traffic)
            _show_names(_ambiguous(network), others)
            screen.say()
        if network.sealed:
            look.show_overview(network, home)
            screen.say()
            look.show_next(network, home)
        for note in network.notes:
            screen.say(note)
        look.show_open(network)
        _check_any(data)


def _found(home: Path, seed: int | None, *, needed: bool) -> Network | None:
    """Open the network of a home; None where there is none and none is needed."""
    try:
        network = dii.Network.open(home)
    except HomeMissing:
        if needed:
            raise
        return None
    if seed is not None and seed != network.home.seed:
        network.close()
        raise _bad("seed", f"{home} was made {_origin(network.home.seed)}; leave the option out")
    return network


def _origin(seed: int | None) -> str:
    return "without a seed" if seed is None else f"with seed {seed}"


def _traffic(network: Network | None, data: Telemetry, epochs: int | None) -> Traffic | None:
    """Return the traffic to generate, where no file says anything of any."""
    feed = network.feed if network else None
    if feed and feed.traffic:
        return dataclasses.replace(feed.traffic, days=max(feed.traffic.days, epochs or 0))
    if data.span or (feed and feed.span) or not len(data.gateways):
        return None
    return dii.Traffic.after(data.gateways, days=epochs or TRAFFIC_DAYS)
