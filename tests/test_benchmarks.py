"""Tests that benchmarks print what they measured."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks import report
from tests.benchmarks.peers.memory import peak_mb
from tests.require import ROOT


def test_a_peak_of_memory_is_the_processs_own_and_not_its_parents() -> None:
    held = b"x" * (300 << 20)

    def peak(megabytes: int) -> int:
        code = f"from memory import peak_mb; held = b'x' * ({megabytes} << 20); print(peak_mb())"
        folder = ROOT / "tests/benchmarks/peers"
        return int(subprocess.check_output([sys.executable, "-c", code], cwd=folder))

    assert peak_mb() >= len(held) >> 20
    small, great = peak(1), peak(150)
    assert small < 100
    assert 150 <= great < 250


def test_a_peer_that_fails_is_not_called_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "PEERS", ROOT / "no such python")
    assert report.peer("day.py") == "not installed (make peers)"
    monkeypatch.setattr(report, "PEERS", Path(sys.executable))
    assert report.peer("day.py").startswith("failed (")  # it was told neither how nor what
    assert report.peer("machines.py", "revm").startswith("not installed")
