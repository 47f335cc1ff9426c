package identity

import (
	"context"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	coreinformers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/tulle-mesh/tulle/identity/ca"
	"github.com/tulle-mesh/tulle/internal/latest"
	"github.com/tulle-mesh/tulle/mesh"
)

// recheckInterval is how often refused objects are checked again: time alone can make an issuer valid.
const recheckInterval = time.Minute

// follower builds an Authority from the issuer Secret and the bundle of namespace tulle, on every replica.
type follower struct {
	client    kubernetes.Interface
	namespace string
	profile   ca.Profile
	authority *latest.Cell[*Authority] // only follower writes it
	changed   func()                   // called after each event of either object
	announce  func(notice)
	log       *zap.Logger
}

// named returns list options that a role with resourceNames allows.
func named(name string) func(*metav1.ListOptions) {
	return func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, name).String()
	}
}

func (f *follower) Run(ctx context.Context) error {
	events := latest.NewSignal() // one pending event is enough: both objects are read again
	notify := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { events.Notify() },
		UpdateFunc: func(any, any) { events.Notify() },
		DeleteFunc: func(any) { events.Notify() },
	}
	secrets := coreinformers.NewFilteredSecretInformer(f.client, f.namespace, 0, nil, named(mesh.IssuerSecret))
	roots := coreinformers.NewFilteredConfigMapInformer(f.client, f.namespace, 0, nil, named(mesh.TrustRootsConfigMap))
	informers := [...]cache.SharedIndexInformer{secrets, roots}
	for _, informer := range informers {
		if _, err := informer.AddEventHandler(notify); err != nil {
			return fmt.Errorf("watch issuer and trust anchors: %w", err)
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, informer := range informers {
		group.Go(func() error { informer.RunWithContext(ctx); return ctx.Err() })
	}
	group.Go(func() error {
		if !cache.WaitForCacheSync(ctx.Done(), secrets.HasSynced, roots.HasSynced) {
			return ctx.Err()
		}
		return f.loop(ctx, events, func() input { return f.read(secrets.GetStore(), roots.GetStore()) })
	})
	return group.Wait()
}

// watchAnchor calls changed after each event of the anchor's Secret. It does not store the Secret's data.
func watchAnchor(ctx context.Context, client kubernetes.Interface, namespace string, changed func()) error {
	secrets := coreinformers.NewFilteredSecretInformer(client, namespace, 0, nil, named(anchorSecret))
	bare := func(obj any) (any, error) {
		if s, ok := obj.(*corev1.Secret); ok {
			return &corev1.Secret{ObjectMeta: trimMeta(s.ObjectMeta)}, nil
		}
		return obj, nil
	}
	if err := secrets.SetTransform(bare); err != nil {
		return fmt.Errorf("watch trust anchor: %w", err)
	}
	if _, err := secrets.AddEventHandler(handler(func(metav1.Object) { changed() })); err != nil {
		return fmt.Errorf("watch trust anchor: %w", err)
	}
	secrets.RunWithContext(ctx)
	return ctx.Err()
}

func (f *follower) read(secrets, roots cache.Store) input {
	var in input
	if obj, ok, _ := secrets.GetByKey(f.namespace + "/" + mesh.IssuerSecret); ok {
		in.issuer, _ = obj.(*corev1.Secret)
	}
	if obj, ok, _ := roots.GetByKey(f.namespace + "/" + mesh.TrustRootsConfigMap); ok {
		in.roots, _ = obj.(*corev1.ConfigMap)
	}
	return in
}

func (f *follower) loop(ctx context.Context, events <-chan struct{}, read func() input) error {
	recheck := time.NewTicker(recheckInterval)
	defer recheck.Stop()
	var reported []notice
	event := true
	var version string // of the Secret at the last check
	for {
		in := read()
		old, _ := f.authority.Load()
		next, notices := resolve(old, in, f.profile, time.Now())
		if next != nil && (old == nil || !next.equal(old)) {
			f.authority.Store(next)
			f.log.Info("authority active", zap.Stringer("issuer", next.Issuer.Certificate().Subject),
				zap.Time("notAfter", next.Issuer.NotAfter()), zap.Int("anchors", len(next.Roots)))
		}
		if in.issuer != nil && in.issuer.ResourceVersion != version {
			if version != "" && len(notices) == 0 && old != nil {
				notices = []notice{{reason: issuerUpdateSkipped, message: "the issuer in the Secret is active already"}}
			}
			version = in.issuer.ResourceVersion
		}
		// Report the same problem once per change of the objects, not at each check.
		if event || !slices.EqualFunc(notices, reported, func(a, b notice) bool { return a.reason == b.reason }) {
			for _, n := range notices {
				f.announce(n)
			}
		}
		reported = notices
		event = false
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-events:
			event = true
			f.changed()
		case <-recheck.C:
		}
	}
}
