"""Telemetry: from what gateways report to integers per gateway and epoch.

``readers`` turn files into the tables of ``schema``, ``load`` merges them, ``metrics`` counts.
Names resolve on first use, so that whoever wants the schema does not load table engines. The
function ``load`` stays in its module, as ``dii.telemetry.load.load`` and ``dii.load``: a package
cannot have a module and a function of one name.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dii.telemetry.airtime import time_on_air
    from dii.telemetry.fields import canonical_gateway
    from dii.telemetry.load import Telemetry
    from dii.telemetry.readers import READERS
    from dii.telemetry.tables import REASONS, arrow_schema

_HOMES = {
    "READERS": "dii.telemetry.readers",
    "REASONS": "dii.telemetry.tables",
    "Telemetry": "dii.telemetry.load",
    "arrow_schema": "dii.telemetry.tables",
    "canonical_gateway": "dii.telemetry.fields",
    "time_on_air": "dii.telemetry.airtime",
}

__all__ = [
    "READERS",
    "REASONS",
    "Telemetry",
    "arrow_schema",
    "canonical_gateway",
    "time_on_air",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
