"""Rules: what a gateway's metrics are worth.

A rule turns columns of metrics into one weight a gateway. It sees integers only and uses integer
operations only; it never sees who owns a gateway, when, or what others did. The same object runs
on the chain, page by page, and in the laboratory over whole histories, which is only sound
because a weight depends on its own row alone.

A metric that is unknown is not zero: a gateway that lacks one a rule needs gets weight 0 with the
reason ``absent``, and its receipt says so.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from dii.errors import Overflow
from dii.minting.receipts import REASON_ABSENT, REASON_NONE
from dii.minting.spec import Versioned, registry
from dii.telemetry.schema import MAX_ROWS, METRICS, SHAPLEY_UNIT
from dii.units import MAX_AMOUNT, PPM

Columns = Mapping[str, Sequence[int]]
"""Metric name to one integer a gateway; all of one length."""


@dataclass(frozen=True)
class Rule(Versioned):
    """A share rule: metrics to weights.

    Attributes
    ----------
    needs
        Metrics that must be known.
    scale
        The weight of one unit of contribution, as ``PerContribution`` prices it.
    """

    needs: ClassVar[tuple[str, ...]]
    scale: ClassVar[int]

    @abstractmethod
    def weights(self, columns: Columns) -> list[int]:
        """Return one weight >= 0 a gateway; every needed metric is present in every row."""

    def check(self) -> None:
        """Refuse parameters by which the weights of ``MAX_ROWS`` gateways could pass 2**63.

        Raises
        ------
        Overflow
            Naming the greatest weight.
        """
        (greatest,) = self.weights({name: [METRICS[name].maximum] for name in self.needs})
        if not 0 <= greatest * MAX_ROWS <= MAX_AMOUNT:
            raise Overflow(rule=self.spec(), weight=greatest, rows=MAX_ROWS)


@dataclass(frozen=True)
class Uptime(Rule):
    """Pay for being there and hearing.

    ``weight = online_ppm`` where it is at least ``minimum_ppm``, else 0; unit: ppm of the epoch.

    The simplest rule, and the easiest to game: a gateway in a cellar is online too.
    ``online_ppm`` therefore counts nothing while a gateway is deaf; one that hears nothing but
    its owner's own device still earns. It pays for presence, not for use.

    Parameters
    ----------
    minimum_ppm
        Uptime below which nothing is earned.
    """

    minimum_ppm: int = 0

    needs: ClassVar[tuple[str, ...]] = ("online_ppm",)
    scale: ClassVar[int] = PPM

    def weights(self, columns: Columns) -> list[int]:
        """Return online_ppm, or 0 below the minimum."""
        least = self.minimum_ppm
        return [ppm if ppm >= least else 0 for ppm in columns["online_ppm"]]


@dataclass(frozen=True)
class ShapleyTraffic(Rule):
    """Pay each operator what its gateways add to the network's delivered traffic.

    ``weight = shapley_uplinks``; unit: 1/720720 of a delivered uplink.

    The Shapley value of the game "uplinks heard by at least one member" (Shapley 1953; for
    coverage games each uplink splits equally among the players who heard it). A second gateway
    beside one's own gains nothing, since players are operators. Gamed by sending one's own
    uplinks, which costs airtime and fair-use allowance, and by dividing gateways among several
    names. The value is not measured by how hard a place was to cover: a sole receiver earns a
    whole uplink, each of five a fifth.
    """

    needs: ClassVar[tuple[str, ...]] = ("shapley_uplinks",)
    scale: ClassVar[int] = SHAPLEY_UNIT

    def weights(self, columns: Columns) -> list[int]:
        """Return shapley_uplinks as it is."""
        return list(columns["shapley_uplinks"])


RULES = registry(Uptime, ShapleyTraffic)


def weigh(rule: Rule, columns: Mapping[str, Sequence[int | None]]) -> tuple[list[int], list[int]]:
    """Weigh every row, unknown metrics included.

    Parameters
    ----------
    rule
        The rule.
    columns
        Metric name to one integer or None a gateway; a missing column is unknown throughout.

    Returns
    -------
    weights, reasons
        One of each a row; reasons as in :data:`dii.minting.receipts.REASONS`.
    """
    rows = len(next(iter(columns.values()), ()))
    needed = [columns.get(name) for name in rule.needs]
    known = [column for column in needed if column is not None]
    if len(known) < len(needed):
        return [0] * rows, [REASON_ABSENT] * rows
    if not any(None in column for column in known):
        whole = {
            name: [v for v in column if v is not None] for name, column in zip(rule.needs, known)
        }
        return rule.weights(whole), [REASON_NONE] * rows
    present = [row for row, values in enumerate(zip(*known)) if None not in values]
    picked = {
        name: [v for row in present if (v := column[row]) is not None]
        for name, column in zip(rule.needs, known)
    }
    weights, reasons = [0] * rows, [REASON_ABSENT] * rows
    for row, weight in zip(present, rule.weights(picked)):
        weights[row], reasons[row] = weight, REASON_NONE
    return weights, reasons
