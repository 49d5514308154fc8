"""Crashes and flipped bits, in small numbers; ``make soak`` runs the same for longer.

Each runs in a process of its own, which forks and has no threads.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.require import ROOT


@pytest.mark.parametrize(
    ("name", "count", "words"),
    [
        ("crashes", 15, ["lines of 1 blocks", "lines of 6 blocks", "no room", "none lost"]),
        ("flips", 150, ["harmless", "named at opening"]),
    ],
    ids=["crashes", "flips"],
)
def test_no_acknowledged_block_is_lost_and_no_balance_is_wrong(name, count, words):
    command = [sys.executable, "-m", "tests.soak", name, str(count)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    for expected in words:
        assert expected in done.stdout
