package manifest

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestSourcesAreReadOverHTTPSOnly(t *testing.T) {
	if _, err := (Sources{}).Read(t.Context(), "http://127.0.0.1/x.yaml"); err == nil || !strings.Contains(err.Error(), "plain http is not accepted") {
		t.Errorf("error %v, want a refusal", err)
	}
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/down":
			http.Redirect(w, r, plain.URL, http.StatusFound)
		case "/ok":
			_, _ = w.Write([]byte("kind: Pod\n"))
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	transport := server.Client().Transport
	if data, err := fetch(t.Context(), transport, server.URL+"/ok"); err != nil || string(data) != "kind: Pod\n" {
		t.Errorf("fetch = %q, %v", data, err)
	}
	for path, want := range map[string]string{"/down": "only https is accepted", "/missing": "404"} {
		if _, err := fetch(t.Context(), transport, server.URL+path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("fetch %s = %v; want an error with %q", path, err, want)
		}
	}
}
