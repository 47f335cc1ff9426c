package authz

import (
	"net/netip"

	"github.com/tulle-mesh/tulle/mesh"
)

// Verdict is the answer to a peer or a request.
type Verdict struct {
	Allow bool
	// Audited says that the peer was let in although an enforcing policy might not: log it and count it.
	Audited bool
	// Authorization let the peer in; zero on a denial. An access policy that did is of Kind "default".
	Authorization mesh.Ref
	// Route that the request is for. It is of Kind "default" where the port has no routes, and zero for a connection and
	// for a request that is for no route.
	Route mesh.Ref
	// Reason is why not: one of the constants below, "" when allowed.
	Reason Reason
}

// Reason is a constant word for a denial; it labels metrics and stands in logs and in the answer to the peer.
type Reason string

// The reasons of a denial.
const (
	NoIdentity      Reason = "no_identity"      // the port wants mesh TLS
	OutsideCluster  Reason = "outside_cluster"  // the peer's address is in no cluster network
	NotAuthorized   Reason = "not_authorized"   // no authorization is for the peer
	OutsideNetworks Reason = "outside_networks" // the authorizations that are for the peer are for other addresses
	Denied          Reason = "denied"           // the policy is deny, or one that this release does not know
	// the port takes HTTP alone, and the connection's requests cannot be told apart
	NotHTTP  Reason = "not_http"
	NoRoute  Reason = "no_route" // the port has routes, and the request is for none of them
	NoTunnel Reason = "tunnel"   // the port takes HTTP alone, and the request asks for a tunnel to anything
	// a route of the port has a mistake in the match that would say which requests are its own
	InvalidRoute  Reason = "invalid_route"
	AmbiguousPath Reason = "ambiguous_path" // the port has routes, and servers may read the request's path differently
)

// Explain returns the reason as a sentence for a person, and what helps. It names nothing, so that strangers may read
// it.
func (r Reason) Explain() string {
	switch r {
	case NoIdentity:
		return "this port accepts meshed clients only (mutual TLS with an identity); mesh the client, or authorize " +
			"unauthenticated clients"
	case OutsideCluster:
		return "this port accepts clients from the cluster's networks only"
	case NotAuthorized:
		return "no authorization lets this client in; add its identity to an AuthorizationPolicy or a ServerAuthorization"
	case OutsideNetworks:
		return "the authorizations for this client are for other networks than the one that it comes from"
	case NotHTTP:
		return "this port has routes or a rate limit, or is declared HTTP, so it accepts HTTP only; the connection is " +
			"opaque or encrypted by the application"
	case NoTunnel:
		return "this port has routes or a rate limit, or is declared HTTP, so it opens no tunnel, unless a route matches " +
			"the method CONNECT"
	case NoRoute:
		return "no route of this port matches the request"
	case InvalidRoute:
		return "a route of this port has a mistake, and the request may be one that it is meant for; its status says what " +
			"is wrong"
	case AmbiguousPath:
		return "the request's path is ambiguous, or its method is in lower case, and this port has routes; " +
			"see docs/authorization.md#paths"
	default:
		return "this port's policy denies all clients; an AuthorizationPolicy on a Server of the port lets some in"
	}
}

// ProbeName is what metrics call the route and the authorization of a kubelet's probe.
const ProbeName = "probe"

// tunnelName is what metrics call the route of a tunnel by CONNECT.
const tunnelName = "tunnel"

// Part is a part of a port that has a verdict of its own: the index of a route, or one of the constants.
type Part int

// The parts that are no route.
const (
	Whole     Part = -1 - iota // all of a port without routes
	Probe                      // a kubelet's probe
	Unmatched                  // what no route matches
	Ambiguous                  // a path that cannot be matched safely
	Tunnel                     // CONNECT, which no route asks for
	Mistaken                   // what may be meant for a route that could not be read whole
)

// reason says why a part of a port that is nobody's is denied to everybody.
func (p Part) reason() Reason {
	switch p {
	case Ambiguous:
		return AmbiguousPath
	case Tunnel:
		return NoTunnel
	case Mistaken:
		return InvalidRoute
	default:
		return NoRoute
	}
}

// Decide answers a connection whose requests cannot be told apart.
func (p *Port) Decide(peer Peer) Verdict {
	if p.HTTPOnly() {
		return Verdict{Reason: NotHTTP}
	}
	return p.decide(peer, nil)
}

// Verdict answers a peer's request for a part of the port that Match named. It is the same for every such request, so
// that callers may keep it as long as they keep p.
func (p *Port) Verdict(peer Peer, part Part) Verdict {
	switch part {
	case Probe:
		return Verdict{Allow: true, Authorization: own(ProbeName), Route: own(ProbeName)}
	case Whole:
		v := p.decide(peer, nil)
		v.Route = own("default")
		return v
	case Tunnel:
		if !p.HTTPOnly() {
			v := p.decide(peer, nil)
			v.Route = own(tunnelName)
			return v
		}
		fallthrough
	case Unmatched, Ambiguous, Mistaken:
		if p.setting.RequireIdentity && peer.ID.IsZero() {
			return Verdict{Reason: NoIdentity}
		}
		return Verdict{Reason: part.reason()}
	default:
		v := p.decide(peer, &p.routes[part].authorizations)
		v.Route = p.routes[part].ref
		return v
	}
}

// Still answers a request that another policy let in and that is not over: v is its verdict then. A route that is gone
// leaves it to those who may use all of the port.
func (p *Port) Still(peer Peer, v Verdict) Verdict {
	if v.Authorization == own(ProbeName) {
		if len(p.setting.ProbePaths) > 0 && p.policy.isHost(peer.Addr) {
			return v
		}
		return Verdict{Reason: Denied}
	}
	if v.Route == own(tunnelName) {
		return p.Verdict(peer, Tunnel)
	}
	for i := range p.routes {
		if p.routes[i].ref == v.Route {
			return p.Verdict(peer, Part(i))
		}
	}
	return p.decide(peer, nil)
}

// decide answers a peer for whom more stands beside the port's own authorizations.
func (p *Port) decide(peer Peer, more *authorizations) Verdict {
	if p.setting.RequireIdentity && peer.ID.IsZero() {
		return Verdict{Reason: NoIdentity}
	}
	addr := canonicalAddr(peer.Addr)
	for _, list := range [...]*authorizations{more, &p.authorizations} {
		if list == nil {
			continue
		}
		if ref, ok := list.first(peer.ID, addr); ok {
			return Verdict{Allow: true, Authorization: ref}
		}
	}
	v := p.byPolicy(peer)
	if v.Reason == Denied {
		v.Reason = p.explain(peer.ID, more)
	}
	return v
}

// byPolicy answers a peer that no authorization lets in.
func (p *Port) byPolicy(peer Peer) Verdict {
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
	default: // deny, and whatever a newer control plane may say
		reason = Denied
	}
	if reason != "" {
		return Verdict{Reason: reason}
	}
	return Verdict{Allow: true, Audited: p.setting.Policy == mesh.Audit, Authorization: own(string(p.setting.Policy))}
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

// explain returns what the client lacked that the authorizations want: it is no policy's fault if there are any.
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
