package routes

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/viz/golden"
	"github.com/tulle-mesh/tulle/viz/metrics"
	"github.com/tulle-mesh/tulle/viz/resource"
	"github.com/tulle-mesh/tulle/viz/subject"
)

var (
	parentLabels  = []string{"parent_namespace", "parent_name", "parent_port"}
	backendLabels = []string{"parent_namespace", "parent_name", "parent_port", "route_kind", "route_name",
		"backend_namespace", "backend_name"}
)

// queries returns those of the clients' series, and for requests to workloads those that find the workloads' Services
// and the series of the workloads themselves.
func (p *plan) queries() []metrics.Query {
	var match []metrics.Match
	var by []string
	if p.senders != nil {
		match, by = p.senders.Source.Match, p.senders.Source.By
	}
	outbound := with(match, metrics.Is("direction", "outbound"))
	// A Service without routes has one of the kind default. Its latency in milliseconds is that of the requests to the
	// Service's endpoints: the histogram of routes has buckets that are too wide.
	unrouted := with(match, metrics.Is("route_kind", "default"), metrics.Is("parent_kind", "Service"))
	byParent := slices.Concat(by, parentLabels, golden.HTTPRoutes.StatusLabels)
	out := append(golden.EffectiveRoutes.Queries(outbound, slices.Concat(by, []string{"dst", "rt_route"})),
		metrics.Query{Metric: golden.ActualRoutes.Responses, Match: outbound,
			By: slices.Concat(by, []string{"dst", "rt_route"}, golden.ActualRoutes.StatusLabels)},
		metrics.Query{Metric: golden.HTTPRoutes.Responses, Match: unrouted, By: byParent},
		metrics.Query{Metric: golden.HTTPBackends.Responses, Match: unrouted, By: byParent},
		metrics.Query{Metric: metrics.BucketsOf(golden.Requests.Latency),
			Match: with(outbound, metrics.Not("dst_service", "")),
			By:    slices.Concat(by, []string{"authority", "le"})})
	if p.receivers == nil {
		return out
	}
	to := p.receivers.Destination
	reached := slices.Concat(to.By, []string{"dst_service"})
	if !slices.Contains(reached, "dst_namespace") {
		reached = append(reached, "dst_namespace")
	}
	out = append(out,
		metrics.Query{Metric: golden.Requests.Responses, Match: with(outbound, to.Match...), By: reached},
		metrics.Query{Metric: metrics.HTTPBackendRequests, Match: match, By: backendLabels},
		metrics.Query{Metric: metrics.GRPCBackendRequests, Match: match, By: backendLabels})
	if p.senders == nil {
		inbound := with(p.receivers.Source.Match, metrics.Is("direction", "inbound"))
		out = append(out, golden.EffectiveRoutes.Queries(inbound,
			slices.Concat(p.receivers.Source.By, []string{"rt_route"}))...)
	}
	return out
}

func with(match []metrics.Match, more ...metrics.Match) []metrics.Match {
	return slices.Concat(match, more)
}

// tables makes tables of the answers to the plan's queries.
func (p *plan) tables(samples [][]metrics.Sample, window time.Duration) (tables []Table) {
	rows := p.clientRows(samples, window)
	if p.kind.Name == authority {
		return p.authorityTables(rows)
	}
	var reaches func(resource.Object, Row) bool
	inbound := map[string][]Row{}
	if p.receivers != nil {
		reaches = p.reaches(samples[6], slices.Concat(samples[7], samples[8]))
		if p.senders == nil {
			inbound = p.serverRows(samples[9], samples[10], window)
		}
	}
	for _, o := range p.objects {
		t := Table{Kind: p.kind, Namespace: o.Namespace, Name: o.Name, Rows: inbound[golden.KeyOf(o.Namespace, o.Name)]}
		for _, r := range rows {
			switch {
			case p.senders != nil && r.sender != golden.KeyOf(o.Namespace, o.Name),
				p.services != nil && !p.services(r.Service),
				p.services != nil && p.senders == nil && (r.Service.Namespace != o.Namespace || r.Service.Name != o.Name),
				p.receivers != nil && p.senders == nil && !reaches(o, r.Row),
				p.receivers != nil && p.senders != nil && !p.reachesAny(reaches, r.Row):
			default:
				t.Rows = append(t.Rows, r.Row)
			}
		}
		tables = append(tables, t)
	}
	return tables
}

// addIdle adds a row for each route of a Service without requests: to the Service's own table, or to the table of each
// sender that has others.
func (p *plan) addIdle(tables []Table, existing func(namespace, service string) []Existing) {
	for _, svc := range p.called {
		for _, e := range existing(svc.Namespace, svc.Name) {
			for i := range tables {
				t := &tables[i]
				own := p.senders == nil && t.Namespace == svc.Namespace && t.Name == svc.Name
				if own || p.senders != nil && len(t.Rows) > 0 {
					t.add(e)
				}
			}
		}
	}
}

// addIdleTo adds a row for each route without requests that leads to a workload, to the workload's own table, or to the
// table of each sender that has others. reached are the Services through which each workload got requests. It looks at
// the routes of these Services, and of those with a row.
func (p *plan) addIdleTo(tables []Table, reached map[string][]Service,
	existing func(namespace, service string) []Existing) {
	for i := range tables {
		t := &tables[i]
		through := reached[golden.KeyOf(t.Namespace, t.Name)]
		if p.senders != nil {
			through = slices.Concat(slices.Collect(maps.Values(reached))...)
		}
		if p.senders != nil && len(t.Rows) == 0 {
			continue
		}
		called := slices.Clone(through)
		for _, r := range t.Rows {
			called = append(called, Service{Namespace: r.Service.Namespace, Name: r.Service.Name})
		}
		slices.SortFunc(called, func(a, b Service) int { return cmp.Compare(a.key(), b.key()) })
		for _, svc := range slices.Compact(called) {
			for _, e := range existing(svc.Namespace, svc.Name) {
				if slices.ContainsFunc(e.Backends, func(b Service) bool { return slices.Contains(through, b) }) {
					t.add(e)
				}
			}
		}
	}
}

// add adds a row for a route that has none.
func (t *Table) add(e Existing) {
	service := parseAuthority(e.Authority)
	service.Authority = e.Authority
	if !slices.ContainsFunc(t.Rows, func(r Row) bool {
		return r.Route == e.Route && r.Service.key() == service.key()
	}) {
		t.Rows = append(t.Rows, Row{Route: e.Route, Service: service})
	}
}

func (p *plan) reachesAny(reaches func(resource.Object, Row) bool, r Row) bool {
	return slices.ContainsFunc(p.receivers.Objects, func(o resource.Object) bool { return reaches(o, r) })
}

func (p *plan) authorityTables(rows []sentRow) (tables []Table) {
	for _, r := range rows {
		if !p.services(r.Service) {
			continue
		}
		i := slices.IndexFunc(tables, func(t Table) bool { return t.Name == r.Service.Authority })
		if i < 0 {
			i, tables = len(tables), append(tables, Table{Kind: p.kind, Name: r.Service.Authority})
		}
		tables[i].Rows = append(tables[i].Rows, r.Row)
	}
	return tables
}

// sentRow is a row and the Key of who sent its requests; "" if the question is not about senders.
type sentRow struct {
	sender string
	Row
}

// The labels that samples get: to which Service requests went, and under which route.
const (
	serviceLabel = "service"
	routeLabel   = "route"
)

// clientRows reads the clients' series.
func (p *plan) clientRows(samples [][]metrics.Sample, window time.Duration) (rows []sentRow) {
	by := []string{serviceLabel, routeLabel}
	if p.senders != nil {
		by = slices.Concat(subject.By, by)
	}
	named := func(samples []metrics.Sample) []metrics.Sample {
		return p.relabel(samples, func(l map[string]string) (Service, string) {
			route := l["rt_route"]
			if route == "" {
				route = Default
			}
			return parseAuthority(l["dst"]), route
		})
	}
	unrouted := func(samples []metrics.Sample) []metrics.Sample {
		return p.relabel(samples, func(l map[string]string) (Service, string) { return parentOf(l), Default })
	}
	latencies := p.relabel(samples[5], func(l map[string]string) (Service, string) {
		return parseAuthority(l["authority"]), Default
	})
	authorities := map[string]string{}
	for _, s := range slices.Concat(samples[0], samples[5]) {
		a := s.Labels["dst"] + s.Labels["authority"]
		authorities[parseAuthority(a).key()] = a
	}
	for _, set := range []struct {
		effective, actual  golden.Series
		responses, buckets []metrics.Sample
		attempts           []metrics.Sample
	}{
		{golden.EffectiveRoutes, golden.ActualRoutes, named(samples[0]), named(samples[1]), named(samples[2])},
		{inMilliseconds(golden.HTTPRoutes), golden.HTTPBackends, unrouted(samples[3]), latencies, unrouted(samples[4])},
	} {
		actual := set.actual.Read(set.attempts, nil, by, window)
		for _, r := range set.effective.Rows(set.responses, set.buckets, by, window) {
			service := parseKey(r.Labels[serviceLabel])
			service.Authority = authorities[r.Labels[serviceLabel]]
			row := sentRow{Row: Row{Route: r.Labels[routeLabel], Service: service, Stats: &r.Stats}}
			if p.senders != nil {
				row.sender = golden.Key(r.Labels, subject.By)
			}
			if a, ok := actual[golden.Key(r.Labels, by)]; ok {
				row.Actual = &Rates{a.Success, a.RPS}
			}
			rows = append(rows, row)
		}
	}
	return rows
}

func inMilliseconds(s golden.Series) golden.Series {
	s.Unit = 1
	return s
}

// relabel names the Service and the route of samples, and keeps those of the senders if there are any.
func (p *plan) relabel(samples []metrics.Sample,
	name func(map[string]string) (Service, string)) (out []metrics.Sample) {
	if p.senders != nil {
		samples = p.senders.Source.Attribute(samples)
	}
	for _, s := range samples {
		service, route := name(s.Labels)
		labels := maps.Clone(s.Labels)
		if labels == nil {
			labels = map[string]string{}
		}
		labels[serviceLabel], labels[routeLabel] = service.key(), route
		out = append(out, metrics.Sample{Labels: labels, Value: s.Value})
	}
	return out
}

// serverRows reads the series of the workloads themselves, by the Key of the workload.
func (p *plan) serverRows(responses, buckets []metrics.Sample, window time.Duration) map[string][]Row {
	rows := map[string][]Row{}
	own := p.receivers.Source.Attribute
	for _, r := range golden.EffectiveRoutes.Rows(own(responses), own(buckets),
		slices.Concat(subject.By, []string{"rt_route"}),
		window) {
		key := golden.Key(r.Labels, subject.By)
		rows[key] = append(rows[key], Row{Route: r.Labels["rt_route"], Stats: &r.Stats})
	}
	return rows
}

// reaches returns which rows hold requests that a workload received. Its pods are endpoints of Services, those are
// backends of routes, and the routes belong to the Services that clients ask for.
func (p *plan) reaches(responses, backends []metrics.Sample) func(resource.Object, Row) bool {
	found := map[string]bool{}
	for _, s := range p.receivers.Destination.Attribute(responses) {
		if !(s.Value > 0) {
			continue
		}
		for _, b := range backends {
			if b.Value > 0 && b.Labels["backend_name"] == s.Labels["dst_service"] &&
				b.Labels["backend_namespace"] == s.Labels["dst_namespace"] {
				route := b.Labels["route_name"]
				if b.Labels["route_kind"] == "default" {
					route = Default
				}
				found[golden.KeyOf(golden.Key(s.Labels, subject.By), parentOf(b.Labels).key(), route)] = true
			}
		}
	}
	return func(o resource.Object, r Row) bool {
		to := golden.KeyOf(o.Namespace, o.Name, r.Service.key())
		// The metrics of a ServiceProfile's routes have no name of the route.
		return found[golden.KeyOf(to, r.Route)] || found[golden.KeyOf(to, "")]
	}
}

// reached returns the Services through which each workload got requests, without ports, by the Key of the workload.
func (p *plan) reached(responses []metrics.Sample) map[string][]Service {
	services := map[string][]Service{}
	for _, s := range p.receivers.Destination.Attribute(responses) {
		if s.Value > 0 && s.Labels["dst_service"] != "" {
			key := golden.Key(s.Labels, subject.By)
			services[key] = append(services[key], Service{Namespace: s.Labels["dst_namespace"], Name: s.Labels["dst_service"]})
		}
	}
	return services
}

// parseAuthority reads <name>.<namespace>.svc.<cluster domain>:<port>.
func parseAuthority(s string) Service {
	host, port, _ := strings.Cut(s, ":")
	parts := strings.SplitN(host, ".", 3)
	if len(parts) < 3 || parts[2] != "svc" && !strings.HasPrefix(parts[2], "svc.") {
		return Service{Name: s}
	}
	return Service{Name: parts[0], Namespace: parts[1], Port: port}
}

func parentOf(labels map[string]string) Service {
	return Service{Namespace: labels["parent_namespace"], Name: labels["parent_name"], Port: labels["parent_port"]}
}

// key returns the Service as one string, without its authority.
func (s Service) key() string { return golden.KeyOf(s.Namespace, s.Name, s.Port) }

func parseKey(key string) Service {
	namespace, rest := golden.SplitKey(key)
	name, port := golden.SplitKey(rest)
	return Service{Namespace: namespace, Name: name, Port: port}
}
