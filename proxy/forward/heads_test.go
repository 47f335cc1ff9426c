package forward

import (
	"io"
	"strings"
	"testing"
)

// A few bytes make a large head, if they refer to the compression's table again and again. Many of them must not take
// all memory, and ordinary requests go on meanwhile.
func TestLargeHeadsInFlightAreBounded(t *testing.T) {
	const limit, streams = 4 << 20, 240
	p := start(t, HTTP2, Config{MaxHeadsBytes: limit}, &fixed{}, nil) // everyone waits for an endpoint
	a := attack(t, p.addr)
	go func() { _, _ = io.Copy(io.Discard, a.c) }()
	fields := []string{":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/"}
	for range 16 {
		fields = append(fields, "x", strings.Repeat("v", 3900))
	}
	for i := range uint32(streams) {
		a.open(2*i+1, true, fields...)
	}
	p.eventually(t, "all heads are there", func() bool { return p.e.inFlight+int(p.h.ends.Load()) == streams })
	charged := 0
	p.e.mu.Lock()
	for fl := range p.e.clientFlights() {
		charged += cap(fl.x.Request.Arena())
	}
	p.e.mu.Unlock()
	if most := limit + limit/4; charged > most {
		t.Errorf("%d bytes are charged, want at most %d", charged, most)
	}
	b, ended := attack(t, p.addr), p.h.ends.Load()
	p.e.mu.Lock()
	waiting := p.e.waitingForEndpoint.Len()
	p.e.mu.Unlock()
	_ = b.get(1, true)
	p.eventually(t, "an ordinary request is taken", func() bool {
		return p.h.ends.Load() == ended && p.e.waitingForEndpoint.Len() == waiting+1
	})
}
