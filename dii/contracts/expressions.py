"""Checker and compiler of expressions: one walk finds type, gas, faults and closure.

Faults are collected, not raised, and a faulty expression has the type None, which fits everywhere,
so that one mistake is reported once. The tree is not trusted: it may come from a transaction, made
by hand, and only its shape has been checked.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from dii import codec, errors
from dii.contracts import gas, host
from dii.contracts import operations as do
from dii.contracts import tree as t
from dii.contracts import values as v
from dii.contracts.faults import Fault, render
from dii.contracts.tree import ListOf, MapOf, Plain, Type
from dii.contracts.vm import Compiled, Frame, Run

Typed: TypeAlias = tuple[Run, Type | None]

NOTHING: Final = Plain("nothing")
"""Type of a call that gives no value."""
MAX_FAULTS: Final = 50
LONGEST: Final = 300
"""Characters of a fault; names in a tree made by hand may be longer."""
ELSEWHERE: Final = {
    "require": 'assert condition, "why"',
    "revert": 'assert False, "why"',
    "print": 'emit("event", …)',
    "transfer": "pay(to, amount)",
    "send": "pay(to, amount)",
}
"""Equivalents of functions of Python and of other contract languages."""

PLAIN: Final = (v.INT, v.BOOL, v.STR, v.BYTES, v.ADDRESS, *v.BASES)
LISTS: Final = tuple(map(ListOf, PLAIN))
LITERALS: Final[dict[type[t.Node], Plain]] = {
    t.Int: v.INT, t.Bool: v.BOOL, t.Str: v.STR, t.Bytes: v.BYTES, t.AddressOf: v.ADDRESS,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Builtin:
    """A builtin of one value: its result by the value's type, its gas, its closure."""

    results: Mapping[Type, Type]
    cost: int
    make: Callable[[Run, v.Weigh], Run]


_BUILTINS: Final = {
    "len": _Builtin(
        dict.fromkeys((v.STR, v.BYTES, *LISTS), v.INT), 0, lambda a, _: lambda f: len(a(f))
    ),
    "abs": _Builtin({v.INT: v.INT}, 0, lambda a, _: do.bounded(abs, a)),
    "sum": _Builtin({ListOf(v.INT): v.INT}, gas.SIZED, lambda a, _: do.bounded(sum, a, gas.ADD)),
    "str": _Builtin({v.INT: v.STR}, gas.TEXT, lambda a, _: lambda f: str(a(f))),
    "sha256": _Builtin({v.BYTES: v.BYTES}, gas.SHA256, lambda a, _: do.digest(a)),
    "sorted": _Builtin(
        {kind: kind for kind in map(ListOf, (v.INT, v.STR, v.BYTES))}, 2 * gas.SIZED, do.in_order
    ),
}


def _never(_: Frame) -> Any:
    raise AssertionError("a contract with faults does not run")


class Expressions:
    """State of the walk through a contract, and compilation of its expressions."""

    def __init__(self, contract: t.Contract) -> None:
        self.faults: list[Fault] = []
        self.variables: dict[str, Type] = {}
        self.functions: dict[str, t.Function] = {}
        self.compiled: dict[str, Compiled] = {}
        self.events: dict[tuple[str, int], tuple[tuple[str, Type], ...]] = {}
        self.read: dict[str, set[str]] = {name: set() for name in host.RECORDS}
        self.contract = contract
        self.enter(None)
        self.kinds: dict[type[t.Node], Callable[[Any, Type | None], Typed]] = {
            **dict.fromkeys(LITERALS, self._literal), t.Name: self._name, t.Unary: self._unary,
            t.Binary: self._binary, t.Logic: self._logic, t.Compare: self._compare,
            t.Choose: self._choose, t.Index: self._index, t.Field: self._field, t.Call: self._call,
            t.List: self._list,
        }  # fmt: skip
        self.builtins: dict[str, Callable[[t.Call], Typed]] = {
            **dict.fromkeys(_BUILTINS, self._builtin),
            **dict.fromkeys(("min", "max"), self._least),
            "get": self._get,
            "remove": self._remove,
            "emit": self._emit,
        }

    def enter(self, function: t.Function | None) -> None:
        """Begin a function, without locals."""
        self.function = function
        self.locals: dict[str, tuple[int, Type | None]] = {}
        self.sure: set[str] = set()
        self.cost = self.inner = self.depth = self.deepest = self.loops = 0
        self.way = 0, 0
        self.ended = self.effects = False

    def fault(self, node: t.Node, message: str, hint: str = "") -> Typed:
        """Record a fault, and return a stand-in for the faulty expression."""
        if node.at is None and self.function is not None:
            message = f"in {self.function.name[:64]!r}: {message}"
        self.faults.append(Fault(message[:LONGEST], hint[:LONGEST], node.at))
        if len(self.faults) >= MAX_FAULTS:
            self.finish()
        return _never, None

    def finish(self) -> None:
        """Raise if there are faults."""
        if self.faults:
            raise errors.BadProgram(message=render(self.faults), faults=tuple(self.faults))

    def effect(self, node: t.Node, what: str) -> None:
        """Record an effect, which a view must not have."""
        self.effects = True
        if self.function is not None and "view" in self.function.marks:
            self.fault(node, f"a view only reads, and this {what}", "@external instead of @view")

    def expression(self, node: t.Expression, want: Type | None = None) -> Typed:
        """Compile an expression that has a value; ``want`` tells the type of an empty list."""
        run, kind = self.evaluate(node, want)
        return self.fault(node, "this expression has no value") if kind == NOTHING else (run, kind)

    def evaluate(self, node: t.Expression, want: Type | None = None) -> Typed:
        """Compile an expression, or a call without a value."""
        frames = 2 if type(node) in (t.Call, t.Compare, t.List) else 1
        self.depth += frames
        self.deepest = max(self.deepest, self.depth)
        self.cost += gas.NODE
        typed = self.kinds[type(node)](node, want)
        self.depth -= frames
        return typed

    def typed(self, node: t.Expression, kind: Type | None) -> Run:
        """Compile an expression that must be of a type."""
        return self.expected(node, kind, kind)[0]

    def expected(self, node: t.Expression, kind: Type | None, want: Type | None = None) -> Typed:
        """Compile an expression that must be of a type, or of its plain type."""
        run, found = self.expression(node, want)
        if not v.fits(found, kind):
            assert found is not None
            assert kind is not None
            hint = "a comparison, such as x != 0" if kind == v.BOOL else ""
            self.fault(node, f"expected {v.spell(kind)}, not {v.spell(found)}", hint)
        return run, found

    def arguments(self, call: t.Call, *kinds: Type | None) -> list[Run]:
        """Compile the arguments of a call with these types."""
        if len(call.arguments) != len(kinds):
            count = f"{len(kinds)} argument{'s' * (len(kinds) != 1)}"
            self.fault(call, f"{call.function} takes {count}, not {len(call.arguments)}")
            return [_never] * len(kinds)
        return [self.typed(node, kind) for node, kind in zip(call.arguments, kinds)]

    # --- values and names ----------------------------------------------------------------------

    def _literal(self, node: Any, _: Type | None) -> Typed:
        kind = LITERALS[type(node)]
        try:
            codec.encode(v.form(kind).pack(node.value))
        except (ValueError, errors.CodecError) as error:
            return self.fault(node, str(error))
        return _constant(node.value), kind

    def _list(self, node: t.List, want: Type | None) -> Typed:
        if not node.items:
            if isinstance(want, ListOf):
                return _constant(()), want
            return self.fault(node, "the type of this empty list is unknown", "xs: list[int] = []")
        self.cost += gas.SIZED + len(node.items) // 4
        item = want.item if isinstance(want, ListOf) else None
        first, kind = self.expression(node.items[0], item)
        runs = [first, *(self.typed(item_node, kind) for item_node in node.items[1:])]
        if kind is not None and kind not in PLAIN:
            return self.fault(node, f"the items of a list are plain values, not {v.spell(kind)}")
        return do.build(runs), ListOf(kind) if isinstance(kind, Plain) else None

    def _name(self, node: t.Name, _: Type | None) -> Typed:
        name = node.id
        if name in self.locals:
            slot, kind = self.locals[name]
            if name not in self.sure:
                hint = f"{name} = … on every way here"
                self.fault(node, f"{name!r} may have no value here", hint)
            return (lambda frame: frame[slot]), kind
        if name in self.variables:
            kind = self.variables[name]
            if isinstance(kind, MapOf):
                hint = f"{name}[key], get({name}, key, default) or key in {name}"
                return self.fault(node, "a map cannot be used as a value", hint)
            self.cost += gas.READ
            key, known = codec.encode((name,)), v.form(kind)
            return do.entry(_constant(key), known, _constant(known.zero)), kind
        if name in host.VARIABLES:
            kind, run = host.VARIABLES[name]
            return run, kind
        if name in self.functions or name in RESERVED:
            return self.fault(node, f"{name!r} is not a value", f"{name}(…)")
        return self.fault(node, f"unknown name {name!r}")

    def map(self, node: t.Expression) -> MapOf | None:
        """Return the type of a map of the state, if a node is its name."""
        kind = self.variables.get(node.id) if isinstance(node, t.Name) else None
        return kind if isinstance(kind, MapOf) else None

    def place(
        self, table: t.Expression, key: t.Expression, kind: MapOf, *, written: bool = False
    ) -> Run:
        """Compile the storage key of an entry."""
        assert isinstance(table, t.Name)
        prefix = b"\x82" + codec.encode(table.id)
        self.cost += gas.SIZED
        if written:  # bytes of known number; the others are charged when they are known
            self.cost += gas.STORED * (len(prefix) + (21 if kind.key == v.ADDRESS else 0))
        self.depth += 1  # of the closure around the key
        run = self.typed(key, kind.key)
        self.depth -= 1
        return do.place(prefix, run, v.form(kind.key), written=written)

    # --- operators -----------------------------------------------------------------------------

    def _unary(self, node: t.Unary, _: Type | None) -> Typed:
        if node.op == "not":
            run = self.typed(node.operand, v.BOOL)
            return (lambda frame: not run(frame)), v.BOOL
        if node.op == "-":
            if isinstance(node.operand, t.Int):
                return self.fault(node, "write a negative number as one constant", "-1")
            run, kind = self.expected(node.operand, v.INT)
            return do.bounded(operator.neg, run), kind
        return self.fault(node, f"there is no operator {node.op!r}")

    def _binary(self, node: t.Binary, want: Type | None) -> Typed:
        left = self.expression(node.left, want)
        return self.binary(node, node.op, left, self.expression(node.right, left[1]))

    def binary(self, node: t.Node, op: str, left: Typed, right: Typed) -> Typed:
        """Combine two compiled sides."""
        kind = left[1] or right[1]
        if op not in do.ARITHMETIC:
            return self.fault(node, f"there is no operator {op!r}", "+, -, *, // or %")
        if kind is None:
            return _never, None
        other, plain = right[1] or kind, v.base(kind)
        scales = plain == v.base(other) == v.INT and op in ("*", "//")
        joins = op == "+" and (plain in (v.STR, v.BYTES) or isinstance(kind, ListOf))
        if not (scales or (v.fits(kind, other) and (plain == v.INT or joins))):
            sides = f"{v.spell(kind)} {op} {v.spell(other)}"
            return self.fault(node, f"there is no {sides}", "two ints, or + of two of one type")
        if plain == v.INT:
            self.cost += gas.DIVIDE if op in ("//", "%") else 0
            meaning = _product(op, kind, other) if scales else v.closer(kind, other)
            return do.ARITHMETIC[op](left[0], right[0]), meaning
        self.cost += gas.SIZED
        run = do.join(left[0], right[0], gas.SLOT if isinstance(kind, ListOf) else 0)
        return run, v.closer(kind, other)

    def _logic(self, node: t.Logic, _: Type | None) -> Typed:
        left, right = self.typed(node.left, v.BOOL), self.typed(node.right, v.BOOL)
        if node.op == "and":
            return (lambda frame: left(frame) and right(frame)), v.BOOL
        if node.op == "or":
            return (lambda frame: left(frame) or right(frame)), v.BOOL
        return self.fault(node, f"there is no operator {node.op!r}")

    def _compare(self, node: t.Compare, _: Type | None) -> Typed:
        if node.op in ("in", "not in"):
            run = self._in(node)
            return (run if node.op == "in" else lambda frame: not run(frame)), v.BOOL
        if node.op not in do.ORDER:
            return self.fault(node, f"there is no comparison {node.op!r}")
        left, kind = self.expression(node.left)
        right = self.typed(node.right, kind)
        if kind is None:
            return _never, v.BOOL
        if v.base(kind) not in (v.INT, v.STR, v.BYTES) and node.op not in ("==", "!="):
            return self.fault(node, f"values of {v.spell(kind)} cannot be ordered", "== or !=")
        if not (kind in PLAIN or isinstance(kind, ListOf)):
            return self.fault(node, f"records of {v.spell(kind)} cannot be compared", ".reported")
        sized = v.base(kind) in (v.STR, v.BYTES)
        self.cost += gas.SIZED if sized or isinstance(kind, ListOf) else 0
        if isinstance(kind, ListOf):
            return do.compare_lists(node.op, left, right, v.form(kind).weigh), v.BOOL
        return do.compare(node.op, left, right, sized=sized), v.BOOL

    def _in(self, node: t.Compare) -> Run:
        table = self.map(node.right)
        if table is not None:
            self.cost += gas.READ
            where = self.place(node.right, node.left, table)
            return lambda frame: frame[0].read(where(frame)) is not None
        self.cost += gas.SIZED
        item, kind = self.expression(node.left)
        if kind is not None and kind not in PLAIN:
            return self.fault(node.left, f"a list cannot contain {v.spell(kind)}")[0]
        wanted = ListOf(kind) if isinstance(kind, Plain) else None
        items = self.typed(node.right, wanted)
        return do.member(item, items, v.form(wanted).weigh) if wanted else _never

    def _choose(self, node: t.Choose, want: Type | None) -> Typed:
        test = self.typed(node.test, v.BOOL)
        then, kind = self.expression(node.then, want)
        other, otherwise = self.expected(node.other, kind, want or kind)
        run: Run = lambda frame: then(frame) if test(frame) else other(frame)
        return run, v.closer(kind, otherwise)

    def _index(self, node: t.Index, _: Type | None) -> Typed:
        table = self.map(node.base)
        if table is not None:
            self.cost += gas.READ
            where = self.place(node.base, node.index, table)
            return do.entry(where, v.form(table.value)), table.value
        items, kind = self.expression(node.base)
        run = do.element(items, self.typed(node.index, v.INT))
        if kind is None:
            return _never, None
        if isinstance(kind, ListOf):
            return run, kind.item
        if v.base(kind) == v.BYTES:
            return run, v.INT
        return self.fault(node, f"{v.spell(kind)} has no index")

    def _field(self, node: t.Field, _: Type | None) -> Typed:
        record, kind = self.expression(node.base)
        if kind is None:
            return _never, None
        name = kind.name if isinstance(kind, Plain) else ""
        fields = {"reported": v.BOOL, **host.RECORDS[name]} if name in host.RECORDS else {}
        if node.name not in fields:
            hint = f"one of {', '.join(sorted(fields))}" if fields else ""
            return self.fault(node, f"{v.spell(kind)} has no field {node.name!r}", hint)
        if node.name != "reported":
            self.read[name].add(node.name)
        return do.field(record, node.name), fields[node.name]

    # --- calls ---------------------------------------------------------------------------------

    def _call(self, node: t.Call, _: Type | None) -> Typed:
        name = node.function
        if name in self.functions:
            return self._helper(node, self.functions[name])
        if name in self.builtins:
            return self.builtins[name](node)
        if name in host.FUNCTIONS:
            signature = host.FUNCTIONS[name]
            self.cost += signature.cost
            runs = self.arguments(node, *signature.parameters)
            if signature.effect:
                self.effect(node, "pays")
            pairs = zip(runs, signature.parameters)
            runs = [host.short(run) if v.base(kind) == v.BYTES else run for run, kind in pairs]
            return signature.make(*runs), signature.returns or NOTHING
        if name == "range":
            return self.fault(node, "range is allowed in a for loop only", "for i in range(n):")
        return self.fault(node, f"there is no function {name!r}", ELSEWHERE.get(name, ""))

    def _helper(self, node: t.Call, function: t.Function) -> Typed:
        kinds = [parameter.type for parameter in function.parameters]
        runs = self.arguments(node, *kinds)
        result = function.returns or NOTHING
        if function.name == "init" or not {"on_epoch", "payable"}.isdisjoint(function.marks):
            message = f"{function.name} is called from outside only"
            return self.fault(node, message, "a helper of both")
        compiled = self.compiled.get(function.name)
        if compiled is None:  # the helper has a fault of its own
            return _never, result
        if compiled.effects:
            self.effect(node, f"calls {function.name}, which does not")
        self.cost += gas.CALL + compiled.cost
        self.inner += compiled.most - compiled.cost
        self.deepest = max(self.deepest, self.depth + compiled.frames)
        return do.helper(runs, compiled), result

    def _builtin(self, call: t.Call) -> Typed:
        builtin = _BUILTINS[call.function]
        self.cost += builtin.cost
        if len(call.arguments) != 1:
            return self.fault(call, f"{call.function} takes one value")
        run, kind = self.expression(call.arguments[0])
        if kind is None:
            return _never, None
        result = builtin.results.get(v.base(kind) or kind)
        if result is None:
            known = ", ".join(map(v.spell, builtin.results))
            return self.fault(call, f"{call.function} takes no {v.spell(kind)}", f"one of {known}")
        if call.function in ("abs", "sorted", "sum"):  # these keep what a number means
            result = kind.item if call.function == "sum" and isinstance(kind, ListOf) else kind
        return builtin.make(run, v.form(kind).weigh), result

    def _least(self, call: t.Call) -> Typed:
        self.cost += gas.DIVIDE
        if len(call.arguments) != 2:
            return self.fault(call, f"{call.function} takes 2 ints")
        first, second = call.arguments
        left, left_kind = self.expected(first, v.INT)
        right, right_kind = self.expected(second, v.INT)
        if not v.fits(left_kind, right_kind):
            return self.fault(call, f"{call.function} takes two of one type")
        function = min if call.function == "min" else max
        return (lambda frame: function(left(frame), right(frame))), v.closer(left_kind, right_kind)

    def _get(self, call: t.Call) -> Typed:
        name, key, default = call.arguments if len(call.arguments) == 3 else (call,) * 3
        table = self.map(name)
        if table is None:
            return self.fault(call, "get takes a map, a key and a default", "get(m, k, 0)")
        self.cost += gas.READ
        where, entry = self.place(name, key, table), v.form(table.value)
        return do.entry(where, entry, self.typed(default, table.value)), table.value

    def _remove(self, call: t.Call) -> Typed:
        name, key = call.arguments if len(call.arguments) == 2 else (call,) * 2
        table = self.map(name)
        if table is None:
            return self.fault(call, "remove takes a map and a key", "remove(m, k)")
        self.cost += gas.WRITE
        self.effect(call, "removes an entry")
        return do.remove(self.place(name, key, table)), NOTHING

    def _emit(self, call: t.Call) -> Typed:
        self.effect(call, "emits an event")
        self.cost += gas.EMIT
        event, *nodes = call.arguments or (t.Bool(value=False),)
        if not isinstance(event, t.Str) or not proper(event.value):
            return self.fault(call, "emit takes a name first", 'emit("paid", to, amount)')
        pairs = [self.expression(node) for node in nodes]
        for node, (_, kind) in zip(nodes, pairs):
            if kind is not None and kind not in PLAIN:
                self.fault(node, f"an event has plain values, not {v.spell(kind)}")
        if self.faults:
            return _never, NOTHING
        names = [node.id if isinstance(node, t.Name) else "" for node in nodes]
        self.events[event.value, len(nodes)] = tuple(
            (name, kind) for name, (_, kind) in zip(names, pairs) if kind is not None
        )
        return host.emit(event.value, [run for run, _ in pairs]), NOTHING


def _product(op: str, left: Type, right: Type) -> Type:
    """Return the type of a product or quotient of two ints."""
    if left == right:  # a ratio, or a square
        return v.INT
    return left if op == "//" else v.MONEY if v.MONEY in (left, right) else v.SHARE


def _constant(value: object) -> Run:
    return lambda _: value


RESERVED: Final = (
    {*(kind.name for kind in PLAIN), "list", "map", "init"}
    | {"external", "payable", "view", "on_epoch"}
    | {"min", "max", "range", "get", "remove", "emit", *_BUILTINS}
    | {*host.VARIABLES, *host.FUNCTIONS}
)
"""Names with a meaning of their own. Only a function may be called ``init``."""
_KEYWORDS: Final = (
    "False None True and as assert async await break class continue def del elif else except "
    "finally for from global if import in is lambda nonlocal not or pass raise return try while "
    "with yield"
)
KEYWORDS: Final = frozenset(_KEYWORDS.split())
"""Python's keywords, written out: lists of other versions would check trees differently."""
_NAME: Final = re.compile("(?!__)[A-Za-z_][A-Za-z0-9_]{0,63}")


def proper(name: str) -> bool:
    """Tell whether a name could be written in a source."""
    return _NAME.fullmatch(name) is not None and name not in KEYWORDS
