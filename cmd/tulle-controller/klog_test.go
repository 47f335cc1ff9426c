package main

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"k8s.io/klog/v2"
)

func TestClientLogsThroughTheProcessesLogger(t *testing.T) {
	core, seen := observer.New(zapcore.DebugLevel)
	logClient(zap.New(core).Named("kube"))
	t.Cleanup(klog.ClearLogger)

	klog.InfoS("caches populated", "type", "*v1.Pod")
	klog.ErrorS(errors.New("connection refused"), "failed to watch", "type", "*v1.Pod")
	klog.Errorf("old style: %d", 7)

	type line struct{ Level, Name, Message string }
	var got []line
	for _, e := range seen.All() {
		got = append(got, line{e.Level.String(), e.LoggerName, e.Message})
	}
	want := []line{{"debug", "kube", "caches populated"}, {"error", "kube", "failed to watch"},
		{"error", "kube", "old style: 7"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if fields := seen.All()[1].ContextMap(); fields["error"] != "connection refused" || fields["type"] != "*v1.Pod" {
		t.Errorf("fields %v, want the error and the type", fields)
	}
}
