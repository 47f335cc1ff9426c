package env

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/tulle-mesh/tulle/proxy/exchange"
)

// ConnectAttempts bounds the endpoints that are tried for one connection or request.
const ConnectAttempts = 3

// Dial connects to an address. Its errors are *exchange.DialError.
func Dial(ctx context.Context, addr netip.AddrPort, timeout time.Duration) (*net.TCPConn, error) {
	dialer := net.Dialer{Timeout: timeout, KeepAliveConfig: net.KeepAliveConfig{Enable: true}}
	c, err := dialer.DialContext(ctx, "tcp", addr.String())
	if err != nil {
		kind := exchange.DialRefused
		if IsTimeout(err) {
			kind = exchange.DialTimeout
		}
		return nil, exchange.NewDialError(kind, "", err)
	}
	return c.(*net.TCPConn), nil
}

// IsTimeout reports whether an error of a connection is a timeout.
func IsTimeout(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}

// Reset closes a connection with a TCP reset: its peer sees a failure, not an orderly end.
func Reset(conn *net.TCPConn) {
	_ = conn.SetLinger(0) // best effort: the connection may be gone
	_ = conn.Close()
}

// Unmap turns an IPv4-mapped IPv6 address into the IPv4 address.
func Unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// RemoteAddr returns the address of a connection's other end, unmapped.
func RemoteAddr(conn *net.TCPConn) netip.AddrPort {
	return Unmap(conn.RemoteAddr().(*net.TCPAddr).AddrPort())
}
