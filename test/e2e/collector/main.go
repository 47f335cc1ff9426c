// Command collector receives the spans of the end-to-end tests' proxies and shows them. Ports 4317 and 4318 are OTLP's;
// GET /spans at port 8080 answers with everything that came, as OTLP's JSON.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/tulle-mesh/tulle/test/collector"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "collector:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	s := store{traces: ptrace.NewTraces()}
	stop, err := collector.Start(ctx, ":4317", ":4318", s.add)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /spans", s.show)
	server := &http.Server{Addr: ":8080", Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	return stop(ctx)
}

// store keeps what came. A test sends some hundred requests, so nothing bounds it but the pod's life.
type store struct {
	mu     sync.Mutex // guards the field below
	traces ptrace.Traces
}

func (s *store) add(traces ptrace.Traces) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, spans := range traces.ResourceSpans().All() {
		spans.CopyTo(s.traces.ResourceSpans().AppendEmpty())
	}
}

func (s *store) show(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	text, err := new(ptrace.JSONMarshaler).MarshalTraces(s.traces)
	s.mu.Unlock()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(text)
}
