package install

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

func TestNamespaceCannotWriteManifests(t *testing.T) {
	for _, namespace := range []string{"tulle\nkind: Secret", "a: b", "Tulle", "x'y", "-", strings.Repeat("a", 64)} {
		for name, render := range map[string]func(Target) ([]byte, error){
			"Render": func(t Target) ([]byte, error) { return Render(Defaults(), t) },
			"Definitions": func(t Target) ([]byte, error) {
				all, err := Definitions(t)
				return RenderCRDs(all), err
			},
		} {
			if out, err := render(Target{Namespace: namespace, Version: "1"}); err == nil || out != nil {
				t.Errorf("%s accepts the namespace %q", name, namespace)
			}
		}
	}
}

func TestValidateNamesWhatTheAPIServerWouldRefuse(t *testing.T) {
	for key, change := range map[string]func(*Values){
		`podLabels "bad key"`:     func(v *Values) { v.PodLabels = map[string]string{"bad key": "x"} },
		`podLabels.a "x\n  b: c"`: func(v *Values) { v.PodLabels = map[string]string{"a": "x\n  b: c"} },
		`podLabels "linkerd.io/control`: func(v *Values) {
			v.PodLabels = map[string]string{"linkerd.io/control-plane-component": "x"}
		},
		`podAnnotations "linkerd.io/inject"`: func(v *Values) {
			v.PodAnnotations = map[string]string{"linkerd.io/inject": "enabled"}
		},
		`priorityClassName "x\ny: z"`:     func(v *Values) { v.PriorityClassName = "x\ny: z" },
		`imagePullSecrets[0].name "a: b"`: func(v *Values) { v.ImagePullSecrets = []LocalObjectID{{Name: "a: b"}} },
		`tolerations[0].key "a: {b"`:      func(v *Values) { v.Tolerations = []Toleration{{Key: "a: {b"}} },
		`controllerImage "a b"`:           func(v *Values) { v.ControllerImage = "a b" },
	} {
		v := Defaults()
		change(&v)
		if _, err := v.Validate(time.Now()); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("got %v, want an error that begins %s", err, key)
		}
	}
	v := Defaults()
	v.PodAnnotations = map[string]string{"example.com/Text": "anything: {goes\n- \u2028here"}
	if _, err := v.Validate(time.Now()); err != nil {
		t.Errorf("an annotation with text: %v", err)
	}
	manifests, err := Render(v, Target{Version: "1"})
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

// The destination controller reads the default before it knows any named port, and would not start.
func TestValidateRefusesNamesAmongTheDefaultOpaquePorts(t *testing.T) {
	v := Defaults()
	v.Proxy.OpaquePorts = "25,redis"
	want := `proxy.opaquePorts: "redis" is not a port (1-65535) or a range first-last`
	if _, err := v.Validate(time.Now()); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
