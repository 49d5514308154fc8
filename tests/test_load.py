"""Loaded telemetry: merging, saving and showing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dii.errors import RecordRejected, SourceMissing, SourceUnreadable
from dii.schema import METRICS, TABLES, Gateway, Reception
from dii.telemetry.load import Telemetry, load
from dii.telemetry.tables import SCHEMAS, arrow_schema, to_table
from tests.require import ROOT, real_data

START = 1_600_000_000_000_000
REGISTRY = "ttn/registry_world_2018-04-20.json"
UPLINKS = "ttn/ttn_v3_uplinks.jsonl"

NAMES = st.sampled_from(["00000000000000AA", "00000000000000BB", "ttn:roof"])


def rows(*columns: list[object] | st.SearchStrategy[object]) -> st.SearchStrategy[list[Any]]:
    """Lists of rows, of few values so that rows repeat."""
    values = (c if isinstance(c, st.SearchStrategy) else st.sampled_from(c) for c in columns)
    return st.lists(st.tuples(*values), max_size=5)


TIMES = [START, START + 1, START + 2]
EUI = st.sampled_from([None, "00000000000000BB"])
GATEWAYS = rows(NAMES, [None, "alice", "bob"], [None, 1.5, 2.5], [None, "nl"], [None, *TIMES], EUI)
RECEPTIONS = rows(TIMES, st.none() | NAMES, [None, "A"], [None, -1.0], [None, True], EUI)
STATUSES = rows(TIMES, NAMES, [1], [None, 1], EUI)
REJECTED = rows(["f"], [1, 2], ["simulated", "bad_json"], [None], [None], [None, *TIMES])
GIVES = st.sampled_from(
    [
        frozenset(),
        frozenset({"connected_ppm"}),
        frozenset({"connected_ppm", "online_ppm"}),
        frozenset({"receptions", "excluded_frames"}),
        frozenset({"receptions", "excluded_frames", "uplinks"}),
    ]
)


@st.composite
def telemetry(draw: st.DrawFn) -> Telemetry:
    """Telemetry as loading makes it, in the order of merging."""
    gateways = [
        Gateway(name, operator, place, place, None, country, None, seen, eui)
        for name, operator, place, country, seen, eui in draw(GATEWAYS)
    ]
    receptions = [
        Reception(time, gateway, device=device, rssi=rssi, delivered=delivered, eui=eui)
        for time, gateway, device, rssi, delivered, eui in draw(RECEPTIONS)
    ]
    raw = Telemetry(
        gateways=to_table("gateways", gateways),
        receptions=to_table("receptions", receptions),
        statuses=to_table("statuses", draw(STATUSES)),
        rejected=to_table("rejects", draw(REJECTED)),
        gives=draw(GIVES),
    )
    return raw + Telemetry()


# --- merging --------------------------------------------------------------------------------------


@given(telemetry(), telemetry(), telemetry())
def test_merging_is_idempotent_and_does_not_care_for_order(
    a: Telemetry, b: Telemetry, c: Telemetry
) -> None:
    assert a + a == a
    assert a + Telemetry() == a
    assert a + b == b + a
    assert a + b + b == a + b
    assert (a + b) + c == a + (b + c)


@given(telemetry(), telemetry())
def test_a_row_counts_as_often_as_in_the_file_that_has_it_most(a: Telemetry, b: Telemetry) -> None:
    def counted(data: Telemetry) -> Counter[tuple[object, ...]]:
        return Counter(tuple(row.values()) for row in data.statuses.to_pylist())

    assert counted(a + b) == counted(a) | counted(b)


@given(telemetry(), telemetry())
def test_every_gateway_that_is_named_anywhere_stands_once_in_gateways(
    a: Telemetry, b: Telemetry
) -> None:
    both = a + b
    named = {*both.receptions["gateway"].to_pylist(), *both.statuses["gateway"].to_pylist()}
    gateways = both.gateways["gateway"].to_pylist()
    assert gateways == sorted(set(gateways))
    assert named - {None} <= set(gateways)


def test_the_latest_record_of_a_gateway_counts_and_others_fill_its_gaps() -> None:
    rows = [
        Gateway("ttn:roof", "alice", 1.0, 2.0, None, None, "indoor", START),
        Gateway("ttn:roof", None, 3.0, 4.0, 5.0, "nl", None, START + 1),
        Gateway("ttn:roof", "bob"),
    ]
    parts = [Telemetry(gateways=to_table("gateways", [row])) for row in rows]
    merged = parts[2] + parts[0] + parts[1]
    (row,) = merged.gateways.to_pylist()
    assert Gateway(**row) == Gateway("ttn:roof", "alice", 3.0, 4.0, 5.0, "nl", "indoor", START + 1)


def test_metrics_that_one_of_two_sources_does_not_give_are_unknown_in_the_sum() -> None:
    heard = frozenset({"receptions", "excluded_frames"})
    log, server = Telemetry(gives=heard), Telemetry(gives=heard | {"uplinks"})
    polls = Telemetry(gives=frozenset({"connected_ppm"}))
    assert (log + server).gives == heard
    assert (server + polls).gives == heard | {"uplinks", "connected_ppm"}
    assert (server + Telemetry()).gives == server.gives


def test_a_registry_and_receptions_combine(tmp_path: Path) -> None:
    registry = load(real_data(REGISTRY))
    owned = registry.gateways.filter(pa.compute.is_valid(registry.gateways["operator"]))
    gateway, operator = (owned[name][0].as_py() for name in ("gateway", "operator"))
    heard = pd.DataFrame({"time": [START], "gateway": [gateway.lower()], "delivered": [True]})
    data = load(real_data(REGISTRY), heard)
    assert len(data.gateways) == 5800
    (row,) = data.gateways.filter(pa.compute.field("gateway") == gateway).to_pylist()
    assert (row["operator"], row["last_seen"]) == (operator, START)
    assert data.span == (START, START)
    assert data == registry + load(heard)


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        UPLINKS,
        "ttn/ttn_v2_uplinks.jsonl",
        "ttn/gouda_receptions_2022-01-06.csv",
        "ttn/zurich_noc_counters_2017-09.csv",
    ],
)
def test_loading_a_file_twice_changes_nothing(name: str) -> None:
    path = real_data(name)
    once = load(path, gap=None)
    assert load(path, str(path), path.parent / f"{path.stem}*", gap=None) == once
    assert once + load(path, gap=None) == once


def test_files_of_one_name_are_told_apart_in_rejects(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "rows.csv").write_text(f"gateway,time\nroof,{START}\nroof,never\n")
    data = load(tmp_path / "*" / "rows.csv")
    assert len(data.receptions) == 1
    assert list(data.rejects.file) == [str(tmp_path / f / "rows.csv") for f in ("a", "b")]
    assert list(load(tmp_path / "a" / "rows.csv").rejects.file) == ["rows.csv"]


def test_strict_stops_at_the_first_bad_record_only(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(f"gateway,time\nroof,{START}\nroof,never\n")
    with pytest.raises(RecordRejected) as caught:
        load(path, strict=True)
    assert str(caught.value).startswith("rows.csv, line 3: bad_time: time: ")
    assert (
        len(load(real_data(UPLINKS), strict=True, gap=None).rejects) == 3
    )  # they are as they should be


def test_tables_longer_than_a_batch_are_whole(tmp_path: Path) -> None:
    count = 100_001
    path = tmp_path / "rows.csv"
    lines = [f"roof,{START + n},{n}" for n in reversed(range(count))]
    path.write_text("\n".join(["gateway,time,f_cnt", *lines]))
    data = load(path)
    assert data.receptions["f_cnt"].to_pylist() == list(range(count))
    data.receptions.to_pandas().to_parquet(tmp_path / "rows.parquet")
    assert load(tmp_path / "rows.parquet").receptions == data.receptions


# --- keeping --------------------------------------------------------------------------------------


@given(telemetry())
def test_saved_telemetry_is_opened_unchanged(data: Telemetry) -> None:
    with TemporaryDirectory() as folder:
        data.save(folder)
        contents = {path: path.read_bytes() for path in Path(folder).iterdir()}
        again = Telemetry.open(folder)
        assert again == data
        again.save(folder)
        assert {path: path.read_bytes() for path in Path(folder).iterdir()} == contents


class Crash(Exception):
    pass


def test_whenever_saving_is_cut_short_the_old_or_the_new_tables_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = load(real_data(UPLINKS), gap=None)
    new = old + Telemetry(gives=frozenset({"connected_ppm"}), gateways=to_table(
        "gateways", [Gateway("ttn:more")]
    ))  # fmt: skip
    seen = set()
    for cut in range(100):
        folder = tmp_path / str(cut)
        old.save(folder)
        left = cut

        def counted(action: Any, *arguments: Any, **options: Any) -> Any:
            nonlocal left
            if left == 0:
                raise Crash
            left -= 1
            return action(*arguments, **options)

        with monkeypatch.context() as patch:
            for owner, name in ((Path, "replace"), (Path, "unlink"), (os, "fsync")):
                action = getattr(owner, name)
                patch.setattr(
                    owner,
                    name,
                    lambda *arguments, action=action, **options: counted(
                        action, *arguments, **options
                    ),
                )
            try:
                new.save(folder)
            except Crash:
                found = Telemetry.open(folder)
                assert found in (old, new)
                seen.add(found == new)
                continue
        assert Telemetry.open(folder) == new
        break
    assert seen == {False, True}
    assert cut > 10
    new.save(folder)
    assert len([path for path in folder.iterdir() if not path.name.startswith(".")]) == 6


def test_a_folder_without_telemetry_and_a_damaged_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing, match="telemetry"):
        Telemetry.open(tmp_path)
    load(real_data(UPLINKS), gap=None).save(tmp_path)
    manifest = tmp_path / "telemetry.json"
    whole = json.loads(manifest.read_text())
    for broken in (
        "",
        "[]",
        "{}",
        json.dumps(whole | {"files": {}}),
        json.dumps(whole | {"files": whole["files"] | {"gateways": 5}}),
        json.dumps(whole | {"files": whole["files"] | {"gateways": "../x.parquet"}}),
        json.dumps(whole | {"files": whole["files"] | {"gateways": whole["files"]["rejects"]}}),
    ):
        manifest.write_text(broken)
        with pytest.raises(SourceUnreadable, match="not a saved telemetry"):
            Telemetry.open(tmp_path)
    manifest.write_text(json.dumps(whole))
    (tmp_path / whole["files"]["receptions"]).write_bytes(b"PAR1")
    with pytest.raises(SourceUnreadable):
        Telemetry.open(tmp_path)


# --- showing --------------------------------------------------------------------------------------


def test_rejects_are_a_data_frame_with_the_schemas_columns() -> None:
    rejects = load(real_data(UPLINKS), gap=None).rejects
    assert list(rejects) == [column.name for column in TABLES["rejects"]]
    assert str(rejects.line.dtype) == "Int64"
    assert list(Telemetry().rejects) == list(rejects)


def test_a_summary_says_how_much_there_is_and_what_it_gives() -> None:
    data = load(real_data(REGISTRY), real_data(UPLINKS), gap=None)
    for text in (repr(data), data._repr_html_()):
        for part in ("5,809 of 2,981 operators", "41", "1 simulated", "shapley_uplinks"):
            assert part in text
        assert "2020-02-16T14:10:59Z to 2022-10-11T13:43:14Z" in text
        assert "online_ppm" not in text
    assert "metrics    none" in repr(Telemetry())
    assert load(real_data(REGISTRY)).span is None


def test_arrow_schemas_are_those_of_the_schema() -> None:
    for name, columns in TABLES.items():
        schema = arrow_schema(columns)
        assert schema.equals(SCHEMAS[name])
        assert [field.nullable for field in schema] == [not c.required for c in columns]
        assert getattr(Telemetry(), "rejected" if name == "rejects" else name).schema == schema


def test_the_schema_loads_no_table_engine() -> None:
    code = (
        "import sys, dii.telemetry, dii.schema, dii.telemetry.readers.fields; "
        "print({'pyarrow', 'pandas', 'duckdb', 'numpy'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.stdout.strip() == "set()", run.stderr
    assert set(METRICS) >= Telemetry().gives
