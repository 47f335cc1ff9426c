package proxy

import (
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func TestStrangersCannotFillTheLog(t *testing.T) {
	core, logged := observer.New(zapcore.InfoLevel)
	now := time.Minute
	e := &events{log: zap.New(core), now: func() time.Duration { return now }}
	for range 1000 {
		e.info("request denied")
	}
	if n := logged.Len(); n != eventsPerSecond {
		t.Fatalf("%d lines in a second, want %d", n, eventsPerSecond)
	}
	now += time.Second
	e.info("request denied")
	last := logged.All()[logged.Len()-1]
	if got := last.ContextMap()["skippedLines"]; got != uint64(1000-eventsPerSecond) {
		t.Errorf("next line says that %v were skipped", got)
	}
}
