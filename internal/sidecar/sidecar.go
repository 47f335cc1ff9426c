// Package sidecar is what a pod's object says about its proxy.
//
// It owns which container is the proxy, whether it runs, its ports and who may watch it. The one idea: a native sidecar
// is an init container, so nobody else looks for the proxy in a pod.
package sidecar

import (
	"encoding/json"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/mesh"
)

// Of returns the proxy's container, native sidecar or not, or nil.
func Of(pod *corev1.Pod) *corev1.Container {
	for _, containers := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range containers {
			if containers[i].Name == mesh.ProxyContainer {
				return &containers[i]
			}
		}
	}
	return nil
}

// AdminPort returns the admin port of the pod's proxy, or 0 without one.
func AdminPort(pod *corev1.Pod) int {
	if proxy := Of(pod); proxy != nil {
		return ContainerPort(proxy, "tulle-admin", mesh.AdminPort)
	}
	return 0
}

// ContainerPort returns the port of a container that has a name, or fallback.
func ContainerPort(c *corev1.Container, name string, fallback int) int {
	for _, p := range c.Ports {
		if p.Name == name {
			return int(p.ContainerPort)
		}
	}
	return fallback
}

// Running reports whether the pod has a proxy that runs. A pod whose status does not list the proxy's container counts
// by its phase.
func Running(pod *corev1.Pod) bool {
	if Of(pod) == nil || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return false
	}
	for _, s := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if s.Name == mesh.ProxyContainer {
			return s.State.Running != nil
		}
	}
	return pod.Status.Phase == corev1.PodRunning
}

// TapID returns the SPIFFE ID of the workload that may watch the requests of the pod's proxy, or "" if nobody may. It
// reads what the injector told the proxy, of any release.
func TapID(pod *corev1.Pod) string {
	proxy := Of(pod)
	if proxy == nil {
		return ""
	}
	for _, env := range proxy.Env {
		if env.Name == mesh.ProxyConfigEnv {
			var config struct {
				TapID string `json:"tapID"`
			}
			if json.Unmarshal([]byte(env.Value), &config) == nil {
				return config.TapID
			}
		}
	}
	return ""
}
