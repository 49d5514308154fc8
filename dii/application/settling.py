"""Settling: a closed epoch's reports become metrics, weights, receipts and money.

An epoch of a million gateways does not fit into one block, so settling is a cursor in the state
that every block moves by at most ``settle_rows`` rows. Its phases are

1. *medians*: the reporters' chunks become pages of agreed metrics;
2. *weights*, stream by stream: the sum of weights, hence the pool;
3. *receipts*, stream by stream: amounts, the leaves of the receipts' tree, and the payees' credit.

Weights are computed again in phase 3 instead of being kept: a rule is a pure function of a page,
and recomputing costs less than storing. What a stream may pay is minted into the stream's own
``dust`` when its pool is known and paid out of there page by page; what remains at the end *is*
the dust. So money is conserved after every block, however an epoch falls into blocks.

Epochs of a scope settle in order and wait for their reports; scopes do not wait for each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Literal

from dii.application import bank, pages
from dii.application.records import (
    CHUNKS,
    CURSORS,
    DUTIES,
    GATEWAYS,
    ISSUANCES,
    MINTED,
    PAGES,
    REPORTS,
    SCOPES,
    STREAMS,
    Chain,
    Cursor,
    Minted,
    Scope,
    Stream,
)  # fmt: skip
from dii.genesis import TREASURY
from dii.ledger.log import LogBuilder
from dii.ledger.state import State
from dii.minting import POLICIES, RULES, Issuance, Rule, due, share, weigh
from dii.minting.receipts import REASON_UNATTRIBUTED, encode_leaf
from dii.minting.spec import from_spec

UNATTRIBUTED: Final = bytes(pages.HASH)
"""Gateway hash of the row for receptions that name no gateway; sorts before all others."""

KEPT_EPOCHS: Final = 2
"""Settled epochs whose metrics stay in the state."""

Emit = Callable[[str, tuple[object, ...]], None]
"""Takes (index table, row)."""

Status = Literal["open", "reporting", "settling", "closed"]


def epoch_end(chain: Chain, epoch: int) -> int:
    """Return the end of an epoch, microseconds since 1970."""
    return chain.start + (epoch + 1) * chain.epoch_length


def epoch_status(state: State, chain: Chain, name: str, epoch: int, now: int) -> Status:
    """Return where an epoch of a scope stands at a block time."""
    scope = state.get(SCOPES, name)
    if scope is not None and epoch < scope.next_epoch:
        return "closed"
    if now < epoch_end(chain, epoch):
        return "open"
    if scope is not None and epoch == scope.next_epoch and state.get(CURSORS, name) is not None:
        return "settling"
    return "reporting"


def settle(state: State, chain: Chain, now: int, emit: Emit) -> None:
    """Move every scope's settling on, within one block's budget of rows."""
    budget = chain.settle_rows
    for (name,), _ in list(state.items(SCOPES)):
        step = _Step(state, chain, str(name), now, emit)
        while budget > 0:
            rows = step.advance()
            if not rows:
                break
            budget -= rows


@dataclass(slots=True)
class _Step:
    """One scope's settling within one block."""

    state: State
    chain: Chain
    name: str
    now: int
    emit: Emit
    streams: list[str] | None = None

    def advance(self) -> int:
        """Do one page of work; return the rows it cost, 0 where nothing is to be done."""
        scope = self.state.get(SCOPES, self.name)
        assert scope is not None
        cursor = self.state.get(CURSORS, self.name)
        if cursor is None:
            return self._start(scope)
        if cursor.phase == "medians":
            return self._medians(scope, cursor)
        if self.streams is None:  # once a block: looking for them costs more than a small page
            self.streams = scope_streams(self.state, self.name)
        if cursor.stream == len(self.streams):
            return self._close(scope)
        stream_name = self.streams[cursor.stream]
        stream = self.state.get(STREAMS, stream_name)
        assert stream is not None
        if cursor.phase == "weights":
            return self._weights(scope, cursor, stream_name, stream)
        return self._receipts(scope, cursor, stream_name, stream)

    def _start(self, scope: Scope) -> int:
        epoch = scope.next_epoch
        end = epoch_end(self.chain, epoch)
        if self.now < end:
            return 0
        reports = [self.state.get(REPORTS, self.name, epoch, who) for who in scope.reporters]
        complete = sum(report is not None and report.complete for report in reports)
        liars = (len(scope.reporters) - 1) // 3
        waited = self.now >= end + self.chain.report_window
        if complete < (2 * liars + 1 if waited else len(scope.reporters)):
            return 0
        self._put(_phase("medians", 0, 0))
        return 1

    def _medians(self, scope: Scope, cursor: Cursor) -> int:
        """One reporter's chunks are the pages (a lower median of one); chunk by chunk."""
        epoch, (reporter,) = scope.next_epoch, scope.reporters
        report = self.state.get(REPORTS, self.name, epoch, reporter)
        assert report is not None
        if cursor.page == len(report.chunks):
            self.state.delete(REPORTS, self.name, epoch, reporter)
            self._put(_phase("weights", 0, cursor.page))
            return 1
        chunk = self.state.get(CHUNKS, self.name, epoch, reporter, cursor.page)
        assert chunk is not None
        self.state.put(PAGES, chunk, self.name, epoch, cursor.page)
        self.state.delete(CHUNKS, self.name, epoch, reporter, cursor.page)
        self._put(replace(cursor, page=cursor.page + 1))
        return pages.decode(chunk.data).rows

    def _page(
        self, scope: Scope, number: int, rule: Rule
    ) -> tuple[pages.Page, list[int], list[int]]:
        chunk = self.state.get(PAGES, self.name, scope.next_epoch, number)
        assert chunk is not None
        page = pages.decode(chunk.data)
        return page, *weigh(rule, dict(zip(scope.metrics, page.columns)))

    def _weights(self, scope: Scope, cursor: Cursor, name: str, stream: Stream) -> int:
        rule = from_spec(stream.rule, RULES)
        if cursor.page < cursor.pages:
            page, weights, _ = self._page(scope, cursor.page, rule)
            total = cursor.total_weight + sum(weights)
            nameless = weights[0] if page.gateways[0] == UNATTRIBUTED else cursor.nameless
            self._put(replace(cursor, page=cursor.page + 1, total_weight=total, nameless=nameless))
            return page.rows
        policy = from_spec(stream.policy, POLICIES)
        pool = policy.pool(scope.next_epoch, cursor.total_weight, rule.scale)
        pool += sum(amount for to, amount in cursor.rests if to == name)
        pool = min(pool, self._mintable(scope))
        cursor = replace(cursor, phase="receipts", page=0, pool=pool, dust=stream.dust)
        if cursor.total_weight:
            divided = _due(rule, cursor)
            cursor = replace(
                cursor, unminted=min(pool, divided * cursor.nameless // cursor.total_weight)
            )
            fresh = max(0, divided - stream.dust - cursor.unminted)
            self._mint(scope, fresh)
            self.state.put(STREAMS, replace(stream, dust=stream.dust + fresh), name)
        self._put(cursor)
        return 1

    def _mintable(self, scope: Scope) -> int:
        minted = self.state.get(MINTED, scope.next_epoch) or Minted(0)
        return min(self.chain.max_mint_per_epoch - minted.amount, bank.mintable(self.state))

    def _mint(self, scope: Scope, amount: int) -> None:
        minted = self.state.get(MINTED, scope.next_epoch) or Minted(0)
        self.state.put(MINTED, Minted(minted.amount + amount), scope.next_epoch)
        bank.mint(self.state, amount)

    def _receipts(self, scope: Scope, cursor: Cursor, name: str, stream: Stream) -> int:
        if cursor.page == cursor.pages:
            self._finish(scope, cursor, name, stream)
            return 1
        epoch, rule = scope.next_epoch, from_spec(stream.rule, RULES)
        page, weights, reasons = self._page(scope, cursor.page, rule)
        divided, total = _due(rule, cursor), cursor.total_weight
        amounts = share(divided, weights, total) if total else [0] * page.rows
        if page.gateways[0] == UNATTRIBUTED:
            amounts[0], reasons[0] = 0, REASON_UNATTRIBUTED
        owed: dict[bytes, int] = {}
        leaves = []
        rows = zip(page.gateways, weights, amounts, reasons, zip(*page.columns))
        for position, (gateway, weight, amount, reason, values) in enumerate(rows, cursor.count):
            payee = self._payee(gateway, epoch)
            owed[payee] = owed.get(payee, 0) + amount
            leaf = encode_leaf(gateway, payee, weight, amount, reason, values)
            leaves.append(leaf)
            row = (name, epoch, position, gateway, payee, weight, amount, reason, leaf)
            self.emit("receipts", row)
        for payee, amount in owed.items():
            if amount:
                bank.credit(self.state, payee, amount)
        paid = sum(amounts)
        self.state.put(STREAMS, replace(stream, dust=stream.dust - paid), name)
        tree = LogBuilder(cursor.count, cursor.edge)
        tree.extend(leaves)
        self._put(
            replace(
                cursor,
                page=cursor.page + 1,
                paid=cursor.paid + paid,
                count=tree.count,
                edge=tree.edge,
            )
        )
        return page.rows

    def _payee(self, gateway: bytes, epoch: int) -> bytes:
        binding = self.state.get(GATEWAYS, gateway)
        owner = binding.owner(epoch) if binding and binding.scope == self.name else None
        return TREASURY if owner is None else bank.resolve(self.state, owner)

    def _finish(self, scope: Scope, cursor: Cursor, name: str, stream: Stream) -> None:
        """Record the stream's issuance, hand its rest on, and turn to the next stream."""
        epoch, rests = scope.next_epoch, cursor.rests
        divided = _due(from_spec(stream.rule, RULES), cursor)
        rest = cursor.pool - max(0, divided - cursor.dust) if stream.rest is not None else 0
        if stream.rest == "treasury":
            rest = min(rest, self._mintable(scope))  # another scope may have minted meanwhile
        if rest and stream.rest == "treasury":
            self._mint(scope, rest)
            bank.credit(self.state, TREASURY, rest)
        elif rest and stream.rest is not None:
            rests = (*rests, (stream.rest, rest))
        tree = LogBuilder(cursor.count, cursor.edge)
        issuance = Issuance(
            scope=self.name,
            rule=stream.rule,
            policy=stream.policy,
            metrics=scope.metrics,
            total_weight=cursor.total_weight,
            pool=cursor.pool,
            dust_before=cursor.dust,
            dust_after=stream.dust,
            paid=cursor.paid,
            unminted=cursor.unminted,
            rest=rest,
            count=cursor.count,
            root=tree.root(),
        )
        self.state.put(ISSUANCES, issuance, name, epoch)
        row = (
            self.name, epoch, name, self.now, cursor.count, cursor.total_weight, cursor.pool,
            cursor.paid, cursor.unminted, stream.dust, rest,
        )  # fmt: skip
        self.emit("epochs", row)
        self._put(replace(_phase("weights", cursor.stream + 1, cursor.pages), rests=rests))

    def _close(self, scope: Scope) -> int:
        epoch, state = scope.next_epoch, self.state
        state.delete(CURSORS, self.name)
        state.put(SCOPES, replace(scope, next_epoch=epoch + 1), self.name)
        number = 0
        while state.get(PAGES, self.name, epoch - KEPT_EPOCHS, number) is not None:
            state.delete(PAGES, self.name, epoch - KEPT_EPOCHS, number)
            number += 1
        for reporter in scope.reporters:
            drop_report(state, self.name, epoch, reporter)
            state.delete(DUTIES, reporter, epoch)
        if all(other.next_epoch > epoch for _, other in state.items(SCOPES)):
            state.delete(MINTED, epoch)
        return 1

    def _put(self, cursor: Cursor) -> None:
        self.state.put(CURSORS, cursor, self.name)


def _phase(name: str, stream: int, count: int) -> Cursor:
    return Cursor(
        phase=name, stream=stream, page=0, pages=count, total_weight=0, nameless=0, pool=0, dust=0,
        unminted=0, paid=0, count=0, edge=(), rests=(),
    )  # fmt: skip


def _due(rule: Rule, cursor: Cursor) -> int:
    """Return what the stream in work divides in proportion to weights."""
    return due(cursor.pool + cursor.dust, cursor.total_weight, claim=rule.claim)


def scope_streams(state: State, scope: str) -> list[str]:
    """Return the names of a scope's streams, in order."""
    streams = [
        (item.position, str(name)) for (name,), item in state.items(STREAMS) if item.scope == scope
    ]
    return [name for _, name in sorted(streams)]


def drop_report(state: State, scope: str, epoch: int, reporter: bytes) -> None:
    """Remove a report and the chunks that have arrived."""
    report = state.get(REPORTS, scope, epoch, reporter)
    if report is None:
        return
    for number in range(report.received):
        state.delete(CHUNKS, scope, epoch, reporter, number)
    state.delete(REPORTS, scope, epoch, reporter)
