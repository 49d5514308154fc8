"""Shared fixtures and settings: how hypothesis draws, and what encrypting a key costs.

By default hypothesis draws the same examples each time, so that a run can be repeated.
``HYPOTHESIS_PROFILE=search`` looks for new ones, many more of them. No example is timed: how long
one takes says something about the machine only.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from dii import Network, load
from dii.crypto.keys import save_key
from dii.telemetry.load import Telemetry

pytest.register_assert_rewrite(
    "tests.application",
    "tests.bounds",
    "tests.chains",
    "tests.cli",
    "tests.deployments",
    "tests.ed25519",
    "tests.governance",
    "tests.machine",
    "tests.metrics",
    "tests.pairs",
    "tests.pairs_checks",
    "tests.pairs_machine",
    "tests.replay",
    "tests.soak.chain",
    "tests.walk",
)  # before they are imported

from tests.cli import dii, make
from tests.network import create
from tests.require import SAMPLE
from tests.soak.chain import Undisturbed, shrink

settings.register_profile(
    "repeat",
    derandomize=True,
    deadline=None,
    max_examples=100,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "search", settings.get_profile("repeat"), derandomize=False, max_examples=5000
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeat"))


@pytest.fixture(scope="module", autouse=True)
def quick_keys() -> Iterator[None]:
    """Encrypt new keys at a low cost; ``test_crypto_keys`` keeps the ordinary one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(save_key.__kwdefaults__, "cost", 4)
        yield


@pytest.fixture(scope="module")
def small() -> Iterator[None]:
    """Lower the thresholds, so that a snapshot is always under way."""
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch.setattr)
        yield


@pytest.fixture(scope="module")
def undisturbed(small: None, request: pytest.FixtureRequest) -> Iterator[Undisturbed]:
    """The same chain in memory, a block longer than the ``BLOCKS`` of the test module."""
    chain = Undisturbed()
    chain.reach(request.module.BLOCKS + 1)
    yield chain
    chain.node.close()


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the sample, all epochs settled; tests leave it as it is."""
    folder = make(tmp_path_factory.mktemp("cli") / "home")
    dii("run", "--home", folder)
    return folder


@pytest.fixture(scope="module")
def network(home: Path) -> Iterator[Network]:
    """The same, opened from Python."""
    with Network.open(home, readonly=True) as opened:
        yield opened


@pytest.fixture
def copy(home: Path, tmp_path: Path) -> Path:
    """A home to change."""
    return Path(shutil.copytree(home, tmp_path / "home"))


@pytest.fixture(scope="module")
def top(network: Network) -> str:
    """The gateway that earned most in epoch 2."""
    return str(network.issuance(2)["gateway"].iloc[0])


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to check proofs in, with no home in reach."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("DII_HOME", raising=False)
    return folder


@pytest.fixture(scope="session")
def data() -> Telemetry:
    return load(*SAMPLE)


@pytest.fixture(scope="session")
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
