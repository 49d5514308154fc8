"""Epochs: their bounds, their status, and the reports on them."""

from __future__ import annotations

from typing import Literal

from dii.application import records
from dii.ledger.state import State

Status = Literal["open", "reporting", "settling", "closed"]


def at(chain: records.Chain, time: int) -> int:
    """Return the epoch that contains a time; -1 before the first."""
    return max(-1, (time - chain.start) // chain.epoch_length)


def first_from(chain: records.Chain, time: int) -> int:
    """Return the first epoch that begins at a time or later."""
    return max(0, -(-(time - chain.start) // chain.epoch_length))


def end(chain: records.Chain, epoch: int) -> int:
    """Return the end of an epoch, microseconds since 1970."""
    return chain.start + (epoch + 1) * chain.epoch_length


def status(state: State, chain: records.Chain, scope: str, epoch: int, now: int) -> Status:
    """Return the status of an epoch of a scope at a block time."""
    record = state.get(records.SCOPES, scope)
    if record is not None and epoch < record.next_epoch:
        return "closed"
    if now < end(chain, epoch):
        return "open"
    if record is not None and epoch < first_unsettled(state, scope, record):
        return "settling"
    return "reporting"


def first_unsettled(state: State, name: str, scope: records.Scope) -> int:
    """Return the oldest epoch of a scope that has not begun to settle; it may be long over."""
    return scope.next_epoch + (state.get(records.CURSORS, name) is not None)


def whole_reports(state: State, name: str, scope: records.Scope) -> tuple[bytes, ...]:
    """Return the reporters whose report on the next epoch of a scope has arrived whole."""
    whole = []
    for reporter in scope.reporters:
        key = name, scope.next_epoch, reporter
        report, progress = state.get(records.REPORTS, *key), state.get(records.PROGRESS, *key)
        if report and progress and progress.received == report.parts and report.fits(scope):
            whole.append(reporter)
    return tuple(whole)


def change_scope(
    state: State,
    name: str,
    reporters: tuple[bytes, ...],
    metrics: tuple[str, ...],
    usage: tuple[str, ...],
) -> None:
    """Change the reporters and columns of a scope, for all epochs that are not settling yet.

    Reports of removed reporters, or with other columns, count for nothing from then on and leave
    the state when their epoch is closed; a reporter may send another report for nothing. The last
    change that is made while an epoch settles acts after that epoch.
    """
    scope = state.get(records.SCOPES, name)
    assert scope is not None, "governance changes scopes that there are"
    changed = records.Scope(reporters, metrics, usage, scope.next_epoch)
    settling = state.get(records.CURSORS, name) is not None
    state.put(records.COMING if settling else records.SCOPES, changed, name)
