package compile

import (
	"cmp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/mesh"
)

const podTemplateHashLabel = "pod-template-hash"

// ownerLabelPrefix begins the label with which the injector records a meshed pod's owner: linkerd.io/proxy-<kind>:
// <name>.
const ownerLabelPrefix = "linkerd.io/proxy-"

// PodRef returns what metrics and tap say about the pod.
func PodRef(o *corev1.Pod) mesh.PodRef {
	kind, owner := podOwner(o)
	return mesh.PodRef{
		Namespace:       o.Namespace,
		Name:            o.Name,
		ServiceAccount:  cmp.Or(o.Spec.ServiceAccountName, "default"),
		OwnerKind:       kind,
		OwnerName:       owner,
		PodTemplateHash: o.Labels[podTemplateHashLabel],
		ControlPlaneNS:  o.Labels[mesh.ControlPlaneNSLabel],
	}
}

// podOwner returns the workload that a person would name. The injector asked the API server and left a label; without
// it, a ReplicaSet whose name ends with the template's hash is a Deployment's.
func podOwner(o *corev1.Pod) (kind, owner string) {
	for _, kind := range []string{"deployment", "statefulset", "daemonset", "cronjob", "job", "replicaset",
		"replicationcontroller"} {
		if n := o.Labels[ownerLabelPrefix+kind]; n != "" {
			return kind, n
		}
	}
	ref := metav1.GetControllerOfNoCopy(o)
	if ref == nil {
		return "", ""
	}
	if hash := o.Labels[podTemplateHashLabel]; ref.Kind == "ReplicaSet" && hash != "" {
		if deployment, ok := strings.CutSuffix(ref.Name, "-"+hash); ok {
			return "deployment", deployment
		}
	}
	return strings.ToLower(ref.Kind), ref.Name
}
