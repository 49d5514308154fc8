"""The page of Python that anybody can check proofs with, and a helper for refused proofs."""

from __future__ import annotations

import runpy
from collections.abc import Callable

import pytest

from dii.errors import ProofInvalid
from tests.require import ROOT

CHECKER = ROOT / "docs" / "check_proof.py"
PAGE = runpy.run_path(str(CHECKER))
"""The page of Python that anybody can check proofs with, read once."""


def unproven(check: Callable[..., None], *arguments: object) -> None:
    """Check a proof that has to be refused."""
    with pytest.raises(ProofInvalid):
        check(*arguments)
