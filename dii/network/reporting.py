"""Messages of a report, made from an epoch's metrics and usage."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import pyarrow as pa

from dii import crypto
from dii.application import messages
from dii.application.pages import HASH, USAGE_KEY, ZERO_HASH, Page, paginate
from dii.application.records import Scope
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
) -> tuple[messages.ReportManifest, list[messages.ReportChunk]]:
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
        ZERO_HASH if one == UNATTRIBUTED else hashed("gateway", one)
        for one in found.metrics["gateway"].to_pylist()
    ]
    used = zip(found.usage["application"].to_pylist(), found.usage["operator"].to_pylist())
    users = [
        hashed("application", one) + (bytes.fromhex(by) if by != UNATTRIBUTED else bytes(HASH))
        for one, by in (used if scope.usage else ())
    ]
    rows, metrics = _pages(
        gateways, found.metrics, scope.metrics, HASH, "receptions", most,
        lambda key: key == ZERO_HASH or bound("gateway", key),
    )  # fmt: skip
    uses, usage = _pages(
        users, found.usage, scope.usage, USAGE_KEY, "delivered", most,
        lambda key: bound("application", key[:HASH]),
    )  # fmt: skip
    manifest = messages.ReportManifest(
        name, epoch, rows, scope.metrics, tuple(map(crypto.sha256, metrics)),
        uses, scope.usage, tuple(map(crypto.sha256, usage)),
    )  # fmt: skip
    return manifest, [messages.ReportChunk(name, epoch, page) for page in (*metrics, *usage)]


def notes(found: Epoch, manifest: messages.ReportManifest) -> list[str]:
    """Return notes on values that a report cuts, and rows that it leaves out."""
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


def _pages(
    keys: Sequence[bytes],
    table: pa.Table,
    names: Sequence[str],
    width: int,
    by: str,
    most: int,
    first: Callable[[bytes], bool],
) -> tuple[int, list[bytes]]:
    """Return the number of rows of a table that are reported, and their pages in the order of keys.

    Parameters
    ----------
    keys, table, names, width
        Keys of the rows, the table, its columns to report, and bytes of a key.
    by, most, first
        Of more than ``most`` rows those are left out whose key is not ``first``, from the smallest
        number in the column ``by``.
    """
    rows = sorted(range(len(keys)), key=keys.__getitem__)
    if len(rows) > most:
        counts = table[by].to_pylist() if by in table.column_names else [0] * len(keys)
        rows.sort(key=lambda row: (not first(keys[row]), -(counts[row] or 0)))
        rows = sorted(rows[:most], key=keys.__getitem__)
    unknown = [None] * len(keys)
    known = [table[name].to_pylist() if name in table.column_names else unknown for name in names]
    page = Page([keys[row] for row in rows], [[column[row] for row in rows] for column in known])
    return len(rows), [part.encode() for part in paginate(page, width)]


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
