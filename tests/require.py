"""Requirements of tests: skip with a reason if one is missing, or fail if CI promises it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DATA = ROOT / "data"
SAMPLE = [DATA / name for name in ("registry.json", "uplinks.jsonl", "statuses.csv")]


def lacking(reason: str) -> None:
    """Skip a test for a missing requirement, or fail if CI promises that it is there."""
    if os.environ.get("CI"):
        pytest.fail(f"CI must not skip: {reason}")
    pytest.skip(reason)


def real_data(name: str) -> Path:
    """Return the path of a real data file in ``$DII_REAL_DATA``, by default ``../shared/data``."""
    folder = Path(os.environ.get("DII_REAL_DATA") or ROOT.parent / "shared" / "data")
    if not (folder / name).exists():
        lacking(f"no {name} in {folder}; set DII_REAL_DATA to the folder with the real data")
    return folder / name


def program(name: str) -> str:
    """Return the path of an installed program such as ``chromium``, ``tmux`` or ``cometbft``."""
    path = shutil.which(name)
    if path is None:
        lacking(f"{name} is not installed")
    return str(path)
