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
    "header": "e85870e169de67a6b1cb4704cd0ffe5ddcda474f280d40f42892417a5f6e490c",
    "app_hash": "ce5f711da2790bb2b2df70fb3f9028b2195ae0574d6c45becd5f3a0ea32edd6f",
    "index": "076b0e9d4359e700264b6ecf34c6ec528cf4fc10c0a43a6e60b86b0f61d921b5",
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
