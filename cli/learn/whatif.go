package learn

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/authz"
)

// Effect is what a change of policy does to a caller.
type Effect string

// The effects, the worst first. An effect is uncertain if it depends on the caller's address, or on which route a
// request matches: metrics show neither.
const (
	Denied     Effect = "denied"
	MayDeny    Effect = "may-be-denied"
	MayAllow   Effect = "may-be-allowed"
	NewAllowed Effect = "allowed"
)

var effects = []Effect{Denied, MayDeny, MayAllow, NewAllowed}

// Change is the effect of a change of policy on one caller of one port.
type Change struct {
	Effect    Effect `json:"effect"`
	Namespace string `json:"namespace"`
	Workload  string `json:"workload"`
	Port      uint16 `json:"port"`
	// Route is the route that the requests matched, as kind/name; "" without.
	Route string `json:"route,omitempty"`
	// Client is a SPIFFE ID; "" for clients without identity.
	Client string `json:"client,omitempty"`
	// Count is how many requests were seen in the time window, or connections if Opaque. Rate is the count per second.
	Count  float64 `json:"count"`
	Opaque bool    `json:"opaque,omitempty"`
	Rate   float64 `json:"perSecond"`
	// Earlier means that the caller called before the time window, or only once in it. Count is 0 then.
	Earlier bool `json:"earlier,omitempty"`
	// Reason is the reason of a denial as in metrics, or the object that allows the caller, or what the effect depends on.
	Reason string `json:"reason"`
}

// Evaluation is what WhatIf found.
type Evaluation struct {
	Changes []Change
	// Callers counts the callers that were evaluated, one for each workload, port, Server, route and identity.
	Callers int
	// Notes say which callers were not evaluated.
	Notes []string
	// Partial means that there may be callers that were not evaluated.
	Partial bool
}

// CutOff returns how many of the changes deny a caller for certain, and how many may deny one.
func (e Evaluation) CutOff() (certain, possible int) {
	for _, c := range e.Changes {
		switch c.Effect {
		case Denied:
			certain++
		case MayDeny:
			possible++
		}
	}
	return certain, possible
}

// Affected returns the namespaces of the running pods whose proxies would receive another policy.
func Affected(before, after *World) []string {
	found := map[string]bool{}
	for workload, pods := range before.pods {
		if slices.ContainsFunc(pods, func(p *corev1.Pod) bool { return differs(before, after, p) }) {
			found[workload.Namespace] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

func differs(before, after *World, pod *corev1.Pod) bool {
	return !before.proxyOf(pod).inbound.Equal(after.proxyOf(pod).inbound)
}

// WhatIf returns the callers, seen in the window or earlier, about which before and after decide differently. It
// evaluates the pods of before. seconds is the length of the window.
func WhatIf(before, after *World, t Traffic, seconds float64) Evaluation {
	out := Evaluation{Changes: []Change{}, Notes: slices.Clone(t.Notes)}
	sums := map[Change]float64{}
	affected := map[Workload]bool{}
	for workload, pods := range before.pods {
		affected[workload] = slices.ContainsFunc(pods, func(p *corev1.Pod) bool { return differs(before, after, p) })
	}
	for i, o := range slices.Concat(t.Seen, t.Earlier) {
		pods := before.pods[o.Workload]
		if len(pods) == 0 {
			note := fmt.Sprintf("%s is not evaluated, because no pod of it runs.", workloadPort{o.Workload, o.Port})
			if !slices.Contains(out.Notes, note) {
				out.Notes = append(out.Notes, note)
			}
			continue
		}
		out.Callers++
		if !affected[o.Workload] {
			continue
		}
		effect, reason := evaluate(before, after, before.podsOfServer(o, pods), o)
		if effect == "" || !o.Allowed && (effect == Denied || effect == MayDeny) {
			continue // a caller that is denied already cannot be cut off
		}
		c := Change{Effect: effect, Namespace: o.Workload.Namespace, Workload: o.Workload.String(), Port: o.Port,
			Client: o.Client.String(), Opaque: o.Opaque, Reason: reason, Earlier: i >= len(t.Seen),
			Route: o.routeName()}
		sums[c] += o.Count
	}
	for c, count := range sums {
		c.Count, c.Rate = count, count/seconds
		out.Changes = append(out.Changes, c)
	}
	slices.SortFunc(out.Changes, compareChanges)
	out.Partial = t.Partial || len(out.Notes) > 0
	return out
}

func compareChanges(a, b Change) int {
	return cmp.Or(slices.Index(effects, a.Effect)-slices.Index(effects, b.Effect),
		strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Workload, b.Workload), cmp.Compare(a.Port, b.Port),
		strings.Compare(a.Route, b.Route),
		strings.Compare(a.Client, b.Client), strings.Compare(a.Reason, b.Reason),
		cmp.Compare(fmt.Sprint(a.Opaque, a.Earlier), fmt.Sprint(b.Opaque, b.Earlier)))
}

// decisions is the set of decisions that are possible, where not all inputs of a decision are known.
type decisions struct {
	allow, deny bool
	// by is what allowed, and reason why it was denied, in the last such decision.
	by     mesh.Ref
	reason authz.Reason
}

func (p *decisions) add(d authz.Decision) {
	if d.Allow {
		p.allow, p.by = true, d.Authorization
	} else {
		p.deny, p.reason = true, d.Reason
	}
}

func (p *decisions) merge(q decisions) {
	if q.allow {
		p.allow, p.by = true, q.by
	}
	if q.deny {
		p.deny, p.reason = true, q.reason
	}
}

// evaluate returns the effect on one caller; "" if nothing changes. It asks about each pod, and about each address that
// the caller may have. It prefers the addresses about which before decides as was observed.
func evaluate(before, after *World, pods []*corev1.Pod, o Observation) (Effect, string) {
	type pair struct{ was, will decisions }
	var all, likely []pair
	for _, pod := range pods {
		x, y := before.proxyOf(pod), after.proxyOf(pod)
		sameRoutes := equalRoutes(x.inbound.Port(o.Port).Routes, y.inbound.Port(o.Port).Routes)
		for _, addr := range before.addressesOf(o.Client, o.Port, x.inbound, y.inbound) {
			peer := authz.Peer{ID: o.Client, Addr: addr}
			p := pair{x.decide(peer, o, true), y.decide(peer, o, sameRoutes)}
			all = append(all, p)
			if p.was.allow == o.Allowed && p.was.deny != o.Allowed {
				likely = append(likely, p)
			}
		}
	}
	if len(likely) == 0 {
		likely = all
	}
	var was, will decisions
	for _, p := range likely {
		was.merge(p.was)
		will.merge(p.will)
	}
	return effectOf(was, will, o.Allowed)
}

// effectOf compares the possible decisions before and after a change. A caller that was observed to be allowed, and
// that nothing allows afterwards, is certainly denied.
func effectOf(was, will decisions, allowed bool) (Effect, string) {
	const unsure = "depends on the client's address, or on the route that its requests match"
	switch sure := !(was.allow && was.deny); {
	case was.allow && !will.allow && (sure || allowed):
		return Denied, string(will.reason)
	case was.deny && !will.deny && sure:
		return NewAllowed, allowedBy(will.by)
	case was.allow && !will.allow, was.allow && will.deny && sure:
		return MayDeny, unsure
	case was.deny && !will.deny, was.deny && will.allow && sure:
		return MayAllow, unsure
	}
	return "", ""
}

func allowedBy(ref mesh.Ref) string {
	if ref.Kind == "default" {
		return "accessPolicy " + ref.Name
	}
	return ref.Kind + "/" + ref.Name
}

// equalRoutes reports whether each request matches the same route of both lists.
func equalRoutes(a, b []mesh.InboundRoute) bool {
	return slices.EqualFunc(a, b, func(x, y mesh.InboundRoute) bool { return reflect.DeepEqual(x.Route, y.Route) })
}

// decide returns what the proxy may decide. If routeKnown is false, or the port does not have the observed route, it
// considers all routes.
func (p *proxy) decide(peer authz.Peer, o Observation, routeKnown bool) (out decisions) {
	port := p.port(o.Port)
	routes := p.inbound.Port(o.Port).Routes
	i := routeIndex(routes, o.Route)
	switch {
	case o.Opaque || port.Protocol() == mesh.Opaque:
		out.add(port.Decide(peer))
	case len(routes) == 0:
		out.add(port.DecidePart(peer, authz.Whole))
	case routeKnown && i >= 0:
		out.add(port.DecidePart(peer, authz.Part(i)))
	default:
		for i := range routes {
			out.add(port.DecidePart(peer, authz.Part(i)))
		}
		out.add(port.DecidePart(peer, authz.Unmatched))
	}
	return out
}

// addressesOf returns one address for each set of client addresses that the policies of the port treat alike. For an
// identity with pods, these are the addresses of its pods.
func (w *World) addressesOf(id mesh.ID, port uint16, policies ...*mesh.Inbound) []netip.Addr {
	var networks []netip.Prefix
	for _, in := range policies {
		p := in.Port(port)
		lists := [][]mesh.Authorization{p.Authorizations}
		for _, r := range p.Routes {
			lists = append(lists, r.Authorizations)
		}
		for _, a := range slices.Concat(lists...) {
			for _, n := range a.Networks {
				networks = append(append(networks, n.Net), n.Except...)
			}
		}
		if p.Policy == mesh.ClusterAuthenticated || p.Policy == mesh.ClusterUnauthenticated {
			networks = append(networks, in.ClusterNetworks...)
		}
	}
	if len(networks) == 0 {
		return []netip.Addr{{}}
	}
	if ips := w.addresses[id]; len(ips) > 0 {
		return ips
	}
	// Two networks are nested or disjoint. So each of the ranges into which they divide all addresses begins at the start
	// of a network, or just after the end of one.
	out := []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
	for _, n := range networks {
		out = append(out, n.Masked().Addr())
		if next := lastAddr(n).Next(); next.IsValid() {
			out = append(out, next)
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out)
}

// lastAddr returns the last address of a network.
func lastAddr(n netip.Prefix) netip.Addr {
	bytes := n.Masked().Addr().AsSlice()
	for bit := n.Bits(); bit < len(bytes)*8; bit++ {
		bytes[bit/8] |= 0x80 >> (bit % 8)
	}
	addr, _ := netip.AddrFromSlice(bytes)
	return addr
}
