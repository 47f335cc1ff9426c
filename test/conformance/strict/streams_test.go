package strict

import (
	"fmt"
	"testing"
)

// streamRoute is a TCPRoute or a TLSRoute in namespace strict, on a port of Service echo.
func streamRoute(kind, name string, port int, spec string) string {
	return fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: %s
metadata: {name: %s, namespace: strict}
spec:
  parentRefs: [{group: "", kind: Service, name: echo, port: %d}]
  %s
---
`, kind, name, port, spec)
}

func TestTCPRoute(t *testing.T) {
	apply(t, streamRoute("TCPRoute", "tcp", 9090, `rules: [{backendRefs: [{name: echo-v2, port: 9090}]}]`))
	eventually(t, func() error { return answersOnly(request{url: "tcp://echo:9090", count: 10}, "v2") })
	eventually(t, func() error {
		return checkStatus("tcproute/tcp", 1, [][]condition{
			{{"Accepted", "True", "Accepted"}, {"ResolvedRefs", "True", "ResolvedRefs"}}})
	})
}

// TestTLSRoute chooses by the name that a connection asks for, without being able to read it.
func TestTLSRoute(t *testing.T) {
	for version, host := range map[string]string{"v1": "one.example.org", "v2": "two.example.org"} {
		apply(t, streamRoute("TLSRoute", version, 443, fmt.Sprintf(`hostnames: [%s]
  rules: [{backendRefs: [{name: echo-%s, port: 443}]}]`, host, version)))
	}
	for version, host := range map[string]string{"v1": "one.example.org", "v2": "two.example.org"} {
		eventually(t, func() error {
			flags := []string{"-k", "--new-connection-per-request", "--server-name=" + host}
			return answersOnly(request{url: "https://echo:443/", count: 5, flags: flags}, version)
		})
	}
}

// answersOnly checks that every request is answered by one version.
func answersOnly(r request, version string) error {
	r.from = "echo-v1"
	got, err := send(r)
	if err != nil {
		return err
	}
	for i := range got {
		if got[i].version != version || got[i].status != 200 {
			return fmt.Errorf("%s: request %d got status %d from %q, want 200 from %s", r.url, i, got[i].status, got[i].version,
				version)
		}
	}
	return nil
}
