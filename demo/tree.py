"""The library's tree, seen as the pods' user sees it: what to enqueue, and what must be recorded in the end.

A plain ``os.walk``, with nothing of the application's code, so that it can judge it.
"""

from __future__ import annotations

import os
import pickle
import stat
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from devcluster import DevclusterError

POD_UID = 65532
BIG_BYTES = 50 * 2**20
_WALK_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Seen:
    """One file as a plain walk sees it."""

    size: int
    mtime_ns: int
    readable: bool


#: Files by name; None for a directory that may not be listed.
Files = dict[bytes, Seen] | None


@dataclass(slots=True)
class Tree:
    """Directories by path relative to the root, which itself is ``b""``."""

    directories: dict[bytes, Files] = field(default_factory=dict)

    @property
    def files(self) -> int:
        """How many files there are."""
        return sum(len(files) for files in self.directories.values() if files)

    def listable(self, directory: bytes) -> bool:
        """Whether a directory is there and may be listed."""
        return self.directories.get(directory) is not None


def walk(root: Path, limit: int | None = None) -> Tree:
    """Walk the tree with the rights of the pods' user, in a program of its own that gives up all others.

    Raises:
        DevclusterError: it did not come to its end.
    """
    # Not -m: pickled classes must have the name under which they are known here.
    program = "import sys; from demo.tree import main; main(*sys.argv[1:])"
    command = [sys.executable, "-c", program, str(root), *([str(limit)] if limit is not None else [])]
    done = subprocess.run(
        command, check=False, capture_output=True, timeout=_WALK_SECONDS, cwd=Path(__file__).resolve().parent.parent
    )
    if done.returncode != 0:
        raise DevclusterError(f"walking {root} failed: {done.stderr.decode(errors='replace').strip()[-300:]}")
    return Tree(pickle.loads(done.stdout))  # noqa: S301 - from a program of ours


def main(root: str, limit: str = "") -> None:
    """Walk with the rights of the pods' user and write the directories to standard output, pickled."""
    os.setgroups([])
    os.setgid(POD_UID)
    os.setuid(POD_UID)
    pickle.dump(_walk(os.fsencode(root), int(limit) if limit else None).directories, sys.stdout.buffer)


def _walk(root: bytes, limit: int | None) -> Tree:
    tree = Tree()
    unlisted: list[bytes] = []
    for folder, folders, names in os.walk(root, onerror=lambda error: unlisted.append(os.fsencode(error.filename))):
        folders.sort()
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]  # noqa: PTH114, PTH118 - of bytes
        seen = {name: _look(os.path.join(folder, name)) for name in [*names, *links]}  # noqa: PTH118
        tree.directories[_relative(folder, root)] = {name: file for name, file in seen.items() if file is not None}
        if limit is not None and len(tree.directories) >= limit:
            return tree
    for folder in unlisted:
        tree.directories[_relative(folder, root)] = None
    return tree


def _relative(folder: bytes, root: bytes) -> bytes:
    relative = os.path.relpath(folder, root)
    return b"" if relative == b"." else relative


def _look(path: bytes) -> Seen | None:
    try:
        info = os.lstat(path)
    except FileNotFoundError:
        return None
    except OSError:
        return Seen(0, 0, readable=False)
    readable = True
    if stat.S_ISREG(info.st_mode):
        try:
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
        except OSError:
            readable = False
    return Seen(info.st_size, info.st_mtime_ns, readable)


def queue_of(files: Files) -> str:
    """The queue of a directory: big ones wait behind the others."""
    return "low_priority" if sum(file.size for file in (files or {}).values()) > BIG_BYTES else "default"


def changed_between(before: Tree, after: Tree) -> set[tuple[bytes, bytes]]:
    """Directory and name of what somebody changed, made or removed between two walks; no name is the directory itself."""
    changed = set()
    for directory in before.directories.keys() | after.directories.keys():
        old, new = before.directories.get(directory) or {}, after.directories.get(directory) or {}
        changed |= {(directory, name) for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
        if before.listable(directory) != after.listable(directory):
            changed.add((directory, b""))
    return changed


def differences(tree: Tree, recorded: Tree, excluded: set[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes, str]]:
    """Where the tables are not what the walk saw: directory, name (empty for the directory itself) and what is wrong."""
    wrong = []
    for directory in tree.directories.keys() | recorded.directories.keys():
        if tree.listable(directory) != recorded.listable(directory) and (directory, b"") not in excluded:
            wrong.append((directory, b"", "listed by one side only"))
        seen, table = tree.directories.get(directory) or {}, recorded.directories.get(directory) or {}
        for name in seen.keys() | table.keys():
            if (directory, name) in excluded or seen.get(name) == table.get(name):
                continue
            problem = "not recorded" if name not in table else "recorded, but not there" if name not in seen else "different"
            wrong.append((directory, name, problem))
    return sorted(wrong)
