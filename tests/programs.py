"""Random programs in the pure part of the contract language."""

from __future__ import annotations

from random import Random

from dii.contracts.values import LEAST, MOST

STATE = """total: int
name: str
ready: bool
blob: bytes
xs: list[int]
m: map[int, int]
tags: map[str, str]
"""
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
    """Writer of programs of the language that pass every check."""

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
        """Draw usually something that works, and sometimes anything."""
        return self.value(kind, 1) if self.random.random() < 0.05 else usual

    def divisor(self) -> str:
        return self.rarely(str(self.pick([one for one in INTS if one])), "int")

    def index(self) -> str:
        return self.rarely(str(self.pick((0, -1))), "int")

    def key(self) -> str:
        return self.rarely(str(self.random.randrange(-3, 4)), "int")

    def block(self, indent: str, depth: int) -> list[str]:
        """Return statements; names that they assign first are known only within them."""
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
