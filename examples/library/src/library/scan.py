"""Looks at one directory: every entry with size, time, type and content hash. Blocking; runs in a thread."""

from __future__ import annotations

import hashlib
import mimetypes
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Known:
    """What an earlier scan recorded of a file."""

    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a directory.

    Attributes:
        name: the file's name as bytes, since names need not be text.
        type: media type of a regular file, else ``symlink`` or ``special``.
        digest: BLAKE2b-256 of the content; None for what has none or cannot be read.
        problem: why it could not be read, as an errno name.
        unchanged: whether it was skipped because size and time are as before.
    """

    name: bytes
    size: int
    mtime_ns: int
    type: str
    digest: bytes | None = None
    problem: str | None = None
    unchanged: bool = False


class DirectoryUnreadableError(Exception):
    """The directory itself cannot be listed; ``problem`` is the errno's name."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


def scan_directory(directory: Path, known: Mapping[bytes, Known]) -> list[Entry]:
    """Every entry of a directory that is no directory, sorted by name.

    Args:
        directory: what to list; its subdirectories are other jobs' work.
        known: files whose content need not be read again if size and time are unchanged.

    Raises:
        DirectoryUnreadableError: it cannot be listed.
        FileNotFoundError: it is not there any more.
    """
    entries = []
    try:
        with os.scandir(os.fsencode(directory)) as listing:
            for item in sorted(listing, key=lambda i: i.name):
                entry = _look(item, known.get(item.name))
                if entry is not None:
                    entries.append(entry)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DirectoryUnreadableError(_name(error)) from error
    return entries


def _look(item: os.DirEntry[bytes], known: Known | None) -> Entry | None:
    try:
        info = item.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None  # gone since it was listed
    except OSError as error:
        return Entry(item.name, 0, 0, "special", problem=_name(error))
    if stat.S_ISDIR(info.st_mode):
        return None
    if not stat.S_ISREG(info.st_mode):
        kind = "symlink" if stat.S_ISLNK(info.st_mode) else "special"
        return Entry(item.name, info.st_size, info.st_mtime_ns, kind)
    media = mimetypes.guess_type(os.fsdecode(item.name))[0] or "application/octet-stream"
    if known == Known(info.st_size, info.st_mtime_ns):
        return Entry(item.name, info.st_size, info.st_mtime_ns, media, unchanged=True)
    try:
        digest, info = _read(item.path)
    except FileNotFoundError:
        return None
    except OSError as error:
        return Entry(item.name, info.st_size, info.st_mtime_ns, media, problem=_name(error))
    return Entry(item.name, info.st_size, info.st_mtime_ns, media, digest=digest)


def _read(path: bytes) -> tuple[bytes, os.stat_result]:
    """Hash a file; size and time are those of the very content that was read, or it is read again."""
    for _ in range(3):
        digest = hashlib.blake2b(digest_size=32)
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - a path of bytes
            before = os.fstat(file.fileno())
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
            after = os.fstat(file.fileno())
        if (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns):
            break
    return digest.digest(), after


def _name(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else type(error).__name__
