package main

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/internal/rawtcp"
)

// neighbourResult is what became of the packets for one destination.
type neighbourResult struct {
	Target    string `json:"target"`
	Connected bool   `json:"connected"`
	Reset     bool   `json:"reset"`
	Answer    string `json:"answer"`
	Error     string `json:"error,omitempty"`
}

// neighbourCommand puts HTTP requests for any destination before a pod of the same node. It needs CAP_NET_RAW, which
// containers have by default.
func neighbourCommand(args []string) error {
	fs := flags("neighbour")
	victim := fs.String("victim", "", "address of the pod that gets the packets; its port 8080 must answer")
	targets := fs.String("targets", "", "destinations of the packets, with commas")
	_ = fs.Parse(args)
	pod, err := netip.ParseAddr(*victim)
	if err != nil {
		return err
	}
	control := netip.AddrPortFrom(pod, 8080)
	mac, from, err := meet(control)
	if err != nil {
		return err
	}
	wire, err := rawtcp.Open("eth0", mac)
	if err != nil {
		return err
	}
	defer func() { _ = wire.Close() }()
	if err := wire.Announce(from, pod); err != nil {
		return err
	}
	var out []neighbourResult
	for text := range strings.SplitSeq(*targets, ",") {
		target, err := netip.ParseAddrPort(text)
		if err != nil {
			return err
		}
		const request = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
		r, err := wire.Ask(from, target, control, request, 10*time.Second)
		result := neighbourResult{Target: text, Connected: r.Connected, Reset: r.Reset, Answer: r.Answer}
		if err != nil {
			result.Error = err.Error()
		}
		out = append(out, result)
	}
	return printJSON(out)
}

// meet returns the hardware address of a neighbour and an address of the same network that this host does not have.
func meet(a netip.AddrPort) (net.HardwareAddr, netip.Addr, error) {
	conn, err := net.DialTimeout("tcp", a.String(), 5*time.Second)
	if err != nil {
		return nil, netip.Addr{}, err
	}
	own := conn.LocalAddr().(*net.TCPAddr).AddrPort().Addr().As4()
	_ = conn.Close()
	own[3] = 254
	text, err := os.ReadFile("/proc/net/arp")
	if err != nil {
		return nil, netip.Addr{}, err
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 3 && f[0] == a.Addr().String() {
			mac, err := net.ParseMAC(f[3])
			return mac, netip.AddrFrom4(own), err
		}
	}
	return nil, netip.Addr{}, fmt.Errorf("%s is no neighbour", a.Addr())
}
