package learn

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/mesh"
)

// Policies is the result of Learn.
type Policies struct {
	// Documents are the objects to print.
	Documents []Document
	// Notes say which traffic the objects do not allow although it was seen, and what else allows more than they do.
	Notes []string
}

// Learn returns the Servers and policies that allow what was seen in a namespace, and nothing else. It uses Servers
// that exist. It cannot allow clients without identity; the notes say so.
func Learn(w *World, namespace string, t Traffic) Policies {
	l := &learner{world: w, names: newNames(w), servers: map[serverKey]*grant{}, routes: map[mesh.Ref]*grant{},
		requests: map[workloadPort]bool{}}
	l.notes = append(l.notes, t.Notes...)
	for _, o := range slices.Concat(t.Seen, t.Earlier) {
		if !o.Opaque {
			l.requests[workloadPort{o.Workload, o.Port}] = true
		}
	}
	byPort := map[workloadPort][]Observation{}
	for _, o := range t.Seen {
		if o.Allowed && o.Workload.Namespace == namespace {
			at := workloadPort{o.Workload, o.Port}
			byPort[at] = append(byPort[at], o)
		}
	}
	for _, at := range slices.SortedFunc(maps.Keys(byPort), compareWorkloadPorts) {
		l.port(at, byPort[at])
	}
	l.splitRoutes()
	l.noteEarlier(namespace, t)
	l.noteDenied(namespace, t)
	l.print()
	return Policies{l.documents, l.notes}
}

// workloadPort names a port of a workload.
type workloadPort struct {
	workload Workload
	port     uint16
}

func (p workloadPort) String() string { return fmt.Sprintf("%s port %d", p.workload, p.port) }

func compareWorkloadPorts(a, b workloadPort) int {
	return cmp.Or(compareWorkloads(a.workload, b.workload), cmp.Compare(a.port, b.port))
}

// serverKey names a Server: one that exists, or the one to make for a port of a workload.
type serverKey struct {
	existing mesh.Ref
	made     workloadPort
}

// grant says which callers to allow at a Server or at a route.
type grant struct {
	server  serverKey
	route   mesh.Ref
	ports   []workloadPort
	callers map[mesh.ID]*count
	// at holds the callers of a route by the Server at which they were seen.
	at map[mesh.Ref]map[mesh.ID]*count
	// access is the accessPolicy of a Server that exists.
	access mesh.AccessPolicy
	// existing are the authorizations that exist and admit clients here, too.
	existing []mesh.Ref
	// name is the name of the Server.
	name string
}

// count is the traffic of one caller.
type count struct{ requests, connections float64 }

func (c *count) add(o Observation) {
	if o.Opaque {
		c.connections += o.Count
	} else {
		c.requests += o.Count
	}
}

func (c *count) String() string {
	var parts []string
	if c.requests > 0 {
		parts = append(parts, plural(c.requests, "request"))
	}
	if c.connections > 0 {
		parts = append(parts, plural(c.connections, "connection"))
	}
	return strings.Join(parts, ", ")
}

func plural(n float64, what string) string {
	text := number(n) + " " + what
	if number(n) != "1" {
		text += "s"
	}
	return text
}

// learner is one run of Learn.
type learner struct {
	world     *World
	names     *names
	servers   map[serverKey]*grant
	routes    map[mesh.Ref]*grant
	requests  map[workloadPort]bool // where HTTP was seen, allowed or not
	documents []Document
	notes     []string
}

func (l *learner) note(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(l.notes, text) {
		l.notes = append(l.notes, text)
	}
}

// port adds what was seen at one port of a workload.
func (l *learner) port(at workloadPort, seen []Observation) {
	var unknown count
	known := seen[:0:0]
	for _, o := range seen {
		if o.Client.IsZero() {
			unknown.add(o)
		} else {
			known = append(known, o)
		}
	}
	if text := unknown.String(); text != "" {
		l.note("%s: %s without identity: not allowed. A NetworkAuthentication cannot be learned, because metrics do not "+
			"tell addresses. Mesh the callers, or write one.", at, text)
	}
	if len(known) == 0 {
		return
	}
	pods := l.world.pods[at.workload]
	if len(pods) == 0 {
		l.note("%s: nothing is learned, because no pod of it runs.", at)
		return
	}
	for _, o := range known {
		under := l.world.podsOfServer(o, pods)
		if l.differentServers(at, under) {
			l.note("%s: %s of %s: not allowed. Its pods do not all have the same Server, and it is not known which pod "+
				"was called.", at, plural(o.Count, o.unit()), o.Client)
			continue
		}
		key := l.keyOf(at, under[0])
		if key.existing == (mesh.Ref{}) && at.workload.Kind == "pod" {
			l.note("%s: nothing is learned, because no label selects this pod alone. Make a Server for it first.", at)
			continue
		}
		l.observe(l.serverOf(key, at, pods), at, o, pods)
	}
}

// podsOfServer returns the pods about which the Server of an observation decides. It returns all pods if the Server is
// not known or decides about none of them.
func (w *World) podsOfServer(o Observation, pods []*corev1.Pod) []*corev1.Pod {
	var under []*corev1.Pod
	for _, pod := range pods {
		if w.currentServer(pod, o.Port) == o.Server {
			under = append(under, pod)
		}
	}
	if len(under) == 0 {
		return pods
	}
	return under
}

// differentServers reports whether several Servers decide about a port of the pods, or one about some of them only.
func (l *learner) differentServers(at workloadPort, pods []*corev1.Pod) bool {
	return slices.ContainsFunc(pods, func(p *corev1.Pod) bool { return l.keyOf(at, p) != l.keyOf(at, pods[0]) })
}

// keyOf returns the key of the Server that decides about a port of a pod. All pods of a workload without a Server share
// the key of the one to make.
func (l *learner) keyOf(at workloadPort, pod *corev1.Pod) serverKey {
	if server := l.world.proxyOf(pod).inbound.Port(at.port).Server; server != (mesh.Ref{}) {
		return serverKey{existing: server}
	}
	return serverKey{made: at}
}

// serverOf returns the grant of a Server, which decides about the port of some of the pods.
func (l *learner) serverOf(key serverKey, at workloadPort, pods []*corev1.Pod) *grant {
	s := l.servers[key]
	if s == nil {
		s = &grant{server: key, callers: map[mesh.ID]*count{}, access: mesh.Deny}
		l.servers[key] = s
	}
	if slices.Contains(s.ports, at) {
		return s
	}
	s.ports = append(s.ports, at)
	if key.existing == (mesh.Ref{}) {
		return s
	}
	for _, pod := range pods {
		if port := l.world.proxyOf(pod).inbound.Port(at.port); port.Server == key.existing {
			s.access = port.Policy
			s.addExistingOf(port)
		}
	}
	return s
}

// addExistingOf adds the authorizations of a port of a pod about which the Server decides.
func (s *grant) addExistingOf(port mesh.PortPolicy) {
	for _, a := range port.Authorizations {
		s.addExisting(a.Ref)
	}
	for _, r := range port.Routes {
		for _, a := range r.Authorizations {
			s.addExisting(a.Ref)
		}
	}
}

func (s *grant) addExisting(other mesh.Ref) {
	if !slices.Contains(s.existing, other) {
		s.existing = append(s.existing, other)
	}
}

// observe allows an observed caller at a Server, or at the route that its requests matched if the Server has routes.
func (l *learner) observe(s *grant, at workloadPort, o Observation, pods []*corev1.Pod) {
	var routes []mesh.InboundRoute
	var httpOnly bool
	for _, pod := range pods {
		if p := l.world.proxyOf(pod); p.inbound.Port(at.port).Server == s.server.existing {
			routes, httpOnly = p.inbound.Port(at.port).Routes, p.port(at.port).HTTPOnly()
			break
		}
	}
	i := routeIndex(routes, o.Route)
	switch {
	case o.Opaque && httpOnly:
		l.note("%s: %s of %s: not allowed. The port accepts only HTTP.", at,
			plural(o.Count, "connection"), o.Client)
	case o.Opaque || len(routes) == 0:
		s.add(o)
	case i < 0:
		l.note("%s: %s of %s: not allowed. It is not known which of the current routes of Server %s they match.", at,
			plural(o.Count, "request"), o.Client, s.server.existing.Name)
	default:
		r := l.routeOf(routes[i].Route.Ref, at)
		r.add(o)
		r.addAt(s.server.existing, o)
	}
}

// routeIndex returns the index of the route that metrics name, or -1.
func routeIndex(routes []mesh.InboundRoute, named mesh.Ref) int {
	return slices.IndexFunc(routes, func(r mesh.InboundRoute) bool {
		ref := r.Route.Ref
		return ref.Group == named.Group && ref.Kind == named.Kind && ref.Name == named.Name
	})
}

func (l *learner) routeOf(ref mesh.Ref, at workloadPort) *grant {
	r := l.routes[ref]
	if r == nil {
		r = &grant{route: ref, callers: map[mesh.ID]*count{}, at: map[mesh.Ref]map[mesh.ID]*count{}}
		l.routes[ref] = r
	}
	if !slices.Contains(r.ports, at) {
		r.ports = append(r.ports, at)
	}
	return r
}

func (s *grant) add(o Observation) { addTo(s.callers, o) }

func (s *grant) addAt(server mesh.Ref, o Observation) {
	if s.at[server] == nil {
		s.at[server] = map[mesh.ID]*count{}
	}
	addTo(s.at[server], o)
}

func addTo(callers map[mesh.ID]*count, o Observation) {
	if callers[o.Client] == nil {
		callers[o.Client] = &count{}
	}
	callers[o.Client].add(o)
}

// noteEarlier adds notes about clients that the window does not count, so the policies deny them.
func (l *learner) noteEarlier(namespace string, t Traffic) {
	for _, o := range t.Earlier {
		if !o.Allowed || o.Workload.Namespace != namespace || o.Client.IsZero() || l.allows(o) {
			continue
		}
		who := o.Client.String()
		switch {
		case o.Opaque:
			who += ", connections"
		case o.Route.Name != "":
			who += ", " + o.routeName()
		}
		l.note("%s: %s: not allowed. It called before the time window, or only once in it. A longer -t looks further back.",
			workloadPort{o.Workload, o.Port}, who)
	}
}

// allows reports whether the grants allow o at each pod about which its Server decides.
func (l *learner) allows(o Observation) bool {
	at, pods := workloadPort{o.Workload, o.Port}, l.world.podsOfServer(o, l.world.pods[o.Workload])
	for _, pod := range pods {
		port := l.world.proxyOf(pod).inbound.Port(o.Port)
		who := l.servers[l.keyOf(at, pod)]
		if !o.Opaque && len(port.Routes) > 0 {
			i := routeIndex(port.Routes, o.Route)
			if i < 0 {
				return false
			}
			if who.has(o.Client) {
				continue
			}
			who = l.routes[port.Routes[i].Route.Ref]
		}
		if !who.has(o.Client) {
			return false
		}
	}
	return len(pods) > 0
}

func (s *grant) has(client mesh.ID) bool { return s != nil && s.callers[client] != nil }

// noteDenied adds notes about clients that policy denied. They stay denied.
func (l *learner) noteDenied(namespace string, t Traffic) {
	denied := map[workloadPort]*count{}
	for _, o := range t.Seen {
		if !o.Allowed && o.Workload.Namespace == namespace {
			at := workloadPort{o.Workload, o.Port}
			if denied[at] == nil {
				denied[at] = &count{}
			}
			denied[at].add(o)
		}
	}
	for _, at := range slices.SortedFunc(maps.Keys(denied), compareWorkloadPorts) {
		l.note("%s: %s denied by policy in the time window: not allowed.", at, denied[at])
	}
}
