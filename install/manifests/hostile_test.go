package manifests

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/tulle-mesh/tulle/install"
)

func TestNamespaceCannotWriteManifests(t *testing.T) {
	for _, namespace := range []string{"tulle\nkind: Secret", "a: b", "Tulle", "x'y", "-", strings.Repeat("a", 64)} {
		for name, render := range map[string]func(install.Target) ([]byte, error){
			"Render": func(t install.Target) ([]byte, error) { return Render(install.Defaults(), t) },
			"Definitions": func(t install.Target) ([]byte, error) {
				all, err := install.Definitions(t)
				return install.RenderCRDs(all), err
			},
		} {
			if out, err := render(install.Target{Namespace: namespace, Version: "1"}); err == nil || out != nil {
				t.Errorf("%s accepts the namespace %q", name, namespace)
			}
		}
	}
}

func TestAnnotationsMayHoldAnyText(t *testing.T) {
	v := install.Defaults()
	v.PodAnnotations = map[string]string{"example.com/Text": "anything: {goes\n- \u2028here"}
	manifests, err := Render(v, install.Target{Version: "1"})
	if err != nil {
		t.Fatal(err)
	}
	for text := range strings.SplitSeq(string(manifests), "\n---\n") {
		var doc struct {
			Kind string
			Spec struct {
				Template struct {
					Metadata struct{ Annotations map[string]string }
				}
			}
		}
		if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
			t.Fatal(err)
		}
		if got := doc.Spec.Template.Metadata.Annotations["example.com/Text"]; doc.Kind == "Deployment" &&
			got != v.PodAnnotations["example.com/Text"] {
			t.Error(cmp.Diff(v.PodAnnotations["example.com/Text"], got))
		}
	}
}
