"""Work and memory for a file are bounded by its bytes."""

from __future__ import annotations

import random
from pathlib import Path

from dii.telemetry.formats import READERS, find_reader
from dii.telemetry.source import Source
from tests.bounds import FORMS, check, drawn, lying

# --- a file of each format -----------------------------------------------------------------------


def test_there_is_a_file_of_each_format(tmp_path: Path) -> None:
    for name, content in FORMS.items():
        (tmp_path / name).write_bytes(content)
        assert find_reader(Source(tmp_path / name, name)).name == name
    assert FORMS.keys() == {reader.name for reader in READERS}


def test_work_and_memory_are_bounded_by_the_bytes_of_a_file(tmp_path: Path) -> None:
    files: dict[str, bytes] = {}
    for name in sorted(FORMS):
        draw = random.Random(name)
        found = {key: held for key, held in drawn(name, draw).items() if not key.endswith("gz")}
        files |= draw.sample(sorted(found.items()), 1)
    draw = random.Random(7)
    files |= {
        f"{name}-again.gz": drawn(name, draw)[f"{name}-1-again.gz"]
        for name in ("things-stack-v3", "receptions")
    }
    check(tmp_path, files)


# --- Parquet -------------------------------------------------------------------------------------


def test_a_parquet_file_may_lie_about_itself(tmp_path: Path) -> None:
    check(tmp_path, lying(random.Random(7), mutations=3))
