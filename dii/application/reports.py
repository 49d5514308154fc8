"""Reports as they arrive: a manifest, then its chunks in order."""

from __future__ import annotations

from dataclasses import replace

from dii import crypto
from dii.application import gas, pages
from dii.application.context import Context
from dii.application.messages import ReportChunk, ReportManifest
from dii.application.records import CHUNKS, REPORTS, Chunk, Report
from dii.application.settling import drop_report, epoch_status
from dii.crypto import format_address
from dii.errors import BadReport, DuplicateReport, EpochNotReportable


def report_manifest(context: Context, message: ReportManifest) -> bool:
    """Announce a report; free once an epoch, a second try replaces an unfinished one for a fee."""
    scope = context.scope_of_reporter(message.scope)
    where = {"scope": message.scope, "epoch": message.epoch}
    status = epoch_status(context.state, context.chain, message.scope, message.epoch, context.time)
    if status != "reporting":
        raise EpochNotReportable(status=status, **where)
    earlier = context.state.get(REPORTS, message.scope, message.epoch, context.sender)
    if earlier is not None and earlier.complete:
        raise DuplicateReport(sender=format_address(context.sender), **where)
    if message.rows > context.chain.max_rows:
        raise BadReport(message=f"{message.rows} rows, above {context.chain.max_rows}", **where)
    if message.columns != scope.metrics:
        expected = ", ".join(scope.metrics)
        raise BadReport(message=f"the columns of this scope are {expected}", **where)
    if not len(message.chunks) <= message.rows or bool(message.rows) != bool(message.chunks):
        raise BadReport(message=f"{len(message.chunks)} chunks for {message.rows} rows", **where)
    drop_report(context.state, message.scope, message.epoch, context.sender)
    free = earlier is None
    report = Report(message.rows, message.columns, message.chunks, 0, 0, b"", free)
    context.state.put(REPORTS, report, message.scope, message.epoch, context.sender)
    return free


def report_chunk(context: Context, message: ReportChunk) -> bool:
    """Take the next chunk of an announced report; free in the first try as its manifest is."""
    context.scope_of_reporter(message.scope)
    where = {"scope": message.scope, "epoch": message.epoch}
    key = (message.scope, message.epoch, context.sender)
    report = context.state.get(REPORTS, *key)
    if report is None:
        raise BadReport(message="a chunk without a manifest", **where)
    if report.complete:
        raise DuplicateReport(sender=format_address(context.sender), **where)
    if crypto.sha256(message.data) != report.chunks[report.received]:
        raise BadReport(message=f"not the announced chunk {report.received}", **where)
    page = pages.check(
        message.data, report.columns, report.last, scope=message.scope, epoch=message.epoch
    )
    context.meter.charge(gas.REPORT_ROW * page.rows)
    rows = report.received_rows + page.rows
    last_chunk = report.received + 1 == len(report.chunks)
    if rows > report.rows or (last_chunk and rows != report.rows):
        raise BadReport(message=f"{rows} rows where {report.rows} are announced", **where)
    context.state.put(CHUNKS, Chunk(message.data), *key, report.received)
    report = replace(
        report, received=report.received + 1, received_rows=rows, last=page.gateways[-1]
    )
    context.state.put(REPORTS, report, *key)
    return report.free
