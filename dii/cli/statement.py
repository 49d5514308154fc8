"""``statement``: an operator's month, to read, print and keep, or for a spreadsheet.

The page is one HTML file without scripts and without anything from elsewhere, so that it looks the
same in ten years and tells nobody that it is read. Names come from registries that strangers
write: all that is not our own text is escaped, and a policy in the page forbids scripts besides.
"""

from __future__ import annotations

import html
import shlex
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from dii.cli import screen
from dii.cli.options import DEFAULT_HOME, Home, Json
from dii.units import clean

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
    with screen.looking(home) as network:
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

    money, month = _money(found.currency.decimals), f"{pd.Timestamp(found.month):%B %Y}"
    moved, receipts = found.movements["amount"], found.receipts
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
    origin = f"traffic is generated ({found.generated})" if found.generated else ""
    laboratory = (
        f"A laboratory network: its {origin or 'keys follow from a seed'}, and its money is play"
        " money."
    )
    differs = (
        "Earned is told of the month's epochs, credited of its days: an epoch is paid when it has"
        " ended."
    )
    findings = "".join(f"<li>{_escape(text)}</li>" for text in found.findings)
    noted = receipts["gateway"] + "\n" + receipts["note"]
    parties = found.movements["counterparty"] + "\n" + found.movements["note"]
    movements = found.movements.assign(counterparty=parties.str.strip()).drop(columns="note")
    columns = ["epoch", *_streams(found), "gateway", *_metrics(found), "contribution", "amount"]
    body = [
        f"<header><div><h1>{_escape(found.operator)}</h1>",
        f"<p class=soft>Statement of {month} · {_escape(found.chain)}</p></div>",
        f"<div class=earned>earned<b>{money(found.earned)}</b>",
        f"{_escape(found.currency.symbol)}</div></header>",
        f"<p class=notice>{_escape(laboratory)}</p>" if found.laboratory else "",
        f"<dl>{shown}</dl>",
        f"<p class=soft>{differs}</p>" if found.earned != found.credited else "",
        _chart(found, money),
        f"<h2>What stood between this and more</h2><ul>{findings}</ul>" if findings else "",
        _table(found, "By gateway", _gateways(found)),
        _table(found, "Records set aside", found.rejected, "What telemetry could not use."),
        _table(found, "Money in and out", movements),
        _table(found, "How each epoch was shared", *_epochs(receipts)),
        _table(found, "Every receipt", receipts.assign(gateway=noted)[columns]),
        _proof(found),
    ]
    style = Path(__file__).with_suffix(".css").read_text()
    return (
        f"<!doctype html><html lang=en><head><meta charset=utf-8><title>{_escape(found.operator)},"
        f' {month}</title><meta http-equiv=Content-Security-Policy content="{POLICY}">'
        '<meta name=viewport content="width=device-width">'
        f"<style>{style}</style></head><body>{''.join(body)}</body></html>\n"
    )


def _metrics(found: Statement) -> list[str]:
    """Return the metrics to show: what people look for, and what is not the contribution itself."""
    looked_at = found.metrics if found.metrics != ("shapley_uplinks",) else ()
    return [name for name in dict.fromkeys((*SHOWN, *looked_at)) if name in found.receipts]


def _streams(found: Statement) -> list[str]:
    """Return the column that tells streams apart, where there are several."""
    return ["stream"] if len(set(found.receipts["stream"])) > 1 else []


def _gateways(found: Statement) -> pd.DataFrame:
    rows = found.receipts.assign(paid=found.receipts["amount"] > 0)
    keys = ["gateway", *_streams(found)]  # contributions to two streams are of two units
    sums = rows.groupby(keys).agg(
        receipts=("epoch", "size"),
        paid=("paid", "sum"),
        contribution=("contribution", "sum"),
        amount=("amount", "sum"),
    )
    once = rows.groupby(keys)
    for at, name in enumerate(_metrics(found), 2):
        sums.insert(at, name, once[name].mean() if name.endswith("_ppm") else once[name].sum())
    return sums.sort_values("amount", ascending=False).reset_index()


def _epochs(receipts: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return how the pools were shared, and by which rules."""
    table = receipts.groupby(["epoch", "start", "stream"], as_index=False).agg(
        pool=("pool", "first"),
        contribution=("contribution", "sum"),
        of_all=("total_contribution", "first"),
        amount=("amount", "sum"),
    )
    rules = receipts[["stream", "rule", "policy"]].drop_duplicates().itertuples(index=False)
    return table, "; ".join(f"stream {one.stream}: {one.rule}, {one.policy}" for one in rules)


def _chart(found: Statement, money: Callable[[int], str]) -> str:
    """Draw what each day earned."""
    import pandas as pd  # noqa: PLC0415

    if found.receipts.empty:
        return ""
    days = pd.Timestamp(found.month).days_in_month
    earned = found.receipts.groupby(found.receipts["start"].dt.day)["amount"].sum()
    most, slot = int(earned.max()), 930 / days
    bars = []
    for day in range(1, days + 1):
        amount = int(earned.get(day, 0))
        height = max(120 * amount / max(most, 1), 2)
        bars.append(
            f'<rect x="{(day - 1) * slot:.1f}" y="{130 - height:.1f}" width="{slot * 0.72:.1f}"'
            f' height="{height:.1f}" rx="2"{"" if amount else " class=none"} />'
        )
        if day % 7 == 1:
            bars.append(f'<text x="{(day - 0.64) * slot:.1f}" y="148">{day}</text>')
    title = f"<h2>Earned a day</h2><p class=soft>at most {money(most)}</p>"
    return f'{title}<svg viewBox="0 0 930 152" role="img">{"".join(bars)}</svg>'


def _proof(found: Statement) -> str:
    accounts = ", ".join(f"<code>{account}</code>" for account in found.accounts)
    how = ""
    for row in found.receipts.head(1).itertuples():
        make = ["dii", "proof", "make", "receipt", row.gateway, "--epoch", str(row.epoch)]
        make += ["--stream", row.stream, "-o", "receipt.proof"]
        check = ["dii", "proof", "check", "receipt.proof", "--header", found.header.hash.hex()]
        code = "\n".join(_escape(shlex.join(line)) for line in (make, check))
        how = (
            f"<p>Whoever trusts the hash of header {found.header.height} can check every receipt on"
            " this page, with dii or with a page of Python (docs/proofs.md):</p>"
            f"<pre><code>{code}</code></pre>"
        )
    return f"<footer><p>Account: {accounts}</p>{how}</footer>"


def _table(found: Statement, title: str, frame: pd.DataFrame, about: str = "") -> str:
    """Return a table; how a column is written follows from its name."""
    amount = _money(found.currency.decimals)
    known = dict.fromkeys(("amount", "pool"), amount)
    known |= dict.fromkeys(("contribution", "of_all"), "{:,.2f}".format)
    known |= dict.fromkeys(("start", "time"), "{:%Y-%m-%d %H:%M}".format)
    head, columns = [], []
    for name in frame:
        number = frame[name].dtype.kind in "iuf" and name != "epoch"
        write = known.get(name) or screen.WRITERS.get(name, "{:,.0f}".format if number else _text)
        words = f"{name} {found.currency.symbol}" if name == "amount" else name
        kind = "n" if number else "gateway" if name == "gateway" else "t"
        head.append(f"<th class={kind}>{_escape(words.removesuffix('_ppm').replace('_', ' '))}")
        columns.append(
            [
                f"<td class={kind}>{'unknown' if screen.plain(one) is None else write(one)}"
                for one in frame[name]
            ]
        )
    rows = "".join(f"<tr>{''.join(row)}" for row in zip(*columns))
    caption = f"<caption>{_escape(about)}</caption>" if about else ""
    body = f"{caption}<thead><tr>{''.join(head)}</thead><tbody>{rows}</tbody>"
    return f"<h2>{title}</h2><table>{body}</table>" if rows else ""


def _money(decimals: int) -> Callable[[int], str]:
    """Return what writes amounts in whole units, digits behind the cents in grey."""

    def write(amount: int) -> str:
        text = f"{Decimal(int(amount)).scaleb(-decimals):,.{decimals}f}".replace(
            "-", "\N{MINUS SIGN}"
        )
        cut = len(text) - max(decimals - 2, 0)
        return f"{text[:cut]}<small>{text[cut:]}</small>" if cut < len(text) else text

    return write


def _text(value: object) -> str:
    """Return a text, of several lines the later ones in grey."""
    first, *more = str(value).split("\n")
    return _escape(first) + "".join(f"<p class=soft>{_escape(line)}</p>" for line in more if line)


def _escape(text: str) -> str:
    return html.escape(clean(text))
