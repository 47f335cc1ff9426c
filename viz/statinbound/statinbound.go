// Package statinbound finds and prints the rows of `tulle viz stat-inbound`.
//
// It owns what a row is: the requests of a workload that arrived at one Server and route. It reads numbers through a
// metrics.Source and objects through a resource.Lister. The one idea: the labels of a server's own proxy say which
// policy each request met.
package statinbound

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/tulle-mesh/tulle/viz/golden"
	"github.com/tulle-mesh/tulle/viz/metrics"
	"github.com/tulle-mesh/tulle/viz/resource"
	"github.com/tulle-mesh/tulle/viz/subject"
	"github.com/tulle-mesh/tulle/viz/table"
)

// Row is the requests of one workload at one Server and route.
type Row struct {
	Namespace, Name string
	// Server is the Server's name, or [default] without one. Port is that of the application.
	Server, Port string
	// Route is the route's name, [default] for a Server without routes, or "" if the request matched none. RouteType is
	// its kind, or "" without a route.
	Route, RouteType string
	Stats            golden.Stats
}

// Result is the answer to a request. Its rows are in the order of the targets, by namespace, name, Server and route.
type Result = subject.Result[Row]

// labels are those that tell the rows of a workload apart.
var labels = []string{"srv_kind", "srv_name", "target_port", "route_kind", "route_name"}

// Rows answers the request.
func Rows(ctx context.Context, src metrics.Source, cluster resource.Lister, req subject.Request) (Result, error) {
	subjects, notes, err := subject.Select(ctx, cluster, req)
	if err != nil {
		return Result{}, err
	}
	series := golden.Requests
	answers, err := subject.Ask(ctx, src, req.Window, subjects, func(s *subject.Subject) []metrics.Query {
		match := append(slices.Clone(s.Source.Match), metrics.Is("direction", "inbound"))
		return series.Queries(match, slices.Concat(s.Source.By, labels))
	})
	if err != nil {
		return Result{}, err
	}
	result := Result{Notes: slices.Concat(notes, answers.Notes)}
	by := slices.Concat(subject.By, labels)
	for i, s := range subjects {
		samples := answers.Samples[i]
		for _, r := range series.Rows(s.Source.Attribute(samples[0]), s.Source.Attribute(samples[1]), by, answers.Window) {
			row := rowOf(r)
			row.Name = s.DisplayName(row.Name, len(subjects) > 1)
			result.Rows = append(result.Rows, row)
		}
	}
	return result, nil
}

func rowOf(r golden.Row) Row {
	row := Row{Namespace: r.Labels[subject.Namespace], Name: r.Labels[subject.Name], Port: r.Labels["target_port"],
		Server: r.Labels["srv_name"], Route: r.Labels["route_name"], RouteType: r.Labels["route_kind"], Stats: r.Stats}
	if r.Labels["srv_kind"] == "default" {
		row.Server = "[default]"
	}
	if row.RouteType == "default" {
		row.RouteType = ""
	}
	if row.Route == "default" {
		row.Route = "[default]"
	}
	return row
}

// WriteTable writes the rows, with their namespaces if wanted.
func WriteTable(w io.Writer, rows []Row, namespaces bool) error {
	t := &table.Table{}
	if namespaces {
		t.Columns = table.Left("NAMESPACE")
	}
	t.Columns = append(t.Columns, table.Left("NAME", "SERVER", "ROUTE", "TYPE")...)
	t.Columns = append(t.Columns, table.Right(golden.Headings...)...)
	for _, r := range rows {
		var cells []string
		if namespaces {
			cells = append(cells, r.Namespace)
		}
		cells = append(cells, r.Name, fmt.Sprintf("%s:%s", r.Server, r.Port), r.Route, r.RouteType)
		t.Add(append(cells, r.Stats.Cells()...)...)
	}
	return t.Write(w)
}

// jsonRow has the keys of `linkerd viz stat-inbound -o json`, with their spelling, and the namespace.
type jsonRow struct {
	Namespace   string  `json:"namespace"`
	Name        string  `json:"name"`
	Server      string  `json:"server"`
	Port        string  `json:"port"`
	Route       string  `json:"route"`
	RouteType   string  `json:"routeType"`
	SuccessRate float64 `json:"successesRate"`
	RPS         float64 `json:"rps"`
	P50         *uint64 `json:"latencyMsP50"`
	P95         *uint64 `json:"latencyMsP95"`
	P99         *uint64 `json:"latencyMsP99"`
}

// WriteJSON writes the rows as an array, empty if there are none.
func WriteJSON(w io.Writer, rows []Row) error {
	out := make([]jsonRow, len(rows))
	for i, r := range rows {
		p50, p95, p99 := r.Stats.Latencies()
		out[i] = jsonRow{r.Namespace, r.Name, r.Server, r.Port, r.Route, r.RouteType, r.Stats.Success, r.Stats.RPS,
			p50, p95, p99}
	}
	return table.WriteJSON(w, out)
}
