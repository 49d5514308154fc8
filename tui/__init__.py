"""The live dashboard for terminals: not in this release, only its place and its command.

What it will show can be had today from the command line, which the command names.
"""

from __future__ import annotations

import sys


def main() -> int:
    """Say what to use until the dashboard is here; the exit code says that nothing was shown."""
    print(
        "dii-tui: the live dashboard comes with a later release; "
        "until then: dii status, dii list epochs, dii show gateway ID",
        file=sys.stderr,
    )
    return 1
