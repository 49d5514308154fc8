"""Proofs by kind: made for a name, and checked against a trusted header hash.

Checking a proof takes its file and the hash of a header from a trusted source: no home, no chain,
no trust in the author of the file. Receipts are in trees of their own; everything else is a record
of the state. The absence of the kinds in ``KINDS`` can be proven, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Final

from dii import codec, errors
from dii.application import records
from dii.crypto import format_address
from dii.genesis import NAME
from dii.ledger.block import Header
from dii.ledger.proof import Proof, read_json
from dii.ledger.state import Table
from dii.minting import REASONS, Issuance, ReceiptLeaf
from dii.network import receipt as receipts
from dii.network.home import SCOPE, STREAM
from dii.network.view import View


def _fields(record: Any) -> dict[str, Any]:
    """Return the fields of a record; the value alone where it has none."""
    if not is_dataclass(record):
        return {"value": record}
    return {field.name: getattr(record, field.name) for field in fields(record)}


def _owned(binding: records.Binding) -> dict[str, Any]:
    owners = {str(since): format_address(owner) for since, owner in binding.owners}
    return _fields(binding) | {"owners": owners}


def _claim_account(network: View, name: str) -> codec.Address:
    home = network.home
    return home.address(name) if name.startswith("dii1") else home.claim_account(name)


def _application(network: View, name: str) -> codec.KeyedHash:
    return codec.KeyedHash(network.home.known("application", name))


@dataclass(frozen=True, slots=True)
class Kind:
    """Kind of record whose presence or absence can be proven for a name.

    Attributes
    ----------
    table
        Table of the records; its name is the name of the kind.
    find
        Finds the hash or address of a name.
    scoped
        Whether keys are a scope and a hash; otherwise they are an address.
    explain
        Returns the content of a record by names.
    """

    table: Table[Any]
    find: Callable[[View, str], bytes]
    scoped: bool = False
    explain: Callable[[Any], dict[str, Any]] = _fields

    def fits(self, parts: list[Any]) -> bool:
        """Return whether a record could ever have a key."""
        *scope, last = parts or [None]
        if len(scope) != self.scoped or type(last) is not bytes or len(last) != 20:
            return False
        return not scope or (type(scope[0]) is str and bool(re.fullmatch(NAME, scope[0])))


KINDS: Final = {
    kind.table.name: kind
    for kind in (
        Kind(records.ACCOUNTS, lambda network, name: network.home.address(name)),
        Kind(records.FORWARDS, _claim_account, explain=lambda to: {"to": format_address(to)}),
        Kind(records.GATEWAYS, lambda network, name: network.gateway(name), True, _owned),
        Kind(records.APPLICATIONS, _application, True, _owned),
    )
}


def prove(
    network: View,
    kind: str,
    name: str,
    *,
    epoch: int | None = None,
    stream: str = STREAM,
    scope: str = SCOPE,
) -> Proof | receipts.ReceiptProof | receipts.NoReceiptProof:
    """Return the proof of a record or a receipt, or of its absence, against the last header.

    Parameters
    ----------
    kind
        ``receipt``, or one of ``KINDS``: ``account``, ``forward`` (of a claim account to its
        owner), ``gateway`` and ``application`` (with their owners).
    name
        Of the gateway, account, operator or application.
    epoch, stream
        Of a receipt.
    scope
        Of a gateway or an application.

    Raises
    ------
    UnknownName
        Nothing of the kind has this name.
    ValueError
        There is no such kind, or a receipt without an epoch is asked for.
    NotYetSettled
        The epoch has no receipts yet.
    """
    if kind == "receipt" and epoch is not None:
        try:
            return receipts.receipt(network, name, epoch, stream).proof
        except errors.NoReceipt:
            return receipts.no_receipt(network, name, epoch, stream)
    if kind not in KINDS:
        known = f"name a receipt with its epoch, or one of {', '.join(KINDS)}"
        raise ValueError(f"no proof of a {kind!r}: {known}")
    record = KINDS[kind]
    key = record.find(network, name)
    return network.proof_of(record.table, *((scope, key) if record.scoped else (key,)))


def check(data: bytes, trusted: bytes) -> tuple[dict[str, Any], Header]:
    """Return the content of a proof file that holds under a header hash, and the header.

    Parameters
    ----------
    data
        Bytes of the file.
    trusted
        Hash of the header.

    Raises
    ------
    ProofInvalid
        Some step does not hold, or the file is no proof.
    """
    content = read_json(data)
    kind = content.get("kind") if isinstance(content, dict) else None
    if kind == receipts.RECEIPT:
        found = receipts.ReceiptProof.from_json(content)
        leaf, issuance = found.verify(trusted)
        proof, proven = found.issuance, {"gateway": leaf.gateway}
        more = explain(leaf, issuance)
    elif kind == receipts.NO_RECEIPT:
        absent = receipts.NoReceiptProof.from_json(content)
        proof, proven = absent.issuance, {"gateway": absent.gateway}
        more = {"present": False, "receipts": absent.verify(trusted).count}
    else:
        proof = Proof.from_json(content)
        proof.verify(trusted)
        return _record(proof) | _network(proof), proof.header
    return {"kind": "receipt"} | proven | _issuance(proof) | more | _network(proof), proof.header


def explain(leaf: ReceiptLeaf, issuance: Issuance, unit: str = "") -> dict[str, Any]:
    """Return the content of a receipt by names; amounts are of the smallest unit."""
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


def _record(proof: Proof) -> dict[str, Any]:
    """Return the content of a record's proof, or of its absence."""
    name, *parts = _parts(proof.key)
    tables = {table.name: table for table in records.TABLES}
    if name not in tables:
        raise errors.ProofInvalid(message=f"nothing in the state is called {name!r}")
    kind = KINDS.get(name)
    if proof.value is None and not (kind and kind.fits(parts)):
        # No record ever has this key, which may look to people like one that has a record.
        raise errors.ProofInvalid(message=f"it is of no key that a {name} could have")
    proven = {"kind": name, "key": parts, "present": proof.value is not None}
    if kind and not kind.scoped:
        proven["key"] = [format_address(part) for part in parts]
    if proof.value is not None:
        record = codec.loads(tables[name].shape, proof.value)
        proven |= kind.explain(record) if kind else _fields(record)
    return proven


def _issuance(proof: Proof) -> dict[str, Any]:
    table, *parts = _parts(proof.key)
    if table != "issuance" or len(parts) != 2:
        raise errors.ProofInvalid(message="the record that it leads to is no issuance")
    return {"stream": parts[0], "epoch": parts[1]}


def _network(proof: Proof) -> dict[str, Any]:
    return {"network": _fields(codec.loads(records.Origin, proof.genesis))}


def _parts(key: bytes) -> tuple[Any, ...]:
    parts = codec.decode(key)
    if type(parts) is not tuple or not parts:
        raise errors.ProofInvalid(message="its key is no key of a state")
    return parts
