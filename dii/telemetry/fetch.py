"""Files from the web, kept as files: bounded in size and time, and tried again.

What a server sends is stored as it comes and read like any other file, so that the bounds on
records and on expansion hold for it too; hence no content encoding is asked for (a server that
compresses all the same is not fooled: the file's first bytes tell). A redirect leads to the host that
was named or to a public address: a server must not have us read what only this machine, or its
network, can. A download is begun anew when
the connection breaks or the server falters, as few servers resume rightly. A half file is never
read: it would look like a whole day with less traffic.
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

from dii.errors import InputTooLarge, SourceMissing, SourceUnreachable

if TYPE_CHECKING:
    import httpx

MAX_BYTES: Final = 4 << 30
MAX_SECONDS: Final = 1800.0
"""For one file, all attempts together."""
SILENCE: Final = 30.0
"""Seconds that a server may say nothing."""
ATTEMPTS: Final = 3
BACKOFF: Final = 1.0
"""Seconds before the second attempt; twice as long before each further one."""
REDIRECTS: Final = 5

_AGAIN: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]")


def is_url(source: object) -> bool:
    """Whether a source is to be fetched."""
    return isinstance(source, str) and source.lower().startswith(("http://", "https://"))


def shown(url: str) -> str:
    """Return a URL without what may be secret in it: user, password, query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def fetch(url: str, folder: Path) -> Path:
    """Download a file into a folder and return its path; its name is the last part of the URL's.

    Raises
    ------
    SourceMissing
        The server has no such file.
    SourceUnreachable
        It refuses, or does not send the whole file in time, after all attempts.
    InputTooLarge
        The file has more than ``MAX_BYTES``.
    """
    import httpx  # noqa: PLC0415 - slow, and most sources are files

    try:
        httpx.URL(url)
        urlsplit(url)
    except (httpx.InvalidURL, ValueError):
        raise SourceUnreachable(file="a URL", message="it cannot be read", attempts=0) from None
    name = _UNSAFE.sub("_", urlsplit(url).path.rpartition("/")[2])[-100:] or "download"
    path = folder / name
    deadline = time.monotonic() + MAX_SECONDS
    message = ""
    named = httpx.URL(url).host

    def check(request: httpx.Request) -> None:
        if request.url.host not in {named, ""} and (address := _local(request.url.host)):
            message = f"it redirects to {address}, which is not public; name that address itself"
            raise SourceUnreachable(file=shown(url), message=message, attempts=1)

    with httpx.Client(
        event_hooks={"request": [check]},
        follow_redirects=True,
        max_redirects=REDIRECTS,
        timeout=SILENCE,
        headers={"Accept-Encoding": "identity", "User-Agent": "dii"},
    ) as client:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                _download(client, url, path, deadline)
                return path
            except (httpx.TooManyRedirects, httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
                raise SourceUnreachable(file=shown(url), message=str(error), attempts=1) from None
            except httpx.HTTPStatusError as error:
                status = error.response.status_code
                if status in {404, 410}:
                    raise SourceMissing(file=shown(url)) from None
                message = f"the server answers {status}"
                if status not in _AGAIN:
                    break
            except httpx.TransportError as error:
                message = str(error) or type(error).__name__
            pause = BACKOFF * 2 ** (attempt - 1)
            if attempt < ATTEMPTS and time.monotonic() + pause < deadline:
                time.sleep(pause)
            else:
                break
    raise SourceUnreachable(file=shown(url), message=message, attempts=attempt)


def _local(host: str) -> str | None:
    """Return the first address of a host that is not public; None if all are, or it has none."""
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        return None
    return next((one for one in sorted(found) if not ipaddress.ip_address(one).is_global), None)


def _download(client: httpx.Client, url: str, path: Path, deadline: float) -> None:
    import httpx  # noqa: PLC0415

    with client.stream("GET", url) as response, path.open("wb") as file:
        response.raise_for_status()
        stated = response.headers.get("Content-Length", "")
        size = int(stated) if stated.isdecimal() else 0
        for chunk in chain(
            [b""], response.iter_raw()
        ):  # what the server states counts before anything comes
            size = max(size, file.tell() + len(chunk))
            if size > MAX_BYTES:
                raise InputTooLarge(
                    file=shown(url), what="a file", size=size, unit="bytes", limit=MAX_BYTES
                )
            if time.monotonic() > deadline:
                raise httpx.ReadTimeout(f"not done within {MAX_SECONDS:g} s")
            file.write(chunk)
