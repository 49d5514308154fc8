"""Mutation check of consensus: known bugs, planted one at a time, that claims and runs must notice.

``python -m tests.mutants`` plants all, each in a process of its own, and prints the claim of the
tests that fails and the first seeded run that does; with names, only those. ``claims`` before the
names leaves out the runs.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import NamedTuple

import pytest

from tests.require import ROOT

RUNS = 60
"""Seeded runs that a bug is given."""


class Mutant(NamedTuple):
    """A bug: a module, texts in its source with what takes their place, and a claim it breaks."""

    module: str
    changes: Sequence[tuple[str, str]]
    claim: str


MACHINE, SIMULATOR = "dii.consensus.tendermint", "dii.testing.simulator"
SIGNED = "test_testing.py::test_votes_that_no_validator_signed_for_this_chain_are_not_taken"
TURNS = "test_tendermint.py::test_over_as_many_turns_as_power_each_proposes_exactly_its_power"
EVIDENCE = "test_evidence_of_the_time_up_to_the_removal_changes_nothing"
LINE_16 = "test_the_proposer_proposes_its_valid_value_again_with_the_round_of_its_proof"
LINE_29 = "test_a_proof_overrides_a_lock_that_is_not_of_a_later_round"
LINE_44 = "test_a_quorum_of_nil_prevotes_is_precommitted_nil_at_once"
FREE = "free = self.locked_round <= proven  # line 29"
GENUINE = "self.run.verify(key, signed, message.signature)"
OTHER_CHAIN = "message.message(crypto.sha256(self.run.chain))"
KNOWN = "vote.public_key in self._powers"
CAST = "cast[vote.header][vote.public_key"

MUTANTS = {
    "no locking": Mutant(
        MACHINE,
        [("self.locked, self.locked_round = proposal, self.round", "pass")],
        "test_tendermint.py::test_a_quorum_of_prevotes_locks_and_is_precommitted",
    ),
    "quorum of two thirds": Mutant(
        MACHINE,
        [("> 2 * self._total", ">= 2 * self._total")],
        "test_tendermint.py::test_exactly_two_thirds_are_no_quorum",
    ),
    "line 29 always lets go": Mutant(
        MACHINE, [(FREE, "free = True")], f"test_tendermint.py::{LINE_29}"
    ),
    "line 29 never lets go": Mutant(
        MACHINE, [(FREE, "free = False")], f"test_tendermint.py::{LINE_29}"
    ),
    "valid value not proposed again": Mutant(
        MACHINE,
        [("block = self.valid.block if self.valid else None", "block = None")],
        f"test_tendermint.py::{LINE_16}",
    ),
    "nil prevotes ignored": Mutant(
        MACHINE,
        [(KNOWN, f"{KNOWN} and (vote.kind == PRECOMMIT or vote.header)")],
        f"test_tendermint.py::{LINE_44}",
    ),
    "vote counted twice": Mutant(
        MACHINE,
        [
            ("if vote.public_key not in cast[vote.header]:", "if True:"),
            (f"{CAST}] = vote", f"{CAST} + bytes([len(cast[vote.header])])] = vote"),
            ("self._powers.get(key, 0)", "self._powers.get(key[:32], 0)"),
        ],
        "test_tendermint.py::test_a_vote_counts_once_whatever_its_time",
    ),
    "wrong chain id accepted": Mutant(
        SIMULATOR, [(GENUINE, f"({GENUINE} or {GENUINE.replace('signed', OTHER_CHAIN)})")], SIGNED
    ),
    "unsigned vote accepted": Mutant(SIMULATOR, [(GENUINE, "True")], SIGNED),
    "stale round accepted": Mutant(
        MACHINE,
        [
            ("if number == self.round and self.decision is None:", "if self.decision is None:"),
            ("self._start_round(self.round + 1)", "self._start_round(number + 1)"),
        ],
        "test_tendermint.py::test_the_timeout_of_another_round_does_nothing",
    ),
    "timeout never grows": Mutant(
        MACHINE,
        [(" + number * self.growth", "")],
        "test_tendermint.py::test_timeouts_grow_in_every_round",
    ),
    "rotation ignores power": Mutant(
        MACHINE,
        [
            ("priorities[key] += power", "priorities[key] += 1"),
            ("priorities[proposer] -= total", "priorities[proposer] -= len(self.powers)"),
        ],
        TURNS,
    ),
    "evidence applied twice": Mutant(
        "dii.application.governance",
        [(" or (known is not None and height < known + REMOVAL)", "")],
        f"test_application_validators.py::{EVIDENCE}",
    ),
}
"""The twelve of the design; line 29 can be missed in two ways."""


# --- in the process of one mutant ----------------------------------------------------------------


class Planted(SourceFileLoader):
    """Loads a module whose source is changed."""

    changes: Sequence[tuple[str, str]]

    def get_code(self, fullname: str) -> CodeType:
        source = Path(self.path).read_text()
        for old, new in self.changes:
            assert old in source, f"{fullname} has no {old!r}"
            source = source.replace(old, new)
        return compile(source, self.path, "exec")


def plant(mutant: Mutant) -> None:
    """Have a module imported with its bug."""
    path = str(ROOT / mutant.module.replace(".", "/")) + ".py"
    assert mutant.module not in sys.modules
    loader = Planted(mutant.module, path)
    loader.changes = mutant.changes

    class Finder:
        @staticmethod
        def find_spec(name: str, *_: object) -> ModuleSpec | None:
            if name != mutant.module:
                return None
            return importlib.util.spec_from_file_location(name, path, loader=loader)

    sys.meta_path.insert(0, Finder)  # type: ignore[arg-type]


def noticed_by_claim(mutant: Mutant) -> str:
    """Return the claim if it fails."""
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    arguments = ["-x", "-q", "-p", "no:cacheprovider", "--noconftest"]
    with contextlib.redirect_stdout(io.StringIO()) as output:
        status = pytest.main([*arguments, str(ROOT / "tests" / mutant.claim)])
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise RuntimeError(output.getvalue())
    return mutant.claim if status == pytest.ExitCode.TESTS_FAILED else ""


def noticed_by_runs() -> str:
    """Return the first seeded run that fails."""
    from tests.runs import draw

    for seed in range(RUNS):
        try:
            draw(seed).play()
        except Exception as error:  # noqa: BLE001 - a bug may raise anything
            return f"run {seed}: {str(error).removeprefix(f'seed {seed}: ').partition(';')[0]}"
    return ""


def main(words: Sequence[str]) -> int:
    """Plant mutants; return how many were not noticed, by claims in any case."""
    claims_only = words[:1] == ["claims"]
    names = words[claims_only:] or list(MUTANTS)
    if len(names) > 1:
        command = [sys.executable, "-m", "tests.mutants", *words[:claims_only]]
        return sum(subprocess.run([*command, name], cwd=ROOT).returncode != 0 for name in names)
    (name,) = names
    mutant = MUTANTS[name]
    plant(mutant)
    claim = noticed_by_claim(mutant)
    run = "" if claims_only else noticed_by_runs()
    print(f"{name}: {claim or 'NOT NOTICED'}" + (f"; {run}" if run else ""), flush=True)
    return not claim


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
