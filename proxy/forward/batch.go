package forward

import "runtime"

// beginBatch takes the lock and reads the clock. endBatch must follow.
func (e *Engine) beginBatch() {
	e.mu.Lock()
	e.now = e.clock()
}

// endBatch flushes what the batch wrote. With several requests in flight it lets every other connection that is readable go first, once,
// so that what they all write to a shared connection leaves in one piece: Gosched puts this goroutine behind everything that is
// runnable, and whoever comes meanwhile leaves the flushing to it.
func (e *Engine) endBatch() {
	e.recycle()
	e.grantWithheld()
	if len(e.dirty) == 0 || e.flusher {
		e.mu.Unlock()
		return
	}
	if e.inFlight > 1 {
		e.flusher = true
		e.mu.Unlock()
		runtime.Gosched()
		e.mu.Lock()
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
	e.mu.Unlock()
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
