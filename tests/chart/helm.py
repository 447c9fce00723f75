"""Run a real helm over the charts."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHARTS = ROOT / "charts"
Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Helm:
    """One helm program."""

    major: int
    program: Path
    scratch: Path

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run helm without a cluster and return whatever it said."""
        command = [str(self.program), *arguments]
        environment = {"HOME": str(self.scratch), "PATH": "/usr/bin:/bin", "KUBECONFIG": "/nonexistent"}
        return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, env=environment)

    def template(
        self, values: Manifest, *options: str, chart: str = "rivermill", release: str = "river", namespace: str = "mill"
    ) -> subprocess.CompletedProcess[str]:
        """Render a chart."""
        file = self.scratch / "values.yaml"
        file.write_text(yaml.safe_dump(values))
        return self.run("template", release, str(CHARTS / chart), "-n", namespace, "-f", str(file), *options)

    def render(self, values: Manifest, *options: str, **names: str) -> list[Manifest]:
        """The rendered objects; a chart that cannot be rendered fails the test with helm's words."""
        done = self.template(values, *options, **names)
        assert done.returncode == 0, done.stderr
        return [document for document in yaml.safe_load_all(done.stdout) if document is not None]


def one(manifests: list[Manifest], kind: str, name: str | None = None) -> Manifest:
    """The only object of a kind (and name)."""
    found = [m for m in manifests if m["kind"] == kind and name in (None, m["metadata"]["name"])]
    assert len(found) == 1, [(m["kind"], m["metadata"]["name"]) for m in manifests]
    return found[0]


def pod_of(manifests: list[Manifest]) -> Manifest:
    """The pod template of the only Deployment."""
    template: Manifest = one(manifests, "Deployment")["spec"]["template"]
    return template


def kinds(manifests: list[Manifest]) -> list[str]:
    """All kinds, in alphabetical order, with repetitions."""
    return sorted(m["kind"] for m in manifests)
