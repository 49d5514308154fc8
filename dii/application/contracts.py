"""Contracts on the chain: deployment, calls, and hooks that run when an epoch has settled.

A contract's money is the balance of an account without a key; its variables are records of the
state, so they are proven like anything else. Its code is a tree, kept once even if it is deployed
several times. Compiled programs are kept in memory only (:class:`dii.application.context.Loaded`).

Hooks run in the settling of the contract's scope, within the gas that was reserved when the
contract was deployed. That gas is paid each epoch, used or not, from a gas deposit (*purse*) apart
from the balance: reserved gas cannot be crowded out by other contracts, and reserving it costs
something. If the deposit cannot pay, the contract falls asleep; it misses the epochs until it
wakes. The rest of the deposit goes back to the deployer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Final

from dii import codec, crypto, errors
from dii.application import bank, epochs, gas, messages, records
from dii.application.context import BY_ITSELF, Context
from dii.codec import Address
from dii.contracts import gas as contract_gas
from dii.contracts import tree
from dii.contracts.vm import Program
from dii.genesis import TREASURY
from dii.ledger.state import State, Table
from dii.units import SECOND

HOOK_LEAST: Final = 1_000
"""The least gas that a contract reserves: the cost of finding and paying it."""
NO_ARGUMENTS: Final = codec.encode(())
UNTIL: Final = codec.encode(("until",))
"""Key under which a contract stores the last epoch of its hooks."""
BALANCE: Final = codec.dumps(tree.Name("balance"), tree.Expression)
"""Part of the tree of each contract that reads its balance."""


class ChainHost:
    """Access of a running contract to the chain; see :class:`dii.contracts.vm.Host`.

    Attributes
    ----------
    usage_rows
        Rows of usage read so far, each with the operator's account that was asked for.
    """

    def __init__(
        self, context: Context, scope: str, address: Address, sender: Address, value: int
    ) -> None:
        self.context, self.state, self.scope = context, context.state, scope
        self.self_address, self.sender, self.value = address, sender, value
        self.height, self.epoch = context.height, context.epoch
        self.time = context.time // SECOND
        self.usage_rows: dict[tuple[bytes, bytes, int], bytes] = {}

    def balance(self) -> int:
        """Return the contract's balance."""
        return bank.account(self.state, self.self_address).balance

    def read(self, key: bytes) -> bytes | None:
        """Return a stored value."""
        return self.state.get(records.STORAGE, self.self_address, key)

    def write(self, key: bytes, value: bytes | None) -> None:
        """Store a value, or delete it."""
        if value is None:
            self.state.delete(records.STORAGE, self.self_address, key)
        else:
            self.state.put(records.STORAGE, value, self.self_address, key)

    def pay(self, to: Address, amount: int) -> None:
        """Pay from the contract's balance.

        Another contract can be paid only if its code reads its balance, so that it notices the
        payment. Other contracts would lose the money.
        """
        to = bank.resolve(self.state, to)
        other = self.state.get(records.CONTRACTS, to)
        if other is not None and BALANCE not in self.state.require(records.CODES, other.code):
            name = crypto.format_address(to)
            reason = f"contract {name} does not read its balance, so it cannot be paid"
            raise errors.BadMessage(kind="pay", message=reason)
        self.context.pay("contract", self.self_address, to, amount)
        _note(self.context, self.self_address, "pays", amount, to)

    def emit(self, event: str, values: tuple[int | bool | str | bytes, ...]) -> None:
        """Note an event for the index."""
        row = self.context.position, self.self_address, True, event, shown(values)
        self.context.emit("events", *row)

    def operator(self, gateway: bytes, epoch: int) -> Address | None:
        """Return the owner of a gateway in an epoch; in a future epoch, as decided so far."""
        binding = self.state.get(records.GATEWAYS, self.scope, gateway)
        owner = binding.owner(max(0, epoch)) if binding else None
        return None if owner is None else bank.resolve(self.state, owner)

    def metrics(self, gateway: bytes, epoch: int) -> Mapping[str, int] | None:
        """Return a gateway's metrics of one of the last two settled epochs."""
        return self._row(records.PAGES, epoch, gateway)

    def usage(self, application: bytes, operator: Address, epoch: int) -> Mapping[str, int] | None:
        """Return an application's use of an operator's gateways in one of these epochs.

        A claimed claim account and its owner's account are two names of one operator: within a call
        a row is found by the first name only, so that its uplinks are not paid for twice.
        """
        for owner in dict.fromkeys((operator, bank.resolve(self.state, operator))):
            row = self._row(records.USAGE_PAGES, epoch, application + owner)
            if row is not None:
                first = self.usage_rows.setdefault((application, owner, epoch), operator)
                return row if first == operator else None
        return None

    def _row(self, table: Table[bytes], epoch: int, key: bytes) -> Mapping[str, int] | None:
        """Return a row with 0 for unknown values, since the language has no *unknown*."""
        row = epochs.lookup(self.state, table, self.scope, epoch, key)
        return None if row is None else {name: value or 0 for name, value in row.items()}


def shown(values: tuple[int | bool | str | bytes, ...]) -> str:
    """Return an event's values as the index keeps them: JSON, bytes as ``0x…``."""
    return json.dumps([f"0x{item.hex()}" if isinstance(item, bytes) else item for item in values])


def _note(context: Context, contract: Address, event: str, *values: int | str | bytes) -> None:
    """Add the chain's own note on a contract to the index, besides the contract's events."""
    context.emit("events", context.position, contract, False, event, shown(values))


def refuse_contract(state: State, to: Address) -> None:
    """Refuse to pay a contract without a call: it could not know who paid.

    A gateway's earnings may go to a contract that owns the gateway.

    Raises
    ------
    BadMessage
        ``to`` is a contract.
    """
    if state.get(records.CONTRACTS, to) is not None:
        message = f"{crypto.format_address(to)} is a contract; call a @payable function"
        raise errors.BadMessage(kind="Transfer", message=message)


# --- messages ------------------------------------------------------------------------------------


def deploy(context: Context, message: messages.Deploy) -> bool:
    """Put a contract on the chain and run its ``init``; its address follows from the nonce."""
    state, sender = context.state, context.sender
    refused = partial(errors.BadMessage, kind="Deploy")
    scope = state.get(records.SCOPES, message.scope)
    if scope is None:
        raise errors.UnknownScope(scope=message.scope)
    context.meter.charge(contract_gas.compile_gas(len(message.code)) + gas.NEW_ACCOUNT)
    program = context.loaded.load(message.code)
    _check_reads(message.scope, scope.metrics, program.metrics_read)
    _check_reads(message.scope, scope.usage, program.usage_read)
    digest = crypto.sha256(message.code)
    if state.get(records.CODES, digest) is None:
        context.meter.charge(contract_gas.STORED * len(message.code))
        state.put(records.CODES, message.code, digest)
    address = crypto.contract_address(sender, bank.account(state, sender).nonce)
    contract = records.Contract(message.scope, sender, digest, message.hook_gas, 0, 0, 0)
    state.put(records.CONTRACTS, contract, address)
    bank.debit(state, sender, message.value + message.purse)
    bank.credit(state, address, message.value)
    context.emit("transfers", context.position, "deploy", sender, address, message.value)
    if message.purse:
        context.emit("transfers", context.position, "top up", sender, address, message.purse)
    _note(context, address, "deployed", message.value, sender)
    if "init" in program.functions:
        host = ChainHost(context, message.scope, address, sender, message.value)
        _run(host, program, "init", message.arguments, "init")
    elif message.value or message.arguments != NO_ARGUMENTS:
        raise refused(message="without init, a contract takes no arguments and no money")
    if bool(program.hooks) != bool(message.hook_gas):
        reason = "a contract with @on_epoch functions must reserve gas, any other must not"
        raise refused(message=reason)
    if program.hooks:
        least, most = hook_gas_needed(program, len(message.code)), context.chain.hook_gas
        if not least <= message.hook_gas <= most:
            bounds = f"the contract needs {least:,} and the network allows {most:,}"
            raise refused(message=f"{message.hook_gas:,} gas an epoch is reserved; {bounds}")
        stored = state.get(records.STORAGE, address, UNTIL)
        until = int.from_bytes(codec.decode(stored), signed=True) if stored else 0
        since = max(0, context.epoch)
        if not since <= until < 2**63:
            reason = f"init set until to {until}; the current epoch, {since}, is the least"
            raise refused(message=reason)
        _wake(context, address, replace(contract, since=since, until=until, purse=message.purse))
    elif message.purse:
        raise refused(message="without @on_epoch functions, a contract takes no gas deposit")
    return False


def hook_gas_needed(program: Program, size: int) -> int:
    """Return the least gas that each epoch of a contract with a tree of this size may reserve."""
    return gas.LOAD_BYTE * size + max(HOOK_LEAST, program.hook_gas)


def call(context: Context, message: messages.Call) -> bool:
    """Call a function of a contract, with money if it takes any."""
    state, address = context.state, message.contract
    contract = _contract(state, address)
    if message.value:
        context.pay("call", context.sender, address, message.value)
    _note(context, address, "called", message.value, context.sender, message.function)
    code = state.require(records.CODES, contract.code)
    context.meter.charge(context.loaded.gas(code))
    program = context.loaded.load(code)
    host = ChainHost(context, contract.scope, address, context.sender, message.value)
    _run(host, program, message.function, message.arguments, "external")
    return False


def top_up(context: Context, message: messages.TopUp) -> bool:
    """Add to a contract's gas deposit; wake it if it slept and its gas can be reserved."""
    state, sender, address = context.state, context.sender, message.contract
    contract = _contract(state, address)
    awake = state.get(records.HOOKS, contract.scope, address) is not None
    scope = state.require(records.SCOPES, contract.scope)
    since = epochs.first_unsettled(state, contract.scope, scope)
    if not message.amount:
        raise errors.BadMessage(kind="TopUp", message="the amount is zero")
    if not awake and not (contract.hook_gas and since <= contract.until):
        reason = "the contract has no @on_epoch function, or its last epoch is over"
        raise errors.BadMessage(kind="TopUp", message=reason)
    bank.debit(state, sender, message.amount)
    context.emit("transfers", context.position, "top up", sender, address, message.amount)
    _note(context, address, "topped up", message.amount, sender)
    contract = replace(contract, purse=contract.purse + message.amount)
    if not awake:
        _wake(context, address, replace(contract, since=since))
        _note(context, address, "awake", since)
    else:
        state.put(records.CONTRACTS, contract, address)
    return False


def _contract(state: State, address: Address) -> records.Contract:
    contract = state.get(records.CONTRACTS, address)
    if contract is None:
        raise errors.UnknownContract(address=crypto.format_address(address))
    return contract


def _check_reads(scope: str, given: tuple[str, ...], read: frozenset[str]) -> None:
    for name in sorted(read.difference(given)):
        known = ", ".join(given) or "nothing of it"
        raise errors.MetricNotReported(what="the contract", metric=name, scope=scope, given=known)


def _run(host: ChainHost, program: Program, function: str, arguments: bytes, door: str) -> None:
    """Run a function for a transaction, within the rest of its gas."""
    meter = host.context.meter
    try:
        wire = codec.decode(arguments)
    except errors.CodecError as error:
        raise errors.BadMessage(kind="Call", message=f"invalid arguments: {error}") from None
    if type(wire) is not tuple:
        raise errors.BadMessage(kind="Call", message="the arguments are not an array")
    try:
        result = program.run(function, wire, host, meter.limit - meter.used, by=door)
    except errors.TransactionError as error:
        meter.charge(error.gas)
        raise
    meter.charge(result.gas)


def _wake(context: Context, address: Address, contract: records.Contract) -> None:
    """Reserve the gas of a contract's hooks."""
    state, chain, scope = context.state, context.chain, contract.scope
    fee = contract.hook_gas * chain.gas_price
    if contract.purse < fee:
        raise errors.GasDepositTooSmall(deposit=contract.purse, fee=fee)
    reserved = state.get(records.RESERVED, scope) or 0
    if reserved + contract.hook_gas > chain.hook_budget:
        left = chain.hook_budget - reserved
        raise errors.HookBudgetFull(scope=scope, needed=contract.hook_gas, left=left)
    state.put(records.RESERVED, reserved + contract.hook_gas, scope)
    state.put(records.HOOKS, contract.hook_gas, scope, address)
    state.put(records.CONTRACTS, contract, address)


# --- hooks ---------------------------------------------------------------------------------------


class Hooks:
    """Hooks of the contracts of a scope, after one of its epochs has settled."""

    def __init__(self, context: Context, scope: str, epoch: int) -> None:
        self.context, self.scope, self.epoch = context, scope, epoch
        self.state, self.chain, self.loaded = context.state, context.chain, context.loaded

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
            The contract to go on from, None if all have run; and the gas reserved for the hooks,
            with that of loading them: no deposit pays for loading, but it bounds a block's work.
        """
        spent = 0
        for (_, address), _ in self.state.items(records.HOOKS, self.scope):
            assert isinstance(address, bytes)
            if address <= after:
                continue
            if spent >= budget:
                return after, spent
            contract = _contract(self.state, Address(address))
            if contract.since <= self.epoch:
                spent += self._epoch(Address(address), contract)
            after = address
        return None, spent

    def _epoch(self, address: Address, contract: records.Contract) -> int:
        """Pay for an epoch of a contract and run it; stop it if it ended or cannot pay."""
        fee = contract.hook_gas * self.chain.gas_price
        if contract.purse < fee:
            self._rest(address, contract, "asleep")
            return contract.hook_gas
        contract = replace(contract, purse=contract.purse - fee)
        bank.credit(self.state, TREASURY, fee)
        self.state.put(records.CONTRACTS, contract, address)
        code = self.state.require(records.CODES, contract.code)
        work = contract.hook_gas + self.loaded.gas(code)
        program = self.loaded.load(code)
        left = contract.hook_gas - gas.LOAD_BYTE * len(code)
        for name in program.hooks:
            left -= self._hook(address, contract, program, name, max(0, left))
        if self.epoch >= contract.until:
            self._rest(address, contract, "ended")
        return work

    def _hook(
        self, address: Address, contract: records.Contract, program: Program, name: str, limit: int
    ) -> int:
        """Run one function; return the gas it used. A failure is undone and noted."""
        host = ChainHost(self.context, contract.scope, address, address, 0)
        mark = self.context.mark()
        epoch = self.epoch.to_bytes(self.epoch.bit_length() // 8 + 1)
        try:
            return program.run(name, (epoch,), host, limit, by="on_epoch").gas
        except errors.TransactionError as error:
            self.context.revert(mark)
            _note(self.context, address, "failed", self.epoch, str(error))
            return error.gas

    def _rest(self, address: Address, contract: records.Contract, event: str) -> None:
        """Release a contract's reserved gas and pay its deposit back."""
        reserved = self.state.require(records.RESERVED, self.scope)
        self.state.put(records.RESERVED, reserved - contract.hook_gas, self.scope)
        self.state.delete(records.HOOKS, self.scope, address)
        self.state.put(records.CONTRACTS, replace(contract, purse=0), address)
        _note(self.context, address, event, self.epoch)
        if contract.purse:
            to = bank.resolve(self.state, contract.deployer)
            bank.credit(self.state, to, contract.purse)
            row = BY_ITSELF, "purse", address, to, contract.purse
            self.context.emit("transfers", *row)
            _note(self.context, address, "gives its purse back", contract.purse, to)
