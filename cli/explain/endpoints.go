package explain

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/tulle-mesh/tulle/controller/model"
	"github.com/tulle-mesh/tulle/mesh"
)

// Endpoint is one endpoint as it is printed. The first keys of the JSON are Linkerd's.
type Endpoint struct {
	Namespace string `json:"namespace"`
	IP        string `json:"ip"`
	Port      uint16 `json:"port"`
	Pod       string `json:"pod"`
	Service   string `json:"service"`
	Weight    uint32 `json:"weight"`
	Protocol  string `json:"protocol"`
	Identity  string `json:"identity,omitempty"`
	Zone      string `json:"zone,omitempty"`
	Local     bool   `json:"local,omitempty"`
}

// Endpoints returns the endpoints of an authority. A headless Service has no address of its own: its clients connect to
// its pods, so each of these is asked about.
func (m *Model) Endpoints(authority string) ([]Endpoint, error) {
	svc, port, err := m.service(authority)
	if err != nil {
		return nil, err
	}
	name := svc.Name + "." + svc.Namespace
	if svc.Spec.Type == corev1.ServiceTypeExternalName {
		return nil, fmt.Errorf("the Service leads to %s, outside of the cluster; proxies forward it as it is",
			svc.Spec.ExternalName)
	}
	var targets []netip.AddrPort
	if svc.Spec.ClusterIP == corev1.ClusterIPNone {
		targets = m.headless(svc, port)
	} else {
		addr, err := netip.ParseAddr(svc.Spec.ClusterIP)
		if err != nil {
			return nil, fmt.Errorf("the Service has no address: %w", err)
		}
		targets = []netip.AddrPort{netip.AddrPortFrom(addr, port)}
	}
	var rows []Endpoint
	for _, target := range targets {
		q := model.QueryFor(m.store, m.snapshot, mesh.Target{Addr: target}, m.client)
		out := model.Resolve(m.store, m.snapshot, q).Outbound
		if out == nil {
			continue
		}
		if out.Kind == mesh.UndefinedPort {
			return nil, fmt.Errorf("Service %s has no port %d; proxies refuse it", name, port)
		}
		for _, e := range out.Endpoints {
			rows = append(rows, newEndpointRow(e, name))
		}
	}
	return rows, nil
}

func newEndpointRow(e mesh.Endpoint, service string) Endpoint {
	return Endpoint{
		Namespace: e.Pod.Namespace, IP: e.Addr.Addr().String(), Port: e.Addr.Port(), Pod: e.Pod.Name, Service: service,
		Weight: max(e.Weight, 1), Protocol: e.Protocol.String(), Identity: e.Identity.String(), Zone: e.Zone, Local: e.Local,
	}
}

// service finds the Service of name.namespace[.svc[.<cluster-domain>]][:port]; without a port the Service's only or
// first one counts.
func (m *Model) service(authority string) (*corev1.Service, uint16, error) {
	host, portText, err := net.SplitHostPort(authority)
	if err != nil {
		host, portText = authority, ""
	}
	host = strings.TrimSuffix(strings.TrimSuffix(host, "."), "."+m.domain)
	parts := strings.Split(strings.TrimSuffix(host, ".svc"), ".")
	if len(parts) != 2 {
		return nil, 0, fmt.Errorf("want name.namespace.svc.%s:port", m.domain)
	}
	i := slices.IndexFunc(m.services, func(s corev1.Service) bool { return s.Name == parts[0] && s.Namespace == parts[1] })
	if i < 0 {
		return nil, 0, fmt.Errorf("there is no Service %s in namespace %s", parts[0], parts[1])
	}
	svc := &m.services[i]
	if portText == "" && len(svc.Spec.Ports) > 0 {
		return svc, uint16(svc.Spec.Ports[0].Port), nil
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, 0, fmt.Errorf("port %q: want 1 to 65535", portText)
	}
	return svc, uint16(port), nil
}

// headless returns the pod addresses behind a headless Service's port.
func (m *Model) headless(svc *corev1.Service, port uint16) []netip.AddrPort {
	i := slices.IndexFunc(svc.Spec.Ports, func(p corev1.ServicePort) bool { return uint16(p.Port) == port })
	if i < 0 {
		return nil
	}
	var targets []netip.AddrPort
	for _, slice := range m.slices {
		if slice.Namespace != svc.Namespace || slice.Labels[discoveryv1.LabelServiceName] != svc.Name {
			continue
		}
		for _, p := range slice.Ports {
			if p.Port == nil || p.Name != nil && *p.Name != svc.Spec.Ports[i].Name {
				continue
			}
			for _, e := range slice.Endpoints {
				for _, text := range e.Addresses {
					if addr, err := netip.ParseAddr(text); err == nil {
						targets = append(targets, netip.AddrPortFrom(addr, uint16(*p.Port)))
					}
				}
			}
		}
	}
	slices.SortFunc(targets, netip.AddrPort.Compare)
	return slices.Compact(targets)
}
