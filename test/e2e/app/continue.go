package main

import (
	"context"
	"net/http/httptrace"
)

// withContinue records in got whether the server answered 100 Continue.
func withContinue(ctx context.Context, got *bool) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got100Continue: func() { *got = true }})
}
