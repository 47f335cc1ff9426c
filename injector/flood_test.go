package injector

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A tenant creates pods of 2.5 MiB as fast as the API server takes them. Pods of others are admitted meanwhile, and memory is bounded.
func TestFloodOfLargeReviews(t *testing.T) {
	const (
		attackers = 32
		lasts     = 1500 * time.Millisecond
		p99Bound  = 5 * time.Second // a tenth of the API server's patience with a webhook on a machine that does nothing else
		heapBound = 256 << 20       // garbage and the clients of this process included
	)
	r, _ := newReviewer()
	server := httptest.NewServer(newHandler(r))
	defer server.Close()
	var large strings.Builder
	for i := 0; large.Len() < 5<<19; i++ {
		fmt.Fprintf(&large, `"config.linkerd.io/not-known-%d":"%s",`, i, strings.Repeat("x", 100))
	}
	flood := request("shop", "pods", `{"metadata":{"annotations":{`+large.String()+`"a":"b"}},"spec":{"containers":[{"name":"web","image":"x"}]}}`)
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	peak := uint64(0)

	ctx, stop := context.WithTimeout(t.Context(), lasts)
	defer stop()
	var answered, refused atomic.Int64
	var wg sync.WaitGroup
	for range attackers {
		wg.Go(func() {
			for ctx.Err() == nil {
				switch code, _ := review(ctx, server.URL, flood); code {
				case http.StatusOK:
					answered.Add(1)
				case http.StatusTooManyRequests:
					refused.Add(1)
				}
			}
		})
	}
	var took []time.Duration
	for ctx.Err() == nil {
		began := time.Now()
		if code, err := review(t.Context(), server.URL, request("shop", "pods", plainPod)); code != http.StatusOK {
			t.Errorf("honest review: status %d, %v", code, err)
		}
		took = append(took, time.Since(began))
		runtime.ReadMemStats(&now)
		peak = max(peak, now.HeapInuse)
		time.Sleep(10 * time.Millisecond) // the rate of honest reviews
	}
	wg.Wait()
	slices.Sort(took)
	p99, grown := took[len(took)*99/100], int64(peak)-int64(before.HeapInuse)
	t.Logf("%d large reviews answered, %d refused; %d honest ones, p99 %s; heap +%.1f MiB", answered.Load(), refused.Load(), len(took),
		p99.Round(10*time.Microsecond), float64(grown)/(1<<20))
	if p99 > p99Bound {
		t.Errorf("p99 of honest reviews is %s, want at most %s", p99, p99Bound)
	}
	if grown > heapBound {
		t.Errorf("the heap grew by %d bytes, want at most %d", grown, heapBound)
	}
}

func review(ctx context.Context, url, body string) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("content-type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

// TestSlowClientsKeepNobodyOut holds every slot with requests whose bodies do not come. Honest reviews are answered at once, small and large
// ones.
func TestSlowClientsKeepNobodyOut(t *testing.T) {
	big := `{"metadata":{"annotations":{"a":"` + strings.Repeat("x", 2*largeBody) + `"}},"spec":{"containers":[{"name":"web","image":"x"}]}}`
	for name, c := range map[string]struct {
		clients int
		sent    string // before they stop
		honest  string
	}{
		"without a byte":      {maxInFlight, "", plainPod},
		"within a small body": {maxInFlight, "{", plainPod},
		"within a large body": {maxReading, strings.Repeat(" ", largeBody+2), big},
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := newReviewer()
			h := newHandler(r)
			server := httptest.NewServer(h)
			defer server.Close()
			for range c.clients {
				conn, err := net.Dial("tcp", server.Listener.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				if _, err := fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", 2*largeBody, c.sent); err != nil {
					t.Fatal(err)
				}
			}
			for len(h.slots) < c.clients || c.clients == maxReading && len(h.reading) < maxReading {
				runtime.Gosched()
			}
			for range 3 {
				began := time.Now()
				code, err := review(t.Context(), server.URL, request("shop", "pods", c.honest))
				if took := time.Since(began); code != http.StatusOK || took > reviewTimeout/2 {
					t.Errorf("honest review: status %d, %v after %s, want 200 at once", code, err, took)
				}
			}
		})
	}
}
