"""Messages of a report, made from an epoch's metrics and usage."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, TypeVar

from dii import codec, crypto
from dii.application import messages, records
from dii.application.pages import HASH, USAGE_KEY, ZERO_HASH, Page, paginate
from dii.network.home import SCOPE
from dii.network.view import View
from dii.schema import METRICS, UNATTRIBUTED, USAGE, USAGE_GIVEN
from dii.telemetry.metrics import Epoch

B = TypeVar("B", messages.RegisterGateways, messages.RegisterApplications)

_REPORTED: Final = {
    "metrics": (records.GATEWAYS, HASH, "receptions"),
    "usage": (records.APPLICATIONS, USAGE_KEY, "delivered"),
}
"""Bindings, bytes of a key, and the column that orders rows without a binding, of each table."""


def report(
    network: View, epoch: int, found: Epoch
) -> tuple[messages.ReportManifest, list[messages.ReportChunk]]:
    """Return the manifest and chunks that report an epoch.

    Columns that the scope asks for and the tables lack are absent throughout. The chain refuses a
    report of more rows, of metrics or of usage, than ``max_rows``: of more, rows that are bound
    stay first, then those with most receptions or delivered uplinks.

    Parameters
    ----------
    network, epoch
        The network, and the number of the epoch.
    found
        The epoch's metrics and usage, with operators given by their addresses in hex.
    """
    scope, hashed = network.scope, network.home.hash
    gateways = [
        ZERO_HASH if one == UNATTRIBUTED else hashed("gateway", one)
        for one in found.metrics["gateway"].to_pylist()
    ]
    used = zip(found.usage["application"].to_pylist(), found.usage["operator"].to_pylist())
    users = [
        hashed("application", one) + (bytes.fromhex(by) if by != UNATTRIBUTED else bytes(HASH))
        for one, by in (used if scope.usage else ())
    ]
    rows, metrics = _pages(network, found, "metrics", gateways)
    uses, usage = _pages(network, found, "usage", users)
    manifest = messages.ReportManifest(
        SCOPE, epoch, rows, scope.metrics, tuple(map(crypto.sha256, metrics)),
        uses, scope.usage, tuple(map(crypto.sha256, usage)),
    )  # fmt: skip
    return manifest, [messages.ReportChunk(SCOPE, epoch, page) for page in (*metrics, *usage)]


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
    network: View, found: Epoch, kind: str, keys: Sequence[bytes]
) -> tuple[int, list[bytes]]:
    """Return the number of rows of a table that are reported, and their pages in the order of keys.

    Of more rows than ``max_rows``, rows without a binding are left out first.

    Parameters
    ----------
    network, found
        The network, and the epoch's metrics and usage.
    kind, keys
        ``metrics`` or ``usage``, and the keys of the rows.
    """
    table, names = getattr(found, kind), getattr(network.scope, kind)
    bindings, width, by = _REPORTED[kind]

    def free(key: bytes) -> bool:
        return key != ZERO_HASH and network.state.get(bindings, SCOPE, key[:HASH]) is None

    rows, most = sorted(range(len(keys)), key=keys.__getitem__), network.parameters.max_rows
    unknown = [None] * len(keys)
    if len(rows) > most:
        counts = table[by].to_pylist() if by in table.column_names else unknown
        rows.sort(key=lambda row: (free(keys[row]), -(counts[row] or 0)))
        rows = sorted(rows[:most], key=keys.__getitem__)
    known = [table[name].to_pylist() if name in table.column_names else unknown for name in names]
    page = Page([keys[row] for row in rows], [[column[row] for row in rows] for column in known])
    return len(rows), [part.encode() for part in paginate(page, width)]


def registrations(
    kind: type[B], bindings: Iterable[tuple[codec.KeyedHash, codec.Address]]
) -> list[B]:
    """Return the messages that bind hashes to accounts, in the order of hashes."""
    ordered, step = sorted(bindings), messages.MAX_BATCH
    return [kind(SCOPE, tuple(ordered[at : at + step])) for at in range(0, len(ordered), step)]
