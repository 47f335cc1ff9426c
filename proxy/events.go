package proxy

import (
	"sync"
	"time"

	"go.uber.org/zap"
)

// eventsPerSecond is how many lines strangers can make the proxy log in a second. Counters count every event.
const eventsPerSecond = 10

// events logs what peers cause: denials, failed handshakes, unreachable targets.
type events struct {
	log *zap.Logger
	now func() time.Duration

	mu      sync.Mutex // guards the fields below
	second  time.Duration
	lines   int
	skipped uint64
}

// info writes a line, unless there were too many in this second; then the next one says how many were left out.
func (e *events) info(message string, fields ...zap.Field) {
	skipped, ok := e.admit()
	if !ok {
		return
	}
	if skipped > 0 {
		fields = append(fields, zap.Uint64("skippedLines", skipped))
	}
	e.log.Info(message, fields...)
}

func (e *events) admit() (skipped uint64, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if now := e.now().Truncate(time.Second); now != e.second {
		e.second, e.lines = now, 0
	}
	if e.lines >= eventsPerSecond {
		e.skipped++
		return 0, false
	}
	e.lines++
	skipped, e.skipped = e.skipped, 0
	return skipped, true
}
