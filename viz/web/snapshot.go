package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/tulle-mesh/tulle/internal/latest"
	"github.com/tulle-mesh/tulle/viz/board"
)

// refresh is how often a page is built while a viewer has it open.
const refresh = 5 * time.Second

// snapshots are the pages that viewers have open. Each is built once for all its streams.
type snapshots struct {
	log     *zap.Logger
	refresh time.Duration

	mu      sync.Mutex // guards the field below
	open    map[string]*snapshot
	running sync.WaitGroup
}

// snapshot is one open page, for viewers with the same rights.
type snapshot struct {
	cell    latest.Cell[state]
	viewers int // guarded by snapshots.mu
	stop    context.CancelFunc
}

// state is the latest build of a page: its JSON, or why there is none.
type state struct {
	page    []byte
	refusal *board.Refusal
}

// watch returns the snapshot of a page, and begins to build it if it is the first watch. The caller calls leave when it
// is done.
func (s *snapshots) watch(viewer Viewer, build pageFunc, q board.Query) (found *snapshot, leave func()) {
	key := viewer.Key + "\x00" + keyOf(q.Params)
	s.mu.Lock()
	defer s.mu.Unlock()
	found = s.open[key]
	if found == nil {
		ctx, cancel := context.WithCancel(context.Background())
		found = &snapshot{stop: cancel}
		if s.open == nil {
			s.open = map[string]*snapshot{}
		}
		s.open[key] = found
		s.running.Go(func() { s.run(ctx, found, viewer, build, q) })
	}
	found.viewers++
	return found, sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if found.viewers--; found.viewers == 0 {
			delete(s.open, key)
			found.stop()
		}
	})
}

// wait returns when no page is being built. The caller makes sure that every watch has ended.
func (s *snapshots) wait() { s.running.Wait() }

// keyOf returns the same text for parameters in any order.
func keyOf(params url.Values) string { return params.Encode() }

// run builds the page again and again until ctx ends.
func (s *snapshots) run(ctx context.Context, into *snapshot, viewer Viewer, build pageFunc, q board.Query) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		began := time.Now()
		if next := s.build(ctx, viewer, build, q); ctx.Err() == nil {
			into.cell.Store(next)
		}
		timer.Reset(max(s.refresh-time.Since(began), s.refresh/5))
	}
}

// build builds the page once.
func (s *snapshots) build(ctx context.Context, viewer Viewer, build pageFunc, q board.Query) (out state) {
	defer func() {
		if panicked := recover(); panicked != nil {
			s.log.Error("page panicked", zap.Any("panic", panicked), zap.Stack("stack"))
			out = state{refusal: internalError}
		}
	}()
	value, err := build(ctx, viewer.Sources(), q)
	if err != nil {
		return state{refusal: board.Refuse(err)}
	}
	text, err := json.Marshal(value)
	if err != nil {
		panic(fmt.Sprintf("encode page %s: %v", q.Params.Get("page"), err))
	}
	return state{page: text}
}
