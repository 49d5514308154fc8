"""From tree to text: contracts are shown as they run.

A tree has one canonical text, and the front end reads the same tree from it. Python's own
``ast.unparse`` was rejected: it differs among releases and prints texts unescaped. Here texts are
escaped, so that their characters cannot hide or reorder the code around them.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Final

from dii import crypto
from dii.contracts import tree as t
from dii.contracts.values import spell

INDENT: Final = "    "
_LOOSEST, _OR, _AND, _NOT, _COMPARE, _SUM, _PRODUCT, _SIGN, _PART = range(9)
"""Precedence of Python's operators, and of values that may be indexed or have a field."""
_BINDING: Final = {
    "or": _OR, "and": _AND, "+": _SUM, "-": _SUM, "*": _PRODUCT, "//": _PRODUCT, "%": _PRODUCT,
}  # fmt: skip


def unparse(contract: t.Contract) -> str:
    """Return a contract's text.

    For every tree that the compiler accepts, ``parse(unparse(tree)) == tree``.
    """
    variables = "\n".join(_typed(contract.variables))
    head = "\n\n".join(part for part in (_doc(contract.doc, ""), variables) if part)
    parts = [head, *("\n".join(_function(function)) for function in contract.functions)]
    return "\n\n\n".join(part for part in parts if part) + "\n"


def _typed(nodes: Sequence[t.Variable | t.Parameter]) -> Iterator[str]:
    return (f"{node.name}: {spell(node.type)}" for node in nodes)


def _function(node: t.Function) -> Iterator[str]:
    yield from (f"@{mark}" for mark in node.marks)
    returns = f" -> {spell(node.returns)}" if node.returns else ""
    yield f"def {node.name}({', '.join(_typed(node.parameters))}){returns}:"
    if node.doc:
        yield INDENT + _doc(node.doc, INDENT)
    yield from _block(node.body)


def _doc(doc: str, indent: str) -> str:
    """Write a docstring on lines of its own if they read back the same, else on one, escaped."""
    first, *more = doc.split("\n")
    lines = [first, *(line and indent + line for line in more), indent]
    if more and inspect.cleandoc("\n".join(lines)) == doc:
        return '"""' + "\n".join(map(_escape, lines)) + '"""'
    return f'"""{_escape(doc)}"""' if doc else ""


def _escape(text: str) -> str:
    """Escape quotes, backslashes, and characters that are invisible or reorder others."""
    return "".join(
        f"\\{c}" if c in '"\\' else c if c.isprintable() else ascii(c)[1:-1] for c in text
    )


# --- statements ----------------------------------------------------------------------------------


def _block(nodes: Sequence[t.Statement]) -> Iterator[str]:
    return (INDENT + line for node in nodes for line in _statement(node))


def _statement(node: t.Statement) -> Iterator[str]:
    match node:
        case t.Declare(name, kind, value):
            yield f"{name}: {spell(kind)} = {_show(value)}"
        case t.Assign(target, value):
            yield f"{_show(target)} = {_show(value)}"
        case t.Augment(target, op, value):
            yield f"{_show(target)} {op}= {_show(value)}"
        case t.If():
            yield from _if(node)
        case t.For(name, items, body):
            yield f"for {name} in {_show(items)}:"
            yield from _block(body)
        case t.Assert(test, message):
            yield f"assert {_show(test)}" + f', "{_escape(message)}"' * bool(message)
        case t.Return(value):
            yield f"return {_show(value)}" if value else "return"
        case t.Do(call):
            yield _show(call)
        case t.Break() | t.Continue() | t.Pass():
            yield type(node).__name__.lower()


def _if(node: t.If, word: str = "if") -> Iterator[str]:
    yield f"{word} {_show(node.test)}:"
    yield from _block(node.then)
    match node.other:
        case (t.If() as only,):
            yield from _if(only, "elif")
        case [_, *_]:
            yield "else:"
            yield from _block(node.other)


# --- expressions ---------------------------------------------------------------------------------


def _show(node: t.Expression, outer: int = _LOOSEST) -> str:
    """Write an expression, in parentheses if it binds less than its place requires."""
    text, binding = _write(node)
    return f"({text})" if binding < outer else text


def _list(nodes: Sequence[t.Expression]) -> str:
    return ", ".join(map(_show, nodes))


def _write(node: t.Expression) -> tuple[str, int]:
    """Return an expression's text and its precedence."""
    match node:
        case t.Int(value):
            return str(value), _SIGN  # 1.x would be read as a number
        case t.Bool(value) | t.Bytes(value):
            return repr(value), _PART
        case t.Str(text):
            return f'"{_escape(text)}"', _PART
        case t.AddressOf(address):
            return f'Address("{crypto.format_address(address)}")', _PART
        case t.Name(name):
            return name, _PART
        case t.Unary(op, operand):
            binding = _SIGN if op == "-" else _NOT
            return op + " " * (op != "-") + _show(operand, binding), binding
        case t.Binary(op, left, right) | t.Logic(op, left, right):
            binding = _BINDING[op]
            return f"{_show(left, binding)} {op} {_show(right, binding + 1)}", binding
        case t.Compare(op, left, right):
            return f"{_show(left, _SUM)} {op} {_show(right, _SUM)}", _COMPARE
        case t.Choose(test, then, other):
            return f"{_show(then, _OR)} if {_show(test, _OR)} else {_show(other)}", _LOOSEST
        case t.Index(base, index):
            return f"{_show(base, _PART)}[{_show(index)}]", _PART
        case t.Field(base, name):
            return f"{_show(base, _PART)}.{name}", _PART
        case t.Call(name, arguments):
            return f"{name}({_list(arguments)})", _PART
        case t.List(items):
            return f"[{_list(items)}]", _PART
