"""Merkle tree over a list, as in RFC 9162 (Certificate Transparency): the tree of receipts.

The problem: an epoch has up to a million receipts, too many for the state, yet each must be
provable against a header. So the state keeps one root per epoch and stream, and a receipt carries
its path to that root. Settling is spread over many blocks, hence the root must be computable piece
by piece from a small cursor.

The design: the hashes of RFC 9162 section 2.1.1 (those of RFC 6962). Hash of a leaf
SHA-256(00 | data), of a branch SHA-256(01 | left | right), of no leaves SHA-256(""); of n > 1
leaves the left branch holds the largest power of two below n. A list that grows at its end only
ever changes this tree along its right edge: one complete subtree for each one-bit of n. These at
most 64 hashes are all that :class:`LogBuilder` keeps.

The sparse tree of the state would serve as well, at four times the cost, and could not tell that
the list of receipts is complete and in gateway order: here count and index are proved, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final

from dii import codec, errors

EMPTY_ROOT: Final = codec.Root(sha256(b"").digest())

# Copying a started hash is a tenth quicker than starting one.
_start_leaf = sha256(b"\0").copy
_start_branch = sha256(b"\1").copy


class LogBuilder:
    """Root of a growing list, computed from its right edge alone.

    Parameters
    ----------
    count, edge
        State of another builder, to continue from; none to begin.

    Attributes
    ----------
    count
        Leaves so far.
    edge
        Roots of the complete subtrees from left to right; the one-bits of ``count`` are their
        sizes.

    Raises
    ------
    LedgerError
        ``edge`` does not belong to ``count``.
    """

    __slots__ = ("count", "edge")

    def __init__(self, count: int = 0, edge: tuple[bytes, ...] = ()) -> None:
        if len(edge) != count.bit_count():
            message = f"an edge of {len(edge)} hashes is none of {count} leaves"
            raise errors.LedgerError(message=message)
        self.count = count
        self.edge = edge

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Add leaves in order."""
        level = _hash_leaves(leaves)
        edge, old, done = list(self.edge), self.count, []
        self.count += len(level)
        # Level by level: what the edge holds at this height comes first, and a last one without
        # a partner is the new edge there.
        for height in range(self.count.bit_length()):
            if old >> height & 1:
                level.insert(0, edge.pop())
            if len(level) & 1:
                done.append(level.pop())
            level = _hash_pairs(level)
        self.edge = tuple(reversed(done))

    def root(self) -> codec.Root:
        """Return the root of all leaves so far."""
        if not self.edge:
            return EMPTY_ROOT
        root = self.edge[-1]
        for left in reversed(self.edge[:-1]):
            root = sha256(b"\1" + left + root).digest()
        return codec.Root(root)


def _hash_leaves(leaves: Iterable[bytes]) -> list[bytes]:
    hashes = []
    for leaf in leaves:
        digest = _start_leaf()
        digest.update(leaf)
        hashes.append(digest.digest())
    return hashes


def _hash_pairs(level: list[bytes]) -> list[bytes]:
    hashes = []
    each = iter(level)
    for left, right in zip(each, each):
        digest = _start_branch()
        digest.update(left)
        digest.update(right)
        hashes.append(digest.digest())
    return hashes


def root_of(leaves: Iterable[bytes]) -> codec.Root:
    """Return the root of a whole list."""
    log = LogBuilder()
    log.extend(leaves)
    return log.root()


def prove(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """Return the siblings on the path from a leaf to the root (RFC 9162 section 2.1.3.1)."""
    if not 0 <= index < len(leaves):
        raise errors.LedgerError(message=f"there is no leaf {index} among {len(leaves)}")
    level, proof = _hash_leaves(leaves), []
    while len(level) > 1:
        if index ^ 1 < len(level):
            proof.append(level[index ^ 1])
        last = level[-1:] if len(level) & 1 else []
        level = _hash_pairs(level) + last
        index >>= 1
    return tuple(proof)


def verify(root: codec.Root, count: int, index: int, data: bytes, proof: tuple[bytes, ...]) -> None:
    """Check that ``data`` is leaf ``index`` of the ``count`` leaves under a trusted root.

    The algorithm is RFC 9162 section 2.1.3.2. ``count`` must be trusted like the root.

    Raises
    ------
    ProofInvalid
        It does not follow from the proof.
    """
    if not 0 <= index < count:
        raise errors.ProofInvalid(message=f"there is no leaf {index} among {count}")
    digest = sha256(b"\0" + data).digest()
    last = count - 1
    for sibling in proof:
        if last == 0:
            raise errors.ProofInvalid(message="it has too many hashes")
        if index & 1 or index == last:
            digest = sha256(b"\1" + sibling + digest).digest()
            while not index & 1 and index:
                index >>= 1
                last >>= 1
        else:
            digest = sha256(b"\1" + digest + sibling).digest()
        index >>= 1
        last >>= 1
    if last:
        raise errors.ProofInvalid(message="it has too few hashes")
    if digest != root:
        raise errors.ProofInvalid(message=f"it leads to {digest.hex()}, not to {root.hex()}")
