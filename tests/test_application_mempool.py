"""Admission of waiting transactions, and proposals of blocks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dii.application.app import _weight
from dii.application.messages import Burn, ReportChunk, Transfer
from dii.application.records import ACCOUNTS, SCOPES, STREAMS
from dii.errors import BadTransaction, FeeUncovered, NonceMismatch, TooManyPending
from dii.ledger.tree import verify_absence, verify_inclusion
from tests.application import CALL
from tests.chains import ALICE, BOB, CAROL, GAS, OPENING, REPORTER, Chain, gateway, report, sign


def test_waiting_transactions_have_the_accounts_next_nonces():
    chain = Chain()
    wires = [chain.sign(ALICE, Transfer(BOB.address, 1)) for _ in range(3)]
    assert chain.app.check_tx(wires[1]).code == NonceMismatch.code
    assert [chain.app.check_tx(wire).code for wire in wires] == [0, 0, 0]
    assert chain.app.check_tx(wires[2]).code == NonceMismatch.code
    assert {one.code for one in chain.block(*wires).results} == {0}
    assert chain.app.check_tx(chain.sign(ALICE, Transfer(BOB.address, 1))).code == 0


def test_anticipated_transactions_have_the_results_of_others(monkeypatch):
    monkeypatch.setattr("dii.crypto.batch._FEW", 0)
    ahead, plain = Chain(), Chain()
    for number in range(4):
        said = [ahead.sign(who, Burn(1 + number)) for who in (ALICE, BOB)]
        wires = [*said, said[0][:-1] + bytes((said[0][-1] ^ 1,)), b"\x82 no transaction"]
        ahead.app.anticipate([*wires, *wires])
        if number == 2:
            monkeypatch.setattr("dii.application.app.MAX_REMEMBERED", 0)
        ahead.app.anticipate(wires[1:])
        assert ahead.block(*wires) == plain.block(*wires)


def test_an_account_has_a_limit_of_waiting_transactions_and_a_reporters_chunks_have_none():
    chain = Chain(limits={"pending": 4})
    codes = [chain.app.check_tx(chain.sign(ALICE, Burn(1))).code for _ in range(6)]
    assert codes[:5] == [0, 0, 0, 0, TooManyPending.code]
    rows = {gateway(number): [1] for number in range(1, 20)}
    messages = report(0, rows, chunk_rows=1)
    wires = [chain.sign(REPORTER, message) for message in messages]
    assert {chain.app.check_tx(wire).code for wire in wires} == {0}


def test_a_balance_covers_the_gas_of_all_that_waits():
    half = OPENING // 2
    chain = Chain(limits={"block_gas": half})
    wires = [chain.sign(ALICE, CALL, gas_limit=half) for _ in range(3)]
    assert [chain.app.check_tx(wire).code for wire in wires] == [0, 0, FeeUncovered.code]


@given(st.lists(st.integers(2_000, OPENING), min_size=1, max_size=12))
def test_a_newcomer_is_held_against_the_exact_sum_of_what_waits(limits):
    """In any order of expensive and cheap transactions: admitted while the sum is covered."""
    chain = Chain(limits={"block_gas": OPENING})
    nonce = admitted = 0
    for limit in limits:
        wire = sign(chain.app.genesis.hash, ALICE, nonce, CALL, gas_limit=limit)
        covered = admitted + limit <= OPENING
        assert chain.app.check_tx(wire).code == (0 if covered else FeeUncovered.code)
        if covered:
            nonce, admitted = nonce + 1, admitted + limit


def test_an_admitted_transaction_left_out_of_a_block_is_admitted_again():
    """Engines check waiting transactions again after each block (ABCI's recheck)."""
    chain = Chain()
    wires = [chain.sign(ALICE, Transfer(BOB.address, 1)) for _ in range(3)]
    assert [chain.app.check_tx(wire).code for wire in wires] == [0, 0, 0]
    chain.block()
    assert [chain.app.check_tx(wire).code for wire in wires] == [0, 0, 0]
    chain.block(wires[0])
    assert [chain.app.check_tx(wire).code for wire in wires] == [NonceMismatch.code, 0, 0]


def test_memory_of_transactions_is_bounded_in_bytes(monkeypatch):
    monkeypatch.setattr("dii.application.app.MAX_REMEMBERED", 1 << 16)
    chain = Chain()
    for number in range(100):
        assert chain.app.check_tx(bytes([number]) * 10_000).code == BadTransaction.code
        assert sum(map(_weight, chain.app._known)) <= (1 << 16) + _weight(bytes(10_000))
    for nonce in range(3):
        wire = sign(chain.app.genesis.hash, ALICE, nonce, Burn(1))
        assert chain.app.check_tx(wire).code == 0
    chain.do(BOB, Burn(1))
    assert chain.app._remembered == sum(map(_weight, chain.app._known))


def test_admission_changes_nothing():
    chain = Chain()
    root = chain.app.info()
    for _ in range(3):
        chain.app.check_tx(chain.sign(ALICE, Transfer(BOB.address, 1)))
    assert chain.app.info() == root
    assert not chain.block().changed


def test_a_proposal_leaves_out_what_does_not_fit_and_keeps_the_order():
    chain = Chain(limits={"block_gas": 3 * GAS})
    first = chain.sign(ALICE, CALL, gas_limit=2 * GAS)
    heavy = chain.sign(BOB, CALL, gas_limit=2 * GAS)
    light = chain.sign(CAROL, Transfer(ALICE.address, 1))
    app, many = chain.app, 1 << 20
    assert app.prepare_proposal([first, heavy, light], many, chain.time) == [light, first]
    assert app.prepare_proposal([light, heavy], many, chain.time) == [light, heavy]
    assert app.prepare_proposal([light, light], many, chain.time) == [light]
    assert app.prepare_proposal([first, light], len(first), chain.time) == [first]
    assert app.prepare_proposal([first, light], len(light) - 1, chain.time) == []
    assert not app.process_proposal([first, heavy], chain.time)
    assert not app.process_proposal([light, light], chain.time)
    assert app.process_proposal([], chain.time)


def test_a_block_has_no_more_bytes_than_genesis_says():
    chain = Chain(limits={"block_bytes": 1 << 17, "block_gas": 2**32})
    chunk = ReportChunk("main", 0, bytes(60_000))
    wires = [chain.sign(ALICE, chunk) for _ in range(3)]
    assert chain.app.prepare_proposal(wires, 1 << 30, chain.time) == wires[:2]
    assert not chain.app.process_proposal(wires, chain.time)


def test_every_value_of_the_state_has_a_proof_and_so_has_its_absence():
    chain = Chain()
    chain.do(ALICE, Transfer(BOB.address, 5))
    root = chain.app.info()[1]
    for table, parts in ((ACCOUNTS, (BOB.address,)), (STREAMS, ("main",)), (SCOPES, ("main",))):
        value, proof = chain.app.query(table.key(*parts))
        verify_inclusion(root, table.key(*parts), value, proof)
    value, proof = chain.app.query(ACCOUNTS.key(bytes(20)))
    assert value is None
    verify_absence(root, ACCOUNTS.key(bytes(20)), proof)
