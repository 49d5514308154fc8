"""A random walk through everything that may be sent, and books kept beside the chain."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from fractions import Fraction
from hashlib import sha256
from math import floor

from dii import codec, crypto
from dii.application import Application, BlockResult, TxResult, total_money
from dii.application.app import MAX_UNPAID
from dii.application.bank import account, supply
from dii.application.messages import (
    AssignGateway,
    Burn,
    Claim,
    Message,
    RegisterApplications,
    RegisterGateways,
    ReportChunk,
    ReportManifest,
    Transfer,
)
from dii.application.pages import Page
from dii.application.records import ACCOUNTS, ISSUANCES, LAPSES, MINTED, NAMINGS, SCOPES, STREAMS
from dii.crypto import SigningKey, claim_address, format_address
from dii.genesis import TREASURY
from dii.ledger.state import State
from dii.ledger.transaction import MAX_BYTES, decode
from dii.minting import Issuance, ReceiptLeaf
from dii.minting.receipts import REASON_UNATTRIBUTED
from dii.schema import METRICS
from dii.units import MAX_AMOUNT, SECOND
from tests.application import (
    CAP,
    CLAIMS,
    DUTIES_OF_REPORTERS,
    FOUR,
    FULL,
    METRICS_OF,
    MOST_ROWS,
    OPERATORS,
    OWNERS,
    TREASURY_CAP,
    WINDOW,
    Values,
    epoch_end,
    medians,
    mixed,
    page_rows,
)
from tests.chains import (
    ALICE,
    BOB,
    CAROL,
    EPOCH,
    OPENING,
    REPORTER,
    START,
    THIEF,
    VALIDATOR,
    gateway,
    genesis,
    price_of,
    report,
    scope,
    sign,
)


def merkle_root(leaves: list[bytes]) -> bytes:
    """Return the tree hash exactly as RFC 9162, section 2.1.1, defines it."""
    if len(leaves) < 2:
        return sha256(b"\0" + leaves[0] if leaves else b"").digest()
    left = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\1" + merkle_root(leaves[:left]) + merkle_root(leaves[left:])).digest()


REPORTERS_OF = {"main": FOUR, "other": (REPORTER,)}
LIARS = {"main": 1, "other": 0}
SIGNERS = [ALICE, BOB, CAROL, THIEF, *FOUR]
SCOPE_OF = {"uptime": "main", "traffic": "main", "data": "other", "presence": "other"}
USAGE_OF = {"main": ("delivered", "lost"), "other": ()}
FAULTS = (
    "incomplete", "twice", "swapped", "wrong hash", "descending", "out of range", "wrong columns",
    "too many rows", "fewer rows", "garbage", "by a thief", "another epoch", "another scope",
)  # fmt: skip


class Walk:
    """A random walk through all kinds of messages, and books kept beside the chain.

    One scope has four reporters, who agree, lie, are absent, come late, and send twice; another has
    a single reporter. The books are made from the results of blocks alone; they never read the
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
        """Send a message, a sensible one more often than not."""
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

        Honest reporters report the same; the faulty one comes at any place.
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
        """Check that transactions that used gas took their nonce and paid, unless they were duties.

        A successful duty may be free; few failed duties go unpaid.
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
        """Bind by f + 1 votes; rebind by 2f + 1, after a delay."""
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
        """Check that undecided votes expire, and that the state keeps no others."""
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
        """Note the medians of an epoch if a quorum of whole reports is here."""
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
        """Compare an issuance and its receipts with exact arithmetic on the reports."""
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
        """Check that policies determine the pools, within the constitutional limit of an epoch."""
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
        """Return the owner of a gateway or an application in an epoch, by the books."""
        owners = self.owners.get((kind, where, which), [])
        known = [owner for since, owner in owners if since <= epoch]
        return self.forwards.get(known[-1], known[-1]) if known else None

    def payee(self, where: str, which: bytes, epoch: int) -> bytes:
        """Return the account to pay, by the books."""
        return self.owner(where, which, epoch) or TREASURY


def rows_of(parts: list[bytes], width: int = 20) -> Values:
    """Return the rows of a report's chunks."""
    return dict(row for part in parts for row in page_rows(part, width))
