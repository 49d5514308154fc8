"""Texts of contracts: faults found by the front end, and equality of shown and executed code."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dii import crypto
from dii.contracts import frontend, gas, host, tree
from dii.contracts.agreements import AGREEMENTS
from dii.contracts.faults import Fault, render
from dii.contracts.tree import Position
from dii.contracts.unparse import unparse
from dii.errors import BadSource
from dii.schema import METRICS
from tests.require import ROOT

ADDRESS = crypto.format_address(bytes(range(20)))


def faults_of(source: str, reader: Callable[[str], object] = frontend.parse) -> tuple[Fault, ...]:
    with pytest.raises(BadSource) as caught:
        reader(source)
    faults = caught.value.numbers["faults"]
    assert isinstance(faults, tuple)
    assert str(caught.value) == render(faults, source)
    return faults


def function(*lines: str) -> str:
    return "def f(a: int, b: int):\n" + textwrap.indent("\n".join(lines), "    ")


STATEMENTS = {
    "¦while a > 0:\n    a = a - 1": "while: not in the language",
    "¦class A:\n    pass": "classes",
    "¦import os": "imports",
    "¦from os import path": "imports",
    "¦def g():\n    pass": "functions within others",
    "¦async def g():\n    pass": "async",
    "¦try:\n    a = 1\nexcept E:\n    a = 2": "try: not in the language",
    "¦try:\n    a = 1\nexcept* E:\n    a = 2": "try: not in the language",
    "¦with a:\n    a = 1": "with: not in the language",
    "¦match a:\n    case 1:\n        pass": "match: not in the language",
    "¦raise a": "raise: not in the language",
    "¦del a": "del: not in the language",
    "¦global a": "global: not in the language",
    "¦nonlocal a": "global: not in the language",
    "¦b[a]: int = 5": "types of entries",
    "¦c: int": "c has a type and no value",
    "c: ¦list[list[int]] = a": "not a type",
    "c: ¦'int' = a": "not a type",
    "c: ¦int | str = a": "not a type",
    "c: ¦map[int, map[int, int]] = a": "not a type",
    "¦a = b = 1": "several targets of one assignment",
    "¦a, b = c": "tuples",
    "¦[a, b] = c": "nothing is assigned to this",
    "¦a.b = 1": "nothing is assigned to this",
    "¦a + b": "this does nothing",
    "a = 1\n¦'text'": "this does nothing",
    "¦...": "...: not in the language",
    "for ¦a, b in c:\n    pass": "a loop has one name",
    "for a in c:\n    pass\nelse:\n    ¦pass": "else after a loop",
    "assert a, ¦b": "a reason is a text as it stands",
    "assert a, ¦f'{a}'": "a reason is a text as it stands",
    "return ¦None": "None: not in the language",
    "¦__a = 1": "names with two underscores first",
}
EXPRESSIONS = {
    "¦1.5": "numbers with a point",
    "¦1j": "numbers with a point",
    "¦a ** 2": "**: not in the language",
    "¦a / 2": "/: not in the language",
    "¦a | b": "this operator",
    "¦a << 2": "shifts",
    "¦a @ b": "this operator",
    "¦~a": "~: not in the language",
    "¦+a": "+ as a sign",
    "¦a < b < 3": "a chain of comparisons",
    "¦a is b": "is: not in the language",
    "¦a is not b": "is not: not in the language",
    "¦f'{a}'": "f-strings",
    "¦lambda: a": "functions within others",
    "¦[x for x in a]": "comprehensions",
    "f(¦(x for x in a))": "comprehensions",
    "¦{x for x in a}": "sets",
    "¦{x: x for x in a}": "dicts",
    "¦{a}": "sets",
    "¦{a: b}": "dicts",
    "¦(a, b)": "tuples",
    "a[¦1:2]": "slices",
    "a[¦1, 2]": "tuples",
    "[¦*a]": "* before a value",
    "f(¦*a)": "* before a value",
    "f(**¦a)": "arguments with names",
    "f(a=¦b)": "arguments with names",
    "(¦c := 3)": ":=: not in the language",
    "¦a.b(3)": "values have no methods",
    "¦f(1)(2)": "only a function's name",
    "(¦yield a)": "generators",
    "¦a.__class__": "names with two underscores first",
    "¦__import__": "names with two underscores first",
    "¦__import__('os')": "names with two underscores first",
    "¦Address(a)": "an address is written out",
    "Address(¦'dii1x')": "is not an address",
    "a + ¦0x1" + "0" * 66: "at most 256 bits",
    "¦-0x1" + "0" * 66: "at most 256 bits",
}
TOPS = {
    "a: int = ¦5": "a state variable has no value here",
    "¦a = 5": "only state variables and functions stand here",
    "¦if a:\n    pass": "only state variables and functions stand here",
    "¦class A:\n    pass": "classes",
    "@¦staticmethod\ndef f():\n    pass": "no mark",
    "@¦external()\ndef f():\n    pass": "no mark",
    "@external\n@¦external\ndef f():\n    pass": "no mark, or twice",
    "def f(¦a):\n    pass": "a has no type",
    "def f(*¦a: int):\n    pass": "parameters with *",
    "def f(**¦a: int):\n    pass": "parameters with *",
    "def f(*, ¦a: int):\n    pass": "parameters with *",
    "def f(¦a: int, /):\n    pass": "parameters with *",
    "def f(a: int = ¦5):\n    pass": "a parameter has no default",
    "def f(a: ¦print(1)):\n    pass": "not a type",
    "def f() -> ¦list:\n    return 1": "",  # a type's name as any: the compiler knows which exist
    "def f() -> ¦(int, int):\n    pass": "not a type",
    "¦def __init__():\n    pass": "names with two underscores first",
    "def f(:¦)": "",
}


def marked(source: str) -> tuple[str, int, int]:
    """Take the mark out of a source: return the rest, and the mark's line and column."""
    before, _, after = source.partition("¦")
    return before + after, before.count("\n") + 1, len(before.rpartition("\n")[2])


CASES = [
    *((function(text), message) for text, message in STATEMENTS.items()),
    *((function(f"é = {text}"), message) for text, message in EXPRESSIONS.items()),
    *((text, message) for text, message in TOPS.items() if message),
]


@pytest.mark.parametrize(("source", "message"), CASES)
def test_python_outside_the_language_is_named_in_its_place_with_what_to_write(
    source: str, message: str
) -> None:
    text, line, column = marked(source)
    found = [one for one in faults_of(text) if message in one.message]
    assert [(one.at and one.at.line, one.at and one.at.column) for one in found] == [(line, column)]
    assert found[0].hint or "address" in message


def test_a_fault_is_shown_with_its_line_a_caret_and_what_to_write() -> None:
    source = '"""Café."""\n\n\n@external\ndef f(a: int) -> int:\n\treturn "é" + a.b(1.5)\n'
    assert render(faults_of(source), source) == (
        "line 6, column 15: values have no methods\n"
        '    6 |  return "é" + a.b(1.5)\n'
        "      |               ^^^\n"
        "  instead: b(a, …), a function\n"
        "line 6, column 19: numbers with a point: not in the language\n"
        '    6 |  return "é" + a.b(1.5)\n'
        "      |                   ^^^\n"
        "  instead: whole numbers of a smaller unit"
    )


def test_all_faults_are_shown_at_once_those_of_the_program_too() -> None:
    source = """\
a: float


@external
def f() -> int:
    while [x ** 2 for x in y]:
        z = 1 / 2
    return True


@view
def g() -> int:
    a = 1
    return True
"""
    places = [fault.at and fault.at.line for fault in faults_of(source, frontend.check)]
    assert places == [1, 6, 6, 6, 7, 13, 13, 14]


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        ("a: address\n", "Address"),
        ("a: float\n", "int, in the smallest unit"),
        ("a: dict[Address, int]\n", "map[…, …], as a state variable"),
        ("a: List[int]\n", "list[…]"),
        (function("require(True, 'why')"), 'assert condition, "why"'),
        (function("transfer(sender, 5)"), "pay(to, amount)"),
        (function("b = a.get(sender, 0)"), "get(a, …), a function"),
        (function("a.append(5)"), "a = a + [x]"),
        (function("a.pop()"), "pop(a), a function"),
    ],
)
def test_words_of_other_languages_get_a_hint_of_the_word_here(source: str, hint: str) -> None:
    assert hint in [fault.hint for fault in faults_of(source, frontend.check)]


def test_more_faults_than_anyone_reads_are_counted() -> None:
    text = render(faults_of(function(*["a = 1.5"] * 60)))
    assert text.count("instead:") == 50
    assert text.endswith("\nand 10 more")


@pytest.mark.parametrize(
    "expression",
    [
        "(" * 300 + "1" + ")" * 300,
        "-" * 50_000 + "1",
        "not " * 20_000 + "a",
        "1 + " * 20_000 + "1",
        "a and " * 20_000 + "a",
        "a if a else " * 10_000 + "a",
        "f(" * 150 + ")" * 150,
        "[" * 150 + "]" * 150,
        "a" + "[0]" * 30_000,
        "a" + ".b" * 30_000,
        "a" + "()" * 30_000,
        "9" * 100_000,
        "0x" + "f" * 100_000,
        "'" + "x" * 100_000 + "'",
        "[" + "1," * 10_000 + "]",
        "lambda: " * 10_000 + "1",
        "{**" * 90 + "a" + "}" * 90,
    ],
    ids=lambda text: text[:8],
)
def test_no_expression_is_too_much_for_the_reader(expression: str) -> None:
    assert faults_of(function(f"a = {expression}"))


def test_no_type_is_too_much_for_the_reader() -> None:
    for kind in ("a" + ".b" * 900, "map[int, " * 150 + "int" + "]" * 150, "list[" * 99 + "]" * 99):
        assert faults_of(f"a: {kind}")
        assert faults_of(f"def f(a: {kind}) -> {kind}:\n    pass")


def test_no_text_is_too_much_for_the_reader() -> None:
    deep = "\n".join(" " * n + "if a:" for n in range(120))
    for text in ("\0", "\ud800", "é" * 200_000, "def f(", "'''", "\\", "\t\n \t x", "a: int\r= 5",
                 "if 1:\n" + " pass\n" * 5_000, "x = 1\f", deep):  # fmt: skip
        faults_of(text)
    assert frontend.parse("\ufeffa: int\r\n") == frontend.parse("a: int")


def test_a_chain_of_elif_that_is_too_long_says_so() -> None:
    lines = ["if a == 0:", "    pass"]
    for number in range(40):
        lines += [f"elif a == {number}:", "    pass"]
    faults = faults_of(function(*lines))
    assert faults[0].at == Position(58, 9, 58, 10)
    assert "each elif" in faults[0].message
    assert frontend.parse(function(*lines[:54]))


def test_a_warning_of_python_is_a_fault() -> None:
    (fault,) = faults_of(function("a = '\\d'"))
    assert "invalid escape" in fault.message


def test_invisible_characters_are_refused_where_they_stand() -> None:
    faults = faults_of('"""A\u202eB."""\na: in\u200bt\n\0')
    assert [(one.at and (one.at.line, one.at.column), one.hint) for one in faults if one.hint] == [
        ((1, 4), r"\u202e in a text"),
        ((2, 5), r"\u200b in a text"),
        ((3, 0), r"\x00 in a text"),
    ]
    shown = render(faults, '"""A\u202eB."""\na: in\u200bt\n\0')
    assert "\u202e" not in shown
    assert "\u200b" not in shown


def test_syntax_of_newer_pythons_is_refused() -> None:
    assert faults_of("type A = int")
    assert faults_of("def f[T](a: int):\n    pass")


SOURCES = [one.source for one in AGREEMENTS.values()]
PIECES = [
    "while True:\n", "1.5", "[x for x in y]", "__class__", ".a", "(", ")", "'", '"""', "\n", "    ",
    "\u202e", "\0", "-", "not ", "if a:\n", "else:\n", "lambda: ", "@external\n", "None", "f'{a}'",
    "def f():\n    pass\n", "return", "*", "=", ":", "map[int, int]", "until", "9" * 90, "#", "\\",
]  # fmt: skip


@given(st.sampled_from(SOURCES), st.randoms(use_true_random=False), st.integers(1, 4))
def test_a_damaged_contract_is_read_or_refused_and_nothing_else_happens(
    source: str, random: Random, count: int
) -> None:
    for _ in range(count):
        start = random.randrange(len(source))
        end = start + random.choice([0, 0, 1, 5, 40])
        other = random.randrange(len(source))
        piece = random.choice([random.choice(PIECES), source[other : other + 30], ""])
        source = source[:start] + piece + source[end:]
    try:
        program = frontend.check(source)
    except BadSource:
        return
    assert frontend.parse(unparse(program.contract)) == program.contract


# --- there and back --------------------------------------------------------------------------

NAMES = st.sampled_from(
    ["a", "b", "total", "_", "x1", "until", "match", "type", "sender", "metrics"]
)
PLAIN = st.sampled_from(["int", "bool", "str", "bytes", "Address"]).map(tree.Plain)
LISTS = PLAIN.map(tree.ListOf)
TYPES = PLAIN | LISTS
TEXTS = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    [
        "",
        "a\n\nb",
        "a\n  b",
        " a",
        "a\n",
        "\n",
        'say """ \'x\' \\',
        "\u202eab\u2066",
        "a\n\tb",
        "é\x00",
    ]
)
OPERANDS = st.deferred(lambda: EXPRESSIONS_OF)
LEAVES = (
    st.integers(-(2**255), 2**255 - 1).map(tree.Int)
    | st.booleans().map(tree.Bool)
    | TEXTS.map(tree.Str)
    | st.binary(max_size=5).map(tree.Bytes)
    | st.binary(min_size=20, max_size=20).map(tree.AddressOf)
    | NAMES.map(tree.Name)
)


def sequence(
    of: st.SearchStrategy[object], least: int = 0
) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(of, min_size=least, max_size=3).map(tuple)


def compound(some: st.SearchStrategy[tree.Expression]) -> st.SearchStrategy[tree.Expression]:
    not_a_number = some.filter(lambda node: not isinstance(node, tree.Int))
    return (
        st.builds(tree.Unary, st.just("-"), not_a_number)
        | st.builds(tree.Unary, st.just("not"), some)
        | st.builds(tree.Binary, st.sampled_from(["+", "-", "*", "//", "%"]), some, some)
        | st.builds(tree.Logic, st.sampled_from(["and", "or"]), some, some)
        | st.builds(
            tree.Compare,
            st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "in", "not in"]),
            some,
            some,
        )
        | st.builds(tree.Choose, some, some, some)
        | st.builds(tree.Index, some, some)
        | st.builds(tree.Field, some, NAMES)
        | st.builds(tree.Call, NAMES, sequence(some))
        | st.builds(tree.List, sequence(some))
    )


EXPRESSIONS_OF = st.recursive(LEAVES, compound, max_leaves=8)
TARGETS = NAMES.map(tree.Name) | st.builds(tree.Index, EXPRESSIONS_OF, EXPRESSIONS_OF)
SIMPLE = (
    st.builds(tree.Declare, NAMES, TYPES, EXPRESSIONS_OF)
    | st.builds(tree.Assign, TARGETS, EXPRESSIONS_OF)
    | st.builds(tree.Augment, TARGETS, st.sampled_from(["+", "-", "*", "//", "%"]), EXPRESSIONS_OF)
    | st.sampled_from([tree.Break(), tree.Continue(), tree.Pass(), tree.Return(None)])
    | st.builds(tree.Assert, EXPRESSIONS_OF, TEXTS)
    | EXPRESSIONS_OF.map(tree.Return)
    | st.builds(tree.Call, NAMES, sequence(EXPRESSIONS_OF)).map(tree.Do)
)
STATEMENTS_OF = st.recursive(
    SIMPLE,
    lambda some: (
        st.builds(tree.If, EXPRESSIONS_OF, sequence(some, 1), sequence(some))
        | st.builds(tree.For, NAMES, EXPRESSIONS_OF, sequence(some, 1))
    ),
    max_leaves=5,
)
FUNCTIONS = st.builds(
    tree.Function,
    NAMES,
    st.sets(st.sampled_from(frontend.MARKS)).map(sorted).map(tuple),
    sequence(st.builds(tree.Parameter, NAMES, TYPES)),
    st.none() | TYPES,
    TEXTS,
    sequence(STATEMENTS_OF, 1),
)
CONTRACTS = st.builds(
    tree.Contract,
    TEXTS,
    sequence(st.builds(tree.Variable, NAMES, TYPES | st.builds(tree.MapOf, PLAIN, TYPES))),
    sequence(FUNCTIONS),
)


@given(CONTRACTS)
def test_the_text_of_a_tree_is_read_as_that_tree(contract: tree.Contract) -> None:
    text = unparse(contract)
    assert text.replace("\n", "").isprintable()
    again = frontend.parse(text)
    assert again == contract
    assert tree.decode(tree.encode(again)) == contract
    assert unparse(again) == text


def test_parentheses_stand_only_where_they_must() -> None:
    lines = [
        "a = (a + b) * (a - (b - 1)) // -5 % -(a + b)",
        "a = a - b - 1 + (a if b else a if a else b)",
        "a = not a == b and (a or b) and not (a and b)",
        "a = (not a) == (a < b)",
        "a = (a if (b if a else b) else a)[0][a + 1].b",
        "a = (-a)[0] + -a[0] + (-5).b + (5).b + (a + b)[0]",
        "xs: list[int] = [a, -5, f(a + b, not a)]",
    ]
    assert unparse(frontend.parse(function(*lines))) == function(*lines) + "\n"


def test_comments_layout_and_needless_parentheses_leave_no_trace() -> None:
    plain = "def f(a: int) -> int:\n    if a > 1 and a < 9:\n        return -a\n    return a\n"
    written = """
# a comment
def f(
    a: int,  # of something
) -> int:
    if ((a > 1) and a < 0x9):
        return (-a)

    return a"""
    assert unparse(frontend.parse(written)) == plain


def test_a_docstring_is_what_one_reads_without_its_indentation() -> None:
    source = 'def f():\n    """First.\n\n    Second:\n      third\n    """\n    pass\n'
    contract = frontend.parse(source)
    assert contract.functions[0].doc == "First.\n\nSecond:\n  third"
    assert unparse(contract) == source
    assert frontend.parse('def f():\n    " raw\\n  "\n    pass').functions[0].doc == " raw\n  "


def test_positions_point_at_what_they_name() -> None:
    contract = frontend.parse("def f():\n    é = 'ü' + g(1)\n")
    (statement,) = contract.functions[0].body
    assert isinstance(statement, tree.Assign)
    assert isinstance(statement.value, tree.Binary)
    assert statement.value.right.at == Position(2, 14, 2, 18)


def test_an_address_is_its_twenty_bytes() -> None:
    contract = frontend.parse(f'def f():\n    a = Address("{ADDRESS}")\n')
    (statement,) = contract.functions[0].body
    assert isinstance(statement, tree.Assign)
    assert statement.value == tree.AddressOf(bytes(range(20)))
    assert ADDRESS in unparse(contract)


# --- the page --------------------------------------------------------------------------------

PAGE = (ROOT / "docs" / "language.md").read_text()


def rows(head: str) -> list[list[str]]:
    """Return the cells of each table with this first cell, and the cells next to it."""
    tables = re.findall(rf"^\| {head} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    assert tables
    lines = "".join(tables).splitlines()
    return [[cell.strip("` ") for cell in line[1:-1].split(" | ")] for line in lines]


def test_the_contracts_on_the_page_are_contracts() -> None:
    found = re.findall(r"^```dii\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found
    for source in found:
        assert unparse(frontend.check(source).contract) == source


def test_the_page_names_everything_that_is_not_in_the_language() -> None:
    assert [tuple(row) for row in rows("not in the language")] == list(
        dict.fromkeys(frontend.REFUSED.values())
    )


def test_the_page_has_the_schedule_of_gas() -> None:
    schedule = {name: value for name, value in vars(gas).items() if name.isupper()}
    assert f"version {schedule.pop('VERSION')} of" in " ".join(PAGE.split())
    shown = {
        name: int(amount.replace(",", "")) for name, amount, *_ in rows("name") if name in schedule
    }
    assert shown == schedule


def test_the_page_names_what_the_host_has_with_its_limits() -> None:
    names = {*host.FUNCTIONS, *host.VARIABLES, "emit", *METRICS, *frontend.MARKS, "reported"}
    words = set(re.findall(r"\w+", " ".join(re.findall(r"`[^`\n]+`", PAGE))))
    assert not names - words
    for fields in host.RECORDS.values():
        assert {*fields} <= words
    for limit in (tree.MAX_NODES, frontend.MAX_SOURCE, tree.MAX_DEPTH, tree.MAX_BYTES >> 10):
        assert f" {limit:,} " in " ".join(PAGE.split())
