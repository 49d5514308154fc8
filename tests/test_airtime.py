"""Time on air: published figures, a real network server's, and the formula in exact fractions."""

from __future__ import annotations

import base64
import json
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dii.telemetry.metrics.airtime import MAC_OVERHEAD, time_on_air, uplink_airtime
from tests.require import real_data

BANDWIDTHS = (125_000, 250_000, 500_000)


def test_published_figures() -> None:
    assert time_on_air(13, 12, low_data_rate=False) == 1_155_072
    assert time_on_air(51, 7) == 102_656
    assert -(-time_on_air(51, 7) // 10_000) == 11  # units of 10 ms
    assert time_on_air(23, 10) == 370_688  # a join request


def test_a_network_servers_own_figures_follow_from_size_and_modulation() -> None:
    agree, options = 0, []
    for line in real_data("ttn/ttn_v3_uplinks.jsonl").read_text().splitlines():
        message = json.loads(line)["uplink_message"]
        if "consumed_airtime" not in message:
            continue
        stated = round(Fraction(message["consumed_airtime"].rstrip("s")) * 1_000_000)
        size = len(base64.b64decode(message["frm_payload"]))
        lora = message["settings"]["data_rate"]["lora"]
        if stated == uplink_airtime(size, lora["spreading_factor"], lora["bandwidth"], "4/5"):
            agree += 1
        else:
            options.append((size, lora["spreading_factor"], stated))
    assert agree == 8
    # The ninth carries 3 to 5 bytes of MAC options, which only the network server sees.
    assert [
        more
        for size, factor, stated in options
        for more in range(16)
        if time_on_air(size + MAC_OVERHEAD + more, factor) == stated
    ] == [3, 4, 5]


@given(
    st.integers(0, 255),
    st.integers(7, 12),
    st.sampled_from(BANDWIDTHS),
    st.integers(5, 8),
    st.booleans(),
    st.booleans(),
)
def test_airtime_is_the_data_sheets_formula(
    size: int, factor: int, bandwidth: int, rate: int, header: bool, crc: bool
) -> None:
    symbol = Fraction(2**factor * 1000, bandwidth)  # milliseconds
    optimised = 1 if symbol > 16 else 0
    blocks = math.ceil(
        Fraction(
            8 * size - 4 * factor + 28 + 16 * crc - 20 * (1 - header), 4 * (factor - 2 * optimised)
        )
    )
    symbols = Fraction("12.25") + 8 + max(blocks * rate, 0)
    assert (
        time_on_air(size, factor, bandwidth, rate, header=header, crc=crc)
        == symbols * symbol * 1000
    )


@given(st.integers(0, 254), st.integers(7, 11), st.sampled_from(BANDWIDTHS))
def test_more_bytes_and_slower_modulation_never_take_less(
    size: int, factor: int, bandwidth: int
) -> None:
    assert time_on_air(size, factor, bandwidth) <= time_on_air(size + 1, factor, bandwidth)
    assert time_on_air(size, factor, bandwidth) < time_on_air(size, factor + 1, bandwidth)


@pytest.mark.parametrize(
    "modulation",
    [(None, 125_000), (7, None), (6, 125_000), (7, 125), (7.0, 125_000), (True, 125_000)],
)
def test_an_unknown_modulation_has_no_airtime(modulation: tuple[object, object]) -> None:
    assert uplink_airtime(10, *modulation) is None
    assert uplink_airtime(10, 7, 125_000, "4/9") is None


@pytest.mark.parametrize(
    "parameters", [(-1, 7), (10, 6), (10, 13), (10, 7, 0), (10, 7, 125_000, 4)]
)
def test_parameters_out_of_range_are_refused(parameters: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"are|cannot"):
        time_on_air(*parameters)
