package kube

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
)

// An object that cannot be decoded, and a kind without objects take nothing from the others.
func TestConfigurationIsReadOnce(t *testing.T) {
	c := newCluster(t)
	c.create("web", "spec: {color: blue}")
	c.create("broken", "spec: {rules: 5}")
	events, err := readConfiguration(t.Context(), c.objects, everywhere)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range events {
		got = append(got, describe(e))
	}
	if want := []string{"+ web/1 spec.color"}; !slices.Equal(got, want) {
		t.Errorf("read %q, want %q", got, want)
	}
}

// TestPlacesAreReadAlone: what is asked for of one namespace, or not at all, is not read elsewhere.
func TestPlacesAreReadAlone(t *testing.T) {
	pod := func(namespace string) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "web"},
			Spec: corev1.PodSpec{Tolerations: []corev1.Toleration{{Key: "not read"}}}}
	}
	client := fake.NewClientset(pod("shop"), pod("pay"),
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "pay", Name: "api"}},
		&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node"}})
	events, err := ReadPlaces(t.Context(), Clients{Kubernetes: client, Dynamic: newCluster(t).objects},
		func(r schema.GroupResource) (string, bool) {
			switch r.Resource {
			case "pods":
				return "shop", true
			case "services":
				return "", true
			}
			return "", false
		})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range events {
		got = append(got, e.Object.GetNamespace()+"/"+e.Object.GetName())
		if p, ok := e.Object.(*corev1.Pod); ok && p.Spec.Tolerations != nil {
			t.Errorf("the pod has what the model does not read: %v", p)
		}
	}
	if want := []string{"pay/api", "shop/web"}; !slices.Equal(got, want) {
		t.Errorf("read %q, want %q", got, want)
	}
}
