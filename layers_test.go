// Package tulle holds no code: this folder is the module's root, and these tests hold the rules of
// docs/architecture.md.
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
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/tulle-mesh/tulle"

// layers lists the packages from the ground up. A package imports packages of lower layers only, and is in exactly one.
// The table of docs/architecture.md says the same; TestLayerTable compares them.
var layers = []struct {
	name     string
	packages []string
}{
	{"vocabulary", []string{
		"mesh", "crds/v1alpha1", "api/pb",
		"internal/backoff", "internal/kubelet", "internal/latest", "internal/connlimit", "internal/leader",
		"internal/httpserver", "internal/podowner",
		"internal/alloctest", "internal/goldentest", "internal/netns", "internal/prometheustest", "internal/rawtcp",
		"internal/spelling", "internal/testapp",
		"install/chart",
		"proxy/clock", "proxy/flood", "proxy/message", "proxy/sock", "proxy/idle", "proxy/wheel", "proxy/list",
	}},
	{"pure", []string{
		"api", "crds", "identity/ca",
		"cli/convert",
		"injector/inject", "injector/redirect", "install/values",
		"internal/sidecar",
		"controller/compile", "controller/kinds",
		"proxy/buffer", "proxy/detect", "proxy/exchange", "proxy/h1", "proxy/hpack", "proxy/balance", "proxy/retry",
		"proxy/limit", "proxy/route",
		"viz/dashboards", "viz/metrics", "viz/resource", "viz/table",
	}},
	{"parts", []string{
		"controller/model",
		"cli/cluster", "cli/forecast", "cli/manifest",
		"crds/crdtest", "injector/redirect/nft", "install", "internal/rbactest", "internal/servingcert",
		"identity/workload", "internal/daemon",
		"proxy/h2", "proxy/authz", "proxy/relay", "proxy/replay", "proxy/stats",
		"viz/metricsapi", "viz/prometheus", "viz/metricsclient", "viz/scrape",
		"viz/golden", "viz/metricstest",
	}},
	{"edges", []string{
		"cli/analyze", "cli/certificate", "cli/injection", "cli/installation", "cli/learn", "cli/profile", "cli/revocation",
		"identity", "injector", "install/manifests", "internal/meshtest",
		"controller/kube", "controller/discovery",
		"proxy/forward", "proxy/control", "proxy/response", "proxy/tap", "proxy/trace",
		"viz/tap",
		"viz/install",
		"viz/edges", "viz/objects", "viz/parts", "viz/rights", "viz/spectext", "viz/subject",
	}},
	{"shared", []string{
		"proxy/env",
		"viz/authz", "viz/policywarning", "viz/profile", "viz/routes", "viz/stat",
		"viz/statinbound", "viz/statoutbound", "viz/tapclient",
	}},
	{"watchers", []string{
		"proxy/reverify",
	}},
	{"directions", []string{
		"proxy/inbound", "proxy/outbound",
	}},
	{"assemblies", []string{
		"proxy", "controller", "controller/status",
		"cli/explain", "cli/extension", "cli/rotation", "cli/upgrade", "viz/splits", "viz/tapapi", "viz/top",
	}},
	{"checks", []string{
		"cli/check",
	}},
	{"pages", []string{
		"viz/board",
	}},
	{"servers", []string{
		"viz/web",
	}},
	{"commands", []string{
		"cmd/tulle/identity", "cmd/tulle/lifecycle", "cmd/tulle/viz",
	}},
	{"mains", []string{
		"viz/dashboards/generate",
		"cmd/tulle", "cmd/tulle-controller", "cmd/tulle-proxy",
	}},
}

// A ban forbids packages under from to reach the import prefix to, directly or through other packages.
type ban struct{ from, to, except, reason string }

var bans = []ban{
	{"mesh", "", "", "every package uses mesh, so it depends on none"},
	{"proxy", "k8s.io/", "", "the proxy must stay small and speak only the discovery API"},
	{"proxy", "sigs.k8s.io/", "", "the proxy must stay small and speak only the discovery API"},
	{"proxy", "github.com/prometheus/", "",
		"the proxy writes its exposition itself: the client library costs memory in every pod"},
	{"cmd/tulle-proxy", "k8s.io/", "", "the proxy's binary is in every pod"},
	{"cmd/tulle-proxy", "github.com/spf13/", "", "the proxy's binary is in every pod; a flag library is weight there"},
	{"controller/model", "k8s.io/client-go", "", "building and resolving are pure: they must run without a cluster"},
	{"controller/compile", "k8s.io/client-go", "", "parsing an object is pure: it must run without a cluster"},
	{"controller/discovery", "k8s.io/", "", "streams see values of mesh; Kubernetes types stop at controller/model"},
	{"injector/inject", "k8s.io/client-go", "", "the same code runs in the webhook and in `tulle inject`"},
	{"injector/inject", "google.golang.org/grpc", "", "pure package"},
	{"injector/redirect", "github.com/google/nftables", "injector/redirect/nft",
		"rules are values; only nft programs the kernel"},
	{"identity/ca", "google.golang.org/grpc", "", "issuing is pure: bytes and times in, certificates out"},
	{"identity/ca", "k8s.io/", "", "issuing is pure: bytes and times in, certificates out"},
	{"cmd/tulle-proxy", "helm.sh/", "", "the proxy's binary is in every pod"},
	{"cmd/tulle-controller", "helm.sh/", "", "only the CLI renders manifests"},
	{"install", "helm.sh/", "install/manifests", "the controller reads values and must not link Helm"},
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
		[]string{
			"cli/cluster", "controller/kube", "controller/status", "identity", "injector", "internal/leader",
			"internal/servingcert",
			"cmd/tulle-controller",
			"viz/tapclient", // JSONPath templates only
		},
		"code that holds a client can do anything; keep it in few packages",
	},
	"helm.sh/helm": {[]string{"install/manifests"}, "one package renders the chart"},
	module + "/api/pb": {
		[]string{"api", "controller/discovery", "identity", "identity/workload", "internal/meshtest", "proxy/control",
			"proxy/tap", "viz/tap"},
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
	for i, layer := range layers {
		for _, name := range layer.packages {
			if _, twice := level[name]; twice {
				t.Errorf("%s is in two layers", name)
			}
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

// TestLayerTable compares the table of docs/architecture.md with layers.
func TestLayerTable(t *testing.T) {
	page, err := os.ReadFile("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(page), "| layer | package | what it owns |\n|---|---|---|\n")
	if !ok {
		t.Fatal("docs/architecture.md has no table of layers")
	}
	table, _, _ = strings.Cut(table, "\n\n")
	documented, layer := map[string]string{}, ""
	code := regexp.MustCompile("`([^`]+)`")
	for row := range strings.SplitSeq(table, "\n") {
		cells := strings.Split(row, "|")
		if len(cells) < 4 {
			t.Fatalf("docs/architecture.md: %q is not a row of three cells", row)
		}
		if name := strings.TrimSpace(cells[1]); name != "" {
			layer = name
		}
		for _, m := range code.FindAllStringSubmatch(cells[2], -1) {
			if _, twice := documented[m[1]]; twice {
				t.Errorf("docs/architecture.md names %s twice", m[1])
			}
			documented[m[1]] = layer
		}
	}
	for _, l := range layers {
		for _, name := range l.packages {
			if documented[name] != l.name {
				t.Errorf("docs/architecture.md has %s in layer %q, layers_test.go in %q", name, documented[name], l.name)
			}
			delete(documented, name)
		}
	}
	for name := range documented {
		t.Errorf("docs/architecture.md names %s, which layers_test.go does not", name)
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

// banned matches a dependency. An empty To bans everything but the standard library; one without a dot is an exact
// package.
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
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, file), nil,
			parser.ParseComments|parser.PackageClauseOnly)
		if err != nil {
			t.Fatalf("parse %s: %v", file, err)
		}
		if f.Doc != nil && !ast.IsGenerated(f) {
			found = append(found, file)
		}
	}
	return found
}

// TestPackagesAreSmall: a package that nobody can hold in mind is split. Tests and generated code do not count.
func TestPackagesAreSmall(t *testing.T) {
	type size struct{ files, lines int }
	most := size{30, 4500}
	mains := map[string]size{"proxy": {30, 1500}, "cmd/tulle": {30, 2000}}
	for name, p := range load(t) {
		var is size
		for _, file := range p.GoFiles {
			if strings.HasSuffix(file, ".pb.go") {
				continue
			}
			text, err := os.ReadFile(filepath.Join(p.Dir, file))
			if err != nil {
				t.Fatal(err)
			}
			is.files++
			is.lines += strings.Count(string(text), "\n")
		}
		want, ok := mains[name]
		if !ok {
			want = most
		}
		if is.files > want.files || is.lines > want.lines {
			t.Errorf("%s has %d files and %d lines, want at most %d and %d: move a concern out", name, is.files, is.lines,
				want.files, want.lines)
		}
	}
}
