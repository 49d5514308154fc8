"""``statement``: an operator's month, to read, print and keep, or for a spreadsheet.

The page is one HTML file without scripts and without anything from elsewhere, so that it looks the
same in ten years and tells nobody that it is read. Names come from registries that strangers
write: all that is not our own text is escaped, and a policy in the page forbids scripts besides.
"""

from __future__ import annotations

import html
import shlex
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

import dii
from dii.cli import screen
from dii.cli.options import DEFAULT_HOME, Home, Json, clean

if TYPE_CHECKING:
    import pandas as pd

    from dii.network.statement import Statement

SHOWN: Final = ("online_ppm", "uplinks", "sole_uplinks")
"""Metrics that people want to see beside those that the rules look at."""
POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"


def statement(
    operator: Annotated[str, typer.Argument(help="Name or address.")],
    month: Annotated[str, typer.Option(metavar="YYYY-MM", help="A calendar month, UTC.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Else standard output.")
    ] = None,
    csv: Annotated[bool, typer.Option("--csv", help="A row a receipt or movement.")] = False,
    home: Home = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Write what an operator earned in a month, and why, as a page to print or a table."""
    with dii.Network.open(home, readonly=True) as network:
        found = network.statement(operator, month)
    if as_json and output is None:
        screen.json_out(found)
        return
    text = screen.csv(found.table()) if csv else page(found)
    if output is None:
        typer.echo(text, nl=False)
        return
    output.write_text(text)
    written = {"file": str(output), f"earned_{found.currency.unit}": found.earned}
    earned = found.currency.format(found.earned)
    screen.answer(as_json, written, f"{operator} earned {earned} in {month}: {output}")


def page(found: Statement) -> str:
    """Return a statement as one HTML page that needs nothing beside itself."""
    import pandas as pd  # noqa: PLC0415

    money, moved = _money(found.currency.decimals), found.movements["amount"]
    month = f"{pd.Timestamp(found.month):%B %Y}"
    figures = {
        "opening balance": found.opening,
        "credited": found.credited,
        "received": int(moved.clip(lower=0).sum()),
        "sent and fees": int(moved.clip(upper=0).sum()),
        "other": found.other,
        "closing balance": found.closing,
    }
    shown = "".join(
        f"<div><dt>{name}</dt><dd>{money(amount)}</dd></div>"
        for name, amount in figures.items()
        if amount or "balance" in name
    )
    laboratory = "A laboratory network: its keys follow from a seed, and its money is play money."
    differs = "Earned is told of the month's epochs, credited of its days: an epoch is paid when it has ended."
    findings = "".join(f"<li>{_escape(text)}</li>" for text in found.findings)
    body = [
        f"<header><div><h1>{_escape(found.operator)}</h1>",
        f"<p class=soft>Statement of {month} · {_escape(found.chain)}</p></div>",
        f"<div class=earned>earned<b>{money(found.earned)}</b>",
        f"{_escape(found.currency.symbol)}</div></header>",
        f"<p class=notice>{laboratory}</p>" if found.laboratory else "",
        f"<dl>{shown}</dl>",
        f"<p class=soft>{differs}</p>" if found.earned != found.credited else "",
        _chart(found, money),
        f"<h2>What stood between this and more</h2><ul>{findings}</ul>" if findings else "",
        _gateways(found, money),
        _rejected(found.rejected),
        _movements(found, money),
        _epochs(found, money),
        _receipts(found, money),
        _proof(found),
    ]
    style = Path(__file__).with_suffix(".css").read_text()
    return (
        f"<!doctype html><html lang=en><head><meta charset=utf-8><title>{_escape(found.operator)},"
        f' {month}</title><meta http-equiv=Content-Security-Policy content="{POLICY}">'
        '<meta name=viewport content="width=device-width">'
        f"<style>{style}</style></head><body>{''.join(body)}</body></html>\n"
    )


def _chart(found: Statement, money: Callable[[int], str]) -> str:
    """Draw what each day earned."""
    import pandas as pd  # noqa: PLC0415

    days = pd.Timestamp(found.month).days_in_month
    earned = found.receipts.groupby(found.receipts["start"].dt.day)["amount"].sum()
    most, slot = max(earned.max(), 1) if len(earned) else 1, 930 / days
    bars = []
    for day in range(1, days + 1):
        amount = int(earned.get(day, 0))
        height = max(120 * amount / most, 2)
        bars.append(
            f'<rect x="{(day - 1) * slot:.1f}" y="{130 - height:.1f}" width="{slot * 0.72:.1f}"'
            f' height="{height:.1f}" rx="2"{"" if amount else " class=none"} />'
        )
        if day % 7 == 1:
            bars.append(f'<text x="{(day - 0.64) * slot:.1f}" y="148">{day}</text>')
    title = (
        f"<h2>Earned a day</h2><p class=soft>at most {money(int(most))}</p>" if len(earned) else ""
    )
    return f'{title}<svg viewBox="0 0 930 152" role="img">{"".join(bars)}</svg>' if title else ""


def _gateways(found: Statement, money: Callable[[int], str]) -> str:
    groups = found.receipts.groupby("gateway", sort=False)
    table = groups[["contribution", "amount"]].sum().sort_values("amount", ascending=False)
    once = found.receipts.drop_duplicates(["epoch", "gateway"]).groupby("gateway")
    paid = found.receipts[found.receipts["amount"] > 0].groupby("gateway")["epoch"].nunique()
    metrics = {
        f">{_header(name)}": [
            _metric(name)(one)
            for one in (once[name].mean() if name.endswith("_ppm") else once[name].sum())[
                table.index
            ]
        ]
        for name in _shown(found)
    }
    columns = {
        "gateway": map(_escape, table.index),
        ">epochs": map(str, once.size()[table.index]),
        ">paid": map(str, paid.reindex(table.index, fill_value=0)),
        **metrics,
        ">contribution": map("{:,.2f}".format, table["contribution"]),
        f">earned {_escape(found.currency.symbol)}": map(money, table["amount"]),
    }
    return _section("By gateway", "", columns)


def _rejected(rejected: pd.DataFrame) -> str:
    columns = {
        "gateway": map(_escape, rejected["gateway"]),
        "reason": (_escape(one.replace("_", " ")) for one in rejected["reason"]),
        ">records": map("{:,}".format, rejected["records"]),
        "the first": map(_escape, rejected["first"]),
    }
    about = "What telemetry said of these gateways and could not be used."
    return _section("Records set aside", about, columns)


def _movements(found: Statement, money: Callable[[int], str]) -> str:
    moved = found.movements
    columns = {
        "time (UTC)": map("{:%Y-%m-%d %H:%M}".format, moved["time"]),
        "what": map(_escape, moved["kind"]),
        "with": map(_escape, moved["counterparty"]),
        f">{_escape(found.currency.symbol)}": map(money, moved["amount"]),
    }
    return _section("Money in and out", "", columns)


def _epochs(found: Statement, money: Callable[[int], str]) -> str:
    keys = ["epoch", "stream", "rule", "policy"]
    groups = found.receipts.groupby(keys, sort=False)
    table = groups[["start", "pool", "total_contribution"]].first()
    sums = groups[["contribution", "amount"]].sum()
    rules = found.receipts.drop_duplicates(keys[1:])[keys[1:]].itertuples(index=False)
    about = "; ".join(f"stream {_escape(s)}: {_escape(rule)}, {_escape(p)}" for s, rule, p in rules)
    columns = {
        "epoch": (str(key[0]) for key in table.index),
        "began": map("{:%Y-%m-%d}".format, table["start"]),
        "stream": (_escape(key[1]) for key in table.index),
        ">pool": map(money, table["pool"]),
        ">contribution": map("{:,.2f}".format, sums["contribution"]),
        ">of all": map("{:,.2f}".format, table["total_contribution"]),
        f">earned {_escape(found.currency.symbol)}": map(money, sums["amount"]),
    }
    return _section("How each epoch was shared", about, columns)


def _receipts(found: Statement, money: Callable[[int], str]) -> str:
    rows = found.receipts
    metrics = {f">{_header(name)}": map(_metric(name), rows[name]) for name in _shown(found)}
    columns = {
        "epoch": map(str, rows["epoch"]),
        "gateway": (
            _escape(name) + (note and f"<p class=soft>{_escape(note)}</p>")
            for name, note in zip(rows["gateway"], rows["note"])
        ),
        **metrics,
        ">contribution": map("{:,.2f}".format, rows["contribution"]),
        f">earned {_escape(found.currency.symbol)}": map(money, rows["amount"]),
    }
    return _section("Every receipt", "What was reported of each gateway, and its part.", columns)


def _proof(found: Statement) -> str:
    header = found.header.hash.hex()
    lines = [["dii", "proof", "check", "receipt.proof", "--header", header]]
    for row in found.receipts.head(1).itertuples():
        make = ["dii", "proof", "make", "receipt", row.gateway, "--epoch", str(row.epoch)]
        lines.insert(0, [*make, "-o", "receipt.proof"])
    code = "\n".join(_escape(shlex.join(line)) for line in lines)
    accounts = ", ".join(f"<code>{account}</code>" for account in found.accounts)
    return (
        f"<footer><p>Account: {accounts}</p><p>Whoever trusts the hash of header"
        f" {found.header.height} can check every receipt on this page, with dii or with a page of"
        f" Python (docs/proofs.md):</p><pre><code>{code}</code></pre></footer>"
    )


# --- cells ---------------------------------------------------------------------------------------


def _section(title: str, about: str, columns: Mapping[str, Iterable[str]]) -> str:
    """Return a table of cells in HTML by header; those of numbers begin with ``>``."""
    classes = [" class=n" if name.startswith(">") else f' class="{name}"' for name in columns]
    head = "".join(f"<th{one}>{name.lstrip('>')}" for one, name in zip(classes, columns))
    rows = [
        "<tr>" + "".join(f"<td{one}>{cell}" for one, cell in zip(classes, row))
        for row in zip(*columns.values())
    ]
    caption = f"<caption>{about}</caption>" if about else ""
    body = f"{caption}<thead><tr>{head}</thead><tbody>{''.join(rows)}</tbody>"
    return f"<h2>{title}</h2><table>{body}</table>" if rows else ""


def _shown(found: Statement) -> list[str]:
    """Return the metrics to show: what people look for, and what is not the contribution itself."""
    looked_at = found.metrics if found.metrics != ("shapley_uplinks",) else ()
    return [name for name in dict.fromkeys((*SHOWN, *looked_at)) if name in found.receipts]


def _header(name: str) -> str:
    return name.removesuffix("_ppm").replace("_", " ")


def _metric(name: str) -> Callable[[Any], str]:
    write = screen.WRITERS.get(name, "{:,.0f}".format)
    return lambda value: "unknown" if screen.plain(value) is None else write(value)


def _money(decimals: int) -> Callable[[int], str]:
    """Return what writes amounts in whole units, digits behind the cents in grey."""

    def write(amount: int) -> str:
        text = f"{Decimal(int(amount)).scaleb(-decimals):,.{decimals}f}".replace(
            "-", "\N{MINUS SIGN}"
        )
        cut = len(text) - max(decimals - 2, 0)
        return f"{text[:cut]}<small>{text[cut:]}</small>" if cut < len(text) else text

    return write


def _escape(text: str) -> str:
    return html.escape(clean(text))
