{{- /* Generated from operator/src by the test `generated_files_are_what_the_code_gives` (UPDATE_GOLDEN=1). Do not edit. */ -}}
{{- define "dsync.rules" -}}
- apiGroups:
  - dsync.io
  resources:
  - dsyncclusters
  verbs:
  - get
  - list
  - watch
  - patch
- apiGroups:
  - dsync.io
  resources:
  - dsyncclusters/status
  verbs:
  - patch
- apiGroups:
  - ""
  resources:
  - configmaps
  - serviceaccounts
  - services
  verbs:
  - get
  - list
  - watch
  - create
  - patch
  - delete
- apiGroups:
  - apps
  resources:
  - statefulsets
  - deployments
  verbs:
  - get
  - list
  - watch
  - create
  - patch
  - delete
- apiGroups:
  - policy
  resources:
  - poddisruptionbudgets
  verbs:
  - get
  - list
  - watch
  - create
  - patch
  - delete
- apiGroups:
  - networking.k8s.io
  resources:
  - networkpolicies
  verbs:
  - get
  - list
  - watch
  - create
  - patch
  - delete
- apiGroups:
  - ""
  resources:
  - secrets
  verbs:
  - list
  - watch
  - create
  - patch
- apiGroups:
  - ""
  resources:
  - persistentvolumeclaims
  verbs:
  - get
  - list
  - watch
  - create
  - patch
- apiGroups:
  - ""
  resources:
  - pods
  verbs:
  - list
  - watch
  - delete
- apiGroups:
  - ""
  resources:
  - pods/eviction
  verbs:
  - create
- apiGroups:
  - events.k8s.io
  resources:
  - events
  verbs:
  - create
  - patch
{{- end }}
{{- define "dsync.homeRules" -}}
- apiGroups:
  - coordination.k8s.io
  resources:
  - leases
  verbs:
  - get
  - list
  - watch
  - create
  - patch
{{- end }}
{{- define "dsync.viewRules" -}}
- apiGroups:
  - dsync.io
  resources:
  - dsyncclusters
  - dsyncclusters/status
  verbs:
  - get
  - list
  - watch
{{- end }}
{{- define "dsync.editRules" -}}
- apiGroups:
  - dsync.io
  resources:
  - dsyncclusters
  verbs:
  - create
  - update
  - patch
  - delete
  - deletecollection
- apiGroups:
  - dsync.io
  resources:
  - dsyncclusters/scale
  verbs:
  - get
  - update
  - patch
{{- end }}
