"""The command line does what it says, in JSON what Python says, and fails in one line."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.main import get_command
from typer.testing import CliRunner, Result

from dii import Network, load, minting
from dii.application.records import ACCOUNTS, GATEWAYS, VALIDATORS
from dii.cli import app, demo
from dii.cli import tables as look
from dii.cli.options import program
from dii.cli.screen import plain
from dii.consensus.solo import Solo
from dii.crypto import format_address
from dii.genesis import Genesis, Limits
from dii.schema import SHAPLEY_UNIT
from dii.telemetry.formats import READERS, matrix
from dii.units import to_microseconds
from tests.require import ROOT, real_data
from tests.test_proofs import CHECKER

DATA = ROOT / "data"
SAMPLE = [DATA / name for name in demo.FILES]
VERBS = [
    "init", "load", "run", "status", "list", "show", "receipt", "proof", "verify", "rebuild",
    "snapshot", "transfer", "burn", "assign", "claim", "propose", "vote", "contract", "statement",
    "keys", "lab", "synth",
]  # fmt: skip
HOMELESS = {("proof", "check"), ("synth",), ("contract", "check"), ("contract", "agreements")}


def dii(*words: object, code: int = 0, typed: str | None = None) -> Result:
    """Run a command in this process."""
    result = CliRunner().invoke(app, [str(word) for word in words], input=typed)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def read(*words: object) -> Any:
    """Run a command and return its JSON document."""
    return json.loads(dii(*words, "--json").stdout)


def refused(*words: object) -> str:
    """Run a command that has to fail, and return its one line."""
    result = dii(*words, code=1)
    assert result.stdout == ""
    assert re.fullmatch(r"dii: [^\n]+\n", result.stderr), result.stderr
    return result.stderr


def make(home: Path, *options: object) -> Path:
    """Make a laboratory network of the sample."""
    dii("init", "--home", home, "--seed", 7, "--allocate", "bob=500", *options)
    dii("load", *SAMPLE, "--home", home)
    return home


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the sample, all epochs settled; tests leave it as it is."""
    folder = make(tmp_path_factory.mktemp("cli") / "home")
    dii("run", "--home", folder)
    return folder


@pytest.fixture(scope="module")
def network(home: Path) -> Iterator[Network]:
    """The same, opened from Python."""
    with Network.open(home, readonly=True) as opened:
        yield opened


@pytest.fixture
def copy(home: Path, tmp_path: Path) -> Path:
    """A home to change."""
    return Path(shutil.copytree(home, tmp_path / "home"))


@pytest.fixture(scope="module")
def top(network: Network) -> str:
    """The gateway that earned most in epoch 2."""
    return str(network.issuance(2)["gateway"].iloc[0])


# --- help and usage ------------------------------------------------------------------------------


def commands(
    group: Any = None, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every command with its words."""
    group = get_command(app) if group is None else group
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


ALL = dict(commands())


def test_help_names_every_verb() -> None:
    lines = dii("--help").stdout.partition("Commands:")[2].split("\n")
    assert {line.split()[0] for line in lines if line.strip()} == set(VERBS)


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_every_command_explains_itself_and_speaks_json(words: tuple[str, ...]) -> None:
    text = dii(*words, "--help").stdout
    assert "--json" in text
    assert ("--home" in text) is (words not in HOMELESS)


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("verfy", "Did you mean"),
        ("receipt x", "Missing argument"),
        ("receipt x first", "integer"),
        ("receipt x -1", "No such option"),
        ("list everything", "transactions"),
        ("run --epochs 0", "greater than or equal to 1"),
        ("transfer bob 5", "--from"),
        ("init --rule Rain", "ShapleyTraffic"),
        ("init --rule Uptime:minimum=5", "minimum_ppm"),
        ("init --rule Uptime:minimum_ppm=most", "integer"),
        ("init --policy FixedEmission", "amount"),
        ("init --policy FixedEmission:amount", "amount="),
        ("init --allocate bob", "bob=500"),
        ("init --allocate bob=1 --allocate bob=2", "bob stands twice"),
        ("init --reporters 0", "greater than or equal to 1"),
        ("load x.csv --columns a", "lat=latitude"),
        ("proof make receipt x", "--epoch"),
        ("proof make account x --epoch 3", "--epoch"),
        ("proof check x --header 12", "64 hex digits"),
        ("proof check x --header zz", "64 hex digits"),
    ],
)
def test_wrong_usage_is_explained_and_exits_with_2(line: str, hint: str, tmp_path: Path) -> None:
    words = shlex.split(line)
    where = [] if words[:2] == ["proof", "check"] else ["--home", tmp_path / "home"]
    result = dii(*words, *(where if words[0] != "verfy" else []), code=2)
    assert hint in result.stderr
    assert not (tmp_path / "home").exists()


# --- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "status", "list epochs", "run", "verify", "rebuild", "transfer a 5 --from b", "keys list",
        "receipt x 0", "proof make account bob",
    ],
)  # fmt: skip
def test_where_no_network_is_the_error_says_how_to_make_one(line: str, tmp_path: Path) -> None:
    assert "dii init --home" in refused(*shlex.split(line), "--home", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("receipt nowhere 0", "no gateway goes by 'nowhere'"),
        ("receipt nowhere 99", "epoch 99 is not settled"),
        ("receipt nowhere 1 --stream nope", "no stream goes by 'nope', but main"),
        ("show epoch 8", "epoch 8 is not settled; the number of settled epochs is 8"),
        ("show block 99999", "no block goes by '99999'"),
        ("show tx ffff", "no transaction goes by 'ffff'"),
        ("show account nobody", "no account goes by 'nobody'"),
        ("show account dii1qqqq", "not an address"),
        ("proof make gateway nowhere", "no gateway goes by 'nowhere'"),
        ("transfer bob 5 --from nobody", "no key for nobody"),
        ("transfer nobody 5 --from bob", "no account goes by 'nobody'"),
        ("transfer treasury 9999 --from bob", "Transfer refused"),
        ("transfer treasury 5 --from validator", "has 0 TTC, and"),  # not even the fee
        ("transfer treasury 5.1234567 --from bob", "6 decimals"),
        ("transfer treasury '5 EUR' --from bob", "the currency here is TTC"),
        ("transfer treasury five --from bob", "cannot read 'five'"),
        ("transfer treasury 0 --from bob", "zero"),
        ("burn 501 --from bob", "Burn refused"),
        ("claim nobody bob", "no operator goes by 'nobody'"),
        ("assign nowhere bob --from bob", "no gateway goes by 'nowhere'"),
        ("keys show nobody", "no key for nobody"),
        ("keys new bob", "called 'bob' already"),
        ("keys new treasury", "called 'treasury' already"),
        ("keys new north-iot", "called 'north-iot' already"),
        ("keys new ../bob", "cannot name an account"),
        ("keys import eve nowhere.json", "laboratory"),
        ("init", "already holds a network"),
        ("run --receptions nowhere.jsonl", "nowhere.jsonl: no such file"),
        ("list epochs --parquet nowhere/at/all.parquet", "nowhere"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exits_with_1(line: str, hint: str, copy: Path) -> None:
    before = read("status", "--home", copy)
    message = refused(*shlex.split(line), "--home", copy)
    assert hint in message
    if "refused" not in message:  # what the chain refuses stands in a block, and costs a fee
        assert read("status", "--home", copy) == before


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


def test_a_defect_shows_its_traceback(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Network, "summary", broken)
    with pytest.raises(ZeroDivisionError):
        dii("status", "--home", home)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("Query interrupted")])
def test_an_interrupt_is_one_line_and_exits_with_130(
    error: BaseException, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise error

    monkeypatch.setattr(Network, "summary", interrupted)
    stopped = dii("status", "--home", home, code=130)
    assert stopped.stderr == "dii: interrupted; what was committed is kept\n"


def test_a_second_writer_is_refused_and_readers_are_not(home: Path, top: str) -> None:
    with Network.open(home):
        for line in ("status", "list blocks", f"receipt {top} 2 --verify", "verify"):
            dii(*line.split(), "--home", home)
        for line in ("run", "rebuild", "burn 1 --from bob"):
            assert "another process" in refused(*line.split(), "--home", home)


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
        ("--decimals 30", "field currency: decimals must be one of [0, 2, 3, 6, 9]"),
        ("--name 'My Net'", "field name: write it with 1 to 41 of a-z, 0-9, '_' and '-'"),
        ("--symbol T-T", "field currency.symbol: write it with 1 to 8 letters and digits"),
        ("--max-mint 5", "may mint 10,000 TTC an epoch, above max_mint_per_epoch 5 TTC"),
    ],
)
def test_what_makes_no_network_is_said_in_words_of_who_asks(
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
        "network", "passphrase", "reporter.json", "validator.json"
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


# --- looking -------------------------------------------------------------------------------------


def test_lab_compares_rules_as_python_does(home: Path, network: Network) -> None:
    found = read("lab", "compare", 2, "--rule", "Airtime", "--pool", "100", "--home", home)
    python = network.compare(2, minting.Airtime(), pool="100 TTC")
    assert found["measures"] == plain(python.measures.reset_index().to_dict("records"))
    assert sum(row["Airtime/1(downlink=0)"] for row in found["amounts"]) <= 100 * 10**6
    (free,), priced = found["measures"], ("--rule", "Airtime", "--pool", "100", "--price", "1.5")
    (costly,) = read("lab", "compare", 2, *priced, "--home", home)["measures"]
    assert free["self_traffic_earned"] - costly["self_traffic_earned"] == 1_000 * 1_500_000
    shown = dii("lab", "compare", 2, *priced, "--home", home).stdout
    assert re.search(r"^1,000 frames to oneself earn, TTC +-1,4[0-9]{2}\.", shown, re.MULTILINE)
    shown = dii("lab", "compare", 2, "--home", home).stdout
    assert re.search(r"^ *rule 1  ShapleyTraffic/1\(\)$", shown, re.MULTILINE)
    python = network.compare(2)
    gains = [rf" +{gain:.1%}" for gain in python.measures["clone_gain"]]
    assert re.search(rf"^a clone gains{''.join(gains)}$", shown, re.MULTILINE)
    for operator, amounts in python.amounts.iterrows():
        paid = [rf" +{amount / 10**6:,.6f}" for amount in amounts]
        assert re.search(rf"^{operator}{''.join(paid)}$", shown, re.MULTILINE)
    assert "no epoch 500" in refused("lab", "compare", 500, "--home", home)
    line = refused("lab", "compare", 2, "--rule", "Airtime:downlink=1", "--home", home)
    assert "needs downlink_units" in line


@pytest.mark.parametrize("words", ["status", "list accounts", "list epochs", "show block 3"])
def test_lines_into_a_pipe_end_with_their_text(home: Path, words: str) -> None:
    lines = dii(*words.split(), "--home", home).stdout.splitlines()
    assert lines == [line.rstrip() for line in lines]


def test_status_agrees_with_python(home: Path, network: Network) -> None:
    found, header = read("status", "--home", home), network.header()
    assert found["chain"] == network.genesis.chain_id
    assert (found["height"], found["header"]) == (header.height, header.hash.hex())
    assert found["app_hash"] == network.state.committed_root.hex()
    assert (found["epochs_settled"], found["epochs_complete"]) == (8, 8)
    held = int(network.accounts()["balance_uttc"].sum())
    dust = int(network.epochs()["dust_uttc"].iloc[-1])
    assert found["minted_uttc"] - found["burned_uttc"] == held + dust
    text = dii("status", "--home", home).stdout
    assert all(str(fact) in text for fact in network.summary().values())


def test_a_home_that_waits_for_data_says_so(tmp_path: Path) -> None:
    dii("init", "--home", tmp_path, "--seed", 1)
    assert "first telemetry" in dii("status", "--home", tmp_path).stdout
    assert read("status", "--home", tmp_path)["sealed"] is False
    assert "first day" in refused("list", "epochs", "--home", tmp_path)


EMPTY = {look.Table.TRANSFERS, look.Table.PROPOSALS, look.Table.CONTRACTS}
"""Of these the settled sample has none."""


@pytest.mark.parametrize("table", look.Table)
def test_lists_give_programs_every_row_and_column(
    table: look.Table, home: Path, network: Network, tmp_path: Path
) -> None:
    expected: pd.DataFrame = getattr(network, table.value)()
    assert len(expected) > 0 or table in EMPTY
    assert read("list", table, "--home", home) == plain(expected)
    parquet = tmp_path / "table.parquet"
    assert read("list", table, "--parquet", parquet, "--home", home)["rows"] == len(expected)
    same = len(expected) > 0  # what is empty has no type to keep
    pd.testing.assert_frame_equal(pd.read_parquet(parquet), expected, check_dtype=same)
    csv = pd.read_csv(io.StringIO(dii("list", table, "--csv", "--home", home).stdout))
    assert list(csv.columns) == list(expected.columns)
    for name in expected.select_dtypes("int").columns:
        assert csv[name].dropna().tolist() == expected[name].dropna().tolist()
    text = dii("list", table, "--home", home).stdout
    assert len(text.splitlines()) == 2 + len(expected)
    assert "…" not in text
    assert read("list", table, "--limit", 3, "--home", home) == plain(expected.head(3))


def test_people_see_amounts_in_whole_units(home: Path, network: Network) -> None:
    paid = network.epochs()["paid_uttc"].iloc[0]
    line = dii("list", "epochs", "--home", home).stdout.splitlines()[2]
    whole, fraction = divmod(int(paid), 10**6)
    assert f" {whole:,}.{fraction:06} " in line
    assert " 10,000.000000 " in line


def test_show_block_and_transaction(home: Path, network: Network) -> None:
    blocks, transactions = network.blocks(), network.transactions()
    for _, row in blocks.head(4).iterrows():
        for name in (row["height"], row["hash"], row["hash"][:8]):
            found = read("show", "block", name, "--home", home)
            assert (found["height"], found["hash"]) == (row["height"], row["hash"])
            assert len(found["transactions"]) == row["transactions"]
    for _, row in transactions.head(3).iterrows():
        found = read("show", "tx", row["id"][:12], "--home", home)
        assert {name: found[name] for name in row.index} == plain(row.to_dict())
    assert found["kind"] == "ReportChunk"
    assert found["message"]["epoch"] == 0
    assert "characters" in dii("show", "tx", row["id"], "--home", home).stdout


def test_show_account_gateway_and_epoch(home: Path, network: Network, top: str) -> None:
    accounts = network.accounts()
    for _, row in accounts.head(3).iterrows():
        for name in (row["account"], row["address"]):
            found = read("show", "account", name, "--home", home)
            assert {name: found[name] for name in row.index} == plain(row.to_dict())
            owned = network.gateways().query("operator == @row['account']")
            assert found["gateways"] == plain(owned)
    gateway = read("show", "gateway", top, "--home", home)
    assert read("show", "gateway", gateway["hash"], "--home", home) == gateway
    for epoch in range(8):
        issued = network.issuance(epoch).set_index("gateway")
        shown = read("show", "epoch", epoch, "--home", home)
        expected = network.issuance(epoch)
        expected["contribution"] = expected["weight"] / SHAPLEY_UNIT
        assert shown["issuance"] == plain(expected)
        assert sum(row["amount_uttc"] for row in shown["issuance"]) == shown["paid_uttc"]
        assert gateway["epochs"][epoch]["amount_uttc"] == issued["amount_uttc"][top]
    dii("show", "gateway", top, "--home", home)
    dii("show", "epoch", 2, "--home", home)
    dii("show", "account", "bob", "--home", home)


def test_an_account_that_was_never_paid_is_shown_as_unused(copy: Path) -> None:
    made = read("keys", "new", "eve", "--home", copy)
    found = read("show", "account", "eve", "--home", copy)
    assert (found["kind"], found["balance_uttc"]) == ("unused", 0)
    assert found["address"] == made["address"]


ESCAPES = "\x1b[31m\x1b]0;gotcha\x07"


def test_names_are_shown_as_they_are_and_cannot_steer_the_terminal(tmp_path: Path) -> None:
    registry, home = tmp_path / "registry.json", tmp_path / "home"
    owners = ["[red]x[/red]", f"[bold]{ESCAPES}", ":warning:"]  # the second becomes a reject
    gateways = [
        {"id": f"box-{number}{ESCAPES if number == 3 else ''}", "owner": owner}
        for number, owner in enumerate([*owners, "ann"])
    ]
    for gateway in gateways:
        gateway["last_seen"] = "2025-03-02T00:00:00Z"
    registry.write_text(json.dumps({gateway["id"]: gateway for gateway in gateways}))
    run = dii("run", "--registry", registry, "--epochs", 1, "--seed", 1, "--home", home)
    listed = dii("list", "operators", "--home", home)
    for text in (run.stdout, listed.stdout):
        assert "[red]x[/red]" in text
        assert ":warning:" in text
        assert all(character.isprintable() or character == "\n" for character in text)
    names = {row["operator"] for row in read("list", "operators", "--home", home)}
    assert {owners[0], owners[2]} <= names
    nobody = refused("show", "account", "nobody\n\x1b[31mdii: all is well", "--home", home)
    assert nobody[:-1].isprintable()


# --- receipts and proofs -------------------------------------------------------------------------


def test_a_receipt_explains_its_amount(home: Path, network: Network, top: str) -> None:
    found, receipt = read("receipt", top, 2, "--home", home), network.receipt(top, 2)
    assert found["amount_uttc"] == receipt.amount > 0
    assert (found["weight"], found["metrics"]) == (receipt.weight, receipt.metrics)
    pool = found["pool_uttc"] + found["carried_uttc"]
    assert found["amount_uttc"] == pool * found["weight"] // found["total_weight"]
    assert found["verified"] is False
    assert read("receipt", top, 2, "--verify", "--home", home)["verified"] is True
    text = dii("receipt", top.removeprefix("ttn:"), 2, "--verify", "--home", home).stdout
    assert all(line in text for line in receipt.lines().values())
    assert network.header().hash.hex() in text


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to check proofs in, with no home in reach."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("DII_HOME", raising=False)
    return folder


@pytest.mark.parametrize("kind", ["receipt", "account", "nobody", "gateway"])
def test_a_proof_checks_with_nothing_but_a_header_hash(
    kind: str, home: Path, network: Network, top: str, elsewhere: Path
) -> None:
    header = network.header().hash.hex()
    words: tuple[object, ...] = {
        "receipt": ("receipt", top, "--epoch", 2),
        "account": ("account", "bob"),
        "nobody": ("account", format_address(bytes(range(20)))),
        "gateway": ("gateway", top),
    }[kind]
    made = read("proof", "make", *words, "-o", "a.proof", "--home", home)
    where = {"file": "a.proof", "height": network.height, "header": header}
    assert made == where | {"present": kind != "nobody"}
    found = read("proof", "check", "a.proof", "--header", header)
    assert (found["holds"], found["header"]["hash"]) == (True, header)
    proven = found["proven"]
    match kind:
        case "receipt":
            receipt = network.receipt(top, 2)
            assert proven["kind"] == "receipt"
            assert (proven["stream"], proven["epoch"]) == ("main", 2)
            assert (proven["amount"], proven["metrics"]) == (receipt.amount, receipt.metrics)
        case "account":
            assert (proven["balance"], proven["nonce"]) == (500 * 10**6, 0)
        case "nobody":
            assert proven["present"] is False
        case "gateway":
            assert (proven["key"][0], proven["first"]) == ("main", 0)
            assert proven["owners"] == {"0": format_address(network.receipt(top, 2).leaf.payee)}
    text = dii("proof", "check", "a.proof", "--header", header).stdout
    assert "holds" in text
    assert ("absent" in text) is (kind == "nobody")
    # The file is what standard output would be, and standard input will do.
    piped = dii("proof", "make", *words, "--home", home).stdout
    assert piped == Path("a.proof").read_text()
    dii("proof", "check", "-", "--header", header, typed=piped)
    # Any other header hash, and any other content, is refused.
    other = ("0" if header[0] != "0" else "1") + header[1:]
    assert "made against header" in refused("proof", "check", "a.proof", "--header", other)
    content = json.loads(piped)
    for path in _texts(content):
        forged = json.loads(piped)
        *way, last = path
        inner = forged
        for step in way:
            inner = inner[step]
        inner[last] = _flipped(inner[last])
        Path("b.proof").write_text(json.dumps(forged))
        refused("proof", "check", "b.proof", "--header", header)


@pytest.mark.parametrize(
    ("table", "disguise"),
    [
        ("account", lambda address: (b"\1" + address,)),
        ("account", lambda address: (address, 0)),
        ("account", lambda address: (format_address(address),)),
        ("gateway", lambda hash_: (hash_,)),
        ("gateway", lambda hash_: ("main", hash_.hex())),
        ("gateway", lambda hash_: (b"main", hash_)),
        ("gateway", lambda hash_: ("m\u0430in", hash_)),
        ("gateway", lambda hash_: ("main ", hash_)),
        ("gateway", lambda hash_: ("_main", hash_)),
        ("gateway", lambda hash_: ("", hash_)),
        ("gateway", lambda hash_: ("m" * 42, hash_)),
        ("gateway", lambda hash_: ("main", "main", hash_)),
        ("validator", lambda hash_: (hash_,)),
    ],
    ids=[
        "longer",
        "more",
        "text",
        "no scope",
        "hex",
        "bytes",
        "cyrillic",
        "blank",
        "underscore",
        "empty",
        "long",
        "twice",
        "validator",
    ],
)
def test_what_is_there_cannot_be_shown_to_be_absent_by_a_key_that_looks_like_its_own(
    table: str,
    disguise: Callable[[bytes], tuple[Any, ...]],
    network: Network,
    top: str,
    elsewhere: Path,
) -> None:
    home = network.home
    real = home.gateway(top) if table == "gateway" else home.address("bob")
    kind: Any = {"account": ACCOUNTS, "gateway": GATEWAYS, "validator": VALIDATORS}[table]
    Path("a.proof").write_text(json.dumps(network.prove(kind, *disguise(real)).to_json()))
    header = network.header().hash.hex()
    assert "no key" in refused("proof", "check", "a.proof", "--header", header)
    checker = [sys.executable, CHECKER, "a.proof", header]
    assert subprocess.run(checker, capture_output=True).returncode == 1


def _texts(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every text and number in a JSON document."""
    if isinstance(content, dict | list):
        items = content.items() if isinstance(content, dict) else enumerate(content)
        for key, value in items:
            yield from _texts(value, (*path, key))
    elif content is not None:
        yield path


def _flipped(value: str | int) -> str | int:
    if isinstance(value, int):
        return value + 1
    middle = len(value) // 2
    digit = "0" if value[middle] != "0" else "1"
    return value[:middle] + digit + value[middle + 1 :]


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe", b"null", b"[]", b"{}", b'{"format": "dii/proof/1"}', b'{"kind": "receipt"}',
     b"[" * 99_999, b" " * (2 << 20)],
    ids=["empty", "binary", "null", "list", "object", "format", "kind", "deep", "large"],
)  # fmt: skip
def test_what_is_no_proof_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.proof"
    path.write_bytes(content)
    assert "does not hold" in refused("proof", "check", path, "--header", "0" * 64)


def test_verify_executes_the_chain_again(home: Path, network: Network) -> None:
    found, expected = read("verify", "--home", home), network.verify()
    assert found["app_hash"] == expected.app_hash.hex()
    assert (found["height"], found["transactions"]) == (expected.height, expected.transactions)
    assert (found["minted_uttc"], found["burned_uttc"]) == (expected.minted, expected.burned)
    (line,) = dii("verify", "--home", home).stdout.splitlines()
    assert found["app_hash"] in line
    assert network.currency.format(expected.minted) in line


def test_a_lost_index_is_made_again(copy: Path) -> None:
    before = [read("list", table, "--home", copy) for table in look.Table]
    (copy / "index.sqlite").unlink()
    assert "dii rebuild" in refused("list", "epochs", "--home", copy)
    assert read("rebuild", "--home", copy) == {"height": read("status", "--home", copy)["height"]}
    assert [read("list", table, "--home", copy) for table in look.Table] == before


# --- messages and keys ---------------------------------------------------------------------------


def bound(home: Path, gateway: str) -> bool:
    """Whether the chain knows an owner of a gateway, whatever tables show beforehand."""
    with Network.open(home, readonly=True) as network:
        return network.state.get(GATEWAYS, "main", network.gateway(gateway)) is not None


def balances(home: Path) -> dict[str, int]:
    """Return all balances by name."""
    return {row["account"]: row["balance_uttc"] for row in read("list", "accounts", "--home", home)}


def test_transfer_and_burn_move_what_they_say(copy: Path) -> None:
    before = balances(copy)
    sent = read("transfer", "north-iot", "12.5 TTC", "--from", "bob", "--home", copy)
    burned = read("burn", "1.25", "--from", "bob", "--home", copy)
    after = balances(copy)
    rows = {row["id"]: row for row in read("list", "transactions", "--home", copy)}
    fees = rows[sent["transaction"]]["fee_uttc"] + rows[burned["transaction"]]["fee_uttc"]
    assert after["north-iot"] - before["north-iot"] == 12_500_000
    assert before["bob"] - after["bob"] == 12_500_000 + 1_250_000 + fees
    assert after["treasury"] - before["treasury"] == fees > 0
    assert rows[sent["transaction"]]["height"] == sent["height"]
    assert read("verify", "--home", copy)["burned_uttc"] == 1_250_000
    text = dii("transfer", "treasury", "1,000", "--from", "bob", "--home", copy, code=1).stderr
    assert "refused" in text
    text = dii("transfer", "treasury", "1", "--from", "bob", "--home", copy).stdout
    assert text.startswith("1 TTC from bob to treasury: transaction ")


def test_a_claim_opens_an_operators_account_to_a_key(copy: Path) -> None:
    before = balances(copy)
    spend = ("transfer", "bob", "1", "--from", "north-iot", "--home", copy)
    assert "claimed yet: dii keys new NAME, then dii claim north-iot NAME" in refused(*spend)
    rows = read("list", "gateways", "--home", copy)
    gateway = next(row for row in rows if row["operator"] == "north-iot")
    dii("claim", "north-iot", "bob", "--home", copy)
    assert "'north-iot' is claimed by bob: --from bob" in refused(*spend)
    assert balances(copy)["bob"] == before["bob"] + before["north-iot"]
    assert "north-iot" in refused("claim", "north-iot", "bob", "--home", copy)
    # Both names still lead to the money and the gateways, and bob can spend and assign them.
    owners = {row["gateway"]: row["operator"] for row in read("list", "gateways", "--home", copy)}
    assert owners[gateway["gateway"]] == "bob"
    dii("transfer", "treasury", "600", "--from", "bob", "--home", copy)
    dii("transfer", "north-iot", "1", "--from", "bob", "--home", copy)
    dii("assign", gateway["gateway"], "linden-lab", "--from", "bob", "--home", copy)
    shown = read("show", "gateway", gateway["gateway"], "--home", copy)
    assert shown["operator"] == "linden-lab"
    assert shown["since_epoch"] > shown["epochs"][-1]["epoch"]
    rows = read("list", "gateways", "--home", copy)
    listed = next(row for row in rows if row["gateway"] == gateway["gateway"])
    assert listed["operator"] == "linden-lab"
    assert listed["since_epoch"] == shown["since_epoch"] > gateway["since_epoch"] == 0
    assert "since epoch" in dii("list", "gateways", "--home", copy).stdout.splitlines()[0]
    # A key that lies elsewhere is named by its public key.
    key = read("keys", "new", "ann", "--home", copy)["public_key"]
    dii("claim", "linden-lab", key, "--home", copy)
    assert balances(copy)["ann"] == before["linden-lab"]


def test_a_claim_account_whose_name_no_key_can_have_is_told_who_signs(tmp_path: Path) -> None:
    words, cafe = ("--home", tmp_path / "home"), "Caf\u00e9 Z\u00fcrich"
    file = tmp_path / "places.csv"
    file.write_text(f"gateway,operator\none,Ben & Co.\ntwo,{cafe}\n")
    dii("init", *words, "--seed", 7, "--allocate", "bob=500")
    dii("load", *SAMPLE, file, *words)
    dii("run", "--epochs", 1, *words)
    dii("claim", "Ben & Co.", "bob", *words)
    spend = ("transfer", "bob", "1", *words, "--from")
    assert "'Ben & Co.' is claimed by bob: --from bob" in refused(*spend, "Ben & Co.")
    assert f"dii claim '{cafe}' NAME" in refused(*spend, cafe)


def test_only_a_gateways_owner_hands_it_on(copy: Path, top: str) -> None:
    assert "belongs to" in refused("assign", top, "bob", "--from", "bob", "--home", copy)
    elsewhere = refused("assign", top, "bob", "--from", "bob", "--scope", "moon", "--home", copy)
    assert "is bound in scope 'moon'" in elsewhere


def test_keys_are_made_listed_and_carried_to_another_home(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for home in (one, other):
        dii("init", "--home", home, "--start", "2025-03-03")
    outputs = [dii("keys", "new", "ann", "--home", one).stdout]
    shown = read("keys", "show", "ann", "--home", one)
    assert shown in read("keys", "list", "--home", one)
    names = [row["name"] for row in read("keys", "list", "--home", one)]
    assert names == ["ann", "reporter", "validator"]
    file, passphrase = one / "keys" / "ann.json", one / "keys" / "passphrase"
    outputs.append(refused("keys", "new", "ann", "--home", one))
    bring = ["keys", "import", "ann2", file, "--home", other]
    wrong = dii(*bring, typed="wrong\n", code=1)
    assert "the password does not open" in wrong.stderr
    outputs.append(dii(*bring, "--password-file", passphrase).stdout)
    brought = read("keys", "show", "ann2", "--home", other)
    assert brought["public_key"] == shown["public_key"]
    outputs += [dii("keys", "list", "--home", one).stdout, wrong.output]
    secrets = [path.read_bytes() for path in (passphrase, one / "keys" / "network")]
    for text in outputs:
        assert shown["public_key"] in text or "ann" in text or "password" in text
        assert not any(secret.decode() in text for secret in secrets)
    wrong = ("--password-file", one / "names.sqlite")  # no text
    assert "does not open" in refused("keys", "import", "eve", file, *wrong, "--home", other)
    broken = tmp_path / "broken.json"
    broken.write_bytes(file.read_bytes()[:-1])
    refused("keys", "import", "eve", broken, "--password-file", passphrase, "--home", other)
    assert "no such file" in refused(
        "keys", "import", "eve", tmp_path / "no", "--password-file", passphrase, "--home", other
    )
    assert "cannot name an account" in refused(
        "keys", "import", "../ann", file, "--password-file", passphrase, "--home", other
    )


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that is no laboratory: its keys are encrypted; tests leave it as it is."""
    home = tmp_path_factory.mktemp("keys") / "home"
    dii("init", "--home", home, "--start", "2025-03-03", "--allocate", "bob=500")
    return home


def spoiled(home: Path, how: str) -> None:
    """Spoil a home's keys."""
    key, passphrase = home / "keys" / "bob.json", home / "keys" / "passphrase"
    match how:
        case "no passphrase":
            passphrase.rename(home / "moved")
        case "corrupt passphrase":
            passphrase.write_bytes(b"\xff")
        case "open to others":
            key.chmod(0o644)
        case "passphrase open to others":
            passphrase.chmod(0o640)
        case "corrupt key":
            key.write_bytes(key.read_bytes()[:-40] + bytes(40))
        case "cut off key":
            key.write_bytes(key.read_bytes()[:60])


@pytest.mark.parametrize(
    ("how", "hint"),
    [
        ("wrong password", "the password does not open"),
        ("no passphrase", "put it back, or set DII_PASSWORD"),
        ("corrupt passphrase", "passphrase: it is damaged"),
        ("open to others", "bob.json: other users may read it; run chmod 600"),
        ("passphrase open to others", "passphrase: other users may read it; run chmod 600"),
        ("corrupt key", "bob.json: it is damaged"),
        ("cut off key", "bob.json: it is damaged"),
    ],
)
def test_a_key_that_cannot_be_opened_is_one_clear_line_and_nothing_is_lost(
    how: str, hint: str, sealed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kept() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (home / "keys").iterdir()}

    home = Path(shutil.copytree(sealed, tmp_path / "home"))
    send = ("transfer", "treasury", "1", "--from", "bob", "--home", home)
    whole = kept()
    spoiled(home, how)
    before = kept()
    with monkeypatch.context() as patch:
        if how == "wrong password":
            patch.setenv("DII_PASSWORD", "wrong")
        assert hint in refused(*send)
        if "pass" in how:  # no new one takes its place, nor a key that only it would open
            assert hint in refused("keys", "new", "eve", "--home", home)
    assert kept() == before
    for name, data in whole.items():
        (home / "keys" / name).write_bytes(data)
        (home / "keys" / name).chmod(0o600)
    dii(*send)


@pytest.mark.parametrize(
    ("spoil", "hint"),
    [
        (lambda key: key.unlink(), "the network key is gone: put back a copy"),
        (lambda key: key.write_bytes(key.read_bytes()[:40]), "20 bytes where a network key has 32"),
        (lambda key: key.write_bytes(b"\xff"), "it is damaged"),
        (lambda key: key.chmod(0o604), "other users may read it; run chmod 600"),
    ],
    ids=["gone", "cut off", "corrupt", "open to others"],
)
def test_no_other_network_key_takes_the_place_of_the_one_that_hashed_the_gateways(
    spoil: Callable[[Path], None], hint: str, sealed: Path, tmp_path: Path
) -> None:
    """Under another one the same gateways would be new ones, and earn for nobody."""
    home = Path(shutil.copytree(sealed, tmp_path / "home"))
    key = home / "keys" / "network"
    whole = key.read_bytes()
    spoil(key)
    assert hint in refused("load", *SAMPLE, "--home", home)
    key.unlink(missing_ok=True)
    key.write_bytes(whole)
    key.chmod(0o600)
    dii("load", *SAMPLE, "--home", home)
    gateways = {row["hash"] for row in read("list", "gateways", "--home", home)}
    key.unlink()
    assert "the network key is gone" in refused("run", "--home", home)
    assert gateways == {row["hash"] for row in read("list", "gateways", "--home", home)}


REPORTED = ["online_ppm", "uplinks", "sole_uplinks", "shapley_uplinks"]


def test_a_scope_whose_reporter_has_lost_its_key_goes_on_with_another_of_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All from the command line, and no epoch's pay is lost."""
    home, words = tmp_path / "home", ("--home", tmp_path / "home")
    monkeypatch.setenv("DII_PASSWORD", "correct horse")
    dii("init", *words, "--delay", 3 * 86_400)
    dii("load", *SAMPLE, *words)
    dii("run", "--epochs", 1, *words)
    (home / "keys" / "reporter.json").rename(tmp_path / "lost")
    dii("keys", "new", "ann", *words)
    (tmp_path / "late.csv").write_text("gateway,operator\nlate,linden-lab\n")
    dii("load", tmp_path / "late.csv", *words)  # bound once somebody can
    assert not bound(home, "ttn:late")
    for verb in (["run", "--epochs", "1"], ["claim", "north-iot", "ann"]):
        assert "reports on scope main; that is for reporter" in refused(*verb, *words)
    assert "epoch 1 waits with 0 of 1 reports" in dii("status", *words).stdout
    metrics = [part for name in REPORTED for part in ("--metric", name)]
    dii("propose", "scope", "main", "--reporter", "ann", *metrics, *words)
    dii("vote", 0, "yes", *words)
    dii("run", *words)  # time passes, and with it the delay
    dii("run", *words)
    status = read("status", *words)
    assert status["epochs_settled"] == status["epochs_complete"] == 8
    dii("claim", "north-iot", "ann", *words)
    assert balances(home)["north-iot"] == 0
    assert balances(home)["ann"] > 0
    assert bound(home, "ttn:late")
    owners = {row["gateway"]: row["operator"] for row in read("list", "gateways", *words)}
    assert owners["ttn:late"] == "linden-lab"
    read("verify", *words)


def test_a_claim_that_too_few_reporters_know_of_is_not_called_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, words = tmp_path / "home", ("--home", tmp_path / "home")
    monkeypatch.setenv("DII_PASSWORD", "correct horse")
    dii("init", *words, "--reporters", 4, "--allocate", "bob=500")
    dii("load", *SAMPLE, *words)
    elsewhere = [home / "keys" / f"reporter-{number}.json" for number in (2, 3, 4)]
    for path in elsewhere:
        path.rename(tmp_path / path.name)
    assert "north-iot waits for other reporters" in dii("claim", "north-iot", "bob", *words).stdout
    assert read("show", "account", "north-iot", *words)["kind"] == "unused"
    (tmp_path / elsewhere[0].name).rename(elsewhere[0])
    assert "north-iot is claimed" in dii("claim", "north-iot", "bob", *words).stdout


def test_a_claimed_operators_money_arrives_and_can_be_spent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it with encrypted keys, one command after the other."""
    home, words = tmp_path / "home", ("--home", tmp_path / "home")
    monkeypatch.setenv("DII_PASSWORD", "correct horse")
    dii("init", *words, "--allocate", "bob=500")
    dii("load", *SAMPLE, *words)
    dii("run", "--epochs", 2, *words)
    assert not (home / "keys" / "passphrase").exists()
    waiting = read("show", "account", "north-iot", *words)
    assert (waiting["kind"], waiting["balance_uttc"] > 0) == ("claim", True)
    refused("transfer", "bob", "1", "--from", "north-iot", *words)  # nobody can, before the claim
    key = read("keys", "new", "ann", *words)
    dii("claim", "north-iot", "ann", *words)
    assert balances(home)["ann"] == waiting["balance_uttc"]
    assert balances(home)["north-iot"] == 0
    dii("transfer", "north-iot", "12.5", "--from", "bob", *words)  # to the old name
    dii("run", "--epochs", 1, *words)
    earned = [
        row["amount_uttc"]
        for row in read("show", "epoch", 2, *words)["issuance"]
        if row["operator"] == "ann"
    ]
    assert len(earned) == 7
    assert balances(home)["ann"] == waiting["balance_uttc"] + 12_500_000 + sum(earned)
    gateway = read("list", "gateways", *words)[0]["gateway"]
    assert read("receipt", gateway, 2, "--verify", *words)["verified"] is True
    dii("transfer", "bob", "100", "--from", "ann", *words)
    found = read("statement", "north-iot", "--month", "2025-03", *words)
    assert found["accounts"][0] == key["address"]
    assert found["closing"] == balances(home)["ann"]
    assert read("verify", *words)["height"] == read("status", *words)["height"]


# --- terminals and pipes -------------------------------------------------------------------------


def script(*words: object, **options: Any) -> subprocess.Popen[str]:
    """Start ``dii`` as a process of its own."""
    command = [sys.executable, "-c", "from dii.cli import main; main()", *map(str, words)]
    return subprocess.Popen(command, cwd=ROOT, text=True, **options)


def on_terminal(*words: object, **environment: str) -> str:
    """Run ``dii`` on a terminal of its own and return all that it shows."""
    ours, theirs = pty.openpty()
    fresh = {name: os.environ[name] for name in os.environ if name not in {"NO_COLOR", "COLUMNS"}}
    environment = fresh | {"TERM": "xterm-256color", "COLUMNS": "100"} | environment
    process = script(*words, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 1 << 16):
            shown += part
    except OSError:  # how Linux says that the other side is closed
        pass
    os.close(ours)
    assert process.wait() == 0, shown
    return shown.decode()


COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-9][0-9;]*m")


def test_a_terminal_gets_colours_and_progress(home: Path) -> None:
    shown = on_terminal("verify", "--home", home)
    assert "executing blocks" in shown
    assert COLOUR.search(on_terminal("status", "--home", home))


def test_no_color_is_obeyed(home: Path) -> None:
    shown = on_terminal("status", "--home", home, NO_COLOR="1")
    assert "ShapleyTraffic" in shown
    assert not COLOUR.search(shown)


def test_tables_fit_a_terminal_and_lose_no_digit(home: Path, network: Network) -> None:
    shown = on_terminal("list", "accounts", "--home", home, COLUMNS="60", NO_COLOR="1")
    lines = [line for line in shown.split("\r\n") if not line.startswith("\x1b")]
    assert max(map(len, lines)) <= 60
    assert all(f"{value / 10**6:,.6f}" in shown for value in network.accounts()["balance_uttc"])


def test_what_a_narrow_terminal_has_no_room_for_is_named(home: Path, network: Network) -> None:
    shown = on_terminal("list", "epochs", "--home", home, COLUMNS="60", NO_COLOR="1")
    assert "no room for paid TTC, unminted TTC, height" in shown
    assert all(f"{value / 10**6:,.6f}" in shown for value in network.epochs()["pool_uttc"])
    shown = on_terminal("list", "accounts", "--home", home, COLUMNS="200", NO_COLOR="1")
    assert "no room" not in shown
    assert all(address in shown for address in network.accounts()["address"])


def test_a_pipe_gets_neither_colours_nor_progress(home: Path) -> None:
    process = script(
        "verify", "--home", home, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=os.environ | {"TERM": "xterm-256color"},
    )  # fmt: skip
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert "\x1b" not in out


def test_a_reader_who_has_had_enough_is_no_error(home: Path) -> None:
    enough, pipe = os.pipe()
    os.close(enough)
    process = script("list", "blocks", "--home", home, stdout=pipe, stderr=subprocess.PIPE)
    os.close(pipe)
    assert process.communicate()[1] == ""
    assert process.returncode == 1


def test_a_terminal_of_few_letters_shows_what_it_can(home: Path) -> None:
    process = script(
        "list", "operators", "--home", home, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
    )  # fmt: skip
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert "north-iot" in out


# --- the demo and what it recommends -------------------------------------------------------------


def recommended(text: str) -> list[list[str]]:
    """Return the commands that an output recommends."""
    lines = [line.strip() for line in text.splitlines()]
    words = [shlex.split(line) for line in lines if re.match(r"\S*\bdii ", line)]
    return [line[1:] for line in words if line[1] in VERBS]


def test_what_the_demo_recommends_works_in_its_order(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    demo.main()
    text = capsys.readouterr().out
    assert "the proof does not hold" in text
    assert str(tmp_path) not in text
    lines = recommended(text)
    assert [line[0] for line in lines] == ["init", "load", "run", "receipt", "transfer", "verify"]
    monkeypatch.setenv("DII_HOME", str(tmp_path / "home"))
    for line in lines:
        dii(*line)
    # The same seed and the same calls: what the demo showed is what this home holds.
    assert read("list", "epochs")[0]["paid_uttc"] == 9_901_380_652
    assert "9,901.380652" in text
    assert read("status")["chain"] in text


def test_what_a_run_recommends_works(home: Path, elsewhere: Path) -> None:
    lines = recommended(dii("run", "--home", home).stdout)
    assert [line[0] for line in lines] == ["receipt", "proof", "proof", "list", "verify"]
    for line in lines:
        dii(*line)


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
