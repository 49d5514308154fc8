"""The application against a model that books the same messages in plain dictionaries."""

from __future__ import annotations

import functools
import random
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from hashlib import sha256
from itertools import pairwise
from math import floor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dii import codec, crypto
from dii.application import Application, BlockResult, TxResult, bank, gas, settling, total_money
from dii.application.actions import DenyGateway
from dii.application.app import MAX_UNPAID, _weight
from dii.application.bank import account, supply
from dii.application.lookup import is_kept, lookup_metrics, lookup_usage
from dii.application.messages import (
    AssignGateway,
    Burn,
    Call,
    Claim,
    Message,
    Propose,
    RegisterApplications,
    RegisterGateways,
    ReportChunk,
    ReportManifest,
    Transfer,
    Vote,
)
from dii.application.pages import Page
from dii.application.records import (
    ACCOUNTS,
    APPLICATIONS,
    CHAIN,
    CHUNKS,
    CURSORS,
    DENIED,
    DUTIES,
    EPOCH_PAGES,
    FORWARDS,
    GATEWAYS,
    ISSUANCES,
    LAPSES,
    MINTED,
    NAMINGS,
    PAGES,
    PROGRESS,
    REPORTS,
    SCOPES,
    STREAMS,
    TABLES,
    USAGE_PAGES,
    Account,
    Binding,
    Duty,
)
from dii.application.settling import epoch_status, whole_reports
from dii.application.streams import current
from dii.codec import Value
from dii.crypto import SigningKey, claim_address, format_address
from dii.errors import (
    AlreadyClaimed,
    BadMessage,
    BadReport,
    BadSignature,
    BadTransaction,
    DuplicateReport,
    EpochNotReportable,
    Expired,
    FeeUncovered,
    InsufficientFunds,
    InvariantBroken,
    MetricOutOfRange,
    NeverFits,
    NonceMismatch,
    NotTheOwner,
    OutOfGas,
    TooManyPending,
    TransactionError,
    UnknownGateway,
    UnknownReporter,
    UnknownScope,
)
from dii.genesis import TREASURY
from dii.ledger.state import State
from dii.ledger.transaction import MAX_BYTES, decode
from dii.ledger.tree import verify_absence, verify_inclusion
from dii.minting import (
    DataCredits,
    FixedEmission,
    Issuance,
    PerContribution,
    ReceiptLeaf,
    ShapleyTraffic,
    Uptime,
)
from dii.minting.receipts import REASON_ABSENT, REASON_NONE, REASON_UNATTRIBUTED
from dii.schema import METRICS
from dii.units import MAX_AMOUNT, SECOND
from tests.chains import (
    ALICE,
    BOB,
    CAROL,
    EPOCH,
    GAS,
    OPENING,
    REPORTER,
    REPORTERS,
    START,
    THIEF,
    VALIDATOR,
    Chain,
    gateway,
    genesis,
    price_of,
    report,
    scope,
    sign,
    stream,
)

CALL = Call(bytes(20), "run", codec.encode(()), 0)
"""Of a contract that is not there: its gas limit is not bounded by its kind."""

FULL = 10**6
"""A gateway that was online throughout."""


def epoch_end(epoch: int) -> int:
    return START + (epoch + 1) * EPOCH


def merkle_root(leaves: list[bytes]) -> bytes:
    """Return the tree hash exactly as RFC 9162, section 2.1.1, defines it."""
    if len(leaves) < 2:
        return sha256(b"\0" + leaves[0] if leaves else b"").digest()
    left = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\1" + merkle_root(leaves[:left]) + merkle_root(leaves[left:])).digest()


# --- any sequence of messages, against a model ---------------------------------------------------

OPERATORS = [bytes([0xC0 + n]) * 20 for n in range(2)]
CLAIMS = [claim_address("main", operator) for operator in OPERATORS]
FOUR = REPORTERS[:4]
REPORTERS_OF = {"main": FOUR, "other": (REPORTER,)}
LIARS = {"main": 1, "other": 0}
WINDOW = 60 * SECOND
SIGNERS = [ALICE, BOB, CAROL, THIEF, *FOUR]
OWNERS = [ALICE.address, BOB.address, *CLAIMS, *CLAIMS, TREASURY]
METRICS_OF = {
    "main": ("online_ppm", "shapley_uplinks"),
    "other": ("online_ppm", "data_units"),
}
SCOPE_OF = {"uptime": "main", "traffic": "main", "data": "other", "presence": "other"}
CAP, TREASURY_CAP = 1_500, 400
MOST_ROWS = 6
USAGE_OF = {"main": ("delivered", "lost"), "other": ()}
DUTIES_OF_REPORTERS = (
    RegisterGateways, RegisterApplications, Claim, ReportManifest, ReportChunk,
)  # fmt: skip
SPOKEN = (*DUTIES_OF_REPORTERS, Transfer, Burn, AssignGateway)
FAULTS = (
    "incomplete", "twice", "swapped", "wrong hash", "descending", "out of range", "wrong columns",
    "too many rows", "fewer rows", "garbage", "by a thief", "another epoch", "another scope",
)  # fmt: skip


def mixed(**changes: Any) -> dict[str, Any]:
    """Return what is different in a chain of two scopes and four streams under one limit."""
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


class Walk:
    """A random walk through everything that may be sent, and books kept beside the chain.

    One scope has four reporters, who agree, lie, stay away, come late and say things twice, one
    has a single reporter. The books are made from the results of blocks alone; they never ask the
    state.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        rich = [ALICE, BOB, CAROL, THIEF, *FOUR[: 4 * (seed % 2)]]
        accounts = [{"address": format_address(k.address), "balance": OPENING} for k in rich]
        scopes = [
            scope(name, metrics, REPORTERS_OF[name], USAGE_OF[name])
            for name, metrics in METRICS_OF.items()
        ]
        self.app = Application(genesis(**mixed(accounts=accounts, scopes=scopes)))
        self.mirror = State()
        self.mirror.apply(self.app.genesis_diff)
        self.time = START
        self.wires: list[bytes] = []
        self.sent: dict[bytes, tuple[SigningKey, Message]] = {}
        self.seen: Counter[str] = Counter()
        # The books.
        self.nonces: Counter[bytes] = Counter()
        self.unpaid: Counter[tuple[bytes, int]] = Counter()
        self.settled = dict.fromkeys(METRICS_OF, 0)
        self.votes: dict[tuple[str, str, bytes], dict[SigningKey, tuple[bytes, int]]] = {}
        self.owners: dict[tuple[str, str, bytes], list[tuple[int, bytes]]] = {}
        self.forwards: dict[bytes, bytes] = {}
        self.reports: dict[tuple[str, int, SigningKey], tuple[ReportManifest, list[bytes]]] = {}
        self.agreed: dict[tuple[str, int], list[tuple[bytes, tuple[int | None, ...]]]] = {}
        self.receipts: dict[tuple[str, int], list[ReceiptLeaf]] = defaultdict(list)
        self.dust: Counter[str] = Counter()
        self.minted: Counter[int] = Counter()
        self.treasury: Counter[int] = Counter()
        self.short: set[int] = set()

    # --- what people say

    def say(self, key: SigningKey, message: Message, shift: int = 0, **fields: int) -> None:
        waiting = sum(self.sent[wire][0] is key for wire in self.wires if wire in self.sent)
        nonce = max(0, self.nonces[key.address] + waiting + shift)
        wire = sign(self.app.genesis.hash, key, nonce, message, **fields)
        self.sent[wire] = key, message
        self.wires.append(wire)

    def speak(self) -> None:
        """Say something, sensible more often than not."""
        choose = self.random.choice
        match self.random.choices(
            ["transfer", "burn", "register", "assign", "claim", "report", "nonsense", "bytes"],
            [6, 1, 4, 5, 2, 9, 2, 2],
        )[0]:
            case "transfer":
                to = choose([*OWNERS, ALICE.address, self.random.randbytes(20)])
                amount = choose([0, 1, 999, OPENING // 3, OPENING, MAX_AMOUNT])
                self.say(choose(SIGNERS), Transfer(to, amount))
            case "burn":
                self.say(choose(SIGNERS), Burn(choose([0, 1, 5_000, MAX_AMOUNT])))
            case "register":
                self.register()
            case "assign":
                bound = [(name, which) for kind, name, which in self.owners if kind == "gateway"]
                name, which = choose([*bound, ("main", gateway(9))])
                owner = self.owner(name, which, (self.time - START) // EPOCH + 1) or TREASURY
                by_owner = [key for key in SIGNERS if key.address == owner]
                self.say(
                    choose([*by_owner * 3, choose(SIGNERS)]),
                    AssignGateway(name, which, choose(OWNERS)),
                )
            case "claim":
                owner = choose([ALICE, BOB, CAROL]).public_key
                message = Claim(choose(["main", "other", "moon"]), choose(OPERATORS), owner)
                for key in self.random.sample([*FOUR, THIEF], choose([1, 2, 3])):
                    self.say(key, message)
            case "report":
                self.report(choose(["", "", "", *FAULTS]))
            case "nonsense":
                fault: dict[str, int] = choose(
                    [{"shift": 1}, {"shift": -1}, {"shift": 2**60}, {"valid_until": 0},
                     {"gas_limit": 0}, {"gas_limit": 1_300}, {"gas_limit": 2**62}]
                )  # fmt: skip
                self.say(choose(SIGNERS), Transfer(self.random.randbytes(20), 5), **fault)
            case "bytes":
                self.wires.append(self.strange_bytes())

    def register(self) -> None:
        """Have some reporters name owners, who mostly but not always agree."""
        choose = self.random.choice
        count = self.random.randint(1, 4)
        numbers = [choose([0, *range(1, 8)] if count == 4 else range(1, 8)) for _ in range(count)]
        bindings = tuple((gateway(number), choose(OWNERS)) for number in numbers)
        name = choose(["main", "main", "main", "other", "moon"])
        kind = choose([RegisterGateways, RegisterGateways, RegisterApplications])
        for key in self.random.sample([*FOUR, *[THIEF] * choose([0, 0, 1])], choose([1, 2, 3, 4])):
            said = bindings if choose([True] * 5 + [False]) else bindings[:1]
            self.say(key, kind(name, said))

    def strange_bytes(self) -> bytes:
        nonce = self.nonces[ALICE.address]
        wire = bytearray(sign(self.app.genesis.hash, ALICE, nonce, Transfer(BOB.address, 5)))
        match self.random.randrange(5):
            case 0:
                return self.random.randbytes(self.random.randint(0, 200))
            case 1:
                wire[self.random.randrange(len(wire))] ^= 1 << self.random.randrange(8)
                return bytes(wire)
            case 2:
                return bytes(wire[: self.random.randrange(len(wire))])
            case 3:
                return sign(bytes(32), ALICE, nonce, Transfer(BOB.address, 5))
            case _:
                return self.wires[-1] if self.wires else bytes(MAX_BYTES + 1)

    def rows(self, columns: int, width: int = 20) -> dict[bytes, tuple[int | None, ...]]:
        choose = self.random.choice
        values = [None, 0, 0, 1, 2, 720_720, FULL]
        numbers = self.random.sample(range(8), self.random.randint(0, 6))
        zeros = choose([False] * 6 + [True])
        return {
            number.to_bytes(width): tuple(0 if zeros else choose(values) for _ in range(columns))
            for number in numbers
        }

    def report(self, fault: str) -> None:
        """Report an epoch that ends in this block or has ended, well or with a fault.

        Honest reporters say the same; the one whom the fault strikes comes at any place.
        """
        choose = self.random.choice
        name = choose(["main", "main", "other"]) if fault != "another scope" else "moon"
        epoch = self.settled.get(name, 0) + choose([0, 0, 0, 0, 0, 1])
        metrics, usage = METRICS_OF.get(name, ("online_ppm",)), USAGE_OF.get(name, ())
        rows, used = self.rows(len(metrics)), self.rows(len(usage), 40) if usage else {}
        chunk_rows = self.random.randint(1, 6)
        honest = report(
            epoch, rows, scope=name, metrics=metrics, chunk_rows=chunk_rows, usage=used,
            usage_columns=usage,
        )  # fmt: skip
        reporters = list(REPORTERS_OF.get(name, FOUR))
        self.random.shuffle(reporters)
        for key in reporters[choose([0, 0, 0, 1, 2]) if name == "main" else 0 :]:
            said = self.faulty(fault, name, epoch, rows) if key is reporters[-1] else honest
            sender = THIEF if fault == "by a thief" and said is not honest else key
            for message in said:
                self.say(sender, message)

    def faulty(
        self, fault: str, name: str, epoch: int, rows: dict[bytes, tuple[int | None, ...]]
    ) -> list[Message]:
        """Return a report with a fault; without one it is a lie in half of all cases."""
        choose = self.random.choice
        if fault == "another epoch":
            epoch = choose([max(0, epoch - 1), epoch + 2, epoch + 9, 10**9, 2**64 - 1])
        metrics, usage = METRICS_OF.get(name, ("online_ppm",)), USAGE_OF.get(name, ())
        if choose([True, False]):
            rows = self.rows(len(metrics))
        how = {"scope": name, "chunk_rows": self.random.randint(1, 6), "usage_columns": usage}
        manifest, *chunks = report(epoch, rows, metrics=metrics, **how)
        count, hashes = manifest.rows, manifest.chunks
        match fault:
            case "incomplete":
                chunks = chunks[:-1]
            case "twice":
                chunks += [manifest, *chunks]
            case "swapped":
                chunks.reverse()
            case "wrong hash":
                hashes = tuple(sha256(one).digest() for one in hashes)
            case "wrong columns":
                metrics = ("uplinks",)
            case "too many rows":
                count += 7
            case "fewer rows":
                count += 1
            case "descending" | "out of range" | "garbage":
                gateways = sorted(rows, reverse=fault == "descending") or [gateway(1)]
                value = METRICS[metrics[-1]].maximum + (fault == "out of range")
                data = Page(gateways, [[value] * len(gateways) for _ in metrics]).encode()
                data = data[:-1] if fault == "garbage" else data
                count, hashes = len(gateways), (sha256(data).digest(),)
                chunks = [ReportChunk(name, epoch, data)]
        return [ReportManifest(name, epoch, count, metrics, hashes, 0, usage, ()), *chunks]

    # --- what becomes of it

    def block(self) -> None:
        app, wires = self.app, self.wires
        app.anticipate(self.random.sample(wires, len(wires) // 2))
        for wire in wires:
            app.check_tx(wire)
        proposal = app.prepare_proposal(wires, 1 << 21, self.time)
        assert app.process_proposal(proposal, self.time)
        assert app.process_proposal(wires, self.time) == (sorted(proposal) == sorted(wires))
        wires = self.random.choice([proposal, wires])
        epoch = max(0, (self.time - START) // EPOCH)
        jump = self.random.choice(
            [*[0] * 6, *[epoch_end(epoch)] * 4, epoch_end(epoch + 2), self.time + WINDOW]
        )
        self.time = max(self.time + SECOND, jump)
        treasury, root = account(app.state, TREASURY).balance, app.info()[1]

        height = app.height + 1
        result = app.finalize_block(height, self.time, wires, VALIDATOR.address)
        again = app.finalize_block(height, self.time, wires, VALIDATOR.address)
        assert again == result
        assert app.info() == (height - 1, root)
        self.mirror.apply(app.commit())
        assert app.info() == (height, result.app_hash)
        assert self.mirror.committed_root == result.app_hash
        assert result.changed == (result.app_hash != root)

        self.check_money()
        self.check_results(wires, result.results)
        self.book(wires, result.results)
        self.check_settling(result)
        self.check_votes()
        assert account(app.state, TREASURY).balance >= treasury, "nobody has the treasury's key"
        self.wires, self.sent = [], {}

    def check_money(self) -> None:
        money = supply(self.app.state)
        assert total_money(self.app.state) == money.minted - money.burned
        assert all(item.balance >= 0 for _, item in self.app.state.items(ACCOUNTS))
        assert all(item.dust >= 0 for _, item in self.app.state.items(STREAMS))
        assert all(item.amount <= CAP for _, item in self.app.state.items(MINTED))

    def check_results(self, wires: list[bytes], results: list[TxResult]) -> None:
        """Whatever used gas took its nonce and paid, unless it was a duty; nothing else did.

        A duty that succeeds may be free; of those that fail few go unpaid.
        """
        for wire, one in zip(wires, results, strict=True):
            self.seen[f"code {one.code}"] += 1
            if not one.gas:
                assert one.code
                assert not one.fee
                continue
            key, message = self.sent[wire]
            assert decode(wire).nonce == self.nonces[key.address]
            self.nonces[key.address] += 1
            if one.fee != price_of(wire, one):
                assert not one.fee
                assert isinstance(message, DUTIES_OF_REPORTERS)
                assert key in REPORTERS_OF[message.scope]
                failed = key.address, max(0, (self.time - START) // EPOCH)
                self.unpaid[failed] += bool(one.code)
                assert self.unpaid[failed] <= MAX_UNPAID
                self.seen["unpaid"] += bool(one.code)
            self.seen[f"{type(message).__name__} {'fails' if one.code else 'succeeds'}"] += 1
        for key in SIGNERS:
            assert account(self.app.state, key.address).nonce == self.nonces[key.address]

    def book(self, wires: list[bytes], results: list[TxResult]) -> None:
        done = [self.sent[wire] for wire, one in zip(wires, results) if not one.code]
        for key, message in done:
            if isinstance(message, DUTIES_OF_REPORTERS):
                assert key in REPORTERS_OF[message.scope]
            match message:
                case RegisterGateways(name, bindings):
                    for which, owner in bindings:
                        if which != gateway(0):
                            self.name_owner("gateway", key, name, which, owner)
                case RegisterApplications(name, bindings):
                    for which, owner in bindings:
                        if which != gateway(0):
                            self.name_owner("application", key, name, which, owner)
                case AssignGateway(name, which, to):
                    since = (self.time - START) // EPOCH + 1
                    assert key.address == self.owner(name, which, since)
                    owners = self.owners["gateway", name, which]
                    kept = [pair for pair in owners if pair[0] != since]
                    self.owners["gateway", name, which] = sorted([*kept, (since, to)])
                case Claim(name, operator, public_key):
                    address, owner = claim_address(name, operator), crypto.address_of(public_key)
                    assert self.forwards.get(address, owner) == owner
                    if address not in self.forwards and self.vote(
                        "operator", key, name, operator, owner, LIARS[name] + 1
                    ):
                        self.forwards[address] = owner
                case ReportManifest(name, epoch):
                    assert (name, epoch) not in self.agreed
                    assert epoch >= self.settled[name]
                    assert epoch_end(epoch) <= self.time
                    self.reports[name, epoch, key] = message, []
                case ReportChunk(name, epoch, data):
                    late = (name, epoch) in self.agreed
                    manifest, parts = self.reports[name, epoch, key]
                    parts.append(data)
                    hashes = (*manifest.chunks, *manifest.usage_chunks)
                    assert sha256(data).digest() == hashes[len(parts) - 1]
                    self.seen["late chunk"] += late
        for address in self.forwards:
            if address in CLAIMS:
                assert account(self.app.state, address).balance == 0

    def vote(
        self, kind: str, key: SigningKey, name: str, which: bytes, owner: bytes, needed: int
    ) -> bool:
        votes = self.votes.setdefault((kind, name, which), {})
        votes[key] = owner, self.time
        same = [one for one, at in votes.values() if one == owner and self.time < at + WINDOW]
        if len(same) < needed:
            return False
        self.seen[f"{kind} by {len(same)}"] += 1
        del self.votes[kind, name, which]
        return True

    def name_owner(self, kind: str, key: SigningKey, name: str, which: bytes, owner: bytes) -> None:
        """Bind by f + 1, bind anew by 2f + 1 and after a delay."""
        now, f = (self.time - START) // EPOCH, LIARS[name]
        if (kind, name, which) not in self.owners:
            if self.vote(kind, key, name, which, owner, f + 1):
                settling = (name, self.settled[name]) in self.agreed
                since = self.settled[name] + settling
                self.owners[kind, name, which] = [(since, owner)]
            return
        owners = self.owners[kind, name, which]
        if owners[-1][1] == owner:
            self.votes.get((kind, name, which), {}).pop(key, None)
        elif self.vote(kind, key, name, which, owner, 2 * f + 1):
            after = self.time + WINDOW
            since = next(e for e in range(now + 1, now + 99) if START + e * EPOCH >= after)
            owners = [pair for pair in owners if pair[0] <= now + 1 and pair[0] < since]
            if owners[-1][1] != owner:
                owners.append((since, owner))
            self.owners[kind, name, which] = owners
            self.seen["bound anew"] += 1

    def check_votes(self) -> None:
        """What is undecided lapses, and the state keeps no more than what may still count."""
        state, until = self.app.state, self.time - WINDOW
        for (kind, name, which, who), vote in state.items(NAMINGS):
            votes = self.votes[str(kind), str(name), bytes(which)]
            assert {key.address: said for key, said in votes.items()}[who] == vote
        if not any(item.time <= until for _, item in state.items(LAPSES)):
            assert all(at > until for _, (_, at) in state.items(NAMINGS))
            self.seen["lapsed"] += any(
                at <= until for votes in self.votes.values() for _, at in votes.values()
            )

    def check_settling(self, result: BlockResult) -> None:
        for name in METRICS_OF:
            found = self.app.state.get(SCOPES, name)
            assert found is not None
            for epoch in range(self.settled[name], found.next_epoch + 1):
                self.begin(name, epoch)
                assert epoch == found.next_epoch or (name, epoch) in self.agreed
        for name, epoch, position, *_, raw in result.rows.get("receipts", []):
            leaf = codec.loads(ReceiptLeaf, raw)
            assert position == len(self.receipts[name, epoch])
            assert leaf.payee == self.payee(SCOPE_OF[name], leaf.gateway, epoch)
            self.receipts[name, epoch].append(leaf)
        for where, epoch, name, *_ in result.rows.get("epochs", []):
            self.check_issuance(where, epoch, name)
        for (name,), item in self.app.state.items(SCOPES):
            self.seen["epochs"] += item.next_epoch - self.settled[str(name)]
            self.settled[str(name)] = item.next_epoch

    def begin(self, name: str, epoch: int) -> None:
        """Note what is agreed on an epoch if a quorum of whole reports is here."""
        if (name, epoch) in self.agreed or self.time < epoch_end(epoch):
            return
        whole = [
            (manifest, parts)
            for (where, at, _), (manifest, parts) in self.reports.items()
            if (where, at) == (name, epoch)
            and len(parts) == len(manifest.chunks) + len(manifest.usage_chunks)
        ]
        waited = self.time >= epoch_end(epoch) + WINDOW
        needed = 2 * LIARS[name] + 1 if waited else len(REPORTERS_OF[name])
        if len(whole) < needed:
            return
        self.seen[f"{len(whole)} reports on {name}"] += 1
        metrics = [rows_of(parts[: len(manifest.chunks)]) for manifest, parts in whole]
        usage = [rows_of(parts[len(manifest.chunks) :], 40) for manifest, parts in whole]
        self.agreed[name, epoch] = medians(metrics, LIARS[name])[:MOST_ROWS]
        self.seen["usage"] += bool(medians(usage, LIARS[name]))
        self.seen["liars"] += len(whole) > 1 and any(one != metrics[0] for one in metrics)

    def check_issuance(self, where: str, epoch: int, name: str) -> None:
        """Compare an issuance and its receipts with exact arithmetic on what was reported."""
        found = self.app.state.get(ISSUANCES, name, epoch)
        assert found is not None
        leaves, total = self.receipts[name, epoch], found.total_weight
        assert [(one.gateway, one.values) for one in leaves] == self.agreed[where, epoch]
        assert found.count == len(leaves)
        assert found.root == merkle_root([codec.dumps(one) for one in leaves])
        assert total == sum(one.weight for one in leaves)
        assert found.dust_before == self.dust[name]
        due = found.pool + found.dust_before if total else 0
        if name == "data":  # a claim rule: no more than is claimed
            due = min(due, total)
        for one in leaves:
            if one.gateway == gateway(0):
                assert (one.amount, one.reason) == (0, REASON_UNATTRIBUTED)
            else:
                assert one.amount == (floor(Fraction(due) * one.weight / total) if total else 0)
            self.seen["pays its owner"] += bool(one.amount and one.payee != TREASURY)
        assert found.paid == sum(one.amount for one in leaves)
        nameless = leaves[0].weight if leaves and leaves[0].gateway == gateway(0) else 0
        assert found.unminted == (min(found.pool, due * nameless // total) if total else 0)
        fresh = max(0, due - found.dust_before - found.unminted)
        assert found.dust_after == found.dust_before + fresh - found.paid
        left = found.pool - max(0, due - found.dust_before)
        assert found.rest == left or (name in {"traffic", "presence"} and 0 <= found.rest < left)
        self.short |= {epoch} if found.rest < left else set()
        self.dust[name] = found.dust_after
        to_treasury = found.rest if name in {"traffic", "presence"} else 0
        self.minted[epoch] += fresh + to_treasury
        self.treasury[epoch] += to_treasury
        assert self.minted[epoch] <= CAP
        assert self.treasury[epoch] <= TREASURY_CAP
        for what in ("rest", "unminted", "dust_before", "paid"):
            self.seen[what] += getattr(found, what) > 0

    def check_pools(self) -> None:
        """Policies decide the pools, and the constitutional limit bounds what an epoch mints."""
        epochs: dict[int, dict[str, Issuance]] = defaultdict(dict)
        for (name, epoch), found in self.app.state.items(ISSUANCES):
            epochs[int(epoch)][str(name)] = found
        assert all(
            self.minted[epoch] == CAP or self.treasury[epoch] == TREASURY_CAP
            for epoch in self.short
            if epoch < min(self.settled.values())
        )
        for epoch, streams in epochs.items():
            wanted = {"uptime": 1_000, "data": 700}
            if "traffic" in streams:
                per_uplink = 300 * streams["traffic"].total_weight // 720_720
                wanted["traffic"] = min(900, per_uplink) + streams["uptime"].rest
            if "presence" in streams:
                wanted["presence"] = 300 + streams["data"].rest
            for name, found in streams.items():
                assert found.pool <= wanted[name]
                assert found.pool == wanted[name] or found.pool + self.minted[epoch] >= CAP
                self.seen["capped"] += found.pool < wanted[name]

    def owner(self, where: str, which: bytes, epoch: int, kind: str = "gateway") -> bytes | None:
        """Return whose something is in an epoch, by the books."""
        owners = self.owners.get((kind, where, which), [])
        known = [owner for since, owner in owners if since <= epoch]
        return self.forwards.get(known[-1], known[-1]) if known else None

    def payee(self, where: str, which: bytes, epoch: int) -> bytes:
        """Return who is to be paid, by the books."""
        return self.owner(where, which, epoch) or TREASURY


Values = dict[bytes, tuple[int | None, ...]]


def rows_of(parts: list[bytes], width: int = 20) -> Values:
    """Return the rows of a report's chunks."""
    return dict(row for part in parts for row in page_rows(part, width))


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


@functools.cache
def walked(seed: int) -> Walk:
    walk = Walk(seed)
    for _ in range(80):
        for _ in range(walk.random.choice([0, 1, 1, 2, 4])):
            walk.speak()
        walk.block()
    walk.check_pools()
    return walk


SEEDS = range(24)


@pytest.mark.parametrize("seed", SEEDS)
def test_any_sequence_of_messages_leaves_the_books_right_after_every_block(seed):
    walked(seed)


def test_the_walks_meet_every_message_every_refusal_and_every_way_of_paying():
    seen = sum((walked(seed).seen for seed in SEEDS), Counter())
    codes = {
        kind.code for kind in TransactionError.__subclasses__() if "code" in vars(kind)
    } - NOT_IN_A_WALK
    wanted = {f"code {code}" for code in codes | {0}}
    wanted |= {f"{kind.__name__} {how}" for kind in SPOKEN for how in ("succeeds", "fails")}
    wanted |= {"epochs", "paid", "pays its owner", "rest", "unminted", "dust_before", "capped"}
    wanted |= {"3 reports on main", "4 reports on main", "1 reports on other", "usage", "liars"}
    wanted |= {"gateway by 2", "gateway by 3", "application by 2", "operator by 2", "bound anew"}
    wanted |= {"lapsed"}
    assert wanted <= seen.keys()


NOT_IN_A_WALK = {
    TooManyPending.code,  # for admission, not for blocks
    NeverFits.code,
}


# --- what a block records of what cannot stand ---------------------------------------------------


def no_ops() -> dict[str, tuple[int, Callable[[Chain], bytes]]]:
    """Return transactions that change nothing at all, with the code that a block gives them."""
    to_bob = Transfer(BOB.address, 5)

    def signed(key: SigningKey = ALICE, **fields: int) -> Callable[[Chain], bytes]:
        return lambda chain: chain.sign(key, to_bob, **fields)

    def called(limit: int) -> Callable[[Chain], bytes]:
        return lambda chain: chain.sign(ALICE, CALL, gas_limit=limit)

    def raw(*fields: Value) -> Callable[[Chain], bytes]:
        def make(chain: Chain) -> bytes:
            body = codec.encode(fields)
            signature = ALICE.sign(b"dii/tx/1\0" + chain.app.genesis.hash + body)
            return codec.encode((body, signature))

        return make

    def last_bit(chain: Chain) -> bytes:
        wire = chain.sign(ALICE, to_bob)
        return wire[:-1] + bytes([wire[-1] ^ 1])

    key, message = ALICE.public_key, (1, BOB.address, b"\5")
    intrinsic = gas.intrinsic(len(sign(bytes(32), ALICE, 0, to_bob, gas_limit=2_000)))
    deep: Value = ()
    for _ in range(60):
        deep = (deep,)
    return {
        "nothing": (BadTransaction.code, lambda _: b""),
        "one byte": (BadTransaction.code, lambda _: b"\0"),
        "too large": (BadTransaction.code, lambda _: bytes(MAX_BYTES + 1)),
        "arrays without end": (BadTransaction.code, lambda _: b"\x81" * 1_000),
        "another version": (BadTransaction.code, raw(2, key, 0, GAS, 99, message)),
        "five fields": (BadTransaction.code, raw(1, key, 0, GAS, message)),
        "a short key": (BadTransaction.code, raw(1, key[:31], 0, GAS, 99, message)),
        "a negative nonce": (BadTransaction.code, raw(1, key, -1, GAS, 99, message)),
        "a nonce of 2**63": (BadTransaction.code, raw(1, key, 2**63, GAS, 99, message)),
        "gas that is true": (BadTransaction.code, raw(1, key, 0, True, 99, message)),
        "no message": (BadTransaction.code, raw(1, key, 0, GAS, 99, None)),
        "an empty message": (BadTransaction.code, raw(1, key, 0, GAS, 99, ())),
        "a kind kept for later": (BadTransaction.code, raw(1, key, 0, GAS, 99, (16, b""))),
        "a kind that is true": (BadTransaction.code, raw(1, key, 0, GAS, 99, (True, b"\5"))),
        "a message of another shape": (BadTransaction.code, raw(1, key, 0, GAS, 99, (1, b"\5"))),
        "a deep message": (BadTransaction.code, raw(1, key, 0, GAS, 99, deep)),
        "an amount of 2**63": (
            BadTransaction.code,
            raw(1, key, 0, GAS, 99, (1, BOB.address, (2**63).to_bytes(8))),
        ),
        "an amount with a leading zero": (
            BadTransaction.code,
            raw(1, key, 0, GAS, 99, (1, BOB.address, b"\0\5")),
        ),
        "a bad signature": (BadSignature.code, last_bit),
        "another chain's": (BadSignature.code, lambda _: sign(bytes(32), ALICE, 0, to_bob)),
        "a later nonce": (NonceMismatch.code, signed(nonce=1)),
        "the greatest nonce": (NonceMismatch.code, signed(nonce=2**63 - 1)),
        "expired": (Expired.code, signed(valid_until=0)),
        "no gas": (OutOfGas.code, signed(gas_limit=0)),
        "gas for less than its bytes": (OutOfGas.code, signed(gas_limit=intrinsic - 1)),
        "gas that it cannot pay": (FeeUncovered.code, called(OPENING + 1)),
        "gas beyond all money": (FeeUncovered.code, called(2**63 - 1)),
        "from nobody": (FeeUncovered.code, signed(SigningKey.derive(8, "nobody"))),
    }


@pytest.mark.parametrize(("code", "make"), no_ops().values(), ids=no_ops())
def test_what_cannot_stand_in_a_block_is_a_no_op_with_a_code(code, make):
    chain = Chain()
    wire = make(chain)
    root = chain.app.info()[1]
    assert chain.app.check_tx(wire).code == code
    result = chain.block(wire)
    assert [(one.code, one.gas, one.fee) for one in result.results] == [(code, 0, 0)]
    assert result.results[0].detail
    assert chain.app.info()[1] == root
    assert not result.changed


@given(st.binary(max_size=300))
def test_any_bytes_have_a_result(wire):
    chain = Chain()
    assert chain.app.check_tx(wire).code == BadTransaction.code
    assert chain.block(wire, wire).results[1].code == BadTransaction.code
    assert not chain.app.process_proposal([wire], chain.time)


# Values that come as a chunk's columns: near the format, and beside it.
WIRE_COLUMNS = st.tuples(
    st.sampled_from([1, 2, 4, 8, 3, 0, 2**64 - 1]), st.binary(max_size=20),
    st.none() | st.binary(max_size=4),
)  # fmt: skip
WIRE_PAGES = st.tuples(
    st.lists(st.integers(0, 9), max_size=4).map(lambda all_: b"".join(map(gateway, all_)))
    | st.binary(max_size=60),
    st.lists(WIRE_COLUMNS, max_size=3).map(tuple),
).map(codec.encode)
PAGES_NEAR_THE_FORMAT = st.builds(
    lambda count, width, values, mask: codec.encode(
        (b"".join(map(gateway, range(count))), ((width, values[: count * width], mask),))
    ),
    st.integers(1, 4), st.sampled_from([1, 2, 4]), st.binary(min_size=16, max_size=16),
    st.none() | st.binary(max_size=3),
)  # fmt: skip


@settings(max_examples=400)
@given(WIRE_PAGES | PAGES_NEAR_THE_FORMAT | st.binary(max_size=40))
def test_whatever_a_reporter_sends_as_a_chunk_has_a_result(data):
    app = CHUNK_CHAIN.app
    manifest = ReportManifest("main", 0, 2, ("online_ppm",), (sha256(data).digest(),))
    wires = [
        sign(app.genesis.hash, REPORTER, nonce, message)
        for nonce, message in enumerate((manifest, ReportChunk("main", 0, data)))
    ]
    result = app.finalize_block(1, epoch_end(0), wires, VALIDATOR.address)
    assert result.results[0].code == 0
    assert result.results[1].code in {0, BadReport.code, MetricOutOfRange.code}
    if result.results[1].code == 0:
        rows = page_rows(data)
        assert len(rows) == 2
        assert data == Page([one for one, _ in rows], [[v for _, (v,) in rows]]).encode()


CHUNK_CHAIN = Chain(gas_price=0)


# --- fees ---------------------------------------------------------------------------------------


def test_a_transfer_pays_for_its_bytes_and_for_an_account_that_it_creates():
    chain = Chain(gas_price=3)
    for to, created in ((BOB.address, 0), (bytes(20), 1), (bytes(20), 0)):
        before, treasury = chain.balance(ALICE), chain.balance(TREASURY)
        wire = chain.sign(ALICE, Transfer(to, 5))
        (result,) = chain.block(wire).results
        assert result.gas == gas.intrinsic(len(wire)) + created * gas.NEW_ACCOUNT
        assert result.fee == 3 * price_of(wire, result)
        assert chain.balance(ALICE) == before - 5 - result.fee
        assert chain.balance(TREASURY) == treasury + result.fee


def test_what_fails_pays_its_gas_and_takes_its_nonce_and_does_nothing_else():
    chain = Chain()
    size = len(sign(bytes(32), ALICE, 0, Transfer(bytes(20), 5), gas_limit=4_000))
    tight = gas.intrinsic(size) + gas.NEW_ACCOUNT - 1
    attempts = [
        (Transfer(BOB.address, OPENING), GAS, InsufficientFunds),
        (Transfer(BOB.address, 0), GAS, BadMessage),
        (Transfer(bytes(20), 5), tight, OutOfGas),
        (Burn(OPENING), GAS, InsufficientFunds),
        (Burn(0), GAS, BadMessage),
        (AssignGateway("main", gateway(1), BOB.address), GAS, UnknownGateway),
        (RegisterGateways("main", ((gateway(1), ALICE.address),)), GAS, UnknownReporter),
        (RegisterGateways("moon", ((gateway(1), ALICE.address),)), GAS, UnknownScope),
        (Claim("main", OPERATORS[0], ALICE.public_key), GAS, UnknownReporter),
        (ReportManifest("main", 0, 0, ("online_ppm",), ()), GAS, UnknownReporter),
        (ReportChunk("main", 0, b""), GAS, UnknownReporter),
    ]
    for number, (message, limit, error) in enumerate(attempts):
        before = chain.balance(ALICE)
        chain.time = epoch_end(0) if isinstance(message, ReportManifest) else chain.time
        wire = chain.sign(ALICE, message, gas_limit=limit)
        (result,) = chain.block(wire).results
        assert result.code == error.code
        assert result.fee == price_of(wire, result) >= result.gas > 0
        assert chain.balance(ALICE) == before - result.fee
        assert account(chain.app.state, ALICE.address).nonce == number + 1
    assert chain.balance(BOB) == OPENING
    assert chain.app.state.get(GATEWAYS, "main", gateway(1)) is None


def test_what_fails_leaves_no_trace_in_the_index_but_itself():
    chain = Chain()
    chain.do(ALICE, Transfer(REPORTER.address, 10 * GAS))
    chain.register((2, ALICE.address))
    pairs = ((gateway(0), ALICE.address),)
    wires = [
        chain.sign(REPORTER, RegisterGateways("main", pairs)),
        chain.sign(ALICE, Transfer(BOB.address, OPENING)),
    ]
    result = chain.block(*wires)
    assert [one.code for one in result.results] == [BadMessage.code, InsufficientFunds.code]
    assert result.rows.keys() == {"transactions"}


def test_a_transaction_is_valid_until_its_last_height_and_not_beyond():
    chain = Chain()
    wires = [chain.sign(ALICE, Burn(1), nonce=0, valid_until=last) for last in (1, 2, 3)]
    chain.block()
    assert [chain.app.check_tx(wire).code for wire in wires] == [
        Expired.code,
        0,
        NonceMismatch.code,
    ]
    codes = [one.code for one in chain.block(*wires).results]
    assert codes == [Expired.code, 0, NonceMismatch.code]


@pytest.mark.parametrize("defect", ["debit", "mint", "burn"])
def test_a_defect_by_which_money_appears_or_vanishes_stops_the_node_before_the_commit(
    monkeypatch, defect
):
    chain = Chain()
    chain.register((1, ALICE.address))
    before = chain.app.info()
    monkeypatch.setattr(bank, defect, lambda *_: None)
    what = {
        "burn": (ALICE, [Burn(5)]),
        "debit": (ALICE, [Transfer(BOB.address, 5)]),
        "mint": (REPORTER, report(0, ROWS)),
    }
    key, messages = what[defect]
    with pytest.raises(InvariantBroken, match="less burned"):
        chain.do(key, *messages, time=epoch_end(0))
    assert chain.app.info() == before


def test_an_amount_that_leaves_nothing_for_the_fee_is_not_moved():
    chain = Chain()
    wire = chain.sign(ALICE, Transfer(BOB.address, OPENING - 1), gas_limit=2_000)
    (result,) = chain.block(wire).results
    assert result.code == InsufficientFunds.code
    assert chain.balance(BOB) == OPENING


def test_a_transfer_to_oneself_changes_nothing_but_fee_and_nonce():
    chain = Chain()
    (result,) = chain.do(ALICE, Transfer(ALICE.address, OPENING // 2))
    assert result.code == 0
    assert chain.balance(ALICE) == OPENING - result.fee


def test_duties_are_free_for_a_reporter_without_any_money():
    chain = Chain()
    results = chain.do(
        REPORTER,
        RegisterGateways("main", ((gateway(1), ALICE.address),)),
        Claim("main", OPERATORS[0], BOB.public_key),
        *report(0, {gateway(1): [FULL]}),
        time=epoch_end(0),
    )
    assert [(one.code, one.fee) for one in results] == [(0, 0)] * 4
    assert all(one.gas > 0 for one in results)
    assert chain.balance(REPORTER) == 0


def test_bindings_beyond_the_free_allowance_of_an_epoch_pay():
    chain = Chain(limits={"max_bindings": 3})

    def bind(*numbers: int) -> TxResult:
        pairs = tuple((gateway(number), ALICE.address) for number in numbers)
        return chain.do(REPORTER, RegisterGateways("main", pairs))[0]

    assert bind(1, 2) == TxResult(0, gas=bind_gas(2))
    assert bind(3, 4).code == FeeUncovered.code
    assert chain.app.state.get(GATEWAYS, "main", gateway(3)) is None
    chain.do(ALICE, Transfer(REPORTER.address, 10 * GAS))
    assert bind(3, 4) == TxResult(0, gas=bind_gas(2), fee=bind_gas(2))
    assert bind(5) == TxResult(0, gas=bind_gas(1))
    assert bind(6).fee > 0
    assert chain.do(REPORTER, Claim("main", OPERATORS[0], BOB.public_key))[0].fee > 0
    chain.time = epoch_end(0)
    assert bind(7, 8, 9).fee == 0


def bind_gas(count: int) -> int:
    pairs = tuple((gateway(number), ALICE.address) for number in range(count))
    size = len(sign(bytes(32), REPORTER, 0, RegisterGateways("main", pairs)))
    return gas.intrinsic(size) + count * gas.BINDING


def test_a_duty_that_fails_pays():
    chain = Chain()
    chain.do(ALICE, Transfer(REPORTER.address, 10 * GAS))
    (result,) = chain.do(REPORTER, RegisterGateways("main", ((gateway(0), BOB.address),)))
    assert result.code == BadMessage.code
    assert result.fee == result.gas > 0


def test_a_duty_that_fails_and_cannot_pay_takes_its_nonce_and_says_why_it_failed():
    chain = Chain()
    (result,) = chain.do(REPORTER, RegisterGateways("main", ((gateway(0), BOB.address),)))
    assert (result.code, result.fee) == (BadMessage.code, 0)
    assert account(chain.app.state, REPORTER.address) == Account(0, 1)


@pytest.mark.parametrize("tries", [2, 3, 4])
def test_a_report_is_announced_anew_once_for_nothing_and_then_for_gas(tries):
    chain = Chain()
    chain.do(ALICE, Transfer(REPORTER.address, 10 * GAS))
    chain.time = epoch_end(0)
    for number in range(1, tries):
        rows = {gateway(one): [number] for one in range(1, 9 - number)}
        begun = report(0, rows, chunk_rows=1)[:-1]
        results = chain.do(REPORTER, *begun)
        assert {one.code for one in results} == {0}
        assert all((one.fee > 0) == (number > 2) for one in results)
        (again,) = chain.do(REPORTER, begun[0])
        assert again.code == DuplicateReport.code, "it goes on where it is"
    manifest, chunk = report(0, {gateway(1): [FULL]})
    results = chain.do(REPORTER, manifest, chunk)
    assert [one.code for one in results] == [0, 0]
    assert all((one.fee > 0) == (tries > 2) for one in results)
    chain.block()
    assert chain.issuance(0).count == 1
    assert amounts(chain, 0) == {1: (TREASURY, 1_000)}
    chain.settle(1, ROWS)
    for table in (CHUNKS, REPORTS, PROGRESS):
        assert not list(chain.app.state.items(table)), "what the first one left is dropped, too"
    assert chain.do(REPORTER, manifest)[0].code == EpochNotReportable.code


def test_money_that_is_burned_is_gone():
    chain = Chain()
    before = total_money(chain.app.state)
    (result,) = chain.do(ALICE, Burn(700))
    assert result.code == 0
    assert total_money(chain.app.state) == before - 700
    assert supply(chain.app.state).burned == 700


# --- admission and proposals --------------------------------------------------------------------


def test_waiting_transactions_have_the_accounts_next_nonces():
    chain = Chain()
    wires = [chain.sign(ALICE, Transfer(BOB.address, 1)) for _ in range(3)]
    assert chain.app.check_tx(wires[1]).code == NonceMismatch.code
    assert [chain.app.check_tx(wire).code for wire in wires] == [0, 0, 0]
    assert chain.app.check_tx(wires[2]).code == NonceMismatch.code
    assert {one.code for one in chain.block(*wires).results} == {0}
    assert chain.app.check_tx(chain.sign(ALICE, Transfer(BOB.address, 1))).code == 0


def test_what_was_anticipated_is_judged_as_if_it_had_not_been(monkeypatch):
    monkeypatch.setattr("dii.crypto.batch._FEW", 0)
    ahead, plain = Chain(), Chain()
    for number in range(4):
        said = [ahead.sign(who, Burn(1 + number)) for who in (ALICE, BOB)]
        wires = [*said, said[0][:-1] + bytes((said[0][-1] ^ 1,)), b"\x82 no transaction"]
        ahead.app.anticipate([*wires, *wires])
        if number == 2:
            monkeypatch.setattr("dii.application.app.MAX_REMEMBERED", 0)
        ahead.app.anticipate(wires[1:])
        assert ahead.block(*wires) == plain.block(*wires)


def test_an_account_has_a_limit_of_waiting_transactions_and_a_reporters_chunks_have_none():
    chain = Chain(limits={"pending": 4})
    codes = [chain.app.check_tx(chain.sign(ALICE, Burn(1))).code for _ in range(6)]
    assert codes[:5] == [0, 0, 0, 0, TooManyPending.code]
    rows = {gateway(number): [1] for number in range(1, 20)}
    messages = report(0, rows, chunk_rows=1)
    wires = [chain.sign(REPORTER, message) for message in messages]
    assert {chain.app.check_tx(wire).code for wire in wires} == {0}


def test_a_balance_covers_the_gas_of_all_that_waits():
    half = OPENING // 2
    chain = Chain(limits={"block_gas": half})
    wires = [chain.sign(ALICE, CALL, gas_limit=half) for _ in range(3)]
    assert [chain.app.check_tx(wire).code for wire in wires] == [0, 0, FeeUncovered.code]


@given(st.lists(st.integers(2_000, OPENING), min_size=1, max_size=12))
def test_a_newcomer_is_held_against_the_exact_sum_of_what_waits(limits):
    """Whatever the order of dear and cheap transactions: admitted while the sum is covered."""
    chain = Chain(limits={"block_gas": OPENING})
    nonce = admitted = 0
    for limit in limits:
        wire = sign(chain.app.genesis.hash, ALICE, nonce, CALL, gas_limit=limit)
        covered = admitted + limit <= OPENING
        assert chain.app.check_tx(wire).code == (0 if covered else FeeUncovered.code)
        if covered:
            nonce, admitted = nonce + 1, admitted + limit


def test_what_was_admitted_and_left_out_of_a_block_is_admitted_again():
    """Engines check again what still waits after each block (ABCI's recheck)."""
    chain = Chain()
    wires = [chain.sign(ALICE, Transfer(BOB.address, 1)) for _ in range(3)]
    assert [chain.app.check_tx(wire).code for wire in wires] == [0, 0, 0]
    chain.block()
    assert [chain.app.check_tx(wire).code for wire in wires] == [0, 0, 0]
    chain.block(wires[0])
    assert [chain.app.check_tx(wire).code for wire in wires] == [NonceMismatch.code, 0, 0]


def test_what_is_remembered_of_transactions_is_bounded_in_bytes(monkeypatch):
    monkeypatch.setattr("dii.application.app.MAX_REMEMBERED", 1 << 16)
    chain = Chain()
    for number in range(100):
        assert chain.app.check_tx(bytes([number]) * 10_000).code == BadTransaction.code
        assert sum(map(_weight, chain.app._known)) <= (1 << 16) + _weight(bytes(10_000))
    for nonce in range(3):
        wire = sign(chain.app.genesis.hash, ALICE, nonce, Burn(1))
        assert chain.app.check_tx(wire).code == 0
    chain.do(BOB, Burn(1))
    assert chain.app._remembered == sum(map(_weight, chain.app._known))


def test_admission_changes_nothing():
    chain = Chain()
    root = chain.app.info()
    for _ in range(3):
        chain.app.check_tx(chain.sign(ALICE, Transfer(BOB.address, 1)))
    assert chain.app.info() == root
    assert not chain.block().changed


def test_a_proposal_leaves_out_what_does_not_fit_and_keeps_the_order():
    chain = Chain(limits={"block_gas": 3 * GAS})
    first = chain.sign(ALICE, CALL, gas_limit=2 * GAS)
    heavy = chain.sign(BOB, CALL, gas_limit=2 * GAS)
    light = chain.sign(CAROL, Transfer(ALICE.address, 1))
    app, many = chain.app, 1 << 20
    assert app.prepare_proposal([first, heavy, light], many, chain.time) == [light, first]
    assert app.prepare_proposal([light, heavy], many, chain.time) == [light, heavy]
    assert app.prepare_proposal([light, light], many, chain.time) == [light]
    assert app.prepare_proposal([first, light], len(first), chain.time) == [first]
    assert app.prepare_proposal([first, light], len(light) - 1, chain.time) == []
    assert not app.process_proposal([first, heavy], chain.time)
    assert not app.process_proposal([light, light], chain.time)
    assert app.process_proposal([], chain.time)


def test_a_block_has_no_more_bytes_than_genesis_says():
    chain = Chain(limits={"block_bytes": 1 << 17, "block_gas": 2**32})
    chunk = ReportChunk("main", 0, bytes(60_000))
    wires = [chain.sign(ALICE, chunk) for _ in range(3)]
    assert chain.app.prepare_proposal(wires, 1 << 30, chain.time) == wires[:2]
    assert not chain.app.process_proposal(wires, chain.time)


def test_every_value_of_the_state_has_a_proof_and_so_has_its_absence():
    chain = Chain()
    chain.do(ALICE, Transfer(BOB.address, 5))
    root = chain.app.info()[1]
    for table, parts in ((ACCOUNTS, (BOB.address,)), (STREAMS, ("main",)), (SCOPES, ("main",))):
        value, proof = chain.app.query(table.key(*parts))
        verify_inclusion(root, table.key(*parts), value, proof)
    value, proof = chain.app.query(ACCOUNTS.key(bytes(20)))
    assert value is None
    verify_absence(root, ACCOUNTS.key(bytes(20)), proof)


# --- owners -------------------------------------------------------------------------------------


def amounts(chain: Chain, epoch: int, name: str = "main") -> dict[int, tuple[bytes, int]]:
    """Return gateway number to (payee, amount) of an epoch that the last blocks have paid."""
    return {
        int.from_bytes(leaf.gateway): (leaf.payee, leaf.amount)
        for leaf in chain.receipts[name, epoch]
    }


ROWS = {gateway(number): [FULL] for number in (1, 2, 3, 4)}


def test_gateways_pay_their_owners_and_those_without_pay_the_treasury():
    chain = Chain(scopes=[scope(), scope("other")])
    chain.register((1, ALICE.address), (2, BOB.address))
    chain.register((3, ALICE.address), scope="other")
    chain.settle(0, ROWS)
    assert amounts(chain, 0) == {
        1: (ALICE.address, 250), 2: (BOB.address, 250), 3: (TREASURY, 250), 4: (TREASURY, 250),
    }  # fmt: skip


def test_a_binding_made_before_settling_counts_for_the_epoch_and_one_made_later_for_the_next():
    chain = Chain(limits={"settle_rows": 1})
    chain.do(REPORTER, *report(0, ROWS), time=epoch_end(0) - 10 * SECOND)
    chain.register((1, ALICE.address))
    chain.time = epoch_end(0)
    chain.register((2, BOB.address))
    chain.do(REPORTER, *report(0, ROWS))
    assert chain.app.state.get(CURSORS, "main") is not None
    chain.register((3, CAROL.address))
    while chain.block().changed:
        pass
    assert [amounts(chain, 0)[n][0] for n in (1, 2, 3)] == [ALICE.address, BOB.address, TREASURY]
    chain.settle(1, ROWS)
    assert amounts(chain, 1)[3][0] == CAROL.address


def test_a_gateway_handed_on_pays_its_new_owner_from_the_next_epoch():
    chain = Chain()
    chain.register((1, ALICE.address))
    assert chain.do(ALICE, AssignGateway("main", gateway(1), BOB.address))[0].code == 0
    for epoch, owner in ((0, ALICE), (1, BOB), (2, BOB)):
        chain.settle(epoch, ROWS)
        assert amounts(chain, epoch)[1][0] == owner.address
    assert (
        chain.do(ALICE, AssignGateway("main", gateway(1), ALICE.address))[0].code
        == NotTheOwner.code
    )
    assert chain.do(BOB, AssignGateway("main", gateway(1), CAROL.address))[0].code == 0
    chain.settle(3, ROWS)
    assert amounts(chain, 3)[1][0] == BOB.address
    chain.settle(4, ROWS)
    assert amounts(chain, 4)[1][0] == CAROL.address


def test_who_got_a_gateway_in_an_epoch_can_hand_it_on_in_the_same():
    chain = Chain()
    chain.register((1, ALICE.address))
    chain.do(ALICE, AssignGateway("main", gateway(1), BOB.address))
    chain.do(BOB, AssignGateway("main", gateway(1), CAROL.address))
    for epoch, owner in ((0, ALICE), (1, CAROL)):
        chain.settle(epoch, ROWS)
        assert amounts(chain, epoch)[1][0] == owner.address


def test_a_gateway_that_changes_hands_often_takes_no_more_room():
    chain = Chain()
    chain.register((1, ALICE.address))
    for epoch in range(6):
        for _ in range(3):
            for old, new in ((ALICE, BOB), (BOB, ALICE)):
                assert chain.do(old, AssignGateway("main", gateway(1), new.address))[0].code == 0
        assert len(chain.app.state.get(GATEWAYS, "main", gateway(1)).owners) <= 3
        chain.settle(epoch, ROWS)
        assert amounts(chain, epoch)[1][0] == ALICE.address


def test_epochs_that_wait_for_their_report_pay_the_owners_of_their_time():
    chain = Chain()
    chain.register((1, ALICE.address))
    for epoch, (old, new) in enumerate([(ALICE, BOB), (BOB, CAROL), (CAROL, ALICE)]):
        chain.block(time=epoch_end(epoch) - 60 * SECOND)
        assert chain.do(old, AssignGateway("main", gateway(1), new.address))[0].code == 0
    for epoch, owner in enumerate([ALICE, BOB, CAROL, ALICE]):
        chain.settle(epoch, ROWS)
        assert amounts(chain, epoch)[1][0] == owner.address
    assert len(chain.app.state.get(GATEWAYS, "main", gateway(1)).owners) <= 4


def test_thieves_get_no_gateway():
    chain = Chain()
    chain.register((1, ALICE.address), (2, CLAIMS[0]))
    for number in (1, 2, 3):
        (result,) = chain.do(THIEF, AssignGateway("main", gateway(number), THIEF.address))
        assert result.code == (UnknownGateway if number == 3 else NotTheOwner).code


@pytest.mark.parametrize("kind", [RegisterGateways, RegisterApplications])
def test_a_bad_binding_is_refused_alone_and_the_result_says_so(kind):
    chain = Chain()
    message = kind("main", tuple((gateway(number), ALICE.address) for number in (2, 0, 3, 0)))
    result = chain.block(chain.sign(REPORTER, message))
    (one,) = result.results
    what = "gateway" if kind is RegisterGateways else "application"
    assert (one.code, one.detail) == (0, f"2 refused: the zero hash is no {what}")
    assert result.rows["transactions"][0][-1] == one.detail
    table = GATEWAYS if kind is RegisterGateways else APPLICATIONS
    bound = {key for (_, key), _ in chain.app.state.items(table)}
    assert bound == {gateway(2), gateway(3)}
    (one,) = chain.do(REPORTER, kind("main", ((gateway(0), ALICE.address),)))
    assert one.code == BadMessage.code


SCOPED = st.one_of(
    st.tuples(
        st.just("register"), st.sampled_from(["main", "other"]),
        st.lists(st.tuples(st.integers(0, 3), st.sampled_from([ALICE, BOB, None])), min_size=1),
    ),
    st.tuples(st.just("assign"), st.sampled_from(["main", "other"]), st.integers(1, 3)),
    st.tuples(st.just("deny"), st.sampled_from(["main", "other"]), st.integers(1, 3)),
    st.tuples(st.just("claim"), st.sampled_from(["main", "other"]), st.integers(0, 1)),
)  # fmt: skip


@settings(max_examples=40)
@given(st.lists(SCOPED, max_size=8))
def test_a_scope_earns_the_same_whatever_is_said_of_another(said):
    """Run each scope's messages beside the other's and alone; owners and receipts are equal."""

    def outcome(*scopes: str) -> dict[str, object]:
        streams = [stream(), stream("more", scope="other")]
        reporting = [scope(), scope("other", reporters=[THIEF])]
        chain = Chain(gas_price=0, scopes=reporting, streams=streams)
        speaker = {"main": REPORTER, "other": THIEF}
        proposals = 0
        for kind, name, what in said:
            if name not in scopes:
                continue
            if kind == "register":
                claimed = claim_address(name, OPERATORS[0])
                pairs = tuple(
                    (gateway(number), owner.address if owner else claimed) for number, owner in what
                )
                chain.do(speaker[name], RegisterGateways(name, pairs))
            elif kind == "claim":
                chain.do(speaker[name], Claim(name, OPERATORS[what], CAROL.public_key))
            elif kind == "deny":
                action = DenyGateway(name, gateway(what), bytes(32), 9)
                chain.do(VALIDATOR, Propose(action), Vote(proposals, approve=True))
                proposals += 1
            else:
                for key in (ALICE, BOB):
                    chain.do(key, AssignGateway(name, gateway(what), CAROL.address))
        rows = {gateway(number): [FULL] for number in (1, 2, 3)}
        for epoch in (0, 1):
            for name in scopes:
                chain.time = max(chain.time, epoch_end(epoch))
                results = chain.do(speaker[name], *report(epoch, rows, scope=name))
                assert not any(one.code for one in results)
            while chain.block().changed:
                pass
        state = chain.app.state
        return {
            name: (
                [*state.items(GATEWAYS, name)],
                [*state.items(DENIED, name)],
                {key: leaves for key, leaves in chain.receipts.items() if key[0] == of},
            )
            for name, of in (("main", "main"), ("other", "more"))
            if name in scopes
        }  # fmt: skip

    assert outcome("main", "other") == outcome("main") | outcome("other")


def test_a_gateway_is_bound_in_each_scope_by_itself():
    streams = [stream(), stream("more", scope="other")]
    chain = Chain(gas_price=0, scopes=[scope(), scope("other")], streams=streams)
    chain.register((1, ALICE.address))
    chain.register((1, BOB.address), scope="other")
    assert chain.do(BOB, AssignGateway("main", gateway(1), BOB.address))[0].code == NotTheOwner.code
    assert chain.do(BOB, AssignGateway("other", gateway(1), CAROL.address))[0].code == 0
    assert chain.do(BOB, AssignGateway("moon", gateway(1), BOB.address))[0].code == (
        UnknownGateway.code
    )
    bindings = {name: bound for (name, _), bound in chain.app.state.items(GATEWAYS)}
    assert bindings == {
        "main": Binding(0, ((0, ALICE.address),)),
        "other": Binding(0, ((0, BOB.address), (1, CAROL.address))),
    }


def test_a_claim_account_collects_until_its_key_is_named_and_forwards_from_then_on():
    chain = Chain()
    chain.register((1, CLAIMS[0]), (2, ALICE.address))
    chain.settle(0, ROWS)
    chain.do(ALICE, Transfer(CLAIMS[0], 50))
    assert chain.balance(CLAIMS[0]) == 300
    before = chain.balance(BOB)
    assert chain.do(REPORTER, Claim("main", OPERATORS[0], BOB.public_key))[0].code == 0
    assert chain.balance(CLAIMS[0]) == 0
    assert chain.balance(BOB) == before + 300
    chain.do(ALICE, Transfer(CLAIMS[0], 7))
    chain.settle(1, ROWS)
    assert amounts(chain, 1)[1] == (BOB.address, 250)
    assert chain.balance(BOB) == before + 300 + 7 + 250
    assert chain.balance(CLAIMS[0]) == 0
    assert chain.do(BOB, AssignGateway("main", gateway(1), CAROL.address))[0].code == 0
    again = Claim("main", OPERATORS[0], THIEF.public_key)
    assert chain.do(REPORTER, again)[0].code == AlreadyClaimed.code
    assert chain.app.state.get(FORWARDS, CLAIMS[0]) == BOB.address


def test_a_claim_before_any_money_came_forwards_too():
    chain = Chain()
    chain.do(REPORTER, Claim("main", OPERATORS[0], BOB.public_key))
    chain.register((1, CLAIMS[0]))
    chain.settle(0, {gateway(1): [FULL]})
    assert chain.balance(BOB) == OPENING + 1_000


# --- several reporters --------------------------------------------------------------------------


def several(count: int = 4, **changes: Any) -> Chain:
    """Return a chain whose scope has so many reporters, none with any money."""
    return Chain(scopes=[scope(reporters=REPORTERS[:count])], **changes)


def says(chain: Chain, who: SigningKey, *messages: Message) -> list[int]:
    """Return the codes of one reporter's messages; what succeeds is free."""
    results = chain.do(who, *messages)
    assert all(one.fee == 0 for one in results)
    return [one.code for one in results]


def owner_of(chain: Chain, number: int) -> bytes | None:
    binding = chain.app.state.get(GATEWAYS, "main", gateway(number))
    return binding.owner((chain.time - START) // EPOCH) if binding else None


def bind(number: int, owner: SigningKey) -> RegisterGateways:
    return RegisterGateways("main", ((gateway(number), owner.address),))


@pytest.mark.parametrize(("count", "first"), [(1, 1), (3, 1), (4, 2), (6, 2), (7, 3)])
def test_a_first_binding_takes_one_more_reporter_than_may_lie(count, first):
    chain = several(count)
    for number, who in enumerate(REPORTERS[:count], 1):
        assert says(chain, who, bind(1, ALICE)) == [0]
        assert owner_of(chain, 1) == (ALICE.address if number >= first else None)
    assert not list(chain.app.state.items(NAMINGS))


def test_a_reporter_that_says_it_twice_or_changes_its_mind_has_one_voice():
    chain = several()
    for owner in (ALICE, ALICE, BOB, ALICE):
        says(chain, REPORTERS[0], bind(1, owner))
    assert owner_of(chain, 1) is None
    says(chain, REPORTERS[1], bind(1, BOB))
    assert owner_of(chain, 1) is None
    says(chain, REPORTERS[2], bind(1, ALICE))
    assert owner_of(chain, 1) == ALICE.address


def test_an_application_is_bound_as_a_gateway_is():
    chain = several()
    message = RegisterApplications("main", ((gateway(1), ALICE.address),))
    for who in REPORTERS[:2]:
        assert chain.app.state.get(APPLICATIONS, "main", gateway(1)) is None
        assert says(chain, who, message) == [0]
    bound = chain.app.state.get(APPLICATIONS, "main", gateway(1))
    assert bound == Binding(0, ((0, ALICE.address),))
    assert chain.app.state.get(GATEWAYS, "main", gateway(1)) is None


def test_a_gateway_is_bound_anew_by_two_thirds_and_after_a_delay():
    chain = several(governance={"delay_seconds": EPOCH // SECOND + 1})
    for who in REPORTERS[:2]:
        says(chain, who, bind(1, ALICE))
    for who in REPORTERS[:3]:
        assert says(chain, who, bind(1, BOB)) == [0]
    owners = chain.app.state.get(GATEWAYS, "main", gateway(1)).owners
    assert owners == ((0, ALICE.address), (2, BOB.address))
    # Until then it is hers to hand on, and the owner to whom she does is bound by it, too.
    assert (
        chain.do(BOB, AssignGateway("main", gateway(1), CAROL.address))[0].code == NotTheOwner.code
    )
    assert chain.do(ALICE, AssignGateway("main", gateway(1), CAROL.address))[0].code == 0
    for epoch, owner in enumerate((ALICE, CAROL, BOB)):
        chain.block(time=START + epoch * EPOCH)
        assert owner_of(chain, 1) == owner.address


def test_no_quorum_short_of_two_thirds_takes_a_gateway_from_its_owner():
    chain = several()
    for who in REPORTERS[:4]:
        says(chain, who, bind(1, ALICE))
    for who in REPORTERS[:2]:
        says(chain, who, bind(1, THIEF))
    chain.block(time=epoch_end(5))
    assert owner_of(chain, 1) == ALICE.address


def test_reporters_who_think_again_in_time_undo_a_binding_that_has_not_come_into_effect():
    chain = several()
    for owner in (ALICE, THIEF, ALICE):
        for who in REPORTERS[:3]:
            says(chain, who, bind(1, owner))
    assert chain.app.state.get(GATEWAYS, "main", gateway(1)).owners == ((0, ALICE.address),)


def test_bindings_made_and_never_finished_lapse_and_leave_nothing():
    chain = several(limits={"max_bindings": 64})
    root = chain.app.info()[1]
    for start in range(1, 64, 8):
        pairs = tuple((gateway(number), THIEF.address) for number in range(start, start + 8))
        assert says(chain, REPORTERS[0], RegisterGateways("main", pairs)) == [0]
    assert chain.do(REPORTERS[0], bind(70, THIEF))[0].code == FeeUncovered.code
    says(chain, REPORTERS[1], bind(99, BOB))
    assert len(list(chain.app.state.items(NAMINGS))) == 65
    chain.block(time=chain.time + WINDOW)
    while chain.block().changed:
        pass
    for table in (NAMINGS, LAPSES):
        assert not list(chain.app.state.items(table))
    says(chain, REPORTERS[1], bind(1, THIEF))
    assert owner_of(chain, 1) is None, "what has lapsed counts no more"
    assert chain.app.info()[1] != root


def test_a_block_drops_as_many_hashes_however_they_were_named():
    chain = several(limits={"max_bindings": 9_000, "block_gas": 2**32})
    many = tuple((gateway(number), THIEF.address) for number in range(1, 5_001))
    single = [RegisterGateways("main", (pair,)) for pair in many[:1_000]]
    great = [RegisterGateways("main", many[at : at + 1_000]) for at in range(0, 5_000, 1_000)]
    for said in (single, great):
        assert {result.code for result in chain.do(REPORTERS[0], *said)} == {0}
    chain.block(time=chain.time + WINDOW)
    assert len(list(chain.app.state.items(LAPSES))) == 1, "1,000 and four times 1,000 are gone"
    chain.block()
    assert not list(chain.app.state.items(LAPSES)) + list(chain.app.state.items(NAMINGS))
    assert not chain.block().changed


@pytest.mark.parametrize(("after", "counts"), [(WINDOW - 1, True), (WINDOW, False)])
def test_a_naming_counts_until_its_window_is_over(after, counts):
    chain = several()
    says(chain, REPORTERS[0], bind(1, ALICE))
    begin = chain.time
    for _ in range(2):
        chain.block(time=begin + after - 2 * SECOND)
    chain.time = begin + after - SECOND
    says(chain, REPORTERS[1], bind(1, ALICE))
    assert chain.time == begin + after
    assert (owner_of(chain, 1) == ALICE.address) == counts


def test_a_naming_that_is_repeated_lapses_a_window_after_the_last_time():
    chain = several()
    for _ in range(2):
        says(chain, REPORTERS[0], bind(1, ALICE))
        chain.block(time=chain.time + WINDOW // 2)
    chain.block(time=chain.time + WINDOW // 4)
    says(chain, REPORTERS[1], bind(1, ALICE))
    assert owner_of(chain, 1) == ALICE.address


def test_a_thief_with_one_bribed_reporter_claims_nothing():
    chain = several()
    for who in REPORTERS[:2]:
        says(chain, who, RegisterGateways("main", ((gateway(1), CLAIMS[0]),)))
    chain.do(ALICE, Transfer(CLAIMS[0], 500))
    theft = Claim("main", OPERATORS[0], THIEF.public_key)
    for _ in range(3):
        assert says(chain, REPORTERS[3], theft) == [0]
    assert chain.app.state.get(FORWARDS, CLAIMS[0]) is None
    for who in REPORTERS[:2]:
        assert says(chain, who, Claim("main", OPERATORS[0], BOB.public_key)) == [0]
    assert chain.app.state.get(FORWARDS, CLAIMS[0]) == BOB.address
    assert chain.balance(BOB) == OPENING + 500
    assert says(chain, REPORTERS[3], theft) == [AlreadyClaimed.code]
    assert says(chain, REPORTERS[2], Claim("main", OPERATORS[0], BOB.public_key)) == [0]


def test_reporters_of_another_scope_open_no_claim_account_of_this():
    mine, theirs = scope(reporters=FOUR), scope("other", reporters=[THIEF])
    chain = Chain(scopes=[mine, theirs])
    chain.do(ALICE, Transfer(CLAIMS[0], 500))
    assert chain.do(THIEF, Claim("main", OPERATORS[0], THIEF.public_key))[0].code != 0
    assert chain.do(THIEF, Claim("other", OPERATORS[0], THIEF.public_key))[0].code == 0
    assert chain.balance(CLAIMS[0]) == 500


def test_settling_begins_with_all_reports_or_after_the_window_with_two_thirds():
    chain = several(gas_price=0)
    chain.block(time=epoch_end(0))
    for who in REPORTERS[:3]:
        assert says(chain, who, *report(0, ROWS)) == [0, 0]
    assert chain.settled() == 0
    chain.block(time=epoch_end(0) + WINDOW - 1)
    assert chain.settled() == 0
    chain.block(time=epoch_end(0) + WINDOW)
    assert chain.settled() == 1
    assert says(chain, REPORTERS[3], *report(0, ROWS)) == [EpochNotReportable.code] * 2
    chain.block(time=epoch_end(1))
    for who in REPORTERS[:4]:
        says(chain, who, *report(1, ROWS))
    assert chain.settled() == 2
    chain.block(time=epoch_end(2))
    for who in REPORTERS[:2]:
        says(chain, who, *report(2, ROWS))
    chain.block(time=epoch_end(9))
    assert chain.settled() == 2, "no pay without a quorum"


def test_a_second_and_a_third_report_count_for_nothing():
    chain = several(gas_price=0)
    chain.block(time=epoch_end(0))
    says(chain, REPORTERS[0], *report(0, ROWS))
    for _ in range(2):
        lie = report(0, {gateway(9): [FULL]})
        assert says(chain, REPORTERS[0], *lie) == [DuplicateReport.code] * 2
    for who in REPORTERS[1:3]:
        says(chain, who, *report(0, ROWS))
    chain.block(time=epoch_end(0) + WINDOW)
    assert chain.settled() == 1
    assert amounts(chain, 0).keys() == {1, 2, 3, 4}


def test_a_liar_pays_nobody_whom_no_honest_reporter_has_seen_and_takes_from_nobody():
    chain = several()
    chain.block(time=epoch_end(0))
    for who in REPORTERS[:3]:
        says(chain, who, *report(0, {gateway(1): [FULL], gateway(3): [None], gateway(4): [0]}))
    says(chain, REPORTERS[3], *report(0, {gateway(n): [FULL] for n in (0, 2, 3, 4, 5)}))
    assert amounts(chain, 0) == {1: (TREASURY, 1_000), 3: (TREASURY, 0), 4: (TREASURY, 0)}


@pytest.mark.parametrize("absent", [0, 1])
def test_report_chunks_that_never_finish_hold_up_nobody_and_are_dropped(absent):
    chain = several(limits={"settle_rows": 5})
    chain.block(time=epoch_end(0))
    many = {gateway(number): [1] for number in range(1, 100)}
    assert says(chain, REPORTERS[absent], *report(0, many, chunk_rows=1)[:-1]) == [0] * 99
    for who in REPORTERS[:4]:
        if who is not REPORTERS[absent]:
            says(chain, who, *report(0, ROWS))
    chain.block(time=epoch_end(0) + WINDOW)
    while chain.block().changed:
        pass
    assert chain.settled() == 1
    assert len(amounts(chain, 0)) == 4
    chain.block(time=epoch_end(1))
    for who in REPORTERS[:4]:
        says(chain, who, *report(1, ROWS))
    left = [
        len(list(chain.app.state.items(CHUNKS))) for _ in iter(lambda: chain.block().changed, False)
    ]
    assert chain.settled() == 2
    assert max(a - b for a, b in pairwise(left)) <= 5 + 2, "a block drops few"
    for table in (CHUNKS, REPORTS, PROGRESS):
        assert not list(chain.app.state.items(table))


@pytest.mark.parametrize("closed", [False, True])
def test_chunks_that_come_after_settling_began_are_free_and_change_no_epoch(closed):
    chain = several(limits={"settle_rows": 1})
    chain.block(time=epoch_end(0))
    many = {gateway(number): [number] for number in range(1, 9)}
    manifest, *chunks = report(0, many, chunk_rows=1)
    says(chain, REPORTERS[0], manifest, *chunks[:2])
    for who in REPORTERS[1:4]:
        says(chain, who, *report(0, ROWS))
    chain.block(time=epoch_end(0) + WINDOW)
    assert epoch_status(chain.app.state, chain.app._chain(), "main", 0, chain.time) == "settling"
    while closed and chain.block().changed:
        pass
    assert chain.settled() == closed
    assert says(chain, REPORTERS[0], *chunks[2:]) == [0] * 6
    failing = [manifest, chunks[-1], *chunks[:1]]
    codes = [EpochNotReportable.code, DuplicateReport.code, DuplicateReport.code]
    assert says(chain, REPORTERS[0], *failing) == codes
    while chain.block().changed:
        pass
    assert amounts(chain, 0).keys() == {1, 2, 3, 4}
    chain.block(time=epoch_end(1))
    for who in REPORTERS[:4]:
        says(chain, who, *report(1, ROWS))
    while chain.block().changed:
        pass
    assert chain.settled() == 2
    for table in (CHUNKS, REPORTS, PROGRESS):
        assert not list(chain.app.state.items(table))
    assert says(chain, REPORTERS[0], chunks[-1]) == [EpochNotReportable.code]


@pytest.mark.parametrize("lie", ["rows", "chunks", "order", "usage"])
def test_a_manifest_that_lies_is_never_whole(lie):
    usage = ("delivered",)
    scopes = [scope(reporters=FOUR, usage=usage)]
    chain = Chain(scopes=scopes)
    chain.block(time=epoch_end(0))
    used = {number.to_bytes(40): [number] for number in range(1, 5)}
    how = {"chunk_rows": 2, "usage": used, "usage_columns": usage}
    manifest, *chunks = report(0, ROWS, **how)
    lies = {
        "rows": replace(manifest, rows=5),
        "chunks": replace(manifest, rows=6, chunks=(*manifest.chunks, bytes(32))),
        "order": replace(manifest, chunks=manifest.chunks[::-1]),
        "usage": replace(manifest, usage_rows=3),
    }
    says(chain, REPORTERS[3], lies[lie], *chunks)
    found = chain.app.state.get(SCOPES, "main")
    assert REPORTERS[3].address not in whole_reports(chain.app.state, "main", found)
    for who in REPORTERS[:3]:
        assert set(says(chain, who, *report(0, ROWS, **how))) == {0}
    assert chain.settled() == 0
    chain.block(time=epoch_end(0) + WINDOW)
    assert chain.settled() == 1
    assert len(amounts(chain, 0)) == 4


def test_reports_of_an_epoch_in_a_billion_years_leave_nothing():
    chain = several()
    chain.block(time=epoch_end(0))
    kept = {table.name: list(chain.app.state.items(table)) for table in TABLES}
    for epoch in (10**9, 2**64 - 1):
        codes = says(chain, REPORTERS[0], report(epoch, ROWS)[0])
        assert codes == [EpochNotReportable.code]
    for table in set(TABLES) - {ACCOUNTS, DUTIES}:  # where a nonce and a failure are counted
        assert list(chain.app.state.items(table)) == kept[table.name]


def test_a_scope_that_reports_absurd_values_or_never_again_holds_up_no_pay_of_others():
    """Its reporters send as much, in as small pieces, as they may; others settle meanwhile."""
    scopes = [scope("absurd", reporters=FOUR), scope("good"), scope("silent", reporters=[THIEF])]
    streams = [
        stream("a", scope="absurd"), stream("g", scope="good"), stream("s", scope="silent"),
    ]  # fmt: skip
    chain = Chain(
        scopes=scopes, streams=streams, limits={"settle_rows": 60, "max_rows": 400}, gas_price=0
    )
    chain.block(time=epoch_end(0))
    for liar in FOUR:
        rows = {
            sha256(liar.address + bytes([n % 256, n >> 8])).digest()[:20]: [FULL]
            for n in range(400)
        }
        chain.do(liar, *report(0, rows, scope="absurd", chunk_rows=1))
    assert chain.app.state.get(CURSORS, "absurd") is not None
    before = len(chain.blocks)
    chain.do(REPORTER, *report(0, ROWS, scope="good"))
    while not chain.settled("good"):
        chain.block()
    assert len(chain.blocks) - before <= 4
    assert chain.issuance(0, "g").paid == 1_000
    assert chain.settled("absurd") == 0, "its settling goes on"
    while chain.block().changed:
        pass
    assert chain.settled("absurd") == 1
    assert chain.issuance(0, "a").count == 0, "no name is vouched for by two"
    assert chain.settled("silent") == 0


def test_many_scopes_settle_side_by_side_however_few_rows_a_block_does():
    names = [f"s{number:02}" for number in range(20)]
    chain = Chain(
        scopes=[scope(name) for name in names],
        streams=[stream(name, scope=name) for name in names],
        limits={"settle_rows": 10},
    )
    rows = {gateway(number): [FULL] for number in range(1, 9)}
    messages = [m for name in names for m in report(0, rows, scope=name, chunk_rows=2)]
    chain.do(REPORTER, *messages, time=epoch_end(0))
    worked: Counter[int] = Counter()
    while chain.block().changed:
        worked[len(chain.blocks[-1].rows.get("receipts", []))] += 1
        closed = [chain.settled(name) for name in names]
        if any(closed):  # all are about as far: none has waited for another to be done
            left = [chain.app.state.get(CURSORS, name) for name in names]
            assert all(one is None or one.phase in {"receipts", "clear", "weights"} for one in left)
    assert max(worked) <= 4
    assert all(chain.settled(name) for name in names)


# Reports of seven, two of whom lie; the rows of the honest are near each other.
SEVEN = REPORTERS[:7]
HONEST_ROWS = st.lists(
    st.dictionaries(
        st.integers(0, 5).map(gateway), st.tuples(st.none() | st.integers(0, 9), st.integers(0, 9)),
        max_size=6,
    ),
    min_size=5, max_size=5,
)  # fmt: skip
LYING_ROWS = st.lists(
    st.dictionaries(
        st.integers(0, 7).map(gateway),
        st.tuples(st.sampled_from([None, 0, 5, FULL]), st.sampled_from([None, 0, 5, 10**9])),
        max_size=8,
    ),
    max_size=2,
)


@settings(max_examples=60)
@given(HONEST_ROWS, LYING_ROWS, st.integers(1, 3), st.integers(1, 40))
def test_liars_move_no_metric_outside_the_range_of_what_the_honest_say(
    honest, lying, chunk_rows, settle_rows
):
    metrics = METRICS_OF["main"]
    chain = Chain(
        scopes=[scope(metrics=metrics, reporters=SEVEN)], limits={"settle_rows": settle_rows}
    )
    said = [*lying, *honest]
    chain.block(time=epoch_end(0))
    for who, rows in zip(SEVEN, said):
        says(chain, who, *report(0, rows, metrics=metrics, chunk_rows=chunk_rows))
    chain.block(time=epoch_end(0) + WINDOW)
    while chain.block().changed:
        pass
    found = {leaf.gateway: leaf.values for leaf in chain.receipts["main", 0]}
    assert found == dict(medians(said, 2))
    for name in {key for rows in said for key in rows}:
        for column in range(2):
            values = [rows.get(name, (0, 0))[column] for rows in honest]
            ranks = [-1 if value is None else value for value in values]
            value = found.get(name, (0, 0))[column]
            assert min(ranks) <= (-1 if value is None else value) <= max(ranks)


SAID = st.lists(
    st.dictionaries(
        st.integers(0, 30), st.sampled_from([None, 0, 1, 2, 3]), min_size=0, max_size=30
    ),
    min_size=1, max_size=3,
)  # fmt: skip


def merged(
    said: list[dict[int, int | None]], pieces: list[int], settle_rows: int
) -> tuple[list[object], list[ReceiptLeaf]]:
    """Return what the state keeps of four reports, whose chunks have so many rows, and receipts."""
    chain = Chain(
        scopes=[scope(reporters=FOUR, usage=("lost",))], limits={"settle_rows": settle_rows}
    )
    chain.block(time=epoch_end(0))
    for who, rows, piece in zip(FOUR, said, pieces):
        metrics = {gateway(key): [value] for key, value in rows.items()}
        used = {key.to_bytes(40): [value] for key, value in rows.items()}
        how = {"chunk_rows": piece, "usage": used, "usage_columns": ("lost",)}
        assert set(says(chain, who, *report(0, metrics, **how))) == {0}
    while chain.block().changed:
        pass
    assert chain.settled() == 1
    tables = (PAGES, USAGE_PAGES, EPOCH_PAGES, ISSUANCES)
    return [list(chain.app.state.items(table)) for table in tables], chain.receipts["main", 0]


@settings(max_examples=40)
@given(SAID, st.lists(st.integers(0, 2), min_size=4, max_size=4), st.data())
def test_how_the_merging_of_reports_falls_into_blocks_changes_nothing(said, which, data):
    """Also where some are the same byte for byte, and pages are moved instead of merged."""
    sizes = [data.draw(st.sampled_from([1, 2, 2, 5])) for _ in said]
    chosen = [number % len(said) for number in which]
    four, pieces = [said[n] for n in chosen], [sizes[n] for n in chosen]
    small = merged(four, pieces, data.draw(st.integers(1, 60)))
    assert small == merged(four, pieces, 1 << 20)
    expected = medians([{gateway(k): (v,) for k, v in rows.items()} for rows in four], 1)
    assert [(leaf.gateway, leaf.values) for leaf in small[1]] == expected


@pytest.mark.parametrize("liar", range(4))
def test_what_a_liar_adds_before_a_chunk_that_all_have_changes_no_page(liar):
    honest = {key: key for key in range(10, 20)}
    lie = honest | dict.fromkeys(range(12, 20), 0)
    without, said = (
        [one if n == liar else honest for n in range(4)] for one in (lie, lie | {0: 1, 1: 1})
    )
    plain = merged(without, [2] * 4, 1 << 20)
    for settle_rows in (1, 9, 20, 40, 1 << 20):
        assert merged(said, [2] * 4, settle_rows) == plain


def test_all_reports_together_make_no_more_rows_than_one_may_have():
    """Rules are checked against as many rows as a report may have: sums stay below 2**63."""
    chain = several(limits={"max_rows": 4})
    chain.block(time=epoch_end(0))
    for number, who in enumerate(FOUR):
        rows = {gateway(one): [FULL] for one in ((1, 2), (3, 4))[number // 2] + (10, 11)}
        assert set(says(chain, who, *report(0, rows, chunk_rows=2))) == {0}
    assert amounts(chain, 0).keys() == {1, 2, 3, 4}


def test_metrics_and_usage_of_two_settled_epochs_can_be_looked_up():
    usage = ("delivered", "lost")
    chain = Chain(scopes=[scope(metrics=METRICS_OF["main"], usage=usage)], streams=[])
    operator = ALICE.address
    for epoch in range(4):
        rows = {gateway(number): (number, None) for number in range(1, 40, 2)}
        used = {gateway(number) + operator: (number, epoch) for number in range(2, 60, 3)}
        chain.settle(
            epoch, rows, metrics=METRICS_OF["main"], chunk_rows=7, usage=used, usage_columns=usage
        )
    state = chain.app.state
    for epoch in range(5):
        kept = epoch in (2, 3)
        assert is_kept(state, "main", epoch) == kept
        for number in range(42):
            wanted = {"online_ppm": number, "shapley_uplinks": None}
            found = lookup_metrics(state, "main", epoch, gateway(number))
            assert found == (wanted if kept and number % 2 and number < 40 else None)
        for number in range(62):
            found = lookup_usage(state, "main", epoch, gateway(number), operator)
            there = kept and number % 3 == 2 and number < 60
            assert found == ({"delivered": number, "lost": epoch} if there else None)
        assert lookup_usage(state, "main", epoch, gateway(2), BOB.address) is None
    assert {epoch for (_, epoch, _), _ in state.items(USAGE_PAGES)} == {2, 3}
    assert {epoch for (_, epoch), _ in state.items(EPOCH_PAGES)} == {2, 3}


def test_a_scope_that_is_changed_takes_reports_by_its_new_reporters_on_its_new_metrics():
    chain = several(streams=[stream(rule=Uptime(1))])
    chain.block(time=epoch_end(0))
    for who in REPORTERS[:3]:
        says(chain, who, *report(0, ROWS))
    metrics = METRICS_OF["main"]
    new = tuple(key.address for key in REPORTERS[1:5])
    settling.change_scope(chain.app.state, "main", new, ("online_ppm",), ())
    chain.app.state.commit()
    chain.block(time=epoch_end(1))
    assert chain.settled() == 0, "one of the three is a reporter no more"
    assert says(chain, REPORTERS[0], report(1, ROWS)[0]) != [0]
    settling.change_scope(chain.app.state, "main", new, metrics, ("lost",))
    chain.app.state.commit()
    rows = {one: (*values, 7) for one, values in ROWS.items()}
    how = {"metrics": metrics, "usage_columns": ("lost",)}
    assert says(chain, REPORTERS[1], report(0, ROWS)[1]) == [BadReport.code]
    for who in REPORTERS[1:4]:
        assert says(chain, who, *report(0, rows, **how)) == [0, 0], "once more for nothing"
    chain.block()
    assert chain.settled() == 1
    assert chain.receipts["main", 0][0].values == (FULL, 7)
    for who in REPORTERS[1:4]:
        assert says(chain, who, *report(1, rows, **how)) == [0, 0]
    chain.block(time=epoch_end(1) + WINDOW)
    assert chain.settled() == 2
    assert not list(chain.app.state.items(REPORTS)), "nor what the former reporter left"


def test_who_reports_no_more_has_no_voice_on_bindings():
    chain = several()
    says(chain, REPORTERS[0], bind(1, ALICE))
    new = tuple(key.address for key in REPORTERS[1:5])
    settling.change_scope(chain.app.state, "main", new, ("online_ppm",), ())
    chain.app.state.commit()
    says(chain, REPORTERS[1], bind(1, ALICE))
    assert owner_of(chain, 1) is None
    says(chain, REPORTERS[4], bind(1, ALICE))
    assert owner_of(chain, 1) == ALICE.address


def test_a_scope_that_is_changed_while_an_epoch_settles_closes_it_as_it_was():
    chain = several(limits={"settle_rows": 1})
    chain.block(time=epoch_end(1))
    for who in FOUR:
        says(chain, who, *report(0, ROWS, chunk_rows=1))
    assert chain.app.state.get(CURSORS, "main") is not None
    settling.change_scope(chain.app.state, "main", (BOB.address,), METRICS_OF["main"], ())
    chain.app.state.commit()
    assert chain.app.state.get(SCOPES, "main").metrics == ("online_ppm",)
    while chain.block().changed:
        pass
    assert chain.issuance(0).metrics == ("online_ppm",)
    found = chain.app.state.get(SCOPES, "main")
    assert (found.reporters, found.metrics, found.next_epoch) == (
        (BOB.address,), METRICS_OF["main"], 1,
    )  # fmt: skip


# --- epochs -------------------------------------------------------------------------------------


def test_an_epoch_is_open_until_it_ends_then_reporting_settling_and_closed():
    chain = Chain(limits={"settle_rows": 1})

    def status(epoch: int) -> str:
        record = chain.app.state.get(CHAIN)
        return epoch_status(chain.app.state, record, "main", epoch, chain.time)

    assert status(0) == "open"
    chain.block(time=epoch_end(0) - 1)
    assert status(0) == "open"
    chain.block(time=epoch_end(0))
    assert (status(0), status(1)) == ("reporting", "open")
    chain.do(REPORTER, *report(0, ROWS))
    assert status(0) == "settling"
    while chain.block().changed:
        assert status(0) in {"settling", "closed"}
    assert (status(0), status(1)) == ("closed", "open")


@pytest.mark.parametrize("epoch", [1, 2, 10**9, 2**64 - 1])
def test_an_epoch_that_has_not_ended_cannot_be_reported(epoch):
    chain = Chain(gas_price=0)
    (result,) = chain.do(REPORTER, report(epoch, {})[0], time=epoch_end(0))
    assert result.code == EpochNotReportable.code
    assert "open" in result.detail


def test_a_closed_or_settling_epoch_cannot_be_reported_again():
    chain = Chain(gas_price=0, limits={"settle_rows": 1})
    messages = report(0, ROWS)
    chain.do(REPORTER, *messages, time=epoch_end(0))
    for message in messages:
        (result,) = chain.do(REPORTER, message)
        assert result.code in {EpochNotReportable.code, DuplicateReport.code}
    while chain.block().changed:
        pass
    codes = [one.code for one in chain.do(REPORTER, *messages)]
    assert codes == [EpochNotReportable.code] * 2


def test_epochs_settle_in_order_and_wait_for_their_report():
    chain = Chain()
    chain.block(time=epoch_end(3))
    for epoch in (2, 1):
        assert {one.code for one in chain.do(REPORTER, *report(epoch, ROWS))} == {0}
        chain.block()
        assert chain.settled() == 0
    chain.do(REPORTER, *report(0, ROWS))
    assert chain.settled() == 3
    rows = [row for result in chain.blocks for row in result.rows.get("epochs", [])]
    assert [row[1] for row in rows] == [0, 1, 2]


def test_a_scope_without_reports_holds_up_no_other():
    chain = Chain(scopes=[scope(), scope("other")], streams=[stream(), stream("2", scope="other")])
    for epoch in range(3):
        chain.settle(epoch, ROWS, scope="other")
    assert (chain.settled("main"), chain.settled("other")) == (0, 3)


def test_an_incomplete_report_pays_nobody():
    chain = Chain()
    messages = report(0, ROWS, chunk_rows=1)
    assert {one.code for one in chain.do(REPORTER, *messages[:-1], time=epoch_end(0))} == {0}
    for _ in range(3):
        assert not chain.block(time=epoch_end(2)).changed
    assert supply(chain.app.state).minted == 4 * OPENING
    assert chain.do(REPORTER, messages[-1])[0].code == 0
    assert chain.settled() == 1


def bad_reports() -> dict[str, tuple[type[TransactionError], list[Message]]]:
    """Return reports whose last message is refused."""
    manifest, *chunks = report(0, ROWS, chunk_rows=2)
    hashes = manifest.chunks
    columns = ("online_ppm",)
    twice = Page([gateway(1), gateway(1)], [[1, 1]]).encode()
    four = Page([gateway(number) for number in range(4)], [[1] * 4]).encode()
    unsorted = Page([gateway(2), gateway(1)], [[1, 1]]).encode()
    beyond = Page([gateway(1), gateway(2)], [[1, FULL + 1]]).encode()
    two = Page([gateway(1), gateway(2)], [[1, 1], [1, 1]]).encode()
    none = codec.encode((b"", ((1, b"", None),)))
    wide = codec.encode((gateway(1), ((2, b"\0\1", None),)))
    masked = codec.encode((gateway(1), ((1, b"\1", b"\1"),)))

    def announced(data: bytes, rows: int = 2) -> list[Message]:
        chunk = ReportChunk("main", 0, data)
        return [ReportManifest("main", 0, rows, columns, (sha256(data).digest(),)), chunk]

    return {
        "unknown scope": (UnknownScope, [ReportManifest("moon", 0, 0, columns, ())]),
        "other columns": (BadReport, [ReportManifest("main", 0, 0, ("uplinks",), ())]),
        "no columns": (BadReport, [ReportManifest("main", 0, 0, (), ())]),
        "chunks without rows": (BadReport, [ReportManifest("main", 0, 0, columns, hashes)]),
        "rows without chunks": (BadReport, [ReportManifest("main", 0, 4, columns, ())]),
        "more chunks than rows": (BadReport, [ReportManifest("main", 0, 1, columns, hashes)]),
        "more rows than allowed": (BadReport, [ReportManifest("main", 0, 101, columns, hashes)]),
        "no manifest": (BadReport, [chunks[0]]),
        "chunks out of order": (BadReport, [manifest, chunks[1]]),
        "a chunk twice": (BadReport, [manifest, chunks[0], chunks[0]]),
        "a chunk too many": (DuplicateReport, [manifest, *chunks, chunks[1]]),
        "fewer rows than announced": (BadReport, announced(wide, 2)),
        "more rows than announced": (BadReport, announced(chunks[0].data, 1)),
        "a gateway twice": (BadReport, announced(twice)),
        "rows beyond what is announced, at once": (
            BadReport,
            [
                ReportManifest("main", 0, 3, columns, (sha256(four).digest(), bytes(32))),
                ReportChunk("main", 0, four),
            ],
        ),
        "gateways that descend": (BadReport, announced(unsorted)),
        "gateways that descend from chunk to chunk": (
            BadReport,
            [ReportManifest("main", 0, 4, columns, hashes[::-1]), chunks[1], chunks[0]],
        ),
        "a value out of range": (MetricOutOfRange, announced(beyond)),
        "a column too many": (BadReport, announced(two)),
        "no rows": (BadReport, announced(none)),
        "a column wider than it need be": (BadReport, announced(wide, 1)),
        "a mask that says nothing": (BadReport, announced(masked, 1)),
        "bytes": (BadReport, announced(b"\0")),
        "no bytes": (BadReport, announced(b"")),
    }


@pytest.mark.parametrize(("error", "messages"), bad_reports().values(), ids=bad_reports())
def test_a_bad_report_is_refused_with_its_reason(error, messages):
    chain = Chain(gas_price=0, limits={"max_rows": 100, "settle_rows": 1})
    chain.block(time=epoch_end(0))
    *others, last = chain.do(REPORTER, *messages)
    assert {one.code for one in others} <= {0}
    assert last.code == error.code
    assert last.detail


def test_a_report_of_no_gateways_closes_its_epoch():
    chain = Chain()
    chain.settle(0, {})
    found = chain.issuance(0)
    assert (found.count, found.root, found.paid) == (0, sha256(b"").digest(), 0)
    assert chain.settled() == 1


def test_a_closed_epoch_leaves_its_issuance_and_the_metrics_of_two_epochs():
    chain = Chain(limits={"max_bindings": 9})
    for epoch in range(4):
        chain.register((epoch + 1, ALICE.address))
        chain.settle(epoch, ROWS, chunk_rows=1)
    state = chain.app.state
    for table in (REPORTS, CHUNKS, CURSORS, MINTED):
        assert not list(state.items(table))
    assert list(state.items(DUTIES)) == [((REPORTER.address,), Duty(3, 1, 0))]
    assert {epoch for (_, epoch, _), _ in state.items(PAGES)} == {2, 3}
    assert [epoch for (_, epoch), _ in state.items(ISSUANCES)] == [0, 1, 2, 3]


EPOCHS = st.lists(
    st.dictionaries(
        st.integers(0, 9).map(gateway),
        st.tuples(
            st.none() | st.integers(0, FULL), st.none() | st.sampled_from([0, 1, 720_720, 10**9])
        ),
        max_size=10,
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=40)
@given(EPOCHS, st.integers(1, 5), st.integers(1, 4))
def test_how_settling_falls_into_blocks_changes_nothing(epochs, settle_rows, chunk_rows):
    chains = []
    for rows in (settle_rows, 1 << 20):
        chain = Chain(**mixed(limits={"settle_rows": rows}))
        chain.register(*((n, owner) for n, owner in enumerate([*OWNERS, BOB.address], 1)))
        for epoch, content in enumerate(epochs):
            chain.settle(epoch, content, metrics=METRICS_OF["main"], chunk_rows=chunk_rows)
        chains.append(chain)
    small, large = chains
    for table in (ACCOUNTS, STREAMS, ISSUANCES, SCOPES, GATEWAYS, PAGES):
        assert list(small.app.state.items(table)) == list(large.app.state.items(table))
    assert small.receipts == large.receipts
    assert supply(small.app.state) == supply(large.app.state)


def test_small_pages_cost_no_search_for_streams_each(monkeypatch):
    """With 60 streams and pages of one row that made a block of half a minute."""
    searches = []
    monkeypatch.setattr(
        "dii.application.streams.current",
        lambda *where: searches.append(chain.time) or current(*where),
    )
    chain = Chain(streams=[stream(f"s{number}") for number in range(3)])
    chain.settle(0, {gateway(number): [FULL] for number in range(1, 50)}, chunk_rows=1)
    assert chain.issuance(0, "s2").count == 49
    assert len(searches) == 1


def test_a_block_stops_settling_at_the_page_that_spends_its_rows():
    chain = Chain(limits={"settle_rows": 3})
    rows = {gateway(number): [FULL] for number in range(1, 31)}
    chain.settle(0, rows, chunk_rows=2)
    worked = [len(result.rows.get("receipts", [])) for result in chain.blocks]
    assert max(worked) <= 3 + 1
    assert sum(worked) == 30
    assert sum(map(bool, worked)) >= 30 // 4


# --- issuance -----------------------------------------------------------------------------------

NOTHING = {gateway(1): [0], gateway(2): [None]}


@pytest.mark.parametrize("rows", [NOTHING, {}], ids=["nobody earned", "nobody reported"])
def test_where_nobody_earned_the_dust_stays_and_the_pool_is_not_minted(rows):
    chain = Chain()
    three = {gateway(number): [FULL] for number in (1, 2, 3)}
    chain.settle(0, three)
    assert chain.issuance(0).dust_after == 1
    minted = supply(chain.app.state).minted
    chain.settle(1, rows)
    found = chain.issuance(1)
    assert (found.pool, found.paid, found.rest, found.unminted) == (1_000, 0, 0, 0)
    assert (found.dust_before, found.dust_after) == (1, 1)
    assert supply(chain.app.state).minted == minted
    chain.settle(2, three)
    assert chain.issuance(2).paid == 3 * (1_001 // 3)
    assert supply(chain.app.state).minted == minted + 1_000


def test_where_nobody_earned_the_pool_may_go_to_the_treasury():
    chain = Chain(streams=[stream(rest="treasury")], gas_price=0)
    chain.settle(0, NOTHING)
    assert chain.issuance(0).rest == 1_000
    assert chain.balance(TREASURY) == 1_000
    assert supply(chain.app.state).minted == 4 * OPENING + 1_000


def test_where_nobody_earned_the_pool_may_go_to_a_later_stream():
    streams = [
        stream("fast", Uptime(FULL), FixedEmission(600), rest="late"),
        stream("other", policy=FixedEmission(10)),
        stream("late", policy=FixedEmission(400), rest="treasury"),
    ]
    chain = Chain(streams=streams, gas_price=0)
    chain.register((1, ALICE.address))
    chain.settle(0, {gateway(1): [5]})
    assert (chain.issuance(0, "fast").rest, chain.issuance(0, "late").pool) == (600, 1_000)
    assert chain.balance(ALICE) == OPENING + 10 + 1_000
    chain.settle(1, {gateway(1): [0]})
    assert chain.balance(TREASURY) == 1_000
    assert [chain.issuance(1, name).rest for name in ("fast", "other", "late")] == [600, 0, 1_000]


def test_streams_of_one_scope_pay_side_by_side():
    metrics = METRICS_OF["main"]
    streams = [stream("uptime"), stream("traffic", ShapleyTraffic(), FixedEmission(90))]
    chain = Chain(scopes=[scope("main", metrics)], streams=streams)
    chain.register((1, ALICE.address), (2, BOB.address))
    rows = {gateway(1): [FULL, 720_720], gateway(2): [FULL, 2 * 720_720], gateway(3): [0, None]}
    chain.settle(0, rows, metrics=metrics)
    assert amounts(chain, 0, "uptime") == {
        1: (ALICE.address, 500), 2: (BOB.address, 500), 3: (TREASURY, 0),
    }  # fmt: skip
    assert amounts(chain, 0, "traffic") == {
        1: (ALICE.address, 30), 2: (BOB.address, 60), 3: (TREASURY, 0),
    }  # fmt: skip
    reasons = [leaf.reason for leaf in chain.receipts["traffic", 0]]
    assert reasons == [REASON_NONE, REASON_NONE, REASON_ABSENT]


def test_the_share_of_receptions_that_name_no_gateway_is_not_minted():
    chain = Chain(gas_price=0)
    chain.register((1, ALICE.address))
    chain.settle(0, {gateway(0): [250_000], gateway(1): [750_000]})
    found = chain.issuance(0)
    assert (found.total_weight, found.unminted, found.paid) == (FULL, 250, 750)
    assert chain.balance(ALICE) == OPENING + 750
    assert chain.balance(TREASURY) == 0
    assert supply(chain.app.state).minted == 4 * OPENING + 750
    nameless, named = chain.receipts["main", 0]
    assert (nameless.weight, nameless.amount) == (250_000, 0)
    assert (nameless.reason, named.reason) == (REASON_UNATTRIBUTED, REASON_NONE)


def test_where_no_reception_names_a_gateway_nothing_is_minted():
    chain = Chain(gas_price=0)
    chain.settle(0, {gateway(0): [FULL]})
    assert supply(chain.app.state).minted == 4 * OPENING
    assert chain.issuance(0).unminted == 1_000


def test_the_limit_of_an_epoch_binds_all_streams_of_all_scopes_together():
    streams = [
        stream("first", policy=FixedEmission(700)),
        stream("second", policy=FixedEmission(700)),
        stream("third", policy=FixedEmission(700), scope="other"),
    ]
    chain = Chain(scopes=[scope(), scope("other")], streams=streams, max_mint_per_epoch=1_000)
    rows = {gateway(1): [FULL]}
    for epoch in range(2):
        before = supply(chain.app.state).minted
        chain.settle(epoch, rows)
        chain.do(REPORTER, *report(epoch, rows, scope="other"))
        pools = [chain.issuance(epoch, name).pool for name in ("first", "second", "third")]
        assert pools == [700, 300, 0]
        assert supply(chain.app.state).minted == before + 1_000


def test_the_limit_holds_for_what_goes_to_the_treasury_while_another_scope_is_paid():
    streams = [
        stream("first", policy=FixedEmission(1_000)),
        stream("second", policy=FixedEmission(1_000), scope="other", rest="treasury"),
    ]
    chain = Chain(
        scopes=[scope(), scope("other")],
        streams=streams,
        max_mint_per_epoch=1_000,
        limits={"settle_rows": 1},
        gas_price=0,
    )
    nothing = {gateway(number): [0] for number in range(1, 60)}
    chain.do(REPORTER, *report(0, nothing, scope="other", chunk_rows=1), time=epoch_end(0))
    while chain.app.state.get(CURSORS, "other").phase != "receipts":
        chain.block()
    chain.settle(0, {gateway(1): [FULL]})
    assert (chain.settled(), chain.settled("other")) == (1, 1)
    assert supply(chain.app.state).minted == 4 * OPENING + 1_000
    assert chain.issuance(0, "first").paid == 1_000
    assert (chain.issuance(0, "second").rest, chain.balance(TREASURY)) == (0, 1_000)


CLAIMS_OF_EPOCHS = st.lists(
    st.tuples(st.lists(st.integers(0, 900), min_size=1, max_size=5), st.sampled_from([0, 0, 300])),
    min_size=1,
    max_size=4,
)


@settings(max_examples=40)
@given(CLAIMS_OF_EPOCHS, st.integers(0, 2_000), st.integers(1, 3))
def test_claims_are_paid_in_full_up_to_the_pool_and_pro_rata_above(epochs, pool, rate):
    streams = [stream("main", DataCredits(rate), FixedEmission(pool), rest="treasury")]
    chain = Chain(scopes=[scope("main", ("data_units",))], streams=streams, gas_price=0)
    chain.register(*((number, ALICE.address) for number in range(1, 6)))
    dust = treasury = 0
    for epoch, (units, nameless) in enumerate(epochs):
        before, minted = chain.balance(ALICE), supply(chain.app.state).minted
        rows = {gateway(number): [one] for number, one in enumerate([nameless, *units])}
        chain.settle(epoch, rows, metrics=("data_units",))
        claims = [rate * one for one in (nameless, *units)]
        total = sum(claims)
        due = min(total, pool + dust)
        paid = [due * claim // total if total else 0 for claim in claims[1:]]
        found = chain.issuance(epoch)
        if total <= pool + dust:
            assert paid == claims[1:]
            assert found.unminted == min(pool, claims[0])
        assert chain.balance(ALICE) == before + sum(paid)
        treasury += pool - max(0, due - dust)
        assert chain.balance(TREASURY) == treasury
        assert supply(chain.app.state).minted - minted <= pool
        dust = found.dust_after
        assert dust < len(claims)


@pytest.mark.parametrize("rows", [{gateway(1): [FULL]}, NOTHING], ids=["paid", "rest"])
def test_supply_never_reaches_2_to_the_63(rows):
    accounts = [{"address": format_address(ALICE.address), "balance": MAX_AMOUNT - 300}]
    chain = Chain(accounts=accounts, gas_price=0, streams=[stream(rest="treasury")])
    for epoch, minted in enumerate((300, 0, 0)):
        chain.settle(epoch, rows)
        assert chain.issuance(epoch).paid + chain.issuance(epoch).rest == minted
    assert supply(chain.app.state).minted == MAX_AMOUNT
    chain.do(ALICE, Burn(1_000))
    chain.settle(3, rows)
    assert total_money(chain.app.state) == MAX_AMOUNT - 1_000


def test_the_price_of_a_contribution_is_paid_up_to_its_cap():
    metrics = METRICS_OF["main"]
    policy = PerContribution(300, 900)
    chain = Chain(
        scopes=[scope("main", metrics)], streams=[stream("main", ShapleyTraffic(), policy)]
    )
    chain.register((1, ALICE.address))
    for epoch, (uplinks, paid) in enumerate([(2, 600), (3, 900), (50, 900)]):
        chain.settle(epoch, {gateway(1): [None, uplinks * 720_720]}, metrics=metrics)
        assert chain.issuance(epoch).paid == paid


def test_a_rule_that_a_scope_has_no_stream_for_pays_nothing_and_epochs_close():
    chain = Chain(streams=[])
    chain.settle(0, ROWS)
    assert chain.settled() == 1
    assert not list(chain.app.state.items(ISSUANCES))
