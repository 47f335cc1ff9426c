// Package edges finds the rows of `tulle viz edges`: who calls whom, and whether the connection proves who they are.
//
// It owns how the two ends' series become one edge. It must not know where the numbers and the objects come from. The
// one idea: the client's proxy knows both ends, so the server's series only add the clients that no proxy speaks for.
package edges

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/metrics"
	"github.com/tulle-mesh/tulle/viz/resource"
)

// Request says which edges the user wants: those from or to the targets.
type Request struct {
	Targets []resource.Target
	// Namespace is that of the targets; "" is every namespace.
	Namespace string
}

// Edge is the traffic from one resource to another. The name of an unknown end is "".
type Edge struct {
	Src, SrcNamespace, Dst, DstNamespace string
	// ClientID and ServerID are the identities that were proved to the other end, or zero.
	ClientID, ServerID mesh.ID
	// Reason says why the traffic is not mesh TLS; "" if it is.
	Reason string
}

// Result is the answer to a Request.
type Result struct {
	Edges []Edge
	// Notes are sentences for the user.
	Notes []string
}

// Find answers the request.
func Find(ctx context.Context, src metrics.Source, cluster resource.Lister, req Request) (Result, error) {
	var found []Edge
	var notes []string
	kinds := make([]*ends, len(req.Targets))
	for i, target := range req.Targets {
		var err error
		if kinds[i], err = newEnds(target.Kind); err != nil {
			return Result{}, err
		}
	}
	for i, target := range req.Targets {
		if _, err := resource.Find(ctx, cluster, target, req.Namespace, ""); err != nil {
			return Result{}, err
		}
		edges, more, err := kinds[i].find(ctx, src, cluster, req.Namespace)
		if err != nil {
			return Result{}, err
		}
		found = append(found, selected(edges, target, req.Namespace)...)
		for _, n := range more {
			if !slices.Contains(notes, n) {
				notes = append(notes, n)
			}
		}
	}
	slices.SortFunc(found, compare)
	return Result{Edges: slices.Compact(found), Notes: notes}, nil
}

// find returns all edges of the namespace, in no order.
func (e *ends) find(ctx context.Context, src metrics.Source, cluster resource.Lister, namespace string) (found []Edge,
	notes []string, err error) {
	queries := e.queries(namespace)
	// Values now: a series exists until ten minutes after its last use, so nobody waits for a window.
	answer, err := src.Ask(ctx, metrics.MinWindow, queries)
	if err != nil {
		return nil, nil, err
	}
	if len(answer.Samples) != len(queries) {
		return nil, nil, fmt.Errorf("read numbers: %d answers to %d queries", len(answer.Samples), len(queries))
	}
	accounts := accountsOf(ctx, cluster, namespace)
	sent := e.outbound(slices.Concat(answer.Samples[:e.clientQueries]...), accounts)
	got, own := e.inbound(slices.Concat(answer.Samples[e.clientQueries:e.serverQueries]...))
	_, elsewhere := e.inbound(slices.Concat(answer.Samples[e.serverQueries:]...))
	return join(sent, got, append(own, elsewhere...)), answer.Notes, nil
}

func compare(a, b Edge) int {
	return cmp.Or(cmp.Compare(a.SrcNamespace, b.SrcNamespace), cmp.Compare(a.DstNamespace, b.DstNamespace),
		cmp.Compare(a.Src, b.Src), cmp.Compare(a.Dst, b.Dst), cmp.Compare(a.Reason, b.Reason),
		cmp.Compare(a.ClientID.String(), b.ClientID.String()), cmp.Compare(a.ServerID.String(), b.ServerID.String()))
}

// selected returns the edges that have one of the target's names at an end in the namespace.
func selected(edges []Edge, target resource.Target, namespace string) []Edge {
	if len(target.Names) == 0 {
		return edges
	}
	is := func(name, in string) bool {
		return slices.Contains(target.Names, name) && (namespace == "" || namespace == in)
	}
	return slices.DeleteFunc(edges, func(e Edge) bool { return !is(e.Src, e.SrcNamespace) && !is(e.Dst, e.DstNamespace) })
}

// pod names a pod.
type pod struct{ namespace, name string }

// accountsOf returns the ServiceAccounts of the pods, to find the identity that a server saw. It returns none if the
// user may not list pods.
func accountsOf(ctx context.Context, cluster resource.Lister, namespace string) map[pod]string {
	accounts := map[pod]string{}
	kind, err := resource.ParseKind("pod")
	if err != nil {
		return accounts
	}
	objects, err := cluster.List(ctx, kind, namespace, "")
	if err != nil {
		return accounts
	}
	for _, o := range objects {
		for _, p := range o.Pods {
			accounts[pod{o.Namespace, p.Name}] = p.ServiceAccount
		}
	}
	return accounts
}

// owner is a label that names a workload, and how a table writes its kind.
type owner struct{ label, prefix string }

// owners are the kinds of workloads, with their labels on their own series. On the series of clients they have
// dst_ before them, but for Jobs.
var owners = []owner{
	{"deployment", "deploy"}, {"statefulset", "sts"}, {"daemonset", "ds"}, {"cronjob", "cj"}, {"k8s_job", "job"},
	{"replicaset", "rs"}, {"replicationcontroller", "rc"},
}

func (o owner) destination() string {
	if o.label == "k8s_job" {
		return "dst_job"
	}
	return "dst_" + o.label
}

// ends says how edges name their ends: by objects of one kind. An end of another kind has that kind before its name.
type ends struct {
	kind  owner // zero if every is set
	isPod bool  // the ends are pods
	every bool  // workloads of every kind are asked for
	// The first clientQueries of the queries are about the series of clients, and those up to serverQueries about the
	// series of the namespace's servers.
	clientQueries, serverQueries int

	source []string // labels of the client
	target []string // labels of the server, on the client's series
	own    []string // labels of the server, on its own series
}

func newEnds(k resource.Kind) (*ends, error) {
	e := &ends{isPod: k.Name == "pod", source: []string{"namespace", "pod"}, target: []string{"dst_namespace"},
		own: []string{"namespace"}}
	if e.isPod {
		e.target, e.own = append(e.target, "dst_pod"), append(e.own, "pod")
		return e, nil
	}
	i := slices.IndexFunc(owners, func(o owner) bool {
		return o.label == k.Name || o.label == "k8s_job" && k.Name == "job"
	})
	if i < 0 {
		return nil, fmt.Errorf("edges does not work for %s: want pods, or a kind of workload such as deployments", k.Plural)
	}
	e = everyOwner()
	e.kind, e.every = owners[i], false
	return e, nil
}

// everyOwner returns the ends of edges between workloads of every kind.
func everyOwner() *ends {
	e := &ends{every: true, source: []string{"namespace", "pod"}, target: []string{"dst_namespace"},
		own: []string{"namespace"}}
	for _, o := range owners {
		e.source, e.target, e.own = append(e.source, o.label), append(e.target, o.destination()), append(e.own, o.label)
	}
	return e
}

// queries returns those about what the clients of the namespace and of others sent, then those about what the
// namespace's servers got, and then those about whom the servers of other namespaces saw.
func (e *ends) queries(namespace string) (out []metrics.Query) {
	by := slices.Concat(e.source, e.target, []string{"tls", "no_tls_reason", "server_id"})
	sent := []metrics.Match{metrics.Is("direction", "outbound"), metrics.Is("peer", "dst"),
		metrics.Not("tls", "loopback"), metrics.Not("dst_namespace", "")}
	add := func(more ...metrics.Match) {
		out = append(out, metrics.Query{Metric: metrics.TCPOpenTotal, Match: slices.Concat(sent, more), By: by, Now: true})
	}
	got := []metrics.Match{metrics.Is("direction", "inbound"), metrics.Not("authz_name", "probe")}
	if namespace == "" {
		add()
	} else {
		add(metrics.Is("namespace", namespace))
		add(metrics.Is("dst_namespace", namespace), metrics.Not("namespace", namespace))
	}
	e.clientQueries = len(out)
	by = slices.Concat(e.own, []string{"tls", "no_tls_reason", "client_id"})
	// Requests, not responses: a WebSocket or a stream has no response until it ends.
	servers := func(more ...metrics.Match) {
		for _, metric := range []string{metrics.RequestTotal, metrics.InboundTCPAllowTotal} {
			out = append(out, metrics.Query{Metric: metric, Match: slices.Concat(got, more), By: by, Now: true})
		}
	}
	if namespace == "" {
		servers()
		e.serverQueries = len(out)
		return out
	}
	servers(metrics.Is("namespace", namespace))
	e.serverQueries = len(out)
	servers(metrics.Not("namespace", namespace), metrics.Not("client_id", ""))
	return out
}

// name returns how a table writes the workload that the labels name, and whether it is of the kind asked for.
func (e *ends) name(labels map[string]string, label func(owner) string, pod string) (name string, asked bool) {
	if e.isPod {
		return labels[pod], true
	}
	if name := labels[label(e.kind)]; name != "" {
		return name, true
	}
	for _, o := range owners {
		if name := labels[label(o)]; name != "" {
			return o.prefix + "/" + name, e.every
		}
	}
	return "", false
}

func ownLabel(o owner) string { return o.label }

// outbound returns the edges of the clients' series.
func (e *ends) outbound(samples []metrics.Sample, accounts map[pod]string) []Edge {
	set := map[Edge]bool{}
	for _, s := range samples {
		l := s.Labels
		edge := Edge{SrcNamespace: l["namespace"], DstNamespace: l["dst_namespace"], Reason: reason(l)}
		var from, to bool
		edge.Src, from = e.name(l, ownLabel, "pod")
		edge.Dst, to = e.name(l, owner.destination, "dst_pod")
		if !(s.Value > 0) || !from && !to {
			continue
		}
		if edge.Reason == "" {
			edge.ServerID, _ = mesh.ParseID(l["server_id"]) // zero shows as not known
			if account := accounts[pod{l["namespace"], l["pod"]}]; account != "" {
				edge.ClientID = mesh.ID{TrustDomain: edge.ServerID.TrustDomain, Namespace: l["namespace"],
					ServiceAccount: account}
			}
		}
		set[edge] = true
	}
	return slices.Collect(maps.Keys(set))
}

// inbound returns the edges of the servers' series, which do not name the client's workload: those to servers of the
// kind asked for, and all, which prove who the clients are.
func (e *ends) inbound(samples []metrics.Sample) (asked, all []Edge) {
	set := map[Edge]bool{} // whether the server is of the kind
	for _, s := range samples {
		l := s.Labels
		edge := Edge{DstNamespace: l["namespace"], Reason: reason(l)}
		var ok bool
		if edge.Dst, ok = e.name(l, ownLabel, "pod"); edge.Dst == "" || !(s.Value > 0) || l["no_tls_reason"] == "loopback" {
			continue
		}
		if edge.Reason == "" {
			edge.ClientID, _ = mesh.ParseID(l["client_id"])
			edge.SrcNamespace = edge.ClientID.Namespace
		}
		set[edge] = ok
	}
	for edge, ok := range set {
		if all = append(all, edge); ok {
			asked = append(asked, edge)
		}
	}
	return asked, all
}

// join returns the edges of the clients' series and those of the servers' that no edge of a client's stands for: of
// clients in namespaces that were not asked, and of clients without a proxy, which nobody can name. seen are all edges
// of servers, also of those not asked about: they prove who the clients are.
func join(sent, got, seen []Edge) []Edge {
	var out []Edge
	for _, e := range sent {
		if e.Reason == "" && e.ClientID.IsZero() {
			e.ClientID = onlyClient(e, got)
		}
		out = append(out, e)
	}
	for _, e := range got {
		if !slices.ContainsFunc(out, func(o Edge) bool { return standsFor(o, e) }) {
			out = append(out, e)
		}
	}
	for i := range out {
		if !proved(out[i], seen) {
			out[i].ClientID = mesh.ID{}
		}
	}
	return out
}

// proved reports whether the server saw the client's identity, which is otherwise only that of the client's
// ServiceAccount.
func proved(e Edge, seen []Edge) bool {
	return slices.ContainsFunc(seen, func(o Edge) bool {
		return o.Dst == e.Dst && o.DstNamespace == e.DstNamespace && o.ClientID == e.ClientID
	})
}

// onlyClient returns the identity of the edge's client if the server saw only one of the client's namespace.
func onlyClient(e Edge, got []Edge) (id mesh.ID) {
	for _, o := range got {
		if o.Dst != e.Dst || o.DstNamespace != e.DstNamespace || o.Reason != "" || o.SrcNamespace != e.SrcNamespace {
			continue
		}
		if !id.IsZero() {
			return mesh.ID{}
		}
		id = o.ClientID
	}
	return id
}

// standsFor reports whether the edge of a client's series is the same as that of a server's.
func standsFor(sent, got Edge) bool {
	if sent.Dst != got.Dst || sent.DstNamespace != got.DstNamespace || sent.Reason != "" || got.Reason != "" {
		return false
	}
	return sent.ClientID == got.ClientID || sent.ClientID.IsZero() && sent.SrcNamespace == got.SrcNamespace
}

// reason returns why a series is not of mesh TLS, or "".
func reason(labels map[string]string) string {
	if labels["tls"] == "true" {
		return ""
	}
	return cmp.Or(labels["no_tls_reason"], labels["tls"], "unknown")
}

// short writes an identity as Linkerd's edges do, sa.ns; "" for none.
func short(id mesh.ID) string {
	if id.IsZero() {
		return ""
	}
	return strings.Join([]string{id.ServiceAccount, id.Namespace}, ".")
}
