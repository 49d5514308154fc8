"""The generator's verb: ``synth``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dii.cli import screen
from dii.cli.options import Json


def synth(
    size: Annotated[
        str, typer.Option(help="sample (48 gateways), ttn2018 (5,803) or million.")
    ] = "sample",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to; made if it is not there.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same bytes.")] = 7,
    days: Annotated[
        int | None, typer.Option(min=1, help="How many; else 8 of the sample, 1 of the others.")
    ] = None,
    check: Annotated[
        bool, typer.Option(help="Show published figures beside a network of TTN's size instead.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Generate a network's files; of the sample, those in data/.

    With --check nothing is written, and the exit code is 1 if a figure of The Things Network is
    missed.
    """
    from dii.telemetry.synthetic import SIZES, write  # noqa: PLC0415

    if check:
        _check(seed, as_json=as_json)
        return
    if size not in SIZES:
        raise typer.BadParameter(f"it is one of {', '.join(SIZES)}", param_hint="'--size'")
    if output is None:
        raise typer.BadParameter("say where to write, or --check", param_hint="'--output'")
    with screen.progress("generating"):
        planted = write(output, SIZES[size], seed, days)
    files = {path.name: path.stat().st_size for path in sorted(output.iterdir())}
    shown = {name: f"{size:,} bytes" for name, size in files.items()}
    aside = ", ".join(f"{count:,} {reason}" for reason, count in sorted(planted.items()))
    answer = {"folder": str(output), "files": files, "set_aside": planted}
    screen.answer(as_json, answer, shown | {"to be set aside": aside})


def _check(seed: int, *, as_json: bool) -> None:
    import pandas as pd  # noqa: PLC0415

    from dii.telemetry.synthetic import SIZES, calibration, network, populate  # noqa: PLC0415

    size = SIZES["ttn2018"]
    registry = network(size.gateways, seed)
    figures = calibration(registry, populate(registry, seed, size.active, size.top))
    if as_json:
        names = ("name", "kind", "source", "unit", "published", "generated", "deviation", "holds")
        screen.json_out([{name: getattr(figure, name) for name in names} for figure in figures])
    else:
        shown = [
            {
                "figure": figure.name,
                "kind": figure.kind,
                "published": _value(figure.published, figure.unit),
                "generated": _value(figure.generated, figure.unit),
                "deviation": f"{100 * figure.deviation:+.1f} "
                + ("points" if figure.unit == "share" else "%"),
                "holds": "yes" if figure.holds else "no" if figure.bound else "not bound",
                "source": figure.source,
            }
            for figure in figures
        ]
        screen.rows(pd.DataFrame(shown), " ".join(shown[0]), limit=len(shown))
    if any(figure.bound and not figure.holds for figure in figures):
        raise typer.Exit(1)


def _value(value: float, unit: str) -> str:
    if unit == "share":
        return f"{value:.1%}"
    return f"{value:,.0f}" if value == round(value) else f"{value:,.2f}"
