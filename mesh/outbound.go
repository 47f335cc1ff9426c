package mesh

import (
	"net/netip"
	"slices"
)

// Target is what a proxy asks discovery about: an outbound address that an application connected to, or, as the zero
// Target, the inbound policy of the proxy's own pod. Targets are comparable and serve as map keys. Addr is always
// unmapped.
type Target struct {
	Addr netip.AddrPort
}

// IsInbound reports whether the target is the proxy's own pod.
func (t Target) IsInbound() bool { return t == Target{} }

// Client is the proxy that asks discovery: its pod, and the node that Kubernetes says the pod runs on.
type Client struct {
	Namespace, Pod string
	Node           string
}

// ServiceRef names a port of a Service.
type ServiceRef struct {
	Namespace string
	Name      string
	Port      uint16
}

// IsZero reports whether the reference names no Service.
func (r ServiceRef) IsZero() bool { return r == ServiceRef{} }

// OutboundKind says what discovery knows about an outbound address.
type OutboundKind uint8

// The kinds of outbound address.
const (
	// Unknown is an address outside the cluster's Services and pods: forward to it as it is.
	Unknown OutboundKind = iota
	// ToService is the ClusterIP of a Service: balance over its endpoints. No endpoints means fail, never forward.
	ToService
	// ToPod is the address of a pod (headless Services, StatefulSet instances, direct addresses): exactly one endpoint.
	ToPod
	// UndefinedPort is a ClusterIP with a port its Service does not have: refuse.
	UndefinedPort
)

// Outbound is everything a proxy needs to serve one outbound address: one consistent value, replaced as one.
type Outbound struct {
	Kind OutboundKind
	// Service is zero unless Kind is ToService or UndefinedPort.
	Service ServiceRef
	// Authority is <name>.<namespace>.svc.<cluster-domain>:<port> for ToService, otherwise "".
	Authority string
	// Protocol that the port declares through appProtocol or opaque-ports; Detect when nothing does.
	Protocol  Protocol
	Endpoints []Endpoint
	Accrual   *Accrual

	// Routes govern the Service's HTTP requests: all of one kind, those that win a tie first. A request that none of them
	// matches is answered with 404. Without Routes and Profile, Policy holds for requests to the Service.
	Routes  []Route
	Profile *Profile
	Policy  RequestPolicy
	// OpaqueRules share the opaque connections; empty means that the Service itself takes them.
	OpaqueRules []OpaqueRule
	// Backends are the Services that Routes, Profile and OpaqueRules send to, without this one, each once and sorted by
	// Service.
	Backends []Backend
}

// OpaqueRule is a TCPRoute's or a TLSRoute's rule.
type OpaqueRule struct {
	Ref Ref
	// Hostnames are the server names that a TLS connection asks for, "*." first for any name below; empty for every
	// connection.
	Hostnames []string
	Backends  []WeightedBackend
}

// Endpoint is one address that serves a target.
type Endpoint struct {
	Addr netip.AddrPort
	// Identity the endpoint must prove; zero when it is not meshed or its proxy skips this port.
	Identity ID
	// Protocol that the endpoint's own port declares; Detect when nothing does.
	Protocol Protocol
	// Weight relative to the other endpoints; 0 counts as 1.
	Weight uint32
	Zone   string
	// Local says whether the endpoint is in the asking proxy's zone.
	Local bool
	// Pod describes the pod behind the endpoint for metrics; zero when there is none.
	Pod PodRef
}

// PodRef is what metrics say about an endpoint's pod (labels dst_*).
type PodRef struct {
	Namespace      string
	Name           string
	ServiceAccount string
	// OwnerKind is lower-case: deployment, statefulset, daemonset, job, cronjob, replicaset, replicationcontroller; ""
	// without owner.
	OwnerKind       string
	OwnerName       string
	PodTemplateHash string
	ControlPlaneNS  string
}

// Equal reports whether two values would make a proxy behave alike. Order of endpoints matters: builders sort them by
// address.
func (o *Outbound) Equal(p *Outbound) bool {
	if o == nil || p == nil {
		return o == p
	}
	return o.Kind == p.Kind && o.Service == p.Service && o.Authority == p.Authority && o.Protocol == p.Protocol &&
		slices.Equal(o.Endpoints, p.Endpoints) && equal(o.Accrual, p.Accrual) && o.Policy.equal(p.Policy) &&
		equalParts(o.Routes, p.Routes) && equal(o.Profile, p.Profile) && equalParts(o.OpaqueRules, p.OpaqueRules) &&
		slices.EqualFunc(o.Backends, p.Backends, Backend.equal)
}

// SameRoutes reports whether requests and connections to o and p fall under the same rules, whatever serves them.
func (o *Outbound) SameRoutes(p *Outbound) bool {
	return o.Kind == p.Kind && o.Service == p.Service && o.Authority == p.Authority && o.Policy.equal(p.Policy) &&
		equalParts(o.Routes, p.Routes) && equal(o.Profile, p.Profile) && equalParts(o.OpaqueRules, p.OpaqueRules)
}

func (b Backend) equal(c Backend) bool {
	return b.Service == c.Service && b.Authority == c.Authority && b.Protocol == c.Protocol &&
		slices.Equal(b.Endpoints, c.Endpoints) && equal(b.Accrual, c.Accrual)
}

func (p RequestPolicy) equal(q RequestPolicy) bool {
	return p.Timeouts == q.Timeouts && equal(p.Retry, q.Retry) && equal(p.FaultInjection, q.FaultInjection)
}

// Equal reports whether two values would make a proxy behave alike.
func (in *Inbound) Equal(other *Inbound) bool {
	if in == nil || other == nil {
		return in == other
	}
	if !slices.Equal(in.ClusterNetworks, other.ClusterNetworks) || !in.Default.equal(other.Default) ||
		len(in.Ports) != len(other.Ports) ||
		!slices.Equal(in.OpaquePorts, other.OpaquePorts) ||
		!slices.Equal(in.RequireIdentityPorts, other.RequireIdentityPorts) ||
		!slices.Equal(in.DeclaredPorts, other.DeclaredPorts) || !in.Revoked.Equal(other.Revoked) {
		return false
	}
	for n, p := range in.Ports {
		if q, ok := other.Ports[n]; !ok || !p.equal(q) {
			return false
		}
	}
	return true
}

func (p PortPolicy) equal(q PortPolicy) bool {
	return p.Protocol == q.Protocol && p.Policy == q.Policy && p.RequireIdentity == q.RequireIdentity &&
		slices.Equal(p.ProbePaths, q.ProbePaths) && p.Server == q.Server && equalParts(p.Authorizations, q.Authorizations) &&
		equalParts(p.Routes, q.Routes) && equal(p.RateLimit, q.RateLimit)
}
