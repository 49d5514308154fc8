"""The command line: ``dii VERB``.

Each verb is a thin function over :class:`dii.Network`, so whatever can be done here can be done in
a notebook, and gives the same. Verbs stand in modules by theme: ``build`` makes networks and lets
them run, ``look`` shows them, ``check`` explains and proves, ``send`` signs, ``contract`` is for
agreements, ``govern`` for votes, ``snapshot`` lets others join, ``keys`` keeps keys, ``lab``
compares rules, ``synth`` generates networks; ``options`` says how verbs end, ``screen`` what they
print, ``demo`` tells the whole story once.

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
from dii.cli import accounts as send
from dii.cli import governance as govern
from dii.cli import proofs as check
from dii.cli import tables as look
from dii.cli import telemetry as build
from dii.cli.contracts import contract
from dii.cli.economy import lab
from dii.cli.keys import keys
from dii.cli.options import Verbs
from dii.cli.snapshot import snapshot
from dii.cli.statement import statement
from dii.cli.synth import synth
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


app.command("init")(build.init)
app.command("load")(build.load)
app.command("run")(build.run)
app.command("status")(look.status)
app.command("list")(look.list_)
app.add_typer(look.show, name="show")
app.command("receipt")(check.receipt)
app.add_typer(check.proof, name="proof")
app.command("statement")(statement)
app.command("verify")(check.verify)
app.command("rebuild")(check.rebuild)
app.add_typer(snapshot, name="snapshot")
app.command("transfer")(send.transfer)
app.command("burn")(send.burn)
app.command("assign")(send.assign)
app.command("claim")(send.claim)
app.add_typer(contract, name="contract")
app.add_typer(govern.propose, name="propose")
app.command("vote")(govern.vote)
app.add_typer(keys, name="keys")
app.add_typer(lab, name="lab")
app.command("synth")(synth)


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
