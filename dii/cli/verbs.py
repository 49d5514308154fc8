"""Commands made of functions, and how they end.

Each verb is a function that returns an :class:`~dii.cli.screen.Answer`, or yields it;
:func:`verb` makes a command of it, which opens the home and prints the answer.

Every verb ends with one of four exit codes: 0 for success, 1 with one line when it could
not (an error of ours, or of the machine: no such file, disk full), 2 with the usage when it was
called wrongly, 130 when it was interrupted. Anything else is a defect and shows its traceback;
catching that too would only hide where it is.
"""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from copy import copy
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup

import dii
from dii.cli.options import DEFAULT_HOME, Home, Json
from dii.cli.screen import Answer, note, show
from dii.errors import BadSource, DiiError
from dii.units import clean

TYPES: Final = {"str": "TEXT", "int": "NUMBER", "int range": "NUMBER", "path": "PATH"}
"""Names of the types of options in help; a choice shows its values."""
SECTION: Final = "\n\nParameters\n----------\n"
DESCRIBED: Final = re.compile(r"^(\w+)(?: : (.+))?\n((?:    .*\n?)+)", re.MULTILINE)
"""Name, metavar and help of a parameter in that section of a docstring."""

_HOME: Final = inspect.Parameter(
    "home", inspect.Parameter.KEYWORD_ONLY, default=DEFAULT_HOME, annotation=Home
)
_JSON: Final = _HOME.replace(name="as_json", default=False, annotation=Json)

Opener = Callable[[Path], AbstractContextManager[Any]]
Verb = TypeVar("Verb", bound=Callable[..., Answer | Iterator[Answer]])


class Verbs(TyperGroup):
    """The root of all commands: turns errors into one line and an exit code."""

    def invoke(self, ctx: Any) -> Any:  # typer's context class is not public
        """Run a command."""
        with _one_line():
            result = super().invoke(ctx)
            sys.stdout.flush()  # so that a closed pipe shows here, not when Python ends
        return result


class Command(TyperCommand):
    """A command whose help has readable names of types."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        parameter: Any  # typer's classes have more than their base
        for parameter in self.params:
            readable = partial(_readable, parameter.param_type_name, parameter.display_type)
            parameter.display_type = readable


def _readable(kind: str, display: Callable[..., str], ctx: Any) -> str:
    """Return the type of an option or argument for help; most arguments need none."""
    name = display(ctx).strip("<>").removeprefix("list[").removesuffix("]")
    return TYPES.get(name, name) if kind == "option" or "|" in name else ""


def verb(group: typer.Typer, opens: Opener | None = None) -> Callable[[Verb], Verb]:
    """Make a command of a group from a function of the same name.

    The docstring is the help of the command; in its section ``Parameters``, ``name : METAVAR``
    stands before the help of an option or argument. Parameters without a default are arguments.

    Parameters
    ----------
    group
        Group of the command.
    opens
        Opens the home for the function's first parameter; None for a verb without a home. The
        other parameters are the command's own, before ``--home`` and ``--json``.
    """

    def add(function: Verb) -> Verb:
        def run(home: Path = DEFAULT_HOME, *, as_json: bool, **given: object) -> None:
            with opens(home) if opens else nullcontext() as opened:
                result = function(*([opened] if opens else []), **given)
                with closing(_answers(result)) as answers:
                    for answer in answers:
                        show(answer, as_json)

        about, _, section = inspect.cleandoc(function.__doc__ or "").partition(SECTION)
        described = {name: words for name, *words in DESCRIBED.findall(section)}
        own = [*inspect.signature(function).parameters.values()][opens is not None :]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in own}
        # Only names of options and arguments are looked up: that of a network would load it.
        hints = get_type_hints(run, function.__globals__, include_extras=True)
        parameters = [
            _parameter(parameter, hints[parameter.name], *described.get(parameter.name, ()))
            for parameter in own
        ]
        parameters += [_HOME, _JSON] if opens else [_JSON]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        group.command(function.__name__.strip("_").replace("_", "-"), cls=Command, help=about)(run)
        return function

    return add


def _answers(result: Answer | Iterator[Answer]) -> Generator[Answer, None, None]:
    if isinstance(result, Answer):
        yield result
    else:
        yield from result


def _parameter(
    parameter: inspect.Parameter, hint: Any, metavar: str = "", words: str = ""
) -> inspect.Parameter:
    """Return a function's parameter as an option or an argument."""
    kind, option = get_args(hint) if get_origin(hint) is Annotated else (hint, {})
    if isinstance(option, dict):
        make = typer.Argument if parameter.default is parameter.empty else typer.Option
        flag = [f"--{parameter.name.replace('_', '-')}"] if kind is bool else []
        option = make(*flag, **option)
    option = copy(option)  # several verbs have the option
    option.metavar = metavar or option.metavar
    option.help = " ".join(words.split()) or option.help
    annotated: Any = Annotated
    return parameter.replace(kind=_HOME.kind, annotation=annotated[kind, option])


@contextmanager
def looking(home: Path) -> Iterator[dii.Network]:
    """Open a network to look at it; tell where its tables lag behind its chain or begin late."""
    with dii.Network.open(home, readonly=True) as network:
        if base := network.sealed and network.view.store.base:
            begins = f"the history here begins after the snapshot of height {base}"
            note(f"{begins}: tables and sums hold nothing from before")
        if network.lag:
            note(
                f"this is as of block {network.header().height}: {network.lag:,} later blocks are"
                " not in the tables yet, as another process writes or was stopped; the next run"
                " goes on from there"
            )
        yield network


def writing(home: Path) -> dii.Network:
    """Open a network to change it."""
    return dii.Network.open(home)


here: Final[Opener] = nullcontext
"""Opens nothing, for verbs that take the home's path."""


@contextmanager
def _one_line() -> Iterator[None]:
    try:
        yield
        return
    except BrokenPipeError:  # the reader of our output has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None
    except BadSource as error:  # many lines, with carets
        for line in str(error).splitlines():
            typer.echo(clean(line), err=True)
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
