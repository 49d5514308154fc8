"""Verbs that explain and check: ``receipt``, ``proof``, ``verify``, ``rebuild``.

``proof check`` is for those who have nothing: no home, no chain, no trust in whoever made the
file. It takes the file and a header hash that they know from elsewhere.
"""

from __future__ import annotations

import json
import re
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

import dii
from dii.cli import screen
from dii.cli.options import DEFAULT_HOME, Epoch, Gateway, Home, Json, Scope, Stream, command
from dii.crypto import format_address
from dii.errors import NoReceipt, ProofInvalid, UnknownName
from dii.units import format_time

if TYPE_CHECKING:
    from dii import Network
    from dii.ledger.block import Header
    from dii.ledger.proof import Proof
    from dii.minting import Issuance, ReceiptLeaf
    from dii.network.receipt import NoReceiptProof, ReceiptProof


ABSENT: Final = {"account": 1, "application": 2, "forward": 1, "gateway": 2}
"""Tables of which absence can be checked, with the number of parts of their keys."""


# --- receipt -------------------------------------------------------------------------------------


def receipt(
    gateway: Gateway,
    epoch: Epoch,
    verify: Annotated[bool, typer.Option("--verify", help="Check its proof.")] = False,
    stream: Stream = "main",
    home: Home = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Explain what a gateway was paid in an epoch, and why."""
    with screen.looking(home) as network:
        found = network.receipt(gateway, epoch, stream)
        if verify:
            found.verify(network.header())
        if as_json:
            names = {"gateway": found.gateway, "operator": found.operator, "epoch": epoch}
            proof = {
                "header": found.header.hash,
                "verified": verify,
                "proof": found.proof.to_json(),
            }
            why = _explained(found.leaf, found.issuance, f"_{found.currency.unit}")
            why |= {"excluded": found.excluded, "generated": found.generated}
            screen.json_out(names | {"stream": stream} | why | proof)
            return
        screen.facts(found.lines())
        if verify:
            height, header = network.height, network.header().hash.hex()
            screen.say(f"it holds against header {height}, {header}", "green")


def _explained(leaf: ReceiptLeaf, issuance: Issuance, unit: str = "") -> dict[str, Any]:
    """Return what a receipt says, for JSON; amounts are of the smallest unit."""
    from dii.minting import REASONS  # noqa: PLC0415

    return {
        "metrics": dict(zip(issuance.metrics, leaf.values)),
        "weight": leaf.weight,
        "total_weight": issuance.total_weight,
        "rule": str(issuance.rule),
        "policy": str(issuance.policy),
        f"pool{unit}": issuance.pool,
        f"carried{unit}": issuance.dust_before,
        f"amount{unit}": leaf.amount,
        "payee": format_address(leaf.payee),
        "note": REASONS.get(leaf.reason, ""),
    }


# --- proof ---------------------------------------------------------------------------------------

proof = typer.Typer(help="Make proofs that others can check, and check theirs.")


class Kind(StrEnum):
    """What can be proven."""

    RECEIPT = "receipt"
    ACCOUNT = "account"
    FORWARD = "forward"
    GATEWAY = "gateway"
    APPLICATION = "application"


@proof.command("make")
def make(
    kind: Annotated[Kind, typer.Argument(help="What to prove.")],
    name: Annotated[str, typer.Argument(metavar="ID", help="Gateway, account or application.")],
    epoch: Annotated[int | None, typer.Option(min=0, help="Of a receipt.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Else standard output.")
    ] = None,
    stream: Stream = "main",
    scope: Scope = "main",
    home: Home = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Make a proof of a receipt, an account, whom a claim account forwards to, or whose a gateway or
    application is; or that there is none.
    """
    if (kind is Kind.RECEIPT) != (epoch is not None):
        raise typer.BadParameter("name one for a receipt, and only for it", param_hint="'--epoch'")
    with screen.looking(home) as network:
        header = network.header()
        found = _prove(network, kind, name, epoch, stream, scope)
        found.verify(header.hash)  # or the tables, or the disk, are damaged
        content = found.to_json()
    present = content["value"] is not None and "neighbours" not in content
    text = json.dumps(content, indent=1) + "\n"
    if output is None:
        typer.echo(text, nl=False)
        return
    output.write_text(text)
    if as_json:
        where = {"height": header.height, "header": header.hash}
        screen.json_out({"file": str(output), "present": present} | where)
        return
    what = "it" if present else "that there is none"
    line = f"{output} proves {what} under header {header.height}; whoever trusts that checks it by"
    screen.say(line)
    screen.say(command(None, "proof", "check", str(output), "--header", header.hash.hex()))


def _prove(
    network: Network, kind: Kind, name: str, epoch: int | None, stream: str, scope: str
) -> Proof | ReceiptProof | NoReceiptProof:
    from dii.application import records  # noqa: PLC0415
    from dii.network.receipt import no_receipt  # noqa: PLC0415

    if epoch is not None:
        try:
            return network.receipt(name, epoch, stream).proof
        except NoReceipt:
            return no_receipt(network, name, epoch, stream)
    home = network.home
    match kind:
        case Kind.ACCOUNT:
            return network.prove(records.ACCOUNTS, home.address(name))
        case Kind.FORWARD:
            find = home.address if name.startswith("dii1") else home.claim_account
            return network.prove(records.FORWARDS, find(name))
        case Kind.APPLICATION:
            found = home.find("application", name)
            if found is None:
                raise UnknownName(kind="application", name=name)
            return network.prove(records.APPLICATIONS, scope, found)
        case _:
            return network.prove(records.GATEWAYS, scope, network.gateway(name))


@proof.command("check")
def check(
    file: Annotated[Path, typer.Argument(help="The proof; - reads standard input.")],
    header: Annotated[str, typer.Option(metavar="HASH", help="Hash of a header that you trust.")],
    as_json: Json = False,
) -> None:
    """Check a proof against a header hash, and against nothing else; needs no home."""
    from dii.ledger.proof import MAX_BYTES  # noqa: PLC0415

    trusted = header_hash(header)
    if str(file) == "-":
        data = sys.stdin.buffer.read(MAX_BYTES + 1)
    else:
        with file.open("rb") as source:
            data = source.read(MAX_BYTES + 1)
    found, under = proven(data, trusted)
    where = {"height": under.height, "time": format_time(under.time), "chain": under.chain}
    if as_json:
        screen.json_out({"holds": True, "proven": found, "header": where | {"hash": trusted}})
        return
    screen.say(f"the proof holds under header {header}", "green")
    screen.say("amounts are of the smallest unit", "dim")
    screen.facts(screen.plain(_flat(found | where)))


def header_hash(text: str) -> bytes:
    """Read the option ``--header``."""
    try:
        trusted = bytes.fromhex(text)
    except ValueError:
        trusted = b""
    if len(trusted) != 32:
        raise typer.BadParameter("a header hash is 64 hex digits", param_hint="'--header'")
    return trusted


def proven(data: bytes, trusted: bytes) -> tuple[dict[str, Any], Header]:
    """Return what a proof file's bytes prove under a header hash, and the header.

    Raises
    ------
    ProofInvalid
        Some step does not hold, or this is no proof file.
    """
    from dii import codec  # noqa: PLC0415
    from dii.application.records import Origin  # noqa: PLC0415
    from dii.ledger.proof import Proof, read_json  # noqa: PLC0415
    from dii.network import receipt as receipts  # noqa: PLC0415

    content = read_json(data)
    kind = content.get("kind") if isinstance(content, dict) else None
    if kind in (receipts.RECEIPT, receipts.NO_RECEIPT):  # no set: it may be a list
        made: ReceiptProof | NoReceiptProof = (
            receipts.ReceiptProof if kind == receipts.RECEIPT else receipts.NoReceiptProof
        ).from_json(content)
        found, proof = _receipt_proven(made, trusted), made.issuance
    else:
        proof = Proof.from_json(content)
        found = _record_proven(proof, trusted)
    network = screen.plain(codec.loads(Origin, proof.genesis))
    return found | {"network": network}, proof.header


def _receipt_proven(found: ReceiptProof | NoReceiptProof, trusted: bytes) -> dict[str, Any]:
    """Check the proof of a gateway's receipt, or that it has none; return what it proves."""
    from dii.network.receipt import NoReceiptProof  # noqa: PLC0415

    if isinstance(found, NoReceiptProof):
        issuance, gateway = found.verify(trusted), found.gateway
        more = {"present": False, "receipts": issuance.count}
    else:
        leaf, issuance = found.verify(trusted)
        gateway, more = leaf.gateway, _explained(leaf, issuance)
    table, *parts = _parts(found.issuance.key)
    if table != "issuance" or len(parts) != 2:
        raise ProofInvalid(message="the record that it leads to is no issuance")
    return {"kind": "receipt", "gateway": gateway, "stream": parts[0], "epoch": parts[1]} | more


def _record_proven(found: Proof, trusted: bytes) -> dict[str, Any]:
    """Check a state record's proof, or its absence's; return what it proves."""
    from dii import codec  # noqa: PLC0415
    from dii.application.records import TABLES  # noqa: PLC0415
    from dii.genesis import NAME  # noqa: PLC0415

    found.verify(trusted)
    name, *parts = _parts(found.key)
    records = {table.name: table.shape for table in TABLES}
    if name not in records:
        raise ProofInvalid(message=f"nothing in the state is called {name!r}")
    *scope, last = parts or [None]
    exists = len(parts) == ABSENT.get(name) and type(last) is bytes and len(last) == 20
    if scope:
        exists = exists and type(scope[0]) is str and bool(re.fullmatch(NAME, scope[0]))
    if found.value is None and not exists:
        # Nothing ever stands there, and shown to people the key may look like one that is there.
        raise ProofInvalid(message=f"it is of no key that a {name} could have")
    key = [format_address(part) for part in parts] if name in ("account", "forward") else parts
    proven = {"kind": name, "key": screen.plain(key), "present": found.value is not None}
    if found.value is not None:
        value = screen.plain(codec.loads(records[name], found.value))
        proven |= value if isinstance(value, dict) else {"value": value}
    if name == "forward" and "value" in proven:
        proven["to"] = format_address(bytes.fromhex(proven.pop("value")))
    if "owners" in proven:  # of a gateway: since which epoch, and who
        owners = [(since, bytes.fromhex(owner)) for since, owner in proven["owners"]]
        proven["owners"] = {str(since): format_address(owner) for since, owner in owners}
    return proven


def _parts(key: bytes) -> tuple[Any, ...]:
    from dii import codec  # noqa: PLC0415

    parts = codec.decode(key)
    if type(parts) is not tuple or not parts:
        raise ProofInvalid(message="its key is no key of a state")
    return parts


def _flat(content: dict[str, Any]) -> dict[str, Any]:
    """Return nested content a line an entry."""
    lines: dict[str, Any] = {}
    for name, value in content.items():
        if name == "owners":
            lines |= {f"owner from epoch {since}": owner for since, owner in value.items()}
        elif name == "network":
            lines |= _network(**value)
        elif isinstance(value, dict):
            lines |= value
        elif name == "present":
            lines["is there"] = "yes" if value else "no: it is proven to be absent"
        else:
            lines[name] = ", ".join(map(str, value)) if isinstance(value, list) else value
    return lines


def _network(
    name: str, symbol: str, decimals: int, laboratory: bool, generated: str | None
) -> dict[str, str]:
    """Return what kind of network a proof is of, a line an entry."""
    lines = {"network": name, "currency": f"{symbol}, of {decimals} decimals"}
    if laboratory:
        how = f": traffic is generated, {generated}" if generated else ""
        lines["laboratory"] = f"yes, money is play money{how}"
    return lines


# --- verify and rebuild --------------------------------------------------------------------------


def verify(home: Home = DEFAULT_HOME, as_json: Json = False) -> None:
    """Execute every block again, from the genesis, and compare everything."""
    with screen.looking(home) as network:
        height, money = network.height, network.currency
        with screen.progress("executing blocks") as tick:
            found = network.verify(lambda done: tick(done, height))
    document = {
        "base": found.base,
        "height": found.height,
        "transactions": found.transactions,
        "app_hash": found.app_hash,
        f"minted_{money.unit}": found.minted,
        f"burned_{money.unit}": found.burned,
    }
    which = f"{found.height:,} blocks"
    if found.base:
        which = f"the blocks after the snapshot of height {found.base:,}, to {found.height:,},"
    line = (
        f"{which} with {found.transactions:,} transactions hold, to app hash"
        f" {found.app_hash.hex()}: {money.format(found.minted)} minted,"
        f" {money.format(found.burned)} burned"
    )
    screen.answer(as_json, document, line)


def rebuild(home: Home = DEFAULT_HOME, as_json: Json = False) -> None:
    """Make the index again from the chain; nothing is lost by deleting it."""
    with dii.Network.open(home) as network:
        with screen.progress("executing blocks"):
            network.rebuild()
        height, base = network.height, network.view.store.base
    shown = f"the index holds again every block from {base + 1:,} to {height:,}"
    screen.answer(as_json, {"height": height}, shown)
