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

// family is the difference between IPv4 and IPv6: the table's family, and where the network header has the two
// addresses (RFC 791 §3.1, RFC 8200 §3).
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
	applies = true
	switch {
	case r.Loopback:
		exprs = onLoopback(r.Hook)
	case r.UID != nil:
		exprs = []expr.Any{&expr.Meta{Key: expr.MetaKeySKUID, Register: 1}, equal(binaryutil.NativeEndian.PutUint32(*r.UID))}
	case r.From.IsValid():
		exprs, applies = f.inSubnet(f.source, r.From), r.From.Addr().BitLen() == f.bits
	case r.To.IsValid():
		exprs, applies = f.inSubnet(f.destination, r.To), r.To.Addr().BitLen() == f.bits
	case r.NotLocal:
		exprs = notLocal()
	case r.Ports != mesh.PortRange{}:
		exprs = append(isTCP(), portIn(r.Ports)...)
	default:
		exprs = isTCP()
	}
	switch {
	case r.Drop:
		exprs = append(exprs, &expr.Verdict{Kind: expr.VerdictDrop})
	case r.RedirectTo == 0:
		exprs = append(exprs, &expr.Verdict{Kind: expr.VerdictReturn})
	default:
		exprs = append(exprs,
			&expr.Immediate{Register: 1, Data: binaryutil.BigEndian.PutUint16(r.RedirectTo)},
			&expr.Redir{RegisterProtoMin: 1, RegisterProtoMax: 1, Flags: unix.NF_NAT_RANGE_PROTO_SPECIFIED},
		)
	}
	return exprs, applies
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

// notLocal matches a destination that is not local by the namespace's routes. The address of any interface is local,
// and so is 127.0.0.1.
func notLocal() []expr.Any {
	return []expr.Any{
		&expr.Fib{Register: 1, ResultADDRTYPE: true, FlagDADDR: true},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)},
	}
}

// inSubnet matches an address at the given offset of the network header.
func (f family) inSubnet(offset uint32, subnet netip.Prefix) []expr.Any {
	size := uint32(f.bits / 8)
	return []expr.Any{
		&expr.Payload{OperationType: expr.PayloadLoad, DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset,
			Len: size},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: size, Mask: net.CIDRMask(subnet.Bits(), f.bits),
			Xor: make([]byte, size)},
		equal(subnet.Addr().AsSlice()),
	}
}

// portIn matches the destination port, which is at byte 2 of the TCP header (RFC 9293 §3.1).
func portIn(r mesh.PortRange) []expr.Any {
	load := &expr.Payload{OperationType: expr.PayloadLoad, DestRegister: 1, Base: expr.PayloadBaseTransportHeader,
		Offset: 2, Len: 2}
	first, last := binaryutil.BigEndian.PutUint16(r.First), binaryutil.BigEndian.PutUint16(r.Last)
	if r.First == r.Last {
		return []expr.Any{load, equal(first)}
	}
	return []expr.Any{load,
		&expr.Cmp{Op: expr.CmpOpGte, Register: 1, Data: first},
		&expr.Cmp{Op: expr.CmpOpLte, Register: 1, Data: last},
	}
}
