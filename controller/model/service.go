package model

import (
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tulle-mesh/tulle/mesh"
)

// service is the record of a Service.
type service struct {
	types.NamespacedName
	clusterIPs      []netip.Addr // empty for headless Services and ExternalName
	headless        bool
	external        bool          // a name elsewhere, without endpoints
	ports           []servicePort // TCP alone
	settings        settings
	requests        requestSettings
	publishNotReady bool
	// localOnly is internalTrafficPolicy Local; distribution is spec.trafficDistribution.
	localOnly    bool
	distribution string
}

type servicePort struct {
	name string
	port uint16
	// app is what appProtocol says, if declared.
	app      mesh.Protocol
	declared bool
}

func (s *Store) applyService(o *corev1.Service, e Event) Change {
	key := nameOf(o)
	old := s.services[key]
	var change Change
	if old != nil {
		s.forgetService(old, &change)
	}
	if !e.Deleted {
		var prior service
		if old != nil {
			prior = *old
		}
		now := newService(o, e.At, &prior)
		s.services[key] = now
		for _, ip := range now.clusterIPs {
			s.serviceByIP[ip] = now
		}
		s.touchService(now, &change)
		change.report(refOf("Service", o), append(newFindings(prior.settings.findings, now.settings.findings),
			newFindings(prior.requests.findings, now.requests.findings)...))
	}
	s.touchRouting(key, &change)
	change.Addrs = unique(change.Addrs)
	return change
}

func (s *Store) forgetService(old *service, change *Change) {
	delete(s.services, old.NamespacedName)
	for _, ip := range old.clusterIPs {
		// Another Service may have been given the address before this one's end was seen.
		if s.serviceByIP[ip] == old {
			delete(s.serviceByIP, ip)
		}
	}
	s.touchService(old, change)
}

// touchService adds the addresses whose answers depend on svc: its own, and for a headless Service those of its endpoints.
func (s *Store) touchService(svc *service, change *Change) {
	change.Addrs = append(change.Addrs, svc.clusterIPs...)
	if !svc.headless {
		return
	}
	for _, sl := range s.slicesByService[svc.NamespacedName] {
		change.Addrs = append(change.Addrs, sl.addrs()...)
	}
}

func newService(o *corev1.Service, at time.Time, prior *service) *service {
	svc := &service{
		NamespacedName:  nameOf(o),
		publishNotReady: o.Spec.PublishNotReadyAddresses,
		localOnly:       o.Spec.InternalTrafficPolicy != nil && *o.Spec.InternalTrafficPolicy == corev1.ServiceInternalTrafficPolicyLocal,
	}
	if d := o.Spec.TrafficDistribution; d != nil {
		svc.distribution = *d
	}
	for _, p := range o.Spec.Ports {
		if p.Protocol != "" && p.Protocol != corev1.ProtocolTCP {
			continue
		}
		port := servicePort{name: p.Name, port: uint16(p.Port)}
		if p.AppProtocol != nil && *p.AppProtocol != "" {
			port.app, port.declared = appProtocol(*p.AppProtocol), true
		}
		svc.ports = append(svc.ports, port)
	}
	svc.settings = parseSettings(o, svc.portsNamed, prior.settings)
	svc.requests = parseRequestSettings(o, at, true, prior.requests)
	svc.external = o.Spec.Type == corev1.ServiceTypeExternalName
	svc.headless = o.Spec.ClusterIP == corev1.ClusterIPNone
	if !svc.external && !svc.headless {
		svc.clusterIPs = clusterIPs(o)
	}
	return svc
}

// clusterIPs reads spec.clusterIPs, or clusterIP where an old object has only that.
func clusterIPs(o *corev1.Service) []netip.Addr {
	texts := o.Spec.ClusterIPs
	if len(texts) == 0 {
		texts = []string{o.Spec.ClusterIP}
	}
	var out []netip.Addr
	for _, text := range texts {
		if ip, ok := parseAddr(text); ok {
			out = append(out, ip)
		}
	}
	return out
}

func (svc *service) portsNamed(n string) []uint16 {
	var out []uint16
	for _, p := range svc.ports {
		if p.name == n {
			out = append(out, p.port)
		}
	}
	return out
}

func (svc *service) port(number uint16) (servicePort, bool) {
	for _, p := range svc.ports {
		if p.port == number {
			return p, true
		}
	}
	return servicePort{}, false
}

func (svc *service) portNamed(n string) (servicePort, bool) {
	for _, p := range svc.ports {
		if p.name == n {
			return p, true
		}
	}
	return servicePort{}, false
}
