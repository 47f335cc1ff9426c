package inject

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/tulle-mesh/tulle/internal/goldentest"
	"github.com/tulle-mesh/tulle/mesh"
)

// TestApplyGolden turns testdata/X.yaml (a Namespace and a Pod) into testdata/X.want.yaml (warnings as comments, then
// the pod).
func TestApplyGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, file := range files {
		if strings.HasSuffix(file, ".want.yaml") {
			continue
		}
		ran++
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			ns, pod := readCase(t, file)
			after, warnings := injected(t, ns, pod)
			golden(t, filepath.Join("testdata", name+".want.yaml"), render(t, after, warnings))
			checkPatch(t, pod, after)
		})
	}
	if ran == 0 {
		t.Error("no case was found in testdata")
	}
}

func readCase(t *testing.T, file string) (Namespace, *corev1.Pod) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	first, second, ok := strings.Cut(string(data), "\n---\n")
	if !ok {
		t.Fatalf("%s: want a Namespace and a Pod", file)
	}
	var ns corev1.Namespace
	var pod corev1.Pod
	if err := yaml.UnmarshalStrict([]byte(first), &ns); err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict([]byte(second), &pod); err != nil {
		t.Fatal(err)
	}
	return Namespace{Name: ns.Name, Labels: ns.Labels, Annotations: ns.Annotations}, &pod
}

func injected(t *testing.T, ns Namespace, pod *corev1.Pod) (*corev1.Pod, []string) {
	t.Helper()
	before := pod.DeepCopy()
	d := Decide(ns, pod)
	if d.Action != Inject {
		t.Fatalf("decision is %+v, want an injection", d)
	}
	s, err := ParseSettings(Defaults(), ns.Annotations, pod.Annotations)
	if err != nil {
		t.Fatal(err)
	}
	after, warnings, err := Apply(pod, s, d, ns.Name, Owner{Kind: "Deployment", Name: "web"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, pod); diff != "" {
		t.Errorf("Apply changed its argument (-before +after):\n%s", diff)
	}
	if again := Decide(ns, after); again.Reason != SidecarExists {
		t.Errorf("decision on the injected pod is %+v, want %s", again, SidecarExists)
	}
	return after, append(s.Warnings, warnings...)
}

func render(t *testing.T, pod *corev1.Pod, warnings []string) []byte {
	t.Helper()
	var out strings.Builder
	for _, w := range warnings {
		out.WriteString("# warning: " + w + "\n")
	}
	text, err := yaml.Marshal(pod)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(text)
	return []byte(out.String())
}

func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	goldentest.Equal(t, file, string(got))
}

// checkPatch applies the patch with another implementation of RFC 6902 than the one that made it.
func checkPatch(t *testing.T, before, after *corev1.Pod) {
	t.Helper()
	text, err := Patch(before, after)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if again, _ := Patch(before, after); string(again) != string(text) {
			t.Errorf("the same objects gave two patches:\n%s\n%s", text, again)
		}
	}
	patch, err := jsonpatch.DecodePatch(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range patch {
		if path, err := op.Path(); err == nil && op.Kind() != "add" {
			t.Errorf("patch has %s %s: want only additions, which leave unknown fields of the pod alone", op.Kind(), path)
		}
	}
	from, err := json.Marshal(before)
	if err != nil {
		t.Fatal(err)
	}
	got, err := patch.Apply(from)
	if err != nil {
		t.Fatal(err)
	}
	want, err := json.Marshal(after)
	if err != nil {
		t.Fatal(err)
	}
	if !jsonpatch.Equal(got, want) {
		t.Errorf("patched pod is\n%s\nwant\n%s", got, want)
	}
}

func TestProxyReadsWhatTheInjectorWrites(t *testing.T) {
	for _, file := range []string{"testdata/plain.yaml", "testdata/tuned.yaml", "testdata/classic.yaml"} {
		ns, pod := readCase(t, file)
		after, _ := injected(t, ns, pod)
		env := map[string]string{}
		for _, c := range append(after.Spec.InitContainers, after.Spec.Containers...) {
			for _, e := range c.Env {
				env[e.Name] = e.Value
			}
		}
		if _, err := mesh.ParseProxyConfig([]byte(env[mesh.ProxyConfigEnv])); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		if _, err := mesh.ParseCaptureConfig([]byte(env[mesh.CaptureConfigEnv])); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestApplyRefuses(t *testing.T) {
	uid := int64(mesh.ProxyUID)
	own := &corev1.SecurityContext{RunAsUser: &uid}
	for _, tt := range []struct {
		name, want string
		spec       corev1.PodSpec
	}{
		{"the pod runs as the proxy's user", "spec.securityContext.runAsUser is 2102",
			corev1.PodSpec{SecurityContext: &corev1.PodSecurityContext{RunAsUser: &uid}}},
		{"a container runs as the proxy's user", "container app runs as user 2102",
			corev1.PodSpec{Containers: []corev1.Container{{Name: "app", SecurityContext: own}}}},
		{"an init container runs as the proxy's user", "container setup runs as user 2102",
			corev1.PodSpec{InitContainers: []corev1.Container{{Name: "setup", SecurityContext: own}}}},
		{"a volume has the token's name", "volume tulle-identity-token",
			corev1.PodSpec{Volumes: []corev1.Volume{{Name: tokenVolume}}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := ParseSettings(Defaults(), nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			_, _, err = Apply(&corev1.Pod{Spec: tt.spec}, s, Decision{Action: Inject}, "shop", Owner{})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error is %v, want one with %q", err, tt.want)
			}
		})
	}
}
