"""Laboratory: the rules of the chain over the records of an epoch, side by side.

A rule cannot be judged from its formula. The questions are who gets how much, how unequally, how
far from each operator's contribution to the network, and how much a cheat gains. The answers need
the records themselves, since a cheat changes receptions, not a metric: so every experiment edits
receptions and runs them through the very functions that the reporter and the chain use. Nothing
here is a model of them.

The measures: *Gini coefficient* and *share of the top 1 %* of operators; the *Nakamoto
coefficient*, the least number of operators who together get more than half (Srinivasan and Lee
2017); the *distance* between two ways of dividing, half the sum of absolute differences of shares
(total variation: the share of the money that would have to change hands); *leave-one-out*, the
uplinks that the network would deliver less without an operator.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import accumulate
from operator import index
from typing import TYPE_CHECKING, Final

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from dii.errors import NothingToCompare
from dii.minting.issuance import divide
from dii.minting.rules import Rule, weigh
from dii.schema import UNATTRIBUTED
from dii.telemetry.metrics import Lookback, airtime, metrics, plan, sites
from dii.telemetry.names import owners, pairs_of, places_of, renamed
from dii.telemetry.tables import with_column
from dii.units import DAY

if TYPE_CHECKING:
    from dii.telemetry.load import Telemetry

CLONE: Final = "(clone)"
"""Name of the gateway and the operator of a cheating experiment."""

SELF_BYTES: Final = 24
"""Payload of a frame of self-traffic: one data unit."""
SELF_AIRTIME: Final = airtime.time_on_air(SELF_BYTES + airtime.MAC_OVERHEAD, 7)
"""Its time on air at SF7 with what LoRaWAN adds, microseconds."""

MEASURES: Final = (
    *("paid", "gini", "nakamoto", "top_1_percent"),
    *("distance_to_shapley", "distance_to_leave_one_out", "clone_gain", "self_traffic_earned"),
)
"""Measures of a comparison; the last four need uplinks that are known to be delivered."""


@dataclass(frozen=True)
class Records:
    """Records from which the metrics of an epoch are computed.

    Attributes
    ----------
    receptions, statuses
        Tables of ``telemetry.schema``.
    operators
        Gateway to operator; a gateway without an operator is its own (a chain pays the treasury).
    start, length
        Start and length of the epoch, microseconds.
    gives
        Metrics that the records give.
    rejects
        Records that were set aside, for ``excluded_frames``.
    lookback
        Knowledge carried over from the epoch before; None if nothing is known of it.
    places, site_radius_m
        Degrees north and east of gateways; metres within which players count as one, 0 for never.
    denied
        Gateways that earn nothing.
    """

    receptions: pa.Table
    statuses: pa.Table
    operators: Mapping[str, str]
    start: int
    length: int
    gives: frozenset[str]
    rejects: pa.Table | None = None
    lookback: Lookback | None = None
    places: Mapping[str, sites.Place] = field(default_factory=dict)
    site_radius_m: int = 0
    denied: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls, data: Telemetry, epoch: int = 0, *, length: int = DAY, site_radius_m: int = 0
    ) -> Records:
        """Return an epoch of loaded telemetry; number 0 is that of its first record.

        Operators own the same gateways, silent ones too, as in a network made of this telemetry.
        The knowledge carried over from earlier epochs is computed from the first, as a reporter
        does.
        """
        first, _ = data.span or (0, 0)
        origin = first // length * length
        start = origin + index(epoch) * length
        end, time = start + length, pc.field("time")
        since, named = data.known_since(), data.operators()
        known = {name: named[name] for name in named if since[name] < end}
        pairs = pairs_of([data.receptions, data.statuses], data.entries, origin, length)
        names = pairs.resolve({}, epoch)
        receptions = data.receptions.filter((time >= start) & (time < end + plan.BEYOND))
        statuses = data.statuses.filter((time >= start) & (time - pc.field("covers") < end))
        lookback = None
        for before in range(origin, start, length):
            lookback = metrics(
                data.receptions, data.statuses, operators={}, gateways=None, start=before,
                length=length, gives=frozenset(), lookback=lookback,
            ).lookback  # fmt: skip
        return cls(
            renamed(receptions, names), renamed(statuses, names), owners(known, names), start,
            length, data.gives, renamed(data.rejected, names),
            lookback=lookback and lookback.renamed(names),
            places=places_of(data.gateways, names), site_radius_m=site_radius_m,
        )  # fmt: skip

    def metrics(self) -> pa.Table:
        """Return one row of metrics a gateway, as a report carries them."""
        radius = self.site_radius_m
        return metrics(
            self.receptions, self.statuses, operators=self.operators,
            players=sites.players(self.operators, self.places, radius) if radius else None,
            gateways=sorted(self.operators), start=self.start, length=self.length,
            gives=self.gives, rejects=self.rejects, lookback=self.lookback,
        ).metrics  # fmt: skip

    def without_owners(self) -> Records:
        """Return the same with one gateway per operator, which hears what any of its own heard."""
        names = self.receptions["gateway"].to_pylist()
        owners = [None if name is None else self.owner(name) for name in names]
        return replace(
            self, receptions=_renamed(self.receptions, owners), operators={},
            statuses=self.statuses.slice(0, 0), rejects=None, site_radius_m=0,
        )  # fmt: skip

    def owner(self, gateway: str) -> str:
        """Return a gateway's operator."""
        return self.operators.get(gateway, gateway)

    def with_clone(self, gateway: str) -> Records:
        """Return the same with a copy of a gateway under another operator's name beside it."""
        places, lookback = dict(self.places), self.lookback
        if gateway in places:
            places[CLONE] = places[gateway]
        if lookback is not None:
            known = {name: _cloned(getattr(lookback, name), gateway) for name in ("heard", "known")}
            lookback = replace(lookback, **known)
        return replace(
            self, receptions=_cloned(self.receptions, gateway),
            statuses=_cloned(self.statuses, gateway), places=places, lookback=lookback,
            operators={**self.operators, CLONE: CLONE},
        )  # fmt: skip

    def with_self_traffic(self, gateway: str, frames: int) -> Records:
        """Return the same with frames that only one gateway hears, evenly over the epoch."""
        frame = {"kind": "data", "gateway": gateway, "device": "(self)", "delivered": True}
        frame |= {"size": SELF_BYTES, "airtime": SELF_AIRTIME}
        rows = [
            frame | {"time": self.start + self.length * number // frames, "f_cnt": number}
            for number in range(frames)
        ]
        own = pa.Table.from_pylist(rows, schema=self.receptions.schema)
        return replace(self, receptions=pa.concat_tables([self.receptions, own]))


def _cloned(rows: pa.Table, gateway: str) -> pa.Table:
    """Return the rows, and those of a gateway once more as the clone's."""
    own = rows.filter(pc.equal(rows["gateway"], gateway))
    return pa.concat_tables([rows, _renamed(own, [CLONE] * len(own))])


def _renamed(rows: pa.Table, gateways: Sequence[str | None]) -> pa.Table:
    """Return the rows as other gateways'."""
    return with_column(rows, "gateway", pa.array(gateways, pa.string()))


Columns = Mapping[str, Mapping[str, int]]
"""Amount of each operator by each rule."""
Pay = Callable[[Records, pa.Table], Columns]
"""Takes records and their metrics."""


@dataclass(frozen=True)
class Comparison:
    """Amounts that rules pay for the same records, and measures of them.

    Attributes
    ----------
    amounts
        One row per operator, one column per rule, in the smallest unit; the greatest first.
    measures
        One row per rule: paid, gini, nakamoto, top_1_percent, distance_to_shapley,
        distance_to_leave_one_out, clone_gain (of the cloned operator's amount, as a share) and
        self_traffic_earned (the gain of ``frames`` frames of self-traffic above their cost, in the
        smallest unit). The last four are NaN if no uplink is known to be delivered.
    """

    amounts: pd.DataFrame
    measures: pd.DataFrame

    def _repr_html_(self) -> str:
        return str(self.measures.to_html(float_format="{:.3f}".format))


def compare(
    records: Records,
    rules: Sequence[Rule],
    pool: int = 1_000_000,
    *,
    frames: int = 1000,
    price: int = 0,
) -> Comparison:
    """Pay the same records under several rules, honest and cheated.

    Where frames cost something, self-traffic is arbitrage: in 2020 a hotspot of Helium's earned
    about 21,000 USD from its share of a fixed pool with data credits bought for 145 USD. Under
    ``DataCredits(rate=price)``, which ended it, ``self_traffic_earned`` is 0 (HIP-10).

    Parameters
    ----------
    records
        Records of one epoch: ``Records.of(data)`` or ``Network.records``. Metrics alone do not
        suffice, as cheats change receptions.
    rules
        Rules, with amounts in the smallest unit.
    pool
        The most that each rule may pay, in the smallest unit; by default amounts read as
        millionths.
    frames
        Frames of self-traffic, of ``SELF_BYTES`` at SF7.
    price
        Price of a data unit for its sender, in the smallest unit; each frame is one data unit.

    Raises
    ------
    NothingToCompare
        No rule pays anything, or the records lack a metric that a rule needs.
    """
    if not rules:
        raise NothingToCompare(message="name a rule")
    for rule in rules:
        rule.check()
        missing = [name for name in rule.needs if name not in records.gives]
        if missing:
            message = f"{rule.spec()} needs {missing[0]}, which the telemetry does not give"
            raise NothingToCompare(message=message)
    table = records.metrics()
    pay = partial(_paid_by_rule, rules, pool)
    columns = pay(records, table)
    of_uplinks = _of_uplinks(records, table, columns, pay, frames, price * frames)
    if not of_uplinks and not any(map(any, (amounts.values() for amounts in columns.values()))):
        message = "no delivered uplinks in this epoch, nor anything else that is paid for"
        raise NothingToCompare(message=f"{message}; choose another")
    measures = {}
    for name, by_operator in columns.items():
        each = [*by_operator.values()]
        shape = {"paid": sum(each), "gini": gini(each), "nakamoto": nakamoto(each)}
        shape["top_1_percent"] = top_share(each, 0.01)
        measures[name] = shape | of_uplinks.get(name, {})
    measured = pd.DataFrame.from_dict(measures, orient="index").reindex(columns=[*MEASURES])
    amounts = pd.DataFrame(columns).fillna(0).astype("int64").rename_axis("operator")
    ordered = amounts.sort_values([amounts.columns[0]], ascending=False, kind="stable")
    return Comparison(ordered, measured.rename_axis("rule"))


def _of_uplinks(
    records: Records, table: pa.Table, columns: Columns, pay: Pay, frames: int, cost: int
) -> dict[str, dict[str, float]]:
    """Return by rule the measures that follow from uplinks; nothing if none was delivered."""
    if "shapley_uplinks" not in records.gives:
        return {}
    shapley = _by_operator(records, table, _column(table, "shapley_uplinks"))
    target = max(shapley, key=lambda operator: (shapley[operator], operator), default="")
    if not shapley.get(target):
        return {}
    alone = records.without_owners().metrics()
    left_out = dict(zip(alone["gateway"].to_pylist(), _column(alone, "sole_uplinks")))
    gateway = _best_gateway(records, table, target)
    cloned = records.with_clone(gateway)
    padded = records.with_self_traffic(gateway, frames)
    by_clone, by_traffic = (pay(cheat, cheat.metrics()) for cheat in (cloned, padded))
    measures = {}
    for name, amounts in columns.items():
        before = amounts.get(target, 0)
        both = by_clone[name].get(target, 0) + by_clone[name].get(CLONE, 0)
        measures[name] = {
            "distance_to_shapley": distance(amounts, shapley),
            "distance_to_leave_one_out": distance(amounts, left_out),
            "clone_gain": both / before - 1 if before else 0.0,
            "self_traffic_earned": by_traffic[name].get(target, 0) - before - cost,
        }
    return measures


def _paid_by_rule(rules: Sequence[Rule], pool: int, records: Records, table: pa.Table) -> Columns:
    return {str(rule.spec()): paid(records, table, rule, pool) for rule in rules}


def paid(records: Records, table: pa.Table, rule: Rule, pool: int) -> dict[str, int]:
    """Return the amount of each operator under a rule; nothing for unattributed receptions."""
    columns = {name: table[name].to_pylist() for name in table.column_names if name != "gateway"}
    gateways = table["gateway"].to_pylist()
    denied = [row for row, gateway in enumerate(gateways) if gateway in records.denied]
    weights, _ = weigh(rule, columns, denied)
    return _by_operator(records, table, divide(pool, weights, claim=rule.claim))


def _by_operator(records: Records, table: pa.Table, values: Sequence[int]) -> dict[str, int]:
    sums = Counter[str]()
    for gateway, value in zip(table["gateway"].to_pylist(), values):
        if gateway != UNATTRIBUTED:
            sums[records.owner(gateway)] += value
    return sums


def _column(table: pa.Table, name: str) -> list[int]:
    return [value or 0 for value in table[name].to_pylist()]


def _best_gateway(records: Records, table: pa.Table, operator: str) -> str:
    rows = zip(_column(table, "shapley_uplinks"), table["gateway"].to_pylist())
    owned = [(value, name) for value, name in rows if name and records.owner(name) == operator]
    return str(max(owned)[1])


def gini(amounts: Sequence[int]) -> float:
    """Return the Gini coefficient: 0 if all get the same, towards 1 if one gets all."""
    count, total = len(amounts), sum(amounts)
    ranked = sum(rank * amount for rank, amount in enumerate(sorted(amounts), 1))
    return (2 * ranked / total - (count + 1)) / count if total else 0.0


def nakamoto(amounts: Sequence[int]) -> int:
    """Return the least number of payees who together get more than half."""
    total, held = sum(amounts), enumerate(accumulate(sorted(amounts, reverse=True)), 1)
    return next((number for number, first in held if 2 * first > total), 0)


def top_share(amounts: Sequence[int], part: float) -> float:
    """Return the share of the top part of payees (at least one)."""
    total = sum(amounts)
    count = max(1, round(part * len(amounts)))
    return sum(sorted(amounts, reverse=True)[:count]) / total if total else 0.0


def distance(first: Mapping[str, int], second: Mapping[str, int]) -> float:
    """Return the share of the money that would have to change hands between two divisions."""
    totals = sum(first.values()), sum(second.values())
    if not all(totals):
        return 1.0
    return sum(
        abs(first.get(name, 0) / totals[0] - second.get(name, 0) / totals[1]) / 2
        for name in sorted(first.keys() | second.keys())
    )
