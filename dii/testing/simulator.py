"""Simulator: validators that run Tendermint over a faulty network, in virtual time.

Each validator is the state machine of :mod:`dii.consensus.tendermint` with what a real one has
around it: an application, a log of inputs that is synced before anything is sent, a store of
decided blocks, a pool of transactions and of evidence. One queue of events orders all of them, and
one generator of random numbers draws delays and faults, so that a run depends on nothing but its
arguments.

As gossip does, a validator offers again what a peer at its height, or below, lacks, after each
``resend``: loss, partition and restart lose deliveries, never offers. The simulator knows what a
peer lacks; real peers tell each other. Signatures are real, and each is verified once a run.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Final, NamedTuple

from dii import crypto, errors
from dii.codec import Root
from dii.consensus.head import Head, Powers
from dii.consensus.node import uninterrupted
from dii.consensus.tendermint import (
    NO_ROUND,
    Accuse,
    Cast,
    Decide,
    Effect,
    Proposal,
    Propose,
    Rotation,
    Schedule,
    Step,
    Tendermint,
    Timeouts,
    median_time,
)  # fmt: skip
from dii.crypto import SigningKey
from dii.ledger.block import MAX_EVIDENCE, PRECOMMIT, PREVOTE, Block, Evidence, Vote
from dii.testing.abci import Abci, Finalized
from dii.testing.faults import Behaviour, Crash, Faults, Message
from dii.units import SECOND

MAX_ROUNDS: Final = 50
"""A run is given up once the timeouts of so many rounds have passed at one height."""
MAX_BYTES: Final = 1 << 21
"""Bytes of transactions in a proposal."""
SLICE: Final = 100
"""Events between two moments at which Ctrl-C can interrupt a run."""
HOUR: Final = 3600 * SECOND
KINDS: Final = {PREVOTE: "prevote", PRECOMMIT: "precommit"}


class Event(NamedTuple):
    """One step of a run.

    Attributes
    ----------
    time
        Microseconds since 1970.
    height, round
        Height and round of the message, or that the validator is in.
    node
        Number of the validator that it happens to.
    kind
        ``round``, ``proposal``, ``prevote``, ``precommit``, ``timeout``, ``decide``, ``evidence``,
        ``crash`` or ``restart``; a message that is lost is ``lost proposal`` and so on.
    source, target
        Sender and recipient of a message; the recipient is None where it is first sent.
    value
        Header hash of the message, of the decision, or of nil: None.
    locked, valid
        Header hashes that the validator is locked on, and holds for valid.
    """

    time: int
    height: int
    round: int
    node: int
    kind: str
    source: int | None = None
    target: int | None = None
    value: bytes | None = None
    locked: bytes | None = None
    valid: bytes | None = None


class _Crashed(Exception):
    """A validator stops at a write."""


Entry = Message | Schedule
"""An input of the log: a message, or a timeout that ran out."""


@dataclass
class Disk:
    """Contents of a validator's disk: inputs of a height, and decided blocks."""

    height: int = 1
    log: list[Entry] = field(default_factory=list)
    synced: int = 0
    blocks: list[Decide] = field(default_factory=list)
    writes: int = 0


class Replica:
    """One simulated validator.

    Attributes
    ----------
    number, key
        Its number, from 0, and its key.
    honest
        False for a Byzantine one.
    app, head
        Application and head of its chain.
    disk
        What it keeps: ``disk.blocks`` are its decisions, from height 1.
    machine
        Its state at the height in work; None between two heights, and while it is down.
    entered
        Time at which it began with that height, in microseconds since 1970.
    """

    def __init__(self, run: Simulation, number: int, key: SigningKey) -> None:
        self.run, self.number, self.key = run, number, key
        self.behaviours = run.faults.behaviours(number)
        self.honest = not self.behaviours
        self.disk = Disk()
        self.pool: dict[bytes, None] = {}
        self.incarnation = 0
        self.up = False
        self.entered = run.start
        self.app: Abci
        self.head: Head
        self.rotation: Rotation
        self.machine: Tendermint | None = None

    @property
    def height(self) -> int:
        """Height in work."""
        return self.head.height + 1

    @property
    def round(self) -> int:
        """Round in work."""
        return self.machine.round if self.machine else NO_ROUND

    # --- starting and stopping ------------------------------------------------------------------

    def start(self) -> None:
        """Start, at first or again: execute the stored blocks, then take in the log."""
        run = self.run
        self.up, self.machine = True, None
        self.app = run.make(self.number)
        height, root = self.app.info()
        self.head = Head(run.chain, None, root, run.powers, run.powers, None)
        self.rotation = Rotation.begin(run.powers)
        self.known: dict[bytes, Message] = {}
        self.early: dict[bytes, Message] = {}
        self.evidence: list[Evidence] = []
        self.commit: dict[bytes, Vote] = {}
        self.own: set[tuple[object, int]] = set()
        self.valid: dict[bytes, bool] = {}
        self.queue: deque[Effect] = deque()
        for decision in self.disk.blocks:
            self._execute(decision, run_app=decision.proposal.height > height)
        if self.disk.height < self.height:  # it stopped between a decision and the next height
            self.disk.height, self.disk.log, self.disk.synced = self.height, [], 0
        self._enter(list(self.disk.log))

    def stop(self) -> None:
        """Crash: what is not synced is lost."""
        self.up, self.machine = False, None
        self.incarnation += 1
        del self.disk.log[self.disk.synced :]
        self.run.note(self, "crash")

    def _write(self) -> None:
        """Count a write, and crash in the middle of it if the faults say so."""
        self.disk.writes += 1
        crash = self.run.crashes.get((self.number, self.disk.writes))
        if crash and crash.lost:
            raise _Crashed

    def _written(self) -> None:
        if (self.number, self.disk.writes) in self.run.crashes:
            raise _Crashed

    # --- heights --------------------------------------------------------------------------------

    def _enter(self, log: Sequence[Entry] = ()) -> None:
        """Begin the next height, or go on with it as the log has it."""
        self.known, self.valid = {}, {}
        early, self.early = self.early, {}
        self.entered = self.run.now
        self.run.validators[self.height] = self.head.validators
        self.own = {
            (entry.kind if isinstance(entry, Vote) else "proposal", entry.round)
            for entry in log
            if not isinstance(entry, Schedule) and entry.public_key == self.key.public_key
        }
        proposer = cache(lambda n: (self.rotation.turned(n) if n else self.rotation).proposer)
        powers = self.head.validators
        self.machine = Tendermint(self.height, powers, proposer, self.key.public_key)
        self._perform(self.machine.start())
        for entry in log:
            self._feed(entry)
        for message in early.values():
            self.receive(message)

    def next(self) -> None:
        """Leave the pause after a decision."""
        self._write()
        self.disk.height, self.disk.log, self.disk.synced = self.height, [], 0
        self._written()
        self._enter()

    def _decide(self, decision: Decide) -> None:
        self._write()
        self.disk.blocks.append(decision)
        self._written()
        self.run.note(self, "decide", decision.proposal.round, decision.proposal.value)
        self.machine = None
        self._execute(decision)
        self.run.decided(self, decision)
        behind = self.run.height > self.height
        pause = 0 if behind else self.run.timeouts.commit
        self.run.later(pause, self, self.next)

    def _execute(self, decision: Decide, *, run_app: bool = True) -> None:
        """Execute a block, and work out what the next one must build on."""
        block, head = decision.proposal.block, self.head
        result = execute(self.app, block) if run_app else None
        root, updates = self.run.results.get(block.header.hash, (b"", ()))
        if result is not None:
            root, updates = result.app_hash, tuple(result.validator_updates)
            self.run.results[block.header.hash] = root, updates
        self.head = succeed(head, block, root, updates)
        self.rotation = self.rotation.updated(self.head.validators).turned()
        self.commit = {vote.public_key: vote for vote in decision.commit}
        for wire in block.transactions:
            self.pool.pop(wire, None)
        done = {(one.first.public_key, one.first.height) for one in block.evidence}
        self.evidence = [
            one for one in self.evidence if (one.first.public_key, one.first.height) not in done
        ]

    # --- messages -------------------------------------------------------------------------------

    def receive(self, message: Message) -> None:
        """Take a message from the network."""
        ahead = message.height - self.head.height
        if ahead == 2 or (ahead == 1 and self.machine is None):
            self.early[message.signature] = message
        elif ahead == 1 and message.signature not in self.known:
            if self._is_genuine(message, self.head.validators):
                self.disk.log.append(message)
                self._feed(message)
        elif ahead == 0 and isinstance(message, Vote):
            self._late(message)

    def _late(self, vote: Vote) -> None:
        """Have a precommit that comes after the decision join the last commit."""
        if vote.public_key in self.commit and self.machine is not None:
            return
        if self._is_genuine(vote, self.head.last_validators or {}):
            if self.machine is None:
                self.known[vote.signature] = vote
            one = next(iter(self.commit.values()))
            if (vote.kind, vote.round, vote.header) == (one.kind, one.round, one.header):
                self.commit.setdefault(vote.public_key, vote)

    def lacks(self, message: Message) -> bool:
        """Tell whether a message is new at this height."""
        return message.signature not in self.known and message.signature not in self.early

    def _is_genuine(self, message: Message, powers: Powers) -> bool:
        """Tell whether a validator signed it for this chain; a proposal, with its whole block."""
        if isinstance(message, Proposal) and not message.whole:
            return False
        key, signed = message.public_key, message.message(self.run.chain)
        return key in powers and self.run.verify(key, signed, message.signature)

    def timeout(self, schedule: Schedule, height: int) -> None:
        """Take a timeout that ran out."""
        if self.machine is not None and height == self.height:
            self.disk.log.append(schedule)
            self._feed(schedule)

    def _feed(self, entry: Entry) -> None:
        """Hand an input to the machine."""
        machine = self.machine
        if machine is None:
            return
        if Behaviour.AMNESIA in self.behaviours:
            machine.locked, machine.locked_round = None, NO_ROUND
        if isinstance(entry, Schedule):
            current = entry.round == machine.round
            if current:
                self.run.note(self, "timeout", entry.round)
            self._perform(machine.on_timeout(entry.step, entry.round))
            return
        self.known[entry.signature] = entry
        if isinstance(entry, Vote):
            self._perform(machine.on_vote(entry))
        else:
            self._perform(machine.on_proposal(entry, self._is_valid(entry.block)))

    def _is_valid(self, block: Block) -> bool:
        """Judge a proposed block (``valid(v)`` of the paper); its time is the engine's to judge."""
        value = block.header.hash
        if value not in self.valid:
            time = self._block_time(block.last_commit) if block.last_commit else self.run.start
            self.valid[value] = (
                not any(self.head.faults(block, self.run.verify))
                and block.header.time == time
                and self.app.process_proposal(block.transactions, block.header.time)
            )
        return self.valid[value]

    def _block_time(self, commit: Iterable[Vote]) -> int:
        return median_time(commit, self.head.last_validators or {})

    # --- effects --------------------------------------------------------------------------------

    def _perform(self, effects: Iterable[Effect]) -> None:
        """Carry out effects, and those that they cause, in order."""
        busy = bool(self.queue)
        self.queue.extend(effects)
        while self.queue and not busy:
            effect = self.queue[0]
            match effect:
                case Propose():
                    self._once("proposal", effect.round, partial(self._proposal, effect))
                case Cast():
                    self._once(effect.kind, effect.round, partial(self._vote, effect))
                case Schedule(step, number):
                    height = self.height
                    if step is Step.PROPOSE:
                        self.run.note(self, "round", number)
                    wait = self.run.timeouts.of(step, number)
                    self.run.later(wait, self, partial(self.timeout, effect, height))
                case Accuse(evidence):
                    self.evidence.append(evidence)
                    self.run.note(self, "evidence", evidence.first.round, accused=evidence)
                case Decide():
                    self.queue.clear()
                    self._decide(effect)
                    return
            self.queue.popleft()

    def _once(self, kind: object, number: int, make: Callable[[], Message]) -> None:
        """Sign a message, sync it with all inputs before it, send it, and take it in.

        A message that the log has already is not signed again: it follows as an input.
        """
        if kind == "proposal":
            self.run.note(self, "round", number)
        if (kind, number) in self.own:
            return
        self.own.add((kind, number))
        message = make()
        self._write()
        self.disk.log.append(message)
        self.disk.synced = len(self.disk.log)
        if isinstance(message, Vote):
            self.run.votes.append(message)
        self._written()
        name = KINDS[message.kind] if isinstance(message, Vote) else "proposal"
        self.run.note(self, name, number, _value(message), source=self.number)
        self._broadcast(message)
        self._feed(message)

    def _vote(self, cast: Cast) -> Vote:
        """Sign a vote, later than the block that it is for."""
        machine, header = self.machine, self.head.header
        assert machine is not None
        least = header.time if header else self.run.start
        for message in self.known.values():
            if isinstance(message, Proposal) and message.value == cast.value:
                least = message.block.header.time
        time = max(self.run.now, least + 1)
        if Behaviour.LIE_ABOUT_TIME in self.behaviours:
            time = max(1, time + self.run.random.randint(-HOUR, HOUR))
        vote = Vote(
            cast.kind, machine.height, cast.round, cast.value, time, self.key.public_key
        )  # fmt: skip
        return vote.signed(self.run.chain, self.key)

    def _proposal(self, effect: Propose) -> Proposal:
        block = effect.block or self._new_block()
        if Behaviour.INVALID in self.behaviours and self.run.random.random() < 0.5:
            block = replace(block, header=replace(block.header, app_hash=Root(bytes(32))))
        if Behaviour.LIE_ABOUT_TIME in self.behaviours:
            time = block.header.time + self.run.random.randint(0, HOUR)
            block = replace(block, header=replace(block.header, time=time))
        proposal = Proposal(
            self.height, effect.round, effect.valid_round, block, self.key.public_key
        )
        return proposal.signed(self.run.chain, self.key)

    def _new_block(self, *, other: bool = False) -> Block:
        """Make a block of what is pooled (``getValue()`` of the paper); or a different one."""
        commit = tuple(vote for _, vote in sorted(self.commit.items()))
        if other:
            commit = self._less(commit)
        time = self._block_time(commit) if commit else self.run.start
        wires = self.app.prepare_proposal(list(self.pool), MAX_BYTES, time)
        known = {**self.head.validators, **(self.head.last_validators or {})}
        evidence = [one for one in self.evidence if one.first.public_key in known]
        return self.head.block(
            time,
            wires[:-1] if other else wires,
            self.key.public_key,
            commit,
            evidence[:MAX_EVIDENCE],
        )

    def _less(self, commit: tuple[Vote, ...]) -> tuple[Vote, ...]:
        """Return a smaller commit that still decides, or the same."""
        powers = self.head.last_validators or {}
        left = sum(powers[vote.public_key] for vote in commit[1:])
        return commit[1:] if 3 * left > 2 * sum(powers.values()) else commit

    def _broadcast(self, message: Message) -> None:
        run = self.run
        faces = self._faces(message)
        for peer in run.others(self):
            drawn = run.random.random() < 0.5 if self.behaviours else False
            if Behaviour.WITHHOLD in self.behaviours and drawn:
                continue
            run.send(self, peer, faces[peer.number % 2])
            if Behaviour.REPLAY in self.behaviours and drawn:
                for stale in self._stale(message):
                    run.send(self, peer, stale)

    def _faces(self, message: Message) -> Sequence[Message]:
        """Return a message as peers of even and of odd number get it.

        Equivocators collude: where one proposed two values, all vote for one here and for the other
        there, which splits a network if they have more than a third of the power.
        """
        run, draw, place = self.run, self.run.random, (self.height, message.round)
        equivocates = Behaviour.EQUIVOCATE in self.behaviours
        if isinstance(message, Vote):
            if not equivocates:
                return [message, message]
            known = [one.value for one in self.known.values() if isinstance(one, Proposal)]
            others = [value for value in (None, *known) if value != message.header]
            values = [message.header, draw.choice(others) if others else None]
            draw.shuffle(values)
            votes = [replace(message, header=value) for value in run.plots.get(place, values)]
            votes = [vote.signed(run.chain, self.key) for vote in votes]
            run.votes += votes
            return votes
        if equivocates:
            other = replace(message, block=self._new_block(other=True), valid_round=NO_ROUND)
            pair = sorted((message, other.signed(run.chain, self.key)), key=lambda one: one.value)
            run.plots[place] = [one.value for one in pair]
            return pair
        if Behaviour.INVALID in self.behaviours:
            other = replace(message, block=replace(message.block, transactions=(b"another",)))
            return draw.sample([message, other], 2)
        return [message, message]

    def _stale(self, message: Message) -> Iterator[Message]:
        """Yield an old message, one signed for another chain, and one in another's name."""
        draw = self.run.random
        if self.disk.log:
            old = draw.choice(self.disk.log)
            if not isinstance(old, Schedule):
                yield old
        if self.disk.blocks:
            yield draw.choice(draw.choice(self.disk.blocks).commit)
        yield message.signed(crypto.sha256(self.run.chain), self.key)
        victim = draw.choice(self.run.others(self)).key.public_key
        yield replace(message, public_key=victim)

    # --- gossip ---------------------------------------------------------------------------------

    def gossip(self) -> None:
        """Offer peers what they lack."""
        if Behaviour.WITHHOLD in self.behaviours:
            return
        for peer in self.run.others(self):
            run = self.run
            if not peer.up or run.faults.parted(self.number, peer.number, run.seconds):
                continue
            if peer.height < self.height:
                decision = self.disk.blocks[peer.height - 1]
                offers: Iterable[Message] = (decision.proposal, *decision.commit)
            elif peer.height == self.height:
                if self.machine is None or self.known.keys() <= peer.known.keys():
                    continue  # in the pause between two heights all is said
                offers = list(self.known.values())
            else:
                continue
            for message in offers:
                if peer.lacks(message):
                    self.run.send(self, peer, message)


def execute(app: Abci, block: Block) -> Finalized:
    """Execute a decided block and commit it."""
    header = block.header
    found = [(crypto.address_of(one.first.public_key), one.first.height) for one in block.evidence]
    result = app.finalize_block(
        header.height, header.time, block.transactions, header.proposer, found
    )
    app.commit()
    return result


def succeed(
    head: Head, block: Block, app_hash: bytes, updates: Iterable[tuple[bytes, int]]
) -> Head:
    """Return the head after a block whose execution gave this root and these updates."""
    after = {**head.next_validators, **dict(updates)}
    following = {key: power for key, power in sorted(after.items()) if power}
    return Head(
        head.chain, block.header, app_hash, head.next_validators, following, head.validators
    )


class Simulation:
    """A run of validators.

    Parameters
    ----------
    make
        Takes a validator's number, returns a new application in its first state.
    powers
        Voting power of each validator; one without power watches until a block gives it some.
    faults, seed, timeouts
        What goes wrong, the seed of all draws, and the timeouts of the protocol.
    chain, start
        Identity of the chain, 32 bytes, and time of the first block, in microseconds since 1970.
    keys
        Keys of the validators; by default they follow from the seed.

    Attributes
    ----------
    replicas
        The validators.
    reader
        The first that faults never make Byzantine or crash.
    events
        All that happened, as :class:`Event`.
    accused
        Evidence found, by (number of the finder, evidence).
    votes, validators
        All votes that were signed, and the validators by height.
    now
        Virtual time, in microseconds since 1970.
    """

    def __init__(
        self,
        make: Callable[[int], Abci],
        powers: Sequence[int],
        *,
        faults: Faults | None = None,
        seed: int,
        timeouts: Timeouts | None = None,
        chain: bytes = bytes(32),
        start: int = 0,
        keys: Sequence[SigningKey] = (),
    ) -> None:
        self.make, self.faults, self.seed = make, faults or Faults(), seed
        if wrong := self.faults.wrong(len(powers)):
            raise ValueError(wrong)
        self.timeouts, self.chain, self.start = timeouts or Timeouts(), chain, start
        self.random = random.Random(seed)  # noqa: S311 - draws of a simulation
        keys = keys or [SigningKey.derive(seed, f"validator-{n}") for n in range(len(powers))]
        self.powers: Powers = dict(
            sorted(
                (key.public_key, power) for key, power in zip(keys, powers, strict=True) if power
            )
        )
        self.verify = cache(crypto.verify)
        self.events: list[Event] = []
        self.accused: list[tuple[int, Evidence]] = []
        self.votes: list[Vote] = []
        self.validators: dict[int, Powers] = {}
        self.plots: dict[tuple[int, int], Sequence[bytes | None]] = {}
        self.results: dict[bytes, tuple[bytes, tuple[tuple[bytes, int], ...]]] = {}
        self.watchers: list[Callable[[Replica, Decide], None]] = []
        self.height = 1
        self.now = self._begun = start
        self._queue: list[tuple[int, int, bool, Callable[[], None]]] = []
        self._count = 0
        self.replicas = [Replica(self, number, key) for number, key in enumerate(keys)]
        self.crashes: dict[tuple[int, int], Crash] = {}
        crashing = {crash.node for crash in self.faults.crashes}
        sound = [one for one in self.replicas if one.honest and one.number not in crashing]
        self.reader = sound[0] if sound else self.replicas[0]
        for crash in self.faults.crashes:
            if crash.write is not None:
                self.crashes[crash.node, crash.write] = crash
            else:
                self._at_crash(crash)
        self.resend = round(SECOND * (self.faults.resend or self.faults.delay[1]))
        for replica in self.replicas:
            self._push(start, partial(self._guard, replica, replica.start))
            self._push(start + self.resend, partial(self._gossip, replica))

    # --- the queue ------------------------------------------------------------------------------

    @property
    def seconds(self) -> float:
        """Virtual time since the start, in seconds."""
        return (self.now - self._begun) / SECOND

    def _push(self, time: int, act: Callable[[], None], *, fixed: bool = False) -> None:
        self._count += 1
        heapq.heappush(self._queue, (time, self._count, fixed, act))

    def later(self, wait: int, replica: Replica, act: Callable[[], None]) -> None:
        """Have a replica do something after a time, unless it crashes before."""
        incarnation = replica.incarnation

        def due() -> None:
            if replica.up and replica.incarnation == incarnation:
                self._guard(replica, act)

        self._push(self.now + wait, due)

    def _guard(self, replica: Replica, act: Callable[[], None]) -> None:
        """Act for a replica, which may crash at a write."""
        try:
            act()
        except _Crashed:
            crash = self.crashes.pop((replica.number, replica.disk.writes))
            self._crash(replica, crash.down)

    def _crash(self, replica: Replica, down: float) -> None:
        replica.queue.clear()
        replica.stop()

        def restart() -> None:
            self.note(replica, "restart")
            self._guard(replica, replica.start)

        self._push(self.now + round(SECOND * down), restart, fixed=True)

    def _at_crash(self, crash: Crash) -> None:
        replica = self.replicas[crash.node]
        time = self.start + round(SECOND * (crash.at or 0))

        def due() -> None:
            if replica.up:
                self._crash(replica, crash.down)

        self._push(time, due, fixed=True)

    def _gossip(self, replica: Replica) -> None:
        if replica.up:
            replica.gossip()
        self._push(self.now + self.resend, lambda: self._gossip(replica))

    # --- the network ----------------------------------------------------------------------------

    def others(self, replica: Replica) -> list[Replica]:
        """Return all replicas but one."""
        return [one for one in self.replicas if one is not replica]

    def send(self, sender: Replica, recipient: Replica, message: Message) -> None:
        """Put a message on its way, if it is not lost."""
        faults, draw = self.faults, self.random
        low, high = faults.delay
        more = 0.0
        if faults.direct is not None:
            directed = faults.direct(message, sender.number, recipient.number, self.seconds)
            if directed is None:
                return
            more = directed
        apart = bool(faults.partitions) and faults.parted(
            sender.number, recipient.number, self.seconds
        )
        if apart or (faults.loss and draw.random() < faults.loss):
            self._delivered(sender, recipient, message, "lost ")
            return
        copies = 1 + (faults.duplicate > 0 and draw.random() < faults.duplicate)
        for _ in range(copies):
            wait = round(SECOND * (draw.uniform(low, high) + more))
            self._push(self.now + wait, lambda: self._deliver(sender, recipient, message))

    def _deliver(self, sender: Replica, recipient: Replica, message: Message) -> None:
        if recipient.up and recipient.lacks(message):
            self._delivered(sender, recipient, message)
            self._guard(recipient, lambda: recipient.receive(message))

    def _delivered(self, sender: Replica, to: Replica, message: Message, how: str = "") -> None:
        kind = KINDS[message.kind] if isinstance(message, Vote) else "proposal"
        place = message.height, message.round, to.number, how + kind
        parties = sender.number, to.number
        self.events.append(Event(self.now, *place, *parties, _value(message), *_held(to)))

    def note(
        self,
        replica: Replica,
        kind: str,
        number: int | None = None,
        value: bytes | None = None,
        source: int | None = None,
        accused: Evidence | None = None,
    ) -> None:
        """Record what happens to a replica."""
        number = replica.round if number is None else number
        if accused is not None:
            self.accused.append((replica.number, accused))
            keys = [one.key.public_key for one in self.replicas]
            source = keys.index(accused.first.public_key)
        place = self.now, replica.height, number, replica.number, kind
        self.events.append(Event(*place, source, None, value, *_held(replica)))

    def decided(self, replica: Replica, decision: Decide) -> None:
        """Tell those who watch of a decision."""
        self.height = max(self.height, replica.height)
        for watcher in self.watchers:
            watcher(replica, decision)

    # --- driving --------------------------------------------------------------------------------

    def submit(self, wire: bytes) -> None:
        """Offer a transaction to all proposers."""
        for replica in self.replicas:
            replica.pool[wire] = None

    def withdraw(self, wires: Iterable[bytes]) -> None:
        """Take transactions back that no block has."""
        for replica in self.replicas:
            for wire in wires:
                replica.pool.pop(wire, None)

    def until(self, done: Callable[[], bool] | None = None, *, height: int = 0) -> None:
        """Run until something is so, or until all honest replicas that are up decided a height.

        Raises
        ------
        NoProgress
            A validator that is waited for stays at one height for the time of 50 rounds.
        """
        honest = [one for one in self.replicas if one.honest]
        awaited, since = [self.reader] if done else honest, self.now
        steps = (self.timeouts.of(step, number) for number in range(MAX_ROUNDS) for step in Step)
        patience = sum(steps)

        def reached() -> bool:
            return all(one.up and one.head.height >= height for one in honest)

        done = done or reached
        while not done():
            with uninterrupted():  # half an event would leave a torn validator
                for _ in range(SLICE):
                    time, _, _, act = heapq.heappop(self._queue)
                    self.now = max(self.now, time)  # a crash was due in a time that was skipped
                    act()
                    if done():
                        return
            for replica in awaited:  # without a quorum of any votes no round ends
                if self.now > max(since, replica.entered) + patience:
                    raise self._stuck(replica)

    def jump(self, time: int) -> None:
        """Let virtual time pass to ``time``: messages and timeouts are as far off as before."""
        more = time - self.now
        if more > 0:
            self.now = time
            self._queue = [
                (at if fixed else at + more, count, fixed, act)
                for at, count, fixed, act in self._queue
            ]
            heapq.heapify(self._queue)

    def _stuck(self, replica: Replica) -> errors.NoProgress:
        faults = self.faults
        answers = [
            one
            for one in self.replicas
            if one.up
            and not faults.parted(replica.number, one.number, self.seconds)
            and not one.behaviours & {Behaviour.WITHHOLD, Behaviour.INVALID}
        ]
        powers = replica.head.validators
        active = Counter[str]()
        active["down"] = sum(not one.up for one in self.replicas)
        active["parted"] = sum(
            faults.parted(replica.number, one.number, self.seconds) for one in self.replicas
        )
        active["Byzantine"] = sum(not one.honest for one in self.replicas)
        text = ", ".join(f"{count} {what}" for what, count in active.items() if count)
        return errors.NoProgress(
            height=replica.height,
            round=replica.round,
            power=sum(powers.get(one.key.public_key, 0) for one in answers),
            total=sum(powers.values()),
            faults=text or "messages take longer than timeouts",
        )


def _value(message: Message) -> bytes | None:
    """Return the header hash that a message is about, or None for nil."""
    return message.header if isinstance(message, Vote) else message.value


def _held(replica: Replica) -> tuple[bytes | None, bytes | None]:
    """Return what a replica is locked on, and holds for valid."""
    machine = replica.machine
    locked = machine.locked.value if machine and machine.locked else None
    return locked, machine.valid.value if machine and machine.valid else None
