package podowner

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestOwner(t *testing.T) {
	controller := true
	for _, tt := range []struct {
		name, kind, owner string
		labels            map[string]string
		want              string
		all               map[string]string
	}{
		{"of nothing", "", "", nil, "/", map[string]string{}},
		{"a Deployment's ReplicaSet", "ReplicaSet", "web-5d8f", map[string]string{TemplateHashLabel: "5d8f"},
			"deployment/web", map[string]string{"replicaset": "web-5d8f", "deployment": "web"}},
		{"a ReplicaSet of its own", "ReplicaSet", "web-5d8f", nil,
			"replicaset/web-5d8f", map[string]string{"replicaset": "web-5d8f"}},
		{"a CronJob's Job", "Job", "report-29381040", nil,
			"job/report-29381040", map[string]string{"job": "report-29381040", "cronjob": "report"}},
		{"a Job of its own", "Job", "report-2", nil, "job/report-2", map[string]string{"job": "report-2"}},
		{"the injector's label", "Rollout", "web", map[string]string{"linkerd.io/proxy-deployment": "web"},
			"deployment/web", map[string]string{"rollout": "web", "deployment": "web"}},
	} {
		p := &corev1.Pod{}
		p.Labels = tt.labels
		if tt.kind != "" {
			p.OwnerReferences = []metav1.OwnerReference{{Kind: tt.kind, Name: tt.owner, Controller: &controller}}
		}
		kind, name := Of(p)
		if got := kind + "/" + name; got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
		if diff := cmp.Diff(tt.all, All(p)); diff != "" {
			t.Errorf("%s: all (-want +got):\n%s", tt.name, diff)
		}
	}
}
