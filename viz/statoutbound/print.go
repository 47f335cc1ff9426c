package statoutbound

import (
	"cmp"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/tulle-mesh/tulle/viz/golden"
	"github.com/tulle-mesh/tulle/viz/table"
)

func (r Row) compare(o Row) int {
	return cmp.Or(cmp.Compare(r.Namespace, o.Namespace), cmp.Compare(r.Name, o.Name),
		r.Service.compare(o.Service), cmp.Compare(r.Route, o.Route), cmp.Compare(r.RouteType, o.RouteType))
}

func (p ServicePort) compare(o ServicePort) int {
	return cmp.Or(cmp.Compare(p.Name, o.Name), cmp.Compare(p.Namespace, o.Namespace), cmp.Compare(p.Port, o.Port))
}

// text returns the port as name.namespace:port, without the namespace if that is the given one.
func (p ServicePort) text(namespace string) string {
	name := p.Name
	if p.Namespace != "" && namespace != "" && p.Namespace != namespace {
		name += "." + p.Namespace
	}
	if p.Port == "" {
		return name
	}
	return name + ":" + p.Port
}

// WriteTable writes the rows, each with a tree of its backends, and their namespaces if wanted.
func WriteTable(w io.Writer, rows []Row, namespaces bool) error {
	t := &table.Table{}
	if namespaces {
		t.Columns = table.Left("NAMESPACE")
	}
	t.Columns = append(t.Columns, table.Left("NAME", "SERVICE", "ROUTE", "TYPE", "BACKEND")...)
	t.Columns = append(t.Columns, table.Right(golden.Headings...)...)
	t.Columns = append(t.Columns, table.Right("TIMEOUTS", "RETRIES")...)
	add := func(namespace string, cells, numbers []string, last ...string) {
		if namespaces {
			cells = append([]string{namespace}, cells...)
		}
		t.Add(append(append(cells, numbers...), last...)...)
	}
	route, kind := len("ROUTE"), len("TYPE")
	for _, r := range rows {
		route = max(route, utf8.RuneCountInString(table.Safe(r.Route)))
		kind = max(kind, utf8.RuneCountInString(table.Safe(r.RouteType)))
	}
	for _, r := range rows {
		add(r.Namespace, []string{r.Name, r.Service.text(r.Namespace), r.Route, r.RouteType, ""}, r.Stats.Cells(),
			golden.Percent(r.Timeouts), golden.Percent(r.Retries))
		for i, b := range r.Backends {
			branch := "├"
			if i == len(r.Backends)-1 {
				branch = "└"
			}
			add("", []string{"", "", branch + strings.Repeat("─", route-1), strings.Repeat("─", kind-1) + "►",
				b.text(r.Namespace)}, b.Stats.Cells(), golden.Percent(b.Timeouts), "")
		}
	}
	return t.Write(w)
}

// jsonRow has the keys of `linkerd viz stat-outbound -o json`, and the namespaces. Only a row of a backend has the keys
// of a backend, and only one of a route has retryRate.
type jsonRow struct {
	Namespace        string   `json:"namespace"`
	Name             string   `json:"name"`
	Service          string   `json:"service"`
	ServiceNamespace string   `json:"serviceNamespace"`
	Port             string   `json:"port"`
	Route            string   `json:"route"`
	RouteType        string   `json:"routeType"`
	Backend          string   `json:"backend,omitempty"`
	BackendNamespace string   `json:"backendNamespace,omitempty"`
	BackendPort      string   `json:"backendPort,omitempty"`
	SuccessRate      float64  `json:"successRate"`
	RPS              float64  `json:"rps"`
	P50              *uint64  `json:"latencyMsP50"`
	P95              *uint64  `json:"latencyMsP95"`
	P99              *uint64  `json:"latencyMsP99"`
	TimeoutRate      float64  `json:"timeoutRate"`
	RetryRate        *float64 `json:"retryRate,omitempty"`
}

// WriteJSON writes the rows and after each its backends as an array, empty if there are none.
func WriteJSON(w io.Writer, rows []Row) error {
	out := []jsonRow{}
	for _, r := range rows {
		base := jsonRow{Namespace: r.Namespace, Name: r.Name, Service: r.Service.Name,
			ServiceNamespace: r.Service.Namespace, Port: r.Service.Port, Route: r.Route, RouteType: r.RouteType}
		route := base.with(r.Numbers)
		route.RetryRate = &r.Retries
		out = append(out, route)
		for _, b := range r.Backends {
			backend := base.with(b.Numbers)
			backend.Backend, backend.BackendNamespace, backend.BackendPort = b.Name, b.Namespace, b.Port
			out = append(out, backend)
		}
	}
	return table.WriteJSON(w, out)
}

func (j jsonRow) with(n Numbers) jsonRow {
	j.SuccessRate, j.RPS, j.TimeoutRate = n.Stats.Success, n.Stats.RPS, n.Timeouts
	j.P50, j.P95, j.P99 = n.Stats.Latencies()
	return j
}
