"""A search for work that gas does not pay for: random expressions on large values, timed.

There are values of every type: empty, small and large, ASCII and wide, equal but not identical. The
time per gas of an expression over them is compared with that of the benchmark's steady operations.
"""

from __future__ import annotations

import random
import sys

from dii.errors import BadSource, Reverted
from tests.benchmarks.contracts import BIG, STEADY, cost

WORST_OVER_BEST = 10
NORMAL = ("a local", "x + 1", "x < y", "if else", "xs[i]", "helper()", "m[k]", "k in m", "len")
SHOWN = 5

SETUP = f"""
n0 = 7
n1 = {BIG}
s0 = ''
s1 = 'a'
for i in range(16):
    s1 = s1 + s1
s2 = s1 + 'b'
s3 = s1 + 'c'
s4 = s1 + '🙂'
s5 = s1 + 'é'
d0 = b''
d1 = b'a'
for i in range(16):
    d1 = d1 + d1
d2 = d1 + b'b'
d3 = d1 + b'c'
e: list[int] = []
v0 = e
v1 = [n1, n1 - 1, 1, 7]
for i in range(10):
    v1 = v1 + v1
v2 = v1 + [n1 + 1 - 1]
v3 = v1 + [n1 + 2 - 1]
f: list[str] = []
t0 = f
t1 = [s1, s2, '', 'x']
t2 = ['b', 'a', 'd', 'c']
for i in range(10):
    t2 = t2 + t2
t3 = t2 + [s2]
t4 = t2 + [s1 + 'b']
t5 = t2 + [s4]
g: list[bytes] = []
w0 = g
w1 = [b'b', b'a', d1, d2]
for i in range(8):
    w1 = w1 + w1
w2 = w1 + [d3]
"""
NAMES = {
    "int": ("n0", "n1"),
    "str": ("s0", "s1", "s2", "s3", "s4", "s5"),
    "bytes": ("d0", "d1", "d2", "d3"),
    "list[int]": ("v0", "v1", "v2", "v3"),
    "list[str]": ("t0", "t1", "t2", "t3", "t4", "t5"),
    "list[bytes]": ("w0", "w1", "w2"),
}
FORMS = {
    "int": (
        "{int} + {int}", "{int} * {int}", "{int} // {int}", "{int} % {int}", "min({int}, {int})",
        "len({str})", "len({bytes})", "len({list[int]})", "len({list[str]})", "sum({list[int]})",
        "abs({int})", "-({int})", "{bytes}[{int}]", "{list[int]}[{int}]",
        "({int} if {bool} else {int})",
    ),
    "str": ("{str} + {str}", "str({int})", "{list[str]}[{int}]", "({str} if {bool} else {str})"),
    "bytes": ("{bytes} + {bytes}", "sha256({bytes})", "{list[bytes]}[{int}]"),
    "list[int]": ("{list[int]} + {list[int]}", "[{int}, {int}]", "sorted({list[int]})"),
    "list[str]": ("{list[str]} + {list[str]}", "[{str}, {str}]", "sorted({list[str]})"),
    "list[bytes]": ("{list[bytes]} + {list[bytes]}", "sorted({list[bytes]})"),
    "bool": (
        *(f"{{{kind}}} {op} {{{kind}}}" for kind in NAMES for op in ("==", "!=")),
        *(f"{{{kind}}} {op} {{{kind}}}" for kind in ("int", "str", "bytes") for op in ("<", "<=")),
        "{int} in {list[int]}", "{str} in {list[str]}", "{bytes} in {list[bytes]}",
        "not {bool}", "({bool} and {bool})", "({bool} or {bool})",
    ),
}  # fmt: skip


def draw(chance: random.Random, kind: str, depth: int) -> str:
    """Return an expression of a type that the language has, in parentheses."""
    if kind in NAMES and (not depth or chance.random() < 0.3):
        return chance.choice(NAMES[kind])
    text = chance.choice(FORMS[kind] if depth else FORMS[kind][:8])
    for inner in FORMS:
        while f"{{{inner}}}" in text:
            text = text.replace(f"{{{inner}}}", draw(chance, inner, max(0, depth - 1)), 1)
    return f"({text})"


def search(times: int, seed: int) -> tuple[float, list[tuple[float, str]]]:
    """Return the least nanoseconds per gas of normal work, and the most of drawn expressions."""
    best = min(cost(setup, f"y = {value}") for setup, value in map(STEADY.__getitem__, NORMAL))
    chance, found = random.Random(seed), []
    for _ in range(times):
        text = draw(chance, chance.choice([*FORMS]), chance.randint(1, 3))
        try:
            found.append((cost(SETUP, f"y = {text}", 3), text))
        except (Reverted, BadSource):
            continue  # a division by zero, an index too many
    worst = [text for _, text in sorted(found, reverse=True)[:SHOWN]]  # some by chance: once more
    return best, sorted(((cost(SETUP, f"y = {text}"), text) for text in worst), reverse=True)


def main(times: int) -> None:
    """Search, print the worst, and fail if one is far worse than normal work."""
    seed = random.SystemRandom().randrange(1 << 32)
    best, worst = search(times, seed)
    print(f"gas: {times} expressions, seed {seed}; normal from {best:.0f} ns a gas; the worst:")
    for value, text in worst:
        print(f"  {value:6.0f} ns a gas  {text}")
    if worst and worst[0][0] > WORST_OVER_BEST * best:
        sys.exit(f"gas: worst over best is {worst[0][0] / best:.1f}, above {WORST_OVER_BEST}")
