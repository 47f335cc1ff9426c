package mesh

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"
)

func testCert(t testing.TB, isCA bool) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: isCA,
		BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestParseRoots(t *testing.T) {
	a, b := string(testCert(t, true)), string(testCert(t, true))
	key := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte{1}}))
	cases := []struct {
		name   string
		bundle string
		want   int    // certificates
		err    string // part of the error
	}{
		{"one anchor", a, 1, ""},
		{"two anchors with text between", "# old\n" + a + "\n# new\n" + b + "\n", 2, ""},
		{"an anchor twice counts once", a + a, 1, ""},
		{"Windows line ends", strings.ReplaceAll(a, "\n", "\r\n"), 1, ""},
		{"nothing", "", 0, "no certificate"},
		{"text", "hello", 0, "no certificate"},
		{"a certificate that is not an authority", string(testCert(t, false)), 0, "not a CA"},
		{"a private key", a + key, 0, `type "PRIVATE KEY"`},
		{"second anchor cut short", a + b[:len(b)/2], 0, "broken PEM"},
		{"certificate of garbage", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", 0,
			"parse trust anchors"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			roots, err := ParseRoots([]byte(c.bundle))
			if (err == nil) != (c.err == "") || (err != nil && !strings.Contains(err.Error(), c.err)) {
				t.Fatalf("got error %v, want %q", err, c.err)
			}
			if len(roots) != c.want {
				t.Errorf("got %d anchors, want %d", len(roots), c.want)
			}
			if again, err := ParseRoots(EncodeRoots(roots)); c.want > 0 && (err != nil || len(again) != c.want) {
				t.Errorf("encoded and parsed again: %d anchors (%v)", len(again), err)
			}
		})
	}
}

func FuzzParseRoots(f *testing.F) {
	f.Add(testCert(f, true))
	f.Add([]byte("-----BEGIN CERTIFICATE-----"))
	f.Fuzz(func(t *testing.T, bundle []byte) {
		if roots, err := ParseRoots(bundle); (err == nil) != (len(roots) > 0) {
			t.Fatalf("%d anchors and error %v", len(roots), err)
		}
	})
}
