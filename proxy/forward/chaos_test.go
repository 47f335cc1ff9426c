package forward

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/proxy/exchange"
)

// TestChaosOfAttempts sends bodies in pieces to an application that fails in every way while they arrive, has failures
// retried with and without waits, and copies mirrored. Every answer must be that of its own request, and nothing may be
// left behind. TULLE_SOAK=1m makes it longer.
func TestChaosOfAttempts(t *testing.T) {
	length := soakLength(t)
	addr := serveApp(t, http.HandlerFunc(fails))
	for _, p := range pairs {
		t.Run(p.name, func(t *testing.T) {
			r := build(t, p.http2, p.meshed, addr, Config{})
			var mirrored, copied, answered, refused atomic.Int64
			first, u := r.first, r.first.h.to.Load()
			version := HTTP1
			if p.http2 {
				version = HTTP2
			}
			mirror := first.e.NewUpstream(UpstreamConfig{Protocol: version, Dial: dialTo(addr)})
			first.onRoute(func(x *exchange.Exchange) {
				if x.Attempts > 0 {
					return
				}
				x.BufferBody, x.Timeouts.Request, x.Timeouts.Attempt = true, 5*time.Second, 200*time.Millisecond
				if c := first.e.Mirror(x, mirror, func(*exchange.Exchange) { copied.Add(1) }); c != nil {
					mirrored.Add(1)
					c.Timeouts.Request = time.Second
				}
			})
			first.onResponse(func(x *exchange.Exchange) exchange.Fault {
				if x.Response.Status >= 500 && x.Attempts < 4 && x.CannotResend == "" {
					return rejected
				}
				return exchange.Fault{}
			})
			first.onFault(func(x *exchange.Exchange, f exchange.Fault) Action {
				switch {
				case x.CannotResend != "" || x.Attempts >= 4 && f.Kind != exchange.Rejected:
					x.Response.Status = 502
					return Reply([]byte(f.Kind.String()))
				case rand.IntN(2) == 0:
					return Delay(time.Duration(rand.IntN(5)) * time.Millisecond)
				default:
					return Forward(u)
				}
			})
			ctx, cancel := context.WithTimeout(t.Context(), length)
			defer cancel()
			latest, cancel := context.WithTimeout(
				t.Context(),
				length+20*time.Second,
			) // on a machine too busy for attempts of 200 ms
			defer cancel()
			var wg sync.WaitGroup
			for seed := range uint64(12) {
				wg.Go(func() {
					for rng := rand.New(rand.NewPCG(seed, 4)); ctx.Err() == nil || answered.Load() == 0 && latest.Err() == nil; {
						if inPieces(t, r, rng) {
							answered.Add(1)
						} else {
							refused.Add(1)
						}
					}
				})
			}
			wg.Wait()
			awaitEmpty(t, r)
			t.Logf("%d answered, %d refused, %d mirrored", answered.Load(), refused.Load(), mirrored.Load())
			if answered.Load() == 0 || mirrored.Load() == 0 || mirrored.Load() != copied.Load() {
				t.Errorf("%d answered; %d mirrored, %d copies ended", answered.Load(), mirrored.Load(), copied.Load())
			}
			first.e.mu.Lock()
			defer first.e.mu.Unlock()
			if e := first.e; e.replays.Used != 0 || e.queued != 0 || e.copies != 0 || e.delayed.Len() != 0 {
				t.Errorf(
					"left: %d bytes kept, %d queued, %d copies, %d delayed",
					e.replays.Used,
					e.queued,
					e.copies,
					e.delayed.Len(),
				)
			}
		})
	}
}

// fails answers with the request's body, or fails while that arrives.
func fails(w http.ResponseWriter, r *http.Request) {
	part := make([]byte, rand.IntN(20<<10)+1)
	switch rand.IntN(24) {
	case 0: // before it has read anything
		w.WriteHeader(503)
		return
	case 1:
		_, _ = io.ReadFull(r.Body, part)
		panic(http.ErrAbortHandler)
	case 2: // in the middle, at length
		_, _ = io.ReadFull(r.Body, part)
		w.WriteHeader(503)
		_, _ = w.Write(make([]byte, rand.IntN(200<<10)))
		return
	case 3:
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(500)
		_, _ = w.Write(make([]byte, rand.IntN(100<<10)))
		return
	case 4: // too late for the attempt
		select {
		case <-time.After(300 * time.Millisecond):
		case <-r.Context().Done():
		}
	case 5:
		w.WriteHeader(103)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(body)
}

// inPieces posts a body that arrives bit by bit. It reports whether the request was answered, with that body.
func inPieces(t *testing.T, r *route, rng *rand.Rand) bool {
	want := make([]byte, []int{0, 10, 3 << 10, 30 << 10, 60 << 10, 70 << 10, 200 << 10}[rng.IntN(7)])
	for i := range want {
		want[i] = byte(rng.Uint32())
	}
	body, source := io.Pipe()
	defer body.Close()
	go func() {
		for rest := want; len(rest) > 0; {
			n := min(len(rest), rand.IntN(16<<10)+1)
			if _, err := source.Write(rest[:n]); err != nil {
				return
			}
			rest = rest[n:]
			if rand.IntN(4) == 0 {
				<-time.After(time.Duration(rand.IntN(3)) * time.Millisecond)
			}
		}
		source.Close()
	}()
	req, err := http.NewRequest("POST", r.url+"/", body)
	if err != nil {
		t.Error(err)
		return false
	}
	if rng.IntN(2) == 0 {
		req.ContentLength = int64(len(want))
		if len(want) == 0 {
			req.Body = http.NoBody
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if rng.IntN(10) == 0 { // a client without patience
		ctx, cancel = context.WithTimeout(ctx, time.Duration(rng.IntN(20))*time.Millisecond)
		defer cancel()
	}
	resp, err := r.client.Do(req.WithContext(ctx))
	if err != nil {
		if ctx.Err() == nil {
			t.Logf("no answer: %v", err)
		}
		return false
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	switch {
	case err != nil || resp.StatusCode >= 500:
		return false
	case resp.StatusCode != 200 || !bytes.Equal(got, want):
		t.Errorf("got %d with %d bytes, want those %d that were sent", resp.StatusCode, len(got), len(want))
	}
	return true
}
