"""Commands that show a network: status, lists, single records and comparisons."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pandas as pd
import pytest

from dii import Network, minting
from dii.cli import tables as look
from dii.cli.screen import plain
from dii.schema import SHAPLEY_UNIT
from tests.cli import dii, read, refused


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


EMPTY = {"transfers", "proposals", "contracts"}
"""Of these the settled sample has none."""


@pytest.mark.parametrize("table", look.PEOPLE)
def test_lists_give_programs_every_row_and_column(
    table: str, home: Path, network: Network, tmp_path: Path
) -> None:
    expected: pd.DataFrame = getattr(network, table)()
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
