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
from dii.application import BlockResult
from dii.application.governance import validators
from dii.consensus.node import Node, validators_hash
from dii.ledger import log
from dii.ledger.block import SIGN_DOMAIN, VERSION, Block, Commit, Header
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

    @property
    def time(self) -> int:
        """Time of the last block; the genesis' start less a second before the first."""
        header = self.node.header
        return header.time if header else self.node.genesis.start_time - SECOND

    def produce(
        self, wires: Sequence[bytes] = (), time: int | None = None
    ) -> tuple[tuple[bytes, ...], BlockResult]:
        """Make one block.

        Parameters
        ----------
        wires
            Transactions; those that no block may hold are left out.
        time
            Time of the block; by default, and at least, one second after the last block.

        Returns
        -------
        placed, result
            The transactions that the block holds, and their results.

        Raises
        ------
        NoQuorum
            More than two thirds of the voting power are needed to sign.
        """
        app, last = self.node.app, self.node.header
        signers = self._signers()
        time = max(self.time + SECOND, time or 0)
        with uncollected():
            most = self.node.genesis.limits.block_bytes
            chosen = tuple(app.prepare_proposal(wires, most, time))
        header = Header(
            version=VERSION,
            chain=self.node.genesis.hash,
            height=app.height + 1,
            time=time,
            previous=last.hash if last else bytes(32),
            app_hash=app.info()[1],
            transactions=log.root_of(chosen),
            validators=validators_hash(app.state),
            proposer=signers[0].address,
        )
        message = SIGN_DOMAIN + header.hash
        commits = tuple(Commit(key.public_key, key.sign(message)) for key in signers)
        return chosen, self.node.execute(Block(header, commits, chosen))

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
