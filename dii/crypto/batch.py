"""Verification of many signatures at once, in processes beside this one.

A block's signatures take as long as all the rest of its execution, and they can be verified before
their turn comes. Threads that verify were rejected: between two signatures they need Python's
global lock, which a thread that computes releases every 5 ms only. So were the processes of the
standard library: they import the caller's ``__main__`` again, which in a script without a guard
starts everything anew. Those of loky do not, and were as quick, but loky is one more dependency and
slow to import. Instead, a bare interpreter reads signatures from a socket and writes a byte for
each, with a lower priority than the process that it works for. A thread for each waits for the
results, since an interrupt in the middle would leave half a question, and reaches the main thread
only. Each answer begins with the head of its question: other output, such as the greeting of a
``sitecustomize``, is not taken for results.

If a process ends (for lack of memory, for example), its missing results are computed here.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import accumulate, chain, count, pairwise
from typing import IO, Final, TypeAlias

from dii.crypto import signature

Item: TypeAlias = tuple[bytes, bytes, bytes]
"""Public key, message, signature."""

_FEW: Final = 64
"""Signatures that are verified here: starting processes for them would take longer."""
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
    here = functools.cache(lambda: [check(*item) for item in items])
    if len(items) <= _FEW:
        return here
    verifiers, process = _verifiers(), os.getpid()
    size = -(-len(items) // len(verifiers))
    parts = [items[at : at + size] for at in range(0, len(items), size)]
    try:
        begun = [verifier.begin(part) for verifier, part in zip(verifiers, parts)]
    except RuntimeError:  # as many threads are running as there may be
        return here

    @functools.cache
    def results() -> list[bool]:
        if os.getpid() != process:  # the threads did not come along with the fork
            return here()
        return [bool(result) for part in begun for result in part.result()]

    return results


class _Verifier:
    """A process that verifies one part after another, and the thread that waits for it."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = ThreadPoolExecutor(1)
        self._lock = threading.Lock()  # an interrupted first call may leave a second thread
        atexit.register(self.close)
        # This kills nothing: to a process that is not its child, Popen sends no signal.
        os.register_at_fork(after_in_child=self.close)

    def begin(self, items: Sequence[Item]) -> Future[bytes]:
        """Hand signatures over, once the results of those before them are here."""
        awake = threading.Event()
        begun = self._thread.submit(self._verify, items, awake)
        awake.wait()  # so that the thread has Python's lock at once, and not after 5 ms
        return begun

    def _verify(self, items: Sequence[Item], awake: threading.Event) -> bytes:
        awake.set()
        head = _HEAD.pack(next(_NUMBERS), len(items))
        with self._lock, contextlib.suppress(OSError):  # the process ended, or did not start
            ours = self._socket or self._start()
            ours.sendall(question(head, items))
            answer = ours.recv(len(head) + len(items), socket.MSG_WAITALL)
            if len(answer) == len(head) + len(items) and answer.startswith(head):
                return answer.removeprefix(head)
        self.close()
        _, check = signature.chosen()
        return bytes(check(*item) for item in items)

    def _start(self) -> socket.socket:
        self._socket, theirs = socket.socketpair()
        with theirs:  # in a group of its own, so that an interrupt on a terminal does not reach it
            self._process = subprocess.Popen(  # noqa: S603 - our own lines, by our own Python
                [sys.executable, "-c", _CHILD, *sys.path],
                stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=subprocess.DEVNULL,
                process_group=0,
            )  # fmt: skip
        return self._socket

    def close(self) -> None:
        """End the process; its missing results are computed here."""
        if self._socket is not None:
            self._socket.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._socket = self._process = None


@functools.cache
def _verifiers() -> list[_Verifier]:
    os.register_at_fork(after_in_child=_verifiers.cache_clear)
    return [_Verifier() for _ in range(os.cpu_count() or 1)]


def question(head: bytes, items: Sequence[Item]) -> bytes:
    """Return signatures as :func:`serve` reads them: their head, all lengths, all bytes."""
    parts = list(chain.from_iterable(items))
    lengths = struct.pack(f">{len(parts)}I", *map(len, parts))
    return b"".join((head, lengths, *parts))


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
