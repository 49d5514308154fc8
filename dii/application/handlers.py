"""What each message does to the state.

A handler checks and then changes the state through the journal; if it raises, everything it did
is undone by its caller. It returns True where the message was a reporter's duty within its free
allowance, so that no fee is due. Costs beyond the transaction itself are charged to the meter
before the work is done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from dii import crypto
from dii.application import bank, gas, pages
from dii.application.messages import (
    AssignGateway,
    Burn,
    Claim,
    Message,
    RegisterGateways,
    ReportChunk,
    ReportManifest,
    Transfer,
)
from dii.application.records import (
    ACCOUNTS,
    CHUNKS,
    DUTIES,
    FORWARDS,
    GATEWAYS,
    REPORTS,
    SCOPES,
    Binding,
    Chain,
    Chunk,
    Duty,
    Forward,
    Report,
    Scope,
)
from dii.application.settling import (
    UNATTRIBUTED,
    drop_report,
    epoch_status,
)
from dii.crypto import format_address
from dii.errors import (
    AlreadyBound,
    AlreadyClaimed,
    BadMessage,
    BadReport,
    DuplicateReport,
    EpochNotReportable,
    NotTheOwner,
    UnknownGateway,
    UnknownReporter,
    UnknownScope,
)
from dii.ledger.state import State


@dataclass(slots=True)
class Context:
    """What a handler may see and use.

    Attributes
    ----------
    state, chain
        The state with its journal; the chain's parameters.
    time
        The block's, microseconds since 1970.
    sender, meter
        Who asks, and the gas that is left.
    position
        Of the transaction in its block.
    rows
        (index table, row): what is to be indexed if the message succeeds.
    """

    state: State
    chain: Chain
    time: int
    sender: bytes
    meter: gas.Meter
    position: int
    rows: list[tuple[str, tuple[object, ...]]]

    def emit(self, table: str, *row: object) -> None:
        """Note a row for the index."""
        self.rows.append((table, row))

    @property
    def epoch(self) -> int:
        """The epoch in which the block's time lies; -1 before the first."""
        return max(-1, (self.time - self.chain.start) // self.chain.epoch_length)

    def scope_of_reporter(self, name: str) -> Scope:
        """Return a scope on which the sender reports.

        Raises
        ------
        UnknownScope, UnknownReporter
            There is none, or the sender does not.
        """
        scope = self.state.get(SCOPES, name)
        if scope is None:
            raise UnknownScope(scope=name)
        if self.sender not in scope.reporters:
            raise UnknownReporter(sender=format_address(self.sender), scope=name)
        return scope

    def credit(self, kind: str, address: bytes, amount: int, sender: bytes | None = None) -> None:
        """Credit an account, creating it at a cost, and note whose money (the sender's) it was."""
        if self.state.get(ACCOUNTS, address) is None:
            self.meter.charge(gas.NEW_ACCOUNT)
        bank.credit(self.state, address, amount)
        self.emit("transfers", self.position, kind, sender or self.sender, address, amount)

    def spend_allowance(self, bindings: int) -> bool:
        """Use up free bindings of this epoch; False where they do not suffice."""
        duty = self.state.get(DUTIES, self.sender, self.epoch) or Duty(0)
        if duty.bindings + bindings > self.chain.max_bindings:
            return False
        self.state.put(DUTIES, Duty(duty.bindings + bindings), self.sender, self.epoch)
        return True


def transfer(context: Context, message: Transfer) -> bool:
    """Move money; a claimed claim account forwards it."""
    if not message.amount:
        raise BadMessage(kind="Transfer", message="an amount of zero moves nothing")
    bank.debit(context.state, context.sender, message.amount)
    context.credit("transfer", bank.resolve(context.state, message.to), message.amount)
    return False


def burn(context: Context, message: Burn) -> bool:
    """Destroy money of the sender's own."""
    if not message.amount:
        raise BadMessage(kind="Burn", message="an amount of zero burns nothing")
    bank.debit(context.state, context.sender, message.amount)
    bank.burn(context.state, message.amount)
    context.emit("transfers", context.position, "burn", context.sender, None, message.amount)
    return False


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


def report_manifest(context: Context, message: ReportManifest) -> bool:
    """Announce a report; free once an epoch, a second try replaces an unfinished one for a fee."""
    scope = context.scope_of_reporter(message.scope)
    where = {"scope": message.scope, "epoch": message.epoch}
    status = epoch_status(context.state, context.chain, message.scope, message.epoch, context.time)
    if status != "reporting":
        raise EpochNotReportable(status=status, **where)
    earlier = context.state.get(REPORTS, message.scope, message.epoch, context.sender)
    if earlier is not None and earlier.complete:
        raise DuplicateReport(sender=format_address(context.sender), **where)
    if message.rows > context.chain.max_rows:
        raise BadReport(message=f"{message.rows} rows, above {context.chain.max_rows}", **where)
    if message.columns != scope.metrics:
        expected = ", ".join(scope.metrics)
        raise BadReport(message=f"the columns of this scope are {expected}", **where)
    if not len(message.chunks) <= message.rows or bool(message.rows) != bool(message.chunks):
        raise BadReport(message=f"{len(message.chunks)} chunks for {message.rows} rows", **where)
    drop_report(context.state, message.scope, message.epoch, context.sender)
    free = earlier is None
    report = Report(message.rows, message.columns, message.chunks, 0, 0, b"", free)
    context.state.put(REPORTS, report, message.scope, message.epoch, context.sender)
    return free


def report_chunk(context: Context, message: ReportChunk) -> bool:
    """Take the next chunk of an announced report; free in the first try as its manifest is."""
    context.scope_of_reporter(message.scope)
    where = {"scope": message.scope, "epoch": message.epoch}
    key = (message.scope, message.epoch, context.sender)
    report = context.state.get(REPORTS, *key)
    if report is None:
        raise BadReport(message="a chunk without a manifest", **where)
    if report.complete:
        raise DuplicateReport(sender=format_address(context.sender), **where)
    if crypto.sha256(message.data) != report.chunks[report.received]:
        raise BadReport(message=f"not the announced chunk {report.received}", **where)
    page = pages.check(
        message.data, report.columns, report.last, scope=message.scope, epoch=message.epoch
    )
    context.meter.charge(gas.REPORT_ROW * page.rows)
    rows = report.received_rows + page.rows
    last_chunk = report.received + 1 == len(report.chunks)
    if rows > report.rows or (last_chunk and rows != report.rows):
        raise BadReport(message=f"{rows} rows where {report.rows} are announced", **where)
    context.state.put(CHUNKS, Chunk(message.data), *key, report.received)
    report = replace(
        report, received=report.received + 1, received_rows=rows, last=page.gateways[-1]
    )
    context.state.put(REPORTS, report, *key)
    return report.free


HANDLERS: Final[dict[type[Message], Callable[[Context, Any], bool]]] = {
    Transfer: transfer,
    Burn: burn,
    RegisterGateways: register_gateways,
    AssignGateway: assign_gateway,
    Claim: claim,
    ReportManifest: report_manifest,
    ReportChunk: report_chunk,
}

DUTY: Final = (RegisterGateways, Claim, ReportManifest, ReportChunk)
"""Messages that are free for those whose duty they are, when they succeed."""
