package learn

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/controller/model"
	"github.com/tulle-mesh/tulle/internal/goldentest"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/metrics"
	"github.com/tulle-mesh/tulle/viz/scrape"
)

// shop returns a cluster with two workloads: one without a Server, and one whose Server audits and has two routes.
func shop(t *testing.T) []model.Event {
	return events(t, server("pay", "app: pay", 8080, mesh.Audit)+httpRoute("charge", "pay")+httpRoute("refund", "pay")+`---
apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata: {name: clerks, namespace: shop}
spec:
  targetRef: {group: policy.linkerd.io, kind: Server, name: pay}
  requiredAuthenticationRefs: [{kind: ServiceAccount, name: clerk, namespace: bank}]
`, namespace("shop"), pod("shop", "cart", "cart-1", "10.0.0.1"), pod("shop", "pay", "pay-1", "10.0.0.2"))
}

// traffic reads the expositions of testdata, a minute apart, of the pods of the cluster.
func traffic(t *testing.T, w *World, live []model.Event) Traffic {
	t.Helper()
	var answer metrics.Answer
	synctest.Test(t, func(t *testing.T) {
		times := map[string]string{}
		source := scrape.New(scrape.Config{Parallel: 1,
			Pods: func(context.Context, string) (pods []*corev1.Pod, err error) {
				for _, e := range live {
					if p, ok := e.Object.(*corev1.Pod); ok {
						pods = append(pods, p)
					}
				}
				return pods, nil
			},
			Open: func(_ context.Context, pod *corev1.Pod, _ int) (io.ReadCloser, error) {
				times[pod.Name] = map[string]string{"": "first", "first": "second"}[times[pod.Name]]
				app := pod.Labels["app"]
				return os.Open(filepath.Join("testdata", app+"."+times[pod.Name]+".txt"))
			}})
		var err error
		if answer, err = source.Ask(t.Context(), time.Minute, Queries([]string{"shop"})); err != nil {
			t.Fatal(err)
		}
	})
	return Read(w, []string{"shop"}, answer.Samples)
}

// TestLearnFromExpositions reads two scrapes of two proxies and compares the policies with a golden file. Applied, they
// cut off nobody who has an identity.
func TestLearnFromExpositions(t *testing.T) {
	live := shop(t)
	w := NewWorld(config(mesh.AllUnauthenticated), live)
	seen := traffic(t, w, live)
	text := written(t, Learn(w, "shop", seen))
	golden(t, "learned.yaml", text)
	after, notes, err := w.Apply(live, Manifests{"default", now, accepted(t, text)})
	if err != nil || len(notes) > 0 {
		t.Fatal(err, notes)
	}
	if got := Affected(w, after); !cmp.Equal(got, []string{"shop"}) {
		t.Errorf("affected namespaces %q", got)
	}
	var table strings.Builder
	if err := WriteTable(&table, WhatIf(w, after, seen, 60).Changes); err != nil {
		t.Fatal(err)
	}
	golden(t, "learned.what-if.txt", table.String())

	// Learned again, the Servers are used again, and the policies keep their names.
	again := Learn(after, "shop", seen)
	for _, d := range again.Documents {
		if d.Tree["kind"] == "Server" {
			t.Errorf("made again: %v", d.Tree)
		}
		meta := d.Tree["metadata"].(map[string]any)
		if name := meta["name"].(string); !strings.Contains(text, "name: "+name+"\n") {
			t.Errorf("a new name: %s", name)
		}
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	goldentest.Equal(t, path, got)
}

// TestHostileLabels gives each label values that would break YAML or a terminal.
func TestHostileLabels(t *testing.T) {
	live := shop(t)
	w := NewWorld(config(mesh.AllUnauthenticated), live)
	good := map[string]string{"namespace": "shop", "deployment": "cart", "pod": "cart-1", "target_port": "8080",
		"client_id": "spiffe://cluster.local/ns/shop/sa/web", "route_group": "gateway.networking.k8s.io",
		"route_kind": "HTTPRoute", "route_name": "charge", "authz_kind": "default", "authz_name": "audit"}
	hostile := []string{"x\n---\nkind: Secret", "\x1b[2J", "*", "a: b", "' \" `", "\xff\u2028\u0085#", "%s{{.}}", "../..",
		strings.Repeat("a", 5000), "\r\n- |"}
	for label := range good {
		for _, value := range hostile {
			sample := metrics.Sample{Labels: map[string]string{}, Value: 1}
			for k, v := range good {
				sample.Labels[k] = v
			}
			sample.Labels[label] = value
			samples := make([][]metrics.Sample, len(Queries([]string{"shop"})))
			for i := range samples {
				samples[i] = []metrics.Sample{sample}
			}
			seen := Read(w, []string{"shop"}, samples)
			p := Learn(w, "shop", seen)
			text := written(t, p)
			parse(t, text)
			evaluated := WhatIf(w, NewWorld(config(mesh.Deny), live), seen, 60)
			var table strings.Builder
			if err := WriteTable(&table, evaluated.Changes); err != nil {
				t.Fatal(err)
			}
			for _, out := range []string{text, table.String(), strings.Join(evaluated.Notes, "\n")} {
				if i := strings.IndexFunc(out, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); i >= 0 {
					t.Errorf("%s=%q prints %q", label, value, out[i:min(len(out), i+20)])
				}
				if strings.Contains(out, "\nkind: Secret") {
					t.Errorf("%s=%q makes an object of its own", label, value)
				}
			}
		}
	}
}
