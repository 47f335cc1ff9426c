package board

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/edges"
	"github.com/tulle-mesh/tulle/viz/metrics"
	"github.com/tulle-mesh/tulle/viz/resource"
)

// page returns the nodes and edges in the order of their IDs. window is as in 1m.
func (g *graph) page(window string) (nodes []TopologyNode, out []TopologyEdge) {
	nodes, out = []TopologyNode{}, []TopologyEdge{}
	for r, n := range g.nodes {
		node := TopologyNode{ID: topologyID(r), Ref: r, Golden: newGolden(n.stats), NumbersKnown: n.known,
			TCPOpen: n.tcpOpen()}
		node.Meshed, node.Pods = g.rights.pods(r)
		if n.known && inCommands(r) {
			node.Command = fmt.Sprintf("tulle viz stat %s%s -t %s", argument(r), namespaceFlag("-n", r), window)
		}
		nodes = append(nodes, node)
	}
	slices.SortFunc(nodes, func(a, b TopologyNode) int { return strings.Compare(a.ID, b.ID) })
	for _, e := range slices.SortedFunc(maps.Keys(g.edges), compareEnds) {
		t := g.edges[e]
		out = append(out, TopologyEdge{
			ID: topologyID(e.from) + ">" + topologyID(e.to), From: topologyID(e.from), To: topologyID(e.to),
			Golden: newGolden(t.stats), TCPOpen: t.tcpOpen(), ReadRate: t.read, WriteRate: t.write,
			Security: security(e, t.links), Links: linksOf(e, t.links),
			Command: g.edgeCommand(e, window), SecurityCommand: securityCommand(e),
		})
	}
	return nodes, out
}

func (n *numbers) tcpOpen() *uint64 {
	if !n.connected {
		return nil
	}
	open := uint64(math.Round(n.open))
	return &open
}

// security returns the TopologyEdge.Security of the links of an edge.
func security(e ends, links []edges.Edge) string {
	plain := func(l edges.Edge) bool { return l.Reason != "" }
	mixed := slices.ContainsFunc(links, func(l edges.Edge) bool { return !plain(l) })
	switch {
	case e.to.Kind == NodeExternal:
		return SecurityExternal
	case !slices.ContainsFunc(links, plain):
		return SecurityMTLS
	case mixed:
		return SecurityMixed
	}
	return SecurityPlaintext
}

// linksOf returns the ways in which the ends are connected, without the identities of workloads that the viewer may not
// see. It leaves out a way if another one says the same with more identities.
func linksOf(e ends, links []edges.Edge) []TopologyLink {
	set := map[TopologyLink]bool{}
	for _, l := range links {
		link := TopologyLink{ClientID: identityText(l.ClientID), ServerID: identityText(l.ServerID), Reason: l.Reason}
		if e.from.Kind == NodeHidden {
			link.ClientID = ""
		}
		if e.to.Kind == NodeHidden {
			link.ServerID = ""
		}
		set[link] = true
	}
	vague := func(a TopologyLink) bool {
		for b := range set {
			if a != b && a.Reason == b.Reason && (a.ClientID == "" || a.ClientID == b.ClientID) &&
				(a.ServerID == "" || a.ServerID == b.ServerID) {
				return true
			}
		}
		return false
	}
	maps.DeleteFunc(set, func(l TopologyLink, _ bool) bool { return vague(l) })
	out := slices.SortedFunc(maps.Keys(set), func(a, b TopologyLink) int {
		return strings.Compare(a.Reason+" "+a.ClientID+" "+a.ServerID, b.Reason+" "+b.ClientID+" "+b.ServerID)
	})
	return append([]TopologyLink{}, out[:min(len(out), maxTopologyLinks)]...)
}

// identityText writes an identity as `tulle viz edges` does; "" for none.
func identityText(id mesh.ID) string {
	if id.IsZero() {
		return ""
	}
	return id.ServiceAccount + "." + id.Namespace
}

// argument writes a node as an argument of commands, as in deploy/web.
func argument(r Ref) string {
	kind, err := resource.ParseKind(r.Kind)
	if err != nil {
		return r.Kind + "/" + r.Name
	}
	return kind.Prefix() + "/" + r.Name
}

// namespaceFlag returns the flag for a node's namespace with a space before it; "" for a node that is in none.
func namespaceFlag(flag string, r Ref) string {
	if r.Namespace == "" {
		return ""
	}
	return " " + flag + " " + r.Namespace
}

// inCommands reports whether commands can name a node. Its name came with metrics, so it may be one that no object can
// have, and on which a shell acts.
func inCommands(r Ref) bool {
	switch {
	case r.Kind == resource.Namespace:
		return isName(r.Name)
	case isWorkload(r.Kind):
		return isName(r.Name) && isName(r.Namespace)
	}
	return false
}

// edgeCommand returns the command, or the PromQL, that finds an edge's numbers; "" if there is none.
func (g *graph) edgeCommand(e ends, window string) string {
	from, to := e.from, e.to
	switch {
	case inCommands(from) && inCommands(to):
		toNamespace := ""
		if to.Namespace != from.Namespace {
			toNamespace = namespaceFlag("--to-namespace", to)
		}
		return fmt.Sprintf("tulle viz stat %s%s --to %s%s -t %s", argument(from), namespaceFlag("-n", from), argument(to),
			toNamespace, window)
	case from.Kind == NodeUnmeshed && inCommands(to):
		return g.promQL(append(ownSeries(to),
			metrics.Is("direction", "inbound"), metrics.Not(tlsLabel, "true"), metrics.Not("authz_name", "probe"),
			metrics.Not(reasonLabel, "loopback")))
	case inCommands(from) && to.Kind == NodeExternal:
		match := append(ownSeries(from), metrics.Is("direction", "outbound"), metrics.Is(edges.Destination.Namespace, ""))
		if to.Name != "" {
			return g.promQL(append(match, metrics.Is(addrLabel, to.Name)))
		}
		for _, addr := range slices.Sorted(maps.Keys(g.external)) { // those with a node of their own
			match = append(match, metrics.Not(addrLabel, addr))
		}
		return g.promQL(match)
	}
	return ""
}

// promQL returns the PromQL of the rate of responses.
func (g *graph) promQL(match []metrics.Match) string {
	return metrics.Query{Metric: metrics.ResponseTotal, Match: match, By: []string{"classification"}}.
		PromQL(g.traffic.window)
}

// ownSeries matches the series of a node's own proxies.
func ownSeries(r Ref) []metrics.Match {
	kind, err := resource.ParseKind(r.Kind)
	switch {
	case r.Kind == resource.Namespace:
		return []metrics.Match{metrics.Is(edges.Source.Namespace, r.Name)}
	case err != nil || kind.Class != resource.Workload:
		return []metrics.Match{metrics.Is(edges.Source.Namespace, r.Namespace)}
	}
	return []metrics.Match{metrics.Is(edges.Source.Namespace, r.Namespace), metrics.Is(kind.Source, r.Name)}
}

// securityCommand returns the command that shows the identities of an edge; "" if there is none.
func securityCommand(e ends) string {
	for _, r := range []Ref{e.from, e.to} {
		switch {
		case e.to.Kind == NodeExternal || !inCommands(r): // viz edges leaves out what is external
		case isWorkload(r.Kind):
			return fmt.Sprintf("tulle viz edges %s -n %s -o wide", argument(r), r.Namespace)
		case r.Kind == resource.Namespace:
			return fmt.Sprintf("tulle viz edges deploy -n %s -o wide", r.Name)
		}
	}
	return ""
}
