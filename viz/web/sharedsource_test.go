package web

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tulle-mesh/tulle/viz/metrics"
)

// counting is a source that takes a while, and counts how often it is asked.
type counting struct {
	// takes is how long an answer takes; slow means that it takes the window, as reading the proxies does.
	takes time.Duration
	slow  bool

	mu      sync.Mutex // guards the fields below
	asked   int
	running int
	err     error
}

func (c *counting) Ask(ctx context.Context, window time.Duration, _ []metrics.Query) (metrics.Answer, error) {
	c.mu.Lock()
	c.asked++
	c.running++
	takes := c.takes
	if c.slow {
		takes = window
	}
	c.mu.Unlock()
	if c.slow {
		metrics.Progress(ctx, takes)
	}
	timer := time.NewTimer(takes)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running--
	if ctx.Err() != nil {
		return metrics.Answer{}, ctx.Err()
	}
	return metrics.Answer{Window: window, Samples: [][]metrics.Sample{{{Value: float64(c.asked)}}}}, c.err
}

func (c *counting) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked
}

func (c *counting) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
}

var someQueries = []metrics.Query{{Metric: metrics.ResponseTotal}}

// TestManyAskOnce: all who ask within the time of an answer get the same one.
func TestManyAskOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &counting{takes: 100 * time.Millisecond}
		shared := NewSharedSource(source)
		defer shared.Close()
		ask := func(times int) {
			var all sync.WaitGroup
			for range times {
				all.Go(func() {
					if answer, err := shared.Ask(t.Context(), time.Minute, someQueries); err != nil || len(answer.Samples) != 1 {
						t.Errorf("answer %v, error %v", answer, err)
					}
				})
			}
			all.Wait()
		}
		ask(200)
		time.Sleep(answerTTL - time.Second)
		ask(200)
		if got := source.count(); got != 1 {
			t.Errorf("the source was asked %d times, want 1", got)
		}
		time.Sleep(2 * time.Second)
		ask(200)
		if got := source.count(); got != 2 {
			t.Errorf("after an answer's time: asked %d times, want 2", got)
		}
		if _, err := shared.Ask(t.Context(), 2*time.Minute, someQueries); err != nil || source.count() != 3 {
			t.Errorf("another window: asked %d times, want 3; error %v", source.count(), err)
		}
	})
}

// TestViewerWhoLeavesEndsNobodysQuestion: only the call of the context ends.
func TestViewerWhoLeavesEndsNobodysQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &counting{takes: 2 * time.Second}
		shared := NewSharedSource(source)
		defer shared.Close()
		ctx, leave := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() {
			_, err := shared.Ask(ctx, time.Minute, someQueries)
			left <- err
		}()
		synctest.Wait()
		time.AfterFunc(time.Second, leave)
		if _, err := shared.Ask(t.Context(), time.Minute, someQueries); err != nil || source.count() != 1 {
			t.Errorf("who stays: asked %d times, error %v", source.count(), err)
		}
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("who left: error %v", err)
		}
	})
}

func TestErrorsAreNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &counting{takes: 10 * time.Millisecond, err: errors.New("away")}
		shared := NewSharedSource(source)
		defer shared.Close()
		ask := func() error {
			_, err := shared.Ask(t.Context(), time.Minute, someQueries)
			return err
		}
		if first, again := ask(), ask(); first == nil || again == nil || source.count() != 1 {
			t.Errorf("errors %v and %v, asked %d times", first, again, source.count())
		}
		source.fail(nil)
		time.Sleep(errorTTL)
		if err := ask(); err != nil || source.count() != 2 {
			t.Errorf("after an error's time: error %v, asked %d times", err, source.count())
		}
	})
}

// TestPagesDoNotWaitForAWindow: with a source that takes the window, the first answer is of a short one, and after that
// there always is one.
func TestPagesDoNotWaitForAWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &counting{slow: true}
		shared := NewSharedSource(source)
		defer shared.Close()
		began := time.Now()
		ask := func() metrics.Answer {
			answer, err := shared.Ask(t.Context(), time.Minute, someQueries)
			if err != nil {
				t.Fatal(err)
			}
			return answer
		}
		if answer := ask(); answer.Window != metrics.MinWindow || time.Since(began) > metrics.MinWindow {
			t.Errorf("the first answer is of %v, after %v", answer.Window, time.Since(began))
		}
		for time.Since(began) < 5*time.Minute {
			time.Sleep(refresh)
			asked := time.Now()
			answer := ask()
			if waited := time.Since(asked); waited > 0 {
				t.Errorf("after %v: waited for %v", asked.Sub(began), waited)
			}
			if asked.Sub(began) > time.Minute+time.Second && (answer.Window != time.Minute || len(answer.Notes) > 0) {
				t.Errorf("after %v: window %v, notes %v", asked.Sub(began), answer.Window, answer.Notes)
			}
		}
		if got := source.count(); got > 5*60/15+2 {
			t.Errorf("asked %d times in 5 minutes", got)
		}
	})
}

// TestNobodyAsksAnyMore: readings end when the last page is closed.
func TestNobodyAsksAnyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &counting{slow: true}
		shared := NewSharedSource(source)
		defer shared.Close()
		if _, err := shared.Ask(t.Context(), time.Hour, someQueries); err != nil {
			t.Fatal(err)
		}
		time.Sleep(questionTTL + time.Second)
		synctest.Wait()
		if source.running > 0 || len(shared.questions) > 0 {
			t.Errorf("%d readings run, %d questions are kept", source.running, len(shared.questions))
		}
	})
}

// TestAnswersAreBounded: a viewer who asks for many time windows fills no memory, and nobody who waits loses an answer.
func TestAnswersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &counting{takes: time.Millisecond}
		shared := NewSharedSource(source)
		defer shared.Close()
		var asking sync.WaitGroup
		for i := range 3 * maxQuestions {
			asking.Go(func() {
				if _, err := shared.Ask(t.Context(), time.Minute+time.Duration(i)*time.Second, someQueries); err != nil {
					t.Error(err)
				}
			})
			if i%2 == 0 {
				asking.Wait()
			}
		}
		asking.Wait()
		shared.mu.Lock()
		defer shared.mu.Unlock()
		if kept := len(shared.questions); kept > maxQuestions {
			t.Errorf("%d answers are kept", kept)
		}
	})
}

// panics is a source with a bug.
type panics struct{}

func (panics) Ask(context.Context, time.Duration, []metrics.Query) (metrics.Answer, error) {
	panic("a bug")
}

func TestPanicOfASourceIsAnError(t *testing.T) {
	shared := NewSharedSource(panics{})
	defer shared.Close()
	if _, err := shared.Ask(t.Context(), time.Minute, someQueries); err == nil || !strings.Contains(err.Error(), "a bug") {
		t.Errorf("error %v", err)
	}
}
