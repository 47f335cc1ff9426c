package proxy

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"go.uber.org/zap"

	"github.com/tulle-mesh/tulle/injector/redirect"
	"github.com/tulle-mesh/tulle/injector/redirect/nft"
	"github.com/tulle-mesh/tulle/internal/meshtest"
	"github.com/tulle-mesh/tulle/internal/netns"
	"github.com/tulle-mesh/tulle/internal/rawtcp"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/env"
)

// Addresses of the lab: three hosts on one layer 2.
const (
	victimV4, victimV6       = "10.88.1.2", "fd88:1::2"
	attackerV4, attackerV6   = "10.88.1.66", "fd88:1::66" // nobody's: the attacker's kernel must not answer for it
	bystanderV4, bystanderV6 = "10.88.1.3", "fd88:1::3"
	// laterV4 and laterV6 come to the victim's interface when the proxy runs already.
	laterV4, laterV6 = "10.88.1.9", "fd88:1::9"
)

// lab is a victim with the capture's rules and a proxy in a process of its own, an attacker and a bystander.
type lab struct {
	victim, attacker, bystander *netns.Namespace
	wire                        *rawtcp.Wire
}

// victimEnv makes TestVictimProcess the proxy of a lab.
const victimEnv = "TULLE_TEST_VICTIM"

// TestVictimProcess is no test: it is the process of a lab's victim.
func TestVictimProcess(t *testing.T) {
	if os.Getenv(victimEnv) == "" {
		t.Skip("only for the lab of the other tests")
	}
	cfg := Config{
		Settings: mesh.ProxyConfig{
			TrustDomain: mesh.DefaultTrustDomain, ControlPlaneNamespace: mesh.ControlPlaneNamespace,
			DestinationAddr: "127.0.0.1:1", // nobody
			OutboundPort:    mesh.OutboundPort, InboundPort: mesh.InboundPort, AdminPort: mesh.AdminPort,
			DefaultInboundPolicy: mesh.AllUnauthenticated, ShutdownGrace: mesh.Duration(time.Millisecond),
		},
		Pod: Pod{Name: "web-1", Namespace: "shop", ServiceAccount: "web",
			IPs: []netip.Addr{netip.MustParseAddr(victimV4), netip.MustParseAddr(victimV6)}},
		Certs: meshtest.NewCA(t).Certs(web), Log: zap.NewNop(), Level: zap.NewAtomicLevel(),
	}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setuid(mesh.ProxyUID); err != nil { // the capture knows the proxy by it
		t.Fatal(err)
	}
	run(t, p)
	fmt.Println("running")
	_, _ = io.Copy(io.Discard, os.Stdin) // until the test that started it ends
}

// startLab programs rules and starts everything.
func startLab(t *testing.T, rules []redirect.Rule) *lab {
	t.Helper()
	hosts := netns.Bridge(t,
		[]string{victimV4 + "/24", victimV6 + "/64", "fe80::2/64"},
		[]string{"10.88.1.4/24", "fd88:1::4/64"},
		[]string{bystanderV4 + "/24", bystanderV6 + "/64"})
	l := &lab{victim: hosts[0], attacker: hosts[1], bystander: hosts[2]}
	mac := func(n *netns.Namespace) (address net.HardwareAddr) {
		n.Do(t, func() error {
			iface, err := net.InterfaceByName(netns.Interface)
			if err == nil {
				address = iface.HardwareAddr
			}
			return err
		})
		return address
	}
	victimMAC, attackerMAC := mac(l.victim), mac(l.attacker)
	for _, n := range []*netns.Namespace{l.victim, l.bystander} {
		n.Do(t, func() error { return neighbours(attackerMAC, attackerV6) })
	}
	l.attacker.Do(t, func() (err error) {
		l.wire, err = rawtcp.Open(netns.Interface, victimMAC)
		return err
	})
	t.Cleanup(func() { _ = l.wire.Close() })
	if err := l.wire.Announce(netip.MustParseAddr(attackerV4), netip.MustParseAddr(victimV4)); err != nil {
		t.Fatal(err)
	}
	l.victim.Do(t, func() error {
		// A pod inherits ip_forward from its node; with it the kernel would pass on what the capture leaves alone, and
		// the test would not tell that from a proxy's work. route_localnet takes away the kernel's own protection of
		// 127.0.0.0/8.
		for name, value := range map[string]string{
			"ipv4/ip_forward": "0", "ipv4/conf/all/route_localnet": "1",
			"ipv4/conf/all/rp_filter": "0", "ipv4/conf/eth0/rp_filter": "0",
		} {
			if err := netns.Sysctl(name, value); err != nil {
				return err
			}
		}
		_, err := nft.Apply(rules)
		return err
	})
	for _, family := range []struct{ loopback, any string }{{"127.0.0.1", "0.0.0.0"}, {"::1", "::"}} {
		serveName(t, l.victim, family.loopback, 9999, "loopback application")
		serveName(t, l.victim, family.any, 8080, "application")
		serveName(t, l.victim, family.any, 9100, "skipped application")
		serveName(t, l.bystander, family.any, 8080, "bystander")
	}
	l.startProxy(t)
	return l
}

// startProxy runs the victim's proxy in its namespace.
func (l *lab) startProxy(t *testing.T) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestVictimProcess$", "-test.v")
	cmd.Env, cmd.Stderr = append(os.Environ(), victimEnv+"=1"), os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	l.victim.Do(t, cmd.Start)
	t.Cleanup(func() { _ = stdin.Close(); _, _ = io.Copy(io.Discard, stdout); _ = cmd.Wait() })
	var said []string
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if lines.Text() == "running" {
			return
		}
		said = append(said, lines.Text())
	}
	t.Fatalf("the victim's proxy does not run:\n%s", strings.Join(said, "\n"))
}

func neighbours(mac net.HardwareAddr, addresses ...string) error {
	iface, err := netlink.LinkByName(netns.Interface)
	if err != nil {
		return err
	}
	for _, a := range addresses {
		n := &netlink.Neigh{LinkIndex: iface.Attrs().Index, IP: net.ParseIP(a), HardwareAddr: mac,
			State: netlink.NUD_PERMANENT}
		if err := netlink.NeighSet(n); err != nil {
			return fmt.Errorf("set neighbour %s: %w", a, err)
		}
	}
	return nil
}

// serveName answers each HTTP request inside a namespace with a name.
func serveName(t *testing.T, n *netns.Namespace, addr string, port uint16, name string) {
	t.Helper()
	n.Serve(t, netip.AddrPortFrom(netip.MustParseAddr(addr), port), func(conn *net.TCPConn) {
		_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		_, _ = conn.Read(make([]byte, 4096))
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s", len(name), name)
	})
}

// Outcomes of a request; any other is the answer's body.
const (
	dropped = "dropped" // the victim's kernel does not answer
	refused = "reset"   // by the kernel or by the proxy
)

// ask sends a request for an address to the victim.
func (l *lab) ask(t *testing.T, to string) string {
	t.Helper()
	dst := netip.MustParseAddrPort(to)
	from, control := netip.MustParseAddr(attackerV4), netip.MustParseAddrPort(victimV4+":8080")
	if dst.Addr().Is6() {
		from, control = netip.MustParseAddr(attackerV6), netip.MustParseAddrPort("["+victimV6+"]:8080")
	}
	const request = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
	result, err := l.wire.Ask(from, dst, control, request, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := strings.Cut(result.Answer, "\r\n\r\n")
	switch {
	case body != "":
		return body
	case result.Reset:
		return refused
	case result.Connected:
		return "ended without an answer"
	default:
		return dropped
	}
}

// capture is the configuration of a lab's rules.
func capture() mesh.CaptureConfig {
	return mesh.CaptureConfig{
		OutboundPort: mesh.OutboundPort, InboundPort: mesh.InboundPort, ProxyUID: mesh.ProxyUID,
		SkipInboundPorts: mesh.PortSet{{First: mesh.AdminPort, Last: mesh.AdminPort}, {First: 9100, Last: 9100}},
	}
}

// TestNonLocalDestinations puts packets for every kind of address before a pod whose proxy runs.
func TestNonLocalDestinations(t *testing.T) {
	withGuard := redirect.Rules(capture())
	// what the rules were before they asked for the destination: the proxy has to stand on its own
	var alone []redirect.Rule
	for _, r := range withGuard {
		if !r.Drop && !r.NotLocal {
			alone = append(alone, r)
		}
	}
	guarded, unguarded := startLab(t, withGuard), startLab(t, alone)
	for _, l := range []*lab{guarded, unguarded} {
		l.victim.Do(t, func() error { return netns.AddAddresses(laterV4+"/24", laterV6+"/64") })
		netns.AwaitAddresses(t, l.victim)
	}
	counted := map[*lab]int{}
	for _, tt := range []struct {
		name, to string
		want     string // with all rules
		proxy    string // with the redirection alone; "" is as want
	}{
		{"the pod's address", victimV4 + ":8080", "application", ""},
		{"the pod's IPv6 address", "[" + victimV6 + "]:8080", "application", ""},
		{"an address that came later", laterV4 + ":8080", "application", ""},
		{"an IPv6 address that came later", "[" + laterV6 + "]:8080", "application", ""},
		{"a skipped port", victimV4 + ":9100", "skipped application", ""},
		{"a skipped port over IPv6", "[" + victimV6 + "]:9100", "skipped application", ""},
		{"a listener of loopback by the pod's address", victimV4 + ":9999", "could not connect\n", ""},
		{"a listener of loopback by the pod's IPv6 address", "[" + victimV6 + "]:9999", "could not connect\n", ""},

		{"loopback", "127.0.0.1:9999", dropped, refused},
		{"another address of loopback", "127.8.8.8:8080", dropped, refused},
		{"a skipped port of loopback", "127.0.0.1:9100", dropped, "skipped application"},
		{"IPv6 loopback", "[::1]:9999", dropped, ""},
		{"a skipped port of IPv6 loopback", "[::1]:9100", dropped, ""},
		{"loopback as a mapped address", "[::ffff:127.0.0.1]:9999", dropped, refused},
		{"the pod's address as a mapped address", "[::ffff:" + victimV4 + "]:8080", dropped, "application"},
		{"another pod", bystanderV4 + ":8080", dropped, refused},
		{"another pod's IPv6 address", "[" + bystanderV6 + "]:8080", dropped, refused},
		{"another pod as a mapped address", "[::ffff:" + bystanderV4 + "]:8080", dropped, refused},
		{"an address outside", "192.0.2.1:80", dropped, refused},
		{"link-local", "169.254.169.254:80", dropped, refused},
		{"link-local of the pod", "[fe80::2]:8080", refused, ""},
		{"link-local of IPv6", "[fe80::99]:8080", dropped, refused},
		{"multicast", "224.0.0.1:8080", dropped, refused},
		{"multicast of IPv6", "[ff02::1]:8080", dropped, refused},
		{"broadcast", "255.255.255.255:8080", dropped, refused},
		{"broadcast of the network", "10.88.1.255:8080", dropped, refused},
		{"unspecified", "0.0.0.0:8080", dropped, refused},
		{"unspecified of IPv6", "[::]:8080", dropped, refused},

		{"the outbound port", victimV4 + ":4140", refused, ""},
		{"the outbound port over IPv6", "[" + victimV6 + "]:4140", refused, ""},
		{"the outbound port on loopback", "127.0.0.1:4140", dropped, refused},
		{"the outbound port on IPv6 loopback", "[::1]:4140", dropped, ""},
		{"the inbound port", victimV4 + ":4143", refused, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, l := range []*lab{guarded, unguarded} {
				want, rules := tt.want, "all rules"
				if l == unguarded {
					want, rules = cmp.Or(tt.proxy, tt.want), "the redirection alone"
				}
				if got := l.ask(t, tt.to); got != want {
					t.Errorf("%s with %s: got %q, want %q", tt.to, rules, got, want)
				}
				own := strings.HasSuffix(tt.to, ":4140") || strings.HasSuffix(tt.to, ":4143") // counts as a loop
				if want == refused && !own {
					counted[l]++
				}
			}
		})
	}
	for _, l := range []*lab{guarded, unguarded} {
		want := fmt.Sprintf(`inbound_tcp_errors_total{direction="inbound",error="non_local_destination"} %d`, counted[l])
		if text := l.scrape(t); !strings.Contains(text, want+"\n") {
			t.Errorf("metrics have no line %s", want)
		}
	}
}

// scrape returns the metrics of the victim's proxy.
func (l *lab) scrape(t *testing.T) (text string) {
	t.Helper()
	l.victim.Do(t, func() error {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", mesh.AdminPort))
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		if _, err := io.WriteString(conn, "GET /metrics HTTP/1.0\r\n\r\n"); err != nil {
			return err
		}
		b, err := io.ReadAll(conn)
		text = string(b)
		return err
	})
	return text
}

// TestIsLocal asks for addresses of every kind in a namespace whose routes are known.
func TestIsLocal(t *testing.T) {
	n := netns.Bridge(t, []string{"10.88.1.2/24", "10.88.1.3/24", "10.88.2.2/32", "fd88:1::2/64"})[0]
	n.Do(t, func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		virtual, err := netlink.ParseAddr("10.88.7.7/32") // of a load balancer that keeps the destination
		if err != nil {
			return err
		}
		if err := netlink.AddrAdd(lo, virtual); err != nil {
			return err
		}
		for _, tt := range []struct {
			name, addr string
			want       bool
		}{
			{"first address", "10.88.1.2", true},
			{"second address of the network", "10.88.1.3", true},
			{"address of another network", "10.88.2.2", true},
			{"address of the loopback interface", "10.88.7.7", true},
			{"IPv6 address", "fd88:1::2", true},
			{"neighbour", "10.88.1.4", false},
			{"IPv6 neighbour", "fd88:1::3", false},
			{"broadcast", "10.88.1.255", false},
			{"no route", "192.0.2.1", false},
			{"no IPv6 route", "2001:db8::1", false},
		} {
			if got, err := env.IsLocal(netip.MustParseAddr(tt.addr)); got != tt.want || err != nil {
				t.Errorf("%s %s: got %v, %v; want %v", tt.name, tt.addr, got, err, tt.want)
			}
		}
		return nil
	})
}
