package env

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tulle-mesh/tulle/proxy/clock"
)

func TestStrangersCannotFillTheLog(t *testing.T) {
	core, logged := observer.New(zapcore.InfoLevel)
	now := clock.Instant(time.Minute)
	e := &EventLog{log: zap.New(core), now: func() clock.Instant { return now }}
	for range 1000 {
		e.Info("request denied")
	}
	if n := logged.Len(); n != eventsPerSecond {
		t.Fatalf("%d lines in a second, want %d", n, eventsPerSecond)
	}
	now = now.Add(time.Second)
	e.Info("request denied")
	last := logged.All()[logged.Len()-1]
	if got := last.ContextMap()["skippedLines"]; got != uint64(1000-eventsPerSecond) {
		t.Errorf("next line says that %v were skipped", got)
	}
}

func TestSummaryTellsOnceAMinuteHowMany(t *testing.T) {
	core, logged := observer.New(zapcore.WarnLevel)
	now := clock.Instant(0)
	s := &Summary{log: zap.New(core), now: func() clock.Instant { return now }}
	for range 1000 {
		s.Warn("refused")
		now = now.Add(50 * time.Millisecond) // 50 s in all
	}
	now = clock.Instant(time.Minute)
	s.Warn("refused")
	var got []any
	for _, line := range logged.All() {
		got = append(got, line.ContextMap()["count"])
	}
	if diff := cmp.Diff([]any{uint64(1), uint64(1000)}, got); diff != "" {
		t.Errorf("counts of the lines (-want +got):\n%s", diff)
	}
}
