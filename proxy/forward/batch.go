package forward

import "runtime"

// beginBatch takes the lock and reads the clock. endBatch must follow.
func (e *Engine) beginBatch() {
	e.mu.Lock()
	e.now = e.clock()
}

// endBatch flushes what the batch wrote and gives the lock back. With several requests in flight, it first lets every
// other readable connection run, once: Gosched puts this goroutine behind all that are runnable. So what they all write
// to a shared connection leaves in one piece. Batches that end meanwhile leave the flushing to this one.
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
	for ; len(e.dirty) > 0; e.grantWithheld() { // to flush shrinks the queues
		c := e.dirty[len(e.dirty)-1]
		e.dirty[len(e.dirty)-1] = nil
		e.dirty = e.dirty[:len(e.dirty)-1]
		c.dirty = false
		c.flush()
	}
	e.recycle()
	e.mu.Unlock()
}

// recycle frees the flights that ended in this batch. Until here, code up the stack may still look at them.
func (e *Engine) recycle() {
	const maxFree = 1024
	for i, fl := range e.finished {
		e.finished[i] = nil
		fl.reset()
		if len(e.free) < maxFree {
			e.free = append(e.free, fl)
		}
	}
	e.finished = e.finished[:0]
}
