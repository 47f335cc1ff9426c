package env

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func TestStrangersCannotFillTheLog(t *testing.T) {
	core, logged := observer.New(zapcore.InfoLevel)
	now := time.Minute
	e := &EventLog{log: zap.New(core), now: func() time.Duration { return now }}
	for range 1000 {
		e.Info("request denied")
	}
	if n := logged.Len(); n != eventsPerSecond {
		t.Fatalf("%d lines in a second, want %d", n, eventsPerSecond)
	}
	now += time.Second
	e.Info("request denied")
	last := logged.All()[logged.Len()-1]
	if got := last.ContextMap()["skippedLines"]; got != uint64(1000-eventsPerSecond) {
		t.Errorf("next line says that %v were skipped", got)
	}
}

func TestSummaryTellsOnceAMinuteHowMany(t *testing.T) {
	core, logged := observer.New(zapcore.WarnLevel)
	now := time.Duration(0)
	s := &Summary{log: zap.New(core), now: func() time.Duration { return now }}
	for range 1000 {
		s.Warn("refused")
		now += 50 * time.Millisecond // 50 s in all
	}
	now = time.Minute
	s.Warn("refused")
	var got []any
	for _, line := range logged.All() {
		got = append(got, line.ContextMap()["count"])
	}
	if diff := cmp.Diff([]any{uint64(1), uint64(1000)}, got); diff != "" {
		t.Errorf("counts of the lines (-want +got):\n%s", diff)
	}
}
