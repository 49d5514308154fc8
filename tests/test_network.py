"""The facade: the quickstart as it is written, and the same network everywhere."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pandas as pd
import pyarrow as pa
import pytest

from dii import Network, economy, minting
from dii.application.records import ISSUANCES
from dii.errors import Refused, StoreLocked, WrongPassword
from dii.ledger.log import root_of
from dii.schema import Reject
from dii.telemetry.load import Telemetry
from dii.telemetry.tables import to_table
from dii.units import DAY
from tests.network import EPOCHS, create, late, roots


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


def test_earnings_of_operators_are_what_their_accounts_hold(whole):
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


# --- the same everywhere -------------------------------------------------------------------------


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
    before, rejected = roots(net), net.feed.telemetry.rejected
    for _ in range(2):
        net.ingest(data)
        assert roots(net) == before
        assert net.feed.telemetry.rejected.equals(rejected)


@pytest.mark.parametrize("start", ["2025-03-05", None])
def test_records_that_were_set_aside_are_not_set_aside_again(data, start):
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
        assert set(network.feed.telemetry.rejects.file) > {"uplinks.jsonl", "again.jsonl"}
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
    return Counter(network.feed.telemetry.rejected["reason"].to_pylist())
