"""``statement``: an operator's month as a page to read and print, or for a spreadsheet."""

from __future__ import annotations

from typing import Annotated

import typer

import dii
from dii.cli import screen
from dii.cli.options import Output
from dii.cli.screen import Answer
from dii.cli.verbs import looking, verb

app = typer.Typer()


@verb(app, looking)
def statement(
    network: dii.Network,
    operator: str,
    month: Annotated[str, typer.Option()],
    output: Output = None,
    csv: bool = False,
) -> Answer:
    """Write an operator's earnings of a month, explained, as a page to print or a table.

    Parameters
    ----------
    operator
        Name or address.
    month : YYYY-MM
        A calendar month, UTC.
    csv
        Write a table: one row for each receipt or movement.
    """
    from dii.network.page import page  # noqa: PLC0415

    found = network.statement(operator, month)

    def text() -> str:
        return screen.csv(found.table()) if csv else page(found)

    if output is None:
        return Answer(found, lambda: typer.echo(text(), nl=False))
    output.write_text(text())
    earned, unit = found.earned, found.currency.unit
    line = f"{operator} earned {found.currency.format(earned)} in {month}: {output}"
    return Answer({"file": str(output), f"earned_{unit}": earned}, line)
