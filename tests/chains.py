"""Small chains for tests: people, a genesis, signed messages, reports, and blocks of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from dii import codec, crypto
from dii.application import Application, BlockResult, TxResult
from dii.application.bank import account
from dii.application.handlers import most_gas
from dii.application.messages import (
    Message,
    RegisterGateways,
    ReportChunk,
    ReportManifest,
    from_value,
    to_value,
)
from dii.application.pages import Page
from dii.application.records import ISSUANCES, SCOPES
from dii.crypto import SigningKey, format_address
from dii.genesis import Genesis
from dii.ledger import transaction
from dii.minting import FixedEmission, Issuance, Policy, ReceiptLeaf, Rule, Uptime
from dii.units import SECOND

VALIDATOR, REPORTER, ALICE, BOB, CAROL, THIEF = PEOPLE = tuple(
    SigningKey.derive(7, name)
    for name in ("validator", "reporter", "alice", "bob", "carol", "thief")
)

REPORTERS = (REPORTER, *(SigningKey.derive(7, f"reporter-{n}") for n in range(2, 8)))
"""Reporters of scopes with several; none has any money."""

START = 1_524_268_800 * SECOND
"""2018-04-21T00:00:00Z, in microseconds."""
EPOCH = 3_600 * SECOND
"""Length of an epoch of these chains, in microseconds."""
OPENING = 10**9
"""Opening balance of alice, bob, carol and the thief; the reporter has nothing."""
GAS = 1_000_000
"""Gas limit above the need of any message here."""

Rows = Mapping[bytes, Sequence[int | None]]
"""Gateway hash (or key of a row of usage) to its metrics, in the order of the scope's."""


def gateway(number: int) -> bytes:
    """Return the hash of a gateway; 0 is the row that names none."""
    return number.to_bytes(20)


def spec(what: Rule | Policy) -> dict[str, Any]:
    """Return a rule or policy as a genesis names it."""
    made = what.spec()
    return {"name": made.name, "version": made.version, "parameters": dict(made.parameters)}


def stream(
    name: str = "main",
    rule: Rule | None = None,
    policy: Policy | None = None,
    *,
    scope: str = "main",
    rest: str | None = None,
) -> dict[str, Any]:
    """Return a stream as a genesis describes it: by default uptime, and 1,000 per epoch."""
    return {
        "name": name,
        "scope": scope,
        "rule": spec(rule or Uptime()),
        "policy": spec(policy or FixedEmission(1_000)),
        "rest": rest,
    }


def scope(
    name: str = "main",
    metrics: Sequence[str] = ("online_ppm",),
    reporters: Sequence[SigningKey] = (REPORTER,),
    usage: Sequence[str] = (),
) -> dict[str, Any]:
    """Return a scope as a genesis describes it, by default with the one reporter."""
    return {
        "name": name,
        "reporters": [format_address(key.address) for key in reporters],
        "metrics": list(metrics),
        "usage": list(usage),
    }


def content(**changes: Any) -> dict[str, Any]:
    """Return a genesis as Python values: hourly epochs, one scope, one stream, four rich people."""
    rich = (ALICE, BOB, CAROL, THIEF)
    return {
        "name": "test",
        "start": datetime.fromtimestamp(START // SECOND, UTC),
        "epoch_seconds": EPOCH // SECOND,
        "report_window_seconds": 60,
        "max_mint_per_epoch": 10**12,
        "governance": {"delay_seconds": 60},
        "laboratory": True,
        "accounts": [{"address": format_address(key.address), "balance": OPENING} for key in rich],
        "validators": [{"public_key": VALIDATOR.public_key.hex(), "power": 10}],
        "scopes": [scope()],
        "streams": [stream()],
        **changes,
    }


def genesis(**changes: Any) -> Genesis:
    """Return a genesis; see :func:`content`."""
    return Genesis.make(**content(**changes))


def sign(
    chain: bytes,
    key: SigningKey,
    nonce: int,
    message: Message,
    *,
    gas_limit: int = GAS,
    valid_until: int = 2**40,
) -> bytes:
    """Return a transaction's wire bytes."""
    value = to_value(message)
    return transaction.sign(key, chain, nonce, value, gas_limit=gas_limit, valid_until=valid_until)


def reserved(wire: bytes) -> int:
    """Return the gas that a transaction reserves: its limit, or what its kind can use at most."""
    tx = transaction.decode(wire)
    most = most_gas(from_value(tx.message), len(wire))
    return tx.gas_limit if most is None else min(tx.gas_limit, most)


def price_of(wire: bytes, result: TxResult) -> int:
    """Return the gas that a transaction pays for, if it pays."""
    return max(result.gas, reserved(wire) // 2)


def report(
    epoch: int,
    rows: Rows,
    *,
    scope: str = "main",
    metrics: Sequence[str] = ("online_ppm",),
    chunk_rows: int = 1_000,
    usage: Rows = MappingProxyType({}),
    usage_columns: Sequence[str] = (),
) -> list[ReportManifest | ReportChunk]:
    """Return a report's manifest and its chunks of at most ``chunk_rows`` rows."""
    parts = [
        chunks_of(rows, len(metrics), chunk_rows),
        chunks_of(usage, len(usage_columns), chunk_rows),
    ]
    hashes = [tuple(crypto.sha256(chunk) for chunk in chunks) for chunks in parts]
    manifest = ReportManifest(
        scope, epoch, len(rows), tuple(metrics), hashes[0],
        len(usage), tuple(usage_columns), hashes[1],
    )  # fmt: skip
    return [manifest, *(ReportChunk(scope, epoch, chunk) for chunk in (*parts[0], *parts[1]))]


def chunks_of(rows: Rows, columns: int, chunk_rows: int) -> list[bytes]:
    """Return the chunks of rows by key, in the order of keys."""
    keys = sorted(rows)
    chunks = []
    for at in range(0, len(keys), chunk_rows):
        part = keys[at : at + chunk_rows]
        values = [[rows[one][number] for one in part] for number in range(columns)]
        chunks.append(Page(part, values).encode())
    return chunks


class Chain:
    """An application without an engine: it signs messages and executes them block by block."""

    def __init__(self, **changes: Any) -> None:
        self.app = Application(genesis(**changes))
        self.time = START
        self.blocks: list[BlockResult] = []
        self._signed: Counter[SigningKey] = Counter()

    def sign(self, key: SigningKey, message: Message, **fields: int) -> bytes:
        """Sign a message with the key's next nonce, or as ``fields`` say."""
        nonce = account(self.app.state, key.address).nonce + self._signed[key]
        self._signed[key] += 1
        fields = {"nonce": nonce} | fields
        return sign(self.app.genesis.hash, key, fields.pop("nonce"), message, **fields)

    def block(
        self,
        *wires: bytes,
        time: int | None = None,
        misbehaviour: Sequence[tuple[bytes, int]] = (),
    ) -> BlockResult:
        """Execute and commit a block, one second after the last or at ``time``."""
        self.time = max(self.time + SECOND, time or 0)
        self._signed.clear()
        result = self.app.finalize_block(
            self.app.height + 1, self.time, wires, VALIDATOR.address, misbehaviour
        )
        self.app.commit()
        self.blocks.append(result)
        return result

    def do(self, key: SigningKey, *messages: Message, time: int | None = None) -> list[TxResult]:
        """Execute one person's messages in a block of their own."""
        return self.block(*(self.sign(key, message) for message in messages), time=time).results

    def register(self, *bindings: tuple[int, bytes], scope: str = "main") -> None:
        """Bind gateways, given by number, to accounts."""
        pairs = tuple((gateway(number), owner) for number, owner in bindings)
        (result,) = self.do(REPORTER, RegisterGateways(scope, pairs))
        assert result.code == 0, result.detail

    def settle(self, epoch: int, rows: Rows, **how: Any) -> None:
        """Report an ended epoch, and add blocks until nothing changes any more."""
        end = START + (epoch + 1) * EPOCH
        for result in self.do(REPORTER, *report(epoch, rows, **how), time=end):
            assert result.code == 0, result.detail
        while self.block().changed:
            pass

    @property
    def receipts(self) -> dict[tuple[str, int], list[ReceiptLeaf]]:
        """Return the receipts of all blocks by stream and epoch, in order."""
        found = defaultdict(list)
        for result in self.blocks:
            for name, epoch, *_, leaf in result.rows.get("receipts", []):
                found[str(name), int(epoch)].append(codec.loads(ReceiptLeaf, leaf))
        return found

    def balance(self, who: SigningKey | bytes) -> int:
        """Return the balance of a key's account, or of an address."""
        address = who.address if isinstance(who, SigningKey) else who
        return account(self.app.state, address).balance

    def nonce(self, who: SigningKey) -> int:
        """Return the number of transactions that an account has sent."""
        return account(self.app.state, who.address).nonce

    def issuance(self, epoch: int, name: str = "main") -> Issuance:
        """Return a stream's issuance in an epoch."""
        found = self.app.state.get(ISSUANCES, name, epoch)
        assert found is not None
        return found

    def settled(self, name: str = "main") -> int:
        """Return how many epochs of a scope are closed."""
        found = self.app.state.get(SCOPES, name)
        assert found is not None
        return found.next_epoch
