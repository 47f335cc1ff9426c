package injector

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// A tenant creates pods of 2.5 MiB as fast as the API server takes them. Pods of others are admitted meanwhile.
// TestLargeBodiesInMemoryAreBounded has the bound of memory.
func TestFloodOfLargeReviews(t *testing.T) {
	const (
		attackers = 32
		honest    = 50 // reviews at least, and until the flood is under way
		underWay  = 1  // large reviews that were answered
	)
	r, _ := newReviewer()
	server := httptest.NewServer(newHandler(r))
	defer server.Close()
	var large strings.Builder
	for i := 0; large.Len() < 5<<19; i++ {
		fmt.Fprintf(&large, `"config.linkerd.io/not-known-%d":"%s",`, i, strings.Repeat("x", 100))
	}
	flood := request("shop", "pods", `{"metadata":{"annotations":{`+large.String()+
		`"a":"b"}},"spec":{"containers":[{"name":"web","image":"x"}]}}`)
	ctx, stop := context.WithCancel(t.Context())
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
	for i := 0; i < honest || answered.Load() < underWay; i++ {
		if code, err := review(t.Context(), server.URL, request("shop", "pods", plainPod)); code != http.StatusOK {
			t.Errorf("honest review %d: status %d, %v", i, code, err)
		}
	}
	stop()
	wg.Wait()
	t.Logf("%d large reviews answered, %d refused meanwhile", answered.Load(), refused.Load())
}

// countedBody counts itself once in admitted when more of it is read than the handler reads before it admits a large
// body.
type countedBody struct {
	*strings.Reader
	admitted *atomic.Int64
}

func (b *countedBody) Read(p []byte) (n int, err error) {
	before := b.Size() - int64(b.Len())
	n, err = b.Reader.Read(p)
	if after := before + int64(n); before <= largeBody+1 && after > largeBody+1 {
		b.admitted.Add(1)
	}
	return n, err
}

func (*countedBody) Close() error { return nil }

// TestLargeBodiesInMemoryAreBounded sends more large reviews than may be read at a time, while none is worked on.
func TestLargeBodiesInMemoryAreBounded(t *testing.T) {
	const sent = 3 * maxReading
	pod := `{"metadata":{"annotations":{"a":"` + strings.Repeat("x", 2*largeBody) +
		`"}},"spec":{"containers":[{"name":"web","image":"x"}]}}`
	synctest.Test(t, func(t *testing.T) {
		r, _ := newReviewer()
		h := newHandler(r)
		for range maxLarge {
			h.large <- struct{}{}
		}
		var admitted, answered atomic.Int64
		for range sent {
			go func() {
				body := &countedBody{strings.NewReader(request("shop", "pods", pod)), &admitted}
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", body))
				if w.Code == http.StatusOK {
					answered.Add(1)
				}
			}()
		}
		synctest.Wait()
		if got := admitted.Load(); got != maxReading {
			t.Errorf("%d large bodies are in memory, want %d", got, maxReading)
		}
		for range maxLarge {
			<-h.large
		}
		synctest.Wait()
		if got := answered.Load(); got != sent {
			t.Errorf("%d of %d large reviews are answered", got, sent)
		}
	})
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

// TestSlowClientsKeepNobodyOut holds every slot with requests whose bodies do not come. Honest reviews are answered at
// once, small and large ones.
func TestSlowClientsKeepNobodyOut(t *testing.T) {
	big := `{"metadata":{"annotations":{"a":"` + strings.Repeat("x", 2*largeBody) +
		`"}},"spec":{"containers":[{"name":"web","image":"x"}]}}`
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
				if _, err := fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", 2*largeBody,
					c.sent); err != nil {
					t.Fatal(err)
				}
			}
			for len(h.slots) < c.clients || c.clients == maxReading && len(h.reading) < maxReading {
				runtime.Gosched()
			}
			for range 3 {
				code, err := review(t.Context(), server.URL, request("shop", "pods", c.honest))
				if code != http.StatusOK {
					t.Errorf("honest review: status %d, %v, want 200", code, err)
				}
			}
		})
	}
}
