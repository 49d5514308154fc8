"""Metrics against a slow reference that follows the definitions word for word."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
import sqlglot
from hypothesis import given, settings
from hypothesis import strategies as st

from dii.schema import SHAPLEY_UNIT, UNATTRIBUTED, USAGE
from dii.telemetry.load import load
from dii.telemetry.metrics import Epoch, Lookback, metrics
from dii.telemetry.metrics import plan as statements
from dii.telemetry.metrics.plan import MAX_GAP
from dii.units import DAY, PPM, SECOND
from tests.metrics import (
    ADDITIVE,
    ALL,
    SLOT,
    START,
    Found,
    Row,
    days,
    epochs,
    hears,
    reference,
    rows_of,
    status,
    table,
)
from tests.require import real_data

# --- random networks -----------------------------------------------------------------------------


class Case:
    """A small network with many irregular records."""

    def __init__(self, seed: int, *, scale: int, most: int) -> None:
        self.random = draw = random.Random(seed)
        self.names = [f"{number:016X}" for number in draw.sample(range(99), draw.randint(1, 7))]
        self.operators = {name: draw.choice("PQR") for name in self.names if draw.random() < 0.6}
        self.gateways = draw.sample(self.names, draw.randint(0, len(self.names)))
        self.applications = {"x": draw.choice("PQ"), "y": draw.choice("PRZ")}
        label = {one: draw.choice("123") for one in [*self.names, *"PQR"]}
        owners = {one: self.operators.get(one, one) for one in self.names}
        merged = {one: label[owner] for one, owner in owners.items()}
        self.players = draw.choice([None, merged])
        self.lengths = [
            draw.choice([SLOT, 7 * SECOND, 2 * SLOT + SECOND, 12 * SLOT, scale, scale])
            for _ in range(draw.randint(1, 5))
        ]
        self.end = START + sum(self.lengths)
        self.receptions = [row for _ in range(draw.randint(0, most)) for row in self.transmission()]
        draw.shuffle(self.receptions)
        self.statuses = [
            {
                "gateway": draw.choice(self.names),
                "time": self.moment(),
                "covers": draw.choice([0, 1, SLOT, SLOT + 1, 3600 * SECOND, DAY]),
                "frames": draw.choice([None, 0, 1, 1, 2, 140, 141, 500]),
            }
            for _ in range(draw.choice([0, 3, 12]))
        ]
        self.statuses += draw.sample(self.statuses, len(self.statuses) // 3)
        self.rejects = [
            {
                "file": "f",
                "line": 1,
                "reason": draw.choice(["simulated", "bad_json"]),
                "gateway": draw.choice([*self.names, None]),
                "time": draw.choice([None, self.moment()]),
            }
            for _ in range(draw.randint(0, 4))
        ]

    def moment(self) -> int:
        """A time in, on, or just beside some border."""
        draw = self.random
        if draw.random() < 0.5:
            return draw.randrange(START - 100 * SECOND, self.end + 100 * SECOND)
        border = START + sum(self.lengths[: draw.randint(0, len(self.lengths))])
        border += draw.choice([0, 0, SLOT, -SLOT])
        return border + draw.choice([0, -1, 1, -60 * SECOND, 60 * SECOND, 30 * SECOND])

    def transmission(self) -> Iterator[Row]:
        """Draw the frames of one device, perhaps repeated, within or just beyond the window."""
        draw = self.random
        of_frame = {
            "kind": draw.choice(["data", "data", "data", "join", "downlink"]),
            "deduplication_id": draw.choice([None, None, None, "a", "D"]),
            "device": draw.choice(["D", "D", "E", None]),
            "f_cnt": draw.choice([1, 1, 2, 7, 9, 2 + MAX_GAP, None]),
            "payload_hash": draw.choice([1, 1, -2, None]),
        }
        time = self.moment()
        for _ in range(draw.choice([1, 1, 2, 9])):
            for _ in range(draw.choice([1, 1, 2, 4])):
                yield {
                    **of_frame,
                    "time": time + draw.choice([0, 0, 1]),
                    "gateway": draw.choice([*self.names, *self.names, None]),
                    "application": draw.choice(["x", "x", "x", "y", None]),
                    "delivered": draw.choice([True, True, False, None]),
                    "foreign": draw.choice([True, False, False, None]),
                    "size": draw.choice([None, 0, 1, 24, 25, 222]),
                    "airtime": draw.choice([None, 1, 10_000, 10_001, 1_155_072]),
                }
            time += draw.choice([0, 1, 20, 30, 30, 59, 60, 61]) * SECOND + draw.choice([-1, 0, 1])

    def about(self) -> dict[str, Any]:
        return {
            "operators": self.operators,
            "gateways": self.gateways,
            "applications": self.applications,
            "players": self.players,
            "lengths": self.lengths,
        }

    def found(self) -> list[Found]:
        return epochs(self.receptions, self.statuses, rejects=self.rejects, **self.about())

    def expected(self) -> list[Found]:
        return list(reference(self.receptions, self.statuses, self.rejects, **self.about()))


@settings(max_examples=12)
@given(seed=st.integers(0, 2**32), slice_rows=st.sampled_from([8, 10**6]))
def test_metrics_are_those_of_the_reference(seed: int, slice_rows: int) -> None:
    case = Case(seed, scale=1800 * SECOND, most=40)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dii.telemetry.metrics.SLICE_ROWS", slice_rows)
        patch.setattr("dii.telemetry.metrics.columns._BATCH", 3)
        assert case.found() == case.expected()


@settings(max_examples=8)
@given(seed=st.integers(0, 2**32))
def test_weeks_of_silence_are_those_of_the_reference(seed: int) -> None:
    case = Case(seed, scale=5 * DAY, most=30)
    assert case.found() == case.expected()


@pytest.mark.parametrize("seed", range(5))
def test_silence_is_what_the_engine_makes_of_it_and_needs_no_engine(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Case(seed, scale=DAY, most=3)
    # Frames on either side of what is carried past 7 silent seconds; a status of one microsecond.
    carried, last = case.end - 53 * SECOND - START, case.end + 67 * SECOND + DAY - 1 - START
    case.receptions += [hears(A, carried - n, f_cnt=n) for n in (0, 1)]
    case.statuses.append(status(A, last + 3 * DAY, 3 * DAY + 1))
    case.lengths += [7 * SECOND, 60 * SECOND, DAY, 3 * DAY, DAY, DAY]
    receptions, statuses = table("receptions", case.receptions), table("statuses", case.statuses)
    connect, opened = statements.duckdb.connect, []
    monkeypatch.setattr(
        statements.duckdb, "connect", lambda **more: (opened.append(1), connect(**more))[1]
    )
    start, lookback, silent = START, None, 0
    for length, expected in zip(case.lengths, case.expected()):
        # An excluded frame of a stranger wakes the engine, and changes nothing else.
        waking = {"file": "", "line": 1, "reason": "simulated", "gateway": "Z", "time": start}
        found = []
        for rejects in (case.rejects, [*case.rejects, waking]):
            opened.clear()
            epoch = metrics(
                receptions,
                statuses,
                rejects=table("rejects", rejects),
                operators=case.operators,
                gateways=case.gateways,
                applications=case.applications,
                players=case.players,
                start=start,
                length=length,
                gives=ALL,
                lookback=lookback,
            )
            silent += not opened
            tables = {
                name: part.filter(pc.not_equal(part["gateway"], "Z"))
                for name in ("metrics", "excluded")
                for part in [getattr(epoch, name)]
            }
            found.append(replace(epoch, **tables))
        assert opened
        quick, slow = found
        assert quick == slow
        assert quick.lookback.to_bytes() == slow.lookback.to_bytes()
        assert rows_of(quick) == expected
        lookback = quick.lookback
        start += length
    assert silent


@settings(max_examples=6)
@given(seed=st.integers(0, 2**32))
def test_epochs_add_up_to_the_whole(seed: int) -> None:
    case = Case(seed, scale=3600 * SECOND, most=40)
    parts = case.found()
    case.lengths = [sum(case.lengths)]
    (whole,) = case.found()
    for place, names in enumerate((ADDITIVE, USAGE)):
        for key, counts in whole[place].items():
            for name in names:
                # Units are unknown, not 0, where nothing is known of any frame.
                assert (counts[name] or 0) == sum(
                    part[place][key][name] or 0 for part in parts if key in part[place]
                )


# --- other engines -------------------------------------------------------------------------------


def carried_over(statement: str) -> str:
    """Return a statement translated to Spark's dialect and back."""
    for read, write in (("duckdb", "spark"), ("spark", "duckdb")):
        tree = sqlglot.parse_one(statement, read=read)
        # A function that sqlglot does not know would pass as it is, to an engine that may not.
        assert not list(tree.find_all(sqlglot.exp.Anonymous))
        statement = tree.sql(write, unsupported_level=sqlglot.ErrorLevel.RAISE)
    return statement


@pytest.mark.parametrize("scale", [1800 * SECOND, 5 * DAY])
def test_every_statement_carried_to_spark_and_back_gives_the_same(
    scale: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = set[str]()

    class Watched(dict[str, str]):
        def __getitem__(self, name: str) -> str:
            run.add(name)
            return super().__getitem__(name)

    plan = Watched({name: carried_over(text) for name, text in statements.PLAN.items()})
    assert plan != statements.PLAN
    monkeypatch.setattr(statements, "PLAN", plan)
    for seed in range(4):
        case = Case(seed, scale=scale, most=40)
        assert case.found() == case.expected()
    assert run == set(plan)


# --- one claim at a time -------------------------------------------------------------------------

A, B, C = "A" * 16, "B" * 16, "C" * 16
MINUTE, HOUR = 60 * SECOND, 3600 * SECOND


def only(
    receptions: Iterable[Row], metric: str = "uplinks", **more: object
) -> dict[str, int | None]:
    (result,) = days(receptions, **more)  # type: ignore[arg-type]
    return {gateway: counts[metric] for gateway, counts in result.items()}


def test_chunks_without_rows_count_for_nothing() -> None:
    whole = table("receptions", [hears("A", 0), hears("B", DAY)])
    parts = [whole.slice(at, 1) for at in (0, 1)]
    first = pa.concat_tables([whole.slice(0, 0), *parts]).filter(pc.field("gateway") == "A")
    assert 0 in map(len, first["time"].chunks)
    found = [
        metrics(
            rows, table("statuses"), operators={}, gateways=[], start=START, length=DAY, gives=ALL
        )
        for rows in (first, whole)
    ]
    assert found[0].metrics == found[1].metrics


def test_a_frame_lasts_60_seconds_from_its_first_reception_not_from_its_latest() -> None:
    times = [0, 40 * SECOND, MINUTE, MINUTE + 1, 110 * SECOND, 2 * MINUTE + 1, 2 * MINUTE + 2]
    assert only([hears(A, time) for time in times]) == {A: 3}


def test_two_antennas_of_a_gateway_count_once() -> None:
    result = days([hears(A, 0), hears(A, 0, rssi=-90.0), hears(B, 1)])[0]
    assert [result[g]["receptions"] for g in (A, B)] == [1, 1]
    assert result[A]["shapley_uplinks"] == SHAPLEY_UNIT // 2


def test_a_frame_that_midnight_divides_counts_before_midnight_only() -> None:
    late = [hears(A, DAY - 1), hears(B, DAY + 20 * SECOND), hears(A, DAY + 40 * SECOND)]
    first, second = days([*late, hears(A, DAY + MINUTE)], count=2)
    assert [first[g]["uplinks"] for g in (A, B)] == [1, 1]
    assert [second[g]["uplinks"] for g in (A, B)] == [1, 0]


def test_frames_are_told_apart_by_device_counter_and_payload() -> None:
    others = [{"f_cnt": 2}, {"payload_hash": 8}, {"device": "E"}, {"f_cnt": None}]
    assert only([hears(A, 0), *(hears(A, 1, **other) for other in others)]) == {A: 5}


def test_the_servers_own_id_goes_before_device_counter_and_payload() -> None:
    same = [hears(A, 0, deduplication_id="x"), hears(B, 1, deduplication_id="x", f_cnt=2)]
    assert only(same, "sole_uplinks") == {A: 0, B: 0}
    other = hears(A, 2, deduplication_id="y", f_cnt=3)
    assert only([*same, other], "sole_uplinks") == {A: 1, B: 0}


@pytest.mark.parametrize("ids", ["xy", "xyz", "xyx", "xx", "x-", "-x", "-x-", "x-y", "-xy"])
@pytest.mark.parametrize("gap", [0, 1, 20 * SECOND])
@pytest.mark.parametrize("at", [0, DAY - 10 * SECOND])
def test_a_repetition_counts_once_whatever_ids_it_carries(ids: str, gap: int, at: int) -> None:
    rows = [
        hears(A, at + number * gap, deduplication_id=None if name == "-" else name)
        for number, name in enumerate(ids)
    ]
    assert sum(day[A]["uplinks"] for day in days(rows, count=2, gateways=[A])) == 1


@pytest.mark.parametrize("column", ["device", "f_cnt", "payload_hash", "gateway"])
def test_receptions_with_an_unknown_field_repeat_nothing(column: str) -> None:
    rows = [hears(A, number, deduplication_id=name) for number, name in enumerate(["x", "y", None])]
    rows = [row | {column: None} for row in rows]
    assert sum(day["uplinks"] for day in days(rows)[0].values()) == 3


def test_beyond_the_window_a_frame_under_another_id_is_another() -> None:
    rows = [hears(A, 61 * SECOND * n, deduplication_id=name) for n, name in enumerate("xyz")]
    assert only(rows) == {A: 3}


def test_without_a_device_only_the_same_microsecond_is_the_same_frame() -> None:
    rows = [hears(g, t, device=None) for g, t in [(A, 0), (B, 0), (A, 1)]]
    assert only(rows, "sole_uplinks") == {A: 1, B: 0}


def test_receptions_that_name_no_gateway_are_receivers_of_their_own_in_one_row() -> None:
    result = days([hears(A, 0), hears(None, 0), hears(None, 0)])[0]
    assert result[UNATTRIBUTED]["shapley_uplinks"] == SHAPLEY_UNIT * 2 // 3
    assert result[UNATTRIBUTED]["uplinks"] == 2
    assert result[UNATTRIBUTED]["connected_ppm"] is None
    assert UNATTRIBUTED not in days([hears(A, 0)])[0]


def test_unknown_is_not_delivered_and_one_witness_is_enough() -> None:
    rows = [hears(A, 0, delivered=None), hears(A, 1, f_cnt=2, delivered=False)]
    assert only(rows) == {A: 0}
    assert only(rows, "receptions") == {A: 2}
    assert only([*rows, hears(B, 2)]) == {A: 1, B: 1}
    assert only([hears(A, 0, kind="join")]) == {A: 0}
    assert only([hears(A, 0, kind="downlink")], "receptions") == {A: 0}


def test_airtime_is_rounded_up_per_frame_and_absent_where_none_is_known() -> None:
    known = [hears(A, 0, airtime=1_155_072), hears(A, MINUTE + 1, airtime=102_656)]
    assert only([*known, hears(B, 0), hears(C, 0, f_cnt=9)], "uplink_units") == {
        A: 116 + 11,
        B: 116,
        C: None,
    }


def test_data_units_are_24_bytes_rounded_up_and_an_empty_frame_is_one() -> None:
    sizes = {0: 1, 1: 1, 24: 1, 25: 2, 48: 2, 49: 3}
    for size, units in sizes.items():
        assert only([hears(A, 0, size=size)], "data_units") == {A: units}
    rows = [hears(A, 0, size=25), hears(B, 1), hears(C, 2, f_cnt=2)]
    assert only([*rows, hears(A, 2, f_cnt=3, delivered=False, size=9)], "data_units") == {
        A: 2,
        B: 2,
        C: None,
    }


def test_each_downlink_counts_for_who_sent_it_when_it_was_sent() -> None:
    rows = [hears(A, time, kind="downlink", airtime=10_001) for time in (0, 0, DAY - 1, DAY)]
    rows += [hears(B, 0, kind="downlink"), hears(None, 0, kind="downlink", airtime=1), hears(C, 0)]
    first, second = days(rows, count=2)
    sent = {gateway: (row["downlinks"], row["downlink_units"]) for gateway, row in first.items()}
    assert sent == {UNATTRIBUTED: (1, 1), A: (3, 6), B: (1, None), C: (0, 0)}
    assert [second[A][name] for name in ("downlinks", "downlink_units", "receptions")] == [1, 2, 0]


def test_a_frame_of_another_network_counts_once_for_each_gateway_that_heard_it() -> None:
    rows = [hears(A, 0, foreign=True), hears(A, 1), hears(B, 2, foreign=None)]
    rows += [hears(A, 0, f_cnt=2, foreign=False), hears(C, 0, f_cnt=3, foreign=None)]
    assert only(rows, "foreign_frames") == {A: 1, B: 1, C: 0}
    assert only([hears(A, 0, kind="join", foreign=True)], "foreign_frames") == {A: 1}


def test_simulated_frames_are_counted_as_excluded() -> None:
    reject = {"file": "f", "line": 1, "reason": "simulated", "gateway": A, "time": START}
    rejects = [reject, {**reject, "reason": "bad_json"}, {**reject, "time": START + DAY}]
    assert only([], "excluded_frames", rejects=rejects) == {A: 1}
    # Files overlap and antennas are several: the frame stays one.
    again = [{**reject, "file": "another"}, {**reject, "line": 2}]
    assert only([], "excluded_frames", rejects=[*rejects, *again]) == {A: 1}
    assert only([], "excluded_frames", rejects=[reject, {**reject, "time": START + 1}]) == {A: 2}


OPERATORS = {A: "P", B: "P", C: "Q"}


def x(gateway: str | None, time: int, f_cnt: int = 1, **more: object) -> Row:
    """One reception of a delivered frame of application x."""
    return hears(gateway, time, f_cnt=f_cnt, **{"application": "x", **more})


def test_operators_that_heard_an_uplink_delivered_it_and_the_application_had_it_once() -> None:
    rows = [x(A, 0), x(B, 0), x(C, 0), x(C, 5, 2), x("D" * 16, 9, 3), x(None, 9, 4)]
    rows += [x(A, 9, 5, delivered=None), x(A, 9, 6, kind="join"), hears(A, 9, f_cnt=7)]
    ((_, usage, _),) = epochs(rows, operators=OPERATORS)
    delivered = {key: counts["delivered"] for key, counts in usage.items()}
    assert delivered == {("x", UNATTRIBUTED): 4, ("x", "P"): 1, ("x", "Q"): 2}


def test_airtime_and_downlinks_are_used_of_the_operator_whose_gateway_it_was() -> None:
    rows = [x(A, 0, airtime=10_001), x(B, 0), x(C, 0, 2), x(C, 0, 3, kind="downlink")]
    rows += [x(None, 0, 4, kind="downlink"), x(C, 0, 5, kind="downlink")]
    ((_, usage, _),) = epochs(rows, operators=OPERATORS)
    assert usage == {
        ("x", UNATTRIBUTED): {"delivered": 2, "uplink_units": 2, "downlinks": 3, "lost": 0},
        ("x", "P"): {"delivered": 1, "uplink_units": 2, "downlinks": 0, "lost": None},
        ("x", "Q"): {"delivered": 1, "uplink_units": None, "downlinks": 2, "lost": None},
    }


@pytest.mark.parametrize(
    ("counters", "lost"),
    [
        ([3, 4, 7, 7, 9], 3),
        ([5, 0, 2], 1),  # began anew: what went before is not known
        ([1, 1 + MAX_GAP], MAX_GAP - 1),
        ([1, 2 + MAX_GAP, 4 + MAX_GAP], 1),
        ([8], 0),
        ([None], None),
    ],
)
@pytest.mark.parametrize("pause", [HOUR, 20 * HOUR])
def test_lost_is_what_counters_leave_out_however_many_epochs_between(
    counters: list[int], lost: int | None, pause: int
) -> None:
    rows = [x(A, pause * n, f_cnt, device=d) for n, f_cnt in enumerate(counters) for d in "EF"]
    found = epochs(rows, count=5, operators=OPERATORS)
    each = [usage["x", UNATTRIBUTED]["lost"] for _, usage, _ in found if usage]
    assert (sum(each) if None not in each else None) == (None if lost is None else 2 * lost)


def test_a_device_that_leaps_as_far_as_it_may_all_day_stops_no_report() -> None:
    leaps = USAGE["lost"].maximum // (MAX_GAP - 1) + 2
    rows = [x(A, n * SECOND, n * MAX_GAP) for n in range(leaps)]
    ((_, usage, _),) = epochs(rows)
    assert usage["x", UNATTRIBUTED]["lost"] == USAGE["lost"].maximum


def test_a_device_that_was_silent_for_more_than_a_week_begins_anew() -> None:
    for pause, lost in ((7 * DAY, 4), (7 * DAY + 1, 0)):
        for day in (0, 1):
            rows = [x(A, day * DAY, 1), x(A, day * DAY + pause, 6)]
            found = epochs(rows, count=10)
            assert sum(usage["x", ""]["lost"] for _, usage, _ in found if usage) == lost


def test_own_uplinks_are_those_of_applications_of_the_gateways_own_operator() -> None:
    rows = [x(A, 0), x(A, 1), x(C, 0), x(B, 0, 2), x(B, 0, 3, application="y")]
    rows += [x(A, 0, 4, delivered=False), x("D" * 16, 0), hears(A, 0, f_cnt=9)]
    bound = {"x": "P", "y": "nobody's", "z": "Q"}
    found = only(rows, "own_uplinks", operators=OPERATORS, applications=bound)
    assert found == {A: 1, B: 1, C: 0, "D" * 16: 0}


def test_uptime_is_absent_until_a_gateway_has_a_status_and_then_zero() -> None:
    heard = [hears(g, day * DAY) for g in (A, B) for day in range(3)]
    statuses = [status(A, DAY + 2 * SLOT, SLOT)]
    found = days(heard, statuses, count=4, gateways=[A, B])
    slots = PPM // 288
    assert [day[A]["connected_ppm"] for day in found] == [None, 3 * PPM // 288, slots, 0]
    assert [day[B]["connected_ppm"] for day in found] == [None] * 4


def test_a_status_covers_the_end_of_the_day_before() -> None:
    found = days([], [status(A, DAY, DAY)], count=2)
    assert [day[A]["connected_ppm"] for day in found] == [PPM, PPM // 288]


def test_a_gateway_that_looks_connected_but_hears_nothing_is_offline() -> None:
    polls = [status(A, DAY * (day + 1) - 1, DAY) for day in range(6)]
    hourly = [hears(A, 3600 * SECOND * hour, f_cnt=hour) for hour in range(24)]
    found = days(hourly, polls, count=6)
    assert [day[A]["connected_ppm"] for day in found] == [PPM] * 6
    # Silent from 23:00; patience: 24 hours, or 20 intervals of an hour each.
    heard = 23 * 12 + 1
    assert [day[A]["online_ppm"] for day in found] == [PPM, heard * PPM // 288, 0, 0, 0, 0]


def online(
    times: Iterable[int], count: int, antennas: int = 1, statuses: Iterable[Row] = ()
) -> list[int | None]:
    """Return ``online_ppm`` by day of a gateway that is always connected."""
    polls = [*statuses, *(status(A, DAY * (day + 1) - 1, DAY) for day in range(count))]
    heard = [hears(A, time, f_cnt=n) for n, time in enumerate(times) for _ in range(antennas)]
    return [day[A]["online_ppm"] for day in days(heard, polls, count=count)]


def patience(last: int, deaf: int, count: int) -> list[int | None]:
    """Return ``online_ppm`` of a gateway that is deaf from some time after its last frame."""
    until = (last + deaf) // SLOT + 1
    return [min(288, max(0, until - 288 * day)) * PPM // 288 for day in range(count)]


@pytest.mark.parametrize("antennas", [1, 2])
def test_a_rarely_used_gateway_is_given_20_of_its_intervals(antennas: int) -> None:
    assert online([0, 9 * HOUR], 10, antennas) == patience(9 * HOUR, 180 * HOUR, 10)


def test_intervals_are_those_of_the_7_days_up_to_the_last_frame() -> None:
    last = 7 * DAY
    assert online([0, last - HOUR, last], 10) == patience(last, 70 * DAY, 10)
    assert online([0, last - HOUR + 1, last + 1], 10) == patience(last, DAY, 10)


def test_the_look_back_holds_enough_frames_for_the_mean_interval() -> None:
    often = [6 * DAY + 20 * HOUR + MINUTE * minute for minute in range(127)]
    deaf = 20 * (often[-1] - 9 * MINUTE) // 127
    assert deaf > DAY + HOUR
    assert online([9 * MINUTE, *often], 9) == patience(often[-1], deaf, 9)


def test_a_gateway_of_fewer_than_two_known_frames_is_not_deaf() -> None:
    assert online([0], 12) == [PPM] * 12


def test_frames_in_statuses_are_heard_too() -> None:
    first, last = status(A, 0, 1, 1), status(A, 7 * DAY, 1, 500)
    assert online([], 10, statuses=[first, last]) == patience(7 * DAY, DAY, 10)
    sparse = status(A, 7 * DAY, 1, 100)
    assert online([], 10, statuses=[first, sparse]) == patience(7 * DAY, 20 * 7 * DAY // 100, 10)


def test_only_metrics_that_the_sources_give_are_computed() -> None:
    found = metrics(
        table("receptions", [hears(A, 0, application="x")]),
        table("statuses"),
        operators={},
        gateways=[B],
        start=START,
        length=DAY,
        gives=frozenset({"uplinks", "receptions", "own_uplinks", "usage.lost"}),
    )
    assert found.metrics.to_pylist() == [
        {"gateway": A, "receptions": 1, "uplinks": 1},
        {"gateway": B, "receptions": 0, "uplinks": 0},
    ]
    assert found.usage.to_pylist() == [{"application": "x", "operator": UNATTRIBUTED, "lost": 0}]


def test_a_name_that_is_no_metric_is_not_left_out_in_silence() -> None:
    about = {"operators": {}, "gateways": [], "start": START, "length": DAY}
    with pytest.raises(ValueError, match=r"usage\.paid"):
        metrics(table("receptions"), table("statuses"), gives=frozenset({"usage.paid"}), **about)


def test_the_look_back_survives_its_bytes_and_does_not_depend_on_the_order_of_rows() -> None:
    about = [(g, t, f"x{t % 2}") for g in (A, B) for t in range(86_000, 86_460, 7)]
    rows = [hears(g, t * SECOND, f_cnt=t, application=x) for g, t, x in about]
    polls = [status(A, DAY - 1, DAY, 3), status(C, 5, 5)]

    def after(receptions: list[Row], statuses: list[Row]) -> Epoch:
        return metrics(
            table("receptions", receptions),
            table("statuses", statuses),
            operators={A: "P", B: "P"},
            gateways=[],
            start=START,
            length=DAY,
            gives=ALL,
        )

    first, second = after(rows, polls), after(rows[::-1], polls[::-1])
    lookback = first.lookback
    assert (len(lookback.frames), len(lookback.known), len(lookback.counters)) == (9, 2, 2)
    assert Lookback.from_bytes(lookback.to_bytes()) == lookback
    assert second == first
    assert second.lookback.to_bytes() == lookback.to_bytes()


def test_the_look_back_does_not_grow_with_what_was_heard() -> None:
    rows = [hears(A, t * MINUTE, f_cnt=t) for t in range(1440)]
    epoch = metrics(
        table("receptions", rows),
        table("statuses"),
        operators={},
        gateways=[],
        start=START,
        length=DAY,
        gives=ALL,
    )
    assert sum(epoch.lookback.heard["frames"].to_pylist()) < statements.ENOUGH + 5


def test_epochs_go_forward_only() -> None:
    tables = table("receptions"), table("statuses")
    about = {"operators": {}, "gateways": [], "length": DAY, "gives": ALL}
    lookback = metrics(*tables, start=START, **about).lookback
    with pytest.raises(ValueError, match="look-back ends"):
        metrics(*tables, start=START, lookback=lookback, **about)


def test_receptions_are_read_from_parquet_alike(tmp_path: Path) -> None:
    case = Case(11, scale=3600 * SECOND, most=40)
    pq.write_table(table("receptions", case.receptions), tmp_path / "r.parquet", row_group_size=7)
    sources = table("receptions", case.receptions), pads.dataset(tmp_path)
    one, other = (
        metrics(
            source,
            table("statuses", case.statuses),
            operators=case.operators,
            gateways=case.gateways,
            start=START,
            length=DAY,
            gives=ALL,
        )
        for source in sources
    )
    assert one == other


def test_a_hilltop_device_is_counted_once_however_many_gateways_hear_it() -> None:
    """Count by weeks, the first and last incomplete; an application is added to the device."""
    data = load(real_data("campusiot/saint_eynard_device33.ndjson.gz"))
    place = data.receptions.schema.get_field_index("application")
    named = pa.array(["hilltop"] * len(data.receptions))
    assert data.span is not None
    first, last = data.span
    totals: Counter[str] = Counter()
    lookback = None
    for start in range(first // DAY * DAY - 3 * DAY, last, 7 * DAY):
        epoch = metrics(
            data.receptions.set_column(place, "application", named),
            data.statuses,
            operators={},
            gateways=None,
            start=start,
            length=7 * DAY,
            gives=data.gives | {"usage.delivered", "usage.uplink_units", "usage.lost"},
            lookback=lookback,
        )
        lookback = epoch.lookback
        for row in [*epoch.metrics.to_pylist(), *epoch.usage.to_pylist()]:
            name = "usage." if "application" in row else ""
            totals.update({name + n: count for n, count in row.items() if isinstance(count, int)})
    counters = data.receptions["f_cnt"].to_pylist()
    assert totals["uplinks"] == 79_980
    assert totals["shapley_uplinks"] == SHAPLEY_UNIT * 13_768
    assert totals["usage.delivered"] == 13_768
    assert totals["usage.uplink_units"] == 143_079
    assert totals["usage.lost"] == max(counters) - min(counters) + 1 - 13_768 == 86


def test_the_real_uplinks_are_used_by_their_applications_but_for_the_simulated_one() -> None:
    data = load(real_data("ttn/ttn_v3_uplinks.jsonl"), gap=None)
    assert data.gives >= {"usage.delivered", "usage.uplink_units", "usage.lost"}
    times = [*data.receptions["time"].to_pylist(), *data.rejected["time"].to_pylist()]
    delivered: Counter[str] = Counter()
    lookback, excluded = None, []
    for day in sorted({time // DAY for time in times}):
        epoch = metrics(
            data.receptions,
            data.statuses,
            rejects=data.rejected,
            operators={},
            gateways=None,
            start=day * DAY,
            length=DAY,
            gives=data.gives,
            lookback=lookback,
        )
        lookback = epoch.lookback
        excluded += epoch.excluded.to_pylist()
        delivered.update({row["application"]: row["delivered"] for row in epoch.usage.to_pylist()})
    assert excluded == [{"gateway": "ttn:test", "reason": "simulated", "frames": 1}]
    assert delivered.total() == 13 - 1
    assert set(delivered) == set(data.receptions["application"].to_pylist())
