package explain

import (
	"errors"
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/controller/model"
	"github.com/tulle-mesh/tulle/mesh"
)

// Outbound returns what proxies receive about the address of an authority.
func (m *Model) Outbound(authority string) (*mesh.Outbound, error) {
	svc, port, err := m.service(authority)
	if err != nil {
		return nil, err
	}
	addr, err := netip.ParseAddr(svc.Spec.ClusterIP)
	if svc.Spec.ClusterIP == corev1.ClusterIPNone || err != nil {
		return nil, errors.New("the Service has no address of its own, so proxies ask about each of its pods")
	}
	q := model.QueryFor(m.store, m.snapshot, mesh.Target{Addr: netip.AddrPortFrom(addr, port)}, m.client)
	out := model.Resolve(m.store, m.snapshot, q).Outbound
	if out.Kind == mesh.UndefinedPort {
		return nil, fmt.Errorf("Service %s.%s has no port %d; proxies refuse it", svc.Name, svc.Namespace, port)
	}
	return out, nil
}

// Inbound returns what the pod's proxy receives about the pod.
func (m *Model) Inbound(pod *corev1.Pod) *mesh.Inbound {
	q := model.QueryFor(m.store, m.snapshot, mesh.Target{}, mesh.Client{Namespace: pod.Namespace, Pod: pod.Name})
	return model.Resolve(m.store, m.snapshot, q).Inbound
}
