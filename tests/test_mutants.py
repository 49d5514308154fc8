"""Mutation check of consensus: known bugs break the claims that should notice them."""

from __future__ import annotations

import subprocess
import sys

from tests.mutants import MUTANTS
from tests.require import ROOT


def test_each_of_twelve_known_bugs_breaks_a_claim() -> None:
    command = [sys.executable, "-m", "tests.mutants", "claims"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines == [f"{name}: {mutant.claim}" for name, mutant in MUTANTS.items()]
    assert len({name.partition(" always")[0].partition(" never")[0] for name in MUTANTS}) == 12


def test_a_bug_that_breaks_no_claim_is_reported() -> None:
    code = """
from tests import mutants
changes = [("Begin with round 0", "Begin")]
mutants.MUTANTS["harmless"] = mutants.MUTANTS["no locking"]._replace(changes=changes)
raise SystemExit(mutants.main(["claims", "harmless"]))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "harmless: NOT NOTICED\n"), done.stderr
