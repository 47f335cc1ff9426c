package outbound

import (
	"context"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tulle-mesh/tulle/proxy/env"
	"github.com/tulle-mesh/tulle/proxy/sock"
)

// How TCP detects that an HTTP/2 peer without a proxy is gone. The engine does not ping it: gRPC servers end
// connections that are pinged while they are silent (forward.Config.Silence).
const (
	// keepaliveAfter is how long the connection is silent before TCP probes it, every keepaliveEvery.
	keepaliveAfter, keepaliveEvery = 10 * time.Second, 5 * time.Second
	// unacknowledged is how long data and probes may stay without an answer. Source: gRPC's keepalive timeout, which
	// grpc-go and C-core also set as TCP_USER_TIMEOUT.
	unacknowledged = 20 * time.Second
)

// watchPeer makes TCP end the connection when the peer is gone. TCP_USER_TIMEOUT also ends a connection whose peer
// reads nothing for that long. That would be wrong for HTTP/1 and opaque TCP, where a receiver slows its sender by not
// reading. HTTP/2 has windows for that.
func watchPeer(c *net.TCPConn) error {
	config := net.KeepAliveConfig{Enable: true, Idle: keepaliveAfter, Interval: keepaliveEvery}
	if err := c.SetKeepAliveConfig(config); err != nil {
		return err
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	if err := raw.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(unacknowledged.Milliseconds()))
	}); err != nil {
		return err
	}
	return os.NewSyscallError("setsockopt TCP_USER_TIMEOUT", set)
}

// dialHTTP2 connects to an endpoint without a proxy for shared HTTP/2. A connection within the pod needs no watching:
// the kernel reports the end of its peer.
func (ep *endpoint) dialHTTP2(ctx context.Context) (net.Conn, error) {
	c, err := env.Dial(ctx, ep.Addr, ep.service.env.Times.OutboundConnect)
	if err != nil {
		return nil, err
	}
	if !ep.loopback {
		if err := watchPeer(c); err != nil {
			_ = c.Close()
			return nil, err
		}
	}
	return sock.New(c, nil), nil
}
