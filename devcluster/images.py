"""Images without a daemon and without a registry: built by buildah from the unmodified Dockerfiles, imported by containerd."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path

from devcluster import binaries, paths
from devcluster.errors import DevclusterError
from devcluster.locks import lock
from devcluster.processes import run
from devcluster.progress import say

PAUSE_IMAGE = "localhost/rivermill/pause:1"
BASE_IMAGE = "docker.io/library/python:3.13-slim-trixie"
_CERTIFICATES = "/etc/ssl/certs"
_CONTAINERS_CONF = """
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=2000:2000"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""


def archive(tag: str) -> Path:
    """Where the archive of a built image is."""
    return paths.cache() / "images" / (tag.replace("/", "_").replace(":", "_") + ".tar")


def image_digest(tag: str) -> str:
    """Digest of everything a built image was made from."""
    return archive(tag).with_suffix(".digest").read_text(encoding="ascii")


def prepare_base() -> None:
    """Make the base image, if it is not there.

    Raises:
        DevclusterError: it cannot be made.
    """
    with lock("base-image", "base image in the making"):
        if not _buildah("images", "-q", BASE_IMAGE, check=False).strip():
            _base()


def prepare_pause() -> None:
    """Make the image of pod sandboxes, if it is not there: one static program, put together by hand."""
    target = archive(PAUSE_IMAGE)
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        info = tarfile.TarInfo("pause")
        program = (binaries.directory() / "pause").read_bytes()
        info.size, info.mode = len(program), 0o755
        tar.addfile(info, io.BytesIO(program))
    digest = hashlib.sha256(layer.getvalue()).hexdigest()
    config = {
        "architecture": "arm64" if os.uname().machine == "aarch64" else "amd64",
        "os": "linux",
        "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [PAUSE_IMAGE], "Layers": ["layer.tar"]}]
    files = {
        "config.json": json.dumps(config).encode(),
        "layer.tar": layer.getvalue(),
        "manifest.json": json.dumps(manifest).encode(),
    }
    partial = target.with_suffix(".partial")
    with tarfile.open(partial, "w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    partial.rename(target)


def build(tag: str, dockerfile: Path, context: Path, build_args: Iterable[str] = ()) -> bool:
    """Build an image and keep its archive; returns whether anything had to be built.

    Args:
        tag: name and tag.
        dockerfile: the file to build.
        context: the directory it copies from.
        build_args: ``NAME=value`` each.

    Raises:
        DevclusterError: the build failed.
    """
    if not dockerfile.is_file():
        raise DevclusterError(f"there is no Dockerfile {dockerfile}: name one with --file")
    arguments = list(build_args)
    digest, target = _digest(dockerfile, context, arguments), archive(tag)
    note = target.with_suffix(".digest")
    if target.exists() and note.exists() and note.read_text(encoding="ascii") == digest:
        return False
    prepare_base()
    say(f"building image {tag}")
    target.parent.mkdir(parents=True, exist_ok=True)
    options = [option for argument in arguments for option in ("--build-arg", argument)]
    log = target.with_suffix(".log")
    command = _command(
        "build", "--pull=never", "--layers", "-v", f"{_CERTIFICATES}:{_CERTIFICATES}:ro", *_environment_args(), *options,
        "-t", tag, "-f", str(dockerfile), str(context),
    )  # fmt: skip
    with log.open("w", encoding="utf-8") as output:
        done = subprocess.run(command, check=False, stdout=output, stderr=output, env=_environment(), timeout=1200)
    if done.returncode != 0:
        tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
        raise DevclusterError(f"building {tag} failed; {log} ends with:\n{tail}")
    partial = target.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    _buildah("push", "--quiet", tag, f"docker-archive:{partial}:{tag}", timeout=600)
    partial.rename(target)
    note.write_text(digest, encoding="ascii")
    return True


def _base() -> None:
    """A look-alike of the official Python image, under its name: Debian trixie with its Python."""
    say(f"making the base image {BASE_IMAGE}")
    images = paths.cache() / "images"
    images.mkdir(parents=True, exist_ok=True)
    root = images / "base.tar"
    if not root.exists():
        partial = images / "base-partial.tar"
        run(["mmdebstrap", "--quiet", "--variant=minbase", "--include=python3,python3-venv,ca-certificates", "trixie",
             str(partial)], timeout=900)  # fmt: skip
        partial.rename(root)
    container = _buildah("from", "scratch").strip()
    try:
        _buildah("add", container, str(root), "/", timeout=300)
        _buildah("config", "--env", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", container)
        _buildah("commit", "--quiet", container, BASE_IMAGE, timeout=300)
    finally:
        _buildah("rm", container, check=False)


def _digest(dockerfile: Path, context: Path, arguments: list[str]) -> str:
    """Changes with everything that a build can see."""
    digest = hashlib.sha256(json.dumps(arguments).encode() + dockerfile.read_bytes())
    for line in dockerfile.read_text(encoding="utf-8").splitlines():
        if line.startswith("ARG WORKER_IMAGE="):  # an image on one of ours is as new as that one
            note = archive(line.partition("=")[2]).with_suffix(".digest")
            digest.update(note.read_bytes() if note.exists() else b"")
    for name in sorted(context_files(context)):
        digest.update(str(name).encode() + b"\0" + (context / name).read_bytes())
    return digest.hexdigest()


def context_files(context: Path) -> list[Path]:
    """The files of a context that a build can see, relative to it.

    In a git work tree those that git does not ignore. Where ``.dockerignore`` begins by leaving out everything, those that it
    lets in again; its other patterns are not looked at.
    """
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=context, check=False, capture_output=True, timeout=30,
    )  # fmt: skip
    if listing.returncode == 0:
        names = [Path(os.fsdecode(name)) for name in listing.stdout.split(b"\0") if name]
    else:
        names = [file.relative_to(context) for file in context.rglob("*")]
    ignore = context / ".dockerignore"
    lines = ignore.read_text(encoding="utf-8").splitlines() if ignore.exists() else []
    kept = [line.removeprefix("!") for line in lines if line.startswith("!")] if "*" in lines else ["*"]
    return [name for name in names if (context / name).is_file() and _matches(name, kept)]


def _matches(name: Path, patterns: list[str]) -> bool:
    return any(fnmatch(str(path), pattern) for pattern in patterns for path in (name, *name.parents[:-1]))


def _environment_args() -> list[str]:
    """How pip inside the build reaches the registries this computer is set up for."""
    passed = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
    given = [name for name in passed if os.environ.get(name)]
    return [option for name in given for option in ("--env", f"{name}={os.environ[name]}")]


def _command(*arguments: str) -> list[str]:
    storage = paths.cache() / "containers"
    program = shutil.which("buildah")
    if program is None:
        raise DevclusterError("buildah is missing: run `python -m devcluster prepare`")
    roots = ["--root", str(storage), "--runroot", str(storage / "run")]
    extra = ["--runtime", shutil.which("runc") or "/usr/sbin/runc"] if arguments[0] == "build" else []
    return [program, *roots, arguments[0], *extra, *arguments[1:]]


def _environment() -> dict[str, str]:
    conf = paths.cache() / "containers.conf"
    conf.write_text(_CONTAINERS_CONF, encoding="ascii")
    return os.environ | {"CONTAINERS_CONF": str(conf), "BUILDAH_RUNTIME": shutil.which("runc") or "/usr/sbin/runc"}


def _buildah(*arguments: str, check: bool = True, timeout: float = 120) -> str:
    done = subprocess.run(
        _command(*arguments), check=False, capture_output=True, text=True, env=_environment(), timeout=timeout
    )
    if check and done.returncode != 0:
        raise DevclusterError(f"buildah {arguments[0]} failed: {done.stderr.strip()[-800:]}")
    return done.stdout
