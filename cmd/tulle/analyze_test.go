package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tulle-mesh/tulle/cli/analyze"
	"github.com/tulle-mesh/tulle/cli/explain"
)

func TestAnalyzeGolden(t *testing.T) {
	r := runCLI(t, emptyCluster().connect, "", "analyze", "-f", "testdata/analyze/shop.yaml")
	if r.code != 1 {
		t.Errorf("exit code %d, want 1: there are errors", r.code)
	}
	golden(t, "analyze/shop.txt", r)
}

// TestAnalyzeAgrees finds in the cluster what it finds in files.
func TestAnalyzeAgrees(t *testing.T) {
	data, err := os.ReadFile("testdata/analyze/shop.yaml")
	if err != nil {
		t.Fatal(err)
	}
	f := emptyCluster()
	for _, tree := range trees(t, string(data)) {
		f.untyped = append(f.untyped, &unstructured.Unstructured{Object: tree})
	}
	live := runCLI(t, f.connect, "", "analyze", "-A")
	files := runCLI(t, emptyCluster().connect, "", "analyze", "-f", "testdata/analyze/shop.yaml")
	if live.out != files.out || live.code != files.code {
		t.Errorf("the cluster has\n%s%sthe files have\n%s", live.err, live.out, files.out)
	}
	one := runCLI(t, f.connect, "", "analyze", "-n", "clients", "-o", "json", "--failure-threshold", "warning")
	var findings []analyze.Finding
	if err := json.Unmarshal([]byte(one.out), &findings); err != nil {
		t.Fatal(err)
	}
	for _, finding := range findings {
		if finding.Namespace != "clients" {
			t.Errorf("-n clients shows %v", finding)
		}
	}
	if len(findings) == 0 || one.code != 1 {
		t.Errorf("exit code %d and %d findings, want 1 and some: a profile where it holds for clients only", one.code,
			len(findings))
	}
}

// TestAnalyzeOfOlderDefinitions looks at a cluster whose API server knows none of the newest versions.
func TestAnalyzeOfOlderDefinitions(t *testing.T) {
	for _, manifest := range []string{`
apiVersion: gateway.networking.k8s.io/v1alpha2
kind: TCPRoute
metadata: {name: old, namespace: shop}
spec: {parentRefs: [{group: "", kind: Service, name: gone, port: 80}]}
`, `
apiVersion: policy.linkerd.io/v1beta2
kind: Server
metadata: {name: old, namespace: shop}
spec: {podSelector: {matchLabels: {app: gone}}, port: 80}
`} {
		f := healthyCluster(t)
		for _, tree := range trees(t, manifest) {
			f.untyped = append(f.untyped, &unstructured.Unstructured{Object: tree})
		}
		for _, k := range explain.Kinds() {
			if k.Plural == "tcproutes" || k.Plural == "servers" {
				f.unserved = append(f.unserved, k.Resource(k.Versions[0]))
			}
		}
		if r := runCLI(t, f.connect, "", "analyze", "-n", "shop"); !strings.Contains(r.out, "/old ") {
			t.Errorf("nothing found in%s%s%s", manifest, r.out, r.err)
		}
	}
}

func TestAnalyzeHealthy(t *testing.T) {
	r := runCLI(t, healthyCluster(t).connect, "", "analyze", "-n", "shop")
	if r.code != 0 || r.out != "No issues found in namespace shop.\n" {
		t.Errorf("exit code %d, stdout %q, stderr %q", r.code, r.out, r.err)
	}
}

// TestAnalyzeFilesAlone does not tell that what the files do not hold is missing.
func TestAnalyzeFilesAlone(t *testing.T) {
	r := runCLI(t, noCluster, "", "analyze", "--ignore-cluster", "-f", "testdata/convert/y09-route.yaml")
	if r.code != 0 || strings.Contains(r.out, "Missing") {
		t.Errorf("exit code %d, stdout %q, stderr %q", r.code, r.out, r.err)
	}
}

// TestAnalyzeRoutesOfAbsentParents finds what is wrong with routes whose Service or Server the files do not hold, once
// each, and nothing else.
func TestAnalyzeRoutesOfAbsentParents(t *testing.T) {
	route := func(kind, name, parents, rules string) string {
		return "{apiVersion: gateway.networking.k8s.io/v1, kind: " + kind + ", metadata: {name: " + name +
			", namespace: shop}, spec: {parentRefs: [" + parents + "], rules: [" + rules + "]}}\n---\n"
	}
	const (
		whole     = `{group: "", kind: Service, name: web}`
		port      = `{group: "", kind: Service, name: web, port: 80}`
		other     = `{group: "", kind: Service, name: web, port: 81}`
		elsewhere = `{group: "", kind: Service, name: api, port: 80}`
		named     = `{group: "", kind: Service, name: web, sectionName: http}`
		foreign   = "{group: policy.linkerd.io, kind: Server, name: web, namespace: bank}"
		server    = "{group: policy.linkerd.io, kind: Server, name: web}"
		filter    = "{filters: [{type: ExtensionRef, extensionRef: {group: example.org, kind: Filter, name: a}}]}"
		regex     = `{matches: [{path: {type: RegularExpression, value: "/("}}]}`
		backend   = "{backendRefs: [{name: web, port: 81}]}"
		present   = "{apiVersion: v1, kind: Service, metadata: {name: api, namespace: shop}, " +
			"spec: {ports: [{port: 80}]}}\n---\n"
	)
	const unsupported, invalid, conflict = "error FilterUnsupported", "error Invalid", "error RouteConflict"
	both := func(a, b string) string { return route("HTTPRoute", "a", a, "{}") + route("GRPCRoute", "b", b, "{}") }
	for name, test := range map[string]struct{ manifest, want string }{ // the findings' severities and codes
		"a filter at a Service":    {route("HTTPRoute", "a", port, filter), unsupported},
		"a filter at a Server":     {route("HTTPRoute", "a", server, filter), unsupported},
		"a filter at two Services": {route("HTTPRoute", "a", port+","+elsewhere, filter), unsupported},
		"a filter at two Services, one of them absent": {
			present + route("HTTPRoute", "a", port+","+elsewhere, filter), unsupported},
		"a regular expression at a Server":         {route("HTTPRoute", "a", server, regex), invalid},
		"a regular expression at a named port":     {route("HTTPRoute", "a", named, regex), invalid},
		"two kinds at a port":                      {both(port, port), conflict},
		"two kinds at a Service":                   {both(whole, whole), conflict},
		"two kinds, one at a port":                 {both(whole, port), "warning RouteConflict"},
		"two kinds at two ports":                   {both(port, other), ""},
		"two kinds, one at a named port":           {both(port, named), ""},
		"two kinds at a Server":                    {both(server, server), ""},
		"a TCPRoute at a Server":                   {route("TCPRoute", "a", server, backend), "error ParentPort"},
		"a TLSRoute at a Server":                   {route("TLSRoute", "a", server, backend), "error ParentPort"},
		"a route at a Server of another namespace": {route("HTTPRoute", "a", foreign, regex), "error ParentPort"},
		"a backend's port at an absent Service":    {route("HTTPRoute", "a", port, backend), ""},
		"a route of a Gateway, which has a filter": {route("HTTPRoute", "a", "{name: web}", filter), ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := runCLI(t, noCluster, test.manifest, "analyze", "--ignore-cluster", "-A", "-f", "-", "-o", "json")
			var findings []analyze.Finding
			if err := json.Unmarshal([]byte(r.out), &findings); err != nil {
				t.Fatalf("%v: %s%s", err, r.out, r.err)
			}
			var got []string
			for _, f := range findings {
				got = append(got, fmt.Sprint(f.Severity, " ", f.Code))
			}
			wantCode := 0
			if strings.HasPrefix(test.want, "error") {
				wantCode = 1
			}
			if strings.Join(got, "; ") != test.want || r.code != wantCode {
				t.Errorf("findings %q, exit code %d; want %q and %d\n%s", got, r.code, test.want, wantCode, r.out)
			}
		})
	}
}

// TestAnalyzeTuning finds what the annotations of routes and Services would not do, in words of the kind of object that
// they are at.
func TestAnalyzeTuning(t *testing.T) {
	manifest := `
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop, annotations: {balancer.linkerd.io/failure-accrual: sometimes, retry.linkerd.io/htpp: 5xx}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: shop, annotations: {timeout.linkerd.io/request: soon}}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, annotations: {config.linkerd.io/default-inbound-policy: open}}
`
	r := runCLI(t, noCluster, manifest, "analyze", "--ignore-cluster", "-f", "-")
	for _, want := range []string{
		"annotation balancer.linkerd.io/failure-accrual: \"sometimes\"", "annotation retry.linkerd.io/htpp: there is no " +
			"such annotation",
		"annotation timeout.linkerd.io/request: \"soon\"", "default-inbound-policy of the namespace has the value \"open\"",
	} {
		if !strings.Contains(r.out, want) {
			t.Errorf("no %s in\n%s%s", want, r.out, r.err)
		}
	}
	if r.code != 1 {
		t.Errorf("exit code %d, want 1", r.code)
	}
}

// TestAnalyzeMisspelled finds annotations with a typo, or as a label, wherever people write them: outside of meshed
// namespaces, too.
func TestAnalyzeMisspelled(t *testing.T) {
	manifest := `
apiVersion: v1
kind: Namespace
metadata: {name: shop, annotations: {linkerd.io/injct: enabled}, labels: {config.linkerd.io/admission-webhooks: enabled}}
---
apiVersion: v1
kind: Namespace
metadata: {name: labelled, labels: {linkerd.io/inject: enabled}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, annotations: {linkerd.io/injct: enabled}}
spec: {template: {metadata: {labels: {app: web}}}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop, annotations: {config.linkerd.io/opaque-port: "80", config.tulle.dev/opaque-ports: "80", linkerd.io/inject: enabled}}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, annotations: {linkerd.io/injct: enabled}}
`
	r := runCLI(t, noCluster, manifest, "analyze", "--ignore-cluster", "-A", "-f", "-")
	golden(t, "analyze/misspelled.txt", r)
	if r.code != 0 {
		t.Errorf("exit code %d, want 0: there are warnings only", r.code)
	}
}

// TestAnalyzePodSecurity finds namespaces whose level forbids the init container, and workloads that ask for a proxy
// there.
func TestAnalyzePodSecurity(t *testing.T) {
	namespace := func(name, level, inject string) string {
		return "{apiVersion: v1, kind: Namespace, metadata: {name: " + name +
			", labels: {pod-security.kubernetes.io/enforce: " + level + "}, " +
			"annotations: {linkerd.io/inject: " + inject + "}}}\n---\n"
	}
	workload := func(namespace, inject string) string {
		return "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: " + namespace + "}, " +
			"spec: {template: {metadata: {annotations: {linkerd.io/inject: " + inject + "}}}}}\n---\n"
	}
	for name, test := range map[string]struct{ manifest, want string }{
		"baseline":   {namespace("shop", "baseline", "enabled"), "Namespace/shop"},
		"restricted": {namespace("shop", "restricted", "enabled"), "Namespace/shop"},
		"privileged": {namespace("shop", "privileged", "enabled"), ""},
		"no proxies": {namespace("shop", "restricted", "disabled"), ""},
		"a workload that asks for itself": {namespace("shop", "baseline", "disabled") + workload("shop", "enabled"),
			"Deployment/web"},
		"a workload that does not": {namespace("shop", "baseline", "disabled") + workload("shop", "disabled"), ""},
	} {
		r := runCLI(t, noCluster, test.manifest, "analyze", "--ignore-cluster", "-A", "-f", "-", "-o", "json")
		var findings []analyze.Finding
		if err := json.Unmarshal([]byte(r.out), &findings); err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, f := range findings {
			if f.Code == "PodSecurity" {
				got += f.Object
			}
		}
		if got != test.want || r.code != 0 {
			t.Errorf("%s: exit code %d, findings about %q, want %q:\n%s", name, r.code, got, test.want, r.out)
		}
	}
}

// TestAnalyzeWorkloads finds in the cluster what pods of its workloads would be refused for, or lack: such pods may not
// exist. What is the workload's mistake is one finding, not one for each of its pods.
func TestAnalyzeWorkloads(t *testing.T) {
	manifest := `
{apiVersion: v1, kind: Namespace, metadata: {name: shop, annotations: {linkerd.io/inject: enabled}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, annotations: {linkerd.io/inject: disabled}}
spec: {template: {metadata: {labels: {app: web}, annotations: {config.linkerd.io/proxy-cpu-limit: lots}}}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: shop}
spec: {template: {metadata: {labels: {app: db}, annotations: {config.linkerd.io/proxy-log-levle: debug}}}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent, namespace: shop}
spec: {template: {metadata: {annotations: {linkerd.io/inject: "yes"}}}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: report, namespace: shop, annotations: {config.linkerd.io/skip-outbound-ports: "25"}}
spec: {jobTemplate: {spec: {template: {metadata: {annotations: {linkerd.io/inject: sometimes}}}}}}
---
apiVersion: v1
kind: Pod
metadata:
  name: db-0
  namespace: shop
  labels: {app: db}
  annotations: {config.linkerd.io/proxy-log-levle: debug}
  ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: db, uid: u, controller: true}]
---
apiVersion: v1
kind: Pod
metadata:
  name: web-6c-1
  namespace: shop
  labels: {app: web, pod-template-hash: 6c}
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web-6c, uid: u, controller: true}]
---
apiVersion: v1
kind: Pod
metadata:
  name: report-29389-x
  namespace: shop
  annotations: {linkerd.io/inject: enabled, config.linkerd.io/proxy-log-levle: debug}
  ownerReferences: [{apiVersion: batch/v1, kind: Job, name: report-29389, uid: u, controller: true}]
---
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: web, namespace: shop}
spec: {port: 80, podSelector: {matchLabels: {app: web}}}
---
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: agent, namespace: shop}
spec: {port: 80, podSelector: {matchLabels: {app: agent}}}
`
	f := emptyCluster()
	for _, tree := range trees(t, manifest) {
		f.untyped = append(f.untyped, &unstructured.Unstructured{Object: tree})
	}
	r := runCLI(t, f.connect, "", "analyze", "-n", "shop")
	golden(t, "analyze/workloads.txt", r)
	files := runCLI(t, emptyCluster().connect, manifest, "analyze", "-f", "-")
	if files.out != r.out || r.code != 1 {
		t.Errorf("exit code %d; the cluster has\n%s%sthe files have\n%s%s", r.code, r.err, r.out, files.err, files.out)
	}
}

// TestAnalyzeFields finds in files what the API server would refuse, and nothing in objects that come from one.
func TestAnalyzeFields(t *testing.T) {
	manifest := `
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: web, namespace: shop}
spec: {port: 80, podSelector: {matchLabels: {app: web}}, acessPolicy: deny}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: shop}
spec:
  parentRefs: [{group: "", kind: Service, name: web, port: 80}]
  rules: [{timeout: {request: 1s}, backendRefs: [{name: web, port: 80}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: web, namespace: shop}
spec: {hostnames: web.shop}
---
apiVersion: linkerd.io/v1alpha2
kind: ServiceProfile
metadata: {name: web.shop.svc.cluster.local, namespace: shop}
spec: {routes: [{name: all, condition: {pathregex: /.*}}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: newer, namespace: shop, creationTimestamp: "2026-11-21T00:00:00Z"}
spec: {fieldOfTomorrow: 1}
`
	r := runCLI(t, noCluster, manifest, "analyze", "--ignore-cluster", "-A", "-f", "-")
	for _, want := range []string{
		`Server/web`, `unknown field "spec.acessPolicy"`, `unknown field "spec.rules[0].timeout"`,
		`unknown field "spec.routes[0].condition.pathregex"`, "spec.hostnames has a string: want a list",
	} {
		if !strings.Contains(r.out, want) {
			t.Errorf("no %s in\n%s%s", want, r.out, r.err)
		}
	}
	if r.code != 1 || strings.Contains(r.out, "fieldOfTomorrow") {
		t.Errorf("exit code %d, want 1, and not a word about an object of an API server:\n%s", r.code, r.out)
	}
}

func TestAnalyzeNamesWhatIsNotThere(t *testing.T) {
	for name, tc := range map[string]struct {
		stdin string
		args  []string
		want  string
	}{
		"a namespace":        {"", []string{"analyze", "-n", "nowhere"}, "there is no namespace nowhere"},
		"objects in a file":  {"# nothing\n", []string{"analyze", "-f", "-"}, "stdin: no Kubernetes objects"},
		"an object's kind":   {"a: 1\n", []string{"analyze", "-f", "-"}, "stdin: document 1, from line 1: kind: is missing"},
		"what is to convert": {"", []string{"convert", "-"}, "stdin: no Kubernetes objects"},
	} {
		if r := runCLI(t, healthyCluster(t).connect, tc.stdin, tc.args...); r.code != 1 || !strings.Contains(r.err, tc.want) {
			t.Errorf("%s: exit code %d, stderr %q; want %q", name, r.code, r.err, tc.want)
		}
	}
}

// TestAnalyzeScope reports what is asked about: the objects of files where there are some, those of one namespace with
// -n, else of all.
func TestAnalyzeScope(t *testing.T) {
	route := func(name, namespace string) string {
		return "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: " + name + ", namespace: " +
			namespace + "}\n" +
			"spec: {parentRefs: [{group: \"\", kind: Service, name: gone, port: 80}]}\n---\n"
	}
	fine := "apiVersion: v1\nkind: Namespace\nmetadata: {name: fine}\n"
	for name, test := range map[string]struct {
		files string
		flags []string
		want  []string // names of routes with findings
		clean string
	}{
		"a namespace":    {"", []string{"-n", "shop"}, []string{"live"}, ""},
		"all namespaces": {"", []string{"-A"}, []string{"live", "other"}, ""},
		"files": {route("file", "shop") + route("file2", "other"), nil, []string{"file", "file2"},
			""},
		"files and all namespaces": {route("file", "shop") + route("file2", "other"), []string{"-A"},
			[]string{"file", "file2"}, ""},
		"files and a namespace": {route("file", "shop") + route("file2", "other"), []string{"-n", "shop"},
			[]string{"file"}, ""},
		"an object of the cluster anew": {route("live", "shop"), []string{"-n", "shop"}, []string{"live"}, ""},
		"a name that is elsewhere, too": {route("other", "shop"), nil, []string{"other"}, ""},
		"files without findings":        {fine, nil, nil, "No issues found in stdin.\n"},
		"a namespace without findings":  {"", []string{"-n", "fine"}, nil, "No issues found in namespace fine.\n"},
		"files without any in a namespace": {route("file", "other"), []string{"-n", "shop"}, nil,
			"No issues found in namespace shop of stdin.\n"},
	} {
		t.Run(name, func(t *testing.T) {
			f := emptyCluster()
			for _, tree := range trees(t, route("live", "shop")+route("other", "other")+fine) {
				f.untyped = append(f.untyped, &unstructured.Unstructured{Object: tree})
			}
			flags := append([]string{"analyze"}, test.flags...)
			if test.files != "" {
				flags = append(flags, "-f", "-")
			}
			table := runCLI(t, f.connect, test.files, flags...)
			if wantCode := min(len(test.want), 1); table.code != wantCode || test.clean != "" && table.out != test.clean {
				t.Fatalf("exit code %d, want %d; stdout %q, want %q; stderr %q", table.code, wantCode, table.out, test.clean,
					table.err)
			}
			var findings []analyze.Finding
			if err := json.Unmarshal([]byte(runCLI(t, f.connect, test.files, append(flags, "-o", "json")...).out),
				&findings); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, found := range findings {
				got = append(got, strings.TrimPrefix(found.Object, "HTTPRoute/"))
			}
			slices.Sort(got)
			if diff := cmp.Diff(test.want, slices.Compact(got)); diff != "" {
				t.Errorf("routes with findings (-want +got):\n%s\n%s", diff, table.out)
			}
		})
	}
}
