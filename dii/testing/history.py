"""History checker: what must hold in every run, whatever the faults, and who is to blame."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from dii.consensus.head import Head, commit_faults
from dii.ledger.block import PREVOTE, Vote
from dii.testing.abci import Abci
from dii.testing.simulator import Replica, Simulation, execute, succeed


class Violation(AssertionError):
    """A run broke what consensus promises."""

    def __init__(self, run: Simulation, message: str) -> None:
        super().__init__(f"seed {run.seed}: {message}")


def check(run: Simulation, audit: Callable[[Abci], str] = lambda _: "") -> None:
    """Check the decisions of all honest replicas.

    Agreement: no two of them decide different blocks at a height. Validity: each block follows from
    the one before, the application accepts it, and each replica holds signatures of more than two
    thirds of the power for it. No transaction is in the chain twice. Time increases.

    Parameters
    ----------
    audit
        Takes the application after each block; returns what is wrong with it, if anything, such as
        money that appeared from nowhere.

    Raises
    ------
    Violation
        Something does not hold.
    """
    honest = [replica for replica in run.replicas if replica.honest]
    longest = max(honest, key=lambda replica: len(replica.disk.blocks))
    for replica in honest:
        for mine, other in zip(replica.disk.blocks, longest.disk.blocks):
            if mine.proposal.value != other.proposal.value:
                message = (
                    f"validators {replica.number} and {longest.number} decide differently at"
                    f" height {mine.proposal.height}"
                )
                raise Violation(run, message)
    _check_chain(run, longest, honest, audit)


def _check_chain(
    run: Simulation, replica: Replica, honest: list[Replica], audit: Callable[[Abci], str]
) -> None:
    app = run.make(replica.number)
    head = Head(run.chain, None, app.info()[1], run.powers, run.powers)
    seen: set[bytes] = set()
    for decision in replica.disk.blocks:
        block, height = decision.proposal.block, head.height + 1
        for fault in head.faults(block, run.verify):
            raise Violation(run, f"block {height}: {fault}")
        for one in honest:
            for held in one.disk.blocks[height - 1 : height]:
                for fault in commit_faults(block.header, held.commit, head.validators, run.verify):
                    raise Violation(run, f"block {height} of validator {one.number}: {fault}")
        if not app.process_proposal(block.transactions, block.header.time):
            raise Violation(run, f"block {height}: the application does not accept it")
        if len({*block.transactions} - seen) < len(block.transactions):
            raise Violation(run, f"block {height}: a transaction is in the chain twice")
        seen.update(block.transactions)
        result = execute(app, block)
        head = succeed(head, block, result.app_hash, result.validator_updates)
        if fault := audit(app):
            raise Violation(run, f"block {height}: {fault}")


def amnesia(run: Simulation) -> set[int]:
    """Return the validators that voted against their lock, from the log of all votes.

    Evidence shows equivocation only. A validator that precommitted a value, and in a later round
    prevoted another, needs a quorum of prevotes for that other one, of a round in between.
    """
    numbers = {one.key.public_key: one.number for one in run.replicas}
    precommits: dict[tuple[int, bytes], list[Vote]] = defaultdict(list)
    power: dict[tuple[int, int, bytes], dict[bytes, int]] = defaultdict(dict)
    for vote in run.votes:
        if vote.header is None:
            continue
        key = vote.public_key
        if vote.kind == PREVOTE:
            powers = run.validators.get(vote.height, {})
            power[vote.height, vote.round, vote.header][key] = powers.get(key, 0)
        else:
            precommits[vote.height, key].append(vote)

    def proven(vote: Vote, since: int) -> bool:
        total = sum(run.validators[vote.height].values())
        return any(
            3 * sum(power[vote.height, number, vote.header or b""].values()) > 2 * total
            for number in range(since, vote.round)
        )

    return {
        numbers[vote.public_key]
        for vote in run.votes
        if vote.kind == PREVOTE and vote.header is not None
        for lock in precommits[vote.height, vote.public_key]
        if lock.round < vote.round and lock.header != vote.header and not proven(vote, lock.round)
    }
