package analyze

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestOutcomes finds what the statuses of objects would say, and with files alone nothing that another file could
// change.
func TestOutcomes(t *testing.T) {
	const (
		service = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 80}]}\n---\n"
		route   = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: web}\n" +
			"spec: {parentRefs: [{group: \"\", kind: Service, name: web, port: 80}], rules: [{backendRefs: [%s]}]}\n---\n"
		server = "apiVersion: policy.linkerd.io/v1beta3\nkind: Server\nmetadata: {name: %s}\nspec: {podSelector: " +
			"{matchLabels: {app: web}}, port: 80}\n---\n"
		policy = "apiVersion: policy.linkerd.io/v1alpha1\nkind: AuthorizationPolicy\nmetadata: {name: web}\n" +
			"spec: {targetRef: {group: policy.linkerd.io, kind: Server, name: web}, " +
			"requiredAuthenticationRefs: [{group: policy.linkerd.io, kind: MeshTLSAuthentication, name: web}]}\n---\n"
		profile = "apiVersion: linkerd.io/v1alpha2\nkind: ServiceProfile\nmetadata: {name: " +
			"web.shop.svc.example.org}\nspec: {routes: []}\n---\n"
	)
	backend := func(refs string) string { return service + fmt.Sprintf(route, refs) }
	for name, test := range map[string]struct {
		manifests     string
		whole, alone  []string // codes of findings: of a whole cluster, and of files alone
		clusterDomain string
	}{
		"a route that works":        {backend("{name: web, port: 80}"), nil, nil, ""},
		"a backend that is missing": {backend("{name: gone, port: 80}"), []string{"BackendMissing"}, nil, ""},
		"a backend's port": {backend("{name: web, port: 81}"), []string{"BackendPort"},
			[]string{"BackendPort"}, ""},
		"a backend of another kind": {backend("{kind: ConfigMap, name: web, port: 80}"), []string{"BackendKind"},
			[]string{"BackendKind"}, ""},
		"a backend elsewhere": {backend("{name: web, namespace: other, port: 80}"),
			[]string{"BackendNotGranted"}, nil, ""},
		"a parent that is missing": {fmt.Sprintf(route, "{name: web, port: 80}"),
			[]string{"BackendMissing", "ParentMissing"}, nil, ""},
		"two Servers of one port": {fmt.Sprintf(server, "a") + fmt.Sprintf(server, "b"), []string{"ServerOverlap"},
			[]string{"ServerOverlap"}, ""},
		"a policy's target":        {policy, []string{"AuthenticationMissing", "TargetMissing"}, nil, ""},
		"a profile":                {service + profile, nil, nil, ""},
		"a profile of the cluster": {service + profile, nil, nil, "example.org"},
		"a profile of another domain": {service + profile, []string{"ProfileName"}, []string{"ProfileName"},
			"cluster.local"},
		"a profile of a Service not there": {profile, []string{"ServiceMissing"}, nil, ""},
		"an object that is not of its kind": {"apiVersion: policy.linkerd.io/v1beta3\nkind: Server\nmetadata: {name: " +
			"a}\nspec: {port: []}\n", nil, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			for alone, want := range map[bool][]string{false: test.whole, true: test.alone} {
				w := worldOf(t, test.manifests)
				w.Partial, w.Domain = alone, test.clusterDomain
				checkOutcomes(w)
				var got []string
				for _, f := range w.findings {
					got = append(got, f.Code)
				}
				slices.Sort(got)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("files alone: %t: codes (-want +got):\n%s\n%v", alone, diff, w.findings)
				}
			}
		})
	}
}

// TestFilesAreYoungerThanTheCluster lets a Server of the cluster win over one of a file, which nobody has applied yet.
func TestFilesAreYoungerThanTheCluster(t *testing.T) {
	spec := "spec: {podSelector: {matchLabels: {app: web}}, port: 80}\n---\n"
	w := worldOf(t, "apiVersion: policy.linkerd.io/v1beta3\nkind: Server\nmetadata: {name: a-of-a-file}\n"+spec+
		"apiVersion: policy.linkerd.io/v1beta3\nkind: Server\nmetadata: {name: live, creationTimestamp: "+
		"\"2026-11-21T00:00:00Z\"}\n"+spec)
	w.Now = time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC)
	want := []string{"Server/a-of-a-file: older Servers select the same port of the same pods and take precedence: live"}
	if diff := cmp.Diff(want, found(w, "ServerOverlap")); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}
