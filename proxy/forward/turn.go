package forward

import "runtime"

// begin takes the turn and reads the clock. settle ends the batch and gives the turn back.
func (e *Engine) begin() {
	e.turn.Lock()
	e.now = e.clock()
}

// settle flushes what the batch wrote. With several requests in flight it lets every other connection that is readable go first, once,
// so that what they all write to a shared connection leaves in one piece: Gosched puts this goroutine behind everything that is
// runnable, and whoever comes meanwhile leaves the flushing to it.
func (e *Engine) settle() {
	e.recycle()
	e.grantWithheld()
	if len(e.dirty) == 0 || e.flusher {
		e.turn.Unlock()
		return
	}
	if e.inFlight > 1 {
		e.flusher = true
		e.turn.Unlock()
		runtime.Gosched()
		e.turn.Lock()
		e.flusher = false
	}
	for len(e.dirty) > 0 {
		c := e.dirty[len(e.dirty)-1]
		e.dirty[len(e.dirty)-1] = nil
		e.dirty = e.dirty[:len(e.dirty)-1]
		c.dirty = false
		c.flush()
	}
	e.recycle()
	e.turn.Unlock()
}

// recycle frees the flights that ended in this batch. Until here, code further up the stack may still look at them.
func (e *Engine) recycle() {
	const keep = 1024
	for i, fl := range e.retired {
		e.retired[i] = nil
		fl.reset()
		if len(e.free) < keep {
			e.free = append(e.free, fl)
		}
	}
	e.retired = e.retired[:0]
}
