"""The command line: ``dii VERB``.

Each verb is a thin function over :class:`dii.Network`, so a notebook can do the same, with the same
result. Verbs are in modules of the same names as in ``dii.network``, and
``options.verb`` makes commands of them; ``screen`` prints, ``demo`` runs a whole economy once.

Only what every call needs is imported before the verb runs; engines and tables load within it, so
that help is there at once. Typer's rich help was rejected for the same reason, and its rich
tracebacks because they print variables, keys among them.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

import dii
from dii.cli import (
    accounts,
    contracts,
    draft,
    economy,
    governance,
    proofs,
    snapshot,
    statement,
    tables,
    telemetry,
)
from dii.cli.verbs import Verbs
from dii.units import clean

__all__ = ["app", "main"]

app = typer.Typer(
    name="dii",
    cls=Verbs,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    no_args_is_help=True,
)
for module in (
    draft, telemetry, tables, proofs, statement, snapshot, accounts, contracts, governance, economy,
):  # fmt: skip
    app.add_typer(module.app)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"dii {dii.__version__}")
        raise typer.Exit


@app.callback()
def _dii(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Micro-economies for communities that build infrastructure together."""


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not when a program has put something in its place
            stream.reconfigure(errors="replace")  # a terminal of few letters is no reason to stop
    for word in sys.argv[1:]:
        if word.encode(errors="replace").decode() != word and not os.path.lexists(word):
            shown = clean(word.encode(errors="replace").decode())
            typer.echo(
                f"dii: {shown}: an argument is UTF-8, or names a file that is there", err=True
            )
            sys.exit(2)
    app(prog_name="dii")
