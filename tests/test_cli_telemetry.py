"""Commands that make a network, load telemetry and run epochs."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dii import Network, load
from dii.cli.options import program
from dii.cli.screen import plain
from dii.consensus.solo import Solo
from dii.genesis import Genesis, Limits
from dii.telemetry.formats import READERS, matrix
from dii.units import to_microseconds
from tests.cli import dii, make, read, refused
from tests.require import DATA, ROOT, SAMPLE, real_data

# --- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("truncated.json", SAMPLE[0].read_bytes()[:20]),
        ("words.txt", b"all work and no play\n" * 9),
        ("empty.json", b""),
        ("zeros.bin", bytes(4096)),
        ("latin1.json", '{"é": 1}'.encode("latin-1")),
        ("deep.json", b"[" * 100_000),
        ("broken.json.gz", b"\x1f\x8b\x08\x00broken"),
        ("columns.csv", b"a,b\n1,2\n"),
    ],
)
def test_a_file_that_is_no_telemetry_is_one_line(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert name in refused("run", "--receptions", path, "--home", tmp_path / "home", "--seed", 1)
    assert not (tmp_path / "home").exists()


def test_records_cut_off_are_set_aside_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "uplinks.jsonl"
    path.write_bytes(SAMPLE[1].read_bytes()[:-100])
    home = tmp_path / "home"
    dii("init", "--home", home, "--seed", 7)
    reasons = {row["reason"]: row for row in read("load", path, "--home", home)["rejects"]}
    whole = load(SAMPLE[1]).rejects["reason"].value_counts()
    assert reasons["bad_json"]["count"] == whole["bad_json"] + 1
    assert "bad_json" in refused("load", path, "--home", home, "--strict")


def test_a_registry_alone_is_not_taken_for_receptions(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert "first day" in refused("run", "--receptions", SAMPLE[0], "--home", home)
    assert not home.exists()


def test_records_that_come_late_are_counted_and_stand_in_no_line(tmp_path: Path) -> None:
    home, begun = tmp_path / "home", tmp_path / "begun.jsonl"
    lines = SAMPLE[1].read_text().splitlines(keepends=True)
    begun.write_text("".join(lines[:600]))
    dii("run", "--receptions", begun, "--complete", "--home", home, "--seed", 7)
    told = {row["reason"]: row for row in read("load", SAMPLE[1], "--home", home)["rejects"]}
    late = told["late"]
    assert late["detail"] == f"{late['count']} receptions of epochs that are settled"
    assert (late["count"] > 1, late["first"]) == (True, "")


def test_files_can_be_loaded_one_by_one(home: Path, tmp_path: Path) -> None:
    fresh = tmp_path / "home"
    dii("init", "--home", fresh, "--seed", 7, "--allocate", "bob=500")
    sealed = [read("load", file, "--home", fresh)["sealed"] for file in SAMPLE]
    assert sealed == [False, True, True]
    loaded = dii("load", SAMPLE[2], "--home", fresh).stdout
    assert f"next: {program()} run --home {fresh}" in loaded
    found, together = read("run", "--home", fresh), read("list", "operators", "--home", home)
    assert found["operators"] == together


def test_a_home_that_only_has_gateways_waits_and_can_get_traffic(tmp_path: Path) -> None:
    home = tmp_path / "home"
    dii("init", "--home", home, "--seed", 7)
    assert "kept; the network starts" in dii("load", SAMPLE[0], "--home", home).stdout
    assert "no records have been loaded" in dii("run", "--home", home).stdout
    assert read("status", "--home", home)["sealed"] is False
    alone = read("run", "--registry", SAMPLE[0], "--epochs", 1, "--seed", 7, "--home", home)
    fresh = tmp_path / "fresh"
    again = read("run", "--registry", SAMPLE[0], "--epochs", 1, "--seed", 7, "--home", fresh)
    assert alone["header"] == again["header"]


# --- making and running --------------------------------------------------------------------------


def test_init_says_what_python_says(tmp_path: Path) -> None:
    options = (
        "--name alps --symbol MTN --currency Berg --decimals 2 --start 2025-03-03 --seed 3"
        " --epoch-seconds 3600 --gas-price 2 --allocate ann=12.5 --allocate ben='7 MTN'"
        " --rule Uptime:minimum_ppm=900000 --policy PerContribution:rate=0.01,cap=5000"
    )
    made = read("init", *shlex.split(options), "--home", tmp_path / "home")
    with Network.open(tmp_path / "home", readonly=True) as network:
        genesis = network.genesis
        assert made == {
            "home": str(tmp_path / "home"), "chain": genesis.chain_id, "laboratory": True
        }  # fmt: skip
        assert genesis.chain_id.startswith("alps-")
        assert (genesis.money.name, genesis.money.unit) == ("Berg", "cmtn")
        assert (genesis.epoch_seconds, genesis.gas_price) == (3600, 2)
        assert str(genesis.start) == "2025-03-03 00:00:00+00:00"
        (stream,) = genesis.streams
        assert stream.rule.parameters == {"minimum_ppm": 900_000}
        assert stream.policy.parameters == {"rate": 1, "cap": 500_000}
        balances = network.accounts().set_index("account")["balance_cmtn"]
        assert (balances["ann"], balances["ben"]) == (1250, 700)


@pytest.mark.parametrize(
    "options",
    [
        "--name 'Two Words'", "--symbol T-C", "--decimals 5", "--epoch-seconds 1",
        "--gas-price -1", "--start tomorrow", "--allocate bob=many", "--allocate bob=0.0000001",
        "--allocate ../bob=1", "--allocate treasury=1", "--policy FixedEmission:amount=1e9",
        "--allocate ann=9000000000000 --allocate ben=9000000000000",
    ],
)  # fmt: skip
def test_a_network_that_could_not_be_is_not_begun(options: str, tmp_path: Path) -> None:
    refused("init", *shlex.split(options), "--home", tmp_path / "home")
    assert not (tmp_path / "home").exists()


def test_load_counts_what_was_taken_and_what_was_set_aside(tmp_path: Path) -> None:
    home = tmp_path / "home"
    dii("init", "--home", home, "--seed", 7)
    loaded, data = read("load", *SAMPLE, "--home", home), load(*SAMPLE)
    assert loaded["gateways"] == len(data.gateways) == 48
    assert loaded["operators"] == 25
    assert loaded["receptions"] == len(data.receptions)
    assert loaded["statuses"] == len(data.statuses)
    assert sorted(loaded["gives"]) == sorted(data.gives)
    counts = {row["reason"]: row["count"] for row in loaded["rejects"]}
    assert counts == data.rejects["reason"].value_counts().to_dict()
    text = dii("load", *SAMPLE, "--home", home).stdout
    for reason, count in counts.items():
        assert re.search(rf"^ *{count} +{reason} +\S+, line \d+", text, re.MULTILINE)
    # Taking it in twice has changed nothing.
    with Network.create("ttn", seed=7) as once, Network.open(home, readonly=True) as twice:
        once.ingest(data)
        assert once.header() == twice.header()


def test_load_explains_which_metrics_each_format_gives() -> None:
    shown = " ".join(dii("load", "--explain").stdout.split())
    for row in matrix():
        given = [name for name, given in row.items() if given is True]
        assert f"{row['reader']} {', '.join(given) or 'no metrics'}" in shown
    assert read("load", "--explain") == matrix()


def test_load_explains_what_it_takes_a_file_for_and_why_not_for_another_and_loads_nothing(
    tmp_path: Path,
) -> None:
    log = real_data("ttn/gouda_receptions_2022-01-06.csv")
    shown = dii("load", log, "--explain", "--home", tmp_path / "none").stdout
    why = {
        "taken for": "ttn-gateway-collector (ttn-gateway-collector: every frame",
        "not ttn-v2-noc-counters": "no column of a CSV file is named device_id",
        "not gateways, statuses": "its columns are those of receptions",
        "not receptions": "it would do, but ttn-gateway-collector comes first",
    }
    for what, reason in why.items():
        assert re.search(rf"^ *{what}  {re.escape(reason)}", shown, re.MULTILINE)
    rows = read("load", log, ROOT / "README.md", "--explain")
    assert [(row["file"], row["reader"]) for row in rows if row["taken"]] == [
        (log.name, "ttn-gateway-collector")
    ]
    assert len(rows) == 2 * len(READERS)
    assert not any((tmp_path).iterdir())


def test_load_says_what_the_network_sets_aside_of_a_sound_file(tmp_path: Path) -> None:
    home, early = tmp_path / "home", DATA / "uplinks.jsonl"
    dii("init", "--home", home, "--seed", 7, "--start", "2025-03-04")
    whole = load(early)
    start = to_microseconds(datetime(2025, 3, 4, tzinfo=UTC))
    before = sum(time < start for time in whole.receptions["time"].to_pylist())
    for _ in range(2):
        found = read("load", early, "--home", home)
        assert found["read_as"] == {"uplinks.jsonl": "things-stack-v3"}
        (told,) = [row for row in found["rejects"] if row["reason"] == "before_start"]
        assert told["count"] == before > 0
        assert told["detail"] == "before 2025-03-04T00:00:00Z"


def test_columns_of_foreign_tables_can_be_named(tmp_path: Path) -> None:
    path, home = tmp_path / "fleet.csv", tmp_path / "home"
    path.write_text("box,who\nA84041FFFF03B91B,ann\n")
    dii("init", "--home", home, "--seed", 7, "--start", "2025-03-03")
    refused("load", path, "--home", home)
    named = ["--columns", "box=gateway", "--columns", "who=operator"]
    assert read("load", path, *named, "--home", home)["operators"] == 1
    assert read("list", "gateways", "--home", home)[0]["operator"] == "ann"
    assert read("show", "gateway", "A84041FFFF03B91B", "--home", home)["operator"] == "ann"
    (ann,) = read("list", "operators", "--home", home)
    assert (ann["operator"], ann["gateways"], ann["earned_uttc"]) == ("ann", 1, 0)


def test_run_makes_loads_and_settles_as_python_does(tmp_path: Path) -> None:
    home = tmp_path / "home"
    files = ["--registry", SAMPLE[0], "--receptions", SAMPLE[1], "--receptions", SAMPLE[2]]
    done = read("run", *files, "--epochs", 3, "--seed", 7, "--home", home)
    with Network.create(seed=7) as expected:
        expected.ingest(load(*SAMPLE))
        expected.run(epochs=3)
        assert done["header"] == expected.header().hash.hex()
        assert done["epochs"] == plain(expected.epochs())
        assert done["operators"] == plain(expected.operators())
        assert (done["epochs_settled"], done["epochs_complete"]) == (3, 8)
        assert done["laboratory"] is True
        # Running again goes on; what is loaded already need not be said, and may be.
        expected.run()
        read("run", "--epochs", 2, "--home", home)
        done = read("run", *files, "--home", home)
        assert done["header"] == expected.header().hash.hex()
        assert done["epochs_settled"] == 8
        assert read("run", "--home", home) == done


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--decimals 30", "field currency.decimals: must be one of [0, 2, 3, 6, 9]"),
        ("--name 'My Net'", "field name: write it with 1 to 41 of a-z, 0-9, '_' and '-'"),
        ("--symbol T-T", "field currency.symbol: write it with 1 to 8 letters and digits"),
        ("--max-mint 5", "may mint 10,000 TTC an epoch, above max_mint_per_epoch 5 TTC"),
    ],
)
def test_an_invalid_network_is_explained_in_words_of_the_command_line(
    options: str, words: str, tmp_path: Path
) -> None:
    assert words in refused("init", *shlex.split(options), "--home", tmp_path / "home")
    assert not (tmp_path / "home").exists()


def test_a_run_that_no_rule_fits_says_what_to_do_and_leaves_no_home(tmp_path: Path) -> None:
    home, heard = tmp_path / "none", tmp_path / "heard.csv"
    heard.write_text("time,gateway\n2022-01-06T00:00:00Z,a\n")
    polls = ROOT / "data" / "statuses.csv"
    for file, words in ((heard, "no rule could run"), (polls, "dii init --rule Uptime --home")):
        assert words in refused("run", "--receptions", file, "--seed", 1, "--home", home)
        assert not home.exists()


def test_a_seed_makes_a_laboratory_and_is_fixed(home: Path, tmp_path: Path) -> None:
    assert "--seed" in dii("run", "--seed", 8, "--home", home, code=2).stderr
    dii("run", "--seed", 7, "--home", home)
    fresh = tmp_path / "home"
    done = read("run", "--receptions", SAMPLE[1], "--epochs", 1, "--home", fresh)
    assert done["laboratory"] is False
    keys = fresh / "keys"
    assert {path.name for path in keys.iterdir()} == {
        "network", "passphrase", "reporter.key", "validator.key"
    }  # fmt: skip
    assert all(path.stat().st_mode & 0o077 == 0 for path in [keys, *keys.iterdir()])
    assert "--seed" in dii("run", "--seed", 8, "--home", fresh, code=2).stderr


def test_a_registry_alone_gets_traffic_of_its_own(tmp_path: Path) -> None:
    home = tmp_path / "home"
    text = dii("run", "--registry", SAMPLE[0], "--epochs", 2, "--seed", 1, "--home", home).stdout
    assert "2 days from 2025-03-11 of generated traffic (seed 7)" in text
    first = read("run", "--home", home)
    assert (first["epochs_settled"], first["epochs_with_data"]) == (2, 2)
    assert "generated" in refused("run", "--receptions", SAMPLE[1], "--home", home)
    # More epochs mean more days, and the days that were stay as they were.
    more = read("run", "--registry", SAMPLE[0], "--epochs", 3, "--home", home)
    assert more["epochs"][:2] == first["epochs"]
    assert len(more["epochs"]) == 3
    one_go = tmp_path / "one"
    whole = read("run", "--registry", SAMPLE[0], "--epochs", 3, "--seed", 1, "--home", one_go)
    assert whole["header"] == more["header"]


def test_an_interrupted_run_goes_on_to_the_same_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settling takes several blocks here; between any two of them the run is stopped once."""
    make_genesis = Genesis.make.__func__  # type: ignore[attr-defined]
    limits = Limits(settle_rows=30)
    small = classmethod(lambda cls, **content: make_genesis(cls, **(content | {"limits": limits})))
    monkeypatch.setattr(Genesis, "make", small)
    begun = make(tmp_path / "begun")
    whole = shutil.copytree(begun, tmp_path / "whole")
    expected = read("run", "--epochs", 1, "--home", whole)
    first, last = read("status", "--home", begun)["height"], expected["height"]
    assert last - first > 4
    produce = Solo.produce
    for stop in range(first, last):
        home = shutil.copytree(begun, tmp_path / f"stopped-{stop}")

        def stopping(self: Solo, *args: Any, stop: int = stop) -> Any:
            if self.node.height == stop:
                raise KeyboardInterrupt
            return produce(self, *args)

        monkeypatch.setattr(Solo, "produce", stopping)
        dii("run", "--epochs", 1, "--home", home, code=130)
        monkeypatch.setattr(Solo, "produce", produce)
        with Network.open(home) as network:
            network.run(epochs=1 - network.settled)
        assert read("status", "--home", home)["header"] == expected["header"]


def test_an_interrupted_load_leaves_nothing_to_settle_without_owners(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopping(*_: object) -> None:
        raise KeyboardInterrupt

    fresh = tmp_path / "home"
    dii("init", "--home", fresh, "--seed", 7, "--allocate", "bob=500")
    with monkeypatch.context() as patch:
        patch.setattr(Solo, "produce", stopping)
        dii("load", *SAMPLE, "--home", fresh, code=130)
    assert "load receptions" in refused("run", "--home", fresh)
    dii("load", *SAMPLE, "--home", fresh)
    assert read("run", "--home", fresh)["header"] == read("status", "--home", home)["header"]


@pytest.mark.parametrize(
    ("files", "step"),
    [
        (SAMPLE[:1], "dii.network.telemetry.write"),
        (SAMPLE[:1], "dii.telemetry.load._save"),
        (SAMPLE, "dii.telemetry.load._save"),
        (SAMPLE, "dii.telemetry.load.sync"),
    ],
    ids=["the traffic's parameters", "no receptions", "receptions", "a file's bytes"],
)
def test_a_run_interrupted_while_it_keeps_its_telemetry_goes_on_to_the_same_header(
    files: list[str], step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopping(*_: object) -> None:
        raise KeyboardInterrupt

    registry, *receptions = files
    words: list[object] = ["run", "--registry", registry, "--epochs", 1, "--seed", 1]
    for file in receptions:
        words += ["--receptions", file]
    expected = read(*words, "--home", tmp_path / "whole")["header"]
    home = tmp_path / "home"
    with monkeypatch.context() as patch:
        patch.setattr(step, stopping)
        dii(*words, "--home", home, code=130)
    assert read(*words, "--home", home)["header"] == expected


def test_synth_makes_the_sample_again(tmp_path: Path) -> None:
    written = read("synth", "-o", tmp_path / "made")["files"]
    for path in SAMPLE:
        assert (tmp_path / "made" / path.name).read_bytes() == path.read_bytes()
        assert written[path.name] == path.stat().st_size


# --- real data -----------------------------------------------------------------------------------


def test_the_real_ttn_of_2018_has_an_economy(tmp_path: Path) -> None:
    registry, home = real_data("ttn/registry_world_2018-04-20.json"), tmp_path / "home"
    done = read("run", "--registry", registry, "--epochs", 2, "--seed", 1, "--home", home)
    assert [row["gateways"] for row in done["epochs"]] == [5800, 5800]
    assert done["epochs"][0]["start"] == "2018-04-21T00:00:00Z"
    operators = {row["operator"]: row for row in done["operators"]}
    assert len(operators) == 2981 + 1
    assert operators["treasury"]["gateways"] == 1300
    for row in done["epochs"]:
        assert row["pool_uttc"] == 10**10
    minted = sum(row["paid_uttc"] + row["unminted_uttc"] for row in done["epochs"])
    assert minted + done["epochs"][-1]["dust_uttc"] == 2 * 10**10 == done["minted_uttc"]
    gateway = read("show", "epoch", 1, "--home", home)["issuance"][0]["gateway"]
    dii("receipt", gateway, 1, "--verify", "--home", home)


def test_a_real_hilltop_device_pays_eleven_gateways(tmp_path: Path) -> None:
    file = real_data("campusiot/saint_eynard_device33.ndjson.gz")
    done = read("run", "--receptions", file, "--epochs", 2, "--seed", 1, "--home", tmp_path)
    assert done["epochs_with_data"] == 98
    assert len(done["operators"]) == 11
    data = read("load", file, "--home", tmp_path)
    assert data["receptions"] == 93_435
    assert data["rejects"] == [
        {"reason": "no_receptions", "count": 436, "first": f"{file.name}, line 9",
         "detail": "no rxInfo: not an uplink"}
    ]  # fmt: skip
    with Network.open(tmp_path, readonly=True) as network:
        for epoch in (0, 1):
            heard = network.metrics(epoch).to_pandas()
            whole = network.epochs()["total_weight"][epoch]
            assert heard["shapley_uplinks"].sum() == whole
            assert whole % 720_720 == 0, "each uplink divides exactly among up to eleven"


def test_real_uplinks_through_packet_broker_are_paid_where_it_says_whose(tmp_path: Path) -> None:
    file = real_data("ttn/ttn_v3_uplinks.jsonl")
    years = ("--gap", 1_000)
    words = ("--epochs", 1, "--seed", 1, "--home", tmp_path)
    done = read("run", "--receptions", file, *years, *words)
    assert done["epochs_with_data"] == 969
    found = read("load", file, *years, "--home", tmp_path)
    rejects = {row["reason"]: row["count"] for row in found["rejects"]}
    assert rejects == {"same_reception": 2, "simulated": 1}


def test_registry_and_receptions_combine(tmp_path: Path) -> None:
    registry, uplinks = tmp_path / "registry.json", real_data("ttn/ttn_v3_uplinks.jsonl")
    heard = next(
        name for name in load(uplinks, gap=None).gateways["gateway"].to_pylist() if ":" not in name
    )
    gateway = {"id": f"eui-{heard.lower()}", "owner": "ann"}
    registry.write_text(json.dumps({gateway["id"]: gateway}))
    files = ["--registry", registry, "--receptions", uplinks, "--gap", 1_000]
    read("run", *files, "--epochs", 1, "--seed", 1, "--home", tmp_path / "home")
    owners = read("list", "gateways", "--home", tmp_path / "home")
    named = [(row["gateway"], row["operator"]) for row in owners if row["operator"]]
    assert named == [(heard, "ann")]
