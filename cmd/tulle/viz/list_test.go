package viz

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
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
