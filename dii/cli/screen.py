"""Output of verbs: tables and facts for people, JSON and CSV for programs.

People see amounts in whole units and contributions in the rule's unit, only the columns that
matter, and on a terminal at most a screenful of rows. Programs get every row and column, and
amounts as integers of the smallest unit, since programs round JSON numbers with a point. Output
into a pipe is never cut to a width.

Data is wrapped in ``Text``, without control characters: a gateway called ``[red]`` is shown so.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import typer

import dii
from dii.units import clean

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console
    from rich.table import Table


PIPE_WIDTH: Final = 10_000
"""Columns where there is no terminal: enough that nothing is cut."""
SCREENFUL: Final = 50
"""Rows of a list that a terminal shows."""
GAP: Final = 3
"""Blanks between two columns of a table."""

FORMULA: Final = frozenset(
    "=+-@\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}\N{FULLWIDTH HYPHEN-MINUS}"
    "\N{FULLWIDTH COMMERCIAL AT}"
)
"""Characters that begin a formula in a spreadsheet."""

Shown = str | Mapping[str, object] | Callable[[], None] | Iterable["Shown"]
"""A line, facts, a function that prints, or several of these; see :func:`show_parts`."""
Tick = Callable[[int, int], None]
"""Called with (done, to do)."""


class Answer(NamedTuple):
    """Result of a verb.

    Attributes
    ----------
    document
        For programs, or a function that returns it; see :func:`plain`.
    shown
        For people.
    """

    document: object
    shown: Shown


def show(answer: Answer, as_json: bool) -> None:
    """Print a result, for programs or for people."""
    if as_json:
        document = answer.document() if callable(answer.document) else answer.document
        typer.echo(json.dumps(plain(document), indent=2))
    else:
        show_parts(answer.shown)


def show_parts(shown: Shown) -> None:
    """Print lines, facts, and whatever prints itself."""
    if isinstance(shown, str):
        say(shown)
    elif isinstance(shown, Mapping):
        facts(shown)
    elif callable(shown):
        shown()
    else:
        for part in shown:
            show_parts(part)


def plain(value: Any) -> Any:
    """Return a value as JSON has it: bytes in hex, dataclasses as objects, tables as lists."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
        return {name: plain(getattr(value, name)) for name in names}
    if hasattr(value, "to_dict"):
        return [plain(row) for row in value.to_dict("records")]
    if type(value).__name__ == "NAType" or value != value:  # noqa: PLR0124 - nor has JSON NaN, NaT
        return None
    return value.strftime("%Y-%m-%dT%H:%M:%SZ") if hasattr(value, "strftime") else value


def csv(frame: pd.DataFrame) -> str:
    """Return a table as CSV in which a spreadsheet finds no formulas.

    A text that begins like a formula gets an apostrophe in front (OWASP, "CSV Injection"): names
    come from strangers, and a spreadsheet would execute them.
    """
    safe = frame.copy()
    for name in safe.select_dtypes(["object", "string"]):
        safe[name] = [
            _no_formula(value) if isinstance(value, str) else value for value in safe[name]
        ]
    return str(safe.to_csv(index=False))


def _no_formula(text: str) -> str:
    text = clean(text)
    return f"'{text}" if text.lstrip()[:1] in FORMULA and text.strip() else text


def console(*, error: bool = False) -> Console:
    """Return the console to print on; rich decides on colours, widths and ``NO_COLOR``."""
    from rich.console import Console  # noqa: PLC0415

    stream = sys.stderr if error else sys.stdout
    # With FORCE_COLOR and TERM=dumb, rich ignores a width without a height.
    width, height = (None, None) if stream.isatty() else (PIPE_WIDTH, SCREENFUL)
    return Console(
        file=stream, width=width, height=height, highlight=False, markup=False, emoji=False
    )


def _print(table: Table) -> None:
    """Print a table; into a pipe without the blanks that would fill its lines."""
    out = console()
    with out.capture() as captured:
        out.print(table)
    for line in captured.get().splitlines():
        typer.echo(line if sys.stdout.isatty() else line.rstrip())


def note(text: str) -> None:
    """Print a note beside the output."""
    typer.echo(f"dii: note: {text}", err=True)


def say(text: str = "", style: str | None = None) -> None:
    """Print a line."""
    if style is None:
        typer.echo(clean(text))
    else:
        console().print(clean(text), style=style, soft_wrap=True)


def facts(lines: Mapping[str, object], network: dii.Network | None = None) -> None:
    """Print names and values, one per line; amounts in whole units where the network is known."""
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="cyan", justify="right", no_wrap=True)
    grid.add_column(overflow="fold")
    unit = f"_{network.currency.unit}" if network else None
    for name, value in lines.items():
        if network and unit and name.endswith(unit) and isinstance(value, int):
            grid.add_row(name.removesuffix(unit), network.currency.format(value))
        else:
            shown = f"{value:,.2f}" if isinstance(value, float) else plain(value)
            grid.add_row(name, Text("-" if shown is None else clean(str(shown))))
    _print(grid)


def rows(
    frame: pd.DataFrame, columns: str, network: dii.Network | None = None, limit: int | None = None
) -> None:
    """Print a table of some columns.

    Parameters
    ----------
    frame, columns
        Table, and names of the columns to print, amounts without their unit.
    network
        Network of the amounts; None where there are none.
    limit
        Rows to print; by default all, or a screenful on a terminal.
    """
    from rich import box  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    if limit is None:
        limit = SCREENFUL if sys.stdout.isatty() else len(frame)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold cyan")
    cells: list[list[Text]] = []
    left_out: list[str] = []
    room = console().width
    for name in columns.split():
        if name == "stream" and set(frame[name]) <= {"main"}:
            continue  # most networks have one stream
        header, column, write = _column(name, frame, network)
        values = frame[column].head(limit).tolist()
        texts = [clean("-" if plain(value) is None else write(value)) for value in values]
        number = frame[column].dtype.kind in "iuf"
        # Texts wrap between words where it gets narrow; numbers and addresses are never cut.
        words = [header, *texts] if number else " ".join([header, *texts]).split()
        least = max(map(len, words))
        room -= least + GAP * bool(cells)
        if left_out or (room < 0 and cells):
            left_out.append(header)
            continue
        cells.append([Text(text) for text in texts])
        table.add_column(
            header, justify="right" if number else "left", min_width=least, overflow="fold"
        )
    for row in zip(*cells):
        table.add_row(*row)
    _print(table)
    if network and "generated" in frame:
        say(network.genesis.notice, "yellow")
    if left_out:
        say(f"no room for {', '.join(left_out)}: a pipe and --json have all", "dim")
    if len(frame) > limit:
        say(f"{len(frame) - limit:,} more: a pipe and --json have all", "dim")


def _column(
    name: str, frame: pd.DataFrame, network: dii.Network | None
) -> tuple[str, str, Callable[[Any], str]]:
    """Return a column's header, its name in the frame, and the format of its values."""
    from dii.network.page import METRICS  # noqa: PLC0415

    header = name.removesuffix("_ppm").replace("_", " ")
    if network and (amount := f"{name}_{network.currency.unit}") in frame:
        money = network.currency
        return f"{header} {money.symbol}", amount, decimal(money.decimals)
    return header, name, METRICS.get(name) or WRITERS.get(name, _write)


def _write(value: object) -> str:
    return f"{value:,.0f}" if isinstance(value, int | float) else str(value)


def decimal(digits: int) -> Callable[[int], str]:
    """Return a function that writes amounts in whole units, with all their digits."""
    return lambda amount: f"{Decimal(amount).scaleb(-digits):,.{digits}f}"


def _short(text: str) -> str:
    return text[:16] if sys.stdout.isatty() else text


WRITERS: Final[Mapping[str, Callable[[Any], str]]] = {
    **dict.fromkeys(
        ("code", "epoch", "height", "line", "nonce", "number", "position", "since_epoch"), str
    ),
    **dict.fromkeys(("id", "hash", "app_hash"), _short),
    "share": "{:.1%}".format,
    "contribution": "{:,.2f}".format,
    "start": lambda time: f"{time:%Y-%m-%d}" if time == time.normalize() else f"{time:%F %H:%M}",
    **dict.fromkeys(("time", "acts", "expires"), "{:%Y-%m-%d %H:%M:%S}".format),
}
"""Formats of columns. Numbers that identify something, such as a height, can be copied."""


@contextmanager
def progress(label: str) -> Iterator[Tick]:
    """Show a bar on a terminal, nothing in a pipe; yield a function of (done, to do)."""
    if not sys.stderr.isatty():
        yield lambda done, total: None  # noqa: ARG005
        return
    from rich import progress as bars  # noqa: PLC0415

    done_of_all = bars.MofNCompleteColumn(), bars.TimeElapsedColumn()
    columns = bars.TextColumn(label), bars.BarColumn(), *done_of_all
    with bars.Progress(*columns, console=console(error=True), transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
