"""Networks whose validators are simulated: the same results as alone, whatever goes wrong."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from dii import Network, agreements
from dii.application.governance import powers
from dii.consensus.light import light_blocks, verify_light
from dii.consensus.node import Node
from dii.errors import BlockInvalid, GenesisError, NoProgress, Refused
from dii.minting import FixedEmission
from dii.network import snapshot
from dii.network.home import Home
from dii.telemetry.load import Telemetry
from dii.testing import Behaviour, Crash, Faults, Partition
from dii.testing.simulator import Replica, Simulation
from dii.units import SECOND
from tests.network import create

FAULTS = Faults(
    loss=0.1,
    duplicate=0.1,
    partitions=[Partition(3, 9, ((0, 1, 2), (3, 4, 5, 6)))],
    crashes=[Crash(1, 5.0), Crash(2, write=40)],
    byzantine={3: Behaviour.EQUIVOCATE, 5: [Behaviour.LIE_ABOUT_TIME, Behaviour.REPLAY]},
)


def story(data: Telemetry, **options: Any) -> Network:
    """Run some epochs with an agreement, a decision, and money that moves."""
    net = create(governance={"delay_seconds": 5}, **options)
    net.ingest(data)
    net.run(epochs=1)
    net.deploy(
        agreements.UptimeAgreement,
        by="bob",
        value="100 TTC",
        gateway="ttn:gateway-14",
        online_ppm=950_000,
        epochs=3,
    )
    number = net.propose(net.stream_change("main", policy=FixedEmission("5000 TTC")))
    voters = net.home.signers([*powers(net.state)])
    for voter in voters[: 2 * len(voters) // 3 + 1]:
        net.vote(number, by=voter)
    # Between two epochs: at an epoch's first instant a second decides from which one it acts.
    for _ in range(6):
        net.transfer("bob", "treasury", "3 TTC")
    with pytest.raises(Refused, match="has"):
        net.transfer("bob", "treasury", "10000 TTC")
    return net.run(epochs=4)


def results(net: Network) -> dict[str, pd.DataFrame]:
    """Return what does not depend on the engine: no heights, times of blocks or roots."""
    drop = ["height", "time", "settled", "deployed", "acts", "expires", "hash", "app_hash"]
    accounts = net.accounts()
    tables = {
        "accounts": accounts[~accounts["account"].str.startswith("validator")],
        "gateways": net.gateways(),
        "epochs": net.epochs(),
        "transfers": net.transfers(),
        "contracts": net.contracts(),
        "agreement": net.contract(net.contracts()["contract"][0]).events(),
        **{f"issuance {epoch}": net.issuance(epoch) for epoch in range(net.settled)},
    }
    return {
        name: table.drop(columns=drop, errors="ignore").reset_index(drop=True)
        for name, table in tables.items()
    }


@pytest.fixture(scope="module")
def alone(data: Telemetry) -> dict[str, pd.DataFrame]:
    with story(data) as net:
        return results(net)


@pytest.mark.parametrize(
    "options",
    [{"faults": Faults()}, {"validators": 4}, {"validators": 7, "faults": FAULTS}],
    ids=["one", "four", "seven with faults"],
)
def test_simulated_validators_give_what_one_process_gives(
    data: Telemetry, alone: dict[str, pd.DataFrame], options: dict[str, Any]
):
    with story(data, **options) as net:
        for name, table in results(net).items():
            pd.testing.assert_frame_equal(table, alone[name], obj=name)
        assert net.verify().height == net.height
        net.receipt("ttn:gateway-14", 2).verify(net.header().hash)
        (row,) = net.proposals().to_dict("records")
        assert row["status"] == "enacted"


def test_a_simulated_network_is_the_same_again(data: Telemetry):
    runs = []
    for _ in range(2):
        with create(validators=4, faults=Faults(loss=0.2)) as net:
            net.ingest(data)
            net.run(epochs=2)
            runs.append((net.header(), net.messages(), net.rounds(), net.theatre(1, net.height)))
    assert runs[0][0] == runs[1][0]
    pd.testing.assert_frame_equal(runs[0][1], runs[1][1])
    pd.testing.assert_frame_equal(runs[0][2], runs[1][2])
    assert runs[0][3] == runs[1][3]


def test_tables_of_consensus_show_rounds_votes_messages_and_evidence(data: Telemetry):
    with create(validators=7, faults=FAULTS) as net:
        net.ingest(data)
        net.run(epochs=1)
        rounds, votes = net.rounds(), net.votes()
        assert rounds.groupby("height")["decided"].any().loc[: net.height].all()
        assert rounds["round"].max() > 0  # the partition
        assert set(votes["kind"]) == {"prevote", "precommit"}
        decided = rounds[rounds["decided"]].iloc[0]
        cast = votes[(votes["height"] == decided["height"]) & (votes["kind"] == "precommit")]
        cast = cast[(cast["round"] == decided["round"]) & cast["value"].notna()]
        assert decided["precommits"] == cast["validator"].nunique() >= 5
        messages = net.messages()
        assert 0.05 < messages["lost"].mean() < 0.5
        assert net.evidence()["validator"].tolist() == ["validator-4"]
        steps = net.theatre(1, 1)
        assert {step.height for step in steps} == {1}
        assert any(step.locked for step in steps)


def test_a_network_alone_has_empty_tables_of_consensus(net: Network):
    for table in (net.rounds(), net.votes(), net.messages(), net.evidence()):
        assert table.empty
        assert len(table.columns) > 2
    assert net.theatre(1, 9) == []


def test_tables_of_consensus_are_empty_where_no_validators_were_simulated(tmp_path: Path):
    create(tmp_path, start="2018-04-21").close()
    for readonly in (False, True):
        with Network.open(tmp_path, readonly=readonly) as net:
            for table in (net.rounds(), net.votes(), net.messages(), net.evidence()):
                assert table.empty


def test_a_home_of_simulated_validators_opens_again_to_look_only(data: Telemetry, tmp_path: Path):
    with create(tmp_path, validators=4) as net:
        net.ingest(data)
        net.run(epochs=2)
        header, rounds, steps = net.header(), net.rounds(), net.theatre(1, 3)
    with Network.open(tmp_path) as again:
        assert again.header() == header
        assert again.theatre(1, 3) == steps
        pd.testing.assert_frame_equal(again.rounds(), rounds)
        assert again.verify().height >= header.height
        with pytest.raises(Refused, match="look only"):
            again.transfer("bob", "treasury", 1)


def test_a_home_of_simulated_validators_takes_no_first_telemetry_later(
    data: Telemetry, tmp_path: Path
):
    create(tmp_path, validators=4).close()
    before = {path.name for path in tmp_path.iterdir()}
    with Network.open(tmp_path) as net, pytest.raises(Refused, match="look only"):
        net.ingest(data)
    assert {path.name for path in tmp_path.iterdir()} == before


def test_a_snapshot_of_simulated_validators_can_be_joined(data: Telemetry, tmp_path: Path):
    with create(validators=7, faults=FAULTS) as net:
        net.ingest(data)
        net.run(epochs=1)
        snapshot.export(net, tmp_path / "folder")
        header, state = net.header(), net.state
        snapshot.join(tmp_path / "folder", header.hash, tmp_path / "home")
        with Network.open(tmp_path / "home") as joined:
            assert (joined.header(), joined.state.committed_root) == (header, state.committed_root)
            assert joined.verify().height == header.height
            assert joined.rounds().empty


@pytest.mark.parametrize("validators", [1, 4])
def test_a_creation_that_was_interrupted_can_be_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, validators: int
):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Home, "key", interrupted)
        with pytest.raises(KeyboardInterrupt):
            create(tmp_path, validators=4)
    with create(tmp_path, validators=validators, start="2018-04-21") as net:
        net.transfer("bob", "treasury", "1 TTC")
        assert net.rounds().empty == (validators == 1)
        header = net.header()
    with Network.open(tmp_path, readonly=True) as again:
        assert again.header() == header
        assert again.rounds().empty == (validators == 1)


@pytest.mark.parametrize(
    ("place", "name", "calls"),
    [(Node, "execute", (1, 3, 8)), (Replica, "receive", (5, 50, 111)), (Replica, "_execute", (2,))],
    ids=lambda it: getattr(it, "__name__", str(it)),
)
def test_a_simulated_run_that_is_interrupted_goes_on_whole(
    data: Telemetry,
    monkeypatch: pytest.MonkeyPatch,
    place: type,
    name: str,
    calls: tuple[int, ...],
):
    """Ctrl-C in the middle of an event, and before the transactions that wait are in a block."""
    with (
        create(validators=4, faults=Faults(loss=0.1)) as whole,
        create(validators=4, faults=Faults(loss=0.1)) as net,
    ):
        for one in (whole, net):
            one.ingest(data)
        once, left = getattr(place, name), list(range(1, max(calls) + 1))

        def interrupting(*arguments: Any, **more: Any) -> Any:
            if left and left.pop(0) in calls:
                signal.raise_signal(signal.SIGINT)
            return once(*arguments, **more)

        monkeypatch.setattr(place, name, interrupting)
        for _ in calls:
            with pytest.raises(KeyboardInterrupt):
                net.run(epochs=2 - net.settled)
        monkeypatch.undo()
        net.run(epochs=2 - net.settled)
        whole.run(epochs=2)
        assert net.verify().height == net.height
        for epoch in range(2):
            assert net.issuance(epoch).equals(whole.issuance(epoch))


def test_a_transaction_that_nobody_waits_for_any_more_is_withdrawn(
    monkeypatch: pytest.MonkeyPatch,
):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with create(validators=4, start="2018-04-21") as net:
        with monkeypatch.context() as patched:
            patched.setattr(Simulation, "until", interrupted)
            with pytest.raises(KeyboardInterrupt):
                net.transfer("bob", "treasury", "1 TTC")
        net.transfer("bob", "treasury", "2 TTC")
        assert net.transfers()["amount_uttc"].tolist() == [2_000_000]


def test_validators_that_cannot_decide_are_named_with_the_power_that_answers(data: Telemetry):
    apart = Partition(2, 1e9, ((0, 1), (2, 3)))
    with create(validators=4, faults=Faults(partitions=[apart])) as net:
        net.ingest(data)
        with pytest.raises(NoProgress, match=r"2 of 4 voting power answers.*\(2 parted\)"):
            net.run()


@pytest.mark.parametrize("options", [{"validators": 4}, {"faults": Faults()}])
def test_simulated_validators_need_a_seed(tmp_path: Path, options: dict[str, Any]):
    with pytest.raises(GenesisError, match="seed"):
        Network.create(home=tmp_path, **options)


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        (Faults(crashes=[Crash(4, at=1.0)]), "no validator 4; they are numbered from 0 to 3"),
        (Faults(byzantine={-1: Behaviour.INVALID}), "no validator -1"),
        (Faults(partitions=[Partition(1, 2, ((0, 1), (2, 9)))]), "no validator 9"),
        (Faults(loss=-0.1), "between 0 and 1"),
        (Faults(duplicate=1.1), "between 0 and 1"),
        (Faults(delay=(0.2, 0.1)), "the longest delay"),
        (Faults(delay=(-0.1, 0.1)), "the longest delay"),
        (Faults(crashes=[Crash(0)]), "either a time or a write"),
        (Faults(crashes=[Crash(0, at=1.0, write=2)]), "either a time or a write"),
    ],
)
def test_impossible_faults_are_refused(faults: Faults, words: str):
    with pytest.raises(GenesisError, match=words):
        Network.create(seed=7, validators=4, faults=faults)
    with pytest.raises(ValueError, match=words):
        Simulation(lambda _: pytest.fail("nothing runs"), [1] * 4, faults=faults, seed=7)


@pytest.mark.parametrize("count", [0, 129])
def test_a_network_has_from_1_to_128_validators(count: int):
    with pytest.raises(GenesisError, match="validators"):
        Network.create(seed=7, validators=count)


# --- light verification --------------------------------------------------------------------------


def test_light_verification_reaches_the_header_under_which_receipts_hold(data: Telemetry):
    with create(validators=7, faults=FAULTS) as net:
        net.ingest(data)
        net.run(epochs=2)
        blocks = list(light_blocks(net.view.store, 1))
        now, trusted = net.header().time + SECOND, blocks[1].header.hash
        *_, last = verify_light(trusted, blocks[1:], now=now, period=30 * 86_400 * SECOND)
        assert last == net.header()
        assert len({tuple(block.validators) for block in blocks}) == 2  # one was removed
        net.receipt("ttn:gateway-14", 1).verify(last.hash)
        for changed, message in (
            (blocks[2:], "not the trusted header"),
            ([blocks[1], *blocks[3:]], "does not follow"),
            (
                [blocks[1], blocks[2]._replace(commit=blocks[2].commit[:3])],
                "of voting power|signatures",
            ),
            ([blocks[1], blocks[2]._replace(validators={b"k" * 32: 1})], "validators"),
        ):
            with pytest.raises(BlockInvalid, match=message):
                list(verify_light(trusted, changed, now=now, period=10**18))
        with pytest.raises(BlockInvalid, match="older than the trusting period"):
            list(verify_light(trusted, blocks[1:], now=now, period=SECOND))
