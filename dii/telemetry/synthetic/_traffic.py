"""Uplinks for the gateways of a registry, day by day, straight into tables.

The problem: an economy of a real registry needs traffic, and none is published. Published are only
the packets per active gateway and day (quantiles, Helium) and the number of gateways that hear an
uplink (CampusIoT). Both must hold at once, for each gateway on every day, or rewards are noise.

The design: each active gateway gets a *level*, its packets per day, by quota from the
quantiles; neighbours get similar levels, since they are in the same town. Devices are placed
around each gateway. A log-distance path loss with shadowing tells which other gateways could hear
them, and each gateway accepts the strongest of these until they fill ``_SHARED`` of its level. Then
the devices' rates are solved for, so that a gateway hears exactly its level from its own and its
neighbours' devices together. A day is drawn from (seed, day) alone: a device's packets up to a
midnight have a closed form, so frame counters go on from day to day without playing the days
between.

Rejected: devices first and levels from physics (densities would have to be fitted to each
registry), and thinning single receptions to meet the levels (a gateway would miss frames at random
that it hears well). Draws are plain uniforms, and results of logarithms are rounded, so that the
tables are the same on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dii.telemetry.metrics.airtime import MAC_OVERHEAD, time_on_air
from dii.telemetry.tables import SCHEMAS
from dii.units import DAY, SECOND

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Random = np.random.Generator

QUANTILES: Final = ((0.5, 6), (0.75, 33), (0.9, 173), (0.95, 442), (0.99, 1_941))
"""Packets per active gateway and day by share of gateways (Helium, 60,240 hotspots, one day)."""
BUSIEST: Final = 94_542
"""Packets of the busiest of the 60,240 hotspots."""

_POPULATION, _PACE, _DAY = 1, 2, 3
"""Streams of random numbers below one seed."""
_NEIGHBOURS: Final = 10
"""Gateways beside its own that may hear a device: 11 in all, as at the CampusIoT hilltop."""
_SHARED: Final = 0.8
"""Part of its level that a gateway may hear from devices around other gateways."""
_PACE_CHANGE: Final = 0.2
"""A gateway's day has between 80 % and 120 % of its level."""

_NOISE: Final = -120.0
"""dBm: thermal noise in 125 kHz and a receiver's noise figure of 3 dB."""
_LOSS_1_KM, _LOSS_DECADE, _SHADOWING = 128.95, 23.2, 7.8
"""dB. Petäjäjärvi et al., "On the coverage of LPWANs", ITST 2015: Oulu, 868 MHz, on land."""
_EIRP: Final = 16.0
_FLOOR_SF7, _FLOOR_STEP = -7.5, 2.5
"""SNR in dB below which a frame is lost (SX1276 data sheet); each SF more gains 2.5 dB."""
_ADR_MARGIN: Final = 8.0
"""dB that adaptive data rate keeps above the floor."""
FAIR_USE: Final = 30 * SECOND
"""Uplink airtime of a device and day that the community's fair use allows."""

_SITES: Final = np.array([(0.55, 0.8, 12.0), (0.35, 3.0, 4.0), (0.10, 6.0, -9.0)])
"""Devices indoors, in the street, on a hilltop: share, reach from its gateway (km), loss (dB)."""
_ROWS: Final = 128
"""Places that are compared with all others at a time."""
_SIZES: Final = np.array([8, 11, 12, 16, 20, 24, 32, 51])
_TOPICS: Final = (  # noqa: SIM905 - easier to read
    "air-quality bikes bins climate crops doors floods greenhouse heating livestock mapper "
    "metering noise parking presence rivers soil trackers trees weather"
).split()


def generator(seed: int, *stream: int) -> Random:
    """Return the generator of one stream of a seed; integers and uniforms are drawn from it."""
    return np.random.Generator(np.random.PCG64([seed, *stream]))


def shuffled(rng: Random, count: int) -> Ints:
    """Return the numbers below ``count`` in random order."""
    return np.argsort(rng.random(count), kind="stable")


def bell(rng: Random, shape: int | tuple[int, ...]) -> Floats:
    """Return numbers near the standard normal: sums of uniforms, which need no libm."""
    parts = rng.random((4, *shape) if isinstance(shape, tuple) else (4, shape))
    total: Floats = (parts[0] + parts[1] + parts[2] + parts[3] - 2.0) * 3**0.5
    return total


def nearest(latitude: Floats, longitude: Floats, count: int) -> tuple[Ints, Floats]:
    """Return each place's nearest others, nearest first, and their distance.

    Parameters
    ----------
    latitude, longitude
        Degrees.
    count
        Number of others; fewer where there are not so many places.

    Returns
    -------
    places, kilometres
        Two arrays with one row per place and one column per neighbour.
    """
    total = len(latitude)
    count = min(count, total - 1)
    if count <= 0:
        return np.empty((total, 0), np.int64), np.empty((total, 0))
    phi, theta = np.radians(latitude), np.radians(longitude)
    axes = (np.cos(phi) * np.cos(theta), np.cos(phi) * np.sin(theta), np.sin(phi))
    # Places at one point would tie, and partitioning breaks ties differently on each processor;
    # so each place is pushed away by less than some metres, the later the more.
    push = np.arange(total) * 1e-18
    found, apart = np.empty((total, count), np.int64), np.empty((total, count))
    for begin in range(0, total, _ROWS):
        rows = np.arange(begin, min(begin + _ROWS, total))
        square = sum((axis[rows, None] - axis) ** 2 for axis in axes) + push
        square[np.arange(len(rows)), rows] = np.inf
        near = np.argpartition(square, count - 1, axis=1)[:, :count]
        chord = np.take_along_axis(square, near, axis=1)
        rank = np.argsort(chord, axis=1)
        found[rows] = np.take_along_axis(near, rank, axis=1)
        apart[rows] = 6371.0 * np.sqrt(np.take_along_axis(chord, rank, axis=1))
    return found, apart


def levels(count: int, top: float = 1.0) -> Floats:
    """Return the packets per day of ``count`` active gateways, ascending.

    Between the published quantiles, and from the last of them to the busiest hotspot, packets are
    a power of the share of gateways that carry more: monotone, and within 12 % of the 60,240 counts
    everywhere in the upper half.

    Parameters
    ----------
    count
        Number of gateways.
    top
        Only the part of the distribution below this share is used: 0.999 cuts the top 0.1 %.
        Fewer than a thousand gateways have no top 0.1 %.
    """
    if count < 1_000:
        top = min(top, 1.0 - 1.0 / (count + 1))
    rank = top * np.arange(count) / max(count - 1, 1)
    above = np.log(np.maximum(1.0 - rank, 1 / 60_240))
    known_above = np.log([1 / 60_240, *(1.0 - share for share, _ in reversed(QUANTILES)), 1.0])
    known = np.log([BUSIEST, *(packets for _, packets in reversed(QUANTILES)), 1])
    packets: Floats = np.exp(np.interp(above, known_above, known))
    return np.round(packets, 6)


def _airtimes() -> Ints:
    """Microseconds on air by spreading factor (7 to 12) and payload size (``_SIZES``)."""
    sizes = (MAC_OVERHEAD + _SIZES).tolist()
    return np.array([[time_on_air(size, factor) for size in sizes] for factor in range(7, 13)])


@dataclass(frozen=True, slots=True)
class Population:
    """The devices around a registry's active gateways, and which gateway hears which.

    Attributes
    ----------
    seed
        Of all draws.
    gateways
        Ids of the active gateways.
    devices, applications
        Ids, one per device.
    home, site, rate, phase, floor, size, airtime
        Per device: its gateway, its site (0 indoors, 1 in the street, 2 on a hilltop), packets a
        day, packets it had sent at day 0, least SNR (dB) at which it is heard, bytes of payload,
        microseconds on air.
    neighbours
        Per gateway: number of its nearest ten others within 25 km.
    first
        Links of device *d* are ``range(first[d], first[d + 1])``.
    hearer, signal, hears
        Per link: the gateway, received power (dBm) and the share of packets that arrive.
    """

    seed: int
    gateways: pa.Array
    devices: pa.Array
    applications: pa.Array
    home: Ints
    site: Ints
    neighbours: Ints
    rate: Floats
    phase: Floats
    floor: Floats
    size: Ints
    airtime: Ints
    first: Ints
    hearer: Ints
    signal: Floats
    hears: Floats

    def _sent_before(self, day: int) -> Ints:
        """Return the packets that each device sent before a midnight."""
        pace = generator(self.seed, _PACE, day).random(len(self.gateways))
        days = day + _PACE_CHANGE * np.round(pace[self.home], 6)
        return np.floor(self.rate * days + self.phase).astype(np.int64)

    def day(self, start: int) -> pa.Table:
        """Return the receptions of the day that begins at ``start`` (microseconds since 1970).

        They are sorted by time, as ``schema.Reception`` says, and depend on the registry, the
        seed and the day's number since 1970, nothing else.
        """
        day = start // DAY
        rng = generator(self.seed, _DAY, day)
        before = self._sent_before(day)
        sent = self._sent_before(day + 1) - before
        device = np.repeat(np.arange(len(sent)), sent)
        turn = np.arange(len(device)) - np.repeat(np.cumsum(sent) - sent, sent)
        moment = (turn + rng.random(len(device))) * (DAY / sent[device])
        time = start + np.minimum(moment.astype(np.int64), DAY - 1)
        content = rng.integers(-(2**63), 2**63, len(device), dtype=np.int64)

        links = np.diff(self.first)[device]
        uplink = np.repeat(np.arange(len(device)), links)
        turn_of_link = np.arange(len(uplink)) - np.repeat(np.cumsum(links) - links, links)
        link = self.first[device][uplink] + turn_of_link
        heard = rng.random(len(link)) < self.hears[link]
        uplink, link = uplink[heard], link[heard]
        order = np.lexsort((link, uplink, time[uplink]))
        uplink, link = uplink[order], link[order]
        device_heard = device[uplink]

        fading = rng.random(len(link))
        snr = self.signal[link] + 4.0 * fading - 2.0 - _NOISE
        rssi = np.round(_NOISE + 10.0 * np.log10(1.0 + 10.0 ** (snr / 10.0)))
        # A receiver's reported SNR saturates near 10 dB, however strong the signal is.
        most = 8.0 + np.round(8.0 * fading) / 4.0
        snr = np.clip(np.round(4.0 * snr) / 4.0, self.floor[device_heard], most)
        columns = {
            "time": time[uplink],
            "gateway": self.gateways.take(pa.array(self.hearer[link])),
            "kind": pa.repeat("data", len(link)),
            "device": self.devices.take(pa.array(device_heard)),
            "application": self.applications.take(pa.array(device_heard)),
            "f_cnt": (before[device] + turn)[uplink] & 0xFFFF,
            "payload_hash": content[uplink],
            "size": self.size[device_heard],
            "airtime": self.airtime[device_heard],
            "rssi": rssi,
            "snr": snr,
            "delivered": pa.repeat(True, len(link)),
            "foreign": pa.repeat(False, len(link)),
        }
        schema = SCHEMAS["receptions"]
        unknown = (pa.nulls(len(link), field.type) for field in schema)
        return pa.table(dict(zip(schema.names, unknown)) | columns, schema=schema)


def populate(
    gateways: pa.Table, seed: int = 7, active: float = 0.5, top: float = 1.0
) -> Population:
    """Place devices around the active gateways of a registry.

    Active are the gateways seen last; the order among those of the same minute is drawn.

    Parameters
    ----------
    gateways
        A table as ``schema.Gateway`` says.
    seed
        Of all draws.
    active
        Share of the gateways that carry traffic.
    top
        As in :func:`levels`: 0.999 cuts the top 0.1 % of the distribution of packets.
    """
    rng = generator(seed, _POPULATION)
    seen = gateways["last_seen"].fill_null(0).to_numpy() // (60 * SECOND)
    chosen = np.lexsort((rng.random(len(seen)), -seen))[: round(active * len(seen))]
    table = gateways.take(pa.array(np.sort(chosen)))
    places = [table[name].fill_null(float("nan")) for name in ("latitude", "longitude")]
    latitude, longitude = (degrees.to_numpy() for degrees in places)
    placement = table["placement"].to_pylist()
    indoors = np.array([{"outdoor": 0.0, "indoor": 8.0}.get(place, 5.0) for place in placement])
    near = _neighbourhood(latitude, longitude)
    level = _allot(rng, levels(len(table), top), near, indoors)

    # Devices: the busier a gateway, the more of them, and the busier each.
    count = np.ceil((level / 8.0) ** 0.8).astype(np.int64)
    home = np.repeat(np.arange(len(table)), count)
    kind = np.searchsorted(np.cumsum(_SITES[:-1, 0]), rng.random(len(home)), side="right")
    # On a hilltop they send seldom, as else the quiet gateways around could not hear them.
    share = 2.0 ** np.floor(4.0 * rng.random(len(home)) * (kind < 2))
    rate = level[home] * share / np.bincount(home, share, len(table))[home]
    site = _SITES[kind]
    away, bearing = site[:, 1] * rng.random(len(home)), 2 * np.pi * rng.random(len(home))
    north = latitude[home] + away * np.cos(bearing) / 111.2
    stretch = 111.2 * np.cos(np.radians(latitude[home]))
    east = longitude[home] + away * np.sin(bearing) / stretch
    shadow = np.clip(_SHADOWING * bell(rng, (len(home), 1 + near.shape[1])), -15.0, 15.0)

    # Gateways that could hear each device; column 0 is its home gateway.
    hearer = np.concatenate((home[:, None], near[home]), axis=1)
    reached = np.maximum(hearer, 0)
    apart = np.hypot(
        (latitude[reached] - north[:, None]) * 111.2,
        (longitude[reached] - east[:, None]) * stretch[:, None],
    )
    apart[:, 0] = away
    loss = _LOSS_1_KM + _LOSS_DECADE * np.log10(np.maximum(apart, 0.02))
    signal = np.round(_EIRP - loss - site[:, 2:] - indoors[reached] + shadow, 2)
    sf, size = _data_rate(rng, rate, signal)
    floor = np.asarray(_FLOOR_SF7 - _FLOOR_STEP * (sf - 7), np.float64)
    signal[:, 0] = np.maximum(signal[:, 0], _NOISE + floor + 3.0)
    margin = signal - _NOISE - floor[:, None]
    hears = np.round(np.clip(0.5 + margin / 16.0, 0.0, 0.98), 3)
    hears[(hearer < 0) | ~(margin > 0)] = 0.0
    rate *= (level / np.bincount(home, hears[:, 0] * rate, len(table)))[home]
    hears = _within_levels(hears, signal + 20.0 * kind[:, None], hearer, rate, level)
    rate = _solve_rates(rate, hears, hearer, home, level)

    device, column = np.nonzero(hears)
    number = shuffled(rng, len(home)).tolist()
    topic = np.floor((1 + len(home) // 9) * rng.random(len(home)) ** 2).astype(np.int64).tolist()
    applications = [f"{_TOPICS[k % len(_TOPICS)]}-{1 + k // len(_TOPICS)}" for k in topic]
    return Population(
        seed=seed,
        gateways=table["gateway"].combine_chunks(),
        devices=pa.array([f"70B3D57E{0xD0050000 + k:08X}" for k in number], pa.string()),
        applications=pa.array(applications, pa.string()),
        home=home,
        site=kind,
        neighbours=(near >= 0).sum(axis=1),
        rate=rate,
        phase=np.round(65_536 * rng.random(len(home)), 6),
        floor=floor,
        size=_SIZES[size],
        airtime=_airtimes()[sf - 7, size],
        first=np.searchsorted(device, np.arange(len(home) + 1)),
        hearer=hearer[device, column],
        signal=signal[device, column],
        hears=hears[device, column],
    )


def _neighbourhood(latitude: Floats, longitude: Floats) -> Ints:
    """Return the neighbours within 25 km of each gateway; -1 where there is none."""
    placed = np.flatnonzero(~np.isnan(latitude) & ~np.isnan(longitude))
    found, apart = nearest(latitude[placed], longitude[placed], _NEIGHBOURS)
    near = np.full((len(latitude), found.shape[1]), -1)
    near[placed] = np.where(apart < 25.0, placed[found], -1)
    return near


def _allot(rng: Random, levels: Floats, near: Ints, indoors: Floats) -> Floats:
    """Give each gateway one of the levels; neighbours, and gateways outdoors, rank alike."""
    own = rng.random(len(levels))
    others = np.where(near >= 0, own[near], 0.5).sum(axis=1)
    score = own + 0.6 * others - 0.05 * indoors
    level = np.empty(len(levels))
    level[np.argsort(score, kind="stable")] = levels
    return level


def _data_rate(rng: Random, rate: Floats, signal: Floats) -> tuple[Ints, Ints]:
    """Choose spreading factor and size (index of ``_SIZES``) of each device.

    Adaptive data rate takes the fastest rate that leaves its margin at the home gateway. A device
    that sends too often for fair use at this rate is moved nearer to the gateway.
    """
    size = np.floor(len(_SIZES) * rng.random(len(rate))).astype(np.int64)
    steps = np.ceil((_FLOOR_SF7 + _ADR_MARGIN - (signal[:, 0] - _NOISE)) / _FLOOR_STEP)
    wanted = np.clip(steps, 0, 5).astype(np.int64)
    # The factor: a busy day, and rates that are still to be raised for what gets lost.
    spent = 1.5 * (1.0 + _PACE_CHANGE) * rate * _airtimes()[:, size]
    allowed = (spent <= FAIR_USE).sum(axis=0) - 1
    sf = 7 + np.minimum(wanted, np.maximum(allowed, 0))
    closer = _NOISE + _FLOOR_SF7 - _FLOOR_STEP * (sf - 7) + _ADR_MARGIN
    signal[:, 0] = np.where(wanted > allowed, np.maximum(signal[:, 0], closer), signal[:, 0])
    return sf, size


def _within_levels(
    hears: Floats, signal: Floats, hearer: Ints, rate: Floats, level: Floats
) -> Floats:
    """Keep each gateway's strongest foreign links, as far as its level has room for them."""
    load = hears * rate[:, None]
    room = _SHARED * level[np.maximum(hearer, 0)]
    device, column = np.nonzero((load > 0.0) & (load <= room))
    foreign = column > 0
    device, column = device[foreign], column[foreign]
    gateway = hearer[device, column]
    order = np.lexsort((column, device, -signal[device, column], gateway))
    device, column, gateway = device[order], column[order], gateway[order]
    filled = np.cumsum(load[device, column])
    begin = np.searchsorted(gateway, gateway)
    filled -= np.concatenate(([0.0], filled))[begin]
    fits = filled <= room[device, column]
    kept = np.zeros_like(hears)
    kept[:, 0] = hears[:, 0]
    kept[device[fits], column[fits]] = hears[device[fits], column[fits]]
    return kept


def _solve_rates(rate: Floats, hears: Floats, hearer: Ints, home: Ints, level: Floats) -> Floats:
    """Scale the devices' rates so that every gateway hears its level.

    With *s* the factor of each gateway's devices, level = own·s + Σ foreign·s(home). As foreign
    loads fill at most ``_SHARED`` of a level, Jacobi's iteration contracts by that factor.
    """
    count = len(level)
    own = np.bincount(home, hears[:, 0] * rate, count)
    device, column = np.nonzero(hears[:, 1:])
    gateway = hearer[device, 1 + column]
    load = hears[device, 1 + column] * rate[device]
    factor = np.ones(count)
    for _ in range(64):
        factor = (level - np.bincount(gateway, load * factor[home[device]], count)) / own
    return np.round(rate * factor[home], 6)
