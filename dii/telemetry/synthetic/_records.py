"""Receptions and statuses of generated networks, with the accidents of real networks.

The problem: a network in which nothing goes wrong tests nothing, and the accidents that matter
(outages, deafness, hidden and repeated receptions, wrong clocks) must show in receptions and
statuses alike.

The design: roles go to gateways spread over the whole range of traffic (``_traffic``), and each
step is drawn for all gateways and days at once, in columns.

A last day is complete only where something is known to come after it, so the first uplink and the
first poll after the last midnight are generated, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dii.telemetry.readers.fields import payload_hash
from dii.telemetry.synthetic._network import SNAPSHOT, WORLD, Region, network
from dii.telemetry.synthetic._traffic import Flags, Ints, Random, generator, populate
from dii.telemetry.tables import SCHEMAS, with_column
from dii.units import DAY, SECOND

STREAM: Final = 4
"""Stream of random numbers below the seed."""
_HIDDEN: Final = 0.03
"""Share of receptions whose gateway Packet Broker hides."""
_ROLES: Final = ("out", "deaf", "forwarded", "twice", "adrift")
_EACH: Final = 50
"""For each role, one gateway in this many has it."""
_OUT_FROM, _OUT_UNTIL, _DEAF_FROM = 20 / 64, 35 / 64, 15 / 64
"""Times at which a gateway goes out, comes back, and goes deaf, in parts of all polls."""
_LATER: Final = 7
"""Polls by which each gateway goes out later than the one before it."""


class Size(NamedTuple):
    """Network to generate.

    Attributes
    ----------
    gateways, days
        Their number.
    start
        Midnight of the first day, microseconds since 1970.
    active, top
        As in :func:`dii.telemetry.synthetic.populate`.
    polls
        Number of statuses of each gateway and day.
    regions
        Areas with gateways.
    """

    gateways: int
    days: int
    start: int
    active: float
    top: float
    polls: int
    regions: tuple[Region, ...] = WORLD


SIZES: Final[Mapping[str, Size]] = {
    "sample": Size(
        gateways=48,
        days=8,
        start=1_740_960_000 * SECOND,  # 2025-03-03T00:00:00Z, a Monday
        active=0.75,
        top=0.74,  # most carry traffic, but none much: the files have to stay small
        polls=8,
        regions=(Region("nl", 1, 51.96, 4.30, 52.07, 4.48),),
    ),
    "ttn2018": Size(5_803, 1, (SNAPSHOT // DAY + 1) * DAY, 0.5, 1.0, 24),
}
"""The sample in ``data/``, and The Things Network of April 2018."""


class Generated(NamedTuple):
    """Registry and records of a generated network.

    Attributes
    ----------
    registry, receptions, statuses
        Tables as ``dii.schema`` says, records in the order of time; hidden receptions name no
        gateway.
    roles
        Ids of the gateways that are ``out`` for a time; ``deaf`` from some time on; ``forwarded``
        by Packet Broker, which names them; listed ``twice``; ``adrift``: the clock says 1970.
    """

    registry: pa.Table
    receptions: pa.Table
    statuses: pa.Table
    roles: Mapping[str, tuple[str, ...]]


def generate(size: Size, seed: int = 7, days: int | None = None) -> Generated:
    """Generate a network and its records.

    Parameters
    ----------
    size
        One of ``SIZES``, or any other.
    seed
        Equal size, seed and days give equal tables on every machine.
    days
        Number of days, instead of the size's own.
    """
    days = days or size.days
    end = size.start + days * DAY
    registry = network(size.gateways, seed, regions=size.regions, snapshot=end - 60 * SECOND)
    population = populate(registry, seed, size.active, size.top)
    rng = generator(seed, STREAM)
    after = population.day(end)
    after = after.slice(0, [*frame_starts(after), len(after)][1])  # its first frame
    during = [population.day(size.start + day * DAY) for day in range(days)]
    heard = pa.concat_tables([*during, after])
    gate = pc.index_in(heard["gateway"], population.gateways).to_numpy()

    # Roles go to gateways in the order of their traffic, so that each role shows.
    names, count = population.gateways.to_pylist(), len(population.gateways)
    busy = np.bincount(gate, minlength=count)
    order = sorted(range(count), key=lambda n: (-busy[n], names[n]))
    rank = np.argsort(np.array(order, np.int64))
    owned = set(registry.filter(registry["operator"].is_valid())["gateway"].to_pylist())
    roles = _roles([n for n in order if names[n] in owned and ":" not in names[n]])
    poll, polls = DAY // size.polls, days * size.polls
    silent = np.zeros((2, count), np.int64)  # polls from which, and until which
    for turn, g in enumerate(roles["out"]):
        begin, back = int(polls * _OUT_FROM), int(polls * _OUT_UNTIL)
        later = _LATER * turn % (polls - back + 1)
        silent[:, g] = begin + later, back + later
    for g in roles["deaf"]:
        silent[:, g] = int(polls * _DEAF_FROM), polls + 1
    deaf = np.isin(np.arange(count), roles["deaf"])
    mute = rank >= count - max(1, count // _EACH)
    # Each gateway answers within the last three minutes of a poll, so that its last answer of a day
    # falls into the day's last slot.
    early = np.floor(1 + 170 * rng.random(count)).astype(np.int64)[rank] * SECOND

    asks = (heard["time"].to_numpy() - size.start + early[gate]) // poll
    keep = (asks < silent[0, gate]) | (asks >= silent[1, gate])
    heard, gate, asks = heard.filter(pa.array(keep)), gate[keep], asks[keep]
    asked = np.arange(polls + 1)[:, None]
    known = asks <= polls
    frames = np.bincount(asks[known] * count + gate[known], minlength=(polls + 1) * count)
    quiet = (asked >= silent[0]) & (asked < silent[1])
    drawn = rng.random((polls, count))[:, rank]
    foreign = np.pad(np.floor(9 * drawn**2).astype(np.int64), ((0, 1), (0, 0)))
    frames = frames.reshape(polls + 1, count) + np.where(quiet, 0, foreign)
    row, answering = np.nonzero(~quiet | deaf)
    time = size.start + (row + 1) * poll - early[answering]
    columns = [
        time,
        population.gateways.take(pa.array(answering)),
        np.minimum(poll, time - size.start),  # nothing before the first day
        pa.array(frames[row, answering], mask=mute[answering]),
        pa.nulls(len(row), pa.string()),
    ]
    statuses = pa.table(columns, schema=SCHEMAS["statuses"])
    statuses = statuses.sort_by([("time", "ascending"), ("gateway", "ascending")])
    adrift, forwarded = (np.isin(gate, roles[role]) for role in ("adrift", "forwarded"))
    return Generated(
        _seen_last(registry, statuses, end, days),
        _received(heard, rank[gate], adrift, forwarded, size.start, rng),
        statuses,
        {role: tuple(names[n] for n in members) for role, members in roles.items()},
    )


def _seen_last(registry: pa.Table, statuses: pa.Table, end: int, days: int) -> pa.Table:
    """Set ``last_seen`` to the last status before the end, or move it before all statuses."""
    statuses = statuses.filter(pc.field("time") < end)
    seen = dict(zip(statuses["gateway"].to_pylist(), statuses["time"].to_pylist()))
    rows = zip(registry["gateway"].to_pylist(), registry["last_seen"].to_pylist())
    times = [time and seen.get(gateway, time - days * DAY) for gateway, time in rows]
    return with_column(registry, "last_seen", pa.array(times, pa.int64()))


def payload(device: str, f_cnt: int, size: int) -> bytes:
    """Return the payload of a frame."""
    return hashlib.sha512(f"{device} {f_cnt}".encode()).digest()[:size]


def frame_starts(receptions: pa.Table) -> Ints:
    """Return the numbers of the first rows of frames; the rows of a frame are contiguous."""
    device = pc.dictionary_encode(receptions["device"].combine_chunks()).indices.to_numpy()
    time = receptions["time"].to_numpy()
    return np.flatnonzero(np.diff(time, prepend=-1) | np.diff(device, prepend=-1))


def _roles(candidates: list[int]) -> dict[str, list[int]]:
    """Deal roles: to the first of the candidates, and to others as far apart as roles are rare."""
    each = max(1, len(candidates) // _EACH)
    apart = max(len(_ROLES), len(candidates) // each)
    roles = {role: candidates[k::apart][:each] for k, role in enumerate(_ROLES)}
    roles["twice"] = roles["twice"][: 1 + len(candidates) // 1_000]
    return roles


def _received(
    heard: pa.Table, rank: Ints, adrift: Flags, forwarded: Flags, start: int, rng: Random
) -> pa.Table:
    """Return receptions with payloads and times of the gateways' clocks, some without gateway."""
    starts = frame_starts(heard)
    frames = heard.take(pa.array(starts)).select(["device", "f_cnt", "size"])
    rows = zip(*(column.to_pylist() for column in frames.columns))
    hashes = [payload_hash(payload(*row)) for row in rows]
    lengths = np.diff(starts, append=len(heard))
    hidden, delay = rng.random(len(heard)) < _HIDDEN, rng.random(len(heard))
    time = heard["time"].to_numpy()
    clock = time - np.floor((0.1 + 0.1 * delay) * SECOND).astype(np.int64)
    clock[adrift] = time[adrift] - start + 9 * DAY
    columns = {
        "gateway": pc.if_else(pa.array(hidden & ~forwarded), None, heard["gateway"]),
        "gateway_time": pa.array(clock, mask=~adrift & (rank % 3 != 0)),
        "payload_hash": pa.array(np.repeat(np.array(hashes, np.int64), lengths)),
    }
    for name, column in columns.items():
        heard = with_column(heard, name, column)
    return heard
