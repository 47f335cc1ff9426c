// Package parts builds the parts of a page concurrently.
//
// It joins the questions of the parts into batches, and reads each list of objects once. It does not know what a page
// shows. The one idea: the source is asked as soon as every running part waits for an answer.
package parts

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tulle-mesh/tulle/viz/metrics"
	"github.com/tulle-mesh/tulle/viz/resource"
)

// maxBatch is the most queries in one batch: metrics-api refuses more.
const maxBatch = 128

// Sources are what a part reads.
type Sources struct {
	Numbers metrics.Source
	Objects resource.Lister
}

// Part builds one part of a page. It returns notes for the viewer.
type Part func(context.Context, Sources) ([]string, error)

// Run runs the parts concurrently and joins their questions, because a source that reads the proxies takes the window
// for each question. It returns the notes of all parts, each once, and the first error. It panics if a part panics.
func Run(ctx context.Context, s Sources, parts ...Part) ([]string, error) {
	group, ctx := errgroup.WithContext(ctx)
	j := &batcher{ctx: ctx, source: s.Numbers, running: len(parts)}
	s.Objects = &cachedLister{next: s.Objects, lists: map[listKey]*listResult{}}
	notes := make([][]string, len(parts))
	var panicked any
	for i, part := range parts {
		own := s
		own.Numbers = partSource{j, i}
		group.Go(func() (err error) {
			defer j.leave()
			defer func() {
				if f := recover(); f != nil {
					j.mu.Lock()
					panicked = f
					j.mu.Unlock()
				}
			}()
			notes[i], err = part(ctx, own)
			return err
		})
	}
	err := group.Wait()
	j.asking.Wait()
	if panicked != nil {
		panic(panicked) // in the goroutine of the page, whose caller expects it
	}
	var all []string
	for _, n := range slices.Concat(notes...) {
		if !slices.Contains(all, n) {
			all = append(all, n)
		}
	}
	return all, err
}

// batcher asks one source the questions of several parts in batches, whenever every running part waits.
type batcher struct {
	ctx    context.Context
	source metrics.Source
	asking sync.WaitGroup

	mu      sync.Mutex // guards the fields below
	running int        // parts that do not wait for an answer
	waiting []*partQuestion
}

type partSource struct {
	*batcher
	index int
}

type partQuestion struct {
	index   int
	window  time.Duration
	queries []metrics.Query
	answer  metrics.Answer
	err     error
	done    chan struct{}
}

// Ask implements metrics.Source.
func (p partSource) Ask(ctx context.Context, window time.Duration, queries []metrics.Query) (metrics.Answer, error) {
	q := &partQuestion{index: p.index, window: window, queries: queries, done: make(chan struct{})}
	p.mu.Lock()
	p.waiting = append(p.waiting, q)
	p.pause()
	p.mu.Unlock()
	select {
	case <-q.done:
		return q.answer, q.err
	case <-ctx.Done():
		return metrics.Answer{}, ctx.Err()
	}
}

// leave counts a part that has ended as not running.
func (j *batcher) leave() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.pause()
}

// pause counts one running part less. If that was the last one, it asks the questions that wait. The caller holds the
// lock.
func (j *batcher) pause() {
	if j.running--; j.running > 0 || len(j.waiting) == 0 {
		return
	}
	// In a stable order, so that a source with a cache gets the same batch again.
	slices.SortStableFunc(j.waiting, func(a, b *partQuestion) int { return a.index - b.index })
	groups := map[time.Duration][][]*partQuestion{}
	sizes := map[time.Duration]int{}
	for _, q := range j.waiting {
		list := groups[q.window]
		if len(list) == 0 || sizes[q.window]+len(q.queries) > maxBatch {
			list, sizes[q.window] = append(list, nil), 0
		}
		list[len(list)-1] = append(list[len(list)-1], q)
		groups[q.window] = list
		sizes[q.window] += len(q.queries)
	}
	j.waiting = nil
	for _, list := range groups {
		for _, questions := range list {
			j.asking.Go(func() { j.ask(questions) })
		}
	}
}

// askSource asks the source. A panic is an error: the parts wait for the answer.
func (j *batcher) askSource(window time.Duration, queries []metrics.Query) (_ metrics.Answer, err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			err = fmt.Errorf("ask for numbers: panic: %v", panicked)
		}
	}()
	return j.source.Ask(j.ctx, window, queries)
}

// ask asks questions of one window as one batch.
func (j *batcher) ask(questions []*partQuestion) {
	var queries []metrics.Query
	for _, q := range questions {
		queries = append(queries, q.queries...)
	}
	answer, err := j.askSource(questions[0].window, queries)
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, q := range questions {
		q.err = err
		q.answer = metrics.Answer{Window: answer.Window, Notes: slices.Clone(answer.Notes)}
		n := min(len(q.queries), len(answer.Samples)) // the part refuses an answer with too few samples
		q.answer.Samples, answer.Samples = slices.Clip(answer.Samples[:n]), answer.Samples[n:]
		j.running++
		close(q.done)
	}
}

// cachedLister is a resource.Lister that lists each kind of a namespace once.
type cachedLister struct {
	next resource.Lister

	mu    sync.Mutex // guards the field below
	lists map[listKey]*listResult
}

type listKey struct{ kind, namespace, selector string }

type listResult struct {
	once    sync.Once
	objects []resource.Object
	err     error
}

// List implements resource.Lister. The caller may change the list, but not what is in its objects.
func (l *cachedLister) List(ctx context.Context, k resource.Kind, namespace, selector string) ([]resource.Object,
	error) {
	key := listKey{k.Name, namespace, selector}
	l.mu.Lock()
	found := l.lists[key]
	if found == nil {
		found = &listResult{}
		l.lists[key] = found
	}
	l.mu.Unlock()
	found.once.Do(func() { found.objects, found.err = l.next.List(ctx, k, namespace, selector) })
	return slices.Clone(found.objects), found.err
}
