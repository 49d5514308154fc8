"""Signed transfers through the whole chain.

Counted from signed bytes to a durable block: decode, check signatures, order, execute, state
root, commit to disk, and the index written. Blocks of 1,000 between 10,000 accounts, on disk.
"""

from __future__ import annotations

import hashlib
import random
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from nacl.bindings import crypto_sign, crypto_sign_seed_keypair

from dii import crypto
from dii.application.messages import Transfer, to_value
from dii.consensus.node import Node
from dii.consensus.solo import Solo
from dii.genesis import Genesis
from dii.ledger import transaction
from tests.benchmarks.report import median, peer, show

BLOCK = 1_000
ACCOUNTS = 10_000
TRANSFERS = 30_000


class Signer:
    """Signs with PyNaCl: making the load must not take longer than the measurement."""

    def __init__(self, seed: bytes) -> None:
        self.public_key, self._secret = crypto_sign_seed_keypair(seed)
        self.address = crypto.address_of(self.public_key)

    def sign(self, message: bytes) -> bytes:
        return crypto_sign(message, self._secret)[:64]


def load() -> tuple[Genesis, crypto.SigningKey, list[bytes]]:
    """Return a genesis, its validator, and signed transfers between random accounts."""
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
    draw, nonces, wires = random.Random(7), [0] * ACCOUNTS, []
    for _ in range(TRANSFERS):
        sender, recipient = draw.sample(range(ACCOUNTS), 2)
        message = to_value(Transfer(signers[recipient].address, draw.randrange(1, 10**4)))
        wires.append(
            transaction.sign(
                signers[sender],
                genesis.hash,
                nonces[sender],
                message,
                gas_limit=4_000,
                valid_until=10**6,
            )
        )
        nonces[sender] += 1
    return genesis, validator, wires


def run(genesis: Genesis, validator: crypto.SigningKey, wires: list[bytes]) -> float:
    """Return transfers a second."""
    with tempfile.TemporaryDirectory() as folder:
        node = Node(genesis, Path(folder))
        solo = Solo(node, validator)
        start = time.perf_counter()
        for at in range(0, len(wires), BLOCK):
            placed, result = solo.produce(wires[at : at + BLOCK])
            assert len(placed) == BLOCK
            assert not any(one.code for one in result.results)
        node.index.flush()
        seconds = time.perf_counter() - start
        node.close()
    return len(wires) / seconds


def main() -> None:
    """Measure and print."""
    genesis, validator, wires = load()
    middle, least, most = median(lambda: run(genesis, validator, wires))
    rows = [
        ("signed transfers through the whole chain", f"{middle:,.0f}/s ({least:,.0f}-{most:,.0f})"),
        ("bare PyNaCl, signatures only", peer("verify.py", "nacl")),
        ("bare pycryptodome, signatures only", peer("verify.py", "pycryptodome")),
        ("py-evm, in memory", peer("evm.py", "1000")),
        ("anvil", "not installed (no Python package)"),
    ]
    note = f"median of 5 runs of {TRANSFERS:,} of {len(wires[0])} bytes, {BLOCK:,} a block, on disk"
    show("Signed transfers", rows, note)


if __name__ == "__main__":
    main()
