{{- /* One of the three components: its Service, its Deployment and, if asked for, its PodDisruptionBudget. */}}
{{- define "tulle.component" }}
{{- $root := .root }}
{{- $values := $root.Values }}
{{- $version := include "tulle.version" $root }}
{{- $common := list
  .component
  (printf "--addr=:%d" .port)
  (printf "--admin-addr=:%d" .adminPort)
  (printf "--controller-namespace=%s" $root.Release.Namespace)
  (printf "--trust-domain=%s" (include "tulle.trust-domain" $root))
  (printf "--log-level=%s" $values.controllerLogLevel)
  (printf "--log-format=%s" $values.controllerLogFormat) -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ .name }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    linkerd.io/control-plane-ns: {{ $root.Release.Namespace }}
    linkerd.io/control-plane-component: {{ .component }}
  annotations:
    {{ include "tulle.created-by" $root }}
spec:
  type: ClusterIP
  selector:
    linkerd.io/control-plane-component: {{ .component }}
  ports:
  - name: {{ .portName }}
    port: {{ .servicePort }}
    targetPort: {{ .portName }}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .name }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    linkerd.io/control-plane-ns: {{ $root.Release.Namespace }}
    linkerd.io/control-plane-component: {{ .component }}
    app.kubernetes.io/name: {{ .component }}
    app.kubernetes.io/part-of: tulle
    app.kubernetes.io/version: {{ $version | toJson }}
  annotations:
    {{ include "tulle.created-by" $root }}
spec:
  replicas: {{ int64 $values.controllerReplicas }}
  selector:
    matchLabels:
      linkerd.io/control-plane-component: {{ .component }}
  strategy:
    type: RollingUpdate
    rollingUpdate:
      {{- if $values.enablePodAntiAffinity }}
      # A replica a node: where every node has one, the old one has to go first.
      maxUnavailable: 1
      {{- else }}
      maxUnavailable: 0
      {{- end }}
      maxSurge: 1
  template:
    metadata:
      labels:
        {{- range $k, $v := $values.podLabels }}
        {{ $k | toJson }}: {{ $v | toJson }}
        {{- end }}
        linkerd.io/control-plane-component: {{ .component }}
        app.kubernetes.io/name: {{ .component }}
        app.kubernetes.io/part-of: tulle
        app.kubernetes.io/version: {{ $version | toJson }}
      annotations:
        {{- range $k, $v := $values.podAnnotations }}
        {{ $k | toJson }}: {{ $v | toJson }}
        {{- end }}
        linkerd.io/inject: disabled
        {{ include "tulle.created-by" $root }}
    spec:
      serviceAccountName: {{ .name }}
      automountServiceAccountToken: true
      {{- with $values.priorityClassName }}
      priorityClassName: {{ . | toJson }}
      {{- end }}
      {{- with $values.nodeSelector }}
      nodeSelector:
        {{- range $k, $v := . }}
        {{ $k | toJson }}: {{ $v | toJson }}
        {{- end }}
      {{- end }}
      {{- with $values.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- if $values.enablePodAntiAffinity }}
      affinity:
        podAntiAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
          - topologyKey: kubernetes.io/hostname
            labelSelector:
              matchLabels:
                linkerd.io/control-plane-component: {{ .component }}
          preferredDuringSchedulingIgnoredDuringExecution:
          - weight: 100
            podAffinityTerm:
              topologyKey: topology.kubernetes.io/zone
              labelSelector:
                matchLabels:
                  linkerd.io/control-plane-component: {{ .component }}
      {{- end }}
      securityContext:
        runAsNonRoot: true
        runAsUser: {{ int64 $values.controllerUID }}
        {{- if gt (int64 $values.controllerGID) 0 }}
        runAsGroup: {{ int64 $values.controllerGID }}
        {{- end }}
        seccompProfile:
          type: RuntimeDefault
      containers:
      - name: {{ .component }}
        image: {{ printf "%s:%s" $values.controllerImage $version | toJson }}
        imagePullPolicy: {{ $values.imagePullPolicy }}
        args:
        {{- range concat $common .args }}
        - {{ . | toJson }}
        {{- end }}
        {{- with include "tulle.go-memory-limit" .resources }}
        env:
        - {name: GOMEMLIMIT, value: "{{ . }}"}
        {{- end }}
        ports:
        - name: {{ .portName }}
          containerPort: {{ .port }}
        - name: admin
          containerPort: {{ .adminPort }}
        startupProbe:
          httpGet: {path: /live, port: admin}
          periodSeconds: 1
          failureThreshold: 60
        livenessProbe:
          httpGet: {path: /live, port: admin}
        readinessProbe:
          httpGet: {path: /ready, port: admin}
          periodSeconds: 2
        resources:
          {{- include "tulle.resources" .resources | nindent 10 }}
        securityContext:
          allowPrivilegeEscalation: false
          readOnlyRootFilesystem: true
          capabilities:
            drop: [ALL]
        terminationMessagePolicy: FallbackToLogsOnError
        {{- if .meshIdentity }}
        volumeMounts:
        - {name: token, mountPath: /var/run/secrets/tulle, readOnly: true}
        - {name: trust-roots, mountPath: /var/run/tulle/trust-roots, readOnly: true}
      volumes:
      - name: token
        projected:
          sources:
          - serviceAccountToken: {audience: identity.tulle.dev, expirationSeconds: 86400, path: token}
      - name: trust-roots
        configMap: {name: tulle-identity-trust-roots}
        {{- end }}
        {{- if .proxyConfig }}
        volumeMounts:
        - {name: config, mountPath: /var/run/tulle/config, readOnly: true}
      volumes:
      - name: config
        configMap: {name: tulle-config}
        {{- end }}
{{- if $values.enablePodDisruptionBudget }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ .name }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    linkerd.io/control-plane-ns: {{ $root.Release.Namespace }}
    linkerd.io/control-plane-component: {{ .component }}
  annotations:
    {{ include "tulle.created-by" $root }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels:
      linkerd.io/control-plane-component: {{ .component }}
{{- end }}
{{- end }}
