"""Verbs of agreements: ``contract check|deploy|call|view|show|top-up|agreements``."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

import dii
from dii.cli import screen
from dii.cli.accounts import done
from dii.cli.options import Amount, MaybePositive, Sender, bad, command, pairs
from dii.cli.screen import Answer
from dii.cli.verbs import looking, verb, writing

if TYPE_CHECKING:
    from dii.contracts.agreements import Agreement

app = typer.Typer()
verbs = typer.Typer(help="Agreements that execute themselves.")
app.add_typer(verbs, name="contract")

MAX_FILE: Final = 1 << 19
"""Bytes of a contract's text."""
TAKEN: Final = {"by", "value", "hook_gas", "purse", "gas_limit"}
"""Names of options; an argument cannot go by such a name on the command line."""

Address = Annotated[str, {"metavar": "CONTRACT", "help": "Its address, dii1…."}]
Function = Annotated[str, {"help": "Name of the function."}]
Arguments = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NAME=VALUE]…", help="Arguments: gateway=eui-…, price=2.5TTC, online_ppm=95%."
    ),
]
What = Annotated[str, {"metavar": "WHAT", "help": "A file, or the name of an agreement."}]
Value = Annotated[str, {"help": "Money to send along."}]
Gas = Annotated[int | None, {"min": 1, "help": "Most gas that may be used."}]


@verb(verbs)
def check(what: What) -> Iterator[Answer]:
    """Check a contract's text: every fault, where, and what to write instead."""
    from dii.network import contracts  # noqa: PLC0415

    result = contracts.check(_source(what))
    yield Answer({"ok": bool(result), "faults": list(result.faults)}, repr(result).splitlines())
    if not result:
        raise typer.Exit(1)


@verb(verbs, writing)
def deploy(
    network: dii.Network,
    what: What,
    sender: Sender,
    arguments: Arguments = None,
    value: Value = "0",
    hook_gas: MaybePositive = None,
    purse: str | None = None,
    gas: Gas = None,
) -> Answer:
    """Deploy a contract; by default its gas deposit lasts until its last epoch.

    Parameters
    ----------
    hook_gas
        Gas reserved each epoch for its @on_epoch functions.
    purse
        Gas deposit that pays for them.
    """
    contract = network.deploy(
        _source(what), by=sender, value=value, hook_gas=hook_gas, purse=purse, gas_limit=gas,
        **_arguments(arguments),
    )  # fmt: skip
    again = command(network.home.folder, "contract", "show", contract.address)
    lines = contract.lines()
    shown: list[screen.Shown] = [lines, f"look at it again with: {again}"]
    return Answer({"contract": contract.address} | lines, shown)


@verb(verbs, writing)
def call(
    network: dii.Network,
    address: Address,
    function: Function,
    sender: Sender,
    arguments: Arguments = None,
    value: Value = "0",
    gas: Gas = None,
) -> Answer:
    """Call a function of a contract."""
    contract = network.contract(address)
    sent = contract.call(function, by=sender, value=value, gas_limit=gas, **_arguments(arguments))
    return done(network, sent, f"{sender} called {function}")


@verb(verbs, writing)
def top_up(network: dii.Network, address: Address, amount: Amount, sender: Sender) -> Answer:
    """Add money to a contract's gas deposit; a sleeping contract wakes."""
    sent = network.contract(address).top_up(amount, by=sender)
    return done(network, sent, f"{sender} added {amount} to the gas deposit")


@verb(verbs, looking)
def view(
    network: dii.Network, address: Address, function: Function, arguments: Arguments = None
) -> Answer:
    """Call a view of a contract; costs nothing and changes nothing."""
    contract = network.contract(address)
    value = contract.view(function, **_arguments(arguments))
    return Answer(value, contract.answer(function, value))


@verb(verbs, looking)
def show(network: dii.Network, address: Address, source: bool = False) -> Iterator[Answer]:
    """Show a contract: its promises, its state, and its events.

    Parameters
    ----------
    source
        Print its text, as it runs.
    """
    contract = network.contract(address)
    if source:
        screen.show_parts(contract.source.splitlines())
        return
    lines, events = contract.lines(), contract.events()
    # The source matters: a contract may say that it pays, and not pay.
    told = events.assign(by=events["told"].map({True: "contract", False: "chain"}))
    table = partial(screen.rows, told, "time by event details")
    yield Answer(lines | {"events": events}, [lines, "", table])


@verb(verbs)
def agreements(name: Annotated[str | None, typer.Argument()] = None) -> Iterator[Answer]:
    """List the included agreements, or print the text of one to start from.

    Parameters
    ----------
    name
        Print the text of this agreement.
    """
    from dii.contracts.agreements import AGREEMENTS  # noqa: PLC0415

    if name is not None:
        typer.echo(_agreement(name).source, nl=False)
        return
    document, shown = [], []
    for agreement in AGREEMENTS.values():
        document.append({"name": agreement.name, "summary": agreement.summary})
        summary = " ".join(agreement.summary.split())
        shown += [{agreement.name: summary, "takes": agreement.takes}, ""]
    yield Answer(document, shown)


def _agreement(name: str) -> Agreement:
    from dii.contracts.agreements import AGREEMENTS  # noqa: PLC0415

    agreement = AGREEMENTS.get(name)
    if agreement is None:
        known = ", ".join(AGREEMENTS)
        raise typer.BadParameter(f"no agreement {name!r}, and no such file; there is {known}")
    return agreement


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


def _arguments(words: list[str] | None) -> dict[str, str]:
    """Read the arguments of a function."""
    arguments = pairs("NAME=VALUE", words, "price=2.5TTC")
    for name in arguments:
        if not name.isidentifier() or name in TAKEN:
            raise bad("NAME=VALUE", f"no argument can be called {name!r}")
    return arguments
