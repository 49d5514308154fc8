"""Verbs that look at a network: ``status``, ``list``, ``show``.

They open it read-only, so they work while another process writes.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from dii.cli import screen
from dii.cli.options import DEFAULT_HOME, Epoch, Gateway, Home, Json, Stream, command
from dii.crypto import format_address
from dii.errors import UnknownName
from dii.units import format_time

if TYPE_CHECKING:
    import pandas as pd

    from dii import Network
    from dii.application import records
    from dii.ledger.block import Block


class Table(StrEnum):
    """What can be listed; the names of the network's own methods."""

    ACCOUNTS = "accounts"
    EPOCHS = "epochs"
    GATEWAYS = "gateways"
    OPERATORS = "operators"
    BLOCKS = "blocks"
    TRANSACTIONS = "transactions"
    TRANSFERS = "transfers"
    PROPOSALS = "proposals"
    CONTRACTS = "contracts"


PEOPLE: Final = {
    Table.ACCOUNTS: "account kind balance transactions address",
    Table.EPOCHS: "epoch stream start gateways contribution pool paid unminted height",
    Table.GATEWAYS: "gateway operator since_epoch earned",
    Table.OPERATORS: "operator gateways paid_epochs earned share",
    Table.BLOCKS: "height time transactions gas hash",
    Table.TRANSACTIONS: "height id sender kind code fee detail",
    Table.TRANSFERS: "height kind sender recipient amount",
    Table.PROPOSALS: "number what proposer yes status",
    Table.CONTRACTS: "contract title agreement deployed_by balance purse status",
}
"""The columns that people see; ``--csv``, ``--parquet`` and ``--json`` have all."""
ISSUED: Final = "gateway operator contribution amount"


# --- status and list -------------------------------------------------------------------------


def status(home: Home = DEFAULT_HOME, as_json: Json = False) -> None:
    """Say how the network stands."""
    with screen.looking(home) as network:
        if as_json:
            screen.json_out(status_json(network))
        elif network.sealed:
            screen.facts(network.summary())
        else:
            name = (network.home.draft or {})["name"]
            screen.facts({"network": name, "waits": "for its first telemetry, which seals it"})


def status_json(network: Network) -> dict[str, Any]:
    """Return the state of a network, or the draft of one that is not sealed yet."""
    if not network.sealed:
        return {"sealed": False, **(network.home.draft or {})}
    from dii.application.bank import supply  # noqa: PLC0415
    from dii.application.records import STREAMS  # noqa: PLC0415

    genesis, header, unit = network.genesis, network.header(), network.currency.unit
    money = supply(network.state)
    return {
        "sealed": True,
        "chain": genesis.chain_id,
        "laboratory": genesis.laboratory,
        "generated": genesis.generated,
        "currency": network.currency,
        "height": header.height,
        "time": format_time(header.time),
        "header": header.hash,
        "app_hash": header.app_hash,
        "epochs_settled": network.settled,
        "epochs_with_data": None if network.damage else network.last_epoch + 1,
        "lag": network.lag,
        "epochs_complete": None if network.damage else network.complete_epochs,
        "records_reach": None if network.reaches is None else format_time(network.reaches),
        f"minted_{unit}": money.minted,
        f"burned_{unit}": money.burned,
        "streams": [_stream(str(name), item) for (name,), item in network.state.items(STREAMS)],
    }


def _stream(name: str, stream: records.Stream) -> dict[str, Any]:
    """Return a stream as a genesis writes it."""
    found: dict[str, Any] = {"name": name, "scope": stream.scope, "rest": stream.rest}
    for part, spec in (("rule", stream.rule), ("policy", stream.policy)):
        found[part] = screen.plain(spec) | {"parameters": dict(spec.parameters)}
    return found


def list_(
    what: Annotated[Table, typer.Argument(help="What to list.")],
    csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values.")] = False,
    parquet: Annotated[Path | None, typer.Option(help="File to write as Parquet.")] = None,
    limit: Annotated[int | None, typer.Option(min=0, help="Rows to print.")] = None,
    home: Home = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """List accounts, epochs, gateways, operators, blocks, transactions, transfers, proposals or
    contracts.
    """
    with screen.looking(home) as network:
        frame: pd.DataFrame = getattr(network, what.value)()
        cut = frame if limit is None else frame.head(limit)
        if parquet is not None:
            cut.to_parquet(parquet)
            written = {"file": str(parquet), "rows": len(cut)}
            screen.answer(as_json, written, f"{len(cut):,} rows in {parquet}")
        elif as_json:
            screen.json_out(cut)
        elif csv:
            typer.echo(screen.csv(cut), nl=False)
        elif what is Table.PROPOSALS and len(cut):
            # Their texts are too long for a table on a terminal.
            for row in cut.to_dict("records"):
                screen.facts(proposal(row))
                screen.say()
        else:
            screen.rows(frame, PEOPLE[what], network, limit)


def proposal(row: dict[str, Any]) -> dict[str, object]:
    """Return what people see of a proposal: what it would change, who is for it, what comes next."""
    when = {"open": "expires", "passed": "acts", "enacted": "acts", "failed": "acts"}
    kept = ("number", "what", "proposer", "yes", "no", "status", when.get(row["status"]), "note")
    power = f"of {row['total']} voting power"
    voted = {"yes": f"{row['yes']} {power}", "no": f"{row['no']} {power}" if row["no"] else ""}
    return {name: one for name, one in (row | voted).items() if name in kept and one != ""}


# --- show --------------------------------------------------------------------------------------

show = typer.Typer(help="Show one block, transaction, account, gateway or epoch.")


@show.command("block")
def show_block(
    block: Annotated[str, typer.Argument(help="Height, or hash or the beginning of it.")],
    home: Home = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Show a block's header and transactions."""
    with screen.looking(home) as network:
        by_height = block.isdecimal() and len(block) < 16
        known = network.blocks(int(block)) if by_height else network.blocks(begins=_begun(block))
        height = _only(known, "block", block)["height"]
        found = _block(network, height)
        header = {
            "height": height,
            "time": format_time(found.header.time),
            "hash": found.header.hash,
            "previous": found.header.previous,
            "app_hash": found.header.app_hash,
            "transactions_root": found.header.transactions,
            "proposer": network.home.label(found.header.proposer),
            "signatures": len(found.commits),
            "bytes": sum(map(len, found.transactions)),
        }
        inside = network.transactions(height)
        _answer(network, as_json, header, transactions=(inside, PEOPLE[Table.TRANSACTIONS]))


@show.command("tx")
def show_tx(
    tx: Annotated[str, typer.Argument(help="Id of the transaction, or the beginning of it.")],
    home: Home = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Show a transaction: what it asked for and what became of it."""
    from dii.application.messages import from_value  # noqa: PLC0415
    from dii.ledger import transaction  # noqa: PLC0415

    with screen.looking(home) as network:
        row = _only(network.transactions(begins=_begun(tx)), "transaction", tx)
        wire = _block(network, row["height"]).transactions[row["position"]]
        row["bytes"] = len(wire)
        message = screen.plain(from_value(transaction.decode(wire).message))
        if as_json:
            screen.json_out(row | {"message": message})
        else:
            screen.facts(row | {name: _clip(value) for name, value in message.items()}, network)


@show.command("account")
def show_account(
    account: Annotated[str, typer.Argument(help="Name or address.")],
    home: Home = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Show an account: balance, gateways, transfers."""
    with screen.looking(home) as network:
        address = network.home.address(account)
        label, text = network.home.label(address), format_address(address)
        known = network.accounts(text)
        unused = {"account": label, "address": text, "kind": "unused", "transactions": 0}
        unused[f"balance_{network.currency.unit}"] = 0
        _answer(
            network,
            as_json,
            _only(known, "account", account) if len(known) else unused,
            gateways=(network.gateways(text), PEOPLE[Table.GATEWAYS]),
            transfers=(network.transfers(text), PEOPLE[Table.TRANSFERS]),
        )


@show.command("gateway")
def show_gateway(gateway: Gateway, home: Home = DEFAULT_HOME, as_json: Json = False) -> None:
    """Show a gateway: its operator, and what it earned in each epoch."""
    from dii.network.home import SCOPE  # noqa: PLC0415
    from dii.network.tables import earnings, owners  # noqa: PLC0415

    with screen.looking(home) as network:
        hashed = network.gateway(gateway)
        since, owner = owners(network).get((SCOPE, hashed), (None, None))
        found = {
            "gateway": network.home.names("gateway").get(hashed, hashed.hex()),
            "operator": network.home.label(owner) if owner else None,
            "since_epoch": since,
            "hash": hashed,
        }
        columns = "epoch stream contribution amount paid_to note"
        _answer(network, as_json, found, epochs=(earnings(network, hashed), columns))


@show.command("epoch")
def show_epoch(
    epoch: Epoch,
    stream: Stream = "main",
    home: Home = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Show an epoch: its pool, and who got what."""
    from dii.network.tables import contributions  # noqa: PLC0415

    with screen.looking(home) as network:
        issued, epochs = network.issuance(epoch, stream), network.epochs()
        issued["contribution"] = contributions(network, issued.assign(epoch=epoch, stream=stream))
        epochs = epochs[(epochs["epoch"] == epoch) & (epochs["stream"] == stream)]
        found = _only(epochs, "epoch", str(epoch))
        _answer(network, as_json, found, issuance=(issued, ISSUED))


def _answer(
    network: Network, as_json: bool, found: dict[str, Any], **tables: tuple[pd.DataFrame, str]
) -> None:
    """Print facts and the tables that belong to them."""
    if as_json:
        screen.json_out(found | {name: frame for name, (frame, _) in tables.items()})
        return
    screen.facts(found, network)
    for frame, columns in tables.values():
        if len(frame):
            screen.say()
            screen.rows(frame, columns, network)


def _block(network: Network, height: int) -> Block:
    from dii import codec  # noqa: PLC0415
    from dii.ledger.block import Block  # noqa: PLC0415

    raw = network.view.store.block(height)
    assert raw is not None, "what the index lists is stored"
    return codec.loads(Block, raw)


def _begun(text: str) -> str:
    """Return the beginning of a hash; too short a one begins none."""
    return text if len(text) >= 4 else "none"


def _only(found: pd.DataFrame, kind: str, name: str) -> dict[str, Any]:
    if len(found) != 1:
        raise UnknownName(kind=kind, name=name)
    return {str(name): value for name, value in found.to_dict("records")[0].items()}


def _clip(value: object) -> str:
    text = str(value)
    return text if len(text) <= 100 else f"{text[:100]}... ({len(text):,} characters; see --json)"


# --- what a run shows at its end -----------------------------------------------------------------


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
    left = network.complete_epochs - network.settled
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


def show_open(network: Network) -> None:
    """Print the epoch that stays open, and the time that the records reach."""
    if not network.sealed or network.reaches is None:
        screen.say("no records have been loaded: there is no epoch to settle")
        return
    epoch = max(network.settled, network.complete_epochs)
    settles = "; `--complete` settles it" * (network.last_epoch >= epoch)
    screen.say(f"epoch {epoch} is open: records reach {format_time(network.reaches)}{settles}")


def _next(line: str, why: str) -> None:
    screen.say(f"# {why}", "dim")
    screen.say(line)
