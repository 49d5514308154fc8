"""Reports as they arrive: a manifest, then its chunks in order, metrics before usage."""

from __future__ import annotations

from dii import crypto, errors
from dii.application import epochs, gas, messages, pages, records
from dii.application.context import Context
from dii.schema import METRICS, USAGE

_Message = messages.ReportManifest | messages.ReportChunk


def report_manifest(context: Context, message: messages.ReportManifest) -> bool:
    """Announce a report; it replaces an unfinished report, once for free, then for gas.

    A report with columns that the scope no longer asks for is replaced for free.
    """
    scope, state = context.scope_of_reporter(message.scope), context.state
    _status(context, message, reporting=True)
    metrics, usage = _parts(message)
    for kind, (rows, columns, chunks), expected in (
        ("metrics", metrics, scope.metrics),
        ("usage", usage, scope.usage),
    ):
        if rows > context.chain.max_rows:
            raise _bad(message, f"{rows} rows, above the maximum of {context.chain.max_rows}")
        if columns != expected:
            wanted = ", ".join(expected) or "none"
            raise _bad(message, f"wrong columns of {kind}; those of this scope are {wanted}")
        if not len(chunks) <= rows or bool(rows) != bool(chunks) or (rows and not columns):
            raise _bad(message, f"{len(chunks)} chunks do not fit {rows} rows of {kind}")
    key = (message.scope, message.epoch, context.sender)
    earlier, progress = state.get(records.REPORTS, *key), state.get(records.PROGRESS, *key)
    tries = 1
    if earlier is not None and earlier.fits(scope):
        whole = progress is not None and progress.received == earlier.parts
        if whole or earlier == announced(message, earlier.tries):
            raise _duplicate(context, message)
        tries += earlier.tries
    report, stored = announced(message, tries), progress.stored if progress else 0
    state.put(records.REPORTS, report, *key)
    state.put(records.PROGRESS, records.Progress(0, 0, b"", stored), *key)
    return report.free


def announced(manifest: messages.ReportManifest, tries: int) -> records.Report:
    """Return the record of a manifest."""
    return records.Report(
        manifest.columns, manifest.rows, manifest.chunks, manifest.usage, manifest.usage_rows,
        manifest.usage_chunks, tries,
    )  # fmt: skip


def report_chunk(context: Context, message: messages.ReportChunk) -> bool:
    """Take the next chunk of an announced report; free if its manifest was.

    A chunk that arrives after the epoch began to settle without the report is checked and dropped.
    """
    scope, state = context.scope_of_reporter(message.scope), context.state
    key = (message.scope, message.epoch, context.sender)
    report, progress = state.get(records.REPORTS, *key), state.get(records.PROGRESS, *key)
    if report is None or progress is None or not report.fits(scope):
        _status(context, message, reporting=True)
        raise _bad(message, "no manifest announces this chunk; send the manifest first")
    received = progress.received
    if received == report.parts:
        raise _duplicate(context, message)
    metrics, usage = _parts(report)
    number, width, names, part = received, pages.HASH, METRICS, metrics
    if number >= len(report.chunks):
        number, width, names, part = number - len(report.chunks), pages.USAGE_KEY, USAGE, usage
    expected, known, hashes = part
    last, rows = (progress.last, progress.rows) if number else (b"", 0)
    if crypto.sha256(message.data) != hashes[number]:
        raise _bad(message, f"chunk {received} differs from the hash that the manifest announces")
    columns = [names[name] for name in known]
    context.meter.charge(gas.REPORT_BYTE * len(message.data))
    page = pages.check(message.data, columns, last, width, scope=message.scope, epoch=message.epoch)
    rows += page.rows
    if rows > expected or (number + 1 == len(hashes) and rows != expected):
        raise _bad(message, f"{rows} rows, but the manifest announces {expected}")
    stored = progress.stored
    if _status(context, message) == "reporting":
        state.put(records.CHUNKS, message.data, *key, received)
        stored = max(stored, received + 1)
    state.put(records.PROGRESS, records.Progress(received + 1, rows, page.keys[-1], stored), *key)
    return report.free


def _parts(
    report: messages.ReportManifest | records.Report,
) -> tuple[tuple[int, tuple[str, ...], tuple[bytes, ...]], ...]:
    """Return rows, columns and hashes of chunks, of metrics and of usage."""
    return (
        (report.rows, report.columns, report.chunks),
        (report.usage_rows, report.usage, report.usage_chunks),
    )


def _status(context: Context, message: _Message, *, reporting: bool = False) -> epochs.Status:
    """Return the status of the epoch of a message; refuse any but ``reporting`` if asked to."""
    scope, epoch = message.scope, message.epoch
    status = epochs.status(context.state, context.chain, scope, epoch, context.time)
    if reporting and status != "reporting":
        raise errors.EpochNotReportable(scope=scope, epoch=epoch, status=status)
    return status


def _bad(message: _Message, why: str) -> errors.BadReport:
    return errors.BadReport(scope=message.scope, epoch=message.epoch, message=why)


def _duplicate(context: Context, message: _Message) -> errors.DuplicateReport:
    sender = crypto.format_address(context.sender)
    return errors.DuplicateReport(sender=sender, scope=message.scope, epoch=message.epoch)
