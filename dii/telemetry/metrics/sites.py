"""Players of gateways that are close together.

Operators are players: a second gateway beside an own one gains nothing. Under a second name it
would, so a network may declare all gateways within some metres of each other one player. Names are
free and owners state the places, so this raises the price of a name to that of a plausible place,
no more; and neighbours who never met are merged, too. Hence it is off by default.

Gateways are taken in the order of ids. A gateway within the radius of the founder of a site joins
the first such site, and its player and the founder's become one everywhere; any other gateway
founds a site. Distances count from founders, so that a row of houses does not become one site.
Merging single gateways, not players, was rejected: an operator with some gateways beside a
stranger's would be several players, and gain.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from math import asin, cos, floor, radians, sin, sqrt
from typing import Final

Place = tuple[float, float]
"""Degrees north and east."""

EARTH: Final = 6_371_008.8
"""Mean radius of the Earth in metres (IUGG)."""


def distance(one: Place, other: Place) -> float:
    """Return the distance of two places in metres, on a sphere (haversine)."""
    (north, east), (north_2, east_2) = (map(radians, place) for place in (one, other))
    chord = sin((north_2 - north) / 2) ** 2
    chord += cos(north) * cos(north_2) * sin((east_2 - east) / 2) ** 2
    return 2 * EARTH * asin(min(1.0, sqrt(chord)))


def players(
    operators: Mapping[str, str], places: Mapping[str, Place], radius_m: int
) -> dict[str, str]:
    """Return the player of each gateway; the names of players have no meaning.

    Parameters
    ----------
    operators
        Gateway to operator; a gateway without any is a player of its own.
    places
        Gateway to place, where known; a gateway without a place joins no site.
    radius_m
        Metres within which gateways are close together, above 0.
    """
    merged: dict[str, str] = {}

    def player(gateway: str) -> str:
        operator = operators.get(gateway)
        name = f"gateway {gateway}" if operator is None else f"operator {operator}"
        while name in merged:
            name = merged[name]
        return name

    band = 1.001 * radius_m / EARTH  # gateways within the radius lie in the same band or the next
    founders: dict[int, list[str]] = defaultdict(list)
    for gateway in sorted(places):
        north = floor(radians(places[gateway][0]) / band)
        near = [*founders[north - 1], *founders[north], *founders[north + 1]]
        close = [name for name in near if distance(places[name], places[gateway]) <= radius_m]
        if not close:
            founders[north].append(gateway)
        elif (mine := player(gateway)) != (theirs := player(min(close))):
            merged[mine] = theirs
    return {gateway: player(gateway) for gateway in operators.keys() | places.keys()}
