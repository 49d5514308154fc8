"""Contracts on the chain: deployment, calls, and what runs by itself when an epoch has settled.

A contract's money is the balance of an account that nobody has the key to; its variables are
records of the state, so they are proven like anything else. Its code is a tree, kept once however
often it is deployed. Compiled programs are kept in memory only (:mod:`dii.application.programs`).

Hooks run in the settling of the contract's scope, within the gas that was reserved when the
contract was deployed. That gas is paid from a *purse* apart from the balance, each epoch, used or
not: what is promised to an epoch cannot be crowded out by others, and holding it costs something.
A purse that cannot pay puts the contract to sleep; the epochs it sleeps through are lost to it.
What is left of a purse goes back to the deployer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from dii import codec, crypto
from dii.application import bank, gas
from dii.application.context import Context, epoch_at
from dii.application.lookup import lookup_metrics, lookup_usage
from dii.application.messages import Call, Deploy, TopUp
from dii.application.programs import LOAD_BYTE, Loaded
from dii.application.records import (
    CODES,
    CONTRACTS,
    CURSORS,
    GATEWAYS,
    HOOKS,
    RESERVED,
    SCOPES,
    STORAGE,
    Chain,
    Contract,
)
from dii.contracts import gas as contract_gas
from dii.contracts import tree
from dii.contracts.vm import Program
from dii.crypto import format_address
from dii.errors import (
    BadMessage,
    CodecError,
    HookBudgetFull,
    MetricNotReported,
    PurseTooSmall,
    TransactionError,
    UnknownContract,
    UnknownScope,
)
from dii.genesis import TREASURY
from dii.ledger.state import State
from dii.units import SECOND

Emit = Callable[[str, tuple[object, ...]], None]
"""Takes (index table, row)."""

BY_ITSELF: Final = -1
"""Position in its block of what no transaction caused."""
HOOK_LEAST: Final = 1_000
"""Gas that a contract reserves at least: what finding and paying it costs."""
NO_ARGUMENTS: Final = codec.encode(())
UNTIL: Final = codec.encode(("until",))
"""Key under which a contract stores the last epoch of its hooks."""
BALANCE: Final = codec.encode(tree.pack(tree.Name("balance")))
"""Stands in the tree of each contract that looks at its balance."""


@dataclass(slots=True)
class ChainHost:
    """Access of a running contract to the chain; see :class:`dii.contracts.vm.Host`.

    ``rows`` are the rows of usage asked for so far, each with the name that it went by.
    """

    state: State
    scope: str
    self_address: bytes
    sender: bytes
    value: int
    height: int
    time: int
    epoch: int
    position: int
    put_row: Emit
    rows: dict[tuple[bytes, bytes, int], bytes] = field(default_factory=dict)

    def balance(self) -> int:
        """Return the contract's balance."""
        return bank.account(self.state, self.self_address).balance

    def read(self, key: bytes) -> bytes | None:
        """Return a stored value."""
        return self.state.get(STORAGE, self.self_address, key)

    def write(self, key: bytes, value: bytes | None) -> None:
        """Store a value, or delete it."""
        if value is None:
            self.state.delete(STORAGE, self.self_address, key)
        else:
            self.state.put(STORAGE, value, self.self_address, key)

    def pay(self, to: bytes, amount: int) -> None:
        """Pay from the contract's balance.

        Another contract takes money so if its code looks at its balance: it can tell that some
        came. Money would be lost on any other.
        """
        to = bank.resolve(self.state, to)
        other = self.state.get(CONTRACTS, to)
        if other is not None and BALANCE not in _code(self.state, other):
            what = f"contract {format_address(to)} never looks at its balance; it takes no payments"
            raise BadMessage(kind="pay", message=what)
        bank.debit(self.state, self.self_address, amount)
        bank.credit(self.state, to, amount)
        self.put_row("transfers", (self.position, "contract", self.self_address, to, amount))
        self.put_row("events", happened(self.position, self.self_address, "pays", amount, to))

    def emit(self, event: str, values: tuple[int | bool | str | bytes, ...]) -> None:
        """Note an event for the index."""
        self.put_row("events", (self.position, self.self_address, True, event, shown(values)))

    def operator(self, gateway: bytes, epoch: int) -> bytes | None:
        """Return the owner of a gateway in an epoch; of a later one, as decided so far."""
        binding = self.state.get(GATEWAYS, self.scope, gateway)
        owner = binding.owner(max(0, epoch)) if binding else None
        return None if owner is None else bank.resolve(self.state, owner)

    def metrics(self, gateway: bytes, epoch: int) -> Mapping[str, int] | None:
        """Return a gateway's metrics of one of the last two settled epochs."""
        return _known(lookup_metrics(self.state, self.scope, epoch, gateway))

    def usage(self, application: bytes, operator: bytes, epoch: int) -> Mapping[str, int] | None:
        """Return what an application used of an operator's in one of these epochs.

        A claimed claim account and its owner's are two names of one operator: in one call a row
        answers to the first of them, lest its uplinks be paid for twice.
        """
        for owner in dict.fromkeys((operator, bank.resolve(self.state, operator))):
            found = lookup_usage(self.state, self.scope, epoch, application, owner)
            if found is not None:
                first = self.rows.setdefault((application, owner, epoch), operator)
                return _known(found) if first == operator else None
        return None


def _known(found: Mapping[str, int | None] | None) -> Mapping[str, int] | None:
    """Return a row for the language, which has no *unknown*: 0 stands for it."""
    return None if found is None else {name: value or 0 for name, value in found.items()}


def shown(values: tuple[int | bool | str | bytes, ...]) -> str:
    """Return an event's values as the index keeps them: JSON, bytes as ``0x…``."""
    return json.dumps([f"0x{one.hex()}" if isinstance(one, bytes) else one for one in values])


def happened(
    position: int, contract: bytes, event: str, *values: int | str | bytes
) -> tuple[object, ...]:
    """Return the row of what the chain notes of a contract, beside what it tells itself."""
    return position, contract, False, event, shown(values)


def refuse_contract(state: State, to: bytes) -> None:
    """Refuse to pay a contract past its functions: it could never say whose money that was.

    What a gateway earns may go to one, as its owner.

    Raises
    ------
    BadMessage
        ``to`` is a contract.
    """
    if state.get(CONTRACTS, to) is not None:
        name = format_address(to)
        raise BadMessage(kind="Transfer", message=f"{name} is a contract; call what takes money")


# --- messages ------------------------------------------------------------------------------------


def deploy(context: Context, message: Deploy) -> bool:
    """Put a contract on the chain and run its ``init``; its address follows from the nonce."""
    state, sender = context.state, context.sender
    scope = state.get(SCOPES, message.scope)
    if scope is None:
        raise UnknownScope(scope=message.scope)
    context.meter.charge(contract_gas.compile_gas(len(message.code)) + gas.NEW_ACCOUNT)
    found = context.loaded.load(message.code)
    _check_reads(message.scope, scope.metrics, found.metrics_read)
    _check_reads(message.scope, scope.usage, found.usage_read)
    digest = crypto.sha256(message.code)
    if state.get(CODES, digest) is None:
        context.meter.charge(contract_gas.STORED * len(message.code))
        state.put(CODES, message.code, digest)
    address = crypto.contract_address(sender, bank.account(state, sender).nonce)
    contract = Contract(message.scope, sender, digest, message.hook_gas, 0, 0, 0)
    state.put(CONTRACTS, contract, address)
    bank.debit(state, sender, message.value + message.purse)
    bank.credit(state, address, message.value)
    context.emit("transfers", context.position, "deploy", sender, address, message.value)
    if message.purse:
        context.emit("transfers", context.position, "top up", sender, address, message.purse)
    context.emit("events", *happened(context.position, address, "deployed", message.value, sender))
    if "init" in found.functions:
        _run(context, address, contract, found, "init", message, door="init")
    elif message.value or message.arguments != NO_ARGUMENTS:
        raise BadMessage(kind="Deploy", message="without an init there is nothing to give it")
    if bool(found.hooks) != bool(message.hook_gas):
        what = "an @on_epoch function needs gas reserved for it, and nothing else does"
        raise BadMessage(kind="Deploy", message=what)
    if found.hooks:
        least, most = hook_gas_needed(found, len(message.code)), context.chain.hook_gas
        if not least <= message.hook_gas <= most:
            what = (
                f"it reserves {message.hook_gas:,} gas an epoch and needs at least {least:,};"
                f" the network allows {most:,}"
            )
            raise BadMessage(kind="Deploy", message=what)
        stored = state.get(STORAGE, address, UNTIL)
        until = int.from_bytes(codec.decode(stored), signed=True) if stored else 0
        since = max(0, context.epoch)
        if not since <= until < 2**63:
            what = f"until is {until} after init; it should be {since}, the epoch now, or later"
            raise BadMessage(kind="Deploy", message=what)
        _wake(context, address, replace(contract, since=since, until=until, purse=message.purse))
    elif message.purse:
        raise BadMessage(kind="Deploy", message="a purse pays for @on_epoch, and there is none")
    return False


def hook_gas_needed(program: Program, size: int) -> int:
    """Return the least gas that each epoch of a contract with a tree of this size may reserve."""
    return LOAD_BYTE * size + max(HOOK_LEAST, program.hook_gas)


def call(context: Context, message: Call) -> bool:
    """Call a function of a contract, with money where it takes any."""
    state, address = context.state, message.contract
    contract = _contract(state, address)
    if message.value:
        bank.debit(state, context.sender, message.value)
        bank.credit(state, address, message.value)
        context.emit("transfers", context.position, "call", context.sender, address, message.value)
    row = happened(
        context.position, address, "called", message.value, context.sender, message.function
    )
    context.emit("events", *row)
    code = _code(state, contract)
    context.meter.charge(context.loaded.gas(code))
    _run(context, address, contract, context.loaded.load(code), message.function, message)
    return False


def top_up(context: Context, message: TopUp) -> bool:
    """Put money into a contract's purse; it wakes if it slept and there is room for it."""
    address, contract = message.contract, _contract(context.state, message.contract)
    scope, awake = contract.scope, context.state.get(HOOKS, contract.scope, address) is not None
    found = context.state.get(SCOPES, scope)
    assert found is not None, "a scope is never deleted"
    # The oldest epoch that is not settling: it may be long over, where reports are late.
    since = found.next_epoch + (context.state.get(CURSORS, scope) is not None)
    if not message.amount:
        raise BadMessage(kind="TopUp", message="no money came along")
    if not awake and not (contract.hook_gas and since <= contract.until):
        what = "nothing would run of it: it has no @on_epoch function, or its last epoch is over"
        raise BadMessage(kind="TopUp", message=what)
    bank.debit(context.state, context.sender, message.amount)
    row = (context.position, "top up", context.sender, address, message.amount)
    context.emit("transfers", *row)
    note = happened(context.position, address, "topped up", message.amount, context.sender)
    context.emit("events", *note)
    contract = replace(contract, purse=contract.purse + message.amount)
    if not awake:
        _wake(context, address, replace(contract, since=since))
        context.emit("events", *happened(context.position, address, "awake", since))
    else:
        context.state.put(CONTRACTS, contract, address)
    return False


def _contract(state: State, address: bytes) -> Contract:
    contract = state.get(CONTRACTS, address)
    if contract is None:
        raise UnknownContract(address=format_address(address))
    return contract


def _check_reads(scope: str, given: tuple[str, ...], read: frozenset[str]) -> None:
    for name in sorted(read.difference(given)):
        known = ", ".join(given) or "nothing of it"
        raise MetricNotReported(what="the contract", metric=name, scope=scope, given=known)


def _code(state: State, contract: Contract) -> bytes:
    code = state.get(CODES, contract.code)
    assert code is not None, "a contract's code is never deleted"
    return code


def _run(
    context: Context,
    address: bytes,
    contract: Contract,
    program: Program,
    function: str,
    message: Deploy | Call,
    *,
    door: str = "external",
) -> None:
    """Run a function for a transaction, within what is left of its gas."""
    meter = context.meter
    host = ChainHost(
        context.state, contract.scope, address, context.sender, message.value,
        context.height, context.time // SECOND, context.epoch, context.position,
        lambda table, row: context.emit(table, *row),
    )  # fmt: skip
    try:
        wire = codec.decode(message.arguments)
    except CodecError as error:
        raise BadMessage(kind="Call", message=f"its arguments: {error}") from None
    if type(wire) is not tuple:
        raise BadMessage(kind="Call", message="its arguments are no array")
    try:
        result = program.run(function, wire, host, meter.limit - meter.used, by=door)
    except TransactionError as error:
        meter.charge(error.gas)
        raise
    meter.charge(result.gas)


def _wake(context: Context, address: bytes, contract: Contract) -> None:
    """Reserve the gas of a contract's hooks."""
    state, chain, scope = context.state, context.chain, contract.scope
    fee = contract.hook_gas * chain.gas_price
    if contract.purse < fee:
        raise PurseTooSmall(purse=contract.purse, fee=fee)
    reserved = state.get(RESERVED, scope) or 0
    if reserved + contract.hook_gas > chain.hook_budget:
        left = chain.hook_budget - reserved
        raise HookBudgetFull(scope=scope, needed=contract.hook_gas, left=left)
    state.put(RESERVED, reserved + contract.hook_gas, scope)
    state.put(HOOKS, contract.hook_gas, scope, address)
    state.put(CONTRACTS, contract, address)


# --- hooks ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class Hooks:
    """Runs the hooks of one scope's settled epoch within one block.

    ``height`` and ``now`` are the block's, ``loaded`` has the programs that it has run; ``emit``
    takes rows for the index.
    """

    state: State
    chain: Chain
    scope: str
    epoch: int
    height: int
    now: int
    emit: Emit
    loaded: Loaded

    def run(self, after: bytes, budget: int) -> tuple[bytes | None, int]:
        """Run hooks in the order of addresses.

        Parameters
        ----------
        after
            The last contract whose turn it was; empty at first.
        budget
            Gas; a hook begins while any is left.

        Returns
        -------
        after, gas
            Where to go on, None where all have run; and the gas that was reserved for those, with
            that of loading them: no purse pays for this, but the block's work is bounded.
        """
        spent = 0
        for (_, address), _ in self.state.items(HOOKS, self.scope):
            assert isinstance(address, bytes)
            if address <= after:
                continue
            if spent >= budget:
                return after, spent
            contract = _contract(self.state, address)
            if contract.since <= self.epoch:
                spent += self._epoch(address, contract)
            after = address
        return None, spent

    def _epoch(self, address: bytes, contract: Contract) -> int:
        """Pay for an epoch of a contract and run it; put it to rest where that is due."""
        fee = contract.hook_gas * self.chain.gas_price
        if contract.purse < fee:
            self._rest(address, contract, "asleep")
            return contract.hook_gas
        contract = replace(contract, purse=contract.purse - fee)
        bank.credit(self.state, TREASURY, fee)
        self.state.put(CONTRACTS, contract, address)
        code = _code(self.state, contract)
        work = contract.hook_gas + self.loaded.gas(code)
        program = self.loaded.load(code)
        left = contract.hook_gas - LOAD_BYTE * len(code)
        for name in program.hooks:
            left -= self._hook(address, contract, program, name, max(0, left))
        if self.epoch >= contract.until:
            self._rest(address, contract, "ended")
        return work

    def _hook(
        self, address: bytes, contract: Contract, program: Program, name: str, limit: int
    ) -> int:
        """Run one function; return the gas it used. What fails is undone and noted."""
        rows: list[tuple[str, tuple[object, ...]]] = []
        host = ChainHost(
            self.state, contract.scope, address, address, 0, self.height, self.now // SECOND,
            epoch_at(self.chain, self.now), BY_ITSELF,
            lambda table, row: rows.append((table, row)),
        )  # fmt: skip
        mark = self.state.mark()
        epoch = self.epoch.to_bytes(self.epoch.bit_length() // 8 + 1)
        try:
            used = program.run(name, (epoch,), host, limit, by="on_epoch").gas
        except TransactionError as error:
            self.state.revert(mark)
            self._note(address, "failed", self.epoch, str(error))
            return error.gas
        for table, row in rows:
            self.emit(table, row)
        return used

    def _rest(self, address: bytes, contract: Contract, event: str) -> None:
        """Free a contract's reservation and give its purse back."""
        reserved = self.state.get(RESERVED, self.scope)
        assert reserved is not None
        self.state.put(RESERVED, reserved - contract.hook_gas, self.scope)
        self.state.delete(HOOKS, self.scope, address)
        self.state.put(CONTRACTS, replace(contract, purse=0), address)
        self._note(address, event, self.epoch)
        if contract.purse:
            to = bank.resolve(self.state, contract.deployer)
            bank.credit(self.state, to, contract.purse)
            self.emit("transfers", (BY_ITSELF, "purse", address, to, contract.purse))
            self._note(address, "gives its purse back", contract.purse, to)

    def _note(self, address: bytes, event: str, *values: int | str | bytes) -> None:
        self.emit("events", happened(BY_ITSELF, address, event, *values))
