package outbound

import (
	"context"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tulle-mesh/tulle/mesh"
)

// TestWhoNoticesThatAPeerIsGone looks at the sockets of an outbound proxy: shared HTTP/2 to a peer without a proxy is
// watched by TCP, as the engine does not ping there; what backpressure may stop for long is not bounded.
func TestWhoNoticesThatAPeerIsGone(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	o, _ := newOutbound(t)
	s := newService(o.env, o.engine)
	ep := s.newEndpoint(mesh.Endpoint{Addr: netip.MustParseAddrPort(l.Addr().String())}, "")
	defer ep.close()
	own := s.newEndpoint(ep.Endpoint, "")
	own.loopback = true
	for _, test := range []struct {
		name              string
		dial              func(context.Context) (net.Conn, error)
		idle, every, user int // seconds, seconds, milliseconds
	}{
		{"HTTP/2 to a peer without a proxy", ep.dialHTTP2, 10, 5, 20_000},
		{"HTTP/2 within the pod", own.dialHTTP2, 15, 15, 0},
		{"HTTP/1 to a peer without a proxy", ep.dialPlain, 15, 15, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := test.dial(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			raw, err := c.(interface{ NetConn() net.Conn }).NetConn().(*net.TCPConn).SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			for option, want := range map[int]int{unix.TCP_KEEPIDLE: test.idle, unix.TCP_KEEPINTVL: test.every,
				unix.TCP_USER_TIMEOUT: test.user} {
				got := -1
				_ = raw.Control(func(fd uintptr) { got, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, option) })
				if got != want || err != nil {
					t.Errorf("option %d is %d, want %d (%v)", option, got, want, err)
				}
			}
		})
	}
}
