"""Verbs for keys: ``keys new``, ``list``, ``show``, ``import``.

Key files are encrypted with ``$DII_PASSWORD``, else with a passphrase that the home keeps beside
them. No verb prints a secret.
"""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dii.cli import screen
from dii.cli.options import DEFAULT_HOME, Home, Json
from dii.crypto import address_of, format_address, load_key
from dii.errors import KeyMissing, LaboratoryKeys, NameTaken

if TYPE_CHECKING:
    from dii.network.home import Home as Folder

keys = typer.Typer(help="Make, list, show and import keys.")

Name = Annotated[str, typer.Argument(help="Name of the account.")]


@keys.command("new")
def new(name: Name, home: Home = DEFAULT_HOME, as_json: Json = False) -> None:
    """Make a key, and with it an account that can receive and send money."""
    with _folder(home) as folder:
        _check_free(folder, name)
        _show(name, folder.key(name, create=True).public_key, as_json)


@keys.command("list")
def list_(home: Home = DEFAULT_HOME, as_json: Json = False) -> None:
    """List the keys of a home."""
    with _folder(home) as folder:
        found = [_described(name, key) for name, key in sorted(folder.public_keys().items())]
    screen.answer(as_json, found, {one["name"]: one["address"] for one in found})


@keys.command("show")
def show(name: Name, home: Home = DEFAULT_HOME, as_json: Json = False) -> None:
    """Show a key's address and public key; secrets stay in their file."""
    with _folder(home) as folder:
        found = folder.public_keys().get(name)
        if found is None:
            raise KeyMissing(name=name, folder=home)
        _show(name, found, as_json)


@keys.command("import")
def import_(
    name: Name,
    file: Annotated[Path, typer.Argument(help="A key file.")],
    password_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Holds its password; else it is asked for.")
    ] = None,
    home: Home = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Take over a key from a key file, encrypted anew for this home."""
    with _folder(home) as folder:
        if folder.seed is not None:
            raise LaboratoryKeys(folder=home)
        _check_free(folder, name)
        if password_file is not None:
            password = os.fsdecode(password_file.read_bytes()).rstrip("\n")
        else:
            password = typer.prompt(f"password of {file}", hide_input=True, err=True)
        key = load_key(file, password)
        folder.import_key(name, key)
        _show(name, key.public_key, as_json)


def _folder(home: Path) -> closing[Folder]:
    from dii.network.home import Home as Folder  # noqa: PLC0415

    return closing(Folder.open(home))


def _check_free(folder: Folder, name: str) -> None:
    """Refuse a name that none can have, or one does: money for it could go to either."""
    from dii.network.home import RESERVED, check_name  # noqa: PLC0415

    check_name(name)
    if name in RESERVED or folder.find("account", name) is not None:
        raise NameTaken(name=name)


def _described(name: str, public_key: bytes) -> dict[str, str]:
    address = format_address(address_of(public_key))
    return {"name": name, "address": address, "public_key": public_key.hex()}


def _show(name: str, public_key: bytes, as_json: bool) -> None:
    found = _described(name, public_key)
    screen.answer(as_json, found, found)
