"""Context of execution: a block in work, the transaction in work, and helpers of handlers."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, replace
from typing import Final

from dii import codec, crypto, errors
from dii.application import bank, epochs, gas, records
from dii.contracts import compiler, tree
from dii.contracts.gas import compile_gas
from dii.contracts.vm import Program
from dii.ledger.state import State

NO_SENDER: Final = codec.Address(b"")
BY_ITSELF: Final = -1
"""Position of index rows that no transaction of the block caused."""
MAX_LOADED: Final = 64
"""Programs that a block keeps; a few megabytes each at most."""


@functools.lru_cache(maxsize=MAX_LOADED)
def program(code: bytes) -> Program:
    """Return a tree's program.

    Raises
    ------
    BadContract, BadProgram
        The bytes are no tree, or break the rules of the language.
    """
    return compiler.compile(tree.decode(code))


class Loaded:
    """Programs that one block has run, including those of failed transactions.

    A block compiles a tree once, and pays for it once. Compiling takes forty times as long as
    looking the program up, and a node that has just started must compile what others have in memory
    from the blocks before. If a call paid for the look-up only, an attacker who deployed more
    contracts than memory holds could have each of them compiled at every call: a block of such
    calls took minutes. So the first call of a tree in a block pays for its compilation, and the
    program is kept to the block's end; beyond ``MAX_LOADED`` trees each call pays. Programs that a
    node keeps from block to block save it time and change nothing else.
    """

    __slots__ = ("_programs",)

    def __init__(self) -> None:
        self._programs: dict[bytes, Program] = {}

    def gas(self, code: bytes) -> int:
        """Return the gas of loading a tree; due before :meth:`load`."""
        known = code in self._programs
        return gas.LOAD_BYTE * len(code) if known else compile_gas(len(code))

    def load(self, code: bytes) -> Program:
        """Return a tree's program; errors as of :func:`program`."""
        loaded = self._programs.get(code) or program(code)
        if len(self._programs) < MAX_LOADED:
            self._programs[code] = loaded
        return loaded


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
    sender: codec.Address = NO_SENDER
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
            raise errors.UnknownReporter(sender=crypto.format_address(self.sender), scope=name)
        return scope

    def credit(self, kind: str, source: codec.Address, to: codec.Address, amount: int) -> None:
        """Credit an account, creating it at a cost, with what the source was debited."""
        if self.state.get(records.ACCOUNTS, to) is None:
            self.meter.charge(gas.NEW_ACCOUNT)
        bank.credit(self.state, to, amount)
        self.emit("transfers", self.position, kind, source, to, amount)

    def pay(self, kind: str, source: codec.Address, to: codec.Address, amount: int) -> None:
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


def duty_of(state: State, account: codec.Address, epoch: int) -> records.Duty:
    """Return the allowance that an account has used in an epoch; -1 counts as epoch 0."""
    used = state.get(records.DUTIES, account)
    current = max(0, epoch)
    return used if used is not None and used.epoch == current else records.Duty(current, 0, 0)
