"""Stack space for calls, at any depth of their caller.

Compiled contracts, and trees while they are read, nest in many frames of Python. If the caller is
too deep itself, the call runs on a thread, whose stack begins empty, so that no result depends on
the caller. A thread for each call was rejected (it takes ten times as long as a transfer of
tokens), a permanent one too (two switches between threads per call).
"""

from __future__ import annotations

import _thread
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Final, TypeVar

SHALLOW: Final = 200
"""Frames of a caller below which there is room for a contract under the usual limit of 1,000."""
STACK: Final = 1 << 24
"""Bytes of a thread's own stack."""
T = TypeVar("T")


def with_room(call: Callable[[], T]) -> T:
    """Call on this stack if it is shallow, else on a thread with a stack of its own."""
    try:
        sys._getframe(SHALLOW)
    except ValueError:
        return call()
    future: Future[T] = Future()  # an interrupted Thread.start or .join would return too early

    def work() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001 - it is raised again in the caller
            future.set_exception(error)

    before = threading.stack_size(STACK)
    try:
        _thread.start_new_thread(work, ())
    finally:
        threading.stack_size(before)
    try:
        wait([future])
    finally:  # after an interrupt, the call would go on writing into an abandoned state
        wait([future])
    return future.result()
