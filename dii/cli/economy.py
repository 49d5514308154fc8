"""The laboratory's verbs: ``lab compare``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

import dii
from dii.cli import screen
from dii.cli.options import DEFAULT_HOME, Epoch, Home, Json
from dii.cli.telemetry import chosen

if TYPE_CHECKING:
    from dii import Network
    from dii.economy import Comparison

lab = typer.Typer(help="Compare rules over an epoch's records.", no_args_is_help=True)

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
"""What measures are called, and how they are written; None for amounts."""


@lab.callback()
def _lab() -> None:
    """Compare rules over an epoch's records."""


@lab.command("compare")
def compare(
    epoch: Epoch,
    rule: Annotated[
        list[str] | None, typer.Option(help="NAME or NAME:parameter=value,...; repeat it.")
    ] = None,
    pool: Annotated[str | None, typer.Option(help="What each rule may pay.")] = None,
    price: Annotated[
        str, typer.Option(help="What a data unit costs who sends traffic to oneself.")
    ] = "0",
    home: Home = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Pay an epoch under several rules, honest and cheated, and say how they differ.

    Distances are the share of the money that would have to change hands.
    """
    rules = [chosen("rule", text, dii.minting.RULES.values()) for text in rule or []]
    with screen.looking(home) as network:
        found = network.compare(epoch, *rules, pool=pool, price=price)
        if as_json:
            measures = found.measures.reset_index().to_dict("records")
            amounts = found.amounts.reset_index().to_dict("records")
            screen.json_out({"epoch": epoch, "measures": measures, "amounts": amounts})
            return
        _show(found, network)


def _show(found: Comparison, network: Network) -> None:
    import pandas as pd  # noqa: PLC0415

    rules = {name: f"rule_{number}" for number, name in enumerate(found.measures.index, 1)}
    screen.facts({heading.replace("_", " "): name for name, heading in rules.items()})
    screen.say()
    money = screen.decimal(network.currency.decimals)
    forms = [form.format if form else money for _, form in MEASURES.values()]
    symbol = f", {network.currency.symbol}"
    headings = [name if form else name + symbol for name, form in MEASURES.values()]
    shown = pd.DataFrame({"measure": headings})
    for name, heading in rules.items():
        values = found.measures.loc[name, [*MEASURES]].tolist()
        texts = [
            "-" if screen.plain(value) is None else write(value)
            for write, value in zip(forms, values)
        ]
        shown[heading] = [text.rjust(max(map(len, texts))) for text in texts]
    screen.rows(shown, " ".join(shown))
    screen.say()
    unit = network.currency.unit
    amounts = found.amounts.set_axis([f"{name}_{unit}" for name in rules.values()], axis=1)
    screen.rows(amounts.reset_index(), " ".join(["operator", *rules.values()]), network)
