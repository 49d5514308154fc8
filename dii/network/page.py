"""The page of an operator's statement, to read, print and keep.

It is one HTML file (``page.html`` is its template) without scripts and references, so that it
looks the same in ten years and reading it is not reported to anybody. Strangers write the names in
registries, so all text but our own is escaped, and a policy in the page also forbids scripts.
"""

from __future__ import annotations

import html
import shlex
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from string import Template
from typing import Any, Final

import pandas as pd

from dii.network.statement import Statement
from dii.schema import SHAPLEY_UNIT
from dii.units import PPM, clean

SHOWN: Final = ("online_ppm", "uplinks", "sole_uplinks")
"""Metrics to show beside those that the rules use."""
METRICS: Final[Mapping[str, Callable[[Any], str]]] = {
    "online_ppm": lambda ppm: f"{ppm / PPM:.1%}",
    "shapley_uplinks": lambda parts: f"{parts / SHAPLEY_UNIT:,.2f}",
}
"""Formats of metrics that are not shown as reported."""
FORMATS: Final[Mapping[str, Callable[[Any], str]]] = {
    **METRICS,
    "epoch": str,
    **dict.fromkeys(("contribution", "of_all"), "{:,.2f}".format),
    **dict.fromkeys(("start", "time"), "{:%Y-%m-%d %H:%M}".format),
}
"""Formats of columns; others are whole numbers or texts."""


def page(statement: Statement) -> str:
    """Return a statement as one self-contained HTML page."""
    money, moved = _money(statement.currency.decimals), statement.movements["amount"]
    figures = {
        "opening balance": statement.opening,
        "credited": statement.credited,
        "received": int(moved.clip(lower=0).sum()),
        "sent and fees": int(moved.clip(upper=0).sum()),
        "other": statement.other,
        "closing balance": statement.closing,
    }
    shown = [(name, money(one)) for name, one in figures.items() if one or "balance" in name]
    origin = f"traffic is generated ({statement.generated})" if statement.generated else ""
    reason = f"its {origin or 'keys follow from a seed'}, and its money is play money."
    notice = f"<p class=notice>A laboratory network: {_escape(reason)}</p>"
    differs = (
        "<p class=soft>Earned counts the month's epochs, credited its days: an epoch is paid after"
        " its end.</p>"
    )
    findings = "".join(f"<li>{_escape(text)}</li>" for text in statement.findings)
    named = statement.receipts["gateway"].map(clean) + "\n" + statement.receipts["note"]
    receipts = statement.receipts.assign(gateway=named)
    columns = ["epoch", *_streams(statement), "gateway", *_metrics(statement)]
    columns += ["contribution", "amount"]
    parties = statement.movements["counterparty"].map(clean) + "\n" + statement.movements["note"]
    movements = statement.movements.assign(counterparty=parties.str.strip()).drop(columns="note")
    tables = [
        _table(statement, "By gateway", _gateways(statement)),
        _table(statement, "Records set aside", statement.rejected, "What telemetry could not use."),
        _table(statement, "Money in and out", movements),
        _table(statement, "How each epoch was shared", *_epochs(statement.receipts)),
        _table(statement, "Every receipt", receipts[columns]),
    ]
    heading = "<h2>What stood between this and more</h2>"
    return Template(Path(__file__).with_suffix(".html").read_text()).substitute(
        operator=_escape(statement.operator),
        month=f"{pd.Timestamp(statement.month):%B %Y}",
        chain=_escape(statement.chain),
        earned=money(statement.earned),
        symbol=_escape(statement.currency.symbol),
        laboratory=notice if statement.laboratory else "",
        figures="".join(f"<div><dt>{name}</dt><dd>{text}</dd></div>" for name, text in shown),
        differs=differs if statement.earned != statement.credited else "",
        chart=_chart(statement, money),
        findings=f"{heading}<ul>{findings}</ul>" if findings else "",
        tables="\n".join(filter(None, tables)),
        accounts=", ".join(f"<code>{account}</code>" for account in statement.accounts),
        proof=_proof(statement),
    )


def _metrics(statement: Statement) -> list[str]:
    """Return the metrics to show; the contribution itself has a column of its own."""
    looked_at = statement.metrics if statement.metrics != ("shapley_uplinks",) else ()
    return [name for name in dict.fromkeys((*SHOWN, *looked_at)) if name in statement.receipts]


def _streams(statement: Statement) -> list[str]:
    """Return the column of streams, where there are several."""
    return ["stream"] if len(set(statement.receipts["stream"])) > 1 else []


def _gateways(statement: Statement) -> pd.DataFrame:
    rows = statement.receipts.assign(paid=statement.receipts["amount"] > 0)
    keys = ["gateway", *_streams(statement)]  # contributions to two streams are of two units
    groups = rows.groupby(keys)
    sums = groups[["paid", "contribution", "amount"]].sum()
    sums.insert(0, "receipts", groups.size())
    for at, name in enumerate(_metrics(statement), 2):
        sums.insert(at, name, groups[name].mean() if name.endswith("_ppm") else groups[name].sum())
    return sums.sort_values("amount", ascending=False).reset_index()


def _epochs(receipts: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return the shares of the pools, and the rules that made them."""
    table = receipts.groupby(["epoch", "start", "stream"], as_index=False).agg(
        pool=("pool", "first"),
        contribution=("contribution", "sum"),
        of_all=("total_contribution", "first"),
        amount=("amount", "sum"),
    )
    rules = receipts[["stream", "rule", "policy"]].drop_duplicates().itertuples(index=False)
    return table, "; ".join(f"stream {row.stream}: {row.rule}, {row.policy}" for row in rules)


def _chart(statement: Statement, money: Callable[[int], str]) -> str:
    """Return a chart of the earnings of each day."""
    if statement.receipts.empty:
        return ""
    days = pd.Timestamp(statement.month).days_in_month
    earned = statement.receipts.groupby(statement.receipts["start"].dt.day)["amount"].sum()
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


def _proof(statement: Statement) -> str:
    """Return the commands that prove the first receipt."""
    header = statement.header
    for row in statement.receipts.head(1).itertuples():
        make = ["dii", "proof", "make", "receipt", row.gateway, "--epoch", str(row.epoch)]
        make += ["--stream", row.stream, "-o", "receipt.proof"]
        check = ["dii", "proof", "check", "receipt.proof", "--header", header.hash.hex()]
        code = "\n".join(_escape(shlex.join(line)) for line in (make, check))
        return (
            f"<p>Anybody who trusts the hash of header {header.height} can check every receipt"
            " on this page, with dii or with a page of Python (docs/proofs.md):</p>"
            f"<pre><code>{code}</code></pre>"
        )
    return ""


def _table(statement: Statement, title: str, frame: pd.DataFrame, about: str = "") -> str:
    """Return a table; the format of a column follows from its name."""
    amount = _money(statement.currency.decimals)
    known = {**FORMATS, "amount": amount, "pool": amount}
    head, columns = [], []
    for name in frame:
        number = frame[name].dtype.kind in "iuf" and name != "epoch"
        write = known.get(name, "{:,.0f}".format if number else _text)
        words = f"{name} {statement.currency.symbol}" if name == "amount" else name
        kind = "n" if number else "gateway" if name == "gateway" else "t"
        head.append(f"<th class={kind}>{_escape(words.removesuffix('_ppm').replace('_', ' '))}")
        cells = ["unknown" if pd.isna(value) else write(value) for value in frame[name]]
        columns.append([f"<td class={kind}>{cell}" for cell in cells])
    rows = "".join(f"<tr>{''.join(row)}" for row in zip(*columns))
    caption = f"<caption>{_escape(about)}</caption>" if about else ""
    body = f"{caption}<thead><tr>{''.join(head)}</thead><tbody>{rows}</tbody>"
    return f"<h2>{title}</h2><table>{body}</table>" if rows else ""


def _money(decimals: int) -> Callable[[int], str]:
    """Return a function that writes amounts in whole units, digits behind the cents in grey."""

    def write(amount: int) -> str:
        text = f"{Decimal(int(amount)).scaleb(-decimals):,.{decimals}f}"
        text = text.replace("-", "\N{MINUS SIGN}")
        cut = len(text) - max(decimals - 2, 0)
        return f"{text[:cut]}<small>{text[cut:]}</small>" if cut < len(text) else text

    return write


def _text(value: object) -> str:
    """Return a text, of several lines the later ones in grey."""
    first, *more = str(value).split("\n")
    return _escape(first) + "".join(f"<p class=soft>{_escape(line)}</p>" for line in more if line)


def _escape(text: str) -> str:
    return html.escape(clean(text))
