"""From a tree to a program: every check, and Python closures instead of Python code.

Contracts are untrusted. Turning them into Python source and executing that would make every slip of
a checker an escape; interpreting the tree node by node takes three times as long. So each node
becomes a closure over the closures of its parts, made for the types at hand, in the same walk that
checks the types: unchecked code cannot be built.

A statement's closure returns None, or a signal that its caller returns in turn: ``BREAK``,
``CONTINUE``, or a tuple with the function's result. Exceptions would be simpler and cost ten times
as much. Gas of straight-line code is summed per block (:mod:`dii.contracts.gas`); the rest of a
block after an ``if`` or a loop, which may leave it, is charged when it is reached.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from dii import codec
from dii.contracts import gas
from dii.contracts import operations as do
from dii.contracts import tree as t
from dii.contracts.expressions import NOTHING, PLAIN, RESERVED, Expressions, proper
from dii.contracts.room import with_room
from dii.contracts.tree import ListOf, MapOf, Type
from dii.contracts.values import BOOL, INT, fits, form, spell
from dii.contracts.vm import MAX_FRAMES, Compiled, Frame, Program, Run

BREAK: Final = "break"
CONTINUE: Final = "continue"
MAX_CALLS: Final = MAX_FRAMES // 4
"""Functions that call one another in a chain; a longer chain always needs too many frames."""
NEVER: Final = -(1 << 62)
"""Gas of a path that does not exist."""
MARKS: Final = (
    (), ("external",), ("external", "payable"), ("external", "view"), ("on_epoch",), ("payable",),
    ("view",),
)  # fmt: skip
"""Marks that a function may have, in alphabetical order."""


def compile(contract: t.Contract) -> Program:  # noqa: A001 - what it does has this name
    """Check a contract and make it ready to run.

    Raises
    ------
    BadProgram
        With every fault, as ``numbers["faults"]``.
    """
    return with_room(_Compiler(contract).program)


class _Compiler(Expressions):
    """Statements, functions and the contract as a whole."""

    def __init__(self, contract: t.Contract) -> None:
        super().__init__(contract)
        self.statements: dict[type[t.Node], Callable[[Any], Run]] = {
            t.Declare: self._declare, t.Assign: self._assign, t.Augment: self._augment,
            t.If: self._if, t.For: self._for, t.Break: self._leave, t.Continue: self._leave,
            t.Pass: lambda _: _nothing, t.Assert: self._assert, t.Return: self._return,
            t.Do: self._do,
        }  # fmt: skip

    # --- the contract --------------------------------------------------------------------------

    def program(self) -> Program:
        """Check everything and return the program."""
        functions = self.contract.functions
        for variable in self.contract.variables:
            self.name(variable, variable.name, self.variables)
            self.type(variable.type, "a state variable", stored=True)
            self.variables[variable.name] = variable.type
        for function in functions:
            if function.name != "init" or "init" in self.functions:
                self.name(function, function.name, self.variables, self.functions)
            self.functions[function.name] = function
        for function in functions:
            self.signature(function)
        hooks = tuple(function.name for function in functions if "on_epoch" in function.marks)
        if hooks and self.variables.get("until") != INT:
            message = "a contract with an @on_epoch function says until which epoch it runs"
            self.fault(self.contract, message, "until: int")
        for function in self.in_order():
            self.compiled[function.name] = self.body(function)
        self.finish()
        read = {name: frozenset(fields) for name, fields in self.read.items()}
        return Program(
            self.contract, self.functions, hooks, read["metrics"], read["usage"], self.events,
            self.compiled,
        )  # fmt: skip

    def name(self, node: t.Node, name: str, *taken: Iterable[str]) -> None:
        """Check a name that is given to something."""
        if not proper(name):
            message = f"{name!r} is not a name: letters, digits and _, at most 64, not two _ first"
            self.fault(node, message)
        elif name in RESERVED:
            self.fault(node, f"the name {name!r} is reserved", f"{name}_")
        elif any(name in names for names in taken):
            self.fault(node, f"duplicate name {name!r}", "a name of its own")

    def type(self, kind: Type | None, what: str, *, stored: bool = False) -> None:
        """Check that a type exists and is allowed in its place."""
        if kind is None:
            return
        if isinstance(kind, MapOf):
            if not stored:
                self.fault(kind, f"{what} cannot be a map: only a state variable can")
            self.type(kind.value, "an entry")
        plain = kind.key if isinstance(kind, MapOf) else kind
        plain = plain.item if isinstance(plain, ListOf) else plain
        if plain not in PLAIN:
            names = f"{', '.join(map(spell, PLAIN))}, list[…] or map[…, …]"
            capital = {known.name.lower(): known.name for known in PLAIN}
            hint = (capital | {"float": "int, in the smallest unit"}).get(plain.name, names)
            self.fault(plain, f"there is no type {plain.name!r}", hint)

    def signature(self, function: t.Function) -> None:
        """Check a function without its body."""
        self.enter(function)
        marks, kinds = function.marks, [parameter.type for parameter in function.parameters]
        for parameter in function.parameters:
            self.name(parameter, parameter.name, self.variables, self.functions, self.locals)
            self.type(parameter.type, "a parameter")
            self.locals[parameter.name] = (0, None)
        self.type(function.returns, "a result")
        if marks not in MARKS or (function.name == "init" and marks not in ((), ("payable",))):
            shown = ", ".join(f"@{mark}" for mark in marks)
            hint = "@external, @payable, @view, @external with one of these, or @on_epoch"
            self.fault(function, f"{function.name} cannot be marked {shown}", hint)
        if function.returns is not None and (function.name == "init" or "on_epoch" in marks):
            self.fault(function, f"{function.name} cannot return a value", "no ->")
        if "on_epoch" in marks and kinds != [INT]:
            hint = f"def {function.name}(settled: int):"
            self.fault(function, "an @on_epoch function takes the settled epoch", hint)
        if not function.body:
            self.fault(function, f"{function.name} has no body", "pass")

    def in_order(self) -> list[t.Function]:
        """Return the functions, callees before their callers."""
        order: list[t.Function] = []
        done: set[str] = set()

        def visit(function: t.Function, chain: tuple[str, ...]) -> None:
            if function.name in chain:
                self.fault(function, f"{function.name} calls itself, directly or not", "a for loop")
            elif len(chain) == MAX_CALLS:
                self.fault(function, f"more than {MAX_CALLS} functions call one another in a chain")
            elif function.name not in done:
                for name in calls(function):
                    if name in self.functions:
                        visit(self.functions[name], (*chain, function.name))
                done.add(function.name)
                order.append(function)

        self.enter(None)
        for function in self.contract.functions:
            visit(function, ())
        return order

    def body(self, function: t.Function) -> Compiled:
        """Compile a function after its helpers."""
        self.enter(function)
        for slot, parameter in enumerate(function.parameters, 1):
            self.locals[parameter.name] = slot, parameter.type
            self.sure.add(parameter.name)
        cost, run = self.block(function.body)
        if function.returns is not None and not self.ended:
            hint = f"return … of type {spell(function.returns)} at its end"
            self.fault(function, f"{function.name} may end without a result", hint)
        if self.deepest > MAX_FRAMES:
            self.fault(function, f"{function.name} nests too deep, with the calls in it")
        hook = "on_epoch" if "on_epoch" in function.marks else ""
        kinds = [parameter.type for parameter in function.parameters]
        readers = () if self.faults else tuple(form(kind).unpack for kind in kinds)
        return Compiled(
            "init" if function.name == "init" else hook or ("external" if function.marks else ""),
            "payable" in function.marks,
            cost + len(self.locals) // 8,
            max(self.way) + len(self.locals) // 8,
            run,
            (None,) * (len(self.locals) - len(function.parameters)),
            readers,
            self.effects,
            self.deepest,
        )

    # --- statements ----------------------------------------------------------------------------

    def block(self, statements: Sequence[t.Statement]) -> tuple[int, Run]:
        """Compile statements; return the gas to charge before they run, and their closure.

        Sets ``way``: the gas of the costliest path to their end, and of the costliest path that
        leaves earlier, as far as it is known without values; each loop counts as one turn.
        """
        outer, self.cost, self.inner = (self.cost, self.inner), 0, 0
        self.depth += 1
        end, leave = 0, NEVER
        parts: list[tuple[int, list[Run]]] = []
        runs: list[Run] = []
        for node in statements:
            if self.ended:
                self.fault(node, "this code is never reached", "nothing after it leaves")
                break
            self.cost += gas.NODE
            self.depth += 1
            self.deepest = max(self.deepest, self.depth)
            runs.append(self.statements[type(node)](node))
            self.depth -= 1
            if type(node) in (t.If, t.For):
                parts.append((self.cost, runs))
                end += self.cost + self.inner
                end, leave = end + self.way[0], max(leave, end + self.way[1])
                self.cost, self.inner, runs = 0, 0, []
        parts.append((self.cost, runs))
        end += self.cost + self.inner
        self.way = (NEVER, max(leave, end)) if self.ended else (end, leave)
        self.cost, self.inner = outer
        self.depth -= 1
        (first, runs), *rest = parts
        for cost, later in rest:
            if later:
                runs = [*runs, _charge(cost), *later]
        return first, runs[0] if len(runs) == 1 else _sequence(tuple(runs))

    def _declare(self, node: t.Declare) -> Run:
        self.type(node.type, "a local")
        value = self.typed(node.value, node.type)
        return self.assign(node, node.name, value, node.type)

    def assign(self, node: t.Node, name: str, value: Run, kind: Type | None) -> Run:
        """Give a local a value."""
        if name not in self.locals:
            self.name(node, name, self.variables, self.functions)
            self.locals[name] = len(self.locals) + 1, kind
        slot, known = self.locals[name]
        if kind is not None and known is not None and not fits(kind, known):
            self.fault(node, f"{name} has the type {spell(known)}, not {spell(kind)}")
        self.sure.add(name)

        def run(frame: Frame) -> None:
            frame[slot] = value(frame)

        return run

    def _assign(self, node: t.Assign) -> Run:
        target = node.target
        if isinstance(target, t.Index):
            table = self.target(target)
            value = self.typed(node.value, table and table.value)
            if table is None:
                return value
            where = self.place(target.base, target.index, table, written=True)
            return do.store(where, value, form(table.value))
        if target.id in self.variables:
            return self.state(target, self.typed(node.value, self.variables[target.id]))
        _, want = self.locals.get(target.id, (0, None))
        value, kind = self.expression(node.value, want)
        return self.assign(target, target.id, value, kind)

    def state(self, target: t.Name, value: Run) -> Run:
        """Write a state variable."""
        kind = self.variables[target.id]
        self.cost += gas.WRITE
        self.effect(target, "writes the state")
        if isinstance(kind, MapOf):
            return self.fault(target, "a map is assigned entry by entry", f"{target.id}[key] = …")[
                0
            ]
        key = codec.encode((target.id,))
        self.cost += gas.STORED * len(key)
        return do.store(lambda _: key, value, form(kind))

    def target(self, target: t.Index) -> MapOf | None:
        """Return the type of the map whose entry is written."""
        kind = self.map(target.base)
        if kind is None:
            self.fault(target, "only a map's entries can be written", "xs = xs + [x] for a list")
            return None
        self.cost += gas.WRITE
        self.effect(target, "writes the state")
        return kind

    def _augment(self, node: t.Augment) -> Run:
        target = node.target
        if isinstance(target, t.Name):
            left = self.expression(target)
            value, kind = self.binary(node, node.op, left, self.expression(node.value, left[1]))
            if target.id in self.variables:
                return self.state(target, value)
            return self.assign(target, target.id, value, kind) if left[1] else value
        table = self.target(target)
        if table is None:
            return self.expression(node.value)[0]
        self.cost += gas.READ
        where = self.place(target.base, target.index, table, written=True)
        slot = len(self.locals) + 1
        self.locals[f"{slot} key"] = slot, None  # no name that a contract could write
        key: Run = lambda frame: frame[slot]
        left = do.entry(key, form(table.value)), table.value
        right = self.expression(node.value, table.value)
        write = do.store(key, self.binary(node, node.op, left, right)[0], form(table.value))

        def run(frame: Frame) -> None:
            frame[slot] = where(frame)
            write(frame)

        return run

    def _if(self, node: t.If) -> Run:
        self.cost += gas.BRANCH
        test, before = self.typed(node.test, BOOL), set(self.sure)
        then_cost, then = self.branch(node, node.then)
        sure, ended, way = self.sure, self.ended, self.way
        self.sure, self.ended, self.way = before, False, (0, NEVER)
        other_cost, other = self.block(node.other) if node.other else (0, _nothing)
        self.way = max(way[0], self.way[0]), max(way[1], self.way[1])
        if self.ended:
            self.sure, self.ended = sure, ended
        elif not ended:
            self.sure &= sure

        def run(frame: Frame) -> object:
            machine = frame[0]
            if test(frame):
                machine.gas -= then_cost
                if machine.gas < 0:
                    machine.exhausted()
                return then(frame)
            machine.gas -= other_cost
            if machine.gas < 0:
                machine.exhausted()
            return other(frame)

        return run

    def branch(self, node: t.Node, statements: Sequence[t.Statement]) -> tuple[int, Run]:
        """Compile a block that must not be empty."""
        if not statements:
            self.fault(node, "this block is empty", "pass")
        return self.block(statements)

    def _for(self, node: t.For) -> Run:
        self.cost += gas.LOOP
        items, kind = self.items(node.items)
        before = set(self.sure)
        self.assign(node, node.name, items, kind)
        slot = self.locals[node.name][0]
        self.loops += 1
        cost, body = self.branch(node, node.body)
        self.loops -= 1
        self.sure, self.ended = before, False
        cost += gas.TURN
        self.way = max(0, gas.TURN + self.way[0]), gas.TURN + self.way[1]

        def run(frame: Frame) -> object:
            machine = frame[0]
            for item in items(frame):
                machine.gas -= cost
                if machine.gas < 0:
                    machine.exhausted()
                frame[slot] = item
                signal = body(frame)
                if signal is not None and signal is not CONTINUE:
                    return None if signal is BREAK else signal
            return None

        return run

    def items(self, node: t.Expression) -> tuple[Run, Type | None]:
        """Compile the items of a loop."""
        if isinstance(node, t.Call) and node.function == "range":
            runs = [self.typed(argument, INT) for argument in node.arguments]
            if len(runs) == 1:
                (stop,) = runs
                return (lambda frame: range(stop(frame))), INT
            if len(runs) == 2:
                start, stop = runs
                return (lambda frame: range(start(frame), stop(frame))), INT
            return self.fault(node, "range takes one or two ints", "range(start, stop)")
        run, kind = self.expression(node)
        if kind is not None and not isinstance(kind, ListOf):
            return self.fault(node, f"a loop goes through a list or a range, not {spell(kind)}")
        return run, kind.item if isinstance(kind, ListOf) else None

    def _leave(self, node: t.Break | t.Continue) -> Run:
        signal = BREAK if isinstance(node, t.Break) else CONTINUE
        if not self.loops:
            self.fault(node, f"{signal} is allowed in a loop only")
        self.ended = True
        return lambda _: signal

    def _assert(self, node: t.Assert) -> Run:
        test = self.typed(node.test, BOOL)
        self.ended = isinstance(node.test, t.Bool) and not node.test.value
        return do.check(test, node.message)

    def _do(self, node: t.Do) -> Run:
        self.depth += 1
        run, kind = self.evaluate(node.call)
        self.depth -= 1

        def drop(frame: Frame) -> None:
            run(frame)

        return run if kind == NOTHING else drop

    def _return(self, node: t.Return) -> Run:
        assert self.function is not None
        wanted, self.ended = self.function.returns, True
        if node.value is None:
            if wanted is not None:
                self.fault(node, "return needs a value", f"return … of type {spell(wanted)}")
            return lambda _: (None,)
        if wanted is None:
            self.expression(node.value)
            hint = f"def {self.function.name}(…) -> its type:"
            return self.fault(node, "this function returns nothing", hint)[0]
        value = self.typed(node.value, wanted)
        return lambda frame: (value(frame),)


def calls(function: t.Function) -> list[str]:
    """Return the names of the functions that a function calls, in order."""
    found: dict[str, None] = {}
    stack: list[t.Node] = [function]
    while stack:
        node = stack.pop()
        if isinstance(node, t.Call):
            found[node.function] = None
        stack += t.children(node)
    return list(found)


def _nothing(_: Frame) -> None:
    """Do nothing."""


def _charge(cost: int) -> Run:
    return lambda frame: frame[0].take(cost)


def _sequence(runs: tuple[Run, ...]) -> Run:
    def run(frame: Frame) -> object:
        for statement in runs:
            signal = statement(frame)
            if signal is not None:
                return signal
        return None

    return run
