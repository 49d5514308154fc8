"""Tendermint: the decisions of one validator about one height, as a pure state machine.

"The latest gossip on BFT consensus" (Buchman, Kwon, Milosevic, arXiv:1807.04938) gives the
algorithm in 67 lines; docstrings and comments name them. The validators agree on one value per
height in rounds of three steps. The round's proposer proposes a value; validators *prevote* for it,
or for nil; and those that saw more than two thirds of the power prevote for it lock on it and
*precommit*. More than two thirds of precommits decide. Timeouts, longer in each round, end the
waiting for messages that do not come. The lock makes it safe: no validator prevotes for another
value until it sees a later quorum of prevotes for that value.

There is no clock, network or signing key here. A driver hands over messages whose signatures it has
verified, with its verdict on the proposed value, and timeouts that ran out. It gets back *effects*:
messages to sign and send (to itself, too), timeouts to start, evidence, and the decision. Lines 52
to 54 are the driver's: each height has a machine of its own.

As in the paper, every message counts, so that an equivocating validator counts for each value that
it voted for, though once only. A network stack would have to bound how many values a sender may
vote for; CometBFT keeps one vote and asks peers for the others. Counting votes by power replaces
"2f + 1" by *more than two thirds* and "f + 1" by *more than one third* of the total.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cached_property
from typing import Final, Self, TypeAlias

from dii import codec, crypto
from dii.ledger.block import PRECOMMIT, PREVOTE, Block, Evidence, Vote
from dii.units import SECOND

PROPOSAL_DOMAIN: Final = b"dii/proposal/1\0"
NO_ROUND: Final = -1


class Step(IntEnum):
    """Steps of a round, and the timeouts that end them."""

    PROPOSE = 0
    PREVOTE = 1
    PRECOMMIT = 2


@dataclass(frozen=True)
class Proposal:
    """A proposer's message: a block, and the round of its last quorum of prevotes, or -1."""

    height: int
    round: int
    valid_round: int
    block: Block
    public_key: bytes
    signature: bytes = b""

    @cached_property
    def value(self) -> bytes:
        """The identity of the block: the hash of its header."""
        return self.block.header.hash

    @cached_property
    def whole(self) -> bool:
        """True if the block is the one whose header is signed."""
        return not any(self.block.faults())

    def message(self, chain: bytes) -> bytes:
        """Return the bytes that the proposer signs."""
        content = chain, self.height, self.round, self.valid_round, self.value
        return PROPOSAL_DOMAIN + codec.encode(content)

    def signed(self, chain: bytes, key: crypto.SigningKey) -> Proposal:
        """Return the proposal with its signature."""
        return replace(self, signature=key.sign(self.message(chain)))


# --- effects -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Propose:
    """Sign and send a proposal; of a new block if there is none that was valid in another round."""

    round: int
    block: Block | None
    valid_round: int


@dataclass(frozen=True, slots=True)
class Cast:
    """Sign and send a vote for a header's hash, or for nil."""

    kind: int
    round: int
    value: bytes | None


@dataclass(frozen=True, slots=True)
class Schedule:
    """Start the timeout of a step; when it runs out, call :meth:`Tendermint.on_timeout`."""

    step: Step
    round: int


@dataclass(frozen=True, slots=True)
class Accuse:
    """Keep evidence of an equivocation for the next proposal."""

    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Decide:
    """The height is decided: the proposal, and the precommits seen for it so far."""

    proposal: Proposal
    commit: tuple[Vote, ...]


Effect: TypeAlias = Propose | Cast | Schedule | Accuse | Decide


# --- the machine ---------------------------------------------------------------------------------


class Tendermint:
    """State of one validator at one height.

    Parameters
    ----------
    height, powers
        The height, and the voting power of its validators by public key.
    proposer
        Takes a round to the public key of its proposer.
    public_key
        The validator's own; one without power only watches.

    Attributes
    ----------
    round, step
        Round and step that the validator is in.
    locked, locked_round, valid, valid_round
        ``lockedValue`` and ``validValue`` of the paper, as proposals, with their rounds.
    decision
        The decided proposal, or None.
    """

    def __init__(
        self,
        height: int,
        powers: Mapping[bytes, int],
        proposer: Callable[[int], bytes],
        public_key: bytes,
    ) -> None:
        self.height, self.round, self.step = height, NO_ROUND, Step.PROPOSE
        self.locked: Proposal | None = None
        self.locked_round = NO_ROUND
        self.valid: Proposal | None = None
        self.valid_round = NO_ROUND
        self.decision: Proposal | None = None
        self._powers, self._total = powers, sum(powers.values())
        self._proposer, self._me = proposer, public_key
        self._proposals: dict[int, dict[bytes, Proposal]] = defaultdict(dict)
        self._validity: dict[bytes, bool] = {}
        self._votes: dict[tuple[int, int], dict[bytes | None, dict[bytes, Vote]]]
        self._votes = defaultdict(lambda: defaultdict(dict))
        self._senders: dict[int, set[bytes]] = defaultdict(set)
        self._accused: set[bytes] = set()
        self._once: set[tuple[int, int]] = set()
        self._effects: list[Effect] = []

    def start(self) -> list[Effect]:
        """Begin with round 0 (lines 10, 54)."""
        self._start_round(0)
        return self._react()

    def on_proposal(self, proposal: Proposal, valid: bool) -> list[Effect]:
        """Take a proposal, with the verdict whether its block may follow (``valid(v)``)."""
        number = proposal.round
        if (
            proposal.height == self.height
            and number >= 0
            and NO_ROUND <= proposal.valid_round < number
            and proposal.public_key == self._proposer(number)
        ):
            self._senders[number].add(proposal.public_key)
            self._proposals[number].setdefault(proposal.value, proposal)
            self._validity[proposal.value] = valid
        return self._react()

    def on_vote(self, vote: Vote) -> list[Effect]:
        """Take a prevote or precommit."""
        if vote.height == self.height and vote.public_key in self._powers:
            cast = self._votes[vote.kind, vote.round]
            if vote.public_key not in cast[vote.header]:
                self._accuse(vote, cast)
                cast[vote.header][vote.public_key] = vote
                self._senders[vote.round].add(vote.public_key)
        return self._react()

    def _accuse(self, vote: Vote, cast: Mapping[bytes | None, Mapping[bytes, Vote]]) -> None:
        """Accuse a validator of its second vote in a round, once a height."""
        key = vote.public_key
        for votes in cast.values():
            if key in votes and key not in self._accused:
                self._accused.add(key)
                self._effects.append(Accuse(Evidence.of(votes[key], vote)))

    def on_timeout(self, step: Step, number: int) -> list[Effect]:
        """Take a timeout that ran out (lines 57 to 67)."""
        if number == self.round and self.decision is None:
            if step is Step.PROPOSE and self.step is Step.PROPOSE:
                self._cast(PREVOTE, None)
            elif step is Step.PREVOTE and self.step is Step.PREVOTE:
                self._cast(PRECOMMIT, None)
            elif step is Step.PRECOMMIT:
                self._start_round(self.round + 1)
        return self._react()

    def votes_for(self, kind: int, number: int, value: bytes | None) -> tuple[Vote, ...]:
        """Return the votes of a round for a value, in the order of keys."""
        return tuple(vote for _, vote in sorted(self._votes[kind, number][value].items()))

    def _start_round(self, number: int) -> None:
        """Enter a round (lines 11 to 21)."""
        self.round, self.step = number, Step.PROPOSE
        if self._proposer(number) == self._me:
            block = self.valid.block if self.valid else None
            self._effects.append(Propose(number, block, self.valid_round))
        else:
            self._effects.append(Schedule(Step.PROPOSE, number))

    def _cast(self, kind: int, value: bytes | None) -> None:
        """Broadcast a vote, if a validator, and enter the step that follows."""
        if self._me in self._powers:
            self._effects.append(Cast(kind, self.round, value))
        self.step = Step.PREVOTE if kind == PREVOTE else Step.PRECOMMIT

    def _power(self, keys: Iterable[bytes]) -> int:
        return sum(self._powers.get(key, 0) for key in keys)

    def _quorum(self, kind: int, number: int, value: bytes | None) -> bool:
        """Tell whether more than two thirds voted for a value (``2f + 1``)."""
        return 3 * self._power(self._votes[kind, number][value]) > 2 * self._total

    def _quorum_of_any(self, kind: int, number: int) -> bool:
        """Tell whether more than two thirds voted, for whatever value."""
        votes = self._votes[kind, number].values()
        return 3 * self._power(set().union(*votes)) > 2 * self._total

    def _first(self, line: int) -> bool:
        """Tell whether a rule "for the first time" applies in this round, and note that it does."""
        known = (line, self.round) in self._once
        self._once.add((line, self.round))
        return not known

    def _react(self) -> list[Effect]:
        """Apply the rules until none applies; return the effects."""
        while self.decision is None and self._rule():
            pass
        effects, self._effects = self._effects, []
        return effects

    def _rule(self) -> bool:
        """Apply the first rule whose condition holds, or return False."""
        return (
            self._decide()
            or self._skip()
            or (self.step is Step.PROPOSE and self._prevote())
            or self._await_prevotes()
            or self._precommit()
            or self._await_precommits()
        )

    def _decide(self) -> bool:
        """Decide on a valid block with a quorum of precommits in any round (lines 49 to 51)."""
        for number, proposals in self._proposals.items():
            for value, proposal in proposals.items():
                if self._quorum(PRECOMMIT, number, value) and self._validity[value]:
                    self.decision = proposal
                    commit = self.votes_for(PRECOMMIT, number, value)
                    self._effects.append(Decide(proposal, commit))
                    return True
        return False

    def _skip(self) -> bool:
        """Skip to a later round in which more than one third are (lines 55 and 56)."""
        for number, senders in self._senders.items():
            if number > self.round and 3 * self._power(senders) > self._total:
                self._start_round(number)
                return True
        return False

    def _prevote(self) -> bool:
        """Prevote on the round's proposal (lines 22 to 33)."""
        for value, proposal in self._proposals[self.round].items():
            proven = proposal.valid_round
            if proven == NO_ROUND:
                free = self.locked_round == NO_ROUND  # line 23
            elif self._quorum(PREVOTE, proven, value):  # line 28
                free = self.locked_round <= proven  # line 29
            else:
                continue
            same = self.locked is not None and self.locked.value == value
            self._cast(PREVOTE, value if self._validity[value] and (free or same) else None)
            return True
        return False

    def _await_prevotes(self) -> bool:
        """Wait for a majority once more than two thirds have prevoted (lines 34 and 35)."""
        due = self.step is Step.PREVOTE and self._quorum_of_any(PREVOTE, self.round)
        if due and self._first(34):
            self._effects.append(Schedule(Step.PREVOTE, self.round))
            return True
        return False

    def _precommit(self) -> bool:
        """Lock on a block with a quorum of prevotes, or precommit nil (lines 36 to 46)."""
        if self.step is Step.PROPOSE:
            return False
        for value, proposal in self._proposals[self.round].items():
            valid = self._validity[value] and self._quorum(PREVOTE, self.round, value)
            if valid and self._first(36):
                if self.step is Step.PREVOTE:
                    self.locked, self.locked_round = proposal, self.round
                    self._cast(PRECOMMIT, value)
                self.valid, self.valid_round = proposal, self.round
                return True
        if self.step is Step.PREVOTE and self._quorum(PREVOTE, self.round, None):
            self._cast(PRECOMMIT, None)
            return True
        return False

    def _await_precommits(self) -> bool:
        """Wait for a decision once more than two thirds have precommitted (lines 47 and 48)."""
        if self._quorum_of_any(PRECOMMIT, self.round) and self._first(47):
            self._effects.append(Schedule(Step.PRECOMMIT, self.round))
            return True
        return False


# --- time and proposers --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Timeouts in microseconds: a first length for each step, and growth by round.

    Attributes
    ----------
    propose, prevote, precommit
        In round 0; CometBFT's defaults.
    growth
        Added in each further round, so that they exceed the network's delays at last.
    commit
        Pause between a decision and the next height, in which late precommits arrive.
    """

    propose: int = 3 * SECOND
    prevote: int = SECOND
    precommit: int = SECOND
    growth: int = SECOND // 2
    commit: int = SECOND

    def of(self, step: Step, number: int) -> int:
        """Return the length of a step's timeout in a round (``timeoutPropose(r)`` and so on)."""
        return (self.propose, self.prevote, self.precommit)[step] + number * self.growth


def median_time(votes: Iterable[Vote], powers: Mapping[bytes, int]) -> int:
    """Return the time of the block after a commit: the median of its times, weighted by power.

    With at most a third of the power lying, it lies between the times of honest validators
    (CometBFT, "BFT time").
    """
    times = sorted((vote.time, powers.get(vote.public_key, 0)) for vote in votes)
    left = sum(power for _, power in times)
    for time, power in times:
        if left <= 2 * power:  # CometBFT rounds half of the sum down, and so may take a liar's
            return time
        left -= 2 * power
    raise ValueError("no votes have no median")


@dataclass(frozen=True, slots=True)
class Rotation:
    """Choice of proposers by turns, as often as their power, as CometBFT chooses them.

    In each turn every priority grows by the validator's power; the largest one proposes and pays
    the total power. Ties go to the lower address. Priorities stay within twice the total power and
    around zero; a new validator begins at -1.125 times the total, so that nobody gains by leaving
    and coming back (CometBFT, "Proposer Selection Procedure"; scaling and centring once before
    several turns, as its code has it).

    Attributes
    ----------
    powers, priorities
        By public key.
    proposer
        The public key chosen in the last turn.
    """

    powers: Mapping[bytes, int]
    priorities: Mapping[bytes, int]
    proposer: bytes = b""

    @classmethod
    def begin(cls, powers: Mapping[bytes, int]) -> Self:
        """Return the rotation of the first height."""
        return cls({}, {}).updated(powers).turned()

    def updated(self, powers: Mapping[bytes, int]) -> Self:
        """Return the rotation with other powers, none of which are zero."""
        if powers == self.powers:
            return self
        total = sum({**self.powers, **powers}.values())  # before those who leave have left
        priorities = {key: self.priorities.get(key, -total - (total >> 3)) for key in powers}
        return replace(self, powers=powers, priorities=_centred(priorities, sum(powers.values())))

    def turned(self, times: int = 1) -> Self:
        """Return the rotation after one or more turns."""
        total, proposer = sum(self.powers.values()), self.proposer
        priorities = _centred(self.priorities, total)
        for _ in range(times):
            for key, power in self.powers.items():
                priorities[key] += power
            proposer = min(priorities, key=lambda key: (-priorities[key], crypto.address_of(key)))
            priorities[proposer] -= total
        return replace(self, priorities=priorities, proposer=proposer)


def _centred(priorities: Mapping[bytes, int], total: int) -> dict[bytes, int]:
    """Return priorities within a window of twice the total power, around zero."""
    spread, window = max(priorities.values()) - min(priorities.values()), 2 * total
    ratio = -(-spread // window) if spread > window else 1
    # Towards zero, as Go divides.
    scaled = {key: abs(one) // ratio * (1 if one >= 0 else -1) for key, one in priorities.items()}
    mean = sum(scaled.values()) // len(scaled)
    return {key: one - mean for key, one in scaled.items()}
