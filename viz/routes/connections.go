package routes

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"github.com/tulle-mesh/tulle/viz/metrics"
	"github.com/tulle-mesh/tulle/viz/subject"
)

// Connections are those that are not HTTP and that one TLSRoute or TCPRoute routed, to one port of a Service. They have
// no rows in `tulle viz routes`.
type Connections struct {
	// Kind, Namespace and Name are the route's.
	Kind, Namespace, Name string
	// Service is what the clients asked for, without its Authority.
	Service Service
	// Rate is that of new connections, per second.
	Rate float64
}

var connectionMetrics = map[string]string{"TLSRoute": metrics.TLSRouteOpenTotal, "TCPRoute": metrics.TCPRouteOpenTotal}

// ReadConnections returns the connections of the routes in a namespace; "" is every namespace.
func ReadConnections(ctx context.Context, src metrics.Source, namespace string, window time.Duration) (
	out []Connections, err error) {
	kinds := []string{"TCPRoute", "TLSRoute"}
	answers, err := subject.Ask(ctx, src, window, []string{namespace}, func(string) (queries []metrics.Query) {
		for _, kind := range kinds {
			q := metrics.Query{Metric: connectionMetrics[kind], Match: []metrics.Match{metrics.Is("route_kind", kind)},
				By: []string{"route_namespace", "route_name", "parent_namespace", "parent_name", "parent_port"}}
			if namespace != "" {
				q.Match = append(q.Match, metrics.Is("route_namespace", namespace))
			}
			queries = append(queries, q)
		}
		return queries
	})
	if err != nil {
		return nil, err
	}
	for i, kind := range kinds {
		for _, s := range answers.Samples[0][i] {
			if s.Value > 0 && !math.IsInf(s.Value, 0) {
				out = append(out, Connections{Kind: kind, Namespace: s.Labels["route_namespace"], Name: s.Labels["route_name"],
					Service: Service{Namespace: s.Labels["parent_namespace"], Name: s.Labels["parent_name"],
						Port: s.Labels["parent_port"]}, Rate: s.Value / answers.Window.Seconds()})
			}
		}
	}
	slices.SortFunc(out, func(a, b Connections) int {
		return cmp.Or(cmp.Compare(b.Rate, a.Rate), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name),
			cmp.Compare(a.Service.Name, b.Service.Name), cmp.Compare(a.Service.Port, b.Service.Port))
	})
	return out, nil
}

// PromQL returns the query that finds these connections.
func (c Connections) PromQL(window time.Duration) string {
	return metrics.Query{Metric: connectionMetrics[c.Kind], By: []string{"parent_namespace", "parent_name", "parent_port"},
		Match: []metrics.Match{metrics.Is("route_kind", c.Kind), metrics.Is("route_namespace", c.Namespace),
			metrics.Is("route_name", c.Name)}}.PromQL(window)
}
