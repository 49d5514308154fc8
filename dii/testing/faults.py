"""Faults of a simulated network and its validators; times are in virtual seconds from the start."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain
from typing import TypeAlias

from dii.consensus.tendermint import Proposal
from dii.ledger.block import Vote

Message: TypeAlias = Proposal | Vote


class Behaviour(StrEnum):
    """Ways in which a Byzantine validator deviates from the protocol."""

    EQUIVOCATE = "equivocate"
    """Sends contradicting proposals and votes to different peers."""
    WITHHOLD = "withhold"
    """Sends its own messages to some peers only, and passes on no others."""
    INVALID = "invalid"
    """Proposes blocks that no validator may accept."""
    REPLAY = "replay"
    """Sends messages of earlier heights and rounds, of another chain, and in others' names."""
    LIE_ABOUT_TIME = "lie about time"
    """Signs votes with times up to an hour off, and proposes such blocks."""
    AMNESIA = "amnesia"
    """Forgets what it is locked on."""


@dataclass(frozen=True, slots=True)
class Partition:
    """A time in which validators reach only those of their own group; in no group, nobody."""

    from_: float
    until: float
    groups: tuple[tuple[int, ...], ...]

    def parts(self, one: int, other: int, seconds: float) -> bool:
        """Tell whether it keeps two validators apart at a time."""
        together = any(one in group and other in group for group in self.groups)
        return self.from_ <= seconds < self.until and not together


@dataclass(frozen=True, slots=True)
class Crash:
    """A validator that stops, loses what it did not sync, and starts again.

    Attributes
    ----------
    node
        Number of the validator.
    at
        The time; or None.
    write
        Stop at this write to log or store instead, counted from 1.
    lost
        Whether that write is lost, or the last thing that is done.
    down
        Seconds until it starts again.
    """

    node: int
    at: float | None = None
    write: int | None = None
    lost: bool = True
    down: float = 2.0


@dataclass(frozen=True)
class Faults:
    """All that goes wrong in a run.

    Attributes
    ----------
    loss, duplicate
        Probability that a message is lost, or arrives twice.
    delay
        Shortest and longest delay of a message, in seconds; drawn evenly.
    partitions, crashes
        As they happen.
    byzantine
        Behaviour, or several, by number of the validator.
    resend
        Seconds after which a validator offers its peers again what they lack; by default the
        longest delay.
    direct
        Takes (message, sender, recipient, seconds) for each delivery; returns more seconds of
        delay, or None to lose it: schedules of one's own.
    """

    loss: float = 0.0
    duplicate: float = 0.0
    delay: tuple[float, float] = (0.01, 0.1)
    partitions: Collection[Partition] = ()
    crashes: Collection[Crash] = ()
    byzantine: Mapping[int, Behaviour | Collection[Behaviour]] = field(default_factory=dict)
    resend: float | None = None
    direct: Callable[[Message, int, int, float], float | None] | None = None

    def behaviours(self, node: int) -> frozenset[Behaviour]:
        """Return how a validator deviates; nothing for an honest one."""
        found = self.byzantine.get(node, ())
        return frozenset([found] if isinstance(found, Behaviour) else found)

    def parted(self, one: int, other: int, seconds: float) -> bool:
        """Tell whether a partition keeps two validators apart at a time."""
        return any(partition.parts(one, other, seconds) for partition in self.partitions)

    def wrong(self, count: int) -> str:
        """Return what is impossible among so many validators, or an empty text."""
        groups = [group for one in self.partitions for group in one.groups]
        named = {*self.byzantine, *(one.node for one in self.crashes), *chain(*groups)}
        if unknown := sorted(named - set(range(count))):
            return f"there is no validator {unknown[0]}; they are numbered from 0 to {count - 1}"
        if not (0 <= self.loss <= 1 and 0 <= self.duplicate <= 1):
            return "probabilities lie between 0 and 1"
        if not 0 <= self.delay[0] <= self.delay[1]:
            return "the longest delay is not less than the shortest, nor is that less than 0"
        if any((one.at is None) == (one.write is None) for one in self.crashes):
            return "a crash has either a time or a write"
        return ""

    @property
    def over(self) -> float:
        """Time of the last partition's end or timed crash's restart."""
        ends = [one.until for one in self.partitions]
        return max([0.0, *ends, *(one.at + one.down for one in self.crashes if one.at is not None)])
