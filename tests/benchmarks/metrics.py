"""All metrics of a day of receptions: seconds, receptions per second, memory.

Arguments: numbers of receptions, by default 5,000,000 (the design speaks of 50,000,000). 5,000
gateways hear each uplink two or three times, report their status each hour, and belong to 3,000
operators. Receptions lie in a Parquet file and are read from there. Beside it, in the same
database engine and from the same file, stands what a plain count costs.
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
import pyarrow.parquet as pq

from dii.units import DAY, SECOND
from tests.benchmarks.report import show

START = 17_642 * DAY
GATEWAYS, OPERATORS, DEVICES = 5_000, 3_000, 100_000
APPLICATIONS = 2_000
PEER = "a plain count and sum"
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


def measure(path: Path, what: str) -> None:
    """Print rows, seconds and MB of one way of counting; in a process of its own, for the MB."""
    import duckdb
    import pyarrow.dataset as pads

    from dii.telemetry.metrics import metrics
    from dii.telemetry.schema import METRICS, USAGE_GIVEN

    rows = pq.ParquetFile(path).metadata.num_rows
    hours = [START + 3600 * SECOND * hour for hour in range(1, 25)]
    names = [name(number) for number in range(GATEWAYS)]
    statuses = pa.table(
        {
            "time": hours * GATEWAYS,
            "gateway": [gateway for gateway in names for _ in hours],
            "covers": pa.array([3600 * SECOND] * GATEWAYS * len(hours)),
            "frames": pa.nulls(GATEWAYS * len(hours), pa.int64()),
        }
    )
    begin = time.perf_counter()
    if what != PEER:
        epoch = metrics(
            pads.dataset(path),
            statuses,
            operators={gateway: str(number % OPERATORS) for number, gateway in enumerate(names)},
            gateways=names,
            start=START,
            length=DAY,
            gives=frozenset(METRICS) | (USAGE_GIVEN.keys() if what == "with usage" else set()),
        )
        assert len(epoch.metrics) == GATEWAYS
    else:
        count = f"SELECT gateway, COUNT(*), SUM(airtime) FROM '{path}' GROUP BY gateway"
        assert len(duckdb.connect().execute(count).fetchall()) == GATEWAYS
    seconds = time.perf_counter() - begin
    print(rows, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


def main(*numbers: int) -> None:
    """Print the table."""
    rows = []
    for receptions in numbers or (5_000_000,):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "receptions.parquet"
            write(path, receptions)
            for what in ("metrics", "with usage", PEER):
                command = [sys.executable, "-m", __spec__.name, "--measure", str(path), what]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                count, seconds, memory = (float(word) for word in done.stdout.split())
                rate = f"{count / seconds:12,.0f}/s {memory:7,.0f} MB"
                rows.append((f"{count:,.0f} receptions, {what}", f"{seconds:7.2f} s {rate}"))
    show("Metrics of a day", rows)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(Path(sys.argv[2]), sys.argv[3])
    else:
        main(*(int(float(number)) for number in sys.argv[1:]))
