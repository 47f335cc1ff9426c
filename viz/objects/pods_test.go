package objects

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

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
