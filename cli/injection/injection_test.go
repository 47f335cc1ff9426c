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

// TestInjectWarnsAsAnalyzeDoes gives annotations that nobody reads where they are.
func TestInjectWarnsAsAnalyzeDoes(t *testing.T) {
	const spec = "{containers: [{name: web, image: web}]}"
	deployment := func(own, template string) string {
		return "kind: Deployment\nmetadata: {name: web, annotations: {" + own + "}}\n" +
			"spec: {template: {metadata: {annotations: {" + template + "}}, spec: " + spec + "}}\n"
	}
	const misplaced = "annotation linkerd.io/inject has no effect at the Deployment itself: it belongs at " +
		"spec.template.metadata"
	for name, test := range map[string]struct {
		text string
		want []string // beginnings of the warnings
	}{
		"a misspelled annotation of a namespace": {
			"kind: Namespace\nmetadata: {name: shop, annotations: {config.linkerd.io/opaque-port: '3306'}}\n",
			[]string{"annotation config.linkerd.io/opaque-port of the namespace"}},
		"a value that is refused": {
			"kind: Namespace\nmetadata: {name: shop, annotations: {config.linkerd.io/proxy-cpu-limit: lots}}\n",
			[]string{"annotation config.linkerd.io/proxy-cpu-limit"}},
		"a namespace without mistakes": {
			"kind: Namespace\nmetadata: {name: shop, annotations: {config.linkerd.io/opaque-ports: '3306', a: b}}\n", nil},
		"at the Deployment itself": {deployment("linkerd.io/inject: enabled", ""), []string{misplaced}},
		"at a Deployment that is left as it is": {
			deployment("linkerd.io/inject: enabled", "linkerd.io/inject: disabled"), []string{misplaced}},
		"at both": {deployment("linkerd.io/inject: enabled", "linkerd.io/inject: enabled"), nil},
		"misspelled in two places": {
			deployment("config.linkerd.io/opaque-port: '1'", "config.linkerd.io/proxy-log-levle: debug"),
			[]string{"annotation config.linkerd.io/opaque-port has no effect at the Deployment itself: " +
				"config.linkerd.io/opaque-ports, which is most likely meant", "annotation config.linkerd.io/proxy-log-levle"}},
		"a CronJob": {"kind: CronJob\nmetadata: {name: web, annotations: {linkerd.io/inject: enabled}}\n" +
			"spec: {jobTemplate: {spec: {template: {spec: " + spec + "}}}}\n",
			[]string{"annotation linkerd.io/inject has no effect at the CronJob itself: it belongs at " +
				"spec.jobTemplate.spec.template.metadata"}},
		"a Pod": {"kind: Pod\nmetadata: {name: web, annotations: {linkerd.io/inject: enabled}}\nspec: " + spec + "\n", nil},
		"a Service": {"kind: Service\nmetadata: {name: web, annotations: {linkerd.io/inject: enabled}}\n",
			[]string{"annotation linkerd.io/inject has no effect on a Service"}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, manual := range []bool{false, true} {
				r, err := Injection{Manual: manual, Defaults: inject.Defaults()}.Object(object(t, test.text))
				if err != nil {
					t.Fatal(err)
				}
				fits := len(r.warnings) == len(test.want)
				for i := 0; fits && i < len(test.want); i++ {
					fits = strings.Contains(r.warnings[i], test.want[i])
				}
				if !fits {
					t.Errorf("manual %t: warnings %q, want %q", manual, r.warnings, test.want)
				}
			}
		})
	}
}
