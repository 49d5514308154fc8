"""Settling: a closed epoch's reports become metrics, weights, receipts and money.

An epoch of a million gateways does not fit into one block, so settling is a cursor in the state.
Its phases are

1. *medians* and *usage*: the reporters' chunks become pages of agreed integers;
2. *weights*, stream by stream: the sum of weights, hence the pool;
3. *receipts*, stream by stream: amounts, the leaves of the receipts' tree, and the payees' credit;
4. *hooks*: contracts run their ``@on_epoch`` functions;
5. *clear*: records that are no longer needed leave the state, and the epoch is closed.

Weights are computed again in phase 3 instead of being kept: a rule is a pure function of a page,
and recomputing costs less than storing. The amount that a stream may pay is minted into its own
``dust`` when its pool is known, and paid from there page by page; the remainder *is* the dust. So
money is conserved after every block, however the work is divided into blocks.

Epochs of a scope settle in order and wait for their reports; scopes do not wait for each other.
A block does ``settle_rows`` rows of work. If one scope has as much to do or more, the next block
begins with the next scope, so that a scope waits for at most one block of each other scope. Pages
are not divided, so a block may do a page (of each reporter, in *medians*) more than that.

Reporters, columns and streams are those of the time at which the epoch's settling began: changes by
governance count from the next epoch.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from dii.application import bank, bindings, contracts, epochs, medians, pages, records, streams
from dii.application.context import Context
from dii.codec import Address
from dii.genesis import TREASURY
from dii.ledger.log import LogBuilder
from dii.minting import POLICIES, RULES, Issuance, Rule, due, share, weigh
from dii.minting.receipts import REASON_UNATTRIBUTED, encode_leaf
from dii.minting.spec import from_spec

KEPT_EPOCHS: Final = 2
"""Settled epochs whose metrics stay in the state."""


def settle(context: Context) -> None:
    """Do one block's work: move every scope's settling on, and drop expired votes."""
    bindings.expire_votes(context)
    state = context.state
    names = sorted(str(name) for (name,), _ in state.items(records.SCOPES))
    turn = state.get(records.TURNS)
    later = [name for name in names if turn is not None and name >= turn]
    steps = [_Step(context, name) for name in dict.fromkeys([*later, *names])]
    busy = [step for step in steps if step.ready()]
    budget = context.chain.settle_rows
    for step, following in zip(busy, [*busy[1:], *busy[:1]]):
        budget -= step.run(budget)
        if budget <= 0:
            if len(names) > 1:
                state.put(records.TURNS, following.name)
            break
    for step in busy:  # an epoch begins to settle as soon as it can, however much there is to do
        step.ready()


class _Step:
    """Settling of one scope within one block.

    Attributes
    ----------
    scope, cursor
        The scope and its cursor at the piece of work that is being done.
    """

    scope: records.Scope
    cursor: records.Cursor

    def __init__(self, context: Context, name: str) -> None:
        self.context, self.name = context, name
        self.state, self.chain = context.state, context.chain

    def run(self, budget: int) -> int:
        """Work for about so many rows; return the cost, below the budget if nothing is left."""
        spent = 0
        while spent < budget and self.ready():
            spent += self._advance(budget - spent)
        return spent

    def ready(self) -> bool:
        """Return whether an epoch is being settled, or can be from now on."""
        self.scope = self.state.require(records.SCOPES, self.name)
        cursor = self.state.get(records.CURSORS, self.name) or self._start()
        if cursor is not None:
            self.cursor = cursor
        return cursor is not None

    def _start(self) -> records.Cursor | None:
        """Begin to settle the next epoch, if it has ended and enough of its reports are here."""
        epoch, now = self.scope.next_epoch, self.context.time
        end = epochs.end(self.chain, epoch)
        if now < end:
            return None
        whole = epochs.whole_reports(self.state, self.name, self.scope)
        waited = now >= end + self.chain.report_window
        if len(whole) < (2 * self.scope.faulty + 1 if waited else len(self.scope.reporters)):
            return None
        plans = tuple(
            records.Plan(name, stream.rule, stream.policy, stream.rest)
            for name, stream in streams.apply_streams(self.state, self.name, epoch).items()
        )
        return self._put(records.Cursor("medians", whole, plans, chunks=(0,) * len(whole)))

    def _advance(self, budget: int) -> int:
        """Do one piece of work; return its cost, in rows, at least 1."""
        cursor = self.cursor
        if cursor.phase in ("medians", "usage"):
            return self._merge(budget)
        if cursor.phase == "clear":
            return self._clear(budget)
        if cursor.stream == len(cursor.plans):
            return self._hooks(budget)
        plan = cursor.plans[cursor.stream]
        stream = self.state.require(records.STREAMS, plan.name)
        if cursor.phase == "weights":
            return self._weights(plan, stream)
        return self._receipts(plan, stream)

    def _merge(self, budget: int) -> int:
        """Make pages of metrics, then of usage, out of the reports."""
        state, scope, cursor = self.state, self.scope, self.cursor
        merge = medians.Merge(state, self.name, scope, cursor, self.chain.max_rows)
        merged, cost, done = merge.advance(budget)
        where = self.name, scope.next_epoch
        if not done:
            self._put(merged)
        elif cursor.phase == "medians":
            kept = records.EpochPages(scope.metrics, merged.pages, scope.usage, 0)
            state.put(records.EPOCH_PAGES, kept, *where)
            chunks = (0,) * len(cursor.reporters)
            self._put(records.Cursor("usage", cursor.reporters, cursor.plans, chunks=chunks))
        else:
            whole = state.require(records.EPOCH_PAGES, *where)
            state.put(records.EPOCH_PAGES, replace(whole, usage_pages=merged.pages), *where)
            for reporter in cursor.reporters:
                report = state.get(records.REPORTS, *where, reporter)
                progress = state.get(records.PROGRESS, *where, reporter)
                if report and progress and progress.stored == report.parts:  # else cleared later
                    state.delete(records.REPORTS, *where, reporter)
                    state.delete(records.PROGRESS, *where, reporter)
            self._put(records.Cursor("weights", cursor.reporters, cursor.plans, pages=whole.pages))
        return max(1, cost)

    def _page(self, rule: Rule) -> tuple[pages.Page, list[int], list[int]]:
        """Return the next page of metrics, its weights and their reasons."""
        scope = self.scope
        where = self.name, scope.next_epoch, self.cursor.page
        page = pages.decode(self.state.require(records.PAGES, *where))
        denied = streams.denied(self.state, self.name)
        rows = [row for row, key in enumerate(page.keys) if key in denied] if denied else ()
        return page, *weigh(rule, dict(zip(scope.metrics, page.columns)), rows)

    def _weights(self, plan: records.Plan, stream: records.Stream) -> int:
        cursor, rule = self.cursor, from_spec(plan.rule, RULES)
        if cursor.page < cursor.pages:
            page, weights, _ = self._page(rule)
            total = cursor.total_weight + sum(weights)
            unattributed = weights[0] if page.keys[0] == pages.ZERO_HASH else cursor.unattributed
            self._put(
                replace(cursor, page=cursor.page + 1, total_weight=total, unattributed=unattributed)
            )
            return medians.PAGE_COST + page.rows
        policy = from_spec(plan.policy, POLICIES)
        pool = policy.pool(self.scope.next_epoch, cursor.total_weight, rule.scale)
        pool += sum(amount for to, amount in cursor.rests if to == plan.name)
        pool = min(pool, self._mintable())
        cursor = replace(cursor, phase="receipts", page=0, pool=pool, dust=stream.dust)
        if cursor.total_weight:
            divided = _due(rule, cursor)
            unminted = min(pool, divided * cursor.unattributed // cursor.total_weight)
            cursor = replace(cursor, unminted=unminted)
            fresh = max(0, divided - stream.dust - unminted)
            self._mint(fresh)
            self.state.put(records.STREAMS, replace(stream, dust=stream.dust + fresh), plan.name)
        self._put(cursor)
        return medians.PAGE_COST

    def _minted(self) -> records.Minted:
        return self.state.get(records.MINTED, self.scope.next_epoch) or records.Minted(0, 0)

    def _mintable(self) -> int:
        most = self.chain.max_mint_per_epoch - self._minted().amount
        return min(most, bank.mintable(self.state))

    def _mint(self, amount: int, treasury: int = 0) -> None:
        was = self._minted()
        minted = records.Minted(was.amount + amount, was.treasury + treasury)
        self.state.put(records.MINTED, minted, self.scope.next_epoch)
        bank.mint(self.state, amount)

    def _receipts(self, plan: records.Plan, stream: records.Stream) -> int:
        cursor = self.cursor
        if cursor.page == cursor.pages:
            self._finish(plan, stream)
            return medians.PAGE_COST
        name, epoch, rule = plan.name, self.scope.next_epoch, from_spec(plan.rule, RULES)
        page, weights, reasons = self._page(rule)
        divided, total = _due(rule, cursor), cursor.total_weight
        amounts = share(divided, weights, total) if total else [0] * page.rows
        if page.keys[0] == pages.ZERO_HASH:
            amounts[0], reasons[0] = 0, REASON_UNATTRIBUTED
        owed: dict[Address, int] = {}
        leaves = []
        rows = zip(page.keys, weights, amounts, reasons, zip(*page.columns))
        for position, (gateway, weight, amount, reason, values) in enumerate(rows, cursor.count):
            payee = self._payee(gateway, epoch)
            owed[payee] = owed.get(payee, 0) + amount
            leaf = encode_leaf(gateway, payee, weight, amount, reason, values)
            leaves.append(leaf)
            row = (name, epoch, position, gateway, payee, weight, amount, reason, leaf)
            self.context.emit("receipts", *row)
        for payee, amount in owed.items():
            if amount:
                bank.credit(self.state, payee, amount)
        paid = sum(amounts)
        self.state.put(records.STREAMS, replace(stream, dust=stream.dust - paid), name)
        tree = LogBuilder(cursor.count, cursor.edge)
        tree.extend(leaves)
        cursor = replace(cursor, page=cursor.page + 1, paid=cursor.paid + paid)
        self._put(replace(cursor, count=tree.count, edge=tree.edge))
        return medians.PAGE_COST + page.rows

    def _payee(self, gateway: bytes, epoch: int) -> Address:
        binding = self.state.get(records.GATEWAYS, self.name, gateway)
        owner = binding.owner(epoch) if binding else None
        return TREASURY if owner is None else bank.resolve(self.state, owner)

    def _finish(self, plan: records.Plan, stream: records.Stream) -> None:
        """Record the stream's issuance, hand its rest on, and turn to the next stream."""
        cursor, scope, name = self.cursor, self.scope, plan.name
        divided, rests = _due(from_spec(plan.rule, RULES), cursor), cursor.rests
        rest = cursor.pool - max(0, divided - cursor.dust) if plan.rest is not None else 0
        if plan.rest == "treasury":
            room = self.chain.max_treasury_per_epoch - self._minted().treasury
            rest = min(rest, room, self._mintable())  # another scope may have minted meanwhile
        if rest and plan.rest == "treasury":
            self._mint(rest, treasury=rest)
            bank.credit(self.state, TREASURY, rest)
        elif rest and plan.rest is not None:
            rests = (*rests, (plan.rest, rest))
        issuance = Issuance(
            scope=self.name, rule=plan.rule, policy=plan.policy, metrics=scope.metrics,
            total_weight=cursor.total_weight, pool=cursor.pool, dust_before=cursor.dust,
            dust_after=stream.dust, paid=cursor.paid, unminted=cursor.unminted, rest=rest,
            count=cursor.count, root=LogBuilder(cursor.count, cursor.edge).root(),
        )  # fmt: skip
        self.state.put(records.ISSUANCES, issuance, name, scope.next_epoch)
        self.context.emit(
            "epochs", self.name, scope.next_epoch, name, self.context.time, cursor.count,
            cursor.total_weight, cursor.pool, cursor.paid, cursor.unminted, stream.dust, rest,
        )  # fmt: skip
        following = records.Cursor("weights", cursor.reporters, cursor.plans, pages=cursor.pages)
        self._put(replace(following, stream=cursor.stream + 1, rests=rests))

    def _hooks(self, budget: int) -> int:
        """Run the hooks of contracts: all is paid, pages can be looked up.

        A block has ``hook_gas`` for this, beside ``settle_rows``: a used share of this gas counts
        as the same share of the rows.
        """
        rows, most, cursor = self.chain.settle_rows, self.chain.hook_gas, self.cursor
        hooks = contracts.Hooks(self.context, self.name, self.scope.next_epoch)
        after, used = hooks.run(cursor.last, max(1, budget * most // rows))
        if after is None:
            self._put(records.Cursor("clear", cursor.reporters, ()))
        else:
            self._put(replace(cursor, phase="hooks", last=after))
        return 1 + used * rows // most

    def _clear(self, budget: int) -> int:
        """Drop old reports and the pages that are no longer kept; last, close the epoch.

        Reports that were unfinished when an epoch began to settle stay until the next one is
        cleared: their chunks may still be on their way.
        """
        state, cursor, epoch = self.state, self.cursor, self.scope.next_epoch
        key, progress = next(state.items(records.PROGRESS, self.name), ((self.name, epoch), None))
        if progress is not None and int(key[1]) < epoch:
            least = max(0, progress.stored - budget)
            for number in range(least, progress.stored):
                state.delete(records.CHUNKS, *key, number)
            if least:
                state.put(records.PROGRESS, replace(progress, stored=least), *key)
            else:
                state.delete(records.PROGRESS, *key)
                state.delete(records.REPORTS, *key)
            return progress.stored - least + 1
        where = self.name, epoch - KEPT_EPOCHS
        old = state.get(records.EPOCH_PAGES, *where) if epoch >= KEPT_EPOCHS else None
        if old is None:
            self._close()
            return 1
        end = min(cursor.page + budget, old.pages + old.usage_pages)
        for number in range(cursor.page, end):
            if number < old.pages:
                state.delete(records.PAGES, *where, number)
            else:
                state.delete(records.USAGE_PAGES, *where, number - old.pages)
        if end == old.pages + old.usage_pages:
            state.delete(records.EPOCH_PAGES, *where)
        self._put(replace(cursor, page=end))
        return end - cursor.page + 1

    def _close(self) -> None:
        epoch, state = self.scope.next_epoch, self.state
        state.delete(records.CURSORS, self.name)
        scope = state.get(records.COMING, self.name) or self.scope
        state.delete(records.COMING, self.name)
        state.put(records.SCOPES, replace(scope, next_epoch=epoch + 1), self.name)
        if all(other.next_epoch > epoch for _, other in state.items(records.SCOPES)):
            state.delete(records.MINTED, epoch)

    def _put(self, cursor: records.Cursor) -> records.Cursor:
        self.state.put(records.CURSORS, cursor, self.name)
        return cursor


def _due(rule: Rule, cursor: records.Cursor) -> int:
    """Return the amount that the stream in work divides in proportion to weights."""
    return due(cursor.pool + cursor.dust, cursor.total_weight, claim=rule.claim)
