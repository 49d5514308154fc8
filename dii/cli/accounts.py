"""Verbs of accounts: ``transfer``, ``burn``, ``assign``, ``claim``, and ``keys``.

Key files are encrypted with ``$DII_PASSWORD``, else with a passphrase that the home keeps beside
them. No verb prints a secret.
"""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import dii
from dii import crypto, errors
from dii.cli.options import Amount, Gateway, Key, Scope, Sender
from dii.cli.screen import Answer
from dii.cli.verbs import verb, writing

if TYPE_CHECKING:
    from dii.network.home import Home

app = typer.Typer()
keys = typer.Typer(help="Make, list, show and import keys.")
app.add_typer(keys, name="keys")

Name = Annotated[str, {"help": "Name of the account."}]


@verb(app, writing)
def transfer(network: dii.Network, to: str, amount: Amount, sender: Sender) -> Answer:
    """Move money to another account.

    Parameters
    ----------
    to
        Name or address.
    """
    smallest = network.currency.parse(amount)
    sent = network.transfer(sender, to, smallest)
    return done(network, sent, f"{network.currency.format(smallest)} from {sender} to {to}")


@verb(app, writing)
def burn(network: dii.Network, amount: Amount, sender: Sender) -> Answer:
    """Destroy money, for service used."""
    smallest = network.currency.parse(amount)
    sent = network.burn(sender, smallest)
    return done(network, sent, f"{sender} burned {network.currency.format(smallest)}")


@verb(app, writing)
def assign(
    network: dii.Network, gateway: Gateway, to: str, sender: Sender, scope: Scope = "main"
) -> Answer:
    """Transfer a gateway to another owner, from the next epoch.

    Parameters
    ----------
    to
        Name or address of its next owner.
    """
    sent = network.assign(gateway, sender, to, scope)
    return done(network, sent, f"{gateway} goes to {to} with the next epoch")


@verb(app, writing)
def claim(network: dii.Network, operator: str, key: Key) -> Answer:
    """As the reporter, give a key access to an operator's claim account.

    Parameters
    ----------
    operator
        Name in the registry.
    """
    sent = network.claim(operator, key)
    moved = "is claimed; its money moved to the key's account"
    state = moved if network.claimed(operator) else "waits for other reporters"
    return done(network, sent, f"{operator} {state}")


def done(network: dii.Network, transaction: str, text: str) -> Answer:
    """Return the result of a message; it is shown as done only once a block holds it."""
    height = int(network.transactions(begins=transaction)["height"].iloc[-1])
    document = {"transaction": transaction, "height": height}
    return Answer(document, f"{text}: transaction {transaction} in block {height}")


# --- keys ----------------------------------------------------------------------------------------


def _holding(folder: Path) -> closing[Home]:
    """Open a home for its keys alone."""
    from dii.network.home import Home  # noqa: PLC0415

    return closing(Home.open(folder))


@verb(keys, _holding)
def new(home: Home, name: Name) -> Answer:
    """Make a key, and with it an account that can receive and send money."""
    _check_free(home, name)
    return _described(name, home.key(name, create=True).public_key)


@verb(keys, _holding)
def list_(home: Home) -> Answer:
    """List the keys of a home."""
    known = sorted(home.public_keys().items())
    shown = {name: crypto.format_address(crypto.address_of(key)) for name, key in known}
    return Answer([_described(name, key).document for name, key in known], shown)


@verb(keys, _holding)
def show(home: Home, name: Name) -> Answer:
    """Show a key's address and public key; secrets stay in their file."""
    public_key = home.public_keys().get(name)
    if public_key is None:
        raise errors.KeyMissing(name=name, folder=home.folder)
    return _described(name, public_key)


@verb(keys, _holding)
def import_(home: Home, name: Name, file: Path, password_file: Path | None = None) -> Answer:
    """Import a key from a key file, encrypted anew for this home.

    Parameters
    ----------
    file
        A key file.
    password_file : FILE
        File with its password; by default dii asks for it.
    """
    if home.seed is not None:
        raise errors.LaboratoryKeys(folder=home.folder)
    _check_free(home, name)
    if password_file is not None:
        password = os.fsdecode(password_file.read_bytes()).rstrip("\n")
    else:
        password = typer.prompt(f"password of {file}", hide_input=True, err=True)
    key = crypto.load_key(file, password)
    home.import_key(name, key)
    return _described(name, key.public_key)


def _check_free(home: Home, name: str) -> None:
    """Refuse a name that no account can have, or that is taken: money could go to either."""
    from dii.network.home import RESERVED_NAMES, check_name  # noqa: PLC0415

    check_name(name)
    if name in RESERVED_NAMES or home.find("account", name) is not None:
        raise errors.NameTaken(name=name)


def _described(name: str, public_key: bytes) -> Answer:
    address = crypto.format_address(crypto.address_of(public_key))
    facts = {"name": name, "address": address, "public_key": public_key.hex()}
    return Answer(facts, facts)
