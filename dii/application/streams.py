"""Decided changes of streams and denials, which wait for the epoch from which they act.

Nothing acts backwards. A decision acts from the first epoch that begins after it, but earlier
epochs may settle much later: an outage delays them. So a decision waits in the state under the
scope and the epoch from which it acts, and is applied when that scope begins to settle that epoch.
The result of all decisions is known at any time (:func:`planned`), and every new one is checked
against it.
"""

from __future__ import annotations

from collections.abc import Iterator

from dii.application import actions, bank, records
from dii.genesis import TREASURY
from dii.ledger.state import State

Change = actions.SetStream | actions.RemoveStream | actions.DenyGateway
"""Actions that wait for an epoch."""


def schedule(state: State, scope: str, epoch: int, number: int) -> None:
    """Let the change of a proposal wait for an epoch of a scope."""
    waiting = state.get(records.SCHEDULE, scope, epoch) or ()
    state.put(records.SCHEDULE, (*waiting, number), scope, epoch)


def scheduled(state: State, *scope: str) -> Iterator[tuple[int, Change]]:
    """Yield (epoch, change) of all waiting changes, in the order of scopes and epochs."""
    for (_, epoch), waiting in state.items(records.SCHEDULE, *scope):
        for number in waiting:
            change = state.require(records.PROPOSALS, number).action
            assert isinstance(epoch, int)
            assert isinstance(change, Change)
            yield epoch, change


def planned(state: State, scope: str) -> dict[str, records.Stream]:
    """Return a scope's streams as they will be after all waiting changes."""
    streams = current(state, scope)
    for _, change in scheduled(state, scope):
        amend(streams, change)
    return streams


def amend(streams: dict[str, records.Stream], change: Change) -> None:
    """Apply a change to a scope's streams: new ones come last, changed ones keep their place."""
    if isinstance(change, actions.SetStream):
        was = streams.get(change.name)
        last = max((stream.position for stream in streams.values()), default=-1)
        position, dust = (was.position, was.dust) if was else (last + 1, 0)
        streams[change.name] = records.Stream(
            position, change.scope, change.rule, change.policy, change.rest, dust
        )
    elif isinstance(change, actions.RemoveStream):
        streams.pop(change.name, None)


def apply_streams(state: State, scope: str, epoch: int) -> dict[str, records.Stream]:
    """Apply the waiting changes of an epoch as its settling begins; return its streams, in order.

    The dust of removed streams goes to the treasury.
    """
    before = current(state, scope)
    after = dict(before)
    for at, change in list(scheduled(state, scope)):
        if at <= epoch:
            amend(after, change)
            if isinstance(change, actions.DenyGateway):
                denial = records.Denial(change.evidence, change.until)
                state.put(records.DENIED, denial, scope, change.gateway)
            state.delete(records.SCHEDULE, scope, at)
    for name in before.keys() - after.keys():
        state.delete(records.STREAMS, name)
    for name, stream in after.items():
        if stream != before.get(name):
            state.put(records.STREAMS, stream, name)
    freed = sum(old.dust for old in before.values()) - sum(new.dust for new in after.values())
    if freed:
        bank.credit(state, TREASURY, freed)
    for (_, gateway), denial in list(state.items(records.DENIED, scope)):
        if denial.until <= epoch:
            state.delete(records.DENIED, scope, gateway)
    return dict(sorted(after.items(), key=lambda item: (item[1].position, item[0])))


def denied(state: State, scope: str) -> frozenset[bytes]:
    """Return the gateways that earn nothing in the epoch of a scope that settles."""
    gateways = (gateway for (_, gateway), _ in state.items(records.DENIED, scope))
    return frozenset(gateway for gateway in gateways if isinstance(gateway, bytes))


def current(state: State, scope: str) -> dict[str, records.Stream]:
    """Return a scope's streams as they are now, before the waiting changes."""
    streams = state.items(records.STREAMS)
    return {str(name): stream for (name,), stream in streams if stream.scope == scope}
