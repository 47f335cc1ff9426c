package systems

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/tulle-mesh/tulle/test/bench/lab"
)

// Where the admin servers of Tulle's proxies listen. The client's takes its port of every address when it runs as in a
// pod.
var (
	TulleOutAdmin = netip.MustParseAddrPort("127.0.0.1:4191")
	TulleInAdmin  = netip.MustParseAddrPort("127.0.0.2:4192")
)

// tulle runs the proxy that `make` builds, with a configuration file in place of the control plane. Everything else is
// as in a pod: detection where the traffic is HTTP, an authenticated peer required, metrics on, and one thread, which
// is its default everywhere.
func tulle(c Config) *System {
	missing := ""
	if _, err := os.Stat(c.Tulle); err != nil {
		missing = "tulle-proxy is not built"
	}
	return &System{Name: "tulle", Long: "Tulle's proxy, with a file in place of the control plane but in W8",
		Missing: missing, Hybrid: true,
		Entry: tulleEntry, Plane: tullePlane,
		Commands: func(s Setup) ([]lab.Command, error) {
			if s.Pod {
				return tullePod(c, s)
			}
			var commands []lab.Command
			for side, file := range map[string]tulleFile{"in": tulleIn(s), "out": tulleOut(s)} {
				command, err := tulleLocal(c, s, side, file)
				if err != nil {
					return nil, err
				}
				commands = append(commands, command)
			}
			return commands, nil
		}}
}

// before is the Tulle pair with an older proxy: what a change costs is the ratio of the two in one run.
func before(c Config) *System {
	c.Tulle, c.Profiles = c.Before, ""
	s := tulle(c)
	s.Name, s.Long = "before", "Tulle's proxy before a change, given by path"
	return s
}

func tulleLocal(c Config, s Setup, side string, file tulleFile) (lab.Command, error) {
	file.Profiling = c.Profiles != ""
	config := filepath.Join(s.Dir, "tulle-"+side+".json")
	text, err := json.Marshal(file)
	if err != nil {
		return lab.Command{}, fmt.Errorf("encode %s: %w", config, err)
	}
	if err := os.WriteFile(config, text, 0o600); err != nil {
		return lab.Command{}, fmt.Errorf("write configuration: %w", err)
	}
	return lab.Command{Name: "tulle-" + side, Path: c.Tulle, Args: []string{"--local", config}, CPUs: s.CPUs}, nil
}

// tulleFile is the proxy's local configuration.
type tulleFile struct {
	Certificate string          `json:"certificate"`
	Key         string          `json:"key"`
	Anchors     string          `json:"anchors"`
	Admin       netip.AddrPort  `json:"admin"`
	Tap         netip.AddrPort  `json:"tap,omitzero"`
	TapID       string          `json:"tapID,omitempty"`
	Profiling   bool            `json:"profiling,omitempty"`
	Outbound    []tulleOutbound `json:"outbound,omitempty"`
	Inbound     []tulleInbound  `json:"inbound,omitempty"`
}

type tulleOutbound struct {
	Listen    netip.AddrPort  `json:"listen"`
	Authority string          `json:"authority"`
	Protocol  string          `json:"protocol"`
	Endpoints []tulleEndpoint `json:"endpoints"`
}

type tulleEndpoint struct {
	Addr     netip.AddrPort `json:"addr"`
	Identity string         `json:"identity"`
}

type tulleInbound struct {
	Listen   netip.AddrPort `json:"listen"`
	App      netip.AddrPort `json:"app"`
	Protocol string         `json:"protocol"`
	Policy   string         `json:"policy"`
}

func tulleProtocol(k Kind) string {
	if k == TCP {
		return "opaque"
	}
	return "detect"
}

func tulleOut(s Setup) tulleFile {
	return tulleFile{Certificate: s.PKI.Client.Chain, Key: s.PKI.Client.Key, Anchors: s.PKI.Roots, Admin: TulleOutAdmin,
		Outbound: []tulleOutbound{{Listen: s.Out, Authority: "app.bench.svc.cluster.local:80",
			Protocol:  tulleProtocol(s.Kind),
			Endpoints: []tulleEndpoint{{Addr: s.In, Identity: s.PKI.Server.SPIFFE}}}}}
}

func tulleIn(s Setup) tulleFile {
	return tulleFile{Certificate: s.PKI.Server.Chain, Key: s.PKI.Server.Key, Anchors: s.PKI.Roots, Admin: TulleInAdmin,
		Inbound: []tulleInbound{{Listen: s.In, App: s.App, Protocol: tulleProtocol(s.Kind), Policy: "all-authenticated"}}}
}
