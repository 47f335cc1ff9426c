package main

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/web"
)

// TestViewersHaveTheirOwnCredentials: a viewer's token goes to the API server without any right of the process, and a
// name goes as impersonation.
func TestViewersHaveTheirOwnCredentials(t *testing.T) {
	var got http.Header
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header
		http.Error(w, "no", http.StatusForbidden)
	}))
	defer server.Close()
	own := &rest.Config{Host: server.URL, BearerToken: "own", Impersonate: rest.ImpersonationConfig{}}
	for name, c := range map[string]struct {
		credentials web.Credentials
		want        map[string][]string
	}{
		"a token": {web.Credentials{Token: "viewers"}, map[string][]string{"Authorization": {"Bearer viewers"},
			"Impersonate-User": nil, "Impersonate-Group": nil}},
		"a name": {web.Credentials{User: "carol", Groups: []string{"dev", "ops"}}, map[string][]string{
			"Authorization": {"Bearer own"}, "Impersonate-User": {"carol"}, "Impersonate-Group": {"dev", "ops"}}},
	} {
		t.Run(name, func(t *testing.T) {
			client, err := connectAs(own, c.credentials)
			if err != nil {
				t.Fatal(err)
			}
			for what, ask := range map[string]func() error{
				"pods": func() error {
					_, err := client.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{})
					return err
				},
				"metadata": func() error {
					_, err := client.Definitions(t.Context())
					return err
				},
				"tap": func() error {
					_, err := client.Post(t.Context(), "/apis/tap.linkerd.io/v1alpha1/watch", nil)
					return err
				},
			} {
				got = nil
				if err := ask(); err == nil {
					t.Errorf("%s: got no error", what)
				}
				for key, want := range c.want {
					if !slices.Equal(got[key], want) {
						t.Errorf("%s: header %s is %q, want %q", what, key, got[key], want)
					}
				}
			}
		})
	}
}

func TestWebServesItsOwnHosts(t *testing.T) {
	f := webFlags{vizNamespace: mesh.VizNamespace, clusterDomain: mesh.DefaultClusterDomain}
	for external, want := range map[string]string{
		"https://Dashboard.example.com":     "dashboard.example.com https://dashboard.example.com",
		"https://dashboard.example.com:443": "dashboard.example.com https://dashboard.example.com",
		"http://dashboard.example.com:8080": "dashboard.example.com:8080 http://dashboard.example.com:8080",
		"":                                  "",
		"dashboard.example.com":             "",
		"ftp://dashboard.example.com":       "",
	} {
		f.externalURL = external
		cfg, err := f.config(zap.NewNop())
		if want == "" {
			if err == nil || !strings.Contains(err.Error(), "--external-url") {
				t.Errorf("%q: error %v", external, err)
			}
			continue
		}
		if err != nil || cfg.Hosts[0]+" "+cfg.Origin != want ||
			!slices.Contains(cfg.Hosts, "web.tulle-viz.svc.cluster.local:8084") {
			t.Errorf("%q: hosts %q, origin %q, error %v", external, cfg.Hosts, cfg.Origin, err)
		}
	}
}

func TestImpersonationNeedsAServiceAccount(t *testing.T) {
	f := webFlags{impersonate: "oauth2-proxy"}
	if _, err := f.authenticator(&rest.Config{Host: "http://127.0.0.1"}, nil, nil); err == nil ||
		!strings.Contains(err.Error(), "namespace/name") {
		t.Errorf("error %v", err)
	}
}
