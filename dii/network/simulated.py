"""Network among simulated validators: the engine, and the record of what they did.

The validators of :mod:`dii.testing` run in virtual time, which is chain time: it begins with the
genesis, passes with delays and timeouts while blocks are decided, and jumps to the end of an epoch
that is reported. Events are kept in ``consensus.sqlite``, those of the last 1,000 heights; they are
not part of the chain. A home that has this file can be opened again to look only, since its
validators end with the process.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from dii import crypto, errors
from dii.application import Application, BlockResult, TxResult
from dii.consensus.engine import NotIncluded
from dii.consensus.node import Node, uninterrupted
from dii.consensus.tendermint import Decide
from dii.ledger.store import connect
from dii.network.home import CONSENSUS
from dii.testing.faults import Faults
from dii.testing.simulator import Event, Replica, Simulation
from dii.units import SECOND

KEEP: Final = 1_000
"""Heights whose events are kept."""


def record(folder: Path | None, *, readonly: bool = False) -> sqlite3.Connection:
    """Open the record of events of a home, or one in memory."""
    db = connect(folder / CONSENSUS if folder else None, readonly=readonly, durable=False)
    if not readonly:
        db.execute(f"CREATE TABLE IF NOT EXISTS events ({', '.join(Event._fields)})")
        db.execute("CREATE INDEX IF NOT EXISTS events_by_height ON events (height)")
    return db


class Simulated:
    """Engine of simulated validators; see :class:`dii.consensus.engine.Engine`.

    Parameters
    ----------
    node
        The chain that is read: it executes what the first validator decides that faults never make
        Byzantine or crash.
    keys, faults, seed
        Keys of the validators, what goes wrong among them, and the seed of all draws.
    events
        The record of events, as :func:`record` opens it.
    """

    def __init__(
        self,
        node: Node,
        keys: Sequence[crypto.SigningKey],
        faults: Faults,
        seed: int,
        events: sqlite3.Connection,
    ) -> None:
        genesis = node.genesis
        powers = {one.public_key: one.power for one in genesis.validators}
        self.node, self._events = node, events
        self.run = Simulation(
            lambda _: Application(genesis),
            [powers[key.public_key.hex()] for key in keys],
            faults=faults,
            seed=seed,
            chain=genesis.hash,
            start=genesis.start_time,
            keys=keys,
        )
        self.run.watchers.append(self._decided)
        self._results: dict[bytes, TxResult] = {}
        self._last: BlockResult | None = None

    @property
    def time(self) -> int:
        """Time of the last block; the genesis' start less a second before the first."""
        header = self.node.header
        return header.time if header else self.node.genesis.start_time - SECOND

    def _decided(self, replica: Replica, decision: Decide) -> None:
        if replica is self.run.reader:
            block = decision.proposal.block
            self._last = self.node.execute(block, decision.commit)
            self._results.update(zip(block.transactions, self._last.results))

    def _block(self) -> None:
        """Run until the chain that is read has one more block."""
        height = self.node.height
        self.run.until(lambda: self.node.height > height)
        rows = [tuple(event) for event in self.run.events]
        marks = ", ".join("?" * len(Event._fields))
        with uninterrupted(), self._events as db:
            db.executemany(f"INSERT INTO events VALUES ({marks})", rows)
            db.execute("DELETE FROM events WHERE height <= ?", (self.node.height - KEEP,))
            self.run.events.clear()

    def advance(self, time: int) -> None:
        """Let time pass, and make empty blocks until one has at least this time."""
        self.run.jump(time)
        while self.time < time:
            self._block()

    def include(self, wires: Sequence[bytes], time: int | None = None) -> list[TxResult]:
        """Offer transactions to all proposers until each is in a block."""
        self.advance(time or 0)
        self._results, waiting = {}, list(dict.fromkeys(wires))
        for wire in waiting:
            self.run.submit(wire)
        idle = 0
        try:
            while True:
                self._block()
                left = [wire for wire in waiting if wire not in self._results]
                if not left:
                    return [self._results[wire] for wire in wires]
                idle = 0 if len(left) < len(waiting) else idle + 1
                waiting = left
                refusal = self.node.app.check_tx(left[0]) if idle else TxResult(0)
                if refusal.code or idle > 2 * len(self.run.replicas):
                    raise NotIncluded(left[0], refusal)
        finally:  # what comes later has the same nonces
            self.run.withdraw(waiting)

    def settle(self) -> None:
        """Go on until a block changes nothing."""
        self._block()
        while self._last is not None and self._last.changed:
            self._block()
        self.node.index.flush()

    def check(self) -> None:
        """Raise BlockInvalid where honest validators decided differently."""
        for replica in self.run.replicas:
            for decision in replica.disk.blocks if replica.honest else ():
                height = decision.proposal.height
                mine = self.run.reader.disk.blocks[height - 1 : height]
                if mine and mine[0].proposal.value != decision.proposal.value:
                    message = f"validator {replica.number} decided another block"
                    raise errors.BlockInvalid(height=height, message=message)
