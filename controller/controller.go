package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tulle-mesh/tulle/controller/discovery"
	"github.com/tulle-mesh/tulle/controller/model"
	"github.com/tulle-mesh/tulle/internal/latest"
	"github.com/tulle-mesh/tulle/mesh"
)

// Reporter tells people about their mistakes. Report must not block.
type Reporter interface {
	Report(model.Problem)
}

// Publisher gets what became of objects, as it changes. Publish must not block.
type Publisher interface {
	Publish([]model.Outcome)
}

// Config of a Controller. Every field must be set.
type Config struct {
	Log      *zap.Logger
	Registry prometheus.Registerer
	Model    model.Config
	// Events is where objects come from; an Event that is Synced marks the end of those that existed at the start.
	Events <-chan model.Event
	// Problems gets findings that are reported by an Event: those in annotations, and spec mistakes of access policies
	// (Servers, authorizations, rate limits). Spec mistakes of routes and profiles are in Outcomes alone. Package kube
	// reports objects that cannot be decoded, and removed definitions.
	Problems Reporter
	// Outcomes gets what statuses are made of, as it changes.
	Outcomes Publisher
}

// Controller answers what proxies ask. It is a discovery.Source.
type Controller struct {
	config  Config
	metrics *metrics
	table   *table
	ops     chan func()
	synced  chan struct{} // closed once answers are given
	ended   chan struct{} // closed when Run returns
}

// opsCapacity lets streams hand over work while the loop is busy with a batch; those beyond wait.
const opsCapacity = 1024

// maxBatch bounds how long proxies wait for what an earlier event of the same storm has changed.
const maxBatch = 4096

// New returns a Controller; Run makes it work.
func New(c Config) *Controller {
	m := newMetrics(c.Registry)
	return &Controller{
		config: c, metrics: m, table: newTable(c.Model, m),
		ops: make(chan func(), opsCapacity), synced: make(chan struct{}), ended: make(chan struct{}),
	}
}

// Synced is closed when every object that existed at the start has been applied. Watches get no value before.
func (c *Controller) Synced() <-chan struct{} { return c.synced }

// Run applies events and serves watches until ctx ends, whose error it returns. It may be called once.
func (c *Controller) Run(ctx context.Context) error {
	defer close(c.ended)
	for {
		select {
		case e := <-c.config.Events:
			c.apply(e)
		case op := <-c.ops:
			op()
		case <-ctx.Done():
			return ctx.Err()
		}
		n := c.drain()
		c.metrics.batch.Observe(float64(n + 1))
		if c.isSynced() {
			begin := time.Now()
			c.table.publish()
			if outcomes := c.table.store.Outcomes(); len(outcomes) > 0 {
				c.config.Outcomes.Publish(outcomes)
			}
			c.metrics.publish.Observe(time.Since(begin).Seconds())
		}
	}
}

// drain takes what is queued already, without waiting: nothing when the loop is idle, much when it is busy.
func (c *Controller) drain() int {
	for n := range maxBatch {
		select {
		case e := <-c.config.Events:
			c.apply(e)
		case op := <-c.ops:
			op()
		default:
			return n
		}
	}
	return maxBatch
}

func (c *Controller) isSynced() bool {
	select {
	case <-c.synced:
		return true
	default:
		return false
	}
}

func (c *Controller) apply(e model.Event) {
	if e.Synced {
		c.config.Log.Info("synced", zap.Int("services", c.table.store.Services()), zap.Int("pods", c.table.store.Pods()))
		close(c.synced)
		return
	}
	c.metrics.events.Inc()
	e.At = time.Now()
	for _, p := range c.table.apply(e) {
		c.metrics.problems.WithLabelValues(p.Field()).Inc()
		c.config.Log.Warn("invalid object", zap.String("kind", p.Object.Kind), zap.String("namespace", p.Object.Namespace),
			zap.String("name", p.Object.Name), zap.Stringer("problem", p))
		c.config.Problems.Report(p)
	}
}

var errEnded = errors.New("the controller has ended")

// do has the loop run op and waits for it. Once op is queued, the end of ctx does not end the wait: the loop may run op
// at any time, so its caller may neither lose what op acquires nor read what op writes.
func (c *Controller) do(ctx context.Context, op func()) error {
	done := make(chan struct{})
	select {
	case c.ops <- func() { op(); close(done) }:
	case <-ctx.Done():
		return ctx.Err()
	case <-c.ended:
		return errEnded
	}
	select {
	case <-done:
		return nil
	case <-c.ended:
		return errEnded
	}
}

// Identify implements discovery.Source.
func (c *Controller) Identify(ctx context.Context, namespace, pod string) (node, serviceAccount string, err error) {
	var known bool
	err = c.do(ctx, func() {
		node, serviceAccount, known = c.table.store.Where(types.NamespacedName{Namespace: namespace, Name: pod})
	})
	if err == nil && !known {
		err = fmt.Errorf("identify %s/%s: %w", namespace, pod, discovery.ErrUnknownPod)
	}
	return node, serviceAccount, err
}

// Watch implements discovery.Source.
func (c *Controller) Watch(ctx context.Context, client mesh.Client, t mesh.Target) (
	*latest.Cell[*discovery.Value], func(), error,
) {
	var p *topic
	if err := c.do(ctx, func() { p = c.table.acquire(keyOf(t, client)) }); err != nil {
		return nil, nil, fmt.Errorf("watch %v: %w", t.Addr, err)
	}
	return p.cell, func() { c.release(p) }, nil
}

// release ends a watch of p. It waits only while the loop's queue is full, and not at all for a loop that has
// ended.
func (c *Controller) release(p *topic) {
	select {
	case c.ops <- func() { c.table.release(p) }:
	case <-c.ended:
	}
}
