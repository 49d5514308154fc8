"""Proofs that travel: a state value, or its absence, against a trusted header hash.

A proof carries its header. A reader who trusts the header's hash, from a friend, a newspaper or a
light client, needs nothing else: hash the header, read the state root in it, walk the tree.

The file is JSON that a page of code in any language can check (``docs/proofs.md``). It is read
strictly: a file must be exactly the one that would be written for its content, so that it cannot
hold statements that its checker ignores and its reader believes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from dii import codec, errors
from dii.ledger.block import Header
from dii.ledger.state import State
from dii.ledger.tree import TreeProof, verify_absence, verify_inclusion

FORMAT: Final = "dii/proof/1"
MAX_BYTES: Final = 1 << 20
"""Bytes of a proof file; one of a million receipts has about 10 KB."""
RECORD: Final = "record"
_SHAPES: Final = (errors.CodecError, errors.ShapeMismatch)
GENESIS_KEY: Final = codec.encode(("genesis",))
"""Key of the genesis record: the network, its currency, and whether its traffic is generated."""


class Proof(codec.Record):
    """Proof that a state key has a value, or none, after the block before a header.

    Attributes
    ----------
    header
        The header whose ``app_hash`` is the root.
    key, value
        The state key and its canonical bytes; None for absence.
    tree
        Siblings on the way to the root.
    genesis, genesis_tree
        Value of the genesis record, and its path to the root: every proof states the kind of
        network that it comes from.
    """

    header: Header
    key: bytes
    value: bytes | None
    tree: TreeProof
    genesis: bytes
    genesis_tree: TreeProof

    @classmethod
    def of(cls, header: Header, state: State, key: bytes) -> Proof:
        """Return the proof of a key's value or absence in the state that a header proves."""
        genesis = state.get_bytes(GENESIS_KEY)
        assert genesis is not None, "every chain has a genesis record"
        value, tree = state.get_bytes(key), state.prove_key(key)
        return cls(header, key, value, tree, genesis, state.prove_key(GENESIS_KEY))

    def verify(self, header_hash: bytes) -> None:
        """Check the proof against the hash of a trusted header.

        Raises
        ------
        ProofInvalid
            The proof has another header, or does not lead to its root.
        """
        if self.header.hash != header_hash:
            message = (
                f"it was made against header {self.header.hash.hex()} (height"
                f" {self.header.height}), not {header_hash.hex()}; ask for a new proof, or trust"
                " that header"
            )
            raise errors.ProofInvalid(message=message)
        root = self.header.app_hash
        verify_inclusion(root, GENESIS_KEY, self.genesis, self.genesis_tree)
        if self.value is None:
            verify_absence(root, self.key, self.tree)
        else:
            verify_inclusion(root, self.key, self.value, self.tree)

    def to_json(self) -> dict[str, Any]:
        """Return the proof as JSON values, bytes in hex."""
        return {
            "format": FORMAT,
            "kind": RECORD,
            "header": codec.dumps(self.header).hex(),
            "header_hash": self.header.hash.hex(),
            "genesis": {
                "value": self.genesis.hex(),
                "siblings": [sibling.hex() for sibling in self.genesis_tree.siblings],
            },
            "key": self.key.hex(),
            "value": None if self.value is None else self.value.hex(),
            "siblings": [sibling.hex() for sibling in self.tree.siblings],
            "other": self.tree.other and [part.hex() for part in self.tree.other],
        }

    @classmethod
    def from_json(cls, content: Any, kind: str = RECORD, *more: str) -> Proof:
        """Read a proof back.

        Parameters
        ----------
        content
            The parsed JSON.
        kind, *more
            Kind of a proof that begins with this one, and its further fields.

        Raises
        ------
        ProofInvalid
            Not a proof file of this format and kind, or its fields contradict one another.
        """
        with reading("record"):
            value, other, genesis = content["value"], content["other"], content["genesis"]
            found = None
            if other is not None:
                path, value_hash = unhex_all(other)
                found = path, value_hash
            proof = cls(
                codec.loads(Header, unhex(content["header"])),
                unhex(content["key"]),
                None if value is None else unhex(value),
                TreeProof(unhex_all(content["siblings"]), found),
                unhex(genesis["value"]),
                TreeProof(unhex_all(genesis["siblings"]), None),
            )
            same = proof.to_json() | {"kind": kind} | {name: content[name] for name in more}
        if content != same:
            message = f"its fields are not those of {FORMAT}, {kind}, or contradict one another"
            raise errors.ProofInvalid(message=message)
        return proof


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Raise ProofInvalid where a part of a proof cannot be read."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError, *_SHAPES) as error:
        raise errors.ProofInvalid(message=f"it holds no {what} ({error!r})") from None


def unhex(text: str) -> bytes:
    """Read bytes from lower-case hex; ValueError for any other text."""
    data = bytes.fromhex(text)
    if data.hex() != text:
        raise ValueError(f"{text[:64]!r} is not lower-case hex")
    return data


def unhex_all(texts: list[str]) -> tuple[bytes, ...]:
    """Read a list of bytes in hex; TypeError for any other value."""
    if type(texts) is not list:
        raise TypeError("a list is expected")
    return tuple(map(unhex, texts))


def read_json(data: bytes) -> Any:
    """Parse a proof file's bytes.

    Raises
    ------
    ProofInvalid
        Too large, not JSON, or an object names a field twice.
    """
    if len(data) > MAX_BYTES:
        raise errors.ProofInvalid(message=f"{len(data)} bytes, where {MAX_BYTES} are allowed")
    try:
        return json.loads(data, object_pairs_hook=_fields)
    except (ValueError, RecursionError) as error:
        raise errors.ProofInvalid(message=f"not JSON: {error}") from None


def _fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object's fields; ValueError for duplicates, which parsers treat differently."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a field is named twice")
    return fields
