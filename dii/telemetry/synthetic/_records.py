"""Receptions and statuses day by day, with the accidents of real networks.

The problem: a network in which nothing goes wrong tests nothing, and the accidents that matter
(outages, deafness, hidden and repeated receptions, clocks gone astray) must show in receptions and
statuses alike, within bounded memory.

The design: traffic (``_traffic``) is taken a piece of some days at a time, and roles go to gateways
spread over the whole range of traffic. All of a piece is drawn at once in columns, and the next
piece needs to know three arrays. The eight days of the sample in ``data/`` are one piece.

A last day is complete only where something is known to come after it, so the first uplink and the
first poll after the last midnight are generated, too.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dii.telemetry.readers.fields import payload_hash
from dii.telemetry.synthetic._network import SNAPSHOT, WORLD, Region, network
from dii.telemetry.synthetic._traffic import Flags, Ints, generator, populate
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


@dataclass(frozen=True, slots=True)
class Size:
    """A network to generate.

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
    single
        Whether all days lie in one piece, the registry is of their end, and statuses are a plain
        table. Else each day is a piece, the registry is of the day before, and statuses are polls
        of the NOC's cumulative counters.
    regions
        Areas in which gateways stand.
    """

    gateways: int
    days: int
    start: int
    active: float
    top: float
    polls: int
    single: bool
    regions: tuple[Region, ...] = WORLD


SIZES: Final[Mapping[str, Size]] = {
    "sample": Size(
        gateways=48,
        days=8,
        start=1_740_960_000 * SECOND,  # 2025-03-03T00:00:00Z, a Monday
        active=0.75,
        top=0.74,  # most carry traffic, but none much: the files have to stay small
        polls=8,
        single=True,
        regions=(Region("nl", 1, 51.96, 4.30, 52.07, 4.48),),
    ),
    "ttn2018": Size(5_803, 1, (SNAPSHOT // DAY + 1) * DAY, 0.5, 1.0, 24, single=False),
}
"""The sample in ``data/``, and The Things Network of April 2018."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some days of a network.

    Attributes
    ----------
    day
        Number of its first day, from 0.
    receptions, statuses
        Tables as ``schema`` says, in the order of time; hidden receptions name no gateway.
    roles
        Ids of the gateways that are ``out`` for a time; ``deaf`` from some time on; ``forwarded``
        by Packet Broker, which names them; listed ``twice``; ``adrift``: the clock says 1970.
    """

    day: int
    receptions: pa.Table
    statuses: pa.Table
    roles: Mapping[str, tuple[str, ...]]


def generate(
    size: Size, seed: int = 7, days: int | None = None
) -> tuple[pa.Table, Iterator[Piece]]:
    """Generate a network.

    Parameters
    ----------
    size
        One of ``SIZES``, or any other.
    seed
        Equal size, seed and days give equal tables on every machine.
    days
        Number of days, instead of the size's own.

    Returns
    -------
    registry, pieces
        A table as ``schema.GATEWAYS`` says; pieces in the order of their days.
    """
    size = dataclasses.replace(size, days=days or size.days)
    end = size.start + size.days * DAY
    snapshot = end - 60 * SECOND if size.single else SNAPSHOT
    registry = network(size.gateways, seed, regions=size.regions, snapshot=snapshot)
    pieces = _pieces(size, seed, registry)
    if not size.single:
        return registry, pieces
    (piece,) = pieces
    statuses = piece.statuses.filter(pc.field("time") < end)
    return _seen_last(registry, statuses, size.days), iter([piece])


def _seen_last(registry: pa.Table, statuses: pa.Table, days: int) -> pa.Table:
    """Set ``last_seen`` to the last status, or move it before all statuses."""
    seen = dict(zip(statuses["gateway"].to_pylist(), statuses["time"].to_pylist()))
    times = [
        time and seen.get(gateway, time - days * DAY)
        for gateway, time in zip(registry["gateway"].to_pylist(), registry["last_seen"].to_pylist())
    ]
    return with_column(registry, "last_seen", pa.array(times, pa.int64()))


def payload(device: str, f_cnt: int, size: int) -> bytes:
    """Return the payload of a frame."""
    return hashlib.sha512(f"{device} {f_cnt}".encode()).digest()[:size]


def frame_starts(receptions: pa.Table) -> Ints:
    """Return the numbers of the first rows of frames; the rows of a frame stand together."""
    device = pc.dictionary_encode(receptions["device"].combine_chunks()).indices.to_numpy()
    time = receptions["time"].to_numpy()
    return np.flatnonzero(np.diff(time, prepend=-1) | np.diff(device, prepend=-1))


def _pieces(size: Size, seed: int, registry: pa.Table) -> Iterator[Piece]:
    """Yield the days of a network."""
    population = populate(registry, seed, size.active, size.top)
    named = set(registry.filter(registry["operator"].is_valid())["gateway"].to_pylist())
    names, count = population.gateways.to_pylist(), len(population.gateways)
    poll, polls = DAY // size.polls, size.days * size.polls
    step = size.days if size.single else 1
    left = np.zeros(count, np.int64)  # frames since each gateway's last poll
    for first in range(0, size.days, step):
        where = () if size.single else (size.start // DAY + first,)
        rng = generator(seed, STREAM, *where)
        days = [population.day(size.start + day * DAY) for day in range(first, first + step)]
        final = first + step == size.days
        if final:
            after = population.day(size.start + size.days * DAY)
            days.append(after.slice(0, [*frame_starts(after), len(after)][1]))  # its first frame
        heard = pa.concat_tables(days)
        gate = pc.index_in(heard["gateway"], population.gateways).to_numpy()
        if first == 0:
            # Roles go to gateways in the order of their traffic, so that each role shows.
            busy = np.bincount(gate, minlength=count)
            order = np.array(sorted(range(count), key=lambda n: (-busy[n], names[n])), np.int64)
            rank = np.argsort(order)
            roles = _roles([n for n in order.tolist() if names[n] in named and ":" not in names[n]])
            silent = np.zeros((2, count), np.int64)  # polls from which, and until which
            for turn, g in enumerate(roles["out"]):
                begin, end = int(polls * _OUT_FROM), int(polls * _OUT_UNTIL)
                later = _LATER * turn % (polls - end + 1)
                silent[:, g] = begin + later, end + later
            for g in roles["deaf"]:
                silent[:, g] = int(polls * _DEAF_FROM), polls + 1
            deaf = np.isin(np.arange(count), roles["deaf"])
            mute = rank >= count - max(1, count // _EACH)
            # Each gateway answers within the last three minutes of a poll, so that its last answer
            # of a day falls into the day's last slot.
            early = np.floor(1 + 170 * rng.random(count)).astype(np.int64)[rank] * SECOND

        asks = (heard["time"].to_numpy() - size.start + early[gate]) // poll
        keep = (asks < silent[0, gate]) | (asks >= silent[1, gate])
        heard, gate, asks = heard.filter(pa.array(keep)), gate[keep], asks[keep]
        asked = np.arange(first * size.polls, (first + step) * size.polls + final)
        turn = np.minimum(asks - asked[0], len(asked))
        frames = np.bincount(turn * count + gate, minlength=(len(asked) + 1) * count)
        frames = frames.reshape(len(asked) + 1, count)
        frames[0] += left
        left = frames[-1].copy()
        quiet = (asked[:, None] >= silent[0]) & (asked[:, None] < silent[1])
        drawn = rng.random((step * size.polls, count))[:, rank]
        foreign = np.pad(np.floor(9 * drawn**2).astype(np.int64), ((0, int(final)), (0, 0)))
        frames = frames[:-1] + np.where(quiet, 0, foreign)
        row, answering = np.nonzero(~quiet | deaf)
        time = size.start + (asked[row] + 1) * poll - early[answering]
        covers = np.minimum(poll, time - size.start)  # nothing before the first day
        statuses = pa.table(
            [
                time,
                population.gateways.take(pa.array(answering)),
                covers,
                pa.array(frames[row, answering], mask=mute[answering]),
                pa.nulls(len(answering), pa.string()),
            ],
            schema=SCHEMAS["statuses"],
        ).sort_by([("time", "ascending"), ("gateway", "ascending")])
        yield Piece(
            day=first,
            receptions=_received(
                heard,
                rank[gate],
                np.isin(gate, roles["adrift"]),
                np.isin(gate, roles["forwarded"]),
                size.start,
                rng,
            ),
            statuses=statuses,
            roles={role: tuple(names[n] for n in members) for role, members in roles.items()},
        )


def _roles(candidates: list[int]) -> dict[str, list[int]]:
    """Deal roles: to the first of the candidates, and to others as far apart as roles are rare."""
    each = max(1, len(candidates) // _EACH)
    apart = max(len(_ROLES), len(candidates) // each)
    roles = {role: candidates[k::apart][:each] for k, role in enumerate(_ROLES)}
    roles["twice"] = roles["twice"][: 1 + len(candidates) // 1_000]
    return roles


def _received(
    heard: pa.Table,
    rank: Ints,
    adrift: Flags,
    forwarded: Flags,
    start: int,
    rng: np.random.Generator,
) -> pa.Table:
    """Return receptions with payloads and times of the gateways' clocks, some without gateway."""
    starts = frame_starts(heard)
    frames = heard.take(pa.array(starts)).select(["device", "f_cnt", "size"])
    hashes = [
        payload_hash(payload(*frame)) for frame in zip(*(c.to_pylist() for c in frames.columns))
    ]
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
