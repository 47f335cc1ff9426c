// Package systems starts the pairs of proxies that the bench compares, each as its own documentation would set it up
// for mutual TLS between two hops. It must not import Tulle: every system is a program. The one idea: a system is a
// function from a Setup to two commands, so that all systems get the same addresses, threads, CPUs and certificates.
package systems

import (
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"

	"github.com/tulle-mesh/tulle/test/bench/lab"
)

// Addresses of a Setup with Pod.
var (
	Service      = netip.MustParseAddrPort("10.96.0.10:80")
	PlaneControl = netip.MustParseAddrPort("127.0.0.3:8000") // where the control plane takes commands
)

// Kind is the traffic that a pair carries.
type Kind string

// The kinds of traffic.
const (
	HTTP Kind = "http" // HTTP/1 on both outer sides
	GRPC Kind = "grpc" // HTTP/2 without TLS on both outer sides
	TCP  Kind = "tcp"  // opaque bytes
)

// Setup is what a pair has to do.
type Setup struct {
	Kind    Kind
	Out     netip.AddrPort // where the client's proxy listens
	In      netip.AddrPort // where the server's proxy listens, with mutual TLS
	App     netip.AddrPort // the server
	Threads int
	CPUs    string // of the pair, as taskset reads it
	Ends    string // CPUs of all else
	// the client is in a pod of a cluster and connects to Service, which the pair serves with the control plane's help
	Pod bool
	Dir string // for configuration and logs of this run
	Bin string // where the bench's own programs are
	PKI *lab.PKI
}

// System is one way from client to server.
type System struct {
	Name string
	Long string // for the report
	// Missing says why the system cannot run here; empty: it can.
	Missing string
	// Hybrid says whether its TLS agrees on X25519MLKEM768.
	Hybrid bool
	// Entry is where the client connects: the pair's outer listener, or the server itself.
	Entry func(Setup) netip.AddrPort
	// Plane is the control plane of a Setup with Pod; nil where the system has none here.
	Plane func(Setup) (lab.Command, error)
	// Watcher watches the pair; nil where nobody does.
	Watcher func(Setup) lab.Command
	// Commands are the pair, the server's side first; nil for the direct path.
	Commands func(Setup) ([]lab.Command, error)
}

func outer(s Setup) netip.AddrPort { return s.Out }

// Config names programs that are not part of the bench.
type Config struct {
	Tulle                    string // path of tulle-proxy
	Before                   string // path of an older tulle-proxy; empty: not run
	Tapped                   string // TappedServer or TappedBoth: also run Tulle while somebody watches; empty: not run
	Profiles                 string // directory for Tulle's CPU profiles; empty: none are taken
	ComparatorL, ComparatorE string // scripts or binaries that run a linkerd2-proxy or Envoy pair; empty: not run
}

// All are the systems in the order of the report.
func All(c Config) []*System {
	all := []*System{direct(), null(), haproxy(), nginx(), reverse(), tulle(c),
		comparator("linkerd2-proxy", c.ComparatorL), comparator("envoy", c.ComparatorE)}
	if c.Before != "" {
		all = append(all, before(c))
	}
	if c.Tapped != "" {
		all = append(all, tapped(c))
	}
	return all
}

func direct() *System {
	return &System{Name: "direct", Long: "no proxy", Entry: func(s Setup) netip.AddrPort { return s.App },
		Commands: func(Setup) ([]lab.Command, error) { return nil, nil }}
}

func null() *System {
	return &System{Name: "null", Long: "two TCP relays, no TLS, no HTTP: the floor", Entry: outer,
		Commands: func(s Setup) ([]lab.Command, error) {
			relay := func(name string, listen, target netip.AddrPort) lab.Command {
				return lab.Command{Name: name, Path: filepath.Join(s.Bin, "relay"), CPUs: s.CPUs,
					Args: []string{"-listen", listen.String(), "-target", target.String()}}
			}
			return []lab.Command{relay("null-in", s.In, s.App), relay("null-out", s.Out, s.In)}, nil
		}}
}

func reverse() *System {
	return &System{Name: "reverseproxy", Long: "httputil.ReverseProxy of Go's standard library, HTTP/2 between the two",
		Entry: outer, Hybrid: true,
		Commands: func(s Setup) ([]lab.Command, error) {
			hop := func(side string, listen, target netip.AddrPort, own lab.Party) lab.Command {
				return lab.Command{Name: "reverse-" + side, Path: filepath.Join(s.Bin, "reverse"), CPUs: s.CPUs,
					Env: []string{fmt.Sprint("GOMAXPROCS=", s.Threads)},
					Args: []string{"-side", side, "-kind", string(s.Kind), "-listen", listen.String(), "-target", target.String(),
						"-chain", own.Chain, "-key", own.Key, "-roots", s.PKI.Roots, "-peer", s.PKI.Server.Name}}
			}
			return []lab.Command{hop("in", s.In, s.App, s.PKI.Server), hop("out", s.Out, s.In, s.PKI.Client)}, nil
		}}
}

// installed returns why a program cannot be used, empty when it can.
func installed(program string) string {
	if _, err := exec.LookPath(program); err != nil {
		return program + " is not installed"
	}
	return ""
}
