"""Verbs that explain and check: ``receipt``, ``proof``, ``verify``, ``rebuild``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

import dii
from dii.cli import options, screen
from dii.cli.options import Epoch, Gateway, Header, MaybeNatural, Output, Scope, Stream
from dii.cli.screen import Answer
from dii.cli.verbs import here, looking, verb, writing
from dii.units import Currency, format_time

if TYPE_CHECKING:
    from dii.consensus.node import Verified

app = typer.Typer()
proof = typer.Typer(help="Make proofs that others can check, and check theirs.")
app.add_typer(proof, name="proof")

Kind = Literal["receipt", "account", "forward", "gateway", "application"]


@verb(app, looking)
def receipt(
    network: dii.Network,
    gateway: Gateway,
    epoch: Epoch,
    verify: bool = False,
    stream: Stream = "main",
) -> Answer:
    """Explain the payment of a gateway in an epoch.

    Parameters
    ----------
    verify
        Check its proof.
    """
    from dii.network.proofs import explain  # noqa: PLC0415

    found, header = network.receipt(gateway, epoch, stream), network.header()
    names = {"gateway": found.gateway, "operator": found.operator, "epoch": epoch}
    why = explain(found.leaf, found.issuance, f"_{found.currency.unit}")
    why |= {"excluded": found.excluded, "generated": found.generated}
    proof = {"header": found.header.hash, "verified": verify, "proof": found.proof.to_json()}
    shown: list[screen.Shown] = [found.lines()]
    if verify:
        found.verify(header)
        holds = f"it holds against header {network.height}, {header.hash.hex()}"
        shown.append(partial(screen.say, holds, "green"))
    return Answer(names | {"stream": stream} | why | proof, shown)


@verb(proof, here)
def make(
    home: Path,
    kind: Kind,
    name: str,
    epoch: MaybeNatural = None,
    output: Output = None,
    stream: Stream = "main",
    scope: Scope = "main",
) -> Iterator[Answer]:
    """Make a proof of a receipt, an account, the owner of a claim account, a gateway or an
    application; or that there is none.

    Parameters
    ----------
    kind
        What to prove.
    name : ID
        Gateway, account, operator or application.
    epoch
        Of a receipt.
    """
    if (kind == "receipt") != (epoch is not None):
        raise options.bad("--epoch", "a receipt needs an epoch, other proofs take none")
    with looking(home) as network:
        header = network.header()
        proof = network.prove(kind, name, epoch=epoch, stream=stream, scope=scope)
        proof.verify(header.hash)  # or the tables, or the disk, are damaged
    content = proof.to_json()
    text = json.dumps(content, indent=1) + "\n"
    if output is None:
        typer.echo(text, nl=False)
        return
    output.write_text(text)
    present = content["value"] is not None and "neighbours" not in content
    what = f"the {kind}" if present else "that there is none"
    line = f"{output} proves {what} under header {header.height}"
    line += "; anybody who trusts that header can check it:"
    how = options.command(None, "proof", "check", str(output), "--header", header.hash.hex())
    where = {"height": header.height, "header": header.hash}
    yield Answer({"file": str(output), "present": present} | where, [line, how])


@verb(proof)
def check(file: Path, header: Header) -> Answer:
    """Check a proof against a header hash, and against nothing else; needs no home.

    Parameters
    ----------
    file
        The proof; - reads standard input.
    """
    from dii.ledger.proof import MAX_BYTES  # noqa: PLC0415
    from dii.network import proofs  # noqa: PLC0415

    trusted = options.header_hash(header)
    if str(file) == "-":
        data = sys.stdin.buffer.read(MAX_BYTES + 1)
    else:
        with file.open("rb") as source:
            data = source.read(MAX_BYTES + 1)
    proven, under = proofs.check(data, trusted)
    where = {"height": under.height, "time": format_time(under.time), "chain": under.chain}
    return Answer(
        {"holds": True, "proven": proven, "header": where | {"hash": trusted}},
        [
            partial(screen.say, f"the proof holds under header {header}", "green"),
            partial(screen.say, "amounts are of the smallest unit", "dim"),
            _flat(screen.plain(proven | where)),
        ],
    )


def _flat(content: dict[str, Any]) -> dict[str, Any]:
    """Return nested content as lines."""
    lines: dict[str, Any] = {}
    for name, value in content.items():
        if isinstance(value, dict):
            before = {"owners": "owner from epoch ", "network": "network "}.get(name, "")
            lines |= {f"{before}{part}": item for part, item in value.items()}
        elif name == "present":
            lines["is there"] = "yes" if value else "no: it is proven to be absent"
        else:
            lines[name] = ", ".join(map(str, value)) if isinstance(value, list) else value
    return lines


@verb(app, looking)
def verify(network: dii.Network) -> Answer:
    """Execute every block again, from the genesis, and compare all results."""
    height, money = network.height, network.currency
    with screen.progress("executing blocks") as tick:
        verified = network.verify(lambda done: tick(done, height))
    document = {
        "base": verified.base,
        "height": verified.height,
        "transactions": verified.transactions,
        "app_hash": verified.app_hash,
        f"minted_{money.unit}": verified.minted,
        f"burned_{money.unit}": verified.burned,
    }
    return Answer(document, holding(verified, money))


def holding(verified: Verified, money: Currency) -> str:
    """Return a line on a chain that was executed again."""
    which = f"{verified.height:,} blocks"
    if base := verified.base:
        which = f"the blocks after the snapshot of height {base:,}, to {verified.height:,},"
    return (
        f"{which} with {verified.transactions:,} transactions hold, to app hash"
        f" {verified.app_hash.hex()}: {money.format(verified.minted)} minted,"
        f" {money.format(verified.burned)} burned"
    )


@verb(app, writing)
def rebuild(network: dii.Network) -> Answer:
    """Rebuild the index from the chain; deleting it loses nothing."""
    with screen.progress("executing blocks"):
        network.rebuild()
    height, base = network.height, network.view.store.base
    line = f"the index holds again every block from {base + 1:,} to {height:,}"
    return Answer({"height": height}, line)
