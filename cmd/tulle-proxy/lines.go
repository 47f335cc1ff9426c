package main

import (
	"bytes"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/internal/latest"
)

const (
	// maxLines is how many bytes of lines wait for their reader.
	maxLines = 256 << 10
	// lastLines is how long the last lines may take at the end.
	lastLines = time.Second
)

// lines writes log lines without blocking the writer. Connections log while they hold the engine's lock, and a pipe
// with a stalled reader would stop all of them. Lines beyond maxLines are lost, and counted. Its methods may be used by
// several goroutines.
type lines struct {
	out  io.Writer
	lost *atomic.Uint64
	wake latest.Signal // queue may have something
	end  chan struct{} // closed when no more lines come
	done chan struct{} // closed when the last one is written

	mu    sync.Mutex // guards the field below
	queue []byte
}

// newLines returns a writer whose run must be running.
func newLines(out io.Writer, lost *atomic.Uint64) *lines {
	return &lines{out: out, lost: lost, wake: latest.NewSignal(), end: make(chan struct{}), done: make(chan struct{})}
}

// Write implements io.Writer; p is a line, or several.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	fits := len(l.queue)+len(p) <= maxLines
	if fits {
		l.queue = append(l.queue, p...)
	}
	l.mu.Unlock()
	if !fits {
		l.lost.Add(1)
		return len(p), nil
	}
	l.wake.Notify()
	return len(p), nil
}

// run writes what comes until close.
func (l *lines) run() {
	defer close(l.done)
	var batch []byte
	for open := true; open; {
		select {
		case <-l.wake:
		case <-l.end:
			open = false
		}
		l.mu.Lock()
		batch, l.queue = l.queue, batch[:0]
		l.mu.Unlock()
		if len(batch) == 0 {
			continue
		}
		if _, err := l.out.Write(batch); err != nil {
			l.lost.Add(uint64(bytes.Count(batch, []byte{'\n'})))
		}
		if cap(batch) > maxLines/16 {
			batch = nil
		}
	}
}

// close waits until everything is written, but not for ever.
func (l *lines) close() {
	close(l.end)
	select {
	case <-l.done:
	case <-time.After(lastLines):
	}
}
