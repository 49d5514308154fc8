"""The syntax tree of a contract: what is signed, stored, checked, shown and run.

The client parses text (:mod:`dii.contracts.frontend`); the chain sees trees only, so no version of
a parser can split it. A tree travels as canonical arrays ``[tag, field, ...]`` in the codec of the
ledger. Decoding checks shape and size; what a program may *mean* is the compiler's business
(:mod:`dii.contracts.compiler`).

One class per node, fields in wire order. Positions are the client's: they are neither sent nor
compared, and the compiler's faults carry whatever position a node has.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from dii import codec
from dii.codec import Value
from dii.errors import BadContract, CodecError

MAX_BYTES: Final = 1 << 15
"""Of a whole tree."""
MAX_NODES: Final = 4_096
MAX_DEPTH: Final = 32
"""Nodes within nodes, the contract itself being the first."""
INT_BYTES: Final = 33
"""An integer constant: sign and 256 bits; the language's own bounds are the compiler's."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a node stands in its source: line from 1, column from 0, and the end."""

    line: int
    column: int
    end_line: int
    end_column: int


@dataclass(frozen=True, slots=True)
class Node:
    """Any node; ``at`` is its place in the source, if it came from one."""

    at: Position | None = field(default=None, compare=False, repr=False, kw_only=True)


# --- types -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Plain(Node):
    """``int``, ``bool``, ``str``, ``bytes`` or ``Address``."""

    name: str


@dataclass(frozen=True, slots=True)
class ListOf(Node):
    """``list[item]``: immutable, of plain items."""

    item: Plain


@dataclass(frozen=True, slots=True)
class MapOf(Node):
    """``map[key, value]``: a state variable only; each entry is a key of its own in the state."""

    key: Plain
    value: Plain | ListOf


Type: TypeAlias = Plain | ListOf | MapOf


# --- expressions -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Int(Node):
    """An integer; on the wire its two's complement, big-endian, in the fewest bytes."""

    value: int


@dataclass(frozen=True, slots=True)
class Bool(Node):
    """``True`` or ``False``."""

    value: bool


@dataclass(frozen=True, slots=True)
class Str(Node):
    """A text."""

    value: str


@dataclass(frozen=True, slots=True)
class Bytes(Node):
    """Bytes."""

    value: bytes


@dataclass(frozen=True, slots=True)
class AddressOf(Node):
    """``Address("dii1…")``: the 20 bytes of an address written in the source."""

    value: bytes


@dataclass(frozen=True, slots=True)
class Name(Node):
    """A local, parameter, state variable, or host variable such as ``sender``."""

    id: str


@dataclass(frozen=True, slots=True)
class Unary(Node):
    """``-x`` or ``not x``."""

    op: str
    operand: Expression


@dataclass(frozen=True, slots=True)
class Binary(Node):
    """``+ - * // %``."""

    op: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Logic(Node):
    """``and`` or ``or`` of two; the right side is evaluated only if it matters."""

    op: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Compare(Node):
    """``== != < <= > >= in`` and ``not in``, of two."""

    op: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Choose(Node):
    """``then if test else other``."""

    test: Expression
    then: Expression
    other: Expression


@dataclass(frozen=True, slots=True)
class Index(Node):
    """``xs[i]`` of a list or bytes, ``m[k]`` of a map; a missing entry reverts."""

    base: Expression
    index: Expression


@dataclass(frozen=True, slots=True)
class Field(Node):
    """``record.name`` of a record of the host, such as ``metrics(g, e).uplinks``."""

    base: Expression
    name: str


@dataclass(frozen=True, slots=True)
class Call(Node):
    """``f(…)``: a helper of the contract, a builtin or a function of the host."""

    function: str
    arguments: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class List(Node):
    """``[a, b]``."""

    items: tuple[Expression, ...]


Expression: TypeAlias = (
    Int | Bool | Str | Bytes | AddressOf | Name | Unary | Binary | Logic | Compare | Choose | Index
    | Field | Call | List
)  # fmt: skip


# --- statements --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Declare(Node):
    """``name: type = value``: a local with its type written out."""

    name: str
    type: Type
    value: Expression


@dataclass(frozen=True, slots=True)
class Assign(Node):
    """``target = value``; the target is a name or an entry of a map."""

    target: Name | Index
    value: Expression


@dataclass(frozen=True, slots=True)
class Augment(Node):
    """``target op= value``; the target's key is evaluated once."""

    target: Name | Index
    op: str
    value: Expression


@dataclass(frozen=True, slots=True)
class If(Node):
    """``if``, with ``elif`` as an ``if`` within ``other``."""

    test: Expression
    then: tuple[Statement, ...]
    other: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class For(Node):
    """``for name in items``: a list, or a call of ``range``."""

    name: str
    items: Expression
    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Break(Node):
    """``break``."""


@dataclass(frozen=True, slots=True)
class Continue(Node):
    """``continue``."""


@dataclass(frozen=True, slots=True)
class Pass(Node):
    """``pass``."""


@dataclass(frozen=True, slots=True)
class Assert(Node):
    """``assert test, "why"``: reverts everything but the fee, saying why."""

    test: Expression
    message: str


@dataclass(frozen=True, slots=True)
class Return(Node):
    """``return`` with a value or without."""

    value: Expression | None


@dataclass(frozen=True, slots=True)
class Do(Node):
    """A call for its effect."""

    call: Call


Statement: TypeAlias = (
    Declare | Assign | Augment | If | For | Break | Continue | Pass | Assert | Return | Do
)


# --- the contract ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Variable(Node):
    """A state variable ``name: type``; begins as 0, False, empty, or the zero address."""

    name: str
    type: Type


@dataclass(frozen=True, slots=True)
class Parameter(Node):
    """A parameter ``name: type``."""

    name: str
    type: Type


@dataclass(frozen=True, slots=True)
class Function(Node):
    """A function.

    Attributes
    ----------
    marks
        Decorators in alphabetical order: ``external``, ``on_epoch``, ``payable``, ``view``; none
        for a helper and for ``init`` (which may be ``payable``).
    doc
        Its docstring, or empty: what it promises in plain words.
    """

    name: str
    marks: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    returns: Type | None
    doc: str
    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Contract(Node):
    """A whole contract; ``doc`` is its summary in plain words."""

    doc: str
    variables: tuple[Variable, ...]
    functions: tuple[Function, ...]


# --- the wire ----------------------------------------------------------------------------------

_CLASSES: Final[tuple[type[Node], ...]] = (
    Contract, Variable, Function, Parameter, Plain, ListOf, MapOf,
    Int, Bool, Str, Bytes, AddressOf, Name, Unary, Binary, Logic, Compare, Choose, Index, Field,
    Call, List,
    Declare, Assign, Augment, If, For, Break, Continue, Pass, Assert, Return, Do,
)  # fmt: skip
"""A node's tag is its place here: never reordered, only appended to."""

_TAGS: Final = {kind: tag for tag, kind in enumerate(_CLASSES)}
_FIELDS: Final = {
    kind: tuple(one.name for one in dataclasses.fields(kind) if one.name != "at")
    for kind in _CLASSES
}


def children(node: Node) -> Iterator[Node]:
    """Yield the nodes directly within a node, in order."""
    for name in _FIELDS[type(node)]:
        value = getattr(node, name)
        yield from (item for item in (value if type(value) is tuple else (value,))
                    if isinstance(item, Node))  # fmt: skip


def encode(contract: Contract) -> bytes:
    """Return a tree's canonical bytes.

    Raises
    ------
    BadContract
        It is beyond the bounds on bytes, nodes or depth.
    """
    data = codec.encode(pack(contract))
    if len(data) > MAX_BYTES:
        raise BadContract(message=f"its tree has {len(data):,} bytes, and {MAX_BYTES:,} is most")
    decode(data)  # the bounds are the decoder's
    return data


def pack(item: Any) -> Value:
    """Return a node as the arrays that its bytes stand for."""
    if type(item) is tuple:
        return tuple(pack(one) for one in item)
    if not isinstance(item, Node):
        return item
    kind = type(item)
    values = [getattr(item, name) for name in _FIELDS[kind]]
    if kind is Int:
        number = values[0]
        values = [number.to_bytes((number + (number < 0)).bit_length() // 8 + 1, signed=True)]
    return (_TAGS[kind], *map(pack, values))


def decode(data: bytes) -> Contract:
    """Read a tree from untrusted bytes.

    Raises
    ------
    BadContract
        Not a tree in its one form, or beyond the bounds.
    """
    try:
        value = codec.decode(data, MAX_BYTES)
    except CodecError as error:
        raise BadContract(message=f"not a tree: {error}") from None
    contract = _Reader().node(value, (Contract,), MAX_DEPTH)
    assert isinstance(contract, Contract)
    return contract


class _Reader:
    """Counts nodes while it reads one tree."""

    def __init__(self) -> None:
        self.nodes = 0

    def node(self, value: Value, allowed: tuple[type, ...], depth: int) -> Node:
        if type(value) is not tuple or not value or type(value[0]) is not int:
            raise BadContract(message="a node is an array that begins with a tag")
        tag, *items = value
        kind = _CLASSES[tag] if 0 <= tag < len(_CLASSES) else None
        if kind is None or kind not in allowed:
            wanted = " or ".join(one.__name__ for one in allowed)
            raise BadContract(message=f"tag {tag} where {wanted} is expected")
        self.nodes += 1
        if self.nodes > MAX_NODES or not depth:
            message = f"more than {MAX_NODES} nodes, or more than {MAX_DEPTH} within one another"
            raise BadContract(message=message)
        hints = _HINTS[kind]
        if len(items) != len(hints):
            raise BadContract(message=f"{kind.__name__} has {len(hints)} fields, not {len(items)}")
        return kind(*[self.item(item, hint, depth) for item, hint in zip(items, hints)])

    def item(self, value: Value, hint: Any, depth: int) -> Any:
        if hint is _INTEGER:
            return _integer(value)
        if type(hint) is _Many:
            if type(value) is not tuple:
                raise BadContract(message="an array of nodes is expected")
            return tuple([self.item(one, hint.of, depth) for one in value])
        if type(hint) is tuple:
            optional = type(None) in hint
            return None if optional and value is None else self.node(value, hint, depth - 1)
        if type(value) is not hint:
            raise BadContract(message=f"{hint.__name__} is expected")
        return value


def _integer(value: Value) -> int:
    if type(value) is not bytes or not 1 <= len(value) <= INT_BYTES:
        raise BadContract(message=f"an integer is 1 to {INT_BYTES} bytes")
    number = int.from_bytes(value, signed=True)
    if len(value) != (number + (number < 0)).bit_length() // 8 + 1:
        raise BadContract(message="an integer in its fewest bytes is expected")
    return number


@dataclass(frozen=True, slots=True)
class _Many:
    of: Any


_INTEGER: Final = object()


def _hint(hint: Any) -> Any:
    """Turn an annotation into what the reader compares with."""
    if typing.get_origin(hint) is tuple:
        return _Many(_hint(typing.get_args(hint)[0]))
    arguments = typing.get_args(hint)
    if arguments:
        return tuple(arguments)
    return (hint,) if dataclasses.is_dataclass(hint) else hint


def _hints(kind: type[Node]) -> tuple[Any, ...]:
    if kind is Int:
        return (_INTEGER,)
    known = typing.get_type_hints(kind)
    return tuple(_hint(known[name]) for name in _FIELDS[kind])


_HINTS: Final = {kind: _hints(kind) for kind in _CLASSES}
