"""The quickstart's network for tests: how to make, divide and compare it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dii import Network, minting

EPOCHS = 8


def create(home: Path | None = None, **changes: Any) -> Network:
    """Make the network of the quickstart."""
    return Network.create(
        "ttn",
        symbol="TTC",
        seed=7,
        home=home,
        rule=minting.ShapleyTraffic(),
        policy=minting.FixedEmission("10000 TTC"),
        allocations={"bob": "500 TTC"},
        **changes,
    )


def roots(network: Network) -> tuple[object, ...]:
    return network.height, network.header(), network.state.committed_root


def late(network: Network) -> list[dict[str, Any]]:
    return [row for row in network.feed.telemetry.rejected.to_pylist() if row["reason"] == "late"]
