package main

import (
	"github.com/go-logr/zapr"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"k8s.io/klog/v2"
)

// logClient sends what the Kubernetes client logs to log. The client writes through klog, whose logger is the process's: main is the
// place to choose it. Its information is our debugging: it tells of every list and watch.
func logClient(log *zap.Logger) {
	klog.SetLogger(zapr.NewLogger(log.WithOptions(zap.WrapCore(func(c zapcore.Core) zapcore.Core { return quiet{c} }))))
}

// quiet is a core whose information is debugging.
type quiet struct{ zapcore.Core }

// Check implements zapcore.Core.
func (q quiet) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if e.Level == zapcore.InfoLevel {
		e.Level = zapcore.DebugLevel
	}
	if !q.Enabled(e.Level) {
		return ce
	}
	return ce.AddCore(e, q.Core)
}

// With implements zapcore.Core.
func (q quiet) With(fields []zapcore.Field) zapcore.Core { return quiet{q.Core.With(fields)} }
