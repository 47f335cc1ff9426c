package board

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/edges"
	"github.com/tulle-mesh/tulle/viz/golden"
	"github.com/tulle-mesh/tulle/viz/metrics"
	"github.com/tulle-mesh/tulle/viz/resource"
	"github.com/tulle-mesh/tulle/viz/routes"
	"github.com/tulle-mesh/tulle/viz/splits"
	"github.com/tulle-mesh/tulle/viz/stat"
	"github.com/tulle-mesh/tulle/viz/statoutbound"
	"github.com/tulle-mesh/tulle/viz/subject"
)

// ServicePage is what the page Service shows: who calls it, under which routes, and what serves it.
type ServicePage struct {
	Head
	Ref
	// Golden is about the requests that its endpoints answered, as in `tulle viz stat svc`. It does not include requests
	// that a route sends to other Services.
	Golden
	TCP *TCP `json:"tcp"`
	// The lists of the page are never null.
	Callers   []ServiceCaller   `json:"callers"`
	Routes    []splits.Row      `json:"routes"`
	Ports     []ServicePort     `json:"ports"`
	Workloads []ServiceWorkload `json:"workloads"`
	// Configured means that the ports and the endpoints are known. Without it, Ports is empty and Workloads has only the
	// workloads with requests.
	Configured bool `json:"configured"`
	// Commands show the same as the sections of these names: stat and routes.
	Commands map[string]string `json:"commands"`
}

// ServiceCaller is a workload that called the Service.
type ServiceCaller struct {
	Ref
	// Protocol is HTTP or gRPC; "" for connections without requests.
	Protocol string `json:"protocol"`
	// Golden is about the requests that the application sent, without retries.
	Golden
	// TCPOpen counts its open connections to endpoints of the Service; nil if not known.
	TCPOpen *uint64 `json:"tcpOpen"`
	Command string  `json:"command"`
}

// ServicePort is a port of the Service.
type ServicePort struct {
	Port     int    `json:"port"`
	Protocol string `json:"protocol"`
	// Meshed counts the endpoints that prove an identity, and Endpoints all.
	Meshed    int    `json:"meshed"`
	Endpoints int    `json:"endpoints"`
	Command   string `json:"command"`
}

// ServiceWorkload is a workload whose pods are endpoints of the Service.
type ServiceWorkload struct {
	Ref
	// Golden is about the requests that meshed clients sent to the Service and these pods answered.
	Golden
	// Meshed counts the pods that prove an identity, and Pods all pods that are endpoints.
	Meshed   int      `json:"meshed"`
	Pods     int      `json:"pods"`
	Versions []string `json:"versions"`
	Command  string   `json:"command"`
}

// serviceView is a ServicePage that is being built. Each part writes its own fields of the page.
type serviceView struct {
	query Query
	kind  resource.Kind
	page  ServicePage
}

// Service returns the page of the Service that the link names. It refuses a link without a namespace or a name, and
// returns an error if the Service does not exist.
func Service(ctx context.Context, s Sources, q Query) (ServicePage, error) {
	kind, err := resource.ParseKind("service")
	if err != nil {
		return ServicePage{}, err
	}
	if q.Name == "" || q.Namespace == "" {
		return ServicePage{}, &Refusal{Code: BadRequest, Message: fmt.Sprintf(
			"service %q in namespace %q: want the namespace and the name of a Service", q.Name, q.Namespace)}
	}
	v := &serviceView{query: q, kind: kind}
	of, window := fmt.Sprintf(" svc/%s -n %s", q.Name, q.Namespace), " -t "+WindowText(q.Window)
	v.page = ServicePage{Ref: Ref{kind.Name, q.Namespace, q.Name}, Callers: []ServiceCaller{}, Ports: []ServicePort{},
		Workloads: []ServiceWorkload{}, Commands: map[string]string{
			"stat":   "tulle viz stat" + of + window,
			"routes": "tulle viz routes" + of + " -o wide" + window,
		}}
	notes, err := runParts(ctx, s, v.stat, v.callers, v.routes, v.workloads)
	if err != nil {
		return ServicePage{}, err
	}
	v.page.Head = newHead(q, notes)
	return v.page, nil
}

func (v *serviceView) targets() []resource.Target {
	return []resource.Target{{Kind: v.kind, Names: []string{v.query.Name}}}
}

// stat reads what `tulle viz stat` shows.
func (v *serviceView) stat(ctx context.Context, s Sources) ([]string, error) {
	result, err := stat.Rows(ctx, s.Numbers, s.Objects, stat.Request{Request: subject.Request{Targets: v.targets(),
		Namespace: v.query.Namespace, Window: v.query.Window}})
	for _, row := range result.Rows {
		v.page.Golden, v.page.TCP = newGolden(row.Stats), newTCP(row.TCP)
	}
	return result.Notes, err
}

// ask asks queries about the Service as one question. It returns the samples of each query.
func (v *serviceView) ask(ctx context.Context, s Sources, queries []metrics.Query) ([][]metrics.Sample, subject.Answers,
	error) {
	answers, err := subject.Ask(ctx, s.Numbers, v.query.Window, []int{0}, func(int) []metrics.Query { return queries })
	if err != nil {
		return nil, answers, err
	}
	return answers.Samples[0], answers, nil
}

// called matches the series in which clients count requests to the endpoints of the Service.
func (v *serviceView) called() []metrics.Match {
	return []metrics.Match{metrics.Is("direction", "outbound"), metrics.Is("dst_service", v.query.Name),
		metrics.Is(edges.Destination.Namespace, v.query.Namespace)}
}

// asked matches the series in which clients count requests to the Service by route.
func (v *serviceView) asked() []metrics.Match {
	return []metrics.Match{metrics.Is("parent_kind", "Service"), metrics.Is("parent_name", v.query.Name),
		metrics.Is("parent_namespace", v.query.Namespace)}
}

// callers reads which workloads called the Service.
func (v *serviceView) callers(ctx context.Context, s Sources) ([]string, error) {
	by := edges.Source.By
	http, grpc := golden.HTTPRoutes, golden.GRPCRoutes
	samples, answers, err := v.ask(ctx, s, slices.Concat(http.Queries(v.asked(), by), grpc.Queries(v.asked(), by),
		[]metrics.Query{openNow(append(v.called(), metrics.Is("peer", "dst")), by)}))
	if err != nil {
		return nil, err
	}
	nodes := v.nodes(ctx, s)
	of := nodes.sourceNode
	open := map[Ref]uint64{}
	for _, sample := range samples[4] {
		if sample.Value >= 0 && !math.IsInf(sample.Value, 0) {
			open[of(sample.Labels)] += uint64(math.Round(sample.Value))
		}
	}
	seen := map[Ref]bool{}
	add := func(r Ref, protocol string, g Golden) {
		caller := ServiceCaller{Ref: r, Protocol: protocol, Golden: g}
		if n, ok := open[r]; ok {
			caller.TCPOpen = &n
		}
		if inCommands(r) {
			caller.Command = fmt.Sprintf("tulle viz stat-outbound %s -n %s -t %s", argument(r), r.Namespace,
				WindowText(v.query.Window))
		}
		seen[r] = true
		v.page.Callers = append(v.page.Callers, caller)
	}
	for i, set := range []struct {
		protocol string
		series   golden.Series
	}{{"HTTP", http}, {"gRPC", grpc}} {
		named := func(samples []metrics.Sample) []metrics.Sample {
			return withEnds(samples, func(l map[string]string) (ends, bool) { return ends{from: of(l)}, true })
		}
		for key, stats := range set.series.Read(named(samples[2*i]), named(samples[2*i+1]), []string{fromLabel},
			answers.Window) {
			add(parseTopologyID(key), set.protocol, newGolden(&stats))
		}
	}
	for r, n := range open {
		if !seen[r] && n > 0 {
			add(r, "", Golden{})
		}
	}
	slices.SortFunc(v.page.Callers, func(a, b ServiceCaller) int {
		return cmp.Or(cmp.Compare(b.RPS, a.RPS), strings.Compare(topologyID(a.Ref), topologyID(b.Ref)),
			strings.Compare(a.Protocol, b.Protocol))
	})
	return answers.Notes, nodes.rights.err
}

// nodes returns a graph that names the ends of series as the page Topology does, with the viewer's rights.
func (v *serviceView) nodes(ctx context.Context, s Sources) *graph {
	return &graph{rights: newVisibility(ctx, s.Objects, topologyScope{namespaces: []string{v.query.Namespace}})}
}

// parseTopologyID returns the node of a topologyID.
func parseTopologyID(id string) Ref {
	parts := strings.SplitN(id, "/", 3)
	return Ref{parts[0], parts[1], parts[2]}
}

// routes reads the requests to the Service by route, of all clients together.
func (v *serviceView) routes(ctx context.Context, s Sources) ([]string, error) {
	c, notes := s.configuration(ctx, v.query.Namespace,
		"Routes without requests, and the shares that weights ask for, are not shown")
	outbound, err := statoutbound.ToService(ctx, s.Numbers, v.query.Namespace, v.query.Name, v.query.Window)
	if err != nil {
		return nil, err
	}
	named, err := routes.Tables(ctx, s.Numbers, s.Objects, routes.Request{Targets: v.targets(),
		Namespace: v.query.Namespace, Window: v.query.Window, Existing: configuredRoutesOf(c)})
	if err != nil {
		return nil, err
	}
	promQL := metrics.Query{Metric: golden.HTTPRoutes.Responses, Match: v.asked(),
		By: append([]string{"route_kind", "route_name"}, golden.HTTPRoutes.StatusLabels...)}.PromQL(v.query.Window)
	v.page.Routes = splits.Join(outbound.Rows, rowsOf(named), promQL, v.page.Commands["routes"])
	if c != nil {
		splits.AddExpected(v.page.Routes, c.Ports)
	}
	return slices.Concat(notes, outbound.Notes, named.Notes), nil
}

// workloads reads which workloads serve the Service: its endpoints, and those that clients counted.
func (v *serviceView) workloads(ctx context.Context, s Sources) ([]string, error) {
	by := edges.Destination.By
	queries := golden.Requests.Queries(v.called(), by)
	samples, answers, err := v.ask(ctx, s, queries)
	if err != nil {
		return nil, err
	}
	c, notes := s.configuration(ctx, v.query.Namespace, "Endpoints without requests are not shown")
	nodes := v.nodes(ctx, s)
	found := map[Ref]*ServiceWorkload{}
	at := func(r Ref) *ServiceWorkload {
		if found[r] == nil {
			found[r] = &ServiceWorkload{Ref: r, Versions: []string{}, Command: queries[0].PromQL(answers.Window)}
		}
		return found[r]
	}
	named := func(samples []metrics.Sample) []metrics.Sample {
		return withEnds(samples, func(l map[string]string) (ends, bool) {
			return ends{to: nodes.workloadNode(l[edges.Destination.Namespace], edges.Destination.Name(l))}, true
		})
	}
	for key, stats := range golden.Requests.Read(named(samples[0]), named(samples[1]), []string{toLabel},
		answers.Window) {
		at(parseTopologyID(key)).Golden = newGolden(&stats)
	}
	if err := cmp.Or(v.endpoints(ctx, s, c, at), nodes.rights.err); err != nil {
		return nil, err
	}
	for _, key := range slices.SortedFunc(maps.Keys(found), func(a, b Ref) int {
		return cmp.Or(cmp.Compare(found[b].RPS, found[a].RPS), strings.Compare(topologyID(a), topologyID(b)))
	}) {
		v.page.Workloads = append(v.page.Workloads, *found[key])
	}
	return slices.Concat(notes, answers.Notes), nil
}

// endpoints adds the ports of the Service, and its endpoints to their workloads.
func (v *serviceView) endpoints(ctx context.Context, s Sources, c Configuration, at func(Ref) *ServiceWorkload) error {
	if c == nil {
		return nil
	}
	kind, err := resource.ParseKind("pod")
	if err != nil {
		return err
	}
	objects, err := s.Objects.List(ctx, kind, v.query.Namespace, "")
	if err != nil {
		return err
	}
	versions := map[string]string{}
	for _, o := range objects {
		for _, p := range o.Pods {
			versions[p.Name] = p.Version
		}
	}
	v.page.Configured = true
	counted := map[mesh.PodRef]bool{}
	for _, port := range c.Ports(v.query.Namespace, v.query.Name) {
		row := ServicePort{Port: int(port.Service.Port), Protocol: port.Protocol.String(), Endpoints: len(port.Endpoints),
			Command: fmt.Sprintf("tulle diagnostics endpoints %s.%s:%d", v.query.Name, v.query.Namespace, port.Service.Port)}
		for _, e := range port.Endpoints {
			if !e.Identity.IsZero() {
				row.Meshed++
			}
			if counted[e.Pod] {
				continue
			}
			counted[e.Pod] = e.Pod != (mesh.PodRef{})
			w := at(ownerOf(e.Pod, v.query.Namespace))
			w.Pods++
			if e.Identity.IsZero() {
				continue
			}
			w.Meshed++
			if version := versions[e.Pod.Name]; version != "" && !slices.Contains(w.Versions, version) {
				w.Versions = append(w.Versions, version)
				slices.Sort(w.Versions)
			}
		}
		v.page.Ports = append(v.page.Ports, row)
	}
	return nil
}

// ownerOf returns the workload of an endpoint's pod, or the pod itself.
func ownerOf(pod mesh.PodRef, namespace string) Ref {
	switch {
	case pod.OwnerName != "":
		return Ref{pod.OwnerKind, pod.Namespace, pod.OwnerName}
	case pod.Name != "":
		return Ref{"pod", pod.Namespace, pod.Name}
	}
	return Ref{Kind: NodePods, Namespace: namespace}
}
