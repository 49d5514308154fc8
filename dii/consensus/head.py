"""Head of a chain: the last block, and the conditions on the next one, under every engine.

What a header must say follows from the block before and from the application's committed state;
this module is the one place that says so, for those who make blocks and for those who check them.
The times of blocks are an engine's matter, except that they increase.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from dii import codec, crypto
from dii.codec import Root
from dii.ledger import block as blocks
from dii.ledger import log
from dii.ledger.block import PRECOMMIT, Block, Commit, Evidence, Header

Verify = Callable[[bytes, bytes, bytes], bool]
"""Takes public key, message and signature; tells whether the signature is valid."""
Powers = Mapping[bytes, int]
"""Voting power by public key, in the order of keys."""


def validators_hash(powers: Powers) -> bytes:
    """Return the hash of the validators that a header carries."""
    return crypto.sha256(codec.encode(tuple(sorted(powers.items()))))


@dataclass(frozen=True, slots=True)
class Head:
    """The last block of a chain, and what the next one must build on.

    Attributes
    ----------
    chain
        Genesis hash.
    header
        The last header; None before the first block.
    app_hash
        State root after the last block.
    validators, next_validators
        Validators of the next block, and of the block after it.
    last_validators
        Validators of the last block; None if unknown, as the chain began with a snapshot.
    """

    chain: bytes
    header: Header | None
    app_hash: bytes
    validators: Powers
    next_validators: Powers
    last_validators: Powers | None = None

    @property
    def height(self) -> int:
        """Height of the last block; 0 before the first."""
        return self.header.height if self.header else 0

    def block(
        self,
        time: int,
        transactions: Sequence[bytes],
        proposer: bytes,
        last_commit: Commit,
        evidence: Sequence[Evidence] = (),
    ) -> Block:
        """Return the next block; ``proposer`` is a validator's public key."""
        header = Header(
            version=blocks.VERSION,
            chain=self.chain,
            height=self.height + 1,
            time=time,
            previous=self.header.hash if self.header else bytes(32),
            last_commit=blocks.root_of(last_commit),
            evidence=blocks.root_of(evidence),
            app_hash=Root(self.app_hash),
            transactions=log.root_of(transactions),
            validators=validators_hash(self.validators),
            next_validators=validators_hash(self.next_validators),
            proposer=crypto.address_of(proposer),
        )
        return Block(header, tuple(transactions), tuple(last_commit), tuple(evidence))

    def faults(self, block: Block, verify: Verify = crypto.verify) -> Iterator[str]:
        """Yield the faults of a block that should be the next, apart from its own commit."""
        header, last = block.header, self.header
        if header.version != blocks.VERSION:
            yield f"its header is of version {header.version}"
        if header.chain != self.chain:
            yield "it belongs to another genesis"
        if header.height != self.height + 1:
            yield f"its header says height {header.height}"
        if header.previous != (last.hash if last else bytes(32)):
            yield "its header does not follow from the one before"
        if last and header.time <= last.time:
            yield "its time is not later than the block's before"
        if header.app_hash != self.app_hash:
            yield "its app_hash is not the state before it"
        yield from block.faults()
        if header.validators != validators_hash(self.validators):
            yield "its validators are not those of the state"
        if header.next_validators != validators_hash(self.next_validators):
            yield "its next validators are not those of the state"
        if header.proposer not in map(crypto.address_of, self.validators):
            yield "its proposer is no validator"
        if last is None:
            yield from ["the first block has a last commit"] if block.last_commit else ()
        elif self.last_validators is not None:
            faults = commit_faults(last, block.last_commit, self.last_validators, verify)
            yield from (f"its last commit: {fault}" for fault in faults)
        for number, evidence in enumerate(block.evidence):
            fault = self._evidence_fault(evidence, verify)
            if fault or evidence in block.evidence[:number]:
                yield f"its evidence {number}: {fault or 'given twice'}"

    def _evidence_fault(self, evidence: Evidence, verify: Verify) -> str:
        key = evidence.first.public_key
        if not evidence.contradicts:
            return "the two votes do not contradict each other"
        before = {} if self.header is None else self.last_validators
        if before is not None and key not in {**self.validators, **before}:
            return "it accuses a key that is no validator's"
        if evidence.first.height > self.height + 1:
            return "it is of a later height"
        both = evidence.first, evidence.second
        if not all(verify(key, vote.message(self.chain), vote.signature) for vote in both):
            return "a signature does not hold"
        return ""


def commit_faults(
    header: Header, commit: Commit, powers: Powers, verify: Verify = crypto.verify
) -> Iterator[str]:
    """Yield the faults of a commit that should decide a header.

    It has precommits of one round for the header, one of each validator at most, over the bytes
    that the validator signed, and more than two thirds of the power. Votes of any other kind would
    not change the decision, but the median of their times.
    """
    rounds = {vote.round for vote in commit}
    signed = {
        vote.public_key: powers.get(vote.public_key, 0)
        for vote in commit
        if (vote.kind, vote.height, vote.header) == (PRECOMMIT, header.height, header.hash)
        and vote.public_key in powers
        and verify(vote.public_key, vote.message(header.chain), vote.signature)
    }
    good, total = sum(signed.values()), sum(powers.values())
    if len(rounds) > 1:
        yield "its precommits are of several rounds"
    elif 3 * good <= 2 * total:
        yield f"signatures of {good} of {total} voting power hold"
    elif len(signed) < len(commit):
        yield f"only {len(signed)} of its {len(commit)} votes are precommits that count"
