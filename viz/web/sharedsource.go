package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tulle-mesh/tulle/viz/metrics"
)

const (
	// answerTTL is how long an answer is shared, and errorTTL how long an error is.
	answerTTL = 4 * time.Second
	errorTTL  = time.Second
	// questionTTL is how long a question is stored after it was asked last. Open pages ask every refresh.
	questionTTL = 30 * time.Second
	// maxQuestions bounds the stored questions; a viewer may ask for any time window.
	maxQuestions = 512
	// staleAfter is the age of numbers from which a note says it.
	staleAfter = 20 * time.Second
	// maxReadings bounds the concurrent readings of one question from a slow source. They begin one after the other, so
	// that new numbers come more often than once a window.
	maxReadings = 4
)

// SharedSource is a metrics.Source that asks another source once for all callers with the same question. Several
// goroutines may use it.
//
// A source that reads the proxies takes as long as the window. During that time SharedSource answers with the numbers
// of the reading before. The first answer is of a shorter window. It repeats the reading while somebody asks.
type SharedSource struct {
	source metrics.Source

	ctx      context.Context // of all readings; it ends with Close
	cancel   context.CancelFunc
	readings sync.WaitGroup

	mu        sync.Mutex // guards the field below, and what is in it
	questions map[string]*question
}

var errClosed = errors.New("ask for numbers: the server ends")

// question is a window and a list of queries, with their latest answer.
type question struct {
	window  time.Duration
	queries []metrics.Query
	// last is the latest answer, and failed the latest error if it is newer.
	last   result
	failed result
	// changed is closed when the next result arrives, and when a reading turns out to be slow.
	changed chan struct{}
	// running counts the readings in progress, and began is when the last one began. slow means that the source takes the
	// window for a reading.
	running int
	began   time.Time
	slow    bool
	// waiting counts callers, and asked is when the last one asked. expiry ends the question questionTTL later.
	waiting int
	asked   time.Time
	expiry  *time.Timer
	ctx     context.Context
	cancel  context.CancelFunc
}

// result is the result of one reading.
type result struct {
	answer    metrics.Answer
	err       error
	began, at time.Time
}

// NewSharedSource returns a SharedSource. The caller calls Close at the end.
func NewSharedSource(source metrics.Source) *SharedSource {
	ctx, cancel := context.WithCancel(context.Background())
	return &SharedSource{source: source, ctx: ctx, cancel: cancel, questions: map[string]*question{}}
}

// Close cancels all readings, and returns when they have ended. Ask returns an error from then on.
func (s *SharedSource) Close() {
	s.mu.Lock()
	s.cancel() // under the lock, so that no reading begins after it
	for _, q := range s.questions {
		q.expiry.Stop()
	}
	s.mu.Unlock()
	s.readings.Wait()
}

// Ask implements metrics.Source. The end of ctx ends only this call, and not a reading that others wait for.
func (s *SharedSource) Ask(ctx context.Context, window time.Duration, queries []metrics.Query) (metrics.Answer, error) {
	key, err := json.Marshal(metrics.Request{Window: window, Queries: queries})
	if err != nil {
		return metrics.Answer{}, fmt.Errorf("encode queries: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return metrics.Answer{}, errClosed
	}
	q := s.find(string(key), window, queries)
	q.waiting++
	defer func() { q.waiting-- }()
	for asked := time.Now(); ; {
		if answer, err, ok := q.ready(asked); ok {
			return answer, err
		}
		if s.ctx.Err() != nil {
			return metrics.Answer{}, errClosed
		}
		s.beginReading(q)
		if answer, ok := q.previous(asked); ok {
			return answer, nil
		}
		changed := q.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		case <-s.ctx.Done():
		}
		s.mu.Lock()
		if ctx.Err() != nil {
			return metrics.Answer{}, fmt.Errorf("ask for numbers: %w", ctx.Err())
		}
	}
}

// find returns the question of a key, a new one if there is none, and extends its life.
func (s *SharedSource) find(key string, window time.Duration, queries []metrics.Query) *question {
	q := s.questions[key]
	if q == nil {
		if len(s.questions) >= maxQuestions {
			s.makeRoom()
		}
		q = &question{window: window, queries: slices.Clone(queries), changed: make(chan struct{})}
		q.ctx, q.cancel = context.WithCancel(s.ctx)
		q.expiry = time.AfterFunc(questionTTL, func() { s.forget(key, q) })
		s.questions[key] = q
	}
	q.asked = time.Now()
	q.expiry.Reset(questionTTL)
	return q
}

// makeRoom ends the question that was asked least recently. It does not end one with a caller that waits: the number of
// open pages bounds these.
func (s *SharedSource) makeRoom() {
	oldest := ""
	for key, q := range s.questions {
		if q.waiting == 0 && (oldest == "" || q.asked.Before(s.questions[oldest].asked)) {
			oldest = key
		}
	}
	if oldest != "" {
		s.end(oldest, s.questions[oldest])
	}
}

// end removes a question and cancels its readings.
func (s *SharedSource) end(key string, q *question) {
	delete(s.questions, key)
	q.expiry.Stop()
	q.cancel()
}

// forget ends a question that has expired, unless a caller waits.
func (s *SharedSource) forget(key string, q *question) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ctx.Err() != nil || s.questions[key] != q: // it has ended
	case q.waiting > 0:
		q.expiry.Reset(questionTTL)
	default:
		s.end(key, q)
	}
}

// ready returns an answer or an error that is new enough for a caller that asked at that time.
func (q *question) ready(asked time.Time) (metrics.Answer, error, bool) {
	switch {
	case q.failed.err != nil && asked.Sub(q.failed.at) < errorTTL:
		return metrics.Answer{}, q.failed.err, true
	case q.failed.err == nil && !q.last.at.IsZero() && asked.Sub(q.last.at) < answerTTL:
		return q.last.copy(), nil, true
	}
	return metrics.Answer{}, nil, false
}

// previous returns the answer of the previous reading while a slow source reads, unless it is too old to be of use.
func (q *question) previous(now time.Time) (metrics.Answer, bool) {
	age := now.Sub(q.last.at)
	if !q.slow || q.last.at.IsZero() || age > 2*q.window+staleAfter {
		return metrics.Answer{}, false
	}
	answer := q.last.copy()
	if age > staleAfter {
		answer.Notes = append(answer.Notes, fmt.Sprintf("The numbers are %v old.", age.Round(time.Second)))
	}
	return answer, true
}

// copy returns the answer with slices that the caller may append to. Callers share the samples and must not change
// them.
func (r result) copy() metrics.Answer {
	a := r.answer
	a.Samples, a.Notes = slices.Clone(a.Samples), slices.Clone(a.Notes)
	return a
}

// beginReading begins a reading if none is running, or if the source is slow and the last one began long enough ago.
func (s *SharedSource) beginReading(q *question) {
	step := max(metrics.MinWindow, q.window/maxReadings)
	if q.running > 0 && (!q.slow || q.running >= maxReadings || time.Since(q.began) < step) {
		return
	}
	q.began = time.Now()
	s.read(q, q.window, q.began)
}

// read asks the source once, for a reading that began at that time. The caller holds the lock.
func (s *SharedSource) read(q *question, window time.Duration, began time.Time) {
	q.running++
	s.readings.Go(func() {
		first := true
		ctx := metrics.WithProgress(q.ctx, func(left time.Duration) {
			if first && left > 0 {
				first = false
				s.noteSlow(q, window, began)
			}
		})
		answer, err := s.ask(ctx, window, q.queries)
		s.mu.Lock()
		defer s.mu.Unlock()
		q.running--
		if first {
			q.slow = false
		}
		if q.ctx.Err() == nil {
			q.store(result{answer, err, began, time.Now()})
		}
	})
}

// ask asks the source, and turns a panic into an error: a panic in this goroutine would end the process.
func (s *SharedSource) ask(ctx context.Context, window time.Duration, queries []metrics.Query) (_ metrics.Answer,
	err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			err = fmt.Errorf("ask for numbers: panic: %v", panicked)
		}
	}()
	return s.source.Ask(ctx, window, queries)
}

// noteSlow records that the source takes the window for a reading. If there is no answer yet, it starts a second
// reading of a shorter window, so that the first callers need not wait.
func (s *SharedSource) noteSlow(q *question, window time.Duration, began time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if q.last.at.IsZero() && !q.slow && window >= 2*metrics.MinWindow && q.ctx.Err() == nil {
		q.slow = true
		s.read(q, metrics.MinWindow, began)
	}
	q.slow = true
	q.wake()
}

// store stores a result, unless there is one of a reading that began later.
func (q *question) store(r result) {
	switch {
	case r.began.Before(q.last.began) || r.began.Before(q.failed.began):
		return
	case r.err != nil:
		q.failed = r
	default:
		q.last, q.failed = r, result{}
	}
	q.wake()
}

// wake wakes all callers.
func (q *question) wake() {
	close(q.changed)
	q.changed = make(chan struct{})
}
