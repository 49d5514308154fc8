"""How contributions become money: rules, policies, issuance and receipts.

A *stream* joins a rule (metrics to weights) and a policy (how much an epoch may mint) for one
scope's gateways. Everything here is pure and exact in Python integers, so that the laboratory
replays the very functions that the chain executes.
"""

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

__all__ = [
    "POLICIES",
    "REASONS",
    "RULES",
    "Airtime",
    "Composite",
    "DataCredits",
    "ExponentialDecay",
    "FixedEmission",
    "Issuance",
    "PerContribution",
    "Policy",
    "ReceiptLeaf",
    "Rule",
    "ShapleyTraffic",
    "Spec",
    "Uptime",
    "divide",
    "due",
    "issue",
    "share",
    "weigh",
]
