package servingcert

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/tools/cache"

	"golang.org/x/sync/errgroup"
)

var secrets = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}

// Object is one that Announce writes.
type Object struct {
	Resource schema.GroupVersionResource
	Name     string
}

// Watch pokes on every change of the Secret and of the cluster-wide objects that Announce writes, by whomever, until
// ctx ends.
func (m *Manager) Watch(ctx context.Context, client metadata.Interface, written ...Object) error {
	group, ctx := errgroup.WithContext(ctx)
	secret := Object{secrets, m.cfg.Secret}
	for _, o := range append([]Object{secret}, written...) {
		namespace := metav1.NamespaceAll
		if o == secret {
			namespace = m.cfg.Namespace
		}
		informer := metadatainformer.NewFilteredMetadataInformer(client, o.Resource, namespace, 0, cache.Indexers{},
			func(opts *metav1.ListOptions) {
				opts.FieldSelector = fields.OneTermEqualSelector("metadata.name", o.Name).String()
			}).Informer()
		if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: func(any) { m.Poke() }, UpdateFunc: func(any, any) { m.Poke() }, DeleteFunc: func(any) { m.Poke() },
		}); err != nil {
			return fmt.Errorf("watch %s: %w", o.Name, err)
		}
		group.Go(func() error { informer.RunWithContext(ctx); return nil })
	}
	_ = group.Wait() // its functions return nil
	return ctx.Err()
}
