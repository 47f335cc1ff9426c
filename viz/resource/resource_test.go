package resource

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseKind(t *testing.T) {
	for in, want := range map[string]string{
		"ns": "namespace", "namespaces": "namespace", "deploy": "deployment", "Deployment": "deployment",
		"deployments.apps": "deployment", "sts": "statefulset", "ds": "daemonset", "rs": "replicaset", "jobs": "job",
		"cj": "cronjob", "po": "pod", "svc": "service", "au": "authority", "authorities": "authority", "srv": "server",
		"servers.policy.linkerd.io": "server", "saz": "serverauthorization", "serverauthz": "serverauthorization",
		"srvauthz": "serverauthorization", "authzpolicy": "authorizationpolicy", "httproutes": "httproute",
		"httproute.policy.linkerd.io": "httproute", "grpcroute.gateway.networking.k8s.io": "grpcroute",
		"rc": "replicationcontroller",
	} {
		if k, err := ParseKind(in); err != nil || k.Name != want {
			t.Errorf("%q: got %q, error %v; want %q", in, k.Name, err, want)
		}
	}
	for in, want := range map[string]string{
		"deployments.batch": "want one of", "deploymnt": `did you mean "deployment"?`, "": "want one of",
	} {
		if _, err := ParseKind(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", in, err, want)
		}
	}
}

// TestNamesAreUnique holds each way to write a kind against the others.
func TestNamesAreUnique(t *testing.T) {
	seen := map[string]string{}
	for _, k := range Kinds() {
		for _, name := range append([]string{k.Name, k.Plural}, k.Short...) {
			if other, ok := seen[name]; ok && other != k.Name {
				t.Errorf("%q is both %s and %s", name, other, k.Name)
			}
			seen[name] = k.Name
		}
	}
}

func TestParse(t *testing.T) {
	for in, want := range map[string]map[string][]string{
		"deploy":                           {"deployment": nil},
		"deploy web api":                   {"deployment": {"web", "api"}},
		"deploy/web po/a deploy/api":       {"deployment": {"web", "api"}, "pod": {"a"}},
		"deploy/web deployment/web po/web": {"deployment": {"web"}, "pod": {"web"}},
	} {
		targets, err := Parse(strings.Fields(in))
		got := map[string][]string{}
		for _, target := range targets {
			got[target.Kind.Name] = append(got[target.Kind.Name], target.Names...)
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b []string) bool {
			return strings.Join(a, " ") == strings.Join(b, " ")
		})); diff != "" || err != nil {
			t.Errorf("%q: error %v (-want +got):\n%s", in, err, diff)
		}
	}
}

func TestMeshedCountsLivingPods(t *testing.T) {
	o := Object{Pods: []Pod{{Meshed: true}, {Meshed: true, Finished: true}, {}}}
	if meshed, total := o.Meshed(); meshed != 1 || total != 2 {
		t.Errorf("got %d/%d, want 1/2", meshed, total)
	}
}
