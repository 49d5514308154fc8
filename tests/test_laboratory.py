"""The laboratory's measures against their definitions, and results of its experiments."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dii import Network, Telemetry, economy, load, minting
from dii.cli import demo
from dii.economy import laboratory
from dii.economy.laboratory import Records, compare, distance, gini, nakamoto, paid, top_share
from dii.errors import NothingToCompare
from dii.minting import Airtime, DataCredits, ShapleyTraffic, Uptime
from dii.schema import TABLES, Reception
from dii.telemetry.metrics import metrics
from dii.telemetry.tables import to_table
from dii.units import DAY, SECOND
from tests.require import ROOT

AMOUNTS = st.lists(st.integers(0, 10**6), min_size=1, max_size=30).filter(any)
GIVES = frozenset({"receptions", "uplinks", "sole_uplinks", "shapley_uplinks", "uplink_units"})


def records(*frames: str) -> Records:
    """Return an epoch of uplinks, each given as the gateways that heard it: ``"AB"``.

    Gateways are letters; a small letter is a second gateway of the same operator.
    """
    rows = [
        Reception(
            time=number * SECOND,
            gateway=gateway,
            device=f"device {number}",
            f_cnt=number,
            size=24,
            airtime=71_936,
            delivered=True,
        )
        for number, heard in enumerate(frames)
        for gateway in heard
    ]
    operators = {gateway: gateway.upper() for heard in frames for gateway in heard}
    return Records(to_table("receptions", rows), to_table("statuses", []), operators, 0, DAY, GIVES)


@given(AMOUNTS)
def test_gini_is_half_the_mean_difference_of_any_two_by_the_mean(amounts):
    count, total = len(amounts), sum(amounts)
    differences = sum(abs(one - other) for one in amounts for other in amounts)
    assert gini(amounts) == pytest.approx(float(Fraction(differences, 2 * count * total)))


@given(AMOUNTS)
def test_so_many_hold_more_than_half_and_one_less_do_not(amounts):
    ordered, count = sorted(amounts, reverse=True), nakamoto(amounts)
    assert 2 * sum(ordered[:count]) > sum(amounts)
    assert 2 * sum(ordered[: count - 1]) <= sum(amounts)


@given(AMOUNTS)
def test_the_top_of_all_is_all_and_of_one_percent_at_least_one(amounts):
    assert top_share(amounts, 1.0) == 1
    assert top_share(amounts, 0.01) >= max(amounts) / sum(amounts)


@given(
    st.dictionaries(st.sampled_from("ABCDE"), st.integers(0, 100)).filter(lambda d: any(d.values()))
)
def test_distance_is_a_share_that_is_zero_for_the_same_and_does_not_see_scale(amounts):
    scaled = {name: 7 * amount for name, amount in amounts.items()}
    assert distance(amounts, scaled) == pytest.approx(0)
    assert distance(amounts, {"elsewhere": 1}) == pytest.approx(1)


def test_amounts_are_those_of_the_rule_by_operator():
    found = records("A", "AB", "ab", "B")
    amounts = paid(found, found.metrics(), ShapleyTraffic(), 1000)
    assert amounts == {"A": 500, "B": 500}


def test_leave_one_out_is_what_nobody_else_hears():
    alone = records("A", "Aa", "AB", "a").without_owners().metrics()
    found = dict(zip(alone["gateway"].to_pylist(), alone["sole_uplinks"].to_pylist()))
    assert found == {"A": 3, "B": 0}


def test_a_clone_gains_under_airtime_and_little_or_nothing_under_shapley():
    found = records("A", "A", "A", "AB", "B", "BC")
    measures = compare(found, [ShapleyTraffic(), Airtime()], 10**6).measures
    assert measures.loc["Airtime/1(downlink=0)", "clone_gain"] > 0.2
    shapley = measures.loc["ShapleyTraffic/1()", "clone_gain"]
    assert shapley < measures.loc["Airtime/1(downlink=0)", "clone_gain"]
    assert measures.loc["ShapleyTraffic/1()", "distance_to_shapley"] == pytest.approx(0, abs=1e-5)


def test_a_clone_of_an_uptime_earner_doubles_what_a_presence_is_paid():
    found = records("A", "B")
    polls = [(DAY, gateway, DAY, 5, None) for gateway in "AB"]
    gives = GIVES | {"connected_ppm", "online_ppm"}
    watched = replace(found, statuses=to_table("statuses", polls), gives=gives)
    measures = compare(watched, [Uptime()], 900).measures
    # Of two who share alike, the cloner gets two thirds instead of a half.
    assert measures["clone_gain"].iloc[0] == pytest.approx(1 / 3)


def test_self_traffic_pays_under_a_share_of_a_fixed_pool():
    found = records("A", "AB", "B", "BC", "C")
    measures = compare(found, [ShapleyTraffic()], 10**6, frames=5).measures
    before, after = 10**6 * Fraction(2, 5), 10**6 * Fraction(7, 10)
    assert measures["self_traffic_earned"].iloc[0] == pytest.approx(float(after - before), abs=1)


def test_the_arbitrage_of_2020_appears_and_vanishes_at_its_published_size():
    """A hotspot earned about 21,000 USD of HNT with 145 USD of credits (HIP-10).

    In smallest units of a thousandth of a dollar; a frame of ours stands for a dollar's credits,
    100,000 of them. The pool is 32.5 % of a month's 5,000,000 HNT at 2 USD; what the others sent
    follows from it.
    """
    dollar, frames = 1_000, 145
    pool = 1_625_000 * 2 * dollar
    sent = frames * pool // (21_000 * dollar) - frames
    everyone = [f"hotspot {number}" for number in range(500)]
    rows = [
        Reception(
            time=number * SECOND, gateway=everyone[number % 500], device="d", f_cnt=number,
            size=24, airtime=71_936, delivered=True,
        )
        for number in range(sent)
    ]  # fmt: skip
    found = Records(
        to_table("receptions", rows), to_table("statuses", []), {}, 0, DAY, GIVES | {"data_units"}
    )
    rules = [ShapleyTraffic(), DataCredits(dollar)]
    measures = compare(found, rules, pool, frames=frames, price=dollar).measures
    share, claim = measures["self_traffic_earned"]
    assert share / dollar == pytest.approx(21_000 - 145, rel=0.01)
    assert claim == 0


@pytest.mark.parametrize("price", [1, 7, 1000])
def test_the_arbitrage_of_2020_pays_until_a_frame_earns_no_more_than_it_costs(price):
    """HIP-10: of 145 USD in credits, 21,000 USD were earned where a share of a pool was paid."""
    found = replace(records("A", "AB", "B", "BC", "C"), gives=GIVES | {"data_units"})
    rules = [ShapleyTraffic(), DataCredits(price)]
    pool = price * 21_000 // 145 * 1_000
    earned = compare(found, rules, pool, frames=1_000, price=price).measures["self_traffic_earned"]
    assert earned.iloc[0] == pytest.approx(price * 1_000 * (21_000 / 145 * 0.6 - 1), rel=0.02)
    assert earned.iloc[1] == 0


@pytest.mark.parametrize(
    ("found", "rule", "words"),
    [
        (records(), ShapleyTraffic(), "no delivered uplinks"),
        (replace(records("A"), start=DAY), ShapleyTraffic(), "no delivered uplinks"),
        (records("A"), Uptime(), "needs online_ppm"),
    ],
)
def test_an_impossible_comparison_says_why(found, rule, words):
    with pytest.raises(NothingToCompare, match=words):
        compare(found, [rule], 100)


@pytest.mark.parametrize(
    ("found", "gives"),
    [
        (records(), GIVES),
        (records(), frozenset[str]()),
        (replace(records("A"), start=DAY), frozenset[str]()),
    ],
)
def test_measures_of_uplinks_are_absent_where_no_uplink_is_known(found, gives):
    polls = [(found.start + DAY, gateway, DAY, 5, None) for gateway in "ABC"]
    gives |= {"connected_ppm", "online_ppm"}
    watched = replace(found, statuses=to_table("statuses", polls), gives=gives)
    found = compare(watched, [Uptime()], 900)
    assert found.amounts.iloc[:, 0].to_dict() == {"A": 300, "B": 300, "C": 300}
    measures = found.measures.iloc[0]
    assert measures[["paid", "gini", "nakamoto"]].tolist() == [900, 0, 2]
    assert measures[[*laboratory.MEASURES[4:]]].isna().all()


def test_nothing_is_compared_without_a_rule():
    with pytest.raises(NothingToCompare, match="name a rule"):
        compare(records("A"), [])


def test_rules_are_compared_over_files_without_any_network():
    data = load(*(ROOT / "data" / name for name in ("registry.json", "uplinks.jsonl")))
    rules = [minting.ShapleyTraffic(), minting.Airtime()]
    found = economy.compare(economy.Records.of(data, 2), rules)
    assert [*found.amounts] == [*found.measures.index] == [str(rule.spec()) for rule in rules]
    assert all(0 <= 1_000_000 - paid < 200_000 for paid in found.measures["paid"])  # unattributed
    with Network.create(seed=7) as network:
        network.ingest(data)
        same = network.compare(2, *rules, pool=1_000_000)
    assert found.amounts.equals(same.amounts)
    assert found.measures.equals(same.measures)


@pytest.mark.parametrize("names", [demo.FILES, ["uplinks.jsonl", "statuses.csv"]])
def test_files_count_the_gateways_that_a_network_made_of_them_counts(names):
    data = load(*(ROOT / "data" / name for name in names))
    rules = [minting.ShapleyTraffic(), minting.Uptime()]
    with Network.create(seed=7) as network:
        network.ingest(data)
        for epoch in (0, 2, network.last_epoch):
            one, same = economy.Records.of(data, epoch), network.records(epoch)
            assert one.operators == same.operators
            assert one.metrics() == same.metrics()
            found = economy.compare(one, rules)
            same = network.compare(epoch, *rules, pool=1_000_000)
            assert found.amounts.equals(same.amounts)
            assert found.measures.equals(same.measures)


@pytest.mark.parametrize("length", [DAY, DAY // 3])
def test_epochs_of_files_are_cut_as_a_reporter_cuts_them(length):
    data = load(*(ROOT / "data" / name for name in demo.FILES))
    expected, lookback = [], None
    for number in range(6):
        records = Records.of(data, number, length=length)
        epoch = metrics(
            data.receptions, data.statuses, operators=records.operators, rejects=data.rejected,
            gateways=sorted(records.operators), start=records.start, length=length,
            gives=data.gives, lookback=lookback,
        )  # fmt: skip
        lookback = epoch.lookback
        expected += [epoch.metrics] if number in (0, 1, 5) else []
    found = [Records.of(data, number, length=length).metrics() for number in (0, 1, 5)]
    assert found == expected
    assert len(Records.of(data, 99).receptions) == 0
    with pytest.raises(NothingToCompare):
        economy.compare(Records.of(Telemetry()), [ShapleyTraffic()])


def test_experiments_leave_the_records_as_they_are():
    found = records("A", "AB")
    before = found.metrics()
    found.with_clone("A")
    found.with_self_traffic("A", 3)
    assert found.metrics().equals(before)
    assert found.receptions.schema.names == [column.name for column in TABLES["receptions"]]
    assert isinstance(found.receptions, pa.Table)
