package metrics

import (
	"context"
	"time"
)

type progressKey struct{}

// WithProgress returns a context with which Source.Ask calls f while it waits for the window to pass. f gets the time
// that is left, at least once, and perhaps every second. It must not block, and another goroutine may call it.
func WithProgress(ctx context.Context, f func(left time.Duration)) context.Context {
	return context.WithValue(ctx, progressKey{}, f)
}

// Progress calls the function of WithProgress, if the context has one.
func Progress(ctx context.Context, left time.Duration) {
	if f, ok := ctx.Value(progressKey{}).(func(time.Duration)); ok {
		f(left)
	}
}
