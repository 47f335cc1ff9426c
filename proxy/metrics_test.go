package proxy

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/internal/meshtest"
	"github.com/tulle-mesh/tulle/mesh"
)

// What the proxy asks the control plane counts as Linkerd's proxies count it, and says how long the answer took.
func TestQuestionsToTheControlPlaneAreCounted(t *testing.T) {
	pd := startPod(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, seq, err := pd.source.Inbound().Wait(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	pd.plane.SetInbound(&mesh.Inbound{Default: mesh.PortPolicy{Policy: mesh.Deny}})
	if _, _, err := pd.source.Inbound().Wait(ctx, seq); err != nil { // news: no answer, and later than the answer
		t.Fatal(err)
	}
	text := pd.scrape(t)
	server := `addr="` + pd.plane.Addr() + `",server_id="` + meshtest.DestinationID.String() + `"`
	for _, want := range []struct{ family, suffix string }{
		{"control_request_total", server + `} 1`},
		{"control_response_total", server + `,status_code="200",classification="success",grpc_status="0"} 1`},
		{"control_response_latency_ms_bucket", server +
			`,status_code="200",classification="success",grpc_status="0",le="+Inf"} 1`},
		{"control_response_latency_ms_count", server + `,status_code="200",classification="success",grpc_status="0"} 1`},
		{"tulle_control_values_total", `addr="` + pd.plane.Addr() + `",result="ok"} 2`},
		{"control_connected", `addr="` + pd.plane.Addr() + `"} 1`},
	} {
		if countLines(text, want.family, want.suffix) != 1 {
			t.Errorf("no %s with %s", want.family, want.suffix)
		}
	}
}

func TestQuestionsWithoutAnAnswerAreFailures(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	pd := startPod(t, func(cfg *Config) {
		cfg.Certs = nil
		cfg.Settings.IdentityAddr, cfg.Settings.TokenFile = "127.0.0.1:1", token
		cfg.Settings.TrustRootsFile = meshtest.NewCA(t).RootsFile()
	})
	awaitFailure := func(pd *pod, addr, server string) {
		t.Helper()
		want := `addr="` + addr + `",server_id="` + server + `",classification="failure",grpc_status="14"}`
		for deadline := time.Now().Add(10 * time.Second); countLines(pd.scrape(t), "control_response_total", want) == 0; {
			if time.Now().After(deadline) {
				t.Fatalf("no control_response_total with %s", want)
			}
		}
	}
	awaitFailure(pd, "127.0.0.1:1", "spiffe://cluster.local/ns/tulle/sa/tulle-identity")
	pd = startPod(t, nil)
	pd.plane.Stop()
	awaitFailure(pd, pd.plane.Addr(), meshtest.DestinationID.String())
}
