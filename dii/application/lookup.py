"""Lookups of one gateway's metrics, or of an application's use of an operator, in a settled epoch.

Contracts ask for one row at a time. Pages are in the order of keys, so a binary search over the
pages' first keys, which are read without decoding, finds the page, and another one finds the row
in the page's bytes. Nothing is cached, so a contract pays the cost of each look-up, and no node
takes longer than another.
"""

from __future__ import annotations

from bisect import bisect_right

from dii.application import pages, records
from dii.ledger.state import State, Table


def is_kept(state: State, scope: str, epoch: int) -> bool:
    """Return whether the metrics of an epoch are in the state: agreed on, and not too old."""
    return _pages(state, scope, epoch) is not None


def _pages(state: State, scope: str, epoch: int) -> records.EpochPages | None:
    """Return the kept record of an epoch; contracts ask for any integer, keys hold 64 bits."""
    return state.get(records.EPOCH_PAGES, scope, epoch) if 0 <= epoch < 1 << 64 else None


def lookup_metrics(
    state: State, scope: str, epoch: int, gateway: bytes
) -> dict[str, int | None] | None:
    """Return a gateway's metrics in an epoch, by name, or None if nobody reported it.

    None, too, if the epoch is not kept; see :func:`is_kept`.
    """
    kept = _pages(state, scope, epoch)
    if kept is None or len(gateway) != pages.HASH:
        return None
    values = _row(state, records.PAGES, kept.pages, (scope, epoch), gateway)
    return None if values is None else dict(zip(kept.metrics, values))


def lookup_usage(
    state: State, scope: str, epoch: int, application: bytes, operator: bytes
) -> dict[str, int | None] | None:
    """Return an application's use of an operator (an account) in an epoch, or None."""
    kept, key = _pages(state, scope, epoch), application + operator
    if kept is None or len(key) != pages.USAGE_KEY:
        return None
    values = _row(state, records.USAGE_PAGES, kept.usage_pages, (scope, epoch), key)
    return None if values is None else dict(zip(kept.usage, values))


def _row(
    state: State, table: Table[bytes], count: int, where: tuple[str, int], key: bytes
) -> list[int | None] | None:
    def data(number: int) -> bytes:
        chunk = state.get(table, *where, number)
        assert chunk is not None
        return chunk

    firsts = range(count)
    number = bisect_right(firsts, key, key=lambda n: pages.first_key(data(n), len(key))) - 1
    return None if number < 0 else pages.find(data(number), key)
