"""Reports as they arrive: a manifest, then its chunks in order, metrics before usage."""

from __future__ import annotations

from dii import crypto
from dii.application import gas, pages
from dii.application.context import Context
from dii.application.messages import ReportChunk, ReportManifest
from dii.application.records import CHUNKS, PROGRESS, REPORTS, Progress, Report
from dii.application.settling import Status, epoch_status
from dii.crypto import format_address
from dii.errors import BadReport, DuplicateReport, EpochNotReportable
from dii.schema import METRICS, USAGE


def report_manifest(context: Context, message: ReportManifest) -> bool:
    """Announce a report; it replaces another, unfinished one, once for nothing, then for gas.

    A report with columns that the scope no longer asks for is replaced for nothing.
    """
    scope, state = context.scope_of_reporter(message.scope), context.state
    status = _status(context, message)
    if status != "reporting":
        raise EpochNotReportable(scope=message.scope, epoch=message.epoch, status=status)
    parts = (
        ("metrics", message.rows, message.columns, message.chunks, scope.metrics),
        ("usage", message.usage_rows, message.usage, message.usage_chunks, scope.usage),
    )
    for kind, rows, columns, chunks, expected in parts:
        if rows > context.chain.max_rows:
            raise _bad(message, f"{rows} rows, above {context.chain.max_rows}")
        if columns != expected:
            wanted = ", ".join(expected) or "none"
            raise _bad(message, f"the columns of {kind} in this scope are {wanted}")
        if not len(chunks) <= rows or bool(rows) != bool(chunks) or (rows and not columns):
            raise _bad(message, f"{len(chunks)} chunks for {rows} rows of {kind}")
    key = (message.scope, message.epoch, context.sender)
    earlier, progress = state.get(REPORTS, *key), state.get(PROGRESS, *key)
    tries = 1
    if earlier is not None and earlier.fits(scope):
        whole = progress is not None and progress.received == earlier.parts
        if whole or earlier == announced(message, earlier.tries):
            raise _duplicate(context, message)
        tries += earlier.tries
    report = announced(message, tries)
    state.put(REPORTS, report, *key)
    state.put(PROGRESS, Progress(0, 0, b"", progress.stored if progress else 0), *key)
    return report.free


def announced(manifest: ReportManifest, tries: int) -> Report:
    """Return the record of a manifest."""
    return Report(
        manifest.columns, manifest.rows, manifest.chunks, manifest.usage, manifest.usage_rows,
        manifest.usage_chunks, tries,
    )  # fmt: skip


def report_chunk(context: Context, message: ReportChunk) -> bool:
    """Take the next chunk of an announced report; free if its manifest was.

    A chunk that arrives after the epoch began to settle without the report is checked and dropped.
    """
    scope, state = context.scope_of_reporter(message.scope), context.state
    key = (message.scope, message.epoch, context.sender)
    report, progress = state.get(REPORTS, *key), state.get(PROGRESS, *key)
    status = _status(context, message)
    if report is None or progress is None or not report.fits(scope):
        if status != "reporting":
            raise EpochNotReportable(scope=message.scope, epoch=message.epoch, status=status)
        raise _bad(message, "a chunk without a manifest")
    number, width, known, expected = progress.received, pages.HASH, report.columns, report.rows
    if number == report.parts:
        raise _duplicate(context, message)
    hashes, names = report.chunks, METRICS
    if number >= len(hashes):
        number, width, known, expected = (
            number - len(hashes), pages.USAGE_KEY, report.usage, report.usage_rows,
        )  # fmt: skip
        hashes, names = report.usage_chunks, USAGE
    last, rows = (progress.last, progress.rows) if number else (b"", 0)
    if crypto.sha256(message.data) != hashes[number]:
        raise _bad(message, f"not the announced chunk {progress.received}")
    columns = [names[name] for name in known]
    context.meter.charge(gas.REPORT_BYTE * len(message.data))
    page = pages.check(message.data, columns, last, width, scope=message.scope, epoch=message.epoch)
    rows += page.rows
    if rows > expected or (number + 1 == len(hashes) and rows != expected):
        raise _bad(message, f"{rows} rows where {expected} are announced")
    received, stored = progress.received + 1, progress.stored
    if status == "reporting":
        state.put(CHUNKS, message.data, *key, progress.received)
        stored = max(stored, received)
    state.put(PROGRESS, Progress(received, rows, page.keys[-1], stored), *key)
    return report.free


def _status(context: Context, message: ReportManifest | ReportChunk) -> Status:
    return epoch_status(context.state, context.chain, message.scope, message.epoch, context.time)


def _bad(message: ReportManifest | ReportChunk, why: str) -> BadReport:
    return BadReport(scope=message.scope, epoch=message.epoch, message=why)


def _duplicate(context: Context, message: ReportManifest | ReportChunk) -> DuplicateReport:
    sender = format_address(context.sender)
    return DuplicateReport(sender=sender, scope=message.scope, epoch=message.epoch)
