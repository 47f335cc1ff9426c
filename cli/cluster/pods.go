package cluster

import (
	"context"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/internal/sidecar"
)

// Finished reports whether a pod has ended.
func Finished(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// ControllerAdminPort returns the admin port of a control-plane pod, or 0.
func ControllerAdminPort(pod *corev1.Pod) int {
	for i := range pod.Spec.Containers {
		if port := sidecar.ContainerPort(&pod.Spec.Containers[i], "admin", 0); port != 0 {
			return port
		}
	}
	return 0
}

// Abbreviate joins names, at most ten of them.
func Abbreviate(names []string) string {
	const most = 10
	if extra := len(names) - most; extra > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), extra)
	}
	return strings.Join(names, ", ")
}

// Versions counts the living pods of a selector by version; namespace "" is all.
func Versions(ctx context.Context, cl *Client, namespace, selector string,
	versionOf func(metav1.ObjectMeta) string) (map[string]int, error) {
	pods, err := cl.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, err
	}
	versions := map[string]int{}
	for i := range pods.Items {
		if v := versionOf(pods.Items[i].ObjectMeta); v != "" && !Finished(&pods.Items[i]) {
			versions[v]++
		}
	}
	return versions, nil
}
