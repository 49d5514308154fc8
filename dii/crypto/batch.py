"""Verification of many signatures at once, in processes beside this one.

A block's signatures take as long as all the rest of its execution, and they can be verified before
their turn comes. Threads were rejected: between two signatures they need Python's global lock,
which a thread that computes releases every 5 ms only. So were the executors of the standard
library: their processes import the caller's ``__main__`` again, which in a script without a guard
starts everything anew. Loky's executor does not, and was as quick, but it is one more dependency
and slow to import. Instead, a bare interpreter reads signatures from a pipe and writes a byte for
each, with a lower priority than the process that it works for. Each answer begins with the head of
its question: other output in the pipe, such as the greeting of a ``sitecustomize``, is not taken
for results.

If a process ends (for lack of memory, for example), its missing results are computed here.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from itertools import accumulate, chain, count, pairwise
from typing import IO, Final, TypeAlias

from dii.crypto import signature

Item: TypeAlias = tuple[bytes, bytes, bytes]
"""Public key, message, signature."""

_FEW: Final = 64
"""Signatures that are verified here: starting processes for them would take longer."""
_PIPE: Final = 1 << 20
"""Bytes of a pipe: a block of transfers, so that handing it over does not wait either."""
_HEAD: Final = struct.Struct(">QI")
"""A number of a part, and the number of its signatures."""
_NUMBERS: Final = count()
_CHILD: Final = """
import os, sys
os.nice(5)
sys.path[:] = sys.argv[1:]
from dii.crypto.batch import serve
serve(sys.stdin.buffer, sys.stdout.buffer)
"""


def start_verifying(items: Sequence[Item]) -> Callable[[], list[bool]]:
    """Begin to verify signatures on all cores; return a function that waits for the results.

    Raises
    ------
    AcceleratorRefused
        The library that would verify does not follow the rule.
    """
    _, check = signature.chosen()
    if len(items) <= _FEW:
        return functools.cache(lambda: [check(*item) for item in items])
    verifiers = _verifiers()
    size = -(-len(items) // len(verifiers))
    parts = [
        (verifier, verifier.begin(items[at : at + size]))
        for verifier, at in zip(verifiers, range(0, len(items), size))
    ]
    return functools.cache(
        lambda: [bool(result) for verifier, part in parts for result in verifier.finish(part)]
    )


class _Part:
    """Signatures that a process verifies; ``results`` has a byte for each, 1 where it is valid."""

    def __init__(self, items: Sequence[Item]) -> None:
        self.items = items
        self.head = _HEAD.pack(next(_NUMBERS), len(items))
        self.results: bytes | None = None


class _Verifier:
    """A process that verifies one part after another.

    It is *sound* while all that was written to it and read from it was whole: after an interrupt in
    the middle, results could be taken for those of another part. Then a new process is started.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owed: _Part | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._sound = False
        atexit.register(self.close)
        os.register_at_fork(after_in_child=self.forget)

    def begin(self, items: Sequence[Item]) -> _Part:
        """Hand signatures over, once the results of those before them are here."""
        part = _Part(items)
        with self._lock:
            self._take()
            if not self._sound:
                self._start()
            sound, self._sound = self._sound, False
            self._owed = part
            if sound:
                with contextlib.suppress(OSError):
                    write(self._pipes()[0], part.head, items)
                    self._sound = True
        return part

    def finish(self, part: _Part) -> bytes:
        """Wait for the results of a part."""
        with self._lock:
            if part.results is None:
                self._take()
        assert part.results is not None
        return part.results

    def _take(self) -> None:
        """Read the results that are owed, or compute them."""
        part = self._owed
        if part is None or part.results is not None:
            return
        if self._sound:
            self._sound = False
            size = len(part.head) + len(part.items)
            answer = self._pipes()[1].read(size)
            if len(answer) == size and answer.startswith(part.head):
                part.results = answer.removeprefix(part.head)
                self._sound = True
        if part.results is None:
            _, check = signature.chosen()
            part.results = bytes(check(*item) for item in part.items)

    def _start(self) -> None:
        self.close()
        for size in (_PIPE, -1):  # a user who has many pipes gets small ones only
            with contextlib.suppress(OSError):  # as many processes are running as there may be
                # In a group of its own, so that an interrupt on a terminal does not reach it.
                self._process = subprocess.Popen(  # noqa: S603 - our own lines, by our own Python
                    [sys.executable, "-c", _CHILD, *sys.path],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    pipesize=size,
                    process_group=0,
                )
                self._sound = True
                return

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        return self._process.stdin, self._process.stdout

    def forget(self) -> None:
        """Release the parent's process and a lock held at the fork, in a forked process."""
        self._lock = threading.Lock()
        self.close()  # kills nothing: to a process that is not its child, Popen sends no signal

    def close(self) -> None:
        """End the process; the results that it owes are computed here."""
        self._sound = False
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in self._pipes():
                with contextlib.suppress(OSError):  # unwritten bytes have no reader
                    pipe.close()
            self._process = None


@functools.cache
def _verifiers() -> list[_Verifier]:
    return [_Verifier() for _ in range(os.cpu_count() or 1)]


def write(to: IO[bytes], head: bytes, items: Sequence[Item]) -> None:
    """Write signatures as :func:`serve` reads them: their head, all lengths, all bytes."""
    parts = list(chain.from_iterable(items))
    lengths = struct.pack(f">{len(parts)}I", *map(len, parts))
    to.write(b"".join((head, lengths, *parts)))
    to.flush()


def serve(source: IO[bytes], to: IO[bytes]) -> None:
    """Verify the signatures that are written to ``source``, until its end."""
    _, check = signature.chosen()
    while head := source.read(_HEAD.size):
        _, items = _HEAD.unpack(head)
        lengths = struct.unpack(f">{3 * items}I", source.read(12 * items))
        data = source.read(sum(lengths))
        parts = (data[start:end] for start, end in pairwise(accumulate(lengths, initial=0)))
        to.write(head + bytes(check(*item) for item in zip(parts, parts, parts)))
        to.flush()
