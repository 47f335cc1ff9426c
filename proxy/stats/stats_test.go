package stats

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

var update = flag.Bool("update", false, "write docs/metrics.md")

func TestDocumentation(t *testing.T) {
	const file = "../../docs/metrics.md"
	if *update {
		if err := os.WriteFile(file, []byte(Markdown()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Markdown(), string(text)); diff != "" {
		t.Errorf("docs/metrics.md is not what the code says (-want +got)\n%s", diff)
	}
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
	h.Response(Outcome{Status: 200, GRPC: NotGRPC}, 1500*time.Microsecond)
	h.Response(Outcome{Status: 200, GRPC: 14, Failure: true, Error: "reset"}, 60*time.Second)
	h.Response(Outcome{Status: 200, GRPC: 14, Failure: true}, time.Millisecond)
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
		h.Response(Outcome{Status: 200, GRPC: NotGRPC}, time.Millisecond)
		c, _ := r.TCP(l)
		c.Close(time.Second, nil)
	}
	r.Counter(InboundHTTPDeny, `reason="denied"`).Inc()
	for _, tcp := range []bool{false, true} {
		b, _ := r.Balancer(BalancerConfig{Labels: `backend_name="a"`, TCP: tcp, States: func() Endpoints { return Endpoints{Ready: 2, Pending: 1} }})
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
		lookup(name) // panics if it is not documented
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
	r.Sweep(idleTime)
	if !strings.Contains(text(t, r), "request_total") {
		t.Fatal("a group that is held went away")
	}
	release()
	h.Request() // the last request of a connection that has ended
	r.Sweep(idleTime)
	r.Sweep(2*idleTime - 1)
	if !strings.Contains(text(t, r), "request_total") {
		t.Fatal("a group went away before it was idle for long")
	}
	r.Sweep(2 * idleTime)
	if strings.Contains(text(t, r), "request_total") {
		t.Fatal("an idle group stays")
	}
}

func TestGroupsAreBounded(t *testing.T) {
	r := NewRegistry()
	for i := range 2 * maxGroups {
		h, _ := r.HTTP(Labels("").With("client_id", fmt.Sprint(i)))
		h.Request()
	}
	if len(r.groups) > maxGroups+1 {
		t.Errorf("%d groups", len(r.groups))
	}
	if got := text(t, r); !strings.Contains(got, fmt.Sprintf(`request_total{overflow="true"} %d`, maxGroups)) {
		t.Error("what is beyond the bound is not counted together")
	}
}

func TestCountersAreBounded(t *testing.T) {
	r := NewRegistry()
	for i := range 2 * maxSingles {
		r.Counter(InboundTCPDeny, Labels("").With("target_port", fmt.Sprint(i))).Inc()
	}
	if len(r.singles) > maxSingles+1 {
		t.Errorf("%d counters", len(r.singles))
	}
	if got := text(t, r); !strings.Contains(got, InboundTCPDeny+`{overflow="true"} `+fmt.Sprint(maxSingles+1)) {
		t.Error("what is beyond the bound is not counted together")
	}
}

func TestCountersOfManyKeysAreTheRegistrys(t *testing.T) {
	r := NewRegistry()
	c := NewCounters(r, func(port int) (string, Labels) {
		return InboundTCPDeny, Labels("").With("target_port", fmt.Sprint(port))
	})
	for range 2 {
		for port := range 2 * maxKeyed {
			c.Inc(port)
		}
	}
	for _, port := range []int{0, maxKeyed - 1, maxKeyed, 2*maxKeyed - 1} {
		if n := r.Counter(InboundTCPDeny, Labels("").With("target_port", fmt.Sprint(port))).Value(); n != 2 {
			t.Errorf("port %d was counted %d times, want 2", port, n)
		}
	}
	if n := len(*c.list.Load()); n != maxKeyed {
		t.Errorf("%d counters at hand, want %d", n, maxKeyed)
	}
}

func TestOutcomesAreBounded(t *testing.T) {
	h := &HTTP{}
	for status := 100; status < 600; status++ {
		h.Response(Outcome{Status: status, GRPC: NotGRPC}, 0)
	}
	if n := len(*h.responses.Load()); n > maxOutcomes+8 {
		t.Errorf("%d outcomes", n)
	}
}

func TestCountingAllocatesNothing(t *testing.T) {
	h := &HTTP{}
	o := Outcome{Status: 200, GRPC: NotGRPC}
	h.Response(o, 0)
	if n := testing.AllocsPerRun(1000, func() { h.Request(); h.Response(o, time.Millisecond) }); n != 0 {
		t.Fatalf("%v allocations", n)
	}
	c := NewCounters(NewRegistry(), func(reason string) (string, Labels) { return InboundHTTPDeny, Labels("").With("reason", reason) })
	if n := testing.AllocsPerRun(1000, func() { c.Inc("denied"); c.Inc("other") }); n != 0 {
		t.Fatalf("%v allocations of counters", n)
	}
	b := &Balancer{}
	if n := testing.AllocsPerRun(1000, func() { b.Pass(); b.Wait(); b.Leave(time.Millisecond) }); n != 0 {
		t.Fatalf("%v allocations of a balancer", n)
	}
}

func BenchmarkResponse(b *testing.B) {
	h := &HTTP{}
	o := Outcome{Status: 200, GRPC: NotGRPC}
	for b.Loop() {
		h.Response(o, 3*time.Millisecond)
	}
}
