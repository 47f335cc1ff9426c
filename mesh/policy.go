package mesh

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// AccessPolicy says which peers a port without a Server accepts. The zero value is not a policy; see ParseAccessPolicy.
type AccessPolicy string

// The six access policies of Linkerd. "Cluster" narrows to the cluster networks; "audit" allows, logs and counts.
const (
	AllUnauthenticated     AccessPolicy = "all-unauthenticated"
	AllAuthenticated       AccessPolicy = "all-authenticated"
	ClusterUnauthenticated AccessPolicy = "cluster-unauthenticated"
	ClusterAuthenticated   AccessPolicy = "cluster-authenticated"
	Deny                   AccessPolicy = "deny"
	Audit                  AccessPolicy = "audit"
)

// AccessPolicies lists every AccessPolicy in the order that messages show them.
var AccessPolicies = []AccessPolicy{AllUnauthenticated, AllAuthenticated, ClusterUnauthenticated, ClusterAuthenticated,
	Deny, Audit}

// ParseAccessPolicy returns the policy named s, or an error that lists what is accepted.
func ParseAccessPolicy(s string) (AccessPolicy, error) {
	if p := AccessPolicy(s); slices.Contains(AccessPolicies, p) {
		return p, nil
	}
	names := make([]string, len(AccessPolicies))
	for i, p := range AccessPolicies {
		names[i] = string(p)
	}
	return "", fmt.Errorf("access policy %q: want one of %s", s, strings.Join(names, ", "))
}

// Protocol says how a port's bytes are read. The zero value, Detect, means: look at the first bytes.
type Protocol uint8

// The protocols a port may declare.
const (
	Detect Protocol = iota
	HTTP1
	HTTP2
	Opaque
)

// String returns the name of the protocol, as in HTTP/2.
func (p Protocol) String() string {
	switch p {
	case HTTP1:
		return "HTTP/1"
	case HTTP2:
		return "HTTP/2"
	case Opaque:
		return "opaque"
	default:
		return "detect"
	}
}

// Inbound is what a pod's proxy needs to serve the pod: one value for the whole pod, replaced as one.
type Inbound struct {
	// ClusterNetworks are the cluster for the cluster-* policies. Empty means that no address is inside.
	ClusterNetworks []netip.Prefix
	// Default applies to every port that Ports does not name.
	Default PortPolicy
	// Ports holds the ports that differ from Default.
	Ports map[uint16]PortPolicy
	// OpaquePorts carry TCP without detection, and RequireIdentityPorts refuse peers without mesh TLS, on top of what
	// Ports and Default say. They are sets of ranges because annotations name ranges: one may span every port.
	OpaquePorts          PortSet
	RequireIdentityPorts PortSet
	// DeclaredPorts are the TCP ports that the pod's containers declare. They do not affect which clients are allowed.
	DeclaredPorts PortSet
	// Revoked peers are refused on every connection of the pod, inbound and outbound.
	Revoked Revoked
}

// GRPCProbePath is what the kubelet calls for a gRPC probe, whatever service the probe names.
const GRPCProbePath = "/grpc.health.v1.Health/Check"

// PortPolicy is the policy of one port of a pod.
type PortPolicy struct {
	Protocol Protocol
	Policy   AccessPolicy
	// RequireIdentity refuses peers without mesh TLS whatever Policy says.
	RequireIdentity bool
	// ProbePaths lists what the pod's kubelet asks this port for, path and query, GRPCProbePath for a gRPC probe. A GET of
	// exactly one without a body, or a call of GRPCProbePath, is allowed from the node without identity.
	ProbePaths []string
	// Server names the Server that selects the port, or is zero. With a Server, Policy is its accessPolicy, which decides
	// on clients that meet no Authorization.
	Server Ref
	// Authorizations allow clients, on every route.
	Authorizations []Authorization
	// Routes apply to the port's HTTP requests: one that none of them matches gets 404, except a kubelet's probe. A port
	// with Routes refuses opaque connections, which would bypass them.
	Routes    []InboundRoute
	RateLimit *RateLimit
}

// Port returns the policy of port p.
func (in *Inbound) Port(p uint16) PortPolicy {
	port, ok := in.Ports[p]
	if !ok {
		port = in.Default
	}
	if in.OpaquePorts.Contains(p) {
		port.Protocol = Opaque
	}
	if in.RequireIdentityPorts.Contains(p) {
		port.RequireIdentity = true
	}
	return port
}
