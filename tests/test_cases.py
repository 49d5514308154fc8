"""Inputs that the product once got wrong, made after public reports of people who do this job.

Each represents a kind of fault. The inputs are written here, so that the tests run anywhere.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dii import Network
from dii.errors import BadColumns, FarInTime, GenesisError, HomeBroken, SourceUnreadable
from dii.genesis import Genesis
from dii.telemetry.load import load
from dii.telemetry.metrics import metrics
from dii.telemetry.readers.fields import eui, gateway_name
from tests.cli import dii

EUI = "AA555A0000000001"
HOUR = "2025-03-03T06"


def reasons(data: Any) -> dict[str, int]:
    return dict(data.rejects.groupby("reason").size())


def lines(path: Path, *records: object) -> Path:
    path.write_text("\n".join(map(json.dumps, records)))
    return path


# --- spellings of EUIs ----------------------------------------------------------------------------

SPELLINGS = [
    *("AA555A0000000001", "aa555a0000000001", "eui-aa555a0000000001", "0xAA555A0000000001"),
    *("AA-55-5A-00-00-00-00-01", "aa:55:5a:00:00:00:00:01", "aa.55.5a.00.00.00.00.01"),
    *("AA 55 5A 00 00 00 00 01", "aa555a00-00000001", "aa55.5a00.0000.0001", "aa55:5a00:0:1"),
    *(
        "aa55:5a00::1",
        "AA55:5A00:0000:0001",
        "eui-aa55:5a00::1",
        " AA555A0000000001",
        "qlVaAAAAAAE=",
    ),
]


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("prefix", ["", "ttn:", "  "])
def test_an_eui_is_one_gateway_however_it_is_written(spelling: str, prefix: str) -> None:
    assert gateway_name(prefix + spelling, "home") == EUI


def test_all_readers_read_all_spellings_as_one_gateway(tmp_path: Path) -> None:
    for number, spelling in enumerate(SPELLINGS):
        packet = {"gateway": spelling, "received_at": f"{HOUR}:00:00Z", "stat": {"rxok": 1}}
        v2 = {
            "dev_id": "d",
            "metadata": {"time": f"{HOUR}:00:00Z", "gateways": [{"gtw_id": spelling}]},
        }
        v4 = {
            "deviceInfo": {"devEui": "0004a30b00000002"},
            "rxInfo": [{"gatewayId": spelling, "nsTime": f"{HOUR}:00:00Z"}],
        }
        stack = {
            "end_device_ids": {},
            "received_at": f"{HOUR}:00:00Z",
            "uplink_message": {"rx_metadata": [{"gateway_ids": {"eui": spelling}}]},
        }
        found = [
            load(lines(tmp_path / f"{number}-{name}.jsonl", record))
            for name, record in {"udp": packet, "v2": v2, "v4": v4, "v3": stack}.items()
        ]
        (tmp_path / f"{number}.csv").write_text(f"time,gateway\n{HOUR}:00:00Z,{spelling}\n")
        found.append(load(tmp_path / f"{number}.csv"))
        assert [data.gateways["gateway"].to_pylist() for data in found] == [[EUI]] * 5


@given(st.integers(1, 2**64 - 1), st.booleans())
def test_id6_is_read_back(number: int, short: bool) -> None:
    groups = [f"{number >> shift & 0xFFFF:x}" for shift in (48, 32, 16, 0)]
    text = ":".join(groups)
    if short and "0:0" in text and "0" in groups:
        start = groups.index("0")
        rest = [group for group in groups[start:] if group != "0"]
        zeros = len(groups) - start - len(rest)
        if groups[start : start + zeros] == ["0"] * zeros:
            text = ":".join(groups[:start]) + "::" + ":".join(rest)
    assert eui(text) == f"{number:016X}"


@pytest.mark.parametrize(
    "text",
    [
        "roof",
        "::",
        "1:2:3",
        "1:2:3:4:5",
        "b8:27:eb:00:00:01",
        "1:::2",
        "a::b::c",
        "0" * 16,
        "deadbeef",
        "roof-gateway-001",
        "eui-roof-gateway-001",
        "0xroofgateway00001",
        "AA555A000000000G",
        "\uff11" * 16,
    ],
)
def test_other_names_are_no_euis(text: str) -> None:
    assert eui(text) is None


@given(st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=15, max_size=17))
def test_an_id_of_the_length_of_an_eui_stays_what_it_is(name: str) -> None:
    hexadecimal = re.fullmatch("[0-9a-fA-F]{16}", name) and name.strip("0")
    assert gateway_name(name, "home") == (name.upper() if hexadecimal else f"home:{name}")


@pytest.mark.parametrize("column", ["gateway", "device", "eui"])
@pytest.mark.parametrize("kind", [pa.int64(), pa.float64(), pa.uint64(), pa.decimal128(20)])
def test_numbers_for_euis_are_refused(column: str, kind: pa.DataType, tmp_path: Path) -> None:
    table = pa.table(
        {"time": [f"{HOUR}:00:00Z"], "gateway": ["roof"], "device": ["d"], "eui": [""]}
    )
    place = table.column_names.index(column)
    numbers = pa.array([1_000_000_000_012_345]).cast(pa.decimal128(20)).cast(kind)
    table = table.set_column(place, column, numbers)
    pq.write_table(table, tmp_path / "table.parquet")
    for source in (table, table.to_pandas(), tmp_path / "table.parquet"):
        with pytest.raises(BadColumns, match=f"column {column} holds .* leading zeros"):
            load(source)


# --- values ---------------------------------------------------------------------------------------


def test_blanks_around_values_are_no_part_of_them(tmp_path: Path) -> None:
    path = tmp_path / "spaces.csv"
    path.write_text(
        f"gateway, operator, latitude, longitude\n{EUI}, anna, 52.0, 5.1\n"
        " roof ,\u00a0anna\t,52.1 , 5\n"
    )
    data = load(path)
    assert data.gateways["gateway"].to_pylist() == [EUI, "ttn:roof"]
    assert data.gateways["operator"].to_pylist() == ["anna", "anna"]
    assert data.gateways["latitude"].to_pylist() == [52.0, 52.1]
    assert not len(data.rejected)


@pytest.mark.parametrize("word", ["null", "None", "-", "", " ", "NaN", " null "])
def test_words_for_nothing_are_no_names(word: str, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text(
        f"gateway,operator,latitude\nroof,{word},{word}\n{word},bob,\n"
    )
    data = load(tmp_path / "table.csv")
    assert data.gateways.select(["gateway", "operator"]).to_pylist() == [
        {"gateway": "ttn:roof", "operator": None}
    ]
    assert reasons(data) == {"bad_field": 1}
    registry = {"roof": {"id": "roof", "owner": word, "owners": [word, "bob"]}}
    (tmp_path / "registry.json").write_text(json.dumps(registry))
    assert load(tmp_path / "registry.json").operators() == {"ttn:roof": "bob"}


def test_a_decimal_comma_costs_the_place_only(tmp_path: Path) -> None:
    path = tmp_path / "commas.csv"
    path.write_text(
        f"\ufeffgateway;operator;latitude;longitude\r\n{EUI};Jürgen;52,01;5,1\r\nroof;Zoë;52.0;5.1\r\n",
        "utf-8",
    )
    data = load(path)
    assert data.operators() == {EUI: "Jürgen", "ttn:roof": "Zoë"}
    assert data.gateways["latitude"].to_pylist() == [None, 52.0]
    assert reasons(data) == {"bad_coordinates": 2}
    assert set(data.rejects.gateway) == {EUI}
    assert set(data.rejects.line) == {2}
    registry = {
        "roof": {"id": "roof", "owner": "anna", "location": {"latitude": "52,01", "longitude": 5}}
    }
    (tmp_path / "registry.json").write_text(json.dumps(registry))
    data = load(tmp_path / "registry.json")
    assert data.operators() == {"ttn:roof": "anna"}
    assert reasons(data) == {"bad_coordinates": 1}


REGISTERED = {
    "id": "roof",
    "owner": "anna",
    "country_code": "nl",
    "last_seen": f"{HOUR}:00:00Z",
    "eui": EUI,
    "attributes": {"placement": "indoor"},
    "location": {"latitude": 52.0, "longitude": 5.0},
}


@pytest.mark.parametrize("field", sorted(REGISTERED.keys() - {"id", "owner"}))
@pytest.mark.parametrize("value", [5, "x" * 300, ["y"], True])
def test_a_field_of_a_registry_that_cannot_be_read_leaves_the_owner(
    field: str, value: object, tmp_path: Path
) -> None:
    (tmp_path / "registry.json").write_text(json.dumps([REGISTERED | {field: value}]))
    data = load(tmp_path / "registry.json")
    assert list(data.operators().values()) == ["anna"]
    assert reasons(data) == {"unread_field": 1}


@pytest.mark.parametrize(
    ("text", "number"), [("12.0", 12), ("12.", 12), (" 12 ", 12), ("12.5", None)]
)
def test_a_whole_number_with_a_point_is_one(text: str, number: int | None, tmp_path: Path) -> None:
    rows = f"{HOUR}:00:00Z,roof,{text},7\n{HOUR}:00:01Z,roof,13,7.0\n"
    (tmp_path / "table.csv").write_text("time,gateway,f_cnt,size\n" + rows)
    data = load(tmp_path / "table.csv")
    assert data.receptions["f_cnt"].to_pylist() == [number, 13]
    assert len(data.rejected) == (number is None)


def chirpstack(count: int, **stamps: object) -> dict[str, object]:
    return {
        "devEUI": "0004a30b00000002",
        "rxInfo": [{"gatewayID": "b827ebfffe000001", "rssi": -70}],
        "fCnt": count,
        "data": "AQI=",
    } | stamps


@pytest.mark.parametrize(
    ("stamp", "micros"),
    [
        (1740981600000, 1740981600000000),
        (1740981600000.5, 1740981600000500),
        ("1740981600000", 1740981600000000),
        (" 1740981600000.25 ", 1740981600000250),
        (1740981600, None),
        (1740981600000000, None),
        ("today", None),
        (True, None),
        ([1], None),
        (-1, None),
    ],
)
def test_timestamps_in_milliseconds_are_numbers_or_texts(
    stamp: object, micros: int | None, tmp_path: Path
) -> None:
    packet = {"gateway": EUI, "_timestamp": stamp, "stat": {"rxok": 1}}
    for record, table in ((chirpstack(1, _timestamp=stamp), "receptions"), (packet, "statuses")):
        data = load(lines(tmp_path / "log.jsonl", record))
        assert getattr(data, table)["time"].to_pylist() == ([micros] if micros else [])
        assert reasons(data) == ({} if micros else {"bad_time": 1})
        assert micros or "_timestamp" in data.rejects.detail[0]


@pytest.mark.parametrize(
    ("checked", "reason"),
    [(1, None), (0, None), (None, None), (-1, "bad_crc"), (-1.0, "bad_crc")]
    + [(value, "bad_field") for value in ("-1", "1", 7, [1], True, {})],
)
def test_a_checksum_that_cannot_be_read_sets_its_frame_aside(
    checked: object, reason: str | None, tmp_path: Path
) -> None:
    frame = {"datr": "SF7BW125", "stat": checked, "data": "QAEACyYABwABcGF5bG9hZE1JQyE="}
    packet = {"gateway": EUI, "received_at": f"{HOUR}:06:00Z", "rxpk": [frame, frame | {"stat": 1}]}
    data = load(lines(tmp_path / "log.jsonl", packet))
    assert reasons(data) == ({reason: 1} if reason else {})
    assert len(data.receptions) == (1 if reason else 2)


# --- gateways that are none -----------------------------------------------------------------------


def stack(device: str, port: int, count: int, minute: int, *gateways: object) -> dict[str, object]:
    at = f"{HOUR}:{minute:02}:00.123456789Z"
    entries = [
        {"gateway_ids": {"gateway_id": "relay"}, "relay": {"device_id": "relay-1"}, "rssi": -80}
        if gateway == "relay"
        else {"gateway_ids": gateway, "rssi": -101}
        for gateway in gateways
    ]
    message = {"f_port": port, "f_cnt": count, "received_at": at, "rx_metadata": entries}
    ids = {"device_id": device, "dev_eui": f"70B3D57ED000000{len(device)}"}
    ids["application_ids"] = {"application_id": "water"}
    return {"end_device_ids": ids, "received_at": at, "uplink_message": message}


ROOF = {"gateway_id": "roof-1"}
CARRIED = [stack("relay-1", 226, 77 + n, n, ROOF) for n in range(3)]
RELAYED = [stack("cellar-1", 1, 5 + n, n, "relay") for n in range(3)]
START = 1740960000 * 10**6
DAY = 86_400 * 10**6


def uplinks(data: Any) -> dict[str, int]:
    found = metrics(
        data.receptions,
        data.statuses,
        operators=data.operators(),
        gateways=None,
        start=START,
        length=DAY,
        gives=data.gives,
    )
    table = found.metrics
    return {row["gateway"]: row["uplinks"] for row in table.to_pylist() if row["uplinks"]}


@pytest.mark.parametrize("files", ["one", "two", "two loads"])
def test_a_relayed_frame_counts_once_for_the_gateway_that_carried_it(
    files: str, tmp_path: Path
) -> None:
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    if files == "one":
        data = load(lines(one, *RELAYED, *CARRIED))
    elif files == "two":
        data = load(lines(one, *CARRIED), lines(two, *RELAYED))
    else:
        data = load(lines(one, *RELAYED)) + load(lines(two, *CARRIED))
    assert data.gateways["gateway"].to_pylist() == ["ttn:roof-1"]
    assert uplinks(data) == {"ttn:roof-1": 3}


def test_a_relayed_frame_alone_counts_once_without_a_gateway(tmp_path: Path) -> None:
    data = load(lines(tmp_path / "log.jsonl", *RELAYED, CARRIED[0]))
    assert data.gateways["gateway"].to_pylist() == ["ttn:roof-1"]
    assert uplinks(data) == {"": 2, "ttn:roof-1": 1}


@pytest.mark.parametrize("name", ["relay", "packetbroker", "Relay", " relay"])
def test_nobody_registers_a_stand_in(name: str, tmp_path: Path) -> None:
    entries = [{"id": name, "owner": "mallory", "eui": EUI}, {"id": "roof-1", "owner": "anna"}]
    (tmp_path / "registry.json").write_text(json.dumps(entries))
    (tmp_path / "table.csv").write_text(f"gateway,operator\nttn:{name},mallory\n{name},mallory\n")
    (tmp_path / "heard.csv").write_text(f"time,gateway\n{HOUR}:00:00Z,{name}\n")
    data = load(*(tmp_path / file for file in ("registry.json", "table.csv", "heard.csv")))
    assert data.operators() == {"ttn:roof-1": "anna"}
    assert reasons(data) == {"stand_in": 3}
    assert data.receptions["gateway"].to_pylist() == [None]
    event = {"name": "gs.status.receive", "time": f"{HOUR}:00:00Z"}
    event |= {"identifiers": [{"gateway_ids": {"gateway_id": name}}]}
    event["data"] = {"@type": "type.googleapis.com/ttn.lorawan.v3.GatewayStatus"}
    told = load(lines(tmp_path / "events.jsonl", event))
    assert reasons(told) == {"stand_in": 1}
    assert not len(told.gateways)


# --- lines and files ------------------------------------------------------------------------------


@pytest.mark.parametrize("zipped", [False, True])
def test_lines_may_end_in_cr_alone(zipped: bool, tmp_path: Path) -> None:
    rows = [f"{HOUR}:00:00Z,{EUI},9.0", f"{HOUR}:01:00Z,eui-aa555a0000000002,8.0", "x,y,z"]
    content = "\r".join(["time,gwaddr,snr", *rows, ""]).encode()
    path = tmp_path / "cr.csv"
    path.write_bytes(gzip.compress(content, mtime=0) if zipped else content)
    data = load(path, columns={"gwaddr": "gateway"})
    assert data.gateways["gateway"].to_pylist() == [EUI, "AA555A0000000002"]
    assert data.rejects.line.tolist() == [4]


@pytest.mark.parametrize("end", ["", " ", "\n"])
@pytest.mark.parametrize("cut", [0, 30])
def test_a_missing_line_end_costs_no_neighbours(end: str, cut: int, tmp_path: Path) -> None:
    one, two, three = (json.dumps(chirpstack(n, publishedAt=f"{HOUR}:0{n}:00Z")) for n in (1, 2, 3))
    path = tmp_path / "log.jsonl"
    path.write_text(f"{one}\n{two}{end}{three[: len(three) - cut]}\n{one}")
    data = load(path)
    assert sorted(set(data.receptions["f_cnt"].to_pylist())) == ([1, 2] if cut else [1, 2, 3])
    assert reasons(data) == ({"bad_json": 1} if cut else {})


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip", "tar.xz", "tar.bz2"])
def test_archives_are_refused_by_their_kind(kind: str, tmp_path: Path) -> None:
    lines(tmp_path / "log.jsonl", chirpstack(1, publishedAt=f"{HOUR}:00:00Z"))
    path = tmp_path / f"log.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(tmp_path / "log.jsonl")
    else:
        with tarfile.open(path, "w:" + kind.removeprefix("tar").removeprefix(".")) as folder:
            folder.add(tmp_path / "log.jsonl", "log.jsonl")
    with pytest.raises(SourceUnreadable, match="archive: unpack it"):
        load(path)


def test_text_in_utf_16_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("gateway\nroof\n", "utf-16")
    with pytest.raises(SourceUnreadable, match="UTF-16 text: save it as UTF-8"):
        load(tmp_path / "table.csv")


# --- what a file may do to a home and a terminal --------------------------------------------------


def run(*words: object, **options: Any) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-c", "from dii.cli import main; main()"]
    words = tuple(word if isinstance(word, bytes) else str(word) for word in words)
    return subprocess.run([*command, *words], capture_output=True, timeout=60, **options)


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_load_in_which_everything_was_refused_fails(flags: list[str], tmp_path: Path) -> None:
    home = tmp_path / "home"
    dii("init", "--seed", 7, "--home", home)
    bad = tmp_path / "bad.csv"
    bad.write_text("gateway,operator\n-,ann\n,bob\n")
    done = dii("load", bad, "--home", home, *flags, code=1)
    assert "every record was set aside (2); the first: bad.csv, line 2" in done.stderr
    bad.write_text("gateway,operator\n-,ann\nroof,bob\n")
    dii("load", bad, "--home", home, *flags)


def test_a_load_that_comes_too_late_as_a_whole_fails(tmp_path: Path) -> None:
    home, path = tmp_path / "home", tmp_path / "log.csv"
    dii("init", "--seed", 7, "--home", home)
    head, row = "time,gateway,delivered,device,f_cnt\n", "{}:00:00Z,roof,true,D,{}\n"
    path.write_text(head + row.format(HOUR, 1))
    dii("load", path, "--home", home)
    dii("run", "--complete", "--home", home)
    path.write_text(head + row.format("2025-03-03T07", 2))
    assert "every record was set aside (1)" in dii("load", path, "--home", home, code=1).stderr
    with path.open("a") as file:
        file.write(row.format("2025-03-04T06", 3))
    dii("load", path, "--home", home)


def test_a_run_of_which_every_record_was_refused_fails(tmp_path: Path) -> None:
    home, path, owners = tmp_path / "home", tmp_path / "log.csv", tmp_path / "owners.csv"
    owners.write_text("gateway,operator\nroof,bob\n")
    head, row = "time,gateway,delivered,device,f_cnt\n", "{},roof,true,D,1\n"
    bad, good = head + row.format("soon"), head + row.format(f"{HOUR}:00:00Z")
    words = "run", "--complete", "--receptions", path, "--home", home
    told = "every record was set aside (1); the first: log.csv, line 2: time: an ISO 8601"
    path.write_text(bad)
    for more in ([], ["--registry", owners]):  # no network begins with it
        done = dii(*words, "--seed", 7, *more, code=1)
        assert (told in done.stderr, home.exists()) == (True, False)
    path.write_text(good)
    dii(*words, "--seed", 7, "--registry", owners)
    path.write_text(bad)
    for flags in ([], ["--json"]):
        assert told in dii(*words, *flags, code=1).stderr
    path.write_text(good)
    dii(*words)  # the same records again are no failure


def test_arguments_and_names_of_files_may_be_any_bytes(tmp_path: Path) -> None:
    home = tmp_path / "home"
    done = run("init", "--seed", 7, "--home", home, "--name", b"x\xff")
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
    dii("init", "--seed", 7, "--home", home)
    path = os.fsencode(tmp_path) + b"/caf\xe9.csv"
    Path(os.fsdecode(path)).write_text("gateway,operator\nroof,ann\n-,bob\n")
    done = run("load", path, "--home", home)
    assert done.returncode == 0, done.stderr
    assert b"caf?.csv, line 3" in done.stdout


def test_escapes_in_names_of_files_reach_no_terminal(tmp_path: Path) -> None:
    path = tmp_path / "\x1b[31mred\u202e.csv"
    path.write_text(f"time,gateway\n{HOUR}:00:00Z,roof\n")
    with path.open("a") as file:
        file.write("today,roof\n")
    data = load(path)
    for text in (repr(data), repr(data.rejects)):
        assert text.replace("\n", "").isprintable()
        assert "red" in text


@pytest.mark.parametrize("mark", ["\x1b[31m", "\x9b31m", "\u202e", "\u2066", "\x07", "\u2028"])
def test_escapes_in_names_are_set_aside(mark: str, tmp_path: Path) -> None:
    name = f"a{mark}b"
    path = tmp_path / "table.csv"
    path.write_text(f"gateway,operator\nroof,{name}\n{name},ann\n", "utf-8")
    data = load(path)
    assert data.gateways.select(["gateway", "operator"]).to_pylist() == [
        {"gateway": "ttn:roof", "operator": None}
    ]
    assert reasons(data) == {"bad_field": 1, "unread_field": 1}
    entries = [{"id": "roof", "owner": name}, {"id": name, "owner": "ann"}]
    (tmp_path / "registry.json").write_text(json.dumps(entries))
    data = load(tmp_path / "registry.json")
    assert data.gateways["gateway"].to_pylist() == ["ttn:roof"]
    assert reasons(data) == {"bad_field": 1, "unread_field": 1}


def test_a_seed_among_the_keys_of_a_real_network_is_refused(tmp_path: Path) -> None:
    with Network.create(home=tmp_path / "home", start="2025-03-03T00:00:00Z"):
        pass
    (tmp_path / "home" / "keys" / "seed").write_text("7")
    for readonly in (False, True):
        with pytest.raises(HomeBroken, match="no laboratory: remove the file"):
            Network.open(tmp_path / "home", readonly=readonly)
    (tmp_path / "home" / "keys" / "seed").unlink()
    Network.open(tmp_path / "home").close()


@pytest.mark.parametrize(
    "text",
    [
        ".".join(["a"] * 32_000) + " = 1",
        "[" + ".".join(["a"] * 32_000) + "]",
        "x = {" + " . ".join(['"a"'] * 32_000) + " = 1}",
        ".".join(['"\u2028"', *["a"] * 50] * 640) + " = 1",
        '"\u2028#".' + ".".join(["a"] * 32_000) + " = 1",
        "x = " + "[" * 100_000,
        "x = " + "9" * 100_000,
    ],
)
def test_a_genesis_file_takes_no_more_work_than_its_bytes(text: str) -> None:
    start = time.process_time()
    with pytest.raises(GenesisError):
        Genesis.parse(text)
    assert time.process_time() - start < 5


# --- time -----------------------------------------------------------------------------------------


def day(path: Path, hours: int) -> Path:
    """Uplinks of a day, of which roof-1 hears three and roof-2 one of four."""
    return lines(
        path,
        *(
            {
                "end_device_ids": {"dev_eui": "70B3D57ED0000001"},
                "received_at": f"2025-03-{3 + hour // 24:02d}T{hour % 24:02d}:00:00Z",
                "uplink_message": {
                    "f_port": 1,
                    "f_cnt": hour,
                    "frm_payload": "AQI=",
                    "rx_metadata": [{"gateway_ids": {"gateway_id": f"roof-{1 + (hour % 4 == 3)}"}}],
                },
            }
            for hour in range(hours)
        ),
    )


def test_a_log_until_noon_and_then_the_whole_day_pay_the_whole_day(tmp_path: Path) -> None:
    owners = {
        f"roof-{n}": {"id": f"roof-{n}", "owner": who} for n, who in ((1, "anna"), (2, "bert"))
    }
    registry = lines(tmp_path / "registry.json", owners)
    with Network.create(seed=7) as network:
        network.ingest(load(registry, day(tmp_path / "until-noon.jsonl", 12)))
        assert network.run().settled == 0
        network.ingest(load(registry, day(tmp_path / "whole-day.jsonl", 25)))
        assert network.run().settled == 1
        paid = network.issuance(0).set_index("operator")["amount_uttc"].to_dict()
        assert paid == {"anna": 7_500_000_000, "bert": 2_500_000_000}


def test_one_record_of_2031_among_few_is_refused_and_among_many_set_aside(tmp_path: Path) -> None:
    path = day(tmp_path / "one-in-2031.jsonl", 20)
    wrong = path.read_text().splitlines()[0].replace("2025-", "2031-")
    few = path.read_text() + "\n" + wrong
    path.write_text(few)
    with pytest.raises(
        FarInTime, match=r"2031-03-03T00:00:00Z \(one-in-2031.jsonl, line 21.*--gap"
    ):
        load(path)
    data = load(path, day(tmp_path / "more.jsonl", 200))
    assert reasons(data) == {"far_in_time": 1}
    assert data.rejects[["file", "line"]].to_numpy().tolist() == [["one-in-2031.jsonl", 21]]


def test_escapes_in_the_text_of_a_contract_reach_no_terminal() -> None:
    with Network.create(seed=7, start="2025-03-03T00:00:00Z") as network:
        text = repr(network.check('x = 1 # \x1b[31mred\u202e\n"\x9b'))
    assert text.replace("\n", "").isprintable()
    assert "red" in text
