"""Seeded runs of simulated validators on all cores, then the mutation check with its runs.

One run in ten has the economy's application. Everything that consensus must cope with has to occur
in at least one run in twenty. A failure prints the seed, and the command that repeats it.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

from tests import mutants
from tests.runs import FEATURES, draw

SHARE = 0.05
"""Least share of runs in which each feature is seen."""
LABELS = {
    "round": "a round after the first",
    "lock": "a lock",
    "relock": "a lock replaced or overridden by line 29",
    "equivocation": "an equivocation",
    "restart": "a restart",
    "change": "a change of validators",
}


def play(seed: int) -> tuple[Counter[str], str]:
    """Play a run; return what was seen, and the violation if there is one."""
    run = draw(seed)
    try:
        seen = run.play()
    except AssertionError as error:
        return Counter(), str(error)
    seen[run.schedule] += 1
    seen["heights"] += run.simulation.reader.head.height
    seen["economy"] += run.economy
    return seen, ""


def main(times: int) -> None:
    """Play so many runs, print what was seen in them, and plant the known bugs."""
    begin, total, violations = time.monotonic(), Counter[str](), 0
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for seen, violation in pool.map(play, range(times), chunksize=20):
            total.update(seen)
            if violation:
                violations += 1
                print(violation, flush=True)
    shares = {feature: total[feature] / times for feature in FEATURES}
    seconds = time.monotonic() - begin
    print(
        f"consensus: {times} runs in {seconds:.0f} s, {total['economy']} with the economy,"
        f" {total['heights']} heights; {violations or 'no'} violations"
    )
    print("  " + ", ".join(f"{LABELS[feature]} {share:.1%}" for feature, share in shares.items()))
    if violations or min(shares.values()) < SHARE:
        sys.exit("consensus: a violation, or something that was seen too seldom")
    if missed := mutants.main([]):
        sys.exit(f"consensus: {missed} known bugs break no claim")
