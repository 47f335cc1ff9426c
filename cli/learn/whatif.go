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

// The effects, the worst first. It may be so where the answer depends on the caller's address, or on which route a
// request matches: metrics tell neither.
const (
	Denied     Effect = "denied"
	MayDeny    Effect = "may-be-denied"
	MayAllow   Effect = "may-be-allowed"
	NewAllowed Effect = "allowed"
)

var effects = []Effect{Denied, MayDeny, MayAllow, NewAllowed}

// Change is a caller for whom a change of policy makes a difference.
type Change struct {
	Effect    Effect `json:"effect"`
	Namespace string `json:"namespace"`
	Workload  string `json:"workload"`
	Port      uint16 `json:"port"`
	// Route is the route that the requests matched, as kind/name; "" without.
	Route string `json:"route,omitempty"`
	// Client is a SPIFFE ID; "" for clients without identity.
	Client string `json:"client,omitempty"`
	// Count is how many requests, or connections of those that are not HTTP, were seen in the time window.
	Count  float64 `json:"count"`
	Opaque bool    `json:"opaque,omitempty"`
	Rate   float64 `json:"perSecond"`
	// Earlier says that the window does not count the caller: it called before, or only once. Count is 0.
	Earlier bool `json:"earlier,omitempty"`
	// Reason says why: that of a denial as in metrics, or what allows the caller, or what the answer depends on.
	Reason string `json:"reason"`
}

// Evaluation is what WhatIf found.
type Evaluation struct {
	Changes []Change
	// Callers counts the callers that were looked at: by workload, port, Server, route and identity.
	Callers int
	// Notes say which callers were not looked at.
	Notes []string
	// Partial says that there may be callers that were not looked at.
	Partial bool
}

// CutOff returns how many of the changes deny a caller for certain, and how many may deny one.
func (j Evaluation) CutOff() (certain, possible int) {
	for _, c := range j.Changes {
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

// WhatIf returns the callers that were seen, in the window or earlier, and that after would deny or allow although
// before does not. The pods are those of before.
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
			note := fmt.Sprintf("%s is not evaluated, because no pod of it runs.", place{o.Workload, o.Port})
			if !slices.Contains(out.Notes, note) {
				out.Notes = append(out.Notes, note)
			}
			continue
		}
		out.Callers++
		if !affected[o.Workload] {
			continue
		}
		effect, reason := evaluate(before, after, before.decidedBy(o, pods), o)
		if effect == "" || !o.Allowed && (effect == Denied || effect == MayDeny) {
			continue // what was seen to be denied cannot be cut off
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

// possible is what proxies may decide, where not all is known that they decide by.
type possible struct {
	allow, deny bool
	// by allowed, and reason denied, in the last of them.
	by     mesh.Ref
	reason authz.Reason
}

func (p *possible) add(d authz.Decision) {
	if d.Allow {
		p.allow, p.by = true, d.Authorization
	} else {
		p.deny, p.reason = true, d.Reason
	}
}

func (p *possible) join(q possible) {
	if q.allow {
		p.allow, p.by = true, q.by
	}
	if q.deny {
		p.deny, p.reason = true, q.reason
	}
}

// evaluate returns what becomes of what was seen; the effect is "" if it stays as it is. It asks about every pod, and
// about every address that the caller may have. What policy allowed came from an address that it allows, if it still
// allows one.
func evaluate(before, after *World, pods []*corev1.Pod, o Observation) (Effect, string) {
	type pair struct{ was, will possible }
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
	var was, will possible
	for _, p := range likely {
		was.join(p.was)
		will.join(p.will)
	}
	return compare(was, will, o.Allowed)
}

// compare returns the effect of a change. A caller that was seen to be allowed, and that nothing allows afterwards, is
// denied for certain.
func compare(was, will possible, allowed bool) (Effect, string) {
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

// equalRoutes reports whether requests match the same routes of both lists.
func equalRoutes(a, b []mesh.InboundRoute) bool {
	return slices.EqualFunc(a, b, func(x, y mesh.InboundRoute) bool { return reflect.DeepEqual(x.Route, y.Route) })
}

// decide returns what the proxy may decide. Where the route is not known, because known is false or because the metrics
// name another one, it may be any.
func (p *proxy) decide(peer authz.Peer, o Observation, known bool) (out possible) {
	port := p.port(o.Port)
	routes := p.inbound.Port(o.Port).Routes
	i := routeIndex(routes, o.Route)
	switch {
	case o.Opaque || port.Protocol() == mesh.Opaque:
		out.add(port.Decide(peer))
	case len(routes) == 0:
		out.add(port.DecidePart(peer, authz.Whole))
	case known && i >= 0:
		out.add(port.DecidePart(peer, authz.Part(i)))
	default:
		for i := range routes {
			out.add(port.DecidePart(peer, authz.Part(i)))
		}
		out.add(port.DecidePart(peer, authz.Unmatched))
	}
	return out
}

// addressesOf returns addresses that stand for all that the client may have, as far as the policies of the port tell
// addresses apart. The pods of an identity have theirs.
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
	// Networks nest or are apart. So each part that they divide all addresses into begins where one of them begins, or
	// behind the end of one.
	out := []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
	for _, n := range networks {
		out = append(out, n.Masked().Addr())
		if next := last(n).Next(); next.IsValid() {
			out = append(out, next)
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out)
}

// last returns the last address of a network.
func last(n netip.Prefix) netip.Addr {
	bytes := n.Masked().Addr().AsSlice()
	for bit := n.Bits(); bit < len(bytes)*8; bit++ {
		bytes[bit/8] |= 0x80 >> (bit % 8)
	}
	addr, _ := netip.AddrFromSlice(bytes)
	return addr
}
