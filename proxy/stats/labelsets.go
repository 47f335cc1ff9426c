package stats

import (
	"cmp"
	"net/netip"
	"strconv"
	"strings"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/limit"
)

// The label sets of the proxy's series, as Linkerd's proxy spells them. No label comes from a request. Clients can
// choose ports, which App bounds, and identities, which bound.go bounds.

// TargetLabels returns the labels of all series about an outbound target.
func TargetLabels(v *mesh.Outbound) Labels { return ServiceLabels(v.Service, v.Authority) }

// ServiceLabels returns the labels of all series about a Service that the proxy sends requests to.
func ServiceLabels(s mesh.ServiceRef, authority string) Labels {
	return Labels("").With("direction", string(Outbound)).
		With("authority", authority).
		With("dst_service", s.Name).
		With("dst_namespace", s.Namespace)
}

// AcceptLabels returns the labels of the application's own connections to a target.
func AcceptLabels(target Labels, addr netip.AddrPort) Labels {
	return SrcLabels(target).Join(addrLabels(addr)).
		With("tls", "no_identity").With("no_tls_reason", "loopback")
}

// SrcLabels returns the labels of connections that requests arrive on; l are those of their client or target.
func SrcLabels(l Labels) Labels { return Labels(`peer="src"`).Join(l) }

// DstLabels returns the labels of connections that requests leave on; l are those of their endpoint.
func DstLabels(l Labels) Labels { return Labels(`peer="dst"`).Join(l) }

func addrLabels(addr netip.AddrPort) Labels {
	return Labels("").With("target_addr", addr.String()).
		With("target_ip", addr.Addr().String()).
		With("target_port", strconv.Itoa(int(addr.Port())))
}

// EndpointLabels returns the labels of one endpoint of a target.
func EndpointLabels(target Labels, e *mesh.Endpoint, loopback bool) Labels {
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

// App is how labels name an address of the pod's application.
type App struct{ Addr, IP, Port string }

// OtherApp names the addresses on which nothing is known to listen: a client may try every port.
var OtherApp = App{"other", "other", "other"}

// NewApp returns the label values of an address.
func NewApp(a netip.AddrPort) App {
	return App{Addr: a.String(), IP: a.Addr().String(), Port: strconv.Itoa(int(a.Port()))}
}

// AppLabels returns the labels of the proxy's connections to a port of this pod's application. They name no client,
// because these connections never leave the pod.
func AppLabels(n App) Labels {
	return Labels(`peer="dst",direction="inbound"`).Add("target_addr", n.Addr, "target_ip", n.IP, "target_port", n.Port,
		"tls", "no_identity", "no_tls_reason", "loopback")
}

// Client describes a peer for the labels of its connections.
type Client struct {
	// ID is the identity that the client proved; zero without mesh TLS.
	ID mesh.ID
	// Name is ID as text, made once.
	Name string
	// OwnTLS means that the bytes are the application's own TLS, which the proxy passes on and does not read.
	OwnTLS bool
}

// NewClient returns a Client that proved the identity id.
func NewClient(id mesh.ID) Client { return Client{ID: id, Name: id.String()} }

// pair returns the value of the label tls, and the name and value of one more label.
func (c Client) pair() (tls, name, value string) {
	switch {
	case !c.ID.IsZero():
		return "true", "client_id", c.Name
	case c.OwnTLS:
		return "opaque", "no_tls_reason", "no_tls_from_remote"
	default:
		return "no_identity", "no_tls_reason", "no_tls_from_remote"
	}
}

// InboundLabels returns the labels of all series about a port of this pod and one client identity. server is the port's
// Server.
func InboundLabels(app App, client Client, server mesh.Ref) Labels {
	tls, name, value := client.pair()
	return Labels(`direction="inbound"`).Add(
		"target_addr", app.Addr, "target_ip", app.IP, "target_port", app.Port, "tls", tls, name, value,
		"srv_group", server.Group, "srv_kind", strings.ToLower(server.Kind), "srv_name", server.Name, "srv_port", app.Port)
}

// WithRoute adds the labels of a route, with its kind unchanged. It adds none for the zero Ref.
func (l Labels) WithRoute(r mesh.Ref) Labels {
	return l.Add("route_group", r.Group, "route_kind", r.Kind, "route_name", r.Name)
}

// WithAuthz adds the labels of the object that authorized a request or connection. Linkerd writes the kinds of policy
// in lower case.
func (l Labels) WithAuthz(r mesh.Ref) Labels {
	return l.Add("authz_group", r.Group, "authz_kind", strings.ToLower(r.Kind), "authz_name", r.Name)
}

// WithRateLimit adds the labels of a rate limit.
func (l Labels) WithRateLimit(r mesh.Ref, scope limit.Scope) Labels {
	return l.Add("ratelimit_group", r.Group, "ratelimit_kind", strings.ToLower(r.Kind), "ratelimit_name", r.Name,
		"ratelimit_scope", string(scope))
}

// ObjectLabels returns the labels that name an object. As in Linkerd, Services have the group "core".
func ObjectLabels(what string, r mesh.Ref) Labels {
	if r.Kind == "Service" {
		r.Group = cmp.Or(r.Group, "core")
	}
	return Labels("").Add(what+"_group", r.Group, what+"_kind", r.Kind, what+"_namespace", r.Namespace, what+"_name",
		r.Name)
}

// ParentLabels returns the labels of the Service that the application asked for.
func ParentLabels(s mesh.ServiceRef) Labels {
	parent := ObjectLabels("parent", mesh.Ref{Kind: "Service", Namespace: s.Namespace, Name: s.Name})
	return parent.With("parent_port", strconv.Itoa(int(s.Port)))
}

// BackendLabels returns the labels of a port of a Service that a rule sends requests to.
func BackendLabels(ref mesh.Ref, service mesh.ServiceRef) Labels {
	return ObjectLabels("backend", ref).With("backend_port", strconv.Itoa(int(service.Port)))
}

// ServerLabels returns the labels of the Server that requests to a port of this pod came to.
func ServerLabels(server mesh.Ref, app App) Labels {
	return Labels("").Add("parent_group", server.Group, "parent_kind", strings.ToLower(server.Kind),
		"parent_name", server.Name, "parent_port", app.Port)
}

// NamedRouteLabels returns the labels of requests of a named route. dst is the authority of an outbound target, and ""
// inbound.
func NamedRouteLabels(d Direction, dst, name string) Labels {
	return Labels("").Add("direction", string(d), "dst", dst, "rt_route", name)
}

// ErrorLabels returns the labels of requests that the proxy refuses with an error.
func ErrorLabels(d Direction, reason string) Labels {
	return Labels("").Add("direction", string(d), "error", reason)
}

// HTTP2EndLabels returns the labels of HTTP/2 connections that the proxy ends because of what their peer sends.
func HTTP2EndLabels(d Direction, peerKind, fault, reason string) Labels {
	return Labels("").Add("direction", string(d), "peer_kind", peerKind, "error", fault, "reason", reason)
}

// ExpiryLabels returns the labels of open connections whose peer's certificate is no longer valid.
func ExpiryLabels(d Direction, action, reason string) Labels {
	return Labels("").Add("direction", string(d), "action", action, "reason", reason)
}

// ControlLabels returns the labels of a connection to the control plane.
func ControlLabels(addr string) Labels { return Labels("").With("addr", addr) }

// ControlCallLabels returns the labels of calls to a part of the control plane.
func ControlCallLabels(addr string, server mesh.ID) Labels {
	return ControlLabels(addr).With("server_id", server.String())
}
