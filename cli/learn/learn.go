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

// Policies are what Learn found: the objects to print, and what to tell the user.
type Policies struct {
	Documents []Document
	// Notes are about what the objects do not allow although it was seen, and about what admits more than they do.
	Notes []string
}

// Learn returns the Servers and policies that allow what was seen in a namespace, and nothing else. It uses Servers
// that exist. It cannot allow clients without identity; the notes say so.
func Learn(w *World, namespace string, t Traffic) Policies {
	l := &learning{world: w, names: newNames(w), servers: map[serverKey]*learned{}, routes: map[mesh.Ref]*learned{},
		requests: map[place]bool{}}
	l.notes = append(l.notes, t.Notes...)
	for _, o := range slices.Concat(t.Seen, t.Earlier) {
		if !o.Opaque {
			l.requests[place{o.Workload, o.Port}] = true
		}
	}
	byPort := map[place][]Observation{}
	for _, o := range t.Seen {
		if o.Allowed && o.Workload.Namespace == namespace {
			at := place{o.Workload, o.Port}
			byPort[at] = append(byPort[at], o)
		}
	}
	for _, at := range slices.SortedFunc(maps.Keys(byPort), comparePlaces) {
		l.port(at, byPort[at])
	}
	l.splitRoutes()
	l.noteEarlier(namespace, t)
	l.noteDenied(namespace, t)
	l.print()
	return Policies{l.documents, l.notes}
}

// place is a port of a workload.
type place struct {
	workload Workload
	port     uint16
}

func (p place) String() string { return fmt.Sprintf("%s port %d", p.workload, p.port) }

func comparePlaces(a, b place) int {
	return cmp.Or(compareWorkloads(a.workload, b.workload), cmp.Compare(a.port, b.port))
}

// serverKey names a Server: one that exists, or the one to be made of a place.
type serverKey struct {
	existing mesh.Ref
	made     place
}

// learned is who is to be allowed at a Server or at a route.
type learned struct {
	server  serverKey
	route   mesh.Ref
	places  []place
	callers map[mesh.ID]*count
	// at has the callers of a route by the Servers at which they were seen.
	at map[mesh.Ref]map[mesh.ID]*count
	// access is the policy of a Server that exists, for those whom nothing else allows.
	access mesh.AccessPolicy
	// others are the authorizations that exist and admit clients here, too.
	others []mesh.Ref
	// name is that of the Server.
	name string
}

// count is how much one caller did.
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

// learning is one run of Learn.
type learning struct {
	world     *World
	names     *names
	servers   map[serverKey]*learned
	routes    map[mesh.Ref]*learned
	requests  map[place]bool // where HTTP was seen, allowed or not
	documents []Document
	notes     []string
}

func (l *learning) note(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(l.notes, text) {
		l.notes = append(l.notes, text)
	}
}

// port learns from what was seen at one port of a workload.
func (l *learning) port(at place, seen []Observation) {
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
		under := l.world.decidedBy(o, pods)
		if l.apart(at, under) {
			l.note("%s: %s of %s: not allowed. Not all pods of it have the same Server, and it is not known which of them "+
				"was called.", at, plural(o.Count, o.what()), o.Client)
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

// decidedBy returns the pods about which the Server of an observation decides. These are all pods if the Server is not
// known, or decides about none of them.
func (w *World) decidedBy(o Observation, pods []*corev1.Pod) []*corev1.Pod {
	var under []*corev1.Pod
	for _, pod := range pods {
		if w.serverNow(pod, o.Port) == o.Server {
			under = append(under, pod)
		}
	}
	if len(under) == 0 {
		return pods
	}
	return under
}

// apart reports whether several Servers decide about a port of the pods, or one about some of them only.
func (l *learning) apart(at place, pods []*corev1.Pod) bool {
	return slices.ContainsFunc(pods, func(p *corev1.Pod) bool { return l.keyOf(at, p) != l.keyOf(at, pods[0]) })
}

// keyOf returns the Server that decides about a port of a pod. One that is to be made stands for all pods of the
// workload that have none.
func (l *learning) keyOf(at place, pod *corev1.Pod) serverKey {
	if server := l.world.proxyOf(pod).inbound.Port(at.port).Server; server != (mesh.Ref{}) {
		return serverKey{existing: server}
	}
	return serverKey{made: at}
}

// serverOf returns what is learned about the Server, which decides about the port of some of the pods.
func (l *learning) serverOf(key serverKey, at place, pods []*corev1.Pod) *learned {
	s := l.servers[key]
	if s == nil {
		s = &learned{server: key, callers: map[mesh.ID]*count{}, access: mesh.Deny}
		l.servers[key] = s
	}
	if slices.Contains(s.places, at) {
		return s
	}
	s.places = append(s.places, at)
	if key.existing == (mesh.Ref{}) {
		return s
	}
	for _, pod := range pods {
		if port := l.world.proxyOf(pod).inbound.Port(at.port); port.Server == key.existing {
			s.access = port.Policy
			s.admitsAllOf(port)
		}
	}
	return s
}

// admitsAllOf notes the authorizations of a port of a pod that the Server decides about.
func (s *learned) admitsAllOf(port mesh.PortPolicy) {
	for _, a := range port.Authorizations {
		s.admits(a.Ref)
	}
	for _, r := range port.Routes {
		for _, a := range r.Authorizations {
			s.admits(a.Ref)
		}
	}
}

func (s *learned) admits(other mesh.Ref) {
	if !slices.Contains(s.others, other) {
		s.others = append(s.others, other)
	}
}

// observe allows what was seen at a Server of the port: at the route that the requests matched, if the Server has
// routes.
func (l *learning) observe(s *learned, at place, o Observation, pods []*corev1.Pod) {
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
		s.caller(o)
	case i < 0:
		l.note("%s: %s of %s: not allowed. It is not known which of the routes that Server %s has now they match.", at,
			plural(o.Count, "request"), o.Client, s.server.existing.Name)
	default:
		r := l.routeOf(routes[i].Route.Ref, at)
		r.caller(o)
		r.callerAt(s.server.existing, o)
	}
}

// routeIndex returns the index of the route that metrics name, or -1.
func routeIndex(routes []mesh.InboundRoute, named mesh.Ref) int {
	return slices.IndexFunc(routes, func(r mesh.InboundRoute) bool {
		ref := r.Route.Ref
		return ref.Group == named.Group && ref.Kind == named.Kind && ref.Name == named.Name
	})
}

func (l *learning) routeOf(ref mesh.Ref, at place) *learned {
	r := l.routes[ref]
	if r == nil {
		r = &learned{route: ref, callers: map[mesh.ID]*count{}, at: map[mesh.Ref]map[mesh.ID]*count{}}
		l.routes[ref] = r
	}
	if !slices.Contains(r.places, at) {
		r.places = append(r.places, at)
	}
	return r
}

func (s *learned) caller(o Observation) { addTo(s.callers, o) }

func (s *learned) callerAt(server mesh.Ref, o Observation) {
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

// noteEarlier names clients that the window does not count, and that the policies therefore deny.
func (l *learning) noteEarlier(namespace string, t Traffic) {
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
		l.note("%s: %s: not allowed. It called before the time window, or only once in it. -t looks further back.",
			place{o.Workload, o.Port}, who)
	}
}

// allows reports whether what was learned allows o at each pod about which its Server decides.
func (l *learning) allows(o Observation) bool {
	at, pods := place{o.Workload, o.Port}, l.world.decidedBy(o, l.world.pods[o.Workload])
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

func (s *learned) has(client mesh.ID) bool { return s != nil && s.callers[client] != nil }

// noteDenied names clients that policy denied: they stay denied.
func (l *learning) noteDenied(namespace string, t Traffic) {
	denied := map[place]*count{}
	for _, o := range t.Seen {
		if !o.Allowed && o.Workload.Namespace == namespace {
			at := place{o.Workload, o.Port}
			if denied[at] == nil {
				denied[at] = &count{}
			}
			denied[at].add(o)
		}
	}
	for _, at := range slices.SortedFunc(maps.Keys(denied), comparePlaces) {
		l.note("%s: %s denied by policy in the time window: not allowed.", at, denied[at])
	}
}
