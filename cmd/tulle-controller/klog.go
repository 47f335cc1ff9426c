package main

import (
	"github.com/go-logr/zapr"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"k8s.io/klog/v2"
)

// logClient sends the Kubernetes client's logs to log. The client writes through klog, which has one logger per
// process, so main sets it. Its info lines become debug lines, because it reports every list and watch.
func logClient(log *zap.Logger) {
	klog.SetLogger(zapr.NewLogger(log.WithOptions(zap.WrapCore(func(c zapcore.Core) zapcore.Core { return quiet{c} }))))
}

// quiet is a core that turns info lines into debug lines.
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
