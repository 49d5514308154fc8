"""Generated networks, traffic and the sample: calibration, repeatability and reading."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dii.telemetry import synthetic
from dii.telemetry.load import load
from dii.telemetry.metrics.airtime import MAC_OVERHEAD, time_on_air
from dii.telemetry.synthetic._traffic import nearest
from dii.telemetry.tables import SCHEMAS
from dii.units import DAY, SECOND
from tests.calibration import Figure, calibration
from tests.require import ROOT, real_data

START = 1_524_268_800 * SECOND  # 2018-04-21
DATA = ROOT / "data"


@pytest.fixture(scope="module")
def registry() -> pa.Table:
    return load(real_data("ttn/registry_world_2018-04-20.json")).gateways


@pytest.fixture(scope="module")
def days(registry) -> list[pd.DataFrame]:
    population = synthetic.populate(registry)
    return [population.day(START + number * DAY).to_pandas() for number in range(3)]


@pytest.fixture(scope="module")
def content() -> synthetic.Generated:
    made = synthetic.generate(synthetic.SIZES["sample"])
    return made._replace(roles={role: gateway for role, (gateway,) in made.roles.items()})


@pytest.fixture(scope="module")
def loaded():
    return load(DATA / "registry.json", DATA / "uplinks.jsonl", DATA / "statuses.csv")


def frames(day: pd.DataFrame) -> pd.Series:
    """Return the number of gateways that heard each uplink."""
    return day.groupby(["device", "f_cnt", "time"]).size()


# --- networks ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_a_network_of_ttns_size_meets_every_figure_published_of_it(seed):
    gateways = synthetic.network(5_803, seed)
    figures = calibration(gateways, synthetic.populate(gateways, seed))
    assert Counter(figure.kind for figure in figures) == {
        "TTN": 31, "TTN, n = 1": 4, "proxy": 9, "formula": 2
    }  # fmt: skip
    assert [figure for figure in figures if figure.bound and not figure.holds] == []
    assert {f.kind for f in figures if f.bound} == {"TTN", "formula"}
    packets = [figure for figure in figures if figure.name.startswith("packets")]
    assert len(packets) == 6
    assert max(abs(figure.deviation) for figure in packets) < 0.15


@settings(max_examples=50, deadline=None)
@given(st.floats(0.01, 1e6), st.floats(-0.5, 0.5), st.sampled_from(["number", "share", "limit"]))
def test_figures_hold_within_ten_percent_three_points_or_a_limit(published, off, unit):
    generated = published + (off if unit == "share" else off * published)
    figure = Figure("x", "TTN", "somebody", unit, published, generated)
    margin = {"number": abs(off) - 0.1, "share": abs(off) - 0.03, "limit": off}[unit]
    assume(abs(margin) > 1e-6)
    assert figure.holds is (margin < 0)


def test_the_real_registry_meets_the_figures_published_of_it(registry):
    """The calibration computes the published figures from the real registry."""
    assert [f for f in calibration(registry) if not f.holds] == []


def test_the_nearest_are_those_that_comparing_all_with_all_finds():
    rng = np.random.default_rng(1)
    towns = rng.random((12, 2)) * (40, 300) + (20, -150)
    places = towns[rng.integers(0, 12, 1_500)] + rng.normal(0, 0.2, (1_500, 2))
    places[:20] = places[20]  # several at one point
    near, apart = nearest(places[:, 0], places[:, 1], 10)
    phi, theta = np.radians(places).T
    points = np.stack([np.cos(phi) * np.cos(theta), np.cos(phi) * np.sin(theta), np.sin(phi)])
    chords = np.sqrt(((points[:, :, None] - points[:, None, :]) ** 2).sum(axis=0))
    np.fill_diagonal(chords, np.inf)
    np.testing.assert_allclose(apart, 6_371 * np.sort(chords, axis=1)[:, :10], atol=1e-3)
    of_found = 6_371 * np.take_along_axis(chords, near, axis=1)
    np.testing.assert_allclose(of_found, apart, atol=1e-3)
    assert all(len(set(row)) == 10 for row in near.tolist())


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 400), st.integers(0, 2**32))
def test_a_network_of_any_size_is_a_valid_registry(gateways, seed):
    table = synthetic.network(gateways, seed)
    assert table.schema == SCHEMAS["gateways"]
    rows = table.to_pandas()
    assert len(rows) == rows["gateway"].nunique() == gateways
    placed = rows.dropna(subset=["latitude"])
    assert placed["country"].notna().all()
    assert placed["latitude"].between(-90, 90).all()
    assert placed["longitude"].between(-180, 180).all()
    assert rows["last_seen"].max() <= synthetic.SNAPSHOT


def test_a_seed_says_who_gets_what_and_not_how_many():
    first, again, other = (synthetic.network(500, seed) for seed in (1, 1, 2))
    assert first.equals(again)
    assert not first.equals(other)
    for column in ("country", "placement"):
        one, two = (t[column].to_pandas().value_counts(dropna=False) for t in (first, other))
        assert one.to_dict() == two.to_dict()


# --- traffic -----------------------------------------------------------------------------------


def test_packets_per_active_gateway_follow_the_published_quantiles(registry, days):
    for day in days:
        packets = day["gateway"].value_counts().reindex(registry["gateway"].to_pylist()).dropna()
        for share, published in ((0.5, 6), (0.75, 33), (0.9, 173), (0.95, 442), (0.99, 1_941)):
            assert np.quantile(packets, share) == pytest.approx(published, rel=0.15)
        assert packets.max() == pytest.approx(94_542, rel=0.25)


def test_levels_between_the_quantiles_are_those_of_the_hotspots():
    hotspots = np.loadtxt(real_data("helium/packets_per_hotspot_1day_2022-02.csv"), skiprows=1)
    share = np.concatenate((np.linspace(0.5, 0.99, 50), np.linspace(0.99, 0.9995, 20)))
    found = np.quantile(synthetic.levels(60_240), share)
    np.testing.assert_allclose(found, np.quantile(hotspots, share), rtol=0.12)
    assert synthetic.levels(60_240)[-1] == pytest.approx(hotspots.max())
    assert synthetic.levels(60_240, top=0.999)[-1] < 1.1 * np.quantile(hotspots, 0.999)


def test_half_of_the_gateways_are_active_and_they_were_seen_last(registry, days):
    active = set(synthetic.populate(registry).gateways.to_pylist())
    assert len(active) == round(0.5 * len(registry))
    heard = set().union(*(day["gateway"] for day in days))
    assert heard <= active
    assert len(heard) > 0.98 * len(active)
    rows = registry.to_pandas().set_index("gateway")["last_seen"]
    assert rows[list(active)].min() >= rows[~rows.index.isin(active)].max() - 60 * SECOND


def test_without_the_tail_nobody_exceeds_the_top_permille(registry):
    day = synthetic.populate(registry, top=0.999).day(START).to_pandas()
    assert day["gateway"].value_counts().iloc[0] < 1.25 * 8_300  # p99.9 of the Helium counts


def test_uplinks_are_shared_as_published_radio_shares_them(registry, days):
    """Mostly one gateway, some several, at most the eleven of the hilltop."""
    heard = frames(days[0])
    assert 0.1 < (heard > 1).mean() < 0.4
    assert heard.max() <= 11
    assert heard.nunique() >= 5
    # Most gateways with neighbours share some of their uplinks.
    shared = days[0].groupby(["device", "f_cnt", "time"])["gateway"].transform("size") > 1
    assert 0.2 < shared.groupby(days[0]["gateway"]).mean().mean() < 0.6


def test_gateways_that_share_a_frame_stand_together_and_those_without_a_place_hear_alone(
    registry, days
):
    place = registry.to_pandas().set_index("gateway")[["latitude", "longitude"]]
    day = days[0].join(place, on="gateway")
    together = day.groupby(["device", "f_cnt", "time"])
    shared = day[together["gateway"].transform("size") > 1]
    assert shared["latitude"].notna().all()
    height = shared.groupby(["device", "f_cnt", "time"])["latitude"]
    assert (height.max() - height.min()).max() * 111.2 < 50


def test_a_day_of_receptions_is_valid(registry, days):
    table = synthetic.populate(registry).day(START)
    assert table.schema == SCHEMAS["receptions"]
    for number, day in enumerate(days):
        time = day["time"]
        assert time.is_monotonic_increasing
        assert time.min() >= START + number * DAY
        assert time.max() < START + (number + 1) * DAY
        assert not day.duplicated(["device", "f_cnt", "time", "gateway"]).any()
        assert set(day["kind"]) == {"data"}
        assert day["delivered"].all()
        assert day["rssi"].between(-125, -20).all()
        assert day["snr"].between(-20, 12).all()


def test_airtime_is_that_of_a_spreading_factor_whose_floor_lies_below_the_signal(days):
    airtimes = days[0].groupby(["size", "airtime"])["snr"].min()
    factor = {
        (size, time_on_air(MAC_OVERHEAD + size, sf)): sf
        for size in set(days[0]["size"])
        for sf in range(7, 13)
    }
    for (size, airtime), snr in airtimes.items():
        assert snr >= -7.5 - 2.5 * (factor[size, airtime] - 7)


def test_no_device_sends_more_than_fair_use_allows(days):
    for day in days:
        uplinks = day.drop_duplicates(["device", "f_cnt", "time"])
        assert uplinks.groupby("device")["airtime"].sum().max() <= 30 * SECOND


def test_frame_counters_go_on_over_midnight_with_few_lost(days):
    uplinks = pd.concat(days).drop_duplicates(["device", "f_cnt", "time"])
    step = uplinks.sort_values("time").groupby("device")["f_cnt"].diff().dropna() % 65_536
    assert step.min() == 1
    assert 0.9 < (step == 1).mean() < 1


def test_a_gateway_keeps_its_level_from_day_to_day(days):
    counts = pd.concat([day["gateway"].value_counts() for day in days], axis=1).fillna(0)
    busy = counts[counts.mean(axis=1) >= 100]
    assert (busy.max(axis=1) <= 1.7 * busy.min(axis=1)).all()
    assert (busy.max(axis=1) != busy.min(axis=1)).any()


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 20), st.integers(0, 2**32), st.sampled_from([0.2, 0.5, 1.0]))
def test_a_day_alone_is_the_day_of_the_series(number, seed, active):
    gateways = synthetic.network(150, seed)
    population = synthetic.populate(gateways, seed, active)
    series = [population.day(START + day * DAY) for day in range(number + 1)]
    alone = synthetic.populate(gateways, seed, active).day(START + number * DAY)
    assert series[number].equals(alone)


def test_another_seed_gives_other_traffic(registry):
    one, two = (synthetic.populate(registry, seed).day(START) for seed in (1, 2))
    assert not one.equals(two)


def test_a_smaller_network_keeps_the_quantiles_and_names_everything_once():
    gateways = synthetic.network(3_000, 7)
    population = synthetic.populate(gateways, 7)
    assert len(population.gateways) == 1_500
    for names in (population.gateways.to_pylist(), population.devices.to_pylist()):
        assert len(names) == len(set(names))
    assert set(population.gateways.to_pylist()) <= set(gateways["gateway"].to_pylist())
    packets = population.day(START)["gateway"].to_pandas().value_counts()
    for share, published in ((0.5, 6), (0.75, 33), (0.9, 173), (0.95, 442)):
        assert np.quantile(packets, share) == pytest.approx(published, rel=0.15)


@pytest.mark.parametrize("count", [1, 2, 11])
def test_few_gateways_have_as_many_neighbours_as_there_are_others(count):
    places = np.linspace(50, 51, count), np.linspace(5, 6, count)
    near, apart = nearest(*places, 10)
    assert near.shape == apart.shape == (count, count - 1)
    assert all(set(row) == set(range(count)) - {n} for n, row in enumerate(near.tolist()))
    assert (np.diff(apart) >= 0).all()
    gateways = synthetic.network(count, 1)
    heard = synthetic.populate(gateways, 1, active=1.0).day(START)["gateway"].to_pylist()
    assert set(heard) <= set(gateways["gateway"].to_pylist())


# --- files -------------------------------------------------------------------------------------


def by_time(table: pa.Table) -> pd.DataFrame:
    """Order receptions or statuses so that they can be compared."""
    columns = [
        name
        for name in ("time", "gateway", "device", "f_cnt", "rssi", "snr")
        if name in table.schema.names
    ]
    return table.to_pandas().sort_values(columns, ignore_index=True)


@pytest.fixture(scope="module")
def small() -> synthetic.Size:
    """A network of the shape of ttn2018, of two days."""
    return synthetic.SIZES["ttn2018"]._replace(gateways=900, days=2, top=0.99)


@pytest.fixture(scope="module")
def written(tmp_path_factory, small) -> tuple[Path, Counter]:
    folder = tmp_path_factory.mktemp("small")
    return folder, synthetic.write(folder, small, seed=5)


@pytest.fixture(scope="module")
def small_made(small) -> synthetic.Generated:
    return synthetic.generate(small, seed=5)


@pytest.fixture(scope="module")
def small_loaded(written):
    return load(*sorted(written[0].iterdir()))


def test_files_are_uplinks_statuses_and_a_registry(written, small_made):
    names = {path.name for path in written[0].iterdir()}
    assert names == {"registry.json", "statuses.csv", "uplinks.jsonl"}
    days = {time // DAY - START // DAY for time in small_made.receptions["time"].to_pylist()}
    assert days == {0, 1, 2}, "the third day begins"


def test_reading_the_files_gives_the_generated_receptions(small_made, small_loaded):
    assert len(small_made.receptions) > 10_000
    pd.testing.assert_frame_equal(by_time(small_loaded.receptions), by_time(small_made.receptions))


def test_reading_the_files_gives_the_generated_statuses(small_made, small_loaded):
    expected, found = by_time(small_made.statuses), by_time(small_loaded.statuses)
    known = expected["frames"].notna()
    assert known.any()
    assert not known.all()
    pd.testing.assert_frame_equal(found.drop(columns="frames"), expected.drop(columns="frames"))
    assert (found["frames"].notna() == known).all()
    assert (found["frames"][known] == expected["frames"][known]).all()


def test_malformed_records_and_no_others_are_rejected_for_their_reason(written, small_loaded):
    assert small_loaded.rejects["reason"].value_counts().to_dict() == written[1]
    assert {"simulated", "bad_json", "bad_time", "bad_field", "same_reception"} < set(written[1])
    assert {"duplicate_gateway", "placeholder_coordinates"} < set(written[1])


def test_reading_the_registry_gives_the_generated_one(written, small_made):
    expected = small_made.registry.to_pandas()
    found = load(written[0] / "registry.json").gateways.to_pandas()
    pd.testing.assert_frame_equal(
        *(rows.sort_values("gateway", ignore_index=True) for rows in (found, expected))
    )


def test_gateways_answer_and_hear_nothing_while_deaf(written, small_made):
    statuses = pd.read_csv(written[0] / "statuses.csv")
    assert statuses["frames"].min() == 0
    assert small_made.roles["deaf"]
    for gateway in small_made.roles["deaf"]:
        mine = statuses[statuses["gateway"] == gateway]["frames"]
        assert len(mine) == 49
        assert (mine.iloc[15:] == 0).all()


def test_nobody_hears_anything_while_out(small_made):
    hour = DAY // 24
    assert small_made.roles["out"]
    for gateway in small_made.roles["out"]:
        polls, heard = (table.to_pandas() for table in (small_made.statuses, small_made.receptions))
        polls = polls[polls["gateway"] == gateway]["time"].to_numpy()
        heard = heard[heard["gateway"] == gateway]["time"].to_numpy()
        (gap,) = np.flatnonzero(np.diff(polls) > hour)
        begin, end = polls[gap], polls[gap + 1] - hour
        assert end - begin == (49 - len(polls)) * hour >= 10 * hour
        assert len(heard)
        assert not ((heard > begin) & (heard < end)).any()


# --- sample ------------------------------------------------------------------------------------


def test_one_command_makes_the_sample_again_byte_for_byte(tmp_path):
    for hash_seed in ("0", "random"):
        folder = tmp_path / hash_seed
        subprocess.run(
            [sys.executable, "-c", "from dii.cli import main; main()", "synth", "-o", str(folder)],
            check=True,
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
        )
        for made in folder.iterdir():
            assert made.read_bytes() == (DATA / made.name).read_bytes(), made.name
    assert sum(path.stat().st_size for path in DATA.iterdir()) < 1 << 20


def test_another_seed_makes_another_sample(content):
    made = synthetic.generate(synthetic.SIZES["sample"], seed=8)
    assert not made.receptions.equals(content.receptions)


def test_reading_the_sample_gives_the_generated_receptions_and_statuses(content, loaded):
    for table in ("receptions", "statuses"):
        found, expected = (by_time(getattr(one, table)) for one in (loaded, content))
        pd.testing.assert_frame_equal(found, expected)


def test_reading_the_sample_gives_the_generated_registry(content, loaded):
    expected, found = (
        table.to_pandas().sort_values("gateway", ignore_index=True)
        for table in (content.registry, loaded.gateways)
    )
    pd.testing.assert_frame_equal(found, expected)


def test_the_samples_accidents_become_rejects_with_their_reason(loaded):
    reasons = loaded.rejects["reason"].value_counts()
    assert reasons["simulated"] == 2
    assert reasons["bad_json"] == 2
    assert reasons["bad_time"] == 1
    assert reasons["bad_field"] == 1
    assert reasons["duplicate_gateway"] == 1
    assert reasons["placeholder_coordinates"] == 2
    assert reasons["same_reception"] >= 5


def test_the_sample_has_eight_full_days_and_every_role(content):
    heard, statuses = content.receptions.to_pandas(), content.statuses.to_pandas()
    day = heard["time"] // DAY
    assert day.nunique() == 9
    assert statuses["time"].iloc[0] // DAY == day.min()
    assert statuses["time"].iloc[-1] // DAY == day.max()
    away = statuses[statuses["gateway"] == content.roles["out"]]["time"].diff().max()
    assert away > 1.5 * DAY
    deaf = statuses[statuses["gateway"] == content.roles["deaf"]]
    assert len(deaf) == 65
    assert (deaf["frames"].iloc[-41:] == 0).all()
    assert deaf["frames"].iloc[0] > 0
    assert heard["gateway"].isna().sum() >= 20
    clock = heard[heard["gateway"] == content.roles["adrift"]]["gateway_time"]
    assert (clock < 366 * DAY).all()
    assert len(clock)


def test_the_sample_has_readable_operators_who_earn(content):
    operators = content.registry.to_pandas().set_index("gateway")["operator"]
    earning = operators.reindex(content.receptions["gateway"].to_pylist()).dropna()
    assert 15 <= earning.nunique() <= operators.nunique() <= 25
    assert operators.value_counts().iloc[0] > 1
    assert operators.isna().any()


def test_the_readme_of_the_sample_names_what_is_in_it(content):
    text = (DATA / "README.md").read_text()
    operators = content.registry.to_pandas().set_index("gateway")["operator"]
    for role in ("out", "deaf"):
        gateway = content.roles[role]
        assert f"`{gateway}` of {operators[gateway]}" in text
    uplinks = frames(content.receptions.to_pandas())
    assert f"{len(uplinks):,} uplinks, a quarter" in text
    assert 0.22 < (uplinks > 1).mean() < 0.28
    assert uplinks.max() == 4
    assert f"{content.statuses.to_pandas()['gateway'].nunique()} gateways that are on" in text


def test_the_sample_lists_one_gateway_twice(content):
    records = json.loads((DATA / "registry.json").read_text())
    assert {content.roles["twice"].lower(), f"eui-{content.roles['twice'].lower()}"} <= set(records)
    places = [record.get("location") for record in records.values()]
    assert None in places
    assert any(place and place["latitude"] in {0.0, 10.0} for place in places)
