package learn

import (
	"maps"
	"slices"
	"strings"

	"github.com/tulle-mesh/tulle/mesh"
)

// splitRoutes handles routes that belong to several Servers. A policy for such a route allows a caller at all of them.
// If the caller was seen at some of them only, policies for these Servers are exact if the caller used all their
// routes. Otherwise no policy is exact, and a note says so.
func (l *learner) splitRoutes() {
	routesOf := l.routesOfServers()
	for _, ref := range slices.SortedFunc(maps.Keys(l.routes), compareRefs) {
		r := l.routes[ref]
		var parents []mesh.Ref
		for server, routes := range routesOf {
			if routes[ref] {
				parents = append(parents, server)
			}
		}
		slices.SortFunc(parents, compareRefs)
		wider := false
		for client := range r.callers {
			seen := slices.DeleteFunc(slices.Clone(parents), func(p mesh.Ref) bool { return r.at[p][client] == nil })
			switch {
			case len(seen) == len(parents):
			case slices.ContainsFunc(seen, func(p mesh.Ref) bool { return !l.usedAll(client, p, routesOf[p]) }):
				wider = true
			default:
				l.moveToServers(r, client, seen)
			}
		}
		if wider {
			names := make([]string, len(parents))
			for i, p := range parents {
				names[i] = p.Name
			}
			l.note("%s %s belongs to Servers %s. Who may call it at one may call it at all.", ref.Kind, ref.Name,
				strings.Join(names, ", "))
		}
	}
}

// routesOfServers returns the routes of every Server that selects a pod.
func (l *learner) routesOfServers() map[mesh.Ref]map[mesh.Ref]bool {
	out := map[mesh.Ref]map[mesh.Ref]bool{}
	for _, pods := range l.world.pods {
		for _, pod := range pods {
			for _, port := range l.world.proxyOf(pod).inbound.Ports {
				for _, route := range port.Routes {
					if out[port.Server] == nil {
						out[port.Server] = map[mesh.Ref]bool{}
					}
					out[port.Server][route.Route.Ref] = true
				}
			}
		}
	}
	return out
}

// usedAll reports whether a client was seen at all routes of a Server.
func (l *learner) usedAll(client mesh.ID, server mesh.Ref, routes map[mesh.Ref]bool) bool {
	for route := range routes {
		if r := l.routes[route]; r == nil || r.at[server][client] == nil {
			return false
		}
	}
	return true
}

// moveToServers allows a client at Servers instead of at a route.
func (l *learner) moveToServers(r *grant, client mesh.ID, servers []mesh.Ref) {
	delete(r.callers, client)
	for _, server := range servers {
		s := l.servers[serverKey{existing: server}]
		if s.callers[client] == nil {
			s.callers[client] = &count{}
		}
		seen := r.at[server][client]
		s.callers[client].requests += seen.requests
		s.callers[client].connections += seen.connections
	}
}
