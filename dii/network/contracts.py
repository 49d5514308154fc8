"""Agreements as people handle them: written, deployed, called and followed by name.

A :class:`Deal` is a contract on a network's chain. What is looked up here comes from the state
and the index alone, so that the parties to an agreement see what everybody can prove.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final, Protocol

import pandas as pd

from dii import codec
from dii.application import contracts as chain
from dii.application import gas, programs
from dii.application.app import TxResult
from dii.application.bank import account
from dii.application.context import Context, epoch_at
from dii.application.messages import Call, Deploy, TopUp
from dii.application.records import CODES, CONTRACTS, HOOKS, SCOPES, STORAGE, Contract
from dii.contracts import frontend, tree, unparse
from dii.contracts.agreements import AGREEMENTS
from dii.contracts.faults import Fault, render
from dii.contracts.tree import Function, ListOf, MapOf, Parameter, Type
from dii.contracts.values import (
    ADDRESS,
    APPLICATION,
    BOOL,
    BYTES,
    GATEWAY,
    INT,
    MONEY,
    SHARE,
    STR,
    form,
    spell,
)
from dii.contracts.vm import Program
from dii.crypto import contract_address, format_address, sha256
from dii.errors import BadCall, BadSource, DiiError, TransactionError, UnknownContract
from dii.network.home import SCOPE
from dii.network.receipt import table_of
from dii.network.signing import Sending
from dii.network.view import Opened
from dii.units import SECOND, Currency, clean

HOOK_GAS: Final = 40_000
"""Gas that is reserved for hooks by default, beside the loading of the code."""
VIEW_GAS: Final = 10_000_000
"""Most gas of a view; nobody pays for it."""
STATUS_GAS: Final = 100_000
"""Most gas of the view ``status``, when a contract is shown."""
PERCENT: Final = Currency("millionths", "%", 4)
"""Form in which shares are read and written."""

EPOCH: Final = ("epoch", INT)
NOTES: Final[dict[str, list[tuple[str, Type]]]] = {
    "deployed": [("amount", MONEY), ("by", ADDRESS)],
    "called": [("amount", MONEY), ("by", ADDRESS), ("function", STR)],
    "pays": [("amount", MONEY), ("to", ADDRESS)],
    "topped up": [("amount", MONEY), ("by", ADDRESS)],
    "gives its purse back": [("amount", MONEY), ("to", ADDRESS)],
    "failed": [EPOCH, ("", STR)],
}
"""Names and types of the values in the chain's own notes; all others have an epoch."""
NAMED: Final[dict[Type | None, str]] = {
    ADDRESS: "account",
    GATEWAY: "gateway",
    APPLICATION: "application",
}
"""Names by which values of these types go."""
SPOKEN: Final = {"amount": "", "of": "epoch", "one": "", "settled": "epoch"}
"""Words for names of event values that do not read well in a sentence."""


class Agreement(Protocol):
    """Anything with a text to deploy: an agreement of :mod:`dii.contracts.agreements`."""

    @property
    def source(self) -> str:
        """Its text."""


@dataclass(frozen=True, slots=True)
class Checked:
    """Result of checking a text: faults with their places, or none."""

    source: str
    faults: tuple[Fault, ...]
    empty: bool = False

    def __bool__(self) -> bool:
        """Return whether it can be deployed."""
        return not self.faults

    def __repr__(self) -> str:
        """Return the faults, each with its line, caret, and what to write instead."""
        if self.faults:
            lines = render(self.faults, self.source).split("\n")
            return "\n".join(map(clean, lines))  # the text may be a stranger's
        return "no faults, since there is nothing in it" if self.empty else "no faults"


def check(_: object, source: str | Agreement) -> Checked:
    """Look a contract's text over: every fault, with line, column and what to write instead."""
    text = source if isinstance(source, str) else source.source
    try:
        found = frontend.check(text).contract
    except BadSource as error:
        faults = error.numbers["faults"]
        assert isinstance(faults, list | tuple)
        return Checked(text, tuple(faults))
    return Checked(text, (), empty=not (found.variables or found.functions))


def deploy(
    network: Sending,
    source: str | Agreement,
    /,
    *,
    by: str,
    value: str | int = 0,
    hook_gas: int | None = None,
    purse: str | int | None = None,
    gas_limit: int | None = None,
    **arguments: object,
) -> Deal:
    """Put a contract on the chain.

    Parameters
    ----------
    source
        Its text, or one of ``dii.agreements``.
    by, value
        Who deploys it, and the money that comes along for ``init``.
    hook_gas, purse
        Gas reserved each epoch for what runs by itself, and the money that pays for that; what is
        left of it comes back. By default enough until the contract's last epoch.
    gas_limit
        Gas of the whole transaction.
    **arguments
        Of ``init``, by name: accounts, gateways and applications by name or address, money as
        ``"12.5 TTC"`` or an integer.

    Raises
    ------
    BadSource
        Naming every fault of the text.
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
    most = programs.LOAD_BYTE * len(code) + max(HOOK_GAS, program.hook_gas)
    if hook_gas is not None:
        most = hook_gas
    money = network.currency.parse
    message = Deploy(SCOPE, code, wire, money(value), most if program.hooks else 0, 0)
    sender = network.key(by).address
    if program.hooks:
        fee = most * network.parameters.gas_price
        given = _epochs(network, sender, replace(message, purse=fee)) * fee
        message = replace(message, purse=given if purse is None else money(purse))
    address = contract_address(sender, account(network.state, sender).nonce)
    network.submit(by, message, gas_limit)
    return Deal(network, address)


def _epochs(network: Sending, sender: bytes, message: Deploy) -> int:
    """Deploy for a trial, undone again; return for how many epochs the contract is to run."""
    state = network.state
    meter = gas.Meter(network.parameters.block_gas)
    mark = state.mark()
    try:
        now = network.header().time + SECOND
        nonce = account(state, sender).nonce
        context = Context(
            state, network.parameters, network.height + 1, now, sender, b"", meter, 0, []
        )
        chain.deploy(context, message)
        made = state.get(CONTRACTS, contract_address(sender, nonce))
        assert made is not None
        return made.until - made.since + 1
    except TransactionError as error:
        raise network.refused("Deploy", TxResult(error.code, str(error))) from None
    finally:
        state.revert(mark)


def contract(network: Sending, address: str) -> Deal:
    """Return the contract at an address.

    Raises
    ------
    UnknownContract
        There is none.
    """
    found = network.home.address(address)
    if network.state.get(CONTRACTS, found) is None:
        raise UnknownContract(address=format_address(found))
    return Deal(network, found)


def contracts(network: Sending) -> pd.DataFrame:
    """Return every contract: address, what it says it is, deployer, money, epochs and hooks.

    ``gas_reserved`` is for the ``@on_epoch`` functions of an epoch, which need at least
    ``gas_needed``; ``runs_failed`` of them have failed.
    ``agreement`` names the one that comes with the package and has the very same code; anybody can
    deploy anything under the title of one.
    """
    unit, rows = network.currency.unit, []
    for (address,), record in network.state.items(CONTRACTS):
        assert isinstance(address, bytes)
        deal = Deal(network, address)
        rows.append(
            (
                format_address(address),
                deal.title,
                deal.agreement,
                network.home.label(record.deployer),
                deal.balance,
                record.purse,
                deal.status,
                record.hook_gas,
                deal.hook_gas_needed,
                deal.failures,
            )
        )
    money = [f"balance_{unit}", f"purse_{unit}"]
    hooks = ["gas_reserved", "gas_needed", "runs_failed"]
    columns = ["contract", "title", "agreement", "deployed_by", *money, "status", *hooks]
    return pd.DataFrame(rows, columns=columns)


@cache
def _released() -> dict[bytes, str]:
    """Return the agreements that come along, by the hash of what runs."""
    return {sha256(tree.encode(one.tree)): one.name for one in AGREEMENTS.values()}


class Deal:
    """A contract on the chain.

    Attributes
    ----------
    network
        Whose chain it is on.
    """

    def __init__(self, network: Sending, address: bytes) -> None:
        self.network = network
        self._address = address

    @property
    def address(self) -> str:
        """Its address, as people write it."""
        return format_address(self._address)

    @property
    def record(self) -> Contract:
        """Record of the contract on the chain, beside its money and its variables."""
        found = self.network.state.get(CONTRACTS, self._address)
        assert found is not None, "contracts are never deleted"
        return found

    @property
    def program(self) -> Program:
        """Its program, from the tree on the chain."""
        code = self.network.state.get(CODES, self.record.code)
        assert code is not None
        return programs.program(code)

    @property
    def source(self) -> str:
        """Its text, written from the tree that runs."""
        return unparse.unparse(self.program.contract)

    @property
    def title(self) -> str:
        """The first line of its summary."""
        return self.program.contract.doc.strip().partition("\n")[0] or "(no summary)"

    @property
    def agreement(self) -> str | None:
        """The agreement of the package whose code it runs, None if it is nobody's but its own."""
        return _released().get(self.record.code)

    @property
    def balance(self) -> int:
        """Its money, in the smallest unit."""
        return account(self.network.state, self._address).balance

    @property
    def status(self) -> str:
        """One of: runs when called, runs each epoch, asleep, ended."""
        record, state = self.record, self.network.state
        if not record.hook_gas:
            return "runs when called"
        if state.get(HOOKS, record.scope, self._address) is not None:
            return f"runs each epoch until {record.until}"
        scope = state.get(SCOPES, record.scope)
        over = scope is not None and scope.next_epoch > record.until
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
            Its name.
        by, value
            Who calls, and the money that comes along.
        gas_limit
            Gas of the whole transaction.
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
            raise BadCall(function=function, message=what)
        _bind(self.network, declared.parameters)
        wire = _wire(self.network, function, declared.parameters, arguments)
        money = self.network.currency.parse(value)
        return self.network.submit(by, Call(self._address, function, wire, money), gas_limit)

    def top_up(self, amount: str | int, *, by: str) -> str:
        """Put money into its purse; a sleeping contract wakes."""
        return self.network.submit(by, TopUp(self._address, self.network.currency.parse(amount)))

    def _function(self, name: str) -> Function:
        known = {one.name: one for one in self._open}
        if name not in known:
            there = ", ".join(known) or "none"
            raise BadCall(function=name, message=f"nobody can call that; there is {there}")
        return known[name]

    @property
    def _open(self) -> list[Function]:
        """Functions that anybody may call."""
        program = self.program
        return [
            one
            for one in program.contract.functions
            if program.compiled[one.name].door == "external"
        ]

    def view(self, function: str, /, **arguments: object) -> Any:
        """Ask a function that changes nothing; costs nothing.

        Raises
        ------
        BadCall, Reverted
            It is no view, the arguments do not fit, or it refuses.
        """
        network, declared = self.network, self._function(function)
        if "view" not in declared.marks:
            raise BadCall(function=function, message="it may change something: call it")
        wire = codec.decode(_wire(network, function, declared.parameters, arguments))
        value = self._ask(function, wire, VIEW_GAS)
        return value if declared.returns is None else self._shown(declared.returns, value)

    def _ask(self, function: str, wire: Any, gas_limit: int) -> Any:
        """Run a view for nobody."""
        network = self.network
        now = network.header().time
        epoch = epoch_at(network.parameters, now)
        host = chain.ChainHost(
            network.state, self.record.scope, self._address, bytes(20), 0, network.height,
            now // SECOND, epoch, 0, lambda *_: None,
        )  # fmt: skip
        return self.program.run(function, wire, host, gas_limit).value

    def variables(self) -> dict[str, Any]:
        """Return its state variables, without maps, whose keys nobody lists."""
        found = {}
        for one in self.program.contract.variables:
            if isinstance(one.type, MapOf):
                continue
            cell = self.network.state.get(STORAGE, self._address, codec.encode((one.name,)))
            known = form(one.type)
            value = known.zero if cell is None else known.unpack(codec.decode(cell))
            found[one.name] = self._shown(one.type, value)
        return found

    def _shown(self, kind: Type, value: Any) -> Any:
        """Return a value with names for accounts, gateways and applications, and hex for bytes."""
        if isinstance(kind, ListOf):
            return [self._shown(kind.item, one) for one in value]
        return self._named(kind, value) if isinstance(value, bytes) else value

    def _named(self, kind: Type | None, value: bytes) -> str:
        home = self.network.home
        name = home.names(NAMED[kind]).get(value) if kind in NAMED else None
        if name is None and kind == ADDRESS and any(value):
            return format_address(value)
        return name or value.hex()

    def events(self) -> pd.DataFrame:
        """Return its history in order: what it told, and what the chain noted of it.

        Columns ``height``, ``time``, ``told`` (False for the chain's notes), ``event`` and
        ``details``, with names where they are known.
        """
        query = (
            "SELECT e.height, b.time, e.told, e.event, e.details FROM events e"
            " JOIN blocks b USING (height) WHERE e.contract = ? ORDER BY e.rowid"
        )
        rows = self.network.view.index.query(query, (self._address,))
        table = pd.DataFrame(rows, columns=["height", "time", "told", "event", "details"])
        table["time"] = pd.to_datetime(table["time"], unit="us", utc=True)
        table["told"] = table["told"].astype(bool)
        table["details"] = [
            self._details(event, json.loads(details), told=told)
            for event, details, told in zip(table["event"], table["details"], table["told"])
        ]
        return table

    def _details(self, event: str, values: list[object], *, told: bool) -> str:
        labels: Sequence[tuple[str, Type]] = NOTES.get(event, [EPOCH])
        if told:
            labels = self.program.events[event, len(values)]
        return ", ".join(
            f"{SPOKEN.get(name, name.removesuffix('_ppm'))} {self._worded(kind, value)}".lstrip()
            for (name, kind), value in zip(labels, values)
        )

    def _worded(self, kind: Type | None, value: object) -> str:
        """Return a value as people read it, by its type."""
        if isinstance(value, list | tuple):
            item = kind.item if isinstance(kind, ListOf) else None
            return ", ".join(self._worded(item, one) for one in value)
        if isinstance(value, str) and kind != STR and re.fullmatch("0x([0-9a-f]{2})*", value):
            return self._named(kind, bytes.fromhex(value[2:]))
        if type(value) is int and kind == MONEY:
            return self.network.currency.format(value)
        if type(value) is int and kind == SHARE:
            return PERCENT.format(value)
        return str(value)

    def answer(self, function: str, value: object) -> str:
        """Return what a view gave, as people read it."""
        return self._worded(self._function(function).returns, value)

    @property
    def failures(self) -> int:
        """Number of failed runs of its ``@on_epoch`` functions."""
        query = "SELECT count(*) FROM events WHERE contract = ? AND event = 'failed' AND NOT told"
        ((count,),) = self.network.view.index.query(query, (self._address,))
        return int(count)

    @property
    def hook_gas_needed(self) -> int:
        """The least gas that it may reserve for each epoch, 0 without ``@on_epoch`` functions."""
        program = self.program
        size = len(tree.encode(program.contract))
        return chain.hook_gas_needed(program, size) if program.hooks else 0

    def lines(self) -> dict[str, str]:
        """Return all there is to know at a glance: what is promised, by whom, and where it stands."""
        record, money = self.record, self.network.currency.format
        facts = {
            "contract": self.address,
            "promises": " ".join(self.program.contract.doc.split()) or "(it does not say)",
            "text": f"agreement {self.agreement}, as it comes along"
            if self.agreement
            else "its own; read what it does, not only what it promises",
            "deployed by": self._named(ADDRESS, record.deployer),
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
        kinds = {one.name: one.type for one in self.program.contract.variables}
        for name, value in self.variables().items():
            label = name.removesuffix("_ppm")  # which must not hide what the chain says
            facts[f"its {name}" if label in facts else label] = self._worded(kinds[name], value)
        for one in self._open:
            named = ", ".join(f"{p.name}: {spell(p.type)}" for p in one.parameters)
            facts[f"{one.name}({named})"] = " ".join(one.doc.split()) or "(it does not say)"
        return facts

    def _word(self) -> str | None:
        """Return what it tells of itself in a word, if it has a view for that."""
        found = self.program.functions.get("status")
        if found is None or "view" not in found.marks or found.parameters or found.returns != STR:
            return None
        try:
            return str(self._ask("status", (), STATUS_GAS))
        except TransactionError:
            return None

    def _repr_html_(self) -> str:
        return table_of(self.lines())

    def __repr__(self) -> str:
        """Return it at a glance."""
        facts = self.lines()
        width = max(map(len, facts))
        return "\n".join(f"{name:>{width}}  {clean(text)}" for name, text in facts.items())


# --- arguments -----------------------------------------------------------------------------------


def _bind(network: Sending, parameters: Sequence[Parameter]) -> None:
    """Have gateways bound that arguments may name: until one is, it has no owner."""
    if any(GATEWAY in (one.type, getattr(one.type, "item", None)) for one in parameters):
        network.bind()


def _wire(
    network: Opened, function: str, parameters: Sequence[Parameter], given: Mapping[str, object]
) -> bytes:
    """Return arguments, given by name, as a transaction carries them."""
    names = [one.name for one in parameters]
    for name in [*given, *names]:
        if (name in given) != (name in names):
            takes = ", ".join(f"{one.name}: {spell(one.type)}" for one in parameters)
            raise BadCall(function=function, message=f"{name}? It takes {takes or 'nothing'}")
    values = []
    for one in parameters:
        try:
            values.append(form(one.type).pack(_read(network, one.type, given[one.name])))
        except (ValueError, DiiError) as error:
            raise BadCall(function=function, message=f"{one.name}: {error}") from None
    return codec.encode(tuple(values))


def _read(network: Opened, kind: Type, value: object) -> object:
    """Return the value of an argument as people give it: by name, with a unit, as text."""
    if isinstance(kind, ListOf):
        items = value.split(",") if isinstance(value, str) else value
        if not isinstance(items, list | tuple):
            raise ValueError("a list is expected")  # noqa: TRY004 - named with the argument
        return tuple(_read(network, kind.item, one) for one in items)
    if kind == MONEY and isinstance(value, int | str):
        return network.currency.parse(value)
    if not isinstance(value, str) or kind == STR:
        return value
    value = value.strip()
    if kind == ADDRESS:
        return network.home.address(value)
    if kind == BOOL:
        known = {"true": True, "false": False}
        if value.lower() not in known:
            raise ValueError(f"true or false is expected, not {value!r}")
        return known[value.lower()]
    if kind == SHARE:
        return _share(value)
    if kind == INT:
        return _number(value)
    return _bytes(network, kind, value)


def _bytes(network: Opened, kind: Type, text: str) -> bytes:
    """Return what a name or hexadecimal digits stand for; each type has names of its own."""
    try:
        if kind == GATEWAY and not re.fullmatch("0x[0-9a-f]{40}", text):
            return network.gateway(text)
        found = network.home.find("application", text) if kind == APPLICATION else None
        return found or bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        hint = f"no application goes by {text!r} here, and it is no hexadecimal"
        if kind == BYTES:
            hint = f"{text!r} is no hexadecimal; a name takes a Gateway or an Application"
        raise ValueError(hint) from None


def _share(text: str) -> int:
    """Return millionths; a bare number could be meant as a percentage."""
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
