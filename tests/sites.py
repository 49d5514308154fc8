"""References for players that are close together, and for the division of uplinks among them."""

from __future__ import annotations

import pyarrow as pa

from dii.schema import TABLES
from dii.telemetry.metrics import metrics
from dii.telemetry.metrics.sites import distance
from dii.units import DAY, SECOND


def reference(
    operators: dict[str, str], places: dict[str, tuple[float, float]], radius: int
) -> set[frozenset[str]]:
    """Group gateways as the definition says, looking at all pairs."""
    everyone = sorted(operators.keys() | places.keys())
    names = {one: operators.get(one, f"gateway {one}") for one in everyone}
    groups = {one: {other for other in everyone if names[other] == names[one]} for one in everyone}
    founders: list[str] = []
    for one in sorted(places):
        near = [f for f in founders if distance(places[f], places[one]) <= radius]
        if near:
            union = groups[one] | groups[near[0]]
            groups |= dict.fromkeys(union, union)
        else:
            founders.append(one)
    return {frozenset(group) for group in groups.values()}


TYPES = {"string": pa.string(), "int64": pa.int64(), "float64": pa.float64(), "bool": pa.bool_()}
START = 17_642 * DAY

Uplink = tuple[list[str], int, bool]
"""Gateways that heard an uplink, number of unknown receivers, and whether it was delivered."""


def split(
    uplinks: list[Uplink], operators: dict[str, str], players: dict[str, str] | None = None
) -> dict[str, int]:
    """Return each gateway's ``shapley_uplinks``."""
    rows = [
        {
            "time": START + number * SECOND,
            "gateway": gateway,
            "kind": "data",
            "device": "D",
            "f_cnt": number,
            "delivered": delivered,
        }
        for number, (gateways, unknown, delivered) in enumerate(uplinks)
        for gateway in [*gateways, *[None] * unknown]
    ]
    tables = (
        pa.Table.from_pylist(content, pa.schema([(c.name, TYPES[c.type]) for c in columns]))
        for content, columns in ((rows, TABLES["receptions"]), ([], TABLES["statuses"]))
    )
    table = metrics(
        *tables,
        operators=operators,
        players=players,
        gateways=None,
        start=START,
        length=DAY,
        gives=frozenset({"shapley_uplinks"}),
    ).metrics
    return dict(zip(*(column.to_pylist() for column in table.columns)))
