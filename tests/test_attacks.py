"""Attacks found by reading the application as an adversary: each did harm before its test."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dii.application import pages
from dii.contracts import gas as contract_gas
from dii.contracts.host import FUNCTIONS

# --- work out of proportion to gas ----------------------------------------------------------------


@given(
    keys=st.sets(st.binary(min_size=20, max_size=20), min_size=2, max_size=40),
    columns=st.integers(0, 30),
    data=st.data(),
)
def test_one_row_is_read_without_its_page(keys, columns, data):
    """Contracts that ask for gateways of ever other pages had each page decoded: 0.9 ms for 20 gas."""
    *known, absent = keys
    known.sort()
    cell = st.none() | st.integers(0, 2**16) | st.integers(0, 2**64 - 1)
    rows = len(known)
    column = st.lists(cell, min_size=rows, max_size=rows) | st.just([7] * rows)
    page = pages.Page(known, [data.draw(column) for _ in range(columns)])
    raw = page.encode()
    for row, key in enumerate(known):
        assert pages.find(raw, key) == [column[row] for column in page.columns]
    assert pages.find(raw, absent) is None


def test_a_lookup_pays_for_the_search():
    """Some 20 microseconds; a gas is 90 ns."""
    assert FUNCTIONS["metrics"].cost >= 100
    assert FUNCTIONS["usage"].cost == FUNCTIONS["metrics"].cost == contract_gas.LOOKUP
