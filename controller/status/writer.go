package status

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

	"github.com/tulle-mesh/tulle/controller/kube"
	"github.com/tulle-mesh/tulle/controller/model"
	"github.com/tulle-mesh/tulle/internal/leader"
	"github.com/tulle-mesh/tulle/mesh"
)

// Limits of what is written to the API server, whatever users do.
const (
	// writeRate, a second, and writeBurst bound what etcd has to store: in a cluster where a change makes all routes
	// say something else, or where somebody writes over statuses again and again. It is for the API server to say how
	// fast it can: it answers later.
	writeRate    = 100
	writeBurst   = 500
	writeTimeout = 5 * time.Second
	// writers bounds the patches under way, so that a slow one does not hold up the rest, and so the seats that they
	// take of the API server's priority level for ServiceAccounts, which has hundreds.
	writers = 4
	// An object whose status cannot be written is tried again after these times.
	firstRetry = 100 * time.Millisecond
	lastRetry  = time.Minute
)

// What became of a status.
const (
	resultWritten  = "written"
	resultConflict = "conflict" // the object had changed meanwhile: tried again
	resultGone     = "gone"     // the object, or its kind, is no more
	resultFailed   = "failed"   // tried again
	resultCut      = "cut"      // too many parents: written without the last ones
)

// Writer writes statuses of objects. It remembers one for each object, so that a long absence of the API server, or of
// the leader, loses nothing and piles up nothing; only the leader writes, and only what differs from what the API
// server shows.
type Writer struct {
	log      *zap.Logger
	clients  kube.Clients
	watcher  *kube.Watcher
	election leader.Config
	metrics  *metrics

	mu     sync.Mutex // guards the fields below
	wanted map[kube.ID]model.Outcome
	queue  workqueue.TypedRateLimitingInterface[kube.ID] // nil unless leading
}

// NewWriter returns a writer of what Publish is given about the objects that w watches; Run makes it write. Replica
// tells the replicas apart, and the Lease is in namespace. It must be called before w runs.
func NewWriter(c kube.Config, w *kube.Watcher, namespace, replica string) *Writer {
	s := &Writer{
		log: c.Log, clients: c.Clients, watcher: w, metrics: newMetrics(c.Registry), wanted: map[kube.ID]model.Outcome{},
		election: leader.Config{Client: c.Clients.Kubernetes, Namespace: namespace, Name: mesh.DestinationName,
			Replica: replica},
	}
	w.OnObserved(s.check)
	return s
}

// Publish notes what statuses should say from now on. It never blocks.
func (s *Writer) Publish(all []model.Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, outcome := range all {
		o := outcome.Object
		n := kube.ID{Kind: schema.GroupKind{Group: o.Group, Kind: o.Kind},
			Name: types.NamespacedName{Namespace: o.Namespace, Name: o.Name}}
		if outcome.Gone {
			delete(s.wanted, n)
			continue
		}
		s.wanted[n] = outcome
		s.enqueue(n)
	}
}

// check has the status of an object compared that has changed at the API server: somebody else may have written over
// it.
func (s *Writer) check(n kube.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.wanted[n]; ok {
		s.enqueue(n)
	}
}

func (s *Writer) enqueue(n kube.ID) {
	if s.queue != nil {
		s.queue.Add(n)
		s.metrics.backlog.Set(float64(s.queue.Len()))
	}
}

// Run writes whenever this replica leads, until ctx ends, whose error it returns.
func (s *Writer) Run(ctx context.Context) error {
	return leader.Run(ctx, s.election, s.write)
}

// write writes until ctx ends.
func (s *Writer) write(ctx context.Context) error {
	s.metrics.leading.Set(1)
	defer s.metrics.leading.Set(0)
	s.log.Info("leader elected, writing statuses")
	queue := workqueue.NewTypedRateLimitingQueue(
		workqueue.NewTypedItemExponentialFailureRateLimiter[kube.ID](firstRetry, lastRetry))
	s.use(queue)
	limit := rate.NewLimiter(writeRate, writeBurst)
	var group errgroup.Group
	for range writers {
		group.Go(func() error {
			for {
				n, down := queue.Get()
				if down {
					return nil
				}
				s.metrics.backlog.Set(float64(queue.Len()))
				s.reconcile(ctx, queue, limit, n)
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
func (s *Writer) use(queue workqueue.TypedRateLimitingInterface[kube.ID]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.queue = queue; queue == nil {
		return
	}
	for n := range s.wanted {
		s.enqueue(n)
	}
}

// reconcile brings the status of an object to what it should be, or has it tried again later.
func (s *Writer) reconcile(ctx context.Context, queue workqueue.TypedRateLimitingInterface[kube.ID],
	limit *rate.Limiter, n kube.ID) {
	result, err := s.writeOnce(ctx, limit, n)
	if ctx.Err() != nil {
		return // the next leader's
	}
	if result != "" {
		s.metrics.writes.WithLabelValues(result).Inc()
	}
	switch result {
	case resultConflict, resultFailed:
		queue.AddRateLimited(n)
	default:
		queue.Forget(n)
	}
	if result == resultFailed {
		s.log.Warn("failed to write status, retrying", zap.String("kind", n.Kind.Kind), zap.Stringer("object", n.Name),
			zap.Error(err))
	}
}

// writeOnce returns what became of the status, "" if nothing was to be written.
func (s *Writer) writeOnce(ctx context.Context, limit *rate.Limiter, n kube.ID) (string, error) {
	if _, _, ok := s.compare(n); !ok {
		return "", nil
	}
	if err := limit.Wait(ctx); err != nil {
		return "", err
	}
	observed, m, ok := s.compare(n) // again: it may have changed in that time
	if !ok {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	body, err := json.Marshal(patch(observed, m))
	if err != nil {
		return resultFailed, fmt.Errorf("encode status: %w", err)
	}
	answer, err := s.clients.Dynamic.Resource(observed.Resource).Namespace(n.Name.Namespace).
		Patch(ctx, n.Name.Name, types.MergePatchType, body, metav1.PatchOptions{FieldManager: mesh.DestinationName}, "status")
	switch {
	case apierrors.IsNotFound(err):
		return resultGone, nil
	case apierrors.IsConflict(err):
		return resultConflict, nil
	case err != nil:
		return resultFailed, err
	}
	s.watcher.Learn(n, observed.Version, answer)
	if m.cut {
		return resultCut, nil
	}
	return resultWritten, nil
}

// compare returns what the API server shows of the object and what its status should become; false if nothing is to be
// written now. An object that is newer than what its status was made from gets another one soon.
func (s *Writer) compare(n kube.ID) (kube.Observed, merged, bool) {
	s.mu.Lock()
	want, ok := s.wanted[n]
	s.mu.Unlock()
	if !ok {
		return kube.Observed{}, merged{}, false
	}
	view, ok := s.watcher.Observed(n)
	if !ok || view.Generation != want.Generation {
		return kube.Observed{}, merged{}, false
	}
	m := merge(view.Status, want, metav1.NewTime(time.Now().Truncate(time.Second)))
	return view, m, m.changed
}

// patch is a merge patch that applies to the very state it was made from: lists are replaced whole, and others write
// there too.
func patch(v kube.Observed, m merged) any {
	fields := map[string]any{}
	if m.Parents != nil {
		fields["parents"] = m.Parents
	}
	if m.Conditions != nil {
		fields["conditions"] = m.Conditions
	}
	return map[string]any{"metadata": map[string]any{"resourceVersion": v.Version}, "status": fields}
}

// metrics are of what is written.
type metrics struct {
	writes           *prometheus.CounterVec
	backlog, leading prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
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
