"""The application against a model that books the same messages in plain dictionaries."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dii import codec
from dii.application import gas
from dii.application.messages import AssignGateway, Burn, ReportChunk, ReportManifest, Transfer
from dii.application.pages import Page
from dii.codec import Value
from dii.crypto import SigningKey
from dii.errors import (
    BadReport,
    BadSignature,
    BadTransaction,
    Expired,
    FeeUncovered,
    GasLimitTooHigh,
    MetricOutOfRange,
    NonceMismatch,
    OutOfGas,
    TooManyPending,
    TransactionError,
)
from dii.ledger.transaction import MAX_BYTES
from tests.application import CALL, DUTIES_OF_REPORTERS, epoch_end, page_rows
from tests.chains import ALICE, BOB, GAS, OPENING, REPORTER, VALIDATOR, Chain, gateway, sign
from tests.walk import Walk

# --- any sequence of messages, against a model ---------------------------------------------------

SPOKEN = (*DUTIES_OF_REPORTERS, Transfer, Burn, AssignGateway)


@functools.cache
def walked(seed: int) -> Walk:
    walk = Walk(seed)
    for _ in range(80):
        for _ in range(walk.random.choice([0, 1, 1, 2, 4])):
            walk.speak()
        walk.block()
    walk.check_pools()
    return walk


SEEDS = range(24)


@pytest.mark.parametrize("seed", SEEDS)
def test_any_sequence_of_messages_leaves_the_books_right_after_every_block(seed):
    walked(seed)


def test_the_walks_meet_every_message_every_refusal_and_every_way_of_paying():
    seen = sum((walked(seed).seen for seed in SEEDS), Counter())
    own = {kind.code for kind in TransactionError.__subclasses__()} - {TransactionError.code}
    codes = own - NOT_IN_A_WALK
    wanted = {f"code {code}" for code in codes | {0}}
    wanted |= {f"{kind.__name__} {how}" for kind in SPOKEN for how in ("succeeds", "fails")}
    wanted |= {"epochs", "paid", "pays its owner", "rest", "unminted", "dust_before", "capped"}
    wanted |= {"3 reports on main", "4 reports on main", "1 reports on other", "usage", "liars"}
    wanted |= {"gateway by 2", "gateway by 3", "application by 2", "operator by 2", "bound anew"}
    wanted |= {"lapsed"}
    assert wanted <= seen.keys()


NOT_IN_A_WALK = {
    TooManyPending.code,  # for admission, not for blocks
    GasLimitTooHigh.code,
    *range(22, 30),  # of contracts
    *range(41, 45),  # of governance
}


# --- what a block records of what cannot stand ---------------------------------------------------


def no_ops() -> dict[str, tuple[int, Callable[[Chain], bytes]]]:
    """Return transactions that change nothing at all, with the code that a block gives them."""
    to_bob = Transfer(BOB.address, 5)

    def signed(key: SigningKey = ALICE, **fields: int) -> Callable[[Chain], bytes]:
        return lambda chain: chain.sign(key, to_bob, **fields)

    def called(limit: int) -> Callable[[Chain], bytes]:
        return lambda chain: chain.sign(ALICE, CALL, gas_limit=limit)

    def raw(*fields: Value) -> Callable[[Chain], bytes]:
        def make(chain: Chain) -> bytes:
            body = codec.encode(fields)
            signature = ALICE.sign(b"dii/tx/1\0" + chain.app.genesis.hash + body)
            return codec.encode((body, signature))

        return make

    def last_bit(chain: Chain) -> bytes:
        wire = chain.sign(ALICE, to_bob)
        return wire[:-1] + bytes([wire[-1] ^ 1])

    key, message = ALICE.public_key, (1, BOB.address, b"\5")
    intrinsic = gas.intrinsic(len(sign(bytes(32), ALICE, 0, to_bob, gas_limit=2_000)))
    deep: Value = ()
    for _ in range(60):
        deep = (deep,)
    return {
        "nothing": (BadTransaction.code, lambda _: b""),
        "one byte": (BadTransaction.code, lambda _: b"\0"),
        "too large": (BadTransaction.code, lambda _: bytes(MAX_BYTES + 1)),
        "arrays without end": (BadTransaction.code, lambda _: b"\x81" * 1_000),
        "another version": (BadTransaction.code, raw(2, key, 0, GAS, 99, message)),
        "five fields": (BadTransaction.code, raw(1, key, 0, GAS, message)),
        "a short key": (BadTransaction.code, raw(1, key[:31], 0, GAS, 99, message)),
        "a negative nonce": (BadTransaction.code, raw(1, key, -1, GAS, 99, message)),
        "a nonce of 2**63": (BadTransaction.code, raw(1, key, 2**63, GAS, 99, message)),
        "gas that is true": (BadTransaction.code, raw(1, key, 0, True, 99, message)),
        "no message": (BadTransaction.code, raw(1, key, 0, GAS, 99, None)),
        "an empty message": (BadTransaction.code, raw(1, key, 0, GAS, 99, ())),
        "a kind kept for later": (BadTransaction.code, raw(1, key, 0, GAS, 99, (16, b""))),
        "a kind that is true": (BadTransaction.code, raw(1, key, 0, GAS, 99, (True, b"\5"))),
        "a message of another shape": (BadTransaction.code, raw(1, key, 0, GAS, 99, (1, b"\5"))),
        "a deep message": (BadTransaction.code, raw(1, key, 0, GAS, 99, deep)),
        "an amount of 2**63": (
            BadTransaction.code,
            raw(1, key, 0, GAS, 99, (1, BOB.address, (2**63).to_bytes(8))),
        ),
        "an amount with a leading zero": (
            BadTransaction.code,
            raw(1, key, 0, GAS, 99, (1, BOB.address, b"\0\5")),
        ),
        "a bad signature": (BadSignature.code, last_bit),
        "another chain's": (BadSignature.code, lambda _: sign(bytes(32), ALICE, 0, to_bob)),
        "a later nonce": (NonceMismatch.code, signed(nonce=1)),
        "the greatest nonce": (NonceMismatch.code, signed(nonce=2**63 - 1)),
        "expired": (Expired.code, signed(valid_until=0)),
        "no gas": (OutOfGas.code, signed(gas_limit=0)),
        "gas for less than its bytes": (OutOfGas.code, signed(gas_limit=intrinsic - 1)),
        "gas that it cannot pay": (FeeUncovered.code, called(OPENING + 1)),
        "gas beyond all money": (FeeUncovered.code, called(2**63 - 1)),
        "from nobody": (FeeUncovered.code, signed(SigningKey.derive(8, "nobody"))),
    }


@pytest.mark.parametrize(("code", "make"), no_ops().values(), ids=no_ops())
def test_an_invalid_transaction_in_a_block_is_a_no_op_with_a_code(code, make):
    chain = Chain()
    wire = make(chain)
    root = chain.app.info()[1]
    assert chain.app.check_tx(wire).code == code
    result = chain.block(wire)
    assert [(one.code, one.gas, one.fee) for one in result.results] == [(code, 0, 0)]
    assert result.results[0].detail
    assert chain.app.info()[1] == root
    assert not result.changed


@given(st.binary(max_size=300))
def test_any_bytes_have_a_result(wire):
    chain = Chain()
    assert chain.app.check_tx(wire).code == BadTransaction.code
    assert chain.block(wire, wire).results[1].code == BadTransaction.code
    assert not chain.app.process_proposal([wire], chain.time)


# Values that come as a chunk's columns: near the format, and beside it.
WIRE_COLUMNS = st.tuples(
    st.sampled_from([1, 2, 4, 8, 3, 0, 2**64 - 1]), st.binary(max_size=20),
    st.none() | st.binary(max_size=4),
)  # fmt: skip
WIRE_PAGES = st.tuples(
    st.lists(st.integers(0, 9), max_size=4).map(lambda all_: b"".join(map(gateway, all_)))
    | st.binary(max_size=60),
    st.lists(WIRE_COLUMNS, max_size=3).map(tuple),
).map(codec.encode)
PAGES_NEAR_THE_FORMAT = st.builds(
    lambda count, width, values, mask: codec.encode(
        (b"".join(map(gateway, range(count))), ((width, values[: count * width], mask),))
    ),
    st.integers(1, 4), st.sampled_from([1, 2, 4]), st.binary(min_size=16, max_size=16),
    st.none() | st.binary(max_size=3),
)  # fmt: skip


@settings(max_examples=400)
@given(WIRE_PAGES | PAGES_NEAR_THE_FORMAT | st.binary(max_size=40))
def test_any_chunk_of_a_reporter_has_a_result(data):
    app = CHUNK_CHAIN.app
    manifest = ReportManifest("main", 0, 2, ("online_ppm",), (sha256(data).digest(),))
    wires = [
        sign(app.genesis.hash, REPORTER, nonce, message)
        for nonce, message in enumerate((manifest, ReportChunk("main", 0, data)))
    ]
    result = app.finalize_block(1, epoch_end(0), wires, VALIDATOR.address)
    assert result.results[0].code == 0
    assert result.results[1].code in {0, BadReport.code, MetricOutOfRange.code}
    if result.results[1].code == 0:
        rows = page_rows(data)
        assert len(rows) == 2
        assert data == Page([one for one, _ in rows], [[v for _, (v,) in rows]]).encode()


CHUNK_CHAIN = Chain(gas_price=0)
