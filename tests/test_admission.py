"""Hostile messages to a node, by the name of the attack: each costs its sender or has no effect."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dii import codec
from dii.application import gas, pages
from dii.application.actions import SetGas, SetValidator
from dii.application.app import MAX_UNPAID
from dii.application.bank import account
from dii.application.messages import (
    AssignGateway,
    Burn,
    Call,
    Claim,
    Message,
    Propose,
    RegisterGateways,
    ReportChunk,
    ReportManifest,
    Transfer,
    Vote,
    to_value,
)
from dii.application.records import ACCOUNTS, CHUNKS, DUTIES, TABLES
from dii.crypto import SigningKey, batch, signature
from dii.errors import (
    BadReport,
    BadSignature,
    BadTransaction,
    EpochNotReportable,
    FeeUncovered,
    GasLimitTooHigh,
    NonceMismatch,
    OutOfGas,
    TooManyPending,
    UnknownProposal,
)
from dii.genesis import LEAST_BLOCK_GAS, TREASURY
from dii.ledger import transaction
from dii.ledger.transaction import MAX_BYTES
from dii.units import SECOND
from tests import ed25519
from tests.chains import (
    ALICE,
    BOB,
    CAROL,
    EPOCH,
    GAS,
    OPENING,
    REPORTER,
    START,
    THIEF,
    VALIDATOR,
    Chain,
    gateway,
    report,
    sign,
)


def codes(chain: Chain, wires: list[bytes]) -> list[int]:
    """Return the codes of admitting transactions, one after the other."""
    return [chain.app.check_tx(wire).code for wire in wires]


def rejected(chain: Chain, wires: list[bytes], code: int) -> None:
    """Expect transactions to get this code at every entrance, and to change nothing."""
    assert set(codes(chain, wires)) == {code}
    root = chain.app.info()[1]
    assert chain.app.prepare_proposal(wires, 1 << 22, chain.time) == []
    assert not chain.app.process_proposal(wires, chain.time)
    assert not chain.app.process_proposal(wires[:1], chain.time)
    result = chain.block(*wires)  # decided all the same, by validators who are hostile, too
    assert {(one.code, one.gas, one.fee) for one in result.results} == {(code, 0, 0)}
    assert chain.app.info()[1] == root


# --- replay --------------------------------------------------------------------------------------


def test_replay_on_another_chain_of_the_same_name():
    here = Chain()
    there = Chain(start=datetime.fromtimestamp((START + EPOCH) // SECOND, UTC))
    assert here.app.genesis.name == there.app.genesis.name
    wires = [here.sign(key, Transfer(THIEF.address, 9)) for key in (ALICE, BOB)]
    rejected(there, wires, BadSignature.code)
    assert {one.code for one in here.block(*wires).results} == {0}


def test_replay_of_what_is_done_already():
    chain = Chain()
    wires = [chain.sign(ALICE, Transfer(THIEF.address, 9)) for _ in range(3)]
    chain.block(*wires)
    rejected(chain, wires, NonceMismatch.code)


def test_replay_after_an_account_is_emptied_and_has_money_again():
    chain = Chain(gas_price=0)
    early = [chain.sign(ALICE, Transfer(THIEF.address, 9)) for _ in range(3)]
    chain.block(*early)
    chain.do(ALICE, Transfer(BOB.address, chain.balance(ALICE)))
    assert chain.balance(ALICE) == 0
    rejected(chain, early, NonceMismatch.code)
    chain.do(BOB, Transfer(ALICE.address, OPENING))
    rejected(chain, early, NonceMismatch.code)
    assert account(chain.app.state, ALICE.address).nonce == 4
    assert chain.balance(ALICE) == OPENING


# --- floods --------------------------------------------------------------------------------------


def test_nonce_gap_flood():
    """A transaction that cannot run next is not kept, so that memory does not grow."""
    chain = Chain()
    far = [sign(chain.app.genesis.hash, THIEF, nonce, Burn(1)) for nonce in range(1, 2_000, 7)]
    far.append(sign(chain.app.genesis.hash, THIEF, 2**63 - 1, Burn(1)))
    rejected(chain, far, NonceMismatch.code)
    assert codes(chain, [chain.sign(THIEF, Burn(1))]) == [0], "the next one is still welcome"


def test_dust_accounts():
    """Accounts are permanent, so each costs its creator; there is no cheaper way to make one."""
    chain = Chain()
    wire = sign(bytes(32), THIEF, 0, Transfer(bytes([9]) * 20, 1), gas_limit=9_000)
    tight = gas.intrinsic(len(wire)) + gas.NEW_ACCOUNT - 1
    wire = chain.sign(THIEF, Transfer(bytes([9]) * 20, 1), gas_limit=tight)
    assert chain.block(wire).results[0].code == OutOfGas.code
    assert chain.app.state.get(ACCOUNTS, bytes([9]) * 20) is None
    before, made = chain.balance(THIEF), 200
    for first in range(0, made, 50):
        fresh = [Transfer(number.to_bytes(20), 1) for number in range(first + 1, first + 51)]
        assert not any(one.code for one in chain.do(THIEF, *fresh))
    spent = before - chain.balance(THIEF) - made
    assert spent >= made * (gas.TRANSACTION + gas.NEW_ACCOUNT)
    assert chain.balance(TREASURY) >= spent


def test_accounts_for_nothing():
    """A sender without money and duty leaves no account behind, even if messages fail."""
    chain = Chain()
    accounts = len(list(chain.app.state.items(ACCOUNTS)))
    strangers = [SigningKey.derive(9, str(number)) for number in range(50)]
    messages: list[Message] = [
        Claim("main", bytes(20), THIEF.public_key),
        RegisterGateways("main", ((gateway(1), THIEF.address),)),
        Propose(SetGas(0, 1)),
        Vote(0, approve=True),
        ReportManifest("main", 0, 0, ("online_ppm",), ()),
        ReportChunk("main", 0, b""),
        Burn(0),
    ]
    wires = [chain.sign(key, message) for key in strangers for message in messages[:1]]
    wires += [chain.sign(SigningKey.derive(8, str(message)), message) for message in messages]
    assert set(codes(chain, wires)) == {FeeUncovered.code}
    assert {(one.code, one.gas) for one in chain.block(*wires).results} == {(FeeUncovered.code, 0)}
    assert len(list(chain.app.state.items(ACCOUNTS))) == accounts


FAILING: dict[str, tuple[SigningKey, Callable[[int], Message]]] = {
    "binding": (REPORTER, lambda _: RegisterGateways("main", ((gateway(0), THIEF.address),))),
    "chunk": (REPORTER, lambda number: ReportChunk("main", 0, b"%d" % number)),
    "manifest": (REPORTER, lambda _: ReportManifest("main", 9, 0, ("online_ppm",), ())),
    "vote": (VALIDATOR, lambda number: Vote(number, approve=True)),
    "proposal": (VALIDATOR, lambda _: Propose(SetValidator(bytes(32), 0))),
}


@pytest.mark.parametrize("which", FAILING)
def test_a_failing_free_message_many_times(which):
    """Successful duties are free; an epoch accepts only a few failed, unpaid ones."""
    key, message = FAILING[which]
    chain = Chain()
    sent = unpaid = 0
    for _ in range(25):
        wires = []
        for _ in range(20):
            wire = chain.sign(key, message(sent))
            sent += 1
            if chain.app.check_tx(wire).code == 0:
                wires.append(wire)
        assert len(wires) <= 16
        # A hostile proposer takes them all, admitted or not.
        chain._signed.clear()
        results = chain.do(key, *(message(sent + number) for number in range(20)))
        unpaid += sum(one.gas > 0 and not one.fee and one.code != 0 for one in results)
        lost = [one.code for one in results if not one.gas]
        assert lost[0] == FeeUncovered.code
        assert set(lost[1:]) == {NonceMismatch.code}, "it took no nonce"
    assert unpaid == MAX_UNPAID
    assert codes(chain, [chain.sign(key, message(0))]) == [FeeUncovered.code]
    assert not chain.block(chain.sign(key, message(0))).changed
    nonce = account(chain.app.state, key.address).nonce
    assert nonce <= MAX_UNPAID + 1, "the one that may succeed is a proposal"
    # In the next epoch its duties are welcome again, ...
    chain.block(time=START + EPOCH)
    assert codes(chain, [chain.sign(key, message(0))]) == [0]
    # ... and one that has money pays for what fails, and is held up by nothing.
    chain.do(ALICE, Transfer(key.address, 100 * GAS))
    results = chain.do(key, *(message(number) for number in range(20)))
    assert all(one.fee == one.gas for one in results if one.code)
    assert not any(one.code == FeeUncovered.code for one in results)


def test_a_reporter_that_failed_too_often_may_pay_and_do_its_duty():
    chain = Chain()
    chain.time = START + EPOCH
    for _ in range(2):
        chain.do(REPORTER, *[ReportChunk("main", 0, b"")] * MAX_UNPAID)
    (manifest, *chunks) = report(0, {gateway(1): [1]})
    assert chain.do(REPORTER, manifest)[0].code == FeeUncovered.code
    chain.do(ALICE, Transfer(REPORTER.address, 2 * GAS))
    assert [(one.code, one.fee) for one in chain.do(REPORTER, manifest, *chunks)] == [(0, 0)] * 2
    assert chain.settled() == 1


def test_a_duty_that_is_not_free_and_cannot_be_paid_counts_as_failed():
    chain = Chain()
    chain.do(VALIDATOR, Propose(SetGas(2, 1)))
    results = chain.do(VALIDATOR, *[Propose(SetGas(3, 1))] * (MAX_UNPAID + 2))
    assert [one.code for one in results[:-1]] == [FeeUncovered.code] * (MAX_UNPAID + 1)
    assert [one.gas > 0 for one in results] == [True] * MAX_UNPAID + [False] * 2
    found = chain.app.state.get(DUTIES, VALIDATOR.address)
    assert found is not None
    assert found.failures == MAX_UNPAID


def test_chunks_that_nobody_announced():
    """Chunks wait beyond the limit of an account only as far as a manifest has announced them."""
    chain = Chain(limits={"pending": 4})
    chain.block(time=START + EPOCH)
    lone = [chain.sign(REPORTER, ReportChunk("main", 0, b"%d" % number)) for number in range(9)]
    assert codes(chain, lone) == [0] * 4 + [TooManyPending.code] + [NonceMismatch.code] * 4
    chain.block()
    manifest, *chunks = report(0, {gateway(number): [1] for number in range(1, 21)}, chunk_rows=1)
    wires = [chain.sign(REPORTER, one) for one in (manifest, *chunks, *chunks[:1])]
    assert codes(chain, wires) == [0] * 21 + [TooManyPending.code]
    chain.block(*wires[:6])
    assert codes(chain, wires[6:]) == [0] * 15 + [TooManyPending.code], "15 are still awaited"


def test_a_transaction_that_fits_into_no_block_is_not_admitted():
    chain = Chain(limits={"block_gas": 700_000}, gas_price=0)
    call = Call(bytes(20), "run", codec.encode(()), 0)
    assert codes(chain, [chain.sign(ALICE, call, gas_limit=700_001)]) == [GasLimitTooHigh.code]
    assert codes(chain, [chain.sign(BOB, call, gas_limit=700_000)]) == [0]
    assert codes(chain, [chain.sign(CAROL, Burn(1), gas_limit=2**62)]) == [0], "it uses little"


@pytest.mark.parametrize(
    ("message", "gas_of_kind"),
    [
        (Burn(1), 0),
        (Transfer(BOB.address, 1), gas.NEW_ACCOUNT),
        (AssignGateway("main", bytes(20), BOB.address), gas.BINDING),
        (ReportChunk("main", 0, b"x" * 999), gas.REPORT_BYTE * 999),
        (RegisterGateways("main", ((gateway(1), BOB.address),) * 3), gas.BINDING * 3),
        (Call(bytes(20), "run", codec.encode(()), 0), None),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("limit", [5_000, 100_000, 10**7])
def test_a_transaction_pays_for_half_of_what_it_reserves_and_reserves_what_its_kind_needs(
    message, gas_of_kind, limit
):
    chain = Chain()
    wire = chain.sign(ALICE, message, gas_limit=limit)
    most = limit if gas_of_kind is None else gas.intrinsic(len(wire)) + gas_of_kind
    (result,) = chain.block(wire).results
    assert result.fee == max(result.gas, min(limit, most) // 2)


SENDERS = (ALICE, BOB, CAROL, THIEF)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(2_000, 600_000)), max_size=30),
    st.integers(LEAST_BLOCK_GAS, 900_000),
    st.integers(500, 6_000),
)
def test_nobody_crowds_others_out_of_a_block_and_no_room_is_left_unused(said, block_gas, room):
    chain = Chain(limits={"block_gas": block_gas})
    call = Call(bytes(20), "run", codec.encode(()), 0)
    wires = [(who, limit, chain.sign(SENDERS[who], call, gas_limit=limit)) for who, limit in said]
    chosen = chain.app.prepare_proposal([wire for *_, wire in wires], room, chain.time)
    assert chain.app.process_proposal(chosen, chain.time)
    assert sum(map(len, chosen)) <= room
    taken = [(who, limit, wire) for wire in chosen for who, limit, one in wires if one == wire]
    assert sum(limit for _, limit, _ in taken) <= block_gas
    for who in range(4):
        mine = [(limit, wire) for sender, limit, wire in wires if sender == who]
        got = [wire for sender, _, wire in taken if sender == who]
        assert got == [wire for _, wire in mine[: len(got)]], "in the order of nonces"
        fair = 0  # what fits into a quarter is chosen, whatever others send
        for count, _ in enumerate(mine, 1):
            gas_sum = sum(limit for limit, _ in mine[:count])
            size = sum(len(wire) for _, wire in mine[:count])
            fair = count if gas_sum <= block_gas // 4 and size <= room // 4 else fair
        assert len(got) >= fair
        if len(got) < len(mine):
            limit, wire = mine[len(got)]
            gas_left = block_gas - sum(limit for _, limit, _ in taken)
            assert limit > gas_left or len(wire) > room - sum(map(len, chosen))


def test_transactions_that_do_and_pay_nothing_stand_in_no_proposal():
    chain = Chain()
    chain.do(REPORTER, *[ReportChunk("main", 0, b"")] * MAX_UNPAID)
    chunk = ReportChunk("main", 0, b"x")
    few = gas.intrinsic(len(chain.sign(BOB, Burn(1), gas_limit=1_000))) - 1
    chain._signed.clear()
    nothing = {
        "expired": chain.sign(ALICE, Burn(1), valid_until=chain.app.height),
        "gas for less than its bytes": chain.sign(BOB, Burn(1), gas_limit=few),
        "failed too often": chain.sign(REPORTER, chunk),
    }
    for _ in range(2):
        for wire in nothing.values():
            assert chain.app.prepare_proposal([wire], 1 << 20, chain.time) == []
            assert not chain.app.process_proposal([wire], chain.time)
        chain.block()
    later = START + EPOCH  # its duties are welcome again, and the first try is paid by nobody
    assert chain.app.process_proposal([nothing["failed too often"]], later)
    assert chain.block(nothing["failed too often"], time=later).results[0].gas > 0


def test_a_chunk_is_paid_for_before_anybody_looks_into_it(monkeypatch):
    def look(*_: object, **__: object) -> None:
        raise AssertionError("a chunk was read that its sender cannot pay for")

    chain = Chain(gas_price=0)
    chain.block(time=START + EPOCH)
    manifest, chunk = report(0, {gateway(number): [1] for number in range(1, 900)})
    chain.do(REPORTER, manifest)
    size = len(sign(bytes(32), REPORTER, 1, chunk))
    limit = gas.intrinsic(size) + gas.REPORT_BYTE * len(chunk.data) - 9
    with monkeypatch.context() as patched:
        patched.setattr(pages, "check", look)
        wire = chain.sign(REPORTER, chunk, gas_limit=limit)
        assert chain.block(wire).results[0].code == OutOfGas.code
    wire = chain.sign(REPORTER, chunk, gas_limit=limit + 99)
    assert chain.block(wire).results[0].code == 0


def test_a_duty_cannot_fill_the_state_by_failing():
    chain = Chain()
    chain.block(time=START + EPOCH)
    before = {table.name: list(chain.app.state.items(table)) for table in TABLES}
    rows = {gateway(number): [1] for number in range(1, 9)}
    manifest, *_ = report(0, rows, chunk_rows=1)
    other, *strange = report(0, rows, chunk_rows=2)
    assert other != manifest
    results = chain.do(REPORTER, manifest, *strange)
    assert [one.code for one in results] == [0, *[BadReport.code] * 4]
    assert not list(chain.app.state.items(CHUNKS))
    touched = {
        table.name for table in TABLES if list(chain.app.state.items(table)) != before[table.name]
    }
    assert touched == {"account", "duty", "progress", "report"}


# --- bytes ---------------------------------------------------------------------------------------


def nested(depth: int) -> codec.Value:
    value: codec.Value = ()
    for _ in range(depth):
        value = (value,)
    return value


def envelope(message: bytes) -> bytes:
    """Return a signed transaction around any bytes as its message."""
    chain = Chain().app.genesis.hash
    head = codec.encode((1, THIEF.public_key, 0, GAS, 2**40))
    body = bytes((head[0] + 1,)) + head[1:] + message
    return codec.encode((body, THIEF.sign(transaction.DOMAIN + chain + body)))


OVERSIZED = {
    "too long": bytes(MAX_BYTES + 1),
    "too long and well formed": codec.encode((bytes(MAX_BYTES - 71), bytes(64))),
    "an array of 2**64 - 1": b"\x82\x9b" + b"\xff" * 8 + bytes(64),
    "a body of 4 GiB": b"\x82\x5a\xff\xff\xff\xff" + bytes(100) + b"\x58\x40" + bytes(64),
    "a message of 2**32 items": envelope(b"\x9a\xff\xff\xff\xff"),
    "a message nested too deep": envelope(b"\x81" * 5_000 + b"\x80"),
    "nested as deep as can be read": envelope(codec.encode(nested(codec.MAX_DEPTH - 4))),
    "a name of 60,000 letters": envelope(codec.encode((5, "n" * 60_000, bytes(20), bytes(32)))),
    "too many bindings": envelope(
        codec.encode((3, "main", tuple((gateway(n), bytes(20)) for n in range(1_025))))
    ),
    "an action nested too deep": envelope(codec.encode((32, nested(40)))),
    "an action of an action": envelope(codec.encode((32, (1, (1, (1, ())))))),
    "an integer beyond 64 bits": envelope(b"\xc2\x49" + b"\1" * 9),
    "a map": envelope(b"\xa0"),
}


@pytest.mark.parametrize("which", OVERSIZED)
def test_oversized_and_deeply_nested_messages(which):
    rejected(Chain(), [OVERSIZED[which]], BadTransaction.code)


def test_a_block_of_bad_signatures(monkeypatch):
    """Each is checked once, however often it is sent; together they change nothing."""
    chain = Chain()
    checked: list[int] = []
    honest = batch.start_verifying

    def count(items: list[tuple[bytes, bytes, bytes]]) -> Callable[[], list[bool]]:
        checked.append(len(items))
        return honest(items)

    monkeypatch.setattr(batch, "start_verifying", count)
    good = [chain.sign(THIEF, Burn(1)) for _ in range(300)]
    bad = [wire[:-1] + bytes((wire[-1] ^ 1,)) for wire in good]
    rejected(chain, bad, BadSignature.code)
    assert sum(checked) == 300
    mixed = [*good[:3], bad[3]]
    assert not chain.app.process_proposal(mixed, chain.time)
    assert chain.app.prepare_proposal(mixed, 1 << 20, chain.time) == good[:3]


@pytest.mark.parametrize("accelerated", [True, False])
@pytest.mark.parametrize(
    ("kind", "holds"), [("mixed", True), ("mixed, true only times 8", False), ("small", False)]
)
def test_a_mixed_order_key(monkeypatch, accelerated, kind, holds):
    """Every node gives the same verdict on a key with a part of small order."""
    by_reference: list[object] = []
    if not accelerated:

        def judge(items: list[tuple[bytes, bytes, bytes]]) -> Callable[[], list[bool]]:
            by_reference.extend(items)
            return lambda: [signature.reference(*one) for one in items]

        monkeypatch.setattr(batch, "start_verifying", judge)
    chain = Chain(gas_price=0)
    genesis = chain.app.genesis.hash
    secret = 0 if kind == "small" else 12345
    torsion = ed25519.TORSION[1]
    key = ed25519.encode(ed25519.add(ed25519.times(ed25519.BASE, secret), torsion))
    value = to_value(Transfer(THIEF.address, 0))
    body = codec.encode((1, key, 0, GAS, 2**40, value))
    message = transaction.DOMAIN + genesis + body
    for nonce in range(1, 200):
        public, signed = ed25519.forge(secret, nonce, torsion, ed25519.ZERO, message)
        assert public == key
        exact = ed25519.challenge(signed[:32], key, message) % 8 == 0
        if exact == (kind != "mixed, true only times 8"):
            break
    wire = codec.encode((body, signed))
    (code,) = codes(chain, [wire])
    assert code == (0 if holds else BadSignature.code)
    assert chain.app.process_proposal([wire], chain.time) == holds
    result = chain.block(wire).results[0]
    assert (result.code == BadSignature.code) != holds
    assert bool(by_reference) != accelerated


# --- epochs and proposals that are not there -----------------------------------------------------


def test_reports_and_votes_on_what_is_not_there():
    chain = Chain()
    far = ReportManifest("main", 10**9, 0, ("online_ppm",), ())
    last = ReportManifest("main", 2**64 - 1, 0, ("online_ppm",), ())
    assert [one.code for one in chain.do(REPORTER, far, last)] == [EpochNotReportable.code] * 2
    assert chain.do(VALIDATOR, Vote(2**64 - 1, approve=True))[0].code == UnknownProposal.code
