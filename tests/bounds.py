"""Work and memory for a file, bounded by its bytes, whatever the file states.

Each file is loaded in a process of its own, which reports the growth of its memory and its time.
Processor time is no exact measure, so its bound is generous: the faults that these tests look for
took a thousand times as much. A few files of each format are tried here, many more in ``make
soak``.
"""

from __future__ import annotations

import gzip
import io
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.soak.mutation import mutate

MEMORY = 300 << 20, 256
"""Bytes at most: for any file, and for each of its bytes."""
SECONDS = 5.0, 60e-6
"""Seconds of the processor at most, in the same way."""

WORKER = """
import os, resource, sys, time
from dii.errors import TelemetryError
from dii.telemetry.load import load

for path in sys.stdin.read().split("\\0"):
    if os.fork():
        os.wait()
        continue
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    resource.setrlimit(resource.RLIMIT_CPU, (100, 100))
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    said = "loaded"
    try:
        load(path)
    except TelemetryError as error:
        said = type(error).__name__
    except BaseException as error:
        said = f"defect {error!r:.200}"
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = time.process_time() - start
    print(path, (after - before) << 10, seconds, said.replace(chr(10), " "), sep="\\t", flush=True)
    os._exit(0)
"""


def check(folder: Path, files: dict[str, bytes]) -> None:
    """Load files, each within the bounds and with an error of ours at most."""
    paths = {str(folder / name): content for name, content in files.items()}
    for path, content in paths.items():
        Path(path).write_bytes(content)
    command = [sys.executable, "-c", WORKER]
    done = subprocess.run(command, input="\0".join(paths), capture_output=True, text=True)
    assert not done.returncode, done.stderr
    told = {path: rest for path, *rest in (row.split("\t") for row in done.stdout.splitlines())}
    assert told.keys() == paths.keys(), done.stderr  # a process that was killed says nothing
    for path, (memory, seconds, said) in told.items():
        size = len(paths[path])
        what = f"{path}, {size:,} bytes: {int(memory) >> 20} MiB, {seconds} s, {said}"
        assert not said.startswith("defect"), what
        assert int(memory) <= MEMORY[0] + MEMORY[1] * size, what
        assert float(seconds) <= SECONDS[0] + SECONDS[1] * size, what


# --- a file of each format -----------------------------------------------------------------------

AT = "2025-03-03T06:00:00Z"
IDS = {"gateway_ids": {"gateway_id": "roof", "eui": "AA555A0000000001"}}
PLACE = {"latitude": 52.0, "longitude": 5.0, "altitude": 3}
HEARD = [{**IDS, "rssi": -100, "snr": 5.5, "time": AT, "location": PLACE}]
FRAME = "QAEACyYABwABcGF5bG9hZE1JQyE="
KIND = "type.googleapis.com/ttn.lorawan.v3."
RECORDS: dict[str, Any] = {
    "ttn-registry": {"roof": {"id": "roof", "owner": "ann", "owners": ["ann"], "location": PLACE}},
    "packet-broker-mapper": [{"netID": "000013", "tenantID": "ttn", "id": "roof", "online": True,
                              "updatedAt": AT, "rxRate": 5.0, "location": PLACE}],
    "ttn-v2-noc": {"statuses": {"roof": {"timestamp": AT, "rx_ok": 7, "location": PLACE}}},
    "things-stack-v3": {"end_device_ids": {"dev_eui": "0004A30B00000002"}, "received_at": AT,
                        "uplink_message": {"f_cnt": 1, "frm_payload": "AQI=",
                                           "rx_metadata": HEARD}},
    "things-stack-v3-events": {"name": "gs.up.receive", "time": AT, "identifiers": [IDS],
                               "data": {"@type": KIND + "UplinkMessage", "raw_payload": FRAME,
                                        "rx_metadata": HEARD}},
    "things-stack-v3-connections": {"time": AT, "entries": {
        "roof": {"connected_at": AT, "last_uplink_received_at": AT, "uplink_count": "5"}}},
    "ttn-v2": {"dev_id": "d", "app_id": "a", "counter": 1, "payload_raw": "AQI=",
               "metadata": {"time": AT, "gateways": [{"gtw_id": "roof", "rssi": -100}]}},
    "chirpstack-v3": {"devEUI": "0004a30b00000002", "fCnt": 1, "data": "AQI=", "publishedAt": AT,
                      "rxInfo": [{"gatewayID": "b827ebfffe000001", "rssi": -70}]},
    "chirpstack-v4": {"deviceInfo": {"devEui": "0004a30b00000002"}, "fCnt": 1, "data": "AQI=",
                      "rxInfo": [{"gatewayId": "b827ebfffe000001", "nsTime": AT, "rssi": -70}]},
    "semtech-udp": {"gateway": "roof", "received_at": AT, "stat": {"rxok": 1},
                    "rxpk": [{"data": FRAME, "datr": "SF7BW125", "rssi": -35, "stat": 1}]},
}  # fmt: skip
TABLES = {
    "ttn-gateway-collector": (
        f"time,gateway,raw_payload,dev_addr,fcnt,rssi,snr,sf\n{AT},roof,{FRAME},a,1,-9,5,7\n"
    ),
    "ttn-v2-noc-counters": f"device_id,last_online,rx_ok,measured_at\nroof,{AT},7,{AT}\n",
    "gateways": "gateway,operator,latitude,longitude\nroof,ann,52.0,5.0\n",
    "receptions": f"time,gateway,device,f_cnt,rssi\n{AT},roof,D,1,-100\n",
    "statuses": f"time,gateway,covers,frames\n{AT},roof,1000,3\n",
}
FORMS = {name: json.dumps(record).encode() + b"\n" for name, record in RECORDS.items()}
FORMS |= {name: text.encode() for name, text in TABLES.items()}
SIZE = 1 << 15


def amplified(name: str, content: bytes, draw: random.Random) -> Iterator[bytes]:
    """Yield files of a format in which an element is repeated as often as fits."""
    *head, last = content.splitlines(keepends=True)
    short = draw.choice([b"0", b"{}", b"[]", b"a", b",", b"-", b'""', b"\xff", b"{", b'{"a":1}'])
    yield content + (short + b"\n") * (SIZE // (len(short) + 1))
    yield content * max(1, SIZE // len(content))
    yield b"".join(head) + last * max(1, SIZE // len(last))
    if name not in RECORDS:
        yield content.replace(b"\n", b"," * (SIZE // 4) + b"\n")
        wide = b"".join(b",a%d" % number for number in range(900))
        yield (
            head[0].rstrip() + wide + b"\n" + (last.rstrip() + b"," * 900 + b"\n") * (SIZE // 1000)
        )
        return
    fill = ",".join([draw.choice(["0", "{}", "[]", "null", '""', '{"a":0}', "[[]]"])] * (SIZE // 4))
    keyed = ",".join(
        f'"{number:x}":{draw.choice(["0", "{}", "[]"])}' for number in range(SIZE // 12)
    )
    text = content.decode()
    places = [at for at, mark in enumerate(text) if mark in "[{"]
    for at in draw.sample(places, min(3, len(places))):
        inside = fill if text[at] == "[" else keyed
        comma = "" if text[at + 1] in "]}" else ","
        yield (text[: at + 1] + inside + comma + text[at + 1 :]).encode()
    deep = draw.choice(["[", '{"a":'])
    yield text.replace(f'"{AT}"', deep * (SIZE // len(deep)), 1).encode()


def drawn(name: str, draw: random.Random) -> dict[str, bytes]:
    """Return amplified files of a format, repeated and compressed ones, and mutated ones."""
    files = {}
    for number, content in enumerate(amplified(name, FORMS[name], draw)):
        files[f"{name}-{number}"] = content
        again = content * draw.choice([20, 200])
        files[f"{name}-{number}-again.gz"] = gzip.compress(again[: 4 << 20], mtime=0)
        form = "json" if name in RECORDS else "text"
        files[f"{name}-{number}-mutated"] = mutate(content, FORMS[name], form, draw)[: 2 * SIZE]
    return files


# --- Parquet -------------------------------------------------------------------------------------


def parquet(columns: dict[str, Any], **options: Any) -> bytes:
    stream = io.BytesIO()
    pq.write_table(
        pa.table(columns), stream, **{"compression": "zstd", "store_schema": False, **options}
    )
    return stream.getvalue()


def lying(draw: random.Random, mutations: int) -> dict[str, bytes]:
    """Return Parquet files that expand, and some in which bytes are changed."""
    some, many, long = 50_000, 5_000_000, "a" * 4_000_000
    time = pa.repeat(1_740_981_600_000_000, some)
    ones = pa.array([0] * some, pa.int32())
    texts = pa.DictionaryArray.from_arrays(ones, pa.array([long]))
    every = ["gateway", "device", "application", "deduplication_id", "kind"]
    whole = parquet({"time": time, **dict.fromkeys(every, texts)})
    files = {
        "rows": parquet({"time": pa.repeat(1, many), "gateway": pa.repeat("roof", many)}),
        "texts": whole,
        "times": parquet({"time": texts, "gateway": pa.repeat("roof", some)}),
        "page": parquet(
            {"time": pa.repeat(1, 9), "gateway": pa.array(["a" * (20 << 20)] * 9)},
            use_dictionary=False,
        ),
        "deltas": parquet(
            {"time": pa.repeat(1, 50), "gateway": pa.array([long] * 50)},
            use_dictionary=False,
            column_encoding={"gateway": "DELTA_BYTE_ARRAY", "time": "PLAIN"},
        ),
        "lists": parquet(
            {"time": pa.array([[1] * 50_000] * 9), "gateway": pa.array([["a"] * 9_000] * 9)}
        ),
        "columns": parquet({"gateway": ["a"], **{f"a{n}": [1] for n in range(3_000)}}),
        "groups": parquet(
            {"time": pa.repeat(1, 3_000), "gateway": ["a"] * 3_000}, row_group_size=1
        ),
    }
    for number in range(mutations):
        content = bytearray(whole)
        for _ in range(draw.choice([1, 2, 8])):
            content[draw.randrange(4, len(content))] = draw.randrange(256)
        files[f"mutated-{number}"] = bytes(content)
    return files
