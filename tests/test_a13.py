"""What an attack on names, entries and fields found."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pandas as pd
import pytest

from dii import Network, load
from dii.application import records
from tests.test_names import START, WATCH, X, laboratory, registry, uplinks


@pytest.mark.parametrize("first", [("roof-1", X), (None, X)])
def test_no_later_contract_takes_a_gateway_from_the_one_that_names_it(
    first: tuple[str | None, str], tmp_path: Path
) -> None:
    with laboratory() as network:
        network.ingest(registry([("roof-2", None, "bert")]))
        network.ingest(load(uplinks(tmp_path / "1", 0, [first, ("roof-2", None)])))
        deal = network.deploy(WATCH, by="anna", gateway=first[0] or X)
        network.run(complete=True)
        other = X if first[0] else "ttn:roof-1"
        named = "0x" + network.home.hash("gateway", other).hex()
        network.deploy(WATCH, by="dora", gateway=named)
        for day in (1, 2):
            network.ingest(load(uplinks(tmp_path / "2", day, [("roof-1", X), ("roof-2", None)])))
            network.run(complete=True)
            assert deal.view("uplinks", of=day) == 1
        network.verify()


def test_the_work_of_names_does_not_multiply_with_what_contracts_keep() -> None:
    rows = [
        {"time": f"2025-03-03T06:00:{number % 60:02d}Z", "gateway": f"g{number}",
         "eui": f"AA555A00{number:08X}", "device": "D", "f_cnt": number, "delivered": True}
        for number in range(50)
    ]  # fmt: skip
    with laboratory() as network:
        network.ingest(registry([("roof-2", None, "bert")]))
        network.ingest(load(pd.DataFrame(rows)))
        state, hashed = network.state, network.home.hash

        def items(table: Any, *parts: bytes) -> Any:
            if table is records.CONTRACTS:
                return [((bytes(20),), SimpleNamespace(scope="main"))]
            if table is records.STORAGE:
                return [((bytes(20), number.to_bytes(32, "big")), b"1") for number in range(500)]
            return state.items(table, *parts)

        full = SimpleNamespace(items=items, get=state.get)
        with (
            mock.patch.object(type(network), "state", full),
            mock.patch.object(network.home, "hash", side_effect=hashed) as hashing,
        ):
            network.names()
        assert hashing.call_count < 1_000


def test_an_entry_of_a_registry_without_an_owner_outlives_refused_records(tmp_path: Path) -> None:
    path = tmp_path / "registry.json"
    path.write_text(json.dumps([{"id": "roof-1", "eui": X, "last_seen": "2025-03-02T12:00:00Z"}]))
    rows = [
        {"time": f"2025-03-0{day}T{hour}:00:00Z", "gateway": "roof-1", "device": "D", "f_cnt": day}
        for day, hour in ((2, "06"), (2, "18"), (3, "06"))
    ]
    with Network.create(seed=7, start=START) as network:
        network.ingest(load(path))
        network.ingest(load(pd.DataFrame(rows)))
        assert network.names() == {X: "ttn:roof-1"}


def test_a_text_that_is_no_eui_is_told_beside_an_id(tmp_path: Path) -> None:
    path = uplinks(tmp_path / "1", 0, [("roof-1", X[:-1] + "Z"), ("roof-1", "0" * 16)])
    data = load(path)
    assert data.receptions["gateway"].to_pylist() == ["ttn:roof-1"] * 2
    assert data.receptions["eui"].to_pylist() == [None] * 2
    (told,) = data.rejected.to_pylist()
    assert (told["line"], told["reason"]) == (1, "unread_field")
    assert "eui" in told["detail"]


@pytest.mark.parametrize(
    ("wrong", "gateway"),
    [("gateway_eui", "ttn:roof"), ("gateway_id", X), ("net_id", X), ("tenant_id", X)],
)
def test_a_field_of_a_forwarder_costs_itself_only(wrong: str, gateway: str, tmp_path: Path) -> None:
    path = uplinks(tmp_path / "1", 0, [("packetbroker", None)])
    record = json.loads(path.read_text())
    broker: dict[str, object] = {"gateway_id": "roof", "gateway_eui": X} | {
        "net_id": "000013",
        "tenant_id": "ttn",
    }
    broker[wrong] = 7
    stated = {f"forwarder_{key}": value for key, value in broker.items()}
    record["uplink_message"]["rx_metadata"][0]["packet_broker"] = stated
    path.write_text(json.dumps(record))
    data = load(path)
    assert data.receptions["gateway"].to_pylist() == [gateway]
    (told,) = data.rejected.to_pylist()
    assert told["reason"] == "unread_field"
    assert wrong in told["detail"]


@pytest.mark.parametrize("second", ["y", None])
def test_a_frame_around_midnight_counts_once_though_its_gateway_gets_another_name(
    second: str | None,
) -> None:
    frame = {"device": "D", "f_cnt": 7, "payload_hash": 5, "delivered": True}
    heard = [
        frame | {"time": "2025-03-03T23:59:50Z", "gateway": X, "deduplication_id": "x"},
        frame
        | {"time": "2025-03-04T00:00:10Z", "gateway": "roof-1", "eui": X}
        | {"deduplication_id": second},
        frame | {"time": "2025-03-05T00:00:10Z", "gateway": "roof-2", "device": "E"},
    ]
    with laboratory() as network:
        network.ingest(registry([("roof-2", None, "bert")]))
        network.ingest(load(pd.DataFrame(heard)))
        network.run(complete=True)
        weights = [network.issuance(epoch)["weight"].sum() for epoch in (0, 1)]
        assert weights == [720_720, 0]
