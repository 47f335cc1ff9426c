// Package redirect decides which traffic of a pod passes through its proxy: capture rules as values.
//
// It owns the order of the rules and the choice of a probe that proves them. It imports only mesh and does no I/O;
// package redirect/nft writes the rules into the kernel. The one idea: in each direction the exceptions come first and
// the redirection of all TCP comes last. So everything else is captured, and so is a port that is opened later.
package redirect

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/tulle-mesh/tulle/mesh"
)

// Hook is the place in the network stack where a rule is evaluated, once per connection.
type Hook uint8

// The hooks. Inbound sees connections that arrive from outside the pod. Outbound sees connections that a process in the
// pod opens.
const (
	Inbound Hook = iota
	Outbound
)

// String returns inbound or outbound.
func (h Hook) String() string {
	if h == Inbound {
		return "inbound"
	}
	return "outbound"
}

// Rule is one step of a hook. If its one criterion is true, the connection is redirected to a port of the proxy, is
// dropped, or passes unchanged. A rule without a criterion matches all TCP.
type Rule struct {
	Hook     Hook
	Loopback bool           // the packet uses the loopback interface
	UID      *uint32        // the sending process runs as this user; Outbound only
	To       netip.Prefix   // the destination is in it; applies only to its own family
	From     netip.Prefix   // the source is in it; applies only to its own family
	NotLocal bool           // the destination is not an address of the pod; Inbound only
	Ports    mesh.PortRange // the destination port is in it; the zero range is not a criterion

	Drop       bool
	RedirectTo uint16 // 0: passes, unless Drop is set
}

// String returns the rule in nft's syntax.
func (r Rule) String() string {
	what, action := "all tcp", "pass"
	switch {
	case r.Loopback:
		what = "interface lo"
	case r.UID != nil:
		what = fmt.Sprintf("user %d", *r.UID)
	case r.From.IsValid():
		what = fmt.Sprintf("from %s", r.From)
	case r.To.IsValid():
		what = fmt.Sprintf("to %s", r.To)
	case r.NotLocal:
		what = "to no address of the pod"
	case r.Ports != mesh.PortRange{}:
		what = fmt.Sprintf("tcp port %s", r.Ports)
	}
	switch {
	case r.Drop:
		action = "drop"
	case r.RedirectTo != 0:
		action = fmt.Sprintf("redirect to :%d", r.RedirectTo)
	}
	return fmt.Sprintf("%s: %s: %s", r.Hook, what, action)
}

// Rules returns the rules of both hooks in the order of their evaluation.
//
// A connection of the pod to itself, by loopback or by its own address, stays on the loopback interface and is never
// captured: it does not leave the pod, and the proxy connects to its application in the same way. The rules recognize
// the proxy by its user, so its own connections pass unchanged.
//
// From outside the pod, only packets for an address of the pod are captured. A neighbour on the network can send the
// pod a packet for any address. A redirected packet would be delivered: the redirection hides from the kernel that its
// destination was loopback or another pod's.
func Rules(c mesh.CaptureConfig) []Rule {
	uid := c.ProxyUID
	rules := []Rule{{Hook: Inbound, Loopback: true}}
	for _, m := range martians {
		rules = append(rules, Rule{Hook: Inbound, From: m, Drop: true}, Rule{Hook: Inbound, To: m, Drop: true})
	}
	rules = append(rules, Rule{Hook: Inbound, NotLocal: true})
	for _, s := range c.SkipSubnets {
		rules = append(rules, Rule{Hook: Inbound, From: s.Masked()})
	}
	for _, p := range c.SkipInboundPorts {
		rules = append(rules, Rule{Hook: Inbound, Ports: p})
	}
	rules = append(rules, Rule{Hook: Inbound, RedirectTo: c.InboundPort},
		Rule{Hook: Outbound, UID: &uid}, Rule{Hook: Outbound, Loopback: true})
	for _, s := range c.SkipSubnets {
		rules = append(rules, Rule{Hook: Outbound, To: s.Masked()})
	}
	for _, p := range c.SkipOutboundPorts {
		rules = append(rules, Rule{Hook: Outbound, Ports: p})
	}
	return append(rules, Rule{Hook: Outbound, RedirectTo: c.OutboundPort})
}

// martians are networks whose addresses must not arrive from outside. The kernel drops them itself, with three
// exceptions: redirected packets, mapped IPv4 addresses, and a set route_localnet. Sources: RFC 1122 §3.2.1.3, RFC 4291
// §2.5.3, RFC 6890 §2.2.3.
var martians = []netip.Prefix{
	netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("::ffff:0.0.0.0/96"),
}

// WithoutLocality returns the rules for a kernel that cannot distinguish the pod's addresses from others. The proxy
// itself refuses connections to the others.
func WithoutLocality(rules []Rule) []Rule {
	return slices.DeleteFunc(slices.Clone(rules), func(r Rule) bool { return r.NotLocal })
}

// ProbeTargets returns an address of each family that the rules must redirect to the outbound port. The addresses exist
// nowhere: they are from the documentation networks of RFC 5737 and RFC 3849. It omits a family whose candidates are
// all excepted, because nothing can be proved.
func ProbeTargets(c mesh.CaptureConfig) []netip.AddrPort {
	port, ok := capturedPort(c.SkipOutboundPorts)
	if !ok {
		return nil
	}
	var targets []netip.AddrPort
	for _, family := range [][]string{{"192.0.2.1", "198.51.100.1", "203.0.113.1"}, {"2001:db8::1"}} {
		for _, candidate := range family {
			if addr := netip.MustParseAddr(candidate); !skipped(c.SkipSubnets, addr) {
				targets = append(targets, netip.AddrPortFrom(addr, port))
				break
			}
		}
	}
	return targets
}

func skipped(subnets []netip.Prefix, addr netip.Addr) bool {
	for _, s := range subnets {
		if s.Contains(addr) {
			return true
		}
	}
	return false
}

// capturedPort returns the lowest port that is not skipped. It begins at 80, so that logs show a familiar port.
func capturedPort(skip mesh.PortSet) (uint16, bool) {
	for i := range 65535 {
		if p := uint16(79+i)%65535 + 1; !skip.Contains(p) {
			return p, true
		}
	}
	return 0, false
}
