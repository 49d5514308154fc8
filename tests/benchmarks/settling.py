"""Settling an epoch: from the reported chunks to receipts and credited accounts, durable.

Argument: gateways, by default 21,000 and 1,000,000. Every gateway belongs to another operator,
the worst case: each pays into an account of its own.
"""

from __future__ import annotations

import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from dii import crypto, minting
from dii.application.messages import (
    MAX_BATCH,
    Message,
    RegisterGateways,
    ReportChunk,
    ReportManifest,
    to_value,
)
from dii.application.pages import Page, paginate
from dii.consensus.node import Node
from dii.consensus.solo import Solo
from dii.genesis import Genesis, SpecSection
from dii.ledger import transaction
from dii.schema import MAX_ROWS
from tests.benchmarks.report import show

COLUMNS = ("receptions", "uplinks", "sole_uplinks", "shapley_uplinks", "uplink_units")


def genesis_of(reporter: crypto.SigningKey) -> Genesis:
    """Return a network with one stream by Shapley traffic."""
    rule, policy = minting.ShapleyTraffic(), minting.FixedEmission(10**10)
    return Genesis.make(
        name="bench",
        start=datetime(2018, 4, 21, tzinfo=UTC),
        max_mint_per_epoch=10**10,
        laboratory=True,
        validators=[{"public_key": reporter.public_key.hex()}],
        limits={"max_bindings": MAX_ROWS, "block_bytes": 4_000_000},
        scopes=[
            {
                "name": "main",
                "reporters": [crypto.format_address(reporter.address)],
                "metrics": list(COLUMNS),
            }
        ],
        streams=[
            {
                "name": "main",
                "scope": "main",
                "rule": SpecSection.of(rule.spec()),
                "policy": SpecSection.of(policy.spec()),
            }
        ],
    )


def settle(count: int) -> tuple[float, float, int, float]:
    """Return seconds in all, the longest block, the blocks, and seconds for the report."""
    reporter = crypto.SigningKey.derive(1, "reporter")
    genesis = genesis_of(reporter)
    gateways = sorted(crypto.sha256(b"gateway %d" % number)[:20] for number in range(count))
    owners = [crypto.sha256(gateway)[:20] for gateway in gateways]
    values: list[list[int | None]] = [
        [(row * 7919 + column) % 500 for row in range(count)] for column in range(len(COLUMNS))
    ]
    chunks = [page.encode() for page in paginate(Page(gateways, values))]
    bindings = list(zip(gateways, owners))
    registrations: list[Message] = [
        RegisterGateways("main", tuple(bindings[at : at + MAX_BATCH]))
        for at in range(0, count, MAX_BATCH)
    ]
    hashes = tuple(crypto.sha256(chunk) for chunk in chunks)
    report: list[Message] = [ReportManifest("main", 0, count, COLUMNS, hashes)]
    report += [ReportChunk("main", 0, chunk) for chunk in chunks]
    with tempfile.TemporaryDirectory() as folder:
        node = Node(genesis, Path(folder))
        solo = Solo(node, reporter)
        nonce = 0

        def send(messages: list[Message], at: int | None) -> None:
            nonlocal nonce
            wires = [
                transaction.sign(
                    reporter,
                    genesis.hash,
                    nonce + place,
                    to_value(message),
                    gas_limit=2_000_000,
                    valid_until=10**6,
                )
                for place, message in enumerate(messages)
            ]
            nonce += len(wires)
            while wires:
                placed, result = solo.produce(wires, at)
                assert placed
                assert not any(one.code for one in result.results), result.results[:1]
                wires = wires[len(placed) :]

        send(registrations, None)
        # All but the last chunk are reported first, so that settling alone is timed.
        end = genesis.start_time + genesis.epoch_length
        start = time.perf_counter()
        send(report[:-1], end)
        reporting = time.perf_counter() - start
        longest, blocks, start = 0.0, 0, time.perf_counter()
        send(report[-1:], None)
        while True:
            before = time.perf_counter()
            changed = solo.produce()[1].changed
            longest = max(longest, time.perf_counter() - before)
            blocks += 1
            if not changed:
                break
        seconds = time.perf_counter() - start
        node.close()
    return seconds, longest, blocks, reporting


def main() -> None:
    """Measure and print."""
    sizes = [int(text) for text in sys.argv[1:] if text.isdigit()] or [21_000, 1_000_000]
    rows = []
    for count in sizes:
        seconds, longest, blocks, reporting = settle(count)
        rows.append(
            (
                f"{count:,} gateways",
                (
                    f"{seconds:.2f} s in {blocks} blocks, longest {longest:.2f} s"
                    f" (report checked before in {reporting:.2f} s)"
                ),
            )
        )
    show("Settling an epoch", rows, "one run each; one operator a gateway; on disk")


if __name__ == "__main__":
    main()
