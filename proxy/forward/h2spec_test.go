package forward

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"testing"
)

// TestH2Spec runs a h2spec binary, whose path H2SPEC holds, against the server's end of the engine.
func TestH2Spec(t *testing.T) {
	bin := os.Getenv("H2SPEC")
	if bin == "" {
		t.Skip("H2SPEC does not name a h2spec binary; the nested test module runs it always")
	}
	addr := serveApp(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte("ok")) }))
	r := build(t, true, false, addr, Config{})
	_, port, _ := net.SplitHostPort(r.first.addr)
	out, err := exec.CommandContext(t.Context(), bin, "-h", "127.0.0.1", "-p", port, "-o", "2").CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
