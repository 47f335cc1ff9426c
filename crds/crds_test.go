package crds

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/tulle-mesh/tulle/crds/v1alpha1"
)

// definition is what the tests look at.
type definition struct {
	Metadata struct {
		Name        string
		Annotations map[string]string
	}
	Spec struct {
		Group    string
		Names    struct{ Kind, Plural string }
		Versions []struct {
			Name            string
			Served, Storage bool
			Subresources    struct{ Status *struct{} }
		}
	}
}

func decode(t *testing.T, definitions []Definition, err error) []definition {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	var out []definition
	for _, def := range definitions {
		var d definition
		if err := yaml.Unmarshal(def.YAML, &d); err != nil {
			t.Fatal(err)
		}
		index := Definition{Resource: schema.GroupVersionResource{Group: d.Spec.Group, Resource: d.Spec.Names.Plural},
			YAML: def.YAML}
		for _, v := range d.Spec.Versions {
			if v.Served {
				index.Served = append(index.Served, v.Name)
			}
			if v.Storage {
				index.Resource.Version = v.Name
			}
		}
		if diff := cmp.Diff(index, def); diff != "" {
			t.Errorf("%s: the index differs (-definition +index):\n%s", d.Metadata.Name, diff)
		}
		out = append(out, d)
	}
	return out
}

func TestDefinitionsAreThoseOfTheTypes(t *testing.T) {
	definitions, err := Own()
	got := map[string]v1alpha1.Kind{}
	for _, d := range decode(t, definitions, err) {
		k := v1alpha1.Kind{Group: d.Spec.Group, Name: d.Spec.Names.Kind, Plural: d.Spec.Names.Plural}
		for i, v := range d.Spec.Versions {
			k.Versions = append(k.Versions, v.Name)
			if last := i == len(d.Spec.Versions)-1; !v.Served || v.Storage != last {
				t.Errorf("%s %s: served %v, stored %v; want all served and the last stored", k.Name, v.Name, v.Served, v.Storage)
			}
			if v.Subresources.Status == nil {
				t.Errorf("%s %s: the status is not a subresource", k.Name, v.Name)
			}
		}
		got[d.Metadata.Name] = k
	}
	want := map[string]v1alpha1.Kind{}
	for _, k := range v1alpha1.Kinds() {
		want[k.Plural+"."+k.Group] = k
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("definitions (-types +written):\n%s", diff)
	}
}

func TestGatewayDefinitionsSayWhereTheyAreFrom(t *testing.T) {
	definitions, err := Gateway()
	if len(definitions) != 5 {
		t.Errorf("%d definitions, want those of the five kinds that the mesh reads", len(definitions))
	}
	for _, d := range decode(t, definitions, err) {
		want := map[string]string{"gateway.networking.k8s.io/bundle-version": "v1.6.3",
			"gateway.networking.k8s.io/channel": "standard"}
		delete(d.Metadata.Annotations, "api-approved.kubernetes.io")
		if diff := cmp.Diff(want, d.Metadata.Annotations); diff != "" {
			t.Errorf("%s: annotations (-want +got):\n%s", d.Metadata.Name, diff)
		}
	}
}
