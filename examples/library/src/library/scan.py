"""Looks at one directory: every entry with size, time, type and content hash. Blocking; runs in a thread.

Nothing is opened by a path of several parts. Each step is taken from the descriptor of the one before and never through a
symbolic link, so a directory that somebody replaces by a link meanwhile cannot lead out of the library.
"""

from __future__ import annotations

import errno
import hashlib
import mimetypes
import os
import stat
import threading
from collections.abc import Mapping
from dataclasses import dataclass

_CHUNK = 1 << 20
_READS = 3
#: ``O_PATH`` needs no right to list what is only passed through.
_STEP = os.O_DIRECTORY | os.O_NOFOLLOW | getattr(os, "O_PATH", 0)
#: A pipe put in a file's place must not hold us up.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
_UNREADABLE = frozenset({errno.EACCES, errno.EPERM})
#: The fault of this process or computer, never of a file: the scan fails and is tried again.
_OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


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
        type: media type of a regular file, else ``symlink``, ``special`` (device, pipe, socket) or ``unknown``.
        digest: BLAKE2b-256 of the content; None for what has none or cannot be read.
        problem: why it could not be read: an errno's name, or ``changing`` if it never stood still.
        unchanged: whether it was skipped because size and time are as before.
    """

    name: bytes
    size: int
    mtime_ns: int
    type: str
    digest: bytes | None = None
    problem: str | None = None
    unchanged: bool = False


@dataclass(frozen=True, slots=True)
class Scan:
    """What a look at one directory found.

    Attributes:
        entries: sorted by name; None where the directory is there but may not be listed.
        problem: an errno's name: why it may not be listed, or that it is gone (no entries).
    """

    entries: list[Entry] | None
    problem: str | None = None


class LibraryUnavailableError(Exception):
    """The library's root is not there; a volume that is not mounted must not look like an empty library."""


class ScanStoppedError(Exception):
    """Somebody asked for the scan to stop."""


def scan_directory(root: str, directory: bytes, known: Mapping[bytes, Known], stop: threading.Event) -> Scan:
    """Look at every entry of a directory that is no directory.

    Args:
        root: the library; may be a symbolic link.
        directory: what to list, relative to ``root``; its subdirectories are other jobs' work.
        known: files whose content need not be read again if size and time are unchanged.
        stop: once set, the scan ends within one read of 1 MiB.

    Raises:
        LibraryUnavailableError: ``root`` is not there.
        OSError: the file system does not answer as it should (I/O error, stale handle, too many open files).
        ScanStoppedError: ``stop`` was set.
    """
    try:
        top = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise LibraryUnavailableError(f"library root {root}: {error.strerror}; is the volume mounted?") from error
    try:
        descriptor = _open_directory(top, directory)
    except OSError as error:
        if error.errno in _GONE:
            return Scan([], _name(error))
        if error.errno in _UNREADABLE:
            return Scan(None, _name(error))
        raise
    try:
        return Scan(_look_at_all(descriptor, known, stop))
    finally:
        os.close(descriptor)


def _open_directory(top: int, directory: bytes) -> int:
    """Go down from ``top``, which is closed unless it is returned, and open the last part for listing."""
    *passed, last = directory.split(b"/")
    if not last:
        return top
    descriptor = top
    for part in passed:
        descriptor = _next(descriptor, part, _STEP)
    return _next(descriptor, last, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)


def _next(descriptor: int, name: bytes, flags: int) -> int:
    try:
        return os.open(name, flags, dir_fd=descriptor)
    finally:
        os.close(descriptor)


def _look_at_all(descriptor: int, known: Mapping[bytes, Known], stop: threading.Event) -> list[Entry]:
    with os.scandir(descriptor) as listing:
        items = {os.fsencode(item.name): item for item in listing if not item.is_dir(follow_symlinks=False)}
    entries = []
    for name, item in sorted(items.items(), key=lambda pair: pair[0]):
        if stop.is_set():
            raise ScanStoppedError
        entry = _look(name, item, descriptor, known.get(name), stop)
        if entry is not None:
            entries.append(entry)
    return entries


def _look(name: bytes, item: os.DirEntry[str], descriptor: int, known: Known | None, stop: threading.Event) -> Entry | None:
    try:
        info = item.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None  # gone since it was listed
    except OSError as error:
        return Entry(name, 0, 0, "unknown", problem=_blame(error))
    if not stat.S_ISREG(info.st_mode):
        kind = "symlink" if stat.S_ISLNK(info.st_mode) else "special"
        return Entry(name, info.st_size, info.st_mtime_ns, kind)
    media = _media_type(item.name)
    if known == Known(info.st_size, info.st_mtime_ns):
        return Entry(name, info.st_size, info.st_mtime_ns, media, unchanged=True)
    try:
        digest, info = _read(name, descriptor, stop)
    except FileNotFoundError:
        return None
    except OSError as error:
        return Entry(name, info.st_size, info.st_mtime_ns, media, problem=_blame(error))
    return Entry(name, info.st_size, info.st_mtime_ns, media, digest, None if digest else "changing")


def _read(name: bytes, descriptor: int, stop: threading.Event) -> tuple[bytes | None, os.stat_result]:
    """Hash a file; size and time are those of the very content that was read. No digest if it changes all the while."""
    file = os.open(name, _FILE, dir_fd=descriptor)
    try:
        after = os.fstat(file)
        if not stat.S_ISREG(after.st_mode):
            raise OSError(errno.ESTALE, "replaced while it was looked at")
        for _ in range(_READS):
            before, digest = after, hashlib.blake2b(digest_size=32)
            os.lseek(file, 0, os.SEEK_SET)
            while chunk := os.read(file, _CHUNK):
                digest.update(chunk)
                if stop.is_set():
                    raise ScanStoppedError
            after = os.fstat(file)
            if (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns):
                return digest.digest(), after
        return None, after
    finally:
        os.close(file)


def _media_type(name: str) -> str:
    # Without the prefix a name like "data:x" would be taken for a URL.
    return mimetypes.guess_type(f"./{name}")[0] or "application/octet-stream"


def _blame(error: OSError) -> str:
    """The name of a problem that is the file's own; any other is raised."""
    if error.errno in _OURS:
        raise error
    return _name(error)


def _name(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, type(error).__name__)
