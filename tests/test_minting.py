"""Issuance, rules and policies against exact fractions, and the names under which they go."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dii import codec
from dii.errors import BadAmount, NoWeights, Overflow, ShapeMismatch, UnknownVersion
from dii.minting import (
    POLICIES,
    REASONS,
    RULES,
    FixedEmission,
    PerContribution,
    Policy,
    Rule,
    ShapleyTraffic,
    Spec,
    Uptime,
    issue,
    share,
    weigh,
)
from dii.minting.receipts import REASON_ABSENT, REASON_NONE
from dii.minting.spec import from_spec
from dii.telemetry.schema import MAX_ROWS, METRICS
from dii.units import MAX_AMOUNT, Currency

TTC = Currency("The Things Coin", "TTC", 6)

POOLS = st.integers(0, MAX_AMOUNT)
WEIGHTS = st.integers(0, METRICS["shapley_uplinks"].maximum) | st.integers(0, 3)
PAYEES = st.lists(WEIGHTS, min_size=1, max_size=40).filter(any)
RULE_EXAMPLES = st.builds(Uptime, st.integers(0, 10**6)) | st.just(ShapleyTraffic())
POLICY_EXAMPLES = st.builds(FixedEmission, POOLS) | st.builds(PerContribution, POOLS, POOLS)


# --- issuance ----------------------------------------------------------------------------------


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
def test_an_epoch_in_which_nobody_earned_is_a_named_error(payees):
    with pytest.raises(NoWeights) as caught:
        issue(1_000, [0] * payees)
    assert caught.value.numbers == {"payees": payees, "pool": 1_000}


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


ROWS = st.lists(
    st.tuples(
        st.none() | st.integers(0, 10**6), st.none() | st.integers(0, 720_720), st.integers(0, 9)
    ),
    max_size=20,
)


@given(RULE_EXAMPLES, ROWS)
def test_an_unknown_metric_weighs_nothing_and_says_so_and_changes_no_other_row(rule, rows):
    columns = dict(zip(("online_ppm", "shapley_uplinks", "uplinks"), zip(*rows)))
    if not rows:
        columns = {"online_ppm": (), "shapley_uplinks": (), "uplinks": ()}
    weights, reasons = weigh(rule, columns)
    (need,) = rule.needs
    for value, weight, reason in zip(columns[need], weights, reasons, strict=True):
        if value is None:
            assert (weight, reason) == (0, REASON_ABSENT)
        else:
            assert ([weight], reason) == (rule.weights({need: [value]}), REASON_NONE)
    assert REASONS[REASON_ABSENT]


def test_a_metric_that_no_row_has_weighs_nothing_anywhere():
    weights, reasons = weigh(ShapleyTraffic(), {"online_ppm": [10**6, 5]})
    assert weights == [0, 0]
    assert reasons == [REASON_ABSENT, REASON_ABSENT]


@dataclass(frozen=True)
class Weighted(Rule):
    """A rule with parameters that can be too great: two metrics, one of them times a factor."""

    factor: int

    needs: ClassVar[tuple[str, ...]] = ("online_ppm", "uplinks")
    scale: ClassVar[int] = 1

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


@given(RULE_EXAMPLES)
def test_released_rules_cannot_overflow(rule):
    rule.check()


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
