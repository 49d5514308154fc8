"""From metrics to the messages of a report, as a reporter sends them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import pyarrow as pa

from dii import crypto
from dii.application import messages
from dii.application.pages import HASH, USAGE_KEY, Page, paginate
from dii.application.records import Scope
from dii.application.settling import UNATTRIBUTED as UNATTRIBUTED_HASH
from dii.schema import METRICS, UNATTRIBUTED, USAGE, USAGE_GIVEN
from dii.telemetry.metrics import Epoch


def report(
    name: str,
    scope: Scope,
    epoch: int,
    found: Epoch,
    hashed: Callable[[str, str], bytes],
    bound: Callable[[str, bytes], bool],
    most: int,
) -> list[messages.ReportManifest | messages.ReportChunk]:
    """Return the manifest and chunks that report an epoch.

    Parameters
    ----------
    name, scope, epoch
        What is reported: columns that the scope asks for and the tables lack are absent throughout.
    found
        The epoch's metrics and usage, with operators given by their addresses in hex.
    hashed
        (kind, id) to the hash by which the chain knows a gateway or an application.
    bound
        Whether a gateway or an application (kind, hash) has an account.
    most
        Number of rows, of metrics and of usage, above which the chain refuses a report. Of more,
        rows that are bound stay first, then those with most receptions or delivered uplinks.
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
    rows = _largest(
        gateways,
        found.metrics,
        "receptions",
        lambda key: key == UNATTRIBUTED_HASH or bound("gateway", key),
        most,
    )
    uses = _largest(
        users, found.usage, "delivered", lambda key: bound("application", key[:HASH]), most
    )
    metrics = _chunks(gateways, rows, found.metrics, scope.metrics, HASH)
    usage = _chunks(users, uses, found.usage, scope.usage, USAGE_KEY)
    manifest = messages.ReportManifest(
        name,
        epoch,
        len(rows),
        scope.metrics,
        tuple(map(crypto.sha256, metrics)),
        len(uses),
        scope.usage,
        tuple(map(crypto.sha256, usage)),
    )
    return [manifest, *(messages.ReportChunk(name, epoch, chunk) for chunk in (*metrics, *usage))]


def notes(found: Epoch, manifest: messages.ReportManifest | messages.ReportChunk) -> list[str]:
    """Return what a report cuts, and leaves out, of what the records come to."""
    assert isinstance(manifest, messages.ReportManifest)
    known = {**METRICS, **{given: USAGE[name] for given, name in USAGE_GIVEN.items()}}
    cut = [
        f"{count:,} values of {name} are cut to {known[name].maximum:,}"
        for name, count in sorted(found.cut.items())
    ]
    sizes = {"gateways": (len(found.metrics), manifest.rows)}
    if manifest.usage:
        sizes["rows of usage"] = len(found.usage), manifest.usage_rows
    left_out = [
        f"{there - sent:,} of {there:,} {what} are left out, more than a report may have"
        for what, (there, sent) in sizes.items()
        if sent < there
    ]
    return [f"epoch {manifest.epoch}: {note}" for note in cut + left_out]


def _largest(
    keys: Sequence[bytes], table: pa.Table, by: str, first: Callable[[bytes], bool], most: int
) -> list[int]:
    """Return the numbers of at most so many rows, in the order of keys."""
    rows = sorted(range(len(keys)), key=keys.__getitem__)
    if len(rows) > most:
        counts = table[by].to_pylist() if by in table.column_names else [0] * len(keys)
        rows.sort(key=lambda row: (not first(keys[row]), -(counts[row] or 0)))
        rows = sorted(rows[:most], key=keys.__getitem__)
    return rows


def _chunks(
    keys: Sequence[bytes], order: list[int], table: pa.Table, names: Sequence[str], width: int
) -> list[bytes]:
    """Return the chunks of some rows."""
    columns = []
    for name in names:
        known = name in table.column_names
        values = table[name].to_pylist() if known else [None] * len(keys)
        columns.append([values[row] for row in order])
    page = Page([keys[row] for row in order], columns)
    return [part.encode() for part in paginate(page, width)]


def registrations(
    kind: type[messages.RegisterGateways | messages.RegisterApplications],
    scope: str,
    bindings: Iterable[tuple[bytes, bytes]],
) -> list[messages.RegisterGateways | messages.RegisterApplications]:
    """Return the messages that bind hashes to accounts, in the order of hashes."""
    ordered = sorted(bindings)
    return [
        kind(scope, tuple(ordered[at : at + messages.MAX_BATCH]))
        for at in range(0, len(ordered), messages.MAX_BATCH)
    ]
