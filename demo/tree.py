"""The library's tree, seen as the pods' user sees it: what to enqueue, and what must be recorded in the end."""

from __future__ import annotations

import os
import pickle
import stat
from dataclasses import dataclass, field
from pathlib import Path

POD_UID = 65532
BIG_BYTES = 50 * 2**20


@dataclass(frozen=True, slots=True)
class Seen:
    """One file as a plain walk sees it."""

    size: int
    mtime_ns: int
    readable: bool


@dataclass(slots=True)
class Tree:
    """Directories by path relative to the root; the files of each by name, None where it cannot be listed."""

    directories: dict[str, dict[bytes, Seen] | None] = field(default_factory=dict)

    @property
    def files(self) -> int:
        """How many files there are."""
        return sum(len(files) for files in self.directories.values() if files)


def walk(root: Path, limit: int | None = None) -> Tree:
    """Walk the tree with the rights of the pods' user, in a child process that gives up all others."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reader)
            os.setgroups([])
            os.setgid(POD_UID)
            os.setuid(POD_UID)
            with os.fdopen(writer, "wb") as pipe:
                pickle.dump(_walk(root, limit).directories, pipe)
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        directories = pickle.load(pipe)  # noqa: S301 - from our own child
    os.waitpid(child, 0)
    return Tree(directories)


def _walk(root: Path, limit: int | None) -> Tree:
    tree = Tree()
    unlisted: list[str] = []
    for folder, folders, names in os.walk(root, onerror=lambda error: unlisted.append(str(error.filename))):
        folders.sort()
        relative = os.path.relpath(folder, root)
        files = {}
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]  # noqa: PTH114, PTH118 - bytes-safe
        for name in [*names, *links]:
            seen = _look(os.path.join(folder, name))  # noqa: PTH118
            if seen is not None:
                files[os.fsencode(name)] = seen
        tree.directories["" if relative == "." else relative] = files
        if limit is not None and len(tree.directories) >= limit:
            return tree
    for folder in unlisted:
        tree.directories[os.path.relpath(folder, root)] = None
    return tree


def _look(path: str) -> Seen | None:
    try:
        info = os.lstat(path)
    except FileNotFoundError:
        return None
    readable = True
    if stat.S_ISREG(info.st_mode):
        try:
            os.close(os.open(path, os.O_RDONLY))
        except OSError:
            readable = False
    return Seen(info.st_size, info.st_mtime_ns, readable)


def queue_of(files: dict[bytes, Seen] | None) -> str:
    """The queue of a directory: big ones wait behind the others."""
    return "low_priority" if sum(file.size for file in (files or {}).values()) > BIG_BYTES else "default"


def changed_between(before: Tree, after: Tree) -> set[tuple[str, bytes]]:
    """Files that somebody changed, made or removed between two walks."""
    changed = set()
    for directory in before.directories.keys() | after.directories.keys():
        old, new = before.directories.get(directory) or {}, after.directories.get(directory) or {}
        changed |= {(directory, name) for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
    return changed


def differences(
    tree: Tree, recorded: dict[str, dict[bytes, Seen]], excluded: set[tuple[str, bytes]]
) -> list[tuple[str, bytes, str]]:
    """Where the file table is not what the walk saw, with what is wrong."""
    wrong = []
    for directory in tree.directories.keys() | recorded.keys():
        seen, table = tree.directories.get(directory) or {}, recorded.get(directory, {})
        for name in seen.keys() | table.keys():
            if (directory, name) in excluded or seen.get(name) == table.get(name):
                continue
            problem = "not recorded" if name not in table else "recorded, but not there" if name not in seen else "different"
            wrong.append((directory, name, problem))
    return sorted(wrong)
