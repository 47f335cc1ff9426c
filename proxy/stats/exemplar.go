package stats

import (
	"encoding/hex"
	"strconv"
	"sync"
	"time"
)

// TraceID is the ID of a trace that a request belongs to.
type TraceID [16]byte

// exemplar is one sampled request that fell in a bucket.
type exemplar struct {
	trace  TraceID
	micros uint64
	at     int64 // Unix time in milliseconds; 0 means that there is none
}

// exemplars are those of a histogram: the last one of each bucket.
type exemplars [len(bounds) + 1]exemplar

// exemplarBox holds the exemplars of a histogram that has some. Most have none, so it is made at the first.
type exemplarBox struct {
	mu   sync.Mutex // guards last
	last exemplars
}

// Exemplar names the trace of a response that Response has counted with the same status and latency. It does nothing
// for a status that has no histogram of its own because the group has too many.
func (h *HTTP) Exemplar(s ResponseStatus, latency time.Duration, trace TraceID) {
	if r := h.find(s); r != nil && r.latency != nil {
		r.latency.exemplify(exemplar{trace, microsOf(latency), time.Now().UnixMilli()})
	}
}

func (h *histogram) exemplify(e exemplar) {
	box := h.exemplars.Load()
	if box == nil {
		h.exemplars.CompareAndSwap(nil, new(exemplarBox))
		box = h.exemplars.Load()
	}
	box.mu.Lock()
	defer box.mu.Unlock()
	box.last[bucketOf(e.micros)] = e
}

// examples returns the exemplars.
func (h *histogram) examples() exemplars {
	box := h.exemplars.Load()
	if box == nil {
		return exemplars{}
	}
	box.mu.Lock()
	defer box.mu.Unlock()
	return box.last
}

// durationExemplars are those of a histogram in seconds: the last one of each bucket.
type durationExemplars struct {
	mu   sync.Mutex // guards last
	last [durationBuckets]exemplar
}

// Exemplar names the trace of a request that End has counted with the same duration.
func (r *Route) Exemplar(d time.Duration, trace TraceID) {
	r.duration.exemplify(requestBounds, d, trace)
}

// Exemplar names the trace of a response that End has counted with the same duration.
func (b *RouteBackend) Exemplar(d time.Duration, trace TraceID) {
	b.duration.exemplify(responseBounds, d, trace)
}

// Exemplar names the trace of a request that End has counted with the same durations.
func (r *InboundRoute) Exemplar(request, response time.Duration, trace TraceID) {
	r.request.exemplify(requestBounds, request, trace)
	r.response.exemplify(responseBounds, response, trace)
}

func (h *durations) exemplify(bounds []time.Duration, d time.Duration, trace TraceID) {
	box := h.exemplars.Load()
	if box == nil {
		h.exemplars.CompareAndSwap(nil, new(durationExemplars))
		box = h.exemplars.Load()
	}
	box.mu.Lock()
	defer box.mu.Unlock()
	box.last[durationBucket(bounds, d)] = exemplar{trace, microsOf(d), time.Now().UnixMilli()}
}

// examples returns the exemplars.
func (h *durations) examples() (last [durationBuckets]exemplar) {
	if box := h.exemplars.Load(); box != nil {
		box.mu.Lock()
		defer box.mu.Unlock()
		last = box.last
	}
	return last
}

// exemplarMark is what begins an exemplar behind the value of a series.
const exemplarMark = ` # {trace_id="`

// Units of a histogram's values, in microseconds.
const (
	microsPerMilli  = 1_000
	microsPerSecond = 1_000_000
)

// append appends the exemplar, if there is one, with the value in the histogram's unit and the time in seconds.
func (e exemplar) append(b []byte, unit float64) []byte {
	if e.at == 0 {
		return b
	}
	b = hex.AppendEncode(append(b, exemplarMark...), e.trace[:])
	b = append(b, `"} `...)
	b = appendFloat(b, float64(e.micros)/unit)
	b = append(b, ' ')
	return strconv.AppendFloat(b, float64(e.at)/1000, 'f', 3, 64)
}
