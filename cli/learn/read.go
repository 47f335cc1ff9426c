package learn

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/metrics"
)

// Workload is what clients call: the owner that the injector recorded for a pod, or a pod without an owner.
type Workload struct{ Namespace, Kind, Name string }

// String returns the workload as people write it, such as deploy/web.
func (w Workload) String() string {
	kind := w.Kind
	if short := map[string]string{"deployment": "deploy", "statefulset": "sts", "daemonset": "ds"}[kind]; short != "" {
		kind = short
	}
	return kind + "/" + w.Name
}

// Observation is the traffic of one client at one port of a workload, under one route, with one decision.
type Observation struct {
	Workload Workload
	Port     uint16
	// Server is the Server that decided. For a port without a Server it has only the kind "default". It is zero if it is
	// not known.
	Server mesh.Ref
	// Client is the identity of the client; zero for clients without identity.
	Client mesh.ID
	// Route is the route that the requests matched, without its namespace, which metrics do not show. It is zero for
	// connections that are not HTTP.
	Route mesh.Ref
	// Opaque means that Count counts connections that are not HTTP. Otherwise it counts requests.
	Opaque bool
	// Allowed means that policy allowed them.
	Allowed bool
	Count   float64
}

// routeName returns the route as kind/name; "" without.
func (o Observation) routeName() string {
	if o.Route.Name == "" {
		return ""
	}
	return strings.ToLower(o.Route.Kind) + "/" + o.Route.Name
}

// unit returns the singular of what Count counts.
func (o Observation) unit() string {
	if o.Opaque {
		return "connection"
	}
	return "request"
}

// Traffic holds the observations of a time window.
type Traffic struct {
	// Seen holds what the window counts.
	Seen []Observation
	// Earlier holds the clients that the proxies know, but the window does not count. They called before it, or only once:
	// Prometheus does not count the first sample of a series.
	Earlier []Observation
	// Notes are sentences about traffic that cannot be attributed.
	Notes []string
	// Partial means that the source of the numbers did not answer completely.
	Partial bool
}

// owners are the labels of metrics that name a pod's owner, by its kind.
var owners = []struct{ label, kind string }{
	{"deployment", "deployment"}, {"statefulset", "statefulset"}, {"daemonset", "daemonset"}, {"cronjob", "cronjob"},
	{"k8s_job", "job"}, {"replicaset", "replicaset"}, {"replicationcontroller", "replicationcontroller"},
}

// counters are the metrics that count decisions.
var counters = []struct {
	name            string
	opaque, allowed bool
}{
	{metrics.InboundHTTPAllowTotal, false, true},
	{metrics.InboundTCPAllowTotal, true, true},
	{metrics.InboundHTTPDenyTotal, false, false},
	{metrics.InboundTCPDenyTotal, true, false},
}

// maxNamespaceQueries bounds the namespaces with queries of their own: metrics-api takes 128 queries at once.
const maxNamespaceQueries = 8

// Queries returns the queries whose answers Read reads. For each namespace they ask for the increase of each counter,
// and then for its present value. For many namespaces they ask once about all.
func Queries(namespaces []string) []metrics.Query {
	by := []string{"namespace", "pod", "target_port", "client_id", "overflow", "srv_kind", "srv_name", "route_group",
		"route_kind", "route_name", "authz_kind", "authz_name"}
	for _, o := range owners {
		by = append(by, o.label)
	}
	var matches [][]metrics.Match
	for _, namespace := range namespaces {
		matches = append(matches, []metrics.Match{metrics.Is("namespace", namespace)})
	}
	if len(matches) > maxNamespaceQueries {
		matches = [][]metrics.Match{nil}
	}
	var out []metrics.Query
	for _, match := range matches {
		for _, now := range []bool{false, true} {
			for _, c := range counters {
				out = append(out, metrics.Query{Metric: c.name, By: by, Now: now, Match: match})
			}
		}
	}
	return out
}

// Read returns the traffic of the namespaces from the answers to Queries. w knows to which workload a pod belongs. Read
// leaves out names that no object can have, so its result can go to a terminal and into a manifest.
func Read(w *World, namespaces []string, samples [][]metrics.Sample) Traffic {
	sums := [2]map[Observation]float64{{}, {}}
	leftOut := map[string]float64{}
	for i, list := range samples {
		now := i / len(counters) % 2
		c := counters[i%len(counters)]
		for _, s := range list {
			if s.Value <= 0 || math.IsNaN(s.Value) || s.Labels["authz_kind"] == "default" && s.Labels["authz_name"] == "probe" {
				continue
			}
			if !slices.Contains(namespaces, s.Labels["namespace"]) {
				continue
			}
			o, why := w.observation(s.Labels)
			o.Opaque, o.Allowed = c.opaque, c.allowed
			switch {
			case why == "":
				sums[now][o] += s.Value
			case now == 0:
				leftOut[why] += s.Value
			}
		}
	}
	var t Traffic
	for o, count := range sums[0] {
		o.Count = count
		t.Seen = append(t.Seen, o)
	}
	for o := range sums[1] {
		if _, seen := sums[0][o]; !seen {
			t.Earlier = append(t.Earlier, o)
		}
	}
	slices.SortFunc(t.Seen, compareObservations)
	slices.SortFunc(t.Earlier, compareObservations)
	for _, why := range slices.Sorted(maps.Keys(leftOut)) {
		t.Notes = append(t.Notes, fmt.Sprintf("Left out, seen %s: %s.", plural(leftOut[why], "time"), why))
	}
	return t
}

// observation returns the observation that the labels describe, or why they describe none.
func (w *World) observation(labels map[string]string) (o Observation, why string) {
	if labels["overflow"] == "true" {
		return o, "callers beyond the bound of a proxy's metrics (overflow)"
	}
	if o.Workload, why = w.calledWorkload(labels); why != "" {
		return o, why
	}
	if len(validation.IsDNS1123Subdomain(o.Workload.Name)) > 0 {
		return o, fmt.Sprintf("no %s can be called %q", o.Workload.Kind, o.Workload.Name)
	}
	port, err := strconv.ParseUint(labels["target_port"], 10, 16)
	if err != nil || port == 0 {
		return o, fmt.Sprintf("ports on which nothing is known to listen (target_port %q)",
			labels["target_port"])
	}
	o.Port = uint16(port)
	o.Server = w.decidingServer(o.Workload, o.Port, labels)
	if text := labels["client_id"]; text != "" {
		if o.Client, err = mesh.ParseID(text); err != nil {
			return o, fmt.Sprintf("client_id %q is not an identity", text)
		}
	}
	o.Route = mesh.Ref{Group: labels["route_group"], Kind: labels["route_kind"], Name: labels["route_name"]}
	if o.Route.Name != "" && len(validation.IsDNS1123Subdomain(o.Route.Name)) > 0 {
		return o, fmt.Sprintf("no route can be called %q", o.Route.Name)
	}
	if o.Route.Kind == "default" || !isRoute(o.Route) {
		o.Route = mesh.Ref{}
	}
	return o, ""
}

// decidingServer returns the Server that decided about a port. It is the Server that the labels name, if that one
// decides about any pod of the workload now; otherwise the current Server of the pod. It is zero if the pod is gone.
func (w *World) decidingServer(called Workload, port uint16, labels map[string]string) (server mesh.Ref) {
	for _, pod := range w.pods[called] {
		now := w.currentServer(pod, port)
		if labels["srv_kind"] == "server" && now.Name != "" && now.Name == labels["srv_name"] {
			return now
		}
		if pod.Name == labels["pod"] {
			server = now
		}
	}
	return server
}

// currentServer returns the Server that decides now about a port of a pod, as Observation.Server has it.
func (w *World) currentServer(pod *corev1.Pod, port uint16) mesh.Ref {
	if server := w.proxyOf(pod).inbound.Port(port).Server; server != (mesh.Ref{}) {
		return server
	}
	return mesh.Ref{Kind: "default"}
}

// isRoute reports whether r is of a kind that governs requests to Servers.
func isRoute(r mesh.Ref) bool { return r.Kind == "HTTPRoute" || r.Kind == "GRPCRoute" }

// calledWorkload returns the workload of the pod that the labels name. The cluster's objects decide, because the labels
// of series come from the pod, and its owner can change them. They count only for a pod that is gone.
func (w *World) calledWorkload(labels map[string]string) (calledWorkload Workload, why string) {
	pod := Workload{labels["namespace"], "pod", labels["pod"]}
	if owner, ok := w.ownerOf[pod]; ok {
		if owner == (Workload{}) {
			return pod, "pods without a proxy of this control plane"
		}
		return owner, ""
	}
	for _, o := range owners {
		if name := labels[o.label]; name != "" {
			if !madeBy(pod.Name, name) {
				return pod, "pods that are gone, whose names do not match their workloads"
			}
			return Workload{labels["namespace"], o.kind, name}, ""
		}
	}
	return pod, ""
}

// maxPodPrefix is the longest part of an owner's name with which Kubernetes begins the names of its pods.
const maxPodPrefix = 58

// madeBy reports whether a workload may have made a pod of this name.
func madeBy(pod, workload string) bool {
	prefix := workload + "-"
	return strings.HasPrefix(pod, prefix[:min(len(prefix), maxPodPrefix)])
}

func compareObservations(a, b Observation) int {
	return cmp.Or(compareWorkloads(a.Workload, b.Workload), cmp.Compare(a.Port, b.Port),
		strings.Compare(a.Client.String(), b.Client.String()), compareRefs(a.Route, b.Route),
		compareRefs(a.Server, b.Server), cmp.Compare(fmt.Sprint(a.Opaque, a.Allowed), fmt.Sprint(b.Opaque, b.Allowed)))
}

func compareWorkloads(a, b Workload) int {
	return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name),
		strings.Compare(a.Kind, b.Kind))
}

func compareRefs(a, b mesh.Ref) int {
	return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name),
		strings.Compare(a.Kind, b.Kind), strings.Compare(a.Group, b.Group))
}

// number returns a count as a whole number, at least 1. A Prometheus may have estimated it.
func number(count float64) string { return strconv.FormatFloat(max(1, math.Round(count)), 'f', -1, 64) }
