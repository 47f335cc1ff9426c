package kube

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"

	"github.com/tulle-mesh/tulle/controller/kinds"
	"github.com/tulle-mesh/tulle/controller/model"
	"github.com/tulle-mesh/tulle/mesh"
)

var section = regexp.MustCompile(`(?m)^-- (apply|delete|ask|problems|statuses)(.*) --\n`)

// TestStripKeepsWhatTheModelReads plays the model's transcripts to two stores. One gets stripped objects:
// every answer must be the same.
func TestStripKeepsWhatTheModelReads(t *testing.T) {
	files, err := filepath.Glob("../model/testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		c := model.Config{
			TrustDomain: "cluster.local", ClusterDomain: "cluster.local", ControlPlaneNamespace: "tulle",
			DefaultPolicy: mesh.Deny,
		}
		whole, stripped := model.New(c), model.New(c)
		heads := section.FindAllSubmatchIndex(text, -1)
		for i, h := range heads {
			end := len(text)
			if i+1 < len(heads) {
				end = heads[i+1][0]
			}
			verb, rest, body := string(text[h[2]:h[3]]), string(text[h[4]:h[5]]), text[h[1]:end]
			switch verb {
			case "apply", "delete":
				for _, p := range parse(t, body) {
					p.whole.Deleted, p.small.Deleted = verb == "delete", verb == "delete"
					whole.Apply(p.whole)
					stripped.Apply(p.small)
				}
			case "ask":
				if want, got := ask(whole, rest), ask(stripped, rest); !got.Equal(want) {
					t.Errorf("%s: ask%s: got %+v, want %+v", file, rest, got, want)
				}
			}
		}
	}
}

func ask(s *model.Store, text string) model.Answer {
	who, what, _ := strings.Cut(strings.TrimSpace(text), " ")
	pod, node, _ := strings.Cut(who, "@")
	namespace, podName, _ := strings.Cut(pod, "/")
	var target mesh.Target
	if what != "inbound" {
		target.Addr = netip.MustParseAddrPort(what)
	}
	snap := model.BuildSnapshot(s)
	return model.Resolve(s, snap, model.QueryFor(s, snap, target,
		mesh.Client{Namespace: namespace, Pod: podName, Node: node}))
}

// played is an object as it was written down, and as it comes from a cache.
type played struct{ whole, small model.Event }

func parse(t *testing.T, text []byte) []played {
	t.Helper()
	core := map[string]func() runtime.Object{
		"Service":       func() runtime.Object { return &corev1.Service{} },
		"EndpointSlice": func() runtime.Object { return &discoveryv1.EndpointSlice{} },
		"Pod":           func() runtime.Object { return &corev1.Pod{} },
		"Namespace":     func() runtime.Object { return &corev1.Namespace{} },
		"Node":          func() runtime.Object { return &corev1.Node{} },
	}
	var out []played
	for doc := range bytes.SplitSeq(text, []byte("\n---\n")) {
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(doc, &u.Object); err != nil {
			t.Fatal(err)
		}
		if core[u.GetKind()] == nil {
			out = append(out, parseConfiguration(t, u))
			continue
		}
		o := core[u.GetKind()]()
		if err := yaml.Unmarshal(doc, o); err != nil {
			t.Fatal(err)
		}
		small, err := strip(o.DeepCopyObject())
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, played{model.Event{Object: o.(metav1.Object)}, model.Event{Object: small.(metav1.Object)}})
	}
	return out
}

func parseConfiguration(t *testing.T, u *unstructured.Unstructured) played {
	t.Helper()
	gk := u.GroupVersionKind().GroupKind()
	all := kinds.Configuration()
	i := slices.IndexFunc(all, func(k kinds.Kind) bool {
		return k.GroupKind() == gk || k.Name == gk.Kind && k.Group != gatewayv1.GroupName && gk.Group == ""
	})
	if i < 0 {
		t.Fatalf("%v is not watched", gk)
	}
	whole := all[i].New()
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, whole); err != nil {
		t.Fatal(err)
	}
	small := decode(all[i], u)
	if small.err != nil {
		t.Fatal(small.err)
	}
	return played{model.Event{Object: whole, Unknown: small.unknown},
		model.Event{Object: small.Object, Unknown: small.unknown}}
}

func TestStripDropsTheRest(t *testing.T) {
	small, err := strip(&corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: "web-1", ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl"}},
			Annotations: map[string]string{"notes": "long"},
		},
		Spec: corev1.PodSpec{
			Volumes: []corev1.Volume{{Name: "data"}}, Containers: []corev1.Container{{Name: "app",
				Env: []corev1.EnvVar{{Name: "A"}}}},
		},
		Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "app"}}},
	})
	p := small.(*corev1.Pod)
	if err != nil || p.ManagedFields != nil || p.Annotations != nil || p.Spec.Volumes != nil ||
		p.Spec.Containers[0].Env != nil ||
		p.Status.ContainerStatuses != nil {
		t.Errorf("got %+v, %v; want names alone", p, err)
	}
}

// TestStripKeepsRevokedPeers: no transcript has them.
func TestStripKeepsRevokedPeers(t *testing.T) {
	small, err := strip(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "tulle", Annotations: map[string]string{
		mesh.RevokedAnnotation: "serial:1f", "kubectl.kubernetes.io/last-applied-configuration": "long"}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := small.(*corev1.Namespace).Annotations; len(got) != 1 || got[mesh.RevokedAnnotation] != "serial:1f" {
		t.Errorf("got annotations %v", got)
	}
}
