"""Settling: a closed epoch's reports become metrics, weights, receipts and money.

An epoch of a million gateways does not fit into one block, so settling is a cursor in the state.
Its phases are

1. *medians* and *usage*: the reporters' chunks become pages of agreed integers;
2. *weights*, stream by stream: the sum of weights, hence the pool;
3. *receipts*, stream by stream: amounts, the leaves of the receipts' tree, and the payees' credit;
4. *clear*: what nobody needs any more leaves the state, and the epoch is closed.

Weights are computed again in phase 3 instead of being kept: a rule is a pure function of a page,
and recomputing costs less than storing. What a stream may pay is minted into the stream's own
``dust`` when its pool is known and paid out of there page by page; what remains at the end *is*
the dust. So money is conserved after every block, however an epoch falls into blocks.

Epochs of a scope settle in order and wait for their reports; scopes do not wait for each other.
A block does ``settle_rows`` rows of work. Where one scope has as much to do or more, the next block
goes on with the next scope, so that none waits for longer than a block of each other. Pages are not
divided, so a block may do a page (of each reporter, in *medians*) more than that.

Who reports what, and by which streams it is paid, is as it was when the epoch's settling began:
changes by governance count from the next epoch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Literal

from dii.application import bank, naming, pages
from dii.application.contracts import Hooks
from dii.application.medians import PAGE_COST, Merge
from dii.application.programs import Loaded
from dii.application.records import (
    CHUNKS,
    COMING,
    CURSORS,
    EPOCH_PAGES,
    GATEWAYS,
    ISSUANCES,
    MINTED,
    PAGES,
    PROGRESS,
    REPORTS,
    SCOPES,
    STREAMS,
    TURNS,
    USAGE_PAGES,
    Chain,
    Cursor,
    EpochPages,
    Minted,
    Plan,
    Scope,
    Stream,
)  # fmt: skip
from dii.application.streams import apply_streams, denied
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


def settle(state: State, chain: Chain, height: int, now: int, emit: Emit, loaded: Loaded) -> None:
    """Do one block's work: move every scope's settling on, and drop what has lapsed."""
    naming.lapse(state, chain, now)
    names = sorted(str(name) for (name,), _ in state.items(SCOPES))
    turn = state.get(TURNS)
    later = [name for name in names if turn is not None and name >= turn]
    steps = [
        _Step(state, chain, name, height, now, emit, loaded)
        for name in dict.fromkeys([*later, *names])
    ]
    busy = [step for step in steps if step.ready()]
    budget = chain.settle_rows
    for step, following in zip(busy, [*busy[1:], *busy[:1]]):
        budget -= step.run(budget)
        if budget <= 0:
            if len(names) > 1:
                state.put(TURNS, following.name)
            break
    for step in busy:  # an epoch begins to settle as soon as it can, however much there is to do
        step.ready()


@dataclass(slots=True)
class _Step:
    """One scope's settling within one block."""

    state: State
    chain: Chain
    name: str
    height: int
    now: int
    emit: Emit
    loaded: Loaded

    def run(self, budget: int) -> int:
        """Work for about so many rows; return what it cost, less than asked for where all is done."""
        spent = 0
        while spent < budget:
            cost = self._advance(budget - spent)
            if not cost:
                break
            spent += cost
        return spent

    def ready(self) -> bool:
        """Return whether an epoch is being settled, or can be from now on."""
        return self.state.get(CURSORS, self.name) is not None or self._start()

    def _advance(self, budget: int) -> int:
        """Do one piece of work; return what it cost, in rows; 0 where nothing is to be done."""
        if not self.ready():
            return 0
        scope, cursor = self.state.get(SCOPES, self.name), self.state.get(CURSORS, self.name)
        assert scope is not None
        assert cursor is not None
        if cursor.phase in ("medians", "usage"):
            return self._merge(scope, cursor, budget)
        if cursor.phase == "clear":
            return self._clear(scope, cursor, budget)
        if cursor.stream == len(cursor.plans):
            return self._hooks(scope, cursor, budget)
        plan = cursor.plans[cursor.stream]
        stream = self.state.get(STREAMS, plan.name)
        assert stream is not None
        if cursor.phase == "weights":
            return self._weights(scope, cursor, plan, stream)
        return self._receipts(scope, cursor, plan, stream)

    def _start(self) -> bool:
        """Begin to settle the next epoch, if it has ended and enough of its reports are here."""
        scope = self.state.get(SCOPES, self.name)
        assert scope is not None
        epoch = scope.next_epoch
        end = epoch_end(self.chain, epoch)
        if self.now < end:
            return False
        whole = whole_reports(self.state, self.name, scope)
        waited = self.now >= end + self.chain.report_window
        if len(whole) < (2 * scope.liars + 1 if waited else len(scope.reporters)):
            return False
        streams = apply_streams(self.state, self.name, epoch)
        plans = tuple(Plan(name, one.rule, one.policy, one.rest) for name, one in streams.items())
        self._put(Cursor("medians", whole, plans, chunks=(0,) * len(whole)))
        return True

    def _merge(self, scope: Scope, cursor: Cursor, budget: int) -> int:
        """Make pages of metrics, then of usage, out of the reports."""
        merge = Merge(self.state, self.name, scope, cursor, self.chain.max_rows)
        merged, cost, done = merge.advance(budget)
        where = self.name, scope.next_epoch
        if not done:
            self._put(merged)
        elif cursor.phase == "medians":
            self.state.put(
                EPOCH_PAGES, EpochPages(scope.metrics, merged.pages, scope.usage, 0), *where
            )
            chunks = (0,) * len(cursor.reporters)
            self._put(Cursor("usage", cursor.reporters, cursor.plans, chunks=chunks))
        else:
            kept = self.state.get(EPOCH_PAGES, *where)
            assert kept is not None
            self.state.put(EPOCH_PAGES, replace(kept, usage_pages=merged.pages), *where)
            for reporter in cursor.reporters:
                report = self.state.get(REPORTS, *where, reporter)
                progress = self.state.get(PROGRESS, *where, reporter)
                if report and progress and progress.stored == report.parts:  # else cleared later
                    self.state.delete(REPORTS, *where, reporter)
                    self.state.delete(PROGRESS, *where, reporter)
            self._put(Cursor("weights", cursor.reporters, cursor.plans, pages=kept.pages))
        return max(1, cost)

    def _page(
        self, scope: Scope, number: int, rule: Rule
    ) -> tuple[pages.Page, list[int], list[int]]:
        data = self.state.get(PAGES, self.name, scope.next_epoch, number)
        assert data is not None
        page = pages.decode(data)
        none = denied(self.state, self.name)
        rows = [row for row, key in enumerate(page.keys) if key in none] if none else ()
        return page, *weigh(rule, dict(zip(scope.metrics, page.columns)), rows)

    def _weights(self, scope: Scope, cursor: Cursor, plan: Plan, stream: Stream) -> int:
        rule = from_spec(plan.rule, RULES)
        if cursor.page < cursor.pages:
            page, weights, _ = self._page(scope, cursor.page, rule)
            total = cursor.total_weight + sum(weights)
            nameless = weights[0] if page.keys[0] == UNATTRIBUTED else cursor.nameless
            self._put(replace(cursor, page=cursor.page + 1, total_weight=total, nameless=nameless))
            return PAGE_COST + page.rows
        policy = from_spec(plan.policy, POLICIES)
        pool = policy.pool(scope.next_epoch, cursor.total_weight, rule.scale)
        pool += sum(amount for to, amount in cursor.rests if to == plan.name)
        pool = min(pool, self._mintable(scope))
        cursor = replace(cursor, phase="receipts", page=0, pool=pool, dust=stream.dust)
        if cursor.total_weight:
            divided = _due(rule, cursor)
            cursor = replace(
                cursor, unminted=min(pool, divided * cursor.nameless // cursor.total_weight)
            )
            fresh = max(0, divided - stream.dust - cursor.unminted)
            self._mint(scope, fresh)
            self.state.put(STREAMS, replace(stream, dust=stream.dust + fresh), plan.name)
        self._put(cursor)
        return PAGE_COST

    def _mintable(self, scope: Scope) -> int:
        minted = self.state.get(MINTED, scope.next_epoch) or Minted(0, 0)
        return min(self.chain.max_mint_per_epoch - minted.amount, bank.mintable(self.state))

    def _mint(self, scope: Scope, amount: int, treasury: int = 0) -> None:
        was = self.state.get(MINTED, scope.next_epoch) or Minted(0, 0)
        minted = Minted(was.amount + amount, was.treasury + treasury)
        self.state.put(MINTED, minted, scope.next_epoch)
        bank.mint(self.state, amount)

    def _receipts(self, scope: Scope, cursor: Cursor, plan: Plan, stream: Stream) -> int:
        if cursor.page == cursor.pages:
            self._finish(scope, cursor, plan, stream)
            return PAGE_COST
        name, epoch, rule = plan.name, scope.next_epoch, from_spec(plan.rule, RULES)
        page, weights, reasons = self._page(scope, cursor.page, rule)
        divided, total = _due(rule, cursor), cursor.total_weight
        amounts = share(divided, weights, total) if total else [0] * page.rows
        if page.keys[0] == UNATTRIBUTED:
            amounts[0], reasons[0] = 0, REASON_UNATTRIBUTED
        owed: dict[bytes, int] = {}
        leaves = []
        rows = zip(page.keys, weights, amounts, reasons, zip(*page.columns))
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
        return PAGE_COST + page.rows

    def _payee(self, gateway: bytes, epoch: int) -> bytes:
        binding = self.state.get(GATEWAYS, self.name, gateway)
        owner = binding.owner(epoch) if binding else None
        return TREASURY if owner is None else bank.resolve(self.state, owner)

    def _finish(self, scope: Scope, cursor: Cursor, plan: Plan, stream: Stream) -> None:
        """Record the stream's issuance, hand its rest on, and turn to the next stream."""
        name, epoch, rests = plan.name, scope.next_epoch, cursor.rests
        divided = _due(from_spec(plan.rule, RULES), cursor)
        rest = cursor.pool - max(0, divided - cursor.dust) if plan.rest is not None else 0
        if plan.rest == "treasury":
            minted = self.state.get(MINTED, epoch) or Minted(0, 0)
            room = self.chain.max_treasury_per_epoch - minted.treasury
            rest = min(rest, room, self._mintable(scope))  # another scope may have minted meanwhile
        if rest and plan.rest == "treasury":
            self._mint(scope, rest, treasury=rest)
            bank.credit(self.state, TREASURY, rest)
        elif rest and plan.rest is not None:
            rests = (*rests, (plan.rest, rest))
        tree = LogBuilder(cursor.count, cursor.edge)
        issuance = Issuance(
            scope=self.name,
            rule=plan.rule,
            policy=plan.policy,
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
        self._put(
            Cursor(
                "weights", cursor.reporters, cursor.plans,
                stream=cursor.stream + 1, pages=cursor.pages, rests=rests,
            )
        )  # fmt: skip

    def _hooks(self, scope: Scope, cursor: Cursor, budget: int) -> int:
        """Let contracts do what they promised for the epoch: all is paid, pages can be looked up.

        A block's gas for this, ``hook_gas``, stands beside ``settle_rows``: so much of the one is
        used up as of the other.
        """
        rows, most = self.chain.settle_rows, self.chain.hook_gas
        hooks = Hooks(
            self.state, self.chain, self.name, scope.next_epoch, self.height, self.now, self.emit,
            self.loaded,
        )  # fmt: skip
        after, used = hooks.run(cursor.last, max(1, budget * most // rows))
        if after is None:
            self._put(Cursor("clear", cursor.reporters, ()))
        else:
            self._put(replace(cursor, phase="hooks", last=after))
        return 1 + used * rows // most

    def _clear(self, scope: Scope, cursor: Cursor, budget: int) -> int:
        """Drop old reports and the pages that are no longer kept; last, close the epoch.

        Reports that were unfinished when an epoch began to settle stay until the next one is
        cleared: their chunks may still be on their way.
        """
        state, epoch = self.state, scope.next_epoch
        key, progress = next(state.items(PROGRESS, self.name), ((self.name, epoch), None))
        if progress is not None and int(key[1]) < epoch:
            least = max(0, progress.stored - budget)
            for number in range(least, progress.stored):
                state.delete(CHUNKS, *key, number)
            if least:
                state.put(PROGRESS, replace(progress, stored=least), *key)
            else:
                state.delete(PROGRESS, *key)
                state.delete(REPORTS, *key)
            return progress.stored - least + 1
        where = self.name, epoch - KEPT_EPOCHS
        old = state.get(EPOCH_PAGES, *where) if epoch >= KEPT_EPOCHS else None
        if old is None:
            self._close(scope)
            return 1
        end = min(cursor.page + budget, old.pages + old.usage_pages)
        for number in range(cursor.page, end):
            if number < old.pages:
                state.delete(PAGES, *where, number)
            else:
                state.delete(USAGE_PAGES, *where, number - old.pages)
        if end == old.pages + old.usage_pages:
            state.delete(EPOCH_PAGES, *where)
        self._put(replace(cursor, page=end))
        return end - cursor.page + 1

    def _close(self, scope: Scope) -> None:
        epoch, state = scope.next_epoch, self.state
        state.delete(CURSORS, self.name)
        scope = state.get(COMING, self.name) or scope
        state.delete(COMING, self.name)
        state.put(SCOPES, replace(scope, next_epoch=epoch + 1), self.name)
        if all(other.next_epoch > epoch for _, other in state.items(SCOPES)):
            state.delete(MINTED, epoch)

    def _put(self, cursor: Cursor) -> None:
        self.state.put(CURSORS, cursor, self.name)


def _due(rule: Rule, cursor: Cursor) -> int:
    """Return what the stream in work divides in proportion to weights."""
    return due(cursor.pool + cursor.dust, cursor.total_weight, claim=rule.claim)


def whole_reports(state: State, name: str, scope: Scope) -> tuple[bytes, ...]:
    """Return the reporters whose report on a scope's next epoch has arrived whole."""
    whole = []
    for reporter in scope.reporters:
        key = name, scope.next_epoch, reporter
        report, progress = state.get(REPORTS, *key), state.get(PROGRESS, *key)
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
    """Change who reports what of a scope, for all epochs that are not settling yet.

    What a report says that a removed reporter has sent, or that has other columns, counts for
    nothing from then on and leaves the state when its epoch is closed; a reporter may send another
    for nothing. The last change that is made while an epoch settles is the one that acts after it.
    """
    scope = state.get(SCOPES, name)
    assert scope is not None, "governance changes scopes that there are"
    changed = Scope(reporters, metrics, usage, scope.next_epoch)
    state.put(SCOPES if state.get(CURSORS, name) is None else COMING, changed, name)
