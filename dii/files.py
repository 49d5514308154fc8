"""Files that are written whole or not at all, and survive a power cut.

A file is written under another name, synced to the disk, and then renamed in one step; last, the
folder is synced, since a name can be lost like any other bytes. Writing in place was rejected: a
cut in the middle would leave neither the old file nor the new. SQLite does the same for itself, so
databases are not written with this.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from pathlib import Path


def write(path: Path, data: bytes, *, secret: bool = False, new: bool = False) -> None:
    """Write a file at once: readers find the old one or the new one.

    Parameters
    ----------
    path, data
        The file, in an existing folder, and its whole content.
    secret
        Let only the owner read it (mode 0600).
    new
        Refuse to replace an existing file.

    Raises
    ------
    FileExistsError
        There is a file, and ``new`` is set; it is unchanged.
    OSError
        The file cannot be written; nothing is left behind.
    """
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if secret else 0o644)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(handle)
        if new:
            os.link(fresh, path)  # like replacing, but it fails if there is a file
        else:
            fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
    sync(path.parent)


def read(path: Path, most: int) -> bytes:
    """Read an untrusted file, at most one byte more than ``most``.

    Raises
    ------
    OSError
        The file cannot be read, or is not a regular file: reading a pipe could block forever.
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
    """Tell whether only its owner may read or write a file, as far as the system knows."""
    return os.name != "posix" or not path.stat().st_mode & 0o077


def sync(path: Path) -> None:
    """Sync a file's bytes, or the names in a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
