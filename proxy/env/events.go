package env

import (
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/tulle-mesh/tulle/proxy/clock"
)

// eventsPerSecond is how many lines per second peers can make the proxy log. Counters count every event.
const eventsPerSecond = 10

// EventLog logs what peers cause: denials, failed handshakes, unreachable targets.
type EventLog struct {
	log *zap.Logger
	now func() clock.Instant

	mu      sync.Mutex // guards the fields below
	second  int64
	lines   int
	skipped uint64
}

// NewEventLog returns a log that uses the clock now.
func NewEventLog(log *zap.Logger, now func() clock.Instant) *EventLog {
	return &EventLog{log: log, now: now}
}

// Info writes a line, unless there were too many in this second. The next line says how many were left out.
func (e *EventLog) Info(message string, fields ...zap.Field) {
	skipped, ok := e.admit()
	if !ok {
		return
	}
	if skipped > 0 {
		fields = append(fields, zap.Uint64("skippedLines", skipped))
	}
	e.log.Info(message, fields...)
}

func (e *EventLog) admit() (skipped uint64, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if now := int64(e.now()) / int64(time.Second); now != e.second {
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

// summaryInterval is how often a Summary writes at most.
const summaryInterval = time.Minute

// Summary logs one kind of event: a line for the first, then at most one per minute with the number of events.
type Summary struct {
	log *zap.Logger
	now func() clock.Instant

	mu    sync.Mutex // guards the fields below
	next  clock.Instant
	count uint64
}

// NewSummary returns a log that uses the clock now.
func NewSummary(log *zap.Logger, now func() clock.Instant) *Summary {
	return &Summary{log: log, now: now}
}

// Warn counts an event, and writes a line with its fields if one is due.
func (s *Summary) Warn(message string, fields ...zap.Field) {
	if count := s.due(); count > 0 {
		s.log.Warn(message, append(fields, zap.Uint64("count", count))...)
	}
}

// due counts an event and returns how many a line has to report; 0 means that none is due.
func (s *Summary) due() (count uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count++
	now := s.now()
	if now < s.next {
		return 0
	}
	s.next = now.Add(summaryInterval)
	count, s.count = s.count, 0
	return count
}
