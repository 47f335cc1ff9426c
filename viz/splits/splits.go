// Package splits joins the numbers of routes with the shares that the weights of the routes ask for.
//
// It owns the row of a route: its effective and actual numbers, retries and timeouts, and its backends with their
// observed and expected shares. It asks nothing itself. The one idea: series name a route but not its rules, so the
// expected shares are known only if one rule has backends.
package splits

import (
	"cmp"
	"math"
	"slices"
	"strconv"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/golden"
	"github.com/tulle-mesh/tulle/viz/routes"
	"github.com/tulle-mesh/tulle/viz/statoutbound"
)

// Row has the requests to one port of a Service under one route, and the attempts to each backend.
type Row struct {
	// Namespace, Service and Port are what the clients asked for.
	Namespace string `json:"namespace"`
	Service   string `json:"service"`
	Port      string `json:"port"`
	// Route is the route's name; "" for requests under no route, and for all routes of a ServiceProfile together. Kind is
	// the route's kind; "" without a route.
	Route string `json:"route"`
	Kind  string `json:"kind"`
	// Numbers are those of the application's requests.
	golden.Numbers
	// Actual are those requests with their retries; nil if not known.
	Actual *Rates `json:"actual"`
	// Retries is the share of attempts that were retries. Timeouts is the share of requests that a timeout ended. Both are
	// from 0 to 1, and nil if not known.
	Retries  *float64 `json:"retries"`
	Timeouts *float64 `json:"timeouts"`
	// Backends is never null.
	Backends []Backend `json:"backends"`
	// Command shows the same numbers.
	Command string `json:"command"`
}

// Rates are a success rate, from 0 to 1, and the requests per second.
type Rates struct {
	Success float64 `json:"success"`
	RPS     float64 `json:"rps"`
}

// Backend is the attempts to one backend of a route.
type Backend struct {
	Namespace string `json:"namespace"`
	Service   string `json:"service"`
	Port      string `json:"port"`
	golden.Numbers
	Timeouts *float64 `json:"timeouts"`
	// Share is the backend's share of the route's attempts, from 0 to 1; nil without attempts. Expected is the share that
	// the weights of the route ask for; nil if the route has no weights, or several rules with weights.
	Share    *float64 `json:"share"`
	Expected *float64 `json:"expected"`
	// Invalid says why the route's reference leads to no backend; "" if it does.
	Invalid string `json:"invalid"`
}

// profileKind is the kind of the rows of ServiceProfiles.
const profileKind = "ServiceProfile"

// Join joins the rows of `tulle viz stat-outbound` and `tulle viz routes`, sorted by Service, port and route. The first
// have backends, retries and timeouts. The second have the actual rates, the routes of ServiceProfiles, and routes
// without requests. A row has the command of the rows from which its numbers come.
func Join(outbound []statoutbound.Row, named []routes.Row, outboundCommand, namedCommand string) []Row {
	rows := []Row{}
	for _, r := range outbound {
		row := Row{Namespace: r.Service.Namespace, Service: r.Service.Name, Port: r.Service.Port, Route: r.Route,
			Kind: r.RouteType, Numbers: golden.NewNumbers(&r.Stats), Retries: known(r.Retries), Timeouts: known(r.Timeouts),
			Backends: []Backend{}, Command: outboundCommand}
		if r.Route == "[default]" {
			row.Route = ""
		}
		attempts := 0.0
		for _, b := range r.Backends {
			attempts += b.Stats.RPS
		}
		for _, b := range r.Backends {
			row.Backends = append(row.Backends, Backend{Namespace: b.Namespace, Service: b.Name, Port: b.Port,
				Numbers: golden.NewNumbers(&b.Stats), Timeouts: known(b.Timeouts), Share: known(b.Stats.RPS / attempts)})
		}
		rows = append(rows, row)
	}
	for _, r := range named {
		rows = addNamed(rows, r, namedCommand)
	}
	slices.SortStableFunc(rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Service, b.Service),
			cmp.Compare(a.Port, b.Port), cmp.Compare(a.Route, b.Route))
	})
	return rows
}

// addNamed adds what `tulle viz routes` has of a route to its row, or a row.
func addNamed(rows []Row, r routes.Row, command string) []Row {
	name := r.Route
	if name == routes.Default {
		name = ""
	}
	add := Row{Namespace: r.Service.Namespace, Service: r.Service.Name, Port: r.Service.Port, Route: name,
		Numbers: golden.NewNumbers(r.Stats), Backends: []Backend{}, Command: command}
	if r.Actual != nil {
		add.Actual = &Rates{r.Actual.Success, r.Actual.RPS}
	}
	if add.Service == "" { // a route of a Server, which is inbound
		return rows
	}
	for i := range rows {
		same := rows[i].Namespace == add.Namespace && rows[i].Service == add.Service && rows[i].Port == add.Port
		switch {
		case same && rows[i].Route == name && rows[i].Kind != profileKind:
			rows[i].Actual = add.Actual
			return rows
		case same && rows[i].Kind == profileKind:
			add.Kind = profileKind
			if name == "" {
				add.Route = routes.Default
			}
		}
	}
	return append(rows, add)
}

// known returns a share, or nil if it is one of zero requests.
func known(share float64) *float64 {
	if math.IsNaN(share) || math.IsInf(share, 0) {
		return nil
	}
	return &share
}

// AddExpected adds to the rows the shares that their weights ask for, and the backends without requests. portsOf
// returns what proxies receive about each port of a Service.
func AddExpected(rows []Row, portsOf func(namespace, service string) []*mesh.Outbound) {
	type service struct{ namespace, name string }
	ports := map[service][]*mesh.Outbound{}
	for i := range rows {
		r := &rows[i]
		key := service{r.Namespace, r.Service}
		if _, ok := ports[key]; !ok {
			ports[key] = portsOf(r.Namespace, r.Service)
		}
		for _, port := range ports[key] {
			if portText(port.Service.Port) == r.Port {
				r.setExpected(weights(port, r))
			}
		}
	}
}

// weights returns the backends of the one rule of a route that has any; nil if several rules do, because metrics do not
// tell rules apart.
func weights(port *mesh.Outbound, r *Row) (found []mesh.WeightedBackend) {
	if p := port.Profile; p != nil {
		if r.Kind == "" && slices.ContainsFunc(p.Routes, func(of mesh.ProfileRoute) bool { return of.Name == r.Route }) {
			r.Kind = profileKind
		}
		if r.Kind == profileKind && r.Route == "" {
			return p.Overrides
		}
	}
	for _, route := range port.Routes {
		if route.Ref.Name != r.Route || r.Route == "" {
			continue
		}
		if r.Kind == "" {
			r.Kind = route.Ref.Kind
		}
		for _, rule := range route.Rules {
			if found != nil && len(rule.Backends) > 0 {
				return nil
			}
			if len(rule.Backends) > 0 {
				found = rule.Backends
			}
		}
	}
	return found
}

// setExpected sets the expected shares of the row's backends.
func (r *Row) setExpected(backends []mesh.WeightedBackend) {
	total := 0.0
	for _, b := range backends {
		total += float64(b.Weight)
	}
	for _, b := range backends {
		share := known(float64(b.Weight) / total)
		namespace, name := cmp.Or(b.Service.Namespace, b.Ref.Namespace), cmp.Or(b.Service.Name, b.Ref.Name)
		port := portText(b.Service.Port)
		i := slices.IndexFunc(r.Backends, func(row Backend) bool {
			return row.Namespace == namespace && row.Service == name && (row.Port == port || port == "")
		})
		if i < 0 {
			i, r.Backends = len(r.Backends), append(r.Backends, Backend{Namespace: namespace, Service: name, Port: port})
		}
		if r.Backends[i].Expected != nil && share != nil { // named twice
			*share += *r.Backends[i].Expected
		}
		r.Backends[i].Expected, r.Backends[i].Invalid = share, b.Invalid
	}
}

func portText(port uint16) string {
	if port == 0 {
		return ""
	}
	return strconv.Itoa(int(port))
}
