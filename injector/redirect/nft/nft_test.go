package nft

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/tulle-mesh/tulle/injector/redirect"
	"github.com/tulle-mesh/tulle/internal/netns"
	"github.com/tulle-mesh/tulle/mesh"
)

// config is the tests' configuration. It excepts port 9100 and the network of the peer's second address.
func config() mesh.CaptureConfig {
	return mesh.CaptureConfig{
		OutboundPort: mesh.OutboundPort, InboundPort: mesh.InboundPort, ProxyUID: mesh.ProxyUID,
		SkipInboundPorts:  mesh.PortSet{{First: 4190, Last: 4191}, {First: 9100, Last: 9100}},
		SkipOutboundPorts: mesh.PortSet{{First: 9100, Last: 9109}},
		SkipSubnets:       []netip.Prefix{netip.MustParsePrefix("10.88.9.0/24"), netip.MustParsePrefix("fd88:9::/64")},
	}
}

// TestCapture programs a pod's namespace and checks where connections arrive: who accepts them, and which destination
// the kernel remembers.
func TestCapture(t *testing.T) {
	pod, peer := netns.Pair(t)
	pod.Do(t, func() error {
		report, err := Apply(redirect.Rules(config()))
		if err == nil && !(report.IPv4 && report.IPv6) {
			t.Errorf("report is %+v, want both families", report)
		}
		return err
	})
	const app, proxyOut, proxyIn, far = "app", "proxy outbound", "proxy inbound", "peer"
	accepted := make(chan arrival)
	for _, port := range []uint16{80, 9100, 9109, 9110} {
		serve(t, peer, far, "0.0.0.0", port, accepted)
		serve(t, peer, far, "::", port, accepted)
	}
	for _, port := range []uint16{8080, 9100, 4191} {
		serve(t, pod, app, "0.0.0.0", port, accepted)
		serve(t, pod, app, "::", port, accepted)
	}
	serve(t, pod, proxyOut, "127.0.0.1", mesh.OutboundPort, accepted)
	serve(t, pod, proxyOut, "::1", mesh.OutboundPort, accepted)
	serve(t, pod, proxyIn, "0.0.0.0", mesh.InboundPort, accepted)
	serve(t, pod, proxyIn, "::", mesh.InboundPort, accepted)

	asProxy := func(f func() error) error { return asUser(mesh.ProxyUID, f) }
	plainly := func(f func() error) error { return f() }
	for _, tt := range []struct {
		name   string
		from   *netns.Namespace
		as     func(func() error) error
		to     []string
		source []string // nil means any
		want   string
	}{
		{"the application's connection goes to the proxy", pod, plainly, []string{"10.88.1.1:80", "[fd88:1::1]:80"}, nil,
			proxyOut},
		{"an address that nobody has goes to the proxy", pod, plainly, []string{"192.0.2.7:1", "[2001:db8::7]:1"}, nil,
			proxyOut},
		{"the proxy's own connection goes out", pod, asProxy, []string{"10.88.1.1:80", "[fd88:1::1]:80"}, nil, far},
		{"the first skipped port goes out", pod, plainly, []string{"10.88.1.1:9100", "[fd88:1::1]:9100"}, nil, far},
		{"the last skipped port goes out", pod, plainly, []string{"10.88.1.1:9109", "[fd88:1::1]:9109"}, nil, far},
		{"the port after the skipped ones goes to the proxy", pod, plainly, []string{"10.88.1.1:9110", "[fd88:1::1]:9110"},
			nil, proxyOut},
		{"a skipped network goes out", pod, plainly, []string{"10.88.9.1:80", "[fd88:9::1]:80"}, nil, far},
		{"loopback stays", pod, plainly, []string{"127.0.0.1:8080", "[::1]:8080"}, nil, app},
		{"the pod's own address stays", pod, plainly, []string{"10.88.1.2:8080", "[fd88:1::2]:8080"}, nil, app},
		{"the proxy reaches the application at the pod's address", pod, asProxy,
			[]string{"10.88.1.2:8080", "[fd88:1::2]:8080"}, nil, app},
		{"a connection from outside goes to the proxy", peer, plainly, []string{"10.88.1.2:8080", "[fd88:1::2]:8080"}, nil,
			proxyIn},
		{"from outside to the outbound port goes to the inbound proxy", peer, plainly,
			[]string{"10.88.1.2:4140", "[fd88:1::2]:4140"}, nil, proxyIn},
		{"from outside to a skipped port goes to the application", peer, plainly,
			[]string{"10.88.1.2:9100", "[fd88:1::2]:9100"}, nil, app},
		{"from outside to the admin port is direct", peer, plainly, []string{"10.88.1.2:4191", "[fd88:1::2]:4191"}, nil, app},
		{"from a skipped network goes to the application", peer, plainly, []string{"10.88.1.2:8080", "[fd88:1::2]:8080"},
			[]string{"10.88.9.1", "fd88:9::1"}, app},
	} {
		for i, to := range tt.to {
			source := ""
			if tt.source != nil {
				source = tt.source[i]
			}
			target := netip.MustParseAddrPort(to)
			t.Run(tt.name+" "+to, func(t *testing.T) {
				tt.from.Do(t, func() error { return tt.as(func() error { return connect(target, source) }) })
				got := <-accepted
				if got.where != tt.want {
					t.Errorf("arrived at %s, want %s", got.where, tt.want)
				}
				if strings.HasPrefix(tt.want, "proxy") && got.original != target {
					t.Errorf("original destination is %s, want %s", got.original, target)
				}
			})
		}
	}
}

func TestApplyAgainReplaces(t *testing.T) {
	pod, _ := netns.Pair(t)
	pod.Do(t, func() error {
		for range 3 {
			if _, err := Apply(redirect.Rules(config())); err != nil {
				return err
			}
		}
		conn, err := nftables.New()
		if err != nil {
			return err
		}
		for _, family := range []nftables.TableFamily{nftables.TableFamilyIPv4, nftables.TableFamilyIPv6} {
			rules, err := conn.GetRules(&nftables.Table{Name: table, Family: family}, &nftables.Chain{Name: "inbound"})
			if err != nil {
				return err
			}
			want := 8 // lo, two for loopback, locality, one subnet, two port ranges, the redirection
			if family == nftables.TableFamilyIPv6 {
				want += 2 // for mapped addresses
			}
			if len(rules) != want {
				t.Errorf("family %d: %d inbound rules, want %d", family, len(rules), want)
			}
		}
		return nil
	})
}

// TestApplyWithoutLocality: a kernel that cannot distinguish the pod's addresses from others still captures, and the
// report says so.
func TestApplyWithoutLocality(t *testing.T) {
	kernel := func(lacks func(redirect.Rule) bool) func(family, []redirect.Rule) error {
		return func(_ family, rules []redirect.Rule) error {
			if slices.ContainsFunc(rules, lacks) {
				return explain(unix.ENOENT)
			}
			return nil
		}
	}
	for _, tt := range []struct {
		name             string
		lacks            func(redirect.Rule) bool
		reported, failed bool
	}{
		{"everything is there", func(redirect.Rule) bool { return false }, false, false},
		{"no locality", func(r redirect.Rule) bool { return r.NotLocal }, true, false},
		{"no redirection", func(r redirect.Rule) bool { return r.RedirectTo != 0 }, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			report, err := apply(redirect.Rules(config()), kernel(tt.lacks))
			if (report.NoLocality != nil) != tt.reported || (err != nil) != tt.failed {
				t.Errorf("got report %+v, error %v; want reported %v, failed %v", report, err, tt.reported, tt.failed)
			}
		})
	}
}

func TestProbe(t *testing.T) {
	pod, _ := netns.Pair(t)
	targets := redirect.ProbeTargets(config())
	if len(targets) != 2 {
		t.Fatalf("targets are %v, want one of each family", targets)
	}
	pod.Do(t, func() error {
		for _, target := range targets {
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			if _, err := Probe(ctx, target, mesh.OutboundPort); !errors.Is(err, ErrNotCaptured) {
				t.Errorf("%s without rules: error is %v, want %v", target, err, ErrNotCaptured)
			}
			cancel()
		}
		if _, err := Apply(redirect.Rules(config())); err != nil {
			return err
		}
		for _, target := range targets {
			if got, err := Probe(t.Context(), target, mesh.OutboundPort); got != Captured || err != nil {
				t.Errorf("%s: got %s, %v, want captured", target, got, err)
			}
		}
		lis, err := net.Listen("tcp", "127.0.0.1:4140")
		if err != nil {
			return err
		}
		defer func() { _ = lis.Close() }()
		if got, err := Probe(t.Context(), targets[0], mesh.OutboundPort); got != Occupied || err != nil {
			t.Errorf("beside a running proxy: got %s, %v, want %s", got, err, Occupied)
		}
		return nil
	})
}

// TestCaptureProves checks the whole: rules of both families and a proof of each.
func TestCaptureProves(t *testing.T) {
	pod, _ := netns.Pair(t)
	pod.Do(t, func() error {
		report, proofs, err := Capture(t.Context(), config())
		if err != nil {
			return err
		}
		if !report.IPv4 || !report.IPv6 || len(proofs) != 2 || proofs[0].Result != Captured ||
			proofs[1].Result != Captured {
			t.Errorf("report %+v, proofs %v, want both families captured", report, proofs)
		}
		return nil
	})
}

// TestCaptureAsProxyUser runs the init container as the proxy's user, which must be an error instead of a pod without
// capture.
func TestCaptureAsProxyUser(t *testing.T) {
	pod, _ := netns.Pair(t)
	pod.Do(t, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		err := asUser(mesh.ProxyUID, func() error { _, _, err := Capture(ctx, config()); return err })
		if !errors.Is(err, ErrNotCaptured) {
			t.Errorf("error is %v, want %v", err, ErrNotCaptured)
		}
		return nil
	})
}

func TestProbeWithoutRoute(t *testing.T) {
	alone := netns.New(t)
	alone.Do(t, func() error {
		got, err := Probe(t.Context(), netip.MustParseAddrPort("192.0.2.1:80"), mesh.OutboundPort)
		if got != NoRoute || err != nil {
			t.Errorf("got %s, %v, want %s", got, err, NoRoute)
		}
		return nil
	})
}

func TestApplyWithoutCapability(t *testing.T) {
	pod := netns.New(t)
	pod.Do(t, func() error {
		// The thread ends with the namespace, so nothing is restored.
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&header, &none[0]); err != nil {
			return err
		}
		_, err := Apply(redirect.Rules(config()))
		if err == nil || !strings.Contains(err.Error(), "NET_ADMIN") {
			t.Errorf("error is %v, want one that names NET_ADMIN", err)
		}
		return nil
	})
}

// arrival is one accepted connection.
type arrival struct {
	where    string
	original netip.AddrPort
}

// serve accepts on addr:port inside the namespace and reports each connection.
func serve(t *testing.T, n *netns.Namespace, where, addr string, port uint16, accepted chan<- arrival) {
	t.Helper()
	n.Serve(t, netip.AddrPortFrom(netip.MustParseAddr(addr), port), func(conn *net.TCPConn) {
		original, _ := originalDestination(conn) // fails for a connection that was not redirected
		_ = conn.Close()
		accepted <- arrival{where, original}
	})
}

// connect opens a connection and waits until the far side has closed it.
func connect(to netip.AddrPort, source string) error {
	dialer := net.Dialer{Timeout: 3 * time.Second}
	if source != "" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(source)}
	}
	conn, err := dialer.Dial("tcp", to.String())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	_, err = io.Copy(io.Discard, conn)
	return err
}

// asUser runs f with another file system user of the thread. The kernel records that user for a new socket.
func asUser(uid int, f func() error) error {
	if err := unix.Setfsuid(uid); err != nil {
		return err
	}
	defer func() { _ = unix.Setfsuid(0) }()
	return f()
}
