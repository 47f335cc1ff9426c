package mesh

import "net/netip"

// Authorization lets clients in. One that is met suffices: an AuthorizationPolicy or a ServerAuthorization is one Authorization.
type Authorization struct {
	// Ref names the AuthorizationPolicy or ServerAuthorization.
	Ref Ref
	// Networks that the client's address must be in one of; empty for any address.
	Networks []Network
	// Clients says what the client must prove, Identities whom, if Clients is NamedClients.
	Clients    ClientKind
	Identities []IdentityMatch
}

// ClientKind says what a client must prove to meet an Authorization.
type ClientKind uint8

// The kinds. The zero value is the strictest.
const (
	NamedClients         ClientKind = iota // mesh TLS with one of the identities; no identities let nobody in
	AuthenticatedClients                   // mesh TLS with any identity
	AnyClients                             // also plaintext
)

// IdentityMatch is an identity whose empty parts match any. The zero IdentityMatch matches every identity. It is compared part by
// part, never as text: a pattern names a whole namespace or a whole trust domain.
type IdentityMatch ID

// Matches reports whether id is meant. The zero ID never is.
func (m IdentityMatch) Matches(id ID) bool {
	return !id.IsZero() &&
		(m.TrustDomain == "" || m.TrustDomain == id.TrustDomain) &&
		(m.Namespace == "" || m.Namespace == id.Namespace) &&
		(m.ServiceAccount == "" || m.ServiceAccount == id.ServiceAccount)
}

// Network is a network without the parts of it in Except.
type Network struct {
	Net    netip.Prefix
	Except []netip.Prefix
}

// RateLimit bounds the requests that one proxy lets in a second. Zero means no bound. Source: HTTPLocalRateLimitPolicy.
type RateLimit struct {
	Ref Ref
	// Total is for all clients together, Identity for each client; clients without identity are one client.
	Total, Identity float64
	Overrides       []RateOverride
}

// RateOverride is the bound of each of some clients, in place of RateLimit.Identity.
type RateOverride struct {
	Identities []ID
	PerSecond  float64
}

// InboundRoute is a route that is attached to a Server, and who may use it beyond those who may use the Server.
type InboundRoute struct {
	Route          Route
	Authorizations []Authorization
}
