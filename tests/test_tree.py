"""The state tree against its definition, and its proofs against forgers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dii import codec
from dii.errors import CodecError, ShapeMismatch
from dii.ledger.tree import EMPTY_ROOT, Tree, TreeProof, verify_absence, verify_inclusion
from tests.proofs import unproven

Pairs = dict[bytes, bytes]


def path_of(key: bytes) -> bytes:
    return sha256(key).digest()


def bit(path: bytes, depth: int) -> str:
    return f"{int.from_bytes(path, 'big'):0256b}"[depth]


def defined_root(pairs: Pairs) -> bytes:
    """The definition, word for word: no batches, no sharing, no order of arrival."""

    def subtree(leaves: list[tuple[bytes, bytes]], depth: int) -> bytes:
        if not leaves:
            return bytes(32)
        if len(leaves) == 1:
            return sha256(b"\x00" + leaves[0][0] + leaves[0][1]).digest()
        left = [leaf for leaf in leaves if bit(leaf[0], depth) == "0"]
        right = [leaf for leaf in leaves if bit(leaf[0], depth) == "1"]
        return sha256(b"\x01" + subtree(left, depth + 1) + subtree(right, depth + 1)).digest()

    return subtree([(path_of(key), path_of(value)) for key, value in pairs.items()], 0)


def shared_bits(one: bytes, other: bytes) -> int:
    return 256 - (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_length()


def neighbours() -> list[bytes]:
    """Keys made to lie close: the 16 closest pairs of paths among 20,000, and a few others."""
    keys = sorted((b"key %d" % number for number in range(20_000)), key=path_of)
    pairs = sorted(pairwise(keys), key=lambda two: -shared_bits(*map(path_of, two)))
    chosen = dict.fromkeys(key for two in pairs[:16] for key in two)
    return [*chosen, *(b"far %d" % number for number in range(16))]


KEYS = neighbours()
KEY = st.sampled_from(KEYS)
PAIRS = st.dictionaries(KEY, st.binary(max_size=4))
CHANGE = st.tuples(KEY, st.none() | st.binary(max_size=4))


def tree_of(pairs: Pairs) -> Tree:
    return Tree().update(pairs.items())


def some_tree(size: int, seed: int = 1) -> tuple[Pairs, Tree]:
    random = Random(seed)
    pairs = {random.randbytes(20): random.randbytes(9) for _ in range(size)}
    return pairs, tree_of(pairs)


def test_the_neighbours_share_prefixes_that_chance_alone_would_not_give():
    closest = max(shared_bits(path_of(a), path_of(b)) for a, b in zip(KEYS[:32:2], KEYS[1:32:2]))
    assert closest >= 20


def test_the_empty_tree_has_the_root_zero():
    assert Tree().root == EMPTY_ROOT == bytes(32) == defined_root({})
    assert len(Tree()) == 0


def test_a_lone_leaf_is_the_root():
    leaf = sha256(b"\x00" + path_of(b"key") + path_of(b"value")).digest()
    assert tree_of({b"key": b"value"}).root == leaf


def test_a_thousand_pairs_have_the_root_of_the_definition():
    pairs, tree = some_tree(1000)
    assert tree.root == defined_root(pairs)
    assert len(tree) == 1000


@given(st.lists(st.lists(CHANGE, max_size=24), max_size=8))
@settings(max_examples=400)
def test_after_any_batches_the_root_is_that_of_the_remaining_pairs(batches):
    tree, pairs = Tree(), {}
    for batch in batches:
        tree = tree.update(batch)
        for key, value in batch:
            if value is None:
                pairs.pop(key, None)
            else:
                pairs[key] = value
        assert tree.root == defined_root(pairs)
        assert len(tree) == len(pairs)


@given(PAIRS, PAIRS, st.randoms(use_true_random=False))
def test_the_way_to_a_set_does_not_show_in_its_root(pairs, detour, random):
    changes: list[tuple[bytes, bytes | None]] = list(pairs.items())
    random.shuffle(changes)
    tree = tree_of(detour)
    for change in changes:
        tree = tree.update([change])
    tree = tree.update((key, None) for key in detour if key not in pairs)
    assert tree.root == tree_of(pairs).root


@given(PAIRS, st.lists(CHANGE, max_size=24))
def test_an_update_leaves_the_old_tree_as_it_was(pairs, batch):
    tree = tree_of(pairs)
    tree.update(batch)
    assert tree.root == defined_root(pairs)
    assert len(tree) == len(pairs)
    for key, value in pairs.items():
        verify_inclusion(tree.root, key, value, tree.prove(key))


def test_a_failed_update_leaves_the_old_tree_as_it_was():
    pairs, tree = some_tree(100)
    with pytest.raises(TypeError):
        tree.update([(b"a", b"1"), (b"b", "text")])  # type: ignore[list-item]
    assert tree.root == defined_root(pairs)


@given(PAIRS, st.lists(CHANGE, max_size=24))
@settings(max_examples=200)
def test_every_key_is_proved_present_or_absent(pairs, batch):
    tree = tree_of(pairs).update(batch)
    for key, value in dict(batch).items():
        pairs[key] = value
    for key in KEYS:
        proof = codec.loads(TreeProof, codec.dumps(tree.prove(key)))
        value = pairs.get(key)
        if value is None:
            verify_absence(tree.root, key, proof)
            unproven(verify_inclusion, tree.root, key, b"", proof)
        else:
            verify_inclusion(tree.root, key, value, proof)
            unproven(verify_absence, tree.root, key, proof)
            unproven(verify_inclusion, tree.root, key, value + b"\0", proof)


def test_all_is_absent_from_the_empty_tree_and_nothing_is_present():
    proof = Tree().prove(b"key")
    assert proof == TreeProof((), None)
    verify_absence(EMPTY_ROOT, b"key", proof)
    unproven(verify_inclusion, EMPTY_ROOT, b"key", b"", proof)
    unproven(verify_absence, tree_of({b"key": b""}).root, b"key", proof)


def test_both_kinds_of_absence_occur():
    _, tree = some_tree(50)
    kinds = {tree.prove(b"%d" % number).other is None for number in range(50)}
    assert kinds == {True, False}


@pytest.mark.parametrize("size", [1, 2, 3, 40])
def test_no_bit_of_a_proof_can_be_changed(size):
    pairs, tree = some_tree(size)
    present = next(iter(pairs))
    absent = [b"%d" % number for number in range(8)]
    for key in [present, *absent]:
        data = codec.dumps(tree.prove(key))
        for position in range(8 * len(data)):
            mutant = bytearray(data)
            mutant[position // 8] ^= 1 << position % 8
            try:
                proof = codec.loads(TreeProof, bytes(mutant))
            except (CodecError, ShapeMismatch):
                continue
            unproven(verify_absence, tree.root, key, proof)
            unproven(verify_inclusion, tree.root, key, pairs.get(key, b""), proof)


def test_a_proof_holds_for_its_key_value_and_root_only():
    pairs, tree = some_tree(200)
    later = tree.update([(b"another", b"pair")])
    keys = list(pairs)
    for key, other in pairwise(keys):
        proof = tree.prove(key)
        verify_inclusion(tree.root, key, pairs[key], proof)
        unproven(verify_inclusion, tree.root, other, pairs[other], proof)
        unproven(verify_inclusion, tree.root, key, pairs[other], proof)
        unproven(verify_inclusion, later.root, key, pairs[key], proof)
    for number in range(50):
        absent = b"%d" % number
        unproven(verify_absence, later.root, absent, tree.prove(absent))


def test_absence_cannot_be_shown_by_a_leaf_from_elsewhere():
    pairs, tree = some_tree(200)
    present, stranger = list(pairs)[:2]
    elsewhere = replace(tree.prove(stranger), other=(path_of(stranger), path_of(pairs[stranger])))
    unproven(verify_absence, tree.root, present, elsewhere)
    in_place = replace(tree.prove(present), other=(path_of(present), path_of(pairs[present])))
    unproven(verify_absence, tree.root, present, in_place)


@pytest.mark.parametrize("size", [1, 20])
@pytest.mark.parametrize("cut", [0, 1, 31, 33, 63, 64])
def test_a_leaf_cannot_be_cut_elsewhere_to_look_like_another(cut, size):
    pairs, tree = some_tree(size)
    key = next(iter(pairs))
    leaf = path_of(key) + path_of(pairs[key])
    forged = replace(tree.prove(key), other=(leaf[:cut], leaf[cut:]))
    unproven(verify_absence, tree.root, key, forged)


def test_a_proof_of_inclusion_names_no_other_leaf():
    pairs, tree = some_tree(20)
    key, other = list(pairs)[:2]
    proof = replace(tree.prove(key), other=(path_of(other), path_of(pairs[other])))
    unproven(verify_inclusion, tree.root, key, pairs[key], proof)


def test_a_branch_cannot_pass_for_a_leaf_nor_the_way_be_cut_or_prolonged():
    pairs, tree = some_tree(20)
    key = next(iter(pairs))
    proof = tree.prove(key)
    forgeries = [
        proof.siblings[1:],
        proof.siblings[:-1],
        (*proof.siblings, bytes(32)),
        (bytes(32), *proof.siblings),
        (proof.siblings[0] + b"\0", *proof.siblings[1:]),
        (b"", *proof.siblings),
        proof.siblings * 99,
    ]
    for siblings in forgeries:
        forged = replace(proof, siblings=siblings)
        unproven(verify_inclusion, tree.root, key, pairs[key], forged)
        unproven(verify_absence, tree.root, key, forged)


def test_a_proof_is_about_as_long_as_the_logarithm_of_the_keys():
    pairs, tree = some_tree(4096)
    assert max(len(tree.prove(key).siblings) for key in pairs) < 2 * 12 + 10


def frames() -> int:
    frame, count = sys._getframe(), 0
    while frame:
        frame, count = frame.f_back, count + 1  # type: ignore[assignment]
    return count


def at_depth(limit: int, work: Callable[[], bytes]) -> bytes:
    return work() if frames() >= limit else at_depth(limit, work)


def test_the_tree_works_800_frames_deep():
    pairs, tree = some_tree(5000)
    batch = [(key, None) for key in KEYS] + [(key, b"") for key in KEYS[::2]]
    changes = [*batch, *((key, None) for key in list(pairs)[::2])]

    expected = tree.update(changes).root
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)
    try:
        deep = at_depth(800, lambda: Tree().update(pairs.items()).update(changes).root)
    finally:
        sys.setrecursionlimit(limit)
    assert deep == expected
