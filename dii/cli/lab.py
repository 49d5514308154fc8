"""The laboratory's verbs: ``lab compare``."""

from __future__ import annotations

from typing import Annotated

import typer

import dii
from dii.cli import screen
from dii.cli.build import chosen
from dii.cli.options import DEFAULT_HOME, Epoch, Home, Json

lab = typer.Typer(help="Compare rules over an epoch's records.", no_args_is_help=True)

PER_CENT = 100


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
    """Pay an epoch under several rules, honest and cheated, and say how they differ."""
    rules = [chosen("rule", text, dii.minting.RULES.values()) for text in rule or []]
    with dii.Network.open(home, readonly=True) as network:
        found = network.compare(epoch, *rules, pool=pool, price=price)
        if as_json:
            measures = found.measures.reset_index().to_dict("records")
            amounts = found.amounts.reset_index().to_dict("records")
            screen.json_out({"epoch": epoch, "measures": measures, "amounts": amounts})
            return
        top = found.amounts.head(10)
        for name, measures in found.measures.iterrows():
            screen.say(str(name), "bold")
            screen.facts(
                {
                    "paid": network.currency.format(int(measures["paid"])),
                    "gini": f"{measures['gini']:.3f}",
                    "nakamoto": f"{measures['nakamoto']:.0f} operators get more than half",
                    "top 1 %": f"{PER_CENT * measures['top_1_percent']:.1f} %",
                    "from Shapley": f"{PER_CENT * measures['distance_to_shapley']:.1f} % of the"
                    " money would change hands",
                    "from leave-one-out": f"{PER_CENT * measures['distance_to_leave_one_out']:.1f} %",
                    "a clone gains": f"{PER_CENT * measures['clone_gain']:.1f} %",
                    "self-traffic": "1,000 frames to oneself earn "
                    + network.currency.format(int(measures["self_traffic_earned"])),
                    "pays most to": ", ".join(
                        f"{who} {network.currency.format(int(amount))}"
                        for who, amount in top[name].nlargest(3).items()
                    ),
                }
            )
            screen.say()
