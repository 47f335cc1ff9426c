package model

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/tulle-mesh/tulle/controller/compile"
	"github.com/tulle-mesh/tulle/mesh"
)

// maxServerEntries bounds what the authorizations of a Server and of its routes ask for together: each of them, each
// identity, network and exception counts. All of it is sent to each pod of the Server, a hundred bytes apiece, whenever
// any of it changes.
const maxServerEntries = 4 * compile.MaxClientEntries

// authorizer is what lets clients in: to a Server, or to one of its routes.
type authorizer struct {
	created       time.Time
	route         mesh.Ref // zero for the whole Server
	authorization mesh.Authorization
}

// weight is what the authorization counts of maxServerEntries.
func (a *authorizer) weight() int {
	n := 1 + len(a.authorization.Identities)
	for i := range a.authorization.Networks {
		n += 1 + len(a.authorization.Networks[i].Except)
	}
	return n
}

// eachAuthorizer calls f with all that lets clients in to a Server or to routes of it: the policies that target it, its
// namespace or the route, and the ServerAuthorizations that select it. A policy that does not know whom to let in lets
// nobody in.
func (s *Store) eachAuthorizer(sv *server, f func(authorizer)) {
	target := func(target, route mesh.Ref) {
		for _, p := range s.access.policiesAt[target] {
			if a, missing := s.authorization(p); len(missing) == 0 {
				f(authorizer{p.created, route, a})
			}
		}
	}
	target(sv.ref(), mesh.Ref{})
	target(compile.NamespaceRef(sv.object.Namespace), mesh.Ref{})
	for _, sa := range s.access.serverAuthsIn[sv.object.Namespace] {
		if sa.selects(sv) {
			f(authorizer{sa.created, mesh.Ref{}, sa.spec.Authorization})
		}
	}
	for _, r := range s.routesFor(sv.key()) {
		target(r.ref, r.ref)
	}
}

// authorizersOf splits what lets clients in to a Server into what it has room for, the oldest, and what it has not:
// that lets nobody in.
func (s *Store) authorizersOf(sv *server) (fit, leftOut []authorizer) {
	var all []authorizer
	weight := 0
	s.eachAuthorizer(sv, func(a authorizer) {
		all = append(all, a)
		weight += a.weight()
	})
	if weight <= maxServerEntries {
		return all, nil
	}
	slices.SortFunc(all, func(a, b authorizer) int {
		return cmp.Or(a.created.Compare(b.created), compareAuthorizations(a.authorization.Ref, b.authorization.Ref))
	})
	weight = 0
	for i := range all {
		if weight += all[i].weight(); weight > maxServerEntries {
			return all[:i], all[i:]
		}
	}
	return all, nil
}

func compareAuthorizations(a, b mesh.Ref) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}

// authorizationsFor returns what lets clients in to a Server, and to each of its routes. Their order does not depend on
// that of events: the first that is met is what metrics show.
func (s *Store) authorizationsFor(sv *server) (ofServer []mesh.Authorization,
	ofRoutes map[mesh.Ref][]mesh.Authorization) {
	fit, _ := s.authorizersOf(sv)
	slices.SortFunc(fit, func(a, b authorizer) int {
		return compareAuthorizations(a.authorization.Ref,
			b.authorization.Ref)
	})
	ofRoutes = map[mesh.Ref][]mesh.Authorization{}
	for i := range fit {
		if a := &fit[i]; a.route == (mesh.Ref{}) {
			ofServer = append(ofServer, a.authorization)
		} else {
			ofRoutes[a.route] = append(ofRoutes[a.route], a.authorization)
		}
	}
	return ofServer, ofRoutes
}

// recountExcess notes which authorizations no longer fit, or fit again, at the Servers that changed since the last
// call. It marks the outcomes that depend on it.
func (s *Store) recountExcess() {
	a := &s.access
	for n := range a.recountDue {
		before, now := a.excess[n], s.countExcess(a.servers[n])
		for _, one := range [...][2]map[mesh.Ref]struct{}{{before, now}, {now, before}} {
			for ref := range one[0] {
				if _, both := one[1][ref]; !both {
					s.outcomes.touch(keyOf(ref))
					s.outcomes.touch(keyOf(compile.ServerRef(n)))
				}
			}
		}
		if delete(a.excess, n); len(now) > 0 {
			a.excess[n] = now
		}
	}
	clear(a.recountDue)
}

// countExcess returns the authorizations that exceed the limit of a Server, which may be nil. Nearly always there are
// none, and finding that out allocates nothing.
func (s *Store) countExcess(sv *server) map[mesh.Ref]struct{} {
	if sv == nil || !sv.valid() {
		return nil
	}
	weight := 0
	s.eachAuthorizer(sv, func(a authorizer) { weight += a.weight() })
	if weight <= maxServerEntries {
		return nil
	}
	out := map[mesh.Ref]struct{}{}
	_, leftOut := s.authorizersOf(sv)
	for i := range leftOut {
		out[leftOut[i].authorization.Ref] = struct{}{}
	}
	return out
}

// excessAt says at which of the Servers the authorization exceeds the limit; "" for none.
func (s *Store) excessAt(ref mesh.Ref, servers []types.NamespacedName) string {
	var names []string
	for _, n := range servers {
		if _, out := s.access.excess[n][ref]; out {
			names = append(names, n.Name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	slices.Sort(names)
	return fmt.Sprintf("older authorizations use the maximum of %d identities and networks of a Server; this one "+
		"allows nobody at: %s",
		maxServerEntries, compile.List(names))
}

// excessOf says which authorizations exceed the limit of a Server; "" for none.
func (s *Store) excessOf(sv *server) string {
	out := s.access.excess[sv.key()]
	if len(out) == 0 {
		return ""
	}
	names := make([]string, 0, len(out))
	for ref := range out {
		names = append(names, ref.Kind+" "+ref.Name)
	}
	slices.Sort(names)
	return fmt.Sprintf("authorizations exceed the maximum of %d identities and networks; the newest allow nobody: %s",
		maxServerEntries, compile.List(names))
}
