"""Options and arguments that several verbs take."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

HOME_VARIABLE: Final = "DII_HOME"
DEFAULT_HOME: Final = Path("dii-home")
Natural = Annotated[int, {"min": 0}]
MaybeNatural = Annotated[int | None, {"min": 0}]
MaybePositive = Annotated[int | None, {"min": 1}]

Home = Annotated[
    Path,
    typer.Option(
        "--home", metavar="DIR", envvar=HOME_VARIABLE, help="Home directory of the network."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Gateway = Annotated[str, {"help": "Id, EUI in any spelling, or hash."}]
Epoch = Annotated[int, {"min": 0, "help": "Number, from 0."}]
Scope = Annotated[str, {"help": "Scope of the gateways."}]
Stream = Annotated[str, {"help": "One of the network's streams."}]
Amount = Annotated[str, {"help": 'Whole units: 12.5, or "12.5 TTC".'}]
Key = Annotated[str, {"help": "Name of a key in this home, or a public key in hex."}]
Header = Annotated[
    str, typer.Option("--header", metavar="HASH", help="Hash of a header that you trust.")
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Else standard output.")
]
Sender = Annotated[
    str, typer.Option("--from", metavar="NAME", help="Account that signs; its key is in the home.")
]


def bad(option: str, message: str) -> typer.BadParameter:
    """Return the error that the value of an option or argument cannot be used."""
    return typer.BadParameter(message, param_hint=f"'{option}'")


def pairs(option: str, texts: list[str] | None, like: str) -> dict[str, str]:
    """Read an option that may be repeated, ``NAME=VALUE`` each time."""
    found: dict[str, str] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise bad(option, f"cannot read {text!r}; write it like {like}")
        if name in found:
            raise bad(option, f"{name} is given twice")
        found[name] = value
    return found


def header_hash(text: str) -> bytes:
    """Read the option ``--header``."""
    if not re.fullmatch("[0-9A-Fa-f]{64}", text):
        raise bad("--header", "a header hash is 64 hex digits")
    return bytes.fromhex(text)


def command(home: Path | None, *words: str) -> str:
    """Return a command line to copy; ``home`` is None for verbs without a home."""
    default = Path(os.environ.get(HOME_VARIABLE) or DEFAULT_HOME)
    where = [] if home in {None, default} else ["--home", str(home)]
    return shlex.join([program(), *words, *where])


def program() -> str:
    """Return the name of ``dii`` here, or its path where it is not on the search path."""
    beside = Path(sys.executable).with_name("dii")
    if shutil.which("dii") or not beside.exists():
        return "dii"
    return os.path.relpath(beside) if beside.is_relative_to(Path.cwd()) else str(beside)
