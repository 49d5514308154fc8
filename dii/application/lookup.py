"""Looking up what a settled epoch says of one gateway, or of an application's use of an operator.

Contracts ask for one row at a time. Pages lie in the order of keys, so a binary search over the
pages' first keys, which are read without decoding, finds the page, and another one finds the row
in the page's bytes. Nothing is remembered, so a contract that asks all over an epoch pays what it
costs, and no node takes longer than another.
"""

from __future__ import annotations

from bisect import bisect_right

from dii.application import pages
from dii.application.records import EPOCH_PAGES, PAGES, USAGE_PAGES, EpochPages
from dii.ledger.state import State, Table


def is_kept(state: State, scope: str, epoch: int) -> bool:
    """Return whether the metrics of an epoch are in the state: agreed on, and not too old."""
    return _pages(state, scope, epoch) is not None


def _pages(state: State, scope: str, epoch: int) -> EpochPages | None:
    """Return what is kept of an epoch; a contract may ask for any number, a key holds 64 bits."""
    return state.get(EPOCH_PAGES, scope, epoch) if 0 <= epoch < 1 << 64 else None


def lookup_metrics(
    state: State, scope: str, epoch: int, gateway: bytes
) -> dict[str, int | None] | None:
    """Return a gateway's metrics in an epoch, by name, or None where nobody reported it.

    None, too, where the epoch is not kept; see :func:`is_kept`.
    """
    found = _pages(state, scope, epoch)
    if found is None:
        return None
    values = _row(state, PAGES, found.pages, (scope, epoch), gateway)
    return None if values is None else dict(zip(found.metrics, values))


def lookup_usage(
    state: State, scope: str, epoch: int, application: bytes, operator: bytes
) -> dict[str, int | None] | None:
    """Return an application's use of an operator (an account) in an epoch, or None."""
    found = _pages(state, scope, epoch)
    if found is None:
        return None
    key = application + operator
    values = _row(state, USAGE_PAGES, found.usage_pages, (scope, epoch), key)
    return None if values is None else dict(zip(found.usage, values))


def _row(
    state: State, table: Table[bytes], count: int, where: tuple[str, int], key: bytes
) -> list[int | None] | None:
    """Find a row; contracts may ask by bytes of any length, which pages could not be read by."""
    if len(key) != (pages.USAGE_KEY if table is USAGE_PAGES else pages.HASH):
        return None

    def data(number: int) -> bytes:
        chunk = state.get(table, *where, number)
        assert chunk is not None
        return chunk

    firsts = range(count)
    number = bisect_right(firsts, key, key=lambda n: pages.first_key(data(n), len(key))) - 1
    if number < 0:
        return None
    return pages.find(data(number), key)
