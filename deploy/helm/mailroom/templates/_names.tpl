{{- define "mailroom.name" -}}
{{- if contains "mailroom" .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-mailroom{{ end -}}
{{- end }}

{{- define "mailroom.selector" -}}
app.kubernetes.io/name: mailroom
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "mailroom.labels" -}}
{{ include "mailroom.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "mailroom.image" -}}
{{- with .Values.image -}}
{{ .repository }}
{{- if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end -}}
{{- end -}}
{{- end }}

{{- define "mailroom.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
# Files of secrets are root's: its group reads them.
fsGroup: 10001
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "mailroom.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop:
    - ALL
{{- end }}
