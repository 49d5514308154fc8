"""The generator's verb: ``synth``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dii.cli import screen
from dii.cli.options import Json


def synth(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Where to; made if it is not there.")
    ],
    size: Annotated[
        str, typer.Option(help="sample (48 gateways), ttn2018 (5,803) or million.")
    ] = "sample",
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same bytes.")] = 7,
    days: Annotated[
        int | None, typer.Option(min=1, help="How many; else 8 of the sample, 1 of the others.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Generate a network's files; of the sample, those in data/."""
    from dii.telemetry.synthetic import SIZES, write  # noqa: PLC0415

    if size not in SIZES:
        raise typer.BadParameter(f"it is one of {', '.join(SIZES)}", param_hint="'--size'")
    with screen.progress("generating"):
        planted = write(output, SIZES[size], seed, days)
    files = {path.name: path.stat().st_size for path in sorted(output.iterdir())}
    shown = {name: f"{size:,} bytes" for name, size in files.items()}
    aside = ", ".join(f"{count:,} {reason}" for reason, count in sorted(planted.items()))
    answer = {"folder": str(output), "files": files, "set_aside": planted}
    screen.answer(as_json, answer, shown | {"to be set aside": aside})
