"""Whose a gateway is: bindings by reporters, hand-overs by owners, and claims of claim accounts."""

from __future__ import annotations

from dataclasses import replace

from dii import crypto
from dii.application import bank, gas
from dii.application.context import Context
from dii.application.messages import AssignGateway, Claim, RegisterGateways
from dii.application.records import FORWARDS, GATEWAYS, SCOPES, Binding, Forward
from dii.application.settling import UNATTRIBUTED, epoch_status
from dii.crypto import format_address
from dii.errors import AlreadyBound, AlreadyClaimed, BadMessage, NotTheOwner, UnknownGateway


def register_gateways(context: Context, message: RegisterGateways) -> bool:
    """Bind gateways that have no owner yet, from the oldest epoch that is not settling."""
    scope = context.scope_of_reporter(message.scope)
    context.meter.charge(gas.BINDING * len(message.bindings))
    status = epoch_status(
        context.state, context.chain, message.scope, scope.next_epoch, context.time
    )
    since = scope.next_epoch + (status == "settling")
    for gateway, owner in message.bindings:
        if gateway == UNATTRIBUTED:
            raise BadMessage(kind="RegisterGateways", message="the zero hash is no gateway")
        bound = context.state.get(GATEWAYS, gateway)
        if bound is not None:
            raise AlreadyBound(
                gateway=gateway.hex(),
                owner=format_address(bound.owners[-1][1]),
                scope=bound.scope,
            )
        context.state.put(GATEWAYS, Binding(message.scope, ((since, owner),)), gateway)
        context.emit("gateways", gateway, message.scope, owner, since)
    return context.spend_allowance(len(message.bindings))


def assign_gateway(context: Context, message: AssignGateway) -> bool:
    """Hand a gateway on from the next epoch; until then its owner is paid."""
    context.meter.charge(gas.BINDING)
    bound = context.state.get(GATEWAYS, message.gateway)
    if bound is None:
        raise UnknownGateway(gateway=message.gateway.hex())
    owner = bank.resolve(context.state, bound.owners[-1][1])
    if owner != context.sender:
        raise NotTheOwner(
            gateway=message.gateway.hex(),
            owner=format_address(owner),
            sender=format_address(context.sender),
        )
    scope = context.state.get(SCOPES, bound.scope)
    assert scope is not None
    since = context.epoch + 1
    owners = [pair for pair in bound.owners if pair[0] < since]
    # The last owner that an unsettled epoch may still need, and all after.
    first = max([at for at, _ in owners if at <= scope.next_epoch], default=0)
    kept = tuple(pair for pair in owners if pair[0] >= first)
    binding = replace(bound, owners=(*kept, (since, message.to)))
    context.state.put(GATEWAYS, binding, message.gateway)
    context.emit("gateways", message.gateway, bound.scope, message.to, since)
    return False


def claim(context: Context, message: Claim) -> bool:
    """Open a claim account to a key: its money moves, and what still comes is forwarded."""
    context.scope_of_reporter(message.scope)
    if message.public_key.startswith(crypto.CLAIM_DOMAIN):  # forwarding is one step, to a key
        raise BadMessage(kind="Claim", message="it names a claim account, not a key")
    address = crypto.claim_address(message.operator)
    forward = context.state.get(FORWARDS, address)
    if forward is not None:
        raise AlreadyClaimed(account=format_address(address), owner=format_address(forward.to))
    owner = crypto.address_of(message.public_key)
    context.meter.charge(gas.BINDING)
    context.state.put(FORWARDS, Forward(owner), address)
    balance = bank.account(context.state, address).balance
    if balance:
        bank.debit(context.state, address, balance)
        context.credit("claim", owner, balance, sender=address)
    return context.spend_allowance(1)
