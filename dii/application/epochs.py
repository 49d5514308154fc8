"""Epochs: their bounds, their status, the reports on them, and what is kept of settled ones."""

from __future__ import annotations

from bisect import bisect_right
from typing import Literal

from dii.application import actions, pages, records
from dii.codec import Address
from dii.ledger.state import State, Table

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


def whole_reports(state: State, name: str, scope: records.Scope) -> tuple[Address, ...]:
    """Return the reporters whose report on the next epoch of a scope has arrived whole."""
    whole = []
    for reporter in scope.reporters:
        key = name, scope.next_epoch, reporter
        report, progress = state.get(records.REPORTS, *key), state.get(records.PROGRESS, *key)
        if report and progress and progress.received == report.parts and report.fits(scope):
            whole.append(reporter)
    return tuple(whole)


def change_scope(state: State, change: actions.SetScope) -> None:
    """Change the reporters and columns of a scope, for all epochs that are not settling yet.

    Reports of removed reporters, or with other columns, count for nothing from then on and leave
    the state when their epoch is closed; a reporter may send another report for free. The last
    change that is made while an epoch settles acts after that epoch.
    """
    name, following = change.name, state.require(records.SCOPES, change.name).next_epoch
    changed = records.Scope(change.reporters, change.metrics, change.usage, following)
    settling = state.get(records.CURSORS, name) is not None
    state.put(records.COMING if settling else records.SCOPES, changed, name)


def lookup(
    state: State, table: Table[bytes], scope: str, epoch: int, key: bytes
) -> dict[str, int | None] | None:
    """Return a row of an epoch's ``PAGES`` or ``USAGE_PAGES``, by column; None if there is none.

    Contracts ask for one row at a time. Pages are in the order of keys, so a binary search over the
    pages' first keys, which are read without decoding, finds the page, and another one finds the
    row in the page's bytes. Nothing is cached, so a contract pays the cost of each look-up, and no
    node takes longer than another.

    Parameters
    ----------
    key
        Hash of a gateway; for usage, hash of an application and account of an operator.
    """
    # Contracts ask for any integer, keys hold 64 bits.
    kept = state.get(records.EPOCH_PAGES, scope, epoch) if 0 <= epoch < 1 << 64 else None
    if kept is None:
        return None
    width, count, names = pages.HASH, kept.pages, kept.metrics
    if table is records.USAGE_PAGES:
        width, count, names = pages.USAGE_KEY, kept.usage_pages, kept.usage

    def first_key(number: int) -> bytes:
        return pages.first_key(state.require(table, scope, epoch, number), width)

    number = bisect_right(range(count), key, key=first_key) - 1
    if number < 0 or len(key) != width:
        return None
    values = pages.find(state.require(table, scope, epoch, number), key)
    return None if values is None else dict(zip(names, values))
