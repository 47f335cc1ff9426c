package board

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/authz"
	"github.com/tulle-mesh/tulle/viz/golden"
	"github.com/tulle-mesh/tulle/viz/metrics"
	"github.com/tulle-mesh/tulle/viz/resource"
	"github.com/tulle-mesh/tulle/viz/routes"
	"github.com/tulle-mesh/tulle/viz/splits"
	"github.com/tulle-mesh/tulle/viz/stat"
	"github.com/tulle-mesh/tulle/viz/statinbound"
	"github.com/tulle-mesh/tulle/viz/statoutbound"
	"github.com/tulle-mesh/tulle/viz/subject"
)

// WorkloadPage is what the page Workload shows: one workload or pod, its callers, and the workloads that it calls.
type WorkloadPage struct {
	Head
	Ref
	// Golden is about the requests that it served, as in `tulle viz stat`.
	Golden
	TCP *TCP `json:"tcp"`
	// Meshed counts the pods with a proxy, and Pods all pods that have not ended.
	Meshed   int      `json:"meshed"`
	Pods     int      `json:"pods"`
	Versions []string `json:"versions"`
	// Callers call it, and it calls Callees, the busiest first. They are not known for a pod: then PeersKnown is false.
	// The lists of the page are never null.
	PeersKnown bool   `json:"peersKnown"`
	Callers    []Peer `json:"callers"`
	Callees    []Peer `json:"callees"`
	// Routes is about the requests that it sent, and Inbound about those that it served.
	Routes         []splits.Row       `json:"routes"`
	Inbound        []InboundRow       `json:"inbound"`
	Authorizations []AuthorizationRow `json:"authorizations"`
	Denials        []DenialRow        `json:"denials"`
	PodRows        []PodRow           `json:"podRows"`
	// Commands show the same as the sections of these names: stat, edges, routes, actual (success and rate with
	// retries), inbound, authz, pods and tap.
	Commands map[string]string `json:"commands"`
}

// TCP has the numbers of connections. The rates are in bytes per second.
type TCP struct {
	Open      uint64  `json:"open"`
	ReadRate  float64 `json:"readBytes"`
	WriteRate float64 `json:"writeBytes"`
}

// Peer is a caller or a callee.
type Peer struct {
	Ref
	Golden
	TCPOpen *uint64 `json:"tcpOpen"`
	// Security and Links are as in a TopologyEdge.
	Security string         `json:"security"`
	Links    []TopologyLink `json:"links"`
	// Command shows the numbers, and SecurityCommand the identities; "" if none does.
	Command         string `json:"command"`
	SecurityCommand string `json:"securityCommand"`
}

// InboundRow is the requests that arrived at one Server and route, as in `tulle viz stat-inbound`.
type InboundRow struct {
	Server string `json:"server"`
	Port   string `json:"port"`
	Route  string `json:"route"`
	Kind   string `json:"kind"`
	Golden
}

// AuthorizationRow is the requests of one authorization, or the denied ones, as in `tulle viz authz`.
type AuthorizationRow struct {
	Server string `json:"server"`
	Route  string `json:"route"`
	// Authorization is kind/name; "" for denied requests.
	Authorization string  `json:"authorization"`
	Denied        float64 `json:"denied"`
	Golden
}

// DenialRow is a client that policy denied.
type DenialRow struct {
	Server string `json:"server"`
	Route  string `json:"route"`
	// Client is an identity, as in web.shop; "" if the client proved none. Hidden means that the viewer may not read its
	// namespace, and Overflow that these are clients beyond the bound of the proxy's metrics.
	Client   string `json:"client"`
	Hidden   bool   `json:"hidden"`
	Overflow bool   `json:"overflow"`
	// Reason is the label reason of the metrics.
	Reason string `json:"reason"`
	// Connections means that connections were denied, not HTTP requests.
	Connections bool `json:"connections"`
	// RPS is the denied requests or connections per second.
	RPS float64 `json:"rps"`
	// Command is the PromQL that finds it.
	Command string `json:"command"`
}

// PodRow is one pod.
type PodRow struct {
	Name           string `json:"name"`
	Status         string `json:"status"`
	ServiceAccount string `json:"serviceAccount"`
	Meshed         bool   `json:"meshed"`
	// Version is that of the proxy; "" without one.
	Version string `json:"version"`
	Golden
	// CertificateEnd is when the proxy's certificate expires; nil if not known.
	CertificateEnd *time.Time `json:"certificateEnd"`
}

// maxPodRows bounds the pods of a page.
const maxPodRows = 200

// workloadView is a WorkloadPage that is being built. Each part writes its own fields of the page.
type workloadView struct {
	query   Query
	kind    resource.Kind
	request subject.Request
	page    WorkloadPage
	// ends are when the certificates of pods expire, by the names of the pods.
	ends map[string]time.Time
}

// Workload returns the page of the workload or the pod that the link names. It refuses a link without a kind, a
// namespace or a name, and returns an error if the object does not exist.
func Workload(ctx context.Context, s Sources, q Query) (WorkloadPage, error) {
	kind, err := resource.ParseKind(q.Kind)
	if err != nil || !kind.HasPods() || kind.Name == resource.Namespace || q.Name == "" || q.Namespace == "" {
		return WorkloadPage{}, &Refusal{Code: BadRequest, Message: fmt.Sprintf(
			"workload %q of kind %q: want the kind, the namespace and the name of a workload", q.Name, q.Kind)}
	}
	v := &workloadView{query: q, kind: kind, request: subject.Request{Namespace: q.Namespace, Window: q.Window,
		Targets: []resource.Target{{Kind: kind, Names: []string{q.Name}}}}}
	v.page = WorkloadPage{Ref: Ref{kind.Name, q.Namespace, q.Name}, Commands: v.commands(), Versions: []string{},
		Callers: []Peer{}, Callees: []Peer{}, Inbound: []InboundRow{}, Authorizations: []AuthorizationRow{},
		Denials: []DenialRow{}, PodRows: []PodRow{}}
	notes, err := runParts(ctx, s, v.stat, v.peers, v.routes, v.inbound, v.authorizations, v.denials, v.pods,
		v.certificates)
	if err != nil {
		return WorkloadPage{}, err
	}
	for i := range v.page.PodRows {
		if end, ok := v.ends[v.page.PodRows[i].Name]; ok {
			v.page.PodRows[i].CertificateEnd = &end
		}
	}
	v.page.Head = newHead(q, notes)
	return v.page, nil
}

// commands returns those of the sections.
func (v *workloadView) commands() map[string]string {
	of := fmt.Sprintf(" %s/%s -n %s", v.kind.Prefix(), v.query.Name, v.query.Namespace)
	window := " -t " + WindowText(v.query.Window)
	return map[string]string{
		"stat":    "tulle viz stat" + of + window,
		"edges":   "tulle viz edges" + of + " -o wide",
		"routes":  "tulle viz stat-outbound" + of + window,
		"actual":  "tulle viz routes" + of + " --to au -o wide" + window,
		"inbound": "tulle viz stat-inbound" + of + window,
		"authz":   "tulle viz authz" + of + window,
		"pods":    "tulle viz stat pods -n " + v.query.Namespace + window,
		"tap":     "tulle viz tap" + of,
	}
}

// stat reads the numbers of `tulle viz stat`.
func (v *workloadView) stat(ctx context.Context, s Sources) ([]string, error) {
	result, err := stat.Rows(ctx, s.Numbers, s.Objects, stat.Request{Request: v.request, Unmeshed: true})
	if err != nil {
		return nil, err
	}
	for _, row := range result.Rows {
		v.page.Golden, v.page.Meshed, v.page.Pods = newGolden(row.Stats), row.Meshed, row.Total
		v.page.Versions = append(v.page.Versions, row.Versions...)
		v.page.TCP = newTCP(row.TCP)
	}
	return result.Notes, nil
}

func newTCP(t *stat.TCP) *TCP {
	if t == nil {
		return nil
	}
	return &TCP{t.Open, t.ReadRate, t.WriteRate}
}

// peers reads the callers and callees as the page Topology has them.
func (v *workloadView) peers(ctx context.Context, s Sources) ([]string, error) {
	v.page.PeersKnown = isWorkload(v.kind.Name)
	if !v.page.PeersKnown {
		return nil, nil
	}
	around := v.query
	around.Params = url.Values{}
	graph, err := Topology(ctx, s, around)
	if err != nil {
		return nil, err
	}
	own, nodes := topologyID(v.page.Ref), map[string]Ref{}
	for _, n := range graph.Nodes {
		nodes[n.ID] = n.Ref
	}
	for _, e := range graph.Edges {
		if e.To == own {
			v.page.Callers = append(v.page.Callers, newPeer(nodes[e.From], e))
		}
		if e.From == own {
			v.page.Callees = append(v.page.Callees, newPeer(nodes[e.To], e))
		}
	}
	sortPeers(v.page.Callers)
	sortPeers(v.page.Callees)
	return graph.Notes, nil
}

func newPeer(r Ref, e TopologyEdge) Peer {
	return Peer{Ref: r, Golden: e.Golden, TCPOpen: e.TCPOpen, Security: e.Security, Links: e.Links, Command: e.Command,
		SecurityCommand: e.SecurityCommand}
}

// sortPeers puts the busiest first.
func sortPeers(peers []Peer) {
	slices.SortStableFunc(peers, func(a, b Peer) int {
		return cmp.Or(cmp.Compare(b.RPS, a.RPS), strings.Compare(topologyID(a.Ref), topologyID(b.Ref)))
	})
}

// routes reads the requests that the workload sent.
func (v *workloadView) routes(ctx context.Context, s Sources) ([]string, error) {
	outbound, err := statoutbound.Rows(ctx, s.Numbers, s.Objects, v.request)
	if err != nil {
		return nil, err
	}
	authority, err := resource.ParseKind("authority") // to any Service, without the right to list Services
	if err != nil {
		return nil, err
	}
	named, err := routes.Tables(ctx, s.Numbers, s.Objects, routes.Request{Targets: v.request.Targets,
		Namespace: v.query.Namespace, Window: v.query.Window, To: &resource.Peer{Kind: authority}})
	if err != nil {
		return nil, err
	}
	v.page.Routes = splits.Join(outbound.Rows, rowsOf(named), v.page.Commands["routes"], v.page.Commands["actual"])
	c, notes := s.configuration(ctx, v.query.Namespace, "The shares that weights ask for are not shown")
	if c != nil {
		splits.AddExpected(v.page.Routes, c.Ports)
	}
	return slices.Concat(notes, outbound.Notes, named.Notes), nil
}

// rowsOf returns the rows of all tables.
func rowsOf(r routes.Result) (rows []routes.Row) {
	for _, t := range r.Tables {
		rows = append(rows, t.Rows...)
	}
	return rows
}

// inbound reads the requests that the workload served, by Server and route.
func (v *workloadView) inbound(ctx context.Context, s Sources) ([]string, error) {
	result, err := statinbound.Rows(ctx, s.Numbers, s.Objects, v.request)
	for _, r := range result.Rows {
		v.page.Inbound = append(v.page.Inbound, InboundRow{Server: r.Server, Port: r.Port, Route: r.Route,
			Kind: r.RouteType, Golden: newGolden(&r.Stats)})
	}
	return result.Notes, err
}

// authorizations reads which authorizations allowed requests, and how many were denied.
func (v *workloadView) authorizations(ctx context.Context, s Sources) ([]string, error) {
	c, notes := s.configuration(ctx, v.query.Namespace, "Authorizations without requests are not shown")
	result, err := authz.Rows(ctx, s.Numbers, s.Objects, v.request, inboundOf(c))
	for _, r := range result.Rows {
		v.page.Authorizations = append(v.page.Authorizations, AuthorizationRow{Server: r.Server, Route: r.Route,
			Authorization: r.Authorization, Denied: r.Denied, Golden: newGolden(r.Stats)})
	}
	return slices.Concat(notes, result.Notes), err
}

// find returns the workload or pod of the page.
func (v *workloadView) find(ctx context.Context, s Sources) (*subject.Subject, error) {
	return subject.Find(ctx, s.Objects, v.request.Targets[0], v.request)
}

// denials reads the clients that policy denied.
func (v *workloadView) denials(ctx context.Context, s Sources) ([]string, error) {
	found, err := v.find(ctx, s)
	if err != nil {
		return nil, err
	}
	denials, notes, err := authz.ReadDenials(ctx, s.Numbers, found, v.query.Window)
	if err != nil {
		return nil, err
	}
	rights := newVisibility(ctx, s.Objects, topologyScope{namespaces: []string{v.query.Namespace}})
	queries, rows := authz.DenialQueries(found), map[DenialRow]*DenialRow{}
	for _, d := range denials {
		row := DenialRow{Server: d.Server, Route: d.Route.Name, Reason: d.Reason, Connections: d.Opaque,
			Overflow: d.Overflow}
		if d.Client != "" {
			id, err := mesh.ParseID(d.Client)
			row.Client, row.Hidden = identityText(id), err != nil || !rights.mayRead("pod", id.Namespace)
		}
		if row.Hidden {
			row.Client = ""
		}
		row.Command = queries[map[bool]int{true: 1}[d.Opaque]].PromQL(v.query.Window)
		if rows[row] == nil {
			rows[row] = new(row)
		}
		rows[row].RPS += d.Rate
	}
	for _, row := range rows {
		v.page.Denials = append(v.page.Denials, *row)
	}
	slices.SortFunc(v.page.Denials, func(a, b DenialRow) int {
		return cmp.Or(cmp.Compare(b.RPS, a.RPS), cmp.Compare(a.Server, b.Server), cmp.Compare(a.Route, b.Route),
			cmp.Compare(a.Client, b.Client), cmp.Compare(a.Reason, b.Reason))
	})
	return notes, rights.err
}

// pods reads the pods, with the numbers of `tulle viz stat pods`.
func (v *workloadView) pods(ctx context.Context, s Sources) ([]string, error) {
	found, err := v.find(ctx, s)
	if err != nil {
		return nil, err
	}
	inbound := append(slices.Clone(found.Source.Match), metrics.Is("direction", "inbound"))
	by := slices.Concat(found.Source.By, []string{podLabel})
	answers, err := subject.Ask(ctx, s.Numbers, v.query.Window, []*subject.Subject{found},
		func(*subject.Subject) []metrics.Query { return golden.Requests.Queries(inbound, by) })
	if err != nil {
		return nil, err
	}
	own := func(i int) []metrics.Sample { return found.Source.Attribute(answers.Samples[0][i]) }
	stats := golden.Requests.Read(own(0), own(1), []string{podLabel}, answers.Window)
	statuses, err := v.statuses(ctx, s)
	notes := answers.Notes
	for _, o := range found.Objects {
		for _, p := range o.Pods {
			if p.Finished && v.kind.Name != "pod" {
				continue
			}
			row := PodRow{Name: p.Name, Status: statuses[p.Name], Meshed: p.Meshed, ServiceAccount: p.ServiceAccount}
			if p.Meshed {
				row.Version = p.Version
			}
			if one, ok := stats[golden.KeyOf(p.Name)]; ok {
				row.Golden = newGolden(&one)
			}
			v.page.PodRows = append(v.page.PodRows, row)
		}
	}
	slices.SortFunc(v.page.PodRows, func(a, b PodRow) int { return cmp.Compare(a.Name, b.Name) })
	if n := len(v.page.PodRows); n > maxPodRows {
		v.page.PodRows = v.page.PodRows[:maxPodRows]
		notes = append(notes, fmt.Sprintf("The first %d of %d pods are shown. `%s` has them all.", maxPodRows, n,
			v.page.Commands["pods"]))
	}
	return notes, err
}

// certificates reads when the certificates of the pods expire. The question is separate from the others, because a
// metrics-api of an older version refuses it. A note says so.
func (v *workloadView) certificates(ctx context.Context, s Sources) ([]string, error) {
	found, err := v.find(ctx, s)
	if err != nil {
		return nil, err
	}
	answers, err := subject.Ask(ctx, s.Numbers, time.Second, []*subject.Subject{found},
		func(*subject.Subject) []metrics.Query {
			return []metrics.Query{{Metric: metrics.CertificateExpiration, Match: found.Source.Match,
				By: slices.Concat(found.Source.By, []string{podLabel}), Now: true}}
		})
	if err != nil {
		return []string{fmt.Sprintf("The ends of certificates are not shown: %v", err)}, nil
	}
	v.ends = map[string]time.Time{}
	for _, sample := range found.Source.Attribute(answers.Samples[0][0]) {
		if sample.Value > 0 && sample.Value < maxCertificateEnd {
			v.ends[sample.Labels[podLabel]] = time.Unix(int64(sample.Value), 0).UTC()
		}
	}
	return answers.Notes, nil
}

// podLabel names the pod of a series.
const podLabel = "pod"

// maxCertificateEnd is the last time that a certificate may have: 31 December 9999. Source: RFC 5280 section 4.1.2.5.
const maxCertificateEnd = 253402300800

// statuses returns the states of the namespace's pods by their names.
func (v *workloadView) statuses(ctx context.Context, s Sources) (map[string]string, error) {
	kind, err := resource.ParseKind("pod")
	if err != nil {
		return nil, err
	}
	objects, err := s.Objects.List(ctx, kind, v.query.Namespace, "")
	out := map[string]string{}
	for _, o := range objects {
		out[o.Name] = o.Status
	}
	return out, err
}
