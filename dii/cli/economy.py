"""The laboratory's verbs: ``lab compare``."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Final

import typer

import dii
from dii.cli import screen
from dii.cli.draft import rule_of
from dii.cli.options import Epoch
from dii.cli.screen import Answer
from dii.cli.verbs import looking, verb

if TYPE_CHECKING:
    from dii.economy import Comparison

app = typer.Typer()
lab = typer.Typer(help="Compare rules over an epoch's records.", no_args_is_help=True)
app.add_typer(lab, name="lab")

MEASURES: Final = {
    "paid": ("paid", None),
    "gini": ("Gini coefficient", "{:.3f}"),
    "nakamoto": ("operators with more than half", "{:.0f}"),
    "top_1_percent": ("share of the top 1 %", "{:.1%}"),
    "distance_to_shapley": ("distance to Shapley", "{:.1%}"),
    "distance_to_leave_one_out": ("distance to leave-one-out", "{:.1%}"),
    "clone_gain": ("a clone gains", "{:.1%}"),
    "self_traffic_earned": ("1,000 frames to oneself earn", None),
}
"""Labels and formats of measures; None for amounts."""


@lab.callback()
def _lab() -> None:
    """Compare rules over an epoch's records."""


@verb(lab, looking)
def compare(
    network: dii.Network,
    epoch: Epoch,
    rule: list[str] | None = None,
    pool: str | None = None,
    price: str = "0",
) -> Answer:
    """Pay an epoch under several rules, honest and with cheats, and show the differences.

    Distances are the share of the money that would have to change hands.

    Parameters
    ----------
    rule
        NAME or NAME:parameter=value,...; repeat it.
    pool
        Amount that each rule may pay.
    price
        Cost of a data unit for operators who send to themselves.
    """
    comparison = network.compare(epoch, *map(rule_of, rule or []), pool=pool, price=price)
    document = {
        "epoch": epoch,
        "measures": comparison.measures.reset_index(),
        "amounts": comparison.amounts.reset_index(),
    }
    return Answer(document, _compared(comparison, network))


def _compared(comparison: Comparison, network: dii.Network) -> Iterator[screen.Shown]:
    import pandas as pd  # noqa: PLC0415

    rules = {name: f"rule_{number}" for number, name in enumerate(comparison.measures.index, 1)}
    yield {heading.replace("_", " "): name for name, heading in rules.items()}
    yield ""
    money, currency = screen.decimal(network.currency.decimals), network.currency
    labels = [label if form else f"{label}, {currency.symbol}" for label, form in MEASURES.values()]
    shown = pd.DataFrame({"measure": labels})
    for name, heading in rules.items():
        values = comparison.measures.loc[name, [*MEASURES]].tolist()
        texts = [
            "-" if screen.plain(value) is None else form.format(value) if form else money(value)
            for (_, form), value in zip(MEASURES.values(), values)
        ]
        shown[heading] = [text.rjust(max(map(len, texts))) for text in texts]
    yield partial(screen.rows, shown, " ".join(shown))
    yield ""
    headings = [f"{name}_{currency.unit}" for name in rules.values()]
    amounts = comparison.amounts.set_axis(headings, axis=1)
    columns = " ".join(["operator", *rules.values()])
    yield partial(screen.rows, amounts.reset_index(), columns, network)
