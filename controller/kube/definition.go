package kube

import (
	"context"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/tulle-mesh/tulle/internal/backoff"
	"github.com/tulle-mesh/tulle/internal/latest"
)

// definitionGroup and definitionKind are those of what defines a kind.
const (
	definitionGroup = "apiextensions.k8s.io"
	definitionKind  = "CustomResourceDefinition"
)

func definitionResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: definitionGroup, Version: "v1", Resource: "customresourcedefinitions"}
}

// Waits before the API server is asked again about a definition.
const (
	firstRetry = 200 * time.Millisecond
	lastRetry  = 5 * time.Second
)

// definition is what the metadata of a CustomResourceDefinition says; zero if there is none.
type definition struct {
	uid types.UID
	// resourceVersion changes with everything about it.
	resourceVersion string
	// leaving says that it is being removed.
	leaving bool
}

func (d definition) active() bool { return d.uid != "" && !d.leaving }

func newDefinition(m *metav1.PartialObjectMetadata) definition {
	return definition{m.UID, m.ResourceVersion, m.DeletionTimestamp != nil}
}

// definitions follows the definitions of kinds, by their metadata alone: a schema may have half a megabyte. It is the
// store behind a reflector.
type definitions map[string]*latest.Cell[definition]

// Add implements cache.ReflectorStore.
func (d definitions) Add(o any) error { return d.Update(o) }

// Update implements cache.ReflectorStore.
func (d definitions) Update(o any) error {
	m := o.(*metav1.PartialObjectMetadata)
	if cell := d[m.Name]; cell != nil {
		cell.Store(newDefinition(m))
	}
	return nil
}

// Delete implements cache.ReflectorStore.
func (d definitions) Delete(o any) error {
	if cell := d[o.(*metav1.PartialObjectMetadata).Name]; cell != nil {
		cell.Store(definition{})
	}
	return nil
}

// Replace implements cache.ReflectorStore.
func (d definitions) Replace(list []any, _ string) error {
	now := make(map[string]definition, len(d))
	for _, o := range list {
		m := o.(*metav1.PartialObjectMetadata)
		now[m.Name] = newDefinition(m)
	}
	for name, cell := range d {
		cell.Store(now[name])
	}
	return nil
}

// Resync implements cache.ReflectorStore.
func (d definitions) Resync() error { return nil }

// run follows until ctx ends.
func (d definitions) run(ctx context.Context, c Clients) {
	all := c.Metadata.Resource(definitionResource())
	source := cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object,
			error) {
			return all.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return all.Watch(ctx, o)
		},
	}, c.Metadata)
	cache.NewReflectorWithOptions(source, &metav1.PartialObjectMetadata{}, d,
		cache.ReflectorOptions{Name: definitionResource().Resource}).RunWithContext(ctx)
}

// source watches one kind for as long as it is defined.
type source struct {
	*objects
	clients Clients
	log     *zap.Logger
	// cell holds the kind's definition.
	cell *latest.Cell[definition]

	watching struct {
		uid        types.UID
		apiVersion string
		stop       func() // waits for the end
	}
}

// follow watches the kind until ctx ends, whose error it returns.
func (s *source) follow(ctx context.Context) error {
	defer s.stop()
	var d definition
	var seen uint64
	var wait time.Duration
	retry := backoff.Backoff{First: firstRetry, Max: lastRetry}
	for {
		now, seq, err := s.await(ctx, seen, wait)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			d, seen = now, seq
		} // else it is time to try again with the same definition
		apiVersion, why, err := s.choose(ctx, d)
		if err != nil {
			wait = retry.Next()
			s.log.Warn("cannot read the definition of a kind, will try again", zap.String("definition", s.kind.Definition()),
				zap.Error(err))
			continue
		}
		wait = 0
		retry.Reset()
		s.watchVersion(ctx, d.uid, apiVersion, why)
	}
}

// await returns the next definition, or context.DeadlineExceeded after retry if that is not 0.
func (s *source) await(ctx context.Context, seen uint64, retry time.Duration) (definition, uint64, error) {
	if retry > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, retry)
		defer cancel()
	}
	return s.cell.Wait(ctx, seen)
}

// Why a kind cannot be watched, for people.
const (
	definitionRemoved = "the definition was removed"
	notEstablished    = "the definition is not established"
	noVersionKnown    = "the definition serves no version that this release reads"
)

// definitionReason returns the reason of the Event about it.
func definitionReason(why string) string {
	if why == definitionRemoved {
		return "DefinitionRemoved"
	}
	return "DefinitionUnusable"
}

// choose returns the version to watch the kind in. If there is none, apiVersion is "" and why says the reason.
func (s *source) choose(ctx context.Context, d definition) (apiVersion, why string, err error) {
	if !d.active() {
		return "", definitionRemoved, nil
	}
	u, err := s.clients.Dynamic.Resource(definitionResource()).Get(ctx, s.kind.Definition(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return "", definitionRemoved, nil
	}
	if err != nil {
		return "", "", fmt.Errorf("get %s: %w", s.kind.Definition(), err)
	}
	served, ok := servedVersions(u)
	switch { // its next change is an event
	case u.GetDeletionTimestamp() != nil:
		return "", definitionRemoved, nil
	case !ok:
		return "", notEstablished, nil
	}
	for _, version := range s.kind.Versions {
		if slices.Contains(served, version) {
			return version, "", nil
		}
	}
	s.log.Error("no version of a kind that is served is known", zap.String("definition", s.kind.Definition()),
		zap.Strings("served", served))
	return "", noVersionKnown, nil
}

// servedVersions returns the versions of a CustomResourceDefinition; ok is false while it is not established.
func servedVersions(u *unstructured.Unstructured) (served []string, ok bool) {
	versions, _, _ := unstructured.NestedSlice(u.Object, "spec", "versions")
	for _, v := range versions {
		if v, isMap := v.(map[string]any); isMap && v["served"] == true {
			name, _ := v["name"].(string)
			served = append(served, name)
		}
	}
	conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	for _, c := range conditions {
		if c, isMap := c.(map[string]any); isMap && c["type"] == "Established" {
			ok = c["status"] == "True"
		}
	}
	return served, ok
}

// watchVersion watches the version of the kind that uid defines, and nothing else; "" is none, and why says the reason.
func (s *source) watchVersion(ctx context.Context, uid types.UID, apiVersion, why string) {
	w := &s.watching
	if apiVersion == w.apiVersion && (uid == w.uid || apiVersion == "") {
		if apiVersion == "" {
			s.markSynced()
		}
		return
	}
	s.stop()
	if apiVersion == "" {
		s.hooks.orphaned(why)
		s.markSynced()
		return
	}
	s.begin(apiVersion)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.reflect(ctx, apiVersion)
	}()
	w.uid, w.apiVersion, w.stop = uid, apiVersion, func() { cancel(); <-done }
}

func (s *source) stop() {
	if s.watching.stop != nil {
		s.watching.stop()
		s.watching.stop, s.watching.apiVersion = nil, ""
		s.end()
	}
}

// reflect keeps the objects up to date until ctx ends.
func (s *source) reflect(ctx context.Context, apiVersion string) {
	resource := s.kind.Resource(apiVersion)
	all := s.clients.Dynamic.Resource(resource)
	lw := cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object,
			error) {
			return all.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return all.Watch(ctx, o)
		},
	}, s.clients.Dynamic)
	s.log.Info("watching", zap.Stringer("resource", resource))
	cache.NewReflectorWithOptions(lw, &unstructured.Unstructured{}, s.objects,
		cache.ReflectorOptions{Name: resource.GroupResource().String()}).RunWithContext(ctx)
}

// isDefined asks the API server whether the kind is defined and stays so. It tries until there is an answer or ctx
// ends.
func isDefined(ctx context.Context, c Clients, name string) (bool, error) {
	retry := backoff.Backoff{First: firstRetry, Max: lastRetry}
	for {
		m, err := c.Metadata.Resource(definitionResource()).Get(ctx, name, metav1.GetOptions{})
		switch {
		case err == nil:
			return newDefinition(m).active(), nil
		case apierrors.IsNotFound(err):
			return false, nil
		}
		if err := backoff.Sleep(ctx, retry.Next()); err != nil {
			return false, err
		}
	}
}
