"""Readers of polls, events and logs of gateways."""

from __future__ import annotations

import base64
import csv
import json
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dii.telemetry import load as loading
from dii.telemetry.load import Telemetry
from dii.telemetry.metrics import metrics
from dii.telemetry.metrics.airtime import time_on_air
from dii.units import DAY, SECOND, format_time
from tests.require import real_data

load = partial(loading.load, gap=None)  # real files, and wrong ones, hold many dates

ZURICH = "ttn/zurich_noc_counters_2017-09.csv"
GOUDA = "ttn/gouda_receptions_2022-01-06.csv"
V2 = "ttn/ttn_v2_uplinks.jsonl"
MINUTE, HOUR = 60 * SECOND, 3600 * SECOND
START = 1_650_000_000_000_000


def reasons(data: Telemetry) -> dict[str, int]:
    return dict(Counter(data.rejected["reason"].to_pylist()))


def write_lines(path: Path, records: list[Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def days(data: Telemetry, first: int, count: int) -> list[dict[str, Any]]:
    """The metrics of the one gateway on each of some days."""
    found, before = [], None
    for day in range(count):
        epoch = metrics(
            data.receptions,
            data.statuses,
            operators={},
            gateways=None,
            start=first + day * DAY,
            length=DAY,
            gives=data.gives,
            lookback=before,
        )
        before = epoch.lookback
        found += epoch.metrics.to_pylist()
    return found


def statuses(data: Telemetry) -> list[tuple[Any, ...]]:
    """Rows of statuses: gateway, minutes since the start, minutes covered, frames."""
    return [
        (row["gateway"], (row["time"] - START) / MINUTE, row["covers"] / MINUTE, row["frames"])
        for row in data.statuses.to_pylist()
    ]


def minutes(count: float) -> str:
    return format_time(START + round(count * MINUTE))


# --- the NOC of version 2 (traps 2, 5) ------------------------------------------------------------


def test_zurich_was_fresh_at_all_polls_and_deaf_for_three_days_and_a_half() -> None:
    data = load(real_data(ZURICH))
    assert len(data.statuses) == 99
    assert not len(data.rejects)
    frames = data.statuses["frames"].to_pylist()
    assert frames[0] is None
    assert sum(frames[1:]) == 7319 - 6965
    silent = [row for row in data.statuses.to_pylist()[16:] if row["frames"] == 0]
    assert len(silent) == 99 - 16  # every poll from the midnight on
    assert (silent[-1]["time"] - silent[0]["time"]) == 83 * HOUR
    first = 1_505_088_000 * SECOND
    found = days(data, first, 5)
    # One poll of the 12th is missing: 11 slots. Silence is deafness after 24 h, from 23:05 on.
    assert [row["connected_ppm"] for row in found] == [
        192 * 10**6 // 288, 277 * 10**6 // 288, 10**6, 10**6, 133 * 10**6 // 288
    ]  # fmt: skip
    assert [row["online_ppm"] for row in found] == [
        192 * 10**6 // 288, 266 * 10**6 // 288, 0, 0, 0
    ]  # fmt: skip


def test_a_log_of_polls_may_grow_and_may_be_cut_with_an_overlap_of_one(tmp_path: Path) -> None:
    header, *polls = real_data(ZURICH).read_text().splitlines()

    def log(first: int, last: int) -> Telemetry:
        path = tmp_path / "polls.csv"
        path.write_text("\n".join([header, *polls[first:last]]))
        return load(path)

    whole = load(real_data(ZURICH))
    assert log(0, 40) + log(0, 99) == log(0, 99) == whole
    first = 1_505_088_000 * SECOND
    assert days(log(0, 40) + log(39, 99), first, 5) == days(whole, first, 5)
    assert days(log(0, 40) + log(40, 99), first, 5) != days(whole, first, 5)


def test_a_counter_that_runs_backwards_is_rejected_and_counting_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "counters.csv"
    lines = [f"16,{minutes(60 * n)},{total},{minutes(60 * n)}" for n, total in
             enumerate([100, 150, 20, 30, 30 + 10**9])]  # fmt: skip
    path.write_text("\n".join(["device_id,last_online,rx_ok,measured_at", *lines, lines[-1]]))
    data = load(path)
    assert [row[3] for row in statuses(data)] == [None, 50, 10]
    assert data.rejects[["line", "reason"]].to_numpy().tolist() == [
        [4, "bad_counter"], [6, "bad_counter"], [7, "stale_poll"]
    ]  # fmt: skip


def test_a_poll_that_finds_a_gateway_away_is_no_sign_of_life(tmp_path: Path) -> None:
    path = tmp_path / "counters.csv"
    path.write_text(
        "device_id,last_online,rx_ok,measured_at\n"
        f"16,{minutes(0)},5,{minutes(1)}\n16,{minutes(0)},5,{minutes(61)}\n16,,5,{minutes(121)}\n"
    )
    data = load(path)
    assert statuses(data) == [("ttn:16", 1, 1 / 60e6, None)]
    assert not len(data.rejects)


NOC = {
    "eui-00000000000000aa": {
        "timestamp": minutes(0), "uplink": "7", "downlink": "1", "rx_ok": 7, "tx_in": 1,
        "location": {"latitude": 52.0, "longitude": 5.0, "altitude": 3},
        "time": "1650000000000000000",
    },
    "roof": {"timestamp": minutes(-90), "rx_ok": 70},
    "cellar": {"timestamp": "2016-04-20T11:00:09Z"},
}  # fmt: skip


def noc(*seen: tuple[float, int]) -> list[Any]:
    first = NOC["eui-00000000000000aa"]
    changed = [first | {"timestamp": minutes(at), "rx_ok": total} for at, total in seen]
    return [{"statuses": NOC | {"eui-00000000000000aa": one}} for one in changed]


@pytest.mark.parametrize("indent", [None, 2])
def test_documents_of_the_noc_are_polls(indent: int | None, tmp_path: Path) -> None:
    path = tmp_path / "noc.json"
    documents = noc((0, 7), (30, 9), (30, 9), (120, 9))
    path.write_text("\n".join(json.dumps(one, indent=indent) for one in documents))
    data = load(path)
    # Gateways that had been away for more than an hour are known, and no sign of life.
    assert statuses(data) == [
        ("00000000000000AA", 0, 1 / 60e6, None),
        ("00000000000000AA", 30, 30, 2),
        ("00000000000000AA", 120, 60, 0),
    ]
    rows = {row["gateway"]: row for row in data.gateways.to_pylist()}
    assert set(rows) == {"00000000000000AA", "ttn:roof", "ttn:cellar"}
    assert rows["00000000000000AA"]["latitude"] == 52.0
    assert format_time(rows["ttn:cellar"]["last_seen"]) == "2016-04-20T11:00:09Z"
    assert not len(data.rejects)


def test_zurichs_gateways_load_with_their_columns_named() -> None:
    names = {"eui_id": "gateway", "lat": "latitude", "lng": "longitude"}
    data = load(real_data("ttn/zurich_gateways_2017.csv"), columns=names)
    assert len(data.gateways) == 134
    assert data.gateways["latitude"].null_count == 0
    assert data.gateways["altitude"].null_count == sum(
        line.split(",")[6] == "NA"
        for line in real_data("ttn/zurich_gateways_2017.csv").read_text().splitlines()
    )
    assert not len(data.rejects)
    assert not data.gives


# --- Packet Broker's Mapper -----------------------------------------------------------------------

MAPPED = {
    "netID": "000013", "tenantID": "ttn", "id": "roof", "eui": "00000000000000AA",
    "clusterID": "eu1.cloud.thethings.network", "updatedAt": minutes(0),
    "location": {"latitude": 52.0, "longitude": 5.0, "altitude": 3, "accuracy": 0},
    "antennaPlacement": "INDOOR", "antennaCount": 1, "online": True, "rxRate": 12.5, "txRate": 0.5,
}  # fmt: skip


def test_arrays_of_the_mapper_are_gateways_and_polls(tmp_path: Path) -> None:
    other = {"netID": "C0FFEE", "tenantID": "acme", "id": "roof", "online": False}
    refreshed = MAPPED | {"updatedAt": minutes(10), "rxRate": 0}
    hidden = {key: value for key, value in MAPPED.items() if key != "rxRate"}
    arrays = [[MAPPED, other], [refreshed], [refreshed], [hidden | {"updatedAt": minutes(20)}]]
    path = tmp_path / "mapper.json"
    path.write_text("\n".join(map(json.dumps, arrays)))
    data = load(path)
    assert statuses(data) == [
        ("ttn:roof", 0, 1 / 60e6, 1),
        ("ttn:roof", 10, 10, 0),
        ("ttn:roof", 20, 10, None),
    ]
    rows = {row["gateway"]: row for row in data.gateways.to_pylist()}
    assert set(rows) == {"ttn:roof", "C0FFEE-acme:roof"}
    assert rows["ttn:roof"]["placement"] == "indoor"
    assert set(data.statuses["eui"].to_pylist()) == {"00000000000000AA"}
    assert data.gives == {"connected_ppm", "online_ppm"}
    assert not len(data.rejects)


# --- connection statistics of version 3 (traps 5, 6) ----------------------------------------------


def connection(at: float, since: float, count: int | None, **more: object) -> dict[str, object]:
    stats = {"connected_at": minutes(since), "protocol": "udp", "uplink_count": str(count)}
    if count is None:
        del stats["uplink_count"]
    return {"gateway_ids": {"gateway_id": "roof"}, "time": minutes(at)} | stats | more


def test_counters_of_a_connection_begin_anew_with_the_next(tmp_path: Path) -> None:
    polls = [
        connection(10, 0, 100),
        connection(15, 0, 130),
        connection(40, 30, 7),  # away for up to 15 minutes
        connection(45, 30, 5),
        connection(45, 30, 8),
        connection(50, 49, None),
        connection(60, 49, 3, disconnected_at=minutes(55)),
        connection(65, 49, 3, disconnected_at=minutes(55)),
        connection(70, 80, 1),
    ]
    data = load(write_lines(tmp_path / "stats.jsonl", polls))
    assert statuses(data) == [
        ("ttn:roof", 10, 10, 100),
        ("ttn:roof", 15, 5, 30),
        ("ttn:roof", 40, 10, 7),
        ("ttn:roof", 50, 1, 0),
        ("ttn:roof", 55, 5, 3),
    ]
    assert data.rejects[["line", "reason"]].to_numpy().tolist() == [
        [4, "bad_counter"], [5, "stale_poll"], [8, "stale_poll"], [9, "bad_time"]
    ]  # fmt: skip


def test_a_bare_answer_is_named_by_its_file_and_timed_by_its_last_sign_of_life(
    tmp_path: Path,
) -> None:
    answer = connection(0, 0, 5, last_uplink_received_at=minutes(3))
    del answer["gateway_ids"], answer["time"]
    path = tmp_path / "eui-00000000000000aa.json"
    path.write_text(json.dumps(answer, indent=2))
    assert statuses(load(path)) == [("00000000000000AA", 3, 3, 5)]
    path = tmp_path / "stats.json"
    path.write_text(json.dumps(answer))
    assert reasons(load(path)) == {"bad_field": 1}


def test_answers_for_many_gateways_name_each(tmp_path: Path) -> None:
    answer = {
        "time": minutes(5),
        "entries": {
            "roof": connection(0, 0, 5),
            "eui-00000000000000aa": connection(0, 2, 1),
            "cellar": {},
        },
    }
    data = load(write_lines(tmp_path / "batch.jsonl", [answer]))
    assert statuses(data) == [("00000000000000AA", 5, 3, 1), ("ttn:roof", 5, 5, 5)]
    assert reasons(data) == {"no_time": 1}


# --- gateway events of version 3 ------------------------------------------------------------------


def message(name: str) -> Any:
    return json.loads(real_data(f"ttn/events/{name}.json").read_text())


def event(name: str, data: object, at: float = 0) -> dict[str, object]:
    ids = [{"gateway_ids": {"gateway_id": "roof", "eui": "00000000000000AA"}}]
    return {"result": {"name": name, "time": minutes(at), "identifiers": ids, "data": data}}


def test_the_real_messages_of_a_gateway_are_three_frames_and_two_that_nobody_can_place() -> None:
    data = load(real_data("ttn/events/GatewayStatus.json").parent / "*.json")
    rows = data.receptions.to_pylist()
    assert [(row["kind"], row["device"], row["f_cnt"], row["foreign"]) for row in rows] == [
        ("join", "70B3D58FF100C5E3", None, None),
        ("data", "26012E23", 22110, False),
        ("data", "00D0B94C", 10430, True),
    ]
    named = {(row["gateway"], row["eui"]) for row in rows}
    assert named == {("ttn:technolution-gouda", "008000000000B8B6")}
    assert [row["size"] for row in rows] == [None, 5, 15]
    assert [row["airtime"] for row in rows] == [
        time_on_air(23, 7), time_on_air(18, 12), time_on_air(28, 7)
    ]  # fmt: skip
    assert all(row["delivered"] is None for row in rows)
    # The bare status and the bare downlink name neither a gateway nor a server's time.
    assert reasons(data) == {"no_time": 2}
    assert set(data.rejects.file) == {"DownlinkMessage.json", "GatewayStatus.json"}
    assert "192.0.2.7" not in str([table.to_pylist() for table in data.tables().values()])


def test_an_uplink_of_an_event_is_dated_by_the_server_not_by_the_gateway() -> None:
    (row,) = load(real_data("ttn/events/GatewayUplinkMessageResult.json")).receptions.to_pylist()
    assert format_time(row["time"]) == "2024-04-27T21:33:11Z"
    assert format_time(row["gateway_time"]) == "2024-04-27T21:27:12Z"


def test_events_tell_uptime_and_downlinks(tmp_path: Path) -> None:
    status, downlink, stats = message("GatewayStatus"), message("DownlinkMessage"), {
        "@type": "type.googleapis.com/ttn.lorawan.v3.GatewayConnectionStats",
    } | connection(0, 10, 4)  # fmt: skip
    data = load(write_lines(tmp_path / "events.jsonl", [
        event("gs.status.receive", status),
        event("gs.status.receive", status, 0.5),
        event("gs.status.receive", {"@type": status["@type"]}, 20),
        event("gs.down.send", downlink, 21),
        event("gs.gateway.connection.stats", stats, 22),
        event("gs.down.schedule.attempt", downlink, 21),
        event("gs.gateway.disconnect", None, 23),
        message("GatewayUplinkMessageResult"),
    ]))  # fmt: skip
    roof = "ttn:roof"
    assert statuses(data) == [
        (roof, 0, 1 / 60e6, 1), (roof, 0.5, 0.5, 1), (roof, 20, 5, None), (roof, 22, 2, 4)
    ]  # fmt: skip
    (sent,) = [row for row in data.receptions.to_pylist() if row["kind"] == "downlink"]
    raw = base64.b64decode(downlink["raw_payload"])
    assert (sent["gateway"], sent["device"], sent["foreign"]) == (roof, "260B3A7E", False)
    assert sent["eui"] == "00000000000000AA"
    assert sent["airtime"] == time_on_air(len(raw), 9, crc=False)
    assert reasons(data) == {"no_receptions": 2}
    assert data.gives == {
        "connected_ppm", "online_ppm", "receptions", "foreign_frames", "downlinks",
        "downlink_units", "excluded_frames",
    }  # fmt: skip
    (place,) = [row for row in data.gateways.to_pylist() if row["gateway"] == roof]
    assert place["latitude"] == 52.07788


def test_a_frame_with_a_wrong_checksum_and_a_downlink_overheard_do_not_count(
    tmp_path: Path,
) -> None:
    broken, overheard = message("UplinkMessage"), message("UplinkMessage")
    broken["crc_status"] = False
    overheard["raw_payload"] = message("DownlinkMessage")["raw_payload"]
    data = load(write_lines(tmp_path / "frames.jsonl", [broken, overheard]))
    assert not len(data.receptions)
    assert reasons(data) == {"bad_crc": 1, "not_uplink": 1}


# --- uplinks of version 2 (trap 11) ---------------------------------------------------------------


def test_three_of_eleven_receptions_of_version_2_are_trusted() -> None:
    data = load(real_data(V2))
    rows = data.receptions.to_pylist()
    assert len(rows) == 11
    assert [row["trusted"] for row in rows].count(True) == 3
    assert [row["trusted"] for row in rows].count(False) == 8
    assert not len(data.rejects)
    assert len(data.gateways) == 8
    assert data.gives >= {"uplinks", "shapley_uplinks", "uplink_units"}
    assert sum(row["gateway_time"] is None for row in rows) == sum(
        not entry["time"]
        for line in real_data(V2).read_text().splitlines()
        for entry in json.loads(line)["metadata"]["gateways"]
    )
    first = [row for row in rows if row["f_cnt"] == 29932]
    assert {format_time(row["time"]) for row in first} == {"2020-04-05T13:26:44Z"}
    assert {row["airtime"] for row in first} == {time_on_air(11 + 13, 7)}
    assert {row["device"] for row in first} == {"00E150E95369A0B0"}


def test_devices_of_version_2_carry_the_serial_of_their_hardware() -> None:
    data = load(real_data(V2))
    assert Counter(data.receptions["device"].to_pylist()) == {
        "00E150E95369A0B0": 4, "00F26916ED6E43B4": 2, "0007090000515DB3": 5
    }  # fmt: skip


# --- ChirpStack v4 --------------------------------------------------------------------------------

V4 = {
    "deduplicationId": "3ac7e3c4-4401-4b8d-9386-a5c902f9202d",
    "time": minutes(-1),
    "deviceInfo": {
        "tenantId": "52f14cd4", "applicationId": "17c82e96", "applicationName": "meters",
        "deviceName": "one", "devEui": "0101010101010101",
    },
    "devAddr": "00189440", "adr": True, "dr": 1, "fPort": 1, "confirmed": False, "data": "qg==",
    "rxInfo": [
        {
            "gatewayId": "0016c001f153a14c", "uplinkId": 4217106255, "rssi": -36, "snr": 10.5,
            "gwTime": minutes(-1), "nsTime": minutes(0), "location": {}, "crcStatus": "CRC_OK",
        },
        {"gatewayId": "0016c001f153a14d", "rssi": -90, "nsTime": minutes(0.1)},
        {"gatewayId": "0016c001f153a14e", "rssi": -90, "crcStatus": "BAD_CRC"},
    ],
    "txInfo": {
        "frequency": 867100000,
        "modulation": {
            "lora": {"bandwidth": 125000, "spreadingFactor": 11, "codeRate": "CR_4_5"}
        },
    },
}  # fmt: skip


def test_an_uplink_of_chirpstack_4_is_dated_by_its_network_server(tmp_path: Path) -> None:
    ack = {"deduplicationId": "x", "time": minutes(0), "deviceInfo": {}, "queueItemId": "y"}
    data = load(write_lines(tmp_path / "events.jsonl", [V4, ack]))
    one, two = data.receptions.to_pylist()
    assert [row["gateway"] for row in (one, two)] == ["0016C001F153A14C", "0016C001F153A14D"]
    assert one["time"] == two["time"] == START
    assert (one["deduplication_id"], one["f_cnt"]) == (V4["deduplicationId"], 0)
    assert (one["device"], one["application"]) == ("0101010101010101", "17c82e96")
    assert one["airtime"] == time_on_air(14, 11)
    assert (one["snr"], two["snr"]) == (10.5, 0.0)
    assert reasons(data) == {"bad_crc": 1, "no_receptions": 1}


def test_the_time_of_an_event_of_chirpstack_4_counts_only_where_no_gateway_has_a_clock(
    tmp_path: Path,
) -> None:
    timeless = json.loads(json.dumps(V4))
    for entry in timeless["rxInfo"]:
        entry.pop("nsTime", None)
    clockless = json.loads(json.dumps(timeless))
    del clockless["rxInfo"][0]["gwTime"]
    data = load(write_lines(tmp_path / "events.jsonl", [timeless, clockless]))
    assert reasons(data) == {"no_time": 1, "bad_crc": 1}
    assert set(data.receptions["time"].to_pylist()) == {START - MINUTE}


# --- Semtech's packet forwarder -------------------------------------------------------------------

RXPK = {
    "time": "1970-01-01T00:00:05Z", "tmst": 3512348611, "chan": 2, "rfch": 0, "freq": 866.349812,
    "stat": 1, "modu": "LORA", "datr": "SF7BW125", "codr": "4/5", "rssi": -35, "lsnr": 5.1,
    "size": 18, "data": "QCMuASaAXlYCBkcfTyXJXa8E",
}  # fmt: skip
STAT = {
    "time": "2014-01-12 08:59:28 GMT", "lati": 46.24, "long": 3.2523, "alti": 145, "rxnb": 9,
    "rxok": 2, "rxfw": 2, "ackr": 100.0, "dwnb": 2, "txnb": 2,
}  # fmt: skip


def test_a_packet_forwarder_tells_frames_of_all_networks_and_uptime(tmp_path: Path) -> None:
    foreign = base64.b64encode(bytes.fromhex("40") + base64.b64decode(GOUDA_FRAME)[1:]).decode()
    bad = [RXPK | {"stat": -1}, RXPK | {"data": "gA=="}, RXPK | {"data": "4AAA"}, RXPK | {"snr": 1}]
    lines = [
        {"gatewayEui": "00000000000000aa", "received_at": minutes(0), "rxpk": [RXPK, *bad]},
        {"mac": "00000000000000AA", "time": minutes(1), "stat": STAT},
        {"gateway": "eui-00000000000000aa", "_timestamp": START // 1000 + 90_000, "stat": STAT,
         "rxpk": [RXPK | {"data": foreign}]},
        {"gateway": "00000000000000AA", "rxpk": [RXPK]},
        {"gateway": "00000000000000AA", "time": minutes(2), "txpk": {"imme": True}},
    ]  # fmt: skip
    data = load(write_lines(tmp_path / "log.jsonl", lines))
    aa = "00000000000000AA"
    assert statuses(data) == [(aa, 1, 1 / 60e6, 2), (aa, 1.5, 0.5, 2)]
    rows = data.receptions.to_pylist()
    assert [(row["gateway"], row["device"], row["f_cnt"], row["foreign"]) for row in rows] == [
        (aa, "26012E23", 22110, False), (aa, "26012E23", 22110, False), (aa, "14E55CB1", 1213, True)
    ]  # fmt: skip
    assert {row["time"] for row in rows} == {START, START + 90 * SECOND}
    assert rows[0]["gateway_time"] == 5 * SECOND
    assert (rows[0]["size"], rows[0]["airtime"]) == (5, time_on_air(18, 7))
    assert rows[0]["delivered"] is None
    assert reasons(data) == {
        "bad_crc": 1, "bad_field": 1, "not_uplink": 1, "no_time": 1, "no_receptions": 1
    }  # fmt: skip
    assert data.gives == {
        "connected_ppm", "online_ppm", "receptions", "foreign_frames", "excluded_frames"
    }  # fmt: skip
    (place,) = data.gateways.to_pylist()
    assert (place["latitude"], place["longitude"], place["altitude"]) == (46.24, 3.2523, 145)


GOUDA_FRAME = "QLFc5RSAvQQFajIFw9t9OG74hvuM0uFbCSM="


def test_the_name_of_a_file_may_carry_the_gateways_eui_and_nothing_else(tmp_path: Path) -> None:
    lines = [{"time": minutes(0), "rxpk": [RXPK]}]
    data = load(write_lines(tmp_path / "gw-00000000000000aa-2022.jsonl", lines))
    assert data.receptions["gateway"].to_pylist() == ["00000000000000AA"]
    for name in ("log.jsonl", "00000000000000aa0.jsonl"):
        assert reasons(load(write_lines(tmp_path / name, lines))) == {"bad_field": 1}


def test_an_object_of_many_lines_is_one_record_even_with_an_object_on_a_line_of_it(
    tmp_path: Path,
) -> None:
    record = json.loads(json.dumps(V4)) | {"tags": [{}, {}], "object": {}}
    path = tmp_path / "event.json"
    path.write_text(json.dumps(record, indent=2) + "\n" + json.dumps(record, indent=2))
    assert "\n    {},\n" in path.read_text()
    assert len(load(path).receptions) == 4


# --- Gouda (traps 3, 10) --------------------------------------------------------------------------


def test_gouda_heard_248_data_frames_of_246_uplinks_and_101_of_its_own_network() -> None:
    data = load(real_data(GOUDA))
    rows = data.receptions.to_pylist()
    assert Counter((row["kind"], row["foreign"]) for row in rows) == {
        ("data", True): 147, ("data", False): 101, ("join", None): 23
    }  # fmt: skip
    assert not len(data.rejects)
    assert data.gives == {"receptions", "foreign_frames", "excluded_frames"}
    frames = data.receptions.filter([row["kind"] == "data" for row in rows])
    (found,) = days(Telemetry(receptions=frames, gives=data.gives), 1_641_427_200 * SECOND, 1)
    assert found["receptions"] == 246
    (found,) = days(data, 1_641_427_200 * SECOND, 1)
    assert found["receptions"] == 246 + 23


def test_frames_of_gouda_are_read_as_the_log_says() -> None:
    with real_data(GOUDA).open(newline="") as lines:
        stated = list(csv.DictReader(lines))
    rows = load(real_data(GOUDA)).receptions.to_pylist()
    stated.sort(key=lambda one: one["time"])
    for row, one in zip(rows, stated, strict=True):
        assert row["device"] == (one["dev_addr"] or one["dev_eui"])
        assert (row["f_cnt"] or 0) == int(one["fcnt"])
        assert row["kind"] == ("join" if one["type"] == "JOIN_REQUEST" else "data")
        # The log's own airtime is right, or one block of symbols too long.
        block = 5 * 2 ** int(one["sf"]) * 8
        assert round(float(one["airtime"]) * SECOND) - row["airtime"] in {0, block}


def test_foreign_frames_of_other_networks_are_unknown_at_gouda() -> None:
    data = load(real_data(GOUDA), network="elsewhere")
    assert data.receptions["foreign"].null_count == 271
    assert data.gives == {"receptions", "excluded_frames"}
