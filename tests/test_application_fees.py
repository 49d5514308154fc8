"""Fees: payment for gas, free duties of reporters, and failures."""

from __future__ import annotations

import pytest

from dii.application import TxResult, bank, gas, total_money
from dii.application.bank import account, supply
from dii.application.messages import (
    AssignGateway,
    Burn,
    Claim,
    RegisterGateways,
    ReportChunk,
    ReportManifest,
    Transfer,
)
from dii.application.records import CHUNKS, GATEWAYS, PROGRESS, REPORTS, Account
from dii.errors import (
    BadMessage,
    DuplicateReport,
    EpochNotReportable,
    Expired,
    FeeUncovered,
    InsufficientFunds,
    InvariantBroken,
    NonceMismatch,
    OutOfGas,
    UnknownGateway,
    UnknownReporter,
    UnknownScope,
)
from dii.genesis import TREASURY
from tests.application import FULL, OPERATORS, ROWS, amounts, epoch_end
from tests.chains import ALICE, BOB, GAS, OPENING, REPORTER, Chain, gateway, price_of, report, sign


def test_a_transfer_pays_for_its_bytes_and_for_an_account_that_it_creates():
    chain = Chain(gas_price=3)
    for to, created in ((BOB.address, 0), (bytes(20), 1), (bytes(20), 0)):
        before, treasury = chain.balance(ALICE), chain.balance(TREASURY)
        wire = chain.sign(ALICE, Transfer(to, 5))
        (result,) = chain.block(wire).results
        assert result.gas == gas.intrinsic(len(wire)) + created * gas.NEW_ACCOUNT
        assert result.fee == 3 * price_of(wire, result)
        assert chain.balance(ALICE) == before - 5 - result.fee
        assert chain.balance(TREASURY) == treasury + result.fee


def test_a_failed_transaction_pays_its_gas_and_takes_its_nonce_and_does_nothing_else():
    chain = Chain()
    size = len(sign(bytes(32), ALICE, 0, Transfer(bytes(20), 5), gas_limit=4_000))
    tight = gas.intrinsic(size) + gas.NEW_ACCOUNT - 1
    attempts = [
        (Transfer(BOB.address, OPENING), GAS, InsufficientFunds),
        (Transfer(BOB.address, 0), GAS, BadMessage),
        (Transfer(bytes(20), 5), tight, OutOfGas),
        (Burn(OPENING), GAS, InsufficientFunds),
        (Burn(0), GAS, BadMessage),
        (AssignGateway("main", gateway(1), BOB.address), GAS, UnknownGateway),
        (RegisterGateways("main", ((gateway(1), ALICE.address),)), GAS, UnknownReporter),
        (RegisterGateways("moon", ((gateway(1), ALICE.address),)), GAS, UnknownScope),
        (Claim("main", OPERATORS[0], ALICE.public_key), GAS, UnknownReporter),
        (ReportManifest("main", 0, 0, ("online_ppm",), ()), GAS, UnknownReporter),
        (ReportChunk("main", 0, b""), GAS, UnknownReporter),
    ]
    for number, (message, limit, error) in enumerate(attempts):
        before = chain.balance(ALICE)
        chain.time = epoch_end(0) if isinstance(message, ReportManifest) else chain.time
        wire = chain.sign(ALICE, message, gas_limit=limit)
        (result,) = chain.block(wire).results
        assert result.code == error.code
        assert result.fee == price_of(wire, result) >= result.gas > 0
        assert chain.balance(ALICE) == before - result.fee
        assert account(chain.app.state, ALICE.address).nonce == number + 1
    assert chain.balance(BOB) == OPENING
    assert chain.app.state.get(GATEWAYS, "main", gateway(1)) is None


def test_a_failed_transaction_leaves_no_trace_in_the_index_but_itself():
    chain = Chain()
    chain.do(ALICE, Transfer(REPORTER.address, 10 * GAS))
    chain.register((2, ALICE.address))
    pairs = ((gateway(0), ALICE.address),)
    wires = [
        chain.sign(REPORTER, RegisterGateways("main", pairs)),
        chain.sign(ALICE, Transfer(BOB.address, OPENING)),
    ]
    result = chain.block(*wires)
    assert [one.code for one in result.results] == [BadMessage.code, InsufficientFunds.code]
    assert result.rows.keys() == {"transactions"}


def test_a_transaction_is_valid_until_its_last_height_and_not_beyond():
    chain = Chain()
    wires = [chain.sign(ALICE, Burn(1), nonce=0, valid_until=last) for last in (1, 2, 3)]
    chain.block()
    assert [chain.app.check_tx(wire).code for wire in wires] == [
        Expired.code,
        0,
        NonceMismatch.code,
    ]
    codes = [one.code for one in chain.block(*wires).results]
    assert codes == [Expired.code, 0, NonceMismatch.code]


@pytest.mark.parametrize("defect", ["debit", "mint", "burn"])
def test_a_defect_by_which_money_appears_or_vanishes_stops_the_node_before_the_commit(
    monkeypatch, defect
):
    chain = Chain()
    chain.register((1, ALICE.address))
    before = chain.app.info()
    monkeypatch.setattr(bank, defect, lambda *_: None)
    what = {
        "burn": (ALICE, [Burn(5)]),
        "debit": (ALICE, [Transfer(BOB.address, 5)]),
        "mint": (REPORTER, report(0, ROWS)),
    }
    key, messages = what[defect]
    with pytest.raises(InvariantBroken, match="less burned"):
        chain.do(key, *messages, time=epoch_end(0))
    assert chain.app.info() == before


def test_an_amount_that_leaves_nothing_for_the_fee_is_not_moved():
    chain = Chain()
    wire = chain.sign(ALICE, Transfer(BOB.address, OPENING - 1), gas_limit=2_000)
    (result,) = chain.block(wire).results
    assert result.code == InsufficientFunds.code
    assert chain.balance(BOB) == OPENING


def test_a_transfer_to_oneself_changes_nothing_but_fee_and_nonce():
    chain = Chain()
    (result,) = chain.do(ALICE, Transfer(ALICE.address, OPENING // 2))
    assert result.code == 0
    assert chain.balance(ALICE) == OPENING - result.fee


def test_duties_are_free_for_a_reporter_without_any_money():
    chain = Chain()
    results = chain.do(
        REPORTER,
        RegisterGateways("main", ((gateway(1), ALICE.address),)),
        Claim("main", OPERATORS[0], BOB.public_key),
        *report(0, {gateway(1): [FULL]}),
        time=epoch_end(0),
    )
    assert [(one.code, one.fee) for one in results] == [(0, 0)] * 4
    assert all(one.gas > 0 for one in results)
    assert chain.balance(REPORTER) == 0


def test_bindings_beyond_the_free_allowance_of_an_epoch_pay():
    chain = Chain(limits={"max_bindings": 3})

    def bind(*numbers: int) -> TxResult:
        pairs = tuple((gateway(number), ALICE.address) for number in numbers)
        return chain.do(REPORTER, RegisterGateways("main", pairs))[0]

    assert bind(1, 2) == TxResult(0, gas=bind_gas(2))
    assert bind(3, 4).code == FeeUncovered.code
    assert chain.app.state.get(GATEWAYS, "main", gateway(3)) is None
    chain.do(ALICE, Transfer(REPORTER.address, 10 * GAS))
    assert bind(3, 4) == TxResult(0, gas=bind_gas(2), fee=bind_gas(2))
    assert bind(5) == TxResult(0, gas=bind_gas(1))
    assert bind(6).fee > 0
    assert chain.do(REPORTER, Claim("main", OPERATORS[0], BOB.public_key))[0].fee > 0
    chain.time = epoch_end(0)
    assert bind(7, 8, 9).fee == 0


def bind_gas(count: int) -> int:
    pairs = tuple((gateway(number), ALICE.address) for number in range(count))
    size = len(sign(bytes(32), REPORTER, 0, RegisterGateways("main", pairs)))
    return gas.intrinsic(size) + count * gas.BINDING


def test_a_duty_that_fails_pays():
    chain = Chain()
    chain.do(ALICE, Transfer(REPORTER.address, 10 * GAS))
    (result,) = chain.do(REPORTER, RegisterGateways("main", ((gateway(0), BOB.address),)))
    assert result.code == BadMessage.code
    assert result.fee == result.gas > 0


def test_a_duty_that_fails_and_cannot_pay_takes_its_nonce_and_says_why_it_failed():
    chain = Chain()
    (result,) = chain.do(REPORTER, RegisterGateways("main", ((gateway(0), BOB.address),)))
    assert (result.code, result.fee) == (BadMessage.code, 0)
    assert account(chain.app.state, REPORTER.address) == Account(0, 1)


@pytest.mark.parametrize("tries", [2, 3, 4])
def test_a_report_is_announced_anew_once_for_nothing_and_then_for_gas(tries):
    chain = Chain()
    chain.do(ALICE, Transfer(REPORTER.address, 10 * GAS))
    chain.time = epoch_end(0)
    for number in range(1, tries):
        rows = {gateway(one): [number] for one in range(1, 9 - number)}
        begun = report(0, rows, chunk_rows=1)[:-1]
        results = chain.do(REPORTER, *begun)
        assert {one.code for one in results} == {0}
        assert all((one.fee > 0) == (number > 2) for one in results)
        (again,) = chain.do(REPORTER, begun[0])
        assert again.code == DuplicateReport.code, "it goes on where it is"
    manifest, chunk = report(0, {gateway(1): [FULL]})
    results = chain.do(REPORTER, manifest, chunk)
    assert [one.code for one in results] == [0, 0]
    assert all((one.fee > 0) == (tries > 2) for one in results)
    chain.block()
    assert chain.issuance(0).count == 1
    assert amounts(chain, 0) == {1: (TREASURY, 1_000)}
    chain.settle(1, ROWS)
    for table in (CHUNKS, REPORTS, PROGRESS):
        assert not list(chain.app.state.items(table)), "what the first one left is dropped, too"
    assert chain.do(REPORTER, manifest)[0].code == EpochNotReportable.code


def test_money_that_is_burned_is_gone():
    chain = Chain()
    before = total_money(chain.app.state)
    (result,) = chain.do(ALICE, Burn(700))
    assert result.code == 0
    assert total_money(chain.app.state) == before - 700
    assert supply(chain.app.state).burned == 700
