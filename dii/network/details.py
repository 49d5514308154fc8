"""Details of a network and of one block, transaction, account, gateway or epoch.

Each function returns one document: names and values, and tables (data frames) that belong to them.
"""

from __future__ import annotations

from typing import Any, Final

import pandas as pd

from dii import codec, crypto, errors
from dii.application import bank, messages, records
from dii.genesis import SpecSection
from dii.ledger import transaction as wires
from dii.ledger.block import Block, Commit
from dii.network import receipt, tables
from dii.network.home import SCOPE, STREAM
from dii.network.view import View
from dii.units import format_time

LEAST: Final = 4
"""Digits that a hash prefix needs."""


def status(network: View) -> dict[str, Any]:
    """Return the state of a network, or the draft of one that is not sealed yet."""
    if not network.sealed:
        return {"sealed": False, **(network.home.draft or {})}
    genesis, header, unit = network.genesis, network.header(), network.currency.unit
    money, damaged = bank.supply(network.state), bool(network.damage)
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
        "epochs_with_data": None if damaged else network.last_epoch + 1,
        "lag": network.lag,
        "epochs_complete": None if damaged else network.complete_epochs,
        "records_reach": None if network.reaches is None else format_time(network.reaches),
        f"minted_{unit}": money.minted,
        f"burned_{unit}": money.burned,
        "streams": [
            {"name": name, "scope": stream.scope, "rest": stream.rest}
            | {of: SpecSection.of(getattr(stream, of)).model_dump() for of in ("rule", "policy")}
            for (name,), stream in network.state.items(records.STREAMS)
        ],
    }


def block(network: View, which: str) -> dict[str, Any]:
    """Return a block, given by its height, hash or hash prefix."""
    if which.isdecimal() and len(which) < 16:
        known = tables.blocks(network, int(which))
    else:
        known = tables.blocks(network, begins=_beginning(which))
    height = _only(known, "block", which)["height"]
    stored = _stored(network, height)
    return {
        "height": height,
        "time": format_time(stored.header.time),
        "hash": stored.header.hash,
        "previous": stored.header.previous,
        "app_hash": stored.header.app_hash,
        "transactions_root": stored.header.transactions,
        "proposer": network.home.label(stored.header.proposer),
        "signatures": len(codec.loads(Commit, network.view.store.commit(height))),
        "bytes": sum(map(len, stored.transactions)),
        "transactions": tables.transactions(network, height),
    }


def transaction(network: View, which: str) -> dict[str, Any]:
    """Return a transaction with its message, given by its id or a prefix of it."""
    known = tables.transactions(network, begins=_beginning(which))
    row = _only(known, "transaction", which)
    wire = _stored(network, row["height"]).transactions[row["position"]]
    message = messages.from_value(wires.decode(wire).message)
    return row | {"bytes": len(wire), "message": message}


def account(network: View, who: str) -> dict[str, Any]:
    """Return an account, its gateways and its transfers."""
    text = crypto.format_address(network.home.address(who))
    return _only(tables.accounts(network, text), "account", who) | {
        "gateways": tables.gateways(network, text),
        "transfers": tables.transfers(network, text),
    }


def gateway(network: View, which: str) -> dict[str, Any]:
    """Return a gateway, its owner, the owner decided for a later epoch, and earnings by epoch."""
    hashed, names = network.gateway(which), network.home.names("gateway")
    since, owner = tables.owners(network, names).get((SCOPE, hashed), (None, None))
    binding = network.state.get(records.GATEWAYS, SCOPE, hashed)
    following: dict[str, Any] = {}
    if binding is not None and since is not None and binding.owners[-1][0] > since:
        number, account = binding.owners[-1]
        next_owner = network.home.label(bank.resolve(network.state, account))
        following = {"next_operator": next_owner, "next_epoch": number}
    return {
        "gateway": names.get(hashed, hashed.hex()),
        "operator": network.home.label(owner) if owner else None,
        "since_epoch": since,
        **following,
        "hash": hashed,
        "epochs": tables.earnings(network, hashed),
    }


def epoch(network: View, number: int, stream: str = STREAM) -> dict[str, Any]:
    """Return an epoch of a stream, and its payments."""
    issued, epochs = tables.issuance(network, number, stream), tables.epochs(network)
    issued["contribution"] = issued["weight"] / receipt.scale(network.issued(number, stream))
    epochs = epochs[(epochs["epoch"] == number) & (epochs["stream"] == stream)]
    return _only(epochs, "epoch", str(number)) | {"issuance": issued}


def _stored(network: View, height: int) -> Block:
    raw = network.view.store.block(height)
    assert raw is not None, "what the index lists is stored"
    return codec.loads(Block, raw)


def _beginning(text: str) -> str:
    """Return a hash prefix; one that is too short fits no hash."""
    return text if len(text) >= LEAST else "none"


def _only(rows: pd.DataFrame, kind: str, name: str) -> dict[str, Any]:
    if len(rows) != 1:
        raise errors.UnknownName(kind=kind, name=name)
    return {str(column): value for column, value in rows.to_dict("records")[0].items()}
