package sidecar

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/mesh"
)

func TestAdminPort(t *testing.T) {
	port := []corev1.ContainerPort{{Name: "tulle-admin", ContainerPort: 5191}}
	proxy := corev1.Container{Name: mesh.ProxyContainer, Ports: port}
	for name, test := range map[string]struct {
		spec corev1.PodSpec
		want int
	}{
		"a native sidecar": {corev1.PodSpec{InitContainers: []corev1.Container{proxy}}, 5191},
		"a container":      {corev1.PodSpec{Containers: []corev1.Container{proxy}}, 5191},
		"no port":          {corev1.PodSpec{Containers: []corev1.Container{{Name: mesh.ProxyContainer}}}, mesh.AdminPort},
		"no proxy":         {corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Ports: port}}}, 0},
	} {
		if got := AdminPort(&corev1.Pod{Spec: test.spec}); got != test.want {
			t.Errorf("%s: admin port %d, want %d", name, got, test.want)
		}
	}
}

func TestRunning(t *testing.T) {
	spec := corev1.PodSpec{InitContainers: []corev1.Container{{Name: mesh.ProxyContainer}}}
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	status := func(phase corev1.PodPhase, name string, state corev1.ContainerState) corev1.PodStatus {
		return corev1.PodStatus{Phase: phase,
			InitContainerStatuses: []corev1.ContainerStatus{{Name: name, State: state}}}
	}
	for name, test := range map[string]struct {
		pod  corev1.Pod
		want bool
	}{
		"a proxy that runs": {corev1.Pod{Spec: spec, Status: status(corev1.PodRunning, mesh.ProxyContainer, running)}, true},
		"init containers of the application still run": {
			corev1.Pod{Spec: spec, Status: status(corev1.PodPending, mesh.ProxyContainer, running)}, true},
		"a proxy that crashed": {
			corev1.Pod{Spec: spec, Status: status(corev1.PodRunning, mesh.ProxyContainer, corev1.ContainerState{})}, false},
		"no status of the proxy": {corev1.Pod{Spec: spec, Status: corev1.PodStatus{Phase: corev1.PodRunning}}, true},
		"a pod that ended":       {corev1.Pod{Spec: spec, Status: corev1.PodStatus{Phase: corev1.PodSucceeded}}, false},
		"no proxy":               {corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodRunning}}, false},
	} {
		if got := Running(&test.pod); got != test.want {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
	}
}

func TestTapID(t *testing.T) {
	const id = "spiffe://cluster.local/ns/tulle-viz/sa/tap"
	for name, test := range map[string]struct{ config, want string }{
		"tap is on":             {`{"tapID":"` + id + `"}`, id},
		"tap is off":            {`{"adminPort":4191}`, ""},
		"a field of later":      {`{"tapID":"` + id + `","later":[1]}`, id},
		"what is not JSON":      {`{`, ""},
		"an identity of a kind": {`{"tapID":1}`, ""},
	} {
		proxy := corev1.Container{Name: mesh.ProxyContainer,
			Env: []corev1.EnvVar{{Name: "OTHER"}, {Name: mesh.ProxyConfigEnv, Value: test.config}}}
		if got := TapID(&corev1.Pod{Spec: corev1.PodSpec{InitContainers: []corev1.Container{proxy}}}); got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
	if got := TapID(&corev1.Pod{}); got != "" {
		t.Errorf("a pod without a proxy: got %q", got)
	}
}
