"""Processes that end in the middle: at each line of a commit, at random, or on a full disk.

After each the chain must open, have every acknowledged block, and be byte for byte the chain of an
undisturbed run. Children are forked, since starting Python again would take longer than the test.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import FrameType
from typing import Any

from dii.consensus.node import CHAIN_FILE, Node
from dii.errors import DiiError
from dii.ledger.store import KEEP, Store
from tests.soak.chain import FAST, GENESIS, Undisturbed, produce, shrink

TRACED = ("consensus/node.py", "ledger/store.py", "ledger/snapshot.py", "ledger/index.py")
Line = tuple[str, int]


def child(run: Callable[[int], None]) -> tuple[int, int]:
    """Fork; return the process and a pipe with its output."""
    read, write = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(read)
        try:
            run(write)
        finally:
            os._exit(0)
    os.close(write)
    return process, read


def ended(process: int, read: int) -> bytes:
    """Wait for a child; return all it wrote."""
    with os.fdopen(read, "rb") as file:
        written = file.read()
    os.waitpid(process, 0)
    return written


def write_blocks(home: Path, count: int) -> Callable[[int], None]:
    """Return a function that adds blocks in a child and prints each acknowledged height."""

    def run(say: int) -> None:
        with closing(Node(GENESIS, home)) as node:
            for _ in range(count):
                produce(node)
                os.write(say, node.height.to_bytes(8))

    return run


def acknowledged(written: bytes) -> int:
    """Return the last height that a child printed."""
    return int.from_bytes(written[-8:])


# --- every line -----------------------------------------------------------------------------------


def traced(run: Callable[[int], None], at: Line | None) -> Callable[[int], None]:
    """Return a tracer that ends the process at a line, or prints all lines passed."""

    def wrapped(say: int) -> None:
        passed: dict[Line, None] = {}

        def trace(frame: FrameType, event: str, _: object) -> Any:
            name = frame.f_code.co_filename
            if not name.endswith(TRACED):
                return None
            line = name, frame.f_lineno
            if event == "line":
                if line == at:
                    os._exit(9)
                passed[line] = None
            return trace

        sys.settrace(trace)
        run(say)
        sys.settrace(None)
        if at is None:
            os.write(say, json.dumps(list(passed)).encode())

    return wrapped


def points(chain: Undisturbed, height: int, blocks: int, step: int) -> int:
    """End a process at each line (or each few) of those that it passes while it adds blocks."""
    with tempfile.TemporaryDirectory(dir=FAST) as folder:
        original, home = Path(folder, "original"), Path(folder, "home")
        original.mkdir()
        if height:
            ended(*child(write_blocks(original, height)))
        shutil.copytree(original, home)

        def silent(_: int) -> None:
            with Path(os.devnull).open("wb") as sink:
                write_blocks(home, blocks)(sink.fileno())

        lines = json.loads(ended(*child(traced(silent, None))))
        for line in lines[::step]:
            shutil.rmtree(home)
            shutil.copytree(original, home)
            written = ended(*child(traced(write_blocks(home, blocks), tuple(line))))
            try:
                chain.check(home, acknowledged(written) or height)
            except BaseException:
                print(f"after an end at {line} of {blocks} blocks on {height}")
                raise
        with closing(Store(home / CHAIN_FILE, GENESIS.hash, readonly=True)) as store:
            assert len(store.snapshots()) == KEEP * bool(height), "blocks that end no snapshot"
    return len(lines[::step])


# --- at random ------------------------------------------------------------------------------------


def kills(chain: Undisturbed, count: int, seed: int) -> tuple[int, int]:
    """Kill a writing process repeatedly; count acknowledged and other durable blocks."""
    draw = random.Random(seed)
    said = more = 0
    for first in range(0, count, 20):
        with tempfile.TemporaryDirectory(dir=FAST) as folder:
            height = 0
            for number in range(first, min(count, first + 20)):
                process, read = child(write_blocks(Path(folder), 10**9))
                time.sleep(draw.uniform(0.001, 0.12))
                os.kill(process, signal.SIGKILL)
                last = acknowledged(ended(process, read)) or height
                try:
                    found = chain.check(Path(folder), last)
                except BaseException:
                    print(f"kill {number} of seed {seed}, height {last}")
                    raise
                said, more = said + last - height, more + found - last
                height = found + 1
    return said, more


# --- no room --------------------------------------------------------------------------------------


def full(chain: Undisturbed, count: int) -> int:
    """Limit the size of a chain's files; return the number of runs that stopped for it."""
    stops = 0
    for number in range(count):
        with tempfile.TemporaryDirectory(dir=FAST) as folder:
            home = Path(folder)
            ended(*child(write_blocks(home, 10)))
            limit = (home / CHAIN_FILE).stat().st_size + 1_000 + 7_321 * number

            def run(say: int, home: Path = home, limit: int = limit) -> None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
                try:
                    write_blocks(home, 200)(say)
                except DiiError as error:
                    os.write(say, b"%b %b" % (type(error).__name__.encode(), str(error).encode()))

            written = ended(*child(run))
            heights, _, words = written.partition(b"StoreBroken ")
            stops += b"mend the disk and start again" in words
            chain.check(home, acknowledged(heights[: len(heights) // 8 * 8]) or 10)
    return stops


def main(count: int, seed: int = 7) -> None:
    """Run all and print a summary."""
    shrink()
    chain = Undisturbed()
    step = 1 if count > 100 else 3
    for height, blocks in ((0, 1), (20, 6)):
        lines = points(chain, height, blocks, step)
        print(f"ended at {lines} lines of {blocks} blocks after {height}", flush=True)
    tries = 2 + count // 15
    print(f"no room in {full(chain, tries)} of {tries} runs", flush=True)
    said, more = kills(chain, count, seed)
    print(f"killed {count} times: {said} blocks acknowledged, {more} more found, none lost")
