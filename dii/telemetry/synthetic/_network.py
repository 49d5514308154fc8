"""Registry of any size, like that of The Things Network in April 2018.

The problem: scenarios need networks larger, smaller and elsewhere than the one public snapshot,
and its statistics must hold in each of them, not on average over seeds.

The design: all published counts (owners, countries, placement, ``last_seen``) are allotted by
quota, largest remainders first; the seed only chooses the gateways. Places are towns, some lone
gateways and some sites with two. The spread of towns is then adjusted until the median distance to
the nearest live gateway is the published one, as no closed form gives it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dii.telemetry.synthetic._traffic import Flags, Floats, Ints, bell, generator, nearest, shuffled
from dii.telemetry.tables import SCHEMAS
from dii.units import SECOND

SNAPSHOT: Final = 1_524_222_036 * SECOND
"""2018-04-20T11:00:36Z: the latest ``last_seen`` of the published registry."""
PUBLISHED: Final = 5_803
"""Gateways of the published registry; other counts scale with the size of the network."""


class Region(NamedTuple):
    """Area with gateways: a country code, its part of the gateways, and a box in degrees."""

    country: str
    gateways: int
    south: float
    west: float
    north: float
    east: float


WORLD: Final = (
    Region("nl", 867, 51.3, 4.2, 53.3, 6.8),
    Region("de", 564, 47.8, 7.0, 54.0, 13.8),
    Region("ch", 353, 46.0, 6.2, 47.6, 9.4),
    Region("gb", 341, 50.9, -3.5, 55.9, 0.2),
    Region("us", 278, 31.0, -122.0, 47.0, -74.0),
    Region("fr", 273, 43.5, -0.8, 49.8, 6.8),
    Region("au", 193, -38.0, 138.6, -27.5, 153.0),
    Region("it", 156, 40.8, 8.0, 46.0, 14.5),
    Region("es", 120, 37.2, -6.0, 43.3, 2.2),
    Region("be", 112, 50.4, 3.0, 51.3, 5.6),
    Region("in", 130, 12.9, 73.0, 28.6, 80.3),
    Region("ca", 130, 43.2, -123.0, 51.0, -73.5),
    Region("se", 130, 55.6, 12.0, 59.9, 18.1),
    Region("cz", 130, 48.9, 13.0, 50.6, 18.3),
    Region("pl", 120, 50.0, 15.0, 54.3, 22.5),
    Region("th", 120, 13.5, 99.0, 18.8, 103.0),
    Region("br", 110, -27.6, -51.0, -15.8, -41.0),
    Region("dk", 100, 55.2, 8.6, 57.0, 12.6),
    Region("at", 100, 46.6, 13.0, 48.3, 16.5),
    Region("no", 100, 58.1, 5.7, 63.4, 11.0),
    Region("sk", 90, 48.1, 17.0, 49.2, 21.3),
    Region("bg", 80, 42.0, 23.2, 43.6, 27.9),
    Region("za", 100, -34.0, 18.4, -25.7, 28.3),
)
"""The ten countries with most gateways, as published; the others stand for the remaining ones."""

UNKNOWN_COUNTRY, OUTDOOR, INDOOR = 1_106, 1_429, 3_238
_NO_OWNER, _NO_OWNER_LIVE = 0.2245, 0.0961
OWNERS = 2_980
_OWN_ONE, _OWN_TWO, _OWN_THREE = 0.771, 0.143, 0.041
_LIVE_BY_PLACEMENT: Final = {"outdoor": 0.692, "indoor": 0.5185, None: 0.271}
"""Share seen within five minutes."""
_DAY: Final = 86_400.0
_SEEN: Final = (0.0, 60.0, 300.0, 3_600.0, _DAY, 7 * _DAY, 30 * _DAY)
_SEEN_SHARE: Final = (0.0, 0.492, 0.5128, 0.5235, 0.5714, 0.6728, 0.9149)
"""Share seen within so many seconds (``_SEEN``); the others have no ``last_seen``."""
_LOCATED: Final = 0.943
"""Share that states a usable place, of those that state a country."""
MEDIAN_KM: Final = 2.87
"""To the nearest other live gateway."""
_PAIRED_LIVE, _PAIRED_QUIET = 0.066, 0.13
"""Share of live, and of other, gateways that are placed within 300 m of another."""
_LARGE_POWER: Final = 0.82
"""Power of the rank with which the sizes of owners beyond four gateways fall."""

_WORDS: Final = (  # noqa: SIM905 - easier to read
    "amber birch canal delft ember falcon garden harbour indigo juniper kestrel linden meadow "
    "north orchard polder quarry river saffron tulip urban valley willow zenith alder bridge "
    "copper dune estuary fjord granite heron island jade koala lagoon mill nettle oak pebble"
).split()
_KINDS: Final = (  # noqa: SIM905 - easier to read
    "makers iot lab sensors village school farm works club commons city network studio energy "
    "museum"
).split()
_EUI_PREFIXES: Final = ("B827EBFFFE", "A84041FFFF", "7276FF0039", "0000024B08", "58A0CBFFFE")


def apportion(total: int, weights: Sequence[float] | Floats) -> Ints:
    """Divide ``total`` in proportion to weights, in integers: largest remainders first."""
    exact = total * np.asarray(weights, float) / np.sum(weights)
    parts = np.floor(exact).astype(np.int64)
    rank = np.argsort(np.round(parts - exact, 9), kind="stable")
    parts[rank[: total - int(parts.sum())]] += 1
    return parts


def network(
    gateways: int, seed: int, *, regions: Sequence[Region] = WORLD, snapshot: int = SNAPSHOT
) -> pa.Table:
    """Return a registry of invented gateways and operators.

    Parameters
    ----------
    gateways
        Number of gateways.
    seed
        Chooses which gateway gets which value; the number of each value depends on the size alone.
    regions
        Areas with gateways.
    snapshot
        The latest ``last_seen``, microseconds since 1970.

    Returns
    -------
    pyarrow.Table
        As ``schema.Gateway`` says; gateways of an operator are near each other.
    """
    rng = generator(seed, 0)
    known = gateways - round(gateways * UNKNOWN_COUNTRY / PUBLISHED)
    parts = apportion(known, [region.gateways for region in regions])
    region = np.repeat(np.arange(-1, len(regions)), [gateways - known, *parts])
    placement = np.empty(gateways, object)
    order = shuffled(rng, gateways)
    outdoor, indoor = (round(gateways * part / PUBLISHED) for part in (OUTDOOR, INDOOR))
    placement[order[:outdoor]] = "outdoor"
    placement[order[outdoor : outdoor + indoor]] = "indoor"

    age = _ages(rng, placement)
    live = age <= 3_600
    latitude, longitude = _places(rng, region, regions, live)
    nameless = _choose(rng, live, _NO_OWNER_LIVE * live.sum())
    nameless |= _choose(rng, ~live, _NO_OWNER * gateways - nameless.sum())
    operator = _operators(rng, nameless)
    height = np.where(rng.random(gateways) < 0.47, 0.0, np.floor(300.0 * rng.random(gateways) ** 3))
    nowhere = np.isnan(latitude)
    never = np.isinf(age)
    seconds = np.where(never, 0.0, np.floor(age)).astype(np.int64)
    columns = (
        _identifiers(rng, gateways),
        operator,
        pa.array(latitude, mask=nowhere),
        pa.array(longitude, mask=nowhere),
        pa.array(height, mask=nowhere),
        [regions[index].country if index >= 0 else None for index in region.tolist()],
        placement.tolist(),
        pa.array(snapshot - seconds * SECOND, mask=never),
        pa.nulls(gateways, pa.string()),
    )
    return pa.table(list(columns), schema=SCHEMAS["gateways"])


def _choose(rng: np.random.Generator, among: Flags, count: float) -> Flags:
    """Mark ``count`` of the members that ``among`` marks."""
    members = np.flatnonzero(among)
    chosen = np.zeros(len(among), bool)
    chosen[members[shuffled(rng, len(members))[: round(count)]]] = True
    return chosen


def _ages(rng: np.random.Generator, placement: npt.NDArray[np.object_]) -> Floats:
    """Return seconds since each gateway was seen; infinite where never."""
    fresh = np.zeros(len(placement), bool)
    for place, share in _LIVE_BY_PLACEMENT.items():
        there = placement == place
        fresh |= _choose(rng, there, share * there.sum())
    # The fresh ones come first, in random order, the others after them.
    order = np.lexsort((rng.random(len(placement)), ~fresh))
    rank = (np.arange(len(placement)) + 0.5) / len(placement)
    age = np.empty(len(placement))
    age[order] = np.interp(rank, _SEEN_SHARE, _SEEN, right=np.inf)
    age[order[:1]] = 0.0
    return age


def _places(
    rng: np.random.Generator, region: Ints, regions: Sequence[Region], live: Flags
) -> tuple[Floats, Floats]:
    """Return latitudes and longitudes in degrees, NaN where none is stated."""
    placed = np.flatnonzero(_choose(rng, region >= 0, _LOCATED * (region >= 0).sum()))
    box = np.array([(r.south, r.west, r.north, r.east) for r in regions])[region[placed]]
    # Towns: a region has one for five gateways, of sizes that fall with their rank; one gateway
    # in four stands alone.
    count = np.bincount(region[placed], minlength=len(regions))
    towns = np.maximum(1, count // 5)
    rank = np.floor(towns[region[placed]] ** rng.random(len(placed))).astype(np.int64) - 1
    town = (np.cumsum(towns) - towns)[region[placed]] + rank
    centre = rng.random((int(towns.sum()), 2))[town]
    alone = rng.random(len(placed)) < 0.25
    centre[alone] = rng.random((int(alone.sum()), 2))
    middle = box[:, :2] + centre * (box[:, 2:] - box[:, :2])
    members = np.bincount(town, minlength=int(towns.sum()))[town]
    offset = bell(rng, (len(placed), 2)) * np.sqrt(members)[:, None]
    # Some are beside another: the first of a random order beside the last.
    seen, spread = live[placed], 1.0
    # Networks larger than the published one fill the same land.
    aim = MEDIAN_KM * min(1.0, (PUBLISHED / len(region)) ** 0.5)
    quiet = _beside(rng, np.flatnonzero(~seen), _PAIRED_QUIET)
    pairs = np.concatenate((_beside(rng, np.flatnonzero(seen), _PAIRED_LIVE), quiet))
    distance, bearing = 0.28 * rng.random(len(pairs)) ** 2, 2 * np.pi * rng.random(len(pairs))
    step = (distance * [np.cos(bearing), np.sin(bearing)]).T
    for _ in range(12):
        place = middle + _degrees(spread * offset, middle)
        place[pairs[:, 0]] = place[pairs[:, 1]] + _degrees(step, place[pairs[:, 1]])
        _, apart = nearest(place[seen, 0], place[seen, 1], 1)
        median = float(np.median(apart)) if apart.size else aim
        if abs(median / aim - 1) < 0.02:
            break
        spread = min(max(spread * aim / median, 0.05), 20.0)
    latitude, longitude = np.full(len(region), np.nan), np.full(len(region), np.nan)
    latitude[placed], longitude[placed] = np.round(place, 5).T
    return latitude, longitude


def _beside(rng: np.random.Generator, members: Ints, share: float) -> Ints:
    """Return pairs (member, its neighbour) for a share of the members."""
    order = members[shuffled(rng, len(members))]
    pairs = round(share * len(members))
    return np.stack((order[:pairs], order[len(order) - pairs :]), axis=1)


def _degrees(kilometres: Floats, at: Floats) -> Floats:
    """Turn steps to the north and east into degrees at a latitude."""
    north = kilometres[:, 0] / 111.2
    return np.stack((north, kilometres[:, 1] / (111.2 * np.cos(np.radians(at[:, 0])))), axis=1)


def owner_sizes(owned: int, gateways: int) -> Ints:
    """Return the number of gateways of each owner, in a network of ``gateways``, largest first.

    Shares of owners with one, two and three are as published; beyond four, the sizes of the
    others fall with a power of their rank that gives the largest of the published network.
    """
    owners = max(1, min(owned, round(gateways * OWNERS / PUBLISHED)))
    large, *few = apportion(
        owners, (1.0 - _OWN_ONE - _OWN_TWO - _OWN_THREE, _OWN_THREE, _OWN_TWO, _OWN_ONE)
    ).tolist()
    sizes = np.repeat([4, 3, 2, 1], (large, *few))
    spare = owned - int(sizes.sum())
    top = max(large, 1)
    if spare >= 0:
        sizes[:top] += apportion(spare, np.arange(1, top + 1) ** -_LARGE_POWER)[: len(sizes)]
    else:  # a handful of gateways: the largest owners give
        for _ in range(-spare):
            sizes[np.argmax(sizes)] -= 1
    return np.sort(sizes)[::-1]


def _operators(rng: np.random.Generator, nameless: Flags) -> list[str | None]:
    """Assign runs of gateways to owners, so that the gateways of an owner are near each other."""
    sizes = owner_sizes(int((~nameless).sum()), len(nameless))
    owner = np.repeat(shuffled(rng, len(sizes)), sizes[shuffled(rng, len(sizes))])
    operator: list[str | None] = [None] * len(nameless)
    for gateway, number in zip(np.flatnonzero(~nameless).tolist(), owner.tolist()):
        block, word = divmod(number, len(_WORDS))
        again, shift = divmod(block, len(_KINDS))
        kind = _KINDS[(7 * word + shift) % len(_KINDS)]
        operator[gateway] = f"{_WORDS[word]}-{kind}" + (f"-{again + 1}" if again else "")
    return operator


def _identifiers(rng: np.random.Generator, count: int) -> list[str]:
    """Return ids: 16 hex digits for the 73 % that registered an EUI, else ``ttn:name``."""
    number, named = shuffled(rng, count).tolist(), rng.random(count) >= 0.73
    prefix = np.floor(len(_EUI_PREFIXES) * rng.random(count)).astype(int).tolist()
    return [
        f"ttn:gateway-{number[k]}" if named[k]
        else f"{_EUI_PREFIXES[prefix[k]]}{(number[k] * 40_503 + 977) & 0xFFFFFF:06X}"
        for k in range(count)
    ]  # fmt: skip
