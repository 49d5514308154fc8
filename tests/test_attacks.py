"""Attacks found by reading the application as an adversary; each once did harm."""

from __future__ import annotations

import gc
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from dii import codec
from dii.application import pages
from dii.application.messages import Burn, Call, Deploy, Transfer
from dii.contracts import gas as contract_gas
from dii.contracts.host import FUNCTIONS
from tests.chains import ALICE, BOB, GAS, OPENING, THIEF, Chain, gateway
from tests.deployments import BANK, PAYS, compiled, deploy, wire

# --- work out of proportion to gas ----------------------------------------------------------------


@given(
    keys=st.sets(st.binary(min_size=20, max_size=20), min_size=2, max_size=40),
    columns=st.integers(0, 30),
    data=st.data(),
)
def test_one_row_is_read_without_its_page(keys, columns, data):
    """Contracts that read a gateway of another page each time once cost 0.9 ms for 20 gas."""
    *known, absent = keys
    known.sort()
    cell = st.none() | st.integers(0, 2**16) | st.integers(0, 2**64 - 1)
    rows = len(known)
    column = st.lists(cell, min_size=rows, max_size=rows) | st.just([7] * rows)
    page = pages.Page(known, [data.draw(column) for _ in range(columns)])
    raw = page.encode()
    for row, key in enumerate(known):
        assert pages.find(raw, key) == [column[row] for column in page.columns]
    assert pages.find(raw, absent) is None


def test_a_lookup_pays_for_the_search():
    """About 20 microseconds; one gas is 90 ns."""
    assert FUNCTIONS["metrics"].cost >= 100
    assert FUNCTIONS["usage"].cost == FUNCTIONS["metrics"].cost == contract_gas.LOOKUP


def test_the_first_call_in_a_block_pays_for_compiling_the_contract():
    """65 contracts called in turn had 60 ms of compilation each, for the 1.4 ms of 15,000 gas."""
    chain = Chain()
    address = deploy(chain, ALICE, BANK)
    first, second, failing, other = chain.block(
        *(chain.sign(who, Call(address, "put", wire(), 5)) for who in (ALICE, BOB)),
        *(chain.sign(ALICE, Call(address, "none", wire(), 0)) for _ in range(2)),
    ).results
    saved = (contract_gas.COMPILE_BYTE - 1) * len(compiled(BANK))
    assert first.gas - second.gas >= saved - 500
    assert failing.gas == other.gas < saved
    assert chain.do(ALICE, Call(address, "put", wire(), 5))[0].gas >= saved


def test_a_call_that_fails_has_been_compiled_for_the_whole_block():
    chain = Chain()
    address = deploy(chain, ALICE, BANK)
    failing, good = chain.block(
        chain.sign(BOB, Call(address, "none", wire(), 0)),
        chain.sign(ALICE, Call(address, "put", wire(), 5)),
    ).results
    assert failing.code
    assert not good.code
    assert good.gas < failing.gas


def test_every_call_pays_for_compiling_beyond_what_a_block_keeps(monkeypatch):
    monkeypatch.setattr("dii.application.context.MAX_LOADED", 1)
    chain = Chain()
    kept = deploy(chain, ALICE, BANK)
    other = deploy(chain, ALICE, BANK + "\n# another\nextra: int\n")
    calls = [Call(address, "put", wire(), 5) for address in (kept, other, kept, other)]
    gas = [one.gas for one in chain.do(ALICE, *calls)]
    compilation = contract_gas.compile_gas(len(compiled(BANK)))
    assert [used > compilation for used in gas] == [True, True, False, True]


def test_hooks_that_must_be_compiled_take_their_share_of_a_blocks_work():
    """Hundreds of contracts with little gas reserved were compiled in one block: 39 s."""
    most = 2 * contract_gas.compile_gas(len(compiled(PAYS)))

    def blocks(*sources: str) -> int:
        chain = Chain(limits={"hook_gas": most})
        for source in sources:
            deploy(chain, ALICE, source, BOB.address, 3, value=9, hook_gas=4_500, purse=9_000)
        height = chain.app.height
        chain.settle(0, {gateway(1): (9,)})
        assert chain.balance(BOB) == OPENING + len(sources)
        return chain.app.height - height

    different = [PAYS + f"\nextra{number}: int\n" for number in range(12)]
    assert blocks(*different) >= blocks(*[PAYS] * 12) + 2


def test_refused_transactions_take_no_more_memory_than_is_counted():
    """It once took more: errors were remembered with the frames that raised them."""
    chain, count = Chain(), 500
    signed = bytearray(chain.sign(ALICE, Transfer(BOB.address, 1)))
    wires = []
    for number in range(count):
        mark = number.to_bytes(2)
        wires += [b"rubbish" + mark, codec.encode((b"\x86" * 100 + mark, bytes(64)))]
        wires.append(bytes(signed[:-2]) + mark)
    chain.app.check_tx(b"what is loaded at first")
    tracemalloc.start()
    for wire_bytes in wires:
        assert chain.app.check_tx(wire_bytes).code
    gc.collect()
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < sum(4 * len(one) + 2048 for one in wires)


def test_nobody_fills_blocks_with_what_they_can_no_longer_pay():
    """The first transaction gave the balance away; fifteen of 100 kB followed it for free."""
    chain = Chain()
    bulk = Deploy("main", bytes(32_000), codec.encode(()), 0, 0, 0)
    for give in (
        Transfer(BOB.address, OPENING - 2 * GAS),
        Burn(OPENING - 2 * GAS),
        Deploy("main", b"\0", codec.encode(()), OPENING - 3 * GAS, 0, GAS),
    ):
        wires = [chain.sign(THIEF, one) for one in (give, *[bulk] * 15)]
        assert not chain.app.process_proposal(wires, chain.time)
        assert chain.app.prepare_proposal(wires, 1 << 21, chain.time) == wires[:2]
        chain._signed.clear()
    wires = [chain.sign(THIEF, one) for one in [bulk] * 16]
    assert chain.app.process_proposal(wires, chain.time)
