package metrics

import (
	"context"
	"time"
)

type progressKey struct{}

// WithProgress returns a context with which Ask calls f while it waits for the window to pass: with the time that is
// left, at least once, and perhaps every second. f must not block. Another goroutine may call it while Ask runs.
func WithProgress(ctx context.Context, f func(left time.Duration)) context.Context {
	return context.WithValue(ctx, progressKey{}, f)
}

// Progress calls the context's function, if it has one.
func Progress(ctx context.Context, left time.Duration) {
	if f, ok := ctx.Value(progressKey{}).(func(time.Duration)); ok {
		f(left)
	}
}
