"""Syntax tree of a contract: the form that is signed, stored, checked, shown and run.

The client parses text (:mod:`dii.contracts.frontend`); the chain sees trees only, so no version of
a parser can split it. A tree is encoded by the shapes of the codec. Decoding checks shape and size;
the compiler (:mod:`dii.contracts.compiler`) checks the meaning.

One class per node, each a frozen dataclass, fields in wire order. Positions are the client's: they
are neither sent nor compared, and the compiler's faults carry the position of their node, if any.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from typing import Annotated, Final, TypeAlias

from dii import codec, errors
from dii.codec import Converted, Kinds, Record, Value
from dii.contracts.room import with_room

MAX_BYTES: Final = 1 << 15
"""Of a whole tree."""
MAX_NODES: Final = 4_096
MAX_DEPTH: Final = 32
"""Nodes within nodes, the contract itself being the first."""
INT_BYTES: Final = 33
"""An integer constant: sign and 256 bits; the language's own bounds are the compiler's."""


class Position(Record):
    """Place of a node in its source: line from 1, column from 0, and the end."""

    line: int
    column: int
    end_line: int
    end_column: int


_CLASSES: Final[list[type[Node]]] = []
"""Every class of nodes, as defined below. A node's number on the wire is its place: classes are
never reordered, and new ones come last."""


class Node(Record):
    """Any node; ``at`` is its place in the source, if it came from one."""

    at: Position | None = field(default=None, compare=False, repr=False, kw_only=True)

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        _CLASSES.append(cls)


# --- types -------------------------------------------------------------------------------------


class Plain(Node):
    """``int``, ``bool``, ``str``, ``bytes`` or ``Address``."""

    name: str


class ListOf(Node):
    """``list[item]``: immutable, of plain items."""

    item: Plain


class MapOf(Node):
    """``map[key, value]``: a state variable only; each entry is a key of its own in the state."""

    key: Plain
    value: Entry


# --- expressions -------------------------------------------------------------------------------


class Int(Node):
    """An integer; on the wire its two's complement, big-endian, in the fewest bytes."""

    value: Integer


class Bool(Node):
    """``True`` or ``False``."""

    value: bool


class Str(Node):
    """A text."""

    value: str


class Bytes(Node):
    """Bytes."""

    value: bytes


class AddressOf(Node):
    """``Address("dii1…")``: the 20 bytes of an address written in the source."""

    value: bytes


class Name(Node):
    """A name of a local, parameter, state variable, or host variable such as ``sender``."""

    id: str


class Unary(Node):
    """``-x`` or ``not x``."""

    op: str
    operand: Expression


class Binary(Node):
    """``+ - * // %``."""

    op: str
    left: Expression
    right: Expression


class Logic(Node):
    """``and`` or ``or`` of two; the right side is evaluated only if it matters."""

    op: str
    left: Expression
    right: Expression


class Compare(Node):
    """``== != < <= > >= in`` and ``not in``, of two."""

    op: str
    left: Expression
    right: Expression


class Choose(Node):
    """``then if test else other``."""

    test: Expression
    then: Expression
    other: Expression


class Index(Node):
    """``xs[i]`` of a list or bytes, ``m[k]`` of a map; a missing entry reverts."""

    base: Expression
    index: Expression


class Field(Node):
    """``record.name`` of a record of the host, such as ``metrics(g, e).uplinks``."""

    base: Expression
    name: str


class Call(Node):
    """``f(…)``: a helper of the contract, a builtin or a function of the host."""

    function: str
    arguments: tuple[Expression, ...]


class List(Node):
    """``[a, b]``."""

    items: tuple[Expression, ...]


# --- statements --------------------------------------------------------------------------------


class Declare(Node):
    """``name: type = value``: a local with its type written out."""

    name: str
    type: Type
    value: Expression


class Assign(Node):
    """``target = value``; the target is a name or an entry of a map."""

    target: Target
    value: Expression


class Augment(Node):
    """``target op= value``; the target's key is evaluated once."""

    target: Target
    op: str
    value: Expression


class If(Node):
    """``if``, with ``elif`` as an ``if`` within ``other``."""

    test: Expression
    then: tuple[Statement, ...]
    other: tuple[Statement, ...]


class For(Node):
    """``for name in items``: a list, or a call of ``range``."""

    name: str
    items: Expression
    body: tuple[Statement, ...]


class Break(Node):
    """``break``."""


class Continue(Node):
    """``continue``."""


class Pass(Node):
    """``pass``."""


class Assert(Node):
    """``assert test, "why"``: reverts everything but the fee, with the reason."""

    test: Expression
    message: str


class Return(Node):
    """``return`` with a value or without."""

    value: Expression | None


class Do(Node):
    """A call for its effect."""

    call: Call


# --- the contract ------------------------------------------------------------------------------


class Variable(Node):
    """A state variable ``name: type``; begins as 0, False, empty, or the zero address."""

    name: str
    type: Type


class Parameter(Node):
    """A parameter ``name: type``."""

    name: str
    type: Type


class Function(Node):
    """A function.

    Attributes
    ----------
    marks
        Decorators in alphabetical order: ``external``, ``on_epoch``, ``payable``, ``view``; none
        for a helper and for ``init`` (which may be ``payable``).
    doc
        Its docstring, or empty: its promise in plain words.
    """

    name: str
    marks: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    returns: Type | None
    doc: str
    body: tuple[Statement, ...]


class Contract(Node):
    """A whole contract; ``doc`` is its summary in plain words."""

    doc: str
    variables: tuple[Variable, ...]
    functions: tuple[Function, ...]


# --- the wire ----------------------------------------------------------------------------------


def pack_integer(number: int) -> bytes:
    """Return an integer's two's complement, big-endian, in the fewest bytes."""
    return number.to_bytes((number + (number < 0)).bit_length() // 8 + 1, signed=True)


def _unpack_integer(value: Value) -> int:
    if type(value) is bytes and 1 <= len(value) <= INT_BYTES:
        number = int.from_bytes(value, signed=True)
        if pack_integer(number) == value:
            return number
    message = f"an integer of 1 to {INT_BYTES} bytes in its fewest is expected"
    raise errors.ShapeMismatch(shape="Int", message=message)


_KINDS: Final = Kinds(tuple(enumerate(_CLASSES)))

Integer: TypeAlias = Annotated[int, Converted(pack_integer, _unpack_integer)]
Entry: TypeAlias = Annotated[Plain | ListOf, _KINDS]
Type: TypeAlias = Annotated[Plain | ListOf | MapOf, _KINDS]
Expression: TypeAlias = Annotated[
    Int | Bool | Str | Bytes | AddressOf | Name | Unary | Binary | Logic | Compare | Choose | Index
    | Field | Call | List,
    _KINDS,
]  # fmt: skip
Target: TypeAlias = Annotated[Name | Index, _KINDS]
Statement: TypeAlias = Annotated[
    Declare | Assign | Augment | If | For | Break | Continue | Pass | Assert | Return | Do, _KINDS
]


def children(node: Node) -> Iterator[Node]:
    """Yield the nodes directly within a node, in order."""
    for value in vars(node).values():
        items = value if type(value) is tuple else (value,)
        yield from (item for item in items if isinstance(item, Node))


def encode(contract: Contract) -> bytes:
    """Return a tree's canonical bytes.

    Raises
    ------
    BadContract
        The tree is beyond the bounds on bytes, nodes or depth.
    """
    try:
        data = with_room(lambda: codec.dumps(contract))
    except (errors.CodecError, errors.ShapeMismatch) as error:
        raise errors.BadContract(message=f"cannot be encoded: {error}") from None
    decode(data)  # the bounds are the decoder's
    return data


def decode(data: bytes) -> Contract:
    """Read a tree from untrusted bytes.

    Raises
    ------
    BadContract
        The bytes are not canonical, not a tree, or beyond the bounds.
    """
    if len(data) > MAX_BYTES:
        message = f"its tree has {len(data):,} bytes; the maximum is {MAX_BYTES:,}"
        raise errors.BadContract(message=message)
    try:
        contract = with_room(lambda: codec.loads(Contract, data))
    except (errors.CodecError, errors.ShapeMismatch) as error:
        raise errors.BadContract(message=f"invalid tree: {error}") from None
    level: list[Node] = [contract]
    nodes = depth = 0
    while level:
        nodes, depth = nodes + len(level), depth + 1
        level = [child for node in level for child in children(node)]
    if nodes > MAX_NODES or depth > MAX_DEPTH:
        message = f"its tree has more than {MAX_NODES} nodes or {MAX_DEPTH} levels"
        raise errors.BadContract(message=message)
    return contract
