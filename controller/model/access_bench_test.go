package model

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/tulle-mesh/tulle/crds/v1alpha1"
	"github.com/tulle-mesh/tulle/internal/alloctest"
	"github.com/tulle-mesh/tulle/mesh"
)

// guarded returns a store of namespaces of one app each, whose pods have a Server, an AuthorizationPolicy on it and an
// authentication.
func guarded(namespaces, pods int) *Store {
	s := New(testConfig())
	for n := range namespaces {
		namespace := fmt.Sprint("ns-", n)
		for i := range pods {
			s.Apply(Event{Object: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
				Namespace: namespace, Name: fmt.Sprint("pod-", i), Labels: map[string]string{"app": "web", "pod": fmt.Sprint(i)},
			}}})
		}
		s.Apply(Event{Object: &v1alpha1.Server{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "web"},
			Spec: v1alpha1.ServerSpec{
				PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}, Port: intstr.FromInt32(8080),
			}}})
		s.Apply(Event{Object: &v1alpha1.AuthorizationPolicy{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "web"},
			Spec: v1alpha1.AuthorizationPolicySpec{
				TargetRef: v1alpha1.LocalRef{Group: v1alpha1.PolicyGroup, Kind: "Server", Name: "web"},
				RequiredAuthenticationRefs: []v1alpha1.ObjectRef{{Group: v1alpha1.PolicyGroup, Kind: "MeshTLSAuthentication",
					Name: "web"}},
			},
		}})
		s.Apply(Event{Object: callers(namespace, 0)})
	}
	return s
}

func callers(namespace string, version int) *v1alpha1.MeshTLSAuthentication {
	return &v1alpha1.MeshTLSAuthentication{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "web"},
		Spec:       v1alpha1.MeshTLSAuthenticationSpec{Identities: []string{fmt.Sprintf("td/ns/shop/sa/client-%d", version)}},
	}
}

// flip changes whom the pods of ns-7 let in, and answers all of them again.
func flip(tb testing.TB, s *Store, snap *Snapshot, version, pods int) {
	change := s.Apply(Event{Object: callers("ns-7", version)})
	if len(change.Pods) != pods || change.Snapshot || len(change.Addrs) > 0 {
		tb.Fatalf("change of %d pods, %d addresses, policy %v; want %d pods alone", len(change.Pods), len(change.Addrs),
			change.Snapshot, pods)
	}
	for _, p := range change.Pods {
		in := Resolve(s, snap, QueryFor(s, snap, mesh.Target{}, mesh.Client{Namespace: p.Namespace, Pod: p.Name})).Inbound
		if len(in.Ports[8080].Authorizations) != 1 {
			tb.Fatalf("%v: %+v, want one authorization", p, in.Ports[8080])
		}
	}
}

// BenchmarkAuthenticationChange is one MeshTLSAuthentication that changes, and the answers of all pods that follow from
// it.
func BenchmarkAuthenticationChange(b *testing.B) {
	for _, namespaces := range []int{10, 100} {
		for _, pods := range []int{10, 100} {
			b.Run(fmt.Sprintf("namespaces=%d/pods-of-each=%d", namespaces, pods), func(b *testing.B) {
				s := guarded(namespaces, pods)
				snap := BuildSnapshot(s)
				b.ReportAllocs()
				for n := 1; b.Loop(); n++ {
					flip(b, s, snap, n, pods)
				}
			})
		}
	}
	b.Run("namespaces=8/pods-of-each=1000", func(b *testing.B) {
		s := guarded(8, 1000)
		snap := BuildSnapshot(s)
		b.ReportAllocs()
		for n := 1; b.Loop(); n++ {
			flip(b, s, snap, n, 1000)
		}
	})
}

// TestAuthenticationChangeAllocatesTheSameInAnyCluster counts allocations, which unlike time are nearly the same on
// every machine.
func TestAuthenticationChangeAllocatesTheSameInAnyCluster(t *testing.T) {
	cost := func(namespaces int) float64 {
		s := guarded(namespaces, 10)
		snap := BuildSnapshot(s)
		n := 0
		return alloctest.Count(t, 20, func() {
			n++
			flip(t, s, snap, n, 10)
		})
	}
	if small, large := cost(8), cost(200); large > small*1.2 {
		t.Errorf("%v allocations among 8 namespaces, %v among 200; want about the same", small, large)
	}
}
