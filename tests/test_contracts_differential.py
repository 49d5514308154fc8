"""The pure part of the language means what it means in Python, up to its bounds.

Programs are drawn at random as text. Python runs them after one change, made on its own syntax
tree: what arithmetic gives is checked against the bounds of an int. Where Python raises, the
machine reverts; else result and state are equal.
"""

from __future__ import annotations

import ast
import re
from hashlib import sha256
from random import Random
from types import CodeType
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from dii.contracts import compiler
from dii.contracts.frontend import parse
from dii.contracts.values import LEAST, MOST
from dii.errors import OutOfGas, Reverted
from tests.contracts import World, state_of

STATE = "total: int\nname: str\nready: bool\nblob: bytes\nxs: list[int]\nm: map[int, int]\ntags: map[str, str]\n"
KINDS = {
    "a": "int",
    "b": "int",
    "c": "bool",
    "d": "str",
    "e": "bytes",
    "f": "list[int]",
    "g": "list[str]",
}
VARIABLES = {
    "total": "int", "name": "str", "ready": "bool", "blob": "bytes", "xs": "list[int]",
}  # fmt: skip
INTS = (0, 1, -1, 2, 3, 7, 255, -256, 2**64, MOST, LEAST, 2**200, -(2**128), 10**30)


class Writer:
    """Writes programs of the language that pass every check."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.pick = self.random.choice
        self.known: dict[str, str] = {}
        self.helpers: list[str] = []
        self.loops = 0

    def leaf(self, kind: str) -> str:
        names = [name for name, known in (self.known | VARIABLES).items() if known == kind]
        if names and self.random.random() < 0.7:
            return self.pick(names)
        if kind == "int":
            return (
                str(self.pick(INTS))
                if self.random.random() < 0.4
                else str(self.random.randrange(-5, 9))
            )
        if kind == "bool":
            return self.pick(("True", "False"))
        if kind == "str":
            return repr("".join(self.random.choices("abzéß漢🙂", k=self.random.randrange(4))))
        if kind == "bytes":
            return repr(self.random.randbytes(self.random.randrange(4)))
        item = "int" if kind == "list[int]" else "str"
        items = ", ".join(self.leaf(item) for _ in range(self.random.randrange(1, 4)))
        return f"[{items}]"

    def value(self, kind: str, depth: int = 3) -> str:
        if depth == 0 or self.random.random() < 0.15:
            return self.leaf(kind)

        def sub(kind: str) -> str:
            return self.value(kind, depth - 1)

        def order(kind: str) -> str:
            return f"({sub(kind)} {self.pick(('==', '!=', '<', '<=', '>', '>='))} {sub(kind)})"

        if self.random.random() < 0.1:
            return f"({sub(kind)} if {sub('bool')} else {sub(kind)})"
        if kind == "int":
            ways = [
                *[lambda: f"({sub('int')} {self.pick(('+', '-', '*'))} {sub('int')})"] * 4,
                lambda: f"({sub('int')} {self.pick(('//', '%'))} {self.divisor()})",
                lambda: f"(-({sub('int')} + 0))",
                lambda: f"abs({sub('int')})",
                lambda: f"{self.pick(('min', 'max'))}({sub('int')}, {sub('int')})",
                lambda: f"len({sub(self.pick(('str', 'bytes', 'list[int]', 'list[str]')))})",
                lambda: f"sum({sub('list[int]')})",
                lambda: f"({sub('list[int]')})[{self.index()}]",
                lambda: f"({sub('bytes')} + b'ab')[{self.index()}]",
                lambda: f"m[{self.key()}]",
                lambda: f"get(m, {sub('int')}, {sub('int')})",
                *[lambda: f"{self.pick(self.helpers)}({sub('int')}, {sub('str')})"]
                * bool(self.helpers),
            ]
        elif kind == "bool":
            ways = [
                lambda: order("int"),
                lambda: order("str"),
                lambda: order("bytes"),
                lambda: f"({sub('list[int]')} {self.pick(('==', '!='))} {sub('list[int]')})",
                lambda: f"({sub('bool')} {self.pick(('and', 'or', '==', '!='))} {sub('bool')})",
                lambda: f"(not {sub('bool')})",
                lambda: f"({sub('int')} {self.pick(('in', 'not in'))} {sub('list[int]')})",
                lambda: f"({sub('str')} in {sub('list[str]')})",
                lambda: f"({sub('int')} {self.pick(('in', 'not in'))} m)",
            ]
        elif kind == "str":
            ways = [
                lambda: f"({sub('str')} + {sub('str')})",
                lambda: f"str({sub('int')})",
                lambda: f"({sub('list[str]')})[{self.index()}]",
                lambda: f"get(tags, {sub('str')}, {sub('str')})",
            ]
        elif kind == "bytes":
            ways = [
                lambda: f"({sub('bytes')} + {sub('bytes')})",
                lambda: f"sha256({sub('bytes')})",
            ]
        else:
            item = kind[5:-1]
            ways = [
                lambda: f"({sub(kind)} + {sub(kind)})",
                lambda: f"sorted({sub(kind)})",
                lambda: f"[{sub(item)}, {sub(item)}]",
            ]
        return self.pick(ways)()

    def rarely(self, usual: str, kind: str) -> str:
        """What usually works, and sometimes anything."""
        return self.value(kind, 1) if self.random.random() < 0.05 else usual

    def divisor(self) -> str:
        return self.rarely(str(self.pick([one for one in INTS if one])), "int")

    def index(self) -> str:
        return self.rarely(str(self.pick((0, -1))), "int")

    def key(self) -> str:
        return self.rarely(str(self.random.randrange(-3, 4)), "int")

    def block(self, indent: str, depth: int) -> list[str]:
        """Some statements; what they assign first is known only within."""
        before, lines = dict(self.known), []
        for _ in range(self.random.randrange(1, 5)):
            lines += [indent + line for line in self.statement(depth)]
            if lines[-1].strip() in ("break", "continue"):
                break
        self.known = before
        return lines

    def statement(self, depth: int) -> list[str]:
        way = self.random.randrange(14 if depth else 10)
        if way < 4:
            name = self.pick(tuple(KINDS))
            line = f"{name}: {KINDS[name]} = {self.value(KINDS[name])}"
            if self.declared >= {name} or self.random.random() < 0.5:
                line = f"{name} = {self.value(KINDS[name])}"
            self.declared.add(name)
            self.known[name] = KINDS[name]
            return [line]
        if way == 4:
            name = self.pick(tuple(VARIABLES))
            return [f"{name} = {self.value(VARIABLES[name])}"]
        if way == 5:
            target, kind = self.pick((("m[{}]", "int"), ("tags[{}]", "str")))
            return [f"{target.format(self.value(kind, 1))} = {self.value(kind)}"]
        if way == 6:
            names = [
                name
                for name, kind in (self.known | VARIABLES).items()
                if kind in ("int", "str", "list[int]")
            ]
            name = self.pick(names)
            kind = (self.known | VARIABLES)[name]
            op = self.pick(("+=", "-=", "*=", "//=", "%=")) if kind == "int" else "+="
            return [f"{name} {op} {self.divisor() if op in ('//=', '%=') else self.value(kind)}"]
        if way == 7:
            return [f"m[{self.key()}] += {self.value('int', 1)}"]
        if way == 8:
            claim = f"assert {self.value('bool')} or {self.value('bool')} or total >= 0, 'no'"
            return [self.pick((claim, f"remove(m, {self.value('int', 1)})"))]
        if way == 9:
            return [
                self.pick(("break", "continue"))
                if self.loops and self.random.random() < 0.3
                else "pass"
            ]
        if way < 12:
            lines = [f"if {self.value('bool')}:", *self.block("    ", depth - 1)]
            return lines + (["else:", *self.block("    ", depth - 1)] if way == 11 else [])
        name, kind = self.pick((("a", "int"), ("d", "str"))) if not self.loops else ("b", "int")
        items = (
            self.value(f"list[{kind}]", 1)
            if kind == "str" or way == 12
            else f"range({self.random.randrange(4)})"
        )
        before = dict(self.known)
        self.known[name] = kind
        self.declared.add(name)
        self.loops += 1
        lines = [f"for {name} in {items}:", *self.block("    ", depth - 1)]
        self.loops -= 1
        self.known = before
        return lines

    def function(self, name: str, mark: str, result: str) -> str:
        self.known, self.declared = {"x": "int", "t": "str"}, {"x", "t"}
        lines = ["    for x in range(-3, 4):", "        m[x] = x * 7"] if mark else []
        lines += ["    xs = [2, 1]"] if mark else []
        for _ in range(self.random.randrange(1, 7)):
            lines += ["    " + line for line in self.statement(2)]
        lines.append(f"    return {self.value(result)}")
        return f"{mark}def {name}(x: int, t: str) -> {result}:\n" + "\n".join(lines) + "\n"

    def program(self) -> str:
        one = self.function("one", "", "int")
        self.helpers = ["one"]
        result = self.pick(("int", "bool", "str", "bytes", "list[int]", "list[str]"))
        return STATE + one + self.function("main", "@external\n", result)


SIZES_ENDED = re.compile("has at most [0-9,]+ (bytes|characters)|a call may make")


class Stop(Exception):
    """What the language forbids and Python does not."""


def bounded(value: Any) -> Any:
    if type(value) is int and not LEAST <= value <= MOST:
        raise Stop
    return value


class Bounds(ast.NodeTransformer):
    """Has the results of arithmetic checked, and state variables known as global."""

    def check(self, node: ast.expr) -> ast.expr:
        return ast.Call(ast.Name("bounded", ast.Load()), [node], [])

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        return self.check(self.generic_visit(node))

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        self.generic_visit(node)
        return self.check(node) if isinstance(node.op, ast.USub) else node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.Assign:
        self.generic_visit(node)
        read = ast.parse(ast.unparse(node.target), mode="eval").body
        return ast.Assign([node.target], self.check(ast.BinOp(read, node.op, node.value)))

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        self.generic_visit(node)
        node.body.insert(0, ast.Global(list(VARIABLES)))
        node.decorator_list = []
        return node


def in_python(source: str) -> CodeType:
    tree = ast.fix_missing_locations(Bounds().visit(ast.parse(source)))
    return compile(tree, "contract", "exec")


@given(st.integers(0, 2**32), st.sampled_from(INTS), st.text(max_size=5))
def test_programs_give_what_python_gives(seed, x, t):
    source = Writer(seed).program()
    names: dict[str, Any] = {
        "bounded": bounded,
        "sha256": lambda data: sha256(data).digest(),
        "sum": lambda items: bounded(sum(items)),
        "abs": lambda number: bounded(abs(number)),
        "get": lambda table, key, default: table.get(key, default),
        "remove": lambda table, key: table.pop(key, None),
        "map": dict,
    }
    names |= {"total": 0, "name": "", "ready": False, "blob": b"", "xs": [], "m": {}, "tags": {}}
    program, world = compiler.compile(parse(source)), World()
    try:
        given = world.call(program, "main", x, t, gas=10**6)
    except OutOfGas:  # Python has no such bound and might fill the memory
        assume(False)
    except Reverted as error:
        assume(not SIZES_ENDED.search(str(error)))
        given = None
    exec(in_python(source), names)
    try:
        expected = names["main"](x, t)
    except (Stop, AssertionError, IndexError, KeyError, ZeroDivisionError):
        expected = None
    assert (given is None) == (expected is None), source
    if given is None:
        return
    plain = {name: names[name] for name in ("total", "name", "ready", "blob", "xs", "m", "tags")}
    assert listed(given.value) == expected, source
    assert type(listed(given.value)) is type(expected)
    assert {name: listed(value) for name, value in state_of(program, world).items()} == plain, (
        source
    )


def listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
