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

// NewWriter returns a writer of what Publish is given about the objects of watcher; Run makes it write. Replica
// tells the replicas apart, and the Lease is in namespace. It must be called before w runs.
func NewWriter(c kube.Config, watcher *kube.Watcher, namespace, replica string) *Writer {
	w := &Writer{
		log: c.Log, clients: c.Clients, watcher: watcher, metrics: newMetrics(c.Registry),
		wanted: map[kube.ID]model.Outcome{},
		election: leader.Config{Client: c.Clients.Kubernetes, Namespace: namespace, Name: mesh.DestinationName,
			Replica: replica},
	}
	watcher.OnObserved(w.check)
	return w
}

// Publish notes what statuses should say from now on. It never blocks.
func (w *Writer) Publish(all []model.Outcome) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, outcome := range all {
		o := outcome.Object
		id := kube.ID{Kind: schema.GroupKind{Group: o.Group, Kind: o.Kind},
			Name: types.NamespacedName{Namespace: o.Namespace, Name: o.Name}}
		if outcome.Gone {
			delete(w.wanted, id)
			continue
		}
		w.wanted[id] = outcome
		w.enqueue(id)
	}
}

// check has the status of an object compared that has changed at the API server: somebody else may have written over
// it.
func (w *Writer) check(id kube.ID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.wanted[id]; ok {
		w.enqueue(id)
	}
}

func (w *Writer) enqueue(id kube.ID) {
	if w.queue != nil {
		w.queue.Add(id)
		w.metrics.backlog.Set(float64(w.queue.Len()))
	}
}

// Run writes whenever this replica leads, until ctx ends, whose error it returns.
func (w *Writer) Run(ctx context.Context) error {
	return leader.Run(ctx, w.election, w.write)
}

// write writes until ctx ends.
func (w *Writer) write(ctx context.Context) error {
	w.metrics.leading.Set(1)
	defer w.metrics.leading.Set(0)
	w.log.Info("leader elected, writing statuses")
	queue := workqueue.NewTypedRateLimitingQueue(
		workqueue.NewTypedItemExponentialFailureRateLimiter[kube.ID](firstRetry, lastRetry))
	w.use(queue)
	limit := rate.NewLimiter(writeRate, writeBurst)
	var group errgroup.Group
	for range writers {
		group.Go(func() error {
			for {
				id, down := queue.Get()
				if down {
					return nil
				}
				w.metrics.backlog.Set(float64(queue.Len()))
				w.reconcile(ctx, queue, limit, id)
				queue.Done(id)
			}
		})
	}
	<-ctx.Done()
	w.use(nil)
	queue.ShutDown()
	_ = group.Wait()
	w.metrics.backlog.Set(0)
	return ctx.Err()
}

// use has queue take what is to be written, beginning with everything; nil for nothing.
func (w *Writer) use(queue workqueue.TypedRateLimitingInterface[kube.ID]) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.queue = queue; queue == nil {
		return
	}
	for id := range w.wanted {
		w.enqueue(id)
	}
}

// reconcile brings the status of an object to what it should be, or has it tried again later.
func (w *Writer) reconcile(ctx context.Context, queue workqueue.TypedRateLimitingInterface[kube.ID],
	limit *rate.Limiter, id kube.ID) {
	result, err := w.writeOnce(ctx, limit, id)
	if ctx.Err() != nil {
		return // the next leader's
	}
	if result != "" {
		w.metrics.writes.WithLabelValues(result).Inc()
	}
	switch result {
	case resultConflict, resultFailed:
		queue.AddRateLimited(id)
	default:
		queue.Forget(id)
	}
	if result == resultFailed {
		w.log.Warn("failed to write status, retrying", zap.String("kind", id.Kind.Kind), zap.Stringer("object", id.Name),
			zap.Error(err))
	}
}

// writeOnce returns what became of the status, "" if nothing was to be written.
func (w *Writer) writeOnce(ctx context.Context, limit *rate.Limiter, id kube.ID) (string, error) {
	if _, _, ok := w.compare(id); !ok {
		return "", nil
	}
	if err := limit.Wait(ctx); err != nil {
		return "", err
	}
	observed, m, ok := w.compare(id) // again: it may have changed in that time
	if !ok {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	body, err := json.Marshal(patch(observed, m))
	if err != nil {
		return resultFailed, fmt.Errorf("encode status: %w", err)
	}
	updated, err := w.clients.Dynamic.Resource(observed.Resource).Namespace(id.Name.Namespace).
		Patch(ctx, id.Name.Name, types.MergePatchType, body, metav1.PatchOptions{FieldManager: mesh.DestinationName},
			"status")
	switch {
	case apierrors.IsNotFound(err):
		return resultGone, nil
	case apierrors.IsConflict(err):
		return resultConflict, nil
	case err != nil:
		return resultFailed, err
	}
	w.watcher.Learn(id, observed.Version, updated)
	if m.cut {
		return resultCut, nil
	}
	return resultWritten, nil
}

// compare returns what the API server shows of the object and what its status should become; false if nothing is to be
// written now. An object that is newer than what its status was made from gets another one soon.
func (w *Writer) compare(id kube.ID) (kube.Observed, merged, bool) {
	w.mu.Lock()
	want, ok := w.wanted[id]
	w.mu.Unlock()
	if !ok {
		return kube.Observed{}, merged{}, false
	}
	observed, ok := w.watcher.Observed(id)
	if !ok || observed.Generation != want.Generation {
		return kube.Observed{}, merged{}, false
	}
	m := merge(observed.Status, want, metav1.NewTime(time.Now().Truncate(time.Second)))
	return observed, m, m.changed
}

// patch is a merge patch that applies to the very state it was made from: lists are replaced whole, and others write
// there too.
func patch(observed kube.Observed, m merged) any {
	fields := map[string]any{}
	if m.Parents != nil {
		fields["parents"] = m.Parents
	}
	if m.Conditions != nil {
		fields["conditions"] = m.Conditions
	}
	return map[string]any{"metadata": map[string]any{"resourceVersion": observed.Version}, "status": fields}
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
