// Package statoutbound finds and prints the rows of `tulle viz stat-outbound`.
//
// It owns what a row is: the requests of a workload to one Service under one route, and below it the attempts to each
// backend. It reads numbers through a metrics.Source and objects through a resource.Lister. The one idea: the route's
// numbers are what the application saw, and the backends' are what the network did.
package statoutbound

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/tulle-mesh/tulle/viz/golden"
	"github.com/tulle-mesh/tulle/viz/metrics"
	"github.com/tulle-mesh/tulle/viz/resource"
	"github.com/tulle-mesh/tulle/viz/subject"
)

// Row is the requests of one workload to one Service under one route.
type Row struct {
	Namespace, Name string
	// Service is what the application asked for: a Service or an EgressNetwork.
	Service ServicePort
	// Route is the route's name, [default] for a Service without routes, or "" for the routes of a ServiceProfile, which
	// the metrics do not tell apart. RouteType is its kind.
	Route, RouteType string
	Numbers
	// Retries is the share of all attempts that were retries.
	Retries  float64
	Backends []Backend
}

// Backend is the attempts to one backend.
type Backend struct {
	ServicePort
	Numbers
}

// ServicePort is a port of a Service.
type ServicePort struct{ Namespace, Name, Port string }

// Numbers are the golden metrics, and the share of responses that a timeout of the route ended.
type Numbers struct {
	Stats    golden.Stats
	Timeouts float64
}

// Result is the answer to a request. Its rows are in the order of the targets, by namespace, name, Service and route.
type Result = subject.Result[Row]

// family is the series of one protocol.
type family struct {
	routes, backends golden.Series
	retries          string
}

var families = []family{
	{golden.HTTPRoutes, golden.HTTPBackends, metrics.HTTPRouteRetries},
	{golden.GRPCRoutes, golden.GRPCBackends, metrics.GRPCRouteRetries},
}

// perFamily is how many queries a family needs: two for its routes, two for its backends, one for its retries.
const perFamily = 5

// timeoutErrors are those of the route's own timeouts.
var timeoutErrors = []string{"REQUEST_TIMEOUT", "RESPONSE_HEADERS_TIMEOUT", "IDLE_TIMEOUT"}

var (
	routeLabels   = []string{"parent_namespace", "parent_name", "parent_port", "route_kind", "route_name"}
	backendLabels = []string{"backend_namespace", "backend_name", "backend_port"}
	byRoute       = slices.Concat(subject.By, routeLabels)
	byBackend     = slices.Concat(byRoute, backendLabels)
)

// Rows answers the request.
func Rows(ctx context.Context, src metrics.Source, cluster resource.Lister, req subject.Request) (Result, error) {
	subjects, notes, err := subject.Select(ctx, cluster, req)
	if err != nil {
		return Result{}, err
	}
	answers, err := subject.Ask(ctx, src, req.Window, subjects, queries)
	if err != nil {
		return Result{}, err
	}
	result := Result{Notes: slices.Concat(notes, answers.Notes)}
	for i, s := range subjects {
		var rows []Row
		for f, family := range families {
			var own [][]metrics.Sample
			for _, samples := range answers.Samples[i][f*perFamily:][:perFamily] {
				own = append(own, s.Source.Attribute(samples))
			}
			rows = append(rows, family.rows(own, answers.Window)...)
		}
		slices.SortStableFunc(rows, Row.compare)
		for _, row := range rows {
			row.Name = s.DisplayName(row.Name, len(subjects) > 1)
			result.Rows = append(result.Rows, row)
		}
	}
	return result, nil
}

// ToService returns the rows of the requests that all clients together sent to a Service. They have no workload's name.
func ToService(ctx context.Context, src metrics.Source, namespace, name string, window time.Duration) (Result, error) {
	match := []metrics.Match{metrics.Is("parent_namespace", namespace), metrics.Is("parent_name", name),
		metrics.Is("parent_kind", "Service")}
	answers, err := subject.Ask(ctx, src, window, []subject.Naming{{Match: match}}, queriesOf)
	if err != nil {
		return Result{}, err
	}
	result := Result{Notes: answers.Notes}
	for i, f := range families {
		result.Rows = append(result.Rows, f.rows(answers.Samples[0][i*perFamily:][:perFamily], answers.Window)...)
	}
	slices.SortStableFunc(result.Rows, Row.compare)
	return result, nil
}

func queries(s *subject.Subject) []metrics.Query { return queriesOf(s.Source) }

func queriesOf(n subject.Naming) (out []metrics.Query) {
	by := slices.Concat(n.By, routeLabels)
	for _, f := range families {
		out = append(out, f.routes.Queries(n.Match, by)...)
		out = append(out, f.backends.Queries(n.Match, slices.Concat(by, backendLabels))...)
		out = append(out, metrics.Query{Metric: f.retries, Match: n.Match, By: by})
	}
	return out
}

// rows makes rows of the samples of the family's queries.
func (f family) rows(samples [][]metrics.Sample, window time.Duration) []Row {
	backends := map[string][]Backend{}
	for _, r := range f.read(f.backends, samples[2], samples[3], byBackend, window) {
		key := golden.Key(r.labels, byRoute)
		backends[key] = append(backends[key], Backend{servicePort(r.labels, "backend"), r.Numbers})
	}
	retries := sums(samples[4], byRoute)
	var rows []Row
	for _, r := range f.read(f.routes, samples[0], samples[1], byRoute, window) {
		key := golden.Key(r.labels, byRoute)
		row := Row{Namespace: r.labels[subject.Namespace], Name: r.labels[subject.Name],
			Service: servicePort(r.labels, "parent"), Route: r.labels["route_name"], RouteType: r.labels["route_kind"],
			Numbers: r.Numbers, Backends: backends[key]}
		switch row.RouteType {
		case "default":
			row.Route, row.RouteType = "[default]", ""
		case "":
			row.RouteType = "ServiceProfile"
		}
		row.Retries = retries[key] / (retries[key] + r.Stats.RPS*window.Seconds())
		rows = append(rows, row)
	}
	return rows
}

type numbered struct {
	labels map[string]string
	Numbers
}

func (f family) read(series golden.Series, responses, buckets []metrics.Sample, by []string,
	window time.Duration) (out []numbered) {
	timeouts := sums(slices.DeleteFunc(slices.Clone(responses), func(s metrics.Sample) bool {
		return !slices.Contains(timeoutErrors, s.Labels["error"])
	}), by)
	for _, r := range series.Rows(responses, buckets, by, window) {
		n := numbered{r.Labels, Numbers{Stats: r.Stats}}
		n.Timeouts = timeouts[golden.Key(r.Labels, by)] / (r.Stats.RPS * window.Seconds())
		out = append(out, n)
	}
	return out
}

func sums(samples []metrics.Sample, by []string) map[string]float64 {
	out := map[string]float64{}
	for _, s := range samples {
		if s.Value > 0 && !math.IsInf(s.Value, 0) {
			out[golden.Key(s.Labels, by)] += s.Value
		}
	}
	return out
}

func servicePort(labels map[string]string, prefix string) ServicePort {
	return ServicePort{labels[prefix+"_namespace"], labels[prefix+"_name"], labels[prefix+"_port"]}
}
