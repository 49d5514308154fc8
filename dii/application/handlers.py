"""Handlers of messages, and the table of all kinds of messages.

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
        raise errors.BadMessage(kind="Transfer", message="an amount of zero moves nothing")
    bank.debit(context.state, context.sender, message.amount)
    to = bank.resolve(context.state, message.to)
    contracts.refuse_contract(context.state, to)
    context.credit("transfer", context.sender, to, message.amount)
    return False


def burn(context: Context, message: messages.Burn) -> bool:
    """Destroy money of the sender's own."""
    if not message.amount:
        raise errors.BadMessage(kind="Burn", message="an amount of zero burns nothing")
    bank.debit(context.state, context.sender, message.amount)
    bank.burn(context.state, message.amount)
    context.emit("transfers", context.position, "burn", context.sender, None, message.amount)
    return False


class Kind(NamedTuple):
    """Properties of one kind of message.

    Attributes
    ----------
    handle
        The handler.
    most_gas
        The most gas that it uses beyond the transaction's own; None if a contract decides.
    outlay
        The amount that it takes from its sender's balance if it succeeds, the fee apart.
    duty
        For whom it is a duty, free within an allowance: for a ``reporter`` of its scope, or a
        ``validator``.
    """

    handle: Callable[[Context, Any], bool]
    most_gas: Callable[[Any], int] | None
    outlay: Callable[[Any], int] = lambda _: 0
    duty: Literal["reporter", "validator"] | None = None


KINDS: Final[dict[type[messages.Message], Kind]] = {
    messages.Transfer: Kind(transfer, lambda _: gas.NEW_ACCOUNT, lambda message: message.amount),
    messages.Burn: Kind(burn, lambda _: 0, lambda message: message.amount),
    messages.RegisterGateways: Kind(
        bindings.register, lambda message: gas.BINDING * len(message.bindings), duty="reporter"
    ),
    messages.RegisterApplications: Kind(
        bindings.register, lambda message: gas.BINDING * len(message.bindings), duty="reporter"
    ),
    messages.AssignGateway: Kind(bindings.assign_gateway, lambda _: gas.BINDING),
    messages.Claim: Kind(bindings.claim, lambda _: gas.BINDING + gas.NEW_ACCOUNT, duty="reporter"),
    messages.ReportManifest: Kind(reports.report_manifest, lambda _: 0, duty="reporter"),
    messages.ReportChunk: Kind(
        reports.report_chunk, lambda message: gas.REPORT_BYTE * len(message.data), duty="reporter"
    ),
    messages.Deploy: Kind(contracts.deploy, None, lambda message: message.value + message.purse),
    messages.Call: Kind(contracts.call, None, lambda message: message.value),
    messages.TopUp: Kind(contracts.top_up, lambda _: 0, lambda message: message.amount),
    messages.Propose: Kind(governance.propose, lambda _: gas.BINDING, duty="validator"),
    messages.Vote: Kind(governance.vote, lambda _: gas.BINDING, duty="validator"),
}


def most_gas(message: messages.Message, size: int) -> int | None:
    """Return the most gas of a transaction of this size; None if a contract decides."""
    most = KINDS[type(message)].most_gas
    return None if most is None else gas.intrinsic(size) + most(message)
