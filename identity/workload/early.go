package workload

import (
	"bytes"
	"crypto/tls"
	"encoding/hex"
	"math/rand/v2"
	"os"
	"time"
)

const (
	// earlySpread is the time over which the proxies of a mesh renew their certificates after the issuer changed: ten
	// thousand within it are fewer than the identity controller's limit.
	earlySpread = time.Minute
	// earlyAttempts bounds the early renewals for one issuer: if they bring certificates of another one, something keeps
	// an old key in the file, and the regular renewal is enough.
	earlyAttempts = 3
)

// earlyRenewal decides when a certificate is renewed because the issuer changed.
type earlyRenewal struct {
	file     string // has the issuer's key identifier, in hex
	key      string // that the attempts are for
	attempts int
	next     time.Time // no attempt before it
}

// due reports whether the file names another issuer than that of the certificate, and how long to wait before the
// renewal. A file that cannot be read names none: those of older identity controllers do not exist.
func (e *earlyRenewal) due(cert *tls.Certificate) (pause time.Duration, ok bool) {
	text, err := os.ReadFile(e.file)
	if err != nil || cert == nil {
		return 0, false
	}
	key, have := string(bytes.TrimSpace(text)), hex.EncodeToString(cert.Leaf.AuthorityKeyId)
	if key == "" || have == "" || key == have {
		return 0, false
	}
	if key != e.key {
		e.key, e.attempts, e.next = key, 0, time.Time{}
	}
	if now := wall(); e.attempts >= earlyAttempts || now.Before(e.next) {
		return 0, false
	}
	e.attempts++
	pause = rand.N(earlySpread)
	e.next = wall().Add(pause + earlySpread)
	return pause, true
}
