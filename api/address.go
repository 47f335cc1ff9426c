package api

import (
	"fmt"
	"math"
	"net/netip"

	"github.com/tulle-mesh/tulle/api/pb"
	"github.com/tulle-mesh/tulle/mesh"
)

// EncodeTarget returns the address that a Watch names: nil for the inbound target.
func EncodeTarget(t mesh.Target) *pb.Address {
	if t.IsInbound() {
		return nil
	}
	return encodeAddr(t.Addr)
}

// DecodeTarget returns the target that a Watch names by address a; nil is the inbound target. An IPv4 address in IPv6
// form is unmapped; an address that is none, or port 0, is an error.
func DecodeTarget(a *pb.Address) (mesh.Target, error) {
	if a == nil {
		return mesh.Target{}, nil
	}
	addr, err := decodeAddr(a)
	if err != nil {
		return mesh.Target{}, fmt.Errorf("decode target: %w", err)
	}
	return mesh.Target{Addr: addr}, nil
}

// encodeAddr drops an IPv6 zone: scopes mean nothing off the link, and no endpoint has one.
func encodeAddr(a netip.AddrPort) *pb.Address {
	return &pb.Address{Ip: a.Addr().Unmap().AsSlice(), Port: uint32(a.Port())}
}

func decodeAddr(a *pb.Address) (netip.AddrPort, error) {
	ip, err := decodeIP(a.GetIp())
	if err != nil {
		return netip.AddrPort{}, err
	}
	port, err := decodePort(a.GetPort())
	if err != nil {
		return netip.AddrPort{}, err
	}
	return netip.AddrPortFrom(ip, port), nil
}

func decodeIP(b []byte) (netip.Addr, error) {
	ip, ok := netip.AddrFromSlice(b)
	if !ok {
		return netip.Addr{}, fmt.Errorf("address of %d bytes: want 4 or 16", len(b))
	}
	return ip.Unmap(), nil
}

func decodePort(p uint32) (uint16, error) {
	if p == 0 || p > math.MaxUint16 {
		return 0, fmt.Errorf("port %d: want 1 to 65535", p)
	}
	return uint16(p), nil
}

func encodePrefix(p netip.Prefix) *pb.Prefix {
	return &pb.Prefix{Ip: p.Addr().AsSlice(), Bits: uint32(p.Bits())}
}

func decodePrefix(p *pb.Prefix) (netip.Prefix, error) {
	ip, ok := netip.AddrFromSlice(p.GetIp())
	if !ok || ip.Is4In6() || p.GetBits() > uint32(ip.BitLen()) {
		return netip.Prefix{}, fmt.Errorf("network of %d bytes and %d bits: want an IPv4 or IPv6 prefix", len(p.GetIp()),
			p.GetBits())
	}
	return netip.PrefixFrom(ip, int(p.GetBits())), nil
}

func encodePorts(s mesh.PortSet) []*pb.PortRange {
	var out []*pb.PortRange
	for _, r := range s {
		out = append(out, &pb.PortRange{First: uint32(r.First), Last: uint32(r.Last)})
	}
	return out
}

// decodePorts refuses what is not a PortSet: ranges that are inverted, out of order, or overlap.
func decodePorts(ranges []*pb.PortRange) (mesh.PortSet, error) {
	var out mesh.PortSet
	for _, r := range ranges {
		first, err := decodePort(r.GetFirst())
		if err != nil {
			return nil, err
		}
		last, err := decodePort(r.GetLast())
		if err != nil {
			return nil, err
		}
		if first > last || len(out) > 0 && first <= out[len(out)-1].Last {
			return nil, fmt.Errorf("range %d-%d: want sorted ranges without overlap", first, last)
		}
		out = append(out, mesh.PortRange{First: first, Last: last})
	}
	return out, nil
}
