package board

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tulle-mesh/tulle/viz/edges"
	"github.com/tulle-mesh/tulle/viz/golden"
	"github.com/tulle-mesh/tulle/viz/metrics"
)

// topologyTraffic is the edges and the samples of a scope.
type topologyTraffic struct {
	edges  []edges.Edge
	notes  []string
	window time.Duration
	asked  []topologyQuestion
}

// topologyQuestion is queries with their samples, and what the samples are about.
type topologyQuestion struct {
	set     requestSet
	queries []metrics.Query
	samples [][]metrics.Sample
}

// requestSet is the requests that the samples of a question are about. The comment of each value has the order of its
// samples.
type requestSet int

const (
	servedRequests     requestSet = iota // served by a workload: responses, buckets, open connections
	sentRequests                         // from one workload to another: as above, and bytes read and written
	externalRequests                     // to external addresses: responses, buckets, connections opened ever, open now
	unreportedRequests                   // from clients whose own proxies report nothing: responses, buckets
)

// The labels of the series that do not name workloads.
const (
	addrLabel   = "target_addr"
	tlsLabel    = "tls"
	reasonLabel = "no_tls_reason"
	clientLabel = "client_id"
)

// askTopology asks for the edges of the scope, and for all numbers with one question.
func askTopology(ctx context.Context, s Sources, scope topologyScope, window time.Duration) (*topologyTraffic, error) {
	t := &topologyTraffic{}
	namespaces := scope.namespaces
	if len(namespaces) == 0 {
		namespaces = []string{""}
	}
	for _, namespace := range namespaces {
		found, err := edges.Workloads(ctx, s.Numbers, s.Objects, namespace)
		if err != nil {
			return nil, err
		}
		t.edges, t.notes = append(t.edges, found.Edges...), append(t.notes, found.Notes...)
		t.asked = append(t.asked, topologyQuestions(scope, namespace)...)
	}
	var queries []metrics.Query
	for _, a := range t.asked {
		queries = append(queries, a.queries...)
	}
	answer, err := s.Numbers.Ask(ctx, window, queries)
	if err != nil {
		return nil, err
	}
	if len(answer.Samples) != len(queries) {
		return nil, fmt.Errorf("read numbers: %d answers to %d queries", len(answer.Samples), len(queries))
	}
	for i, a := range t.asked {
		t.asked[i].samples = answer.Samples[:len(a.queries)]
		answer.Samples = answer.Samples[len(a.queries):]
	}
	t.window = cmp.Or(answer.Window, window)
	t.notes = append(t.notes, answer.Notes...)
	slices.Sort(t.notes)
	t.notes = slices.Compact(t.notes)
	return t, nil
}

// topologyQuestions returns the questions about one namespace of the scope; "" is every namespace.
func topologyQuestions(scope topologyScope, namespace string) []topologyQuestion {
	from, to := edges.Source.By, edges.Destination.By
	if scope.allCollapsed() {
		from, to = from[:1], to[:1]
	}
	inbound, outbound := metrics.Is("direction", "inbound"), metrics.Is("direction", "outbound")
	within, notExternal := []metrics.Match{}, metrics.Not(edges.Destination.Namespace, "")
	if namespace != "" {
		within = []metrics.Match{metrics.Is(edges.Source.Namespace, namespace)}
	}
	match := func(more ...metrics.Match) []metrics.Match { return slices.Concat(within, more) }
	questions := []topologyQuestion{
		{set: servedRequests, queries: append(golden.Requests.Queries(match(inbound), from),
			openNow(match(inbound, metrics.Is("peer", "src")), from))},
		sentQuestion(match(outbound, notExternal), slices.Concat(from, to)),
		externalQuestion(match(outbound, metrics.Is(edges.Destination.Namespace, "")),
			slices.Concat(from, []string{addrLabel})),
		{set: unreportedRequests, queries: golden.Requests.Queries(match(inbound, metrics.Not("authz_name", "probe")),
			slices.Concat(from, []string{tlsLabel, reasonLabel, clientLabel}))},
	}
	if namespace != "" { // what clients in namespaces outside the scope sent
		others := []metrics.Match{outbound, metrics.Is(edges.Destination.Namespace, namespace)}
		for _, n := range scope.namespaces {
			others = append(others, metrics.Not(edges.Source.Namespace, n))
		}
		questions = append(questions, sentQuestion(others, slices.Concat(from, to)))
	}
	return questions
}

func openNow(match []metrics.Match, by []string) metrics.Query {
	return metrics.Query{Metric: metrics.TCPOpenConnections, Match: match, By: by, Now: true}
}

// sentQuestion is what `tulle viz stat --to` asks, for all workloads at once.
func sentQuestion(match []metrics.Match, by []string) topologyQuestion {
	connections := append(slices.Clone(match), metrics.Is("peer", "dst"))
	return topologyQuestion{set: sentRequests, queries: append(golden.Requests.Queries(match, by),
		openNow(connections, by),
		metrics.Query{Metric: metrics.TCPReadBytes, Match: connections, By: by},
		metrics.Query{Metric: metrics.TCPWriteBytes, Match: connections, By: by})}
}

func externalQuestion(match []metrics.Match, by []string) topologyQuestion {
	connections := append(slices.Clone(match), metrics.Is("peer", "dst"), metrics.Not(tlsLabel, "loopback"))
	return topologyQuestion{set: externalRequests, queries: append(golden.Requests.Queries(match, by),
		metrics.Query{Metric: metrics.TCPOpenTotal, Match: connections, By: slices.Concat(by, []string{reasonLabel}),
			Now: true},
		openNow(connections, by))}
}

// The labels that ends gives to samples.
const (
	fromLabel = "from"
	toLabel   = "to"
)

var endLabels = []string{fromLabel, toLabel}

// withEnds returns the samples with the IDs of their nodes as labels. It drops samples without an end.
func withEnds(samples []metrics.Sample, of func(labels map[string]string) (ends, bool)) (out []metrics.Sample) {
	for _, sample := range samples {
		e, ok := of(sample.Labels)
		if !ok {
			continue
		}
		labels := maps.Clone(sample.Labels)
		if labels == nil {
			labels = map[string]string{}
		}
		labels[fromLabel], labels[toLabel] = topologyID(e.from), topologyID(e.to)
		out = append(out, metrics.Sample{Labels: labels, Value: sample.Value})
	}
	return out
}
