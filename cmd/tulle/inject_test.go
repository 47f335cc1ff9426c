package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tulle-mesh/tulle/cli/injection"
	"github.com/tulle-mesh/tulle/cli/manifest"
)

func TestInjectGolden(t *testing.T) {
	for name, args := range map[string][]string{
		"inject/mixed.txt":        {"testdata/inject/mixed.yaml"},
		"inject/mixed-manual.txt": {"--manual", "--ignore-cluster", "-n", "shop", "testdata/inject/mixed.yaml"},
		"inject/cronjob.txt":      {"--ingress", "--skip-outbound-ports=3306,9000-9010", "testdata/inject/cronjob.yaml"},
		"inject/cronjob-manual.txt": {"--manual", "--ignore-cluster", "--proxy-image=example.org/proxy",
			"testdata/inject/cronjob.yaml"},
		"inject/nothing.txt": {"testdata/inject/nothing.yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			r := runCLI(t, noCluster, "", append([]string{"inject"}, args...)...)
			if r.code != 0 {
				t.Fatalf("exit code %d: %s", r.code, r.err)
			}
			golden(t, name, r)
		})
	}
}

func TestUninjectUndoesInject(t *testing.T) {
	for _, mode := range [][]string{nil, {"--manual", "--ignore-cluster"}} {
		for _, file := range []string{"testdata/inject/cronjob.yaml", "testdata/inject/mixed.yaml"} {
			meshed := runCLI(t, noCluster, "", append(append([]string{"inject"}, mode...), file)...)
			bare := runCLI(t, noCluster, meshed.out, "uninject", "-")
			if bare.code != 0 {
				t.Fatalf("exit code %d: %s", bare.code, bare.err)
			}
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(trees(t, string(data)), trees(t, bare.out)); diff != "" {
				t.Errorf("%s with %q does not come back (-was +is):\n%s", file, mode, diff)
			}
		}
	}
}

// trees returns the documents of a manifest without empty metadata, which uninject may leave behind.
func trees(t *testing.T, text string) []map[string]any {
	t.Helper()
	var out []map[string]any
	docs, err := manifest.ReadDocuments("test", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, doc := range docs {
		tree, err := doc.Decode()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, dropEmpty(tree).(map[string]any))
	}
	return out
}

func dropEmpty(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, below := range v {
			if m, ok := dropEmpty(below).(map[string]any); ok && len(m) == 0 {
				delete(v, k)
			}
		}
	case []any:
		for _, item := range v {
			dropEmpty(item)
		}
	}
	return v
}

func TestInjectNamesDocumentLineAndField(t *testing.T) {
	for name, test := range map[string]struct{ manifest, want string }{
		"a syntax error": {"a: b\n---\nkind: Pod\nspec: {\n", "stdin: document 2, line 4: "},
		"a tab":          {"# x\n\nkind: Pod\nspec:\n\ta: b\n", "stdin: document 1, line 5: "},
		"a wrong type": {"kind: Pod\nspec:\n  containers:\n  - name: a\n    ports: [{containerPort: 80}, " +
			"{containerPort: eighty}]\n", "document 1, line 5: spec.containers.ports.containerPort: is a string, want int32"},
		"a wrong type in a List": {"kind: List\nitems:\n- kind: Deployment\n  spec:\n    template:\n      spec:\n        " +
			"containers: web\n", "document 1, line 7: items[0].spec.template.spec.containers: is a string"},
		"a list of nothing":  {"kind: List\nitems: {a: b}\n", "document 1, line 2: items: is not a list"},
		"a scalar":           {"hello\n", "document 1, line 1: not an object"},
		"a template of text": {"kind: Deployment\nspec: {template: none}\n", "spec.template: is not an object"},
		"a key that stands twice": {"kind: Pod\nmetadata: {name: a}\nspec: {}\nspec: {containers: []}\n",
			"document 1, line 4: "},
		"content behind a marker": {"kind: Pod\n--- {kind: Pod, spec: 3}\n", "document 2, line 2: spec: is a number"},
		"an end marker":           {"kind: Pod\n...\nkind: Pod\nspec: []\n", "document 2, line 4: spec: is a array"},
		"carriage returns":        {"kind: Pod\r\n---\r\nkind: Pod\r\nspec: x\r\n", "document 2, line 4: spec: is a string"},
		"a byte order mark":       {"\ufeff---\nkind: Pod\nspec: x\n", "document 1, line 3: spec: is a string"},
		"a directive":             {"%YAML 1.1\n---\nkind: Pod\nspec: x\n", "document 1, line 4: spec: is a string"},
		"latin 1":                 {"kind: Pod\nmetadata:\n  name: caf\xe9\n", "stdin: line 3: the text is not UTF-8"},
		"UTF-16":                  {"\xff\xfek\x00i\x00", "save it as UTF-8"},
		"aliases that multiply":   {aliasBomb(), "document 1"},
		"a List in a List": {"kind: List\nitems:\n- kind: List\n  items: [{kind: Pod, spec: 3}]\n",
			"document 1, line 4: items[0].items[0].spec: is a number"},
		"Lists without end": {strings.Repeat(`{"kind":"List","items":[`, 50) + strings.Repeat("]}", 50),
			"more than 8 Lists"},
		"a bad annotation": {"kind: Pod\nmetadata: {name: web, annotations: {config.linkerd.io/proxy-cpu-request: " +
			"lots}}\nspec: {}\n", "pod/web: annotation config.linkerd.io/proxy-cpu-request"},
	} {
		t.Run(name, func(t *testing.T) {
			r := runCLI(t, noCluster, test.manifest, "inject", "-")
			if r.code != 1 || r.out != "" || !strings.Contains(r.err, test.want) {
				t.Errorf("exit code %d, stdout %q, stderr %q; want 1, nothing, and %q", r.code, r.out, r.err, test.want)
			}
		})
	}
}

func aliasBomb() string {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'k'; c++ {
		bomb += fmt.Sprintf("%c: &%c [%s]\n", c, c, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c,", c-1), 10), ","))
	}
	return bomb
}

// TestInjectOfALargeManifest would take minutes if its cost grew faster than the manifest.
func TestInjectOfALargeManifest(t *testing.T) {
	const objects = 2_000
	manifest := strings.Repeat("kind: ConfigMap\ndata:\n  a: |\n"+strings.Repeat("    a line of text that nobody reads\n",
		20)+"---\n", objects)
	r := runCLI(t, noCluster, "kind: Pod\nmetadata: {name: web}\n---\n"+manifest, "inject", "-")
	if r.code != 0 || !strings.Contains(r.err, `pod "web" injected`) ||
		strings.Count(r.out, "kind: ConfigMap") != objects {
		t.Errorf("exit code %d, %d ConfigMaps", r.code, strings.Count(r.out, "kind: ConfigMap"))
	}
}

func TestInjectReachesEveryObject(t *testing.T) {
	for name, test := range map[string]struct {
		manifest string
		injected int
	}{
		"content behind a marker": {"--- {kind: Pod, metadata: {name: a}}\n--- # comment\nkind: Pod\nmetadata: {name: " +
			"b}\n", 2},
		"a List in a List": {"kind: List\nitems:\n- kind: List\n  items: [{kind: Pod, metadata: {name: a}}]\n- " +
			"{kind: Pod, metadata: {name: b}}\n", 2},
		"an end marker":              {"kind: Pod\nmetadata: {name: a}\n...\nkind: Pod\nmetadata: {name: b}\n", 2},
		"a marker inside of a value": {"kind: Pod\nmetadata: {name: a, annotations: {x: \"----\"}}\n#---\n----: y\n", 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := runCLI(t, noCluster, test.manifest, "inject", "-")
			if got := strings.Count(r.out, "linkerd.io/inject: enabled"); r.code != 0 || got != test.injected {
				t.Errorf("exit code %d, %d injected, want %d: %s%s", r.code, got, test.injected, r.out, r.err)
			}
		})
	}
}

func TestInjectReadsDirectories(t *testing.T) {
	dir := t.TempDir()
	if r := runCLI(t, noCluster, "", "inject", dir); r.code != 1 || !strings.Contains(r.err, "no .yaml") {
		t.Errorf("an empty directory: exit code %d, stderr %q", r.code, r.err)
	}
	for name, content := range map[string]string{"b.yml": "kind: Pod\nmetadata: {name: b}\n",
		"a.yaml": "kind: Pod\nmetadata: {name: a}\n", "c.txt": "{"} {
		if err := os.WriteFile(dir+"/"+name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r := runCLI(t, noCluster, "", "inject", dir)
	if r.code != 0 || !strings.Contains(r.err, "pod \"a\" injected\npod \"b\" injected\n") {
		t.Errorf("exit code %d, stderr %q; want a and b injected, in this order", r.code, r.err)
	}
}

func FuzzInjectDocument(f *testing.F) {
	for _, file := range []string{"testdata/inject/mixed.yaml", "testdata/inject/cronjob.yaml"} {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data))
	}
	f.Add("kind: List\nitems: [{kind: Pod, spec: {containers: [{}]}}, 3]\n--- \n{")
	f.Fuzz(func(t *testing.T, text string) {
		documents, err := manifest.Sources{Stdin: strings.NewReader(text)}.Decode(t.Context(), []string{"-"}, nil)
		if err != nil {
			return
		}
		for _, d := range documents {
			_, _ = injection.Change(d.Objects, injection.Remove)
		}
	})
}

// TestReportsOfWhatStaysAsItIs runs inject and uninject where there is nothing to do: the report says so, and not that
// it was done.
func TestReportsOfWhatStaysAsItIs(t *testing.T) {
	const manifest = `kind: Deployment
metadata: {name: web}
spec: {template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: web}]}}}
---
kind: Namespace
metadata: {name: shop}
---
kind: Service
metadata: {name: db}
`
	bare := runCLI(t, noCluster, manifest, "uninject", "-")
	for _, want := range []string{`deployment "web" not injected`, `namespace "shop" not injected`,
		`service "db" skipped`} {
		if !strings.Contains(bare.err, want) || strings.Contains(bare.err, "no supported objects") {
			t.Errorf("uninject: stderr %q, want %q", bare.err, want)
		}
	}
	for _, flags := range [][]string{{"--opaque-ports=3306"}, {"--manual", "--ignore-cluster", "--opaque-ports=3306"},
		{"--ingress", "--opaque-ports=3306"}} {
		first := runCLI(t, noCluster, manifest, append(append([]string{"inject"}, flags...), "-")...)
		for _, want := range []string{`deployment "web" injected`, `namespace "shop" annotated`, `service "db" annotated`} {
			if !strings.Contains(first.err, want) {
				t.Errorf("%q: stderr %q, want %q", flags, first.err, want)
			}
		}
		again := runCLI(t, noCluster, first.out, append(append([]string{"inject"}, flags...), "-")...)
		for _, want := range []string{`deployment "web" already injected`, `namespace "shop" already annotated`,
			`service "db" already annotated`} {
			if !strings.Contains(again.err, want) || strings.Contains(again.err, "3rd party") ||
				strings.Contains(again.err, "no supported objects") {
				t.Errorf("%q again: stderr %q, want %q", flags, again.err, want)
			}
		}
		if again.code != 0 || again.out != first.out {
			t.Errorf("%q again: exit code %d, and the output differs (-first +again):\n%s", flags, again.code,
				cmp.Diff(first.out, again.out))
		}
		other := runCLI(t, noCluster, first.out, "inject", "--proxy-log-level=debug", "-")
		if manual := flags[0] == "--manual"; !manual && !strings.Contains(other.err, `deployment "web" injected`) {
			t.Errorf("%q, then another flag: stderr %q, want injected", flags, other.err)
		}
	}
}

// TestInjectOpaquePortNames covers names of ports that the object does not have: the webhook would refuse it.
func TestInjectOpaquePortNames(t *testing.T) {
	const spec = "spec: {containers: [{name: app, image: x, ports: [{name: db, containerPort: 5432}]}]}"
	const pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a, annotations: {x: z}}\n" + spec + "\n"
	const deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {template: {" + spec + "}}\n"
	const service = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{name: db, port: 5432}]}\n"
	const refused = `annotation config.linkerd.io/opaque-ports: "foo" is not a port (1-65535), a range first-last or the name of one of its ports`
	for name, test := range map[string]struct {
		manifest string
		flags    []string
		want     string // "": injected
	}{
		"a pod":                    {pod, []string{"--opaque-ports=foo"}, refused},
		"a Deployment":             {deployment, []string{"--opaque-ports=foo"}, refused},
		"a Deployment by hand":     {deployment, []string{"--opaque-ports=foo", "--manual", "--ignore-cluster"}, refused},
		"a Service":                {service, []string{"--opaque-ports=foo"}, refused},
		"one of several":           {deployment, []string{"--opaque-ports=db,foo"}, refused},
		"an annotation of the pod": {strings.Replace(pod, "x: z", "config.linkerd.io/opaque-ports: foo", 1), nil, refused},
		"a flag over an annotation": {strings.Replace(pod, "x: z", "config.linkerd.io/opaque-ports: foo", 1),
			[]string{"--opaque-ports=db"}, ""},
		"a name of the pod":     {pod, []string{"--opaque-ports=db"}, ""},
		"a name of the Service": {service, []string{"--opaque-ports=db"}, ""},
		"a number":              {deployment, []string{"--opaque-ports=3306"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := runCLI(t, noCluster, test.manifest, append([]string{"inject", "-"}, test.flags...)...)
			if r.code != min(len(test.want), 1) || (r.out == "") != (test.want != "") || !strings.Contains(r.err, test.want) {
				t.Errorf("exit code %d, stdout %q, stderr %q; want %q", r.code, r.out, r.err, test.want)
			}
		})
	}
}

// TestInjectForgetsTheCluster covers output of kubectl get: applied again, a resourceVersion conflicts as soon as the
// object has changed.
func TestInjectForgetsTheCluster(t *testing.T) {
	const deployment = `apiVersion: apps/v1
kind: Deployment
metadata: {name: a, uid: u, resourceVersion: "1", generation: 1, creationTimestamp: "2026-11-21T00:00:00Z", managedFields: [{manager: kubectl}], labels: {keep: this}}
spec: {template: {spec: {containers: [{name: app, image: x}]}}}
status: {replicas: 1}
`
	item := "- " + strings.ReplaceAll(strings.TrimSpace(deployment), "\n", "\n  ") + "\n"
	for name, manifest := range map[string]string{"an object": deployment,
		"a List": "apiVersion: v1\nkind: List\nitems:\n" + item} {
		for _, command := range []string{"inject", "uninject"} {
			r := runCLI(t, noCluster, manifest, command, "-")
			if r.code != 0 || !strings.Contains(r.out, "keep: this") {
				t.Fatalf("%s: %s: exit code %d, stdout %q, stderr %q", name, command, r.code, r.out, r.err)
			}
			for _, field := range []string{"uid:", "resourceVersion:", "generation:", "creationTimestamp:", "managedFields:",
				"status:"} {
				if strings.Contains(r.out, field) {
					t.Errorf("%s: %s passes on %s in\n%s", name, command, field, r.out)
				}
			}
		}
	}
}
