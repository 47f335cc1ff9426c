package identity

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coreinformers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"github.com/tulle-mesh/tulle/internal/latest"
	"github.com/tulle-mesh/tulle/mesh"
)

// publishers is how many namespaces are written at the same time.
const publishers = 4

// publisher maintains a copy of the bundle in every other namespace. Only the leader runs it.
type publisher struct {
	client    kubernetes.Interface
	namespace string // where the original is
	authority *latest.Cell[*Authority]
	metrics   *metrics
	log       *zap.Logger

	contests contests
}

func (p *publisher) Run(ctx context.Context) error {
	namespaces := coreinformers.NewNamespaceInformer(p.client, 0, nil)
	copies := coreinformers.NewFilteredConfigMapInformer(p.client, metav1.NamespaceAll, 0, nil,
		named(mesh.TrustRootsConfigMap))
	backoff := workqueue.NewTypedItemExponentialFailureRateLimiter[string](100*time.Millisecond, time.Minute)
	queue := workqueue.NewTypedRateLimitingQueue(backoff)
	add := func(namespace func(metav1.Object) string) cache.ResourceEventHandlerFuncs {
		return handler(func(obj metav1.Object) { queue.Add(namespace(obj)) })
	}
	if err := watch(namespaces, add(metav1.Object.GetName)); err != nil {
		return err
	}
	if err := watch(copies, add(metav1.Object.GetNamespace)); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { namespaces.RunWithContext(ctx); return ctx.Err() })
	group.Go(func() error { copies.RunWithContext(ctx); return ctx.Err() })
	group.Go(func() error { <-ctx.Done(); queue.ShutDown(); return ctx.Err() })
	group.Go(func() error {
		if !cache.WaitForCacheSync(ctx.Done(), namespaces.HasSynced, copies.HasSynced) {
			return ctx.Err()
		}
		for range publishers {
			group.Go(func() error { p.work(ctx, queue, namespaces.GetStore(), copies.GetStore()); return ctx.Err() })
		}
		return p.followBundle(ctx, queue, namespaces.GetStore())
	})
	return group.Wait()
}

// watch adds the handler, and stores only the fields of each object that are used.
func watch(informer cache.SharedIndexInformer, h cache.ResourceEventHandler) error {
	if err := informer.SetTransform(trim); err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	if _, err := informer.AddEventHandler(h); err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	return nil
}

// trim returns a copy with little more than the fields that reconcile reads: a cluster may have thousands of
// namespaces.
func trim(obj any) (any, error) {
	switch o := obj.(type) {
	case *corev1.Namespace:
		return &corev1.Namespace{ObjectMeta: trimMeta(o.ObjectMeta)}, nil
	case *corev1.ConfigMap:
		return &corev1.ConfigMap{ObjectMeta: trimMeta(o.ObjectMeta), Data: o.Data}, nil
	default:
		return obj, nil
	}
}

func trimMeta(m metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: m.Namespace, Name: m.Name, UID: m.UID, ResourceVersion: m.ResourceVersion,
		Labels: m.Labels, DeletionTimestamp: m.DeletionTimestamp,
	}
}

func handler(do func(metav1.Object)) cache.ResourceEventHandlerFuncs {
	each := func(obj any) {
		if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
			obj = gone.Obj
		}
		if o, ok := obj.(metav1.Object); ok {
			do(o)
		}
	}
	return cache.ResourceEventHandlerFuncs{AddFunc: each, UpdateFunc: func(_, obj any) { each(obj) }, DeleteFunc: each}
}

// followBundle queues all namespaces when the active bundle changes.
func (p *publisher) followBundle(ctx context.Context, queue workqueue.TypedRateLimitingInterface[string],
	namespaces cache.Store) error {
	var seen uint64
	for {
		var err error
		if _, seen, err = p.authority.Wait(ctx, seen); err != nil {
			return err
		}
		for _, name := range namespaces.ListKeys() {
			queue.Add(name)
		}
	}
}

func (p *publisher) work(ctx context.Context, queue workqueue.TypedRateLimitingInterface[string], namespaces,
	copies cache.Store) {
	for {
		name, shutdown := queue.Get()
		if shutdown {
			return
		}
		wait, err := p.reconcile(ctx, name, namespaces, copies)
		switch {
		case err != nil && ctx.Err() == nil:
			p.metrics.copies.WithLabelValues("error").Inc()
			p.log.Warn("failed to write trust anchors", zap.String("namespace", name), zap.Error(err))
			queue.AddRateLimited(name)
		case wait > 0:
			queue.AddAfter(name, wait)
		default:
			queue.Forget(name)
		}
		queue.Done(name)
	}
}

// reconcile writes the copy of one namespace if it is missing or differs. If another writer keeps changing the copy, it
// returns how long to wait before the write.
func (p *publisher) reconcile(ctx context.Context, name string, namespaces, copies cache.Store) (wait time.Duration,
	err error) {
	authority, seq := p.authority.Load()
	if seq == 0 {
		return 0, nil
	}
	obj, ok, _ := namespaces.GetByKey(name)
	if ns, isNS := obj.(*corev1.Namespace); !ok || !isNS || ns.DeletionTimestamp != nil {
		return 0, nil
	}
	if obj, ok, _ := copies.GetByKey(name + "/" + mesh.TrustRootsConfigMap); ok {
		if copied, ok := obj.(*corev1.ConfigMap); ok && p.isCurrent(copied, authority) {
			return 0, nil
		}
	}
	bundle := string(authority.bundle) + authority.issuerKey()
	if wait := p.contests.wait(name, bundle, time.Now()); wait > 0 {
		return wait, nil
	}
	err = p.write(ctx, name, authority)
	if apierrors.IsNotFound(err) || apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return 0, nil // the namespace is being deleted, and the copy with it
	}
	if err != nil {
		return 0, err
	}
	p.metrics.copies.WithLabelValues("success").Inc()
	if writes := p.contests.wrote(name, bundle, time.Now()); writes >= contestKnown {
		p.metrics.copies.WithLabelValues("contested").Inc()
		p.log.Warn("trust anchors are overwritten by another writer", zap.String("namespace", name),
			zap.String("configmap", mesh.TrustRootsConfigMap), zap.Int("writes", writes))
	}
	return 0, nil
}

// write writes the copy. In the control plane's namespace, the bundle is the original and has other writers. There, it
// writes only the issuer's key.
func (p *publisher) write(ctx context.Context, name string, a *Authority) error {
	if name == p.namespace {
		return applyIssuerKey(ctx, p.client, name, a.issuerKey())
	}
	return applyRoots(ctx, p.client, name, p.namespace, map[string]string{
		mesh.TrustRootsKey: string(a.bundle), mesh.IssuerKeyKey: a.issuerKey(),
	})
}

func (p *publisher) isCurrent(c *corev1.ConfigMap, a *Authority) bool {
	if c.Data[mesh.IssuerKeyKey] != a.issuerKey() {
		return false
	}
	return c.Namespace == p.namespace ||
		c.Data[mesh.TrustRootsKey] == string(a.bundle) && c.Labels[mesh.ControlPlaneNSLabel] == p.namespace
}
