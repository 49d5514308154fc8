"""Downloads of files: bounded in size and time, and tried again.

The bytes that a server sends are stored as they come and read like any other file, so that the
bounds on records and on expansion hold for them, too. No content encoding is asked for; a file that
a server compresses nevertheless is recognised by its first bytes. A redirect may lead to the host
that was named or to a public address only: a server must not make this machine read addresses of
its own network. A download starts again when the connection breaks or the server fails, as few
servers resume correctly. Half a file is never read: it would look like a day with less traffic.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import time
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from dii import errors
from dii.telemetry.source import check_size

if TYPE_CHECKING:
    import httpx

MAX_BYTES: Final = 4 << 30
MAX_SECONDS: Final = 1800.0
"""Seconds for one file, all attempts together."""
SILENCE: Final = 30.0
"""Seconds that a server may be silent."""
ATTEMPTS: Final = 3
BACKOFF: Final = 1.0
"""Seconds before the second attempt; twice as long before each further one."""
REDIRECTS: Final = 5

_AGAIN: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]")


def is_url(source: object) -> bool:
    """Return whether a source is the address of a file to download."""
    return isinstance(source, str) and source.lower().startswith(("http://", "https://"))


def shown(url: str) -> str:
    """Return a URL without its possible secrets: user, password and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def fetch(url: str, folder: Path) -> Path:
    """Download a file into a folder and return its path; its name is the last part of the URL's.

    Raises
    ------
    SourceMissing
        The server has no such file.
    SourceUnreachable
        The server refuses, or does not send the whole file in time, after all attempts.
    InputTooLarge
        The file has more than ``MAX_BYTES``.
    """
    import httpx  # noqa: PLC0415 - slow, and most sources are files

    try:
        named, name = httpx.URL(url), shown(url)
    except (httpx.InvalidURL, ValueError):
        message = "it cannot be read"
        raise errors.SourceUnreachable(file="a URL", message=message, attempts=0) from None
    path = folder / (_UNSAFE.sub("_", name.rpartition("/")[2])[-100:] or "download")
    deadline = time.monotonic() + MAX_SECONDS

    def check(request: httpx.Request) -> None:
        if request.url.host not in {named.host, ""} and (address := _local(request.url.host)):
            message = f"it redirects to {address}, which is not public; name that address itself"
            raise errors.SourceUnreachable(file=name, message=message, attempts=1)

    def download(client: httpx.Client) -> Path:
        with client.stream("GET", url) as response, path.open("wb") as file:
            response.raise_for_status()
            stated = response.headers.get("Content-Length", "")
            size = int(stated) if stated.isdecimal() else 0  # counts before anything comes
            for chunk in chain([b""], response.iter_raw()):
                check_size(name, "a file", max(size, file.tell() + len(chunk)), "bytes", MAX_BYTES)
                if time.monotonic() > deadline:
                    raise httpx.ReadTimeout(f"not done within {MAX_SECONDS:g} s")
                file.write(chunk)
        return path

    with httpx.Client(
        event_hooks={"request": [check]},
        follow_redirects=True,
        max_redirects=REDIRECTS,
        timeout=SILENCE,
        headers={"Accept-Encoding": "identity", "User-Agent": "dii"},
    ) as client:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return download(client)
            except httpx.HTTPStatusError as error:
                status = error.response.status_code
                if status in {404, 410}:
                    raise errors.SourceMissing(file=name) from None
                message, again = f"the server answers {status}", status in _AGAIN
            except (httpx.RequestError, httpx.InvalidURL) as error:
                message = str(error) or type(error).__name__
                final = httpx.TooManyRedirects, httpx.InvalidURL, httpx.UnsupportedProtocol
                again = not isinstance(error, final)
            pause = BACKOFF * 2 ** (attempt - 1)
            if not again or attempt == ATTEMPTS or time.monotonic() + pause >= deadline:
                break
            time.sleep(pause)
    raise errors.SourceUnreachable(file=name, message=message, attempts=attempt)


def _local(host: str) -> str | None:
    """Return the first address of a host that is not public; None if all are, or it has none."""
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        return None
    return next((one for one in sorted(found) if not ipaddress.ip_address(one).is_global), None)
