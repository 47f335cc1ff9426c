package board

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/tulle-mesh/tulle/viz/resource"
)

// TopologyPage is what the page Topology shows: which workloads call which, with what success, and with which
// identities.
type TopologyPage struct {
	Head
	// Group is how the nodes of the scope are grouped: by workload or by namespace.
	Group string `json:"group"`
	// Namespaces are those of the scope; an empty list means every namespace. It is never null.
	Namespaces []string `json:"namespaces"`
	// Focus is the workload whose neighbours the page shows; nil for a page about namespaces.
	Focus *Ref `json:"focus"`
	// Nodes and Edges are sorted by ID. They are never null.
	Nodes []TopologyNode `json:"nodes"`
	Edges []TopologyEdge `json:"edges"`
}

// The ways to group nodes.
const (
	ByWorkload  = "workload"
	ByNamespace = "namespace"
)

// The kinds of nodes that are not objects. Other nodes have the kind of a workload, or are namespaces.
const (
	// NodeUnmeshed stands for all clients without a proxy. No metric names them.
	NodeUnmeshed = "unmeshed"
	// NodeExternal is an address that no object of the cluster has.
	NodeExternal = "external"
	// NodeIdentity is a client known only by its identity.
	NodeIdentity = "identity"
	// NodeHidden stands for all workloads in namespaces that the viewer may not read.
	NodeHidden = "hidden"
	// NodePods stands for the pods of a namespace whose workloads metrics do not name.
	NodePods = "pods"
)

// TopologyNode is one end of edges.
type TopologyNode struct {
	ID string `json:"id"`
	Ref
	// Golden is about the requests that it served, as in `tulle viz stat`. It has a meaning only with NumbersKnown.
	Golden
	NumbersKnown bool `json:"numbersKnown"`
	// TCPOpen counts the open connections to it; nil if not known.
	TCPOpen *uint64 `json:"tcpOpen"`
	// Meshed counts the pods with a proxy, and Pods all pods that have not ended. Both are 0 for a node that is not an
	// object.
	Meshed int `json:"meshed"`
	Pods   int `json:"pods"`
	// Command shows the same numbers; "" if none does.
	Command string `json:"command"`
}

// The values of TopologyEdge.Security.
const (
	SecurityMTLS      = "mtls"
	SecurityPlaintext = "plaintext"
	SecurityMixed     = "mixed" // mesh TLS and plaintext
	SecurityExternal  = "external"
)

// TopologyEdge is the traffic from one node to another.
type TopologyEdge struct {
	ID   string `json:"id"`
	From string `json:"from"`
	To   string `json:"to"`
	// Golden is what the client's proxies counted, as in `tulle viz stat --to`. For clients without a proxy it is what
	// the server's proxies counted.
	Golden
	// TCPOpen counts the open connections; nil if not known. The rates are in bytes per second.
	TCPOpen   *uint64 `json:"tcpOpen"`
	ReadRate  float64 `json:"readBytes"`
	WriteRate float64 `json:"writeBytes"`
	// Security says whether the connections use mesh TLS. Links are the different ways in which they do, or do not. It is
	// never null.
	Security string         `json:"security"`
	Links    []TopologyLink `json:"links"`
	// Command shows the numbers, or is the PromQL that finds them. SecurityCommand shows the identities. Each is "" if
	// there is none.
	Command         string `json:"command"`
	SecurityCommand string `json:"securityCommand"`
}

// TopologyLink is one way in which the ends of an edge are connected, as `tulle viz edges` has it.
type TopologyLink struct {
	// ClientID and ServerID are the identities that the ends proved, as in web.shop; "" if none.
	ClientID string `json:"clientID"`
	ServerID string `json:"serverID"`
	// Reason is the label no_tls_reason of the metrics; "" for mesh TLS.
	Reason string `json:"reason"`
}

// The bounds of a page, so that a browser can draw it.
const (
	maxTopologyNodes  = 400
	maxTopologyEdges  = 1500
	maxTopologyLinks  = 20 // of one edge
	maxExternal       = 12
	maxTopologyScopes = 6 // metrics-api answers 128 queries at a time
)

// Topology returns the graph of the namespaces that the link names, or of all, or of one workload's neighbours.
func Topology(ctx context.Context, s Sources, q Query) (TopologyPage, error) {
	scope, err := newTopologyScope(q)
	if err != nil {
		return TopologyPage{}, err
	}
	rights := newVisibility(ctx, s.Objects, scope)
	if err := rights.checkScope(); err != nil {
		return TopologyPage{}, err
	}
	traffic, err := askTopology(ctx, s, scope, q.Window)
	if err != nil {
		return TopologyPage{}, err
	}
	var notes []string
	g := newGraph(scope, rights, traffic)
	if g.tooLarge() && !scope.allCollapsed() {
		notes = append(notes, fmt.Sprintf("%d workloads with %d edges are too many for one picture. It shows them by "+
			"namespace. Choose a namespace or a workload.", len(g.nodes), len(g.edges)))
		scope.group, scope.expand = ByNamespace, nil
		g = newGraph(scope, rights, traffic)
	}
	if rights.err != nil {
		return TopologyPage{}, rights.err
	}
	page := TopologyPage{Head: newHead(q, slices.Concat(notes, traffic.notes, rights.notes())), Group: scope.group,
		Namespaces: append([]string{}, scope.namespaces...)}
	if scope.focus != (Ref{}) {
		page.Focus = &scope.focus
	}
	if nodes, edges := g.bound(); nodes+edges > 0 {
		page.Notes = append(page.Notes,
			fmt.Sprintf("The %d nodes and %d edges with the fewest requests are left out.", nodes, edges))
	}
	page.Nodes, page.Edges = g.page(WindowText(q.Window))
	return page, nil
}

// topologyScope is what a link asks for.
type topologyScope struct {
	namespaces []string // none means all
	group      string
	// expand are namespaces whose workloads are shown although the others are grouped, and collapse the reverse.
	expand, collapse []string
	focus            Ref // zero for none
}

// newTopologyScope reads the link: namespace, with (more namespaces), kind and name, group, expand and collapse.
func newTopologyScope(q Query) (topologyScope, error) {
	refuse := func(format string, args ...any) (topologyScope, error) {
		return topologyScope{}, &Refusal{Code: BadRequest, Message: fmt.Sprintf(format, args...)}
	}
	list := func(name string) (out []string) {
		for _, value := range strings.Split(q.Params.Get(name), ",") {
			if value != "" && !slices.Contains(out, value) {
				out = append(out, value)
			}
		}
		return out
	}
	s := topologyScope{group: q.Params.Get("group"), expand: list("expand"), collapse: list("collapse")}
	if q.Namespace != "" {
		s.namespaces = []string{q.Namespace}
		for _, more := range list("with") {
			if more != q.Namespace {
				s.namespaces = append(s.namespaces, more)
			}
		}
	}
	if len(s.namespaces) > maxTopologyScopes {
		return refuse("%d namespaces: want at most %d, or all of them", len(s.namespaces), maxTopologyScopes)
	}
	if s.group == "" && q.Namespace == "" && q.Kind == "" {
		s.group = ByNamespace
	}
	if s.group = cmp.Or(s.group, ByWorkload); s.group != ByWorkload && s.group != ByNamespace {
		return refuse("group %q: want %s or %s", s.group, ByWorkload, ByNamespace)
	}
	if q.Kind == "" && q.Name == "" {
		return s, nil
	}
	kind, err := resource.ParseKind(q.Kind)
	if err != nil {
		return refuse("%v", err)
	}
	if !isWorkload(kind.Name) || q.Name == "" || q.Namespace == "" {
		return refuse("neighbours of %s %q: want the kind, the namespace and the name of a workload", q.Kind, q.Name)
	}
	s.focus = Ref{Kind: kind.Name, Namespace: q.Namespace, Name: q.Name}
	return s, nil
}

// collapsed reports whether the workloads of a namespace are one node.
func (s topologyScope) collapsed(namespace string) bool {
	if s.focus != (Ref{}) && s.focus.Namespace == namespace {
		return false
	}
	if s.group == ByNamespace {
		return !slices.Contains(s.expand, namespace)
	}
	return slices.Contains(s.collapse, namespace)
}

// allCollapsed reports whether no workload is a node of its own.
func (s topologyScope) allCollapsed() bool {
	return s.group == ByNamespace && len(s.expand) == 0 && s.focus == (Ref{})
}

// has reports whether a namespace is one of the scope.
func (s topologyScope) has(namespace string) bool {
	return len(s.namespaces) == 0 || slices.Contains(s.namespaces, namespace)
}

// topologyID returns the ID of a node. It is unique, because names of objects have no slash.
func topologyID(r Ref) string { return strings.Join([]string{r.Kind, r.Namespace, r.Name}, "/") }

// tooLarge reports whether a browser could not draw the graph.
func (g *graph) tooLarge() bool {
	return len(g.nodes) > maxTopologyNodes || len(g.edges) > maxTopologyEdges
}

// bound leaves out the edges and then the nodes with the fewest requests until a browser can draw the graph. It returns
// how many nodes and edges it left out.
func (g *graph) bound() (nodes, edges int) {
	had := len(g.edges)
	if had > maxTopologyEdges {
		order := slices.SortedFunc(maps.Keys(g.edges), func(a, b ends) int {
			return cmp.Or(cmp.Compare(g.edges[b].rps(), g.edges[a].rps()), compareEnds(a, b))
		})
		for _, e := range order[maxTopologyEdges:] {
			delete(g.edges, e)
		}
	}
	if len(g.nodes) <= maxTopologyNodes {
		return 0, had - len(g.edges)
	}
	weight := map[Ref]float64{g.scope.focus: math.Inf(1)}
	for e, t := range g.edges {
		weight[e.from] += t.rps()
		weight[e.to] += t.rps()
	}
	order := slices.SortedFunc(maps.Keys(g.nodes), func(a, b Ref) int {
		return cmp.Or(cmp.Compare(weight[b], weight[a]), cmp.Compare(topologyID(a), topologyID(b)))
	})
	for _, r := range order[maxTopologyNodes:] {
		delete(g.nodes, r)
	}
	maps.DeleteFunc(g.edges, func(e ends, _ *edge) bool { return g.nodes[e.from] == nil || g.nodes[e.to] == nil })
	return len(order) - maxTopologyNodes, had - len(g.edges)
}
