package outbound

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/env"
	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/response"
	"github.com/tulle-mesh/tulle/proxy/retry"
	"github.com/tulle-mesh/tulle/proxy/route"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

// routing is a target's compiled routes with their run-time state. It is made once per change of the routes and
// immutable: a request in flight keeps the routing that it began with.
type routing struct {
	env       *env.Env
	service   mesh.ServiceRef
	authority string
	profile   bool // the routes are a ServiceProfile's
	grpc      bool // they are GRPCRoutes

	table   *route.Table
	rules   []*boundRule // by the rule's ID
	opaque  []*opaqueRule
	budgets budgets
}

// boundRule is a rule with what it needs at run time.
type boundRule struct {
	*route.Rule
	routing      *routing
	backends     []*backend
	draw         atomic.Uint64
	retry        *retry.Policy // nil where nothing is retried
	retryMetrics *retryMetrics // of retry

	once sync.Once // for the fields below
	ruleMetrics
	release []func()
}

// ruleMetrics are the metrics of a rule. They are nil if the target is not a Service.
type ruleMetrics struct {
	requests *stats.Route
	// named and actual count requests and their attempts under the name of a route; nil also without one.
	named, actual *stats.HTTP
	dst           stats.Labels // of both
}

// backend is a rule's use of a backend.
type backend struct {
	*route.Backend
	rule    *boundRule
	service *service  // nil: the reference leads to nothing
	mirrors []*mirror // of the rule and of the backend

	once sync.Once // for the fields below
	backendMetrics
	release func()
}

// backendMetrics are those of a rule's use of a backend: of its requests, and of their way through the balancer. They
// are nil if the target is not a Service.
type backendMetrics struct {
	requests *stats.RouteBackend
	balancer *stats.Balancer
}

// opaqueRule is a rule for opaque connections: a TCPRoute's or a TLSRoute's.
type opaqueRule struct {
	*boundRule
	hostnames []string
}

// newRouting joins the rules of a value with the services that they send to.
func newRouting(value *mesh.Outbound, services map[mesh.ServiceRef]*service, e *env.Env) *routing {
	rt := &routing{
		env: e, service: value.Service, authority: value.Authority, profile: value.Profile != nil,
		grpc: len(value.Routes) > 0 && value.Routes[0].GRPC, table: route.Compile(value),
	}
	for _, r := range rt.table.Rules() {
		rt.rules = append(rt.rules, rt.bind(r, services))
	}
	for i := range value.OpaqueRules {
		o := &value.OpaqueRules[i]
		rt.opaque = append(rt.opaque,
			&opaqueRule{boundRule: rt.bind(route.CompileOpaque(o), services), hostnames: o.Hostnames})
	}
	return rt
}

func (rt *routing) bind(r *route.Rule, services map[mesh.ServiceRef]*service) *boundRule {
	b := &boundRule{Rule: r, routing: rt}
	b.draw.Store(rand.Uint64())
	backends := r.Backends
	if r.OwnService {
		ref := mesh.Ref{Kind: "Service", Namespace: rt.service.Namespace, Name: rt.service.Name}
		backends = []route.Backend{{WeightedBackend: mesh.WeightedBackend{Service: rt.service, Ref: ref, Weight: 1}}}
	}
	mirrors := b.mirrors(r.Mirrors, services)
	for i := range backends {
		one := &backend{Backend: &backends[i], rule: b}
		one.mirrors = slices.Concat(mirrors, b.mirrors(one.Mirrors, services))
		if one.Invalid == "" && (r.OwnService || !one.Service.IsZero()) {
			one.service = services[one.Service]
		}
		b.backends = append(b.backends, one)
	}
	return b
}

// choose finds the rule that a request matches, and one of its backends by weight. rule is nil if no rule matches, be
// if the rule has no backend with a weight.
func (t *target) choose(x *exchange.Exchange, r *request) (rule *boundRule, be *backend, hit route.Hit) {
	for {
		rt := t.routing.Load()
		hit, ok := rt.table.Match(&x.Request)
		if !ok {
			r.rule = nil
			return nil, nil, hit
		}
		rule = rt.rules[hit.Rule.ID]
		r.rule = rule
		if be = rule.pick(); rule.OwnService || be == nil || be.service == nil {
			return rule, be, hit
		}
		if t.acquireService(be.service) { // otherwise the routes have just changed
			r.acquired = be.service
			return rule, be, hit
		}
	}
}

// noRule refuses a request that no rule matches. Source: Gateway API, HTTPRouteRule.matches (404); gRPC's own status
// for a method that nobody serves.
func (t *target) noRule() *response.Refusal {
	e := response.Error{
		Status: 404, Cause: "destination_not_found", Text: "no rule of the Service's routes matches the request",
	}
	if t.routing.Load().grpc {
		e.Code = grpcUnimplemented
	}
	return &response.Refusal{Error: e, Reason: errorNoRoute}
}

// pick chooses the backend of one request or connection by weight; nil if there is none.
func (b *boundRule) pick() *backend {
	if b.OwnService {
		return b.backends[0]
	}
	if picked := b.Pick(b.draw.Add(route.Step)); picked != nil {
		return b.backends[picked.ID]
	}
	return nil
}

// metrics returns the metrics of the rule's route. They are made at first use: most rules of most targets never see a
// request.
func (b *boundRule) metrics() *ruleMetrics {
	b.once.Do(func() {
		rt := b.routing
		if rt.service.IsZero() {
			return
		}
		requests, release := rt.env.Stats.Route(b.labels(), b.GRPC)
		b.requests, b.release = requests, append(b.release, release)
		if b.IsDefault() && !rt.profile {
			return
		}
		name := b.Ref.Name
		if rt.profile {
			name = b.Name
		}
		b.dst = stats.NamedRouteLabels(stats.Outbound, rt.authority, name)
		named, release := rt.env.Stats.Named(b.dst)
		b.named, b.release = named, append(b.release, release)
		actual, release := rt.env.Stats.Actual(b.dst)
		b.actual, b.release = actual, append(b.release, release)
	})
	return &b.ruleMetrics
}

// metrics returns the metrics of the rule's use of the backend. They are made at first use, too.
func (be *backend) metrics() *backendMetrics {
	be.once.Do(func() {
		rt := be.rule.routing
		if rt.service.IsZero() {
			return
		}
		labels := stats.BackendLabels(be.Ref, be.Service)
		be.requests, be.release = rt.env.Stats.RouteBackend(be.rule.labels().Join(labels), be.rule.GRPC)
		be.balancer = be.service.metrics(&be.service.http, rt.service, func() stats.Labels {
			return rt.labels().Join(labels)
		})
	})
	return &be.backendMetrics
}

// labels returns the labels of the target's own Service.
func (rt *routing) labels() stats.Labels { return stats.ParentLabels(rt.service) }

// labels returns the labels of the route and of the Service that it is attached to.
func (b *boundRule) labels() stats.Labels {
	return b.routing.labels().Join(stats.ObjectLabels("route", b.Ref))
}

// close releases the metrics. Requests in flight still add to them: a group outlives its holders.
func (rt *routing) close() {
	for _, b := range rt.rules {
		b.close()
	}
	for _, b := range rt.opaque {
		b.close()
	}
}

func (b *boundRule) close() {
	b.once.Do(func() {}) // requests that come later are not counted
	for _, release := range b.release {
		release()
	}
	if b.retryMetrics != nil {
		b.retryMetrics.close()
	}
	for _, be := range b.backends {
		for _, m := range be.mirrors {
			m.ends.Close()
		}
		if be.once.Do(func() {}); be.release != nil {
			be.release()
		}
	}
}
