"""Verbs for joining without the history: ``snapshot export``, ``snapshot join``.

Who hands the snapshot over need not be trusted; who tells the header's hash does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dii.cli import screen
from dii.cli.options import DEFAULT_HOME, Home, Json, command
from dii.cli.proofs import header_hash

snapshot = typer.Typer(help="Hand a chain's state on, and join a chain with it.")


@snapshot.command("export")
def export(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="A new folder.")],
    home: Home = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Write the state before the last block into a folder, with all that proves it."""
    from dii.network import snapshot as bundle  # noqa: PLC0415

    with screen.looking(home) as network:
        height, header = bundle.export(network, output), network.header()
    if as_json:
        screen.json_out({"folder": str(output), "height": height, "header": header.hash})
        return
    screen.say(
        f"{output} holds the state after block {height}; whoever trusts header {header.height} joins by"
    )
    join_it = ("snapshot", "join", str(output), "--header", header.hash.hex(), "--home", "NEW")
    screen.say(command(None, *join_it))


@snapshot.command("join")
def join(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What somebody has exported.")],
    header: Annotated[str, typer.Option(metavar="HASH", help="Hash of a header that you trust.")],
    home: Home = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Make a home from a snapshot, to look at, verify and prove from; trusts the hash alone."""
    from dii.network import snapshot as bundle  # noqa: PLC0415

    height = bundle.join(folder, header_hash(header), home)
    line = f"{home} holds the chain from block {height - 1} on; it has no keys and no telemetry"
    screen.answer(as_json, {"home": str(home), "height": height}, line)
