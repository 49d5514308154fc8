"""What all verbs share: their options, and how they end.

Every verb ends in one of four ways: 0 when it did what was asked, 1 with one line when it could
not (an error of ours, or of the machine: no such file, disk full), 2 with the usage when it was
called wrongly, 130 when it was interrupted. Anything else is a defect and shows its traceback;
catching that too would only hide where it is.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from dii.errors import DiiError
from dii.units import clean

HOME_VARIABLE: Final = "DII_HOME"
DEFAULT_HOME: Final = Path("dii-home")

Home = Annotated[
    Path,
    typer.Option("--home", metavar="DIR", envvar=HOME_VARIABLE, help="Home of the network."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Gateway = Annotated[str, typer.Argument(help="Id, EUI in any spelling, or hash.")]
Epoch = Annotated[int, typer.Argument(min=0, help="Number, from 0.")]
Scope = Annotated[str, typer.Option("--scope", help="Of whose gateways.")]
Stream = Annotated[str, typer.Option("--stream", help="Which of the network's streams.")]


class Verbs(TyperGroup):
    """The root of all commands: turns errors into one line and an exit code."""

    def invoke(self, ctx: Any) -> Any:  # typer's context class is not public
        """Run a command."""
        with _one_line():
            result = super().invoke(ctx)
            sys.stdout.flush()  # so that a closed pipe shows here, not when Python ends
        return result


@contextmanager
def _one_line() -> Iterator[None]:
    try:
        yield
        return
    except BrokenPipeError:  # whoever read our output has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None
    except DiiError as error:
        code, fault = 1, str(error)
    except OSError as error:
        code, fault = 1, f"{error.filename}: {error.strerror}" if error.filename else str(error)
    except (KeyboardInterrupt, RuntimeError) as error:
        # DuckDB has its own words for an interrupt.
        if isinstance(error, RuntimeError) and str(error) != "Query interrupted":
            raise
        code, fault = 130, "interrupted; what was committed is kept"
    typer.echo(f"dii: {clean(fault)}", err=True)
    raise typer.Exit(code)


def command(home: Path | None, *words: str) -> str:
    """Return a command line to copy, as it works from here; None for one that needs no home."""
    default = Path(os.environ.get(HOME_VARIABLE) or DEFAULT_HOME)
    where = [] if home in {None, default} else ["--home", str(home)]
    return shlex.join([program(), *words, *where])


def program() -> str:
    """Return how ``dii`` is called from here: by its name, or by its path where it has no name."""
    beside = Path(sys.executable).with_name("dii")
    if shutil.which("dii") or not beside.exists():
        return "dii"
    return os.path.relpath(beside) if beside.is_relative_to(Path.cwd()) else str(beside)
