package model

import (
	"net/netip"

	"k8s.io/apimachinery/pkg/types"

	"github.com/tulle-mesh/tulle/controller/compile"
)

// sender is what sends requests of some Services to others: a route or a profile.
type sender interface {
	// parentServices calls f for each Service whose requests it concerns; maybe more than once.
	parentServices(f func(types.NamespacedName))
	// touch notes that what it says about its backends may differ now.
	touch(s *Store)
}

// routing holds the routes, grants and profiles, and how to get from an object to whatever depends on it.
type routing struct {
	routes   map[objectKey]*route
	grants   map[types.NamespacedName]*compile.Grant
	profiles map[types.NamespacedName]*profile

	routesByParent    map[types.NamespacedName][]*route
	profilesByService map[types.NamespacedName][]*profile
	grantsIn          map[string][]*compile.Grant // by namespace
	// senders are by Service that they send to, foreign by the namespaces other than its own that a route sends to.
	senders map[types.NamespacedName][]sender
	foreign map[string][]*route
}

func newRouting() routing {
	return routing{
		routes: map[objectKey]*route{}, grants: map[types.NamespacedName]*compile.Grant{},
		profiles:       map[types.NamespacedName]*profile{},
		routesByParent: map[types.NamespacedName][]*route{}, profilesByService: map[types.NamespacedName][]*profile{},
		grantsIn: map[string][]*compile.Grant{}, senders: map[types.NamespacedName][]sender{}, foreign: map[string][]*route{},
	}
}

// relink adds v to the list under k, or takes it away.
func relink[K comparable, V comparable](index map[K][]V, k K, v V, add bool) {
	if add {
		link(index, k, v)
	} else {
		unlink(index, k, v)
	}
}

func (s *Store) indexRoute(r *route, add bool) {
	r.parentServices(func(n types.NamespacedName) { relink(s.routesByParent, n, r, add) })
	for _, spec := range []*compile.Route{r.active, r.latest} {
		for _, use := range spec.References {
			relink(s.senders, types.NamespacedName{Namespace: use.Namespace, Name: use.Name}, sender(r), add)
			if use.Namespace != r.Namespace {
				relink(s.foreign, use.Namespace, r, add)
			}
		}
	}
}

func (r *route) touch(s *Store) {
	clear(r.resolved)
	s.outcomes.touch(r.objectKey)
}

// touchRoute notes that answers about r's parents and r's own status may differ now.
func (s *Store) touchRoute(r *route, change *Change) {
	r.touch(s)
	r.parentServices(func(n types.NamespacedName) { change.Addrs = append(change.Addrs, s.clusterIPs(n)...) })
}

// touchSiblings notes that the statuses of the routes beside r may differ now: routes of one parent give way to each
// other.
func (s *Store) touchSiblings(r *route) {
	r.parentServices(s.touchRoutesOf)
}

func (s *Store) touchRoutesOf(parent types.NamespacedName) {
	for _, r := range s.routesByParent[parent] {
		r.touch(s)
	}
}

// touchRouting notes what depends on whether the Service exists, on its ports and on its annotations, besides its own
// answers.
func (s *Store) touchRouting(n types.NamespacedName, change *Change) {
	s.touchRoutesOf(n)
	for _, p := range s.profilesByService[n] {
		p.touch(s)
	}
	for _, sender := range s.senders[n] {
		sender.touch(s)
	}
	change.Addrs = append(change.Addrs, s.senderAddrs(n)...)
}

// senderAddrs returns the addresses of the Services whose requests may be sent to the Service n.
func (s *Store) senderAddrs(n types.NamespacedName) []netip.Addr {
	var out []netip.Addr
	for _, sender := range s.senders[n] {
		sender.parentServices(func(parent types.NamespacedName) { out = append(out, s.clusterIPs(parent)...) })
	}
	return out
}

func (s *Store) clusterIPs(n types.NamespacedName) []netip.Addr {
	if svc := s.services[n]; svc != nil {
		return svc.ClusterIPs
	}
	return nil
}
