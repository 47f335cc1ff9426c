package explain

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

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

// ServiceRoute is a route of a port of a Service, and the authority under which clients call the port.
type ServiceRoute struct {
	Authority, Name string
	// Backends are the Services that requests of the route go to.
	Backends []mesh.ServiceRef
}

// Routes returns the routes of a Service: of its ServiceProfile, or its HTTPRoutes or GRPCRoutes.
func (m *Model) Routes(namespace, service string) (routes []ServiceRoute) {
	for _, out := range m.Ports(namespace, service) {
		for _, r := range out.Routes {
			routes = append(routes, ServiceRoute{out.Authority, r.Ref.Name, backendsOf(r, out.Service)})
		}
		if out.Profile != nil {
			backends := receiving(out.Profile.Overrides, out.Service)
			for _, r := range out.Profile.Routes {
				routes = append(routes, ServiceRoute{out.Authority, r.Name, backends})
			}
		}
	}
	return routes
}

// Ports returns what proxies receive about each port of a Service; none for a Service without an address of its own.
func (m *Model) Ports(namespace, service string) (ports []*mesh.Outbound) {
	svc, _, err := m.service(service + "." + namespace)
	if err != nil {
		return nil
	}
	for _, port := range svc.Spec.Ports {
		out, err := m.Outbound(net.JoinHostPort(service+"."+namespace, strconv.Itoa(int(port.Port))))
		if err == nil {
			ports = append(ports, out)
		}
	}
	return ports
}

// backendsOf returns the Services that requests of a route go to, where clients call service.
func backendsOf(r mesh.Route, service mesh.ServiceRef) (backends []mesh.ServiceRef) {
	for _, rule := range r.Rules {
		backends = append(backends, receiving(rule.Backends, service)...)
	}
	return backends
}

// receiving returns the Services of the backends that get requests; without backends, all go to service.
func receiving(backends []mesh.WeightedBackend, service mesh.ServiceRef) (services []mesh.ServiceRef) {
	if len(backends) == 0 {
		return []mesh.ServiceRef{service}
	}
	for _, b := range backends {
		if b.Weight > 0 && b.Invalid == "" {
			services = append(services, b.Service)
		}
	}
	return services
}
