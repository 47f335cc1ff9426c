package proxy

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestGatewaysAreThoseOfDefaultRoutes(t *testing.T) {
	word := func(a string) string { // as the kernel prints it
		b := netip.MustParseAddr(a).As4()
		return fmt.Sprintf("%08X", binary.NativeEndian.Uint32(b[:]))
	}
	v4 := "Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT\n" +
		"eth0	00000000	" + word("10.244.1.1") + "	0003	0	0	0	00000000	0	0	0\n" +
		"eth0	" + word("10.244.1.0") + "	00000000	0001	0	0	0	" + word("255.255.255.0") + "	0	0	0\n" +
		"eth1	" + word("10.9.0.0") + "	" + word("10.9.0.1") + "	0003	0	0	0	" + word("255.255.0.0") + "	0	0	0\n" +
		"tun0	00000000	00000000	0001	0	0	0	00000000	0	0	0\n" +
		"eth0	00000000	nothex	0003	0	0	0	00000000	0	0	0\neth0\n"
	zero := strings.Repeat("0", 32)
	v6 := "fd000010024400010000000000000000 40 " + zero + " 00 " + zero +
		" 00000100 00000002 00000000 00000001     eth0\n" +
		zero + " 00 " + zero + " 00 fd000010024400010000000000000001 00000400 00000001 00000000 00000003     eth0\n" +
		zero + " 00 " + zero + " 00 " + zero + " ffffffff 00000001 00000000 00200200       lo\n" +
		zero + " 00 " + zero + " 00 fd00\n"
	for name, c := range map[string]struct {
		text  string
		parse func([]string) netip.Addr
		want  string
	}{
		"IPv4": {v4, gateway4, "10.244.1.1"},
		"IPv6": {v6, gateway6, "fd00:10:244:1::1"},
	} {
		got := gateways(strings.NewReader(c.text), c.parse)
		if diff := cmp.Diff([]netip.Addr{netip.MustParseAddr(c.want)}, got,
			cmpopts.EquateComparable(netip.Addr{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
