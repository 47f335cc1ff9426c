// Package parts builds the parts of a page side by side.
//
// It owns how the questions of the parts become one, and that each list of objects is read once. It knows nothing of
// what a page shows. The one idea: the source is asked whenever all parts that run wait for an answer.
package parts

import (
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tulle-mesh/tulle/viz/metrics"
	"github.com/tulle-mesh/tulle/viz/resource"
)

// maxJoined is how many queries one question may have; metrics-api takes 128.
const maxJoined = 128

// Sources is what a part reads.
type Sources struct {
	Numbers metrics.Source
	Objects resource.Lister
}

// Part reads a part of a page. It returns notes.
type Part func(context.Context, Sources) ([]string, error)

// Run runs the parts and joins their questions. A source that reads the proxies waits for the window, so a page of many
// parts must not ask one after the other. It returns the notes of all, each once.
func Run(ctx context.Context, s Sources, parts ...Part) ([]string, error) {
	group, ctx := errgroup.WithContext(ctx)
	j := &joined{ctx: ctx, source: s.Numbers, running: len(parts)}
	s.Objects = &listOnce{next: s.Objects, lists: map[listKey]*listing{}}
	notes := make([][]string, len(parts))
	var fault any
	for i, part := range parts {
		own := s
		own.Numbers = joinedPart{j, i}
		group.Go(func() (err error) {
			defer j.leave()
			defer func() {
				if f := recover(); f != nil {
					j.mu.Lock()
					fault = f
					j.mu.Unlock()
				}
			}()
			notes[i], err = part(ctx, own)
			return err
		})
	}
	err := group.Wait()
	j.flights.Wait()
	if fault != nil {
		panic(fault) // in the goroutine of the page, whose caller expects it
	}
	var all []string
	for _, n := range slices.Concat(notes...) {
		if !slices.Contains(all, n) {
			all = append(all, n)
		}
	}
	return all, err
}

// joined asks one source the questions of several parts at once: whenever all parts that run wait for an answer.
type joined struct {
	ctx     context.Context
	source  metrics.Source
	flights sync.WaitGroup

	mu      sync.Mutex // guards the fields below
	running int        // parts that do not wait
	waiting []*joinedQuestion
}

type joinedPart struct {
	*joined
	index int
}

type joinedQuestion struct {
	index   int
	window  time.Duration
	queries []metrics.Query
	answer  metrics.Answer
	err     error
	done    chan struct{}
}

// Ask implements metrics.Source.
func (p joinedPart) Ask(ctx context.Context, window time.Duration, queries []metrics.Query) (metrics.Answer, error) {
	q := &joinedQuestion{index: p.index, window: window, queries: queries, done: make(chan struct{})}
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

// leave ends a part.
func (j *joined) leave() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.pause()
}

// pause counts a part as not running, and asks what waits if that was the last. The caller holds the lock.
func (j *joined) pause() {
	if j.running--; j.running > 0 || len(j.waiting) == 0 {
		return
	}
	// In a stable order, so that a source that keeps answers knows the question again.
	slices.SortStableFunc(j.waiting, func(a, b *joinedQuestion) int { return a.index - b.index })
	groups := map[time.Duration][][]*joinedQuestion{}
	sizes := map[time.Duration]int{}
	for _, q := range j.waiting {
		list := groups[q.window]
		if len(list) == 0 || sizes[q.window]+len(q.queries) > maxJoined {
			list, sizes[q.window] = append(list, nil), 0
		}
		list[len(list)-1] = append(list[len(list)-1], q)
		groups[q.window] = list
		sizes[q.window] += len(q.queries)
	}
	j.waiting = nil
	for _, list := range groups {
		for _, questions := range list {
			j.flights.Go(func() { j.ask(questions) })
		}
	}
}

// ask asks questions of one window as one.
func (j *joined) ask(questions []*joinedQuestion) {
	var queries []metrics.Query
	for _, q := range questions {
		queries = append(queries, q.queries...)
	}
	answer, err := j.source.Ask(j.ctx, questions[0].window, queries)
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, q := range questions {
		q.err = err
		q.answer = metrics.Answer{Window: answer.Window, Notes: slices.Clone(answer.Notes)}
		n := min(len(q.queries), len(answer.Samples)) // a source that answers too little is the part's to refuse
		q.answer.Samples, answer.Samples = slices.Clip(answer.Samples[:n]), answer.Samples[n:]
		j.running++
		close(q.done)
	}
}

// listOnce is a resource.Lister that lists each kind of a namespace once.
type listOnce struct {
	next resource.Lister

	mu    sync.Mutex // guards the field below
	lists map[listKey]*listing
}

type listKey struct{ kind, namespace, selector string }

type listing struct {
	once    sync.Once
	objects []resource.Object
	err     error
}

// List implements resource.Lister. The caller may change the list, but not what is in its objects.
func (l *listOnce) List(ctx context.Context, k resource.Kind, namespace, selector string) ([]resource.Object, error) {
	key := listKey{k.Name, namespace, selector}
	l.mu.Lock()
	found := l.lists[key]
	if found == nil {
		found = &listing{}
		l.lists[key] = found
	}
	l.mu.Unlock()
	found.once.Do(func() { found.objects, found.err = l.next.List(ctx, k, namespace, selector) })
	return slices.Clone(found.objects), found.err
}
