"""The rules of real networks, against their formulas, and claims paid from a pool."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dii.errors import BadParameter, GenesisError, MetricNotReported, Overflow
from dii.minting import (
    Airtime,
    Composite,
    DataCredits,
    ExponentialDecay,
    FixedEmission,
    ShapleyTraffic,
    divide,
)
from tests.chains import ALICE, BOB, Chain, gateway, genesis, scope, stream

UNITS = st.integers(0, 10**8)
ONLINE = st.integers(0, 10**6)
HEARD = st.integers(0, 720_720 * 10**7)
CREDITS = [scope(metrics=["data_units"])]


def credit_chain(pool: int, *, rate: int = 10, rest: str | None = None) -> Chain:
    """Return a chain that pays data credits; alice has gateway 1, bob gateway 2."""
    streams = [stream("main", DataCredits(rate), FixedEmission(pool), rest=rest)]
    chain = Chain(scopes=CREDITS, streams=streams)
    chain.register((1, ALICE.address), (2, BOB.address))
    return chain


def settle(chain: Chain, rows: dict[int, int]) -> list[int]:
    """Settle epoch 0 with (gateway, data units); return the amounts by gateway."""
    found = {gateway(number): (units,) for number, units in rows.items()}
    chain.settle(0, found, metrics=["data_units"])
    return [leaf.amount for leaf in chain.receipts["main", 0]]


@given(st.lists(st.tuples(UNITS, UNITS)), st.integers(0, 1))
def test_airtime_weighs_units_heard_and_if_asked_units_sent(rows, downlink):
    columns = {
        "uplink_units": [up for up, _ in rows],
        "downlink_units": [down for _, down in rows],
    }
    rule = Airtime(downlink)
    weights = rule.weights({name: columns[name] for name in rule.needs})
    assert weights == [up + (down if downlink else 0) for up, down in rows]


@given(st.lists(UNITS), st.integers(0, 10_000))
def test_data_credits_claims_the_price_of_what_was_carried(units, rate):
    assert DataCredits(rate).weights({"data_units": units}) == [rate * one for one in units]


@given(
    st.lists(st.tuples(ONLINE, HEARD, UNITS), min_size=1),
    st.tuples(*[st.integers(0, 50)] * 3).filter(any),
)
def test_composite_is_the_sum_of_its_parts_to_a_thousandth_of_a_point_each(rows, points):
    names = ("online_ppm", "shapley_uplinks", "uplink_units")
    rule = Composite(*points)
    weights = rule.weights({name: [row[names.index(name)] for row in rows] for name in rule.needs})
    uptime, traffic, airtime = points
    for weight, (online, heard, units) in zip(weights, rows):
        exact = (
            uptime * Fraction(online, 10**6) + traffic * Fraction(heard, 720_720) + airtime * units
        )
        assert 0 <= exact - Fraction(weight, Composite.scale) < Fraction(1 + traffic, 1000)


def test_a_composite_needs_only_the_metrics_of_its_parts_and_at_least_one():
    assert Composite(traffic=1).needs == ("shapley_uplinks",)
    with pytest.raises(BadParameter):
        Composite().check()


@pytest.mark.parametrize("rule", [DataCredits(10**6), Composite(traffic=1000), Airtime(10**5)])
def test_prices_and_points_that_could_pass_2_to_the_63_are_refused(rule):
    with pytest.raises(Overflow):
        rule.check()


@given(st.integers(0, 10**12), st.integers(0, 10**6 - 1), st.integers(0, 60))
def test_a_decaying_pool_keeps_its_share_from_epoch_to_epoch(amount, keep, epoch):
    policy = ExponentialDecay(amount, keep)
    before, after = policy.pool(epoch, 0, 1), policy.pool(epoch + 1, 0, 1)
    assert policy.pool(0, 0, 1) == amount == policy.most
    assert after == floor(Fraction(before) * keep / 10**6)


@pytest.mark.parametrize("keep", [0, 1, 500_000, 999_000, 999_999])
@pytest.mark.parametrize("amount", [0, 1, 10**6 + 3, 10**18])
def test_a_late_pool_is_what_every_step_before_it_left(amount, keep):
    policy, pool = ExponentialDecay(amount, keep), amount
    for epoch in range(5_000):
        if epoch in {1023, 1024, 1025, 2048, 4999}:
            assert policy.pool(epoch, 0, 1) == pool
        pool = pool * keep // 10**6


def test_all_decaying_pools_together_are_bounded():
    policy = ExponentialDecay(10**9, 900_000)
    pools = [policy.pool(epoch, 0, 1) for epoch in range(400)]
    assert pools[-1] == 0
    assert sum(pools) < 10**9 * 10


def test_a_pool_that_does_not_shrink_is_refused_by_the_genesis():
    streams = [stream(policy=ExponentialDecay(5, 10**6))]
    with pytest.raises(GenesisError, match="keep_ppm"):
        genesis(streams=streams)


def test_a_claim_rule_needs_its_metric_reported():
    with pytest.raises(MetricNotReported, match="data_units"):
        genesis(streams=[stream(rule=DataCredits(1))])


def test_claims_within_the_pool_are_paid_in_full_and_no_more_is_minted():
    chain = credit_chain(pool=1_000)
    assert settle(chain, {1: 30, 2: 7}) == [300, 70]
    issuance = chain.issuance(0)
    assert (issuance.paid, issuance.dust_after, issuance.rest) == (370, 0, 0)
    assert chain.balance(ALICE) - chain.balance(BOB) == 230


def test_claims_above_the_pool_are_paid_pro_rata():
    chain = credit_chain(pool=100)
    assert settle(chain, {1: 30, 2: 7}) == [100 * 300 // 370, 100 * 70 // 370]
    assert chain.issuance(0).dust_after == 100 - 81 - 18


def test_the_part_of_a_pool_that_claims_leave_goes_to_the_rest():
    chain = credit_chain(pool=1_000, rest="treasury")
    settle(chain, {1: 30, 2: 7})
    assert chain.issuance(0).rest == 630


def test_a_claim_that_names_no_gateway_is_not_minted():
    chain = credit_chain(pool=1_000)
    assert settle(chain, {0: 50, 1: 30}) == [0, 300]
    issuance = chain.issuance(0)
    assert (issuance.paid, issuance.unminted, issuance.dust_after) == (300, 500, 0)


@given(st.lists(st.integers(0, 300), min_size=1, max_size=6), st.integers(0, 5_000))
def test_claims_are_never_overpaid_and_a_claim_is_cut_only_where_the_pool_is_spent(units, pool):
    chain = credit_chain(pool, rest="treasury")
    amounts = settle(chain, dict(enumerate(units, 1)))
    claims = [10 * one for one in units]
    issuance = chain.issuance(0)
    assert all(amount <= claim for amount, claim in zip(amounts, claims))
    assert sum(amounts) + issuance.dust_after + issuance.rest == pool
    if sum(claims) <= pool:
        assert amounts == claims


# --- HIP-10, helium/HIP 0010-usage-based-data-transfer-rewards.md (2020) ------------------------

HNT = 10**8
"""Bones, the smallest unit."""
POOL_2020 = 1_625_000 * HNT
"""32.5 % of a month's 5,000,000 HNT, for data."""
CREDIT = HNT // 200_000
"""A data credit is 0.00001 USD, and 1 HNT is 2 USD in the examples: 500 bones."""


def test_hip_10_pays_credits_one_to_one_and_hands_the_rest_on():
    carried = [7_000_000, 2_999_999, 1]
    amounts = divide(POOL_2020, DataCredits(CREDIT).weights({"data_units": carried}), claim=True)
    assert amounts == [CREDIT * one for one in carried]
    assert sum(amounts) == 50 * HNT
    assert POOL_2020 - sum(amounts) == 1_624_950 * HNT


def test_hip_10_divides_the_pool_where_more_was_burned_than_it_holds():
    carried = [10**8] * 4000  # 400,000,000,000 credits
    claims = DataCredits(CREDIT).weights({"data_units": carried})
    assert sum(claims) == 2_000_000 * HNT > POOL_2020
    assert divide(POOL_2020, claims, claim=True) == [POOL_2020 // 4000] * 4000


def test_the_arbitrage_of_2020_appears_under_a_share_and_vanishes_under_data_credits():
    """One hotspot "has earned approximately $21,000 worth of HNT by purchasing $145 worth of DC".

    What the others sent is not published; it follows, as a share of a fixed pool pays every
    credit alike.
    """
    dollar = 100_000 * CREDIT
    own = 145 * dollar // CREDIT
    others = own * POOL_2020 // (21_000 * dollar) - own
    uplinks = {"shapley_uplinks": [720_720 * others, 720_720 * own]}
    _, earned = divide(POOL_2020, ShapleyTraffic().weights(uplinks), claim=False)
    assert round(earned / dollar) == 21_000

    claims = DataCredits(CREDIT).weights({"data_units": [others, own]})
    assert divide(POOL_2020, claims, claim=True)[1] == 145 * dollar
