"""Issuance: the exact division of a pool by weights.

Largest-remainder methods pay everything out but are not monotone under splitting: a payee could
gain by dividing a weight among several names. Rounding every payee down cannot be gained from,
since floor(a) + floor(b) <= floor(a + b); the remainder of rounding is *dust*, less than one unit
per payee, and is carried to the stream's next epoch.

Python integers throughout: int64 products overflow on ordinary numbers (a pool of 10**10 times a
weight of 10**12), and a million payees take about a tenth of a second.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["divide", "due", "share"]


def share(pool: int, weights: Sequence[int], total: int) -> list[int]:
    """Return ``floor(pool * weight / total)`` for each weight; one page of an issuance.

    Parameters
    ----------
    pool
        Amount to divide, in the smallest unit.
    weights
        Weights >= 0 of some of the payees.
    total
        Sum of the weights of all payees, > 0.
    """
    return [pool * weight // total for weight in weights]


def due(pool: int, total: int, *, claim: bool) -> int:
    """Return the amount to divide in proportion to weights that sum to ``total``.

    For a share rule the pool; for a claim rule no more than is claimed, so that each claim is paid
    in full, or pro rata if the pool does not suffice. Nothing if nobody earned.
    """
    if not total:
        return 0
    return min(pool, total) if claim else pool


def divide(pool: int, weights: Sequence[int], *, claim: bool) -> list[int]:
    """Return the amount of each payee of a pool under a share or a claim rule.

    The remainder of rounding is less than one unit per payee: ``dust < len(weights)``.
    """
    total = sum(weights)
    return share(due(pool, total, claim=claim), weights, total or 1)
