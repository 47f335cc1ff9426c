package kube

import (
	"context"
	"fmt"

	"go.uber.org/zap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"

	"github.com/tulle-mesh/tulle/controller/model"
)

// livePods leaves out pods that have ended: their addresses are free, and Jobs leave thousands of them.
const livePods = "status.phase!=Failed,status.phase!=Succeeded"

// core are the informers of the kinds that every cluster has.
type core struct {
	all, pods informers.SharedInformerFactory
	sources   map[string]cache.SharedIndexInformer
}

func newCore(c Config) (*core, error) {
	client := c.Clients.Kubernetes
	all := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(strip))
	pods := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(strip),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.FieldSelector = livePods }))
	out := &core{all: all, pods: pods, sources: map[string]cache.SharedIndexInformer{
		"services":       all.Core().V1().Services().Informer(),
		"endpointslices": all.Discovery().V1().EndpointSlices().Informer(),
		"namespaces":     all.Core().V1().Namespaces().Informer(),
		"nodes":          all.Core().V1().Nodes().Informer(),
		"pods":           pods.Core().V1().Pods().Informer(),
	}}
	for resource, informer := range out.sources {
		onError := func(_ context.Context, _ *cache.Reflector, err error) {
			c.Log.Warn("watch failed, listing again", zap.String("resource", resource), zap.Error(err))
		}
		if err := informer.SetWatchErrorHandlerWithContext(onError); err != nil {
			return nil, fmt.Errorf("watch %s: %w", resource, err)
		}
	}
	return out, nil
}

// register has every change sent to out until ctx ends. A registration has synced when its handler has returned from
// the last object of the first list, which is then in out.
func (c *core) register(ctx context.Context, out chan<- model.Event) (synced []cache.InformerSynced, err error) {
	for resource, informer := range c.sources {
		registration, err := informer.AddEventHandler(handler{ctx, out})
		if err != nil {
			return nil, fmt.Errorf("watch %s: %w", resource, err)
		}
		synced = append(synced, registration.HasSynced)
	}
	return synced, nil
}

// run watches until ctx ends, whose error it returns.
func (c *core) run(ctx context.Context) error {
	c.all.StartWithContext(ctx)
	c.pods.StartWithContext(ctx)
	defer c.pods.Shutdown()
	defer c.all.Shutdown()
	<-ctx.Done()
	return ctx.Err()
}

// handler sends what an informer sees. It keeps the context because the informer's interface has none; both live as
// long as Run.
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
