package nft

import (
	"net"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/tulle-mesh/tulle/injector/redirect"
	"github.com/tulle-mesh/tulle/mesh"
)

// family is what differs between IPv4 and IPv6: the table's family and where the network header has the two addresses
// (RFC 791 §3.1, RFC 8200 §3).
type family struct {
	table               nftables.TableFamily
	source, destination uint32
	bits                int
}

var (
	ipv4 = family{table: nftables.TableFamilyIPv4, source: 12, destination: 16, bits: 32}
	ipv6 = family{table: nftables.TableFamilyIPv6, source: 8, destination: 24, bits: 128}
)

// exprs translates a rule; applies is false for a subnet of the other family.
func (f family) exprs(r redirect.Rule) (exprs []expr.Any, applies bool) {
	switch {
	case r.Loopback:
		exprs = onLoopback(r.Hook)
	case r.UID != nil:
		exprs = []expr.Any{&expr.Meta{Key: expr.MetaKeySKUID, Register: 1}, equal(binaryutil.NativeEndian.PutUint32(*r.UID))}
	case r.Subnet.IsValid():
		if r.Subnet.Addr().BitLen() != f.bits {
			return nil, false
		}
		exprs = f.inSubnet(r.Hook, r.Subnet)
	case r.Ports != mesh.PortRange{}:
		exprs = append(isTCP(), portIn(r.Ports)...)
	default:
		exprs = isTCP()
	}
	if r.RedirectTo == 0 {
		return append(exprs, &expr.Verdict{Kind: expr.VerdictReturn}), true
	}
	return append(exprs,
		&expr.Immediate{Register: 1, Data: binaryutil.BigEndian.PutUint16(r.RedirectTo)},
		&expr.Redir{RegisterProtoMin: 1, RegisterProtoMax: 1, Flags: unix.NF_NAT_RANGE_PROTO_SPECIFIED},
	), true
}

func equal(data []byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data} }

func isTCP() []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, equal([]byte{unix.IPPROTO_TCP})}
}

func onLoopback(hook redirect.Hook) []expr.Any {
	key := expr.MetaKeyIIFNAME
	if hook == redirect.Outbound {
		key = expr.MetaKeyOIFNAME
	}
	name := make([]byte, unix.IFNAMSIZ)
	copy(name, "lo")
	return []expr.Any{&expr.Meta{Key: key, Register: 1}, equal(name)}
}

func (f family) inSubnet(hook redirect.Hook, subnet netip.Prefix) []expr.Any {
	offset, size := f.source, uint32(f.bits/8)
	if hook == redirect.Outbound {
		offset = f.destination
	}
	return []expr.Any{
		&expr.Payload{OperationType: expr.PayloadLoad, DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: size, Mask: net.CIDRMask(subnet.Bits(), f.bits), Xor: make([]byte, size)},
		equal(subnet.Addr().AsSlice()),
	}
}

// portIn matches the destination port, which TCP has at byte 2 (RFC 9293 §3.1).
func portIn(r mesh.PortRange) []expr.Any {
	load := &expr.Payload{OperationType: expr.PayloadLoad, DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}
	first, last := binaryutil.BigEndian.PutUint16(r.First), binaryutil.BigEndian.PutUint16(r.Last)
	if r.First == r.Last {
		return []expr.Any{load, equal(first)}
	}
	return []expr.Any{load,
		&expr.Cmp{Op: expr.CmpOpGte, Register: 1, Data: first},
		&expr.Cmp{Op: expr.CmpOpLte, Register: 1, Data: last},
	}
}
