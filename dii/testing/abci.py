"""Abci: the verbs of an application that consensus replicates, as in ABCI 2.0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Checked(Protocol):
    """Answer to ``check_tx``: 0 admits the transaction."""

    @property
    def code(self) -> int: ...  # noqa: D102


class Finalized(Protocol):
    """Answer to ``finalize_block``: root of the new state, and validators that change."""

    @property
    def app_hash(self) -> bytes: ...  # noqa: D102
    @property
    def validator_updates(self) -> Sequence[tuple[bytes, int]]: ...  # noqa: D102


class Abci(Protocol):
    """A deterministic state machine, bytes in and bytes out.

    Time is in microseconds since 1970. The same blocks must give the same ``app_hash`` everywhere.
    """

    def info(self) -> tuple[int, bytes]:
        """Return height and root (32 bytes) of the last commit; blocks after it are executed."""
        ...

    def check_tx(self, wire: bytes) -> Checked:
        """Tell whether a transaction may wait for a block."""
        ...

    def prepare_proposal(
        self, wires: Sequence[bytes], max_bytes: int, time: int
    ) -> Sequence[bytes]:
        """Choose transactions for a block."""
        ...

    def process_proposal(self, wires: Sequence[bytes], time: int) -> bool:
        """Tell whether a block with these transactions is acceptable."""
        ...

    def finalize_block(
        self,
        height: int,
        time: int,
        wires: Sequence[bytes],
        proposer: bytes,
        misbehaviour: Sequence[tuple[bytes, int]],
    ) -> Finalized:
        """Execute a decided block.

        ``misbehaviour`` has the address of each validator that the block has evidence against, and
        the height of the evidence. Updates, (public key, power), act two blocks later.
        """
        ...

    def commit(self) -> object:
        """Make the finalized block the state to go on from."""
        ...
