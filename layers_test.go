// Package tulle holds no code: this folder is the module's root, and these tests keep the house in order. docs/architecture.md tells
// the same rules in prose.
package tulle

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/tulle-mesh/tulle"

// layers is the house from the ground up: a package may import packages of lower layers only. A package that is not listed here
// fails the test, so that nobody moves in without saying where they belong.
var layers = [][]string{
	{
		"mesh", "crds/v1alpha1", "api/pb", "internal/alloctest", "internal/kubelet", "internal/latest", "internal/listen", "internal/lead", "internal/netns", "internal/rawtcp", "internal/testapp",
		"proxy/message", "proxy/sock", "proxy/park",
	},
	{
		"api", "crds", "identity/ca", "injector/inject", "injector/redirect", "controller/model",
		"cli/convert",
		"proxy/detect", "proxy/exchange", "proxy/h1", "proxy/hpack", "proxy/balance", "proxy/retry", "proxy/authz", "proxy/limit", "proxy/route",
	},
	{"crds/crdtest", "proxy/h2", "proxy/authz", "internal/certs", "internal/daemon", "proxy/relay", "proxy/stats", "injector/redirect/nft"},
	{"cli/analyze", "identity", "injector", "controller/kube", "controller/discovery", "install", "proxy/forward", "proxy/control", "internal/meshtest"},
	{"proxy", "controller"},
	{"cmd/tulle", "cmd/tulle-controller", "cmd/tulle-proxy"},
}

// A ban says that packages under From must not reach the import prefix To, neither themselves nor through what they import.
type ban struct{ from, to, except, reason string }

var bans = []ban{
	{"mesh", "", "", "mesh is the vocabulary of everybody, so it depends on nobody"},
	{"proxy", "k8s.io/", "", "the proxy must stay small and speak only the discovery API"},
	{"proxy", "sigs.k8s.io/", "", "the proxy must stay small and speak only the discovery API"},
	{"proxy", "github.com/prometheus/", "", "the proxy writes its exposition itself: the client library costs memory in every pod"},
	{"cmd/tulle-proxy", "k8s.io/", "", "the proxy's binary is in every pod"},
	{"cmd/tulle-proxy", "github.com/spf13/", "", "the proxy's binary is in every pod; a flag library is weight there"},
	{"controller/model", "k8s.io/client-go", "", "building and resolving are pure: they must run without a cluster"},
	{"controller/discovery", "k8s.io/", "", "streams see values of mesh; Kubernetes types stop at controller/model"},
	{"injector/inject", "k8s.io/client-go", "", "the same code runs in the webhook and in `tulle inject`"},
	{"injector/inject", "google.golang.org/grpc", "", "pure package"},
	{"injector/redirect", "github.com/google/nftables", "injector/redirect/nft", "rules are values; only the edge programs the kernel"},
	{"identity/ca", "google.golang.org/grpc", "", "issuing is pure: bytes and times in, certificates out"},
	{"identity/ca", "k8s.io/", "", "issuing is pure: bytes and times in, certificates out"},
	{"proxy/h1", "net", "", "codecs work on bytes; they never dial"},
	{"proxy/hpack", "net", "", "codecs work on bytes; they never dial"},
	{"proxy/h2", "net", "", "codecs work on bytes; they never dial"},
	{"proxy/detect", "google.golang.org/grpc", "", "pure package"},
	{"proxy/authz", "google.golang.org/grpc", "", "pure package"},
	{"proxy/limit", "google.golang.org/grpc", "", "pure package"},
	{"proxy/route", "google.golang.org/grpc", "", "pure package"},
	{"proxy/balance", "google.golang.org/grpc", "", "pure package"},
	{"proxy/retry", "google.golang.org/grpc", "", "pure package"},
}

// users lists, for an import, the only packages that may name it themselves.
var users = map[string]struct {
	allowed []string
	reason  string
}{
	"k8s.io/client-go": {
		[]string{"controller/kube", "identity", "injector", "install", "internal/lead", "cmd/tulle", "cmd/tulle-controller"},
		"whoever holds a client can do anything; keep them few",
	},
	module + "/api/pb": {
		[]string{"api", "controller/discovery", "identity", "internal/certs", "internal/meshtest", "proxy/control"},
		"wire types stop at the codec and the two ends of a stream",
	},
	"net/http/httputil": {nil, "the data path is the project's own engine"},
}

type goPackage struct {
	ImportPath  string
	Dir         string
	Imports     []string
	Deps        []string
	GoFiles     []string
	TestGoFiles []string
}

func load(t *testing.T) map[string]goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,Imports,Deps,GoFiles,TestGoFiles", "./...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	packages := map[string]goPackage{}
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p goPackage
		if err := dec.Decode(&p); err == io.EOF {
			return packages
		} else if err != nil {
			t.Fatalf("decode go list: %v", err)
		}
		packages[strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")] = p
	}
}

func TestLayers(t *testing.T) {
	level := map[string]int{}
	for i, names := range layers {
		for _, name := range names {
			level[name] = i
		}
	}
	packages := load(t)
	for name, p := range packages {
		if name == "" {
			continue
		}
		mine, ok := level[name]
		if !ok {
			t.Errorf("%s has no layer: add it to layers in layers_test.go, and to docs/architecture.md", name)
			continue
		}
		for _, imp := range p.Imports {
			other, ours := strings.CutPrefix(imp, module+"/")
			if theirs, known := level[other]; ours && known && theirs >= mine {
				t.Errorf("%s (layer %d) imports %s (layer %d): a package imports lower layers only", name, mine, other, theirs)
			}
		}
	}
	for name := range level {
		if _, ok := packages[name]; !ok {
			t.Errorf("layers names %s, which does not exist", name)
		}
	}
}

func TestBans(t *testing.T) {
	packages := load(t)
	for _, b := range bans {
		if _, ok := packages[b.from]; !ok {
			t.Errorf("a ban names %s, which does not exist", b.from)
		}
		for name, p := range packages {
			if !within(name, b.from) || b.except != "" && within(name, b.except) {
				continue
			}
			for _, dep := range p.Deps {
				if banned(b, dep) {
					t.Errorf("%s reaches %s: %s", name, dep, b.reason)
				}
			}
		}
	}
}

// banned matches a dependency. An empty To bans everything but the standard library; one without a dot is an exact package.
func banned(b ban, dep string) bool {
	switch {
	case b.to == "":
		return strings.Contains(strings.Split(dep, "/")[0], ".")
	case !strings.Contains(strings.Split(b.to, "/")[0], "."):
		return dep == b.to
	default:
		return strings.HasPrefix(dep, b.to)
	}
}

func TestUsers(t *testing.T) {
	for name, p := range load(t) {
		for _, imp := range p.Imports {
			for prefix, rule := range users {
				if within(imp, prefix) && !slices.Contains(rule.allowed, name) {
					t.Errorf("%s imports %s: %s", name, imp, rule.reason)
				}
			}
		}
	}
}

// TestAllocationsAreCountedByAlloctest keeps counts out of runs with the race detector, where they differ at random.
func TestAllocationsAreCountedByAlloctest(t *testing.T) {
	for name, p := range load(t) {
		for _, file := range p.TestGoFiles {
			text, err := os.ReadFile(filepath.Join(p.Dir, file))
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(text), "testing."+"AllocsPerRun") {
				t.Errorf("%s/%s counts allocations itself; internal/alloctest does", name, file)
			}
		}
	}
}

func within(path, prefix string) bool { return path == prefix || strings.HasPrefix(path, prefix+"/") }

func TestPackageComments(t *testing.T) {
	for name, p := range load(t) {
		files := p.GoFiles
		if name == "" {
			files = p.TestGoFiles
		}
		if n := len(packageComments(t, p.Dir, files)); n != 1 {
			t.Errorf("package %s has %d package comments, want exactly one", name, n)
		}
	}
}

func packageComments(t *testing.T, dir string, files []string) []string {
	t.Helper()
	var found []string
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, file), nil, parser.ParseComments|parser.PackageClauseOnly)
		if err != nil {
			t.Fatalf("parse %s: %v", file, err)
		}
		if f.Doc != nil && !ast.IsGenerated(f) {
			found = append(found, file)
		}
	}
	return found
}
