"""Slow transcription of the algorithm of arXiv:1807.04938: every rule reads the list of messages.

Where several rules hold at a time, the paper leaves the order open; here it is that of
:meth:`dii.consensus.tendermint.Tendermint._rule`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dii.consensus.tendermint import (
    Cast,
    Decide,
    Effect,
    Proposal,
    Propose,
    Schedule,
    Step,
)
from dii.ledger.block import PRECOMMIT, PREVOTE, Vote


class Paper:
    """A process of the paper at one height; names are the paper's."""

    def __init__(
        self,
        height: int,
        powers: Mapping[bytes, int],
        proposer: Callable[[int], bytes],
        me: bytes,
    ) -> None:
        self.powers, self.proposer, self.me = powers, proposer, me
        self.round, self.step = 0, Step.PROPOSE
        self.locked: Proposal | None = None
        self.valid: Proposal | None = None
        self.locked_round = self.valid_round = -1
        self.messages: list[Proposal | Vote] = []
        self.is_valid: dict[bytes, bool] = {}
        self.once: set[tuple[int, int]] = set()
        self.decided = False
        self.out: list[Effect] = []

    # --- reading the messages -------------------------------------------------------------------

    def votes(self, kind: int, number: int) -> list[Vote]:
        found = [one for one in self.messages if isinstance(one, Vote)]
        return [one for one in found if (one.kind, one.round) == (kind, number)]

    def power(self, keys: set[bytes]) -> int:
        return sum(self.powers[key] for key in keys)

    def two_thirds(self, votes: list[Vote]) -> bool:
        return 3 * self.power({one.public_key for one in votes}) > 2 * sum(self.powers.values())

    def for_value(self, kind: int, number: int, value: bytes | None) -> bool:
        return self.two_thirds([one for one in self.votes(kind, number) if one.header == value])

    def proposals(self, number: int) -> list[Proposal]:
        found = [one for one in self.messages if isinstance(one, Proposal)]
        return [one for one in found if one.round == number]

    def first(self, line: int) -> bool:
        return (line, self.round) not in self.once

    # --- acting ---------------------------------------------------------------------------------

    def start(self) -> list[Effect]:
        self.start_round(0)
        return self.run()

    def take(self, message: Proposal | Vote, *, valid: bool = True) -> list[Effect]:
        if isinstance(message, Proposal):
            if not -1 <= message.valid_round < message.round:
                return self.run()
            self.is_valid[message.value] = valid
            if any(one.value == message.value for one in self.proposals(message.round)):
                return self.run()
        self.messages.append(message)
        return self.run()

    def timeout(self, step: Step, number: int) -> list[Effect]:
        if self.decided or number != self.round:
            return []
        if step is Step.PROPOSE and self.step is Step.PROPOSE:  # line 57
            self.cast(PREVOTE, None)
        elif step is Step.PREVOTE and self.step is Step.PREVOTE:  # line 61
            self.cast(PRECOMMIT, None)
        elif step is Step.PRECOMMIT:  # line 65
            self.start_round(number + 1)
        return self.run()

    def run(self) -> list[Effect]:
        while not self.decided and self.rule():
            pass
        out, self.out = self.out, []
        return out

    def start_round(self, number: int) -> None:  # line 11
        self.round, self.step = number, Step.PROPOSE
        if self.proposer(number) == self.me:
            block = self.valid.block if self.valid else None
            self.out.append(Propose(number, block, self.valid_round))
        else:
            self.out.append(Schedule(Step.PROPOSE, number))

    def cast(self, kind: int, value: bytes | None) -> None:
        self.out.append(Cast(kind, self.round, value))
        self.step = Step.PREVOTE if kind == PREVOTE else Step.PRECOMMIT

    def rule(self) -> bool:
        for one in (one for one in self.messages if isinstance(one, Proposal)):  # line 49
            if self.for_value(PRECOMMIT, one.round, one.value) and self.is_valid[one.value]:
                mine = [v for v in self.votes(PRECOMMIT, one.round) if v.header == one.value]
                commit = {vote.public_key: vote for vote in reversed(mine)}
                self.out.append(Decide(one, tuple(vote for _, vote in sorted(commit.items()))))
                self.decided = True
                return True
        for later in [one.round for one in self.messages if one.round > self.round]:  # line 55
            senders = {one.public_key for one in self.messages if one.round == later}
            if 3 * self.power(senders) > sum(self.powers.values()):
                self.start_round(later)
                return True
        return any(
            line()
            for line in (self.line_22, self.line_34, self.line_36, self.line_44, self.line_47)
        )

    def line_22(self) -> bool:
        """Lines 22 to 33."""
        for one in self.proposals(self.round) if self.step is Step.PROPOSE else ():
            proof = one.valid_round
            own = self.locked is not None and self.locked.value == one.value
            if proof == -1:
                free = self.locked_round == -1 or own
            elif self.for_value(PREVOTE, proof, one.value):
                free = self.locked_round <= proof or own
            else:
                continue
            self.cast(PREVOTE, one.value if self.is_valid[one.value] and free else None)
            return True
        return False

    def line_34(self) -> bool:
        enough = self.two_thirds(self.votes(PREVOTE, self.round))
        if self.step is Step.PREVOTE and enough and self.first(34):
            self.once.add((34, self.round))
            self.out.append(Schedule(Step.PREVOTE, self.round))
            return True
        return False

    def line_36(self) -> bool:
        for one in self.proposals(self.round) if self.step >= Step.PREVOTE else ():
            quorum = self.for_value(PREVOTE, self.round, one.value)
            if quorum and self.is_valid[one.value] and self.first(36):
                self.once.add((36, self.round))
                if self.step is Step.PREVOTE:
                    self.locked, self.locked_round = one, self.round
                    self.cast(PRECOMMIT, one.value)
                self.valid, self.valid_round = one, self.round
                return True
        return False

    def line_44(self) -> bool:
        if self.step is Step.PREVOTE and self.for_value(PREVOTE, self.round, None):
            self.cast(PRECOMMIT, None)
            return True
        return False

    def line_47(self) -> bool:
        if self.two_thirds(self.votes(PRECOMMIT, self.round)) and self.first(47):
            self.once.add((47, self.round))
            self.out.append(Schedule(Step.PRECOMMIT, self.round))
            return True
        return False
