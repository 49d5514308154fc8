"""From text to tree, on the client, with a fault for every construct outside the language.

Contracts are written in a small part of Python, and Python's own parser reads them on the client.
Nodes read trees only (:mod:`dii.contracts.tree`), so releases of Python that parse differently
cannot split a chain. Nothing is executed. An own parser was rejected: its users would have to learn
a grammar, and editors, formatters and highlighters know Python's.

Every construct that is not admitted becomes a :class:`~dii.contracts.faults.Fault`, and its parts
are checked all the same, so that one check lists all faults. The compiler checks the meaning of
what is admitted; :func:`check` runs both.
"""

from __future__ import annotations

import ast
import inspect
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, NoReturn, TypeVar

from dii import crypto, errors
from dii.contracts import compiler
from dii.contracts import tree as t
from dii.contracts.faults import Fault, render, unsafe
from dii.contracts.tree import INT_BYTES, MAX_DEPTH, Position
from dii.contracts.vm import Program

A = TypeVar("A", bound=ast.AST)
N = TypeVar("N", bound=t.Node)

MAX_SOURCE: Final = 1 << 17
"""Characters of a text; its tree, without comments and layout, has at most a quarter of that."""
MARKS: Final = ("external", "on_epoch", "payable", "view")
SYMBOLS: Final = {
    "Add": "+", "Sub": "-", "Mult": "*", "FloorDiv": "//", "Mod": "%", "USub": "-", "Not": "not",
    "And": "and", "Or": "or", "Eq": "==", "NotEq": "!=", "Lt": "<", "LtE": "<=", "Gt": ">",
    "GtE": ">=", "In": "in", "NotIn": "not in",
}  # fmt: skip

_NOTHING: Final[t.Statement] = t.Pass()
_FALSE: Final[t.Expression] = t.Bool(value=False)
REFUSED: Final = {
    kind: (what, instead)
    for kinds, what, instead in (
        ("While", "while", "for i in range(n), with break"),
        ("ClassDef", "classes", "state variables and functions at the left margin"),
        ("Import ImportFrom", "imports", "the builtins and functions of the host alone"),
        ("FunctionDef Lambda", "functions within others", "a function at the left margin"),
        ("AsyncFunctionDef AsyncFor AsyncWith Await", "async and await", "plain def, for, calls"),
        ("ListComp GeneratorExp", "comprehensions", "for x in xs: ys = ys + [x]"),
        ("Yield YieldFrom", "generators", "return"),
        ("Try TryStar", "try", "assert of what must hold; any failure reverts the whole call"),
        ("Raise", "raise", 'assert False, "why"'),
        ("With", "with", "its statements as they are"),
        ("Match", "match", "if and elif"),
        ("Delete", "del", "remove(m, key)"),
        ("AnnAssign", "types of entries", "m[key] = value"),
        ("Global Nonlocal", "global", "x = …; a state variable is changed by its name"),
        ("TypeAlias", "type aliases", "the type itself"),
        ("JoinedStr FormattedValue TemplateStr", "f-strings", '"text " + str(number)'),
        ("NamedExpr", ":=", "an assignment on a line of its own"),
        ("Set SetComp", "sets", "a list, or a state variable of type map[…, bool]"),
        ("Dict DictComp", "dicts", "a state variable of type map[…, …]"),
        ("Tuple", "tuples", "a list, or a variable for each"),
        ("Slice", "slices", "for i in range(start, stop), with xs[i]"),
        ("Starred", "* before a value", "each value by itself"),
        ("Pow", "**", "x * x, or a loop that multiplies"),
        ("Div", "/", "// for whole numbers; multiply before you divide"),
        ("MatMult BitOr BitXor BitAnd", "this operator", "+ - * // %, or and, or, not for bools"),
        ("LShift RShift", "shifts", "x * 2 or x // 2 as often as needed"),
        ("Invert", "~", "-x - 1"),
        ("UAdd", "+ as a sign", "the number without it"),
        ("Is", "is", "=="),
        ("IsNot", "is not", "!="),
        ("float complex", "numbers with a point", "whole numbers of a smaller unit"),
        ("NoneType", "None", "a value such as 0, with a bool beside it; return alone"),
        ("ellipsis", "...", "pass"),
    )
    for kind in kinds.split()
}
"""Parts of Python outside the language: their common names, and what to write instead."""


def parse(source: str) -> t.Contract:
    """Read a contract's text.

    Raises
    ------
    BadSource
        With every fault of the text, as ``numbers["faults"]``.
    """
    reader = _Reader(source)
    contract = reader.contract()
    return _refuse(reader.faults, source) if reader.faults else contract


def check(source: str) -> Program:
    """Read a contract's text and compile it.

    Raises
    ------
    BadSource
        With every fault of text and program, as ``numbers["faults"]``; a function with faults in
        its text is not checked further.
    """
    reader = _Reader(source)
    contract = reader.contract()
    faults, bodies = reader.faults, reader.bodies

    def in_bodies(fault: Fault) -> bool:
        return any(fault.at and body.line <= fault.at.line <= body.end_line for body in bodies)

    if all(map(in_bodies, faults)):
        try:
            program = compiler.compile(contract)
        except errors.BadProgram as error:
            found: Sequence[Fault] = error.numbers["faults"]  # type: ignore[assignment]
            faults += [fault for fault in found if not in_bodies(fault)]
        else:
            if not faults:
                return program
    return _refuse(faults, source)


def _refuse(faults: Sequence[Fault], source: str) -> NoReturn:
    def place(fault: Fault) -> tuple[int, int]:
        return (fault.at.line, fault.at.column) if fault.at else (0, 0)

    faults = tuple(sorted(dict.fromkeys(faults), key=place))
    raise errors.BadSource(message=render(faults, source), faults=faults)


class _Reader:
    """Reader of one text, with the faults found so far.

    A harmless node replaces each refused one, so that reading goes on. ``level`` counts as the
    chain's decoder does, and deeper nodes are not read, so that the reader needs few frames.
    """

    def __init__(self, source: str) -> None:
        self.faults: list[Fault] = []
        self.bodies: list[Position] = []
        self.level = 1
        if len(source) > MAX_SOURCE:
            self.fault(None, f"more than {MAX_SOURCE:,} characters", "a shorter contract")
            source = ""
        source = source.removeprefix("\ufeff").replace("\r\n", "\n")
        strange = {character for character in set(source) - {"\n", "\t"} if unsafe(character)}
        for number, line in enumerate(source.split("\n") if strange else (), 1):
            for column, character in enumerate(line):
                if character in strange:
                    where = Position(number, column, number, column + 1)
                    message = f"invisible character U+{ord(character):04X}"
                    self.fault(where, message, f"{ascii(character)[1:-1]} in a text")
        self.source = source.translate(dict.fromkeys(map(ord, strange), " "))
        self.lines = [line.encode() for line in self.source.split("\n")]

    def fault(self, where: ast.AST | Position | None, message: str, hint: str = "") -> None:
        at = self.at(where) if isinstance(where, ast.AST) else where
        self.faults.append(Fault(message, hint, at))

    def at(self, node: ast.AST) -> Position:
        """Return a node's place; Python's parser counts columns in bytes."""
        line, start = getattr(node, "lineno", 1), getattr(node, "col_offset", 0)
        end_line, end = getattr(node, "end_lineno", line), getattr(node, "end_col_offset", start)
        column, end_column = (
            len(self.lines[number - 1][:offset].decode(errors="replace"))
            for number, offset in ((line, start), (end_line, end))
        )
        return Position(line, column, end_line, end_column)

    def refuse(self, node: ast.AST, kind: str) -> None:
        what, instead = REFUSED.get(kind, (f"Python's {kind}", ""))
        self.fault(node, f"{what}: not in the language", instead)

    def inside(self, node: ast.AST) -> None:
        """Read the parts of a refused node, to find their faults."""
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.stmt):
                self.statement(child)
            elif isinstance(child, ast.expr):
                self.expression(child)
            else:
                self.inside(child)

    def name(self, where: ast.AST | Position, name: str) -> str:
        if name.startswith("__"):
            self.fault(where, f"{name}: names with two underscores first are Python's", name[2:])
        return name

    def symbol(self, node: ast.AST, operator: ast.AST) -> str:
        kind = type(operator).__name__
        if kind not in SYMBOLS:
            self.refuse(node, kind)
        return SYMBOLS.get(kind, "")

    def read(self, node: A, how: Callable[[A], N], instead: N) -> N:
        """Read a node one level deeper, unless it is too deep for a tree."""
        at, self.level = self.at(node), self.level + 1
        if self.level <= MAX_DEPTH:
            instead = how(node)
        else:
            hint = "names for parts of it, a function of its own, or if with return, not elif"
            self.fault(at, f"more than {MAX_DEPTH} levels; each elif and operator is one", hint)
        self.level -= 1
        return replace(instead, at=at)

    # --- the contract --------------------------------------------------------------------------

    def contract(self) -> t.Contract:
        variables: list[t.Variable] = []
        functions: list[t.Function] = []
        doc, body = self.doc(self.module())
        for node in body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                name, kind = self.name(node, node.target.id), self.type(node.annotation)
                variables.append(t.Variable(name, kind, at=self.at(node)))
                if node.value:
                    hint = "an assignment in init; it begins as 0, False, empty or no address"
                    self.fault(node.value, "a state variable has no value here", hint)
            elif isinstance(node, ast.FunctionDef):
                functions.append(self.function(node))
            elif type(node).__name__ in REFUSED:
                self.statement(node)
            else:
                hint = "name: type for a state variable, or a function that does it"
                self.fault(node, "only state variables and functions stand here", hint)
                self.inside(node)
        contract = t.Contract(doc, tuple(variables), tuple(functions), at=Position(1, 0, 1, 0))
        if not self.faults:
            try:
                t.encode(contract)
            except (errors.BadContract, errors.CodecError) as error:
                self.fault(None, str(error), "a shorter contract, or several")
        return contract

    def module(self) -> list[ast.stmt]:
        """Parse with Python's parser; its errors and warnings become faults."""
        try:
            with warnings.catch_warnings(record=True) as doubts:
                warnings.simplefilter("always")
                body = ast.parse(self.source).body
        except SyntaxError as error:
            line, column = min(error.lineno or 1, len(self.lines)), max(error.offset or 1, 1) - 1
            end_line, end = error.end_lineno or line, max(error.end_offset or 0, column + 1)
            self.fault(Position(line, column, end_line, end), f"not Python: {error.msg}")
            return []
        except (RecursionError, MemoryError, ValueError) as error:
            message = f"Python's parser gives up: {type(error).__name__}"
            self.fault(None, message, "shorter expressions, with less in one another")
            return []
        for doubt in doubts:
            end = len(self.lines[doubt.lineno - 1])
            self.fault(Position(doubt.lineno, 0, doubt.lineno, end), f"{doubt.message}")
        return body

    def doc(self, body: list[ast.stmt]) -> tuple[str, list[ast.stmt]]:
        """Split off a docstring, without its indentation if it has several lines in the text."""
        match body:
            case [ast.Expr(ast.Constant(str(text)) as node), *rest]:
                return (inspect.cleandoc(text) if node.end_lineno != node.lineno else text), rest
        return "", body

    def function(self, node: ast.FunctionDef) -> t.Function:
        marks: list[str] = []
        for mark in node.decorator_list:
            if isinstance(mark, ast.Name) and mark.id in MARKS and mark.id not in marks:
                marks.append(mark.id)
            else:
                self.fault(mark, "no mark, or twice", " or ".join(f"@{name}" for name in MARKS))
                self.expression(mark)
        given, parameters = node.args, []
        strange = (given.vararg, given.kwarg, *given.posonlyargs, *given.kwonlyargs)
        for parameter in filter(None, strange):
            self.fault(parameter, "parameters with *, ** or / beside them", f"{parameter.arg}: int")
        for default in filter(None, (*given.defaults, *given.kw_defaults)):
            self.fault(default, "a parameter has no default", "a value in every call")
        for parameter in given.args:
            if not parameter.annotation:
                self.fault(parameter, f"{parameter.arg} has no type", f"{parameter.arg}: int")
            kind = self.type(parameter.annotation) if parameter.annotation else t.Plain("int")
            name = self.name(parameter, parameter.arg)
            parameters.append(t.Parameter(name, kind, at=self.at(parameter)))
        for generic in getattr(node, "type_params", ()):
            self.fault(generic, "generic functions", "a function for each type")
        none = isinstance(node.returns, ast.Constant) and node.returns.value is None
        returns = self.type(node.returns) if node.returns and not none else None
        at, before, (doc, body) = self.at(node), len(self.faults), self.doc(node.body)
        self.level += 1
        done = self.block(body)
        self.level -= 1
        if len(self.faults) > before:
            self.bodies.append(replace(at, line=self.at(body[0]).line))
            done = (t.Assert(_FALSE, ""),)  # a body for results of any type
        at = replace(at, end_line=at.line, end_column=len(self.lines[at.line - 1]))
        name, sorted_marks = self.name(at, node.name), tuple(sorted(marks))
        return t.Function(name, sorted_marks, tuple(parameters), returns, doc, done, at=at)

    def type(self, node: ast.expr) -> t.Type:
        """Read a type; the compiler checks whether its name exists."""
        at = self.at(node)
        match node:
            case ast.Name(name):
                return t.Plain(name, at=at)
            case ast.Subscript(ast.Name("list"), ast.Name(item)):
                return t.ListOf(t.Plain(item, at=at), at=at)
            case ast.Subscript(ast.Name("map"), ast.Tuple([ast.Name(key), value])):
                kind = self.type(value)
                if not isinstance(kind, t.MapOf):
                    return t.MapOf(t.Plain(key, at=at), kind, at=at)
        hint = "a type such as int or Money, list[…] or, for a state variable, map[…, …]"
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
            hint = {"dict": "map[…, …], as a state variable", "List": "list[…]"}.get(
                node.value.id, hint
            )
        self.fault(node, "not a type", hint)
        return t.Plain("int", at=at)

    # --- statements ----------------------------------------------------------------------------

    def block(self, nodes: Sequence[ast.stmt]) -> tuple[t.Statement, ...]:
        return tuple([self.statement(node) for node in nodes])

    def statement(self, node: ast.stmt) -> t.Statement:
        return self.read(node, self._statement, _NOTHING)

    def _statement(self, node: ast.stmt) -> t.Statement:
        match node:
            case ast.AnnAssign(ast.Name(name), annotation, value):
                if value is not None:
                    kind = self.type(annotation)
                    return t.Declare(self.name(node, name), kind, self.expression(value))
                self.fault(node, f"{name} has a type and no value", f"{name}: int = 0")
            case ast.Assign(targets, value):
                if len(targets) > 1:
                    self.fault(node, "several targets of one assignment", "a line for each")
                places = [self.target(item) for item in targets]
                return t.Assign(places[0], self.expression(value))
            case ast.AugAssign(target, operator, value):
                place, op = self.target(target), self.symbol(node, operator)
                return t.Augment(place, op, self.expression(value))
            case ast.If(test, then, other):
                return t.If(self.expression(test), self.block(then), self.block(other))
            case ast.For(ast.Name(name), items, body, []):
                named, through = self.name(node.target, name), self.expression(items)
                return t.For(named, through, self.block(body))
            case ast.For(target, _, _, other):
                if not isinstance(target, ast.Name):
                    self.fault(target, "a loop has one name for its items", "for x in xs:")
                if other:
                    self.fault(other[0], "else after a loop: not in the language", "a bool and if")
                self.inside(node)
            case ast.Break():
                return t.Break()
            case ast.Continue():
                return t.Continue()
            case ast.Assert(test, None | ast.Constant(str()) as why):
                return t.Assert(self.expression(test), str(why.value) if why else "")
            case ast.Assert(_, why):
                self.fault(why, "a reason is a text as it stands", 'assert x > 0, "why"')
                self.inside(node)
            case ast.Return(value):
                return t.Return(self.expression(value) if value else None)
            case ast.Expr(value):
                before, found = len(self.faults), self.expression(value)
                if isinstance(found, t.Call):
                    return t.Do(found)
                if len(self.faults) == before:
                    self.fault(node, "this does nothing", "an assignment, or a comment with #")
            case _ if not isinstance(node, ast.Pass):
                self.refuse(node, type(node).__name__)
                self.inside(node)
        return _NOTHING

    def target(self, node: ast.expr) -> t.Name | t.Index:
        """Read the target of an assignment."""
        before, found = len(self.faults), self.expression(node)
        if isinstance(found, t.Name | t.Index):
            return found
        if len(self.faults) == before:
            self.fault(node, "nothing is assigned to this", "a variable, or an entry of a map")
        return t.Name("")

    # --- expressions ---------------------------------------------------------------------------

    def expression(self, node: ast.expr) -> t.Expression:
        return self.read(node, self._expression, _FALSE)

    def _expression(self, node: ast.expr) -> t.Expression:
        match node:
            case ast.Constant(value):
                return self.constant(node, value)
            case ast.UnaryOp(ast.USub(), ast.Constant(value)) if type(value) is int:
                return self.constant(node, -value)
            case ast.Name(name):
                return t.Name(self.name(node, name))
            case ast.UnaryOp(operator, operand):
                return t.Unary(self.symbol(node, operator), self.expression(operand))
            case ast.BinOp(left, operator, right):
                op = self.symbol(node, operator)
                return t.Binary(op, self.expression(left), self.expression(right))
            case ast.BoolOp(operator, [*before, last]):  # nested as it is evaluated
                rest = ast.copy_location(ast.BoolOp(operator, before), node)
                first = self.expression(rest if len(before) > 1 else before[0])
                return t.Logic(self.symbol(node, operator), first, self.expression(last))
            case ast.Compare(left, operators, [right, *more]):
                if more:
                    self.fault(node, "a chain of comparisons", "a <= b and b < c")
                op, *_ = [self.symbol(node, operator) for operator in operators]
                done = t.Compare(op, self.expression(left), self.expression(right))
                return (done, *map(self.expression, more))[0]
            case ast.IfExp(test, then, other):
                return t.Choose(*map(self.expression, (test, then, other)))
            case ast.Subscript(base, index):
                return t.Index(self.expression(base), self.expression(index))
            case ast.Attribute(base, name):
                return t.Field(self.expression(base), self.name(node, name))
            case ast.List(items):
                return t.List(tuple(map(self.expression, items)))
            case ast.Call():
                return self.call(node)
            case _:
                self.refuse(node, type(node).__name__)
                if not isinstance(node, ast.JoinedStr):  # its parts say nothing new
                    self.inside(node)
        return _FALSE

    def constant(self, node: ast.expr, value: object) -> t.Expression:
        match value:
            case bool():
                return t.Bool(value)
            case int() if value.bit_length() < 8 * INT_BYTES:
                return t.Int(value)
            case int():
                self.fault(node, "an int has at most 256 bits", "a number below 2**255")
            case str():
                return t.Str(value)
            case bytes():
                return t.Bytes(value)
            case _:
                self.refuse(node, type(value).__name__)
        return _FALSE

    def call(self, node: ast.Call) -> t.Expression:
        for keyword in node.keywords:
            self.fault(keyword.value, "arguments with names", "arguments in their order")
            self.expression(keyword.value)
        match node.func, node.args:
            case ast.Name("Address"), [ast.Constant(str(text)) as constant]:
                try:
                    return t.AddressOf(crypto.parse_address(text))
                except errors.AddressInvalid as error:
                    self.fault(constant, str(error))
            case ast.Name("Address"), _:
                self.fault(node, "an address is written out", 'Address("dii1…"), or a parameter')
            case ast.Name(name), arguments:
                return t.Call(self.name(node, name), tuple(map(self.expression, arguments)))
            case ast.Attribute(of, name), given:
                value = of.id if isinstance(of, ast.Name) else "x"
                hint = f"{name}({value}{', …' if given else ''}), a function"
                if name == "append":
                    hint = f"{value} = {value} + [x]"
                self.fault(node.func, "values have no methods", hint)
            case _:
                self.fault(node.func, "only a function's name can be called", "helper(x)")
        self.inside(node)
        return t.Call("", ())
