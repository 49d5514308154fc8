"""What each message does to the state.

A handler checks and then changes the state through the journal; if it raises, everything it did
is undone by its caller. It returns True where the message was a duty within its free allowance,
so that no fee is due. Costs beyond the transaction itself are charged to the meter before the
work is done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from dii.application import bank, gas
from dii.application.bindings import assign_gateway, claim, register_applications, register_gateways
from dii.application.context import Context
from dii.application.contracts import call, deploy, refuse_contract, top_up
from dii.application.governance import propose, vote
from dii.application.messages import (
    AssignGateway,
    Burn,
    Call,
    Claim,
    Deploy,
    Message,
    Propose,
    RegisterApplications,
    RegisterGateways,
    ReportChunk,
    ReportManifest,
    TopUp,
    Transfer,
    Vote,
)
from dii.application.reports import report_chunk, report_manifest
from dii.errors import BadMessage


def transfer(context: Context, message: Transfer) -> bool:
    """Move money; a claimed claim account forwards it."""
    if not message.amount:
        raise BadMessage(kind="Transfer", message="an amount of zero moves nothing")
    bank.debit(context.state, context.sender, message.amount)
    to = bank.resolve(context.state, message.to)
    refuse_contract(context.state, to)
    context.credit("transfer", to, message.amount)
    return False


def burn(context: Context, message: Burn) -> bool:
    """Destroy money of the sender's own."""
    if not message.amount:
        raise BadMessage(kind="Burn", message="an amount of zero burns nothing")
    bank.debit(context.state, context.sender, message.amount)
    bank.burn(context.state, message.amount)
    context.emit("transfers", context.position, "burn", context.sender, None, message.amount)
    return False


HANDLERS: Final[dict[type[Message], Callable[[Context, Any], bool]]] = {
    Transfer: transfer,
    Burn: burn,
    RegisterGateways: register_gateways,
    AssignGateway: assign_gateway,
    Claim: claim,
    ReportManifest: report_manifest,
    ReportChunk: report_chunk,
    RegisterApplications: register_applications,
    Deploy: deploy,
    Call: call,
    TopUp: top_up,
    Propose: propose,
    Vote: vote,
}

DUTY: Final = (
    RegisterGateways,
    RegisterApplications,
    Claim,
    ReportManifest,
    ReportChunk,
    Propose,
    Vote,
)
"""Messages that are free for those whose duty they are, when they succeed."""


def most_gas(message: Message, size: int) -> int | None:
    """Return the most gas that a transaction of this size can use; None where a contract decides."""
    least = gas.intrinsic(size)
    match message:
        case Deploy() | Call():
            return None
        case Transfer():
            return least + gas.NEW_ACCOUNT
        case Claim():
            return least + gas.BINDING + gas.NEW_ACCOUNT
        case RegisterGateways() | RegisterApplications():
            return least + gas.BINDING * len(message.bindings)
        case AssignGateway() | Propose() | Vote():
            return least + gas.BINDING
        case ReportChunk():
            return least + gas.REPORT_BYTE * len(message.data)
    return least
