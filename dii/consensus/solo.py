"""Solo: one validator orders and signs every block; the engine of a notebook.

There is nobody to agree with, so a block is decided when it is signed. Time is the caller's (the
telemetry's, in a notebook), never the wall clock's: the same calls make the same chain, byte for
byte. It runs through the same verbs as every other engine.
"""

from __future__ import annotations

from collections.abc import Sequence

from dii import crypto
from dii.application import BlockResult
from dii.consensus.node import Node, validators_hash
from dii.ledger.block import SIGN_DOMAIN, VERSION, Block, Commit, Header, transactions_root
from dii.ledger.state import uncollected
from dii.units import SECOND


class Solo:
    """Produces blocks on a node.

    Parameters
    ----------
    node
        The node to drive.
    key
        The only validator's key.
    """

    def __init__(self, node: Node, key: crypto.SigningKey) -> None:
        self.node = node
        self._key = key

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
            Transactions; what may not stand in a block is left out.
        time
            Of the block; one second after the last block by default, and never before that.

        Returns
        -------
        placed, result
            The transactions that the block holds, and what became of them.
        """
        app, last = self.node.app, self.node.header
        with uncollected():
            chosen = tuple(app.prepare_proposal(wires, self.node.genesis.limits.block_bytes))
        header = Header(
            version=VERSION,
            chain=self.node.genesis.hash,
            height=app.height + 1,
            time=max(self.time + SECOND, time or 0),
            previous=last.hash if last else bytes(32),
            app_hash=app.info()[1],
            transactions=transactions_root(chosen),
            validators=validators_hash(app.state),
            proposer=self._key.address,
        )
        commit = Commit(self._key.public_key, self._key.sign(SIGN_DOMAIN + header.hash))
        return chosen, self.node.execute(Block(header, (commit,), chosen))

    def settle(self) -> None:
        """Add empty blocks, a second apart, until one changes nothing.

        After that the last header carries the state's root, so proofs are at hand, and no
        settling is left to do at this time.
        """
        while self.produce()[1].changed:
            pass
