package authz

import (
	"net/netip"

	"github.com/tulle-mesh/tulle/mesh"
)

// Decision says whether a peer or a request is allowed, and by what.
type Decision struct {
	Allow bool
	// Audited marks a peer that only the policy audit allowed: log it and count it.
	Audited bool
	// Authorization allowed the peer; zero on a denial. An access policy has Kind "default".
	Authorization mesh.Ref
	// Route that matches the request. Kind "default" means a port without routes. It is zero for connections, and for
	// requests that no route matches.
	Route mesh.Ref
	// Reason of a denial: one of the constants below, "" when allowed.
	Reason Reason
}

// Reason is a constant word for a denial. It is in metrics, in logs and in the response to the peer.
type Reason string

// The reasons of a denial.
const (
	NoIdentity      Reason = "no_identity"      // the port requires mesh TLS
	OutsideCluster  Reason = "outside_cluster"  // the peer's address is in no cluster network
	NotAuthorized   Reason = "not_authorized"   // no authorization names the peer
	OutsideNetworks Reason = "outside_networks" // the authorizations that name the peer are for other addresses
	Denied          Reason = "denied"           // the policy is deny, or one that this release does not know
	NotHTTP         Reason = "not_http"         // the port accepts only HTTP, and the connection is opaque
	NoRoute         Reason = "no_route"         // the port has routes, and none of them matches
	NoTunnel        Reason = "tunnel"           // the port accepts only HTTP, and the request asks for a tunnel
	InvalidRoute    Reason = "invalid_route"    // the request may match a route of the port that failed to parse
	AmbiguousPath   Reason = "ambiguous_path"   // the port has routes, and servers may read the path differently
)

// Explain returns the reason and the remedy as a sentence. It contains no names, because strangers may read it.
func (r Reason) Explain() string {
	switch r {
	case NoIdentity:
		return "this port accepts only meshed clients (mutual TLS with an identity); mesh the client, or authorize " +
			"unauthenticated clients"
	case OutsideCluster:
		return "this port accepts only clients from the cluster's networks"
	case NotAuthorized:
		return "no authorization allows this client; add its identity to an AuthorizationPolicy or a ServerAuthorization"
	case OutsideNetworks:
		return "the authorizations for this client do not include its network"
	case NotHTTP:
		return "this port accepts only HTTP (it has routes or a rate limit, or is declared HTTP); the connection is " +
			"opaque or encrypted by the application"
	case NoTunnel:
		return "this port accepts only HTTP (it has routes or a rate limit, or is declared HTTP); only a route that " +
			"matches the method CONNECT opens tunnels"
	case NoRoute:
		return "no route of this port matches the request"
	case InvalidRoute:
		return "a route of this port is invalid, and may be meant for this request; see the route's status"
	case AmbiguousPath:
		return "the request's path is ambiguous or its method is lower case, and this port has routes " +
			"(see docs/authorization.md#paths)"
	default:
		return "this port's policy denies all clients; allow some with an AuthorizationPolicy on a Server of the port"
	}
}

// ProbeName is the name of a kubelet probe's route and authorization in metrics.
const ProbeName = "probe"

// tunnelName is the name of a CONNECT tunnel's route in metrics.
const tunnelName = "tunnel"

// Part is a part of a port that is decided on separately: the index of a route, or one of the constants.
type Part int

// The parts that are not a route.
const (
	Whole     Part = -1 - iota // all of a port without routes
	Probe                      // a kubelet's probe
	Unmatched                  // requests that no route matches
	Ambiguous                  // paths that cannot be matched safely
	Tunnel                     // CONNECT without a route that names it
	Invalid                    // requests that may be meant for a route that failed to parse
)

// reason returns why a part that admits nobody is denied.
func (p Part) reason() Reason {
	switch p {
	case Ambiguous:
		return AmbiguousPath
	case Tunnel:
		return NoTunnel
	case Invalid:
		return InvalidRoute
	default:
		return NoRoute
	}
}

// Decide returns the decision on an opaque connection.
func (p *Port) Decide(peer Peer) Decision {
	if p.HTTPOnly() {
		return Decision{Reason: NotHTTP}
	}
	return p.decide(peer, nil)
}

// DecidePart returns the decision on a peer's request for the part that Match returned. It is the same for every such
// request, so callers may cache it as long as p is the policy.
func (p *Port) DecidePart(peer Peer, part Part) Decision {
	switch part {
	case Probe:
		return Decision{Allow: true, Authorization: own(ProbeName), Route: own(ProbeName)}
	case Whole:
		d := p.decide(peer, nil)
		d.Route = own("default")
		return d
	case Tunnel:
		if !p.HTTPOnly() {
			d := p.decide(peer, nil)
			d.Route = own(tunnelName)
			return d
		}
		fallthrough
	case Unmatched, Ambiguous, Invalid:
		if p.setting.RequireIdentity && peer.ID.IsZero() {
			return Decision{Reason: NoIdentity}
		}
		return Decision{Reason: part.reason()}
	default:
		d := p.decide(peer, &p.routes[part].authorizations)
		d.Route = p.routes[part].ref
		return d
	}
}

// Recheck decides again on a request in flight, which an earlier policy allowed with the decision earlier. If the route
// of that decision is gone, the port's own authorizations decide.
func (p *Port) Recheck(peer Peer, earlier Decision) Decision {
	if earlier.Authorization == own(ProbeName) {
		if len(p.setting.ProbePaths) > 0 && p.policy.isHost(peer.Addr) {
			return earlier
		}
		return Decision{Reason: Denied}
	}
	if earlier.Route == own(tunnelName) {
		return p.DecidePart(peer, Tunnel)
	}
	for i := range p.routes {
		if p.routes[i].ref == earlier.Route {
			return p.DecidePart(peer, Part(i))
		}
	}
	return p.decide(peer, nil)
}

// decide returns the decision on a peer by the authorizations more (nil for none), then by the port's own.
func (p *Port) decide(peer Peer, more *authorizations) Decision {
	if p.setting.RequireIdentity && peer.ID.IsZero() {
		return Decision{Reason: NoIdentity}
	}
	addr := canonicalAddr(peer.Addr)
	for _, list := range [...]*authorizations{more, &p.authorizations} {
		if list == nil {
			continue
		}
		if ref, ok := list.first(peer.ID, addr); ok {
			return Decision{Allow: true, Authorization: ref}
		}
	}
	d := p.byPolicy(peer)
	if d.Reason == Denied {
		d.Reason = p.explain(peer.ID, more)
	}
	return d
}

// byPolicy returns the decision on a peer that no authorization allows.
func (p *Port) byPolicy(peer Peer) Decision {
	reason := Reason("")
	switch p.setting.Policy {
	case mesh.AllUnauthenticated, mesh.Audit:
	case mesh.AllAuthenticated:
		reason = needIdentity(peer.ID)
	case mesh.ClusterUnauthenticated:
		reason = p.needCluster(peer.Addr)
	case mesh.ClusterAuthenticated:
		if reason = needIdentity(peer.ID); reason == "" {
			reason = p.needCluster(peer.Addr)
		}
	default: // deny, or a policy of a newer control plane
		reason = Denied
	}
	if reason != "" {
		return Decision{Reason: reason}
	}
	return Decision{Allow: true, Audited: p.setting.Policy == mesh.Audit, Authorization: own(string(p.setting.Policy))}
}

func needIdentity(id mesh.ID) Reason {
	if id.IsZero() {
		return NoIdentity
	}
	return ""
}

func (p *Port) needCluster(a netip.Addr) Reason {
	if p.policy.inCluster(a) {
		return ""
	}
	return OutsideCluster
}

// explain returns what the client lacks of what the authorizations require, or Denied if there are none.
func (p *Port) explain(id mesh.ID, more *authorizations) Reason {
	reason := Denied
	for _, list := range [...]*authorizations{more, &p.authorizations} {
		switch {
		case list == nil || len(list.list) == 0:
		case list.takes(id):
			return OutsideNetworks
		case id.IsZero():
			reason = NoIdentity
		default:
			reason = NotAuthorized
		}
	}
	return reason
}
