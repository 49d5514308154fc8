"""Verbs for keys: ``keys new``, ``list``, ``show``, ``import``.

Key files are encrypted with ``$DII_PASSWORD``, else with a passphrase that the home keeps beside
them. No verb prints a secret.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dii.cli import screen
from dii.cli.options import DEFAULT_HOME, Home, Json
from dii.crypto import SigningKey, address_of, format_address, load_key, public_key_of, save_key
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
        found = [_described(name, key) for name, key in sorted(_public_keys(folder).items())]
    if as_json:
        screen.json_out(found)
    else:
        screen.facts({one["name"]: one["address"] for one in found})


@keys.command("show")
def show(name: Name, home: Home = DEFAULT_HOME, as_json: Json = False) -> None:
    """Show a key's address and public key; secrets stay in their file."""
    with _folder(home) as folder:
        found = _public_keys(folder).get(name)
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
        path = folder.key_path(name)
        if password_file is not None:
            password = password_file.read_text().rstrip("\n")
        else:
            password = typer.prompt(f"password of {file}", hide_input=True, err=True)
        key = load_key(file, password)
        save_key(path, key, folder.password())
        folder.remember("account", [(key.address, name, None)])
        _show(name, key.public_key, as_json)


@contextmanager
def _folder(home: Path) -> Iterator[Folder]:
    from dii.network.home import Home as Folder  # noqa: PLC0415

    folder = Folder.open(home)
    try:
        yield folder
    finally:
        folder.close()


def _check_free(folder: Folder, name: str) -> None:
    """Refuse a name by which an account goes already: money for it could go to either."""
    from dii.network.home import RESERVED  # noqa: PLC0415

    if name in RESERVED or folder.find("account", name) is not None:
        raise NameTaken(name=name)


def _public_keys(folder: Folder) -> dict[str, bytes]:
    """Return the public keys of a home by name; takes no password."""
    if folder.seed is None:
        return {
            path.stem: public_key_of(path) for path in folder.key_path("x").parent.glob("*.json")
        }
    known = folder.names("account").items()
    derived = {name: (address, SigningKey.derive(folder.seed, name)) for address, name in known}
    return {
        name: key.public_key for name, (address, key) in derived.items() if key.address == address
    }


def _described(name: str, public_key: bytes) -> dict[str, str]:
    address = format_address(address_of(public_key))
    return {"name": name, "address": address, "public_key": public_key.hex()}


def _show(name: str, public_key: bytes, as_json: bool) -> None:
    found = _described(name, public_key)
    screen.json_out(found) if as_json else screen.facts(found)
