"""Players that are close together, against a reference, and the effect of merging them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dii.network.telemetry import Feed
from dii.schema import SHAPLEY_UNIT, Gateway, Reception
from dii.telemetry.load import Telemetry
from dii.telemetry.metrics.sites import distance, players
from dii.telemetry.tables import to_table
from dii.units import DAY
from tests.sites import reference, split

HOUSE = 0.0009
"""Degrees of latitude, 100 metres."""
PLACES = st.dictionaries(
    st.sampled_from("ABCDEFGHIJ"),
    st.tuples(*[st.integers(-3, 3).map(lambda n: 52 + n * HOUSE)] * 2),
)
OPERATORS = st.dictionaries(st.sampled_from("ABCDEFGHIJ"), st.sampled_from("PQRS"))


def partition(found: dict[str, str]) -> set[frozenset[str]]:
    return {frozenset(g for g in found if found[g] == name) for name in found.values()}


@given(OPERATORS, PLACES, st.sampled_from([1, 70, 150, 10**7]))
def test_players_are_those_of_the_reference(operators, places, radius):
    assert partition(players(operators, places, radius)) == reference(operators, places, radius)


def test_a_row_of_houses_does_not_become_one_site():
    places = {name: (52 + n * HOUSE, 5.0) for n, name in enumerate("ABCDE")}
    assert partition(players({}, places, 101)) == {
        frozenset("AB"), frozenset("CD"), frozenset("E"),
    }  # fmt: skip


def test_gateways_without_a_place_stand_with_nobody():
    found = players({"A": "P", "B": "P", "C": "Q"}, {"A": (0.0, 0.0), "D": (0.0, 0.0)}, 10)
    assert partition(found) == {frozenset("ABD"), frozenset("C")}


@pytest.mark.parametrize(
    ("one", "other", "kilometres"),
    [
        ((52.3676, 4.9041), (48.8566, 2.3522), 430),  # Amsterdam, Paris
        ((0.0, 179.9), (0.0, -179.9), 22.239),  # across the date line
        ((90.0, 0.0), (-90.0, 0.0), 20_015),  # pole to pole: half the circumference
    ],
)
def test_distances_are_those_on_a_sphere(one, other, kilometres):
    assert distance(one, other) == pytest.approx(kilometres * 1000, rel=0.001)
    assert distance(one, one) == 0


@settings(max_examples=15)
@given(
    st.lists(st.sampled_from("PQRS"), min_size=10, max_size=10),
    st.lists(st.sets(st.sampled_from("ABCDEFGHIJ"), min_size=1), max_size=5),
)
def test_two_that_are_merged_gain_nothing_and_cost_nobody_else_anything(owners, frames):
    operators = dict(zip("ABCDEFGHIJ", owners))
    merged = {one: owner.replace("Q", "P") for one, owner in operators.items()}
    uplinks = [(sorted(frame), 0, True) for frame in frames]
    before, after = split(uplinks, operators), split(uplinks, operators, merged)
    for player in set(merged.values()):
        gateways = [one for one in after if merged[one] == player]
        gain = sum(after[one] - before[one] for one in gateways)
        assert gain <= 0 if player == "P" and "Q" in owners else gain >= 0


def test_a_network_may_merge_who_stands_together():
    places = {"A": (52.0, 5.0), "B": (52.0, 5.0), "C": (53.0, 5.0)}
    gateways = [Gateway(one, one.lower(), *place) for one, place in places.items()]
    heard = [Reception(DAY, one, device="D", f_cnt=1, delivered=True) for one in "ABC"]
    telemetry = Telemetry(
        gateways=to_table("gateways", gateways),
        receptions=to_table("receptions", heard),
        gives=frozenset({"shapley_uplinks"}),
    )

    def shares(radius: int) -> list[int]:
        owners = {one: one.lower() for one in places}
        found = Feed(telemetry).epoch(0, DAY, DAY, owners, site_radius_m=radius)
        return [SHAPLEY_UNIT // share for share in found.metrics["shapley_uplinks"].to_pylist()]

    assert shares(0) == [3, 3, 3]
    assert shares(50) == [4, 4, 2]
