"""Tests of the free-space limit, and that no possible reception is set aside."""

from __future__ import annotations

from math import log10, pi

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dii.telemetry.metrics.sites import distance
from dii.telemetry.readers.radio import ANTENNA, EIRP, FREQUENCY, NEAR, strongest, too_strong

LIGHT = 299_792_458.0
north = st.floats(-90, 90)
east = st.floats(-180, 180)
places = st.tuples(north, east)


def record(place: tuple[float, float]) -> dict[str, object]:
    return dict(zip(("latitude", "longitude"), place))


@pytest.mark.parametrize("metres", [1e3, 2e3, 1e4, 7.66e5, 2e7])
def test_the_bound_is_friis_formula(metres: float) -> None:
    loss = 20 * log10(4 * pi * metres * FREQUENCY * 1e6 / LIGHT)
    assert strongest(metres) == pytest.approx(EIRP + ANTENNA - loss, abs=0.06)


@given(places, places, st.floats(-250, 100))
def test_only_what_is_stronger_than_free_space_over_a_distance_is_set_aside(
    here: tuple[float, float], there: tuple[float, float], rssi: float
) -> None:
    metres = distance(here, there)
    known = (0.0, 0.0) not in (here, there)
    impossible = known and metres >= NEAR and rssi > strongest(metres)
    assert (too_strong(rssi, record(here), [record(there)]) is not None) == impossible


@given(places, places, st.floats(-250, 100))
def test_a_device_that_states_several_places_is_taken_at_the_nearest(
    here: tuple[float, float], there: tuple[float, float], rssi: float
) -> None:
    assert too_strong(rssi, record(here), [record(there), record(here)]) is None


@pytest.mark.parametrize(
    "nowhere",
    [{}, {"latitude": 1.0}, {"latitude": "1", "longitude": 1.0}, {"latitude": 91, "longitude": 0}],
)
def test_without_a_sound_place_at_both_ends_nothing_is_said(nowhere: dict[str, object]) -> None:
    somewhere: dict[str, object] = {"latitude": -33.9, "longitude": 18.9}
    assert too_strong(99.0, nowhere, [somewhere]) is None
    assert too_strong(99.0, somewhere, [nowhere]) is None
    assert too_strong(None, somewhere, [{"latitude": 50.0, "longitude": 5.0}]) is None
    assert too_strong(99.0, somewhere, [nowhere, {"latitude": 50.0, "longitude": 5.0}]) is not None
