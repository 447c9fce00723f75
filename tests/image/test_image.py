"""What is in the images, what is not, and that they run the way the charts and the operator run them."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import rivermill
from tests.image.conftest import ROOT, Expected
from tests.image.image import Image

VENV = "opt/venv"
ENVIRONMENT = {"PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONFAULTHANDLER", "PYTHONSAFEPATH", "PYTHONUNBUFFERED"}
BASE_ENVIRONMENT = {
    "LANG",
    "GPG_KEY",
    "PYTHON_VERSION",
    "PYTHON_SHA256",
}  # of the official Python image; GPG_KEY is a public key's id
PRIVATE = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\n[A-Za-z0-9+/=]{20}")
LIST = "import json, importlib.metadata as m; print(json.dumps({d.name: d.version for d in m.distributions()}))"
PROBE = """
import json, os
def writable(path):
    try:
        open(path, "w").close()
    except OSError as error:
        return error.strerror
    return "written"
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps({"ids": [os.getuid(), os.getgid(), os.getgroups()], "capabilities": status["CapEff"].strip(),
                  "root": writable("/x"), "venv": writable("/opt/venv/x")}))
"""


def files(image: Image, below: str = VENV) -> Iterator[Path]:
    return (path for path in (image.root / below).rglob("*") if path.is_file() and not path.is_symlink())


def test_dockerfile_lints(expected: Expected) -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, expected.dockerfile], check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")


def test_configuration(image: Image, expected: Expected) -> None:
    config = image.config["config"]
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == [expected.version_command[0]]
    assert config["Cmd"] == list(expected.command)
    assert "Healthcheck" not in config
    assert image.environment().keys() - BASE_ENVIRONMENT == ENVIRONMENT
    assert image.environment()["PATH"].startswith("/opt/venv/bin:")
    labels = config["Labels"]
    prefix = "org.opencontainers.image."
    assert labels[f"{prefix}title"] == expected.distribution
    assert labels[f"{prefix}version"] == rivermill.__version__
    assert labels[f"{prefix}licenses"] == "Apache-2.0"
    assert {f"{prefix}{key}" for key in ("description", "revision", "base.name")} <= labels.keys()


def test_version(image: Image, expected: Expected) -> None:
    done = image.run(*expected.version_command)
    assert (done.returncode, done.stderr) == (0, "")
    assert rivermill.__version__ in done.stdout


def test_runs_without_any_right(image: Image) -> None:
    done = image.run("python", "-c", PROBE)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "ids": [65532, 65532, []],
        "capabilities": "0" * 16,
        "root": "Read-only file system",
        "venv": "Read-only file system",
    }


def test_holds_exactly_the_locked_distributions(image: Image, expected: Expected) -> None:
    """So neither pip nor a build backend, and every version is one whose hash was checked."""
    python = {"python_version": "3.13", "python_full_version": "3.13.0", "sys_platform": "linux"}
    locked = {expected.distribution: rivermill.__version__}
    for line in (ROOT / "requirements" / f"{expected.name}.txt").read_text().splitlines():
        if line and line[0].isalnum():
            requirement = Requirement(line.rstrip("\\ "))
            if requirement.marker is None or requirement.marker.evaluate(python):
                (version,) = requirement.specifier
                locked[canonicalize_name(requirement.name)] = version.version
    done = image.run("/opt/venv/bin/python", "-c", LIST)
    assert done.returncode == 0, done.stderr
    assert {canonicalize_name(name): version for name, version in json.loads(done.stdout).items()} == locked


def test_adds_the_environment_and_nothing_else(image: Image) -> None:
    (own,) = (layer for layer in image.layers if any(name.startswith(f"{VENV}/") for name in layer))
    assert {name for name in own if name not in {"opt", "."} and not f"{name}/".startswith(f"{VENV}/")} == set()
    after = image.layers[image.layers.index(own) + 1 :]
    assert all(layer <= {".", ""} for layer in after), "nothing is written over the environment"
    for layer in image.layers:
        if layer != own:
            assert not [name for name in layer if "rivermill" in name or name.startswith(("build/", "root/.cache"))]


def test_holds_no_build_tool_and_no_source_tree(image: Image) -> None:
    programs = {path.name for path in (image.root / VENV / "bin").iterdir()}
    assert not programs & {"pip", "pip3", "hatchling", "uv", "hatch"}
    compilers = {"gcc", "cc", "g++", "make", "git", "go", "cargo", "node"}
    assert not [p for d in ("usr/bin", "usr/local/bin") for p in (image.root / d).iterdir() if p.name in compilers]
    sources = {"pyproject.toml", "Dockerfile", "Makefile"}
    assert not [path for path in files(image) if path.name in sources or path.suffix in {".whl", ".gz", ".c"}]
    assert not list((image.root / "build").glob("*"))
    assert not [path for path in (image.root / "opt").iterdir() if path.name != "venv"]


def test_holds_no_secret(image: Image) -> None:
    names = {".netrc", ".pypirc", "pip.conf", ".git-credentials", ".env", "kubeconfig", "id_rsa", "id_ed25519"}
    for below in (VENV, "root", "home", "tmp", "etc/pip.conf"):
        found = [path for path in files(image, below) if path.name in names]
        assert found == []
    assert not (image.root / "etc" / "pip.conf").exists()
    assert not [path for path in files(image) if PRIVATE.search(path.read_bytes())]
    history = json.dumps(image.config.get("history", []))
    assert not re.search(r"(?i)password|token|secret|index[-_]url", history)


def test_environment_belongs_to_root(image: Image) -> None:
    for path in (image.root / VENV).rglob("*"):
        status = path.lstat()
        assert (status.st_uid, status.st_gid) == (0, 0), path
        assert path.is_symlink() or not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH), path


def test_byte_code_is_complete_and_free_of_time_stamps(image: Image, expected: Expected) -> None:
    (package,) = (image.root / VENV).glob(f"lib/python3.*/site-packages/{expected.distribution.replace('-', '_')}")
    sources = list(package.rglob("*.py"))
    assert sources
    for source in sources:
        (compiled,) = (source.parent / "__pycache__").glob(f"{source.stem}.*.pyc")
        assert int.from_bytes(compiled.read_bytes()[4:8], "little") == 1, "1 is unchecked-hash"
