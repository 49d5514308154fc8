"""Faults of validators and reporters together: money stays whole, honest operators are paid."""

from __future__ import annotations

from collections.abc import Sequence

from dii.application import Application
from dii.application.bank import account
from dii.application.messages import Claim, Message, RegisterGateways
from dii.application.records import FORWARDS, SCOPES
from dii.consensus.node import surplus
from dii.crypto import SigningKey, claim_address
from dii.ledger import transaction
from dii.ledger.state import State
from dii.testing import Abci, Behaviour, Crash, Faults, Simulation, check
from dii.testing.simulator import Replica
from tests.chains import BOB, CAROL, EPOCH, REPORTERS, START, gateway, genesis, report, scope, sign

FOUR = [SigningKey.derive(7, f"validator {number}") for number in range(4)]
OPERATOR = bytes(range(20))
"""Keyed hash of an operator without an account."""
CLAIM = claim_address("main", OPERATOR)
GENESIS = genesis(
    validators=[{"public_key": key.public_key.hex(), "power": 1} for key in FOUR],
    scopes=[scope(reporters=REPORTERS[:4])],
)


class Censor(Application):
    """Application of a validator that leaves claims out of its proposals."""

    def prepare_proposal(self, wires: Sequence[bytes], max_bytes: int, time: int) -> list[bytes]:
        return super().prepare_proposal([one for one in wires if not claims(one)], max_bytes, time)


def claims(wire: bytes) -> bool:
    """Tell whether a transaction is a claim."""
    return transaction.decode(wire).message[0] == KIND


KIND = transaction.decode(
    sign(GENESIS.hash, BOB, 0, Claim("main", OPERATOR, BOB.public_key))
).message[0]


class Run:
    """Simulated validators of a chain with four reporters."""

    def __init__(self, faults: Faults, censor: int | None = None) -> None:
        def make(number: int) -> Abci:
            return (Censor if number == censor else Application)(GENESIS)

        self.sim = Simulation(
            make, [1] * 4, faults=faults, seed=7, chain=GENESIS.hash, start=START, keys=FOUR
        )
        self.sim.until(height=1)

    @property
    def reader(self) -> Replica:
        return self.sim.reader

    @property
    def state(self) -> State:
        app = self.reader.app
        assert isinstance(app, Application)
        return app.state

    def send(self, key: SigningKey, *messages: Message) -> None:
        """Have a key's messages in the chain of every honest validator that is up."""
        nonce = account(self.state, key.address).nonce
        for number, message in enumerate(messages):
            self.sim.submit(sign(GENESIS.hash, key, nonce + number, message))
        done = nonce + len(messages)
        self.sim.until(lambda: account(self.state, key.address).nonce == done)

    def settle(self, epoch: int, rows: dict[int, int], lies: dict[int, int]) -> None:
        """Have three reporters tell the truth about an epoch, and one lie, until it is settled."""
        self.sim.jump(START + (epoch + 1) * EPOCH)
        self.sim.until(lambda: self.reader.head.header.time >= START + (epoch + 1) * EPOCH)
        for number, key in enumerate(REPORTERS[:4]):
            told = lies if number == 3 else rows
            self.send(key, *report(epoch, {gateway(one): [up] for one, up in told.items()}))
        self.sim.until(lambda: self.state.require(SCOPES, "main").next_epoch > epoch)

    def check(self) -> None:
        """Check every honest chain, and its money after each block."""

        def audit(app: Abci) -> str:
            assert isinstance(app, Application)
            return f"{surplus(app.state)} more held than minted" if surplus(app.state) else ""

        height = self.reader.head.height
        self.sim.until(height=height)
        check(self.sim, audit)


def register(run: Run) -> None:
    """Bind gateway 1 to bob, 2 to the operator's claim account, and 3 to carol."""
    owners = ((gateway(1), BOB.address), (gateway(2), CLAIM), (gateway(3), CAROL.address))
    for key in REPORTERS[:4]:
        run.send(key, RegisterGateways("main", owners))


def test_a_third_of_the_reporters_lie_while_a_validator_is_down_and_the_honest_are_paid():
    down = Crash(1, at=2.0, down=3 * EPOCH / 1_000_000)
    run = Run(Faults(loss=0.1, crashes=[down]))
    register(run)
    before = account(run.state, BOB.address).balance, account(run.state, CAROL.address).balance
    for epoch in range(2):
        run.settle(epoch, {1: 600_000, 2: 400_000}, lies={3: 1_000_000})
    assert account(run.state, BOB.address).balance == before[0] + 2 * 600
    assert account(run.state, CLAIM).balance == 2 * 400
    assert account(run.state, CAROL.address).balance == before[1]
    assert not run.sim.replicas[1].up
    run.sim.jump(START + 5 * EPOCH)
    run.check()
    assert run.sim.replicas[1].head.height >= run.reader.head.height - 1


def test_a_claim_that_one_proposer_censors_is_in_a_block_of_another_and_forwards_the_money():
    run = Run(Faults(byzantine={2: Behaviour.WITHHOLD}), censor=0)
    register(run)
    run.settle(0, {1: 600_000, 2: 400_000}, lies={1: 1_000_000})
    for key in REPORTERS[:3]:
        run.send(key, Claim("main", OPERATOR, CAROL.public_key))
    assert run.state.get(FORWARDS, CLAIM) == CAROL.address
    had = account(run.state, CAROL.address).balance
    run.settle(1, {1: 600_000, 2: 400_000}, lies={1: 1_000_000})
    assert account(run.state, CAROL.address).balance == had + 400
    blocks = [decision.proposal.block for decision in run.reader.disk.blocks]
    censored = [block for block in blocks if block.header.proposer == FOUR[0].address]
    assert censored
    assert not any(claims(wire) for block in censored for wire in block.transactions)
    run.check()
