package model

import (
	corev1 "k8s.io/api/core/v1"

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
