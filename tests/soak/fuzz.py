"""Mutated untrusted bytes: functions that read them raise only errors of ours.

``python -m tests.soak fuzz 30`` gives each target (tests/soak/targets.py) as many seconds, in a
process of its own. Where atheris is installed (``make soak`` tries to) it looks for inputs that
reach new code; otherwise a loop here keeps inputs that end in new places. An input that breaks a
target is kept, and ``python -m tests.soak.fuzz TARGET FILE`` runs it again.
"""

from __future__ import annotations

import importlib
import importlib.util
import random
import re
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.soak.targets import Target

NAMES = (
    *("codec", "diffs", "pages", "transactions", "blocks", "messages", "proofs", "genesis"),
    *("snapshots", "trees", "sources"),
)
LONGEST = 1 << 16
"""Bytes of an input."""


def attempt(target: Target, data: bytes) -> tuple[str, ...]:
    """Read an input; return where it was refused, or nothing. A defect goes through."""
    from dii.errors import DiiError

    try:
        target.read(data)
    except DiiError as error:
        frames = traceback.walk_tb(error.__traceback__)
        return tuple(f"{frame.f_code.co_filename}:{line}" for frame, line in frames)
    return ()


def loop(target: Target, seconds: float, most: int, seed: int) -> int:
    """Mutate for some seconds, with at most ``most`` inputs; return the number of inputs read."""
    from tests.soak.mutation import mutate, sound

    draw, end, count = random.Random(seed), time.monotonic() + seconds, 0
    corpus = list(target.seeds)
    seen = {attempt(target, data) for data in corpus}
    while count < most and time.monotonic() < end:
        data = draw.choice(corpus)
        for _ in range(draw.choice((1, 1, 1, 3))):
            data = mutate(data, draw.choice(corpus), target.form, draw)[:LONGEST]
        count += 1
        try:
            place = attempt(target, data)
        except BaseException:
            path = Path(tempfile.gettempdir(), f"dii-fuzz-{seed}-{count}")
            path.write_bytes(data)
            print(f"input {count} of seed {seed} is kept as {path}", flush=True)
            raise
        if place not in seen and sound(data, target.form):
            seen.add(place)
            corpus.append(data)
    return count


def guided(target: Target, seconds: int, atheris: Any) -> None:
    """Let atheris look for inputs; it ends the process."""
    from tests.soak.mutation import mutate

    def change(data: bytes, size: int, seed: int) -> bytes:
        draw = random.Random(seed)
        if draw.random() < 0.2:
            return bytes(atheris.Mutate(data, size))
        return mutate(data, draw.choice(target.seeds), target.form, draw)[:size]

    with tempfile.TemporaryDirectory() as folder:
        for number, data in enumerate(target.seeds):
            Path(folder, str(number)).write_bytes(data)
        options = {
            "max_total_time": seconds,
            "max_len": LONGEST,
            "timeout": 20,
            "rss_limit_mb": 2_048,
            "artifact_prefix": f"{tempfile.gettempdir()}/dii-fuzz-",
            "print_final_stats": 1,
        }
        words = [sys.argv[0], *(f"-{name}={value}" for name, value in options.items()), folder]
        atheris.Setup(words, lambda data: attempt(target, data), custom_mutator=change)
        atheris.Fuzz()


def run(name: str, what: str) -> None:
    """Fuzz a target for some seconds, or read a file that broke it."""
    if importlib.util.find_spec("atheris") and what.isdigit():
        atheris = importlib.import_module("atheris")
        with atheris.instrument_imports(include=["dii"]):
            targets = importlib.import_module("tests.soak.targets")
        guided(targets.TARGETS[name](), int(what), atheris)
        return
    target = importlib.import_module("tests.soak.targets").TARGETS[name]()
    if what.isdigit():
        print(f"{loop(target, int(what), 10**9, seed=7)} inputs")
    else:
        print(attempt(target, Path(what).read_bytes()) or "read without an error")


def main(seconds: int) -> None:
    """Give each target some seconds, and print how many inputs it read."""
    guide = "atheris" if importlib.util.find_spec("atheris") else "a plain loop: no atheris here"
    print(f"fuzzing with {guide}, {seconds} s a target", flush=True)
    for name in NAMES:
        command = [sys.executable, "-m", "tests.soak.fuzz", name, str(seconds)]
        done = subprocess.run(command, capture_output=True, text=True)
        words = done.stdout + done.stderr
        if done.returncode:
            print(words)
            raise SystemExit(f"fuzzing {name} failed")
        (count,) = re.findall(r"(?:executed_units: +|^)(\d+)", words, re.MULTILINE)
        print(f"fuzzed {name}: {count} inputs", flush=True)


if __name__ == "__main__":
    run(*sys.argv[1:])
