"""What the API server says of a Deployment names the fields of the JobQueue."""

from __future__ import annotations

import pytest

from rivermill_operator.model.parse import parse_job_queue
from rivermill_operator.model.template_paths import name_as_written
from rivermill_operator.plan.manifests import build
from tests.unit.plan.build import body

GIVEN = {
    "metadata": {"labels": {"team": "a b"}},
    "spec": {
        "restartPolicy": "Never",
        "containers": [
            {"name": "proxy", "ports": [{"containerPort": 1, "name": "Metrics"}], "args": ["a", 5]},
            {
                "name": "worker",
                "resorces": {},
                "resources": {"limits": {"cpu": "x"}},
                "env": [{"name": "A B", "value": "1"}, {"name": "RIVER_WORKERS", "value": "2"}],
                "volumeMounts": [{"mountPath": "/data", "name": "date"}],
            },
        ],
        "tolerations": [{"operator": "Eksists"}],
    },
}
ROOT = "spec.worker.template"
WORKER = f"{ROOT}.spec.containers[1]"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("spec.template.spec.restartPolicy: Unsupported value", f"{ROOT}.spec.restartPolicy: Unsupported value"),
        ("spec.template.metadata.labels: Invalid value", f"{ROOT}.metadata.labels: Invalid value"),
        ('unknown field "spec.template.spec.containers[0].resorces"', f'unknown field "{WORKER}.resorces"'),
        ("spec.template.spec.containers[0].resources.limits[cpu]: Invalid", f"{WORKER}.resources.limits[cpu]: Invalid"),
        ("spec.template.spec.containers[0].volumeMounts[1].name: Not found", f"{WORKER}.volumeMounts[0].name: Not found"),
        # Variables of the operator's stand before those of the template, or are replaced by them.
        ("spec.template.spec.containers[0].env[13].name: Invalid", f"{WORKER}.env[0].name: Invalid"),
        ("spec.template.spec.containers[0].env[3].value: Invalid", f"{WORKER}.env[1].value: Invalid"),
        # What is missing, in a container of the template's own.
        ("spec.template.spec.containers[1].image: Required value", f"{ROOT}.spec.containers[0].image: Required value"),
        ("spec.template.spec.containers[1].ports[0].name: Invalid", f"{ROOT}.spec.containers[0].ports[0].name: Invalid"),
        ("spec.template.spec.containers[1].args[1]: Invalid", f"{ROOT}.spec.containers[0].args[1]: Invalid"),
        ("spec.template.spec.tolerations[0].operator: Unsupported", f"{ROOT}.spec.tolerations[0].operator: Unsupported"),
        # As it is told of what is applied.
        (
            '(n/q-1; apps/v1, Kind=Deployment): .spec.template.spec.containers[name="worker"].resorces: field not declared',
            f"(n/q-1; apps/v1, Kind=Deployment): {WORKER}.resorces: field not declared",
        ),
        (
            'spec.template.spec.containers[name="worker"].env[name="A B"].name: field',
            f"{WORKER}.env[0].name: field",
        ),
        ("spec.template.spec.containers[0].image: Invalid value", "spec.worker.image: Invalid value"),
        (
            "[spec.template.spec.restartPolicy: a, spec.template.spec.containers[0].image: b]",
            f"[{ROOT}.spec.restartPolicy: a, spec.worker.image: b]",
        ),
    ],
)
def test_a_field_of_the_template_is_named_where_it_stands(said: str, told: str) -> None:
    value = body()
    value["spec"]["worker"]["template"] = GIVEN
    queue = parse_job_queue(value)
    assert name_as_written(said, build(queue).deployment["spec"]["template"], queue.spec.worker.template) == told


@pytest.mark.parametrize(
    "said",
    [
        "spec.template.spec.containers[0].env[0].valueFrom: Invalid",
        "spec.template.spec.containers[0].ports[0]: Invalid",
        "spec.template.spec.containers[0].readinessProbe.httpGet: Invalid",
        "spec.template.spec.containers[9].image: Invalid",
        'spec.template.spec.containers[name="none"].image: Invalid',
        "spec.template.spec.volumes[0].name: Invalid",
        "spec.template.spec.tolerations[7]: Invalid",
        "spec.templates.spec: no path of a template",
        "spec.selector: Invalid value",
        "0 POST /apis/apps/v1: TimeoutError()",
    ],
)
def test_what_is_not_of_the_template_stays(said: str) -> None:
    value = body()
    value["spec"]["worker"]["template"] = GIVEN
    queue = parse_job_queue(value)
    assert name_as_written(said, build(queue).deployment["spec"]["template"], queue.spec.worker.template) == said


def test_without_a_template_nothing_is_of_it() -> None:
    queue = parse_job_queue(body())
    said = "spec.template.spec.containers[0].args[1]: Invalid"
    assert name_as_written(said, build(queue).deployment["spec"]["template"], queue.spec.worker.template) == said


WRONG = {
    "metadata": {"labels": {"team": "a", "version": 1}, "annotations": {"on": True}},
    "spec": {
        "tolerations": "any",
        "hostNetwork": "yes",
        "priority": "high",
        "securityContext": "none",
        "containers": [
            {"name": "proxy", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": 2.5}], "args": ["-v", 5]},
            {"name": "worker", "imagePullPolicy": 1, "ports": [{"containerPort": True}]},
        ],
    },
}


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("string into Go struct field PodSpec.spec.template.spec.tolerations of type []v1.Toleration",
         "spec.tolerations: must be a list, not 'any'"),
        ("number into Go struct field ObjectMeta.spec.template.metadata.labels of type string",
         'metadata.labels.version: must be a text, not 1: write "1"'),
        ("bool into Go struct field ObjectMeta.spec.template.metadata.annotations of type string",
         'metadata.annotations.on: must be a text, not true: write "true"'),
        ("string into Go struct field PodSpec.spec.template.spec.hostNetwork of type bool",
         "spec.hostNetwork: must be true or false, not 'yes'"),
        ("string into Go struct field PodSpec.spec.template.spec.priority of type int32",
         "spec.priority: must be a whole number, not 'high'"),
        ("bool into Go struct field Container.spec.template.spec.containers.ports.containerPort of type int32",
         "spec.containers[1].ports[0].containerPort: must be a whole number, not true"),
        ("string into Go struct field PodSpec.spec.template.spec.securityContext of type v1.PodSecurityContext",
         "spec.securityContext: must be an object, not 'none'"),
        ("number 2.5 into Go struct field EnvVar.spec.template.spec.containers.env.value of type string",
         'spec.containers[0].env[1].value: must be a text, not 2.5: write "2.5"'),
        ("number into Go struct field Container.spec.template.spec.containers.args of type string",
         'spec.containers[0].args[1]: must be a text, not 5: write "5"'),
        ("number into Go struct field Container.spec.template.spec.containers.imagePullPolicy of type v1.PullPolicy",
         "spec.containers[1].imagePullPolicy: must be something else than a number, not 1"),
    ],
)  # fmt: skip
def test_a_wrong_type_is_told_without_a_type_of_the_api_servers_code(said: str, told: str) -> None:
    before = 'Deployment in version "v1" cannot be handled as a Deployment: '
    found = name_as_written(f"{before}json: cannot unmarshal {said}", {}, WRONG)
    assert found == f"{before}{ROOT}.{told}"


PORTS = {
    "spec": {
        "priority": -3_000_000_000,
        "containers": [
            {"name": "proxy", "ports": [{"containerPort": 8080}, {"containerPort": 25}]},
            {"name": "worker", "ports": [{"containerPort": 2.5}, {"containerPort": 3_000_000_000}, {"containerPort": 1e20}]},
        ],
    }
}


@pytest.mark.parametrize(
    ("number", "field", "told"),
    [
        ("2.5", "containers.ports.containerPort", "containers[1].ports[0].containerPort: must be a whole number, not 2.5"),
        (
            "3000000000",
            "containers.ports.containerPort",
            "containers[1].ports[1].containerPort: must be a whole number that fits int32, not 3000000000",
        ),
        ("1e+20", "containers.ports.containerPort", "containers[1].ports[2].containerPort: must be a whole number, not 1e+20"),
        ("-3000000000", "priority", "priority: must be a whole number that fits int32, not -3000000000"),
        # What the API server quotes is nowhere.
        ("7.5", "containers.ports.containerPort", None),
    ],
)
def test_a_number_that_is_right_is_not_blamed_for_another(number: str, field: str, told: str | None) -> None:
    said = f"json: cannot unmarshal number {number} into Go struct field Any.spec.template.spec.{field} of type int32"
    assert name_as_written(said, {}, PORTS) == (said if told is None else f"{ROOT}.spec.{told}")


def test_what_is_not_of_the_template_stays_as_it_was_told() -> None:
    said = "json: cannot unmarshal string into Go struct field PodSpec.spec.template.spec.nodeName of type []v1.Toleration"
    assert name_as_written(said, {}, WRONG) == said
