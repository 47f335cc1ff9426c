package cluster

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

func TestParseResource(t *testing.T) {
	for name, test := range map[string]struct {
		args       []string
		kind, name string
		err        string
	}{
		"a short kind":     {[]string{"deploy/web"}, "deployment", "web", ""},
		"a kind in plural": {[]string{"Deployments/web"}, "deployment", "web", ""},
		"two words":        {[]string{"po", "web-1"}, "pod", "web-1", ""},
		"a name alone":     {[]string{"web"}, "", "", "want kind/name, such as deploy/web"},
		"another kind":     {[]string{"node/a"}, "", "", `"node" is not a kind that has pods`},
	} {
		kind, resource, err := ParseResource(test.args)
		if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: error %v, want %q", name, err, test.err)
		}
		if kind != test.kind || resource != test.name {
			t.Errorf("%s: got %s %s, want %s %s", name, kind, resource, test.kind, test.name)
		}
	}
}

func TestPodsOf(t *testing.T) {
	labels := map[string]string{"app": "web"}
	pod := func(name string, phase corev1.PodPhase) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop", Labels: labels},
			Status:     corev1.PodStatus{Phase: phase},
		}
	}
	meta := metav1.ObjectMeta{Name: "web", Namespace: "shop"}
	cl := &Client{Namespace: "shop", Interface: fake.NewClientset(
		pod("web-2", corev1.PodRunning), pod("web-1", corev1.PodPending), pod("web-0", corev1.PodSucceeded),
		&appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
		}},
		&corev1.Service{ObjectMeta: meta},
	)}
	for name, test := range map[string]struct {
		kind, name string
		want       []string
		err        string
	}{
		"a Deployment":               {"deployment", "web", []string{"web-1", "web-2"}, ""},
		"a pod":                      {"pod", "web-2", []string{"web-2"}, ""},
		"a pod that has ended":       {"pod", "web-0", nil, "no pod web-0 runs in namespace shop"},
		"a namespace":                {"namespace", "shop", []string{"web-1", "web-2"}, ""},
		"a Deployment not there":     {"deployment", "gone", nil, "not found in namespace shop; -n names another"},
		"a Service without selector": {"service", "web", nil, "service/web: the Service has no selector"},
	} {
		pods, err := PodsOf(t.Context(), cl, test.kind, test.name)
		if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: error %v, want %q", name, err, test.err)
		}
		var got []string
		for _, p := range pods {
			got = append(got, p.Name)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: pods (-want +got):\n%s", name, diff)
		}
	}
}

func TestAbbreviate(t *testing.T) {
	names := slices.Repeat([]string{"a"}, 10)
	if got, want := Abbreviate(names), strings.Join(names, ", "); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := Abbreviate(append(names, "b", "c")), strings.Join(names, ", ")+" and 2 more"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
