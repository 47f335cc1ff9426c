package web

import (
	"bufio"
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/viz/board"
	"github.com/tulle-mesh/tulle/viz/metrics"
)

func init() {
	pages["panics"] = func(context.Context, board.Sources, board.Query) (any, error) { panic("a bug in a page") }
	pages["one"] = func(ctx context.Context, s board.Sources, _ board.Query) (any, error) {
		_, err := s.Numbers.Ask(ctx, time.Minute, []metrics.Query{{Metric: metrics.ResponseTotal,
			By: []string{"namespace"}}})
		return "a page", err
	}
	pages["huge"] = func(ctx context.Context, s board.Sources, _ board.Query) (any, error) {
		_, err := s.Numbers.Ask(ctx, time.Minute, nil)
		return strings.Repeat("x", 8<<20), err
	}
}

// watched is a source that hands out the context of the page that asks it.
type watched struct{ contexts chan context.Context }

func (w watched) Ask(ctx context.Context, _ time.Duration, _ []metrics.Query) (metrics.Answer, error) {
	select {
	case w.contexts <- ctx:
	default:
	}
	return metrics.Answer{}, nil
}

// stream opens a stream, which ends with the test or with end.
func (b *bed) stream(search string) (lines *bufio.Scanner, status int, end func()) {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+b.host+"/api/stream?"+search, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	resp, err := b.browser.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	end = sync.OnceFunc(func() {
		cancel()
		_ = resp.Body.Close() // the context ended it
	})
	b.t.Cleanup(end)
	lines = bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 16<<20)
	return lines, resp.StatusCode, end
}

// TestManyStreamsCostAsMuchAsOne: 200 streams of one page are one page that is built and one question.
func TestManyStreamsCostAsMuchAsOne(t *testing.T) {
	var asked atomic.Int64
	source := &counting{}
	shared := NewSharedSource(source)
	defer shared.Close()
	b := start(t, func(c *Config) {
		c.MaxViewerStreams = 300
		own := c.Viewer.Sources
		c.Viewer.Sources = func() board.Sources {
			asked.Add(1)
			s := own()
			s.Numbers = shared
			return s
		}
	})
	b.writeTimeout = time.Minute // 201 large pages take a slow machine longer than a browser is given
	b.logIn()
	for range 200 {
		lines, status, _ := b.stream("page=huge")
		if status != http.StatusOK {
			t.Fatalf("status %d", status)
		}
		_ = lines
	}
	first, _, _ := b.stream("page=huge")
	if name, _ := event(t, first); name != "page" {
		t.Errorf("event %s", name)
	}
	if got, questions := asked.Load(), int64(source.count()); questions > got || got > 1+int64(time.Minute/refresh) {
		t.Errorf("%d pages were built, and the source was asked %d times", got, questions)
	}
}

// TestStreamGoesOnAfterAProblem: it says what is wrong, and then that it is right again.
func TestStreamGoesOnAfterAProblem(t *testing.T) {
	var away atomic.Bool
	away.Store(true)
	b := start(t, func(c *Config) {
		own := c.Viewer.Sources
		c.Viewer.Sources = func() board.Sources {
			s := own()
			if away.Load() {
				s.Objects = lister{err: errors.New("the API is away")}
			}
			return s
		}
	})
	b.snapshots.refresh = time.Millisecond
	b.logIn()
	lines, _, _ := b.stream("page=overview")
	name, data := event(t, lines)
	if name != "refusal" || !strings.Contains(data, `"code":"unavailable","message":"the API is away"`) {
		t.Errorf("event %s %s", name, data)
	}
	away.Store(false)
	for name != "page" {
		name, _ = event(t, lines)
	}
}

// TestStreamsAreBounded: a viewer has a number of pages, and all together have one.
func TestStreamsAreBounded(t *testing.T) {
	b := start(t, func(c *Config) { c.MaxViewerStreams = 3 })
	b.logIn()
	var ends []func()
	for range 3 {
		_, status, end := b.stream("page=overview")
		if status != http.StatusOK {
			t.Fatalf("status %d", status)
		}
		ends = append(ends, end)
	}
	if _, status, _ := b.stream("page=overview"); status != http.StatusServiceUnavailable {
		t.Errorf("one too many: status %d", status)
	}
	if status, body := b.get("/api/page?page=overview"); status != http.StatusServiceUnavailable {
		t.Errorf("a page once: status %d %s", status, body)
	}
	ends[0]()
	for status := 0; status != http.StatusOK; { // the server learns of it a little later
		_, status, _ = b.stream("page=overview")
	}
}

// TestBrowserThatDoesNotReadIsCutOff: its stream ends, and with it the page.
func TestBrowserThatDoesNotReadIsCutOff(t *testing.T) {
	source := watched{make(chan context.Context, 1)}
	b := start(t, func(c *Config) {
		c.Viewer.Sources = func() board.Sources { return board.Sources{Numbers: source} }
	})
	b.logIn()
	b.writeTimeout = 50 * time.Millisecond
	_, status, _ := b.stream("page=huge")
	if status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	<-(<-source.contexts).Done()
}

// TestPageEndsWithItsLastStream: nothing is built for nobody.
func TestPageEndsWithItsLastStream(t *testing.T) {
	source := watched{make(chan context.Context, 1)}
	b := start(t, func(c *Config) {
		c.Viewer.Sources = func() board.Sources { return board.Sources{Numbers: source} }
	})
	b.logIn()
	_, _, endOne := b.stream("page=huge")
	lines, _, endOther := b.stream("page=huge")
	ctx := <-source.contexts
	endOne()
	if name, _ := event(t, lines); name != "page" || ctx.Err() != nil {
		t.Errorf("event %s; the page's context: %v", name, ctx.Err())
	}
	endOther()
	<-ctx.Done()
}

func TestQueriesAreChecked(t *testing.T) {
	b := start(t)
	b.logIn()
	for search, want := range map[string]string{
		"":                            "page",
		"page=none":                   "page",
		"page=overview&window=1s":     "window",
		"page=overview&window=7h":     "window",
		"page=overview&window=x":      "window",
		"page=overview&namespace=%00": "control characters",
	} {
		status, body := b.get("/api/page?" + search)
		if status != http.StatusBadRequest || !strings.Contains(body, want) {
			t.Errorf("%q: status %d, want 400 and %q: %s", search, status, want, body)
		}
	}
}
