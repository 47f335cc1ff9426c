package stat

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tulle-mesh/tulle/viz/golden"
	"github.com/tulle-mesh/tulle/viz/metrics"
	"github.com/tulle-mesh/tulle/viz/resource"
)

const authority = "authority"

// errNotForKind means that a kind has no numbers of the asked sort. `all` leaves such kinds out.
var errNotForKind = errors.New("no such numbers")

// plan is how the numbers of one target are found.
type plan struct {
	target resource.Target
	// objects are those of the target, if the cluster was asked for any.
	objects []resource.Object
	listed  bool
	// sets are the series to read; the first that has responses of a resource counts for it.
	sets []set
	// denied finds denials; nil if they do not name the kind.
	denied *metrics.Query
	// first is the index of the plan's first query.
	first int
}

// set is one set of series and how they name a resource.
type set struct {
	series golden.Series
	match  []metrics.Match
	// by are the labels of a resource's namespace and name.
	by []string
	// peer is the label peer of the connections that count; "" if none do.
	peer string
}

func newPlan(target resource.Target, req Request) (*plan, error) {
	k := target.Kind
	p := &plan{target: target}
	refuse := func(flag, why string) error {
		return fmt.Errorf("--%s does not work for %s: %s (%w)", flag, k.Plural, why, errNotForKind)
	}
	if k.Name == authority && req.Selector != "" {
		return nil, refuse("selector", "they are no objects and have no labels")
	}
	if req.NotVersion != "" && !k.HasPods() {
		return nil, refuse("proxy-version-mismatch", "they have no proxies")
	}
	peer, err := peerMatch(req)
	if err != nil {
		return nil, err
	}
	switch k.Class {
	case resource.Workload, resource.ByPod:
		p.sets = []set{workloadSet(target, req, peer)}
	case resource.Called:
		if req.To != nil {
			return nil, refuse("to", "they send no requests")
		}
		p.sets = []set{calledSet(target, req, peer)}
	case resource.Policy:
		if req.To != nil || req.From != nil {
			return nil, refuse(flagOf(req), "a server's proxy does not know the client's workload")
		}
		p.sets = []set{policySet(target, req)}
		if k.Name == "server" {
			p.denied = denials(p.sets[0])
		}
	case resource.Route:
		inbound, outbound := routeSets(target, req)
		if req.To == nil && req.From == nil {
			p.sets = append(p.sets, inbound)
			p.denied = denials(inbound)
		}
		outbound.match = slices.Concat(outbound.match, peer)
		p.sets = append(p.sets, outbound)
	}
	return p, nil
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
	if peer.Namespace != "" && peer.Kind.Name != resource.Namespace && peer.Kind.Name != authority {
		match = append(match, metrics.Is(namespace, peer.Namespace))
	}
	return match, nil
}

// narrow selects the namespace and, if there is only one, the name of the target.
func narrow(target resource.Target, req Request, by []string) (match []metrics.Match) {
	if req.Namespace != "" && target.Kind.Name != resource.Namespace {
		match = append(match, metrics.Is(by[0], req.Namespace))
	}
	if len(target.Names) == 1 && target.Kind.Class != resource.ByPod {
		return append(match, metrics.Is(by[len(by)-1], target.Names[0]))
	}
	return append(match, metrics.Not(by[len(by)-1], ""))
}

func workloadSet(target resource.Target, req Request, peer []metrics.Match) set {
	k := target.Kind
	s := set{series: golden.Requests, by: []string{"namespace", k.Source}, peer: "dst"}
	if req.From != nil {
		s.by = []string{"dst_namespace", k.Destination}
	}
	if k.Name == resource.Namespace {
		s.by = s.by[1:]
	}
	direction := "outbound"
	if peer == nil {
		direction, s.peer = "inbound", "src"
	}
	s.match = slices.Concat([]metrics.Match{metrics.Is("direction", direction)}, narrow(target, req, s.by), peer)
	return s
}

func calledSet(target resource.Target, req Request, peer []metrics.Match) set {
	s := set{series: golden.Requests, by: []string{"dst_namespace", target.Kind.Destination}}
	if target.Kind.Name != authority {
		s.peer = "dst"
	}
	s.match = slices.Concat([]metrics.Match{metrics.Is("direction", "outbound")}, narrow(target, req, s.by), peer)
	return s
}

func policySet(target resource.Target, req Request) set {
	s := set{series: golden.Requests, by: []string{"namespace", target.Kind.Source}}
	kindLabel := "authz_kind"
	if target.Kind.Name == "server" {
		kindLabel, s.peer = "srv_kind", "src"
	}
	s.match = append(narrow(target, req, s.by),
		metrics.Is("direction", "inbound"), metrics.Is(kindLabel, target.Kind.Name))
	return s
}

// routeSets returns the series of a route at servers and at clients. It is attached to a Server or to a Service.
func routeSets(target resource.Target, req Request) (inbound, outbound set) {
	kind, series := "HTTPRoute", golden.HTTPRoutes
	if target.Kind.Name == "grpcroute" {
		kind, series = "GRPCRoute", golden.GRPCRoutes
	}
	inbound = set{series: golden.Requests, by: []string{"namespace", "route_name"}}
	inbound.match = append(narrow(target, req, inbound.by),
		metrics.Is("direction", "inbound"), metrics.Is("route_kind", kind))
	outbound = set{series: series, by: []string{"route_namespace", "route_name"}}
	outbound.match = append(narrow(target, req, outbound.by), metrics.Is("route_kind", kind))
	return inbound, outbound
}

func denials(s set) *metrics.Query {
	return &metrics.Query{Metric: "inbound_http_authz_deny_total", Match: s.match, By: s.by}
}

// list asks the cluster for the target's objects.
func (p *plan) list(ctx context.Context, cluster resource.Lister, req Request) error {
	k := p.target.Kind
	if k.Name == authority {
		return nil
	}
	namespace := req.Namespace
	if k.Name == resource.Namespace {
		namespace = ""
		if len(p.target.Names) == 1 {
			namespace = p.target.Names[0]
		}
	}
	objects, err := cluster.List(ctx, k, namespace, req.Selector)
	if err != nil {
		return err
	}
	p.listed = true
	if len(objects) == 0 && len(p.target.Names) > 0 && k.Name != resource.Namespace {
		if err := resource.CheckNamespace(ctx, cluster, namespace); err != nil {
			return err
		}
	}
	if p.objects, err = resource.Select(k, objects, p.target.Names, namespace); err != nil {
		return err
	}
	resource.Sort(p.objects)
	if req.NotVersion != "" {
		p.objects = slices.DeleteFunc(p.objects, func(o resource.Object) bool {
			return !slices.ContainsFunc(versions(o), func(v string) bool { return v != req.NotVersion })
		})
	}
	return nil
}

// queries returns the plan's queries: two for each set and three if its connections count, then that for denials.
func (p *plan) queries() (out []metrics.Query) {
	for _, s := range p.sets {
		out = append(out, s.series.Queries(s.match, s.by)...)
		if s.peer == "" {
			continue
		}
		match := append(slices.Clone(s.match), metrics.Is("peer", s.peer))
		out = append(out,
			metrics.Query{Metric: "tcp_open_connections", Match: match, By: s.by, Now: true},
			metrics.Query{Metric: "tcp_read_bytes_total", Match: match, By: s.by},
			metrics.Query{Metric: "tcp_write_bytes_total", Match: match, By: s.by})
	}
	if p.denied != nil {
		out = append(out, *p.denied)
	}
	return out
}
