"""Tests of readers on real files: one for each trap in them."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from dii.errors import UnknownFormat
from dii.schema import (
    BOUNDS,
    METRICS,
    TABLES,
    USAGE_GIVEN,
    Gateway,
    Reception,
    Reject,
)
from dii.telemetry import load as loading
from dii.telemetry.formats import READERS, matrix
from dii.telemetry.load import Telemetry, explain
from dii.telemetry.metrics import metrics
from dii.telemetry.readers.fields import identity, payload_hash
from dii.telemetry.tables import EXPECTED, FIELD_REASONS, REJECT_REASONS
from dii.units import DAY, format_time, from_microseconds
from tests.require import ROOT, real_data

load = partial(loading.load, gap=None)  # real files, and wrong ones, hold many dates

REGISTRY = "ttn/registry_world_2018-04-20.json"
UPLINKS = "ttn/ttn_v3_uplinks.jsonl"
HILLTOP = "campusiot/saint_eynard_device33.ndjson.gz"
GOUDA = "ttn/gouda_receptions_2022-01-06.csv"


@pytest.fixture(scope="module")
def registry() -> Telemetry:
    return load(real_data(REGISTRY))


@pytest.fixture(scope="module")
def uplinks() -> Telemetry:
    return load(real_data(UPLINKS))


@pytest.fixture(scope="module")
def hilltop() -> Telemetry:
    return load(real_data(HILLTOP))


def reasons(data: Telemetry) -> dict[str, int]:
    return dict(Counter(data.rejected["reason"].to_pylist()))


def frames(data: Telemetry) -> set[tuple[object, ...]]:
    rows = data.receptions.select(["device", "f_cnt", "payload_hash"]).to_pydict()
    return set(zip(*rows.values()))


def messages() -> list[Any]:
    return [json.loads(line) for line in real_data(UPLINKS).read_text().splitlines()]


def write_lines(path: Path, records: list[Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


# --- the registry (trap 7) -----------------------------------------------------------------------


def test_the_registry_of_2018_has_5800_gateways_of_2981_operators(registry: Telemetry) -> None:
    table = registry.gateways
    assert len(json.loads(real_data(REGISTRY).read_text())) == 5803
    assert len(table) == len(set(table["gateway"].to_pylist())) == 5800
    assert table["operator"].null_count == 1300
    assert len(set(table["operator"].to_pylist()) - {None}) == 2981
    assert reasons(registry) == {
        "placeholder_coordinates": 20 + 17 + 14 + 10,
        "duplicate_gateway": 3,
        "bad_altitude": 1,
    }


def test_a_registry_counts_every_record_as_used_or_rejected(registry: Telemetry) -> None:
    gone = [r for r in registry.rejected["reason"].to_pylist() if r not in FIELD_REASONS]
    assert len(registry.gateways) + len(gone) == 5803


def test_places_of_the_registry_are_real_or_absent(registry: Telemetry) -> None:
    table = registry.gateways.to_pydict()
    points = Counter(zip(table["latitude"], table["longitude"]))
    absent = points.pop((None, None))
    # One of the duplicates has no place and takes its twin's.
    assert absent == 1325 - 1 + 61
    assert max(points.values()) < 10
    assert all(round(a, 3) != 10 or round(b, 3) != 20 for a, b in points)
    placeholders = registry.rejects.query("reason == 'placeholder_coordinates'")
    assert Counter(placeholders.detail) == {
        "a form's default, (10, 20)": 20,
        "shared by 17 gateways": 17,
        "shared by 14 gateways": 14,
        "shared by 10 gateways": 10,
    }
    assert set(placeholders.gateway) <= set(table["gateway"])


def test_two_entries_of_one_gateway_become_one_that_knows_what_both_know(
    registry: Telemetry,
) -> None:
    rows = {row["gateway"]: row for row in registry.gateways.to_pylist()}
    twins = registry.rejects.query("reason == 'duplicate_gateway'").gateway
    assert set(twins) == {"B827EBFFFE2BFB8D", "C0EE40FFFF29391D", "C0EE40FFFF293C4E"}
    assert rows["C0EE40FFFF29391D"]["operator"] == "owner_0101"
    assert rows["C0EE40FFFF29391D"]["latitude"] == 38.41116529  # the later one's
    assert rows["C0EE40FFFF293C4E"]["placement"] == "indoor"
    assert format_time(rows["B827EBFFFE2BFB8D"]["last_seen"]) == "2018-03-25T22:40:20Z"


def test_an_operator_is_the_owner_or_else_the_first_of_the_owners() -> None:
    records = json.loads(real_data(REGISTRY).read_text()).values()
    only = [r for r in records if "owner" not in r and r.get("owners")]
    assert len(only) == 5
    assert sum("owner" not in r for r in records) == 1308
    found = {row["gateway"]: row for row in load(real_data(REGISTRY)).gateways.to_pylist()}
    for record in only:
        gateway, _ = identity(record["id"], None, "ttn")
        assert found[gateway]["operator"] == record["owners"][0]


def test_a_registry_as_a_list_and_gzipped_says_the_same(
    registry: Telemetry, tmp_path: Path
) -> None:
    records = list(json.loads(real_data(REGISTRY).read_text()).values())
    path = tmp_path / "world"  # names say nothing
    path.write_bytes(gzip.compress(json.dumps(records).encode()))
    assert load(path).gateways == registry.gateways


def test_registries_one_after_another_are_one(tmp_path: Path) -> None:
    records = [{"id": name, "owner": "ann"} for name in ("roof", "attic")]
    path = tmp_path / "world"
    path.write_text("\n".join(json.dumps({record["id"]: record}) for record in records))
    data = load(path)
    assert data.gateways["gateway"].to_pylist() == ["ttn:attic", "ttn:roof"]
    assert not len(data.rejected)


# --- The Things Stack (traps 1, 6, 8, 9, 10) ------------------------------------------------------


def test_every_entry_of_the_real_uplinks_is_a_reception_or_a_reject(uplinks: Telemetry) -> None:
    entries = [entry for one in messages() for entry in one["uplink_message"]["rx_metadata"]]
    assert len(entries) == 44
    assert len(uplinks.receptions) == 41
    assert reasons(uplinks) == {"same_reception": 2, "simulated": 1}


def test_a_broker_entry_is_the_gateway_it_names_or_nobodys(uplinks: Telemetry) -> None:
    entries = [entry for one in messages() for entry in one["uplink_message"]["rx_metadata"]]
    hidden = [e for e in entries if e["gateway_ids"]["gateway_id"] == "packetbroker"]
    assert len(hidden) == 25
    gateways = uplinks.receptions["gateway"].to_pylist()
    assert gateways.count(None) == 22
    assert gateways.count("647FDAFFFE007A1F") == 1
    assert not any("packetbroker" in (gateway or "") for gateway in gateways)


def test_a_broker_entry_that_repeats_a_named_reception_is_that_reception(
    uplinks: Telemetry,
) -> None:
    same = uplinks.rejects.query("reason == 'same_reception'")
    assert list(same.line) == [6, 9]  # in line 4 both times are absent, which equals nothing
    assert same.gateway.isna().all()  # nobody loses a reception by it


def test_a_simulated_uplink_is_rejected_with_gateway_and_time(uplinks: Telemetry) -> None:
    (row,) = uplinks.rejects.query("reason == 'simulated'").itertuples()
    assert (row.line, row.gateway) == (5, "ttn:test")
    assert format_time(row.time) == "2021-04-30T14:23:32Z"
    assert "ttn:test" not in uplinks.gateways["gateway"].to_pylist()
    assert max(uplinks.receptions["rssi"].to_pylist()) < 0


@pytest.mark.parametrize(
    ("file", "line", "kilometres", "receptions"),
    [(UPLINKS, 9, "329.2", 40), ("ttn/ttn_v2_uplinks.jsonl", 4, "7,554.2", 10)],
)
def test_a_reception_too_strong_for_its_stated_places_is_set_aside_if_asked(
    file: str, line: int, kilometres: str, receptions: int
) -> None:
    assert "too_strong" not in reasons(load(real_data(file)))
    data = load(real_data(file), check_radio=True, strict=True)
    (row,) = data.rejects.query("reason == 'too_strong'").itertuples()
    assert (row.line, len(data.receptions)) == (line, receptions)
    assert f" over {kilometres} km; free space allows " in row.detail
    epoch = metrics(
        data.receptions,
        data.statuses,
        operators={},
        gateways=None,
        start=int(row.time) // DAY * DAY,
        length=DAY,
        gives=data.gives,
        rejects=data.rejected,
    )
    excluded = {"gateway": row.gateway, "reason": "too_strong", "frames": 1}
    assert excluded in epoch.excluded.to_pylist()


@pytest.mark.parametrize("places", [None, [], "here", {"user": None}, {"user": {"latitude": []}}])
def test_a_devices_place_that_cannot_be_read_costs_nothing(tmp_path: Path, places: object) -> None:
    records = messages()
    for record in records:
        record["uplink_message"]["locations"] = places
    data = load(write_lines(tmp_path / "up.jsonl", records), check_radio=True)
    assert reasons(data) == {"same_reception": 2, "simulated": 1}


def test_times_are_the_servers_whatever_gateway_clocks_say(uplinks: Telemetry) -> None:
    table = uplinks.receptions.to_pydict()
    assert table["time"] == sorted(table["time"])
    assert {from_microseconds(time).year for time in table["time"]} == {2020, 2021, 2022}
    clocks = [from_microseconds(time).year for time in table["gateway_time"] if time is not None]
    assert clocks.count(1970) == 2
    first = messages()[1]["uplink_message"]["received_at"]
    assert first == "2020-02-16T14:10:59.039048589Z"
    assert from_microseconds(table["time"][0]).isoformat() == "2020-02-16T14:10:59.039048+00:00"


def test_airtime_is_stated_or_follows_from_the_settings(uplinks: Telemetry) -> None:
    stated = [message["uplink_message"].get("consumed_airtime") for message in messages()]
    assert sum(airtime is not None for airtime in stated) == 9
    assert uplinks.receptions["airtime"].null_count == 0
    by_time = dict(zip(*uplinks.receptions.select(["time", "airtime"]).to_pydict().values()))
    assert list(by_time.values()) == [
        61_696, 61_696, 46_336, 97_536, 41_216, 41_216, 41_216, 41_216, 41_216, 41_216,
        2_465_792, 77_056,
    ]  # fmt: skip


def test_devices_are_told_by_eui_else_session_else_address(tmp_path: Path) -> None:
    records = [messages()[11] for _ in range(3)]
    del records[1]["end_device_ids"]["dev_eui"]
    del records[2]["end_device_ids"]["dev_eui"], records[2]["uplink_message"]["session_key_id"]
    data = load(write_lines(tmp_path / "devices.jsonl", records))
    assert set(data.receptions["device"].to_pylist()) == {
        "3533363557307F06",
        "0181F04726A28F54F762432EC7CE666E",
        "260BE66F",
    }
    assert sum("session_key_id" in one["uplink_message"] for one in messages()) == 4


def test_left_out_fields_are_zero_and_long_integers_are_texts(tmp_path: Path) -> None:
    record = messages()[12]
    record["uplink_message"]["f_cnt"] = str(record["uplink_message"]["f_cnt"])
    zero = messages()[12]
    zero["received_at"] = zero["uplink_message"]["received_at"] = "2022-10-12T00:00:00Z"
    del zero["uplink_message"]["f_cnt"], zero["uplink_message"]["frm_payload"]
    del zero["uplink_message"]["rx_metadata"][0]["snr"]
    data = load(write_lines(tmp_path / "zeros.jsonl", [record, zero]))
    assert data.receptions["f_cnt"].to_pylist() == [45_906, 45_906, 0, 0]
    assert data.receptions["size"].to_pylist() == [23, 23, 0, 0]
    assert 0.0 in data.receptions["snr"].to_pylist()
    assert data.receptions["payload_hash"].null_count == 0
    assert not len(data.rejects)


def test_uplinks_wrapped_in_result_and_gzipped_say_the_same(
    uplinks: Telemetry, tmp_path: Path
) -> None:
    path = tmp_path / "storage.json"
    text = "\n\n".join(json.dumps({"result": message}) for message in messages())
    path.write_bytes(gzip.compress(b"\xef\xbb\xbf" + text.encode()))
    wrapped = load(path)
    assert wrapped.receptions == uplinks.receptions
    assert wrapped.gateways == uplinks.gateways


def test_records_keep_the_names_that_they_state(
    tmp_path: Path,
) -> None:
    owned = {"pisupply-shield": {"id": "pisupply-shield", "owner": "alice"}}
    (tmp_path / "registry.json").write_text(json.dumps(owned))
    alone = load(tmp_path / "registry.json")
    assert alone.gateways["gateway"].to_pylist() == ["ttn:pisupply-shield"]
    for data in (
        load(tmp_path / "registry.json", real_data(UPLINKS)),
        alone + load(real_data(UPLINKS)),
    ):
        rows = {row["gateway"]: row["operator"] for row in data.gateways.to_pylist()}
        assert rows["ttn:pisupply-shield"] == "alice"
        heard = data.receptions.filter(pc.field("gateway") == "ttn:pisupply-shield")
        assert set(heard["eui"].to_pylist()) == {"B827EBFFFED88375"}


def test_loading_tells_names_that_are_ambiguous(tmp_path: Path) -> None:
    records = messages()[:2]
    records[1]["uplink_message"]["rx_metadata"][0]["gateway_ids"]["eui"] = "0000000000000ABC"
    write_lines(tmp_path / "uplinks.jsonl", records)
    (tmp_path / "registry.json").write_text('{"pisupply-shield": {"id": "pisupply-shield"}}')
    data = load(tmp_path / "registry.json", tmp_path / "uplinks.jsonl")
    assert data.gateways["gateway"].to_pylist() == ["ttn:pisupply-shield"]
    told = "ttn:pisupply-shield states the EUIs 0000000000000ABC, B827EBFFFED88375"
    assert data.ambiguous() == [told]
    assert told in repr(data)
    more = {"time": ["2025-03-03"], "gateway": ["other"], "eui": ["0000000000000ABC"]}
    both = (data + load(pd.DataFrame(more))).ambiguous()
    assert both == [told, "0000000000000ABC is stated by the ids ttn:other, ttn:pisupply-shield"]


@pytest.mark.parametrize(
    ("forwarder", "gateway"),
    [
        ({"net_id": "000013", "tenant_id": "ttn", "gateway_id": "roof"}, "ttn:roof"),
        ({"net_id": "000013", "tenant_id": "ttnv2", "gateway_id": "roof"}, "ttn:roof"),
        ({"net_id": "000013", "tenant_id": "acme", "gateway_id": "roof"}, "acme:roof"),
        ({"net_id": "C0FFEE", "tenant_id": "acme", "gateway_id": "roof"}, "C0FFEE-acme:roof"),
        ({"net_id": "C0FFEE", "gateway_id": "eui-00000000000000aa"}, "00000000000000AA"),
        ({"net_id": "C0FFEE", "gateway_eui": "00000000000000AA"}, "00000000000000AA"),
        ({"net_id": "C0FFEE"}, None),
    ],
)
def test_a_forwarders_id_is_its_networks(
    forwarder: dict[str, str], gateway: str | None, tmp_path: Path
) -> None:
    record = messages()[2]
    record["uplink_message"]["rx_metadata"] = [
        {
            "gateway_ids": {"gateway_id": "packetbroker"},
            "packet_broker": {f"forwarder_{key}": value for key, value in forwarder.items()},
            "rssi": -100,
        }
    ]
    data = load(write_lines(tmp_path / "broker.jsonl", [record]))
    assert data.receptions["gateway"].to_pylist() == [gateway]


def test_places_come_along_with_uplinks_the_last_one_counts(uplinks: Telemetry) -> None:
    rows = {row["gateway"]: row for row in uplinks.gateways.to_pylist()}
    assert len(rows) == 9
    assert rows["000080029C09DD87"]["latitude"] == pytest.approx(-33.9367, abs=1e-3)
    assert all(row["last_seen"] for row in rows.values())


def test_no_payload_address_or_position_of_a_device_is_kept(uplinks: Telemetry) -> None:
    kept = str([table.to_pylist() for table in uplinks.tables().values()])
    for message in messages():
        for private in (message["uplink_message"].get("frm_payload"), "40.113.68.198"):
            assert not private or private not in kept


# --- ChirpStack (traps 4, 12) ---------------------------------------------------------------------


def test_the_hilltop_has_13768_uplinks_in_93435_receptions(hilltop: Telemetry) -> None:
    assert len(hilltop.receptions) == 93_435
    assert len(frames(hilltop)) == 13_768
    assert reasons(hilltop) == {"no_receptions": 436}
    assert len(hilltop.gateways) == 11
    assert hilltop.receptions["airtime"].null_count == 0
    assert set(hilltop.receptions["device"].to_pylist()) == {"D1D1E80000000033"}


def test_two_antennas_are_two_receptions_of_one_gateway(hilltop: Telemetry) -> None:
    table = hilltop.receptions.select(["f_cnt", "payload_hash", "gateway"]).to_pydict()
    heard = Counter(zip(*table.values()))
    assert len(heard) == 79_980
    assert len({(f_cnt, body) for (f_cnt, body, _), n in heard.items() if n > 1}) == 13_455


def test_the_hilltops_server_time_is_the_loggers(hilltop: Telemetry) -> None:
    assert hilltop.span == (1_687_514_517_004_000, 1_695_882_029_600_000)
    clocks = hilltop.receptions["gateway_time"].drop_null().to_pylist()
    assert {from_microseconds(time).year for time in clocks} == {2021, 2023}


def test_files_split_by_gateway_merge_into_what_they_were(
    hilltop: Telemetry, tmp_path: Path
) -> None:
    split: dict[str, list[str]] = {}
    with gzip.open(real_data(HILLTOP)) as lines:
        for line in lines:
            record = json.loads(line)
            heard: dict[str, list[Any]] = {}
            del record["object" if "object" in record else "margin"]
            for entry in record.pop("rxInfo", []):
                del entry["_distance"]  # quicker: nobody reads it
                heard.setdefault(entry["gatewayID"], []).append(entry)
            for gateway, entries in heard.items():
                split.setdefault(gateway, []).append(json.dumps(record | {"rxInfo": entries}))
    for gateway, records in split.items():
        (tmp_path / f"{gateway}.jsonl").write_text("\n".join(records))
    assert sum(map(len, split.values())) == 79_980  # what adding up would count
    merged = load(tmp_path / "*.jsonl")
    assert merged.receptions == hilltop.receptions
    assert merged.gateways == hilltop.gateways


@pytest.mark.parametrize("form", ["hexadecimal", "base64"])
def test_ids_and_payloads_come_in_both_encodings(form: str, tmp_path: Path) -> None:
    record = {
        "applicationID": "123",
        "devEUI": "0202020202020202" if form == "hexadecimal" else "AgICAgICAgI=",
        "rxInfo": [
            {
                "gatewayID": "0303030303030303" if form == "hexadecimal" else "AwMDAwMDAwM=",
                "time": "2019-11-08T13:59:25.048445Z",
                "rssi": -48,
                "loRaSNR": 9,
                "location": {"latitude": 52.3740364, "longitude": 4.9144401, "altitude": 10.5},
            }
        ],
        "txInfo": {
            "frequency": 868100000,
            "modulation": "LORA",
            "loRaModulationInfo": {"bandwidth": 125, "spreadingFactor": 11, "codeRate": "4/5"},
        },
        "fCnt": 10,
        "data": "cafe00ff" if form == "hexadecimal" else "yv4A/w==",
        "publishedAt": "2019-11-08T13:59:26Z",
    }
    data = load(write_lines(tmp_path / "chirpstack.jsonl", [record]))
    (row,) = data.receptions.to_pylist()
    assert row["gateway"] == "0303030303030303"
    assert row["device"] == "0202020202020202"
    assert row["size"] == 4
    assert row["payload_hash"] == payload_hash(bytes.fromhex("cafe00ff"))
    assert row["airtime"] == 659_456
    assert format_time(row["time"]) == "2019-11-08T13:59:26Z"
    assert (row["application"], row["delivered"], row["foreign"]) == ("123", True, False)


def test_a_gateways_clock_is_no_server_time(tmp_path: Path) -> None:
    with gzip.open(real_data(HILLTOP)) as lines:
        record = json.loads(next(lines))
    del record["_timestamp"]
    (row, *_) = load(write_lines(tmp_path / "date.jsonl", [record])).receptions.to_pylist()
    assert format_time(row["time"]) == "2023-06-23T10:01:57Z"
    del record["_date"]
    data = load(write_lines(tmp_path / "none.jsonl", [record]))
    assert reasons(data) == {"no_time": 1}
    assert not len(data.receptions)


# --- plain tables ---------------------------------------------------------------------------------


def test_the_log_of_a_gateway_gives_receptions_but_not_what_was_delivered() -> None:
    names = {"fcnt": "f_cnt", "dev_addr": "device", "type": "kind", "airtime": ""}
    data = load(real_data(GOUDA), columns=names)
    assert len(data.receptions) == 271
    assert not len(data.rejects)
    assert Counter(data.receptions["kind"].to_pylist()) == {"data": 248, "join": 23}
    assert data.gives == {"receptions", "excluded_frames"}
    assert data.gateways["gateway"].to_pylist() == ["ttn:technolution-gouda"]
    seen = zip(data.receptions["device"].to_pylist(), data.receptions["f_cnt"].to_pylist())
    assert Counter(seen)["154542F2", 1] == 12
    rows = load(real_data(GOUDA)).receptions.to_pylist()
    same = [row["payload_hash"] for row in rows if (row["device"], row["f_cnt"]) == ("154542F2", 1)]
    assert (len(same), len(set(same))) == (12, 10)  # other frames, for all their counter says


def test_an_airtime_in_seconds_is_set_aside_not_guessed_at() -> None:
    data = load(real_data(GOUDA), columns={"raw_payload": ""})
    assert len(data.receptions) == data.receptions["airtime"].null_count == 271
    assert reasons(data) == {"unread_field": 271}
    assert set(data.rejects.line) == set(range(2, 273))
    assert set(data.rejects.detail) == {"airtime: an integer from 0 to 100000000 is expected"}


ROWS = {
    "gateways": {
        "gateway": ["eui-00000000000000aa", "ttn:roof", "cellar"],
        "operator": ["alice", None, "bob"],
        "latitude": [52.0, None, -1.5],
        "longitude": [5.0, None, 2.5],
        "altitude": [10.0, None, None],
        "country": ["NL", None, "de"],
        "placement": ["indoor", "attic", None],
        "last_seen": [1_600_000_000_000_000, None, 1_600_000_000_000_001],
        "eui": ["00000000000000AA", None, "eui-00000000000000bb"],
    },
    "receptions": {
        "time": [1_600_000_000_000_001, 1_600_000_000_000_000, 1_600_000_000_000_002],
        "gateway": ["00000000000000AA", None, "ttn:roof"],
        "gateway_time": [0, None, 1_600_000_000_000_000],
        "kind": ["data", "join", "downlink"],
        "deduplication_id": ["x", None, None],
        "device": ["abcd", "ABCD", None],
        "application": ["app", None, None],
        "f_cnt": [0, 2**32 - 1, None],
        "payload_hash": [-(2**63), 2**63 - 1, None],
        "size": [0, 242, None],
        "airtime": [56_576, None, 0],
        "rssi": [-120.5, None, -30.0],
        "snr": [9.25, -20.0, None],
        "delivered": [True, False, None],
        "trusted": [False, None, True],
        "foreign": [None, True, False],
        "eui": [None, None, "00000000000000BB"],
    },
    "statuses": {
        "time": [1_600_000_000_000_000, 1_600_000_300_000_000],
        "gateway": ["00000000000000AA", "ttn:roof"],
        "covers": [300_000_000, 1],
        "frames": [0, None],
        "eui": [None, "00000000000000BB"],
    },
}


@pytest.mark.parametrize("table", ROWS)
@pytest.mark.parametrize("form", ["csv", "csv.gz", "semicolons", "parquet", "frame", "strings"])
def test_a_plain_table_says_the_same_in_every_form(table: str, form: str, tmp_path: Path) -> None:
    whole = pa.table(ROWS[table]).to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
    path = tmp_path / "table"
    match form:
        case "csv" | "csv.gz":
            whole.to_csv(path, index=False, compression="gzip" if form == "csv.gz" else None)
        case "semicolons":
            whole.to_csv(path, index=False, sep=";")
        case "parquet":
            whole.to_parquet(path)
        case "strings":
            whole.astype("string").to_parquet(path)
    data = load(whole if form == "frame" else path)
    assert not len(data.rejects)
    rows = getattr(data, table).to_pylist()
    assert len(rows) == len(whole)
    if table == "gateways":
        assert [tuple(row.values()) for row in rows] == [
            ("00000000000000AA", "alice", 52.0, 5.0, 10.0, "nl", "indoor", 16 * 10**14, None),
            ("ttn:cellar", "bob", -1.5, 2.5, None, "de", None, 16 * 10**14 + 1, "00000000000000BB"),
            ("ttn:roof", None, None, None, None, None, None, None, None),
        ]
        return
    wanted = [dict(zip(ROWS[table], values)) for values in zip(*ROWS[table].values())]
    wanted.sort(key=lambda row: row["time"])
    if table == "receptions":
        wanted[1]["device"] = "ABCD"
    assert rows == wanted


@pytest.mark.parametrize(
    "text",
    [
        "2020-09-13T12:26:40.000001Z",
        "2020-09-13 12:26:40.000001999",
        "2020-09-13T14:26:40.000001+02:00",
        "1600000000000001",
    ],
)
def test_times_are_iso_8601_or_integers(text: str, tmp_path: Path) -> None:
    other = "2020-09-13T12:26:41Z"
    path = tmp_path / "receptions.csv"
    path.write_text(f"gateway,time\nroof,{text}\nroof,{other}\nroof,\nroof,yesterday\n")
    data = load(path)
    assert data.receptions["time"].to_pylist() == [1_600_000_000_000_001, 1_600_000_001_000_000]
    assert list(data.rejects.line) == [4, 5]
    (tmp_path / "alone.csv").write_text(f"gateway,time\nroof,{text}\n")
    alone = load(tmp_path / "alone.csv", network="home")
    assert alone.receptions["time"].to_pylist() == [1_600_000_000_000_001]
    assert alone.receptions["gateway"].to_pylist() == ["home:roof"]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Amsterdam"])
def test_timestamps_of_a_data_frame_are_moments(unit: str, zone: str | None) -> None:
    times = pd.to_datetime(["2020-09-13T12:26:40Z"]).tz_convert(zone).as_unit(unit)
    data = load(pd.DataFrame({"time": times, "gateway": pd.Categorical(["roof"])}))
    assert data.receptions["time"].to_pylist() == [1_600_000_000_000_000]
    assert data.receptions["gateway"].to_pylist() == ["ttn:roof"]


def test_one_bad_value_costs_itself_or_its_row(tmp_path: Path) -> None:
    path = tmp_path / "receptions.csv"
    good = "2020-09-13T12:26:40Z,roof,data,-100,true"
    path.write_text(
        "\n".join(
            [
                "time,gateway,kind,rssi,delivered",
                good,
                good.replace("-100", "nan"),
                good.replace("-100", "NA"),
                good.replace("-100", "1e999"),
                good.replace("-100", "loud"),
                good.replace("true", "maybe"),
                good.replace("data", "smoke"),
                good.replace("2020", "1020"),
                good.replace("2020", "9020"),
                good.replace("roof", "x" * 257),
                good.replace("roof", "bell\a"),
                good + ",more",
                good.replace("roof", '"roof'),
                good.replace("roof", '"ro""of"'),
                "1600000000,roof,data,-100,true",
            ]
        )
    )
    data = load(path)
    assert list(data.rejects.line) == [5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16]
    assert reasons(data) == {"unread_field": 3, "bad_field": 4, "bad_time": 2, "bad_record": 2}
    assert sorted(data.receptions["gateway"].to_pylist()) == ['ttn:ro"of'] + ["ttn:roof"] * 6


def test_a_gateways_clock_may_say_anything(tmp_path: Path) -> None:
    path = tmp_path / "receptions.csv"
    rows = [f"roof,2020-09-13T12:26:4{n}Z,{time}" for n, time in enumerate(["", -5, 0, 10**18])]
    path.write_text("\n".join(["gateway,time,gateway_time", *rows]))
    data = load(path)
    assert data.receptions["gateway_time"].to_pylist() == [None, None, 0, None]
    assert not len(data.rejects)


def test_a_metric_is_given_only_where_its_columns_are_known() -> None:
    base = {"time": ["2020-09-13T12:26:40Z"], "gateway": ["roof"]}

    def gives(**columns: object) -> frozenset[str]:
        return load(pd.DataFrame(base | {name: [value] for name, value in columns.items()})).gives

    heard = {"receptions", "excluded_frames"}
    delivered = heard | {"uplinks", "sole_uplinks", "shapley_uplinks"}
    assert gives() == heard
    assert gives(airtime=1) == heard
    assert gives(delivered=False) == delivered
    assert gives(delivered=True, airtime=1) == delivered | {"uplink_units"}
    assert gives(delivered=True, size=0) == delivered | {"data_units"}
    used = delivered | {"usage.delivered"}
    assert gives(application="x", device="d", f_cnt=1) == heard
    assert gives(application="x", delivered=False) == used
    assert gives(application="x", delivered=True, device="d", f_cnt=1) == used | {"usage.lost"}
    sent = heard | {"foreign_frames", "downlinks"}
    assert gives(kind="downlink", foreign=False) == sent
    assert gives(kind="downlink", foreign=False, application="x") == sent | {"usage.downlinks"}
    assert gives(covers=1) == {"connected_ppm"}
    assert gives(covers=1, frames=0) == {"connected_ppm", "online_ppm"}


# --- the table of readers -------------------------------------------------------------------------


def test_readers_declare_metrics_that_there_are() -> None:
    assert len({reader.name for reader in READERS}) == len(READERS) == 15
    names = {*METRICS, *USAGE_GIVEN}
    assert frozenset().union(*(reader.gives for reader in READERS)) == names - {"own_uplinks"}
    given = {reader.name: reader.gives for reader in READERS}
    assert not given["ttn-registry"]
    for uplinks in ("things-stack-v3", "ttn-v2", "chirpstack-v3", "chirpstack-v4"):
        assert given[uplinks] == {
            "receptions", "uplinks", "sole_uplinks", "shapley_uplinks", "uplink_units",
            "data_units", "excluded_frames", "usage.delivered", "usage.uplink_units", "usage.lost",
        }  # fmt: skip


def test_the_matrix_is_what_readers_declare() -> None:
    rows = matrix()
    assert [row["reader"] for row in rows] == [reader.name for reader in READERS]
    for row, reader in zip(rows, READERS, strict=True):
        assert {name for name, given in row.items() if given is True} == reader.gives
        assert not row["own_uplinks"]


def test_the_page_of_formats_has_a_section_for_every_reader_and_agrees_with_the_matrix() -> None:
    text = (ROOT / "docs" / "formats.md").read_text()
    sections = re.findall(r"^## `(.*)`$", text, re.MULTILINE)
    assert sections == [reader.name for reader in READERS]
    for row in matrix():
        (line,) = re.findall(rf"^\| `{row['reader']}` \|.*\| (.*) \|$", text, re.MULTILINE)
        assert re.findall(r"`([\w.]+)`", line) == [name for name in row if row[name] is True]


def test_rows_are_those_of_the_schema() -> None:
    assert list(Gateway._fields) == [column.name for column in TABLES["gateways"]]
    assert list(Reception._fields) == [column.name for column in TABLES["receptions"]]
    assert list(Reject._fields) == [column.name for column in TABLES["rejects"]]
    numeric = {c.name for t in TABLES.values() for c in t if c.type in {"int64", "float64"}}
    assert set(BOUNDS) == numeric - {"line"}
    assert set(REJECT_REASONS) >= FIELD_REASONS | EXPECTED


@pytest.mark.parametrize(
    "name",
    [
        "ttn/zurich_gateways_2017.csv",
        "helium/packets_per_hotspot_1day_2022-02.csv",
        "README.md",
    ],
)
def test_an_unknown_format_is_named_with_each_readers_reason(name: str) -> None:
    with pytest.raises(UnknownFormat, match=r"dii load --explain FILE.*docs/formats\.md") as caught:
        load(real_data(name))
    assert str(caught.value).startswith(f"{real_data(name).name}: ")
    assert len(str(caught.value)) < 250
    judged = explain(real_data(name))
    assert judged["reader"].tolist() == [reader.name for reader in READERS]
    assert judged["why"].all()
    assert not judged["taken"].any()


@pytest.mark.parametrize(
    ("identifier", "eui", "gateway", "beside"),
    [
        ("eui-b827ebfffe2bfb8d", None, "B827EBFFFE2BFB8D", None),
        ("b827ebfffe2bfb8d", None, "B827EBFFFE2BFB8D", None),
        ("eui-b827ebfffe2bfb8d", "b827ebfffe2bfb8d", "B827EBFFFE2BFB8D", None),
        ("roof", "b827ebfffe2bfb8d", "ttn:roof", "B827EBFFFE2BFB8D"),
        ("eui-0000000000000001", "b827ebfffe2bfb8d", "0000000000000001", "B827EBFFFE2BFB8D"),
        (None, "b827ebfffe2bfb8d", "B827EBFFFE2BFB8D", None),
        ("roof", None, "ttn:roof", None),
        ("roof", "", "ttn:roof", None),
        ("roof", "0000000000000000", "ttn:roof", None),
        ("eui-b827ebfffe2bfb8", None, "ttn:eui-b827ebfffe2bfb8", None),
        ("pico-gw-647fdafffe004001", None, "ttn:pico-gw-647fdafffe004001", None),
        ("17459c667f0f9d699c72661d970f4624", None, "ttn:17459c667f0f9d699c72661d970f4624", None),
    ],
)
def test_a_record_states_a_name_and_an_eui_beside_it(
    identifier: str | None, eui: str | None, gateway: str, beside: str | None
) -> None:
    assert identity(identifier, eui, "ttn") == (gateway, beside)
