// Package httpserver runs an HTTP server until a context ends.
//
// It owns the order of the end: no new requests, a bounded wait for those that run, then the close. It must not know
// what is served. The one idea: every server of an extension ends in the same way.
package httpserver

import (
	"context"
	"net/http"
	"time"
)

// Run calls serve, such as server.ServeTLS, until ctx ends. Then it waits for running requests, for at most drain, and
// closes the connections. It returns nil, or an error of the close. If serve ends before ctx, it returns serve's error.
func Run(ctx context.Context, server *http.Server, drain time.Duration, serve func() error) error {
	done := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
		defer cancel()
		err := server.Shutdown(limited)
		if err != nil {
			err = server.Close()
		}
		done <- err
	})
	err := serve()
	if stop() {
		return err
	}
	return <-done
}
