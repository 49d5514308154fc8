"""Seeded runs of simulated validators: ``python -m tests.runs SEED...`` repeats and prints some.

Half of the runs draw faults at random, half follow a directed schedule. All faults of the network
end at a drawn time, after which the run must go on as fast as Tendermint promises. One run in ten
replicates the economy's application and signed transfers, the others count.
"""

from __future__ import annotations

import random
import sys
from collections import Counter as Tally
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

from dii import crypto
from dii.application import Application, bank, total_money
from dii.application.messages import Transfer
from dii.consensus.tendermint import Proposal, Rotation, Step, Timeouts
from dii.crypto import SigningKey
from dii.ledger.block import PREVOTE
from dii.testing import (
    Behaviour,
    Crash,
    Event,
    Faults,
    Partition,
    Simulation,
    Violation,
    amnesia,
    check,
)
from dii.units import SECOND
from tests.chains import ALICE, BOB, CAROL, START, genesis, sign
from tests.counter import Committee, Counter

TIMEOUTS = (
    Timeouts(),
    Timeouts(SECOND * 6 // 10, SECOND // 5, SECOND // 5, SECOND // 10, SECOND // 5),
    Timeouts(SECOND // 5, SECOND // 20, SECOND // 20, SECOND // 20, SECOND // 5),
)
"""The last ones are shorter than three delays in the first rounds."""
FEATURES = ("round", "lock", "relock", "equivocation", "restart", "change")
"""Seen in a run: a round after the first, a lock, a lock that is replaced or overridden by line 29,
an equivocation, a restart, a change of validators."""


@dataclass
class Run:
    """A drawn run: the simulation, and what it should come to.

    Attributes
    ----------
    height
        To be decided by all honest validators.
    calm
        Seconds after which the network has no more faults.
    live
        Whether Byzantine validators have less than a third of the power all along.
    economy
        Whether the application is the economy's.
    audit
        Takes the application after each block, returns what is wrong with it.
    """

    seed: int
    schedule: str
    height: int
    calm: float
    live: bool
    economy: bool = False
    audit: Callable[[Any], str] = lambda _: ""
    simulation: Simulation = field(init=False)

    def play(self) -> Tally[str]:
        """Run and check; return what was seen."""
        run = self.simulation
        try:
            self._go()
            check(run, self.audit)
            honest = {one.number for one in run.replicas if one.honest}
            if blamed := honest & amnesia(run):
                raise Violation(run, f"honest validators {blamed} voted against their locks")
            keys = {one.key.public_key for one in run.replicas if one.honest}
            if any(evidence.first.public_key in keys for _, evidence in run.accused):
                raise Violation(run, "an honest validator is accused")
            if self.live:
                self._check_pace()
        except Exception as error:
            what = (
                ""
                if isinstance(error, Violation)
                else f"seed {self.seed}: {type(error).__name__}: "
            )
            command = f"python -m tests.runs {self.seed}"
            raise AssertionError(f"{what}{error}; repeat with: {command}") from error
        return self.seen()

    def _go(self) -> None:
        run = self.simulation
        run.until(lambda: run.seconds >= self.calm)
        run.faults = replace(run.faults, loss=0.0, direct=None)
        if self.live:
            run.until(height=self.height)
        else:  # a third may keep the others from going on
            end = run.seconds + 30
            run.until(lambda: run.seconds > end or run.reader.head.height >= self.height)

    @property
    def quiet(self) -> int:
        """Time of the last fault of the network, in microseconds since 1970."""
        ends = [event.time for event in self.simulation.events if event.kind == "restart"]
        return max([self.simulation.start + round(self.calm * SECOND), *ends])

    def _check_pace(self) -> None:
        """Check that each height takes at most f + 2 rounds of honest proposers."""
        run, longest = self.simulation, round(SECOND * self.simulation.faults.delay[1])
        byzantine = {one.key.public_key for one in run.replicas if not one.honest}
        for height, decided, begun, proposers in self.rounds():
            counted = [
                number
                for number in range(decided + 1)
                if begun[number] >= self.quiet
                and proposers[number] not in byzantine
                and min(run.timeouts.of(step, number) for step in Step) > 3 * longest
            ]
            if len(counted) > len(byzantine) + 2:
                raise Violation(run, f"height {height} took the rounds {counted}")

    def rounds(self) -> Iterator[tuple[int, int, list[int], list[bytes]]]:
        """Yield height, round of the decision, and by round its first entry and its proposer."""
        run = self.simulation
        honest = {one.number for one in run.replicas if one.honest}
        entered: dict[tuple[int, int], int] = {}
        decided: dict[int, int] = {}
        for event in run.events:
            if event.kind == "round" and event.node in honest:
                entered.setdefault((event.height, event.round), event.time)
            elif event.kind == "decide" and event.node in honest:
                decided.setdefault(event.height, event.round)
        rotation = Rotation.begin(run.validators[1])
        for height, number in sorted(decided.items()):
            if height > 1:
                rotation = rotation.updated(run.validators[height]).turned()
            proposers = [
                (rotation.turned(n) if n else rotation).proposer for n in range(number + 1)
            ]
            # A round that all skipped begins with the one after it.
            times = [
                min(entered[height, n] for n in range(one, number + 1) if (height, n) in entered)
                for one in range(number + 1)
            ]
            yield height, number, times, proposers

    def seen(self) -> Tally[str]:
        """Return the features of the run."""
        run, locks = self.simulation, dict[tuple[int, int], bytes]()
        honest = {one.number for one in run.replicas if one.honest}
        found = Tally[str]()
        for event in run.events:
            if event.node not in honest or event.target is not None:
                continue
            place = event.node, event.height
            found["round"] |= event.kind == "round" and event.round > 0
            found["restart"] |= event.kind == "restart"
            if event.locked is not None:
                found["lock"] = 1
                found["relock"] |= locks.setdefault(place, event.locked) != event.locked
                if event.kind == "prevote" and event.value is not None:
                    found["relock"] |= event.value != event.locked
        found["equivocation"] = int(bool(run.accused))
        found["change"] = int(
            len({repr(sorted(one.items())) for one in run.validators.values()}) > 1
        )
        return found


# --- drawing -------------------------------------------------------------------------------------


def draw(seed: int) -> Run:
    """Draw a run."""
    choose = random.Random(f"run {seed}")
    count = choose.randint(4, 7)
    powers = [choose.randint(1, 10) for _ in range(count)]
    powers[0] += -sum(powers) % 3 if seed % 3 == 0 else sum(powers) % 3 == 0
    directed = seed % 2 == 1
    schedule = choose.choice(list(SCHEDULES)) if directed else "random"
    byzantine = {
        node: choose.sample(list(Behaviour), choose.choice((1, 1, 2)))
        for node in draw_byzantine(powers, choose)
        if not directed or choose.random() < 0.5
    }
    keys = [SigningKey.derive(seed, f"validator-{number}") for number in range(count)]
    economy = seed // 2 % 10 == 9
    changing = not economy and choose.random() < 0.4
    changes = draw_changes(powers, {*byzantine}, choose) if changing else []
    sets = [powers]
    for node, power in changes:
        sets.append([power if at == node else one for at, one in enumerate(sets[-1])])
    live = all(3 * sum(one[node] for node in byzantine) < sum(one) for one in sets)
    timeouts = choose.choice(TIMEOUTS)
    height = choose.randint(5, 10)
    calm = choose.uniform(*((6, 18) if directed else (2, 8))) * timeouts.propose / (3 * SECOND)
    faults = Faults(byzantine=byzantine, delay=choose.choice(((0.01, 0.1), (0.05, 0.2))))
    if directed:
        faults = SCHEDULES[schedule](faults, powers, keys, timeouts, choose)
    else:
        faults = draw_faults(faults, powers, calm, choose)
    run = Run(seed, schedule, height, calm, live, economy)
    if economy:
        replicate_transfers(run, powers, keys, faults, timeouts)
    else:
        replicate_counting(run, powers, keys, faults, timeouts, changes)
    return run


def replicate_counting(
    run: Run, powers: list[int], keys: Any, faults: Faults, timeouts: Timeouts, changes: Any
) -> None:
    """Have validators count two numbers a block, and change with some of them."""
    public = [key.public_key for key in keys]
    wires = [b"%d" % number for number in range(1, 400)]
    for number, (node, power) in enumerate(changes):
        wires[2 * number] += b" %s %d" % (public[node].hex().encode(), power)
    run.simulation = Simulation(
        lambda _: Committee(public, powers) if changes else Counter(), powers, faults=faults,
        seed=run.seed, timeouts=timeouts, chain=crypto.sha256(b"%d" % run.seed), start=START,
        keys=keys,
    )  # fmt: skip
    submit(run.simulation, iter(wires))


def replicate_transfers(
    run: Run, powers: list[int], keys: Any, faults: Faults, timeouts: Timeouts
) -> None:
    """Have validators execute two transfers a block between three accounts, and audit the books."""
    chain = genesis(
        validators=[
            {"public_key": key.public_key.hex(), "power": power} for key, power in zip(keys, powers)
        ]
    )
    run.simulation = Simulation(
        lambda _: Application(chain), powers, faults=faults, seed=run.seed, timeouts=timeouts,
        chain=chain.hash, start=chain.start_time, keys=keys,
    )  # fmt: skip
    people, nonces = (ALICE, BOB, CAROL), Tally[SigningKey]()

    def wires() -> Iterator[bytes]:
        for number in range(400):
            sender, recipient = people[number % 3], people[(number + 1) % 3]
            nonce = number // 3
            yield sign(chain.hash, sender, nonce, Transfer(recipient.address, 1 + number))

    def audit(app: Application) -> str:
        supply = bank.supply(app.state)
        surplus = total_money(app.state) - supply.minted + supply.burned
        for key in people:
            nonce = bank.account(app.state, key.address).nonce
            if nonce < nonces[key]:
                return "a nonce fell"
            nonces[key] = nonce
        return f"a surplus of {surplus}" if surplus else ""

    run.audit = audit
    submit(run.simulation, wires())


def draw_byzantine(powers: Sequence[int], choose: random.Random) -> tuple[int, ...]:
    """Draw validators with at most a third of the power, half of the time as much as possible."""
    nodes = range(len(powers))
    groups = [
        group
        for size in nodes
        for group in combinations(nodes, size)
        if 3 * sum(powers[node] for node in group) <= sum(powers)
    ]
    most = max(sum(powers[node] for node in group) for group in groups)
    if choose.random() < 0.5:
        groups = [group for group in groups if sum(powers[node] for node in group) == most]
    return choose.choice(groups)


def draw_changes(
    powers: list[int], byzantine: set[int], choose: random.Random
) -> list[tuple[int, int]]:
    """Draw changes of honest validators that leave the Byzantine ones at most a third.

    Half of the time the last validator, if honest, begins without power: ``powers`` is changed.
    """
    changes: list[tuple[int, int]] = []
    last = len(powers) - 1

    def possible(powers: Sequence[int]) -> bool:
        return sum(powers) > 3 * sum(powers[node] for node in byzantine)

    if last not in byzantine and choose.random() < 0.5 and possible([*powers[:last], 0]):
        changes.append((last, powers[last]))
        powers[last] = 0
    current = list(powers)
    for node, power in changes:
        current[node] = power
    for _ in range(choose.randint(1, 4)):
        node = choose.randrange(len(powers))
        power = choose.choice((0, *range(1, 11)))
        after = [power if at == node else one for at, one in enumerate(current)]
        if node not in byzantine and possible(after) and sum(map(bool, after)) > 3:
            current = after
            changes.append((node, power))
    return changes


def submit(run: Simulation, wires: Iterator[bytes]) -> None:
    """Submit two transactions at each new height."""
    reached = 0

    def more(*_: object) -> None:
        nonlocal reached
        if run.height > reached:
            reached = run.height
            for _ in range(2):
                run.submit(next(wires))

    more()
    run.watchers.append(more)


def draw_faults(
    faults: Faults, powers: Sequence[int], calm: float, choose: random.Random
) -> Faults:
    """Draw faults of all kinds that end at a time; one honest validator never crashes."""
    honest = [node for node in range(len(powers)) if node not in faults.byzantine and powers[node]]
    crashing = choose.sample(honest[1:], min(len(honest) - 1, choose.randint(0, 2)))
    crashes = [
        Crash(node, at=choose.uniform(0, calm), down=choose.uniform(0.1, 3))
        if choose.random() < 0.5
        else draw_write(node, choose)
        for node in crashing
    ]
    partitions = []
    for _ in range(choose.choice((0, 1, 2))):
        nodes = choose.sample(range(len(powers)), len(powers))
        cut, begin = choose.randrange(len(nodes)), choose.uniform(0, calm)
        groups = tuple(nodes[:cut]), tuple(nodes[cut:])
        partitions.append(Partition(begin, choose.uniform(begin, calm), groups))
    return replace(
        faults,
        loss=choose.choice((0, 0.05, 0.2, 0.4)),
        duplicate=choose.choice((0, 0.2)),
        partitions=partitions,
        crashes=crashes,
    )


def draw_write(node: int, choose: random.Random) -> Crash:
    """Draw a crash at a write."""
    lost, down = choose.random() < 0.5, choose.uniform(0.1, 3)
    return Crash(node, write=choose.randint(1, 30), lost=lost, down=down)


# --- directed schedules --------------------------------------------------------------------------


class Late:
    """Keep proposals of some rounds from all validators but one until their timeout is over."""

    def __init__(self, seed: float, count: int, timeouts: Timeouts) -> None:
        self.seed, self.count, self.timeouts = seed, count, timeouts
        self.first: dict[tuple[int, int], float] = {}

    def __call__(self, message: Any, sender: int, recipient: int, seconds: float) -> float | None:
        if not isinstance(message, Proposal):
            return 0.0
        place = message.height, message.round
        choose = random.Random(f"{self.seed} {place}")
        if choose.random() < 0.5 or recipient == choose.randrange(self.count):
            return 0.0
        wait = self.timeouts.of(Step.PROPOSE, message.round) / SECOND + 0.2
        return None if seconds < self.first.setdefault(place, seconds) + wait else 0.0


class Proof:
    """Keep a lock of round 0 secret, and show another one of round 1 to all.

    Some validators see the proposal of round 0 too late, and the prevote of one is kept from the
    others, so that it alone locks. In round 1 another one locks alone; the others learn of its
    quorum after their precommits.
    """

    def __init__(
        self, powers: Sequence[int], keys: Sequence[bytes], timeouts: Timeouts,
        choose: random.Random,
    ) -> None:  # fmt: skip
        self.timeouts = timeouts
        self.first: dict[tuple[int, int], float] = {}
        total, nodes = sum(powers), range(len(powers))
        light = [node for node in nodes if 3 * powers[node] < total]
        self.alone, other = choose.sample(light if len(light) > 1 else nodes, 2)
        self.keys = keys[self.alone], keys[other]
        self.late: set[int] = set()
        for node in choose.sample(nodes, len(nodes)):
            power = sum(powers[one] for one in self.late)
            missing = 3 * (power + powers[self.alone]) < total
            if missing and node != self.alone and 3 * (power + powers[node]) < total:
                self.late.add(node)

    def __call__(self, message: Any, sender: int, recipient: int, seconds: float) -> float | None:
        place = message.height, message.round
        begun, lengths = self.first.setdefault(place, seconds), self.timeouts
        wait = 0.0
        if isinstance(message, Proposal):
            if message.round == 0 and recipient in self.late:
                wait = lengths.propose / SECOND + 0.2
        elif message.kind == PREVOTE and message.public_key in self.keys[message.round :][:1]:
            if message.round == 0:  # until round 1 is over
                steps = [(step, number) for step in Step for number in (0, 1)]
            else:
                steps = [(Step.PREVOTE, 1)]
            wait = sum(lengths.of(*one) for one in steps) / SECOND + 0.2
        return None if seconds < begun + wait else 0.0


def _late(faults: Faults, powers: Any, keys: Any, timeouts: Timeouts, choose: Any) -> Faults:
    return replace(faults, direct=Late(choose.random(), len(powers), timeouts))


def _proof(faults: Faults, powers: Any, keys: Any, timeouts: Timeouts, choose: Any) -> Faults:
    public = [key.public_key for key in keys]
    return replace(faults, direct=Proof(powers, public, timeouts, choose))


def _crash(faults: Faults, powers: Any, keys: Any, timeouts: Timeouts, choose: Any) -> Faults:
    honest = [node for node in range(len(powers)) if node not in faults.byzantine and powers[node]]
    nodes = choose.sample(honest[1:], min(len(honest) - 1, choose.randint(1, 3)))
    crashes = [draw_write(node, choose) for node in nodes for _ in range(choose.randint(1, 3))]
    return replace(_late(faults, powers, keys, timeouts, choose), crashes=crashes)


SCHEDULES = {"late proposal": _late, "proof withheld": _proof, "crash at a write": _crash}


# --- command -------------------------------------------------------------------------------------


def line(run: Simulation, event: Event) -> str:
    """Return an event as text."""
    parties = f"{event.source} -> {event.target}" if event.target is not None else ""
    hashes = (
        f"{name} {value.hex()[:8]}"
        for name, value in (("of", event.value), ("locked", event.locked), ("valid", event.valid))
        if value
    )
    seconds = (event.time - run.start) / SECOND
    place = f"{seconds:9.3f}  {event.height}/{event.round}  validator {event.node}"
    return " ".join((place, event.kind, parties, *hashes)).rstrip()


def main(seed: int) -> None:
    """Repeat a run and print it."""
    run = draw(seed)
    faults = run.simulation.faults
    outcome = "no violation"
    try:
        run.play()
    except AssertionError as error:
        outcome = str(error)
    for event in run.simulation.events:
        print(line(run.simulation, event))
    powers = [run.simulation.powers.get(one.key.public_key, 0) for one in run.simulation.replicas]
    print(f"powers {powers}, schedule {run.schedule}, calm after {run.calm:.3f} s")
    print(replace(faults, direct=None))
    print(f"{', '.join(sorted(run.seen() - Tally())) or 'nothing'} seen: {outcome}")


if __name__ == "__main__":
    for word in sys.argv[1:]:
        main(int(word))
