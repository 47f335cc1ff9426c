package mesh

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// ID is the identity of a workload: a ServiceAccount of a namespace within a trust domain. The zero ID means "no
// identity": an unmeshed peer. IDs are compared with ==; they are never compared as strings.
type ID struct {
	TrustDomain    string
	Namespace      string
	ServiceAccount string
}

// ErrNotID is wrapped by every error of ParseID.
var ErrNotID = errors.New("not a workload identity")

// IsZero reports whether the ID names nobody.
func (id ID) IsZero() bool { return id == ID{} }

// String returns the SPIFFE ID, spiffe://<trust-domain>/ns/<namespace>/sa/<service-account>, or "" for the zero ID.
// Source: SPIFFE-ID §2; the path layout is the one Kubernetes meshes agree on.
func (id ID) String() string {
	if id.IsZero() {
		return ""
	}
	return "spiffe://" + id.TrustDomain + "/ns/" + id.Namespace + "/sa/" + id.ServiceAccount
}

// AppendTo appends what String returns.
func (id ID) AppendTo(b []byte) []byte {
	if id.IsZero() {
		return b
	}
	b = append(append(b, "spiffe://"...), id.TrustDomain...)
	b = append(append(b, "/ns/"...), id.Namespace...)
	return append(append(b, "/sa/"...), id.ServiceAccount...)
}

// URI returns the SPIFFE ID as the URL that an X.509 URI SAN holds. Source: SPIFFE X509-SVID §2.
func (id ID) URI() *url.URL {
	return &url.URL{Scheme: "spiffe", Host: id.TrustDomain, Path: "/ns/" + id.Namespace + "/sa/" + id.ServiceAccount}
}

// Validate returns an error that wraps ErrNotID when a part of id is empty or holds a character that Kubernetes (RFC
// 1123) or SPIFFE-ID §2.1, §2.2 forbid there. An ID that is valid survives ParseID(id.String()) unchanged.
func (id ID) Validate() error {
	switch {
	case !validDomain(id.TrustDomain):
		return fmt.Errorf("trust domain %q: %w", id.TrustDomain, ErrNotID)
	case !validLabel(id.Namespace):
		return fmt.Errorf("namespace %q: %w", id.Namespace, ErrNotID)
	case !validSubdomain(id.ServiceAccount):
		return fmt.Errorf("service account %q: %w", id.ServiceAccount, ErrNotID)
	}
	return nil
}

// ParseID reads the three spellings that policy accepts: the SPIFFE URI, "<trust-domain>/ns/<ns>/sa/<sa>", and
// Linkerd's "<sa>.<ns>.serviceaccount.identity.<control-plane-ns>.<trust-domain>". Spellings of one identity give equal
// values. The error wraps ErrNotID and names what was expected.
func ParseID(s string) (ID, error) {
	id, err := parseID(s)
	if err != nil {
		return ID{}, err
	}
	if err := id.Validate(); err != nil {
		return ID{}, fmt.Errorf("parse identity %q: %w", s, err)
	}
	return id, nil
}

func parseID(s string) (ID, error) {
	if head, tail, ok := strings.Cut(s, dnsMarker); ok && !strings.Contains(s, "/") {
		return parseDNSID(s, head, tail)
	}
	path, _ := strings.CutPrefix(s, "spiffe://")
	parts := strings.Split(path, "/")
	if len(parts) != 5 || parts[1] != "ns" || parts[3] != "sa" {
		return ID{}, fmt.Errorf("parse identity %q: want spiffe://<trust-domain>/ns/<namespace>/sa/<service-account>: %w", s,
			ErrNotID)
	}
	return ID{TrustDomain: parts[0], Namespace: parts[2], ServiceAccount: parts[4]}, nil
}

const dnsMarker = ".serviceaccount.identity."

// parseDNSID reads Linkerd's spelling: head is "<sa>.<ns>", tail is "<control-plane-ns>.<trust-domain>". A service
// account's name may hold dots, a namespace's may not, so head is cut at its last dot and tail at its first.
func parseDNSID(s, head, tail string) (ID, error) {
	dot := strings.LastIndexByte(head, '.')
	_, domain, ok := strings.Cut(tail, ".")
	if dot < 0 || !ok {
		return ID{},
			fmt.Errorf("parse identity %q: want <sa>.<ns>.serviceaccount.identity.<control-plane-ns>.<trust-domain>: %w", s,
				ErrNotID)
	}
	return ID{TrustDomain: domain, Namespace: head[dot+1:], ServiceAccount: head[:dot]}, nil
}

// validDomain follows SPIFFE-ID §2.1: lower-case letters, digits, dots, dashes and underscores, at most 255 bytes.
func validDomain(s string) bool {
	if s == "" || len(s) > 255 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}

// validLabel follows RFC 1123 §2.1 as Kubernetes applies it to namespaces.
func validLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-') {
			return false
		}
	}
	return true
}

// validSubdomain is a dotted sequence of labels, as Kubernetes applies it to ServiceAccount names.
func validSubdomain(s string) bool {
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if !validLabel(label) {
			return false
		}
	}
	return true
}
