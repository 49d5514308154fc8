"""Blocks and headers of this package's own engines.

Header *h* carries the application's state root after block *h - 1* as ``app_hash``: the block is
agreed upon before it is executed. A header is identified by its hash; trusting that hash suffices
to check everything below it: transactions, state, receipts.

CometBFT has headers of its own; its decisions are kept in the same :class:`Block`, without our
header and signatures, so that re-execution needs no engine.
"""

from __future__ import annotations

from typing import Annotated, Final

from dii import codec, crypto
from dii.codec import Address, Bounds, Hash, PublicKey, Record, Root

VERSION: Final = 1
DOMAIN: Final = b"dii/header/1\0"
SIGN_DOMAIN: Final = b"dii/commit/1\0"
MAX_BYTES: Final = codec.MAX_SIZE


class Header(Record):
    """The part of a block that validators sign.

    Attributes
    ----------
    version
        Of this format.
    chain
        Genesis hash.
    height
        From 1.
    time
        Microseconds since 1970, later than the header before.
    previous
        Hash of the header before; zero bytes at height 1.
    app_hash
        State root after the block before.
    transactions
        RFC 9162 root of the transactions' wire bytes.
    validators
        SHA-256 of the validators' canonical encoding.
    proposer
        Address of the validator that proposed.
    """

    version: int
    chain: Hash
    height: int
    time: int
    previous: Hash
    app_hash: Root
    transactions: Root
    validators: Hash
    proposer: Address

    @property
    def hash(self) -> bytes:
        """The header's identity: SHA-256 over domain and canonical bytes."""
        return crypto.sha256(DOMAIN + codec.dumps(self))


class Commit(Record):
    """One validator's signature of a header."""

    public_key: PublicKey
    signature: Annotated[bytes, Bounds(64, 64)]


class Block(Record):
    """A decided block as the store keeps it."""

    header: Header
    commits: tuple[Commit, ...]
    transactions: tuple[bytes, ...]
