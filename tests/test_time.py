"""Time: complete epochs, records with dates too far away, and reports that are accepted."""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from dii import Network, Traffic, load
from dii.application.records import REPORTS
from dii.cli import app
from dii.consensus.solo import Solo
from dii.errors import FarInTime, RecordRejected
from dii.schema import Gateway, Reception
from dii.telemetry import outliers
from dii.telemetry.load import Telemetry
from dii.telemetry.metrics import metrics
from dii.telemetry.readers.base import UPLINK_METRICS
from dii.telemetry.tables import SCHEMAS, to_table
from dii.units import DAY, SECOND, format_time

HOUR = 3_600 * SECOND
START = 1_740_960_000 * SECOND  # 2025-03-03T00:00:00Z
REGISTRY = {f"roof-{n}": {"id": f"roof-{n}", "owner": name} for n, name in ((1, "ann"), (2, "ben"))}


def uplink(time: int, number: int = 0, gateways: Sequence[str] = ("roof-1",)) -> str:
    """An uplink of The Things Stack, received at a time, as a line."""
    return json.dumps(
        {
            "end_device_ids": {
                "dev_eui": "70B3D57ED0000001",
                "application_ids": {"application_id": "water"},
            },
            "received_at": f"{format_time(time)[:-1]}.{time % SECOND:06d}Z",
            "uplink_message": {
                "f_port": 1,
                "f_cnt": number,
                "frm_payload": "AQI=",
                "rx_metadata": [
                    {"gateway_ids": {"gateway_id": one}, "rssi": -101, "snr": 5.5}
                    for one in gateways
                ],
            },
        }
    )


def uplinks(path: Path, times: Sequence[int], gateways: Sequence[str] = ("roof-1",)) -> Path:
    """Write a file of uplinks, one at each time."""
    path.write_text("".join(f"{uplink(t, n, gateways)}\n" for n, t in enumerate(times)))
    return path


def statuses(path: Path, times: Sequence[int], gateway: str = "ttn:roof-1") -> Path:
    """Write a file of statuses, each of a minute."""
    rows = [f"{gateway},{time},{60 * SECOND},1\n" for time in times]
    path.write_text("gateway,time,covers,frames\n" + "".join(rows))
    return path


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    path = tmp_path / "registry.json"
    path.write_text(json.dumps(REGISTRY))
    return path


def create(**changes: Any) -> Network:
    return Network.create(seed=7, **changes)


def run(*words: object, code: int = 0) -> str:
    """Run a command and return its output."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, result.output
    return result.output


# --- complete epochs -----------------------------------------------------------------------------


def test_a_day_stays_open_until_records_reach_its_end(registry: Path, tmp_path: Path) -> None:
    """The log until noon settles nothing; the whole one settles the day with every reception."""
    hours = [START + hour * HOUR for hour in range(6, 24)]
    noon = uplinks(tmp_path / "noon.jsonl", hours[:6])
    whole = uplinks(tmp_path / "whole.jsonl", [*hours, START + DAY])
    with create() as network:
        network.ingest(load(registry, noon))
        network.run()
        assert network.settled == 0
        network.ingest(load(registry, whole))
        network.run()
        assert network.settled == 1
        assert network.metrics(0)["uplinks"].to_pylist() == [18, 0]
        assert not len(network.feed.telemetry.rejects)
        network.run(complete=True)
        assert network.settled == 2
        assert network.metrics(1)["uplinks"].to_pylist() == [1, 0]


def test_the_epoch_of_the_latest_record_is_settled_when_one_says_that_it_is_complete(
    registry: Path, tmp_path: Path
) -> None:
    data = load(registry, uplinks(tmp_path / "noon.jsonl", [START, START + 12 * HOUR]))
    with create() as network:
        network.ingest(data)
        network.run(complete=True)
        assert network.settled == 1
        assert network.run(complete=True).settled == 1
        assert network.run().settled == 1


@pytest.mark.parametrize("length", [HOUR, DAY, 7 * DAY])
@given(
    heard=st.lists(st.integers(0, 20 * DAY), max_size=6),
    watched=st.lists(st.integers(0, 20 * DAY), max_size=6),
)
@settings(max_examples=15)
def test_complete_are_the_epochs_that_end_before_the_latest_record(
    length: int, heard: list[int], watched: list[int]
) -> None:
    gateway = "ttn:roof-1"
    data = Telemetry(
        receptions=to_table("receptions", [Reception(START + at, gateway) for at in heard]),
        statuses=to_table("statuses", [(START + at, gateway, SECOND, 1, None) for at in watched]),
    )
    with create(start="2025-03-03", epoch_seconds=length // SECOND) as network:
        network.ingest(data)
        latest = START + max([*heard, *watched], default=0)
        assert network.complete_epochs == (latest - network.genesis.start_time) // length


def test_epochs_without_records_below_the_latest_are_complete_and_empty(
    registry: Path, tmp_path: Path
) -> None:
    with create() as network:
        network.ingest(load(registry, uplinks(tmp_path / "up.jsonl", [START, START + 5 * DAY])))
        network.run()
        assert network.settled == 5
        assert list(network.epochs()["total_weight"] > 0) == [True, False, False, False, False]


def test_a_status_alone_completes_an_epoch(registry: Path, tmp_path: Path) -> None:
    heard = uplinks(tmp_path / "up.jsonl", [START])
    watched = statuses(tmp_path / "statuses.csv", [START + DAY])
    with create() as network:
        network.ingest(load(registry, heard, watched))
        assert network.run().settled == 1


def test_generated_traffic_completes_all_of_its_days(registry: Path) -> None:
    with create() as network:
        network.ingest(load(registry), Traffic(START, 3))
        assert network.complete_epochs == 3
        assert network.run().settled == 3
        assert network.run(complete=True).settled == 3


def test_an_epoch_is_complete_for_each_reporter_by_its_own_records(
    registry: Path, tmp_path: Path
) -> None:
    """Two reporters with records of their own; those of the second reach less far at first."""
    home = tmp_path / "home"
    Network.create(home=home, reporters=2).close()
    draft = tomllib.loads((home / "draft.toml").read_text())
    (home / "draft.toml").write_text(tomli_w.dumps(draft | {"report_window_seconds": 30 * 86_400}))
    two, one = (
        load(registry, uplinks(tmp_path / f"{days}", [START + n * DAY for n in range(days + 1)]))
        for days in (2, 1)
    )
    with Network.open(home) as network:
        network.ingest(two)
    keys = {name: home / "keys" / f"{name}.key" for name in ("reporter", "reporter-2")}

    def session(reporter: str, records: Telemetry) -> tuple[int, int, list[tuple[int, int]]]:
        """Return the complete and the settled epochs after a run, and who reported open ones."""
        shutil.rmtree(home / "telemetry")
        (other,) = (path for name, path in keys.items() if name != reporter)
        hidden = other.rename(tmp_path / "hidden")
        with Network.open(home) as network:
            network.ingest(records)
            network.run()
            place = network.scope.reporters.index
            waiting = [
                (place(address), epoch) for (_, epoch, address), _ in network.state.items(REPORTS)
            ]
            found = network.complete_epochs, network.settled, waiting
        hidden.rename(other)
        return found

    assert session("reporter", two) == (2, 0, [(0, 0), (0, 1)])
    assert session("reporter-2", one) == (1, 1, [(0, 1)])
    assert session("reporter-2", two) == (2, 2, [])


def test_run_says_which_epoch_is_open_and_how_it_is_settled(registry: Path, tmp_path: Path) -> None:
    home, noon = tmp_path / "home", START + DAY + 12 * HOUR
    path = uplinks(tmp_path / "up.jsonl", [START, noon])
    words = ("--registry", registry, "--receptions", path, "--seed", 7, "--home", home)
    last = "epoch 1 is open: records reach 2025-03-04T12:00:00Z; `--complete` settles it"
    assert run("run", *words).splitlines()[-1] == last
    assert run("run", "--home", home).splitlines()[-1] == last
    found = json.loads(run("run", "--home", home, "--json"))
    assert (found["epochs_settled"], found["epochs_complete"]) == (1, 1)
    assert found["records_reach"] == "2025-03-04T12:00:00Z"
    last = "epoch 2 is open: records reach 2025-03-04T12:00:00Z"
    assert run("run", "--complete", "--home", home).splitlines()[-1] == last


@pytest.mark.parametrize("options", [(), ("--start", "2025-03-03")])
def test_run_without_records_says_so(
    options: Sequence[str], registry: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    run("init", "--seed", 7, "--home", home, *options)
    run("load", registry, "--home", home)
    said = "no records have been loaded: there is no epoch to settle"
    assert run("run", "--home", home).splitlines()[-1] == said
    assert json.loads(run("run", "--home", home, "--json"))["sealed"] is bool(options)


# --- outliers ------------------------------------------------------------------------------------

DAYS = st.integers(-200, 200)
"""Days from the start of these tests."""


def receptions(times: Sequence[int]) -> Telemetry:
    """Receptions of one gateway."""
    rows = [Reception(time, "ttn:roof-1", delivered=True) for time in times]
    return Telemetry(receptions=to_table("receptions", rows), gives=frozenset(UPLINK_METRICS))


def aside(data: Telemetry) -> list[tuple[str, int]]:
    """Return file and line of each record that lies far from the others."""
    rows = data.rejected.to_pylist()
    return [(row["file"], row["line"]) for row in rows if row["reason"] == "far_in_time"]


@given(days=st.lists(DAYS, max_size=30), gap=st.integers(0, 60), until=DAYS | st.none())
def test_records_are_divided_where_more_days_than_the_gap_are_empty(
    days: list[int], gap: int, until: int | None
) -> None:
    """The slow reference: a record begins a part when all days before it are empty for so long."""
    limit = None if until is None else START + until * DAY
    parts = outliers.divide([np.array(days, np.int64) * DAY + START], gap, limit)
    slow: list[list[int]] = []
    for day in sorted(days):
        empty = day - slow[-1][-1] - 1 if slow else gap + 1
        late = until is not None and slow and slow[-1][-1] <= until < day
        if empty > gap or late:
            slow.append([])
        slow[-1].append(day)
    assert [(p.first, p.last, p.count) for p in parts] == [
        (START + run[0] * DAY, START + run[-1] * DAY, len(run)) for run in slow
    ]


def test_one_wrong_date_among_few_refuses_the_load_with_file_line_and_date(
    registry: Path, tmp_path: Path
) -> None:
    times = [START + hour * HOUR for hour in range(20)]
    path = uplinks(tmp_path / "up.jsonl", [*times, START + 2192 * DAY])
    said = (
        "records lie more than 31 days apart: 20 from 2025-03-03T00:00:00Z to"
        " 2025-03-03T19:00:00Z (up.jsonl, line 1); 1 at 2031-03-04T00:00:00Z (up.jsonl, line 21);"
        " mend the dates, or, if they are right, say --gap DAYS"
    )
    with pytest.raises(FarInTime) as refused:
        load(registry, path)
    assert str(refused.value) == said
    home = tmp_path / "home"
    run("init", "--seed", 7, "--home", home)
    assert said in run("load", registry, path, "--until", "2040-01-01", "--home", home, code=1)
    assert json.loads(run("status", "--home", home, "--json"))["sealed"] is False
    assert len(load(registry, path, gap=None).receptions) == 21
    allowed = ("--gap", 2200, "--until", "2031-12-31")
    assert "21 receptions" in run("load", registry, path, "--home", home, *allowed)


@pytest.mark.parametrize("far", [-3000 * DAY, -40 * DAY, 40 * DAY, 2192 * DAY])
def test_a_few_wrong_dates_among_many_are_set_aside_with_file_and_line(
    far: int, registry: Path, tmp_path: Path
) -> None:
    good = [START + minute * 60 * SECOND for minute in range(300)]
    sound = uplinks(tmp_path / "sound.jsonl", good[:150])
    path = uplinks(tmp_path / "up.jsonl", [*good[150:], START + far, START + far])
    watched = statuses(tmp_path / "statuses.csv", [START, START + far])
    data = load(registry, sound, path, watched)
    assert aside(data) == [("statuses.csv", 3), ("up.jsonl", 151), ("up.jsonl", 152)]
    assert data.span == (good[0], good[-1])
    assert max(filter(None, data.gateways["last_seen"].to_pylist())) == good[-1]
    with pytest.raises(RecordRejected, match="far_in_time"):
        load(registry, sound, path, watched, strict=True)
    with create() as network:
        network.ingest(data)
        assert network.genesis.start_time == START
        assert network.complete_epochs == 0


def test_equal_parts_of_few_records_are_refused_as_far_in_time(tmp_path: Path) -> None:
    """Neither of two halves is set aside."""
    path = uplinks(tmp_path / "up.jsonl", [START + n * 40 * DAY for n in range(2)])
    with pytest.raises(FarInTime, match=r"line 1\); 1 at 2025-04-12T00:00:00Z \(up.jsonl, line 2"):
        load(path)


@settings(max_examples=40)
@given(
    home=st.lists(st.integers(0, 60), min_size=1, max_size=5),
    more=st.lists(DAYS, min_size=1, max_size=5),
)
def test_records_that_a_sealed_network_takes_lie_near_its_own(
    home: list[int], more: list[int]
) -> None:
    """A part counts as near when no more than 31 empty days lie between it and the network's."""
    first, last = min(home), max(home)
    with create() as network:
        network.ingest(receptions([START + day * DAY for day in home]), gap=None)
        before = network.height, network.feed.telemetry.receptions
        parts: list[list[int]] = []
        for day in sorted(more):
            if not parts or day - parts[-1][-1] > 32:
                parts.append([])
            parts[-1].append(day)
        near = [run for run in parts if run[-1] >= first and run[0] - last <= 32]
        data = receptions([START + day * DAY for day in more])
        if near == parts:
            network.ingest(data)
            reached = START + max(last, *more) * DAY
            assert network.reaches == reached
            return
        with pytest.raises(FarInTime, match="2025"):
            network.ingest(data)
        assert (network.height, network.feed.telemetry.receptions) == before


def test_a_few_records_far_from_a_sealed_network_are_one_reject_a_part() -> None:
    near, far = [START + n * SECOND for n in range(400)], START + 300 * DAY
    with create() as network:
        network.ingest(receptions(near[:10]))
        for _ in range(2):
            network.ingest(receptions([*near, far, far + DAY, 2 * far - START]), gap=31)
            rows = network.feed.telemetry.rejected.to_pylist()
            assert [(row["reason"], row["line"], row["detail"]) for row in rows] == [
                ("far_in_time", 1, "1 at 2026-10-24T00:00:00Z"),
                ("far_in_time", 2, "2 from 2025-12-28T00:00:00Z to 2025-12-29T00:00:00Z"),
            ]
            assert network.reaches == near[-1]
            assert len(network.feed.refused) == 2


def test_the_order_of_two_loads_decides_which_of_them_is_refused() -> None:
    early, late = (receptions([START + day * DAY]) for day in (0, 90))
    for first, second in ((early, late), (late, early)):
        with create() as network:
            network.ingest(first)
            with pytest.raises(FarInTime, match="--gap DAYS"):
                network.ingest(second)
            network.ingest(second, gap=100 if second is late else None)


@pytest.mark.parametrize(
    ("hours", "kept"), [(1, True), (23, True), (25, False), (24 * 365 * 70, False)]
)
def test_the_command_line_knows_that_nothing_can_come_from_the_day_after_tomorrow(
    hours: int, kept: bool, registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Clock:
            return cls.fromtimestamp(START // SECOND, tz)

    monkeypatch.setattr("dii.cli.telemetry.datetime", Clock)
    path = uplinks(tmp_path / "up.jsonl", [START, START + hours * HOUR])
    home = tmp_path / "home"
    run("init", "--seed", 7, "--home", home)
    words = ("load", registry, path, "--home", home)
    if kept:
        assert "2 receptions" in run(*words)
    else:
        said = run(*words, code=1)
        assert "some records are dated later than 2025-03-04T00:00:00Z; by date they are" in said
        assert f"1 at {format_time(START + hours * HOUR)} (up.jsonl, line 2)" in said
        assert "--gap DAYS and --until DATE" in said
        far = ("--gap", 40_000, "--until", "2100-01-01")
        assert "2 receptions" in run(*words, *far)


def test_a_load_with_nothing_but_impossible_dates_is_refused(tmp_path: Path) -> None:
    path = uplinks(tmp_path / "up.jsonl", [START + DAY])
    with pytest.raises(FarInTime, match=r"1 at 2025-03-04T00:00:00Z \(up.jsonl, line 1\)"):
        load(path, until=datetime(2025, 3, 3, tzinfo=UTC))
    with pytest.raises(FarInTime):
        load(path, until=datetime(2025, 3, 3), gap=None)  # noqa: DTZ001 - without a zone it is UTC
    assert len(load(path, until=datetime(2025, 3, 4, tzinfo=UTC)).receptions) == 1


def test_a_clock_that_was_never_set_is_told_and_not_used(
    registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Clock:
            return cls(1970, 1, 1, 0, 5, tzinfo=tz)

    monkeypatch.setattr("dii.cli.telemetry.datetime", Clock)
    path, home = uplinks(tmp_path / "up.jsonl", [START]), tmp_path / "home"
    run("init", "--seed", 7, "--home", home)
    said = run("load", registry, path, "--home", home)
    assert "this machine's clock says 1970-01-01: it is not used" in said
    assert "1 receptions" in said


def test_a_date_that_cannot_be_read_is_a_fault_of_usage(registry: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    run("init", "--seed", 7, "--home", home)
    for text in ("soon", "2025-13-01"):
        said = run("load", registry, "--until", text, "--home", home, code=2)
        assert "write it like 2025-03-11" in " ".join(said.split())


def test_records_from_before_a_network_are_refused_with_what_to_do() -> None:
    with create(start="2025-03-10") as network:
        with pytest.raises(FarInTime, match=r"before 2025-03-10.*a network of their own"):
            network.ingest(receptions([START, START + DAY]))
        network.ingest(receptions([START, START + 8 * DAY]))
        assert network.feed.telemetry.rejects["reason"].tolist() == ["before_start"]


@pytest.mark.parametrize("far", [-3000 * DAY, 2192 * DAY])
@pytest.mark.parametrize("place", [0, 100, 199])
def test_a_poll_with_a_wrong_date_costs_no_other_poll(far: int, place: int, tmp_path: Path) -> None:
    times = [START + hour * HOUR for hour in range(200)]
    times[place] += far
    path = tmp_path / "polls.csv"
    rows = [f"eui-{'0' * 15}1,{time},{n},{time}" for n, time in enumerate(map(format_time, times))]
    path.write_text("\n".join(["device_id,last_online,rx_ok,measured_at", *rows]))
    data = load(path)
    assert len(data.statuses) == 199
    assert aside(data) == [("polls.csv", place + 2)]
    assert data.rejects["reason"].tolist() == ["far_in_time"]


def test_a_gateway_cannot_have_been_seen_after_all_possible_times(tmp_path: Path) -> None:
    path = tmp_path / "registry.json"
    seen = {"last_seen": format_time(START + 2192 * DAY)}
    path.write_text(json.dumps(REGISTRY | {"roof-1": REGISTRY["roof-1"] | seen}))
    data = load(path, until=datetime(2025, 3, 4, tzinfo=UTC))
    assert data.gateways["last_seen"].to_pylist() == [None, None]
    assert data.gateways["operator"].to_pylist() == ["ann", "ben"]
    assert data.rejects["detail"].tolist() == [
        "last_seen: at most 2025-03-04T00:00:00Z is expected"
    ]


@given(
    days=st.lists(st.integers(0, 30), min_size=200, max_size=300),
    wrong=st.lists(st.integers(100, 9_000), max_size=2),
)
@settings(max_examples=25)
def test_generated_traffic_starts_after_all_but_wrong_dates(
    days: list[int], wrong: list[int]
) -> None:
    rows = [
        Gateway(f"ttn:{number}", last_seen=START + day * DAY)
        for number, day in enumerate([*days, *wrong])
    ]
    traffic = Traffic.after(to_table("gateways", rows), 1)
    assert traffic.start == START + (max(days) + 1) * DAY


def test_statuses_beside_generated_traffic_lie_near_it(registry: Path, tmp_path: Path) -> None:
    watched = load(registry, statuses(tmp_path / "statuses.csv", [START + 300 * DAY]))
    with create() as network, pytest.raises(FarInTime):
        network.ingest(watched, Traffic(START, 3))
    with create() as network:
        network.ingest(load(registry), Traffic(START, 3))
        with pytest.raises(FarInTime):
            network.ingest(watched)
        assert network.complete_epochs == 3


# --- records that are refused ---------------------------------------------------------------------


@pytest.mark.parametrize("day", [-1, 0, 90])
def test_a_record_that_is_refused_makes_its_gateway_not_known(
    day: int, registry: Path, tmp_path: Path
) -> None:
    """It is too early, late, or far from the others; neither a row nor a place remains of it."""
    times = [START + n * SECOND for n in range(400)]
    with create() as network:
        network.ingest(load(registry, uplinks(tmp_path / "one", [*times, START + DAY])))
        assert network.run().settled == 1
        wrong = uplinks(tmp_path / "two", [START + day * DAY + HOUR], ["roof-9"])
        right = uplinks(tmp_path / "three", [*times, START + 2 * DAY])
        network.ingest(load(right) + load(wrong))
        assert network.run().settled == 2
        assert network.feed.telemetry.rejected["reason"].to_pylist() == [
            {-1: "before_start", 0: "late", 90: "far_in_time"}[day]
        ]
        assert network.metrics(1)["gateway"].to_pylist() == ["ttn:roof-1", "ttn:roof-2"]
        network.ingest(load(uplinks(wrong, [START + 3 * DAY], ["roof-9"])))
        assert network.run().settled == 3
        assert "ttn:roof-9" not in network.metrics(2)["gateway"].to_pylist()


def test_a_record_far_from_all_others_of_a_load_makes_its_gateway_not_known(
    registry: Path, tmp_path: Path
) -> None:
    times = [START + n * SECOND for n in range(400)]
    path = uplinks(tmp_path / "one", [*times, START + DAY])
    with path.open("a") as file:
        file.write(uplink(START + 90 * DAY, gateways=["roof-1", "roof-9"]))
    data = load(registry, path)
    assert aside(data) == [("one", 402)] * 2
    assert data.known_since() == {"ttn:roof-1": 0, "ttn:roof-2": 0}
    (seen,) = [row for row in data.gateways.to_pylist() if row["gateway"] == "ttn:roof-1"]
    assert seen["last_seen"] == START + DAY


# --- files that end early ------------------------------------------------------------------------


def test_run_names_a_file_that_ends_before_an_epoch_that_others_complete(
    registry: Path, tmp_path: Path
) -> None:
    whole = uplinks(tmp_path / "one.jsonl", [START, START + DAY, START + 2 * DAY])
    short = uplinks(tmp_path / "two.jsonl", [START, START + 36 * HOUR], ["roof-2"])
    nearly = statuses(tmp_path / "three.csv", [START + DAY - HOUR])
    home = tmp_path / "home"
    run("init", "--seed", 7, "--home", home)
    run("load", registry, whole, short, nearly, "--home", home)
    said = (
        "two.jsonl ends at 2025-03-04T12:00:00Z, before the end of epoch 1, which other files reach"
    )
    assert said not in run("run", "--epochs", 1, "--home", home)
    done = json.loads(run("run", "--home", home, "--json"))
    assert done["notes"] == [said]
    assert json.loads(run("run", "--home", home, "--json"))["notes"] == []


@pytest.mark.parametrize(("begins", "named"), [(0, 1), (59, 1), (-59, 1), (61, 2), (-61, 2)])
def test_a_log_that_another_file_continues_does_not_end_early(
    begins: int, named: int, registry: Path, tmp_path: Path
) -> None:
    """Logs of a gateway, rotated at six; the second of them ends at noon, and none continues it."""
    six, minute = START + 6 * HOUR, 60 * SECOND
    logs = [
        uplinks(tmp_path / "log.1", [START, six]),
        uplinks(tmp_path / "log.2", [six + begins * minute, START + 12 * HOUR]),
        uplinks(tmp_path / "other", [START, START + DAY], ["roof-2"]),
    ]
    with create() as network:
        network.ingest(load(registry, *logs))
        notes = network.run().notes
    assert [note.split()[0] for note in notes] == ["log.1", "log.2"][-named:]


def test_a_file_that_has_grown_ends_where_it_ends_now(registry: Path, tmp_path: Path) -> None:
    whole = uplinks(tmp_path / "one.jsonl", [START, START + DAY])
    grown = uplinks(tmp_path / "two.jsonl", [START, START + 12 * HOUR], ["roof-2"])
    with create() as network:
        network.ingest(load(registry, whole, grown))
        uplinks(grown, [START, START + 12 * HOUR, START + DAY], ["roof-2"])
        network.ingest(load(grown))
        assert list(network.run().notes) == []


def test_a_few_of_many_files_that_end_early_are_named(registry: Path, tmp_path: Path) -> None:
    paths = [uplinks(tmp_path / f"{n}.jsonl", [START, START + (n + 2) * HOUR]) for n in range(9)]
    with create() as network:
        network.ingest(load(registry, *paths, uplinks(tmp_path / "whole.jsonl", [START + DAY])))
        notes = network.run().notes
    assert [note.split()[0] for note in notes] == ["0.jsonl", "1.jsonl", "2.jsonl", "so"]
    assert notes[-1] == "so do 6 more files"


def test_an_epoch_of_an_hour_has_no_file_that_ends_an_hour_early(tmp_path: Path) -> None:
    paths = [uplinks(tmp_path / f"{n}.jsonl", [START, START + n * HOUR]) for n in range(3)]
    with create(epoch_seconds=3600) as network:
        network.ingest(load(*paths))
        assert (network.run().settled, list(network.notes)) == (2, [])


# --- no dead ends --------------------------------------------------------------------------------

AIRTIMES = st.lists(st.integers(0, 3 * 10**12), min_size=1, max_size=4)
"""Microseconds; 10**12 are the most that a report can carry."""


@given(up=AIRTIMES, down=AIRTIMES)
def test_values_above_their_bound_are_cut_and_told(up: list[int], down: list[int]) -> None:
    rows = [
        Reception(
            START + number, "ttn:roof-1", kind=kind, device="D", application="water",
            f_cnt=number, airtime=airtime, delivered=kind == "data",
        )
        for kind, airtimes in (("data", up), ("downlink", down))
        for number, airtime in enumerate(airtimes)
    ]  # fmt: skip
    found = metrics(
        to_table("receptions", rows),
        SCHEMAS["statuses"].empty_table(),
        operators={},
        gateways=None,
        start=START,
        length=DAY,
        gives=frozenset({"uplink_units", "downlink_units", "usage.uplink_units"}),
    )
    units = {"uplink_units": sum(-(-one // 10_000) for one in up)}
    units["downlink_units"] = sum(-(-one // 10_000) for one in down)
    assert found.metrics.to_pylist() == [
        {"gateway": "ttn:roof-1"} | {name: min(count, 10**8) for name, count in units.items()}
    ]
    assert found.usage["uplink_units"].to_pylist() == [min(units["uplink_units"], 10**8)]
    above = {name for name, count in units.items() if count > 10**8}
    assert found.cut == dict.fromkeys(
        above | {f"usage.{name}" for name in above - {"downlink_units"}}, 1
    )


def test_a_gateway_above_a_bound_is_reported_settled_and_noted() -> None:
    heard = [Reception(START, "ttn:roof-1", airtime=2 * 10**12, delivered=True)]
    data = Telemetry(receptions=to_table("receptions", heard), gives=UPLINK_METRICS)
    with create() as network:
        network.ingest(data)
        assert network.run(complete=True).settled == 1
        assert network.notes == ["epoch 0: 1 values of uplink_units are cut to 100,000,000"]
        assert network.receipt("ttn:roof-1", 0).metrics["uplink_units"] == 10**8


def small(home: Path, **limits: int) -> Path:
    """Make a home of a network with other limits."""
    create(home=home).close()
    draft = tomllib.loads((home / "draft.toml").read_text())
    (home / "draft.toml").write_text(tomli_w.dumps(draft | {"limits": limits}))
    return home


def test_bound_and_busy_gateways_stay_in_a_report_of_too_many_rows(tmp_path: Path) -> None:
    """Gateways 0 to 2 have an owner; of the others the higher heard more."""
    names = [f"ttn:roof-{number}" for number in range(9)]
    owned = [Gateway(name, "ann") for name in names[:3]]
    heard = [
        Reception(START + n * SECOND, name, device=name, application=f"app-{number}", f_cnt=n)
        for number, name in enumerate(names)
        for n in range(number)
    ]
    data = Telemetry(
        gateways=to_table("gateways", owned),
        receptions=to_table("receptions", [row._replace(delivered=True) for row in heard]),
        gives=UPLINK_METRICS | {"usage.delivered"},
    )
    with Network.open(small(tmp_path / "home", max_rows=5)) as network:
        network.ingest(data)
        assert network.run(complete=True).settled == 1
        assert network.notes == [
            "epoch 0: 4 of 9 gateways are left out, more than a report may have",
            "epoch 0: 5 of 10 rows of usage are left out, more than a report may have",
        ]
        kept = set(network.issuance(0)["gateway"])
        assert kept == {"ttn:roof-0", "ttn:roof-1", "ttn:roof-2", "ttn:roof-7", "ttn:roof-8"}
        network.verify()


def test_a_report_that_differs_from_what_was_announced_is_announced_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session ends between manifest and chunk, and the telemetry has changed meanwhile."""
    home = tmp_path / "home"
    with create(home=home) as network:
        network.ingest(receptions([START, START + DAY]))
        original = Solo.produce

        def produce(solo: Solo, wires: Sequence[bytes] = (), time: int | None = None) -> object:
            placed = original(solo, wires[:1], time)
            if list(network.state.items(REPORTS)):
                raise KeyboardInterrupt
            return placed

        monkeypatch.setattr(Solo, "produce", produce)
        with pytest.raises(KeyboardInterrupt):
            network.run()
        monkeypatch.undo()
    shutil.rmtree(home / "telemetry")
    with Network.open(home) as network:
        network.ingest(receptions([START, START + SECOND, START + DAY]))
        assert network.run().settled == 1
        assert network.receipt("ttn:roof-1", 0).metrics["receptions"] == 2
        network.verify()


def test_a_report_that_comes_when_the_others_settle_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Put each message into a block of its own, so that the last reporter is too late."""
    home = tmp_path / "home"
    create(home=home, reporters=4).close()
    draft = tomllib.loads((home / "draft.toml").read_text())
    (home / "draft.toml").write_text(tomli_w.dumps(draft | {"report_window_seconds": 2}))
    original = Solo.produce
    monkeypatch.setattr(
        Solo, "produce", lambda solo, wires=(), time=None: original(solo, wires[:1], time)
    )
    with Network.open(home) as network:
        network.ingest(receptions([START, START + DAY, START + 2 * DAY]))
        assert network.run().settled == 2
        assert network.receipt("ttn:roof-1", 1).metrics["receptions"] == 1
        network.verify()
