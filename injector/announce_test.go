package injector

import (
	"encoding/json"
	"testing"

	"github.com/google/cel-go/cel"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/injector/inject"
	"github.com/tulle-mesh/tulle/mesh"
)

// TestMatchConditionsAgreeWithDecide: in a namespace that opted in, the conditions under which a pod must not start
// without an answer are exactly those under which it is injected.
func TestMatchConditionsAgreeWithDecide(t *testing.T) {
	inits := func(name string) corev1.PodSpec {
		return corev1.PodSpec{InitContainers: []corev1.Container{{Name: name}}, Containers: []corev1.Container{{Name: "web"}}}
	}
	host := inits("setup")
	host.HostNetwork = true
	for _, tt := range []struct {
		name string
		pod  corev1.Pod
	}{
		{"plain", corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "web"}}}}},
		{"other annotations", corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{"a": "b"}},
			Spec: inits("setup")}},
		{"asks itself", annotatedPod("enabled", inits("setup"))},
		{"asks for ingress", annotatedPod("ingress", inits("setup"))},
		{"opts out", annotatedPod("disabled", inits("setup"))},
		{"odd value", annotatedPod("true", inits("setup"))},
		{"host network", corev1.Pod{Spec: host}},
		{"has a proxy", corev1.Pod{Spec: inits(mesh.ProxyContainer)}},
		{"has a proxy that is not a native sidecar",
			corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: mesh.ProxyContainer}}}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ns := inject.Namespace{Annotations: map[string]string{mesh.InjectAnnotation: "enabled"}}
			want := inject.Decide(ns, &tt.pod).Action == inject.Inject
			if got := matches(t, &tt.pod); got != want {
				t.Errorf("the conditions say %v, the decision %v", got, want)
			}
		})
	}
}

func annotatedPod(value string, spec corev1.PodSpec) corev1.Pod {
	return corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{mesh.InjectAnnotation: value}},
		Spec: spec}
}

// matches evaluates the conditions as the API server does: over the object's JSON.
func matches(t *testing.T, pod *corev1.Pod) bool {
	t.Helper()
	text, err := json.Marshal(pod)
	if err != nil {
		t.Fatal(err)
	}
	var object map[string]any
	if err := json.Unmarshal(text, &object); err != nil {
		t.Fatal(err)
	}
	env, err := cel.NewEnv(cel.Variable("object", cel.DynType))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range matchConditions() {
		ast, issues := env.Compile(c.Expression)
		if issues.Err() != nil {
			t.Fatalf("%s: %v", c.Name, issues.Err())
		}
		program, err := env.Program(ast)
		if err != nil {
			t.Fatalf("%s: %v", c.Name, err)
		}
		result, _, err := program.Eval(map[string]any{"object": object})
		if err != nil {
			t.Fatalf("%s: %v", c.Name, err)
		}
		if result.Value() != true {
			return false
		}
	}
	return true
}
