"""Contracts of attackers: texts that waste gas, trees that no parser emits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dii.contracts import tree

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

BURNERS = {
    # integers
    "repeated squaring": "x = 3\nfor i in range(300):\n    x = x * x",
    "repeated addition": "x = 1\nfor i in range(300):\n    x = x + x",
    "repeated squaring to the bound, for ever": (
        "for i in range(99999999):\n    x = 2\n    for j in range(7):\n        x = x * x"
    ),
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
    "loops in loops": (
        "for i in range(999999):\n    for j in range(999999):\n        for k in range(999999):\n"
        "            pass"
    ),
    "a loop that only goes on": "for i in range(999999999):\n    continue",
    "a loop over a list of lists' worth": (
        "ys = [1, 2, 3]\nfor i in range(30):\n    ys = ys + ys\nfor y in ys:\n    pass"
    ),
    "helpers in a loop": "for i in range(999999999):\n    x = twice(twice(twice(i)))",
    "a range that begins below": f"for i in range({-(2**255)}, {2**255 - 1}):\n    pass",
    # texts and bytes
    "a text that doubles": "t = 'ab'\nfor i in range(99):\n    t = t + t",
    "bytes that double": "t = b'ab'\nfor i in range(99):\n    t = t + t",
    "a text that doubles in a helper": "t = 'ab'\nfor i in range(99):\n    t = grow(t)",
    "a text that grows by one": "t = ''\nfor i in range(99999999):\n    t = t + 'x'",
    "wide characters that double": "t = '🙂'\nfor i in range(99):\n    t = t + t",
    "hashing of great bytes": (
        "t = b'a'\nfor i in range(20):\n    t = t + t\nfor i in range(99999):\n    h = sha256(t)"
    ),
    "hashing of nothing": "for i in range(99999999):\n    h = sha256(b'')",
    "comparing great texts": (
        "t = 'a'\nfor i in range(20):\n    t = t + t\nu = t + 'b'\nt = t + 'a'\n"
        "for i in range(99999):\n    q = t < u"
    ),
    "equality of great texts": (
        "t = 'a'\nfor i in range(20):\n    t = t + t\nu = '' + t + 'b'\nt = t + 'a'\n"
        "for i in range(99999):\n    q = t == u"
    ),
    "a text kept in the state": "s = 'a'\nfor i in range(99):\n    s = s + s",
    "great keys": "t = 'a'\nfor i in range(20):\n    t = t + t\n    texts[t] = 'x'",
    "lookups by great keys": "t = 'a'\nfor i in range(20):\n    t = t + t\nq = t in texts",
    "great values": "t = 'a'\nfor i in range(20):\n    t = t + t\n    texts['k'] = t",
    "great events": "t = 'a'\nfor i in range(20):\n    t = t + t\n    emit('e', t)",
    "great gateways": "t = b'a'\nfor i in range(20):\n    t = t + t\nq = bound(t, 0)",
    # lists
    "a list that doubles": "ys = [1]\nfor i in range(99):\n    ys = ys + ys",
    "a list that grows by one": "ys = [1]\nfor i in range(99999999):\n    ys = ys + [i]",
    "a list of great texts": (
        "t = 'a'\nfor i in range(16):\n    t = t + t\nys = [t]\nfor i in range(99):\n"
        "    ys = ys + ys"
    ),
    "a list of great texts, kept": (
        "t = 'a'\nfor i in range(12):\n    t = t + t\nys = [t]\nfor i in range(99):\n"
        "    ys = ys + ys\n    ss = ys"
    ),
    "new texts in a list": (
        "ys = ['']\nfor i in range(99999999):\n    ys = ys + [str(i), str(i), str(i), str(i)]"
    ),
    "sorting a great list": (
        "ys = [3, 1, 2]\nfor i in range(16):\n    ys = ys + ys\nfor i in range(99999):\n"
        "    zs = sorted(ys)"
    ),
    "sorting great texts": (
        "t = 'a'\nfor i in range(14):\n    t = t + t\nys = [t + 'b', t + 'a']\n"
        "for i in range(8):\n    ys = ys + ys\nfor i in range(99999):\n    zs = sorted(ys)"
    ),
    "membership in a great list": (
        "ys = [3, 1, 2]\nfor i in range(16):\n    ys = ys + ys\nfor i in range(99999):\n"
        "    q = 9 in ys"
    ),
    "membership among equal texts": (
        "t = 'a'\nfor i in range(12):\n    t = t + t\nys = [t + 'b']\nfor i in range(10):\n"
        "    ys = ys + ys\nu = t + 'c'\nfor i in range(99999):\n    q = u in ys"
    ),
    "equality of great lists": (
        "ys = [3, 1, 2]\nfor i in range(16):\n    ys = ys + ys\nzs = ys + [1]\nys = ys + [2]\n"
        "for i in range(99999):\n    q = ys == zs"
    ),
    "equality of lists of equal texts": (
        "t = 'a'\nfor i in range(12):\n    t = t + t\nys = [t + 'b']\nzs = [t + 'b']\n"
        "for i in range(12):\n    ys = ys + ys\n    zs = zs + zs\nfor i in range(99999):\n"
        "    q = ys == zs"
    ),
    "a long list of texts and an empty one": (
        "ys = ['a', 'b']\nfor i in range(16):\n    ys = ys + ys\nzs = sorted(['c'])\n"
        "for i in range(99999999):\n    q = ys == zs"
    ),
    "a great event of many texts": (
        "t = 'é'\nfor i in range(15):\n    t = t + t\nemit('e', t, t, t, t, t, t, t, t)"
    ),
    "a text of wide characters that doubles": "t = '🙂'\nfor i in range(99):\n    t = t + t",
    "sums of great lists": (
        f"ys = [{2**250}, {-(2**250)}]\nfor i in range(16):\n    ys = ys + ys\n"
        "for i in range(99999):\n    q = sum(ys)"
    ),
    "an index beyond": "q = [1, 2][2]",
    "an index far beyond": f"q = [1, 2][{2**255 - 1}]",
    "an index far below": f"q = [1, 2][{-(2**255)}]",
    "lists in a map": (
        "ys = ['aaaaaaaa']\nfor i in range(9):\n    ys = ys + ys\nfor i in range(99999):\n"
        "    lists[i] = ys"
    ),
    "a list read again and again": (
        "lists[0] = ['a', 'b', 'c', 'd', 'e', 'f']\nfor i in range(99999999):\n    q = lists[0]"
    ),
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
    "a gateway of too many bytes": (
        "q = metrics(b'12345678901234567890' + b'1', 0).reported\nassert q, 'no'"
    ),
    "an application of no bytes": "q = usage(b'', sender, 0).reported\nassert q, 'no'",
    "an assertion after much work": "for i in range(1000):\n    n = i\nassert False, 'no'",
}  # fmt: skip


def burner(body: str) -> str:
    lines = "\n".join("    " + line for line in body.splitlines())
    return f"{STATE}{HELPERS}@external\ndef main():\n{lines}\n"


INT, STR = tree.Plain("int"), tree.Plain("str")
TABLE = tree.Variable("m", tree.MapOf(INT, INT))


def contract(
    *body: tree.Statement, returns: tree.Type | None = None, **fields: Any
) -> tree.Contract:
    parameters = (tree.Parameter("x", INT), tree.Parameter("t", STR))
    main = tree.Function("main", ("external",), parameters, returns, "", body)
    return tree.Contract("", (TABLE, tree.Variable("n", INT)), (replace(main, **fields),))


def value(node: tree.Expression) -> tree.Contract:
    return contract(tree.Assign(tree.Name("y"), node))


def named(name: str) -> tree.Contract:
    return contract(tree.Assign(tree.Name(name), tree.Int(1)))


def functions(*made: tree.Function, variables: tuple[tree.Variable, ...] = ()) -> tree.Contract:
    return tree.Contract("", variables, made)


def function(
    name: str, *body: tree.Statement, marks: tuple[str, ...] = (), **fields: Any
) -> tree.Function:
    return replace(tree.Function(name, marks, (), None, "", body or (tree.Pass(),)), **fields)


def chain(length: int) -> tree.Contract:
    made = [function("f0", marks=("external",))]
    made += [
        function(f"f{at}", tree.Do(tree.Call(f"f{at - 1}", ())), marks=())
        for at in range(1, length)
    ]
    return functions(*made)


HOOK = (tree.Parameter("settled", INT),)
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
    "a parameter called as a variable": contract(
        tree.Pass(), parameters=(tree.Parameter("n", INT),)
    ),
    "two parameters of one name": contract(tree.Pass(), parameters=(tree.Parameter("a", INT),) * 2),
    "a function called as a variable": functions(
        function("n"), variables=(tree.Variable("n", INT),)
    ),
    "two functions of one name": functions(function("f"), function("f")),
    "two of init": functions(function("init"), function("init")),
    "two variables of one name": functions(
        variables=(tree.Variable("v", INT), tree.Variable("v", STR))
    ),
    "a variable called init": functions(variables=(tree.Variable("init", INT),)),
    "a function called len": functions(function("len")),
    "a loop over a name of the host": contract(
        tree.For("sender", tree.List((tree.Int(1),)), (tree.Pass(),))
    ),
    "a loop over a variable's name": contract(
        tree.For("n", tree.List((tree.Int(1),)), (tree.Pass(),))
    ),
    "a dunder of a record": value(
        tree.Field(tree.Call("metrics", (tree.Bytes(b"g"), tree.Int(1))), "__class__")
    ),
    "a dunder of an int": value(tree.Field(tree.Int(1), "__class__")),
    "a field of a text": value(tree.Field(tree.Str("{0.__class__}"), "format")),
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
    "init that returns": functions(function("init", tree.Return(tree.Int(1)), returns=INT)),
    "a hook without until": functions(function("f", marks=("on_epoch",), parameters=HOOK)),
    "a hook with until a text": functions(
        function("f", marks=("on_epoch",), parameters=HOOK),
        variables=(tree.Variable("until", STR),),
    ),
    "a hook without the epoch": functions(
        function("f", marks=("on_epoch",)), variables=(tree.Variable("until", INT),)
    ),
    "a hook with a text": functions(
        function("f", marks=("on_epoch",), parameters=(tree.Parameter("e", STR),)),
        variables=(tree.Variable("until", INT),),
    ),
    "a hook that returns": functions(
        function("f", tree.Return(tree.Int(1)), marks=("on_epoch",), parameters=HOOK, returns=INT),
        variables=(tree.Variable("until", INT),),
    ),
    "a call of init": functions(function("init"), function("f", tree.Do(tree.Call("init", ())))),
    "a call of what takes money": functions(
        function("p", marks=("payable",)),
        function("f", tree.Do(tree.Call("p", ())), marks=("external",)),
    ),
    # types
    **{
        f"a variable of type {kind!r}": functions(variables=(tree.Variable("v", kind),))
        for kind in (
            *map(tree.Plain, ("float", "", "metrics", "nothing", "object")),
            tree.ListOf(tree.Plain("usage")),
            tree.MapOf(tree.Plain("tuple"), INT),
            tree.MapOf(INT, tree.Plain("dict")),
            tree.MapOf(INT, tree.ListOf(tree.Plain("map"))),
            tree.Plain("list[int]"),
            tree.Plain("x" * 20_000),
        )
    },
    "a parameter that is a map": contract(
        tree.Pass(), parameters=(tree.Parameter("a", tree.MapOf(INT, INT)),)
    ),
    "a map returned": contract(tree.Return(tree.Name("m")), returns=tree.MapOf(INT, INT)),
    "a local that is a map": contract(tree.Declare("y", tree.MapOf(INT, INT), tree.Name("m"))),
    "a map as a value": value(tree.Name("m")),
    "a map assigned": contract(tree.Assign(tree.Name("m"), tree.Int(1))),
    "a map of a map": value(tree.Index(tree.Index(tree.Name("m"), tree.Int(1)), tree.Int(1))),
    "a record in the state": contract(
        tree.Assign(tree.Name("n"), tree.Call("metrics", (tree.Bytes(b"g"), tree.Int(1))))
    ),
    "a record in a list": value(
        tree.List((tree.Call("metrics", (tree.Bytes(b"g"), tree.Int(1))),))
    ),
    "a record in an event": contract(
        tree.Do(
            tree.Call(
                "emit", (tree.Str("e"), tree.Call("metrics", (tree.Bytes(b"g"), tree.Int(1))))
            )
        )
    ),
    "records compared": value(
        tree.Compare("==", *(tree.Call("metrics", (tree.Bytes(b"g"), tree.Int(1))),) * 2)
    ),
    "a list in a list": value(tree.List((tree.List((tree.Int(1),)),))),
    "a mixed list": value(tree.List((tree.Int(1), tree.Str("a")))),
    "an empty list of nothing": value(tree.List(())),
    # expressions
    **{
        f"the operator {op!r}": value(tree.Binary(op, tree.Int(1), tree.Int(2)))
        for op in ("**", "/", "<<", "|", "and", "", "+ ", "__add__", "+" * 9_000)
    },
    **{
        f"the sign {op!r}": value(tree.Unary(op, tree.Int(1)))
        for op in ("+", "~", "-", "not", "--", "")
    },
    **{
        f"the logic {op!r}": value(tree.Logic(op, tree.Bool(True), tree.Bool(True)))
        for op in ("xor", "&", "")
    },
    **{
        f"the comparison {op!r}": value(tree.Compare(op, tree.Int(1), tree.Int(2)))
        for op in ("is", "is not", "=", "<>", "notin", "in", "not in", "")
    },
    "an int of 257 bits": value(tree.Int(2**255)),
    "an int below the least": value(tree.Int(-(2**255) - 1)),
    "an address of 19 bytes": value(tree.AddressOf(bytes(19))),
    "an address of 32 bytes": value(tree.AddressOf(bytes(32))),
    "truth of an int": contract(tree.If(tree.Name("x"), (tree.Pass(),), ())),
    "truth of a list": contract(tree.Assert(tree.List((tree.Int(1),)), "")),
    "logic of ints": value(tree.Logic("and", tree.Int(1), tree.Int(0))),
    "arithmetic of bools": value(tree.Binary("+", tree.Bool(True), tree.Bool(True))),
    "a text times an int": value(tree.Binary("*", tree.Str("a"), tree.Int(10**9))),
    "a text modulo": value(tree.Binary("%", tree.Str("%s"), tree.Str("a"))),
    "a text less a text": value(tree.Binary("-", tree.Str("a"), tree.Str("a"))),
    "a list times an int": value(tree.Binary("*", tree.List((tree.Int(1),)), tree.Int(10**9))),
    "a text and bytes": value(tree.Compare("==", tree.Str("a"), tree.Bytes(b"a"))),
    "an address and bytes": value(tree.Compare("==", tree.Name("sender"), tree.Bytes(bytes(20)))),
    "an order of addresses": value(tree.Compare("<", tree.Name("sender"), tree.Name("sender"))),
    "an order of bools": value(tree.Compare("<", tree.Bool(True), tree.Bool(False))),
    "an order of lists": value(
        tree.Compare("<", tree.List((tree.Int(1),)), tree.List((tree.Int(2),)))
    ),
    "membership in a text": value(tree.Compare("in", tree.Str("a"), tree.Str("abc"))),
    "membership of the wrong type": value(
        tree.Compare("in", tree.Str("a"), tree.List((tree.Int(1),)))
    ),
    "a key of the wrong type": value(tree.Index(tree.Name("m"), tree.Str("a"))),
    "an index of a text": value(tree.Index(tree.Name("t"), tree.Int(0))),
    "an index that is a bool": value(tree.Index(tree.List((tree.Int(1),)), tree.Bool(True))),
    "a choice of two types": value(tree.Choose(tree.Bool(True), tree.Int(1), tree.Str("a"))),
    "an unknown name": value(tree.Name("nobody")),
    "a name of a function": value(tree.Name("main")),
    "a name of a builtin": value(tree.Name("len")),
    "a name of Python's": value(tree.Name("__builtins__")),
    # calls
    **{
        f"a call of {name!r}": contract(tree.Do(tree.Call(name, ())))
        for name in (
            "eval", "exec", "open", "print", "__import__", "getattr", "type", "", "Address", "map",
            "len", "range", "emit", "get", "remove", "pay", "init", "x", "m", "sender",
        )
    },
    "a call of itself": contract(tree.Do(tree.Call("main", (tree.Int(1), tree.Str("a"))))),
    "two that call one another": functions(
        function("f", tree.Do(tree.Call("g", ()))), function("g", tree.Do(tree.Call("f", ())))
    ),
    "a call with too little": functions(
        function("f", parameters=HOOK), function("g", tree.Do(tree.Call("f", ())))
    ),
    "a call with the wrong type": functions(
        function("f", parameters=HOOK), function("g", tree.Do(tree.Call("f", (tree.Str("a"),))))
    ),
    "nothing as a value": value(tree.Call("pay", (tree.Name("sender"), tree.Int(1)))),
    "nothing in a list": value(tree.List((tree.Call("remove", (tree.Name("m"), tree.Int(1))),))),
    "an event without a name": contract(tree.Do(tree.Call("emit", (tree.Name("t"),)))),
    "an event with a strange name": contract(
        tree.Do(tree.Call("emit", (tree.Str("a b"), tree.Int(1))))
    ),
    "an event with a list": contract(
        tree.Do(tree.Call("emit", (tree.Str("e"), tree.List((tree.Int(1),)))))
    ),
    "get of a list": value(tree.Call("get", (tree.List((tree.Int(1),)), tree.Int(0), tree.Int(0)))),
    "get with a default of the wrong type": value(
        tree.Call("get", (tree.Name("m"), tree.Int(0), tree.Str("a")))
    ),
    "sorting of addresses": value(tree.Call("sorted", (tree.List((tree.Name("sender"),)),))),
    "a sum of texts": value(tree.Call("sum", (tree.List((tree.Str("a"),)),))),
    "a least of one": value(tree.Call("min", (tree.Int(1),))),
    "a length of an int": value(tree.Call("len", (tree.Int(1),))),
    "a hash of a text": value(tree.Call("sha256", (tree.Str("a"),))),
    "a range as a value": value(tree.Call("range", (tree.Int(1),))),
    # statements
    "an if with nothing": contract(tree.If(tree.Bool(True), (), ())),
    "a loop with nothing": contract(tree.For("i", tree.List((tree.Int(1),)), ())),
    "a function with nothing": contract(),
    "a loop over an int": contract(tree.For("i", tree.Int(5), (tree.Pass(),))),
    "a loop over a text": contract(tree.For("i", tree.Str("abc"), (tree.Pass(),))),
    "a loop over a map": contract(tree.For("i", tree.Name("m"), (tree.Pass(),))),
    "a range of three": contract(
        tree.For("i", tree.Call("range", (tree.Int(1),) * 3), (tree.Pass(),))
    ),
    "a range of texts": contract(
        tree.For("i", tree.Call("range", (tree.Str("a"),)), (tree.Pass(),))
    ),
    "a break outside": contract(tree.Break()),
    "a continue outside": contract(tree.If(tree.Bool(True), (tree.Continue(),), ())),
    "what is never reached": contract(tree.Return(None), tree.Pass()),
    "what is never reached in a loop": contract(
        tree.For("i", tree.List((tree.Int(1),)), (tree.Break(), tree.Pass()))
    ),
    "a result missing": contract(tree.Pass(), returns=INT),
    "a result missing on one way": contract(
        tree.If(tree.Bool(True), (tree.Return(tree.Int(1)),), ()), returns=INT
    ),
    "a result missing after a loop": contract(
        tree.For("i", tree.List((tree.Int(1),)), (tree.Return(tree.Int(1)),)), returns=INT
    ),
    "a result without a value": contract(tree.Return(None), returns=INT),
    "a result of the wrong type": contract(tree.Return(tree.Str("a")), returns=INT),
    "a result of nothing": contract(tree.Return(tree.Int(1))),
    "an entry of a list assigned": contract(
        tree.Declare("y", tree.ListOf(INT), tree.List((tree.Int(1),))),
        tree.Assign(tree.Index(tree.Name("y"), tree.Int(0)), tree.Int(2)),
    ),
    "an entry of a call assigned": contract(
        tree.Assign(tree.Index(tree.Call("main", ()), tree.Int(0)), tree.Int(2))
    ),
    "a parameter of another type": contract(tree.Assign(tree.Name("x"), tree.Str("a"))),
    "a variable of another type": contract(tree.Assign(tree.Name("n"), tree.Str("a"))),
    "an entry of another type": contract(
        tree.Assign(tree.Index(tree.Name("m"), tree.Int(0)), tree.Str("a"))
    ),
    "a declaration of another type": contract(tree.Declare("y", INT, tree.Str("a"))),
    "two types of a local": contract(
        tree.Assign(tree.Name("y"), tree.Int(1)), tree.Assign(tree.Name("y"), tree.Str("a"))
    ),
    "a local before its value": contract(
        tree.Assign(tree.Name("z"), tree.Name("y")), tree.Assign(tree.Name("y"), tree.Int(1))
    ),
    "a local of one branch": contract(
        tree.If(tree.Bool(True), (tree.Assign(tree.Name("y"), tree.Int(1)),), ()),
        tree.Assign(tree.Name("n"), tree.Name("y")),
    ),
    "a local of a loop": contract(
        tree.For("i", tree.List((tree.Int(1),)), (tree.Pass(),)),
        tree.Assign(tree.Name("n"), tree.Name("i")),
    ),
    "a local that grows from nothing": contract(tree.Augment(tree.Name("y"), "+", tree.Int(1))),
    "a sum into a text": contract(tree.Augment(tree.Name("t"), "+", tree.Int(1))),
    "an unknown operator into": contract(tree.Augment(tree.Name("n"), "**", tree.Int(2))),
    "half of a surrogate pair": value(tree.Str("\ud800")),
    # views
    **{
        f"a view that {what}": contract(body, marks=("view",))
        for what, body in {
            "writes": tree.Assign(tree.Name("n"), tree.Int(1)),
            "writes an entry": tree.Assign(tree.Index(tree.Name("m"), tree.Int(1)), tree.Int(1)),
            "adds": tree.Augment(tree.Name("n"), "+", tree.Int(1)),
            "adds to an entry": tree.Augment(
                tree.Index(tree.Name("m"), tree.Int(1)), "+", tree.Int(1)
            ),
            "removes": tree.Do(tree.Call("remove", (tree.Name("m"), tree.Int(1)))),
            "pays": tree.Do(tree.Call("pay", (tree.Name("sender"), tree.Int(1)))),
            "emits": tree.Do(tree.Call("emit", (tree.Str("e"),))),
        }.items()
    },
    "a view whose helper's helper writes": functions(
        function("f", tree.Assign(tree.Name("n"), tree.Int(1))),
        function("g", tree.Do(tree.Call("f", ()))),
        function("h", tree.Do(tree.Call("g", ())), marks=("view",)),
        variables=(tree.Variable("n", INT),),
    ),
    # depth
    "a chain of 400 calls": chain(400),
    "a chain of 95 calls": chain(95),
}  # fmt: skip
