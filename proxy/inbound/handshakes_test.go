package inbound

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"github.com/tulle-mesh/tulle/identity/workload"
	"github.com/tulle-mesh/tulle/internal/meshtest"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/authz"
	"github.com/tulle-mesh/tulle/proxy/clock"
	"github.com/tulle-mesh/tulle/proxy/env"
	"github.com/tulle-mesh/tulle/proxy/idle"
	"github.com/tulle-mesh/tulle/proxy/limit"
	"github.com/tulle-mesh/tulle/proxy/reverify"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

func TestFailedHandshakesAreBounded(t *testing.T) {
	addr := netip.MustParseAddr
	at := func(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}) }
	t.Run("of one address", func(t *testing.T) {
		var f failedHandshakes
		for i := range handshakeBurst {
			if !f.allow(addr("10.0.0.1"), 0) {
				t.Fatalf("failure %d is not allowed", i)
			}
			f.failed(addr("10.0.0.1"), 0)
		}
		for _, c := range []struct {
			addr string
			now  time.Duration
			want bool
		}{
			{"10.0.0.1", 0, false}, {"10.0.0.2", 0, true}, {"10.0.0.1", handshakeCost, true}, {"10.0.0.1", time.Minute, true},
		} {
			if got := f.allow(addr(c.addr), clock.Instant(c.now)); got != c.want {
				t.Errorf("allow(%s, %s) = %v, want %v", c.addr, c.now, got, c.want)
			}
		}
	})
	t.Run("of a neighbour in the same /64", func(t *testing.T) {
		var f failedHandshakes
		for range handshakeBurst {
			f.failed(addr("2001:db8::1"), 0)
		}
		if f.allow(addr("2001:db8::1"), 0) || !f.allow(addr("2001:db8::2"), 0) {
			t.Error("each address has its own bound")
		}
	})
	t.Run("of many addresses", func(t *testing.T) {
		var f failedHandshakes
		for n := range 10 * limit.MaxBuckets {
			f.failed(at(n), 0)
		}
		if got := f.buckets.Len(); got > limit.MaxBuckets {
			t.Errorf("%d addresses are kept, want at most %d", got, limit.MaxBuckets)
		}
		if !f.allow(at(0), 0) || !f.allow(at(1<<21), 0) {
			t.Error("an address that failed once, or never, is refused")
		}
		f.failed(at(1<<20), clock.Instant(time.Hour))
		if got := f.buckets.Len(); got > 2 {
			t.Errorf("%d addresses are kept after an hour, want the latest", got)
		}
	})
}

// A stranger's handshakes prove nothing: they count. When there were too many, its address gets no more of them, and
// others are served.
func TestAddressOfTooManyFailedHandshakes(t *testing.T) {
	ca := meshtest.NewCA(t)
	cart := mesh.ID{TrustDomain: mesh.DefaultTrustDomain, Namespace: "shop", ServiceAccount: "cart"}
	web := mesh.ID{TrustDomain: mesh.DefaultTrustDomain, Namespace: "shop", ServiceAccount: "web"}
	in, addr := serveEcho(t, ca.Certs(cart))
	stranger := netip.MustParseAddr("127.0.0.66")
	attempt := func() error {
		dialer := net.Dialer{Timeout: 10 * time.Second, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(stranger, 0))}
		c, err := dialer.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		conn := tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{mesh.ALPNRelay}})
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		if err := conn.Handshake(); err != nil {
			return err
		}
		_, err = conn.Read(make([]byte, 1)) // in TLS 1.3 the server looks at the certificate after the client's end is ready
		return err
	}
	wait := func() time.Duration {
		in.handshakes.mu.Lock()
		defer in.handshakes.mu.Unlock()
		return in.handshakes.buckets.Find(stranger).Wait(0)
	}
	if err := attempt(); errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a failed handshake ends with %v, want an alert", err)
	}
	meshtest.Await(t, "a failed handshake counts", func() bool { return wait() != (*limit.Bucket)(nil).Wait(0) })
	for range 100 * handshakeBurst { // a stranger that is faster than this test
		in.handshakes.failed(stranger, in.env.Now())
	}
	before := wait()
	if err := attempt(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the address of too many failed handshakes gets %v, want a reset", err)
	}
	meshtest.Await(t, "the refusal is counted", func() bool {
		var text strings.Builder
		return in.env.Stats.WriteText(&text) == nil && strings.Contains(text.String(), `error="handshake_rate"`)
	})
	if wait() != before {
		t.Error("the address still gets handshakes")
	}
	c, err := tls.Dial("tcp", addr, ca.Certs(web).ClientTLS(cart, mesh.ALPNRelay))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	got := make([]byte, 4)
	_, _ = io.WriteString(c, "ping")
	if _, err := io.ReadFull(c, got); string(got) != "ping" {
		t.Errorf("another address got %q, %v", got, err)
	}
}

// serveEcho runs an inbound side, in front of an opaque application that sends back what it gets, until the test ends.
func serveEcho(t *testing.T, certs *workload.Manager) (in *Inbound, addr string) {
	t.Helper()
	e := &env.Env{
		Log: zaptest.NewLogger(t), Stats: stats.NewRegistry(), Certs: certs, Started: time.Now(), Self: env.Self{Local: true},
		Times: env.Times{Handshake: 5 * time.Second, InboundConnect: time.Second, InboundDetect: time.Second},
	}
	policy := &mesh.Inbound{Default: mesh.PortPolicy{Policy: mesh.AllUnauthenticated, Protocol: mesh.Opaque}}
	in = New(Config{Env: e, Reviewer: reverify.New(e), Policy: authz.Compile(policy, nil)})
	ctx, cancel := context.WithCancel(context.Background())
	app := accept(t, func(c *net.TCPConn) {
		_, _ = io.Copy(c, c)
		_ = c.Close()
	})
	entrance := accept(t, func(c *net.TCPConn) {
		owner := idle.NewOwner(c)
		defer owner.End()
		in.Serve(ctx, owner, app)
	})
	t.Cleanup(cancel) // before the listeners wait
	return in, entrance.String()
}

// accept serves connections with serve until the test ends.
func accept(t *testing.T, serve func(*net.TCPConn)) netip.AddrPort {
	t.Helper()
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.AcceptTCP()
			if err != nil {
				return
			}
			wg.Go(func() { serve(c) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return l.Addr().(*net.TCPAddr).AddrPort()
}
