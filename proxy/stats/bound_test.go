package stats

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/proxy/clock"
)

// fixedBytes and fixedSeries are the size of a scrape without label sets: help, the process, and the counts without
// room.
const (
	fixedSeries = 1500
	fixedBytes  = 512 << 10
)

func (r *Registry) checkBound(t *testing.T) string {
	t.Helper()
	got := text(t, r)
	series := 0
	for line := range strings.Lines(got) {
		if line[0] != '#' {
			series++
		}
	}
	most := limits[inboundSide].plus(limits[outboundSide])
	if series > most.series+fixedSeries || len(got) > most.bytes+fixedBytes {
		t.Errorf("a scrape has %d series and %d bytes, want at most %d and %d", series, len(got), most.series, most.bytes)
	}
	return got
}

// TestFloodsAreBounded makes many values of each label that outsiders choose, as docs/metrics.md lists them. A label
// set that is in use must still be counted correctly.
func TestFloodsAreBounded(t *testing.T) {
	const values = 10_000
	inbound := func(name string) func(int) Labels {
		return func(i int) Labels { return Labels(`direction="inbound"`).With(name, fmt.Sprintf("%060d", i)) }
	}
	outbound := func(name string) func(int) Labels {
		return func(i int) Labels { return Labels(`direction="outbound"`).With(name, fmt.Sprintf("%060d", i)) }
	}
	requests := func(r *Registry, l Labels, _ int) {
		h, release := r.HTTP(l)
		defer release()
		h.Request()
		h.Response(ResponseStatus{Status: 200, GRPC: NotGRPC}, time.Millisecond)
	}
	connections := func(r *Registry, l Labels, _ int) {
		c, release := r.TCP(l)
		defer release()
		c.Opened.Add(1)
		c.Close(time.Millisecond, nil)
	}
	one := func(direction string) func(int) Labels {
		return func(int) Labels { return Labels("").With("direction", direction) }
	}
	for name, tc := range map[string]struct {
		labels func(int) Labels
		count  func(*Registry, Labels, int)
	}{
		"client_id of requests":    {inbound("client_id"), requests},
		"client_id of connections": {inbound("client_id"), connections},
		"target_addr inbound":      {inbound("target_addr"), connections},
		"target_addr outbound":     {outbound("target_addr"), connections},
		"authority":                {outbound("authority"), requests},
		"client_id of decisions": {inbound("client_id"),
			func(r *Registry, l Labels, _ int) { r.Inc(InboundHTTPDeny, l) }},
		"error of inbound connections": {inbound("error"),
			func(r *Registry, l Labels, _ int) { r.Inc(InboundTCPErrors, l) }},
		"error of outbound requests": {outbound("error"),
			func(r *Registry, l Labels, _ int) { r.Inc(OutboundHTTPErrors, l) }},
		"status_code of mirrors": {outbound("status_code"),
			func(r *Registry, l Labels, _ int) { r.Inc(MirrorCopies, l) }},
		"route_name of inbound requests": {inbound("route_name"),
			func(r *Registry, l Labels, i int) { served(r, l, int16(i%1000)) }},
		"rt_route": {outbound("rt_route"), func(r *Registry, l Labels, _ int) { named(r, l) }},
		"parent_name": {outbound("parent_name"), func(r *Registry, l Labels, i int) {
			routed(r, l, RouteStatus{Code: int16(i % 1000)})
		}},
		"backend_name": {outbound("backend_name"), func(r *Registry, l Labels, _ int) {
			_, release := r.Balancer(BalancerConfig{Labels: l, States: func() Endpoints { return Endpoints{Ready: 1} }})
			release()
		}},
		"status_code": {one("inbound"), func(r *Registry, l Labels, i int) {
			answered(r, l, ResponseStatus{Status: i % 1000, GRPC: NotGRPC})
		}},
		"grpc_status": {one("outbound"), func(r *Registry, l Labels, i int) {
			answered(r, l, ResponseStatus{Status: 200, GRPC: int16(i)})
		}},
		"error and status": {one("outbound"), func(r *Registry, l Labels, i int) {
			answered(r, l, ResponseStatus{Status: i % 900, Error: fmt.Sprint(i)})
		}},
		"status_code of every client": {inbound("client_id"), func(r *Registry, l Labels, i int) {
			if i >= 500 {
				return
			}
			for status := range 70 {
				answered(r, l, ResponseStatus{Status: 100 + status*13, GRPC: NotGRPC})
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := NewRegistry()
			honest := tc.labels(0).With("honest", "yes")
			requests(r, honest, 0)
			n := 1
			for i := range values {
				tc.count(r, tc.labels(i), i)
				if i%100 == 0 { // a client with a connection for each request
					requests(r, honest, 0)
					n++
				}
				if i%(values/5) == 0 {
					r.checkBound(t)
				}
			}
			want := fmt.Sprintf("request_total{%s} %d\n", honest, n)
			if got := r.checkBound(t); !strings.Contains(got, want) {
				t.Errorf("no %s", want)
			}
		})
	}
}

func answered(r *Registry, l Labels, o ResponseStatus) {
	h, release := r.HTTP(l)
	defer release()
	h.Response(o, time.Millisecond)
}

func served(r *Registry, l Labels, status int16) {
	g, release := r.InboundRoute(l, false)
	defer release()
	g.Request()
	g.End(status, time.Millisecond, time.Millisecond)
}

func named(r *Registry, l Labels) {
	for _, of := range []func(Labels) (*HTTP, func()){r.Named, r.Actual} {
		h, release := of(l)
		h.Response(ResponseStatus{Status: 200, GRPC: NotGRPC}, 0)
		release()
	}
}

func routed(r *Registry, l Labels, s RouteStatus) {
	route, release := r.Route(l, false)
	route.End(s, 0)
	release()
	backend, release := r.RouteBackend(l, true)
	backend.Request()
	backend.End(s, 0)
	release()
}

// client returns the labels of a client.
func client(i int) Labels {
	return Labels(`direction="inbound"`).With("client_id", fmt.Sprintf("%060d", i))
}

// flood adds new clients until no more have room.
func flood(r *Registry, from, n int) {
	for i := range n {
		answered(r, client(from+i), ResponseStatus{Status: 200, GRPC: NotGRPC})
	}
}

func TestOldestIdleLabelSetGoesFirst(t *testing.T) {
	r := NewRegistry()
	answered(r, client(0), ResponseStatus{Status: 200, GRPC: NotGRPC})
	answered(r, client(1), ResponseStatus{Status: 200, GRPC: NotGRPC})
	r.Sweep(clock.Instant(time.Minute))
	answered(r, client(1), ResponseStatus{Status: 200, GRPC: NotGRPC})
	r.Sweep(clock.Instant(2 * time.Minute))
	r.Sweep(clock.Instant(3 * time.Minute))
	for i := 2; strings.Contains(text(t, r), string(client(0))); i++ {
		answered(r, client(i), ResponseStatus{Status: 200, GRPC: NotGRPC})
	}
	got := text(t, r)
	if !strings.Contains(got, evictedTotal+`{family="request_total"}`) {
		t.Error("the eviction is not counted")
	}
	if strings.Contains(got, overflowTotal) {
		t.Error("something had no room although idle label sets were there")
	}
}

// A label set with a holder is shown again when it changes. Its counters start at 0: a reader that did not see it in
// between would take its earlier counts for an increase.
func TestHeldLabelSetIsHiddenWhileIdle(t *testing.T) {
	r := NewRegistry()
	h, release := r.HTTP(client(0))
	h.Request()
	text(t, r)
	r.Sweep(clock.Instant(time.Minute))
	r.Sweep(clock.Instant(2 * time.Minute))
	r.Sweep(clock.Instant(3 * time.Minute))
	flood(r, 1, 10_000)
	if strings.Contains(text(t, r), string(client(0))) {
		t.Fatal("the idle label set is still there")
	}
	h.Request()
	h.Response(ResponseStatus{Status: 200, GRPC: NotGRPC}, 3*time.Millisecond)
	if want := fmt.Sprintf("request_total{%s} 1\n", client(0)); !strings.Contains(text(t, r), want) {
		t.Errorf("no %s", want)
	}
	flood(r, 10_000, 10_000)
	h.Request()
	r.checkBound(t)
	release()
	if want := fmt.Sprintf("request_total{%s} 2\n", client(0)); !strings.Contains(text(t, r), want) {
		t.Errorf("no %s: a label set in use made room for those that came once", want)
	}
}

// Counts of a label set with a holder survive a flood before the first scrape that shows them.
func TestHeldLabelSetKeepsCountsThatNoScrapeShowed(t *testing.T) {
	for name, before := range map[string]int{"never scraped": 0, "scraped earlier": 7} {
		t.Run(name, func(t *testing.T) {
			r := NewRegistry()
			h, release := r.HTTP(client(0))
			defer release()
			for range before {
				h.Request()
			}
			text(t, r)
			for range 1000 {
				h.Request()
				h.Response(ResponseStatus{Status: 500, GRPC: NotGRPC, Failure: true}, time.Millisecond)
			}
			flood(r, 1, 10_000)
			for i := range 3 {
				r.Sweep(clock.Instant(i+1) * clock.Instant(time.Minute))
			}
			flood(r, 10_001, 10_000)
			h.Request()
			got := r.checkBound(t)
			for _, want := range []string{fmt.Sprintf("request_total{%s} %d\n", client(0), before+1001),
				fmt.Sprintf("response_total{%s,status_code=\"500\",classification=\"failure\"} 1000\n", client(0))} {
				if !strings.Contains(got, want) {
					t.Errorf("no %s", want)
				}
			}
		})
	}
}

func TestOpenConnectionsKeepTheirSeries(t *testing.T) {
	r := NewRegistry()
	c, _ := r.TCP(client(0))
	c.Opened.Add(1)
	c.Open.Add(1)
	r.Sweep(clock.Instant(time.Minute))
	r.Sweep(clock.Instant(time.Hour))
	r.Sweep(clock.Instant(2 * time.Hour))
	flood(r, 1, 10_000)
	if want := fmt.Sprintf("tcp_open_connections{%s} 1\n", client(0)); !strings.Contains(text(t, r), want) {
		t.Errorf("no %s", want)
	}
}

// If nothing is idle, new label sets are counted together, and earlier ones stay.
func TestLabelSetsWithoutRoomAreCountedTogether(t *testing.T) {
	const clients = 5000
	r := NewRegistry()
	for range 2 {
		flood(r, 0, 100)
	}
	var release []func()
	for i := range clients {
		c, done := r.TCP(Labels(`peer="src"`).Join(client(i)))
		c.Opened.Add(1)
		c.Open.Add(1)
		release = append(release, done)
	}
	got := r.checkBound(t)
	sum := 0
	for line := range strings.Lines(got) {
		if rest, ok := strings.CutPrefix(line, "tcp_open_total{"); ok {
			var n int
			if _, err := fmt.Sscan(rest[strings.LastIndex(rest, " ")+1:], &n); err != nil {
				t.Fatal(err)
			}
			sum += n
		}
	}
	if sum != clients {
		t.Errorf("%d connections were counted, want %d", sum, clients)
	}
	if !strings.Contains(got, `tcp_open_total{peer="src",direction="inbound",overflow="true"}`) {
		t.Error("nothing counts what had no room")
	}
	if !strings.Contains(got, overflowTotal+`{family="tcp_open_total"}`) {
		t.Error("the overflow is not counted")
	}
	for _, done := range release {
		done()
	}
}

func TestInboundFloodLeavesOutboundAlone(t *testing.T) {
	r := NewRegistry()
	l := Labels(`direction="outbound",authority="cart"`)
	answered(r, l, ResponseStatus{Status: 200, GRPC: NotGRPC})
	r.Sweep(clock.Instant(time.Minute))
	r.Sweep(clock.Instant(2 * time.Minute))
	flood(r, 0, 20_000)
	if !strings.Contains(text(t, r), string(l)) {
		t.Error("clients of the pod evicted what the pod calls")
	}
}

// A status without room is counted, but without its code.
func TestStatusWithoutRoomIsCounted(t *testing.T) {
	r := NewRegistry()
	var open []*HTTP
	for i := range 2000 { // with a holder, and in use more than once
		for range 2 {
			h, _ := r.HTTP(client(i))
			h.Request()
			open = append(open, h)
		}
	}
	for _, h := range open {
		h.Response(ResponseStatus{Status: 500, GRPC: NotGRPC, Failure: true}, 0)
		h.Request()
	}
	got := r.checkBound(t)
	if !strings.Contains(got, `classification="failure",overflow="true"} 2`) {
		t.Error("no response is counted without its status")
	}
}

func TestStatusesAreFoldedIntoTheirClass(t *testing.T) {
	r := NewRegistry()
	labels := Labels(`direction="outbound"`)
	for status := 100; status < 1000; status++ {
		answered(r, labels, ResponseStatus{Status: status, GRPC: NotGRPC})
		served(r, labels, int16(status))
		routed(r, labels, RouteStatus{Code: int16(status)})
	}
	got := text(t, r)
	for _, want := range []string{
		`response_total{direction="outbound",status_code="163",classification="success"} 1` + "\n",
		`response_total{direction="outbound",status_code="1xx",classification="success"} 36` + "\n",
		`response_total{direction="outbound",status_code="5xx",classification="success"} 100` + "\n",
		`response_total{direction="outbound",status_code="9xx",classification="success"} 100` + "\n",
		`inbound_http_statuses_total{direction="outbound",status="163"} 1` + "\n",
		`inbound_http_statuses_total{direction="outbound",status="7xx"} 100` + "\n",
		`outbound_http_route_request_statuses_total{direction="outbound",http_status="4xx"} 100` + "\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s", want)
		}
	}
}

func TestLabelsOnly(t *testing.T) {
	l := Labels(`peer="src",direction="inbound",xpeer="a",tls="true"`)
	if got, want := l.only("peer", "direction", "none"), Labels(`peer="src",direction="inbound"`); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := Labels(`xpeer="a"`).only("peer"); got != "" {
		t.Errorf("got %s, want nothing", got)
	}
}
