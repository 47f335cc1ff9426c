package proxy

import (
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/limit"
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
			if got := f.allow(addr(c.addr), c.now); got != c.want {
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
		f.failed(at(1<<20), time.Hour)
		if got := f.buckets.Len(); got > 2 {
			t.Errorf("%d addresses are kept after an hour, want the latest", got)
		}
	})
}

// A stranger's handshakes prove nothing: they count. When there were too many, its address gets no more of them, and others are served.
func TestAddressOfTooManyFailedHandshakes(t *testing.T) {
	p := startPair(t, pairConfig{app: listen(t, echo), protocol: mesh.Opaque})
	server := p.server.Addresses().Local.Inbound[0].String()
	stranger := netip.MustParseAddr("127.0.0.66")
	attempt := func() {
		dialer := net.Dialer{Timeout: 10 * time.Second, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(stranger, 0))}
		c, err := dialer.Dial("tcp", server)
		if err != nil {
			t.Fatal(err)
		}
		conn := tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{mesh.ALPNRelay}})
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		if conn.Handshake() == nil { // in TLS 1.3 the client's end is ready before the server looks at its certificate
			_, _ = conn.Read(make([]byte, 1))
		}
		_ = conn.Close()
	}
	failures := &p.server.inbound.handshakes
	wait := func() time.Duration {
		failures.mu.Lock()
		defer failures.mu.Unlock()
		return failures.buckets.Find(stranger).Wait(0)
	}
	attempt()
	if wait() == (*limit.Bucket)(nil).Wait(0) {
		t.Fatal("a failed handshake does not count")
	}
	for range 100 * handshakeBurst { // a stranger that is faster than this test
		failures.failed(stranger, p.server.now())
	}
	before := wait()
	attempt()
	if !strings.Contains(scrapeText(p.server), `error="handshake_rate"`) || wait() != before {
		t.Error("the address still gets handshakes, or it is not counted that it gets none")
	}
	c, got := dial(t, p.addr), make([]byte, 4)
	_, _ = io.WriteString(c, "ping")
	if _, err := io.ReadFull(c, got); string(got) != "ping" {
		t.Errorf("another address got %q, %v", got, err)
	}
}
