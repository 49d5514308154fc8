"""Micro-economies for communities that build infrastructure together.

Gateways report operational metrics, the contribution of each gateway is computed from them, money
is minted accordingly on a replicated ledger, and everything can be checked. Start with::

    from dii import Network, agreements, load, minting

Names load on first use, so that importing the package costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dii import economy, minting
    from dii.application import actions
    from dii.contracts import agreements
    from dii.network import Network, Traffic
    from dii.telemetry.load import Telemetry, load

__all__ = ["Network", "Telemetry", "Traffic", "actions", "agreements", "economy", "load", "minting"]
__version__ = "0.1.0"

_ORIGINS: Final = {
    "Network": "dii.network:Network",
    "Telemetry": "dii.telemetry.load:Telemetry",
    "Traffic": "dii.network:Traffic",
    "actions": "dii.application.actions",
    "agreements": "dii.contracts.agreements",
    "economy": "dii.economy",
    "load": "dii.telemetry.load:load",
    "minting": "dii.minting",
}


def __getattr__(name: str) -> object:
    """Load a public name on first use (PEP 562)."""
    if name not in _ORIGINS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, member = _ORIGINS[name].partition(":")
    loaded = importlib.import_module(module)
    return getattr(loaded, member) if member else loaded


def __dir__() -> list[str]:
    """List the public names."""
    return sorted([*globals(), *__all__])
