"""How contributions become money: rules, policies, issuance and receipts.

A *stream* joins a rule (metrics to weights) and a policy (how much an epoch may mint) for one
scope's gateways. Everything here is pure and exact in Python integers, so that the laboratory
replays the very functions that the chain executes. What the laboratory needs, tables among it,
loads on first use: ``compare``, ``Comparison`` and ``Records``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from dii.minting.issuance import divide, due, issue, share
from dii.minting.policies import POLICIES, ExponentialDecay, FixedEmission, PerContribution, Policy
from dii.minting.receipts import REASONS, Issuance, ReceiptLeaf
from dii.minting.rules import (
    RULES,
    Airtime,
    Composite,
    DataCredits,
    Rule,
    ShapleyTraffic,
    Uptime,
    weigh,
)
from dii.minting.spec import Spec

if TYPE_CHECKING:
    from dii.minting.laboratory import Comparison, Records, compare

__all__ = [
    "POLICIES",
    "REASONS",
    "RULES",
    "Airtime",
    "Comparison",
    "Composite",
    "DataCredits",
    "ExponentialDecay",
    "FixedEmission",
    "Issuance",
    "PerContribution",
    "Policy",
    "ReceiptLeaf",
    "Records",
    "Rule",
    "ShapleyTraffic",
    "Spec",
    "Uptime",
    "compare",
    "divide",
    "due",
    "issue",
    "share",
    "weigh",
]


def __getattr__(name: str) -> object:
    if name in {"Comparison", "Records", "compare"}:
        return getattr(importlib.import_module("dii.minting.laboratory"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
