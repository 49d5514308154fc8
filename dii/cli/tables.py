"""Verbs that look at a network: ``status``, ``list``, ``show``.

They open it read-only, so they work while another process writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import typer

import dii
from dii.cli import screen
from dii.cli.options import Epoch, Gateway, MaybeNatural, Stream, command
from dii.cli.screen import Answer
from dii.cli.verbs import looking, verb
from dii.units import format_time

if TYPE_CHECKING:
    import pandas as pd


app = typer.Typer()
show = typer.Typer(help="Show one block, transaction, account, gateway or epoch.")
app.add_typer(show, name="show")

What = Literal[
    "accounts", "epochs", "gateways", "operators", "blocks", "transactions", "transfers",
    "proposals", "contracts",
]  # fmt: skip
"""Tables, which are methods of the network, too."""
PEOPLE: Final = {
    "accounts": "account kind balance transactions address",
    "epochs": "epoch stream start gateways contribution pool paid unminted height",
    "gateways": "gateway operator since_epoch earned",
    "operators": "operator gateways paid_epochs earned share",
    "blocks": "height time transactions gas hash",
    "transactions": "height id sender kind code fee detail",
    "transfers": "height kind sender recipient amount",
    "proposals": "number what proposer yes status",
    "contracts": "contract title agreement deployed_by balance purse status",
}
"""Columns for people; ``--csv``, ``--parquet`` and ``--json`` have all."""
DETAILS: Final = PEOPLE | {
    "epochs": "epoch stream contribution amount paid_to note",
    "issuance": "gateway operator contribution amount",
}
"""The same for the tables of ``show``."""
MOST: Final = 100
"""Characters of a message's field that people see."""


@verb(app, looking)
def status(network: dii.Network) -> Answer:
    """Show the state of the network."""
    from dii.network import details  # noqa: PLC0415

    if network.sealed:
        shown = network.summary()
    else:
        name = (network.home.draft or {})["name"]
        shown = {"network": name, "waits": "for its first telemetry, which seals it"}
    return Answer(lambda: details.status(network), shown)


@verb(app, looking)
def list_(
    network: dii.Network,
    what: What,
    csv: bool = False,
    parquet: Path | None = None,
    limit: MaybeNatural = None,
) -> Answer:
    """List accounts, epochs, gateways, operators, blocks, transactions, transfers, proposals or
    contracts.

    Parameters
    ----------
    what
        Table to list.
    csv
        Print comma-separated values.
    parquet : FILE
        File to write as Parquet.
    limit
        Rows to print.
    """
    frame: pd.DataFrame = getattr(network, what)()
    cut = frame if limit is None else frame.head(limit)
    if parquet is not None:
        cut.to_parquet(parquet)
        written = {"file": str(parquet), "rows": len(cut)}
        return Answer(written, f"{len(cut):,} rows in {parquet}")
    if csv:
        return Answer(cut, lambda: typer.echo(screen.csv(cut), nl=False))
    if what == "proposals" and len(cut):
        # Their texts are too long for a table on a terminal.
        rows = map(proposal, cut.to_dict("records"))
        return Answer(cut, (part for row in rows for part in (row, "")))
    return Answer(cut, partial(screen.rows, frame, PEOPLE[what], network, limit))


def proposal(row: dict[str, Any]) -> dict[str, object]:
    """Return the lines of a proposal: its change, its votes, and its next step."""
    when = {"open": "expires", "passed": "acts", "enacted": "acts", "failed": "acts"}
    kept = ("number", "what", "proposer", "yes", "no", "status", when.get(row["status"]), "note")
    power = f"of {row['total']} voting power"
    voted = {"yes": f"{row['yes']} {power}", "no": f"{row['no']} {power}" if row["no"] else ""}
    return {name: value for name, value in (row | voted).items() if name in kept and value != ""}


# --- show --------------------------------------------------------------------------------------


@verb(show, looking)
def block(network: dii.Network, block: str) -> Answer:
    """Show a block's header and transactions.

    Parameters
    ----------
    block
        Height, hash, or hash prefix.
    """
    return _detailed(network, "block", block)


@verb(show, looking)
def tx(network: dii.Network, tx: str) -> Answer:
    """Show a transaction: its message and its result.

    Parameters
    ----------
    tx
        Id of the transaction, or a prefix of it.
    """
    return _detailed(network, "transaction", tx)


@verb(show, looking)
def account(network: dii.Network, account: str) -> Answer:
    """Show an account: balance, gateways, transfers.

    Parameters
    ----------
    account
        Name or address.
    """
    return _detailed(network, "account", account)


@verb(show, looking)
def gateway(network: dii.Network, gateway: Gateway) -> Answer:
    """Show a gateway: its operator, and what it earned in each epoch."""
    return _detailed(network, "gateway", gateway)


@verb(show, looking)
def epoch(network: dii.Network, epoch: Epoch, stream: Stream = "main") -> Answer:
    """Show an epoch: its pool, and its payments."""
    return _detailed(network, "epoch", epoch, stream)


def _detailed(network: dii.Network, kind: str, *which: object) -> Answer:
    """Return the facts of one object, and its tables."""
    from dii.network import details  # noqa: PLC0415

    document: dict[str, Any] = getattr(details, kind)(network, *which)
    lines: dict[str, object] = {}
    tables: list[Callable[[], None]] = []
    for name, value in document.items():
        if name == "message":
            lines |= {field: _clip(part) for field, part in screen.plain(value).items()}
        elif not hasattr(value, "columns"):
            lines[name] = value
        elif len(value):
            tables += [screen.say, partial(screen.rows, value, DETAILS[name], network)]
    return Answer(document, [partial(screen.facts, lines, network), *tables])


def _clip(value: object) -> str:
    text = str(value)
    many = f"{text[:MOST]}... ({len(text):,} characters; see --json)"
    return text if len(text) <= MOST else many


# --- the end of a run ----------------------------------------------------------------------------


def overview(network: dii.Network, home: Path | None, most: int = 10) -> Iterator[screen.Shown]:
    """Yield the network, its last epochs and its top operators, and how to list the rest."""
    yield network.summary()
    epochs, operators = network.epochs(), network.operators()
    for name, frame, shown in (
        ("epochs", epochs, epochs.tail(most)),
        ("operators", operators, operators.head(most)),
    ):
        yield ""
        yield partial(screen.rows, shown, PEOPLE[name], network)
        if home is not None and len(frame) > most:
            rest = f"{most} of {len(frame):,}; all: {command(home, 'list', name)}"
            yield partial(screen.say, rest, "dim")


def next_commands(network: dii.Network, home: Path) -> Iterator[screen.Shown]:
    """Yield commands that continue from here, each after its reason; each works unchanged."""
    left = network.complete_epochs - network.settled
    paid = network.epochs().query(f"paid_{network.currency.unit} > 0")
    lines: list[tuple[str, Path | None, list[str]]] = []
    if left > 0:
        lines.append((f"settle the {left:,} epochs that are left", home, ["run"]))
    if len(paid):
        epoch = str(paid["epoch"].iloc[-1])
        gateway = network.issuance(int(epoch))["gateway"].iloc[0]
        made = ["receipt", gateway, "--epoch", epoch, "-o", "receipt.proof"]
        header = network.header().hash.hex()
        lines += [
            ("why it earned what it did", home, ["receipt", gateway, epoch, "--verify"]),
            ("for somebody else", home, ["proof", "make", *made]),
            ("needs no home", None, ["proof", "check", "receipt.proof", "--header", header]),
        ]
    lines += [
        ("or accounts, gateways, blocks, transactions", home, ["list", "operators"]),
        ("execute the chain again, from its genesis", home, ["verify"]),
    ]
    for reason, where, words in lines:
        yield partial(screen.say, f"# {reason}", "dim")
        yield command(where, *words)


def open_epoch(network: dii.Network) -> str:
    """Return the open epoch, and the time that the records reach."""
    if not network.sealed or network.reaches is None:
        return "no records have been loaded: there is no epoch to settle"
    epoch = max(network.settled, network.complete_epochs)
    settles = "; `--complete` settles it" * (network.last_epoch >= epoch)
    return f"epoch {epoch} is open: records reach {format_time(network.reaches)}{settles}"
