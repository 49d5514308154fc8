"""Reports as they arrive: a manifest, then its chunks in order, metrics before usage."""

from __future__ import annotations

from dataclasses import replace

from dii import crypto
from dii.application import gas, pages
from dii.application.context import Context
from dii.application.messages import ReportChunk, ReportManifest
from dii.application.records import CHUNKS, REPORTS, Report, Scope
from dii.application.settling import drop_report, epoch_status
from dii.crypto import format_address
from dii.errors import BadReport, DuplicateReport, EpochNotReportable
from dii.telemetry.schema import METRICS, USAGE


def report_manifest(context: Context, message: ReportManifest) -> bool:
    """Announce a report; free once an epoch, a second try replaces an unfinished one for a fee.

    A report with columns that the scope no longer asks for is replaced for nothing.
    """
    scope = _reportable(context, message.scope, message.epoch)
    key = (message.scope, message.epoch, context.sender)
    earlier = context.state.get(REPORTS, *key)
    if earlier is not None:
        if earlier.counts(scope):
            raise _duplicate(context, message)
        context.meter.charge(gas.BINDING * earlier.received)
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
    drop_report(context.state, message.scope, message.epoch, context.sender)
    free = earlier is None or not earlier.fits(scope)
    report = Report(
        message.columns, message.rows, message.chunks, message.usage, message.usage_rows,
        message.usage_chunks, 0, 0, b"", free,
    )  # fmt: skip
    context.state.put(REPORTS, report, *key)
    return free


def report_chunk(context: Context, message: ReportChunk) -> bool:
    """Take the next chunk of an announced report; free in the first try as its manifest is."""
    scope = _reportable(context, message.scope, message.epoch)
    key = (message.scope, message.epoch, context.sender)
    report = context.state.get(REPORTS, *key)
    if report is None or not report.fits(scope):
        raise _bad(message, "a chunk without a manifest")
    if report.counts(scope):
        raise _duplicate(context, message)
    number, width, known, announced = report.received, pages.HASH, report.columns, report.rows
    hashes, names = report.chunks, METRICS
    if number >= len(hashes):
        number, width, known, announced = (
            number - len(hashes), pages.USAGE_KEY, report.usage, report.usage_rows,
        )  # fmt: skip
        hashes, names = report.usage_chunks, USAGE
    last, rows = (report.last, report.received_rows) if number else (b"", 0)
    if crypto.sha256(message.data) != hashes[number]:
        raise _bad(message, f"not the announced chunk {report.received}")
    columns = [names[name] for name in known]
    context.meter.charge(gas.REPORT_BYTE * len(message.data))
    page = pages.check(message.data, columns, last, width, scope=message.scope, epoch=message.epoch)
    rows += page.rows
    if rows > announced or (number + 1 == len(hashes) and rows != announced):
        raise _bad(message, f"{rows} rows where {announced} are announced")
    context.state.put(CHUNKS, message.data, *key, report.received)
    report = replace(report, received=report.received + 1, received_rows=rows, last=page.keys[-1])
    context.state.put(REPORTS, report, *key)
    return report.free


def _reportable(context: Context, name: str, epoch: int) -> Scope:
    scope = context.scope_of_reporter(name)
    status = epoch_status(context.state, context.chain, name, epoch, context.time)
    if status != "reporting":
        raise EpochNotReportable(scope=name, epoch=epoch, status=status)
    return scope


def _bad(message: ReportManifest | ReportChunk, why: str) -> BadReport:
    return BadReport(scope=message.scope, epoch=message.epoch, message=why)


def _duplicate(context: Context, message: ReportManifest | ReportChunk) -> DuplicateReport:
    sender = format_address(context.sender)
    return DuplicateReport(sender=sender, scope=message.scope, epoch=message.epoch)
