package proxy

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/mesh"
)

// ruled is a rule for a path that sends to the Service a under a policy.
func ruled(path string, policy mesh.RequestPolicy) mesh.Rule {
	r := onPrefix(path, weighted("a", 1))
	r.Policy = policy
	return r
}

func serverErrors(limit uint32) *mesh.Retry {
	return &mesh.Retry{Statuses: []mesh.StatusRange{{First: 500, Last: 599}}, GRPC: 1 << 14, Limit: limit}
}

// send sends a request with a body.
func send(t *testing.T, c *http.Client, path, body string, header http.Header) result {
	t.Helper()
	req, err := http.NewRequest("POST", "http://cart.shop"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if header != nil {
		req.Header = header
	}
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return result{res.StatusCode, string(got), res.Header, res.Trailer}
}

// flaky runs an application that fails the first times for each X-Id, with a status or as a gRPC call, and echoes the
// body then.
func flaky(t *testing.T, times int, tries *atomic.Int64) (addr string) {
	var first atomic.Int64
	return serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		tries.Add(1)
		grpc := r.Header.Get("Content-Type") == "application/grpc"
		if grpc {
			w.Header().Set("Content-Type", "application/grpc")
		}
		if n := first.Add(1); n <= int64(times) {
			switch {
			case grpc && r.URL.Path == "/begun/": // too late for another attempt: a message has left
				w.Header().Set("Trailer", "Grpc-Status")
				_, _ = io.WriteString(w, "message")
				w.(http.Flusher).Flush()
				w.Header().Set("Grpc-Status", "14")
			case grpc:
				w.Header().Set("Grpc-Status", "14")
			default:
				w.WriteHeader(503)
			}
			return
		}
		if grpc {
			w.Header().Set("Grpc-Status", "0")
			return
		}
		_, _ = w.Write(body)
	})
}

func TestRetriesOfRequests(t *testing.T) {
	grpc := http.Header{"Content-Type": {"application/grpc"}}
	for name, test := range map[string]struct {
		fails  int // before it succeeds
		limit  uint32
		path   string
		body   string
		header http.Header
		status int
		grpc   string
		tries  int64
		skip   string
	}{
		"until it succeeds":    {fails: 2, limit: 3, body: "hello", status: 200, tries: 3},
		"not beyond the limit": {fails: 9, limit: 2, body: "hello", status: 503, tries: 3, skip: "limit"},
		"with a body as long as is kept": {fails: 1, limit: 1, body: strings.Repeat("x", 60<<10), status: 200,
			tries: 2},
		"not with a body that is not kept": {fails: 1, limit: 1, body: strings.Repeat("x", 100<<10), status: 503,
			tries: 1, skip: "body_too_large"},
		"a call that failed without a message": {fails: 1, limit: 1, body: "hello", header: grpc, status: 200, grpc: "0",
			tries: 2},
		"not a call that failed after its message": {fails: 1, limit: 1, path: "/begun", body: "hello", header: grpc,
			status: 200, grpc: "14", tries: 1},
	} {
		t.Run(name, func(t *testing.T) {
			bothVersions(t, func(t *testing.T, http2 bool) {
				if test.grpc != "" && !http2 {
					t.Skip("gRPC is HTTP/2")
				}
				pd := startPod(t, nil)
				var tries atomic.Int64
				pd.plane.SetOutbound(pd.target(clusterIP),
					viaRoutes([]mesh.Rule{ruled("/", mesh.RequestPolicy{Retry: serverErrors(test.limit)})},
						backendOf("a", flaky(t, test.fails, &tries))))
				got := send(t, client(t, pd.outboundTo(clusterIP), http2), test.path+"/", test.body, test.header)
				if got.status != test.status || tries.Load() != test.tries {
					t.Errorf("got %d after %d attempts, want %d after %d", got.status, tries.Load(), test.status, test.tries)
				}
				if s := got.header.Get("Grpc-Status") + got.tail.Get("Grpc-Status"); s != test.grpc {
					t.Errorf("got grpc-status %q, want %q", s, test.grpc)
				}
				if test.grpc == "" && got.status == 200 && got.body != test.body {
					t.Errorf("%d bytes of %d arrived", len(got.body), len(test.body))
				}
				text := pd.scrape(t)
				if n := test.tries - 1; n > 0 && !strings.Contains(text, fmt.Sprintf(`route_name="split"} %d`, n)) {
					t.Errorf("%d retries are not counted", n)
				}
				for _, family := range []string{"outbound_http_route_retry_skipped_total", "route_retryable_total"} {
					label := map[string]string{"route_retryable_total": "skipped"}[family]
					if label == "" {
						label = "reason"
					}
					if n := countLines(text, family, label+`="`+test.skip+`"`); test.skip != "" && n != 1 {
						t.Errorf("%s does not say %q", family, test.skip)
					}
				}
				if n := countLines(text, "route_actual_request_total", fmt.Sprintf(`rt_route="split"} %d`, test.tries)); n != 1 {
					t.Errorf("%d attempts are not counted", test.tries)
				}
			})
		})
	}
}

// TestRetriesGoToAnotherEndpoint has one pod of two fail, so quickly that it looks idle.
func TestRetriesGoToAnotherEndpoint(t *testing.T) {
	pd := startPod(t, nil)
	bad := serveHTTP(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	good := serveHTTP(t, func(http.ResponseWriter, *http.Request) { <-time.After(5 * time.Millisecond) })
	policy := mesh.RequestPolicy{Retry: serverErrors(1)}
	pd.plane.SetOutbound(pd.target(clusterIP), viaRoutes([]mesh.Rule{ruled("/", policy)}, backendOf("a", bad, good)))
	c := client(t, pd.outboundTo(clusterIP), false)
	for i := range 10 { // the budget has ten for sure
		if got := do(t, c, "GET", "http://cart.shop/", nil); got.status != 200 {
			t.Fatalf("request %d got %d", i, got.status)
		}
	}
}

// countLines returns how many lines of a family contain the text.
func countLines(text, family, want string) (n int) {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, family+"{") && strings.Contains(line, want) {
			n++
		}
	}
	return n
}

// TestTimeoutsSayWhichBoundPassed waits for an application that does not answer.
func TestTimeoutsSayWhichBoundPassed(t *testing.T) {
	pd := startPod(t, nil)
	release := make(chan struct{})
	defer close(release)
	var tries atomic.Int64
	app := serveHTTP(t, func(http.ResponseWriter, *http.Request) { tries.Add(1); <-release })
	const d = 150 * time.Millisecond // time enough for a busy machine to reach the application
	pd.plane.SetOutbound(pd.target(clusterIP), viaRoutes([]mesh.Rule{
		ruled("/request", mesh.RequestPolicy{Timeouts: mesh.Timeouts{Request: d}}),
		ruled("/response", mesh.RequestPolicy{Timeouts: mesh.Timeouts{Response: d}}),
		ruled("/attempt", mesh.RequestPolicy{Timeouts: mesh.Timeouts{Attempt: d}}),
		ruled("/idle", mesh.RequestPolicy{Timeouts: mesh.Timeouts{Idle: d}}),
		ruled("/retried", mesh.RequestPolicy{Timeouts: mesh.Timeouts{Attempt: d}, Retry: serverErrors(2)}),
		ruled("/short", mesh.RequestPolicy{Timeouts: mesh.Timeouts{Attempt: time.Second, Request: d},
			Retry: serverErrors(2)}),
		ruled("/none", mesh.RequestPolicy{}),
	}, backendOf("a", app)))
	entrance := pd.outboundTo(clusterIP)
	call := func(timeout string) http.Header {
		return http.Header{"Content-Type": {"application/grpc"}, "Grpc-Timeout": {timeout}}
	}
	bothVersions(t, func(t *testing.T, http2 bool) {
		for _, test := range []struct {
			path, text string
			header     http.Header
			in         time.Duration // deadline of the application's; 0 for none
			tries      int64
		}{
			{path: "/request", text: "the request timeout of 150ms has passed", tries: 1},
			{path: "/response", text: "the response timeout of 150ms has passed", tries: 1},
			{path: "/attempt", text: "the attempt timeout of 150ms has passed", tries: 1},
			{path: "/idle", text: "the idle timeout of 150ms has passed", tries: 1},
			{path: "/retried", text: "the attempt timeout of 150ms has passed", tries: 3},
			{path: "/short", text: "the request timeout of 150ms has passed", tries: 1},
			{path: "/none", text: "the caller's deadline has passed", in: -time.Second, tries: 0},
			{path: "/none", text: "the caller's deadline has passed", in: d, tries: 1},
			{path: "/none", text: "the caller's deadline has passed", header: call("150m"), tries: 1},
			{path: "/request", text: "the request timeout of 150ms has passed", header: call("5S"), tries: 1},
		} {
			tries.Store(0)
			c, begun := client(t, entrance, http2), time.Now()
			if test.in != 0 {
				test.header = http.Header{"L5d-Deadline": {strconv.FormatInt(begun.Add(test.in).UnixMilli(), 10)}}
			}
			got := do(t, c, "POST", "http://cart.shop"+test.path, test.header)
			name := fmt.Sprint(test.path, test.header)
			status, text := 504, got.body
			if test.header.Get("Content-Type") != "" {
				status, text = 200, got.header.Get("Grpc-Message")
				if s := got.header.Get("Grpc-Status"); s != "4" {
					t.Errorf("%s: grpc-status is %q, want DEADLINE_EXCEEDED", name, s)
				}
			}
			if got.status != status || !strings.Contains(text, test.text) {
				t.Errorf("%s: got %d %q, want %d with %q", name, got.status, text, status, test.text)
			}
			ps := got.header.Get("Proxy-Status")
			for _, want := range []string{"error=http_response_timeout", "cart.shop.svc.cluster.local:80, HTTPRoute shop/split",
				test.text} {
				if !strings.Contains(ps, want) {
					t.Errorf("%s: Proxy-Status %q does not say %q", name, ps, want)
				}
			}
			if n := tries.Load(); n != test.tries {
				t.Errorf("%s: %d attempts, want %d", name, n, test.tries)
			}
		}
	})
	text := pd.scrape(t)
	for _, word := range []string{"REQUEST_TIMEOUT", "RESPONSE_HEADERS_TIMEOUT", "IDLE_TIMEOUT"} {
		if countLines(text, "outbound_http_route_request_statuses_total", `error="`+word+`"`) != 1 {
			t.Errorf("no %s is counted", word)
		}
	}
}

// TestASlowEndpointIsLeftForAnother has one endpoint of two answer late: the attempt's timeout moves on.
func TestASlowEndpointIsLeftForAnother(t *testing.T) {
	pd := startPod(t, nil)
	release := make(chan struct{})
	defer close(release)
	slow := serveHTTP(t, func(http.ResponseWriter, *http.Request) { <-release })
	policy := mesh.RequestPolicy{Timeouts: mesh.Timeouts{Attempt: 250 * time.Millisecond, Request: 10 * time.Second},
		Retry: serverErrors(5)}
	pd.plane.SetOutbound(pd.target(clusterIP),
		viaRoutes([]mesh.Rule{ruled("/", policy)}, backendOf("a", slow, echoing(t, "quick"))))
	c := client(t, pd.outboundTo(clusterIP), false)
	for range 10 {
		if got := do(t, c, "GET", "http://cart.shop/", nil); got.status != 200 {
			t.Fatalf("got %d %q", got.status, got.body)
		}
	}
}
