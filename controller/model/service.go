package model

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/tulle-mesh/tulle/controller/compile"
)

func (s *Store) applyService(o *corev1.Service, e Event) Change {
	key := compile.NameOf(o)
	old := s.services[key]
	var change Change
	if old != nil {
		s.forgetService(old, &change)
	}
	if !e.Deleted {
		var prior compile.Service
		if old != nil {
			prior = *old
		}
		now := compile.ParseService(o, e.At, &prior)
		s.services[key] = now
		for _, ip := range now.ClusterIPs {
			s.serviceByIP[ip] = now
		}
		s.touchService(now, &change)
		change.report(refOf("Service", o), append(newFindings(prior.Settings.Findings, now.Settings.Findings),
			newFindings(prior.Requests.Findings, now.Requests.Findings)...))
	}
	s.touchRouting(key, &change)
	change.Addrs = unique(change.Addrs)
	return change
}

func (s *Store) forgetService(old *compile.Service, change *Change) {
	delete(s.services, old.NamespacedName)
	for _, ip := range old.ClusterIPs {
		// Another Service may have been given the address before this one's end was seen.
		if s.serviceByIP[ip] == old {
			delete(s.serviceByIP, ip)
		}
	}
	s.touchService(old, change)
}

// touchService adds the addresses whose answers depend on svc: its own, and for a headless Service those of its
// endpoints.
func (s *Store) touchService(svc *compile.Service, change *Change) {
	change.Addrs = append(change.Addrs, svc.ClusterIPs...)
	if !svc.Headless {
		return
	}
	for _, sl := range s.slicesByService[svc.NamespacedName] {
		change.Addrs = append(change.Addrs, sl.Addrs()...)
	}
}

func (s *Store) applySlice(o *discoveryv1.EndpointSlice, deleted bool) Change {
	key := compile.NameOf(o)
	var change Change
	if old := s.slices[key]; old != nil {
		delete(s.slices, key)
		unlink(s.slicesByService, old.Service, old)
		for i := range old.Endpoints {
			unlink(s.slicesByIP, old.Endpoints[i].Addr, old)
		}
		s.touchSlice(old, &change)
	}
	if !deleted {
		now := compile.ParseEndpointSlice(o)
		s.slices[key] = now
		link(s.slicesByService, now.Service, now)
		for i := range now.Endpoints {
			link(s.slicesByIP, now.Endpoints[i].Addr, now)
		}
		s.touchSlice(now, &change)
	}
	change.Addrs = unique(change.Addrs)
	return change
}

func (s *Store) touchSlice(sl *compile.EndpointSlice, change *Change) {
	svc := s.services[sl.Service]
	if svc == nil {
		return
	}
	change.Addrs = append(change.Addrs, svc.ClusterIPs...)
	change.Addrs = append(change.Addrs, s.senderAddrs(svc.NamespacedName)...)
	if svc.Headless {
		change.Addrs = append(change.Addrs, sl.Addrs()...)
	}
}
