"""Reporters of a network: several, interrupted, and their applications."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import pytest
import tomli_w

from dii import Network, load
from dii.application import epochs
from dii.application.actions import SetScope
from dii.application.records import ACCOUNTS, APPLICATIONS, PAGES, REPORTS, SCOPES, USAGE_PAGES
from dii.consensus.solo import Solo
from dii.crypto import claim_address, keyed_hash
from dii.errors import GenesisError
from dii.network.home import RESERVED_NAMES
from tests.network import create, late
from tests.require import SAMPLE


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
        found = epochs.lookup(whole.state, USAGE_PAGES, "main", epoch, application + operator)
        assert found == {name: row[name] for name in columns}
    for row in whole.metrics(epoch).to_pylist():
        gateway = whole.home.hash("gateway", row["gateway"]) if row["gateway"] else bytes(20)
        found = epochs.lookup(whole.state, PAGES, "main", epoch, gateway)
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
    """Registries are written by strangers: an operator's name must not denote the treasury."""
    registry = tmp_path / "registry.json"
    listed = {"id": "eui-58a0cbfffe080c9c", "owner": name}
    registry.write_text(json.dumps({listed["id"]: listed}))
    assert name in RESERVED_NAMES
    with create(reporters=2) as network:
        own = network.home.address(name)
        network.ingest(load(str(registry), *SAMPLE[1:]))
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
        once = network._engine.produce

        def produce(wires=(), time=None):
            placed = once(wires[:1], time)  # the manifest alone, of a report
            if list(network.state.items(REPORTS)):
                raise KeyboardInterrupt
            return placed

        monkeypatch.setattr(network._engine, "produce", produce)
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


def test_an_epoch_settles_though_a_decision_on_more_reporters_acts_with_its_reports() -> None:
    with Network.create(seed=7, reporters=4, governance={"delay_seconds": 43_200}) as network:
        network.ingest(load(*SAMPLE))
        scope = network.scope
        for count, settled in ((1, 1), (4, 2)):
            action = SetScope("main", scope.reporters[:count], scope.metrics, scope.usage)
            network.vote(network.propose(action))
            assert network.run(epochs=1).settled == settled
            assert len(network.scope.reporters) == count
