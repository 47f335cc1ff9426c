package workload

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/tulle-mesh/tulle/identity/ca"
	"github.com/tulle-mesh/tulle/mesh"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var web = mesh.ID{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "web"}

// authority is a trust anchor with an issuer under it.
type authority struct {
	issuer *ca.Issuer
	roots  []*x509.Certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	anchor, err := ca.NewAnchor("cluster.local", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	roots, err := mesh.ParseRoots(anchor.CertPEM)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.NewIssuer(anchor, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := ca.Load(pair.CertPEM, pair.KeyPEM, roots, ca.Profile{}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return &authority{issuer: issuer, roots: roots}
}

func (a *authority) sign(csr []byte) [][]byte {
	token, err := a.issuer.Prepare(csr, web, time.Now())
	if err != nil {
		panic(err)
	}
	leaf, err := a.issuer.Issue(token)
	if err != nil {
		panic(err)
	}
	return leaf.Chain
}

// script is a certifier that records its calls and returns prepared responses.
type script struct {
	mu       sync.Mutex // guards the fields below
	asked    []time.Time
	response func(csr []byte) (*response, error)
}

func (s *script) certify(_ context.Context, csr []byte) (*response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, time.Now())
	return s.response(csr)
}

func (s *script) set(response func(csr []byte) (*response, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.response = response
}

func (s *script) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked)
}

func (s *script) gaps() []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	var gaps []time.Duration
	for i := 1; i < len(s.asked); i++ {
		gaps = append(gaps, s.asked[i].Sub(s.asked[i-1]))
	}
	return gaps
}

// inBubble calls what with a Manager on fake time. script responds to it, and start runs it until what returns.
func inBubble(t *testing.T, what func(t *testing.T, m *Manager, a *authority, s *script, start func())) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "ca-bundle.crt")
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t)
		m := New(Config{ID: web, TrustRootsFile: name})
		s := &script{response: func(csr []byte) (*response, error) { return &response{chain: a.sign(csr)}, nil }}
		m.certifier = s
		writeRoots(t, m, a.roots)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		what(t, m, a, s, func() {
			go func() { done <- m.Run(ctx) }()
			synctest.Wait()
		})
		cancel()
		<-done
	})
}

func writeRoots(t *testing.T, m *Manager, roots []*x509.Certificate) {
	t.Helper()
	if err := os.WriteFile(m.rootsFile, mesh.EncodeRoots(roots), 0o600); err != nil {
		t.Fatal(err)
	}
}

// pass advances fake time by d and waits until all due work is done.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestCertificateIsRenewedAroundHalfOfItsLife(t *testing.T) {
	inBubble(t, func(t *testing.T, m *Manager, _ *authority, s *script, start func()) {
		start()
		first := m.Status()
		pass(100 * time.Hour)
		gaps := s.gaps()
		if len(gaps) < 7 {
			t.Fatalf("%d renewals in 100 hours", len(gaps))
		}
		for _, gap := range gaps {
			if gap < 24*time.Hour*45/100-time.Minute || gap > 24*time.Hour*55/100+time.Minute {
				t.Errorf("renewed after %v, want 45 to 55 %% of 24h", gap)
			}
		}
		if slices.Max(gaps) == slices.Min(gaps) {
			t.Error("renewals have no jitter")
		}
		if now := m.Status(); !now.NotAfter.After(first.NotAfter) || now.Failures != 0 || int(now.Refreshes) != s.count() {
			t.Errorf("status %+v after %d requests", now, s.count())
		}
	})
}

func TestFailedRenewalKeepsTheCertificateUntilItEnds(t *testing.T) {
	inBubble(t, func(t *testing.T, m *Manager, a *authority, s *script, start func()) {
		start()
		end := m.Status().NotAfter
		away := errors.New("identity controller is away")
		s.set(func([]byte) (*response, error) { return nil, away })
		pass(time.Until(end) - time.Minute)
		if err := m.Err(); err != nil {
			t.Errorf("a minute before the end: %v", err)
		}
		status := m.Status()
		if status.Failures < 100 || !errors.Is(status.LastError, away) || status.Refreshes != 1 {
			t.Errorf("status %+v", status)
		}
		gaps := s.gaps()[1:]
		if gaps[0] < 375*time.Millisecond || gaps[0] > 625*time.Millisecond {
			t.Errorf("first pause %v, want 0.5s give or take a quarter", gaps[0])
		}
		if longest := slices.Max(gaps); longest < 110*time.Second || longest > 188*time.Second {
			t.Errorf("longest pause %v, want 150s give or take a quarter", longest)
		}
		pass(2 * time.Minute)
		if err := m.Err(); !errors.Is(err, ErrNoCertificate) {
			t.Errorf("after the end: got %v, want %v", err, ErrNoCertificate)
		}
		s.set(func(csr []byte) (*response, error) { return &response{chain: a.sign(csr)}, nil })
		pass(30 * time.Second)
		if err := m.Err(); err != nil {
			t.Errorf("half a minute after the controller came back: %v", err)
		}
	})
}

func TestFirstCertificateComesSoonAfterTheController(t *testing.T) {
	for _, away := range []time.Duration{time.Second, 10 * time.Second, 29 * time.Second, time.Minute, time.Hour} {
		t.Run(away.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T, m *Manager, a *authority, s *script, start func()) {
				s.set(func([]byte) (*response, error) { return nil, errors.New("identity controller is away") })
				start()
				pass(away)
				failed := s.count()
				s.set(func(csr []byte) (*response, error) { return &response{chain: a.sign(csr)}, nil })
				back := time.Now()
				<-m.Ready()
				bound := 750 * time.Millisecond
				if away > eagerness {
					bound = 30 * time.Second
				}
				if waited := time.Since(back); waited > bound {
					t.Errorf("waited %v, want %v at most", waited, bound)
				}
				// With jitter, at most four attempts a second fit into the first half minute.
				if most := 4*int(min(away, eagerness)/time.Second) + int(away/(18*time.Second)) + 8; failed > most {
					t.Errorf("asked %d times within %v, want %d at most", failed, away, most)
				}
			})
		})
	}
}

func TestAnswersThatDoNotFitAreNotUsed(t *testing.T) {
	stranger := func(t *testing.T) *authority { return newAuthority(t) }
	cases := []struct {
		name     string
		response func(t *testing.T, a *authority, csr []byte) *response
	}{
		{"another authority", func(t *testing.T, _ *authority, csr []byte) *response {
			return &response{chain: stranger(t).sign(csr)}
		}},
		{"no certificate", func(*testing.T, *authority, []byte) *response { return &response{} }},
		{"garbage", func(*testing.T, *authority, []byte) *response { return &response{chain: [][]byte{{1, 2, 3}}} }},
		{"anchors that are garbage", func(_ *testing.T, a *authority, csr []byte) *response {
			return &response{chain: a.sign(csr), anchors: [][]byte{{1}}}
		}},
		{"an anchor that is not an authority", func(_ *testing.T, a *authority, csr []byte) *response {
			chain := a.sign(csr)
			return &response{chain: chain, anchors: chain[:1]}
		}},
		{"a certificate of yesterday", func(t *testing.T, a *authority, csr []byte) *response {
			token, err := a.issuer.Prepare(csr, web, time.Now().Add(-25*time.Hour))
			if err != nil {
				return &response{}
			}
			leaf, err := a.issuer.Issue(token)
			if err != nil {
				t.Error(err)
			}
			return &response{chain: leaf.Chain}
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, m *Manager, a *authority, s *script, start func()) {
				s.set(func(csr []byte) (*response, error) { return c.response(t, a, csr), nil })
				start()
				pass(time.Minute)
				select {
				case <-m.Ready():
					t.Error("the response was used")
				default:
				}
				if status := m.Status(); status.Failures == 0 || status.LastError == nil {
					t.Errorf("status %+v", status)
				}
			})
		})
	}
}

func TestTrustAnchorsFollowTheFile(t *testing.T) {
	inBubble(t, func(t *testing.T, m *Manager, old *authority, s *script, start func()) {
		start()
		fresh := newAuthority(t)
		trusts := func(a *authority) bool {
			return m.verify(chainOf(t, a), x509.ExtKeyUsageClientAuth, mesh.ID{}) == nil
		}
		if !trusts(old) || trusts(fresh) {
			t.Fatal("at first only the old anchor is trusted")
		}
		writeRoots(t, m, append(slices.Clone(old.roots), fresh.roots...))
		pass(pollInterval)
		if !trusts(old) || !trusts(fresh) {
			t.Error("both anchors of the bundle must be trusted")
		}
		for _, broken := range []string{"", "hello", "-----BEGIN CERTIFICATE-----\nAAAA"} {
			if err := os.WriteFile(m.rootsFile, []byte(broken), 0o600); err != nil {
				t.Fatal(err)
			}
			before := m.Status().RootsErrors
			pass(pollInterval)
			if !trusts(old) || !trusts(fresh) || m.Status().RootsErrors <= before {
				t.Errorf("with the bundle %q the last good one must stay, and be counted", broken)
			}
		}
		asked := s.count()
		s.set(func(csr []byte) (*response, error) { return &response{chain: fresh.sign(csr)}, nil })
		writeRoots(t, m, fresh.roots)
		pass(pollInterval + time.Second)
		if trusts(old) || !trusts(fresh) {
			t.Error("the anchor that was dropped is still trusted, or the other one is not")
		}
		if s.count() != asked+1 || m.Err() != nil {
			t.Errorf("%d requests after our own certificate lost its anchor, want 1 (%v)", s.count()-asked, m.Err())
		}
	})
}

// chainOf returns a certificate of web that the authority signed.
func chainOf(t *testing.T, a *authority) []*x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	var chain []*x509.Certificate
	for _, der := range a.sign(csr) {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		chain = append(chain, cert)
	}
	return chain
}

func TestAnchorOfTheAnswerCountsUntilTheFileChanges(t *testing.T) {
	inBubble(t, func(t *testing.T, m *Manager, old *authority, s *script, start func()) {
		fresh := newAuthority(t)
		s.set(func(csr []byte) (*response, error) {
			return &response{chain: fresh.sign(csr), anchors: [][]byte{old.roots[0].Raw, fresh.roots[0].Raw}}, nil
		})
		start()
		if err := m.Err(); err != nil {
			t.Fatalf("a certificate under an anchor that only the response names: %v", err)
		}
		chain := chainOf(t, fresh)
		if err := m.verify(chain, x509.ExtKeyUsageClientAuth, mesh.ID{}); err != nil {
			t.Errorf("a peer under that anchor: %v", err)
		}
		s.set(func(csr []byte) (*response, error) { return &response{chain: old.sign(csr)}, nil })
		writeRoots(t, m, append(slices.Clone(old.roots), newAuthority(t).roots...))
		pass(pollInterval)
		if m.verify(chain, x509.ExtKeyUsageClientAuth, mesh.ID{}) == nil {
			t.Error("a file that changed after the response must overrule it")
		}
		if err := m.Err(); err != nil || s.count() != 2 {
			t.Errorf("%d requests, want a second one at once (%v)", s.count(), err)
		}
	})
}

// TestAnchorsSayWhenTheyChange follows what watchers of open connections see. An invalid bundle is not a change.
func TestAnchorsSayWhenTheyChange(t *testing.T) {
	inBubble(t, func(t *testing.T, m *Manager, old *authority, s *script, start func()) {
		start()
		fresh := newAuthority(t)
		chain := chainOf(t, old)
		end := chain[0].NotAfter
		anchors, replaced := m.Anchors()
		changed := func() bool {
			select {
			case <-replaced:
				return true
			default:
				return false
			}
		}
		for _, broken := range []string{"", "hello", string(mesh.EncodeRoots(old.roots))} {
			if err := os.WriteFile(m.rootsFile, []byte(broken), 0o600); err != nil {
				t.Fatal(err)
			}
			pass(pollInterval)
			if now, _ := m.Anchors(); changed() || now != anchors {
				t.Errorf("a bundle %q changed the anchors", broken)
			}
		}
		writeRoots(t, m, append(slices.Clone(old.roots), fresh.roots...))
		pass(pollInterval)
		if !changed() {
			t.Fatal("the appended anchor closed no channel")
		}
		both, _ := m.Anchors()
		if until, reason := both.Vouch(chain, x509.ExtKeyUsageClientAuth, time.Now()); reason != "" || !until.Equal(end) {
			t.Errorf("an anchor beside: %v, %q; want %v", until, reason, end)
		}
		if _, reason := both.Vouch(chain, x509.ExtKeyUsageClientAuth, end.Add(time.Second)); reason != OutOfTime {
			t.Errorf("after the end of the certificate: %q, want %q", reason, OutOfTime)
		}
		s.set(func([]byte) (*response, error) { return nil, errors.New("identity controller is away") })
		writeRoots(t, m, fresh.roots)
		pass(pollInterval)
		dropped, _ := m.Anchors()
		if _, reason := dropped.Vouch(chain, x509.ExtKeyUsageClientAuth, time.Now()); reason != Untrusted {
			t.Errorf("anchor dropped: %q, want %q", reason, Untrusted)
		}
		for _, at := range []time.Time{end.Add(time.Hour), chain[0].NotBefore.Add(-time.Hour)} {
			if _, reason := dropped.Vouch(chain, x509.ExtKeyUsageClientAuth, at); reason != Untrusted {
				t.Errorf("anchor dropped, and out of time at %v: %q, want %q", at, reason, Untrusted)
			}
		}
		junk := slices.Concat(chain, newAuthority(t).roots)
		if _, reason := both.Vouch(junk, x509.ExtKeyUsageClientAuth, end.Add(time.Second)); reason != OutOfTime {
			t.Errorf("after the end, with a stranger's certificate in the chain: %q, want %q", reason, OutOfTime)
		}
		if m.Accepted(time.Now()) == nil {
			t.Error("our own certificate is said to be accepted without its anchor")
		}
		s.set(func(csr []byte) (*response, error) { return &response{chain: fresh.sign(csr)}, nil })
		pass(time.Minute)
		if err := m.Accepted(time.Now()); err != nil {
			t.Errorf("after a new certificate: %v", err)
		}
		if _, reason := (Anchors{}).Vouch(chain, x509.ExtKeyUsageClientAuth, time.Now()); reason != NoTrust {
			t.Errorf("no anchors: %q, want %q", reason, NoTrust)
		}
	})
}
