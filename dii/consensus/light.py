"""Light verification: trust in one header, carried to later ones by signatures alone.

Whoever trusts the hash of a header need not execute anything to trust the next: the header names
the validators of the next height, and more than two thirds of their power must have signed it. This
goes on block by block. Keys of validators that left may be sold or stolen, so trust in a header
ends after the *trusting period*, which should be shorter than misbehaviour is punished after.
Receipts and other proofs hold under any header that is reached.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from dii import codec, errors
from dii.application.governance import validators
from dii.consensus.head import Powers, commit_faults, validators_hash
from dii.ledger.block import Block, Commit, Header
from dii.ledger.snapshot import state_at
from dii.ledger.state import decode_diff
from dii.ledger.store import Store


class LightBlock(NamedTuple):
    """A header, the precommits for it, and the validators of its height."""

    header: Header
    commit: Commit
    validators: Powers


def light_blocks(store: Store, first: int) -> Iterator[LightBlock]:
    """Yield the light blocks of a chain from a height on, for others to verify."""
    state = state_at(store, first - 1)
    for _, diff, _, block, commit in store.blocks(first):
        header = codec.loads(Block, block).header
        yield LightBlock(header, codec.loads(Commit, commit), validators(state))
        state.apply(decode_diff(diff))


def verify_light(
    trusted: bytes, blocks: Iterable[LightBlock], *, now: int, period: int
) -> Iterator[Header]:
    """Yield the headers that follow from a trusted one.

    Parameters
    ----------
    trusted
        Hash of the first block's header.
    blocks
        Light blocks of consecutive heights, from anybody.
    now, period
        The time, and the trusting period, in microseconds.

    Raises
    ------
    BlockInvalid
        Names the first height that does not follow, or the trusted header if it is too old.
    """
    last: Header | None = None
    for header, commit, powers in blocks:
        fault = "it is not the trusted header"
        if last is not None:
            fault = next(_faults(last, LightBlock(header, commit, powers)), "")
        elif header.hash == trusted:
            fault = ""
            if header.time + period <= now:
                fault = "it is older than the trusting period: get a newer hash from somebody"
        if fault:
            raise errors.BlockInvalid(height=header.height, message=fault)
        last = header
        yield header


def _faults(last: Header, block: LightBlock) -> Iterator[str]:
    header, powers = block.header, block.validators
    place = header.chain, header.height, header.previous
    if place != (last.chain, last.height + 1, last.hash):
        yield "it does not follow from the one before"
    if header.time <= last.time:
        yield "its time is not later than the block's before"
    if not header.validators == last.next_validators == validators_hash(powers):
        yield "its validators are not those that the header before names"
    yield from commit_faults(header, block.commit, powers)
