package model

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tulle-mesh/tulle/controller/compile"
	"github.com/tulle-mesh/tulle/crds/v1alpha1"
	"github.com/tulle-mesh/tulle/mesh"
)

// server is the record of a Server.
type server struct {
	lastValid[compile.Server]
	labels labels.Set // by which ServerAuthorizations select
}

func (s *Store) applyServer(o *v1alpha1.Server, e Event) Change {
	a := &s.access
	n := compile.NameOf(o)
	old := a.servers[n]
	var change Change
	if old != nil {
		delete(a.servers, n)
		unlink(a.serversIn, n.Namespace, old)
	}
	var now *server
	if !e.Deleted {
		now = &server{labels: o.Labels}
		spec, f := compile.ParseServer(o)
		f.IgnoreUnknownFields(e.Unknown)
		var before *lastValid[compile.Server]
		if old != nil {
			before = &old.lastValid
		}
		now.lastValid = withLastValid(ObjectRef{Group: v1alpha1.PolicyGroup, Kind: "Server"}, o, spec, f, before)
		change.report(now.object, now.newProblems(before))
		a.servers[n] = now
		link(a.serversIn, n.Namespace, now)
	}
	s.updateDuplicates(old, now)
	s.reselect(n, old, now, &change)
	s.refreshServer(n, &change)
	if (old == nil) != (now == nil) || old != nil && old.spec.Protocol != now.spec.Protocol {
		s.touchReferrers(n)
	}
	s.outcomes.touch(keyOf(compile.ServerRef(n)))
	change.Addrs = unique(change.Addrs)
	return change
}

// reselect brings the pods that old or now select up to date. Either may be nil.
func (s *Store) reselect(n types.NamespacedName, old, now *server, change *Change) {
	for p := range s.access.podsIn[n.Namespace] {
		was, is := old.selects(p), now.selects(p)
		if !was && !is {
			continue
		}
		before := s.access.serversOf[p.NamespacedName]
		after := slices.DeleteFunc(slices.Clone(before), func(x *server) bool { return x == old })
		if is {
			after = append(after, now)
		}
		s.setServers(p, after)
		change.Pods = append(change.Pods, types.NamespacedName{Namespace: p.Namespace, Name: p.Name})
		if declares(before) || declares(after) {
			s.touchPod(p, change)
		}
	}
}

// declares reports whether one of the Servers says what the bytes of its port are, which clients' proxies want to know
// too.
func declares(list []*server) bool {
	return slices.ContainsFunc(list, func(sv *server) bool { return sv.spec.Protocol != mesh.Detect })
}

// setServers records which Servers select p: the ones that win an overlap first.
func (s *Store) setServers(p *compile.Pod, list []*server) {
	slices.SortFunc(list, func(x, y *server) int { return older(&x.lastValid, &y.lastValid) })
	for _, o := range overlapsOf(p, s.access.serversOf[p.NamespacedName]) {
		s.countOverlap(o, -1)
	}
	for _, o := range overlapsOf(p, list) {
		s.countOverlap(o, +1)
	}
	if len(list) == 0 {
		delete(s.access.serversOf, p.NamespacedName)
		return
	}
	s.access.serversOf[p.NamespacedName] = list
}

// selectServers makes p the pod of its name; it may be nil, if there is none any more.
func (s *Store) selectServers(old, p *compile.Pod) {
	if old != nil {
		s.setServers(old, nil)
		delete(s.access.podsIn[old.Namespace], old)
		if len(s.access.podsIn[old.Namespace]) == 0 {
			delete(s.access.podsIn, old.Namespace)
		}
	}
	if p == nil {
		return
	}
	if s.access.podsIn[p.Namespace] == nil {
		s.access.podsIn[p.Namespace] = map[*compile.Pod]struct{}{}
	}
	s.access.podsIn[p.Namespace][p] = struct{}{}
	var list []*server
	for _, sv := range s.access.serversIn[p.Namespace] {
		if sv.selects(p) {
			list = append(list, sv)
		}
	}
	s.setServers(p, list)
}

// selects reports whether sv, which may be nil, is about p.
func (sv *server) selects(p *compile.Pod) bool {
	return sv != nil && sv.valid() && sv.spec.Selector != nil && sv.spec.Selector.Matches(p.Labels)
}

// portsOf returns which ports of p the Server is about: a name may be that of ports of several containers, or of none.
func (sv *server) portsOf(p *compile.Pod) []uint16 {
	if sv.spec.Port != 0 {
		return []uint16{sv.spec.Port}
	}
	return p.PortsNamed(sv.spec.PortName)
}

// serverProtocolAt returns what the Server that decides about a port of p says of its bytes; Detect if it, or no
// Server, says nothing.
func (s *Store) serverProtocolAt(p *compile.Pod, port uint16) mesh.Protocol {
	for _, sv := range s.access.serversOf[p.NamespacedName] {
		if slices.Contains(sv.portsOf(p), port) {
			return sv.spec.Protocol
		}
	}
	return mesh.Detect
}

// overlap is a Server that another one keeps from a port.
type overlap struct{ loser, winner types.NamespacedName }

// overlapsOf returns the overlaps among the Servers that select p, those that win first.
func overlapsOf(p *compile.Pod, list []*server) []overlap {
	if len(list) < 2 {
		return nil
	}
	var out []overlap
	taken := map[uint16]*server{}
	for _, sv := range list {
		for _, port := range sv.portsOf(p) {
			switch winner := taken[port]; winner {
			case nil:
				taken[port] = sv
			case sv:
			default:
				out = append(out, overlap{loser: sv.key(), winner: winner.key()})
			}
		}
	}
	return out
}

// countOverlap keeps, for the status, how many ports of pods a Server loses to another.
func (s *Store) countOverlap(o overlap, by int) {
	counts := s.access.overlaps[o.loser]
	if counts == nil {
		counts = map[types.NamespacedName]int{}
		s.access.overlaps[o.loser] = counts
	}
	before := counts[o.winner]
	if counts[o.winner] += by; counts[o.winner] == 0 {
		delete(counts, o.winner)
	}
	if len(counts) == 0 {
		delete(s.access.overlaps, o.loser)
	}
	if (before == 0) != (before+by == 0) {
		s.outcomes.touch(keyOf(compile.ServerRef(o.loser)))
	}
}

func (s *Store) serverOutcome(sv *server) Outcome {
	var result Result
	if winners := s.supersededBy(sv); len(winners) > 0 {
		result.reject(ReasonConflicted, "older Servers select the same port of the same pods and take precedence: %s",
			strings.Join(winners, ", "))
	}
	if text := s.excessOf(sv); text != "" {
		result.ignore(reasonUnsupported, "", text)
	}
	return sv.outcome(result)
}
