"""Combined features: views against the reference, and planted faults that are found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from dii.application import settling
from dii.genesis import TREASURY
from dii.network import governance as governing
from dii.network import statement
from tests.pairs_machine import SEEN, Pairs, tour
from tests.stateful import run

FEATURES = frozenset({
    "bound anew", "claim", "complete", "denial", "epoch elsewhere", "further name", "hand-over",
    "hand-over by another name", "join", "late", "open epoch", "other reporters",
    "policy change", "restart", "rule change", "second scope", "second stream",
    "several reporters", "site radius",
})  # fmt: skip
"""Situations that the tours must meet, all with an effect."""
TOURS = (2, 1)


def test_views_show_what_the_chain_holds_where_all_features_meet():
    seen = sum((tour(seed) for seed in TOURS), Counter[str]())  # leaves out counts of 0
    assert seen.keys() >= FEATURES


def test_views_show_what_the_chain_holds_whichever_features_meet():
    SEEN.clear()
    run(Pairs, 2, 16)
    assert SEEN["epoch"] > 0


# --- faults that the model must find -------------------------------------------------------------


def pay_the_owner_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pay an epoch's weights to the owner of the epoch before."""
    right = settling._Step._payee

    def wrong(step: settling._Step, gateway: bytes, epoch: int) -> bytes:
        before = right(step, gateway, epoch - 1)
        return right(step, gateway, epoch) if before == TREASURY else before

    monkeypatch.setattr(settling._Step, "_payee", wrong)


def compare_without_denials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the laboratory pay gateways that were denied payment."""
    monkeypatch.setattr(governing, "denied", lambda *_: frozenset())


def state_without_a_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the payments of a further stream out of statements."""
    right = statement.leaves_of
    monkeypatch.setattr(
        statement,
        "leaves_of",
        lambda network, epoch, stream: [] if stream == "second" else right(network, epoch, stream),
    )


@pytest.mark.parametrize(
    "plant", [pay_the_owner_before, compare_without_denials, state_without_a_stream]
)
def test_the_model_finds_a_planted_fault(
    plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
):
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        list(map(tour, TOURS))
