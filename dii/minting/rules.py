"""Rules, which turn a gateway's metrics into a weight.

A rule turns columns of metrics into one weight per gateway. It sees integers only and uses integer
operations only; it never sees who owns a gateway, when, or what others did. The same object runs
on the chain, page by page, and in the laboratory over whole histories, which is only sound
because a weight depends on its own row alone.

A metric that is unknown is not zero: a gateway that lacks one a rule needs gets weight 0 with the
reason ``absent``, and its receipt says so.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar

from dii.errors import BadParameter, Overflow
from dii.minting.receipts import REASON_ABSENT, REASON_DENIED, REASON_NONE
from dii.minting.spec import Versioned, registry
from dii.schema import MAX_ROWS, METRICS, SHAPLEY_UNIT
from dii.units import MAX_AMOUNT, PPM

__all__ = [
    "RULES", "Airtime", "Composite", "DataCredits", "Rule", "ShapleyTraffic", "Uptime", "weigh",
]  # fmt: skip

Columns = Mapping[str, Sequence[int]]
"""Metric name to one integer per gateway; all of one length."""


class Rule(Versioned):
    """Base of rules: metrics to weights.

    Attributes
    ----------
    scale
        The weight of one unit of contribution, as ``PerContribution`` prices it.
    claim
        False: a *share* rule, whose weights divide the pool. True: a *claim* rule, whose weights
        are amounts of the smallest unit, paid in full up to the pool and pro rata above.
    metrics
        Metrics that must be known; a rule whose parameters decide this overrides ``needs``.
    """

    scale: ClassVar[int]
    claim: ClassVar[bool] = False
    metrics: ClassVar[tuple[str, ...]] = ()

    @property
    def needs(self) -> tuple[str, ...]:
        """Metrics that must be known."""
        return self.metrics

    @abstractmethod
    def weights(self, columns: Columns) -> list[int]:
        """Return one weight >= 0 per gateway; every needed metric is present in every row."""

    def check(self) -> None:
        """Refuse parameters by which the weights of ``MAX_ROWS`` gateways could pass 2**63.

        Looks at a row in which every metric is the greatest there is, which suffices because rules
        are monotone: if a metric rises, no weight falls. Other rules must override this.

        Raises
        ------
        Overflow
            Naming the greatest weight.
        BadParameter
            The rule would look at nothing.
        """
        if not self.needs:
            raise BadParameter(spec=self.spec(), message="give at least one part some points")
        (greatest,) = self.weights({name: [METRICS[name].maximum] for name in self.needs})
        if not 0 <= greatest * MAX_ROWS <= MAX_AMOUNT:
            raise Overflow(rule=self.spec(), weight=greatest, rows=MAX_ROWS)


class Uptime(Rule):
    """Pay for being there and hearing.

    ``weight = online_ppm`` if it is at least ``minimum_ppm``, else 0; unit: ppm of the epoch.

    The simplest rule, and the easiest to game: a gateway in a cellar is online too.
    ``online_ppm`` therefore counts nothing while a gateway is deaf; one that hears nothing but
    its owner's own device still earns. It pays for presence, not for use.

    Parameters
    ----------
    minimum_ppm
        Uptime below which nothing is earned.
    """

    minimum_ppm: int = 0

    scale: ClassVar[int] = PPM
    metrics: ClassVar[tuple[str, ...]] = ("online_ppm",)

    def weights(self, columns: Columns) -> list[int]:
        """Return online_ppm, or 0 below the minimum."""
        least = self.minimum_ppm
        return [ppm if ppm >= least else 0 for ppm in columns["online_ppm"]]

    def check(self) -> None:
        """Refuse a minimum that nobody can reach.

        Raises
        ------
        BadParameter
            ``minimum_ppm`` is more than the whole epoch.
        """
        if not 0 <= self.minimum_ppm <= PPM:
            raise BadParameter(spec=self.spec(), message=f"minimum_ppm lies in 0 to {PPM}")
        super().check()


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

    scale: ClassVar[int] = SHAPLEY_UNIT
    metrics: ClassVar[tuple[str, ...]] = ("shapley_uplinks",)

    def weights(self, columns: Columns) -> list[int]:
        """Return shapley_uplinks as it is."""
        return list(columns["shapley_uplinks"])


class Airtime(Rule):
    """Pay for the airtime of delivered traffic.

    ``weight = uplink_units + downlink * downlink_units``; unit: 10 ms of airtime, rounded up per
    frame, the unit in which ThingsIX routers pay gateways.

    Every gateway that heard a frame is paid for it in full, so a clone beside a good gateway
    earns as much as the good one (``ShapleyTraffic`` answers that), and slow spreading factors,
    which burden the band the most, pay the best.

    Parameters
    ----------
    downlink
        1 counts what the gateway sent, too, which needs downlinks to be reported; 0 does not.
    """

    downlink: int = 0

    scale: ClassVar[int] = 1

    @property
    def needs(self) -> tuple[str, ...]:
        """Airtime heard and, if it counts, sent."""
        return ("uplink_units", "downlink_units") if self.downlink else ("uplink_units",)

    def weights(self, columns: Columns) -> list[int]:
        """Return the units of airtime."""
        if not self.downlink:
            return list(columns["uplink_units"])
        pairs = zip(columns["uplink_units"], columns["downlink_units"])
        return [up + self.downlink * down for up, down in pairs]


class DataCredits(Rule):
    """Pay for data one to one what its users burned.

    ``amount = rate * data_units``; unit: the smallest unit of money. A claim rule: Helium's
    HIP-10 (2020), which ended the arbitrage that a share of a fixed pool had invited, when
    sending oneself a packet cost 0.00001 USD a 24 bytes and earned many times as much. Where a
    unit earns what it cost, self-traffic gains nothing.

    Parameters
    ----------
    rate
        Paid for 24 bytes of payload, rounded up per frame; what their user burned for them.
    """

    rate: int | str
    money: ClassVar[tuple[str, ...]] = ("rate",)

    scale: ClassVar[int] = 1
    claim: ClassVar[bool] = True
    metrics: ClassVar[tuple[str, ...]] = ("data_units",)

    def weights(self, columns: Columns) -> list[int]:
        """Return the amounts that are claimed."""
        return [int(self.rate) * units for units in columns["data_units"]]


class Composite(Rule):
    """Pay points for several contributions at once.

    ``weight = floor(uptime * online_ppm / 1000) + traffic * floor(1000 * shapley_uplinks /
    720720) + airtime * 1000 * uplink_units``; unit: a thousandth of a point. ``uptime`` points
    for a full epoch online, ``traffic`` for a delivered uplink heard alone, ``airtime`` for 10 ms.

    Each part can be gamed as its own rule can, damped by the other parts; the value of a point
    then depends on all of them, which is harder to foresee than a stream for each.

    Parameters
    ----------
    uptime, traffic, airtime
        Points; a part of 0 points is not counted, nor need it be reported.
    """

    uptime: int = 0
    traffic: int = 0
    airtime: int = 0

    scale: ClassVar[int] = 1000

    @property
    def needs(self) -> tuple[str, ...]:
        """The metrics of the parts that count."""
        parts = (
            ("online_ppm", self.uptime),
            ("shapley_uplinks", self.traffic),
            ("uplink_units", self.airtime),
        )
        return tuple(name for name, points in parts if points)

    def weights(self, columns: Columns) -> list[int]:
        """Return thousandths of points."""
        rows = len(next(iter(columns.values()), ()))
        unused = [0] * rows
        parts = (columns.get(name, unused) for name in ("online_ppm", "shapley_uplinks"))
        return [
            self.uptime * online // 1000
            + self.traffic * (1000 * heard // SHAPLEY_UNIT)
            + self.airtime * 1000 * units
            for online, heard, units in zip(*parts, columns.get("uplink_units", unused))
        ]


RULES = registry(Uptime, ShapleyTraffic, Airtime, DataCredits, Composite)


def weigh(
    rule: Rule, columns: Mapping[str, Sequence[int | None]], denied: Collection[int] = ()
) -> tuple[list[int], list[int]]:
    """Weigh every row, unknown metrics included.

    Parameters
    ----------
    rule
        The rule.
    columns
        Metric name to one integer or None per gateway; a missing column is unknown throughout.
    denied
        Rows of gateways on the deny list: they weigh 0, whatever they report.

    Returns
    -------
    weights, reasons
        One of each per row; reasons as in :data:`dii.minting.receipts.REASONS`.
    """
    rows = len(next(iter(columns.values()), ()))
    needed = [columns.get(name, [None] * rows) for name in rule.needs]
    present = [row for row, values in enumerate(zip(*needed)) if None not in values]
    picked = {
        name: [v for row in present if (v := column[row]) is not None]
        for name, column in zip(rule.needs, needed)
    }
    weights, reasons = [0] * rows, [REASON_ABSENT] * rows
    for row, weight in zip(present, rule.weights(picked)):
        weights[row], reasons[row] = weight, REASON_NONE
    for row in denied:
        weights[row], reasons[row] = 0, REASON_DENIED
    return weights, reasons
