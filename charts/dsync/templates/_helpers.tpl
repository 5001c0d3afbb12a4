{{/* Name of the operator's objects: two releases never share one. */}}
{{- define "dsync.operator" -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}-operator
{{- end }}

{{/* Cluster-scoped objects carry the namespace too. */}}
{{- define "dsync.clusterScoped" -}}
{{ .Release.Namespace }}-{{ include "dsync.operator" . }}
{{- end }}

{{- define "dsync.clusterName" -}}
{{ .Values.cluster.name | default (.Release.Name | trunc 40 | trimSuffix "-") }}
{{- end }}

{{/* What the pods of the operator are found by; the policies of clusters admit the first of them. */}}
{{- define "dsync.selector" -}}
app.kubernetes.io/name: dsync-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "dsync.labels" -}}
{{ include "dsync.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "dsync.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "dsync.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}
