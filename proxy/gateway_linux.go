package proxy

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"strings"
)

// Gateways returns the gateways of the default routes of the network namespace. Where the node's end of the pod network
// is a bridge, that is the address which the node's kubelet speaks from, and no field of the pod tells it. The slice is
// empty without routes.
func Gateways() ([]netip.Addr, error) {
	var out []netip.Addr
	for path, parse := range map[string]func([]string) netip.Addr{
		"/proc/net/route": gateway4, "/proc/net/ipv6_route": gateway6,
	} {
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) { // ipv6_route, on a kernel without IPv6
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read default routes: %w", err)
		}
		out = append(out, gateways(bytes.NewReader(text), parse)...)
	}
	return out, nil
}

// gateways returns what parse finds in the lines of r.
func gateways(r io.Reader, parse func(fields []string) netip.Addr) []netip.Addr {
	var out []netip.Addr
	for lines := bufio.NewScanner(r); lines.Scan(); {
		if a := parse(strings.Fields(lines.Text())); a.IsValid() && !a.IsUnspecified() {
			out = append(out, a)
		}
	}
	return out
}

// gateway4 reads a line of /proc/net/route: interface, destination, gateway, flags, three counters, mask, the addresses
// as words of the host's byte order. It returns the zero Addr for what is no default route.
func gateway4(f []string) netip.Addr {
	if len(f) < 8 || f[1] != "00000000" || f[7] != "00000000" {
		return netip.Addr{}
	}
	word, err := hex.DecodeString(f[2])
	if err != nil || len(word) != 4 {
		return netip.Addr{}
	}
	var a [4]byte
	binary.NativeEndian.PutUint32(a[:], binary.BigEndian.Uint32(word))
	return netip.AddrFrom4(a)
}

// gateway6 reads a line of /proc/net/ipv6_route: destination, its prefix length, source, its prefix length, gateway and
// more.
func gateway6(f []string) netip.Addr {
	if len(f) < 5 || f[1] != "00" || f[3] != "00" {
		return netip.Addr{}
	}
	b, err := hex.DecodeString(f[4])
	if err != nil || len(b) != 16 {
		return netip.Addr{}
	}
	return netip.AddrFrom16([16]byte(b))
}
