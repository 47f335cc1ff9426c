package model

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/tulle-mesh/tulle/crds/v1alpha1"
	"github.com/tulle-mesh/tulle/mesh"
)

// Policies on a namespace concern each of its Servers. Were all of them derived again with every event, thousands of
// policies would keep the control plane from everybody else for minutes.
func TestAStormOfPoliciesIsDerivedOnce(t *testing.T) {
	const servers, policies = 20, 300
	s := New(testConfig())
	meta := func(format string, i int) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: "shop", Name: fmt.Sprintf(format, i), Generation: 1}
	}
	s.Apply(Event{Object: &corev1.Pod{ObjectMeta: meta("web-%d", 0)}})
	for i := range servers {
		s.Apply(Event{Object: &v1alpha1.Server{ObjectMeta: meta("server-%d", i), Spec: v1alpha1.ServerSpec{
			PodSelector: &metav1.LabelSelector{}, Port: intstr.FromInt(8000 + i),
		}}})
	}
	ask := func() *mesh.Inbound {
		snap := BuildSnapshot(s)
		return Resolve(s, snap, QueryFor(s, snap, mesh.Target{}, mesh.Client{Namespace: "shop", Pod: "web-0"})).Inbound
	}
	before := ask()
	for i := range policies {
		s.Apply(Event{Object: &v1alpha1.AuthorizationPolicy{ObjectMeta: meta("policy-%d", i),
			Spec: v1alpha1.AuthorizationPolicySpec{
				TargetRef: v1alpha1.LocalRef{Kind: "Namespace", Name: "shop"},
			}}})
	}
	for n, p := range s.access.serverPolicies {
		if len(p.Authorizations) != 0 {
			t.Errorf("%v was derived before anybody asked", n)
		}
	}
	after := ask()
	if got := len(after.Ports[8000].Authorizations); got != policies || before.Equal(after) {
		t.Errorf("%d authorizations, want %d", got, policies)
	}
	if again := ask(); &again.Ports[8000].Authorizations[0] != &after.Ports[8000].Authorizations[0] {
		t.Error("derived again though nothing has changed")
	}
}
