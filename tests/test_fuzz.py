"""Real bytes, mutated a few hundred times; ``make soak`` does so for longer, guided by coverage."""

from __future__ import annotations

import pytest

from tests.soak import fuzz
from tests.soak.targets import TARGETS


@pytest.mark.parametrize("name", fuzz.NAMES)
def test_bytes_of_strangers_give_named_errors_only(name: str) -> None:
    target = TARGETS[name]()
    for data in target.seeds:
        target.read(data)
    assert fuzz.loop(target, float("inf"), 150, seed=7) == 150


def test_every_target_is_fuzzed() -> None:
    assert sorted(fuzz.NAMES) == sorted(TARGETS)
