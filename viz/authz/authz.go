// Package authz finds and prints the rows of `tulle viz authz`.
//
// It owns what a row is: the requests to workloads that one authorization let in under one route of one Server, and
// those that policy denied there. It reads numbers through a metrics.Source and objects through a resource.Lister. The
// one idea: a denied request has no authorization, so denials are rows of their own.
package authz

import (
	"cmp"
	"context"
	"errors"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/golden"
	"github.com/tulle-mesh/tulle/viz/metrics"
	"github.com/tulle-mesh/tulle/viz/resource"
	"github.com/tulle-mesh/tulle/viz/subject"
	"github.com/tulle-mesh/tulle/viz/table"
)

// Row is the requests of one authorization, or the denied ones.
type Row struct {
	Namespace string
	Route     string
	// Server is the Server's name, or default: and the access policy of a port without one.
	Server string
	// Authorization is kind/name; "" for denied requests.
	Authorization string
	// Denied is the rate of denied requests, per second.
	Denied float64
	// Stats are nil for denied requests.
	Stats *golden.Stats
}

// Result is the answer to a request. Its rows are by namespace, Server, route and authorization.
type Result = subject.Result[Row]

var (
	placeLabels = []string{"namespace", "srv_kind", "srv_name", "route_name"}
	authzLabels = slices.Concat(placeLabels, []string{"authz_kind", "authz_name"})
)

// Policy returns what the proxy of a pod receives about the pod; nil if that is not known.
type Policy func(namespace, pod string) *mesh.Inbound

// Rows answers the request. Requests to several workloads count together. Authorizations of the pods without requests
// have rows too, as far as policy knows them.
func Rows(ctx context.Context, src metrics.Source, cluster resource.Lister, req subject.Request, policy Policy) (Result,
	error) {
	if len(req.Targets) > 1 {
		return Result{}, errors.New("name resources of one type: their requests count together, so none may count twice")
	}
	subjects, notes, err := subject.Select(ctx, cluster, req)
	if err != nil {
		return Result{}, err
	}
	answers, err := subject.Ask(ctx, src, req.Window, subjects, queries)
	if err != nil {
		return Result{}, err
	}
	result := Result{Notes: slices.Concat(notes, answers.Notes)}
	if len(subjects) == 0 {
		return result, nil
	}
	source, samples := subjects[0].Source, answers.Samples[0]
	allowed, buckets, denied := source.Attribute(samples[0]), source.Attribute(samples[1]), source.Attribute(samples[2])
	for _, r := range golden.Requests.Rows(allowed, buckets, authzLabels, answers.Window) {
		row := place(r.Labels)
		row.Authorization = r.Labels["authz_kind"] + "/" + r.Labels["authz_name"]
		row.Stats = &r.Stats
		result.Rows = append(result.Rows, row)
	}
	denials := map[Row]float64{}
	for _, s := range denied {
		if s.Value > 0 && !math.IsInf(s.Value, 0) {
			denials[place(s.Labels)] += s.Value / answers.Window.Seconds()
		}
	}
	for row, rate := range denials {
		row.Denied = rate
		result.Rows = append(result.Rows, row)
	}
	for row := range idle(subjects[0].Objects, policy) {
		if !slices.ContainsFunc(result.Rows, func(r Row) bool { return row == r.named() }) {
			result.Rows = append(result.Rows, row)
		}
	}
	slices.SortFunc(result.Rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Server, b.Server),
			cmp.Compare(a.Route, b.Route), cmp.Compare(a.Authorization, b.Authorization))
	})
	return result, nil
}

// named returns the names of the row alone.
func (r Row) named() Row {
	return Row{Namespace: r.Namespace, Route: r.Route, Server: r.Server, Authorization: r.Authorization}
}

// idle returns a row for each authorization of the objects' pods, without numbers.
func idle(objects []resource.Object, policy Policy) map[Row]bool {
	rows := map[Row]bool{}
	for _, o := range objects {
		for _, pod := range o.Pods {
			in := policy(cmp.Or(o.Namespace, o.Name), pod.Name) // a namespace has its own name only
			if !pod.Meshed || in == nil {
				continue
			}
			for _, port := range in.Ports {
				addIdle(rows, port)
			}
		}
	}
	return rows
}

func addIdle(rows map[Row]bool, port mesh.PortPolicy) {
	add := func(route string, lists ...[]mesh.Authorization) {
		for _, a := range slices.Concat(lists...) {
			rows[Row{Namespace: port.Server.Namespace, Server: port.Server.Name, Route: route,
				Authorization: strings.ToLower(a.Ref.Kind) + "/" + a.Ref.Name}] = true
		}
	}
	if len(port.Routes) == 0 {
		add("default", port.Authorizations)
	}
	for _, r := range port.Routes {
		add(r.Route.Ref.Name, r.Authorizations, port.Authorizations)
	}
}

func queries(s *subject.Subject) []metrics.Query {
	match := append(slices.Clone(s.Source.Match), metrics.Is("direction", "inbound"))
	allowed := append(slices.Clone(match), metrics.Not("authz_kind", ""))
	return append(golden.Requests.Queries(allowed, withSource(s, authzLabels)),
		metrics.Query{Metric: metrics.InboundHTTPDenyTotal, Match: match, By: withSource(s, placeLabels)})
}

// withSource adds the labels that Own needs, each once.
func withSource(s *subject.Subject, by []string) []string {
	by = slices.Clone(by)
	for _, l := range s.Source.By {
		if !slices.Contains(by, l) {
			by = append(by, l)
		}
	}
	return by
}

func place(labels map[string]string) Row {
	server := labels["srv_name"]
	if labels["srv_kind"] == "default" {
		server = "default:" + server
	}
	return Row{Namespace: labels["namespace"], Server: server, Route: labels["route_name"]}
}

// WriteTable writes the rows, with their namespaces if wanted.
func WriteTable(w io.Writer, rows []Row, namespaces bool) error {
	t := &table.Table{}
	if namespaces {
		t.Columns = table.Left("NAMESPACE")
	}
	t.Columns = append(t.Columns, table.Left("ROUTE", "SERVER", "AUTHORIZATION")...)
	t.Columns = append(t.Columns, table.Right("UNAUTHORIZED")...)
	t.Columns = append(t.Columns, table.Right(golden.Headings...)...)
	for _, r := range rows {
		var cells []string
		if namespaces {
			cells = append(cells, r.Namespace)
		}
		cells = append(cells, r.Route, r.Server, r.Authorization, golden.Rate(r.Denied))
		t.Add(append(cells, r.Stats.Cells()...)...)
	}
	return t.Write(w)
}

// jsonRow has the keys of `linkerd viz authz -o json`, and the namespace. Numbers that are not known are left out.
type jsonRow struct {
	Namespace     string   `json:"namespace"`
	Route         string   `json:"route"`
	Server        string   `json:"server"`
	Authorization string   `json:"authorization"`
	Unauthorized  float64  `json:"unauthorized"`
	Success       *float64 `json:"success,omitempty"`
	RPS           *float64 `json:"rps,omitempty"`
	P50           *uint64  `json:"latency_ms_p50,omitempty"`
	P95           *uint64  `json:"latency_ms_p95,omitempty"`
	P99           *uint64  `json:"latency_ms_p99,omitempty"`
}

// WriteJSON writes the rows as an array, empty if there are none.
func WriteJSON(w io.Writer, rows []Row) error {
	out := make([]jsonRow, len(rows))
	for i, r := range rows {
		out[i] = jsonRow{Namespace: r.Namespace, Route: r.Route, Server: r.Server, Authorization: r.Authorization,
			Unauthorized: r.Denied}
		if s := r.Stats; s != nil {
			out[i].Success, out[i].RPS = &s.Success, &s.RPS
			out[i].P50, out[i].P95, out[i].P99 = s.Latencies()
		}
	}
	return table.WriteJSON(w, out)
}
