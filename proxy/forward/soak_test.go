package forward

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// soakLength returns how long a test sends traffic each way.
func soakLength(t *testing.T) time.Duration {
	s := os.Getenv("TULLE_SOAK")
	if s == "" {
		return time.Second
	}
	length, err := time.ParseDuration(s)
	if err != nil {
		t.Fatal(err)
	}
	return length
}

// TestSoak mixes clients that behave with clients that do not, and checks every byte of the former. It takes a second a
// way; TULLE_SOAK=1m makes it longer.
func TestSoak(t *testing.T) {
	length := soakLength(t)
	addr := serveApp(t, app())
	for _, p := range pairs {
		t.Run(p.name, func(t *testing.T) {
			r := build(t, p.http2, p.meshed, addr, Config{})
			ctx, cancel := context.WithTimeout(t.Context(), length)
			defer cancel()
			var wg sync.WaitGroup
			for seed := range uint64(6) {
				rng := rand.New(rand.NewPCG(seed, 1))
				wg.Go(func() { honest(ctx, t, r, rng) })
			}
			for seed := range uint64(3) {
				wg.Go(func() { unsteady(ctx, r, rand.New(rand.NewPCG(seed, 2))) })
				wg.Go(func() { rude(ctx, r, rand.New(rand.NewPCG(seed, 3)), p.http2) })
			}
			wg.Wait()
			awaitEmpty(t, r)
		})
	}
}

// honest sends bodies of all sizes and wants them back.
func honest(ctx context.Context, t *testing.T, r *route, rng *rand.Rand) {
	for i := 0; ctx.Err() == nil; i++ {
		want := strings.Repeat(fmt.Sprint(i, " "), rng.IntN(1<<rng.IntN(17)))
		var sent io.Reader = strings.NewReader(want)
		if rng.IntN(2) == 0 {
			sent = io.MultiReader(sent) // of unknown length
		}
		resp, err := r.client.Post(r.url+"/echo", "", sent)
		if err != nil {
			t.Error(err)
			return
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != 200 || string(got) != want {
			t.Errorf(
				"status %d %s, %d bytes of %d, %v",
				resp.StatusCode,
				resp.Header.Get("X-Fault"),
				len(got),
				len(want),
				err,
			)
			return
		}
	}
}

// unsteady goes away before the end of an answer.
func unsteady(ctx context.Context, r *route, rng *rand.Rand) {
	for ctx.Err() == nil {
		c, cancel := context.WithCancel(ctx)
		req, _ := http.NewRequestWithContext(
			c,
			"POST",
			r.url+"/bytes/5000000",
			bytes.NewReader(make([]byte, rng.IntN(100_000))),
		)
		if resp, err := r.client.Do(req); err == nil {
			_, _ = io.CopyN(io.Discard, resp.Body, rng.Int64N(3_000_000))
			cancel()
			resp.Body.Close()
		}
		cancel()
	}
}

// rude cuts its connections, also in the middle of a head, a body or a frame.
func rude(ctx context.Context, r *route, rng *rand.Rand, http2 bool) {
	script := []byte(
		"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3;x=y\r\nabc\r\n0\r\n\r\n",
	)
	if http2 {
		script = append(
			[]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"),
			streams()()[:60]...) // a few requests
	}
	for ctx.Err() == nil {
		c, err := net.Dial("tcp", r.first.addr)
		if err != nil {
			continue
		}
		_ = c.SetDeadline(time.Now().Add(time.Second))
		_, _ = c.Write(script[:rng.IntN(len(script))])
		_, _ = c.Read(make([]byte, 1+rng.IntN(100)))
		if rng.IntN(2) == 0 {
			_ = c.(*net.TCPConn).SetLinger(0)
		}
		c.Close()
		select { // else all that is measured is the budget for resets
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// awaitEmpty waits until the engines hold nothing of anyone.
func awaitEmpty(t *testing.T, r *route) {
	t.Helper()
	for _, q := range []*proxy{r.first, r.last} {
		for deadline := time.Now().Add(10 * time.Second); ; runtime.Gosched() {
			q.e.mu.Lock()
			inFlight, queued, waiting := q.e.inFlight, q.e.queued, q.e.waitingForEndpoint.Len()
			q.e.mu.Unlock()
			if inFlight == 0 && queued == 0 && waiting == 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d exchanges in flight, %d bytes queued, %d wait", inFlight, queued, waiting)
			}
		}
	}
}
