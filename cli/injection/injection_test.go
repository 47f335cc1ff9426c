package injection

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tulle-mesh/tulle/cli/manifest"
	"github.com/tulle-mesh/tulle/injector/inject"
	"github.com/tulle-mesh/tulle/mesh"
)

func object(t *testing.T, text string) *manifest.Object {
	t.Helper()
	objects, err := manifest.Sources{Stdin: strings.NewReader(text)}.Objects(t.Context(), []string{"-"})
	if err != nil {
		t.Fatal(err)
	}
	return objects[0]
}

// TestRemoveUndoesInjection injects objects in both ways, twice, and takes the proxy away again.
func TestRemoveUndoesInjection(t *testing.T) {
	const workload = "kind: Deployment\nmetadata: {name: web}\n" +
		"spec: {template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: web, unknown: 1}]}}}\n"
	for name, test := range map[string]struct {
		text   string
		manual bool
		// outcomes of injecting, of injecting again, and of removing
		want []string
	}{
		"by annotation": {workload, false, []string{"injected", alreadyInjected, "uninjected"}},
		"by hand":       {workload, true, []string{"injected", alreadyInjected, "uninjected"}},
		"a namespace": {"kind: Namespace\nmetadata: {name: shop}\n", false,
			[]string{"annotated", alreadyAnnotated, "uninjected"}},
		"another kind": {"kind: ConfigMap\nmetadata: {name: web}\n", false, []string{"", "", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			o, before := object(t, test.text), object(t, test.text)
			injection := Injection{Manual: test.manual, Defaults: inject.Defaults()}
			var got []string
			for _, change := range []func(*manifest.Object) (Report, error){injection.Object, injection.Object, Remove} {
				reports, err := Change([]*manifest.Object{o}, change)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, reports[0].outcome)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("outcomes (-want +got):\n%s", diff)
			}
			if meta, ok := o.Tree["metadata"].(map[string]any); ok && o.Kind() == "Namespace" {
				delete(meta, "annotations") // empty
			}
			if tmpl, ok, err := o.Template(); ok && err == nil {
				delete(tmpl.Tree["metadata"].(map[string]any), "annotations")
			}
			if diff := cmp.Diff(before.Tree, o.Tree); diff != "" {
				t.Errorf("the object does not come back (-was +is):\n%s", diff)
			}
		})
	}
}

func TestCheckNamesTheAnnotation(t *testing.T) {
	injection := Injection{Defaults: inject.Defaults(),
		Annotations: map[string]string{mesh.ConfigPrefix + "proxy-cpu-limit": "lots"}}
	if err := injection.Check(); err == nil || !strings.Contains(err.Error(), mesh.ConfigPrefix+"proxy-cpu-limit") {
		t.Errorf("error %v, want one that names the annotation", err)
	}
}
