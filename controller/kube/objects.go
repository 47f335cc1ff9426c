package kube

import (
	"context"
	"maps"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tulle-mesh/tulle/controller/compile"
	"github.com/tulle-mesh/tulle/controller/kinds"
	"github.com/tulle-mesh/tulle/controller/model"
	"github.com/tulle-mesh/tulle/internal/latest"
)

// objects are those of one kind. A reflector keeps known up to date and never waits. Run emits what is new, in one
// goroutine per kind, so that the model gets the states of an object in order, and only the latest. source.follow calls
// begin before a reflector starts, and end after it has ended.
//
// Deletions are emitted only while the CustomResourceDefinition exists. Deleting it deletes all its objects, usually by
// accident, so their last state stays active. The API server marks the definition before it deletes the objects, so a
// look at the definition after a deletion was seen cannot miss it.
type objects struct {
	kind kinds.Kind
	// defined looks at the API server whether the kind is still defined; it tries until it knows or ctx ends. It and send
	// are set before Run, and only Run calls them.
	defined func(ctx context.Context) (bool, error)
	send    func(ctx context.Context, e model.Event)
	hooks   hooks

	mu sync.Mutex // guards the fields below
	// known is what the API server has, nil while the kind is not watched. apiVersion is the version of the kind that
	// is watched, such as v1beta1.
	known      map[types.NamespacedName]*object
	apiVersion string
	changed    map[types.NamespacedName]struct{}
	// listed says that known is whole: a list was complete.
	listed bool
	wake   latest.Signal // something has changed

	// emitted is what the model has. It belongs to Run.
	emitted map[types.NamespacedName]*object

	synced     chan struct{} // closed once the model has all there is, which may be nothing
	markSynced func()
}

// hooks let others know. They must not block.
type hooks struct {
	// broken is called for an object that cannot be decoded, each time that it changes.
	broken func(o *object)
	// orphaned is called when the objects stay active although the kind that was watched can be watched no longer. why
	// says what became of its definition.
	orphaned func(why string)
	// emitted is called after changes with the number of active objects; whole says that they are what a complete
	// list held.
	emitted func(n int, whole bool)
	// observed is called for every change of an object at the API server.
	observed func(name types.NamespacedName)
}

func newObjects(k kinds.Kind, h hooks) *objects {
	s := &objects{
		kind: k, hooks: h, changed: map[types.NamespacedName]struct{}{}, wake: latest.NewSignal(),
		emitted: map[types.NamespacedName]*object{}, synced: make(chan struct{}),
	}
	s.markSynced = sync.OnceFunc(func() { close(s.synced) })
	return s
}

// begin makes ready for a watch of the version. What the model has stays active until the list is complete.
func (s *objects) begin(apiVersion string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known, s.apiVersion, s.listed = map[types.NamespacedName]*object{}, apiVersion, false
	clear(s.changed)
}

// end forgets what the API server had.
func (s *objects) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known, s.apiVersion, s.listed = nil, "", false
	clear(s.changed)
}

// Add implements cache.ReflectorStore.
func (s *objects) Add(o any) error { return s.Update(o) }

// Update implements cache.ReflectorStore.
func (s *objects) Update(o any) error {
	u := o.(*unstructured.Unstructured)
	now := decode(s.kind, u)
	s.note(compile.NameOf(u), now)
	return nil
}

// Delete implements cache.ReflectorStore.
func (s *objects) Delete(o any) error {
	s.note(compile.NameOf(o.(*unstructured.Unstructured)), nil)
	return nil
}

// Resync implements cache.ReflectorStore.
func (s *objects) Resync() error { return nil }

// Replace implements cache.ReflectorStore.
func (s *objects) Replace(list []any, _ string) error {
	fresh := make(map[types.NamespacedName]*object, len(list))
	for i, o := range list {
		u := o.(*unstructured.Unstructured)
		name := compile.NameOf(u)
		if was := s.at(name); was != nil && was.resourceVersion == u.GetResourceVersion() {
			fresh[name] = was
		} else {
			fresh[name] = decode(s.kind, u)
		}
		list[i] = nil // the list is large and ours
	}
	s.mu.Lock()
	for name, now := range fresh {
		fresh[name] = share(s.known[name], now)
		s.changed[name] = struct{}{}
	}
	s.known, s.listed = fresh, true
	s.mu.Unlock()
	for name := range fresh {
		s.hooks.observed(name)
	}
	s.wake.Notify()
	return nil
}

func (s *objects) note(name types.NamespacedName, now *object) {
	s.mu.Lock()
	if now == nil {
		delete(s.known, name)
	} else {
		s.known[name] = share(s.known[name], now)
	}
	s.changed[name] = struct{}{}
	s.mu.Unlock()
	s.hooks.observed(name)
	s.wake.Notify()
}

// learn records the response to a write, unless the watch has seen another state since the one that the write was made
// from.
func (s *objects) learn(name types.NamespacedName, base string, u *unstructured.Unstructured) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if was := s.known[name]; was != nil && was.resourceVersion == base {
		now := *was
		now.resourceVersion, now.status = u.GetResourceVersion(), readStatus(u)
		s.known[name] = &now
	}
}

// at returns what the API server has under the name; nil for nothing.
func (s *objects) at(name types.NamespacedName) *object {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known[name]
}

// share returns now, with the model's part of was if that is the same: most changes of an object are of its status.
func share(was, now *object) *object {
	if was != nil && same(was, now) {
		now.Object, now.unknown, now.err = was.Object, was.unknown, was.err
	}
	return now
}

// same reports whether two states of an object tell the model the same. The API server counts the changes of a spec in
// the generation.
func same(a, b *object) bool {
	return a.Object == b.Object || a.err == nil && b.err == nil && a.GetUID() == b.GetUID() &&
		a.GetGeneration() == b.GetGeneration() && a.GetGeneration() != 0 && slices.Equal(a.unknown, b.unknown) &&
		maps.Equal(a.GetLabels(), b.GetLabels()) && maps.Equal(a.GetAnnotations(), b.GetAnnotations())
}

// batch is what has changed since the last one.
type batch struct {
	now map[types.NamespacedName]*object // nil for what is gone
	// whole says that now is all there is.
	whole bool
}

func (s *objects) take() batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		return batch{}
	}
	b := batch{now: make(map[types.NamespacedName]*object, len(s.changed)), whole: s.listed}
	for name := range s.changed {
		b.now[name] = s.known[name]
	}
	clear(s.changed)
	s.listed = false
	return b
}

// Run emits what changes until ctx ends, and returns its error.
func (s *objects) Run(ctx context.Context) error {
	for {
		select {
		case <-s.wake:
		case <-ctx.Done():
			return ctx.Err()
		}
		b := s.take()
		if err := s.emitDeletes(ctx, b); err != nil {
			return err
		}
		for name, now := range b.now {
			if now != nil {
				s.emit(ctx, name, now)
			}
		}
		s.hooks.emitted(len(s.emitted), b.whole)
		if b.whole && ctx.Err() == nil {
			s.markSynced()
		}
	}
}

// emitDeletes emits what is gone, while the kind is still defined.
func (s *objects) emitDeletes(ctx context.Context, b batch) error {
	var gone []types.NamespacedName
	for name := range s.emitted {
		if now, changed := b.now[name]; now == nil && (changed || b.whole) {
			gone = append(gone, name)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	switch defined, err := s.defined(ctx); {
	case err != nil:
		return err
	case !defined:
		s.hooks.orphaned(definitionRemoved)
		return nil
	}
	for _, name := range gone {
		s.send(ctx, model.Event{Object: s.emitted[name].Object, Deleted: true})
		delete(s.emitted, name)
	}
	return nil
}

// emit sends what is new about an object. One that cannot be decoded keeps its last state.
func (s *objects) emit(ctx context.Context, name types.NamespacedName, now *object) {
	was := s.emitted[name]
	switch {
	case now.err != nil:
		if was != nil && was.GetUID() != now.GetUID() {
			s.send(ctx, model.Event{Object: was.Object, Deleted: true})
			delete(s.emitted, name)
		}
		s.hooks.broken(now)
	case was == nil || !same(was, now):
		s.send(ctx, model.Event{Object: now.Object, Unknown: now.unknown})
		s.emitted[name] = now
	}
}
