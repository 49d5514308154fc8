"""The same chain on every machine: hash seeds, accelerators, stack depths, Python versions."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.require import ROOT

GOLDEN = {
    "height": 200,
    "header": "ef1af066b7aeb000ccb3db73b11026875a69bcedd260a2ca358f52bd26b907d1",
    "app_hash": "9887ca545bb9fa0d153b87ad1e4a0d3dc56a5c224de98bb959a3233bff622e26",
    "index": "9afe0dacb091b11712034827c273c0bfdb43cae4b1393151ab68d1285409df2b",
    "transactions": 661,
    "succeeded": 540,
    "receipts": 1422,
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
