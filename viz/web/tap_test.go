package web

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tulle-mesh/tulle/viz/tap"
)

// posted is one request to the tap API.
type posted struct {
	ctx  context.Context
	path string
	body tap.Request
}

// tapBed returns a bed with a tap API that sends messages and then waits, or that fails.
func tapBed(t *testing.T, messages string, fault error) (*bed, chan posted) {
	requests := make(chan posted, 1)
	b := start(t, func(c *Config) {
		c.Viewer.Post = func(ctx context.Context, path string, body []byte) (io.ReadCloser, error) {
			p := posted{ctx: ctx, path: path}
			if err := json.Unmarshal(body, &p.body); err != nil {
				t.Error(err)
			}
			requests <- p
			if fault != nil {
				return nil, fault
			}
			r, w := io.Pipe()
			go func() {
				_, _ = io.WriteString(w, messages) // the reader may be gone
				<-ctx.Done()
				_ = w.CloseWithError(ctx.Err()) // it always returns nil
			}()
			return r, nil
		}
	})
	b.logIn()
	return b, requests
}

var asJSON = header("Content-Type", "application/json")

// TestTapStreamsUntilTheViewerLeaves: each message is a line, and the watch ends with the viewer.
func TestTapStreamsUntilTheViewerLeaves(t *testing.T) {
	b, requests := tapBed(t, `{"watching":1}`+"\n"+`{"event":{"proxy":"shop/web-1","proxyDirection":"INBOUND"}}`+"\n", nil)
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+b.host+"/api/tap", strings.NewReader(
		`{"target":{"kind":"deploy","namespace":"shop","name":"web"},"to":{"kind":"svc","namespace":"shop","name":"api"},
		"maxRps":7,"method":"get","path":"/charge"}`))
	if err != nil {
		t.Fatal(err)
	}
	asJSON(r)
	resp, err := b.browser.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if kind := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || kind != tap.ContentType {
		t.Fatalf("status %d, type %s", resp.StatusCode, kind)
	}
	lines := bufio.NewScanner(resp.Body)
	for _, want := range []string{`{"watching":1}`, `"proxy":"shop/web-1"`} {
		if !lines.Scan() || !strings.Contains(lines.Text(), want) {
			t.Fatalf("line %s, want %s", lines.Text(), want)
		}
	}
	got := <-requests
	want := tap.Request{MaxRPS: 7, Method: "GET", PathPrefix: "/charge", Headers: true,
		To: tap.Destination{Namespace: "shop", Kind: "service", Name: "api"}}
	if got.path != "/apis/tap.linkerd.io/v1alpha1/watch/namespaces/shop/deployments/web/tap" || got.body != want {
		t.Errorf("path %s, query %+v", got.path, got.body)
	}
	leave()
	<-got.ctx.Done()
}

// TestTapRefusals: what the API refuses is a refusal with its status, and the last line if it comes later.
func TestTapRefusals(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "deployments"}, "web", nil)
	b, _ := tapBed(t, "", forbidden)
	resp := b.send(http.MethodPost, "/api/tap", `{"target":{"kind":"deploy","namespace":"shop","name":"web"}}`, asJSON)
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusForbidden || !strings.Contains(string(body), `"code":"forbidden"`) ||
		!strings.Contains(string(body), "rolebinding") {
		t.Errorf("status %d, error %v: %s", resp.StatusCode, err, body)
	}
	b, _ = tapBed(t, `{"watching":1}`+"\nnonsense\n\n", nil)
	resp = b.send(http.MethodPost, "/api/tap", `{"target":{"kind":"deploy","namespace":"shop","name":"web"}}`, asJSON)
	if body, err = io.ReadAll(resp.Body); err != nil || !strings.Contains(string(body), `{"refusal":{"code":`) {
		t.Errorf("error %v: %s", err, body)
	}
}

// TestTapChecksWhatItWatches: a name cannot become another path of the Kubernetes API.
func TestTapChecksWhatItWatches(t *testing.T) {
	b, _ := tapBed(t, "", nil)
	for body, want := range map[string]string{
		``:   "decode body",
		`{}`: "unknown",
		`{"target":{"kind":"deploy","namespace":"shop","name":"web"},"more":1}`:                       "more",
		`{"target":{"kind":"deploy","namespace":"shop","name":"web"}} {}`:                             "more than one",
		`{"target":{"kind":"svc","namespace":"shop","name":"web"}}`:                                   "no proxies",
		`{"target":{"kind":"deploy","name":"web"}}`:                                                   "name a namespace",
		`{"target":{"kind":"job","namespace":"shop"}}`:                                                "name one of the jobs",
		`{"target":{"kind":"deploy","namespace":"shop","name":"../../secrets"}}`:                      "name",
		`{"target":{"kind":"deploy","namespace":"..","name":"web"}}`:                                  "name",
		`{"target":{"kind":"deploy","namespace":"a%2Fb","name":"web"}}`:                               "name",
		`{"target":{"kind":"deploy","namespace":"shop","name":"web"},"maxRps":100000}`:                "maxRps",
		`{"target":{"kind":"deploy","namespace":"shop","name":"web"},"selector":"=="}`:                "selector",
		`{"target":{"kind":"deploy","namespace":"shop","name":"web"},"to":{"kind":"server"}}`:         "receive no requests",
		`{"target":{"kind":"deploy","namespace":"shop","name":"web"},"to":{"kind":"x","name":"../"}}`: "unknown",
	} {
		resp := b.send(http.MethodPost, "/api/tap", body, asJSON)
		text, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusBadRequest || !strings.Contains(string(text), want) {
			t.Errorf("%s: status %d, want 400 and %q; error %v: %s", body, resp.StatusCode, want, err, text)
		}
	}
}
