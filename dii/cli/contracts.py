"""Verbs of agreements: ``contract check|deploy|call|view|show|top-up|agreements``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

import dii
from dii.cli import screen
from dii.cli.accounts import Amount, Sender, done
from dii.cli.options import DEFAULT_HOME, Home, Json, command
from dii.errors import BadSource
from dii.units import clean

if TYPE_CHECKING:
    from dii.contracts.agreements import Agreement

contract = typer.Typer(help="Agreements that carry themselves out.")

MAX_FILE: Final = 1 << 19
"""Bytes of a contract's text."""

TAKEN: Final = {"by", "value", "hook_gas", "purse", "gas_limit"}
"""Names of options; an argument cannot go by such a name on the command line."""

Address = Annotated[str, typer.Argument(metavar="CONTRACT", help="Its address, dii1….")]
Function = Annotated[str, typer.Argument(help="Name of the function.")]
Arguments = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NAME=VALUE]…", help="Arguments: gateway=eui-…, price=2.5TTC, online_ppm=95%."
    ),
]
What = Annotated[str, typer.Argument(metavar="WHAT", help="A file, or the name of an agreement.")]
Value = Annotated[str, typer.Option("--value", help="Money that comes along.")]
Gas = Annotated[int | None, typer.Option("--gas", min=1, help="The most gas it may use.")]


@contract.command("check")
def check(what: What, as_json: Json = False) -> None:
    """Look a contract's text over: every fault, where, and what to write instead."""
    from dii.network import contracts as deals  # noqa: PLC0415

    found = deals.check(None, _source(what))
    if as_json:
        screen.json_out({"ok": bool(found), "faults": list(found.faults)})
    else:
        for line in repr(found).splitlines():
            typer.echo(clean(line))
    if not found:
        raise typer.Exit(1)


@contract.command("deploy")
def deploy(
    what: What,
    sender: Sender,
    arguments: Arguments = None,
    value: Value = "0",
    hook_gas: Annotated[
        int | None, typer.Option(min=1, help="Gas reserved each epoch for what runs by itself.")
    ] = None,
    purse: Annotated[str | None, typer.Option(help="Money that pays for that gas.")] = None,
    gas: Gas = None,
    home: Home = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Put a contract on the chain; by default its purse lasts until its last epoch."""
    source = _source(what)
    with dii.Network.open(home) as network:
        try:
            deal = network.deploy(
                source, by=sender, value=value, hook_gas=hook_gas, purse=purse, gas_limit=gas,
                **_pairs(arguments),
            )  # fmt: skip
        except BadSource as error:  # many lines, with carets
            for line in str(error).splitlines():
                typer.echo(clean(line), err=True)
            raise typer.Exit(1) from None
        screen.answer(as_json, {"contract": deal.address} | deal.lines(), deal.lines())
        if not as_json:
            screen.say("look at it again with: " + command(home, "contract", "show", deal.address))


@contract.command("call")
def call(
    address: Address,
    function: Function,
    sender: Sender,
    arguments: Arguments = None,
    value: Value = "0",
    gas: Gas = None,
    home: Home = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Call a function of a contract."""
    with dii.Network.open(home) as network:
        deal = network.contract(address)
        sent = deal.call(function, by=sender, value=value, gas_limit=gas, **_pairs(arguments))
        done(network, sent, f"{sender} called {function}", as_json)


@contract.command("top-up")
def top_up(
    address: Address,
    amount: Amount,
    sender: Sender,
    home: Home = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Put money into a contract's purse; one that sleeps wakes."""
    with dii.Network.open(home) as network:
        sent = network.contract(address).top_up(amount, by=sender)
        done(network, sent, f"{sender} put {amount} into the purse", as_json)


@contract.command("view")
def view(
    address: Address,
    function: Function,
    arguments: Arguments = None,
    home: Home = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Ask a contract something; costs nothing and changes nothing."""
    with screen.looking(home) as network:
        deal = network.contract(address)
        value = deal.view(function, **_pairs(arguments))
        screen.answer(as_json, value, deal.answer(function, value))


@contract.command("show")
def show(
    address: Address,
    source: Annotated[bool, typer.Option("--source", help="Its text, as it runs.")] = False,
    home: Home = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Say what a contract promises, where it stands, and what has happened."""
    with screen.looking(home) as network:
        deal = network.contract(address)
        if source:
            for line in deal.source.splitlines():
                typer.echo(clean(line))
            return
        events = deal.events()
        if as_json:
            screen.json_out(deal.lines() | {"events": events})
            return
        screen.facts(deal.lines())
        screen.say()
        # Who says it matters: a contract may tell that it pays, and not pay.
        events["by"] = events["told"].map({True: "contract", False: "chain"})
        screen.rows(events, "time by event details")


@contract.command("agreements")
def agreements(
    name: Annotated[str | None, typer.Argument(help="Print this one's text.")] = None,
    as_json: Json = False,
) -> None:
    """List the agreements that come with dii, or print one to start from."""
    from dii.contracts.agreements import AGREEMENTS  # noqa: PLC0415

    if name is not None:
        typer.echo(_agreement(name).source, nl=False)
        return
    if as_json:
        screen.json_out([{"name": one.name, "summary": one.summary} for one in AGREEMENTS.values()])
        return
    for one in AGREEMENTS.values():
        screen.facts({one.name: " ".join(one.summary.split()), "takes": one.takes})
        screen.say()


def _agreement(name: str) -> Agreement:
    from dii.contracts.agreements import AGREEMENTS  # noqa: PLC0415

    found = AGREEMENTS.get(name)
    if found is None:
        known = ", ".join(AGREEMENTS)
        raise typer.BadParameter(f"no agreement {name!r}, and no such file; there is {known}")
    return found


def _source(what: str) -> str | Agreement:
    """Return the text of a file, or an agreement by its name."""
    path = Path(what)
    if not path.exists():
        return _agreement(what)
    with path.open("rb") as file:
        text = file.read(MAX_FILE + 1)
    if len(text) > MAX_FILE:
        raise typer.BadParameter(f"{what} has more than {MAX_FILE:,} bytes")
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"{what} is not UTF-8: {error}") from None


def _pairs(arguments: list[str] | None) -> dict[str, str]:
    """Read ``name=value`` words."""
    pairs: dict[str, str] = {}
    for word in arguments or ():
        name, separator, value = word.partition("=")
        if not separator or not name.isidentifier() or name in pairs or name in TAKEN:
            raise typer.BadParameter(f"{word!r}: write each argument once, as name=value")
        pairs[name] = value
    return pairs
