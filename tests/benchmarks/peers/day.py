"""All metrics of a day by hand. Arguments: duckdb or pandas, a folder of Parquet files, the day.

The folder holds ``receptions``, ``statuses`` and ``gateways`` (gateway, operator). Prints rows,
seconds, CPU seconds, MB, and the sum of each metric, as the benchmark does for ``dii``. The day is
alone: no gateway counts as deaf, and no frame is repeated.
"""

import os
import resource
import sys
import time

from memory import peak_mb

MEMORY = 14 << 30
SECOND = 1_000_000
DAY, SLOT, WINDOW = 86_400 * SECOND, 300 * SECOND, 60 * SECOND
UNIT = 720_720
SLICE_ROWS = 1_000_000


def in_duckdb(folder, start):
    import duckdb

    base = duckdb.connect(config={"threads": os.cpu_count(), "preserve_insertion_order": False})
    run = base.execute
    run(f"""
CREATE TABLE gates AS
SELECT gateway, row_number() OVER (ORDER BY gateway) AS gate, operator AS op
FROM '{folder}/gateways.parquet'""")
    run(
        "CREATE TABLE counts (gate BIGINT, receptions BIGINT, uplinks BIGINT, sole BIGINT,"
        " shapley BIGINT, airtime BIGINT, data BIGINT, strangers BIGINT)"
    )
    run("CREATE TABLE slots (gate BIGINT, slot BIGINT)")
    (rows,) = run(f"SELECT count(*) FROM '{folder}/receptions.parquet'").fetchone()
    step = max(1, DAY * SLICE_ROWS // rows // SLOT) * SLOT
    for begin in range(start, start + DAY, step):
        end = min(begin + step, start + DAY)
        run(f"""
CREATE OR REPLACE TEMP TABLE r AS
SELECT gate, op, device, f_cnt, payload_hash, time, kind = 'data' AND delivered AS delivered,
       "foreign" AS stranger, airtime, size
FROM '{folder}/receptions.parquet' JOIN gates USING (gateway)
WHERE time >= {begin - WINDOW} AND time < {end + WINDOW} AND kind <> 'downlink'""")
        run(f"""
CREATE OR REPLACE TEMP TABLE f AS
SELECT row_number() OVER () AS frame, device, f_cnt, payload_hash, bool_or(delivered) AS delivered,
       bool_or(stranger) AS stranger, (max(airtime) + 9999) // 10000 AS airtime,
       (greatest(max(size), 1) + 23) // 24 AS data
FROM r GROUP BY device, f_cnt, payload_hash HAVING min(time) >= {begin} AND min(time) < {end}""")
        run("""
CREATE OR REPLACE TEMP TABLE p AS
SELECT DISTINCT frame, op, gate
FROM r JOIN f ON r.device = f.device AND r.f_cnt = f.f_cnt AND r.payload_hash = f.payload_hash""")
        run("""
CREATE OR REPLACE TEMP TABLE m AS
SELECT frame, op, count(*) AS members, min(gate) AS low FROM p GROUP BY frame, op""")
        run(f"""
INSERT INTO counts
SELECT gate, count(*), count(*) FILTER (delivered),
       count(*) FILTER (delivered AND players = 1 AND members = 1),
       sum(CASE WHEN gate = low THEN part - (members - 1) * (part // members)
                ELSE part // members END) FILTER (delivered),
       sum(airtime) FILTER (delivered), sum(data) FILTER (delivered), count(*) FILTER (stranger)
FROM p JOIN m USING (frame, op)
JOIN (SELECT frame, count(*) AS players, {UNIT} // count(*) AS part FROM m GROUP BY frame)
     USING (frame)
JOIN f USING (frame)
GROUP BY gate""")
        run(f"""
INSERT INTO slots
SELECT DISTINCT gate, (time - {start}) // {SLOT} FROM r WHERE time >= {begin} AND time < {end}""")
    run(f"""
INSERT INTO slots
SELECT gate, unnest(range(greatest(time - covers + 1 - {start}, 0) // {SLOT},
                          least(time - {start}, {DAY} - 1) // {SLOT} + 1))
FROM '{folder}/statuses.parquet' JOIN gates USING (gateway)""")
    run(f"""
CREATE TABLE metrics AS
SELECT gateway, connected * 1000000 // {DAY // SLOT} AS connected, counts.*
FROM gates JOIN (SELECT gate, count(DISTINCT slot) AS connected FROM slots GROUP BY gate)
     USING (gate)
JOIN (SELECT gate, sum(receptions) AS receptions, sum(uplinks) AS uplinks, sum(sole) AS sole,
             sum(shapley) AS shapley, sum(airtime) AS airtime, sum(data) AS data,
             sum(strangers) AS strangers
      FROM counts GROUP BY gate) counts USING (gate)""")
    sums = run("""
SELECT sum(connected), sum(connected), sum(receptions), sum(uplinks), sum(sole), sum(shapley),
       sum(airtime), sum(data), sum(strangers) FROM metrics""").fetchone()
    return rows, [int(value) for value in sums]


def in_pandas(folder, start):
    import numpy as np
    import pandas as pd
    import pyarrow.parquet as pq

    columns = [
        *("gateway", "device", "f_cnt", "payload_hash", "time", "kind", "delivered", "foreign"),
        *("airtime", "size"),
    ]
    # Texts as categories: as texts they would take several times the memory.
    coded = ["gateway", "device", "kind"]
    r = pq.read_table(
        f"{folder}/receptions.parquet", columns=columns, read_dictionary=coded
    ).unify_dictionaries()
    r = r.to_pandas(split_blocks=True, self_destruct=True)
    rows = len(r)
    gates = pd.read_parquet(f"{folder}/gateways.parquet").sort_values("gateway", ignore_index=True)
    gate_of = pd.Series(gates.index, index=gates["gateway"])
    r["gate"] = gate_of.reindex(r["gateway"].cat.categories).to_numpy()[r["gateway"].cat.codes]
    r["slot"] = (r["time"] - start) // SLOT
    heard = r[["gate", "slot"]].drop_duplicates()
    r["delivered"] &= r["kind"] == "data"
    key = ["device", "f_cnt", "payload_hash"]
    r["frame"] = r.groupby(key, sort=False, observed=True).ngroup()
    frames = r.groupby("frame")[["delivered", "foreign", "airtime", "size"]].max()
    parts = r[["frame", "gate"]].drop_duplicates()
    del r
    parts["op"] = gates["operator"].to_numpy()[parts["gate"]]
    members = parts.groupby(["frame", "op"])["gate"].agg(["size", "min"]).reset_index()
    parts = parts.merge(members, on=["frame", "op"])
    players = members.groupby("frame").size().to_numpy()[parts["frame"]]
    part, each = UNIT // players, UNIT // players // parts["size"]
    share = np.where(parts["gate"] == parts["min"], part - (parts["size"] - 1) * each, each)
    of = frames.iloc[parts["frame"]].reset_index(drop=True)
    delivered = of["delivered"].to_numpy()
    counts = pd.DataFrame(
        {
            "receptions": 1,
            "uplinks": delivered,
            "sole": delivered & (players == 1) & (parts["size"] == 1),
            "shapley": np.where(delivered, share, 0),
            "airtime": np.where(delivered, (of["airtime"] + 9999) // 10000, 0),
            "data": np.where(delivered, (of["size"].clip(1) + 23) // 24, 0),
            "strangers": of["foreign"],
        }
    )
    found = counts.groupby(parts["gate"].to_numpy()).sum()
    statuses = pd.read_parquet(f"{folder}/statuses.parquet")
    low = ((statuses["time"] - statuses["covers"] + 1 - start).clip(0) // SLOT).to_numpy()
    high = (statuses["time"] - start).clip(upper=DAY - 1).to_numpy() // SLOT
    lengths = high - low + 1
    watched = pd.DataFrame(
        {
            "gate": np.repeat(gate_of[statuses["gateway"]].to_numpy(), lengths),
            "slot": np.repeat(low, lengths)
            + np.arange(lengths.sum())
            - np.repeat(np.cumsum(lengths) - lengths, lengths),
        }
    )
    slots = pd.concat([heard, watched]).drop_duplicates().groupby("gate").size()
    connected = int((slots * 1_000_000 // (DAY // SLOT)).sum())
    return rows, [connected, connected, *(int(value) for value in found.sum())]


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))  # the machine is not ours alone
    begin = time.perf_counter()
    try:
        rows, sums = {"duckdb": in_duckdb, "pandas": in_pandas}[sys.argv[1]](
            sys.argv[2], int(sys.argv[3])
        )
    except MemoryError:
        print(f"more than {MEMORY >> 30} GB")
        sys.exit()
    seconds, used = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_SELF)
    print(rows, seconds, used.ru_utime + used.ru_stime, peak_mb(), *sums)
