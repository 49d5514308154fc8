"""The same chain on every machine: hash seeds, accelerators, stack depths, Python versions."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.require import ROOT

GOLDEN = {
    "height": 192,
    "header": "3a541d91024958845644e68d001622eaada417724c777d307ae3d8d0ae6259aa",
    "app_hash": "fb31d901f329a7ebf0390774f03b1cbb3b9a5f9e6778c5376a9c72ff21f4c063",
    "index": "a352205bb6f2663b66af1c54d2d8962507675bff98dc07b685b2e2b320031163",
    "transactions": 505,
    "succeeded": 444,
    "receipts": 1253,
}
"""What ``tests.replay`` comes to. A change of these is a change of the protocol: chains that run
would split. Before a release they may change with a reason; after one, with a new version only."""


def replay(python: str = sys.executable, frames: int = 0, **environment: str) -> object:
    """Run the replay in a process of its own; return what it prints."""
    command = [python, "-m", "tests.replay", str(frames)]
    run = subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.mark.parametrize("seed", ["0", "1", "random"])
def test_the_chain_does_not_depend_on_the_seed_of_hashes(seed):
    assert replay(PYTHONHASHSEED=seed) == GOLDEN


def test_the_chain_is_the_same_without_the_accelerator():
    assert replay(DII_NO_ACCELERATOR="1") == GOLDEN


def test_the_chain_is_the_same_800_frames_deep():
    assert replay(frames=800) == GOLDEN


def test_the_chain_is_the_same_with_assertions_switched_off():
    assert replay(PYTHONOPTIMIZE="1") == GOLDEN


@pytest.mark.parametrize("version", ["3.12", "3.13"])
def test_the_chain_is_the_same_under_other_pythons(version):
    """Which ones there are depends on the machine, also in CI; ``make interpreters`` finds them."""
    python = ROOT / f".venv-py{version}" / "bin" / "python"
    if not python.exists():
        pytest.skip(f"no Python {version} found by make interpreters")
    assert replay(str(python)) == GOLDEN
