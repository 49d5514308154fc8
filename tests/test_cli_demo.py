"""The demo, and the commands that it and a run recommend."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from dii.cli import demo
from tests.cli import VERBS, dii, read
from tests.require import ROOT


def recommended(text: str) -> list[list[str]]:
    """Return the commands that an output recommends."""
    lines = [line.strip() for line in text.splitlines()]
    words = [shlex.split(line) for line in lines if re.match(r"\S*\bdii ", line)]
    return [line[1:] for line in words if line[1] in VERBS]


def test_commands_that_the_demo_recommends_work_in_their_order(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    demo.main()
    text = capsys.readouterr().out
    assert "the proof does not hold" in text
    assert str(tmp_path) not in text
    lines = recommended(text)
    assert [line[0] for line in lines] == ["init", "load", "run", "receipt", "transfer", "verify"]
    monkeypatch.setenv("DII_HOME", str(tmp_path / "home"))
    for line in lines:
        dii(*line)
    # The same seed and the same calls: what the demo showed is what this home holds.
    assert read("list", "epochs")[0]["paid_uttc"] == 9_901_380_652
    assert "9,901.380652" in text
    assert read("status")["chain"] in text


def test_commands_that_a_run_recommends_work(home: Path, elsewhere: Path) -> None:
    lines = recommended(dii("run", "--home", home).stdout)
    assert [line[0] for line in lines] == ["receipt", "proof", "proof", "list", "verify"]
    for line in lines:
        dii(*line)
