"""Contracts of people who wish the network ill: none gets more than the gas it pays for."""

from __future__ import annotations

import ast
import tracemalloc
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dii import codec
from dii.contracts import compiler, gas
from dii.contracts import tree as t
from dii.contracts.frontend import parse
from dii.contracts.tree import (
    AddressOf,
    Assert,
    Assign,
    Augment,
    Binary,
    Bool,
    Break,
    Call,
    Choose,
    Compare,
    Continue,
    Contract,
    Declare,
    Do,
    Expression,
    Field,
    For,
    Function,
    If,
    Index,
    Int,
    List,
    ListOf,
    Logic,
    MapOf,
    Name,
    Parameter,
    Pass,
    Plain,
    Return,
    Statement,
    Str,
    Unary,
    Variable,
)  # fmt: skip
from dii.contracts.values import form
from dii.errors import (
    BadCall,
    BadContract,
    BadProgram,
    DiiError,
    OutOfGas,
    Reverted,
    TransactionError,
)
from tests.contracts import SAMPLES, World
from tests.require import ROOT
from tests.test_contracts_differential import Writer

# --- what burns --------------------------------------------------------------------------------

STATE = """
n: int
s: str
b: bytes
xs: list[int]
ss: list[str]
m: map[int, int]
texts: map[str, str]
lists: map[int, list[str]]
"""
HELPERS = """
def twice(x: int) -> int:
    return x + x
def grow(x: str) -> str:
    return x + x
"""
FOREVER = f"for i in range(2**0 * {10**18}):\n    {{}}"

BURNERS = {
    # integers
    "repeated squaring": "x = 3\nfor i in range(300):\n    x = x * x",
    "repeated addition": "x = 1\nfor i in range(300):\n    x = x + x",
    "repeated squaring to the bound, for ever": "for i in range(99999999):\n    x = 2\n    for j in range(7):\n        x = x * x",
    "doubling below zero": "x = -1\nfor i in range(300):\n    x = x + x",
    "the least int negated": f"x = {-2**255}\nx = -x",
    "the least int's absolute value": f"x = abs({-2**255})",
    "the least int over -1": f"x = {-2**255} // -1",
    "a division by zero": "x = 1 // (n - n)",
    "a remainder by zero": "x = 1 % (n - n)",
    "the greatest int and one": f"x = {2**255 - 1} + 1",
    "the least int less one": f"x = {-2**255} - 1",
    "a sum of great ints": f"x = sum([{2**255 - 1}, {2**255 - 1}])",
    "decimal texts of great ints": f"for i in range(99999999):\n    t = str(2 - {2**254})",
    # time
    "a loop without end": f"for i in range({2**255 - 1}):\n    pass",
    "loops in loops": "for i in range(999999):\n    for j in range(999999):\n        for k in range(999999):\n            pass",
    "a loop that only goes on": "for i in range(999999999):\n    continue",
    "a loop over a list of lists' worth": "ys = [1, 2, 3]\nfor i in range(30):\n    ys = ys + ys\nfor y in ys:\n    pass",
    "helpers in a loop": "for i in range(999999999):\n    x = twice(twice(twice(i)))",
    "a range that begins below": f"for i in range({-(2**255)}, {2**255 - 1}):\n    pass",
    # texts and bytes
    "a text that doubles": "t = 'ab'\nfor i in range(99):\n    t = t + t",
    "bytes that double": "t = b'ab'\nfor i in range(99):\n    t = t + t",
    "a text that doubles in a helper": "t = 'ab'\nfor i in range(99):\n    t = grow(t)",
    "a text that grows by one": "t = ''\nfor i in range(99999999):\n    t = t + 'x'",
    "wide characters that double": "t = '🙂'\nfor i in range(99):\n    t = t + t",
    "hashing of great bytes": "t = b'a'\nfor i in range(20):\n    t = t + t\nfor i in range(99999):\n    h = sha256(t)",
    "hashing of nothing": "for i in range(99999999):\n    h = sha256(b'')",
    "comparing great texts": "t = 'a'\nfor i in range(20):\n    t = t + t\nu = t + 'b'\nt = t + 'a'\nfor i in range(99999):\n    q = t < u",
    "equality of great texts": "t = 'a'\nfor i in range(20):\n    t = t + t\nu = '' + t + 'b'\nt = t + 'a'\nfor i in range(99999):\n    q = t == u",
    "a text kept in the state": "s = 'a'\nfor i in range(99):\n    s = s + s",
    "great keys": "t = 'a'\nfor i in range(20):\n    t = t + t\n    texts[t] = 'x'",
    "lookups by great keys": "t = 'a'\nfor i in range(20):\n    t = t + t\nq = t in texts",
    "great values": "t = 'a'\nfor i in range(20):\n    t = t + t\n    texts['k'] = t",
    "great events": "t = 'a'\nfor i in range(20):\n    t = t + t\n    emit('e', t)",
    "great gateways": "t = b'a'\nfor i in range(20):\n    t = t + t\nq = bound(t, 0)",
    # lists
    "a list that doubles": "ys = [1]\nfor i in range(99):\n    ys = ys + ys",
    "a list that grows by one": "ys = [1]\nfor i in range(99999999):\n    ys = ys + [i]",
    "a list of great texts": "t = 'a'\nfor i in range(16):\n    t = t + t\nys = [t]\nfor i in range(99):\n    ys = ys + ys",
    "a list of great texts, kept": "t = 'a'\nfor i in range(12):\n    t = t + t\nys = [t]\nfor i in range(99):\n    ys = ys + ys\n    ss = ys",
    "new texts in a list": "ys = ['']\nfor i in range(99999999):\n    ys = ys + [str(i), str(i), str(i), str(i)]",
    "sorting a great list": "ys = [3, 1, 2]\nfor i in range(16):\n    ys = ys + ys\nfor i in range(99999):\n    zs = sorted(ys)",
    "sorting great texts": "t = 'a'\nfor i in range(14):\n    t = t + t\nys = [t + 'b', t + 'a']\nfor i in range(8):\n    ys = ys + ys\nfor i in range(99999):\n    zs = sorted(ys)",
    "membership in a great list": "ys = [3, 1, 2]\nfor i in range(16):\n    ys = ys + ys\nfor i in range(99999):\n    q = 9 in ys",
    "membership among equal texts": "t = 'a'\nfor i in range(12):\n    t = t + t\nys = [t + 'b']\nfor i in range(10):\n    ys = ys + ys\nu = t + 'c'\nfor i in range(99999):\n    q = u in ys",
    "equality of great lists": "ys = [3, 1, 2]\nfor i in range(16):\n    ys = ys + ys\nzs = ys + [1]\nys = ys + [2]\nfor i in range(99999):\n    q = ys == zs",
    "equality of lists of equal texts": "t = 'a'\nfor i in range(12):\n    t = t + t\nys = [t + 'b']\nzs = [t + 'b']\nfor i in range(12):\n    ys = ys + ys\n    zs = zs + zs\nfor i in range(99999):\n    q = ys == zs",
    "a long list of texts and an empty one": "ys = ['a', 'b']\nfor i in range(16):\n    ys = ys + ys\nzs = sorted(['c'])\nfor i in range(99999999):\n    q = ys == zs",
    "a great event of many texts": "t = 'é'\nfor i in range(15):\n    t = t + t\nemit('e', t, t, t, t, t, t, t, t)",
    "a text of wide characters that doubles": "t = '🙂'\nfor i in range(99):\n    t = t + t",
    "sums of great lists": f"ys = [{2**250}, {-(2**250)}]\nfor i in range(16):\n    ys = ys + ys\nfor i in range(99999):\n    q = sum(ys)",
    "an index beyond": "q = [1, 2][2]",
    "an index far beyond": f"q = [1, 2][{2**255 - 1}]",
    "an index far below": f"q = [1, 2][{-(2**255)}]",
    "lists in a map": "ys = ['aaaaaaaa']\nfor i in range(9):\n    ys = ys + ys\nfor i in range(99999):\n    lists[i] = ys",
    "a list read again and again": "lists[0] = ['a', 'b', 'c', 'd', 'e', 'f']\nfor i in range(99999999):\n    q = lists[0]",
    # the state and the host
    "reads without end": "for i in range(99999999):\n    q = n",
    "writes without end": "for i in range(99999999):\n    n = i",
    "keys without end": "for i in range(99999999):\n    m[i] = i",
    "removals without end": "for i in range(99999999):\n    remove(m, i)",
    "defaults without end": "for i in range(99999999):\n    q = get(m, i, i)",
    "events without end": "for i in range(99999999):\n    emit('e', i)",
    "payments without end": "for i in range(99999999):\n    pay(sender, 1)",
    "a payment of nothing": "pay(sender, 0)",
    "a negative payment": "pay(sender, -5)",
    "a payment beyond all money": f"pay(sender, {2**255 - 1})",
    "a payment of more than there is": "pay(sender, balance + 1)",
    "all money twice": "pay(sender, balance)\npay(sender, 1000)",
    "owners without end": "for i in range(99999999):\n    q = bound(b'g', 0)",
    "metrics without end": "for i in range(99999999):\n    q = metrics(b'g', i)",
    "usage without end": "for i in range(99999999):\n    q = usage(b'a', sender, -i)",
    "an epoch beyond all keys": f"q = metrics(b'g', {2**255 - 1}).reported\nassert q, 'no'",
    "an epoch below all keys": f"q = usage(b'a', sender, {-(2**255)}).reported\nassert q, 'no'",
    "a gateway of no bytes": "q = metrics(b'', 0).reported\nassert q, 'no'",
    "a gateway of too many bytes": "q = metrics(b'12345678901234567890' + b'1', 0).reported\nassert q, 'no'",
    "an application of no bytes": "q = usage(b'', sender, 0).reported\nassert q, 'no'",
    "an assertion after much work": "for i in range(1000):\n    n = i\nassert False, 'no'",
}  # fmt: skip


def burner(body: str) -> str:
    lines = "\n".join("    " + line for line in body.splitlines())
    return f"{STATE}{HELPERS}@external\ndef main():\n{lines}\n"


@pytest.mark.parametrize("name", BURNERS)
@pytest.mark.parametrize("limit", [20_000, 400_000])
def test_what_burns_is_stopped_within_its_gas_and_in_bounded_memory(name, limit):
    program = compiler.compile(parse(burner(BURNERS[name])))
    world = World(money=1_000)
    tracemalloc.start()
    with pytest.raises((Reverted, OutOfGas)) as caught:
        world.call(program, "main", gas=limit)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0 < caught.value.gas <= limit
    assert (world.storage, world.events, world.money) == ({}, [], 1_000)
    # The journal is the host's.
    assert peak < min(3 * gas.ROOM, 2_000_000 + 4 * gas.COPY * limit)


def test_a_contract_that_stops_in_time_pays_for_what_it_did_only():
    program = compiler.compile(parse(burner("assert n == 1, 'no'")))
    with pytest.raises(Reverted) as caught:
        World().call(program, "main")
    assert caught.value.gas < 50


# --- what no parser would emit -----------------------------------------------------------------

INT, STR = Plain("int"), Plain("str")
TABLE = Variable("m", MapOf(INT, INT))


def contract(*body: Statement, returns: t.Type | None = None, **fields: Any) -> Contract:
    parameters = (Parameter("x", INT), Parameter("t", STR))
    main = Function("main", ("external",), parameters, returns, "", body)
    return Contract("", (TABLE, Variable("n", INT)), (replace(main, **fields),))


def value(node: Expression) -> Contract:
    return contract(Assign(Name("y"), node))


def named(name: str) -> Contract:
    return contract(Assign(Name(name), Int(1)))


def functions(*made: Function, variables: tuple[Variable, ...] = ()) -> Contract:
    return Contract("", variables, made)


def function(name: str, *body: Statement, marks: tuple[str, ...] = (), **fields: Any) -> Function:
    return replace(Function(name, marks, (), None, "", body or (Pass(),)), **fields)


def chain(length: int) -> Contract:
    made = [function("f0", marks=("external",))]
    made += [function(f"f{at}", Do(Call(f"f{at - 1}", ())), marks=()) for at in range(1, length)]
    return functions(*made)


def nested(depth: int) -> Expression:
    return Int(1) if not depth else Binary("+", nested(depth - 1), Int(1))


HOOK = (Parameter("settled", INT),)
FORGED = {
    # names
    **{
        f"a local called {name!r}": named(name)
        for name in (
            "", " ", "1", "a b", "a\n", "a;b", "__init__", "__class__", "__", "é", "ﬁ", "a" * 65,
            "def", "None", "x y", "a.b", "a[0]", "lambda", "m ", "sender", "len", "emit", "int",
            "Address", "pay", "init", "main", "range", "external", "true\x00",
        )
    },
    "a parameter called as a variable": contract(Pass(), parameters=(Parameter("n", INT),)),
    "two parameters of one name": contract(Pass(), parameters=(Parameter("a", INT),) * 2),
    "a function called as a variable": functions(function("n"), variables=(Variable("n", INT),)),
    "two functions of one name": functions(function("f"), function("f")),
    "two of init": functions(function("init"), function("init")),
    "two variables of one name": functions(variables=(Variable("v", INT), Variable("v", STR))),
    "a variable called init": functions(variables=(Variable("init", INT),)),
    "a function called len": functions(function("len")),
    "a loop over a name of the host": contract(For("sender", List((Int(1),)), (Pass(),))),
    "a loop over a variable's name": contract(For("n", List((Int(1),)), (Pass(),))),
    "a dunder of a record": value(Field(Call("metrics", (t.Bytes(b"g"), Int(1))), "__class__")),
    "a dunder of an int": value(Field(Int(1), "__class__")),
    "a field of a text": value(Field(Str("{0.__class__}"), "format")),
    # marks
    **{
        f"marked {marks!r}": functions(function("f", marks=marks, parameters=parameters))
        for marks, parameters in (
            (("payable", "external"), ()), (("external", "external"), ()), (("pure",), ()),
            (("",), ()), (("__import__",), ()), (("payable", "view"), ()),
            (("external", "payable", "view"), ()), (("external", "on_epoch"), HOOK),
            (("on_epoch", "payable"), HOOK), (("on_epoch", "view"), HOOK),
        )
    },
    "init marked external": functions(function("init", marks=("external",))),
    "init marked view": functions(function("init", marks=("view",))),
    "init that returns": functions(function("init", Return(Int(1)), returns=INT)),
    "a hook without until": functions(function("f", marks=("on_epoch",), parameters=HOOK)),
    "a hook with until a text": functions(
        function("f", marks=("on_epoch",), parameters=HOOK), variables=(Variable("until", STR),)
    ),
    "a hook without the epoch": functions(
        function("f", marks=("on_epoch",)), variables=(Variable("until", INT),)
    ),
    "a hook with a text": functions(
        function("f", marks=("on_epoch",), parameters=(Parameter("e", STR),)),
        variables=(Variable("until", INT),),
    ),
    "a hook that returns": functions(
        function("f", Return(Int(1)), marks=("on_epoch",), parameters=HOOK, returns=INT),
        variables=(Variable("until", INT),),
    ),
    "a call of init": functions(function("init"), function("f", Do(Call("init", ())))),
    "a call of what takes money": functions(
        function("p", marks=("payable",)), function("f", Do(Call("p", ())), marks=("external",))
    ),
    # types
    **{
        f"a variable of type {kind!r}": functions(variables=(Variable("v", kind),))
        for kind in (
            Plain("float"), Plain(""), Plain("metrics"), Plain("nothing"), Plain("object"),
            ListOf(Plain("usage")), MapOf(Plain("tuple"), INT), MapOf(INT, Plain("dict")),
            MapOf(INT, ListOf(Plain("map"))), Plain("list[int]"), Plain("x" * 20_000),
        )
    },
    "a parameter that is a map": contract(Pass(), parameters=(Parameter("a", MapOf(INT, INT)),)),
    "a map returned": contract(Return(Name("m")), returns=MapOf(INT, INT)),
    "a local that is a map": contract(Declare("y", MapOf(INT, INT), Name("m"))),
    "a map as a value": value(Name("m")),
    "a map assigned": contract(Assign(Name("m"), Int(1))),
    "a map of a map": value(Index(Index(Name("m"), Int(1)), Int(1))),
    "a record in the state": contract(
        Assign(Name("n"), Call("metrics", (t.Bytes(b"g"), Int(1))))
    ),
    "a record in a list": value(List((Call("metrics", (t.Bytes(b"g"), Int(1))),))),
    "a record in an event": contract(
        Do(Call("emit", (Str("e"), Call("metrics", (t.Bytes(b"g"), Int(1))))))
    ),
    "records compared": value(Compare("==", *(Call("metrics", (t.Bytes(b"g"), Int(1))),) * 2)),
    "a list in a list": value(List((List((Int(1),)),))),
    "a mixed list": value(List((Int(1), Str("a")))),
    "an empty list of nothing": value(List(())),
    # expressions
    **{
        f"the operator {op!r}": value(Binary(op, Int(1), Int(2)))
        for op in ("**", "/", "<<", "|", "and", "", "+ ", "__add__", "+" * 9_000)
    },
    **{f"the sign {op!r}": value(Unary(op, Int(1))) for op in ("+", "~", "-", "not", "--", "")},
    **{f"the logic {op!r}": value(Logic(op, Bool(True), Bool(True))) for op in ("xor", "&", "")},
    **{
        f"the comparison {op!r}": value(Compare(op, Int(1), Int(2)))
        for op in ("is", "is not", "=", "<>", "notin", "in", "not in", "")
    },
    "an int of 257 bits": value(Int(2**255)),
    "an int below the least": value(Int(-(2**255) - 1)),
    "an address of 19 bytes": value(AddressOf(bytes(19))),
    "an address of 32 bytes": value(AddressOf(bytes(32))),
    "truth of an int": contract(If(Name("x"), (Pass(),), ())),
    "truth of a list": contract(Assert(List((Int(1),)), "")),
    "logic of ints": value(Logic("and", Int(1), Int(0))),
    "arithmetic of bools": value(Binary("+", Bool(True), Bool(True))),
    "a text times an int": value(Binary("*", Str("a"), Int(10**9))),
    "a text modulo": value(Binary("%", Str("%s"), Str("a"))),
    "a text less a text": value(Binary("-", Str("a"), Str("a"))),
    "a list times an int": value(Binary("*", List((Int(1),)), Int(10**9))),
    "a text and bytes": value(Compare("==", Str("a"), t.Bytes(b"a"))),
    "an address and bytes": value(Compare("==", Name("sender"), t.Bytes(bytes(20)))),
    "an order of addresses": value(Compare("<", Name("sender"), Name("sender"))),
    "an order of bools": value(Compare("<", Bool(True), Bool(False))),
    "an order of lists": value(Compare("<", List((Int(1),)), List((Int(2),)))),
    "membership in a text": value(Compare("in", Str("a"), Str("abc"))),
    "membership of the wrong type": value(Compare("in", Str("a"), List((Int(1),)))),
    "a key of the wrong type": value(Index(Name("m"), Str("a"))),
    "an index of a text": value(Index(Name("t"), Int(0))),
    "an index that is a bool": value(Index(List((Int(1),)), Bool(True))),
    "a choice of two types": value(Choose(Bool(True), Int(1), Str("a"))),
    "an unknown name": value(Name("nobody")),
    "a name of a function": value(Name("main")),
    "a name of a builtin": value(Name("len")),
    "a name of Python's": value(Name("__builtins__")),
    # calls
    **{
        f"a call of {name!r}": contract(Do(Call(name, ())))
        for name in (
            "eval", "exec", "open", "print", "__import__", "getattr", "type", "", "Address", "map",
            "len", "range", "emit", "get", "remove", "pay", "init", "x", "m", "sender",
        )
    },
    "a call of itself": contract(Do(Call("main", (Int(1), Str("a"))))),
    "two that call one another": functions(
        function("f", Do(Call("g", ()))), function("g", Do(Call("f", ())))
    ),
    "a call with too little": functions(function("f", parameters=HOOK), function("g", Do(Call("f", ())))),
    "a call with the wrong type": functions(
        function("f", parameters=HOOK), function("g", Do(Call("f", (Str("a"),))))
    ),
    "nothing as a value": value(Call("pay", (Name("sender"), Int(1)))),
    "nothing in a list": value(List((Call("remove", (Name("m"), Int(1))),))),
    "an event without a name": contract(Do(Call("emit", (Name("t"),)))),
    "an event with a strange name": contract(Do(Call("emit", (Str("a b"), Int(1))))),
    "an event with a list": contract(Do(Call("emit", (Str("e"), List((Int(1),)))))),
    "get of a list": value(Call("get", (List((Int(1),)), Int(0), Int(0)))),
    "get with a default of the wrong type": value(Call("get", (Name("m"), Int(0), Str("a")))),
    "sorting of addresses": value(Call("sorted", (List((Name("sender"),)),))),
    "a sum of texts": value(Call("sum", (List((Str("a"),)),))),
    "a least of one": value(Call("min", (Int(1),))),
    "a length of an int": value(Call("len", (Int(1),))),
    "a hash of a text": value(Call("sha256", (Str("a"),))),
    "a range as a value": value(Call("range", (Int(1),))),
    # statements
    "an if with nothing": contract(If(Bool(True), (), ())),
    "a loop with nothing": contract(For("i", List((Int(1),)), ())),
    "a function with nothing": contract(),
    "a loop over an int": contract(For("i", Int(5), (Pass(),))),
    "a loop over a text": contract(For("i", Str("abc"), (Pass(),))),
    "a loop over a map": contract(For("i", Name("m"), (Pass(),))),
    "a range of three": contract(For("i", Call("range", (Int(1),) * 3), (Pass(),))),
    "a range of texts": contract(For("i", Call("range", (Str("a"),)), (Pass(),))),
    "a break outside": contract(Break()),
    "a continue outside": contract(If(Bool(True), (Continue(),), ())),
    "what is never reached": contract(Return(None), Pass()),
    "what is never reached in a loop": contract(For("i", List((Int(1),)), (Break(), Pass()))),
    "a result missing": contract(Pass(), returns=INT),
    "a result missing on one way": contract(If(Bool(True), (Return(Int(1)),), ()), returns=INT),
    "a result missing after a loop": contract(
        For("i", List((Int(1),)), (Return(Int(1)),)), returns=INT
    ),
    "a result without a value": contract(Return(None), returns=INT),
    "a result of the wrong type": contract(Return(Str("a")), returns=INT),
    "a result of nothing": contract(Return(Int(1))),
    "an entry of a list assigned": contract(
        Declare("y", ListOf(INT), List((Int(1),))), Assign(Index(Name("y"), Int(0)), Int(2))
    ),
    "an entry of a call assigned": contract(Assign(Index(Call("main", ()), Int(0)), Int(2))),
    "a parameter of another type": contract(Assign(Name("x"), Str("a"))),
    "a variable of another type": contract(Assign(Name("n"), Str("a"))),
    "an entry of another type": contract(Assign(Index(Name("m"), Int(0)), Str("a"))),
    "a declaration of another type": contract(Declare("y", INT, Str("a"))),
    "two types of a local": contract(Assign(Name("y"), Int(1)), Assign(Name("y"), Str("a"))),
    "a local before its value": contract(Assign(Name("z"), Name("y")), Assign(Name("y"), Int(1))),
    "a local of one branch": contract(
        If(Bool(True), (Assign(Name("y"), Int(1)),), ()), Assign(Name("n"), Name("y"))
    ),
    "a local of a loop": contract(
        For("i", List((Int(1),)), (Pass(),)), Assign(Name("n"), Name("i"))
    ),
    "a local that grows from nothing": contract(Augment(Name("y"), "+", Int(1))),
    "a sum into a text": contract(Augment(Name("t"), "+", Int(1))),
    "an unknown operator into": contract(Augment(Name("n"), "**", Int(2))),
    "half of a surrogate pair": value(Str("\ud800")),
    # views
    **{
        f"a view that {what}": contract(body, marks=("view",))
        for what, body in {
            "writes": Assign(Name("n"), Int(1)),
            "writes an entry": Assign(Index(Name("m"), Int(1)), Int(1)),
            "adds": Augment(Name("n"), "+", Int(1)),
            "adds to an entry": Augment(Index(Name("m"), Int(1)), "+", Int(1)),
            "removes": Do(Call("remove", (Name("m"), Int(1)))),
            "pays": Do(Call("pay", (Name("sender"), Int(1)))),
            "emits": Do(Call("emit", (Str("e"),))),
        }.items()
    },
    "a view whose helper's helper writes": functions(
        function("f", Assign(Name("n"), Int(1))),
        function("g", Do(Call("f", ()))),
        function("h", Do(Call("g", ())), marks=("view",)),
        variables=(Variable("n", INT),),
    ),
    # depth
    "a chain of 400 calls": chain(400),
    "a chain of 95 calls": chain(95),
}  # fmt: skip


def test_the_corpus_is_large_enough():
    assert len(BURNERS) + len(FORGED) >= 80


@pytest.mark.parametrize("name", FORGED)
def test_a_tree_that_breaks_a_rule_is_no_program(name):
    with pytest.raises(BadProgram) as caught:
        compiler.compile(FORGED[name])
    faults = caught.value.numbers["faults"]
    assert 1 <= len(faults) <= 50
    assert len(str(caught.value)) < 40_000
    try:
        data = t.encode(FORGED[name])
    except DiiError:  # what even the wire does not carry
        return
    with pytest.raises(BadProgram):
        compiler.compile(t.decode(data))


def test_all_faults_are_reported_at_once():
    source = "n: float\n@view\ndef f(x: int) -> int:\n    n = 'a'\n    y = z\n    if x:\n        pass\n    q = 1 + b''\n"
    with pytest.raises(BadProgram) as caught:
        compiler.compile(parse(source))
    lines = [fault.at.line for fault in caught.value.numbers["faults"]]
    assert set(lines) == {1, 3, 4, 5, 6, 8}
    assert all(fault.message for fault in caught.value.numbers["faults"])


def test_keys_of_different_variables_never_meet():
    """A text that looks like another variable's key is a text within its own variable's keys."""
    source = """
a: map[bytes, int]
aa: map[bytes, int]
ab: int
b: map[str, int]
@external
def main(k: bytes, t: str):
    a[k] = 1
    aa[k] = 2
    ab = 3
    b[t] = 4
"""
    world = World()
    program = compiler.compile(parse(source))
    forged = [b"", b"a", codec.encode(("ab",)), codec.encode(("b", "x")), bytes(20)]
    for key in forged:
        world.call(program, "main", key, key.hex())
    assert len(world.storage) == 3 * len(forged) + 1
    assert {codec.decode(key)[0] for key in world.storage} == {"a", "aa", "ab", "b"}


def test_a_wide_tree_compiles_within_bounds():
    wide = contract(*[Assign(Name(f"y{at}"), Int(at)) for at in range(1_300)])
    tracemalloc.start()
    program = compiler.compile(t.decode(t.encode(wide)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000
    assert World().call(program, "main", 1, "").gas > 1_300
    deep = value(nested(t.MAX_DEPTH - 4))
    assert World().call(compiler.compile(t.decode(t.encode(deep))), "main", 1, "").value is None
    with pytest.raises(BadContract):
        t.encode(value(nested(t.MAX_DEPTH)))


# --- fuzz --------------------------------------------------------------------------------------

SEEDS = [parse(Writer(seed).program()) for seed in range(4)]
POOL = [node for tree in [*SEEDS, *FORGED.values()] for node in t.children(tree)]


def attempt(tree: Contract) -> None:
    """Compile and run; anything but a named error of ours is a defect and goes through."""
    try:
        program = compiler.compile(tree)
    except BadProgram:
        return
    for name, one in program.functions.items():
        kinds = [each.type for each in one.parameters]
        values = [form(kind).pack(SAMPLES[kind.name]) for kind in kinds if isinstance(kind, Plain)]
        for by in ("external", "init", "on_epoch"):
            try:
                result = program.run(name, values, World(money=1_000), 20_000, by=by)
            except BadCall:
                continue
            except TransactionError as error:
                used = error.gas
            else:
                used = result.gas
            assert used <= 20_000


def mutated(value: Any, random: Random, pool: list[Any]) -> Any:
    """One value of a tree on the wire, here and there replaced by another of its kind."""
    if isinstance(value, tuple):
        if random.random() < 0.01:
            return random.choice(pool)
        items = [mutated(one, random, pool) for one in value]
        if random.random() < 0.005 and items:
            items.pop(random.randrange(len(items)))
        return tuple(items)
    if random.random() < 0.02:
        return random.choice(["+", "x", "main", "int", "view", b"\1", b"", "", 5, None, True])
    return value


@given(st.integers(0, 2**32))
def test_mutated_trees_give_named_errors_only(seed):
    random = Random(seed)
    wires = [codec.pack(tree) for tree in SEEDS]
    pool: list[Any] = []

    def collect(item: Any) -> None:
        if isinstance(item, tuple):
            pool.append(item)
            for one in item:
                collect(one)

    collect(random.choice(wires))
    for _ in range(5):
        wire = mutated(random.choice(wires), random, pool)
        try:
            attempt(t.decode(codec.encode(wire)))
        except BadContract:
            continue


@given(st.integers(0, 2**32))
def test_swapped_nodes_give_named_errors_only(seed):
    """Mutations that keep the shape, so that it is the compiler that has to judge them."""
    random = Random(seed)
    nodes: dict[type, list[t.Node]] = {}
    stack: list[t.Node] = [random.choice(SEEDS), *random.sample(list(FORGED.values()), 20)]
    while stack:
        node = stack.pop()
        nodes.setdefault(group(type(node)), []).append(node)
        stack += t.children(node)

    def swap(item: Any) -> Any:
        if isinstance(item, tuple):
            return tuple([swap(one) for one in item])
        if not isinstance(item, t.Node):
            return item
        if random.random() < 0.02 and not isinstance(item, Contract):
            return random.choice(nodes[group(type(item))])
        fields = {name: swap(getattr(item, name)) for name in type(item).__slots__}
        return replace(item, **fields)

    tree = swap(random.choice(SEEDS))
    try:
        data = codec.dumps(tree)
        attempt(t.decode(data))
    except DiiError:
        return


EXPRESSIONS = (
    Int, Bool, Str, t.Bytes, AddressOf, Name, Unary, Binary, Logic, Compare, Choose, Index, Field,
    Call, List,
)  # fmt: skip


def group(kind: type) -> type:
    """Nodes that may stand for one another."""
    if kind in EXPRESSIONS:
        return Int
    return (
        Pass
        if kind in (Declare, Assign, Augment, If, For, Break, Continue, Pass, Assert, Return, Do)
        else kind
    )


@given(st.data())
def test_mutated_bytes_give_named_errors_only(data):
    wire = bytearray(t.encode(data.draw(st.sampled_from(SEEDS))))
    for _ in range(data.draw(st.integers(1, 4))):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    try:
        attempt(t.decode(bytes(wire)))
    except BadContract:
        return


# --- no way to Python --------------------------------------------------------------------------


def test_the_package_never_executes_text_nor_looks_up_a_contracts_names():
    for path in sorted((ROOT / "dii").rglob("*.py")):
        contracts = path.parent.name in ("contracts", "agreements")
        called = set()
        for node in ast.walk(ast.parse(path.read_text())):
            where = f"{path}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {getattr(node, "module", None), *(one.name for one in node.names)}
                assert names.isdisjoint({"builtins", "pickle", "marshal", "shelve"}), where
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                called.add(node.func)
                if node.func.id in ("getattr", "setattr", "hasattr", "delattr") and contracts:
                    # tree.py reads the fields of its own node classes
                    fixed = isinstance(node.args[1], ast.Constant)
                    assert path.name == "tree.py" or fixed, where
            elif isinstance(node, ast.Name):  # called or handed on
                assert node.id not in ("exec", "eval", "compile", "__import__"), where
                assert (
                    node.id not in ("getattr", "vars", "globals")
                    or not contracts
                    or (node in called)
                ), where
