"""Formats: the readers of all formats, tried in the order of ``READERS``.

A file is recognised by its beginning, not by its name. Each reader looks at it and returns the
reason why it declines; the first reader that does not decline reads it. Formats differ in their
typical fields, so the order matters for plain tables only, which take every table with a column
``gateway`` that no other reader takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dii import errors
from dii.schema import METRICS, USAGE_GIVEN
from dii.telemetry import plain
from dii.telemetry.readers import gateway_log, gateway_server, noc, registry, things_stack, uplinks
from dii.telemetry.readers.base import Reader
from dii.telemetry.source import MAX_COLUMNS, Source, check_size

READERS: Final[tuple[Reader, ...]] = (
    registry.REGISTRY,
    registry.MAPPER,
    noc.NOC,
    noc.NOC_COUNTERS,
    things_stack.THINGS_STACK,
    gateway_server.EVENTS,
    gateway_server.CONNECTIONS,
    *uplinks.READERS,
    gateway_log.PACKET_FORWARDER,
    gateway_log.GATEWAY_COLLECTOR,
    *plain.READERS,
)


def matrix() -> list[dict[str, str | bool]]:
    """Return the metrics and usage (columns) that each reader (rows) gives at most."""
    names = (*METRICS, *USAGE_GIVEN)
    return [
        {"reader": reader.name} | {name: name in reader.gives for name in names}
        for reader in READERS
    ]


def judged(source: Source) -> Iterator[tuple[Reader, str | None]]:
    """Yield each reader with the reason why it declines a source, None if it would read it."""
    return ((reader, reader.declines(source)) for reader in READERS)


def find_reader(source: Source) -> Reader:
    """Return the reader of a source.

    Raises
    ------
    UnknownFormat
        Every reader declines; ``judged`` gives the reasons.
    InputTooLarge
        It is a table of too many columns.
    """
    for reader, reason in judged(source):
        if reason is None:
            return reader
    if not source.records:
        check_size(source.name, "a table", source.wide, "columns", MAX_COLUMNS)
    start = (source.head.decode("utf-8", "replace") or ",".join(source.names))[:40]
    what = f"it begins with {start!r}" if start else "it is empty"
    raise errors.UnknownFormat(file=source.name, what=what)
