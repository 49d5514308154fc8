"""Receipts: everything that explains one gateway's amount in one epoch.

A receipt has two parts. The part common to all gateways of a stream and epoch, the
:class:`Issuance`, is a record of the state. The part of one gateway, the :class:`ReceiptLeaf`, is a
leaf of the RFC 9162 tree whose root is in the issuance; leaves are in the order of gateway hashes.
So a million receipts cost the state one entry, and each is provable against a header.
"""

from __future__ import annotations

from typing import Final

from dii import codec
from dii.codec import Address, Amount, GatewayHash, Name, Record, Root
from dii.minting.spec import Spec

__all__ = ["REASONS", "Issuance", "ReceiptLeaf"]

Values = tuple[int | None, ...]
"""Reported metrics of a gateway; None where unknown."""

REASON_NONE: Final = 0
REASON_ABSENT: Final = 1
REASON_UNATTRIBUTED: Final = 2
REASON_DENIED: Final = 3

REASONS: Final = {
    REASON_NONE: "",
    REASON_ABSENT: "a metric that the rule needs is unknown for this gateway",
    REASON_UNATTRIBUTED: "these receptions name no gateway; their share is not minted",
    REASON_DENIED: "this gateway is on the deny list; the list names the evidence and until when",
}
"""Reasons for a weight of zero or an unpaid amount; the numbers are part of the protocol."""


class ReceiptLeaf(Record):
    """Part of a receipt of one gateway.

    Attributes
    ----------
    gateway
        Keyed hash of the gateway's id.
    payee
        Account that was paid (the treasury if nobody owns the gateway).
    weight, amount
        Weight by the rule; amount paid, in the smallest unit.
    reason
        Key of :data:`REASONS`.
    values
        The reported metrics in the order of ``Issuance.metrics``; None where unknown.
    """

    gateway: GatewayHash
    payee: Address
    weight: int
    amount: Amount
    reason: int
    values: Values


def encode_leaf(
    gateway: bytes, payee: bytes, weight: int, amount: int, reason: int, values: Values
) -> bytes:
    """Return the bytes of a :class:`ReceiptLeaf`, three times as fast as from an instance."""
    money = amount.to_bytes((amount.bit_length() + 7) // 8, "big")
    return codec.encode((gateway, payee, weight, money, reason, values))


class Issuance(Record):
    """One stream's issuance in one epoch, as the state keeps it.

    Attributes
    ----------
    scope, rule, policy
        Scope of the gateways; rule and policy by which they were paid.
    metrics
        Names of the reported metrics, in the order of the leaves' values.
    total_weight
        Sum of all weights, unattributed receptions included.
    pool
        The most to mint: the policy's amount and the rest of earlier streams.
    dust_before, dust_after
        Dust carried in from the epoch before, and on to the next.
    paid
        Sum of all amounts paid.
    unminted
        Share of unattributed receptions, which is not paid.
    rest
        Amount left of the pool that went to the stream's ``rest``.
    count, root
        Number of receipts and root of their tree.
    """

    scope: Name
    rule: Spec
    policy: Spec
    metrics: tuple[Name, ...]
    total_weight: int
    pool: Amount
    dust_before: Amount
    dust_after: Amount
    paid: Amount
    unminted: Amount
    rest: Amount
    count: int
    root: Root
