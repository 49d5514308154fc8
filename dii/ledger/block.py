"""Blocks, headers and votes of this package's own engines.

Header *h* carries the application's state root after block *h - 1* as ``app_hash``: the block is
agreed upon before it is executed. A header is identified by its hash; trusting that hash suffices
to check everything below it: transactions, state, receipts.

A block carries the precommits that decided the block before, as its proposer saw them, so that all
replicas store the same bytes. The precommits that decided the block itself are its *commit*; each
replica keeps those that it saw beside the block.

CometBFT has headers of its own; its decisions are kept in the same :class:`Block`, without our
header and signatures, so that re-execution needs no engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Annotated, Final

from dii import codec, crypto
from dii.codec import Address, Bounds, Hash, PublicKey, Record, Root
from dii.ledger import log

VERSION: Final = 2
DOMAIN: Final = b"dii/header/2\0"
VOTE_DOMAIN: Final = b"dii/vote/1\0"
MAX_BYTES: Final = codec.MAX_SIZE
MAX_EVIDENCE: Final = 64
"""Pieces of evidence in a block."""
MAX_VOTES: Final = 128
"""Votes in a commit: one of each validator."""
PREVOTE: Final = 1
PRECOMMIT: Final = 2


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
    last_commit
        Root of the precommits for the header before that the block carries.
    evidence
        Root of the block's evidence.
    app_hash
        State root after the block before.
    transactions
        RFC 9162 root of the transactions' wire bytes, as are the other roots of lists.
    validators, next_validators
        SHA-256 of the canonical encoding of the validators of this height and of the next.
    proposer
        Address of the validator that proposed.
    """

    version: int
    chain: Hash
    height: int
    time: int
    previous: Hash
    last_commit: Root
    evidence: Root
    app_hash: Root
    transactions: Root
    validators: Hash
    next_validators: Hash
    proposer: Address

    @cached_property
    def hash(self) -> bytes:
        """The header's identity: SHA-256 over domain and canonical bytes."""
        return crypto.sha256(DOMAIN + codec.dumps(self))


class Vote(Record):
    """A validator's signed prevote or precommit for a header, or for none (nil).


    Attributes
    ----------
    kind
        ``PREVOTE`` or ``PRECOMMIT``.
    height, round
        From 1; from 0.
    header
        Hash of a header; None for nil.
    time
        The validator's clock, in microseconds since 1970; see :func:`median_time`.
    public_key, signature
        The validator's.
    """

    kind: int
    height: int
    round: int
    header: Hash | None
    time: int
    public_key: PublicKey
    signature: Annotated[bytes, Bounds(64, 64)] = bytes(64)

    def message(self, chain: bytes) -> bytes:
        """Return the bytes that the validator signs."""
        content = chain, self.kind, self.height, self.round, self.header, self.time
        return VOTE_DOMAIN + codec.encode(content)

    def signed(self, chain: bytes, key: crypto.SigningKey) -> Vote:
        """Return the vote with its signature."""
        return replace(self, signature=key.sign(self.message(chain)))


class Evidence(Record):
    """Two votes of one validator in one round that contradict each other."""

    first: Vote
    second: Vote

    @classmethod
    def of(cls, one: Vote, other: Vote) -> Evidence:
        """Return the evidence in its only form: nil, or the lower hash, comes first."""
        return cls(*sorted((one, other), key=lambda vote: vote.header or b""))

    @property
    def contradicts(self) -> bool:
        """True if the two are votes of one validator, round and kind for different headers."""
        one, other = self.first, self.second
        differ = (one.header or b"") < (other.header or b"")
        same = "kind", "height", "round", "public_key"
        return differ and all(getattr(one, name) == getattr(other, name) for name in same)


Commit = Annotated[tuple[Vote, ...], Bounds(0, MAX_VOTES)]
"""Precommits of one round for one header."""


class Block(Record):
    """A decided block as the store keeps it."""

    header: Header
    transactions: tuple[bytes, ...]
    last_commit: Commit
    evidence: Annotated[tuple[Evidence, ...], Bounds(0, MAX_EVIDENCE)]

    def faults(self) -> Iterator[str]:
        """Yield the differences between the header and what it is for."""
        if self.header.transactions != log.root_of(self.transactions):
            yield "its transactions are not those of its header"
        if self.header.last_commit != root_of(self.last_commit):
            yield "its last commit is not that of its header"
        if self.header.evidence != root_of(self.evidence):
            yield "its evidence is not that of its header"


def root_of(items: Sequence[Vote] | Sequence[Evidence]) -> Root:
    """Return the root of a block's last commit or evidence."""
    return log.root_of([codec.dumps(item) for item in items])
