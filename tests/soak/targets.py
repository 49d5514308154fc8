"""Functions that read untrusted bytes, and the properties that must hold for any bytes.

Each target has real bytes to begin with and a function that reads bytes. An error of ours ends an
input; any other error is a defect. More must hold for accepted input: it is encoded to the same
bytes, its statements are true, and money is conserved.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from dii import codec, crypto
from dii.application import Application, actions, messages, total_money
from dii.application.bank import account, supply
from dii.application.governance import validators
from dii.application.pages import HASH, check
from dii.application.records import ACCOUNTS, ISSUANCES, TABLES
from dii.consensus.head import Head
from dii.consensus.node import Node, faults, head_of
from dii.consensus.solo import Solo
from dii.contracts import agreements, compiler, frontend, tree
from dii.contracts.tree import ListOf, Plain
from dii.contracts.unparse import unparse
from dii.contracts.values import form
from dii.crypto import contract_address
from dii.errors import CodecError, DiiError, ShapeMismatch, TransactionError, UpgradeNeeded
from dii.genesis import Genesis
from dii.ledger import log, snapshot, transaction
from dii.ledger.block import Block, Commit, Header
from dii.ledger.proof import Proof
from dii.ledger.state import State, decode_diff, encode_diff
from dii.minting import FixedEmission, PerContribution, ReceiptLeaf, ShapleyTraffic, Uptime
from dii.network import proofs as kinds
from dii.network.receipt import NoReceiptProof, ReceiptProof
from dii.schema import METRICS
from dii.units import SECOND
from tests.chains import (
    ALICE,
    BOB,
    EPOCH,
    GAS,
    PEOPLE,
    REPORTER,
    START,
    VALIDATOR,
    Chain,
    gateway,
    genesis,
    report,
    scope,
    sign,
)
from tests.contracts import SAMPLES, World
from tests.decided import accuse


@dataclass(frozen=True, slots=True)
class Target:
    """Real bytes, their form for mutation, and the function that reads them."""

    seeds: Sequence[bytes]
    form: str
    read: Callable[[bytes], None]


# --- a chain to take real bytes from --------------------------------------------------------------


@cache
def world() -> Chain:
    """Return a chain with a settled epoch, a report under way, an agreement and a proposal."""
    quick = {"delay_seconds": EPOCH // SECOND, "max_treasury_ppm": 10**6}
    chain = Chain(scopes=[scope(metrics=("online_ppm", "uplinks"))], governance=quick)
    chain.register(*((number, (ALICE, BOB)[number % 2].address) for number in range(1, 9)))
    rows = {gateway(number): (10**6 // number, number) for number in range(1, 9)}
    chain.settle(0, rows, metrics=("online_ppm", "uplinks"), chunk_rows=3)
    for key, said in SAID:
        (result,) = chain.do(key, said)
        assert result.code == 0, result.detail
    begun = report(1, rows, metrics=("online_ppm", "uplinks"), chunk_rows=3)
    for result in chain.do(REPORTER, *begun[:2], time=START + 2 * EPOCH):
        assert result.code == 0, result.detail
    return chain


SOURCES = {
    path.stem: path.read_text() for path in sorted(Path(agreements.__file__).parent.glob("*.dii"))
}
TREES = {name: tree.encode(frontend.parse(text)) for name, text in SOURCES.items()}
COUNTER = tree.encode(
    frontend.parse("""
until: int
seen: map[str, int]
notes: list[bytes]

@payable
def init(last: int):
    until = last

@external
def count(what: str, by: int) -> int:
    if what not in seen:
        seen[what] = 0
    seen[what] += by
    assert balance >= 0
    return seen[what]

@external
def take(amount: int):
    pay(sender, amount)
    emit("taken", amount, self_address)

@on_epoch
def settle(of: int):
    seen["epochs"] = of
""")
)
ACTIONS = (
    actions.SetStream("main", "more", Uptime().spec(), FixedEmission(5).spec(), "main"),
    actions.SetStream("new", "new", ShapleyTraffic().spec(), PerContribution(5, 9).spec(), None),
    actions.RemoveStream("main", "main"),
    actions.SetScope("new", (BOB.address, ALICE.address), ("online_ppm",), ("lost",)),
    actions.SetValidator(BOB.public_key, 3),
    actions.SetGas(2, 1),
    actions.SpendTreasury(BOB.address, 5),
    actions.DenyGateway("main", gateway(3), bytes(32), 9),
)
WATCHED = contract_address(ALICE.address, 0)
COUNTED = contract_address(ALICE.address, 1)
UPTIME = codec.encode((gateway(1), b"\x0e\x7e\xf0", b"\4"))
SAID = (
    (ALICE, messages.Deploy("main", TREES["uptime"], UPTIME, 1_000, 50_000, 200_000)),
    (ALICE, messages.Deploy("main", COUNTER, codec.encode((b"\5",)), 1_000, 5_000, 20_000)),
    (BOB, messages.Call(COUNTED, "count", codec.encode(("x", b"\1")), 0)),
    (VALIDATOR, messages.Propose(ACTIONS[0])),
)
"""Earlier messages on the chain; the sender, and a message."""
MORE = (
    *SAID,
    *((VALIDATOR, messages.Propose(action)) for action in ACTIONS),
    (VALIDATOR, messages.Vote(0, True)),
    (VALIDATOR, messages.Vote(1, False)),
    (ALICE, messages.Transfer(BOB.address, 5)),
    (BOB, messages.Burn(7)),
    (ALICE, messages.AssignGateway("main", gateway(2), BOB.address)),
    (BOB, messages.Call(COUNTED, "take", codec.encode((b"\7",)), 3)),
    (BOB, messages.TopUp(COUNTED, 9)),
    (REPORTER, messages.Claim("main", gateway(5), BOB.public_key)),
    (
        REPORTER,
        messages.RegisterGateways("main", ((gateway(9), ALICE.address), (gateway(2), bytes(20)))),
    ),
    (REPORTER, messages.RegisterApplications("main", ((gateway(9), ALICE.address),))),
)


# --- bytes ----------------------------------------------------------------------------------------


def _codec() -> Target:
    kinds = [*(table.shape for table in TABLES), *messages.KINDS.values()]
    kinds += [Block, Header, ReceiptLeaf, snapshot.Manifest]

    def read(data: bytes) -> None:
        value = codec.decode(data)
        assert codec.encode(value) == data
        for kind in kinds:
            with suppress(ShapeMismatch):
                assert codec.dumps(codec.unpack(kind, value), kind) == data

    said = [codec.dumps(message) for _, message in MORE]
    return Target([*world().app.state.pairs().values(), *said], "value", read)


def _diffs() -> Target:
    def read(data: bytes) -> None:
        diff = decode_diff(data)
        assert encode_diff(diff) == data
        state, again = State(), State()
        state.apply(diff)
        assert state.pairs() == {key: value for key, value in diff if value is not None}
        again.apply([*reversed(state.pairs().items())])
        assert again.committed_root == state.committed_root

    return Target([encode_diff(()), *map(encode_diff, _diffs_of(world()))], "value", read)


def _diffs_of(chain: Chain) -> Iterator[tuple[tuple[bytes, bytes | None], ...]]:
    pairs = sorted(chain.app.state.pairs().items())
    yield tuple(pairs)
    yield tuple((key, value if at % 3 else None) for at, (key, value) in enumerate(pairs[:20]))


def _pages() -> Target:
    known = [METRICS["online_ppm"], METRICS["uplinks"]]
    rows = {gateway(number): (number or None, number**5) for number in range(1, 20)}
    said = [report(0, rows, metrics=("a", "b"), chunk_rows=size)[1:] for size in (1, 8, 100)]

    def read(data: bytes) -> None:
        page = check(data, known, b"", HASH, scope="main", epoch=0)
        assert page.encode() == data
        assert page.keys == sorted(set(page.keys))
        for metric, column in zip(known, page.columns, strict=True):
            assert all(value is None or 0 <= value <= metric.maximum for value in column)

    return Target([chunk.data for some in said for chunk in some], "value", read)


# --- blocks and what stands in them ---------------------------------------------------------------


def _wires() -> list[bytes]:
    chain = world().app.genesis.hash
    return [sign(chain, key, at, message) for at, (key, message) in enumerate(MORE)]


def _transactions() -> Target:
    def read(wire: bytes) -> None:
        tx = transaction.decode(wire)
        assert codec.encode((tx.body, tx.signature)) == wire
        message = messages.from_value(tx.message)
        assert messages.to_value(message) == tx.message

    return Target(_wires(), "value", read)


Decided = tuple[Block, Commit]


def _blocks() -> Target:
    """Blocks with their commits: no bytes but the true ones pass for the next block."""
    node = Node(genesis())
    solo = Solo(node, VALIDATOR)
    for nonce in range(3):
        solo.produce([sign(node.genesis.hash, ALICE, nonce, messages.Transfer(BOB.address, 1))])
    before, last = (
        (codec.loads(Block, block), codec.loads(Commit, commit))
        for *_, block, commit in node.store.blocks(2)
    )
    app = Application(node.genesis, 2, snapshot.state_at(node.store, 2))
    head = head_of(app, before[0].header, validators(app.state))
    accused = accuse(VALIDATOR, node.genesis.hash, 2), accuse(ALICE, node.genesis.hash, 3)
    more = replace(last[0], evidence=accused), (*last[1], *before[1])

    def read(data: bytes) -> None:
        block, commit = codec.loads(Decided, data)
        assert codec.dumps((block, commit), Decided) == data
        if not list(faults(head, block, commit)):
            assert (block, commit) == last
        elif app.process_proposal(block.transactions, block.header.time):
            assert set(block.transactions) <= set(last[0].transactions)

    return Target([codec.dumps(one, Decided) for one in (last, before, more)], "value", read)


def _messages() -> Target:
    """Blocks of (seconds, (person, gas, message)...), signed and executed with any content."""
    start = world()
    pairs = tuple(sorted(start.app.state.pairs().items()))
    people = (*PEOPLE, VALIDATOR)

    def read(data: bytes) -> None:
        state = State()
        state.apply(pairs)
        app, time = Application(start.app.genesis, start.app.height, state), start.time
        script = codec.decode(data)
        if type(script) is not tuple:
            return
        for seconds, *said in (one for one in script[:6] if type(one) is tuple and one):
            time += (seconds if type(seconds) is int and 0 < seconds < 2**32 else 1) * SECOND
            wires, nonces = [], {key: account(state, key.address).nonce for key in people}
            for who, gas, message in (
                one for one in said[:8] if type(one) is tuple and len(one) == 3
            ):
                key = people[who % len(people)] if type(who) is int else ALICE
                limit = gas if type(gas) is int and 0 <= gas < 2**63 else GAS
                wires.append(
                    transaction.sign(
                        key, app.genesis.hash, nonces[key], message,
                        gas_limit=limit, valid_until=2**40,
                    )
                )  # fmt: skip
                nonces[key] += 1
            try:
                for wire in wires:
                    app.check_tx(wire)
                result = app.finalize_block(app.height + 1, time, wires, VALIDATOR.address)
            except UpgradeNeeded:
                return
            assert len(result.results) == len(wires)
            app.commit()
            money = supply(state)
            assert total_money(state) == money.minted - money.burned
            again = State()
            again.apply(tuple(state.pairs().items()))
            assert result.app_hash == state.committed_root == again.committed_root

    def line(key: object, message: messages.Message) -> tuple[object, ...]:
        return people.index(key), GAS, messages.to_value(message)

    rows = {gateway(number): (1_000, number) for number in range(1, 9)}
    late = report(1, rows, metrics=("online_ppm", "uplinks"), chunk_rows=3)
    scripts = [[(1, line(*one)), (EPOCH // SECOND,)] for one in MORE]
    votes = [line(VALIDATOR, messages.Vote(0, True)), line(VALIDATOR, messages.Propose(ACTIONS[1]))]
    settle = [(1, *(line(REPORTER, one) for one in late[2:])), *[(1,)] * 4]
    scripts += [settle, [(1, *votes), (EPOCH // SECOND,), *settle]]
    return Target([codec.encode(script) for script in scripts], "value", read)


# --- what travels by itself -----------------------------------------------------------------------


def _proofs() -> Target:
    chain = world()
    state, leaves = chain.app.state, chain.receipts["main", 0]
    lines = [codec.dumps(leaf) for leaf in leaves]
    head = Head(chain.app.genesis.hash, None, state.committed_root, {}, {})
    header = head.block(START, (), VALIDATOR.public_key, ()).header

    def of(key: bytes) -> Proof:
        return Proof.of(header, state, key)

    issued = of(ISSUANCES.key("main", 0))
    places = [ReceiptProof(leaf, at, log.prove(lines, at), issued) for at, leaf in enumerate(lines)]
    proofs = [
        of(ACCOUNTS.key(ALICE.address)),
        of(ACCOUNTS.key(bytes(20))),
        places[0],
        places[-1],
        NoReceiptProof(gateway(99), (places[-1],), issued),
    ]

    def read(data: bytes) -> None:
        found, under = kinds.check(data, header.hash)
        assert under == header
        content = json.loads(data)
        proof = Proof.from_json(
            {name: content[name] for name in of(b"").to_json()} | {"kind": "record"}
        )
        assert proof.value == state.get_bytes(proof.key)
        if found["kind"] == "receipt" and found.get("present", True):
            assert bytes.fromhex(content["receipt"]["leaf"]) in lines
        elif found["kind"] == "receipt":
            assert found["gateway"] not in [leaf.gateway for leaf in leaves]

    return Target([json.dumps(one.to_json()).encode() for one in proofs], "json", read)


def _genesis() -> Target:
    several = genesis(scopes=[scope(), scope("other", ("uplinks",), usage=("lost",))])

    def read(data: bytes) -> None:
        made = Genesis.parse(data.decode(errors="replace"))
        assert Genesis.parse(made.dump()).hash == made.hash
        app = Application(made)
        assert total_money(app.state) == supply(app.state).minted

    return Target([one.dump().encode() for one in (genesis(), several)], "text", read)


def _snapshots() -> Target:
    """A manifest and chunks; a liar's manifest fits their chunks."""
    state = world().app.state
    root, pairs, size = state.committed_root, state.pairs(), snapshot.CHUNK
    seeds = []
    for snapshot.CHUNK in (700, 5_000, size):
        pieces = list(snapshot.cut(9, root, pairs))
        seeds.append(codec.encode((pieces[-1].manifest, *(piece.chunk for piece in pieces))))
    snapshot.CHUNK = size

    def read(data: bytes) -> None:
        parts = codec.decode(data)
        if type(parts) is not tuple or not all(type(part) is bytes for part in parts):
            return
        manifest, *chunks = parts or (b"",)
        for announced in (manifest, _fitting(chunks, root)):
            with suppress(DiiError):
                assert snapshot.assemble(announced, chunks, root).pairs() == pairs
            with suppress(DiiError):
                found = snapshot.assemble(announced, chunks)
                assert [key for key, _ in found.pairs().items()] == sorted(found.pairs())

    return Target(seeds, "value", read)


def _fitting(chunks: Sequence[bytes], root: bytes) -> bytes:
    count = 0
    for chunk in chunks:
        with suppress(CodecError, ShapeMismatch):
            count += len(decode_diff(chunk))
    hashes = tuple(map(crypto.sha256, chunks))
    return codec.encode((9, root, count, sum(map(len, chunks)), hashes))


# --- contracts ------------------------------------------------------------------------------------


def _runs(program: compiler.Program) -> None:
    """Run every function with little gas: it uses no more, and its shown text is what runs."""
    assert frontend.parse(unparse(program.contract)) == program.contract
    for name, one in program.functions.items():
        kinds = [each.type for each in one.parameters]
        values = [
            () if isinstance(kind, ListOf) else form(kind).pack(SAMPLES[kind.name])
            for kind in kinds
            if isinstance(kind, Plain | ListOf)
        ]
        for by in ("external", "init", "on_epoch"):
            try:
                used = program.run(name, values, World(money=1_000, value=5), 5_000, by=by).gas
            except TransactionError as error:
                used = error.gas
            assert used <= 5_000


def _trees() -> Target:
    def read(data: bytes) -> None:
        contract = tree.decode(data)
        assert tree.encode(contract) == data
        _runs(compiler.compile(contract))

    return Target([COUNTER, *TREES.values()], "value", read)


def _sources() -> Target:
    def read(data: bytes) -> None:
        program = frontend.check(data.decode(errors="surrogateescape"))
        assert tree.decode(tree.encode(program.contract)) == program.contract
        _runs(program)

    return Target([text.encode() for text in SOURCES.values()], "text", read)


TARGETS: dict[str, Callable[[], Target]] = {
    "codec": _codec,
    "diffs": _diffs,
    "pages": _pages,
    "transactions": _transactions,
    "blocks": _blocks,
    "messages": _messages,
    "proofs": _proofs,
    "genesis": _genesis,
    "snapshots": _snapshots,
    "trees": _trees,
    "sources": _sources,
}
