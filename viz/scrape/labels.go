package scrape

import (
	"maps"
	"net"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/internal/podowner"
	"github.com/tulle-mesh/tulle/internal/sidecar"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/metrics"
)

// podLabels are the labels of a pod that become labels of its series, and their names there. The injector writes them:
// where the pod belongs, and its owner. None may be a label of the proxy's own series, because a label of the target
// replaces it: the owner of a pod could invent its clients. A test of viz/install checks it.
var podLabels = map[string]string{
	podowner.LabelPrefix + "deployment":            "deployment",
	podowner.LabelPrefix + "statefulset":           "statefulset",
	podowner.LabelPrefix + "daemonset":             "daemonset",
	podowner.LabelPrefix + "replicaset":            "replicaset",
	podowner.LabelPrefix + "job":                   "k8s_job",
	podowner.LabelPrefix + "cronjob":               "cronjob",
	podowner.LabelPrefix + "replicationcontroller": "replicationcontroller",
	mesh.ControlPlaneNSLabel:                       "control_plane_ns",
	mesh.WorkloadNSLabel:                           "workload_ns",
}

// targetLabels are the labels that come from the pod alone: a proxy never writes them.
var targetLabels = slices.AppendSeq([]string{"job", "instance", "namespace", "pod"}, maps.Values(podLabels))

// Labels returns the labels that Prometheus gives to all series of the pod's proxy: docs/dashboards.md has the rules.
func Labels(pod *corev1.Pod) map[string]string {
	out := map[string]string{"job": "linkerd-proxy", "namespace": pod.Namespace, "pod": pod.Name}
	for key, name := range podLabels {
		if value := pod.Labels[key]; value != "" {
			out[name] = value
		}
	}
	if pod.Status.PodIP != "" {
		out["instance"] = net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(sidecar.AdminPort(pod)))
	}
	return out
}

// mayMatch reports whether a proxy with these labels can have a series that q asks for.
func mayMatch(q metrics.Query, labels map[string]string) bool {
	for _, m := range q.Match {
		value, known := labels[m.Label]
		known = known || slices.Contains(targetLabels, m.Label)
		if known && (value == m.Value) != (m.Op == metrics.Equal) {
			return false
		}
	}
	return true
}

// namespaces returns the namespaces that the queries are about, or "" alone for all. A user may have rights in one
// only.
func namespaces(queries []metrics.Query) []string {
	var all []string
	for _, q := range queries {
		i := slices.IndexFunc(q.Match, func(m metrics.Match) bool {
			return m.Label == "namespace" && m.Op == metrics.Equal && m.Value != ""
		})
		if i < 0 {
			return []string{""}
		}
		all = append(all, q.Match[i].Value)
	}
	slices.Sort(all)
	return slices.Compact(all)
}
