package analyze

import (
	"strings"
	"testing"
)

func TestProbesThatAreRefused(t *testing.T) {
	const (
		namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, annotations: {linkerd.io/inject: " +
			"enabled}}\n---\n"
		denying = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, annotations: {linkerd.io/inject: enabled, " +
			"config.linkerd.io/default-inbound-policy: deny}}\n---\n"
		podOf = "apiVersion: v1\nkind: Pod\nmetadata: {name: web, labels: {app: web}, annotations: " +
			"{ANNOTATIONS}}\nspec:\n" +
			"  initContainers: [{name: tulle-proxy, restartPolicy: Always}]\n" +
			"  containers: [{name: app, ports: [{name: tls, containerPort: 8443}], CONTAINER}]\n---\n"
		https  = "livenessProbe: {httpGet: {port: tls, path: /live, scheme: HTTPS}}"
		server = "apiVersion: policy.linkerd.io/v1beta3\nkind: Server\nmetadata: {name: web, labels: {app: web}}\n" +
			"spec: {podSelector: {matchLabels: {app: web}}, port: 8443, SPEC}\n---\n"
		authorized = "apiVersion: policy.linkerd.io/v1alpha1\nkind: AuthorizationPolicy\nmetadata: {name: node}\n" +
			"spec: {targetRef: {group: policy.linkerd.io, kind: Server, name: web}, requiredAuthenticationRefs: [{group: " +
			"policy.linkerd.io, kind: KIND, name: node}]}\n---\n"
		route = "apiVersion: policy.linkerd.io/v1beta3\nkind: HTTPRoute\nmetadata: {name: all}\n" +
			"spec: {parentRefs: [{group: policy.linkerd.io, kind: Server, name: web}], rules: [RULE]}\n---\n"
		deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {template: {metadata: {labels: " +
			"{app: web}}, spec: {containers: [{name: app, ports: [{name: tls, containerPort: 8443}], " + https + "}]}}}\n---\n"
	)
	pod := func(container string, annotations ...string) string {
		return strings.NewReplacer("CONTAINER", container, "ANNOTATIONS", strings.Join(annotations, ", ")).Replace(podOf)
	}
	with := func(text, placeholder, value string) string { return strings.ReplaceAll(text, placeholder, value) }
	open, locked := with(server, "SPEC", "accessPolicy: all-unauthenticated"), with(server, "SPEC", "accessPolicy: deny")
	unauthenticated := "apiVersion: policy.linkerd.io/v1beta1\nkind: ServerAuthorization\nmetadata: {name: all}\n" +
		"spec: {server: {selector: {matchLabels: {app: web}}}, client: {unauthenticated: true}}\n---\n"
	plain := "livenessProbe: {httpGet: {port: tls, path: /live}}"
	redirect := with(route, "RULE",
		"{matches: [{path: {type: PathPrefix, value: /live}}], filters: [{type: RequestRedirect, requestRedirect: "+
			"{statusCode: 301}}]}")
	for name, tc := range map[string]struct {
		manifests string
		want      string // what the finding says; "" for none
	}{
		"no policy": {namespace + pod(https), ""},
		"a namespace that denies": {denying + pod(https),
			"ProbeRefused: Pod/web: container app: livenessProbe asks port 8443 over HTTPS, and inbound policy deny"},
		"a lifecycle hook": {denying +
			pod("lifecycle: {preStop: {httpGet: {port: 8443, scheme: HTTPS}}}"), "preStop asks port 8443"},
		"a pod that denies": {namespace +
			pod(https, "config.linkerd.io/default-inbound-policy: all-authenticated"), "inbound policy all-authenticated"},
		"a port that requires identity": {namespace + pod(https,
			"config.linkerd.io/proxy-require-identity-inbound-ports: \"8443\""), "the port requires an identity: use HTTP"},
		"a port that is not captured": {denying + pod(https, "config.linkerd.io/skip-inbound-ports: \"8443\""),
			""},
		"a Deployment":                     {denying + deployment, "ProbeRefused: Deployment/web"},
		"a Deployment outside of the mesh": {strings.Replace(denying, "enabled", "disabled", 1) + deployment, ""},
		"a Deployment of a namespace that requires proxies": {strings.Replace(denying,
			"annotations: {linkerd.io/inject: enabled, ", "labels: {tulle.dev/injection: required}, annotations: {", 1) +
			deployment, "ProbeRefused: Deployment/web"},
		"a Deployment on the host's network": {denying + strings.Replace(deployment, "spec: {containers",
			"spec: {hostNetwork: true, containers", 1), ""},
		"a Deployment with the sidecar of another mesh": {denying + strings.Replace(deployment, "containers: [",
			"containers: [{name: istio-proxy}, ", 1), ""},
		"a Deployment with a proxy": {denying + strings.Replace(deployment, "containers: [",
			"containers: [{name: tulle-proxy}, ", 1), "ProbeRefused: Deployment/web"},
		"a Server that denies": {namespace + pod(https) + locked,
			"Server web refuses clients without identity: authorize the node's network, or use HTTP"},
		"a Server without an access policy": {namespace + pod(https) + with(server, ", SPEC", ""),
			"Server web refuses"},
		"a Server that lets in everybody": {denying + pod(https) + open, ""},
		"a Server of another port": {namespace + pod(https) + strings.Replace(locked, "8443", "8080", 1),
			""},
		"a Server that lets in a network": {namespace + pod(https) + locked +
			with(authorized, "KIND", "NetworkAuthentication"), ""},
		"a Server that lets in identities": {namespace + pod(https) + locked +
			with(authorized, "KIND", "MeshTLSAuthentication"), "Server web refuses"},
		"a Server with a ServerAuthorization": {namespace + pod(https) + locked + unauthenticated, ""},
		"a Server that is declared HTTP": {namespace + pod(https) +
			with(server, "SPEC", "accessPolicy: audit, proxyProtocol: HTTP/1"), "or a rate limit, and resets it whatever " +
			"authorizations say: use HTTP, gRPC, tcpSocket or exec (docs/authorization.md#https-probes)"},
		"a Server with routes": {namespace + pod(https) + open + with(route, "RULE", "{}"),
			"or a rate limit, and resets it whatever authorizations say: use HTTP, gRPC, tcpSocket or exec " +
				"(docs/authorization.md#https-probes)"},
		"a probe over HTTP": {denying + pod(plain) + locked, ""},
		"a probe that a route redirects": {namespace + pod(plain) + locked + redirect,
			"ProbeRedirected: Pod/web: container app: livenessProbe asks port 8443 for /live, which HTTPRoute all redirects"},
		"a probe that a route of another path does": {namespace + pod(with(plain, "/live", "/ready")) + locked + redirect,
			""},
		"a probe that a route does not redirect": {namespace + pod(plain) + locked + with(route, "RULE", "{}"), ""},
	} {
		w := worldOf(t, tc.manifests)
		var got []string
		for _, code := range []string{ProbeRefused, "ProbeRedirected"} {
			for _, f := range found(w, code) {
				got = append(got, code+": "+f)
			}
		}
		if tc.want == "" && len(got) > 0 || tc.want != "" && (len(got) != 1 || !strings.Contains(got[0], tc.want)) {
			t.Errorf("%s: got %q, want %q", name, got, tc.want)
		}
	}
}
