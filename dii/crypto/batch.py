"""Judging many signatures at once, in processes of their own, while this one goes on.

A block's signatures take as long as all the rest of its execution, and they can be known before
their turn comes. Threads were rejected: between two signatures they need Python's global lock, which
a thread that computes hands out every 5 ms only, so what was meant to run beside it waits for it.
So were the executors of the standard library: their processes import the caller's ``__main__``
again, which in a script without a guard starts everything anew. What runs here instead is a bare
interpreter that reads signatures from a pipe and writes a byte for each, a little less urgently than
the process that it works for. What begins each answer is the head of what was asked: whatever else
comes out of the pipe, a greeting of somebody's ``sitecustomize`` say, is nobody's verdict.

A process that ends, for want of memory say, takes no verdict with it: what it owed is judged here.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import functools
import os
import struct
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from itertools import accumulate, chain, count, pairwise
from typing import IO, Final, TypeAlias

from dii.crypto.signature import chosen

Item: TypeAlias = tuple[bytes, bytes, bytes]
"""Public key, message, signature."""

_FEW: Final = 64
"""Signatures that are judged here: starting processes for them would take longer."""
_OWED: Final = 1 << 14
"""Bytes that a process may owe: they fit into its pipe, so it never waits to be rid of them."""
_PIPE: Final = 1 << 20
"""Bytes of a pipe: a block of transfers, so that handing it over takes no waiting either."""
_HEAD: Final = struct.Struct(">QI")
"""A number of its own, and how many signatures follow."""
_NUMBERS: Final = count()
_CHILD: Final = """
import os, sys
os.nice(5)
sys.path[:] = sys.argv[1:]
from dii.crypto.batch import serve
serve(sys.stdin.buffer, sys.stdout.buffer)
"""


def start_verifying(items: Sequence[Item]) -> Callable[[], list[bool]]:
    """Begin to judge many signatures on all cores; return what waits for the verdicts, in order.

    Raises
    ------
    AcceleratorRefused
        The library that would verify does not follow the rule.
    """
    _, check = chosen()
    if len(items) <= _FEW:
        return functools.cache(lambda: [check(*item) for item in items])
    verifiers = _verifiers()
    size = -(-len(items) // len(verifiers))
    parts = [
        verifier.begin(items[at : at + size])
        for verifier, at in zip(verifiers, range(0, len(items), size))
    ]
    return functools.cache(lambda: [bool(verdict) for part in parts for verdict in part.wait()])


class _Part:
    """Signatures that a process judges."""

    def __init__(self, verifier: _Verifier, items: Sequence[Item]) -> None:
        self.verifier, self.items = verifier, items
        self.head = _HEAD.pack(next(_NUMBERS), len(items))
        self.owes = len(self.head) + len(items)
        self.verdicts: bytes | None = None

    def wait(self) -> bytes:
        """Return a byte for each: 1 where it is valid."""
        if self.verdicts is None:
            self.verifier.finish(self)
        assert self.verdicts is not None
        return self.verdicts


class _Verifier:
    """A process that judges, in the order in which it is asked.

    It is *sound* while all that was written to it and read from it was whole: after an interrupt in
    the middle nobody could tell whose verdict a byte is. Then another one is started.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owed: deque[_Part] = deque()
        self._process: subprocess.Popen[bytes] | None = None
        self._sound = False
        atexit.register(self.close)

    def begin(self, items: Sequence[Item]) -> _Part:
        """Hand signatures over."""
        part = _Part(self, items)
        with self._lock:
            while self._owed and not self._has_room(part):
                self._take()
            if not self._sound:
                self._start()
            sound, self._sound = self._sound, False
            self._owed.append(part)
            if sound:
                with contextlib.suppress(OSError):
                    write(self._pipes()[0], part.head, items)
                    self._sound = True
        return part

    def finish(self, part: _Part) -> None:
        """Wait for the verdicts on a part, and on those before it."""
        with self._lock:
            while part.verdicts is None:
                self._take()

    def _has_room(self, part: _Part) -> bool:
        if not self._sound:
            return False
        room = _OWED
        if hasattr(fcntl, "F_GETPIPE_SZ"):  # Linux: who has many gets small ones, of whole pages
            room = min(room, fcntl.fcntl(self._pipes()[1], fcntl.F_GETPIPE_SZ) // 2)
        return sum(one.owes for one in self._owed) + part.owes <= room

    def _take(self) -> None:
        """Have the verdicts on the first part that is owed."""
        part = self._owed[0]
        if part.verdicts is None and self._sound:
            self._sound = False
            answer = self._pipes()[1].read(part.owes)
            if len(answer) == part.owes and answer.startswith(part.head):
                part.verdicts = answer[len(part.head) :]
                self._sound = True
        if part.verdicts is None:
            _, check = chosen()
            part.verdicts = bytes(check(*item) for item in part.items)
        self._owed.popleft()

    def _start(self) -> None:
        self.close()
        with contextlib.suppress(OSError):  # as many are running as there may be
            # In a group of its own, so that an interrupt on a terminal is not for it.
            self._process = subprocess.Popen(  # noqa: S603 - our own lines, by our own Python
                [sys.executable, "-c", _CHILD, *sys.path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                process_group=0,
            )
            self._sound = True
            if hasattr(fcntl, "F_SETPIPE_SZ"):  # Linux
                fcntl.fcntl(self._pipes()[0], fcntl.F_SETPIPE_SZ, _PIPE)

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        return self._process.stdin, self._process.stdout

    def forget(self) -> None:
        """Let go, in a forked process, of what is its parent's: the process, and a lock held then."""
        self._lock = threading.Lock()
        self.close()  # kills nothing: to a process that is not its child, Popen sends no signal

    def close(self) -> None:
        """End the process; what it owes is judged here."""
        self._sound = False
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in self._pipes():
                with contextlib.suppress(OSError):  # what was not written yet has no reader
                    pipe.close()
            self._process = None


@functools.cache
def _verifiers() -> list[_Verifier]:
    return [_Verifier() for _ in range(os.cpu_count() or 1)]


def _forget() -> None:
    for verifier in _verifiers():
        verifier.forget()


os.register_at_fork(after_in_child=_forget)


def write(to: IO[bytes], head: bytes, items: Sequence[Item]) -> None:
    """Write signatures as :func:`serve` reads them: their head, all lengths, all bytes."""
    parts = list(chain.from_iterable(items))
    lengths = struct.pack(f">{len(parts)}I", *map(len, parts))
    to.write(b"".join((head, lengths, *parts)))
    to.flush()


def serve(source: IO[bytes], to: IO[bytes]) -> None:
    """Judge what is written until the end of it."""
    _, check = chosen()
    while head := source.read(_HEAD.size):
        _, items = _HEAD.unpack(head)
        lengths = struct.unpack(f">{3 * items}I", source.read(12 * items))
        data = source.read(sum(lengths))
        parts = (data[start:end] for start, end in pairwise(accumulate(lengths, initial=0)))
        to.write(head + bytes(check(*item) for item in zip(parts, parts, parts)))
        to.flush()
