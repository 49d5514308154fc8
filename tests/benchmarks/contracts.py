"""Metered calls of contracts beside other machines, and whether gas is honest.

A call transfers tokens: two balances in a map are read, compared and written, against a host in
memory, without a signature. starlark-rust and revm do the same, called from Python like ours.

Gas is honest if a unit of it buys about the same time wherever it is spent. Each operation runs
ten times in each turn of a loop, at several sizes; the table shows processor time per gas. Writes,
events and payments are priced for the state that they occupy, not for their time, and look-ups take
the time of the chain. They are shown separately, with the time that the state's tree takes.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from dii import codec
from dii.contracts import compiler
from dii.contracts import tree as t
from dii.contracts.frontend import parse
from dii.contracts.vm import Program
from dii.errors import Reverted
from dii.ledger.tree import Tree
from tests.benchmarks.report import median, peer, show
from tests.contracts import BOB, World

CALLS = 100_000
GAS = 10**9
TOKEN = """
balances: map[Address, int]

@external
def mint(amount: int):
    balances[sender] = get(balances, sender, 0) + amount

@external
def transfer(to: Address, amount: int):
    assert amount > 0, "nothing to transfer"
    have = get(balances, sender, 0)
    assert have >= amount, "too little"
    balances[sender] = have - amount
    balances[to] = get(balances, to, 0) + amount
"""


class Memory(World):
    """A host over a dictionary that ignores payments and events, whose time is not measured."""

    def __post_init__(self) -> None:
        self.read, self.write = self.storage.get, self.put

    def put(self, key: bytes, value: bytes | None) -> None:
        self.storage[key] = value

    def pay(self, to: bytes, amount: int) -> None:
        return None

    def emit(self, event: str, values: tuple[int | bool | str | bytes, ...]) -> None:
        return None


def transfers(token: Program) -> float:
    """Return calls per second."""
    world = Memory()
    token.run("mint", (b"\x40\0\0\0",), world, 100_000)
    arguments = (BOB, b"\x05")
    start = time.perf_counter()
    for _ in range(CALLS):
        token.run("transfer", arguments, world, 100_000)
    return CALLS / (time.perf_counter() - start)


# --- honesty -----------------------------------------------------------------------------------

HEAD = """
n: int
s: str
xs: list[int]
m: map[int, int]
k: map[str, int]
def helper(a: int) -> int:
    return a
@external
def main():
"""
BIG = 2**253
TEXT = "t = 'a'\nfor i in range({n}):\n    t = t + t\nu = t + 'b'\nv = t + 'c'\n"
WIDE = TEXT.replace("'a'", "'🙂'")
DATA = TEXT.replace("'", "b'").replace("bb'", "b'")
INTS = (
    f"t = [{BIG}, 1, {-BIG}, 7]\nfor i in range({{n}}):\n    t = t + t\nu = t + [5]\nv = t + [6]\n"
)
TEXTS = (
    "t = ['b', 'a', 'd', 'c']\nfor i in range({n}):\n    t = t + t\nu = t + ['x']\nv = t + ['y']\n"
)
_DRAW = (
    "z = 1\nt = [{first}]\nfor i in range({{n}} * {{n}}):\n    z = z * 1103515245 % 2147483648\n"
)
DRAWN = (
    _DRAW.format(first="z")
    + f"    t = t + [{', '.join(f'z * {at} % 997' for at in range(1, 17))}]\n"
)
DRAWN_TEXTS = (
    _DRAW.format(first="''")
    + f"    t = t + [{', '.join(f'str(z * {at} % 997)' for at in range(1, 17))}]\n"
)
SIZES = (0, 6, 12)

STEADY = {
    "a constant": ("", "7"),
    "a local": ("x = 1", "x"),
    "x + 1": ("x = 1", "x + 1"),
    "x + y, 253 bits": (f"x = {BIG}", "x + x"),
    "x * y": ("x = 7", "x * x"),
    "x * y, 127 bits": (f"x = {2**127 - 1}", "x * x"),
    "x // y": ("x = 7", "x // x"),
    "x // y, 253 over 127 bits": (f"x = {BIG}\nz = {2**127 - 1}", "x // z"),
    "x % y, 253 over 127 bits": (f"x = {BIG}\nz = {2**127 - 1}", "x % z"),
    "-x": (f"x = {BIG}", "-x"),
    "abs": (f"x = {-BIG}", "abs(x)"),
    "min": ("x = 1\nz = 2", "min(x, z)"),
    "x < y": (f"x = {BIG}", "x < x"),
    "not": ("x = True", "not x"),
    "and, right side run": ("x = True", "x and x"),
    "and, right side skipped": ("x = False", "x and x"),
    "if else": ("x = True\nz = 1", "z if x else z"),
    "xs[i]": ("x = [1, 2]\nz = 1", "x[z]"),
    "[a, b]": ("x = 1", "[x, x]"),
    "[a] of ten": ("x = 1", "[x, x, x, x, x, x, x, x, x, x]"),
    "str, 1 digit": ("x = 7", "str(x)"),
    "str, 77 digits": (f"x = {BIG}", "str(x)"),
    "len": ("x = [1]", "len(x)"),
    "sender": ("", "sender"),
    "balance": ("", "balance"),
    "helper()": ("x = 1", "helper(x)"),
    "a state variable": ("n = 7", "n"),
    "m[k]": ("m[1] = 5\nx = 1", "m[x]"),
    "m[k], 253 bits": (f"m[{BIG}] = {BIG}\nx = {BIG}", "m[x]"),
    "get, absent": ("x = 1", "get(m, x, x)"),
    "k in m": ("x = 1", "x in m"),
}
SIZED = {
    "text + text": (TEXT, "t + u"),
    "wide text + text": (WIDE, "t + u"),
    "text == text": (TEXT, "u == v"),
    "text < text": (TEXT, "u < v"),
    "wide text < text": (WIDE, "u < v"),
    "bytes + bytes": (DATA, "t + u"),
    "sha256": (DATA, "sha256(t)"),
    "list + list": (INTS, "t + u"),
    "list == list": (INTS, "u == v"),
    "list == []": (INTS + "w: list[int] = []", "u == w"),
    "texts == []": (TEXTS + "w: list[str] = []", "u == w"),
    "text == a longer one": (TEXT + "w = t + t", "t == w"),
    "text + a short one": (TEXT + "w = 'x'", "t + w"),
    "a short text in texts": (TEXTS + "w = t + [u[0] + v[0]]", "'z' in w"),
    "x in texts that are long": (TEXT + "w = [t, u, v]", "t in w"),
    "x in list": (INTS, "9 in t"),
    "x in list of texts": (TEXTS, "'z' in t"),
    "texts == texts": (TEXTS, "u == v"),
    "sum": (INTS, "sum(t)"),
    "sorted ints": (DRAWN, "sorted(t)"),
    "sorted texts": (DRAWN_TEXTS, "sorted(t)"),
    "a stored text": (TEXT + "s = t", "s"),
    "a stored list": (INTS.replace("{n}", "{n} * 2 // 3") + "xs = t", "xs"),
    "a key of text": ("t = 'a'\nfor i in range({n} * 2 // 3):\n    t = t + t\n", "t in k"),
}
STATEMENTS = {
    "pass": ("", "pass"),
    "an if": ("x = True", "if x:\n    pass"),
    "an if not taken": ("x = False", "if x:\n    pass"),
    "assert": ("x = True", "assert x"),
    "x += 1": ("x = 1", "x += 1"),
    "an empty loop": ("", "for j in range(0):\n    pass"),
    "a loop of ten": ("", "for j in range(10):\n    pass"),
    "a loop of ten, continue": ("", "for j in range(10):\n    continue"),
    "a loop of ten, 253 bits": ("", f"for j in range({BIG}, {BIG + 10}):\n    pass"),
}
KEPT = {
    "a variable written": ("", "n = 7"),
    "an entry written": ("x = 1", "m[x] = x"),
    "an entry added to": ("m[1] = 1", "m[1] += 1"),
    "an entry removed": ("", "remove(m, 5)"),
    "a text of 4,096 written": (TEXT.format(n=12), "s = t"),
    "a list of 1,024 written": (INTS.format(n=8), "xs = t"),
    "an event": ("", "emit('e', 1)"),
    "an event of 4,096": (TEXT.format(n=12), "emit('e', t)"),
    "a payment": ("", "pay(sender, 1)"),
    "an owner looked up": ("x = b'g'", "y = bound(x, 3)"),
    "metrics looked up": ("x = b'g'", "y = metrics(x, 1).uplinks"),
}


def program(setup: str, statement: str, turns: int) -> Program:
    body = [*setup.splitlines(), f"for q in range({turns}):"]
    body += ["    " + line for line in (statement + "\n").splitlines() * 10]
    return compiler.compile(parse(HEAD + "\n".join("    " + line for line in body)))


def cost(setup: str, statement: str, runs: int = 15) -> float:
    """Return nanoseconds per gas of a statement, least of several runs, without the setup."""

    def once(made: Program) -> tuple[float, int]:
        start = time.process_time_ns()
        result = made.run("main", (), Memory(money=10**9), GAS)
        return time.process_time_ns() - start, result.gas

    def least(made: Program) -> float:
        return min(once(made)[0] for _ in range(runs))

    none, some, turns = program(setup, statement, 0), program(setup, statement, 1), 1
    enough = 1_000_000 + least(none)
    while turns < 4**7 and once(some)[0] < enough:
        turns *= 4
        some, last = program(setup, statement, turns), some
        try:
            once(some)
        except Reverted:  # the room of a call
            some = last
            break
    return (least(some) - least(none)) / (once(some)[1] - once(none)[1])


def honesty() -> list[tuple[str, float]]:
    """Return nanoseconds per gas of everything that is priced for its time."""
    rows = [(name, cost(setup, f"y = {value}")) for name, (setup, value) in STEADY.items()]
    for name, (setup, value) in SIZED.items():
        sizes = [(size, setup.replace("{n}", str(size))) for size in SIZES]
        rows += [(f"{name}, 2**{size}", cost(made, f"y = {value}")) for size, made in sizes]
    return rows + [(name, cost(*two)) for name, two in STATEMENTS.items()]


def compiling() -> tuple[float, int]:
    """Return the most nanoseconds per gas of compiling a kind of tree, and that tree's size."""
    from tests.programs import Writer

    def wide(nodes: Callable[[int], t.Statement], count: int) -> t.Contract:
        body = tuple([nodes(at) for at in range(count)])
        return t.Contract("", (), (t.Function("f", ("external",), (), None, "", body),))

    trees = [
        parse(TOKEN),
        *[parse(Writer(seed).program()) for seed in range(5)],
        wide(lambda _: t.Pass(), 4_000),
        wide(lambda at: t.Assign(t.Name(f"y{at}"), t.Int(at)), 1_300),
        wide(lambda _: t.If(t.Bool(value=True), (t.Pass(),), (t.Pass(),)), 1_000),
        t.Contract("", tuple([t.Variable(f"v{at}", t.Plain("int")) for at in range(2_000)]), ()),
    ]
    return max(map(compile_cost, trees))


def compile_cost(tree: t.Contract) -> tuple[float, int]:
    data = t.encode(tree)
    times = []
    for _ in range(5):
        start = time.process_time_ns()
        compiler.compile(t.decode(data))
        times.append(time.process_time_ns() - start)
    return min(times) / compiler.gas.compile_gas(len(data)), len(data)


def writing() -> float:
    """Return nanoseconds per key that the state's tree takes in a block of 10,000."""
    keys = [(codec.encode(("balances", number.to_bytes(20))), b"\x45") for number in range(60_000)]
    tree = Tree().update(keys)
    start = time.process_time_ns()
    tree.update([(key, b"\x46") for key, _ in keys[::6]]).root  # noqa: B018 - computes it
    return (time.process_time_ns() - start) / 10_000


def main() -> None:
    """Measure and print."""
    token = compiler.compile(parse(TOKEN))
    middle, least, most = median(lambda: transfers(token))
    shown = [
        ("token transfers", f"{middle:,.0f}/s ({least:,.0f}-{most:,.0f})"),
        ("revm, through pyrevm", peer("machines.py", "revm")),
        ("starlark-rust, not metered", peer("machines.py", "starlark")),
    ]
    show("Metered contract calls", shown, f"median of 5 runs of {CALLS:,}, in memory, no signature")
    rows = sorted(honesty(), key=lambda row: row[1])
    ratio = rows[-1][1] / rows[0][1]
    table = [(name, f"{value:6.1f}") for name, value in rows]
    show("Gas: nanoseconds each", table, f"worst over best: {ratio:.1f}")
    kept = [(name, f"{cost(*two):6.1f}") for name, two in KEPT.items()]
    kept.append(
        (
            "a key in the tree of the state, over the price of writing",
            f"{writing() / compiler.gas.WRITE:6.1f}",
        )
    )
    value, size = compiling()
    kept.append((f"compiling, the slowest of several trees ({size:,} bytes)", f"{value:6.1f}"))
    show("Gas of what is kept or looked up, with a host in memory: nanoseconds each", kept)


if __name__ == "__main__":
    main()
