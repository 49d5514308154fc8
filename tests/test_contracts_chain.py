"""Contracts on the chain: deployment, calls, hooks, gas deposits, and the payment of gas."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from dii import codec
from dii.application import total_money
from dii.application.bank import supply
from dii.application.messages import AssignGateway, Call, Deploy, TopUp, Transfer
from dii.application.records import CODES, CONTRACTS, HOOKS, RESERVED, STORAGE
from dii.contracts import tree
from dii.crypto import contract_address
from dii.errors import (
    BadCall,
    BadContract,
    BadMessage,
    BadProgram,
    GasDepositTooSmall,
    HookBudgetFull,
    InsufficientFunds,
    MetricNotReported,
    OutOfGas,
    Reverted,
    UnknownContract,
)
from tests.chains import (
    ALICE,
    BOB,
    EPOCH,
    OPENING,
    REPORTER,
    START,
    THIEF,
    Chain,
    gateway,
    report,
    scope,
)
from tests.deployments import BANK, PAYS, compiled, deploy, wire
from tests.hostile import BURNERS, burner

HOOK_GAS = 20_000

OWNERS = '''
"""Pays the owner of gateway 1 one unit for each epoch, and what is left to whom it is told."""
until: int

@payable
def init(until_: int):
    until = until_

@on_epoch
def each(settled: int):
    pay(operator(GATEWAY, settled), 1)

@external
def give(to: Address):
    pay(to, balance)
'''.replace("GATEWAY", repr(gateway(1)))


def stored(chain: Chain, address: bytes, name: str) -> int:
    """Return an int that a contract has stored."""
    cell = chain.app.state.get(STORAGE, address, codec.encode((name,)))
    return int.from_bytes(codec.decode(cell), signed=True) if cell else 0


def pays(chain: Chain, until: int = 3, purse: int = 10 * HOOK_GAS) -> bytes:
    """Deploy the contract that pays bob."""
    arguments = (BOB.address, until)
    return deploy(chain, ALICE, PAYS, *arguments, value=100, hook_gas=HOOK_GAS, purse=purse)


def conserved(chain: Chain) -> bool:
    money = supply(chain.app.state)
    return total_money(chain.app.state) == money.minted - money.burned


def events(chain: Chain, address: bytes) -> list[tuple[str, list[object]]]:
    """Return the events of a contract, and the chain's notes on it."""
    rows = [row for block in chain.blocks for row in block.rows.get("events", [])]
    skipped = {"deployed", "pays", "called", "topped up", "gives its purse back"}
    return [
        (str(row[3]), json.loads(str(row[4])))
        for row in rows
        if row[1] == address and (row[2] or row[3] not in skipped)
    ]


def test_a_hook_runs_when_its_epoch_has_settled_and_ends_with_its_last():
    chain = Chain()
    address = pays(chain, until=2)
    bob, alice = chain.balance(BOB), chain.balance(ALICE)
    for epoch, online in enumerate((9, 5, 1_000_000, 9)):
        chain.settle(epoch, {gateway(1): (online,)})
        assert conserved(chain)
    assert stored(chain, address, "paid") == 2
    assert chain.balance(BOB) == bob + 2
    assert events(chain, address) == [("paid", [0, 9]), ("paid", [2, 1_000_000]), ("ended", [2])]
    assert chain.app.state.get(RESERVED, "main") == 0
    assert chain.app.state.get(HOOKS, "main", address) is None
    # Three epochs were paid for, used or not; the rest of the purse came back.
    assert chain.balance(ALICE) == alice + 7 * HOOK_GAS
    assert chain.app.state.get(CONTRACTS, address).purse == 0


def test_an_empty_purse_puts_a_contract_to_sleep_and_a_top_up_wakes_it():
    chain = Chain()
    address = pays(chain, until=9, purse=HOOK_GAS + 1)
    chain.settle(0, {gateway(1): (9,)})
    alice = chain.balance(ALICE)
    chain.settle(1, {gateway(1): (9,)})
    assert chain.balance(ALICE) == alice + 1
    chain.settle(2, {gateway(1): (9,)})
    (result,) = chain.do(THIEF, TopUp(address, HOOK_GAS - 1))
    assert result.code == GasDepositTooSmall.code
    (result,) = chain.do(THIEF, TopUp(address, 5 * HOOK_GAS))
    assert result.code == 0, result.detail
    chain.settle(3, {gateway(1): (9,)})
    kinds = [kind for kind, _ in events(chain, address)]
    assert kinds == ["paid", "asleep", "awake", "paid"]
    assert conserved(chain)


def test_an_awake_contract_takes_money_for_its_purse_until_its_last_epoch_has_settled():
    chain = Chain()
    address = pays(chain, until=1, purse=HOOK_GAS)
    asleep = pays(chain, until=1, purse=HOOK_GAS)
    chain.block(time=START + 5 * EPOCH)  # reports are late
    (result,) = chain.do(BOB, TopUp(address, HOOK_GAS))
    assert result.code == 0, result.detail
    for epoch in range(2):
        chain.settle(epoch, {gateway(1): (9,)})
    assert stored(chain, address, "paid") == 2
    assert stored(chain, asleep, "paid") == 1
    for one in (address, asleep):
        (result,) = chain.do(BOB, TopUp(one, HOOK_GAS))
        assert result.code == BadMessage.code
    assert conserved(chain)


def test_a_contract_woken_while_reports_are_late_runs_for_all_unsettled_epochs():
    chain = Chain()
    address = pays(chain, until=3, purse=HOOK_GAS)
    for epoch in range(2):
        chain.settle(epoch, {gateway(1): (9,)})
    assert chain.app.state.get(HOOKS, "main", address) is None, "it slept through epoch 1"
    chain.block(time=START + 9 * EPOCH)
    (result,) = chain.do(BOB, TopUp(address, 5 * HOOK_GAS))
    assert result.code == 0, result.detail
    for epoch in range(2, 5):
        chain.settle(epoch, {gateway(1): (9,)})
    told = events(chain, address)
    assert [what for what in told if what[0] != "paid"] == [
        ("asleep", [1]), ("awake", [2]), ("ended", [3]),
    ]  # fmt: skip
    assert stored(chain, address, "paid") == 3
    assert conserved(chain)


def test_an_ended_contract_is_not_woken_while_others_still_settle():
    chain = Chain(limits={"hook_gas": HOOK_GAS})
    addresses = [pays(chain, until=0) for _ in range(4)]
    chain.do(REPORTER, *report(0, {gateway(1): (9,)}), time=START + EPOCH)
    refused = 0
    while chain.settled() == 0:
        ended = [one for one in addresses if chain.app.state.get(HOOKS, "main", one) is None]
        for result in chain.do(BOB, *(TopUp(one, 9 * HOOK_GAS) for one in ended)):
            assert result.code == BadMessage.code
            refused += 1
    assert refused > 3
    assert all(stored(chain, address, "paid") == 1 for address in addresses)
    assert not list(chain.app.state.items(HOOKS))


def test_a_hook_that_burns_all_its_gas_takes_nothing_but_its_fee_and_holds_up_nobody():
    chain = Chain()
    source = PAYS.replace(
        "if m.reported", "for i in range(10**9):\n        paid += 1\n    if m.reported"
    )
    burning = deploy(
        chain, ALICE, source.replace("10**9", str(10**9)), BOB.address, 1,
        value=100, hook_gas=HOOK_GAS, purse=9 * HOOK_GAS,
    )  # fmt: skip
    honest = pays(chain)
    alice = chain.balance(ALICE)
    for epoch in range(2):
        chain.settle(epoch, {gateway(1): (9,)})
    assert [kind for kind, _ in events(chain, burning)] == ["failed", "failed", "ended"]
    assert stored(chain, burning, "paid") == 0
    assert stored(chain, honest, "paid") == 2
    assert chain.balance(ALICE) == alice + 7 * HOOK_GAS
    assert conserved(chain)


def test_a_hook_pays_whoever_owned_the_gateway_in_the_epoch_that_settled():
    chain = Chain()
    chain.register((1, BOB.address))
    how = {"value": 100, "hook_gas": HOOK_GAS, "purse": 9 * HOOK_GAS}
    deploy(chain, ALICE, OWNERS, 5, **how)
    before = chain.balance(BOB), chain.balance(THIEF)
    (result,) = chain.do(BOB, AssignGateway("main", gateway(1), THIEF.address))
    chain.block(time=START + 3 * EPOCH)  # reports are late
    fee = result.fee
    for epoch in range(3):
        chain.settle(epoch, {})
    assert chain.balance(BOB) == before[0] + 1 - fee
    assert chain.balance(THIEF) == before[1] + 2


def test_a_contract_knows_the_owner_of_a_gateway_in_each_epoch():
    """The last sixteen owners stay known, even if no unsettled epoch needs them."""
    chain = Chain()
    chain.register((1, BOB.address))
    source = """
@external
def of(e: int):
    emit("owned", bound(GATEWAY, e), operator(GATEWAY, e) if bound(GATEWAY, e) else sender)
""".replace("GATEWAY", repr(gateway(1)))
    address = deploy(chain, ALICE, source)
    owner, to, owners = BOB, THIEF, [BOB, BOB]
    for epoch in range(20):
        chain.settle(epoch, {})
        chain.block(time=START + (epoch + 1) * EPOCH)
        (result,) = chain.do(owner, AssignGateway("main", gateway(1), to.address))
        assert result.code == 0, result.detail
        owner, to = to, owner
        owners.append(owner)
    for epoch in range(25):
        (result,) = chain.do(ALICE, Call(address, "of", wire(epoch), 0))
        assert result.code == 0, result.detail
    found = [values for kind, values in events(chain, address) if kind == "owned"]
    owners += owners[-1:] * 3
    assert [account for bound, account in found if bound] == [
        f"0x{key.address.hex()}" for key in owners[-len([1 for bound, _ in found if bound]) :]
    ]
    assert [bound for bound, _ in found] == [False] * 6 + [True] * 19


def test_a_failing_hook_changes_nothing_and_says_why():
    chain = Chain()
    address = pays(chain)
    chain.settle(0, {gateway(1): (9,)})
    for epoch in range(1, 3):
        with_money = chain.balance(address)
        assert with_money
        chain.settle(epoch, {gateway(1): (9,)})
    source = PAYS.replace("pay(to, 1)", "pay(to, 1_000)")
    poor = deploy(
        chain, ALICE, source, BOB.address, 9, value=1, hook_gas=HOOK_GAS, purse=9 * HOOK_GAS
    )
    chain.settle(3, {gateway(1): (9,)})
    (event,) = events(chain, poor)
    assert event[0] == "failed"
    assert stored(chain, poor, "paid") == 0
    assert chain.balance(poor) == 1


def test_gas_reserved_for_hooks_cannot_be_squatted_beyond_the_budget():
    chain = Chain(limits={"hook_budget": 3 * HOOK_GAS - 1})
    first, second = pays(chain, until=0), pays(chain)
    message = Deploy("main", compiled(PAYS), wire(BOB.address, 9), 0, HOOK_GAS, 9 * HOOK_GAS)
    (result,) = chain.do(ALICE, message)
    assert result.code == HookBudgetFull.code
    assert contract_address(ALICE.address, chain.nonce(ALICE) - 1) != second
    chain.settle(0, {gateway(1): (9,)})  # the first ends and frees its place
    assert chain.app.state.get(HOOKS, "main", first) is None
    (result,) = chain.do(ALICE, message)
    assert result.code == 0, result.detail


def test_many_hooks_take_several_blocks_and_none_twice():
    chain = Chain(limits={"hook_gas": 2 * HOOK_GAS})
    addresses = [pays(chain, until=5) for _ in range(9)]
    bob = chain.balance(BOB)
    before = chain.app.height
    chain.settle(0, {gateway(1): (9,)})
    assert chain.app.height - before > 5
    assert chain.balance(BOB) == bob + 9
    assert all(stored(chain, address, "paid") == 1 for address in addresses)


def test_calls_move_money_and_a_revert_moves_only_the_fee():
    chain = Chain()
    address = deploy(chain, ALICE, BANK)
    results = chain.do(BOB, Call(address, "put", wire(), 50))
    assert results[0].code == 0, results[0].detail
    (result,) = chain.do(THIEF, Call(address, "take", wire(50), 0))
    assert result.code == Reverted.code
    assert "not yours" in result.detail
    assert chain.balance(THIEF) == OPENING - result.fee
    assert chain.balance(address) == 50
    before = chain.balance(BOB)
    (result,) = chain.do(BOB, Call(address, "take", wire(50), 0))
    assert chain.balance(BOB) == before + 50 - result.fee
    (result,) = chain.do(BOB, Call(address, "take", wire(1), 0))
    assert result.code == Reverted.code
    assert conserved(chain)


def test_a_call_beyond_its_gas_pays_all_of_it_and_does_nothing():
    chain = Chain()
    address = deploy(chain, ALICE, BANK)
    (result,) = chain.block(
        chain.sign(BOB, Call(address, "spin", wire(10**9), 0), gas_limit=50_000)
    ).results
    assert (result.code, result.gas) == (OutOfGas.code, 50_000)


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (Call(bytes(20), "put", wire(), 0), UnknownContract),
        (TopUp(bytes(20), 5), UnknownContract),
        (Deploy("main", b"\x80", wire(), 0, 0, 0), BadContract),
        (Deploy("main", compiled(BANK), wire(), 5, 0, 0), BadMessage),
        (Deploy("main", compiled(BANK), wire(), 0, 5, 0), BadMessage),
        (Deploy("main", compiled(BANK), wire(), 0, 0, 5), BadMessage),
        (Deploy("main", compiled(PAYS), wire(BOB.address, 9), 0, 0, 0), BadMessage),
        (Deploy("main", compiled(PAYS), wire(BOB.address, -1), 0, 9_000, 9_000), BadMessage),
        (Deploy("main", compiled(PAYS), wire(BOB.address, 9), 0, 9_000, 8_999), GasDepositTooSmall),
        (Deploy("main", compiled(PAYS), wire(BOB.address, 9), 0, 1_000, 9_000), BadMessage),
        (Deploy("main", compiled(PAYS), wire(BOB.address, 9), 0, 10**8, 10**8), BadMessage),
        (
            Deploy("main", compiled(PAYS), wire(BOB.address, 9), 2 * OPENING, 9, 9),
            InsufficientFunds,
        ),
        (
            Deploy("main", compiled(PAYS.replace("online_ppm", "uplinks")), wire(), 0, 9, 9),
            MetricNotReported,
        ),
        (
            Deploy(
                "main",
                tree.encode(tree.Contract("", (), (tree.Function("f", (), (), None, "", ()),))),
                wire(), 0, 0, 0,
            ),
            BadProgram,
        ),
    ],
)  # fmt: skip
def test_an_invalid_contract_message_leaves_nothing(message: object, error: type[Exception]):
    chain = Chain()
    (result,) = chain.do(ALICE, message)
    assert result.code == error.code, result.detail
    for table in (CONTRACTS, CODES, STORAGE, HOOKS):
        assert not list(chain.app.state.items(table))
    assert conserved(chain)


ASKS = """
n: int
by_bytes: map[bytes, int]
by_text: map[str, int]

@external
def metric(of: int) -> bool:
    return metrics(b"g", of).reported

@external
def used(of: int) -> bool:
    return usage(b"a", sender, of).reported

@external
def row(id: bytes) -> bool:
    return metrics(id, 0).reported or usage(id, sender, 0).reported

@external
def owned(id: bytes) -> bool:
    return bound(id, epoch)

@external
def tell(x: int, b: bytes, t: str):
    emit("told", x, b, t, True, sender)

@external
def keep(b: bytes, t: str):
    by_bytes[b] = 1
    by_text[t] = 1
"""
EDGES = [0, -1, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 2**255 - 1, -(2**255)]
BYTES = [b"", b"x", bytes(20), b"x" * 40, b"x" * 256, b"x" * 257, b"x" * 7_000]
TEXTS = ["", "\0", "\u202e", "\U0001f600" * 256, "x" * 257, "x" * 7_000]


def test_any_question_of_a_contract_to_the_chain_stops_its_call_at_most():
    chain = Chain()
    address = deploy(chain, ALICE, ASKS)
    chain.settle(0, {gateway(1): (9,)})
    calls = [(function, (edge,)) for function in ("metric", "used") for edge in EDGES]
    calls += [(function, (one,)) for function in ("row", "owned") for one in BYTES]
    calls += [("tell", (edge, b, t)) for edge in EDGES[-2:] for b in BYTES[::3] for t in TEXTS]
    calls += [("keep", (b, t)) for b in BYTES for t in TEXTS]
    codes = Counter(
        chain.do(BOB, Call(address, function, wire(*values), 0))[0].code
        for function, values in calls
    )
    assert set(codes) == {0, Reverted.code}
    assert codes[0] > len(EDGES) * 2
    assert conserved(chain)


@pytest.mark.parametrize(
    "data",
    [b"\xff", codec.encode(1), codec.encode((None,)), codec.encode(((),)), b"\x81\x42\0\0"],
)
def test_arguments_that_are_none_stop_the_call(data: bytes):
    chain = Chain()
    address = deploy(chain, ALICE, ASKS)
    (result,) = chain.do(BOB, Call(address, "metric", data, 0))
    assert result.code in (BadMessage.code, BadCall.code)


@pytest.fixture(scope="module")
def burned() -> Chain:
    """A chain with a settled epoch that has metrics and usage, for others to burn gas on."""
    chain = Chain(scopes=[scope(usage=("delivered",))])
    rows = {gateway(1) + BOB.address: (3,)}
    chain.settle(0, {gateway(1): (9,)}, usage=rows, usage_columns=("delivered",))
    return chain


@pytest.mark.parametrize("name", BURNERS)
def test_burners_are_stopped_on_the_chain_as_they_are_anywhere(burned: Chain, name: str):
    address = deploy(burned, ALICE, burner(BURNERS[name]))
    call = burned.sign(BOB, Call(address, "main", wire(), 0), gas_limit=300_000)
    before = burned.balance(BOB)
    (result,) = burned.block(call).results
    assert result.code in (Reverted.code, OutOfGas.code)
    assert result.gas <= 300_000
    assert burned.balance(BOB) == before - result.fee
    assert not list(burned.app.state.items(STORAGE, address))
    assert conserved(burned)


def test_a_contract_is_paid_by_another_only_if_it_looks_at_its_balance():
    chain = Chain()
    how = {"hook_gas": HOOK_GAS, "purse": HOOK_GAS}
    giver, seeing = (deploy(chain, ALICE, OWNERS, 9, value=50, **how) for _ in range(2))
    blind = deploy(chain, ALICE, BANK)
    (result,) = chain.do(BOB, Call(giver, "give", wire(blind), 0))
    assert result.code == BadMessage.code
    assert "does not read its balance" in result.detail
    assert (chain.balance(giver), chain.balance(blind)) == (50, 0)
    (result,) = chain.do(BOB, Call(giver, "give", wire(seeing), 0))
    assert result.code == 0, result.detail
    (result,) = chain.do(BOB, Call(seeing, "give", wire(seeing), 0))
    assert result.code == 0, "itself"
    assert (chain.balance(giver), chain.balance(seeing)) == (0, 100)
    (result,) = chain.do(BOB, Transfer(seeing, 5))
    assert result.code == BadMessage.code, "people call what takes money"
    assert conserved(chain)


def test_a_contract_takes_money_by_calls_only_but_may_own_a_gateway():
    chain = Chain()
    chain.register((1, ALICE.address))
    address = deploy(chain, ALICE, BANK)
    (result,) = chain.do(BOB, Transfer(address, 5))
    assert result.code == BadMessage.code
    (result,) = chain.do(ALICE, AssignGateway("main", gateway(1), address))
    assert result.code == 0
    chain.settle(0, {gateway(1): (9,)})
    chain.settle(1, {gateway(1): (9,)})
    assert chain.balance(address) == 1_000
    assert chain.time > START + 2 * EPOCH
