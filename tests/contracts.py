"""A world for contracts under test; ``python -m tests.contracts [FRAMES]`` checks trees.

The command needs no package but dii itself, so that every Python on a machine can run it.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dii import codec
from dii.contracts import compiler
from dii.contracts import tree as t
from dii.contracts.values import form
from dii.contracts.vm import Program, Result
from dii.errors import DiiError, InsufficientFunds, TransactionError

ALICE, BOB, SELF = b"a" * 20, b"b" * 20, b"s" * 20


@dataclass
class World:
    """A host over dictionaries; a call through :meth:`call` that fails leaves it as it was."""

    sender: bytes = ALICE
    value: int = 0
    self_address: bytes = SELF
    height: int = 7
    time: int = 1_524_268_800
    epoch: int = 3
    money: int = 0
    storage: dict[bytes, bytes] = field(default_factory=dict)
    paid: list[tuple[bytes, int]] = field(default_factory=list)
    events: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)
    owners: dict[bytes, bytes] = field(default_factory=dict)
    handed_on: dict[bytes, list[tuple[int, bytes | None]]] = field(default_factory=dict)
    measured: dict[tuple[Any, ...], Mapping[str, int]] = field(default_factory=dict)
    refuses: frozenset[bytes] = frozenset()
    deepest: int = 0

    def balance(self) -> int:
        return self.money

    def read(self, key: bytes, /) -> bytes | None:
        return self.storage.get(key)

    def write(self, key: bytes, value: bytes | None, /) -> None:
        if value is None:
            self.storage.pop(key, None)
        else:
            self.storage[key] = value

    def pay(self, to: bytes, amount: int) -> None:
        if to in self.refuses:
            raise InsufficientFunds(account="a contract", balance=0, needed=amount)
        self.money -= amount
        self.paid.append((to, amount))

    def emit(self, event: str, values: tuple[int | bool | str | bytes, ...]) -> None:
        self.events.append((event, values))

    def operator(self, gateway: bytes, epoch: int) -> bytes | None:
        for since, owner in reversed(self.handed_on.get(gateway, ())):
            if since <= epoch:
                return owner
        return self.owners.get(gateway)

    def metrics(self, gateway: bytes, epoch: int) -> Mapping[str, int] | None:
        return self.measured.get((gateway, epoch))

    def usage(self, application: bytes, operator: bytes, epoch: int) -> Mapping[str, int] | None:
        return self.measured.get((application, operator, epoch))

    def call(
        self, program: Program, function: str, *values: Any, gas: int = 10**6, by: str = "external"
    ) -> Result:
        """Call with Python values; the effects of a failed call are undone."""
        before = self.money, dict(self.storage), list(self.paid), list(self.events)
        self.money += self.value
        try:
            return program.run(function, wire(program, function, values), self, gas, by=by)
        except TransactionError:
            self.money, self.storage, self.paid, self.events = before
            raise


def wire(program: Program, function: str, values: Sequence[Any]) -> tuple[Any, ...]:
    kinds = [one.type for one in program.functions[function].parameters]
    return tuple(form(kind).pack(value) for kind, value in zip(kinds, values, strict=True))


def state_of(program: Program, world: World) -> dict[str, Any]:
    """Return the state variables, maps as dictionaries."""
    found: dict[str, Any] = {
        one.name: {} if isinstance(one.type, t.MapOf) else form(one.type).zero
        for one in program.contract.variables
    }
    kinds = {one.name: one.type for one in program.contract.variables}
    for raw, stored in world.storage.items():
        name, *key = codec.decode(raw)
        kind = kinds[name]
        if isinstance(kind, t.MapOf):
            found[name][form(kind.key).unpack(key[0])] = form(kind.value).unpack(
                codec.decode(stored)
            )
        else:
            found[name] = form(kind).unpack(codec.decode(stored))
    return found


def verdict(data: bytes) -> tuple[str, int, str]:
    """Return the result of compiling a tree, else of a call of ``main``, with gas and state."""
    world = World(storage={}, money=1_000)
    try:
        program = compiler.compile(t.decode(data))
        kinds = [one.type for one in program.functions["main"].parameters]
        values = [
            form(kind).pack(SAMPLES[kind.name]) for kind in kinds if isinstance(kind, t.Plain)
        ]
        result = program.run("main", values, world, 60_000)
    except DiiError as error:
        return type(error).__name__, getattr(error, "gas", 0), str(error)
    state = hashlib.sha256(repr(sorted(world.storage.items())).encode()).hexdigest()
    return repr(result.value)[:200], result.gas, state


SAMPLES = {"int": 2**200 + 7, "str": "é🙂", "bytes": b"ab", "bool": True, "Address": BOB}
SAMPLES |= dict.fromkeys(("Money", "Share"), SAMPLES["int"])
SAMPLES |= dict.fromkeys(("Gateway", "Application"), SAMPLES["bytes"])


def main(frames: int) -> None:
    """Read trees as JSON, and print the result of each, at a depth of some frames."""
    if frames:
        main(frames - 1)
        return
    print(json.dumps([verdict(bytes.fromhex(one)) for one in json.load(sys.stdin)], indent=0))


if __name__ == "__main__":
    main(int(sys.argv[1]))
