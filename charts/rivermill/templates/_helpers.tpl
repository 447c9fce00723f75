{{- define "rivermill.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* At most 52 characters, so that the pods' names (and suffixes of ours) stay valid DNS labels. */}}
{{- define "rivermill.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "rivermill.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Cluster-scoped names carry the namespace: releases of one name may exist in several namespaces. */}}
{{- define "rivermill.clusterName" -}}
{{- printf "%s:%s" .Release.Namespace (include "rivermill.fullname" .) -}}
{{- end -}}

{{/* Immutable in a Deployment: nothing that changes between versions may enter here. */}}
{{- define "rivermill.selectorLabels" -}}
app.kubernetes.io/name: {{ printf "%s-operator" (include "rivermill.name" . | trunc 54 | trimSuffix "-") }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "rivermill.ownLabels" -}}
{{ include "rivermill.selectorLabels" . }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: rivermill
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{/* The chart's own labels win over the user's. */}}
{{- define "rivermill.labels" -}}
{{- merge (dict) (include "rivermill.ownLabels" . | fromYaml) .Values.commonLabels | toYaml -}}
{{- end -}}

{{- define "rivermill.podLabels" -}}
{{- merge (dict) (include "rivermill.ownLabels" . | fromYaml) .Values.podLabels .Values.commonLabels | toYaml -}}
{{- end -}}

{{- define "rivermill.image" -}}
{{- $registry := default .Values.image.registry .Values.global.imageRegistry -}}
{{- $name := ternary (printf "%s/%s" $registry .Values.image.repository) .Values.image.repository (ne $registry "") -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $name .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "rivermill.serviceAccountName" -}}
{{- default (ternary (include "rivermill.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "rivermill.leaseName" -}}
{{- default (include "rivermill.fullname" .) .Values.leaderElection.leaseName -}}
{{- end -}}

{{- define "rivermill.subject" -}}
- kind: ServiceAccount
  name: {{ include "rivermill.serviceAccountName" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}

{{/* What the operator may do where there are JobQueues. A server-side apply needs patch, and create for what is not there yet. */}}
{{- define "rivermill.rules" -}}
- apiGroups: [rivermill.dev]
  resources: [jobqueues]
  verbs: [get, list, watch, patch]
- apiGroups: [rivermill.dev]
  resources: [jobqueues/status]
  verbs: [patch]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [deployments/scale]
  verbs: [patch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, patch]
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [list]
{{- end -}}
