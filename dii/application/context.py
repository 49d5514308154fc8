"""What a handler may see and use, and what all handlers share."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from dii.application import bank, gas
from dii.application.programs import Loaded
from dii.application.records import ACCOUNTS, DUTIES, SCOPES, Chain, Duty, Scope
from dii.crypto import format_address
from dii.errors import UnknownReporter, UnknownScope
from dii.ledger.state import State


def epoch_at(chain: Chain, time: int) -> int:
    """Return the epoch in which a time lies; -1 before the first."""
    return max(-1, (time - chain.start) // chain.epoch_length)


def epoch_from(chain: Chain, time: int) -> int:
    """Return the first epoch that begins at a time or later."""
    return max(0, -(-(time - chain.start) // chain.epoch_length))


@dataclass(slots=True)
class Context:
    """What a handler may see and use.

    Attributes
    ----------
    state, chain
        The state with its journal; the chain's parameters.
    height, time
        The block's; time in microseconds since 1970.
    sender, public_key, meter
        Who asks, by which key, and the gas that is left.
    position
        Of the transaction in its block.
    rows
        (index table, row): what is to be indexed if the message succeeds.
    loaded
        Programs that the block has run.
    note
        Detail of the result if the message succeeds: parts of it that were refused.
    """

    state: State
    chain: Chain
    height: int
    time: int
    sender: bytes
    public_key: bytes
    meter: gas.Meter
    position: int
    rows: list[tuple[str, tuple[object, ...]]]
    loaded: Loaded = field(default_factory=Loaded)
    note: str = ""

    def emit(self, table: str, *row: object) -> None:
        """Note a row for the index."""
        self.rows.append((table, row))

    @property
    def epoch(self) -> int:
        """The epoch in which the block's time lies; -1 before the first."""
        return epoch_at(self.chain, self.time)

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
        duty = duty_of(self.state, self.sender, self.epoch)
        if duty.bindings + bindings > self.chain.max_bindings:
            return False
        self.state.put(DUTIES, replace(duty, bindings=duty.bindings + bindings), self.sender)
        return True


def duty_of(state: State, account: bytes, epoch: int) -> Duty:
    """Return what an account has used of its free allowance in an epoch; -1 counts as epoch 0."""
    used = state.get(DUTIES, account)
    current = max(0, epoch)
    return used if used is not None and used.epoch == current else Duty(current, 0, 0)
