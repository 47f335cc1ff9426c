package mesh

import (
	"fmt"
	"net/netip"
	"strings"
)

// Authorization lets clients in. One that is met suffices: an AuthorizationPolicy or a ServerAuthorization is one
// Authorization.
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

// IdentityMatch is an identity whose empty parts match any. The zero IdentityMatch matches every identity. It is
// compared part by part, never as text: a pattern names a whole namespace or a whole trust domain.
type IdentityMatch ID

// Matches reports whether id is meant. The zero ID never is.
func (m IdentityMatch) Matches(id ID) bool {
	return !id.IsZero() &&
		(m.TrustDomain == "" || m.TrustDomain == id.TrustDomain) &&
		(m.Namespace == "" || m.Namespace == id.Namespace) &&
		(m.ServiceAccount == "" || m.ServiceAccount == id.ServiceAccount)
}

// ParseIdentityMatch reads a pattern of identities: what ParseID reads, where a whole part, or everything after one,
// may be "*": "*", "spiffe://td/ns/prod/sa/*", "td/ns/prod/*", "*.prod.serviceaccount.identity.linkerd.td". A pattern
// that means less than a whole part, such as "web*", could allow clients by accident; it is an error that wraps
// ErrNotID and lists the accepted forms.
func ParseIdentityMatch(s string) (IdentityMatch, error) {
	switch {
	case s == "*":
		return IdentityMatch{}, nil
	case !strings.Contains(s, "*"):
		id, err := ParseID(s)
		return IdentityMatch(id), err
	case strings.HasPrefix(s, "*.") && !strings.Contains(s, "/"):
		return parseDNSMatch(s)
	default:
		return parsePathMatch(s)
	}
}

// parsePathMatch reads <trust-domain>/ns/<namespace>/sa/<service-account>, with or without the scheme.
func parsePathMatch(s string) (IdentityMatch, error) {
	path, _ := strings.CutPrefix(s, "spiffe://")
	parts := strings.Split(path, "/")
	switch n := len(parts); {
	case n == 2 && parts[1] == "*":
		parts = []string{parts[0], "ns", "*", "sa", "*"}
	case n == 4 && parts[3] == "*":
		parts = append(parts[:3:3], "sa", "*")
	}
	if len(parts) != 5 || parts[1] != "ns" || parts[3] != "sa" {
		return IdentityMatch{}, notMatch(s)
	}
	var m IdentityMatch
	for _, p := range []struct {
		text  string
		part  *string
		valid func(string) bool
	}{{parts[0], &m.TrustDomain, validDomain}, {parts[2], &m.Namespace, validLabel},
		{parts[4], &m.ServiceAccount, validSubdomain}} {
		if p.text == "*" {
			continue
		}
		if !p.valid(p.text) {
			return IdentityMatch{}, notMatch(s)
		}
		*p.part = p.text
	}
	return m, nil
}

// parseDNSMatch reads *.<ns>.serviceaccount.identity.<control-plane-ns>.<trust-domain>, and the same without the
// namespace.
func parseDNSMatch(s string) (IdentityMatch, error) {
	head, tail, ok := strings.Cut(s, dnsMarker)
	_, domain, found := strings.Cut(tail, ".")
	namespace, scoped := strings.CutPrefix(head, "*.")
	if !ok || !found || !validDomain(domain) || head != "*" && !(scoped && validLabel(namespace)) {
		return IdentityMatch{}, notMatch(s)
	}
	m := IdentityMatch{TrustDomain: domain}
	if scoped {
		m.Namespace = namespace
	}
	return m, nil
}

func notMatch(s string) error {
	return fmt.Errorf("parse identities %q: * stands for everybody, a whole namespace or a whole trust domain: want *, "+
		"<trust-domain>/ns/<namespace>/sa/*, or *.<namespace>%s<control-plane-ns>.<trust-domain>: %w", s, dnsMarker, ErrNotID)
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
