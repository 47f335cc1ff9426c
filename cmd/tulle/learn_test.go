package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tulle-mesh/tulle/cli/learn"
)

// fakePrometheus answers queries about the requests that policy allowed and denied; it returns its URL.
func fakePrometheus(t *testing.T) string {
	t.Helper()
	series := func(value, labels string) string {
		return fmt.Sprintf(
			`{"metric":{"namespace":"shop","deployment":"web","target_port":"8080",%s},"value":[1764500000,%q]}`,
			labels, value)
	}
	const byDefault = `"route_kind":"default","route_name":"default","authz_kind":"default","authz_name":"all-unauthenticated"`
	cart := `"pod":"web-1","client_id":"spiffe://cluster.local/ns/shop/sa/cart",` + byDefault
	answers := map[string]string{
		"increase(inbound_http_authz_allow_total": strings.Join([]string{series("3600", cart),
			series("1800", strings.Replace(cart, "web-1", "web-2", 1)), series("12", `"pod":"web-1",`+byDefault),
			series("60",
				`"pod":"web-1","route_kind":"default","route_name":"probe","authz_kind":"default","authz_name":"probe"`),
		}, ","),
		"increase(inbound_http_authz_deny_total": series("7",
			`"pod":"web-1","client_id":"spiffe://cluster.local/ns/bank/sa/clerk",`+
				`"route_kind":"default","route_name":"default"`),
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		result := ""
		if strings.HasPrefix(r.FormValue("query"), "count(proxy_build_info") { // it reaches back as far as is asked
			result = series("1", `"pod":"web-1"`)
		}
		for query, answer := range answers {
			if strings.Contains(r.FormValue("query"), query+`{job="linkerd-proxy",namespace="shop"}[1h]`) {
				result = answer
			}
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"status":"success","data":{"resultType":"vector","result":[%s]}}`, result)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// TestPolicyLearn prints policies, and asks what they would do.
func TestPolicyLearn(t *testing.T) {
	f, prometheus := healthyCluster(t), fakePrometheus(t)
	learned := runCLI(t, f.connect, "", "policy", "learn", "-n", "shop", "--prometheusURL", prometheus)
	golden(t, "policy/learn.txt", learned)
	r := runCLI(t, f.connect, learned.out, "policy", "what-if", "-f", "-", "--prometheusURL", prometheus)
	golden(t, "policy/what-if.txt", r)
	if learned.code != 0 || r.code != 3 {
		t.Errorf("exit codes %d and %d, want 0 and 3: callers without identity are cut off", learned.code, r.code)
	}
	r = runCLI(t, f.connect, learned.out, "policy", "what-if", "-o", "json", "-f", "-", "--prometheusURL", prometheus)
	var changes []learn.Change
	if err := json.Unmarshal([]byte(r.out), &changes); err != nil {
		t.Fatal(err)
	}
	want := []learn.Change{{Effect: learn.Denied, Namespace: "shop", Workload: "deploy/web", Port: 8080, Count: 12,
		Rate: 12. / 3600, Reason: "no_identity"}}
	if diff := cmp.Diff(want, changes); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

func TestPolicyWhatIfWithoutHarm(t *testing.T) {
	f, prometheus := healthyCluster(t), fakePrometheus(t)
	const audit = `
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: web}
spec: {podSelector: {matchLabels: {app: %s}}, port: 8080, accessPolicy: audit}
`
	for name, c := range map[string]struct{ app, want string }{
		"pods that run":  {"web", "Of 3 callers that were seen, none would be cut off."},
		"no pods at all": {"gone", "The change affects no pod that runs."},
	} {
		r := runCLI(t, f.connect, fmt.Sprintf(audit, c.app), "policy", "what-if", "-n", "shop", "-f", "-", "--prometheusURL",
			prometheus)
		if r.code != 0 || r.out != "" || strings.TrimSpace(r.err) != c.want {
			t.Errorf("%s: exit code %d, %q, %q; want 0 and %q", name, r.code, r.out, r.err, c.want)
		}
	}
}

// TestPolicyWhatIfMayCutOff stops a script before a change that may cut callers off.
func TestPolicyWhatIfMayCutOff(t *testing.T) {
	f, prometheus := healthyCluster(t), fakePrometheus(t)
	const route = `
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: web}
spec: {podSelector: {matchLabels: {app: web}}, port: 8080, accessPolicy: deny}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: open}
spec:
  parentRefs: [{group: policy.linkerd.io, kind: Server, name: web}]
  rules: [{matches: [{path: {type: PathPrefix, value: /open}}]}]
---
apiVersion: policy.linkerd.io/v1alpha1
kind: NetworkAuthentication
metadata: {name: all}
spec: {networks: [{cidr: 0.0.0.0/0}, {cidr: "::/0"}]}
---
apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata: {name: open}
spec:
  targetRef: {group: gateway.networking.k8s.io, kind: HTTPRoute, name: open}
  requiredAuthenticationRefs: [{group: policy.linkerd.io, kind: NetworkAuthentication, name: all}]
`
	r := runCLI(t, f.connect, route, "policy", "what-if", "-n", "shop", "-f", "-", "--prometheusURL", prometheus)
	const want = "Of 3 callers that were seen, 0 would and 2 may be cut off."
	if r.code != 3 || strings.TrimSpace(r.err) != want {
		t.Errorf("exit code %d, %q; want 3 and %q\n%s", r.code, r.err, want, r.out)
	}
}

// TestWhatIfSummary: where callers may be missing, the summary says so.
func TestWhatIfSummary(t *testing.T) {
	text, cutOff := summary(learn.Evaluation{Callers: 2, Partial: true})
	if cutOff || strings.Contains(text, "that were seen") || !strings.Contains(text, "There may be others") {
		t.Errorf("got %v, %q", cutOff, text)
	}
}

// TestPolicyRefuses names what is wrong with a command line.
func TestPolicyRefuses(t *testing.T) {
	f, prometheus := healthyCluster(t), fakePrometheus(t)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"learn", "-n", "shpo", "--prometheusURL", prometheus}, "there is no namespace shpo; -n names another"},
		{[]string{"learn", "-n", "shop", "-t", "5s"}, "--time-window 5s: want at least 15s"},
		{[]string{"learn", "-n", "shop", "-t", "soon"}, `invalid argument "soon"`},
		{[]string{"learn", "-n", "shop", "--prometheusURL", "nowhere"}, `URL "nowhere" of Prometheus`},
		{[]string{"learn", "deploy/web"}, "unknown command"},
		{[]string{"lern"}, "did you mean learn?"},
		{[]string{"what-if"}, "name the files of the change with -f"},
		{[]string{"what-if", "-f", "testdata/no-such-file"}, "no such file"},
		{[]string{"what-if", "-f", "-", "-o", "xml"}, "want table or json"},
	} {
		r := runCLI(t, f.connect, "", append([]string{"policy"}, c.args...)...)
		if r.code != 1 || r.out != "" || !strings.Contains(r.err, c.want) {
			t.Errorf("%q: exit code %d, %q; want 1 and %q", c.args, r.code, r.err, c.want)
		}
	}
}
