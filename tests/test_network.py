"""The facade: the quickstart as it is written, and receipts that nobody can change."""

from __future__ import annotations

import copy
import json
import re
import shutil
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
import tomli_w

from dii import Network, economy, files, load, minting
from dii.application.lookup import lookup_metrics, lookup_usage
from dii.application.records import (
    ACCOUNTS,
    APPLICATIONS,
    GATEWAYS,
    ISSUANCES,
    REPORTS,
    SCOPES,
)
from dii.codec import dumps
from dii.consensus.solo import Solo
from dii.crypto import SigningKey, claim_address, keyed_hash
from dii.errors import (
    AlreadyClaimed,
    BadAmount,
    BadName,
    GenesisError,
    HomeBroken,
    HomeExists,
    HomeMissing,
    KeyMissing,
    NoReceipt,
    NoTelemetry,
    NothingToCompare,
    NotSealed,
    NotYetSettled,
    ProofInvalid,
    Refused,
    RuleNotFed,
    ShapeMismatch,
    StoreLocked,
    UnknownName,
    WrongPassword,
)
from dii.genesis import TREASURY
from dii.ledger.log import root_of
from dii.ledger.proof import MAX_BYTES, Proof, read_json
from dii.network import Receipt, home
from dii.network.home import RESERVED
from dii.network.receipt import ReceiptProof
from dii.schema import Reject
from dii.telemetry.load import Telemetry
from dii.telemetry.tables import to_table
from dii.units import DAY
from tests.require import ROOT

DATA = ROOT / "data"
FILES = [str(DATA / name) for name in ("registry.json", "uplinks.jsonl", "statuses.csv")]
EPOCHS = 8


@pytest.fixture(scope="module")
def data() -> Telemetry:
    return load(*FILES)


def create(home: Path | None = None, **changes: Any) -> Network:
    """Make the network of the quickstart."""
    return Network.create(
        "ttn",
        symbol="TTC",
        seed=7,
        home=home,
        rule=minting.ShapleyTraffic(),
        policy=minting.FixedEmission("10000 TTC"),
        allocations={"bob": "500 TTC"},
        **changes,
    )


@pytest.fixture(scope="module")
def whole(data: Telemetry) -> Iterator[Network]:
    """The quickstart's network at the end of the data; tests only look at it."""
    with create() as network:
        network.ingest(data)
        yield network.run()


@pytest.fixture
def net(data: Telemetry) -> Iterator[Network]:
    """A network of its own, two epochs in."""
    with create() as network:
        network.ingest(data)
        yield network.run(epochs=2)


def roots(network: Network) -> tuple[object, ...]:
    return network.height, network.header(), network.state.committed_root


def tables(network: Network) -> list[pd.DataFrame]:
    return [
        network.accounts(), network.gateways(), network.operators(), network.epochs(),
        network.blocks(), network.transactions(), network.transfers(),
        *(network.issuance(epoch) for epoch in range(network.settled)),
    ]  # fmt: skip


def same(one: Network, other: Network) -> bool:
    return roots(one) == roots(other) and all(
        a.equals(b) for a, b in zip(tables(one), tables(other), strict=True)
    )


# --- the quickstart ------------------------------------------------------------------------------


def test_the_quickstart_works_as_it_is_written(data):
    net = Network.create(
        "ttn", symbol="TTC", seed=7,
        rule=minting.ShapleyTraffic(), policy=minting.FixedEmission("10000 TTC"),
        allocations={"bob": "500 TTC"},
    )  # fmt: skip
    assert len(data.rejects) > 0
    net.ingest(data)
    net.run(epochs=3)
    top = net.issuance(epoch=2).head(10)
    assert list(top.columns) == ["gateway", "operator", "weight", "amount_uttc"]
    assert top["amount_uttc"].is_monotonic_decreasing
    receipt = net.receipt(net.issuance(epoch=2).gateway[0], epoch=2)
    assert receipt.verify(net.header())
    net.run()
    assert net.settled == EPOCHS
    richest = net.accounts().nlargest(10, "balance_uttc")
    assert richest["balance_uttc"].iloc[0] > 0
    found = net.verify()
    assert found.height == net.height
    assert found.app_hash == net.state.committed_root


def test_each_epoch_pays_what_its_policy_says_to_the_last_unit(whole):
    epochs = whole.epochs()
    assert list(epochs["epoch"]) == list(range(EPOCHS))
    assert (epochs["pool_uttc"] == 10_000 * 10**6).all()
    dust = 0
    for row in epochs.itertuples():
        table = whole.issuance(row.epoch)
        assert table["amount_uttc"].sum() == row.paid_uttc
        assert row.paid_uttc + row.unminted_uttc + row.dust_uttc == row.pool_uttc + dust
        assert row.dust_uttc < row.gateways
        dust = row.dust_uttc
        leaves = whole.view.index.query(
            "SELECT leaf FROM receipts WHERE epoch = ? ORDER BY position", (row.epoch,)
        )
        root = whole.state.get(ISSUANCES, "main", row.epoch).root
        assert root == root_of([leaf for (leaf,) in leaves])


def test_what_operators_earned_is_what_their_accounts_hold(whole):
    table = whole.operators()
    earned = dict(zip(table["operator"], table["earned_uttc"]))
    nothing = {name for name, amount in earned.items() if not amount}
    held = dict(zip(whole.accounts()["account"], whole.accounts()["balance_uttc"]))
    assert earned.items() <= held.items() | {(name, 0) for name in nothing}
    assert not nothing & held.keys(), "who never got anything has no account"
    assert held["bob"] == 500 * 10**6
    minted = whole.epochs()["paid_uttc"].sum() + whole.epochs()["dust_uttc"].iloc[-1]
    assert sum(earned.values()) == whole.epochs()["paid_uttc"].sum()
    assert whole.verify().minted == minted + held["bob"]


# --- the same everywhere --------------------------------------------------------------------------


def test_the_network_on_disk_is_the_network_in_memory_also_if_reopened_after_each_epoch(
    tmp_path, data, whole
):
    with create(tmp_path / "home") as network:
        network.ingest(data)
    for epoch in range(EPOCHS):
        with Network.open(tmp_path / "home") as network:
            assert network.settled == epoch
            network.run(epochs=1)
    with Network.open(tmp_path / "home") as network:
        assert same(network, whole)
        network.rebuild()
        assert same(network, whole)
        network.verify()
    with Network.open(tmp_path / "home", readonly=True) as network:
        assert same(network, whole)
        with pytest.raises(Refused, match="to look only"):
            network.transfer("bob", "treasury", 5)


def test_a_lookback_that_is_lost_or_damaged_is_computed_again(tmp_path, data, whole):
    with create(tmp_path / "home") as network:
        network.ingest(data)
        network.run(epochs=3)
    path = tmp_path / "home" / "telemetry" / "lookback"
    for keep in (0, 5, 100, None):
        if keep is None:
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[:keep])
        with Network.open(tmp_path / "home") as network:
            network.run(epochs=1)
    with Network.open(tmp_path / "home") as network:
        assert roots(network.run()) == roots(whole)


def test_a_home_is_written_by_one_and_read_by_many(tmp_path, data):
    with create(tmp_path / "home") as network:
        network.ingest(data)
        with pytest.raises(StoreLocked):
            Network.open(tmp_path / "home")
        with Network.open(tmp_path / "home", readonly=True) as reader:
            assert roots(reader) == roots(network)


def test_a_network_that_could_not_be_opened_lets_go_of_its_files(tmp_path, monkeypatch):
    monkeypatch.setenv("DII_PASSWORD", "right")
    Network.create(home=tmp_path / "home", start="2018-04-21").close()
    monkeypatch.setenv("DII_PASSWORD", "wrong")
    with pytest.raises(WrongPassword) as held:
        Network.open(tmp_path / "home")
    monkeypatch.setenv("DII_PASSWORD", "right")
    with Network.open(tmp_path / "home") as network:
        assert network.height == 1
    assert held.tb is not None, "a notebook keeps the last traceback, and all that it refers to"


def test_the_same_data_a_second_time_changes_nothing(net, data):
    before, rejected = roots(net), net._feed.telemetry.rejected
    for _ in range(2):
        net.ingest(data)
        assert roots(net) == before
        assert net._feed.telemetry.rejected.equals(rejected)


@pytest.mark.parametrize("start", ["2025-03-05", None])
def test_what_was_set_aside_once_is_not_set_aside_again(data, start):
    with create(start=start) as network:
        first, _ = split(data, data.span[0] + 3 * DAY)
        network.ingest(replace(first, receptions=first.receptions.slice(0, 50)))
        network.run(epochs=1)
        network.ingest(data)
        once = reasons(network)
        assert once["before_start" if start else "late"] > 0
        network.ingest(data)
        assert reasons(network) == once
    with create(start=start) as network:
        network.ingest(data)
        assert reasons(network)["before_start"] == once["before_start"], "in one piece or in two"


def test_epochs_out_of_tables_are_epochs(data):
    with create() as network:
        network.ingest(data)
        network.run(epochs=2)
        epoch = network.epochs()["epoch"].to_numpy()[1]
        assert type(epoch) is not int
        assert network.issuance(epoch).equals(network.issuance(1))
        gateway = network.issuance(1).gateway[0]
        assert network.receipt(gateway, epoch).verify(network.header())
        assert network.compare(epoch).amounts.equals(network.compare(1).amounts)
        assert economy.Records.of(data, epoch).metrics() == economy.Records.of(data, 1).metrics()


def test_a_receipt_gives_the_reason_of_each_excluded_frame(data):
    simulated = data.rejects.query("reason == 'simulated'")
    assert len(simulated) == 2
    files = ["again.jsonl" if file == "uplinks.jsonl" else file for file in data.rejects.file]
    again = data.rejected.set_column(0, data.rejected.schema.field(0), pa.array(files))
    with create() as network:
        network.ingest(data + Telemetry(rejected=again))  # an export of the same under another name
        network.run()
        start, length = network.genesis.start_time, network.genesis.epoch_length
        assert set(network._feed.telemetry.rejects.file) > {"uplinks.jsonl", "again.jsonl"}
        for row in simulated.itertuples():
            epoch = (row.time - start) // length
            receipt = network.receipt(row.gateway, epoch=epoch)
            assert receipt.excluded == {"simulated": receipt.metrics["excluded_frames"]}
            assert "1 simulated (an uplink that was never on the air)" in str(receipt)
            assert not network.receipt(network.issuance(epoch).gateway[0], epoch).excluded
        # What comes after the epoch has settled was not among what the chain counts.
        more = to_table(
            "rejects", [Reject("more", 1, "simulated", None, row.gateway, row.time + 1)]
        )
        network.ingest(replace(data, rejected=more))
        assert not network.receipt(row.gateway, epoch=epoch).excluded


def split(data: Telemetry, time: int) -> tuple[Telemetry, Telemetry]:
    """Divide data by time; the registry goes into both parts."""
    parts = []
    for keep in (lambda at: at < time, lambda at: at >= time):
        kept = {
            name: getattr(data, name).filter(
                [keep(at) for at in getattr(data, name)["time"].to_pylist()]
            )
            for name in ("receptions", "statuses")
        }
        parts.append(replace(data, **kept))
    return parts[0], parts[1]


def test_data_in_two_parts_come_to_the_same_if_none_is_late(data, whole):
    start = whole.genesis.start_time
    first, second = split(data, start + 5 * DAY)
    with create() as network:
        network.ingest(first)
        network.run(epochs=4)
        network.ingest(second)
        assert same(network.run(), whole)


def test_records_of_epochs_that_are_settled_are_rejected_as_late_and_change_nothing(data, whole):
    start = whole.genesis.start_time
    first, _ = split(data, start + 3 * DAY)
    half = replace(first, receptions=first.receptions.slice(0, len(first.receptions) // 3))
    with create() as network:
        network.ingest(half)
        network.run(epochs=1)
        before, paid = roots(network), network.issuance(0)
        assert not late(network)
        network.ingest(data)
        known, gone = (
            sum(at < start + DAY for at in one.receptions["time"].to_pylist())
            for one in (half, data)
        )
        assert gone > known
        assert [row["detail"] for row in late(network)] == [
            f"{gone - known} receptions of epochs that are settled"
        ]
        assert roots(network) == before
        network.run()
        assert network.settled == EPOCHS
        assert network.issuance(0).equals(paid)
        assert not network.issuance(0).equals(whole.issuance(0))
        network.verify()


def reasons(network: Network) -> Counter[str]:
    return Counter(network._feed.telemetry.rejected["reason"].to_pylist())


def late(network: Network) -> list[dict[str, Any]]:
    return [row for row in network._feed.telemetry.rejected.to_pylist() if row["reason"] == "late"]


# --- messages ------------------------------------------------------------------------------------


def balances(network: Network) -> dict[str, int]:
    table = network.accounts()
    return dict(zip(table["account"], table["balance_uttc"]))


def fees(network: Network) -> int:
    return int(network.transactions()["fee_uttc"].sum())


def test_a_transfer_moves_money_between_names_and_addresses(net):
    before = balances(net)
    done = net.transfer("bob", "north-iot", "12.5 TTC")
    after = balances(net)
    assert after["north-iot"] == before["north-iot"] + 12_500_000
    assert after["bob"] == before["bob"] - 12_500_000 - fees(net)
    assert after["treasury"] == before["treasury"] + fees(net)
    assert done in set(net.transactions()["id"])
    address = net.accounts()["address"][0]
    net.transfer("bob", address, 7)
    assert net.transfers()["amount_uttc"].iloc[-1] == 7


def test_burning_destroys_money(net):
    before = net.verify()
    net.burn("bob", "1 TTC")
    after = net.verify()
    assert after.burned == before.burned + 10**6
    assert after.minted == before.minted


def test_an_operators_gateways_are_handed_on_by_who_claimed_them(net):
    gateway = next(
        row.gateway for row in net.gateways().itertuples() if row.operator == "north-iot"
    )
    owed = balances(net)["north-iot"]
    bob = balances(net)["bob"]
    net.claim("north-iot", "bob")
    assert balances(net)["bob"] == bob + owed
    net.assign(gateway, "bob", "linden-lab")
    hashed = net.home.gateway(gateway)
    assert net.state.get(GATEWAYS, "main", hashed).owners[-1][1] == net.home.address("linden-lab")
    net.run()
    paid = net.operators().set_index("operator")["earned_uttc"]
    assert paid["bob"] > 0
    assert net.receipt(gateway, EPOCHS - 1).operator == "linden-lab"
    net.verify()


def test_what_an_operator_earned_before_and_after_a_claim_is_one(net):
    before = net.operators().set_index("operator")
    net.claim("north-iot", "bob")
    net.run()
    after = net.operators().set_index("operator")
    assert "north-iot" not in after.index
    assert after.loc["bob", "earned_uttc"] > before.loc["north-iot", "earned_uttc"]
    assert after.loc["bob", "paid_epochs"] == EPOCHS
    assert after["earned_uttc"].sum() == net.epochs()["paid_uttc"].sum()


def test_gateways_without_an_operator_are_listed_as_nobodys(whole):
    gateways = whole.gateways().set_index("gateway")
    named = {row["gateway"]: row["operator"] for row in whole.feed.telemetry.gateways.to_pylist()}
    assert named.keys() <= set(gateways.index)
    nobodys = [gateway for gateway, operator in named.items() if operator is None]
    assert nobodys
    assert gateways.loc[nobodys, "operator"].isna().all()
    assert gateways["earned_uttc"].sum() == whole.epochs()["paid_uttc"].sum()


def heard(days: list[int]) -> Telemetry:
    """Return three gateways' uplinks on some days of a month."""
    rows = [
        {"time": f"2025-03-{day:02d}T{hour:02d}:00:00Z", "gateway": f"AA0000000000000{hour % 3}",
         "device": "0011223344556677", "f_cnt": 24 * day + hour, "delivered": True}
        for day in days for hour in range(24)
    ]  # fmt: skip
    return load(pd.DataFrame(rows))


def owned(*operators: str | None) -> Telemetry:
    rows = [
        {"gateway": f"AA0000000000000{number}", "operator": operator}
        for number, operator in enumerate(operators)
    ]
    return load(pd.DataFrame(rows))


def test_a_later_registry_takes_nobodys_gateway_unless_reporters_are_told_to_and_not_at_once():
    with create(reporters=4, governance={"delay_seconds": 86_400}) as net:
        assert net.contested(owned("ben")) == {}
        net.ingest(heard([1, 2, 3, 4, 5]))
        others = [f"AA0000000000000{number}" for number in range(3)]
        registry = owned("ben", "ben", "carla")
        net.run(epochs=1)
        net.ingest(registry)
        assert set(net.issuance(0)["operator"]) == set(others)
        assert list(net.contested(registry)) == others
        net.ingest(registry, rebind=True)
        assert net.contested(registry) == {}
        net.run(complete=True)
        owners = [set(net.issuance(epoch)["operator"]) for epoch in range(5)]
        assert owners == [set(others)] * 3 + [{"ben", "carla"}] * 2
        net.verify()


def test_the_pool_of_an_epoch_in_which_nobody_earned_is_shown_as_not_minted():
    with create() as net:
        net.ingest(heard([1, 4]))
        epochs = net.run(complete=True).epochs()
        dust = epochs["dust_uttc"].shift(fill_value=0)
        spent = epochs[["paid_uttc", "unminted_uttc", "rest_uttc", "dust_uttc"]].sum(axis=1)
        assert (spent == epochs["pool_uttc"] + dust).all()
        assert list(epochs["unminted_uttc"] == epochs["pool_uttc"]) == [False, True, True, False]


def test_a_claimed_name_still_finds_both_accounts_after_reopening(tmp_path, data):
    with create(tmp_path / "home") as network:
        network.ingest(data)
        network.run(epochs=1)
        network.claim("north-iot", "bob")
        expected = balances(network)
    with Network.open(tmp_path / "home") as network:
        assert balances(network) == expected
        network.transfer("bob", "north-iot", 5)
        assert balances(network)["bob"] == expected["bob"] - fees(network), "it is forwarded"


def test_a_key_that_lives_elsewhere_may_claim(net):
    key = SigningKey.derive(99, "elsewhere")
    owed = balances(net)["north-iot"]
    net.claim("north-iot", key.public_key)
    assert net.state.get(ACCOUNTS, key.address).balance == owed


def test_what_is_refused_says_why_and_changes_nothing_but_its_fee(net):
    bob = balances(net)["bob"]
    with pytest.raises(Refused) as caught:
        net.transfer("bob", "treasury", "1000 TTC")
    assert balances(net)["bob"] == bob - fees(net)
    why = r"Transfer refused: bob has 499\.99\d+ TTC, and 1,000 TTC is needed; this cost "
    assert re.fullmatch(why + net.currency.format(fees(net)), str(caught.value))
    with pytest.raises(Refused, match="zero"):
        net.transfer("bob", "treasury", 0)
    with pytest.raises(Refused, match="belongs to"):
        net.assign(net.gateways()["gateway"][0], "bob", "bob")
    net.claim("north-iot", "bob")
    with pytest.raises(AlreadyClaimed, match="north-iot"):
        net.claim("north-iot", "bob")


@pytest.mark.parametrize(
    ("say", "error", "words"),
    [
        (lambda net: net.transfer("bob", "nobody", 5), UnknownName, "nobody"),
        (lambda net: net.transfer("nobody", "bob", 5), KeyMissing, "nobody"),
        (lambda net: net.transfer("no body", "bob", 5), BadName, "no body"),
        (lambda net: net.transfer("../bob", "bob", 5), BadName, r"\.\./bob"),
        (lambda net: net.transfer("bob", "dii1qqqq", 5), Exception, "dii1qqqq"),
        (lambda net: net.transfer("bob", "treasury", "5 XYZ"), BadAmount, "TTC"),
        (lambda net: net.transfer("bob", "treasury", -5), BadAmount, "between 0"),
        (lambda net: net.transfer("bob", "treasury", 1.5), BadAmount, "integer"),
        (lambda net: net.assign("no-gateway", "bob", "bob"), UnknownName, "no-gateway"),
        (lambda net: net.claim("nobody", "bob"), UnknownName, "nobody"),
        (lambda net: net.claim("linden-lab", "nobody"), KeyMissing, "nobody"),
        (lambda net: net.issuance(99), NotYetSettled, "99"),
        (lambda net: net.issuance(-1), NotYetSettled, "-1"),
        (lambda net: net.receipt("no-gateway", 0), UnknownName, "no-gateway"),
        (lambda net: net.receipt("ff" * 20, 0), NoReceipt, "ff"),
        (lambda net: net.receipt("ff" * 20, 99), NotYetSettled, "99"),
    ],
)
def test_what_cannot_be_said_is_a_named_error_and_nothing_happens(whole, say, error, words):
    before = roots(whole)
    with pytest.raises(error, match=words):
        say(whole)
    assert roots(whole) == before


def test_a_name_that_only_a_registry_knows_has_no_key_and_stays_one_account(net):
    """Money for an operator must not go astray because somebody tried to sign in its name."""
    address = net.home.address("north-iot")
    with pytest.raises(KeyMissing, match="north-iot"):
        net.transfer("north-iot", "bob", 5)
    assert net.home.address("north-iot") == address
    assert sum(name == "north-iot" for name in net.home.names("account").values()) == 1


def test_receipts_verify_against_the_last_header_whatever_happened_before(net):
    gateway = net.issuance(1).gateway[0]
    for words, happen in {
        "moved": lambda: net.transfer("bob", "treasury", 5),
        "not moved": lambda: net.transfer("bob", "treasury", "1000 TTC"),
        "not burned": lambda: net.burn("bob", "1000 TTC"),
        "settled": lambda: net.run(epochs=1),
    }.items():
        with pytest.raises(Refused) if "not" in words else nullcontext():
            happen()
        assert net.receipt(gateway, 1).verify(net.header())


@pytest.mark.parametrize("reporters", [2, 4])
def test_several_reporters_who_agree_pay_what_one_pays(data, whole, reporters):
    with create(reporters=reporters) as network:
        network.ingest(data)
        network.run(epochs=2)
        for epoch in range(2):
            assert network.issuance(epoch).equals(whole.issuance(epoch))
            assert network.receipt(network.issuance(epoch).gateway[0], epoch).verify(
                network.header()
            )
        assert network.summary()["reporters"].startswith(f"{reporters}, of whom ")
        claimed = network.home.operator_address("north-iot")
        held = network.state.get(ACCOUNTS, claimed).balance
        assert held > 0
        network.claim("north-iot", "bob")
        assert network.state.get(ACCOUNTS, claimed).balance == 0
        assert network.verify().app_hash == network.state.committed_root


@pytest.mark.parametrize("blocks", [1, 3, 5, 8])
def test_several_reporters_that_are_interrupted_at_any_block_go_on_where_they_were(
    tmp_path, data, whole, monkeypatch, blocks
):
    home, left, original = tmp_path / "home", blocks, Solo.produce
    create(home, reporters=4).close()

    def produce(solo: Solo, wires: Sequence[bytes] = (), time: int | None = None) -> object:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return original(solo, wires[:3], time)

    monkeypatch.setattr(Solo, "produce", produce)
    with suppress(KeyboardInterrupt), Network.open(home) as network:
        network.ingest(data)
        network.run(epochs=1)
    monkeypatch.undo()
    with Network.open(home) as network:
        network.ingest(data)
        network.run(epochs=1 - network.settled)
        assert network.issuance(0).equals(whole.issuance(0))


def test_the_chain_knows_what_applications_used_of_operators(whole):
    epoch = whole.settled - 1
    table = whole.usage(epoch).to_pylist()
    assert len({row["application"] for row in table}) > 1
    columns = whole.state.get(SCOPES, "main").usage
    assert "delivered" in columns
    assert any(row["delivered"] for row in table)
    for row in table:
        application = whole.home.hash("application", row["application"])
        operator = bytes.fromhex(row["operator"]) or bytes(20)
        found = lookup_usage(whole.state, "main", epoch, application, operator)
        assert found == {name: row[name] for name in columns}
    for row in whole.metrics(epoch).to_pylist():
        gateway = whole.home.hash("gateway", row["gateway"]) if row["gateway"] else bytes(20)
        found = lookup_metrics(whole.state, "main", epoch, gateway)
        assert found == {name: row[name] for name in whole.genesis.scopes[0].metrics}


def test_an_application_is_bound_to_its_consumer_and_its_own_uplinks_are_known(data):
    with create(reporters=4) as network:
        network.ingest(data)
        network.run(epochs=1)
        assert "own_uplinks" not in network.metrics(1).column_names
        busiest = max(network.usage(0).to_pylist(), key=lambda row: row["delivered"])
        network.register_application(busiest["application"], "bob")
        hashed = network.home.hash("application", busiest["application"])
        bound = network.state.get(APPLICATIONS, "main", hashed)
        assert bound.owner(1) == network.home.address("bob")
        assert "own_uplinks" in network.metrics(1).column_names
        network.run(epochs=1)
        assert network.settled == 2


@pytest.mark.parametrize("reporters", [0, 65])
def test_a_scope_has_1_to_64_reporters(reporters):
    with pytest.raises(GenesisError, match="reporters"):
        create(reporters=reporters)


@pytest.mark.parametrize("name", ["reporter", "reporter-2", "treasury", "validator"])
def test_an_operator_called_like_an_account_of_the_network_gets_a_claim_account(tmp_path, name):
    """Registries are written by strangers: a name in one must not stand for the treasury."""
    registry = tmp_path / "registry.json"
    listed = {"id": "eui-58a0cbfffe080c9c", "owner": name}
    registry.write_text(json.dumps({listed["id"]: listed}))
    assert name in RESERVED
    with create(reporters=2) as network:
        own = network.home.address(name)
        network.ingest(load(str(registry), *FILES[1:]))
        network.run(epochs=1)
        claim = claim_address("main", keyed_hash(network.home.network_key, "operator", name))
        assert network.receipt(listed["id"], 0).leaf.payee == claim
        assert network.home.address(name) == own
        assert len(set(network.accounts()["account"])) == len(network.accounts())
        network.claim(name, "bob")
        assert network.state.get(ACCOUNTS, claim).balance == 0


@pytest.mark.parametrize("blocks", [1, 2, 3, 5, 8, 13])
def test_a_network_that_is_interrupted_at_any_block_goes_on_where_it_was(
    tmp_path, data, whole, monkeypatch, blocks
):
    home = tmp_path / "home"
    create(home).close()
    draft = tomllib.loads((home / "draft.toml").read_text())
    monkeypatch.setattr("dii.genesis.LEAST_BLOCK_GAS", 0)
    # Manifest and chunk take a block each, and settling takes more.
    draft["limits"] = {"settle_rows": 10, "block_gas": 173_000}
    (home / "draft.toml").write_text(tomli_w.dumps(draft))
    left = blocks

    def produce(solo: Solo, wires: Sequence[bytes] = (), time: int | None = None) -> object:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return original(solo, wires, time)

    original = Solo.produce
    for _ in range(100):
        monkeypatch.setattr(Solo, "produce", produce)
        left = blocks
        with suppress(KeyboardInterrupt), Network.open(home) as network:
            network.ingest(data)
            network.run(epochs=2 - network.settled)
            break
        monkeypatch.setattr(Solo, "produce", original)
    else:
        pytest.fail("it does not get on")
    monkeypatch.setattr(Solo, "produce", original)
    with Network.open(home) as network:
        assert network.settled == 2
        for epoch in range(2):
            assert network.issuance(epoch).equals(whole.issuance(epoch))
        network.verify()


def test_a_report_that_was_interrupted_is_finished_before_more_data_come(
    tmp_path, data, monkeypatch
):
    home = tmp_path / "home"
    create(home).close()
    first = replace(data, receptions=data.receptions.slice(0, 200))
    with Network.open(home) as network:
        network.ingest(first)
        expected = network.metrics(0)
        once = network._solo.produce

        def produce(wires=(), time=None):
            placed = once(wires[:1], time)  # the manifest alone, of a report
            if list(network.state.items(REPORTS)):
                raise KeyboardInterrupt
            return placed

        monkeypatch.setattr(network._solo, "produce", produce)
        with pytest.raises(KeyboardInterrupt):
            network.run(epochs=1)
    with Network.open(home) as network:
        network.ingest(data)
        assert network.settled == 1
        assert len(late(network)) > 0
        reported = {network.home.hash("gateway", name) for name in expected["gateway"].to_pylist()}
        receipts = network.view.index.query("SELECT gateway FROM receipts WHERE epoch = 0")
        assert {gateway for (gateway,) in receipts} - {bytes(20)} <= reported
        network.run()
        network.verify()


# --- what makes no network -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"symbol": "T-C"}, GenesisError, "symbol"),
        ({"name": "The Things"}, GenesisError, "name"),
        ({"decimals": 4}, GenesisError, "decimals"),
        ({"epoch_seconds": 5}, GenesisError, "epoch_seconds"),
        ({"rule": minting.Uptime(-5)}, GenesisError, "minimum_ppm"),
        ({"rule": minting.Composite()}, GenesisError, "points"),
        ({"policy": minting.FixedEmission("5 XYZ")}, BadAmount, "XYZ"),
        ({"policy": minting.FixedEmission(-5)}, BadAmount, "between 0"),
        ({"allocations": {"bob": "5 XYZ"}}, BadAmount, "XYZ"),
        ({"allocations": {"bob smith": 5}}, BadName, "bob smith"),
        ({"allocations": {"treasury": 5}}, GenesisError, "treasury"),
        ({"allocations": {"a": 2**62, "b": 2**62}}, GenesisError, "accounts"),
        ({"start": "yesterday"}, GenesisError, "start"),
        ({"start": "1969-12-31"}, GenesisError, "start"),
        ({"seed": 2**64}, GenesisError, "seed"),
        ({"seed": -1}, GenesisError, "seed"),
        ({"seed": None, "home": None}, GenesisError, "seed"),
    ],
    ids=str,
)
def test_what_makes_no_network_is_refused_and_nothing_is_written(tmp_path, changes, error, words):
    home = tmp_path / "home"
    with pytest.raises(error, match=words):
        Network.create(**{"name": "ttn", "seed": 7, "home": home} | changes)
    assert not home.exists()


def test_a_rule_whose_metric_the_data_do_not_give_is_refused_naming_it():
    with create(start=None) as network:
        network._draft["streams"][0]["rule"] = {"name": "Uptime"}
        with pytest.raises(RuleNotFed, match=r"needs online_ppm.*--rule ShapleyTraffic or Airtime"):
            network.ingest(load(FILES[0], FILES[1]))


def test_what_needs_records_says_that_they_are_gone_or_have_no_such_epoch(tmp_path):
    with create(home=tmp_path / "home") as network:
        network.ingest(load(*FILES))
        for epoch in (-1, network.last_epoch + 1):
            with pytest.raises(NothingToCompare, match=f"no epoch {epoch}; its last is"):
                network.compare(epoch)
    shutil.rmtree(tmp_path / "home" / "telemetry")
    with Network.open(tmp_path / "home", readonly=True) as network:
        for ask in (network.compare, network.metrics, network.records):
            with pytest.raises(NoTelemetry, match="load the files"):
                ask(0)


def test_a_network_without_records_has_no_genesis(tmp_path):
    with create() as network:
        for ask in (network.header, network.accounts, network.verify, network.run):
            with pytest.raises(NotSealed):
                ask()
    with pytest.raises(HomeMissing, match="dii init"):
        Network.open(tmp_path)


@pytest.mark.parametrize("start", [None, "2025-03-02"])
@pytest.mark.parametrize("seed", [7, None])
def test_a_network_whose_making_is_interrupted_is_made_anew(tmp_path, monkeypatch, seed, start):
    """At each file that is written on the way; what is left is never a home that cannot go on."""
    make = {"name": "ttn", "seed": seed, "start": start, "allocations": {"bob": "5 TTC"}}
    left = 0

    def interrupted(module, name):
        once = getattr(module, name)

        def write(*arguments, **options):
            nonlocal left
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
            once(*arguments, **options)

        monkeypatch.setattr(module, name, write)

    interrupted(home, "write")
    interrupted(files, "write")
    for stop in range(20):
        folder, left = tmp_path / str(stop), stop
        with suppress(KeyboardInterrupt):
            Network.create(home=folder, **make).close()
        whole, left = left >= 0, 1_000
        if not whole:
            with pytest.raises(HomeMissing):
                Network.open(folder)
            Network.create(home=folder, **make).close()
        with Network.open(folder) as network:
            assert network.sealed is (start is not None)
            network.ingest(load(*FILES[:2]))
            assert network.accounts()["balance_uttc"].max() == 5 * 10**6
        if whole:
            break
    assert 0 < stop < 19


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize(
    ("file", "seed"),
    [("names.sqlite", 7), ("keys/seed", 7), ("keys/network", None), ("draft.toml", 7)],
    ids=str,
)
def test_a_home_with_a_damaged_file_is_a_named_error(tmp_path, file, seed, sealed):
    folder = tmp_path / "home"
    start = "2025-03-02" if sealed else None
    Network.create("ttn", seed=seed, home=folder, start=start).close()
    for path in folder.glob(f"{file}*"):
        path.unlink()
    (folder / file).write_bytes(b"no such thing = \xff" * 1_000)
    with pytest.raises(HomeBroken, match=file):
        Network.open(folder)


def test_names_that_cannot_be_written_are_a_named_error(tmp_path):
    with create(tmp_path / "home") as network:
        network.home._names.execute("PRAGMA max_page_count = 1")
        rows = [(bytes([number]) * 20, "x" * 1_000, None) for number in range(200)]
        with pytest.raises(HomeBroken, match="full: is there room on its disk"):
            network.home.remember("account", rows)


def test_a_home_holds_one_network(tmp_path):
    create(tmp_path / "home").close()
    with pytest.raises(HomeExists):
        create(tmp_path / "home")


# --- receipts and proofs ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def receipt(whole: Network) -> Receipt:
    return whole.receipt(whole.issuance(4).gateway[2], epoch=4)


def test_every_gateway_has_a_receipt_that_verifies_and_explains_its_amount(whole):
    table = whole.issuance(3)
    header = whole.header()
    for row in table.itertuples():
        if row.gateway == "(unattributed)":
            continue
        found = whole.receipt(row.gateway, 3)
        assert found.verify(header)
        assert found.verify(header.hash)
        assert found.verify(header.hash.hex())
        assert (found.amount, found.weight) == (row.amount_uttc, row.weight)
        assert found.metrics["shapley_uplinks"] == found.weight
        whole_pool = found.issuance.pool + found.issuance.dust_before
        assert found.amount == whole_pool * found.weight // found.issuance.total_weight
        assert whole.currency.format(found.amount) in str(found)


def test_a_receipt_is_found_by_any_spelling_of_its_gateway(whole):
    gateway = next(one for one in whole.issuance(4).gateway if len(one) == 16)
    hashed = whole.home.gateway(gateway).hex()
    spellings = [gateway, gateway.lower(), f"eui-{gateway.lower()}", f"EUI-{gateway}", hashed]
    found = [whole.receipt(one, 4) for one in spellings]
    assert {one.gateway for one in found} == {gateway}
    assert {one.leaf for one in found} == {found[0].leaf}


def test_a_receipt_does_not_verify_against_another_header(whole, receipt):
    other = replace(whole.header(), height=1)
    for wrong in (other, other.hash, other.hash.hex(), bytes(32), b"", "", "no hex"):
        with pytest.raises(ProofInvalid):
            receipt.verify(wrong)


def changed(value: Any) -> list[Any]:
    """Return values of the same type that differ."""
    match value:
        case bool():
            return [not value]
        case int():
            return [value + 1, max(0, value - 1)] if value else [1]
        case str():
            return [value + "x", value[:-1]]
        case bytes():
            return [value[:-1] + bytes([value[-1] ^ 1]), value[:-1], value + b"\0"]
        case None:
            return [1]
        case tuple():
            return [value[:-1], (*value, *value[-1:]), value[::-1]]
        case _:
            return [
                replace(value, **{one.name: other})
                for one in fields(value)
                for other in changed(getattr(value, one.name))
            ]


PROVEN = ("stream", "epoch", "leaf", "issuance", "proof")


@pytest.mark.parametrize("field", PROVEN)
def test_a_receipt_with_anything_changed_is_refused(whole, receipt, field):
    header = whole.header()
    candidates = [one for one in changed(getattr(receipt, field)) if one != getattr(receipt, field)]
    assert candidates
    for candidate in candidates:
        # A header of another shape than any file can hold has no hash at all: ShapeMismatch.
        with pytest.raises((ProofInvalid, ShapeMismatch)):
            replace(receipt, **{field: candidate}).verify(header)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of everything within JSON."""
    if path:
        yield path
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from places(item, (*path, key))


STRANGE = [None, True, 0, -1, 2**64, 1.5, float("inf"), "", "zz", "00", [], {}, [None], [["00"]]]


def test_a_proof_survives_its_file(whole, receipt):
    text = json.dumps(receipt.proof.to_json())
    again = ReceiptProof.from_json(read_json(text.encode()))
    assert again == receipt.proof
    assert again.verify(whole.header().hash) == (receipt.leaf, receipt.issuance)


def test_a_proof_file_with_anything_changed_is_refused(whole, receipt):
    sound, header = receipt.proof.to_json(), whole.header().hash
    tried = 0
    for path in places(sound):
        parent = sound
        for key in path[:-1]:
            parent = parent[key]
        value = parent[path[-1]]
        others = [*STRANGE]
        if isinstance(value, str):
            middle = len(value) // 2
            other = "1" if value[middle] == "0" else "0"
            others += [value[:middle] + other + value[middle + 1 :], value[:-2], value + "00"]
        if isinstance(value, int):
            others += [value + 1, str(value + 1)]
        for other in (*others, "(gone)"):
            if type(other) is type(value) and other == value:
                continue
            wrong = copy.deepcopy(sound)
            parent = wrong
            for key in path[:-1]:
                parent = parent[key]
            if other == "(gone)":
                del parent[path[-1]]
            else:
                parent[path[-1]] = other
            tried += 1
            with pytest.raises(ProofInvalid):
                ReceiptProof.from_json(wrong).verify(header)
    assert tried > 300


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b"5", b"null", b'"text"', b"\xff", b"[" * 100_000, b"9" * 10_000,
     b'{"format": "dii/proof/2"}'],
)  # fmt: skip
def test_a_file_that_is_no_proof_is_a_named_error(text):
    with pytest.raises(ProofInvalid):
        ReceiptProof.from_json(read_json(text))


def test_a_huge_proof_file_is_refused_before_it_is_parsed():
    with pytest.raises(ProofInvalid, match="bytes"):
        read_json(b" " * (MAX_BYTES + 1))


def test_what_an_account_holds_can_be_proven_and_that_an_account_is_not_there(whole):
    header = whole.header().hash
    proof = whole.prove(ACCOUNTS, TREASURY)
    Proof.from_json(json.loads(json.dumps(proof.to_json()))).verify(header)
    assert proof.value == dumps(whole.state.get(ACCOUNTS, TREASURY))
    absent = whole.prove(ACCOUNTS, bytes(20))
    absent = Proof.from_json(json.loads(json.dumps(absent.to_json())))
    absent.verify(header)
    assert absent.value is None
    for wrong in (
        replace(proof, value=None),
        replace(proof, value=dumps(whole.state.get(ACCOUNTS, TREASURY))[:-1]),
        replace(proof, key=absent.key),
        replace(absent, value=proof.value),
        replace(absent, key=proof.key),
    ):
        with pytest.raises(ProofInvalid):
            wrong.verify(header)


def test_a_proof_of_one_stream_or_epoch_is_none_of_another(whole, receipt):
    other = whole.receipt(receipt.gateway, epoch=5)
    for wrong in (replace(receipt, proof=other.proof), replace(receipt, epoch=5)):
        with pytest.raises(ProofInvalid):
            wrong.verify(whole.header())


def test_names_and_keys_do_not_stand_on_the_chain(whole):
    """Keyed hashes only: without the network key a name cannot be linked to its account."""
    names = [name for name in whole.home.names("account").values() if "-" in name]
    ids = [name for name in whole.home.names("gateway").values() if len(name) == 16]
    applications = list(whole.home.names("application").values())
    stored = b"".join(diff + block for _, diff, _, block in whole.view.store.blocks())
    assert names
    assert ids
    assert applications
    for name in (*names, *ids, *applications):
        assert name.encode() not in stored
    for plain in ids:
        assert bytes.fromhex(plain) not in stored
    hashed = keyed_hash(whole.home.network_key, "operator", "north-iot")
    assert claim_address("main", hashed) in stored
    assert whole.home.network_key not in stored


def test_players_who_stand_together_count_as_one_where_the_genesis_says_so() -> None:
    paid = []
    for radius in (0, 2_000):
        with Network.create("ttn", seed=7, site_radius_m=radius) as network:
            network.ingest(load(*FILES))
            assert network.genesis.scopes[0].site_radius_m == radius
            network.run(epochs=1)
            paid.append(network.issuance(0).set_index("gateway")["weight"].to_dict())
            network.verify()
    apart, together = paid
    assert apart != together
    assert sum(together.values()) == sum(apart.values())  # the same uplinks, divided otherwise
