package forecast

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"math/big"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tulle-mesh/tulle/internal/goldentest"
)

var now = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)

// authority is a certificate with its key.
type authority struct {
	*x509.Certificate
	key *ecdsa.PrivateKey
}

// certify makes a certificate that lasts from a time to another, both from now, below parent or by itself.
func certify(t *testing.T, name string, from, to time.Duration, parent *authority) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(int64(len(name))), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(from), NotAfter: now.Add(to), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign}
	out := &authority{key: key}
	if parent == nil {
		parent = &authority{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent.Certificate, key.Public(), parent.key)
	if err == nil {
		out.Certificate, err = x509.ParseCertificate(der)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func list(of ...*authority) (out []*x509.Certificate) {
	for _, a := range of {
		out = append(out, a.Certificate)
	}
	return out
}

// healthy has an own anchor of five years, an own issuer of one, a webhook, and three proxies in two namespaces.
func healthy(t *testing.T) (Facts, *authority) {
	t.Helper()
	anchor := certify(t, "anchor", -day, 5*365*day, nil)
	issuer := certify(t, "issuer", -day, 364*day, anchor)
	webhook := certify(t, "webhook", -day, 29*day, nil)
	proxy := func(ns, workload, pod string) Proxy {
		return Proxy{Namespace: ns, Pod: pod, Workload: workload, Asked: true, Since: now.Add(-time.Hour),
			Until: now.Add(23 * time.Hour)}
	}
	return Facts{
		Now: now, Namespace: "tulle", Anchors: list(anchor), Issuer: list(issuer), Own: true, OwnAnchor: anchor.Certificate,
		Webhooks:  []Webhook{{Name: "tulle-proxy-injector", Leaf: webhook.Certificate}},
		Injecting: []string{"shop", "bank"},
		Proxies: []Proxy{proxy("shop", "deployment/web", "web-1"), proxy("shop", "deployment/web", "web-2"),
			proxy("bank", "pod/ledger", "ledger")},
	}, anchor
}

// TestForecast plants each end and looks before and after it.
func TestForecast(t *testing.T) {
	for _, test := range []struct {
		name  string
		plant func(t *testing.T, f *Facts, anchor *authority)
		at    []string
	}{
		{"nothing", func(*testing.T, *Facts, *authority) {}, []string{"+12h", "+30d", "2031-12-01"}},
		{"anchor-ends", func(t *testing.T, f *Facts, _ *authority) {
			a := certify(t, "short anchor", -day, 20*day, nil)
			f.Anchors, f.OwnAnchor, f.Issuer = list(a), a.Certificate, list(certify(t, "issuer", -day, 20*day, a))
		}, []string{"+19d", "+21d"}},
		{"old-anchor-ends", func(t *testing.T, f *Facts, anchor *authority) {
			f.Anchors = list(certify(t, "old anchor", -day, 20*day, nil), anchor)
		}, []string{"+21d"}},
		{"anchor-not-yet", func(t *testing.T, f *Facts, anchor *authority) {
			f.Anchors = list(certify(t, "next anchor", 20*day, 400*day, nil), anchor)
		}, []string{"+19d", "+21d"}},
		{"issuer-without-key", func(_ *testing.T, f *Facts, _ *authority) { f.OwnAnchor = nil }, []string{"+30d", "+365d"}},
		{"issuer-late", func(t *testing.T, f *Facts, anchor *authority) {
			f.Issuer = list(certify(t, "issuer", -90*day, 10*day, anchor))
		}, []string{"+1d", "+11d"}},
		{"issuer-of-files", func(_ *testing.T, f *Facts, _ *authority) { f.Own, f.OwnAnchor = false, nil },
			[]string{"+30d", "+365d"}},
		{"issuer-of-cert-manager", func(_ *testing.T, f *Facts, _ *authority) {
			f.Own, f.OwnAnchor, f.Renewer = false, nil, "Certificate tulle-issuer of cert-manager"
		}, []string{"+30d", "+365d", "+3650d"}},
		{"intermediate-ends", func(t *testing.T, f *Facts, anchor *authority) {
			middle := certify(t, "intermediate", -day, 40*day, anchor)
			f.Own, f.OwnAnchor, f.Issuer = false, nil, list(certify(t, "issuer", -day, 300*day, middle), middle)
		}, []string{"+41d"}},
		{"issuer-of-strangers", func(t *testing.T, f *Facts, _ *authority) {
			f.Own, f.Issuer = false, list(certify(t, "stranger", -day, 300*day, nil))
		}, []string{"+1h"}},
		{"webhook-immutable", func(_ *testing.T, f *Facts, _ *authority) {
			f.Webhooks[0].Blocked = "its Secret is immutable"
		}, []string{"+28d", "+30d"}},
		{"webhook-late", func(t *testing.T, f *Facts, _ *authority) {
			f.Webhooks[0].Leaf = certify(t, "webhook", -25*day, 5*day, nil).Certificate
		}, []string{"+6d"}},
		{"leaf-late", func(_ *testing.T, f *Facts, _ *authority) {
			f.Proxies[1].Since, f.Proxies[1].Until = now.Add(-20*time.Hour), now.Add(4*time.Hour)
		}, []string{"+3h", "+5h"}},
		{"leafs-not-known", func(_ *testing.T, f *Facts, _ *authority) {
			f.Proxies[0].Err, f.Proxies[1].Asked = "it does not answer", false
		}, []string{"+1d"}},
		{"dated", func(_ *testing.T, f *Facts, _ *authority) {
			f.Dated = []Dated{
				{Kind: "HTTPRoute", Namespace: "shop", Name: "web", Annotation: "fault.tulle.dev/until",
					Value: "2026-12-01T18:00:00Z", At: now.Add(6 * time.Hour), Enforced: true},
				{Kind: "Service", Namespace: "shop", Name: "api", Annotation: "fault.tulle.dev/until", Value: "soon",
					Problem: `"soon" is not a time`, Enforced: true},
				{Kind: "AuthorizationPolicy", Namespace: "shop", Name: "guest", Annotation: "policy.tulle.dev/expires-at",
					Value: "2026-12-02T00:00:00Z", At: now.Add(12 * time.Hour)},
				{Kind: "HTTPLocalRateLimitPolicy", Namespace: "shop", Name: "sale", Annotation: "policy.tulle.dev/not-before",
					Value: "2026-12-02T00:00:00Z", At: now.Add(12 * time.Hour)},
			}
		}, []string{"+5h", "+7h"}},
		{"unknown", func(_ *testing.T, f *Facts, _ *authority) {
			f.Issuer = nil
			f.Unknown = []Unknown{{"issuer", "you may not look: secrets is forbidden"}}
		}, []string{"+1d"}},
		{"no-proxies", func(_ *testing.T, f *Facts, _ *authority) { f.Proxies, f.Own, f.OwnAnchor = nil, false, nil },
			[]string{"+365d"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f, anchor := healthy(t)
			test.plant(t, &f, anchor)
			var got strings.Builder
			for _, at := range test.at {
				instant, err := ParseInstant(at, now)
				if err != nil {
					t.Fatal(err)
				}
				fmt.Fprintf(&got, "# --at %s\n", at)
				if err := Evaluate(f, instant).Write(&got, "table"); err != nil {
					t.Fatal(err)
				}
				fmt.Fprintln(&got)
			}
			golden(t, test.name+".txt", got.String())
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	goldentest.Equal(t, path, got)
}

// TestEndIsTheFirstMomentAfter: at the end itself a certificate is no longer counted on.
func TestEndIsTheFirstMomentAfter(t *testing.T) {
	f, _ := healthy(t)
	f.Own, f.OwnAnchor = false, nil
	end := f.Issuer[0].NotAfter
	if before, after := Evaluate(f, end.Add(-time.Second)), Evaluate(f, end); !before.Success || after.Success {
		t.Errorf("success %v a second before the end and %v at it; want true and false", before.Success, after.Success)
	}
}

func TestJSON(t *testing.T) {
	f, _ := healthy(t)
	f.Own, f.OwnAnchor = false, nil
	var out strings.Builder
	if err := Evaluate(f, now.Add(365*day)).Write(&out, "json"); err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Now, At    time.Time
		Success    bool
		FirstBreak struct {
			Time               time.Time
			Cause, Consequence string
			Hit                []Hit
		}
		Items []struct{ Kind, Name, State, Result string }
	}
	if err := json.Unmarshal([]byte(out.String()), &doc); err != nil {
		t.Fatal(err)
	}
	want := []Hit{{"bank", "pod/ledger", 1}, {"shop", "deployment/web", 2}}
	if diff := cmp.Diff(want, doc.FirstBreak.Hit); diff != "" || doc.Success || !doc.FirstBreak.Time.Equal(
		f.Issuer[0].NotAfter) || len(doc.Items) != 4 || doc.Items[1].State != string(Ended) {
		t.Errorf("got %s\nhit (-want +got):\n%s", out.String(), diff)
	}
}

func TestNamesCannotControlTheTerminal(t *testing.T) {
	f, _ := healthy(t)
	f.Dated = []Dated{{Kind: "Service", Name: "a\x1b[2J", Annotation: "x", Value: "\x1b[2J"}}
	var out strings.Builder
	if err := Evaluate(f, now).Write(&out, "table"); err != nil || strings.Contains(out.String(), "\x1b") {
		t.Errorf("error %v, got %q", err, out.String())
	}
}

func TestParseInstant(t *testing.T) {
	for text, want := range map[string]time.Time{
		"+30d":                      now.Add(30 * day),
		"+2w":                       now.Add(14 * day),
		"+12h":                      now.Add(12 * time.Hour),
		"+1h30m":                    now.Add(90 * time.Minute),
		"+0d":                       now,
		"2027-01-01":                time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC),
		"2027-01-01T12:00:00+02:00": time.Date(2027, 1, 1, 10, 0, 0, 0, time.UTC),
	} {
		if got, err := ParseInstant(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%s: got %v, %v; want %v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"":                     "neither a duration, a date nor a time",
		"soon":                 "neither a duration",
		"30d":                  "did you mean +30d?",
		"+":                    "not a duration",
		"+-3h":                 "not a duration",
		"++3h":                 "not a duration",
		"-3h":                  "neither a duration",
		"+1.5d":                `"1.5" is not a whole number`,
		"+5":                   "not a duration",
		"+99999999999999d":     "not a whole number",
		"+4000000000w":         "more than 100 years ahead",
		"2026-11-30":           "is in the past (it is 2026-12-01T12:00:00Z now)",
		"2027-01-01T12:00:00":  "it has no time zone; did you mean 2027-01-01T12:00:00Z?",
		"2027-13-01":           "neither a duration",
		"3026-01-01":           "more than 100 years ahead",
		"2027-01-01T25:00:00Z": "neither a duration",
	} {
		_, err := ParseInstant(text, now)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "want +30d") {
			t.Errorf("%q: got %v; want %q and what is accepted", text, err, want)
		}
	}
}
