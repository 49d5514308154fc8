"""Networks that cannot be made, and homes that are damaged or incomplete."""

from __future__ import annotations

import shutil
from contextlib import suppress

import pytest

from dii import Network, files, load, minting
from dii.errors import (
    BadAmount,
    BadName,
    GenesisError,
    HomeBroken,
    HomeExists,
    HomeMissing,
    NoTelemetry,
    NothingToCompare,
    NotSealed,
    RuleNotFed,
)
from dii.network import home
from tests.network import create
from tests.require import SAMPLE


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
def test_an_invalid_network_is_refused_and_nothing_is_written(tmp_path, changes, error, words):
    home = tmp_path / "home"
    with pytest.raises(error, match=words):
        Network.create(**{"name": "ttn", "seed": 7, "home": home} | changes)
    assert not home.exists()


def test_a_rule_whose_metric_the_data_do_not_give_is_refused_naming_it():
    with create(start=None) as network:
        network.home.draft["streams"][0]["rule"] = {"name": "Uptime"}
        with pytest.raises(RuleNotFed, match=r"needs online_ppm.*--rule ShapleyTraffic or Airtime"):
            network.ingest(load(SAMPLE[0], SAMPLE[1]))


def test_questions_about_records_say_that_they_are_gone_or_have_no_such_epoch(tmp_path):
    with create(home=tmp_path / "home") as network:
        network.ingest(load(*SAMPLE))
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
    """Interrupt at each written file; the remains are never a home that cannot go on."""
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
            network.ingest(load(*SAMPLE[:2]))
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
        rows = {bytes([number]) * 20: "x" * 1_000 for number in range(200)}
        with pytest.raises(HomeBroken, match="full: is there room on its disk"):
            network.home.remember("account", rows)


def test_a_home_holds_one_network(tmp_path):
    create(tmp_path / "home").close()
    with pytest.raises(HomeExists):
        create(tmp_path / "home")
