"""Tables, receipts and statements agree with the chain, also while it changes."""

from __future__ import annotations

import functools
import json
import os
import shlex
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dii import Network, load, minting
from dii.application.actions import DenyGateway, SetGas, SetValidator
from dii.errors import (
    GenesisError,
    HomeBroken,
    IndexMissing,
    NoReceipt,
    ProofInvalid,
    SourceUnreadable,
    TrafficGenerated,
)
from dii.genesis import Genesis
from dii.ledger import index
from dii.ledger.block import Block, Commit
from dii.ledger.proof import read_json
from dii.minting.spec import from_spec
from dii.network.page import page
from dii.network.receipt import no_receipt
from dii.network.tables import earnings
from dii.network.telemetry import Traffic
from dii.schema import Reject
from dii.telemetry.metrics import Lookback
from dii.telemetry.tables import to_table
from dii.units import SECOND, format_time, to_microseconds
from tests.cli import piped
from tests.proofs import PAGE
from tests.require import ROOT, SAMPLE, lacking

# --- proof files ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def proof(home: Path) -> str:
    with Network.open(home, readonly=True) as network:
        gateway = network.issuance(3)["gateway"].iloc[0]
        return json.dumps(network.receipt(gateway, 3).proof.to_json())


@given(st.data())
def test_a_proof_file_that_names_a_field_twice_is_refused(proof: str, data: st.DataObject) -> None:
    """A duplicate field, equal or not, in any object: parsers would pick different ones."""
    content = json.loads(proof)
    inner = data.draw(st.sampled_from([content, content["receipt"]]))
    name = data.draw(st.sampled_from(sorted(inner)))
    value = data.draw(st.sampled_from([inner[name], None, "00"]))
    field = f'"{name}": {json.dumps(inner[name])}'
    twice = [field, f'"{name}": {json.dumps(value)}']
    changed = proof.replace(field, ", ".join(data.draw(st.permutations(twice))), 1)
    assert changed != proof
    with pytest.raises(ProofInvalid, match="twice"):
        read_json(changed.encode())
    with pytest.raises(ValueError, match="twice"):
        PAGE["check"](changed.encode(), bytes(32))


# --- look-back -----------------------------------------------------------------------------------


NUMBERS = st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=8)


@given(NUMBERS, st.data())
def test_equal_look_backs_have_equal_bytes_whatever_lies_under_their_nulls(
    numbers: list[int | None], data: st.DataObject
) -> None:
    clean = pa.array(numbers, pa.int64())
    below = data.draw(st.lists(st.integers(0, 99), min_size=len(numbers), max_size=len(numbers)))
    values = [left if one is None else one for one, left in zip(numbers, below)]
    valid, _ = clean.buffers()
    dirty = pa.Array.from_buffers(
        pa.int64(), len(numbers), [valid, pa.array(values, pa.int64()).buffers()[1]]
    )
    assert clean.equals(dirty)
    one, other = (with_numbers(column) for column in (clean, dirty))
    assert one.to_bytes() == other.to_bytes()
    assert Lookback.from_bytes(one.to_bytes()).frames.equals(one.frames)


def with_numbers(numbers: pa.Array) -> Lookback:
    empty = Lookback.empty(0)
    count = len(numbers)
    columns = {"name": ["a"] * count, "number": numbers, "body": numbers, "begun": [0] * count}
    return Lookback(
        0, pa.table(columns, empty.frames.schema), empty.heard, empty.known, empty.counters
    )


# --- screens -------------------------------------------------------------------------------------


@pytest.mark.parametrize("term", ["dumb", "xterm-256color"])
def test_a_pipe_gets_every_column_whatever_the_terminal_is_said_to_be(
    home: Path, term: str
) -> None:
    plain = piped("list", "epochs", "--home", home, TERM="xterm")
    shown = piped("list", "epochs", "--home", home, TERM=term, FORCE_COLOR="1", NO_COLOR="1")
    assert shown.stderr == ""
    assert "no room" not in shown.stdout
    assert shown.stdout.split() == plain.stdout.split()


# --- statements ----------------------------------------------------------------------------------


def watched(hours: dict[str, int], days: int = 4) -> Network:
    """Return a network of gateways that are always connected, but hear for some hours only."""
    begin = datetime(2024, 12, 28, tzinfo=UTC)
    rows = [
        (name, begin + timedelta(hours=hour + 1, seconds=-1), int(hour < most))
        for hour in range(24 * days)
        for name, most in hours.items()
    ]
    statuses = pd.DataFrame(rows, columns=["gateway", "time", "frames"])
    owned = pd.DataFrame({"gateway": list(hours), "operator": "ann"})
    policy = minting.FixedEmission("100 TTC")
    network = Network.create(seed=3, rule=minting.Uptime(minimum_ppm=100_000), policy=policy)
    network.ingest(load(owned, statuses.assign(covers=3600 * 10**6)))
    return network.run(complete=True)


def test_a_gateway_that_is_there_but_deaf_is_not_called_absent() -> None:
    with watched({"hears": 24 * 4, "silent": 30}) as network:
        found = network.statement("ann", "2024-12")
    (line,) = [one for one in found.findings if "deaf" in one]
    lost = found.receipts.query("gateway == 'ttn:silent'")
    hours = ((lost["connected_ppm"] - lost["online_ppm"]) * 24 / 10**6).sum()
    assert hours > 24
    assert line.startswith(
        f"Connected but deaf, as nothing was heard for long: ttn:silent {hours:,.1f} h."
    )
    assert "Not connected" not in " ".join(found.findings)


def test_records_without_a_time_are_set_aside_in_no_month() -> None:
    frames = pd.DataFrame(
        {
            "gateway": ["one", "one"],
            "time": ["2024-12-30T12:00:00Z", "2025-01-02T12:00:00Z"],
            "device": ["d", "d"],
            "f_cnt": [1, 2],
            "delivered": [True, True],
        }
    )
    owned = pd.DataFrame({"gateway": ["one"], "operator": ["ann"]})
    with Network.create(seed=3) as network:
        data = load(owned, frames)
        first = to_microseconds(datetime(2025, 1, 2, tzinfo=UTC))
        rejects = [
            Reject("f", 3, "no_time", "no time", "ttn:one"),
            Reject("f", 4, "bad_field", "no size", "ttn:one", first),
        ]
        network.ingest(replace(data, rejected=to_table("rejects", rejects)))
        network.run()
        months = {month: network.statement("ann", month) for month in ("2024-12", "2025-01")}
    assert months["2024-12"].rejected.empty
    assert months["2025-01"].rejected["first"].tolist() == ["f, line 4"]


# --- proposals -----------------------------------------------------------------------------------


def test_pending_proposals_are_told_by_number() -> None:
    with Network.create(seed=3, start="2025-01-01") as network:
        network.propose(SetGas(2, 1))
        network.vote(0)
        network.propose(SetGas(3, 1))
        assert network.summary()["proposals"] == "number 0 is passed, number 1 is open"


def test_a_tally_stays_as_it_was_when_it_decided() -> None:
    rules = {"delay_seconds": 3600, "voting_seconds": 7200}
    with Network.create(seed=3, start="2025-01-01", governance=rules) as network:
        engine, key = network.signer(), network.home.key("validator").public_key
        network.vote(network.propose(SetValidator(key, 7)))
        network.propose(SetGas(2, 1))
        network.vote(1, approve=False)
        open_, before = network.proposals().loc[1], network.proposals().loc[0]
        assert (open_["no"], open_["total"]) == (1, 1)
        engine.include((), engine.time + 3601 * SECOND)
        engine.settle()
        assert network.proposals().loc[1, ["no", "total"]].tolist() == [7, 7]
        assert network.proposals().loc[0, ["yes", "no", "total"]].tolist() == [1, 0, 1]
        assert (before["status"], network.proposals()["status"][0]) == ("passed", "enacted")
        engine.include((), engine.time + 7200 * SECOND)
        engine.settle()
        expired = network.proposals().loc[1]
        assert expired["status"] == "expired"
        assert expired[["no", "total"]].tolist() == [1, 1]


# --- generated traffic ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with keys of its own and generated traffic."""
    folder = tmp_path_factory.mktemp("generated") / "home"
    data = load(ROOT / "data" / "registry.json")
    with Network.create(home=folder) as network:
        network.ingest(data, Traffic.after(data.gateways, days=2))
        network.run()
    return folder


def test_generated_traffic_is_marked_wherever_it_earns(made_up: Path, tmp_path: Path) -> None:
    assert 'generated = "seed 7"' in (made_up / "genesis.toml").read_text()
    with Network.open(made_up, readonly=True) as network:
        assert network.genesis.laboratory
        assert "generated, seed 7" in network.summary()["network"]
        best = network.issuance(0).iloc[0]
        receipt = network.receipt(best["gateway"], 0)
        month = format_time(network.genesis.start_time)[:7]
        statement = network.statement(best["operator"], month)
        hashed = network.home.gateway(best["gateway"])
        for table in (
            network.epochs(), network.gateways(), network.operators(), network.issuance(0),
            earnings(network, hashed), statement.table(),
        ):  # fmt: skip
            assert set(table["generated"]) == {"seed 7"}
        header = network.header().hash
    assert "seed 7" in str(receipt)
    assert "seed 7" in page(statement)
    words = "--home", made_up, "--json"
    for line in (
        ["status"], ["receipt", best["gateway"], "0"],
        ["statement", best["operator"], "--month", month],
    ):  # fmt: skip
        assert json.loads(piped(*line, *words).stdout)["generated"] == "seed 7"
    assert "seed 7" in piped("list", "operators", "--home", made_up).stdout
    file = tmp_path / "receipt.proof"
    file.write_text(json.dumps(receipt.proof.to_json()))
    proven = json.loads(piped("proof", "check", file, "--header", header.hex(), "--json").stdout)
    assert proven["proven"]["network"]["generated"] == "seed 7"
    assert "seed 7" in piped("proof", "check", file, "--header", header.hex()).stdout
    assert PAGE["check"](file.read_bytes(), header)["network"]["generated"] == "seed 7"


def test_real_networks_are_not_marked(home: Path) -> None:
    assert "generated" not in (home / "genesis.toml").read_text()
    with Network.open(home, readonly=True) as network:
        assert "generated" not in network.summary()["network"]
        assert "generated" not in network.epochs()


@pytest.mark.parametrize("start", [None, "2025-03-11"])
def test_a_network_is_generated_from_its_genesis_on_or_never(start: str | None) -> None:
    data = load(ROOT / "data" / "registry.json")
    traffic = Traffic.after(data.gateways, days=1)
    with Network.create(seed=3, start=start) as network:
        if start is None:
            network.ingest(data, traffic)
            network.ingest(data, replace(traffic, days=2))
        with pytest.raises(TrafficGenerated, match="genesis says"):
            network.ingest(data, replace(traffic, seed=8))


def test_a_genesis_of_generated_traffic_is_a_laboratorys(made_up: Path) -> None:
    text = (made_up / "genesis.toml").read_text()
    with pytest.raises(GenesisError, match="laboratory"):
        Genesis.parse(text.replace("laboratory = true", "laboratory = false"))


# --- one height ----------------------------------------------------------------------------------


def compared(network: Network) -> None:
    """Check that tables, state and header of a network that is looked at are of one height."""
    view = network.view
    assert view.header is not None
    assert view.header.app_hash == network.state.committed_root
    epochs = network.epochs()
    assert epochs["epoch"].tolist() == list(range(network.settled))
    assert epochs["paid_uttc"].sum() == network.operators()["earned_uttc"].sum()
    assert network.blocks()["height"].max() in {view.header.height, view.header.height - 1}
    for epoch in epochs["epoch"].tail(1):
        table = network.issuance(epoch)
        assert table["amount_uttc"].sum() == network.issued(epoch).paid
        receipt = network.receipt(table["gateway"].iloc[0], epoch)
        assert receipt.verify(network.header())
    paid = network.operators().query("earned_uttc > 0")["operator"]
    for account in {"north-iot", "linden-lab"}.intersection(paid):
        statement = network.statement(account, "2025-03")
        assert statement.other == 0
        balance = network.accounts(account)["balance_uttc"].iloc[0]
        assert statement.closing == statement.earned == balance


def test_a_view_is_of_one_height_however_far_the_writer_has_come() -> None:
    """After each block that a writer makes, whether it has flushed its index or not."""
    with tempfile.TemporaryDirectory() as name:
        home, seen = Path(name) / "home", set()
        with Network.create(seed=7, home=home) as network:
            network.ingest(load(*SAMPLE))
            produce = network.signer().node.execute

            def execute(block: Block, commit: Commit) -> object:
                result = produce(block, commit)
                if block.header.height % 3 == 0:
                    network.view.index.flush()
                with Network.open(home, readonly=True) as reader:
                    compared(reader)
                    seen.add((reader.settled, reader.lag))
                return result

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(index, "_SECONDS", 3600.0)
                patch.setattr(network.signer().node, "execute", execute)
                network.run(4)
        with Network.open(home, readonly=True) as reader:
            compared(reader)
            assert (reader.lag, reader.settled) == (0, 4)
    assert {settled for settled, _ in seen} >= {0, 1, 2, 3}
    assert len({lag for _, lag in seen}) > 1


WRITER = """
import sys
from dii import Network, load
with Network.create(seed=7, home=sys.argv[1], epoch_seconds=3600) as network:
    network.ingest(load(*sys.argv[2:]))
    print("begun", flush=True)
    network.run(40)
"""


def test_verbs_show_one_height_while_another_process_settles(tmp_path: Path) -> None:
    home = tmp_path / "home"
    command = [sys.executable, "-c", WRITER, home, *SAMPLE]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"
            looked = 0
            while process.poll() is None or not looked:
                with Network.open(home, readonly=True) as reader:
                    compared(reader)
                    looked += 1
            status = json.loads(piped("status", "--home", home, "--json").stdout)
            verified = json.loads(piped("verify", "--home", home, "--json").stdout)
        finally:
            process.kill()
    assert process.returncode == 0
    assert looked > 3
    assert (status["epochs_settled"], status["lag"]) == (40, 0)
    assert verified["height"] == status["height"]


def test_a_lag_is_told(home: Path, tmp_path: Path) -> None:
    copy = tmp_path / "home"
    shutil.copytree(home, copy)
    with closing(sqlite3.connect(copy / "index.sqlite")) as db, db:
        (height,) = db.execute("SELECT height FROM progress").fetchone()
        db.execute("UPDATE progress SET height = ?", (height - 5,))
    run = piped("list", "epochs", "--home", copy)
    assert run.returncode == 0
    assert f"as of block {height - 4}: 4 later blocks are not in the tables yet" in run.stderr
    with Network.open(copy, readonly=True) as network:
        compared(network)
        assert network.summary()["lag"] == "4 later blocks are not shown yet"


# --- homes that cannot be written, or only in part be read ---------------------------------------


def readonly(home: Path, *lines: str) -> subprocess.CompletedProcess[str]:
    """Run commands on a home that cannot be written: on a read-only mount where we are root."""
    main = "import sys; from dii.cli import main; sys.argv[0] = 'dii'; main()"
    command = shlex.join([sys.executable, "-c", main])
    run = " && ".join(f"{command} {line} --home {home}" for line in lines)
    if os.geteuid() == 0:
        mount = f"mount --bind {home} {home} && mount -o remount,bind,ro {home}"
        whole = ["unshare", "-m", "sh", "-c", f"{mount} && {{ {run}; }}"]
        if subprocess.run([*whole[:2], "true"], check=False).returncode:
            lacking("nothing can be mounted here")
    else:
        back = f"code=$?; chmod -R u+w {home}; exit $code"
        whole = ["sh", "-c", f"chmod -R a-w {home}; {run}; {back}"]
    return subprocess.run(whole, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("log", [False, True], ids=["closed", "with a log"])
def test_a_home_that_cannot_be_written_can_be_looked_at(
    home: Path, tmp_path: Path, log: bool
) -> None:
    copy = tmp_path / "home"
    with Network.open(home, readonly=not log) as network:
        gateway = network.issuance(3)["gateway"].iloc[0]
        shutil.copytree(home, copy)  # with a log it is as a process that is killed leaves it
    lines = [
        "status", "list operators", "list proposals", f"receipt {gateway} 3 --verify", "verify",
        "statement north-iot --month 2025-03 --csv",
    ]  # fmt: skip
    run = readonly(copy, *lines)
    assert (run.returncode, run.stderr) == (0, "")
    shown = [piped(*line.split(), "--home", home).stdout for line in lines]
    assert run.stdout == "".join(shown)
    refused = readonly(copy, "transfer north-iot '1 TTC' --from bob")
    assert refused.returncode == 1
    assert refused.stderr.startswith("dii: ")
    assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["receptions.parquet", "rejected.parquet", "telemetry.json"])
def test_damaged_telemetry_stops_only_what_needs_it(home: Path, tmp_path: Path, name: str) -> None:
    copy = tmp_path / "home"
    shutil.copytree(home, copy)
    names = [path.name for path in (copy / "telemetry").iterdir()]
    (copy / "telemetry" / (name if name in names else names[0])).write_bytes(b"no telemetry")
    with Network.open(copy) as network:
        assert network.summary()["telemetry"].startswith("cannot be read: ")
        gateway = network.issuance(3)["gateway"].iloc[0]
        assert network.receipt(gateway, 3).verify(network.header())
        statement = network.statement("linden-lab", "2025-03")
        assert any("telemetry cannot be read" in one for one in statement.findings)
        assert statement.earned > 0
        network.transfer("bob", "north-iot", "1 TTC")
        assign = functools.partial(network.assign, "ttn:gateway-14", "north-iot", "bob")
        for needs in (network.run, lambda: network.records(3), lambda: network.metrics(3), assign):
            with pytest.raises((SourceUnreadable, HomeBroken)):
                needs()
    status = piped("status", "--home", copy)
    assert (status.returncode, status.stderr) == (0, "")
    denial = ["propose", "deny", "ttn:gateway-14", "20", "--evidence", tmp_path / "evidence"]
    (tmp_path / "evidence").write_text("a photograph")
    for verb in (["run"], denial):
        refused = piped(*verb, "--home", copy)
        assert refused.returncode == 1
        assert refused.stderr.count("\n") == 1
        assert "telemetry" in refused.stderr


# --- contributions, streams, claims --------------------------------------------------------------


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a changed rule, a second stream, and an operator who claims."""
    folder = tmp_path_factory.mktemp("changed") / "home"
    rules = {"delay_seconds": 0, "voting_seconds": 3600}
    most, money = "30000 TTC", {"bob": "500 TTC"}
    with Network.create(
        seed=7, home=folder, allocations=money, governance=rules, max_mint_per_epoch=most
    ) as network:
        network.ingest(load(*SAMPLE))
        network.run(2)
        for change in (
            network.stream_change("main", rule=minting.Uptime()),
            network.stream_change(
                "more", rule=minting.Airtime(), policy=minting.FixedEmission("100 TTC")
            ),
        ):
            network.home.key("validator")
            network.transfer("bob", "validator", "1 TTC")
            network.vote(network.propose(change))
        network.run(2)
        network.claim("north-iot", "bob")
        network.run(1)
    return folder


def test_contributions_are_in_units_of_the_rule_of_their_epoch_and_stream(changed: Path) -> None:
    with Network.open(changed, readonly=True) as network:
        epochs = network.epochs()
        assert set(epochs["stream"]) == {"main", "more"}
        used = set()
        for row in epochs.to_dict("records"):
            issuance = network.issued(row["epoch"], row["stream"])
            scale = from_spec(issuance.rule, minting.RULES).scale
            used.add((issuance.rule.name, scale))
            assert row["contribution"] == issuance.total_weight / scale
            shares = network.issuance(row["epoch"], row["stream"])
            named = shares[shares["gateway"] != "(unattributed)"]
            for one in named.head(2).to_dict("records"):
                receipt = network.receipt(one["gateway"], row["epoch"], row["stream"])
                assert one["weight"] == receipt.weight
        assert len(used) == 3
        gateway = network.home.gateway(network.issuance(4)["gateway"].iloc[0])
        for row in earnings(network, gateway).to_dict("records"):
            rule = network.issued(row["epoch"], row["stream"]).rule
            assert row["contribution"] == row["weight"] / from_spec(rule, minting.RULES).scale
    words = "--home", changed, "--json"
    for stream in ("main", "more"):
        one = json.loads(piped("show", "epoch", "4", "--stream", stream, *words).stdout)
        unit = one["total_weight"] / one["contribution"]
        assert all(
            row["weight"] / row["contribution"] == unit for row in one["issuance"] if row["weight"]
        )
    shown = piped("list", "epochs", "--home", changed).stdout
    lines = [line.split() for line in shown.splitlines()]
    assert lines[0][1] == "stream"
    assert {line[1] for line in lines[2:]} == {"main", "more"}
    statement = piped("statement", "linden-lab", "--month", "2025-03", "--home", changed).stdout
    assert statement.count("<th class=t>stream") >= 2


def test_the_gateways_of_an_operator_who_claimed_stay(changed: Path) -> None:
    with Network.open(changed, readonly=True) as network:
        owned = [
            row for row in load(SAMPLE[0]).gateways.to_pylist() if row["operator"] == "north-iot"
        ]
        names = {row["gateway"] for row in owned}
        assert names
        for account in ("bob", "north-iot", network.accounts("bob")["address"].iloc[0]):
            assert names <= set(network.gateways(account)["gateway"])
        listed = network.gateways().set_index("gateway")["operator"]
        assert {listed[name] for name in names} == {"bob"}
        gateway = min(names)
    shown = json.loads(piped("show", "gateway", gateway, "--home", changed, "--json").stdout)
    assert shown["operator"] == "bob"
    account = json.loads(piped("show", "account", "bob", "--home", changed, "--json").stdout)
    assert names <= {row["gateway"] for row in account["gateways"]}


# --- a damaged index -----------------------------------------------------------------------------


COLUMNS = ("stream", "epoch", "position", "gateway", "payee", "weight", "amount", "reason", "leaf")


@pytest.fixture(scope="module")
def truth(home: Path) -> dict[str, object]:
    with Network.open(home, readonly=True) as network:
        return shown(network)


def shown(network: Network) -> dict[str, object]:
    """Return the content of each view of the epoch with damaged rows."""
    header = network.header().hash
    gateways = list(network.home.names("gateway").values())
    views: dict[str, object] = {}
    for name in sorted(gateways):
        try:
            receipt = network.receipt(name, 3)
            assert receipt.verify(header)
            views[f"receipt {name}"] = receipt.lines()
        except NoReceipt:
            absence = no_receipt(network, name, 3)
            absence.verify(header)
            views[f"receipt {name}"] = absence.to_json()
        except IndexMissing as error:
            views[f"receipt {name}"] = error
    for name, view in {
        "issuance": lambda: network.issuance(3).to_dict("records"),
        "statement": lambda: network.statement("linden-lab", "2025-03").table().to_csv(),
    }.items():
        try:
            views[name] = view()
        except IndexMissing as error:
            views[name] = error
    return views


@settings(max_examples=20)
@given(st.data())
def test_a_damaged_index_is_never_believed(
    home: Path, truth: dict[str, object], data: st.DataObject
) -> None:
    """For any change, omission or addition in its receipts, a view is right or an error."""
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / "home"
        shutil.copytree(home, copy)
        with closing(sqlite3.connect(copy / "index.sqlite")) as db, db:
            db.execute("DROP INDEX receipt_key")
            rows = [row for (row,) in db.execute("SELECT rowid FROM receipts WHERE epoch = 3")]
            row = data.draw(st.sampled_from(rows))
            match data.draw(st.sampled_from(["change", "swap", "drop", "drop all", "repeat"])):
                case "change":
                    column = data.draw(st.sampled_from(COLUMNS))
                    value = data.draw(
                        st.none()
                        | st.integers(-9, 9)
                        | st.binary(max_size=21)
                        | st.text(max_size=3)
                    )
                    db.execute(f"UPDATE receipts SET {column} = ? WHERE rowid = ?", (value, row))
                case "swap":
                    other, column = (
                        data.draw(st.sampled_from(rows)),
                        data.draw(st.sampled_from(COLUMNS)),
                    )
                    query = f"SELECT {column} FROM receipts WHERE rowid = ?"
                    ((one,), (two,)) = (db.execute(query, (at,)).fetchone() for at in (row, other))
                    for at, value in ((row, two), (other, one)):
                        db.execute(f"UPDATE receipts SET {column} = ? WHERE rowid = ?", (value, at))
                case "drop":
                    db.execute("DELETE FROM receipts WHERE rowid = ?", (row,))
                case "drop all":
                    db.execute("DELETE FROM receipts WHERE epoch = 3")
                case "repeat":
                    db.execute(
                        "INSERT INTO receipts SELECT * FROM receipts WHERE rowid = ?", (row,)
                    )
        with Network.open(copy, readonly=True) as network:
            found = shown(network)
    for view, said in found.items():
        assert isinstance(said, IndexMissing) or said == truth[view], view
        assert not isinstance(said, IndexMissing) or "dii rebuild" in str(said)


def test_no_proof_is_written_from_a_damaged_index(home: Path, tmp_path: Path) -> None:
    copy, file = tmp_path / "home", tmp_path / "a.proof"
    shutil.copytree(home, copy)
    with Network.open(home, readonly=True) as network:
        gateway = network.issuance(3)["gateway"].iloc[0]
        hashed = network.home.gateway(gateway)
    with closing(sqlite3.connect(copy / "index.sqlite")) as db, db:
        db.execute("DELETE FROM receipts WHERE epoch = 3 AND gateway = ?", (hashed,))
    words = "proof", "make", "receipt", gateway, "--epoch", "3", "-o", file, "--home", copy
    run = piped(*words)
    assert run.returncode == 1
    assert "receipts of epoch 3, stream main, are damaged" in run.stderr
    assert not file.exists()
    assert piped("rebuild", "--home", copy).returncode == 0
    assert piped(*words).returncode == 0


# --- the laboratory ------------------------------------------------------------------------------


def placed(kilometres: list[float]) -> pd.DataFrame:
    """Return a registry of gateways on a line; every second one is beside the previous one."""
    return pd.DataFrame(
        {
            "gateway": [f"g{number}" for number in range(len(kilometres))],
            "operator": [
                f"o{number}" if number != 3 else None for number in range(len(kilometres))
            ],
            "latitude": [47 + km / 111 for km in kilometres],
            "longitude": [8.0 for _ in kilometres],
        }
    )


RULES = [minting.ShapleyTraffic(), minting.Uptime(), minting.Airtime()]


@settings(max_examples=6)
@given(st.data())
def test_comparing_the_networks_own_rule_gives_its_issuance(data: st.DataObject) -> None:
    """With a site radius, denials, gateways without owners, and a look-back to earlier days."""
    rule = data.draw(st.sampled_from(RULES))
    radius = data.draw(st.sampled_from([0, 100, 5_000]))
    begin = datetime(2025, 1, 1, tzinfo=UTC)
    minutes = data.draw(st.lists(st.integers(0, 3 * 24 * 60 - 1), min_size=3, max_size=25))
    heard = st.sets(st.integers(0, 4), min_size=1)
    frames = [
        {
            "gateway": f"g{number}", "time": begin + timedelta(minutes=minute, seconds=-20),
            "device": f"d{minute}", "f_cnt": at, "size": 20, "airtime": 71_936, "delivered": True,
        }
        for at, minute in enumerate([1, *minutes, 3 * 24 * 60])
        for number in data.draw(heard)
    ]  # fmt: skip
    statuses = [
        {"gateway": f"g{number}", "time": begin + timedelta(hours=hour), "frames": hour % 5}
        for number in range(4)
        for hour in range(1 + number, 72, 1 + number)
    ]
    registry = placed([0, 0.05, 4, 4.05, 40])
    with Network.create(
        seed=3, rule=rule, site_radius_m=radius, allocations={"bob": "9 TTC"},
        governance={"delay_seconds": 0, "voting_seconds": 3600},
    ) as network:  # fmt: skip
        covered = pd.DataFrame(statuses).assign(covers=3600 * 10**6)
        network.ingest(load(registry, pd.DataFrame(frames), covered))
        network.run(1)
        denied = network.home.hash("gateway", "ttn:g0")
        network.vote(network.propose(DenyGateway("main", denied, bytes(32), 2)))
        network.run()
        for epoch in range(network.settled):
            issued = network.issued(epoch)
            if not issued.paid:
                continue
            pool = issued.pool + issued.dust_before
            amounts = network.compare(epoch, rule, pool=pool).amounts.iloc[:, 0]
            table = network.issuance(epoch)
            nobodys = table["operator"] == "treasury"  # in the laboratory each under its own name
            table["operator"] = table["operator"].where(~nobodys, table["gateway"])
            paid = (
                table[table["gateway"] != "(unattributed)"].groupby("operator")["amount_uttc"].sum()
            )
            assert amounts[amounts > 0].to_dict() == paid[paid > 0].to_dict()


def test_books_that_do_not_add_up_are_told(home: Path, tmp_path: Path) -> None:
    copy = tmp_path / "home"
    shutil.copytree(home, copy)
    with Network.open(copy) as network:
        network.transfer("bob", "linden-lab", "2.5 TTC")
        month = format_time(network.header().time)[:7]
        assert not any("without a row" in one for one in network.statement("bob", month).findings)
    with closing(sqlite3.connect(copy / "index.sqlite")) as db, db:
        db.execute("DELETE FROM transfers WHERE amount = 2500000")
    with Network.open(copy, readonly=True) as network:
        found = network.statement("linden-lab", month)
    assert any(one.startswith("2.5 TTC moved without a row") for one in found.findings)
