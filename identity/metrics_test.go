package identity

import (
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tulle-mesh/tulle/identity/ca"
	"github.com/tulle-mesh/tulle/internal/latest"
)

// TestValidityOfTheAuthorityIsInMetrics checks the times that alerts compare; they are 0 before there is an authority.
func TestValidityOfTheAuthorityIsInMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	var cell latest.Cell[*Authority]
	newMetrics(registry, &cell)
	times := func() map[string]float64 {
		t.Helper()
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]float64{}
		for _, f := range families {
			if name, ok := strings.CutSuffix(f.GetName(), "_timestamp_seconds"); ok {
				out[name] = f.GetMetric()[0].GetGauge().GetValue()
			}
		}
		return out
	}
	want := map[string]float64{"tulle_identity_issuer_start": 0, "tulle_identity_issuer_expiration": 0,
		"tulle_identity_trust_anchor_expiration": 0}
	if diff := cmp.Diff(want, times()); diff != "" {
		t.Errorf("before the first authority (-want +got):\n%s", diff)
	}
	anchor, issuer := newPairs(t, now)
	authority, notices := resolve(nil, input{issuerSecret(issuer), rootsMap(anchor)}, ca.Profile{}, now)
	if authority == nil {
		t.Fatal(notices)
	}
	cell.Store(authority)
	certificate := func(p ca.Pair) *x509.Certificate {
		block, _ := pem.Decode(p.CertPEM)
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	want = map[string]float64{
		"tulle_identity_issuer_start":            float64(certificate(issuer).NotBefore.Unix()),
		"tulle_identity_issuer_expiration":       float64(certificate(issuer).NotAfter.Unix()),
		"tulle_identity_trust_anchor_expiration": float64(certificate(anchor).NotAfter.Unix()),
	}
	if diff := cmp.Diff(want, times()); diff != "" {
		t.Errorf("with an authority (-want +got):\n%s", diff)
	}
}
