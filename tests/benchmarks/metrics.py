"""All metrics of a day of receptions: seconds, CPU seconds, receptions per second, memory.

Arguments: numbers of receptions, by default 5,000,000 and 50,000,000 (``python -m
tests.benchmarks.metrics 1e6`` is a minute's work). 5,000 gateways hear each uplink two or three
times, report their status each hour, and belong to 3,000 operators. Receptions are read from a
Parquet file. For comparison, SQL and pandas by hand compute the same sums from the same files
(``peers/day.py``), and a plain count is timed. Each runs in a process of its own, with its own peak
of memory. Compare CPU seconds on a machine that others use, too.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dii.units import DAY, SECOND
from tests.benchmarks.peers.memory import peak_mb
from tests.benchmarks.report import peer, show

START = 17_642 * DAY
GATEWAYS, OPERATORS, DEVICES = 5_000, 3_000, 100_000
APPLICATIONS = 2_000
OURS = ("metrics", "with usage")
BY_HAND = ("duckdb", "pandas")
COUNT = "a plain count and sum"
SUMS = (
    *("connected_ppm", "online_ppm", "receptions", "uplinks", "sole_uplinks", "shapley_uplinks"),
    *("uplink_units", "data_units", "foreign_frames"),
)
"""The metrics that are not 0 throughout, in the order in which peers print them."""
PIECE = 1_000_000
"""Uplinks generated at a time."""


def name(number: int) -> str:
    return f"{0xB827EB0000000000 + 977 * number:016X}"


def write(path: Path, receptions: int) -> None:
    """Write receptions in the order of time, in pieces of the day."""
    random = np.random.default_rng(7)
    devices = pa.array([f"{0x70B3D57ED0000000 + number:016X}" for number in range(DEVICES)])
    applications = pa.array([f"application-{number}" for number in range(APPLICATIONS)])
    gateways = pa.array([name(number) for number in range(GATEWAYS)])
    counters = np.zeros(DEVICES, np.int64)
    pieces = -(-receptions // PIECE // 2)
    writer = None
    for piece in range(pieces):
        count = receptions * (piece + 1) // pieces - receptions * piece // pieces
        uplinks = int(count / 2.5)
        begin, end = (START + DAY * edge // pieces for edge in (piece, piece + 1))
        sent = np.sort(random.integers(begin, end, uplinks))
        device = random.integers(0, DEVICES, uplinks)
        order = np.argsort(device, kind="stable")
        sizes = np.bincount(device, minlength=DEVICES)
        counter = np.empty(uplinks, np.int64)
        counter[order] = np.arange(uplinks) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        counter += counters[device]
        counters += sizes
        uplink = np.repeat(np.arange(uplinks), random.integers(2, 4, uplinks))
        near = 7919 * device[uplink] + 31 * random.integers(0, 12, len(uplink))
        table = pa.table(
            {
                "time": sent[uplink],
                "gateway": gateways.take(pa.array(near % GATEWAYS)),
                "kind": pa.array(["data"]).take(pa.array(np.zeros(len(uplink), np.int8))),
                "deduplication_id": pa.nulls(len(uplink), pa.string()),
                "device": devices.take(pa.array(device[uplink])),
                "application": applications.take(pa.array(device[uplink] % APPLICATIONS)),
                "f_cnt": counter[uplink],
                "payload_hash": random.integers(-(2**63), 2**63 - 1, uplinks)[uplink],
                "size": random.integers(0, 222, uplinks)[uplink],
                "airtime": random.integers(40_000, 1_500_000, uplinks)[uplink],
                "delivered": (random.random(uplinks) < 0.9)[uplink],
                "foreign": (random.random(uplinks) < 0.1)[uplink],
            }
        )
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table, row_group_size=1 << 17)
    assert writer is not None
    writer.close()


def write_others(folder: Path) -> None:
    """Write statuses of every hour, and the operators of the gateways."""
    hours = [START + 3600 * SECOND * hour for hour in range(1, 25)]
    names = [name(number) for number in range(GATEWAYS)]
    statuses = {
        "time": hours * GATEWAYS,
        "gateway": [gateway for gateway in names for _ in hours],
        "covers": pa.array([3600 * SECOND] * GATEWAYS * len(hours)),
        "frames": pa.nulls(GATEWAYS * len(hours), pa.int64()),
    }
    operators = {"gateway": names, "operator": [number % OPERATORS for number in range(GATEWAYS)]}
    for what, columns in (("statuses", statuses), ("gateways", operators)):
        pq.write_table(pa.table(columns), folder / f"{what}.parquet")


def measure(folder: Path, what: str) -> None:
    """Print time, memory and sums of one way of counting, in a process of its own."""
    import duckdb
    import pyarrow.dataset as pads

    from dii.schema import METRICS, USAGE_GIVEN
    from dii.telemetry.metrics import metrics

    path = folder / "receptions.parquet"
    rows = pq.ParquetFile(path).metadata.num_rows
    gateways = pq.read_table(folder / "gateways.parquet")
    statuses = pq.read_table(folder / "statuses.parquet")
    begin, sums = time.perf_counter(), []
    if what == COUNT:
        count = f"SELECT gateway, COUNT(*), SUM(airtime) FROM '{path}' GROUP BY gateway"
        assert len(duckdb.connect().execute(count).fetchall()) == GATEWAYS
    else:
        names = gateways["gateway"].to_pylist()
        epoch = metrics(
            pads.dataset(path),
            statuses,
            operators=dict(zip(names, map(str, gateways["operator"].to_pylist()))),
            gateways=names,
            start=START,
            length=DAY,
            gives=frozenset(METRICS) | (USAGE_GIVEN.keys() if what == OURS[1] else set()),
        )
        sums = [pc.sum(epoch.metrics[metric]).as_py() for metric in SUMS]
    seconds, used = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_SELF)
    print(rows, seconds, used.ru_utime + used.ru_stime, peak_mb(), *sums)


def main(*numbers: int) -> None:
    """Print the table."""
    rows = []
    for receptions in numbers or (5_000_000, 50_000_000):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write(folder / "receptions.parquet", receptions)
            write_others(folder)
            mine = ""
            for what in (*OURS, *BY_HAND, COUNT):
                if what in BY_HAND:
                    found = peer("day.py", what, name, str(START))
                else:
                    command = [sys.executable, "-m", "tests.benchmarks.metrics", "--measure"]
                    found = subprocess.check_output([*command, name, what], text=True)
                row = f"{receptions:,} receptions, {what}" + " by hand" * (what in BY_HAND)
                rows.append((row, shown(found, mine if what in BY_HAND else "")))
                mine = mine or found
    show("Metrics of a day", rows)


def shown(found: str, expected: str) -> str:
    """Return the measurements as text, and whether the sums are as expected."""
    words = found.split()
    if not words[0].isdecimal():
        return found
    count, seconds, processor, memory = map(float, words[:4])
    text = f"{seconds:7.2f} s {processor:7.2f} CPU s {count / seconds:12,.0f}/s {memory:7,.0f} MB"
    return text + "  other sums!" * (bool(expected) and words[4:] != expected.split()[4:])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(Path(sys.argv[2]), sys.argv[3])
    else:
        main(*(int(float(number)) for number in sys.argv[1:]))
