{{- /* What the schema of the values cannot say. tulle install finds the same and more, such as expired certificates,
before it renders. Values that are read from a cluster have no issuer, so the CLI does not ask for this. */ -}}
{{- define "tulle.check" -}}
{{- include "tulle.check-networks" (dict "key" "clusterNetworks" "text" .Values.clusterNetworks) }}
{{- if .Values.proxyInit.skipSubnets }}
{{- include "tulle.check-networks" (dict "key" "proxyInit.skipSubnets" "text" .Values.proxyInit.skipSubnets) }}
{{- end }}
{{- include "tulle.check-duration" (dict "key" "identity.issuer.issuanceLifetime" "text" .Values.identity.issuer.issuanceLifetime
  "least" 600 "most" 86400 "want" "10m0s to 24h0m0s") }}
{{- include "tulle.check-duration" (dict "key" "identity.issuer.clockSkewAllowance" "text" .Values.identity.issuer.clockSkewAllowance
  "least" 0 "most" 600 "want" "0s to 10m0s") }}
{{- range $key := list "podLabels" "podAnnotations" }}
{{- range $name, $_ := get $.Values $key }}
{{- if or (hasPrefix "linkerd.io/" $name) (has $name (list "app.kubernetes.io/name" "app.kubernetes.io/part-of" "app.kubernetes.io/version")) }}
{{- fail (printf "%s %q: the manifests set this themselves" $key $name) }}
{{- end }}
{{- end }}
{{- end }}
{{- include "tulle.check-credentials" . }}
{{- end -}}

{{- define "tulle.check-networks" -}}
{{- $v4 := "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])([.](25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])){3}/(3[0-2]|[12]?[0-9])" }}
{{- $v6 := "[0-9a-fA-F:]*:[0-9a-fA-F:.]*/(12[0-8]|1[01][0-9]|[1-9]?[0-9])" }}
{{- range splitList "," .text }}
{{- if not (regexMatch (printf "^(%s|%s)$" $v4 $v6) (trim .)) }}
{{- fail (printf "%s: %q is not a CIDR, such as 10.0.0.0/8" $.key .) }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "tulle.check-duration" -}}
{{- $seconds := 0.0 }}
{{- $units := dict "h" 3600 "m" 60 "s" 1 "ms" 0.001 "us" 0.000001 "µs" 0.000001 "μs" 0.000001 "ns" 0.000000001 }}
{{- range regexFindAll "[0-9.]+[a-zµμ]+" .text -1 }}
{{- $number := regexFind "^[0-9.]+" . }}
{{- $seconds = addf $seconds (mulf (float64 $number) (get $units (trimPrefix $number .))) }}
{{- end }}
{{- if or (lt $seconds (float64 .least)) (gt $seconds (float64 .most)) }}
{{- if not (and (eq $seconds 0.0) (eq .key "identity.issuer.issuanceLifetime")) }}
{{- fail (printf "%s %s: want %s" .key .text .want) }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "tulle.check-credentials" -}}
{{- $anchors := .Values.identityTrustAnchorsPEM }}
{{- $tls := .Values.identity.issuer.tls }}
{{- $external := eq .Values.identity.issuer.scheme "kubernetes.io/tls" }}
{{- if $external }}
{{- if or $tls.crtPEM $tls.keyPEM }}
{{- fail "identity.issuer.tls must be empty when the issuer is an external one (identity.issuer.scheme kubernetes.io/tls)" }}
{{- end }}
{{- if not (or $anchors .Values.identity.externalCA) }}
{{- fail "identityTrustAnchorsPEM is missing: an external issuer needs trust anchors, or identity.externalCA where somebody else keeps them" }}
{{- end }}
{{- else if or $anchors $tls.crtPEM $tls.keyPEM .Values.identity.externalCA }}
{{- if not (or $anchors .Values.identity.externalCA) }}
{{- fail "identityTrustAnchorsPEM is missing, and must be given if other credentials are provided: --set-file identityTrustAnchorsPEM=FILE" }}
{{- end }}
{{- if not $tls.crtPEM }}
{{- fail "identity.issuer.tls.crtPEM is missing, and must be given if other credentials are provided: --set-file identity.issuer.tls.crtPEM=FILE" }}
{{- end }}
{{- if not $tls.keyPEM }}
{{- fail "identity.issuer.tls.keyPEM is missing, and must be given if other credentials are provided: --set-file identity.issuer.tls.keyPEM=FILE" }}
{{- end }}
{{- end }}
{{- include "tulle.check-certificates" (dict "key" "identityTrustAnchorsPEM" "text" $anchors) }}
{{- include "tulle.check-certificates" (dict "key" "identity.issuer.tls.crtPEM" "text" $tls.crtPEM) }}
{{- if and $tls.keyPEM (not (regexMatch "-----BEGIN [A-Z ]*PRIVATE KEY-----" $tls.keyPEM)) }}
{{- fail "identity.issuer.tls.keyPEM holds no PEM private key" }}
{{- end }}
{{- end -}}

{{- define "tulle.check-certificates" -}}
{{- if .text }}
{{- if contains "PRIVATE KEY-----" .text }}
{{- fail (printf "%s holds a PRIVATE KEY, want certificates" .key) }}
{{- end }}
{{- if not (include "tulle.certificates" .text) }}
{{- fail (printf "%s holds no PEM certificate" .key) }}
{{- end }}
{{- end }}
{{- end -}}

{{- /* A foreign Gateway API stays as it is: its definitions belong together. Without a cluster, as in helm template and Argo CD, nothing is
found, and the API server decides. The objects never depend on what is found. */ -}}
{{- define "tulle.check-gateway-api" -}}
{{- $found := lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" "httproutes.gateway.networking.k8s.io" }}
{{- if $found }}
{{- $annotations := $found.metadata.annotations | default dict }}
{{- if not (hasPrefix "tulle/cli " (get $annotations "linkerd.io/created-by")) }}
{{- fail (printf "installGatewayAPI: the cluster has a Gateway API of its own (%s): set installGatewayAPI=false"
  (get $annotations "gateway.networking.k8s.io/bundle-version" | default "of an unknown version")) }}
{{- end }}
{{- end }}
{{- end -}}
