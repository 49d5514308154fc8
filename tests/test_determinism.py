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
    "header": "788d25ac948fd6b2fc3ace0b03d352ac50e383aab587e480ce342dec754538cc",
    "app_hash": "88ee8c8fed92efa3f9e1be852a731575fb039daf51c2e02cc20397b0ff10d3bc",
    "index": "03fbae5e791637947d126a4796add15ee4c2313d756ae68258d515bc9356972b",
    "index_without_texts": "3bae62fb6780fec57d5e94c5604e3a89942090c3b4f64c85674dced340789868",
    "transactions": 505,
    "succeeded": 443,
    "receipts": 1253,
}
"""Result of ``tests.replay``. A change of these is a change of the protocol: chains that run
would split. Before a release they may change with a reason; after one, with a new version only.
Texts of errors are in ``index`` only; ``index_without_texts`` is without ``detail``, ``details``.
"""


def replay(python: str = sys.executable, frames: int = 0, **environment: str) -> object:
    """Run the replay in a process of its own; return its output."""
    command = [python, "-m", "tests.replay", str(frames)]
    run = subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


# Each of these runs has another seed of hashes.


def test_the_chain_does_not_depend_on_the_seed_of_hashes():
    assert replay(PYTHONHASHSEED="0") == GOLDEN


def test_the_chain_is_the_same_without_the_accelerator():
    assert replay(DII_NO_ACCELERATOR="1", PYTHONHASHSEED="1") == GOLDEN


def test_the_chain_is_the_same_800_frames_deep():
    assert replay(frames=800, PYTHONHASHSEED="random") == GOLDEN


def test_the_chain_is_the_same_with_assertions_switched_off():
    assert replay(PYTHONOPTIMIZE="1", PYTHONHASHSEED="2") == GOLDEN


@pytest.mark.parametrize("version", ["3.12", "3.13"])
def test_the_chain_is_the_same_under_other_pythons(version):
    """The Pythons found depend on the machine, also in CI; ``make interpreters`` finds them."""
    python = ROOT / f".venv-py{version}" / "bin" / "python"
    if not python.exists():
        pytest.skip(f"no Python {version} found by make interpreters")
    assert replay(str(python)) == GOLDEN
