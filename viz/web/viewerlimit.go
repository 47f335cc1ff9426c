package web

import (
	"net/http"
	"sync"

	"github.com/tulle-mesh/tulle/viz/board"
)

// viewerLimit bounds the concurrent requests of one kind: each those of one viewer, and all those of all viewers.
type viewerLimit struct {
	all, each int

	mu      sync.Mutex // guards the fields below
	running int
	viewers map[string]int
}

// acquire counts a request of a viewer. Over a bound, it answers the request itself and returns false. The caller calls
// release when the request ends.
func (p *viewerLimit) acquire(w http.ResponseWriter, viewer string) (release func(), ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	why := ""
	switch {
	case p.viewers[viewer] >= p.each:
		why = "You have too many pages of the dashboard open."
	case p.running >= p.all:
		why = "Too many pages of the dashboard are open."
	default:
		if p.viewers == nil {
			p.viewers = map[string]int{}
		}
		p.running++
		p.viewers[viewer]++
		return sync.OnceFunc(func() { p.release(viewer) }), true
	}
	writeRefusal(w, http.StatusServiceUnavailable, &board.Refusal{Code: board.Unavailable, Message: why,
		Remedy: "Close some, and try again."})
	return nil, false
}

func (p *viewerLimit) release(viewer string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running--
	if p.viewers[viewer]--; p.viewers[viewer] == 0 {
		delete(p.viewers, viewer)
	}
}
