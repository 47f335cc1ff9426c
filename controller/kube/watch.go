package kube

import (
	"context"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/tulle-mesh/tulle/controller/model"
)

// Config of Watch. Every field must be set.
type Config struct {
	Log      *zap.Logger
	Registry prometheus.Registerer
	Client   kubernetes.Interface
}

// livePods leaves out pods that have ended: their addresses are free, and Jobs leave thousands of them.
const livePods = "status.phase!=Failed,status.phase!=Succeeded"

// Watch sends every Service, EndpointSlice, pod, namespace and node to out as an event, then one that is Synced, then every change,
// until ctx ends, whose error it returns. While the API server is away nothing is sent, and afterwards only what has changed.
func Watch(ctx context.Context, c Config, out chan<- model.Event) error {
	all := informers.NewSharedInformerFactoryWithOptions(c.Client, 0, informers.WithTransform(strip))
	pods := informers.NewSharedInformerFactoryWithOptions(c.Client, 0, informers.WithTransform(strip),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.FieldSelector = livePods }))
	sources := map[string]cache.SharedIndexInformer{
		"services":       all.Core().V1().Services().Informer(),
		"endpointslices": all.Discovery().V1().EndpointSlices().Informer(),
		"namespaces":     all.Core().V1().Namespaces().Informer(),
		"nodes":          all.Core().V1().Nodes().Informer(),
		"pods":           pods.Core().V1().Pods().Informer(),
	}
	var synced []cache.InformerSynced
	for resource, informer := range sources {
		onError := func(_ context.Context, _ *cache.Reflector, err error) {
			c.Log.Warn("watch broke, will list again", zap.String("resource", resource), zap.Error(err))
		}
		if err := informer.SetWatchErrorHandlerWithContext(onError); err != nil {
			return fmt.Errorf("watch %s: %w", resource, err)
		}
		registration, err := informer.AddEventHandler(handler{ctx, out})
		if err != nil {
			return fmt.Errorf("watch %s: %w", resource, err)
		}
		synced = append(synced, registration.HasSynced)
	}
	all.StartWithContext(ctx)
	pods.StartWithContext(ctx)
	defer pods.Shutdown()
	defer all.Shutdown()
	// A registration has synced when its handler has returned from the last object of the first list, which is then in out.
	if cache.WaitForCacheSync(ctx.Done(), synced...) {
		send(ctx, out, model.Event{Synced: true})
	}
	<-ctx.Done()
	return ctx.Err()
}

// handler sends what an informer sees. It keeps the context because the informer's interface has none; both live as long as Watch.
type handler struct {
	ctx context.Context
	out chan<- model.Event
}

func (h handler) OnAdd(o any, _ bool) { h.send(o, false) }
func (h handler) OnUpdate(_, o any)   { h.send(o, false) }
func (h handler) OnDelete(o any)      { h.send(o, true) }

func (h handler) send(o any, deleted bool) {
	if gone, ok := o.(cache.DeletedFinalStateUnknown); ok {
		o = gone.Obj
	}
	if object, ok := o.(metav1.Object); ok {
		send(h.ctx, h.out, model.Event{Object: object, Deleted: deleted})
	}
}

func send(ctx context.Context, out chan<- model.Event, e model.Event) {
	select {
	case out <- e:
	case <-ctx.Done():
	}
}
