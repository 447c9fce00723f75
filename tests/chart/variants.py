"""Sets of values that together make every branch of the templates render."""

from __future__ import annotations

from tests.chart.helm import Manifest

VARIANTS: dict[str, Manifest] = {
    "defaults": {},
    "one replica": {"replicaCount": 1},
    "no replica": {"replicaCount": 0},
    "namespaced": {"watchNamespaces": ["team-a", "team-b"]},
    "no rbac, foreign account": {
        "rbac": {"create": False, "aggregateClusterRoles": False},
        "serviceAccount": {"create": False, "name": "ready-made"},
    },
    "account with annotations": {"serviceAccount": {"annotations": {"example.com/role": "arn:1"}}},
    "digest": {"image": {"digest": "sha256:" + "ab" * 32}},
    "mirror": {"global": {"imageRegistry": "registry.example.com:5000"}, "imagePullSecrets": [{"name": "pull"}]},
    "budget by percentage": {"replicaCount": 3, "podDisruptionBudget": {"maxUnavailable": None, "minAvailable": "50%"}},
    "no budget": {"podDisruptionBudget": {"enabled": False}},
    "recreate": {"updateStrategy": {"type": "Recreate"}},
    "monitored": {
        "serviceMonitor": {
            "enabled": True,
            "interval": "15s",
            "scrapeTimeout": "10s",
            "labels": {"release": "prometheus"},
            "relabelings": [{"action": "labeldrop", "regex": "pod"}],
            "metricRelabelings": [{"action": "drop", "sourceLabels": ["__name__"], "regex": "python_gc.*"}],
        }
    },
    "workers monitored": {
        "podMonitor": {
            "enabled": True,
            "interval": "15s",
            "scrapeTimeout": "10s",
            "labels": {"release": "prometheus"},
            "relabelings": [{"action": "labeldrop", "regex": "pod"}],
            "metricRelabelings": [{"action": "drop", "sourceLabels": ["__name__"], "regex": "python_gc.*"}],
        }
    },
    "alerts": {"prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}}},
    "monitored in some namespaces": {
        "watchNamespaces": ["team-a", "team-b", "team-a"],
        "podMonitor": {"enabled": True},
        "prometheusRule": {"enabled": True, "errorsIn5Minutes": 9, "oldestWaitSeconds": 90},
    },
    "network policy": {"networkPolicy": {"enabled": True}},
    "network policy with peers": {
        "networkPolicy": {
            "enabled": True,
            "metricsFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
            "apiServerPorts": [6443],
            "postgresPorts": [5433],
            "extraEgress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}],
        }
    },
    "placed": {
        "priorityClassName": "system-cluster-critical",
        "nodeSelector": {"kubernetes.io/arch": "amd64"},
        "tolerations": [{"key": "infra", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {}}
        ],
    },
    "labelled": {
        "commonLabels": {"team": "media"},
        "podLabels": {"sidecar.istio.io/inject": "false"},
        "podAnnotations": {"example.com/a": "1"},
        "deploymentAnnotations": {"example.com/b": "2"},
        "service": {"port": 9090, "annotations": {"example.com/c": "3"}},
    },
    "extended": {
        "extraEnv": [{"name": "SSL_CERT_FILE", "value": "/ca/ca.crt"}],
        "extraEnvFrom": [{"configMapRef": {"name": "more"}}],
        "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
        "extraVolumeMounts": [{"name": "ca", "mountPath": "/ca", "readOnly": True}],
        "extraObjects": [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-map"}},
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: '{{ .Release.Name }}-text'\n",
        ],
    },
}
