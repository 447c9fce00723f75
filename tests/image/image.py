"""An image as its files and its configuration, and a way to run it as strictly as Kubernetes would."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"


@dataclass(frozen=True, slots=True)
class Image:
    """An unpacked image; ``layers`` are the names in each layer, the base's first."""

    name: str
    config: dict[str, Any]
    layers: tuple[frozenset[str], ...]
    root: Path
    scratch: Path

    def environment(self) -> dict[str, str]:
        """The environment that the image sets."""
        return dict(entry.split("=", 1) for entry in self.config["config"]["Env"])

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a program with the image's user and environment, a read-only root, no capability and no network."""
        bundle = self.scratch / "bundle"
        if not bundle.exists():
            bundle.mkdir()
            subprocess.run(["runc", "spec", "--bundle", str(bundle)], check=True, timeout=30)
        spec = json.loads((bundle / "config.json").read_text())
        uid, gid = map(int, self.config["config"]["User"].split(":"))
        nothing: dict[str, list[str]] = {kind: [] for kind in ("bounding", "effective", "permitted", "inheritable", "ambient")}
        spec["process"] |= {
            "terminal": False,
            "user": {"uid": uid, "gid": gid},
            "args": list(arguments),
            "env": self.config["config"]["Env"],
            "cwd": self.config["config"].get("WorkingDir") or "/",
            "capabilities": nothing,
            "noNewPrivileges": True,
        }
        spec["root"] = {"path": str(self.root), "readonly": True}
        (bundle / "config.json").write_text(json.dumps(spec))
        command = ["runc", "--root", str(self.scratch / "runc"), "run", "--bundle", str(bundle), f"image-test-{self.name}"]
        return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)


def unpack(name: str, archive: Path, scratch: Path) -> Image:
    """Apply the layers of a docker-archive to a directory."""
    root = scratch / "root"
    root.mkdir()
    layers: list[frozenset[str]] = []
    with tarfile.open(archive) as outer:
        (entry,) = json.load(member(outer, "manifest.json"))
        config = json.load(member(outer, entry["Config"]))
        for layer in entry["Layers"]:
            with tarfile.open(fileobj=member(outer, layer)) as inner:
                layers.append(apply(inner, root))
    return Image(name, config, tuple(layers), root, scratch)


def member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    """One file of an archive, links followed."""
    file = archive.extractfile(name)
    assert file is not None, name
    return file


def apply(layer: tarfile.TarFile, root: Path) -> frozenset[str]:
    """Unpack one layer over those below it and return the names it touches."""
    names: set[str] = set()
    for info in layer:
        path = PurePosixPath(info.name.removeprefix("./"))
        names.add(str(path))
        if path.name == OPAQUE:
            for child in (root / path.parent).iterdir():
                remove(child)
        elif path.name.startswith(WHITEOUT):
            remove(root / path.parent / path.name.removeprefix(WHITEOUT))
        elif not info.isdev():
            target = root / path
            if not info.isdir() and target.is_symlink():
                target.unlink()
            layer.extract(info, root, filter="fully_trusted")
    return frozenset(names)


def remove(path: Path) -> None:
    """Remove a file, a link or a whole directory."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
