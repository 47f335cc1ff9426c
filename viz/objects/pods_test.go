package objects

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestOwners(t *testing.T) {
	controller := true
	for _, tt := range []struct {
		name, kind, owner string
		labels            map[string]string
		want              map[string]string
	}{
		{"of nothing", "", "", nil, map[string]string{}},
		{"a Deployment's ReplicaSet", "ReplicaSet", "web-5d8f", map[string]string{"pod-template-hash": "5d8f"},
			map[string]string{"replicaset": "web-5d8f", "deployment": "web"}},
		{"a ReplicaSet of its own", "ReplicaSet", "web-5d8f", nil, map[string]string{"replicaset": "web-5d8f"}},
		{"a CronJob's Job", "Job", "report-29381040", nil, map[string]string{"job": "report-29381040", "cronjob": "report"}},
		{"a Job of its own", "Job", "report-2", nil, map[string]string{"job": "report-2"}},
		{"the injector's label", "Rollout", "web", map[string]string{"linkerd.io/proxy-deployment": "web"},
			map[string]string{"rollout": "web", "deployment": "web"}},
	} {
		p := &corev1.Pod{}
		p.Labels = tt.labels
		if tt.kind != "" {
			p.OwnerReferences = []metav1.OwnerReference{{Kind: tt.kind, Name: tt.owner, Controller: &controller}}
		}
		if diff := cmp.Diff(tt.want, owners(p)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestStatus(t *testing.T) {
	waiting := func(reason string) corev1.ContainerStatus {
		return corev1.ContainerStatus{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}}
	}
	for want, p := range map[string]corev1.Pod{
		"Running":     {Status: corev1.PodStatus{Phase: corev1.PodRunning}},
		"Evicted":     {Status: corev1.PodStatus{Phase: corev1.PodFailed, Reason: "Evicted"}},
		"Terminating": {ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: &metav1.Time{}}},
		"CrashLoopBackOff": {Status: corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{
			waiting("PodInitializing"), waiting("CrashLoopBackOff")}}},
	} {
		if got := status(&p); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
