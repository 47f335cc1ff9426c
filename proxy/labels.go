package proxy

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/limit"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

// Labels as Linkerd's proxy spells them. None is taken from a request. What clients choose otherwise is bounded: ports by appName,
// identities and everything else by package stats.

// targetLabels are the labels of everything that concerns an outbound target.
func targetLabels(v *mesh.Outbound) stats.Labels { return serviceLabels(v.Service, v.Authority) }

// serviceLabels are the labels of everything that concerns a Service that requests are sent to.
func serviceLabels(s mesh.ServiceRef, authority string) stats.Labels {
	return stats.Labels("").With("direction", "outbound").
		With("authority", authority).
		With("dst_service", s.Name).
		With("dst_namespace", s.Namespace)
}

// acceptLabels are the labels of the application's own connections to a target.
func acceptLabels(target stats.Labels, addr netip.AddrPort) stats.Labels {
	return stats.Labels("").With("peer", "src").Join(target).Join(addrLabels(addr)).
		With("tls", "no_identity").With("no_tls_reason", "loopback")
}

func addrLabels(addr netip.AddrPort) stats.Labels {
	return stats.Labels("").With("target_addr", addr.String()).
		With("target_ip", addr.Addr().String()).
		With("target_port", strconv.Itoa(int(addr.Port())))
}

// endpointLabels are the labels of one endpoint of a target.
func endpointLabels(target stats.Labels, e *mesh.Endpoint, loopback bool) stats.Labels {
	l := target.Join(addrLabels(e.Addr))
	switch {
	case loopback:
		l = l.With("tls", "loopback").With("no_tls_reason", "loopback")
	case e.Identity.IsZero():
		l = l.With("tls", "no_identity").With("no_tls_reason", "not_provided_by_service_discovery")
	default:
		l = l.With("tls", "true").With("server_id", e.Identity.String())
	}
	if e.Pod != (mesh.PodRef{}) {
		if !l.Has("dst_namespace") {
			l = l.With("dst_namespace", e.Pod.Namespace)
		}
		l = l.With("dst_pod", e.Pod.Name).With("dst_serviceaccount", e.Pod.ServiceAccount)
		if e.Pod.OwnerKind != "" {
			l = l.With("dst_"+e.Pod.OwnerKind, e.Pod.OwnerName)
		}
		l = l.With("dst_pod_template_hash", e.Pod.PodTemplateHash).With("dst_control_plane_ns", e.Pod.ControlPlaneNS)
	}
	if e.Zone != "" {
		locality := "remote"
		if e.Local {
			locality = "local"
		}
		l = l.With("dst_zone", e.Zone).With("dst_zone_locality", locality)
	}
	return l
}

// appName is how labels name an address of the pod's application.
type appName struct{ addr, ip, port string }

// otherApp names the addresses that nothing is known to serve: a stranger may try every port.
var otherApp = appName{"other", "other", "other"}

// appLabels are the labels of connections to a port of this pod's application, whoever they are for: they never leave the pod.
func appLabels(n appName) stats.Labels {
	return stats.Labels(`peer="dst",direction="inbound"`).Add("target_addr", n.addr, "target_ip", n.ip, "target_port", n.port,
		"tls", "no_identity", "no_tls_reason", "loopback")
}

// clientTLS are the labels that say how a peer came in.
type clientTLS struct {
	id mesh.ID
	// header is the identity as applications are told it, made once.
	header string
	// passed says that the bytes are TLS of the application's own.
	passed bool
}

// newClient describes a client that proved to be id.
func newClient(id mesh.ID) clientTLS { return clientTLS{id: id, header: id.String()} }

// pair returns what labels say about how the peer came in: tls, and one more with its value.
func (c clientTLS) pair() (tls, name, value string) {
	switch {
	case !c.id.IsZero():
		return "true", "client_id", c.header
	case c.passed:
		return "opaque", "no_tls_reason", "no_tls_from_remote"
	default:
		return "no_identity", "no_tls_reason", "no_tls_from_remote"
	}
}

// inboundLabels are the labels of everything that concerns a port of this pod and one client identity. server is the port's Server.
func inboundLabels(app appName, client clientTLS, server mesh.Ref) stats.Labels {
	tls, name, value := client.pair()
	return stats.Labels(`direction="inbound"`).Add(
		"target_addr", app.addr, "target_ip", app.ip, "target_port", app.port, "tls", tls, name, value,
		"srv_group", server.Group, "srv_kind", strings.ToLower(server.Kind), "srv_name", server.Name, "srv_port", app.port)
}

// withRoute, withAuthz and withRateLimit add the labels of an object; none for the zero Ref. Linkerd writes the kinds of policy in lower
// case, and those of routes as they are.
func withRoute(l stats.Labels, r mesh.Ref) stats.Labels {
	return l.Add("route_group", r.Group, "route_kind", r.Kind, "route_name", r.Name)
}

func withAuthz(l stats.Labels, r mesh.Ref) stats.Labels {
	return l.Add("authz_group", r.Group, "authz_kind", strings.ToLower(r.Kind), "authz_name", r.Name)
}

func withRateLimit(l stats.Labels, r mesh.Ref, scope limit.Scope) stats.Labels {
	return l.Add("ratelimit_group", r.Group, "ratelimit_kind", strings.ToLower(r.Kind), "ratelimit_name", r.Name, "ratelimit_scope", string(scope))
}
