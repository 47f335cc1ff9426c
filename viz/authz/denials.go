package authz

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/metrics"
	"github.com/tulle-mesh/tulle/viz/subject"
)

// Denial is the requests or connections of one client that policy denied at one port of a pod.
type Denial struct {
	Namespace, Pod, Port string
	// Server is as in a Row.
	Server string
	// Route is the route that the requests matched; zero if none. Its namespace is not set, because metrics do not have
	// it.
	Route mesh.Ref
	// Client is a SPIFFE ID; "" for a client without identity.
	Client string
	// Overflow means that these are all clients beyond the bound of the proxy's metrics. Then Client is not known.
	Overflow bool
	// Reason is a proxyauthz.Reason, as in not_authorized.
	Reason string
	// Rate is per second: connections that are not HTTP if Opaque, otherwise HTTP requests.
	Opaque bool
	Rate   float64
}

// AllowedConnections are the connections, other than HTTP, that one authorization allowed at one Server.
type AllowedConnections struct {
	Namespace string
	// Server and Authorization are as in a Row.
	Server, Authorization string
	// Rate is the new connections per second.
	Rate float64
}

// Decisions are the decisions of policy that Rows does not have: the denied clients and the allowed connections.
type Decisions struct {
	Denials     []Denial
	Connections []AllowedConnections
	Notes       []string
}

var (
	denialLabels = []string{"namespace", "pod", "target_port", "srv_kind", "srv_name", "route_group", "route_kind",
		"route_name", "client_id", "overflow", "reason"}
	connectionLabels = []string{"namespace", "srv_kind", "srv_name", "authz_kind", "authz_name"}
)

// ReadDecisions returns the decisions in a namespace; "" is every namespace. Pods have the names that metrics have. The
// caller checks whether the viewer may see them.
func ReadDecisions(ctx context.Context, src metrics.Source, namespace string, window time.Duration) (Decisions, error) {
	var match []metrics.Match
	if namespace != "" {
		match = append(match, metrics.Is("namespace", namespace))
	}
	answers, err := subject.Ask(ctx, src, window, []string{namespace}, func(string) []metrics.Query {
		return []metrics.Query{
			{Metric: metrics.InboundHTTPDenyTotal, Match: match, By: denialLabels},
			{Metric: metrics.InboundTCPDenyTotal, Match: match, By: denialLabels},
			{Metric: metrics.InboundTCPAllowTotal, Match: match, By: connectionLabels},
		}
	})
	if err != nil {
		return Decisions{}, err
	}
	out := Decisions{Notes: answers.Notes,
		Denials: denialsOf(answers.Samples[0][0], answers.Samples[0][1], answers.Window)}
	for _, s := range answers.Samples[0][2] {
		rate, ok := rateOf(s, answers.Window)
		if ok && (s.Labels["authz_kind"] != "default" || s.Labels["authz_name"] != "probe") {
			out.Connections = append(out.Connections, AllowedConnections{Namespace: s.Labels["namespace"],
				Server: place(s.Labels).Server, Authorization: s.Labels["authz_kind"] + "/" + s.Labels["authz_name"],
				Rate: rate})
		}
	}
	return out, nil
}

// ReadDenials returns the clients that policy denied at the pods of a subject, the busiest first, and notes.
func ReadDenials(ctx context.Context, src metrics.Source, of *subject.Subject, window time.Duration) ([]Denial,
	[]string, error) {
	answers, err := subject.Ask(ctx, src, window, []*subject.Subject{of}, DenialQueries)
	if err != nil {
		return nil, nil, err
	}
	own := func(i int) []metrics.Sample { return of.Source.Attribute(answers.Samples[0][i]) }
	return denialsOf(own(0), own(1), answers.Window), answers.Notes, nil
}

// DenialQueries returns the two queries of ReadDenials: of HTTP requests, and of connections.
func DenialQueries(of *subject.Subject) []metrics.Query {
	match, by := append(slices.Clone(of.Source.Match), metrics.Is("direction", "inbound")), withSource(of, denialLabels)
	return []metrics.Query{{Metric: metrics.InboundHTTPDenyTotal, Match: match, By: by},
		{Metric: metrics.InboundTCPDenyTotal, Match: match, By: by}}
}

// denialsOf reads the samples of denied requests and of denied connections, the busiest first.
func denialsOf(http, opaque []metrics.Sample, window time.Duration) (out []Denial) {
	for i, samples := range [][]metrics.Sample{http, opaque} {
		for _, s := range samples {
			if rate, ok := rateOf(s, window); ok {
				out = append(out, denialOf(s.Labels, i == 1, rate))
			}
		}
	}
	slices.SortFunc(out, func(a, b Denial) int {
		return cmp.Or(cmp.Compare(b.Rate, a.Rate), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Pod, b.Pod),
			cmp.Compare(a.Port, b.Port), cmp.Compare(a.Client, b.Client), cmp.Compare(a.Route.Name, b.Route.Name))
	})
	return out
}

// RateLimited are the requests that one HTTPLocalRateLimitPolicy refused.
type RateLimited struct {
	Namespace, Policy string
	// Rate is per second.
	Rate float64
}

// ReadRateLimited returns the requests that rate limits refused in a namespace; "" is every namespace.
func ReadRateLimited(ctx context.Context, src metrics.Source, namespace string, window time.Duration) ([]RateLimited,
	error) {
	answers, err := subject.Ask(ctx, src, window, []string{namespace}, func(string) []metrics.Query {
		q := limitedQuery
		if namespace != "" {
			q.Match = []metrics.Match{metrics.Is("namespace", namespace)}
		}
		return []metrics.Query{q}
	})
	if err != nil {
		return nil, err
	}
	var out []RateLimited
	for _, s := range answers.Samples[0][0] {
		if rate, ok := rateOf(s, answers.Window); ok {
			out = append(out, RateLimited{s.Labels["namespace"], s.Labels["ratelimit_name"], rate})
		}
	}
	return out, nil
}

var limitedQuery = metrics.Query{Metric: metrics.InboundRateLimitTotal, By: []string{"namespace", "ratelimit_name"}}

// PromQL returns the query that finds these requests over the window.
func (l RateLimited) PromQL(window time.Duration) string {
	q := limitedQuery
	q.Match = []metrics.Match{metrics.Is("namespace", l.Namespace), metrics.Is("ratelimit_name", l.Policy)}
	return q.PromQL(window)
}

// rateOf returns the rate per second of an increase over the window; false if it is not a positive number.
func rateOf(s metrics.Sample, window time.Duration) (float64, bool) {
	return s.Value / window.Seconds(), s.Value > 0 && !math.IsInf(s.Value, 0)
}

func denialOf(labels map[string]string, opaque bool, rate float64) Denial {
	d := Denial{Namespace: labels["namespace"], Pod: labels["pod"], Port: labels["target_port"],
		Server: place(labels).Server, Client: labels["client_id"], Overflow: labels["overflow"] == "true",
		Reason: labels["reason"], Opaque: opaque, Rate: rate}
	if labels["route_kind"] != "default" {
		d.Route = mesh.Ref{Group: labels["route_group"], Kind: labels["route_kind"], Name: labels["route_name"]}
	}
	return d
}

// PromQL returns the query that finds the denials of this client at this port, for each pod.
func (d Denial) PromQL(window time.Duration) string {
	match := []metrics.Match{metrics.Is("target_port", d.Port), metrics.Is("reason", d.Reason)}
	if d.Overflow {
		match = append(match, metrics.Is("overflow", "true"))
	} else {
		match = append(match, metrics.Is("client_id", d.Client))
	}
	if d.Route.Name == "" {
		match = append(match, metrics.Is("route_kind", "default"))
	} else {
		match = append(match, metrics.Is("route_kind", d.Route.Kind), metrics.Is("route_name", d.Route.Name))
	}
	return d.promQL(window, []string{"pod"}, match...)
}

// OfServer returns the query that finds all denials at the Server over the window, in the unit of d.
func (d Denial) OfServer(window time.Duration) string {
	return d.promQL(window, []string{"pod", "target_port", "reason"})
}

func (d Denial) promQL(window time.Duration, by []string, match ...metrics.Match) string {
	q := metrics.Query{Metric: metrics.InboundHTTPDenyTotal, By: by,
		Match: slices.Concat([]metrics.Match{metrics.Is("namespace", d.Namespace)}, atServer(d.Server), match)}
	if d.Opaque {
		q.Metric = metrics.InboundTCPDenyTotal
	}
	return q.PromQL(window)
}

// atServer matches the series of a Server as in a Row: a Server may have the name of a default policy.
func atServer(server string) []metrics.Match {
	if policy, ok := strings.CutPrefix(server, "default:"); ok {
		return []metrics.Match{metrics.Is("srv_kind", "default"), metrics.Is("srv_name", policy)}
	}
	return []metrics.Match{metrics.Not("srv_kind", "default"), metrics.Is("srv_name", server)}
}

// PromQL returns the query that finds these connections over the window.
func (c AllowedConnections) PromQL(window time.Duration) string {
	kind, name, _ := strings.Cut(c.Authorization, "/")
	return metrics.Query{Metric: metrics.InboundTCPAllowTotal, By: connectionLabels, Match: slices.Concat(
		[]metrics.Match{metrics.Is("namespace", c.Namespace)}, atServer(c.Server),
		[]metrics.Match{metrics.Is("authz_kind", kind), metrics.Is("authz_name", name)})}.PromQL(window)
}
