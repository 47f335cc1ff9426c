package kube

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"github.com/tulle-mesh/tulle/controller/compile"
	"github.com/tulle-mesh/tulle/controller/kinds"
	"github.com/tulle-mesh/tulle/controller/model"
	"github.com/tulle-mesh/tulle/internal/latest"
)

// Config of a Watcher, a Recorder and a status.Writer. Every field must be set.
type Config struct {
	Log      *zap.Logger
	Registry prometheus.Registerer
	Clients  Clients
}

// Watcher sends what Kubernetes has as events. Everything that configures the mesh, but for Services, namespaces and
// pods, is of a kind that a cluster may lack, get later and lose again.
type Watcher struct {
	config   Config
	problems reporter
	metrics  *watchMetrics
	sources  []*source
	byKind   map[schema.GroupKind]*source
	cells    definitions
	// observed is called with every object of configuration that changes at the API server.
	observed func(ID)
}

// ID names an object of configuration.
type ID struct {
	Kind schema.GroupKind
	Name types.NamespacedName
}

// reporter takes mistakes. Report must not block.
type reporter interface{ Report(model.Problem) }

// NewWatcher returns a Watcher; Run makes it watch. What is wrong with an object as a whole is reported to problems.
func NewWatcher(c Config, problems reporter) *Watcher {
	w := &Watcher{
		config: c, problems: problems, metrics: newWatchMetrics(c.Registry),
		byKind: map[schema.GroupKind]*source{}, cells: definitions{}, observed: func(ID) {},
	}
	for _, k := range kinds.Configuration() {
		cell := &latest.Cell[definition]{}
		w.cells[k.Definition()] = cell
		s := &source{objects: newObjects(k, w.hooks(k)), clients: c.Clients, log: c.Log, cell: cell}
		s.defined = func(ctx context.Context) (bool, error) { return isDefined(ctx, c.Clients, k.Definition()) }
		w.sources = append(w.sources, s)
		w.byKind[k.GroupKind()] = s
	}
	return w
}

func (w *Watcher) hooks(k kinds.Kind) hooks {
	labels := prometheus.Labels{"group": k.Group, "kind": k.Name}
	missing, objects := w.metrics.missing.With(labels), w.metrics.objects.With(labels)
	failures := w.metrics.failures.With(labels)
	var gone atomic.Bool
	return hooks{
		broken: func(o *object) {
			failures.Inc()
			w.config.Log.Warn("failed to decode object", zap.String("kind", k.Name), zap.String("namespace", o.GetNamespace()),
				zap.String("name", o.GetName()), zap.Error(o.err))
			w.problems.Report(model.Problem{
				Object: model.ObjectRef{Group: k.Group, Kind: k.Name, Namespace: o.GetNamespace(), Name: o.GetName(),
					UID: o.GetUID()},
				Finding: compile.Finding{
					Message: o.err.Error() + "; its last valid state stays active", Severity: compile.Invalid,
					Reason: compile.ReasonInvalid,
				},
			})
		},
		orphaned: func(why string) {
			if gone.Swap(true) {
				return
			}
			missing.Set(1)
			w.config.Log.Error("a kind is no longer watched; its objects stay active",
				zap.String("definition", k.Definition()), zap.String("reason", why))
			w.problems.Report(model.Problem{
				Object: model.ObjectRef{Group: definitionGroup, Kind: definitionKind, Name: k.Definition()},
				Finding: compile.Finding{
					Reason:  definitionReason(why),
					Message: why + "; the objects of its kind stay active until it is back, or until this controller restarts",
				},
			})
		},
		emitted: func(n int, whole bool) {
			objects.Set(float64(n))
			if whole {
				gone.Store(false)
				missing.Set(0)
			}
		},
		observed: func(name types.NamespacedName) { w.observed(ID{k.GroupKind(), name}) },
	}
}

// Run sends every object to out as an event, then one that is Synced, then every change, until ctx ends, whose error it
// returns. While the API server is away nothing is sent, and afterwards only what has changed. The first Synced waits
// for each kind that is defined: without its objects, proxies would lose the values they have.
func (w *Watcher) Run(ctx context.Context, out chan<- model.Event) error {
	core, err := newCore(w.config)
	if err != nil {
		return err
	}
	registered, err := core.register(ctx, out)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return core.run(ctx) })
	group.Go(func() error { w.cells.run(ctx, w.config.Clients); return ctx.Err() })
	for _, s := range w.sources {
		s.send = func(ctx context.Context, e model.Event) { send(ctx, out, e) }
		group.Go(func() error { return s.objects.Run(ctx) })
		group.Go(func() error { return s.follow(ctx) })
	}
	group.Go(func() error {
		if cache.WaitForCacheSync(ctx.Done(), registered...) && w.waitForSync(ctx) {
			send(ctx, out, model.Event{Synced: true})
		}
		return nil
	})
	return group.Wait()
}

// syncPatience is the time after which kinds that were not listed are named in the log.
const syncPatience = 30 * time.Second

// waitForSync waits until the model has what there is of each kind; false if ctx ends first.
func (w *Watcher) waitForSync(ctx context.Context) bool {
	late := time.NewTicker(syncPatience)
	defer late.Stop()
	for _, s := range w.sources {
		for synced := false; !synced; {
			select {
			case <-s.synced:
				synced = true
			case <-late.C:
				w.config.Log.Error("still waiting for the first list of a kind", zap.String("definition", s.kind.Definition()))
			case <-ctx.Done():
				return false
			}
		}
	}
	return true
}

// OnObserved has f called with every object of configuration that changes at the API server. It must be called before
// Run, and f must not block.
func (w *Watcher) OnObserved(f func(ID)) { w.observed = f }

// Observed is the state of an object at the API server, as the watch saw it last.
type Observed struct {
	Resource   schema.GroupVersionResource
	Version    string
	Generation int64
	Status     Status
}

// Observed returns the state of an object at the API server; false if there is none, or none that could be decoded.
func (w *Watcher) Observed(id ID) (Observed, bool) {
	s := w.byKind[id.Kind]
	if s == nil {
		return Observed{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.known[id.Name]
	if o == nil || o.err != nil {
		return Observed{}, false
	}
	return Observed{s.kind.Resource(s.apiVersion), o.resourceVersion, o.GetGeneration(), o.status}, true
}

// Learn records updated, the response to a write that was made from the version base, unless the watch has seen another
// version since.
func (w *Watcher) Learn(id ID, base string, updated *unstructured.Unstructured) {
	if s := w.byKind[id.Kind]; s != nil {
		s.learn(id.Name, base, updated)
	}
}

func send(ctx context.Context, out chan<- model.Event, e model.Event) {
	select {
	case out <- e:
	case <-ctx.Done():
	}
}

// watchMetrics are of the kinds that a cluster may lack.
type watchMetrics struct {
	missing, objects *prometheus.GaugeVec
	failures         *prometheus.CounterVec
}

func newWatchMetrics(r prometheus.Registerer) *watchMetrics {
	labels := []string{"group", "kind"}
	m := &watchMetrics{
		missing: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tulle_kube_kind_missing",
			Help: "1 while the objects of a kind stay active although its CustomResourceDefinition was removed or " +
				"cannot be used.",
		}, labels),
		objects: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "tulle_kube_objects",
			Help: "Objects of a kind that are active."}, labels),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tulle_kube_decode_failures_total", Help: "Objects that could not be decoded, each time that they changed.",
		}, labels),
	}
	r.MustRegister(m.missing, m.objects, m.failures)
	return m
}
