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
		{"the injector's label", "ReplicaSet", "web-5d8f", map[string]string{"linkerd.io/proxy-deployment": "web"},
			"deployment/web", map[string]string{"replicaset": "web-5d8f", "deployment": "web"}},
		{"the injector's label of a Job", "Job", "report-x", map[string]string{"linkerd.io/proxy-cronjob": "report"},
			"cronjob/report", map[string]string{"job": "report-x", "cronjob": "report"}},
		{"a label of another Deployment", "ReplicaSet", "web-5d8f", map[string]string{"linkerd.io/proxy-deployment": "pay"},
			"replicaset/web-5d8f", map[string]string{"replicaset": "web-5d8f"}},
		{"a label of another kind", "StatefulSet", "db", map[string]string{"linkerd.io/proxy-deployment": "db"},
			"statefulset/db", map[string]string{"statefulset": "db"}},
		{"a label of a kind that makes no ReplicaSets", "ReplicaSet", "db-1",
			map[string]string{"linkerd.io/proxy-statefulset": "db"}, "replicaset/db-1", map[string]string{"replicaset": "db-1"}},
		{"a label of another StatefulSet", "StatefulSet", "db", map[string]string{"linkerd.io/proxy-statefulset": "pay"},
			"statefulset/db", map[string]string{"statefulset": "db"}},
		{"a label without an owner", "", "", map[string]string{"linkerd.io/proxy-deployment": "web"}, "/",
			map[string]string{}},
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

func TestLabelled(t *testing.T) {
	controller := true
	for name, tt := range map[string]struct {
		kind, owner string
		labels      map[string]string
		want        string
	}{
		"a custom kind's ReplicaSet": {"ReplicaSet", "web-5d8f", map[string]string{"linkerd.io/proxy-rollout": "web"},
			"rollout/web"},
		"several": {"ReplicaSet", "a-b-5d8f",
			map[string]string{"linkerd.io/proxy-rollout": "a", "linkerd.io/proxy-x": "a-b"}, "rollout/a"},
		"another workload's":  {"ReplicaSet", "web-5d8f", map[string]string{"linkerd.io/proxy-rollout": "pay"}, "/"},
		"no label":            {"ReplicaSet", "web-5d8f", map[string]string{TemplateHashLabel: "5d8f"}, "/"},
		"a label, no owner":   {"", "", map[string]string{"linkerd.io/proxy-deployment": "web"}, "/"},
		"a custom controller": {"Rollout", "web", map[string]string{"linkerd.io/proxy-rollout": "web"}, "rollout/web"},
	} {
		p := &corev1.Pod{}
		p.Labels = tt.labels
		if tt.kind != "" {
			p.OwnerReferences = []metav1.OwnerReference{{Kind: tt.kind, Name: tt.owner, Controller: &controller}}
		}
		kind, owner := Labelled(p)
		if got := kind + "/" + owner; got != tt.want {
			t.Errorf("%s: got %s, want %s", name, got, tt.want)
		}
	}
}
