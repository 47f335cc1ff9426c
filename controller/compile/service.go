package compile

import (
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tulle-mesh/tulle/mesh"
)

// Service is the record of a Service.
type Service struct {
	types.NamespacedName
	ClusterIPs      []netip.Addr // empty for headless Services and ExternalName
	Headless        bool
	External        bool          // a name elsewhere, without endpoints
	Ports           []ServicePort // TCP alone
	Settings        Settings
	Requests        RequestSettings
	PublishNotReady bool
	// LocalOnly is internalTrafficPolicy Local; Distribution is spec.trafficDistribution.
	LocalOnly    bool
	Distribution string
}

type ServicePort struct {
	Name string
	Port uint16
	// app is what appProtocol says, if declared.
	app      mesh.Protocol
	declared bool
}

func ParseService(o *corev1.Service, at time.Time, prior *Service) *Service {
	svc := &Service{
		NamespacedName:  NameOf(o),
		PublishNotReady: o.Spec.PublishNotReadyAddresses,
		LocalOnly: o.Spec.InternalTrafficPolicy != nil &&
			*o.Spec.InternalTrafficPolicy == corev1.ServiceInternalTrafficPolicyLocal,
	}
	if d := o.Spec.TrafficDistribution; d != nil {
		svc.Distribution = *d
	}
	for _, p := range o.Spec.Ports {
		if p.Protocol != "" && p.Protocol != corev1.ProtocolTCP {
			continue
		}
		port := ServicePort{Name: p.Name, Port: uint16(p.Port)}
		if p.AppProtocol != nil && *p.AppProtocol != "" {
			port.app, port.declared = appProtocol(*p.AppProtocol), true
		}
		svc.Ports = append(svc.Ports, port)
	}
	svc.Settings = ParseSettings(o, svc.PortsNamed, prior.Settings)
	svc.Requests = ParseRequestSettings(o, at, true, prior.Requests)
	svc.External = o.Spec.Type == corev1.ServiceTypeExternalName
	svc.Headless = o.Spec.ClusterIP == corev1.ClusterIPNone
	if !svc.External && !svc.Headless {
		svc.ClusterIPs = clusterIPs(o)
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

func (svc *Service) PortsNamed(n string) []uint16 {
	var out []uint16
	for _, p := range svc.Ports {
		if p.Name == n {
			out = append(out, p.Port)
		}
	}
	return out
}

func (svc *Service) Port(number uint16) (ServicePort, bool) {
	for _, p := range svc.Ports {
		if p.Port == number {
			return p, true
		}
	}
	return ServicePort{}, false
}

func (svc *Service) PortNamed(n string) (ServicePort, bool) {
	for _, p := range svc.Ports {
		if p.Name == n {
			return p, true
		}
	}
	return ServicePort{}, false
}

// appProtocol says how a Service port with this appProtocol is read. A value that names nothing the proxy reads is
// opaque, as in Linkerd: the user told that it is something else. Values: the IANA names, Kubernetes' own (KEP-3726),
// and Linkerd's.
func appProtocol(s string) mesh.Protocol {
	switch s {
	case "http", "kubernetes.io/ws", "ws":
		return mesh.HTTP1
	case "kubernetes.io/h2c", "h2c", "http2", "grpc":
		return mesh.HTTP2
	default: // linkerd.io/tcp, linkerd.io/opaque, tcp, tls, https, kubernetes.io/wss, redis, …
		return mesh.Opaque
	}
}

// DeclaredProtocol returns what a Service itself says about its port: appProtocol first, then the Service's
// opaque-ports annotation, which decides for every port of the Service once it is there.
func (svc *Service) DeclaredProtocol(p ServicePort) (protocol mesh.Protocol, ok bool) {
	if p.declared {
		return p.app, true
	}
	if svc.Settings.Opaque != nil {
		return OpaqueIf(svc.Settings.Opaque.Contains(p.Port)), true
	}
	return mesh.Detect, false
}

func OpaqueIf(opaque bool) mesh.Protocol {
	if opaque {
		return mesh.Opaque
	}
	return mesh.Detect
}

// parseAddr reads an address of the API server; a malformed one is not an address.
func parseAddr(s string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(s)
	return a.Unmap(), err == nil
}

// NameOf returns the namespace and the name of an object.
func NameOf(o metav1.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetName()}
}
