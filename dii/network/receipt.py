"""Receipt of a gateway with its proof: receipt → receipts' root → state root → header."""

from __future__ import annotations

import html
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import index
from textwrap import TextWrapper
from typing import Any, Final

from dii import codec, crypto, errors
from dii.application import records
from dii.ledger import block, log
from dii.ledger.proof import Proof, reading, unhex, unhex_all
from dii.minting import POLICIES, REASONS, RULES, Issuance, ReceiptLeaf, Spec
from dii.minting.spec import Versioned, from_spec
from dii.network.home import STREAM
from dii.network.view import View
from dii.telemetry.tables import REJECT_REASONS
from dii.units import Currency

RECEIPT: Final = "receipt"
NO_RECEIPT: Final = "no receipt"
_KINDS: Final[Mapping[tuple[str, int], type[Versioned]]] = {**RULES, **POLICIES}


@dataclass(frozen=True, slots=True)
class ReceiptProof:
    """Proof of a receipt against a header, to be checked on any machine.

    Attributes
    ----------
    leaf
        The receipt's canonical bytes.
    index
        Its place among the stream's receipts of the epoch.
    path
        Siblings in the receipts' tree (RFC 9162 section 2.1.3).
    issuance
        Proof of the state entry that holds the tree's root.
    """

    leaf: bytes
    index: int
    path: tuple[bytes, ...]
    issuance: Proof

    def verify(self, header_hash: bytes) -> tuple[ReceiptLeaf, Issuance]:
        """Check everything between the leaf and a trusted header hash; return what is proven.

        Raises
        ------
        ProofInvalid
            Some step does not hold.
        """
        issuance = issuance_of(self.issuance, header_hash)
        with reading("receipt"):
            leaf = codec.loads(ReceiptLeaf, self.leaf)
        log.verify(issuance.root, issuance.count, self.index, self.leaf, self.path)
        return leaf, issuance

    def to_json(self) -> dict[str, Any]:
        """Return the proof as JSON values, bytes in hex."""
        return self.issuance.to_json() | {"kind": RECEIPT, "receipt": self.place()}

    def place(self) -> dict[str, Any]:
        """Return the receipt and its place among the others as JSON values."""
        path = [sibling.hex() for sibling in self.path]
        return {"leaf": self.leaf.hex(), "index": self.index, "path": path}

    @classmethod
    def from_json(cls, content: Any) -> ReceiptProof:
        """Read a proof back; ProofInvalid where it is none."""
        issuance = Proof.from_json(content, RECEIPT, "receipt")
        return cls.at(content["receipt"], issuance)

    @classmethod
    def at(cls, place: Any, issuance: Proof) -> ReceiptProof:
        """Read a receipt's place back; ProofInvalid where it is none."""
        with reading("place of a receipt"):
            index, path = place["index"], unhex_all(place["path"])
            if place.keys() != {"leaf", "index", "path"} or type(index) is not int:
                raise ValueError("leaf, index and path are expected")
            return cls(unhex(place["leaf"]), index, path, issuance)


@dataclass(frozen=True, slots=True)
class NoReceiptProof:
    """Proof that a gateway has no receipt: two other receipts are neighbours in its place.

    Receipts are in the order of gateway hashes, and an issuance has their number; so the two
    neighbours, or the first or the last receipt alone, leave no room for another.

    Attributes
    ----------
    gateway
        Hash of the gateway.
    neighbours
        The receipts before and after its place, as far as there are any.
    issuance
        Proof of the state entry that holds the root of all receipts.
    """

    gateway: codec.GatewayHash
    neighbours: tuple[ReceiptProof, ...]
    issuance: Proof

    def verify(self, header_hash: bytes) -> Issuance:
        """Check everything up to a trusted header hash; return the issuance without it.

        Raises
        ------
        ProofInvalid
            Some step does not hold.
        """
        issuance = issuance_of(self.issuance, header_hash)
        before, after = [-1], [issuance.count]
        for one in self.neighbours:
            leaf, _ = one.verify(header_hash)
            if leaf.gateway == self.gateway or one.issuance != self.issuance:
                message = "a neighbour is the gateway itself, or of another epoch"
                raise errors.ProofInvalid(message=message)
            (before if leaf.gateway < self.gateway else after).append(one.index)
        if max(before) + 1 != min(after) or len(self.gateway) != 20:
            raise errors.ProofInvalid(message="there is room for the receipt")
        return issuance

    def to_json(self) -> dict[str, Any]:
        """Return the proof as JSON values, bytes in hex."""
        places = [one.place() for one in self.neighbours]
        more = {"kind": NO_RECEIPT, "gateway": self.gateway.hex(), "neighbours": places}
        return self.issuance.to_json() | more

    @classmethod
    def from_json(cls, content: Any) -> NoReceiptProof:
        """Read a proof back; ProofInvalid where it is none."""
        issuance = Proof.from_json(content, NO_RECEIPT, "gateway", "neighbours")
        with reading("gateway and its neighbours"):
            places = content["neighbours"]
            if type(places) is not list or len(places) > 2:
                raise ValueError("at most two neighbours are expected")
            around = tuple(ReceiptProof.at(place, issuance) for place in places)
            return cls(codec.GatewayHash(unhex(content["gateway"])), around, issuance)


def issuance_of(proof: Proof, header_hash: bytes) -> Issuance:
    """Check the proof of an issuance's record, and return the issuance.

    Raises
    ------
    ProofInvalid
        Some step does not hold, or it proves something else.
    """
    proof.verify(header_hash)
    if proof.value is None:
        raise errors.ProofInvalid(message="it proves that nothing was issued")
    with reading("issuance"):
        return codec.loads(Issuance, proof.value)


@dataclass(frozen=True)
class Receipt:
    """Explanation of one gateway's amount in one epoch, with its proof.

    Attributes
    ----------
    gateway, operator
        Names as known here.
    stream, epoch
        The stream that paid, and the epoch.
    leaf, issuance
        The gateway's part of the receipt and the stream's part, as on the chain.
    currency
        For showing amounts.
    proof
        Proof of the leaf against a header.
    excluded
        Number of excluded frames by reason, where the records are here; the chain has their total
        only.
    """

    gateway: str
    operator: str
    stream: str
    epoch: int
    leaf: ReceiptLeaf
    issuance: Issuance
    currency: Currency
    proof: ReceiptProof
    excluded: Mapping[str, int] = field(default_factory=dict)

    @property
    def generated(self) -> str | None:
        """Origin of generated traffic; None where records are of real gateways."""
        return codec.loads(records.Origin, self.proof.issuance.genesis).generated

    @property
    def amount(self) -> int:
        """Amount paid, in the smallest unit."""
        return self.leaf.amount

    @property
    def weight(self) -> int:
        """Weight by the rule."""
        return self.leaf.weight

    @property
    def metrics(self) -> dict[str, int | None]:
        """Reported metrics; None where unknown."""
        return dict(zip(self.issuance.metrics, self.leaf.values))

    @property
    def header(self) -> block.Header:
        """The header that the proof was made against."""
        return self.proof.issuance.header

    def verify(self, header: block.Header | bytes | str) -> bool:
        """Check the receipt against a header, or its hash, and against nothing else.

        Returns
        -------
        bool
            True; whatever does not hold raises.

        Raises
        ------
        ProofInvalid
            The error names the step that does not hold.
        """
        trusted = header.hash if isinstance(header, block.Header) else _hash(header)
        leaf, issuance = self.proof.verify(trusted)
        key = codec.encode(("issuance", self.stream, self.epoch))
        if key != self.proof.issuance.key:
            raise errors.ProofInvalid(message="it proves another stream or epoch")
        if leaf != self.leaf or issuance != self.issuance:
            raise errors.ProofInvalid(message="it proves another receipt than it shows")
        return True

    def lines(self) -> Mapping[str, str]:
        """Return the receipt for people, one line per entry."""
        money, issuance, leaf = self.currency.format, self.issuance, self.leaf
        one = scale(issuance)
        share = f"{leaf.weight / one:,.6g} of {issuance.total_weight / one:,.6g}"
        rule, policy = (describe(of, self.currency) for of in (issuance.rule, issuance.policy))
        pool = f"pool {money(issuance.pool)} and {money(issuance.dust_before)} carried over"
        header = f"header {self.header.height} ({self.header.hash.hex()[:16]}…)"
        lines = {
            "gateway": self.gateway,
            "operator": self.operator,
            "epoch": f"{self.epoch}, stream {self.stream}",
            "reported": ", ".join(
                f"{name} {'unknown' if value is None else format(value, ',')}"
                for name, value in self.metrics.items()
            ),
            "rule": f"{rule}: {share} units of contribution",
            "policy": f"{policy}: {pool}",
            "paid": f"{money(leaf.amount)} to {crypto.format_address(leaf.payee)}",
            "proof": f"receipt {self.proof.index + 1} of {issuance.count}, against {header}",
            "excluded": ", ".join(
                f"{count:,} {reason} ({REJECT_REASONS[reason]})"
                for reason, count in self.excluded.items()
            ),
            "traffic": f"generated ({self.generated}): no gateway heard it"
            if self.generated
            else "",
            "note": REASONS[leaf.reason],
        }
        return {name: text for name, text in lines.items() if text}

    def __str__(self) -> str:
        """Return the receipt as text."""
        fill = TextWrapper(96, subsequent_indent=" " * 11, break_on_hyphens=False).fill
        return "\n".join(fill(f"{name:>9}  {text}") for name, text in self.lines().items())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return table_of(self.lines())


def table_of(lines: Mapping[str, str]) -> str:
    """Return facts as an HTML table for notebooks."""
    rows = "".join(
        f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
        f"<td style='text-align:left'>{html.escape(text)}</td></tr>"
        for name, text in lines.items()
    )
    return f"<table>{rows}</table>"


def receipt(network: View, gateway: str, epoch: int, stream: str = STREAM) -> Receipt:
    """Return the explanation of one gateway's amount in an epoch, with its proof.

    Parameters
    ----------
    gateway
        Any name of the gateway (``eui-`` and case do not matter) or its hash in hex.
    epoch, stream
        Epoch and stream of the issuance.

    Raises
    ------
    NotYetSettled, UnknownName, NoReceipt
        There is no such receipt; the error says why.
    HomeJoined, IndexDamaged
        As of :func:`leaves_of`.
    """
    epoch = index(epoch)  # out of a table it is numpy's
    issuance = network.issued(epoch, stream)
    hashed, leaves, place, there = _found(network, gateway, epoch, stream)
    if not there:
        raise errors.NoReceipt(gateway=gateway, epoch=epoch, stream=stream)
    leaf = codec.loads(ReceiptLeaf, leaves[place])
    issued = network.proof_of(records.ISSUANCES, stream, epoch)
    proof = ReceiptProof(leaves[place], place, log.prove(leaves, place), issued)
    name = network.home.names("gateway").get(hashed, hashed.hex())
    operator = network.home.label(leaf.payee)
    reported = dict(zip(issuance.metrics, leaf.values)).get("excluded_frames")
    feed, span = None if network.damage else network.feed, network.genesis.span(epoch)
    names = [name, *(alias for alias, one in network.names(epoch).items() if one == name)]
    excluded = feed.excluded(names, *span) if feed and reported else {}
    if sum(excluded.values()) != reported:  # some came later, or from elsewhere
        excluded = {}
    return Receipt(name, operator, stream, epoch, leaf, issuance, network.currency, proof, excluded)


def no_receipt(network: View, gateway: str, epoch: int, stream: str = STREAM) -> NoReceiptProof:
    """Return the proof that a gateway has no receipt; it is invalid if the gateway has one.

    Raises
    ------
    NotYetSettled, UnknownName
        Nothing was issued yet, or there is no gateway of this name.
    """
    issued = network.proof_of(records.ISSUANCES, stream, epoch)
    hashed, leaves, place, _ = _found(network, gateway, epoch, stream)
    around = range(max(place - 1, 0), min(place + 1, len(leaves)))
    neighbours = [ReceiptProof(leaves[at], at, log.prove(leaves, at), issued) for at in around]
    return NoReceiptProof(hashed, tuple(neighbours), issued)


def leaves_of(network: View, epoch: int, stream: str) -> list[tuple[int, bytes]]:
    """Return height and leaf of an issuance's receipts in order, as the state commits to them.

    Raises
    ------
    HomeJoined
        The receipts are older than the snapshot with which the chain begins here.
    IndexDamaged
        The index has other receipts than those whose root is in the state.
    """
    issuance = network.issued(epoch, stream)
    query = "SELECT height, leaf FROM receipts WHERE epoch = ? AND stream = ? ORDER BY position"
    rows = network.view.index.query(query, (epoch, stream))
    if len(rows) < issuance.count and network.view.store.base:
        raise network.lacks(f"the receipts of epoch {epoch} are not here")
    leaves = [leaf for _, leaf in rows]
    sound = len(rows) == issuance.count
    sound = sound and all(type(height) is int and type(leaf) is bytes for height, leaf in rows)
    if not (sound and log.root_of(leaves) == issuance.root):
        raise errors.IndexDamaged(file=network.view.index.path, epoch=epoch, stream=stream)
    return rows


def _found(
    network: View, gateway: str, epoch: int, stream: str
) -> tuple[codec.GatewayHash, list[bytes], int, bool]:
    """Return a gateway's hash, all leaves, its place among them, and whether it has a receipt."""
    leaves = [leaf for _, leaf in leaves_of(network, epoch, stream)]
    hashed, place = codec.GatewayHash(b""), 0
    for resolved_in in (epoch, None):  # the name that stood for it then, else the one of now
        hashed = network.gateway(gateway, resolved_in)
        place = bisect_left(leaves, hashed, key=_gateway)
        if place < len(leaves) and _gateway(leaves[place]) == hashed:
            return hashed, leaves, place, True
    return hashed, leaves, place, False


def _gateway(leaf: bytes) -> codec.GatewayHash:
    return codec.loads(ReceiptLeaf, leaf).gateway


def scale(issued: Issuance) -> float:
    """Return the weight of one unit of contribution to a stream in an epoch."""
    return float(from_spec(issued.rule, RULES).scale)


def describe(spec: Spec, currency: Currency) -> str:
    """Return a rule or policy for people: ``FixedEmission/1 (amount 10,000 TTC)``."""
    kind = _KINDS.get((spec.name, spec.version))
    if kind is None:
        return f"{spec} (not in this release)"
    parameters = ", ".join(
        f"{name} {currency.format(value) if name in kind.money else format(value, ',')}"
        for name, value in spec.parameters
    )
    return f"{spec.name}/{spec.version}" + (f" ({parameters})" if parameters else "")


def _hash(header: bytes | str) -> bytes:
    try:
        return bytes.fromhex(header) if isinstance(header, str) else header
    except ValueError:
        raise errors.ProofInvalid(message=f"{header!r} is not a header hash in hex") from None
