package top

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tulle-mesh/tulle/viz/tap"
)

// request returns the events of one request; path and status tell them apart.
func exchange(id uint64, path string, status int, took time.Duration, edit func(end *tap.ResponseEnd)) []*tap.Event {
	stream := tap.StreamID{Base: 1, Stream: id}
	event := func() *tap.Event {
		return &tap.Event{
			Source:      tap.Endpoint{IP: "10.0.0.1", Metadata: map[string]string{"pod": "web-1"}},
			Destination: tap.Endpoint{IP: "10.0.0.2", Metadata: map[string]string{}}, Proxy: "shop/web-1",
		}
	}
	init, head, end := event(), event(), event()
	init.RequestInit = &tap.RequestInit{ID: stream, Method: "GET", Path: path}
	head.ResponseInit = &tap.ResponseInit{ID: stream, HTTPStatus: status}
	end.ResponseEnd = &tap.ResponseEnd{ID: stream,
		SinceRequestInit: tap.Duration{Seconds: int64(took / time.Second), Nanos: int32(took % time.Second)}}
	if edit != nil {
		edit(end.ResponseEnd)
	}
	if status == 0 {
		return []*tap.Event{init, end}
	}
	return []*tap.Event{init, head, end}
}

func feed(r *Rows, events ...*tap.Event) {
	for _, e := range events {
		r.Add(e)
	}
}

// text returns the rows as they are printed, without the heading.
func text(t *testing.T, r *Rows) []string {
	t.Helper()
	var b strings.Builder
	if _, err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, line := range strings.Split(strings.TrimSpace(b.String()), "\n")[1:] {
		out = append(out, strings.Join(strings.Fields(line), " "))
	}
	return out
}

func TestRowsJoinRequests(t *testing.T) {
	var r Rows
	feed(&r, exchange(1, "/a?x=1", 200, 2*time.Millisecond, nil)...)
	feed(&r, exchange(2, "/a?x=2", 500, 90*time.Microsecond, nil)...)
	feed(&r, exchange(3, "/a", 200, 1500*time.Millisecond, nil)...)
	feed(&r, exchange(4, "/b", 200, time.Millisecond, nil)...)
	feed(&r, exchange(5, "/open", 200, time.Millisecond, nil)[:2]...) // has not ended
	feed(&r, exchange(6, "/before", 200, time.Millisecond, nil)[2])   // began before the watch
	want := []string{"web-1 10.0.0.2 GET /a 3 90µs 2s 2s 66.67%", "web-1 10.0.0.2 GET /b 1 1ms 1ms 1ms 100.00%"}
	if diff := cmp.Diff(want, text(t, &r)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

// TestSuccess classifies as Linkerd's top.
func TestSuccess(t *testing.T) {
	grpc := func(code int16) func(*tap.ResponseEnd) {
		return func(end *tap.ResponseEnd) { end.GRPC, end.GRPCStatusCode = true, code }
	}
	for name, tt := range map[string]struct {
		status int
		edit   func(*tap.ResponseEnd)
		want   bool
	}{
		"a response":                     {200, nil, true},
		"a mistake of the client":        {404, nil, true},
		"a request that policy denied":   {403, func(end *tap.ResponseEnd) { end.Error = "unauthorized" }, true},
		"a failure":                      {503, nil, false},
		"no response":                    {0, nil, false},
		"a response that was reset":      {200, func(end *tap.ResponseEnd) { end.Error = "reset" }, false},
		"gRPC without a failure":         {200, grpc(0), true},
		"gRPC, a mistake of the client":  {200, grpc(5), true},
		"gRPC, a failure of the server":  {200, grpc(14), false},
		"gRPC, and the status says more": {502, grpc(0), false},
	} {
		var r Rows
		feed(&r, exchange(1, "/", tt.status, time.Millisecond, tt.edit)...)
		if got := r.sorted(0)[0].succeeded == 1; got != tt.want {
			t.Errorf("%s: got success %v, want %v", name, got, tt.want)
		}
	}
}

// TestRowsAreBounded: rows and open requests do not grow with the traffic, and the frequent rows stay.
func TestRowsAreBounded(t *testing.T) {
	var r Rows
	for range 2 {
		feed(&r, exchange(1, "/frequent", 200, time.Millisecond, nil)...)
	}
	for i := range uint64(2 * maxRows) {
		feed(&r, exchange(i, fmt.Sprintf("/%d", i), 200, time.Millisecond, nil)...)
	}
	rows := r.sorted(0)
	if len(rows) != maxRows || r.dropped != maxRows+1 || rows[0].path != "/frequent" {
		t.Errorf("got %d rows, %d dropped, first %+v", len(rows), r.dropped, rows[0].key)
	}
	if r.rows[key{"web-1", "10.0.0.2", "GET", "/0", ""}] != nil {
		t.Error("the oldest row is still there")
	}
	for i := range uint64(2*maxOpen + 1) {
		r.Add(exchange(i, "/", 200, 0, nil)[0])
	}
	if len(r.open) > maxOpen {
		t.Errorf("got %d open requests, want at most %d", len(r.open), maxOpen)
	}
}

// TestRetriedRequestHasItsLastEndpoint: the end of a request names the endpoint that answered.
func TestRetriedRequestHasItsLastEndpoint(t *testing.T) {
	var r Rows
	events := exchange(1, "/a", 200, time.Millisecond, nil)
	events[2].Destination.Metadata["pod"] = "api-2"
	feed(&r, events...)
	if got := r.sorted(0)[0].destination; got != "api-2" {
		t.Errorf("got %s", got)
	}
}
