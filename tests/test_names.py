"""Names of gateways: resolution as a pure function, and on a chain over any division into loads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from dii import Network, Telemetry, load
from dii.application import records
from dii.application.actions import DenyGateway
from dii.cli import app
from dii.schema import METRICS, USAGE_GIVEN, Reception, Reject
from dii.telemetry.metrics import Epoch, metrics
from dii.telemetry.names import Pairs, owners, renamed
from dii.telemetry.tables import to_table

IDS = ["ttn:a", "ttn:b", "ttn:c"]
EUIS = [f"AA0000000000000{number}" for number in range(3)]
START = "2025-03-03"
DAYS = 3

# --- the rules ------------------------------------------------------------------------------------

PAIRS = st.lists(
    st.tuples(st.sampled_from(IDS), st.sampled_from(EUIS), st.integers(0, 3), st.integers(1, 3)),
    unique_by=lambda pair: pair[:3],
    max_size=12,
)
BOUND = st.dictionaries(st.sampled_from(IDS + EUIS), st.integers(0, 3))


def reference(
    pairs: Sequence[tuple[str, str, int, int]], bound: Mapping[str, int], epoch: int, name: str
) -> str:
    """Resolve a name by the rules as documented."""

    def records(of: str, eui: str, at: int) -> int:
        return sum(n for one, other, when, n in pairs if (one, other, when) == (of, eui, at))

    def by_id(of: str) -> str:
        stated = [when for one, _, when, _ in pairs if one == of and when <= epoch]
        if of in bound or not stated:
            return of
        first = min(stated)
        eui = min(EUIS, key=lambda one: (-records(of, one, first), one))
        others = [records(one, eui, first) for one in IDS if one != of]
        return eui if eui in bound and max(others) < records(of, eui, first) else of

    if name in IDS or name in bound:
        return by_id(name)
    for at in range(epoch, -1, -1):
        stating = [one for one in IDS if records(one, name, at)]
        if stating:
            return by_id(min(stating, key=lambda one: (-records(one, name, at), one)))
    return name


@given(PAIRS, BOUND, st.integers(0, 3))
def test_names_are_resolved_by_the_rules(
    pairs: list[tuple[str, str, int, int]], bound: dict[str, int], epoch: int
) -> None:
    bound = {name: first for name, first in bound.items() if first <= epoch}
    found = Pairs.of(pairs).resolve(bound, epoch)
    for name in IDS + EUIS:
        assert found.get(name, name) == reference(pairs, bound, epoch, name)


LISTED = st.lists(st.tuples(st.sampled_from(IDS + EUIS), st.sampled_from(EUIS)), max_size=4)


@given(PAIRS, LISTED, BOUND, st.integers(0, 3))
def test_a_name_that_is_bound_stands_for_itself_whatever_is_stated(
    pairs: list[tuple[str, str, int, int]],
    listed: list[tuple[str, str]],
    bound: dict[str, int],
    epoch: int,
) -> None:
    listed = [(name, eui) for name, eui in listed if name != eui]
    bound = {name: first for name, first in bound.items() if first <= epoch}
    found = Pairs.of(pairs, listed).resolve(bound, epoch)
    assert found.keys().isdisjoint(bound)
    assert found.keys().isdisjoint(found.values()), "a resolved name stands for itself"
    later = [pair for pair in pairs if pair[2] > epoch]
    earlier = [pair for pair in pairs if pair[2] <= epoch]
    assert Pairs.of(earlier, listed).resolve(bound, epoch) == found
    assert Pairs.of(later + earlier, reversed(listed)).resolve(bound, epoch) == found


def test_a_registry_counts_where_no_record_states_a_pair_and_takes_no_bound_gateway() -> None:
    (a, b, _), (x, y, _) = IDS, EUIS
    listed = Pairs.of([], [(a, x)])
    assert listed.resolve({}, 0) == {x: a}
    assert listed.resolve({a: 0}, 0) == {x: a}
    assert listed.resolve({x: 0}, 0) == {a: x}
    assert listed.resolve({a: 0, x: 0}, 0) == {}
    assert Pairs.of([(b, x, 0, 1)], [(a, x)]).resolve({}, 0) == {x: b}
    assert Pairs.of([(b, x, 1, 1)], [(a, x)]).resolve({}, 0) == {x: a}
    # A stranger's entry comes after the one that was bound first.
    assert Pairs.of([], [(a, x), (b, x)]).resolve({b: 0, a: 1}, 1) == {x: b}
    assert Pairs.of([], [(a, x), (a, y)]).resolve({y: 0, x: 1}, 1) == {a: y}


@given(st.dictionaries(st.sampled_from(IDS + EUIS), st.sampled_from(["ann", "ben"])))
def test_a_gateways_operator_is_the_one_of_its_resolved_name_first(named: dict[str, str]) -> None:
    names = {EUIS[0]: IDS[0], EUIS[1]: IDS[0]}
    expected = named.get(IDS[0], named.get(EUIS[0], named.get(EUIS[1])))
    assert owners(named, names).get(IDS[0]) == expected


# --- metrics --------------------------------------------------------------------------------------

STARTED = 1_741_046_400_000_000
"""2025-03-04."""
HOUR = 3_600_000_000
GIVES = frozenset(METRICS) - {"own_uplinks"} | USAGE_GIVEN.keys()
NAMES = st.sampled_from(IDS[:2] + EUIS[:2])
TIMES = st.integers(0, 30).map(lambda hours: STARTED + hours * HOUR)
HEARD = st.lists(
    st.tuples(
        TIMES,
        st.none() | NAMES,
        st.sampled_from(["data", "join", "downlink"]),
        st.sampled_from(["D", "E"]),
        st.sampled_from([None, "water"]),
        st.integers(0, 3),
        st.booleans(),
    ).map(
        lambda one: Reception(
            *one[:2], kind=one[2], device=one[3], application=one[4], f_cnt=one[5],
            size=9, airtime=61_696, delivered=one[6],
        )
    ),
    max_size=20,
)  # fmt: skip
POLLS = st.lists(
    st.tuples(TIMES, NAMES, st.sampled_from([1, HOUR]), st.sampled_from([None, 0, 5]), st.none()),
    max_size=6,
)
ASIDE = st.lists(
    st.tuples(NAMES, TIMES).map(lambda one: Reject("f", 1, "simulated", None, *one)), max_size=3
)
MAPPINGS = st.sampled_from(
    [{}, {EUIS[0]: IDS[0]}, {EUIS[0]: IDS[0], EUIS[1]: IDS[0]}, {IDS[0]: EUIS[0], EUIS[1]: IDS[1]}]
)


@settings(max_examples=10)
@given(HEARD, POLLS, ASIDE, MAPPINGS)
def test_several_names_of_a_gateway_are_one_row_and_one_player(
    heard: list[Reception],
    polls: list[tuple[object, ...]],
    aside: list[Reject],
    names: dict[str, str],
) -> None:
    tables = to_table("receptions", heard), to_table("statuses", polls)
    rejects = to_table("rejects", aside)
    owned = {names.get(IDS[0], IDS[0]): "ann", names.get(EUIS[1], EUIS[1]): "ben"}

    def counted(
        tables: Iterable[pa.Table], rejects: pa.Table, names: Mapping[str, str] | None
    ) -> Epoch:
        return metrics(
            *tables, rejects=rejects, names=names, operators=owned, gateways=["ttn:silent"],
            applications={}, start=STARTED, length=24 * HOUR, gives=GIVES,
        )  # fmt: skip

    found = counted(tables, rejects, names)
    same = counted([renamed(one, names) for one in tables], renamed(rejects, names), None)
    assert found.metrics == same.metrics
    assert found.usage == same.usage
    assert found.excluded == same.excluded
    # The look-back is the same whatever names stand for, so that they can be resolved anew.
    assert found.lookback.to_bytes() == counted(tables, rejects, None).lookback.to_bytes()


# --- on a chain -----------------------------------------------------------------------------------

Record = tuple[int, int, str, str | None]
"""Day, number, stated name and the EUI beside it."""


def table(records: Sequence[Record]) -> Telemetry:
    """Load receptions; each is an uplink of its own."""
    rows = [
        {
            "time": f"2025-03-{3 + day:02d}T{6 + number // 60:02d}:{number % 60:02d}:00Z",
            "gateway": name,
            "eui": eui,
            "device": "D",
            "f_cnt": 1_000 * day + number,
            "delivered": True,
        }
        for day, number, name, eui in records
    ]
    return load(
        pd.DataFrame(rows, columns=["time", "gateway", "eui", "device", "f_cnt", "delivered"])
    )


def registry(entries: Sequence[tuple[str, str | None, str]]) -> Telemetry:
    """Load a registry of (name, EUI beside it, operator)."""
    return load(pd.DataFrame(entries, columns=["gateway", "eui", "operator"]))


def laboratory() -> Network:
    allocations = dict.fromkeys(("anna", "dora"), "5 TTC")
    return Network.create(seed=7, start=START, allocations=allocations)


END = (DAYS, 0, "ttn:end", None)
"""A record after all days, so that they are complete."""


def paid(network: Network) -> list[tuple[object, ...]]:
    """Return the receipts of all days: hashes, owners and amounts."""
    query = "SELECT epoch, gateway, leaf FROM receipts WHERE epoch < ? ORDER BY epoch, position"
    return list(network.view.index.query(query, (DAYS,)))


def settle(loads: Sequence[Telemetry], *, daily: bool = False) -> list[tuple[object, ...]]:
    """Return all payments after all loads, with a run after each load or only after the last."""
    with laboratory() as network:
        for number, data in enumerate(loads):
            network.ingest(data)
            if daily and network.sealed and number < len(loads) - 1:
                network.run(min(number - 1, 1))
        network.run()
        return paid(network)


RECORDS = st.lists(
    st.tuples(
        st.integers(0, DAYS - 1),
        st.integers(0, 30),
        st.sampled_from(IDS[:2] + EUIS[:2]),
        st.sampled_from([None, *EUIS[:2]]),
    ).map(lambda one: one if one[2] in IDS and one[2] != one[3] else (*one[:3], None)),
    min_size=1,
    max_size=12,
    unique_by=lambda one: one[:2],
)
NAMED = st.lists(
    st.tuples(
        st.sampled_from(IDS[:2] + EUIS[:2]), st.none(), st.sampled_from(["ann", "ben", "carl"])
    ),
    max_size=3,
    unique_by=lambda one: one[0],
)


@settings(max_examples=10)
@given(RECORDS, NAMED, st.lists(st.integers(0, 3), min_size=16, max_size=16))
def test_owners_and_amounts_are_the_same_over_any_division_into_loads(
    records: list[Record], named: list[tuple[str, None, str]], division: list[int]
) -> None:
    whole = settle([registry(named) + table(records), table([END])])
    parts = [table([one for one, at in zip(records, division) if at == part]) for part in range(4)]
    owned = registry(named)
    loads = [part for part in parts if len(part.receptions)]
    place = division[-1] % (len(loads) + 1)
    assert settle([*loads[:place], owned, *loads[place:], table([END])]) == whole


@settings(max_examples=10)
@given(RECORDS, NAMED)
def test_a_reporter_that_loads_everything_at_once_equals_one_that_loaded_daily(
    records: list[Record], named: list[tuple[str, None, str]]
) -> None:
    days = [
        [(day, 59, "ttn:c", None), *(one for one in records if one[0] == day)]
        for day in range(DAYS)
    ]
    whole = settle([registry(named), table([*chain.from_iterable(days), END])])
    daily = [table(day) for day in days]
    assert settle([registry(named), *daily, table([END])], daily=True) == whole


def uplinks(path: Path, day: int, heard: Sequence[tuple[str | None, str | None]]) -> Path:
    """Write uplinks of The Things Stack: one for each (gateway id, EUI)."""
    lines = []
    for number, (identifier, eui) in enumerate(heard):
        time = f"2025-03-{3 + day:02d}T06:{number:02d}:00Z"
        ids = {"gateway_id": identifier, "eui": eui}
        ids = {key: value for key, value in ids.items() if value}
        settings_ = {"data_rate": {"lora": {"bandwidth": 125000, "spreading_factor": 9}}}
        message = {"f_port": 1, "f_cnt": 100 * day + number, "frm_payload": "AQI=",
                   "rx_metadata": [{"gateway_ids": ids, "rssi": -90, "snr": 5}],
                   "settings": settings_, "received_at": time}  # fmt: skip
        device = {
            "device_id": "m",
            "application_ids": {"application_id": "water"},
            "dev_eui": "70B3D57ED0000001",
        }
        lines.append(
            json.dumps({"end_device_ids": device, "received_at": time, "uplink_message": message})
        )
    path.write_text("\n".join(lines))
    return path


def operators(network: Network, epoch: int) -> dict[str, str]:
    rows = network.issuance(epoch)
    return dict(zip(rows["gateway"], rows["operator"]))


X, Y = "AA555A0000000001", "AA555A00000000F1"


def test_owners_and_statuses_of_a_gateway_stay_when_a_further_name_becomes_known(
    tmp_path: Path,
) -> None:
    with laboratory() as network:
        network.ingest(registry([("roof-1", None, "anna"), ("roof-2", None, "bert")]))
        network.ingest(load(uplinks(tmp_path / "1", 0, [("roof-1", None), ("roof-2", None)] * 3)))
        network.assign("roof-1", "anna", "dora")
        network.run(complete=True)
        # A registry that knows the EUI, and a stranger's, name owners anew; a status has the EUI.
        stranger = registry([("roof-1", X, "anna"), (X, None, "mallory"), ("evil", X, "mallory")])
        polls = pd.DataFrame(
            {"time": ["2025-03-04T08:00:00Z"], "gateway": [X], "covers": [60_000_000]}
        )
        told = network.ingest(
            load(uplinks(tmp_path / "2", 1, [("roof-1", X), ("roof-2", None)] * 3))
            + stranger
            + load(polls)
        )
        assert set(told) == {"ttn:roof-1", X}
        network.ingest(load(uplinks(tmp_path / "3", 2, [("roof-1", Y), (None, X), ("roof-1", Y)])))
        network.ingest(load(uplinks(tmp_path / "4", 3, [("roof-2", None)])))
        network.run()
        for epoch in (1, 2):
            assert operators(network, epoch)["ttn:roof-1"] == "dora"
            assert X not in operators(network, epoch)
            receipts = [network.receipt(name, epoch) for name in ("roof-1", X.lower(), Y)]
            assert len({receipt.leaf for receipt in receipts}) == 1
        assert operators(network, 1)["ttn:evil"] == "mallory"
        assert network.issuance(1).set_index("gateway")["weight"]["ttn:evil"] == 0
        assert network.feed is not None
        assert f"ttn:roof-1 states the EUIs {X}, {Y}" in network.feed.telemetry.ambiguous()
        assert network.gateway(Y) == network.home.hash("gateway", "ttn:roof-1")
        network.assign(Y, "dora", "anna")
        assert X not in set(network.gateways()["gateway"])
        network.verify()


@pytest.mark.parametrize(
    ("denied", "other"), [((None, X), ("roof-1", X)), (("roof-1", X), (None, X))]
)
def test_a_gateway_without_an_owner_does_not_escape_a_denial_by_a_further_name(
    denied: tuple[str | None, str], other: tuple[str | None, str], tmp_path: Path
) -> None:
    governance = {"delay_seconds": 0}
    with Network.create(seed=7, start=START, governance=governance) as network:
        network.ingest(registry([("roof-2", None, "bert")]))
        network.ingest(load(uplinks(tmp_path / "1", 0, [denied, ("roof-2", None)])))
        gateway = network.gateway(denied[0] or X)
        network.vote(network.propose(DenyGateway("main", gateway, bytes(32), 100)))
        network.run(complete=True)
        network.ingest(registry([(other[0] or X, X if other[0] else None, "anna")]))
        for day in (1, 2):
            network.ingest(load(uplinks(tmp_path / "2", day, [other, ("roof-2", None)])))
            network.run(complete=True)
            amounts = network.issuance(day).groupby("operator")["amount_uttc"].sum()
            assert amounts.to_dict() == {"anna": 0, "bert": 10_000_000_000}
        assert network.records(2).denied <= set(network.issuance(2)["gateway"])


WATCH = """
watched: Gateway

def init(gateway: Gateway):
    watched = gateway

@view
def owned() -> bool:
    return bound(watched, epoch)

@view
def uplinks(of: int) -> int:
    return metrics(watched, of).uplinks
"""


@pytest.mark.parametrize(
    ("agreed", "other"), [((None, X), ("roof-1", X)), (("roof-1", X), (None, X))]
)
def test_a_contract_keeps_a_gateway_without_an_owner_when_a_further_name_gets_one(
    agreed: tuple[str | None, str], other: tuple[str | None, str], tmp_path: Path
) -> None:
    with laboratory() as network:
        network.ingest(registry([("roof-2", None, "bert")]))
        network.ingest(load(uplinks(tmp_path / "1", 0, [agreed, ("roof-2", None)])))
        deal = network.deploy(WATCH, by="anna", gateway=agreed[0] or X)
        assert not deal.view("owned")
        network.run(complete=True)
        network.ingest(registry([(other[0] or X, X if other[0] else None, "dora")]))
        for day in (1, 2):
            network.ingest(load(uplinks(tmp_path / "2", day, [other, ("roof-2", None)])))
            network.run(complete=True)
            assert deal.view("owned")
            assert deal.view("uplinks", of=day) == 1
            assert sorted(operators(network, day).values()) == ["bert", "dora"]
        before = network.gateway(X)
        # Once the gateway is bound, no contract parts its names.
        late = f"ttn:{other[0]}" if other[0] else X
        named = "0x" + network.home.hash("gateway", late).hex()
        network.deploy(WATCH, by="anna", gateway=named)
        assert network.gateway(X) == network.gateway("roof-1") == before
        network.verify()


def test_a_settled_epoch_keeps_its_names_whatever_registry_comes_later(tmp_path: Path) -> None:
    with laboratory() as network:
        network.ingest(registry([("roof-2", None, "bert")]))
        heard = [(None, X), ("roof-2", None)]
        network.ingest(load(uplinks(tmp_path / "1", 0, heard), uplinks(tmp_path / "2", 1, heard)))
        network.run()
        before, receipt = network.metrics(0), network.receipt(X, 0)
        network.ingest(registry([("roof-1", X, "anna")]))
        network.run(complete=True)
        assert operators(network, 0) == {X: "treasury", "ttn:roof-2": "bert"}
        assert operators(network, 1)["ttn:roof-1"] == "anna"
        assert network.receipt(X, 0).leaf == receipt.leaf
        assert network.receipt(X, 1).leaf == network.receipt("roof-1", 1).leaf
        found = network.metrics(0).to_pylist()
        assert [row for row in found if row["gateway"] != "ttn:roof-1"] == before.to_pylist()


def test_an_owner_by_eui_stays_when_hardware_is_swapped_between_ids(tmp_path: Path) -> None:
    with laboratory() as network:
        network.ingest(registry([(X, None, "anna"), ("roof-2", None, "bert")]))
        network.ingest(load(uplinks(tmp_path / "1", 0, [(None, X), ("roof-2", None)] * 3)))
        network.run(complete=True)
        network.ingest(load(uplinks(tmp_path / "2", 1, [("roof-1", X)] * 3 + [("roof-2", None)])))
        network.run(complete=True)
        # New hardware for roof-1; bert carries on with the old one.
        network.ingest(load(uplinks(tmp_path / "3", 2, [("roof-1", Y)] * 3 + [("roof-2", X)] * 3)))
        network.ingest(load(uplinks(tmp_path / "4", 3, [("roof-2", X)])))
        network.run()
        for epoch in range(3):
            assert operators(network, epoch) == {X: "anna", "ttn:roof-2": "bert"}
        assert set(network.issuance(2)["weight"]) == {3 * 720_720}


def test_a_gateway_stands_where_its_resolved_name_does_else_another_of_its_names() -> None:
    heard = [
        {"time": f"2025-03-03T06:0{minute}:00Z", "gateway": name, "eui": eui, "device": "D",
         "f_cnt": minute, "delivered": True}
        for minute in range(3)
        for name, eui in (("roof-1", X), ("roof-2", None), ("roof-3", None))
    ]  # fmt: skip
    places = [
        ("roof-1", "anna", None, None), (X, None, 52.0, 5.0),
        ("roof-2", "bert", 52.0, 5.0), ("roof-3", "carl", 53.0, 5.0),
    ]  # fmt: skip
    columns = ["gateway", "operator", "latitude", "longitude"]
    data = load(pd.DataFrame(heard)) + load(pd.DataFrame(places, columns=columns))
    with Network.create(seed=7, start=START, site_radius_m=100) as network:
        network.ingest(data)
        network.run(complete=True)
        weights = network.issuance(0).set_index("gateway")["weight"]
        assert weights["ttn:roof-3"] == 3 * 720_720 // 2, "the two others are one player"


def test_registries_that_disagree_before_anything_is_bound_are_told(tmp_path: Path) -> None:
    for number, owner in enumerate(["anna", "bert"]):
        (tmp_path / f"{number}.csv").write_text(f"gateway,operator\nroof-1,{owner}\n")
    one, other = load(tmp_path / "0.csv"), load(tmp_path / "1.csv")
    assert one.ambiguous() == []
    said = ["ttn:roof-1 is given to the operators anna, bert"]
    assert (one + other).ambiguous() == (other + one).ambiguous() == said


def test_the_command_line_tells_what_is_contested_or_ambiguous(tmp_path: Path) -> None:
    def dii(*arguments: str) -> str:
        done = CliRunner().invoke(app, [*arguments, "--home", str(tmp_path / "home")])
        assert done.exit_code == 0, done.output
        return done.output

    def entries(name: str, owner: str) -> str:
        (tmp_path / name).write_text(f"gateway,operator\nroof-1,{owner}\n")
        return str(tmp_path / name)

    first = str(uplinks(tmp_path / "1.jsonl", 0, [("roof-1", X)] * 3))
    swapped = str(uplinks(tmp_path / "2.jsonl", 1, [("roof-1", Y)] * 3))
    dii("init", "--seed", "7")
    assert "contested" not in dii("load", entries("anna.csv", "anna"), first)
    dii("run", "--complete")
    told = dii("load", swapped, entries("mallory.csv", "mallory"))
    contested = "1 with another owner on the chain than named here (ttn:roof-1)"
    assert contested in told
    assert f"ttn:roof-1 states the EUIs {X}, {Y}" in told
    assert "ttn:roof-1 is given to the operators anna, mallory" in told
    again = dii("run", "--complete", "--registry", entries("mallory.csv", "mallory"))
    assert contested in again
    assert f"ttn:roof-1 states the EUIs {X}, {Y}" in again
    assert "anna" in dii("show", "gateway", Y.lower())


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

        full = SimpleNamespace(items=items, get=state.get, require=state.require)
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


def test_an_id_that_cannot_be_read_leaves_the_gateway_of_the_eui_beside_it(tmp_path: Path) -> None:
    path = uplinks(tmp_path / "1", 0, [("roof-1", X), ("roof-1", None)])
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        line["uplink_message"]["rx_metadata"][0]["gateway_ids"]["gateway_id"] = 7
    path.write_text("\n".join(map(json.dumps, lines)))
    data = load(path)
    assert data.receptions["gateway"].to_pylist() == [X]
    assert data.rejected["reason"].to_pylist() == ["unread_field", "bad_field"]
