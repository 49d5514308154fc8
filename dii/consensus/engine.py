"""Engine: the interface through which networks have their transactions ordered and executed.

Nothing above asks which engine it is: :class:`dii.consensus.solo.Solo` in a process by itself, or
simulated validators (:mod:`dii.testing`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from dii.application import TxResult
from dii.consensus.node import Node


class NotIncluded(Exception):
    """A transaction that an honest replica refuses to have wait, and the result that says why."""

    def __init__(self, wire: bytes, result: TxResult) -> None:
        super().__init__(result.detail)
        self.wire, self.result = wire, result


class Engine(Protocol):
    """Orders transactions into blocks of one chain.

    Attributes
    ----------
    node
        The replica that is read.
    time
        Time of its last block, in microseconds since 1970; the genesis's start less a second before
        the first.
    """

    node: Node

    @property
    def time(self) -> int: ...  # noqa: D102

    def advance(self, time: int) -> None:
        """Have further blocks be no earlier than a time, in microseconds since 1970."""
        ...

    def include(self, wires: Sequence[bytes], time: int | None = None) -> list[TxResult]:
        """Return the results of transactions once each is in a block of the replica.

        Parameters
        ----------
        wires
            Signed transactions; without any, one block is made.
        time
            Least time of the blocks.

        Raises
        ------
        NotIncluded
            An honest replica refuses to have one wait for a block; the others may be in blocks.
        NoQuorum, NoProgress
            Too little voting power signs.
        """
        ...

    def check(self) -> None:
        """Compare the chains of all replicas.

        Raises
        ------
        BlockInvalid
            Honest ones differ.
        """
        ...

    def settle(self) -> None:
        """Add empty blocks until one changes nothing.

        After that the last header carries the state's root, so proofs are at hand, and all
        settling that is due is done.
        """
        ...
