package proxy

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// soOriginalDst is SO_ORIGINAL_DST of linux/netfilter_ipv4.h and IP6T_SO_ORIGINAL_DST of
// linux/netfilter_ipv6/ip6_tables.h.
const soOriginalDst = 80

// kernelOrigDst asks the kernel for the original destination of a redirected connection, and returns it unmapped.
// Without redirection the kernel answers with an error or with the listener's own address. The loop guard refuses that.
func kernelOrigDst(c *net.TCPConn) (netip.AddrPort, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return netip.AddrPort{}, err
	}
	local, ok := c.LocalAddr().(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}, fmt.Errorf("original destination of %v: not TCP", c.LocalAddr())
	}
	lookup := kernelOrigDst6
	if local.IP.To4() != nil {
		lookup = kernelOrigDst4
	}
	var addr netip.AddrPort
	var lookupErr error
	if err := raw.Control(func(fd uintptr) { addr, lookupErr = lookup(int(fd)) }); err != nil {
		return netip.AddrPort{}, err
	}
	if lookupErr != nil {
		return netip.AddrPort{}, fmt.Errorf("original destination: %w", lookupErr)
	}
	return addr, nil
}

// kernelOrigDst4 reads a sockaddr_in through the only typed option of x/sys/unix that is at least as large.
func kernelOrigDst4(fd int) (netip.AddrPort, error) {
	m, err := unix.GetsockoptIPv6Mreq(fd, unix.SOL_IP, soOriginalDst)
	if err != nil {
		return netip.AddrPort{}, err
	}
	port := binary.BigEndian.Uint16(m.Multiaddr[2:4])
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(m.Multiaddr[4:8])), port), nil
}

// kernelOrigDst6 reads a sockaddr_in6; see kernelOrigDst4.
func kernelOrigDst6(fd int) (netip.AddrPort, error) {
	info, err := unix.GetsockoptIPv6MTUInfo(fd, unix.SOL_IPV6, soOriginalDst)
	if err != nil {
		return netip.AddrPort{}, err
	}
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&info.Addr.Port))[:])
	return netip.AddrPortFrom(netip.AddrFrom16(info.Addr.Addr).Unmap(), port), nil
}
