"""`dii snapshot`: export to a folder, joining by a header's hash, a joined home without keys."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dii.cli import app, demo
from dii.cli import tables as look
from dii.consensus.node import INDEX_FILE
from tests.cli import output
from tests.require import ROOT, SAMPLE


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """A network of the sample with two epochs settled, its state in a folder, and its header."""
    folder = tmp_path_factory.mktemp("exported")
    home, bundle = folder / "home", folder / "bundle"
    output("init", "--home", home, "--seed", 7, "--allocate", "bob=500")
    output("load", *SAMPLE, "--home", home)
    output("run", "--epochs", 2, "--home", home)
    told = json.loads(output("snapshot", "export", "-o", bundle, "--home", home, "--json"))
    return home, bundle, told["header"]


@pytest.fixture(scope="module")
def joined(exported: tuple[Path, Path, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    _, bundle, header = exported
    home = tmp_path_factory.mktemp("joined") / "new" / "home"
    output("snapshot", "join", bundle, "--header", header, "--home", home)
    return home


def test_the_command_that_export_shows_joins(exported, tmp_path):
    home, _, header = exported
    *_, command = output("snapshot", "export", "-o", tmp_path / "b", "--home", home).splitlines()
    words = [word.replace("NEW", str(tmp_path / "new")) for word in shlex.split(command)[1:]]
    assert header in words
    said = output(*words)
    assert "no keys and no telemetry" in said
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_joined_home_says_and_proves_what_the_whole_one_does(exported, joined, tmp_path):
    home, _, header = exported
    status, whole = (
        json.loads(output("status", "--home", one, "--json")) for one in (joined, home)
    )
    assert status["header"] == whole["header"] == header
    telemetry = {"epochs_with_data": 0, "epochs_complete": 0, "records_reach": None}
    assert status | telemetry == whole | telemetry
    assert "what was before is not here" in output("status", "--home", joined)
    bob = output("show", "account", "bob", "--home", home, "--json")
    address, file = json.loads(bob)["address"], tmp_path / "proof.json"
    output("proof", "make", "account", address, "-o", file, "--home", joined)
    assert json.loads(output("proof", "check", file, "--header", header, "--json"))["holds"]
    found = json.loads(output("verify", "--home", joined, "--json"))
    assert (found["height"], found["app_hash"]) == (whole["height"], whole["app_hash"])
    assert found["base"] == whole["height"] - 1
    assert f"after the snapshot of height {found['base']}, to" in output("verify", "--home", joined)
    table = json.loads(output("list", "accounts", "--home", joined, "--json"))
    assert {one["kind"] for one in table} == {"treasury", "unknown", "key"}  # claims look as any
    begins = f"begins after the snapshot of height {found['base']}: tables and sums hold nothing"
    shown = [("list", name) for name in look.PEOPLE]
    for words in (*shown, ("show", "account", address), ("show", "epoch", "0")):
        for one, said in ((joined, True), (home, False)):
            result = CliRunner().invoke(app, [*words, "--home", str(one)])
            assert (begins in result.stderr) is said, words

    def balances(one: Path) -> dict[str, int]:
        rows = json.loads(output("list", "accounts", "--home", one, "--json"))
        return {row["address"]: row["balance_uttc"] for row in rows}

    assert balances(joined) == balances(home)
    (joined / INDEX_FILE).unlink()
    assert "dii rebuild" in output("status", "--home", joined, code=1)
    output("rebuild", "--home", joined)
    assert len(json.loads(output("list", "blocks", "--home", joined, "--json"))) == 1


def test_a_joined_home_says_what_it_cannot_do(exported, joined, tmp_path):
    hashed = json.loads(output("list", "gateways", "--home", exported[0], "--json"))[0]["hash"]
    bob = json.loads(output("show", "account", "bob", "--home", exported[0], "--json"))["address"]
    sample = ROOT / "data" / demo.FILES[1]
    for words, what in {
        ("run",): "nothing can be added",
        ("load", sample): "nothing can be added",
        ("transfer", bob, "1", "--from", "bob"): "nothing can be added",
        ("receipt", hashed, "1"): "receipts of epoch 1 are not here",
        ("proof", "make", "receipt", hashed, "--epoch", "1", "-o", tmp_path / "x"): "not here",
        ("lab", "compare", "0"): "nothing can be computed from records",
        ("statement", bob, "--month", "2025-03"): "blocks of 2025-03 are not all here",
        ("snapshot", "export", "-o", tmp_path / "y"): "",
    }.items():
        said = output(*words, "--home", joined, code=bool(what))
        assert what in said
        assert not what or "began with a snapshot" in said
        assert not (joined / "telemetry").exists()
    assert not (tmp_path / "x").exists()


def test_a_folder_makes_a_home_of_the_trusted_state_or_none(exported, tmp_path):
    home, bundle, header = exported
    new, copy = tmp_path / "new", tmp_path / "copy"

    def offer(hash_: str = header) -> str:
        words = ["snapshot", "join", copy, "--header", hash_, "--home", new]
        result = CliRunner().invoke(app, [str(word) for word in words])
        assert result.exit_code == 1, result.output
        assert result.stderr.startswith("dii: ")
        assert list(tmp_path.iterdir()) == [copy]
        return result.stderr

    shutil.copytree(bundle, copy)
    assert "not the trusted one" in offer("00" * 32)
    for path in sorted(copy.iterdir()):
        whole = path.read_bytes()
        path.unlink()
        assert path.name in offer()
        os.mkfifo(path)
        assert "not a regular file" in offer()  # and does not wait for who writes into the pipe
        path.unlink()
        for at in range(0, len(whole), max(1, len(whole) // 7)):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            offer()
        path.write_bytes(whole)
    assert "exists" in output("snapshot", "export", "-o", copy, "--home", home, code=1)
    assert "already holds" in output(
        "snapshot", "join", copy, "--header", header, "--home", home, code=1
    )


def test_a_chain_of_one_block_has_nothing_to_hand_on(tmp_path):
    output("init", "--home", tmp_path / "home", "--seed", 7, "--start", "2018-04-21T00:00:00Z")
    said = output("snapshot", "export", "-o", tmp_path / "b", "--home", tmp_path / "home", code=1)
    assert "add a block" in said
    assert not (tmp_path / "b").exists()
