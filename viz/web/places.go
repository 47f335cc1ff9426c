package web

import (
	"net/http"
	"sync"

	"github.com/tulle-mesh/tulle/viz/board"
)

// places bounds the requests of one sort that run at a time, of one viewer and of all.
type places struct {
	all, each int

	mu      sync.Mutex // guards the fields below
	taken   int
	viewers map[string]int
}

// take takes a place for a viewer, and answers the request if there is none. Call leave at the end.
func (p *places) take(w http.ResponseWriter, viewer string) (leave func(), ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	why := ""
	switch {
	case p.viewers[viewer] >= p.each:
		why = "You have too many pages of the dashboard open."
	case p.taken >= p.all:
		why = "Too many pages of the dashboard are open."
	default:
		if p.viewers == nil {
			p.viewers = map[string]int{}
		}
		p.taken++
		p.viewers[viewer]++
		return sync.OnceFunc(func() { p.leave(viewer) }), true
	}
	refuse(w, http.StatusServiceUnavailable, &board.Refusal{Code: board.Unavailable, Message: why,
		Remedy: "Close some, and try again."})
	return nil, false
}

func (p *places) leave(viewer string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken--
	if p.viewers[viewer]--; p.viewers[viewer] == 0 {
		delete(p.viewers, viewer)
	}
}
