package trace

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tulle-mesh/tulle/internal/alloctest"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/message"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeSender takes requests, or fails as answer says.
type fakeSender struct {
	answer func(try int) ([]byte, error)

	mu    sync.Mutex // guards the fields below
	tries int
	taken [][]byte
}

func (f *fakeSender) send(_ context.Context, request []byte) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tries++
	if f.answer != nil {
		if response, err := f.answer(f.tries); err != nil || response != nil {
			return response, err
		}
	}
	f.taken = append(f.taken, bytes.Clone(request))
	return nil, nil
}

func (*fakeSender) close() {}

// withSender returns a tracer of all requests that sends to f, and what it logs.
func withSender(f *fakeSender) (*Tracer, *observer.ObservedLogs) {
	core, logs := observer.New(zapcore.InfoLevel)
	t := New(Config{
		Collector: mesh.Collector{Addr: "collector:4317"}, Ratio: 1, Log: zap.New(core), Interval: time.Second,
		Resource: []Attribute{{"service.name", "web"}},
	})
	t.sender = f
	return t, logs
}

var ok = stats.ResponseStatus{Status: 200, GRPC: stats.NotGRPC}

// request is an exchange that ends well.
func request() *exchange.Exchange {
	x := &exchange.Exchange{Begun: time.Unix(1, 0), Ended: time.Unix(2, 0)}
	x.Request.SetPart(message.Method, "GET")
	x.Request.SetPart(message.Path, "/a")
	return x
}

// span makes one span.
func (t *Tracer) span() { x := request(); t.Client(x, false).End(x, ok) }

// runFor runs the exporter until the fake clock has moved by d.
func runFor(t *testing.T, tr *Tracer, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if err := tr.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("run: %v", err)
	}
}

func TestSpansGoInOneBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSender{}
		tr, logs := withSender(f)
		for range 3 {
			tr.span()
		}
		runFor(t, tr, 1500*time.Millisecond)
		if len(f.taken) != 1 || tr.Exported() != 3 || tr.Failures() != 0 || logs.Len() != 0 {
			t.Errorf("got %d batches, %d spans, %d failures, %v", len(f.taken), tr.Exported(), tr.Failures(), logs.All())
		}
	})
}

func TestLastSpansAreSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSender{}
		tr, _ := withSender(f)
		tr.span()
		runFor(t, tr, time.Millisecond)
		if len(f.taken) != 1 {
			t.Errorf("got %d batches", len(f.taken))
		}
	})
}

// TestSpansThatEndDuringTheLastButOneExportAreSent ends the proxy and a request while a batch is on its way.
func TestSpansThatEndDuringTheLastButOneExportAreSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSender{}
		tr, _ := withSender(f)
		ctx, cancel := context.WithCancel(t.Context())
		f.answer = func(try int) ([]byte, error) {
			if try == 1 {
				tr.span()
				cancel()
			}
			return nil, nil
		}
		tr.span()
		if err := tr.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("run: %v", err)
		}
		if len(f.taken) != 2 || tr.Exported() != 2 {
			t.Errorf("got %d batches, %d spans, want 2 of each", len(f.taken), tr.Exported())
		}
	})
}

func TestManySpansAreSentAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSender{}
		tr, _ := withSender(f)
		tr.push(make([]byte, enoughBytes))
		select {
		case <-tr.wake:
		default:
			t.Error("nothing wakes the exporter")
		}
	})
}

func TestQueueIsBounded(t *testing.T) {
	f := &fakeSender{}
	tr, _ := withSender(f)
	const size, n = 1000, 2000
	for range n {
		tr.push(make([]byte, size))
	}
	spans, queued := tr.take(nil)
	if len(spans) > maxQueueBytes || len(spans) < maxQueueBytes-2*size {
		t.Errorf("%d bytes wait, want %d at most", len(spans), maxQueueBytes)
	}
	if got := tr.Dropped(QueueFull); got == 0 || queued+got != n {
		t.Errorf("%d wait and %d were dropped, want %d together", queued, got, n)
	}
}

func TestCollectorComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSender{answer: func(try int) ([]byte, error) {
			if try <= 3 {
				return nil, errors.New("connection refused")
			}
			return nil, nil
		}}
		tr, logs := withSender(f)
		tr.span()
		runFor(t, tr, time.Minute)
		if tr.Exported() != 1 || tr.Failures() != 3 || tr.Dropped(Unavailable) != 0 {
			t.Errorf("exported %d, failed %d times, dropped %d", tr.Exported(), tr.Failures(), tr.Dropped(Unavailable))
		}
		if logs.Len() != 2 {
			t.Errorf("got %d lines, want one a change: %v", logs.Len(), logs.All())
		}
	})
}

func TestBatchIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSender{answer: func(int) ([]byte, error) { return nil, errors.New("connection refused") }}
		tr, logs := withSender(f)
		tr.span()
		runFor(t, tr, 2*maxAge)
		if tr.Dropped(Unavailable) != 1 || f.tries < 4 || f.tries > 20 || logs.Len() != 1 {
			t.Errorf("dropped %d after %d tries, lines: %v", tr.Dropped(Unavailable), f.tries, logs.All())
		}
	})
}

func TestRefusedBatchIsNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSender{answer: func(int) ([]byte, error) { return nil, &refusedError{errors.New("unimplemented")} }}
		tr, _ := withSender(f)
		tr.span()
		runFor(t, tr, time.Minute)
		if tr.Dropped(Rejected) != 1 || f.tries != 1 {
			t.Errorf("dropped %d after %d tries", tr.Dropped(Rejected), f.tries)
		}
	})
}

func TestPartialSuccessIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		partial := protowire.AppendVarint(protowire.AppendTag(nil, partialRejected, protowire.VarintType), 2)
		f := &fakeSender{answer: func(int) ([]byte, error) { return wrap(responsePartialSuccess, partial), nil }}
		tr, _ := withSender(f)
		for range 3 {
			tr.span()
		}
		runFor(t, tr, 2*time.Second)
		if tr.Exported() != 1 || tr.Dropped(Rejected) != 2 {
			t.Errorf("exported %d, rejected %d", tr.Exported(), tr.Dropped(Rejected))
		}
	})
}

func TestBrokenResponsesAreRead(t *testing.T) {
	for _, response := range []string{"", "\x0a", "\x0a\x02\x08", "\xff\xff\xff", "\x0a\x01\x08", "\x12\x00"} {
		if rejected, _ := parseResponse([]byte(response)); rejected != 0 {
			t.Errorf("%q: %d rejected", response, rejected)
		}
	}
}

func TestHTTPStatuses(t *testing.T) {
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
			t.Errorf("got %s of %s", r.URL.Path, r.Header.Get("Content-Type"))
		}
		w.WriteHeader(status)
	}))
	defer server.Close()
	c, err := mesh.ParseCollector(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	s := newHTTPSender(c, nil)
	defer s.close()
	for _, tt := range []struct {
		status          int
		failed, refused bool
	}{
		{200, false, false}, {202, false, false}, {301, true, true}, {400, true, true}, {404, true, true},
		{429, true, false}, {500, true, true}, {502, true, false}, {503, true, false}, {504, true, false},
	} {
		status = tt.status
		_, err := s.send(t.Context(), []byte{})
		var refused *refusedError
		if (err != nil) != tt.failed || errors.As(err, &refused) != tt.refused {
			t.Errorf("%d: got %v", tt.status, err)
		}
	}
}

func TestRetryableCodes(t *testing.T) {
	for code, want := range map[codes.Code]bool{
		codes.Unavailable: true, codes.ResourceExhausted: true, codes.DeadlineExceeded: true,
		codes.Unimplemented: false, codes.InvalidArgument: false, codes.PermissionDenied: false, codes.Internal: false,
	} {
		if got := retryable(code); got != want {
			t.Errorf("%v: %v", code, got)
		}
	}
}

func TestTextIsValidAndBounded(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		limit      int
		want       string
	}{
		{"plain", "/a", 10, "/a"},
		{"cut", "/abcdef", 3, "/ab"},
		{"not UTF-8", "/\xff\xfea", 10, "/??a"},
		{"cut within a rune", "/aäb", 3, "/a"},
		{"cut after a rune", "/aäb", 4, "/aä"},
		{"all of it broken", strings.Repeat("\x80", 9), 4, "????"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(appendText(nil, []byte(tt.text), tt.limit)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestUnsampledRequestsAllocateNothing counts what a request costs that is not sampled: by its caller, or by the ratio.
func TestUnsampledRequestsAllocateNothing(t *testing.T) {
	tr, _ := withSender(&fakeSender{})
	tr.ratio = 5e-324
	for name, parent := range map[string]string{
		"by the caller": "00-" + someTrace + "-" + someSpan + "-00", "by the ratio": "",
	} {
		x := request()
		got := alloctest.Count(t, 100, func() {
			x.Reset()
			if parent != "" {
				x.Request.Add(traceparentField, parent)
			}
			if s := tr.Client(x, false); s != nil {
				t.Error("the request is sampled")
			}
		})
		if got != 0 {
			t.Errorf("%s: %v allocations", name, got)
		}
	}
}

func BenchmarkRequest(b *testing.B) {
	for name, parent := range map[string]string{
		"sampled": "00-" + someTrace + "-" + someSpan + "-01", "not sampled": "00-" + someTrace + "-" + someSpan + "-00",
		"drawn out": "",
	} {
		b.Run(name, func(b *testing.B) {
			tr, _ := withSender(&fakeSender{})
			tr.ratio = 5e-324
			x := request()
			b.ReportAllocs()
			for b.Loop() {
				x.Reset()
				x.Request.SetPart(message.Method, "GET")
				x.Request.SetPart(message.Path, "/api/books/42")
				if parent != "" {
					x.Request.Add(traceparentField, parent)
				}
				if s := tr.Client(x, false); s != nil {
					s.End(x, ok)
					tr.queue = tr.queue[:0]
				}
			}
		})
	}
}
