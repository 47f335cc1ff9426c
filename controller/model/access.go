package model

import (
	"slices"

	"github.com/tulle-mesh/tulle/crds/v1alpha1"
	"github.com/tulle-mesh/tulle/mesh"
)

// access is the part of a Store that says who may reach pods. A Server is a hub: pods know which Servers select them, and whatever
// refers to a Server changes what it comes down to, once for all of its pods.
type access struct {
	servers   map[name]*server
	serversIn map[string][]*server         // by namespace
	serversOf map[name][]*server           // by pod; the ones that win an overlap first
	podsIn    map[string]map[*pod]struct{} // by namespace
	overlaps  map[name]map[name]int        // by loser and winner
	twins     map[serverTarget]map[*server]struct{}
	ports     map[name]*mesh.PortPolicy      // what each Server comes down to, once it was asked for; see Store.port
	stale     map[name]struct{}              // Servers whose ports are to be derived again
	uncounted map[name]struct{}              // Servers whose authorizations are to be counted again; see recount
	leftOut   map[name]map[mesh.Ref]struct{} // authorizations that a Server has no room for

	policies   map[name]*authorizationPolicy
	policiesAt map[mesh.Ref][]*authorizationPolicy // by target
	policiesBy map[mesh.Ref][]*authorizationPolicy // by what they require
	proofs     map[mesh.Ref]*authentication

	serverAuths   map[name]*serverAuthorization
	serverAuthsIn map[string][]*serverAuthorization // by namespace

	limits   map[name]*rateLimitPolicy
	limitsAt map[name][]*rateLimitPolicy // by Server

	routes   map[mesh.Ref]*serverRoute
	routesAt map[name][]*serverRoute // by Server
}

func newAccess() access {
	return access{
		servers: map[name]*server{}, serversIn: map[string][]*server{}, serversOf: map[name][]*server{},
		podsIn: map[string]map[*pod]struct{}{}, overlaps: map[name]map[name]int{}, twins: map[serverTarget]map[*server]struct{}{}, ports: map[name]*mesh.PortPolicy{}, stale: map[name]struct{}{},
		uncounted: map[name]struct{}{}, leftOut: map[name]map[mesh.Ref]struct{}{},
		policies: map[name]*authorizationPolicy{}, policiesAt: map[mesh.Ref][]*authorizationPolicy{},
		policiesBy: map[mesh.Ref][]*authorizationPolicy{}, proofs: map[mesh.Ref]*authentication{},
		serverAuths: map[name]*serverAuthorization{}, serverAuthsIn: map[string][]*serverAuthorization{},
		limits: map[name]*rateLimitPolicy{}, limitsAt: map[name][]*rateLimitPolicy{},
		routes: map[mesh.Ref]*serverRoute{}, routesAt: map[name][]*serverRoute{},
	}
}

// refreshServer has what the Server n comes down to derived again, when one of its pods is asked about next, and names those pods. A storm
// of events that concern many Servers costs each of them once.
func (s *Store) refreshServer(n name, change *Change) {
	s.access.uncounted[n] = struct{}{}
	sv := s.access.servers[n]
	if sv == nil || !sv.valid() {
		delete(s.access.ports, n)
		delete(s.access.stale, n)
		return
	}
	s.access.stale[n] = struct{}{}
	for p := range s.access.podsIn[n.namespace] {
		if slices.Contains(s.access.serversOf[p.name], sv) {
			change.Pods = append(change.Pods, PodName{p.namespace, p.name.name})
		}
	}
}

// port returns what the Server comes down to. It stays the same value as long as it says the same.
func (s *Store) port(sv *server) *mesh.PortPolicy {
	n := sv.key()
	before := s.access.ports[n]
	if _, stale := s.access.stale[n]; before != nil && !stale {
		return before
	}
	delete(s.access.stale, n)
	now := s.portPolicy(sv)
	if before != nil && samePolicy(before, now) {
		return before
	}
	s.access.ports[n] = now
	return now
}

// samePolicy compares what two values say as proxies see it.
func samePolicy(a, b *mesh.PortPolicy) bool {
	x := mesh.Inbound{Default: *a}
	return x.Equal(&mesh.Inbound{Default: *b})
}

// portPolicy is what a Server and everything that refers to it come down to, for any of its pods.
func (s *Store) portPolicy(sv *server) *mesh.PortPolicy {
	n := sv.key()
	ofServer, ofRoutes := s.authorizationsFor(sv)
	p := &mesh.PortPolicy{
		Protocol: sv.spec.protocol, Policy: sv.spec.policy, Server: sv.ref(), Authorizations: ofServer, RateLimit: s.rateLimit(n),
	}
	for _, r := range s.routesFor(n) {
		p.Routes = append(p.Routes, mesh.InboundRoute{Route: r.route, Authorizations: ofRoutes[r.ref]})
	}
	return p
}

// serversOfTarget returns the Servers for which something changes when a policy on the target does.
func (s *Store) serversOfTarget(target mesh.Ref) []name {
	switch {
	case target == serverRef(name{target.Namespace, target.Name}):
		return []name{{target.Namespace, target.Name}}
	case target == namespaceRef(target.Name):
		var out []name
		for _, sv := range s.access.serversIn[target.Name] {
			out = append(out, sv.key())
		}
		return out
	}
	if r := s.access.routes[target]; r != nil {
		return r.servers
	}
	return nil
}

// touchReferrers has the statuses told again of whatever names the Server n, which has come, gone, or turned to another protocol.
func (s *Store) touchReferrers(n name) {
	for _, p := range s.access.policiesAt[serverRef(n)] {
		s.statuses.touch(keyOf(p.ref()))
	}
	for _, l := range s.access.limitsAt[n] {
		s.statuses.touch(keyOf(l.ref()))
	}
	for _, r := range s.access.routesAt[n] {
		s.statuses.touch(keyOf(r.ref))
	}
	for _, sa := range s.access.serverAuthsIn[n.namespace] {
		if sa.spec.server == n.name {
			s.statuses.touch(keyOf(sa.ref()))
		}
	}
}

// accessStatus derives the status of an object that says who may reach pods; ok is false if there is none of that kind and name.
func (s *Store) accessStatus(k statusKey) (status Status, ok bool) {
	if k.group != v1alpha1.PolicyGroup {
		return Status{}, false
	}
	switch k.kind {
	case "Server":
		if sv := s.access.servers[k.name]; sv != nil {
			return s.serverStatus(sv), true
		}
	case "AuthorizationPolicy":
		if p := s.access.policies[k.name]; p != nil {
			return s.policyStatus(p), true
		}
	case "ServerAuthorization":
		if sa := s.access.serverAuths[k.name]; sa != nil {
			return s.serverAuthorizationStatus(sa), true
		}
	case "MeshTLSAuthentication", "NetworkAuthentication":
		if a := s.access.proofs[mesh.Ref{Group: k.group, Kind: k.kind, Namespace: k.namespace, Name: k.name.name}]; a != nil {
			return a.status(yes(conditionAccepted, conditionAccepted, "")), true
		}
	case "HTTPLocalRateLimitPolicy":
		if l := s.access.limits[k.name]; l != nil {
			return s.limitStatus(l), true
		}
	}
	return Status{}, false
}

func keyOf(r mesh.Ref) statusKey { return statusKey{r.Group, r.Kind, name{r.Namespace, r.Name}} }

func namespaceRef(namespace string) mesh.Ref { return mesh.Ref{Kind: "Namespace", Name: namespace} }
