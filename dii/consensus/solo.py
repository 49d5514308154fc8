"""Solo: one process orders and signs every block; the engine of a notebook.

No other process has to agree, so a block is decided when it is signed. If governance has added
validators, this engine signs with every one of their keys that it can find, and fails with an error
if these have no more than two thirds of the voting power. Time is the caller's (the telemetry's, in
a notebook), never the wall clock's: the same calls make the same chain, byte for byte. The engine
uses the same verbs of the application as every other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dii import crypto, errors
from dii.application import BlockResult, TxResult
from dii.application.governance import validators
from dii.consensus.engine import NotIncluded
from dii.consensus.node import Node
from dii.ledger.block import PRECOMMIT, Vote
from dii.ledger.state import uncollected
from dii.units import SECOND

Find = Callable[[bytes], crypto.SigningKey | None]
"""Function that returns the key of a public key, or None."""


class Solo:
    """Producer of blocks on a node.

    Parameters
    ----------
    node
        The node to drive.
    *keys
        Keys of validators, present or future.
    find
        Looks for a validator's key, by its public key, if it is not among ``keys``.
    """

    def __init__(self, node: Node, *keys: crypto.SigningKey, find: Find | None = None) -> None:
        self.node = node
        self._keys: dict[bytes, crypto.SigningKey | None] = {key.public_key: key for key in keys}
        self._find = find
        self._least = 0

    @property
    def time(self) -> int:
        """Time of the last block; the genesis' start less a second before the first."""
        header = self.node.header
        return header.time if header else self.node.genesis.start_time - SECOND

    def advance(self, time: int) -> None:
        """Have further blocks be no earlier than a time; makes none by itself."""
        self._least = max(self._least, time)

    def include(self, wires: Sequence[bytes], time: int | None = None) -> list[TxResult]:
        """Make blocks until all transactions are in one; see :class:`dii.consensus.engine.Engine`.

        Each block is at least one second after the last.
        """
        self.advance(time or 0)
        results: dict[bytes, TxResult] = {}
        waiting = list(dict.fromkeys(wires))
        while True:
            placed, result = self.produce(waiting)
            results.update(zip(placed, result.results))
            waiting = [wire for wire in waiting if wire not in results]
            if not waiting:
                return [results[wire] for wire in wires]
            if not placed:
                refusal = self.node.app.check_tx(waiting[0])
                raise NotIncluded(waiting[0], refusal)

    def produce(
        self, wires: Sequence[bytes] = (), time: int | None = None
    ) -> tuple[tuple[bytes, ...], BlockResult]:
        """Make one block of the transactions that it can hold, in their order.

        Returns
        -------
        placed, result
            The transactions that the block holds, and their results.

        Raises
        ------
        NoQuorum
            More than two thirds of the voting power are needed to sign.
        """
        node, signers = self.node, self._signers()
        time = max(self.time + SECOND, self._least, time or 0)
        with uncollected():
            most = node.genesis.limits.block_bytes
            chosen = node.app.prepare_proposal(wires, most, time)
        block = node.head.block(time, chosen, signers[0].public_key, node.commit)
        height, header_hash, chain = block.header.height, block.header.hash, node.genesis.hash
        commit = tuple(
            Vote(PRECOMMIT, height, 0, header_hash, time, key.public_key).signed(chain, key)
            for key in signers
        )
        return block.transactions, node.execute(block, commit)

    def _signers(self) -> list[crypto.SigningKey]:
        """Return the keys of those validators of the next block that sign here."""
        powers = validators(self.node.app.state)
        signers = {}
        for public_key, power in powers.items():
            if public_key not in self._keys:
                self._keys[public_key] = self._find(public_key) if self._find else None
            key = self._keys[public_key]
            if key is not None:
                signers[key] = power
        held, total = sum(signers.values()), sum(powers.values())
        if 3 * held <= 2 * total:
            raise errors.NoQuorum(held=held, total=total)
        return list(signers)

    def settle(self) -> None:
        """Add empty blocks, a second apart, until a block changes nothing.

        After that the last header carries the state's root, so proofs can be made, and all
        settling that is due is done.
        """
        while self.produce()[1].changed:
            pass
        self.node.index.flush()  # for other processes

    def check(self) -> None:
        """Do nothing: there is one replica."""
