package proxy

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/env"
)

func TestParsePod(t *testing.T) {
	vars := map[string]string{
		mesh.PodEnv: "web-1", mesh.NamespaceEnv: "shop", mesh.ServiceAccountEnv: "web", mesh.NodeEnv: "n1",
		mesh.PodIPsEnv: "10.1.2.3, fd00::3", mesh.HostIPsEnv: "::ffff:172.18.0.2",
	}
	getenv := func(name string) string { return vars[name] }
	got, err := ParsePod(getenv)
	if err != nil {
		t.Fatal(err)
	}
	if got.Name != "web-1" || got.Namespace != "shop" || got.ServiceAccount != "web" || got.Node != "n1" {
		t.Errorf("got %+v", got)
	}
	if len(got.IPs) != 2 || got.HostIPs[0] != netip.MustParseAddr("172.18.0.2") {
		t.Errorf("addresses %v and %v", got.IPs, got.HostIPs)
	}
	for name, value := range map[string]string{mesh.PodEnv: "", mesh.PodIPsEnv: "nonsense", mesh.HostIPsEnv: "1.2.3"} {
		before := vars[name]
		vars[name] = value
		if _, err := ParsePod(getenv); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s=%q: error %v does not name the variable", name, value, err)
		}
		vars[name] = before
	}
}

func TestParseLocal(t *testing.T) {
	got, err := ParseLocal([]byte(`{
		"admin": "127.0.0.1:4191",
		"outbound": [{"listen": "127.0.0.1:5001", "protocol": "http1", "endpoints": [{"addr": "127.0.0.1:6001", "weight": 2}]}],
		"inbound": [{"listen": "127.0.0.1:6001", "app": "127.0.0.1:8080", "policy": "all-authenticated", "protocol": "opaque"}]
	}`))
	if err != nil {
		t.Fatal(err)
	}
	want := mesh.PortPolicy{Protocol: mesh.Opaque, Policy: mesh.AllAuthenticated}
	if diff := cmp.Diff(want, got.Inbound[0].Policy); diff != "" {
		t.Error(diff)
	}
	if e := got.Outbound[0].Value.Endpoints[0]; e.Weight != 2 || e.Addr.Port() != 6001 ||
		got.Outbound[0].Value.Protocol != mesh.HTTP1 {
		t.Errorf("got %+v", got.Outbound[0])
	}
}

func TestParseLocalNamesWhatIsWrong(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "cert.pem")
	for text, want := range map[string]string{
		`{"outbond": []}`:                    "outbond",
		`{} {}`:                              "trailing",
		`{"outbound": [{"protocol": "h3"}]}`: "outbound 0: protocol \"h3\"",
		`{"outbound": [{"endpoints": [{"addr": "127.0.0.1:1", "identity": "web"}]}]}`: "web",
		`{"inbound": [{"policy": "open"}]}`:                                           "inbound 0: access policy \"open\"",
		`{"certificate": "` + missing + `", "key": "x", "anchors": "y"}`:              missing,
		`{"tap": "127.0.0.1:0"}`:                                                      "tap and tapID need each other",
		`{"tapID": "x"}`:                                                              "tap and tapID need each other",
	} {
		if _, err := ParseLocal([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v does not say %q", text, err, want)
		}
	}
	if _, err := os.Stat(missing); err == nil {
		t.Error("the file that must be missing is there")
	}
}

func TestIdentityWithoutCertificateIsAMistake(t *testing.T) {
	local, err := ParseLocal([]byte(`{"outbound": [{"listen": "127.0.0.1:0", "endpoints": [
		{"addr": "127.0.0.1:1", "identity": "spiffe://cluster.local/ns/shop/sa/web"}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newFixedSource(local); err == nil {
		t.Error("a proxy that cannot speak mesh TLS took an endpoint that must")
	}
}

// TestDefaultTimes holds what the documents promise: a server that speaks first waits a second for each proxy.
func TestDefaultTimes(t *testing.T) {
	want := env.Times{
		OutboundConnect: time.Second, InboundConnect: 4 * time.Second,
		OutboundDetect: time.Second, InboundDetect: time.Second,
		Handshake: 5 * time.Second, DeclaredDetect: 10 * time.Second, Discovery: 3 * time.Second, FailFast: 3 * time.Second,
		TargetIdle: 10 * time.Minute, Grace: 2 * time.Minute,
		ExpirySpread: 5 * time.Second, ExpiryGrace: 30 * time.Second,
	}
	if diff := cmp.Diff(want, env.TimesOf(&mesh.ProxyConfig{})); diff != "" {
		t.Error(diff)
	}
}
