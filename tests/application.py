"""Values and helpers for tests of the application."""

from __future__ import annotations

from typing import Any

from dii import codec
from dii.application.messages import (
    Call,
    Claim,
    Message,
    RegisterApplications,
    RegisterGateways,
    ReportChunk,
    ReportManifest,
)
from dii.crypto import SigningKey, claim_address
from dii.genesis import TREASURY
from dii.minting import DataCredits, FixedEmission, PerContribution, ShapleyTraffic, Uptime
from dii.units import SECOND
from tests.chains import ALICE, BOB, EPOCH, GAS, REPORTERS, START, Chain, gateway, scope, stream

CALL = Call(bytes(20), "run", codec.encode(()), 0)
"""Of a contract that is not there: its gas limit is not bounded by its kind."""

FULL = 10**6
"""A gateway that was online throughout."""


def epoch_end(epoch: int) -> int:
    return START + (epoch + 1) * EPOCH


OPERATORS = [bytes([0xC0 + n]) * 20 for n in range(2)]
CLAIMS = [claim_address("main", operator) for operator in OPERATORS]
FOUR = REPORTERS[:4]
WINDOW = 60 * SECOND
OWNERS = [ALICE.address, BOB.address, *CLAIMS, *CLAIMS, TREASURY]
METRICS_OF = {
    "main": ("online_ppm", "shapley_uplinks"),
    "other": ("online_ppm", "data_units"),
}
CAP, TREASURY_CAP = 1_500, 400
MOST_ROWS = 6
DUTIES_OF_REPORTERS = (
    RegisterGateways, RegisterApplications, Claim, ReportManifest, ReportChunk,
)  # fmt: skip


def mixed(**changes: Any) -> dict[str, Any]:
    """Return the changes of a genesis for two scopes and four streams under one limit."""
    return {
        "scopes": [scope(name, metrics) for name, metrics in METRICS_OF.items()],
        "streams": [
            stream("uptime", Uptime(2), FixedEmission(1_000), rest="traffic"),
            stream("traffic", ShapleyTraffic(), PerContribution(300, 900), rest="treasury"),
            stream("data", DataCredits(1), FixedEmission(700), scope="other", rest="presence"),
            stream("presence", policy=FixedEmission(300), scope="other", rest="treasury"),
        ],
        "max_mint_per_epoch": CAP,
        "governance": {
            "delay_seconds": 60,
            "max_treasury_ppm": 10**6 * TREASURY_CAP // CAP + 1,
        },
        "limits": {
            "settle_rows": 3,
            "max_rows": MOST_ROWS,
            "max_bindings": 4,
            "block_gas": 9 * GAS,
        },
        **changes,
    }


Values = dict[bytes, tuple[int | None, ...]]


def medians(reports: list[Values], liars: int) -> list[tuple[bytes, tuple[int | None, ...]]]:
    """Return the rows that reports agree on, by the definition: counting, not sorting."""
    agreed = []
    for key in sorted(set().union(*reports)):
        named = [one[key] for one in reports if key in one]
        if len(named) <= liars:
            continue
        values = []
        for column in range(len(named[0])):
            said = [-1 if row[column] is None else int(row[column] or 0) for row in named]
            said += [0] * (len(reports) - len(named))
            # The least value that at least half of all reports do not exceed.
            median = min(v for v in said if 2 * sum(one <= v for one in said) >= len(said))
            values.append(None if median < 0 else median)
        agreed.append((key, tuple(values)))
    return agreed


def page_rows(data: bytes, key: int = 20) -> list[tuple[bytes, tuple[int | None, ...]]]:
    """Read a page's rows bit by bit, by the format's description alone."""
    keys, columns = codec.decode(data)
    count = len(keys) // key
    values = []
    for width, packed, mask in columns:
        bits = (1 << count) - 1 if mask is None else int.from_bytes(mask)
        values.append(
            [
                int.from_bytes(packed[row * width : (row + 1) * width])
                if bits >> (count - 1 - row) & 1
                else None
                for row in range(count)
            ]
        )
    rows = range(count)
    return [(keys[key * n : key * n + key], tuple(column[n] for column in values)) for n in rows]


def amounts(chain: Chain, epoch: int, name: str = "main") -> dict[int, tuple[bytes, int]]:
    """Return gateway number to (payee, amount) of an epoch that the last blocks have paid."""
    return {
        int.from_bytes(leaf.gateway): (leaf.payee, leaf.amount)
        for leaf in chain.receipts[name, epoch]
    }


ROWS = {gateway(number): [FULL] for number in (1, 2, 3, 4)}


def several(count: int = 4, **changes: Any) -> Chain:
    """Return a chain with a scope of ``count`` reporters, none with any money."""
    return Chain(scopes=[scope(reporters=REPORTERS[:count])], **changes)


def says(chain: Chain, who: SigningKey, *messages: Message) -> list[int]:
    """Return the codes of one reporter's messages; successful ones are free."""
    results = chain.do(who, *messages)
    assert all(one.fee == 0 for one in results)
    return [one.code for one in results]
