package systems

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/tulle-mesh/tulle/test/bench/lab"
)

// Addresses around a proxy in a pod.
const (
	podAddr         = "10.244.0.2"
	identityAddr    = "127.0.0.3:8080"
	destinationAddr = "127.0.0.3:8086"
	tokenText       = "bench"
)

// TulleOut is the name of the client's proxy.
const TulleOut = "tulle-out"

func tulleEntry(s Setup) netip.AddrPort {
	if s.Pod {
		return Service
	}
	return s.Out
}

// tullePlane is the bench's own control plane, with the real APIs, and the capture of the pod's traffic.
func tullePlane(s Setup) (lab.Command, error) {
	token := filepath.Join(s.Dir, "token")
	if err := os.WriteFile(token, []byte(tokenText), 0o600); err != nil {
		return lab.Command{}, fmt.Errorf("write token: %w", err)
	}
	return lab.Command{Name: "plane", Path: filepath.Join(s.Bin, "plane"), CPUs: s.Ends, Args: []string{
		"-roots", s.PKI.Roots, "-issuer", s.PKI.Issuer, "-issuer-key", s.PKI.IssuerKey, "-token", token,
		"-client", s.PKI.Client.SPIFFE, "-server", s.PKI.Server.SPIFFE, "-service", Service.String(), "-address", podAddr +
			"/24",
		"-identity", identityAddr, "-destination", destinationAddr, "-control", PlaneControl.String(), "-endpoint-port",
		fmt.Sprint(s.In.Port()),
	}}, nil
}

// tullePod is a pair whose client's half runs as in a pod: configured by the injector's variables, with a certificate
// from identity and discovery from destination. The server's half listens at every endpoint's address, so that each of
// them is a real one.
func tullePod(c Config, s Setup) ([]lab.Command, error) {
	file := tulleIn(s)
	file.Inbound[0].Listen = netip.AddrPortFrom(netip.IPv4Unspecified(), s.In.Port())
	in, err := tulleLocal(c, s, "in", file)
	if err != nil {
		return nil, err
	}
	config, err := json.Marshal(map[string]any{ // mesh.ProxyConfig
		"identityAddr": identityAddr, "destinationAddr": destinationAddr, "tokenFile": filepath.Join(s.Dir, "token"),
		"trustRootsFile": s.PKI.Roots,
		"profiling":      c.Profiles != "",
	})
	if err != nil {
		return nil, fmt.Errorf("encode configuration: %w", err)
	}
	out := lab.Command{Name: TulleOut, Path: c.Tulle, CPUs: s.CPUs, Env: []string{
		"TULLE_PROXY_CONFIG=" + string(config), "TULLE_POD=client", "TULLE_NAMESPACE=bench", "TULLE_SERVICE_ACCOUNT=client",
		"TULLE_POD_IPS=" + podAddr,
	}}
	return []lab.Command{in, out}, nil
}
