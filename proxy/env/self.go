package env

import (
	"net/netip"
	"slices"
)

// Self says which addresses are the pod's, and which the proxy's own.
type Self struct {
	// IPs are the pod's addresses.
	IPs []netip.Addr
	// Ports are the proxy's own ports on any address of the pod.
	Ports []uint16
	// Local says that each listener has a fixed destination, and no connection is redirected. LocalInbound are the
	// addresses of the inbound listeners then.
	Local        bool
	LocalInbound []netip.AddrPort
}

// OwnsAddr reports whether an address is this pod's.
func (s *Self) OwnsAddr(a netip.Addr) bool { return slices.Contains(s.IPs, a) }

// OwnsPort reports whether a port of the pod is the proxy's.
func (s *Self) OwnsPort(port uint16) bool { return slices.Contains(s.Ports, port) }

// Loops reports whether a connection to an address would come back to this proxy.
func (s *Self) Loops(a netip.AddrPort) bool {
	if s.Local {
		return slices.Contains(s.LocalInbound, a) // the address of an outbound listener is its target
	}
	return (s.OwnsAddr(a.Addr()) || a.Addr().IsLoopback() || a.Addr().IsUnspecified()) && s.OwnsPort(a.Port())
}
