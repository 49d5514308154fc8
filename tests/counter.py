"""Counting application for the simulator, which takes nothing from ``dii``.

A transaction is the next number. :class:`Committee` also changes validators: by numbers that are
followed by a key and its power, and by removing those that misbehaved.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import Any


class Counter:
    """Count; the root covers the count and the evidence that was given."""

    def __init__(self) -> None:
        self.height = self.count = self.accused = 0

    def info(self) -> tuple[int, bytes]:
        return self.height, self.root()

    def root(self) -> bytes:
        return hashlib.sha256(b"%d %d" % (self.count, self.accused)).digest()

    def check_tx(self, wire: bytes) -> Any:
        return SimpleNamespace(code=int(not wire.split()[0].isdigit()))

    def prepare_proposal(self, wires: Sequence[bytes], max_bytes: int, time: int) -> list[bytes]:
        ordered = sorted(wires, key=lambda wire: int(wire.split()[0]))
        numbers = enumerate(ordered, self.count + 1)
        return [wire for number, wire in numbers if int(wire.split()[0]) == number]

    def process_proposal(self, wires: Sequence[bytes], time: int) -> bool:
        numbers = [wire.split()[0] for wire in wires]
        return numbers == [b"%d" % (self.count + 1 + at) for at in range(len(wires))]

    def finalize_block(
        self,
        height: int,
        time: int,
        wires: Sequence[bytes],
        proposer: bytes,
        misbehaviour: Sequence[Any],
    ) -> Any:
        self.height, self.count = height, self.count + len(wires)
        self.accused += len(misbehaviour)
        return SimpleNamespace(app_hash=self.root(), validator_updates=())

    def commit(self) -> None:
        pass


class Committee(Counter):
    """Count, change validators as transactions say, and remove those that misbehave."""

    def __init__(self, keys: Iterable[bytes], powers: Iterable[int]) -> None:
        super().__init__()
        self.powers = dict(zip(keys, powers))
        self.keys = {hashlib.sha256(key).digest()[:20]: key for key in self.powers}

    def root(self) -> bytes:
        return hashlib.sha256(super().root() + repr(sorted(self.powers.items())).encode()).digest()

    def finalize_block(
        self,
        height: int,
        time: int,
        wires: Sequence[bytes],
        proposer: bytes,
        misbehaviour: Sequence[Any],
    ) -> Any:
        super().finalize_block(height, time, wires, proposer, misbehaviour)
        updates = {self.keys[address]: 0 for address, _ in misbehaviour}
        for _, key, power in (wire.split() for wire in wires if b" " in wire):
            updates[bytes.fromhex(key.decode())] = int(power)
        if any({**self.powers, **updates}.values()):
            self.powers |= updates
            return SimpleNamespace(app_hash=self.root(), validator_updates=[*updates.items()])
        return SimpleNamespace(app_hash=self.root(), validator_updates=())
