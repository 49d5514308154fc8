"""Signed transfers, and signed calls of a contract, through the whole chain.

Counted from signed bytes to a durable block: decode, check signatures, order, execute, state
root, commit to disk, and the index written. Blocks of 1,000 between 10,000 accounts, on disk. The
calls are those of ``tests.benchmarks.contracts``: they transfer a token that a contract keeps.
While a block is executed, the signatures of the next one are checked, as in ``verify`` and
``rebuild``.
"""

from __future__ import annotations

import functools
import hashlib
import random
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from nacl.bindings import crypto_sign, crypto_sign_seed_keypair

from dii import codec, crypto
from dii.application.messages import Call, Deploy, Message, Transfer, to_value
from dii.consensus.node import Node
from dii.consensus.solo import Solo
from dii.contracts import tree
from dii.contracts.frontend import parse
from dii.crypto import contract_address
from dii.genesis import Genesis
from dii.ledger import transaction
from tests.benchmarks.contracts import TOKEN
from tests.benchmarks.report import median, peer, show

BLOCK = 1_000
ACCOUNTS = 10_000
TRANSFERS = 30_000


class Signer:
    """Key that signs with PyNaCl: making the load must not take longer than the measurement."""

    def __init__(self, seed: bytes) -> None:
        self.public_key, self._secret = crypto_sign_seed_keypair(seed)
        self.address = crypto.address_of(self.public_key)

    def sign(self, message: bytes) -> bytes:
        return crypto_sign(message, self._secret)[:64]


@dataclass
class Load:
    """A chain's genesis and validator; signed transactions to begin with, and those to time."""

    genesis: Genesis
    validator: crypto.SigningKey
    before: list[bytes] = field(default_factory=list)
    timed: list[bytes] = field(default_factory=list)


def load(*, calls: bool = False) -> Load:
    """Return transfers between random accounts, of the currency or of a contract's token."""
    validator = crypto.SigningKey.derive(1, "validator")
    signers = [Signer(hashlib.sha256(b"%d" % number).digest()) for number in range(ACCOUNTS)]
    genesis = Genesis.make(
        name="bench",
        start=datetime(2018, 4, 21, tzinfo=UTC),
        max_mint_per_epoch=0,
        laboratory=True,
        accounts=[
            {"address": crypto.format_address(one.address), "balance": 10**9} for one in signers
        ],
        validators=[{"public_key": validator.public_key.hex()}],
        scopes=[
            {
                "name": "main",
                "reporters": [crypto.format_address(validator.address)],
                "metrics": ["uplinks"],
            }
        ],
    )
    nonces = [0] * ACCOUNTS
    load = Load(genesis, validator)

    def sign(sender: int, message: Message, gas_limit: int) -> bytes:
        nonces[sender] += 1
        return transaction.sign(
            signers[sender], genesis.hash, nonces[sender] - 1, to_value(message),
            gas_limit=gas_limit, valid_until=10**6,
        )  # fmt: skip

    token = contract_address(signers[0].address, 0)
    if calls:
        deploy = Deploy("main", tree.encode(parse(TOKEN)), codec.encode(()), 0, 0, 0)
        load.before = [sign(0, deploy, 200_000)]
        mint = Call(token, "mint", codec.encode((b"\x01\0\0\0",)), 0)
        load.before += [sign(number, mint, 20_000) for number in range(ACCOUNTS)]
    draw = random.Random(7)
    for _ in range(TRANSFERS):
        sender, recipient = draw.sample(range(ACCOUNTS), 2)
        to, amount = signers[recipient].address, draw.randrange(1, 100)
        if calls:
            arguments = codec.encode((to, amount.to_bytes(1)))
            load.timed.append(sign(sender, Call(token, "transfer", arguments, 0), 20_000))
        else:
            load.timed.append(sign(sender, Transfer(to, amount), 4_000))
    return load


def run(load: Load) -> float:
    """Return transactions per second."""
    with tempfile.TemporaryDirectory() as folder:
        node = Node(load.genesis, Path(folder))
        solo = Solo(node, load.validator)

        def send(wires: list[bytes]) -> None:
            for at in range(0, len(wires), BLOCK):
                node.app.anticipate(wires[at : at + 2 * BLOCK])
                placed, result = solo.produce(wires[at : at + BLOCK])
                assert len(placed) == len(wires[at : at + BLOCK])
                assert not any(one.code for one in result.results)
            node.index.flush()

        send(load.before)
        start = time.perf_counter()
        send(load.timed)
        seconds = time.perf_counter() - start
        node.close()
    return len(load.timed) / seconds


def main() -> None:
    """Measure and print."""
    rows, sizes = [], []
    for what, one in (("transfers", load()), ("token calls", load(calls=True))):
        middle, least, most = median(functools.partial(run, one))
        row = f"{middle:,.0f}/s ({least:,.0f}-{most:,.0f})"
        rows.append((f"signed {what} through the whole chain", row))
        sizes.append(len(one.timed[0]))
    rows += [
        ("bare PyNaCl, signatures only", peer("verify.py", "nacl")),
        ("bare pycryptodome, signatures only", peer("verify.py", "pycryptodome")),
        ("py-evm, in memory", peer("evm.py", "1000")),
        ("anvil", "not installed (no Python package)"),
    ]
    note = (
        f"median of 5 runs of {TRANSFERS:,} of {sizes[0]} and {sizes[1]} bytes,"
        f" {BLOCK:,} a block, on disk"
    )
    show("Signed transactions", rows, note)


if __name__ == "__main__":
    main()
