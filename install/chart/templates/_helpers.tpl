{{- define "tulle.created-by" -}}
linkerd.io/created-by: {{ printf "tulle/cli %s" .Chart.AppVersion | toJson }}
{{- end -}}

{{- define "tulle.version" -}}
{{ .Values.linkerdVersion | default .Chart.AppVersion }}
{{- end -}}

{{- define "tulle.trust-domain" -}}
{{ .Values.identityTrustDomain | default .Values.clusterDomain }}
{{- end -}}

{{- define "tulle.image-pull-secrets" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
{{- range . }}
- name: {{ .name | toJson }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "tulle.policy-rules-labels" }}
  labels:
    linkerd.io/control-plane-ns: {{ .Release.Namespace }}
    linkerd.io/control-plane-component: destination
{{- end }}

{{- define "tulle.injector-endpoint" -}}
admissionReviewVersions: [v1]
  clientConfig:
    service:
      name: tulle-proxy-injector
      namespace: {{ .Release.Namespace }}
      path: /
      port: 443
  timeoutSeconds: {{ int64 .Values.proxyInjector.timeoutSeconds }}
  sideEffects: NoneOnDryRun
  reinvocationPolicy: Never
{{- end -}}

{{- define "tulle.injected-namespaces" -}}
# The control plane and what starts before it must need no injector. cert-manager may make the mesh's issuer.
    - {key: config.linkerd.io/admission-webhooks, operator: NotIn, values: [disabled]}
    - {key: kubernetes.io/metadata.name, operator: NotIn, values: [{{ .Release.Namespace }}, kube-system, cert-manager]}
{{- end -}}

{{- /* The values in the types that the programs read: with helm --set, a text may arrive as a number, and a fraction as a text. */ -}}
{{- define "tulle.values" -}}
{{- $values := omit .Values "global" | deepCopy }}
{{- range list $values.identityResources $values.destinationResources $values.proxyInjectorResources $values.proxy.resources }}
{{- range $bound := . }}
{{- $_ := set $bound "request" (include "tulle.text" $bound.request) }}
{{- $_ := set $bound "limit" (include "tulle.text" $bound.limit) }}
{{- end }}
{{- end }}
{{- range list (list $values.proxy "opaquePorts") (list $values.proxy "requireIdentityOnInboundPorts")
  (list $values.proxyInit "ignoreInboundPorts") (list $values.proxyInit "ignoreOutboundPorts") }}
{{- $_ := set (first .) (last .) (include "tulle.text" (get (first .) (last .))) }}
{{- end }}
{{- $_ := set $values.proxy.resources.cpu "ratioLimit" (float64 $values.proxy.resources.cpu.ratioLimit) }}
{{- $_ := set $values.proxy.tracing "samplingRatio" (float64 $values.proxy.tracing.samplingRatio) }}
{{- toYaml $values }}
{{- end -}}

{{- /* A text, or a number as text. A values file has all numbers as float64, which prints 1e+09 for large ones. */ -}}
{{- define "tulle.text" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) }}
{{- int64 . }}
{{- else }}
{{- . }}
{{- end }}
{{- end -}}

{{- /* What the injector reads: the settings of every proxy, unless an annotation says otherwise. */ -}}
{{- define "tulle.proxy-defaults" -}}
{{- $values := include "tulle.values" . | fromYaml }}
{{- $proxy := $values.proxy }}
{{- if not $proxy.image.pullPolicy }}
{{- $_ := set $proxy.image "pullPolicy" .Values.imagePullPolicy }}
{{- end }}
{{- dict "controlPlaneNamespace" .Release.Namespace "clusterDomain" .Values.clusterDomain
  "identityTrustDomain" (include "tulle.trust-domain" .) "version" (include "tulle.version" .)
  "webhookFailurePolicy" .Values.webhookFailurePolicy "podMaySet" .Values.podMaySet
  "proxy" $proxy "proxyInit" $values.proxyInit | toYaml }}
{{- end -}}

{{- /* The values of this installation, without the issuer's certificate and key. */ -}}
{{- define "tulle.public-values" -}}
{{- $values := include "tulle.values" . | fromYaml }}
{{- $_ := set $values.identity.issuer "tls" (dict "crtPEM" "" "keyPEM" "") }}
{{- with .Values.identityTrustAnchorsPEM }}
{{- $_ := set $values "identityTrustAnchorsPEM" (printf "%s\n" (include "tulle.certificates" .)) }}
{{- end }}
{{- toYaml $values }}
{{- end -}}

{{- /* The trust anchors to print: those that the user gave, unless another tool maintains the ConfigMap. */ -}}
{{- define "tulle.trust-anchors" -}}
{{- if and .Values.identityTrustAnchorsPEM (not .Values.identity.externalCA) }}
{{- include "tulle.certificates" .Values.identityTrustAnchorsPEM }}
{{- end }}
{{- end -}}

{{- /* The certificates of a PEM text, without the text around them. */ -}}
{{- define "tulle.certificates" -}}
{{- regexFindAll "(?s)-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----" . -1 | join "\n" | replace "\r\n" "\n" }}
{{- end -}}

{{- /* The resources of a container, without empty quantities. */ -}}
{{- define "tulle.resources" -}}
{{- $spec := dict }}
{{- range $kind, $key := dict "limits" "limit" "requests" "request" }}
{{- $quantities := dict }}
{{- range $name, $bound := $ }}
{{- with include "tulle.text" (index $bound $key) }}
{{- $_ := set $quantities $name (include "tulle.quantity" .) }}
{{- end }}
{{- end }}
{{- if $quantities }}
{{- $_ := set $spec $kind $quantities }}
{{- end }}
{{- end }}
{{- toYaml $spec }}
{{- end -}}

{{- /* A quantity as the API server stores it, such as 1 for 1000m and 1Gi for 1024Mi, so that a comparison finds no change. */ -}}
{{- define "tulle.quantity" -}}
{{- $number := regexFind "^[0-9]*[.]?[0-9]*" . }}
{{- $decimal := list (list "T" 1e15) (list "G" 1e12) (list "M" 1e9) (list "k" 1e6) (list "" 1e3) (list "m" 1) }}
{{- $binary := list (list "Ti" 1099511627776) (list "Gi" 1073741824) (list "Mi" 1048576) (list "Ki" 1024) (list "" 1) }}
{{- $units := ternary $binary $decimal (hasSuffix "i" .) }}
{{- $amount := -1 }}
{{- range $units }}
{{- if eq (first .) (trimPrefix $number $) }}
{{- $amount = mulf (float64 $number) (last .) }}
{{- end }}
{{- end }}
{{- if or (le (float64 $amount) 0.0) (ne (floor $amount) (float64 $amount)) }}
{{- . }}
{{- else }}
{{- range $units }}
{{- if eq (mod (int64 $amount) (int64 (last .))) 0 }}
{{- printf "%d%s" (div (int64 $amount) (int64 (last .))) (first .) }}
{{- break }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- /* Nine tenths of the memory limit in bytes; nothing without a limit. From there on the garbage collector works harder, so that
the kernel does not kill the process at the limit. */ -}}
{{- define "tulle.go-memory-limit" -}}
{{- with include "tulle.text" .memory.limit }}
{{- $number := regexFind "^[0-9]*[.]?[0-9]*" . }}
{{- $units := dict "" 1 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 }}
{{- with get $units (trimPrefix $number .) }}
{{- mul (div (mulf (float64 $number) . | ceil | int64) 10) 9 }}
{{- end }}
{{- end }}
{{- end -}}

{{- /* A definition of a custom resource with the marks by which an installation recognizes its own. Uninstalling keeps definitions,
because deleting one deletes all its resources. */ -}}
{{- define "tulle.definition" -}}
{{- $parts := splitn "\nspec:\n" 2 .text }}
{{- $head := fromYaml $parts._0 }}
{{- $annotations := $head.metadata.annotations | default dict }}
{{- $annotations = merge (dict "linkerd.io/created-by" (printf "tulle/cli %s" .root.Chart.AppVersion) "helm.sh/resource-policy" "keep") $annotations }}
{{- $_ := set $head.metadata "annotations" $annotations }}
{{- $_ := set $head.metadata "labels" (dict "linkerd.io/control-plane-ns" .root.Release.Namespace) }}
{{- toYaml $head }}
spec:
{{ trimSuffix "\n" $parts._1 }}
{{- end -}}
