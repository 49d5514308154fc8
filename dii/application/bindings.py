"""Ownership of gateways and applications, and access to claim accounts, by votes of reporters.

A scope has bindings of its own: its reporters decide nothing in another scope.

Of a scope's n >= 3f + 1 reporters f may lie. So f + 1 of them bind a hash for the first time or
open a claim account: one of those is honest. A bound account keeps its gateway or application
unless it hands it on, or 2f + 1 reporters name another account; then the governance's delay gives
everybody time to object. Repeating a decided vote is not an error: reporters do not know in which
order their messages arrive.

Until enough reporters name the same account, the state keeps their votes. Votes that no other
reporter repeats must not fill it, so each vote expires after ``report_window``: a queue holds them
in the order of time, and every block drops a few of the oldest. (Sorting them by time in the state
itself would cost more the more there are; dropping them with an epoch would keep them as long as
their scope has an outage.)
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from dii import crypto, errors
from dii.application import bank, epochs, gas, messages, pages, records
from dii.application.context import Context
from dii.codec import Address, KeyedHash
from dii.ledger.state import Table

KEPT_OWNERS: Final = 16
"""Last owners of a gateway that stay known, besides those that unsettled epochs need."""
LAPSES_A_BLOCK: Final = 4_096
"""Hashes, of entries of the queue with up to ``MAX_BATCH`` each, after which a block drops no more.

Not entries: a reporter could make more entries of one hash each than blocks ever drop.
"""


# --- votes ---------------------------------------------------------------------------------------


_Subject = tuple[str, str, KeyedHash]
"""Gateway, application or operator; scope; and hash: what reporters vote on."""


def agree(
    context: Context, subject: _Subject, scope: records.Scope, account: Address, needed: int
) -> bool:
    """Note the sender's vote for an account; return whether ``needed`` reporters now name it.

    A reporter has one vote on each hash, the latest. Votes of former reporters and expired votes do
    not count. Votes on a decided hash are deleted, those of former reporters when they expire.
    """
    state, now = context.state, context.time
    since = now - context.chain.report_window
    votes = {
        reporter: vote[0]
        for reporter in (scope.reporters if needed > 1 else ())
        if (vote := state.get(records.NAMINGS, *subject, reporter)) and vote[1] > since
    }
    votes[context.sender] = account
    if sum(named == account for named in votes.values()) < needed:
        state.put(records.NAMINGS, (account, now), *subject, context.sender)
        return False
    for reporter in scope.reporters:
        if state.get(records.NAMINGS, *subject, reporter) is not None:
            state.delete(records.NAMINGS, *subject, reporter)
    return True


def _withdraw(context: Context, subject: _Subject, reporter: Address, until: int) -> None:
    """Delete a reporter's vote on a hash, unless it is later than a time."""
    vote = context.state.get(records.NAMINGS, *subject, reporter)
    if vote is not None and vote[1] <= until:
        context.state.delete(records.NAMINGS, *subject, reporter)


def _enqueue(context: Context, kind: str, scope: str, undecided: list[KeyedHash]) -> None:
    """Have the sender's votes on undecided hashes expire in time."""
    state = context.state
    queue = state.get(records.QUEUE) or records.Queue(0, 0)
    lapse = records.Lapse(kind, scope, context.sender, context.time, tuple(undecided))
    state.put(records.LAPSES, lapse, queue.end)
    state.put(records.QUEUE, replace(queue, end=queue.end + 1))


def expire_votes(context: Context) -> None:
    """Drop the oldest votes whose time is over."""
    state = context.state
    queue = state.get(records.QUEUE) or records.Queue(0, 0)
    number, dropped = queue.first, 0
    while number < queue.end and dropped < LAPSES_A_BLOCK:
        lapse = state.require(records.LAPSES, number)
        if context.time < lapse.time + context.chain.report_window:
            break
        for hash_ in lapse.hashes:
            # A later vote of the reporter has an entry of its own.
            _withdraw(context, (lapse.kind, lapse.scope, hash_), lapse.reporter, lapse.time)
        state.delete(records.LAPSES, number)
        number, dropped = number + 1, dropped + len(lapse.hashes)
    if dropped:
        state.put(records.QUEUE, records.Queue(number, queue.end))


# --- messages ------------------------------------------------------------------------------------


def register(
    context: Context, message: messages.RegisterGateways | messages.RegisterApplications
) -> bool:
    """Bind hashes without an owner from the oldest epoch that is not settling, the others later.

    f + 1 reporters bind for the first time. 2f + 1 bind to another account, from the first epoch
    that begins after the delay; their last decision replaces what has not come into effect.
    The zero hash is refused and noted in the result; the other bindings of the message are valid.
    """
    gateways = isinstance(message, messages.RegisterGateways)
    table = records.GATEWAYS if gateways else records.APPLICATIONS
    state, name, kind = context.state, message.scope, table.name
    scope = context.scope_of_reporter(name)
    context.meter.charge(gas.BINDING * len(message.bindings))
    bindings = [binding for binding in message.bindings if binding[0] != pages.ZERO_HASH]
    if len(bindings) < len(message.bindings):
        refused = f"the zero hash is not the hash of any {kind}"
        if not bindings:
            raise errors.BadMessage(kind=type(message).__name__, message=refused)
        context.note = f"{len(message.bindings) - len(bindings)} refused: {refused}"
    undecided = []
    for key, owner in bindings:
        bound = state.get(table, name, key)
        if bound is not None and bound.owners[-1][1] == owner:
            _withdraw(context, (kind, name, key), context.sender, context.time)
            continue
        needed = scope.faulty + 1 if bound is None else 2 * scope.faulty + 1
        if not agree(context, (kind, name, key), scope, owner, needed):
            undecided.append(key)
        elif bound is None:
            since = epochs.first_unsettled(state, name, scope)
            _bind(context, table, name, key, records.Binding(since, ((since, owner),)))
        else:
            after = context.time + context.chain.governance_delay
            since = max(context.epoch + 1, epochs.first_from(context.chain, after))
            until = min(since, context.epoch + 2)
            owners = [pair for pair in bound.owners if pair[0] < until]
            if not owners or owners[-1][1] != owner:
                owners.append((since, owner))
            _bind(context, table, name, key, replace(bound, owners=_needed(scope, owners)))
    if undecided:
        _enqueue(context, kind, name, undecided)
    return context.spend_allowance(len(message.bindings))


def _bind(
    context: Context, table: Table[records.Binding], scope: str, key: bytes, bound: records.Binding
) -> None:
    context.state.put(table, bound, scope, key)
    if table is records.GATEWAYS:
        since, owner = bound.owners[-1]
        context.emit("gateways", key, scope, owner, since)


def _needed(scope: records.Scope, owners: list[records.Owner]) -> tuple[records.Owner, ...]:
    """Return the owners that unsettled epochs may still need, and the last ones for contracts."""
    earlier = [None, *(owner for _, owner in owners)]
    changes = [pair for pair, before in zip(owners, earlier) if pair[1] != before]
    first = max([at for at, _ in changes if at <= scope.next_epoch], default=0)
    needed = sum(at >= first for at, _ in changes)
    return tuple(changes[-max(needed, KEPT_OWNERS) :])


def assign_gateway(context: Context, message: messages.AssignGateway) -> bool:
    """Hand a gateway on from the next epoch; until then its owner is paid.

    Decisions of reporters for a later epoch stay: no owner can delay them.
    """
    context.meter.charge(gas.BINDING)
    state, name, gateway = context.state, message.scope, message.gateway
    bound = state.get(records.GATEWAYS, name, gateway)
    if bound is None:
        raise errors.UnknownGateway(gateway=gateway.hex(), scope=name)
    since = context.epoch + 1
    last = bound.owner(since)
    assert last is not None, "a first binding acts no later than the next epoch"
    owner = bank.resolve(state, last)
    if owner != context.sender:
        named, sender = crypto.format_address(owner), crypto.format_address(context.sender)
        raise errors.NotTheOwner(gateway=gateway.hex(), owner=named, sender=sender)
    scope = state.require(records.SCOPES, name)
    before = [pair for pair in bound.owners if pair[0] < since]
    later = [pair for pair in bound.owners if pair[0] > since]
    owners = _needed(scope, [*before, (since, message.to), *later])
    state.put(records.GATEWAYS, replace(bound, owners=owners), name, gateway)
    context.emit("gateways", gateway, name, message.to, since)
    return False


def claim(context: Context, message: messages.Claim) -> bool:
    """Open a claim account to the key that f + 1 reporters of its scope name.

    Its money moves, and later payments are forwarded.
    """
    state, name = context.state, message.scope
    scope = context.scope_of_reporter(name)
    context.meter.charge(gas.BINDING)
    address = crypto.claim_address(name, message.operator)
    owner = crypto.address_of(message.public_key)
    forward = state.get(records.FORWARDS, address)
    if forward is not None and forward != owner:
        claimed, named = crypto.format_address(address), crypto.format_address(forward)
        raise errors.AlreadyClaimed(account=claimed, owner=named)
    if forward is None:
        subject = "operator", name, message.operator
        if agree(context, subject, scope, owner, scope.faulty + 1):
            state.put(records.FORWARDS, owner, address)
            balance = bank.account(state, address).balance
            if balance:
                bank.debit(state, address, balance)
                context.credit("claim", address, owner, balance)
        else:
            _enqueue(context, "operator", name, [message.operator])
    return context.spend_allowance(1)
