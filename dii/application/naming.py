"""Votes of reporters on the owner of a gateway, application or claim key.

Reporters name an account for a gateway, an application or an operator's key. What enough of them
name alike is decided; until then the state keeps who named whom. That must not grow without end by
namings that nobody else repeats, so each lapses after ``report_window``: a queue holds them in the
order of time, and every block drops a few of the oldest. (Sorting them by time in the state
itself would cost more the more there are; dropping them with an epoch would keep them for as long
as their scope has an outage.)
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, Literal

from dii.application.records import LAPSES, NAMINGS, QUEUE, Chain, Lapse, Queue, Scope
from dii.ledger.state import State

Kind = Literal["gateway", "application", "operator"]

LAPSES_A_BLOCK: Final = 4_096
"""Hashes, of entries of the queue with up to ``MAX_BATCH`` each, after which a block drops no more.

Not entries: of those that name one hash each a reporter could make more than blocks ever drop.
"""


def agree(
    state: State,
    chain: Chain,
    now: int,
    kind: Kind,
    scope: tuple[str, Scope],
    hash_: bytes,
    vote: tuple[bytes, bytes],
    needed: int,
) -> bool:
    """Note (reporter, account); return whether so many reporters now name the same.

    A reporter has one vote on each hash, the latest. Votes of former reporters and expired ones do
    not count. Votes on what is decided are deleted, those of former reporters when they expire.
    """
    (name, record), (reporter, account) = scope, vote
    key = kind, name, hash_
    votes = {
        other: found
        for other in (record.reporters if needed > 1 else ())
        if (found := state.get(NAMINGS, *key, other)) and now < found[1] + chain.report_window
    }
    votes[reporter] = account, now
    if sum(named == account for named, _ in votes.values()) < needed:
        state.put(NAMINGS, (account, now), *key, reporter)
        return False
    for other in record.reporters:
        if state.get(NAMINGS, *key, other) is not None:
            state.delete(NAMINGS, *key, other)
    return True


def withdraw(
    state: State, kind: str, scope: str, hash_: bytes, reporter: bytes, until: int
) -> None:
    """Take back what a reporter has said of a hash up to a time."""
    vote = state.get(NAMINGS, kind, scope, hash_, reporter)
    if vote is not None and vote[1] <= until:
        state.delete(NAMINGS, kind, scope, hash_, reporter)


def enqueue(state: State, lapse: Lapse) -> None:
    """Have what is undecided lapse in its time."""
    queue = state.get(QUEUE) or Queue(0, 0)
    state.put(LAPSES, lapse, queue.end)
    state.put(QUEUE, replace(queue, end=queue.end + 1))


def lapse(state: State, chain: Chain, now: int) -> None:
    """Drop the oldest namings whose time is over."""
    queue = state.get(QUEUE) or Queue(0, 0)
    number, dropped = queue.first, 0
    while number < queue.end and dropped < LAPSES_A_BLOCK:
        old = state.get(LAPSES, number)
        assert old is not None
        if now < old.time + chain.report_window:
            break
        for hash_ in old.hashes:
            # What the reporter has said since has an entry of its own.
            withdraw(state, old.kind, old.scope, hash_, old.reporter, old.time)
        state.delete(LAPSES, number)
        number, dropped = number + 1, dropped + len(old.hashes)
    if dropped:
        state.put(QUEUE, Queue(number, queue.end))
