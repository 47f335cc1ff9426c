// Package podowner finds the workload that a pod belongs to.
//
// It owns the label in which the injector records it, and what the names of a pod's owner references say. It must not
// import any package of the mesh, so that metrics, tap and the commands name the same workload. The one idea: the pod
// alone is read, never the API server.
package podowner

import (
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// LabelPrefix begins the label in which the injector records a meshed pod's owner: linkerd.io/proxy-<kind>: <name>. The
// injector asks the API server who made a pod's ReplicaSet or Job. But labels can be changed later, so one counts only
// if the pod's owner references bear it out.
const LabelPrefix = "linkerd.io/proxy-"

// TemplateHashLabel is the label of a Deployment's pods with which the name of their ReplicaSet ends.
const TemplateHashLabel = "pod-template-hash"

// kinds are those that the injector records, the one that a person would name first.
var kinds = []string{"deployment", "statefulset", "daemonset", "cronjob", "job", "replicaset", "replicationcontroller"}

// cronJobTime ends the name of a CronJob's Job: the minute for which it was made.
var cronJobTime = regexp.MustCompile(`-[0-9]{8,}$`)

// Of returns the workload that a person would name, with its kind in lower case, or "" and "" for a pod without one. A
// ReplicaSet whose name ends with the template's hash is a Deployment's.
func Of(pod *corev1.Pod) (kind, name string) {
	ref := metav1.GetControllerOfNoCopy(pod)
	if ref == nil {
		return "", ""
	}
	for _, kind := range kinds {
		if name := pod.Labels[LabelPrefix+kind]; borneOut(ref, kind, name) {
			return kind, name
		}
	}
	if name := deployment(pod, ref); name != "" {
		return "deployment", name
	}
	return strings.ToLower(ref.Kind), ref.Name
}

// All returns the names of everything that made the pod, by kind in lower case: a Deployment and its ReplicaSet, a
// CronJob and its Job.
func All(pod *corev1.Pod) map[string]string {
	out := map[string]string{}
	ref := metav1.GetControllerOfNoCopy(pod)
	if ref == nil {
		return out
	}
	out[strings.ToLower(ref.Kind)] = ref.Name
	if name := deployment(pod, ref); name != "" {
		out["deployment"] = name
	}
	if at := cronJobTime.FindStringIndex(ref.Name); at != nil && ref.Kind == "Job" {
		out["cronjob"] = ref.Name[:at[0]]
	}
	for _, kind := range kinds {
		if name := pod.Labels[LabelPrefix+kind]; borneOut(ref, kind, name) {
			out[kind] = name
		}
	}
	return out
}

// Labelled returns the workload in the pod's label, of any kind, whose pods that label selects; "" and "" without one
// that the owner references bear out.
func Labelled(pod *corev1.Pod) (kind, name string) {
	ref := metav1.GetControllerOfNoCopy(pod)
	if ref == nil {
		return "", ""
	}
	for key, value := range pod.Labels {
		found, ok := strings.CutPrefix(key, LabelPrefix)
		if ok && borneOut(ref, found, value) && (kind == "" || found < kind) {
			kind, name = found, value
		}
	}
	return kind, name
}

// borneOut reports whether a pod with this controller can belong to a workload: to the controller itself, or to one
// that made the ReplicaSet or Job, whose name then begins with that of its maker.
func borneOut(controller *metav1.OwnerReference, kind, name string) bool {
	switch own := strings.ToLower(controller.Kind); {
	case name == "":
		return false
	case kind == own:
		return name == controller.Name
	case slices.Contains(kinds, kind) && makers[own] != kind, makers[own] == "":
		return false
	}
	return strings.HasPrefix(controller.Name, name+"-")
}

// makers are the kinds of Kubernetes's own that make ReplicaSets and Jobs.
var makers = map[string]string{"replicaset": "deployment", "job": "cronjob"}

// deployment returns the Deployment of the pod's ReplicaSet, or "".
func deployment(pod *corev1.Pod, controller *metav1.OwnerReference) string {
	hash := pod.Labels[TemplateHashLabel]
	name, found := strings.CutSuffix(controller.Name, "-"+hash)
	if controller.Kind != "ReplicaSet" || hash == "" || !found {
		return ""
	}
	return name
}
