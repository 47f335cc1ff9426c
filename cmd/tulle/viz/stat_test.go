package viz

import (
	"errors"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	metadatafake "k8s.io/client-go/metadata/fake"
)

// TestStat holds every column and every JSON key against its golden file.
func TestStat(t *testing.T) {
	for name, args := range map[string]string{
		"deploy":            "deploy",
		"deploy-names":      "deploy web api",
		"deploy-pairs":      "deploy/web po/api-5d8f7c-a",
		"deploy-wide":       "deploy -o wide",
		"deploy-json":       "deploy -o json",
		"deploy-all":        "deploy -A",
		"deploy-unmeshed":   "deploy --unmeshed",
		"deploy-plain":      "deploy/plain",
		"deploy-selector":   "deploy -l app=api",
		"deploy-window":     "deploy -t 2m",
		"deploy-to":         "deploy --to deploy/api",
		"deploy-to-service": "deploy -A --to svc/api --to-namespace shop",
		"deploy-from":       "deploy --from deploy/web",
		"deploy-from-ns":    "deploy --from-namespace other",
		"pods":              "po",
		"pods-json":         "po -o json",
		"replicasets":       "rs",
		"namespaces":        "ns",
		"namespace":         "ns/shop",
		"services":          "svc -o wide",
		"services-from":     "svc --from deploy/web",
		"authorities":       "au",
		"servers":           "srv -o wide",
		"servers-json":      "srv -o json",
		"authorizations":    "saz",
		"policies":          "authzpolicy",
		"httproutes":        "httproutes",
		"grpcroutes":        "grpcroutes",
		"all":               "all",
		"mismatch":          "--proxy-version-mismatch",
		"mismatch-deploy":   "deploy --proxy-version-mismatch -o json",
		"empty-json":        "sts -o json",
	} {
		t.Run(name, func(t *testing.T) {
			b := shop(t)
			golden(t, "stat-"+name+".txt", b.run(t, "shop", append([]string{"stat"}, strings.Fields(args)...)...))
		})
	}
}

func TestStatWithoutTraffic(t *testing.T) {
	for _, args := range []string{"deploy", "svc", "au", "deploy --to deploy/x --to-namespace shop"} {
		b := shop(t)
		b.objects = append(b.objects, object("apps/v1", "Deployment", "shop", "x"))
		r := b.run(t, "empty", append([]string{"stat"}, strings.Fields(args)...)...)
		if r.fault != nil || r.out != "" || r.err != "No traffic found.\n" {
			t.Errorf("%s: stdout %q, stderr %q, error %v; want No traffic found.", args, r.out, r.err, r.fault)
		}
	}
}

// TestEmptyAnswerNamesTheNamespace shows that who forgets -n learns it.
func TestEmptyAnswerNamesTheNamespace(t *testing.T) {
	const hint = "The namespace was \"empty\"; -n names another one.\n"
	for _, tt := range []struct{ args, want string }{
		{"stat deploy", "No traffic found.\n" + hint},
		{"stat-inbound deploy", "No traffic found.\n" + hint},
		{"routes deploy", "No traffic found.\n" + hint},
		{"edges deploy", "No edges found.\n" + hint},
		{"stat ns -l app=none", "No traffic found.\n"},
	} {
		b := shop(t)
		b.noFlag = true
		if r := b.run(t, "empty", strings.Fields(tt.args)...); r.fault != nil || r.err != tt.want {
			t.Errorf("%s: stderr %q, error %v; want %q", tt.args, r.err, r.fault, tt.want)
		}
	}
}

func TestStatRefuses(t *testing.T) {
	for _, tt := range []struct{ namespace, args, want string }{
		{"shop", "", "name a resource"},
		{"shop", "deplyo", `resource type "deplyo": unknown; did you mean "deploy"?`},
		{"shop", "quark", `resource type "quark": unknown; want one of namespaces,`},
		{"shop", "deploy/wep", `deployment "wep": not found in namespace "shop"; did you mean "web"?`},
		{"shob", "deploy", `namespace "shob": not found; did you mean "shop"?`},
		{"shob", "deploy/web", `namespace "shob": not found; did you mean "shop"?`},
		{"shop", "ns/shob", `namespace "shob": not found; did you mean "shop"?`},
		{"shop", "deploy -t 14s", `--time-window "14s": want at least 15s`},
		{"shop", "deploy -t -1m", `want at least 15s`},
		{"shop", "deploy -t soon", `--time-window "soon": want a time such as`},
		{"shop", "deploy -o yaml", `output "yaml": want table, wide or json`},
		{"shop", "deploy -l =", `--selector "=":`},
		{"shop", "deploy/web -A", "exclude each other"},
		{"shop", "deploy --to deploy/api --from deploy/web", "exclude each other"},
		{"shop", "deploy --to-namespace a --from-namespace b", "exclude each other"},
		{"shop", "deploy --to deploy/apii", `deployment "apii": not found in namespace "shop"; did you mean "api"?`},
		{"shop", "deploy --to deploy/api --to-namespace shob", `namespace "shob": not found; did you mean "shop"?`},
		{"shop", "deploy --to quark/x", `--to: resource type "quark": unknown`},
		{"shop", "deploy --from svc/api", "--from service: metrics do not name it"},
		{"shop", "deploy --from rs/web", "--from replicaset: metrics do not name it"},
		{"shop", "svc --to deploy/api", "--to does not work for services"},
		{"shop", "srv --from deploy/web", "--from does not work for servers"},
		{"shop", "au -l app=web", "--selector does not work for authorities"},
		{"shop", "svc --proxy-version-mismatch", "--proxy-version-mismatch does not work for services"},
		{"shop", "deploy web/x", `"web/x" after "deploy": want a name`},
		{"shop", "deploy/web api", `"api": want kind/name`},
		{"shop", "all deploy", "nothing may follow it"},
	} {
		b := shop(t)
		r := b.run(t, tt.namespace, append([]string{"stat"}, strings.Fields(tt.args)...)...)
		if r.fault == nil || !strings.Contains(r.fault.Error(), tt.want) {
			t.Errorf("stat %s in %s: error %v; want %q (stdout %q)", tt.args, tt.namespace, r.fault, tt.want, r.out)
		}
	}
}

func TestStatNamesTheMissingVerb(t *testing.T) {
	denied := func(group, resource string) error {
		return apierrors.NewForbidden(schema.GroupResource{Group: group, Resource: resource}, "", errors.New("no rights"))
	}
	b := shop(t)
	b.react = func(_ *fake.Clientset, untyped *metadatafake.FakeMetadataClient) {
		forbid(&untyped.Fake, "deployments", denied("apps", "deployments"))
	}
	if r := b.run(t, "shop", "stat", "deploy"); r.fault == nil ||
		!strings.Contains(r.fault.Error(), `you need the verb list on deployments.apps there`) {
		t.Errorf("got %v, want the verb and the resource", r.fault)
	}
	if r := b.run(t, "shop", "stat", "all"); r.fault != nil || !strings.Contains(r.out, "po/web-5d8f7c-a") ||
		!strings.Contains(r.err, `you need the verb list on deployments.apps there`) {
		t.Errorf("all without deployments: stdout %q, stderr %q, error %v", r.out, r.err, r.fault)
	}
	for _, command := range []string{"stat-inbound", "stat-outbound"} {
		if r := b.run(t, "shop", command, "all"); r.fault != nil ||
			!strings.Contains(r.err, `you need the verb list on deployments.apps there`) {
			t.Errorf("%s all without deployments: stdout %q, stderr %q, error %v", command, r.out, r.err, r.fault)
		}
	}
	b.react = func(typed *fake.Clientset, _ *metadatafake.FakeMetadataClient) {
		forbid(&typed.Fake, "pods", denied("", "pods"))
	}
	if r := b.run(t, "shop", "stat", "deploy"); r.fault == nil ||
		!strings.Contains(r.fault.Error(), `you need the verb list on pods there`) {
		t.Errorf("got %v, want the verb and the resource", r.fault)
	}
	b.react = func(_ *fake.Clientset, untyped *metadatafake.FakeMetadataClient) {
		forbid(&untyped.Fake, "namespaces", denied("", "namespaces"))
	}
	if r := b.run(t, "unknown", "stat", "deploy"); r.fault != nil || r.err != "No traffic found.\n" {
		t.Errorf("a user who may not list namespaces: error %v, stderr %q", r.fault, r.err)
	}
}

// TestStatWritesHostileNames takes names that no API server accepts, but that a label's value can be.
func TestStatWritesHostileNames(t *testing.T) {
	b := shop(t)
	b.source = series(t,
		`response_total{direction="outbound",dst_namespace="shop",dst_service="evil",classification="success",`+
			`authority="a\"b\n`+"\x1b[31m\u202e"+`"} 60`+"\n")
	b.source.Notes = []string{"a note\x1b[2J"}
	golden(t, "stat-hostile.txt", b.run(t, "shop", "stat", "au"))
	golden(t, "stat-hostile-json.txt", b.run(t, "shop", "stat", "au", "-o", "json"))
	if r := b.run(t, "shop", "stat", "au", "--from", "deploy/web\x1b", "-o", "json"); r.fault == nil ||
		strings.Contains(r.fault.Error(), "\x1b") {
		t.Errorf("got %v, want an error without control characters", r.fault)
	}
}

// TestFromProxies reads expositions as proxies write them.
func TestFromProxies(t *testing.T) {
	for name, args := range map[string]string{
		"stat":     "stat deploy",
		"stat-to":  "stat deploy --to svc/api",
		"stat-srv": "stat srv",
	} {
		t.Run(name, func(t *testing.T) { golden(t, "proxies-"+name+".txt", runProxies(t, "shop", args)) })
	}
}
