"""What Prometheus gets: the monitors, and alerts whose metrics exist and whose expressions it can read."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from rivermill.metrics import Metrics as WorkerMetrics
from rivermill_operator.metrics import Metrics as OperatorMetrics
from tests.chart.helm import ROOT, Helm, Manifest, one
from tests.chart.variants import VARIANTS
from tests.programs import installed

PAGE = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
ALERTS = ["RivermillNobodyActs", "RivermillOperatorErrors", "RivermillJobsWait"]


def exposed(registry: CollectorRegistry) -> set[str]:
    """Names of metrics, as they are queried."""
    return {f"{family.name}_total" if family.type == "counter" else family.name for family in registry.collect()}


def rules_of(helm: Helm, variant: str) -> list[Manifest]:
    (group,) = one(helm.render(VARIANTS[variant]), "PrometheusRule")["spec"]["groups"]
    rules: list[Manifest] = group["rules"]
    return rules


def endpoint_of(monitor: Manifest) -> dict[str, Any]:
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert isinstance(endpoint, dict)
    return endpoint


def test_pod_monitor(helm: Helm) -> None:
    monitor = one(helm.render(VARIANTS["workers monitored"]), "PodMonitor")
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert monitor["spec"]["selector"] == {"matchExpressions": [{"key": "rivermill.dev/jobqueue", "operator": "Exists"}]}
    assert monitor["spec"]["namespaceSelector"] == {"any": True}
    endpoint = endpoint_of(monitor)
    assert (endpoint["port"], endpoint["path"]) == ("http", "/metrics")
    assert (endpoint["interval"], endpoint["scrapeTimeout"]) == ("15s", "10s")
    assert [relabeling.get("targetLabel") for relabeling in endpoint["relabelings"]] == ["jobqueue", None]
    assert endpoint["metricRelabelings"]


def test_pod_monitor_of_some_namespaces(helm: Helm) -> None:
    monitor = one(helm.render(VARIANTS["monitored in some namespaces"]), "PodMonitor")
    assert monitor["spec"]["namespaceSelector"] == {"matchNames": ["team-a", "team-b"]}
    assert len(endpoint_of(monitor)["relabelings"]) == 1


def test_alerts_are_about_metrics_that_exist(helm: Helm) -> None:
    made = exposed(OperatorMetrics().registry)
    rules = rules_of(helm, "alerts")
    assert [rule["alert"] for rule in rules] == ALERTS
    for rule in rules:
        named = set(re.findall(r"rivermill_\w+", rule["expr"]))
        assert named
        assert named <= made


def test_alerts_are_about_this_release(helm: Helm) -> None:
    assert [rule["expr"] for rule in rules_of(helm, "monitored in some namespaces")] == [
        '(sum(rivermill_operator_lease_holder{namespace="mill"}) or vector(0)) == 0',
        'sum by (reason) (increase(rivermill_operator_errors_total{namespace="mill"}[5m])) > 9',
        'max by (namespace, jobqueue, queue) (rivermill_queue_oldest_wait_seconds{namespace=~"team-a|team-b"}) > 90',
    ]


def test_the_page_shows_the_alerts_as_they_are(helm: Helm) -> None:
    manifests = helm.render(VARIANTS["alerts"], namespace="rivermill-system")
    (group,) = one(manifests, "PrometheusRule")["spec"]["groups"]
    minutes = {"2m": "2 min", "5m": "5 min", "10m": "10 min"}
    for rule in group["rules"]:
        assert f"| `{rule['alert']}` | `{rule['expr']}`, for {minutes[rule['for']]} |" in PAGE


def test_the_page_names_every_metric_of_the_operator_and_none_that_is_not_there() -> None:
    made, workers = exposed(OperatorMetrics().registry), exposed(WorkerMetrics().registry)
    named = {name.removesuffix("_bucket") for name in re.findall(r"(?<!/)\b(rivermill_[a-z_]+)", PAGE)}
    assert made <= named
    assert named <= made | workers


@pytest.mark.parametrize("variant", ["alerts", "monitored in some namespaces"])
def test_prometheus_can_read_the_alerts(helm: Helm, variant: str) -> None:
    file = helm.scratch / "rules.yaml"
    file.write_text(yaml.safe_dump(one(helm.render(VARIANTS[variant]), "PrometheusRule")["spec"]))
    command = [installed("promtool", "prometheus"), "check", "rules", str(file)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 rules found" in done.stdout
