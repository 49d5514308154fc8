"""Issuance: pools, dust, rests, limits and claims."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dii.application import total_money
from dii.application.bank import supply
from dii.application.messages import Burn
from dii.application.records import CURSORS, ISSUANCES
from dii.crypto import format_address
from dii.genesis import TREASURY
from dii.minting import DataCredits, FixedEmission, PerContribution, ShapleyTraffic, Uptime
from dii.minting.receipts import REASON_ABSENT, REASON_NONE, REASON_UNATTRIBUTED
from dii.units import MAX_AMOUNT
from tests.application import FULL, METRICS_OF, ROWS, amounts, epoch_end
from tests.chains import ALICE, BOB, OPENING, REPORTER, Chain, gateway, report, scope, stream

NOTHING = {gateway(1): [0], gateway(2): [None]}


@pytest.mark.parametrize("rows", [NOTHING, {}], ids=["nobody earned", "nobody reported"])
def test_dust_stays_and_the_pool_is_not_minted_where_nobody_earned(rows):
    chain = Chain()
    three = {gateway(number): [FULL] for number in (1, 2, 3)}
    chain.settle(0, three)
    assert chain.issuance(0).dust_after == 1
    minted = supply(chain.app.state).minted
    chain.settle(1, rows)
    found = chain.issuance(1)
    assert (found.pool, found.paid, found.rest, found.unminted) == (1_000, 0, 0, 0)
    assert (found.dust_before, found.dust_after) == (1, 1)
    assert supply(chain.app.state).minted == minted
    chain.settle(2, three)
    assert chain.issuance(2).paid == 3 * (1_001 // 3)
    assert supply(chain.app.state).minted == minted + 1_000


def test_the_pool_may_go_to_the_treasury_where_nobody_earned():
    chain = Chain(streams=[stream(rest="treasury")], gas_price=0)
    chain.settle(0, NOTHING)
    assert chain.issuance(0).rest == 1_000
    assert chain.balance(TREASURY) == 1_000
    assert supply(chain.app.state).minted == 4 * OPENING + 1_000


def test_the_pool_may_go_to_a_later_stream_where_nobody_earned():
    streams = [
        stream("fast", Uptime(FULL), FixedEmission(600), rest="late"),
        stream("other", policy=FixedEmission(10)),
        stream("late", policy=FixedEmission(400), rest="treasury"),
    ]
    chain = Chain(streams=streams, gas_price=0)
    chain.register((1, ALICE.address))
    chain.settle(0, {gateway(1): [5]})
    assert (chain.issuance(0, "fast").rest, chain.issuance(0, "late").pool) == (600, 1_000)
    assert chain.balance(ALICE) == OPENING + 10 + 1_000
    chain.settle(1, {gateway(1): [0]})
    assert chain.balance(TREASURY) == 1_000
    assert [chain.issuance(1, name).rest for name in ("fast", "other", "late")] == [600, 0, 1_000]


def test_streams_of_one_scope_pay_side_by_side():
    metrics = METRICS_OF["main"]
    streams = [stream("uptime"), stream("traffic", ShapleyTraffic(), FixedEmission(90))]
    chain = Chain(scopes=[scope("main", metrics)], streams=streams)
    chain.register((1, ALICE.address), (2, BOB.address))
    rows = {gateway(1): [FULL, 720_720], gateway(2): [FULL, 2 * 720_720], gateway(3): [0, None]}
    chain.settle(0, rows, metrics=metrics)
    assert amounts(chain, 0, "uptime") == {
        1: (ALICE.address, 500), 2: (BOB.address, 500), 3: (TREASURY, 0),
    }  # fmt: skip
    assert amounts(chain, 0, "traffic") == {
        1: (ALICE.address, 30), 2: (BOB.address, 60), 3: (TREASURY, 0),
    }  # fmt: skip
    reasons = [leaf.reason for leaf in chain.receipts["traffic", 0]]
    assert reasons == [REASON_NONE, REASON_NONE, REASON_ABSENT]


def test_the_share_of_receptions_that_name_no_gateway_is_not_minted():
    chain = Chain(gas_price=0)
    chain.register((1, ALICE.address))
    chain.settle(0, {gateway(0): [250_000], gateway(1): [750_000]})
    found = chain.issuance(0)
    assert (found.total_weight, found.unminted, found.paid) == (FULL, 250, 750)
    assert chain.balance(ALICE) == OPENING + 750
    assert chain.balance(TREASURY) == 0
    assert supply(chain.app.state).minted == 4 * OPENING + 750
    nameless, named = chain.receipts["main", 0]
    assert (nameless.weight, nameless.amount) == (250_000, 0)
    assert (nameless.reason, named.reason) == (REASON_UNATTRIBUTED, REASON_NONE)


def test_the_pool_is_not_minted_where_no_reception_names_a_gateway():
    chain = Chain(gas_price=0)
    chain.settle(0, {gateway(0): [FULL]})
    assert supply(chain.app.state).minted == 4 * OPENING
    assert chain.issuance(0).unminted == 1_000


def test_the_limit_of_an_epoch_binds_all_streams_of_all_scopes_together():
    streams = [
        stream("first", policy=FixedEmission(700)),
        stream("second", policy=FixedEmission(700)),
        stream("third", policy=FixedEmission(700), scope="other"),
    ]
    chain = Chain(scopes=[scope(), scope("other")], streams=streams, max_mint_per_epoch=1_000)
    rows = {gateway(1): [FULL]}
    for epoch in range(2):
        before = supply(chain.app.state).minted
        chain.settle(epoch, rows)
        chain.do(REPORTER, *report(epoch, rows, scope="other"))
        pools = [chain.issuance(epoch, name).pool for name in ("first", "second", "third")]
        assert pools == [700, 300, 0]
        assert supply(chain.app.state).minted == before + 1_000


def test_the_limit_holds_for_what_goes_to_the_treasury_while_another_scope_is_paid():
    streams = [
        stream("first", policy=FixedEmission(1_000)),
        stream("second", policy=FixedEmission(1_000), scope="other", rest="treasury"),
    ]
    chain = Chain(
        scopes=[scope(), scope("other")],
        streams=streams,
        max_mint_per_epoch=1_000,
        limits={"settle_rows": 1},
        gas_price=0,
    )
    nothing = {gateway(number): [0] for number in range(1, 60)}
    chain.do(REPORTER, *report(0, nothing, scope="other", chunk_rows=1), time=epoch_end(0))
    while chain.app.state.get(CURSORS, "other").phase != "receipts":
        chain.block()
    chain.settle(0, {gateway(1): [FULL]})
    assert (chain.settled(), chain.settled("other")) == (1, 1)
    assert supply(chain.app.state).minted == 4 * OPENING + 1_000
    assert chain.issuance(0, "first").paid == 1_000
    assert (chain.issuance(0, "second").rest, chain.balance(TREASURY)) == (0, 1_000)


CLAIMS_OF_EPOCHS = st.lists(
    st.tuples(st.lists(st.integers(0, 900), min_size=1, max_size=5), st.sampled_from([0, 0, 300])),
    min_size=1,
    max_size=4,
)


@settings(max_examples=40)
@given(CLAIMS_OF_EPOCHS, st.integers(0, 2_000), st.integers(1, 3))
def test_claims_are_paid_in_full_up_to_the_pool_and_pro_rata_above(epochs, pool, rate):
    streams = [stream("main", DataCredits(rate), FixedEmission(pool), rest="treasury")]
    chain = Chain(scopes=[scope("main", ("data_units",))], streams=streams, gas_price=0)
    chain.register(*((number, ALICE.address) for number in range(1, 6)))
    dust = treasury = 0
    for epoch, (units, nameless) in enumerate(epochs):
        before, minted = chain.balance(ALICE), supply(chain.app.state).minted
        rows = {gateway(number): [one] for number, one in enumerate([nameless, *units])}
        chain.settle(epoch, rows, metrics=("data_units",))
        claims = [rate * one for one in (nameless, *units)]
        total = sum(claims)
        due = min(total, pool + dust)
        paid = [due * claim // total if total else 0 for claim in claims[1:]]
        found = chain.issuance(epoch)
        if total <= pool + dust:
            assert paid == claims[1:]
            assert found.unminted == min(pool, claims[0])
        assert chain.balance(ALICE) == before + sum(paid)
        treasury += pool - max(0, due - dust)
        assert chain.balance(TREASURY) == treasury
        assert supply(chain.app.state).minted - minted <= pool
        dust = found.dust_after
        assert dust < len(claims)


@pytest.mark.parametrize("rows", [{gateway(1): [FULL]}, NOTHING], ids=["paid", "rest"])
def test_supply_never_reaches_2_to_the_63(rows):
    accounts = [{"address": format_address(ALICE.address), "balance": MAX_AMOUNT - 300}]
    chain = Chain(accounts=accounts, gas_price=0, streams=[stream(rest="treasury")])
    for epoch, minted in enumerate((300, 0, 0)):
        chain.settle(epoch, rows)
        assert chain.issuance(epoch).paid + chain.issuance(epoch).rest == minted
    assert supply(chain.app.state).minted == MAX_AMOUNT
    chain.do(ALICE, Burn(1_000))
    chain.settle(3, rows)
    assert total_money(chain.app.state) == MAX_AMOUNT - 1_000


def test_the_price_of_a_contribution_is_paid_up_to_its_cap():
    metrics = METRICS_OF["main"]
    policy = PerContribution(300, 900)
    chain = Chain(
        scopes=[scope("main", metrics)], streams=[stream("main", ShapleyTraffic(), policy)]
    )
    chain.register((1, ALICE.address))
    for epoch, (uplinks, paid) in enumerate([(2, 600), (3, 900), (50, 900)]):
        chain.settle(epoch, {gateway(1): [None, uplinks * 720_720]}, metrics=metrics)
        assert chain.issuance(epoch).paid == paid


def test_a_rule_that_a_scope_has_no_stream_for_pays_nothing_and_epochs_close():
    chain = Chain(streams=[])
    chain.settle(0, ROWS)
    assert chain.settled() == 1
    assert not list(chain.app.state.items(ISSUANCES))
