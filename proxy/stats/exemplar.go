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

// exemplarMark is what begins an exemplar behind the value of a series.
const exemplarMark = ` # {trace_id="`

// append appends the exemplar, if there is one, with the value in milliseconds and the time in seconds.
func (e exemplar) append(b []byte) []byte {
	if e.at == 0 {
		return b
	}
	b = hex.AppendEncode(append(b, exemplarMark...), e.trace[:])
	b = append(b, `"} `...)
	b = appendFloat(b, float64(e.micros)/1000)
	b = append(b, ' ')
	return strconv.AppendFloat(b, float64(e.at)/1000, 'f', 3, 64)
}
