"""Growth of the state by messages: a multiple of their bytes, or what their gas pays for."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dii import codec
from dii.application import actions, gas, messages
from dii.application.bank import account
from dii.contracts import gas as contract_gas
from dii.contracts import tree
from dii.contracts.frontend import parse
from dii.crypto import SigningKey, contract_address, format_address
from dii.errors import OutOfGas
from dii.ledger.state import encode_diff
from tests.chains import (
    ALICE,
    BOB,
    EPOCH,
    OPENING,
    START,
    Chain,
    gateway,
    report,
    scope,
    sign,
)

MULTIPLE: Final = 4
"""Bytes of state that a byte of a message may write, ..."""
BESIDES: Final = 4_096
"""... and this many more for records that it alters: the greatest is a proposal with its votes."""

MANY = [SigningKey.derive(7, f"grows-{number}") for number in range(64)]
REPORTING, VALIDATING = MANY[:7], MANY
CODE = """
notes: map[int, str]

@external
def write(count: int, note: str) -> None:
    for number in range(count):
        notes[number] = note
"""
ROWS = {gateway(number): [5] for number in range(400)}
NUMBERS = st.integers(1, 40)


@pytest.fixture(scope="module")
def chain() -> Chain:
    """A chain where all that a message could alter is as large as it gets, or nearly."""
    validators = [{"public_key": one.public_key.hex(), "power": 1} for one in VALIDATING]
    accounts = [
        {"address": format_address(key.address), "balance": 10 * OPENING}
        for key in (ALICE, BOB, *MANY)
    ]
    chain = Chain(
        scopes=[scope(reporters=REPORTING)],
        validators=validators, accounts=accounts, gas_price=1,
        limits={"pending": 1024}, report_window_seconds=10_000,
    )  # fmt: skip
    code = tree.encode(parse(CODE))
    deploy = messages.Deploy("main", code, codec.encode(()), 0, 0, 0)
    for at in range(3):
        assert chain.do(ALICE, deploy)[0].code == 0, at
    pairs = tuple((gateway(number), ALICE.address) for number in range(1, 41))
    for key in REPORTING[:3]:
        assert chain.do(key, messages.RegisterGateways("main", pairs))[0].code == 0
    for key, name in zip(REPORTING[:4], MANY):  # votes without a majority
        others = tuple((one, name.address) for one, _ in pairs)
        chain.do(key, messages.RegisterGateways("main", others))
    action = actions.SetScope("next", tuple(key.address for key in MANY), ("online_ppm",), ())
    chain.do(MANY[0], messages.Propose(action))
    chain.block(*(chain.sign(key, messages.Vote(0, approve=False)) for key in VALIDATING[:60]))
    for number in range(12):
        chain.do(
            MANY[number],
            messages.Propose(actions.DenyGateway("main", gateway(1), bytes(32), number)),
        )
        wires = (
            chain.sign(key, messages.Vote(number + 1, approve=True)) for key in VALIDATING[:50]
        )
        chain.block(*wires)
    chain.block(time=START + EPOCH)
    for key in REPORTING[:3]:
        said = report(0, ROWS, chunk_rows=1)
        assert not any(one.code for one in chain.do(key, *said[:120]))
    return chain


def contract(number: int = 0) -> bytes:
    return contract_address(ALICE.address, number)


PAIRS = st.lists(st.tuples(NUMBERS.map(gateway), st.sampled_from(MANY)), min_size=1, max_size=40)
BOUND = PAIRS.map(lambda pairs: tuple((one, key.address) for one, key in pairs))
SAID: dict[type[messages.Message], st.SearchStrategy[tuple[SigningKey, messages.Message]]] = {
    messages.Transfer: st.builds(
        lambda to, amount: (ALICE, messages.Transfer(to, amount)),
        st.binary(min_size=20, max_size=20) | st.just(BOB.address), st.integers(1, OPENING),
    ),
    messages.Burn: st.integers(1, OPENING).map(lambda amount: (ALICE, messages.Burn(amount))),
    messages.RegisterGateways: st.builds(
        lambda who, pairs: (who, messages.RegisterGateways("main", pairs)),
        st.sampled_from(REPORTING), BOUND,
    ),
    messages.RegisterApplications: st.builds(
        lambda who, pairs: (who, messages.RegisterApplications("main", pairs)),
        st.sampled_from(REPORTING), BOUND,
    ),
    messages.AssignGateway: NUMBERS.map(
        lambda number: (ALICE, messages.AssignGateway("main", gateway(number), BOB.address))
    ),
    messages.Claim: st.builds(
        lambda who, key: (who, messages.Claim("main", bytes(20), key.public_key)),
        st.sampled_from(REPORTING), st.sampled_from(MANY),
    ),
    messages.ReportManifest: st.builds(
        lambda who, chunks: (who, report(0, ROWS, chunk_rows=chunks)[0]),
        st.sampled_from(REPORTING), st.integers(1, 400),
    ),
    messages.ReportChunk: st.sampled_from(REPORTING[:3]).map(
        lambda who: (who, report(0, ROWS, chunk_rows=1)[120])
    ),
    messages.Deploy: st.binary(min_size=1, max_size=90).map(
        lambda name: (
            BOB,
            messages.Deploy(
                "main",
                tree.encode(parse(CODE.replace("notes", "n" + name.hex()))),
                codec.encode(()), 0, 0, 0,
            ),
        )
    ),
    messages.Call: st.builds(
        lambda count, note: (
            BOB,
            messages.Call(
                contract(), "write",
                codec.encode((count.to_bytes(count.bit_length() // 8 + 1), note)), 0,
            ),
        ),
        st.integers(0, 300), st.text(max_size=200),
    ),
    messages.TopUp: st.integers(1, 9).map(lambda amount: (BOB, messages.TopUp(contract(), amount))),
    messages.Propose: st.builds(
        lambda key, count: (
            key,
            messages.Propose(
                actions.SetScope(
                    "s", tuple(one.address for one in MANY[:count]), ("online_ppm",), ()
                )
            ),
        ),
        st.sampled_from(VALIDATING), st.integers(1, 64),
    ),
    messages.Vote: st.builds(
        lambda key, number, approve: (key, messages.Vote(number, approve=approve)),
        st.sampled_from(VALIDATING), st.integers(0, 12), st.booleans(),
    ),
}  # fmt: skip


def test_every_kind_of_message_is_drawn() -> None:
    assert SAID.keys() == set(messages.KINDS.values())


@settings(max_examples=25)
@pytest.mark.parametrize("kind", messages.KINDS.values(), ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_a_message_writes_no_more_than_a_multiple_of_its_bytes_or_what_its_gas_pays(
    chain: Chain, kind: type[messages.Message], data: st.DataObject
) -> None:
    """Contracts may write more bytes than a call has: storage is paid for by the byte."""
    key, message = data.draw(SAID[kind])
    app = chain.app
    nonce = account(app.state, key.address).nonce
    wire = sign(app.genesis.hash, key, nonce, message, gas_limit=50_000_000)
    height, time = app.height + 1, chain.time + 1
    result = app.finalize_block(height, time, [wire], MANY[0].address).results[0]
    with_it = dict(app.state.changes())
    app.finalize_block(height, time, [], MANY[0].address)
    without = dict(app.state.changes())
    app.state.revert(0)
    written = tuple(
        sorted((k, v) for k, v in with_it.items() if v is not None and without.get(k) != v)
    )
    if kind not in (messages.Call, messages.Deploy):
        assert result.code != OutOfGas.code, "what its kind reserves is enough"
    paid = (result.gas - gas.intrinsic(len(wire))) // contract_gas.STORED
    more = paid if kind in (messages.Call, messages.Deploy) else 0
    assert len(encode_diff(written)) <= MULTIPLE * len(wire) + BESIDES + more
    if kind in (
        messages.Transfer,
        messages.Burn,
        messages.RegisterApplications,
        messages.ReportChunk,
        messages.Call,
        messages.Deploy,
        messages.AssignGateway,
    ):
        assert result.code == 0, result.detail
