package mesh

import (
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
)

// Revoked lists whom proxies refuse although their certificates are valid. Both lists are sorted, without duplicates.
type Revoked struct {
	// Serials are serial numbers of certificates, in lower-case hexadecimal without leading zeros.
	Serials []string
	// Identities are those of ServiceAccounts: all of their certificates are refused.
	Identities []ID
}

const (
	revokedSerial  = "serial:"
	revokedAccount = "serviceaccount:"
	// MaxRevoked bounds the entries of a list: every proxy has all of them.
	MaxRevoked = 1000
)

// IsZero reports whether nobody is revoked.
func (r Revoked) IsZero() bool { return len(r.Serials)+len(r.Identities) == 0 }

// Equal reports whether both lists refuse the same peers.
func (r Revoked) Equal(s Revoked) bool {
	return slices.Equal(r.Serials, s.Serials) && slices.Equal(r.Identities, s.Identities)
}

// ParseRevoked reads the value of RevokedAnnotation: entries serial:HEX and serviceaccount:NAMESPACE/NAME, between
// commas. Entries that make no sense, and those beyond MaxRevoked, are errors; the others are in the result.
func ParseRevoked(text, trustDomain string) (r Revoked, errs []error) {
	for i, entry := range strings.Split(text, ",") {
		entry = strings.TrimSpace(entry)
		if entry == "" {
			continue
		}
		if i >= MaxRevoked {
			return r.normal(), append(errs, fmt.Errorf("more than %d entries, the others have no effect", MaxRevoked))
		}
		if err := r.add(entry, trustDomain); err != nil {
			errs = append(errs, fmt.Errorf("entry %q: %w", entry, err))
		}
	}
	return r.normal(), errs
}

func (r *Revoked) add(entry, trustDomain string) error {
	if text, ok := strings.CutPrefix(entry, revokedSerial); ok {
		serial, err := ParseSerial(text)
		if err == nil {
			r.Serials = append(r.Serials, serial)
		}
		return err
	}
	text, ok := strings.CutPrefix(entry, revokedAccount)
	if !ok {
		return errors.New("want serial:HEX or serviceaccount:NAMESPACE/NAME")
	}
	namespace, name, ok := strings.Cut(text, "/")
	id := ID{TrustDomain: trustDomain, Namespace: namespace, ServiceAccount: name}
	if !ok || id.Validate() != nil {
		return fmt.Errorf("%q is not NAMESPACE/NAME of a ServiceAccount", text)
	}
	r.Identities = append(r.Identities, id)
	return nil
}

func (r Revoked) normal() Revoked {
	slices.Sort(r.Serials)
	slices.SortFunc(r.Identities, func(a, b ID) int { return strings.Compare(a.String(), b.String()) })
	return Revoked{slices.Compact(r.Serials), slices.Compact(r.Identities)}
}

// Entries returns the entries of the annotation, which ParseRevoked reads.
func (r Revoked) Entries() (out []string) {
	for _, s := range r.Serials {
		out = append(out, revokedSerial+s)
	}
	for _, id := range r.Identities {
		out = append(out, revokedAccount+id.Namespace+"/"+id.ServiceAccount)
	}
	return out
}

// ParseSerial reads a serial number in hexadecimal, with colons or without, and returns it as Revoked has it.
func ParseSerial(text string) (string, error) {
	digits := strings.ReplaceAll(text, ":", "")
	n, ok := new(big.Int).SetString(digits, 16)
	// RFC 5280 §4.1.2.2: at most 20 octets, and positive.
	if !ok || n.Sign() <= 0 || len(digits) > 40 || strings.ContainsAny(digits, "+-_") {
		return "", fmt.Errorf("%q is not a serial number: want up to 20 bytes in hexadecimal, such as 1f:a0:07", text)
	}
	return n.Text(16), nil
}
