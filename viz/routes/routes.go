// Package routes finds and prints the rows of `tulle viz routes`.
//
// It owns what a row is: the requests under one route of one Service, or of a Server. It reads numbers through a
// metrics.Source and objects through a resource.Lister. The one idea: routes of ServiceProfiles, HTTPRoutes and
// GRPCRoutes have the same series, at the clients, so that a command need not know which kind of route it shows.
package routes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tulle-mesh/tulle/viz/golden"
	"github.com/tulle-mesh/tulle/viz/metrics"
	"github.com/tulle-mesh/tulle/viz/resource"
	"github.com/tulle-mesh/tulle/viz/subject"
)

// Default is the name of the row for requests without a route of their own.
const Default = "[DEFAULT]"

// Request says which routes the user wants.
type Request struct {
	Targets []resource.Target
	// Namespace is that of the targets.
	Namespace string
	// Selector selects the targets by their labels; "" selects all.
	Selector string
	Window   time.Duration
	// Existing returns the routes of a Service that have a row even without requests; nil returns none.
	Existing func(namespace, service string) []Existing
	// To asks for the requests that the targets sent there. Otherwise the question is about requests to the targets.
	To *resource.Peer
}

// Row is the requests under one route.
type Row struct {
	Route string
	// Service is what the clients asked for. It is zero for a route of a Server.
	Service Service
	// Stats are those of the application's requests; nil without any.
	Stats *golden.Stats
	// Actual are those of the requests with their retries; nil where there is nobody to retry.
	Actual *Rates
}

// Existing is a route that a Service has.
type Existing struct {
	Authority, Route string
	// Backends are the Services that its requests go to, without ports.
	Backends []Service
}

// Service is a port of a Service. Authority is how metrics write it.
type Service struct{ Namespace, Name, Port, Authority string }

// Rates are a share of successes and a rate per second.
type Rates struct{ Success, RPS float64 }

// Table is the rows of one resource.
type Table struct {
	Kind            resource.Kind
	Namespace, Name string
	Rows            []Row
}

// Result is the answer to a Request.
type Result struct {
	// Tables are those with rows, by the names of their resources.
	Tables []Table
	Notes  []string
}

// Tables answers the request.
func Tables(ctx context.Context, src metrics.Source, cluster resource.Lister, req Request) (Result, error) {
	if len(req.Targets) != 1 {
		return Result{}, errors.New("name resources of one type")
	}
	p, err := newPlan(ctx, cluster, req)
	if err != nil || p == nil {
		return Result{}, err
	}
	queries := p.queries()
	answer, err := src.Ask(ctx, req.Window, queries)
	if err != nil {
		return Result{}, err
	}
	if len(answer.Samples) != len(queries) {
		return Result{}, fmt.Errorf("read numbers: %d answers to %d queries", len(answer.Samples), len(queries))
	}
	tables := p.tables(answer.Samples, cmp.Or(answer.Window, req.Window))
	switch {
	case req.Existing == nil:
	case p.receivers != nil:
		p.addIdleTo(tables, p.reached(answer.Samples[6]), req.Existing)
	default:
		p.addIdle(tables, req.Existing)
	}
	tables = slices.DeleteFunc(tables, func(t Table) bool { return len(t.Rows) == 0 })
	return Result{tables, answer.Notes}, nil
}

// plan is how the request is answered.
type plan struct {
	kind resource.Kind
	// objects are the resources that get a table. An authority is no object: there is a table for each that has requests.
	objects []resource.Object
	// senders are the targets if the question is about what they sent; receivers are the workloads that it was sent to,
	// and services the Services. receivers and services are nil if that is not a workload, or not a Service.
	senders, receivers *subject.Subject
	services           func(Service) bool
	// called are the Services that services accepts, if they are objects.
	called []resource.Object
}

// newPlan returns nil if there is no object to ask for.
func newPlan(ctx context.Context, cluster resource.Lister, req Request) (*plan, error) {
	target := req.Targets[0]
	p := &plan{kind: target.Kind}
	if req.To == nil {
		objects, err := p.to(ctx, cluster, target, req.Namespace, req.Selector)
		p.objects = objects
		if err != nil || len(objects) == 0 && target.Kind.Name != authority {
			return nil, err
		}
		return p, nil
	}
	if !target.Kind.HasPods() {
		return nil, fmt.Errorf("--to does not work for %s: they send no requests", target.Kind.Plural)
	}
	s, err := one(ctx, cluster, target, req.Namespace, req.Selector)
	if err != nil || s == nil {
		return nil, err
	}
	p.senders, p.objects = s, s.Objects
	peer := resource.Target{Kind: req.To.Kind}
	if req.To.Name != "" {
		peer.Names = []string{req.To.Name}
	}
	objects, err := p.to(ctx, cluster, peer, req.To.Namespace, "")
	if err != nil {
		return nil, fmt.Errorf("--to: %w", err)
	}
	if len(objects) == 0 && peer.Kind.Name != authority {
		return nil, nil
	}
	return p, nil
}

const authority = "authority"

// to reads who received the requests.
func (p *plan) to(ctx context.Context, cluster resource.Lister, target resource.Target, namespace, selector string) (
	[]resource.Object, error) {
	switch k := target.Kind; {
	case k.HasPods():
		s, err := one(ctx, cluster, target, namespace, selector)
		if err != nil || s == nil {
			return nil, err
		}
		p.receivers = s
		return s.Objects, nil
	case k.Name == authority:
		if selector != "" {
			return nil, errors.New(
				"--selector does not work for authorities: they are not objects of the cluster, so they have no labels")
		}
		p.services = func(s Service) bool {
			return len(target.Names) == 0 || slices.ContainsFunc(target.Names, func(name string) bool {
				want := parseAuthority(name)
				return s.Namespace == want.Namespace && s.Name == want.Name && (want.Port == "" || s.Port == want.Port)
			})
		}
		return nil, nil
	case k.Class == resource.Called:
		objects, err := resource.Find(ctx, cluster, target, namespace, selector)
		if err != nil {
			return nil, err
		}
		resource.Sort(objects)
		p.called = objects
		p.services = func(s Service) bool {
			return slices.ContainsFunc(objects, func(o resource.Object) bool {
				return o.Namespace == s.Namespace && o.Name == s.Name
			})
		}
		return objects, nil
	}
	return nil, fmt.Errorf("%s have no routes to show: name a workload, a pod, a namespace, a service or an authority",
		target.Kind.Plural)
}

// one returns the workloads of one target; nil if there is none.
func one(ctx context.Context, cluster resource.Lister, target resource.Target, namespace, selector string) (
	*subject.Subject, error) {
	subjects, _, err := subject.Select(ctx, cluster,
		subject.Request{Targets: []resource.Target{target}, Namespace: namespace, Selector: selector})
	if err != nil || len(subjects) == 0 {
		return nil, err
	}
	return subjects[0], nil
}
