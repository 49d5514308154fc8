"""The receipts tree against RFC 9162 and the published vectors of Certificate Transparency."""

from __future__ import annotations

from hashlib import sha256
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dii.errors import LedgerError
from dii.ledger.log import EMPTY_ROOT, LogBuilder, prove, root_of, verify
from tests.proofs import unproven

# Leaves, roots after 1 to 8 of them, and audit paths by (leaf, size): the vectors of the Merkle
# tree tests of google/certificate-transparency.
LEAVES = [
    bytes.fromhex(leaf)
    for leaf in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
PATHS = {
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}


def defined_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 9162 section 2.1.1, word for word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return sha256(b"\x01" + defined_root(leaves[:k]) + defined_root(leaves[k:])).digest()


def defined_path(m: int, leaves: list[bytes]) -> list[bytes]:
    """PATH of RFC 9162 section 2.1.3.1, word for word."""
    if len(leaves) == 1:
        return []
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    if m < k:
        return [*defined_path(m, leaves[:k]), defined_root(leaves[k:])]
    return [*defined_path(m - k, leaves[k:]), defined_root(leaves[:k])]


def some(count: int) -> list[bytes]:
    return [b"receipt %d" % number for number in range(count)]


def test_the_published_roots():
    assert EMPTY_ROOT.hex() == root_of([]).hex() == LogBuilder().root().hex()
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    log = LogBuilder()
    for count, (leaf, root) in enumerate(zip(LEAVES, ROOTS), 1):
        log.extend([leaf])
        assert log.root().hex() == root == root_of(LEAVES[:count]).hex()


@pytest.mark.parametrize(("index", "count"), PATHS)
def test_the_published_paths(index, count):
    proof = prove(LEAVES[:count], index)
    assert [sibling.hex() for sibling in proof] == PATHS[index, count]
    verify(bytes.fromhex(ROOTS[count - 1]), count, index, LEAVES[index], proof)


def test_growing_one_by_one_gives_the_defined_root_at_every_size():
    leaves, log = some(130), LogBuilder()
    for count in range(131):
        assert log.count == count
        assert log.root() == root_of(leaves[:count]) == defined_root(leaves[:count])
        log = LogBuilder(log.count, log.edge)
        log.extend(leaves[count : count + 1])


@given(st.lists(st.integers(0, 70), max_size=6))
def test_a_log_resumed_from_its_edge_grows_as_if_never_stopped(sizes):
    leaves, log = some(sum(sizes)), LogBuilder()
    for size in sizes:
        resumed = LogBuilder(log.count, log.edge)
        resumed.extend(iter(leaves[log.count : log.count + size]))
        log = resumed
        assert len(log.edge) == log.count.bit_count()
    assert log.root() == defined_root(leaves)


@pytest.mark.parametrize(("count", "edge"), [(0, 1), (1, 0), (2, 2), (3, 1), (8, 2)])
def test_an_edge_that_does_not_belong_to_its_count_is_refused(count, edge):
    with pytest.raises(LedgerError):
        LogBuilder(count, (bytes(32),) * edge)


def test_every_leaf_at_every_size_is_proved():
    for count in range(1, 131):
        leaves = some(count)
        root = defined_root(leaves)
        indexes = range(count) if count < 34 else (0, 1, count // 2, 63, count - 2, count - 1)
        for index in indexes:
            if index < count:
                proof = prove(leaves, index)
                assert list(proof) == defined_path(index, leaves)
                verify(root, count, index, leaves[index], proof)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 21])
def test_no_bit_of_a_proof_and_no_other_leaf_index_or_size_is_accepted(count):
    leaves = some(count)
    root = root_of(leaves)
    for index in range(count):
        proof = prove(leaves, index)
        for number, sibling in enumerate(proof):
            for position in range(256):
                mutant = bytearray(sibling)
                mutant[position // 8] ^= 1 << position % 8
                forged = (*proof[:number], bytes(mutant), *proof[number + 1 :])
                unproven(verify, root, count, index, leaves[index], forged)
        unproven(verify, root, count, index, leaves[index] + b"\0", proof)
        unproven(verify, bytes(32), count, index, leaves[index], proof)
        for other in (-1, *range(count + 1)):
            if other != index:
                unproven(verify, root, count, other, leaves[index], proof)
        for longer in ((*proof, bytes(32)), (bytes(32), *proof), (*proof, root)):
            unproven(verify, root, count, index, leaves[index], longer)
        for shorter in (proof[1:], proof[:-1]):
            if proof:
                unproven(verify, root, count, index, leaves[index], shorter)
        for one, two in pairwise(range(len(proof))):
            swapped = list(proof)
            swapped[one], swapped[two] = proof[two], proof[one]
            unproven(verify, root, count, index, leaves[index], tuple(swapped))


def test_a_branch_cannot_pass_for_a_leaf():
    leaves = some(4)
    left, right = (sha256(b"\x00" + leaf).digest() for leaf in leaves[:2])
    proof = prove(leaves, 0)
    unproven(verify, root_of(leaves), 2, 0, left + right, proof[1:])
    unproven(verify, root_of(leaves), 2, 0, b"\x01" + left + right, proof[1:])


def test_leaves_of_a_longer_list_do_not_pass_for_those_of_a_shorter():
    leaves = some(4)
    unproven(verify, root_of(leaves), 1, 0, leaves[3], prove(leaves, 3))
    unproven(verify, root_of(leaves), 2, 1, leaves[3], prove(leaves, 3))


def test_siblings_are_32_bytes_so_that_a_pair_is_cut_in_one_way():
    leaves = some(2)
    (sibling,) = prove(leaves, 0)
    unproven(verify, root_of(leaves), 2, 0, leaves[0], (sibling + b"\0",))
    unproven(verify, root_of(leaves), 2, 0, leaves[0], (sibling[:31],))


@pytest.mark.parametrize(("count", "index"), [(0, 0), (3, 3), (3, -1)])
def test_there_is_no_proof_of_a_leaf_that_is_not_there(count, index):
    with pytest.raises(LedgerError):
        prove(some(count), index)
    unproven(verify, root_of(some(count)), count, index, b"", ())
