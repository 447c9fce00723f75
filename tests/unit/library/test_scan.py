"""A look at one directory, on a real file system."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from library import scan
from library.scan import Entry, Known, LibraryUnavailableError, Scan, ScanStoppedError, scan_directory


def look(root: Path, directory: bytes = b"", known: dict[bytes, Known] | None = None) -> Scan:
    return scan_directory(str(root), directory, known or {}, threading.Event())


def by_name(found: Scan) -> dict[bytes, Entry]:
    return {entry.name: entry for entry in found.entries or []}


def test_every_kind_of_entry(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("hello")
    (tmp_path / "a").symlink_to("nowhere")
    (tmp_path / os.fsdecode(b"odd \xff")).write_bytes(b"")
    (tmp_path / "sub").mkdir()
    os.mkfifo(tmp_path / "pipe")
    found = look(tmp_path)
    assert found.problem is None
    assert [(e.name, e.type) for e in found.entries or []] == [
        (b"a", "symlink"),
        (b"b.txt", "text/plain"),
        (b"odd \xff", "application/octet-stream"),
        (b"pipe", "special"),
    ]
    assert by_name(found)[b"b.txt"].digest == hashlib.blake2b(b"hello", digest_size=32).digest()


def test_a_link_in_a_directorys_place_leads_nowhere(tmp_path: Path) -> None:
    outside, library = tmp_path / "outside", tmp_path / "library"
    (outside / "deep").mkdir(parents=True)
    (outside / "deep" / "secret").write_text("x")
    library.mkdir()
    (library / "album").symlink_to(outside)
    assert look(library, b"album") == Scan([], "ENOTDIR")
    assert look(library, b"album/deep") == Scan([], "ENOTDIR")
    (tmp_path / "alias").symlink_to(library)
    assert [entry.type for entry in look(tmp_path / "alias").entries or []] == ["symlink"]


def test_a_link_put_in_place_during_the_walk_leads_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory and a file in it are exchanged for links after the directory was listed and before the file is opened."""
    outside, album = tmp_path / "outside", tmp_path / "library" / "album"
    outside.mkdir()
    album.mkdir(parents=True)
    for folder, text in ((outside, "secret"), (album, "song")):
        (folder / "one").write_text(text)
        (folder / "two").write_text(text)
    original: Any = scan._read

    def exchange(name: bytes, descriptor: int, stop: threading.Event) -> Any:
        if name == b"one":
            album.rename(album.with_name("moved"))
            album.symlink_to(outside)
        else:
            (album.with_name("moved") / "two").unlink()
            (album.with_name("moved") / "two").symlink_to(outside / "two")
        return original(name, descriptor, stop)

    monkeypatch.setattr(scan, "_read", exchange)
    found = by_name(look(tmp_path / "library", b"album"))
    assert found[b"one"].digest == hashlib.blake2b(b"song", digest_size=32).digest()
    assert (found[b"two"].digest, found[b"two"].problem) == (None, "ELOOP")


def test_unchanged_files_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a"
    file.write_text("x")
    info = file.stat()
    opened: list[bytes] = []
    original: Any = scan._read
    monkeypatch.setattr(scan, "_read", lambda name, *rest: opened.append(name) or original(name, *rest))
    known = {b"a": Known(info.st_size, info.st_mtime_ns)}
    assert [entry.unchanged for entry in look(tmp_path, b"", known).entries or []] == [True]
    assert opened == []
    known = {b"a": Known(info.st_size, info.st_mtime_ns - 1)}
    assert [entry.unchanged for entry in look(tmp_path, b"", known).entries or []] == [False]
    assert opened == [b"a"]


def test_a_scan_stops_within_one_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "big").write_bytes(b"x" * 10)
    monkeypatch.setattr(scan, "_CHUNK", 1)
    stop, reads = threading.Event(), []
    original = os.read

    def read(file: int, size: int) -> bytes:
        reads.append(size)
        if len(reads) == 3:
            stop.set()
        return original(file, size)

    monkeypatch.setattr(os, "read", read)
    with pytest.raises(ScanStoppedError):
        scan_directory(str(tmp_path), b"", {}, stop)
    assert len(reads) == 3


def test_what_is_gone_or_missing(tmp_path: Path) -> None:
    assert look(tmp_path, b"gone") == Scan([], "ENOENT")
    with pytest.raises(LibraryUnavailableError, match="is the volume mounted"):
        look(tmp_path / "absent")


def test_a_file_that_never_stands_still_has_no_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "log").write_bytes(b"x")
    original = os.read

    def read(file: int, size: int) -> bytes:
        with (tmp_path / "log").open("ab") as log:
            log.write(b"x" if log.tell() < 8 else b"")
        return original(file, size)

    monkeypatch.setattr(scan, "_CHUNK", 1 << 10)
    monkeypatch.setattr(scan, "_READS", 1)
    monkeypatch.setattr(os, "read", read)
    (entry,) = look(tmp_path).entries or []
    assert (entry.digest, entry.problem) == (None, "changing")


@pytest.mark.skipif(os.geteuid() != 0, reason="taking another user's rights needs root")
def test_what_may_not_be_read_is_recorded_so(tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == 0 and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    (tmp_path / "closed").write_text("x")
    (tmp_path / "closed").chmod(0o600)
    (tmp_path / "dark").mkdir(mode=0o700)
    os.seteuid(65534)
    try:
        (entry,) = look(tmp_path).entries or []
        assert (entry.name, entry.size, entry.digest, entry.problem) == (b"closed", 1, None, "EACCES")
        assert look(tmp_path, b"dark") == Scan(None, "EACCES")
    finally:
        os.seteuid(0)
