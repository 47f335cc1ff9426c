package board

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/edges"
	"github.com/tulle-mesh/tulle/viz/golden"
	"github.com/tulle-mesh/tulle/viz/metrics"
	"github.com/tulle-mesh/tulle/viz/resource"
)

// graph has the nodes and edges of a scope that the viewer may see, with their traffic.
type graph struct {
	scope    topologyScope
	rights   *visibility
	traffic  *topologyTraffic
	external map[string]bool // addresses with a node of their own
	nodes    map[Ref]*numbers
	edges    map[ends]*edge
}

// ends are the nodes of an edge.
type ends struct{ from, to Ref }

func compareEnds(a, b ends) int {
	return cmp.Or(cmp.Compare(topologyID(a.from), topologyID(b.from)), cmp.Compare(topologyID(a.to), topologyID(b.to)))
}

// numbers are the requests and connections of a node or an edge.
type numbers struct {
	stats       *golden.Stats
	known       bool    // stats were asked for
	open        float64 // open connections
	connected   bool    // whether open is known
	read, write float64 // bytes in the window
}

// edge is the traffic between two nodes.
type edge struct {
	numbers
	links []edges.Edge
}

func (n *numbers) rps() float64 {
	if n.stats == nil {
		return 0
	}
	return n.stats.RPS
}

// newGraph returns the graph of the traffic. The nodes of the scope are there without traffic too.
func newGraph(scope topologyScope, rights *visibility, traffic *topologyTraffic) *graph {
	rights.scope = scope
	g := &graph{scope: scope, rights: rights, traffic: traffic, nodes: map[Ref]*numbers{}, edges: map[ends]*edge{}}
	g.chooseExternal()
	for _, e := range traffic.edges {
		g.addLink(ends{g.clientNode(e), g.workloadNode(e.DstNamespace, e.Dst)}, e)
	}
	g.addExternal()
	if scope.focus != (Ref{}) {
		maps.DeleteFunc(g.edges, func(e ends, _ *edge) bool { return e.from != scope.focus && e.to != scope.focus })
		g.nodes = map[Ref]*numbers{scope.focus: {}}
	} else {
		for _, r := range rights.withPods() {
			g.nodes[r] = &numbers{}
		}
	}
	for e := range g.edges {
		for _, r := range []Ref{e.from, e.to} {
			if g.nodes[r] == nil {
				g.nodes[r] = &numbers{}
			}
		}
	}
	g.addNumbers()
	return g
}

func (g *graph) addLink(e ends, link edges.Edge) {
	if g.edges[e] == nil {
		g.edges[e] = &edge{}
	}
	g.edges[e].links = append(g.edges[e].links, link)
}

// workloadNode returns the node of a workload that edges.Workloads names.
func (g *graph) workloadNode(namespace, text string) Ref {
	prefix, name, _ := strings.Cut(text, "/")
	node := Ref{Kind: NodePods, Namespace: namespace}
	needs := "pod"
	if kind, err := resource.ParseKind(prefix); err == nil && name != "" {
		node.Kind, node.Name, needs = kind.Name, name, kind.Name
	}
	if g.scope.collapsed(namespace) {
		node, needs = Ref{Kind: resource.Namespace, Name: namespace}, "pod"
	}
	if namespace == "" || !g.rights.mayRead(needs, namespace) {
		return Ref{Kind: NodeHidden}
	}
	return node
}

// clientNode returns the node of an edge's client.
func (g *graph) clientNode(e edges.Edge) Ref {
	switch {
	case e.Src != "" || e.SrcNamespace != "" && e.ClientID.IsZero():
		return g.workloadNode(e.SrcNamespace, e.Src)
	case e.SrcNamespace == "":
		return Ref{Kind: NodeUnmeshed}
	}
	return g.identityNode(e.ClientID)
}

// identityNode returns the node of a client whose own proxy reports nothing.
func (g *graph) identityNode(id mesh.ID) Ref {
	if !g.rights.mayRead("pod", id.Namespace) {
		return Ref{Kind: NodeHidden}
	}
	return Ref{Kind: NodeIdentity, Namespace: id.Namespace, Name: id.ServiceAccount}
}

// chooseExternal gives the addresses with the most traffic a node of their own.
func (g *graph) chooseExternal() {
	weight := map[string]float64{}
	for _, a := range g.traffic.asked {
		if a.set != externalRequests {
			continue
		}
		for _, sample := range a.samples[0] {
			weight[sample.Labels[addrLabel]] += sample.Value
		}
		for _, sample := range a.samples[2] {
			if sample.Value > 0 {
				weight[sample.Labels[addrLabel]] += 1e-6 * sample.Value
			}
		}
	}
	order := slices.SortedFunc(maps.Keys(weight), func(a, b string) int {
		return cmp.Or(cmp.Compare(weight[b], weight[a]), cmp.Compare(a, b))
	})
	g.external = map[string]bool{}
	for _, addr := range order[:min(len(order), maxExternal)] {
		g.external[addr] = addr != ""
	}
}

// externalNode returns the node of an address outside the cluster. Addresses without a node of their own share one that
// has no name.
func (g *graph) externalNode(addr string) Ref {
	if !g.external[addr] {
		addr = ""
	}
	return Ref{Kind: NodeExternal, Name: addr}
}

// addExternal adds the edges to addresses outside the cluster.
func (g *graph) addExternal() {
	for _, a := range g.traffic.asked {
		if a.set != externalRequests {
			continue
		}
		for _, sample := range a.samples[2] {
			if e, _ := g.externalEnds(sample.Labels); sample.Value > 0 {
				g.addLink(e, edges.Edge{Reason: cmp.Or(sample.Labels[reasonLabel], "unknown")})
			}
		}
	}
}

func (g *graph) sourceNode(labels map[string]string) Ref {
	return g.workloadNode(labels[edges.Source.Namespace], edges.Source.Name(labels))
}

func (g *graph) externalEnds(labels map[string]string) (ends, bool) {
	return ends{g.sourceNode(labels), g.externalNode(labels[addrLabel])}, true
}

// addNumbers adds the numbers to the nodes and edges.
func (g *graph) addNumbers() {
	of := map[requestSet]func(labels map[string]string) (ends, bool){
		servedRequests: func(l map[string]string) (ends, bool) { return ends{to: g.sourceNode(l)}, true },
		sentRequests: func(l map[string]string) (ends, bool) {
			return ends{g.sourceNode(l), g.workloadNode(l[edges.Destination.Namespace], edges.Destination.Name(l))}, true
		},
		externalRequests:   g.externalEnds,
		unreportedRequests: g.unreportedEnds,
	}
	sums := map[requestSet][][]metrics.Sample{}
	for _, a := range g.traffic.asked {
		if sums[a.set] == nil {
			sums[a.set] = make([][]metrics.Sample, len(a.samples))
		}
		for i, samples := range a.samples {
			sums[a.set][i] = append(sums[a.set][i], withEnds(samples, of[a.set])...)
		}
	}
	for set, samples := range sums {
		numbers := readNumbers(set, samples, g.traffic)
		if set == servedRequests {
			for r, n := range g.nodes {
				g.setServed(r, n, numbers[golden.KeyOf(topologyID(Ref{}), topologyID(r))])
			}
			continue
		}
		for e, t := range g.edges {
			if n := numbers[golden.KeyOf(topologyID(e.from), topologyID(e.to))]; n != nil {
				t.numbers = *n
			}
		}
	}
}

// setServed gives a node its numbers. They are only known of workloads of the scope, whose series were asked for.
func (g *graph) setServed(r Ref, into, n *numbers) {
	into.known = (isWorkload(r.Kind) || r.Kind == resource.Namespace) && g.scope.has(inNamespace(r))
	if into.known && n != nil {
		into.stats, into.open, into.connected = n.stats, n.open, n.connected
	}
}

// unreportedEnds returns the ends of requests from clients whose own proxies report nothing. It is false for other
// requests, because the clients' proxies have their numbers.
func (g *graph) unreportedEnds(labels map[string]string) (ends, bool) {
	e := ends{from: Ref{Kind: NodeUnmeshed}, to: g.sourceNode(labels)}
	if labels[tlsLabel] == "true" {
		id, err := mesh.ParseID(labels[clientLabel])
		if err != nil {
			return e, false
		}
		e.from = g.identityNode(id)
	}
	return e, labels[reasonLabel] != "loopback" && (e.from.Kind == NodeUnmeshed || e.from.Kind == NodeIdentity)
}

// readNumbers returns the numbers of the samples by the Key of their ends.
func readNumbers(set requestSet, samples [][]metrics.Sample, t *topologyTraffic) map[string]*numbers {
	out := map[string]*numbers{}
	at := func(key string) *numbers {
		if out[key] == nil {
			out[key] = &numbers{}
		}
		return out[key]
	}
	for key, stats := range golden.Requests.Read(samples[0], samples[1], endLabels, t.window) {
		at(key).stats = &stats
	}
	sum := func(i int, apply func(n *numbers, value float64)) {
		for _, sample := range samples[i] {
			if sample.Value >= 0 && !math.IsInf(sample.Value, 0) {
				apply(at(golden.Key(sample.Labels, endLabels)), sample.Value)
			}
		}
	}
	open := func(n *numbers, v float64) { n.open, n.connected = n.open+math.Round(v), true }
	switch set {
	case servedRequests:
		sum(2, open)
	case sentRequests:
		sum(2, open)
		sum(3, func(n *numbers, v float64) { n.read += v / t.window.Seconds() })
		sum(4, func(n *numbers, v float64) { n.write += v / t.window.Seconds() })
	case externalRequests:
		sum(3, open)
	}
	return out
}
