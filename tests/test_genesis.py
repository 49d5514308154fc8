"""The genesis: one text, one hash, and errors that name the field."""

from __future__ import annotations

import os
import random
import tomllib
from datetime import UTC, datetime, timedelta, timezone

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st
from pydantic import create_model

from dii import minting
from dii.application import Application, pages, total_money
from dii.application.bank import supply
from dii.application.messages import (
    MAX_BATCH,
    RegisterApplications,
    RegisterGateways,
    ReportChunk,
    Transfer,
)
from dii.codec import MAX_SIZE
from dii.crypto import format_address
from dii.errors import BadSignature, GenesisError, MetricNotReported
from dii.genesis import (
    LEAST_BLOCK_GAS,
    MAX_BYTES,
    TREASURY,
    Genesis,
    Limits,
    ScopeSection,
    SpecSection,
    ValidatorSection,
)
from dii.schema import METRICS
from dii.units import MAX_AMOUNT, SECOND
from tests.chains import (
    ALICE,
    BOB,
    CAROL,
    EPOCH,
    REPORTER,
    START,
    VALIDATOR,
    content,
    genesis,
    reserved,
    scope,
    sign,
    stream,
)

NAMES = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,40}", fullmatch=True)
POLICIES = st.builds(minting.FixedEmission, st.integers(0, 10**12)) | st.builds(
    minting.PerContribution, st.integers(0, MAX_AMOUNT), st.integers(0, 10**12)
)


@st.composite
def contents(draw: st.DrawFn) -> dict[str, object]:
    """Draw any valid genesis."""
    length = draw(st.integers(60, 31 * 86_400))
    count = draw(st.integers(0, 10**9 // length))
    zone = timezone(timedelta(minutes=draw(st.integers(-1439, 1439))))
    scopes = draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
    metrics = st.sets(st.sampled_from(sorted(METRICS)), min_size=1)
    given_by = {
        name: sorted(draw(metrics) | {"online_ppm"}, key=list(METRICS).index) for name in scopes
    }
    names = draw(st.lists(NAMES.filter(lambda name: name != "treasury"), max_size=4, unique=True))
    places = [draw(st.sampled_from(scopes)) for _ in names]
    streams = []
    for at, (name, where) in enumerate(zip(names, places)):
        later = [n for n, w in zip(names[at + 1 :], places[at + 1 :]) if w == where]
        rest = draw(st.sampled_from([None, "treasury", *later]))
        rule = minting.Uptime(draw(st.integers(0, 10**6)))
        streams.append(stream(name, rule, draw(POLICIES), scope=where, rest=rest))
    people = draw(st.lists(st.sampled_from([ALICE, BOB, CAROL]), unique=True))
    return content(
        name=draw(NAMES),
        start=datetime.fromtimestamp(count * length, zone),
        epoch_seconds=length,
        gas_price=draw(st.integers(0, 10**12)),
        laboratory=draw(st.booleans()),
        currency={
            "name": draw(st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)),
            "symbol": draw(st.from_regex(r"[A-Za-z][A-Za-z0-9]{0,7}", fullmatch=True)),
            "decimals": draw(st.sampled_from([0, 2, 3, 6, 9])),
        },
        limits={"settle_rows": draw(st.integers(1, 1 << 20))},
        accounts=[
            {"address": format_address(key.address), "balance": draw(st.integers(0, 2**61))}
            for key in people
        ],
        scopes=[scope(name, given_by[name]) for name in scopes],
        streams=streams,
    )


def shuffled(value: object, random: random.Random) -> object:
    """Return the same with every table's keys in another order."""
    if isinstance(value, dict):
        items = list(value.items())
        random.shuffle(items)
        return {key: shuffled(item, random) for key, item in items}
    return [shuffled(item, random) for item in value] if isinstance(value, list) else value


@given(contents())
def test_a_genesis_survives_its_text(what):
    made = Genesis.make(**what)
    again = Genesis.parse(made.dump())
    assert again == made
    assert again.hash == made.hash
    assert again.dump() == made.dump()


@given(contents())
def test_an_accepted_genesis_starts_an_application_that_conserves(what):
    made = Genesis.make(**what)
    app = Application(made)
    money = supply(app.state)
    assert total_money(app.state) == money.minted - money.burned
    assert money.minted == sum(account.balance for account in made.accounts)
    assert app.init_chain() == app.init_chain() == app.info()[1]


@given(contents(), st.randoms(use_true_random=False))
def test_the_hash_does_not_depend_on_order_comments_or_time_zone(what, random):
    made = Genesis.make(**what)
    written = shuffled(tomllib.loads(made.dump()), random)
    zone = timezone(timedelta(hours=random.randint(-12, 12)))
    written["start"] = written["start"].astimezone(zone)
    text = "# a comment\n" + tomli_w.dumps(written) + "\n# another\n"
    assert Genesis.parse(text).hash == made.hash


def test_every_field_is_part_of_the_hash():
    other_key = BOB.public_key.hex()
    changes = [
        {"name": "other"},
        {"start": datetime.fromtimestamp(START // SECOND, UTC) + timedelta(hours=1)},
        {"epoch_seconds": 1800},
        {"report_window_seconds": 61},
        {"gas_price": 2},
        {"max_mint_per_epoch": 10**12 + 1},
        {"laboratory": False},
        {"currency": {"name": "Other"}},
        {"currency": {"symbol": "OTH"}},
        {"currency": {"decimals": 2}},
        *({"limits": {name: 1 << 20}} for name in ("block_bytes", "block_gas", "settle_rows")),
        *({"limits": {name: 1 << 10}} for name in ("max_rows", "max_bindings", "pending")),
        {"accounts": []},
        {"accounts": [{"address": format_address(ALICE.address), "balance": 1}]},
        {"validators": [{"public_key": other_key}]},
        {"validators": [{"public_key": VALIDATOR.public_key.hex(), "power": 11}]},
        {"scopes": [scope(), scope("other")]},
        {"scopes": [scope(metrics=("online_ppm", "uplinks"))]},
        {"streams": []},
        {"streams": [stream(rest="treasury")]},
        {"streams": [stream(policy=minting.FixedEmission(999))]},
        {"streams": [stream(rule=minting.Uptime(1))]},
    ]
    hashes = [genesis(**change).hash for change in ({}, *changes)]
    assert len(set(hashes)) == len(hashes)


ALICE_TEXT = format_address(ALICE.address)
DEFAULTS = {
    "epoch_seconds": 86_400,
    "report_window_seconds": 86_400,
    "gas_price": 1,
    "laboratory": False,
    "currency": {"name": "The Things Coin", "symbol": "TTC", "decimals": 6},
    "limits": {
        "block_bytes": 1 << 21,
        "block_gas": 100_000_000,
        "settle_rows": 8_000,
        "max_rows": 1 << 20,
        "max_bindings": 1 << 16,
        "pending": 16,
        "hook_gas": 10_000_000,
        "hook_budget": 50_000_000,
    },
    "governance": {
        "delay_seconds": 7 * 86_400,
        "voting_seconds": 14 * 86_400,
        "max_treasury_ppm": 200_000,
    },
    "accounts": [],
    "streams": [],
}


@given(contents(), st.integers(), st.text())
def test_a_release_with_more_fields_reads_an_old_file_to_the_same_hash(what, number, text):
    limits = create_model("LaterLimits", __base__=Limits, depth=(int, number))
    added = {"motto": (str, text), "limits": (limits, limits())}
    later = create_model("LaterGenesis", __base__=Genesis, **added)
    made, read = Genesis.make(**what), later.make(**what)
    assert (read.motto, read.limits.depth) == (text, number)
    assert read.hash == made.hash == later.parse(made.dump()).hash
    assert later.make(**what | {"motto": text + "!"}).hash != made.hash


def test_the_defaults_of_the_first_version_are_what_they_were():
    """The hash leaves out defaults, so an altered default would split a network."""
    least = {key: value for key, value in content().items() if key not in DEFAULTS}
    made = Genesis.make(**least).model_dump()
    for field, value in DEFAULTS.items():
        known = made[field]
        assert (value.items() <= known.items()) if isinstance(value, dict) else value == known
    stated = {"name": "x", "reporters": [ALICE_TEXT], "metrics": ["online_ppm"]}
    section = ScopeSection(**stated).model_dump()
    assert (stated | {"usage": [], "site_radius_m": 0}).items() <= section.items()
    assert SpecSection(name="x").model_dump() == {"name": "x", "version": 1, "parameters": {}}
    assert ValidatorSection(public_key="0" * 64).power == 1


def test_the_least_gas_of_a_block_holds_every_full_duty_and_is_told():
    name, reporter = "m" * 41, REPORTER.address
    full = [
        ReportChunk(name, 2**40, bytes(pages.MAX_BYTES)),
        *(
            kind(name, ((reporter, reporter),) * MAX_BATCH)
            for kind in (RegisterGateways, RegisterApplications)
        ),
    ]
    needed = [reserved(sign(bytes(32), REPORTER, 2**40, one, gas_limit=2**40)) for one in full]
    assert 0 <= LEAST_BLOCK_GAS - max(needed) < 1_000
    assert genesis(limits={"block_gas": LEAST_BLOCK_GAS})
    with pytest.raises(GenesisError, match=r"173,000 gas .* 602,000 or more"):
        genesis(limits={"block_gas": 173_000})


def test_an_address_in_capitals_is_the_same_account():
    written = content()
    for account in written["accounts"]:
        account["address"] = account["address"].upper()
    written["scopes"][0]["reporters"] = [format_address(REPORTER.address).upper()]
    assert Genesis.make(**written).hash == genesis().hash


# --- what is refused ---------------------------------------------------------------------------

ADDRESS = format_address(ALICE.address)
MISTYPED = ADDRESS[:-1] + ("q" if ADDRESS[-1] != "q" else "p")
KEY = VALIDATOR.public_key.hex()
UPTIME = {"name": "Uptime"}
FIXED = {"name": "FixedEmission", "parameters": {"amount": 5}}


def account(address: str, balance: object = 1) -> dict[str, object]:
    return {"address": address, "balance": balance}


BAD: dict[str, tuple[str, dict[str, object]]] = {
    "no name": ("name", {"name": ""}),
    "name in capitals": ("name", {"name": "TTN"}),
    "name with a space": ("name", {"name": "the things"}),
    "long name": ("name", {"name": "x" * 42}),
    "name of a wrong type": ("name", {"name": 5}),
    "start without a zone": ("start", {"start": datetime(2018, 4, 21)}),  # noqa: DTZ001
    "start off the epoch's boundary": ("start", {"start": datetime(2018, 4, 21, 0, 1, tzinfo=UTC)}),
    "start off by a microsecond": (
        "start",
        {"start": datetime(2018, 4, 21, 0, 0, 0, 1, tzinfo=UTC)},
    ),
    "start before 1970": ("start", {"start": datetime(1969, 12, 31, tzinfo=UTC)}),
    "start beyond all calendars": (
        "start",
        {"start": datetime(9999, 12, 31, 23, tzinfo=timezone(-timedelta(hours=5)))},
    ),
    "start as text": ("start", {"start": "2018-04-21T00:00:00Z"}),
    "short epochs": ("epoch_seconds", {"epoch_seconds": 59}),
    "epochs of a fraction": ("epoch_seconds", {"epoch_seconds": 3600.5}),
    "no report window": ("report_window_seconds", {"report_window_seconds": 0}),
    "negative gas price": ("gas_price", {"gas_price": -1}),
    "gas price beyond all money": ("gas_price", {"gas_price": 10**12 + 1}),
    "negative limit": ("max_mint_per_epoch", {"max_mint_per_epoch": -1}),
    "limit of 2**63": ("max_mint_per_epoch", {"max_mint_per_epoch": 2**63}),
    "laboratory of a wrong type": ("laboratory", {"laboratory": 1}),
    "symbol with a dash": ("currency.symbol", {"currency": {"symbol": "T-C"}}),
    "symbol with a newline": ("currency.symbol", {"currency": {"symbol": "TTC\n"}}),
    "empty currency name": ("currency.name", {"currency": {"name": ""}}),
    "decimals that have no unit": ("currency.decimals", {"currency": {"decimals": 4}}),
    "block bytes too few for a chunk": ("limits.block_bytes", {"limits": {"block_bytes": 1000}}),
    "block gas too little for a registration": (
        "limits.block_gas",
        {"limits": {"block_gas": LEAST_BLOCK_GAS - 1}},
    ),
    "block bytes beyond the codec": ("limits.block_bytes", {"limits": {"block_bytes": 1 << 22}}),
    "no settling": ("limits.settle_rows", {"limits": {"settle_rows": 0}}),
    "rows beyond a report": ("limits.max_rows", {"limits": {"max_rows": (1 << 20) + 1}}),
    "unknown limit": ("limits.speed", {"limits": {"speed": 1}}),
    "unknown field": ("speed", {"speed": 1}),
    "mistyped address": ("accounts.0.address", {"accounts": [account(MISTYPED)]}),
    "empty address": ("accounts.0.address", {"accounts": [account("")]}),
    "address of another network": ("accounts.0.address", {"accounts": [account("ttn1qqqq")]}),
    "negative balance": ("accounts.0.balance", {"accounts": [account(ADDRESS, -1)]}),
    "balance of 2**63": ("accounts.0.balance", {"accounts": [account(ADDRESS, 2**63)]}),
    "balance with a point": ("accounts.0.balance", {"accounts": [account(ADDRESS, 1.0)]}),
    "balance that is true": ("accounts.0.balance", {"accounts": [account(ADDRESS, True)]}),
    "account twice": ("accounts", {"accounts": [account(ADDRESS), account(ADDRESS)]}),
    "account twice, once in capitals": (
        "accounts",
        {"accounts": [account(ADDRESS), account(ADDRESS.upper())]},
    ),
    "balances of 2**63 together": (
        "accounts",
        {"accounts": [account(ADDRESS, 2**62), account(format_address(BOB.address), 2**62)]},
    ),
    "no validators": ("validators", {"validators": []}),
    "short key": ("validators.0.public_key", {"validators": [{"public_key": KEY[:-2]}]}),
    "key in capitals": ("validators.0.public_key", {"validators": [{"public_key": KEY.upper()}]}),
    "no power": ("validators.0.power", {"validators": [{"public_key": KEY, "power": 0}]}),
    "validator twice": ("validators", {"validators": [{"public_key": KEY}, {"public_key": KEY}]}),
    "no scopes": ("scopes", {"scopes": []}),
    "scope twice": ("scopes", {"scopes": [scope(), scope()]}),
    "scope without reporters": ("scopes.0.reporters", {"scopes": [scope() | {"reporters": []}]}),
    "mistyped reporter": (
        "scopes.0.reporters.0",
        {"scopes": [scope() | {"reporters": [MISTYPED]}]},
    ),
    "reporter twice": ("scopes.0", {"scopes": [scope(reporters=(REPORTER, REPORTER))]}),
    "more reporters than 64": (
        "scopes.0.reporters",
        {"scopes": [scope() | {"reporters": [format_address(bytes([n] * 20)) for n in range(65)]}]},
    ),
    "unknown usage": ("scopes.0", {"scopes": [scope(usage=("beauty",))]}),
    "usage out of order": ("scopes.0", {"scopes": [scope(usage=("lost", "delivered"))]}),
    "scope without metrics": ("scopes.0.metrics", {"scopes": [scope(metrics=())]}),
    "unknown metric": ("scopes.0", {"scopes": [scope(metrics=("online_ppm", "beauty"))]}),
    "metric twice": ("scopes.0", {"scopes": [scope(metrics=("uplinks", "uplinks"))]}),
    "metrics out of order": ("scopes.0", {"scopes": [scope(metrics=("uplinks", "online_ppm"))]}),
    "stream twice": ("streams", {"streams": [stream(), stream()]}),
    "stream called like the treasury": ("streams.0.name", {"streams": [stream("treasury")]}),
    "stream of no scope": ("streams.0.scope", {"streams": [stream(scope="moon")]}),
    "rest to an unknown stream": ("streams.0.rest", {"streams": [stream(rest="moon")]}),
    "rest to itself": ("streams.0.rest", {"streams": [stream(rest="main")]}),
    "rest to an earlier stream": (
        "streams.1.rest",
        {"streams": [stream("first"), stream("second", rest="first")]},
    ),
    "rest to another scope": (
        "streams.0.rest",
        {
            "scopes": [scope(), scope("other")],
            "streams": [stream("first", rest="second"), stream("second", scope="other")],
        },
    ),
    "unknown rule": ("streams.0", {"streams": [stream() | {"rule": {"name": "Beauty"}}]}),
    "unknown version": ("streams.0", {"streams": [stream() | {"rule": UPTIME | {"version": 2}}]}),
    "unknown parameter": (
        "streams.0",
        {"streams": [stream() | {"rule": UPTIME | {"parameters": {"beauty": 1}}}]},
    ),
    "negative parameter": (
        "streams.0.rule.parameters.minimum_ppm",
        {"streams": [stream() | {"rule": UPTIME | {"parameters": {"minimum_ppm": -1}}}]},
    ),
    "rule of nothing": ("streams.0", {"streams": [stream(rule=minting.Composite())]}),
    "rule that may pass 2**63": (
        "streams.0",
        {
            "scopes": [scope(metrics=("data_units",))],
            "streams": [stream(rule=minting.DataCredits(100_000))],
        },
    ),
    "policy that does not shrink": (
        "streams.0",
        {"streams": [stream(policy=minting.ExponentialDecay(5, 10**6))]},
    ),
    "policy without amount": (
        "streams.0",
        {"streams": [stream() | {"policy": {"name": "FixedEmission"}}]},
    ),
    "amount as text": (
        "streams.0.policy.parameters.amount",
        {"streams": [stream() | {"policy": FIXED | {"parameters": {"amount": "5 TTC"}}}]},
    ),
    "policy above the limit": (
        "streams.0.policy",
        {"max_mint_per_epoch": 4, "streams": [stream() | {"policy": FIXED}]},
    ),
}


@pytest.mark.parametrize(("field", "changes"), BAD.values(), ids=BAD)
def test_a_bad_field_is_refused_by_its_name(field, changes):
    with pytest.raises(GenesisError) as caught:
        Genesis.make(**content(**changes))
    assert caught.value.numbers["field"] == field
    assert str(caught.value).startswith(f"genesis, field {field}: ")


@pytest.mark.parametrize("field", ["name", "start", "max_mint_per_epoch", "validators", "scopes"])
def test_a_missing_field_is_refused_by_its_name(field):
    what = content()
    del what[field]
    with pytest.raises(GenesisError) as caught:
        Genesis.make(**what)
    assert caught.value.numbers["field"] == field


def test_a_rule_that_its_scope_has_no_metric_for_is_refused_naming_the_metric():
    streams = [stream(), stream("traffic", minting.ShapleyTraffic())]
    with pytest.raises(MetricNotReported) as caught:
        genesis(streams=streams)
    numbers = caught.value.numbers
    assert numbers["metric"] == "shapley_uplinks"
    assert numbers["stream"] == "traffic"
    assert "online_ppm" in str(caught.value)


@given(st.binary(max_size=200) | st.binary(max_size=40).map(lambda tail: b'name = "' + tail))
def test_bytes_that_are_no_genesis_are_a_named_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("genesis") / "genesis.toml"
    path.write_bytes(data)
    with pytest.raises(GenesisError):
        Genesis.load(path)


VALID = genesis().dump().encode()


@given(
    st.integers(0, len(VALID)), st.integers(0, 6), st.binary(max_size=6) | st.sampled_from(
        [b"-", b"[", b'"', b"1e400", b"nan", b"\n\n[", b"=", b"0x", b"9" * 5000]
    )
)  # fmt: skip
def test_a_damaged_genesis_is_another_or_a_named_error(at, removed, inserted):
    text = (VALID[:at] + inserted + VALID[at + removed :]).decode(errors="replace")
    try:
        made = Genesis.parse(text)
    except (GenesisError, MetricNotReported):
        return
    assert Genesis.parse(made.dump()).hash == made.hash
    Application(made)


def test_a_number_too_long_to_read_is_a_named_error():
    with pytest.raises(GenesisError):
        Genesis.parse("gas_price = " + "9" * 5000)


def test_tables_nested_without_end_are_a_named_error():
    with pytest.raises(GenesisError):
        Genesis.parse("accounts = " + "[" * 100_000)


@pytest.mark.parametrize("field", ["cls", "self"])
def test_a_field_of_any_name_that_no_genesis_has_is_a_named_error(field):
    with pytest.raises(GenesisError):
        Genesis.parse(f'"{field}" = 1')


def test_a_huge_file_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "genesis.toml"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(GenesisError, match="larger than"):
        Genesis.load(path)


def test_a_folder_in_its_place_leaves_no_file_open(tmp_path):
    os.close(before := os.open(os.devnull, os.O_RDONLY))
    for _ in range(2):
        with pytest.raises(GenesisError, match="not a regular file"):
            Genesis.load(tmp_path)
    os.close(after := os.open(os.devnull, os.O_RDONLY))
    assert after == before, "the next number is the same as before"


def test_a_file_that_cannot_be_read_is_a_named_error(tmp_path):
    with pytest.raises(GenesisError, match=r"genesis\.toml"):
        Genesis.load(tmp_path / "genesis.toml")
    with pytest.raises(GenesisError):
        Genesis.load(tmp_path)
    (tmp_path / "latin.toml").write_bytes('name = "Zürich"'.encode("latin-1"))
    with pytest.raises(GenesisError, match=r"latin\.toml"):
        Genesis.load(tmp_path / "latin.toml")


def test_the_largest_block_that_limits_allow_fits_the_codec():
    most = Genesis.model_fields["limits"].annotation.model_fields["block_bytes"].metadata
    (bytes_allowed,) = [bound.le for bound in most if hasattr(bound, "le")]
    smallest = len(sign(bytes(32), ALICE, 0, Transfer(BOB.address, 0)))
    heads, votes = 3 * (bytes_allowed // smallest), 128 * 100
    assert bytes_allowed + heads + votes + 400 < MAX_SIZE


# --- identity ----------------------------------------------------------------------------------


def test_two_chains_of_one_name_differ_and_neither_takes_the_others_transactions():
    one, other = genesis(), genesis(gas_price=2)
    assert one.name == other.name
    assert one.chain_id != other.chain_id
    wire = sign(one.hash, ALICE, 0, Transfer(BOB.address, 5))
    assert Application(one).check_tx(wire).code == 0
    app = Application(other)
    assert app.check_tx(wire).code == BadSignature.code
    assert app.prepare_proposal([wire], 1 << 20, START) == []
    assert not app.process_proposal([wire], START)
    result = app.finalize_block(1, START, [wire], VALIDATOR.address)
    assert result.results[0].code == BadSignature.code
    assert not result.changed


@given(NAMES)
def test_the_chain_id_is_name_and_hash_and_short_enough_for_every_engine(name):
    made = genesis(name=name)
    assert made.chain_id == f"{name}-{made.hash.hex()[:8]}"
    assert len(made.chain_id) <= 50


def test_epochs_lie_on_the_utc_clock():
    made = genesis()
    assert made.start_time == START
    assert made.epoch_length == EPOCH
    assert made.start_time % made.epoch_length == 0
    assert len(TREASURY) == 20
