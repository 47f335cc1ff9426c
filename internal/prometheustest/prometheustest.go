// Package prometheustest runs a real Prometheus for tests.
package prometheustest

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Start runs a Prometheus (PROMETHEUS, or in the PATH) with a configuration until the test ends, and returns its URL.
// The configuration is what Prometheus's file has, as values that JSON can write. Start skips the test if there is no
// Prometheus. It does not wait until Prometheus answers.
func Start(tb testing.TB, config map[string]any) string {
	tb.Helper()
	path, err := exec.LookPath("prometheus")
	if named := os.Getenv("PROMETHEUS"); named != "" {
		path, err = named, nil
	}
	if err != nil {
		tb.Skip("there is no prometheus in the PATH")
	}
	text, err := json.Marshal(config) // JSON is YAML
	if err != nil {
		tb.Fatal(err)
	}
	dir := tb.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), text, 0o600); err != nil {
		tb.Fatal(err)
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	address := lis.Addr().String()
	_ = lis.Close()
	cmd := exec.Command(path, "--config.file="+filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address, "--log.level=error")
	cmd.Stdout, cmd.Stderr = tb.Output(), tb.Output()
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return "http://" + address
}
