"""Times that a user waits: importing, the command line's help, and the demo."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.report import ROOT, median, show


def _seconds(*command: str | Path, cwd: Path = ROOT) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, cwd=cwd, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def _demo_from_nothing() -> float:
    """Clone, then the README's command: environment and demo."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "dii"
        subprocess.run(["git", "clone", "-q", ROOT, clone], check=True)
        plain = {"PATH", "HOME", "LANG", "PIP_INDEX_URL", "PIP_CONFIG_FILE"}
        for name in list(os.environ):
            if name.startswith(("VIRTUAL_ENV", "PYTHON")) and name not in plain:
                del os.environ[name]
        seconds = _seconds("make", "demo", cwd=clone)
        shutil.rmtree(clone, ignore_errors=True)
    return seconds


def main() -> None:
    """Measure and print."""
    python = sys.executable
    dii = Path(python).with_name("dii")

    def row(what: str, *command: str | Path, times: int = 9) -> tuple[str, str]:
        middle, least, most = median(lambda: _seconds(*command), times)
        return what, f"{middle:.3f} s ({least:.3f}-{most:.3f}, median of {times})"

    rows = [
        row("python -c pass", python, "-c", "pass"),
        row("import dii", python, "-c", "import dii"),
        row("dii --help", dii, "--help"),
        row("make demo, again", "make", "demo", times=3),
        ("make demo, from nothing in a fresh clone", f"{_demo_from_nothing():.1f} s (one run)"),
    ]
    show("Waiting", rows)


if __name__ == "__main__":
    main()
