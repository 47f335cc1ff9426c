package viz

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	metadatafake "k8s.io/client-go/metadata/fake"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/table"
	"github.com/tulle-mesh/tulle/viz/tap"
)

// TestTap holds every line and every JSON key against its golden file. The stream goes through the real tap API.
func TestTap(t *testing.T) {
	for name, args := range map[string]string{
		"short":    "tap deploy/api",
		"wide":     "tap deploy/api -o wide",
		"pod-wide": "tap po/api-5d8f7c-a -o wide",
		"json":     "tap deploy/api -o json",
		"jsonpath": `tap deploy/api -o jsonpath={.requestInitEvent.method}:{.requestInitEvent.path}`,
		"path":     "tap deploy/api -o jsonpath=responseInitEvent.httpStatus",
		"kind":     "tap deploy",
	} {
		t.Run(name, func(t *testing.T) { golden(t, "tap-"+name+".txt", newTapBed(t).ends(t, args)) })
	}
}

// TestTapAsks shows what the flags ask of the API.
func TestTapAsks(t *testing.T) {
	const root = "/apis/tap.linkerd.io/v1alpha1/watch/namespaces/"
	for _, tt := range []struct {
		args, path string
		want       mesh.TapQuery
		max        int
	}{
		{"tap deploy/api", root + "shop/deployments/api/tap", mesh.TapQuery{PerSecond: 100}, 100},
		{"tap deploy api --max-rps 0.5", root + "shop/deployments/api/tap", mesh.TapQuery{PerSecond: 1}, 1},
		{"tap ns/other -o json", root + "other/tap", mesh.TapQuery{PerSecond: 100, Headers: true}, 100},
		{"tap po -l app=api", root + "shop/tap", mesh.TapQuery{PerSecond: 100}, 100},
		{"tap deploy/web --to deploy/api --path /charge", root + "shop/deployments/web/tap", mesh.TapQuery{PerSecond: 100,
			PathPrefix: "/charge", To: mesh.TapDestination{Namespace: "shop", Kind: "deployment", Name: "api"}}, 100},
		{"tap deploy/web --to svc/api --method get --scheme HTTP --authority a:80", root + "shop/deployments/web/tap",
			mesh.TapQuery{PerSecond: 100, Method: "GET", Scheme: "http", Authority: "a:80",
				To: mesh.TapDestination{Namespace: "shop", Kind: "service", Name: "api"}}, 100},
		{"tap deploy/api --direction inbound", root + "shop/deployments/api/tap",
			mesh.TapQuery{PerSecond: 100, Direction: mesh.TapInbound}, 100},
		{"tap deploy/web --to-namespace other", root + "shop/deployments/web/tap",
			mesh.TapQuery{PerSecond: 100, To: mesh.TapDestination{Namespace: "other"}}, 100},
		{"tap deploy/web --to deploy/web --to-namespace other", root + "shop/deployments/web/tap",
			mesh.TapQuery{PerSecond: 100, To: mesh.TapDestination{Namespace: "other", Kind: "deployment", Name: "web"}}, 100},
		{"tap deploy/web --to au/api.example.com", root + "shop/deployments/web/tap",
			mesh.TapQuery{PerSecond: 100, To: mesh.TapDestination{Kind: "authority", Name: "api.example.com"}}, 100},
	} {
		b := newTapBed(t)
		b.ends(t, tt.args)
		want := []tap.Query{{TapQuery: tt.want, MaxPerSecond: tt.max}}
		asked, paths := b.seen()
		if diff := cmp.Diff(want, asked); diff != "" || len(paths) != 1 || paths[0] != tt.path {
			t.Errorf("%s: path %v, want %s; query (-want +got):\n%s", tt.args, paths, tt.path, diff)
		}
	}
}

func TestTapRefuses(t *testing.T) {
	notFound := http.HandlerFunc(http.NotFound)
	away := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "service unavailable", http.StatusServiceUnavailable)
	})
	nonsense := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) })
	ofAPI := func(b *tapBed, edit func(*corev1.Pod)) {
		for _, p := range b.pods {
			if p.Labels["app"] == "api" {
				edit(p)
			}
		}
	}
	for name, tt := range map[string]struct {
		args string
		edit func(*tapBed)
		want []string
	}{
		"no resource":                {"tap", nil, []string{"name a resource, such as deploy"}},
		"two resources":              {"tap deploy web api", nil, []string{"name one resource"}},
		"a Service":                  {"tap svc/api", nil, []string{"services have no proxies", "--to takes services"}},
		"ReplicaSets without a name": {"tap rs", nil, []string{"name one of the replicasets, as in rs/NAME"}},
		"an unknown type":            {"tap deplyo/web", nil, []string{`did you mean "deploy"?`}},
		"an unknown name":            {"tap deploy/wep", nil, []string{`deployment "wep": not found`, `did you mean "web"?`}},
		"an unknown namespace":       {"tap ns/shob", nil, []string{`namespace "shob": not found; did you mean "shop"?`}},
		"an unknown peer": {"tap deploy/web --to deploy/apj", nil,
			[]string{"--to: deployment", `did you mean "api"?`}},
		"a peer without requests":  {"tap deploy/web --to srv/api-http", nil, []string{"servers receive no requests"}},
		"a rate that is too large": {"tap deploy/api --max-rps 1001", nil, []string{"--max-rps 1001", "at most 1000"}},
		"no direction":             {"tap deploy/api --direction in", nil, []string{`"in": want inbound or outbound`}},
		"no rate":                  {"tap deploy/api --max-rps 0", nil, []string{"--max-rps 0: want more than 0"}},
		"labels that are none":     {"tap deploy/api -l a(", nil, []string{"--selector"}},
		"another format": {"tap deploy/api -o jsn", nil,
			[]string{`want wide, json or jsonpath=`, `did you mean "json"?`}},
		"a template that is none": {"tap deploy/api -o jsonpath={.a", nil, []string{"output jsonpath={.a"}},
		"no extension": {"tap deploy/api", func(b *tapBed) { b.front = notFound },
			[]string{"no tap server", "tulle viz install | kubectl apply -f -"}},
		"a tap server that is away": {"tap deploy/api", func(b *tapBed) { b.front = away },
			[]string{"does not answer", "tulle viz check"}},
		"an answer that is none": {"tap deploy/api", func(b *tapBed) { b.front = nonsense },
			[]string{"read the answer of the tap server"}},
		"a user without rights": {"tap deploy/api", func(b *tapBed) { b.user = "bob" },
			[]string{`verb watch on deployments/tap of the API group tap.linkerd.io, for "api"`,
				"--clusterrole linkerd-linkerd-viz-tap-admin",
				"-n shop"}},
		"a user without rights on the namespace": {"tap deploy", func(b *tapBed) { b.user = "bob" },
			[]string{`verb watch on namespaces/tap of the API group tap.linkerd.io, for "shop"`}},
		"pods without tap": {"tap deploy/api", func(b *tapBed) {
			ofAPI(b, func(p *corev1.Pod) { tapped(t, p, "") })
		}, []string{"no pod of", "Pods with tap turned off, by an annotation or the installation: 1.", "docs/tap.md"}},
		"pods from before the extension": {"tap deploy/api", func(b *tapBed) {
			ofAPI(b, func(p *corev1.Pod) { tapped(t, p, "") })
			b.offerTap(t)
		}, []string{"no pod of", "Pods that tap can watch after a restart: 1.",
			"`kubectl -n shop rollout restart deploy,sts,ds`"}},
		"pods without a proxy": {"tap deploy/plain", nil, []string{"no pod of", "the pod has no proxy"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newTapBed(t)
			if tt.edit != nil {
				tt.edit(b)
			}
			r := b.run(t, "shop", strings.Fields(tt.args)...)
			for _, want := range tt.want {
				if r.fault == nil || !strings.Contains(r.fault.Error(), want) {
					t.Errorf("error %v; want %q", r.fault, want)
				}
			}
			if r.out != "" {
				t.Errorf("stdout %q", r.out)
			}
		})
	}
}

// TestTapOfSomePodsWithoutTap: the others are watched, and stderr says what to do.
func TestTapOfSomePodsWithoutTap(t *testing.T) {
	b := newTapBed(t)
	second := pod("shop", "api", "b", "v1")
	tapped(t, second, "")
	b.pods, b.messages = append(b.pods, second), nil
	b.offerTap(t)
	r := b.ends(t, "tap deploy/api")
	for _, want := range []string{"Cannot watch shop/api-5d8f7c-b: tap is turned off", "tap can watch after a restart: 1.",
		"kubectl -n shop rollout restart"} {
		if !strings.Contains(r.err, want) {
			t.Errorf("stderr %q; want %q", r.err, want)
		}
	}
}

// TestTapWithoutTheRightToList: the tap server decides whom a user may watch, not the right to list.
func TestTapWithoutTheRightToList(t *testing.T) {
	b := newTapBed(t)
	b.react = func(_ *fake.Clientset, untyped *metadatafake.FakeMetadataClient) {
		forbid(&untyped.Fake, "*", apierrors.NewForbidden(schema.GroupResource{Resource: "deployments"}, "",
			errors.New("no")))
	}
	if r := b.ends(t, "tap deploy/api --to deploy/web"); !strings.Contains(r.out, ":path=/books?page=2") {
		t.Errorf("stdout %q", r.out)
	}
}

// brokenPipe is a reader that has gone, as head has after its lines.
type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) {
	return 0, &os.PathError{Op: "write", Path: "|1", Err: syscall.EPIPE}
}

// firstLine is called when a line has been written.
type firstLine func()

func (f firstLine) Write(p []byte) (int, error) { f(); return len(p), nil }

func TestTapEndsCleanly(t *testing.T) {
	t.Run("when the user ends it", func(t *testing.T) {
		b := newTapBed(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		b.then, b.stdout = untilCancelled, firstLine(cancel)
		if r := b.runIn(ctx, t, "shop", "tap", "deploy/api"); r.fault != nil {
			t.Errorf("error %v", r.fault)
		}
	})
	t.Run("when the reader has gone", func(t *testing.T) {
		b := newTapBed(t)
		b.then, b.stdout = untilCancelled, brokenPipe{}
		if r := b.run(t, "shop", "tap", "deploy/api"); r.fault != nil {
			t.Errorf("error %v", r.fault)
		}
	})
}

// TestTapGoldenFilesHaveNoControlCharacters: whatever a client sends, a terminal shows it only.
func TestTapGoldenFilesHaveNoControlCharacters(t *testing.T) {
	for _, pattern := range []string{"testdata/tap-*.txt", "testdata/top-*.txt", "testdata/profile-*.txt"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, error %v", pattern, len(files), err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.SplitSeq(string(text), "\n") {
				if table.Safe(line) != line {
					t.Errorf("%s: %q", file, line)
				}
			}
		}
	}
}
