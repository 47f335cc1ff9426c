package httpserver

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// TestRunLetsARequestEnd: a request that runs when ctx ends is answered, and Run waits for it.
func TestRunLetsARequestEnd(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	running, release := make(chan struct{}), make(chan struct{})
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(running)
		<-release
		_, _ = io.WriteString(w, "done")
	})}
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, server, time.Minute, func() error { return server.Serve(lis) }) }()
	answer := make(chan string, 1)
	go func() {
		resp, err := http.Get("http://" + lis.Addr().String())
		if err != nil {
			answer <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		answer <- string(body)
	}()
	<-running
	cancel()
	select {
	case err := <-ended:
		t.Fatalf("ended before the request, with error %v", err)
	default:
	}
	close(release)
	if got := <-answer; got != "done" {
		t.Errorf("answer: got %q, want %q", got, "done")
	}
	if err := <-ended; err != nil {
		t.Errorf("got error %v, want nil", err)
	}
}

// TestRunReturnsTheErrorOfServe: a server that ends by itself is an error of its own.
func TestRunReturnsTheErrorOfServe(t *testing.T) {
	want := errors.New("no listener")
	if err := Run(t.Context(), &http.Server{}, time.Second, func() error { return want }); !errors.Is(err, want) {
		t.Errorf("got error %v, want %v", err, want)
	}
}
