"""Stateful machine that compares the whole application with books, a model kept beside it.

Hypothesis draws messages of people, reporters (one of four is a liar; any may be absent, late, or
send twice), validators and a thief, over many epochs, in blocks of an honest proposer or of one who
includes any transaction. From the messages and the rules alone the books compute the expected
state: every balance and nonce, the owner of each gateway in each epoch, the payments of each epoch,
and the chain's parameters. After every block, books and chain must agree to the last unit.

``test_machine`` plants faults to show that the machine finds them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from dii.application import BlockResult, TxResult, actions, messages
from dii.application.bank import supply
from dii.application.records import ACCOUNTS, CHAIN, CONTRACTS, GATEWAYS, SCOPES, STREAMS, Account
from dii.crypto import SigningKey, claim_address, contract_address, sha256
from dii.genesis import TREASURY
from dii.minting import FixedEmission, Uptime
from dii.units import SECOND
from tests.chains import (
    ALICE,
    BOB,
    CAROL,
    EPOCH,
    OPENING,
    REPORTERS,
    START,
    THIEF,
    Chain,
    gateway,
    price_of,
    report,
    reserved,
    scope,
    sign,
    stream,
)
from tests.deployments import BANK, compiled, wire

PEOPLE = (ALICE, BOB, CAROL, THIEF)
HONEST, LIAR = REPORTERS[:3], REPORTERS[3]
VALIDATORS = tuple(SigningKey.derive(7, f"machine-{number}") for number in range(4))
OPERATOR = bytes([0xC0]) * 20
CLAIM = claim_address("main", OPERATOR)
KEPT = contract_address(ALICE.address, 0)
"""Contract that keeps the deposits of all accounts apart, deployed in the first block."""

WINDOW, DELAY, VOTING = 600 * SECOND, 5_400 * SECOND, 7_200 * SECOND
GATEWAYS_OF = range(1, 5)
UNPAID = 16
DUTIES = messages.RegisterGateways | messages.Claim | messages.ReportManifest | messages.ReportChunk

Values = dict[bytes, int]
"""Gateway hash to the one metric of this chain."""


@dataclass
class Books:
    """Model of the chain: the expected state, computed from the messages by plain rules."""

    balances: Counter[bytes] = field(default_factory=Counter)
    nonces: Counter[bytes] = field(default_factory=Counter)
    failures: Counter[tuple[bytes, int]] = field(default_factory=Counter)
    deposits: Counter[bytes] = field(default_factory=Counter)
    minted: int = 0
    burned: int = 0
    dust: int = 0
    price: int = 1
    owners: dict[bytes, list[tuple[int, bytes]]] = field(default_factory=dict)
    named: dict[bytes, dict[bytes, tuple[bytes, int]]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    claimed: bytes | None = None
    manifests: dict[tuple[int, bytes], messages.ReportManifest] = field(default_factory=dict)
    reports: dict[int, dict[bytes, Values]] = field(default_factory=lambda: defaultdict(dict))
    said: dict[bytes, Values] = field(default_factory=dict)
    settled: int = 0
    pools: list[tuple[int, int]] = field(default_factory=lambda: [(0, 1_000)])
    proposals: list[tuple[actions.Action, int, dict[bytes, bool]]] = field(default_factory=list)
    passed: dict[int, int] = field(default_factory=dict)
    enacted: set[int] = field(default_factory=set)
    seen: Counter[str] = field(default_factory=Counter)

    def resolve(self, address: bytes) -> bytes:
        return self.claimed if address == CLAIM and self.claimed else address

    def owner(self, key: bytes, epoch: int) -> bytes | None:
        return next(
            (who for since, who in reversed(self.owners.get(key, [])) if since <= epoch), None
        )

    def names(self, key: bytes, reporter: bytes, account: bytes, now: int, needed: int) -> bool:
        """Note a reporter's vote for an account; return whether it now has enough votes."""
        votes = self.named[key]
        for old in [who for who, (_, at) in votes.items() if now >= at + WINDOW]:
            del votes[old]
        votes[reporter] = account, now
        if sum(one == account for one, _ in votes.values()) < needed:
            return False
        votes.clear()
        return True

    # --- what messages do ---------------------------------------------------------------------

    def deliver(
        self, key: SigningKey, message: messages.Message, result: TxResult, now: int, signed: bytes
    ) -> None:
        """Account for a transaction that was executed, whether it succeeded or not."""
        who, epoch = key.address, max(0, (now - START) // EPOCH)
        duty = is_duty(key, message) and self.failures[who, epoch] < UNPAID
        covered = reserved(signed) * self.price
        self.nonces[who] += 1
        assert result.fee in (0, price_of(signed, result) * self.price)
        if result.fee == 0 and self.price:
            assert duty, "what is no duty is paid for"
            self.failures[who, epoch] += result.code != 0
        self.balances[who] -= result.fee
        self.balances[TREASURY] += result.fee
        self.seen[f"{type(message).__name__} {'done' if result.code == 0 else 'refused'}"] += 1
        if result.code == 0:
            self.apply(key, message, now)
        else:
            assert not self.must_succeed(who, message, covered), result
        assert self.balances[who] >= 0

    def must_succeed(self, who: bytes, message: messages.Message, covered: int) -> bool:
        """Tell whether a message must succeed; its fee has been paid already."""
        left = self.balances[who] - covered
        match message:
            case messages.Transfer(amount=amount) | messages.Burn(amount):
                return left >= amount
            case messages.Call(function="take", arguments=arguments):
                return self.deposits[who] >= int.from_bytes(arguments[2:])
        return False

    def apply(self, key: SigningKey, message: messages.Message, now: int) -> None:
        who, epoch = key.address, (now - START) // EPOCH
        match message:
            case messages.Transfer(to, amount):
                self.move(who, self.resolve(to), amount)
            case messages.Burn(amount):
                self.balances[who] -= amount
                self.burned += amount
            case messages.Call(function="put", value=value):
                self.move(who, KEPT, value)
                self.deposits[who] += value
            case messages.Call(arguments=arguments):
                amount = int.from_bytes(arguments[2:])
                assert self.deposits[who] >= amount, "nobody takes what others have put"
                self.move(KEPT, who, amount)
                self.deposits[who] -= amount
            case messages.AssignGateway(_, one, to):
                last = self.owner(one, epoch + 1)
                assert last is not None
                assert self.resolve(last) == who, "nobody hands on what is another's"
                pairs = [pair for pair in self.owners[one] if pair[0] != epoch + 1]
                self.owners[one] = sorted([*pairs, (epoch + 1, to)], key=lambda pair: pair[0])
            case messages.RegisterGateways(_, ((one, to),)):
                assert key in REPORTERS[:4]
                self.register(one, who, to, now)
            case messages.Claim():
                assert key in REPORTERS[:4]
                self.claim(who, message, now)
            case messages.ReportManifest():
                assert (message.epoch, who) not in self.reports
                self.manifests[message.epoch, who] = message
            case messages.ReportChunk():
                manifest = self.manifests[message.epoch, who]
                assert manifest.chunks == (sha256(message.data),)
                assert who not in self.reports[message.epoch], "a report counts once"
                self.reports[message.epoch][who] = self.said[message.data]
            case messages.Propose(action):
                assert key in VALIDATORS
                self.proposals.append((action, now, {}))
            case messages.Vote(number, approve):
                self.vote(key, number, now, approve=approve)

    def move(self, sender: bytes, to: bytes, amount: int) -> None:
        self.balances[sender] -= amount
        self.balances[to] += amount

    def register(self, one: bytes, reporter: bytes, to: bytes, now: int) -> None:
        epoch = (now - START) // EPOCH
        pairs = self.owners.get(one)
        if pairs is None:
            if self.names(one, reporter, to, now, needed=2):
                self.owners[one] = [(self.settled, to)]
        elif pairs[-1][1] == to:
            self.named[one].pop(reporter, None)
        elif self.names(one, reporter, to, now, needed=3):
            since = max(epoch + 1, -(-(now + DELAY - START) // EPOCH))
            kept = [pair for pair in pairs if pair[0] <= epoch + 1 and pair[0] < since]
            if not kept or kept[-1][1] != to:
                kept.append((since, to))
            self.seen["bound anew"] += 1
            self.owners[one] = kept

    def claim(self, reporter: bytes, message: messages.Claim, now: int) -> None:
        to = sha256(message.public_key)[:20]
        assert self.claimed in (None, to), "a claim account opens to one key"
        if self.claimed is None and self.names(CLAIM, reporter, to, now, needed=2):
            self.claimed = to
            self.seen["claimed"] += 1
            self.move(CLAIM, to, self.balances[CLAIM])

    def vote(self, key: SigningKey, number: int, now: int, *, approve: bool) -> None:
        _, opened, votes = self.proposals[number]
        assert key in VALIDATORS
        assert now < opened + VOTING
        assert number not in self.passed
        votes[key.address] = approve
        if 3 * sum(votes.values()) > 2 * len(VALIDATORS):
            self.passed[number] = now + DELAY

    # --- what follows at a block's end --------------------------------------------------------

    def enact(self, now: int) -> None:
        """Enact decisions once their delay is over, and not before."""
        for number, acts in self.passed.items():
            if number in self.enacted or now < acts:
                continue
            self.enacted.add(number)
            self.seen[f"{type(self.proposals[number][0]).__name__} enacted"] += 1
            match self.proposals[number][0]:
                case actions.SetGas(price):
                    self.price = price
                case actions.SpendTreasury(to, amount) if self.balances[TREASURY] >= amount:
                    self.move(TREASURY, self.resolve(to), amount)
                case actions.SetStream(policy=policy):
                    since = max(0, -(-(now - START) // EPOCH))
                    self.pools.append((since, dict(policy.parameters)["amount"]))

    def settle(self, now: int, rows: dict[str, list[tuple[Any, ...]]]) -> None:
        """Pay the epochs that can be paid; the chain must pay exactly these."""
        paid = defaultdict(list)
        for _, epoch, _, one, payee, weight, amount, *_ in rows.get("receipts", []):
            paid[epoch].append((one, payee, weight, amount))
        while True:
            epoch, end = self.settled, START + (self.settled + 1) * EPOCH
            said = self.reports[epoch]
            whole = len(said) == 4 or (len(said) >= 3 and now >= end + WINDOW)
            if now < end or not whole:
                break
            assert paid.pop(epoch, []) == list(self.pay(epoch, said))
            self.settled += 1
            self.seen[f"epoch settled by {len(said)}"] += 1
        assert not paid, "no pay without reports of a quorum"

    def pay(self, epoch: int, said: dict[bytes, Values]) -> Iterator[tuple[bytes, bytes, int, int]]:
        weights = {}
        for one in sorted(set().union(*said.values())):
            values = {who: rows.get(one, 0) for who, rows in said.items()}
            if sum(one in rows for rows in said.values()) < 2:
                continue
            weights[one] = sorted(values.values())[(len(values) - 1) // 2]
            honest = [value for who, value in values.items() if who != LIAR.address]
            assert min(honest) <= weights[one] <= max(honest), "a liar decides nothing"
        total = sum(weights.values())
        pool = [amount for since, amount in self.pools if since <= epoch][-1]
        if total:
            self.minted += pool
            self.dust += pool
        pot = self.dust
        for one, weight in weights.items():
            amount = pot * weight // total if total else 0
            owner = self.owner(one, epoch)
            payee = TREASURY if owner is None else self.resolve(owner)
            self.dust -= amount
            self.balances[payee] += amount
            yield one, payee, weight, amount


def is_duty(key: SigningKey, message: messages.Message) -> bool:
    """Tell whether a message is a duty of its sender, and thus free if it succeeds."""
    if isinstance(message, messages.Propose | messages.Vote):
        return key in VALIDATORS
    return isinstance(message, DUTIES) and key in REPORTERS[:4]


people = st.sampled_from(PEOPLE)
addresses = st.sampled_from([*(one.address for one in PEOPLE), CLAIM, TREASURY])
gateways = st.sampled_from([gateway(number) for number in GATEWAYS_OF])
reporters = st.sets(st.sampled_from(REPORTERS[:4]), min_size=1).map(
    lambda found: [one for one in REPORTERS[:4] if one in found]
)
amounts = st.sampled_from([1, 7, 1_000, OPENING // 3, OPENING])
decisions = st.sampled_from(
    [
        *(actions.SetGas(price, 1) for price in (1, 2, 5)),
        *(
            actions.SpendTreasury(to, amount)
            for to in (THIEF.address, CLAIM)
            for amount in (1, 10**12)
        ),
        *(
            actions.SetStream("main", "main", Uptime().spec(), FixedEmission(amount).spec(), None)
            for amount in (7, 500, 1_001)
        ),
    ]
)


class Economy(RuleBasedStateMachine):
    """Participants who send messages, blocks with these messages, and the books."""

    def __init__(self) -> None:
        super().__init__()
        self.chain = Chain(
            scopes=[scope(reporters=REPORTERS[:4])],
            streams=[stream()],
            validators=[{"public_key": one.public_key.hex(), "power": 1} for one in VALIDATORS],
            governance={"delay_seconds": DELAY // SECOND, "voting_seconds": VOTING // SECOND},
            report_window_seconds=WINDOW // SECOND,
        )
        (deployed,) = self.chain.do(ALICE, messages.Deploy("main", compiled(BANK), wire(), 0, 0, 0))
        assert deployed.code == 0
        self.books = Books(minted=4 * OPENING)
        self.books.balances.update({one.address: OPENING for one in PEOPLE})
        self.books.balances[ALICE.address] -= deployed.fee
        self.books.balances[TREASURY] += deployed.fee
        self.books.nonces[ALICE.address] += 1
        self.said: list[tuple[SigningKey, messages.Message, int, bytes]] = []
        self.old: list[tuple[SigningKey, messages.Message, int, bytes]] = []

    def say(self, key: SigningKey, *contents: messages.Message) -> None:
        """Sign messages with the nonces that come next."""
        for message in contents:
            waiting = sum(one is key for one, *_ in self.said)
            nonce = self.books.nonces[key.address] + waiting
            signed = sign(self.chain.app.genesis.hash, key, nonce, message)
            self.said.append((key, message, nonce, signed))

    # --- participants ---------------------------------------------------------------------------

    @rule(who=people, to=addresses, amount=amounts)
    def transfer(self, who: SigningKey, to: bytes, amount: int) -> None:
        self.say(who, messages.Transfer(to, amount))

    @rule(who=people, amount=amounts)
    def burn(self, who: SigningKey, amount: int) -> None:
        self.say(who, messages.Burn(amount))

    @rule(who=people, amount=amounts)
    def deposit(self, who: SigningKey, amount: int) -> None:
        self.say(who, messages.Call(KEPT, "put", wire(), amount))

    @rule(who=people, amount=st.sampled_from([1, 7, 1_000, OPENING // 3]))
    def withdraw(self, who: SigningKey, amount: int) -> None:
        self.say(who, messages.Call(KEPT, "take", wire(amount), 0))

    @rule(who=people, one=gateways, to=addresses)
    def assign(self, who: SigningKey, one: bytes, to: bytes) -> None:
        self.say(who, messages.AssignGateway("main", one, to))

    # --- reporters and validators, and impostors ------------------------------------------------

    @rule(who=reporters, one=gateways, to=addresses)
    def register(self, who: list[SigningKey], one: bytes, to: bytes) -> None:
        for key in who:
            self.say(key, messages.RegisterGateways("main", ((one, to),)))

    @rule(who=reporters, owner=people)
    def claim(self, who: list[SigningKey], owner: SigningKey) -> None:
        for key in who:
            self.say(key, messages.Claim("main", OPERATOR, owner.public_key))

    @rule(
        who=st.sets(st.sampled_from(HONEST), min_size=1).map(lambda found: sorted(found, key=id)),
        truth=st.lists(st.integers(0, 10**6 - 3), min_size=4, max_size=4),
        lie=st.none() | st.dictionaries(gateways, st.integers(0, 10**6), max_size=4),
        late=st.integers(0, 1),
    )
    def report(
        self, who: list[SigningKey], truth: list[int], lie: Values | None, late: int
    ) -> None:
        """Honest reporters report slightly different values; the liar reports any values."""
        epoch = self.books.settled + late
        self.make(max(1, (START + (epoch + 1) * EPOCH - self.chain.time) // SECOND))
        if lie is not None:
            self.reports(LIAR, epoch, lie)
        for number, key in enumerate(HONEST):
            if key in who:
                rows = {gateway(1 + at): value + number for at, value in enumerate(truth) if value}
                self.reports(key, epoch, rows)

    def reports(self, key: SigningKey, epoch: int, rows: Values) -> None:
        contents = report(epoch, {one: [value] for one, value in rows.items()})
        for message in contents:
            if isinstance(message, messages.ReportChunk):
                self.books.said[message.data] = rows
        if rows:
            self.say(key, *contents)

    @rule(who=st.sampled_from(VALIDATORS), action=decisions)
    def propose(self, who: SigningKey, action: actions.Action) -> None:
        self.say(who, messages.Propose(action))

    @precondition(lambda self: self.books.proposals)
    @rule(
        who=st.sets(st.sampled_from(VALIDATORS), min_size=1),
        back=st.integers(0, 3),
        approve=st.sampled_from([True, True, True, False]),
    )
    def vote(self, who: set[SigningKey], back: int, approve: bool) -> None:
        number = max(0, len(self.books.proposals) - 1 - back)
        for key in VALIDATORS:
            if key in who:
                self.say(key, messages.Vote(number, approve))

    @rule(
        who=people,
        message=st.one_of(
            st.builds(
                lambda one: messages.RegisterGateways("main", ((one, THIEF.address),)), gateways
            ),
            st.just(messages.Claim("main", OPERATOR, THIEF.public_key)),
            st.builds(messages.Propose, decisions),
            st.builds(messages.Vote, st.integers(0, 3), st.just(value=True)),
        ),
    )
    def pretend(self, who: SigningKey, message: messages.Message) -> None:
        """Send a message that its sender has no right to send."""
        self.say(who, message)

    @rule(
        action=decisions,
        who=st.sets(st.sampled_from(VALIDATORS), min_size=2),
        waits=st.lists(st.sampled_from([1, 1_800, 5_399]), max_size=3),
    )
    def decide(self, action: actions.Action, who: set[SigningKey], waits: list[int]) -> None:
        """Vote by several validators, and let time pass, with or without reaching the delay."""
        number = len(self.books.proposals)
        self.say(VALIDATORS[0], messages.Propose(action))
        self.make(1)
        if len(self.books.proposals) > number:
            for key in VALIDATORS:
                if key in who:
                    self.say(key, messages.Vote(number, approve=True))
        for wait in (1, *waits):
            self.make(wait)

    @precondition(lambda self: self.old)
    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        """Send an old transaction again."""
        self.said.append(data.draw(st.sampled_from(self.old[-20:])))

    @rule(who=people, amount=amounts, ahead=st.integers(-1, 2))
    def forge(self, who: SigningKey, amount: int, ahead: int) -> None:
        """Sign for another chain, or with a nonce that is not the next."""
        nonce = max(0, self.books.nonces[who.address] + ahead)
        signed = sign(
            sha256(b"another chain"), who, nonce, messages.Transfer(THIEF.address, amount)
        )
        self.said.append((who, messages.Transfer(THIEF.address, amount), -1, signed))

    # --- blocks ---------------------------------------------------------------------------------

    @rule(
        wait=st.sampled_from([1, 1, 1, 60, 700, 3_600, 3_600, 5_400, 7_200]),
        honest=st.sampled_from([True, True, True, False]),
    )
    def block(self, wait: int, honest: bool) -> None:
        """Let some time pass."""
        self.make(wait, honest=honest)

    def make(self, wait: int, *, honest: bool = True) -> None:
        """Make a block of the sent messages, by an honest proposer or by one who includes any."""
        app, chain = self.chain.app, self.chain
        wires = [signed for *_, signed in self.said]
        if honest:
            wires = app.prepare_proposal(wires, 1 << 20, chain.time + wait * SECOND)
            accepted = app.process_proposal(wires, chain.time + wait * SECOND)
            assert accepted, "what is proposed is accepted"
        chain.time += wait * SECOND
        result = app.finalize_block(app.height + 1, chain.time, wires, VALIDATORS[0].address)
        again = app.finalize_block(app.height + 1, chain.time, wires, VALIDATORS[0].address)
        assert (result.app_hash, result.results) == (again.app_hash, again.results)
        app.commit()
        assert app.state.committed_root == result.app_hash
        self.account(wires, result)
        self.old += self.said
        self.said = []

    def account(self, wires: list[bytes], result: BlockResult) -> None:
        books, now = self.books, self.chain.time
        by_wire = {signed: one for *one, signed in self.said}
        fees = books.balances[TREASURY]
        for signed, one in zip(wires, result.results):
            key, message, nonce = by_wire[signed]
            who, epoch = key.address, max(0, (now - START) // EPOCH)
            duty = is_duty(key, message) and books.failures[who, epoch] < UNPAID
            paid = books.balances[who] >= reserved(signed) * books.price
            runs = nonce == books.nonces[who] and (duty or paid)
            if runs:
                # The treasury gets its fees at the block's end, so they cannot be spent before.
                books.deliver(key, message, one, now, signed)
            else:
                assert one.code
                assert (one.gas, one.fee) == (0, 0), "what may not stand in a block does nothing"
        assert books.balances[TREASURY] >= fees
        books.enact(now)
        books.settle(now, result.rows)
        self.compare()

    def compare(self) -> None:
        state, books = self.chain.app.state, self.books
        held = {address: one for (address,), one in state.items(ACCOUNTS)}
        for address in held.keys() | books.balances.keys() | books.nonces.keys():
            wanted = Account(books.balances[address], books.nonces[address])
            assert held.get(address, Account(0, 0)) == wanted
        assert books.balances[KEPT] == sum(books.deposits.values())
        money = supply(state)
        assert (money.minted, money.burned) == (books.minted, books.burned)
        purses = sum(one.purse for _, one in state.items(CONTRACTS))
        dust = sum(one.dust for _, one in state.items(STREAMS))
        assert dust == books.dust
        assert sum(one.balance for one in held.values()) + purses + dust == (
            money.minted - money.burned
        )
        chain, main = state.get(CHAIN), state.get(SCOPES, "main")
        assert chain is not None
        assert main is not None
        assert chain.gas_price == books.price, "nothing acts before its delay"
        assert main.next_epoch == books.settled
        for number in GATEWAYS_OF:
            binding = state.get(GATEWAYS, "main", gateway(number))
            for epoch in range(books.settled, books.settled + 8):
                found = binding.owner(epoch) if binding else None
                assert found == books.owner(gateway(number), epoch), "nobody is bound without right"

    def teardown(self) -> None:
        SEEN.update(self.books.seen)


SEEN: Counter[str] = Counter()
"""Situations that the machines of this process have met, with their number."""
