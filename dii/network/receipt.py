"""One gateway's receipt with its proof: receipt → receipts' root → state root → header."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import TextWrapper
from typing import Any

from dii import codec, crypto
from dii.application.records import ISSUANCES
from dii.errors import DiiError, NoReceipt, ProofInvalid
from dii.ledger import log
from dii.ledger.block import Header
from dii.ledger.proof import Proof
from dii.minting import POLICIES, REASONS, RULES, Issuance, ReceiptLeaf, Spec
from dii.minting.spec import Versioned, from_spec
from dii.network.founding import STREAM
from dii.network.opened import Opened
from dii.units import Currency


@dataclass(frozen=True, slots=True)
class ReceiptProof:
    """That a receipt stands under a header; carries itself from one machine to another.

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
        self.issuance.verify(header_hash)
        if self.issuance.value is None:
            raise ProofInvalid(message="it proves that nothing was issued")
        try:
            issuance = codec.loads(Issuance, self.issuance.value)
            leaf = codec.loads(ReceiptLeaf, self.leaf)
        except DiiError as error:
            raise ProofInvalid(message=f"it does not hold a receipt: {error}") from None
        log.verify(issuance.root, issuance.count, self.index, self.leaf, self.path)
        return leaf, issuance

    def to_json(self) -> dict[str, Any]:
        """Return the proof as JSON values, bytes in hex."""
        receipt = {
            "leaf": self.leaf.hex(),
            "index": self.index,
            "path": [sibling.hex() for sibling in self.path],
        }
        return {"kind": "receipt", "receipt": receipt, **self.issuance.to_json()}

    @classmethod
    def from_json(cls, content: Any) -> ReceiptProof:
        """Read a proof back; ProofInvalid where it is none."""
        issuance = Proof.from_json(content)
        try:
            receipt, index = content["receipt"], content["receipt"]["index"]
            if content["kind"] != "receipt" or type(index) is not int:
                raise ProofInvalid(message="a receipt and its place among the others expected")
            path = tuple(bytes.fromhex(text) for text in receipt["path"])
            return cls(bytes.fromhex(receipt["leaf"]), index, path, issuance)
        except (KeyError, TypeError, ValueError) as error:
            raise ProofInvalid(message=f"not a receipt's proof ({error!r})") from None


@dataclass(frozen=True)
class Receipt:
    """Everything that explains one gateway's amount in one epoch.

    Attributes
    ----------
    gateway, operator
        Names as they are known here.
    stream, epoch
        What it was paid from, and when.
    leaf, issuance
        The gateway's own part and the stream's, as the chain holds them.
    currency
        For showing amounts.
    proof
        The way from the leaf to a header.
    """

    gateway: str
    operator: str
    stream: str
    epoch: int
    leaf: ReceiptLeaf
    issuance: Issuance
    currency: Currency
    proof: ReceiptProof

    @property
    def amount(self) -> int:
        """What was paid, in the smallest unit."""
        return self.leaf.amount

    @property
    def weight(self) -> int:
        """The rule's weight."""
        return self.leaf.weight

    @property
    def metrics(self) -> dict[str, int | None]:
        """Reported metrics; None where unknown."""
        return dict(zip(self.issuance.metrics, self.leaf.values))

    @property
    def header(self) -> Header:
        """The header that the proof was made against."""
        return self.proof.issuance.header

    def verify(self, header: Header | bytes | str) -> bool:
        """Check the receipt against a header, or its hash, and against nothing else.

        Returns
        -------
        bool
            True; whatever does not hold raises.

        Raises
        ------
        ProofInvalid
            Naming the step that does not hold.
        """
        trusted = header.hash if isinstance(header, Header) else _hash(header)
        leaf, issuance = self.proof.verify(trusted)
        key = codec.encode(("issuance", self.stream, self.epoch))
        if key != self.proof.issuance.key:
            raise ProofInvalid(message="it proves another stream or epoch")
        if leaf != self.leaf or issuance != self.issuance:
            raise ProofInvalid(message="it proves another receipt than it shows")
        return True

    def lines(self) -> Mapping[str, str]:
        """Return the receipt for people, a line an entry."""
        money, issuance, leaf = self.currency.format, self.issuance, self.leaf
        scale = from_spec(issuance.rule, RULES).scale
        share = f"{leaf.weight / scale:,.6g} of {issuance.total_weight / scale:,.6g}"
        lines = {
            "gateway": self.gateway,
            "operator": self.operator,
            "epoch": f"{self.epoch}, stream {self.stream}",
            "reported": ", ".join(
                f"{name} {'unknown' if value is None else format(value, ',')}"
                for name, value in self.metrics.items()
            ),
            "rule": f"{describe(issuance.rule, RULES, self.currency)}: {share} units of"
            " contribution",
            "policy": f"{describe(issuance.policy, POLICIES, self.currency)}: pool"
            f" {money(issuance.pool)}"
            f" and {money(issuance.dust_before)} carried over",
            "paid": f"{money(leaf.amount)} to {crypto.format_address(leaf.payee)}",
            "proof": f"receipt {self.proof.index + 1} of {issuance.count}, against header"
            f" {self.header.height} ({self.header.hash.hex()[:16]}…)",
        }
        if REASONS[leaf.reason]:
            lines["note"] = REASONS[leaf.reason]
        return lines

    def __str__(self) -> str:
        """Return the receipt as text."""
        fill = TextWrapper(96, subsequent_indent=" " * 11, break_on_hyphens=False).fill
        return "\n".join(fill(f"{name:>9}  {text}") for name, text in self.lines().items())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{name}</th>"
            f"<td style='text-align:left'>{html.escape(text)}</td></tr>"
            for name, text in self.lines().items()
        )
        return f"<table>{rows}</table>"


def receipt(network: Opened, gateway: str, epoch: int, stream: str = STREAM) -> Receipt:
    """Return everything that explains one gateway's amount, with its proof.

    Parameters
    ----------
    gateway
        The gateway's id (``eui-`` and case do not matter) or its hash in hex.
    epoch, stream
        Of the issuance.

    Raises
    ------
    NotYetSettled, UnknownName, NoReceipt
        There is no such receipt, and why.
    """
    issuance = network.issued(epoch, stream)
    hashed = network.home.gateway(gateway)
    where = "FROM receipts WHERE epoch = ? AND stream = ?"
    found = network.view.index.query(
        f"SELECT position {where} AND gateway = ?", (epoch, stream, hashed)
    )
    if not found:
        raise NoReceipt(gateway=gateway, epoch=epoch, stream=stream)
    (index,) = found[0]
    rows = network.view.index.query(f"SELECT leaf {where} ORDER BY position", (epoch, stream))
    leaves = [leaf for (leaf,) in rows]
    data = leaves[index]
    leaf = codec.loads(ReceiptLeaf, data)
    path = log.prove(leaves, index)
    proof = ReceiptProof(data, index, path, network.prove(ISSUANCES, stream, epoch))
    name = network.home.names("gateway").get(hashed, hashed.hex())
    operator = network.home.label(leaf.payee)
    return Receipt(name, operator, stream, epoch, leaf, issuance, network.currency, proof)


def describe(
    spec: Spec, known: Mapping[tuple[str, int], type[Versioned]], currency: Currency
) -> str:
    """Return a rule or policy for people: ``FixedEmission/1 (amount 10,000 TTC)``."""
    money = known[spec.name, spec.version].money
    parameters = ", ".join(
        f"{name} {currency.format(value) if name in money else format(value, ',')}"
        for name, value in spec.parameters
    )
    return f"{spec.name}/{spec.version}" + (f" ({parameters})" if parameters else "")


def _hash(header: bytes | str) -> bytes:
    try:
        return bytes.fromhex(header) if isinstance(header, str) else header
    except ValueError:
        raise ProofInvalid(message=f"{header!r} is not a header hash in hex") from None
