"""Damaged input: a named error or a counted reject, never a crash, never silence."""

from __future__ import annotations

import copy
import csv
import gzip
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache, partial
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dii.errors import (
    BadColumns,
    InputTooLarge,
    RecordRejected,
    SourceMissing,
    SourceUnreadable,
    TelemetryError,
    UnknownFormat,
)
from dii.schema import BOUNDS, EARLIEST, LATEST, TABLES
from dii.telemetry import load as loading
from dii.telemetry.formats import READERS
from dii.telemetry.load import Telemetry, explain
from dii.telemetry.source import MAX_LINE
from dii.telemetry.tables import EXPECTED, FIELD_REASONS, REJECT_REASONS
from tests.require import real_data

load = partial(loading.load, gap=None)  # real files, and wrong ones, hold many dates

GATEWAYS = {
    "roof": {
        "id": "roof",
        "owner": "alice",
        "owners": ["alice", "bob"],
        "location": {"latitude": 52.0, "longitude": 5.0, "altitude": 3},
        "country_code": "nl",
        "attributes": {"placement": "indoor"},
        "last_seen": "2018-04-20T11:00:09Z",
    },
    "eui-00000000000000aa": {"id": "eui-00000000000000aa", "last_seen": "2018-04-20T11:00:09Z"},
}


def reasons(data: Telemetry) -> dict[str, int]:
    return dict(Counter(data.rejected["reason"].to_pylist()))


@cache
def samples() -> dict[str, list[Any]]:
    """Real records of each JSON format, small enough to be mutated often."""
    registry = json.loads(real_data("ttn/registry_world_2018-04-20.json").read_text())
    uplinks = real_data("ttn/ttn_v3_uplinks.jsonl").read_text().splitlines()
    with gzip.open(real_data("campusiot/saint_eynard_device33.ndjson.gz"), "rt") as lines:
        hilltop = [json.loads(next(lines)) for _ in range(10)]
    return {
        "registry": [registry[name] for name in sorted(registry)[3000:3010]],
        "things-stack": [json.loads(line) for line in uplinks],
        "chirpstack": hilltop,
    }


# --- whole files ----------------------------------------------------------------------------------


def test_a_missing_file_and_a_pattern_without_files_are_named(tmp_path: Path) -> None:
    for name in ("nowhere.json", "*.jsonl", "no\0where", "x" * 5000):
        with pytest.raises(TelemetryError, match=r"nowhere|jsonl|where|xxx"):
            load(tmp_path / name)


def test_a_directory_is_refused(tmp_path: Path) -> None:
    for name in (tmp_path, "."):
        with pytest.raises(SourceUnreadable, match=rf"^{re.escape(Path(name).name or '.')}: a dir"):
            load(name)


def test_a_device_is_refused() -> None:
    with pytest.raises(SourceUnreadable, match="no regular file"):
        load("/dev/zero")


@pytest.mark.parametrize("content", [b"", gzip.compress(b"", mtime=0)])
def test_an_empty_file_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_bytes(content)
    with pytest.raises(UnknownFormat, match=r"empty\.jsonl.*it is empty"):
        load(tmp_path / "empty.jsonl")


@pytest.mark.parametrize(
    "content",
    [
        b"\n\n\n", b"{}", b"[]", b"null", b"[1, 2]", b"{", b'{"a": ', b"hello", b"\0" * 100,
        b"\x1f\x8b", b"\x1f\x8bnot gzip at all", b"[" * 100_000,
        b'{"a":' * 100_000, b"a,b,c\n1,2,3\n", b"1" * 100_000, b'"gateway\n',
    ],
)  # fmt: skip
def test_a_file_of_nothing_known_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(UnknownFormat, match="no reader knows"):
        load(tmp_path / "file")


def test_a_damaged_parquet_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file.parquet").write_bytes(b"PAR1" + b"\0" * 100 + b"PAR1")
    with pytest.raises(SourceUnreadable, match=r"file\.parquet"):
        load(tmp_path / "file.parquet")


def test_damage_within_a_parquet_file_keeps_what_precedes_it(tmp_path: Path) -> None:
    path = tmp_path / "receptions.parquet"
    count = 120_000
    times = [EARLIEST + step for step in range(count)]
    table = pa.table({"time": times, "gateway": ["roof"] * count})
    pq.write_table(table, path, row_group_size=50_000, compression="none", use_dictionary=False)
    content = bytearray(path.read_bytes())
    group = pq.read_metadata(path).row_group(2).column(1)
    content[group.data_page_offset : group.data_page_offset + 2000] = b"\xff" * 2000
    path.write_bytes(content)
    data = load(path)
    assert reasons(data) == {"bad_table": 1}
    assert len(data.receptions) == 100_000


def test_lines_of_rejects_are_right_in_a_table_of_any_length(tmp_path: Path) -> None:
    rows = ["time,gateway,rssi", *(f"{EARLIEST + row},roof,-100" for row in range(120_000))]
    for line, wrong in {
        11: "a,roof,-100",
        12: "1,roof",
        70_001: "1,roof",
        110_001: "b,roof,",
    }.items():
        rows[line - 1] = wrong
    (tmp_path / "long.csv").write_text("\n".join(rows))
    assert load(tmp_path / "long.csv").rejects["line"].to_list() == [11, 12, 70_001, 110_001]


@pytest.mark.parametrize("line", [b"\n", b""])
def test_a_gzip_bomb_is_refused_before_it_expands(line: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bomb.jsonl.gz"
    with gzip.open(path, "wb") as stream:
        stream.write(b'{"end_device_ids": {}}\n')
        for _ in range(100):
            stream.write(b" " * (1 << 20) + line)
    assert path.stat().st_size < 200_000
    with pytest.raises(InputTooLarge, match=r"bomb\.jsonl\.gz: expanded content of") as caught:
        load(path)
    assert int(str(caught.value.numbers["size"])) < 70 << 20


def test_a_document_that_expands_beyond_reason_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.json.gz"
    with gzip.open(path, "wb") as stream:
        stream.write(b'{"roof": {"id": "roof"},')
        for _ in range(100):
            stream.write(b" " * (1 << 20))
        stream.write(b'"cellar": {"id": "cellar"}}')
    with pytest.raises(InputTooLarge):
        load(path)


def test_a_parquet_file_that_expands_beyond_reason_is_refused(tmp_path: Path) -> None:
    count = 5_000_000
    table = pa.table(
        {"time": pa.repeat(EARLIEST, count), "gateway": pa.repeat("roof", count).cast("string")}
    )
    pq.write_table(table, tmp_path / "bomb.parquet", compression="zstd")
    with pytest.raises(InputTooLarge, match="rows"):
        load(tmp_path / "bomb.parquet")


def test_columns_must_be_the_schemas_and_one_of_each(tmp_path: Path) -> None:
    path = tmp_path / "receptions.csv"
    path.write_text("t,time,gateway\n1,2,roof\n")
    with pytest.raises(BadColumns, match="'when'"):
        load(path, columns={"t": "when"})
    for ask in (load, explain):
        with pytest.raises(BadColumns, match=r"the other way round: FOREIGN=NAME, here t=time$"):
            ask(path, columns={"time": "t"})
    with pytest.raises(BadColumns, match="two columns are 'time'"):
        load(path, columns={"t": "time"})
    with pytest.raises(UnknownFormat):
        load(path, columns={"gateway": ""})


def test_ignored_columns_of_a_plain_table_are_explained(tmp_path: Path) -> None:
    path = tmp_path / "receptions.csv"
    path.write_text("time,gateway,frame_counter,device,note\n1,roof,2,d,\n")
    assert ignored(path, {}) == "; columns that are none of ours: frame_counter, note"
    assert ignored(path, {"frame_counter": "f_cnt", "note": ""}) == ""


def ignored(path: Path, columns: dict[str, str]) -> str:
    """Return the rejects of a plain table of receptions with some columns."""
    judged = explain(path, columns=columns)
    (why,) = judged["why"][judged["taken"]]
    return str(why).removeprefix("plain receptions: CSV or Parquet with the columns of the schema")


def test_a_data_frame_that_arrow_cannot_hold_is_refused() -> None:
    with pytest.raises(SourceUnreadable, match="table 1"):
        load(pd.DataFrame({"gateway": ["roof", 1, {}], "time": [1, 2, 3]}))


# --- lines and records ----------------------------------------------------------------------------


def uplink(**changes: object) -> bytes:
    message = {
        "received_at": "2022-01-01T00:00:00Z",
        "rx_metadata": [{"gateway_ids": {"gateway_id": "roof"}}],
    }
    return json.dumps({"end_device_ids": {}, "uplink_message": message} | changes).encode()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (uplink()[:-1], "bad_json"),
        (uplink() + b"}", "bad_json"),
        (b"[" * 50_000, "bad_json"),
        (b"9" * 5_000, "bad_json"),
        (uplink().replace(b"roof", b"r\xffof"), "bad_text"),
        (uplink().replace(b"roof", b"\xed\xa0\x80"), "bad_text"),
        (b"[]", "bad_record"),
        (b"NaN", "bad_record"),
        (b'{"result": 1}', "bad_record"),
        (b'{"error": {"code": 2}}', "bad_record"),
        (uplink(uplink_message=None), "no_time"),
        (uplink(uplink_message=[1]), "bad_field"),
        (uplink(uplink_message={"received_at": "0001-01-01T00:00:00Z"}), "no_time"),
        (uplink(uplink_message={"received_at": "1969-01-01T00:00:00Z"}), "no_time"),
        (uplink(uplink_message={"received_at": "1970-01-02T00:00:00Z"}), "bad_time"),
        (uplink(uplink_message={"received_at": "9999-01-01T00:00:00Z"}), "bad_time"),
        (uplink(uplink_message={"received_at": "0001-01-01T00:00:00+14:00"}), "no_time"),
        (uplink(uplink_message={"received_at": 1_600_000_000_000_000}), "bad_time"),
        (uplink(uplink_message={"received_at": "today"}), "bad_time"),
        (uplink(uplink_message={}, received_at="2022-01-01T00:00:00Z"), "no_receptions"),
        (uplink().replace(b"roof", b"a" * 300), "bad_field"),
        (uplink().replace(b"roof", b"\\u0000"), "bad_field"),
        (uplink().replace(b"roof", b"\\ud800"), "bad_field"),
        (uplink().replace(b'"roof"', b"NaN"), "bad_field"),
        (uplink().replace(b'"roof"', b'""'), "bad_field"),
        (b" " * MAX_LINE + uplink(), "long_line"),
    ],
)
def test_a_bad_line_is_rejected_by_its_reason_and_the_others_stay(
    line: bytes, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "uplinks.jsonl"
    path.write_bytes(b"\n".join([uplink(), line, uplink(), b"", uplink()]))
    data = load(path)
    assert data.rejects[["file", "line", "reason"]].to_numpy().tolist() == [
        ["uplinks.jsonl", 2, reason]
    ]
    assert len(data.receptions) == 3
    if reason in EXPECTED:
        assert load(path, strict=True) == data
    else:
        with pytest.raises(RecordRejected, match=rf"uplinks\.jsonl, line 2: {reason}"):
            load(path, strict=True)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rssi", math.nan), ("rssi", math.inf), ("rssi", 10**30), ("rssi", "-100"),
        ("rssi", True), ("snr", -math.inf), ("snr", []), ("time", 5), ("location", 5),
    ],
)  # fmt: skip
def test_a_bad_field_of_an_entry_costs_the_field_not_the_reception(
    field: str, value: object, tmp_path: Path
) -> None:
    record = json.loads(uplink())
    entry = record["uplink_message"]["rx_metadata"][0]
    record["uplink_message"]["rx_metadata"] = [entry, entry | {field: value}, entry]
    (tmp_path / "uplinks.jsonl").write_text(json.dumps(record))
    data = load(tmp_path / "uplinks.jsonl")
    assert len(data.receptions) == 3
    assert reasons(data) == {"unread_field": 1}


@pytest.mark.parametrize(
    "settings", [5, [], "fast", {"data_rate": 7}, {"data_rate": {"lora": "SF7"}}]
)
def test_settings_that_cannot_be_read_cost_the_airtime_only(
    settings: object, tmp_path: Path
) -> None:
    record = json.loads(uplink())
    record["uplink_message"]["settings"] = settings
    record["uplink_message"].pop("consumed_airtime", None)
    (tmp_path / "uplinks.jsonl").write_text(json.dumps(record))
    data = load(tmp_path / "uplinks.jsonl")
    assert data.receptions["airtime"].to_pylist() == [None]
    assert reasons(data) == {"unread_field": 1}


@pytest.mark.parametrize("entry", [5, None, {}, {"gateway_ids": 5}, {"gateway_ids": {"eui": "x"}}])
def test_a_bad_entry_costs_one_reception_not_the_uplink(entry: object, tmp_path: Path) -> None:
    record = json.loads(uplink())
    record["uplink_message"]["rx_metadata"] *= 2
    record["uplink_message"]["rx_metadata"].append(entry)
    (tmp_path / "uplinks.jsonl").write_text(json.dumps(record))
    data = load(tmp_path / "uplinks.jsonl")
    assert len(data.receptions) == 2
    assert reasons(data) == {"bad_field": 1}


@pytest.mark.parametrize(
    ("place", "reason", "kept"),
    [
        ({"latitude": 91, "longitude": 5}, "bad_coordinates", (None, None, None)),
        ({"latitude": 52, "longitude": -180.5}, "bad_coordinates", (None, None, None)),
        ({"latitude": math.nan, "longitude": 5}, "bad_coordinates", (None, None, None)),
        ({"latitude": "52", "longitude": 5}, "bad_coordinates", (None, None, None)),
        ({"latitude": 52, "longitude": 10**400}, "bad_coordinates", (None, None, None)),
        ({"latitude": 52, "longitude": 5, "altitude": 10**9}, "bad_altitude", (52, 5, None)),
        ({"latitude": 0, "longitude": 0}, "placeholder_coordinates", (None, None, None)),
        ({"latitude": 10.00001, "longitude": 20}, "placeholder_coordinates", (None, None, None)),
        ({"latitude": 52}, None, (None, None, None)),
        ({"latitude": -90, "longitude": 180, "altitude": -500}, None, (-90, 180, -500)),
    ],
)
def test_a_bad_place_is_taken_away_and_the_gateway_stays(
    place: dict[str, Any], reason: str | None, kept: tuple[object, ...], tmp_path: Path
) -> None:
    record = GATEWAYS["roof"] | {"location": place}
    (tmp_path / "registry.json").write_text(json.dumps({"roof": record}))
    data = load(tmp_path / "registry.json")
    (row,) = data.gateways.to_pylist()
    assert (row["latitude"], row["longitude"], row["altitude"]) == kept
    assert row["operator"] == "alice"
    assert reasons(data) == ({reason: 1} if reason else {})
    assert set(data.rejects.gateway) <= {"ttn:roof"}


def test_ten_gateways_at_one_point_are_nowhere_nine_are_there(tmp_path: Path) -> None:
    at = {"location": {"latitude": 52.5, "longitude": 5.5}}
    for count, rejected in ((9, 0), (10, 10)):
        records = [{"id": f"gateway-{n}"} | at for n in range(count)]
        (tmp_path / "registry.json").write_text(json.dumps(records))
        data = load(tmp_path / "registry.json")
        assert data.gateways["latitude"].null_count == rejected
        assert reasons(data).get("placeholder_coordinates", 0) == rejected


@pytest.mark.parametrize("cut", range(30, 330, 25))
def test_a_truncated_registry_keeps_what_precedes_the_cut(cut: int, tmp_path: Path) -> None:
    text = json.dumps([*GATEWAYS.values()] * 2)
    decoder = json.JSONDecoder()
    whole = 0
    at = 1
    while at < cut:
        try:
            _, at = decoder.raw_decode(text[:cut], at)
        except ValueError:
            break
        whole, at = whole + 1, at + 2
    (tmp_path / "registry.json").write_text(text[:cut])
    if not whole:
        with pytest.raises(UnknownFormat):
            load(tmp_path / "registry.json")
        return
    data = load(tmp_path / "registry.json")
    assert len(data.gateways) == min(whole, 2)
    assert reasons(data).pop("bad_json") == 1
    assert data.rejects.query("reason == 'bad_json'").line.tolist() == [whole + 1]


def test_a_truncated_gzip_file_keeps_what_precedes_the_cut(tmp_path: Path) -> None:
    whole = real_data("campusiot/saint_eynard_device33.ndjson.gz").read_bytes()
    path = tmp_path / "cut.gz"
    path.write_bytes(whole[:50_000])
    data = load(path)
    assert reasons(data)["bad_gzip"] == 1
    last = data.rejects.query("reason == 'bad_gzip'").line.item()
    used = pc.count_distinct(data.receptions["time"]).as_py()
    assert used + reasons(data)["no_receptions"] == last - 1
    assert used > 100


# --- mutated real records -------------------------------------------------------------------------

WRONG = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, -1, 2**63, 2**64, 10**30, 1e308, math.nan, math.inf, -math.inf, 0.5]),
    st.text(max_size=8),
    st.sampled_from(["", "\0", "x" * 300, "NaN", "1e5", "2020-01-01T00:00:00Z", "\ud800", "=="]),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    keys = (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )
    for key in keys:
        yield from places(value[key], (*path, key))


@st.composite
def mutated(draw: st.DrawFn, records: list[Any]) -> Any:
    """A record with one to three of its values, at any depth, replaced or removed."""
    record = copy.deepcopy(records[draw(st.integers(0, len(records) - 1))])
    for _ in range(draw(st.integers(1, 3))):
        found = list(places(record)) or [("end",)]
        *path, last = found[draw(st.integers(0, len(found) - 1))]
        inside = record
        for key in path:
            inside = inside[key]
        if draw(st.integers(0, 3)):
            inside[last] = draw(WRONG)
        elif isinstance(inside, dict):
            inside.pop(last, None)
    return record


def check_sound(data: Telemetry) -> None:
    """Every value is of its type and within its bounds; every reject has a known reason."""
    for name, table in data.tables().items():
        table.validate(full=True)
        for column in TABLES[name]:
            values = table[column.name].to_pylist()
            assert not column.required or None not in values
            if column.name in BOUNDS and name != "rejects":
                least, most = BOUNDS[column.name]
                assert all(least <= value <= most for value in values if value is not None)
    assert set(reasons(data)) <= set(REJECT_REASONS)
    assert data.span is None or EARLIEST <= data.span[0] <= data.span[1] <= LATEST


@pytest.mark.parametrize("form", ["registry", "things-stack", "chirpstack"])
def test_a_mutated_record_is_used_or_rejected_in_all_its_parts(form: str) -> None:
    records = samples()[form]

    def write(path: Path, *wanted: Any) -> Path:
        lines = [json.dumps(one) for one in wanted]
        path.write_text("[" + ",".join(lines) + "]" if form == "registry" else "\n".join(lines))
        return path

    with TemporaryDirectory() as folder:
        whole = load(write(Path(folder) / "records", *records[:2]))

    @given(mutated(records))
    def check(record: Any) -> None:
        with TemporaryDirectory() as folder:
            path = write(Path(folder) / "records", records[0], record, records[1])
            data = load(path)
            check_sound(data)
            bad = set(reasons(data)) - EXPECTED
            if bad:
                with pytest.raises(RecordRejected):
                    load(path, strict=True)
            else:
                assert load(path, strict=True) == data
        if form == "registry":
            assert len(data.gateways) + rejected(data) == 3
        else:
            check_told(data, whole, len(entries_of(record)))

    check()


def check_told(data: Telemetry, before: Telemetry, parts: int, used: str = "records") -> None:
    """Each part of the record that came on top is used or rejected, or the record as a whole is."""

    def count(one: Telemetry) -> int:
        return len(one.gateways) if used == "gateways" else len(one.receptions) + len(one.statuses)

    taken, gone = count(data) - count(before), rejected(data) - rejected(before)
    assert taken + gone == (parts or 1) or (taken, gone) == (0, 1)


def rejected(data: Telemetry) -> int:
    """Return the number of rejected parts of records; a reject may concern several entries."""
    told = data.rejected.filter(~pc.field("reason").isin(FIELD_REASONS))
    many = (re.search(r"\(([0-9,]+) entries\)$", detail) for detail in told["detail"].to_pylist())
    return sum(int(match[1].replace(",", "")) if match else 1 for match in many)


@cache
def others() -> dict[str, list[Any]]:
    """Records of the formats that tell of gateways, and a sign of the server's by which to date."""
    names = ("UplinkMessage", "UplinkMessageJoin", "GatewayUplinkMessageResult", "GatewayStatus",
             "DownlinkMessage")  # fmt: skip
    up, join, wrapped, status, down = [
        json.loads(real_data(f"ttn/events/{name}.json").read_text()) for name in names
    ]
    at, place = "2023-11-12T16:31:18Z", {"latitude": 52.0, "longitude": 5.0, "altitude": 3}
    around = {"time": at, "identifiers": [{"gateway_ids": {"gateway_id": "roof"}}]}
    packet = {"data": up["raw_payload"], "datr": "SF7BW125", "rssi": -35, "lsnr": 5.1}
    entry = {"gatewayId": "roof", "nsTime": at, "rssi": -36, "snr": 10.5, "location": place}
    return {
        "ttn-v2": [
            json.loads(line)
            for line in real_data("ttn/ttn_v2_uplinks.jsonl").read_text().splitlines()
        ],
        "chirpstack-v4": [
            {
                "deduplicationId": "x", "time": at, "deviceInfo": {"devEui": "0" * 15 + "1"},
                "fCnt": 3, "data": "qg==",
                "rxInfo": [entry, entry, entry | {"crcStatus": "BAD_CRC"}],
                "txInfo": {"modulation": {"lora": {"bandwidth": 125000, "spreadingFactor": 11}}},
            }
        ],
        "events": [
            up, join, wrapped, around | {"name": "gs.status.receive", "data": status},
            around | {"name": "gs.down.send", "data": down},
        ],
        "semtech": [
            {"gateway": "roof", "time": at, "rxpk": [packet, packet | {"stat": -1}]},
            {"gateway": "roof", "time": at, "stat": {"rxok": 2, "lati": 46.2, "long": 3.2}},
        ],
        "connections": [
            {"gateway_id": "roof", "time": at, "connected_at": at, "uplink_count": "12"},
            {
                "time": at,
                "entries": {
                    name: {"connected_at": at, "uplink_count": count}
                    for name, count in (("roof", "3"), ("attic", 7))
                },
            },
        ],
        "mapper": [
            {
                "netID": "000013", "tenantID": "ttn", "id": "roof", "online": online,
                "updatedAt": at, "rxRate": 3.5, "location": place, "antennaPlacement": "OUTDOOR",
            }
            for online in (True, False)
        ],
        "noc": [{"statuses": {"roof": {"timestamp": at, "rx_ok": 7, "location": place}}}],
    }  # fmt: skip


@pytest.mark.parametrize(
    "form", ["ttn-v2", "chirpstack-v4", "events", "semtech", "connections", "mapper", "noc"]
)
def test_a_mutated_record_about_gateways_is_used_or_rejected(form: str) -> None:
    """Load each record after a whole record of another gateway: its content is used or rejected."""
    records = others()[form]
    first = json.dumps(records[0]).replace("roof", "base").replace("technolution-gouda", "base")

    @given(mutated(records), st.sampled_from([None, 1]))
    def check(record: Any, indent: int | None) -> None:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "records"
            path.write_text(json.dumps(json.loads(first), indent=indent))
            whole = load(path)
            with path.open("a") as file:
                file.write("\n" + json.dumps(record, indent=indent))
            data = load(path)
        check_sound(data)
        several = record.get("statuses", record.get("entries"))
        parts = len(entries_of(record)) + bool(record.get("stat"))
        parts = len(several) if isinstance(several, dict) else parts
        check_told(data, whole, parts, "gateways" if form in {"mapper", "noc"} else "records")

    check()


KEYS = frozenset({
    *("rxInfo", "gatewayID", "devEUI", "publishedAt", "_timestamp", "_date", "crcStatus"),
    *("rx_metadata", "gateway_ids", "gateway_id", "uplink_message", "received_at", "simulated"),
    *("metadata", "gateways", "gtw_id", "gatewayId", "nsTime", "time", "name", "data", "@type"),
    *("message", "raw_payload", "identifiers", "crc_status", "result", "rxpk", "stat", "gateway"),
    *("connected_at", "entries", "roof", "attic", "id", "netID", "tenantID", "network_ids"),
    *("online", "updatedAt", "statuses", "timestamp", "location", "packet_broker"),
})  # fmt: skip
"""Fields that a record needs: its time, gateway, parts, and in gateways' logs the frame."""
MODULATION = frozenset({
    *("spreading_factor", "bandwidth", "coding_rate", "spreadingFactor", "codeRate", "datr"),
    *("codr", "data_rate", "dr", "frequency", "lora", "txInfo", "loRaModulationInfo", "modulation"),
})  # fmt: skip
"""Fields that determine the airtime: values of no known modulation have none."""


@pytest.mark.parametrize("form", sorted({*samples(), *others()} - {"registry"}))
def test_a_field_that_cannot_be_read_costs_itself_only(form: str, tmp_path: Path) -> None:
    """Damage one field at a time: all rows stay, and each difference has a reject."""

    def read(record: Any) -> Telemetry:
        (tmp_path / "records").write_text(json.dumps(record))
        return load(tmp_path / "records")

    wrongs = cycle(([7], True, "\0"))
    for record in {**samples(), **others()}[form][: 2 if form in samples() else 5]:
        good = read(record)
        for path in places(record):
            if path[-1] in KEYS or isinstance(path[-1], int):
                continue
            changed, wrong = copy.deepcopy(record), next(wrongs)
            inside = changed
            for key in path[:-1]:
                inside = inside[key]
            if type(inside[path[-1]]) is type(wrong) is bool:
                continue
            inside[path[-1]] = wrong
            data = read(changed)
            for name in ("receptions", "statuses", "gateways"):
                assert len(getattr(data, name)) == len(getattr(good, name)), (path, wrong)
            told = Counter(data.rejected["reason"].to_pylist())
            told.subtract(good.rejected["reason"].to_pylist())
            assert {reason for reason, count in told.items() if count} <= FIELD_REASONS
            if data != good and not MODULATION.intersection(path):
                details = data.rejected["detail"].to_pylist()
                assert any(path[-1] in text for text in details), (path, wrong)


@pytest.mark.parametrize("wrong", [5, "net", {"net_id": 5}, {"net_id": "000013", "tenant_id": []}])
@pytest.mark.parametrize("eui", [None, "AA555A0000000001"])
def test_a_network_that_cannot_be_read_leaves_gateways_of_known_euis(
    wrong: object, eui: str | None, tmp_path: Path
) -> None:
    """An id says nothing without its network; the wrong one could be a stranger's gateway."""
    record = json.loads(uplink())
    record["uplink_message"]["network_ids"] = wrong
    record["uplink_message"]["rx_metadata"][0]["gateway_ids"]["eui"] = eui
    (tmp_path / "uplinks.jsonl").write_text(json.dumps(record))
    data = load(tmp_path / "uplinks.jsonl")
    assert data.receptions["gateway"].to_pylist() == ([eui] if eui else [])
    assert reasons(data) == {"unread_field": 1} | ({} if eui else {"bad_field": 1})


@pytest.mark.parametrize("column", ["deduplication_id", "device", "f_cnt", "payload_hash"])
def test_what_tells_frames_apart_costs_itself_only(column: str, tmp_path: Path) -> None:
    wrong = {"f_cnt": "-1", "payload_hash": "9" * 20}.get(column, "x" * 300)
    (tmp_path / "table.csv").write_text(f"time,gateway,{column}\n{EARLIEST},roof,{wrong}\n")
    data = load(tmp_path / "table.csv")
    assert data.receptions[column].to_pylist() == [None]
    assert reasons(data) == {"unread_field": 1}
    assert column in data.rejected["detail"][0].as_py()


def load_with(name: str, line: int, changes: Mapping[int, str]) -> Telemetry:
    """Load the first 20 records of a real table, with other values in columns of one line."""
    lines = real_data(name).read_text().splitlines()[:21]
    values = lines[line].split(",")
    for column, value in changes.items():
        values[column] = value
    lines[line] = ",".join(values)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        path.write_text("\n".join(lines))
        data = load(path)
    check_sound(data)
    return data


@given(st.integers(1, 20), st.sampled_from([0, 4, 5, 6, 7, 8, 9, 11]), WRONG)
def test_a_mutated_line_of_a_gateways_log_is_used_or_rejected(
    line: int, column: int, value: object
) -> None:
    data = load_with("ttn/gouda_receptions_2022-01-06.csv", line, {column: one_line(value)})
    assert len(data.receptions) + rejected(data) == 20
    assert set(data.rejected["line"].to_pylist()) <= {line + 1}


@given(st.integers(2, 20), st.sampled_from([1, 2, 3, 4, 5]), WRONG)
def test_a_mutated_poll_is_used_or_rejected(line: int, column: int, value: object) -> None:
    changes = {1: "17", column: one_line(value)}  # 17: the only poll of this gateway
    data = load_with("ttn/zurich_noc_counters_2017-09.csv", line, changes)
    watched = set(data.statuses["gateway"].to_pylist())
    away = set(data.gateways["gateway"].to_pylist()) - watched
    assert len(data.statuses) + rejected(data) + len(away) == 20


def entries_of(record: Any) -> list[Any]:
    """Gateways that heard a frame, wherever the record of a format states them."""
    for key in ("result", "data", "message", "uplink_message", "metadata"):
        if isinstance(record, dict) and isinstance(record.get(key), dict):
            record = record[key]
    keys = ("rxInfo", "rx_metadata", "gateways", "rxpk")
    found = next((record[key] for key in keys if key in record), None)
    return found if isinstance(found, list) else []


@given(st.data())
def test_bytes_gone_wrong_are_an_error_or_a_reject(data: st.DataObject) -> None:
    rows = "".join(f"16000000000000{n:02},roof,{n}\n" for n in range(20))
    forms = {
        "csv": ("time,gateway,f_cnt\n" + rows).encode(),
        "lines": b"\n".join([uplink()] * 5),
        "gzip": gzip.compress(b"\n".join([uplink()] * 5), mtime=0),
        "registry": json.dumps(GATEWAYS).encode(),
    }
    content = bytearray(forms[data.draw(st.sampled_from(sorted(forms)))])
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
        error = ""
        try:
            check_sound(load(path))
        except TelemetryError as raised:
            error = str(raised)
        assert "\n" not in error


PLAIN = {
    "gateways": {"gateway": "roof", "operator": "ann", "latitude": 52.0, "longitude": 5.0,
                 "country": "nl", "last_seen": "2025-01-01T00:00:00Z"},
    "receptions": {"time": "2025-01-01T00:00:00Z", "gateway": "roof", "f_cnt": 3, "rssi": -90.5,
                   "delivered": True, "kind": "data"},
    "statuses": {"time": "2025-01-01T00:00:00Z", "gateway": "roof", "covers": 10**6, "frames": 3},
}  # fmt: skip
"""A row of each plain table."""


@pytest.mark.parametrize("form", ["frame", "csv"])
@pytest.mark.parametrize("table", PLAIN)
def test_plain_rows_of_anything_are_used_or_rejected(table: str, form: str) -> None:
    names = [*PLAIN[table]]
    value = st.tuples(st.sampled_from(names), WRONG)

    @given(st.lists(st.lists(value, max_size=3).map(dict), max_size=9))
    def check(wrong: list[dict[str, Any]]) -> None:
        rows = [PLAIN[table] | {"gateway": f"roof {n}"} | row for n, row in enumerate(wrong)]
        frame = pd.DataFrame({name: [row[name] for row in rows] for name in names}, dtype=object)
        with TemporaryDirectory() as folder:
            source: Any = frame
            if form == "csv":
                source = Path(folder) / "table"
                texts = [[one_line(row[name]) for name in names] for row in rows]
                with source.open("w", newline="") as file:
                    csv.writer(file).writerows([names, *texts])
            try:
                data = load(source)
            except (SourceUnreadable, BadColumns):
                assert form == "frame"  # what Arrow cannot hold, and numbers for names
                return
        check_sound(data)
        assert {reader for _, reader in data.formats} == {table}
        assert len(getattr(data, table)) + rejected(data) == len(rows)

    check()


def one_line(value: object) -> str:
    """Return a value as the text of a CSV file, in which a line is a row."""
    text = "" if value is None else str(value)
    return "".join(text.encode(errors="replace").decode().splitlines())


def test_no_reader_escapes_mutation() -> None:
    """Formats in which every row is used or rejected: the tests above."""
    records = {**samples(), **others()}
    texts = {name: "\n".join(map(json.dumps, found)) for name, found in records.items()}
    texts["registry"] = json.dumps(samples()["registry"])
    names = set(PLAIN)
    with TemporaryDirectory() as folder:
        for name, text in texts.items():
            path = Path(folder) / name
            path.write_text(text)
            names |= {reader for _, reader in load(path).formats}
    logs = ("gouda_receptions_2022-01-06", "zurich_noc_counters_2017-09")
    names |= {reader for _, reader in load(*(real_data(f"ttn/{n}.csv") for n in logs)).formats}
    assert names == {reader.name for reader in READERS}


@pytest.mark.parametrize("source", [None, 5, ["a.json", "b.json"], b"a.json"])
def test_an_invalid_source_is_named(source: Any) -> None:
    with pytest.raises(SourceUnreadable, match=f"table 1: a {type(source).__name__}, not a path"):
        load(source)


def test_a_name_that_no_table_has_is_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("when,gateway\n2025-01-01,roof\n")
    (tmp_path / "two.csv").write_text("gateway,who\nroof,ann\n")
    names = {"when": "time", "who": "operator"}
    assert len(load(tmp_path / "*.csv", columns=names).receptions) == 1
    with pytest.raises(BadColumns, match="no table has a column 'whom'"):
        load(tmp_path / "*.csv", columns=names | {"whom": "operator"})


def test_a_table_without_a_gateway_is_shown_by_its_columns() -> None:
    with pytest.raises(UnknownFormat, match="begins with 'box,who'"):
        load(pd.DataFrame({"box": ["roof"], "who": ["ann"]}))


def test_a_compressed_parquet_file_is_to_be_unpacked(tmp_path: Path) -> None:
    pq.write_table(pa.table({"gateway": ["roof"]}), tmp_path / "table")
    (tmp_path / "packed").write_bytes(gzip.compress((tmp_path / "table").read_bytes()))
    assert load(tmp_path / "table") == load(pq.read_table(tmp_path / "table"))
    with pytest.raises(SourceUnreadable, match="unpack it"):
        load(tmp_path / "packed")


def test_missing_sources_are_their_own_error(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing, match="nowhere"):
        load(tmp_path / "nowhere")
