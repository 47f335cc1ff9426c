package workload

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"math/big"
	"net/url"
	"testing"
	"time"
)

// testChain returns an anchor and a leaf with its issuer. The issuer's validity is the shortest.
func testChain(t testing.TB, now time.Time) (anchor *x509.Certificate, chain []*x509.Certificate) {
	t.Helper()
	type pair struct {
		cert *x509.Certificate
		key  *ecdsa.PrivateKey
	}
	issue := func(tmpl *x509.Certificate, by *pair) pair {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if by == nil {
			by = &pair{tmpl, key}
		}
		der, err := x509.CreateCertificate(rand.Reader, tmpl, by.cert, key.Public(), by.key)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return pair{cert, key}
	}
	authority := func(n int64, life time.Duration) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(n), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(life),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		}
	}
	root := issue(authority(1, 100*time.Hour), nil)
	issuer := issue(authority(2, 2*time.Hour), &root)
	leaf := issue(&x509.Certificate{
		SerialNumber: big.NewInt(3), NotBefore: now.Add(-time.Minute), NotAfter: now.Add(24 * time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		URIs:        []*url.URL{{Scheme: "spiffe", Host: "cluster.local", Path: "/ns/shop/sa/web"}},
	}, &issuer)
	return root.cert, []*x509.Certificate{leaf.cert, issuer.cert}
}

func TestProvenChainIsNotVerifiedAgain(t *testing.T) {
	now := time.Now()
	anchor, chain := testChain(t, now)
	trusted := newTrust(nil, []*x509.Certificate{anchor}, nil)
	const server, client = x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth
	if _, err := trusted.identify(chain, server, now); err != nil {
		t.Fatal(err)
	}
	trusted.pool = x509.NewCertPool() // from here on only remembered chains are accepted
	id, err := trusted.identify(chain, server, now)
	if err != nil || id.String() != "spiffe://cluster.local/ns/shop/sa/web" {
		t.Errorf("proven chain: %v, %v", id, err)
	}
	for _, c := range []struct {
		name  string
		chain []*x509.Certificate
		usage x509.ExtKeyUsage
		now   time.Time
	}{
		{"another usage", chain, client, now},
		{"without the issuer", chain[:1], server, now},
		{"the issuer has expired, the leaf has not", chain, server, now.Add(3 * time.Hour)},
		{"the leaf is not valid yet", chain, server, now.Add(-2 * time.Minute)},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := trusted.identify(c.chain, c.usage, c.now); err == nil {
				t.Error("accepted without verification")
			}
		})
	}
}

func TestRefusedChainIsNotRemembered(t *testing.T) {
	now := time.Now()
	anchor, chain := testChain(t, now)
	other, _ := testChain(t, now)
	trusted := newTrust(nil, []*x509.Certificate{other}, nil)
	if _, err := trusted.identify(chain, x509.ExtKeyUsageServerAuth, now); err == nil {
		t.Fatal("a foreign chain is accepted")
	}
	if n := len(trusted.proofs.chains); n != 0 {
		t.Errorf("%d chains are remembered", n)
	}
	// Other anchors begin without remembered chains: proofs under the old ones do not count.
	before := newTrust([]byte("old"), []*x509.Certificate{anchor}, nil)
	if _, err := before.identify(chain, x509.ExtKeyUsageServerAuth, now); err != nil {
		t.Fatal(err)
	}
	after, err := before.withResponse([][]byte{other.Raw})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(after.proofs.chains); n != 0 {
		t.Errorf("%d chains outlived their trust", n)
	}
}

func TestProofsAreBounded(t *testing.T) {
	var p proofs
	cert := []*x509.Certificate{{NotAfter: time.Now().Add(time.Hour)}}
	for i := range 3 * maxProofs {
		p.add(chainKey{byte(i), byte(i >> 8)}, cert)
	}
	if n := len(p.chains); n > maxProofs {
		t.Errorf("%d chains are remembered, want at most %d", n, maxProofs)
	}
}

func BenchmarkIdentify(b *testing.B) {
	now := time.Now()
	anchor, chain := testChain(b, now)
	for name, forget := range map[string]bool{"proven": false, "new": true} {
		b.Run(name, func(b *testing.B) {
			trusted := newTrust(nil, []*x509.Certificate{anchor}, nil)
			for b.Loop() {
				if forget {
					trusted.proofs.chains = nil
				}
				if _, err := trusted.identify(chain, x509.ExtKeyUsageServerAuth, now); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
