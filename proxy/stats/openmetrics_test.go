package stats

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"

	"github.com/tulle-mesh/tulle/internal/alloctest"
	"github.com/tulle-mesh/tulle/proxy/clock"
)

func TestNegotiate(t *testing.T) {
	const open = "application/openmetrics-text"
	for _, c := range []struct {
		name   string
		accept string
		want   Format
		own    bool // Prometheus's own library answers otherwise
	}{
		{"nothing", "", Text, false},
		{"anything", "*/*", Text, false},
		{"OpenMetrics", open, OpenMetrics, false},
		{"OpenMetrics by version", open + ";version=1.0.0", OpenMetrics, false},
		{"a version that is no longer", open + "; version=0.0.1", Text, true},
		{"a version to come", open + "; version=2.0.0", Text, false},
		{"Prometheus 2", open + ";version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75," +
			"text/plain;version=0.0.4;q=0.5,*/*;q=0.1", OpenMetrics, false},
		{"Prometheus 3", open + ";version=1.0.0;escaping=allow-utf-8;q=0.5," + open + ";version=0.0.1;q=0.4," +
			"text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,/;q=0.1", OpenMetrics, false},
		{"text", "text/plain", Text, false},
		{"text is heavier", open + ";q=0.4, text/plain;q=0.5", Text, false},
		{"text is lighter", "text/plain;q=0.5, " + open + ";q=0.6", OpenMetrics, false},
		{"equal, OpenMetrics first", open + ", text/plain", OpenMetrics, false},
		{"equal, text first", "text/plain, " + open, Text, false},
		{"not OpenMetrics", open + ";q=0", Text, true},
		{"a weight that is none", open + ";q=x, text/plain;q=0.1", Text, false},
		{"protobuf first", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;" +
			"encoding=delimited;q=0.9," + open + ";q=0.6,text/plain;q=0.5", OpenMetrics, true},
		{"a browser", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Text, false},
		{"nonsense", ";;,=,\"", Text, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Negotiate([]string{c.accept}); got != c.want {
				t.Errorf("%s, want %s", got.ContentType(), c.want.ContentType())
			}
			theirs := expfmt.NegotiateAccept(http.Header{"Accept": {c.accept}}, expfmt.DefaultOpenMetricsAcceptedFormats()...)
			if open := theirs.FormatType() == expfmt.TypeOpenMetrics; !c.own && open != (c.want == OpenMetrics) {
				t.Errorf("Prometheus's library answers %s", theirs)
			}
		})
	}
	if got := Negotiate([]string{"text/plain;q=0.1", open}); got != OpenMetrics {
		t.Errorf("the second line of the header does not count: %s", got.ContentType())
	}
}

func openMetrics(t *testing.T, r *Registry) string {
	t.Helper()
	var b strings.Builder
	if err := r.Write(&b, OpenMetrics); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestOpenMetricsMetadata checks what OpenMetrics asks of names: all counters end in _total, and what is left of their
// names is no other metric's.
func TestOpenMetricsMetadata(t *testing.T) {
	names := map[string]bool{}
	for _, f := range Families() {
		o := f.openMetrics()
		if names[o.Name] {
			t.Errorf("two metrics are named %s", o.Name)
		}
		names[o.Name] = true
		if o.Type == "unknown" {
			t.Errorf("the counter %s does not end in _total", f.Name)
		}
	}
	got := Family{Name: "seen", Type: CounterType, Help: "A \"b\" \\ c\nd."}.openMetrics()
	if want := (Family{Name: "seen", Type: "unknown", Help: `A \"b\" \\ c\nd.`}); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestOpenMetricsText(t *testing.T) {
	r := NewRegistry()
	h, _ := r.HTTP(`direction="outbound"`)
	h.Request()
	status := ResponseStatus{Status: 200, GRPC: NotGRPC}
	h.Response(status, 1500*time.Microsecond)
	h.Response(status, time.Second)
	h.Exemplar(status, 1500*time.Microsecond, TraceID{0x0a, 15: 0xff})
	h.Exemplar(ResponseStatus{Status: 404, GRPC: NotGRPC}, 0, TraceID{1}) // nobody counted it
	b, _ := r.InboundRoute(`direction="inbound"`, false)
	b.End(200, time.Millisecond, time.Millisecond)
	got := openMetrics(t, r)
	for _, want := range []string{
		"# TYPE request counter\nrequest_total{direction=\"outbound\"} 1\n",
		`le="1.0"} 0` + "\n", `le="2.0"} 1 # {trace_id="0a0000000000000000000000000000ff"} 1.5 `,
		`le="1000.0"} 2` + "\n", `le="+Inf"} 2` + "\n", `le="0.05"} 1` + "\n", `le="10.0"} 1` + "\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
	if strings.Count(got, "trace_id") != 1 || !strings.HasSuffix(got, "\n# EOF\n") {
		t.Errorf("not one exemplar and the mark of the end:\n%s", got)
	}
	if classic := text(t, r); strings.Contains(classic, "trace_id") || strings.Contains(classic, "EOF") {
		t.Errorf("the text format has what is not its own:\n%s", classic)
	}
}

// TestOpenMetricsOfAHiddenGroup checks that a group that was evicted counts from 0 again in both formats.
func TestOpenMetricsOfAHiddenGroup(t *testing.T) {
	g := NewRegistry()
	h, _ := g.HTTP(`direction="inbound",target_ip="10.0.0.0"`)
	status := ResponseStatus{Status: 200, GRPC: NotGRPC}
	h.Response(status, time.Millisecond)
	h.Exemplar(status, time.Millisecond, TraceID{1})
	group := rebased{h, baseOf(h)}
	collect := func(f Format) string {
		w := writer{format: f}
		group.collect(responseLatency, &w)
		return string(w.buf)
	}
	for _, f := range []Format{Text, OpenMetrics} {
		got := collect(f)
		if !strings.Contains(got, "} 0\n") || strings.Contains(got, "} 1") || strings.Contains(got, "trace") {
			t.Errorf("%s counts what was before, or has lost lines:\n%s", f.ContentType(), got)
		}
	}
	h.Response(status, time.Millisecond)
	h.Exemplar(status, time.Millisecond, TraceID{2})
	if got := collect(OpenMetrics); !strings.Contains(got, `le="1.0"} 1 # {trace_id="02`) {
		t.Errorf("a group that is back has no exemplar:\n%s", got)
	}
}

// TestExemplarsAllocateOnce checks that a histogram without a sampled request holds none, and that further ones take no
// memory.
func TestExemplarsAllocateOnce(t *testing.T) {
	h, status := &HTTP{}, ResponseStatus{Status: 200, GRPC: NotGRPC}
	h.Response(status, 0)
	if h.find(status).latency.exemplars.Load() != nil {
		t.Error("there are exemplars before a request was sampled")
	}
	h.Exemplar(status, 0, TraceID{1})
	var now clock.Instant
	if n := alloctest.Count(t, 1000, func() {
		now++
		h.Exemplar(status, time.Duration(now)*time.Millisecond, TraceID{2})
	}); n != 0 {
		t.Errorf("%v allocations of an exemplar", n)
	}
}

// TestDurationsHaveExemplars checks the exemplars of histograms in seconds: of routes, of backends and at the server.
func TestDurationsHaveExemplars(t *testing.T) {
	r := NewRegistry()
	labels := Labels("").With("route_name", "get")
	route, release := r.Route(labels, false)
	defer release()
	backend, releaseBackend := r.RouteBackend(labels, true)
	defer releaseBackend()
	served, releaseServed := r.InboundRoute(labels, false)
	defer releaseServed()
	route.End(RouteStatus{Code: 200}, 700*time.Millisecond)
	route.Exemplar(700*time.Millisecond, TraceID{15: 1})
	backend.End(RouteStatus{}, 11*time.Second)
	backend.Exemplar(11*time.Second, TraceID{15: 2})
	served.End(200, 2*time.Millisecond, 60*time.Millisecond)
	served.Exemplar(2*time.Millisecond, 60*time.Millisecond, TraceID{15: 3})
	got := openMetrics(t, r)
	const id = ` # {trace_id="0000000000000000000000000000000`
	for _, want := range []string{
		`outbound_http_route_request_duration_seconds_bucket{route_name="get",le="1.0"} 1` + id + `1"} 0.7 `,
		`outbound_grpc_route_backend_response_duration_seconds_bucket{route_name="get",le="+Inf"} 1` + id + `2"} 11 `,
		`inbound_http_request_duration_seconds_bucket{route_name="get",le="0.05"} 1` + id + `3"} 0.002 `,
		`inbound_http_response_duration_seconds_bucket{route_name="get",le="0.1"} 1` + id + `3"} 0.06 `,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in:\n%s", want, got)
		}
	}
	if n := strings.Count(got, exemplarMark); n != 4 {
		t.Errorf("%d exemplars, want 4:\n%s", n, got)
	}
}
