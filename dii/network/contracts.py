"""Contracts for people: checked, deployed, called and followed by name.

A :class:`Contract` is a contract on a network's chain. All its properties come from the state and
the index alone, so that the parties to an agreement see what everybody can prove.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from dii import codec, crypto, errors
from dii.application import app, bank, context, gas, messages, records
from dii.application import contracts as chain
from dii.contracts import faults, frontend, tree, unparse
from dii.contracts import values as kinds
from dii.contracts.agreements import AGREEMENTS, Agreement
from dii.contracts.vm import Program
from dii.network import receipt, tables
from dii.network.home import SCOPE
from dii.network.signing import Signing
from dii.network.view import View
from dii.units import SECOND, Currency, clean

if TYPE_CHECKING:
    import pandas as pd

HOOK_GAS: Final = 40_000
"""Gas that is reserved for hooks by default, beside the loading of the code."""
VIEW_GAS: Final = 10_000_000
"""Most gas of a view; nobody pays for it."""
_SAYS: Final = ((), kinds.STR)
"""Parameters and result of the view ``status``, as far as it is shown."""
STATUS_GAS: Final = 100_000
"""Most gas of the view ``status``, when a contract is shown."""
PERCENT: Final = Currency("millionths", "%", 4)
"""Form in which shares are read and written."""

EPOCH: Final = ("epoch", kinds.INT)
NOTES: Final[dict[str, list[tuple[str, tree.Type]]]] = {
    "deployed": [("amount", kinds.MONEY), ("by", kinds.ADDRESS)],
    "called": [("amount", kinds.MONEY), ("by", kinds.ADDRESS), ("function", kinds.STR)],
    "pays": [("amount", kinds.MONEY), ("to", kinds.ADDRESS)],
    "topped up": [("amount", kinds.MONEY), ("by", kinds.ADDRESS)],
    "gives its purse back": [("amount", kinds.MONEY), ("to", kinds.ADDRESS)],
    "failed": [EPOCH, ("", kinds.STR)],
}
"""Names and types of the values in the chain's own notes; all others have an epoch."""
NAMED: Final[dict[tree.Type | None, str]] = {
    kinds.ADDRESS: "account",
    kinds.GATEWAY: "gateway",
    kinds.APPLICATION: "application",
}
"""Names by which values of these types go."""
SPOKEN: Final = {"amount": "", "of": "epoch", "one": "", "settled": "epoch"}
"""Words for names of event values that do not read well in a sentence."""


@dataclass(frozen=True, slots=True)
class Checked:
    """Result of checking a text: faults with their places, or none."""

    source: str
    faults: tuple[faults.Fault, ...]
    empty: bool = False

    def __bool__(self) -> bool:
        """Return whether the text can be deployed."""
        return not self.faults

    def __repr__(self) -> str:
        """Return the faults, each with its line, a caret and a remedy."""
        if self.faults:
            lines = faults.render(self.faults, self.source).split("\n")
            return "\n".join(map(clean, lines))  # the text may be a stranger's
        return "no faults, since there is nothing in it" if self.empty else "no faults"


def check(source: str | Agreement) -> Checked:
    """Check a contract's text; return its faults, each with its place and a remedy."""
    text = source if isinstance(source, str) else source.source
    try:
        found = frontend.check(text).contract
    except errors.BadSource as error:
        faults = error.numbers["faults"]
        assert isinstance(faults, list | tuple)
        return Checked(text, tuple(faults))
    return Checked(text, (), empty=not (found.variables or found.functions))


def deploy(
    network: Signing,
    source: str | Agreement,
    /,
    *,
    by: str,
    value: str | int = 0,
    hook_gas: int | None = None,
    purse: str | int | None = None,
    gas_limit: int | None = None,
    **arguments: object,
) -> Contract:
    """Put a contract on the chain.

    Parameters
    ----------
    source
        Text of the contract, or one of ``dii.agreements``.
    by, value
        Account that deploys it, and the money that it passes to ``init``.
    hook_gas, purse
        Gas reserved each epoch for ``@on_epoch`` functions, and the gas deposit that pays for it;
        the rest is refunded. By default enough until the contract's last epoch.
    gas_limit
        Gas limit of the transaction.
    **arguments
        Arguments of ``init`` by name: accounts, gateways and applications by name or address,
        money as ``"12.5 TTC"`` or an integer.

    Raises
    ------
    BadSource
        The text has faults; the error names them all.
    BadCall
        The arguments do not fit.
    Refused
        The chain's reason.
    """
    text = source if isinstance(source, str) else source.source
    program = frontend.check(text)
    code = tree.encode(program.contract)
    init = program.functions.get("init")
    _bind(network, init.parameters if init else ())
    wire = _wire(network, "init", init.parameters if init else (), arguments)
    usual = gas.LOAD_BYTE * len(code) + max(HOOK_GAS, program.hook_gas)
    most = usual if hook_gas is None else hook_gas
    money = network.currency.parse
    message = messages.Deploy(SCOPE, code, wire, money(value), most if program.hooks else 0, 0)
    sender = network.key(by).address
    if program.hooks:
        fee = most * network.parameters.gas_price
        given = _epochs(network, sender, replace(message, purse=fee)) * fee
        message = replace(message, purse=given if purse is None else money(purse))
    address = crypto.contract_address(sender, bank.account(network.state, sender).nonce)
    network.submit(by, message, gas_limit)
    return Contract(network, address)


def _epochs(network: Signing, sender: codec.Address, message: messages.Deploy) -> int:
    """Return the number of epochs that a contract is to run, from a deployment that is undone."""
    state = network.state
    meter = gas.Meter(network.parameters.block_gas)
    mark = state.mark()
    try:
        now = network.header().time + SECOND
        nonce = bank.account(state, sender).nonce
        trial = context.Context(
            state, network.parameters, network.height + 1, now, sender, meter=meter
        )
        chain.deploy(trial, message)
        made = state.require(records.CONTRACTS, crypto.contract_address(sender, nonce))
        return made.until - made.since + 1
    except errors.TransactionError as error:
        raise network.refused("Deploy", app.TxResult.of(error)) from None
    finally:
        state.revert(mark)


def contract(network: Signing, address: str) -> Contract:
    """Return the contract at an address.

    Raises
    ------
    UnknownContract
        There is no contract at this address.
    """
    found = network.home.address(address)
    if network.state.get(records.CONTRACTS, found) is None:
        raise errors.UnknownContract(address=crypto.format_address(found))
    return Contract(network, found)


@tables.table(
    "contract title agreement deployed_by balance purse status gas_reserved gas_needed runs_failed"
)
def contracts(network: Signing) -> Iterable[tables.Row]:
    """Return every contract: address, summary, deployer, money, epochs and hooks.

    ``gas_reserved`` is for the ``@on_epoch`` functions of an epoch, which need at least
    ``gas_needed``; ``runs_failed`` of them have failed.
    ``agreement`` names the agreement of the package that has the very same code; anybody can deploy
    anything under the title of an agreement.
    """
    for (address,), record in network.state.items(records.CONTRACTS):
        assert isinstance(address, bytes)
        one = Contract(network, codec.Address(address))
        about = one.address, one.title, one.agreement, record.deployer
        gas = record.hook_gas, one.hook_gas_needed, one.failures
        yield *about, one.balance, record.purse, one.status, *gas


@cache
def _released() -> dict[bytes, str]:
    """Return the names of the package's agreements by the hash of their code."""
    return {crypto.sha256(tree.encode(one.tree)): one.name for one in AGREEMENTS.values()}


class Contract:
    """A contract on the chain.

    Attributes
    ----------
    network
        The network of the chain.
    """

    def __init__(self, network: Signing, address: codec.Address) -> None:
        self.network = network
        self._address = address

    @property
    def address(self) -> str:
        """Address of the contract, as people write it."""
        return crypto.format_address(self._address)

    @property
    def record(self) -> records.Contract:
        """Record of the contract in the state, without its money and its variables."""
        return self.network.state.require(records.CONTRACTS, self._address)

    @property
    def program(self) -> Program:
        """Program of the contract, from the tree on the chain."""
        return context.program(self.network.state.require(records.CODES, self.record.code))

    @property
    def source(self) -> str:
        """Text of the contract, written from the tree on the chain."""
        return unparse.unparse(self.program.contract)

    @property
    def title(self) -> str:
        """First line of the contract's docstring."""
        return self.program.contract.doc.strip().partition("\n")[0] or "(no summary)"

    @property
    def agreement(self) -> str | None:
        """Name of the agreement of the package that has the same code; None if there is none."""
        return _released().get(self.record.code)

    @property
    def balance(self) -> int:
        """Balance of the contract, in the smallest unit."""
        return bank.account(self.network.state, self._address).balance

    @property
    def status(self) -> str:
        """Status in words: runs when called, runs each epoch, asleep or ended."""
        record, state = self.record, self.network.state
        if not record.hook_gas:
            return "runs when called"
        if state.get(records.HOOKS, record.scope, self._address) is not None:
            return f"runs each epoch until {record.until}"
        over = state.require(records.SCOPES, record.scope).next_epoch > record.until
        return f"ended with epoch {record.until}" if over else "asleep: its purse is empty"

    def call(
        self,
        function: str,
        /,
        *,
        by: str,
        value: str | int = 0,
        gas_limit: int | None = None,
        **arguments: object,
    ) -> str:
        """Call a function; return the transaction's id in hex.

        Parameters
        ----------
        function
            Name of the function.
        by, value
            Account that calls, and the money that it passes.
        gas_limit
            Gas limit of the transaction.
        **arguments
            As in :meth:`Network.deploy`.

        Raises
        ------
        BadCall
            There is no such function, it is a view, or the arguments do not fit.
        Refused
            The chain's reason.
        """
        declared = self._function(function)
        if "view" in declared.marks:
            what = "it changes nothing: view it, which costs nothing"
            raise errors.BadCall(function=function, message=what)
        _bind(self.network, declared.parameters)
        wire = _wire(self.network, function, declared.parameters, arguments)
        money = self.network.currency.parse(value)
        message = messages.Call(self._address, function, wire, money)
        return self.network.submit(by, message, gas_limit)

    def top_up(self, amount: str | int, *, by: str) -> str:
        """Add money to the gas deposit; a contract that is asleep wakes."""
        money = self.network.currency.parse(amount)
        return self.network.submit(by, messages.TopUp(self._address, money))

    def _function(self, name: str) -> tree.Function:
        known = self._external
        if name in known:
            return known[name]
        there = ", ".join(known) or "none"
        raise errors.BadCall(function=name, message=f"no such function; there is {there}")

    @property
    def _external(self) -> dict[str, tree.Function]:
        """Functions that anybody may call, by name."""
        compiled, functions = self.program.compiled, self.program.functions
        return {name: one for name, one in functions.items() if compiled[name].door == "external"}

    def view(self, function: str, /, **arguments: object) -> Any:
        """Return the result of a view, which changes nothing and costs nothing.

        Raises
        ------
        BadCall, Reverted
            The function is no view, the arguments do not fit, or the view fails.
        """
        network, declared = self.network, self._function(function)
        if "view" not in declared.marks:
            raise errors.BadCall(function=function, message="it may change something: call it")
        wire = codec.decode(_wire(network, function, declared.parameters, arguments))
        return self._shown(declared.returns, self._ask(function, wire, VIEW_GAS))

    def _ask(self, function: str, wire: Any, gas_limit: int) -> Any:
        """Run a view, without a sender."""
        network, now = self.network, self.network.header().time
        view = context.Context(network.state, network.parameters, network.height, now)
        host = chain.ChainHost(view, self.record.scope, self._address, codec.Address(bytes(20)), 0)
        return self.program.run(function, wire, host, gas_limit).value

    def variables(self) -> dict[str, Any]:
        """Return the state variables, except maps, whose keys are not listed anywhere."""
        found = {}
        for one in self.program.contract.variables:
            if isinstance(one.type, tree.MapOf):
                continue
            cell = self.network.state.get(records.STORAGE, self._address, codec.encode((one.name,)))
            known = kinds.form(one.type)
            value = known.zero if cell is None else known.unpack(codec.decode(cell))
            found[one.name] = self._shown(one.type, value)
        return found

    def _shown(self, kind: tree.Type | None, value: Any) -> Any:
        """Return a value with names for accounts, gateways and applications, and hex for bytes."""
        if isinstance(kind, tree.ListOf):
            return [self._shown(kind.item, one) for one in value]
        return self._named(kind, value) if isinstance(value, bytes) else value

    def _named(self, kind: tree.Type | None, value: bytes) -> str:
        if kind == kinds.ADDRESS and any(value):
            return self.network.home.label(value)
        name = self.network.home.names(NAMED[kind]).get(value) if kind in NAMED else None
        return name or value.hex()

    def events(self) -> pd.DataFrame:
        """Return the events of the contract in order, and the chain's notes on it.

        Columns ``height``, ``time``, ``told`` (False for the chain's notes), ``event`` and
        ``details``, with names where they are known.
        """
        query = (
            "SELECT e.height, b.time, e.told, e.event, e.details FROM events e"
            " JOIN blocks b USING (height) WHERE e.contract = ? ORDER BY e.rowid"
        )
        events = self.network.view.index.query(query, (self._address,))
        rows = [
            (*when, bool(told), event, self._details(event, json.loads(details), told=bool(told)))
            for *when, told, event, details in events
        ]
        columns = ["height", "time", "told", "event", "details"]
        return tables.frame(self.network, columns, rows).astype({"told": bool})

    def _details(self, event: str, values: list[object], *, told: bool) -> str:
        labels: Sequence[tuple[str, tree.Type]] = NOTES.get(event, [EPOCH])
        if told:
            labels = self.program.events[event, len(values)]
        return ", ".join(
            f"{SPOKEN.get(name, name.removesuffix('_ppm'))} {self._worded(kind, value)}".lstrip()
            for (name, kind), value in zip(labels, values)
        )

    def _worded(self, kind: tree.Type | None, value: object) -> str:
        """Return a value as text for people, by its type."""
        if isinstance(value, list | tuple):
            item = kind.item if isinstance(kind, tree.ListOf) else None
            return ", ".join(self._worded(item, one) for one in value)
        if isinstance(value, str) and kind != kinds.STR and re.fullmatch("0x([0-9a-f]{2})*", value):
            return self._named(kind, bytes.fromhex(value[2:]))
        if type(value) is int and kind == kinds.MONEY:
            return self.network.currency.format(value)
        if type(value) is int and kind == kinds.SHARE:
            return PERCENT.format(value)
        return str(value)

    def answer(self, function: str, value: object) -> str:
        """Return the result of a view as text for people."""
        return self._worded(self._function(function).returns, value)

    @property
    def failures(self) -> int:
        """Number of failed runs of its ``@on_epoch`` functions."""
        query = "SELECT count(*) FROM events WHERE contract = ? AND event = 'failed' AND NOT told"
        ((count,),) = self.network.view.index.query(query, (self._address,))
        return int(count)

    @property
    def hook_gas_needed(self) -> int:
        """Least gas that can be reserved for each epoch; 0 without ``@on_epoch`` functions."""
        program = self.program
        size = len(tree.encode(program.contract))
        return chain.hook_gas_needed(program, size) if program.hooks else 0

    def lines(self) -> dict[str, str]:
        """Return the contract at a glance: its promise, its deployer, its money and functions."""
        record, money, contract = self.record, self.network.currency.format, self.program.contract
        agreement = f"agreement {self.agreement}, as it comes along"
        own = "its own; read what it does, not only what it promises"
        facts = {
            "contract": self.address,
            "promises": _promise(contract.doc),
            "text": agreement if self.agreement else own,
            "deployed by": self._named(kinds.ADDRESS, record.deployer),
            "balance": money(self.balance),
            "status": self.status,
        }
        word = self._word()
        if word is not None:
            facts["it says it is"] = word
        if record.hook_gas:
            fee = record.hook_gas * self.network.parameters.gas_price
            lasts = f"{record.purse // fee:,}" if fee else "all"
            each = f"epochs of {record.hook_gas:,} at {money(fee)}"
            facts["purse"] = f"{money(record.purse)}, gas for {lasts} {each}"
            reserved = f"{record.hook_gas:,} gas reserved, {self.hook_gas_needed:,} needed at least"
            facts["each epoch"] = f"{reserved}; {self.failures:,} runs failed so far"
        types = {one.name: one.type for one in contract.variables}
        for name, value in self.variables().items():
            label = name.removesuffix("_ppm")  # which must not hide what the chain says
            facts[f"its {name}" if label in facts else label] = self._worded(types[name], value)
        for one in self._external.values():
            facts[f"{one.name}({_spelled(one.parameters)})"] = _promise(one.doc)
        return facts

    def _word(self) -> str | None:
        """Return the result of the view ``status``; None if the contract has no such view."""
        found = self.program.functions.get("status")
        with contextlib.suppress(errors.TransactionError):
            if found and "view" in found.marks and (found.parameters, found.returns) == _SAYS:
                return str(self._ask("status", (), STATUS_GAS))
        return None

    def _repr_html_(self) -> str:
        return receipt.table_of(self.lines())

    def __repr__(self) -> str:
        """Return the contract at a glance."""
        facts = self.lines()
        width = max(map(len, facts))
        return "\n".join(f"{name:>{width}}  {clean(text)}" for name, text in facts.items())


def _promise(doc: str) -> str:
    """Return a docstring in one line."""
    return " ".join(doc.split()) or "(it does not say)"


# --- arguments -----------------------------------------------------------------------------------


def _bind(network: Signing, parameters: Sequence[tree.Parameter]) -> None:
    """Bind gateways first if arguments can name them: an unbound gateway has no owner."""
    if any(kinds.GATEWAY in (one.type, getattr(one.type, "item", None)) for one in parameters):
        network.bind()


def _spelled(parameters: Sequence[tree.Parameter]) -> str:
    """Return names and types of parameters, as a text declares them."""
    return ", ".join(f"{one.name}: {kinds.spell(one.type)}" for one in parameters)


def _wire(
    network: View, function: str, parameters: Sequence[tree.Parameter], given: Mapping[str, object]
) -> bytes:
    """Return arguments, given by name, in the encoding of a transaction."""
    names = [one.name for one in parameters]
    for name in [*given, *names]:
        if (name in given) != (name in names):
            takes = f"{name}? It takes {_spelled(parameters) or 'nothing'}"
            raise errors.BadCall(function=function, message=takes)
    values = []
    for one in parameters:
        try:
            values.append(kinds.form(one.type).pack(_read(network, one.type, given[one.name])))
        except (ValueError, errors.DiiError) as error:
            raise errors.BadCall(function=function, message=f"{one.name}: {error}") from None
    return codec.encode(tuple(values))


def _read(network: View, kind: tree.Type, value: object) -> object:
    """Return the value of an argument that people give by name, with a unit or as text."""
    if isinstance(kind, tree.ListOf):
        items = value.split(",") if isinstance(value, str) else value
        if not isinstance(items, list | tuple):
            raise ValueError("a list is expected")  # noqa: TRY004 - named with the argument
        return tuple(_read(network, kind.item, one) for one in items)
    if kind == kinds.MONEY and isinstance(value, int | str):
        return network.currency.parse(value)
    if not isinstance(value, str) or kind == kinds.STR:
        return value
    value = value.strip()
    if kind == kinds.ADDRESS:
        return network.home.address(value)
    if kind == kinds.BOOL:
        if value.lower() not in {"true", "false"}:
            raise ValueError(f"true or false is expected, not {value!r}")
        return value.lower() == "true"
    if kind == kinds.SHARE:
        return _share(value)
    if kind == kinds.INT:
        return _number(value)
    return _bytes(network, kind, value)


def _bytes(network: View, kind: tree.Type, text: str) -> bytes:
    """Return the bytes of a name or of hexadecimal digits; each type has names of its own."""
    try:
        if kind == kinds.GATEWAY and not re.fullmatch("0x[0-9a-f]{40}", text):
            return network.gateway(text)
        found = network.home.find("application", text) if kind == kinds.APPLICATION else None
        return found or bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        hint = f"no application goes by {text!r} here, and it is no hexadecimal"
        if kind == kinds.BYTES:
            hint = f"{text!r} is no hexadecimal; a name takes a Gateway or an Application"
        raise ValueError(hint) from None


def _share(text: str) -> int:
    """Return a share in millionths; refuse a bare number that may be a percentage."""
    if text.endswith("%"):
        return PERCENT.parse(text.removesuffix("%").strip())
    number = _number(text, " of millionths; write % behind a percentage")
    if 0 < number <= 100:
        both = f"{number}% or {number * 10_000}"
        raise ValueError(f"{number} may be {number} % or {number} millionths: write {both}")
    return number


def _number(text: str, hint: str = "") -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"cannot read {text[:64]!r} as a whole number{hint}") from None
