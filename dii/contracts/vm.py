"""Running a compiled contract: gas and memory of one call, its values, and room on the stack.

A :class:`Machine` meters one call and gives access to the host; compiled code finds it in the first
slot of every frame. State variables are read from and written to the host at once: a cache here
would have to handle reverts, as the host's journal does already.

The compiler admits only contracts that need at most :data:`MAX_FRAMES` frames of Python, and
:mod:`dii.contracts.room` provides these for every caller.

Any exception that is not a :class:`~dii.errors.TransactionError` is a defect: it propagates and
stops the node, since another node might not raise it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn, Protocol, TypeAlias

from dii import errors
from dii.codec import Address, Value
from dii.contracts import gas
from dii.contracts.room import with_room
from dii.contracts.tree import Contract, Function, Type

MAX_FRAMES: Final = 360
"""Frames of Python in which compiled code may nest; its leaves and the host have 40 more."""
LIGHT: Final = 60
"""Frames that every caller has; checking them would take longer than a transfer."""

Frame: TypeAlias = list[Any]
"""A function's variables: its machine, its arguments, its locals."""
Run: TypeAlias = Callable[[Frame], Any]
"""A compiled node. Statements return None, or a signal: see :mod:`dii.contracts.compiler`."""

Values: TypeAlias = Sequence[Value]
"""Arguments of a call, as they are on the wire."""


class Host(Protocol):
    """Environment of a contract during one call.

    Attributes
    ----------
    sender, value
        The caller (20 bytes), and the money sent with the call.
    self_address
        The contract's own account, 20 bytes.
    height, time, epoch
        The block's height, its time in seconds since 1970, and the epoch of that time (-1
        before the first).
    """

    sender: Address
    value: int
    self_address: Address
    height: int
    time: int
    epoch: int

    def balance(self) -> int:
        """Return the contract's own money, the call's value included."""

    def read(self, key: bytes, /) -> bytes | None:
        """Return what the contract stored under a key."""

    def write(self, key: bytes, value: bytes | None, /) -> None:
        """Store, or delete with None."""

    def pay(self, to: Address, amount: int) -> None:
        """Pay from the contract's balance; a TransactionError ends the call."""

    def emit(self, event: str, values: tuple[int | bool | str | bytes, ...]) -> None:
        """Record an event for the index, in case the call succeeds."""

    def operator(self, gateway: bytes, epoch: int) -> Address | None:
        """Return the account that owns a gateway in an epoch, if it is known."""

    def metrics(self, gateway: bytes, epoch: int) -> Mapping[str, int] | None:
        """Return a gateway's metrics in one of the last two settled epochs, if it was reported."""

    def usage(self, application: bytes, operator: Address, epoch: int) -> Mapping[str, int] | None:
        """Return an application's use of an operator's gateways, in one of the same epochs."""


class Machine:
    """Meter of one call's gas and memory."""

    __slots__ = ("gas", "host", "limit", "read", "room", "write")

    def __init__(self, host: Host, limit: int) -> None:
        self.host, self.limit, self.gas, self.room = host, limit, limit, gas.ROOM
        self.read, self.write = host.read, host.write

    def take(self, amount: int) -> None:
        """Charge gas."""
        self.gas -= amount
        if self.gas < 0:
            self.exhausted()

    def exhausted(self) -> NoReturn:
        """Raise OutOfGas."""
        raise errors.OutOfGas(needed=self.limit - self.gas, limit=self.limit)

    def make(self, size: int) -> None:
        """Charge for bytes before they are made."""
        self.room -= size
        if self.room < 0:
            raise errors.Reverted(message=f"a call has at most {gas.ROOM:,} bytes of memory")
        self.take(size // gas.COPY)


@dataclass(slots=True)
class Result:
    """Value of a call, and the gas it used; not frozen, which would take 5 % of a call."""

    value: Any
    gas: int


@dataclass(frozen=True, slots=True)
class Compiled:
    """A function ready to run.

    Attributes
    ----------
    door
        The only caller: ``external``, ``init``, ``on_epoch``, or empty for a helper.
    payable
        Whether it takes money.
    cost, most, run, blank, readers
        Gas of entering; least gas of its costliest path; its body; its empty locals; readers of its
        arguments.
    effects, frames
        Whether it changes the state; number of Python frames that it nests.
    """

    door: str
    payable: bool
    cost: int
    most: int
    run: Run
    blank: tuple[None, ...]
    readers: tuple[Callable[[Value], Any], ...]
    effects: bool
    frames: int


@dataclass(frozen=True, slots=True)
class Program:
    """A contract that passed every check.

    Attributes
    ----------
    contract, functions
        Its tree; its functions by name, with marks, parameters, result and doc.
    hooks
        Names of its ``on_epoch`` functions, in order.
    metrics_read, usage_read
        Names of the fields that it reads of records of metrics and of usage.
    events
        The names of the values of each event, empty if they are not variables, and their types, by
        the event's name and number of values.
    """

    contract: Contract
    functions: Mapping[str, Function]
    hooks: tuple[str, ...]
    metrics_read: frozenset[str]
    usage_read: frozenset[str]
    events: Mapping[tuple[str, int], tuple[tuple[str, Type], ...]]
    compiled: Mapping[str, Compiled]

    @property
    def hook_gas(self) -> int:
        """Gas of the costliest path through all ``on_epoch`` functions, one turn for each loop."""
        return sum(self.compiled[name].most for name in self.hooks)

    def check_arguments(self, function: str, arguments: Values) -> list[Any]:
        """Return the values that arguments on the wire stand for.

        Raises
        ------
        BadCall
            There is no such function, or the arguments do not fit its parameters.
        """
        compiled = self.compiled.get(function)
        if compiled is None:
            raise errors.BadCall(
                function=function, message="the contract has no function of this name"
            )
        readers = compiled.readers
        if len(arguments) != len(readers):
            message = f"it takes {len(readers)} arguments, not {len(arguments)}"
            raise errors.BadCall(function=function, message=message)
        try:
            return [read(item) for read, item in zip(readers, arguments)]
        except ValueError as error:
            raise errors.BadCall(function=function, message=str(error)) from None

    def run(
        self, function: str, arguments: Values, host: Host, gas_limit: int, *, by: str = "external"
    ) -> Result:
        """Call a function.

        Parameters
        ----------
        function, arguments
            The function, and its arguments in their wire form.
        host
            The contract's environment; its journal reverts the writes of a call that fails.
        gas_limit
            Gas that the call may use.
        by
            The kind of caller: ``external``, ``init`` or ``on_epoch``.

        Raises
        ------
        BadCall
            The function cannot be called like this; no gas was used.
        Reverted, OutOfGas
            The call failed, or the host raised an error of its own; ``gas`` is the gas used.
        """
        values = self.check_arguments(function, arguments)
        compiled = self.compiled[function]
        if compiled.door != by:
            outside = "not callable from outside; mark it @external"
            message = outside if by == "external" else f"not callable as {by}"
            raise errors.BadCall(function=function, message=message)
        if host.value and not compiled.payable:
            raise errors.BadCall(function=function, message="it is not @payable; send no money")
        machine = Machine(host, gas_limit)
        frame = [machine, *values, *compiled.blank]
        try:
            machine.take(compiled.cost)
            if compiled.frames <= LIGHT:
                done = compiled.run(frame)
            else:
                done = with_room(lambda: compiled.run(frame))
        except errors.TransactionError as error:
            error.gas = gas_limit - max(0, machine.gas)  # all of it if it is exhausted
            raise
        return Result(done and done[0], gas_limit - machine.gas)
