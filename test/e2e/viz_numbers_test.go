package e2e

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// statRow is what a test reads of a row of `viz stat -o json`.
type statRow struct {
	Namespace, Name, Meshed string
	Success, RPS            *float64
}

// edge is what a test reads of a row of `viz edges -o json`.
type edge struct {
	Src, Dst  string
	SrcNS     string `json:"src_namespace"`
	ClientID  string `json:"client_id"`
	ServerID  string `json:"server_id"`
	Plaintext string `json:"no_tls_reason"`
}

// TestVizReadsTheProxies: without the extension, the commands answer from the proxies, and with the client's own count.
func TestVizReadsTheProxies(t *testing.T) {
	const rate = 50
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	sent := func() float64 {
		return meshed.metric(t, "request_total", `direction="outbound"`, `dst_service="server"`)
	}
	before := sent()
	done := make(chan []byte, 1)
	go func() { // longer than the window, on both sides
		out, _ := meshed.app("load", "-url", "http://server.e2e/", "-rate", "50", "-count", "2250")
		done <- out
	}()
	eventually(t, 20*time.Second, func() error {
		return nilIf(sent() > before+rate, "the load has not begun")
	})
	begun, start := sent(), time.Now()
	out, stderr := viz(ctx, t, "stat", "deploy/server", "--from", "deploy/client", "-n", appNS, "-t", "20s", "-o", "json")
	if !strings.Contains(stderr, "tulle viz install") {
		t.Errorf("stderr does not say where the numbers come from: %q", stderr)
	}
	really := (sent() - begun) / time.Since(start).Seconds() // tells a wrong number from a load that did not keep its rate
	rows := decode[[]statRow](t, out)
	if len(rows) != 1 || rows[0].RPS == nil || math.Abs(*rows[0].RPS-rate) > 0.02*rate {
		t.Errorf("got %s, want one row with %d requests a second; the client's proxy counted %.1f", out, rate, really)
	} else if rows[0].Success == nil || *rows[0].Success != 1 {
		t.Errorf("got %s, want all requests to succeed", out)
	}
	out, _ = viz(ctx, t, "edges", "deploy", "-n", appNS, "-o", "json")
	// Another port of the server may be reached in plaintext, which is an edge of its own.
	secured := func(e edge) bool {
		return e.Src == "client" && e.Dst == "server" && e.ClientID == "client.e2e" && e.ServerID == "server.e2e" &&
			e.Plaintext == ""
	}
	if !slices.ContainsFunc(decode[[]edge](t, out), secured) {
		t.Errorf("got %s, want an edge from client to server with both identities", out)
	}
	load := decode[struct {
		Sent, Failed int
		Seconds      float64
	}](t, <-done)
	if load.Sent == 0 || load.Failed > 0 {
		t.Errorf("got %+v, want no failure", load)
	}
	t.Logf("the load: %+v", load)
}

// viz runs a viz command and returns its output and what it says on stderr.
func viz(ctx context.Context, t *testing.T, args ...string) (stdout []byte, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	cmd := command(ctx, env.tulle, append([]string{"viz"}, args...)...)
	var errText strings.Builder
	cmd.Stderr = &errText
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tulle viz %s: %v\n%s%s", strings.Join(args, " "), err, out, errText.String())
	}
	return out, errText.String()
}
