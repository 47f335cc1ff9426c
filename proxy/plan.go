package proxy

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/retry"
	"github.com/tulle-mesh/tulle/proxy/route"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

// plan is what a target's routes mean for requests and connections. It is made once per change of them and immutable: what is in flight
// keeps the one that it began with.
type plan struct {
	proxy     *Proxy
	service   mesh.ServiceRef
	authority string
	profile   bool // the routes are a ServiceProfile's
	grpc      bool // they are GRPCRoutes

	table   *route.Table
	courses []*course // by the rule's ID
	streams []*stream
	budgets budgets
}

// course is a rule with what it needs at run time.
type course struct {
	*route.Rule
	plan   *plan
	shares []*share
	draw   atomic.Uint64
	retry  *retry.Policy // nil where nothing is retried
	tries  *tries        // of retry

	once sync.Once // for the fields below
	counters
	release []func()
}

// counters are those of a rule. They are nil where no Service was asked for.
type counters struct {
	requests *stats.Route
	// named and actual count requests and their attempts under the name of a route; nil also without one.
	named, actual *stats.HTTP
	dst           stats.Labels // of both
}

// share is a rule's use of a backend.
type share struct {
	*route.Backend
	course  *course
	service *service  // nil: there is nothing behind the reference
	mirrors []*mirror // of the rule and of the backend

	once sync.Once // for the fields below
	tallies
	release func()
}

// tallies are the counters of a rule's use of a backend: of its requests, and of their way through the balancer. They are nil where no
// Service was asked for.
type tallies struct {
	requests *stats.RouteBackend
	balancer *stats.Balancer
}

// stream is a rule for connections that are not HTTP.
type stream struct {
	*course
	hostnames []string
}

// newPlan joins the rules of a value with the services that they send to.
func newPlan(value *mesh.Outbound, services map[mesh.ServiceRef]*service, proxy *Proxy) *plan {
	p := &plan{
		proxy: proxy, service: value.Service, authority: value.Authority, profile: value.Profile != nil,
		grpc: len(value.Routes) > 0 && value.Routes[0].GRPC, table: route.Compile(value),
	}
	for _, r := range p.table.Rules() {
		p.courses = append(p.courses, p.course(r, services))
	}
	for i := range value.Streams {
		s := &value.Streams[i]
		p.streams = append(p.streams, &stream{course: p.course(route.Stream(s), services), hostnames: s.Hostnames})
	}
	return p
}

func (p *plan) course(r *route.Rule, services map[mesh.ServiceRef]*service) *course {
	c := &course{Rule: r, plan: p}
	c.draw.Store(rand.Uint64())
	backends := r.Backends
	if r.Itself {
		ref := mesh.Ref{Kind: "Service", Namespace: p.service.Namespace, Name: p.service.Name}
		backends = []route.Backend{{WeightedBackend: mesh.WeightedBackend{Service: p.service, Ref: ref, Weight: 1}}}
	}
	mirrors := c.mirrors(r.Mirrors, services)
	for i := range backends {
		s := &share{Backend: &backends[i], course: c}
		s.mirrors = slices.Concat(mirrors, c.mirrors(s.Mirrors, services))
		if s.Invalid == "" && (r.Itself || !s.Service.IsZero()) {
			s.service = services[s.Service]
		}
		c.shares = append(c.shares, s)
	}
	return c
}

// pick chooses the backend of one request or connection; nil if there is none.
func (c *course) pick() *share {
	if c.Itself {
		return c.shares[0]
	}
	if b := c.Pick(c.draw.Add(route.Step)); b != nil {
		return c.shares[b.ID]
	}
	return nil
}

// meters returns the counters of the rule's route. They are made at first use: most rules of most targets never see a request.
func (c *course) meters() *counters {
	c.once.Do(func() {
		p := c.plan
		if p.service.IsZero() {
			return
		}
		requests, release := p.proxy.stats.Route(c.labels(), c.GRPC)
		c.requests, c.release = requests, append(c.release, release)
		if c.Route < 0 && !p.profile {
			return
		}
		name := c.Ref.Name
		if p.profile {
			name = c.Name
		}
		c.dst = stats.Labels("").With("direction", "outbound").With("dst", p.authority).With("rt_route", name)
		named, release := p.proxy.stats.Named(c.dst)
		c.named, c.release = named, append(c.release, release)
		actual, release := p.proxy.stats.Actual(c.dst)
		c.actual, c.release = actual, append(c.release, release)
	})
	return &c.counters
}

// meters returns the counters of the rule's use of the backend. They are made at first use, too.
func (s *share) meters() *tallies {
	s.once.Do(func() {
		p := s.course.plan
		if p.service.IsZero() {
			return
		}
		backend := backendLabels(s.Ref, s.Service)
		s.requests, s.release = p.proxy.stats.RouteBackend(s.course.labels().Join(backend), s.course.GRPC)
		s.balancer = s.service.show(p.proxy, &s.service.http, func() stats.Labels { return p.labels().Join(backend) })
	})
	return &s.tallies
}

// labels are those of the Service that was asked for.
func (p *plan) labels() stats.Labels {
	parent := objectLabels("parent", mesh.Ref{Kind: "Service", Namespace: p.service.Namespace, Name: p.service.Name})
	return parent.With("parent_port", strconv.Itoa(int(p.service.Port)))
}

// labels are those of the route and of the Service that it is attached to.
func (c *course) labels() stats.Labels { return c.plan.labels().Join(objectLabels("route", c.Ref)) }

// objectLabels are the labels that name an object, as Linkerd has them: its Services are of the group "core".
func objectLabels(what string, r mesh.Ref) stats.Labels {
	if r.Kind == "Service" {
		r.Group = cmp.Or(r.Group, "core")
	}
	return stats.Labels("").With(what+"_group", r.Group).With(what+"_kind", r.Kind).With(what+"_namespace", r.Namespace).With(what+"_name", r.Name)
}

// backendLabels are the labels of a port of a Service that a rule sends to.
func backendLabels(ref mesh.Ref, service mesh.ServiceRef) stats.Labels {
	return objectLabels("backend", ref).With("backend_port", strconv.Itoa(int(service.Port)))
}

// close lets go of the counters. Requests in flight still add to them: a group outlives its holders.
func (p *plan) close() {
	for _, c := range p.courses {
		c.close()
	}
	for _, s := range p.streams {
		s.close()
	}
}

func (c *course) close() {
	c.once.Do(func() {}) // who comes later is not counted
	for _, release := range c.release {
		release()
	}
	if c.tries != nil {
		c.tries.close()
	}
	for _, s := range c.shares {
		for _, m := range s.mirrors {
			m.ends.Close()
		}
		if s.once.Do(func() {}); s.release != nil {
			s.release()
		}
	}
}
