package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

// inFlight bounds the requests that wait for an answer; beyond it a tick is counted as failed, for a customer would
// have left.
const inFlight = 256

func loadCommand() *cobra.Command {
	var (
		l    load
		addr string
	)
	cmd := &cobra.Command{
		Use: "load", Short: "customers: an open loop of requests, and a few WebSockets", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if l.rate <= 0 || l.rate > 2000 {
				return fmt.Errorf("--rate %d: want 1 to 2000", l.rate)
			}
			l.client = &http.Client{Timeout: 10 * time.Second}
			l.slots = make(chan struct{}, inFlight)
			mux := http.NewServeMux()
			mux.HandleFunc("GET /stats", l.report)
			group, ctx := errgroup.WithContext(cmd.Context())
			group.Go(func() error { return serveHTTP(ctx, addr, mux) })
			group.Go(func() error { return l.run(ctx) })
			return group.Wait()
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&addr, "addr", ":8080", "address to serve /stats on")
	flags.StringVar(&l.web, "web", "http://web:8080", "URL of the front end")
	flags.StringVar(&l.live, "live", "ws://live:8080/prices", "URL of the WebSocket")
	flags.IntVar(&l.rate, "rate", 50, "requests a second, sent whether or not earlier ones were answered")
	flags.IntVar(&l.sockets, "sockets", 3, "WebSockets to keep open")
	return cmd
}

// load sends requests at a fixed rate and counts what came of them.
type load struct {
	web, live     string
	rate, sockets int
	client        *http.Client
	slots         chan struct{}
	list, add     counter
	pay, prices   counter
}

type counter struct{ ok, failed atomic.Uint64 }

func (t *counter) count(ok bool) {
	if ok {
		t.ok.Add(1)
	} else {
		t.failed.Add(1)
	}
}

func (l *load) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for range l.sockets {
		group.Go(func() error { return l.listen(ctx) })
	}
	ticker := time.NewTicker(time.Second / time.Duration(l.rate))
	defer ticker.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return group.Wait()
		case <-ticker.C:
		}
		c, method, path := l.next(n)
		select {
		case l.slots <- struct{}{}:
		default:
			c.count(false)
			continue
		}
		group.Go(func() error {
			defer func() { <-l.slots }()
			c.count(l.request(ctx, method, path))
			return nil
		})
	}
}

// next is the mix: of ten customers six look, two put something into the cart, two pay.
func (l *load) next(n int) (t *counter, method, path string) {
	customer := n % 97
	switch n % 10 {
	case 3, 7:
		return &l.add, http.MethodPost, fmt.Sprintf("/cart?customer=%d&item=tulle", customer)
	case 5, 9:
		return &l.pay, http.MethodPost, fmt.Sprintf("/checkout?customer=%d", customer)
	default:
		return &l.list, http.MethodGet, "/"
	}
}

func (l *load) request(ctx context.Context, method, path string) bool {
	request, err := http.NewRequestWithContext(ctx, method, l.web+path, nil)
	if err != nil {
		return false
	}
	reply, err := l.client.Do(request)
	if err != nil {
		return false
	}
	defer func() { _ = reply.Body.Close() }()
	_, err = io.Copy(io.Discard, io.LimitReader(reply.Body, 1<<20))
	return err == nil && reply.StatusCode < http.StatusInternalServerError
}

// listen keeps one WebSocket open, and counts each price as a success and each lost connection as a failure.
func (l *load) listen(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := l.receive(ctx); err != nil && ctx.Err() == nil {
			l.prices.count(false)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
	return nil
}

func (l *load) receive(ctx context.Context) error {
	dial, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	socket, _, err := websocket.Dial(dial, l.live, nil)
	if err != nil {
		return err
	}
	defer func() { _ = socket.CloseNow() }()
	for {
		read, cancel := context.WithTimeout(ctx, 10*time.Second)
		_, _, err := socket.Read(read)
		cancel()
		if err != nil {
			return err
		}
		l.prices.count(true)
	}
}

func (l *load) report(w http.ResponseWriter, _ *http.Request) {
	type count struct {
		OK     uint64 `json:"ok"`
		Failed uint64 `json:"failed"`
	}
	counts := map[string]count{}
	for name, t := range map[string]*counter{"list": &l.list, "cart": &l.add, "checkout": &l.pay, "prices": &l.prices} {
		counts[name] = count{t.ok.Load(), t.failed.Load()}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(counts) // the client is gone when this fails
}
