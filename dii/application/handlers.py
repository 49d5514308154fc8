"""Handlers of messages, in one table of all kinds.

A handler checks and then changes the state through the journal; if it raises, its caller undoes
everything. It returns True if the message was a duty within its free allowance, so that no fee is
due. Costs beyond the transaction itself are charged to the meter before the work is done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple

from dii import errors
from dii.application import bank, bindings, contracts, gas, governance, messages, reports
from dii.application.context import Context


def transfer(context: Context, message: messages.Transfer) -> bool:
    """Move money; a claimed claim account forwards it."""
    if not message.amount:
        raise errors.BadMessage(kind="Transfer", message="the amount is zero")
    bank.debit(context.state, context.sender, message.amount)
    to = bank.resolve(context.state, message.to)
    contracts.refuse_contract(context.state, to)
    context.credit("transfer", context.sender, to, message.amount)
    return False


def burn(context: Context, message: messages.Burn) -> bool:
    """Destroy money of the sender's own."""
    if not message.amount:
        raise errors.BadMessage(kind="Burn", message="the amount is zero")
    bank.debit(context.state, context.sender, message.amount)
    bank.burn(context.state, message.amount)
    context.emit("transfers", context.position, "burn", context.sender, None, message.amount)
    return False


class Handler(NamedTuple):
    """Handler of one kind of message, with its gas, outlay and duty.

    Attributes
    ----------
    handle
        Checks and carries out a message.
    most_gas
        The most gas that it uses beyond the transaction's own; None if a contract decides.
    outlay
        The amount that it takes from its sender's balance if it succeeds, the fee apart.
    duty
        Role for which the message is a duty, free within an allowance: ``reporter`` of its scope or
        ``validator``.
    """

    handle: Callable[[Context, Any], bool]
    most_gas: Callable[[Any], int] | None
    outlay: Callable[[Any], int] = lambda _: 0
    duty: Literal["reporter", "validator"] | None = None


HANDLERS: Final[dict[type[messages.Message], Handler]] = {
    messages.Transfer: Handler(transfer, lambda _: gas.NEW_ACCOUNT, lambda message: message.amount),
    messages.Burn: Handler(burn, lambda _: 0, lambda message: message.amount),
    messages.RegisterGateways: Handler(
        bindings.register, lambda message: gas.BINDING * len(message.bindings), duty="reporter"
    ),
    messages.RegisterApplications: Handler(
        bindings.register, lambda message: gas.BINDING * len(message.bindings), duty="reporter"
    ),
    messages.AssignGateway: Handler(bindings.assign_gateway, lambda _: gas.BINDING),
    messages.Claim: Handler(
        bindings.claim, lambda _: gas.BINDING + gas.NEW_ACCOUNT, duty="reporter"
    ),
    messages.ReportManifest: Handler(reports.report_manifest, lambda _: 0, duty="reporter"),
    messages.ReportChunk: Handler(
        reports.report_chunk, lambda message: gas.REPORT_BYTE * len(message.data), duty="reporter"
    ),
    messages.Deploy: Handler(contracts.deploy, None, lambda message: message.value + message.purse),
    messages.Call: Handler(contracts.call, None, lambda message: message.value),
    messages.TopUp: Handler(contracts.top_up, lambda _: 0, lambda message: message.amount),
    messages.Propose: Handler(governance.propose, lambda _: gas.BINDING, duty="validator"),
    messages.Vote: Handler(governance.vote, lambda _: gas.BINDING, duty="validator"),
}


def most_gas(message: messages.Message, size: int) -> int | None:
    """Return the most gas of a transaction of this size; None if a contract decides."""
    most = HANDLERS[type(message)].most_gas
    return None if most is None else gas.intrinsic(size) + most(message)
