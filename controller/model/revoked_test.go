package model

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/mesh"
)

// TestRevokedPeersReachEveryPod: the control plane's namespace says whom all pods refuse, no other namespace does. A
// mistake takes no other entry away, and is reported once. Who is revoked stays so when the namespace is deleted.
func TestRevokedPeersReachEveryPod(t *testing.T) {
	config := testConfig()
	config.ControlPlaneNamespace = "tulle"
	s := New(config)
	s.Apply(Event{Object: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1"}}})
	apply := func(namespace, value string, deleted bool) Change {
		return s.Apply(Event{Deleted: deleted, Object: &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace,
			Annotations: map[string]string{mesh.RevokedAnnotation: value}}}})
	}
	revoked := func() string {
		snap := BuildSnapshot(s)
		q := QueryFor(s, snap, mesh.Target{}, mesh.Client{Namespace: "shop", Pod: "web-1"})
		return strings.Join(Resolve(s, snap, q).Inbound.Revoked.Entries(), ",")
	}
	for _, step := range []struct {
		name, namespace, value string
		deleted                bool
		snapshot               bool
		problems               int
		want                   string
	}{
		{"another namespace", "shop", "serial:1f", false, true, 0, ""},
		{"the control plane's", "tulle", "serial:1f,serviceaccount:shop/cart", false, true, 0,
			"serial:1f,serviceaccount:shop/cart"},
		{"a mistake", "tulle", "serial:xyz,serial:1f,serviceaccount:shop/cart", false, false, 1,
			"serial:1f,serviceaccount:shop/cart"},
		{"the same mistake", "tulle", "serial:xyz,serviceaccount:shop/cart", false, true, 0, "serviceaccount:shop/cart"},
		{"deleted", "tulle", "", true, true, 0, "serviceaccount:shop/cart"},
		{"empty", "tulle", "", false, true, 0, ""},
	} {
		change := apply(step.namespace, step.value, step.deleted)
		if got := revoked(); got != step.want || len(change.Problems) != step.problems ||
			step.want != "" && change.Snapshot != step.snapshot {
			t.Errorf("%s: got %q, %d problems, snapshot %v; want %q, %d, %v", step.name, got, len(change.Problems),
				change.Snapshot, step.want, step.problems, step.snapshot)
		}
	}
}
