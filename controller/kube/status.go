package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"

	"github.com/tulle-mesh/tulle/controller/model"
	"github.com/tulle-mesh/tulle/internal/lead"
	"github.com/tulle-mesh/tulle/mesh"
)

// Limits of what is written to the API server, whatever users do.
const (
	// statusRate, a second, and statusBurst bound what etcd has to store: in a cluster where a change makes all routes say something else,
	// or where somebody writes over statuses again and again. It is for the API server to say how fast it can: it answers later.
	statusRate    = 100
	statusBurst   = 500
	statusTimeout = 5 * time.Second
	// statusWriters bounds the patches under way, so that a slow one does not hold up the rest, and so the seats that they take of the
	// API server's priority level for ServiceAccounts, which has hundreds.
	statusWriters = 4
	// An object whose status cannot be written is tried again after these times.
	firstStatusRetry = 100 * time.Millisecond
	lastStatusRetry  = time.Minute
)

// What became of a status.
const (
	statusWritten  = "written"
	statusConflict = "conflict" // the object had changed meanwhile: tried again
	statusGone     = "gone"     // the object, or its kind, is no more
	statusFailed   = "failed"   // tried again
	statusCut      = "cut"      // too many parents: written without the last ones
)

// StatusWriter writes statuses of objects. It remembers one for each object, so that a long absence of the API server, or of the
// leader, loses nothing and piles up nothing; only the leader writes, and only what differs from what the API server shows.
type StatusWriter struct {
	log      *zap.Logger
	clients  Clients
	watcher  *Watcher
	election lead.Config
	metrics  *statusMetrics

	mu     sync.Mutex // guards the fields below
	wanted map[id]model.Status
	queue  workqueue.TypedRateLimitingInterface[id] // nil unless leading
}

// NewStatusWriter returns a writer of what Publish is given about the objects that w watches; Run makes it write. Replica tells the
// replicas apart, and the Lease is in namespace. It must be called before w runs.
func NewStatusWriter(c Config, w *Watcher, namespace, replica string) *StatusWriter {
	s := &StatusWriter{
		log: c.Log, clients: c.Clients, watcher: w, metrics: newStatusMetrics(c.Registry), wanted: map[id]model.Status{},
		election: lead.Config{Client: c.Clients.Kubernetes, Namespace: namespace, Name: mesh.DestinationName, Replica: replica},
	}
	w.shown = s.check
	return s
}

// Publish notes what statuses should say from now on. It never blocks.
func (s *StatusWriter) Publish(all []model.Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, status := range all {
		o := status.Object
		n := id{schema.GroupKind{Group: o.Group, Kind: o.Kind}, types.NamespacedName{Namespace: o.Namespace, Name: o.Name}}
		if status.Gone {
			delete(s.wanted, n)
			continue
		}
		s.wanted[n] = status
		s.enqueue(n)
	}
}

// check has the status of an object compared that has changed at the API server: somebody else may have written over it.
func (s *StatusWriter) check(n id) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.wanted[n]; ok {
		s.enqueue(n)
	}
}

func (s *StatusWriter) enqueue(n id) {
	if s.queue != nil {
		s.queue.Add(n)
		s.metrics.backlog.Set(float64(s.queue.Len()))
	}
}

// Run writes whenever this replica leads, until ctx ends, whose error it returns.
func (s *StatusWriter) Run(ctx context.Context) error {
	return lead.Run(ctx, s.election, s.write)
}

// write writes until ctx ends.
func (s *StatusWriter) write(ctx context.Context) error {
	s.metrics.leading.Set(1)
	defer s.metrics.leading.Set(0)
	s.log.Info("leading: statuses are written here")
	queue := workqueue.NewTypedRateLimitingQueue(
		workqueue.NewTypedItemExponentialFailureRateLimiter[id](firstStatusRetry, lastStatusRetry))
	s.use(queue)
	limit := rate.NewLimiter(statusRate, statusBurst)
	var group errgroup.Group
	for range statusWriters {
		group.Go(func() error {
			for {
				n, down := queue.Get()
				if down {
					return nil
				}
				s.metrics.backlog.Set(float64(queue.Len()))
				s.settle(ctx, queue, limit, n)
				queue.Done(n)
			}
		})
	}
	<-ctx.Done()
	s.use(nil)
	queue.ShutDown()
	_ = group.Wait()
	s.metrics.backlog.Set(0)
	return ctx.Err()
}

// use has queue take what is to be written, beginning with everything; nil for nothing.
func (s *StatusWriter) use(queue workqueue.TypedRateLimitingInterface[id]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.queue = queue; queue == nil {
		return
	}
	for n := range s.wanted {
		s.enqueue(n)
	}
}

// settle brings the status of an object to what it should be, or has it tried again later.
func (s *StatusWriter) settle(ctx context.Context, queue workqueue.TypedRateLimitingInterface[id], limit *rate.Limiter, n id) {
	result, err := s.settleOnce(ctx, limit, n)
	if ctx.Err() != nil {
		return // the next leader's
	}
	if result != "" {
		s.metrics.writes.WithLabelValues(result).Inc()
	}
	switch result {
	case statusConflict, statusFailed:
		queue.AddRateLimited(n)
	default:
		queue.Forget(n)
	}
	if result == statusFailed {
		s.log.Warn("status not written, will try again", zap.String("kind", n.kind.Kind), zap.Stringer("object", n.name), zap.Error(err))
	}
}

// settleOnce returns what became of the status, "" if nothing was to be written.
func (s *StatusWriter) settleOnce(ctx context.Context, limit *rate.Limiter, n id) (string, error) {
	if _, _, ok := s.compare(n); !ok {
		return "", nil
	}
	if err := limit.Wait(ctx); err != nil {
		return "", err
	}
	shown, m, ok := s.compare(n) // again: it may have changed in that time
	if !ok {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	body, err := json.Marshal(patch(shown, m))
	if err != nil {
		return statusFailed, fmt.Errorf("encode status: %w", err)
	}
	answer, err := s.clients.Dynamic.Resource(shown.resource).Namespace(n.name.Namespace).
		Patch(ctx, n.name.Name, types.MergePatchType, body, metav1.PatchOptions{FieldManager: mesh.DestinationName}, "status")
	switch {
	case apierrors.IsNotFound(err):
		return statusGone, nil
	case apierrors.IsConflict(err):
		return statusConflict, nil
	case err != nil:
		return statusFailed, err
	}
	shown.objects.learn(n.name, shown.version, answer)
	if m.cut {
		return statusCut, nil
	}
	return statusWritten, nil
}

// compare returns what the API server shows of the object and what its status should become; false if nothing is to be written now.
// An object that is newer than what its status was made from gets another one soon.
func (s *StatusWriter) compare(n id) (shown, merged, bool) {
	s.mu.Lock()
	want, ok := s.wanted[n]
	s.mu.Unlock()
	if !ok {
		return shown{}, merged{}, false
	}
	view, ok := s.watcher.show(n)
	if !ok || view.generation != want.Generation {
		return shown{}, merged{}, false
	}
	m := merge(view.status, want, metav1.NewTime(time.Now().Truncate(time.Second)))
	return view, m, m.changed
}

// patch is a merge patch that applies to the very state it was made from: lists are replaced whole, and others write there too.
func patch(v shown, m merged) any {
	fields := map[string]any{}
	if m.Parents != nil {
		fields["parents"] = m.Parents
	}
	if m.Conditions != nil {
		fields["conditions"] = m.Conditions
	}
	return map[string]any{"metadata": map[string]any{"resourceVersion": v.version}, "status": fields}
}

// statusMetrics are of what is written.
type statusMetrics struct {
	writes           *prometheus.CounterVec
	backlog, leading prometheus.Gauge
}

func newStatusMetrics(r prometheus.Registerer) *statusMetrics {
	m := &statusMetrics{
		writes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tulle_kube_status_writes_total", Help: "Statuses of objects, by what became of them.",
		}, []string{"result"}),
		backlog: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tulle_kube_status_backlog", Help: "Objects whose status is to be compared or written.",
		}),
		leading: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tulle_kube_leading", Help: "1 in the replica that writes statuses.",
		}),
	}
	r.MustRegister(m.writes, m.backlog, m.leading)
	return m
}
