"""Issuance, rules and policies against exact fractions, and their specifications."""

from __future__ import annotations

import dataclasses
import itertools
from fractions import Fraction
from math import floor
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dii import codec
from dii.errors import BadAmount, BadParameter, Overflow, ShapeMismatch, UnknownVersion
from dii.minting import (
    POLICIES,
    REASONS,
    RULES,
    Airtime,
    Composite,
    DataCredits,
    ExponentialDecay,
    FixedEmission,
    PerContribution,
    Policy,
    Rule,
    ShapleyTraffic,
    Spec,
    Uptime,
    divide,
    share,
    weigh,
)
from dii.minting.receipts import REASON_ABSENT, REASON_DENIED, REASON_NONE
from dii.minting.spec import from_spec
from dii.schema import MAX_ROWS, METRICS
from dii.units import MAX_AMOUNT, Currency

TTC = Currency("The Things Coin", "TTC", 6)

POOLS = st.integers(0, MAX_AMOUNT)
WEIGHTS = st.integers(0, METRICS["shapley_uplinks"].maximum) | st.integers(0, 3)
PAYEES = st.lists(WEIGHTS, min_size=1, max_size=40).filter(any)
POINTS = st.integers(0, 1_000)
RULE_EXAMPLES = st.one_of(
    st.builds(Uptime, st.integers(0, 10**6)),
    st.just(ShapleyTraffic()),
    st.builds(Airtime, st.integers(0, 9)),
    st.builds(DataCredits, st.integers(0, 80_000)),
    st.builds(Composite, POINTS, POINTS, st.integers(0, 50)).filter(lambda rule: rule.needs),
)
POLICY_EXAMPLES = st.one_of(
    st.builds(FixedEmission, POOLS),
    st.builds(PerContribution, POOLS, POOLS),
    st.builds(ExponentialDecay, POOLS, st.integers(0, 999_999)),
)
NEEDED = ("online_ppm", "shapley_uplinks", "uplink_units", "downlink_units", "data_units")


# --- issuance ----------------------------------------------------------------------------------


def issue(pool: int, weights: list[int]) -> tuple[list[int], int]:
    """Return the amounts of a pool that a share rule divides, and the dust."""
    amounts = divide(pool, weights, claim=False)
    return amounts, pool - sum(amounts)


@given(POOLS, PAYEES)
def test_every_payee_gets_the_exact_fraction_rounded_down(pool, weights):
    amounts, _ = issue(pool, weights)
    assert amounts == [floor(Fraction(pool) * weight / sum(weights)) for weight in weights]


@given(POOLS, PAYEES)
def test_amounts_and_dust_are_the_pool_and_dust_is_less_than_a_unit_a_payee(pool, weights):
    amounts, dust = issue(pool, weights)
    assert sum(amounts) + dust == pool
    assert 0 <= dust < len(weights)


@given(POOLS, PAYEES, st.data())
def test_equal_weights_get_equal_amounts_and_greater_ones_no_less(pool, weights, data):
    amounts, _ = issue(pool, weights)
    ranked = sorted(zip(weights, amounts))
    assert [amount for _, amount in ranked] == sorted(amounts)
    assert len(set(zip(weights, amounts))) == len(set(weights))
    assert all(amount == 0 for weight, amount in zip(weights, amounts) if not weight)


@given(POOLS, PAYEES, st.integers(0, 39), WEIGHTS)
def test_contributing_more_never_earns_less(pool, weights, place, more):
    place %= len(weights)
    before, _ = issue(pool, weights)
    weights[place] += more
    after, _ = issue(pool, weights)
    assert after[place] >= before[place]
    assert all(a <= b for n, (a, b) in enumerate(zip(after, before)) if n != place)


@given(POOLS, POOLS, PAYEES)
def test_a_greater_pool_pays_nobody_less(one, other, weights):
    less, more = (issue(pool, weights)[0] for pool in sorted((one, other)))
    assert all(a <= b for a, b in zip(less, more))


@given(POOLS, PAYEES, st.integers(0, 39), st.lists(st.integers(0, 100), min_size=2, max_size=6))
def test_dividing_a_weight_among_several_names_gains_nothing(pool, weights, place, parts):
    place %= len(weights)
    whole = weights[place]
    cuts = sorted(whole * part // 100 for part in parts)
    names = [end - begin for begin, end in zip((0, *cuts), (*cuts, whole))]
    together, _ = issue(pool, weights)
    apart, _ = issue(pool, [*weights[:place], *weights[place + 1 :], *names])
    assert sum(names) == whole
    assert sum(apart[-len(names) :]) <= together[place]


@given(POOLS, PAYEES, st.randoms(use_true_random=False))
def test_the_order_of_payees_does_not_matter(pool, weights, random):
    amounts, dust = issue(pool, weights)
    order = list(range(len(weights)))
    random.shuffle(order)
    assert issue(pool, [weights[n] for n in order]) == ([amounts[n] for n in order], dust)


@given(POOLS, PAYEES, st.integers(1, 5))
def test_pages_of_an_issuance_are_the_issuance(pool, weights, size):
    total = sum(weights)
    pages = [weights[at : at + size] for at in range(0, len(weights), size)]
    assert [a for page in pages for a in share(pool, page, total)] == issue(pool, weights)[0]


@pytest.mark.parametrize("payees", [0, 1, 5])
def test_an_epoch_in_which_nobody_earned_pays_nobody(payees):
    amounts, dust = issue(1_000, [0] * payees)
    assert amounts == [0] * payees
    assert dust == 1_000


# --- rules -------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 10**6)), st.integers(0, 10**6 + 1))
def test_uptime_weighs_the_share_of_the_epoch_online_from_its_minimum_on(online, minimum):
    weights = Uptime(minimum).weights({"online_ppm": online})
    shares = [Fraction(ppm, 10**6) for ppm in online]
    least = Fraction(minimum, 10**6)
    assert [Fraction(w, Uptime.scale) for w in weights] == [s if s >= least else 0 for s in shares]


@given(st.lists(st.integers(0, METRICS["shapley_uplinks"].maximum)))
def test_shapley_traffic_weighs_720720_an_uplink(values):
    weights = ShapleyTraffic().weights({"shapley_uplinks": values})
    assert weights == values
    assert ShapleyTraffic.scale == 720_720


UNITS = st.lists(st.tuples(st.integers(0, 10**8), st.integers(0, 10**8)), max_size=9)


@given(UNITS, st.integers(0, 5))
def test_airtime_weighs_units_heard_and_where_it_is_said_units_sent(units, downlink):
    rule = Airtime(downlink)
    columns = {"uplink_units": [up for up, _ in units], "downlink_units": [d for _, d in units]}
    assert rule.weights(columns) == [up + downlink * down for up, down in units]
    assert rule.needs == tuple(columns)[: 2 if downlink else 1]


@given(st.lists(st.integers(0, 10**8)), st.integers(0, 80_000))
def test_data_credits_claim_their_rate_for_each_unit(units, rate):
    assert DataCredits(rate).weights({"data_units": units}) == [rate * one for one in units]
    assert DataCredits.claim
    assert DataCredits("0.000001 TTC").resolve(TTC) == DataCredits(1)


@given(st.tuples(POINTS, POINTS, POINTS), st.integers(0, 10**6), st.integers(0, 10**12), WEIGHTS)
def test_a_composite_weighs_points_of_what_counts_to_a_thousandth(points, online, heard, units):
    rule, (uptime, traffic, airtime) = Composite(*points), points
    columns = dict(
        zip(("online_ppm", "shapley_uplinks", "uplink_units"), ([online], [heard], [units]))
    )
    (weight,) = rule.weights({name: columns[name] for name in rule.needs} or columns)
    exact = uptime * Fraction(online, 10**6) + traffic * Fraction(heard, 720_720) + airtime * units
    assert 0 <= exact - Fraction(weight, rule.scale) < Fraction(1 + traffic, 1000)
    assert rule.needs == tuple(name for name, one in zip(columns, points) if one)


def test_a_composite_of_nothing_is_refused():
    with pytest.raises(BadParameter, match="points"):
        Composite().check()


ROWS = st.lists(
    st.tuples(*[st.none() | st.integers(0, 10**6) for _ in NEEDED], st.integers(0, 9)), max_size=20
)


@given(RULE_EXAMPLES, ROWS)
def test_an_unknown_metric_weighs_nothing_and_says_so_and_changes_no_other_row(rule, rows):
    names = (*NEEDED, "uplinks")
    columns = {name: [row[number] for row in rows] for number, name in enumerate(names)}
    weights, reasons = weigh(rule, columns)
    for number, weight, reason in zip(range(len(rows)), weights, reasons, strict=True):
        row = {name: [columns[name][number]] for name in rule.needs}
        if [None] in row.values():
            assert (weight, reason) == (0, REASON_ABSENT)
        else:
            assert ([weight], reason) == (rule.weights(row), REASON_NONE)
    assert REASONS[REASON_ABSENT]


def test_a_metric_that_no_row_has_weighs_nothing_anywhere():
    weights, reasons = weigh(ShapleyTraffic(), {"online_ppm": [10**6, 5]})
    assert weights == [0, 0]
    assert reasons == [REASON_ABSENT, REASON_ABSENT]


@given(RULE_EXAMPLES, ROWS, st.sets(st.integers(0, 19)))
def test_a_gateway_on_the_deny_list_weighs_nothing_and_changes_no_other_row(rule, rows, denied):
    columns = {name: [row[number] for row in rows] for number, name in enumerate(NEEDED)}
    denied = {row for row in denied if row < len(rows)}
    free = list(zip(*weigh(rule, columns)))
    found = list(zip(*weigh(rule, columns, denied)))
    assert found == [(0, REASON_DENIED) if n in denied else one for n, one in enumerate(free)]
    assert REASONS[REASON_DENIED]


class Weighted(Rule):
    """A rule with parameters that can be too large: two metrics, one of them times a factor."""

    factor: int

    scale: ClassVar[int] = 1

    @property
    def needs(self):
        return ("online_ppm", "uplinks")

    def weights(self, columns):
        return [a + self.factor * b for a, b in zip(columns["online_ppm"], columns["uplinks"])]


@given(st.lists(st.tuples(st.none() | st.integers(0, 9), st.none() | st.integers(0, 9))))
def test_a_rule_of_two_metrics_needs_both(rows):
    columns = {"online_ppm": [a for a, _ in rows], "uplinks": [b for _, b in rows]}
    weights, reasons = weigh(Weighted(10), columns)
    assert weights == [0 if None in (a, b) else a + 10 * b for a, b in rows]
    assert reasons == [REASON_ABSENT if None in (a, b) else REASON_NONE for a, b in rows]


@given(st.integers(-5, 2**63) | st.integers(80_000, 100_000))
def test_parameters_by_which_a_full_report_could_pass_2_to_the_63_are_refused(factor):
    greatest = METRICS["online_ppm"].maximum + factor * METRICS["uplinks"].maximum
    if 0 <= greatest * MAX_ROWS < 2**63:
        Weighted(factor).check()
    else:
        with pytest.raises(Overflow) as caught:
            Weighted(factor).check()
        assert caught.value.numbers["weight"] == greatest


@given(
    st.builds(Airtime, st.integers(0, 2**63 - 1))
    | st.builds(DataCredits, st.integers(0, 2**63 - 1) | st.integers(80_000, 90_000))
    | st.builds(Composite, POOLS, st.integers(0, 10**6), st.integers(0, 100))
    | RULE_EXAMPLES,
    st.data(),
)
def test_weights_of_a_released_rule_with_accepted_parameters_are_below_2_to_the_63(rule, data):
    try:
        rule.check()
    except (Overflow, BadParameter):
        return
    row = {name: [data.draw(st.integers(0, METRICS[name].maximum))] for name in rule.needs}
    (weight,) = rule.weights(row)
    assert 0 <= weight * MAX_ROWS < 2**63


@given(RULE_EXAMPLES, st.data())
def test_more_of_a_metric_never_weighs_less(rule, data):
    bounds = {name: METRICS[name].maximum for name in rule.needs}
    less = {name: data.draw(st.integers(0, most)) for name, most in bounds.items()}
    more = {name: data.draw(st.integers(less[name], most)) for name, most in bounds.items()}
    (one,), (other,) = (
        rule.weights({name: [value] for name, value in row.items()}) for row in (less, more)
    )
    assert one <= other


# --- policies ----------------------------------------------------------------------------------


@given(POOLS, st.integers(0, 2**32), st.integers(0, MAX_AMOUNT), st.integers(1, 10**6))
def test_fixed_emission_depends_on_nothing(amount, epoch, total, scale):
    policy = FixedEmission(amount)
    assert policy.pool(epoch, total, scale) == policy.most == amount


@given(POOLS, POOLS, st.integers(0, 2**32), st.integers(0, MAX_AMOUNT), st.integers(1, 10**6))
def test_per_contribution_pays_its_rate_for_each_unit_rounded_down_under_its_cap(
    rate, cap, epoch, total, scale
):
    policy = PerContribution(rate, cap)
    assert policy.pool(epoch, total, scale) == min(cap, floor(Fraction(rate) * total / scale))
    assert policy.most == cap


@given(POOLS, st.integers(0, 999_999), st.integers(0, 60))
def test_exponential_decay_keeps_its_share_from_epoch_to_epoch_and_its_sum_is_bounded(
    amount, keep, epochs
):
    policy = ExponentialDecay(amount, keep)
    policy.check()
    pools = [policy.pool(epoch, 0, 1) for epoch in range(epochs + 1)]
    assert pools[0] == policy.most == amount
    for before, after in itertools.pairwise(pools):
        assert after == floor(Fraction(before) * keep / 10**6)
    assert sum(pools) <= Fraction(amount) * 10**6 / (10**6 - keep)


def test_a_minimum_uptime_that_nobody_can_reach_is_refused():
    Uptime(10**6).check()
    with pytest.raises(BadParameter, match="minimum_ppm lies in 0 to 1000000"):
        Uptime(10**6 + 1).check()


@pytest.mark.parametrize("keep", [10**6, 2**63 - 1])
def test_a_pool_that_would_not_shrink_is_refused(keep):
    with pytest.raises(BadParameter, match="keep_ppm"):
        ExponentialDecay(5, keep).check()


def test_amounts_of_policies_may_be_written_with_their_symbol():
    policy = PerContribution("0.5 TTC", cap="1,000 TTC").resolve(TTC)
    assert policy == PerContribution(500_000, 1_000_000_000)
    assert FixedEmission(7).resolve(TTC) == FixedEmission(7)


@pytest.mark.parametrize("amount", ["5 XYZ", "-5", -5, 2**63, True, "1.0000001 TTC"])
def test_amounts_of_policies_that_are_none_are_refused(amount):
    with pytest.raises(BadAmount):
        FixedEmission(amount).resolve(TTC)


# --- names of rules and policies ---------------------------------------------------------------


@given(RULE_EXAMPLES | POLICY_EXAMPLES)
def test_a_specification_builds_the_same_again_and_survives_its_bytes(made: Rule | Policy):
    known = RULES if isinstance(made, Rule) else POLICIES
    spec = codec.loads(Spec, codec.dumps(made.spec()))
    assert spec == made.spec()
    assert from_spec(spec, known) == made
    assert str(spec).startswith(f"{type(made).__name__}/1(")


@pytest.mark.parametrize(
    "spec",
    [
        Spec("Uptime", 2, ()),
        Spec("Uptime", 0, ()),
        Spec("uptime", 1, ()),
        Spec("FixedEmission", 1, (("amount", 5),)),
        Spec("Uptime", 1, (("minimum", 5),)),
        Spec("Uptime", 1, (("minimum_ppm", 5), ("minimum_ppm", 6))),
        Spec("Uptime", 1, (("needs", 5),)),
    ],
    ids=str,
)
def test_an_unknown_rule_version_or_parameter_is_refused_by_name(spec):
    with pytest.raises(UnknownVersion, match=r"Uptime|ShapleyTraffic"):
        from_spec(spec, RULES)


@pytest.mark.parametrize("parameters", [(), (("rate", 1),), (("cap", 1), ("other", 2))])
def test_a_policy_without_its_parameters_is_refused(parameters):
    with pytest.raises(UnknownVersion):
        from_spec(Spec("PerContribution", 1, parameters), POLICIES)


@pytest.mark.parametrize("value", [-1, 2**63, "10 TTC", 1.0, True])
def test_parameters_travel_as_integers_below_2_to_the_63_only(value):
    with pytest.raises(ShapeMismatch):
        codec.dumps(Spec("FixedEmission", 1, (("amount", value),)))


@pytest.mark.parametrize("kind", [*RULES.values(), *POLICIES.values()])
def test_registered_kinds_go_by_their_name_and_version_and_say_what_they_do(kind):
    known = RULES if issubclass(kind, Rule) else POLICIES
    assert known[kind.__name__, kind.version] is kind
    assert kind.__doc__
    names = {field.name for field in dataclasses.fields(kind)}
    assert set(kind.money) <= names
