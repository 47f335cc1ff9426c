package reverify

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"github.com/tulle-mesh/tulle/identity/workload"
	"github.com/tulle-mesh/tulle/internal/meshtest"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/env"
	"github.com/tulle-mesh/tulle/proxy/forward"
	"github.com/tulle-mesh/tulle/proxy/sock"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

var (
	web  = mesh.ID{TrustDomain: mesh.DefaultTrustDomain, Namespace: "shop", ServiceAccount: "web"}
	cart = mesh.ID{TrustDomain: mesh.DefaultTrustDomain, Namespace: "shop", ServiceAccount: "cart"}
)

func newReviewer(t *testing.T, m *workload.Manager) *Reviewer {
	t.Helper()
	return New(&env.Env{
		Log: zaptest.NewLogger(t), Stats: stats.NewRegistry(), Certs: m, Started: time.Now(),
		Times: env.Times{Handshake: 5 * time.Second, ExpirySpread: 5 * time.Second, ExpiryGrace: 30 * time.Second},
	})
}

// replace gives m another certificate and other anchors.
func replace(t *testing.T, m *workload.Manager, by *meshtest.CA, roots []*x509.Certificate) {
	t.Helper()
	if err := m.ReplaceStatic(by.Issue(m.ID()), roots); err != nil {
		t.Fatal(err)
	}
}

// dialEcho connects to a server that sends back what it gets.
func dialEcho(t *testing.T) net.Conn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if c, err := l.Accept(); err == nil {
			defer c.Close()
			_, _ = io.Copy(c, c)
		}
	})
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); l.Close(); wg.Wait() })
	return c
}

func TestRotateAt(t *testing.T) {
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name       string
		life, age  time.Duration
		least, end time.Duration // of the result, counted from from
	}{
		{"a day: within the last ten minutes", 24 * time.Hour, 0, 24*time.Hour - 10*time.Minute, 24 * time.Hour},
		{"ten minutes: within the last one", 10 * time.Minute, time.Minute, 9 * time.Minute, 10 * time.Minute},
		{"made within that time: at the end", 24 * time.Hour, 24*time.Hour - 5*time.Minute, 24 * time.Hour, 24 * time.Hour},
		{"over: at its end, which has come", time.Hour, 2 * time.Hour, time.Hour, time.Hour},
		{"no life at all", 0, 0, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			for range 100 {
				got := rotateAt(from, from.Add(c.life), from.Add(c.age)).Sub(from)
				if got < c.least || got > c.end {
					t.Fatalf("got %v, want %v to %v", got, c.least, c.end)
				}
			}
		})
	}
}

// TestRequestsGoBeforeSignatures has the chains of many peers checked on one thread, while somebody else has bytes to
// answer.
func TestRequestsGoBeforeSignatures(t *testing.T) {
	const peers = 200
	ours := meshtest.NewCA(t)
	manager := ours.Certs(web)
	x := newReviewer(t, manager)
	for i := range peers {
		peer := mesh.ID{TrustDomain: web.TrustDomain, Namespace: "shop", ServiceAccount: fmt.Sprint("peer", i)}
		x.relays[secured(t, manager, ours, peer)] = &watched{direction: stats.Outbound, cut: func() {}}
	}
	c := dialEcho(t)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	x.Review(time.Now()) // by what the handshakes left
	replace(t, manager, ours, slices.Concat(ours.Roots(), meshtest.NewCA(t).Roots()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		x.Review(time.Now())
	}()
	answers := 0
	for open := true; open; answers++ {
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		select {
		case <-done:
			open = false
		default:
		}
	}
	if len(x.peers) != peers || answers < peers/10 {
		t.Errorf("%d answers while %d chains were checked", answers, len(x.peers))
	}
}

// secured returns our end of a mesh connection to the peer.
func secured(t *testing.T, m *workload.Manager, by *meshtest.CA, peer mesh.ID) *sock.Conn {
	t.Helper()
	a, b := net.Pipe()
	t.Cleanup(func() { a.Close(); b.Close() })
	server := tls.Server(b, &tls.Config{Certificates: []tls.Certificate{by.Issue(peer)},
		NextProtos: []string{mesh.ALPNRelay}, SessionTicketsDisabled: true})
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { _ = server.Handshake() }) // what is wrong with it, the client says as well
	conn, err := sock.Client(t.Context(), sock.New(a, nil), m.ClientTLS(peer, mesh.ALPNRelay))
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// TestGraceBeginsAgainAfterAWrongBundle drops an anchor, has a bundle that strands us until after the grace, and then
// drops it again: while stranded nothing could be drained, so that to cut at once would fail requests.
func TestGraceBeginsAgainAfterAWrongBundle(t *testing.T) {
	old, fresh := meshtest.NewCA(t), meshtest.NewCA(t)
	manager := fresh.Certs(web)
	x := newReviewer(t, manager)
	p := &peerExpiry{watched: watched{direction: stats.Outbound, engine: &forward.Engine{}},
		chain: []*x509.Certificate{old.Issue(cart).Leaf}}
	now := time.Now()
	first, _ := manager.Anchors()
	x.evaluate(p, first, now)
	cutAt := p.cutAt
	if cutAt.IsZero() {
		t.Fatal("not to be cut without its anchor")
	}
	replace(t, manager, fresh, slices.Concat(fresh.Roots(), meshtest.NewCA(t).Roots()))
	second, _ := manager.Anchors()
	if x.evaluate(p, second, now.Add(time.Second)); !p.cutAt.Equal(cutAt) {
		t.Errorf("another bundle within the grace moved the cut from %v to %v", cutAt, p.cutAt)
	}
	now = now.Add(time.Hour)
	if x.evaluate(p, first, now); p.cutAt.Before(now.Add(x.env.Times.ExpiryGrace)) || p.drainAt.Before(now) {
		t.Errorf("an hour after the cut was due: drained at %v, cut at %v, now is %v", p.drainAt, p.cutAt, now)
	}
}
