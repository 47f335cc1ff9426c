package explain

import (
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/mesh"
)

// Retain returns a function that reads the cluster again only when the last reading is older than ttl, because a
// reading lists all of it. Several goroutines may use the function and what it returns.
func Retain(ttl time.Duration, read func(context.Context) (*Model, error)) func(context.Context) (*Retained,
	error) {
	var mu sync.Mutex // held while the cluster is read
	var last *Retained
	var failed error
	var at time.Time
	return func(ctx context.Context) (*Retained, error) {
		mu.Lock()
		defer mu.Unlock()
		if !at.IsZero() && time.Since(at) < ttl {
			return last, failed
		}
		found, err := read(ctx)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		last, failed, at = nil, err, time.Now()
		if err == nil {
			last = NewRetained(found)
		}
		return last, failed
	}
}

// Retained is a Model that lets one goroutine at a time ask: an answer fills caches of the controller's code.
type Retained struct {
	mu sync.Mutex // held while of answers
	of *Model
}

// NewRetained returns the Model for several goroutines. Nobody else may ask it.
func NewRetained(m *Model) *Retained { return &Retained{of: m} }

// Inbound returns what Model.Inbound does.
func (r *Retained) Inbound(pod *corev1.Pod) *mesh.Inbound {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.of.Inbound(pod)
}

// Ports returns what Model.Ports does.
func (r *Retained) Ports(namespace, service string) []*mesh.Outbound {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.of.Ports(namespace, service)
}

// Routes returns what Model.Routes does.
func (r *Retained) Routes(namespace, service string) []ServiceRoute {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.of.Routes(namespace, service)
}
