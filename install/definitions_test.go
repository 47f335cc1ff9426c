package install

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/yaml"

	"github.com/tulle-mesh/tulle/crds"
)

func definitions(t *testing.T, version string) []Definition {
	t.Helper()
	all, err := Definitions(Target{Version: version})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestDefinitionsAreMarkedAsTheInstallations(t *testing.T) {
	var raw []crds.Definition
	for _, list := range []func() ([]crds.Definition, error){crds.Own, crds.Gateway} {
		docs, err := list()
		if err != nil {
			t.Fatal(err)
		}
		raw = append(raw, docs...)
	}
	for i, d := range definitions(t, "v1.2.0") {
		var before, after map[string]any
		if err := yaml.Unmarshal(raw[i].YAML, &before); err != nil {
			t.Fatal(err)
		}
		if err := yaml.UnmarshalStrict(d.Manifest, &after); err != nil {
			t.Fatal(err)
		}
		if !apiequality.Semantic.DeepEqual(before["spec"], after["spec"]) {
			t.Errorf("%s: marking it changed what it defines", d.Name())
		}
		meta := after["metadata"].(map[string]any)
		if meta["annotations"].(map[string]any)[createdBy] != "tulle/cli v1.2.0" ||
			!cmp.Equal(meta["labels"], map[string]any{"linkerd.io/control-plane-ns": "tulle"}) {
			t.Errorf("%s: metadata %v; want what tells the installation", d.Name(), meta)
		}
		if d.Gateway() && d.annotations[bundleVersion] == "" {
			t.Errorf("%s: lost the version of the Gateway API", d.Name())
		}
	}
}

func TestMissingDefinitions(t *testing.T) {
	const version, own, gateway = "v1.2.0", 8, 5
	ours := func(v string) map[string]string {
		return map[string]string{createdBy: "tulle/cli " + v, bundleVersion: "v1.6.3"}
	}
	tests := map[string]struct {
		existing     map[string]map[string]string
		own, gateway int
		notes        []string
	}{
		"a bare cluster gets everything": {own: own, gateway: gateway},
		"what an older release made is updated": {
			existing: map[string]map[string]string{"servers.policy.linkerd.io": ours("v1.1.9"),
				"httproutes.gateway.networking.k8s.io": ours("v1.1.9")},
			own: own, gateway: gateway,
		},
		"the same release is printed again, so that the output is the same": {
			existing: map[string]map[string]string{"servers.policy.linkerd.io": ours(version),
				"httproutes.gateway.networking.k8s.io": ours(version)},
			own: own, gateway: gateway,
		},
		"what a newer release made stays": {
			existing: map[string]map[string]string{"servers.policy.linkerd.io": ours("v1.10.0")},
			own:      own - 1, gateway: gateway,
			notes: []string{"servers.policy.linkerd.io is of a newer release (v1.10.0), and stays as it is"},
		},
		"a commit after the release is not older than it": {
			existing: map[string]map[string]string{"servers.policy.linkerd.io": ours("v1.2.0-12-gabcdef0")},
			own:      own, gateway: gateway,
		},
		"Linkerd's own are taken over": {
			existing: map[string]map[string]string{"servers.policy.linkerd.io": {createdBy: "linkerd/cli edge-26.1.1"}},
			own:      own, gateway: gateway,
		},
		"a foreign Gateway API stays, even where kinds are missing": {
			existing: map[string]map[string]string{"gateways.gateway.networking.k8s.io": {bundleVersion: "v1.2.1"}},
			own:      own,
			notes:    []string{"the cluster has a Gateway API of its own (v1.2.1), which stays as it is"},
		},
		"a foreign Gateway API without a version stays": {
			existing: map[string]map[string]string{"httproutes.gateway.networking.k8s.io": nil},
			own:      own,
			notes:    []string{"the cluster has a Gateway API of its own (of an unknown version), which stays as it is"},
		},
		"a newer Gateway API of the installation stays": {
			existing: map[string]map[string]string{"tlsroutes.gateway.networking.k8s.io": {createdBy: "tulle/cli v1.2.0",
				bundleVersion: "v1.7.0"}},
			own: own, gateway: gateway - 1,
			notes: []string{"tlsroutes.gateway.networking.k8s.io is of a newer release (v1.7.0), and stays as it is"},
		},
		"other definitions do not matter": {
			existing: map[string]map[string]string{"certificates.cert-manager.io": nil},
			own:      own, gateway: gateway,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			missing, notes := Missing(definitions(t, version), test.existing)
			got := map[bool]int{}
			for _, d := range missing {
				got[d.Gateway()]++
			}
			if got[false] != test.own || got[true] != test.gateway {
				t.Errorf("%d own and %d of the Gateway API, want %d and %d", got[false], got[true], test.own, test.gateway)
			}
			if diff := cmp.Diff(test.notes, notes); diff != "" {
				t.Errorf("notes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestStreamOfDefinitionsHoldsThemAlone(t *testing.T) {
	docs := Documents(RenderCRDs(definitions(t, "v1")))
	if len(docs) != 13 {
		t.Errorf("%d documents, want 13", len(docs))
	}
	for _, doc := range docs {
		if !strings.Contains(doc, "\nkind: CustomResourceDefinition\n") {
			t.Errorf("a document is not a definition: %.80s", doc)
		}
	}
}
