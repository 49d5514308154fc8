"""SQL statements that compute the metrics; the only module that knows the query engine.

A plan of SELECT statements, each put into a table or view of its name: joins, groups, windows and
casts that every engine reads (``sqlglot`` carries them to Spark). Gateways and statuses, which are
few, are prepared without the engine (`columns`).

**Plain frames.** Most frames have at most three receptions. Grouping receptions by the identity of
their frame tells their gateways: the least, the greatest, and the sum of the numbers less both.
Only other frames are joined with their receptions.

**Tried and left**: windows over all receptions (twice the time of grouping and joining), a day in
one piece (the same work, several times the memory), and finding a repeated frame's windows in
rounds of SQL (quadratic for a device that says the same thing all day; a walk over these few
receptions is linear).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import duckdb
import pyarrow as pa

from dii.schema import SHAPLEY_UNIT, UNATTRIBUTED, USAGE
from dii.units import DAY, PPM, SECOND

WINDOW: Final = 60 * SECOND
"""Time after the first reception of a frame within which receptions are of the same frame."""
BEYOND: Final = 2 * WINDOW
"""Time after an epoch within which receptions can be of its frames, or repeat them."""
SLOT: Final = 300 * SECOND
"""Length of the slots of ``connected_ppm`` and ``online_ppm``."""
DATA_UNIT: Final = 24
"""Bytes of payload in one of ``data_units``."""
ENOUGH: Final = 141
"""Frames in 7 days from which 20 mean intervals (7 days / 140 at most) are within 24 h."""
MEMORY: Final = 7 * DAY
"""Time for which the frames heard by a gateway, and the counter of a device, are remembered."""
MAX_GAP: Final = 16_384
"""Greatest leap of a frame counter within a session (LoRaWAN 1.0.3 regional parameters)."""
EXCLUSIONS: Final = ("simulated", "too_strong")
"""Reasons of rejects that are frames set aside, not records that cannot be read."""


def _floor(dividend: str, divisor: str) -> str:
    """Integer division of what is not negative: engines differ in ``/`` and in ``//``."""
    return f"CAST((({dividend}) - ({dividend}) % ({divisor})) / ({divisor}) AS BIGINT)"


def _slot(time: str) -> str:
    return _floor(f"{time} - $start", str(SLOT))


def _ppm(slots: str) -> str:
    return _floor(f"COALESCE({slots}, 0) * {PPM}", "$slots")


def _units(microseconds: str) -> str:
    return _floor(f"{microseconds} + 9999", "10000")


def _sums(*names: str) -> str:
    return ", ".join(f"CAST(SUM({name}) AS BIGINT) AS {name}" for name in names)


def _zeros(table: str, *names: str) -> str:
    return ", ".join(f"COALESCE({table}.{name}, 0) AS {name}" for name in names)


_USES: Final = _sums(*USAGE)
_HEARD: Final = ("receptions", "uplinks", "sole_uplinks", "shapley_uplinks", "foreign_frames")
_COUNTED: Final = (*_HEARD, "downlinks", "own_uplinks")
TALLIED: Final = (*_COUNTED, "uplink_units", "downlink_units", "data_units", "connected", "online")
"""Columns of ``tallies``: the numbers of a gateway, of which each row has some."""
_EACH: Final = _floor("f.part", "m.members")
_PATIENCE: Final = _floor("20 * (MAX(h.until) - MIN(h.since))", "GREATEST(SUM(h.frames) - 1, 1)")
_SAME: Final = """h.name = k.name AND h.number IS NOT DISTINCT FROM k.number
        AND h.body IS NOT DISTINCT FROM k.body"""
PLAN: Final[Mapping[str, str]] = {
    # Identity of a frame apart from its time: the server's id; or device, counter and hash, where
    # the time replaces unknown values.
    "identified": """
SELECT r.entry, r.time, r.f_cnt, r.airtime, CASE WHEN r.size < 1 THEN 1 ELSE r.size END AS size,
       COALESCE(r.gate, -r.entry) AS gate,
       CASE WHEN kind = 'data' AND delivered THEN 1 ELSE 0 END AS delivered,
       CASE WHEN r."foreign" THEN 1 ELSE 0 END AS stranger, r.app, r.dev,
       COALESCE(deduplication_id, device, '@' || CAST(time AS VARCHAR)) AS name,
       CASE WHEN deduplication_id IS NULL THEN f_cnt END AS number,
       CASE WHEN deduplication_id IS NOT NULL THEN NULL
            WHEN f_cnt IS NULL AND payload_hash IS NULL THEN time
            ELSE payload_hash END AS body
FROM receptions r
WHERE kind <> 'downlink'""",
    # Identity of receptions that repeat each other under different ids of the server, or with and
    # without an id. The line break keeps these names apart from devices.
    "comparable": """
SELECT r.entry, r.time, r.deduplication_id, g.gateway || CHR(10) || r.device AS name,
       s.name || CHR(10) || r.device AS said, r.f_cnt AS number, r.payload_hash AS body
FROM receptions r
JOIN gates g ON r.gate = g.gate
JOIN stated s ON r.stated = s.number
WHERE kind <> 'downlink'
  AND r.device IS NOT NULL AND r.f_cnt IS NOT NULL AND r.payload_hash IS NOT NULL""",
    "witnessed": """
SELECT * FROM comparable WHERE deduplication_id IS NOT NULL""",
    # Receptions without an id near one with an id; those of the slice before have no entry.
    "doubled": f"""
SELECT entry
FROM (SELECT entry, time, deduplication_id,
             MAX(witness) OVER (PARTITION BY name, number, body ORDER BY time
                                RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS before,
             MIN(witness) OVER (PARTITION BY name, number, body ORDER BY time
                                RANGE BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS after
      FROM (SELECT entry, time, deduplication_id, name, number, body,
                   CASE WHEN deduplication_id IS NOT NULL THEN time END AS witness
            FROM comparable
            UNION ALL
            SELECT CAST(NULL AS INTEGER) AS entry, begun AS time, NULL AS deduplication_id,
                   name, number, body, begun AS witness
            FROM begun_before) a) b
WHERE entry IS NOT NULL AND deduplication_id IS NULL
  AND (time <= before + {WINDOW} OR time >= after - {WINDOW})""",
    "copies": """
SELECT k.frame, k.begun, w.time, w.entry
FROM witnessed w
JOIN (SELECT name, number, body, MIN(entry) AS frame, MIN(time) AS begun
      FROM (SELECT name, number, body, entry, time FROM witnessed
            UNION ALL
            SELECT name, number, body, NULL, begun FROM begun_before) a
      GROUP BY name, number, body
      HAVING COUNT(*) > 1 AND COUNT(entry) > 0) k
  ON w.name = k.name AND w.number = k.number AND w.body = k.body
ORDER BY k.frame, w.time, w.deduplication_id, w.entry""",
    # One row for each frame, unless it is heard again after the window or was begun before the
    # slice. The gateways of three receptions are the least, the greatest, and the sum less both.
    "keys": f"""
SELECT name, number, body, frame, begun, ended, low, high, middle, delivered, stranger, units,
       data, app, dev, f_cnt,
       CASE WHEN receptions <= 3 AND ended <= begun + {WINDOW} AND begun >= $begin AND begun < $stop
            THEN 1 ELSE 0 END AS plain
FROM (SELECT name, number, body, MIN(entry) AS frame, MIN(time) AS begun, MAX(time) AS ended,
             COUNT(entry) AS receptions, MIN(gate) AS low, MAX(gate) AS high,
             CASE WHEN COUNT(entry) = 3
                  THEN CAST(SUM(gate) - MIN(gate) - MAX(gate) AS INTEGER) END AS middle,
             MAX(delivered) AS delivered, MAX(stranger) AS stranger,
             {_units("MAX(airtime)")} AS units,
             {_floor(f"MAX(size) + {DATA_UNIT - 1}", str(DATA_UNIT))} AS data,
             MAX(app) AS app, MAX(dev) AS dev, MAX(f_cnt) AS f_cnt
      FROM (SELECT name, number, body, entry, time, gate, delivered, stranger, airtime, size, app,
                   dev, f_cnt
            FROM identified
            UNION ALL
            SELECT name, number, body, NULL, begun, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
            FROM stated_before) a
      GROUP BY name, number, body) k""",
    # Plain frames: their one to three gateways, those of the same player, and their owners.
    "plain": f"""
SELECT delivered, stranger, units, data, app, low, middle, high, low_middle, low_high, middle_high,
       low_owner, middle_owner, high_owner, {_floor(str(SHAPLEY_UNIT), "players")} AS part
FROM (SELECT delivered, stranger, units, data, app, low, middle, high, owner_one AS low_owner,
             CASE WHEN owner_two <> owner_one THEN owner_two END AS middle_owner,
             CASE WHEN owner_three <> owner_one AND owner_three <> owner_two
                  THEN owner_three END AS high_owner,
             CASE WHEN one = two THEN 1 ELSE 0 END AS low_middle,
             CASE WHEN one = three THEN 1 ELSE 0 END AS low_high,
             CASE WHEN two = three THEN 1 ELSE 0 END AS middle_high,
             1 + CASE WHEN middle IS NULL OR one = two OR two = three THEN 0 ELSE 1 END
               + CASE WHEN high IS NULL OR one = three THEN 0 ELSE 1 END AS players
      FROM (SELECT k.delivered, k.stranger, k.units, k.data, k.app, k.low, k.middle, k.high,
                   COALESCE(a.player, k.low) AS one, COALESCE(b.player, k.middle) AS two,
                   COALESCE(c.player, k.high) AS three, COALESCE(a.owner, 0) AS owner_one,
                   COALESCE(b.owner, 0) AS owner_two, COALESCE(c.owner, 0) AS owner_three
            FROM (SELECT delivered, stranger, units, data, app, low,
                         CASE WHEN middle > low AND middle < high THEN middle END AS middle,
                         CASE WHEN high > low THEN high END AS high
                  FROM keys
                  WHERE plain = 1) k
            LEFT JOIN gates a ON k.low = a.gate
            LEFT JOIN gates b ON k.middle = b.gate
            LEFT JOIN gates c ON k.high = c.gate) p) q""",
    # Gateways of plain frames; the lowest gateway of a player gets the remainder of the division.
    "singles": f"""
SELECT low AS gate, low_owner AS owner, delivered, stranger, units, data, app,
       CASE WHEN high IS NULL THEN 1 ELSE 2 END AS receivers,
       part - (low_middle + low_high) * {_floor("part", "1 + low_middle + low_high")} AS share
FROM plain
UNION ALL
SELECT high AS gate, high_owner AS owner, delivered, stranger, units, data, app, 2 AS receivers,
       {_floor("part", "1 + low_high + middle_high")} AS share
FROM plain
WHERE high IS NOT NULL
UNION ALL
SELECT middle AS gate, middle_owner AS owner, delivered, stranger, units, data, app, 2 AS receivers,
       CASE WHEN low_middle = 1 THEN {_floor("part", "2 + middle_high")}
            ELSE part - middle_high * {_floor("part", "1 + middle_high")} END AS share
FROM plain
WHERE middle IS NOT NULL""",
    "repeated": f"""
SELECT k.frame, k.begun, h.time, h.entry
FROM identified h
JOIN keys k ON {_SAME}
WHERE k.ended > k.begun + {WINDOW}
ORDER BY k.frame, h.time, h.entry""",
    # Receptions of other frames that are begun in the slice. Unknown gateways are numbered below 0.
    "heard": f"""
SELECT k.frame, k.begun, h.f_cnt, h.gate, COALESCE(g.player, h.gate) AS player, h.delivered,
       h.stranger, h.airtime, h.size, h.app, h.dev
FROM identified h
JOIN keys k ON {_SAME}
LEFT JOIN gates g ON h.gate = g.gate
WHERE k.ended <= k.begun + {WINDOW} AND k.begun >= $begin AND k.begun < $stop AND k.plain = 0
UNION ALL
SELECT w.frame, w.begun, h.f_cnt, h.gate, COALESCE(g.player, h.gate) AS player, h.delivered,
       h.stranger, h.airtime, h.size, h.app, h.dev
FROM identified h
JOIN walked w ON h.entry = w.entry
LEFT JOIN gates g ON h.gate = g.gate
WHERE w.begun >= $begin AND w.begun < $stop""",
    "begun": f"""
SELECT name, number, body, MAX(begun) AS begun
FROM (SELECT name, number, body, begun FROM stated_before
      UNION ALL
      SELECT name, number, body, begun FROM keys WHERE ended <= begun + {WINDOW}
      UNION ALL
      SELECT h.name, h.number, h.body, w.begun
      FROM identified h
      JOIN walked w ON h.entry = w.entry
      UNION ALL
      SELECT said AS name, number, body, time AS begun FROM witnessed) a
WHERE begun >= $stop - {WINDOW} AND begun < $stop
GROUP BY name, number, body
ORDER BY name, number, body""",
    # Part of a player in a frame; mostly of one gateway.
    "parts": """
SELECT frame, player, MIN(gate) AS low, MAX(gate) AS high,
       MAX(delivered) AS delivered, MAX(stranger) AS stranger,
       MAX(airtime) AS airtime, MAX(size) AS size
FROM heard
GROUP BY frame, player""",
    "frames": f"""
SELECT frame, COUNT(*) AS players, MAX(delivered) AS delivered, MAX(stranger) AS stranger,
       {_floor(str(SHAPLEY_UNIT), "COUNT(*)")} AS part,
       {_units("MAX(airtime)")} AS units,
       {_floor(f"MAX(size) + {DATA_UNIT - 1}", str(DATA_UNIT))} AS data
FROM parts
GROUP BY frame""",
    "counts": f"""
SELECT CASE WHEN gate < 0 THEN 0 ELSE gate END AS gate,
       COUNT(*) AS receptions,
       CAST(SUM(delivered) AS BIGINT) AS uplinks,
       CAST(SUM(CASE WHEN receivers = 1 THEN delivered ELSE 0 END) AS BIGINT) AS sole_uplinks,
       CAST(SUM(CASE WHEN delivered = 1 THEN share ELSE 0 END) AS BIGINT) AS shapley_uplinks,
       CAST(SUM(CASE WHEN delivered = 1 THEN units END) AS BIGINT) AS uplink_units,
       CAST(SUM(CASE WHEN delivered = 1 THEN data END) AS BIGINT) AS data_units,
       CAST(SUM(stranger) AS BIGINT) AS foreign_frames
FROM (SELECT gate, delivered, stranger, units, data, receivers, share
      FROM singles
      UNION ALL
      SELECT p.low AS gate, f.delivered, f.stranger, f.units, f.data,
             f.players AS receivers, f.part AS share
      FROM parts p
      JOIN frames f ON p.frame = f.frame
      WHERE p.low = p.high
      UNION ALL
      SELECT m.gate, f.delivered, f.stranger, f.units, f.data, m.members AS receivers,
             CASE WHEN m.gate = m.low THEN f.part - (m.members - 1) * {_EACH}
                  ELSE {_EACH} END AS share
      FROM (SELECT frame, low, gate, COUNT(*) OVER (PARTITION BY frame, low) AS members
            FROM (SELECT h.frame, p.low, h.gate
                  FROM heard h
                  JOIN parts p ON h.frame = p.frame AND h.player = p.player
                  WHERE p.low < p.high
                  GROUP BY h.frame, p.low, h.gate) a) m
      JOIN frames f ON m.frame = f.frame) s
GROUP BY CASE WHEN gate < 0 THEN 0 ELSE gate END""",
    "sent": f"""
SELECT COALESCE(gate, 0) AS gate, COUNT(*) AS downlinks,
       CAST(SUM({_units("airtime")}) AS BIGINT) AS downlink_units
FROM receptions
WHERE kind = 'downlink' AND time >= $begin AND time < $stop
GROUP BY COALESCE(gate, 0)""",
    # Delivered frames of applications, and the counters of their devices one after another.
    "carried": """
SELECT frame, units, begun AS time, app AS application, dev AS device, f_cnt
FROM keys
WHERE plain = 1 AND delivered = 1 AND app IS NOT NULL
UNION ALL
SELECT h.frame, f.units, MIN(h.begun) AS time,
       MAX(h.app) AS application, MAX(h.dev) AS device, MAX(h.f_cnt) AS f_cnt
FROM heard h
JOIN frames f ON h.frame = f.frame
WHERE f.delivered = 1
GROUP BY h.frame, f.units
HAVING MAX(h.app) IS NOT NULL""",
    "counted": """
SELECT application, device, f_cnt, time,
       LAG(f_cnt) OVER (PARTITION BY application, device ORDER BY time, f_cnt) AS before,
       LAG(time) OVER (PARTITION BY application, device ORDER BY time, f_cnt) AS since,
       LEAD(time) OVER (PARTITION BY application, device ORDER BY time, f_cnt) AS later
FROM (SELECT application, device, f_cnt, time FROM carried
      WHERE device IS NOT NULL AND f_cnt IS NOT NULL
      UNION ALL
      SELECT application, device, f_cnt, time FROM counters_before) a""",
    "counters": f"""
SELECT application, device, f_cnt, time
FROM counted
WHERE later IS NULL AND time >= $stop - {MEMORY}
ORDER BY application, device""",
    # Owner 0 is the application as a whole.
    "used": f"""
SELECT application, owner, {_USES}
FROM (SELECT application, 0 AS owner, 1 AS delivered, units AS uplink_units, 0 AS downlinks,
             CAST(NULL AS BIGINT) AS lost
      FROM carried
      UNION ALL
      SELECT app, owner, 1, units, 0, NULL
      FROM singles
      WHERE delivered = 1 AND owner > 0
      UNION ALL
      SELECT c.application, o.owner, 1, c.units, 0, NULL
      FROM carried c
      JOIN (SELECT DISTINCT h.frame, g.owner
            FROM heard h
            JOIN gates g ON h.gate = g.gate
            WHERE g.owner > 0) o ON c.frame = o.frame
      UNION ALL
      SELECT d.app, d.owner, 0, NULL, 1, NULL
      FROM (SELECT app, time, 0 AS owner FROM receptions WHERE kind = 'downlink'
            UNION ALL
            SELECT r.app, r.time, g.owner
            FROM receptions r
            JOIN gates g ON r.gate = g.gate
            WHERE r.kind = 'downlink' AND g.owner > 0) d
      WHERE d.time >= $begin AND d.time < $stop
      UNION ALL
      SELECT application, 0, 0, NULL, 0,
             CASE WHEN f_cnt > before AND f_cnt <= before + {MAX_GAP} AND time <= since + {MEMORY}
                  THEN f_cnt - before - 1 ELSE 0 END
      FROM counted
      WHERE time >= $begin) u
WHERE application IS NOT NULL
GROUP BY application, owner""",
    "own": """
SELECT s.gate, COUNT(*) AS own_uplinks
FROM singles s
JOIN consumers b ON s.app = b.application
JOIN gates g ON s.gate = g.gate
WHERE s.delivered = 1 AND g.operator = b.operator
GROUP BY s.gate
UNION ALL
SELECT h.gate, COUNT(DISTINCT h.frame) AS own_uplinks
FROM carried c
JOIN consumers b ON c.application = b.application
JOIN heard h ON c.frame = h.frame
JOIN gates g ON h.gate = g.gate
WHERE g.operator = b.operator
GROUP BY h.gate""",
    # Frames heard under each stated name, by slot; a repetition is a sign of life, too.
    "slots": f"""
SELECT stated, {_slot("time")} AS slot, MIN(time) AS since, MAX(time) AS until,
       CAST(SUM(LEAST(frames, {ENOUGH})) AS BIGINT) AS frames
FROM (SELECT DISTINCT stated, time, 1 AS frames
      FROM received
      WHERE kind <> 'downlink' AND time < $stop AND stated IS NOT NULL
      UNION ALL
      SELECT n.number, w.time, w.frames
      FROM (SELECT DISTINCT name, time, frames
            FROM watched
            WHERE frames > 0 AND time >= $begin AND time < $stop) w
      JOIN stated n ON w.name = n.name) a
GROUP BY stated, {_slot("time")}""",
    # Covered slots of the day (an interval counts the slots that it adds to those before it), and
    # those among them in which the gateway is not deaf.
    "lives": f"""
SELECT c.gate, CAST(SUM(c.high - c.low + 1) AS BIGINT) AS connected,
       CAST(SUM(c.high - c.low + 1 - CASE WHEN d.gate IS NULL THEN 0 ELSE
           GREATEST(0, LEAST(c.high, d.high) - GREATEST(c.low, d.low) + 1) END) AS BIGINT) AS online
FROM (SELECT gate, high, CASE WHEN reach >= low THEN reach + 1 ELSE low END AS low
      FROM (SELECT gate, low, high, MAX(high) OVER (
                PARTITION BY gate ORDER BY low, high
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS reach
            FROM (SELECT n.gate, s.slot AS low, s.slot AS high
                  FROM slots s
                  JOIN stated n ON s.stated = n.number
                  UNION ALL
                  SELECT n.gate, {_slot("GREATEST(w.since, $begin)")} AS low,
                         {_slot("LEAST(w.time, $stop - 1)")} AS high
                  FROM watched w
                  JOIN stated n ON w.name = n.name
                  WHERE w.time >= $begin AND w.since < $stop) a) b
      WHERE reach IS NULL OR high > reach) c
LEFT JOIN (SELECT p.gate, COALESCE(MIN(s.slot) - 1, $slots) AS high,
                  CASE WHEN p.patience < $start THEN 0
                       ELSE {_slot("p.patience")} + 1 END AS low
           FROM (SELECT n.gate, MAX(h.until) + GREATEST({DAY}, {_PATIENCE}) AS patience
                 FROM heard_before h
                 JOIN stated n ON h.gateway = n.name
                 GROUP BY n.gate
                 HAVING SUM(h.frames) >= 2) p
           LEFT JOIN (SELECT n.gate, s.slot FROM slots s JOIN stated n ON s.stated = n.number) s
             ON p.gate = s.gate
           GROUP BY p.gate, p.patience) d ON c.gate = d.gate
GROUP BY c.gate""",
    "recent": f"""
SELECT gateway, since, until, frames
FROM (SELECT n.name AS gateway, s.since, s.until, s.frames,
             MAX(s.until) OVER (PARTITION BY s.stated) AS final
      FROM (SELECT stated, since, until, frames,
                   SUM(frames) OVER (PARTITION BY stated ORDER BY since DESC
                                     ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS later
            FROM (SELECT stated, since, until, frames FROM slots
                  UNION ALL
                  SELECT n.number, h.since, h.until, h.frames
                  FROM heard_before h
                  JOIN stated n ON h.gateway = n.name) a) s
      JOIN stated n ON s.stated = n.number
      WHERE COALESCE(s.later, 0) < {ENOUGH}) b
WHERE since >= final - {MEMORY}
ORDER BY gateway, since""",
    "metrics": f"""
SELECT g.gateway, CASE WHEN g.known THEN {_ppm("t.connected")} END AS connected_ppm,
       CASE WHEN g.known THEN {_ppm("t.online")} END AS online_ppm, {_zeros("t", *_COUNTED)},
       CASE WHEN t.uplinks > 0 THEN t.uplink_units ELSE 0 END AS uplink_units,
       CASE WHEN t.downlinks > 0 THEN t.downlink_units ELSE 0 END AS downlink_units,
       CASE WHEN t.uplinks > 0 THEN t.data_units ELSE 0 END AS data_units, g.excluded_frames
FROM gates g
LEFT JOIN (SELECT gate, {_sums(*TALLIED)} FROM tallies GROUP BY gate) t ON g.gate = t.gate
WHERE g.listed OR t.receptions IS NOT NULL OR t.downlinks IS NOT NULL
ORDER BY g.gateway""",
    "usage": f"""
SELECT u.application, COALESCE(g.operator, '{UNATTRIBUTED}') AS operator, u.delivered,
       CASE WHEN u.delivered > 0 THEN u.uplink_units ELSE 0 END AS uplink_units, u.downlinks,
       CASE WHEN u.owner = 0 AND u.delivered = 0 THEN 0 ELSE u.lost END AS lost
FROM (SELECT application, owner, {_USES}
      FROM used
      GROUP BY application, owner) u
LEFT JOIN gates g ON u.owner = g.gate
ORDER BY u.application, COALESCE(g.operator, '{UNATTRIBUTED}')""",
}

"""The statements by the name of the table that each makes; ``$names`` are parameters."""

_SETTINGS: Final[dict[str, str | bool | int | float | list[str]]] = {
    "preserve_insertion_order": False,
    "python_enable_replacements": False,
}


class Engine:
    """Database in memory that runs the plan's statements."""

    def __init__(self, **params: int) -> None:
        self.params = params
        self._connection = duckdb.connect(config=_SETTINGS)

    def close(self) -> None:
        """Give the memory back."""
        self._connection.close()

    def _params(self, name: str) -> dict[str, int]:
        return {key: self.params[key] for key in re.findall(r"\$(\w+)", PLAN[name])}

    def keep(self, **tables: pa.Table) -> None:
        """Store tables, so that the engine knows their numbers of rows."""
        for name, table in tables.items():
            self._connection.from_arrow(table).create(name)

    def give(self, **tables: pa.Table) -> None:
        """Register tables by name; they replace those of the same name."""
        for name, table in tables.items():
            self._connection.register(name, table)

    def make(self, *names: str, kind: str = "TABLE") -> None:
        """Compute tables that later statements read, or define views (``kind``) of such tables."""
        for name in names:
            create = f"CREATE OR REPLACE TEMP {kind} {name} AS {PLAN[name]}"
            self._connection.execute(create, self._params(name))

    def ask(self, name: str) -> pa.Table:
        """Return the result of a statement."""
        found = self._connection.sql(PLAN[name], params=self._params(name))
        return found.to_arrow_table()
