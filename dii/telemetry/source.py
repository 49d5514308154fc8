"""Files as untrusted bytes, whose size is bounded before anything is parsed.

A reader gets lines or one document from here and nothing else, so that the bounds hold in one
place: a line has at most 1 MiB and is skipped, not stored, beyond that; a document has at most
256 MiB; a compressed file may not expand more than 250-fold, as a document 50-fold (JSON reaches
20-fold, a bomb 1,000-fold), nor have more lines than bytes; a million bytes and 100,000 lines are
always allowed. Compression is recognised by the first two bytes, as file names may be wrong. Files
are read as streams: memory depends on the rows that are kept, which are smaller than the file.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from io import BufferedReader, TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from dii import errors
from dii.telemetry.readers.fields import Fault
from dii.telemetry.tables import Rows

T = TypeVar("T")

MAX_LINE: Final = 1 << 20
MAX_DOCUMENT: Final = 256 << 20
MAX_RATIO: Final = 250
MAX_DOCUMENT_RATIO: Final = 50
FREE_EXPANSION: Final = 1 << 20
"""Bytes that a compressed file may expand to whatever its ratio is."""
FREE_LINES: Final = 100_000
"""Lines that a compressed file may have whatever its size is; further lines cost a byte each."""
MAX_COLUMNS: Final = 1_000
"""Columns of a table; the schema has 17."""
HEAD: Final = MAX_LINE
"""Bytes from which a format is recognised."""
HEAD_RECORDS: Final = 100

_LIMITS: Final = {"thrift_string_size_limit": 1 << 24, "thrift_container_size_limit": 1 << 16}
_SPACE = re.compile(r"[ \t\r\n]*")
_HEX = re.compile(r"(?:[0-9a-fA-F]{2})*", re.ASCII)
_DECODER = json.JSONDecoder()
_ARCHIVES: Final = {
    b"PK\x03\x04": "zip",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!": "rar",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}
"""First bytes of archives, and of compressed files that are not read here."""
_TAR: Final = 257
"""Offset of the mark of a tar archive."""
_DAMAGE = (EOFError, OSError, zlib.error)
"""Exceptions of reading damaged compressed data (``BadGzipFile`` is an ``OSError``)."""


def parse_json(line: bytes) -> object:
    """Return the value of one line.

    Raises
    ------
    Fault
        ``bad_text`` or ``bad_json``.
    """
    try:
        return json.loads(line.decode())
    except (RecursionError, ValueError) as error:
        raise _broken(error) from None


def parse_line(line: bytes) -> Iterator[object]:
    """Yield the value of a line, or each of several objects without line ends between them.

    Raises
    ------
    Fault
        ``bad_text`` or ``bad_json``; where an object is cut short, after those before it.
    """
    try:
        yield parse_json(line)
        return
    except Fault as error:
        fault = error
    found: list[object] = []
    at, text = 0, line.decode(errors="replace").strip()
    if fault.reason == "bad_json" and text.startswith("{"):
        try:
            while at < len(text):
                value, at = _DECODER.raw_decode(text, at)
                found.append(value)
                at = _skip(text, at)
        except (RecursionError, ValueError):
            found = found if text[at] == "{" else []
    yield from found
    if not found or at < len(text):
        raise fault


def _broken(error: Exception) -> Fault:
    """Return the fault of a text that is not JSON."""
    if isinstance(error, UnicodeDecodeError):
        return Fault("bad_text", f"byte {error.start} is not UTF-8")
    deep = isinstance(error, RecursionError)
    return Fault("bad_json", "nested too deep" if deep else str(error))


def first_line(error: Exception) -> str:
    """Return the text of an error of Arrow, without its advice to programmers."""
    return str(error).partition("\n")[0][:200]


def check_size(file: str, what: str, size: int, unit: str, limit: int) -> None:
    """Refuse input beyond a limit.

    Raises
    ------
    InputTooLarge
        There are more units than the limit.
    """
    if size > limit:
        raise errors.InputTooLarge(file=file, what=what, size=size, unit=unit, limit=limit)


def members(document: str, containers: str = "{[") -> Iterator[tuple[str | None, object]]:
    """Yield JSON values that follow one another; of each container its members, with their keys.

    They come one at a time: a document never becomes objects as a whole, and a mistake near its end
    does not cost the values before it. The key of a value that is not in an object is None.

    Raises
    ------
    Fault
        ``bad_json``: where the document breaks.
    """
    at, close = 0, ""
    try:
        while (at := _skip(document, at)) < len(document):
            mark, key = document[at], None
            if close and mark in {close, ","}:
                at, close = at + 1, close if mark == "," else ""
                continue
            if not close and mark in containers:
                at, close = at + 1, "}" if mark == "{" else "]"
                continue
            if close == "}":
                key, at = _DECODER.raw_decode(document, at)
                at = _skip(document, at)
                if not isinstance(key, str) or document[at : at + 1] != ":":
                    raise Fault("bad_json", f"a key and a colon are expected at character {at}")
                at = _skip(document, at + 1)
            value, at = _DECODER.raw_decode(document, at)
            yield key, value
    except (RecursionError, ValueError) as error:
        raise _broken(error) from None
    if close:
        raise Fault("bad_json", f"{close!r} is missing at the end")


def _skip(text: str, at: int) -> int:
    """Return the place of the first character from ``at`` on that is not blank."""
    return _SPACE.match(text, at).end()  # type: ignore[union-attr]


def values(document: str) -> Iterator[object]:
    """Yield JSON values that follow one another; of an array, each of its members."""
    return (value for _, value in members(document, "["))


def sound(found: Iterator[T]) -> Iterator[T]:
    """Yield values up to the first fault."""
    with suppress(Fault):
        yield from found


def open_parquet(path: Path, name: str, texts: Sequence[str] = ()) -> pq.ParquetFile:
    """Open a Parquet file; some columns are read as dictionaries where they are texts.

    Raises
    ------
    SourceUnreadable
        It is damaged.
    """
    try:
        return pq.ParquetFile(path, read_dictionary=list(texts), **_LIMITS)
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise errors.SourceUnreadable(file=name, message=first_line(error)) from None


@dataclass(eq=False)
class Source:
    """File or table to read.

    Parameters
    ----------
    origin
        Path of a regular file, or an Arrow table.
    name
        Name in rejects and errors.
    columns
        Names of the schema for foreign names of columns; an empty name leaves a column out.
    network
        Network of the gateway ids, where the source does not state it.
    check_radio
        Whether readers set impossible receptions aside (see ``radio``).

    Raises
    ------
    SourceUnreadable
        It cannot be opened.
    InputTooLarge
        It is compressed beyond reason.
    """

    origin: Path | pa.Table
    name: str
    columns: Mapping[str, str] | None = None
    network: str = "ttn"
    _: KW_ONLY
    check_radio: bool = False

    def __post_init__(self) -> None:
        """Look at the beginning of a file."""
        self.head = b""
        self.zipped = self.returns = False
        self.wide = 0
        if isinstance(self.origin, Path):
            self._look(self.origin)

    def _look(self, path: Path) -> None:
        try:
            if not path.is_file():
                what = "a directory" if path.is_dir() else "no regular file"
                message = f"{what}; name files, or DIR/*.jsonl"
                raise errors.SourceUnreadable(file=self.name, message=message)
            self.size = path.stat().st_size
            with path.open("rb") as stream:
                self.zipped = stream.read(2) == b"\x1f\x8b"
        except OSError as error:
            raise errors.SourceUnreadable(file=self.name, message=error.strerror) from None
        self.head = b"".join(self._chunks(HEAD))
        if self.head.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise errors.SourceUnreadable(file=self.name, message="UTF-16 text: save it as UTF-8")
        kinds = [kind for mark, kind in _ARCHIVES.items() if self.head.startswith(mark)]
        if kinds or self.head[_TAR : _TAR + 5] == b"ustar":
            message = f"a {(kinds or ['tar'])[0]} archive: unpack it and name its files"
            raise errors.SourceUnreadable(file=self.name, message=message)
        self.returns = b"\r" in self.head and b"\n" not in self.head and not self.parquet
        if self.returns:
            self.head = self.head.replace(b"\r", b"\n")

    def _stream(self) -> gzip.GzipFile | BufferedReader:
        assert isinstance(self.origin, Path)
        return gzip.open(self.origin) if self.zipped else self.origin.open("rb")

    def _spent(self, size: int, lines: int = 0, ratio: int = MAX_RATIO) -> None:
        """Refuse a compressed file once it has expanded to a size beyond reason."""
        if self.zipped:
            free = max(FREE_EXPANSION, ratio * self.size)
            check_size(self.name, "expanded content", lines, "lines", FREE_LINES + self.size)
            check_size(self.name, "expanded content", size, "bytes", free)

    def _chunks(
        self, limit: int, rows: Rows | None = None, ratio: int = MAX_RATIO
    ) -> Iterator[bytes]:
        """Yield at most ``limit`` bytes; a damaged compressed file ends early."""
        with self._stream() as stream:
            left = limit
            while left:
                try:
                    chunk = stream.read1(min(left, 1 << 16))  # what precedes damage still comes
                except _DAMAGE as error:
                    if rows is not None:
                        rows.reject("bad_gzip", str(error))
                    return
                if not chunk:
                    return
                left -= len(chunk)
                self._spent(limit - left, ratio=ratio)
                yield chunk

    def lines(self, rows: Rows) -> Iterator[bytes]:
        """Yield the lines that are not blank; ``rows.line`` counts all of them.

        Lines that are too long and the damaged rest of a compressed file are rejected.
        """
        with self._stream() as stream:
            spent = number = 0
            text = TextIOWrapper(stream, "latin-1") if self.returns else None  # CR ends lines, too

            def readline(size: int) -> bytes:
                return text.readline(size).encode("latin-1") if text else stream.readline(size)

            try:
                while line := readline(MAX_LINE + 1):
                    rows.line = number = number + 1  # rejects move it, too
                    spent += len(line)
                    self._spent(spent, number)
                    if len(line) > MAX_LINE and not line.endswith(b"\n"):
                        rows.reject("long_line", f"longer than {MAX_LINE:,} bytes")
                        while line and not line.endswith(b"\n"):
                            line = readline(MAX_LINE)
                            spent += len(line)
                            self._spent(spent)
                    elif not line.isspace():
                        yield line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            except _DAMAGE as error:
                rows.line = number + 1
                rows.reject("bad_gzip", str(error))

    def csv_rows(self, rows: Rows) -> Iterator[list[str]]:
        """Yield the values of each line of a CSV file but the first; other lines are rejected."""
        texts = self.lines(rows)
        next(texts, None)  # the header
        for line in texts:
            try:
                text = line.decode().rstrip("\r\n")
                if '"' in text:
                    found = next(csv.reader([text], delimiter=self.delimiter, strict=True))
                else:
                    found = text.split(self.delimiter)
                if len(found) != len(self.header):
                    header = len(self.header)
                    raise csv.Error(f"{len(found)} values where the header has {header}")
            except UnicodeDecodeError as error:
                rows.reject("bad_text", f"byte {error.start} is not UTF-8")
            except csv.Error as error:
                rows.reject("bad_record", str(error))
            else:
                yield found

    def document(self, rows: Rows) -> str:
        """Return the whole file as text.

        Raises
        ------
        InputTooLarge
            It has more than 256 MiB.
        """
        content = b"".join(self._chunks(MAX_DOCUMENT + 1, rows, MAX_DOCUMENT_RATIO))
        check_size(self.name, "a document", len(content), "bytes", MAX_DOCUMENT)
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            # The records before it are still read; the one that breaks off there is rejected.
            rows.reject("bad_text", f"byte {error.start} is not UTF-8")
            return content[: error.start].decode("utf-8-sig")

    @cached_property
    def records(self) -> list[dict[str, object]]:
        """First objects of JSON lines or of a document, by which formats are recognised."""
        found = islice(sound(values(self._text)), HEAD_RECORDS) if self.whole else ()
        return [one for one in [*found] or self._first_lines if isinstance(one, dict)]

    @cached_property
    def hexadecimal(self) -> bool:
        """True if most of the first payloads (``data``) are hexadecimal, False for base64."""
        samples = [data for record in self.records if isinstance(data := record.get("data"), str)]
        return sum(_HEX.fullmatch(data) is not None for data in samples) * 2 > len(samples)

    @cached_property
    def whole(self) -> bool:
        """True for an array, or objects that stretch over lines; False for JSON lines."""
        start = self.head.removeprefix(b"\xef\xbb\xbf").lstrip()
        opening = start.partition(b"\n")[0].rstrip()
        return start.startswith(b"[") or opening == b"{" or not self._first_lines

    @cached_property
    def _first_lines(self) -> list[object]:
        lines = self.head.removeprefix(b"\xef\xbb\xbf").splitlines()[:HEAD_RECORDS]
        found = (record for line in lines for record in sound(map(parse_json, [line])))
        return [record for record in found if isinstance(record, dict)]

    @cached_property
    def first_member(self) -> tuple[str | None, object]:
        """First member of a JSON document and its key; (None, None) without any."""
        return next(sound(members(self._text)), (None, None))

    @property
    def _text(self) -> str:
        return self.head.decode("utf-8-sig", "replace")

    @cached_property
    def parquet(self) -> bool:
        """True for a Parquet file."""
        return self.head.startswith(b"PAR1")

    @cached_property
    def delimiter(self) -> str:
        """Separator of the columns of a CSV file: the most frequent of ``,;`` and tab."""
        first = self.head.splitlines()[0].decode("utf-8-sig", "replace") if self.head else ""
        return max(",;\t", key=first.count)

    @cached_property
    def header(self) -> Sequence[str]:
        """Names of the columns of a table, Parquet or CSV file, as the schema names them."""
        return [(self.columns or {}).get(name, name) for name in self.names]

    @cached_property
    def names(self) -> Sequence[str]:
        """Names of these columns as the file states them."""
        if not isinstance(self.origin, Path):
            names = self.origin.column_names
        elif self.parquet:
            if self.zipped:
                message = "a Parquet file in a compressed one: unpack it"
                raise errors.SourceUnreadable(file=self.name, message=message)
            names = open_parquet(self.origin, self.name).schema_arrow.names
        else:
            first = self._text.partition("\n")[0]
            try:
                names = next(csv.reader([first], delimiter=self.delimiter, strict=True), [])
            except csv.Error:
                names = []
        self.wide = len(names) if len(names) > MAX_COLUMNS else 0
        return [] if self.wide else [name.strip() for name in names]
