package stat

import (
	"errors"
	"fmt"
	"slices"

	"github.com/tulle-mesh/tulle/viz/golden"
	"github.com/tulle-mesh/tulle/viz/metrics"
	"github.com/tulle-mesh/tulle/viz/resource"
	"github.com/tulle-mesh/tulle/viz/subject"
)

// errNotForKind means that a kind has no numbers of the asked sort. `all` leaves such kinds out.
var errNotForKind = errors.New("no such numbers")

// plan is how the numbers of one subject are found.
type plan struct {
	*subject.Subject
	// objects are those of the subject that may have a row.
	objects []resource.Object
	// sets are the series to read; the first that has responses of a resource counts for it.
	sets []set
	// denied finds denials, with the names of the first set; nil if they do not name the kind.
	denied *metrics.Query
}

// set is one set of series and how they name a resource.
type set struct {
	series golden.Series
	match  []metrics.Match
	side   subject.Side
	// peer is the label peer of the connections that count; "" if none do.
	peer string
}

// check returns an error if the kind has no numbers of the sort that is asked for.
func check(k resource.Kind, req Request) error {
	refuse := func(flag, why string) error {
		return fmt.Errorf("--%s does not work for %s: %s (%w)", flag, k.Plural, why, errNotForKind)
	}
	switch {
	case !k.InCluster() && req.Selector != "":
		return refuse("selector", "they are no objects and have no labels")
	case req.NotVersion != "" && !k.HasPods():
		return refuse("proxy-version-mismatch", "they have no proxies")
	case k.Class == resource.Called && req.To != nil:
		return refuse("to", "they send no requests")
	case k.Class == resource.Policy && (req.To != nil || req.From != nil):
		return refuse(flagOf(req), "a server's proxy does not know the client's workload")
	}
	return nil
}

// newPlan returns the plan for a subject whose kind is checked. peer selects the traffic with the other end.
func newPlan(s *subject.Subject, req Request, peer []metrics.Match) *plan {
	p := &plan{Subject: s, objects: s.Objects}
	if req.NotVersion != "" {
		p.objects = slices.DeleteFunc(slices.Clone(p.objects), func(o resource.Object) bool {
			return !slices.ContainsFunc(versions(o), func(v string) bool { return v != req.NotVersion })
		})
	}
	switch s.Kind.Class {
	case resource.Workload, resource.ByPod:
		p.sets = []set{workloadSet(s, req, peer)}
	case resource.Called:
		p.sets = []set{calledSet(s, peer)}
	case resource.Policy:
		p.sets = []set{policySet(s)}
		if s.Kind.Name == "server" {
			p.denied = denials(p.sets[0])
		}
	case resource.Route:
		inbound, outbound := routeSets(s)
		if req.To == nil && req.From == nil {
			p.sets = append(p.sets, inbound)
			p.denied = denials(inbound)
		}
		outbound.match = slices.Concat(outbound.match, peer)
		p.sets = append(p.sets, outbound)
	}
	return p
}

func flagOf(req Request) string {
	if req.To != nil {
		return "to"
	}
	return "from"
}

// peerMatch selects the series of the traffic with the other end.
func peerMatch(req Request) ([]metrics.Match, error) {
	peer, direction := req.To, "to"
	label := func(k resource.Kind) string { return k.Destination }
	namespace := "dst_namespace"
	if req.From != nil {
		peer, direction, namespace = req.From, "from", "namespace"
		label = func(k resource.Kind) string { return k.Source }
	}
	if peer == nil {
		return nil, nil
	}
	if peer.Kind.Class == resource.ByPod {
		return nil, fmt.Errorf("--%s %s: metrics do not name it: give the workload above it, or one of its pods",
			direction, peer.Kind.Name)
	}
	name := label(peer.Kind)
	if name == "" || peer.Kind.Class == resource.Route {
		return nil, fmt.Errorf("--%s %s: metrics do not name it: give a workload%s", direction, peer.Kind.Name,
			map[string]string{"to": ", a service or an authority"}[direction])
	}
	match := []metrics.Match{metrics.Not(name, "")}
	if peer.Name != "" {
		match = []metrics.Match{metrics.Is(name, peer.Name)}
	}
	if peer.Namespace != "" && peer.Kind.Name != resource.Namespace && peer.Kind.InCluster() {
		match = append(match, metrics.Is(namespace, peer.Namespace))
	}
	return match, nil
}

func workloadSet(s *subject.Subject, req Request, peer []metrics.Match) set {
	out := set{series: golden.Requests, side: s.Source, peer: "dst"}
	if req.From != nil {
		out.side = s.Destination
	}
	direction := "outbound"
	if peer == nil {
		direction, out.peer = "inbound", "src"
	}
	out.match = slices.Concat([]metrics.Match{metrics.Is("direction", direction)}, out.side.Match, peer)
	return out
}

func calledSet(s *subject.Subject, peer []metrics.Match) set {
	out := set{series: golden.Requests, side: s.Destination}
	if s.Kind.InCluster() {
		out.peer = "dst"
	}
	out.match = slices.Concat([]metrics.Match{metrics.Is("direction", "outbound")}, out.side.Match, peer)
	return out
}

func policySet(s *subject.Subject) set {
	out := set{series: golden.Requests, side: s.Source}
	kindLabel := "authz_kind"
	if s.Kind.Name == "server" {
		kindLabel, out.peer = "srv_kind", "src"
	}
	out.match = slices.Concat(out.side.Match,
		[]metrics.Match{metrics.Is("direction", "inbound"), metrics.Is(kindLabel, s.Kind.Name)})
	return out
}

// routeSets returns the series of a route at servers and at clients. It is attached to a Server or to a Service.
func routeSets(s *subject.Subject) (inbound, outbound set) {
	kind, series := "HTTPRoute", golden.HTTPRoutes
	if s.Kind.Name == "grpcroute" {
		kind, series = "GRPCRoute", golden.GRPCRoutes
	}
	inbound = set{series: golden.Requests, side: s.Source}
	inbound.match = slices.Concat(inbound.side.Match,
		[]metrics.Match{metrics.Is("direction", "inbound"), metrics.Is("route_kind", kind)})
	outbound = set{series: series, side: s.Side("route_namespace", s.Kind.Destination)}
	outbound.match = slices.Concat(outbound.side.Match, []metrics.Match{metrics.Is("route_kind", kind)})
	return inbound, outbound
}

func denials(s set) *metrics.Query {
	return &metrics.Query{Metric: metrics.InboundHTTPDenyTotal, Match: s.match, By: s.side.By}
}

// queries returns the plan's queries: two for each set and three if its connections count, then that for denials.
func (p *plan) queries() (out []metrics.Query) {
	for _, s := range p.sets {
		out = append(out, s.series.Queries(s.match, s.side.By)...)
		if s.peer == "" {
			continue
		}
		match := append(slices.Clone(s.match), metrics.Is("peer", s.peer))
		out = append(out,
			metrics.Query{Metric: metrics.TCPOpenConnections, Match: match, By: s.side.By, Now: true},
			metrics.Query{Metric: metrics.TCPReadBytes, Match: match, By: s.side.By},
			metrics.Query{Metric: metrics.TCPWriteBytes, Match: match, By: s.side.By})
	}
	if p.denied != nil {
		out = append(out, *p.denied)
	}
	return out
}
