package stat

import (
	"fmt"
	"slices"

	"github.com/tulle-mesh/tulle/viz/golden"
	"github.com/tulle-mesh/tulle/viz/metrics"
	"github.com/tulle-mesh/tulle/viz/resource"
	"github.com/tulle-mesh/tulle/viz/subject"
)

// notForKindError is the error about a flag that does not work for a kind. `all` skips such kinds.
type notForKindError struct{ flag, plural, reason string }

// Error implements error.
func (e *notForKindError) Error() string {
	return fmt.Sprintf("--%s does not work for %s: %s", e.flag, e.plural, e.reason)
}

// plan says which queries find the numbers of one subject, and which of its objects get a row.
type plan struct {
	*subject.Subject
	// objects are those of the subject that may have a row.
	objects []resource.Object
	// sets are the series to read. A resource has the numbers of the first set with responses of it.
	sets []seriesSet
	// denied asks for denials, named as in the first set; nil if the series of denials do not name the kind.
	denied *metrics.Query
}

// seriesSet is the series of one set of requests, and the labels that name a resource on them.
type seriesSet struct {
	series golden.Series
	match  []metrics.Match
	naming subject.Naming
	// peer is the value of the label peer on the connections that count; "" if none count.
	peer string
}

// check returns a notForKindError if a flag of the request does not work for the kind.
func check(k resource.Kind, req Request) error {
	refuse := func(flag, reason string) error { return &notForKindError{flag, k.Plural, reason} }
	switch {
	case !k.InCluster() && req.Selector != "":
		return refuse("selector", "they are not objects of the cluster, so they have no labels")
	case req.NotVersion != "" && !k.HasPods():
		return refuse("proxy-version-mismatch", "they have no proxies")
	case k.Class == resource.Called && req.To != nil:
		return refuse("to", "they send no requests")
	case k.Class == resource.Policy && (req.To != nil || req.From != nil):
		return refuse(flagOf(req), "a server's proxy does not know the client's workload")
	}
	return nil
}

// newPlan returns the plan for a subject whose kind has passed check. peer selects the traffic with the other end.
func newPlan(s *subject.Subject, req Request, peer []metrics.Match) *plan {
	p := &plan{Subject: s, objects: s.Objects}
	if req.NotVersion != "" {
		p.objects = slices.DeleteFunc(slices.Clone(p.objects), func(o resource.Object) bool {
			return !slices.ContainsFunc(versions(o), func(v string) bool { return v != req.NotVersion })
		})
	}
	switch s.Kind.Class {
	case resource.Workload, resource.ByPod:
		p.sets = []seriesSet{workloadSet(s, req, peer)}
	case resource.Called:
		p.sets = []seriesSet{calledSet(s, peer)}
	case resource.Policy:
		p.sets = []seriesSet{policySet(s)}
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

func workloadSet(s *subject.Subject, req Request, peer []metrics.Match) seriesSet {
	out := seriesSet{series: golden.Requests, naming: s.Source, peer: "dst"}
	if req.From != nil {
		out.naming = s.Destination
	}
	direction := "outbound"
	if peer == nil {
		direction, out.peer = "inbound", "src"
	}
	out.match = slices.Concat([]metrics.Match{metrics.Is("direction", direction)}, out.naming.Match, peer)
	return out
}

func calledSet(s *subject.Subject, peer []metrics.Match) seriesSet {
	out := seriesSet{series: golden.Requests, naming: s.Destination}
	if s.Kind.InCluster() {
		out.peer = "dst"
	}
	out.match = slices.Concat([]metrics.Match{metrics.Is("direction", "outbound")}, out.naming.Match, peer)
	return out
}

func policySet(s *subject.Subject) seriesSet {
	out := seriesSet{series: golden.Requests, naming: s.Source}
	kindLabel := "authz_kind"
	if s.Kind.Name == "server" {
		kindLabel, out.peer = "srv_kind", "src"
	}
	out.match = slices.Concat(out.naming.Match,
		[]metrics.Match{metrics.Is("direction", "inbound"), metrics.Is(kindLabel, s.Kind.Name)})
	return out
}

// routeSets returns the series of a route at servers and at clients. It is attached to a Server or to a Service.
func routeSets(s *subject.Subject) (inbound, outbound seriesSet) {
	kind, series := "HTTPRoute", golden.HTTPRoutes
	if s.Kind.Name == "grpcroute" {
		kind, series = "GRPCRoute", golden.GRPCRoutes
	}
	inbound = seriesSet{series: golden.Requests, naming: s.Source}
	inbound.match = slices.Concat(inbound.naming.Match,
		[]metrics.Match{metrics.Is("direction", "inbound"), metrics.Is("route_kind", kind)})
	outbound = seriesSet{series: series, naming: s.NamedBy("route_namespace", s.Kind.Destination)}
	outbound.match = slices.Concat(outbound.naming.Match, []metrics.Match{metrics.Is("route_kind", kind)})
	return inbound, outbound
}

// denials returns the query for denials that are named as the series of a set.
func denials(s seriesSet) *metrics.Query {
	return &metrics.Query{Metric: metrics.InboundHTTPDenyTotal, Match: s.match, By: s.naming.By}
}

// queries returns two queries for each set, three more if its connections count, and then the one for denials.
func (p *plan) queries() (out []metrics.Query) {
	for _, s := range p.sets {
		out = append(out, s.series.Queries(s.match, s.naming.By)...)
		if s.peer == "" {
			continue
		}
		match := append(slices.Clone(s.match), metrics.Is("peer", s.peer))
		out = append(out,
			metrics.Query{Metric: metrics.TCPOpenConnections, Match: match, By: s.naming.By, Now: true},
			metrics.Query{Metric: metrics.TCPReadBytes, Match: match, By: s.naming.By},
			metrics.Query{Metric: metrics.TCPWriteBytes, Match: match, By: s.naming.By})
	}
	if p.denied != nil {
		out = append(out, *p.denied)
	}
	return out
}
