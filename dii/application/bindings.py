"""Ownership of gateways and applications, and access to claim accounts.

A scope has bindings of its own: its reporters decide nothing in another scope.

Of a scope's n >= 3f + 1 reporters f may lie. So f + 1 of them bind a hash for the first time or
open a claim account: one of those is honest. Whoever is bound keeps what is theirs unless they
hand it on, or 2f + 1 reporters name somebody else; then the governance's delay gives everybody
time to object. A reporter that repeats what is decided already does no harm: reporters do not know
in which order their messages arrive.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from dii import crypto
from dii.application import bank, gas
from dii.application.context import Context, epoch_from
from dii.application.messages import AssignGateway, Claim, RegisterApplications, RegisterGateways
from dii.application.naming import Kind, agree, enqueue, withdraw
from dii.application.records import (
    APPLICATIONS,
    FORWARDS,
    GATEWAYS,
    SCOPES,
    Binding,
    Lapse,
    Scope,
)
from dii.application.settling import UNATTRIBUTED, epoch_status
from dii.crypto import format_address
from dii.errors import AlreadyClaimed, BadMessage, NotTheOwner, UnknownGateway
from dii.ledger.state import Table

KEPT_OWNERS: Final = 16
"""Last owners of a gateway that stay known, besides those that unsettled epochs need."""


def register_gateways(context: Context, message: RegisterGateways) -> bool:
    """Name the owners of gateways; see :func:`_register`."""
    return _register(context, "gateway", GATEWAYS, message)


def register_applications(context: Context, message: RegisterApplications) -> bool:
    """Name the consumers of applications; see :func:`_register`."""
    return _register(context, "application", APPLICATIONS, message)


def _register(
    context: Context,
    kind: Kind,
    table: Table[Binding],
    message: RegisterGateways | RegisterApplications,
) -> bool:
    """Bind what has no owner from the oldest epoch that is not settling, and the rest later.

    f + 1 reporters bind for the first time. 2f + 1 bind to another account, from the first epoch
    that begins after the delay; what they decide last replaces what has not come into effect.
    The zero hash is refused and noted in the result; the other bindings of the message stand.
    """
    state, name = context.state, message.scope
    scope = context.scope_of_reporter(name)
    context.meter.charge(gas.BINDING * len(message.bindings))
    bindings = [binding for binding in message.bindings if binding[0] != UNATTRIBUTED]
    if len(bindings) < len(message.bindings):
        refused = f"the zero hash is no {kind}"
        if not bindings:
            raise BadMessage(kind=type(message).__name__, message=refused)
        context.note = f"{len(message.bindings) - len(bindings)} refused: {refused}"
    undecided = []
    for key, owner in bindings:
        bound = state.get(table, name, key)
        if bound is not None and bound.owners[-1][1] == owner:
            withdraw(state, kind, name, key, context.sender, context.time)
            continue
        needed = scope.liars + 1 if bound is None else 2 * scope.liars + 1
        vote = context.sender, owner
        if not agree(state, context.chain, context.time, kind, (name, scope), key, vote, needed):
            undecided.append(key)
        elif bound is None:
            status = epoch_status(state, context.chain, name, scope.next_epoch, context.time)
            since = scope.next_epoch + (status == "settling")
            _bind(context, table, name, key, Binding(since, ((since, owner),)))
        else:
            after = context.time + context.chain.governance_delay
            since = max(context.epoch + 1, epoch_from(context.chain, after))
            stays = [
                (at, one) for at, one in bound.owners if at <= context.epoch + 1 and at < since
            ]
            if not stays or stays[-1][1] != owner:
                stays.append((since, owner))
            _bind(context, table, name, key, replace(bound, owners=_needed(scope, stays)))
    if undecided:
        lapse = Lapse(kind, name, context.sender, context.time, tuple(undecided))
        enqueue(state, lapse)
    return context.spend_allowance(len(message.bindings))


def _bind(
    context: Context, table: Table[Binding], scope: str, key: bytes, binding: Binding
) -> None:
    context.state.put(table, binding, scope, key)
    if table is GATEWAYS:
        since, owner = binding.owners[-1]
        context.emit("gateways", key, scope, owner, since)


def _needed(scope: Scope, owners: list[tuple[int, bytes]]) -> tuple[tuple[int, bytes], ...]:
    """Return the owners that unsettled epochs may still need, and the last ones for contracts."""
    earlier = [None, *(owner for _, owner in owners)]
    changes = [pair for pair, before in zip(owners, earlier) if pair[1] != before]
    first = max([at for at, _ in changes if at <= scope.next_epoch], default=0)
    needed = sum(at >= first for at, _ in changes)
    return tuple(changes[-max(needed, KEPT_OWNERS) :])


def assign_gateway(context: Context, message: AssignGateway) -> bool:
    """Hand a gateway on from the next epoch; until then its owner is paid.

    What reporters have decided for a later epoch stands: no owner can put it off.
    """
    context.meter.charge(gas.BINDING)
    name, gateway = message.scope, message.gateway
    bound = context.state.get(GATEWAYS, name, gateway)
    if bound is None:
        raise UnknownGateway(gateway=gateway.hex(), scope=name)
    since = context.epoch + 1
    last = bound.owner(since)
    assert last is not None, "a first binding acts no later than the next epoch"
    owner = bank.resolve(context.state, last)
    if owner != context.sender:
        raise NotTheOwner(
            gateway=gateway.hex(),
            owner=format_address(owner),
            sender=format_address(context.sender),
        )
    scope = context.state.get(SCOPES, name)
    assert scope is not None
    before = [pair for pair in bound.owners if pair[0] < since]
    later = [pair for pair in bound.owners if pair[0] > since]
    owners = _needed(scope, [*before, (since, message.to), *later])
    context.state.put(GATEWAYS, replace(bound, owners=owners), name, gateway)
    context.emit("gateways", gateway, name, message.to, since)
    return False


def claim(context: Context, message: Claim) -> bool:
    """Open a claim account to the key that f + 1 reporters of its scope name.

    Its money moves, and what still comes is forwarded.
    """
    state, name = context.state, message.scope
    scope = context.scope_of_reporter(name)
    context.meter.charge(gas.BINDING)
    address = crypto.claim_address(name, message.operator)
    owner = crypto.address_of(message.public_key)
    forward = state.get(FORWARDS, address)
    if forward is not None and forward != owner:
        raise AlreadyClaimed(account=format_address(address), owner=format_address(forward))
    if forward is None:
        where, vote = (name, scope), (context.sender, owner)
        if agree(
            state, context.chain, context.time, "operator", where, message.operator, vote,
            scope.liars + 1,
        ):  # fmt: skip
            state.put(FORWARDS, owner, address)
            balance = bank.account(state, address).balance
            if balance:
                bank.debit(state, address, balance)
                context.credit("claim", owner, balance, sender=address)
        else:
            undecided = (message.operator,)
            enqueue(state, Lapse("operator", name, context.sender, context.time, undecided))
    return context.spend_allowance(1)
