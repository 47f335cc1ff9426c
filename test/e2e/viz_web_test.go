package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// webSettings install the dashboard for the tests' client, which is its ingress, and the proxy that names its users.
const webSettings = "web.enabled=true,web.externalUrl=https://dashboard.example.com,web.clients={" + appNS + "/client}," +
	"web.impersonation.client=" + appNS + "/client,web.impersonation.groups={e2e-viewers}"

// viewers are ServiceAccounts with tokens, and the rights of these and of users whom a proxy names.
const viewers = `
{apiVersion: v1, kind: Namespace, metadata: {name: viewers}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: none, namespace: viewers}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: one, namespace: viewers}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: all, namespace: viewers}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: e2e-viewers, namespace: ` + appNS + `}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
subjects:
- {kind: ServiceAccount, name: one, namespace: viewers}
- {apiGroup: rbac.authorization.k8s.io, kind: User, name: e2e-user}
- {apiGroup: rbac.authorization.k8s.io, kind: Group, name: e2e-viewers}
- {apiGroup: rbac.authorization.k8s.io, kind: Group, name: e2e-others}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: e2e-viewers}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{kind: ServiceAccount, name: all, namespace: viewers}]
`

const (
	webURL      = "http://web." + vizNS + ".svc.cluster.local:8084"
	overviewURL = webURL + "/api/page?page=overview"
)

// testWeb holds who sees what of the dashboard in the cluster.
func testWeb(t *testing.T) {
	if _, err := kubectlIn([]byte(viewers), "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := kubectlIn([]byte(viewers), "delete", "--wait=false", "-f", "-"); err != nil {
			t.Error(err)
		}
	})
	token := func(account string) []string {
		return []string{"-header", "Authorization: Bearer " +
			strings.TrimSpace(mustKubectl(t, "-n", "viewers", "create", "token", account))}
	}
	user := func(name, groups string) []string {
		return []string{"-header", "X-Forwarded-User: " + name, "-header", "X-Forwarded-Groups: " + groups}
	}
	for name, c := range map[string]struct {
		headers []string
		status  int
		only    bool // the namespace of the tests' applications is the only one
	}{
		"no token":            {nil, http.StatusUnauthorized, false},
		"a wrong token":       {[]string{"-header", "Authorization: Bearer wrong"}, http.StatusUnauthorized, false},
		"no right":            {token("none"), http.StatusForbidden, false},
		"one namespace":       {token("one"), http.StatusOK, true},
		"every namespace":     {token("all"), http.StatusOK, false},
		"a user":              {user("e2e-user", ""), http.StatusOK, true},
		"a group":             {user("somebody", "e2e-viewers"), http.StatusOK, true},
		"a group not listed":  {user("somebody", "e2e-others"), http.StatusForbidden, false},
		"a user of no rights": {user("somebody", ""), http.StatusForbidden, false},
		"an administrator":    {user("system:admin", "system:masters"), http.StatusUnauthorized, false},
	} {
		t.Run(name, func(t *testing.T) {
			var got answer
			eventually(t, time.Minute, func() error { // rights reach the API server's cache a little later
				got = meshed.http(t, append([]string{"-url", overviewURL}, c.headers...)...)
				if got.Status != c.status {
					return fmt.Errorf("status %d, want %d: %s", got.Status, c.status, got.Body)
				}
				return nil
			})
			if c.status != http.StatusOK {
				return
			}
			var page struct{ Namespaces []struct{ Name string } }
			if err := json.Unmarshal([]byte(got.Body), &page); err != nil {
				t.Fatalf("%v: %s", err, got.Body)
			}
			var names []string
			for _, n := range page.Namespaces {
				names = append(names, n.Name)
			}
			if only := slices.Equal(names, []string{appNS}); only != c.only || !slices.Contains(names, appNS) {
				t.Errorf("sees the namespaces %q", names)
			}
		})
	}
	t.Run("files of the app need a viewer too", func(t *testing.T) {
		for _, path := range []string{"/", "/assets/index.js", "/api/config", "/api/stream?page=overview"} {
			if got := meshed.http(t, "-url", webURL+path); got.Status != http.StatusUnauthorized {
				t.Errorf("%s: status %d, want 401", path, got.Status)
			}
		}
		if got := meshed.http(t, append([]string{"-url", webURL + "/"}, token("none")...)...); got.Status != http.StatusOK {
			t.Errorf("a viewer: status %d, want 200: %s", got.Status, got.Body)
		}
	})
	t.Run("tap needs its right", func(t *testing.T) {
		got := meshed.http(t, append([]string{"-url", webURL + "/api/tap", "-method", "POST", "-header",
			"Content-Type: application/json", "-text",
			`{"target": {"kind": "deploy", "namespace": "` + appNS + `", "name": "server"}}`}, token("one")...)...)
		if got.Status != http.StatusForbidden || !strings.Contains(got.Body, "tap") {
			t.Errorf("status %d, want 403: %s", got.Status, got.Body)
		}
	})
	t.Run("the ingress alone reaches it", func(t *testing.T) {
		forged := append(token("all"), "-header", "l5d-client-id: spiffe://cluster.local/ns/"+appNS+"/sa/client")
		if got := unmeshed.http(t, append([]string{"-url", overviewURL}, forged...)...); got.Status != http.StatusForbidden ||
			strings.Contains(got.Body, "namespaces") {
			t.Errorf("a client without a proxy: status %d, want 403: %s", got.Status, got.Body)
		}
	})
	t.Run("a port-forward names nobody", func(t *testing.T) {
		url := forward(t, "deploy/web", 8084)
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/api/page?page=overview", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Host = "web." + vizNS + ":8084"
		request.Header.Set("L5d-Client-Id", "spiffe://cluster.local/ns/"+appNS+"/sa/client")
		request.Header.Set("X-Forwarded-User", "e2e-user")
		resp, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close() // nothing is read
		if resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("status %d, want 401", resp.StatusCode)
		}
	})
}
