"""Verbs that sign messages: ``transfer``, ``burn``, ``assign``, ``claim``."""

from __future__ import annotations

from typing import Annotated

import typer

import dii
from dii.cli import screen
from dii.cli.options import DEFAULT_HOME, Gateway, Home, Json, Scope

Amount = Annotated[str, typer.Argument(help='Whole units: 12.5, or "12.5 TTC".')]
Key = Annotated[str, typer.Argument(help="Name of a key in this home, or a public key in hex.")]
Sender = Annotated[
    str, typer.Option("--from", metavar="NAME", help="Who signs; the key lies in the home.")
]


def transfer(
    to: Annotated[str, typer.Argument(help="Name or address.")],
    amount: Amount,
    sender: Sender,
    home: Home = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Move money to another account."""
    with dii.Network.open(home) as network:
        smallest = network.currency.parse(amount)
        sent = network.transfer(sender, to, smallest)
        text = f"{network.currency.format(smallest)} from {sender} to {to}"
        done(network, sent, text, as_json)


def burn(amount: Amount, sender: Sender, home: Home = DEFAULT_HOME, as_json: Json = False) -> None:
    """Destroy money, for service used."""
    with dii.Network.open(home) as network:
        smallest = network.currency.parse(amount)
        sent = network.burn(sender, smallest)
        done(network, sent, f"{sender} burned {network.currency.format(smallest)}", as_json)


def assign(
    gateway: Gateway,
    to: Annotated[str, typer.Argument(help="Name or address of its next owner.")],
    sender: Sender,
    scope: Scope = "main",
    home: Home = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Hand a gateway on, from the next epoch."""
    with dii.Network.open(home) as network:
        sent = network.assign(gateway, sender, to, scope)
        done(network, sent, f"{gateway} goes to {to} with the next epoch", as_json)


def claim(
    operator: Annotated[str, typer.Argument(help="As the registry names it.")],
    key: Key,
    home: Home = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """As the reporter, open an operator's claim account to a key."""
    with dii.Network.open(home) as network:
        sent = network.claim(operator, key)
        said = "waits for other reporters"
        if network.claimed(operator):
            said = "is claimed; its money moved to the key's account"
        done(network, sent, f"{operator} {said}", as_json)


def done(network: dii.Network, transaction: str, text: str, as_json: bool) -> None:
    """Print what became of a message: nothing is printed as done that is not in a block."""
    height = int(network.transactions(begins=transaction)["height"].iloc[-1])
    document = {"transaction": transaction, "height": height}
    screen.answer(as_json, document, f"{text}: transaction {transaction} in block {height}")
