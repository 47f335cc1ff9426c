package parts

import "sync"

// Group runs functions side by side. A panic of one becomes a panic of Wait, so that a caller who recovers the page's
// recovers it too: a page must not end the server. The zero value is ready to use.
type Group struct {
	running sync.WaitGroup

	mu       sync.Mutex // guards the field below
	panicked any
}

// Go runs f in a goroutine of its own.
func (g *Group) Go(f func()) {
	g.running.Go(func() {
		defer func() {
			if panicked := recover(); panicked != nil {
				g.mu.Lock()
				defer g.mu.Unlock()
				g.panicked = panicked
			}
		}()
		f()
	})
}

// Wait returns when all functions have, or panics as one of them did.
func (g *Group) Wait() {
	g.running.Wait()
	if g.panicked != nil {
		panic(g.panicked)
	}
}
