"""Files that are there whole or not at all, and still there after a power cut.

A file is written under another name, waited for until the disk has it, and then takes its own name
in one step; last, the folder is waited for, since a name can be lost like any other bytes.
Writing in place was rejected: a cut in the middle would leave neither the old file nor the new.
SQLite does the same for itself, so databases are not written with this.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from pathlib import Path


def write(path: Path, data: bytes, *, secret: bool = False, new: bool = False) -> None:
    """Write a file at once: whoever looks finds the old one, or the new one.

    Parameters
    ----------
    path, data
        Where, and the whole content; the folder exists.
    secret
        Only its owner may read it (mode 0600).
    new
        Refuse where there is a file already, instead of replacing it.

    Raises
    ------
    FileExistsError
        There is one, and ``new`` is set; it is left as it was.
    OSError
        It cannot be written; nothing is left behind.
    """
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if secret else 0o644)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(handle)
        if new:
            os.link(fresh, path)  # what replacing does, but it refuses where a file is
        else:
            fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
    sync(path.parent)


def read(path: Path, most: int) -> bytes:
    """Read a file that a stranger may have made, at most one byte more than ``most``.

    Raises
    ------
    OSError
        It cannot be read, or is no regular file: reading a pipe could block forever.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:  # ``fdopen`` would leave a folder open
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        with os.fdopen(handle, "rb", closefd=False) as file:
            return file.read(most + 1)
    finally:
        os.close(handle)


def is_private(path: Path) -> bool:
    """Tell whether nobody but its owner may read or write a file, as far as the system knows."""
    return os.name != "posix" or not path.stat().st_mode & 0o077


def sync(path: Path) -> None:
    """Wait until a file's bytes, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
