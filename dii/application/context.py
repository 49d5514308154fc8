"""Context of execution: a block in work, the transaction in work, and helpers of handlers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from dii import errors
from dii.application import bank, epochs, gas, records
from dii.application.programs import Loaded
from dii.crypto import format_address
from dii.ledger.state import State

BY_ITSELF: Final = -1
"""Position of index rows that no transaction of the block caused."""


@dataclass(slots=True)
class Context:
    """Execution context of a block; handlers, settling and governance work on it.

    Attributes
    ----------
    state, chain
        The state with its journal; the chain's parameters.
    height, time
        Of the block; time in microseconds since 1970.
    epoch
        The epoch that contains the time; -1 before the first.
    sender, public_key, meter, position
        Of the transaction in work: its sender and key, the gas that is left, its position in the
        block. Without a transaction the position is ``BY_ITSELF``.
    note
        Detail of the result if the message succeeds: parts of it that were refused.
    rows
        (index table, row) of the block so far.
    loaded
        Programs that the block has run.
    """

    state: State
    chain: records.Chain
    height: int
    time: int
    sender: bytes = b""
    public_key: bytes = b""
    meter: gas.Meter = field(default_factory=lambda: gas.Meter(0))
    position: int = BY_ITSELF
    note: str = ""
    rows: list[tuple[str, tuple[object, ...]]] = field(default_factory=list)
    loaded: Loaded = field(default_factory=Loaded)
    epoch: int = field(init=False)

    def __post_init__(self) -> None:
        self.epoch = epochs.at(self.chain, self.time)

    def emit(self, table: str, *row: object) -> None:
        """Add a row for the index."""
        self.rows.append((table, row))

    def mark(self) -> tuple[int, int]:
        """Return a mark of state and rows to which :meth:`revert` can go back."""
        return self.state.mark(), len(self.rows)

    def revert(self, mark: tuple[int, int]) -> None:
        """Undo all writes and rows since a mark."""
        self.state.revert(mark[0])
        del self.rows[mark[1] :]

    def scope_of_reporter(self, name: str) -> records.Scope:
        """Return a scope on which the sender reports.

        Raises
        ------
        UnknownScope, UnknownReporter
            There is no such scope, or the sender is no reporter of it.
        """
        scope = self.state.get(records.SCOPES, name)
        if scope is None:
            raise errors.UnknownScope(scope=name)
        if self.sender not in scope.reporters:
            raise errors.UnknownReporter(sender=format_address(self.sender), scope=name)
        return scope

    def credit(self, kind: str, source: bytes, to: bytes, amount: int) -> None:
        """Credit an account, creating it at a cost, with what the source was debited."""
        if self.state.get(records.ACCOUNTS, to) is None:
            self.meter.charge(gas.NEW_ACCOUNT)
        bank.credit(self.state, to, amount)
        self.emit("transfers", self.position, kind, source, to, amount)

    def pay(self, kind: str, source: bytes, to: bytes, amount: int) -> None:
        """Move money between two accounts; InsufficientFunds if the source has less."""
        bank.debit(self.state, source, amount)
        bank.credit(self.state, to, amount)
        self.emit("transfers", self.position, kind, source, to, amount)

    def spend_allowance(self, bindings: int) -> bool:
        """Use up free bindings of this epoch; False if too few are left."""
        duty = duty_of(self.state, self.sender, self.epoch)
        if duty.bindings + bindings > self.chain.max_bindings:
            return False
        self.state.put(
            records.DUTIES, replace(duty, bindings=duty.bindings + bindings), self.sender
        )
        return True


def duty_of(state: State, account: bytes, epoch: int) -> records.Duty:
    """Return the allowance that an account has used in an epoch; -1 counts as epoch 0."""
    used = state.get(records.DUTIES, account)
    current = max(0, epoch)
    return used if used is not None and used.epoch == current else records.Duty(current, 0, 0)
