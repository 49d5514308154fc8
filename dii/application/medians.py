"""Merge of several reports into one: lower medians, gateway by gateway.

The chunks of each report are sorted, so all are merged as they are, without ever holding an epoch
in memory. A gateway that is missing in a report counts as zeros there; of each metric the lower
median counts, *unknown* ordered below 0. With 2f + 1 or more reports, at most f of them false, the
median lies between two honest values (Dolev et al. 1986): f liars move nothing beyond the values of
honest reporters.

A gateway in fewer than f + 1 reports is left out, since perhaps no honest reporter has seen it. It
could only earn nothing (more than half of its values are zeros or unknown); a receipt of zero for
each name that a liar invents would fill state and index.

If the next chunks of all reports are identical, the chunk becomes the page without being read: a
single reporter costs nothing here, nor do honest reporters who agree.

Pages must not depend on the division of the work into blocks: if a block ends within a page, the
page is written as far as it goes, and the next block continues it.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field, replace
from typing import Final

from dii.application import pages, records
from dii.ledger.state import State

PAGE_COST: Final = 8
"""Cost of reading or writing a page or chunk, in rows, whatever its content."""

_Row = tuple[int, ...]
"""Values with -1 for unknown, so that they sort."""


@dataclass(slots=True)
class _Source:
    """Rows of one report from the cursor on."""

    report: records.Report
    reporter: bytes
    hashes: tuple[bytes, ...]
    number: int
    keys: list[bytes] = field(default_factory=list)
    rows: list[_Row] = field(default_factory=list)
    at: int = 0


class Merge:
    """Merge of the reports of one scope and epoch within one block.

    Parameters
    ----------
    state, name, scope, cursor
        The state, the scope and its cursor, whose phase says if metrics or usage are merged.
    limit
        The most rows of the result: those of one report, against which rules are checked.
    """

    def __init__(
        self, state: State, name: str, scope: records.Scope, cursor: records.Cursor, limit: int
    ) -> None:
        self.state, self.cursor = state, cursor
        self.where = name, scope.next_epoch
        self.limit = limit
        usage = cursor.phase == "usage"
        self.width = pages.USAGE_KEY if usage else pages.HASH
        self.table = records.USAGE_PAGES if usage else records.PAGES
        self.needed = scope.faulty + 1
        columns = len(scope.usage if usage else scope.metrics)
        self.per_page = pages.rows_of_page(columns, self.width)
        self.zeros: _Row = (0,) * columns
        self.cost, self.last, self.count = 0, cursor.last, cursor.count
        self.sources = []
        for reporter, number in zip(cursor.reporters, cursor.chunks):
            report = state.require(records.REPORTS, *self.where, reporter)
            hashes = report.usage_chunks if usage else report.chunks
            self.sources.append(_Source(report, reporter, hashes, number))
        self.keys: list[bytes] = []
        self.rows: list[_Row] = []

    def advance(self, budget: int) -> tuple[records.Cursor, int, bool]:
        """Merge about as many rows as the budget; return the cursor, the cost, and True at the end.

        The cost of opening again a chunk of an earlier block does not count towards the budget, so
        that each step makes progress.
        """
        self._resume()
        resumed, self.cost = self.cost, 0
        done = False
        while self.cost < budget and not done:
            if not self._move():
                done = not self._row()
        self._write(whole=done)
        chunks = tuple(source.number for source in self.sources)
        cursor = replace(self.cursor, chunks=chunks, last=self.last, count=self.count)
        return cursor, self.cost + resumed, done

    def _resume(self) -> None:
        """Read the pages and chunks again that the last block left half done."""
        page = self.state.get(self.table, *self.where, self.cursor.pages)
        if page is not None:
            self.keys, self.rows = self._read(page)
        for source in self.sources:
            if source.number < len(source.hashes):
                data = self._chunk(source)
                if pages.first_key(data, self.width) <= self.last:
                    source.keys, source.rows = self._read(data)
                    source.at = bisect_right(source.keys, self.last)

    def _chunk(self, source: _Source) -> bytes:
        where = *self.where, source.reporter, self._place(source)
        return self.state.require(records.CHUNKS, *where)

    def _place(self, source: _Source) -> int:
        before = len(source.report.chunks) if self.table is records.USAGE_PAGES else 0
        return before + source.number

    def _read(self, data: bytes) -> tuple[list[bytes], list[_Row]]:
        page = pages.decode(data, self.width)
        self.cost += PAGE_COST + page.rows // 8
        columns = [[-1 if value is None else value for value in col] for col in page.columns]
        return page.keys, list(zip(*columns))

    def _move(self) -> bool:
        """Make the next chunk a page as it is, if it is the same in all reports."""
        sources = self.sources
        if any(source.at for source in sources):
            return False
        following = {s.hashes[s.number] if s.number < len(s.hashes) else None for s in sources}
        if len(following) > 1 or None in following:
            return False
        data = self._chunk(sources[0])
        rows = pages.count_rows(data, self.width)
        if self.count + len(self.keys) + rows > self.limit:
            return False
        self._write(whole=True)
        self._put_page(data)
        self.cursor = replace(self.cursor, pages=self.cursor.pages + 1)
        self.count += rows
        for source in sources:
            self._drop(source)
        return True

    def _row(self) -> bool:
        """Merge the next key of any report; False if there is none."""
        live = []
        for source in self.sources:
            if not source.keys and source.number < len(source.hashes):
                source.keys, source.rows = self._read(self._chunk(source))
            if source.keys:
                live.append(source)
        if not live:
            return False
        self.cost += 1
        heads = [source.keys[source.at] for source in live]
        self.last = key = min(heads)
        named = [source for source, head in zip(live, heads) if head == key]
        if len(named) >= self.needed and self.count + len(self.keys) < self.limit:
            rows = [source.rows[source.at] for source in named]
            rows += [self.zeros] * (len(self.sources) - len(named))
            self.keys.append(key)
            self.rows.append(lower_median(rows))
        for source in named:
            source.at += 1
            if source.at == len(source.keys):
                self._drop(source)
        if len(self.keys) == self.per_page:
            self._write(whole=True)
        return True

    def _drop(self, source: _Source) -> None:
        """Delete the current chunk of a report and turn to the next."""
        self.state.delete(records.CHUNKS, *self.where, source.reporter, self._place(source))
        source.keys, source.rows, source.at = [], [], 0
        source.number += 1
        self.cost += PAGE_COST

    def _write(self, *, whole: bool) -> None:
        """Write the page in work."""
        if not self.keys:
            return
        columns = [[None if value < 0 else value for value in column] for column in zip(*self.rows)]
        self._put_page(pages.Page(self.keys, columns).encode())
        if whole:
            self.cursor = replace(self.cursor, pages=self.cursor.pages + 1)
            self.count += len(self.keys)
            self.keys, self.rows = [], []

    def _put_page(self, data: bytes) -> None:
        self.state.put(self.table, data, *self.where, self.cursor.pages)
        self.cost += PAGE_COST


def lower_median(rows: list[_Row]) -> _Row:
    """Return the lower median of each column: of an even number of values the lesser of the two."""
    if rows.count(rows[0]) == len(rows):
        return rows[0]
    middle = (len(rows) - 1) // 2
    return tuple([sorted(column)[middle] for column in zip(*rows)])
