"""Opening a chain of 10,000 blocks, to read and to write, and the cost of its snapshots.

Ten transfers per block between 10,000 accounts, on disk. For comparison the same chain without its
snapshots, opened by all of its diffs, and SQLite alone reading the same diffs.
Arguments: blocks, accounts.
"""

from __future__ import annotations

import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from dii import crypto
from dii.application.messages import Transfer, to_value
from dii.consensus.node import CHAIN_FILE, INDEX_FILE, Node
from dii.consensus.solo import Solo
from dii.genesis import Genesis
from dii.ledger import transaction
from dii.ledger.reader import Reader
from tests.benchmarks.report import median, show
from tests.benchmarks.transfers import Signer

TRANSFERS = 10


def make(home: Path, count: int, accounts: int) -> tuple[Genesis, float, float, float, int]:
    """Return the genesis, seconds in all, for snapshots, in the longest piece, and pieces."""
    validator = crypto.SigningKey.derive(1, "validator")
    signers = [Signer(crypto.sha256(b"%d" % number)) for number in range(min(accounts, 10_000))]
    addresses = [one.address for one in signers]
    addresses += [crypto.sha256(b"%d" % number)[:20] for number in range(10_000, accounts)]
    genesis = Genesis.make(
        name="bench",
        start=datetime(2018, 4, 21, tzinfo=UTC),
        max_mint_per_epoch=0,
        laboratory=True,
        accounts=[
            {"address": crypto.format_address(address), "balance": 10**9} for address in addresses
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
    node = Node(genesis, home)
    node.store._writing().execute("PRAGMA synchronous=OFF")  # the disk is not measured
    solo, draw, nonces = Solo(node, validator), random.Random(7), [0] * len(signers)
    seconds: list[float] = []
    take = node._snapshot

    def timed(*arguments: object) -> list[object]:
        begin = time.perf_counter()
        pieces = list(take(*arguments))
        if pieces:
            seconds.append(time.perf_counter() - begin)
        return pieces

    node._snapshot = timed
    begin = time.perf_counter()
    for _ in range(count):
        wires = []
        for sender in draw.sample(range(len(signers)), TRANSFERS):
            value = to_value(Transfer(draw.choice(addresses), draw.randrange(1, 10**4)))
            wires.append(
                transaction.sign(
                    signers[sender], genesis.hash, nonces[sender], value,
                    gas_limit=4_000, valid_until=10**6,
                )
            )  # fmt: skip
            nonces[sender] += 1
        placed, _ = solo.produce(wires)
        assert len(placed) == TRANSFERS
    whole = time.perf_counter() - begin
    node.close()
    return genesis, whole, sum(seconds), max(seconds, default=0), len(seconds)


def _timed(run: Callable[[], object]) -> Callable[[], float]:
    def measure() -> float:
        begin = time.perf_counter()
        opened = run()
        seconds = time.perf_counter() - begin
        getattr(opened, "close", lambda: None)()
        return seconds

    return measure


def main() -> None:
    """Measure and print."""
    numbers = [int(text) for text in sys.argv[1:] if text.isdigit()]
    count, accounts = [*numbers, 10_000, 10_000][:2] if len(numbers) != 1 else (*numbers, 10_000)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        genesis, whole, taken, longest, pieces = make(home, count, accounts)
        chain, index = home / CHAIN_FILE, home / INDEX_FILE
        size = chain.stat().st_size

        def diffs() -> None:
            with sqlite3.connect(chain) as db:
                assert sum(len(diff) for (diff,) in db.execute("SELECT diff FROM blocks"))
            db.close()

        def row(what: str, run: Callable[[], object]) -> tuple[str, str]:
            middle, least, most = median(_timed(run))
            return what, f"{middle:.3f} s ({least:.3f}-{most:.3f})"

        rows = [
            row("to read (Reader)", lambda: Reader(chain, index, genesis.hash)),
            row("to write (Node)", lambda: Node(genesis, home)),
        ]
        with sqlite3.connect(chain) as db:
            db.execute("DELETE FROM snapshots")
        db.close()
        rows += [
            row("to read, without snapshots", lambda: Reader(chain, index, genesis.hash)),
            row("to write, without snapshots", lambda: Node(genesis, home)),
            row("SQLite, reading all diffs", diffs),
            (
                "taking snapshots",
                f"{taken:.2f} s of {whole:.1f} s in {pieces} pieces, the longest {longest:.3f} s",
            ),
        ]
    what = f"{count:,} blocks of {TRANSFERS} transfers, {accounts:,} accounts"
    show(f"Opening {what}", rows, f"median of 5; the file has {size / 1e6:.0f} MB, warm")


if __name__ == "__main__":
    main()
