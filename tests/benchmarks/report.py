"""Printing benchmarks, and running peers in their own environment."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
PEERS = ROOT / ".venv-peers" / "bin" / "python"


def show(title: str, rows: Sequence[tuple[str, str]], note: str = "") -> None:
    """Print a table of (what, measured) with the machine it was measured on."""
    width = max(len(what) for what, _ in rows)
    print(f"\n{title}  [{os.cpu_count()} cores, Python {platform.python_version()}]")
    for what, measured in rows:
        print(f"  {what:<{width}}  {measured}")
    if note:
        print(f"  {note}", flush=True)


def median(run: Callable[[], float], times: int = 5) -> tuple[float, float, float]:
    """Return the median, least and greatest of several runs of a measurement."""
    measured = sorted(run() for _ in range(times))
    return statistics.median(measured), measured[0], measured[-1]


def peer(script: str, *arguments: str) -> str:
    """Run a peer's script in ``.venv-peers``; its output, or why there is none."""
    if not PEERS.exists():
        return "not installed (make peers)"
    path = Path(__file__).parent / "peers" / script
    done = subprocess.run([PEERS, path, *arguments], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return done.stdout.strip()
    why = (done.stderr.splitlines() or [f"ended by {-done.returncode}"])[-1]
    return "not installed (make peers)" if why.startswith("ModuleNotFound") else f"failed ({why})"
