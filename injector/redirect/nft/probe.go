package nft

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// probeTimeout bounds one probe. A redirected connection stays inside the namespace and takes microseconds.
const probeTimeout = 2 * time.Second

// ErrNotCaptured means that the rules are in the kernel but have no effect.
var ErrNotCaptured = errors.New("the connection did not arrive at the proxy's port")

// ProbeResult is the result of a probe.
type ProbeResult uint8

// The results. Captured is the proof. NoRoute means that the namespace has no route to the outside in this family.
// Occupied means that the proxy already listens, for example when a kubelet runs the init container of a running pod
// again.
const (
	Captured ProbeResult = iota
	NoRoute
	Occupied
)

// String returns the result in words.
func (o ProbeResult) String() string {
	return [...]string{"captured", "no route", "proxy is running already"}[o]
}

// Probe opens a connection to target and proves that it arrives at port of the family's loopback address, with target
// as its original destination. target must be an address that nobody has. If the rules work, no packet leaves the
// namespace. The caller must not run as the proxy's user.
func Probe(ctx context.Context, target netip.AddrPort, port uint16) (ProbeResult, error) {
	if !routed(target) {
		return NoRoute, nil
	}
	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if target.Addr().Is6() {
		loopback = netip.IPv6Loopback()
	}
	lis, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(loopback, port)))
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return Occupied, nil
	case errors.Is(err, unix.EADDRNOTAVAIL) && target.Addr().Is6():
		return NoRoute, nil // IPv6 is disabled on the loopback interface, so the proxy cannot listen there either
	case err != nil:
		return 0, fmt.Errorf("listen on the proxy's port: %w", err)
	}
	defer func() { _ = lis.Close() }()
	return Captured, probe(ctx, lis, target)
}

func probe(ctx context.Context, lis *net.TCPListener, target netip.AddrPort) error {
	deadline := time.Now().Add(probeTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	dialer := net.Dialer{Deadline: deadline}
	out, err := dialer.DialContext(ctx, "tcp", target.String())
	if err != nil {
		return fmt.Errorf("%w: connect to %s: %w", ErrNotCaptured, target, err)
	}
	defer func() { _ = out.Close() }()
	if err := lis.SetDeadline(deadline); err != nil {
		return err
	}
	in, err := lis.AcceptTCP()
	if err != nil {
		return fmt.Errorf("%w: connect to %s was answered by somebody else: %w", ErrNotCaptured, target, err)
	}
	defer func() { _ = in.Close() }()
	original, err := originalDestination(in)
	if err != nil {
		return fmt.Errorf("read the original destination of %s: %w", target, err)
	}
	if original != target {
		return fmt.Errorf("%w: the original destination of %s reads %s", ErrNotCaptured, target, original)
	}
	return nil
}

// routed reports whether the namespace has a route to the address. Connecting a datagram socket looks up the route and
// sends nothing.
func routed(target netip.AddrPort) bool {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(target))
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// originalDestination asks connection tracking for the original destination of a redirected connection. The x/sys calls
// are those whose result is large enough for a socket address of the family.
func originalDestination(conn *net.TCPConn) (netip.AddrPort, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return netip.AddrPort{}, err
	}
	var addr netip.AddrPort
	var sockErr error
	v6 := conn.LocalAddr().(*net.TCPAddr).AddrPort().Addr().Is6()
	err = raw.Control(func(fd uintptr) {
		if v6 {
			var info *unix.IPv6MTUInfo
			if info, sockErr = unix.GetsockoptIPv6MTUInfo(int(fd), unix.SOL_IPV6, unix.SO_ORIGINAL_DST); sockErr == nil {
				port := binary.NativeEndian.AppendUint16(nil, info.Addr.Port) // the field is in network order
				addr = netip.AddrPortFrom(netip.AddrFrom16(info.Addr.Addr), binary.BigEndian.Uint16(port))
			}
			return
		}
		var b *unix.IPv6Mreq
		if b, sockErr = unix.GetsockoptIPv6Mreq(int(fd), unix.SOL_IP, unix.SO_ORIGINAL_DST); sockErr == nil {
			m := b.Multiaddr // struct sockaddr_in: family, port, address
			addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte(m[4:8])), uint16(m[2])<<8|uint16(m[3]))
		}
	})
	return addr, errors.Join(err, sockErr)
}
