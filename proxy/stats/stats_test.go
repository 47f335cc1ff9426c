package stats

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/tulle-mesh/tulle/internal/alloctest"
	"github.com/tulle-mesh/tulle/internal/goldentest"
	"github.com/tulle-mesh/tulle/proxy/clock"
)

func TestDocumentation(t *testing.T) {
	const file = "../../docs/metrics.md"
	goldentest.Equal(t, file, Markdown())
}

func text(t *testing.T, r *Registry) string {
	t.Helper()
	var b strings.Builder
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestExpositionOfRequests(t *testing.T) {
	r := NewRegistry()
	h, _ := r.HTTP(`direction="outbound"`)
	h.Request()
	h.Request()
	h.Response(ResponseStatus{Status: 200, GRPC: NotGRPC}, 1500*time.Microsecond)
	h.Response(ResponseStatus{Status: 200, GRPC: 14, Failure: true, Error: "reset"}, 60*time.Second)
	h.Response(ResponseStatus{Status: 200, GRPC: 14, Failure: true}, time.Millisecond)
	got := text(t, r)
	for _, want := range []string{
		"# TYPE request_total counter\nrequest_total{direction=\"outbound\"} 2\n",
		`response_total{direction="outbound",status_code="200",classification="success"} 1`,
		`response_total{direction="outbound",status_code="200",classification="failure",grpc_status="14",error="reset"} 1`,
		`response_total{direction="outbound",status_code="200",classification="failure",grpc_status="14"} 1`,
		`response_latency_ms_bucket{direction="outbound",status_code="200",classification="success",le="1"} 0`,
		`response_latency_ms_bucket{direction="outbound",status_code="200",classification="success",le="2"} 1`,
		`response_latency_ms_sum{direction="outbound",status_code="200",classification="success"} 1.5`,
		`response_latency_ms_bucket{direction="outbound",status_code="200",classification="failure",grpc_status="14",le="50000"} 1`,
		`response_latency_ms_count{direction="outbound",status_code="200",classification="failure",grpc_status="14"} 2`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
}

func TestExpositionOfConnections(t *testing.T) {
	r := NewRegistry()
	c, _ := r.TCP(`peer="dst"`)
	c.Opened.Add(3)
	c.Open.Add(1)
	c.ReadBytes.Add(10)
	c.Close(time.Millisecond, nil)
	c.Close(time.Second, fmt.Errorf("read: %w", syscall.ECONNRESET))
	c.Close(time.Second, os.ErrDeadlineExceeded)
	c.Close(time.Second, errors.New("tls: bad record"))
	got := text(t, r)
	for _, want := range []string{
		`tcp_open_total{peer="dst"} 3`, `tcp_open_connections{peer="dst"} 1`, `tcp_read_bytes_total{peer="dst"} 10`,
		`tcp_close_total{peer="dst"} 1`, `tcp_close_total{peer="dst",errno="ECONNRESET"} 1`,
		`tcp_close_total{peer="dst",errno="ETIMEDOUT"} 1`, `tcp_close_total{peer="dst",errno="other"} 1`,
		`tcp_connection_duration_ms_count{peer="dst"} 4`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
}

// TestExpositionIsWhatPrometheusReads parses the text with Prometheus's own parser.
func TestExpositionIsWhatPrometheusReads(t *testing.T) {
	r := NewRegistry()
	r.AddProcess("v1", time.Now())
	for i := range 100 {
		l := Labels("").With("authority", fmt.Sprintf("a\"b\\c\nd%d", i))
		h, _ := r.HTTP(l)
		h.Response(ResponseStatus{Status: 200, GRPC: NotGRPC}, time.Millisecond)
		c, _ := r.TCP(l)
		c.Close(time.Second, nil)
	}
	r.Inc(InboundHTTPDeny, `reason="denied"`)
	for _, tcp := range []bool{false, true} {
		b, _ := r.Balancer(BalancerConfig{Labels: `backend_name="a"`, TCP: tcp,
			States: func() Endpoints { return Endpoints{Ready: 2, Pending: 1} }})
		b.Pass()
		b.Update(Add, 3)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text(t, r)))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(families["response_latency_ms"].GetMetric()); n != 100 {
		t.Errorf("%d histograms, want 100", n)
	}
	if got := families["request_total"].GetMetric()[0].GetLabel()[0].GetValue(); !strings.HasPrefix(got, "a\"b\\c\nd") {
		t.Errorf("label came back as %q", got)
	}
	for name := range families {
		lookup(name) // panics if it has no documentation
	}
}

func TestGroupsAreShared(t *testing.T) {
	r := NewRegistry()
	a, _ := r.HTTP("x")
	b, _ := r.HTTP("x")
	if a != b {
		t.Error("equal labels give two groups")
	}
}

func TestIdleGroupsGo(t *testing.T) {
	r := NewRegistry()
	h, release := r.HTTP(`direction="a"`)
	h.Request()
	r.Sweep(0)
	r.Sweep(clock.Instant(idleTime))
	if !strings.Contains(text(t, r), "request_total") {
		t.Fatal("a group that is held went away")
	}
	release()
	h.Request() // the last request of a connection that has ended
	r.Sweep(clock.Instant(idleTime))
	r.Sweep(clock.Instant(2*idleTime - 1))
	if !strings.Contains(text(t, r), "request_total") {
		t.Fatal("a group went away before it was idle for long")
	}
	r.Sweep(clock.Instant(2 * idleTime))
	if strings.Contains(text(t, r), "request_total") {
		t.Fatal("an idle group stays")
	}
}

func TestCountersOfManyKeysAreFolded(t *testing.T) {
	r := NewRegistry()
	c := NewCounters(r, func(status int) (string, Labels) {
		return MirrorCopies, Labels("").With("status_code", fmt.Sprint(status))
	})
	for range 2 {
		for status := range 2 * maxKeyed {
			c.Inc(status)
		}
	}
	got := text(t, r)
	for labels, want := range map[string]int{`status_code="0"`: 2, fmt.Sprintf(`status_code="%d"`, maxKeyed-1): 2,
		`overflow="true"`: 2 * maxKeyed} {
		if line := fmt.Sprintf("%s{%s} %d\n", MirrorCopies, labels, want); !strings.Contains(got, line) {
			t.Errorf("no %s", line)
		}
	}
	if n := strings.Count(got, "\n"+MirrorCopies+"{"); n != maxKeyed+1 {
		t.Errorf("%d series, want %d", n, maxKeyed+1)
	}
	c.Close()
	c.Inc(0)
	if line := MirrorCopies + `{status_code="0"} 3`; !strings.Contains(text(t, r), line) {
		t.Errorf("no %s after Close", line)
	}
}

func TestCountingAllocatesNothing(t *testing.T) {
	h := &HTTP{}
	o := ResponseStatus{Status: 200, GRPC: NotGRPC}
	h.Response(o, 0)
	if n := alloctest.Count(t, 1000, func() { h.Request(); h.Response(o, time.Millisecond) }); n != 0 {
		t.Fatalf("%v allocations", n)
	}
	c := NewCounters(NewRegistry(), func(reason string) (string, Labels) {
		return InboundHTTPDeny,
			Labels("").With("reason", reason)
	})
	if n := alloctest.Count(t, 1000, func() { c.Inc("denied"); c.Inc("other") }); n != 0 {
		t.Fatalf("%v allocations of counters", n)
	}
	b := &Balancer{}
	if n := alloctest.Count(t, 1000, func() { b.Pass(); b.Enqueue(); b.Dequeue(time.Millisecond) }); n != 0 {
		t.Fatalf("%v allocations of a balancer", n)
	}
}

func BenchmarkResponse(b *testing.B) {
	h := &HTTP{}
	o := ResponseStatus{Status: 200, GRPC: NotGRPC}
	for b.Loop() {
		h.Response(o, 3*time.Millisecond)
	}
}
