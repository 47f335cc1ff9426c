package model

import (
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/tulle-mesh/tulle/controller/compile"
)

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
