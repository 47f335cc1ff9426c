package workload

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"sync"
	"time"
)

// maxProofs bounds the remembered chains. It is more than the peers of a pod, at about a hundred bytes each.
const maxProofs = 1024

// proofs remembers which chains verify under the anchors of one trust. Most of a handshake's signature checks are those
// of the chain, and a peer presents the same chain every time. Only verified chains are remembered. A new trust begins
// without any, so a dropped anchor invalidates all its chains.
type proofs struct {
	mu     sync.Mutex // guards the field below
	chains map[chainKey]validity
}

// chainKey is the hash of a usage and of all bytes of a chain.
type chainKey [sha256.Size]byte

// validity is the time in which every certificate of a chain, its anchor included, is valid. Source: RFC 5280 §4.1.2.5.
type validity struct{ from, to time.Time }

func (v validity) holds(now time.Time) bool { return !now.Before(v.from) && !now.After(v.to) }

func keyOf(chain []*x509.Certificate, usage x509.ExtKeyUsage) chainKey {
	h := sha256.New()
	var number [8]byte
	write := func(n int) {
		binary.BigEndian.PutUint64(number[:], uint64(n))
		h.Write(number[:])
	}
	write(int(usage))
	for _, cert := range chain {
		write(len(cert.Raw))
		h.Write(cert.Raw)
	}
	return chainKey(h.Sum(nil))
}

// recall returns the validity of the chain with that key, if the chain was verified and is valid at now.
func (p *proofs) recall(key chainKey, now time.Time) (v validity, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	v, ok = p.chains[key]
	return v, ok && v.holds(now)
}

// add remembers a verified chain, from the leaf to the anchor, and returns its validity.
func (p *proofs) add(key chainKey, verified []*x509.Certificate) validity {
	v := validity{from: verified[0].NotBefore, to: verified[0].NotAfter}
	for _, cert := range verified[1:] {
		if cert.NotBefore.After(v.from) {
			v.from = cert.NotBefore
		}
		if cert.NotAfter.Before(v.to) {
			v.to = cert.NotAfter
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.chains == nil || len(p.chains) >= maxProofs {
		p.chains = map[chainKey]validity{} // peers that connect again are verified again
	}
	p.chains[key] = v
	return v
}
