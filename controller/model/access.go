package model

import (
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"github.com/tulle-mesh/tulle/controller/compile"
	"github.com/tulle-mesh/tulle/crds/v1alpha1"
	"github.com/tulle-mesh/tulle/mesh"
)

// access is the part of a Store that says who may reach pods. A Server is a hub: pods know which Servers select them,
// and whatever refers to a Server changes its policy, once for all of its pods.
type access struct {
	servers    map[types.NamespacedName]*server
	serversIn  map[string][]*server                                  // by namespace
	serversOf  map[types.NamespacedName][]*server                    // by pod; the ones that win an overlap first
	podsIn     map[string]map[*compile.Pod]struct{}                  // by namespace
	overlaps   map[types.NamespacedName]map[types.NamespacedName]int // by loser and winner
	duplicates map[serverTarget]map[*server]struct{}
	// the policy of each Server, once it was asked for; see Store.serverPolicy
	serverPolicies map[types.NamespacedName]*mesh.PortPolicy
	stale          map[types.NamespacedName]struct{} // Servers whose policies are to be derived again
	// Servers whose authorizations are to be counted again; see recountExcess
	recountDue map[types.NamespacedName]struct{}
	excess     map[types.NamespacedName]map[mesh.Ref]struct{} // authorizations that a Server has no room for

	policies        map[types.NamespacedName]*authorizationPolicy
	policiesAt      map[mesh.Ref][]*authorizationPolicy // by target
	policiesBy      map[mesh.Ref][]*authorizationPolicy // by what they require
	authentications map[mesh.Ref]*authentication

	serverAuths   map[types.NamespacedName]*serverAuthorization
	serverAuthsIn map[string][]*serverAuthorization // by namespace

	limits   map[types.NamespacedName]*rateLimitPolicy
	limitsAt map[types.NamespacedName][]*rateLimitPolicy // by Server

	routes   map[mesh.Ref]*serverRoute
	routesAt map[types.NamespacedName][]*serverRoute // by Server
}

func newAccess() access {
	return access{
		servers: map[types.NamespacedName]*server{}, serversIn: map[string][]*server{},
		serversOf: map[types.NamespacedName][]*server{},
		podsIn:    map[string]map[*compile.Pod]struct{}{}, overlaps: map[types.NamespacedName]map[types.NamespacedName]int{},
		duplicates: map[serverTarget]map[*server]struct{}{}, serverPolicies: map[types.NamespacedName]*mesh.PortPolicy{},
		stale:      map[types.NamespacedName]struct{}{},
		recountDue: map[types.NamespacedName]struct{}{}, excess: map[types.NamespacedName]map[mesh.Ref]struct{}{},
		policies: map[types.NamespacedName]*authorizationPolicy{}, policiesAt: map[mesh.Ref][]*authorizationPolicy{},
		policiesBy: map[mesh.Ref][]*authorizationPolicy{}, authentications: map[mesh.Ref]*authentication{},
		serverAuths: map[types.NamespacedName]*serverAuthorization{}, serverAuthsIn: map[string][]*serverAuthorization{},
		limits: map[types.NamespacedName]*rateLimitPolicy{}, limitsAt: map[types.NamespacedName][]*rateLimitPolicy{},
		routes: map[mesh.Ref]*serverRoute{}, routesAt: map[types.NamespacedName][]*serverRoute{},
	}
}

// refreshServer has the policy of the Server n derived again, when one of its pods is asked about next, and names those
// pods. A storm of events that concern many Servers costs each of them once.
func (s *Store) refreshServer(n types.NamespacedName, change *Change) {
	s.access.recountDue[n] = struct{}{}
	sv := s.access.servers[n]
	if sv == nil || !sv.valid() {
		delete(s.access.serverPolicies, n)
		delete(s.access.stale, n)
		return
	}
	s.access.stale[n] = struct{}{}
	for p := range s.access.podsIn[n.Namespace] {
		if slices.Contains(s.access.serversOf[p.NamespacedName], sv) {
			change.Pods = append(change.Pods, types.NamespacedName{Namespace: p.Namespace, Name: p.Name})
		}
	}
}

// serverPolicy returns the policy of the Server. It stays the same value as long as it means the same.
func (s *Store) serverPolicy(sv *server) *mesh.PortPolicy {
	n := sv.key()
	before := s.access.serverPolicies[n]
	if _, stale := s.access.stale[n]; before != nil && !stale {
		return before
	}
	delete(s.access.stale, n)
	now := s.portPolicy(sv)
	if before != nil && samePolicy(before, now) {
		return before
	}
	s.access.serverPolicies[n] = now
	return now
}

// samePolicy compares what two values say as proxies see it.
func samePolicy(a, b *mesh.PortPolicy) bool {
	x := mesh.Inbound{Default: *a}
	return x.Equal(&mesh.Inbound{Default: *b})
}

// portPolicy derives the policy of a Server, for any of its pods, from everything that refers to it.
func (s *Store) portPolicy(sv *server) *mesh.PortPolicy {
	n := sv.key()
	ofServer, ofRoutes := s.authorizationsFor(sv)
	p := &mesh.PortPolicy{
		Protocol: sv.spec.Protocol, Policy: sv.spec.Policy, Server: sv.ref(), Authorizations: ofServer,
		RateLimit: s.rateLimit(n),
	}
	for _, r := range s.routesFor(n) {
		p.Routes = append(p.Routes, mesh.InboundRoute{Route: r.route, Authorizations: ofRoutes[r.ref]})
	}
	return p
}

// serversOfTarget returns the Servers for which something changes when a policy on the target does.
func (s *Store) serversOfTarget(target mesh.Ref) []types.NamespacedName {
	switch {
	case target == compile.ServerRef(types.NamespacedName{Namespace: target.Namespace, Name: target.Name}):
		return []types.NamespacedName{{Namespace: target.Namespace, Name: target.Name}}
	case target == compile.NamespaceRef(target.Name):
		var out []types.NamespacedName
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

// touchReferrers marks the outcomes of everything that names the Server n, which has come, gone, or changed its
// protocol.
func (s *Store) touchReferrers(n types.NamespacedName) {
	for _, p := range s.access.policiesAt[compile.ServerRef(n)] {
		s.outcomes.touch(keyOf(p.ref()))
	}
	for _, l := range s.access.limitsAt[n] {
		s.outcomes.touch(keyOf(l.ref()))
	}
	for _, r := range s.access.routesAt[n] {
		s.outcomes.touch(keyOf(r.ref))
	}
	for _, sa := range s.access.serverAuthsIn[n.Namespace] {
		if sa.spec.Server == n.Name {
			s.outcomes.touch(keyOf(sa.ref()))
		}
	}
}

// accessOutcome derives the outcome of an object that says who may reach pods; ok is false if there is none of that
// kind and name.
func (s *Store) accessOutcome(k objectKey) (out Outcome, ok bool) {
	if k.group != v1alpha1.PolicyGroup {
		return Outcome{}, false
	}
	switch k.kind {
	case "Server":
		if sv := s.access.servers[k.NamespacedName]; sv != nil {
			return s.serverOutcome(sv), true
		}
	case "AuthorizationPolicy":
		if p := s.access.policies[k.NamespacedName]; p != nil {
			return s.policyOutcome(p), true
		}
	case "ServerAuthorization":
		if sa := s.access.serverAuths[k.NamespacedName]; sa != nil {
			return s.serverAuthorizationOutcome(sa), true
		}
	case "MeshTLSAuthentication", "NetworkAuthentication":
		if a := s.access.authentications[mesh.Ref{Group: k.group, Kind: k.kind, Namespace: k.Namespace,
			Name: k.Name}]; a != nil {
			return a.outcome(Result{}), true
		}
	case "HTTPLocalRateLimitPolicy":
		if l := s.access.limits[k.NamespacedName]; l != nil {
			return s.limitOutcome(l), true
		}
	}
	return Outcome{}, false
}

func keyOf(r mesh.Ref) objectKey {
	return objectKey{r.Group, r.Kind, types.NamespacedName{Namespace: r.Namespace, Name: r.Name}}
}
