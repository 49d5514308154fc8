"""Costs of a growing state: blocks of 1,000 transfers, memory, opening, and proofs' sizes.

From a thousand to a million accounts, with a thousand senders and any recipients, and as many
receipts of one epoch. Each size is made in one process and measured in another, so that memory is
that of a node. Arguments: sizes.
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from dii import codec, crypto
from dii.application.messages import Transfer, to_value
from dii.application.records import ACCOUNTS, ISSUANCES, SUPPLY, Account, Supply
from dii.consensus.node import CHAIN_FILE, Node
from dii.consensus.solo import Solo
from dii.ledger import log, transaction
from dii.ledger.proof import Proof
from dii.ledger.state import State, encode_diff
from dii.ledger.store import Store
from dii.minting import FixedEmission, Issuance, ReceiptLeaf, Uptime
from dii.network.receipt import ReceiptProof
from tests.benchmarks.peers.memory import peak_mb
from tests.benchmarks.report import show
from tests.benchmarks.transfers import Signer
from tests.chains import VALIDATOR, genesis

SIZES = (1_000, 10_000, 100_000, 1_000_000)
BLOCKS = 40
BLOCK = 1_000
BALANCE = 10**9


def addresses(count: int) -> list[bytes]:
    """Return ``count`` addresses; the first are those of the senders."""
    signers = [Signer(crypto.sha256(b"%d" % number)).address for number in range(BLOCK)]
    return signers + [crypto.sha256(b"%d" % number)[:20] for number in range(BLOCK, count)]


def receipts(count: int) -> list[bytes]:
    """Return ``count`` receipts, in the order of gateways."""
    line = codec.dumps(ReceiptLeaf(bytes(20), bytes(20), 5_000, 5_000, 0, (999_000,)))
    at = line.index(bytes(20))
    return [line[:at] + number.to_bytes(20) + line[at + 20 :] for number in range(count)]


def make(count: int, home: Path) -> None:
    """Write a chain with ``count`` accounts in its first state."""
    made = genesis(accounts=[])
    with closing(Node(made)) as node:
        pairs = node.state.pairs()
    line = codec.dumps(Account(BALANCE, 0))
    pairs |= {ACCOUNTS.key(address): line for address in addresses(count)}
    pairs[SUPPLY.key()] = codec.dumps(Supply(count * BALANCE, 0))
    issued = Issuance(
        "main", Uptime().spec(), FixedEmission(5).spec(), ("online_ppm",),
        count, 5 * count, 0, 0, 5 * count, 0, 0, count, log.root_of(receipts(count)),
    )  # fmt: skip
    pairs[ISSUANCES.key("main", 0)] = codec.dumps(issued)
    diff, state = tuple(sorted(pairs.items())), State()
    state.apply(diff)
    with closing(Store(home / CHAIN_FILE, made.hash)) as store:
        store.append(0, b"", encode_diff(diff), state.committed_root)


def wires(chain: bytes, recipients: list[bytes]) -> Iterator[list[bytes]]:
    """Yield the transactions of each block."""
    draw = random.Random(7)
    signers = [Signer(crypto.sha256(b"%d" % number)) for number in range(BLOCK)]
    for nonce in range(BLOCKS):
        yield [
            transaction.sign(
                one, chain, nonce, to_value(Transfer(draw.choice(recipients), 5)),
                gas_limit=4_000, valid_until=10**6,
            )
            for one in signers
        ]  # fmt: skip


def measure(count: int, home: Path) -> str:
    """Return time and memory of a node over a chain that :func:`make` wrote."""
    made, known = genesis(accounts=[]), addresses(count)
    begin = time.perf_counter()
    node = Node(made, home)
    opened, seconds = time.perf_counter() - begin, []
    solo = Solo(node, VALIDATOR)
    for block in wires(made.hash, known):
        begin = time.perf_counter()
        placed, result = solo.produce(block)
        seconds.append(time.perf_counter() - begin)
        assert len(placed) == BLOCK
        assert not any(one.code for one in result.results)
    memory = peak_mb()
    solo.produce(())  # so that a header carries the state

    def size(what: Proof | ReceiptProof) -> int:
        what.verify(header.hash)
        return len(json.dumps(what.to_json()))

    def prove(key: bytes) -> Proof:
        return Proof.of(header, node.state, key)

    header = node.header
    assert header is not None
    account = statistics.median(size(prove(ACCOUNTS.key(one))) for one in known[:: count // 100])
    leaves, issued = receipts(count), prove(ISSUANCES.key("main", 0))
    receipt = size(
        ReceiptProof(leaves[count // 3], count // 3, log.prove(leaves, count // 3), issued)
    )
    node.close()
    return (
        f"{1_000 * statistics.median(seconds):4.0f} ms, worst {1_000 * max(seconds):4.0f}"
        f"   {memory:5,} MB   {opened:5.2f} s   {account:,.0f} and {receipt:,} bytes"
    )


def main() -> None:
    """Measure and print."""
    rows = [("accounts", "a block                memory     opening   proof of account, receipt")]
    for count in [int(text) for text in sys.argv[1:] if text.isdigit()] or SIZES:
        with tempfile.TemporaryDirectory() as home:
            command = [sys.executable, "-m", "tests.benchmarks.growth", str(count), home]
            subprocess.run([*command, "make"], check=True)
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            rows.append((f"{count:,}", done.stdout.strip()))
    note = f"median of {BLOCKS} blocks of {BLOCK:,} transfers, on disk; peak memory; proofs as JSON"
    show("A growing state", rows, note)


if __name__ == "__main__":
    size, folder, *rest = sys.argv[1:]
    if rest:
        make(int(size), Path(folder))
    else:
        print(measure(int(size), Path(folder)))
