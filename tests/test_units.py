"""Money and time: texts that people write, and their integers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dii.errors import BadAmount
from dii.units import MAX_AMOUNT, UNIT_PREFIX, Currency, format_time, from_microseconds
from dii.units import to_microseconds as microseconds

CURRENCIES = [Currency("The Things Coin", "TTC", decimals) for decimals in UNIT_PREFIX]
TTC = Currency("The Things Coin", "TTC", 6)
AMOUNTS = st.integers(0, MAX_AMOUNT)
FIRST, LAST = datetime(1, 1, 3), datetime(9999, 12, 29)  # noqa: DTZ001 - hypothesis adds zones
MOMENTS = st.datetimes(min_value=FIRST, max_value=LAST)


@given(st.sampled_from(CURRENCIES), AMOUNTS)
def test_an_amount_shown_is_read_as_the_same_amount(currency: Currency, amount: int) -> None:
    shown = currency.format(amount)
    assert currency.parse(shown) == amount
    assert currency.parse(amount) == amount
    assert currency.parse(shown.removesuffix(" TTC")) == amount


@given(st.sampled_from(CURRENCIES), AMOUNTS)
def test_an_amount_means_what_decimal_arithmetic_says(currency: Currency, amount: int) -> None:
    exact = Decimal(amount).scaleb(-currency.decimals)
    assert Decimal(currency.format(amount).removesuffix(" TTC").replace(",", "")) == exact
    assert currency.parse(f"{exact:f}") == amount


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("12.5 TTC", 12_500_000),
        ("12.5", 12_500_000),
        ("12.5TTC", 12_500_000),
        (" 0.000001 TTC ", 1),
        ("1,234,567.5 TTC", 1_234_567_500_000),
        ("1_000", 1_000_000_000),
        ("007", 7_000_000),
        ("1.10000000000", 1_100_000),
        ("0", 0),
        ("9223372036854.775807 TTC", MAX_AMOUNT),
    ],
)
def test_ways_of_writing_an_amount(text: str, amount: int) -> None:
    assert TTC.parse(text) == amount


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("12.5 ABC", "the currency here is TTC"),
        ("1.0000001 TTC", "6 decimals"),
        ("9223372036854.775808 TTC", "must lie between 0 and 9,223,372,036,854.775807 TTC"),
        (2**63, "must lie between"),
        (-1, "must lie between"),
        (10**5000, "must lie between"),
        ("9" * 64, "must lie between"),
        ("9" * 65, "write it like"),
        ("-1", "write it like"),
        ("+1", "write it like"),
        ("1,5", "write it like"),
        ("1,2345", "write it like"),
        ("1.", "write it like"),
        (".5", "write it like"),
        ("1e6", "the currency here"),
        ("0x10", "the currency here"),
        ("nan", "write it like"),
        ("", "write it like"),
        ("TTC", "write it like"),
        ("1 TTC TTC", "write it like"),
        ("١٢", "write it like"),
        (True, "or an integer"),
        (1.5, "or an integer"),
        (None, "or an integer"),
    ],
    ids=lambda value: str(value)[:20] if not isinstance(value, int) else "integer",
)
def test_an_invalid_amount_says_why(text: object, reason: str) -> None:
    with pytest.raises(BadAmount, match=reason):
        TTC.parse(text)  # type: ignore[arg-type]


def test_the_unit_names_columns() -> None:
    assert [currency.unit for currency in CURRENCIES] == ["ttc", "cttc", "mttc", "uttc", "nttc"]


def test_a_deficit_is_shown_with_its_sign() -> None:
    assert TTC.format(-1_250_000) == "-1.25 TTC"


@given(MOMENTS, st.integers(-14 * 60, 14 * 60))
def test_time_is_exact_whatever_the_zone(moment: datetime, minutes: int) -> None:
    aware = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    time = microseconds(aware)
    assert from_microseconds(time) == aware
    assert from_microseconds(time + 1) - aware == timedelta(microseconds=1)


@given(MOMENTS)
def test_a_time_without_a_zone_is_utc(moment: datetime) -> None:
    assert microseconds(moment) == microseconds(moment.replace(tzinfo=UTC))


def test_time_for_people() -> None:
    assert format_time(1_524_268_800_000_000) == "2018-04-21T00:00:00Z"
    assert format_time(1_524_268_800_999_999) == "2018-04-21T00:00:00Z"
