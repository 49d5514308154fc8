"""From metrics to the messages of a report, as a reporter sends them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import pyarrow as pa

from dii import crypto
from dii.application.messages import MAX_BATCH, RegisterGateways, ReportChunk, ReportManifest
from dii.application.pages import Page, paginate
from dii.application.settling import UNATTRIBUTED as UNATTRIBUTED_HASH
from dii.telemetry.schema import UNATTRIBUTED


def report(
    scope: str, epoch: int, table: pa.Table, metrics: Sequence[str], hashed: Callable[[str], bytes]
) -> list[ReportManifest | ReportChunk]:
    """Return the manifest and chunks that report an epoch.

    Parameters
    ----------
    scope, epoch
        What is reported.
    table
        Columns ``gateway`` and, where given, the metrics; one row a gateway.
    metrics
        The scope's metrics, in order; one that the table lacks is absent throughout.
    hashed
        Gateway id to the hash by which the chain knows it.
    """
    gateways = [
        UNATTRIBUTED_HASH if name == UNATTRIBUTED else hashed(name)
        for name in table["gateway"].to_pylist()
    ]
    order = sorted(range(len(gateways)), key=gateways.__getitem__)
    columns = []
    for name in metrics:
        known = name in table.column_names
        values = table[name].to_pylist() if known else [None] * len(gateways)
        columns.append([values[row] for row in order])
    pages = paginate(Page([gateways[row] for row in order], columns))
    chunks = [page.encode() for page in pages]
    hashes = tuple(crypto.sha256(chunk) for chunk in chunks)
    manifest = ReportManifest(scope, epoch, len(gateways), tuple(metrics), hashes)
    return [manifest, *(ReportChunk(scope, epoch, chunk) for chunk in chunks)]


def registrations(scope: str, bindings: Iterable[tuple[bytes, bytes]]) -> list[RegisterGateways]:
    """Return the messages that bind gateway hashes to accounts, in the order of hashes."""
    ordered = sorted(bindings)
    return [
        RegisterGateways(scope, tuple(ordered[at : at + MAX_BATCH]))
        for at in range(0, len(ordered), MAX_BATCH)
    ]
