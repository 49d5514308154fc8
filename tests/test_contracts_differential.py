"""The pure part of the language has the same meaning as in Python, up to its bounds.

Programs are drawn at random as text. Python runs them after one change, made on its own syntax
tree: what arithmetic gives is checked against the bounds of an int. Where Python raises, the
machine reverts; else result and state are equal.
"""

from __future__ import annotations

import ast
import re
from hashlib import sha256
from types import CodeType
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from dii.contracts import compiler
from dii.contracts.frontend import parse
from dii.contracts.values import LEAST, MOST
from dii.errors import OutOfGas, Reverted
from tests.contracts import World, state_of
from tests.programs import INTS, VARIABLES, Writer

SIZES_ENDED = re.compile("has at most [0-9,]+ (bytes|characters)|a call has at most")


class Stop(Exception):
    """Faults that the language has and Python does not."""


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
