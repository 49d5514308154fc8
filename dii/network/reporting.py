"""From metrics to the messages of a report, as a reporter sends them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import pyarrow as pa

from dii import crypto
from dii.application.messages import (
    MAX_BATCH,
    RegisterApplications,
    RegisterGateways,
    ReportChunk,
    ReportManifest,
)
from dii.application.pages import HASH, USAGE_KEY, Page, paginate
from dii.application.records import Scope
from dii.application.settling import UNATTRIBUTED as UNATTRIBUTED_HASH
from dii.telemetry.metrics import Epoch
from dii.telemetry.schema import UNATTRIBUTED


def report(
    name: str, scope: Scope, epoch: int, found: Epoch, hashed: Callable[[str, str], bytes]
) -> list[ReportManifest | ReportChunk]:
    """Return the manifest and chunks that report an epoch.

    Parameters
    ----------
    name, scope, epoch
        What is reported: columns that the scope asks for and the tables lack are absent throughout.
    found
        The epoch's metrics and usage, with operators given by their addresses in hex.
    hashed
        (kind, id) to the hash by which the chain knows a gateway or an application.
    """
    gateways = [
        UNATTRIBUTED_HASH if one == UNATTRIBUTED else hashed("gateway", one)
        for one in found.metrics["gateway"].to_pylist()
    ]
    used = zip(found.usage["application"].to_pylist(), found.usage["operator"].to_pylist())
    users = [
        hashed("application", one) + (bytes.fromhex(by) if by != UNATTRIBUTED else bytes(HASH))
        for one, by in (used if scope.usage else ())
    ]
    metrics = _chunks(gateways, found.metrics, scope.metrics, HASH)
    usage = _chunks(users, found.usage, scope.usage, USAGE_KEY)
    manifest = ReportManifest(
        name,
        epoch,
        len(gateways),
        scope.metrics,
        tuple(map(crypto.sha256, metrics)),
        len(users),
        scope.usage,
        tuple(map(crypto.sha256, usage)),
    )
    return [manifest, *(ReportChunk(name, epoch, chunk) for chunk in (*metrics, *usage))]


def _chunks(keys: list[bytes], table: pa.Table, names: Sequence[str], width: int) -> list[bytes]:
    """Return the rows' chunks in the order of keys."""
    order = sorted(range(len(keys)), key=keys.__getitem__)
    columns = []
    for name in names:
        known = name in table.column_names
        values = table[name].to_pylist() if known else [None] * len(keys)
        columns.append([values[row] for row in order])
    page = Page([keys[row] for row in order], columns)
    return [part.encode() for part in paginate(page, width)]


def registrations(
    kind: type[RegisterGateways | RegisterApplications],
    scope: str,
    bindings: Iterable[tuple[bytes, bytes]],
) -> list[RegisterGateways | RegisterApplications]:
    """Return the messages that bind hashes to accounts, in the order of hashes."""
    ordered = sorted(bindings)
    return [
        kind(scope, tuple(ordered[at : at + MAX_BATCH])) for at in range(0, len(ordered), MAX_BATCH)
    ]
