package env

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// IsLocal reports whether the routes of the network namespace deliver packets for an address locally. They do for the
// current addresses of its interfaces. Callers ask only for addresses that the pod's status does not list.
func IsLocal(a netip.Addr) (bool, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return false, fmt.Errorf("look up route to %s: %w", a, err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Sendto(fd, routeRequest(a), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return false, fmt.Errorf("look up route to %s: %w", a, err)
	}
	var answer [512]byte
	n, _, err := unix.Recvfrom(fd, answer[:], unix.MSG_DONTWAIT) // it is there since Sendto returned
	if err != nil {
		return false, fmt.Errorf("look up route to %s: %w", a, err)
	}
	local, err := parseRoute(answer[:n])
	if err != nil {
		return false, fmt.Errorf("look up route to %s: %w", a, err)
	}
	return local, nil
}

// routeRequest writes an RTM_GETROUTE for one address: struct nlmsghdr, struct rtmsg and the attribute RTA_DST. Source:
// rtnetlink(7).
func routeRequest(a netip.Addr) []byte {
	addr, family := a.AsSlice(), byte(unix.AF_INET)
	if a.Is6() {
		family = unix.AF_INET6
	}
	size := unix.SizeofNlMsghdr + unix.SizeofRtMsg + unix.SizeofRtAttr + len(addr)
	b := binary.NativeEndian.AppendUint32(make([]byte, 0, size), uint32(size))
	b = binary.NativeEndian.AppendUint16(b, unix.RTM_GETROUTE)
	b = binary.NativeEndian.AppendUint16(b, unix.NLM_F_REQUEST)
	b = append(b, make([]byte, 8)...) // sequence number and port: the socket has one question
	b = append(b, family, byte(8*len(addr)))
	b = append(b, make([]byte, unix.SizeofRtMsg-2)...)
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofRtAttr+len(addr)))
	b = binary.NativeEndian.AppendUint16(b, unix.RTA_DST)
	return append(b, addr...)
}

// parseRoute reads the answer: a route, or the error that there is none.
func parseRoute(b []byte) (local bool, err error) {
	const rtmType = unix.SizeofNlMsghdr + 7 // the field rtm_type of struct rtmsg
	if len(b) < unix.SizeofNlMsghdr+unix.SizeofRtMsg {
		return false, errors.New("answer is too short")
	}
	switch binary.NativeEndian.Uint16(b[4:]) {
	case unix.RTM_NEWROUTE:
		return b[rtmType] == unix.RTN_LOCAL, nil
	case unix.NLMSG_ERROR:
		errno := unix.Errno(-int32(binary.NativeEndian.Uint32(b[unix.SizeofNlMsghdr:])))
		if errno == unix.ENETUNREACH || errno == unix.EHOSTUNREACH {
			return false, nil
		}
		return false, errno
	default:
		return false, errors.New("answer is not a route")
	}
}
