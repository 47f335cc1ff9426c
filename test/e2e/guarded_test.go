package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// The tests of authorization have one pod, guarded, that serves many cells: three ports each, for HTTP, gRPC and bytes,
// that have a policy of their own. All policies are applied at once and all callers try all cells at once, so a cell
// costs next to no time.
const (
	guardedNS = "guarded"
	otherNS   = "guarded-evil" // a name that begins alike
)

// The callers. Each is a Deployment with a ServiceAccount of its name; the names are chosen to look alike.
var (
	web      = client{guardedNS, "web"}
	web2     = client{guardedNS, "web2"}
	dotted   = client{guardedNS, "a.b"}
	crossed  = client{guardedNS, "axb"}
	evil     = client{otherNS, "web"}
	stranger = unmeshed // without identity
	onMesh   = []client{web, web2, dotted, crossed, evil}
)

// attempt is one call of a client and what comes of it.
type attempt struct {
	by  client
	how string // h1, h2, grpc, tcp or raw
	// one of the addresses that reach knows; "" for the Service, but for the node, which knows no names: the pod
	to     string
	target string // "[METHOD ]path"; "/" or a gRPC method if empty
	raw    string // the bytes that raw sends
	want   string // as the application's table command tells it
	names  string // what a denial of a client with an identity names beside the Server and the client
}

// cell is three ports of a pod, what guards them, and who tries them.
type cell struct {
	name     string
	spec     map[string]string // more of the Servers' spec, by "http", "grpc" and "tcp"; "" for all three
	policies string            // manifests, in which {cell} stands for the name
	in       string            // the pod's namespace; guardedNS if empty
	attempts []attempt
	number   int // of the cell, by its place in the list
}

const emptyCall = "/grpc.testing.TestService/EmptyCall"

// every is a call of each kind, with what each shall see.
func every(http, grpc, tcp string, callers ...client) (list []attempt) {
	for _, c := range callers {
		list = append(list, attempt{by: c, how: "h1", want: http}, attempt{by: c, how: "h2", want: http},
			attempt{by: c, how: "grpc", want: grpc}, attempt{by: c, how: "tcp", want: tcp})
	}
	return list
}

func letIn(callers ...client) []attempt   { return every("200", "grpc 0", "echo", callers...) }
func keptOut(callers ...client) []attempt { return every("403", "grpc 7", "reset", callers...) }

// at has attempts go to an address instead of the Service's name.
func at(to string, list []attempt) (out []attempt) {
	for _, a := range list {
		a.to = to
		out = append(out, a)
	}
	return out
}

func attempts(lists ...[]attempt) (out []attempt) {
	for _, l := range lists {
		out = append(out, l...)
	}
	return out
}

// port is where the cell serves what an attempt speaks.
func (c *cell) port(how string) int {
	switch how {
	case "grpc":
		return 9100 + c.number
	case "tcp":
		return 6100 + c.number
	default:
		return 8100 + c.number
	}
}

func (c *cell) namespace() string {
	if c.in != "" {
		return c.in
	}
	return guardedNS
}

// manifests renders the cell's Servers, which are named after it, and its policies.
func (c *cell) manifests() string {
	var out strings.Builder
	for _, s := range []struct{ suffix, how, protocol string }{{"http", "h1", "unknown"}, {"grpc", "grpc", "gRPC"},
		{"tcp", "tcp", "opaque"}} {
		more := c.spec[""]
		if m, ok := c.spec[s.suffix]; ok {
			more = m
		}
		if !strings.Contains(more, "proxyProtocol") {
			more = "proxyProtocol: " + s.protocol + ", " + more
		}
		fmt.Fprintf(&out,
			"apiVersion: policy.linkerd.io/v1beta3\nkind: Server\nmetadata: {name: %s-%s, namespace: %s, labels: {cell: %s}}\n"+
				"spec: {podSelector: {matchLabels: {app: guarded}}, port: %d, %s}\n---\n", c.name, s.suffix, c.namespace(), c.name,
			c.port(s.how), more)
	}
	return out.String() + strings.ReplaceAll(c.policies, "{cell}", c.name)
}

// deployment renders a pod that serves cells, or only waits for commands if there are none, with its ServiceAccount.
func deployment(c client, cells int, labels, more string) string {
	command := "[/app, sleep]"
	if cells > 0 {
		command = fmt.Sprintf("[/app, serve, -cells=%d]", cells)
	}
	return fmt.Sprintf(`apiVersion: v1
kind: ServiceAccount
metadata: {name: %[1]s, namespace: %[2]s}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s, namespace: %[2]s}
spec:
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata:
      labels: {app: %[1]s}
      annotations: {mesh-version: %[3]q%[4]s}
    spec:
      serviceAccountName: %[1]s
      terminationGracePeriodSeconds: 1
      containers:
      - name: app
        image: %[5]s
        imagePullPolicy: IfNotPresent
        command: %[6]s
%[7]s---
`, c.deployment, c.namespace, env.version, labels, env.appImage, command, more)
}

// guarded is the pod, as callers reach it.
type guarded struct {
	cells     []*cell
	addresses map[string]netip.Addr // pod4, pod6, svc6
}

// serveGuarded deploys the callers and the pods that serve the cells, and waits until all of it is ready. The policies
// are there before the pods: a pod that is ready has been probed under them.
func serveGuarded(t *testing.T, cells []*cell, annotations, probes string) *guarded {
	t.Helper()
	var before, after, ports strings.Builder
	for _, ns := range []string{guardedNS, otherNS} {
		fmt.Fprintf(&before,
			"apiVersion: v1\nkind: Namespace\nmetadata: {name: %s, annotations: {linkerd.io/inject: enabled}}\n---\n", ns)
	}
	for _, c := range onMesh {
		after.WriteString(deployment(c, 0, "", ""))
	}
	for i, c := range cells {
		c.number = i
		before.WriteString(c.manifests())
		for _, how := range []string{"h1", "grpc", "tcp"} {
			fmt.Fprintf(&ports, "{name: p%[1]d, port: %[1]d}, ", c.port(how))
		}
	}
	for _, ns := range []string{guardedNS, otherNS} {
		fmt.Fprintf(&after, "apiVersion: v1\nkind: Service\nmetadata: {name: guarded, namespace: %s}\n"+
			"spec: {ipFamilyPolicy: PreferDualStack, selector: {app: guarded}, ports: [%s]}\n---\n", ns, ports.String())
	}
	after.WriteString(deployment(client{guardedNS, "guarded"}, len(cells), annotations, probes))
	after.WriteString(deployment(client{otherNS, "guarded"}, len(cells), "", ""))
	t.Cleanup(func() {
		mustKubectl(t, "delete", "namespace", guardedNS, otherNS, "--ignore-not-found", "--wait=false")
	})
	mustKubectl(t, "delete", "namespace", guardedNS, otherNS, "--ignore-not-found") // of an earlier run
	for _, manifests := range []string{before.String(), after.String()} {
		if _, err := kubectlIn([]byte(manifests), "apply", "-f", "-"); err != nil {
			t.Fatal(err)
		}
	}
	for _, ns := range []string{guardedNS, otherNS} {
		mustKubectl(t, "-n", ns, "rollout", "status", "deployment", "--timeout=180s")
	}
	g := &guarded{cells: cells, addresses: map[string]netip.Addr{}}
	g.learn(t, "pod", podIPs(t, guardedNS, "guarded"))
	g.learn(t, "svc", strings.Fields(strings.Trim(mustKubectl(t, "-n", guardedNS, "get", "service", "guarded", "-o",
		"jsonpath={.spec.clusterIPs[*]}"), "[]")))
	return g
}

// learn keeps the addresses of a pod or a Service, one of each family.
func (g *guarded) learn(t *testing.T, what string, list []string) {
	t.Helper()
	for _, s := range list {
		ip, err := netip.ParseAddr(s)
		if err != nil {
			t.Fatal(err)
		}
		family := "4"
		if ip.Is6() {
			family = "6"
		}
		g.addresses[what+family] = ip
	}
}

// cell returns one by name.
func (g *guarded) cell(name string) *cell {
	for _, c := range g.cells {
		if c.name == name {
			return c
		}
	}
	panic("there is no cell " + name)
}

// addr returns where an attempt goes; false if this cluster has no such address.
func (g *guarded) addr(c *cell, a attempt) (string, bool) {
	to := a.to
	if to == "" && a.by == node {
		to = "pod4"
	}
	if to == "" {
		return fmt.Sprintf("guarded.%s:%d", c.namespace(), c.port(a.how)), true
	}
	ip, ok := g.addresses[to]
	return netip.AddrPortFrom(ip, uint16(c.port(a.how))).String(), ok
}

// tried is an attempt that was made.
type tried struct {
	attempt
	*cell
	outcome
}

// outcome mirrors what the table command prints.
type outcome struct {
	Got         string
	ProxyStatus string `json:"proxy_status"`
	RetryAfter  string `json:"retry_after"`
}

// try makes all attempts of cells, those of each client in one go and the clients at once.
func (g *guarded) try(cells ...*cell) ([]tried, error) {
	plans := map[client][]tried{}
	for _, c := range cells {
		for _, a := range c.attempts {
			if _, ok := g.addr(c, a); ok {
				plans[a.by] = append(plans[a.by], tried{attempt: a, cell: c})
			}
		}
	}
	var wg sync.WaitGroup
	var mu sync.Mutex // guards all and failed
	var all []tried
	var failed error
	for by, plan := range plans {
		wg.Go(func() {
			err := g.run(by, plan)
			mu.Lock()
			defer mu.Unlock()
			all, failed = append(all, plan...), errors.Join(failed, err)
		})
	}
	wg.Wait()
	return all, failed
}

// run has a client make its attempts, and keeps what came of each.
func (g *guarded) run(by client, plan []tried) error {
	calls := make([]tableCall, len(plan))
	for i, p := range plan {
		addr, _ := g.addr(p.cell, p.attempt)
		calls[i] = tableCall{How: p.how, Addr: addr, Target: p.target, Raw: p.raw}
		if p.target == "" {
			calls[i].Target = "/"
			if p.how == "grpc" {
				calls[i].Target = emptyCall
			}
		}
	}
	outcomes, err := by.table(calls)
	if err != nil {
		return err
	}
	for i := range plan {
		plan[i].outcome = outcomes[i]
	}
	return nil
}

// tableCall mirrors a call of the table command.
type tableCall struct {
	How    string `json:"how"`
	Addr   string `json:"addr"`
	Target string `json:"target"`
	Raw    string `json:"raw"`
}

// table has a client make calls, some at a time, and returns what came of each.
func (c client) table(calls []tableCall) ([]outcome, error) {
	in, err := json.Marshal(calls)
	if err != nil {
		return nil, err
	}
	out, err := run(2*time.Minute, in, env.kubectl, "-n", c.namespace, "exec", "-i", "deploy/"+c.deployment, "-c", "app",
		"--", "/app", "table")
	if err != nil {
		return nil, err
	}
	var outcomes []outcome
	if err := json.Unmarshal(out, &outcomes); err != nil || len(outcomes) != len(calls) {
		return nil, fmt.Errorf("%s/%s printed %.200s: %v", c.namespace, c.deployment, out, err)
	}
	return outcomes, nil
}

// spiffeID is what a client of the mesh proves.
func (c client) spiffeID() string {
	return "spiffe://cluster.local/ns/" + c.namespace + "/sa/" + c.deployment
}

// problem says what is wrong with an outcome; "" if nothing is. A denial tells a client of the mesh the Server, the
// route and its own name, and a stranger none of them.
func (t tried) problem() string {
	if t.Got != t.want {
		return fmt.Sprintf("got %s, want %s (%s)", t.Got, t.want, t.ProxyStatus)
	}
	if t.want != "403" && t.want != "grpc 7" {
		return ""
	}
	kind := "http"
	if t.how == "grpc" {
		kind = "grpc"
	}
	server := fmt.Sprintf("Server %s/%s-%s", t.namespace(), t.name, kind)
	if t.by.namespace == bareNS {
		if t.ProxyStatus != "tulle-proxy; error=http_request_denied" {
			return "a stranger gets " + t.ProxyStatus
		}
		return ""
	}
	for _, want := range []string{"error=http_request_denied", server, t.names, "client " + t.by.spiffeID()} {
		if !strings.Contains(t.ProxyStatus, want) {
			return fmt.Sprintf("the denial does not name %q: %s", want, t.ProxyStatus)
		}
	}
	return ""
}
