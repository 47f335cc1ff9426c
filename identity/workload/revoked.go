package workload

import (
	"crypto/x509"
	"errors"
	"slices"

	"github.com/tulle-mesh/tulle/mesh"
)

var errRevoked = errors.New("it was revoked (tulle identity revoke --list)")

// revoked says whom handshakes refuse; nil refuses nobody. It is immutable.
type revoked struct {
	all        mesh.Revoked
	serials    map[string]struct{}
	identities map[mesh.ID]struct{}
}

func newRevoked(list mesh.Revoked) *revoked {
	if list.IsZero() {
		return nil
	}
	r := &revoked{all: list, serials: map[string]struct{}{}, identities: map[mesh.ID]struct{}{}}
	for _, s := range list.Serials {
		r.serials[s] = struct{}{}
	}
	for _, id := range list.Identities {
		r.identities[id] = struct{}{}
	}
	return r
}

func (r *revoked) list() mesh.Revoked {
	if r == nil {
		return mesh.Revoked{}
	}
	return mesh.Revoked{Serials: slices.Clone(r.all.Serials), Identities: slices.Clone(r.all.Identities)}
}

// has reports whether a verified peer is refused.
func (r *revoked) has(leaf *x509.Certificate, id mesh.ID) bool {
	if r == nil {
		return false
	}
	_, account := r.identities[id]
	if account || len(r.serials) == 0 {
		return account
	}
	_, certificate := r.serials[leaf.SerialNumber.Text(16)]
	return certificate
}
