package e2e

import (
	"strings"
	"testing"
	"time"
)

// TestUninstallLeavesNothing takes the mesh away, so its file comes last.
func TestUninstallLeavesNothing(t *testing.T) {
	if out, err := run(time.Minute, nil, env.tulle, "uninstall"); err == nil ||
		!strings.Contains(err.Error(), "still have a proxy") {
		t.Fatalf("with meshed pods: %v, printed %d bytes; want a refusal that names them", err, len(out))
	}
	quietCalls.Wait()
	mustKubectl(t, "delete", "namespace", appNS, workNS, clientsNS, clientsBareNS, tracesNS, "--ignore-not-found")
	manifests, err := run(time.Minute, nil, env.tulle, "uninstall")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kubectlIn(manifests, "delete", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	const kinds = "namespaces,clusterroles,clusterrolebindings,mutatingwebhookconfigurations," +
		"validatingwebhookconfigurations," +
		"validatingadmissionpolicies,validatingadmissionpolicybindings,customresourcedefinitions,apiservices," +
		"configmaps,secrets,serviceaccounts,roles,rolebindings,services,deployments,leases"
	for _, list := range [][]string{
		{"get", kinds, "-A", "-o", "name", "-l", "linkerd.io/control-plane-ns"},
		{"get", kinds, "-A", "-o", "name"},
	} {
		for object := range strings.FieldsSeq(mustKubectl(t, list...)) {
			if len(list) > 5 || strings.Contains(object, "tulle") || strings.Contains(object, "linkerd") {
				t.Errorf("%s is left", object)
			}
		}
	}
	// No webhook stands in the way of new pods.
	mustKubectl(t, "-n", bareNS, "rollout", "restart", "deployment/server")
	mustKubectl(t, "-n", bareNS, "rollout", "status", "deployment/server", "--timeout=120s")
}
