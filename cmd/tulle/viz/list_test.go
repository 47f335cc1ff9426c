package viz

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/fake"
	metadatafake "k8s.io/client-go/metadata/fake"

	"github.com/tulle-mesh/tulle/mesh"
)

func TestList(t *testing.T) {
	b := shop(t)
	disabled, pending := pod("shop", "quiet", "a", "v1"), pod("shop", "late", "a", "v1")
	ended := pod("shop", "done", "a", "v1")
	disabled.Spec.InitContainers[0].Env = nil
	pending.Status.Phase, ended.Status.Phase = corev1.PodPending, corev1.PodSucceeded
	b.pods = append(b.pods, disabled, pending, ended)
	golden(t, "list.txt", b.run(t, "shop", "list"))
	golden(t, "list-all.txt", b.run(t, "shop", "list", "-A"))
}

func TestListOfNothing(t *testing.T) {
	if r := shop(t).run(t, "empty", "list"); r.fault != nil || r.out != "" || r.err != "No pods found.\n" {
		t.Errorf("stdout %q, stderr %q, error %v; want No pods found.", r.out, r.err, r.fault)
	}
	if r := shop(t).run(t, "shob", "list"); r.fault == nil || !strings.Contains(r.fault.Error(), `did you mean "shop"?`) {
		t.Errorf("a namespace that does not exist: error %v", r.fault)
	}
	if r := shop(t).run(t, "shop", "list", "deploy"); r.fault == nil ||
		!strings.Contains(r.fault.Error(), "takes no arguments") {
		t.Errorf("an argument: error %v", r.fault)
	}
}

// TestListAfterTheExtensionWasRemoved lists pods of an installation that no tap serves: those that still let the former
// one watch are named with its identity.
func TestListAfterTheExtensionWasRemoved(t *testing.T) {
	b := shop(t)
	b.pods[0].Spec.InitContainers[0].Env = nil
	b.react = func(typed *fake.Clientset, _ *metadatafake.FakeMetadataClient) {
		config := &corev1.ConfigMap{Data: map[string]string{"values": ""}}
		config.Namespace, config.Name = mesh.ControlPlaneNamespace, mesh.InstallConfigMap
		if err := typed.Tracker().Add(config); err != nil {
			t.Fatal(err)
		}
	}
	golden(t, "list-outdated.txt", b.run(t, "shop", "list"))
}
