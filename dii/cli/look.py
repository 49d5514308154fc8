"""Verbs that look at a network: ``status``, ``list``, ``show``.

They open it read-only, so they work while another process writes.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

import dii
from dii.cli import screen
from dii.cli.options import DEFAULT_HOME, Home, Json, Stream, command
from dii.errors import UnknownName
from dii.units import format_time

if TYPE_CHECKING:
    import pandas as pd

    from dii import Network

Rows = Annotated[int | None, typer.Option("--limit", min=0, help="Rows to print.")]


class Table(StrEnum):
    """What can be listed; the names of the network's own methods."""

    ACCOUNTS = "accounts"
    EPOCHS = "epochs"
    GATEWAYS = "gateways"
    OPERATORS = "operators"
    BLOCKS = "blocks"
    TRANSACTIONS = "transactions"
    TRANSFERS = "transfers"


PEOPLE: Final = {
    Table.ACCOUNTS: "account kind balance transactions address",
    Table.EPOCHS: "epoch start gateways total_weight pool paid unminted height",
    Table.GATEWAYS: "gateway operator earned",
    Table.OPERATORS: "operator gateways paid_epochs earned share",
    Table.BLOCKS: "height time transactions gas hash",
    Table.TRANSACTIONS: "height id sender kind code fee detail",
    Table.TRANSFERS: "height kind sender recipient amount",
}
"""The columns that people see; ``--csv``, ``--parquet`` and ``--json`` have all."""
ISSUED: Final = "gateway operator weight amount"


# --- status and list -------------------------------------------------------------------------


def status(home: Home = DEFAULT_HOME, as_json: Json = False) -> None:
    """Say how the network stands."""
    with dii.Network.open(home, readonly=True) as network:
        if not network.sealed:
            draft = network.home.draft or {}
            waits = {"network": draft["name"], "waits": "for its first telemetry, which seals it"}
            screen.json_out({"sealed": False, **draft}) if as_json else screen.facts(waits)
        elif as_json:
            screen.json_out(status_json(network))
        else:
            screen.facts(network.summary())


def status_json(network: Network) -> dict[str, Any]:
    """Return how a sealed network stands."""
    from dii.application.bank import supply  # noqa: PLC0415

    genesis, header, unit = network.genesis, network.header(), network.currency.unit
    money = supply(network.state)
    return {
        "sealed": True,
        "chain": genesis.chain_id,
        "laboratory": genesis.laboratory,
        "currency": network.currency,
        "height": header.height,
        "time": format_time(header.time),
        "header": header.hash,
        "app_hash": header.app_hash,
        "epochs_settled": network.settled,
        "epochs_with_data": network.last_epoch + 1,
        f"minted_{unit}": money.minted,
        f"burned_{unit}": money.burned,
        "streams": genesis.model_dump(mode="json")["streams"],
    }


def list_(
    what: Annotated[Table, typer.Argument(help="What to list.")],
    csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values.")] = False,
    parquet: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a Parquet file.")
    ] = None,
    limit: Rows = None,
    home: Home = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """List accounts, epochs, gateways, operators, blocks, transactions or transfers."""
    with dii.Network.open(home, readonly=True) as network:
        frame: pd.DataFrame = getattr(network, what.value)()
        cut = frame if limit is None else frame.head(limit)
        if parquet is not None:
            cut.to_parquet(parquet)
            written = {"file": str(parquet), "rows": len(cut)}
            screen.json_out(written) if as_json else screen.say(f"{len(cut):,} rows in {parquet}")
        elif as_json:
            screen.json_out(cut)
        elif csv:
            typer.echo(cut.to_csv(index=False), nl=False)
        else:
            screen.rows(frame, PEOPLE[what], network, limit)


# --- show --------------------------------------------------------------------------------------

show = typer.Typer(help="Show one block, transaction, account, gateway or epoch.")


@show.command("block")
def show_block(
    block: Annotated[str, typer.Argument(help="Height, or hash or the beginning of it.")],
    home: Home = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Show a block's header and transactions."""
    from dii import codec  # noqa: PLC0415
    from dii.ledger.block import Block  # noqa: PLC0415

    with dii.Network.open(home, readonly=True) as network:
        blocks = network.blocks()
        known = blocks["height"].astype(str).eq(block) | _begins(blocks["hash"], block)
        height = int(_only(blocks[known], "block", block)["height"])
        raw = network.view.store.block(height)
        assert raw is not None
        found = codec.loads(Block, raw)
        transactions = network.transactions().query("height == @height")
        header = {
            "height": height,
            "time": format_time(found.header.time),
            "hash": found.header.hash,
            "previous": found.header.previous,
            "app_hash": found.header.app_hash,
            "transactions_root": found.header.transactions,
            "proposer": network.home.label(found.header.proposer),
            "signatures": len(found.commits),
            "bytes": len(raw),
        }
        if as_json:
            screen.json_out(header | {"transactions": transactions})
        else:
            screen.facts(screen.plain(header))
            _rows_below(network, transactions, PEOPLE[Table.TRANSACTIONS])


@show.command("tx")
def show_tx(
    tx: Annotated[str, typer.Argument(help="Id of the transaction, or the beginning of it.")],
    home: Home = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Show a transaction: what it asked for and what became of it."""
    from dii import codec  # noqa: PLC0415
    from dii.application.messages import from_value  # noqa: PLC0415
    from dii.ledger import transaction  # noqa: PLC0415
    from dii.ledger.block import Block  # noqa: PLC0415

    with dii.Network.open(home, readonly=True) as network:
        transactions = network.transactions()
        row = _only(transactions[_begins(transactions["id"], tx)], "transaction", tx)
        raw = network.view.store.block(row["height"])
        assert raw is not None
        wire = codec.loads(Block, raw).transactions[row["position"]]
        message = screen.plain(from_value(transaction.decode(wire).message))
        if as_json:
            screen.json_out(row | {"bytes": len(wire), "message": message})
        else:
            short = {name: _clip(value) for name, value in message.items()}
            screen.facts(row | {"bytes": len(wire)} | short)


def _clip(value: object) -> str:
    text = str(value)
    return text if len(text) <= 100 else f"{text[:100]}... ({len(text):,} characters; see --json)"


@show.command("account")
def show_account(
    account: Annotated[str, typer.Argument(help="Name or address.")],
    home: Home = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Show an account: balance, gateways, transfers."""
    from dii.crypto import format_address  # noqa: PLC0415

    with dii.Network.open(home, readonly=True) as network:
        address = network.home.address(account)
        label, text = network.home.label(address), format_address(address)
        accounts, gateways, transfers = network.accounts(), network.gateways(), network.transfers()
        known: list[dict[Any, Any]] = accounts[accounts["address"] == text].to_dict("records")
        unit = f"balance_{network.currency.unit}"
        unused = {"account": label, "address": text, "kind": "unused", unit: 0, "transactions": 0}
        found: dict[str, Any] = known[0] if known else unused
        gateways = gateways[gateways["operator"] == label]
        transfers = transfers[(transfers["sender"] == label) | (transfers["recipient"] == label)]
        if as_json:
            screen.json_out(found | {"gateways": gateways, "transfers": transfers})
            return
        screen.facts(found | {"balance": network.currency.format(found.pop(unit))})
        _rows_below(network, gateways, PEOPLE[Table.GATEWAYS])
        _rows_below(network, transfers, PEOPLE[Table.TRANSFERS])


@show.command("gateway")
def show_gateway(
    gateway: Annotated[str, typer.Argument(help="Id (eui- and case do not matter) or hash.")],
    home: Home = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Show a gateway: its operator, and what it earned in each epoch."""
    with dii.Network.open(home, readonly=True) as network:
        hashed = network.home.gateway(gateway)
        gateways = network.gateways()
        bound = gateways[gateways["hash"] == hashed.hex()].to_dict("records")
        operator = bound[0]["operator"] if bound else None
        found = {
            "gateway": network.home.names("gateway").get(hashed, hashed.hex()),
            "operator": operator,
            "hash": hashed,
        }
        earned = _earned(network, hashed)
        if as_json:
            screen.json_out(found | {"epochs": earned})
        else:
            found["operator"] = operator or "none: the treasury is paid"
            screen.facts(screen.plain(found))
            _rows_below(network, earned, "epoch weight amount paid_to note")


@show.command("epoch")
def show_epoch(
    epoch: Annotated[int, typer.Argument(min=0, help="Number, from 0.")],
    stream: Stream = "main",
    limit: Rows = None,
    home: Home = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Show an epoch: its pool, and who got what."""
    with dii.Network.open(home, readonly=True) as network:
        issued = network.issuance(epoch, stream)
        epochs = network.epochs().query("epoch == @epoch and stream == @stream")
        if as_json:
            screen.json_out(screen.plain(epochs)[0] | {"issuance": issued})
        else:
            screen.rows(epochs, PEOPLE[Table.EPOCHS], network)
            screen.say()
            screen.rows(issued, ISSUED, network, limit)


def _earned(network: Network, gateway: bytes) -> pd.DataFrame:
    """Return a gateway's receipts in short, by epoch."""
    import pandas as pd  # noqa: PLC0415

    from dii.minting import REASONS  # noqa: PLC0415

    found = network.view.index.query(
        "SELECT epoch, stream, weight, amount, payee, reason FROM receipts WHERE gateway = ?"
        " ORDER BY epoch, stream",
        (gateway,),
    )
    names = network.home.names("account")
    lines = [
        (epoch, stream, weight, amount, network.home.label(payee, names), REASONS[reason])
        for epoch, stream, weight, amount, payee, reason in found
    ]
    columns = f"epoch stream weight amount_{network.currency.unit} paid_to note"
    return pd.DataFrame(lines, columns=columns.split())


def _begins(column: pd.Series[Any], text: str) -> pd.Series[Any]:
    """Return which hashes begin with a text of at least four digits."""
    return column.str.startswith(text.lower()) & (len(text) >= 4)


def _only(found: pd.DataFrame, kind: str, name: str) -> dict[str, Any]:
    if len(found) != 1:
        raise UnknownName(kind=kind, name=name)
    return {str(name): value for name, value in found.to_dict("records")[0].items()}


def _rows_below(network: Network, frame: pd.DataFrame, columns: str) -> None:
    if len(frame):
        screen.say()
        screen.rows(frame, columns, network)


# --- what a run shows at its end -----------------------------------------------------------------


def overview_json(network: Network) -> dict[str, Any]:
    """Return the network, its epochs and its operators."""
    frames = {"epochs": network.epochs(), "operators": network.operators()}
    return status_json(network) | frames


def show_overview(network: Network, home: Path | None, most: int = 10) -> None:
    """Print the network, its last epochs and its top operators, and how to list the rest."""
    screen.facts(network.summary())
    for table in (Table.EPOCHS, Table.OPERATORS):
        frame: pd.DataFrame = getattr(network, table.value)()
        screen.say()
        shown = frame.tail(most) if table is Table.EPOCHS else frame.head(most)
        screen.rows(shown, PEOPLE[table], network)
        if home is not None and len(frame) > most:
            screen.say(f"{most} of {len(frame):,}; all: {command(home, 'list', table)}", "dim")


def show_next(network: Network, home: Path) -> None:
    """Print commands that go on from here; each works as it stands."""
    left = network.last_epoch + 1 - network.settled
    if left > 0:
        _next(command(home, "run"), f"settle the {left:,} epochs that are left")
    paid = network.epochs().query(f"paid_{network.currency.unit} > 0")
    if len(paid):
        epoch = str(paid["epoch"].iloc[-1])
        gateway = network.issuance(int(epoch))["gateway"].iloc[0]
        proof = ["--epoch", epoch, "-o", "receipt.proof"]
        header = network.header().hash.hex()
        _next(command(home, "receipt", gateway, epoch, "--verify"), "why it earned what it did")
        _next(command(home, "proof", "make", "receipt", gateway, *proof), "for somebody else")
        _next(command(None, "proof", "check", "receipt.proof", "--header", header), "needs no home")
    _next(command(home, "list", "operators"), "or accounts, gateways, blocks, transactions")
    _next(command(home, "verify"), "execute the chain again, from its genesis")


def _next(line: str, why: str) -> None:
    screen.say(f"# {why}", "dim")
    screen.say(line)
