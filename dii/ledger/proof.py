"""Proofs that travel: a state value, or its absence, against a trusted header hash.

A proof carries its header. Whoever trusts the header's hash, from a friend, a newspaper or a
light client, needs nothing else: hash the header, read the state root in it, walk the tree.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from dii import codec
from dii.errors import DiiError, ProofInvalid
from dii.ledger.block import Header
from dii.ledger.tree import TreeProof, verify_absence, verify_inclusion

FORMAT: Final = "dii/proof/1"
MAX_BYTES: Final = 1 << 20
"""Bytes of a proof file; one of a million receipts has about 10 KB."""


@dataclass(frozen=True, slots=True)
class Proof:
    """That a state key has a value, or none, after the block before a header.

    Attributes
    ----------
    header
        The header whose ``app_hash`` is the root.
    key, value
        The state key and its canonical bytes; None for absence.
    tree
        Siblings on the way to the root.
    """

    header: Header
    key: bytes
    value: bytes | None
    tree: TreeProof

    def verify(self, header_hash: bytes) -> None:
        """Check the proof against the hash of a header that one trusts.

        Raises
        ------
        ProofInvalid
            It is another header, or the walk does not end at its root.
        """
        if self.header.hash != header_hash:
            message = (
                f"it was made against header {self.header.hash.hex()} (height"
                f" {self.header.height}), not {header_hash.hex()}; ask for a new proof, or trust"
                " that header"
            )
            raise ProofInvalid(message=message)
        root = self.header.app_hash
        if self.value is None:
            verify_absence(root, self.key, self.tree)
        else:
            verify_inclusion(root, self.key, self.value, self.tree)

    def to_json(self) -> dict[str, Any]:
        """Return the proof as JSON values, bytes in hex."""
        return {
            "format": FORMAT,
            "header": codec.dumps(self.header).hex(),
            "header_hash": self.header.hash.hex(),
            "key": self.key.hex(),
            "value": None if self.value is None else self.value.hex(),
            "siblings": [sibling.hex() for sibling in self.tree.siblings],
            "other": self.tree.other and [part.hex() for part in self.tree.other],
        }

    @classmethod
    def from_json(cls, content: Any) -> Proof:
        """Read a proof back.

        Raises
        ------
        ProofInvalid
            Not a proof file of this format, or it says of its header what is not so.
        """
        try:
            if content["format"] != FORMAT:
                raise ProofInvalid(message=f"format {content['format']!r} is not {FORMAT}")
            value, other = content["value"], content["other"]
            siblings = tuple(bytes.fromhex(text) for text in content["siblings"])
            found = None if other is None else (bytes.fromhex(other[0]), bytes.fromhex(other[1]))
            header = codec.loads(Header, bytes.fromhex(content["header"]))
            if content["header_hash"] != header.hash.hex():
                raise ProofInvalid(message="its header is not the one whose hash it names")
            return cls(
                header,
                bytes.fromhex(content["key"]),
                None if value is None else bytes.fromhex(value),
                TreeProof(siblings, found),
            )
        except ProofInvalid:
            raise
        except (KeyError, TypeError, ValueError, IndexError, DiiError) as error:
            raise ProofInvalid(message=f"not a proof file ({error!r})") from None


def read_json(data: bytes) -> Any:
    """Parse a proof file's bytes.

    Raises
    ------
    ProofInvalid
        Too large, or not JSON.
    """
    if len(data) > MAX_BYTES:
        raise ProofInvalid(message=f"{len(data)} bytes, where {MAX_BYTES} are allowed")
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ProofInvalid(message=f"not JSON: {error}") from None
