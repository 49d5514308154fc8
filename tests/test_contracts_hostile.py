"""Contracts of attackers: none gets more work than the gas that it pays for."""

from __future__ import annotations

import ast
import tracemalloc
from dataclasses import replace
from random import Random
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dii import codec
from dii.contracts import compiler, gas, tree
from dii.contracts.frontend import parse
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
from tests.hostile import BURNERS, FORGED, burner, contract, value
from tests.programs import Writer
from tests.require import ROOT

# --- what burns ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BURNERS)
@pytest.mark.parametrize("limit", [20_000, 400_000])
def test_burners_are_stopped_within_their_gas_and_in_bounded_memory(name, limit):
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


# --- what no parser would emit -------------------------------------------------------------------


def nested(depth: int) -> tree.Expression:
    return tree.Int(1) if not depth else tree.Binary("+", nested(depth - 1), tree.Int(1))


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
        data = tree.encode(FORGED[name])
    except DiiError:  # what even the wire does not carry
        return
    with pytest.raises(BadProgram):
        compiler.compile(tree.decode(data))


def test_all_faults_are_reported_at_once():
    source = (
        "n: float\n@view\ndef f(x: int) -> int:\n"
        "    n = 'a'\n    y = z\n    if x:\n        pass\n    q = 1 + b''\n"
    )
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
    wide = contract(*[tree.Assign(tree.Name(f"y{at}"), tree.Int(at)) for at in range(1_300)])
    tracemalloc.start()
    program = compiler.compile(tree.decode(tree.encode(wide)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000
    assert World().call(program, "main", 1, "").gas > 1_300
    deep = value(nested(tree.MAX_DEPTH - 4))
    assert (
        World().call(compiler.compile(tree.decode(tree.encode(deep))), "main", 1, "").value is None
    )
    with pytest.raises(BadContract):
        tree.encode(value(nested(tree.MAX_DEPTH)))


# --- fuzz ----------------------------------------------------------------------------------------

SEEDS = [parse(Writer(seed).program()) for seed in range(4)]


def attempt(sent: tree.Contract) -> None:
    """Compile and run; any error that is not a named one of ours is a defect and is raised."""
    try:
        program = compiler.compile(sent)
    except BadProgram:
        return
    for name, one in program.functions.items():
        kinds = [each.type for each in one.parameters]
        values = [
            form(kind).pack(SAMPLES[kind.name]) for kind in kinds if isinstance(kind, tree.Plain)
        ]
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
            attempt(tree.decode(codec.encode(wire)))
        except BadContract:
            continue


@given(st.integers(0, 2**32))
def test_swapped_nodes_give_named_errors_only(seed):
    """Mutations that keep the shape, so that the compiler has to refuse them."""
    random = Random(seed)
    nodes: dict[type, list[tree.Node]] = {}
    stack: list[tree.Node] = [random.choice(SEEDS), *random.sample(list(FORGED.values()), 20)]
    while stack:
        node = stack.pop()
        nodes.setdefault(GROUPS.get(type(node), type(node)), []).append(node)
        stack += tree.children(node)

    def swap(item: Any) -> Any:
        if isinstance(item, tuple):
            return tuple([swap(one) for one in item])
        if not isinstance(item, tree.Node):
            return item
        if random.random() < 0.02 and not isinstance(item, tree.Contract):
            return random.choice(nodes[GROUPS.get(type(item), type(item))])
        fields = {name: swap(getattr(item, name)) for name in type(item).__match_args__}
        return replace(item, **fields)

    swapped = swap(random.choice(SEEDS))
    try:
        data = codec.dumps(swapped)
        attempt(tree.decode(data))
    except DiiError:
        return


GROUPS = {
    kind: group
    for alias, group in ((tree.Expression, tree.Int), (tree.Statement, tree.Pass))
    for kind in get_args(get_args(alias)[0])
}
"""Node class to the representative of its group; nodes of a group may replace each other."""


@given(st.data())
def test_mutated_bytes_give_named_errors_only(data):
    wire = bytearray(tree.encode(data.draw(st.sampled_from(SEEDS))))
    for _ in range(data.draw(st.integers(1, 4))):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    try:
        attempt(tree.decode(bytes(wire)))
    except BadContract:
        return


# --- no way to Python ----------------------------------------------------------------------------


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
