package e2e

import (
	"bufio"
	"bytes"
	"context"
	"net/http"
	"strings"
	"testing"
	"time"
)

// tappedNS has a pod that was injected after the extension, which tap can watch.
const tappedNS = "tapped"

// tapped is that pod, and what alice needs to watch it: a right in this namespace alone.
const tapped = `
{apiVersion: v1, kind: Namespace, metadata: {name: tapped, annotations: {linkerd.io/inject: enabled}}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: web, namespace: tapped}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: tapped}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      serviceAccountName: web
      containers:
      - name: app
        image: docker.io/tulle-mesh/e2e-app:test
        imagePullPolicy: IfNotPresent
        args: [serve]
        readinessProbe: {httpGet: {path: "/status?code=200", port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: tapped}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: tap, namespace: tapped}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: linkerd-linkerd-viz-tap-admin}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: alice}]
`

// tapPath is where users watch a Deployment.
func tapPath(namespace, name string) string {
	return "/apis/tap.linkerd.io/v1alpha1/watch/namespaces/" + namespace + "/deployments/" + name + "/tap"
}

// testTap holds the table of who may watch, and what a watch shows.
func testTap(t *testing.T) {
	pod := strings.ReplaceAll(tapped, "docker.io/tulle-mesh/e2e-app:test", env.appImage)
	if _, err := kubectlIn([]byte(pod), "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mustKubectl(t, "delete", "namespace", tappedNS, "--wait=false") })
	mustKubectl(t, "-n", tappedNS, "rollout", "status", "deployment", "--timeout=120s")
	t.Run("pods from before the extension need a restart", func(t *testing.T) {
		for ns, heading := range map[string]string{
			appNS: "Pods that tap can watch after a restart", tappedNS: "Pods with tap enabled",
		} {
			out, err := run(time.Minute, nil, env.tulle, "viz", "list", "-n", ns)
			if err != nil || !strings.HasPrefix(string(out), heading) {
				t.Errorf("%s: error %v, want %q first:\n%s", ns, err, heading, out)
			}
		}
	})
	t.Run("users need the right", testTapRights)
	t.Run("the tap server takes requests of the API server alone", testTapFrontProxy)
	t.Run("a proxy takes the tap server alone", testTapPort)
	t.Run("the admin port of a proxy is for its own pod", testAdminPort)
	t.Run("a watch shows requests without secrets", testTapStream)
}

func testTapRights(t *testing.T) {
	for name, test := range map[string]struct{ user, namespace, deployment string }{
		"no right":                 {"bob", tappedNS, "web"},
		"right in another one":     {"alice", appNS, "server"},
		"right to list pods alone": {"system:serviceaccount:" + vizNS + ":metrics-api", tappedNS, "web"},
	} {
		out, err := kubectlIn([]byte("{}"), "--as="+test.user, "create", "--raw", tapPath(test.namespace, test.deployment),
			"-f", "-")
		if err == nil || !strings.Contains(err.Error(), "Forbidden") || !strings.Contains(err.Error(), "watch") ||
			!strings.Contains(err.Error(), "deployments/tap") {
			t.Errorf("%s: printed %q, error %v; want Forbidden, the verb watch and deployments/tap", name, out, err)
		}
	}
}

func testTapFrontProxy(t *testing.T) {
	for name, from := range map[string]client{"no proxy": unmeshed, "another identity": meshed} {
		for what, headers := range map[string][]string{
			"no user": nil,
			"a forged user": {"-header", "X-Remote-User: system:admin", "-header", "X-Remote-Group: system:masters",
				"-header", "X-Forwarded-Client-Cert: By=x"},
		} {
			got := from.http(t, append([]string{"-insecure", "-method", "POST", "-text", "{}", "-url",
				"https://tap." + vizNS + tapPath(tappedNS, "web")}, headers...)...)
			if got.Status != http.StatusUnauthorized {
				t.Errorf("%s, %s: got status %d (%s), want 401", name, what, got.Status, got.Error)
			}
		}
	}
}

// webAddress returns the address of the pod that tap can watch.
func webAddress(t *testing.T) string {
	t.Helper()
	return strings.TrimSpace(mustKubectl(t, "-n", tappedNS, "get", "pod", "-l", "app=web", "-o",
		"jsonpath={.items[0].status.podIP}"))
}

// testTapPort wants the control port to give nobody an answer: no certificate of the mesh but tap's opens it.
func testTapPort(t *testing.T) {
	addr := webAddress(t)
	for name, from := range map[string]client{"no proxy": unmeshed, "another identity": meshed} {
		for _, scheme := range []string{"http://", "https://"} {
			for _, port := range []string{":4190", ":4190/tulle.tap.v1.Tap/Watch"} {
				// 502 is the answer of the caller's own proxy.
				if got := from.http(t, "-insecure", "-url", scheme+addr+port); got.Status != 0 && got.Status != 502 {
					t.Errorf("%s: %s%s answered %d %q, want nothing", name, scheme, port, got.Status, got.Body)
				}
			}
		}
	}
}

func testAdminPort(t *testing.T) {
	addr := webAddress(t)
	for name, from := range map[string]client{"no proxy": unmeshed, "another identity": meshed} {
		for _, path := range []string{"/shutdown", "/debug/pprof/", "/debug/pprof/heap", "/config", "/proxy-log-level",
			"/env.json", "/"} {
			for _, method := range []string{"GET", "POST", "PUT"} {
				got := from.http(t, "-method", method, "-url", "http://"+addr+":4191"+path)
				if got.Status != http.StatusForbidden && got.Status != http.StatusNotFound &&
					got.Status != http.StatusMethodNotAllowed {
					t.Errorf("%s: %s %s answered %d %q, want 403 or 404", name, method, path, got.Status, got.Body)
				}
			}
		}
	}
}

// testTapStream watches as alice, and sends a request with what nobody may see.
func testTapStream(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	cmd := command(ctx, env.kubectl, "--as=alice", "create", "--raw", tapPath(tappedNS, "web"), "-f", "-")
	cmd.Stdin = strings.NewReader(`{"direction": "inbound", "pathPrefix": "/charge", "headers": true}`)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var seen strings.Builder
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 1<<20)
	sent := false
	for lines.Scan() {
		seen.Write(append(lines.Bytes(), '\n'))
		if !sent { // the first line says that the watch runs
			sent = true
			go func() {
				_, _ = meshed.app("http", "-url", "http://web."+tappedNS+"/charge", "-method", "POST", "-text", "secret-body",
					"-header", "Authorization: Bearer secret-token", "-header", "Cookie: id=secret-cookie", "-header", "X-Plain: seen")
			}()
		}
		if strings.Contains(seen.String(), "responseEndEvent") {
			cancel()
			break
		}
	}
	_ = cmd.Wait() // it was ended
	text := seen.String()
	for _, want := range []string{`"path":"/charge"`, "responseEndEvent", `"valueStr":"seen"`, "[redacted]",
		`"serviceaccount":"client"`} {
		if !strings.Contains(text, want) {
			t.Errorf("the stream lacks %s (stderr %q):\n%s", want, stderr.String(), text)
		}
	}
	for _, secret := range []string{"secret-body", "secret-token", "secret-cookie"} {
		if strings.Contains(text, secret) {
			t.Errorf("the stream has %s:\n%s", secret, text)
		}
	}
}
