package model

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tulle-mesh/tulle/controller/compile"
)

func (s *Store) applyPod(o *corev1.Pod, deleted bool) Change {
	key := compile.NameOf(o)
	change := Change{Pods: []types.NamespacedName{key}}
	old := s.pods[key]
	// A pod's successor of the same name may be seen before its own end.
	if old != nil && deleted && old.UID != o.UID {
		return Change{}
	}
	if old != nil {
		s.forgetPod(old, &change)
	}
	// A pod that has ended keeps its addresses in its status, but they are free for others.
	if !deleted && o.Status.Phase != corev1.PodSucceeded && o.Status.Phase != corev1.PodFailed {
		var prior compile.Settings
		if old != nil && old.UID == o.UID {
			prior = old.Settings
		}
		now := compile.ParsePod(o, s.config.ControlPlaneNamespace, prior)
		s.pods[key] = now
		if !now.HostNetwork {
			for _, ip := range now.IPs {
				link(s.podsByIP, ip, now)
			}
		}
		s.touchPod(now, &change)
		change.report(refOf("Pod", o), newFindings(prior.Findings, now.Settings.Findings))
	}
	s.selectServers(old, s.pods[key])
	change.Addrs = unique(change.Addrs)
	return change
}

func (s *Store) forgetPod(old *compile.Pod, change *Change) {
	delete(s.pods, old.NamespacedName)
	for _, ip := range old.IPs {
		unlink(s.podsByIP, ip, old)
	}
	s.touchPod(old, change)
}

func (s *Store) touchPod(p *compile.Pod, change *Change) {
	for _, ip := range p.IPs {
		change.Addrs = append(change.Addrs, ip)
		change.Addrs = append(change.Addrs, s.servicesAt(ip)...)
	}
}

// podAt returns the pod that has addr: the youngest, because an address is given again as soon as its pod has ended,
// and the end of the former may be seen late. Pods of the host network do not own their address.
func (s *Store) podAt(addr netip.Addr) *compile.Pod {
	pods := s.podsByIP[addr]
	if len(pods) == 0 {
		return nil
	}
	return slices.MaxFunc(pods, func(a, b *compile.Pod) int { return a.Created.Compare(b.Created) })
}
