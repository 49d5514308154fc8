"""Verbs for joining without the history: ``snapshot export``, ``snapshot join``.

The sender of a snapshot need not be trusted; the source of the header's hash has to be.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import dii
from dii.cli.options import Header, command, header_hash
from dii.cli.screen import Answer
from dii.cli.verbs import here, looking, verb

app = typer.Typer()
verbs = typer.Typer(help="Export the state of a chain, and join a chain with it.")
app.add_typer(verbs, name="snapshot")


@verb(verbs, looking)
def export(
    network: dii.Network, output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR")]
) -> Answer:
    """Write the state before the last block into a folder, with its proof.

    Parameters
    ----------
    output
        A new folder.
    """
    from dii.network import snapshot  # noqa: PLC0415

    height, header = snapshot.export(network, output), network.header()
    line = f"{output} holds the state after block {height}"
    how = f"{line}; anybody who trusts header {header.height} can join:"
    join_it = ("snapshot", "join", str(output), "--header", header.hash.hex(), "--home", "NEW")
    return Answer(
        {"folder": str(output), "height": height, "header": header.hash},
        [how, command(None, *join_it)],
    )


@verb(verbs, here)
def join(home: Path, folder: Path, header: Header) -> Answer:
    """Make a home from a snapshot, to look at, verify and prove from; trusts only the hash.

    Parameters
    ----------
    folder : DIR
        An exported snapshot.
    """
    from dii.network import snapshot  # noqa: PLC0415

    height = snapshot.join(folder, header_hash(header), home)
    line = f"{home} holds the chain from block {height - 1} on; it has no keys and no telemetry"
    return Answer({"home": str(home), "height": height}, line)
