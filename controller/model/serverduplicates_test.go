package model

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/tulle-mesh/tulle/controller/compile"
	"github.com/tulle-mesh/tulle/crds/v1alpha1"
)

// superseded returns, for the Servers whose status was reported since the last call, the Servers that keep them from
// having an effect.
func superseded(s *Store, reported map[string]string) map[string]string {
	for _, st := range s.Outcomes() {
		if st.Object.Kind != "Server" {
			continue
		}
		delete(reported, st.Object.Name)
		if st.Gone {
			continue
		}
		for _, f := range st.Result.Findings.Of(compile.Invalid) {
			if _, by, ok := strings.Cut(f.Message, "take precedence: "); ok {
				reported[st.Object.Name] = by
			}
		}
	}
	return maps.Clone(reported)
}

func serverAt(name string, age int, selector *metav1.LabelSelector, port intstr.IntOrString) *v1alpha1.Server {
	return &v1alpha1.Server{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Generation: 1,
			CreationTimestamp: metav1.NewTime(time.Unix(int64(age), 0))},
		Spec: v1alpha1.ServerSpec{PodSelector: selector, Port: port},
	}
}

// TestYoungerServerIsSupersededWithoutPods covers docs/linkerd.md's promise: of two Servers on one port, the younger
// one's status says so, also while no pod matches.
func TestYoungerServerIsSupersededWithoutPods(t *testing.T) {
	web := &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}
	in := func(values ...string) *metav1.LabelSelector {
		return &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "app",
			Operator: metav1.LabelSelectorOpIn, Values: values}}}
	}
	http, number := intstr.FromString("http"), intstr.FromInt32(8080)
	for name, test := range map[string]struct {
		servers []*v1alpha1.Server
		want    map[string]string
	}{
		"by number": {[]*v1alpha1.Server{serverAt("a", 2, web, number), serverAt("b", 1, web, number)},
			map[string]string{"a": "b"}},
		"by name": {[]*v1alpha1.Server{serverAt("a", 1, web, http), serverAt("b", 2, web, http)},
			map[string]string{"b": "a"}},
		"of one age, the first name": {[]*v1alpha1.Server{serverAt("b", 1, web, http), serverAt("a", 1, web, http)},
			map[string]string{"b": "a"}},
		"of all pods": {[]*v1alpha1.Server{serverAt("a", 1, &metav1.LabelSelector{}, number),
			serverAt("b", 2, &metav1.LabelSelector{}, number)}, map[string]string{"b": "a"}},
		"a label written as a list": {[]*v1alpha1.Server{serverAt("a", 1, web, number), serverAt("b", 2, in("web"), number)},
			map[string]string{"b": "a"}},
		"lists in another order": {[]*v1alpha1.Server{serverAt("a", 1, in("x", "y"), number),
			serverAt("b", 2, in("y", "x"), number)}, map[string]string{"b": "a"}},
		"three of them": {[]*v1alpha1.Server{serverAt("a", 3, web, number), serverAt("b", 2, web, number),
			serverAt("c", 1, web, number)}, map[string]string{"a": "c", "b": "c"}},
		"another port": {[]*v1alpha1.Server{serverAt("a", 1, web, number),
			serverAt("b", 2, web, intstr.FromInt32(8081))}, map[string]string{}},
		"another selector": {[]*v1alpha1.Server{serverAt("a", 1, web, number),
			serverAt("b", 2, in("web", "api"), number)}, map[string]string{}},
		"one with a mistake": {[]*v1alpha1.Server{serverAt("a", 1, web, intstr.FromInt32(0)),
			serverAt("b", 2, web, intstr.FromInt32(0))}, map[string]string{}},
		"without a selector": {[]*v1alpha1.Server{serverAt("a", 1, nil, number), serverAt("b", 2, nil, number)},
			map[string]string{}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, order := range []string{"as written", "the other way round"} {
				s := New(testConfig())
				servers := slices.Clone(test.servers)
				if order != "as written" {
					slices.Reverse(servers)
				}
				for _, sv := range servers {
					s.Apply(Event{Object: sv})
				}
				if diff := cmp.Diff(test.want, superseded(s, map[string]string{})); diff != "" {
					t.Errorf("%s (-want +got):\n%s", order, diff)
				}
			}
		})
	}
}

// TestSupersededServerFollows changes what supersedes a Server: its status is reported again, and nobody else's.
func TestSupersededServerFollows(t *testing.T) {
	s := New(testConfig())
	reported := map[string]string{}
	web := &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}
	port := intstr.FromInt32(8080)
	other := serverAt("old", 1, web, intstr.FromInt32(9090))
	other.Generation = 2
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1", Labels: map[string]string{"app": "web"}},
		Status:     corev1.PodStatus{PodIP: "10.0.0.1", Phase: corev1.PodRunning, PodIPs: []corev1.PodIP{{IP: "10.0.0.1"}}},
	}
	for _, step := range []struct {
		name  string
		event Event
		want  map[string]string
	}{
		{"one Server", Event{Object: serverAt("young", 3, web, port)}, map[string]string{}},
		{"an older one", Event{Object: serverAt("old", 1, web, port)}, map[string]string{"young": "old"}},
		{"one between them", Event{Object: serverAt("middle", 2, web, port)},
			map[string]string{"young": "old", "middle": "old"}},
		{"the oldest takes another port", Event{Object: other}, map[string]string{"young": "middle"}},
		{"a pod comes", Event{Object: pod}, map[string]string{"young": "middle"}},
		{"the pod goes", Event{Object: pod, Deleted: true}, map[string]string{"young": "middle"}},
		{"the middle one goes", Event{Object: serverAt("middle", 2, web, port), Deleted: true}, map[string]string{}},
	} {
		s.Apply(step.event)
		if diff := cmp.Diff(step.want, superseded(s, reported)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
	s.Apply(Event{Object: serverAt("young", 3, web, port), Deleted: true})
	s.Apply(Event{Object: other, Deleted: true})
	if n := len(s.access.duplicates); n != 0 {
		t.Errorf("%d entries are left after all Servers have gone", n)
	}
}
