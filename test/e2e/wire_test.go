package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// node is a pod that shares the network and the processes of its node.
var node = client{bareNS, "node"}

type capture struct {
	Packets, Bytes, Found, TLS int
	First                      string
}

// onTheWire captures on the node while act runs and returns what was seen.
func onTheWire(t *testing.T, marker string, act func()) capture {
	t.Helper()
	cmd := command(t.Context(), env.kubectl, "-n", node.namespace, "exec", "-i", "deploy/"+node.deployment, "-c", "app",
		"--",
		"/app", "capture", "-marker", marker)
	var out bytes.Buffer
	cmd.Stdout = &out
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewReader(stderr)
	if line, err := said.ReadString('\n'); line != "capturing\n" {
		t.Fatalf("the capture said %q, %v", line, err)
	}
	act()
	if err := stdin.Close(); err != nil {
		t.Fatal(err)
	}
	rest, _ := io.ReadAll(said)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, rest)
	}
	return decode[capture](t, out.Bytes())
}

func TestNoPlaintextOnTheWire(t *testing.T) {
	const marker = "MARKER-4f1c9e0b7a"
	for name, args := range map[string][]string{
		"HTTP/1": {"http", "-url", "http://server.e2e/", "-method", "POST", "-text", marker},
		"HTTP/2": {"http", "-url", "http://server.e2e/", "-method", "POST", "-text", marker, "-proto", "h2c"},
		"TCP":    {"tcp", "-addr", "server.e2e:6379", "-text", marker},
	} {
		got := onTheWire(t, marker, func() { meshed.mustApp(t, args...) })
		if got.Found != 0 || got.TLS == 0 {
			t.Errorf("%s: %d packets hold the marker, %d hold TLS records; first %s", name, got.Found, got.TLS, got.First)
		}
	}
	// The capture itself must be able to fail: between unmeshed pods the marker is there to see.
	got := onTheWire(t, marker, func() {
		unmeshed.mustApp(t, "http", "-url", "http://server.plain/", "-method", "POST", "-text", marker)
	})
	if got.Found == 0 {
		t.Errorf("the capture saw %d packets and missed the marker between unmeshed pods", got.Packets)
	}
}

func TestKilledProxyLeaksNothing(t *testing.T) {
	const marker = "MARKER-killed-77d2"
	pod := strings.TrimSpace(mustKubectl(t, "-n", appNS, "get", "pods", "-l", "app=client", "-o",
		"jsonpath={.items[0].metadata.name}"))
	id := func() string {
		out := mustKubectl(t, "-n", appNS, "get", "pod", pod, "-o",
			`jsonpath={.status.initContainerStatuses[?(@.name=="tulle-proxy")].containerID}`)
		_, id, _ := strings.Cut(strings.TrimSpace(out), "://")
		return id
	}
	before := id()
	got := onTheWire(t, marker, func() {
		node.mustApp(t, "kill", "-container", before)
		for range 20 {
			_, _ = meshed.app("http", "-url", "http://server.e2e/", "-method", "POST", "-text", marker, "-timeout", "1s")
		}
	})
	if got.Found != 0 {
		t.Errorf("%d packets hold the marker while the proxy was down; first %s", got.Found, got.First)
	}
	eventually(t, 30*time.Second, func() error {
		if after := id(); after == before {
			return fmt.Errorf("container %s still runs", before)
		}
		return nil
	})
	eventually(t, 30*time.Second, func() error {
		out, err := meshed.app("http", "-url", "http://server.e2e/")
		if err != nil || !strings.Contains(string(out), `"status":200`) {
			return fmt.Errorf("%s: %v", out, err)
		}
		return nil
	})
}

func TestSPIFFEClientAcceptsOurCertificates(t *testing.T) {
	ip := podIPs(t, appNS, "server")[0]
	const id = "spiffe://cluster.local/ns/e2e/sa/server"
	got := decode[map[string]string](t, unmeshed.mustApp(t, "spiffe", "-addr", bracket(ip)+":8080", "-id", id))
	if got["id"] != id || got["version"] != "TLS 1.3" || got["curve"] != "X25519MLKEM768" {
		t.Errorf("got %v", got)
	}
	if out, err := unmeshed.app("spiffe", "-addr", bracket(ip)+":8080", "-id",
		"spiffe://cluster.local/ns/e2e/sa/other"); err == nil {
		t.Errorf("a client that requires another identity was served: %s", out)
	}
}
