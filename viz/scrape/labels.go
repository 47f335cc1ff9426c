package scrape

import (
	"net"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/internal/sidecar"
	"github.com/tulle-mesh/tulle/viz/metrics"
)

// targetLabels are the labels that come from the pod alone: a proxy never writes them. The kinds are those of owners
// that the injector records.
var targetLabels = []string{"job", "instance", "namespace", "pod", "deployment", "statefulset", "daemonset",
	"replicaset",
	"k8s_job", "cronjob", "replicationcontroller", "control_plane_ns", "workload_ns"}

// Labels returns the labels that Prometheus gives to all series of the pod's proxy: docs/dashboards.md has the rules.
// No label of the pod changes which job, instance, namespace and pod it is.
func Labels(pod *corev1.Pod) map[string]string {
	out := map[string]string{}
	for key, value := range pod.Labels {
		name, ours := strings.CutPrefix(key, "linkerd.io/")
		if !ours || value == "" {
			continue
		}
		owner, isOwner := strings.CutPrefix(name, "proxy-")
		switch {
		case owner == "job" && isOwner:
			out["k8s_job"] = value
		case isOwner:
			out[labelName(owner)] = value
		case out[labelName(name)] == "" || !slices.Contains(targetLabels, labelName(name)):
			out[labelName(name)] = value
		}
	}
	out["job"], out["namespace"], out["pod"] = "linkerd-proxy", pod.Namespace, pod.Name
	delete(out, "instance")
	if pod.Status.PodIP != "" {
		out["instance"] = net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(sidecar.AdminPort(pod)))
	}
	return out
}

// labelName replaces what a label's name cannot have, as Prometheus's service discovery does.
func labelName(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, s)
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
